/* kernels_avx512.c - kernels for AVX-512 with VNNI. Compiled with those flags. Layer: backend/cpu.
 *
 * One cell of a panel is one zmm: 16 int32 lanes = 16 rows. Weights are the u8 operand of vpdpbusd,
 * activations the s8 one; lanes start at -8 S (int4) or -128 S (int8, whose bytes become unsigned
 * by xor 0x80). int32 cannot overflow: 255 * 127 * 32 < 2^21. Few tokens run from the stored codes;
 * many tokens from two panels expanded to u8, in tiles of 2 panels x 4 tokens whose sums stay in
 * registers. */
#include "backend/cpu/x86/simd_avx512.h"

#include "backend/cpu/kernels_attention.h"

enum {
    GEMV_PREFETCH_BYTES = 4096,
    GEMV_PREFETCH_SCALES = 256, /* a stream of their own, too slow for prefetchers to follow */
    GEMM_K = 512,               /* k of one expansion: 2 panels x 8 KiB */
    GEMM_PANELS = 2,
    GEMM_TOKENS = 4,
    GEMM_MIN_TOKENS = 13,
};

static inline __m512i broadcast4(const int8_t *p) {
    int32_t four;
    memcpy(&four, p, 4);
    return _mm512_set1_epi32(four);
}

static inline __m512 load_scale(const elm_cpu_weight *w, size_t panel, size_t group) {
    return v_load_f16(w->scales + (panel * w->n_groups + group) * 16);
}

/* Minus the rows' own zeros, 0 to 256, as int16 in the low halves of the lanes; symmetric: not used. */
static inline __m512i load_zeros(const elm_cpu_weight *w, size_t panel, size_t group) {
    if (!w->zeros) return _mm512_setzero_si512();
    const void *z = w->zeros + (panel * w->n_groups + group) * 16;
    __m512i minus =
        _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_cvtepu8_epi32(_mm_loadu_si128(z)));
    return _mm512_and_si512(minus, _mm512_set1_epi32(0xffff));
}

ELM_INLINE __m512 scale_add(__m512i isum, __m512 s, float d, __m512 y) {
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(isum), _mm512_mul_ps(s, _mm512_set1_ps(d)), y);
}

/* Start of the lanes for activations that sum to `sum`, which fits 16 bits: 32 * 127. Symmetric codes
 * by a shift, since products are what everything waits for. */
ELM_INLINE __m512i start_of(__m512i minus_zeros, int32_t sum, const bool zeros, const int zero) {
    __m512i s = _mm512_set1_epi32(sum);
    if (zeros) return _mm512_madd_epi16(minus_zeros, s);
    __m512i minus = _mm512_sub_epi32(_mm512_setzero_si512(), s);
    return zero == ELM_ZERO_I4 ? _mm512_slli_epi32(minus, 3) : _mm512_slli_epi32(minus, 7);
}

/* ---- few tokens ---- */

