/* llama.c - Llama 1..3.x, SmolLM2, Mistral, Qwen2: the plain pre-norm decoder.
 *
 * Config: transformers LlamaConfig, MistralConfig, Qwen2Config (both the v4 and v5 styles).
 * Tensors: the names in common/decoder.c. Differences are flags: biases, an explicit head_dim, a
 * sliding window for all layers. */
#include "models/common/decoder.h"
#include "models/common/layers.h"
#include "models/family.h"

#include <math.h>

static elm_status read_biases(const elm_model_builder *mb, elm_decoder_layer *d, elm_error *err) {
    const elm_json *type = elm_json_find(mb->config, "model_type");
    if (elm_json_is(type, "qwen2")) {
        d->attention_bias = true; /* q, k and v always, o never; the config has no flag */
        return ELM_OK;
    }
    ELM_TRY(elm_mb_optional_bool(mb, "attention_bias", &d->attention_bias, err));
    d->output_bias = d->attention_bias;
    return elm_mb_optional_bool(mb, "mlp_bias", &d->mlp_bias, err);
}

static elm_status read_windows(const elm_model_builder *mb, uint32_t n_layers, uint32_t *windows,
                               elm_error *err) {
    uint32_t window = 0;
    bool use = !elm_json_is(elm_json_find(mb->config, "model_type"), "qwen2");
    ELM_TRY(elm_mb_optional_bool(mb, "use_sliding_window", &use, err));
    if (use) ELM_TRY(elm_mb_optional_int(mb, "sliding_window", ELM_MAX_DIM, &window, err));
    return elm_mb_layer_windows(mb, n_layers, window, 0, windows, err);
}

static elm_status build(elm_model_builder *mb, elm_error *err) {
    elm_decoder_layer d = {.eps = 1e-6f};
    uint32_t windows[ELM_MAX_LAYERS], max_positions = 2048;
    bool tied = false;
    elm_rope rope;
    ELM_TRY(elm_mb_int(mb, "vocab_size", ELM_MAX_DIM, &mb->vocab_size, err));
    ELM_TRY(elm_mb_int(mb, "hidden_size", ELM_MAX_DIM, &mb->hidden_size, err));
    ELM_TRY(elm_mb_int(mb, "num_hidden_layers", ELM_MAX_LAYERS, &mb->n_layers, err));
    ELM_TRY(elm_mb_int(mb, "intermediate_size", ELM_MAX_DIM, &d.n_ff, err));
    ELM_TRY(elm_mb_int(mb, "num_attention_heads", 65536, &d.n_heads, err));
    d.n_kv_heads = d.n_heads;
    ELM_TRY(elm_mb_optional_int(mb, "num_key_value_heads", 65536, &d.n_kv_heads, err));
    d.head_dim = mb->hidden_size / d.n_heads; /* unless it says otherwise, as Mistral Nemo does */
    ELM_TRY(elm_mb_optional_int(mb, "head_dim", 8192, &d.head_dim, err));
    ELM_TRY(elm_mb_optional_float(mb, "rms_norm_eps", &d.eps, err));
    ELM_TRY(elm_mb_optional_int(mb, "max_position_embeddings", ELM_MAX_DIM, &max_positions, err));
    ELM_TRY(elm_mb_optional_bool(mb, "tie_word_embeddings", &tied, err));
    ELM_TRY(elm_mb_activation(mb, "hidden_act", "silu", &d.activation, err));
    ELM_TRY(read_biases(mb, &d, err));
    ELM_TRY(read_windows(mb, mb->n_layers, windows, err));
    ELM_TRY(elm_mb_check_heads(mb, d.n_heads, d.n_kv_heads, d.head_dim, err));
    mb->context_length = max_positions;
    d.attention_scale = 1.0f / sqrtf((float)d.head_dim);
    ELM_TRY(elm_mb_rope(mb, NULL, "rope_theta", 10000.0, true, d.head_dim, "rope.inv_freq", &rope,
                        err));
    d.rope = &rope;

    elm_value_id table;
    elm_value_id x = elm_mb_embed(mb, mb->vocab_size, mb->hidden_size, 1.0f, &table);
    for (uint32_t layer = 0; layer < mb->n_layers; layer++) {
        d.window = windows[layer];
        x = elm_mb_decoder_layer(mb, layer, &d, x);
    }
    tied = tied || !elm_mb_has(mb, "lm_head.weight");
    x = elm_mb_head(mb, x, mb->vocab_size, mb->hidden_size, d.eps, 0.0f, tied, table);
    return elm_model_builder_finish(mb, x, err);
}

static const char *const model_types[] = {"llama", "mistral", "qwen2", NULL};

const elm_family elm_family_llama = {"llama", model_types, build};
