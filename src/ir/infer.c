/* infer.c - the shape rule of every operation, in the order of op.def; ir. Definitions:
 * docs/ops.md. */
#include "ir/graph.h"

#include <string.h>

typedef struct inference {
    const elm_module *module;
    const elm_graph *graph;
    const elm_node *node;
    uint32_t *n_dims;
    elm_dim *dims;
    elm_error *err;
} inference;

static elm_status bad(const inference *in, const char *what) {
    return elm_fail(in->err, ELM_MALFORMED, "node '%s' (%s): %s", in->node->name,
                    elm_op_get(in->node->op)->text, what);
}

static const elm_value *input(const inference *in, uint32_t i) {
    return &in->graph->values[in->node->inputs[i]];
}

static bool is_rows(const elm_value *v) {
    return v->dtype == ELM_F32 && v->kind == ELM_VALUE_NODE && v->n_dims >= 2;
}
static bool is_ids(const elm_value *v) {
    return v->kind == ELM_VALUE_INPUT && v->n_dims == 1;
}
static bool is_vector(const elm_value *v, elm_dim n) {
    return v->kind == ELM_VALUE_WEIGHT && v->dtype == ELM_F32 && v->n_dims == 1 &&
           (n == 0 || v->dims[0] == n);
}
static bool is_matrix(const elm_value *v) {
    return v->kind == ELM_VALUE_WEIGHT && v->n_dims == 2;
}
static bool is_quantised(const elm_value *v) {
    return elm_dtype_get(v->dtype)->has_scales;
}
static elm_dim last(const elm_value *v) {
    return v->dims[v->n_dims - 1];
}

static bool same_shape(const elm_value *a, const elm_value *b) {
    return a->n_dims == b->n_dims && memcmp(a->dims, b->dims, a->n_dims * sizeof a->dims[0]) == 0;
}

static void copy_shape(const inference *in, const elm_value *v) {
    *in->n_dims = v->n_dims;
    memcpy(in->dims, v->dims, sizeof v->dims);
}

static const elm_state *state_of(const inference *in, uint32_t i) {
    const elm_value *v = input(in, i);
    return v->kind == ELM_VALUE_STATE ? &in->module->states[v->index] : NULL;
}

static elm_status infer_embedding(const inference *in) {
    const elm_value *ids = input(in, 0), *table = input(in, 1);
    if (!is_ids(ids) || !is_matrix(table)) return bad(in, "expected ids [T] and a table [V][H]");
    *in->n_dims = 2;
    in->dims[0] = ids->dims[0];
    in->dims[1] = table->dims[1];
    return ELM_OK;
}

static elm_status infer_linear(const inference *in) {
    const elm_value *x = input(in, 0), *w = input(in, 1);
    if (!is_rows(x) || x->n_dims != 2 || !is_matrix(w) || w->dims[1] != last(x)) {
        return bad(in, "expected x [rows][K] and a weight [N][K]");
    }
    if (in->node->n_inputs == 3 && !is_vector(input(in, 2), w->dims[0]))
        return bad(in, "expected a bias [N]");
    int32_t act = in->node->attrs.act_quant;
    if (act != ELM_ACT_QUANT_NONE && (act != ELM_ACT_QUANT_I8 || !is_quantised(w))) {
        return bad(in, "act_quant must be 0, or 1 with a quantised weight");
    }
    *in->n_dims = 2;
    in->dims[0] = x->dims[0];
    in->dims[1] = w->dims[0];
    return ELM_OK;
}

static elm_status infer_rms_norm(const inference *in) {
    const elm_value *x = input(in, 0);
    if (!is_rows(x)) return bad(in, "expected rows");
    if (in->node->n_inputs == 2 && !is_vector(input(in, 1), last(x))) {
        return bad(in, "expected a weight as long as the last dimension");
    }
    if (!(in->node->attrs.eps >= 0.0f)) return bad(in, "eps must not be negative");
    copy_shape(in, x);
    return ELM_OK;
}

static elm_status infer_rope(const inference *in) {
    const elm_value *x = input(in, 0), *freq = input(in, 2);
    int64_t stride = in->node->attrs.pair_stride;
    if (!is_rows(x) || x->n_dims != 3 || !is_ids(input(in, 1)) || !is_vector(freq, 0)) {
        return bad(in, "expected x [rows][heads][dim], positions [T] and frequencies");
    }
    int64_t n = freq->dims[0];
    if (n > stride || stride + n > last(x))
        return bad(in, "the frequencies do not fit the head dimension");
    copy_shape(in, x);
    return ELM_OK;
}

