/* int_neon.h - what the integer linears of the NEON sets share. Layer: backend/cpu.
 *
 * u - zero = (u - base) + (base - zero): products are of codes less a base, 8 (int4) or 128 (int8), or 0
 * where nibbles are used as stored; base - zero, of a row, is multiplied with the sum of a block's
 * activations. */
#ifndef ELM_BACKEND_CPU_INT_NEON_H
#define ELM_BACKEND_CPU_INT_NEON_H

#include "backend/cpu/kernels_float.h"

/* Three things compilers do to these loops that cost instructions, and how to stop each (scripts/
 * arm_counts.py counts): */

/* Several pointers addressed by one index of its own: they lose sight of what p was. */
#define FORGET(p) __asm__ volatile("" : "+r"(p))

/* All loads first, and spills: the address of the next, p, stands behind a product. */
#define AFTER(p, product) __asm__ volatile("" : "+r"(p) : "w"(product))

/* A chain of products that begins with one of another kind moves between registers: v is in one. */
#define SETTLE(v) __asm__("" : "+w"(v))

/* base - zero of 16 rows. */
ELM_INLINE void load_zeros(const uint8_t *zeros, uint8_t base, int16x8_t z[2]) {
    uint8x16_t q = vld1q_u8(zeros);
    z[0] = vreinterpretq_s16_u16(vsubl_u8(vdup_n_u8(base), vget_low_u8(q)));
    z[1] = vreinterpretq_s16_u16(vsubl_high_u8(vdupq_n_u8(base), q));
}

/* z times the sum of a block's activations, which fits 16 bits: 32 * 127. Moves on. */
ELM_INLINE void start(const int16x8_t z[2], const int32_t **sum, int32x4_t isum[4]) {
    int16x4_t by = vreinterpret_s16_s32((int32x2_t){**sum, 0});
    ++*sum;
    FORGET(*sum);
    for (int i = 0; i < 2; i++) {
        isum[2 * i] = vmull_lane_s16(vget_low_s16(z[i]), by, 0);
        isum[2 * i + 1] = vmull_high_lane_s16(z[i], by, 0);
    }
}

/* Blocks of K that are expanded at once: with their activations they fit a first cache of 32 KiB. */
enum { PART_BLOCKS = 32 };

/* The activations of a tile's tokens from a block on; see elm_cpu_acts. */
typedef struct tile_acts {
    const int8_t *q[4];
    const float *d[4];
    const int32_t *sum[4];
} tile_acts;

#endif
