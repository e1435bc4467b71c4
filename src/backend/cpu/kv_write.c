/* kv_write.c - keys and values into the cache, token by token: exactly what elm_kv_store stores.
 * Layer: backend/cpu. */
#include <string.h>

#include "backend/cpu/program.h"
#include "backend/kv.h"

/* A row of V lies together, but as int8 byte by byte between others; `row` takes its codes first. */
static void store_v(const elm_cpu_kernels *k, elm_kv *kv, size_t head, size_t slot, const float *x,
                    int8_t *row) {
    size_t at = elm_kv_v_row(kv, head, slot), dim = kv->v_dim;
    if (kv->dtype == ELM_F32) {
        memcpy((float *)kv->v + at, x, dim * sizeof *x);
    } else if (kv->dtype == ELM_F16) {
        k->to_f16(x, dim, (uint16_t *)kv->v + at);
    } else {
        int8_t *to = (int8_t *)kv->v + at;
        kv->v_scales[elm_kv_row(kv, head, slot)] = k->to_i8(x, dim, row);
        for (size_t i = 0; i < dim; i++) to[elm_kv_v_element(kv, slot, i)] = row[i];
    }
}

/* A row of K is one of the 16 of its panel; `row` takes its stored form first. */
static void store_k(const elm_cpu_kernels *k, elm_kv *kv, size_t head, size_t slot, const float *x,
                    void *row) {
    size_t panel = elm_kv_k_panel(kv, head, slot), dim = kv->k_dim;
    if (kv->dtype == ELM_F32) {
        float *to = (float *)kv->k + panel;
        for (size_t i = 0; i < dim; i++) to[elm_kv_k_element(kv, slot, i)] = x[i];
    } else if (kv->dtype == ELM_F16) {
        uint16_t *to = (uint16_t *)kv->k + panel + slot % ELM_KV_PANEL;
        const uint16_t *codes = row;
        k->to_f16(x, dim, row);
        for (size_t i = 0; i < dim; i++) to[i * ELM_KV_PANEL] = codes[i];
    } else {
        int8_t *to = (int8_t *)kv->k + panel;
        const int8_t *codes = row;
        memset((int8_t *)row + dim / 4 * 4, 0, 4); /* what completes the last four */
        kv->k_scales[elm_kv_row(kv, head, slot)] = k->to_i8(x, dim, row);
        for (size_t i = 0; i < dim; i += 4)
            memcpy(to + elm_kv_k_element(kv, slot, i), codes + i, 4);
    }
}

void elm_cpu_run_kv_write(const elm_cpu_run *r, const elm_cpu_step *s, uint32_t part,
                          uint32_t n_parts) {
    elm_kv *kv = &r->step->states[s->state];
    size_t begin, end;
    elm_cpu_own_rows(r, s, part, n_parts, &begin, &end);
    for (size_t t = begin; t < end; t++) {
        const float *k = elm_cpu_row(r, &s->in[0], t), *v = elm_cpu_row(r, &s->in[1], t);
        size_t slot = elm_kv_slot(kv, r->step->n_past + t);
        for (size_t h = 0; h < kv->n_heads; h++) {
            store_k(r->kernels, kv, h, slot, k + h * kv->k_dim, elm_cpu_scratch(r));
            store_v(r->kernels, kv, h, slot, v + h * kv->v_dim, elm_cpu_scratch(r));
        }
    }
}
