/* qwen3_5.c - Qwen3.5 text, dense and mixture of experts: three Gated DeltaNet layers to one of
 * gated full attention; the MTP head becomes the graph "draft".
 *
 * Config: transformers Qwen3_5TextConfig, Qwen3_5MoeTextConfig. All norms are stored as w - 1 but
 * for the gated one of the delta net (linear_attn.norm). Text positions are the same on all three
 * axes of its mRoPE, so the rotation is a plain one. */
#include "models/common/decoder.h"
#include "models/family.h"

#include <math.h>

/* One Gated DeltaNet mixer: sizes of the linear_* keys. */
typedef struct delta_net {
    uint32_t n_key_heads, n_value_heads, key_dim, value_dim, n_taps;
    int32_t gate; /* activation of the gated norm */
} delta_net;

typedef struct hybrid {
    elm_decoder_layer layer;
    elm_rope frequencies; /* of the graph being built, to which layer.attention.rope points */
    delta_net delta;
    elm_moe moe;
    uint32_t shared_ff; /* of the expert that every token takes; 0 in dense models */
    bool is_full[ELM_MAX_LAYERS];
} hybrid;

/* ---- config ---- */

static elm_status read_layers(const elm_model_builder *mb, hybrid *q, elm_error *err) {
    const elm_json *types = elm_json_find(mb->config, "layer_types");
    uint32_t interval = 4;
    ELM_TRY(elm_mb_optional_int(mb, "full_attention_interval", ELM_MAX_LAYERS, &interval, err));
    bool listed = types && types->type != ELM_JSON_NULL;
    if (interval == 0 ||
        (listed && (types->type != ELM_JSON_ARRAY || types->count < mb->n_layers))) {
        return elm_fail(err, ELM_MALFORMED,
                        "%s: layer_types must list %u layers and full_attention_interval not be 0",
                        mb->where, mb->n_layers);
    }
    for (uint32_t i = 0; i < mb->n_layers; i++) {
        const elm_json *type = listed ? &types->as.items[i] : NULL;
        q->is_full[i] = listed ? elm_json_is(type, "full_attention") : (i + 1) % interval == 0;
        if (!listed || q->is_full[i] || elm_json_is(type, "linear_attention")) continue;
        bool text = type->type == ELM_JSON_STRING && type->as.string.size < 64;
        return elm_fail(err, ELM_UNSUPPORTED, "%s: layer type '%.*s' of layer %u is not known here",
                        mb->where, text ? (int)type->as.string.size : 0,
                        text ? (const char *)type->as.string.data : "", i);
    }
    return ELM_OK;
}

static elm_status read_delta_net(const elm_model_builder *mb, delta_net *d, elm_error *err) {
    *d = (delta_net){16, 32, 128, 128, 4, ELM_SILU};
    ELM_TRY(elm_mb_optional_int(mb, "linear_num_key_heads", 1024, &d->n_key_heads, err));
    ELM_TRY(elm_mb_optional_int(mb, "linear_num_value_heads", 1024, &d->n_value_heads, err));
    ELM_TRY(elm_mb_optional_int(mb, "linear_key_head_dim", 1024, &d->key_dim, err));
    ELM_TRY(elm_mb_optional_int(mb, "linear_value_head_dim", 1024, &d->value_dim, err));
    ELM_TRY(elm_mb_optional_int(mb, "linear_conv_kernel_dim", ELM_MAX_TAPS, &d->n_taps, err));
    /* The activation of the gated norm; the attention's gate is always a sigmoid. */
    ELM_TRY(elm_mb_activation(mb, "output_gate_type", "swish", &d->gate, err));
    if (d->n_key_heads == 0 || d->key_dim == 0 || d->value_dim == 0 || d->n_taps < 2 ||
        d->n_value_heads == 0 || d->n_value_heads % d->n_key_heads != 0) {
        return elm_fail(err, ELM_MALFORMED,
                        "%s: %u value heads of a delta net do not share %u key heads evenly, or a "
                        "size is 0",
                        mb->where, d->n_value_heads, d->n_key_heads);
    }
    return ELM_OK;
}

