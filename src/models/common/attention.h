/* attention.h - one attention block, q, k and v to the output projection, as data. */
#ifndef ELM_MODELS_COMMON_ATTENTION_H
#define ELM_MODELS_COMMON_ATTENTION_H

#include "models/common/rope.h"

/* Tensors: self_attn.{q,k,v,o}_proj, self_attn.{q,k}_norm below the prefix of the layer. */
typedef struct elm_attention {
    uint32_t n_heads, n_kv_heads, head_dim;
    uint32_t window; /* 0 = full attention */
    float scale, eps;
    float softcap;    /* of the scores; 0 = none */
    bool fused_qkv;   /* rows of q, k and v are one tensor, self_attn.qkv_proj */
    bool bias;        /* on q, k and v */
    bool output_bias; /* on o */
    bool qk_norm;     /* RMS norm of every head of q and k before rope */
    float norm_add;   /* 1 where norms are stored as w - 1 */
    bool gated;  /* q_proj gives query and gate of every head; the result times sigmoid(gate) */
    bool v_norm; /* RMS norm without weight of every head of v */
    bool k_is_v; /* no v_proj: v is k before its norm */
    const elm_rope *rope; /* NULL: none */
} elm_attention;

/* Appends the block to the graph: x [rows][hidden] -> [rows][hidden]. With *state ELM_NO_VALUE keys
 * and values are computed and *state becomes their new KV state, that of `layer`; otherwise the
 * layer has none of its own and reads *state as it is. */
elm_value_id elm_mb_attention(elm_model_builder *mb, uint32_t layer, const elm_attention *a,
                              elm_value_id x, elm_value_id *state);

#endif
