/* ref_simple.c - elementwise operations and those that move rows; backend/ref. */
#include "backend/ref/ref.h"

#include <math.h>
#include <string.h>

double elm_ref_activate(int32_t activation, double x) {
    switch (activation) {
    case ELM_GELU_TANH:
        return 0.5 * x * (1.0 + tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
    case ELM_GELU_ERF:
        return 0.5 * x * (1.0 + erf(x * 0.70710678118654752440));
    case ELM_SIGMOID:
        return 1.0 / (1.0 + exp(-x));
    default:
        return x / (1.0 + exp(-x));
    }
}

void elm_ref_glu(const elm_ref_call *c) {
    uint32_t rows = elm_ref_rows(c, c->node->output), n = elm_ref_inner(c, c->node->output);
    bool column = c->node->n_inputs == 2 && elm_ref_inner(c, c->node->inputs[0]) == 1;
    for (uint32_t r = 0; r < rows; r++) {
        const float *gate = elm_ref_row(c, c->node->inputs[0], r);
        const float *up = c->node->n_inputs == 2 ? elm_ref_row(c, c->node->inputs[1], r) : gate + n;
        float *out = elm_ref_row(c, c->node->output, r);
        for (uint32_t i = 0; i < n; i++) {
            double g = elm_ref_activate(c->node->attrs.activation, (double)gate[column ? 0 : i]);
            out[i] = (float)(g * (double)up[i]);
        }
    }
}

void elm_ref_add(const elm_ref_call *c) {
    uint32_t rows = elm_ref_rows(c, c->node->output), n = elm_ref_inner(c, c->node->output);
    for (uint32_t r = 0; r < rows; r++) {
        const float *a = elm_ref_row(c, c->node->inputs[0], r),
                    *b = elm_ref_row(c, c->node->inputs[1], r);
        float *out = elm_ref_row(c, c->node->output, r);
        for (uint32_t i = 0; i < n; i++) out[i] = a[i] + b[i];
    }
}

void elm_ref_gather_rows(const elm_ref_call *c) {
    uint32_t n = elm_ref_inner(c, c->node->output);
    for (uint32_t r = 0; r < c->step->n_rows; r++) {
        memcpy(elm_ref_row(c, c->node->output, r),
               elm_ref_row(c, c->node->inputs[0], (uint32_t)c->step->rows[r]), n * sizeof(float));
    }
}

void elm_ref_concat(const elm_ref_call *c) {
    uint32_t rows = elm_ref_rows(c, c->node->output);
    uint32_t a = elm_ref_inner(c, c->node->inputs[0]), b = elm_ref_inner(c, c->node->inputs[1]);
    for (uint32_t r = 0; r < rows; r++) {
        float *out = elm_ref_row(c, c->node->output, r);
        memcpy(out, elm_ref_row(c, c->node->inputs[0], r), a * sizeof *out);
        memcpy(out + a, elm_ref_row(c, c->node->inputs[1], r), b * sizeof *out);
    }
}

void elm_ref_mul(const elm_ref_call *c) {
    uint32_t rows = elm_ref_rows(c, c->node->output), n = elm_ref_inner(c, c->node->output);
    const float *factor = elm_ref_weight(c, 1)->codes;
    for (uint32_t r = 0; r < rows; r++) {
        const float *x = elm_ref_row(c, c->node->inputs[0], r);
        float *out = elm_ref_row(c, c->node->output, r);
        for (uint32_t i = 0; i < n; i++) out[i] = x[i] * *factor;
    }
}

void elm_ref_softcap(const elm_ref_call *c) {
    uint32_t rows = elm_ref_rows(c, c->node->output), n = elm_ref_inner(c, c->node->output);
    double cap = (double)c->node->attrs.softcap;
    for (uint32_t r = 0; r < rows; r++) {
        const float *x = elm_ref_row(c, c->node->inputs[0], r);
        float *out = elm_ref_row(c, c->node->output, r);
        for (uint32_t i = 0; i < n; i++) out[i] = (float)(cap * tanh((double)x[i] / cap));
    }
}

void elm_ref_load_hidden(const elm_ref_call *c) {
    uint32_t n = elm_ref_inner(c, c->node->output);
    for (uint32_t t = 0; t < c->step->n_tokens; t++) {
        memcpy(elm_ref_row(c, c->node->output, t),
               c->step->hidden + (size_t)t * c->step->hidden_stride, n * sizeof(float));
    }
}
