/* gemma4.c - Gemma 4 text: E2B, E4B, 12B, 26B-A4B, 31B.
 *
 * Config: transformers Gemma4TextConfig, with either the global_* keys or per_layer_config. Norms
 * have plain weights (no +1), attention scores are not scaled, values are normalised.
 *
 *   sliding and full layers   own head_dim, KV heads and RoPE; full ones may use k as v
 *   per-layer embeddings      a row of a second table for every token, mixed with a projection of
 *                             the first hidden rows, gates each layer's output (E2B, E4B)
 *   KV sharing                the last layers read keys and values of the last layer of their type
 *                             that has its own; they leave no state, so they run for wanted rows
 * only experts                   beside the dense MLP, from norms of their own (26B) */
#include "models/common/decoder.h"
#include "models/common/layers.h"
#include "models/family.h"

#include <math.h>

enum { MAX_PER_LAYER_DIM = 4096 };

typedef struct gemma4 {
    elm_attention attention; /* of a sliding layer, but for what the arrays below say */
    elm_rope sliding, full;
    elm_moe moe;
    float eps;
    uint32_t n_ff, ple_dim, ple_vocab;
    uint32_t first_shared; /* layers from here on have no keys and values of their own */
    bool double_wide, has_moe, k_eq_v;
    float softcap;
    uint32_t windows[ELM_MAX_LAYERS], head_dims[ELM_MAX_LAYERS], kv_heads[ELM_MAX_LAYERS];
    int32_t activation;
} gemma4;

/* ---- config ---- */

/* per_layer_config: {"5": {"head_dim": 512, "num_key_value_heads": 4}, ...}: what differs. */
static elm_status read_overrides(const elm_model_builder *mb, const elm_json *layers, gemma4 *g,
                                 elm_error *err) {
    if (layers->type != ELM_JSON_OBJECT)
        return elm_fail(err, ELM_MALFORMED, "%s: per_layer_config is no object", mb->where);
    for (uint32_t i = 0; i < layers->count; i++) {
        const elm_json *entry = &layers->as.items[i];
        uint64_t layer = 0;
        bool number = entry->key.size > 0 && entry->key.size < 5;
        for (size_t c = 0; number && c < entry->key.size; c++) {
            number = entry->key.data[c] >= '0' && entry->key.data[c] <= '9';
            layer = layer * 10 + (uint64_t)(entry->key.data[c] - '0');
        }
        if (!number || layer >= mb->n_layers || entry->type != ELM_JSON_OBJECT)
            return elm_fail(err, ELM_MALFORMED, "%s: per_layer_config names no layer", mb->where);
        for (uint32_t k = 0; k < entry->count; k++) {
            const elm_json *v = &entry->as.items[k];
            bool is_dim = elm_span_equal(v->key, elm_span_str("head_dim"));
            bool is_heads = elm_span_equal(v->key, elm_span_str("num_key_value_heads"));
            if ((!is_dim && !is_heads) || v->type != ELM_JSON_INT || v->as.integer < 1 ||
                v->as.integer > 65536) {
                return elm_fail(err, ELM_UNSUPPORTED,
                                "%s: per_layer_config sets '%.*s' of layer %u, which is not known",
                                mb->where, (int)(v->key.size < 64 ? v->key.size : 64),
                                (const char *)v->key.data, (uint32_t)layer);
            }
            (is_dim ? g->head_dims : g->kv_heads)[layer] = (uint32_t)v->as.integer;
        }
    }
    return ELM_OK;
}

