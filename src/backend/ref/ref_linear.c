/* ref_linear.c - embedding and linear, read literally from docs/ops.md; backend/ref. */
#include "backend/ref/ref.h"

#include "ir/p16.h"

#include <math.h>
#include <string.h>

void elm_ref_embedding(const elm_ref_call *c) {
    const elm_tensor *table = elm_ref_weight(c, 1);
    for (uint32_t t = 0; t < c->step->n_tokens; t++) {
        float *out = elm_ref_row(c, c->node->output, t);
        elm_tensor_row(table, (size_t)c->step->tokens[t], out);
        for (uint32_t i = 0; i < table->dims[1]; i++) out[i] *= c->node->attrs.scale;
    }
}

double elm_ref_dot(const elm_tensor *w, size_t row, const float *x) {
    double sum = 0.0;
    for (uint32_t k = 0; k < elm_tensor_cols(w); k++)
        sum += (double)elm_tensor_at(w, row, k) * (double)x[k];
    return sum;
}

void elm_ref_quantise(const float *x, uint32_t n, float *codes, float *scales) {
    for (uint32_t g = 0; g * ELM_ACT_GROUP < n; g++) {
        uint32_t first = g * ELM_ACT_GROUP,
                 count = n - first < ELM_ACT_GROUP ? n - first : ELM_ACT_GROUP;
        float amax = 0.0f;
        for (uint32_t i = 0; i < count; i++) {
            if (fabsf(x[first + i]) > amax) amax = fabsf(x[first + i]);
        }
        float inverse = amax > 0.0f ? 127.0f / amax : 0.0f;
        scales[g] = amax / 127.0f;
        for (uint32_t i = 0; i < count; i++) codes[first + i] = rintf(x[first + i] * inverse);
    }
}

/* sum over groups of 32: (exact integer sum of (u - zero) a) * (scale * d), then the tensor's
 * exponent. */
double elm_ref_dot_quantised(const elm_tensor *w, size_t row, const float *codes,
                             const float *scales) {
    uint32_t cols = elm_tensor_cols(w);
    double sum = 0.0;
    for (uint32_t first = 0; first < cols; first += ELM_ACT_GROUP) {
        uint32_t left = cols - first, count = left < ELM_ACT_GROUP ? left : ELM_ACT_GROUP;
        float scale = elm_tensor_scale_at(w, row, first);
        double integer = 0.0; /* below 2^53: exact */
        for (uint32_t i = 0; i < count; i++) {
            uint32_t k = first + i;
            integer += (double)elm_tensor_code_at(w, row, k) * (double)codes[k];
        }
        sum += integer * (double)(scale * scales[first / ELM_ACT_GROUP]);
    }
    return ldexp(sum, w->scale_exp);
}

void elm_ref_linear(const elm_ref_call *c) {
    const elm_tensor *w = elm_ref_weight(c, 1), *bias = elm_ref_weight(c, 2);
    bool quantised = c->node->attrs.act_quant == ELM_ACT_QUANT_I8;
    uint32_t rows = elm_ref_rows(c, c->node->output);
    float *codes = c->row, *scales = c->row + c->row_floats;
    for (uint32_t r = 0; r < rows; r++) {
        const float *x = elm_ref_row(c, c->node->inputs[0], r);
        float *out = elm_ref_row(c, c->node->output, r);
        if (quantised) elm_ref_quantise(x, w->dims[1], codes, scales);
        for (uint32_t n = 0; n < w->dims[0]; n++) {
            double y =
                quantised ? elm_ref_dot_quantised(w, n, codes, scales) : elm_ref_dot(w, n, x);
            if (bias) y += (double)elm_tensor_at(bias, 0, n);
            out[n] = (float)y;
        }
    }
}
