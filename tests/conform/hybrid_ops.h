/* hybrid_ops.h - instances of the operations of hybrid and mixture models, for test_ops.c. */
#ifndef TESTS_CONFORM_HYBRID_OPS_H
#define TESTS_CONFORM_HYBRID_OPS_H

#include "conform/instance.h"

static void make_concat(rig *g, uint32_t round, instance *out) {
    uint32_t a = odd_width(g), b = odd_width(g);
    (void)round;
    elm_value_id x = rig_rows(g, a, 2.0f, NULL), y = rig_rows(g, b, 2.0f, NULL);
    rig_test_from_here(g);
    out->output = elm_build_concat(&g->b, "concat", x, y);
    snprintf(out->what, sizeof out->what, "%u and %u", a, b);
}

static void make_mul(rig *g, uint32_t round, instance *out) {
    uint32_t n = odd_width(g);
    (void)round;
    elm_value_id x = rig_rows(g, n, 2.0f, NULL);
    elm_value_id factor = rig_vector(g, 1, 0.5f, 0.4f);
    rig_test_from_here(g);
    out->output = elm_build_mul(&g->b, "mul", x, factor); /* one rounding of the same product */
    snprintf(out->what, sizeof out->what, "%u", n);
}

/* cap (1 - 2 / (e + 1)), e = exp(2x / cap) within (2 |2x / cap| + 4) u relative. */
static void make_softcap(rig *g, uint32_t round, instance *out) {
    uint32_t n = odd_width(g);
    float cap = round % 2 ? 5.0f : 30.0f;
    const float *x;
    elm_value_id in = rig_rows(g, n, round % 3 ? 4.0f : 200.0f, &x);
    rig_test_from_here(g);
    out->output = elm_build_softcap(&g->b, "softcap", in, cap);
    out->bound = bounds(g, n);
    for (size_t i = 0; i < (size_t)RIG_TOKENS * n; i++) {
        double u = fmin(fabs((double)x[i] / (double)cap), 10);
        out->bound[i] = (10 + 4 * u) * RIG_U * (double)cap;
    }
    snprintf(out->what, sizeof out->what, "%u, cap %g", n, (double)cap);
}

static void make_load_hidden(rig *g, uint32_t round, instance *out) {
    uint32_t n = odd_width(g);
    (void)round;
    g->hidden = rig_floats(g, (size_t)RIG_TOKENS * n, 2.0f);
    g->hidden_stride = n;
    elm_value_id in = elm_build_hidden_input(&g->b, n);
    rig_test_from_here(g);
    out->output = elm_build_load_hidden(&g->b, in);
    snprintf(out->what, sizeof out->what, "%u", n);
}

static void make_causal_conv1d(rig *g, uint32_t round, instance *out) {
    uint32_t n = odd_width(g), n_taps = 2 + round % 4;
    const float *x;
    elm_value_id in = rig_rows(g, n, 2.0f, &x);
    float *w = rig_floats(g, (size_t)n_taps * n, 1.0f);
    elm_value_id taps =
        rig_tensor(g, (elm_tensor){.dtype = ELM_F32, .n_dims = 2, .dims = {n_taps, n}, .codes = w});
    elm_value_id state = elm_build_state(&g->b, ELM_STATE_CONV, 0, 1, n_taps - 1, n, 0);
    rig_test_from_here(g);
    out->output = elm_build_causal_conv1d(&g->b, "conv", in, taps, state, ELM_SILU);
    out->bound = bounds(g, n);
    for (uint32_t t = 0; t < RIG_TOKENS; t++)
        for (uint32_t i = 0; i < n; i++) {
            double sum = 0, size = 0;
            for (uint32_t j = 0; j < n_taps; j++) {
                if (t + j < n_taps - 1) continue;
                double p = (double)x[(t + j - (n_taps - 1)) * n + i] * (double)w[j * n + i];
                sum += p;
                size += fabs(p);
            }
            /* the slope of silu is below 1.1 */
            out->bound[t * n + i] =
                activation_bound(ELM_SILU, sum) + 1.1 * (n_taps + 1) * RIG_U * size;
        }
    snprintf(out->what, sizeof out->what, "%u taps, %u channels", n_taps, n);
}

/* Keys are unit rows and strengths below 1, so that S stays below sum |v|; each token rounds every
 * element a few times, and a dot of k_dim terms once each: docs/numerics.md, delta net. */
static void make_gated_delta_net(rig *g, uint32_t round, instance *out) {
    uint32_t key_heads = rig_between(g, 1, 4), group = 1 + round % 3, heads = key_heads * group;
    uint32_t k_dim = rig_between(g, 4, 40), v_dim = round % 2 ? 32 : rig_between(g, 3, 40);
    uint32_t keys = key_heads * k_dim, width = 2 * keys + heads * v_dim;
    float scale = 1.0f / sqrtf((float)k_dim);
    elm_value_id m = rig_rows(g, width, 1.0f, NULL), b = rig_rows(g, heads, 3.0f, NULL);
    elm_value_id a = rig_rows(g, heads, 2.0f, NULL);
    elm_value_id rate = rig_vector(g, heads, -1.0f, 0.9f), bias = rig_vector(g, heads, 0.0f, 1.0f);
    elm_value_id state = elm_build_state(&g->b, ELM_STATE_RECURRENT, 0, heads, k_dim, v_dim, 0);
    rig_test_from_here(g);
    out->output =
        elm_build_gated_delta_net(&g->b, "delta", m, b, a, rate, bias, state, scale, 1e-6f);
    out->bound = bounds(g, heads * v_dim);
    for (uint32_t t = 0; t < RIG_TOKENS; t++)
        for (uint32_t i = 0; i < heads * v_dim; i++)
            out->bound[t * heads * v_dim + i] =
                (k_dim + 4.0 * (t + 1) + 16) * RIG_U * (t + 1) * (double)scale;
    out->state_bound = (k_dim + 4.0 * RIG_TOKENS + 16) * RIG_U * RIG_TOKENS;
    snprintf(out->what, sizeof out->what, "%u/%u heads of %u and %u", heads, key_heads, k_dim,
             v_dim);
}

