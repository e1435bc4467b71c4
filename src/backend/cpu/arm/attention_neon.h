/* attention_neon.h - attention over an int8 cache for NEON, written once over the product of one step.
 * Layer: backend/cpu.
 *
 * The including file defines, before: key_cell(cell, x, acc), 16 keys x 4 dimensions against 4 query
 * codes, added to int32x4_t acc[4]; value_sums(codes, v, isum), 16 columns of 64 int8 values against
 * their weights. */
#ifndef ELM_BACKEND_CPU_ATTENTION_NEON_H
#define ELM_BACKEND_CPU_ATTENTION_NEON_H

#include "backend/cpu/kernels_attention.h"

static void scores_i8(const elm_cpu_acts *q, size_t n_q, const int8_t *k, size_t dim, float *s) {
    const size_t cells = (dim + 3) / 4;
    for (size_t p = 0; p < KEY_PANELS; p++, k += 64 * cells)
        for (size_t i = 0; i < n_q; i++) {
            v16 y = v_splat(0.0f);
            for (size_t b = 0; 8 * b < cells; b++) {
                int32x4_t acc[4];
                for (int e = 0; e < 4; e++) acc[e] = vdupq_n_s32(0);
                for (size_t c = 8 * b; c < cells && c < 8 * b + 8; c++)
                    key_cell(k + 64 * c, q->q + i * q->q_stride + 4 * c, acc);
                for (int e = 0; e < 4; e++)
                    y.q[e] =
                        vfmaq_n_f32(y.q[e], vcvtq_f32_s32(acc[e]), q->d[i * q->block_stride + b]);
            }
            v_store(s + i * ELM_CPU_KV_BLOCK + 16 * p, y);
        }
}

static void values_i8(const void *codes, const float *unit, const float *c, size_t n_q,
                      const int8_t *v, size_t width, float *o, size_t o_stride) {
    for (size_t d = 0; d < width; d += 16)
        for (size_t i = 0; i < n_q; i++) {
            int32x4_t isum[4];
            float *y = o + i * o_stride + d;
            value_sums((const int8_t *)codes + i * ELM_CPU_WEIGHT_CODES, v + d * ELM_CPU_KV_BLOCK,
                       isum);
            for (int e = 0; e < 4; e++) {
                float32x4_t kept = vmulq_n_f32(vld1q_f32(y + 4 * e), c[i]);
                vst1q_f32(y + 4 * e, vfmaq_n_f32(kept, vcvtq_f32_s32(isum[e]), unit[i]));
            }
        }
}

#endif
