/* build.c - graph building with latched errors; ir. */
#include "ir/build.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { FIRST_CAPACITY = 256, MAX_NAME = 200 };

static void fail(elm_builder *b, elm_status status) {
    if (b->status == ELM_OK) b->status = status;
}

/* Doubles an arena array; the old one stays in the arena until the end. */
static bool grow(elm_builder *b, void *array_ptr, uint32_t n, uint32_t *capacity, size_t size,
                 uint32_t max) {
    void *old, *larger;
    if (b->status != ELM_OK) return false;
    if (n < *capacity) return true;
    uint32_t wanted = *capacity ? *capacity * 2 : FIRST_CAPACITY;
    if (n >= max) {
        fail(b, elm_fail(&b->error, ELM_LIMIT, "the graph has more than %u items", max));
        return false;
    }
    larger = elm_arena_array(b->arena, wanted, size);
    if (!larger) {
        fail(b, elm_fail_oom(&b->error, wanted * size, "the graph"));
        return false;
    }
    memcpy(&old, array_ptr, sizeof old);
    if (n > 0) memcpy(larger, old, n * size);
    memcpy(array_ptr, &larger, sizeof larger);
    *capacity = wanted;
    return true;
}

elm_status elm_builder_init(elm_builder *b, elm_arena *arena, const char *graph_name,
                            elm_error *err) {
    memset(b, 0, sizeof *b);
    b->arena = arena;
    b->module = elm_arena_array(arena, 1, sizeof *b->module);
    elm_graph *graphs = elm_arena_array(arena, ELM_MAX_GRAPHS, sizeof *graphs);
    if (!b->module || !graphs) return elm_fail_oom(err, sizeof *b->module, "the graph");
    b->module->graphs = graphs;
    elm_builder_next_graph(b, graph_name);
    if (b->status != ELM_OK && err) *err = b->error;
    return b->status;
}

void elm_builder_next_graph(elm_builder *b, const char *graph_name) {
    elm_module *m = b->module;
    char *name = elm_arena_string(b->arena, elm_span_str(graph_name));
    if (!name) {
        fail(b, elm_fail_oom(&b->error, strlen(graph_name), "a name"));
        return;
    }
    if (m->n_graphs == ELM_MAX_GRAPHS) {
        fail(b, elm_fail(&b->error, ELM_LIMIT, "more than %d graphs", ELM_MAX_GRAPHS));
        return;
    }
    b->graph = &m->graphs[m->n_graphs++];
    b->graph->name = name;
    b->graph->output = b->graph->hidden = ELM_NO_VALUE;
    b->scope = NULL;
}

void elm_builder_scope(elm_builder *b, const char *fmt, ...) {
    char text[MAX_NAME];
    b->scope = NULL;
    if (!fmt) return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    b->scope = elm_arena_string(b->arena, elm_span_str(text));
    if (!b->scope) fail(b, elm_fail_oom(&b->error, strlen(text), "a name"));
}

static const char *scoped(elm_builder *b, const char *name) {
    char *text =
        elm_arena_printf(b->arena, b->scope ? "%s.%s" : "%s%s", b->scope ? b->scope : "", name);
    if (!text) fail(b, elm_fail_oom(&b->error, MAX_NAME, "a name"));
    return text ? text : "";
}

static elm_value_id add_value(elm_builder *b, const elm_value *value) {
    elm_graph *g = b->graph;
    if (!grow(b, &g->values, g->n_values, &g->values_capacity, sizeof *g->values, ELM_MAX_VALUES))
        return ELM_NO_VALUE;
    g->values[g->n_values] = *value;
    return g->n_values++;
}

/* The value of that kind and index that is there already. */
static elm_value_id find(const elm_builder *b, elm_value_kind kind, uint32_t index) {
    for (uint32_t v = 0; v < b->graph->n_values; v++) {
        if (b->graph->values[v].kind == kind && b->graph->values[v].index == index) return v;
    }
    return ELM_NO_VALUE;
}

