/* Every source type to float32: values worked out by hand, and blocks frozen from gguf-py's
 * dequantize (Q1_0 and Q2_0, which it lacks: ggml's). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "parse/dequant.h"

enum { N_BLOCKS = 3, MAX_BLOCK_BYTES = 256, MAX_ELEMENTS = 256 };

static const struct {
    elm_source_type type;
    uint32_t seed;
    int halves[2];   /* where the float16 scales lie; -1: none */
    uint32_t crc;    /* of the floats */
    float values[3]; /* the first, number block / 2 + 5, the last */
} frozen[] = {
    {ELM_SOURCE_Q4_0, 2, {0, -1}, 0x29d8d8b7u, {-0x1.da4p-10f, 0x1.0fp-11f, -0x1.cb4p-5f}},
    {ELM_SOURCE_Q4_1, 3, {0, 2}, 0x79fc1828u, {-0x1.97a38p-3f, -0x1.97a38p-3f, -0x1.06558p-6f}},
    {ELM_SOURCE_Q5_0, 6, {0, -1}, 0x5a3765e4u, {0x1.4f4p-3f, 0x1.4f4p-2f, 0x1.e29p-2f}},
    {ELM_SOURCE_Q5_1, 7, {0, 2}, 0x1bd193b1u, {-0x1.92a1e4p-2f, -0x1.92dd54p-2f, 0x1.609bap-4f}},
    {ELM_SOURCE_Q8_0, 8, {0, -1}, 0x9d047bd1u, {-0x1.531p-7f, -0x1.dabp-5f, 0x1.80528p+2f}},
    {ELM_SOURCE_Q2_K, 10, {80, 82}, 0xa5fa8cfcu, {-0x1.764p-8f, -0x1.f3p-10f, -0x1.f4a8a8p+2f}},
    {ELM_SOURCE_Q3_K, 11, {108, -1}, 0xc2364f5cu, {-0x1.0bf8p+5f, 0x1.c78cp+5f, 0x1.3dbp+1f}},
    {ELM_SOURCE_Q4_K, 12, {0, 2}, 0xdfbf81f1u, {0x1.c47cp+2f, -0x1.0ccp-3f, 0x1.e36e4p-1f}},
    {ELM_SOURCE_Q5_K, 13, {0, 2}, 0x306130e6u, {-0x1.f34868p+1f, -0x1.0b2e02p+2f, -0x1.25418p-7f}},
    {ELM_SOURCE_Q6_K, 14, {208, -1}, 0x4cb98482u, {-0x1.2fce6p+6f, -0x1.0c3p+1f, 0x1.2fcp+5f}},
    {ELM_SOURCE_IQ4_NL, 20, {0, -1}, 0xe43a7b65u, {-0x1.030dp+3f, 0x1.15c7p+3f, 0x1.05fcp+3f}},
    {ELM_SOURCE_IQ4_XS, 23, {0, -1}, 0xd03fd4afu, {0x1.48c5p+6f, 0.0f, -0x1.6206p+4f}},
    {ELM_SOURCE_TQ1_0, 34, {52, -1}, 0x4e63ae78u, {0x1.aa8p-12f, -0x1.aa8p-12f, -0x1.9a8p-12f}},
    {ELM_SOURCE_TQ2_0, 35, {64, -1}, 0x34b98999u, {0x1.09cp-1f, -0x1.09cp+0f, -0x1.a84p-2f}},
    {ELM_SOURCE_MXFP4, 39, {-1, -1}, 0xdb47839cu, {0.0f, -0x1p-64f, -0x1.8p+100f}},
    {ELM_SOURCE_Q1_0, 41, {0, -1}, 0xfaf6dc7du, {0x1.9p-10f, -0x1.9p-10f, 0x1.a54p-3f}},
    {ELM_SOURCE_Q2_0, 42, {0, -1}, 0xa8ef520eu, {0x1.5p-3f, 0x1.5p-3f, 0x1.1c4p-14f}},
};

