/* ref_norm_rope.c - rms_norm and rope; backend/ref. */
#include "backend/ref/ref.h"

#include "ir/p16.h"

#include <math.h>

void elm_ref_rms_norm(const elm_ref_call *c) {
    const elm_value *v = &c->info->graph->values[c->node->output];
    const elm_tensor *w = elm_ref_weight(c, 1);
    uint32_t n = (uint32_t)v->dims[v->n_dims - 1];
    uint32_t groups = elm_ref_inner(c, c->node->output) / n,
             rows = elm_ref_rows(c, c->node->output);
    for (uint32_t r = 0; r < rows; r++) {
        for (uint32_t g = 0; g < groups; g++) {
            const float *x = elm_ref_row(c, c->node->inputs[0], r) + (size_t)g * n;
            float *out = elm_ref_row(c, c->node->output, r) + (size_t)g * n;
            double sum = 0.0;
            for (uint32_t i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
            double inverse = 1.0 / sqrt(sum / n + (double)c->node->attrs.eps);
            for (uint32_t i = 0; i < n; i++) {
                double weight = w ? (double)elm_tensor_at(w, 0, i) : 1.0;
                out[i] = (float)((double)x[i] * inverse * weight);
            }
        }
    }
}

void elm_ref_rope(const elm_ref_call *c) {
    const elm_value *v = &c->info->graph->values[c->node->output];
    const elm_tensor *freq = elm_ref_weight(c, 2);
    uint32_t heads = (uint32_t)v->dims[1], dim = (uint32_t)v->dims[2];
    uint32_t stride = (uint32_t)c->node->attrs.pair_stride, n = freq->dims[0];
    uint32_t rows = elm_ref_rows(c, c->node->output);
    for (uint32_t t = 0; t < rows; t++) {
        float position = (float)c->step->positions[elm_ref_token(c, c->node->output, t)];
        for (uint32_t h = 0; h < heads; h++) {
            const float *x = elm_ref_row(c, c->node->inputs[0], t) + (size_t)h * dim;
            float *out = elm_ref_row(c, c->node->output, t) + (size_t)h * dim;
            for (uint32_t i = 0; i < dim; i++) out[i] = x[i];
            for (uint32_t i = 0; i < n; i++) {
                /* The angle is a float product, as the definition says; the rest is exact. */
                float angle = position * elm_tensor_at(freq, 0, i);
                double cosine = cos((double)angle) * (double)c->node->attrs.scale;
                double sine = sin((double)angle) * (double)c->node->attrs.scale;
                double a = (double)x[i], b = (double)x[i + stride];
                out[i] = (float)(a * cosine - b * sine);
                out[i + stride] = (float)(b * cosine + a * sine);
            }
        }
    }
}
