/* kv.c - storing and reading keys and values; backend. */
#include "backend/kv.h"

#include "base/checked.h"
#include "base/f16.h"

#include <math.h>
#include <string.h>

enum { PLANE_ALIGN = 64 };

static size_t plane_bytes(elm_dtype dtype, size_t elements) {
    return elm_round_up(elements * elm_dtype_get(dtype)->bits / 8, PLANE_ALIGN);
}

static size_t scale_bytes(elm_dtype dtype, size_t rows) {
    return dtype == ELM_I8 ? elm_round_up(rows * sizeof(float), PLANE_ALIGN) : 0;
}

size_t elm_kv_bytes(elm_dtype dtype, uint32_t n_heads, uint32_t k_dim, uint32_t v_dim,
                    uint32_t capacity) {
    size_t rows = (size_t)n_heads * capacity;
    return plane_bytes(dtype, rows * k_dim) + plane_bytes(dtype, rows * v_dim) +
           2 * scale_bytes(dtype, rows);
}

void elm_kv_layout(elm_kv *kv, void *memory) {
    size_t rows = (size_t)kv->n_heads * kv->capacity;
    uint8_t *at = memory;
    kv->k = at;
    at += plane_bytes(kv->dtype, rows * kv->k_dim);
    kv->v = at;
    at += plane_bytes(kv->dtype, rows * kv->v_dim);
    kv->k_scales = kv->v_scales = NULL;
    if (kv->dtype != ELM_I8) return;
    kv->k_scales = (float *)(void *)at;
    kv->v_scales = (float *)(void *)(at + scale_bytes(kv->dtype, rows));
}

static int8_t code_of(float x, float inverse) {
    float q = rintf(x * inverse); /* NaN fails both comparisons and becomes -127 */
    q = q > -127.0f ? q : -127.0f;
    return (int8_t)(q < 127.0f ? q : 127.0f);
}

void elm_kv_store(elm_kv *kv, bool is_v, uint32_t head, uint32_t position, const float *row) {
    uint32_t dim = is_v ? kv->v_dim : kv->k_dim;
    size_t slot = (size_t)head * kv->capacity + position % kv->capacity;
    uint8_t *plane = is_v ? kv->v : kv->k;
    if (kv->dtype == ELM_F32) {
        memcpy(plane + slot * dim * sizeof(float), row, dim * sizeof(float));
    } else if (kv->dtype == ELM_F16) {
        uint16_t *out = (uint16_t *)(void *)plane + slot * dim;
        for (uint32_t i = 0; i < dim; i++) out[i] = elm_f16_from_f32(row[i]);
    } else {
        int8_t *out = (int8_t *)plane + slot * dim;
        float amax = 0.0f;
        for (uint32_t i = 0; i < dim; i++) amax = fabsf(row[i]) > amax ? fabsf(row[i]) : amax;
        float inverse = amax > 0.0f ? 127.0f / amax : 0.0f;
        for (uint32_t i = 0; i < dim; i++) out[i] = code_of(row[i], inverse);
        (is_v ? kv->v_scales : kv->k_scales)[slot] = amax / 127.0f;
    }
}

void elm_kv_load(const elm_kv *kv, bool is_v, uint32_t head, uint32_t position, float *row) {
    uint32_t dim = is_v ? kv->v_dim : kv->k_dim;
    size_t slot = (size_t)head * kv->capacity + position % kv->capacity;
    const uint8_t *plane = is_v ? kv->v : kv->k;
    if (kv->dtype == ELM_F32) {
        memcpy(row, plane + slot * dim * sizeof(float), dim * sizeof(float));
    } else if (kv->dtype == ELM_F16) {
        const uint16_t *in = (const uint16_t *)(const void *)plane + slot * dim;
        for (uint32_t i = 0; i < dim; i++) row[i] = elm_f32_from_f16(in[i]);
    } else {
        const int8_t *in = (const int8_t *)plane + slot * dim;
        float scale = (is_v ? kv->v_scales : kv->k_scales)[slot];
        for (uint32_t i = 0; i < dim; i++) row[i] = scale * (float)in[i];
    }
}
