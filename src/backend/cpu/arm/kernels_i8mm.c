/* kernels_i8mm.c - kernels for AArch64 with matrix products of int8. Compiled with that flag.
 * Layer: backend/cpu.
 *
 * smmla multiplies 2 rows x 8 k by 2 tokens x 8 k. A quarter of a cell is 4 rows x 8 k of int4, of
 * two cells 4 rows x 8 k of int8: one zip makes row pairs of it, one unzip at the end of a block
 * makes rows of 4 again. Sums are exact, so the bits
 * are those of every other set. */
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

/* What a sum of activations is multiplied with: -8 or 0, or what the row's own zero makes of it. */
ELM_INLINE void load_zeros(const elm_cpu_weight *w, size_t at, const bool i4, int32x4_t z[4]) {
    for (int i = 0; i < 4; i++) z[i] = vdupq_n_s32(i4 ? -ELM_ZERO_I4 : 0);
    if (!w->zeros) return;
    int32_t zero = i4 ? 0 : ELM_ZERO_I8, rows[16];
    for (int r = 0; r < 16; r++) rows[r] = zero - w->zeros[at + (size_t)r];
    for (int i = 0; i < 4; i++) z[i] = vld1q_s32(rows + 4 * i);
}

/* Up to four tokens of one panel: those past the last repeat it and are not stored. */
ELM_INLINE void panel4(const elm_cpu_linear *job, size_t panel, size_t token, size_t n,
                       const bool i4) {
    const elm_cpu_weight *w = job->weight;
    const elm_cpu_acts *acts = &job->acts;
    const size_t block_bytes = i4 ? 256 : 512;
    const uint8_t *codes = (const uint8_t *)w->codes + panel * (w->k_padded / 32) * block_bytes;
    const int8_t *x[TOKENS];
    size_t at[TOKENS], left = 0, group = 0;
    v16 y[TOKENS], s = v_splat(0.0f);
    int32x4_t z[4];
    for (size_t t = 0; t < TOKENS; t++) {
        size_t own = token + (t < n ? t : n - 1);
        x[t] = acts->q + own * acts->q_stride;
        at[t] = own * acts->block_stride;
        y[t] = v_splat(0.0f);
    }
    for (size_t b = 0; b < w->n_blocks; b++, codes += block_bytes) {
        if (left == 0) {
            size_t scale_at = (panel * w->n_groups + group++) * 16;
            s = v_load_f16(w->scales + scale_at);
            load_zeros(w, scale_at, i4, z);
            left = w->group_blocks;
        }
        left--;
        int8x16_t pairs[4][2]; /* [8 k][tokens 0, 1 or 2, 3] */
        for (size_t j = 0; j < 4; j++)
            for (size_t p = 0; p < 2; p++)
                pairs[j][p] = vcombine_s8(vld1_s8(x[2 * p] + 32 * b + 8 * j),
                                          vld1_s8(x[2 * p + 1] + 32 * b + 8 * j));
        for (int i = 0; i < 4; i++) {
            int32x4_t acc[2][2]; /* [row pair][token pair] */
            for (int k = 0; k < 4; k++) acc[k / 2][k % 2] = vdupq_n_s32(0);
            for (int j = 0; j < 4; j++) {
                row_pairs rows = load_rows(codes, i, j, i4);
                for (int k = 0; k < 4; k++)
                    acc[k / 2][k % 2] =
                        vmmlaq_s32(acc[k / 2][k % 2], rows.of[k / 2], pairs[j][k % 2]);
            }
            for (int t = 0; t < TOKENS; t++) {
                int32x4_t sum = t % 2 ? vuzp2q_s32(acc[0][t / 2], acc[1][t / 2])
                                      : vuzp1q_s32(acc[0][t / 2], acc[1][t / 2]);
                sum = vmlaq_n_s32(sum, z[i], acts->sum[at[t] + b]);
                y[t].q[i] = vfmaq_f32(y[t].q[i], vcvtq_f32_s32(sum),
                                      vmulq_n_f32(s.q[i], acts->d[at[t] + b]));
            }
        }
    }
    for (size_t t = 0; t < n; t++) linear_finish(job, panel, token + t, y[t]);
}

ELM_INLINE void linear(const elm_cpu_linear *job, size_t begin, size_t end, const bool i4) {
    for (size_t panel = begin; panel < end; panel++)
        for (size_t t = 0; t < job->n_tokens; t += TOKENS) {
            size_t left = job->n_tokens - t;
            panel4(job, panel, t, left < TOKENS ? left : TOKENS, i4);
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
