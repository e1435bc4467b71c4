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
    elm_kv kv = {
        .dtype = dtype, .n_heads = n_heads, .k_dim = k_dim, .v_dim = v_dim, .capacity = capacity};
    size_t rows = n_heads * elm_kv_slots(&kv);
    return plane_bytes(dtype, rows * elm_kv_k_width(&kv)) +
           plane_bytes(dtype, rows * elm_kv_v_width(&kv)) + 2 * scale_bytes(dtype, rows);
}

void elm_kv_layout(elm_kv *kv, void *memory) {
    size_t rows = kv->n_heads * elm_kv_slots(kv);
    uint8_t *at = memory;
    kv->k = at;
    at += plane_bytes(kv->dtype, rows * elm_kv_k_width(kv));
    kv->v = at;
    at += plane_bytes(kv->dtype, rows * elm_kv_v_width(kv));
    kv->k_scales = kv->v_scales = NULL;
    if (kv->dtype != ELM_I8) return;
    kv->k_scales = (float *)(void *)at;
    kv->v_scales = (float *)(void *)(at + scale_bytes(kv->dtype, rows));
}

/* Index of element i of a row. */
static size_t element_of(const elm_kv *kv, bool is_v, size_t head, size_t slot, size_t i) {
    return is_v ? elm_kv_v_row(kv, head, slot) + elm_kv_v_element(kv, slot, i)
                : elm_kv_k_panel(kv, head, slot) + elm_kv_k_element(kv, slot, i);
}

static int8_t code_of(float x, float inverse) {
    float q = rintf(x * inverse); /* NaN fails both comparisons and becomes -127 */
    q = q > -127.0f ? q : -127.0f;
    return (int8_t)(q < 127.0f ? q : 127.0f);
}

void elm_kv_store(elm_kv *kv, bool is_v, uint32_t head, uint32_t position, const float *row) {
    uint32_t dim = is_v ? kv->v_dim : kv->k_dim;
    size_t slot = elm_kv_slot(kv, position);
    void *plane = is_v ? kv->v : kv->k;
    float amax = 0.0f;
    for (uint32_t i = 0; i < dim; i++) amax = fabsf(row[i]) > amax ? fabsf(row[i]) : amax;
    float inverse = amax > 0.0f ? 127.0f / amax : 0.0f;
    for (uint32_t i = 0; i < dim; i++) {
        size_t at = element_of(kv, is_v, head, slot, i);
        if (kv->dtype == ELM_F32)
            ((float *)plane)[at] = row[i];
        else if (kv->dtype == ELM_F16)
            ((uint16_t *)plane)[at] = elm_f16_from_f32(row[i]);
        else
            ((int8_t *)plane)[at] = code_of(row[i], inverse);
    }
    if (kv->dtype != ELM_I8) return;
    (is_v ? kv->v_scales : kv->k_scales)[elm_kv_row(kv, head, slot)] = amax / 127.0f;
    for (size_t i = dim; !is_v && i < elm_kv_k_width(kv); i++)
        ((int8_t *)plane)[element_of(kv, is_v, head, slot, i)] = 0;
}

void elm_kv_load(const elm_kv *kv, bool is_v, uint32_t head, uint32_t position, float *row) {
    uint32_t dim = is_v ? kv->v_dim : kv->k_dim;
    size_t slot = elm_kv_slot(kv, position);
    const void *plane = is_v ? kv->v : kv->k;
    float scale = 1.0f;
    if (kv->dtype == ELM_I8)
        scale = (is_v ? kv->v_scales : kv->k_scales)[elm_kv_row(kv, head, slot)];
    for (uint32_t i = 0; i < dim; i++) {
        size_t at = element_of(kv, is_v, head, slot, i);
        if (kv->dtype == ELM_F32)
            row[i] = ((const float *)plane)[at];
        else if (kv->dtype == ELM_F16)
            row[i] = elm_f32_from_f16(((const uint16_t *)plane)[at]);
        else
            row[i] = scale * (float)((const int8_t *)plane)[at];
    }
}

/* ---- packed rows ---- */

size_t elm_kv_position_bytes(const elm_kv *kv) {
    size_t element = elm_dtype_get(kv->dtype)->bits / 8u;
    size_t scales = kv->dtype == ELM_I8 ? 2 * sizeof(float) : 0;
    return kv->n_heads * (((size_t)kv->k_dim + kv->v_dim) * element + scales);
}

/* One row between its packed form and where it is stored, in the largest pieces that lie together in
 * both. */
static void copy_row(const elm_kv *kv, bool is_v, size_t head, size_t slot, uint8_t *packed,
                     bool out) {
    const size_t element = elm_dtype_get(kv->dtype)->bits / 8u, dim = is_v ? kv->v_dim : kv->k_dim;
    uint8_t *plane = is_v ? kv->v : kv->k;
    uint8_t *row = plane + element_of(kv, is_v, head, slot, 0) * element;
    if (is_v && kv->dtype == ELM_I8) { /* single bytes, 16 columns at a time */
        for (size_t i = 0; i < dim; i += 16, row += 16 * ELM_KV_BLOCK)
            for (size_t j = 0; j < 16 && i + j < dim; j++)
                *(out ? packed + i + j : row + 4 * j) = *(out ? row + 4 * j : packed + i + j);
        return;
    }
    size_t n = is_v ? dim * element : kv->dtype == ELM_I8 ? 4 : element;
    for (size_t left = dim * element; left > 0; row += ELM_KV_PANEL * n, packed += n, left -= n) {
        if (n > left) n = left;
        memcpy(out ? packed : row, out ? row : packed, n);
    }
}

/* `packed` is only read unless `out`. */
static void copy_packed(const elm_kv *kv, uint32_t first, uint32_t n, uint8_t *packed, bool out) {
    const size_t element = elm_dtype_get(kv->dtype)->bits / 8u;
    for (int is_v = 0; is_v < 2; is_v++)
        for (size_t head = 0; head < kv->n_heads; head++)
            for (uint32_t i = 0; i < n; i++, packed += (is_v ? kv->v_dim : kv->k_dim) * element)
                copy_row(kv, is_v, head, elm_kv_slot(kv, (size_t)first + i), packed, out);
    for (int is_v = 0; is_v < 2 && kv->dtype == ELM_I8; is_v++) {
        float *scales = is_v ? kv->v_scales : kv->k_scales;
        for (size_t head = 0; head < kv->n_heads; head++)
            for (uint32_t i = 0; i < n; i++, packed += sizeof(float)) {
                float *scale = scales + elm_kv_row(kv, head, elm_kv_slot(kv, (size_t)first + i));
                memcpy(out ? packed : (uint8_t *)scale, out ? (uint8_t *)scale : packed,
                       sizeof *scale);
            }
    }
}

void elm_kv_pack(const elm_kv *kv, uint32_t first, uint32_t n, uint8_t *packed) {
    copy_packed(kv, first, n, packed, true);
}

void elm_kv_unpack(elm_kv *kv, uint32_t first, uint32_t n, const uint8_t *packed) {
    copy_packed(kv, first, n, (uint8_t *)(uintptr_t)packed, false);
}
