/* kernels_float.h - every kernel in floats, written once over the v16 that the including file
 * brought along.
 *
 * Layer: backend/cpu. Included by one .c file of each instruction set, after its simd_*.h; all
 * functions are static. All sets compute the same bits, because each v_ operation is one IEEE
 * operation a lane (simd_c.h) and the order is written here. */
#ifndef ELM_BACKEND_CPU_KERNELS_FLOAT_H
#define ELM_BACKEND_CPU_KERNELS_FLOAT_H

#include <float.h>
#include <math.h>
#include <string.h>

#include "backend/cpu/kernels.h"
#include "base/f16.h"
#include "ir/graph.h"

#define ELM_INLINE static inline __attribute__((always_inline))

/* The first n < 16 floats; the other lanes are 0. */
static inline v16 v_load_part(const float *p, size_t n) {
    float full[16] = {0};
    memcpy(full, p, n * sizeof *p);
    return v_load(full);
}
static inline void v_store_part(float *p, size_t n, v16 v) {
    float full[16];
    v_store(full, v);
    memcpy(p, full, n * sizeof *p);
}

/* exp for x in [-87, 88], clamped; error below 2 ulp (Cephes expf: x = n ln 2 + r, a polynomial of
 * degree 6 in r). exp(0) is exactly 1. */
ELM_INLINE v16 v_exp(v16 x) {
    x = v_min(v_max(x, v_splat(-87.0f)), v_splat(88.0f));
    const v16 magic = v_splat(12582912.0f); /* 1.5 * 2^23: adding it rounds to a whole number */
    v16 n = v_sub(v_fma(x, v_splat(1.44269504088896341f), magic), magic);
    v16 r = v_fma(n, v_splat(-0.693359375f), x);
    r = v_fma(n, v_splat(2.12194440e-4f), r);
    v16 p = v_splat(1.9875691500e-4f);
    p = v_fma(p, r, v_splat(1.3981999507e-3f));
    p = v_fma(p, r, v_splat(8.3334519073e-3f));
    p = v_fma(p, r, v_splat(4.1665795894e-2f));
    p = v_fma(p, r, v_splat(1.6666665459e-1f));
    p = v_fma(p, r, v_splat(5.0000001201e-1f));
    p = v_add(v_fma(p, v_mul(r, r), r), v_splat(1.0f));
    return v_mul(p, v_pow2(n));
}

/* x / (1 + exp(-y)) */
ELM_INLINE v16 v_times_sigmoid(v16 x, v16 y) {
    v16 e = v_exp(v_sub(v_splat(0.0f), y));
    return v_div(x, v_add(v_splat(1.0f), e));
}

/* 0.5 (1 + tanh u) is the sigmoid of 2u. */
ELM_INLINE v16 v_gelu_tanh(v16 x) {
    v16 x3 = v_mul(v_mul(x, x), x);
    v16 u =
        v_mul(v_fma(x3, v_splat(0.044715f), x), v_splat(1.5957691216057308f)); /* 2 sqrt(2 / pi) */
    return v_times_sigmoid(x, u);
}

ELM_INLINE v16 v_gelu_erf(v16 x) {
    float f[16];
    v_store(f, x);
    for (int i = 0; i < 16; i++) f[i] = 0.5f * f[i] * (1.0f + erff(f[i] * 0.70710678118654752f));
    return v_load(f);
}

ELM_INLINE v16 v_activate(v16 x, int32_t activation) {
    if (activation == ELM_SILU) return v_times_sigmoid(x, x);
    if (activation == ELM_SIGMOID) return v_times_sigmoid(v_splat(1.0f), x);
    return activation == ELM_GELU_TANH ? v_gelu_tanh(x) : v_gelu_erf(x);
}

