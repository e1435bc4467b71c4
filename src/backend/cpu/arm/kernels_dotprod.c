/* kernels_dotprod.c - int8 linears and attention with sdot (Armv8.2 dotprod). Compiled with that
 * extension. Layer: backend/cpu. */
#include "backend/cpu/arm/simd_neon.h"

#include "backend/cpu/arm/block_dotprod.h"
#include "backend/cpu/kernels_attention.h"

/* ---- attention over int8 ---- */

enum { SCORE_QUERIES = 2, VALUE_QUERIES = 2 };

/* 4 registers of 4 rows or columns x 4 against lane `lane` of x. */
#define LANE_SUMS(acc, v, x, lane) \
    for (int e_ = 0; e_ < 4; e_++) (acc)[e_] = vdotq_laneq_s32((acc)[e_], (v).val[e_], x, lane)

#define KEYS(k, x, acc, m, lane)                                                  \
    do {                                                                          \
        int8x16x4_t v_ = vld1q_s8_x4(k);                                          \
        (k) += 64;                                                                \
        for (int t_ = 0; t_ < (m); t_++) LANE_SUMS((acc)[t_], v_, (x)[t_], lane); \
        AFTER(k, (acc)[(m)-1][3]);                                                \
    } while (0)

ELM_INLINE void key_block(const int8_t *k, const int8_t *x, size_t x_stride, int32x4_t acc[][4],
                          const int m) {
    for (int half = 0; half < 2; half++) {
        int8x16_t xv[SCORE_QUERIES];
        for (int t = 0; t < m; t++) xv[t] = vld1q_s8(x + (size_t)t * x_stride + 16 * half);
        KEYS(k, xv, acc, m, 0);
        KEYS(k, xv, acc, m, 1);
        KEYS(k, xv, acc, m, 2);
        KEYS(k, xv, acc, m, 3);
    }
}

ELM_INLINE void key_cell(const int8_t *k, const int8_t *x, int32x4_t acc[4]) {
    int8x16_t four = vreinterpretq_s8_s32(vld1q_dup_s32((const int32_t *)(const void *)x));
    LANE_SUMS(acc, vld1q_s8_x4(k), four, 0);
}

/* Two planes of 64 bytes: code = 256 * high + low, low in [-128, 127], high in [0, 127]. */
static float weigh_i8(const float *p, const float *scales, void *codes) {
    int16_t code[ELM_CPU_KV_BLOCK];
    int8_t *out = codes;
    float unit = k_weigh_i16(p, scales, code);
    for (size_t i = 0; i < ELM_CPU_KV_BLOCK; i += 8) {
        int16x8_t c = vld1q_s16(code + i);
        int8x8_t low = vmovn_s16(c);
        vst1_s8(out + i, low);
        vst1_s8(out + ELM_CPU_KV_BLOCK + i, vshrn_n_s16(vsubq_s16(c, vmovl_s8(low)), 8));
    }
    return unit;
}

/* Four positions side by side. */
#define VALUES(v, l, h, low, high, m, lane)           \
    do {                                              \
        int8x16x4_t v_ = vld1q_s8_x4(v);              \
        (v) += 64;                                    \
        for (int t_ = 0; t_ < (m); t_++) {            \
            LANE_SUMS((low)[t_], v_, (l)[t_], lane);  \
            LANE_SUMS((high)[t_], v_, (h)[t_], lane); \
        }                                             \
        AFTER(v, (high)[(m)-1][3]);                   \
    } while (0)

ELM_INLINE void value_sums(const int8_t *codes, const int8_t *v, int32x4_t isum[][4], const int m) {
    int32x4_t low[VALUE_QUERIES][4], high[VALUE_QUERIES][4];
    for (int t = 0; t < m; t++)
        for (int e = 0; e < 4; e++) low[t][e] = high[t][e] = vdupq_n_s32(0);
    for (size_t j = 0; j < ELM_CPU_KV_BLOCK; j += 16, codes += 16) {
        int8x16_t l[VALUE_QUERIES], h[VALUE_QUERIES];
        for (int t = 0; t < m; t++) {
            l[t] = vld1q_s8(codes + t * ELM_CPU_WEIGHT_CODES);
            h[t] = vld1q_s8(codes + t * ELM_CPU_WEIGHT_CODES + ELM_CPU_KV_BLOCK);
        }
        VALUES(v, l, h, low, high, m, 0);
        VALUES(v, l, h, low, high, m, 1);
        VALUES(v, l, h, low, high, m, 2);
        VALUES(v, l, h, low, high, m, 3);
    }
    for (int t = 0; t < m; t++)
        for (int e = 0; e < 4; e++) isum[t][e] = vaddq_s32(low[t][e], vshlq_n_s32(high[t][e], 8));
}

#include "backend/cpu/arm/attention_neon.h"

/* ---- a tile: 8 rows x 4 tokens ---- */

enum { TILE_ROWS = 8, TILE_TOKENS = 4, TILE_LEAST = 3, TILE_I8 = 1 };

typedef struct tile_block {
    int8_t codes[4][64]; /* [8 k][2][8 rows][4 k] */
    float scales[8];
    int32_t zeros[8];
} tile_block;

