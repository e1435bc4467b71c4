/* gemv_neon.h - int8-activation linears of one token for NEON, from the codes as they are stored,
 * written once over the products of a block. Layer: backend/cpu.
 *
 * The including file defines, before: i4_block(&codes, &a, &sum, z, isum) and i8_block(.., zeros): the
 * exact sums of (u - zero) * a of a block of 32 k, for the 16 rows of a panel, into int32x4_t isum[4];
 * the pointers move on to the next block. */
#ifndef ELM_BACKEND_CPU_GEMV_NEON_H
#define ELM_BACKEND_CPU_GEMV_NEON_H

#include "backend/cpu/arm/int_neon.h"

enum { GEMV_PREFETCH_BYTES = 1536 };

/* One panel and one token. i4 and zeros are constants. */
ELM_INLINE void gemv(const elm_cpu_linear *job, size_t panel, size_t token, const bool i4,
                     const bool zeros) {
    const elm_cpu_weight *w = job->weight;
    const elm_cpu_acts *acts = &job->acts;
    const size_t block_bytes = i4 ? 256 : 512;
    const uint8_t *codes = (const uint8_t *)w->codes + panel * (w->k_padded / 32) * block_bytes;
    const uint16_t *scales = w->scales + panel * w->n_groups * 16;
    const uint8_t *zero = w->zeros + (zeros ? panel * w->n_groups * 16 : 0);
    const int8_t *a = acts->q + token * acts->q_stride;
    const float *d = acts->d + token * acts->block_stride;
    const int32_t *sum = acts->sum + token * acts->block_stride;
    v16 y = v_splat(0.0f);
    int16x8_t z[2] = {vdupq_n_s16(-ELM_ZERO_I4), vdupq_n_s16(-ELM_ZERO_I4)};
    for (size_t left = w->n_blocks, n; left > 0; left -= n) {
        v16 s = v_load_f16(scales);
        scales += 16;
        if (zeros) {
            load_zeros(zero, i4 ? 0 : ELM_ZERO_I8, z);
            zero += 16;
        }
        n = left < w->group_blocks ? left : w->group_blocks;
        size_t b = n;
        do {
            int32x4_t isum[4];
            if (i4)
                i4_block(&codes, &a, &sum, z, isum);
            else
                i8_block(&codes, &a, &sum, z, isum, zeros);
            __builtin_prefetch(codes + GEMV_PREFETCH_BYTES);
            __builtin_prefetch(codes + GEMV_PREFETCH_BYTES + 128);
            for (int i = 0; i < 4; i++)
                y.q[i] = vfmaq_f32(y.q[i], vcvtq_f32_s32(isum[i]), vmulq_n_f32(s.q[i], *d));
            d++;
            FORGET(a);
            FORGET(d);
        } while (--b > 0);
    }
    linear_finish(job, panel, token, y);
}

/* Functions of their own: compilers give each its registers. */
static ELM_NOINLINE void gemv_i4(const elm_cpu_linear *job, size_t panel, size_t t) {
    gemv(job, panel, t, true, false);
}
static ELM_NOINLINE void gemv_i4z(const elm_cpu_linear *job, size_t panel, size_t t) {
    gemv(job, panel, t, true, true);
}
static ELM_NOINLINE void gemv_i8(const elm_cpu_linear *job, size_t panel, size_t t) {
    gemv(job, panel, t, false, false);
}
static ELM_NOINLINE void gemv_i8z(const elm_cpu_linear *job, size_t panel, size_t t) {
    gemv(job, panel, t, false, true);
}

#endif
