/* gguf_families.c - what single architectures of GGUF write into config.json, beside what
 * gguf_config.c writes for all; parse. The rules are those of llama.cpp's converter and loader. */
#include "parse/gguf_reader.h"

#include <math.h>
#include <stdio.h>

enum {
    GEMMA2_PATTERN = 2,
    GEMMA2_27B_LAYERS = 46,
    GEMMA3_PATTERN = 6,
    GEMMA3_27B_LAYERS = 62,
    MAX_WIDTH = 1 << 24,
    MAX_HEADS = 65536
};

/* ---- experts ---- */

static void put_experts(elm_gguf_reader *r, const char *top_k) {
    int64_t gating = 0;
    bool norm = true;
    elm_gguf_put_int(r, "expert_count", "num_experts");
    elm_gguf_put_int(r, "expert_used_count", top_k);
    elm_gguf_put_int(r, "expert_feed_forward_length", "moe_intermediate_size");
    if (elm_gguf_get_int(r, "expert_gating_func", &gating) && gating != 0 && gating != 1)
        elm_gguf_refuse(r, ELM_UNSUPPORTED, "expert_gating_func", "is not the softmax");
    if (elm_gguf_bool(r->g, elm_gguf_key(r, "expert_weights_norm"), &norm) && !norm)
        elm_gguf_refuse(r, ELM_UNSUPPORTED, "expert_weights_norm", "is false");
}

/* llama.cpp always lets the chosen experts' weights add up to 1. */
void elm_gguf_qwen3moe_config(elm_gguf_reader *r) {
    elm_gguf_plain_config(r);
    put_experts(r, "num_experts_per_tok");
    elm_json_put_bool(&r->w, "norm_topk_prob", true);
    elm_json_begin_array(&r->w, "mlp_only_layers");
    for (int64_t i = 0; i < r->n_layers; i++) {
        if (!elm_gguf_has(r, "blk.%d.ffn_gate_inp.weight", (int)i))
            elm_json_put_int(&r->w, NULL, i);
    }
    elm_json_end_array(&r->w);
}

/* ---- Phi-3 ---- */

/* Longrope's factors are tensors; where there are none, RoPE is the plain one. The attention factor
 * is the one that follows from the lengths, unless the file says another. */
static void put_longrope(elm_gguf_reader *r, int64_t rotated) {
    const elm_gguf_factors *f = &r->short_factors;
    if (f->n == 0 || (int64_t)f->n * 2 != rotated || r->long_factors.n != f->n) {
        elm_gguf_refuse(r, ELM_MALFORMED, "rope.dimension_count",
                        "does not fit rope_factors_short.weight and rope_factors_long.weight");
        return;
    }
    elm_gguf_put_float(r, "rope.freq_base", "rope_theta");
    elm_json_begin_object(&r->w, "rope_scaling");
    elm_json_put_str(&r->w, "rope_type", "longrope");
    elm_gguf_put_int(r, "rope.scaling.original_context_length", "original_max_position_embeddings");
    elm_gguf_put_float(r, "rope.scaling.attn_factor", "attention_factor");
    elm_json_begin_array(&r->w, "short_factor");
    for (uint32_t i = 0; i < f->n; i++) elm_json_put_double(&r->w, NULL, (double)f->values[i]);
    elm_json_end_array(&r->w);
    elm_json_end_object(&r->w);
}

void elm_gguf_phi3_config(elm_gguf_reader *r) {
    int64_t dim = elm_gguf_head_dim(r), rotated = dim;
    elm_gguf_put_heads(r);
    elm_gguf_put_int(r, "feed_forward_length", "intermediate_size");
    if (elm_gguf_get_int(r, "rope.dimension_count", &rotated) && (rotated < 2 || rotated > dim))
        elm_gguf_refuse(r, ELM_MALFORMED, "rope.dimension_count", "is impossible");
    elm_gguf_put_share(r, "partial_rotary_factor", rotated, dim);
    if (r->short_factors.n > 0 || r->long_factors.n > 0)
        put_longrope(r, rotated);
    else
        elm_gguf_put_rope(r);
}

/* ---- Ministral 3 ---- */

/* The scale of queries grows with the position: by 1 up to the original context, and so the model
 * is taken up to there. */
void elm_gguf_mistral3_config(elm_gguf_reader *r) {
    double scale;
    elm_gguf_plain_config(r);
    if (!elm_gguf_get_float(r, "attention.temperature_scale", &scale) || scale == 0.0) return;
    if (!elm_gguf_get_int(r, "rope.scaling.original_context_length", &r->longest) || r->longest < 1)
        elm_gguf_refuse(r, ELM_MALFORMED, "rope.scaling.original_context_length",
                        "is missing beside attention.temperature_scale");
}

