/* graph.h - the one graph IR: what convert builds, the file holds, the partitioner cuts and
 * backends run.
 *
 * A module is what a file holds: the state variables, and one or more graphs that use them. A graph
 * is a list of values in single assignment and a list of nodes in execution order. Order matters
 * for state: a node that reads a state sees what earlier nodes wrote. Every node output is float32
 * [T or R rows][...].
 *
 *   module -- states[]  kv.0 kv.1 ...          owned by the file, imported by any graph
 *          `- graphs[]  "text": values[]       inputs, weights, states, node outputs
 *                               nodes[]        op, inputs -> outputs, attributes
 *                               output         the value that the graph is run for: logits [R][V]
 *                               hidden         what a draft graph continues from, or none
 *
 * A value whose first dimension is T has one row for every token of the step; row r of a value
 * whose first dimension is R belongs to token rows[r]. Position and place in the sequence follow
 * from that. */
#ifndef ELM_IR_GRAPH_H
#define ELM_IR_GRAPH_H

#include "base/arena.h"
#include "base/buf.h"
#include "ir/dtype.h"

typedef enum elm_op {
#define X(name, number, text, min_in, max_in, n_out, attrs) ELM_OP_##name = number,
#include "ir/op.def"
#undef X
} elm_op;

typedef enum elm_attr {
#define X(name, number, kind, def, text) ELM_ATTR_##name = number,
#include "ir/attr.def"
#undef X
} elm_attr;

/* All attributes of a node; those that its operation does not read keep their defaults. */
typedef struct elm_attrs {
#define ELM_ATTR_TYPE_F float
#define ELM_ATTR_TYPE_I int32_t
#define X(name, number, kind, def, text) ELM_ATTR_TYPE_##kind name;
#include "ir/attr.def"
#undef X
} elm_attrs;

elm_attrs elm_attrs_default(void);

enum { ELM_ACT_QUANT_NONE = 0, ELM_ACT_QUANT_I8 = 1 };
enum { ELM_SILU = 0, ELM_GELU_TANH = 1, ELM_GELU_ERF = 2, ELM_SIGMOID = 3, ELM_N_ACTIVATIONS };

typedef struct elm_op_info {
    const char *text;
    uint8_t min_inputs, max_inputs, n_outputs;
    uint32_t attr_mask; /* bit (1 << attribute number) */
} elm_op_info;

const elm_op_info *elm_op_get(uint32_t op); /* NULL when the number is not in op.def */
const char *elm_attr_text(uint32_t attr);   /* NULL when the number is not in attr.def */

/* A dimension: a positive number, or a symbol that is bound for each step. */
typedef int32_t elm_dim;
enum {
    ELM_DIM_T = -1, /* tokens of this step */
    ELM_DIM_S = -2, /* positions before this step */
    ELM_DIM_R = -3, /* rows whose output is wanted */
    ELM_DIM_P = -4, /* image patches */
};

typedef enum elm_value_kind {
    ELM_VALUE_INPUT = 0,  /* index: elm_input */
    ELM_VALUE_WEIGHT = 1, /* index: into the TENSORS section */
    ELM_VALUE_STATE = 2,  /* index: into module->states */
    ELM_VALUE_NODE = 3,   /* index: into graph->nodes */
} elm_value_kind;

/* What the runtime hands in with every step. Numbers are part of the file format. */
typedef enum elm_input {
    ELM_INPUT_TOKENS = 0,    /* i32 [T] */
    ELM_INPUT_POSITIONS = 1, /* i32 [T] */
    ELM_INPUT_ROWS = 2,      /* i32 [R]: rows of this step whose output is wanted, ascending */
    ELM_INPUT_HIDDEN = 3,    /* f32 [T][H]: `hidden` rows of another graph, for a draft */
    ELM_N_INPUTS
} elm_input;

typedef uint32_t elm_value_id;
#define ELM_NO_VALUE UINT32_MAX

typedef struct elm_value {
    const char *name; /* unique in its graph */
    elm_value_kind kind;
    elm_dtype dtype; /* of node outputs and hidden rows F32; of weights as stored; else I32 */
    uint32_t index;
    uint32_t n_dims;
    elm_dim dims[ELM_MAX_DIMS];
} elm_value;

enum { ELM_MAX_NODE_INPUTS = 6, ELM_MAX_TOP_K = 64 };

