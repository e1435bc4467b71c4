/* kernels_avx2.c - kernels for AVX2, FMA and F16C. Compiled with those flags. Layer: backend/cpu.
 *
 * int4: unsigned nibbles are the u8 operand of maddubs, activations the s8 one. Pair sums (<=
 * 15*127*2) of a whole block add up in int16: the start value (-8 S_even, -8 S_odd) keeps every
 * partial sum within 8*127*16 = 16256. int8: |w| is the u8 operand, a * sign(w) the s8 one:
 * 128*127*2 = 32512 fits int16, widened every step. */
#include "backend/cpu/x86/simd_avx2.h"

#include "backend/cpu/kernels_attention.h"

/* Compilers reorder long chains of int16 additions and then spill every product; naming the
 * accumulators in an empty statement fixes their order and keeps them in registers. */
#define PIN4(a, b, c, d) __asm__ volatile("" : "+x"(a), "+x"(b), "+x"(c), "+x"(d))

enum {
    GEMV_PREFETCH_BYTES = 8192,
    GEMM_K = 1024,   /* k of one expansion: 16 KiB of u8 */
    GEMM_TOKENS = 4, /* tile: 4 tokens x 16 rows = 8 accumulators */
    GEMM_MIN_TOKENS = 9,
};

static inline __m256i broadcast4(const int8_t *p) {
    int32_t four;
    memcpy(&four, p, 4);
    return _mm256_set1_epi32(four);
}

typedef struct scales16 {
    __m256 s[2];
    __m256i z[2]; /* 8 - zero or 128 - zero */
} scales16;

static inline scales16 load_scales(const elm_cpu_weight *w, size_t panel, size_t group, int zero) {
    size_t at = (panel * w->n_groups + group) * 16;
    scales16 r;
    for (int h = 0; h < 2; h++) {
        const void *s = w->scales + at + 8 * h;
        r.s[h] = _mm256_cvtph_ps(_mm_loadu_si128(s));
        r.z[h] = _mm256_setzero_si256();
        if (w->zeros) {
            const void *z = w->zeros + at + 8 * h;
            r.z[h] =
                _mm256_sub_epi32(_mm256_set1_epi32(zero), _mm256_cvtepu8_epi32(_mm_loadl_epi64(z)));
        }
    }
    return r;
}

/* y = fma(isum, s * d, y) */
ELM_INLINE __m256 scale_add(__m256i isum, __m256 s, __m256 d, __m256 y) {
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(isum), _mm256_mul_ps(s, d), y);
}

ELM_INLINE __m256i with_zero(__m256i isum, __m256i z, int32_t sum, const bool zeros) {
    return zeros ? _mm256_add_epi32(isum, _mm256_mullo_epi32(z, _mm256_set1_epi32(sum))) : isum;
}

/* ---- int4, few tokens: straight from the nibbles ---- */

/* One block of 32 k of one panel for m tokens: int32 sums of 8 rows each. m is a constant. */
ELM_INLINE void i4_block(const uint8_t *cells, const int8_t *a, size_t a_stride,
                         const int32_t *start, size_t start_stride, const int m, __m256i out[][2]) {
    const __m256i mask = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
    __m256i acc[4][2];
#pragma GCC unroll 4
    for (int t = 0; t < m; t++)
        acc[t][0] = acc[t][1] = _mm256_set1_epi32(start[(size_t)t * start_stride]);
#pragma GCC unroll 4
    for (size_t j = 0; j < 4; j++) {
        const __m256i *cell = (const __m256i *)(const void *)(cells + 64 * j);
        __m256i v0 = _mm256_loadu_si256(cell), v1 = _mm256_loadu_si256(cell + 1);
        __m256i l0 = _mm256_and_si256(v0, mask), l1 = _mm256_and_si256(v1, mask);
        __m256i h0 = _mm256_and_si256(_mm256_srli_epi16(v0, 4), mask);
        __m256i h1 = _mm256_and_si256(_mm256_srli_epi16(v1, 4), mask);
#pragma GCC unroll 4
        for (int t = 0; t < m; t++) {
            const int8_t *x = a + (size_t)t * a_stride + 8 * j;
            __m256i xl = broadcast4(x), xh = broadcast4(x + 4);
            acc[t][0] = _mm256_add_epi16(acc[t][0], _mm256_maddubs_epi16(l0, xl));
            acc[t][1] = _mm256_add_epi16(acc[t][1], _mm256_maddubs_epi16(l1, xl));
            acc[t][0] = _mm256_add_epi16(acc[t][0], _mm256_maddubs_epi16(h0, xh));
            acc[t][1] = _mm256_add_epi16(acc[t][1], _mm256_maddubs_epi16(h1, xh));
            __asm__ volatile("" : "+x"(acc[t][0]), "+x"(acc[t][1]));
        }
    }
#pragma GCC unroll 4
    for (int t = 0; t < m; t++) {
        out[t][0] = _mm256_madd_epi16(acc[t][0], ones);
        out[t][1] = _mm256_madd_epi16(acc[t][1], ones);
    }
}

