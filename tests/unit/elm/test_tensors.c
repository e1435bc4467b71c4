/* The tensor table: every number that can be wrong under right checksums; sorting. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/sort.h"
#include "fault_io.h"
#include "tiny_elm.h"

#define PATH "m.elm"

enum {
    TABLE = 4,
    RECORD = sizeof(elm_disk_tensor)
}; /* index of the TENSORS section in the tiny file */

static fault_io fs;
static uint8_t *bytes;
static size_t n_bytes;
static uint64_t table_at;

static int setup(void **state) {
    (void)state;
    fault_io_init(&fs);
    if (tiny_write(&fs.platform, PATH, NULL) != ELM_OK) return -1;
    const uint8_t *file = fault_io_get(&fs, PATH, &n_bytes);
    bytes = malloc(n_bytes);
    memcpy(bytes, file, n_bytes);
    const uint8_t *toc = bytes + tiny_get_le(bytes + 24, 8);
    const uint8_t *record = toc + sizeof(elm_disk_toc) + TABLE * sizeof(elm_disk_section);
    if (tiny_get_le(record, 4) != ELM_SECTION_TENSORS) return -1;
    table_at = tiny_get_le(record + 8, 8);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    free(bytes);
    fault_io_free(&fs);
    return 0;
}

static uint8_t *fresh_table(void) {
    size_t size;
    fault_io_put(&fs, PATH, bytes, n_bytes);
    return fault_io_get(&fs, PATH, &size) + table_at;
}

static elm_status read_tensors(elm_error *err) {
    elm_container c;
    elm_tensor *tensors;
    uint32_t n;
    size_t size;
    uint8_t *file = fault_io_get(&fs, PATH, &size);
    tiny_repair_section(file, size, TABLE);
    memset(err, 0, sizeof *err);
    elm_status status = elm_container_open(&fs.platform, PATH, &c, err);
    if (status == ELM_OK) {
        status = elm_container_tensors(&c, &tensors, &n, err);
        if (status != ELM_OK) assert_true(!tensors && n == 0);
    }
    elm_container_close(&c);
    return status;
}

/* Tensors: 0 norm f32 [37], 1 attn.q int4, 2 mlp.up int8z, 3 embed f16 P16, 4 ids i32 [2][2][4][4],
 * 5 tail f32. */
static const struct tensor_case {
    uint32_t tensor;
    size_t at, n;
    uint64_t value;
    const char *words; /* NULL: accepted */
} cases[] = {
    {0, 0, 4, 1, "name"},
    {0, 0, 4, UINT32_MAX, "name"},
    {0, 4, 2, 0, "name"},
    {0, 4, 2, 65535, "name"},
    {1, 0, 4, 0, "name"},
    {5, 4, 2, 3, "names"}, /* a byte of the names that nobody owns */
    {0, 6, 1, 9, "type"},
    {0, 6, 1, 3, "shape"}, /* quantised rows */
    {1, 6, 1, 7, "shape"}, /* integers in P16 */
    {1, 6, 1, 3, "size"},
    {0, 7, 1, 1, "shape"},
    {0, 7, 1, 2, "layout"},
    {0, 8, 1, 0, "shape"},
    {0, 8, 1, 2, "shape"},
    {0, 8, 1, 5, "shape"},
    {1, 8, 1, 1, "shape"},
    {0, 9, 1, 1, "reserved"},
    {0, 11, 1, 1, "reserved"},
    {0, 36, 4, 1, "reserved"},
    {0, 12, 4, 0, "shape"},
    {0, 12, 4, 38, "size"},
    {0, 12, 4, 1u << 31, "shape"},
    {0, 16, 4, 1, "unused"},
    {4, 24, 4, 1u << 30, "size"},
    {1, 12, 4, 33, "size"},
    {1, 12, 4, 1u << 30, "size"},
    {1, 16, 4, 97, "size"},
    {1, 16, 4, 96, NULL}, /* the same planes */
    {0, 28, 4, 32, "shape"},
    {1, 28, 4, 0, "shape"},
    {1, 28, 4, 33, "shape"},
    {1, 28, 4, 96, "size"},
    {1, 28, 4, UINT32_MAX, "shape"},
    {0, 32, 4, 1, "exponent"},
    {1, 32, 4, 127, "exponent"},
    {1, 32, 4, 0x80000000u, "exponent"},
    {1, 32, 4, (uint32_t)-126, NULL},
    {1, 40, 8, 0, "overlap"},
    {1, 40, 8, 64, "aligned"},
    {1, 40, 8, 1 << 30, "outside"},
    {1, 40, 8, UINT64_MAX - 16383, "outside"},
    {1, 48, 8, 0, "size"},
    {1, 48, 8, UINT64_MAX, "size"},
    {1, 56, 8, 1, "aligned"},
    {1, 64, 8, 64, "size"},
    {1, 72, 8, 64, "empty plane"},
    {1, 80, 8, 64, "size"},
    {0, 40, 8, 32, "aligned"},
    {0, 56, 8, 64, "empty plane"},
    {3, 64, 8, 2, "size"},
};

