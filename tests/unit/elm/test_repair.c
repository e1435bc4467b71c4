/* Mending from another copy: what is damaged is mended, what is intact is not touched, and a run
 * that is cut off makes nothing worse. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "elm/product.h"
#include "elm/repair.h"
#include "fault_io.h"
#include "soak.h"
#include "tiny_elm.h"

#define PATH "m.elm"
#define GOOD "good.elm"

static uint8_t *good;
static size_t n_good;

static void setup(fault_io *fs) {
    size_t size;
    bool written;
    elm_new_product p = {
        .target = "cpu:a", .record = elm_span_str("{}"), .blob = elm_span_str("a blob")};
    fault_io_init(fs);
    assert_int_equal(tiny_write(&fs->platform, GOOD, NULL), ELM_OK);
    assert_int_equal(elm_product_add(&fs->platform, GOOD, &p, &written, NULL), ELM_OK);
    const uint8_t *file = fault_io_get(fs, GOOD, &size);
    good = realloc(good, size);
    assert_non_null(good);
    memcpy(good, file, size);
    n_good = size;
    fault_io_put(fs, PATH, good, size);
}

static elm_status mend(fault_io *fs, elm_repair_result *r, elm_error *err) {
    elm_container other;
    elm_status status = elm_container_open(&fs->platform, GOOD, &other, err);
    if (status == ELM_OK) status = elm_repair(&fs->platform, PATH, &other, NULL, NULL, r, err);
    elm_container_close(&other);
    return status;
}

static bool is_good(fault_io *fs) {
    size_t size;
    const uint8_t *p = fault_io_get(fs, PATH, &size);
    return p && size == n_good && memcmp(p, good, size) == 0;
}

static void mends_whatever_is_damaged(void **state) {
    uint64_t seed = 7;
    (void)state;
    for (uint32_t round = 0; round < soak(2000, 200); round++) {
        fault_io fs;
        elm_repair_result r;
        elm_error err = {.message = ""};
        size_t size;
        setup(&fs);
        uint8_t *file = fault_io_get(&fs, PATH, &size);
        for (uint32_t i = 0; i < 1 + round % 5; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            file[(seed >> 20) % size] ^= (uint8_t)(1u << (seed >> 17 & 7));
        }
        if (mend(&fs, &r, &err) != ELM_OK) fail_msg("round %u: %s", round, err.message);
        /* A slot beside a good one is emptied, not copied. */
        uint8_t *now = fault_io_get(&fs, PATH, &size);
        if (elm_bytes_are_zero(now, ELM_SLOT_BYTES)) memcpy(now, good, ELM_SLOT_BYTES);
        assert_true(is_good(&fs));
        fault_io_free(&fs);
    }
}

static void leaves_an_intact_file_alone(void **state) {
    fault_io fs;
    elm_repair_result r;
    (void)state;
    setup(&fs);
    uint32_t writes = fs.counts[FAULT_WRITE];
    assert_int_equal(mend(&fs, &r, NULL), ELM_OK);
    assert_int_equal(fs.counts[FAULT_WRITE], writes);
    assert_int_equal(r.n_damaged, 0);
    assert_true(is_good(&fs));
    fault_io_free(&fs);
}

static void brings_back_a_lost_header_or_end(void **state) {
    (void)state;
    for (int variant = 0; variant < 4; variant++) {
        fault_io fs;
        elm_repair_result r;
        size_t size;
        setup(&fs);
        uint8_t *file = fault_io_get(&fs, PATH, &size);
        if (variant == 0) memset(file, 0, 65536);
        if (variant == 1) memset(file + size - 100, 0xee, 100); /* the TOC of generation 2 */
        if (variant == 2) memset(file, 0xff, 2 * ELM_SLOT_BYTES);
        if (variant == 3) fault_io_put(&fs, PATH, good, size - 70000);
        assert_int_equal(mend(&fs, &r, NULL), ELM_OK);
        assert_true(is_good(&fs));
        assert_true(r.header_restored);
        fault_io_free(&fs);
    }
}

static void refuses_another_model(void **state) {
    fault_io fs;
    elm_repair_result r;
    elm_error err;
    size_t size;
    (void)state;
    setup(&fs);
    uint8_t *file = fault_io_get(&fs, PATH, &size);
    for (size_t i = 0; i < size; i++) file[i] = (uint8_t)(i * 31 >> 3);
    uint32_t writes = fs.counts[FAULT_WRITE];
    assert_int_equal(mend(&fs, &r, &err), ELM_MALFORMED);
    assert_non_null(strstr(err.message, "no copy"));
    assert_int_equal(fs.counts[FAULT_WRITE], writes);
    fault_io_free(&fs);
}

/* Damaged at the same place in both: said so, and the rest is mended. */
static void says_what_is_left(void **state) {
    fault_io fs;
    elm_container c;
    elm_repair_result r;
    elm_error err;
    size_t size;
    (void)state;
    setup(&fs);
    assert_int_equal(elm_container_open(&fs.platform, GOOD, &c, NULL), ELM_OK);
    uint64_t weights = elm_container_find(&c, ELM_SECTION_WEIGHTS)->offset,
             graph = elm_container_find(&c, ELM_SECTION_GRAPH)->offset;
    elm_container_close(&c);
    uint8_t *file = fault_io_get(&fs, PATH, &size), *other = fault_io_get(&fs, GOOD, &size);
    file[weights] ^= 1;
    file[graph] ^= 1;
    other[weights] ^= 2;
    assert_int_equal(mend(&fs, &r, &err), ELM_MALFORMED);
    assert_int_equal(r.n_damaged, 2);
    assert_int_equal(r.n_mended, 1);
    assert_non_null(strstr(err.message, "third copy"));
    file = fault_io_get(&fs, PATH, &size);
    assert_int_equal(file[graph], good[graph]);
    fault_io_free(&fs);
}

static void survives_every_fault(void **state) {
    (void)state;
    for (int stays = 0; stays < 2; stays++) {
        for (uint32_t at = 1;; at++) {
            fault_io fs;
            elm_repair_result r;
            size_t size;
            setup(&fs);
            uint8_t *file = fault_io_get(&fs, PATH, &size);
            for (size_t i = 66000; i < size - 70000; i += 50000) file[i] ^= 0x20;
            fault_io_plan(&fs, FAULT_ANY, at, EIO, stays);
            elm_status status = mend(&fs, &r, NULL);
            uint32_t n_calls = fs.counts[FAULT_ANY];
            fault_io_plan(&fs, FAULT_NONE, 0, 0, false);
            assert_int_equal(fs.n_open, 0);
            if (status != ELM_OK) assert_int_equal(mend(&fs, &r, NULL), ELM_OK);
            assert_true(is_good(&fs));
            fault_io_free(&fs);
            if (n_calls < at) break;
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mends_whatever_is_damaged),
        cmocka_unit_test(leaves_an_intact_file_alone),
        cmocka_unit_test(brings_back_a_lost_header_or_end),
        cmocka_unit_test(refuses_another_model),
        cmocka_unit_test(says_what_is_left),
        cmocka_unit_test(survives_every_fault),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(good);
    return failed;
}
