/* test_cpu_kernels.c - every kernel of every instruction set of this machine against the portable C
 * one, bit for bit, and the C one against double arithmetic. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "backend/kv.h"
#include "ir/graph.h"
#include "kernel/kernel_sets.h"

static elm_cpu_kernels sets[8];
static char names[8][64];
static size_t n_sets;

#define assert_same_bits(a, b, bytes, what)                                         \
    do {                                                                            \
        if (memcmp(a, b, bytes) != 0) fail_msg("%s differs from portable c", what); \
    } while (0)

static void fill(random_state *r, float *x, size_t n, float scale) {
    for (size_t i = 0; i < n; i++) x[i] = random_float(r) * scale;
}

/* ---- linear ---- */

static elm_cpu_linear_fn linear_of(const elm_cpu_kernels *k, elm_dtype dtype, int quantised) {
    if (!quantised) return k->linear_float;
    return elm_dtype_get(dtype)->bits == 4 ? k->linear_i4 : k->linear_i8;
}

/* One shape on all sets, with the panels in two calls split at `cut`. */
static void check_linear(random_state *r, elm_dtype dtype, int quantised, uint32_t n_rows,
                         uint32_t n_cols, uint32_t group, uint32_t n_tokens, int codes, int bias) {
    matrix m = matrix_make(r, dtype, n_rows, n_cols, group, codes, bias);
    size_t y_stride = (n_rows + 15) / 16 * 16 + 16, y_bytes = n_tokens * y_stride * sizeof(float);
    float *x = guarded(n_tokens * n_cols * sizeof *x), *want = guarded(y_bytes);
    if (codes == CODES_RANDOM)
        fill(r, x, (size_t)n_tokens * n_cols, 3.0f);
    else
        for (size_t i = 0; i < (size_t)n_tokens * n_cols; i++)
            x[i] = codes == CODES_LOWEST ? 1.0f : -1.0f;
    void *scratch = guarded(ELM_CPU_LINEAR_SCRATCH);
    elm_cpu_acts acts = acts_make(&sets[0], x, n_cols, n_cols, n_tokens);
    elm_cpu_linear job = {.weight = &m.w,
                          .acts = acts,
                          .x = x,
                          .x_stride = n_cols,
                          .y = want,
                          .y_stride = y_stride,
                          .n_tokens = n_tokens};
    linear_of(&sets[0], dtype, quantised)(&job, 0, m.w.n_panels, scratch);
    for (size_t s = 0; s < n_sets; s++) {
        float *y = guarded(y_bytes);
        size_t cut = m.w.n_panels / 3;
        job.y = y;
        linear_of(&sets[s], dtype, quantised)(&job, cut, m.w.n_panels, scratch);
        linear_of(&sets[s], dtype, quantised)(&job, 0, cut, scratch);
        assert_same_bits(y, want, y_bytes,
                         names[s]); /* the padding of rows still holds the guard byte */
        assert_true(guards_hold(y, y_bytes));
        assert_true(guards_hold(scratch, ELM_CPU_LINEAR_SCRATCH));
        for (uint32_t t = 0; t < n_tokens; t++)
            assert_int_equal(((uint8_t *)(y + t * y_stride + n_rows))[0], GUARD_BYTE);
        guarded_free(y);
    }
    acts_free(&acts);
    guarded_free(scratch);
    guarded_free(x);
    guarded_free(want);
    matrix_free(&m);
}

static const elm_dtype quantised_types[] = {ELM_I4, ELM_I8, ELM_I4Z, ELM_I8Z};

