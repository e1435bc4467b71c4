/* quantize.c - the panel loop over groups, packing, and the error measured on what is stored;
 * quant/. */
#include "quant/quantize.h"

#include "base/f16.h"

#include <math.h>
#include <string.h>

void elm_quant_error_add(elm_quant_error *total, const elm_quant_error *part) {
    total->sum_error2 += part->sum_error2;
    total->sum_weight2 += part->sum_weight2;
    if (part->max_abs > total->max_abs) total->max_abs = part->max_abs;
    if (part->n_not_finite > 0 &&
        (total->n_not_finite == 0 || part->first_not_finite_row < total->first_not_finite_row)) {
        total->first_not_finite_row = part->first_not_finite_row;
        total->first_not_finite_col = part->first_not_finite_col;
    }
    total->n_not_finite += part->n_not_finite;
}

double elm_quant_error_rel_rms(const elm_quant_error *e) {
    if (e->sum_error2 == 0.0) return 0.0;
    return e->sum_weight2 > 0.0 ? sqrt(e->sum_error2 / e->sum_weight2) : INFINITY;
}

int32_t elm_scale_exp_for(elm_dtype dtype, float amax) {
    const elm_dtype_info *info = elm_dtype_get(dtype);
    if (!info || !info->has_scales || !(amax > 0.0f) || !isfinite(amax)) return 0;
    /* f16 is normal from 2^-14. Groups may be 2^9 quieter than the loudest one before their scale
       loses bits when the largest scale is at least 2^-5; it must stay below 2^15. */
    int exponent;
    frexpf(amax / (info->bits == 4 ? 7.0f : 127.0f), &exponent);
    return exponent < -5 || exponent > 14 ? exponent : 0;
}

size_t elm_panel_scratch_floats(elm_scheme scheme, const elm_p16_shape *shape) {
    /* One group of floats and its codes. */
    (void)shape;
    return scheme.group + (scheme.group + 3) / 4;
}

static void note_error(elm_quant_error *e, float w, float stored, uint64_t row, uint64_t col) {
    if (!isfinite(w) || !isfinite(stored)) {
        if (e->n_not_finite++ == 0) {
            e->first_not_finite_row = row;
            e->first_not_finite_col = col;
        }
        return;
    }
    double d = (double)w - (double)stored;
    e->sum_error2 += d * d;
    e->sum_weight2 += (double)w * (double)w;
    if (fabs(d) > e->max_abs) e->max_abs = fabs(d);
}

/* ---- floats ---- */

static float store_float(elm_dtype dtype, uint8_t *codes, size_t index, float w) {
    uint16_t half;
    switch (dtype) {
    case ELM_F16:
        half = elm_f16_from_f32(w);
        memcpy(codes + index * 2, &half, 2);
        return elm_f32_from_f16(half);
    case ELM_BF16:
        half = elm_bf16_from_f32(w);
        memcpy(codes + index * 2, &half, 2);
        return elm_f32_from_bf16(half);
    default:
        memcpy(codes + index * 4, &w, 4);
        return w;
    }
}

static void floats_panel(elm_scheme scheme, const elm_p16_shape *shape, const float *rows,
                         size_t row_stride, uint32_t n_rows, uint32_t n_cols, uint32_t panel,
                         elm_p16_planes *planes, elm_quant_error *error) {
    size_t bytes = elm_dtype_get(scheme.dtype)->bits / 8u;
    uint8_t *codes = planes->codes + (size_t)panel * shape->k_padded * ELM_P16_ROWS * bytes;
    memset(codes, 0, (size_t)shape->k_padded * ELM_P16_ROWS * bytes);
    for (uint32_t r = 0; r < n_rows; r++) {
        for (uint32_t k = 0; k < n_cols; k++) {
            float w = rows[r * row_stride + k];
            float stored = store_float(scheme.dtype, codes, (size_t)k * ELM_P16_ROWS + r, w);
            note_error(error, w, stored, (uint64_t)panel * ELM_P16_ROWS + r, k);
        }
    }
}

/* ---- integers ---- */

static void pack_group(elm_dtype dtype, const elm_p16_shape *shape, uint8_t *codes, uint32_t row,
                       uint32_t first_k, uint32_t n, const uint8_t *group_codes) {
    bool is4 = dtype == ELM_I4 || dtype == ELM_I4Z;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t k = first_k + i;
        if (is4) {
            uint8_t *cell = &codes[elm_p16_i4_offset(shape->k_padded, row, k)];
            *cell = (uint8_t)(*cell | group_codes[i] << elm_p16_i4_shift(k));
        } else {
            codes[elm_p16_i8_offset(shape->k_padded, row, k)] = (uint8_t)(group_codes[i] ^ 0x80u);
        }
    }
}

/* One group, of which `n` values are there and the rest is zero: scale, zero and codes. The error
 * is that of row `row` from column `first` on. */
