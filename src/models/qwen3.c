/* qwen3.c - Qwen3, dense and mixture of experts: the Llama block with an RMS norm on every head of
 * q and k before RoPE.
 *
 * Config: transformers Qwen3Config, Qwen3MoeConfig, and the text_config of Qwen3-VL and Qwen3-Omni,
 * whose rotation of text is the plain one. head_dim is always explicit and often not
 * hidden / heads. */
#include "models/common/decoder.h"
#include "models/common/layers.h"
#include "models/family.h"

#include <math.h>

/* With experts, use_sliding_window lets every layer slide; the text models of Qwen3-VL and
 * Qwen3-Omni never do. */
static elm_status read_windows(const elm_model_builder *mb, const elm_json *type, uint32_t *windows,
                               elm_error *err) {
    uint32_t window = elm_mb_window_or(mb, 4096);
    bool use = false;
    if (elm_json_is(type, "qwen3")) return elm_mb_later_windows(mb, 28, windows, err);
    ELM_TRY(elm_mb_optional_bool(mb, "use_sliding_window", &use, err));
    ELM_TRY(elm_mb_optional_int(mb, "sliding_window", ELM_MAX_DIM, &window, err));
    if (!use || !elm_json_is(type, "qwen3_moe")) window = 0;
    for (uint32_t i = 0; i < mb->n_layers; i++) windows[i] = window;
    return ELM_OK;
}

/* Layers with experts: all but mlp_only_layers, of the rest every decoder_sparse_step-th. */
static elm_status read_sparse(const elm_model_builder *mb, bool *sparse, elm_error *err) {
    const elm_json *dense = elm_json_find(mb->config, "mlp_only_layers");
    uint32_t step = 1;
    ELM_TRY(elm_mb_optional_int(mb, "decoder_sparse_step", ELM_MAX_LAYERS, &step, err));
    if (step == 0 || (dense && dense->type != ELM_JSON_NULL && dense->type != ELM_JSON_ARRAY)) {
        return elm_fail(err, ELM_MALFORMED,
                        "%s: decoder_sparse_step is 0 or mlp_only_layers is no list", mb->where);
    }
    for (uint32_t i = 0; i < mb->n_layers; i++) sparse[i] = (i + 1) % step == 0;
    for (uint32_t i = 0; dense && dense->type == ELM_JSON_ARRAY && i < dense->count; i++) {
        const elm_json *v = &dense->as.items[i];
        if (v->type != ELM_JSON_INT || v->as.integer < 0 || v->as.integer >= mb->n_layers) {
            return elm_fail(err, ELM_MALFORMED, "%s: mlp_only_layers names no layer", mb->where);
        }
        sparse[v->as.integer] = false;
    }
    return ELM_OK;
}

static elm_status build(elm_model_builder *mb, elm_error *err) {
    elm_decoder_layer d = {.eps = 1e-6f, .attention = {.qk_norm = true, .head_dim = 128}};
    elm_attention *a = &d.attention;
    elm_moe moe = {.router = "mlp.gate", .experts = "mlp.experts"};
    uint32_t windows[ELM_MAX_LAYERS];
    const elm_json *type = elm_json_find(mb->config, "model_type");
    bool tied, sparse[ELM_MAX_LAYERS] = {false};
    elm_rope rope;
    mb->context_length = 32768;
    ELM_TRY(elm_mb_decoder_config(mb, &d, err));
    ELM_TRY(elm_mb_tied(mb, false, &tied, err));
    ELM_TRY(elm_mb_optional_bool(mb, "attention_bias", &a->bias, err));
    a->output_bias = a->bias;
    ELM_TRY(elm_mb_activation(mb, "hidden_act", "silu", &d.activation, err));
    ELM_TRY(read_windows(mb, type, windows, err));
    if (elm_json_is(type, "qwen3_moe") || elm_json_is(type, "qwen3_omni_moe_text")) {
        ELM_TRY(elm_mb_moe_config(mb, &moe, err));
        ELM_TRY(elm_mb_optional_bool(mb, "norm_topk_prob", &moe.renormalise, err));
        ELM_TRY(read_sparse(mb, sparse, err));
        moe.activation = d.activation;
    }
    ELM_TRY(elm_mb_rope(mb, NULL, "rope_theta", 10000.0, true, a->head_dim, "rope.inv_freq", &rope,
                        err));
    a->scale = 1.0f / sqrtf((float)a->head_dim);
    a->rope = &rope;

    elm_value_id table, x = elm_mb_embed(mb, 1.0f, &table);
    for (uint32_t layer = 0; layer < mb->n_layers; layer++) {
        a->window = windows[layer];
        d.moe = sparse[layer] ? &moe : NULL;
        x = elm_mb_decoder_layer(mb, layer, &d, x);
    }
    x = elm_mb_head(mb, x, d.eps, 0.0f, tied, table);
    ELM_TRY(elm_mb_finish_graph(mb, x, ELM_NO_VALUE, err));
    return elm_model_builder_finish(mb, err);
}

static const char *const model_types[] = {"qwen3", "qwen3_moe", "qwen3_vl_text",
                                          "qwen3_omni_moe_text", NULL};

const elm_family elm_family_qwen3 = {"qwen3", model_types, build};
