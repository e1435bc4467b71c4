/* build.h - building a graph node by node: one typed call an operation, errors latched.
 *
 * A builder keeps the first failure in `status` and `error`; later calls do nothing and return
 * ELM_NO_VALUE, so a model file reads as the list of its operations and checks once. */
#ifndef ELM_IR_BUILD_H
#define ELM_IR_BUILD_H

#include "ir/graph.h"

typedef struct elm_builder {
    elm_arena *arena;
    elm_module *module;
    elm_graph *graph;
    elm_status status;
    elm_error error;
    const char *scope; /* prefix of the names of what is built next, "layers.3"; NULL = none */
} elm_builder;

/* What elm_build_moe needs beside its rows. */
typedef struct elm_moe_weights {
    elm_value_id gate_up;      /* [E][2I][K] */
    elm_value_id down;         /* [E][N][I] */
    elm_value_id expert_scale; /* [E] or ELM_NO_VALUE */
    uint32_t top_k;
    bool renormalise;
    int32_t activation, act_quant;
} elm_moe_weights;

/* Starts a module with one empty graph called `graph_name`, all in `arena`. */
elm_status elm_builder_init(elm_builder *b, elm_arena *arena, const char *graph_name,
                            elm_error *err) ELM_MUST_CHECK;

/* Starts another graph of the same module, into which everything that follows goes; the graph
 * before must be finished. */
void elm_builder_next_graph(elm_builder *b, const char *graph_name);

/* Sets the scope, printf style; NULL clears it. */
void elm_builder_scope(elm_builder *b, const char *fmt, ...) ELM_PRINTF(2, 3);

elm_value_id elm_build_input(elm_builder *b,
                             elm_input input); /* the same value for the same input */
elm_value_id elm_build_hidden_input(elm_builder *b, uint32_t n); /* ELM_INPUT_HIDDEN, n floats */
/* The weight `tensor_index` with its stored type and logical shape; the same value for the same
 * index. */
elm_value_id elm_build_weight(elm_builder *b, uint32_t tensor_index, const char *name,
                              elm_dtype dtype, uint32_t n_dims, const uint32_t *dims);
/* A new state variable, called by its kind and layer ("kv.3"); window is 0 for all but KV. */
elm_value_id elm_build_state(elm_builder *b, elm_state_kind kind, uint32_t layer, uint32_t n_heads,
                             uint32_t k_dim, uint32_t v_dim, uint32_t window);

elm_value_id elm_build_embedding(elm_builder *b, elm_value_id ids, elm_value_id table, float scale);
elm_value_id elm_build_linear(elm_builder *b, const char *name, elm_value_id x, elm_value_id weight,
                              elm_value_id bias, int32_t act_quant); /* bias may be ELM_NO_VALUE */
elm_value_id elm_build_rms_norm(elm_builder *b, const char *name, elm_value_id x,
                                elm_value_id weight, float eps);
elm_value_id elm_build_rope(elm_builder *b, const char *name, elm_value_id x,
                            elm_value_id positions, elm_value_id inv_freq, int32_t pair_stride,
                            float scale);
void elm_build_kv_write(elm_builder *b, elm_value_id k, elm_value_id v, elm_value_id state);
elm_value_id elm_build_attention(elm_builder *b, elm_value_id q, elm_value_id state, float scale,
                                 int32_t window, float softcap);
elm_value_id elm_build_glu(elm_builder *b, elm_value_id gate, elm_value_id up, int32_t activation);
elm_value_id elm_build_add(elm_builder *b, const char *name, elm_value_id a, elm_value_id c);
elm_value_id elm_build_slice(elm_builder *b, const char *name, elm_value_id x, int32_t start,
                             int32_t length);
elm_value_id elm_build_reshape(elm_builder *b, const char *name, elm_value_id x, uint32_t n_dims,
                               const elm_dim *dims);
elm_value_id elm_build_gather_rows(elm_builder *b, elm_value_id x, elm_value_id rows);
elm_value_id elm_build_concat(elm_builder *b, const char *name, elm_value_id x, elm_value_id y);
elm_value_id elm_build_mul(elm_builder *b, const char *name, elm_value_id x, elm_value_id factor);
elm_value_id elm_build_softcap(elm_builder *b, const char *name, elm_value_id x, float softcap);
elm_value_id elm_build_load_hidden(elm_builder *b, elm_value_id input);
elm_value_id elm_build_causal_conv1d(elm_builder *b, const char *name, elm_value_id x,
                                     elm_value_id taps, elm_value_id state, int32_t activation);
/* m: queries, keys and values of every head; b, a: write strength and decay before their
 * activations. */
elm_value_id elm_build_gated_delta_net(elm_builder *g, const char *name, elm_value_id m,
                                       elm_value_id b, elm_value_id a, elm_value_id decay_rate,
                                       elm_value_id dt_bias, elm_value_id state, float scale,
                                       float eps);
elm_value_id elm_build_moe(elm_builder *b, const char *name, elm_value_id x, elm_value_id logits,
                           const elm_moe_weights *w);

/* Whether rows of that value are those of ELM_INPUT_ROWS. */
bool elm_builder_is_r(const elm_builder *b, elm_value_id value);

/* Names the graph's results (hidden may be ELM_NO_VALUE) and returns the latched status with its
 * message. */
elm_status elm_builder_finish(elm_builder *b, elm_value_id output, elm_value_id hidden,
                              elm_error *err) ELM_MUST_CHECK;

#endif