/* m tokens of one panel from the stored codes. m, i4 and zeros are constants. */
ELM_INLINE void gemv(const elm_cpu_linear *job, size_t panel, size_t token, const int m,
                     const bool i4, const bool zeros) {
    const elm_cpu_weight *w = job->weight;
    const elm_cpu_acts *acts = &job->acts;
    const size_t block_bytes = i4 ? 256 : 512, bs = acts->block_stride, qs = acts->q_stride;
    const size_t n_cells = i4 ? 4 : 8;
    const int zero = i4 ? ELM_ZERO_I4 : ELM_ZERO_I8;
    const uint8_t *codes = (const uint8_t *)w->codes + panel * (w->k_padded / 32) * block_bytes;
    const int8_t *a = acts->q + token * qs;
    const float *d = acts->d + token * bs;
    const int32_t *sum = acts->sum + token * bs;
    const __m512i mask = _mm512_set1_epi8(15), flip = _mm512_set1_epi8((char)0x80);
    __m512 y[8], s = _mm512_setzero_ps();
    __m512i minus_zeros = _mm512_setzero_si512();
#pragma GCC unroll 8
    for (int t = 0; t < m; t++) y[t] = _mm512_setzero_ps();
    size_t left = 0, group = 0;
    for (size_t b = 0; b < w->n_blocks; b++, codes += block_bytes, a += 32) {
        if (left == 0) {
            const uint16_t *at = w->scales + (panel * w->n_groups + group) * 16;
            s = v_load_f16(at);
            _mm_prefetch((const char *)(at + GEMV_PREFETCH_SCALES), _MM_HINT_T0);
            if (zeros) minus_zeros = load_zeros(w, panel, group);
            group++;
            left = w->group_blocks;
        }
        left--;
        __m512i acc[8],
            high = _mm512_setzero_si512(); /* one token: a second chain, shorter dependencies */
#pragma GCC unroll 8
        for (int t = 0; t < m; t++)
            acc[t] = start_of(minus_zeros, sum[(size_t)t * bs + b], zeros, zero);
#pragma GCC unroll 8
        for (size_t j = 0; j < n_cells; j++) {
            __m512i v = _mm512_loadu_si512(codes + 64 * j);
            _mm_prefetch((const char *)codes + GEMV_PREFETCH_BYTES + 64 * j, _MM_HINT_T0);
            __m512i lo = i4 ? _mm512_and_si512(v, mask) : _mm512_xor_si512(v, flip);
            __m512i hi = _mm512_and_si512(_mm512_srli_epi16(v, 4), mask);
#pragma GCC unroll 8
            for (int t = 0; t < m; t++) {
                const int8_t *x = a + (size_t)t * qs;
                if (i4) {
                    acc[t] = _mm512_dpbusd_epi32(acc[t], lo, broadcast4(x + 8 * j));
                    if (m == 1)
                        high = _mm512_dpbusd_epi32(high, hi, broadcast4(x + 8 * j + 4));
                    else
                        acc[t] = _mm512_dpbusd_epi32(acc[t], hi, broadcast4(x + 8 * j + 4));
                } else if (m == 1 && j % 2 == 1) {
                    high = _mm512_dpbusd_epi32(high, lo, broadcast4(x + 4 * j));
                } else {
                    acc[t] = _mm512_dpbusd_epi32(acc[t], lo, broadcast4(x + 4 * j));
                }
            }
        }
        if (m == 1) acc[0] = _mm512_add_epi32(acc[0], high);
#pragma GCC unroll 8
        for (int t = 0; t < m; t++) y[t] = scale_add(acc[t], s, d[(size_t)t * bs + b], y[t]);
    }
#pragma GCC unroll 8
    for (int t = 0; t < m; t++) linear_finish(job, panel, token + (size_t)t, y[t]);
}

ELM_INLINE void gemv_panels(const elm_cpu_linear *job, size_t begin, size_t end, const bool i4,
                            const bool zeros) {
    for (size_t panel = begin; panel < end; panel++) {
        size_t t = 0, n = job->n_tokens;
        for (; n - t >= 8; t += 8) gemv(job, panel, t, 8, i4, zeros);
        switch (n - t) { /* a draft's few tokens in one pass: their number is a constant in gemv */
#define REST(m)                            \
    case m:                                \
        gemv(job, panel, t, m, i4, zeros); \
        break
            REST(7);
            REST(6);
            REST(5);
            REST(4);
            REST(3);
            REST(2);
            REST(1);
#undef REST
        default:
            break;
        }
    }
}

/* ---- many tokens ---- */

typedef struct panel_scratch {
    _Alignas(64) uint8_t u[GEMM_K / 4][GEMM_PANELS][64]; /* [k/4][panel][16 rows][4] */
    float scale[GEMM_K / 32][GEMM_PANELS][16];
    int32_t minus_zeros[GEMM_K / 32][GEMM_PANELS][16];
    float sums[ELM_CPU_TOKEN_BLOCK][GEMM_PANELS][16];
} panel_scratch;
_Static_assert(sizeof(panel_scratch) <= ELM_CPU_LINEAR_SCRATCH,
               "the scratch of a linear kernel is too small");