static void test_linear_int_shapes(void **state) {
    (void)state;
    random_state r = {1};
    static const uint32_t rows[] = {1, 16, 17, 50}, cols[] = {1, 32, 33, 96, 576, 1100},
                          groups[] = {32, 64, 128, 0};
    static const uint32_t tokens[] = {1, 2, 3, 5, 8, 9, 12, 13, 15, 18};
    size_t round = 0;
    for (size_t d = 0; d < 4; d++)
        for (size_t n = 0; n < 4; n++)
            for (size_t k = 0; k < 6; k++)
                for (size_t t = 0; t < 10; t++, round++)
                    check_linear(&r, quantised_types[d], 1, rows[n], cols[k], groups[round % 4],
                                 tokens[t], CODES_RANDOM, round % 3 == 0);
}

/* Largest sums that can occur: every weight and activation at its end. */
static void test_linear_int_extremes(void **state) {
    (void)state;
    random_state r = {2};
    for (size_t d = 0; d < 4; d++)
        for (int codes = CODES_LOWEST; codes <= CODES_HIGHEST; codes++)
            for (uint32_t tokens = 1; tokens <= 17; tokens += 4)
                check_linear(&r, quantised_types[d], 1, 32, 1024, 32, tokens, codes, 0);
}

static void test_linear_token_blocks(void **state) {
    (void)state;
    random_state r = {3};
    for (size_t d = 0; d < 4; d++)
        check_linear(&r, quantised_types[d], 1, 16, 64, 32, ELM_CPU_TOKEN_BLOCK + 7, CODES_RANDOM,
                     1);
    check_linear(&r, ELM_F16, 0, 16, 33, 0, ELM_CPU_TOKEN_BLOCK + 5, CODES_RANDOM, 1);
}

static void test_linear_float_shapes(void **state) {
    (void)state;
    random_state r = {4};
    static const elm_dtype types[] = {ELM_F32, ELM_F16, ELM_BF16, ELM_I4, ELM_I8, ELM_I4Z, ELM_I8Z};
    static const uint32_t rows[] = {1, 16, 49}, cols[] = {1, 33, 300}, tokens[] = {1, 2, 3, 5, 9};
    for (size_t d = 0; d < 7; d++)
        for (size_t n = 0; n < 3; n++)
            for (size_t k = 0; k < 3; k++)
                for (size_t t = 0; t < 5; t++)
                    check_linear(&r, types[d], 0, rows[n], cols[k], 32, tokens[t], CODES_RANDOM,
                                 t % 2 == 0);
}

static double code_at(const matrix *m, size_t row, size_t k, double *scale) {
    const elm_cpu_weight *w = &m->w;
    bool i4 = elm_dtype_get(w->dtype)->bits == 4;
    size_t at = (row / 16 * w->n_groups + k / 32 / w->group_blocks) * 16 + row % 16;
    int u = i4 ? m->codes[elm_p16_i4_offset(w->k_padded, row, k)] >> elm_p16_i4_shift(k) & 15
               : m->codes[elm_p16_i8_offset(w->k_padded, row, k)] ^ 0x80;
    *scale = (double)elm_f32_from_f16(m->scales[at]);
    return u - (m->zeros ? m->zeros[at] : i4 ? 8 : 128);
}

/* The chain makes n_blocks fma and as many products s * d, each off by at most 2^-24 relative; then
 * one product and one sum: |error| <= (n_blocks + 3) 2^-24 (sum of |terms|, times unit, + |bias|),
 * to first order; doubled for the second. */
static void test_c_linear_against_double(void **state) {
    (void)state;
    random_state r = {5};
    enum { N = 33, K = 416, T = 3 };
    for (size_t d = 0; d < 4; d++) {
        matrix m = matrix_make(&r, quantised_types[d], N, K, 64, CODES_RANDOM, 1);
        float x[T * K], y[T * 48];
        fill(&r, x, T * K, 2.0f);
        elm_cpu_acts a = acts_make(&sets[0], x, K, K, T);
        elm_cpu_linear job = {.weight = &m.w, .acts = a, .y = y, .y_stride = 48, .n_tokens = T};
        linear_of(&sets[0], quantised_types[d], 1)(&job, 0, m.w.n_panels, NULL);
        for (size_t t = 0; t < T; t++)
            for (size_t n = 0; n < N; n++) {
                double sum = 0, magnitude = 0, scale;
                for (size_t k = 0; k < K; k++) {
                    double c = code_at(&m, n, k, &scale);
                    double v = c * scale * a.q[t * K + k] * (double)a.d[t * K / 32 + k / 32];
                    sum += v;
                    magnitude += fabs(v);
                }
                double bias = (double)m.bias[n], unit = (double)m.w.unit;
                double bound = 2 * (K / 32 + 3) * 0x1p-24 * (magnitude * unit + fabs(bias));
                assert_true(fabs((double)y[t * 48 + n] - (sum * unit + bias)) <= bound);
            }
        acts_free(&a);
        matrix_free(&m);
    }
}

