/* carry.c - GGUF blocks that P16 holds exactly, moved without passing through floats; quant/.
 *
 *   Q4_0  {f16 d; 16 bytes: low nibbles k 0..15, high nibbles k 16..31}   w = d * (u - 8)
 *   Q8_0  {f16 d; int8 q[32]}                                             w = d * q
 *
 * Both are symmetric int4 / int8 with group 32: the scale's 16 bits and every code are copied. */
#include "quant/quantize.h"

#include <string.h>

enum { Q4_0_BYTES = 18, Q8_0_BYTES = 34, BLOCK = 32 };

static uint16_t f16_at(const uint8_t *p) {
    return (uint16_t)(p[0] | p[1] << 8);
}

void elm_carry_q4_0_panel(const elm_p16_shape *shape, const uint8_t *blocks, size_t row_bytes,
                          uint32_t n_rows, uint32_t panel, elm_p16_planes *planes) {
    size_t codes_bytes = (size_t)shape->k_padded * 8;
    uint8_t *codes = planes->codes + panel * codes_bytes;
    uint16_t *scales = planes->scales + (size_t)panel * shape->n_groups * ELM_P16_ROWS;
    memset(codes, ELM_ZERO_I4 | ELM_ZERO_I4 << 4, codes_bytes);
    memset(scales, 0, (size_t)shape->n_groups * ELM_P16_ROWS * sizeof *scales);
    for (uint32_t r = 0; r < n_rows; r++) {
        for (uint32_t g = 0; g < shape->n_groups; g++) {
            const uint8_t *b = blocks + r * row_bytes + (size_t)g * Q4_0_BYTES;
            scales[(size_t)g * ELM_P16_ROWS + r] = f16_at(b);
            for (uint32_t i = 0; i < BLOCK; i++) {
                uint32_t u = i < 16 ? b[2 + i] & 15u : (uint32_t)b[2 + i - 16] >> 4;
                size_t k = (size_t)g * BLOCK + i;
                uint8_t *cell = &codes[elm_p16_i4_offset(shape->k_padded, r, k)];
                uint32_t shift = elm_p16_i4_shift(k);
                *cell = (uint8_t)((*cell & ~(15u << shift)) | u << shift);
            }
        }
    }
}

void elm_carry_q8_0_panel(const elm_p16_shape *shape, const uint8_t *blocks, size_t row_bytes,
                          uint32_t n_rows, uint32_t panel, elm_p16_planes *planes) {
    size_t codes_bytes = (size_t)shape->k_padded * 16;
    uint8_t *codes = planes->codes + panel * codes_bytes;
    uint16_t *scales = planes->scales + (size_t)panel * shape->n_groups * ELM_P16_ROWS;
    memset(codes, 0, codes_bytes); /* int8 0 is the unsigned code 128 ^ 0x80 */
    memset(scales, 0, (size_t)shape->n_groups * ELM_P16_ROWS * sizeof *scales);
    for (uint32_t r = 0; r < n_rows; r++) {
        for (uint32_t g = 0; g < shape->n_groups; g++) {
            const uint8_t *b = blocks + r * row_bytes + (size_t)g * Q8_0_BYTES;
            scales[(size_t)g * ELM_P16_ROWS + r] = f16_at(b);
            for (uint32_t i = 0; i < BLOCK; i++) {
                codes[elm_p16_i8_offset(shape->k_padded, r, (size_t)g * BLOCK + i)] = b[2 + i];
            }
        }
    }
}
