/* attention_neon.h - attention over an int8 cache for NEON, written once over the products of a set.
 * Layer: backend/cpu.
 *
 * The including file defines, before, for m queries, a constant of SCORE_QUERIES or VALUE_QUERIES at
 * most, and exact sums:
 *
 *   key_block(k, x, x_stride, acc, m)  adds the products of 16 keys x 32 dimensions and query codes
 *   key_cell(k, x, acc)                the same of 4 dimensions and one query
 *   value_sums(codes, v, isum, m)      16 columns of 64 values against their weights */
#ifndef ELM_BACKEND_CPU_ATTENTION_NEON_H
#define ELM_BACKEND_CPU_ATTENTION_NEON_H

#include "backend/cpu/kernels_attention.h"

/* Queries i .. i + m - 1 x 16 keys; m is a constant. */
ELM_INLINE void score_i8_tile(const elm_cpu_acts *q, size_t i, const int8_t *k, size_t dim,
                              float *s, const int m) {
    const size_t cells = (dim + 3) / 4, xs = q->q_stride;
    const int8_t *x = q->q + i * xs;
    const float *d = q->d + i * q->block_stride;
    v16 y[SCORE_QUERIES];
    for (int t = 0; t < m; t++) y[t] = v_splat(0.0f);
    for (size_t c = 0; c < cells; c += 8, x += 32, d++) {
        int32x4_t acc[SCORE_QUERIES][4];
        for (int t = 0; t < m; t++)
            for (int e = 0; e < 4; e++) acc[t][e] = vdupq_n_s32(0);
        if (cells - c >= 8)
            key_block(k + 64 * c, x, xs, acc, m);
        else
            for (size_t j = 0; j < cells - c; j++)
                for (int t = 0; t < m; t++)
                    key_cell(k + 64 * (c + j), x + (size_t)t * xs + 4 * j, acc[t]);
        for (int t = 0; t < m; t++)
            for (int e = 0; e < 4; e++)
                y[t].q[e] = vfmaq_n_f32(y[t].q[e], vcvtq_f32_s32(acc[t][e]),
                                        d[(size_t)t * q->block_stride]);
    }
    for (size_t t = 0; t < (size_t)m; t++) v_store(s + (i + t) * ELM_CPU_KV_BLOCK, y[t]);
}

static void scores_i8(const elm_cpu_acts *q, size_t n_q, const int8_t *k, size_t dim, float *s) {
    for (size_t p = 0; p < KEY_PANELS; p++, k += (dim + 3) / 4 * 64, s += 16) {
        size_t i = 0;
        for (; i + SCORE_QUERIES <= n_q; i += SCORE_QUERIES)
            score_i8_tile(q, i, k, dim, s, SCORE_QUERIES);
        for (; i < n_q; i++) score_i8_tile(q, i, k, dim, s, 1);
    }
}

/* m queries x 16 columns; m is a constant. */
ELM_INLINE void value_i8_tile(const int8_t *codes, const float *unit, const float *c,
                              const int8_t *v, float *o, size_t o_stride, const int m) {
    int32x4_t isum[VALUE_QUERIES][4];
    value_sums(codes, v, isum, m);
    for (int t = 0; t < m; t++, o += o_stride)
        for (int e = 0; e < 4; e++) {
            float32x4_t kept = vmulq_n_f32(vld1q_f32(o + 4 * e), c[t]);
            vst1q_f32(o + 4 * e, vfmaq_n_f32(kept, vcvtq_f32_s32(isum[t][e]), unit[t]));
        }
}

static void values_i8(const void *codes, const float *unit, const float *c, size_t n_q,
                      const int8_t *v, size_t width, float *o, size_t o_stride) {
    for (size_t d = 0; d < width; d += 16, v += 16 * ELM_CPU_KV_BLOCK, o += 16) {
        const int8_t *w = codes;
        size_t i = 0;
        for (; i + VALUE_QUERIES <= n_q; i += VALUE_QUERIES)
            value_i8_tile(w + i * ELM_CPU_WEIGHT_CODES, unit + i, c + i, v, o + i * o_stride,
                          o_stride, VALUE_QUERIES);
        for (; i < n_q; i++)
            value_i8_tile(w + i * ELM_CPU_WEIGHT_CODES, unit + i, c + i, v, o + i * o_stride,
                          o_stride, 1);
    }
}

#endif
