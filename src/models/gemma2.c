/* gemma2.c - Gemma 1 and 2: norms stored as w - 1, GeGLU; 2 adds norms behind attention and MLP,
 * soft caps, and a window in every other layer.
 *
 * Config: transformers GemmaConfig and Gemma2Config. Gemma 1 checkpoints say hidden_act "gelu" and
 * mean its tanh form, as the reference does. */
#include "models/common/decoder.h"
#include "models/common/layers.h"
#include "models/family.h"

#include <math.h>

/* What only Gemma 2 has; *logit_cap 0 is none. */
static elm_status read_second(elm_model_builder *mb, elm_decoder_layer *d, float *logit_cap,
                              uint32_t *windows, elm_error *err) {
    uint32_t window = 4096;
    float query_scalar = 256.0f;
    d->sandwich_norms = true;
    *logit_cap = elm_json_get(mb->config, "final_logit_softcapping") ? 0.0f : 30.0f;
    d->attention.softcap = elm_json_get(mb->config, "attn_logit_softcapping") ? 0.0f : 50.0f;
    ELM_TRY(elm_mb_optional_float(mb, "final_logit_softcapping", logit_cap, err));
    ELM_TRY(elm_mb_optional_float(mb, "attn_logit_softcapping", &d->attention.softcap, err));
    ELM_TRY(elm_mb_optional_float(mb, "query_pre_attn_scalar", &query_scalar, err));
    ELM_TRY(elm_mb_optional_int(mb, "sliding_window", ELM_MAX_DIM, &window, err));
    if (!(query_scalar > 0.0f) || !(*logit_cap >= 0.0f) || !(d->attention.softcap >= 0.0f)) {
        return elm_fail(err, ELM_MALFORMED,
                        "%s: query_pre_attn_scalar must be above 0, soft caps not below",
                        mb->where);
    }
    d->attention.scale = 1.0f / sqrtf(query_scalar);
    return elm_mb_layer_windows(mb, mb->n_layers, window, 2, windows, err);
}

static elm_status build(elm_model_builder *mb, elm_error *err) {
    elm_decoder_layer d = {.eps = 1e-6f, .norm_add = 1.0f, .attention = {.head_dim = 256}};
    elm_attention *a = &d.attention;
    uint32_t windows[ELM_MAX_LAYERS] = {0};
    float logit_cap = 0.0f;
    bool tied, second = elm_json_is(elm_json_find(mb->config, "model_type"), "gemma2");
    elm_rope rope;
    mb->context_length = 8192;
    mb->raw_needs_bos = true;
    ELM_TRY(elm_mb_decoder_config(mb, &d, err));
    ELM_TRY(elm_mb_tied(mb, true, &tied, err));
    ELM_TRY(elm_mb_optional_bool(mb, "attention_bias", &a->bias, err));
    a->output_bias = a->bias;
    const char *key = elm_json_find(mb->config, "hidden_activation") || second ? "hidden_activation"
                                                                               : "hidden_act";
    ELM_TRY(elm_mb_activation(mb, key, "gelu_pytorch_tanh", &d.activation, err));
    if (d.activation == ELM_GELU_ERF && !second) d.activation = ELM_GELU_TANH;
    a->scale = 1.0f / sqrtf((float)a->head_dim);
    if (second) ELM_TRY(read_second(mb, &d, &logit_cap, windows, err));
    ELM_TRY(elm_mb_rope(mb, NULL, "rope_theta", 10000.0, true, a->head_dim, "rope.inv_freq", &rope,
                        err));
    a->rope = &rope;

    elm_value_id table, x = elm_mb_embed(mb, elm_mb_sqrt_hidden(mb), &table);
    for (uint32_t layer = 0; layer < mb->n_layers; layer++) {
        a->window = windows[layer];
        x = elm_mb_decoder_layer(mb, layer, &d, x);
    }
    x = elm_mb_head(mb, x, d.eps, d.norm_add, tied, table);
    if (logit_cap > 0.0f) x = elm_build_softcap(&mb->graph, "softcap", x, logit_cap);
    ELM_TRY(elm_mb_finish_graph(mb, x, ELM_NO_VALUE, err));
    return elm_model_builder_finish(mb, err);
}

static const char *const model_types[] = {"gemma2", "gemma", NULL};

const elm_family elm_family_gemma2 = {"gemma2", model_types, build};
