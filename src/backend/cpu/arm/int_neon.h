/* int_neon.h - int8-activation linears for NEON, written once over the product of one step. Layer:
 * backend/cpu.
 *
 * The including file defines, before, how 16 codes (4 rows x 4 k) meet the 4 activations of each
 * token: i4_block(cells, a, isum), i8_block(cells, a, isum): exact sums of u * a (int4) or (u -
 * 128) * a (int8) of one block of 32 k, for the 16 rows of a panel, into int32x4_t isum[4];
 * key_cell for int8 keys; value_sums for 16 columns of int8 values and 64 weights. */
#ifndef ELM_BACKEND_CPU_INT_NEON_H
#define ELM_BACKEND_CPU_INT_NEON_H

#include "backend/cpu/kernels_attention.h"

enum { GEMV_PREFETCH_BYTES = 1536 };

/* One panel and one token. i4 and zeros are constants. */
ELM_INLINE void int_panel(const elm_cpu_linear *job, size_t panel, size_t token, const bool i4,
                          const bool zeros) {
    const elm_cpu_weight *w = job->weight;
    const elm_cpu_acts *acts = &job->acts;
    const size_t block_bytes = i4 ? 256 : 512;
    const uint8_t *codes = (const uint8_t *)w->codes + panel * (w->k_padded / 32) * block_bytes;
    const int8_t *a = acts->q + token * acts->q_stride;
    const float *d = acts->d + token * acts->block_stride;
    const int32_t *sum = acts->sum + token * acts->block_stride;
    v16 y = v_splat(0.0f), s = y;
    int32x4_t z[4];
    for (int i = 0; i < 4; i++) z[i] = vdupq_n_s32(i4 ? -ELM_ZERO_I4 : 0);
    size_t left = 0, group = 0;
    for (size_t b = 0; b < w->n_blocks; b++, codes += block_bytes, a += 32) {
        if (left == 0) {
            size_t at = (panel * w->n_groups + group++) * 16;
            s = v_load_f16(w->scales + at);
            left = w->group_blocks;
            if (zeros) {
                uint8x16_t bytes = vld1q_u8(w->zeros + at);
                uint16x8_t half[2] = {vmovl_u8(vget_low_u8(bytes)), vmovl_u8(vget_high_u8(bytes))};
                const int32x4_t base = vdupq_n_s32(i4 ? 0 : ELM_ZERO_I8);
                for (int i = 0; i < 4; i++) {
                    uint16x4_t q = i % 2 ? vget_high_u16(half[i / 2]) : vget_low_u16(half[i / 2]);
                    z[i] = vsubq_s32(base, vreinterpretq_s32_u32(vmovl_u16(q)));
                }
            }
        }
        left--;
        __builtin_prefetch(codes + GEMV_PREFETCH_BYTES);
        __builtin_prefetch(codes + GEMV_PREFETCH_BYTES + 128);
        int32x4_t isum[4];
        if (i4)
            i4_block(codes, a, isum);
        else
            i8_block(codes, a, isum);
        for (int i = 0; i < 4; i++) {
            if (i4 || zeros) isum[i] = vmlaq_n_s32(isum[i], z[i], sum[b]);
            y.q[i] = vfmaq_f32(y.q[i], vcvtq_f32_s32(isum[i]), vmulq_n_f32(s.q[i], d[b]));
        }
    }
    linear_finish(job, panel, token, y);
}

/* A panel stays in the cache for all tokens. */
ELM_INLINE void int_panels(const elm_cpu_linear *job, size_t begin, size_t end, const bool i4,
                           const bool zeros) {
    for (size_t panel = begin; panel < end; panel++)
        for (size_t t = 0; t < job->n_tokens; t++) int_panel(job, panel, t, i4, zeros);
}

static void linear_i4_few(const elm_cpu_linear *job, size_t begin, size_t end) {
    if (job->weight->zeros)
        int_panels(job, begin, end, true, true);
    else
        int_panels(job, begin, end, true, false);
}

static void linear_i8_few(const elm_cpu_linear *job, size_t begin, size_t end) {
    if (job->weight->zeros)
        int_panels(job, begin, end, false, true);
    else
        int_panels(job, begin, end, false, false);
}

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
