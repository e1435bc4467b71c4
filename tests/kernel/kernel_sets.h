/* kernel_sets.h - random data, guarded buffers and the sets of kernels of this machine, for the
 * kernel tests. */
#ifndef TESTS_KERNEL_SETS_H
#define TESTS_KERNEL_SETS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/cpu/features.h"
#include "backend/cpu/kernels.h"
#include "base/f16.h"

typedef struct random_state {
    uint64_t s;
} random_state;

static inline uint32_t random_u32(random_state *r) { /* splitmix64 */
    uint64_t z = (r->s += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (uint32_t)((z ^ (z >> 31)) >> 16);
}
/* In [-1, 1). */
static inline float random_float(random_state *r) {
    return (float)((int32_t)random_u32(r)) * (1.0f / 2147483648.0f);
}

enum { GUARD = 64, GUARD_BYTE = 0xa7 };

/* n bytes with a guard on either side, 64-byte aligned. */
static inline void *guarded(size_t n) {
    size_t total = (n + 63) / 64 * 64 + 2 * GUARD;
    uint8_t *p = aligned_alloc(64, total);
    if (!p) abort();
    memset(p, GUARD_BYTE, total);
    return p + GUARD;
}
static inline void guarded_free(void *p) {
    free((uint8_t *)p - GUARD);
}
/* Whether all bytes past the first n, and before, are untouched. */
static inline int guards_hold(const void *p, size_t n) {
    const uint8_t *b = p;
    size_t end = (n + 63) / 64 * 64 + GUARD;
    for (size_t i = 1; i <= GUARD; i++)
        if (b[-(ptrdiff_t)i] != GUARD_BYTE) return 0;
    for (size_t i = n; i < end; i++)
        if (b[i] != GUARD_BYTE) return 0;
    return 1;
}

/* In kernels_evex.c, on x86. */
void elm_cpu_kernels_evex(elm_cpu_kernels *k);

/* Every set that this machine can run, C first. Returns the number. */
static inline size_t kernel_sets(elm_cpu_kernels sets[8], char names[8][64]) {
    uint32_t found = elm_cpu_features(UINT32_MAX), mask = 0;
    size_t n = 0;
    elm_cpu_kernels_init(&sets[n], 0);
    elm_cpu_features_text(0, names[n++], 64);
    for (uint32_t bit = 1; bit != 0 && bit <= found; bit <<= 1) {
        if (!(found & bit)) continue;
        mask |= bit;
        elm_cpu_kernels_init(&sets[n], mask);
        elm_cpu_features_text(mask, names[n++], 64);
    }
#ifdef TEST_EVEX
    if (found & ELM_CPU_AVX512_VNNI) {
        sets[n] = sets[0];
        elm_cpu_kernels_evex(&sets[n]);
        snprintf(names[n++], 64, "avx-vnni, EVEX");
    }
#endif
    return n;
}

/* A random P16 matrix with its activations; everything is freed by matrix_free. */
typedef struct matrix {
    elm_cpu_weight w;
    elm_p16_shape shape;
    uint8_t *codes, *zeros;
    uint16_t *scales;
    float *bias;
} matrix;

enum { CODES_RANDOM, CODES_LOWEST, CODES_HIGHEST };

static inline matrix matrix_make(random_state *r, elm_dtype dtype, uint32_t n_rows, uint32_t n_cols,
                                 uint32_t group, int codes, int bias) {
    matrix m = {0};
    const elm_dtype_info *info = elm_dtype_get(dtype);
    if (info->has_scales && group == 0) group = elm_p16_channel_group(n_cols);
    if (!elm_p16_shape_of(dtype, n_rows, n_cols, info->has_scales ? group : 0, &m.shape)) abort();
    m.codes = aligned_alloc(64, (m.shape.codes_bytes + 63) / 64 * 64);
    m.bias = malloc(n_rows * sizeof *m.bias);
    for (uint32_t i = 0; i < n_rows; i++) m.bias[i] = random_float(r);
    size_t n = m.shape.codes_bytes;
    if (info->has_scales) {
        uint8_t low = info->bits == 4 ? 0 : 0x80, high = info->bits == 4 ? 0xff : 0x7f;
        for (size_t i = 0; i < n; i++)
            m.codes[i] = codes == CODES_RANDOM   ? (uint8_t)random_u32(r)
                         : codes == CODES_LOWEST ? low
                                                 : high;
        m.scales = malloc(m.shape.scales_bytes);
        for (size_t i = 0; i < m.shape.scales_bytes / 2; i++)
            m.scales[i] = elm_f16_from_f32(random_float(r) * (i % 7 == 0 ? 1e-6f : 1.0f));
        if (info->has_zeros) {
            m.zeros = malloc(m.shape.zeros_bytes);
            for (size_t i = 0; i < m.shape.zeros_bytes; i++)
                m.zeros[i] = (uint8_t)(random_u32(r) % (info->bits == 4 ? 17 : 256));
        }
    } else {
        for (size_t i = 0; i < n * 8 / info->bits; i++) {
            float x = random_float(r);
            uint16_t half = dtype == ELM_F16 ? elm_f16_from_f32(x) : elm_bf16_from_f32(x);
            if (dtype == ELM_F32)
                memcpy(m.codes + 4 * i, &x, 4);
            else
                memcpy(m.codes + 2 * i, &half, 2);
        }
    }
    m.w = (elm_cpu_weight){
        .dtype = dtype,
        .n_rows = n_rows,
        .n_cols = n_cols,
        .n_panels = m.shape.n_panels,
        .n_blocks = (n_cols + 31) / 32,
        .k_padded = m.shape.k_padded,
        .group_blocks = info->has_scales ? group / 32 : 1,
        .n_groups = m.shape.n_groups,
        .codes = m.codes,
        .scales = m.scales,
        .zeros = m.zeros,
        .unit = bias ? 0.25f : 1.0f,
        .bias = bias ? m.bias : NULL,
    };
    return m;
}

static inline void matrix_free(matrix *m) {
    free(m->codes);
    free(m->scales);
    free(m->zeros);
    free(m->bias);
}

/* Quantised activations for n_tokens rows of K. */
static inline elm_cpu_acts acts_make(const elm_cpu_kernels *k, const float *x, size_t x_stride,
                                     size_t n_cols, size_t n_tokens) {
    size_t blocks = (n_cols + 31) / 32;
    elm_cpu_acts a = {.q_stride = blocks * 32, .block_stride = blocks};
    a.q = guarded(n_tokens * a.q_stride);
    a.d = guarded(n_tokens * blocks * 4);
    a.start = guarded(n_tokens * blocks * 4);
    a.sum = guarded(n_tokens * blocks * 4);
    for (size_t t = 0; t < n_tokens; t++)
        k->quantize(x + t * x_stride, n_cols, a.q + t * a.q_stride, a.d + t * blocks,
                    a.start + t * blocks, a.sum + t * blocks);
    return a;
}

static inline void acts_free(elm_cpu_acts *a) {
    guarded_free(a->q);
    guarded_free(a->d);
    guarded_free(a->start);
    guarded_free(a->sum);
}

#endif
