/* kernels_delta.h - float kernels of convolutions, delta nets and caps, over the v16 of the
 * including file. Layer: backend/cpu. Included by kernels_float.h; the same rules. Widths are
 * multiples of 16 where it says so. */
#ifndef ELM_BACKEND_CPU_KERNELS_DELTA_H
#define ELM_BACKEND_CPU_KERNELS_DELTA_H

/* cap * tanh(x / cap), tanh u = 1 - 2 / (exp(2u) + 1). */
static void k_softcap(const float *x, size_t n, float cap, float *y) {
    v16 to = v_splat(2.0f / cap), one = v_splat(1.0f), two = v_splat(2.0f), back = v_splat(cap);
    for (size_t i = 0; i < n; i += 16) {
        size_t part = n - i < 16 ? n - i : 16;
        v16 v = part == 16 ? v_load(x + i) : v_load_part(x + i, part);
        v16 e = v_add(v_exp(v_mul(v, to)), one);
        v16 r = v_mul(v_sub(one, v_div(two, e)), back);
        if (part == 16)
            v_store(y + i, r);
        else
            v_store_part(y + i, part, r);
    }
}

static void k_conv(const float *const *rows, const float *taps, size_t taps_stride, size_t n_taps,
                   size_t n, int32_t activation, float *y) {
    for (size_t i = 0; i < n; i += 16) {
        size_t part = n - i < 16 ? n - i : 16;
        v16 sum = v_splat(0.0f);
        for (size_t j = 0; j < n_taps; j++) {
            const float *x = rows[j] + i, *w = taps + j * taps_stride + i;
            sum = part == 16 ? v_fma(v_load(x), v_load(w), sum)
                             : v_fma(v_load_part(x, part), v_load_part(w, part), sum);
        }
        sum = v_activate(sum, activation);
        if (part == 16)
            v_store(y + i, sum);
        else
            v_store_part(y + i, part, sum);
    }
}

/* ---- one token of a delta net ---- */

/* n_c vectors of columns; a constant where this is inlined. */
ELM_INLINE void delta_columns(float *s, size_t stride, size_t n_k, const float *k, const float *q,
                              const float *v, float decay, float beta, float *o, const int n_c) {
    v16 seen[4], out[4], g = v_splat(decay);
#pragma GCC unroll 4
    for (int c = 0; c < n_c; c++) seen[c] = out[c] = v_splat(0.0f);
    for (size_t i = 0; i < n_k; i++) {
        v16 ki = v_splat(k[i]);
#pragma GCC unroll 4
        for (int c = 0; c < n_c; c++)
            seen[c] = v_fma(v_load(s + i * stride + 16 * (size_t)c), ki, seen[c]);
    }
#pragma GCC unroll 4
    for (int c = 0; c < n_c; c++) {
        v16 missing = v_sub(v_load(v + 16 * c), v_mul(seen[c], g));
        seen[c] = v_mul(missing, v_splat(beta));
    }
    for (size_t i = 0; i < n_k; i++) {
        v16 ki = v_splat(k[i]), qi = v_splat(q ? q[i] : 0.0f);
#pragma GCC unroll 4
        for (int c = 0; c < n_c; c++) {
            float *at = s + i * stride + 16 * (size_t)c;
            v16 now = v_fma(ki, seen[c], v_mul(v_load(at), g));
            v_store(at, now);
            out[c] = v_fma(now, qi, out[c]);
        }
    }
#pragma GCC unroll 4
    for (int c = 0; q && c < n_c; c++) v_store(o + 16 * c, out[c]);
}

static void k_delta_step(float *s, size_t stride, size_t n_k, size_t n, const float *k,
                         const float *q, const float *v, float decay, float beta, float *o) {
    size_t c = 0;
    for (; c + 32 <= n; c += 32)
        delta_columns(s + c, stride, n_k, k, q, v + c, decay, beta, q ? o + c : o, 2);
    for (; c < n; c += 16)
        delta_columns(s + c, stride, n_k, k, q, v + c, decay, beta, q ? o + c : o, 1);
}

