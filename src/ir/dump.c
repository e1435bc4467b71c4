/* dump.c - a module as text, a line a node; ir. */
#include "ir/graph.h"

static void dump_dims(const elm_value *v, elm_buf *out) {
    static const char symbols[] = "?TSRP";
    for (uint32_t d = 0; d < v->n_dims; d++) {
        elm_dim dim = v->dims[d];
        if (dim < 0 && dim >= ELM_DIM_P)
            elm_buf_printf(out, "[%c]", symbols[-dim]);
        else
            elm_buf_printf(out, "[%d]", dim);
    }
}

static void dump_operand(const elm_graph *g, elm_value_id id, const elm_tensor *tensors,
                         uint32_t n_tensors, elm_buf *out) {
    static const char *const inputs[] = {"tokens", "positions", "rows", "hidden"};
    const elm_value *v = &g->values[id];
    switch (v->kind) {
    case ELM_VALUE_INPUT:
        elm_buf_str(out, v->index < ELM_N_INPUTS ? inputs[v->index] : "?");
        return;
    case ELM_VALUE_STATE:
        elm_buf_printf(out, "@%s", v->name);
        return;
    case ELM_VALUE_NODE:
        elm_buf_printf(out, "%%%u", id);
        return;
    case ELM_VALUE_WEIGHT:
        break;
    }
    elm_buf_printf(out, "%s:%s", v->name, elm_dtype_get(v->dtype)->text);
    if (tensors && v->index < n_tensors && tensors[v->index].group) {
        elm_buf_printf(out, "/%u", tensors[v->index].group);
    }
    dump_dims(v, out);
}

static void dump_attr_F(elm_buf *out, const char *name, float value) {
    elm_buf_printf(out, " %s=%.9g", name, (double)value);
}
static void dump_attr_I(elm_buf *out, const char *name, int32_t value) {
    elm_buf_printf(out, " %s=%d", name, value);
}

static void dump_node(const elm_graph *g, const elm_node *node, const elm_tensor *tensors,
                      uint32_t n_tensors, elm_buf *out) {
    const elm_op_info *info = elm_op_get(node->op);
    elm_buf_str(out, "  ");
    if (node->output != ELM_NO_VALUE) {
        elm_buf_printf(out, "%%%u", node->output);
        dump_dims(&g->values[node->output], out);
        elm_buf_str(out, " = ");
    }
    elm_buf_printf(out, "%s(", info->text);
    for (uint32_t i = 0; i < node->n_inputs; i++) {
        if (i > 0) elm_buf_str(out, ", ");
        dump_operand(g, node->inputs[i], tensors, n_tensors, out);
    }
    elm_buf_str(out, ")");
#define X(name, number, kind, def, text) \
    if (info->attr_mask >> number & 1) dump_attr_##kind(out, #name, node->attrs.name);
#include "ir/attr.def"
#undef X
    elm_buf_printf(out, "  # %s\n", node->name);
}

void elm_module_dump(const elm_module *m, const elm_tensor *tensors, uint32_t n_tensors,
                     elm_buf *out) {
    for (uint32_t s = 0; s < m->n_states; s++) {
        const elm_state *state = &m->states[s];
        elm_buf_printf(out, "state @%s %s layer=%u heads=%u k_dim=%u v_dim=%u window=%u\n",
                       state->name, elm_state_kind_text(state->kind), state->layer, state->n_heads,
                       state->k_dim, state->v_dim, state->window);
    }
    for (uint32_t i = 0; i < m->n_graphs; i++) {
        const elm_graph *g = &m->graphs[i];
        elm_buf_printf(out, "graph %s\n", g->name);
        for (uint32_t n = 0; n < g->n_nodes; n++)
            dump_node(g, &g->nodes[n], tensors, n_tensors, out);
        elm_buf_printf(out, "  output %%%u\n", g->output);
        if (g->hidden != ELM_NO_VALUE) elm_buf_printf(out, "  hidden %%%u\n", g->hidden);
    }
}
