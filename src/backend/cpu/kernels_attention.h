/* kernels_attention.h - attention over a stored cache, in floats, written once over the v16 that
 * the including file brought along.
 *
 * Layer: backend/cpu. Included behind kernels_float.h by one .c file of each instruction set. Keys
 * lie in panels of 16 positions (backend/kv.h), so scores are those of a matrix product: each has
 * one chain of fused multiply-adds over the dimensions, ascending. Values have one chain over the
 * positions, ascending. No tile shape changes a bit. */
#ifndef ELM_BACKEND_CPU_KERNELS_ATTENTION_H
#define ELM_BACKEND_CPU_KERNELS_ATTENTION_H

#include "backend/cpu/kernels_float.h"

enum {
    KEY_PANELS = ELM_CPU_KV_BLOCK / 16,
    MAX_TILE = 24, /* accumulators of a tile, of 16 floats each */
};

ELM_INLINE v16 v_load_kv(const void *base, size_t index, const int dtype) {
    if (dtype == 0) return v_load((const float *)base + index);
    return v_load_f16((const uint16_t *)base + index);
}

/* Several tiles of queries read the same keys or values: the first at the speed of memory, the others from
 * the cache, at that of multiplications. One of the others asks for what lies `behind`, which the first will
 * read next, into the second cache: the first cache has few lines that can be waited for. */
ELM_INLINE void fetch_behind(const void *p) {
    __builtin_prefetch(p, 0, 2);
}

/* How a tile asks for what lies behind: not, beside its own reading, or as fetch_behind does. */
enum { FETCH_NONE, FETCH_NEAR, FETCH_BEHIND };

ELM_INLINE void fetch_next(const void *p, const int fetch) {
    if (fetch == FETCH_NEAR) __builtin_prefetch(p);
    if (fetch == FETCH_BEHIND) fetch_behind(p);
}

/* ---- scores ---- */

