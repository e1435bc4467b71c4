/* serial.c - the GRAPH section, written and read; ir. Layout: docs/elm-format-graph.md. All
 * little-endian.
 *
 *   u32 version  u32 n_states  u32 n_graphs
 *   state:  name  u32 kind layer n_heads k_dim v_dim window
 *   graph:  name  u32 n_values n_nodes output hidden  values  nodes
 *   value:  name  u8 kind dtype n_dims 0  u32 index  i32 dims[n_dims]
 *   node:   name  u32 op  u8 n_inputs n_attrs 0 0  u32 inputs[]  u32 output  attrs[]
 *   attr:   u32 number, 4 bytes
 *   name:   u16 bytes, then that many bytes of UTF-8 */
#include "base/utf8.h"
#include "ir/graph.h"

#include <string.h>

enum { GRAPH_VERSION = 2, MAX_NAME_BYTES = 512 };

/* ---- writing ---- */

static void write_name(elm_buf *out, const char *name) {
    size_t n = strlen(name);
    if (n > MAX_NAME_BYTES) n = MAX_NAME_BYTES;
    elm_buf_u16(out, (uint16_t)n);
    elm_buf_append(out, name, n);
}

static void write_attr_F(elm_buf *out, float value) {
    elm_buf_f32(out, value);
}
static void write_attr_I(elm_buf *out, int32_t value) {
    elm_buf_u32(out, (uint32_t)value);
}

static void write_node(elm_buf *out, const elm_node *node) {
    uint32_t mask = elm_op_get(node->op)->attr_mask;
    write_name(out, node->name);
    elm_buf_u32(out, node->op);
    elm_buf_u8(out, (uint8_t)node->n_inputs);
    elm_buf_u8(out, (uint8_t)__builtin_popcount(mask));
    elm_buf_u16(out, 0);
    for (uint32_t i = 0; i < node->n_inputs; i++) elm_buf_u32(out, node->inputs[i]);
    elm_buf_u32(out, node->output);
#define X(name, number, kind, def, text)          \
    if (mask >> number & 1) {                     \
        elm_buf_u32(out, number);                 \
        write_attr_##kind(out, node->attrs.name); \
    }
#include "ir/attr.def"
#undef X
}

void elm_module_write(const elm_module *m, elm_buf *out) {
    elm_buf_u32(out, GRAPH_VERSION);
    elm_buf_u32(out, m->n_states);
    elm_buf_u32(out, m->n_graphs);
    for (uint32_t s = 0; s < m->n_states; s++) {
        const elm_state *state = &m->states[s];
        write_name(out, state->name);
        const uint32_t fields[] = {state->kind,  state->layer, state->n_heads,
                                   state->k_dim, state->v_dim, state->window};
        for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) elm_buf_u32(out, fields[i]);
    }
    for (uint32_t i = 0; i < m->n_graphs; i++) {
        const elm_graph *g = &m->graphs[i];
        write_name(out, g->name);
        elm_buf_u32(out, g->n_values);
        elm_buf_u32(out, g->n_nodes);
        elm_buf_u32(out, g->output);
        elm_buf_u32(out, g->hidden);
        for (uint32_t v = 0; v < g->n_values; v++) {
            const elm_value *value = &g->values[v];
            write_name(out, value->name);
            elm_buf_u8(out, (uint8_t)value->kind);
            elm_buf_u8(out, (uint8_t)value->dtype);
            elm_buf_u8(out, (uint8_t)value->n_dims);
            elm_buf_u8(out, 0);
            elm_buf_u32(out, value->index);
            for (uint32_t d = 0; d < value->n_dims; d++) elm_buf_u32(out, (uint32_t)value->dims[d]);
        }
        for (uint32_t n = 0; n < g->n_nodes; n++) write_node(out, &g->nodes[n]);
    }
}

/* ---- reading ---- */

typedef struct source {
    elm_reader r;
    elm_arena *arena;
    elm_error *err;
} source;

static elm_status damaged(const source *s, const char *what) {
    return elm_fail(s->err, ELM_MALFORMED, "graph section: %s at byte %zu of %zu", what, s->r.pos,
                    s->r.span.size);
}

static elm_status read_name(source *s, const char **out) {
    uint16_t n = elm_read_u16(&s->r);
    const uint8_t *text = n <= MAX_NAME_BYTES ? elm_read_bytes(&s->r, n) : NULL;
    *out = "";
    bool control = false; /* a name is printed */
    for (size_t i = 0; text && i < n; i++) control = control || text[i] < 0x20 || text[i] == 0x7f;
    if (!text || control || elm_utf8_valid_prefix(elm_span_of(text, n)) != n)
        return damaged(s, "a bad name");
    *out = elm_arena_string(s->arena, elm_span_of(text, n));
    return *out ? ELM_OK : elm_fail_oom(s->err, n, "a name");
}

/* Room for `count` items of which each takes at least `least` bytes in the section. */
static elm_status room(source *s, uint32_t count, uint32_t max, size_t least, size_t size,
                       void *out_ptr) {
    void *items = NULL;
    if (s->r.failed || count > max || (uint64_t)count * least > elm_reader_left(&s->r)) {
        return damaged(s, "an impossible count");
    }
    items = elm_arena_array(s->arena, count, size);
    memcpy(out_ptr, &items, sizeof items);
    return items ? ELM_OK : elm_fail_oom(s->err, count * size, "the graph");
}

