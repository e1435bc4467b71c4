/* attention_block.c - scores, softmax and values of a block of 64 positions. Layer: backend/cpu.
 *
 * Over an int8 cache queries are int8 and the weights of a block integers, so that both products are
 * integer ones. */
#include "backend/cpu/attention_block.h"

#include <math.h>

enum { BLOCK = ELM_CPU_KV_BLOCK };
_Static_assert((int)BLOCK == (int)ELM_KV_BLOCK, "a block of keys lies together in the cache");
_Static_assert((int)ELM_CPU_WEIGHT_ONE == (int)ELM_KV_WEIGHT_ONE,
               "values are weighed as by the oracle");

/* Positions that token i of the tile sees: [*lo, *hi), cut to the block at `base`; empty when *lo
 * >= *hi. */
static void visible(const elm_cpu_tile *t, size_t i, size_t base, size_t *lo, size_t *hi) {
    size_t position = t->first + i, window = (size_t)t->attrs->window;
    *lo = window && position + 1 > window ? position + 1 - window : 0;
    *hi = position + 1;
    if (*lo < base) *lo = base;
    if (*hi > base + BLOCK) *hi = base + BLOCK;
}

static const uint8_t *at_element(const elm_kv *kv, const void *plane, size_t index) {
    return (const uint8_t *)plane + index * elm_dtype_get(kv->dtype)->bits / 8;
}

/* Bytes from a row of a plane to the same row of the block that is read next. */
static size_t next_block(const elm_cpu_tile *t, size_t width) {
    return t->stride * BLOCK * width * elm_dtype_get(t->kv->dtype)->bits / 8;
}

elm_cpu_sight elm_cpu_sight_of(const elm_cpu_tile *t, size_t base) {
    elm_cpu_sight s = {t->n_tokens, 0, base + BLOCK, base};
    for (size_t i = 0; i < t->n_tokens; i++) {
        size_t lo, hi;
        visible(t, i, base, &lo, &hi);
        if (lo >= hi) continue;
        if (i < s.i0) s.i0 = i;
        s.i1 = i + 1;
        if (lo < s.from) s.from = lo;
        if (hi > s.to) s.to = hi;
    }
    return s;
}

/* Scores of a query as the softmax takes them: scaled, capped, -inf for what it does not see. */
static void finish_scores(const elm_cpu_tile *t, size_t q, size_t base, size_t row, size_t lo,
                          size_t hi) {
    float *s = t->s + q * BLOCK, cap = t->attrs->softcap;
    const size_t begin = lo - base, end = hi - base;
    const float *k_scales = t->kv->dtype == ELM_I8 ? t->kv->k_scales + row : NULL;
    t->kernels->scale_scores(s, k_scales, t->attrs->scale);
    if (cap > 0.0f)
        for (size_t j = begin; j < end; j++) s[j] = cap * tanhf(s[j] / cap);
    for (size_t j = 0; j < begin; j++) s[j] = -INFINITY;
    for (size_t j = end; j < BLOCK; j++) s[j] = -INFINITY;
}

void elm_cpu_block_scores(const elm_cpu_tile *t, const elm_cpu_sight *seen, size_t base) {
    const elm_kv *kv = t->kv;
    const size_t slot = elm_kv_slot(kv, base), row = elm_kv_row(kv, t->kv_head, slot);
    const size_t q0 = seen->i0 * t->group, n_q = (seen->i1 - seen->i0) * t->group;
    const void *k = at_element(kv, kv->k, elm_kv_k_panel(kv, t->kv_head, slot));
    float *s = t->s + q0 * BLOCK;
    if (kv->dtype == ELM_I8) {
        elm_cpu_acts codes = t->codes;
        codes.q += q0 * codes.q_stride;
        codes.d += q0 * codes.block_stride;
        codes.sum += q0 * codes.block_stride;
        t->kernels->scores_i8(&codes, n_q, k, t->k_dim, s);
    } else {
        const size_t ahead = next_block(t, elm_kv_k_width(kv));
        t->kernels->scores[kv->dtype == ELM_F32 ? 0 : 1](t->q + q0 * t->k_dim, t->k_dim, n_q, k,
                                                         t->k_dim, seen->to - base, ahead, s);
    }
    for (size_t i = seen->i0; i < seen->i1; i++) {
        size_t lo, hi;
        visible(t, i, base, &lo, &hi);
        for (size_t g = 0; g < t->group; g++) finish_scores(t, i * t->group + g, base, row, lo, hi);
    }
}