static void blocks_equal_gguf_py(void **state) {
    (void)state;
    for (size_t f = 0; f < sizeof frozen / sizeof frozen[0]; f++) {
        const elm_source_type_info *info = elm_source_type_get(frozen[f].type);
        uint8_t bytes[N_BLOCKS * MAX_BLOCK_BYTES];
        float out[N_BLOCKS * MAX_ELEMENTS];
        size_t n = N_BLOCKS * info->block_elements;
        uint32_t seed = frozen[f].seed + 1;
        for (size_t i = 0; i < N_BLOCKS * info->block_bytes; i++) {
            seed = seed * 1664525u + 1013904223u;
            bytes[i] = (uint8_t)(seed >> 24);
        }
        for (size_t b = 0; b < N_BLOCKS; b++) {
            for (int h = 0; h < 2 && frozen[f].halves[h] >= 0; h++) {
                bytes[b * info->block_bytes + (size_t)frozen[f].halves[h] + 1] &= 0xbf; /* finite */
            }
        }
        elm_dequantize(frozen[f].type, bytes, N_BLOCKS, out);
        assert_true(out[0] == frozen[f].values[0]);
        assert_true(out[info->block_elements / 2 + 5] == frozen[f].values[1]);
        assert_true(out[n - 1] == frozen[f].values[2]);
        uint32_t crc = elm_crc32c(0, out, n * sizeof *out);
        if (crc != frozen[f].crc) fail_msg("%s: other floats than gguf-py's", info->text);
    }
}

/* Weight by weight the same, bit for bit but for the sign of zero. */
static void integers_times_a_scale_fit_q8_0(void **state) {
    (void)state;
    uint32_t n_types = 0, seed = 7;
    for (int t = 0; t < ELM_N_SOURCE_TYPES; t++) {
        elm_source_type type = (elm_source_type)t;
        const elm_source_type_info *info = elm_source_type_get(type);
        uint8_t bytes[N_BLOCKS * MAX_BLOCK_BYTES], q8[N_BLOCKS * MAX_ELEMENTS / 32 * 34];
        float direct[N_BLOCKS * MAX_ELEMENTS], through[N_BLOCKS * MAX_ELEMENTS];
        if (!elm_source_fits_q8_0(type)) continue;
        n_types++;
        for (size_t i = 0; i < N_BLOCKS * info->block_bytes; i++) {
            seed = seed * 1664525u + 1013904223u;
            bytes[i] = (uint8_t)(seed >> 24) & 0xbf; /* finite scales */
        }
        size_t n = N_BLOCKS * info->block_elements;
        elm_dequantize(type, bytes, N_BLOCKS, direct);
        elm_blocks_as_q8_0(type, bytes, N_BLOCKS, q8);
        elm_dequantize(ELM_SOURCE_Q8_0, q8, n / 32, through);
        for (size_t i = 0; i < n; i++) assert_true(direct[i] == through[i]);
    }
    assert_int_equal(n_types, 6); /* Q5_0 IQ4_NL TQ1_0 TQ2_0 Q1_0 Q2_0 */
}

static void the_sizes_are_ggmls(void **state) {
    (void)state;
    const uint64_t k[2] = {3, 512}, odd[2] = {3, 500}, big[3] = {UINT64_MAX, 2, 256},
                   empty[2] = {0, 256};
    assert_int_equal(elm_source_bytes(ELM_SOURCE_Q4_0, 2, k), 3 * 16 * 18);
    assert_int_equal(elm_source_bytes(ELM_SOURCE_Q8_0, 2, k), 3 * 16 * 34);
    assert_int_equal(elm_source_bytes(ELM_SOURCE_Q2_K, 2, k), 3 * 2 * 84);
    assert_int_equal(elm_source_bytes(ELM_SOURCE_Q3_K, 2, k), 3 * 2 * 110);
    assert_int_equal(elm_source_bytes(ELM_SOURCE_Q6_K, 2, k), 3 * 2 * 210);
    assert_int_equal(elm_source_bytes(ELM_SOURCE_IQ4_XS, 2, k), 3 * 2 * 136);
    assert_int_equal(elm_source_bytes(ELM_SOURCE_MXFP4, 2, k), 3 * 16 * 17);
    assert_int_equal(elm_source_bytes(ELM_SOURCE_BF16, 2, odd), 3 * 500 * 2);
    assert_int_equal(elm_source_bytes(ELM_SOURCE_F64, 0, NULL), 8);
    assert_int_equal(elm_source_bytes(ELM_SOURCE_Q4_0, 2, odd), 0);
    assert_int_equal(elm_source_bytes(ELM_SOURCE_F32, 3, big), 0);
    assert_int_equal(elm_source_bytes(ELM_SOURCE_F32, 2, empty), 0);
}