static elm_status read_value(source *s, elm_value *value) {
    ELM_TRY(read_name(s, &value->name));
    uint8_t kind = elm_read_u8(&s->r), dtype = elm_read_u8(&s->r), n_dims = elm_read_u8(&s->r);
    uint8_t zero = elm_read_u8(&s->r);
    if (kind > ELM_VALUE_NODE || !elm_dtype_get(dtype) || n_dims > ELM_MAX_DIMS || zero != 0) {
        return damaged(s, "a bad value");
    }
    value->kind = (elm_value_kind)kind;
    value->dtype = (elm_dtype)dtype;
    value->n_dims = n_dims;
    value->index = elm_read_u32(&s->r);
    for (uint32_t d = 0; d < n_dims; d++) value->dims[d] = elm_read_i32(&s->r);
    return s->r.failed ? damaged(s, "a cut value") : ELM_OK;
}

static float read_attr_F(elm_reader *r) {
    return elm_read_f32(r);
}
static int32_t read_attr_I(elm_reader *r) {
    return elm_read_i32(r);
}

/* Numbers ascend: an attribute that stands twice would have two values. `below`: where they go on.
 */
static elm_status read_attr(source *s, elm_node *node, uint32_t mask, uint32_t *below) {
    uint32_t number = elm_read_u32(&s->r);
    if (number >= 32 || !(mask >> number & 1))
        return damaged(s, "an attribute that the operation does not have");
    if (number < *below) return damaged(s, "an attribute out of order");
    *below = number + 1;
    switch (number) {
#define X(name, number, kind, def, text)            \
    case number:                                    \
        node->attrs.name = read_attr_##kind(&s->r); \
        break;
#include "ir/attr.def"
#undef X
    default: /* a bit of a mask is an attribute of the list */
        break;
    }
    return ELM_OK;
}

static elm_status read_node(source *s, elm_node *node) {
    ELM_TRY(read_name(s, &node->name));
    uint32_t op = elm_read_u32(&s->r);
    uint8_t n_inputs = elm_read_u8(&s->r), n_attrs = elm_read_u8(&s->r);
    uint16_t zero = elm_read_u16(&s->r);
    const elm_op_info *info = elm_op_get(op);
    if (s->r.failed || n_inputs > ELM_MAX_NODE_INPUTS || zero != 0) return damaged(s, "a bad node");
    if (!info) {
        return elm_fail(s->err, ELM_UNSUPPORTED,
                        "node '%s' has operation %u, which this version does not know", node->name,
                        op);
    }
    node->op = (elm_op)op;
    node->n_inputs = n_inputs;
    node->attrs = elm_attrs_default();
    for (uint32_t i = 0; i < n_inputs; i++) node->inputs[i] = elm_read_u32(&s->r);
    node->output = elm_read_u32(&s->r);
    for (uint32_t i = 0, below = 0; i < n_attrs; i++)
        ELM_TRY(read_attr(s, node, info->attr_mask, &below));
    return s->r.failed ? damaged(s, "a cut node") : ELM_OK;
}

static elm_status read_graph(source *s, elm_graph *g) {
    ELM_TRY(read_name(s, &g->name));
    g->n_values = elm_read_u32(&s->r);
    g->n_nodes = elm_read_u32(&s->r);
    g->output = elm_read_u32(&s->r);
    g->hidden = elm_read_u32(&s->r);
    ELM_TRY(room(s, g->n_values, ELM_MAX_VALUES, 10, sizeof *g->values, &g->values));
    for (uint32_t v = 0; v < g->n_values; v++) ELM_TRY(read_value(s, &g->values[v]));
    ELM_TRY(room(s, g->n_nodes, ELM_MAX_NODES, 14, sizeof *g->nodes, &g->nodes));
    for (uint32_t n = 0; n < g->n_nodes; n++) ELM_TRY(read_node(s, &g->nodes[n]));
    return ELM_OK;
}

static elm_status read_state(source *s, elm_state *state) {
    ELM_TRY(read_name(s, &state->name));
    uint32_t kind = elm_read_u32(&s->r);
    if (kind >= ELM_N_STATE_KINDS) return damaged(s, "an unknown kind of state");
    state->kind = (elm_state_kind)kind;
    state->layer = elm_read_u32(&s->r);
    state->n_heads = elm_read_u32(&s->r);
    state->k_dim = elm_read_u32(&s->r);
    state->v_dim = elm_read_u32(&s->r);
    state->window = elm_read_u32(&s->r);
    return s->r.failed ? damaged(s, "a cut state") : ELM_OK;
}

elm_status elm_module_read(elm_span section, elm_arena *arena, elm_module **out, elm_error *err) {
    source s = {elm_reader_of(section), arena, err};
    *out = NULL;
    uint32_t version = elm_read_u32(&s.r);
    if (!s.r.failed && version != GRAPH_VERSION) {
        return elm_fail(
            err, ELM_UNSUPPORTED, "the graph section has version %u; this program reads %d: %s",
            version, GRAPH_VERSION,
            version < GRAPH_VERSION ? "convert the model again" : "it needs a newer edge-llm");
    }
    elm_module *m = elm_arena_array(arena, 1, sizeof *m);
    if (!m) return elm_fail_oom(err, sizeof *m, "the graph");
    m->n_states = elm_read_u32(&s.r);
    m->n_graphs = elm_read_u32(&s.r);
    ELM_TRY(room(&s, m->n_states, ELM_MAX_STATES, 26, sizeof *m->states, &m->states));
    for (uint32_t i = 0; i < m->n_states; i++) ELM_TRY(read_state(&s, &m->states[i]));
    ELM_TRY(room(&s, m->n_graphs, ELM_MAX_GRAPHS, 18, sizeof *m->graphs, &m->graphs));
    for (uint32_t i = 0; i < m->n_graphs; i++) ELM_TRY(read_graph(&s, &m->graphs[i]));
    if (elm_reader_left(&s.r) != 0) return damaged(&s, "bytes behind the last graph");
    *out = m;
    return ELM_OK;
}