/* One block for one token, low and high nibbles in chains of their own: shorter dependencies. */
ELM_INLINE void i4_block1(const uint8_t *cells, const int8_t *a, int32_t start, __m256i out[2]) {
    const __m256i mask = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
    __m256i a0 = _mm256_set1_epi32(start), a1 = a0, b0 = _mm256_setzero_si256(), b1 = b0;
#pragma GCC unroll 4
    for (size_t j = 0; j < 4; j++) {
        const __m256i *cell = (const __m256i *)(const void *)(cells + 64 * j);
        __m256i v0 = _mm256_loadu_si256(cell), v1 = _mm256_loadu_si256(cell + 1);
        __m256i xl = broadcast4(a + 8 * j), xh = broadcast4(a + 8 * j + 4);
        a0 = _mm256_add_epi16(a0, _mm256_maddubs_epi16(_mm256_and_si256(v0, mask), xl));
        a1 = _mm256_add_epi16(a1, _mm256_maddubs_epi16(_mm256_and_si256(v1, mask), xl));
        v0 = _mm256_and_si256(_mm256_srli_epi16(v0, 4), mask);
        v1 = _mm256_and_si256(_mm256_srli_epi16(v1, 4), mask);
        b0 = _mm256_add_epi16(b0, _mm256_maddubs_epi16(v0, xh));
        b1 = _mm256_add_epi16(b1, _mm256_maddubs_epi16(v1, xh));
        PIN4(a0, a1, b0, b1);
    }
    out[0] = _mm256_madd_epi16(_mm256_add_epi16(a0, b0), ones);
    out[1] = _mm256_madd_epi16(_mm256_add_epi16(a1, b1), ones);
}

/* ---- int8: 32 k of one panel for m tokens ---- */

ELM_INLINE void i8_block(const uint8_t *cells, const int8_t *a, size_t a_stride, const int m,
                         __m256i out[][2]) {
    const __m256i ones = _mm256_set1_epi16(1);
#pragma GCC unroll 4
    for (int t = 0; t < m; t++) out[t][0] = out[t][1] = _mm256_setzero_si256();
#pragma GCC unroll 8
    for (size_t j = 0; j < 8; j++) {
        const __m256i *cell = (const __m256i *)(const void *)(cells + 64 * j);
        __m256i w0 = _mm256_loadu_si256(cell), w1 = _mm256_loadu_si256(cell + 1);
        __m256i u0 = _mm256_abs_epi8(w0), u1 = _mm256_abs_epi8(w1); /* |-128| = 128 as u8 */
#pragma GCC unroll 4
        for (int t = 0; t < m; t++) {
            __m256i x = broadcast4(a + (size_t)t * a_stride + 4 * j);
            __m256i p0 = _mm256_maddubs_epi16(u0, _mm256_sign_epi8(x, w0));
            __m256i p1 = _mm256_maddubs_epi16(u1, _mm256_sign_epi8(x, w1));
            out[t][0] = _mm256_add_epi32(out[t][0], _mm256_madd_epi16(p0, ones));
            out[t][1] = _mm256_add_epi32(out[t][1], _mm256_madd_epi16(p1, ones));
            __asm__ volatile("" : "+x"(out[t][0]), "+x"(out[t][1]));
        }
    }
}

