/* simd_avx512.h - 16 floats in one zmm register; see simd_c.h for the meaning. Layer: backend/cpu.
 */
#ifndef ELM_BACKEND_CPU_SIMD_AVX512_H
#define ELM_BACKEND_CPU_SIMD_AVX512_H

#include "backend/cpu/x86/simd_x86.h"

typedef __m512 v16;

static inline v16 v_load(const float *p) {
    return _mm512_loadu_ps(p);
}
static inline v16 v_load_f16(const uint16_t *p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(const void *)p));
}
static inline v16 v_load_bf16(const uint16_t *p) {
    __m512i w = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)(const void *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(w, 16));
}
static inline v16 v_splat(float x) {
    return _mm512_set1_ps(x);
}
static inline v16 v_add(v16 x, v16 y) {
    return _mm512_add_ps(x, y);
}
static inline v16 v_sub(v16 x, v16 y) {
    return _mm512_sub_ps(x, y);
}
static inline v16 v_mul(v16 x, v16 y) {
    return _mm512_mul_ps(x, y);
}
static inline v16 v_div(v16 x, v16 y) {
    return _mm512_div_ps(x, y);
}
static inline v16 v_max(v16 x, v16 y) {
    return _mm512_max_ps(x, y);
}
static inline v16 v_min(v16 x, v16 y) {
    return _mm512_min_ps(x, y);
}
static inline v16 v_fma(v16 x, v16 y, v16 z) {
    return _mm512_fmadd_ps(x, y, z);
}
static inline v16 v_abs(v16 x) {
    return _mm512_abs_ps(x);
}
static inline v16 v_keep(v16 x, v16 limit, v16 v) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(x, limit, _CMP_GE_OQ), v);
}
static inline v16 v_pow2(v16 n) {
    __m512i e = _mm512_add_epi32(_mm512_cvttps_epi32(n), _mm512_set1_epi32(127));
    return _mm512_castsi512_ps(_mm512_slli_epi32(e, 23));
}

static inline void v_store(float *p, v16 x) {
    _mm512_storeu_ps(p, x);
}
static inline void v_store_f16(uint16_t *p, v16 x) {
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtps_ph(x, _MM_FROUND_TO_NEAREST_INT));
}
static inline void v_store_i16(int16_t *p, v16 x) {
    _mm256_storeu_si256((__m256i *)(void *)p, _mm512_cvtsepi32_epi16(_mm512_cvtps_epi32(x)));
}
static inline void v_store_i8(int8_t *p, v16 x) {
    _mm_storeu_si128((__m128i *)(void *)p, _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32(x)));
}

static inline float v_sum(v16 x) {
    return sum_of_8(_mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1)));
}
static inline float v_max_of(v16 x) {
    return _mm512_reduce_max_ps(x);
}

/* Tiles of attention, as many accumulators as there are registers: queries x panels of keys (and
 * for two queries), queries x vectors of values (and for two, and one). */
enum {
    V_SCORE_Q = 6,
    V_SCORE_P = 4,
    V_SCORE_P2 = 4,
    V_VALUE_Q = 6,
    V_VALUE_D = 4,
    V_VALUE_D2 = 8,
    V_VALUE_D1 = 8
};

/* Vectors of a row in a tile of 4 rows of sums: as many as registers allow. */
enum { V_TILE_VECTORS = 2 };

#endif