elm_value_id elm_build_input(elm_builder *b, elm_input input) {
    static const char *const names[ELM_INPUT_HIDDEN] = {"tokens", "positions", "rows"};
    elm_value_id there = find(b, ELM_VALUE_INPUT, input);
    if (there != ELM_NO_VALUE) return there;
    elm_value value = {.name = names[input],
                       .kind = ELM_VALUE_INPUT,
                       .dtype = ELM_I32,
                       .index = input,
                       .n_dims = 1};
    value.dims[0] = input == ELM_INPUT_ROWS ? ELM_DIM_R : ELM_DIM_T;
    return add_value(b, &value);
}

elm_value_id elm_build_hidden_input(elm_builder *b, uint32_t n) {
    elm_value value = {.name = "hidden",
                       .kind = ELM_VALUE_INPUT,
                       .dtype = ELM_F32,
                       .index = ELM_INPUT_HIDDEN,
                       .n_dims = 2};
    value.dims[0] = ELM_DIM_T;
    value.dims[1] = (elm_dim)n;
    return add_value(b, &value);
}

elm_value_id elm_build_weight(elm_builder *b, uint32_t tensor_index, const char *name,
                              elm_dtype dtype, uint32_t n_dims, const uint32_t *dims) {
    elm_value_id there = find(b, ELM_VALUE_WEIGHT, tensor_index);
    if (there != ELM_NO_VALUE) return there;
    elm_value value = {.name = name,
                       .kind = ELM_VALUE_WEIGHT,
                       .dtype = dtype,
                       .index = tensor_index,
                       .n_dims = n_dims};
    for (uint32_t d = 0; d < n_dims && d < ELM_MAX_DIMS; d++) value.dims[d] = (elm_dim)dims[d];
    return add_value(b, &value);
}

elm_value_id elm_build_state(elm_builder *b, elm_state_kind kind, uint32_t layer, uint32_t n_heads,
                             uint32_t k_dim, uint32_t v_dim, uint32_t window) {
    elm_module *m = b->module;
    if (!grow(b, &m->states, m->n_states, &m->states_capacity, sizeof *m->states, ELM_MAX_STATES))
        return ELM_NO_VALUE;
    const char *name = elm_arena_printf(b->arena, "%s.%u", elm_state_kind_text(kind), layer);
    if (!name) {
        fail(b, elm_fail_oom(&b->error, 16, "a name"));
        return ELM_NO_VALUE;
    }
    m->states[m->n_states] = (elm_state){name, kind, layer, n_heads, k_dim, v_dim, window};
    elm_value value = {
        .name = name, .kind = ELM_VALUE_STATE, .dtype = ELM_F32, .index = m->n_states++};
    return add_value(b, &value);
}

/* Adds a node; `shape` (may be NULL) is the wanted output shape of a reshape. */
static elm_value_id add_node(elm_builder *b, elm_op op, const char *name, uint32_t n_inputs,
                             const elm_value_id *inputs, elm_attrs attrs, const elm_value *shape) {
    elm_graph *g = b->graph;
    elm_value_id output = ELM_NO_VALUE;
    if (b->status != ELM_OK) return ELM_NO_VALUE;
    elm_node node = {.op = op,
                     .name = scoped(b, name),
                     .n_inputs = n_inputs,
                     .output = ELM_NO_VALUE,
                     .attrs = attrs};
    for (uint32_t i = 0; i < n_inputs; i++) node.inputs[i] = inputs[i];
    if (!grow(b, &g->nodes, g->n_nodes, &g->nodes_capacity, sizeof *g->nodes, ELM_MAX_NODES))
        return ELM_NO_VALUE;
    if (elm_op_get(op)->n_outputs > 0) {
        elm_value value = shape ? *shape : (elm_value){0};
        value.name = node.name;
        value.kind = ELM_VALUE_NODE;
        value.dtype = ELM_F32;
        value.index = g->n_nodes;
        output = add_value(b, &value);
        if (output == ELM_NO_VALUE) return output;
        node.output = output;
    }
    uint32_t n_dims;
    elm_dim dims[ELM_MAX_DIMS];
    elm_status status = elm_node_infer(b->module, g, &node, &n_dims, dims, &b->error);
    if (status != ELM_OK) {
        fail(b, status);
        return ELM_NO_VALUE;
    }
    if (output != ELM_NO_VALUE) {
        g->values[output].n_dims = n_dims;
        memcpy(g->values[output].dims, dims, sizeof dims);
    }
    g->nodes[g->n_nodes++] = node;
    return output;
}

