/* block_dotprod.h - the products of gemv_neon.h with sdot. Layer: backend/cpu.
 *
 * A 16-byte quarter of a cell is 4 rows x 4 k: one sdot operand as it lies. Nibbles 0..15 are valid
 * s8. */
#ifndef ELM_BACKEND_CPU_BLOCK_DOTPROD_H
#define ELM_BACKEND_CPU_BLOCK_DOTPROD_H

#include "backend/cpu/arm/int_neon.h"

/* A cell of 8 k against lanes `lane` and the next of x, 16 of the block's activations. */
#define I4_CELL(w, s, x, lane)                                                         \
    do {                                                                               \
        uint8x16x4_t v_ = vld1q_u8_x4(w);                                              \
        for (int i_ = 0; i_ < 4; i_++) {                                               \
            int8x16_t lo_ = vreinterpretq_s8_u8(vandq_u8(v_.val[i_], vdupq_n_u8(15))); \
            (s)[i_] = vdotq_laneq_s32((s)[i_], lo_, x, lane);                          \
            int8x16_t hi_ = vreinterpretq_s8_u8(vshrq_n_u8(v_.val[i_], 4));            \
            (s)[i_] = vdotq_laneq_s32((s)[i_], hi_, x, (lane) + 1);                    \
        }                                                                              \
        (w) += 64;                                                                     \
        for (int i_ = 0; i_ < 4; i_++) AFTER(w, (s)[i_]);                              \
    } while (0)

/* A cell of 4 k against a lane. */
#define I8_CELL(w, s, x, lane)                                                            \
    do {                                                                                  \
        uint8x16x4_t v_ = vld1q_u8_x4(w);                                                 \
        for (int i_ = 0; i_ < 4; i_++)                                                    \
            (s)[i_] = vdotq_laneq_s32((s)[i_], vreinterpretq_s8_u8(v_.val[i_]), x, lane); \
        (w) += 64;                                                                        \
        for (int i_ = 0; i_ < 4; i_++) AFTER(w, (s)[i_]);                                 \
    } while (0)

ELM_INLINE void i4_block(const uint8_t **codes, const int8_t **a, const int32_t **sum,
                         const int16x8_t z[2], int32x4_t isum[4]) {
    int8x16_t x0 = vld1q_s8(*a), x1 = vld1q_s8(*a + 16);
    *a += 32;
    start(z, sum, isum);
    I4_CELL(*codes, isum, x0, 0);
    I4_CELL(*codes, isum, x0, 2);
    I4_CELL(*codes, isum, x1, 0);
    I4_CELL(*codes, isum, x1, 2);
}

ELM_INLINE void i8_block(const uint8_t **codes, const int8_t **a, const int32_t **sum,
                         const int16x8_t z[2], int32x4_t isum[4], const bool zeros) {
    int8x16_t x[2] = {vld1q_s8(*a), vld1q_s8(*a + 16)};
    *a += 32;
    for (int i = 0; i < 4; i++) isum[i] = vdupq_n_s32(0);
    if (zeros) start(z, sum, isum);
    for (int half = 0; half < 2; half++) {
        I8_CELL(*codes, isum, x[half], 0);
        I8_CELL(*codes, isum, x[half], 1);
        I8_CELL(*codes, isum, x[half], 2);
        I8_CELL(*codes, isum, x[half], 3);
    }
}

#endif
