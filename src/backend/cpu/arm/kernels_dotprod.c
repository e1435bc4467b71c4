/* kernels_dotprod.c - int8 linears with sdot (Armv8.2 dotprod). Compiled with that extension.
 * Layer: backend/cpu.
 *
 * A 16-byte quarter of a cell is 4 rows x 4 k: one sdot operand as it lies. Nibbles 0..15 are valid
 * s8. Four tokens run together from the stored codes: 16 int32 accumulators, 8 registers of
 * activations. */
#include "backend/cpu/arm/simd_neon.h"

#include "backend/cpu/arm/dotprod.h"
#include "backend/cpu/kernels_attention.h"

/* A cell is one load of four registers. Compilers load all cells ahead and spill them, unless the
 * products and the address of each stand before the next. */
#define AFTER_CELL(w, s) \
    __asm__ volatile("" : "+r"(w), "+w"((s)[0]), "+w"((s)[1]), "+w"((s)[2]), "+w"((s)[3]))

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
        AFTER_CELL(w, s);                                                              \
    } while (0)

/* A cell of 4 k against a lane. */
#define I8_CELL(w, s, x, lane)                                                            \
    do {                                                                                  \
        uint8x16x4_t v_ = vld1q_u8_x4(w);                                                 \
        for (int i_ = 0; i_ < 4; i_++)                                                    \
            (s)[i_] = vdotq_laneq_s32((s)[i_], vreinterpretq_s8_u8(v_.val[i_]), x, lane); \
        (w) += 64;                                                                        \
        AFTER_CELL(w, s);                                                                 \
    } while (0)

ELM_INLINE void i4_block(const uint8_t *cells, const int8_t *a, int32x4_t isum[4]) {
    int8x16_t x0 = vld1q_s8(a), x1 = vld1q_s8(a + 16);
    for (int i = 0; i < 4; i++) isum[i] = vdupq_n_s32(0);
    I4_CELL(cells, isum, x0, 0);
    I4_CELL(cells, isum, x0, 2);
    I4_CELL(cells, isum, x1, 0);
    I4_CELL(cells, isum, x1, 2);
}

ELM_INLINE void i8_block(const uint8_t *cells, const int8_t *a, int32x4_t isum[4]) {
    int8x16_t x[2] = {vld1q_s8(a), vld1q_s8(a + 16)};
    for (int i = 0; i < 4; i++) isum[i] = vdupq_n_s32(0);
    for (int half = 0; half < 2; half++) {
        I8_CELL(cells, isum, x[half], 0);
        I8_CELL(cells, isum, x[half], 1);
        I8_CELL(cells, isum, x[half], 2);
        I8_CELL(cells, isum, x[half], 3);
    }
}

