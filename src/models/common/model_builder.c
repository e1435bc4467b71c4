/* model_builder.c - binding tensors, choosing how they are stored, and the weight plan;
 * models/common. */
#include "models/common/model_builder.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MAX_NAME_BYTES = 256, MAX_LISTED = 8 };

elm_status elm_model_builder_init(elm_model_builder *mb, const elm_checkpoint *checkpoint,
                                  const elm_json *config, const char *where, elm_arena *arena,
                                  elm_error *err) {
    mb->checkpoint = checkpoint;
    mb->config = config;
    mb->where = where;
    mb->arena = arena;
    mb->bound = elm_arena_array(arena, checkpoint->n_tensors, sizeof *mb->bound);
    /* Every planned weight binds a tensor, but for a few computed tables. */
    mb->weights_capacity = checkpoint->n_tensors + 64;
    mb->weights = elm_arena_array(arena, mb->weights_capacity, sizeof *mb->weights);
    if (!mb->weights || (!mb->bound && checkpoint->n_tensors > 0)) {
        return elm_fail_oom(err, mb->weights_capacity * sizeof *mb->weights, "the weight plan");
    }
    return elm_builder_init(&mb->graph, arena, "text", err);
}

static void fail(elm_model_builder *mb, elm_status status) {
    if (mb->graph.status == ELM_OK) mb->graph.status = status;
}

/* ---- schemes ---- */

static elm_scheme kept_scheme(const elm_source_tensor *t, bool *carried) {
    elm_scheme scheme = {ELM_I8, 32};
    *carried = true;
    switch (t->type) {
    case ELM_SOURCE_F32:
        return (elm_scheme){ELM_F32, 0};
    case ELM_SOURCE_F16:
        return (elm_scheme){ELM_F16, 0};
    case ELM_SOURCE_BF16:
        return (elm_scheme){ELM_BF16, 0};
    case ELM_SOURCE_Q8_0:
        return scheme;
    case ELM_SOURCE_Q4_0:
        scheme.dtype = ELM_I4;
        return scheme;
    default:
        *carried = false;
        return scheme;
    }
}

static elm_scheme scheme_of(const elm_model_builder *mb, elm_weight_role role,
                            const elm_source_tensor *t, uint32_t cols, bool *carried) {
    elm_scheme_choice choice = mb->choice[role];
    if (choice.dtype == ELM_N_DTYPES) return kept_scheme(t, carried);
    elm_scheme scheme = {choice.dtype, 0};
    if (elm_dtype_get(choice.dtype)->has_scales) {
        uint32_t channel = elm_p16_channel_group(cols);
        scheme.group = choice.group == 0 || choice.group > channel ? channel : choice.group;
    }
    *carried = (t->type == ELM_SOURCE_F32 && scheme.dtype == ELM_F32) ||
               (t->type == ELM_SOURCE_F16 && scheme.dtype == ELM_F16) ||
               (t->type == ELM_SOURCE_BF16 && scheme.dtype == ELM_BF16) ||
               (t->type == ELM_SOURCE_Q4_0 && scheme.dtype == ELM_I4 && scheme.group == 32) ||
               (t->type == ELM_SOURCE_Q8_0 && scheme.dtype == ELM_I8 && scheme.group == 32);
    return scheme;
}

static int32_t act_quant_of(elm_scheme scheme) {
    return elm_dtype_get(scheme.dtype)->has_scales ? ELM_ACT_QUANT_I8 : ELM_ACT_QUANT_NONE;
}

/* ---- binding ---- */

