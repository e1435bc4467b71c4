/* test_quant.c - the quantisers against exhaustive searches, their special cases, and blocks of
 * GGUF carried over bit for bit. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/f16.h"
#include "quant/quantize.h"

enum { GROUP = 32 };

static uint64_t seed = 1;

static float uniform(void) { /* in [-1, 1) */
    uint64_t z = (seed += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (float)(int32_t)(uint32_t)((z ^ (z >> 31)) >> 16) * (1.0f / 2147483648.0f);
}

static float normal(void) {
    float sum = 0;
    for (int i = 0; i < 12; i++) sum += uniform();
    return sum * 0.5f;
}

/* Squared error of what was stored. */
static double stored_error(const float *w, uint32_t n, float unit, uint16_t scale, int zero,
                           const uint8_t *codes) {
    double error = 0, s = (double)elm_f32_from_f16(scale) * (double)unit;
    for (uint32_t i = 0; i < n; i++) {
        double d = (double)w[i] - s * (codes[i] - zero);
        error += d * d;
    }
    return error;
}

/* Smallest squared error of any scale in a fine sweep of both signs: codes by rounding, clamped to
 * [low, high]. */
static double best_error(const float *w, uint32_t n, int low, int high, int zeros) {
    double amax = 0, best = INFINITY;
    for (uint32_t i = 0; i < n; i++) amax = fmax(amax, fabs((double)w[i]));
    for (int step = -2000; step <= 2000; step++) {
        double s = amax / (high - low) * 2 * step / 1500.0;
        if (step == 0) continue;
        for (int z = 0; z <= zeros; z++) {
            double error = 0;
            for (uint32_t i = 0; i < n; i++) {
                double q = rint((double)w[i] / s) + z;
                q = q < low ? low : q > high ? high : q;
                double d = (double)w[i] - s * (q - z);
                error += d * d;
            }
            best = fmin(best, error);
        }
    }
    return best;
}

/* The search of 17 candidates stays within a tenth of the best scale there is, on average within 2
 * %; amax / 8 does not. */
static void test_int4_is_near_the_best_scale(void **state) {
    (void)state;
    double found = 0, best = 0, plain = 0;
    for (int round = 0; round < 100; round++) {
        float w[GROUP];
        uint8_t codes[GROUP];
        uint16_t scale;
        float largest = 0;
        for (int i = 0; i < GROUP; i++) {
            w[i] = round % 2 ? normal() : uniform();
            if (fabsf(w[i]) > fabsf(largest)) largest = w[i];
        }
        elm_group_symmetric(ELM_I4, w, GROUP, 1.0f, &scale, codes);
        for (int i = 0; i < GROUP; i++) assert_true(codes[i] < 16);
        double e = stored_error(w, GROUP, 1.0f, scale, ELM_ZERO_I4, codes),
               b = best_error(w, GROUP, -8, 7, 0);
        if (e > 1.10 * b) fail_msg("round %d: %.6g, and %.6g is possible", round, e, b);
        found += e, best += b;
        for (int i = 0; i < GROUP; i++) {
            double s = -(double)largest / 8, q = fmax(-8, fmin(7, rint((double)w[i] / s)));
            plain += pow((double)w[i] - s * q, 2);
        }
    }
    assert_true(found < 1.02 * best);
    assert_true(found < 0.90 * plain);
}

static void test_int4_with_zero_points(void **state) {
    (void)state;
    double found = 0, best = 0, symmetric = 0;
    for (int round = 0; round < 20; round++) {
        float w[GROUP];
        uint8_t codes[GROUP], zero;
        uint16_t scale;
        for (int i = 0; i < GROUP; i++)
            w[i] = 0.4f + 0.5f * uniform(); /* lopsided: what zero points are for */
        elm_group_zero_point(ELM_I4Z, w, GROUP, 1.0f, &scale, &zero, codes);
        assert_true(zero <= 15);
        found += stored_error(w, GROUP, 1.0f, scale, zero, codes);
        best += best_error(w, GROUP, 0, 15, 15);
        elm_group_symmetric(ELM_I4, w, GROUP, 1.0f, &scale, codes);
        symmetric += stored_error(w, GROUP, 1.0f, scale, ELM_ZERO_I4, codes);
    }
    assert_true(found < 1.35 * best);
    assert_true(found < 0.5 * symmetric);
}

