/* dequant.c - one small function a type. Layouts: ggml-common.h's block structs, little-endian;
 * parse.
 *
 *   Q4_0 {f16 d; u8 q[16]}               w = d (q - 8), low nibbles k 0..15, high nibbles k 16..31
 *   Q4_1 {f16 d, m; u8 q[16]}            w = d q + m
 *   Q5_x as Q4_x with the fifth bits in u32 h behind the scales
 *   Q8_0 {f16 d; i8 q[32]}               w = d q
 *   Qn_K 256 elements in sub-blocks of 16 or 32 with small integer scales (and minima) of their own
 *   IQ4_x, MXFP4  4-bit codes that index 16 values
 *   TQn_0 256 elements of -1, 0, 1     Q2_0 {f16 d; u8 q[16]} of -1, 0, 1, 2     Q1_0 the same of -1, 1
 */
#include "parse/dequant.h"

#include "base/f16.h"

#include <math.h>
#include <string.h>

enum {
    LARGEST_BLOCK = 256,    /* elements */
    SMALL_BLOCK_BYTES = 66, /* at most, of the types that Q8_0 can hold */
    ONE_F16 = 0x3c00
};

static uint16_t u16_at(const uint8_t *p) {
    return (uint16_t)((uint32_t)p[0] | (uint32_t)p[1] << 8);
}
static uint32_t u32_at(const uint8_t *p) {
    return (uint32_t)u16_at(p) | (uint32_t)u16_at(p + 2) << 16;
}
static uint64_t u64_at(const uint8_t *p) {
    return (uint64_t)u32_at(p) | (uint64_t)u32_at(p + 4) << 32;
}
static float half_at(const uint8_t *p) {
    return elm_f32_from_f16(u16_at(p));
}

static float f8_e4m3(uint8_t b) {
    int exponent = b >> 3 & 15, mantissa = b & 7;
    if ((b & 0x7f) == 0x7f) return NAN;
    float value =
        exponent ? ldexpf((float)(8 + mantissa), exponent - 10) : ldexpf((float)mantissa, -9);
    return b & 0x80 ? -value : value;
}

/* Plain elements, one a block. */
static float element(elm_source_type type, const uint8_t *p) {
    uint64_t bits = 0;
    double wide;
    switch (type) {
    case ELM_SOURCE_F32:
        return elm_f32_from_bits(u32_at(p));
    case ELM_SOURCE_F16:
        return half_at(p);
    case ELM_SOURCE_BF16:
        return elm_f32_from_bf16(u16_at(p));
    case ELM_SOURCE_F64:
        bits = u64_at(p);
        memcpy(&wide, &bits, sizeof wide);
        return (float)wide;
    case ELM_SOURCE_F8_E4M3:
        return f8_e4m3(*p);
    case ELM_SOURCE_F8_E5M2:
        return elm_f32_from_f16((uint16_t)(*p << 8));
    case ELM_SOURCE_I64:
        return (float)(int64_t)u64_at(p);
    case ELM_SOURCE_I32:
        return (float)(int32_t)u32_at(p);
    default:
        return (float)*p;
    }
}

static void q4_0(const uint8_t *b, float *out) {
    float d = half_at(b);
    for (int i = 0; i < 16; i++) {
        out[i] = (float)((b[2 + i] & 15) - 8) * d;
        out[i + 16] = (float)((b[2 + i] >> 4) - 8) * d;
    }
}

static void q4_1(const uint8_t *b, float *out) {
    float d = half_at(b), m = half_at(b + 2);
    for (int i = 0; i < 16; i++) {
        out[i] = (float)(b[4 + i] & 15) * d + m;
        out[i + 16] = (float)(b[4 + i] >> 4) * d + m;
    }
}

static void q5_0(const uint8_t *b, float *out) {
    float d = half_at(b);
    uint32_t high = u32_at(b + 2);
    for (int i = 0; i < 16; i++) {
        uint32_t low4 = b[6 + i] & 15u, high4 = (uint32_t)b[6 + i] >> 4;
        out[i] = (float)((int32_t)(low4 | (high >> i & 1) << 4) - 16) * d;
        out[i + 16] = (float)((int32_t)(high4 | (high >> (i + 16) & 1) << 4) - 16) * d;
    }
}