static const elm_source_tensor *bind(elm_model_builder *mb, const char *name, uint32_t n_dims,
                                     const uint32_t *dims) {
    if (mb->graph.status != ELM_OK) return NULL;
    elm_error *err = &mb->graph.error;
    const elm_source_tensor *t = elm_checkpoint_find(mb->checkpoint, name);
    if (!t) {
        fail(mb, elm_fail(err, ELM_MALFORMED, "tensor '%s' is missing; %s asks for it", name,
                          mb->where));
        return NULL;
    }
    bool fits = t->n_dims == n_dims;
    char expected[64] = "", found[128] = "";
    size_t at = 0, at_found = 0;
    for (uint32_t d = 0; d < n_dims; d++) {
        fits = fits && t->dims[d] == dims[d];
        at += (size_t)snprintf(expected + at, sizeof expected - at, d ? ", %u" : "%u", dims[d]);
    }
    for (uint32_t d = 0; d < t->n_dims && at_found < sizeof found - 24; d++) {
        at_found += (size_t)snprintf(found + at_found, sizeof found - at_found,
                                     d ? ", %llu" : "%llu", (unsigned long long)t->dims[d]);
    }
    if (!fits) {
        fail(mb, elm_fail(err, ELM_MALFORMED, "tensor '%s' has shape [%s]; %s asks for [%s]", name,
                          found, mb->where, expected));
        return NULL;
    }
    mb->bound[t - mb->checkpoint->tensors] = true;
    return t;
}

static elm_planned_weight *plan(elm_model_builder *mb, const char *name, uint32_t *index) {
    if (mb->graph.status != ELM_OK) return NULL;
    if (mb->n_weights == mb->weights_capacity) {
        fail(mb, elm_fail(&mb->graph.error, ELM_INTERNAL, "the weight plan is full at '%s'", name));
        return NULL;
    }
    *index = mb->n_weights++;
    elm_planned_weight *w = &mb->weights[*index];
    w->name = elm_arena_string(mb->arena, elm_span_str(name));
    if (!w->name) fail(mb, elm_fail_oom(&mb->graph.error, strlen(name), "a weight's name"));
    return w;
}

static elm_value_id value_of(elm_model_builder *mb, uint32_t index) {
    if (mb->graph.status != ELM_OK) return ELM_NO_VALUE;
    const elm_planned_weight *w = &mb->weights[index];
    return elm_build_weight(&mb->graph, index, w->name, w->scheme.dtype, w->n_dims, w->dims);
}

/* The weight that a source tensor already became, so that a table read twice is stored once. */
static bool planned_as(const elm_model_builder *mb, const char *name, uint32_t *index) {
    for (uint32_t i = mb->n_weights; i-- > 0;) {
        if (strcmp(mb->weights[i].name, name) == 0) {
            *index = i;
            return true;
        }
    }
    return false;
}

static elm_value_id parts(elm_model_builder *mb, elm_weight_role role, const char *name,
                          uint32_t n_parts, const elm_source_tensor *const *tensors,
                          uint32_t n_dims, uint32_t rows, uint32_t cols, float add) {
    uint32_t index = 0;
    elm_planned_weight *w = plan(mb, name, &index);
    if (!w) return ELM_NO_VALUE;
    w->role = role;
    w->n_dims = n_dims;
    w->dims[0] = rows;
    w->dims[1] = cols;
    w->n_parts = n_parts;
    w->add = add;
    for (uint32_t p = 0; p < n_parts; p++) w->parts[p] = tensors[p];
    if (role == ELM_ROLE_VECTOR) {
        w->scheme = (elm_scheme){ELM_F32, 0};
    } else {
        w->scheme = scheme_of(mb, role, tensors[0], cols, &w->carried);
    }
    return value_of(mb, index);
}

elm_value_id elm_mb_vector(elm_model_builder *mb, const char *source, uint32_t n, float add) {
    const elm_source_tensor *t = bind(mb, source, 1, &n);
    if (!t) return ELM_NO_VALUE;
    if (t->norm_plus_one_folded) add = 0.0f; /* a GGUF holds w + 1 already */
    return parts(mb, ELM_ROLE_VECTOR, source, 1, &t, 1, n, 0, add);
}

elm_value_id elm_mb_table(elm_model_builder *mb, const char *name, const float *values,
                          uint32_t n) {
    uint32_t index = 0;
    elm_planned_weight *w = plan(mb, name, &index);
    if (!w) return ELM_NO_VALUE;
    float *copy = elm_arena_array(mb->arena, n, sizeof *copy);
    if (!copy) {
        fail(mb, elm_fail_oom(&mb->graph.error, n * sizeof *copy, "a table"));
        return ELM_NO_VALUE;
    }
    memcpy(copy, values, n * sizeof *copy);
    w->role = ELM_ROLE_VECTOR;
    w->scheme = (elm_scheme){ELM_F32, 0};
    w->n_dims = 1;
    w->dims[0] = n;
    w->table = copy;
    return value_of(mb, index);
}

