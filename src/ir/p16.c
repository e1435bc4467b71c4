/* p16.c - sizes of P16 planes and exact access to single elements; ir. */
#include "ir/p16.h"

#include "base/f16.h"

#include <math.h>
#include <string.h>

bool elm_p16_shape_of(elm_dtype dtype, uint64_t n_rows, uint64_t n_cols, uint32_t group,
                      elm_p16_shape *out) {
    const elm_dtype_info *info = elm_dtype_get(dtype);
    memset(out, 0, sizeof *out);
    if (!info || (!info->is_float && !info->has_scales)) return false;
    if (n_rows == 0 || n_cols == 0 || n_rows > ELM_MAX_DIM || n_cols > ELM_MAX_DIM) return false;
    uint64_t k = n_cols, groups = 0;
    if (info->has_scales) {
        bool fixed = group == 32 || group == 64 || group == 128;
        if (!fixed && (group % 32 != 0 || group < n_cols || group > ELM_MAX_DIM)) return false;
        groups = (n_cols + group - 1) / group;
        k = groups * group;
    } else if (group != 0) {
        return false;
    }
    uint64_t panels = (n_rows + ELM_P16_ROWS - 1) / ELM_P16_ROWS, elements;
    if (!elm_mul_u64(panels * ELM_P16_ROWS, k, &elements) || elements > UINT64_MAX / 64)
        return false;
    out->n_panels = (uint32_t)panels;
    out->k_padded = (uint32_t)k;
    out->n_groups = (uint32_t)groups;
    out->codes_bytes = elements * info->bits / 8;
    out->scales_bytes = info->has_scales ? panels * groups * ELM_P16_ROWS * 2 : 0;
    out->zeros_bytes = info->has_zeros ? panels * groups * ELM_P16_ROWS : 0;
    return true;
}

bool elm_rows_shape_of(elm_dtype dtype, uint64_t n_rows, uint64_t n_cols, uint32_t group,
                       elm_p16_shape *out) {
    const elm_dtype_info *info = elm_dtype_get(dtype);
    if (!elm_p16_shape_of(dtype, n_rows, n_cols, group, out)) return false;
    uint64_t elements = n_rows * out->k_padded, groups = n_rows * out->n_groups;
    out->n_panels = 0;
    out->codes_bytes = elements * info->bits / 8;
    out->scales_bytes = info->has_scales ? groups * 2 : 0;
    out->zeros_bytes = info->has_zeros ? groups : 0;
    return true;
}

static float float_at(const elm_tensor *t, size_t index) {
    const uint8_t *p = t->codes;
    uint16_t half;
    float value;
    if (t->dtype == ELM_F32) {
        memcpy(&value, p + index * 4, 4);
        return value;
    }
    memcpy(&half, p + index * 2, 2);
    return t->dtype == ELM_F16 ? elm_f32_from_f16(half) : elm_f32_from_bf16(half);
}

static uint32_t n_groups_of(const elm_tensor *t) {
    return (elm_tensor_cols(t) + t->group - 1) / t->group;
}

static size_t scale_index(const elm_tensor *t, size_t row, size_t k) {
    if (t->layout == ELM_LAYOUT_ROWS) return row * n_groups_of(t) + k / t->group;
    return elm_p16_scale_offset(n_groups_of(t), t->group, row, k);
}

int32_t elm_tensor_code_at(const elm_tensor *t, size_t row, size_t k) {
    const uint8_t *codes = t->codes;
    size_t k_padded = (size_t)n_groups_of(t) * t->group;
    bool is4 = elm_dtype_get(t->dtype)->bits == 4, rows = t->layout == ELM_LAYOUT_ROWS;
    int32_t zero = t->zeros ? t->zeros[scale_index(t, row, k)] : is4 ? ELM_ZERO_I4 : ELM_ZERO_I8;
    if (is4) {
        size_t at =
            rows ? elm_rows_i4_offset(k_padded, row, k) : elm_p16_i4_offset(k_padded, row, k);
        uint32_t shift = rows ? elm_rows_i4_shift(k) : elm_p16_i4_shift(k);
        return (codes[at] >> shift & 15) - zero;
    }
    size_t at = rows ? row * k_padded + k : elm_p16_i8_offset(k_padded, row, k);
    return (codes[at] ^ 0x80) - zero;
}

float elm_tensor_scale_at(const elm_tensor *t, size_t row, size_t k) {
    return elm_f32_from_f16(t->scales[scale_index(t, row, k)]);
}

float elm_tensor_at(const elm_tensor *t, size_t row, size_t k) {
    if (elm_dtype_get(t->dtype)->is_float) {
        size_t cols = elm_tensor_cols(t);
        return float_at(t, t->layout == ELM_LAYOUT_ROWS ? row * cols + k
                                                        : elm_p16_float_offset(cols, row, k));
    }
    return ldexpf(elm_tensor_scale_at(t, row, k), t->scale_exp) *
           (float)elm_tensor_code_at(t, row, k);
}

void elm_tensor_row(const elm_tensor *t, size_t row, float *out) {
    for (uint32_t k = 0; k < elm_tensor_cols(t); k++) out[k] = elm_tensor_at(t, row, k);
}
