/* features.c - cpuid and auxv to ELM_CPU_* bits. Layer: backend/cpu. */
#include "backend/cpu/features.h"

#include <stdio.h>
#include <string.h>

#if defined(__x86_64__)
#include <cpuid.h>

/* Extended control register 0: which register files the operating system saves (Intel SDM 1, 13.3).
 */
static uint64_t saved_state(void) {
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

enum { LEAF7_1_EAX_AVX_VNNI = 1 << 4 };

static uint32_t detect(void) {
    uint32_t a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
    const uint32_t need1 = bit_OSXSAVE | bit_AVX | bit_FMA | bit_F16C;
    if ((c & need1) != need1) return 0;
    uint64_t state = saved_state();
    if ((state & 6) != 6) return 0; /* xmm and ymm */
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return 0;
    if (!(b & bit_AVX2)) return 0;
    uint32_t found = ELM_CPU_AVX2;
    const uint32_t need7 = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    if ((state & 0xe6) == 0xe6 && (b & need7) == need7 && (c & bit_AVX512VNNI))
        found |= ELM_CPU_AVX512_VNNI;
    if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & LEAF7_1_EAX_AVX_VNNI))
        found |= ELM_CPU_AVX_VNNI;
    return found;
}
#elif defined(__aarch64__)
#if defined(__linux__)
#include <sys/auxv.h>
#endif

enum { HWCAP_BIT_ASIMD = 1 << 1, HWCAP_BIT_ASIMDDP = 1 << 20, HWCAP2_BIT_I8MM = 1 << 13 };

static uint32_t detect(void) {
#if defined(__linux__)
    unsigned long hwcap = getauxval(AT_HWCAP);
    uint32_t found = 0;
    if (hwcap & HWCAP_BIT_ASIMD) found |= ELM_CPU_NEON;
    if (hwcap & HWCAP_BIT_ASIMDDP) found |= ELM_CPU_DOTPROD;
    if (getauxval(AT_HWCAP2) & HWCAP2_BIT_I8MM) found |= ELM_CPU_I8MM;
    return found;
#elif defined(__ARM_FEATURE_DOTPROD)
    return ELM_CPU_NEON | ELM_CPU_DOTPROD;
#else
    return ELM_CPU_NEON;
#endif
}
#else
static uint32_t detect(void) {
    return 0;
}
#endif

uint32_t elm_cpu_features(uint32_t mask) {
    uint32_t found = detect() & mask;
    if (!(found & ELM_CPU_AVX2)) found &= ~(uint32_t)(ELM_CPU_AVX_VNNI | ELM_CPU_AVX512_VNNI);
    if (!(found & ELM_CPU_NEON)) found &= ~(uint32_t)ELM_CPU_DOTPROD;
    if (!(found & ELM_CPU_DOTPROD)) found &= ~(uint32_t)ELM_CPU_I8MM;
    return found;
}

void elm_cpu_features_text(uint32_t features, char *out, size_t out_bytes) {
    static const struct {
        uint32_t bit;
        const char *text;
    } names[] = {
        {ELM_CPU_AVX2, "avx2"},
        {ELM_CPU_AVX_VNNI, "avx-vnni"},
        {ELM_CPU_AVX512_VNNI, "avx512-vnni"},
        {ELM_CPU_NEON, "neon"},
        {ELM_CPU_DOTPROD, "dotprod"},
        {ELM_CPU_I8MM, "i8mm"},
    };
    if (out_bytes == 0) return;
    snprintf(out, out_bytes, "%s", features ? "" : "portable c");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        size_t used = strlen(out);
        if (features & names[i].bit)
            snprintf(out + used, out_bytes - used, "%s%s", used ? ", " : "", names[i].text);
    }
}