static void expand(const elm_cpu_weight *w, size_t panel, size_t b0, size_t n_blocks,
                   size_t n_panels, bool i4, panel_scratch *s) {
    const __m512i mask = _mm512_set1_epi8(15), flip = _mm512_set1_epi8((char)0x80);
    for (size_t p = 0; p < n_panels; p++) {
        size_t row = (panel + p) * 16;
        const uint8_t *codes = w->codes;
        codes += i4 ? elm_p16_i4_offset(w->k_padded, row, b0 * 32)
                    : elm_p16_i8_offset(w->k_padded, row, b0 * 32);
        for (size_t j = 0; j < 4 * n_blocks; j++) {
            if (i4) {
                __m512i v = _mm512_loadu_si512(codes + 64 * j);
                _mm512_store_si512(s->u[2 * j][p], _mm512_and_si512(v, mask));
                _mm512_store_si512(s->u[2 * j + 1][p],
                                   _mm512_and_si512(_mm512_srli_epi16(v, 4), mask));
            } else {
                _mm512_store_si512(s->u[2 * j][p],
                                   _mm512_xor_si512(_mm512_loadu_si512(codes + 128 * j), flip));
                _mm512_store_si512(
                    s->u[2 * j + 1][p],
                    _mm512_xor_si512(_mm512_loadu_si512(codes + 128 * j + 64), flip));
            }
        }
        for (size_t b = 0; b < n_blocks; b++) {
            size_t group = (b0 + b) / w->group_blocks;
            v_store(s->scale[b][p], load_scale(w, panel + p, group));
            _mm512_store_si512(s->minus_zeros[b][p], load_zeros(w, panel + p, group));
        }
    }
}

/* A stretch of k: sums start at the first and end at the last. What is expanded next lies in two
 * runs of lines. */
typedef struct stretch {
    size_t b0, n_blocks;
    bool first, last;
    const char *next[GEMM_PANELS];
    size_t next_lines; /* of each run */
} stretch;

/* Asks for lines [from, to) of what is expanded next. Always inline: gcc 12 drops calls of a function
 * that does nothing but ask. */
ELM_INLINE void fetch_lines(const stretch *k, size_t from, size_t to) {
    for (size_t i = from; i < to; i++) {
        size_t p = i / k->next_lines;
        _mm_prefetch(k->next[p] + 64 * (i - p * k->next_lines), _MM_HINT_T1);
    }
}

/* n_p panels x m tokens over a stretch; n_p, m, zeros and zero are constants. Sums rest in
 * sums[t][p] between stretches. */