elm_value_id elm_mb_matrix(elm_model_builder *mb, elm_weight_role role, const char *source,
                           uint32_t rows, uint32_t cols) {
    uint32_t dims[2] = {rows, cols}, index;
    if (planned_as(mb, source, &index)) return value_of(mb, index);
    const elm_source_tensor *t = bind(mb, source, 2, dims);
    return t ? parts(mb, role, source, 1, &t, 2, rows, cols, 0.0f) : ELM_NO_VALUE;
}

/* ---- fused linears ---- */

typedef struct linear_group {
    uint32_t n_parts;
    const elm_source_tensor *weights[ELM_MAX_WEIGHT_PARTS];
    const elm_source_tensor *biases[ELM_MAX_WEIGHT_PARTS];
    uint32_t rows, part_rows[ELM_MAX_WEIGHT_PARTS];
    bool alike; /* all parts are stored in one scheme */
    elm_scheme scheme;
} linear_group;

static bool bind_group(elm_model_builder *mb, uint32_t cols, uint32_t n_parts,
                       const char *const *sources, const uint32_t *part_rows, bool with_bias,
                       linear_group *out) {
    char name[MAX_NAME_BYTES];
    bool carried0 = false;
    out->n_parts = n_parts;
    out->alike = true;
    for (uint32_t p = 0; p < n_parts; p++) {
        uint32_t dims[2] = {part_rows[p], cols};
        snprintf(name, sizeof name, "%s.weight", sources[p]);
        if (!(out->weights[p] = bind(mb, name, 2, dims))) return false;
        snprintf(name, sizeof name, "%s.bias", sources[p]);
        if (with_bias && !(out->biases[p] = bind(mb, name, 1, dims))) return false;
        bool carried = false;
        elm_scheme s = scheme_of(mb, ELM_ROLE_LINEAR, out->weights[p], cols, &carried);
        if (p == 0) out->scheme = s, carried0 = carried;
        out->alike = out->alike && s.dtype == out->scheme.dtype && s.group == out->scheme.group &&
                     carried == carried0 && out->weights[p]->type == out->weights[0]->type;
        out->part_rows[p] = part_rows[p];
        out->rows += part_rows[p];
    }
    return true;
}

static elm_value_id bias_of(elm_model_builder *mb, const char *name,
                            const elm_source_tensor *const *biases, uint32_t n_parts,
                            uint32_t rows) {
    if (!biases[0]) return ELM_NO_VALUE;
    return parts(mb, ELM_ROLE_VECTOR, name, n_parts, biases, 1, rows, 0, 0.0f);
}

/* One linear over all parts: [rows of x][sum of part_rows]. */
static elm_value_id fused_linear(elm_model_builder *mb, const char *name, elm_value_id x,
                                 uint32_t cols, const linear_group *group) {
    const char *scope = mb->graph.scope ? mb->graph.scope : "";
    const char *dot = mb->graph.scope ? "." : "";
    const char *weight_name = elm_arena_printf(mb->arena, "%s%s%s.weight", scope, dot, name);
    const char *bias_name = elm_arena_printf(mb->arena, "%s%s%s.bias", scope, dot, name);
    if (!weight_name || !bias_name) {
        fail(mb, elm_fail_oom(&mb->graph.error, MAX_NAME_BYTES, "a weight's name"));
        return ELM_NO_VALUE;
    }
    elm_value_id w = parts(mb, ELM_ROLE_LINEAR, weight_name, group->n_parts, group->weights, 2,
                           group->rows, cols, 0.0f);
    elm_value_id bias = bias_of(mb, bias_name, group->biases, group->n_parts, group->rows);
    return elm_build_linear(&mb->graph, name, x, w, bias, act_quant_of(group->scheme));
}

