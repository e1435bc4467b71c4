/* model_builder.c - binding tensors, choosing how they are stored, and the weight plan;
 * models/common. Linears of several tensors: linears.c. */
#include "models/common/model_builder.h"

#include "parse/dequant.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MAX_NAME_BYTES = 256, MAX_LISTED = 8 };

elm_status elm_model_builder_init(elm_model_builder *mb, const elm_checkpoint *checkpoint,
                                  const elm_json *config, const elm_json *root, const char *where,
                                  elm_arena *arena, elm_error *err) {
    mb->checkpoint = checkpoint;
    mb->config = config;
    mb->root = root;
    mb->where = where;
    mb->arena = arena;
    mb->bound = elm_arena_array(arena, checkpoint->n_tensors, sizeof *mb->bound);
    /* Every planned weight binds a tensor, but for a few computed tables and tensors in two parts.
     */
    mb->weights_capacity = checkpoint->n_tensors + 64;
    mb->weights = elm_arena_array(arena, mb->weights_capacity, sizeof *mb->weights);
    if (!mb->weights || (!mb->bound && checkpoint->n_tensors > 0)) {
        return elm_fail_oom(err, mb->weights_capacity * sizeof *mb->weights, "the weight plan");
    }
    mb->prefix = "model.";
    return elm_builder_init(&mb->graph, arena, "text", err);
}

void elm_mb_fail(elm_model_builder *mb, elm_status status) {
    if (mb->graph.status == ELM_OK) mb->graph.status = status;
}

/* ---- names ---- */

void elm_mb_enter(elm_model_builder *mb, const char *scope, const char *prefix) {
    elm_builder_scope(&mb->graph, scope ? "%s" : NULL, scope);
    mb->prefix = elm_arena_string(mb->arena, elm_span_str(prefix));
    if (!mb->prefix) {
        mb->prefix = "";
        elm_mb_fail(mb, elm_fail_oom(&mb->graph.error, strlen(prefix), "a name"));
    }
}

void elm_mb_enter_layer(elm_model_builder *mb, uint32_t layer) {
    char scope[32], prefix[32];
    snprintf(scope, sizeof scope, "layers.%u", layer);
    snprintf(prefix, sizeof prefix, "model.layers.%u.", layer);
    elm_mb_enter(mb, scope, prefix);
}

void elm_mb_leave(elm_model_builder *mb) {
    elm_mb_enter(mb, NULL, "model.");
}

const char *elm_mb_name(elm_model_builder *mb, const char *rest) {
    const char *name = elm_arena_printf(mb->arena, "%s%s", mb->prefix, rest);
    if (!name) elm_mb_fail(mb, elm_fail_oom(&mb->graph.error, strlen(rest), "a tensor's name"));
    return name ? name : "";
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
        *carried = elm_source_fits_q8_0(t->type);
        return scheme;
    }
}

/* As the source has it where that is a float, unless everything shall be float32. */
static elm_scheme exact_scheme(const elm_model_builder *mb, const elm_source_tensor *t,
                               bool *carried) {
    elm_scheme kept = kept_scheme(t, carried);
    bool wide = mb->choice[ELM_ROLE_LINEAR].dtype == ELM_F32 || kept.group != 0;
    *carried = !wide || t->type == ELM_SOURCE_F32;
    return wide ? (elm_scheme){ELM_F32, 0} : kept;
}

static elm_scheme scheme_of(const elm_model_builder *mb, elm_weight_role role,
                            const elm_source_tensor *t, uint32_t cols, bool *carried) {
    elm_scheme_choice choice = mb->choice[role];
    if (role == ELM_ROLE_EXACT) return exact_scheme(mb, t, carried);
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
               ((t->type == ELM_SOURCE_Q8_0 || elm_source_fits_q8_0(t->type)) &&
                scheme.dtype == ELM_I8 && scheme.group == 32);
    return scheme;
}

elm_scheme elm_mb_scheme_of(const elm_model_builder *mb, elm_weight_role role,
                            const elm_source_tensor *t, uint32_t cols, bool *carried) {
    elm_scheme scheme = scheme_of(mb, role, t, cols, carried);
    *carried = *carried && elm_source_has_raw_rows(t);
    return scheme;
}