/* A chain of K fma: |error| <= (K + 2) 2^-24 sum |w x|. */
static void test_c_float_linear_against_double(void **state) {
    (void)state;
    random_state r = {6};
    enum { N = 17, K = 77 };
    matrix m = matrix_make(&r, ELM_BF16, N, K, 0, CODES_RANDOM, 0);
    float x[K], y[32];
    fill(&r, x, K, 1.0f);
    elm_cpu_linear job = {
        .weight = &m.w, .x = x, .x_stride = K, .y = y, .y_stride = 32, .n_tokens = 1};
    sets[0].linear_float(&job, 0, 2, NULL);
    for (size_t n = 0; n < N; n++) {
        double sum = 0, magnitude = 0;
        for (size_t k = 0; k < K; k++) {
            uint16_t half;
            memcpy(&half, m.codes + 2 * elm_p16_float_offset(K, n, k), 2);
            double v = (double)elm_f32_from_bf16(half) * (double)x[k];
            sum += v;
            magnitude += fabs(v);
        }
        assert_true(fabs((double)y[n] - sum) <= (K + 2) * 0x1p-24 * magnitude);
    }
    matrix_free(&m);
}

/* ---- activations ---- */

static void test_quantize(void **state) {
    (void)state;
    random_state r = {7};
    static const size_t lengths[] = {1, 15, 31, 32, 33, 100, 576};
    static const float scales[] = {1.0f, 1e-38f, 1e-44f, 1e38f, 0.0f};
    for (size_t i = 0; i < 7; i++)
        for (size_t c = 0; c < 5; c++) {
            size_t n = lengths[i], blocks = (n + 31) / 32;
            float x[576];
            fill(&r, x, n, scales[c]);
            for (size_t k = 0; k + 2 < n; k += 5)
                x[k] = 0.5f * scales[c] * (float)((int)(k % 3) - 1); /* ties */
            elm_cpu_acts want = acts_make(&sets[0], x, n, n, 1);
            for (size_t s = 0; s < n_sets; s++) {
                elm_cpu_acts a = acts_make(&sets[s], x, n, n, 1);
                assert_same_bits(a.q, want.q, blocks * 32, names[s]);
                assert_same_bits(a.d, want.d, blocks * 4, names[s]);
                assert_same_bits(a.start, want.start, blocks * 4, names[s]);
                assert_same_bits(a.sum, want.sum, blocks * 4, names[s]);
                assert_true(guards_hold(a.q, blocks * 32) && guards_hold(a.d, blocks * 4));
                acts_free(&a);
            }
            for (size_t b = 0; b < blocks; b++) {
                float amax = 0;
                int sum = 0, even = 0;
                for (size_t k = 32 * b; k < 32 * b + 32; k++) {
                    if (k < n) amax = fmaxf(amax, fabsf(x[k]));
                    sum += want.q[k];
                    even += k % 4 < 2 ? want.q[k] : 0;
                }
                float inv = amax > 0 ? 127.0f / amax : 0;
                for (size_t k = 32 * b; k < 32 * b + 32; k++) {
                    float v = k < n && isfinite(inv) ? x[k] * inv : 0;
                    assert_int_equal(want.q[k], (int)rintf(v));
                }
                assert_true(want.d[b] == amax / 127.0f);
                assert_int_equal(want.sum[b], sum);
                assert_int_equal((int16_t)(want.start[b] & 0xffff), -8 * even);
                assert_int_equal((int16_t)(want.start[b] >> 16), -8 * (sum - even));
            }
            acts_free(&want);
        }
}

