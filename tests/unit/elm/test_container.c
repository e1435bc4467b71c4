/* Opening: slots, the table of contents, truncation, lazy checks. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>

#include "fault_io.h"
#include "soak.h"
#include "tiny_elm.h"

#define PATH "m.elm"

static fault_io fs;
static uint8_t *bytes; /* of the intact file */
static size_t n_bytes;
static uint64_t toc_at, n_toc;

static int setup(void **state) {
    (void)state;
    fault_io_init(&fs);
    if (tiny_write(&fs.platform, PATH, NULL) != ELM_OK) return -1;
    const uint8_t *file = fault_io_get(&fs, PATH, &n_bytes);
    bytes = malloc(n_bytes);
    memcpy(bytes, file, n_bytes);
    toc_at = tiny_get_le(bytes + 24, 8);
    n_toc = tiny_get_le(bytes + 32, 8);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    free(bytes);
    fault_io_free(&fs);
    return 0;
}

/* The intact bytes again, to be changed in place. */
static uint8_t *fresh(void) {
    size_t size;
    fault_io_put(&fs, PATH, bytes, n_bytes);
    return fault_io_get(&fs, PATH, &size);
}

static elm_status open_it(bool *damaged, elm_error *err) {
    elm_container c;
    elm_status status = elm_container_open(&fs.platform, PATH, &c, err);
    if (damaged) *damaged = c.slot_damaged[0] || c.slot_damaged[1];
    elm_container_close(&c);
    return status;
}

static void finds_sections(void **state) {
    elm_container c;
    elm_span span;
    (void)state;
    fresh();
    assert_int_equal(elm_container_open(&fs.platform, PATH, &c, NULL), ELM_OK);
    assert_int_equal(c.generation, 1);
    assert_int_equal(c.n_sections, 6);
    assert_int_equal(c.committed_end, n_bytes);
    assert_false(c.slot_damaged[0] || c.slot_damaged[1]);
    assert_int_equal(elm_container_load(&c, ELM_SECTION_META, &span, NULL), ELM_OK);
    assert_true(
        elm_span_equal(span, elm_span_str("{\"architecture\": \"tiny\", \"vocab_size\": 4}")));
    assert_int_equal(elm_container_load(&c, ELM_SECTION_TEMPLATE, &span, NULL), ELM_OK);
    assert_int_equal(span.size, 0);
    assert_string_equal(elm_container_find(&c, ELM_SECTION_PRODUCT)->name, "cpu:test");
    assert_null(elm_container_find(&c, ELM_SECTION_TOKENIZER));
    elm_error err;
    assert_int_equal(elm_container_load(&c, ELM_SECTION_TOKENIZER, &span, &err), ELM_MALFORMED);
    assert_non_null(strstr(err.message, "tokenizer"));
    elm_container_close(&c);
    assert_int_equal(fs.n_open, 0);
}

