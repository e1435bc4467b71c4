/* kernels_c.c - every kernel in portable C: the fallback, and what the other sets are tested
 * against. Layer: backend/cpu. */
#include "backend/cpu/simd_c.h"

#include "backend/cpu/kernels_attention.h"

/* Exact sums of (u - 8) * a or (u - 128) * a of one block of 32 for the 16 rows of a panel. */
static void block_sums(const elm_cpu_weight *w, size_t panel, size_t block, const int8_t *a,
                       bool i4, int32_t isum[16]) {
    const uint8_t *codes = w->codes;
    memset(isum, 0, 16 * sizeof *isum);
    if (i4) {
        codes += elm_p16_i4_offset(w->k_padded, panel * 16, block * 32);
        for (int j = 0; j < 4; j++, codes += 64, a += 8)
            for (int r = 0; r < 16; r++)
                for (int i = 0; i < 4; i++) {
                    int c = codes[4 * r + i];
                    isum[r] +=
                        ((c & 15) - ELM_ZERO_I4) * a[i] + ((c >> 4) - ELM_ZERO_I4) * a[4 + i];
                }
        return;
    }
    codes += elm_p16_i8_offset(w->k_padded, panel * 16, block * 32);
    for (int j = 0; j < 8; j++, codes += 64, a += 4)
        for (int r = 0; r < 16; r++)
            for (int i = 0; i < 4; i++) isum[r] += (int8_t)codes[4 * r + i] * a[i];
}

static void linear_int(const elm_cpu_linear *job, size_t begin, size_t end, bool i4) {
    const elm_cpu_weight *w = job->weight;
    const elm_cpu_acts *acts = &job->acts;
    int32_t zero = i4 ? ELM_ZERO_I4 : ELM_ZERO_I8;
    for (size_t panel = begin; panel < end; panel++) {
        for (size_t t = 0; t < job->n_tokens; t++) {
            v16 y = v_splat(0.0f);
            for (size_t b = 0; b < w->n_blocks; b++) {
                int32_t isum[16];
                block_sums(w, panel, b, acts->q + t * acts->q_stride + b * 32, i4, isum);
                size_t scale_at = (panel * w->n_groups + b / w->group_blocks) * 16;
                float d = acts->d[t * acts->block_stride + b];
                int32_t sum = acts->sum[t * acts->block_stride + b];
                for (size_t r = 0; r < 16; r++) {
                    if (w->zeros) isum[r] += (zero - w->zeros[scale_at + r]) * sum;
                    float s = elm_f32_from_f16(w->scales[scale_at + r]);
                    y.f[r] = __builtin_fmaf((float)isum[r], s * d, y.f[r]);
                }
            }
            linear_finish(job, panel, t, y);
        }
    }
}

static void linear_i4(const elm_cpu_linear *job, size_t begin, size_t end, void *scratch) {
    (void)scratch;
    linear_int(job, begin, end, true);
}

static void linear_i8(const elm_cpu_linear *job, size_t begin, size_t end, void *scratch) {
    (void)scratch;
    linear_int(job, begin, end, false);
}

static void scores_i8(const elm_cpu_acts *q, size_t n_q, const int8_t *k, size_t dim, float *s) {
    size_t cells = (dim + 3) / 4;
    for (size_t i = 0; i < n_q; i++)
        for (size_t j = 0; j < ELM_CPU_KV_BLOCK; j++) {
            const int8_t *row = k + (j / 16 * cells * 16 + j % 16) * 4;
            float y = 0.0f;
            for (size_t b = 0; 8 * b < cells; b++) {
                int32_t isum = 0;
                for (size_t c = 8 * b; c < cells && c < 8 * b + 8; c++)
                    for (size_t e = 0; e < 4; e++)
                        isum += row[64 * c + e] * q->q[i * q->q_stride + 4 * c + e];
                y = __builtin_fmaf((float)isum, q->d[i * q->block_stride + b], y);
            }
            s[i * ELM_CPU_KV_BLOCK + j] = y;
        }
}

static void values_i8(const void *codes, const float *unit, const float *c, size_t n_q,
                      const int8_t *v, size_t width, float *o, size_t o_stride) {
    for (size_t i = 0; i < n_q; i++) {
        const int16_t *w = (const int16_t *)codes + i * ELM_CPU_KV_BLOCK;
        for (size_t d = 0; d < width; d++) {
            int32_t isum = 0;
            for (size_t j = 0; j < ELM_CPU_KV_BLOCK; j++)
                isum += w[j] * v[d / 16 * 1024 + j / 4 * 64 + d % 16 * 4 + j % 4];
            float *y = o + i * o_stride + d, kept = *y * c[i];
            *y = __builtin_fmaf((float)isum, unit[i], kept);
        }
    }
}

static uint64_t peak(size_t rounds) {
    enum { CODES = 64 };
    int8_t w[CODES], x[CODES];
    int32_t sum = 0;
    memset(w, 1, sizeof w);
    memset(x, 2, sizeof x);
    for (size_t i = 0; i < rounds; i++) {
        __asm__ volatile("" : : "r"(w), "r"(x) : "memory"); /* as if the codes were new */
        for (size_t j = 0; j < CODES; j++) sum += w[j] * x[j];
    }
    __asm__ volatile("" : : "r"(sum));
    return (uint64_t)rounds * CODES * 2;
}

void elm_cpu_kernels_c(elm_cpu_kernels *k) {
    fill_float_kernels(k);
    fill_attention_kernels(k);
    k->scores_i8 = scores_i8;
    k->values_i8 = values_i8;
    k->linear_i4 = linear_i4;
    k->linear_i8 = linear_i8;
    k->peak_i4 = k->peak_i8 = peak;
}
