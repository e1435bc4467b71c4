/* decoder.c - the shared transformer block, embedding and head; models/common.
 *
 *   h = x + [norm](o(attention(rope([norm](q)), rope([norm](k)), v)))     of norm(x)
 *   y = h + [norm](down(glu(gate, up)))                                   of norm(h) */
#include "models/common/decoder.h"

static const char *source_name(elm_model_builder *mb, uint32_t layer, const char *rest) {
    const char *name = elm_arena_printf(mb->arena, "model.layers.%u.%s", layer, rest);
    if (!name && mb->graph.status == ELM_OK) {
        mb->graph.status = elm_fail_oom(&mb->graph.error, 64, "a tensor name");
    }
    return name ? name : "";
}

static elm_value_id norm(elm_model_builder *mb, uint32_t layer, const elm_decoder_layer *d,
                         const char *rest, elm_value_id x, uint32_t n) {
    const char *source = source_name(mb, layer, elm_arena_printf(mb->arena, "%s.weight", rest));
    return elm_build_rms_norm(&mb->graph, rest, x, elm_mb_vector(mb, source, n, d->norm_add),
                              d->eps);
}

/* [T][heads * head_dim] -> [T][heads][head_dim], normalised where the family does. */
static elm_value_id heads_of(elm_model_builder *mb, uint32_t layer, const elm_decoder_layer *d,
                             elm_value_id x, uint32_t n_heads, const char *name,
                             const char *norm_name) {
    elm_dim dims[3] = {ELM_DIM_T, (elm_dim)n_heads, (elm_dim)d->head_dim};
    elm_value_id h = elm_build_reshape(&mb->graph, name, x, 3, dims);
    return norm_name && d->qk_norm ? norm(mb, layer, d, norm_name, h, d->head_dim) : h;
}

static elm_value_id attention(elm_model_builder *mb, uint32_t layer, const elm_decoder_layer *d,
                              elm_value_id x, uint32_t hidden) {
    const char *sources[3] = {source_name(mb, layer, "self_attn.q_proj"),
                              source_name(mb, layer, "self_attn.k_proj"),
                              source_name(mb, layer, "self_attn.v_proj")};
    uint32_t q_rows = d->n_heads * d->head_dim, kv_rows = d->n_kv_heads * d->head_dim;
    uint32_t rows[3] = {q_rows, kv_rows, kv_rows};
    elm_value_id qkv[3];
    elm_mb_linears(mb, "self_attn.qkv", x, hidden, 3, sources, rows, d->attention_bias, qkv);

    elm_builder *g = &mb->graph;
    elm_value_id positions = elm_build_input(g, ELM_INPUT_POSITIONS);
    elm_value_id q = heads_of(mb, layer, d, qkv[0], d->n_heads, "self_attn.q", "self_attn.q_norm");
    elm_value_id k =
        heads_of(mb, layer, d, qkv[1], d->n_kv_heads, "self_attn.k", "self_attn.k_norm");
    elm_value_id v = heads_of(mb, layer, d, qkv[2], d->n_kv_heads, "self_attn.v", NULL);
    q = elm_build_rope(g, "self_attn.q_rope", q, positions, d->rope->inv_freq, d->rope->pair_stride,
                       d->rope->scale);
    k = elm_build_rope(g, "self_attn.k_rope", k, positions, d->rope->inv_freq, d->rope->pair_stride,
                       d->rope->scale);
    elm_value_id state =
        elm_build_state(g, ELM_STATE_KV, layer, d->n_kv_heads, d->head_dim, d->head_dim, d->window);
    elm_build_kv_write(g, k, v, state);
    elm_value_id a = elm_build_attention(g, q, state, d->attention_scale, (int32_t)d->window, 0.0f);
    elm_dim flat[2] = {ELM_DIM_T, (elm_dim)q_rows};
    a = elm_build_reshape(g, "self_attn.flat", a, 2, flat);

    const char *o_source[1] = {source_name(mb, layer, "self_attn.o_proj")};
    elm_value_id o;
    elm_mb_linears(mb, "self_attn.o", a, q_rows, 1, o_source, &hidden, d->output_bias, &o);
    return o;
}

