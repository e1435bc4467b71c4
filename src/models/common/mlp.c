/* mlp.c - see mlp.h; models/common. */
#include "models/common/mlp.h"

static const char *joined(elm_model_builder *mb, const char *name, const char *rest) {
    const char *text = elm_arena_printf(mb->arena, "%s.%s", name, rest);
    if (!text) elm_mb_fail(mb, elm_fail_oom(&mb->graph.error, 64, "a name"));
    return text ? text : "";
}

elm_value_id elm_mb_mlp(elm_model_builder *mb, const char *name, elm_value_id x, uint32_t n_ff,
                        int32_t activation, bool bias) {
    elm_value_id gate, up;
    const char *gate_source = elm_mb_name(mb, joined(mb, name, "gate_proj"));
    const char *up_source = elm_mb_name(mb, joined(mb, name, "up_proj"));
    const char *down_source = elm_mb_name(mb, joined(mb, name, "down_proj"));
    elm_mb_gate_up(mb, joined(mb, name, "gate_up"), x, mb->hidden_size, n_ff, gate_source,
                   up_source, bias, &gate, &up);
    elm_value_id h = elm_build_glu(&mb->graph, gate, up, activation);
    return elm_mb_linear(mb, ELM_ROLE_LINEAR, joined(mb, name, "down"), h, n_ff, down_source,
                         mb->hidden_size, bias);
}

elm_value_id elm_mb_moe(elm_model_builder *mb, const elm_moe *m, elm_value_id x,
                        elm_value_id router_input) {
    elm_moe_weights w = {.expert_scale = ELM_NO_VALUE,
                         .top_k = m->top_k,
                         .renormalise = m->renormalise,
                         .activation = m->activation};
    elm_value_id logits =
        elm_mb_linear(mb, ELM_ROLE_EXACT, m->router, router_input, mb->hidden_size,
                      elm_mb_name(mb, m->router), m->n_experts, false);
    elm_mb_experts(mb, elm_mb_name(mb, m->experts), m->n_experts, m->n_ff, mb->hidden_size,
                   &w.gate_up, &w.down);
    if (m->expert_scales)
        w.expert_scale = elm_mb_vector(mb, elm_mb_name(mb, m->expert_scales), m->n_experts, 0.0f);
    if (mb->graph.status != ELM_OK) return ELM_NO_VALUE;
    const elm_value *values = mb->graph.graph->values;
    bool quantised = elm_dtype_get(values[w.gate_up].dtype)->has_scales &&
                     elm_dtype_get(values[w.down].dtype)->has_scales;
    w.act_quant = quantised ? ELM_ACT_QUANT_I8 : ELM_ACT_QUANT_NONE;
    return elm_build_moe(&mb->graph, m->experts, x, logits, &w);
}

elm_status elm_mb_moe_config(const elm_model_builder *mb, elm_moe *out, elm_error *err) {
    bool local = elm_json_find(mb->config, "num_experts") == NULL;
    ELM_TRY(elm_mb_int(mb, local ? "num_local_experts" : "num_experts", ELM_MAX_EXPERTS,
                       &out->n_experts, err));
    ELM_TRY(elm_mb_int(mb, "num_experts_per_tok", ELM_MAX_TOP_K, &out->top_k, err));
    ELM_TRY(elm_mb_int(mb, "moe_intermediate_size", ELM_MAX_DIM / 4, &out->n_ff, err));
    if (out->top_k <= out->n_experts) return ELM_OK;
    return elm_fail(err, ELM_MALFORMED, "%s: a token takes %u of %u experts", mb->where, out->top_k,
                    out->n_experts);
}