ELM_INLINE void put_codes(tile_block *to, size_t j, int8x16x4_t a, int8x16x4_t b) {
    for (int p = 0; p < 2; p++, to += PART_BLOCKS) {
        vst1q_s8(to->codes[j], a.val[2 * p]);
        vst1q_s8(to->codes[j] + 16, a.val[2 * p + 1]);
        vst1q_s8(to->codes[j] + 32, b.val[2 * p]);
        vst1q_s8(to->codes[j] + 48, b.val[2 * p + 1]);
    }
}
ELM_INLINE void put_scales(tile_block *to, v16 s) {
    for (int i = 0; i < 4; i++) vst1q_f32(to[i / 2 * PART_BLOCKS].scales + i % 2 * 4, s.q[i]);
}
ELM_INLINE void put_zeros(tile_block *to, const int16x8_t z[2]) {
    for (int p = 0; p < 2; p++, to += PART_BLOCKS) {
        vst1q_s32(to->zeros, vmovl_s16(vget_low_s16(z[p])));
        vst1q_s32(to->zeros + 4, vmovl_high_s16(z[p]));
    }
}

/* 4 k of 4 rows against lane `lane` of what x holds of each token. */
#define STEP(acc, w, x, half, lane)                                  \
    do {                                                             \
        (acc)[0] = vdotq_laneq_s32((acc)[0], w, (x)[0][half], lane); \
        (acc)[1] = vdotq_laneq_s32((acc)[1], w, (x)[1][half], lane); \
        (acc)[2] = vdotq_laneq_s32((acc)[2], w, (x)[2][half], lane); \
        (acc)[3] = vdotq_laneq_s32((acc)[3], w, (x)[3][half], lane); \
    } while (0)

/* 8 k; compilers load all ahead, and spill, unless the address stands behind the products. */
#define CELL(acc, w, x, half, lane)                     \
    do {                                                \
        int8x16x4_t v_ = vld1q_s8_x4(w);                \
        (w) += 64;                                      \
        STEP((acc)[0], v_.val[0], x, half, lane);       \
        STEP((acc)[1], v_.val[1], x, half, lane);       \
        STEP((acc)[0], v_.val[2], x, half, (lane) + 1); \
        STEP((acc)[1], v_.val[3], x, half, (lane) + 1); \
        AFTER(w, (acc)[1][3]);                          \
    } while (0)

ELM_INLINE void tile(const tile_block *rows, size_t n, const tile_acts *acts, float *sums,
                     const bool zeros) {
    tile_acts in = *acts;
    float32x4_t y[2][4];
    for (int t = 0; t < 4; t++)
        for (int i = 0; i < 2; i++) y[i][t] = vld1q_f32(sums + 16 * t + 4 * i);
    const int8_t *w = rows->codes[0];
    for (; n > 0; n--) {
        int32x4_t acc[2][4];
        int8x16_t x[4][2];
        for (int t = 0; t < 4; t++) {
            x[t][0] = vld1q_s8(in.q[t]);
            x[t][1] = vld1q_s8(in.q[t] + 16);
            in.q[t] += 32;
            FORGET(in.q[t]);
        }
        for (int t = 0; t < 4; t++) {
            acc[0][t] = acc[1][t] = vdupq_n_s32(0);
            if (zeros) {
                const int32_t *z = (const int32_t *)(const void *)(w + offsetof(tile_block, zeros));
                acc[0][t] = vmulq_n_s32(vld1q_s32(z), *in.sum[t]);
                acc[1][t] = vmulq_n_s32(vld1q_s32(z + 4), *in.sum[t]);
                in.sum[t]++;
            }
        }
        CELL(acc, w, x, 0, 0);
        CELL(acc, w, x, 0, 2);
        CELL(acc, w, x, 1, 0);
        CELL(acc, w, x, 1, 2);
        for (int t = 0; t < 4; t++) FORGET(in.d[t]); /* not before: registers */
        const float *s = (const float *)(const void *)w;
        float32x4_t s0 = vld1q_f32(s), s1 = vld1q_f32(s + 4);
        w += sizeof(tile_block) - 256;
#define SCALE(t)                                                                       \
    y[0][t] = vfmaq_f32(y[0][t], vcvtq_f32_s32(acc[0][t]), vmulq_n_f32(s0, *in.d[t])); \
    y[1][t] = vfmaq_f32(y[1][t], vcvtq_f32_s32(acc[1][t]), vmulq_n_f32(s1, *in.d[t])); \
    in.d[t]++
        SCALE(0);
        SCALE(1);
        SCALE(2);
        SCALE(3);
#undef SCALE
    }
    for (int t = 0; t < 4; t++)
        for (int i = 0; i < 2; i++) vst1q_f32(sums + 16 * t + 4 * i, y[i][t]);
}

#include "backend/cpu/arm/gemm_neon.h"

static uint64_t peak(size_t rounds) {
    int8x16_t w = vdupq_n_s8(1), x = vdupq_n_s8(2);
    int32x4_t acc[8];
    for (int i = 0; i < 8; i++) acc[i] = vdupq_n_s32(0);
    for (size_t r = 0; r < rounds; r++)
        for (int i = 0; i < 8; i++) {
            acc[i] = vdotq_laneq_s32(acc[i], w, x, 0);
            __asm__ volatile("" : "+w"(acc[i]));
        }
    return (uint64_t)rounds * 8 * 32;
}

void elm_cpu_kernels_dotprod(elm_cpu_kernels *k) {
    k->scores_i8 = scores_i8;
    k->weigh_i8 = weigh_i8;
    k->values_i8 = values_i8;
    k->linear_i4 = linear_i4;
    k->linear_i8 = linear_i8;
    k->peak_i4 = k->peak_i8 = peak;
}
