/* llama.c - Llama 1..3.x, SmolLM2, Mistral, Qwen2: the plain pre-norm decoder.
 *
 * Config: transformers LlamaConfig, MistralConfig, Qwen2Config (both the v4 and v5 styles); the older
 * ones of Qwen2-VL and Qwen2.5-VL have the text model's keys beside vision_config.
 * Tensors: the names in common/decoder.c. Differences are flags: biases, an explicit head_dim, a
 * sliding window for all layers. */
#include "models/common/decoder.h"
#include "models/common/layers.h"
#include "models/family.h"

#include <math.h>
#include <string.h>

/* Does model_type contain the word? */
static bool is_type(const elm_model_builder *mb, const char *word) {
    const elm_json *type = elm_json_find(mb->config, "model_type");
    const size_t n = strlen(word);
    if (!type || type->type != ELM_JSON_STRING) return false;
    for (size_t i = 0; i + n <= type->as.string.size; i++)
        if (memcmp(type->as.string.data + i, word, n) == 0) return true;
    return false;
}

/* Qwen2, and the text models of Qwen2-VL, Qwen2.5-VL and Qwen2.5-Omni. */
static bool is_qwen2(const elm_model_builder *mb) {
    return is_type(mb, "qwen2");
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

/* Of Mistral all layers slide, of Qwen2 the later ones, of Llama none, whatever its config says. */
static elm_status read_windows(const elm_model_builder *mb, uint32_t *windows, elm_error *err) {
    uint32_t window = elm_mb_window_or(mb, 4096);
    if (is_qwen2(mb)) return elm_mb_later_windows(mb, is_type(mb, "_vl") ? 80 : 28, windows, err);
    ELM_TRY(elm_mb_optional_int(mb, "sliding_window", ELM_MAX_DIM, &window, err));
    if (!is_type(mb, "mistral")) window = 0;
    for (uint32_t i = 0; i < mb->n_layers; i++) windows[i] = window;
    return ELM_OK;
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
    ELM_TRY(read_windows(mb, windows, err));
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

static const char *const model_types[] = {"llama",         "mistral",           "qwen2",
                                          "qwen2_vl_text", "qwen2_5_vl_text",   "qwen2_vl",
                                          "qwen2_5_vl",    "qwen2_5_omni_text", NULL};

const elm_family elm_family_llama = {"llama", model_types, build};
