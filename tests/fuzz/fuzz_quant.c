/* fuzz_quant.c - any float32 rows through every scheme, and any source block to floats.
 *
 *   u8 scheme   u8 rows   then floats: a panel of [rows][cols]; the same bytes as blocks of each type */
#include <math.h>
#include <stdlib.h>

#include "parse/dequant.h"
#include "quant/quantize.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_COLS = 256 };

static void quantise(elm_scheme scheme, const float *rows, uint32_t n_rows, uint32_t n_cols,
                     int32_t exponent) {
    elm_p16_shape shape;
    elm_quant_error error = {0};
    if (!elm_p16_shape_of(scheme.dtype, n_rows, n_cols, scheme.group, &shape)) return;
    elm_p16_planes planes = {.codes = calloc(1, shape.codes_bytes),
                             .scales = shape.scales_bytes ? calloc(1, shape.scales_bytes) : NULL,
                             .zeros = shape.zeros_bytes ? calloc(1, shape.zeros_bytes) : NULL};
    float *scratch = calloc(elm_panel_scratch_floats(scheme, &shape) + 1, sizeof *scratch);
    if (!planes.codes || !scratch) abort();
    elm_quantize_panel(scheme, &shape, exponent, rows, n_cols, n_rows, n_cols, 0, &planes, scratch,
                       &error);
    /* Whatever was stored from finite values reads back finite. */
    elm_tensor t = {.name = "t",
                    .dtype = scheme.dtype,
                    .layout = ELM_LAYOUT_P16,
                    .n_dims = 2,
                    .dims = {n_rows, n_cols},
                    .group = scheme.group,
                    .scale_exp = exponent,
                    .codes = planes.codes,
                    .scales = planes.scales,
                    .zeros = planes.zeros};
    for (uint32_t r = 0; r < n_rows && error.n_not_finite == 0; r++) {
        for (uint32_t k = 0; k < n_cols; k++) {
            if (!isfinite(elm_tensor_at(&t, r, k))) abort();
        }
    }
    free(planes.codes);
    free(planes.scales);
    free(planes.zeros);
    free(scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const elm_dtype dtypes[] = {ELM_F32, ELM_F16, ELM_BF16, ELM_I8, ELM_I4, ELM_I8Z, ELM_I4Z};
    static float rows[ELM_P16_ROWS * MAX_COLS], out[1 << 16];
    if (size < 2) return 0;
    elm_dtype dtype = dtypes[data[0] % 7];
    uint32_t n_rows = 1 + data[1] % ELM_P16_ROWS;
    size_t floats = (size - 2) / 4;
    uint32_t n_cols = (uint32_t)(floats / n_rows < MAX_COLS ? floats / n_rows : MAX_COLS);
    if (n_cols > 0) {
        float amax = 0.0f;
        memcpy(rows, data + 2, (size_t)n_rows * n_cols * sizeof *rows);
        for (size_t i = 0; i < (size_t)n_rows * n_cols; i++)
            amax = isfinite(rows[i]) && fabsf(rows[i]) > amax ? fabsf(rows[i]) : amax;
        bool scales = elm_dtype_get(dtype)->has_scales;
        elm_scheme scheme = {dtype, scales ? (data[0] & 0x40 ? 64 : 32) : 0};
        quantise(scheme, rows, n_rows, n_cols, elm_scale_exp_for(dtype, amax));
    }
    for (int type = 0; type < ELM_N_SOURCE_TYPES; type++) {
        const elm_source_type_info *info = elm_source_type_get((elm_source_type)type);
        size_t n = (size - 2) / info->block_bytes, most = (1 << 16) / info->block_elements;
        if (n > 0) elm_dequantize((elm_source_type)type, data + 2, n < most ? n : most, out);
    }
    return 0;
}
