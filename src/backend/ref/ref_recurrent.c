/* ref_recurrent.c - causal_conv1d and gated_delta_net, token by token; backend/ref.
 *
 * Both begin with the tokens of a held step that the runtime has accepted (backend.h). */
#include "backend/ref/ref.h"

#include "ir/p16.h"

#include <assert.h>
#include <math.h>
#include <string.h>

static elm_recurrent *state_of(const elm_ref_call *c, uint32_t input, const elm_state **out) {
    uint32_t index = c->info->graph->values[c->node->inputs[input]].index;
    *out = &c->info->module->states[index];
    return &c->step->recurrent[index];
}

/* ---- causal_conv1d ---- */

/* The state becomes the last k_dim rows of itself with `row` behind it. */
static void conv_push(const elm_state *s, float *values, const float *row) {
    size_t kept = (size_t)(s->k_dim - 1) * s->v_dim;
    memmove(values, values + s->v_dim, kept * sizeof *values);
    memcpy(values + kept, row, s->v_dim * sizeof *values);
}

static void conv_commit(const elm_ref_call *c, const elm_state *s, elm_recurrent *r) {
    for (uint32_t i = 0; i < c->step->n_commit; i++)
        conv_push(s, r->values, r->held + i * elm_state_held_floats(s));
}

void elm_ref_causal_conv1d(const elm_ref_call *c) {
    const elm_state *s;
    elm_recurrent *r = state_of(c, 2, &s);
    const float *taps = elm_ref_weight(c, 1)->codes; /* [k_dim + 1][v_dim] */
    uint32_t n = s->v_dim, n_taps = s->k_dim + 1;
    conv_commit(c, s, r);
    for (uint32_t t = 0; t < c->step->n_tokens; t++) {
        float *out = elm_ref_row(c, c->node->output, t);
        for (uint32_t i = 0; i < n; i++) {
            double sum = 0.0;
            for (uint32_t j = 0; j < n_taps; j++) {
                int64_t at = (int64_t)t + j - s->k_dim; /* token of this step; before it: state */
                float x = at < 0 ? r->values[(size_t)(at + s->k_dim) * n + i]
                                 : elm_ref_row(c, c->node->inputs[0], (uint32_t)at)[i];
                sum += (double)x * (double)taps[(size_t)j * n + i];
            }
            out[i] = (float)elm_ref_activate(c->node->attrs.activation, sum);
        }
    }
    for (uint32_t t = 0; t < c->step->n_tokens; t++) {
        const float *x = elm_ref_row(c, c->node->inputs[0], t);
        if (c->step->hold)
            memcpy(r->held + t * elm_state_held_floats(s), x, n * sizeof *x);
        else
            conv_push(s, r->values, x);
    }
}

/* ---- gated_delta_net ---- */

/* One token of one head: unit vectors q and k, v, the decay exp(gamma) and the strength beta. */
typedef struct token {
    double q_factor, k_factor; /* what normalises them */
    const float *q, *k, *v;
    double decay, beta;
} token;

