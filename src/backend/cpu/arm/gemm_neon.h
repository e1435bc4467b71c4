/* gemm_neon.h - int8-activation linears for NEON: many tokens, and the functions of the table. A panel is
 * expanded once, a part of K at a time, and used for all tokens. Written once over the tile of a set.
 * Layer: backend/cpu.
 *
 * The including file defines, before, what gemv_neon.h asks for, and:
 *
 *   TILE_ROWS, TILE_TOKENS   of a tile, whose sums stay in registers
 *   TILE_LEAST               so many tokens are worth a tile; fewer that remain run one by one
 *   TILE_I8                  whether int8 has tiles too
 *   tile_block               what a tile reads of a block of 32 k and TILE_ROWS rows
 *   put_codes(to, j, a, b)   codes of k 8 j .. 8 j + 3 (a) and of the four behind them (b), each [16
 *                            rows][4 k], into the tile_blocks to[0], to[PART_BLOCKS] .. of a panel
 *   put_scales(to, s)        likewise the scales of 16 rows
 *   put_zeros(to, z)         likewise what a sum of activations is multiplied with
 *   tile(rows, n, x, sums, zeros)   adds n blocks to the sums, tokens 16 floats apart
 *
 * Codes are signed, less 8 or 128; rows with zeros of their own add (8 or 128 - zero) * (sum of the
 * activations). Sums are exact, so the bits are those of every other set. */
#ifndef ELM_BACKEND_CPU_GEMM_NEON_H
#define ELM_BACKEND_CPU_GEMM_NEON_H

#include "backend/cpu/arm/gemv_neon.h"

enum {
    PARTS = ELM_P16_ROWS / TILE_ROWS,
    GEMM_MIN_TOKENS = 3, /* from here on the expansion pays */
};

typedef struct panel_scratch {
    tile_block blocks[PARTS * PART_BLOCKS];
    float sums[ELM_CPU_TOKEN_BLOCK * ELM_P16_ROWS];
} panel_scratch;
_Static_assert(sizeof(panel_scratch) <= ELM_CPU_LINEAR_SCRATCH,
               "the scratch of a linear kernel is too small");
_Static_assert(ELM_CPU_TOKEN_BLOCK % TILE_TOKENS == 0, "tiles write whole groups of sums");

/* Blocks [b0, b0 + n) of a panel. i4 and zeros are constants. */
ELM_INLINE void expand(const elm_cpu_weight *w, size_t panel, size_t b0, size_t n, tile_block *to,
                       const bool i4, const bool zeros) {
    const size_t block_bytes = i4 ? 256 : 512;
    const uint8_t *codes =
        (const uint8_t *)w->codes + (panel * (w->k_padded / 32) + b0) * block_bytes;
    for (size_t b = b0; b < b0 + n; b++, to++) {
        const size_t at = (panel * w->n_groups + b / w->group_blocks) * ELM_P16_ROWS;
        put_scales(to, v_load_f16(w->scales + at));
        if (zeros) {
            int16x8_t z[2];
            load_zeros(w->zeros + at, i4 ? ELM_ZERO_I4 : ELM_ZERO_I8, z);
            put_zeros(to, z);
        }
        for (size_t j = 0; j < 4; j++, codes += block_bytes / 4) {
            int8x16x4_t low, high;
            for (int i = 0; i < 4; i++) {
                uint8x16_t v = vld1q_u8(codes + 16 * i);
                if (i4) {
                    const int8x16_t zero = vdupq_n_s8(ELM_ZERO_I4);
                    uint8x16_t u = vandq_u8(v, vdupq_n_u8(15));
                    low.val[i] = vsubq_s8(vreinterpretq_s8_u8(u), zero);
                    high.val[i] = vsubq_s8(vreinterpretq_s8_u8(vshrq_n_u8(v, 4)), zero);
                } else {
                    low.val[i] = vreinterpretq_s8_u8(v);
                    high.val[i] = vreinterpretq_s8_u8(vld1q_u8(codes + 64 + 16 * i));
                }
            }
            put_codes(to, j, low, high);
        }
    }
}

/* Functions of their own: compilers give each its registers. */
static ELM_NOINLINE void tile_plain(const tile_block *rows, size_t n, const tile_acts *x,
                                    float *sums) {
    tile(rows, n, x, sums, false);
}
static ELM_NOINLINE void tile_zeros(const tile_block *rows, size_t n, const tile_acts *x,
                                    float *sums) {
    tile(rows, n, x, sums, true);
}

/* Activations of a tile's tokens from block b0 on; those past the last repeat it. */
ELM_INLINE tile_acts acts_of(const elm_cpu_acts *acts, size_t token, size_t end, size_t b0) {
    tile_acts x = {0};
    for (size_t t = 0; t < TILE_TOKENS; t++) {
        size_t own = token + t < end ? token + t : end - 1;
        x.q[t] = acts->q + own * acts->q_stride + 32 * b0;
        x.d[t] = acts->d + own * acts->block_stride + b0;
        x.sum[t] = acts->sum + own * acts->block_stride + b0;
    }
    return x;
}

/* Tokens [begin, end) of a panel, ELM_CPU_TOKEN_BLOCK at most. i4 and zeros are constants. */
ELM_INLINE void gemm(const elm_cpu_linear *job, size_t panel, size_t begin, size_t end,
                     panel_scratch *s, const bool i4, const bool zeros) {
    const elm_cpu_weight *w = job->weight;
    const size_t tiles = (end - begin + TILE_TOKENS - 1) / TILE_TOKENS;
    memset(s->sums, 0, tiles * TILE_TOKENS * ELM_P16_ROWS * sizeof *s->sums);
    for (size_t b = 0, n; b < w->n_blocks; b += n) {
        n = w->n_blocks - b < PART_BLOCKS ? w->n_blocks - b : PART_BLOCKS;
        expand(w, panel, b, n, s->blocks, i4, zeros);
        for (size_t t = begin; t < end; t += TILE_TOKENS) {
            const tile_acts x = acts_of(&job->acts, t, end, b);
            float *sums = s->sums + (t - begin) * ELM_P16_ROWS;
            for (size_t p = 0; p < PARTS; p++) {
                const tile_block *rows = s->blocks + p * PART_BLOCKS;
                (zeros ? tile_zeros : tile_plain)(rows, n, &x, sums + p * TILE_ROWS);
            }
        }
    }
    for (size_t t = begin; t < end; t++)
        linear_finish(job, panel, t, v_load(s->sums + (t - begin) * ELM_P16_ROWS));
}

/* A panel stays in the cache for all tokens. i4 and zeros are constants. */
ELM_INLINE void linear(const elm_cpu_linear *job, size_t begin, size_t end, void *scratch,
                       const bool i4, const bool zeros) {
    const size_t n = job->n_tokens, left = n % TILE_TOKENS;
    size_t tiled = left < TILE_LEAST ? n - left : n;
    if (n < GEMM_MIN_TOKENS || (!i4 && !TILE_I8)) tiled = 0;
    for (size_t panel = begin; panel < end; panel++) {
        for (size_t t = 0, now; t < tiled; t += now) {
            now = tiled - t < ELM_CPU_TOKEN_BLOCK ? tiled - t : ELM_CPU_TOKEN_BLOCK;
            gemm(job, panel, t, t + now, scratch, i4, zeros);
        }
        for (size_t t = tiled; t < n; t++)
            (zeros ? i4 ? gemv_i4z : gemv_i8z : i4 ? gemv_i4 : gemv_i8)(job, panel, t);
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

#endif
