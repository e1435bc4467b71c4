/* kernels_neon.c - kernels for every AArch64: widening multiplies, no dot product. Layer:
 * backend/cpu.
 *
 * int4: 15 * 127 * 8 products = 15240 add up in int16. int8: two products of at most 128 * 127 fit
 * int16, then they are added in pairs into int32. */
#include "backend/cpu/arm/simd_neon.h"

#include "backend/cpu/arm/int_neon.h"
#include "backend/cpu/kernels_attention.h"

/* Four activations, repeated for the 4 rows of a register; they lie at a multiple of four. Moves on. */
ELM_INLINE int8x16_t repeat4(const int8_t **p) {
    int8x16_t x; /* the intrinsic becomes a load and an instruction that repeats */
    __asm__("ld1r {%0.4s}, [%1], #4" : "=w"(x), "+r"(*p) : "m"(*(const int32_t *)(const void *)*p));
    return x;
}

ELM_INLINE void i4_block(const uint8_t **codes, const int8_t **a, const int32_t **sum,
                         const int16x8_t z[2], int32x4_t isum[4]) {
    const uint8_t *w = *codes;
    const int8_t *x = *a;
    int16x8_t acc[8];
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        uint8x16x4_t v = vld1q_u8_x4(w);
        int8x16_t xl = repeat4(&x), xh = repeat4(&x);
        w += 64;
        for (int i = 0; i < 4; i++) {
            int8x16_t lo = vreinterpretq_s8_u8(vandq_u8(v.val[i], vdupq_n_u8(15)));
            int8x16_t hi = vreinterpretq_s8_u8(vshrq_n_u8(v.val[i], 4));
            int16x8_t *s = acc + 2 * i;
            s[0] = j == 0 ? vmull_s8(vget_low_s8(lo), vget_low_s8(xl))
                          : vmlal_s8(s[0], vget_low_s8(lo), vget_low_s8(xl));
            s[1] = j == 0 ? vmull_high_s8(lo, xl) : vmlal_high_s8(s[1], lo, xl);
            s[0] = vmlal_s8(s[0], vget_low_s8(hi), vget_low_s8(xh));
            s[1] = vmlal_high_s8(s[1], hi, xh);
            AFTER(w, s[1]);
        }
    }
    FORGET(*sum); /* not before: registers */
    start(z, sum, isum);
    for (int i = 0; i < 4; i++)
        isum[i] = vpadalq_s16(isum[i], vpaddq_s16(acc[2 * i], acc[2 * i + 1]));
    *codes = w, *a = x;
}

ELM_INLINE void i8_block(const uint8_t **codes, const int8_t **a, const int32_t **sum,
                         const int16x8_t z[2], int32x4_t isum[4], const bool zeros) {
    const int8_t *w = (const int8_t *)*codes, *x = *a;
    int32x4_t acc[8];
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        int8x16_t x0 = repeat4(&x), x1 = repeat4(&x);
        int8x16x4_t v0 = vld1q_s8_x4(w);
        w += 64;
        FORGET(w);
        int8x16x4_t v1 = vld1q_s8_x4(w);
        w += 64;
        for (int i = 0; i < 4; i++) {
            int16x8_t lo = vmull_s8(vget_low_s8(v0.val[i]), vget_low_s8(x0));
            int16x8_t hi = vmull_high_s8(v0.val[i], x0);
            lo = vmlal_s8(lo, vget_low_s8(v1.val[i]), vget_low_s8(x1));
            hi = vmlal_high_s8(hi, v1.val[i], x1);
            int32x4_t *s = acc + 2 * i;
            s[0] = j == 0 ? vpaddlq_s16(lo) : vpadalq_s16(s[0], lo);
            s[1] = j == 0 ? vpaddlq_s16(hi) : vpadalq_s16(s[1], hi);
            AFTER(w, s[1]);
        }
    }
    FORGET(*sum);
    for (int i = 0; i < 4; i++) isum[i] = vdupq_n_s32(0);
    if (zeros) start(z, sum, isum);
    for (int i = 0; i < 4; i++)
        isum[i] = vaddq_s32(isum[i], vpaddq_s32(acc[2 * i], acc[2 * i + 1]));
    *codes = (const uint8_t *)w, *a = x;
}

