/* phi3.c - Phi-3, Phi-3.5 and Phi-4 (mini): the Llama block with q, k and v in one tensor, gate and
 * up in another, a rotation of a part of each head, and longrope.
 *
 * Config: transformers Phi3Config. */
#include "models/common/decoder.h"
#include "models/common/layers.h"
#include "models/family.h"

#include <math.h>

static elm_value_id block(elm_model_builder *mb, uint32_t layer, const elm_decoder_layer *d,
                          elm_value_id x) {
    elm_builder *g = &mb->graph;
    elm_value_id state = ELM_NO_VALUE;
    elm_mb_enter_layer(mb, layer);
    elm_value_id u = elm_mb_norm(mb, "input_layernorm", x, 0.0f, d->eps);
    elm_value_id a = elm_mb_attention(mb, layer, &d->attention, u, &state);
    elm_value_id h = elm_build_add(g, "attn_residual", x, a);
    u = elm_mb_norm(mb, "post_attention_layernorm", h, 0.0f, d->eps);
    elm_value_id f = elm_mb_linear(mb, ELM_ROLE_LINEAR, "mlp.gate_up", u, mb->hidden_size,
                                   elm_mb_name(mb, "mlp.gate_up_proj"), 2 * d->n_ff, false);
    f = elm_build_glu(g, f, ELM_NO_VALUE, d->activation);
    f = elm_mb_linear(mb, ELM_ROLE_LINEAR, "mlp.down", f, d->n_ff, elm_mb_name(mb, "mlp.down_proj"),
                      mb->hidden_size, false);
    elm_value_id y = elm_build_add(g, "mlp_residual", h, f);
    elm_mb_leave(mb);
    return y;
}

static elm_status build(elm_model_builder *mb, elm_error *err) {
    elm_decoder_layer d = {.eps = 1e-5f, .attention = {.fused_qkv = true}};
    elm_attention *a = &d.attention;
    uint32_t windows[ELM_MAX_LAYERS], window = 0;
    float share = 1.0f;
    bool tied;
    elm_rope rope;
    mb->context_length = 4096;
    ELM_TRY(elm_mb_decoder_config(mb, &d, err));
    ELM_TRY(elm_mb_tied(mb, false, &tied, err));
    ELM_TRY(elm_mb_activation(mb, "hidden_act", "silu", &d.activation, err));
    ELM_TRY(elm_mb_optional_int(mb, "sliding_window", ELM_MAX_DIM, &window, err));
    ELM_TRY(elm_mb_layer_windows(mb, mb->n_layers, window, 0, windows, err));
    ELM_TRY(elm_mb_rotary_factor(mb, NULL, &share, err));
    ELM_TRY(elm_mb_rope(mb, NULL, "rope_theta", 10000.0, true,
                        (uint32_t)((float)a->head_dim * share), "rope.inv_freq", &rope, err));
    a->scale = 1.0f / sqrtf((float)a->head_dim);
    a->rope = &rope;

    elm_value_id table, x = elm_mb_embed(mb, 1.0f, &table);
    for (uint32_t layer = 0; layer < mb->n_layers; layer++) {
        a->window = windows[layer];
        x = block(mb, layer, &d, x);
    }
    x = elm_mb_head(mb, x, d.eps, 0.0f, tied, table);
    ELM_TRY(elm_mb_finish_graph(mb, x, ELM_NO_VALUE, err));
    return elm_model_builder_finish(mb, err);
}

static const char *const model_types[] = {"phi3", NULL};

const elm_family elm_family_phi3 = {"phi3", model_types, build};