/* ---- Granite ---- */

void elm_gguf_granite_config(elm_gguf_reader *r) {
    elm_gguf_put_float(r, "attention.scale", "attention_multiplier");
    elm_gguf_put_float(r, "embedding_scale", "embedding_multiplier");
    elm_gguf_put_float(r, "residual_scale", "residual_multiplier");
    elm_gguf_put_float(r, "logit_scale", "logits_scaling");
    elm_gguf_put_heads(r);
    elm_gguf_put_int(r, "feed_forward_length", "intermediate_size");
    elm_gguf_check_rotation(r);
    elm_gguf_put_rope(r);
}

/* ---- Qwen3.5 ---- */

static void put_delta_net(elm_gguf_reader *r) {
    int64_t heads = 0, inner = 0;
    elm_gguf_put_int(r, "ssm.conv_kernel", "linear_conv_kernel_dim");
    elm_gguf_put_int(r, "ssm.group_count", "linear_num_key_heads");
    elm_gguf_put_int(r, "ssm.state_size", "linear_key_head_dim");
    if (!elm_gguf_get_int(r, "ssm.time_step_rank", &heads) || heads < 1 ||
        !elm_gguf_get_int(r, "ssm.inner_size", &inner) || inner % heads != 0) {
        elm_gguf_refuse(r, ELM_MALFORMED, "ssm.inner_size",
                        "is missing or not shared evenly by ssm.time_step_rank heads");
        return;
    }
    elm_json_put_int(&r->w, "linear_num_value_heads", heads);
    elm_json_put_int(&r->w, "linear_value_head_dim", inner / heads);
}

/* Which layers are recurrent: said one by one, or all but every fourth. */
static void put_hybrid_layers(elm_gguf_reader *r) {
    const elm_gguf_value *v = elm_gguf_get(r, "attention.recurrent_layers");
    int64_t interval = 4;
    (void)elm_gguf_get_int(r, "full_attention_interval", &interval);
    bool bad_list = v && (v->type != ELM_GGUF_ARRAY || v->item_type != ELM_GGUF_BOOL ||
                          v->count < (uint64_t)r->n_layers);
    if (bad_list || interval < 1) {
        elm_gguf_refuse(r, ELM_MALFORMED,
                        bad_list ? "attention.recurrent_layers" : "full_attention_interval",
                        "does not say for each layer whether it is recurrent");
        return;
    }
    elm_json_begin_array(&r->w, "layer_types");
    for (int64_t i = 0; i < r->n_layers; i++) {
        bool recurrent = v ? v->data.data[i] != 0 : (i + 1) % interval != 0;
        elm_json_put_str(&r->w, NULL, recurrent ? "linear_attention" : "full_attention");
    }
    elm_json_end_array(&r->w);
}

void elm_gguf_qwen35_config(elm_gguf_reader *r) {
    int64_t dim = elm_gguf_head_dim(r), rotated = dim / 4;
    elm_gguf_put_heads(r);
    elm_gguf_put_int(r, "feed_forward_length", "intermediate_size");
    elm_gguf_put_rope(r);
    (void)elm_gguf_get_int(r, "rope.dimension_count", &rotated);
    if (rotated < 2 || rotated > dim)
        elm_gguf_refuse(r, ELM_MALFORMED, "rope.dimension_count", "is impossible");
    elm_gguf_put_share(r, "partial_rotary_factor", rotated, dim);
    if (rotated == dim) elm_json_put_double(&r->w, "partial_rotary_factor", 1.0);
    put_delta_net(r);
    put_hybrid_layers(r);
    if (!elm_gguf_get(r, "expert_count")) return;
    put_experts(r, "num_experts_per_tok");
    elm_gguf_put_int(r, "expert_shared_feed_forward_length", "shared_expert_intermediate_size");
}

/* ---- Gemma ---- */

/* attention.scale multiplies q k; what config.json can say is query_pre_attn_scalar, its -1/2
 * power. llama.cpp's rule where the file is silent: the head dimension, but hidden / heads for the
 * 27B, which it knows by its layers. */
static void put_query_scalar(elm_gguf_reader *r, int64_t layers_of_27b) {
    int64_t dim = elm_gguf_head_dim(r), hidden = 0, heads = 0;
    double scale = 0.0;
    (void)elm_gguf_get_int(r, "embedding_length", &hidden);
    (void)elm_gguf_get_int(r, "attention.head_count", &heads);
    if (elm_gguf_get_float(r, "attention.scale", &scale) && scale > 0.0)
        elm_json_put_double(&r->w, "query_pre_attn_scalar", 1.0 / (scale * scale));
    else
        elm_json_put_int(&r->w, "query_pre_attn_scalar",
                         r->n_layers == layers_of_27b && heads > 0 ? hidden / heads : dim);
}