/* m tokens of one panel from the stored codes. m, i4 and zeros are constants. */
ELM_INLINE void gemv(const elm_cpu_linear *job, size_t panel, size_t token, const int m,
                     const bool i4, const bool zeros) {
    const elm_cpu_weight *w = job->weight;
    const elm_cpu_acts *acts = &job->acts;
    const size_t block_bytes = i4 ? 256 : 512, bs = acts->block_stride;
    const uint8_t *codes = (const uint8_t *)w->codes + panel * (w->k_padded / 32) * block_bytes;
    const int8_t *a = acts->q + token * acts->q_stride;
    const float *d = acts->d + token * bs;
    const int32_t *start = acts->start + token * bs, *sum = acts->sum + token * bs;
    __m256 y[4][2];
    scales16 s = {0};
#pragma GCC unroll 4
    for (int t = 0; t < m; t++) y[t][0] = y[t][1] = _mm256_setzero_ps();
    size_t left = 0, group = 0;
    for (size_t b = 0; b < w->n_blocks; b++, codes += block_bytes) {
        if (left == 0) {
            s = load_scales(w, panel, group++, i4 ? ELM_ZERO_I4 : ELM_ZERO_I8);
            left = w->group_blocks;
        }
        left--;
        for (size_t i = 0; i < block_bytes; i += 64)
            _mm_prefetch((const char *)codes + GEMV_PREFETCH_BYTES + i, _MM_HINT_T0);
        __m256i isum[4][2];
        if (i4 && m == 1)
            i4_block1(codes, a + b * 32, start[b], isum[0]);
        else if (i4)
            i4_block(codes, a + b * 32, acts->q_stride, start + b, bs, m, isum);
        else
            i8_block(codes, a + b * 32, acts->q_stride, m, isum);
#pragma GCC unroll 4
        for (int t = 0; t < m; t++) {
            __m256 dt = _mm256_set1_ps(d[(size_t)t * bs + b]);
            int32_t st = zeros ? sum[(size_t)t * bs + b] : 0;
            y[t][0] = scale_add(with_zero(isum[t][0], s.z[0], st, zeros), s.s[0], dt, y[t][0]);
            y[t][1] = scale_add(with_zero(isum[t][1], s.z[1], st, zeros), s.s[1], dt, y[t][1]);
        }
    }
#pragma GCC unroll 4
    for (int t = 0; t < m; t++)
        linear_finish(job, panel, token + (size_t)t, v_make(y[t][0], y[t][1]));
}

/* All tokens of the panels, up to four at a time, panel by panel so that it stays in the cache. */
ELM_INLINE void gemv_panels(const elm_cpu_linear *job, size_t begin, size_t end, const bool i4,
                            const bool zeros) {
    for (size_t panel = begin; panel < end; panel++) {
        size_t t = 0, n = job->n_tokens;
        for (; t + 4 <= n; t += 4) gemv(job, panel, t, 4, i4, zeros);
        if (n - t >= 2) {
            gemv(job, panel, t, 2, i4, zeros);
            t += 2;
        }
        if (t < n) gemv(job, panel, t, 1, i4, zeros);
    }
}

/* ---- int4, many tokens: a panel is expanded once and used for all of them ---- */

typedef struct i4_scratch {
    _Alignas(64) uint8_t u[GEMM_K / 4][64]; /* [k/4][16 rows][4] */
    float scale[GEMM_K / 32][16];
    int32_t zero[GEMM_K / 32][16];
    float sums[ELM_CPU_TOKEN_BLOCK][16];
} i4_scratch;
_Static_assert(sizeof(i4_scratch) <= ELM_CPU_LINEAR_SCRATCH,
               "the scratch of a linear kernel is too small");

static void i4_expand(const elm_cpu_weight *w, size_t panel, size_t b0, size_t n_blocks,
                      i4_scratch *s) {
    const uint8_t *codes =
        (const uint8_t *)w->codes + elm_p16_i4_offset(w->k_padded, panel * 16, b0 * 32);
    const __m256i mask = _mm256_set1_epi8(15);
    for (size_t j = 0; j < 4 * n_blocks; j++) {
        const __m256i *cell = (const __m256i *)(const void *)(codes + 64 * j);
        __m256i *out = (__m256i *)(void *)s->u[2 * j];
        __m256i v0 = _mm256_loadu_si256(cell), v1 = _mm256_loadu_si256(cell + 1);
        _mm256_store_si256(out, _mm256_and_si256(v0, mask));
        _mm256_store_si256(out + 1, _mm256_and_si256(v1, mask));
        _mm256_store_si256(out + 2, _mm256_and_si256(_mm256_srli_epi16(v0, 4), mask));
        _mm256_store_si256(out + 3, _mm256_and_si256(_mm256_srli_epi16(v1, 4), mask));
    }
    for (size_t b = 0; b < n_blocks; b++) {
        scales16 r = load_scales(w, panel, (b0 + b) / w->group_blocks, ELM_ZERO_I4);
        for (int h = 0; h < 2; h++) {
            _mm256_storeu_ps(s->scale[b] + 8 * h, r.s[h]);
            _mm256_storeu_si256((__m256i *)(void *)(s->zero[b] + 8 * h), r.z[h]);
        }
    }
}

