/* test_delta_kernels.c - kernels_delta.h: the same bits from every set of kernels, nothing written
 * beside the result, and the C ones against sums in double. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>

#include "ir/graph.h"
#include "kernel/kernel_sets.h"

static elm_cpu_kernels sets[8];
static char names[8][64];
static size_t n_sets;

static float *random_rows(random_state *r, size_t n, float scale) {
    float *x = guarded(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = random_float(r) * scale;
    return x;
}

static float *copy_of(const float *x, size_t n) {
    float *y = guarded(n * sizeof *y);
    memcpy(y, x, n * sizeof *y);
    return y;
}

static void same_bits(const float *got, const float *want, size_t n, const char *set) {
    if (memcmp(got, want, n * sizeof *got) != 0) fail_msg("%s differs from c", set);
    assert_true(guards_hold(got, n * sizeof *got));
}

static void near(float got, double want, double size, double roundings) {
    if (fabs((double)got - want) > roundings * 0x1p-24 * size + 1e-30)
        fail_msg("%.9g, expected %.9g", (double)got, want);
}

static void test_softcap(void **state) {
    (void)state;
    random_state r = {1};
    for (size_t n = 1; n < 70; n += 7) {
        float *x = random_rows(&r, n, n % 2 ? 90.0f : 3.0f), *want = guarded(n * sizeof *want);
        sets[0].softcap(x, n, 30.0f, want);
        for (size_t i = 0; i < n; i++)
            near(want[i], 30.0 * tanh((double)x[i] / 30.0), 30.0, 12 + fabs((double)x[i]) / 5);
        for (size_t s = 1; s < n_sets; s++) {
            float *got = guarded(n * sizeof *got);
            sets[s].softcap(x, n, 30.0f, got);
            same_bits(got, want, n, names[s]);
            guarded_free(got);
        }
        guarded_free(x);
        guarded_free(want);
    }
}

static void test_conv(void **state) {
    (void)state;
    random_state r = {2};
    for (size_t n = 3; n < 90; n += 13) {
        const float *rows[4];
        float *x = random_rows(&r, 4 * n, 1.0f), *taps = random_rows(&r, 4 * n, 1.0f);
        float *want = guarded(n * sizeof *want);
        for (size_t j = 0; j < 4; j++) rows[j] = x + (3 - j) * n;
        sets[0].conv(rows, taps, n, 4, n, ELM_SILU, want);
        for (size_t i = 0; i < n; i++) {
            double sum = 0;
            for (size_t j = 0; j < 4; j++) sum += (double)rows[j][i] * (double)taps[j * n + i];
            near(want[i], sum / (1 + exp(-sum)), 4, 20);
        }
        for (size_t s = 1; s < n_sets; s++) {
            float *got = guarded(n * sizeof *got);
            sets[s].conv(rows, taps, n, 4, n, ELM_SILU, got);
            same_bits(got, want, n, names[s]);
            guarded_free(got);
        }
        guarded_free(x);
        guarded_free(taps);
        guarded_free(want);
    }
}

static void test_delta_step(void **state) {
    (void)state;
    random_state r = {3};
    for (size_t n = 16; n <= 144; n += 32) {
        size_t n_k = n / 2 + 5;
        float *start = random_rows(&r, n_k * n, 1.0f), *k = random_rows(&r, n_k, 0.2f);
        float *q = random_rows(&r, n_k, 0.2f), *v = random_rows(&r, n, 1.0f);
        float *want = copy_of(start, n_k * n), *out = guarded(n * sizeof *out);
        sets[0].delta_step(want, n, n_k, n, k, q, v, 0.8f, 0.6f, out);
        for (size_t c = 0; c < n; c++) { /* S = g S; d = (v - S^T k) b; S += k d; o = S^T q */
            double seen = 0, o = 0;
            for (size_t i = 0; i < n_k; i++) seen += 0.8 * (double)start[i * n + c] * (double)k[i];
            double d = ((double)v[c] - seen) * 0.6;
            for (size_t i = 0; i < n_k; i++) {
                double now = 0.8 * (double)start[i * n + c] + (double)k[i] * d;
                near(want[i * n + c], now, 2, (double)n_k);
                o += now * (double)q[i];
            }
            near(out[c], o, 2, 2.0 * (double)n_k);
        }
        for (size_t s = 0; s < n_sets; s++) {
            float *got = copy_of(start, n_k * n), *o = guarded(n * sizeof *o);
            sets[s].delta_step(got, n, n_k, n, k, q, v, 0.8f, 0.6f, o);
            same_bits(got, want, n_k * n, names[s]);
            same_bits(o, out, n, names[s]);
            memcpy(got, start, n_k * n * sizeof *got);
            sets[s].delta_step(got, n, n_k, n, k, NULL, v, 0.8f, 0.6f, NULL);
            same_bits(got, want, n_k * n, names[s]); /* wanted or not, the state is the same */
            guarded_free(got);
            guarded_free(o);
        }
        guarded_free(start);
        guarded_free(k);
        guarded_free(q);
        guarded_free(v);
        guarded_free(want);
        guarded_free(out);
    }
}

