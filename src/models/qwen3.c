/* qwen3.c - Qwen3 dense: the Llama block with an RMS norm on every head of q and k before RoPE.
 *
 * Config: transformers Qwen3Config. head_dim is always explicit and often not hidden / heads. */
#include "models/common/decoder.h"
#include "models/common/layers.h"
#include "models/family.h"

#include <math.h>

/* With use_sliding_window the layers from max_window_layers on slide; layer_types, where present,
 * decides. */
static elm_status read_windows(const elm_model_builder *mb, uint32_t *windows, elm_error *err) {
    uint32_t window = 0, first = 28;
    bool use = false;
    ELM_TRY(elm_mb_optional_bool(mb, "use_sliding_window", &use, err));
    ELM_TRY(elm_mb_optional_int(mb, "max_window_layers", ELM_MAX_DIM, &first, err));
    if (use) ELM_TRY(elm_mb_optional_int(mb, "sliding_window", ELM_MAX_DIM, &window, err));
    ELM_TRY(elm_mb_layer_windows(mb, mb->n_layers, window, 0, windows, err));
    if (elm_json_find(mb->config, "layer_types")) return ELM_OK;
    for (uint32_t i = 0; i < mb->n_layers && i < first; i++) windows[i] = 0;
    return ELM_OK;
}

static elm_status build(elm_model_builder *mb, elm_error *err) {
    elm_decoder_layer d = {.eps = 1e-6f, .qk_norm = true, .head_dim = 128};
    uint32_t windows[ELM_MAX_LAYERS], max_positions = 32768;
    bool tied = false;
    elm_rope rope;
    ELM_TRY(elm_mb_int(mb, "vocab_size", ELM_MAX_DIM, &mb->vocab_size, err));
    ELM_TRY(elm_mb_int(mb, "hidden_size", ELM_MAX_DIM, &mb->hidden_size, err));
    ELM_TRY(elm_mb_int(mb, "num_hidden_layers", ELM_MAX_LAYERS, &mb->n_layers, err));
    ELM_TRY(elm_mb_int(mb, "intermediate_size", ELM_MAX_DIM, &d.n_ff, err));
    ELM_TRY(elm_mb_int(mb, "num_attention_heads", 65536, &d.n_heads, err));
    ELM_TRY(elm_mb_int(mb, "num_key_value_heads", 65536, &d.n_kv_heads, err));
    ELM_TRY(elm_mb_optional_int(mb, "head_dim", 8192, &d.head_dim, err));
    ELM_TRY(elm_mb_optional_float(mb, "rms_norm_eps", &d.eps, err));
    ELM_TRY(elm_mb_optional_int(mb, "max_position_embeddings", ELM_MAX_DIM, &max_positions, err));
    ELM_TRY(elm_mb_optional_bool(mb, "tie_word_embeddings", &tied, err));
    ELM_TRY(elm_mb_optional_bool(mb, "attention_bias", &d.attention_bias, err));
    d.output_bias = d.attention_bias;
    ELM_TRY(elm_mb_activation(mb, "hidden_act", "silu", &d.activation, err));
    ELM_TRY(read_windows(mb, windows, err));
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

static const char *const model_types[] = {"qwen3", NULL};

const elm_family elm_family_qwen3 = {"qwen3", model_types, build};