/* Blocks [b0, b0 + n) of m tokens; m and zeros are constants. */
ELM_INLINE void i4_tile(const elm_cpu_acts *acts, size_t token, size_t b0, size_t n_blocks,
                        i4_scratch *s, float (*sums)[16], const int m, const bool zeros) {
    const __m256i ones = _mm256_set1_epi16(1);
    const size_t bs = acts->block_stride, qs = acts->q_stride;
    for (size_t b = 0; b < n_blocks; b++) {
        const size_t at = token * bs + b0 + b;
        const int8_t *x = acts->q + token * qs + (b0 + b) * 32;
        __m256i r[GEMM_TOKENS][2];
#pragma GCC unroll 4
        for (int t = 0; t < m; t++)
            r[t][0] = r[t][1] = _mm256_set1_epi32(acts->start[at + (size_t)t * bs]);
#pragma GCC unroll 8
        for (size_t j = 0; j < 8; j++) {
            const __m256i *u = (const __m256i *)(const void *)s->u[8 * b + j];
            __m256i w0 = _mm256_load_si256(u), w1 = _mm256_load_si256(u + 1);
#pragma GCC unroll 4
            for (int t = 0; t < m; t++) {
                __m256i xv = broadcast4(x + (size_t)t * qs + 4 * j);
                r[t][0] = _mm256_add_epi16(r[t][0], _mm256_maddubs_epi16(w0, xv));
                r[t][1] = _mm256_add_epi16(r[t][1], _mm256_maddubs_epi16(w1, xv));
            }
            if (m == 4) {
                PIN4(r[0][0], r[0][1], r[1][0], r[1][1]);
                PIN4(r[2][0], r[2][1], r[3][0], r[3][1]);
            }
        }
        for (int h = 0; h < 2; h++) {
            __m256 scale = _mm256_loadu_ps(s->scale[b] + 8 * h);
            __m256i z = _mm256_loadu_si256((const __m256i *)(const void *)(s->zero[b] + 8 * h));
#pragma GCC unroll 4
            for (int t = 0; t < m; t++) {
                size_t block = at + (size_t)t * bs;
                __m256i isum = with_zero(_mm256_madd_epi16(r[t][h], ones), z,
                                         zeros ? acts->sum[block] : 0, zeros);
                float *y = sums[t] + 8 * h;
                _mm256_storeu_ps(
                    y, scale_add(isum, scale, _mm256_set1_ps(acts->d[block]), _mm256_loadu_ps(y)));
            }
        }
    }
}

ELM_INLINE void i4_gemm(const elm_cpu_linear *job, size_t panel, size_t t0, size_t n, i4_scratch *s,
                        const bool zeros) {
    const elm_cpu_weight *w = job->weight;
    const size_t step = GEMM_K / 32;
    memset(s->sums, 0, n * sizeof s->sums[0]);
    for (size_t b0 = 0; b0 < w->n_blocks; b0 += step) {
        size_t blocks = w->n_blocks - b0 < step ? w->n_blocks - b0 : step, t = 0;
        i4_expand(w, panel, b0, blocks, s);
        for (; t + GEMM_TOKENS <= n; t += GEMM_TOKENS)
            i4_tile(&job->acts, t0 + t, b0, blocks, s, s->sums + t, GEMM_TOKENS, zeros);
        for (; t < n; t++) i4_tile(&job->acts, t0 + t, b0, blocks, s, s->sums + t, 1, zeros);
    }
    for (size_t t = 0; t < n; t++) linear_finish(job, panel, t0 + t, v_load(s->sums[t]));
}

ELM_INLINE void i4_gemm_panels(const elm_cpu_linear *job, size_t begin, size_t end, void *scratch,
                               const bool zeros) {
    for (size_t panel = begin; panel < end; panel++) {
        for (size_t t0 = 0; t0 < job->n_tokens; t0 += ELM_CPU_TOKEN_BLOCK) {
            size_t n =
                job->n_tokens - t0 < ELM_CPU_TOKEN_BLOCK ? job->n_tokens - t0 : ELM_CPU_TOKEN_BLOCK;
            i4_gemm(job, panel, t0, n, scratch, zeros);
        }
    }
}