static elm_status read_heads(const elm_model_builder *mb, gemma4 *g, elm_error *err) {
    const elm_json *overrides = elm_json_find(mb->config, "per_layer_config");
    uint32_t full_dim = 512, full_heads = g->attention.n_kv_heads;
    ELM_TRY(elm_mb_optional_int(mb, "global_head_dim", 8192, &full_dim, err));
    if (g->k_eq_v)
        ELM_TRY(elm_mb_optional_int(mb, "num_global_key_value_heads", 65536, &full_heads, err));
    bool listed = overrides && overrides->type != ELM_JSON_NULL;
    for (uint32_t i = 0; i < mb->n_layers; i++) {
        bool own = g->windows[i] == 0 && !listed;
        g->head_dims[i] = own ? full_dim : g->attention.head_dim;
        g->kv_heads[i] = own ? full_heads : g->attention.n_kv_heads;
    }
    if (listed) ELM_TRY(read_overrides(mb, overrides, g, err));
    for (uint32_t i = 0; i < mb->n_layers; i++)
        ELM_TRY(elm_mb_check_heads(mb, g->attention.n_heads, g->kv_heads[i], g->head_dims[i], err));
    return ELM_OK;
}

/* One table for all layers of a type: their heads must be alike. */
static elm_status read_rope(elm_model_builder *mb, const gemma4 *g, bool full, elm_rope *out,
                            elm_error *err) {
    uint32_t dim = 0;
    for (uint32_t i = 0; i < mb->n_layers; i++) {
        if ((g->windows[i] == 0) != full) continue;
        if (dim != 0 && g->head_dims[i] != dim) {
            return elm_fail(err, ELM_UNSUPPORTED,
                            "%s: layers of one type have heads of %u and %u dimensions", mb->where,
                            dim, g->head_dims[i]);
        }
        dim = g->head_dims[i];
    }
    if (dim == 0) return ELM_OK;
    return elm_mb_rope(mb, full ? "full_attention" : "sliding_attention", "rope_theta",
                       full ? 1e6 : 1e4, true, dim, full ? "rope.inv_freq" : "rope_local.inv_freq",
                       out, err);
}

static elm_status read_parts(elm_model_builder *mb, gemma4 *g, elm_error *err) {
    const elm_json *cap = elm_json_find(mb->config, "final_logit_softcapping");
    uint32_t n_shared = 0;
    g->ple_dim = 256;
    g->ple_vocab = mb->vocab_size;
    ELM_TRY(elm_mb_optional_int(mb, "hidden_size_per_layer_input", MAX_PER_LAYER_DIM, &g->ple_dim,
                                err));
    ELM_TRY(elm_mb_optional_int(mb, "vocab_size_per_layer_input", ELM_MAX_DIM, &g->ple_vocab, err));
    ELM_TRY(elm_mb_optional_int(mb, "num_kv_shared_layers", mb->n_layers - 1, &n_shared, err));
    ELM_TRY(elm_mb_optional_bool(mb, "use_double_wide_mlp", &g->double_wide, err));
    ELM_TRY(elm_mb_optional_bool(mb, "enable_moe_block", &g->has_moe, err));
    if (cap && cap->type != ELM_JSON_NULL)
        ELM_TRY(elm_mb_optional_float(mb, "final_logit_softcapping", &g->softcap, err));
    g->first_shared = mb->n_layers - n_shared;
    if ((uint64_t)mb->n_layers * g->ple_dim > ELM_MAX_DIM || g->ple_vocab < mb->vocab_size) {
        return elm_fail(err, ELM_MALFORMED,
                        "%s: per-layer embeddings of %u x %u for %u tokens of %u", mb->where,
                        mb->n_layers, g->ple_dim, g->ple_vocab, mb->vocab_size);
    }
    if (!g->has_moe) return ELM_OK;
    g->moe = (elm_moe){.router = "router.proj",
                       .experts = "experts",
                       .expert_scales = "router.per_expert_scale",
                       .renormalise = true,
                       .activation = g->activation};
    ELM_TRY(elm_mb_int(mb, "num_experts", ELM_MAX_EXPERTS, &g->moe.n_experts, err));
    ELM_TRY(elm_mb_int(mb, "top_k_experts", ELM_MAX_TOP_K, &g->moe.top_k, err));
    return elm_mb_int(mb, "moe_intermediate_size", ELM_MAX_DIM / 4, &g->moe.n_ff, err);
}

