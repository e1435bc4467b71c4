/* kernels_ymm.h - integer kernels on 256-bit registers, written once over the multiply-add that the
 * including file brought along.
 *
 * Layer: backend/cpu. Included by one .c file of each instruction set, which defines:
 *
 *   dot_start(pair, sum, zero)  lanes to begin with, so that u8 codes count as u - zero, 8 or 128; of
 *                           acts->start and acts->sum of the block
 *   dot(acc, u, x)          adds the products of 4 u8 codes and 4 int8 activations a row
 *   dot_join(a, b)          lanes of both
 *   dot_sum(acc)            int32 a row, of a block of 32 k at most
 *   plane_sum(high, low)    int32 a row, of the two planes of 4 bits of int8 codes, 16 (high - 8) + low
 *   pair_dot(acc, a, b)     adds to int32 lanes the products of pairs of int16
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
    TILE_TOKENS = 5,  /* 5 tokens x 16 rows: 10 accumulators, two operands, one activation */
    PART_BLOCKS = 32, /* of K that are expanded at a time */
    PART_BYTES = 512 * PART_BLOCKS, /* an expanded panel or half of one */
    SUMS = 32,                      /* floats of a token's sums */
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
    __m256i z[2]; /* 8 - zero or 128 - zero, as int16 in the low halves of the lanes */
} scales16;

/* The scales of a block in an expanded panel. */
typedef struct block_scales {
    float s[16];
    int32_t z[16];
} block_scales;

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
        r.z[v] = _mm256_and_si256(r.z[v], _mm256_set1_epi32(0xffff));
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
            acc[t][0] = dot_start(start[(size_t)t * bs], sum[(size_t)t * bs],
                                  form == FORM_U8 ? ELM_ZERO_I8 : ELM_ZERO_I4);
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

/* Blocks [begin, begin + n) along K. */
typedef struct k_range {
    size_t begin, n;
} k_range;

/* Adds a range of m tokens of a panel, whose codes begin at `codes`, to their sums, rows of SUMS floats that
 * hold nothing before the first range; of planes those of half `half` of the rows. Scales are read as stored
 * (`expanded` is NULL, and the range is all of K) or from there. m, form and zeros are constants. */
ELM_INLINE void tile(const elm_cpu_linear *job, size_t panel, size_t half, size_t token,
                     const k_range *k, const uint8_t *codes, const block_scales *expanded,
                     float *sums, const int m, const int form, const bool zeros) {
    const bool stored = form == FORM_I4 || form == FORM_I8, first = k->begin == 0;
    const elm_cpu_weight *w = job->weight;
    const size_t bs = job->acts.block_stride, xs = job->acts.q_stride;
    const size_t block_bytes = form == FORM_I4 ? 256 : 512;
    const int n_v = form == FORM_PLANES ? 1 : 2; /* vectors of 8 rows */
    const int zero = form == FORM_I4 || form == FORM_U4 ? ELM_ZERO_I4 : ELM_ZERO_I8;
    const int8_t *x = job->acts.q + token * xs + k->begin * 32;
    const float *d = job->acts.d + token * bs + k->begin;
    const int32_t *start = job->acts.start + token * bs + k->begin,
                  *sum = job->acts.sum + token * bs + k->begin;
    size_t group = 0, left = 0; /* of stored scales */
    scales16 s = {0};
    __m256 y[TILE_TOKENS][2];
#pragma GCC unroll 5
    for (int t = 0; t < m; t++)
#pragma GCC unroll 2
        for (int v = 0; v < n_v; v++)
            y[t][v] = first ? _mm256_setzero_ps() : _mm256_load_ps(sums + SUMS * t + 8 * v);
    for (size_t b = 0; b < k->n; b++, x += 32, codes += block_bytes) {
        if (stored) {
            if (left == 0) {
                s = load_scales(w, panel, group++, half, n_v, zero, zeros);
                left = w->group_blocks;
            }
            left--;
            for (size_t i = 0; i < block_bytes; i += 64)
                _mm_prefetch((const char *)codes + GEMV_PREFETCH_BYTES + i, _MM_HINT_T0);
        }
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
                const size_t row = 8 * (half + (size_t)v);
                if (zeros) { /* a sum fits 16 bits: 32 * 127 */
                    __m256i z = stored ? s.z[v] : load_bytes(expanded[b].z + row);
                    isum = pair_dot(isum, z, _mm256_set1_epi32(sum[at]));
                }
                __m256 sv = stored ? s.s[v] : _mm256_load_ps(expanded[b].s + row);
                y[t][v] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(isum), _mm256_mul_ps(sv, dt), y[t][v]);
            }
        }
    }