typedef struct elm_node {
    elm_op op;
    const char *name; /* "layers.3.attn.qkv": place in the model, for plans and messages */
    uint32_t n_inputs;
    elm_value_id inputs[ELM_MAX_NODE_INPUTS];
    elm_value_id output; /* ELM_NO_VALUE when the operation has none */
    elm_attrs attrs;
} elm_node;

/* Kinds of state variables. Numbers are part of the file format.
 *
 *   KV         two planes K and V, [n_heads][capacity][k_dim or v_dim], whose capacity is the
 * session's context, or window + slack when `window` is not 0 and the ring may be used RECURRENT
 * f32 [n_heads][k_dim][v_dim], changed by every token (gated_delta_net) CONV       f32
 * [k_dim][v_dim], n_heads = 1: the last k_dim inputs of v_dim channels, oldest first
 *
 * RECURRENT and CONV are all zero before position 0. They cannot be rewound by forgetting
 * positions: backend.h has held steps for drafts, the runtime snapshots for the rest. */
typedef enum elm_state_kind {
    ELM_STATE_KV = 0,
    ELM_STATE_RECURRENT = 1,
    ELM_STATE_CONV = 2,
    ELM_N_STATE_KINDS
} elm_state_kind;

typedef struct elm_state {
    const char *name;
    elm_state_kind kind;
    uint32_t layer; /* the layer that writes it */
    uint32_t n_heads, k_dim, v_dim;
    uint32_t window; /* KV: largest window that reads it; 0 = everything is read */
} elm_state;

const char *elm_state_kind_text(elm_state_kind kind); /* "kv" */

/* Floats of a RECURRENT or CONV state; 0 for KV. Products are checked by validation. */
static inline size_t elm_state_floats(const elm_state *s) {
    return s->kind == ELM_STATE_KV ? 0 : (size_t)s->n_heads * s->k_dim * s->v_dim;
}

/* Floats that one token of a held step (backend.h) leaves for such a state: the channels of a CONV;
 * of a RECURRENT for each head the key, the value, the decay and the write strength. */
static inline size_t elm_state_held_floats(const elm_state *s) {
    if (s->kind == ELM_STATE_CONV) return s->v_dim;
    return s->kind == ELM_STATE_KV ? 0 : (size_t)s->n_heads * (s->k_dim + s->v_dim + 2);
}

typedef struct elm_graph {
    const char *name;
    uint32_t n_values, n_nodes;
    elm_value *values;
    elm_node *nodes;
    elm_value_id output;
    elm_value_id hidden;                      /* [T][H]; ELM_NO_VALUE = none */
    uint32_t values_capacity, nodes_capacity; /* while it is built */
} elm_graph;

enum {
    ELM_MAX_GRAPHS = 8,
    ELM_MAX_VALUES = 1 << 18,
    ELM_MAX_NODES = 1 << 17,
    ELM_MAX_STATES = 1 << 14
};

typedef struct elm_module {
    uint32_t n_states, n_graphs;
    elm_state *states;
    elm_graph *graphs;
    uint32_t states_capacity;
} elm_module;

/* The graph called `name`, or NULL. */
const elm_graph *elm_module_graph(const elm_module *m, const char *name);

/* Infers the output shape of `node` from its inputs' shapes and checks arity, attributes, types and
 * shapes; the single place where an operation's shape rule is written. n_dims = 0 when it has no
 * output. For RESHAPE the output value must already hold the wanted shape. ELM_MALFORMED names the
 * node. */
elm_status elm_node_infer(const elm_module *m, const elm_graph *g, const elm_node *node,
                          uint32_t *n_dims, elm_dim dims[ELM_MAX_DIMS],
                          elm_error *err) ELM_MUST_CHECK;

/* Checks a whole module from a file or a builder: limits, numbers, order (inputs before use),
 * unique names, every shape by elm_node_infer, and weights against `tensors` (NULL: not checked).
 * Everything behind it may trust the graph. */
elm_status elm_module_validate(const elm_module *m, const elm_tensor *tensors, uint32_t n_tensors,
                               elm_error *err) ELM_MUST_CHECK;

/* The GRAPH section (docs/elm-format.md). Reading checks every bound and validates numbers, not
 * shapes: call elm_module_validate next. Names live in `arena`. */
void elm_module_write(const elm_module *m, elm_buf *out);
elm_status elm_module_read(elm_span section, elm_arena *arena, elm_module **out,
                           elm_error *err) ELM_MUST_CHECK;

/* Readable text, a line a node: `inspect --graph`. tensors may be NULL. */
void elm_module_dump(const elm_module *m, const elm_tensor *tensors, uint32_t n_tensors,
                     elm_buf *out);

#endif