static double factor_of(const float *x, uint32_t n, double eps) {
    double sum = 0.0;
    for (uint32_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    return 1.0 / sqrt(sum + eps);
}

static double softplus(double x) {
    return x > 20.0 ? x : log1p(exp(x));
}

static token token_of(const elm_ref_call *c, const elm_state *s, uint32_t head, uint32_t t) {
    const elm_node *node = c->node;
    const float *m = elm_ref_row(c, node->inputs[0], t);
    double b = (double)elm_ref_row(c, node->inputs[1], t)[head];
    double a = (double)elm_ref_row(c, node->inputs[2], t)[head];
    double rate = (double)elm_tensor_at(elm_ref_weight(c, 3), 0, head);
    double bias = (double)elm_tensor_at(elm_ref_weight(c, 4), 0, head);
    double eps = (double)node->attrs.eps;
    assert(s->k_dim > 0 && s->n_heads > 0); /* as the graph's check says */
    uint32_t keys = (elm_ref_inner(c, node->inputs[0]) - s->n_heads * s->v_dim) / 2;
    uint32_t key_head = head * (keys / s->k_dim) / s->n_heads; /* as many, or a part of them */
    token k = {.q = m + key_head * s->k_dim,
               .k = m + keys + key_head * s->k_dim,
               .v = m + 2 * keys + head * s->v_dim,
               .decay = exp(rate * softplus(a + bias)),
               .beta = elm_ref_activate(ELM_SIGMOID, b)};
    k.q_factor = factor_of(k.q, s->k_dim, eps) * (double)node->attrs.scale;
    k.k_factor = factor_of(k.k, s->k_dim, eps);
    return k;
}

/* Column `col` of S [k_dim]: S = S decay; S = S + k (v - S^T k) beta. */
static void update(double *col, uint32_t n, const float *k, double k_factor, double v, double decay,
                   double beta) {
    double seen = 0.0;
    for (uint32_t i = 0; i < n; i++) {
        col[i] *= decay;
        seen += col[i] * (double)k[i] * k_factor;
    }
    double d = (v - seen) * beta;
    for (uint32_t i = 0; i < n; i++) col[i] += (double)k[i] * k_factor * d;
}

/* What a held step leaves for one token of one head: [k_dim] k, [v_dim] v, decay, strength. */
static float *held_of(const elm_state *s, elm_recurrent *r, uint32_t t, uint32_t head) {
    size_t floats = s->k_dim + s->v_dim + 2;
    return r->held + t * elm_state_held_floats(s) + head * floats;
}

static void hold(const elm_ref_call *c, const elm_state *s, elm_recurrent *r, uint32_t head) {
    for (uint32_t t = 0; t < c->step->n_tokens; t++) {
        token k = token_of(c, s, head, t);
        float *out = held_of(s, r, t, head);
        for (uint32_t i = 0; i < s->k_dim; i++) out[i] = (float)((double)k.k[i] * k.k_factor);
        memcpy(out + s->k_dim, k.v, s->v_dim * sizeof *out);
        out[s->k_dim + s->v_dim] = (float)k.decay;
        out[s->k_dim + s->v_dim + 1] = (float)k.beta;
    }
}

/* Columns are independent of each other: one is taken out, run through all tokens, and put back. */
static void column_run(const elm_ref_call *c, const elm_state *s, elm_recurrent *r, uint32_t head,
                       uint32_t j) {
    float *values = r->values + (size_t)head * s->k_dim * s->v_dim + j;
    double *col = (double *)(void *)c->row;
    for (uint32_t i = 0; i < s->k_dim; i++) col[i] = (double)values[(size_t)i * s->v_dim];
    for (uint32_t t = 0; t < c->step->n_commit; t++) {
        const float *h = held_of(s, r, t, head), *gates = h + s->k_dim + s->v_dim;
        update(col, s->k_dim, h, 1.0, (double)h[s->k_dim + j], (double)gates[0], (double)gates[1]);
    }
    if (c->step->hold) {
        for (uint32_t i = 0; i < s->k_dim; i++) values[(size_t)i * s->v_dim] = (float)col[i];
    }
    for (uint32_t t = 0; t < c->step->n_tokens; t++) {
        token k = token_of(c, s, head, t);
        double out = 0.0;
        update(col, s->k_dim, k.k, k.k_factor, (double)k.v[j], k.decay, k.beta);
        for (uint32_t i = 0; i < s->k_dim; i++) out += col[i] * (double)k.q[i] * k.q_factor;
        elm_ref_row(c, c->node->output, t)[head * s->v_dim + j] = (float)out;
    }
    if (!c->step->hold) {
        for (uint32_t i = 0; i < s->k_dim; i++) values[(size_t)i * s->v_dim] = (float)col[i];
    }
}

void elm_ref_gated_delta_net(const elm_ref_call *c) {
    const elm_state *s;
    elm_recurrent *r = state_of(c, 5, &s);
    for (uint32_t head = 0; head < s->n_heads; head++) {
        for (uint32_t j = 0; j < s->v_dim; j++) column_run(c, s, r, head, j);
        if (c->step->hold) hold(c, s, r, head); /* behind the commit, which read it */
    }
}
