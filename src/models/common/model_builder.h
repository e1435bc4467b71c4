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
    ELM_ROLE_VECTOR, /* norms, biases, tables: float32, never quantised */
    ELM_N_ROLES
} elm_weight_role;

enum { ELM_MAX_WEIGHT_PARTS = 4 };

/* One weight of the .elm file and where its values come from: the rows of its parts one after the
 * other, or a computed table. */
typedef struct elm_planned_weight {
    const char *name;
    elm_weight_role role;
    elm_scheme scheme;
    bool carried; /* the source's blocks go over bit for bit */
    uint32_t n_dims, dims[2];
    uint32_t n_parts;
    const elm_source_tensor *parts[ELM_MAX_WEIGHT_PARTS];
    float add;          /* added in float32 to every element: 1 for norms stored as w - 1 */
    const float *table; /* [dims[0]] when n_parts is 0 */
} elm_planned_weight;

/* The scheme wanted for each role; dtype ELM_N_DTYPES = keep what the source has, as exactly as can
 * be. group 0 stands for one scale a row. */
typedef struct elm_scheme_choice {
    elm_dtype dtype;
    uint32_t group;
} elm_scheme_choice;

typedef struct elm_model_builder {
    const elm_checkpoint *checkpoint;
    const elm_json *config;    /* the text model's config.json object */
    const char *where;         /* its name in messages */
    const float *rope_factors; /* a GGUF's rope_freqs: divisors of inv_freq; NULL = none */
    uint32_t n_rope_factors;
    elm_scheme_choice choice[ELM_N_ROLES];
    elm_arena *arena;
    elm_builder graph;

    elm_planned_weight *weights;
    uint32_t n_weights, weights_capacity;
    bool *bound; /* [checkpoint tensors] */

    /* Results that go into META. */
    uint32_t vocab_size, context_length, hidden_size, n_layers;
    bool raw_needs_bos;
} elm_model_builder;

elm_status elm_model_builder_init(elm_model_builder *mb, const elm_checkpoint *checkpoint,
                                  const elm_json *config, const char *where, elm_arena *arena,
                                  elm_error *err) ELM_MUST_CHECK;

/* ---- config ---- */

/* A required positive integer of at most `max`. */
elm_status elm_mb_int(const elm_model_builder *mb, const char *key, int64_t max, uint32_t *out,
                      elm_error *err) ELM_MUST_CHECK;
/* The same, keeping *out when the key is absent. */
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

/* ---- weights: latched in mb->graph.status like the graph's own calls ---- */

/* A float32 vector of n elements from tensor `source`, `add` added to each. */
elm_value_id elm_mb_vector(elm_model_builder *mb, const char *source, uint32_t n, float add);
/* A computed float32 vector, copied. */
elm_value_id elm_mb_table(elm_model_builder *mb, const char *name, const float *values, uint32_t n);
/* A matrix [rows][cols] from tensor `source`. */
elm_value_id elm_mb_matrix(elm_model_builder *mb, elm_weight_role role, const char *source,
                           uint32_t rows, uint32_t cols);

/* n_parts linears on the same x: one fused linear and slices when all parts are stored alike, else
 * one linear each. sources[i] is the tensor's name without ".weight"; with_bias reads ".bias" too.
 * out[i] is [rows of x][part_rows[i]]. */
void elm_mb_linears(elm_model_builder *mb, const char *name, elm_value_id x, uint32_t cols,
                    uint32_t n_parts, const char *const *sources, const uint32_t *part_rows,
                    bool with_bias, elm_value_id *out);
/* The same for gate and up, fused into one [T][2I] value for glu when they are stored alike: then
 * *up is ELM_NO_VALUE. */
void elm_mb_gate_up(elm_model_builder *mb, const char *name, elm_value_id x, uint32_t cols,
                    uint32_t n_ff, const char *gate, const char *up, bool with_bias,
                    elm_value_id *out_gate, elm_value_id *out_up);

/* Marks a tensor as known and not used. */
void elm_mb_ignore(elm_model_builder *mb, const char *source);

/* Checks that every tensor was bound or ignored. */
elm_status elm_model_builder_finish(elm_model_builder *mb, elm_value_id output,
                                    elm_error *err) ELM_MUST_CHECK;

#endif