static void test_gemm(void **state) {
    (void)state;
    random_state r = {4};
    for (size_t m = 1; m < 12; m += 2) {
        size_t n_k = 3 * m + 1, n = 16 * m;
        float *a = random_rows(&r, m * n_k, 1.0f), *b = random_rows(&r, n_k * n, 1.0f);
        float *start = random_rows(&r, m * n, 1.0f);
        for (int turned = 0; turned < 2; turned++) {
            size_t row = turned ? 1 : n_k, col = turned ? m : 1;
            float *want = copy_of(start, m * n);
            sets[0].gemm(a, row, col, b, n, m, n_k, n, want, n);
            for (size_t i = 0; i < m; i++)
                for (size_t j = 0; j < n; j++) {
                    double sum = (double)start[i * n + j];
                    for (size_t p = 0; p < n_k; p++)
                        sum += (double)a[i * row + p * col] * (double)b[p * n + j];
                    near(want[i * n + j], sum, (double)n_k + 1, (double)n_k);
                }
            for (size_t s = 1; s < n_sets; s++) {
                float *got = copy_of(start, m * n);
                sets[s].gemm(a, row, col, b, n, m, n_k, n, got, n);
                same_bits(got, want, m * n, names[s]);
                guarded_free(got);
            }
            guarded_free(want);
        }
        guarded_free(a);
        guarded_free(b);
        guarded_free(start);
    }
}

static void test_solve(void **state) {
    (void)state;
    random_state r = {5};
    static const size_t rows[] = {1, 2, 17, 64};
    for (size_t t = 0; t < 4; t++) {
        size_t n_rows = rows[t], n = 16 * (t + 2);
        float *a = random_rows(&r, n_rows * 64, 0.2f), *start = random_rows(&r, n_rows * n, 1.0f);
        float *want = copy_of(start, n_rows * n);
        sets[0].solve(a, n_rows, n, want, n);
        for (size_t i = 0; i < n_rows; i++) /* (I + A) x gives the right side again */
            for (size_t c = 0; c < n; c++) {
                double sum = (double)want[i * n + c], size = fabs(sum);
                for (size_t j = 0; j < i; j++) {
                    double p = (double)a[i * 64 + j] * (double)want[j * n + c];
                    sum += p;
                    size += fabs(p);
                }
                near((float)sum, (double)start[i * n + c], size, 66);
            }
        for (size_t s = 1; s < n_sets; s++) {
            float *got = copy_of(start, n_rows * n);
            sets[s].solve(a, n_rows, n, got, n);
            same_bits(got, want, n_rows * n, names[s]);
            guarded_free(got);
        }
        guarded_free(a);
        guarded_free(start);
        guarded_free(want);
    }
}

int main(void) {
    n_sets = kernel_sets(sets, names);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_softcap),    cmocka_unit_test(test_conv),
        cmocka_unit_test(test_delta_step), cmocka_unit_test(test_gemm),
        cmocka_unit_test(test_solve),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
