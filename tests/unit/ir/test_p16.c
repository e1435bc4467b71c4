/* test_p16.c - the stored form of matrices: sizes, places of single elements by the layout's own
 * picture, refusals. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/f16.h"
#include "ir/p16.h"

static void test_shapes(void **state) {
    (void)state;
    elm_p16_shape s;
    assert_true(elm_p16_shape_of(ELM_I4, 17, 33, 32, &s));
    assert_int_equal(s.n_panels, 2);
    assert_int_equal(s.k_padded, 64);
    assert_int_equal(s.n_groups, 2);
    assert_int_equal(s.codes_bytes, 32 * 64 / 2);
    assert_int_equal(s.scales_bytes, 32 * 2 * 2);
    assert_int_equal(s.zeros_bytes, 0);
    assert_true(elm_p16_shape_of(ELM_I8Z, 16, 128, 128, &s));
    assert_int_equal(s.zeros_bytes, 16);
    assert_true(elm_p16_shape_of(ELM_BF16, 3, 5, 0, &s));
    assert_int_equal(s.codes_bytes, 16 * 5 * 2);
    assert_true(
        elm_p16_shape_of(ELM_I4, 5, 100, elm_p16_channel_group(100), &s)); /* one scale a row */
    assert_int_equal(s.n_groups, 1);
    assert_int_equal(s.k_padded, 128);
}

static void test_shapes_that_are_refused(void **state) {
    (void)state;
    static const struct {
        elm_dtype dtype;
        uint64_t rows, cols;
        uint32_t group;
    } bad[] = {
        {ELM_I4, 0, 32, 32},         {ELM_I4, 16, 0, 32},          {ELM_I4, 16, 32, 0},
        {ELM_I4, 16, 32, 33},        {ELM_I4, 16, 320, 96},        {ELM_F32, 16, 32, 32},
        {ELM_I32, 16, 32, 0},        {ELM_I4, UINT64_MAX, 32, 32}, {ELM_I4, 16, UINT64_MAX, 32},
        {ELM_F32, 1ull << 31, 1, 0}, {(elm_dtype)99, 1, 1, 0}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        elm_p16_shape s;
        if (elm_p16_shape_of(bad[i].dtype, bad[i].rows, bad[i].cols, bad[i].group, &s))
            fail_msg("case %zu taken", i);
        assert_int_equal(s.codes_bytes, 0);
    }
}

/* Every byte of the code plane belongs to exactly the elements that the picture in p16.h says. */
static void test_places(void **state) {
    (void)state;
    enum { ROWS = 35, K = 64 };
    uint8_t seen[48 * K] = {0};
    for (size_t row = 0; row < 48; row++)
        for (size_t k = 0; k < K; k++) {
            size_t panel = row / 16, r = row % 16;
            assert_int_equal(elm_p16_i8_offset(K, row, k),
                             panel * 16 * K + k / 4 * 64 + r * 4 + k % 4);
            size_t at = elm_p16_i4_offset(K, row, k);
            assert_int_equal(at, panel * 8 * K + k / 8 * 64 + r * 4 + k % 4);
            assert_int_equal(elm_p16_i4_shift(k), k % 8 < 4 ? 0 : 4);
            seen[at] = (uint8_t)(seen[at] + (k % 8 < 4 ? 1 : 16));
            assert_int_equal(elm_p16_float_offset(K, row, k), panel * 16 * K + k * 16 + r);
        }
    for (size_t i = 0; i < 48 * K / 2; i++)
        assert_int_equal(seen[i], 17); /* a low and a high nibble each */
}

static void test_elements(void **state) {
    (void)state;
    enum { ROWS = 19, COLS = 70, GROUP = 64 };
    elm_p16_shape s;
    assert_true(elm_p16_shape_of(ELM_I4Z, ROWS, COLS, GROUP, &s));
    uint8_t *codes = calloc(1, s.codes_bytes), *zeros = calloc(1, s.zeros_bytes);
    uint16_t *scales = calloc(1, s.scales_bytes);
    elm_tensor t = {.dtype = ELM_I4Z,
                    .layout = ELM_LAYOUT_P16,
                    .n_dims = 2,
                    .dims = {ROWS, COLS},
                    .group = GROUP,
                    .scale_exp = -3,
                    .codes = codes,
                    .scales = scales,
                    .zeros = zeros};
    for (size_t row = 0; row < ROWS; row++)
        for (size_t k = 0; k < COLS; k++) {
            size_t group = elm_p16_scale_offset(s.n_groups, GROUP, row, k);
            codes[elm_p16_i4_offset(s.k_padded, row, k)] |=
                (uint8_t)((row * 5 + k) % 16 << elm_p16_i4_shift(k));
            scales[group] = elm_f16_from_f32((float)(row + 1));
            zeros[group] = (uint8_t)(row % 16);
        }
    float out[COLS];
    for (size_t row = 0; row < ROWS; row++) {
        elm_tensor_row(&t, row, out);
        for (size_t k = 0; k < COLS; k++) {
            int code = (int)((row * 5 + k) % 16) - (int)(row % 16);
            assert_int_equal(elm_tensor_code_at(&t, row, k), code);
            assert_true(elm_tensor_at(&t, row, k) == (float)(row + 1) / 8 * (float)code);
            assert_true(out[k] == elm_tensor_at(&t, row, k));
        }
    }
    free(codes);
    free(zeros);
    free(scales);
}

static void test_dtypes(void **state) {
    (void)state;
    elm_dtype d;
    for (uint32_t i = 0; i < ELM_N_DTYPES; i++) {
        assert_true(elm_dtype_parse(elm_dtype_get(i)->text, &d));
        assert_int_equal(d, i);
    }
    assert_null(elm_dtype_get(ELM_N_DTYPES));
    assert_null(elm_dtype_get(UINT32_MAX));
    assert_false(elm_dtype_parse("int5", &d));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes), cmocka_unit_test(test_shapes_that_are_refused),
        cmocka_unit_test(test_places), cmocka_unit_test(test_elements),
        cmocka_unit_test(test_dtypes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