/* n_q queries x n_p panels of keys; constants where this is inlined. */
ELM_INLINE void score_tile(const float *q, size_t q_stride, const void *k, size_t dim, size_t ahead,
                           size_t panel, float *s, const int dtype, const int n_q, const int n_p,
                           const int fetch) {
    const size_t bytes = dtype == 0 ? 4 : 2;
    v16 acc[MAX_TILE];
#pragma GCC unroll 24
    for (int i = 0; i < n_q * n_p; i++) acc[i] = v_splat(0.0f);
    for (size_t d = 0; d < dim; d++) {
        v16 x[KEY_PANELS];
#pragma GCC unroll 4
        for (int p = 0; p < n_p; p++) {
            size_t at = ((panel + (size_t)p) * dim + d) * 16;
            x[p] = v_load_kv(k, at, dtype);
            fetch_next((const char *)k + ahead + at * bytes, fetch);
        }
#pragma GCC unroll 6
        for (int i = 0; i < n_q; i++) {
            v16 w = v_splat(q[(size_t)i * q_stride + d]);
#pragma GCC unroll 4
            for (int p = 0; p < n_p; p++) acc[i * n_p + p] = v_fma(w, x[p], acc[i * n_p + p]);
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < n_q; i++)
#pragma GCC unroll 4
        for (int p = 0; p < n_p; p++)
            v_store(s + (size_t)i * ELM_CPU_KV_BLOCK + 16 * (panel + (size_t)p), acc[i * n_p + p]);
}

/* n_q queries, a constant, over the panels that hold the first n_k keys, as many side by side as fit. */
ELM_INLINE void score_row(const float *q, size_t q_stride, const void *k, size_t dim, size_t n_k,
                          float *s, const int dtype, const int n_q) {
    const size_t end = (n_k + 15) / 16;
    size_t p = 0;
#pragma GCC unroll 3
    for (size_t n = V_SCORE_P; n > 0; n /= 2)
        for (; p + n <= end; p += n)
            score_tile(q, q_stride, k, dim, 0, p, s, dtype, n_q, (int)n, FETCH_NONE);
}

ELM_INLINE void scores(const float *q, size_t q_stride, size_t n_q, const void *k, size_t dim,
                       size_t n_k, size_t ahead, float *s, const int dtype) {
    size_t i = 0;
    for (; i + V_SCORE_Q <= n_q; i += V_SCORE_Q)
        score_row(q + i * q_stride, q_stride, k, dim, n_k, s + i * ELM_CPU_KV_BLOCK, dtype,
                  V_SCORE_Q);
    const bool first = i == 0;            /* at the speed of memory */
    if (!V_FETCH_FEW && first) ahead = 0; /* that is, for what is being read */
    for (; i + 2 <= n_q; i += 2)
        for (size_t p = 0; p < KEY_PANELS; p += V_SCORE_P2)
            if (first)
                score_tile(q + i * q_stride, q_stride, k, dim, ahead, p, s + i * ELM_CPU_KV_BLOCK,
                           dtype, 2, V_SCORE_P2, FETCH_NEAR);
            else
                score_tile(q + i * q_stride, q_stride, k, dim, ahead, p, s + i * ELM_CPU_KV_BLOCK,
                           dtype, 2, V_SCORE_P2, FETCH_BEHIND);
    if (i < n_q)
        score_tile(q + i * q_stride, q_stride, k, dim, ahead, 0, s + i * ELM_CPU_KV_BLOCK, dtype, 1,
                   KEY_PANELS, FETCH_NEAR);
}

/* ---- values ---- */

/* n_q queries x n_d vectors of the output; constants where this is inlined. */
ELM_INLINE void value_tile(const float *p, const float *c, const void *v, size_t n_v, size_t width,
                           size_t ahead, size_t d, float *o, size_t o_stride, const int dtype,
                           const int n_q, const int n_d, const int fetch) {
    v16 acc[MAX_TILE];
#pragma GCC unroll 6
    for (int i = 0; i < n_q; i++)
#pragma GCC unroll 8
        for (int e = 0; e < n_d; e++)
            acc[i * n_d + e] =
                v_mul(v_load(o + (size_t)i * o_stride + d + 16 * (size_t)e), v_splat(c[i]));
    /* Few queries run at the speed of memory, over columns that no hardware prefetcher follows: ask
     * for the same columns of the next block. */
    const size_t bytes = dtype == 0 ? 4 : 2;
    const char *next = (const char *)v + ahead + d * bytes;
    for (size_t j = 0; j < n_v; j++, next += width * bytes) {
        if (fetch != FETCH_NONE) {
#pragma GCC unroll 8
            for (size_t b = 0; b < 16 * (size_t)n_d * bytes; b += 64) fetch_next(next + b, fetch);
        }
        v16 x[8];
#pragma GCC unroll 8
        for (int e = 0; e < n_d; e++) x[e] = v_load_kv(v, j * width + d + 16 * (size_t)e, dtype);
#pragma GCC unroll 6
        for (int i = 0; i < n_q; i++) {
            v16 w = v_splat(p[(size_t)i * ELM_CPU_KV_BLOCK + j]);
#pragma GCC unroll 8
            for (int e = 0; e < n_d; e++) acc[i * n_d + e] = v_fma(w, x[e], acc[i * n_d + e]);
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < n_q; i++)
#pragma GCC unroll 8
        for (int e = 0; e < n_d; e++)
            v_store(o + (size_t)i * o_stride + d + 16 * (size_t)e, acc[i * n_d + e]);
}

/* n_q queries over the whole width, n_d vectors at a time. */
ELM_INLINE void value_row(const float *p, const float *c, const void *v, size_t n_v, size_t width,
                          size_t ahead, float *o, size_t o_stride, const int dtype, const int n_q,
                          const int n_d, const int fetch) {
    size_t d = 0;
    for (; d + 16 * (size_t)n_d <= width; d += 16 * (size_t)n_d)
        value_tile(p, c, v, n_v, width, ahead, d, o, o_stride, dtype, n_q, n_d, fetch);
    for (; n_d > 1 && d < width; d += 16)
        value_tile(p, c, v, n_v, width, ahead, d, o, o_stride, dtype, n_q, 1, fetch);
}

ELM_INLINE void values(const float *p, const float *c, size_t n_q, const void *v, size_t n_v,
                       size_t width, size_t ahead, float *o, size_t o_stride, const int dtype) {
    size_t i = 0;
#define P (p + i * ELM_CPU_KV_BLOCK)
#define O (o + i * o_stride)
    for (; i + V_VALUE_Q <= n_q; i += V_VALUE_Q)
        value_row(P, c + i, v, n_v, width, ahead, O, o_stride, dtype, V_VALUE_Q, V_VALUE_D,
                  FETCH_NONE);
    const bool first = i == 0;
    if (!V_FETCH_FEW && first) ahead = 0;
    for (; i + 2 <= n_q; i += 2)
        if (first)
            value_row(P, c + i, v, n_v, width, ahead, O, o_stride, dtype, 2, V_VALUE_D2,
                      FETCH_NEAR);
        else
            value_row(P, c + i, v, n_v, width, ahead, O, o_stride, dtype, 2, V_VALUE_D2,
                      FETCH_BEHIND);
    if (i < n_q)
        value_row(P, c + i, v, n_v, width, ahead, O, o_stride, dtype, 1, V_VALUE_D1, FETCH_NEAR);
#undef P
#undef O
}

static void k_scores_f32(const float *q, size_t q_stride, size_t n_q, const void *k, size_t dim,
                         size_t n_k, size_t ahead, float *s) {
    scores(q, q_stride, n_q, k, dim, n_k, ahead, s, 0);
}
static void k_scores_f16(const float *q, size_t q_stride, size_t n_q, const void *k, size_t dim,
                         size_t n_k, size_t ahead, float *s) {
    scores(q, q_stride, n_q, k, dim, n_k, ahead, s, 1);
}

#define VALUES(name, dtype)                                                                \
    static void k_values_##name(const float *p, const float *c, size_t n_q, const void *v, \
                                size_t n_v, size_t width, size_t ahead, float *o,          \
                                size_t o_stride) {                                         \
        values(p, c, n_q, v, n_v, width, ahead, o, o_stride, dtype);                       \
    }
VALUES(f32, 0)
VALUES(f16, 1)
#undef VALUES

/* ---- int8 values ---- */

/* The weights of a block as floats that hold integers once rounded; what 1 weighs. Weights are 0 or
 * e^-80 at least. A block that weighs less than 1e-30 in all weighs nothing. */
ELM_INLINE float weigh(const float *p, const float *scales, v16 w[4]) {
    v16 most = v_splat(0.0f);
    for (size_t i = 0; i < 4; i++) {
        v16 x = v_load(p + 16 * i);
        w[i] = v_keep(x, v_splat(1e-36f), v_mul(x, v_load(scales + 16 * i)));
        most = v_max(most, w[i]);
    }
    const float largest = v_max_of(most), one = ELM_CPU_WEIGHT_ONE;
    const float inverse = largest >= 1e-30f ? one / largest : 0.0f;
    for (size_t i = 0; i < 4; i++) w[i] = v_mul(w[i], v_splat(inverse));
    return largest / one;
}

/* The codes of sets that multiply int16. */
static float k_weigh_i16(const float *p, const float *scales, void *codes) {
    v16 w[4];
    float unit = weigh(p, scales, w);
    for (size_t i = 0; i < 4; i++) v_store_i16((int16_t *)codes + 16 * i, w[i]);
    return unit;
}

/* ---- softmax ---- */

static void k_scale_scores(float *s, const float *by, float scale) {
    for (size_t i = 0; i < ELM_CPU_KV_BLOCK; i += 16) {
        v16 v = v_load(s + i);
        if (by) v = v_mul(v, v_load(by + i));
        v_store(s + i, v_mul(v, v_splat(scale)));
    }
}

/* exp(x) for x <= 0, exactly 0 below -80: a weight of e^-80 changes no sum of floats, and -inf must
 * give 0. */
ELM_INLINE v16 v_exp_weight(v16 x) {
    return v_keep(x, v_splat(-80.0f), v_exp(x));
}

static float k_exponential(float x) {
    float f[16];
    v_store(f, v_exp_weight(v_splat(x)));
    return f[0];
}

/* A few rows at once: their sums and maxima overlap, and one vector holds the factors of all. */
enum { SOFTMAX_ROWS = 16 };

/* n rows, SOFTMAX_ROWS at most. */
static void softmax_rows(float *s, size_t n, float *m, float *l, float *c) {
    float change[SOFTMAX_ROWS] = {0}, factor[SOFTMAX_ROWS];
    for (size_t r = 0; r < n; r++) {
        const float *row = s + r * ELM_CPU_KV_BLOCK;
        v16 best = v_load(row);
        for (size_t i = 16; i < ELM_CPU_KV_BLOCK; i += 16) best = v_max(best, v_load(row + i));
        const float most = v_max_of(best), before = m[r];
        m[r] = most > before ? most : before;
        change[r] = before - m[r];
    }
    v_store(factor, v_exp_weight(v_load(change)));
    for (size_t r = 0; r < n; r++) {
        float *row = s + r * ELM_CPU_KV_BLOCK;
        v16 sum = v_splat(0.0f), most = v_splat(m[r]);
        for (size_t i = 0; i < ELM_CPU_KV_BLOCK; i += 16) {
            v16 w = v_exp_weight(v_sub(v_load(row + i), most));
            v_store(row + i, w);
            sum = v_add(sum, w);
        }
        float kept = l[r] * factor[r];
        l[r] = kept + v_sum(sum);
        c[r] = factor[r];
    }
}

static void k_softmax(float *s, size_t n, float *m, float *l, float *c) {
    for (size_t rows; n > 0; n -= rows, m += rows, l += rows, c += rows) {
        rows = n < SOFTMAX_ROWS ? n : SOFTMAX_ROWS;
        softmax_rows(s, rows, m, l, c);
        s += rows * ELM_CPU_KV_BLOCK;
    }
}

static void k_join(float *o, float a, const float *p, float b, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float kept = o[i] * a;
        o[i] = kept + p[i] * b;
    }
}

/* All slots of attention but the products of int8 keys and values; weights of the values as int16. */
static inline void fill_attention_kernels(elm_cpu_kernels *k) {
    k->scores[0] = k_scores_f32;
    k->scores[1] = k_scores_f16;
    k->values[0] = k_values_f32;
    k->values[1] = k_values_f16;
    k->weigh_i8 = k_weigh_i16;
    k->scale_scores = k_scale_scores;
    k->softmax = k_softmax;
    k->join = k_join;
    k->exponential = k_exponential;
}

#endif