static void q5_1(const uint8_t *b, float *out) {
    float d = half_at(b), m = half_at(b + 2);
    uint32_t high = u32_at(b + 4);
    for (int i = 0; i < 16; i++) {
        uint32_t low4 = b[8 + i] & 15u, high4 = (uint32_t)b[8 + i] >> 4;
        out[i] = (float)(low4 | (high >> i & 1) << 4) * d + m;
        out[i + 16] = (float)(high4 | (high >> (i + 16) & 1) << 4) * d + m;
    }
}

static void q8_0(const uint8_t *b, float *out) {
    float d = half_at(b);
    for (int i = 0; i < 32; i++) out[i] = (float)(int8_t)b[2 + i] * d;
}

/* {u8 scales[16]; u8 q[64]; f16 d, dmin}: 2-bit codes, 16 sub-blocks with a 4-bit scale and minimum
 */
static void q2_k(const uint8_t *b, float *out) {
    const uint8_t *q = b + 16;
    float d = half_at(b + 80), dmin = half_at(b + 82);
    for (int half = 0, is = 0; half < 2; half++, q += 32) {
        for (int shift = 0; shift < 8; shift += 2) {
            for (int part = 0; part < 2; part++, is++) {
                float scale = d * (float)(b[is] & 15), minimum = dmin * (float)(b[is] >> 4);
                for (int i = 0; i < 16; i++)
                    *out++ = scale * (float)(q[16 * part + i] >> shift & 3) - minimum;
            }
        }
    }
}

/* {u8 hmask[32]; u8 q[64]; u8 scales[12]; f16 d}: 3-bit codes, 16 signed 6-bit scales */
static void q3_k(const uint8_t *b, float *out) {
    const uint8_t *high = b, *q = b + 32, *packed = b + 96;
    float d_all = half_at(b + 108);
    int8_t scales[16];
    for (int i = 0; i < 16; i++) {
        int low4 = i < 8 ? packed[i] & 15 : packed[i - 8] >> 4;
        int high2 = packed[8 + i % 4] >> (2 * (i / 4)) & 3;
        scales[i] = (int8_t)((low4 | high2 << 4) - 32);
    }
    for (int half = 0, is = 0, bit = 0; half < 2; half++, q += 32) {
        for (int shift = 0; shift < 8; shift += 2, bit++) {
            for (int part = 0; part < 2; part++, is++) {
                float d = d_all * (float)scales[is];
                for (int i = 0; i < 16; i++) {
                    int low2 = q[16 * part + i] >> shift & 3;
                    *out++ = d * (float)(low2 - (high[16 * part + i] >> bit & 1 ? 0 : 4));
                }
            }
        }
    }
}

/* 6-bit scale and minimum number j of the 12 packed bytes that Q4_K and Q5_K share */
static void scale_min(int j, const uint8_t *q, uint32_t *scale, uint32_t *minimum) {
    if (j < 4) {
        *scale = q[j] & 63u;
        *minimum = q[j + 4] & 63u;
    } else {
        *scale = (q[j + 4] & 15u) | (uint32_t)(q[j - 4] >> 6) << 4;
        *minimum = (uint32_t)(q[j + 4] >> 4) | (uint32_t)(q[j] >> 6) << 4;
    }
}

/* {f16 d, dmin; u8 scales[12]; u8 q[128]} */
static void q4_k(const uint8_t *b, float *out) {
    const uint8_t *q = b + 16;
    float d = half_at(b), dmin = half_at(b + 2);
    for (int j = 0; j < 8; j++) {
        uint32_t scale, minimum;
        scale_min(j, b + 4, &scale, &minimum);
        float ds = d * (float)scale, dm = dmin * (float)minimum;
        for (int i = 0; i < 32; i++) {
            uint32_t code = j % 2 ? (uint32_t)q[32 * (j / 2) + i] >> 4 : q[32 * (j / 2) + i] & 15u;
            *out++ = ds * (float)code - dm;
        }
    }
}

/* {f16 d, dmin; u8 scales[12]; u8 high[32]; u8 q[128]} */
static void q5_k(const uint8_t *b, float *out) {
    const uint8_t *high = b + 16, *q = b + 48;
    float d = half_at(b), dmin = half_at(b + 2);
    for (int j = 0; j < 8; j++) {
        uint32_t scale, minimum;
        scale_min(j, b + 4, &scale, &minimum);
        float ds = d * (float)scale, dm = dmin * (float)minimum;
        for (int i = 0; i < 32; i++) {
            uint32_t code = j % 2 ? (uint32_t)q[32 * (j / 2) + i] >> 4 : q[32 * (j / 2) + i] & 15u;
            code += (uint32_t)(high[i] >> j & 1) << 4;
            *out++ = ds * (float)code - dm;
        }
    }
}

