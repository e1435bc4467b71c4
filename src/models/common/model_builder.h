/* model_builder.h - what a family file works with: typed config, bound tensors, the weight plan,
 * the graph.
 *
 * Building reads no weight. It binds every source tensor by name with its shape, decides how each
 * weight will be stored, and leaves the list that convert walks ("weight plan"). A tensor that is
 * missing, misshaped, or left unbound at the end is an error that names it. */
#ifndef ELM_MODELS_COMMON_MODEL_BUILDER_H
#define ELM_MODELS_COMMON_MODEL_BUILDER_H

#include "base/json.h"
#include "ir/build.h"
#include "parse/checkpoint.h"
#include "quant/quantize.h"

typedef enum elm_weight_role {
    ELM_ROLE_LINEAR,
    ELM_ROLE_EMBEDDING, /* also the head when it is tied */
    ELM_ROLE_HEAD,
    ELM_ROLE_TABLE,  /* a second table of which a step reads single rows */
    ELM_ROLE_EXACT,  /* matrices that are never quantised: routers, gates of a delta net */
    ELM_ROLE_VECTOR, /* norms, biases, tables: float32, never quantised */
    ELM_N_ROLES
} elm_weight_role;

enum { ELM_MAX_LAYERS = 1024, ELM_MAX_LINEAR_PARTS = 6, ELM_MAX_EXPERTS = 4096, ELM_MAX_TAPS = 16 };

/* Rows of a source tensor, which is seen as a matrix of its last dimension (a vector: of single
 * elements): n_runs runs of `run` rows, `stride` rows apart, from row `first` on. */
typedef struct elm_weight_part {
    const elm_source_tensor *tensor;
    uint32_t first, run, stride, n_runs;
} elm_weight_part;

/* What becomes of a vector's elements w, in float32: (w + add) * mul, or -exp(w). */
typedef struct elm_vector_form {
    float add; /* 1 for norms stored as w - 1 */
    float mul; /* 0 stands for 1 */
    bool negative_exp;
} elm_vector_form;

/* One weight of the .elm file and where its values come from: the rows of its parts one after the
 * other, or a computed table. */
typedef struct elm_planned_weight {
    const char *name;
    elm_weight_role role;
    elm_scheme scheme;
    elm_layout layout;
    bool carried; /* the source's blocks go over bit for bit */
    uint32_t n_dims, dims[3];
    uint32_t n_parts;
    const elm_weight_part *parts;
    elm_vector_form form;
    const float *table; /* [dims[0]] when n_parts is 0 */
} elm_planned_weight;

static inline uint64_t elm_planned_elements(const elm_planned_weight *w) {
    uint64_t n = 1;
    for (uint32_t d = 0; d < w->n_dims; d++) n *= w->dims[d];
    return n;
}

/* The scheme wanted for each role; dtype ELM_N_DTYPES = keep what the source has, as exactly as can
 * be. group 0 stands for one scale a row. */
typedef struct elm_scheme_choice {
    elm_dtype dtype;
    uint32_t group;
} elm_scheme_choice;

typedef struct elm_model_builder {
    const elm_checkpoint *checkpoint;
    const elm_json *config;    /* the text model's config.json object */
    const elm_json *root;      /* what it lies in; the same for a text-only checkpoint */
    const char *where;         /* its name in messages */
    const float *rope_factors; /* a GGUF's rope_freqs: divisors of inv_freq; NULL = none */
    uint32_t n_rope_factors;
    elm_scheme_choice choice[ELM_N_ROLES];
    elm_arena *arena;
    elm_builder graph;

    elm_planned_weight *weights;
    uint32_t n_weights, weights_capacity;
    bool *bound;        /* [checkpoint tensors] */
    const char *prefix; /* of elm_mb_name, "model.layers.3." */

    /* Results that go into META. */
    uint32_t vocab_size, context_length, hidden_size, n_layers;
    bool raw_needs_bos;

    bool head_differs; /* the config ties the head, the checkpoint holds one of its own */
} elm_model_builder;

elm_status elm_model_builder_init(elm_model_builder *mb, const elm_checkpoint *checkpoint,
                                  const elm_json *config, const elm_json *root, const char *where,
                                  elm_arena *arena, elm_error *err) ELM_MUST_CHECK;

/* ---- config ---- */

/* A required positive integer of at most `max`. */
elm_status elm_mb_int(const elm_model_builder *mb, const char *key, int64_t max, uint32_t *out,
                      elm_error *err) ELM_MUST_CHECK;
/* The same, but where *out is not 0 it is what an absent key means. */
elm_status elm_mb_int_or(const elm_model_builder *mb, const char *key, int64_t max, uint32_t *out,
                         elm_error *err) ELM_MUST_CHECK;
/* Not required and may be 0; *out is kept when the key is absent. */
elm_status elm_mb_optional_int(const elm_model_builder *mb, const char *key, int64_t max,
                               uint32_t *out, elm_error *err) ELM_MUST_CHECK;
elm_status elm_mb_optional_float(const elm_model_builder *mb, const char *key, float *out,
                                 elm_error *err) ELM_MUST_CHECK;
elm_status elm_mb_optional_bool(const elm_model_builder *mb, const char *key, bool *out,
                                elm_error *err) ELM_MUST_CHECK;
/* hidden_act / hidden_activation to an elm activation; unknown ones are refused by name. */
elm_status elm_mb_activation(const elm_model_builder *mb, const char *key, const char *def,
                             int32_t *out, elm_error *err) ELM_MUST_CHECK;

/* Head counts that divide, and sizes whose products fit. */
elm_status elm_mb_check_heads(const elm_model_builder *mb, uint32_t n_heads, uint32_t n_kv_heads,
                              uint32_t head_dim, elm_error *err) ELM_MUST_CHECK;