static void test_quantize_carries_nan(void **state) {
    (void)state;
    for (size_t s = 0; s < n_sets; s++)
        for (size_t at = 0; at < 40; at += 3) {
            float x[40];
            for (size_t i = 0; i < 40; i++) x[i] = 1.0f;
            x[at] = NAN;
            elm_cpu_acts a = acts_make(&sets[s], x, 40, 40, 1);
            assert_true(isnan(a.d[at / 32]));
            assert_true(!isnan(a.d[1 - at / 32]));
            acts_free(&a);
        }
}

/* ---- rows ---- */

static void test_rows(void **state) {
    (void)state;
    random_state r = {8};
    static const size_t lengths[] = {1, 7, 16, 33, 128, 130};
    for (size_t i = 0; i < 6; i++) {
        size_t n = lengths[i], bytes = n * sizeof(float);
        float x[130], w[130], cs[260];
        fill(&r, x, n, 9.0f);
        fill(&r, w, n, 1.0f);
        fill(&r, cs, 2 * n, 1.0f);
        for (size_t s = 0; s < n_sets; s++) {
            float *y = guarded(bytes), *z = guarded(bytes), *y0 = guarded(bytes),
                  *z0 = guarded(bytes);
            sets[0].rms_norm(x, w, n, 1e-6f, y0);
            sets[s].rms_norm(x, w, n, 1e-6f, y);
            assert_same_bits(y, y0, bytes, names[s]);
            sets[0].add(x, w, n, y0);
            sets[s].add(x, w, n, y);
            assert_same_bits(y, y0, bytes, names[s]);
            sets[0].rotate(x, w, cs, n, y0, z0);
            sets[s].rotate(x, w, cs, n, y, z);
            assert_same_bits(y, y0, bytes, names[s]);
            assert_same_bits(z, z0, bytes, names[s]);
            for (int activation = 0; activation < ELM_N_ACTIVATIONS; activation++) {
                sets[0].glu(x, w, n, activation, y0);
                sets[s].glu(x, w, n, activation, y);
                assert_same_bits(y, y0, bytes, names[s]);
            }
            sets[0].join(y0, 0.3f, x, 0.7f, n);
            sets[s].join(y, 0.3f, x, 0.7f, n);
            assert_same_bits(y, y0, bytes, names[s]);
            assert_true(guards_hold(y, bytes) && guards_hold(z, bytes));
            guarded_free(y);
            guarded_free(z);
            guarded_free(y0);
            guarded_free(z0);
        }
    }
}

/* The formulas themselves. exp errs by 2 ulp; silu and gelu add a sum, a quotient and a product: 6
 * ulp = 6 * 2^-23 relative; gelu's argument 2u carries 4 roundings, which an exponential of |2u| <=
 * 87 turns into 87 * 4 * 2^-24 relative, and it only matters where the sigmoid is not yet 0 or 1:
 * the bound below is absolute in |x|. */