static elm_status infer_kv_write(const inference *in) {
    const elm_value *k = input(in, 0), *v = input(in, 1);
    const elm_state *s = state_of(in, 2);
    bool fits = s && s->kind == ELM_STATE_KV && is_rows(k) && is_rows(v) && k->n_dims == 3 &&
                v->n_dims == 3 && k->dims[0] == ELM_DIM_T && v->dims[0] == ELM_DIM_T &&
                k->dims[1] == (elm_dim)s->n_heads && v->dims[1] == (elm_dim)s->n_heads &&
                k->dims[2] == (elm_dim)s->k_dim && v->dims[2] == (elm_dim)s->v_dim;
    if (!fits) return bad(in, "keys and values do not have the shape of the state");
    *in->n_dims = 0;
    return ELM_OK;
}

static elm_status infer_attention(const inference *in) {
    const elm_value *q = input(in, 0);
    const elm_state *s = state_of(in, 1);
    int32_t window = in->node->attrs.window;
    if (!s || s->kind != ELM_STATE_KV || !is_rows(q) || q->n_dims != 3) {
        return bad(in, "expected queries [rows][heads][dim] and a KV state");
    }
    if (q->dims[1] % (elm_dim)s->n_heads != 0 || q->dims[2] != (elm_dim)s->k_dim) {
        return bad(in, "the query heads do not fit the state's");
    }
    if (window < 0 || (s->window != 0 && (window == 0 || (uint32_t)window > s->window))) {
        return bad(in, "the window is larger than what the state keeps");
    }
    if (!(in->node->attrs.softcap >= 0.0f)) return bad(in, "softcap must not be negative");
    *in->n_dims = 3;
    in->dims[0] = q->dims[0];
    in->dims[1] = q->dims[1];
    in->dims[2] = (elm_dim)s->v_dim;
    return ELM_OK;
}

static elm_status infer_glu(const inference *in) {
    const elm_value *x = input(in, 0);
    int32_t activation = in->node->attrs.activation;
    if (!is_rows(x)) return bad(in, "expected rows");
    if (activation < 0 || activation >= ELM_N_ACTIVATIONS) return bad(in, "unknown activation");
    copy_shape(in, x);
    if (in->node->n_inputs == 2) {
        const elm_value *up = input(in, 1);
        bool column = is_rows(up) && x->n_dims == 2 && last(x) == 1 && x->dims[0] == up->dims[0];
        if (column) copy_shape(in, up);
        return column || same_shape(x, up) ? ELM_OK : bad(in, "gate and up differ in shape");
    }
    if (last(x) % 2 != 0) return bad(in, "gate|up must be even");
    in->dims[*in->n_dims - 1] = last(x) / 2;
    return ELM_OK;
}

static elm_status infer_add(const inference *in) {
    const elm_value *a = input(in, 0), *b = input(in, 1);
    if (!is_rows(a) || !is_rows(b) || !same_shape(a, b))
        return bad(in, "expected two of the same shape");
    copy_shape(in, a);
    return ELM_OK;
}

static elm_status infer_slice(const inference *in) {
    const elm_value *x = input(in, 0);
    int64_t start = in->node->attrs.start, length = in->node->attrs.length;
    if (!is_rows(x) || x->n_dims != 2) return bad(in, "expected rows of one dimension");
    if (start < 0 || length < 1 || start + length > last(x))
        return bad(in, "the slice lies outside");
    copy_shape(in, x);
    in->dims[1] = (elm_dim)length;
    return ELM_OK;
}

static elm_status infer_reshape(const inference *in) {
    const elm_value *x = input(in, 0), *out = &in->graph->values[in->node->output];
    int64_t before = 1, after = 1;
    if (!is_rows(x) || out->n_dims < 2 || out->n_dims > ELM_MAX_DIMS)
        return bad(in, "expected rows");
    for (uint32_t d = 1; d < x->n_dims; d++) before *= x->dims[d];
    for (uint32_t d = 1; d < out->n_dims; d++) {
        if (out->dims[d] < 1)
            return bad(in, "the wanted shape has an empty or symbolic inner dimension");
        if (__builtin_mul_overflow(after, (int64_t)out->dims[d], &after))
            return bad(in, "the wanted shape overflows");
    }
    if (x->dims[0] != out->dims[0] || before != after)
        return bad(in, "the number of elements changes");
    copy_shape(in, out);
    return ELM_OK;
}