static elm_status read_config(elm_model_builder *mb, hybrid *q, elm_error *err) {
    elm_attention *a = &q->layer.attention;
    bool dedicated = false;
    q->layer = (elm_decoder_layer){
        .eps = 1e-6f,
        .norm_add = 1.0f,
        .attention = {.head_dim = 256, .qk_norm = true, .norm_add = 1.0f, .gated = true}};
    q->moe = (elm_moe){.router = "mlp.gate", .experts = "mlp.experts", .renormalise = true};
    mb->context_length = 32768;
    if (elm_json_find(mb->config, "moe_intermediate_size")) {
        ELM_TRY(elm_mb_moe_config(mb, &q->moe, err));
        ELM_TRY(
            elm_mb_int(mb, "shared_expert_intermediate_size", ELM_MAX_DIM / 4, &q->shared_ff, err));
        q->layer.moe = &q->moe;
    }
    ELM_TRY(elm_mb_decoder_config(mb, &q->layer, err));
    ELM_TRY(elm_mb_optional_bool(mb, "attention_bias", &a->bias, err));
    a->output_bias = a->bias;
    ELM_TRY(elm_mb_activation(mb, "hidden_act", "silu", &q->layer.activation, err));
    q->moe.activation = q->layer.activation;
    a->scale = 1.0f / sqrtf((float)a->head_dim);
    ELM_TRY(elm_mb_optional_bool(mb, "mtp_use_dedicated_embeddings", &dedicated, err));
    if (dedicated) {
        return elm_fail(err, ELM_UNSUPPORTED,
                        "%s: mtp_use_dedicated_embeddings is not supported; the head shares the "
                        "embedding",
                        mb->where);
    }
    ELM_TRY(read_delta_net(mb, &q->delta, err));
    return read_layers(mb, q, err);
}

/* The table of the graph that is being built; one and the same in the file. */
static elm_status rope(elm_model_builder *mb, const elm_attention *a, elm_rope *out,
                       elm_error *err) {
    float share = 0.25f;
    ELM_TRY(elm_mb_rotary_factor(mb, NULL, &share, err));
    return elm_mb_rope(mb, NULL, "rope_theta", 10000.0, true,
                       (uint32_t)((float)a->head_dim * share), "rope.inv_freq", out, err);
}

/* ---- layers ---- */

