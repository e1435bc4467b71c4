/* kernels.c - fills the table of kernels, oldest instruction set first. Layer: backend/cpu. */
#include "backend/cpu/kernels.h"

#include "backend/cpu/features.h"

void elm_cpu_kernels_init(elm_cpu_kernels *k, uint32_t features) {
    (void)features; /* an architecture without kernels of its own uses none of it */
    elm_cpu_kernels_c(k);
#if defined(__x86_64__)
    if (features & ELM_CPU_AVX2) elm_cpu_kernels_avx2(k);
    if (features & ELM_CPU_AVX_VNNI) elm_cpu_kernels_avxvnni(k);
    if (features & ELM_CPU_AVX512_VNNI) elm_cpu_kernels_avx512(k);
#elif defined(__aarch64__)
    if (features & ELM_CPU_NEON) elm_cpu_kernels_neon(k);
    if (features & ELM_CPU_DOTPROD) elm_cpu_kernels_dotprod(k);
    if (features & ELM_CPU_I8MM) elm_cpu_kernels_i8mm(k);
#endif
}
