/* kernels_avxvnni.c - kernels for AVX2 with VNNI. Compiled with those flags. Layer: backend/cpu.
 *
 * Weights are the u8 operand of vpdpbusd, activations the s8 one; int8 codes become unsigned by xor
 * 0x80. int32 cannot overflow: 255 * 127 * 32 < 2^21. The product compiles this with the VEX form of the
 * instruction (AVX-VNNI); the tests compile it with the EVEX form too (AVX-512 VL and VNNI), which
 * does the same and which more machines of developers have. */
#include "backend/cpu/x86/simd_avx2.h"

#include "backend/cpu/kernels_float.h"

#define FORM_I8_MANY FORM_U8

#ifdef __AVX512VNNI__
#define DOT_U8 _mm256_dpbusd_epi32
#define DOT_I16 _mm256_dpwssd_epi32
#else
#define DOT_U8 _mm256_dpbusd_avx_epi32
#define DOT_I16 _mm256_dpwssd_avx_epi32
#endif

ELM_INLINE __m256i dot(__m256i acc, __m256i u, __m256i x) {
    return DOT_U8(acc, u, x);
}
/* A shift, since products are what everything waits for. */
ELM_INLINE __m256i dot_start(int32_t pair, int32_t sum, int zero) {
    (void)pair;
    __m256i minus = _mm256_sub_epi32(_mm256_setzero_si256(), _mm256_set1_epi32(sum));
    return zero == ELM_ZERO_I4 ? _mm256_slli_epi32(minus, 3) : _mm256_slli_epi32(minus, 7);
}
ELM_INLINE __m256i dot_join(__m256i a, __m256i b) {
    return _mm256_add_epi32(a, b);
}
ELM_INLINE __m256i dot_sum(__m256i acc) {
    return acc;
}
ELM_INLINE __m256i plane_sum(__m256i high, __m256i low) {
    (void)low; /* no planes */
    return high;
}
ELM_INLINE __m256i i8_start(int32_t sum) {
    return dot_start(0, sum, ELM_ZERO_I8);
}
ELM_INLINE __m256i i8_operand(__m256i w) {
    return _mm256_xor_si256(w, _mm256_set1_epi8((char)0x80));
}
ELM_INLINE __m256i i8_dot(__m256i acc, __m256i u, __m256i w, __m256i x) {
    (void)w;
    return dot(acc, u, x);
}

ELM_INLINE __m256i pair_dot(__m256i acc, __m256i a, __m256i b) {
    return DOT_I16(acc, a, b);
}

static uint64_t peak(size_t rounds) {
    __m256i acc[12], w = _mm256_set1_epi8(1), x = _mm256_set1_epi8(2);
#pragma GCC unroll 12
    for (int i = 0; i < 12; i++) acc[i] = _mm256_setzero_si256();
    for (size_t r = 0; r < rounds; r++) {
#pragma GCC unroll 12
        for (int i = 0; i < 12; i++) {
            acc[i] = dot(acc[i], w, x);
            __asm__ volatile("" : "+x"(acc[i]));
        }
    }
    return (uint64_t)rounds * 12 * 64;
}

#include "backend/cpu/x86/kernels_ymm.h"

void elm_cpu_kernels_avxvnni(elm_cpu_kernels *k) {
    fill_ymm_kernels(k);
    k->peak_i4 = k->peak_i8 = peak;
}