static void k_glu(const float *gate, const float *up, size_t n, int32_t activation, float *y) {
    for (size_t i = 0; i < n; i += 16) {
        size_t part = n - i < 16 ? n - i : 16;
        v16 g = part == 16 ? v_load(gate + i) : v_load_part(gate + i, part);
        v16 r = v_activate(g, activation);
        if (up) r = v_mul(r, part == 16 ? v_load(up + i) : v_load_part(up + i, part));
        if (part == 16)
            v_store(y + i, r);
        else
            v_store_part(y + i, part, r);
    }
}

static void k_add(const float *a, const float *b, size_t n, float *y) {
    for (size_t i = 0; i < n; i++) y[i] = a[i] + b[i];
}

static void k_rms_norm(const float *x, const float *w, size_t n, float eps, float *y) {
    v16 squares = v_splat(0.0f);
    size_t body = n / 16 * 16;
    for (size_t i = 0; i < body; i += 16) {
        v16 v = v_load(x + i);
        squares = v_fma(v, v, squares);
    }
    if (body < n) {
        v16 v = v_load_part(x + body, n - body);
        squares = v_fma(v, v, squares);
    }
    float inv = 1.0f / sqrtf(v_sum(squares) / (float)n + eps);
    for (size_t i = 0; i < n; i++) y[i] = w ? x[i] * inv * w[i] : x[i] * inv;
}

static void k_rotate(const float *a, const float *b, const float *cs, size_t n, float *out_a,
                     float *out_b) {
    for (size_t i = 0; i < n; i += 16) {
        size_t part = n - i < 16 ? n - i : 16;
        bool full = part == 16;
        v16 x = full ? v_load(a + i) : v_load_part(a + i, part);
        v16 y = full ? v_load(b + i) : v_load_part(b + i, part);
        v16 c = full ? v_load(cs + i) : v_load_part(cs + i, part);
        v16 s = full ? v_load(cs + n + i) : v_load_part(cs + n + i, part);
        v16 rx = v_sub(v_mul(x, c), v_mul(y, s)), ry = v_fma(x, s, v_mul(y, c));
        if (full) {
            v_store(out_a + i, rx);
            v_store(out_b + i, ry);
        } else {
            v_store_part(out_a + i, part, rx);
            v_store_part(out_b + i, part, ry);
        }
    }
}

/* ---- int8 codes ---- */

/* 127 / amax; 0 where that is no finite number (all-zero or tiny input), so that codes are 0. */
static inline float code_factor(float amax) {
    float inv = amax > 0.0f ? 127.0f / amax : 0.0f;
    return inv <= FLT_MAX ? inv : 0.0f;
}

ELM_INLINE v16 v_codes(v16 x, v16 inv) {
    return v_min(v_max(v_mul(x, inv), v_splat(-127.0f)), v_splat(127.0f));
}

static void k_quantize(const float *x, size_t n, int8_t *q, float *d, int32_t *start,
                       int32_t *sum) {
    for (size_t k = 0; k < n; k += 32, q += 32) {
        float padded[32] = {0};
        const float *p = x + k;
        if (n - k < 32) {
            memcpy(padded, p, (n - k) * sizeof *p);
            p = padded;
        }
        v16 a = v_load(p), b = v_load(p + 16);
        /* A NaN is never the larger operand; multiplying by 0 finds it, so that the scale carries
         * it on. */
        float amax = v_max_of(v_max(v_abs(a), v_max(v_abs(b), v_splat(0.0f))));
        float bad = v_sum(v_fma(a, v_splat(0.0f), v_mul(b, v_splat(0.0f))));
        v16 inv = v_splat(code_factor(amax));
        v_store_i8(q, v_codes(a, inv));
        v_store_i8(q + 16, v_codes(b, inv));
        *d++ = amax / 127.0f + bad;
        uint32_t pair = v_block_sums(q);
        int even = (int16_t)(pair & 0xffffu), odd = (int16_t)(pair >> 16);
        *sum++ = even + odd;
        *start++ =
            (int32_t)((uint32_t)(uint16_t)(-8 * even) | (uint32_t)(uint16_t)(-8 * odd) << 16);
    }
}

