/* test_encoding.c - half floats over all their values, UTF-8 over all code points, hashes against
 * published vectors, sorting. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/f16.h"
#include "base/hash.h"
#include "base/sort.h"
#include "base/utf8.h"

/* The value of a half by its definition, in double: sign (1 + m/1024) 2^(e-15), subnormals m 2^-24.
 */
static double half_value(uint16_t h) {
    int e = h >> 10 & 31, m = h & 1023;
    double x = e == 31 ? (m ? (double)NAN : (double)INFINITY)
               : e     ? ldexp(1024 + m, e - 25)
                       : ldexp(m, -24);
    return h & 0x8000 ? -x : x;
}

static void test_every_half(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        double want = half_value((uint16_t)h);
        float got = elm_f32_from_f16((uint16_t)h);
        if (isnan(want)) {
            assert_true(isnan(got));
            assert_true(isnan(elm_f32_from_f16(elm_f16_from_f32(got))));
            continue;
        }
        assert_true((double)got == want && (elm_f32_bits(got) >> 31) == h >> 15);
        assert_int_equal(elm_f16_from_f32(got), h);
    }
}

/* Between any two neighbouring halves: below the middle goes down, above goes up, the middle to
 * even. */
static void test_halves_round_to_nearest_even(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 0x7bff; h++) {
        double low = half_value((uint16_t)h), high = half_value((uint16_t)(h + 1));
        float middle = (float)((low + high) / 2); /* exact: one bit more than a half */
        uint16_t even = (uint16_t)(h & 1 ? h + 1 : h);
        assert_int_equal(elm_f16_from_f32(middle), even);
        assert_int_equal(elm_f16_from_f32(nextafterf(middle, -INFINITY)), h);
        assert_int_equal(elm_f16_from_f32(nextafterf(middle, INFINITY)), h + 1);
        assert_int_equal(elm_f16_from_f32(-middle), even | 0x8000);
    }
    assert_int_equal(elm_f16_from_f32(65519.996f), 0x7bff);
    assert_int_equal(elm_f16_from_f32(65520.0f), 0x7c00);
    assert_int_equal(elm_f16_from_f32(INFINITY), 0x7c00);
    assert_int_equal(elm_f16_from_f32(-3e38f), 0xfc00);
    assert_int_equal(elm_f16_from_f32(1e-45f), 0);
}

static void test_bfloat16(void **state) {
    (void)state;
    for (uint32_t h = 0; h < 65536; h++) {
        float f = elm_f32_from_bf16((uint16_t)h);
        if (isnan(f))
            assert_true(isnan(elm_f32_from_bf16(elm_bf16_from_f32(f))));
        else
            assert_int_equal(elm_bf16_from_f32(f), h);
        if (h % 0x8000 >= 0x7f7f) continue;
        float middle = elm_f32_from_bits(h << 16 | 0x8000);
        assert_int_equal(elm_bf16_from_f32(middle), h & 1 ? h + 1 : h);
        assert_int_equal(elm_bf16_from_f32(elm_f32_from_bits((h << 16 | 0x8000) - 1)), h);
        assert_int_equal(elm_bf16_from_f32(elm_f32_from_bits((h << 16 | 0x8000) + 1)), h + 1);
    }
    assert_true(isnan(elm_f32_from_bf16(elm_bf16_from_f32(elm_f32_from_bits(0x7f800001)))));
}

static void test_every_code_point(void **state) {
    (void)state;
    for (uint32_t c = 0; c < 0x110000; c++) {
        uint8_t b[4];
        uint32_t back = 0;
        int n = elm_utf8_encode(c, b);
        bool surrogate = c >= 0xd800 && c <= 0xdfff;
        assert_int_equal(elm_utf8_decode(elm_span_of(b, (size_t)n), &back), surrogate ? -1 : n);
        if (surrogate) continue;
        assert_int_equal(back, c);
        for (int cut = 0; cut < n; cut++)
            assert_int_equal(elm_utf8_decode(elm_span_of(b, (size_t)cut), &back), 0);
    }
}

/* Of all pairs of bytes exactly those of the table in RFC 3629 begin or are a character. */
static void test_every_pair_of_bytes(void **state) {
    (void)state;
    for (uint32_t a = 0x80; a < 256; a++) {
        for (uint32_t b = 0; b < 256; b++) {
            uint8_t pair[2] = {(uint8_t)a, (uint8_t)b};
            uint32_t c;
            bool tail = b >= 0x80 && b <= 0xbf;
            int want = -1;
            if (a >= 0xc2 && a <= 0xdf && tail) want = 2;
            if (a >= 0xe0 && a <= 0xef && tail && !(a == 0xe0 && b < 0xa0) &&
                !(a == 0xed && b > 0x9f))
                want = 0;
            if (a >= 0xf0 && a <= 0xf4 && tail && !(a == 0xf0 && b < 0x90) &&
                !(a == 0xf4 && b > 0x8f))
                want = 0;
            assert_int_equal(elm_utf8_decode(elm_span_of(pair, 2), &c), want);
        }
    }
}