elm_value_id elm_build_embedding(elm_builder *b, elm_value_id ids, elm_value_id table,
                                 float scale) {
    elm_attrs attrs = elm_attrs_default();
    attrs.scale = scale;
    return add_node(b, ELM_OP_EMBEDDING, "embedding", 2, (elm_value_id[]){ids, table}, attrs, NULL);
}

elm_value_id elm_build_linear(elm_builder *b, const char *name, elm_value_id x, elm_value_id weight,
                              elm_value_id bias, int32_t act_quant) {
    elm_attrs attrs = elm_attrs_default();
    attrs.act_quant = act_quant;
    return add_node(b, ELM_OP_LINEAR, name, bias == ELM_NO_VALUE ? 2 : 3,
                    (elm_value_id[]){x, weight, bias}, attrs, NULL);
}

elm_value_id elm_build_rms_norm(elm_builder *b, const char *name, elm_value_id x,
                                elm_value_id weight, float eps) {
    elm_attrs attrs = elm_attrs_default();
    attrs.eps = eps;
    return add_node(b, ELM_OP_RMS_NORM, name, weight == ELM_NO_VALUE ? 1 : 2,
                    (elm_value_id[]){x, weight}, attrs, NULL);
}

elm_value_id elm_build_rope(elm_builder *b, const char *name, elm_value_id x,
                            elm_value_id positions, elm_value_id inv_freq, int32_t pair_stride,
                            float scale) {
    elm_attrs attrs = elm_attrs_default();
    attrs.pair_stride = pair_stride;
    attrs.scale = scale;
    return add_node(b, ELM_OP_ROPE, name, 3, (elm_value_id[]){x, positions, inv_freq}, attrs, NULL);
}

void elm_build_kv_write(elm_builder *b, elm_value_id k, elm_value_id v, elm_value_id state) {
    (void)add_node(b, ELM_OP_KV_WRITE, "kv_write", 3, (elm_value_id[]){k, v, state},
                   elm_attrs_default(), NULL);
}

elm_value_id elm_build_attention(elm_builder *b, elm_value_id q, elm_value_id state, float scale,
                                 int32_t window, float softcap) {
    elm_attrs attrs = elm_attrs_default();
    attrs.scale = scale;
    attrs.window = window;
    attrs.softcap = softcap;
    return add_node(b, ELM_OP_ATTENTION, "attention", 2, (elm_value_id[]){q, state}, attrs, NULL);
}

elm_value_id elm_build_glu(elm_builder *b, elm_value_id gate, elm_value_id up, int32_t activation) {
    elm_attrs attrs = elm_attrs_default();
    attrs.activation = activation;
    return add_node(b, ELM_OP_GLU, "glu", up == ELM_NO_VALUE ? 1 : 2, (elm_value_id[]){gate, up},
                    attrs, NULL);
}

elm_value_id elm_build_add(elm_builder *b, const char *name, elm_value_id a, elm_value_id c) {
    return add_node(b, ELM_OP_ADD, name, 2, (elm_value_id[]){a, c}, elm_attrs_default(), NULL);
}

elm_value_id elm_build_slice(elm_builder *b, const char *name, elm_value_id x, int32_t start,
                             int32_t length) {
    elm_attrs attrs = elm_attrs_default();
    attrs.start = start;
    attrs.length = length;
    return add_node(b, ELM_OP_SLICE, name, 1, &x, attrs, NULL);
}

