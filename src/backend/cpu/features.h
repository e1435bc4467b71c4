/* features.h - which instruction sets of this machine the cpu backend uses. Layer: backend/cpu.
 *
 * A bit stands for a whole set of kernels, so it is set only when everything those kernels use is
 * there and the operating system saves the registers. */
#ifndef ELM_BACKEND_CPU_FEATURES_H
#define ELM_BACKEND_CPU_FEATURES_H

#include <stddef.h>
#include <stdint.h>

enum {
    ELM_CPU_AVX2 = 1 << 0,        /* AVX2, FMA, F16C */
    ELM_CPU_AVX_VNNI = 1 << 1,    /* vpdpbusd with a VEX prefix: Alder Lake on, Zen 5 on */
    ELM_CPU_AVX512_VNNI = 1 << 2, /* AVX-512 F, BW, DQ, VL, VNNI */
    ELM_CPU_NEON = 1 << 3,
    ELM_CPU_DOTPROD = 1 << 4,
    ELM_CPU_I8MM = 1 << 5,
};

/* What this machine has, of the bits in `mask`. A set whose predecessor is masked away is left out
 * too: both VNNI sets stand on that of AVX2, dotprod on NEON, i8mm on dotprod. */
uint32_t elm_cpu_features(uint32_t mask);

/* "avx2, avx512-vnni", or "portable c" for 0. */
void elm_cpu_features_text(uint32_t features, char *out, size_t out_bytes);

#endif