/* One cell of 16 int8 keys x 4 dimensions against 4 query codes. */
ELM_INLINE void key_cell(const int8_t *cell, const int8_t *x, int32x4_t acc[4]) {
    int32_t four;
    memcpy(&four, x, 4);
    int8x16_t xv = vreinterpretq_s8_s32(vdupq_n_s32(four));
    for (int i = 0; i < 4; i++) acc[i] = vdotq_s32(acc[i], vld1q_s8(cell + 16 * i), xv);
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

/* 16 columns of 64 int8 values, four positions side by side, against their weights. */
ELM_INLINE void value_sums(const int8_t *codes, const int8_t *v, int32x4_t isum[4]) {
    int32x4_t low[4], high[4];
    for (int e = 0; e < 4; e++) low[e] = high[e] = vdupq_n_s32(0);
    for (size_t j = 0; j < ELM_CPU_KV_BLOCK; j += 16) {
        int8x16_t l = vld1q_s8(codes + j), h = vld1q_s8(codes + ELM_CPU_KV_BLOCK + j);
#define STEP(lane)                                      \
    for (int e = 0; e < 4; e++) {                       \
        int8x16_t y = vld1q_s8(v + 16 * e);             \
        low[e] = vdotq_laneq_s32(low[e], y, l, lane);   \
        high[e] = vdotq_laneq_s32(high[e], y, h, lane); \
    }                                                   \
    v += 64
        STEP(0);
        STEP(1);
        STEP(2);
        STEP(3);
#undef STEP
    }
    for (int e = 0; e < 4; e++) isum[e] = vaddq_s32(low[e], vshlq_n_s32(high[e], 8));
}

#include "backend/cpu/arm/int_neon.h"

enum { TOKENS = 4 };

/* Half a block (16 k: 2 cells of int4, 4 of int8) of one quarter for four tokens. */
#define I4_HALF(acc, cells, i, half, x)                                            \
    do {                                                                           \
        for (int c_ = 0; c_ < 2; c_++) {                                           \
            uint8x16_t v_ = vld1q_u8((cells) + 64 * (2 * (half) + c_) + 16 * (i)); \
            int8x16_t lo_ = vreinterpretq_s8_u8(vandq_u8(v_, vdupq_n_u8(15)));     \
            int8x16_t hi_ = vreinterpretq_s8_u8(vshrq_n_u8(v_, 4));                \
            for (int t_ = 0; t_ < TOKENS; t_++) {                                  \
                if (c_ == 0) {                                                     \
                    (acc)[t_] = vdotq_laneq_s32((acc)[t_], lo_, (x)[t_], 0);       \
                    (acc)[t_] = vdotq_laneq_s32((acc)[t_], hi_, (x)[t_], 1);       \
                } else {                                                           \
                    (acc)[t_] = vdotq_laneq_s32((acc)[t_], lo_, (x)[t_], 2);       \
                    (acc)[t_] = vdotq_laneq_s32((acc)[t_], hi_, (x)[t_], 3);       \
                }                                                                  \
            }                                                                      \
        }                                                                          \
    } while (0)

#define I8_STEP(acc, c, j, x, lane) \
    acc = vdotq_laneq_s32(acc, vreinterpretq_s8_u8(vld1q_u8((c) + 64 * (j))), x, lane)

#define I8_HALF(acc, cells, i, half, x)                        \
    do {                                                       \
        const uint8_t *c_ = (cells) + 256 * (half) + 16 * (i); \
        for (int t_ = 0; t_ < TOKENS; t_++) {                  \
            I8_STEP((acc)[t_], c_, 0, (x)[t_], 0);             \
            I8_STEP((acc)[t_], c_, 1, (x)[t_], 1);             \
            I8_STEP((acc)[t_], c_, 2, (x)[t_], 2);             \
            I8_STEP((acc)[t_], c_, 3, (x)[t_], 3);             \
        }                                                      \
    } while (0)

/* Start value of the lanes for activations that sum to 1; zeros of int8 come on top of 128. */
ELM_INLINE void load_zeros(const elm_cpu_weight *w, size_t at, const bool i4, int32x4_t z[4]) {
    uint8x16_t bytes = vld1q_u8(w->zeros + at);
    uint16x8_t half[2] = {vmovl_u8(vget_low_u8(bytes)), vmovl_u8(vget_high_u8(bytes))};
    for (int i = 0; i < 4; i++) {
        uint16x4_t q = i % 2 ? vget_high_u16(half[i / 2]) : vget_low_u16(half[i / 2]);
        z[i] = vsubq_s32(vdupq_n_s32(i4 ? 0 : ELM_ZERO_I8), vreinterpretq_s32_u32(vmovl_u16(q)));
    }
}

/* One value of each of the four tokens. */
ELM_INLINE float32x4_t four_floats(const float *p, size_t stride) {
    float32x4_t v = vld1q_dup_f32(p);
    v = vld1q_lane_f32(p + stride, v, 1);
    v = vld1q_lane_f32(p + 2 * stride, v, 2);
    return vld1q_lane_f32(p + 3 * stride, v, 3);
}
ELM_INLINE int32x4_t four_ints(const int32_t *p, size_t stride) {
    int32x4_t v = vld1q_dup_s32(p);
    v = vld1q_lane_s32(p + stride, v, 1);
    v = vld1q_lane_s32(p + 2 * stride, v, 2);
    return vld1q_lane_s32(p + 3 * stride, v, 3);
}

/* Lane t of v in every lane: the intrinsic wants a constant. */
#define LANE(v, t)                      \
    ((t) == 0   ? vdupq_laneq_s32(v, 0) \
     : (t) == 1 ? vdupq_laneq_s32(v, 1) \
     : (t) == 2 ? vdupq_laneq_s32(v, 2) \
                : vdupq_laneq_s32(v, 3))
#define TIMES_LANE(a, v, t)                \
    ((t) == 0   ? vmulq_laneq_f32(a, v, 0) \
     : (t) == 1 ? vmulq_laneq_f32(a, v, 1) \
     : (t) == 2 ? vmulq_laneq_f32(a, v, 2) \
                : vmulq_laneq_f32(a, v, 3))

/* Four tokens of one panel. i4 and zeros are constants. */
ELM_INLINE void panel4(const elm_cpu_linear *job, size_t panel, size_t token, const bool i4,
                       const bool zeros) {
    const elm_cpu_weight *w = job->weight;
    const elm_cpu_acts *acts = &job->acts;
    const size_t block_bytes = i4 ? 256 : 512, bs = acts->block_stride;
    const uint8_t *codes = (const uint8_t *)w->codes + panel * (w->k_padded / 32) * block_bytes;
    v16 y[TOKENS], s = v_splat(0.0f);
    int32x4_t z[4]; /* only for zeros of their own */
    for (int t = 0; t < TOKENS; t++) y[t] = v_splat(0.0f);
    size_t left = 0, group = 0;
    for (size_t b = 0; b < w->n_blocks; b++, codes += block_bytes) {
        if (left == 0) {
            size_t at = (panel * w->n_groups + group++) * 16;
            s = v_load_f16(w->scales + at);
            if (zeros) load_zeros(w, at, i4, z);
            left = w->group_blocks;
        }
        left--;
        float32x4_t d = four_floats(acts->d + token * bs + b, bs);
        int32x4_t start = vdupq_n_s32(0);
        if (i4 || zeros) start = four_ints(acts->sum + token * bs + b, bs);
        if (!zeros) start = vmulq_n_s32(start, -ELM_ZERO_I4);
        int8x16_t x[2][TOKENS];
        for (size_t t = 0; t < TOKENS; t++) {
            const int8_t *a = acts->q + (token + t) * acts->q_stride + b * 32;
            x[0][t] = vld1q_s8(a);
            x[1][t] = vld1q_s8(a + 16);
        }
#pragma GCC unroll 1 /* the eight activations then keep their registers */
        for (int i = 0; i < 4; i++) {
            int32x4_t acc[TOKENS];
#pragma GCC unroll 4
            for (int t = 0; t < TOKENS; t++) {
                acc[t] = LANE(start, t);
                if (zeros) acc[t] = vmulq_s32(acc[t], z[i]);
            }
            if (i4) {
                I4_HALF(acc, codes, i, 0, x[0]);
                I4_HALF(acc, codes, i, 1, x[1]);
            } else {
                I8_HALF(acc, codes, i, 0, x[0]);
                I8_HALF(acc, codes, i, 1, x[1]);
            }
#pragma GCC unroll 4
            for (int t = 0; t < TOKENS; t++)
                y[t].q[i] = vfmaq_f32(y[t].q[i], vcvtq_f32_s32(acc[t]), TIMES_LANE(s.q[i], d, t));
        }
    }
    for (size_t t = 0; t < TOKENS; t++) linear_finish(job, panel, token + t, y[t]);
}

ELM_INLINE void linear(const elm_cpu_linear *job, size_t begin, size_t end, const bool i4,
                       const bool zeros) {
    size_t body = job->n_tokens / TOKENS * TOKENS;
    for (size_t panel = begin; panel < end; panel++) {
        for (size_t t = 0; t < body; t += TOKENS) panel4(job, panel, t, i4, zeros);
        for (size_t t = body; t < job->n_tokens; t++) int_panel(job, panel, t, i4, zeros);
    }
}

void elm_cpu_linear_i4_dotprod(const elm_cpu_linear *job, size_t begin, size_t end, void *scratch) {
    (void)scratch;
    if (job->n_tokens < TOKENS)
        linear_i4_few(job, begin, end);
    else if (job->weight->zeros)
        linear(job, begin, end, true, true);
    else
        linear(job, begin, end, true, false);
}

void elm_cpu_linear_i8_dotprod(const elm_cpu_linear *job, size_t begin, size_t end, void *scratch) {
    (void)scratch;
    if (job->n_tokens < TOKENS)
        linear_i8_few(job, begin, end);
    else if (job->weight->zeros)
        linear(job, begin, end, false, true);
    else
        linear(job, begin, end, false, false);
}

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
    k->linear_i4 = elm_cpu_linear_i4_dotprod;
    k->linear_i8 = elm_cpu_linear_i8_dotprod;
    k->peak_i4 = k->peak_i8 = peak;
}
