/* simd_x86.h - what the vector types of x86 share; see simd_c.h for the meaning. Layer: backend/cpu.
 */
#ifndef ELM_BACKEND_CPU_SIMD_X86_H
#define ELM_BACKEND_CPU_SIMD_X86_H

#include <immintrin.h>
#include <stdint.h>

/* The last three levels of v_sum's tree. */
static inline float sum_of_8(__m256 x) {
    __m128 t4 = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    __m128 t2 = _mm_add_ps(t4, _mm_movehl_ps(t4, t4));
    return _mm_cvtss_f32(_mm_add_ss(t2, _mm_movehdup_ps(t2)));
}

static inline uint32_t v_block_sums(const int8_t *q) {
    __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)q);
    __m256i p = _mm256_maddubs_epi16(_mm256_set1_epi8(1), v); /* even, odd, even, odd ... */
    __m128i s = _mm_add_epi16(_mm256_castsi256_si128(p), _mm256_extracti128_si256(p, 1));
    s = _mm_add_epi16(s, _mm_unpackhi_epi64(s, s));
    s = _mm_add_epi16(s, _mm_srli_epi64(s, 32));
    return (uint32_t)_mm_cvtsi128_si32(s);
}

#endif