/* Half a step of amax / 127 (and of the range / 255), plus what rounding the scale to f16 moves. */
static void test_int8_rounds(void **state) {
    (void)state;
    for (int round = 0; round < 200; round++) {
        float w[GROUP], low = 0, high = 0;
        uint8_t codes[GROUP], zero;
        uint16_t scale;
        for (int i = 0; i < GROUP; i++) {
            w[i] = normal() * (round % 3 ? 1.0f : 100.0f);
            low = fminf(low, w[i]);
            high = fmaxf(high, w[i]);
        }
        float amax = fmaxf(-low, high);
        elm_group_symmetric(ELM_I8, w, GROUP, 1.0f, &scale, codes);
        float s = elm_f32_from_f16(scale);
        assert_true(s > 0);
        for (int i = 0; i < GROUP; i++) {
            int q = codes[i] - ELM_ZERO_I8;
            assert_in_range(q + 127, 0, 254);
            assert_true(fabsf(w[i] - s * (float)q) <= amax / 127 * 0.5001f + amax / 2048);
        }
        elm_group_zero_point(ELM_I8Z, w, GROUP, 1.0f, &scale, &zero, codes);
        s = elm_f32_from_f16(scale);
        for (int i = 0; i < GROUP; i++)
            assert_true(fabsf(w[i] - s * (float)(codes[i] - zero)) <=
                        (high - low) / 255 * 1.001f + amax / 1024);
    }
}

static void test_special_groups(void **state) {
    (void)state;
    static const elm_dtype types[] = {ELM_I4, ELM_I8, ELM_I4Z, ELM_I8Z};
    for (int t = 0; t < 4; t++)
        for (int kind = 0; kind < 5; kind++) {
            float w[GROUP];
            uint8_t codes[GROUP], zero = types[t] == ELM_I4 ? ELM_ZERO_I4 : ELM_ZERO_I8;
            uint16_t scale;
            for (int i = 0; i < GROUP; i++)
                w[i] = kind == 0   ? 0.0f
                       : kind == 1 ? 3.0f
                       : kind == 2 ? -3.0f
                       : kind == 3 ? (i == 5 ? -2.0f : 0.0f)
                                   : (float)(i % 2 * 2 - 1);
            if (t >= 2)
                elm_group_zero_point(types[t], w, GROUP, 1.0f, &scale, &zero, codes);
            else
                elm_group_symmetric(types[t], w, GROUP, 1.0f, &scale, codes);
            double error = stored_error(w, GROUP, 1.0f, scale, zero, codes);
            /* zeros exactly; the others to the precision of an f16 scale, +-1 to a third of a step
             */
            double bar = kind == 0 ? 0 : kind == 4 ? GROUP * 0.005 : GROUP * 9 * 1e-6;
            if (!(error <= bar)) fail_msg("type %d, kind %d: error %g", t, kind, error);
        }
}

static void test_scale_exponent(void **state) {
    (void)state;
    assert_int_equal(elm_scale_exp_for(ELM_I4, 1.0f), 0);
    assert_int_equal(elm_scale_exp_for(ELM_F32, 1e-9f), 0);
    assert_int_equal(elm_scale_exp_for(ELM_I4, 0.0f), 0);
    assert_int_equal(elm_scale_exp_for(ELM_I4, NAN), 0);
    static const float sizes[] = {1e-30f, 1e-9f, 1e-5f, 0.1f, 1e4f, 1e8f, 1e30f};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        for (int t = 0; t < 2; t++) {
            /* Whatever the size of the weights, the relative error is that of weights near 1. */
            elm_dtype dtype = t ? ELM_I8 : ELM_I4;
            float w[GROUP], unit = ldexpf(1.0f, elm_scale_exp_for(dtype, sizes[i]));
            uint8_t codes[GROUP];
            uint16_t scale;
            double total = 0;
            for (int k = 0; k < GROUP; k++) {
                w[k] = sizes[i] * (k ? uniform() : 1.0f);
                total += (double)w[k] * (double)w[k];
            }
            elm_group_symmetric(dtype, w, GROUP, unit, &scale, codes);
            double error = sqrt(
                stored_error(w, GROUP, unit, scale, t ? ELM_ZERO_I8 : ELM_ZERO_I4, codes) / total);
            if (!(error < (t ? 0.006 : 0.1)))
                fail_msg("size %g: relative error %g", (double)sizes[i], error);
        }
}

