/* validate.c - what every consumer of a graph may rely on, checked once; ir. */
#include "ir/graph.h"

#include <stdlib.h>
#include <string.h>

const elm_graph *elm_module_graph(const elm_module *m, const char *name) {
    for (uint32_t i = 0; i < m->n_graphs; i++) {
        if (strcmp(m->graphs[i].name, name) == 0) return &m->graphs[i];
    }
    return NULL;
}

const char *elm_state_kind_text(elm_state_kind kind) {
    static const char *const texts[ELM_N_STATE_KINDS] = {"kv", "recurrent", "conv"};
    return kind < ELM_N_STATE_KINDS ? texts[kind] : "?";
}

static elm_status check_state(const elm_state *s, uint32_t index, elm_error *err) {
    bool sized = s->n_heads >= 1 && s->k_dim >= 1 && s->v_dim >= 1 && s->n_heads <= ELM_MAX_DIM &&
                 s->k_dim <= ELM_MAX_DIM && s->v_dim <= ELM_MAX_DIM && s->window <= ELM_MAX_DIM &&
                 (uint64_t)s->n_heads * s->k_dim <= ELM_MAX_DIM &&
                 (uint64_t)s->n_heads * s->v_dim <= ELM_MAX_DIM;
    if (s->kind == ELM_STATE_RECURRENT)
        sized = sized && (uint64_t)s->n_heads * s->k_dim * s->v_dim <= ELM_MAX_DIM;
    if (s->kind == ELM_STATE_CONV)
        sized = sized && s->n_heads == 1 && (uint64_t)s->k_dim * s->v_dim <= ELM_MAX_DIM;
    if (s->kind < ELM_N_STATE_KINDS && sized) return ELM_OK;
    return elm_fail(err, ELM_MALFORMED,
                    "state %u ('%s'): unknown kind %u or impossible size %u x %u, %u", index,
                    s->name, (unsigned)s->kind, s->n_heads, s->k_dim, s->v_dim);
}

static elm_status bad_value(const elm_graph *g, uint32_t v, const char *what, elm_error *err) {
    return elm_fail(err, ELM_MALFORMED, "graph '%s': value %u ('%s'): %s", g->name, v,
                    g->values[v].name, what);
}

static elm_status check_weight(const elm_graph *g, uint32_t v, const elm_tensor *tensors,
                               uint32_t n_tensors, elm_error *err) {
    const elm_value *value = &g->values[v];
    if (!tensors) return ELM_OK;
    if (value->index >= n_tensors)
        return bad_value(g, v, "names a tensor that is not in the file", err);
    const elm_tensor *t = &tensors[value->index];
    if (t->dtype != value->dtype || t->n_dims != value->n_dims) {
        return bad_value(g, v, "differs in type from its tensor", err);
    }
    for (uint32_t d = 0; d < t->n_dims; d++) {
        if ((elm_dim)t->dims[d] != value->dims[d])
            return bad_value(g, v, "differs in shape from its tensor", err);
    }
    return ELM_OK;
}

/* Matrices of linear and moe are P16, an embedding table may be either, all else lies in rows. */
static elm_status check_layouts(const elm_graph *g, const elm_node *node, const elm_tensor *tensors,
                                elm_error *err) {
    for (uint32_t i = 0; tensors && i < node->n_inputs; i++) {
        uint32_t v = node->inputs[i];
        if (g->values[v].kind != ELM_VALUE_WEIGHT) continue;
        const elm_tensor *t = &tensors[g->values[v].index];
        if (node->op == ELM_OP_EMBEDDING) continue;
        bool panels = t->n_dims >= 2 && (node->op == ELM_OP_LINEAR || node->op == ELM_OP_MOE);
        if (t->layout != (panels ? ELM_LAYOUT_P16 : ELM_LAYOUT_ROWS)) {
            return bad_value(g, v, "is stored in another layout than the operation reads", err);
        }
    }
    return ELM_OK;
}

static elm_status check_input(const elm_graph *g, uint32_t v, elm_error *err) {
    static const elm_dim first[ELM_N_INPUTS] = {ELM_DIM_T, ELM_DIM_T, ELM_DIM_R, ELM_DIM_T};
    const elm_value *value = &g->values[v];
    bool is_hidden = value->index == ELM_INPUT_HIDDEN;
    if (value->index >= ELM_N_INPUTS || value->dtype != (is_hidden ? ELM_F32 : ELM_I32) ||
        value->n_dims != (is_hidden ? 2 : 1) || value->dims[0] != first[value->index]) {
        return bad_value(g, v, "is no known input", err);
    }
    return ELM_OK;
}

