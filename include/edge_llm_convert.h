/* edge_llm_convert.h - the host API: make an .elm file from a Hugging Face folder or a GGUF file.
 */
#ifndef EDGE_LLM_CONVERT_H
#define EDGE_LLM_CONVERT_H

#include "edge_llm_types.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum elm_quant {
    ELM_QUANT_DEFAULT = 0, /* int4 for float sources, keep for quantised ones */
    ELM_QUANT_F32,
    ELM_QUANT_F16,
    ELM_QUANT_BF16,
    ELM_QUANT_INT8,
    ELM_QUANT_INT4,
    ELM_QUANT_KEEP, /* bit-exactly what .elm can hold, the rest as int8 */
} elm_quant;

enum { ELM_GROUP_CHANNEL = -1 };

/* One line of news. Called from the converting thread. */
typedef struct elm_convert_progress {
    const char *tensor; /* being written */
    uint32_t n_done, n_total;
    uint64_t bytes_done, bytes_total; /* of the source */
} elm_convert_progress;

/* One tensor that was stored, in the order of the file. */
typedef struct elm_convert_tensor {
    const char *name;
    const char *source_type; /* "bf16", "q4_k", ... */
    const char *type;        /* "int4" */
    int32_t group;
    bool exact;     /* carried over bit for bit */
    double rel_rms; /* sqrt(sum (w - w')^2 / sum w^2) */
    double max_abs; /* largest |w - w'| */
} elm_convert_tensor;

typedef struct elm_convert_options {
    size_t struct_size;
    elm_quant quant;
    int32_t group; /* 32, 64, 128, ELM_GROUP_CHANNEL; 0: 32 for int4, 64 for int8 */
    bool zero_point;
    elm_quant embed; /* DEFAULT: int8 group 64 when quant is int4 or int8, else as quant */
    elm_quant head;  /* DEFAULT: as embed; ignored when the head is tied to the embedding */
    int32_t embed_group, head_group;
    uint32_t n_threads; /* 0: all cores */
    const elm_allocator *allocator;
    void (*on_progress)(void *context, const elm_convert_progress *progress);
    void (*on_tensor)(void *context, const elm_convert_tensor *tensor);
    void (*on_note)(void *context,
                    const char *line);  /* what was chosen, left out, or requantised */
    bool (*should_stop)(void *context); /* polled every few megabytes; true cancels */
    void *context;
    bool resume; /* go on from PATH.part, where a run with the same source and options was killed */
} elm_convert_options;

typedef struct elm_convert_result {
    uint64_t source_bytes, file_bytes;
    uint64_t f32_bytes; /* what all parameters would take as float32 */
    uint64_t n_parameters;
    uint32_t n_tensors, n_exact;
    double worst_rel_rms;
    char worst_tensor[128];
    char architecture[64];
} elm_convert_result;

/* Converts `source` (a folder or a .gguf) to `path`. Written to PATH.part and renamed at the end;
 * on any error PATH is what it was and PATH.part is gone, with `resume` it stays. A disk without
 * room is ELM_IO before anything is written. The same input and options give the same bytes,
 * resumed or not. */
ELM_API elm_status elm_convert(const char *source, const char *path,
                               const elm_convert_options *options, elm_convert_result *out,
                               elm_error *err) ELM_MUST_CHECK;

/* "int4" -> ELM_QUANT_INT4; false when the word is none of cli.md's. */
ELM_API bool elm_quant_parse(const char *text, elm_quant *out);
ELM_API const char *elm_quant_text(elm_quant quant);

#ifdef __cplusplus
}
#endif
#endif
