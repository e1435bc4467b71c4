/* kernels_ymm.h - integer kernels on 256-bit registers, written once over the multiply-add that the
 * including file brought along.
 *
 * Layer: backend/cpu. Included by one .c file of each instruction set, which defines:
 *
 *   dot_start(pair, zero)   lanes to begin with, so that u8 codes count as u - zero: `pair` is
 *                           acts->start of the block, zero 8 or 128
 *   dot(acc, u, x)          adds the products of 4 u8 codes and 4 int8 activations a row
 *   dot_join(a, b)          lanes of both
 *   dot_sum(acc)            int32 a row, of a block of 32 k at most
 *   plane_sum(high, low)    int32 a row, of the two planes of 4 bits of int8 codes, 16 (high - 8) + low
 *   i8_operand(w)           what i8_dot multiplies for the int8 codes w
 *   i8_dot(acc, u, w, x)    int32 lanes, from i8_start(sum of the activations)
 *   FORM_I8_MANY            how int8 is expanded: FORM_U8 if i8_operand alone makes an operand of dot,
 *                           else FORM_PLANES
 *
 * Few tokens run from the stored codes, many from a panel that is expanded once to u8. */
#ifndef ELM_BACKEND_CPU_KERNELS_YMM_H
#define ELM_BACKEND_CPU_KERNELS_YMM_H

#include "backend/cpu/kernels_attention.h"

enum {
    GEMV_PREFETCH_BYTES = 8192,
    TILE_TOKENS = 5,        /* 5 tokens x 16 rows: 10 accumulators, two operands, one activation */
    GEMM_BYTES = 16 * 1024, /* of one expansion: half of the first cache */
    GEMM_MIN_TOKENS = 11,
};

/* How a tile reads its codes: as they are stored, or expanded: one u8 of 4 or 8 bits a code, or the
 * two planes of int8. */
enum { FORM_I4, FORM_I8, FORM_U4, FORM_U8, FORM_PLANES };

static inline __m256i load_bytes(const void *p) {
    return _mm256_loadu_si256(p);
}

static inline __m256i broadcast4(const int8_t *p) {
    int32_t four;
    memcpy(&four, p, 4);
    return _mm256_set1_epi32(four);
}

typedef struct scales16 {
    __m256 s[2];
    __m256i z[2]; /* 8 - zero or 128 - zero */
} scales16;

/* Of n_v times 8 rows from half `half` on. */
ELM_INLINE scales16 load_scales(const elm_cpu_weight *w, size_t panel, size_t group, size_t half,
                                const int n_v, int zero, const bool zeros) {
    const size_t at = (panel * w->n_groups + group) * 16 + 8 * half;
    scales16 r = {0};
#pragma GCC unroll 2
    for (int v = 0; v < n_v; v++) {
        const void *s = w->scales + at + 8 * v;
        r.s[v] = _mm256_cvtph_ps(_mm_loadu_si128(s));
        if (!zeros) continue;
        const void *z = w->zeros + at + 8 * v;
        r.z[v] =
            _mm256_sub_epi32(_mm256_set1_epi32(zero), _mm256_cvtepu8_epi32(_mm_loadl_epi64(z)));
    }
    return r;
}

/* ---- a block of 32 k ---- */

/* Codes of step j of 8: 4 k of rows 8 v to 8 v + 7, or of plane v of one half of the rows. */
ELM_INLINE __m256i operand(const uint8_t *codes, size_t j, size_t v, const int form) {
    if (form != FORM_I4) return load_bytes(codes + 64 * j + 32 * v);
    __m256i cell = load_bytes(codes + 64 * (j / 2) + 32 * v);
    if (j % 2) cell = _mm256_srli_epi16(cell, 4);
    return _mm256_and_si256(cell, _mm256_set1_epi8(15));
}

/* Lanes of m tokens, see operand; one token has chains of its own for odd steps: shorter
 * dependencies. m and form are constants. */