/* {u8 low[128]; u8 high[64]; i8 scales[16]; f16 d} */
static void q6_k(const uint8_t *b, float *out) {
    const uint8_t *low = b, *high = b + 128, *scales = b + 192;
    float d = half_at(b + 208);
    for (int half = 0; half < 2; half++, low += 64, high += 32, scales += 8, out += 128) {
        for (int i = 0; i < 32; i++) {
            const int codes[4] = {
                (low[i] & 15) | (high[i] & 3) << 4,
                (low[i + 32] & 15) | (high[i] >> 2 & 3) << 4,
                low[i] >> 4 | (high[i] >> 4 & 3) << 4,
                low[i + 32] >> 4 | (high[i] >> 6 & 3) << 4,
            };
            for (int part = 0; part < 4; part++) {
                float scale = d * (float)(int8_t)scales[2 * part + i / 16];
                out[32 * part + i] = scale * (float)(codes[part] - 32);
            }
        }
    }
}

/* ---- 4-bit codes of 16 values ---- */

static const int8_t iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                      1,    13,   25,  38,  53,  69,  89,  113};
/* Twice the FP4 (E2M1) numbers; a zero of either sign is a plain zero. */
static const int8_t fp4_doubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

static void look_up_16(const uint8_t *q, const int8_t *values, float d, float *out) {
    for (int i = 0; i < 16; i++) {
        out[i] = d * (float)values[q[i] & 15];
        out[i + 16] = d * (float)values[q[i] >> 4];
    }
}

static void iq4_nl(const uint8_t *b, float *out) {
    look_up_16(b + 2, iq4_values, half_at(b), out);
}

/* {f16 d; u16 high; u8 low[4]; u8 q[128]}: a 6-bit scale for every 32, of 2 high and 4 low bits */
static void iq4_xs(const uint8_t *b, float *out) {
    float d = half_at(b);
    uint32_t high = u16_at(b + 2);
    for (int j = 0; j < 8; j++) {
        uint32_t low4 = (uint32_t)b[4 + j / 2] >> (j % 2 * 4) & 15;
        int32_t scale = (int32_t)(low4 | (high >> (2 * j) & 3) << 4) - 32;
        look_up_16(b + 8 + 16 * j, iq4_values, d * (float)scale, out + 32 * j);
    }
}

/* {u8 e; u8 q[16]}: the scale is 2^(e - 127), halved here for the doubled numbers */
static void mxfp4(const uint8_t *b, float *out) {
    look_up_16(b + 1, fp4_doubled, ldexpf(1.0f, (int)b[0] - 128), out);
}

/* ---- two and three values ---- */

/* Digit `place` (0: the first) of the base-3 fraction q / 256, less 1. */
static float ternary(uint8_t q, int place) {
    static const uint8_t powers[5] = {1, 3, 9, 27, 81};
    return (float)((((uint32_t)q * powers[place] & 255) * 3 >> 8)) - 1.0f;
}

/* {u8 q[48]; u8 last[4]; f16 d}: five elements a byte, four in the last; element k of a run of n
 * bytes is digit k / n of byte k % n */
static void tq1_0(const uint8_t *b, float *out) {
    static const struct { int bytes, digits; } runs[3] = {{32, 5}, {16, 5}, {4, 4}};
    float d = half_at(b + 52);
    for (int r = 0; r < 3; b += runs[r++].bytes) {
        for (int place = 0; place < runs[r].digits; place++) {
            for (int i = 0; i < runs[r].bytes; i++) *out++ = d * ternary(b[i], place);
        }
    }
}

/* {u8 q[64]; f16 d}: 2-bit codes, as in Q2_K each shift of 32 bytes in turn */
static void tq2_0(const uint8_t *b, float *out) {
    float d = half_at(b + 64);
    for (int half = 0; half < 2; half++, b += 32) {
        for (int shift = 0; shift < 8; shift += 2) {
            for (int i = 0; i < 32; i++) *out++ = d * (float)((b[i] >> shift & 3) - 1);
        }
    }
}

