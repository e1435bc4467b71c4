/* kernels_neon.c - kernels for every AArch64: widening multiplies, no dot product. Layer:
 * backend/cpu.
 *
 * int4: 15 * 127 * 8 products = 15240 add up in int16. int8: two products of at most 128 * 127 fit
 * int16, then they are added in pairs into int32. */
#include "backend/cpu/arm/simd_neon.h"

#include "backend/cpu/kernels_attention.h"

/* Four activations, repeated for the 4 rows of a register; they lie at a multiple of four. */
static inline int8x16_t repeat4(const int8_t *p) {
    return vreinterpretq_s8_s32(vld1q_dup_s32((const int32_t *)(const void *)p));
}

/* Each int16x8 holds two rows x 4 k; both neighbours to one int32x4 of four rows. */
static inline int32x4_t rows4(int16x8_t a, int16x8_t b) {
    return vpaddq_s32(vpaddlq_s16(a), vpaddlq_s16(b));
}

ELM_INLINE void i4_block(const uint8_t *cells, const int8_t *a, int32x4_t isum[4]) {
    int16x8_t acc[8];
    for (int i = 0; i < 8; i++) acc[i] = vdupq_n_s16(0);
    for (int j = 0; j < 4; j++) {
        int8x16_t xl = repeat4(a + 8 * j), xh = repeat4(a + 8 * j + 4);
        for (int i = 0; i < 4; i++) {
            uint8x16_t v = vld1q_u8(cells + 64 * j + 16 * i);
            int8x16_t lo = vreinterpretq_s8_u8(vandq_u8(v, vdupq_n_u8(15)));
            int8x16_t hi = vreinterpretq_s8_u8(vshrq_n_u8(v, 4));
            acc[2 * i] = vmlal_s8(acc[2 * i], vget_low_s8(lo), vget_low_s8(xl));
            acc[2 * i + 1] = vmlal_high_s8(acc[2 * i + 1], lo, xl);
            acc[2 * i] = vmlal_s8(acc[2 * i], vget_low_s8(hi), vget_low_s8(xh));
            acc[2 * i + 1] = vmlal_high_s8(acc[2 * i + 1], hi, xh);
        }
    }
    for (int i = 0; i < 4; i++) isum[i] = rows4(acc[2 * i], acc[2 * i + 1]);
}

/* A cell is one load of four registers. Nothing of the next quarter or cells before this one:
 * compilers would load and multiply all of them ahead, and spill. */
ELM_INLINE void i8_block(const uint8_t *cells, const int8_t *a, int32x4_t isum[4]) {
    const int8_t *w = (const int8_t *)cells;
    int32x4_t acc[8];
    for (int j = 0; j < 8; j += 2) {
        int8x16_t x0 = repeat4(a + 4 * j), x1 = repeat4(a + 4 * j + 4);
        int8x16x4_t v0 = vld1q_s8_x4(w);
        w += 64;
        __asm__ volatile("" : "+r"(w));
        int8x16x4_t v1 = vld1q_s8_x4(w);
        w += 64;
        for (int i = 0; i < 4; i++) {
            int16x8_t lo = vmull_s8(vget_low_s8(v0.val[i]), vget_low_s8(x0));
            int16x8_t hi = vmull_high_s8(v0.val[i], x0);
            lo = vmlal_s8(lo, vget_low_s8(v1.val[i]), vget_low_s8(x1));
            hi = vmlal_high_s8(hi, v1.val[i], x1);
            acc[2 * i] = j == 0 ? vpaddlq_s16(lo) : vpadalq_s16(acc[2 * i], lo);
            acc[2 * i + 1] = j == 0 ? vpaddlq_s16(hi) : vpadalq_s16(acc[2 * i + 1], hi);
            __asm__ volatile("" : "+r"(w), "+w"(acc[2 * i]), "+w"(acc[2 * i + 1]));
        }
    }
    for (int i = 0; i < 4; i++) isum[i] = vpaddq_s32(acc[2 * i], acc[2 * i + 1]);
}

/* One cell of 16 int8 keys x 4 dimensions against 4 query codes. */
ELM_INLINE void key_cell(const int8_t *cell, const int8_t *x, int32x4_t acc[4]) {
    int8x16_t xv = repeat4(x);
    for (int i = 0; i < 4; i++) {
        int8x16_t w = vld1q_s8(cell + 16 * i);
        int16x8_t lo = vmull_s8(vget_low_s8(w), vget_low_s8(xv)), hi = vmull_high_s8(w, xv);
        acc[i] = vaddq_s32(acc[i], rows4(lo, hi));
    }
}

/* 16 columns of 64 int8 values, four positions side by side, against their weights. */
ELM_INLINE void value_sums(const int8_t *codes, const int8_t *v, int32x4_t isum[4]) {
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
        isum[e] = vpaddq_s32(vpaddq_s32(acc[4 * e], acc[4 * e + 1]),
                             vpaddq_s32(acc[4 * e + 2], acc[4 * e + 3]));
}

#include "backend/cpu/arm/int_neon.h"

static void linear_i4(const elm_cpu_linear *job, size_t begin, size_t end, void *scratch) {
    (void)scratch;
    linear_i4_few(job, begin, end);
}

static void linear_i8(const elm_cpu_linear *job, size_t begin, size_t end, void *scratch) {
    (void)scratch;
    linear_i8_few(job, begin, end);
}

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
