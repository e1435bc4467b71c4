/* smollm3.c - SmolLM3: the Llama block, some layers without RoPE.
 *
 * Config: transformers SmolLM3Config. no_rope_layers holds 1 for a layer that rotates; where it is
 * absent every no_rope_layer_interval-th does not. */
#include "models/common/decoder.h"
#include "models/common/layers.h"
#include "models/family.h"

#include <math.h>

static elm_status read_rotating(const elm_model_builder *mb, bool *rotates, elm_error *err) {
    const elm_json *list = elm_json_find(mb->config, "no_rope_layers");
    uint32_t interval = 4;
    ELM_TRY(elm_mb_optional_int(mb, "no_rope_layer_interval", ELM_MAX_LAYERS, &interval, err));
    bool fits = !list || (list->type == ELM_JSON_ARRAY && list->count == mb->n_layers);
    for (uint32_t i = 0; fits && i < mb->n_layers; i++) {
        const elm_json *v = list ? &list->as.items[i] : NULL;
        fits = list ? v->type == ELM_JSON_INT : interval > 0;
        rotates[i] = fits && (list ? v->as.integer != 0 : (i + 1) % interval != 0);
    }
    if (fits) return ELM_OK;
    return elm_fail(err, ELM_MALFORMED,
                    "%s: no_rope_layers must hold a number for each of %u layers, "
                    "no_rope_layer_interval be above 0",
                    mb->where, mb->n_layers);
}

/* Where layer_types is absent, the layers slide that do not rotate. */
static elm_status read_windows(const elm_model_builder *mb, const bool *rotates, uint32_t *windows,
                               elm_error *err) {
    uint32_t window = 0;
    bool use = false;
    ELM_TRY(elm_mb_optional_bool(mb, "use_sliding_window", &use, err));
    if (use) ELM_TRY(elm_mb_optional_int(mb, "sliding_window", ELM_MAX_DIM, &window, err));
    ELM_TRY(elm_mb_layer_windows(mb, mb->n_layers, window, 0, windows, err));
    if (elm_json_find(mb->config, "layer_types")) return ELM_OK;
    for (uint32_t i = 0; i < mb->n_layers; i++)
        if (rotates[i]) windows[i] = 0;
    return ELM_OK;
}

static elm_status build(elm_model_builder *mb, elm_error *err) {
    elm_decoder_layer d = {.eps = 1e-6f};
    elm_attention *a = &d.attention;
    uint32_t windows[ELM_MAX_LAYERS];
    bool tied, rotates[ELM_MAX_LAYERS] = {false};
    elm_rope rope;
    mb->context_length = 32768;
    ELM_TRY(elm_mb_decoder_config(mb, &d, err));
    ELM_TRY(elm_mb_tied(mb, true, &tied, err));
    ELM_TRY(elm_mb_activation(mb, "hidden_act", "silu", &d.activation, err));
    ELM_TRY(elm_mb_optional_bool(mb, "attention_bias", &a->bias, err));
    ELM_TRY(elm_mb_optional_bool(mb, "mlp_bias", &d.mlp_bias, err));
    ELM_TRY(read_rotating(mb, rotates, err));
    ELM_TRY(read_windows(mb, rotates, windows, err));
    ELM_TRY(
        elm_mb_rope(mb, NULL, "rope_theta", 2e6, true, a->head_dim, "rope.inv_freq", &rope, err));
    a->output_bias = a->bias;
    a->scale = 1.0f / sqrtf((float)a->head_dim);

    elm_value_id table, x = elm_mb_embed(mb, 1.0f, &table);
    for (uint32_t layer = 0; layer < mb->n_layers; layer++) {
        a->window = windows[layer];
        a->rope = rotates[layer] ? &rope : NULL;
        x = elm_mb_decoder_layer(mb, layer, &d, x);
    }
    x = elm_mb_head(mb, x, d.eps, 0.0f, tied, table);
    ELM_TRY(elm_mb_finish_graph(mb, x, ELM_NO_VALUE, err));
    return elm_model_builder_finish(mb, err);
}

static const char *const model_types[] = {"smollm3", NULL};

const elm_family elm_family_smollm3 = {"smollm3", model_types, build};