static void test_c_activations_against_double(void **state) {
    (void)state;
    for (int i = -2000; i <= 2000; i++) {
        float x = (float)i * 0.05f, y, one = 1.0f;
        double v = (double)x;
        sets[0].glu(&x, &one, 1, ELM_SILU, &y);
        assert_true(fabs((double)y - v / (1 + exp(-v))) <= 6 * 0x1p-23 * fabs(v));
        sets[0].glu(&x, &one, 1, ELM_GELU_TANH, &y);
        double want = 0.5 * v * (1 + tanh(0.7978845608028654 * (v + 0.044715 * v * v * v)));
        assert_true(fabs((double)y - want) <= 30 * 0x1p-23 * fabs(v));
        sets[0].glu(&x, &one, 1, ELM_GELU_ERF, &y);
        assert_true(fabs((double)y - 0.5 * v * (1 + erf(v / sqrt(2)))) <= 6 * 0x1p-23 * fabs(v));
        if (x <= 0 && x >= -80.0f)
            assert_true(fabs((double)sets[0].exponential(x) - exp(v)) <= 2 * 0x1p-23 * exp(v));
    }
    assert_true(sets[0].exponential(0.0f) == 1.0f);
    assert_true(sets[0].exponential(-INFINITY) == 0.0f);
}

/* ---- attention ---- */

static size_t kv_element(int dtype) {
    return dtype == 0 ? 4 : dtype == 1 ? 2 : 1;
}

static void *kv_plane(random_state *r, int dtype, size_t n) {
    uint8_t *p = guarded(n * kv_element(dtype));
    for (size_t i = 0; i < n; i++) {
        float x = random_float(r);
        uint16_t half = elm_f16_from_f32(x);
        if (dtype == 0)
            memcpy(p + 4 * i, &x, 4);
        else if (dtype == 1)
            memcpy(p + 2 * i, &half, 2);
        else
            p[i] = (uint8_t)(random_u32(r) % 255 - 127);
    }
    return p;
}

/* Every dimension count and number of queries; of some of a block's 64 keys the rest may hold anything. */
static void test_scores(void **state) {
    (void)state;
    random_state r = {9};
    static const size_t dims[] = {1, 16, 30, 64, 80, 128};
    enum { MAX_Q = 14, MAX_DIM = 128, KEYS = 64 };
    for (int dtype = 0; dtype < 3; dtype++)
        for (size_t d = 0; d < 6; d++)
            for (size_t n_q = 1; n_q <= MAX_Q; n_q++) {
                size_t dim = dims[d], bytes = n_q * KEYS * sizeof(float);
                float q[MAX_Q * MAX_DIM];
                fill(&r, q, n_q * dim, 1.0f);
                elm_cpu_acts codes = acts_make(&sets[0], q, dim, dim, n_q);
                void *k = kv_plane(&r, dtype, KEYS * ((dim + 3) / 4 * 4));
                float *want = guarded(bytes);
                for (size_t s = 0; s < n_sets; s++) {
                    const size_t n_k = s == 0 || dtype == 2 ? KEYS : 1 + random_u32(&r) % KEYS;
                    float *got = s == 0 ? want : guarded(bytes);
                    if (dtype == 2)
                        sets[s].scores_i8(&codes, n_q, k, dim, got);
                    else
                        sets[s].scores[dtype](q, dim, n_q, k, dim, n_k, 0, got);
                    assert_true(guards_hold(got, bytes));
                    for (size_t i = 0; i < n_q; i++)
                        assert_same_bits(got + i * KEYS, want + i * KEYS, n_k * sizeof *got,
                                         names[s]);
                    if (s > 0) guarded_free(got);
                }
                guarded_free(want);
                guarded_free(k);
                acts_free(&codes);
            }
}

/* Codes at their ends: 127 * 127 * dim in every lane, both signs. */
static void test_scores_extreme(void **state) {
    (void)state;
    enum { DIM = 256, KEYS = 64, N_Q = 5 };
    static int8_t k[KEYS * DIM], q[N_Q * DIM];
    float d[N_Q * DIM / 32], s[N_Q * KEYS];
    int32_t sum[N_Q * DIM / 32];
    for (int sign = -1; sign <= 1; sign += 2) {
        for (size_t i = 0; i < sizeof k; i++) k[i] = 127;
        for (size_t i = 0; i < sizeof q; i++) q[i] = (int8_t)(sign * 127);
        for (size_t i = 0; i < N_Q * DIM / 32; i++) {
            d[i] = 1.0f;
            sum[i] = sign * 127 * 32;
        }
        elm_cpu_acts codes = {
            .q = q, .d = d, .sum = sum, .q_stride = DIM, .block_stride = DIM / 32};
        for (size_t set = 0; set < n_sets; set++) {
            sets[set].scores_i8(&codes, N_Q, k, DIM, s);
            for (size_t i = 0; i < N_Q * KEYS; i++)
                assert_true(s[i] == (float)(sign * 127 * 127 * DIM));
        }
    }
}