#pragma GCC unroll 5
    for (int t = 0; t < m; t++)
#pragma GCC unroll 2
        for (int v = 0; v < n_v; v++) _mm256_store_ps(sums + SUMS * t + 8 * v, y[t][v]);
}

/* What the tiles of a range read, and what is asked for meanwhile. */
typedef struct tile_source {
    const uint8_t *codes;         /* stored, or expanded: PART_BYTES a part */
    const block_scales *expanded; /* of expanded codes: PART_BLOCKS a panel; else NULL */
    const uint8_t *next[2];       /* stored codes of each panel that are expanded next */
    size_t next_lines;            /* of each */
} tile_source;

/* The share of pass `pass` of n_passes of what comes next, and, since the last range of K ends with it, the
 * rows that tokens [token, token + n) are written to: each lies on a page of its own. */
ELM_INLINE void ask_ahead(const elm_cpu_linear *job, size_t panel, size_t n_panels, size_t token,
                          size_t n, const tile_source *from, bool last, size_t pass,
                          size_t n_passes) {
    const size_t end = from->next_lines * (pass + 1) / n_passes;
    for (size_t i = from->next_lines * pass / n_passes; i < end; i++)
        for (size_t p = 0; p < n_panels; p++) __builtin_prefetch(from->next[p] + 64 * i);
    for (size_t t = token; last && t < token + n; t++)
        for (size_t p = panel; p < panel + n_panels; p++)
            __builtin_prefetch(job->y + t * job->y_stride + 16 * p, 1);
}

/* n tokens, a few at a time, through `parts` parts in turn: panels, or (planes) the halves of one. The sums
 * of parts lie side by side. form and zeros are constants. */