static elm_value_id delta_layer(elm_model_builder *mb, uint32_t layer, const hybrid *q,
                                elm_value_id u) {
    const delta_net *d = &q->delta;
    elm_builder *g = &mb->graph;
    uint32_t hidden = mb->hidden_size, heads = d->n_value_heads, values = heads * d->value_dim;
    uint32_t channels = 2 * d->n_key_heads * d->key_dim + values;
    elm_linear_part wide[2] = {
        {.source = elm_mb_name(mb, "linear_attn.in_proj_qkv"), .rows = channels},
        {.source = elm_mb_name(mb, "linear_attn.in_proj_z"), .rows = values}};
    elm_linear_part narrow[2] = {
        {.source = elm_mb_name(mb, "linear_attn.in_proj_b"), .rows = heads},
        {.source = elm_mb_name(mb, "linear_attn.in_proj_a"), .rows = heads}};
    elm_value_id mz[2], ba[2];
    elm_mb_linears(mb, ELM_ROLE_LINEAR, "linear_attn.in_proj", u, hidden, 2, wide, false, mz);
    elm_mb_linears(mb, ELM_ROLE_EXACT, "linear_attn.in_proj_ba", u, hidden, 2, narrow, false, ba);

    elm_value_id taps =
        elm_mb_taps(mb, elm_mb_name(mb, "linear_attn.conv1d.weight"), channels, d->n_taps);
    elm_value_id conv = elm_build_state(g, ELM_STATE_CONV, layer, 1, d->n_taps - 1, channels, 0);
    elm_value_id m = elm_build_causal_conv1d(g, "linear_attn.conv1d", mz[0], taps, conv, ELM_SILU);
    elm_value_id rate = elm_mb_vector_as(mb, elm_mb_name(mb, "linear_attn.A_log"), heads,
                                         (elm_vector_form){.negative_exp = true});
    elm_value_id bias = elm_mb_vector(mb, elm_mb_name(mb, "linear_attn.dt_bias"), heads, 0.0f);
    elm_value_id state =
        elm_build_state(g, ELM_STATE_RECURRENT, layer, heads, d->key_dim, d->value_dim, 0);
    elm_value_id o = elm_build_gated_delta_net(g, "linear_attn.delta", m, ba[0], ba[1], rate, bias,
                                               state, 1.0f / sqrtf((float)d->key_dim), 1e-6f);

    elm_dim by_head[3] = {ELM_DIM_T, (elm_dim)heads, (elm_dim)d->value_dim};
    elm_dim flat[2] = {ELM_DIM_T, (elm_dim)values};
    elm_value_id w =
        elm_mb_vector(mb, elm_mb_name(mb, "linear_attn.norm.weight"), d->value_dim, 0.0f);
    o = elm_build_reshape(g, "linear_attn.heads", o, 3, by_head);
    o = elm_build_rms_norm(g, "linear_attn.norm", o, w, q->layer.eps);
    o = elm_build_reshape(g, "linear_attn.flat", o, 2, flat);
    o = elm_build_glu(g, mz[1], o, d->gate);
    return elm_mb_linear(mb, ELM_ROLE_LINEAR, "linear_attn.out", o, values,
                         elm_mb_name(mb, "linear_attn.out_proj"), hidden, false);
}

/* MLP, or the experts' sum and the expert of every token, weighed by the sigmoid of one number. */
static elm_value_id feed_forward(elm_model_builder *mb, const hybrid *q, elm_value_id u) {
    if (!q->layer.moe) return elm_mb_mlp(mb, "mlp", u, q->layer.n_ff, q->layer.activation, false);
    elm_value_id routed = elm_mb_moe(mb, &q->moe, u, u);
    elm_value_id shared =
        elm_mb_mlp(mb, "mlp.shared_expert", u, q->shared_ff, q->layer.activation, false);
    elm_value_id gate =
        elm_mb_linear(mb, ELM_ROLE_EXACT, "mlp.shared_expert_gate", u, mb->hidden_size,
                      elm_mb_name(mb, "mlp.shared_expert_gate"), 1, false);
    shared = elm_build_glu(&mb->graph, gate, shared, ELM_SIGMOID);
    return elm_build_add(&mb->graph, "mlp.sum", routed, shared);
}

/* A layer below the scope and prefix that are set. */
static elm_value_id block(elm_model_builder *mb, uint32_t layer, const hybrid *q, bool is_full,
                          elm_value_id x) {
    elm_value_id state = ELM_NO_VALUE;
    elm_value_id u = elm_mb_norm(mb, "input_layernorm", x, 1.0f, q->layer.eps);
    elm_value_id a = is_full ? elm_mb_attention(mb, layer, &q->layer.attention, u, &state)
                             : delta_layer(mb, layer, q, u);
    elm_value_id h = elm_build_add(&mb->graph, "attn_residual", x, a);
    u = elm_mb_norm(mb, "post_attention_layernorm", h, 1.0f, q->layer.eps);
    return elm_build_add(&mb->graph, "mlp_residual", h, feed_forward(mb, q, u));
}

static elm_value_id logits_of(elm_model_builder *mb, elm_value_id hidden, bool tied,
                              elm_value_id table) {
    elm_builder *g = &mb->graph;
    elm_value_id rows = elm_build_gather_rows(g, hidden, elm_build_input(g, ELM_INPUT_ROWS));
    return elm_mb_lm_head(mb, rows, tied, table);
}

