/* gguf.h - GGUF v2 and v3: metadata with typed access, and the tensors as a checkpoint under GGUF's
 * names; parse. */
#ifndef ELM_PARSE_GGUF_H
#define ELM_PARSE_GGUF_H

#include "parse/checkpoint.h"

typedef enum elm_gguf_type {
    ELM_GGUF_U8,
    ELM_GGUF_I8,
    ELM_GGUF_U16,
    ELM_GGUF_I16,
    ELM_GGUF_U32,
    ELM_GGUF_I32,
    ELM_GGUF_F32,
    ELM_GGUF_BOOL,
    ELM_GGUF_STRING,
    ELM_GGUF_ARRAY,
    ELM_GGUF_U64,
    ELM_GGUF_I64,
    ELM_GGUF_F64,
    ELM_GGUF_N_TYPES
} elm_gguf_type;

typedef struct elm_gguf_value {
    elm_span key;
    elm_gguf_type type;
    elm_gguf_type item_type; /* of an array */
    uint64_t count;          /* of an array */
    elm_span data;           /* the value's bytes: a string's text, an array's items, a number */
} elm_gguf_value;

typedef struct elm_gguf {
    elm_checkpoint checkpoint; /* one shard: the file; more when joined */
    elm_span header;           /* the bytes up to the tensor data, in the checkpoint's arena */
    elm_gguf_value *values;
    uint32_t n_values;
} elm_gguf;

enum { ELM_GGUF_MAX_HEADER = 256 << 20, ELM_GGUF_MAX_VALUES = 4096 };

/* Opens a file. Names and shapes are GGUF's, dimensions already outermost first. Close in any case.
 */
elm_status elm_gguf_open(const elm_platform *platform, const char *path, elm_gguf *out,
                         elm_error *err) ELM_MUST_CHECK;
/* Adds the tensors of the other files when this is the first of several; else nothing changes. */
elm_status elm_gguf_join(elm_gguf *g, elm_error *err) ELM_MUST_CHECK;
void elm_gguf_close(elm_gguf *g);

const elm_gguf_value *elm_gguf_find(const elm_gguf *g, const char *key);
/* Typed access; false when the key is absent or of another type. Integers of any width convert that
 * fit. */
bool elm_gguf_int(const elm_gguf *g, const char *key, int64_t *out);
bool elm_gguf_float(const elm_gguf *g, const char *key, double *out);
bool elm_gguf_bool(const elm_gguf *g, const char *key, bool *out);
bool elm_gguf_string(const elm_gguf *g, const char *key, elm_span *out);
/* An array of strings as spans in `arena`; *out = NULL and ELM_OK when the key is absent. */
elm_status elm_gguf_strings(const elm_gguf *g, const char *key, elm_arena *arena, elm_span **out,
                            uint32_t *n, elm_error *err) ELM_MUST_CHECK;
/* The bytes of an array of 4-byte items of that type, copied aligned into `arena`; the same for
 * absence. */
elm_status elm_gguf_words(const elm_gguf *g, const char *key, elm_gguf_type type, elm_arena *arena,
                          void *out_ptr, uint32_t *n, elm_error *err) ELM_MUST_CHECK;

#endif