void elm_cpu_block_softmax(const elm_cpu_tile *t, size_t q0, size_t q1) {
    t->kernels->softmax(t->s + q0 * BLOCK, q1 - q0, t->chunk.m + q0, t->chunk.l + q0, t->c + q0);
}

/* o = o * c, then the weighted values of [from, to), for queries [q0, q0 + n_q). */
static void add_values(const elm_cpu_tile *t, size_t q0, size_t n_q, const float *c, size_t base,
                       size_t from, size_t to) {
    const elm_kv *kv = t->kv;
    const void *v = at_element(kv, kv->v, elm_kv_v_row(kv, t->kv_head, elm_kv_slot(kv, from)));
    t->kernels->values[kv->dtype == ELM_F32 ? 0 : 1](t->s + q0 * BLOCK + (from - base), c, n_q, v,
                                                     to - from, t->v_pad, next_block(t, t->v_pad),
                                                     t->chunk.o + q0 * t->v_pad, t->v_pad);
}

/* The values of a block, with weights as integers: all 64, for what a token does not see weighs 0. */
static void block_values_i8(const elm_cpu_tile *t, const elm_cpu_sight *seen, size_t base) {
    const elm_kv *kv = t->kv;
    const size_t slot = elm_kv_slot(kv, base), row = elm_kv_row(kv, t->kv_head, slot);
    const size_t q0 = seen->i0 * t->group, q1 = seen->i1 * t->group;
    for (size_t q = q0; q < q1; q++)
        t->unit[q] = t->kernels->weigh_i8(t->s + q * BLOCK, kv->v_scales + row,
                                          t->w + q * ELM_CPU_WEIGHT_CODES);
    const int8_t *v = kv->v;
    v += elm_kv_v_row(kv, t->kv_head, slot);
    t->kernels->values_i8(t->w + q0 * ELM_CPU_WEIGHT_CODES, t->unit + q0, t->c + q0, q1 - q0, v,
                          t->v_pad, t->chunk.o + q0 * t->v_pad, t->v_pad);
}

/* The same of floats, each token over exactly the positions that it sees: what all see runs
 * together, the rest of each token before and after. */
static void block_values(const elm_cpu_tile *t, const elm_cpu_sight *seen, size_t base) {
    const size_t i0 = seen->i0, i1 = seen->i1, from = seen->from, to = seen->to;
    size_t lo, hi, unused;
    visible(t, i1 - 1, base, &lo,
            &unused); /* bounds rise with the token: common part = [last lo, first hi) */
    visible(t, i0, base, &unused, &hi);
    size_t q0 = i0 * t->group, n_q = (i1 - i0) * t->group;
    if (lo == from && hi == to) {
        add_values(t, q0, n_q, t->c + q0, base, from, to);
        return;
    }
    if (lo >= hi) lo = hi = to; /* nothing in common: all of it in the first part */
    for (size_t i = i0; i < i1; i++) {
        size_t own_lo, own_hi, q = i * t->group;
        visible(t, i, base, &own_lo, &own_hi);
        size_t front = own_hi < lo ? own_hi : lo;
        if (front < own_lo) front = own_lo; /* nothing in front: only the factor */
        add_values(t, q, t->group, t->c + q, base, own_lo, front);
    }
    if (lo < hi) add_values(t, q0, n_q, t->ones, base, lo, hi);
    for (size_t i = i0; i < i1; i++) {
        size_t own_lo, own_hi;
        visible(t, i, base, &own_lo, &own_hi);
        if (hi < own_hi) add_values(t, i * t->group, t->group, t->ones, base, hi, own_hi);
    }
}

void elm_cpu_block_add(const elm_cpu_tile *t, const elm_cpu_sight *seen, size_t base) {
    if (t->kv->dtype == ELM_I8)
        block_values_i8(t, seen, base);
    else
        block_values(t, seen, base);
}
