/* mlp.h - the gated MLP and mixtures of them. */
#ifndef ELM_MODELS_COMMON_MLP_H
#define ELM_MODELS_COMMON_MLP_H

#include "models/common/model_builder.h"

/* down(activation(gate x) * up x), tensors `name`.{gate,up,down}_proj below the layer's prefix. */
elm_value_id elm_mb_mlp(elm_model_builder *mb, const char *name, elm_value_id x, uint32_t n_ff,
                        int32_t activation, bool bias);

typedef struct elm_moe {
    uint32_t n_experts, top_k, n_ff;
    bool renormalise; /* weights of the chosen experts add up to 1 */
    int32_t activation;
    const char *router;        /* "mlp.gate" */
    const char *experts;       /* "mlp.experts" */
    const char *expert_scales; /* a vector [E] on top of the weights, or NULL */
} elm_moe;

/* The experts' sum for x; the router reads `router_input`. Both are [rows][hidden]. */
elm_value_id elm_mb_moe(elm_model_builder *mb, const elm_moe *m, elm_value_id x,
                        elm_value_id router_input);

/* Reads num_experts (or num_local_experts), num_experts_per_tok and moe_intermediate_size. */
elm_status elm_mb_moe_config(const elm_model_builder *mb, elm_moe *out,
                             elm_error *err) ELM_MUST_CHECK;

#endif