/* Exactly elm_kv_store, NaN and tiny values included. */
static float k_to_i8(const float *x, size_t n, int8_t *out) {
    v16 largest = v_splat(0.0f);
    for (size_t i = 0; i < n; i += 16) {
        size_t part = n - i < 16 ? n - i : 16;
        largest = v_max(v_abs(part == 16 ? v_load(x + i) : v_load_part(x + i, part)), largest);
    }
    float amax = v_max_of(largest);
    v16 inv = v_splat(amax > 0.0f ? 127.0f / amax : 0.0f);
    for (size_t i = 0; i < n; i += 16) {
        size_t part = n - i < 16 ? n - i : 16;
        v16 v = v_codes(part == 16 ? v_load(x + i) : v_load_part(x + i, part), inv);
        int8_t codes[16];
        v_store_i8(codes, v);
        memcpy(out + i, codes, part);
    }
    return amax / 127.0f;
}

static void k_to_f16(const float *x, size_t n, uint16_t *out) {
    size_t body = n / 16 * 16;
    for (size_t i = 0; i < body; i += 16) v_store_f16(out + i, v_load(x + i));
    for (size_t i = body; i < n; i++) out[i] = elm_f16_from_f32(x[i]);
}
static void k_from_f16(const uint16_t *x, size_t n, float *out) {
    size_t body = n / 16 * 16;
    for (size_t i = 0; i < body; i += 16) v_store(out + i, v_load_f16(x + i));
    for (size_t i = body; i < n; i++) out[i] = elm_f32_from_f16(x[i]);
}
static void k_from_i8(const int8_t *x, size_t n, float *out) {
    size_t body = n / 16 * 16;
    for (size_t i = 0; i < body; i += 16) v_store(out + i, v_load_i8(x + i));
    for (size_t i = body; i < n; i++) out[i] = (float)x[i];
}

/* ---- linear in floats ---- */

/* Sixteen elements of a plane of floats; dtype is a constant where this is inlined. */
ELM_INLINE v16 v_load_dtype(const void *base, size_t index, elm_dtype dtype) {
    if (dtype == ELM_F32) return v_load((const float *)base + index);
    if (dtype == ELM_F16) return v_load_f16((const uint16_t *)base + index);
    return v_load_bf16((const uint16_t *)base + index);
}

/* y * unit + bias into the columns that exist. */
static inline void linear_finish(const elm_cpu_linear *job, size_t panel, size_t token, v16 y) {
    const elm_cpu_weight *w = job->weight;
    size_t row = panel * 16, n = w->n_rows - row < 16 ? w->n_rows - row : 16;
    float *out = job->y + token * job->y_stride + row;
    y = v_mul(y, v_splat(w->unit));
    if (n == 16) {
        if (w->bias) y = v_add(y, v_load(w->bias + row));
        v_store(out, y);
    } else {
        if (w->bias) y = v_add(y, v_load_part(w->bias + row, n));
        v_store_part(out, n, y);
    }
}

/* Adds k in [0, n_k) of one panel to the sums of m tokens. w: [n_k][16], x: m rows. m is a
 * constant. */
ELM_INLINE void float_tile(const void *w, elm_dtype dtype, const float *x, size_t x_stride,
                           size_t n_k, const int m, float *sums) {
    v16 y[4];
#pragma GCC unroll 4
    for (int t = 0; t < m; t++) y[t] = v_load(sums + 16 * t);
    for (size_t k = 0; k < n_k; k++) {
        v16 v = v_load_dtype(w, 16 * k, dtype);
#pragma GCC unroll 4
        for (int t = 0; t < m; t++) y[t] = v_fma(v, v_splat(x[(size_t)t * x_stride + k]), y[t]);
    }
#pragma GCC unroll 4
    for (int t = 0; t < m; t++) v_store(sums + 16 * t, y[t]);
}

