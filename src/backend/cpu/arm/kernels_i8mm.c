/* kernels_i8mm.c - kernels for AArch64 with matrix products of int8. Compiled with that flag.
 * Layer: backend/cpu.
 *
 * smmla multiplies 2 rows x 8 k by 2 tokens x 8 k. A quarter of a cell is 4 rows x 8 k of int4, of
 * two cells 4 rows x 8 k of int8: one zip makes row pairs of it. Float sums stay in that order, lanes
 * (row, token), (row, token + 1), (row + 1, token), (row + 1, token + 1), until the last block, so
 * that scales and start values need no shuffle either. Sums are exact, so the bits are those of
 * every other set. */
#include "backend/cpu/arm/simd_neon.h"

#include "backend/cpu/arm/dotprod.h"
#include "backend/cpu/kernels_float.h"

enum { TOKENS = 4 };

/* 4 rows x 8 k as two pairs of rows. */
typedef struct row_pairs {
    int8x16_t of[2];
} row_pairs;

ELM_INLINE row_pairs pair_rows(uint8x16_t first, uint8x16_t second) {
    uint32x4_t a = vreinterpretq_u32_u8(first), b = vreinterpretq_u32_u8(second);
    row_pairs r = {
        {vreinterpretq_s8_u32(vzip1q_u32(a, b)), vreinterpretq_s8_u32(vzip2q_u32(a, b))}};
    return r;
}

/* Rows 4 i .. 4 i + 3 and 8 k of a block, from its j-th eighth-of-k step; i4 is a constant. */
ELM_INLINE row_pairs load_rows(const uint8_t *cells, int i, int j, const bool i4) {
    if (!i4)
        return pair_rows(vld1q_u8(cells + 128 * j + 16 * i),
                         vld1q_u8(cells + 128 * j + 64 + 16 * i));
    uint8x16_t v = vld1q_u8(cells + 64 * j + 16 * i);
    return pair_rows(vandq_u8(v, vdupq_n_u8(15)), vshrq_n_u8(v, 4));
}

/* What of a group belongs to a pair of rows, each value twice: for two tokens. */
typedef struct group_rows {
    float32x4_t s[8];
    int32x4_t z[8]; /* what a sum of activations is multiplied with; only for zeros of their own */
} group_rows;

ELM_INLINE void load_group(const elm_cpu_weight *w, size_t at, const bool i4, const bool zeros,
                           group_rows *g) {
    v16 s = v_load_f16(w->scales + at);
    for (int i = 0; i < 4; i++) {
        g->s[2 * i] = vzip1q_f32(s.q[i], s.q[i]);
        g->s[2 * i + 1] = vzip2q_f32(s.q[i], s.q[i]);
    }
    for (size_t p = 0; zeros && p < 8; p++) {
        int32_t base = i4 ? 0 : ELM_ZERO_I8;
        int32_t z0 = base - w->zeros[at + 2 * p], z1 = base - w->zeros[at + 2 * p + 1];
        g->z[p] = vcombine_s32(vdup_n_s32(z0), vdup_n_s32(z1));
    }
}

/* (p[0], q[0], p[0], q[0]) */
ELM_INLINE float32x4_t two_floats(const float *p, const float *q) {
    float32x2_t v = vld1_lane_f32(q, vld1_dup_f32(p), 1);
    return vcombine_f32(v, v);
}
ELM_INLINE int32x4_t two_ints(const int32_t *p, const int32_t *q) {
    int32x2_t v = vld1_lane_s32(q, vld1_dup_s32(p), 1);
    return vcombine_s32(v, v);
}

/* Up to four tokens of one panel: those past the last repeat it and are not stored. i4 and zeros
 * are constants. */