static void linear_i4(const elm_cpu_linear *job, size_t begin, size_t end, void *scratch) {
    bool many = job->n_tokens >= GEMM_MIN_TOKENS, zeros = job->weight->zeros != NULL;
    if (many && zeros)
        i4_gemm_panels(job, begin, end, scratch, true);
    else if (many)
        i4_gemm_panels(job, begin, end, scratch, false);
    else if (zeros)
        gemv_panels(job, begin, end, true, true);
    else
        gemv_panels(job, begin, end, true, false);
}

static void linear_i8(const elm_cpu_linear *job, size_t begin, size_t end, void *scratch) {
    (void)scratch;
    if (job->weight->zeros)
        gemv_panels(job, begin, end, false, true);
    else
        gemv_panels(job, begin, end, false, false);
}

/* ---- scores of int8 keys ---- */

/* A cell of 16 keys x 4 dimensions against m queries; m is a constant. Signs go to the query: codes
 * lie in [-127, 127] on both sides. */
ELM_INLINE void key_cell(const int8_t *k, const int8_t *x, size_t x_stride, __m256i acc[][2],
                         const int m) {
    const __m256i ones = _mm256_set1_epi16(1);
    const __m256i *cell = (const __m256i *)(const void *)k;
    __m256i w0 = _mm256_loadu_si256(cell), w1 = _mm256_loadu_si256(cell + 1);
    __m256i u0 = _mm256_abs_epi8(w0), u1 = _mm256_abs_epi8(w1);
#pragma GCC unroll 2
    for (int t = 0; t < m; t++) {
        __m256i xv = broadcast4(x + (size_t)t * x_stride);
        __m256i p0 = _mm256_maddubs_epi16(u0, _mm256_sign_epi8(xv, w0));
        __m256i p1 = _mm256_maddubs_epi16(u1, _mm256_sign_epi8(xv, w1));
        acc[t][0] = _mm256_add_epi32(acc[t][0], _mm256_madd_epi16(p0, ones));
        acc[t][1] = _mm256_add_epi32(acc[t][1], _mm256_madd_epi16(p1, ones));
        __asm__ volatile("" : "+x"(acc[t][0]), "+x"(acc[t][1]));
    }
}

/* m queries x 16 keys; m is a constant. */
ELM_INLINE void score_i8_tile(const elm_cpu_acts *q, size_t i, const int8_t *k, size_t dim,
                              float *s, const int m) {
    const size_t cells = (dim + 3) / 4, qs = q->q_stride, bs = q->block_stride;
    const int8_t *x = q->q + i * qs;
    __m256 y[2][2];
#pragma GCC unroll 2
    for (int t = 0; t < m; t++) y[t][0] = y[t][1] = _mm256_setzero_ps();
    for (size_t b = 0; 8 * b < cells; b++, k += 8 * 64, x += 32) {
        __m256i acc[2][2];
#pragma GCC unroll 2
        for (int t = 0; t < m; t++) acc[t][0] = acc[t][1] = _mm256_setzero_si256();
        if (cells - 8 * b >= 8) {
#pragma GCC unroll 8
            for (size_t c = 0; c < 8; c++) key_cell(k + 64 * c, x + 4 * c, qs, acc, m);
        } else {
            for (size_t c = 0; c < cells - 8 * b; c++) key_cell(k + 64 * c, x + 4 * c, qs, acc, m);
        }
#pragma GCC unroll 2
        for (int t = 0; t < m; t++) {
            __m256 d = _mm256_set1_ps(q->d[(i + (size_t)t) * bs + b]);
            y[t][0] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(acc[t][0]), d, y[t][0]);
            y[t][1] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(acc[t][1]), d, y[t][1]);
        }
    }
#pragma GCC unroll 2
    for (size_t t = 0; t < (size_t)m; t++)
        v_store(s + (i + t) * ELM_CPU_KV_BLOCK, v_make(y[t][0], y[t][1]));
}

static void scores_i8(const elm_cpu_acts *q, size_t n_q, const int8_t *k, size_t dim, float *s) {
    for (size_t p = 0; p < KEY_PANELS; p++, k += (dim + 3) / 4 * 64, s += 16) {
        size_t i = 0;
        for (; i + 2 <= n_q; i += 2) score_i8_tile(q, i, k, dim, s, 2);
        if (i < n_q) score_i8_tile(q, i, k, dim, s, 1);
    }
}

/* ---- int8 values ---- */

/* m queries x 16 columns; m is a constant. Sixteen bytes are 4 columns of 4 positions: widened, and
 * multiplied in pairs with the weights of the 4 positions. */