static elm_status read_config(elm_model_builder *mb, gemma4 *g, elm_error *err) {
    elm_decoder_layer d = {.eps = 1e-6f, .attention = {.head_dim = 256}};
    uint32_t window = 512;
    mb->context_length = 131072;
    mb->raw_needs_bos = true;
    ELM_TRY(elm_mb_decoder_config(mb, &d, err));
    g->attention = d.attention;
    g->attention.scale = 1.0f;
    g->attention.qk_norm = g->attention.v_norm = true;
    g->eps = d.eps;
    g->n_ff = d.n_ff;
    ELM_TRY(elm_mb_optional_bool(mb, "attention_bias", &g->attention.bias, err));
    g->attention.output_bias = g->attention.bias;
    ELM_TRY(elm_mb_optional_bool(mb, "attention_k_eq_v", &g->k_eq_v, err));
    ELM_TRY(elm_mb_activation(mb, "hidden_activation", "gelu_pytorch_tanh", &g->activation, err));
    ELM_TRY(elm_mb_optional_int(mb, "sliding_window", ELM_MAX_DIM, &window, err));
    if (!elm_json_find(mb->config, "rope_parameters"))
        return elm_fail(err, ELM_MALFORMED, "%s has no 'rope_parameters'", mb->where);
    ELM_TRY(elm_mb_layer_windows(mb, mb->n_layers, window, 6, g->windows, err));
    g->windows[mb->n_layers - 1] = 0; /* always full, as the reference forces it */
    ELM_TRY(read_heads(mb, g, err));
    ELM_TRY(read_parts(mb, g, err));
    ELM_TRY(read_rope(mb, g, false, &g->sliding, err));
    return read_rope(mb, g, true, &g->full, err);
}

/* ---- per-layer embeddings ---- */

/* Those of layers [first, first + n): (norm(projection of x) + row of the table * sqrt(dim)) /
 * sqrt(2), [rows][n * dim]. The projection's factor hidden^-0.5 stands before a norm: it only
 * scales eps. The last factor is in the norm's weight and in the embedding's. */
static elm_value_id per_layer_part(elm_model_builder *mb, const gemma4 *g, const char *name,
                                   elm_value_id x, elm_value_id identity, elm_value_id weight,
                                   uint32_t first, uint32_t n) {
    elm_builder *b = &mb->graph;
    elm_dim rows = elm_builder_is_r(b, x) ? ELM_DIM_R : ELM_DIM_T;
    elm_dim by_layer[3] = {rows, (elm_dim)n, (elm_dim)g->ple_dim};
    elm_dim flat[2] = {rows, (elm_dim)(n * g->ple_dim)};
    elm_linear_part part = {.source = "model.per_layer_model_projection",
                            .rows = n * g->ple_dim,
                            .of = mb->n_layers * g->ple_dim,
                            .first = first * g->ple_dim,
                            .run = n * g->ple_dim,
                            .stride = n * g->ple_dim};
    elm_value_id c;
    elm_mb_linears(mb, ELM_ROLE_LINEAR, name, x, mb->hidden_size, 1, &part, false, &c);
    c = elm_build_reshape(b, "per_layer.by_layer", c, 3, by_layer);
    c = elm_build_rms_norm(b, "per_layer.norm", c, weight, g->eps * (float)mb->hidden_size);
    c = elm_build_reshape(b, "per_layer.flat", c, 2, flat);
    return elm_build_add(b, "per_layer.inputs", c, identity);
}

