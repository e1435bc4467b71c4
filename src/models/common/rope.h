/* rope.h - frequency tables: every RoPE scaling becomes an explicit inv_freq and one factor, at
 * conversion. */
#ifndef ELM_MODELS_COMMON_ROPE_H
#define ELM_MODELS_COMMON_ROPE_H

#include "models/common/model_builder.h"

typedef struct elm_rope {
    elm_value_id inv_freq; /* weight [n_freq] */
    int32_t pair_stride;
    float scale; /* of cos and sin (yarn) */
} elm_rope;

/* The share of a head's dimensions that rotate: partial_rotary_factor of the rope parameters, of
 * the config, or *factor as it is. */
elm_status elm_mb_rotary_factor(const elm_model_builder *mb, const char *layer_type, float *factor,
                                elm_error *err) ELM_MUST_CHECK;

/* Reads `rope_parameters` (v5; for Gemma the member `layer_type` of it), or rope_theta and
 * rope_scaling (v4, which wins where both are), and makes the table for `rotated` dimensions.
 * `theta_key` is where v4 keeps theta, `default_theta` its value where nobody says it. scaled =
 * false ignores rope_scaling. default, linear, dynamic (the same as default up to the context's
 * end), llama3, yarn, longrope (which may shorten the context) and proportional
 * (`rotated` is the whole head, of whose frequencies only the first part is not zero) are known;
 * any other type is refused by name. Formulas: docs/numerics.md, "rope". */
elm_status elm_mb_rope(elm_model_builder *mb, const char *layer_type, const char *theta_key,
                       double default_theta, bool scaled, uint32_t rotated, const char *name,
                       elm_rope *out, elm_error *err) ELM_MUST_CHECK;

#endif
