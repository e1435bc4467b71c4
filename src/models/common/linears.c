/* linears.c - linears of several tensors as one, and the stacks of experts; models/common. */
#include "models/common/model_builder.h"

#include <stdio.h>
#include <string.h>

enum { MAX_NAME_BYTES = 256 };

typedef struct linear_group {
    uint32_t n_parts;
    elm_weight_role role;
    elm_weight_part weights[ELM_MAX_LINEAR_PARTS];
    elm_weight_part biases[ELM_MAX_LINEAR_PARTS];
    bool with_bias;
    uint32_t rows, part_rows[ELM_MAX_LINEAR_PARTS];
    bool alike; /* all parts are stored in one scheme */
    elm_scheme scheme;
} linear_group;

static elm_weight_part part_of(const elm_source_tensor *t, const elm_linear_part *p) {
    if (p->of == 0) return elm_mb_whole(t);
    return (elm_weight_part){t, p->first, p->run, p->stride, p->rows / p->run};
}

static bool bind_group(elm_model_builder *mb, elm_weight_role role, uint32_t cols, uint32_t n_parts,
                       const elm_linear_part *parts, bool with_bias, linear_group *out) {
    char name[MAX_NAME_BYTES];
    bool carried0 = false;
    *out = (linear_group){.n_parts = n_parts, .role = role, .with_bias = with_bias, .alike = true};
    for (uint32_t p = 0; p < n_parts; p++) {
        uint32_t dims[2] = {parts[p].of ? parts[p].of : parts[p].rows, cols};
        snprintf(name, sizeof name, "%s.weight", parts[p].source);
        const elm_source_tensor *w = elm_mb_bind(mb, name, 2, dims), *b = NULL;
        snprintf(name, sizeof name, "%s.bias", parts[p].source);
        if (w && with_bias) b = elm_mb_bind(mb, name, 1, dims);
        if (!w || (with_bias && !b)) return false;
        bool carried = false;
        elm_scheme s = elm_mb_scheme_of(mb, role, w, cols, &carried);
        if (p == 0) out->scheme = s, carried0 = carried;
        const elm_source_tensor *w0 = p == 0 ? w : out->weights[0].tensor;
        out->alike = out->alike && s.dtype == out->scheme.dtype && s.group == out->scheme.group &&
                     carried == carried0 && w->type == w0->type;
        out->weights[p] = part_of(w, &parts[p]);
        if (b) out->biases[p] = part_of(b, &parts[p]);
        out->part_rows[p] = parts[p].rows;
        out->rows += parts[p].rows;
    }
    return true;
}

/* One linear over all parts: [rows of x][sum of part_rows]. */
static elm_value_id fused_linear(elm_model_builder *mb, const char *name, elm_value_id x,
                                 uint32_t cols, const linear_group *group) {
    const char *scope = mb->graph.scope ? mb->graph.scope : "";
    const char *dot = mb->graph.scope ? "." : "";
    const char *weight_name = elm_arena_printf(mb->arena, "%s%s%s.weight", scope, dot, name);
    const char *bias_name = elm_arena_printf(mb->arena, "%s%s%s.bias", scope, dot, name);
    uint32_t dims[2] = {group->rows, cols};
    elm_vector_form as_is = {0};
    if (!weight_name || !bias_name) {
        elm_mb_fail(mb, elm_fail_oom(&mb->graph.error, MAX_NAME_BYTES, "a weight's name"));
        return ELM_NO_VALUE;
    }
    elm_value_id bias = ELM_NO_VALUE;
    elm_value_id w =
        elm_mb_weight(mb, group->role, weight_name, group->n_parts, group->weights, 2, dims, as_is);
    if (group->with_bias)
        bias = elm_mb_weight(mb, ELM_ROLE_VECTOR, bias_name, group->n_parts, group->biases, 1, dims,
                             as_is);
    return elm_build_linear(&mb->graph, name, x, w, bias, elm_mb_act_quant_of(group->scheme));
}

static elm_value_id part_linear(elm_model_builder *mb, const char *name, elm_value_id x,
                                uint32_t cols, const linear_group *group, uint32_t p) {
    bool carried = false;
    linear_group one = {.n_parts = 1,
                        .role = group->role,
                        .rows = group->part_rows[p],
                        .with_bias = group->with_bias};
    one.weights[0] = group->weights[p];
    one.biases[0] = group->biases[p];
    one.scheme = elm_mb_scheme_of(mb, group->role, one.weights[0].tensor, cols, &carried);
    const char *part = elm_arena_printf(mb->arena, group->n_parts == 1 ? "%s" : "%s.%u", name, p);
    return fused_linear(mb, part ? part : name, x, cols, &one);
}

void elm_mb_linears(elm_model_builder *mb, elm_weight_role role, const char *name, elm_value_id x,
                    uint32_t cols, uint32_t n_parts, const elm_linear_part *parts, bool with_bias,
                    elm_value_id *out) {
    linear_group group;
    for (uint32_t p = 0; p < n_parts; p++) out[p] = ELM_NO_VALUE;
    if (!bind_group(mb, role, cols, n_parts, parts, with_bias, &group)) return;
    if (!group.alike || n_parts == 1) {
        for (uint32_t p = 0; p < n_parts; p++) out[p] = part_linear(mb, name, x, cols, &group, p);
        return;
    }
    elm_value_id all = fused_linear(mb, name, x, cols, &group);
    int32_t start = 0;
    for (uint32_t p = 0; p < n_parts; p++) {
        const char *slice = elm_arena_printf(mb->arena, "%s.part%u", name, p);
        out[p] =
            elm_build_slice(&mb->graph, slice ? slice : name, all, start, (int32_t)parts[p].rows);
        start += (int32_t)parts[p].rows;
    }
}

