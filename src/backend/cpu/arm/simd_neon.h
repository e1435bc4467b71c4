/* simd_neon.h - 16 floats in four NEON registers; see simd_c.h for the meaning. Layer: backend/cpu.
 */
#ifndef ELM_BACKEND_CPU_SIMD_NEON_H
#define ELM_BACKEND_CPU_SIMD_NEON_H

#include <arm_neon.h>
#include <stdint.h>

typedef struct v16 {
    float32x4_t q[4];
} v16;

#define V_QUARTERS(expr)                         \
    v16 r;                                       \
    for (int i = 0; i < 4; i++) r.q[i] = (expr); \
    return r

static inline v16 v_load(const float *p) {
    V_QUARTERS(vld1q_f32(p + 4 * i));
}
static inline v16 v_load_f16(const uint16_t *p) {
    float16x8_t a = vreinterpretq_f16_u16(vld1q_u16(p)),
                b = vreinterpretq_f16_u16(vld1q_u16(p + 8));
    v16 r = {{vcvt_f32_f16(vget_low_f16(a)), vcvt_high_f32_f16(a), vcvt_f32_f16(vget_low_f16(b)),
              vcvt_high_f32_f16(b)}};
    return r;
}
static inline v16 v_load_bf16(const uint16_t *p) {
    V_QUARTERS(vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p + 4 * i), 16)));
}
static inline v16 v_splat(float x) {
    V_QUARTERS(vdupq_n_f32(x));
}
static inline v16 v_add(v16 a, v16 b) {
    V_QUARTERS(vaddq_f32(a.q[i], b.q[i]));
}
static inline v16 v_sub(v16 a, v16 b) {
    V_QUARTERS(vsubq_f32(a.q[i], b.q[i]));
}
static inline v16 v_mul(v16 a, v16 b) {
    V_QUARTERS(vmulq_f32(a.q[i], b.q[i]));
}
static inline v16 v_div(v16 a, v16 b) {
    V_QUARTERS(vdivq_f32(a.q[i], b.q[i]));
}
static inline v16 v_fma(v16 a, v16 b, v16 c) {
    V_QUARTERS(vfmaq_f32(c.q[i], a.q[i], b.q[i]));
}
/* Not vmaxq: the second operand when they do not compare. */
static inline v16 v_max(v16 a, v16 b) {
    V_QUARTERS(vbslq_f32(vcgtq_f32(a.q[i], b.q[i]), a.q[i], b.q[i]));
}
static inline v16 v_min(v16 a, v16 b) {
    V_QUARTERS(vbslq_f32(vcltq_f32(a.q[i], b.q[i]), a.q[i], b.q[i]));
}
static inline v16 v_abs(v16 a) {
    V_QUARTERS(vabsq_f32(a.q[i]));
}
static inline v16 v_keep(v16 x, v16 limit, v16 v) {
    V_QUARTERS(vreinterpretq_f32_u32(
        vandq_u32(vcgeq_f32(x.q[i], limit.q[i]), vreinterpretq_u32_f32(v.q[i]))));
}
static inline v16 v_pow2(v16 n) {
    V_QUARTERS(
        vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n.q[i]), vdupq_n_s32(127)), 23)));
}

static inline void v_store(float *p, v16 a) {
    for (int i = 0; i < 4; i++) vst1q_f32(p + 4 * i, a.q[i]);
}
static inline void v_store_f16(uint16_t *p, v16 a) {
    for (int i = 0; i < 4; i++) vst1_u16(p + 4 * i, vreinterpret_u16_f16(vcvt_f16_f32(a.q[i])));
}
static inline int16x8_t v_to_i16(float32x4_t a, float32x4_t b) {
    return vcombine_s16(vmovn_s32(vcvtnq_s32_f32(a)), vmovn_s32(vcvtnq_s32_f32(b)));
}
static inline void v_store_i16(int16_t *p, v16 a) {
    vst1q_s16(p, v_to_i16(a.q[0], a.q[1]));
    vst1q_s16(p + 8, v_to_i16(a.q[2], a.q[3]));
}
static inline void v_store_i8(int8_t *p, v16 a) {
    int16x8_t lo = v_to_i16(a.q[0], a.q[1]), hi = v_to_i16(a.q[2], a.q[3]);
    vst1q_s8(p, vcombine_s8(vmovn_s16(lo), vmovn_s16(hi)));
}

static inline float32x4_t v_fold8(v16 a) {
    return vaddq_f32(vaddq_f32(a.q[0], a.q[2]), vaddq_f32(a.q[1], a.q[3]));
}
static inline float v_sum(v16 a) {
    float32x4_t t4 = v_fold8(a);
    float32x2_t t2 = vadd_f32(vget_low_f32(t4), vget_high_f32(t4));
    return vget_lane_f32(t2, 0) + vget_lane_f32(t2, 1);
}
static inline float v_max_of(v16 a) {
    v16 m = v_max(a, a);
    float32x4_t t = vbslq_f32(vcgtq_f32(m.q[0], m.q[1]), m.q[0], m.q[1]);
    float32x4_t u = vbslq_f32(vcgtq_f32(m.q[2], m.q[3]), m.q[2], m.q[3]);
    t = vbslq_f32(vcgtq_f32(t, u), t, u);
    float best = vgetq_lane_f32(t, 0);
    best = best > vgetq_lane_f32(t, 1) ? best : vgetq_lane_f32(t, 1);
    best = best > vgetq_lane_f32(t, 2) ? best : vgetq_lane_f32(t, 2);
    return best > vgetq_lane_f32(t, 3) ? best : vgetq_lane_f32(t, 3);
}

static inline uint32_t v_block_sums(const int8_t *q) {
    int16x8_t p = vaddq_s16(vpaddlq_s8(vld1q_s8(q)), vpaddlq_s8(vld1q_s8(q + 16)));
    int16x4_t s = vadd_s16(vget_low_s16(p), vget_high_s16(p)); /* even, odd, even, odd */
    int even = vget_lane_s16(s, 0) + vget_lane_s16(s, 2);
    int odd = vget_lane_s16(s, 1) + vget_lane_s16(s, 3);
    return (uint32_t)(uint16_t)even | (uint32_t)(uint16_t)odd << 16;
}

/* Tiles of attention, as many accumulators as there are registers: queries x panels of keys (and
 * for two queries), queries x vectors of values (and for two, and one). */
enum {
    V_SCORE_Q = 5,
    V_SCORE_P = 1,
    V_SCORE_P2 = 2,
    V_VALUE_Q = 5,
    V_VALUE_D = 1,
    V_VALUE_D2 = 2,
    V_VALUE_D1 = 4
};

/* Vectors of a row in a tile of 4 rows of sums: as many as registers allow. */
enum { V_TILE_VECTORS = 1 };

#endif