/* out[layer]: [rows][dim] of every layer, from the embedded tokens x. */
static void per_layer_inputs(elm_model_builder *mb, const gemma4 *g, elm_value_id x,
                             elm_value_id *out) {
    elm_builder *b = &mb->graph;
    const float half = 0.70710678118654752f;
    int32_t dim = (int32_t)g->ple_dim, own = (int32_t)g->first_shared * dim;
    uint32_t n_shared = mb->n_layers - g->first_shared;
    elm_value_id table = elm_mb_row_table(mb, "model.embed_tokens_per_layer.weight", g->ple_vocab,
                                          mb->n_layers * g->ple_dim);
    elm_value_id weight = elm_mb_vector_as(mb, "model.per_layer_projection_norm.weight", g->ple_dim,
                                           (elm_vector_form){.mul = half});
    elm_value_id id = elm_build_embedding(b, elm_build_input(b, ELM_INPUT_TOKENS), table,
                                          sqrtf((float)g->ple_dim) * half);
    elm_value_id shared = ELM_NO_VALUE;
    if (n_shared > 0) {
        elm_value_id rows = elm_build_input(b, ELM_INPUT_ROWS);
        shared = elm_build_slice(b, "per_layer.shared_part", id, own, (int32_t)n_shared * dim);
        shared = per_layer_part(mb, g, "per_layer.shared", elm_build_gather_rows(b, x, rows),
                                elm_build_gather_rows(b, shared, rows), weight, g->first_shared,
                                n_shared);
    }
    id = elm_build_slice(b, "per_layer.own_part", id, 0, own);
    id = per_layer_part(mb, g, "per_layer.own", x, id, weight, 0, g->first_shared);
    for (uint32_t i = 0; i < mb->n_layers; i++) {
        bool is_shared = i >= g->first_shared;
        int32_t start = (int32_t)(i - (is_shared ? g->first_shared : 0)) * dim;
        out[i] = elm_build_slice(b, "per_layer.layer", is_shared ? shared : id, start, dim);
    }
}

/* ---- layers ---- */

static elm_value_id norm(elm_model_builder *mb, const gemma4 *g, const char *name, elm_value_id x) {
    return elm_mb_norm(mb, name, x, 0.0f, g->eps);
}

static elm_value_id feed_forward(elm_model_builder *mb, const gemma4 *g, bool wide,
                                 elm_value_id h) {
    elm_builder *b = &mb->graph;
    elm_value_id f = elm_mb_mlp(mb, "mlp", norm(mb, g, "pre_feedforward_layernorm", h),
                                wide ? 2 * g->n_ff : g->n_ff, g->activation, false);
    if (!g->has_moe) return f;
    /* The router reads h itself, normalised and scaled by its own weight and hidden^-0.5. */
    elm_value_id scale =
        elm_mb_vector_as(mb, elm_mb_name(mb, "router.scale"), mb->hidden_size,
                         (elm_vector_form){.mul = 1.0f / sqrtf((float)mb->hidden_size)});
    elm_value_id r = elm_build_rms_norm(b, "router.norm", h, scale, g->eps);
    f = norm(mb, g, "post_feedforward_layernorm_1", f);
    elm_value_id e = elm_mb_moe(mb, &g->moe, norm(mb, g, "pre_feedforward_layernorm_2", h), r);
    return elm_build_add(b, "experts_sum", f, norm(mb, g, "post_feedforward_layernorm_2", e));
}

static elm_value_id gate_by_layer_input(elm_model_builder *mb, const gemma4 *g, elm_value_id h,
                                        elm_value_id input) {
    elm_builder *b = &mb->graph;
    elm_value_id p = elm_mb_linear(mb, ELM_ROLE_LINEAR, "per_layer_input_gate", h, mb->hidden_size,
                                   elm_mb_name(mb, "per_layer_input_gate"), g->ple_dim, false);
    p = elm_build_glu(b, p, input, g->activation);
    p = elm_mb_linear(mb, ELM_ROLE_LINEAR, "per_layer_projection", p, g->ple_dim,
                      elm_mb_name(mb, "per_layer_projection"), mb->hidden_size, false);
    return elm_build_add(b, "per_layer_residual", h, norm(mb, g, "post_per_layer_input_norm", p));
}

