/* tokenizer_build.h - host side: a tokenizer.json, or a GGUF's vocabulary, becomes the TOKENIZER
 * blob.
 *
 * Everything that the device half does not run is refused here by name, with ELM_UNSUPPORTED;
 * nothing is approximated. */
#ifndef ELM_PARSE_TOKENIZER_BUILD_H
#define ELM_PARSE_TOKENIZER_BUILD_H

#include "base/json.h"

/* From the parsed tokenizer.json (kept alive for the call only). */
elm_status elm_tokenizer_build_hf(const elm_allocator *alloc, const elm_json *tokenizer_json,
                                  elm_buf *blob, elm_error *err) ELM_MUST_CHECK;

/* From the fields that a GGUF carries; strings are borrowed for the call. */
typedef struct elm_gguf_vocab {
    elm_span model;         /* tokenizer.ggml.model: "gpt2", "llama", "gemma4" ... */
    elm_span pre;           /* tokenizer.ggml.pre, may be empty */
    const elm_span *tokens; /* [n_tokens] */
    const float *scores;    /* [n_tokens] or NULL */
    const int32_t *
        types; /* [n_tokens] or NULL: 1 normal 2 unknown 3 control 4 user-defined 5 unused 6 byte */
    uint32_t n_tokens;
    const elm_span *merges; /* [n_merges] "a b" */
    uint32_t n_merges;
    int32_t bos_id, eos_id, unk_id; /* ELM_NO_TOKEN when absent */
    bool add_bos, add_eos, add_space_prefix;
    bool phi3_strips; /* added tokens take the spaces behind them along, as Phi-3's do */
} elm_gguf_vocab;

elm_status elm_tokenizer_build_gguf(const elm_allocator *alloc, const elm_gguf_vocab *vocab,
                                    elm_buf *blob, elm_error *err) ELM_MUST_CHECK;

#endif