ELM_INLINE void panel4(const elm_cpu_linear *job, size_t panel, size_t token, size_t n,
                       const bool i4, const bool zeros) {
    const elm_cpu_weight *w = job->weight;
    const elm_cpu_acts *acts = &job->acts;
    const size_t block_bytes = i4 ? 256 : 512;
    const uint8_t *codes = (const uint8_t *)w->codes + panel * (w->k_padded / 32) * block_bytes;
    const int8_t *x[TOKENS];
    const float *d[TOKENS];
    const int32_t *sum[TOKENS];
    float32x4_t y[8][2]; /* [row pair][token pair] */
    group_rows g;
    size_t left = 0, group = 0;
    for (size_t t = 0; t < TOKENS; t++) {
        size_t own = token + (t < n ? t : n - 1);
        x[t] = acts->q + own * acts->q_stride;
        d[t] = acts->d + own * acts->block_stride;
        sum[t] = acts->sum + own * acts->block_stride;
    }
    for (int i = 0; i < 8; i++) y[i][0] = y[i][1] = vdupq_n_f32(0.0f);
    for (size_t b = 0; b < w->n_blocks; b++, codes += block_bytes) {
        if (left == 0) {
            load_group(w, (panel * w->n_groups + group++) * 16, i4, zeros, &g);
            left = w->group_blocks;
        }
        left--;
        int8x16_t pairs[4][2]; /* [8 k][tokens 0, 1 or 2, 3] */
        float32x4_t scale[2];
        int32x4_t start[2]; /* of the sums; with zeros what a row's own is multiplied with */
        for (size_t p = 0; p < 2; p++) {
            for (size_t j = 0; j < 4; j++)
                pairs[j][p] = vcombine_s8(vld1_s8(x[2 * p] + 32 * b + 8 * j),
                                          vld1_s8(x[2 * p + 1] + 32 * b + 8 * j));
            scale[p] = two_floats(d[2 * p] + b, d[2 * p + 1] + b);
            start[p] = vdupq_n_s32(0);
            if (i4 || zeros) start[p] = two_ints(sum[2 * p] + b, sum[2 * p + 1] + b);
            if (!zeros) start[p] = vmulq_n_s32(start[p], -ELM_ZERO_I4);
        }
#pragma GCC unroll 1 /* the eight activations then keep their registers */
        for (int i = 0; i < 4; i++) {
            int32x4_t acc[4]; /* [row pair][token pair] */
            for (int k = 0; k < 4; k++)
                acc[k] = zeros ? vmulq_s32(g.z[2 * i + k / 2], start[k % 2]) : start[k % 2];
            for (int j = 0; j < 4; j++) {
                row_pairs rows = load_rows(codes, i, j, i4);
                for (int k = 0; k < 4; k++)
                    acc[k] = vmmlaq_s32(acc[k], rows.of[k / 2], pairs[j][k % 2]);
            }
            for (int k = 0; k < 4; k++) {
                float32x4_t *out = &y[2 * i + k / 2][k % 2];
                *out = vfmaq_f32(*out, vcvtq_f32_s32(acc[k]),
                                 vmulq_f32(g.s[2 * i + k / 2], scale[k % 2]));
            }
        }
    }
    for (size_t t = 0; t < n; t++) {
        v16 out;
        for (int i = 0; i < 4; i++)
            out.q[i] = t % 2 ? vuzp2q_f32(y[2 * i][t / 2], y[2 * i + 1][t / 2])
                             : vuzp1q_f32(y[2 * i][t / 2], y[2 * i + 1][t / 2]);
        linear_finish(job, panel, token + t, out);
    }
}

ELM_INLINE void linear(const elm_cpu_linear *job, size_t begin, size_t end, const bool i4) {
    for (size_t panel = begin; panel < end; panel++)
        for (size_t t = 0; t < job->n_tokens; t += TOKENS) {
            size_t left = job->n_tokens - t, n = left < TOKENS ? left : TOKENS;
            if (job->weight->zeros)
                panel4(job, panel, t, n, i4, true);
            else
                panel4(job, panel, t, n, i4, false);
        }
}

static void linear_i4(const elm_cpu_linear *job, size_t begin, size_t end, void *scratch) {
    if (job->n_tokens == 1)
        elm_cpu_linear_i4_dotprod(job, begin, end, scratch);
    else
        linear(job, begin, end, true);
}

static void linear_i8(const elm_cpu_linear *job, size_t begin, size_t end, void *scratch) {
    if (job->n_tokens == 1)
        elm_cpu_linear_i8_dotprod(job, begin, end, scratch);
    else
        linear(job, begin, end, false);
}

static uint64_t peak(size_t rounds) {
    int8x16_t w = vdupq_n_s8(1), x = vdupq_n_s8(2);
    int32x4_t acc[8];
    for (int i = 0; i < 8; i++) acc[i] = vdupq_n_s32(0);
    for (size_t r = 0; r < rounds; r++)
        for (int i = 0; i < 8; i++) {
            acc[i] = vmmlaq_s32(acc[i], w, x);
            __asm__ volatile("" : "+w"(acc[i]));
        }
    return (uint64_t)rounds * 8 * 64;
}

void elm_cpu_kernels_i8mm(elm_cpu_kernels *k) {
    k->linear_i4 = linear_i4;
    k->linear_i8 = linear_i8;
    k->peak_i4 = k->peak_i8 = peak;
}