/* One token, n panels at once: a chain of fma takes four cycles a step, so several run side by
 * side. */
ELM_INLINE void float_gemv(const elm_cpu_linear *job, elm_dtype dtype, size_t panel, size_t token,
                           const int n) {
    const elm_cpu_weight *w = job->weight;
    const float *x = job->x + token * job->x_stride;
    size_t n_k = w->n_cols, base = panel * n_k * 16;
    v16 y[4];
#pragma GCC unroll 4
    for (int p = 0; p < n; p++) y[p] = v_splat(0.0f);
    for (size_t k = 0; k < n_k; k++) {
        v16 xv = v_splat(x[k]);
#pragma GCC unroll 4
        for (int p = 0; p < n; p++)
            y[p] = v_fma(v_load_dtype(w->codes, base + (size_t)p * n_k * 16 + 16 * k, dtype), xv,
                         y[p]);
    }
#pragma GCC unroll 4
    for (int p = 0; p < n; p++) linear_finish(job, panel + (size_t)p, token, y[p]);
}

ELM_INLINE void float_gemv_panels(const elm_cpu_linear *job, elm_dtype dtype, size_t begin,
                                  size_t end) {
    for (size_t token = 0; token < job->n_tokens; token++) {
        size_t p = begin;
        for (; p + 2 <= end; p += 2) float_gemv(job, dtype, p, token, 2);
        if (p < end) float_gemv(job, dtype, p, token, 1);
    }
}

/* Floats of k in [k0, k0 + n_k) of one panel, [n_k][16]. Integer codes: (u - zero) * s, exact. */
static void expand_panel(const elm_cpu_weight *w, size_t panel, size_t k0, size_t n_k, float *out) {
    bool i4 = w->dtype == ELM_I4 || w->dtype == ELM_I4Z,
         i8 = w->dtype == ELM_I8 || w->dtype == ELM_I8Z;
    if (!i4 && !i8) {
        size_t base = (panel * w->n_cols + k0) * 16;
        for (size_t k = 0; k < n_k; k++) {
            v16 v = w->dtype == ELM_F32   ? v_load_dtype(w->codes, base + 16 * k, ELM_F32)
                    : w->dtype == ELM_F16 ? v_load_dtype(w->codes, base + 16 * k, ELM_F16)
                                          : v_load_dtype(w->codes, base + 16 * k, ELM_BF16);
            v_store(out + 16 * k, v);
        }
        return;
    }
    const uint8_t *codes = w->codes;
    for (size_t k = k0; k < k0 + n_k; k++, out += 16) {
        size_t scale_at = (panel * w->n_groups + k / 32 / w->group_blocks) * 16;
        size_t at = i4 ? elm_p16_i4_offset(w->k_padded, panel * 16, k)
                       : elm_p16_i8_offset(w->k_padded, panel * 16, k);
        for (size_t r = 0; r < 16; r++) {
            int u = codes[at + 4 * r];
            u = i4 ? u >> elm_p16_i4_shift(k) & 15 : u ^ 0x80;
            int zero = w->zeros ? w->zeros[scale_at + r] : i4 ? ELM_ZERO_I4 : ELM_ZERO_I8;
            out[r] = elm_f32_from_f16(w->scales[scale_at + r]) * (float)(u - zero);
        }
    }
}

enum { FLOAT_K = 256 }; /* k of one expansion: 16 KiB of floats */