/* The MTP head: from the embedding of the next token and this one's hidden row to the token after
 * the next. `name` is "mtp" or "model.mtp". */
static elm_status build_draft(elm_model_builder *mb, const char *name, hybrid *q, bool tied,
                              elm_error *err) {
    elm_builder *g = &mb->graph;
    elm_value_id table;
    const char *prefix = elm_arena_printf(mb->arena, "%s.", name);
    const char *layer_prefix = elm_arena_printf(mb->arena, "%s.layers.0.", name);
    if (!prefix || !layer_prefix) return elm_fail_oom(err, 64, "a name");
    elm_builder_next_graph(g, "draft");
    ELM_TRY(rope(mb, &q->layer.attention, &q->frequencies, err));
    q->layer.attention.rope = &q->frequencies;
    elm_value_id e = elm_mb_embed(mb, 1.0f, &table);
    elm_value_id h = elm_build_load_hidden(g, elm_build_hidden_input(g, mb->hidden_size));
    elm_mb_enter(mb, "mtp", prefix);
    e = elm_mb_norm(mb, "pre_fc_norm_embedding", e, 1.0f, q->layer.eps);
    h = elm_mb_norm(mb, "pre_fc_norm_hidden", h, 1.0f, q->layer.eps);
    elm_value_id x = elm_build_concat(g, "concat", e, h);
    x = elm_mb_linear(mb, ELM_ROLE_LINEAR, "fc", x, 2 * mb->hidden_size, elm_mb_name(mb, "fc"),
                      mb->hidden_size, false);
    elm_mb_enter(mb, "mtp.layers.0", layer_prefix);
    x = block(mb, mb->n_layers, q, true, x);
    elm_mb_enter(mb, "mtp", prefix);
    elm_value_id hidden = elm_mb_norm(mb, "norm", x, 1.0f, q->layer.eps);
    elm_mb_leave(mb);
    return elm_mb_finish_graph(mb, logits_of(mb, hidden, tied, table), hidden, err);
}

static elm_status build_text(elm_model_builder *mb, hybrid *q, bool with_draft, bool tied,
                             elm_error *err) {
    elm_value_id table, hidden = ELM_NO_VALUE, x = elm_mb_embed(mb, 1.0f, &table);
    ELM_TRY(rope(mb, &q->layer.attention, &q->frequencies, err));
    q->layer.attention.rope = &q->frequencies;
    for (uint32_t layer = 0; layer < mb->n_layers; layer++) {
        elm_mb_enter_layer(mb, layer);
        x = block(mb, layer, q, q->is_full[layer], x);
    }
    elm_mb_leave(mb);
    if (with_draft) { /* which needs the hidden rows of all tokens, not of the wanted only */
        hidden = elm_mb_norm(mb, "norm", x, 1.0f, q->layer.eps);
        x = logits_of(mb, hidden, tied, table);
    } else {
        x = elm_mb_head(mb, x, q->layer.eps, 1.0f, tied, table);
    }
    return elm_mb_finish_graph(mb, x, hidden, err);
}

static elm_status build(elm_model_builder *mb, elm_error *err) {
    hybrid q = {0};
    bool tied;
    const char *draft = elm_mb_has(mb, "mtp.fc.weight")         ? "mtp"
                        : elm_mb_has(mb, "model.mtp.fc.weight") ? "model.mtp"
                                                                : NULL;
    ELM_TRY(read_config(mb, &q, err));
    ELM_TRY(elm_mb_tied(mb, false, &tied, err));
    ELM_TRY(build_text(mb, &q, draft != NULL, tied, err));
    if (draft) ELM_TRY(build_draft(mb, draft, &q, tied, err));
    return elm_model_builder_finish(mb, err);
}

static const char *const model_types[] = {"qwen3_5_text", "qwen3_5", "qwen3_5_moe_text",
                                          "qwen3_5_moe", NULL};

const elm_family elm_family_qwen3_5 = {"qwen3_5", model_types, build};