ELM_INLINE void tile(const elm_cpu_linear *job, size_t panel, size_t token, const stretch *k,
                     const panel_scratch *s, float (*sums)[GEMM_PANELS][16], const int n_p,
                     const int m, const bool zeros, const int zero) {
    const elm_cpu_acts *acts = &job->acts;
    const size_t bs = acts->block_stride, qs = acts->q_stride;
    __m512 y[GEMM_PANELS][GEMM_TOKENS];
#pragma GCC unroll 4
    for (int t = 0; t < m; t++)
#pragma GCC unroll 2
        for (int p = 0; p < n_p; p++)
            y[p][t] = k->first ? _mm512_setzero_ps() : _mm512_load_ps(sums[t][p]);
    const int8_t *x = acts->q + token * qs + k->b0 * 32;
    const float *d = acts->d + token * bs + k->b0;
    const int32_t *sum = acts->sum + token * bs + k->b0;
    for (size_t b = 0; b < k->n_blocks; b++, x += 32) {
        __m512i acc[GEMM_PANELS][GEMM_TOKENS];
#pragma GCC unroll 4
        for (int t = 0; t < m; t++)
#pragma GCC unroll 2
            for (int p = 0; p < n_p; p++) {
                __m512i z =
                    zeros ? _mm512_load_si512(s->minus_zeros[b][p]) : _mm512_setzero_si512();
                acc[p][t] = start_of(z, sum[(size_t)t * bs + b], zeros, zero);
            }
#pragma GCC unroll 8
        for (size_t j = 0; j < 8; j++) {
            __m512i w[GEMM_PANELS];
#pragma GCC unroll 2
            for (int p = 0; p < n_p; p++) w[p] = _mm512_load_si512(s->u[8 * b + j][p]);
#pragma GCC unroll 4
            for (int t = 0; t < m; t++) {
                __m512i xv = broadcast4(x + (size_t)t * qs + 4 * j);
#pragma GCC unroll 2
                for (int p = 0; p < n_p; p++) {
                    acc[p][t] = _mm512_dpbusd_epi32(acc[p][t], w[p], xv);
                    __asm__ volatile("" : "+v"(acc[p][t])); /* else gcc moves it about */
                }
            }
        }
#pragma GCC unroll 2
        for (int p = 0; p < n_p; p++) {
            __m512 scale = _mm512_load_ps(s->scale[b][p]);
#pragma GCC unroll 4
            for (int t = 0; t < m; t++)
                y[p][t] = scale_add(acc[p][t], scale, d[(size_t)t * bs + b], y[p][t]);
        }
    }
    if (k->last) {
#pragma GCC unroll 4
        for (int t = 0; t < m; t++)
#pragma GCC unroll 2
            for (int p = 0; p < n_p; p++)
                linear_finish(job, panel + (size_t)p, token + (size_t)t, y[p][t]);
        return;
    }
#pragma GCC unroll 4
    for (int t = 0; t < m; t++)
#pragma GCC unroll 2
        for (int p = 0; p < n_p; p++) _mm512_store_ps(sums[t][p], y[p][t]);
}

ELM_INLINE void tiles(const elm_cpu_linear *job, size_t panel, size_t t0, size_t n,
                      const stretch *k, panel_scratch *s, const int n_p, const bool zeros,
                      const int zero) {
    const size_t lines = (size_t)n_p * k->next_lines;
    size_t t = 0, asked = 0;
    for (; t + GEMM_TOKENS <= n; t += GEMM_TOKENS) {
        size_t due = lines * (t + GEMM_TOKENS) / n;
        fetch_lines(k, asked, due);
        asked = due;
        tile(job, panel, t0 + t, k, s, s->sums + t, n_p, GEMM_TOKENS, zeros, zero);
    }
    for (; t < n; t++) tile(job, panel, t0 + t, k, s, s->sums + t, n_p, 1, zeros, zero);
}

ELM_INLINE void gemm(const elm_cpu_linear *job, size_t panel, size_t n_panels, size_t t0, size_t n,
                     panel_scratch *s, const bool i4, const bool zeros) {
    const elm_cpu_weight *w = job->weight;
    const size_t step = GEMM_K / 32;
    const int zero = i4 ? ELM_ZERO_I4 : ELM_ZERO_I8;
    const size_t block_bytes = i4 ? 256 : 512, panel_bytes = w->k_padded / 32 * block_bytes;
    const char *codes = (const char *)w->codes + panel * panel_bytes;
    for (size_t b0 = 0; b0 < w->n_blocks; b0 += step) {
        size_t left = w->n_blocks - b0;
        stretch k = {.b0 = b0, .n_blocks = left < step ? left : step};
        k.first = b0 == 0;
        k.last = left <= step;
        /* behind the last stretch of k comes the first of the next panels, of this size or less */
        const char *next =
            k.last ? codes + n_panels * panel_bytes : codes + (b0 + step) * block_bytes;
        for (size_t p = 0; p < n_panels; p++) k.next[p] = next + p * panel_bytes;
        k.next_lines = k.n_blocks * block_bytes / 64;
        expand(w, panel, b0, k.n_blocks, n_panels, i4, s);
        if (n_panels == 2)
            tiles(job, panel, t0, n, &k, s, 2, zeros, zero);
        else
            tiles(job, panel, t0, n, &k, s, 1, zeros, zero);
    }
}