elm_value_id elm_mb_linear(elm_model_builder *mb, elm_weight_role role, const char *name,
                           elm_value_id x, uint32_t cols, const char *source, uint32_t rows,
                           bool with_bias) {
    elm_linear_part part = {.source = source, .rows = rows};
    elm_value_id out;
    elm_mb_linears(mb, role, name, x, cols, 1, &part, with_bias, &out);
    return out;
}

void elm_mb_gate_up(elm_model_builder *mb, const char *name, elm_value_id x, uint32_t cols,
                    uint32_t n_ff, const char *gate, const char *up, bool with_bias,
                    elm_value_id *out_gate, elm_value_id *out_up) {
    elm_linear_part parts[2] = {{.source = gate, .rows = n_ff}, {.source = up, .rows = n_ff}};
    linear_group group;
    *out_gate = *out_up = ELM_NO_VALUE;
    if (!bind_group(mb, ELM_ROLE_LINEAR, cols, 2, parts, with_bias, &group)) return;
    if (group.alike) {
        *out_gate = fused_linear(mb, name, x, cols, &group);
    } else {
        *out_gate = part_linear(mb, name, x, cols, &group, 0);
        *out_up = part_linear(mb, name, x, cols, &group, 1);
    }
}

/* ---- experts ---- */

/* Tensor `experts`.E.`name`.weight as one part. */
static bool bind_expert(elm_model_builder *mb, const char *experts, uint32_t expert,
                        const char *name, uint32_t rows, uint32_t cols, elm_weight_part *out) {
    char full[MAX_NAME_BYTES];
    uint32_t dims[2] = {rows, cols};
    snprintf(full, sizeof full, "%s.%u.%s.weight", experts, expert, name);
    const elm_source_tensor *t = elm_mb_bind(mb, full, 2, dims);
    if (t) *out = elm_mb_whole(t);
    return t != NULL;
}

/* Expert e's rows of stack p: all stacks [n_experts][rows][cols] of one type, as a GGUF has them. */
static bool bind_stacks(elm_model_builder *mb, const char *experts, uint32_t n_names,
                        const char *const *names, const uint32_t dims[3], elm_weight_part *parts) {
    uint32_t each[3] = {dims[0], dims[1] / n_names, dims[2]};
    for (uint32_t p = 0; p < n_names; p++) {
        const char *name = elm_arena_printf(mb->arena, "%s.%s", experts, names[p]);
        const elm_source_tensor *t = elm_mb_bind(mb, name ? name : "", 3, each);
        if (!t) return false;
        for (uint32_t e = 0; e < dims[0]; e++)
            parts[e * n_names + p] = (elm_weight_part){t, e * each[1], each[1], each[1], 1};
    }
    return true;
}

static bool bind_each(elm_model_builder *mb, const char *experts, uint32_t n_names,
                      const char *const *names, const uint32_t dims[3], elm_weight_part *parts) {
    for (uint32_t i = 0; i < dims[0] * n_names; i++) {
        if (!bind_expert(mb, experts, i / n_names, names[i % n_names], dims[1] / n_names, dims[2],
                         &parts[i])) {
            return false;
        }
    }
    return true;
}

/* A stack [n_experts][rows][cols]: `fused` in one tensor, or `names` (one or two) of all experts or of each. */
static elm_value_id stack(elm_model_builder *mb, const char *experts, const char *fused,
                          uint32_t n_names, const char *const *names, const uint32_t dims[3]) {
    elm_vector_form as_is = {0};
    const char *fused_name = elm_arena_printf(mb->arena, "%s.%s", experts, fused);
    elm_weight_part *parts = elm_arena_array(mb->arena, (size_t)dims[0] * n_names, sizeof *parts);
    if (!fused_name || !parts) {
        elm_mb_fail(mb, elm_fail_oom(&mb->graph.error, MAX_NAME_BYTES, "the experts"));
        return ELM_NO_VALUE;
    }
    if (elm_mb_has(mb, "%s", fused_name)) {
        const elm_source_tensor *t = elm_mb_bind(mb, fused_name, 3, dims);
        if (!t) return ELM_NO_VALUE;
        parts[0] = elm_mb_whole(t);
        return elm_mb_weight(mb, ELM_ROLE_LINEAR, fused_name, 1, parts, 3, dims, as_is);
    }
    bool stacked = elm_mb_has(mb, "%s.%s", experts, names[0]);
    if (!(stacked ? bind_stacks : bind_each)(mb, experts, n_names, names, dims, parts))
        return ELM_NO_VALUE;
    for (uint32_t i = 0; i < dims[0] * n_names; i++) {
        if (parts[i].tensor->type == parts[0].tensor->type) continue;
        elm_mb_fail(mb, elm_fail(&mb->graph.error, ELM_UNSUPPORTED,
                                 "'%s' and '%s' are experts of one layer and differ in type",
                                 parts[0].tensor->name, parts[i].tensor->name));
        return ELM_NO_VALUE;
    }
    return elm_mb_weight(mb, ELM_ROLE_LINEAR, fused_name, dims[0] * n_names, parts, 3, dims, as_is);
}

void elm_mb_experts(elm_model_builder *mb, const char *experts, uint32_t n_experts, uint32_t n_ff,
                    uint32_t cols, elm_value_id *gate_up, elm_value_id *down) {
    static const char *const up_names[] = {"gate_proj", "up_proj"}, *const down_names[] = {
                                                                        "down_proj"};
    const uint32_t up_dims[3] = {n_experts, 2 * n_ff, cols}, down_dims[3] = {n_experts, cols, n_ff};
    *gate_up = stack(mb, experts, "gate_up_proj", 2, up_names, up_dims);
    *down = stack(mb, experts, "down_proj", 1, down_names, down_dims);
}
