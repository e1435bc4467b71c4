/* gguf_names.h - GGUF's architectures and tensor names, and what llama.cpp's converter did to the
 * tensors; parse. */
#ifndef ELM_PARSE_GGUF_NAMES_H
#define ELM_PARSE_GGUF_NAMES_H

#include "parse/gguf.h"

typedef struct elm_gguf_architecture {
    const char *gguf,
        *model_type;      /* general.architecture, and what Hugging Face's config calls it */
    bool permuted;        /* rows of q and k were permuted for interleaved RoPE */
    bool norms_plus_one;  /* norms hold w + 1 */
    const char *ffn_norm; /* what blk.N.ffn_norm is called */
} elm_gguf_architecture;

/* NULL: not supported. */
const elm_gguf_architecture *elm_gguf_architecture_find(elm_span name);

/* Gives every tensor its Hugging Face name (in `arena`) and the flags that reading undoes, and
 * indexes anew. A name that is not known stays as it is: what builds the model refuses tensors that
 * it does not use. */
elm_status elm_gguf_rename_tensors(elm_gguf *g, const elm_gguf_architecture *a, uint32_t n_heads,
                                   uint32_t n_kv_heads, elm_arena *arena,
                                   elm_error *err) ELM_MUST_CHECK;

#endif
