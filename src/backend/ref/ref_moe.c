/* ref_moe.c - experts of a token one after the other; backend/ref. */
#include "backend/ref/ref.h"

#include "ir/p16.h"

#include <math.h>

/* One expert's matrices: quantised input or not, one row at a time. */
static double row_of(const elm_ref_call *c, const elm_tensor *w, uint32_t expert, uint32_t row,
                     const float *x, const float *codes, const float *scales) {
    size_t at = elm_tensor_stack_row(w, expert, row);
    return c->node->attrs.act_quant == ELM_ACT_QUANT_I8
               ? elm_ref_dot_quantised(w, at, codes, scales)
               : elm_ref_dot(w, at, x);
}

/* out += weight * down(activation(gate x) * (up x)) */
static void add_expert(const elm_ref_call *c, uint32_t expert, double weight, const float *x,
                       float *out) {
    const elm_tensor *gate_up = elm_ref_weight(c, 2), *down = elm_ref_weight(c, 3);
    float *codes = c->row, *scales = codes + c->row_floats, *h = scales + c->row_floats;
    uint32_t n = down->dims[2];
    elm_ref_quantise(x, gate_up->dims[2], codes, scales);
    for (uint32_t i = 0; i < n; i++) {
        double gate = row_of(c, gate_up, expert, i, x, codes, scales);
        double up = row_of(c, gate_up, expert, n + i, x, codes, scales);
        double g = elm_ref_activate(c->node->attrs.activation, (double)(float)gate);
        h[i] = (float)(g * (double)(float)up);
    }
    elm_ref_quantise(h, n, codes, scales);
    for (uint32_t i = 0; i < down->dims[1]; i++) {
        double y = row_of(c, down, expert, i, h, codes, scales);
        out[i] = (float)((double)out[i] + weight * (double)(float)y);
    }
}

/* The expert with the largest logit that is not taken yet; the lowest of equals. */
static uint32_t next_expert(const float *logits, uint32_t n, const uint32_t *taken,
                            uint32_t n_taken) {
    uint32_t best = UINT32_MAX;
    for (uint32_t e = 0; e < n; e++) {
        bool is_taken = false;
        for (uint32_t i = 0; i < n_taken; i++) is_taken = is_taken || taken[i] == e;
        if (!is_taken && (best == UINT32_MAX || logits[e] > logits[best])) best = e;
    }
    return best;
}

void elm_ref_moe(const elm_ref_call *c) {
    const elm_tensor *scale = elm_ref_weight(c, 4);
    uint32_t rows = elm_ref_rows(c, c->node->output), n = elm_ref_inner(c, c->node->output);
    uint32_t n_experts = elm_ref_inner(c, c->node->inputs[1]);
    uint32_t top_k = (uint32_t)c->node->attrs.top_k;
    for (uint32_t r = 0; r < rows; r++) {
        const float *x = elm_ref_row(c, c->node->inputs[0], r);
        const float *logits = elm_ref_row(c, c->node->inputs[1], r);
        float *out = elm_ref_row(c, c->node->output, r);
        uint32_t chosen[ELM_MAX_TOP_K] = {0};
        double total = 0.0, chosen_total = 0.0;
        for (uint32_t i = 0; i < n; i++) out[i] = 0.0f;
        for (uint32_t i = 0; i < top_k; i++) chosen[i] = next_expert(logits, n_experts, chosen, i);
        double top = (double)logits[chosen[0]];
        for (uint32_t e = 0; e < n_experts; e++) total += exp((double)logits[e] - top);
        for (uint32_t i = 0; i < top_k; i++) chosen_total += exp((double)logits[chosen[i]] - top);
        if (c->node->attrs.renormalise) total = chosen_total;
        for (uint32_t i = 0; i < top_k; i++) {
            double weight = exp((double)logits[chosen[i]] - top) / total;
            if (scale) weight *= (double)elm_tensor_at(scale, 0, chosen[i]);
            add_expert(c, chosen[i], weight, x, out);
        }
    }
}