int32_t elm_mb_act_quant_of(elm_scheme scheme) {
    return elm_dtype_get(scheme.dtype)->has_scales ? ELM_ACT_QUANT_I8 : ELM_ACT_QUANT_NONE;
}

/* ---- binding ---- */

const elm_source_tensor *elm_mb_bind(elm_model_builder *mb, const char *name, uint32_t n_dims,
                                     const uint32_t *dims) {
    if (mb->graph.status != ELM_OK) return NULL;
    elm_error *err = &mb->graph.error;
    const elm_source_tensor *t = elm_checkpoint_find(mb->checkpoint, name);
    if (!t) {
        elm_mb_fail(mb, elm_fail(err, ELM_MALFORMED, "tensor '%s' is missing; %s asks for it", name,
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
        elm_mb_fail(mb, elm_fail(err, ELM_MALFORMED, "tensor '%s' has shape [%s]; %s asks for [%s]",
                                 name, found, mb->where, expected));
        return NULL;
    }
    mb->bound[t - mb->checkpoint->tensors] = true;
    return t;
}

static elm_planned_weight *plan(elm_model_builder *mb, const char *name, uint32_t *index) {
    if (mb->graph.status != ELM_OK) return NULL;
    if (mb->n_weights == mb->weights_capacity) {
        elm_mb_fail(
            mb, elm_fail(&mb->graph.error, ELM_INTERNAL, "the weight plan is full at '%s'", name));
        return NULL;
    }
    *index = mb->n_weights++;
    elm_planned_weight *w = &mb->weights[*index];
    w->name = elm_arena_string(mb->arena, elm_span_str(name));
    if (!w->name) elm_mb_fail(mb, elm_fail_oom(&mb->graph.error, strlen(name), "a weight's name"));
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

elm_weight_part elm_mb_whole(const elm_source_tensor *t) {
    uint64_t rows = t->dims[0];
    for (uint32_t d = 1; d + 1 < t->n_dims; d++) rows *= t->dims[d];
    return (elm_weight_part){t, 0, (uint32_t)rows, (uint32_t)rows, 1};
}

elm_value_id elm_mb_weight(elm_model_builder *mb, elm_weight_role role, const char *name,
                           uint32_t n_parts, const elm_weight_part *parts, uint32_t n_dims,
                           const uint32_t *dims, elm_vector_form form) {
    uint32_t index = 0;
    elm_planned_weight *w = plan(mb, name, &index);
    if (!w) return ELM_NO_VALUE;
    elm_weight_part *copy = elm_arena_array(mb->arena, n_parts, sizeof *copy);
    if (!copy) {
        elm_mb_fail(mb, elm_fail_oom(&mb->graph.error, n_parts * sizeof *copy, "the weight plan"));
        return ELM_NO_VALUE;
    }
    memcpy(copy, parts, n_parts * sizeof *copy);
    w->role = role;
    w->n_dims = n_dims;
    memcpy(w->dims, dims, n_dims * sizeof *dims);
    w->n_parts = n_parts;
    w->parts = copy;
    w->form = form;
    w->layout =
        role == ELM_ROLE_VECTOR || role == ELM_ROLE_TABLE ? ELM_LAYOUT_ROWS : ELM_LAYOUT_P16;
    w->scheme = (elm_scheme){ELM_F32, 0};
    if (role != ELM_ROLE_VECTOR)
        w->scheme = elm_mb_scheme_of(mb, role, parts[0].tensor, dims[n_dims - 1], &w->carried);
    /* Rows are quantised from floats, which gives other codes for integers that end below 127. */
    if (w->layout == ELM_LAYOUT_ROWS && n_parts > 0 && elm_source_fits_q8_0(parts[0].tensor->type))
        w->carried = false;
    return value_of(mb, index);
}

elm_value_id elm_mb_vector_as(elm_model_builder *mb, const char *source, uint32_t n,
                              elm_vector_form form) {
    const elm_source_tensor *t = elm_mb_bind(mb, source, 1, &n);
    if (!t) return ELM_NO_VALUE;
    if (t->form_folded) form.add = 0.0f, form.negative_exp = false; /* a GGUF's is formed already */
    elm_weight_part part = elm_mb_whole(t);
    return elm_mb_weight(mb, ELM_ROLE_VECTOR, source, 1, &part, 1, &n, form);
}

elm_value_id elm_mb_vector(elm_model_builder *mb, const char *source, uint32_t n, float add) {
    return elm_mb_vector_as(mb, source, n, (elm_vector_form){.add = add});
}

elm_value_id elm_mb_table(elm_model_builder *mb, const char *name, const float *values,
                          uint32_t n) {
    uint32_t index = 0;
    if (planned_as(mb, name, &index)) return value_of(mb, index); /* another graph reads it too */
    elm_planned_weight *w = plan(mb, name, &index);
    if (!w) return ELM_NO_VALUE;
    float *copy = elm_arena_array(mb->arena, n, sizeof *copy);
    if (!copy) {
        elm_mb_fail(mb, elm_fail_oom(&mb->graph.error, n * sizeof *copy, "a table"));
        return ELM_NO_VALUE;
    }
    memcpy(copy, values, n * sizeof *copy);
    w->role = ELM_ROLE_VECTOR;
    w->scheme = (elm_scheme){ELM_F32, 0};
    w->layout = ELM_LAYOUT_ROWS;
    w->n_dims = 1;
    w->dims[0] = n;
    w->table = copy;
    return value_of(mb, index);
}

elm_value_id elm_mb_matrix(elm_model_builder *mb, elm_weight_role role, const char *source,
                           uint32_t rows, uint32_t cols) {
    uint32_t dims[2] = {rows, cols}, index;
    if (planned_as(mb, source, &index)) return value_of(mb, index);
    const elm_source_tensor *t = elm_mb_bind(mb, source, 2, dims);
    if (!t) return ELM_NO_VALUE;
    elm_weight_part part = elm_mb_whole(t);
    return elm_mb_weight(mb, role, source, 1, &part, 2, dims, (elm_vector_form){0});
}

elm_value_id elm_mb_row_table(elm_model_builder *mb, const char *source, uint32_t rows,
                              uint32_t cols) {
    return elm_mb_matrix(mb, ELM_ROLE_TABLE, source, rows, cols);
}

elm_value_id elm_mb_taps(elm_model_builder *mb, const char *source, uint32_t channels,
                         uint32_t n_taps) {
    elm_weight_part part[ELM_MAX_TAPS];
    uint32_t source_dims[3] = {channels, 1, n_taps}, dims[2] = {n_taps, channels};
    const elm_source_tensor *t = elm_mb_bind(mb, source, 3, source_dims);
    if (!t) return ELM_NO_VALUE;
    if (n_taps > ELM_MAX_TAPS) {
        elm_mb_fail(mb, elm_fail(&mb->graph.error, ELM_UNSUPPORTED, "%s: %u taps; at most %d",
                                 mb->where, n_taps, ELM_MAX_TAPS));
        return ELM_NO_VALUE;
    }
    elm_source_tensor *flat = elm_arena_array(mb->arena, 1, sizeof *flat);
    if (!flat) {
        elm_mb_fail(mb, elm_fail_oom(&mb->graph.error, sizeof *flat, "the weight plan"));
        return ELM_NO_VALUE;
    }
    *flat = *t; /* as a vector, of which tap j of every channel is a run of one */
    flat->n_dims = 1;
    flat->dims[0] = (uint64_t)channels * n_taps;
    flat->rows.first *= n_taps;
    flat->rows.size *= n_taps;
    for (uint32_t j = 0; j < n_taps; j++) part[j] = (elm_weight_part){flat, j, 1, n_taps, channels};
    return elm_mb_weight(mb, ELM_ROLE_VECTOR, source, n_taps, part, 2, dims, (elm_vector_form){0});
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

elm_status elm_mb_finish_graph(elm_model_builder *mb, elm_value_id output, elm_value_id hidden,
                               elm_error *err) {
    return elm_builder_finish(&mb->graph, output, hidden, err);
}

elm_status elm_model_builder_finish(elm_model_builder *mb, elm_error *err) {
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