ELM_INLINE void linear(const elm_cpu_linear *job, size_t begin, size_t end, void *scratch,
                       const bool i4, const bool zeros) {
    if (job->n_tokens < GEMM_MIN_TOKENS) {
        gemv_panels(job, begin, end, i4, zeros);
        return;
    }
    for (size_t panel = begin; panel < end; panel += GEMM_PANELS) {
        size_t n_panels = end - panel < GEMM_PANELS ? end - panel : GEMM_PANELS;
        for (size_t t0 = 0; t0 < job->n_tokens; t0 += ELM_CPU_TOKEN_BLOCK) {
            size_t n =
                job->n_tokens - t0 < ELM_CPU_TOKEN_BLOCK ? job->n_tokens - t0 : ELM_CPU_TOKEN_BLOCK;
            gemm(job, panel, n_panels, t0, n, scratch, i4, zeros);
        }
    }
}

static void linear_i4(const elm_cpu_linear *job, size_t begin, size_t end, void *scratch) {
    if (job->weight->zeros)
        linear(job, begin, end, scratch, true, true);
    else
        linear(job, begin, end, scratch, true, false);
}

static void linear_i8(const elm_cpu_linear *job, size_t begin, size_t end, void *scratch) {
    if (job->weight->zeros)
        linear(job, begin, end, scratch, false, true);
    else
        linear(job, begin, end, scratch, false, false);
}

/* ---- scores of int8 keys ---- */

/* A cell of n_p panels against m queries; m and n_p are constants. */
ELM_INLINE void key_cells(const int8_t *k, size_t panel_bytes, const int8_t *x, size_t x_stride,
                          __m512i *acc, const int m, const int n_p) {
    const __m512i flip = _mm512_set1_epi8((char)0x80);
    __m512i w[KEY_PANELS];
#pragma GCC unroll 4
    for (int p = 0; p < n_p; p++) {
        const int8_t *cell = k + (size_t)p * panel_bytes;
        w[p] = _mm512_xor_si512(_mm512_loadu_si512(cell), flip);
    }
#pragma GCC unroll 3
    for (int t = 0; t < m; t++) {
        __m512i xv = broadcast4(x + (size_t)t * x_stride);
#pragma GCC unroll 4
        for (int p = 0; p < n_p; p++)
            acc[t * n_p + p] = _mm512_dpbusd_epi32(acc[t * n_p + p], w[p], xv);
    }
}

/* m queries x n_p panels, m and n_p are constants. Keys become unsigned, lanes start at -128 S.
 * With one panel, at the speed of memory, even and odd cells have chains of their own: shorter
 * dependencies. `fetch`, a constant: asks for the keys that lie behind. */
ELM_INLINE void score_i8_tile(const elm_cpu_acts *q, size_t i, const int8_t *k, size_t dim,
                              float *s, const int m, const int n_p, const bool fetch) {
    const size_t cells = (dim + 3) / 4, qs = q->q_stride, bs = q->block_stride;
    const int8_t *x = q->q + i * qs;
    __m512 y[12];
#pragma GCC unroll 12
    for (int j = 0; j < m * n_p; j++) y[j] = _mm512_setzero_ps();
    for (size_t b = 0; 8 * b < cells; b++, k += 8 * 64, x += 32) {
        __m512i acc[12], odd[12];
#pragma GCC unroll 12
        for (int j = 0; j < m * n_p; j++) {
            acc[j] = _mm512_set1_epi32(-128 * q->sum[(i + (size_t)(j / n_p)) * bs + b]);
            odd[j] = _mm512_setzero_si512();
        }
        for (size_t c = 0; fetch && c < 8 * (size_t)n_p; c++)
            fetch_behind(k + 64 * (cells * (KEY_PANELS + c / 8) + c % 8));
        if (cells - 8 * b >= 8) {
#pragma GCC unroll 8
            for (size_t c = 0; c < 8; c++)
                key_cells(k + 64 * c, cells * 64, x + 4 * c, qs, n_p == 1 && c % 2 ? odd : acc, m,
                          n_p);
        } else {
            for (size_t c = 0; c < cells - 8 * b; c++)
                key_cells(k + 64 * c, cells * 64, x + 4 * c, qs, acc, m, n_p);
        }
#pragma GCC unroll 12
        for (int j = 0; j < m * n_p; j++) {
            __m512 d = _mm512_set1_ps(q->d[(i + (size_t)(j / n_p)) * bs + b]);
            if (n_p == 1) acc[j] = _mm512_add_epi32(acc[j], odd[j]);
            y[j] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc[j]), d, y[j]);
        }
    }
