/* granite.c - Granite 3 and 4, dense: the Llama block with four constants of its own.
 *
 * Config: transformers GraniteConfig. The embedding is multiplied by embedding_multiplier, scores
 * by attention_multiplier (not head_dim^-0.5), what a block adds to the residual by
 * residual_multiplier, and logits are divided by logits_scaling. */
#include "models/common/decoder.h"
#include "models/family.h"

typedef struct constants {
    float embedding, attention, residual, logits;
} constants;

static elm_status read_constants(const elm_model_builder *mb, constants *c, elm_error *err) {
    *c = (constants){1.0f, 1.0f, 1.0f, 1.0f};
    ELM_TRY(elm_mb_optional_float(mb, "embedding_multiplier", &c->embedding, err));
    ELM_TRY(elm_mb_optional_float(mb, "attention_multiplier", &c->attention, err));
    ELM_TRY(elm_mb_optional_float(mb, "residual_multiplier", &c->residual, err));
    ELM_TRY(elm_mb_optional_float(mb, "logits_scaling", &c->logits, err));
    if (c->logits > 0.0f) return ELM_OK;
    return elm_fail(err, ELM_MALFORMED, "%s: logits_scaling must be above 0", mb->where);
}

/* x times a constant of the config, which the file holds under `name`. */
static elm_value_id times(elm_model_builder *mb, const char *name, elm_value_id x, float factor) {
    return elm_build_mul(&mb->graph, name, x, elm_mb_table(mb, name, &factor, 1));
}

static elm_value_id block(elm_model_builder *mb, uint32_t layer, const elm_decoder_layer *d,
                          float residual, elm_value_id x) {
    elm_value_id state = ELM_NO_VALUE;
    elm_mb_enter_layer(mb, layer);
    elm_value_id u = elm_mb_norm(mb, "input_layernorm", x, 0.0f, d->eps);
    elm_value_id a = elm_mb_attention(mb, layer, &d->attention, u, &state);
    a = times(mb, "residual_multiplier", a, residual);
    elm_value_id h = elm_build_add(&mb->graph, "attn_residual", x, a);
    u = elm_mb_norm(mb, "post_attention_layernorm", h, 0.0f, d->eps);
    elm_value_id f = elm_mb_mlp(mb, "mlp", u, d->n_ff, d->activation, d->mlp_bias);
    f = times(mb, "residual_multiplier", f, residual);
    elm_value_id y = elm_build_add(&mb->graph, "mlp_residual", h, f);
    elm_mb_leave(mb);
    return y;
}

static elm_status build(elm_model_builder *mb, elm_error *err) {
    elm_decoder_layer d = {.eps = 1e-6f};
    elm_attention *a = &d.attention;
    constants c;
    elm_rope rope;
    bool tied;
    mb->context_length = 2048;
    ELM_TRY(elm_mb_decoder_config(mb, &d, err));
    ELM_TRY(elm_mb_tied(mb, false, &tied, err));
    ELM_TRY(elm_mb_activation(mb, "hidden_act", "silu", &d.activation, err));
    ELM_TRY(elm_mb_optional_bool(mb, "attention_bias", &a->bias, err));
    ELM_TRY(elm_mb_optional_bool(mb, "mlp_bias", &d.mlp_bias, err));
    ELM_TRY(read_constants(mb, &c, err));
    ELM_TRY(elm_mb_rope(mb, NULL, "rope_theta", 10000.0, true, a->head_dim, "rope.inv_freq", &rope,
                        err));
    a->output_bias = a->bias;
    a->scale = c.attention;
    a->rope = &rope;

    elm_value_id table, x = elm_mb_embed(mb, c.embedding, &table);
    for (uint32_t layer = 0; layer < mb->n_layers; layer++) x = block(mb, layer, &d, c.residual, x);
    x = elm_mb_head(mb, x, d.eps, 0.0f, tied, table);
    x = times(mb, "logits_scaling", x, 1.0f / c.logits);
    ELM_TRY(elm_mb_finish_graph(mb, x, ELM_NO_VALUE, err));
    return elm_model_builder_finish(mb, err);
}

static const char *const model_types[] = {"granite", NULL};

const elm_family elm_family_granite = {"granite", model_types, build};
