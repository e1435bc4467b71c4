/* decoder.c - the shared transformer block, embedding and head; models/common.
 *
 *   h = x + [norm](attention(norm(x)))
 *   y = h + [norm](mlp(norm(h))) */
#include "models/common/decoder.h"

#include "base/f16.h"

#include <math.h>

enum { MAX_HEADS = 65536, MAX_HEAD_DIM = 8192 };

/* Attention without a mask makes embeddings, not text. gemma4 says "vision" where it means images. */
static elm_status check_causal(const elm_model_builder *mb, elm_error *err) {
    const elm_json *both = elm_json_find(mb->config, "use_bidirectional_attention");
    const elm_json *causal = elm_json_find(mb->config, "is_causal");
    bool sees_all = (both && both->type == ELM_JSON_BOOL && both->as.boolean) ||
                    elm_json_is(both, "all") ||
                    (causal && causal->type == ELM_JSON_BOOL && !causal->as.boolean);
    if (!sees_all) return ELM_OK;
    return elm_fail(err, ELM_UNSUPPORTED,
                    "%s: attention is bidirectional (use_bidirectional_attention, is_causal): this "
                    "makes embeddings; only models that write text are supported",
                    mb->where);
}

elm_status elm_mb_decoder_config(elm_model_builder *mb, elm_decoder_layer *d, elm_error *err) {
    elm_attention *a = &d->attention;
    ELM_TRY(check_causal(mb, err));
    ELM_TRY(elm_mb_int_or(mb, "vocab_size", ELM_MAX_DIM, &mb->vocab_size, err));
    ELM_TRY(elm_mb_int_or(mb, "hidden_size", ELM_MAX_DIM, &mb->hidden_size, err));
    ELM_TRY(elm_mb_int_or(mb, "num_hidden_layers", ELM_MAX_LAYERS, &mb->n_layers, err));
    ELM_TRY(elm_mb_int_or(mb, "num_attention_heads", MAX_HEADS, &a->n_heads, err));
    if (a->n_kv_heads == 0) a->n_kv_heads = a->n_heads;
    ELM_TRY(elm_mb_optional_int(mb, "num_key_value_heads", MAX_HEADS, &a->n_kv_heads, err));
    if (a->head_dim == 0) a->head_dim = mb->hidden_size / a->n_heads;
    ELM_TRY(elm_mb_optional_int(mb, "head_dim", MAX_HEAD_DIM, &a->head_dim, err));
    if (!d->moe) ELM_TRY(elm_mb_int_or(mb, "intermediate_size", ELM_MAX_DIM / 4, &d->n_ff, err));
    ELM_TRY(elm_mb_optional_float(mb, "rms_norm_eps", &d->eps, err));
    a->eps = d->eps;
    ELM_TRY(
        elm_mb_optional_int(mb, "max_position_embeddings", ELM_MAX_DIM, &mb->context_length, err));
    if (mb->context_length == 0) {
        return elm_fail(err, ELM_MALFORMED, "%s: max_position_embeddings must be above 0",
                        mb->where);
    }
    return elm_mb_check_heads(mb, a->n_heads, a->n_kv_heads, a->head_dim, err);
}

elm_value_id elm_mb_norm(elm_model_builder *mb, const char *name, elm_value_id x, float add,
                         float eps) {
    const char *source = elm_arena_printf(mb->arena, "%s%s.weight", mb->prefix, name);
    if (!source) elm_mb_fail(mb, elm_fail_oom(&mb->graph.error, 64, "a tensor's name"));
    elm_value_id w = elm_mb_vector(mb, source ? source : "", mb->hidden_size, add);
    return elm_build_rms_norm(&mb->graph, name, x, w, eps);
}

elm_value_id elm_mb_decoder_layer(elm_model_builder *mb, uint32_t layer, const elm_decoder_layer *d,
                                  elm_value_id x) {
    elm_value_id state = ELM_NO_VALUE;
    elm_mb_enter_layer(mb, layer);
    elm_value_id u = elm_mb_norm(mb, "input_layernorm", x, d->norm_add, d->eps);
    elm_value_id a = elm_mb_attention(mb, layer, &d->attention, u, &state);
    if (d->sandwich_norms) a = elm_mb_norm(mb, "post_attention_layernorm", a, d->norm_add, d->eps);
    elm_value_id h = elm_build_add(&mb->graph, "attn_residual", x, a);

    const char *before_mlp =
        d->sandwich_norms ? "pre_feedforward_layernorm" : "post_attention_layernorm";
    u = elm_mb_norm(mb, before_mlp, h, d->norm_add, d->eps);
    elm_value_id f = d->moe ? elm_mb_moe(mb, d->moe, u, u)
                            : elm_mb_mlp(mb, "mlp", u, d->n_ff, d->activation, d->mlp_bias);
    if (d->sandwich_norms)
        f = elm_mb_norm(mb, "post_feedforward_layernorm", f, d->norm_add, d->eps);
    elm_value_id y = elm_build_add(&mb->graph, "mlp_residual", h, f);
    elm_mb_leave(mb);
    return y;
}

float elm_mb_sqrt_hidden(const elm_model_builder *mb) {
    const elm_source_tensor *t = elm_checkpoint_find(mb->checkpoint, "model.embed_tokens.weight");
    float scale = sqrtf((float)mb->hidden_size);
    return t && t->type == ELM_SOURCE_BF16 ? elm_f32_from_bf16(elm_bf16_from_f32(scale)) : scale;
}

elm_value_id elm_mb_embed(elm_model_builder *mb, float scale, elm_value_id *table) {
    *table = elm_mb_matrix(mb, ELM_ROLE_EMBEDDING, "model.embed_tokens.weight", mb->vocab_size,
                           mb->hidden_size);
    elm_value_id ids = elm_build_input(&mb->graph, ELM_INPUT_TOKENS);
    return elm_build_embedding(&mb->graph, ids, *table, scale);
}

elm_value_id elm_mb_lm_head(elm_model_builder *mb, elm_value_id h, bool tied, elm_value_id table) {
    elm_builder *g = &mb->graph;
    if (tied) {
        elm_mb_ignore(mb, "lm_head.weight"); /* a copy may be present */
    } else {
        table = elm_mb_matrix(mb, ELM_ROLE_HEAD, "lm_head.weight", mb->vocab_size, mb->hidden_size);
    }
    if (g->status != ELM_OK) return ELM_NO_VALUE;
    bool quantised = elm_dtype_get(g->graph->values[table].dtype)->has_scales;
    return elm_build_linear(g, "lm_head", h, table, ELM_NO_VALUE,
                            quantised ? ELM_ACT_QUANT_I8 : ELM_ACT_QUANT_NONE);
}

elm_value_id elm_mb_head(elm_model_builder *mb, elm_value_id x, float eps, float norm_add,
                         bool tied, elm_value_id table) {
    elm_builder *g = &mb->graph;
    if (!elm_builder_is_r(g, x))
        x = elm_build_gather_rows(g, x, elm_build_input(g, ELM_INPUT_ROWS));
    return elm_mb_lm_head(mb, elm_mb_norm(mb, "norm", x, norm_add, eps), tied, table);
}
