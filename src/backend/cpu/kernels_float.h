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
/* A function of its own has its registers for itself. */
#define ELM_NOINLINE __attribute__((noinline))

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

ELM_INLINE v16 v_codes(v16 x, v16 inv) {
    return v_min(v_max(v_mul(x, inv), v_splat(-127.0f)), v_splat(127.0f));
}

/* The sums of a block twice, as acts->start and acts->sum hold them. */
static inline void put_sums(uint32_t pair, int32_t *start, int32_t *sum) {
    int even = (int16_t)(pair & 0xffffu), odd = (int16_t)(pair >> 16);
    *sum = even + odd;
    *start = (int32_t)((uint32_t)(uint16_t)(-8 * even) | (uint32_t)(uint16_t)(-8 * odd) << 16);
}

enum { QUANTIZE_BLOCKS = 16 }; /* at once: a vector of scales */

/* Whole blocks, 16 of them at most. Each step runs over all of them, so that chains overlap and
 * codes are read back long after they were written. Factors are 127 / amax, 0 where that is no
 * finite number (all-zero or tiny input), so that codes are 0. Returns NaN lanes where x has a NaN
 * or an infinity, which the scales, made of what compares, do not show. */
ELM_INLINE v16 quantize_blocks(const float *x, size_t n, int8_t *q, float *d, int32_t *start,
                               int32_t *sum) {
    float amax[QUANTIZE_BLOCKS] = {0}, factors[QUANTIZE_BLOCKS], scales[QUANTIZE_BLOCKS];
    v16 bad = v_splat(0.0f);
    for (size_t b = 0; b < n; b++) {
        v16 lo = v_load(x + 32 * b), hi = v_load(x + 32 * b + 16);
        amax[b] = v_max_of(v_max(v_abs(lo), v_max(v_abs(hi), v_splat(0.0f))));
        bad = v_fma(lo, v_splat(0.0f), v_fma(hi, v_splat(0.0f), bad));
    }
    const v16 largest = v_load(amax), factor = v_div(v_splat(127.0f), largest);
    v_store(factors, v_keep(v_sub(v_splat(0.0f), factor), v_splat(-FLT_MAX), factor));
    v_store(scales, v_div(largest, v_splat(127.0f)));
    memcpy(d, scales, n * sizeof *d);
    for (size_t b = 0; b < n; b++) {
        v16 inv = v_splat(factors[b]);
        v_store_i8(q + 32 * b, v_codes(v_load(x + 32 * b), inv));
        v_store_i8(q + 32 * b + 16, v_codes(v_load(x + 32 * b + 16), inv));
    }
    for (size_t b = 0; b < n; b++) put_sums(v_block_sums(q + 32 * b), start + b, sum + b);
    return bad;
}

/* A scale of NaN for every block that holds a NaN or an infinity: multiplying by 0 finds them. */
static void spoil_scales(const float *x, size_t n, float *d) {
    for (size_t i = 0; i < n; i++) d[i / 32] += x[i] * 0.0f;
}

static void k_quantize(const float *x, size_t n, int8_t *q, float *d, int32_t *start,
                       int32_t *sum) {
    v16 bad = v_splat(0.0f);
    const size_t whole = n / 32;
    for (size_t b = 0; b < whole; b += QUANTIZE_BLOCKS) {
        size_t some = whole - b < QUANTIZE_BLOCKS ? whole - b : QUANTIZE_BLOCKS;
        bad = v_add(bad, quantize_blocks(x + 32 * b, some, q + 32 * b, d + b, start + b, sum + b));
    }
    if (n % 32) {
        float padded[32] = {0};
        memcpy(padded, x + 32 * whole, n % 32 * sizeof *x);
        bad = v_add(
            bad, quantize_blocks(padded, 1, q + 32 * whole, d + whole, start + whole, sum + whole));
    }
    if (!(v_sum(bad) == 0.0f)) spoil_scales(x, n, d);
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

#include "backend/cpu/kernels_delta.h"

/* All slots but the integer linears and those of attention. */
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
    k->to_f16 = k_to_f16;
    k->to_i8 = k_to_i8;
}

#endif