static elm_status infer_gather_rows(const inference *in) {
    const elm_value *x = input(in, 0), *rows = input(in, 1);
    if (!is_rows(x) || x->dims[0] != ELM_DIM_T || !is_ids(rows) || rows->dims[0] != ELM_DIM_R) {
        return bad(in, "expected rows [T] and indices [R]");
    }
    copy_shape(in, x);
    in->dims[0] = ELM_DIM_R;
    return ELM_OK;
}

static elm_status infer_concat(const inference *in) {
    const elm_value *a = input(in, 0), *b = input(in, 1);
    if (!is_rows(a) || !is_rows(b) || a->n_dims != 2 || b->n_dims != 2 || a->dims[0] != b->dims[0])
        return bad(in, "expected two of the same rows");
    copy_shape(in, a);
    if (last(a) > ELM_MAX_DIM - last(b)) return bad(in, "the rows are too wide");
    in->dims[1] = last(a) + last(b);
    return ELM_OK;
}

static elm_status infer_mul(const inference *in) {
    const elm_value *x = input(in, 0);
    if (!is_rows(x) || !is_vector(input(in, 1), 1))
        return bad(in, "expected rows and a factor [1]");
    copy_shape(in, x);
    return ELM_OK;
}

static elm_status infer_softcap(const inference *in) {
    const elm_value *x = input(in, 0);
    if (!is_rows(x)) return bad(in, "expected rows");
    if (!(in->node->attrs.softcap > 0.0f)) return bad(in, "softcap must be above 0");
    copy_shape(in, x);
    return ELM_OK;
}

static elm_status infer_load_hidden(const inference *in) {
    const elm_value *x = input(in, 0);
    if (x->kind != ELM_VALUE_INPUT || x->index != ELM_INPUT_HIDDEN || x->n_dims != 2)
        return bad(in, "expected the input 'hidden'");
    copy_shape(in, x);
    return ELM_OK;
}

static elm_status infer_causal_conv1d(const inference *in) {
    const elm_value *x = input(in, 0), *taps = input(in, 1);
    const elm_state *s = state_of(in, 2);
    int32_t activation = in->node->attrs.activation;
    if (!is_rows(x) || x->n_dims != 2 || x->dims[0] != ELM_DIM_T || !is_matrix(taps) ||
        taps->dtype != ELM_F32 || last(taps) != last(x) || taps->dims[0] < 2) {
        return bad(in, "expected x [T][C] and float32 taps [2 or more][C]");
    }
    if (!s || s->kind != ELM_STATE_CONV || s->v_dim != (uint32_t)last(x) ||
        s->k_dim + 1 != (uint32_t)taps->dims[0]) {
        return bad(in, "expected a CONV state of one row less than there are taps");
    }
    if (activation < 0 || activation >= ELM_N_ACTIVATIONS) return bad(in, "unknown activation");
    copy_shape(in, x);
    return ELM_OK;
}

static elm_status infer_gated_delta_net(const inference *in) {
    const elm_value *m = input(in, 0), *b = input(in, 1), *a = input(in, 2);
    const elm_state *s = state_of(in, 5);
    if (!s || s->kind != ELM_STATE_RECURRENT) return bad(in, "expected a RECURRENT state");
    elm_dim heads = (elm_dim)s->n_heads;
    bool gates = is_rows(b) && same_shape(a, b) && b->n_dims == 2 && last(b) == heads &&
                 b->dims[0] == ELM_DIM_T && is_vector(input(in, 3), heads) &&
                 is_vector(input(in, 4), heads);
    if (!gates || !is_rows(a)) return bad(in, "expected b, a [T][heads] and vectors [heads]");
    int64_t values = (int64_t)s->n_heads * s->v_dim;
    if (!is_rows(m) || m->n_dims != 2 || m->dims[0] != ELM_DIM_T || last(m) <= values)
        return bad(in, "expected queries, keys and values [T][C]");
    int64_t keys = last(m) - values, key_heads = keys / (2 * (int64_t)s->k_dim);
    if (keys % (2 * (int64_t)s->k_dim) != 0 || s->n_heads % key_heads != 0)
        return bad(in, "the key heads do not fit the state's");
    if (!(in->node->attrs.eps > 0.0f)) return bad(in, "eps must be above 0");
    *in->n_dims = 2;
    in->dims[0] = ELM_DIM_T;
    in->dims[1] = (elm_dim)values;
    return ELM_OK;
}

