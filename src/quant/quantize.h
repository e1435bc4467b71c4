/* quantize.h - float rows to the planes of a P16 matrix, 16 rows (one panel) at a time.
 *
 * A panel is independent of every other, so a matrix is quantised by any number of threads with the
 * same bytes. One file a scheme: symmetric.c, zero_point.c, floats.c; carry.c takes GGUF blocks
 * over bit for bit. */
#ifndef ELM_QUANT_QUANTIZE_H
#define ELM_QUANT_QUANTIZE_H

#include "ir/p16.h"

/* How a matrix is stored. group: 32, 64, 128, elm_p16_channel_group(n_cols), or 0 for floats. */
typedef struct elm_scheme {
    elm_dtype dtype;
    uint32_t group;
} elm_scheme;

/* The planes of one whole matrix being filled; shape from elm_p16_shape_of. */
typedef struct elm_p16_planes {
    uint8_t *codes;
    uint16_t *scales; /* NULL for floats */
    uint8_t *zeros;   /* NULL without a zero plane */
} elm_p16_planes;

/* What storing cost: sums over the elements of a tensor, and what must never be stored. */
typedef struct elm_quant_error {
    double sum_error2; /* of (w - w')^2 */
    double sum_weight2;
    double max_abs;
    uint64_t n_not_finite; /* NaN or infinite source values, or values that the type cannot hold */
    uint64_t first_not_finite_row, first_not_finite_col;
} elm_quant_error;

void elm_quant_error_add(elm_quant_error *total, const elm_quant_error *part);
/* sqrt(sum_error2 / sum_weight2); 0 for an all-zero tensor stored exactly. */
double elm_quant_error_rel_rms(const elm_quant_error *e);

/* The exponent that brings the largest scale of a matrix with largest magnitude `amax` near 1,
 * where f16 has its full precision; 0 when the scales fit f16 well without. */
int32_t elm_scale_exp_for(elm_dtype dtype, float amax);

/* Quantises one panel: rows[n_rows <= 16][n_cols], row_stride floats apart; rows past n_rows and
 * columns past n_cols become weights of value zero. Writes panel number `panel` of the planes and
 * adds to *error. `scratch` holds elm_panel_scratch_floats floats. */
void elm_quantize_panel(elm_scheme scheme, const elm_p16_shape *shape, int32_t scale_exp,
                        const float *rows, size_t row_stride, uint32_t n_rows, uint32_t n_cols,
                        uint32_t panel, elm_p16_planes *planes, float *scratch,
                        elm_quant_error *error);
size_t elm_panel_scratch_floats(elm_scheme scheme, const elm_p16_shape *shape);

/* The same for a matrix in ROWS: rows [first, first + n_rows), n_cols floats each. */
void elm_quantize_rows(elm_scheme scheme, const elm_p16_shape *shape, int32_t scale_exp,
                       const float *rows, uint32_t n_rows, uint32_t n_cols, uint32_t first,
                       elm_p16_planes *planes, float *scratch, elm_quant_error *error);

/* Takes rows of GGUF blocks over without loss: Q4_0 into int4 group 32, Q8_0 into int8 group 32.
 * blocks: [n_rows][n_cols / 32] blocks of 18 or 34 bytes, row_bytes apart. n_cols is a multiple
 * of 32. */
void elm_carry_q4_0_panel(const elm_p16_shape *shape, const uint8_t *blocks, size_t row_bytes,
                          uint32_t n_rows, uint32_t panel, elm_p16_planes *planes);
void elm_carry_q8_0_panel(const elm_p16_shape *shape, const uint8_t *blocks, size_t row_bytes,
                          uint32_t n_rows, uint32_t panel, elm_p16_planes *planes);

/* Internal to quant/: one group of n values (n <= group) to codes; returns nothing lost but
 * rounding. `unit` = 2^scale_exp. codes are unsigned (0..15 or 0..255). */
void elm_group_symmetric(elm_dtype dtype, const float *w, uint32_t n, float unit, uint16_t *scale,
                         uint8_t *codes);
void elm_group_zero_point(elm_dtype dtype, const float *w, uint32_t n, float unit, uint16_t *scale,
                          uint8_t *zero, uint8_t *codes);

#endif