/* Whether the checkpoint has a tensor of that name (printf style). */
bool elm_mb_has(const elm_model_builder *mb, const char *fmt, ...) ELM_PRINTF(2, 3);

/* Whether the head is the embedding: this or the root config says so and lm_head is no other matrix
 * (else mb->head_differs; this reads both), or there is no lm_head and nobody says that there is. */
elm_status elm_mb_tied(elm_model_builder *mb, bool def, bool *out, elm_error *err) ELM_MUST_CHECK;

/* ---- names: latched in mb->graph.status like the graph's own calls ---- */

/* What follows belongs to layer `layer`: names in the graph begin with "layers.N", names of
 * elm_mb_name with "model.layers.N.". */
void elm_mb_enter_layer(elm_model_builder *mb, uint32_t layer);
/* The same with names of one's own. */
void elm_mb_enter(elm_model_builder *mb, const char *scope, const char *prefix);
void elm_mb_leave(elm_model_builder *mb); /* no scope, "model." */
/* The prefix and then `rest`; lives in the arena. */
const char *elm_mb_name(elm_model_builder *mb, const char *rest);

/* ---- weights: latched too ---- */

/* A float32 vector of n elements from tensor `source`, `add` added to each. */
elm_value_id elm_mb_vector(elm_model_builder *mb, const char *source, uint32_t n, float add);
elm_value_id elm_mb_vector_as(elm_model_builder *mb, const char *source, uint32_t n,
                              elm_vector_form form);
/* A computed float32 vector, copied. */
elm_value_id elm_mb_table(elm_model_builder *mb, const char *name, const float *values, uint32_t n);
/* A matrix [rows][cols] from tensor `source`. */
elm_value_id elm_mb_matrix(elm_model_builder *mb, elm_weight_role role, const char *source,
                           uint32_t rows, uint32_t cols);
/* A table [rows][cols] of which single rows are read: stored row by row. */
elm_value_id elm_mb_row_table(elm_model_builder *mb, const char *source, uint32_t rows,
                              uint32_t cols);
/* The taps of a depthwise convolution, [channels][1][n_taps] in the source: float32
 * [n_taps][channels]. */
elm_value_id elm_mb_taps(elm_model_builder *mb, const char *source, uint32_t channels,
                         uint32_t n_taps);

/* The experts of a layer below the name `experts`: fused (gate_up_proj [E][2I][K], down_proj) or
 * one tensor each (0.gate_proj.weight). *gate_up is [E][2I][cols], *down [E][cols][I]. */
void elm_mb_experts(elm_model_builder *mb, const char *experts, uint32_t n_experts, uint32_t n_ff,
                    uint32_t cols, elm_value_id *gate_up, elm_value_id *down);

/* Part of a fused linear: a tensor's name without ".weight" and how many rows come of it: all it
 * has when `of` is 0; else the tensor has `of` rows, of which runs of `run`, `stride` apart, from
 * `first` on are taken. */
typedef struct elm_linear_part {
    const char *source;
    uint32_t rows, of, first, run, stride;
} elm_linear_part;

/* n_parts linears on the same x: one fused linear and slices when all parts are stored alike, else
 * one linear each. with_bias reads ".bias" too. out[i] is [rows of x][parts[i].rows]. */
void elm_mb_linears(elm_model_builder *mb, elm_weight_role role, const char *name, elm_value_id x,
                    uint32_t cols, uint32_t n_parts, const elm_linear_part *parts, bool with_bias,
                    elm_value_id *out);
/* One linear. */
elm_value_id elm_mb_linear(elm_model_builder *mb, elm_weight_role role, const char *name,
                           elm_value_id x, uint32_t cols, const char *source, uint32_t rows,
                           bool with_bias);
/* The same for gate and up, fused into one [T][2I] value for glu when they are stored alike: then
 * *up is ELM_NO_VALUE. */
void elm_mb_gate_up(elm_model_builder *mb, const char *name, elm_value_id x, uint32_t cols,
                    uint32_t n_ff, const char *gate, const char *up, bool with_bias,
                    elm_value_id *out_gate, elm_value_id *out_up);

/* Marks a tensor as known and not used. */
void elm_mb_ignore(elm_model_builder *mb, const char *source);

/* Ends one graph; `hidden` may be ELM_NO_VALUE. */
elm_status elm_mb_finish_graph(elm_model_builder *mb, elm_value_id output, elm_value_id hidden,
                               elm_error *err) ELM_MUST_CHECK;
/* Checks that every tensor was bound or ignored. */
elm_status elm_model_builder_finish(elm_model_builder *mb, elm_error *err) ELM_MUST_CHECK;

/* ---- between the files of the builder ---- */

/* Latches a failure. */
void elm_mb_fail(elm_model_builder *mb, elm_status status);
/* The tensor of that name, with that shape, marked as used; NULL after a failure. */
const elm_source_tensor *elm_mb_bind(elm_model_builder *mb, const char *name, uint32_t n_dims,
                                     const uint32_t *dims);
/* The whole tensor as one part. */
elm_weight_part elm_mb_whole(const elm_source_tensor *t);
/* How a matrix from `t` is stored in a role. */
elm_scheme elm_mb_scheme_of(const elm_model_builder *mb, elm_weight_role role,
                            const elm_source_tensor *t, uint32_t cols, bool *carried);
int32_t elm_mb_act_quant_of(elm_scheme scheme);
/* A weight of those parts (copied), [dims]; its scheme follows from the role and the first part. */
elm_value_id elm_mb_weight(elm_model_builder *mb, elm_weight_role role, const char *name,
                           uint32_t n_parts, const elm_weight_part *parts, uint32_t n_dims,
                           const uint32_t *dims, elm_vector_form form);

#endif