static float one(elm_source_type type, const void *bytes) {
    float out = 0.0f;
    elm_dequantize(type, bytes, 1, &out);
    return out;
}

static void plain_elements(void **state) {
    (void)state;
    assert_true(one(ELM_SOURCE_F32, "\x00\x00\xc0\xbf") == -1.5f);
    assert_true(one(ELM_SOURCE_F16, "\x00\xbe") == -1.5f);
    assert_true(one(ELM_SOURCE_F16, "\x01\x00") == 0x1p-24f);
    assert_true(one(ELM_SOURCE_BF16, "\xc0\xbf") == -1.5f);
    assert_true(one(ELM_SOURCE_F64, "\x00\x00\x00\x00\x00\x00\xf8\xbf") == -1.5f);
    assert_true(one(ELM_SOURCE_I32, "\xfe\xff\xff\xff") == -2.0f);
    assert_true(one(ELM_SOURCE_I64, "\xfe\xff\xff\xff\xff\xff\xff\xff") == -2.0f);
    assert_true(one(ELM_SOURCE_U8, "\xff") == 255.0f);
    assert_true(one(ELM_SOURCE_BOOL, "\x01") == 1.0f);
    /* E4M3: 0 1111 110 = 448, 0 0000 001 = 2^-9, no infinity */
    assert_true(one(ELM_SOURCE_F8_E4M3, "\x7e") == 448.0f);
    assert_true(one(ELM_SOURCE_F8_E4M3, "\x81") == -0x1p-9f);
    assert_true(one(ELM_SOURCE_F8_E4M3, "\x38") == 1.0f);
    assert_true(isnan(one(ELM_SOURCE_F8_E4M3, "\xff")));
    /* E5M2: 0 11110 11 = 57344, 1 11111 00 = -infinity */
    assert_true(one(ELM_SOURCE_F8_E5M2, "\x7b") == 57344.0f);
    assert_true(one(ELM_SOURCE_F8_E5M2, "\xfc") == -(float)INFINITY);
}

/* d = 0.5 (0x3800) in all. */
static void blocks_by_hand(void **state) {
    (void)state;
    uint8_t b[256] = {0x00, 0x38};
    float out[256];
    b[2] = 0xf1; /* element 0: 1 - 8, element 16: 15 - 8 */
    elm_dequantize(ELM_SOURCE_Q4_0, b, 1, out);
    assert_true(out[0] == -3.5f && out[16] == 3.5f && out[1] == -4.0f);
    b[2] = 0x80;
    elm_dequantize(ELM_SOURCE_Q8_0, b, 1, out);
    assert_true(out[0] == -64.0f && out[1] == 0.0f);
    /* Q5_0: fifth bit of element 1 and of element 17; codes 16 | 2 and 16 | 3 */
    memset(b + 2, 0, sizeof b - 2);
    b[2] = 0x02, b[4] = 0x02, b[7] = 0x32;
    elm_dequantize(ELM_SOURCE_Q5_0, b, 1, out);
    assert_true(out[1] == 1.0f && out[17] == 1.5f && out[0] == -8.0f);
    /* Q4_K: sub-block 0 scale 3, minimum 2, dmin = 0.25; code 5 */
    memset(b, 0, sizeof b);
    b[1] = 0x38, b[3] = 0x34, b[4] = 3, b[8] = 2, b[16] = 0x05;
    elm_dequantize(ELM_SOURCE_Q4_K, b, 1, out);
    assert_true(out[0] == 0.5f * 3.0f * 5.0f - 0.25f * 2.0f && out[1] == -0.5f && out[32] == 0.0f);
    /* Q6_K: scale -2 of sub-block 0, code 0x3f of element 0 */
    memset(b, 0, sizeof b);
    b[209] = 0x38, b[192] = 0xfe, b[0] = 0x0f, b[128] = 0x03;
    elm_dequantize(ELM_SOURCE_Q6_K, b, 1, out);
    assert_true(out[0] == 0.5f * -2.0f * 31.0f && out[1] == 32.0f && out[16] == 0.0f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_equal_gguf_py), cmocka_unit_test(integers_times_a_scale_fit_q8_0),
        cmocka_unit_test(the_sizes_are_ggmls),  cmocka_unit_test(plain_elements),
        cmocka_unit_test(blocks_by_hand),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