ELM_INLINE void value_i8_tile(const int16_t *w, const float *unit, const float *c, const int8_t *v,
                              float *o, size_t o_stride, const int m) {
    __m256i acc[3][4];
#pragma GCC unroll 3
    for (int t = 0; t < m; t++)
#pragma GCC unroll 4
        for (int e = 0; e < 4; e++) acc[t][e] = _mm256_setzero_si256();
    for (size_t j = 0; j < ELM_CPU_KV_BLOCK; j += 4) {
        __m256i x[3];
#pragma GCC unroll 3
        for (int t = 0; t < m; t++) {
            long long four;
            memcpy(&four, w + t * ELM_CPU_KV_BLOCK + j, sizeof four);
            x[t] = _mm256_set1_epi64x(four);
        }
#pragma GCC unroll 4
        for (size_t e = 0; e < 4; e++) {
            const void *at = v + 16 * j + 16 * e;
            __m256i y = _mm256_cvtepi8_epi16(_mm_loadu_si128(at));
#pragma GCC unroll 3
            for (int t = 0; t < m; t++)
                acc[t][e] = _mm256_add_epi32(acc[t][e], _mm256_madd_epi16(y, x[t]));
        }
#pragma GCC unroll 3
        for (int t = 0; t < m; t++) PIN4(acc[t][0], acc[t][1], acc[t][2], acc[t][3]);
    }
#pragma GCC unroll 3
    for (int t = 0; t < m; t++, o += o_stride)
#pragma GCC unroll 2
        for (int h = 0; h < 2; h++) { /* neighbours are of one column */
            __m256i isum = _mm256_hadd_epi32(acc[t][2 * h], acc[t][2 * h + 1]);
            isum = _mm256_permute4x64_epi64(isum, 0xd8);
            __m256 y = _mm256_mul_ps(_mm256_loadu_ps(o + 8 * h), _mm256_set1_ps(c[t]));
            y = _mm256_fmadd_ps(_mm256_cvtepi32_ps(isum), _mm256_set1_ps(unit[t]), y);
            _mm256_storeu_ps(o + 8 * h, y);
        }
}

static void values_i8(const void *codes, const float *unit, const float *c, size_t n_q,
                      const int8_t *v, size_t width, float *o, size_t o_stride) {
    const int16_t *w = codes;
    for (size_t n; n_q > 0; n_q -= n, w += n * ELM_CPU_KV_BLOCK, unit += n, c += n) {
        n = n_q < 3 ? n_q : 3;
        for (size_t d = 0; d < width; d += 16) {
            const int8_t *columns = v + d * ELM_CPU_KV_BLOCK;
            if (n == 3)
                value_i8_tile(w, unit, c, columns, o + d, o_stride, 3);
            else if (n == 2)
                value_i8_tile(w, unit, c, columns, o + d, o_stride, 2);
            else
                value_i8_tile(w, unit, c, columns, o + d, o_stride, 1);
        }
        o += n * o_stride;
    }
}

/* ---- the limit ---- */

/* Eight chains. The operand is named in an empty statement, or one product would serve all chains.
 */
static uint64_t peak(size_t rounds, bool i4) {
    __m256i acc[8], w = _mm256_set1_epi8(1), x = _mm256_set1_epi8(2);
    const __m256i ones = _mm256_set1_epi16(1);
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) acc[i] = _mm256_setzero_si256();
    for (size_t r = 0; r < rounds; r++) {
#pragma GCC unroll 8
        for (int i = 0; i < 8; i++) {
            __asm__ volatile("" : "+x"(x));
            __m256i p = _mm256_maddubs_epi16(w, x);
            acc[i] = i4 ? _mm256_add_epi16(acc[i], p)
                        : _mm256_add_epi32(acc[i], _mm256_madd_epi16(p, ones));
        }
        PIN4(acc[0], acc[1], acc[2], acc[3]);
        PIN4(acc[4], acc[5], acc[6], acc[7]);
    }
    return (uint64_t)rounds * 8 * 64;
}

static uint64_t peak_i4(size_t rounds) {
    return peak(rounds, true);
}
static uint64_t peak_i8(size_t rounds) {
    return peak(rounds, false);
}

void elm_cpu_kernels_avx2(elm_cpu_kernels *k) {
    fill_float_kernels(k);
    fill_attention_kernels(k);
    k->scores_i8 = scores_i8;
    k->values_i8 = values_i8;
    k->linear_i4 = linear_i4;
    k->linear_i8 = linear_i8;
    k->peak_i4 = peak_i4;
    k->peak_i8 = peak_i8;
}