elm_value_id elm_build_reshape(elm_builder *b, const char *name, elm_value_id x, uint32_t n_dims,
                               const elm_dim *dims) {
    elm_value shape = {.n_dims = n_dims};
    for (uint32_t d = 0; d < n_dims && d < ELM_MAX_DIMS; d++) shape.dims[d] = dims[d];
    return add_node(b, ELM_OP_RESHAPE, name, 1, &x, elm_attrs_default(), &shape);
}

elm_value_id elm_build_gather_rows(elm_builder *b, elm_value_id x, elm_value_id rows) {
    return add_node(b, ELM_OP_GATHER_ROWS, "gather_rows", 2, (elm_value_id[]){x, rows},
                    elm_attrs_default(), NULL);
}

elm_value_id elm_build_concat(elm_builder *b, const char *name, elm_value_id x, elm_value_id y) {
    return add_node(b, ELM_OP_CONCAT, name, 2, (elm_value_id[]){x, y}, elm_attrs_default(), NULL);
}

elm_value_id elm_build_mul(elm_builder *b, const char *name, elm_value_id x, elm_value_id factor) {
    return add_node(b, ELM_OP_MUL, name, 2, (elm_value_id[]){x, factor}, elm_attrs_default(), NULL);
}

elm_value_id elm_build_softcap(elm_builder *b, const char *name, elm_value_id x, float softcap) {
    elm_attrs attrs = elm_attrs_default();
    attrs.softcap = softcap;
    return add_node(b, ELM_OP_SOFTCAP, name, 1, &x, attrs, NULL);
}

elm_value_id elm_build_load_hidden(elm_builder *b, elm_value_id input) {
    return add_node(b, ELM_OP_LOAD_HIDDEN, "load_hidden", 1, &input, elm_attrs_default(), NULL);
}

elm_value_id elm_build_causal_conv1d(elm_builder *b, const char *name, elm_value_id x,
                                     elm_value_id taps, elm_value_id state, int32_t activation) {
    elm_attrs attrs = elm_attrs_default();
    attrs.activation = activation;
    return add_node(b, ELM_OP_CAUSAL_CONV1D, name, 3, (elm_value_id[]){x, taps, state}, attrs,
                    NULL);
}

elm_value_id elm_build_gated_delta_net(elm_builder *g, const char *name, elm_value_id m,
                                       elm_value_id b, elm_value_id a, elm_value_id decay_rate,
                                       elm_value_id dt_bias, elm_value_id state, float scale,
                                       float eps) {
    elm_attrs attrs = elm_attrs_default();
    attrs.scale = scale;
    attrs.eps = eps;
    return add_node(g, ELM_OP_GATED_DELTA_NET, name, 6,
                    (elm_value_id[]){m, b, a, decay_rate, dt_bias, state}, attrs, NULL);
}

elm_value_id elm_build_moe(elm_builder *b, const char *name, elm_value_id x, elm_value_id logits,
                           const elm_moe_weights *w) {
    elm_attrs attrs = elm_attrs_default();
    attrs.act_quant = w->act_quant;
    attrs.activation = w->activation;
    attrs.top_k = (int32_t)w->top_k;
    attrs.renormalise = w->renormalise;
    return add_node(b, ELM_OP_MOE, name, w->expert_scale == ELM_NO_VALUE ? 4 : 5,
                    (elm_value_id[]){x, logits, w->gate_up, w->down, w->expert_scale}, attrs, NULL);
}

bool elm_builder_is_r(const elm_builder *b, elm_value_id value) {
    return b->status == ELM_OK && b->graph->values[value].dims[0] == ELM_DIM_R;
}

elm_status elm_builder_finish(elm_builder *b, elm_value_id output, elm_value_id hidden,
                              elm_error *err) {
    if (b->status != ELM_OK) {
        if (err) *err = b->error;
        return b->status;
    }
    b->graph->output = output;
    b->graph->hidden = hidden;
    return elm_module_validate(b->module, NULL, 0, err);
}