static void refuses_wrong_records(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct tensor_case *t = &cases[i];
        elm_error err;
        tiny_put_le(fresh_table() + 8 + t->tensor * RECORD + t->at, t->value, t->n);
        elm_status status = read_tensors(&err);
        if (status != (t->words ? ELM_MALFORMED : ELM_OK) ||
            (t->words && !strstr(err.message, t->words))) {
            fail_msg("case %zu: %s, '%s'", i, elm_status_name(status), err.message);
        }
    }
}

static void refuses_wrong_heads(void **state) {
    static const struct {
        size_t at;
        uint32_t value;
    } rows[] = {{0, 7},          {0, 5},  {0, 0}, {0, (1 << 20) + 1},
                {0, UINT32_MAX}, {4, 87}, {4, 0}, {4, UINT32_MAX}};
    elm_error err;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        tiny_put_le(fresh_table() + rows[i].at, rows[i].value, 4);
        assert_int_equal(read_tensors(&err), ELM_MALFORMED);
    }
}

static void refuses_wrong_names(void **state) {
    elm_error err;
    (void)state;
    uint8_t *names =
        fresh_table() + 8 + TINY_N_TENSORS * RECORD; /* "normattn.qmlp.upembedidstail" */
    assert_memory_equal(names, "normattn.q", 10);
    memcpy(names + 4, "mlp.up", 6);
    assert_int_equal(read_tensors(&err), ELM_MALFORMED);
    assert_non_null(strstr(err.message, "two tensors are called 'mlp.up'"));
    static const uint8_t bad[] = {0, '\n', 0x1b, 0x7f, 0x80, 0xff};
    for (size_t i = 0; i < sizeof bad; i++) {
        names = fresh_table() + 8 + TINY_N_TENSORS * RECORD;
        names[5] = bad[i];
        assert_int_equal(read_tensors(&err), ELM_MALFORMED);
        assert_non_null(strstr(err.message, "name"));
    }
}

static void needs_its_sections(void **state) {
    static const elm_section_type missing[] = {ELM_SECTION_TENSORS, ELM_SECTION_WEIGHTS};
    elm_error err;
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        uint8_t *file = fresh_table() - table_at;
        uint8_t *toc = file + tiny_get_le(file + 24, 8);
        uint8_t *record =
            toc + sizeof(elm_disk_toc) + (i == 0 ? TABLE : TABLE - 1) * sizeof(elm_disk_section);
        assert_int_equal(tiny_get_le(record, 4), missing[i]);
        tiny_put_le(record, 1000, 4); /* unknown, need not be understood */
        tiny_put_le(record + 4, 0, 4);
        assert_int_equal(read_tensors(&err), ELM_MALFORMED);
        assert_non_null(strstr(err.message, elm_section_text(missing[i])));
    }
}

/* Damage in the table is found before any number of it is believed. */
static void checks_before_it_reads(void **state) {
    elm_container c;
    elm_tensor *tensors;
    uint32_t n;
    elm_error err;
    (void)state;
    fresh_table()[8 + 12] ^= 1;
    assert_int_equal(elm_container_open(&fs.platform, PATH, &c, NULL), ELM_OK);
    assert_int_equal(elm_container_tensors(&c, &tensors, &n, &err), ELM_MALFORMED);
    assert_non_null(strstr(err.message, "section tensors, chunk 0"));
    elm_container_close(&c);
}

static int ascending(const void *a, const void *b) {
    uint32_t x, y;
    memcpy(&x, a, 4);
    memcpy(&y, b, 4);
    return (x > y) - (x < y);
}

static void sorts(void **state) {
    uint32_t values[257], seed = 1;
    (void)state;
    for (size_t n = 0; n <= 257; n++) {
        uint64_t sum = 0, sorted_sum = 0;
        for (size_t i = 0; i < n; i++) {
            seed = seed * 1664525u + 1013904223u;
            values[i] = n % 3 == 0 ? seed >> 28 : n % 3 == 1 ? (uint32_t)i : seed;
            sum += values[i];
        }
        elm_heap_sort(values, n, sizeof values[0], ascending);
        for (size_t i = 0; i < n; i++) {
            if (i > 0) assert_true(values[i - 1] <= values[i]);
            sorted_sum += values[i];
        }
        assert_int_equal(sum, sorted_sum);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_wrong_records),  cmocka_unit_test(refuses_wrong_heads),
        cmocka_unit_test(refuses_wrong_names),    cmocka_unit_test(needs_its_sections),
        cmocka_unit_test(checks_before_it_reads), cmocka_unit_test(sorts),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
