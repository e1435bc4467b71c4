/* decoder.h - the transformer block that the dense families share, as data: what varies is a field.
 */
#ifndef ELM_MODELS_COMMON_DECODER_H
#define ELM_MODELS_COMMON_DECODER_H

#include "models/common/rope.h"

/* One layer. Names follow Hugging Face below "model.layers.N.". */
typedef struct elm_decoder_layer {
    uint32_t n_heads, n_kv_heads, head_dim, n_ff;
    uint32_t window; /* 0 = full attention */
    float attention_scale;
    bool attention_bias; /* on q, k and v */
    bool output_bias;    /* on o */
    bool mlp_bias;
    bool qk_norm;        /* RMS norm of every head of q and k before rope */
    bool sandwich_norms; /* Gemma: norms behind attention and MLP as well */
    float norm_add;      /* 1 where norms are stored as w - 1 */
    float eps;
    int32_t activation;
    const elm_rope *rope;
} elm_decoder_layer;

/* Appends layer number `layer` to the graph: x -> x. */
elm_value_id elm_mb_decoder_layer(elm_model_builder *mb, uint32_t layer, const elm_decoder_layer *d,
                                  elm_value_id x);

/* Embedding of the tokens, rows multiplied by `scale`. The table is also the head when tied. */
elm_value_id elm_mb_embed(elm_model_builder *mb, uint32_t vocab, uint32_t hidden, float scale,
                          elm_value_id *table);

/* Final norm on the wanted rows and the head. `tied` uses `table`. */
elm_value_id elm_mb_head(elm_model_builder *mb, elm_value_id x, uint32_t vocab, uint32_t hidden,
                         float eps, float norm_add, bool tied, elm_value_id table);

#endif
