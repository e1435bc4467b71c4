/* gguf_names.h - GGUF's architectures and tensor names, and what llama.cpp's converter did to the
 * tensors; parse. */
#ifndef ELM_PARSE_GGUF_NAMES_H
#define ELM_PARSE_GGUF_NAMES_H

#include "base/json.h"
#include "parse/gguf.h"

struct elm_gguf_reader;

/* What was done to a tensor, which reading undoes. */
typedef enum elm_gguf_change {
    ELM_GGUF_AS_IT_IS,
    ELM_GGUF_Q_PAIRS, /* rows of a head from halves to pairs, for interleaved RoPE */
    ELM_GGUF_K_PAIRS,
    /* A delta net's value heads from grouped by key head to tiled: */
    ELM_GGUF_V_BEHIND_QK, /* rows behind those of q and k */
    ELM_GGUF_V_ROWS,
    ELM_GGUF_V_NUMBERS, /* one row or number a head */
    ELM_GGUF_V_COLS,
    ELM_GGUF_V_TAPS,      /* as behind q and k; [C][taps] of [C][1][taps] */
    ELM_GGUF_V_MINUS_EXP, /* as numbers; -exp(w) instead of w */
    ELM_GGUF_ONE_ROW      /* perhaps [H] of [1][H] */
} elm_gguf_change;

/* "attn_q" for every suffix, or a whole name, "ssm_a", "attn_q.weight". */
typedef struct elm_gguf_rename {
    const char *gguf, *hf;
    elm_gguf_change change;
} elm_gguf_rename;

typedef struct elm_gguf_architecture {
    const char *gguf, *model_type; /* general.architecture, and what Hugging Face calls it */
    bool norms_plus_one;           /* norms hold w + 1 */
    const elm_gguf_rename *own[2]; /* before the common names; each ends with {0} */
    void (*config)(struct elm_gguf_reader *r); /* writes what is not alike in all: gguf_reader.h */
} elm_gguf_architecture;

/* NULL: not supported. */
const elm_gguf_architecture *elm_gguf_architecture_find(elm_span name);

/* Makes three tensors of each that holds q, k and v. */
elm_status elm_gguf_part_qkv(elm_gguf *g, const elm_gguf_architecture *a,
                             elm_error *err) ELM_MUST_CHECK;

/* Gives every tensor its Hugging Face name (in `arena`) and what reading undoes, by the sizes of
 * `config`, and indexes anew. A name that is not known stays as it is: what builds the model
 * refuses tensors that it does not use. */
elm_status elm_gguf_rename_tensors(elm_gguf *g, const elm_gguf_architecture *a,
                                   const elm_json *config, elm_arena *arena,
                                   elm_error *err) ELM_MUST_CHECK;

#endif
