/* f16.h - IEEE half and bfloat16 to and from float, in portable C; rounding to nearest even. */
#ifndef ELM_BASE_F16_H
#define ELM_BASE_F16_H

#include <stdint.h>
#include <string.h>

static inline float elm_f32_from_bits(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline uint32_t elm_f32_bits(float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

static inline float elm_f32_from_bf16(uint16_t h) {
    return elm_f32_from_bits((uint32_t)h << 16);
}

static inline uint16_t elm_bf16_from_f32(float f) {
    uint32_t u = elm_f32_bits(f);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(u >> 16 | 0x40u); /* quiet NaN */
    return (uint16_t)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
}

static inline float elm_f32_from_f16(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t exp = h >> 10 & 0x1fu;
    uint32_t man = h & 0x3ffu;
    if (exp == 0x1f) return elm_f32_from_bits(sign | 0x7f800000u | man << 13);
    if (exp != 0) return elm_f32_from_bits(sign | (exp + 112) << 23 | man << 13);
    /* subnormal: man * 2^-24 is exact in float */
    float f = (float)man * 5.9604644775390625e-8f;
    return elm_f32_from_bits(sign | elm_f32_bits(f));
}

static inline uint16_t elm_f16_from_f32(float f) {
    uint32_t u = elm_f32_bits(f);
    uint32_t sign = u >> 16 & 0x8000u;
    uint32_t mag = u & 0x7fffffffu;
    if (mag > 0x7f800000u) return (uint16_t)(sign | 0x7e00u | (mag >> 13 & 0x3ffu));
    if (mag >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* rounds past 65504 */
    if (mag < 0x38800000u) {
        /* subnormal half: adding 0.5 leaves the rounded value in the low mantissa bits */
        float shifted = elm_f32_from_bits(mag) + 0.5f;
        return (uint16_t)(sign | (elm_f32_bits(shifted) - 0x3f000000u));
    }
    uint32_t rounded = mag + 0xfffu + (mag >> 13 & 1u);
    return (uint16_t)(sign | ((rounded - 0x38000000u) >> 13));
}

#endif