/* ---- attention over int8 ---- */

enum { SCORE_QUERIES = 2, VALUE_QUERIES = 1 };

ELM_INLINE void key_products(int8x16x4_t v, const int8_t *x, int32x4_t acc[4]) {
    int8x16_t xv = repeat4(&x);
    for (int i = 0; i < 4; i++) {
        int16x8_t low = vmull_s8(vget_low_s8(v.val[i]), vget_low_s8(xv));
        acc[i] = vpadalq_s16(acc[i], vpaddq_s16(low, vmull_high_s8(v.val[i], xv)));
    }
}

ELM_INLINE void key_cell(const int8_t *k, const int8_t *x, int32x4_t acc[4]) {
    key_products(vld1q_s8_x4(k), x, acc);
}

ELM_INLINE void key_block(const int8_t *k, const int8_t *x, size_t x_stride, int32x4_t acc[][4],
                          const int m) {
#pragma GCC unroll 8
    for (size_t j = 0; j < 8; j++) {
        int8x16x4_t v = vld1q_s8_x4(k);
        k += 64;
        for (int t = 0; t < m; t++) key_products(v, x + (size_t)t * x_stride + 4 * j, acc[t]);
        AFTER(k, acc[m - 1][3]);
    }
}

/* Four positions side by side. */
ELM_INLINE void value_sums(const int8_t *codes, const int8_t *v, int32x4_t isum[][4], const int m) {
    (void)m; /* one */
    const int16_t *w = (const int16_t *)(const void *)codes;
    int32x4_t acc[16];
    for (int i = 0; i < 16; i++) acc[i] = vdupq_n_s32(0);
    for (size_t j = 0; j < ELM_CPU_KV_BLOCK; j += 4, v += 64) {
        int16x4_t x = vld1_s16(w + j);
        int16x8_t twice = vcombine_s16(x, x);
        for (int e = 0; e < 4; e++) {
            int8x16_t y = vld1q_s8(v + 16 * e);
            int16x8_t lo = vmovl_s8(vget_low_s8(y)), hi = vmovl_high_s8(y);
            acc[4 * e] = vmlal_s16(acc[4 * e], vget_low_s16(lo), x);
            acc[4 * e + 1] = vmlal_high_s16(acc[4 * e + 1], lo, twice);
            acc[4 * e + 2] = vmlal_s16(acc[4 * e + 2], vget_low_s16(hi), x);
            acc[4 * e + 3] = vmlal_high_s16(acc[4 * e + 3], hi, twice);
        }
    }
    for (int e = 0; e < 4; e++)
        isum[0][e] = vpaddq_s32(vpaddq_s32(acc[4 * e], acc[4 * e + 1]),
                                vpaddq_s32(acc[4 * e + 2], acc[4 * e + 3]));
}

#include "backend/cpu/arm/attention_neon.h"

/* ---- a tile: 16 rows x 2 tokens ---- */

enum { TILE_ROWS = 16, TILE_TOKENS = 2, TILE_LEAST = 2, TILE_I8 = 0 };

typedef struct tile_block {
    int8_t codes[8][64]; /* [4 k][16 rows][4 k] */
    float scales[16];
    int16_t zeros[16];
} tile_block;

ELM_INLINE void put_codes(tile_block *to, size_t j, int8x16x4_t a, int8x16x4_t b) {
    vst1q_s8_x4(to->codes[2 * j], a);
    vst1q_s8_x4(to->codes[2 * j + 1], b);
}
ELM_INLINE void put_scales(tile_block *to, v16 s) {
    v_store(to->scales, s);
}
ELM_INLINE void put_zeros(tile_block *to, const int16x8_t z[2]) {
    vst1q_s16(to->zeros, z[0]);
    vst1q_s16(to->zeros + 8, z[1]);
}

/* 4 k of 16 rows against those of one token; the first sets the sums. */
ELM_INLINE void cell(int8x16x4_t w, const int8_t **x, int16x8_t acc[8], const bool first) {
    int8x16_t xv = repeat4(x);
    for (int i = 0; i < 4; i++) {
        int8x8_t low = vget_low_s8(w.val[i]), x_low = vget_low_s8(xv);
        acc[2 * i] = first ? vmull_s8(low, x_low) : vmlal_s8(acc[2 * i], low, x_low);
        acc[2 * i + 1] =
            first ? vmull_high_s8(w.val[i], xv) : vmlal_high_s8(acc[2 * i + 1], w.val[i], xv);
    }
}

