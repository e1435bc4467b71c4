/* llama.c - Llama 1..3.x, SmolLM2, Mistral, Qwen2: the plain pre-norm decoder.
 *
 * Config: transformers LlamaConfig, MistralConfig, Qwen2Config (both the v4 and v5 styles).
 * Tensors: the names in common/decoder.c. Differences are flags: biases, an explicit head_dim, a
 * sliding window for all layers. */
#include "models/common/decoder.h"
#include "models/common/layers.h"
#include "models/family.h"

#include <math.h>
#include <string.h>

/* Qwen2, and the text models of Qwen2-VL, Qwen2.5-VL and Qwen2.5-Omni. */
static bool is_qwen2(const elm_model_builder *mb) {
    const elm_json *type = elm_json_find(mb->config, "model_type");
    return type && type->type == ELM_JSON_STRING && type->as.string.size >= 5 &&
           memcmp(type->as.string.data, "qwen2", 5) == 0;
}

static elm_status read_biases(const elm_model_builder *mb, elm_decoder_layer *d, elm_error *err) {
    elm_attention *a = &d->attention;
    if (is_qwen2(mb)) {
        a->bias = true; /* q, k and v always, o never; the config has no flag */
        return ELM_OK;
    }
    ELM_TRY(elm_mb_optional_bool(mb, "attention_bias", &a->bias, err));
    a->output_bias = a->bias;
    return elm_mb_optional_bool(mb, "mlp_bias", &d->mlp_bias, err);
}

static elm_status read_windows(const elm_model_builder *mb, uint32_t n_layers, uint32_t *windows,
                               elm_error *err) {
    uint32_t window = 0;
    bool use = !is_qwen2(mb);
    ELM_TRY(elm_mb_optional_bool(mb, "use_sliding_window", &use, err));
    if (use) ELM_TRY(elm_mb_optional_int(mb, "sliding_window", ELM_MAX_DIM, &window, err));
    return elm_mb_layer_windows(mb, n_layers, window, 0, windows, err);
}

static elm_status build(elm_model_builder *mb, elm_error *err) {
    elm_decoder_layer d = {.eps = 1e-6f};
    elm_attention *a = &d.attention;
    uint32_t windows[ELM_MAX_LAYERS];
    bool tied;
    elm_rope rope;
    mb->context_length = 2048;
    ELM_TRY(elm_mb_decoder_config(mb, &d, err));
    ELM_TRY(elm_mb_tied(mb, false, &tied, err));
    ELM_TRY(elm_mb_activation(mb, "hidden_act", "silu", &d.activation, err));
    ELM_TRY(read_biases(mb, &d, err));
    ELM_TRY(read_windows(mb, mb->n_layers, windows, err));
    ELM_TRY(elm_mb_rope(mb, NULL, "rope_theta", 10000.0, true, a->head_dim, "rope.inv_freq", &rope,
                        err));
    a->scale = 1.0f / sqrtf((float)a->head_dim);
    a->rope = &rope;

    elm_value_id table, x = elm_mb_embed(mb, 1.0f, &table);
    for (uint32_t layer = 0; layer < mb->n_layers; layer++) {
        a->window = windows[layer];
        x = elm_mb_decoder_layer(mb, layer, &d, x);
    }
    x = elm_mb_head(mb, x, d.eps, 0.0f, tied, table);
    ELM_TRY(elm_mb_finish_graph(mb, x, ELM_NO_VALUE, err));
    return elm_model_builder_finish(mb, err);
}

static const char *const model_types[] = {
    "llama", "mistral", "qwen2", "qwen2_vl_text", "qwen2_5_vl_text", "qwen2_5_omni_text", NULL};

const elm_family elm_family_llama = {"llama", model_types, build};