static elm_status check_value(const elm_module *m, const elm_graph *g, uint32_t v,
                              const elm_tensor *tensors, uint32_t n_tensors, elm_error *err) {
    const elm_value *value = &g->values[v];
    if (value->n_dims > ELM_MAX_DIMS) return bad_value(g, v, "has too many dimensions", err);
    for (uint32_t d = 0; d < value->n_dims; d++) {
        bool symbol = d == 0 && value->dims[d] >= ELM_DIM_P && value->dims[d] <= ELM_DIM_T;
        if (!symbol && (value->dims[d] < 1 || value->dims[d] > ELM_MAX_DIM)) {
            return bad_value(g, v, "has an impossible dimension", err);
        }
    }
    switch (value->kind) {
    case ELM_VALUE_INPUT:
        return check_input(g, v, err);
    case ELM_VALUE_WEIGHT:
        if (value->n_dims < 1 || value->n_dims > 3)
            return bad_value(g, v, "is no vector, matrix or stack of matrices", err);
        return check_weight(g, v, tensors, n_tensors, err);
    case ELM_VALUE_STATE:
        return value->index < m->n_states ? ELM_OK
                                          : bad_value(g, v, "names a state that is not there", err);
    case ELM_VALUE_NODE:
        if (value->index >= g->n_nodes || g->nodes[value->index].output != v) {
            return bad_value(g, v, "is not the output of its node", err);
        }
        return value->dtype == ELM_F32 ? ELM_OK : bad_value(g, v, "is not float32", err);
    }
    return bad_value(g, v, "is of an unknown kind", err);
}

static elm_status check_node(const elm_module *m, const elm_graph *g, uint32_t n,
                             const elm_tensor *tensors, elm_error *err) {
    const elm_node *node = &g->nodes[n];
    uint32_t n_dims;
    elm_dim dims[ELM_MAX_DIMS];
    const elm_op_info *info = elm_op_get(node->op);
    if (!info) {
        return elm_fail(
            err, ELM_UNSUPPORTED,
            "graph '%s': node %u ('%s') has operation %u, which this version does not know",
            g->name, n, node->name, (unsigned)node->op);
    }
    for (uint32_t i = 0; i < node->n_inputs; i++) {
        elm_value_id id = node->inputs[i];
        if (id >= g->n_values) {
            return elm_fail(err, ELM_MALFORMED, "graph '%s': node '%s' reads value %u of %u",
                            g->name, node->name, id, g->n_values);
        }
        if (g->values[id].kind == ELM_VALUE_NODE && g->values[id].index >= n) {
            return elm_fail(err, ELM_MALFORMED,
                            "graph '%s': node '%s' reads '%s' before it is computed", g->name,
                            node->name, g->values[id].name);
        }
    }
    bool has_output = node->output != ELM_NO_VALUE;
    if (has_output != (info->n_outputs > 0) || (has_output && node->output >= g->n_values) ||
        (has_output &&
         (g->values[node->output].kind != ELM_VALUE_NODE || g->values[node->output].index != n))) {
        return elm_fail(err, ELM_MALFORMED,
                        "graph '%s': node '%s' and its output do not belong together", g->name,
                        node->name);
    }
    ELM_TRY(elm_node_infer(m, g, node, &n_dims, dims, err));
    ELM_TRY(check_layouts(g, node, tensors, err));
    if (!has_output) return ELM_OK;
    const elm_value *out = &g->values[node->output];
    if (out->n_dims != n_dims || memcmp(out->dims, dims, n_dims * sizeof dims[0]) != 0) {
        return elm_fail(err, ELM_MALFORMED,
                        "graph '%s': the output of node '%s' has another shape than it computes",
                        g->name, node->name);
    }
    return ELM_OK;
}

static elm_status check_hidden(const elm_graph *g, elm_error *err) {
    if (g->hidden == ELM_NO_VALUE) return ELM_OK;
    bool rows = g->hidden < g->n_values && g->values[g->hidden].kind == ELM_VALUE_NODE &&
                g->values[g->hidden].n_dims == 2 && g->values[g->hidden].dims[0] == ELM_DIM_T;
    if (rows) return ELM_OK;
    return elm_fail(err, ELM_MALFORMED, "graph '%s': its hidden rows are not [T][H] of a node",
                    g->name);
}

elm_status elm_module_validate(const elm_module *m, const elm_tensor *tensors, uint32_t n_tensors,
                               elm_error *err) {
    if (m->n_states > ELM_MAX_STATES || m->n_graphs > ELM_MAX_GRAPHS) {
        return elm_fail(err, ELM_MALFORMED, "%u states and %u graphs; at most %d and %d",
                        m->n_states, m->n_graphs, ELM_MAX_STATES, ELM_MAX_GRAPHS);
    }
    for (uint32_t s = 0; s < m->n_states; s++) ELM_TRY(check_state(&m->states[s], s, err));
    for (uint32_t i = 0; i < m->n_graphs; i++) {
        const elm_graph *g = &m->graphs[i];
        if (g->n_values > ELM_MAX_VALUES || g->n_nodes > ELM_MAX_NODES) {
            return elm_fail(err, ELM_MALFORMED,
                            "graph '%s': %u values and %u nodes; at most %d and %d", g->name,
                            g->n_values, g->n_nodes, ELM_MAX_VALUES, ELM_MAX_NODES);
        }
        for (uint32_t k = 0; k < i; k++) {
            if (strcmp(g->name, m->graphs[k].name) == 0) {
                return elm_fail(err, ELM_MALFORMED, "two graphs are called '%s'", g->name);
            }
        }
        for (uint32_t v = 0; v < g->n_values; v++)
            ELM_TRY(check_value(m, g, v, tensors, n_tensors, err));
        for (uint32_t n = 0; n < g->n_nodes; n++) ELM_TRY(check_node(m, g, n, tensors, err));
        if (g->output >= g->n_values || g->values[g->output].kind != ELM_VALUE_NODE) {
            return elm_fail(err, ELM_MALFORMED,
                            "graph '%s': its output is not the result of a node", g->name);
        }
        ELM_TRY(check_hidden(g, err));
    }
    return ELM_OK;
}
