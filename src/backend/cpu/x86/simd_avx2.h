/* simd_avx2.h - 16 floats in two ymm registers; see simd_c.h for the meaning. Layer: backend/cpu.
 */
#ifndef ELM_BACKEND_CPU_SIMD_AVX2_H
#define ELM_BACKEND_CPU_SIMD_AVX2_H

#include "backend/cpu/x86/simd_x86.h"

typedef struct v16 {
    __m256 a, b;
} v16;

static inline v16 v_make(__m256 a, __m256 b) {
    v16 r = {a, b};
    return r;
}
static inline v16 v_load(const float *p) {
    return v_make(_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8));
}
static inline v16 v_load_f16(const uint16_t *p) {
    return v_make(_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p)),
                  _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)(p + 8))));
}
static inline __m256 v_half_bf16(const uint16_t *p) {
    __m256i w = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(const void *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(w, 16));
}
static inline v16 v_load_bf16(const uint16_t *p) {
    return v_make(v_half_bf16(p), v_half_bf16(p + 8));
}
static inline __m256 v_half_i8(const int8_t *p) {
    return _mm256_cvtepi32_ps(
        _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)p)));
}
static inline v16 v_splat(float x) {
    return v_make(_mm256_set1_ps(x), _mm256_set1_ps(x));
}

#define V_BOTH(op, x, y) v_make(op((x).a, (y).a), op((x).b, (y).b))
static inline v16 v_add(v16 x, v16 y) {
    return V_BOTH(_mm256_add_ps, x, y);
}
static inline v16 v_sub(v16 x, v16 y) {
    return V_BOTH(_mm256_sub_ps, x, y);
}
static inline v16 v_mul(v16 x, v16 y) {
    return V_BOTH(_mm256_mul_ps, x, y);
}
static inline v16 v_div(v16 x, v16 y) {
    return V_BOTH(_mm256_div_ps, x, y);
}
static inline v16 v_max(v16 x, v16 y) {
    return V_BOTH(_mm256_max_ps, x, y);
}
static inline v16 v_min(v16 x, v16 y) {
    return V_BOTH(_mm256_min_ps, x, y);
}
static inline v16 v_fma(v16 x, v16 y, v16 z) {
    return v_make(_mm256_fmadd_ps(x.a, y.a, z.a), _mm256_fmadd_ps(x.b, y.b, z.b));
}
static inline v16 v_abs(v16 x) {
    __m256 sign = _mm256_set1_ps(-0.0f);
    return v_make(_mm256_andnot_ps(sign, x.a), _mm256_andnot_ps(sign, x.b));
}
static inline v16 v_keep(v16 x, v16 limit, v16 v) {
    return v_make(_mm256_and_ps(_mm256_cmp_ps(x.a, limit.a, _CMP_GE_OQ), v.a),
                  _mm256_and_ps(_mm256_cmp_ps(x.b, limit.b, _CMP_GE_OQ), v.b));
}
static inline __m256 v_half_pow2(__m256 n) {
    __m256i e = _mm256_add_epi32(_mm256_cvttps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(e, 23));
}
static inline v16 v_pow2(v16 n) {
    return v_make(v_half_pow2(n.a), v_half_pow2(n.b));
}

static inline void v_store(float *p, v16 x) {
    _mm256_storeu_ps(p, x.a);
    _mm256_storeu_ps(p + 8, x.b);
}
static inline void v_store_f16(uint16_t *p, v16 x) {
    _mm_storeu_si128((__m128i *)(void *)p, _mm256_cvtps_ph(x.a, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128((__m128i *)(void *)(p + 8), _mm256_cvtps_ph(x.b, _MM_FROUND_TO_NEAREST_INT));
}
static inline __m256i v_to_i16(v16 x) {
    __m256i w = _mm256_packs_epi32(_mm256_cvtps_epi32(x.a), _mm256_cvtps_epi32(x.b));
    return _mm256_permute4x64_epi64(w, 0xd8); /* packs works within 128-bit halves */
}
static inline void v_store_i16(int16_t *p, v16 x) {
    _mm256_storeu_si256((__m256i *)(void *)p, v_to_i16(x));
}
static inline void v_store_i8(int8_t *p, v16 x) {
    __m256i w = v_to_i16(x);
    __m128i b = _mm_packs_epi16(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1));
    _mm_storeu_si128((__m128i *)(void *)p, b);
}

static inline float v_sum(v16 x) {
    return sum_of_8(_mm256_add_ps(x.a, x.b));
}
static inline float v_max_of(v16 x) {
    __m256 t8 = _mm256_max_ps(x.a, x.b);
    __m128 t4 = _mm_max_ps(_mm256_castps256_ps128(t8), _mm256_extractf128_ps(t8, 1));
    __m128 t2 = _mm_max_ps(t4, _mm_movehl_ps(t4, t4));
    return _mm_cvtss_f32(_mm_max_ss(t2, _mm_movehdup_ps(t2)));
}

/* Tiles of attention, as many accumulators as there are registers: queries x panels of keys (and
 * for two queries), queries x vectors of values (and for two, and one). */
enum {
    V_SCORE_Q = 6,
    V_SCORE_P = 1,
    V_SCORE_P2 = 2,
    V_VALUE_Q = 6,
    V_VALUE_D = 1,
    V_VALUE_D2 = 3,
    V_VALUE_D1 = 4
};

/* Vectors of a row in a tile of 4 rows of sums: as many as registers allow. */
enum { V_TILE_VECTORS = 1 };

#endif