/* Checkpoints may carry keys and values of layers that do not use them. */
static void ignore_unused(elm_model_builder *mb) {
    static const char *const names[] = {"self_attn.k_proj.weight", "self_attn.v_proj.weight",
                                        "self_attn.k_norm.weight"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        elm_mb_ignore(mb, elm_mb_name(mb, names[i]));
}

/* states: of the last sliding and the last full layer so far that has its own. */
static elm_value_id block(elm_model_builder *mb, uint32_t layer, const gemma4 *g, elm_value_id x,
                          elm_value_id ple, elm_value_id states[2]) {
    elm_builder *b = &mb->graph;
    elm_attention a = g->attention;
    bool full = g->windows[layer] == 0, shared = layer >= g->first_shared;
    elm_value_id state = shared ? states[full] : ELM_NO_VALUE;
    a.window = g->windows[layer];
    a.head_dim = g->head_dims[layer];
    a.n_kv_heads = g->kv_heads[layer];
    a.k_is_v = full && g->k_eq_v;
    a.rope = full ? &g->full : &g->sliding;
    elm_mb_enter_layer(mb, layer);
    elm_value_id o = elm_mb_attention(mb, layer, &a, norm(mb, g, "input_layernorm", x), &state);
    states[full] = state;
    if (shared) ignore_unused(mb);
    elm_value_id h =
        elm_build_add(b, "attn_residual", x, norm(mb, g, "post_attention_layernorm", o));
    elm_value_id f = feed_forward(mb, g, shared && g->double_wide, h);
    h = elm_build_add(b, "mlp_residual", h, norm(mb, g, "post_feedforward_layernorm", f));
    if (ple != ELM_NO_VALUE) h = gate_by_layer_input(mb, g, h, ple);
    elm_value_id scalar = elm_mb_vector(mb, elm_mb_name(mb, "layer_scalar"), 1, 0.0f);
    h = elm_build_mul(b, "layer_scalar", h, scalar);
    elm_mb_leave(mb);
    return h;
}

/* Every type of layer that shares needs one before it that owns. */
static elm_status check_sharing(const elm_model_builder *mb, const gemma4 *g, elm_error *err) {
    bool owned[2] = {false, false};
    for (uint32_t i = 0; i < mb->n_layers; i++) {
        bool full = g->windows[i] == 0;
        if (i < g->first_shared) owned[full] = true;
        if (!owned[full]) {
            return elm_fail(err, ELM_MALFORMED,
                            "%s: layer %u shares keys and values, but no %s layer has its own",
                            mb->where, i, full ? "full" : "sliding");
        }
    }
    return ELM_OK;
}

static elm_status build(elm_model_builder *mb, elm_error *err) {
    gemma4 g = {0};
    bool tied;
    elm_value_id ple[ELM_MAX_LAYERS] = {0}, states[2] = {ELM_NO_VALUE, ELM_NO_VALUE}, table;
    ELM_TRY(read_config(mb, &g, err));
    ELM_TRY(elm_mb_tied(mb, true, &tied, err));
    ELM_TRY(check_sharing(mb, &g, err));
    elm_builder *b = &mb->graph;
    elm_value_id x = elm_mb_embed(mb, elm_mb_sqrt_hidden(mb), &table);
    for (uint32_t i = 0; i < mb->n_layers; i++) ple[i] = ELM_NO_VALUE;
    if (g.ple_dim > 0) per_layer_inputs(mb, &g, x, ple);
    for (uint32_t layer = 0; layer < mb->n_layers; layer++) {
        if (layer == g.first_shared)
            x = elm_build_gather_rows(b, x, elm_build_input(b, ELM_INPUT_ROWS));
        x = block(mb, layer, &g, x, ple[layer], states);
    }
    x = elm_mb_head(mb, x, g.eps, 0.0f, tied, table);
    if (g.softcap > 0.0f) x = elm_build_softcap(b, "softcap", x, g.softcap);
    ELM_TRY(elm_mb_finish_graph(mb, x, ELM_NO_VALUE, err));
    return elm_model_builder_finish(mb, err);
}

static const char *const model_types[] = {"gemma4_text", "gemma4_unified_text", NULL};

const elm_family elm_family_gemma4 = {"gemma4", model_types, build};