static void put_gemma(elm_gguf_reader *r, int64_t layers_of_27b) {
    elm_gguf_put_heads(r);
    elm_gguf_put_int(r, "feed_forward_length", "intermediate_size");
    elm_gguf_check_rotation(r);
    put_query_scalar(r, layers_of_27b);
    elm_gguf_put_rope(r);
}

void elm_gguf_gemma2_config(elm_gguf_reader *r) {
    put_gemma(r, GEMMA2_27B_LAYERS);
    elm_gguf_put_float(r, "attn_logit_softcapping", "attn_logit_softcapping");
    elm_gguf_put_float(r, "final_logit_softcapping", "final_logit_softcapping");
    if (elm_gguf_get(r, "attention.sliding_window_pattern"))
        elm_gguf_put_sliding_layers(r, GEMMA2_PATTERN);
}

void elm_gguf_gemma3_config(elm_gguf_reader *r) {
    put_gemma(r, GEMMA3_27B_LAYERS);
    elm_gguf_put_sliding_layers(r, GEMMA3_PATTERN);
}

/* rope_freqs.weight: 1 for the frequencies that rotate, 1e30 for those behind them, which stand
 * still. */
static int64_t rotating(elm_gguf_reader *r) {
    uint32_t n = 0, all = r->n_rope_factors;
    while (n < all && r->rope_factors[n] == 1.0f) n++;
    for (uint32_t i = n; i < all; i++) {
        if (r->rope_factors[i] >= 1e20f) continue;
        elm_gguf_refuse(r, ELM_UNSUPPORTED, "rope.freq_base",
                        "stands beside a rope_freqs.weight of other factors than 1 and infinity");
        break;
    }
    return n;
}

static void put_gemma4_rope(elm_gguf_reader *r, int64_t full_dim, int64_t sliding_dim) {
    static const char *const counts[] = {"rope.dimension_count", "rope.dimension_count_swa"};
    const int64_t dims[] = {full_dim, sliding_dim};
    int64_t rotated;
    double local = 10000.0, base = 1e6;
    for (int i = 0; i < 2; i++) {
        if (elm_gguf_get_int(r, counts[i], &rotated) && rotated != dims[i])
            elm_gguf_refuse(r, ELM_UNSUPPORTED, counts[i], "is not the head dimension");
    }
    (void)elm_gguf_get_float(r, "rope.freq_base", &base);
    (void)elm_gguf_get_float(r, "rope.freq_base_swa", &local);
    if (elm_gguf_get(r, "rope.scaling.type") || elm_gguf_get(r, "rope.scaling.factor"))
        elm_gguf_refuse(r, ELM_UNSUPPORTED, "rope.scaling.type", "is not known for this model");
    elm_json_begin_object(&r->w, "rope_parameters");
    elm_json_begin_object(&r->w, "sliding_attention");
    elm_json_put_str(&r->w, "rope_type", "default");
    elm_json_put_double(&r->w, "rope_theta", local);
    elm_json_end_object(&r->w);
    elm_json_begin_object(&r->w, "full_attention");
    elm_json_put_str(&r->w, "rope_type", r->n_rope_factors ? "proportional" : "default");
    elm_json_put_double(&r->w, "rope_theta", base);
    if (r->n_rope_factors)
        elm_gguf_put_share(r, "partial_rotary_factor", rotating(r), r->n_rope_factors);
    elm_json_end_object(&r->w);
    elm_json_end_object(&r->w);
    if (r->n_rope_factors && (int64_t)r->n_rope_factors != full_dim / 2)
        elm_gguf_refuse(r, ELM_MALFORMED, "attention.key_length", "does not fit rope_freqs.weight");
}