/* Of int4 alone: 8 * 127 * 8 add up in int16. */
ELM_INLINE void tile(const tile_block *rows, size_t n, const tile_acts *acts, float *sums,
                     const bool zeros) {
    tile_acts in = *acts;
    v16 y[2] = {v_load(sums), v_load(sums + 16)};
    const int8_t *w = rows->codes[0];
    for (; n > 0; n--) {
        int16x8_t acc[2][8];
#pragma GCC unroll 8
        for (int j = 0; j < 8; j++) {
            int8x16x4_t v = vld1q_s8_x4(w);
            w += 64;
            for (int t = 0; t < 2; t++) cell(v, &in.q[t], acc[t], j == 0);
            AFTER(w, acc[1][7]);
        }
        const float *s = (const float *)(const void *)w;
        const int16_t *zero = (const int16_t *)(const void *)(w + sizeof rows->scales);
        w += sizeof(tile_block) - sizeof rows->codes;
        for (int t = 0; t < 2; t++) {
            int16x8_t z[2] = {vdupq_n_s16(0), vdupq_n_s16(0)};
            int32x4_t isum[4];
            if (zeros) z[0] = vld1q_s16(zero), z[1] = vld1q_s16(zero + 8);
            if (zeros) start(z, &in.sum[t], isum);
            for (int i = 0; i < 4; i++) {
                int16x8_t pairs = vpaddq_s16(acc[t][2 * i], acc[t][2 * i + 1]);
                isum[i] = zeros ? vpadalq_s16(isum[i], pairs) : vpaddlq_s16(pairs);
                y[t].q[i] = vfmaq_f32(y[t].q[i], vcvtq_f32_s32(isum[i]),
                                      vmulq_n_f32(vld1q_f32(s + 4 * i), *in.d[t]));
            }
            in.d[t]++;
            FORGET(in.d[t]);
        }
    }
    v_store(sums, y[0]);
    v_store(sums + 16, y[1]);
}

#include "backend/cpu/arm/gemm_neon.h"

/* Four chains of pairs of widening multiply-adds; int8 adds them into int32 every second one. */
static uint64_t peak(size_t rounds, bool i4) {
    int8x16_t w = vdupq_n_s8(1), x = vdupq_n_s8(2);
    int16x8_t narrow[8];
    int32x4_t wide[8];
    for (int i = 0; i < 8; i++) narrow[i] = vdupq_n_s16(0), wide[i] = vdupq_n_s32(0);
    for (size_t r = 0; r < rounds; r++)
        for (int i = 0; i < 8; i += 2) {
            __asm__ volatile("" : "+w"(x));
            narrow[i] = vmlal_s8(i4 ? narrow[i] : vmull_s8(vget_low_s8(w), vget_low_s8(x)),
                                 vget_low_s8(w), vget_low_s8(x));
            narrow[i + 1] = vmlal_high_s8(i4 ? narrow[i + 1] : vmull_high_s8(w, x), w, x);
            if (!i4) wide[i] = vpadalq_s16(wide[i], narrow[i]);
            if (!i4) wide[i + 1] = vpadalq_s16(wide[i + 1], narrow[i + 1]);
            __asm__ volatile("" : "+w"(narrow[i]), "+w"(narrow[i + 1]), "+w"(wide[i]));
        }
    return (uint64_t)rounds * 4 * (i4 ? 32 : 64);
}

static uint64_t peak_i4(size_t rounds) {
    return peak(rounds, true);
}
static uint64_t peak_i8(size_t rounds) {
    return peak(rounds, false);
}

void elm_cpu_kernels_neon(elm_cpu_kernels *k) {
    fill_float_kernels(k);
    fill_attention_kernels(k);
    k->scores_i8 = scores_i8;
    k->values_i8 = values_i8;
    k->linear_i4 = linear_i4;
    k->linear_i8 = linear_i8;
    k->peak_i4 = peak_i4;
    k->peak_i8 = peak_i8;
}