/* ---- moe ---- */

static elm_value_id rig_stack(rig *g, elm_dtype dtype, uint32_t n, uint32_t rows, uint32_t cols) {
    uint32_t tall = (rows + 15) / 16 * 16 * n;
    (void)rig_matrix(g, dtype, tall, cols, 32, rig_floats(g, (size_t)tall * cols, 1.0f));
    elm_tensor t = g->tensors[--g->n_tensors];
    g->b.graph->n_values--;
    t.n_dims = 3;
    t.dims[0] = n, t.dims[1] = rows, t.dims[2] = cols;
    return rig_tensor(g, t);
}

/* sum w_i x_i of one row of one expert; *size gets the sum of magnitudes. */
static double row_sum(const elm_tensor *w, size_t row, const double *x, double *size) {
    double sum = 0;
    *size = 0;
    for (uint32_t k = 0; k < w->dims[2]; k++) {
        double p = (double)elm_tensor_at(w, row, k) * x[k];
        sum += p;
        *size += fabs(p);
    }
    return sum;
}

/* The largest bound of any expert in the place of the chosen ones. What an expert hands from one
 * matrix to the other is off by roundings of its two sums; where it is quantised, two codes at most
 * may fall the other way, a step of 1/127 of the largest each. */
static void moe_bound(rig *g, const elm_tensor *up, const elm_tensor *down, const float *x,
                      const elm_moe_weights *w, double *bound) {
    uint32_t n = down->dims[2], k_dim = up->dims[2];
    double *in = elm_arena_array(&g->arena, k_dim + 2 * n, sizeof *in), *h = in + k_dim;
    double *error = h + n, roundings = (k_dim + n + 32) * RIG_U;
    for (uint32_t k = 0; k < k_dim; k++) in[k] = (double)x[k];
    for (uint32_t r = 0; r < down->dims[1]; r++) bound[r] = 0;
    for (uint32_t e = 0; e < up->dims[0]; e++) {
        double most = 0;
        for (uint32_t i = 0; i < n; i++) {
            double gate_size, up_size;
            double gate = row_sum(up, elm_tensor_stack_row(up, e, i), in, &gate_size);
            double v = row_sum(up, elm_tensor_stack_row(up, e, n + i), in, &up_size);
            h[i] = activate(w->activation, gate) * v;
            error[i] = roundings * (1.2 * gate_size * up_size + fabs(h[i]));
            most = fmax(most, fabs(h[i]));
        }
        for (uint32_t r = 0; r < down->dims[1]; r++) {
            double size, flip = 0, sum = 0;
            size_t row = elm_tensor_stack_row(down, e, r);
            (void)row_sum(down, row, h, &size);
            for (uint32_t i = 0; i < n; i++) {
                double weight = fabs((double)elm_tensor_at(down, row, i));
                flip = fmax(flip, 2 * weight * 1.1 * most / 127);
                sum += weight * error[i];
            }
            sum += roundings * size + (w->act_quant ? flip : 0);
            bound[r] = fmax(bound[r], 2 * sum); /* scales of experts are up to 2 */
        }
    }
}

static void make_moe(rig *g, uint32_t round, instance *out) {
    static const elm_dtype types[] = {ELM_F32, ELM_I4, ELM_I8, ELM_BF16, ELM_I4Z};
    elm_dtype dtype = types[round % 5];
    uint32_t n_experts = rig_between(g, 3, 9), cols = odd_width(g), n = odd_width(g);
    uint32_t rows = odd_width(g);
    bool quantised = elm_dtype_get(dtype)->has_scales, scaled = round % 2;
    const float *x;
    elm_value_id in = rig_rows(g, cols, 1.0f, &x), logits = rig_rows(g, n_experts, 3.0f, NULL);
    elm_moe_weights w = {.expert_scale = ELM_NO_VALUE,
                         .top_k = 1 + round % 3,
                         .renormalise = round % 4 < 2,
                         .activation = round % 3 ? ELM_SILU : ELM_GELU_TANH,
                         .act_quant = quantised ? ELM_ACT_QUANT_I8 : ELM_ACT_QUANT_NONE};
    w.gate_up = rig_stack(g, dtype, n_experts, 2 * n, cols);
    uint32_t up_index = g->n_tensors - 1;
    w.down = rig_stack(g, dtype, n_experts, rows, n);
    if (scaled) w.expert_scale = rig_vector(g, n_experts, 1.25f, 0.75f);
    rig_test_from_here(g);
    out->output = elm_build_moe(&g->b, "moe", in, logits, &w);
    out->bound = bounds(g, rows);
    for (size_t t = 0; t < RIG_TOKENS; t++)
        moe_bound(g, &g->tensors[up_index], &g->tensors[up_index + 1], x + t * cols, &w,
                  out->bound + t * rows);
    snprintf(out->what, sizeof out->what, "%s, %u of %u experts %u -> %u -> %u",
             elm_dtype_get(dtype)->text, w.top_k, n_experts, cols, n, rows);
}

#endif
