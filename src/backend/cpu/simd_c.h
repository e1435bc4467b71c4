/* simd_c.h - 16 floats in portable C: the definition that the other simd_*.h must match bit for
 * bit. Included by one .c file before kernels_float.h. Layer: backend/cpu. */
#ifndef ELM_BACKEND_CPU_SIMD_C_H
#define ELM_BACKEND_CPU_SIMD_C_H

#include <math.h>

#include "base/f16.h"

typedef struct v16 {
    float f[16];
} v16;

#define V_EACH(expr)                              \
    v16 r;                                        \
    for (int i = 0; i < 16; i++) r.f[i] = (expr); \
    return r

static inline v16 v_load(const float *p) {
    V_EACH(p[i]);
}
static inline v16 v_load_f16(const uint16_t *p) {
    V_EACH(elm_f32_from_f16(p[i]));
}
static inline v16 v_load_bf16(const uint16_t *p) {
    V_EACH(elm_f32_from_bf16(p[i]));
}
static inline v16 v_splat(float x) {
    V_EACH(x);
}
static inline v16 v_add(v16 a, v16 b) {
    V_EACH(a.f[i] + b.f[i]);
}
static inline v16 v_sub(v16 a, v16 b) {
    V_EACH(a.f[i] - b.f[i]);
}
static inline v16 v_mul(v16 a, v16 b) {
    V_EACH(a.f[i] * b.f[i]);
}
static inline v16 v_div(v16 a, v16 b) {
    V_EACH(a.f[i] / b.f[i]);
}
static inline v16 v_fma(v16 a, v16 b, v16 c) {
    V_EACH(__builtin_fmaf(a.f[i], b.f[i], c.f[i]));
}
/* The second operand when they do not compare, as maxps and minps. */
static inline v16 v_max(v16 a, v16 b) {
    V_EACH(a.f[i] > b.f[i] ? a.f[i] : b.f[i]);
}
static inline v16 v_min(v16 a, v16 b) {
    V_EACH(a.f[i] < b.f[i] ? a.f[i] : b.f[i]);
}
static inline v16 v_abs(v16 a) {
    V_EACH(fabsf(a.f[i]));
}
/* v where x >= limit, else 0. */
static inline v16 v_keep(v16 x, v16 limit, v16 v) {
    V_EACH(x.f[i] >= limit.f[i] ? v.f[i] : 0.0f);
}
/* 2^n for whole n in [-126, 127]. */
static inline v16 v_pow2(v16 n) {
    V_EACH(elm_f32_from_bits((uint32_t)((int32_t)n.f[i] + 127) << 23));
}

static inline void v_store(float *p, v16 a) {
    for (int i = 0; i < 16; i++) p[i] = a.f[i];
}
static inline void v_store_f16(uint16_t *p, v16 a) {
    for (int i = 0; i < 16; i++) p[i] = elm_f16_from_f32(a.f[i]);
}
/* Rounds half to even; the values lie in [-127, 127]. Adding 1.5 * 2^23 leaves the rounded value.
 */
static inline void v_store_i8(int8_t *p, v16 a) {
    for (int i = 0; i < 16; i++) p[i] = (int8_t)(int)(a.f[i] + 12582912.0f - 12582912.0f);
}

/* The same of values in [0, 32767]. */
static inline void v_store_i16(int16_t *p, v16 a) {
    for (int i = 0; i < 16; i++) p[i] = (int16_t)(int)(a.f[i] + 12582912.0f - 12582912.0f);
}

static inline float v_sum(v16 a) {
    float t[8];
    for (int i = 0; i < 8; i++) t[i] = a.f[i] + a.f[i + 8];
    for (int i = 0; i < 4; i++) t[i] += t[i + 4];
    return (t[0] + t[2]) + (t[1] + t[3]);
}
static inline float v_max_of(v16 a) {
    float m = a.f[0];
    for (int i = 1; i < 16; i++) m = m > a.f[i] ? m : a.f[i];
    return m;
}

/* Sums of a block of 32 codes where k % 4 is 0, 1 (even) or 2, 3 (odd), packed as two int16. */
static inline uint32_t v_block_sums(const int8_t *q) {
    int even = 0, odd = 0;
    for (int i = 0; i < 32; i += 4) {
        even += q[i] + q[i + 1];
        odd += q[i + 2] + q[i + 3];
    }
    return (uint32_t)(uint16_t)even | (uint32_t)(uint16_t)odd << 16;
}

/* Tiles of attention, as many accumulators as there are registers: queries x panels of keys (and
 * for two queries), queries x vectors of values (and for two, and one). */
enum {
    V_SCORE_Q = 2,
    V_SCORE_P = 1,
    V_SCORE_P2 = 1,
    V_VALUE_Q = 2,
    V_VALUE_D = 1,
    V_VALUE_D2 = 1,
    V_VALUE_D1 = 1
};

/* Vectors of a row in a tile of 4 rows of sums: as many as registers allow. */
enum { V_TILE_VECTORS = 1 };

#endif