static void quantise_group(elm_scheme scheme, float unit, const float *w, uint32_t n,
                           uint16_t *scale, uint8_t *zero_out, uint64_t row, uint32_t first,
                           float *scratch, uint8_t *group_codes, elm_quant_error *error) {
    const elm_dtype_info *info = elm_dtype_get(scheme.dtype);
    uint32_t zero = info->bits == 4 ? ELM_ZERO_I4 : ELM_ZERO_I8;
    memset(scratch, 0, scheme.group * sizeof *scratch);
    if (n > 0) memcpy(scratch, w, n * sizeof *scratch);
    if (info->has_zeros) {
        elm_group_zero_point(scheme.dtype, scratch, scheme.group, unit, scale, zero_out,
                             group_codes);
        zero = *zero_out;
    } else {
        elm_group_symmetric(scheme.dtype, scratch, scheme.group, unit, scale, group_codes);
    }
    float factor = elm_f32_from_f16(*scale) * unit;
    for (uint32_t i = 0; i < n; i++) {
        float stored = factor * (float)((int32_t)group_codes[i] - (int32_t)zero);
        note_error(error, w[i], stored, row, first + i);
    }
}

static uint32_t filled(uint32_t first, uint32_t n_cols, uint32_t group) {
    uint32_t n = first < n_cols ? n_cols - first : 0;
    return n < group ? n : group;
}

static void quantized_panel(elm_scheme scheme, const elm_p16_shape *shape, int32_t scale_exp,
                            const float *rows, size_t row_stride, uint32_t n_rows, uint32_t n_cols,
                            uint32_t panel, elm_p16_planes *planes, float *scratch,
                            elm_quant_error *error) {
    size_t panel_bytes =
        (size_t)shape->k_padded * ELM_P16_ROWS * elm_dtype_get(scheme.dtype)->bits / 8;
    uint8_t *codes = planes->codes + panel * panel_bytes;
    uint8_t *group_codes = (uint8_t *)(scratch + scheme.group);
    float unit = ldexpf(1.0f, scale_exp);
    memset(codes, 0, panel_bytes);
    for (uint32_t g = 0; g < shape->n_groups; g++) {
        for (uint32_t r = 0; r < ELM_P16_ROWS; r++) {
            uint32_t first = g * scheme.group;
            uint32_t n = r < n_rows ? filled(first, n_cols, scheme.group) : 0;
            size_t at = ((size_t)panel * shape->n_groups + g) * ELM_P16_ROWS + r;
            quantise_group(scheme, unit, rows + r * row_stride + first, n, &planes->scales[at],
                           planes->zeros ? &planes->zeros[at] : NULL,
                           (uint64_t)panel * ELM_P16_ROWS + r, first, scratch, group_codes, error);
            pack_group(scheme.dtype, shape, codes, r, first, scheme.group, group_codes);
        }
    }
}

static void quantized_row(elm_scheme scheme, const elm_p16_shape *shape, float unit, const float *w,
                          uint32_t n_cols, uint64_t row, elm_p16_planes *planes, float *scratch,
                          elm_quant_error *error) {
    bool is4 = elm_dtype_get(scheme.dtype)->bits == 4;
    uint8_t *group_codes = (uint8_t *)(scratch + scheme.group);
    for (uint32_t g = 0; g < shape->n_groups; g++) {
        uint32_t first = g * scheme.group;
        size_t at = row * shape->n_groups + g;
        quantise_group(scheme, unit, w + first, filled(first, n_cols, scheme.group),
                       &planes->scales[at], planes->zeros ? &planes->zeros[at] : NULL, row, first,
                       scratch, group_codes, error);
        for (uint32_t i = 0; i < scheme.group; i++) {
            uint32_t k = first + i;
            if (!is4) {
                planes->codes[row * shape->k_padded + k] = (uint8_t)(group_codes[i] ^ 0x80u);
                continue;
            }
            uint8_t *cell = &planes->codes[elm_rows_i4_offset(shape->k_padded, row, k)];
            uint32_t kept = k % 2 ? *cell : 0u; /* the low nibble comes first */
            *cell = (uint8_t)(kept | (uint32_t)group_codes[i] << elm_rows_i4_shift(k));
        }
    }
}

void elm_quantize_rows(elm_scheme scheme, const elm_p16_shape *shape, int32_t scale_exp,
                       const float *rows, uint32_t n_rows, uint32_t n_cols, uint32_t first,
                       elm_p16_planes *planes, float *scratch, elm_quant_error *error) {
    float unit = ldexpf(1.0f, scale_exp);
    for (uint32_t r = 0; r < n_rows; r++) {
        const float *w = rows + (size_t)r * n_cols;
        uint64_t row = (uint64_t)first + r;
        if (elm_dtype_get(scheme.dtype)->has_scales) {
            quantized_row(scheme, shape, unit, w, n_cols, row, planes, scratch, error);
            continue;
        }
        for (uint32_t k = 0; k < n_cols; k++) {
            float stored = store_float(scheme.dtype, planes->codes, row * n_cols + k, w[k]);
            note_error(error, w[k], stored, row, k);
        }
    }
}

void elm_quantize_panel(elm_scheme scheme, const elm_p16_shape *shape, int32_t scale_exp,
                        const float *rows, size_t row_stride, uint32_t n_rows, uint32_t n_cols,
                        uint32_t panel, elm_p16_planes *planes, float *scratch,
                        elm_quant_error *error) {
    if (elm_dtype_get(scheme.dtype)->has_scales) {
        quantized_panel(scheme, shape, scale_exp, rows, row_stride, n_rows, n_cols, panel, planes,
                        scratch, error);
    } else {
        floats_panel(scheme, shape, rows, row_stride, n_rows, n_cols, panel, planes, error);
    }
}