static elm_value_id mlp(elm_model_builder *mb, uint32_t layer, const elm_decoder_layer *d,
                        elm_value_id x, uint32_t hidden) {
    elm_value_id gate, up, down;
    elm_mb_gate_up(mb, "mlp.gate_up", x, hidden, d->n_ff, source_name(mb, layer, "mlp.gate_proj"),
                   source_name(mb, layer, "mlp.up_proj"), d->mlp_bias, &gate, &up);
    elm_value_id h = elm_build_glu(&mb->graph, gate, up, d->activation);
    const char *source[1] = {source_name(mb, layer, "mlp.down_proj")};
    elm_mb_linears(mb, "mlp.down", h, d->n_ff, 1, source, &hidden, d->mlp_bias, &down);
    return down;
}

elm_value_id elm_mb_decoder_layer(elm_model_builder *mb, uint32_t layer, const elm_decoder_layer *d,
                                  elm_value_id x) {
    uint32_t hidden = mb->hidden_size;
    elm_builder_scope(&mb->graph, "layers.%u", layer);
    elm_value_id a =
        attention(mb, layer, d, norm(mb, layer, d, "input_layernorm", x, hidden), hidden);
    if (d->sandwich_norms) a = norm(mb, layer, d, "post_attention_layernorm", a, hidden);
    elm_value_id h = elm_build_add(&mb->graph, "attn_residual", x, a);

    const char *before_mlp =
        d->sandwich_norms ? "pre_feedforward_layernorm" : "post_attention_layernorm";
    elm_value_id f = mlp(mb, layer, d, norm(mb, layer, d, before_mlp, h, hidden), hidden);
    if (d->sandwich_norms) f = norm(mb, layer, d, "post_feedforward_layernorm", f, hidden);
    elm_value_id y = elm_build_add(&mb->graph, "mlp_residual", h, f);
    elm_builder_scope(&mb->graph, NULL);
    return y;
}

elm_value_id elm_mb_embed(elm_model_builder *mb, uint32_t vocab, uint32_t hidden, float scale,
                          elm_value_id *table) {
    *table = elm_mb_matrix(mb, ELM_ROLE_EMBEDDING, "model.embed_tokens.weight", vocab, hidden);
    elm_value_id ids = elm_build_input(&mb->graph, ELM_INPUT_TOKENS);
    return elm_build_embedding(&mb->graph, ids, *table, scale);
}

elm_value_id elm_mb_head(elm_model_builder *mb, elm_value_id x, uint32_t vocab, uint32_t hidden,
                         float eps, float norm_add, bool tied, elm_value_id table) {
    elm_builder *g = &mb->graph;
    elm_value_id rows = elm_build_gather_rows(g, x, elm_build_input(g, ELM_INPUT_ROWS));
    elm_value_id weight = elm_mb_vector(mb, "model.norm.weight", hidden, norm_add);
    elm_value_id h = elm_build_rms_norm(g, "norm", rows, weight, eps);
    elm_value_id logits;
    if (tied) {
        elm_mb_ignore(mb, "lm_head.weight"); /* a stale copy may be present */
        elm_dtype dtype = g->status == ELM_OK ? g->graph->values[table].dtype : ELM_F32;
        logits = elm_build_linear(g, "lm_head", h, table, ELM_NO_VALUE,
                                  elm_dtype_get(dtype)->has_scales ? ELM_ACT_QUANT_I8
                                                                   : ELM_ACT_QUANT_NONE);
    } else {
        elm_value_id head = elm_mb_matrix(mb, ELM_ROLE_HEAD, "lm_head.weight", vocab, hidden);
        elm_dtype dtype = g->status == ELM_OK ? g->graph->values[head].dtype : ELM_F32;
        logits = elm_build_linear(g, "lm_head", h, head, ELM_NO_VALUE,
                                  elm_dtype_get(dtype)->has_scales ? ELM_ACT_QUANT_I8
                                                                   : ELM_ACT_QUANT_NONE);
    }
    return logits;
}