/* ---- small products ---- */

/* m rows x n_c vectors of c; constants where this is inlined. */
ELM_INLINE void gemm_tile(const float *a, size_t a_row, size_t a_col, const float *b,
                          size_t b_stride, size_t n_k, float *c, size_t c_stride, const int m,
                          const int n_c) {
    v16 acc[8];
#pragma GCC unroll 4
    for (int i = 0; i < m; i++)
#pragma GCC unroll 2
        for (int e = 0; e < n_c; e++)
            acc[i * n_c + e] = v_load(c + (size_t)i * c_stride + 16 * (size_t)e);
    for (size_t p = 0; p < n_k; p++) {
        v16 x[2];
#pragma GCC unroll 2
        for (int e = 0; e < n_c; e++) x[e] = v_load(b + p * b_stride + 16 * (size_t)e);
#pragma GCC unroll 4
        for (int i = 0; i < m; i++) {
            v16 w = v_splat(a[(size_t)i * a_row + p * a_col]);
#pragma GCC unroll 2
            for (int e = 0; e < n_c; e++) acc[i * n_c + e] = v_fma(w, x[e], acc[i * n_c + e]);
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < m; i++)
#pragma GCC unroll 2
        for (int e = 0; e < n_c; e++)
            v_store(c + (size_t)i * c_stride + 16 * (size_t)e, acc[i * n_c + e]);
}

static void k_gemm(const float *a, size_t a_row, size_t a_col, const float *b, size_t b_stride,
                   size_t m, size_t n_k, size_t n, float *c, size_t c_stride) {
    const size_t wide = 16 * V_TILE_VECTORS;
    for (size_t j = 0; j < n;) {
        bool full = j + wide <= n;
        for (size_t i = 0; i < m;) {
            const float *ai = a + i * a_row, *bj = b + j;
            float *cij = c + i * c_stride + j;
            bool four = i + 4 <= m;
            if (four && full)
                gemm_tile(ai, a_row, a_col, bj, b_stride, n_k, cij, c_stride, 4, V_TILE_VECTORS);
            else if (four)
                gemm_tile(ai, a_row, a_col, bj, b_stride, n_k, cij, c_stride, 4, 1);
            else if (full)
                gemm_tile(ai, a_row, a_col, bj, b_stride, n_k, cij, c_stride, 1, V_TILE_VECTORS);
            else
                gemm_tile(ai, a_row, a_col, bj, b_stride, n_k, cij, c_stride, 1, 1);
            i += four ? 4 : 1;
        }
        j += full ? wide : 16;
    }
}

/* n_c vectors of columns of the solve; a constant where this is inlined. */
ELM_INLINE void solve_columns(const float *a, size_t n_rows, float *x, size_t stride,
                              const int n_c) {
    for (size_t i = 1; i < n_rows; i++) {
        v16 sum[4];
#pragma GCC unroll 4
        for (int c = 0; c < n_c; c++) sum[c] = v_load(x + i * stride + 16 * (size_t)c);
        for (size_t j = 0; j < i; j++) {
            v16 w = v_splat(-a[i * ELM_CPU_KV_BLOCK + j]);
#pragma GCC unroll 4
            for (int c = 0; c < n_c; c++)
                sum[c] = v_fma(w, v_load(x + j * stride + 16 * (size_t)c), sum[c]);
        }
#pragma GCC unroll 4
        for (int c = 0; c < n_c; c++) v_store(x + i * stride + 16 * (size_t)c, sum[c]);
    }
}

static void k_solve(const float *a, size_t n_rows, size_t n, float *x, size_t stride) {
    size_t c = 0;
    for (; c + 64 <= n; c += 64) solve_columns(a, n_rows, x + c, stride, 4);
    for (; c < n; c += 16) solve_columns(a, n_rows, x + c, stride, 1);
}

#endif
