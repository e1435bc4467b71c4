/* ref_attention.c - kv_write and attention over what is stored; backend/ref. */
#include "backend/kv.h"
#include "backend/ref/ref.h"
#include "ir/p16.h"

#include <math.h>
#include <string.h>

static elm_kv *state_of(const elm_ref_call *c, uint32_t input) {
    return &c->step->states[c->info->graph->values[c->node->inputs[input]].index];
}

void elm_ref_kv_write(const elm_ref_call *c) {
    elm_kv *kv = state_of(c, 2);
    for (uint32_t t = 0; t < c->step->n_tokens; t++) {
        const float *k = elm_ref_row(c, c->node->inputs[0], t),
                    *v = elm_ref_row(c, c->node->inputs[1], t);
        for (uint32_t h = 0; h < kv->n_heads; h++) {
            elm_kv_store(kv, false, h, c->step->n_past + t, k + (size_t)h * kv->k_dim);
            elm_kv_store(kv, true, h, c->step->n_past + t, v + (size_t)h * kv->v_dim);
        }
    }
}

static double score(const elm_ref_call *c, const elm_kv *kv, uint32_t head, uint32_t j,
                    const float *q) {
    double sum = 0.0, cap = (double)c->node->attrs.softcap;
    elm_kv_load(kv, false, head, j, c->row);
    for (uint32_t i = 0; i < kv->k_dim; i++) sum += (double)q[i] * (double)c->row[i];
    sum *= (double)c->node->attrs.scale;
    return cap > 0.0 ? cap * tanh(sum / cap) : sum;
}

/* The query as an int8 cache meets it: codes of groups of 32, each times its scale. */
static const float *query(const elm_ref_call *c, const elm_kv *kv, const float *q) {
    float *codes = c->row + 2 * c->row_floats, *scales = codes + c->row_floats;
    if (kv->dtype != ELM_I8) return q;
    elm_ref_quantise(q, kv->k_dim, codes, scales);
    for (uint32_t i = 0; i < kv->k_dim; i++) codes[i] *= scales[i / ELM_ACT_GROUP];
    return codes;
}

/* Weights of positions [from, to) of one block of 64. An int8 cache has them as integers beside the
 * scales of its values: the largest product of both is ELM_KV_WEIGHT_ONE. */
static void weights(const elm_ref_call *c, const elm_kv *kv, uint32_t head, uint32_t from,
                    uint32_t to, const float *q, double top, double total, double *p) {
    const double one = ELM_KV_WEIGHT_ONE;
    const float *scales = kv->v_scales;
    double largest = 0.0;
    for (uint32_t j = from; j < to; j++) p[j - from] = exp(score(c, kv, head, j, q) - top) / total;
    if (kv->dtype != ELM_I8) return;
    for (uint32_t j = from; j < to; j++) {
        double w = p[j - from] * (double)scales[elm_kv_row(kv, head, elm_kv_slot(kv, j))];
        if (w > largest) largest = w;
    }
    for (uint32_t j = from; j < to && largest > 0.0; j++) {
        double scale = (double)scales[elm_kv_row(kv, head, elm_kv_slot(kv, j))];
        if (!(scale > 0.0)) continue; /* its values are 0 */
        p[j - from] = rint(p[j - from] * scale * (one / largest)) / one * largest;
        p[j - from] /= scale;
    }
}

/* Two passes over the keys: the largest score first, then the weighted sum. Scores are computed
 * again rather than kept: the oracle needs no memory that grows with the context. */
static void attend(const elm_ref_call *c, const elm_kv *kv, uint32_t head, uint32_t position,
                   const float *q, float *out) {
    uint32_t window = (uint32_t)c->node->attrs.window;
    uint32_t first = window && position + 1 > window ? position + 1 - window : 0;
    double top = -INFINITY, total = 0.0;
    float *v = c->row + c->row_floats;
    q = query(c, kv, q);
    for (uint32_t j = first; j <= position; j++) {
        double s = score(c, kv, head, j, q);
        if (s > top) top = s;
    }
    for (uint32_t j = first; j <= position; j++) total += exp(score(c, kv, head, j, q) - top);
    for (uint32_t i = 0; i < kv->v_dim; i++) out[i] = 0.0f;
    /* Accumulate in blocks of outputs held in double. */
    enum { BLOCK = 16 };
    for (uint32_t begin = 0; begin < kv->v_dim; begin += BLOCK) {
        double sums[BLOCK] = {0};
        uint32_t n = kv->v_dim - begin < BLOCK ? kv->v_dim - begin : BLOCK;
        for (uint32_t from = first, to; from <= position; from = to) {
            double p[ELM_KV_BLOCK];
            to = from / ELM_KV_BLOCK * ELM_KV_BLOCK + ELM_KV_BLOCK;
            if (to > position + 1) to = position + 1;
            weights(c, kv, head, from, to, q, top, total, p);
            for (uint32_t j = from; j < to; j++) {
                elm_kv_load(kv, true, head, j, v);
                for (uint32_t i = 0; i < n; i++) sums[i] += p[j - from] * (double)v[begin + i];
            }
        }
        for (uint32_t i = 0; i < n; i++) out[begin + i] = (float)sums[i];
    }
}

void elm_ref_attention(const elm_ref_call *c) {
    const elm_kv *kv = state_of(c, 1);
    const elm_value *q = &c->info->graph->values[c->node->inputs[0]];
    uint32_t heads = (uint32_t)q->dims[1], dim = (uint32_t)q->dims[2];
    uint32_t rows = elm_ref_rows(c, c->node->output);
    for (uint32_t t = 0; t < rows; t++) {
        uint32_t position = c->step->n_past + elm_ref_token(c, c->node->output, t);
        for (uint32_t h = 0; h < heads; h++) {
            attend(c, kv, h / (heads / kv->n_heads), position,
                   elm_ref_row(c, c->node->inputs[0], t) + (size_t)h * dim,
                   elm_ref_row(c, c->node->output, t) + (size_t)h * kv->v_dim);
        }
    }
}
