/* p16.h - "P16", the one stored form of matrices: panels of 16 rows, read as they lie by every
 * kernel.
 *
 * W is [n_rows][n_cols]; rows are padded to 16, columns (K) to the unit of the group, with weights
 * of value zero.
 *
 *   int4  codes     [panel][K/8][16 rows][4 bytes]   byte i: low nibble k = 8j+i, high k = 8j+4+i
 *   int8  codes     [panel][K/4][16 rows][4 bytes]   byte i: k = 4j+i, the unsigned code ^ 0x80
 *   f16, bf16, f32  [panel][K][16 rows]              element (row, k)
 *   scales f16      [panel][K/group][16]             zeros u8 the same
 *
 * A stack of matrices [E][n_rows][n_cols] is E such matrices one behind the other, each with its
 * rows padded: row r of matrix e is row e * round_up(n_rows, 16) + r of one tall matrix.
 *
 * Codes are unsigned: int4 u in 0..15, int8 u in 0..255 (the byte in memory is u ^ 0x80, a two's
 * complement int8). The weight is scale * 2^scale_exp * (u - zero), zero = 8 or 128 without a zero
 * plane. */
#ifndef ELM_IR_P16_H
#define ELM_IR_P16_H

#include "base/checked.h"
#include "ir/dtype.h"

enum {
    ELM_P16_ROWS = 16,
    ELM_ACT_GROUP = 32, /* activations are quantised in groups of 32 along K */
    ELM_ZERO_I4 = 8,
    ELM_ZERO_I8 = 128,
};

/* Sizes of the planes of one matrix. */
typedef struct elm_p16_shape {
    uint32_t n_panels;
    uint32_t k_padded; /* multiple of the group (quantised; itself a multiple of 32); = n_cols for
                          floats */
    uint32_t n_groups; /* k_padded / group; 0 for floats */
    uint64_t codes_bytes, scales_bytes, zeros_bytes;
} elm_p16_shape;

/* `group` is 0 for floats, else 32, 64, 128 or, for one scale a row, any value >= n_cols that is a
 * multiple of
 * 32. False when the numbers are not acceptable (zero, > ELM_MAX_DIM, bad group) or overflow. */
bool elm_p16_shape_of(elm_dtype dtype, uint64_t n_rows, uint64_t n_cols, uint32_t group,
                      elm_p16_shape *out);

/* The group number that "channel" stands for: n_cols rounded up to 32. */
static inline uint32_t elm_p16_channel_group(uint32_t n_cols) {
    return (n_cols + 31u) / 32u * 32u;
}

/* Byte offset in the code plane of an int4 pair / int8 code, and element offset of a float. */
static inline size_t elm_p16_i4_offset(size_t k_padded, size_t row, size_t k) {
    return ((row / 16) * (k_padded / 8) + k / 8) * 64 + (row % 16) * 4 + k % 4;
}
static inline uint32_t elm_p16_i4_shift(size_t k) {
    return (k % 8) >= 4 ? 4u : 0u;
}
static inline size_t elm_p16_i8_offset(size_t k_padded, size_t row, size_t k) {
    return ((row / 16) * (k_padded / 4) + k / 4) * 64 + (row % 16) * 4 + k % 4;
}
static inline size_t elm_p16_float_offset(size_t n_cols, size_t row, size_t k) {
    return ((row / 16) * n_cols + k) * 16 + row % 16;
}
static inline size_t elm_p16_scale_offset(size_t n_groups, size_t group, size_t row, size_t k) {
    return ((row / 16) * n_groups + k / group) * 16 + row % 16;
}

/* K of a matrix or a stack, the length of a vector. */
static inline uint32_t elm_tensor_cols(const elm_tensor *t) {
    return t->dims[t->n_dims - 1];
}
/* Rows of the tall matrix that a P16 matrix or stack is. */
static inline uint64_t elm_tensor_tall_rows(const elm_tensor *t) {
    uint64_t padded = (t->dims[t->n_dims - 2] + 15u) / 16u * 16u;
    return t->n_dims == 3 ? t->dims[0] * padded : t->dims[0];
}
/* Where row r of matrix e of a stack is in it. */
static inline size_t elm_tensor_stack_row(const elm_tensor *t, size_t e, size_t r) {
    return e * ((t->dims[1] + 15u) / 16u * 16u) + r;
}

/* A quantised matrix in ROWS, for tables of which single rows are read: every row is one run of
 * codes, K padded to the group; scales and zeros are [n_rows][K/group]. int4: byte i holds k = 2i
 * in its low nibble, 2i+1 in its high one. */
static inline size_t elm_rows_i4_offset(size_t k_padded, size_t row, size_t k) {
    return row * (k_padded / 2) + k / 2;
}
static inline uint32_t elm_rows_i4_shift(size_t k) {
    return k % 2 ? 4u : 0u;
}
/* Sizes of its planes; the same rules for group as elm_p16_shape_of; n_panels is 0. */
bool elm_rows_shape_of(elm_dtype dtype, uint64_t n_rows, uint64_t n_cols, uint32_t group,
                       elm_p16_shape *out);

/* One element of a P16 or ROWS tensor as float, exactly. Slow: for the oracle, importers and tests.
 * row: of the tall matrix (vectors: 0); k < elm_tensor_cols. */
float elm_tensor_at(const elm_tensor *t, size_t row, size_t k);

/* The integer code - zero of a quantised element, and the f16 scale of its group. */
int32_t elm_tensor_code_at(const elm_tensor *t, size_t row, size_t k);
float elm_tensor_scale_at(const elm_tensor *t, size_t row, size_t k);

/* Row `row` of a matrix as floats, out[n_cols]; scales multiply codes in float: exact products
 * of an f16 scale and a small integer. */
void elm_tensor_row(const elm_tensor *t, size_t row, float *out);

#endif