ELM_INLINE void block(const uint8_t *codes, const int8_t *x, size_t xs, const int32_t *start,
                      const int32_t *sum, size_t bs, const int m, const int form,
                      __m256i acc[][2]) {
    __m256i odd[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
#pragma GCC unroll 5
    for (int t = 0; t < m; t++) {
        if (form == FORM_I8)
            acc[t][0] = i8_start(sum[(size_t)t * bs]);
        else
            acc[t][0] =
                dot_start(start[(size_t)t * bs], form == FORM_U8 ? ELM_ZERO_I8 : ELM_ZERO_I4);
        acc[t][1] = form == FORM_PLANES ? _mm256_setzero_si256() : acc[t][0];
    }
#pragma GCC unroll 8
    for (size_t j = 0; j < 8; j++) {
        __m256i w0 = operand(codes, j, 0, form), w1 = operand(codes, j, 1, form);
        __m256i u0 = form == FORM_I8 ? i8_operand(w0) : w0;
        __m256i u1 = form == FORM_I8 ? i8_operand(w1) : w1;
#pragma GCC unroll 5
        for (int t = 0; t < m; t++) {
            __m256i xv = broadcast4(x + (size_t)t * xs + 4 * j);
            __m256i *a = m == 1 && j % 2 ? odd : acc[t];
            a[0] = form == FORM_I8 ? i8_dot(a[0], u0, w0, xv) : dot(a[0], u0, xv);
            a[1] = form == FORM_I8 ? i8_dot(a[1], u1, w1, xv) : dot(a[1], u1, xv);
            /* Compilers reorder long chains of additions and then spill every product. */
            __asm__ volatile("" : "+x"(a[0]), "+x"(a[1]));
        }
    }
    if (m > 1) return;
    acc[0][0] = form == FORM_I8 ? _mm256_add_epi32(acc[0][0], odd[0]) : dot_join(acc[0][0], odd[0]);
    acc[0][1] = form == FORM_I8 ? _mm256_add_epi32(acc[0][1], odd[1]) : dot_join(acc[0][1], odd[1]);
}

/* Blocks [b0, b0 + n_blocks) of m tokens of a panel, whose codes begin at `codes`, added to their sums
 * [m][16]; of planes those of half `half` of the rows. m, form and zeros are constants. */
ELM_INLINE void tile(const elm_cpu_linear *job, size_t panel, size_t token, size_t b0,
                     size_t n_blocks, const uint8_t *codes, size_t half, float (*sums)[16],
                     const int m, const int form, const bool zeros) {
    const elm_cpu_weight *w = job->weight;
    const size_t bs = job->acts.block_stride, xs = job->acts.q_stride,
                 group_blocks = w->group_blocks;
    const size_t block_bytes = form == FORM_I4 ? 256 : 512;
    const int n_v = form == FORM_PLANES ? 1 : 2; /* vectors of 8 rows */
    const int zero = form == FORM_I4 || form == FORM_U4 ? ELM_ZERO_I4 : ELM_ZERO_I8;
    const int8_t *x = job->acts.q + token * xs + b0 * 32;
    const float *d = job->acts.d + token * bs + b0;
    const int32_t *start = job->acts.start + token * bs + b0,
                  *sum = job->acts.sum + token * bs + b0;
    size_t group = b0 / group_blocks, left = group_blocks - b0 % group_blocks;
    scales16 s = load_scales(w, panel, group, half, n_v, zero, zeros);
    __m256 y[TILE_TOKENS][2];
#pragma GCC unroll 5
    for (int t = 0; t < m; t++)
#pragma GCC unroll 2
        for (int v = 0; v < n_v; v++) y[t][v] = _mm256_load_ps(sums[t] + 8 * (half + (size_t)v));
    for (size_t b = 0; b < n_blocks; b++, x += 32, codes += block_bytes) {
        if (left == 0) {
            s = load_scales(w, panel, ++group, half, n_v, zero, zeros);
            left = group_blocks;
        }
        left--;
        if (form == FORM_I4 || form == FORM_I8)
            for (size_t i = 0; i < block_bytes; i += 64)
                _mm_prefetch((const char *)codes + GEMV_PREFETCH_BYTES + i, _MM_HINT_T0);
        __m256i acc[TILE_TOKENS][2];
        block(codes, x, xs, start + b, sum + b, bs, m, form, acc);
#pragma GCC unroll 5
        for (int t = 0; t < m; t++) {
            const size_t at = (size_t)t * bs + b;
            const __m256 dt = _mm256_set1_ps(d[at]);
#pragma GCC unroll 2
            for (int v = 0; v < n_v; v++) {
                __m256i isum = form == FORM_PLANES ? plane_sum(acc[t][0], acc[t][1])
                               : form == FORM_I8   ? acc[t][v]
                                                   : dot_sum(acc[t][v]);
                if (zeros)
                    isum = _mm256_add_epi32(isum,
                                            _mm256_mullo_epi32(s.z[v], _mm256_set1_epi32(sum[at])));
                y[t][v] =
                    _mm256_fmadd_ps(_mm256_cvtepi32_ps(isum), _mm256_mul_ps(s.s[v], dt), y[t][v]);
            }
        }
    }
#pragma GCC unroll 5
    for (int t = 0; t < m; t++)
#pragma GCC unroll 2
        for (int v = 0; v < n_v; v++) _mm256_store_ps(sums[t] + 8 * (half + (size_t)v), y[t][v]);
}

/* n tokens, a few at a time: their number is a constant in a tile. form and zeros are constants. */
ELM_INLINE void tiles(const elm_cpu_linear *job, size_t panel, size_t token, size_t n, size_t b0,
                      size_t n_blocks, const uint8_t *codes, size_t half, float (*sums)[16],
                      const int form, const bool zeros) {
    for (size_t passes = (n + TILE_TOKENS - 1) / TILE_TOKENS, now; passes > 0; passes--) {
        now = (n + passes - 1) / passes;
        switch (now) {
#define TOKENS(m)                                                                 \
    case m:                                                                       \
        tile(job, panel, token, b0, n_blocks, codes, half, sums, m, form, zeros); \
        break
            TOKENS(1);
            TOKENS(2);
            TOKENS(3);
            TOKENS(4);
            TOKENS(5);
#undef TOKENS
        default:
            break;
        }
        n -= now;
        token += now;
        sums += now;
    }
}

/* ---- few tokens ---- */

/* All tokens of the panels from the stored codes, panel by panel so that it stays in the cache. form
 * and zeros are constants. */
ELM_INLINE void gemv_panels(const elm_cpu_linear *job, size_t begin, size_t end, const int form,
                            const bool zeros) {
    const elm_cpu_weight *w = job->weight;
    const size_t panel_bytes = (size_t)w->k_padded * (form == FORM_I4 ? 8 : 16);
    for (size_t panel = begin; panel < end; panel++) {
        const uint8_t *codes = (const uint8_t *)w->codes + panel * panel_bytes;
        _Alignas(32) float sums[GEMM_MIN_TOKENS][16];
        memset(sums, 0, job->n_tokens * sizeof sums[0]);
        tiles(job, panel, 0, job->n_tokens, 0, w->n_blocks, codes, 0, sums, form, zeros);
        for (size_t t = 0; t < job->n_tokens; t++) linear_finish(job, panel, t, v_load(sums[t]));
    }
}

/* ---- many tokens: a panel is expanded once and used for all of them ---- */

typedef struct panel_scratch {
    _Alignas(64) uint8_t codes[GEMM_BYTES];
    float sums[ELM_CPU_TOKEN_BLOCK][16];
} panel_scratch;
_Static_assert(sizeof(panel_scratch) <= ELM_CPU_LINEAR_SCRATCH,
               "the scratch of a linear kernel is too small");

/* Blocks [b0, b0 + n_blocks) of a panel in the form that tiles read. form is a constant. */
ELM_INLINE void expand(const elm_cpu_weight *w, size_t panel, size_t b0, size_t n_blocks,
                       uint8_t *out, const int form) {
    const uint8_t *codes = w->codes;
    const __m256i mask = _mm256_set1_epi8(15);
    codes += form == FORM_U4 ? elm_p16_i4_offset(w->k_padded, panel * 16, b0 * 32)
                             : elm_p16_i8_offset(w->k_padded, panel * 16, b0 * 32);
    const size_t n = n_blocks * (form == FORM_U4 ? 8 : 16);
    for (size_t i = 0; i < n; i++, codes += 32) {
        __m256i v = load_bytes(codes), *to = (__m256i *)(void *)out;
        if (form == FORM_U4) { /* i: half of a cell of 8 k */
            to += i / 2 * 4 + i % 2;
            _mm256_store_si256(to, _mm256_and_si256(v, mask));
            _mm256_store_si256(to + 2, _mm256_and_si256(_mm256_srli_epi16(v, 4), mask));
        } else if (form == FORM_U8) {
            _mm256_store_si256(to + i, i8_operand(v));
        } else { /* v + 128 = 16 high + low; all of one half of the rows, then of the other */
            to += i / 2 * 2 + i % 2 * (GEMM_BYTES / 64);
            v = _mm256_xor_si256(v, _mm256_set1_epi8((char)0x80));
            _mm256_store_si256(to, _mm256_and_si256(_mm256_srli_epi16(v, 4), mask));
            _mm256_store_si256(to + 1, _mm256_and_si256(v, mask));
        }
    }
}

/* n tokens from t0 of one panel. form and zeros are constants. */
ELM_INLINE void gemm(const elm_cpu_linear *job, size_t panel, size_t t0, size_t n, panel_scratch *s,
                     const int form, const bool zeros) {
    const elm_cpu_weight *w = job->weight;
    const size_t halves = form == FORM_PLANES ? 2 : 1, step = GEMM_BYTES / 512 / halves;
    memset(s->sums, 0, n * sizeof s->sums[0]);
    for (size_t b0 = 0; b0 < w->n_blocks; b0 += step) {
        size_t blocks = w->n_blocks - b0 < step ? w->n_blocks - b0 : step;
        expand(w, panel, b0, blocks, s->codes, form);
        for (size_t half = 0; half < halves; half++) {
            const uint8_t *codes = s->codes + half * (GEMM_BYTES / 2);
            tiles(job, panel, t0, n, b0, blocks, codes, half, s->sums, form, zeros);
        }
    }
    for (size_t t = 0; t < n; t++) linear_finish(job, panel, t0 + t, v_load(s->sums[t]));
}

/* few: the form of stored codes, many: of expanded ones. All but the range are constants. */
ELM_INLINE void linear(const elm_cpu_linear *job, size_t begin, size_t end, void *scratch,
                       const int few, const int many, const bool zeros) {
    if (job->n_tokens < GEMM_MIN_TOKENS) {
        gemv_panels(job, begin, end, few, zeros);
        return;
    }
    for (size_t panel = begin; panel < end; panel++)
        for (size_t t0 = 0; t0 < job->n_tokens; t0 += ELM_CPU_TOKEN_BLOCK) {
            size_t left = job->n_tokens - t0;
            gemm(job, panel, t0, left < ELM_CPU_TOKEN_BLOCK ? left : ELM_CPU_TOKEN_BLOCK, scratch,
                 many, zeros);
        }
}

static void linear_i4(const elm_cpu_linear *job, size_t begin, size_t end, void *scratch) {
    if (job->weight->zeros)
        linear(job, begin, end, scratch, FORM_I4, FORM_U4, true);
    else
        linear(job, begin, end, scratch, FORM_I4, FORM_U4, false);
}

static void linear_i8(const elm_cpu_linear *job, size_t begin, size_t end, void *scratch) {
    if (job->weight->zeros)
        linear(job, begin, end, scratch, FORM_I8, FORM_I8_MANY, true);
    else
        linear(job, begin, end, scratch, FORM_I8, FORM_I8_MANY, false);
}

/* ---- scores of int8 keys ---- */

/* A cell of 16 keys x 4 dimensions against m queries; m is a constant. */
ELM_INLINE void key_cell(const int8_t *k, const int8_t *x, size_t x_stride, __m256i acc[][2],
                         const int m) {
    __m256i w0 = load_bytes(k), w1 = load_bytes(k + 32);
    __m256i u0 = i8_operand(w0), u1 = i8_operand(w1);
#pragma GCC unroll 2
    for (int t = 0; t < m; t++) {
        __m256i xv = broadcast4(x + (size_t)t * x_stride);
        acc[t][0] = i8_dot(acc[t][0], u0, w0, xv);
        acc[t][1] = i8_dot(acc[t][1], u1, w1, xv);
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
        for (int t = 0; t < m; t++)
            acc[t][0] = acc[t][1] = i8_start(q->sum[(i + (size_t)t) * bs + b]);
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
        for (int t = 0; t < m; t++)
            __asm__ volatile(""
                             : "+x"(acc[t][0]), "+x"(acc[t][1]), "+x"(acc[t][2]), "+x"(acc[t][3]));
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

/* ---- the table ---- */

static inline void fill_ymm_kernels(elm_cpu_kernels *k) {
    fill_float_kernels(k);
    fill_attention_kernels(k);
    k->scores_i8 = scores_i8;
    k->values_i8 = values_i8;
    k->linear_i4 = linear_i4;
    k->linear_i8 = linear_i8;
}

#endif
