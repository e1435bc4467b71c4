/* kernels_i8mm.c - int8 linears with smmla (Armv8.6 i8mm). Compiled with that extension. Layer:
 * backend/cpu.
 *
 * smmla multiplies 2 rows x 8 k by 2 tokens x 8 k. Expanded codes lie in pairs of rows, and float sums
 * stay in the order of its result, lanes (row, token), (row, token + 1), (row + 1, token), (row + 1,
 * token + 1), for all of a part of K. Single tokens run with sdot. */
#include "backend/cpu/arm/simd_neon.h"

#include "backend/cpu/arm/block_dotprod.h"

/* ---- a tile: 8 rows x 4 tokens ---- */

enum { TILE_ROWS = 8, TILE_TOKENS = 4, TILE_LEAST = 2, TILE_I8 = 1 };

/* Values of a row lie twice, for two tokens. */
typedef struct tile_block {
    int8_t codes[4][4][16]; /* [8 k][row pair][2 rows][8 k] */
    float scales[16];
    int32_t zeros[16];
} tile_block;

ELM_INLINE void put_codes(tile_block *to, size_t j, int8x16x4_t a, int8x16x4_t b) {
    for (int i = 0; i < 4; i++) {
        int8_t *pair = to[i / 2 * PART_BLOCKS].codes[j][i % 2 * 2];
        int32x4_t low = vreinterpretq_s32_s8(a.val[i]), high = vreinterpretq_s32_s8(b.val[i]);
        vst1q_s8(pair, vreinterpretq_s8_s32(vzip1q_s32(low, high)));
        vst1q_s8(pair + 16, vreinterpretq_s8_s32(vzip2q_s32(low, high)));
    }
}
ELM_INLINE void put_scales(tile_block *to, v16 s) {
    for (int i = 0; i < 4; i++) {
        float *twice = to[i / 2 * PART_BLOCKS].scales + i % 2 * 8;
        vst1q_f32(twice, vzip1q_f32(s.q[i], s.q[i]));
        vst1q_f32(twice + 4, vzip2q_f32(s.q[i], s.q[i]));
    }
}
ELM_INLINE void put_zeros(tile_block *to, const int16x8_t z[2]) {
    for (int i = 0; i < 4; i++) {
        int32_t *twice = to[i / 2 * PART_BLOCKS].zeros + i % 2 * 8;
        int32x4_t q = i % 2 ? vmovl_high_s16(z[i / 2]) : vmovl_s16(vget_low_s16(z[i / 2]));
        vst1q_s32(twice, vzip1q_s32(q, q));
        vst1q_s32(twice + 4, vzip2q_s32(q, q));
    }
}

/* k 0 .. 7 and 8 .. 15 of 16 of two tokens side by side. */
ELM_INLINE void pair_tokens(int8x16_t a, int8x16_t b, int8x16_t out[2]) {
    int64x2_t p = vreinterpretq_s64_s8(a), q = vreinterpretq_s64_s8(b);
    out[0] = vreinterpretq_s8_s64(vzip1q_s64(p, q));
    out[1] = vreinterpretq_s8_s64(vzip2q_s64(p, q));
}

ELM_INLINE void tile(const tile_block *rows, size_t n, const tile_acts *acts, float *sums,
                     const bool zeros) {
    tile_acts in = *acts;
    float32x4_t y[4][2]; /* [row pair][token pair] */
    for (int i = 0; i < 4; i++)
        for (int p = 0; p < 2; p++) {
            const float *at = sums + 32 * p + i / 2 * 4;
            float32x4_t a = vld1q_f32(at), b = vld1q_f32(at + 16);
            y[i][p] = i % 2 ? vzip2q_f32(a, b) : vzip1q_f32(a, b);
        }
    const int8_t *w = rows->codes[0][0];
    for (; n > 0; n--) {
        int32x4_t acc[4][2];
        int8x16_t x[2][4]; /* [token pair][8 k] */
        for (int t = 0; t < 4; t += 2) {
            pair_tokens(vld1q_s8(in.q[t]), vld1q_s8(in.q[t + 1]), x[t / 2]);
            pair_tokens(vld1q_s8(in.q[t] + 16), vld1q_s8(in.q[t + 1] + 16), x[t / 2] + 2);
            in.q[t] += 32, in.q[t + 1] += 32;
            FORGET(in.q[t]);
            FORGET(in.q[t + 1]);
        }
        for (int i = 0; i < 4; i++) acc[i][0] = acc[i][1] = vdupq_n_s32(0);
        if (zeros) {
            const int32_t *z = (const int32_t *)(const void *)(w + offsetof(tile_block, zeros));
            for (int p = 0; p < 2; p++) {
                int32x2_t two =
                    vld1_lane_s32(in.sum[2 * p + 1]++, vld1_dup_s32(in.sum[2 * p]++), 1);
                FORGET(in.sum[2 * p]);
                FORGET(in.sum[2 * p + 1]);
                int32x4_t sum = vcombine_s32(two, two);
                for (int i = 0; i < 4; i++) {
                    acc[i][p] = vmulq_s32(vld1q_s32(z + 4 * i), sum);
                    SETTLE(acc[i][p]);
                }
            }
        }
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            int8x16x4_t v = vld1q_s8_x4(w);
            w += 64;
            for (int i = 0; i < 4; i++)
                for (int p = 0; p < 2; p++) acc[i][p] = vmmlaq_s32(acc[i][p], v.val[i], x[p][j]);
            for (int i = 0; i < 4; i++) AFTER(w, acc[i][1]);
        }
        const float *s = (const float *)(const void *)w;
        w += sizeof(tile_block) - sizeof rows->codes;
        for (int p = 0; p < 2; p++) { /* not before: registers */
            FORGET(in.d[2 * p]);
            FORGET(in.d[2 * p + 1]);
            float32x2_t two = vld1_lane_f32(in.d[2 * p + 1]++, vld1_dup_f32(in.d[2 * p]++), 1);
            float32x4_t d = vcombine_f32(two, two);
            for (int i = 0; i < 4; i++)
                y[i][p] = vfmaq_f32(y[i][p], vcvtq_f32_s32(acc[i][p]),
                                    vmulq_f32(vld1q_f32(s + 4 * i), d));
        }
    }
    for (int p = 0; p < 2; p++)
        for (int i = 0; i < 4; i += 2) {
            float *at = sums + 32 * p + 2 * i;
            vst1q_f32(at, vuzp1q_f32(y[i][p], y[i + 1][p]));
            vst1q_f32(at + 16, vuzp2q_f32(y[i][p], y[i + 1][p]));
        }
}

#include "backend/cpu/arm/gemm_neon.h"

static uint64_t peak(size_t rounds) {
    int8x16_t w = vdupq_n_s8(1), x = vdupq_n_s8(2);
    int32x4_t acc[8];
    for (int i = 0; i < 8; i++) acc[i] = vdupq_n_s32(0);
    for (size_t r = 0; r < rounds; r++)
        for (int i = 0; i < 8; i++) {
            acc[i] = vmmlaq_s32(acc[i], w, x);
            __asm__ volatile("" : "+w"(acc[i]));
        }
    return (uint64_t)rounds * 8 * 64;
}

void elm_cpu_kernels_i8mm(elm_cpu_kernels *k) {
    k->linear_i4 = linear_i4;
    k->linear_i8 = linear_i8;
    k->peak_i4 = k->peak_i8 = peak;
}