#pragma GCC unroll 12
    for (size_t j = 0; j < (size_t)(m * n_p); j++)
        _mm512_storeu_ps(s + (i + j / (size_t)n_p) * ELM_CPU_KV_BLOCK + 16 * (j % (size_t)n_p),
                         y[j]);
}

static void scores_i8(const elm_cpu_acts *q, size_t n_q, const int8_t *k, size_t dim, float *s) {
    size_t i = 0;
    for (; i + 3 <= n_q && n_q > 4; i += 3)
        if (i == 3)
            score_i8_tile(q, i, k, dim, s, 3, KEY_PANELS, true);
        else
            score_i8_tile(q, i, k, dim, s, 3, KEY_PANELS, false);
    for (size_t p = 0; p < KEY_PANELS; p++, k += (dim + 3) / 4 * 64, s += 16) {
        size_t j = i;
        for (; j + 2 <= n_q; j += 2) score_i8_tile(q, j, k, dim, s, 2, 1, false);
        if (j < n_q) score_i8_tile(q, j, k, dim, s, 1, 1, false);
    }
}

/* ---- int8 values ---- */

/* Two planes of 64 bytes: the low and the high half of each weight, below 256 and below 128. */
static float weigh_i8(const float *p, const float *scales, void *codes) {
    __m512 w[4];
    uint8_t *out = codes;
    float unit = weigh(p, scales, w);
    for (size_t i = 0; i < 4; i++) {
        __m512i code = _mm512_cvtps_epi32(w[i]);
        void *low = out + 16 * i, *high = out + ELM_CPU_KV_BLOCK + 16 * i;
        _mm_storeu_si128(low, _mm512_cvtepi32_epi8(code));
        _mm_storeu_si128(high, _mm512_cvtepi32_epi8(_mm512_srli_epi32(code, 8)));
    }
    return unit;
}

/* m queries x n_c times 16 columns, constants. Weights are the u8 operand; their halves have sums of
 * their own. 64 * 32512 * 127 < 2^31. `fetch`, a constant too: asks for what lies `behind` bytes on. */