/* Expands a stretch of a panel, runs it over all tokens, keeps their sums in scratch. */
static void float_gemm(const elm_cpu_linear *job, size_t panel, size_t t0, size_t n_tokens,
                       float *scratch) {
    const elm_cpu_weight *w = job->weight;
    float *weights = scratch, *sums = scratch + FLOAT_K * 16; /* [n_tokens][16] */
    memset(sums, 0, n_tokens * 16 * sizeof *sums);
    for (size_t k0 = 0; k0 < w->n_cols; k0 += FLOAT_K) {
        size_t n_k = w->n_cols - k0 < FLOAT_K ? w->n_cols - k0 : FLOAT_K, t = 0;
        expand_panel(w, panel, k0, n_k, weights);
        const float *x = job->x + t0 * job->x_stride + k0;
        for (; t + 4 <= n_tokens; t += 4)
            float_tile(weights, ELM_F32, x + t * job->x_stride, job->x_stride, n_k, 4,
                       sums + 16 * t);
        for (; t < n_tokens; t++)
            float_tile(weights, ELM_F32, x + t * job->x_stride, job->x_stride, n_k, 1,
                       sums + 16 * t);
    }
    for (size_t t = 0; t < n_tokens; t++) linear_finish(job, panel, t0 + t, v_load(sums + 16 * t));
}

static void k_linear_float(const elm_cpu_linear *job, size_t begin, size_t end, void *scratch) {
    elm_dtype dtype = job->weight->dtype;
    if (job->n_tokens <= 2 && elm_dtype_get(dtype)->is_float) {
        if (dtype == ELM_F32)
            float_gemv_panels(job, ELM_F32, begin, end);
        else if (dtype == ELM_F16)
            float_gemv_panels(job, ELM_F16, begin, end);
        else
            float_gemv_panels(job, ELM_BF16, begin, end);
        return;
    }
    for (size_t panel = begin; panel < end; panel++) {
        for (size_t t0 = 0; t0 < job->n_tokens; t0 += ELM_CPU_TOKEN_BLOCK) {
            size_t n =
                job->n_tokens - t0 < ELM_CPU_TOKEN_BLOCK ? job->n_tokens - t0 : ELM_CPU_TOKEN_BLOCK;
            float_gemm(job, panel, t0, n, scratch);
        }
    }
}

/* ---- attention ---- */

ELM_INLINE v16 v_load_kv(const void *base, size_t index, const int dtype) {
    if (dtype == 0) return v_load((const float *)base + index);
    if (dtype == 1) return v_load_f16((const uint16_t *)base + index);
    return v_load_i8((const int8_t *)base + index);
}

enum { KV_PREFETCH_BYTES = 4096 };

/* n_q x n_k dots, 4 or 8 of them; constants where this is inlined. */
ELM_INLINE void dot_tile(const float *q, size_t q_stride, const void *k, size_t key, size_t dim,
                         const int dtype, const int n_q, const int n_k, float *s) {
    v16 acc[8];
#pragma GCC unroll 8
    for (int i = 0; i < n_q * n_k; i++) acc[i] = v_splat(0.0f);
    for (size_t d = 0; d < dim; d += 16) {
        v16 kv[4];
#pragma GCC unroll 4
        for (int j = 0; j < n_k; j++) kv[j] = v_load_kv(k, (key + (size_t)j) * dim + d, dtype);
#pragma GCC unroll 2
        for (int i = 0; i < n_q; i++) {
            v16 qv = v_load(q + (size_t)i * q_stride + d);
#pragma GCC unroll 4
            for (int j = 0; j < n_k; j++) acc[i * n_k + j] = v_fma(qv, kv[j], acc[i * n_k + j]);
        }
    }
    float sums[8];
#pragma GCC unroll 2
    for (int i = 0; i < n_q * n_k; i += 4) v_sum4(acc + i, sums + i);
#pragma GCC unroll 2
    for (int i = 0; i < n_q; i++)
#pragma GCC unroll 4
        for (int j = 0; j < n_k; j++)
            s[(size_t)i * ELM_CPU_KV_BLOCK + key + (size_t)j] = sums[i * n_k + j];
}

/* One dot; the same lanes and tree. */
ELM_INLINE float dot_one(const float *q, const void *k, size_t key, size_t dim, const int dtype) {
    v16 acc = v_splat(0.0f);
    for (size_t d = 0; d < dim; d += 16)
        acc = v_fma(v_load(q + d), v_load_kv(k, key * dim + d, dtype), acc);
    return v_sum(acc);
}