static void test_values(void **state) {
    (void)state;
    random_state r = {10};
    static const size_t dims[] = {16, 64, 80, 128}, counts[] = {0, 1, 3, 64};
    enum { MAX_Q = 14, MAX_DIM = 128, KEYS = 64 };
    for (int dtype = 0; dtype < 2; dtype++)
        for (size_t d = 0; d < 4; d++)
            for (size_t c = 0; c < 4; c++)
                for (size_t n_q = 1; n_q <= MAX_Q; n_q++) {
                    size_t dim = dims[d], n = counts[c], bytes = n_q * dim * sizeof(float);
                    float p[MAX_Q * KEYS], factors[MAX_Q], begin[MAX_Q * MAX_DIM];
                    fill(&r, p, n_q * KEYS, 1.0f);
                    fill(&r, factors, n_q, 1.0f);
                    fill(&r, begin, n_q * dim, 1.0f);
                    void *v = kv_plane(&r, dtype, n * dim);
                    float *want = guarded(bytes);
                    for (size_t s = 0; s < n_sets; s++) {
                        float *got = s == 0 ? want : guarded(bytes);
                        memcpy(got, begin, bytes);
                        sets[s].values[dtype](p, factors, n_q, v, n, dim, 0, got, dim);
                        assert_true(guards_hold(got, bytes));
                        if (s == 0) continue;
                        assert_same_bits(got, want, bytes, names[s]);
                        guarded_free(got);
                    }
                    guarded_free(want);
                    guarded_free(v);
                }
}

/* Weights as integers and the int8 values they meet: the same bits from all sets, and each weight
 * within half a step of 1 / 32512 of the largest. Scales of positions that weigh nothing are NaN, as
 * those of slots that were never written may be. */
static void test_values_i8(void **state) {
    (void)state;
    random_state r = {12};
    static const size_t dims[] = {16, 48, 64, 80, 128, 256};
    enum { MAX_Q = 14, MAX_DIM = 256, KEYS = 64 };
    for (size_t d = 0; d < 6; d++)
        for (size_t n_q = 1; n_q <= MAX_Q; n_q++) {
            size_t dim = dims[d], bytes = n_q * dim * sizeof(float);
            float p[MAX_Q * KEYS], scales[KEYS], c[MAX_Q], begin[MAX_Q * MAX_DIM];
            fill(&r, p, n_q * KEYS, 1.0f);
            fill(&r, scales, KEYS, 1.0f);
            fill(&r, c, n_q, 1.0f);
            fill(&r, begin, n_q * dim, 1.0f);
            for (size_t i = 0; i < n_q * KEYS; i++) p[i] = fabsf(p[i]);
            for (size_t j = 0; j < KEYS; j++) {
                scales[j] = fabsf(scales[j]);
                if (j >= 7 * d) continue;
                scales[j] = NAN;
                for (size_t i = 0; i < n_q; i++) p[i * KEYS + j] = 0.0f;
            }
            int8_t *v = kv_plane(&r, 2, KEYS * dim);
            float *want = guarded(bytes), units[MAX_Q];
            for (size_t s = 0; s < n_sets; s++) {
                float *got = s == 0 ? want : guarded(bytes), unit[MAX_Q];
                uint8_t *codes = guarded(n_q * ELM_CPU_WEIGHT_CODES);
                memcpy(got, begin, bytes);
                for (size_t i = 0; i < n_q; i++)
                    unit[i] =
                        sets[s].weigh_i8(p + i * KEYS, scales, codes + i * ELM_CPU_WEIGHT_CODES);
                sets[s].values_i8(codes, unit, c, n_q, v, dim, got, dim);
                assert_true(guards_hold(got, bytes));
                assert_true(guards_hold(codes, n_q * ELM_CPU_WEIGHT_CODES));
                guarded_free(codes);
                if (s == 0) memcpy(units, unit, sizeof units);
                assert_same_bits(unit, units, n_q * sizeof *unit, names[s]);
                if (s == 0) continue;
                assert_same_bits(got, want, bytes, names[s]);
                guarded_free(got);
            }
            for (size_t i = 0; i < n_q; i++)
                for (size_t e = 0; e < dim; e++) {
                    double exact = (double)begin[i * dim + e] * (double)c[i], all = 0;
                    for (size_t j = 7 * d; j < KEYS; j++) {
                        double w = (double)p[i * KEYS + j] * (double)scales[j];
                        int x = v[e / 16 * 1024 + j / 4 * 64 + e % 16 * 4 + j % 4];
                        exact += w * x;
                        all += abs(x);
                    }
                    double off = fabs((double)want[i * dim + e] - exact);
                    assert_true(off <= 0.51 * (double)units[i] * all + 1e-5);
                }
            guarded_free(want);
            guarded_free(v);
        }
}