ELM_INLINE void value_i8_tile(const uint8_t *w, const float *unit, const float *c, const int8_t *v,
                              float *o, size_t o_stride, size_t behind, const int m, const int n_c,
                              const bool fetch) {
    __m512i low[8], high[8];
#pragma GCC unroll 8
    for (int i = 0; i < m * n_c; i++) low[i] = high[i] = _mm512_setzero_si512();
#pragma GCC unroll 2
    for (size_t j = 0; j < ELM_CPU_KV_BLOCK; j += 4) {
        __m512i x[2];
#pragma GCC unroll 2
        for (size_t e = 0; e < (size_t)n_c; e++) {
            const int8_t *cell = v + 16 * ELM_CPU_KV_BLOCK * e + 16 * j;
            x[e] = _mm512_loadu_si512(cell);
            if (fetch) fetch_behind(cell + behind);
        }
#pragma GCC unroll 4
        for (int t = 0; t < m; t++) {
            const int8_t *code = (const int8_t *)w + t * ELM_CPU_WEIGHT_CODES + j;
            __m512i l = broadcast4(code), h = broadcast4(code + ELM_CPU_KV_BLOCK);
#pragma GCC unroll 2
            for (int e = 0; e < n_c; e++) {
                low[t * n_c + e] = _mm512_dpbusd_epi32(low[t * n_c + e], l, x[e]);
                high[t * n_c + e] = _mm512_dpbusd_epi32(high[t * n_c + e], h, x[e]);
            }
        }
    }
#pragma GCC unroll 4
    for (int t = 0; t < m; t++, o += o_stride)
#pragma GCC unroll 2
        for (int e = 0; e < n_c; e++) {
            __m512i isum =
                _mm512_add_epi32(low[t * n_c + e], _mm512_slli_epi32(high[t * n_c + e], 8));
            __m512 y = _mm512_mul_ps(_mm512_loadu_ps(o + 16 * e), _mm512_set1_ps(c[t]));
            y = _mm512_fmadd_ps(_mm512_cvtepi32_ps(isum), _mm512_set1_ps(unit[t]), y);
            _mm512_storeu_ps(o + 16 * e, y);
        }
}

/* m queries over the whole width. Few of them read it as it lies, which is what prefetchers follow. */
ELM_INLINE void value_i8_row(const uint8_t *w, const float *unit, const float *c, const int8_t *v,
                             size_t width, float *o, size_t o_stride, const int m,
                             const bool fetch) {
    const size_t behind = width * ELM_CPU_KV_BLOCK;
    size_t d = 0;
    for (; m > 2 && d + 32 <= width; d += 32)
        value_i8_tile(w, unit, c, v + d * ELM_CPU_KV_BLOCK, o + d, o_stride, behind, m, 2, fetch);
    for (; d < width; d += 16)
        value_i8_tile(w, unit, c, v + d * ELM_CPU_KV_BLOCK, o + d, o_stride, behind, m, 1, fetch);
}

static void values_i8(const void *codes, const float *unit, const float *c, size_t n_q,
                      const int8_t *v, size_t width, float *o, size_t o_stride) {
    const uint8_t *w = codes;
    for (size_t i = 0, n; i < n_q; i += n, w += n * ELM_CPU_WEIGHT_CODES, o += n * o_stride) {
        n = n_q - i >= 4 ? 4 : n_q - i >= 2 ? 2 : 1;
        if (n == 4 && i == 4)
            value_i8_row(w, unit + i, c + i, v, width, o, o_stride, 4, true);
        else if (n == 4)
            value_i8_row(w, unit + i, c + i, v, width, o, o_stride, 4, false);
        else if (n == 2)
            value_i8_row(w, unit + i, c + i, v, width, o, o_stride, 2, false);
        else
            value_i8_row(w, unit + i, c + i, v, width, o, o_stride, 1, false);
    }
}

/* ---- the limit ---- */

static uint64_t peak(size_t rounds) {
    __m512i acc[12], w = _mm512_set1_epi8(1), x = _mm512_set1_epi8(2);
#pragma GCC unroll 12
    for (int i = 0; i < 12; i++) acc[i] = _mm512_setzero_si512();
    for (size_t r = 0; r < rounds; r++) {
#pragma GCC unroll 12
        for (int i = 0; i < 12; i++) {
            acc[i] = _mm512_dpbusd_epi32(acc[i], w, x);
            __asm__ volatile("" : "+v"(acc[i]));
        }
    }
    return (uint64_t)rounds * 12 * 128;
}

void elm_cpu_kernels_avx512(elm_cpu_kernels *k) {
    fill_float_kernels(k);
    fill_attention_kernels(k);
    k->scores_i8 = scores_i8;
    k->weigh_i8 = weigh_i8;
    k->values_i8 = values_i8;
    k->linear_i4 = linear_i4;
    k->linear_i8 = linear_i8;
    k->peak_i4 = k->peak_i8 = peak;
}