/* Every single-bit flip of both slots and of the TOC is seen at open. */
static void sees_every_flip(void **state) {
    uint8_t *p = fresh();
    (void)state;
    for (size_t bit = 0; bit < (size_t)ELM_SLOT_BYTES * 8; bit++) {
        p[bit / 8] ^= (uint8_t)(1u << bit % 8);
        elm_status status = open_it(NULL, NULL);
        assert_int_equal(status, ELM_MALFORMED);
        p[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t bit = (size_t)ELM_SLOT_BYTES * 8; bit < (size_t)2 * ELM_SLOT_BYTES * 8; bit++) {
        bool damaged = false;
        p[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(open_it(&damaged, NULL), ELM_OK); /* A is intact */
        assert_true(damaged);
        p[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t bit = toc_at * 8; bit < (toc_at + n_toc) * 8; bit++) {
        p[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_equal(open_it(NULL, NULL), ELM_MALFORMED);
        p[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_int_equal(open_it(NULL, NULL), ELM_OK);
}

static void refuses_every_truncation(void **state) {
    elm_error err;
    (void)state;
    for (size_t size = 0; size < ELM_SECTION_ALIGN; size++) {
        fault_io_put(&fs, PATH, bytes, size);
        assert_int_equal(open_it(NULL, &err), ELM_MALFORMED);
        if (size >= ELM_SLOT_BYTES) assert_non_null(strstr(err.message, "truncated"));
    }
    for (size_t size = toc_at; size < n_bytes; size++) {
        fault_io_put(&fs, PATH, bytes, size);
        assert_int_equal(open_it(NULL, &err), ELM_MALFORMED);
        assert_non_null(strstr(err.message, "truncated"));
    }
    for (size_t size = ELM_SECTION_ALIGN; size < toc_at; size += soak(197, 997)) {
        fault_io_put(&fs, PATH, bytes, size);
        assert_int_equal(open_it(NULL, NULL), ELM_MALFORMED);
    }
}

static void opens_from_the_other_slot(void **state) {
    bool damaged = false;
    uint8_t *p = fresh();
    elm_container c;
    (void)state;
    memcpy(p + ELM_SLOT_BYTES, p, ELM_SLOT_BYTES);
    p[20] ^= 4;
    assert_int_equal(open_it(&damaged, NULL), ELM_OK);
    assert_true(damaged);
    /* Both valid: the higher generation counts, here B's. */
    p = fresh();
    memcpy(p + ELM_SLOT_BYTES, p, ELM_SLOT_BYTES);
    tiny_put_le(p + ELM_SLOT_BYTES + 16, 7, 8);
    tiny_repair_slot(p + ELM_SLOT_BYTES);
    assert_int_equal(elm_container_open(&fs.platform, PATH, &c, NULL), ELM_OK);
    assert_int_equal(c.generation, 7);
    assert_false(c.slot_damaged[0] || c.slot_damaged[1]);
    elm_container_close(&c);
    /* B names a TOC that is not (wholly) there: generation 1 still opens. */
    tiny_put_le(p + ELM_SLOT_BYTES + 24, toc_at + 65536, 8);
    tiny_put_le(p + ELM_SLOT_BYTES + 40, toc_at + 65536 + n_toc, 8);
    tiny_repair_slot(p + ELM_SLOT_BYTES);
    assert_int_equal(elm_container_open(&fs.platform, PATH, &c, NULL), ELM_OK);
    assert_int_equal(c.generation, 1);
    assert_true(!c.slot_damaged[0] && c.slot_damaged[1]);
    elm_container_close(&c);
}

static void refuses_other_versions(void **state) {
    static const struct {
        uint16_t major, minor;
        const char *advice;
    } rows[] = {{0, 0, "convert the model again"},
                {0, 2, "newer edge-llm"},
                {1, 0, "newer edge-llm"},
                {65535, 65535, "newer edge-llm"}};
    elm_error err;
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t *p = fresh();
        tiny_put_le(p + 8, rows[i].major, 2);
        tiny_put_le(p + 10, rows[i].minor, 2);
        tiny_repair_slot(p);
        assert_int_equal(open_it(NULL, &err), ELM_UNSUPPORTED);
        assert_non_null(strstr(err.message, rows[i].advice));
    }
}

static void refuses_what_is_no_elm_file(void **state) {
    elm_error err;
    (void)state;
    fault_io_put(&fs, PATH, "GGUF\3\0\0\0 and so on", 18);
    assert_int_equal(open_it(NULL, &err), ELM_MALFORMED);
    assert_non_null(strstr(err.message, "is a GGUF file"));
    fault_io_put(&fs, PATH, "hello", 5);
    assert_int_equal(open_it(NULL, &err), ELM_MALFORMED);
    assert_non_null(strstr(err.message, "not an .elm file"));
    fault_io_put(&fs, PATH, "", 0);
    assert_int_equal(open_it(NULL, NULL), ELM_MALFORMED);
    uint8_t *p = fresh();
    memset(p, 0, 2 * ELM_SLOT_BYTES);
    assert_int_equal(open_it(NULL, &err), ELM_MALFORMED);
    elm_container c;
    assert_int_equal(elm_container_open(&fs.platform, "absent.elm", &c, &err), ELM_NOT_FOUND);
    elm_container_close(&c);
}

/* Numbers that are wrong under right checksums. */
enum { SECTION = sizeof(elm_disk_toc), NEXT = sizeof(elm_disk_section) };
static const struct toc_case {
    size_t at, n; /* in the TOC */
    uint64_t value;
    elm_status expected;
    const char *words;
} toc_cases[] = {
    {0, 1, 'X', ELM_MALFORMED, "table of contents"},
    {8, 4, 5, ELM_MALFORMED, "size"},
    {8, 4, 257, ELM_MALFORMED, "size"},
    {8, 4, 0xffffffff, ELM_MALFORMED, "size"},
    {12, 4, 127, ELM_MALFORMED, "size"},
    {16, 8, 0, ELM_MALFORMED, "size"},
    {16, 8, UINT64_MAX, ELM_MALFORMED, "size"},
    {16, 8, (uint64_t)1 << 62, ELM_MALFORMED, "size"},
    {24, 8, 1, ELM_MALFORMED, "before this one"},
    {24, 8, (uint64_t)1 << 40, ELM_MALFORMED, "before this one"},
    {SECTION + 0, 4, ELM_SECTION_GRAPH, ELM_MALFORMED, "twice"},
    {SECTION + 0, 4, 77, ELM_UNSUPPORTED, "must be understood"},
    {SECTION + 0, 4, ELM_SECTION_QUANT, ELM_MALFORMED, "flag"},
    {SECTION + 4, 4, 0, ELM_MALFORMED, "flag"},
    {SECTION + 4, 4, 3, ELM_MALFORMED, "unknown flags"},
    {SECTION + 8, 8, 0, ELM_MALFORMED, "overlaps"},
    {SECTION + 8, 8, 65537, ELM_MALFORMED, "aligned"},
    {SECTION + 8, 8, 131072, ELM_MALFORMED, "overlaps"},
    {SECTION + 8, 8, UINT64_MAX - 65535, ELM_MALFORMED, "behind"},
    {SECTION + 16, 8, 65537, ELM_MALFORMED, "chunks"},
    {SECTION + 16, 8, UINT64_MAX, ELM_MALFORMED, "behind"},
    {SECTION + 16, 8, 0, ELM_MALFORMED, "chunks"},
    {SECTION + 24, 8, 0, ELM_MALFORMED, "alignment"},
    {SECTION + 24, 8, 64, ELM_MALFORMED, "alignment"},
    {SECTION + 24, 8, 196608, ELM_MALFORMED, "alignment"},
    {SECTION + 24, 8, (uint64_t)1 << 31, ELM_MALFORMED, "alignment"},
    {SECTION + 24, 8, 131072, ELM_MALFORMED, "aligned"},
    {SECTION + 32, 4, 0, ELM_MALFORMED, "chunks of"},
    {SECTION + 32, 4, 2048, ELM_MALFORMED, "chunks of"},
    {SECTION + 32, 4, 4097, ELM_MALFORMED, "chunks of"},
    {SECTION + 32, 4, 1 << 21, ELM_MALFORMED, "chunks of"},
    {SECTION + 36, 4, 0, ELM_MALFORMED, "chunks"},
    {SECTION + 36, 4, 0xffffffff, ELM_MALFORMED, "chunks"},
    {SECTION + 40, 8, 1, ELM_MALFORMED, "checksums"},
    {SECTION + NEXT + 40, 8, 0, ELM_MALFORMED, "checksums"},
    {SECTION + NEXT + 40, 8, UINT64_MAX, ELM_MALFORMED, "checksums"},
    {SECTION + 80, 1, 'a', ELM_MALFORMED, "only products"},
    {SECTION + 5 * NEXT + 83, 1, ' ', ELM_MALFORMED, "ASCII"},
    {SECTION + 5 * NEXT + 83, 1, 0x1b, ELM_MALFORMED, "ASCII"},
    {SECTION + 5 * NEXT + 127, 1, 'a', ELM_MALFORMED, "ASCII"},
    {SECTION + 5 * NEXT + 0, 4, 77, ELM_OK, ""}, /* need not be understood */
    {SECTION + 48, 1, 0x5a, ELM_OK, ""}, /* a section's SHA-256 is for those who ask for it */
};

static void checks_every_number_of_the_toc(void **state) {
    elm_error err;
    (void)state;
    for (size_t i = 0; i < sizeof toc_cases / sizeof toc_cases[0]; i++) {
        const struct toc_case *t = &toc_cases[i];
        uint8_t *p = fresh();
        tiny_put_le(p + toc_at + t->at, t->value, t->n);
        tiny_repair_toc(p, n_bytes, 0);
        memset(&err, 0, sizeof err);
        elm_status status = open_it(NULL, &err);
        if (status != t->expected || !strstr(err.message, t->words)) {
            fail_msg("case %zu: %s, '%s'", i, elm_status_name(status), err.message);
        }
    }
}

/* Sizes and chunks that fit each other, but not the number of checksums. */
static void counts_checksums(void **state) {
    static const struct {
        uint64_t size;
        uint32_t n_chunks;
        const char *words;
    } rows[] = {{0, 0, "its sections"}, {9000, 2, "its own checksums"}};
    elm_error err;
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        uint8_t *p = fresh(),
                *record = p + toc_at + SECTION + 5 * NEXT; /* the product: 100 bytes, 1 chunk */
        tiny_put_le(record + 16, rows[i].size, 8);
        tiny_put_le(record + 36, rows[i].n_chunks, 4);
        tiny_repair_toc(p, n_bytes, 0);
        assert_int_equal(open_it(NULL, &err), ELM_MALFORMED);
        assert_non_null(strstr(err.message, rows[i].words));
    }
}

static void checks_every_number_of_the_slot(void **state) {
    static const struct {
        size_t at, n;
        uint64_t value;
    } rows[] = {{12, 4, 8192},
                {16, 8, 0},
                {24, 8, 0},
                {24, 8, 1},
                {24, 8, UINT64_MAX - 65535},
                {32, 8, 31},
                {32, 8, 64 << 20 | 1},
                {32, 8, UINT64_MAX},
                {40, 8, 0},
                {40, 8, UINT64_MAX},
                {80, 4, 1},
                {88, 1, 1},
                {4095, 1, 1}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t *p = fresh();
        tiny_put_le(p + rows[i].at, rows[i].value, rows[i].n);
        tiny_repair_slot(p);
        assert_int_equal(open_it(NULL, NULL), ELM_MALFORMED);
    }
}

static void checks_chunks_once_and_lazily(void **state) {
    elm_container c;
    elm_error err;
    uint8_t *p = fresh();
    (void)state;
    assert_int_equal(elm_container_open(&fs.platform, PATH, &c, NULL), ELM_OK);
    const elm_section *s =
        elm_container_find(&c, ELM_SECTION_GRAPH); /* 9000 bytes: chunks 0, 1, 2 */
    assert_int_equal(elm_container_check(&c, s, 0, 1, NULL), ELM_OK);
    p[s->offset + 8192 + 5] ^= 0x10;
    assert_int_equal(elm_container_check(&c, s, 0, 8192, NULL), ELM_OK);
    assert_int_equal(elm_container_check(&c, s, 8192, 0, NULL), ELM_OK);
    assert_int_equal(elm_container_check(&c, s, 8191, 2, &err), ELM_MALFORMED);
    assert_non_null(strstr(err.message, "section graph, chunk 2 of 3"));
    assert_int_equal(elm_container_check(&c, s, 8999, 1, NULL), ELM_MALFORMED); /* still */
    p[s->offset + 8192 + 5] ^= 0x10;
    assert_int_equal(elm_container_check(&c, s, 8999, 1, NULL), ELM_OK);
    p[s->offset + 8192 + 5] ^= 0x10; /* once found intact, not looked at again */
    assert_int_equal(elm_container_check(&c, s, 0, 9000, NULL), ELM_OK);
    assert_int_equal(elm_container_check(&c, s, 0, 9001, NULL), ELM_MALFORMED);
    assert_int_equal(elm_container_check(&c, s, UINT64_MAX, 2, NULL), ELM_MALFORMED);
    elm_container_close(&c);
}

static void *check_all(void *context) {
    elm_container *c = context;
    for (uint32_t i = 0; i < c->n_sections; i++) {
        if (elm_container_check(c, &c->sections[i], 0, c->sections[i].size, NULL) != ELM_OK)
            return c;
    }
    return NULL;
}

static void checks_from_many_threads(void **state) {
    elm_container c;
    pthread_t threads[4];
    (void)state;
    fresh();
    assert_int_equal(elm_container_open(&fs.platform, PATH, &c, NULL), ELM_OK);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, check_all, &c), 0);
    for (int i = 0; i < 4; i++) {
        void *failed = &c;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    for (uint64_t i = 0; i < c.n_checksums; i++) assert_int_equal(c.checked[i], 1);
    elm_container_close(&c);
}

static void survives_io_and_memory_failures(void **state) {
    elm_capped_allocator capped;
    elm_container c;
    (void)state;
    fresh();
    static const fault_call calls[] = {FAULT_OPEN, FAULT_SIZE, FAULT_MAP};
    for (size_t i = 0; i < 3; i++) {
        fault_io_plan(&fs, calls[i], 1, EIO, true);
        assert_int_equal(open_it(NULL, NULL), ELM_IO);
        fault_io_plan(&fs, FAULT_NONE, 0, 0, false);
        assert_int_equal(fs.n_open, 0);
    }
    elm_capped_allocator_init(&capped, elm_allocator_default(), 100);
    elm_platform p = fs.platform;
    p.alloc = &capped.interface;
    assert_int_equal(elm_container_open(&p, PATH, &c, NULL), ELM_OUT_OF_MEMORY);
    elm_container_close(&c);
    assert_int_equal(capped.live_bytes, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_sections),
        cmocka_unit_test(sees_every_flip),
        cmocka_unit_test(refuses_every_truncation),
        cmocka_unit_test(opens_from_the_other_slot),
        cmocka_unit_test(refuses_other_versions),
        cmocka_unit_test(refuses_what_is_no_elm_file),
        cmocka_unit_test(checks_every_number_of_the_toc),
        cmocka_unit_test(counts_checksums),
        cmocka_unit_test(checks_every_number_of_the_slot),
        cmocka_unit_test(checks_chunks_once_and_lazily),
        cmocka_unit_test(checks_from_many_threads),
        cmocka_unit_test(survives_io_and_memory_failures),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