ELM_INLINE void scores(const float *q, size_t q_stride, size_t n_q, const void *k, size_t n_k,
                       size_t dim, float *s, const int dtype) {
    const size_t bytes = dtype == 0 ? 4 : dtype == 1 ? 2 : 1;
    size_t i = 0;
    for (; i + 2 <= n_q; i += 2) {
        const float *qi = q + i * q_stride;
        float *si = s + i * ELM_CPU_KV_BLOCK;
        size_t j = 0;
        for (; j + V_DOT_KEYS <= n_k; j += V_DOT_KEYS) {
            if (i == 0) { /* the next blocks of this stream */
                const char *next = (const char *)k + j * dim * bytes + KV_PREFETCH_BYTES;
                for (size_t b = 0; b < V_DOT_KEYS * dim * bytes; b += 64)
                    __builtin_prefetch(next + b);
            }
            dot_tile(qi, q_stride, k, j, dim, dtype, 2, V_DOT_KEYS, si);
        }
        for (; j < n_k; j++) {
            si[j] = dot_one(qi, k, j, dim, dtype);
            si[ELM_CPU_KV_BLOCK + j] = dot_one(qi + q_stride, k, j, dim, dtype);
        }
    }
    for (; i < n_q; i++) {
        const float *qi = q + i * q_stride;
        float *si = s + i * ELM_CPU_KV_BLOCK;
        size_t j = 0;
        for (; j + 4 <= n_k; j += 4) dot_tile(qi, q_stride, k, j, dim, dtype, 1, 4, si);
        for (; j < n_k; j++) si[j] = dot_one(qi, k, j, dim, dtype);
    }
}

/* n_q queries x n_d vectors of the output; constants where this is inlined. */
ELM_INLINE void value_tile(const float *p, const float *c, const void *v, size_t n_v, size_t dim,
                           size_t d, float *o, size_t o_stride, const int dtype, const int n_q,
                           const int n_d) {
    v16 acc[4];
#pragma GCC unroll 4
    for (int i = 0; i < n_q; i++)
#pragma GCC unroll 4
        for (int e = 0; e < n_d; e++)
            acc[i * n_d + e] =
                v_mul(v_load(o + (size_t)i * o_stride + d + 16 * (size_t)e), v_splat(c[i]));
    /* Columns are read a strip at a time, which no hardware prefetcher follows: ask for the same
     * strip of the block after this one. */
    const size_t bytes = dtype == 0 ? 4 : dtype == 1 ? 2 : 1;
    const char *next = (const char *)v + (n_v * dim + d) * bytes;
    for (size_t j = 0; j < n_v; j++, next += dim * bytes) {
        for (size_t b = 0; b < 16 * (size_t)n_d * bytes; b += 64)
            __builtin_prefetch(next + b, 0, 2);
        v16 x[4];
#pragma GCC unroll 4
        for (int e = 0; e < n_d; e++) x[e] = v_load_kv(v, j * dim + d + 16 * (size_t)e, dtype);
#pragma GCC unroll 4
        for (int i = 0; i < n_q; i++) {
            v16 w = v_splat(p[(size_t)i * ELM_CPU_KV_BLOCK + j]);
#pragma GCC unroll 4
            for (int e = 0; e < n_d; e++) acc[i * n_d + e] = v_fma(w, x[e], acc[i * n_d + e]);
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < n_q; i++)
#pragma GCC unroll 4
        for (int e = 0; e < n_d; e++)
            v_store(o + (size_t)i * o_stride + d + 16 * (size_t)e, acc[i * n_d + e]);
}

ELM_INLINE void values(const float *p, const float *c, size_t n_q, const void *v, size_t n_v,
                       size_t dim, float *o, size_t o_stride, const int dtype) {
    size_t i = 0;
#define P (p + i * ELM_CPU_KV_BLOCK)
#define O (o + i * o_stride)
    for (; i + 4 <= n_q; i += 4)
        for (size_t d = 0; d < dim; d += 16)
            value_tile(P, c + i, v, n_v, dim, d, O, o_stride, dtype, 4, 1);
    for (; i + 2 <= n_q; i += 2) {
        size_t d = 0;
        for (; d + 32 <= dim; d += 32)
            value_tile(P, c + i, v, n_v, dim, d, O, o_stride, dtype, 2, 2);
        for (; d < dim; d += 16) value_tile(P, c + i, v, n_v, dim, d, O, o_stride, dtype, 2, 1);
    }
    for (; i < n_q; i++) {
        size_t d = 0;
        for (; d + 64 <= dim; d += 64)
            value_tile(P, c + i, v, n_v, dim, d, O, o_stride, dtype, 1, 4);
        for (; d < dim; d += 16) value_tile(P, c + i, v, n_v, dim, d, O, o_stride, dtype, 1, 1);
    }
#undef P
#undef O
}

#define SCORES_AND_VALUES(name, dtype)                                                      \
    static void k_scores_##name(const float *q, size_t q_stride, size_t n_q, const void *k, \
                                size_t n_k, size_t dim, float *s) {                         \
        scores(q, q_stride, n_q, k, n_k, dim, s, dtype);                                    \
    }                                                                                       \
    static void k_values_##name(const float *p, const float *c, size_t n_q, const void *v,  \
                                size_t n_v, size_t dim, float *o, size_t o_stride) {        \
        values(p, c, n_q, v, n_v, dim, o, o_stride, dtype);                                 \
    }
