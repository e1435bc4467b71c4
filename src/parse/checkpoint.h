/* checkpoint.h - one view of a source model's tensors, whatever file they lie in; parse.
 *
 * Names are Hugging Face's, dimensions outermost first. Bytes are read with pread, never mapped:
 * converting needs memory for what it works on, not for the model. Reading is thread-safe. */
#ifndef ELM_PARSE_CHECKPOINT_H
#define ELM_PARSE_CHECKPOINT_H

#include "base/platform.h"

typedef enum elm_source_type {
#define X(name, text, elements, bytes, safetensors, gguf) ELM_SOURCE_##name,
#include "parse/source_type.def"
#undef X
    ELM_N_SOURCE_TYPES
} elm_source_type;

typedef struct elm_source_type_info {
    const char *text;
    uint32_t block_elements, block_bytes;
    const char *safetensors; /* NULL: not in safetensors */
    int32_t gguf;            /* -1: not in GGUF */
} elm_source_type_info;

const elm_source_type_info *elm_source_type_get(elm_source_type type);

/* Dimensions: a three-dimensional convolution, as Qwen's vision parts begin with, has five. */
enum { ELM_SOURCE_MAX_DIMS = 8, ELM_MAX_SHARDS = 1024, ELM_MAX_SOURCE_TENSORS = 1 << 20 };

/* Rows or columns that llama.cpp's converter put in another order. From `first` on they come in
 * blocks of outer * inner groups of `size`: group (i, j) of the checkpoint's own order lies where
 * (j, i) would. outer 0: as they were. */
typedef struct elm_source_swap {
    uint32_t first, outer, inner, size;
} elm_source_swap;

typedef struct elm_source_tensor {
    const char *name;
    elm_source_type type;
    uint32_t n_dims;
    uint64_t dims[ELM_SOURCE_MAX_DIMS];
    uint32_t shard;
    uint64_t offset, bytes;     /* in that shard's file */
    elm_source_swap rows, cols; /* undone by reading */
    bool form_folded;           /* a GGUF vector that already is what the family makes of it: w + 1,
                                   -exp(w) */
} elm_source_tensor;

typedef struct elm_checkpoint {
    const elm_platform *platform;
    elm_arena arena;
    elm_file *shards;
    uint32_t n_shards;
    elm_source_tensor *tensors;
    uint32_t n_tensors;
    const elm_source_tensor *
        *by_name;         /* [n_tensors], sorted: no chosen names can make finding slow */
    uint64_t total_bytes; /* of all tensors */
} elm_checkpoint;

/* Opens model.safetensors, or the shards that model.safetensors.index.json names. Close in any
 * case. */
elm_status elm_checkpoint_open_folder(const elm_platform *platform, const char *folder,
                                      elm_checkpoint *out, elm_error *err) ELM_MUST_CHECK;
void elm_checkpoint_close(elm_checkpoint *ck);

const elm_source_tensor *elm_checkpoint_find(const elm_checkpoint *ck, const char *name);

/* Rows of the last dimension (a vector: single elements) as floats: out[n_rows][elements of a row],
 * exact but for F64 and integers. */
elm_status elm_checkpoint_read_rows(const elm_checkpoint *ck, const elm_source_tensor *t,
                                    uint64_t first_row, uint64_t n_rows, float *out,
                                    elm_error *err) ELM_MUST_CHECK;

/* Whether rows can be had in the source's own blocks: swapped columns must not cut through them. */
bool elm_source_has_raw_rows(const elm_source_tensor *t);
/* Those: out[n_rows][bytes of a row]. */
elm_status elm_checkpoint_read_raw_rows(const elm_checkpoint *ck, const elm_source_tensor *t,
                                        uint64_t first_row, uint64_t n_rows, void *out,
                                        elm_error *err) ELM_MUST_CHECK;

/* For the readers of the formats: bytes of a tensor of that type and shape (0 on overflow or a bad
 * shape), and the final checks over all tensors (unique names, ranges inside their file, no
 * overlap), which also build the index. */
uint64_t elm_source_bytes(elm_source_type type, uint32_t n_dims, const uint64_t *dims);
elm_status elm_checkpoint_index(elm_checkpoint *ck, elm_error *err) ELM_MUST_CHECK;

#endif