/* Weights and values at their ends: 64 * 32512 * 127; and weights that are all nothing. */
static void test_values_i8_extreme(void **state) {
    (void)state;
    enum { DIM = 64, KEYS = 64 };
    static int8_t v[KEYS * DIM];
    float p[KEYS], scales[KEYS], c = 0.5f;
    for (int sign = -1; sign <= 1; sign++) {
        for (size_t i = 0; i < sizeof v; i++) v[i] = (int8_t)(sign < 0 ? -127 : 127);
        for (size_t i = 0; i < KEYS; i++) {
            p[i] = sign == 0 ? 0.0f : 1.0f;
            scales[i] = 1.0f;
        }
        for (size_t s = 0; s < n_sets; s++) {
            uint8_t codes[ELM_CPU_WEIGHT_CODES];
            float o[DIM];
            for (size_t i = 0; i < DIM; i++) o[i] = 2.0f;
            float unit = sets[s].weigh_i8(p, scales, codes);
            sets[s].values_i8(codes, &unit, &c, 1, v, DIM, o, DIM);
            for (size_t i = 0; i < DIM; i++)
                assert_true(fabsf(o[i] - (1.0f + (float)(sign * 127 * KEYS))) <= 0.01f);
        }
    }
}

/* Rows of all masks: what a row becomes depends on no other, however many there are. */
static void test_softmax(void **state) {
    (void)state;
    enum { ROWS = 40 };
    random_state r = {10};
    float scores[ROWS][64], before[ROWS], sums[ROWS];
    float want[ROWS][64], m0[ROWS], l0[ROWS], c0[ROWS];
    for (int i = 0; i < ROWS; i++) {
        fill(&r, scores[i], 64, i % 2 ? 8.0f : 90.0f);
        for (int j = 0; j < i && j < 63; j++) scores[i][j] = -INFINITY;
        before[i] = i % 3 ? random_float(&r) : -INFINITY;
        sums[i] = i % 3 ? 2.0f : 0.0f;
        memcpy(want[i], scores[i], sizeof want[i]);
        m0[i] = before[i], l0[i] = sums[i];
        sets[0].softmax(want[i], 1, &m0[i], &l0[i], &c0[i]);
        double now = (double)m0[i], factor = exp((double)before[i] - now);
        double exact = before[i] == -INFINITY ? 0 : (double)sums[i] * factor;
        for (int j = 0; j < 64; j++) exact += exp((double)scores[i][j] - now);
        assert_true(fabs((double)l0[i] - exact) <=
                    16 * 0x1p-24 * exact);                   /* exp 4, tree of 8 sums, joining 3 */
        double rounding = 4 + fabs((double)before[i] - now); /* exp 4, its argument half an ulp */
        assert_true(factor < exp(-80)
                        ? c0[i] == 0.0f
                        : fabs((double)c0[i] - factor) <= rounding * 0x1p-24 * factor);
    }
    for (size_t s = 0; s < n_sets; s++)
        for (size_t n = 1; n <= ROWS; n++) {
            float *got = guarded(n * sizeof scores[0]), m[ROWS], l[ROWS], c[ROWS];
            memcpy(got, scores, n * sizeof scores[0]);
            memcpy(m, before, sizeof m);
            memcpy(l, sums, sizeof l);
            sets[s].softmax(got, n, m, l, c);
            assert_same_bits(got, want, n * sizeof scores[0], names[s]);
            assert_same_bits(m, m0, n * sizeof *m, names[s]);
            assert_same_bits(l, l0, n * sizeof *l, names[s]);
            assert_same_bits(c, c0, n * sizeof *c, names[s]);
            guarded_free(got);
        }
}