SCORES_AND_VALUES(f32, 0)
SCORES_AND_VALUES(f16, 1)
SCORES_AND_VALUES(i8, 2)
#undef SCORES_AND_VALUES

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

static float k_softmax(float *s, float *m, float *l) {
    v16 v[4];
    for (size_t i = 0; i < 4; i++) v[i] = v_load(s + 16 * i);
    float best = v_max_of(v_max(v_max(v[0], v[1]), v_max(v[2], v[3])));
    float before = *m, now = best > before ? best : before;
    v16 sum = v_splat(0.0f);
    for (size_t i = 0; i < 4; i++) {
        v16 w = v_exp_weight(v_sub(v[i], v_splat(now)));
        v_store(s + 16 * i, w);
        sum = v_add(sum, w);
    }
    float c = k_exponential(before - now);
    *l = *l * c + v_sum(sum);
    *m = now;
    return c;
}

static void k_join(float *o, float a, const float *p, float b, size_t n) {
    for (size_t i = 0; i < n; i++) {
        float kept = o[i] * a;
        o[i] = kept + p[i] * b;
    }
}

#include "backend/cpu/kernels_delta.h"

/* All slots but the int8 linears. */
static inline void fill_float_kernels(elm_cpu_kernels *k) {
    k->linear_float = k_linear_float;
    k->quantize = k_quantize;
    k->rms_norm = k_rms_norm;
    k->rotate = k_rotate;
    k->glu = k_glu;
    k->add = k_add;
    k->softcap = k_softcap;
    k->conv = k_conv;
    k->delta_step = k_delta_step;
    k->gemm = k_gemm;
    k->solve = k_solve;
    k->scores[0] = k_scores_f32;
    k->scores[1] = k_scores_f16;
    k->scores[2] = k_scores_i8;
    k->values[0] = k_values_f32;
    k->values[1] = k_values_f16;
    k->values[2] = k_values_i8;
    k->softmax = k_softmax;
    k->join = k_join;
    k->exponential = k_exponential;
    k->to_f16 = k_to_f16;
    k->to_i8 = k_to_i8;
    k->from_f16 = k_from_f16;
    k->from_i8 = k_from_i8;
}

#endif
