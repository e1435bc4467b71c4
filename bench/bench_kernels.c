/* bench_kernels.c - speed of the cpu backend's linear kernels beside what the memory gives.
 *
 * For every instruction set of this machine and every thread count: GEMV in GB/s of weight bytes (a
 * pool of matrices far larger than the caches), GEMM in GOP/s (2 operations a multiply-add),
 * attention over a deep int8 or f16 cache in GB/s. Medians of 7 runs. Build: cc
 * -O2 -D_GNU_SOURCE -Isrc -Iinclude -Itests bench/bench_kernels.c libelm_backend.a ... -lm
 * -lpthread; for AVX-VNNI in its EVEX form also -DTEST_EVEX and kernels_evex.c.o of the kernel test.
 * Usage: bench_kernels [max threads, default 2]
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backend/backend.h"
#include "base/thread_pool.h"
#include "kernel/kernel_sets.h"

enum { RUNS = 7, POOL_BYTES = 256 << 20, GEMM_TOKENS = 512, MAX_THREADS = 64 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* As the product allocates: large blocks in 2 MiB pages, which decide what is streamed. */
static uint8_t *pool_of(size_t bytes) {
    uint8_t *pool;
    if (elm_alloc(elm_allocator_default(), bytes, "a pool", &pool, NULL) != ELM_OK) exit(1);
    return pool;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

typedef struct work {
    elm_thread_pool *pool;
    elm_cpu_linear_fn fn;
    elm_cpu_linear *jobs;
    size_t n_jobs;
    void *scratch[MAX_THREADS];
    const uint8_t *bytes; /* for reading */
    size_t n_bytes;
    uint64_t sink[MAX_THREADS];
    const elm_cpu_kernels *kernels; /* for attention */
    int dtype;
    size_t dim, n_q;
} work;

static double median_seconds(work *w, elm_step_fn fn) {
    double seconds[RUNS];
    elm_thread_pool_run(w->pool, fn, w);
    for (int i = 0; i < RUNS; i++) {
        double begin = now();
        elm_thread_pool_run(w->pool, fn, w);
        seconds[i] = now() - begin;
    }
    qsort(seconds, RUNS, sizeof *seconds, by_value);
    return seconds[RUNS / 2];
}

static void run_linear(void *context, uint32_t thread, uint32_t n_threads) {
    work *w = context;
    for (size_t i = 0; i < w->n_jobs; i++) {
        size_t begin, end;
        elm_split(w->jobs[i].weight->n_panels, 2, thread, n_threads, &begin, &end);
        w->fn(&w->jobs[i], begin, end, w->scratch[thread]);
    }
}

static void run_read(void *context, uint32_t thread, uint32_t n_threads) {
    work *w = context;
    size_t begin, end;
    elm_split(w->n_bytes, 4096, thread, n_threads, &begin, &end);
    uint64_t sum[8] = {0};
    for (size_t i = begin; i + 64 <= end;
         i += 64) { /* one word a line: the memory sets the pace, not the adding */
        const uint64_t *p = (const uint64_t *)(const void *)(w->bytes + i);
        __builtin_prefetch(p + 512);
        sum[i / 64 % 8] += *p;
    }
    for (int j = 0; j < 8; j++) w->sink[thread] += sum[j];
}

/* Scores, softmax and values of one KV head per thread over the whole pool: decode at depth. */
static void run_attention(void *context, uint32_t thread, uint32_t n_threads) {
    enum { BLOCK = 64, MAX_Q = 4, MAX_DIM = 256 };
    work *w = context;
    const elm_cpu_kernels *k = w->kernels;
    size_t row = w->dim * (w->dtype == 1 ? 2 : 1), n = w->n_bytes / 2 / row, begin, end,
           ahead = BLOCK * row;
    float q[MAX_Q * MAX_DIM], s[MAX_Q * BLOCK], o[MAX_Q * MAX_DIM] = {0}, c[MAX_Q], m[MAX_Q],
                                                          l[MAX_Q] = {0};
    float scales[BLOCK], unit[MAX_Q];
    uint8_t weights[MAX_Q][ELM_CPU_WEIGHT_CODES];
    for (size_t i = 0; i < MAX_Q * MAX_DIM; i++) q[i] = 0.01f;
    for (size_t i = 0; i < BLOCK; i++) scales[i] = 0.01f;
    for (int i = 0; i < MAX_Q; i++) m[i] = -INFINITY;
    elm_cpu_acts codes = acts_make(k, q, w->dim, w->dim, w->n_q);
    elm_split(n, BLOCK, thread, n_threads, &begin, &end);
    for (size_t p = begin; p + BLOCK <= end; p += BLOCK) {
        const uint8_t *keys = w->bytes + p * row, *values = keys + w->n_bytes / 2;
        if (w->dtype == 1)
            k->scores[1](q, w->dim, w->n_q, keys, w->dim, BLOCK, ahead, s);
        else
            k->scores_i8(&codes, w->n_q, (const int8_t *)keys, w->dim, s);
        k->softmax(s, w->n_q, m, l, c);
        if (w->dtype == 1) {
            k->values[1](s, c, w->n_q, values, BLOCK, w->dim, ahead, o, w->dim);
            continue;
        }
        for (size_t i = 0; i < w->n_q; i++)
            unit[i] = k->weigh_i8(s + BLOCK * i, scales, weights[i]);
        k->values_i8(weights, unit, c, w->n_q, (const int8_t *)values, w->dim, o, w->dim);
    }
    acts_free(&codes);
    w->sink[thread] += (uint64_t)(l[0] + o[0]);
}

static void bench_linear(work *w, const elm_cpu_kernels *k, elm_dtype dtype, size_t n_tokens,
                         const char *set, uint32_t threads) {
    enum { N = 3072, K = 1024 };
    bool quantised = elm_dtype_get(dtype)->has_scales;
    random_state r = {dtype};
    matrix first = matrix_make(&r, dtype, N, K, 32, CODES_RANDOM, 0);
    size_t one = first.shape.codes_bytes + first.shape.scales_bytes;
    size_t n = n_tokens < GEMM_TOKENS ? POOL_BYTES / one : 2;
    uint8_t *codes = pool_of(n * first.shape.codes_bytes);
    elm_cpu_weight *weights = malloc(n * sizeof *weights);
    w->jobs = malloc(n * sizeof *w->jobs);
    float *x = malloc(n_tokens * K * sizeof *x), *y = malloc(n_tokens * N * sizeof *y);
    for (size_t i = 0; i < n_tokens * K; i++) x[i] = random_float(&r);
    elm_cpu_acts acts = acts_make(k, x, K, K, n_tokens);
    for (size_t i = 0; i < n; i++) {
        weights[i] = first.w;
        memcpy(codes + i * first.shape.codes_bytes, first.codes, first.shape.codes_bytes);
        weights[i].codes =
            codes +
            i * first.shape.codes_bytes; /* scales are shared: 1/9 of the bytes stay cached */
        elm_cpu_linear job = {.weight = &weights[i],
                              .acts = acts,
                              .x = x,
                              .x_stride = K,
                              .y = y,
                              .y_stride = N,
                              .n_tokens = (uint32_t)n_tokens};
        w->jobs[i] = job;
    }
    w->n_jobs = n;
    w->fn = !quantised                        ? k->linear_float
            : elm_dtype_get(dtype)->bits == 4 ? k->linear_i4
                                              : k->linear_i8;
    double s = median_seconds(w, run_linear), gbytes = (double)(n * first.shape.codes_bytes) * 1e-9;
    double gop = 2e-9 * N * K * (double)(n * n_tokens);
    printf("%-20s %-5s %u thread%s %4zu token%s  %7.1f GB/s  %7.1f GOP/s\n", set,
           elm_dtype_get(dtype)->text, threads, threads > 1 ? "s" : " ", n_tokens,
           n_tokens > 1 ? "s" : " ", gbytes / s, gop / s);
    acts_free(&acts);
    free(x);
    free(y);
    free(weights);
    free(w->jobs);
    elm_free(elm_allocator_default(), codes, n * first.shape.codes_bytes);
    matrix_free(&first);
}

int main(int argc, char **argv) {
    elm_cpu_kernels sets[8];
    char names[8][64];
    size_t n_sets = kernel_sets(sets, names);
    long most = argc > 1 ? strtol(argv[1], NULL, 10) : 2;
    work w = {.n_bytes = POOL_BYTES};
    uint8_t *bytes = pool_of(POOL_BYTES);
    memset(bytes, 1, POOL_BYTES);
    w.bytes = bytes;
    for (int i = 0; i < MAX_THREADS; i++) w.scratch[i] = aligned_alloc(64, ELM_CPU_LINEAR_SCRATCH);
    for (uint32_t threads = 1; threads <= (uint32_t)most && threads <= MAX_THREADS; threads++) {
        if (elm_thread_pool_create(elm_allocator_default(), threads, &w.pool, NULL) != ELM_OK)
            return 1;
        printf("read                 %u threads: %.1f GB/s\n", threads,
               POOL_BYTES * 1e-9 / median_seconds(&w, run_read));
        for (size_t s = n_sets > 1; s < n_sets; s++) { /* portable C where there is no other */
            static const elm_dtype types[] = {ELM_I4, ELM_I4Z, ELM_I8, ELM_F16};
            for (size_t d = 0; d < 4; d++)
                bench_linear(&w, &sets[s], types[d], 1, names[s], threads);
            for (size_t d = 0; d < 4; d++)
                bench_linear(&w, &sets[s], types[d], 4, names[s], threads);
            for (size_t d = 0; d < 4; d++)
                bench_linear(&w, &sets[s], types[d], GEMM_TOKENS, names[s], threads);
            for (w.dtype = 1; w.dtype <= 2; w.dtype++) {
                w.kernels = &sets[s];
                w.dim = 128;
                w.n_q = 2;
                double seconds = median_seconds(&w, run_attention);
                printf("%-20s attention, %s cache, 2 queries: %.1f GB/s\n", names[s],
                       w.dtype == 1 ? "f16" : "int8", POOL_BYTES * 1e-9 / seconds);
            }
        }
        elm_thread_pool_free(w.pool);
    }
    for (int i = 0; i < MAX_THREADS; i++) free(w.scratch[i]);
    elm_free(elm_allocator_default(), bytes, POOL_BYTES);
    return 0;
}
