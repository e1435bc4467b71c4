/* kernels_avx2.c - kernels for AVX2, FMA and F16C. Compiled with those flags. Layer: backend/cpu.
 *
 * Codes of 4 bits are the u8 operand of maddubs, activations the s8 one. Pair sums (<= 15*127*2) of a
 * whole block add up in int16: the start value (-8 S_even, -8 S_odd) keeps every partial sum within
 * 8*127*16 = 16256, and the low plane of an int8 code, which starts at 0, within 15*127*16 = 30480.
 * Stored int8: |w| is the u8 operand, a * sign(w) the s8 one: 128*127*2 = 32512 fits int16, widened
 * every step. */
#include "backend/cpu/x86/simd_avx2.h"

#include "backend/cpu/kernels_float.h"

#define FORM_I8_MANY FORM_PLANES

ELM_INLINE __m256i dot_start(int32_t pair, int zero) {
    (void)zero; /* of 4 bits: 8 */
    return _mm256_set1_epi32(pair);
}
ELM_INLINE __m256i dot(__m256i acc, __m256i u, __m256i x) {
    return _mm256_add_epi16(acc, _mm256_maddubs_epi16(u, x));
}
ELM_INLINE __m256i dot_join(__m256i a, __m256i b) {
    return _mm256_add_epi16(a, b);
}
ELM_INLINE __m256i dot_sum(__m256i acc) {
    return _mm256_madd_epi16(acc, _mm256_set1_epi16(1));
}
ELM_INLINE __m256i plane_sum(__m256i high, __m256i low) {
    return _mm256_add_epi32(_mm256_madd_epi16(high, _mm256_set1_epi16(16)), dot_sum(low));
}
ELM_INLINE __m256i i8_start(int32_t sum) {
    (void)sum; /* codes keep their sign */
    return _mm256_setzero_si256();
}
ELM_INLINE __m256i i8_operand(__m256i w) {
    return _mm256_abs_epi8(w); /* |-128| = 128 as u8 */
}
ELM_INLINE __m256i i8_dot(__m256i acc, __m256i u, __m256i w, __m256i x) {
    return _mm256_add_epi32(acc, dot_sum(_mm256_maddubs_epi16(u, _mm256_sign_epi8(x, w))));
}

/* Eight chains. The operand is named in an empty statement, or one product would serve all chains.
 */
static uint64_t peak(size_t rounds, bool i4) {
    __m256i acc[8], w = _mm256_set1_epi8(1), x = _mm256_set1_epi8(2);
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) acc[i] = _mm256_setzero_si256();
    for (size_t r = 0; r < rounds; r++) {
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
            __asm__ volatile("" : "+x"(x));
            __m256i p = _mm256_maddubs_epi16(w, x);
            acc[i] = i4 ? _mm256_add_epi16(acc[i], p) : _mm256_add_epi32(acc[i], dot_sum(p));
            __asm__ volatile("" : "+x"(acc[i]));
        }
    }
    return (uint64_t)rounds * 8 * 64;
}
static uint64_t peak_i4(size_t rounds) {
    return peak(rounds, true);
}
static uint64_t peak_i8(size_t rounds) {
    return peak(rounds, false);
}

#include "backend/cpu/x86/kernels_ymm.h"

void elm_cpu_kernels_avx2(elm_cpu_kernels *k) {
    fill_ymm_kernels(k);
    k->peak_i4 = peak_i4;
    k->peak_i8 = peak_i8;
}