/* ---- panels ---- */

typedef struct stored {
    elm_tensor t;
    elm_p16_shape shape;
    elm_p16_planes planes;
} stored;

static stored make(elm_dtype dtype, uint32_t rows, uint32_t cols, uint32_t group) {
    stored s = {0};
    assert_true(elm_p16_shape_of(dtype, rows, cols, group, &s.shape));
    s.planes.codes = malloc(s.shape.codes_bytes);
    memset(s.planes.codes, 0xee, s.shape.codes_bytes); /* what was there before must not matter */
    if (s.shape.scales_bytes) s.planes.scales = malloc(s.shape.scales_bytes);
    if (s.shape.zeros_bytes) s.planes.zeros = malloc(s.shape.zeros_bytes);
    s.t = (elm_tensor){.dtype = dtype,
                       .layout = ELM_LAYOUT_P16,
                       .n_dims = 2,
                       .dims = {rows, cols},
                       .group = group,
                       .codes = s.planes.codes,
                       .scales = s.planes.scales,
                       .zeros = s.planes.zeros};
    return s;
}

static void unmake(stored *s) {
    free(s->planes.codes);
    free(s->planes.scales);
    free(s->planes.zeros);
}

/* Odd shapes: every element comes back within its group's step, the padding is worth zero, and the
 * error that was counted is the error of what lies in the planes. */
static void test_panels(void **state) {
    (void)state;
    static const elm_dtype types[] = {ELM_F32, ELM_F16, ELM_BF16, ELM_I8, ELM_I4, ELM_I8Z, ELM_I4Z};
    enum { ROWS = 21, COLS = 71, STRIDE = 80 };
    static float w[ROWS * STRIDE];
    for (int i = 0; i < ROWS * STRIDE; i++) w[i] = i % STRIDE < COLS ? normal() : NAN;
    for (int d = 0; d < 7; d++) {
        elm_scheme scheme = {types[d], elm_dtype_get(types[d])->has_scales ? 32 : 0};
        stored s = make(types[d], ROWS, COLS, scheme.group);
        elm_quant_error error = {0};
        float scratch[256];
        assert_true(elm_panel_scratch_floats(scheme, &s.shape) <= 256);
        for (uint32_t p = 0; p < 2; p++)
            elm_quantize_panel(scheme, &s.shape, 0, w + p * 16 * STRIDE, STRIDE, p ? ROWS - 16 : 16,
                               COLS, p, &s.planes, scratch, &error);
        assert_int_equal(error.n_not_finite, 0);
        double e2 = 0, w2 = 0, most = 0;
        for (uint32_t r = 0; r < ROWS; r++)
            for (uint32_t k = 0; k < COLS; k++) {
                double v = (double)w[r * STRIDE + k], diff = v - (double)elm_tensor_at(&s.t, r, k);
                e2 += diff * diff, w2 += v * v, most = fmax(most, fabs(diff));
            }
        assert_true(fabs(error.sum_error2 - e2) <= 1e-9 * e2 &&
                    fabs(error.sum_weight2 - w2) <= 1e-9 * w2);
        assert_true(error.max_abs == most || fabs(error.max_abs - most) < 1e-6 * most);
        static const double bars[] = {0, 3e-4, 3e-3, 6e-3, 0.1, 6e-3, 0.1};
        assert_true(elm_quant_error_rel_rms(&error) <= bars[d]);
        elm_tensor padded = s.t;
        padded.dims[0] = 32;
        padded.dims[1] = s.shape.k_padded; /* the kernels read the padding too */
        for (uint32_t r = 0; r < 32; r++)
            for (uint32_t k = 0; k < s.shape.k_padded; k++)
                if (r >= ROWS || k >= COLS) assert_true(elm_tensor_at(&padded, r, k) == 0.0f);
        unmake(&s);
    }
}