static void q1_0(const uint8_t *b, float *out) {
    float d = half_at(b);
    for (int i = 0; i < 128; i++) out[i] = b[2 + i / 8] >> (i % 8) & 1 ? d : -d;
}

static void q2_0(const uint8_t *b, float *out) {
    float d = half_at(b);
    for (int i = 0; i < 64; i++) out[i] = (float)((b[2 + i / 4] >> (i % 4 * 2) & 3) - 1) * d;
}

typedef void (*block_fn)(const uint8_t *block, float *out);

static block_fn block_function(elm_source_type type) {
    switch (type) {
    case ELM_SOURCE_Q4_0:
        return q4_0;
    case ELM_SOURCE_Q4_1:
        return q4_1;
    case ELM_SOURCE_Q5_0:
        return q5_0;
    case ELM_SOURCE_Q5_1:
        return q5_1;
    case ELM_SOURCE_Q8_0:
        return q8_0;
    case ELM_SOURCE_Q2_K:
        return q2_k;
    case ELM_SOURCE_Q3_K:
        return q3_k;
    case ELM_SOURCE_Q4_K:
        return q4_k;
    case ELM_SOURCE_Q5_K:
        return q5_k;
    case ELM_SOURCE_Q6_K:
        return q6_k;
    case ELM_SOURCE_IQ4_NL:
        return iq4_nl;
    case ELM_SOURCE_IQ4_XS:
        return iq4_xs;
    case ELM_SOURCE_TQ1_0:
        return tq1_0;
    case ELM_SOURCE_TQ2_0:
        return tq2_0;
    case ELM_SOURCE_MXFP4:
        return mxfp4;
    case ELM_SOURCE_Q1_0:
        return q1_0;
    case ELM_SOURCE_Q2_0:
        return q2_0;
    default:
        return NULL;
    }
}

/* The two that most checkpoints are made of, as loops that a compiler can vectorise. */
static void bf16_run(const uint8_t *p, size_t n, float *out) {
    for (size_t i = 0; i < n; i++) out[i] = elm_f32_from_bf16(u16_at(p + 2 * i));
}

void elm_dequantize(elm_source_type type, const uint8_t *blocks, size_t n_blocks, float *out) {
    const elm_source_type_info *info = elm_source_type_get(type);
    block_fn block = block_function(type);
    if (type == ELM_SOURCE_BF16) {
        bf16_run(blocks, n_blocks, out);
        return;
    }
    for (size_t i = 0; i < n_blocks;
         i++, blocks += info->block_bytes, out += info->block_elements) {
        if (block)
            block(blocks, out);
        else
            *out = element(type, blocks);
    }
}

/* ---- to Q8_0 ---- */

/* Where the scale lies; -1: not of that kind. */
static int scale_at(elm_source_type type) {
    switch (type) {
    case ELM_SOURCE_Q5_0:
    case ELM_SOURCE_IQ4_NL:
    case ELM_SOURCE_Q1_0:
    case ELM_SOURCE_Q2_0:
        return 0;
    case ELM_SOURCE_TQ1_0:
        return 52;
    case ELM_SOURCE_TQ2_0:
        return 64;
    default:
        return -1;
    }
}

bool elm_source_fits_q8_0(elm_source_type type) {
    return scale_at(type) >= 0;
}

/* With a scale of 1 the weights are the integers. */
void elm_blocks_as_q8_0(elm_source_type type, const uint8_t *blocks, size_t n_blocks,
                        uint8_t *out) {
    const elm_source_type_info *info = elm_source_type_get(type);
    int at = scale_at(type);
    uint8_t unit[SMALL_BLOCK_BYTES];
    float codes[LARGEST_BLOCK];
    for (size_t b = 0; b < n_blocks; b++, blocks += info->block_bytes) {
        memcpy(unit, blocks, info->block_bytes);
        unit[at] = ONE_F16 & 255, unit[at + 1] = ONE_F16 >> 8;
        elm_dequantize(type, unit, 1, codes);
        for (uint32_t k = 0; k < info->block_elements; k++) {
            if (k % 32 == 0) *out++ = blocks[at], *out++ = blocks[at + 1];
            *out++ = (uint8_t)(int8_t)codes[k];
        }
    }
}