ELM_INLINE void tiles(const elm_cpu_linear *job, size_t panel, size_t parts, size_t token, size_t n,
                      const k_range *k, const tile_source *from, float *sums, const int form,
                      const bool zeros) {
    const size_t n_panels = form == FORM_PLANES ? 1 : parts;
    const size_t n_passes = (n + TILE_TOKENS - 1) / TILE_TOKENS;
    const bool last = k->begin + k->n == job->weight->n_blocks;
    for (size_t pass = 0, now; pass < n_passes; pass++) {
        now = (n + n_passes - pass - 1) / (n_passes - pass);
        if (from->expanded) ask_ahead(job, panel, n_panels, token, now, from, last, pass, n_passes);
        for (size_t i = 0; i < parts; i++) {
            size_t p = form == FORM_PLANES ? panel : panel + i, half = form == FORM_PLANES ? i : 0;
            const uint8_t *c = from->codes + i * PART_BYTES;
            const block_scales *s =
                from->expanded ? from->expanded + (p - panel) * PART_BLOCKS : NULL;
            float *y = sums + i * (form == FORM_PLANES ? 8 : 16);
            switch (now) { /* the number of tokens is a constant in a tile */
#define TOKENS(m)                                              \
    case m:                                                    \
        tile(job, p, half, token, k, c, s, y, m, form, zeros); \
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
        }
        n -= now;
        token += now;
        sums += now * SUMS;
    }
}

/* ---- few tokens ---- */

/* All tokens of the panels from the stored codes, panel by panel so that it stays in the cache. form
 * and zeros are constants. */
ELM_INLINE void gemv_panels(const elm_cpu_linear *job, size_t begin, size_t end, const int form,
                            const bool zeros) {
    const elm_cpu_weight *w = job->weight;
    const size_t panel_bytes = (size_t)w->k_padded * (form == FORM_I4 ? 8 : 16);
    const k_range all = {0, w->n_blocks};
    for (size_t panel = begin; panel < end; panel++) {
        const tile_source stored = {.codes = (const uint8_t *)w->codes + panel * panel_bytes};
        _Alignas(32) float sums[GEMM_MIN_TOKENS * SUMS];
        tiles(job, panel, 1, 0, job->n_tokens, &all, &stored, sums, form, zeros);
        for (size_t t = 0; t < job->n_tokens; t++)
            linear_finish(job, panel, t, v_load(sums + t * SUMS));
    }
}

/* ---- many tokens: a panel is expanded once and used for all of them ---- */

typedef struct panel_scratch {
    _Alignas(64) uint8_t codes[2 * PART_BYTES];
    block_scales scales[2 * PART_BLOCKS];
    float sums[ELM_CPU_TOKEN_BLOCK * SUMS];
} panel_scratch;
_Static_assert(sizeof(panel_scratch) <= ELM_CPU_LINEAR_SCRATCH,
               "the scratch of a linear kernel is too small");

/* A range of a panel in the form that tiles read. form is a constant. */
ELM_INLINE void expand(const elm_cpu_weight *w, size_t panel, const k_range *k, uint8_t *out,
                       const int form) {
    const uint8_t *codes = w->codes;
    const __m256i mask = _mm256_set1_epi8(15);
    codes += form == FORM_U4 ? elm_p16_i4_offset(w->k_padded, panel * 16, k->begin * 32)
                             : elm_p16_i8_offset(w->k_padded, panel * 16, k->begin * 32);
    const size_t n = k->n * (form == FORM_U4 ? 8 : 16);
    for (size_t i = 0; i < n; i++, codes += 32) {
        __m256i v = load_bytes(codes), *to = (__m256i *)(void *)out;
        if (form == FORM_U4) { /* i: half of a cell of 8 k */
            to += i / 2 * 4 + i % 2;
            _mm256_store_si256(to, _mm256_and_si256(v, mask));
            _mm256_store_si256(to + 2, _mm256_and_si256(_mm256_srli_epi16(v, 4), mask));
        } else if (form == FORM_U8) {
            _mm256_store_si256(to + i, i8_operand(v));
        } else { /* v + 128 = 16 high + low; all of one half of the rows, then of the other */
            to += i / 2 * 2 + i % 2 * (PART_BYTES / 32);
            v = _mm256_xor_si256(v, _mm256_set1_epi8((char)0x80));
            _mm256_store_si256(to, _mm256_and_si256(_mm256_srli_epi16(v, 4), mask));
            _mm256_store_si256(to + 1, _mm256_and_si256(v, mask));
        }
    }
}

/* The scales of a range of a panel. form and zeros are constants. */
ELM_INLINE void expand_scales(const elm_cpu_weight *w, size_t panel, const k_range *k,
                              block_scales *out, const int form, const bool zeros) {
    const int zero = form == FORM_U4 ? ELM_ZERO_I4 : ELM_ZERO_I8;
    for (size_t b = 0; b < k->n; b++) {
        scales16 s = load_scales(w, panel, (k->begin + b) / w->group_blocks, 0, 2, zero, zeros);
        for (size_t v = 0; v < 2; v++) {
            _mm256_store_ps(out[b].s + 8 * v, s.s[v]);
            if (zeros) _mm256_store_si256((__m256i *)(void *)(out[b].z + 8 * v), s.z[v]);
        }
    }
}

/* Points `from` at what is expanded after the range from block `begin` of a panel and its neighbour: the next
 * range, or the first of the panels behind them. form is a constant. */
ELM_INLINE void point_ahead(const elm_cpu_weight *w, size_t panel, size_t n_panels, size_t begin,
                            tile_source *from, const int form) {
    const size_t block_bytes = form == FORM_U4 ? 256 : 512;
    begin += PART_BLOCKS;
    if (begin >= w->n_blocks) {
        begin = 0;
        panel += n_panels;
    }
    from->next_lines = 0;
    if (panel + n_panels > w->n_panels) return;
    const size_t left = w->n_blocks - begin;
    from->next_lines = (left < PART_BLOCKS ? left : PART_BLOCKS) * block_bytes / 64;
    for (size_t p = 0; p < n_panels; p++)
        from->next[p] =
            (const uint8_t *)w->codes + ((panel + p) * w->k_padded / 32 + begin) * block_bytes;
}

/* n tokens from t0 of one or two panels. form and zeros are constants. */
ELM_INLINE void gemm(const elm_cpu_linear *job, size_t panel, size_t n_panels, size_t t0, size_t n,
                     panel_scratch *s, const int form, const bool zeros) {
    const elm_cpu_weight *w = job->weight;
    const size_t parts = form == FORM_PLANES ? 2 : n_panels;
    tile_source from = {.codes = s->codes, .expanded = s->scales};
    for (size_t b0 = 0; b0 < w->n_blocks; b0 += PART_BLOCKS) {
        const size_t left = w->n_blocks - b0;
        const k_range k = {b0, left < PART_BLOCKS ? left : PART_BLOCKS};
        for (size_t p = 0; p < n_panels; p++) {
            expand(w, panel + p, &k, s->codes + p * PART_BYTES, form);
            expand_scales(w, panel + p, &k, s->scales + p * PART_BLOCKS, form, zeros);
        }
        point_ahead(w, panel, n_panels, b0, &from, form);
        tiles(job, panel, parts, t0, n, &k, &from, s->sums, form, zeros);
    }
    for (size_t t = 0; t < n; t++) /* rows lie pages apart: both panels of one together */
        for (size_t p = 0; p < n_panels; p++)
            linear_finish(job, panel + p, t0 + t, v_load(s->sums + t * SUMS + 16 * p));
}

/* few: the form of stored codes, many: of expanded ones. All but the range are constants. */
ELM_INLINE void linear(const elm_cpu_linear *job, size_t begin, size_t end, void *scratch,
                       const int few, const int many, const bool zeros) {
    if (job->n_tokens < GEMM_MIN_TOKENS) {
        gemv_panels(job, begin, end, few, zeros);
        return;
    }
    const size_t most = many == FORM_PLANES ? 1 : 2; /* panels that run side by side */
    for (size_t panel = begin; panel < end; panel += most) {
        size_t n_panels = end - panel < most ? end - panel : most;
        for (size_t t0 = 0; t0 < job->n_tokens; t0 += ELM_CPU_TOKEN_BLOCK) {
            size_t left = job->n_tokens - t0,
                   n = left < ELM_CPU_TOKEN_BLOCK ? left : ELM_CPU_TOKEN_BLOCK;
            gemm(job, panel, n_panels, t0, n, scratch, many, zeros);
        }
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

/* m queries x 16 keys; m and `fetch` are constants, fetch: asks for the panel behind. */
ELM_INLINE void score_i8_tile(const elm_cpu_acts *q, size_t i, const int8_t *k, size_t dim,
                              float *s, const int m, const bool fetch) {
    const size_t cells = (dim + 3) / 4, qs = q->q_stride, bs = q->block_stride;
    for (size_t c = 0; fetch && c < cells; c++) fetch_behind(k + 64 * (cells + c));
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
        for (; i + 2 <= n_q; i += 2)
            if (i == 2)
                score_i8_tile(q, i, k, dim, s, 2, true);
            else
                score_i8_tile(q, i, k, dim, s, 2, false);
        if (i < n_q) score_i8_tile(q, i, k, dim, s, 1, false);
    }
}

/* ---- int8 values ---- */

/* Bytes 0 and 2 of each four as int16, and bytes 1 and 3: no step across the halves of a register, and
 * the products of a pair belong to one column. */
ELM_INLINE __m256i even_bytes(__m256i v) {
    return _mm256_maddubs_epi16(_mm256_set1_epi16(1), v);
}
ELM_INLINE __m256i odd_bytes(__m256i v) {
    return _mm256_srai_epi16(v, 8);
}
ELM_INLINE __m256i broadcast_pair(const int16_t *p) {
    int32_t pair;
    memcpy(&pair, p, sizeof pair);
    return _mm256_set1_epi32(pair);
}

enum { VALUE_QUERIES = 4 };

/* Codes of 4 positions in the order of even and odd bytes: 0, 2, 1, 3. */
static float weigh_i8(const float *p, const float *scales, void *codes) {
    v16 w[4];
    float unit = weigh(p, scales, w);
    for (size_t i = 0; i < 4; i++) {
        __m256i x = _mm256_shufflehi_epi16(_mm256_shufflelo_epi16(v_to_i16(w[i]), 0xd8), 0xd8);
        _mm256_storeu_si256((__m256i *)codes + i, x);
    }
    return unit;
}

/* m queries x 16 columns; m is a constant. One or two queries have chains of their own for odd bytes:
 * shorter dependencies. 64 * 32512 * 127 < 2^31. */
ELM_INLINE void value_i8_tile(const int16_t *w, const float *unit, const float *c, const int8_t *v,
                              float *o, size_t o_stride, const int m) {
    __m256i acc[VALUE_QUERIES][2], odds[VALUE_QUERIES][2];
#pragma GCC unroll 4
    for (int t = 0; t < m; t++)
        acc[t][0] = acc[t][1] = odds[t][0] = odds[t][1] = _mm256_setzero_si256();
#pragma GCC unroll 4
    for (size_t j = 0; j < ELM_CPU_KV_BLOCK; j += 4) { /* 16 columns x 4 positions */
        __m256i v0 = load_bytes(v + 16 * j), v1 = load_bytes(v + 16 * j + 32);
        __m256i e0 = even_bytes(v0), e1 = even_bytes(v1), o0 = odd_bytes(v0), o1 = odd_bytes(v1);
#pragma GCC unroll 4
        for (int t = 0; t < m; t++) {
            const int16_t *four = w + (size_t)t * ELM_CPU_KV_BLOCK + j;
            __m256i even = broadcast_pair(four), odd = broadcast_pair(four + 2);
            __m256i *b = m <= 2 ? odds[t] : acc[t];
            acc[t][0] = pair_dot(acc[t][0], e0, even);
            acc[t][1] = pair_dot(acc[t][1], e1, even);
            b[0] = pair_dot(b[0], o0, odd);
            b[1] = pair_dot(b[1], o1, odd);
            __asm__ volatile("" : "+x"(acc[t][0]), "+x"(acc[t][1]), "+x"(b[0]), "+x"(b[1]));
        }
    }
#pragma GCC unroll 4
    for (int t = 0; t < m; t++, o += o_stride)
#pragma GCC unroll 2
        for (int h = 0; h < 2; h++) {
            __m256i isum = m <= 2 ? _mm256_add_epi32(acc[t][h], odds[t][h]) : acc[t][h];
            __m256 y = _mm256_mul_ps(_mm256_loadu_ps(o + 8 * h), _mm256_set1_ps(c[t]));
            y = _mm256_fmadd_ps(_mm256_cvtepi32_ps(isum), _mm256_set1_ps(unit[t]), y);
            _mm256_storeu_ps(o + 8 * h, y);
        }
}

/* 16 columns. A function of its own: its registers are not the tiles'. */
static ELM_NOINLINE void fetch_columns(const int8_t *v) {
    for (size_t i = 0; i < 16 * ELM_CPU_KV_BLOCK; i += 64) fetch_behind(v + i);
}

static void values_i8(const void *codes, const float *unit, const float *c, size_t n_q,
                      const int8_t *v, size_t width, float *o, size_t o_stride) {
    const int16_t *w = codes;
    size_t pass = 0;
    for (size_t n; n_q > 0; n_q -= n, w += n * ELM_CPU_KV_BLOCK, unit += n, c += n, pass++) {
        n = n_q < VALUE_QUERIES ? n_q : VALUE_QUERIES;
        for (size_t d = 0; d < width; d += 16) {
            const int8_t *columns = v + d * ELM_CPU_KV_BLOCK;
            if (pass == 1) fetch_columns(columns + width * ELM_CPU_KV_BLOCK);
            if (n == 4)
                value_i8_tile(w, unit, c, columns, o + d, o_stride, 4);
            else if (n == 3)
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
    k->weigh_i8 = weigh_i8;
    k->values_i8 = values_i8;
    k->linear_i4 = linear_i4;
    k->linear_i8 = linear_i8;
}

#endif