static void test_what_does_not_fit_is_counted(void **state) {
    (void)state;
    float w[16 * 32], scratch[64];
    for (int i = 0; i < 16 * 32; i++) w[i] = 1.0f;
    w[3 * 32 + 7] = 1e6f;
    w[9 * 32 + 1] = NAN;
    stored s = make(ELM_F16, 16, 32, 0);
    elm_quant_error error = {0};
    elm_quantize_panel((elm_scheme){ELM_F16, 0}, &s.shape, 0, w, 32, 16, 32, 0, &s.planes, scratch,
                       &error);
    assert_int_equal(error.n_not_finite, 2);
    assert_int_equal(error.first_not_finite_row, 3);
    assert_int_equal(error.first_not_finite_col, 7);
    elm_quant_error sum = {0};
    elm_quant_error_add(&sum, &error);
    elm_quant_error_add(&sum, &error);
    assert_int_equal(sum.n_not_finite, 4);
    assert_true(sum.sum_weight2 == 2 * error.sum_weight2);
    unmake(&s);
}

/* ---- carrying over ---- */

static void random_blocks(uint8_t *blocks, size_t n_blocks, size_t block_bytes) {
    for (size_t b = 0; b < n_blocks; b++) {
        uint16_t d = elm_f16_from_f32(uniform());
        blocks[b * block_bytes] = (uint8_t)d;
        blocks[b * block_bytes + 1] = (uint8_t)(d >> 8);
        for (size_t i = 2; i < block_bytes; i++)
            blocks[b * block_bytes + i] = (uint8_t)(int)((uniform() + 1.0f) * 127.99f);
    }
}

static uint16_t scale_of(const uint8_t *b) {
    return (uint16_t)(b[0] | b[1] << 8);
}

/* Scale bits and codes, element by element, straight from the definition of the blocks. */
static void test_blocks_are_carried_exactly(void **state) {
    (void)state;
    enum { ROWS = 19, BLOCKS = 3, COLS = BLOCKS * 32 };
    uint8_t blocks[ROWS * BLOCKS * 34];
    for (int q4 = 0; q4 < 2; q4++) {
        size_t block_bytes = q4 ? 18 : 34, row_bytes = block_bytes * BLOCKS;
        random_blocks(blocks, ROWS * BLOCKS, block_bytes);
        stored s = make(q4 ? ELM_I4 : ELM_I8, ROWS, COLS, 32);
        for (uint32_t p = 0; p < 2; p++)
            (q4 ? elm_carry_q4_0_panel : elm_carry_q8_0_panel)(
                &s.shape, blocks + p * 16 * row_bytes, row_bytes, p ? ROWS - 16 : 16, p, &s.planes);
        for (uint32_t r = 0; r < ROWS; r++)
            for (uint32_t k = 0; k < COLS; k++) {
                const uint8_t *b = blocks + r * row_bytes + k / 32 * block_bytes;
                uint32_t i = k % 32;
                int want =
                    q4 ? (i < 16 ? b[2 + i] & 15 : b[2 + i - 16] >> 4) - 8 : (int8_t)b[2 + i];
                assert_int_equal(s.planes.scales[elm_p16_scale_offset(s.shape.n_groups, 32, r, k)],
                                 scale_of(b));
                assert_int_equal(elm_tensor_code_at(&s.t, r, k), want);
            }
        elm_tensor padded = s.t;
        padded.dims[0] = 32;
        for (uint32_t r = ROWS; r < 32; r++)
            for (uint32_t k = 0; k < COLS; k++) assert_true(elm_tensor_at(&padded, r, k) == 0.0f);
        unmake(&s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_int4_is_near_the_best_scale),
        cmocka_unit_test(test_int4_with_zero_points),
        cmocka_unit_test(test_int8_rounds),
        cmocka_unit_test(test_special_groups),
        cmocka_unit_test(test_scale_exponent),
        cmocka_unit_test(test_panels),
        cmocka_unit_test(test_what_does_not_fit_is_counted),
        cmocka_unit_test(test_blocks_are_carried_exactly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
