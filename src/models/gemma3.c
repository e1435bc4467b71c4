/* gemma3.c - Gemma 3 text: sandwich norms stored as w - 1, GeGLU, sliding and full layers with RoPE
 * of their own.
 *
 * Config: transformers Gemma3TextConfig, v4 (rope_theta for full layers, rope_local_base_freq for
 * sliding ones, rope_scaling for full ones only) and v5 (rope_parameters by layer type). Released
 * configs leave out what has the value of the class, the number of heads and the vocabulary too. The
 * embedding is multiplied by sqrt(hidden), rounded to bfloat16 where the checkpoint is bfloat16, as
 * the reference does. */
#include "models/common/decoder.h"
#include "models/common/layers.h"
#include "models/family.h"

#include <math.h>

static elm_status refuse_softcaps(const elm_model_builder *mb, elm_error *err) {
    static const char *const keys[] = {"attn_logit_softcapping", "final_logit_softcapping"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (elm_json_find(mb->config, keys[i])) {
            return elm_fail(err, ELM_UNSUPPORTED, "%s: '%s' is not supported for gemma3", mb->where,
                            keys[i]);
        }
    }
    return ELM_OK;
}

static elm_status build(elm_model_builder *mb, elm_error *err) {
    elm_decoder_layer d = {
        .eps = 1e-6f,
        .sandwich_norms = true,
        .norm_add = 1.0f,
        .n_ff = 9216,
        .attention = {
            .n_heads = 8, .n_kv_heads = 4, .head_dim = 256, .qk_norm = true, .norm_add = 1.0f}};
    elm_attention *a = &d.attention;
    uint32_t windows[ELM_MAX_LAYERS], window = 4096, pattern = 6;
    float query_scalar = 256.0f;
    bool tied;
    elm_rope local, global;
    mb->vocab_size = 262208;
    mb->hidden_size = 2304;
    mb->n_layers = 26;
    mb->context_length = 131072;
    mb->raw_needs_bos = true;
    ELM_TRY(elm_mb_decoder_config(mb, &d, err));
    ELM_TRY(elm_mb_tied(mb, true, &tied, err));
    ELM_TRY(elm_mb_optional_float(mb, "query_pre_attn_scalar", &query_scalar, err));
    ELM_TRY(elm_mb_optional_int(mb, "sliding_window", ELM_MAX_DIM, &window, err));
    ELM_TRY(elm_mb_optional_int(mb, "sliding_window_pattern", ELM_MAX_LAYERS, &pattern, err));
    ELM_TRY(elm_mb_optional_bool(mb, "attention_bias", &a->bias, err));
    a->output_bias = a->bias;
    ELM_TRY(elm_mb_activation(mb, "hidden_activation", "gelu_pytorch_tanh", &d.activation, err));
    ELM_TRY(refuse_softcaps(mb, err));
    ELM_TRY(elm_mb_layer_windows(mb, mb->n_layers, window, pattern, windows, err));
    if (!(query_scalar > 0.0f)) {
        return elm_fail(err, ELM_MALFORMED, "%s: query_pre_attn_scalar must be above 0", mb->where);
    }
    a->scale = 1.0f / sqrtf(query_scalar);
    ELM_TRY(elm_mb_rope(mb, "sliding_attention", "rope_local_base_freq", 1e4, false, a->head_dim,
                        "rope_local.inv_freq", &local, err));
    ELM_TRY(elm_mb_rope(mb, "full_attention", "rope_theta", 1e6, true, a->head_dim, "rope.inv_freq",
                        &global, err));

    elm_value_id table, x = elm_mb_embed(mb, elm_mb_sqrt_hidden(mb), &table);
    for (uint32_t layer = 0; layer < mb->n_layers; layer++) {
        a->window = windows[layer];
        a->rope = a->window ? &local : &global;
        x = elm_mb_decoder_layer(mb, layer, &d, x);
    }
    x = elm_mb_head(mb, x, d.eps, d.norm_add, tied, table);
    ELM_TRY(elm_mb_finish_graph(mb, x, ELM_NO_VALUE, err));
    return elm_model_builder_finish(mb, err);
}

static const char *const model_types[] = {"gemma3_text", NULL};

const elm_family elm_family_gemma3 = {"gemma3", model_types, build};