static elm_status infer_moe(const inference *in) {
    const elm_value *x = input(in, 0), *logits = input(in, 1);
    const elm_value *up = input(in, 2), *down = input(in, 3);
    const elm_attrs *at = &in->node->attrs;
    bool stacks = up->kind == ELM_VALUE_WEIGHT && down->kind == ELM_VALUE_WEIGHT &&
                  up->n_dims == 3 && down->n_dims == 3 && up->dims[0] == down->dims[0] &&
                  up->dims[1] % 2 == 0 && up->dims[1] / 2 == down->dims[2];
    if (!stacks) return bad(in, "expected stacks [E][2I][K] and [E][N][I]");
    if (!is_rows(x) || x->n_dims != 2 || last(x) != up->dims[2] || !is_rows(logits) ||
        logits->n_dims != 2 || last(logits) != up->dims[0] || logits->dims[0] != x->dims[0]) {
        return bad(in, "expected x [rows][K] and router logits [rows][E]");
    }
    if (in->node->n_inputs == 5 && !is_vector(input(in, 4), up->dims[0]))
        return bad(in, "expected a scale of every expert [E]");
    if (at->top_k < 1 || at->top_k > up->dims[0] || at->top_k > ELM_MAX_TOP_K)
        return bad(in, "top_k must be 1 to 64 and no more than there are experts");
    if (at->activation < 0 || at->activation >= ELM_N_ACTIVATIONS || at->renormalise < 0 ||
        at->renormalise > 1) {
        return bad(in, "unknown activation or renormalise");
    }
    bool quantised = is_quantised(up) && is_quantised(down);
    if (at->act_quant != ELM_ACT_QUANT_NONE && (at->act_quant != ELM_ACT_QUANT_I8 || !quantised))
        return bad(in, "act_quant must be 0, or 1 with quantised weights");
    *in->n_dims = 2;
    in->dims[0] = x->dims[0];
    in->dims[1] = down->dims[1];
    return ELM_OK;
}

elm_status elm_node_infer(const elm_module *m, const elm_graph *g, const elm_node *node,
                          uint32_t *n_dims, elm_dim dims[ELM_MAX_DIMS], elm_error *err) {
    const elm_op_info *info = elm_op_get(node->op);
    const char *name = node->name ? node->name : "?";
    *n_dims = 0;
    memset(dims, 0, ELM_MAX_DIMS * sizeof dims[0]);
    if (!info)
        return elm_fail(err, ELM_UNSUPPORTED, "node '%s': operation %u is not known", name,
                        (unsigned)node->op);
    if (node->n_inputs < info->min_inputs || node->n_inputs > info->max_inputs) {
        return elm_fail(err, ELM_MALFORMED, "node '%s' (%s): %u inputs; expected %u..%u", name,
                        info->text, node->n_inputs, info->min_inputs, info->max_inputs);
    }
    inference in = {m, g, node, n_dims, dims, err};
    switch (node->op) {
    case ELM_OP_EMBEDDING:
        return infer_embedding(&in);
    case ELM_OP_LINEAR:
        return infer_linear(&in);
    case ELM_OP_RMS_NORM:
        return infer_rms_norm(&in);
    case ELM_OP_ROPE:
        return infer_rope(&in);
    case ELM_OP_KV_WRITE:
        return infer_kv_write(&in);
    case ELM_OP_ATTENTION:
        return infer_attention(&in);
    case ELM_OP_GLU:
        return infer_glu(&in);
    case ELM_OP_ADD:
        return infer_add(&in);
    case ELM_OP_SLICE:
        return infer_slice(&in);
    case ELM_OP_RESHAPE:
        return infer_reshape(&in);
    case ELM_OP_GATHER_ROWS:
        return infer_gather_rows(&in);
    case ELM_OP_CONCAT:
        return infer_concat(&in);
    case ELM_OP_MUL:
        return infer_mul(&in);
    case ELM_OP_SOFTCAP:
        return infer_softcap(&in);
    case ELM_OP_LOAD_HIDDEN:
        return infer_load_hidden(&in);
    case ELM_OP_CAUSAL_CONV1D:
        return infer_causal_conv1d(&in);
    case ELM_OP_GATED_DELTA_NET:
        return infer_gated_delta_net(&in);
    case ELM_OP_MOE:
        return infer_moe(&in);
    }
    return bad(&in, "the operation has no shape rule");
}