static void test_valid_prefix(void **state) {
    (void)state;
    static const struct {
        const char *text;
        size_t n;
    } cases[] = {{"", 0},
                 {"abc", 3},
                 {"a\xc3\xa9z", 4},
                 {"ab\xff"
                  "c",
                  2},
                 {"ab\xc3", 2},
                 {"\xf0\x9f\x8e", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(elm_utf8_valid_prefix(elm_span_str(cases[i].text)), cases[i].n);
}

static void test_crc32c(void **state) {
    (void)state;
    uint8_t b[4096];
    assert_int_equal(elm_crc32c(0, "123456789", 9), 0xe3069283);
    memset(b, 0, 32); /* RFC 3720, B.4 */
    assert_int_equal(elm_crc32c(0, b, 32), 0x8a9136aa);
    memset(b, 0xff, 32);
    assert_int_equal(elm_crc32c(0, b, 32), 0x62a8ab43);
    for (uint8_t i = 0; i < 32; i++) b[i] = i;
    assert_int_equal(elm_crc32c(0, b, 32), 0x46dd794e);
    /* The table and the instruction, any alignment, any split: bit by bit is the definition. */
    for (size_t i = 0; i < sizeof b; i++) b[i] = (uint8_t)(i * 31 + i / 256);
    for (size_t n = 0; n < 700; n += 13) {
        uint32_t slow = 0xffffffff;
        for (size_t i = 0; i < n; i++) {
            slow ^= b[i + n % 8];
            for (int k = 0; k < 8; k++) slow = slow >> 1 ^ (slow & 1 ? 0x82f63b78 : 0);
        }
        assert_int_equal(elm_crc32c(0, b + n % 8, n), ~slow);
        assert_int_equal(elm_crc32c(elm_crc32c(0, b + n % 8, n / 3), b + n % 8 + n / 3, n - n / 3),
                         ~slow);
    }
}

static void sha_hex(const void *data, size_t n, size_t step, char out[65]) {
    elm_sha256 h;
    uint8_t digest[32];
    elm_sha256_init(&h);
    for (size_t at = 0; at < n; at += step)
        elm_sha256_update(&h, (const uint8_t *)data + at, n - at < step ? n - at : step);
    elm_sha256_final(&h, digest);
    for (int i = 0; i < 32; i++) sprintf(out + 2 * i, "%02x", digest[i]);
}

static void test_sha256(void **state) {
    (void)state;
    char hex[65];
    sha_hex("", 0, 1, hex); /* FIPS 180-4 examples */
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    sha_hex("abc", 3, 1, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    sha_hex("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56, 5, hex);
    assert_string_equal(hex, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    char *million = malloc(1000000);
    memset(million, 'a', 1000000);
    for (size_t step = 1000000; step > 60; step /= 17) {
        sha_hex(million, 1000000, step, hex);
        assert_string_equal(hex,
                            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    }
    free(million);
}

static int compare_ints(const void *a, const void *b) {
    int x = *(const int *)a, y = *(const int *)b;
    return (x > y) - (x < y);
}

static void test_heap_sort(void **state) {
    (void)state;
    for (size_t n = 0; n < 200; n++) {
        int got[200], want[200];
        for (int pattern = 0; pattern < 4; pattern++) {
            for (size_t i = 0; i < n; i++)
                got[i] = want[i] = pattern == 0   ? (int)i
                                   : pattern == 1 ? -(int)i
                                   : pattern == 2 ? 7
                                                  : rand() % 50;
            elm_heap_sort(got, n, sizeof got[0], compare_ints);
            if (n > 0) qsort(want, n, sizeof want[0], compare_ints);
            assert_memory_equal(got, want, n * sizeof got[0]);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_half),
        cmocka_unit_test(test_halves_round_to_nearest_even),
        cmocka_unit_test(test_bfloat16),
        cmocka_unit_test(test_every_code_point),
        cmocka_unit_test(test_every_pair_of_bytes),
        cmocka_unit_test(test_valid_prefix),
        cmocka_unit_test(test_crc32c),
        cmocka_unit_test(test_sha256),
        cmocka_unit_test(test_heap_sort),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
