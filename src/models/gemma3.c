/* gemma3.c - Gemma 3 text: sandwich norms stored as w - 1, GeGLU, sliding and full layers with RoPE
 * of their own.
 *
 * Config: transformers Gemma3TextConfig, v4 (rope_theta for full layers, rope_local_base_freq for
 * sliding ones, rope_scaling for full ones only) and v5 (rope_parameters by layer type). The
 * embedding is multiplied by sqrt(hidden), rounded to bfloat16 where the checkpoint is bfloat16, as
 * the reference does. */
#include "base/f16.h"
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

/* The scale in the precision of the checkpoint's embedding. */
static float embedding_scale(const elm_model_builder *mb) {
    const elm_source_tensor *t = elm_checkpoint_find(mb->checkpoint, "model.embed_tokens.weight");
    float scale = sqrtf((float)mb->hidden_size);
    return t && t->type == ELM_SOURCE_BF16 ? elm_f32_from_bf16(elm_bf16_from_f32(scale)) : scale;
}

static elm_status build(elm_model_builder *mb, elm_error *err) {
    elm_decoder_layer d = {
        .eps = 1e-6f, .qk_norm = true, .sandwich_norms = true, .norm_add = 1.0f, .head_dim = 256};
    uint32_t windows[ELM_MAX_LAYERS], window = 4096, pattern = 6, max_positions = 131072;
    float query_scalar = 256.0f;
    bool tied = true;
    elm_rope local, global;
    ELM_TRY(elm_mb_int(mb, "vocab_size", ELM_MAX_DIM, &mb->vocab_size, err));
    ELM_TRY(elm_mb_int(mb, "hidden_size", ELM_MAX_DIM, &mb->hidden_size, err));
    ELM_TRY(elm_mb_int(mb, "num_hidden_layers", ELM_MAX_LAYERS, &mb->n_layers, err));
    ELM_TRY(elm_mb_int(mb, "intermediate_size", ELM_MAX_DIM, &d.n_ff, err));
    ELM_TRY(elm_mb_int(mb, "num_attention_heads", 65536, &d.n_heads, err));
    ELM_TRY(elm_mb_int(mb, "num_key_value_heads", 65536, &d.n_kv_heads, err));
    ELM_TRY(elm_mb_optional_int(mb, "head_dim", 8192, &d.head_dim, err));
    ELM_TRY(elm_mb_optional_float(mb, "rms_norm_eps", &d.eps, err));
    ELM_TRY(elm_mb_optional_float(mb, "query_pre_attn_scalar", &query_scalar, err));
    ELM_TRY(elm_mb_optional_int(mb, "max_position_embeddings", ELM_MAX_DIM, &max_positions, err));
    ELM_TRY(elm_mb_optional_int(mb, "sliding_window", ELM_MAX_DIM, &window, err));
    ELM_TRY(elm_mb_optional_int(mb, "sliding_window_pattern", ELM_MAX_LAYERS, &pattern, err));
    ELM_TRY(elm_mb_optional_bool(mb, "tie_word_embeddings", &tied, err));
    ELM_TRY(elm_mb_optional_bool(mb, "attention_bias", &d.attention_bias, err));
    d.output_bias = d.attention_bias;
    ELM_TRY(elm_mb_activation(mb, "hidden_activation", "gelu_pytorch_tanh", &d.activation, err));
    ELM_TRY(refuse_softcaps(mb, err));
    ELM_TRY(elm_mb_layer_windows(mb, mb->n_layers, window, pattern, windows, err));
    ELM_TRY(elm_mb_check_heads(mb, d.n_heads, d.n_kv_heads, d.head_dim, err));
    if (!(query_scalar > 0.0f)) {
        return elm_fail(err, ELM_MALFORMED, "%s: query_pre_attn_scalar must be above 0", mb->where);
    }
    mb->context_length = max_positions;
    mb->raw_needs_bos = true;
    d.attention_scale = 1.0f / sqrtf(query_scalar);
    ELM_TRY(elm_mb_rope(mb, "sliding_attention", "rope_local_base_freq", 1e4, false, d.head_dim,
                        "rope_local.inv_freq", &local, err));
    ELM_TRY(elm_mb_rope(mb, "full_attention", "rope_theta", 1e6, true, d.head_dim, "rope.inv_freq",
                        &global, err));

    elm_value_id table;
    elm_value_id x = elm_mb_embed(mb, mb->vocab_size, mb->hidden_size, embedding_scale(mb), &table);
    for (uint32_t layer = 0; layer < mb->n_layers; layer++) {
        d.window = windows[layer];
        d.rope = d.window ? &local : &global;
        x = elm_mb_decoder_layer(mb, layer, &d, x);
    }
    tied = tied || !elm_mb_has(mb, "lm_head.weight");
    x = elm_mb_head(mb, x, mb->vocab_size, mb->hidden_size, d.eps, d.norm_add, tied, table);
    return elm_model_builder_finish(mb, x, err);
}

static const char *const model_types[] = {"gemma3_text", NULL};

const elm_family elm_family_gemma3 = {"gemma3", model_types, build};
