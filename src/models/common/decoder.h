/* decoder.h - the transformer block that most families share, as data: what varies is a field. */
#ifndef ELM_MODELS_COMMON_DECODER_H
#define ELM_MODELS_COMMON_DECODER_H

#include "models/common/attention.h"
#include "models/common/mlp.h"

/* One layer. Names follow Hugging Face below "model.layers.N.". */
typedef struct elm_decoder_layer {
    elm_attention attention;
    uint32_t n_ff;
    int32_t activation;
    bool mlp_bias;
    const elm_moe *moe;  /* instead of the MLP; NULL: none */
    bool sandwich_norms; /* Gemma: norms behind attention and MLP as well */
    float norm_add;      /* 1 where norms are stored as w - 1 */
    float eps;
} elm_decoder_layer;

/* What every config.json of a decoder says: vocab_size, hidden_size, num_hidden_layers,
 * num_attention_heads, num_key_value_heads (the same when absent), head_dim (hidden / heads when
 * absent), intermediate_size (not read when d->moe), rms_norm_eps, max_position_embeddings. Fields
 * of *d and mb that are not 0 before are what an absent key means. Refuses attention that is not
 * causal. */
elm_status elm_mb_decoder_config(elm_model_builder *mb, elm_decoder_layer *d,
                                 elm_error *err) ELM_MUST_CHECK;

/* Appends layer number `layer` to the graph: x -> x. */
elm_value_id elm_mb_decoder_layer(elm_model_builder *mb, uint32_t layer, const elm_decoder_layer *d,
                                  elm_value_id x);

/* RMS norm with the weight `name`.weight below the layer's prefix. */
elm_value_id elm_mb_norm(elm_model_builder *mb, const char *name, elm_value_id x, float add,
                         float eps);

/* sqrt(hidden_size) in the precision of the checkpoint's embedding: what Gemma multiplies it by. */
float elm_mb_sqrt_hidden(const elm_model_builder *mb);

/* Embedding of the tokens, rows multiplied by `scale`. The table is also the head when tied. */
elm_value_id elm_mb_embed(elm_model_builder *mb, float scale, elm_value_id *table);

/* The head of normalised rows h: `table` when tied, else lm_head.weight. */
elm_value_id elm_mb_lm_head(elm_model_builder *mb, elm_value_id h, bool tied, elm_value_id table);

/* Final norm on the wanted rows (x may be those already) and the head. */
elm_value_id elm_mb_head(elm_model_builder *mb, elm_value_id x, float eps, float norm_add,
                         bool tied, elm_value_id table);

#endif