static elm_value_id part_linear(elm_model_builder *mb, const char *name, elm_value_id x,
                                uint32_t cols, const linear_group *group, uint32_t p) {
    bool carried = false;
    linear_group one = {.n_parts = 1, .rows = group->part_rows[p]};
    one.weights[0] = group->weights[p];
    one.biases[0] = group->biases[p];
    one.scheme = scheme_of(mb, ELM_ROLE_LINEAR, one.weights[0], cols, &carried);
    const char *part = elm_arena_printf(mb->arena, group->n_parts == 1 ? "%s" : "%s.%u", name, p);
    return fused_linear(mb, part ? part : name, x, cols, &one);
}

void elm_mb_linears(elm_model_builder *mb, const char *name, elm_value_id x, uint32_t cols,
                    uint32_t n_parts, const char *const *sources, const uint32_t *part_rows,
                    bool with_bias, elm_value_id *out) {
    linear_group group = {0};
    for (uint32_t p = 0; p < n_parts; p++) out[p] = ELM_NO_VALUE;
    if (!bind_group(mb, cols, n_parts, sources, part_rows, with_bias, &group)) return;
    if (!group.alike || n_parts == 1) {
        for (uint32_t p = 0; p < n_parts; p++) out[p] = part_linear(mb, name, x, cols, &group, p);
        return;
    }
    elm_value_id all = fused_linear(mb, name, x, cols, &group);
    int32_t start = 0;
    for (uint32_t p = 0; p < n_parts; p++) {
        const char *slice = elm_arena_printf(mb->arena, "%s.part%u", name, p);
        out[p] =
            elm_build_slice(&mb->graph, slice ? slice : name, all, start, (int32_t)part_rows[p]);
        start += (int32_t)part_rows[p];
    }
}

void elm_mb_gate_up(elm_model_builder *mb, const char *name, elm_value_id x, uint32_t cols,
                    uint32_t n_ff, const char *gate, const char *up, bool with_bias,
                    elm_value_id *out_gate, elm_value_id *out_up) {
    const char *sources[2] = {gate, up};
    uint32_t rows[2] = {n_ff, n_ff};
    linear_group group = {0};
    *out_gate = *out_up = ELM_NO_VALUE;
    if (!bind_group(mb, cols, 2, sources, rows, with_bias, &group)) return;
    if (group.alike) {
        *out_gate = fused_linear(mb, name, x, cols, &group);
    } else {
        *out_gate = part_linear(mb, name, x, cols, &group, 0);
        *out_up = part_linear(mb, name, x, cols, &group, 1);
    }
}

void elm_mb_ignore(elm_model_builder *mb, const char *source) {
    const elm_source_tensor *t = elm_checkpoint_find(mb->checkpoint, source);
    if (t) mb->bound[t - mb->checkpoint->tensors] = true;
}

bool elm_mb_has(const elm_model_builder *mb, const char *fmt, ...) {
    char name[MAX_NAME_BYTES];
    va_list args;
    va_start(args, fmt);
    vsnprintf(name, sizeof name, fmt, args);
    va_end(args);
    return elm_checkpoint_find(mb->checkpoint, name) != NULL;
}

/* Computed buffers that old checkpoints carry, and that nobody reads. */
static bool never_read(const char *name) {
    return strstr(name, "rotary_emb.inv_freq") != NULL || strstr(name, ".masked_bias") != NULL;
}

elm_status elm_model_builder_finish(elm_model_builder *mb, elm_value_id output, elm_error *err) {
    ELM_TRY(elm_builder_finish(&mb->graph, output, ELM_NO_VALUE, err));
    char list[256] = "";
    size_t used = 0;
    uint32_t n_extra = 0;
    for (uint32_t i = 0; i < mb->checkpoint->n_tensors; i++) {
        const char *name = mb->checkpoint->tensors[i].name;
        if (mb->bound[i] || never_read(name)) continue;
        if (n_extra++ < MAX_LISTED && used < sizeof list - 1) {
            used += (size_t)snprintf(list + used, sizeof list - used, n_extra > 1 ? ", %s" : "%s",
                                     name);
        }
    }
    if (n_extra == 0) return ELM_OK;
    return elm_fail(err, ELM_MALFORMED, "%u tensor%s that this architecture does not have: %s%s",
                    n_extra, n_extra > 1 ? "s" : "", list, n_extra > MAX_LISTED ? ", ..." : "");
}