/* What is stored is what kv.c stores, special values included. */
static void test_stored_rows(void **state) {
    (void)state;
    random_state r = {11};
    static const size_t lengths[] = {1, 16, 40, 64};
    static const float specials[] = {0.0f,   -0.0f,    INFINITY, -INFINITY, NAN,
                                     1e-40f, 65519.0f, 65520.0f, 6e-8f};
    for (int round = 0; round < 60; round++) {
        uint32_t n = (uint32_t)lengths[round % 4];
        float x[64];
        fill(&r, x, n, round % 5 == 0 ? 1e-39f : 4.0f);
        if (round % 3 == 0) x[random_u32(&r) % n] = specials[(round / 3) % 9];
        for (int int8 = 0; int8 < 2; int8++) {
            uint8_t memory[ELM_KV_BLOCK * 64] = {0}, want[128];
            float scale_of[ELM_KV_BLOCK];
            elm_kv kv = {.dtype = int8 ? ELM_I8 : ELM_F16,
                         .n_heads = 1,
                         .k_dim = n,
                         .v_dim = n,
                         .capacity = 1};
            kv.v = memory;
            kv.v_scales = scale_of;
            elm_kv_store(&kv, true, 0, 0, x);
            memcpy(want, memory, sizeof want);
            for (size_t i = 0; int8 && i < n; i++) want[i] = memory[elm_kv_v_element(&kv, 0, i)];
            size_t bytes = n * (int8 ? 1u : 2u);
            for (size_t s = 0; s < n_sets; s++) {
                void *got = guarded(bytes);
                float scale = 0;
                if (int8)
                    scale = sets[s].to_i8(x, n, got);
                else
                    sets[s].to_f16(x, n, got);
                assert_same_bits(got, want, bytes, names[s]);
                if (int8) assert_same_bits(&scale, scale_of, 4, names[s]);
                assert_true(guards_hold(got, bytes));
                guarded_free(got);
            }
        }
    }
}

int main(void) {
    n_sets = kernel_sets(sets, names);
    for (size_t s = 0; s < n_sets; s++) printf("kernels: %s\n", names[s]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linear_int_shapes),
        cmocka_unit_test(test_linear_int_extremes),
        cmocka_unit_test(test_linear_token_blocks),
        cmocka_unit_test(test_linear_float_shapes),
        cmocka_unit_test(test_c_linear_against_double),
        cmocka_unit_test(test_c_float_linear_against_double),
        cmocka_unit_test(test_quantize),
        cmocka_unit_test(test_quantize_carries_nan),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_c_activations_against_double),
        cmocka_unit_test(test_scores),
        cmocka_unit_test(test_scores_extreme),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_values_i8),
        cmocka_unit_test(test_values_i8_extreme),
        cmocka_unit_test(test_softmax),
        cmocka_unit_test(test_stored_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