/* Heads of full layers in per_layer_config; sliding ones are the rule. */
static void put_gemma4_heads(elm_gguf_reader *r, int64_t full_dim, int64_t sliding_dim) {
    uint32_t kv[ELM_GGUF_MAX_LAYERS] = {0};
    const elm_gguf_value *v = elm_gguf_get(r, "attention.sliding_window_pattern");
    int64_t n_kv = 0;
    char layer[16];
    bool listed = v && v->type == ELM_GGUF_ARRAY && v->item_type == ELM_GGUF_BOOL &&
                  v->count >= (uint64_t)r->n_layers;
    if (!listed) {
        elm_gguf_refuse(r, ELM_MALFORMED, "attention.sliding_window_pattern",
                        "does not say for each layer whether it slides");
        return;
    }
    if (!elm_gguf_get_by_layer(r, "attention.head_count_kv", MAX_HEADS, kv)) {
        elm_gguf_refuse(r, ELM_MALFORMED, "attention.head_count_kv", "is missing");
        return;
    }
    for (int64_t i = r->n_layers; i-- > 0;) {
        if (v->data.data[i]) n_kv = kv[i];
    }
    if (n_kv == 0) n_kv = kv[0];
    elm_gguf_put_int(r, "attention.head_count", "num_attention_heads");
    elm_json_put_int(&r->w, "num_key_value_heads", n_kv);
    elm_json_put_int(&r->w, "head_dim", sliding_dim);
    elm_json_begin_object(&r->w, "per_layer_config");
    for (int64_t i = 0; i < r->n_layers; i++) {
        bool full = !v->data.data[i];
        if (!full && kv[i] == n_kv) continue;
        snprintf(layer, sizeof layer, "%d", (int)i);
        elm_json_begin_object(&r->w, layer);
        elm_json_put_int(&r->w, "head_dim", full ? full_dim : sliding_dim);
        elm_json_put_int(&r->w, "num_key_value_heads", kv[i]);
        elm_json_end_object(&r->w);
    }
    elm_json_end_object(&r->w);
}

/* Widths of the MLPs: alike, or twice as wide in the layers that share keys and values. */
static void put_gemma4_widths(elm_gguf_reader *r, int64_t first_shared) {
    uint32_t width[ELM_GGUF_MAX_LAYERS] = {0};
    if (!elm_gguf_get_by_layer(r, "feed_forward_length", MAX_WIDTH, width)) return;
    bool wide = first_shared < r->n_layers && width[first_shared] != width[0];
    for (int64_t i = 0; i < r->n_layers; i++) {
        if (width[i] == (wide && i >= first_shared ? 2 * width[0] : width[0])) continue;
        elm_gguf_refuse(r, ELM_UNSUPPORTED, "feed_forward_length",
                        "lists widths other than one for all and twice that for sharing layers");
        return;
    }
    elm_json_put_int(&r->w, "intermediate_size", width[0]);
    elm_json_put_bool(&r->w, "use_double_wide_mlp", wide);
}

/* Full layers use keys as values where the first one that has its own lacks attn_v. */
static bool keys_are_values(elm_gguf_reader *r) {
    const elm_gguf_value *v = elm_gguf_get(r, "attention.sliding_window_pattern");
    for (int64_t i = 0; v && (uint64_t)i < v->count && i < r->n_layers; i++) {
        if (v->data.data[i]) continue;
        return elm_gguf_has(r, "blk.%d.attn_k.weight", (int)i) &&
               !elm_gguf_has(r, "blk.%d.attn_v.weight", (int)i);
    }
    return false;
}

void elm_gguf_gemma4_config(elm_gguf_reader *r) {
    int64_t full_dim = elm_gguf_head_dim(r), sliding_dim = full_dim, other, shared = 0;
    const elm_source_tensor *ple =
        elm_checkpoint_find(&r->g->checkpoint, "per_layer_token_embd.weight");
    (void)elm_gguf_get_int(r, "attention.key_length_swa", &sliding_dim);
    if ((elm_gguf_get_int(r, "attention.value_length", &other) && other != full_dim) ||
        (elm_gguf_get_int(r, "attention.value_length_swa", &other) && other != sliding_dim)) {
        elm_gguf_refuse(r, ELM_UNSUPPORTED, "attention.value_length",
                        "differs from the length of keys");
    }
    (void)elm_gguf_get_int(r, "attention.shared_kv_layers", &shared);
    if (shared < 0 || shared >= r->n_layers) {
        elm_gguf_refuse(r, ELM_MALFORMED, "attention.shared_kv_layers", "is impossible");
        return;
    }
    elm_json_put_int(&r->w, "num_kv_shared_layers", shared);
    put_gemma4_heads(r, full_dim, sliding_dim);
    put_gemma4_widths(r, r->n_layers - shared);
    put_gemma4_rope(r, full_dim, sliding_dim);
    if (r->status != ELM_OK) return;
    elm_gguf_put_sliding_layers(r, GEMMA3_PATTERN);
    elm_json_put_bool(&r->w, "attention_k_eq_v", keys_are_values(r));
    elm_gguf_put_float(r, "final_logit_softcapping", "final_logit_softcapping");
    if (!elm_gguf_get_int(r, "embedding_length_per_layer_input", &other)) other = 0;
    elm_json_put_int(&r->w, "hidden_size_per_layer_input", other);
    if (ple) elm_json_put_int(&r->w, "vocab_size_per_layer_input", (int64_t)ple->dims[0]);
    elm_json_put_bool(&r->w, "enable_moe_block", elm_gguf_has(r, "blk.0.ffn_gate_inp.weight"));
    put_experts(r, "top_k_experts"); /* which dense models may list too */
}
