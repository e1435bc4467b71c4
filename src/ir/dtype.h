/* dtype.h - types of tensors, and the view of one stored tensor that every backend reads. */
#ifndef ELM_IR_DTYPE_H
#define ELM_IR_DTYPE_H

#include "base/status.h"

typedef enum elm_dtype {
#define X(name, number, text, bits, is_float, has_scales, has_zeros) ELM_##name = number,
#include "ir/dtype.def"
#undef X
    ELM_N_DTYPES
} elm_dtype;

typedef struct elm_dtype_info {
    const char *text;
    uint8_t bits;
    bool is_float;
    bool has_scales; /* quantised */
    bool has_zeros;
} elm_dtype_info;

/* NULL for a number that is not in dtype.def. */
const elm_dtype_info *elm_dtype_get(uint32_t dtype);
/* The dtype called `text`; false when there is none. */
bool elm_dtype_parse(const char *text, elm_dtype *out);

/* How a tensor's bytes lie. P16 is the form of every matrix that a linear or an embedding reads
 * (p16.h); ROWS is plain row-major, for vectors and tables. Numbers are part of the file format. */
typedef enum elm_layout { ELM_LAYOUT_ROWS = 0, ELM_LAYOUT_P16 = 1 } elm_layout;

enum { ELM_MAX_DIMS = 4, ELM_MAX_DIM = 1 << 30 };

/* A stored tensor, as the TENSORS section describes it and the mapping holds it. Borrowed from the
 * model; immutable. Matrices are [n_rows = out][n_cols = in = K]. */
typedef struct elm_tensor {
    const char *name;
    elm_dtype dtype;
    elm_layout layout;
    uint32_t n_dims;
    uint32_t dims[ELM_MAX_DIMS]; /* logical, outermost first */
    uint32_t
        group; /* elements along K that share a scale; for "channel" the padded K; 0 for floats */
    int32_t scale_exp;      /* every scale is multiplied by 2^scale_exp */
    const void *codes;      /* floats or quantised codes */
    const uint16_t *scales; /* f16, P16: [n_panels][K_padded/group][16]; NULL for floats */
    const uint8_t *zeros;   /* u8, the same shape as scales; NULL when symmetric */
    uint64_t codes_bytes, scales_bytes, zeros_bytes;
} elm_tensor;

#endif
