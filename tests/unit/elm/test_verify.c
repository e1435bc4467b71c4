/* Verifying: all damage is found, and named with section, tensor and chunk. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "fault_io.h"
#include "soak.h"
#include "tiny_elm.h"

#define PATH "m.elm"

enum { MAX_KEPT = 8 };

typedef struct findings {
    elm_damage kept[MAX_KEPT];
    char sections[MAX_KEPT][16],
        tensors[MAX_KEPT][16]; /* copies: the container is closed when they are read */
    size_t n;
    elm_verify_result result;
    uint64_t last_progress;
} findings;

static fault_io fs;
static uint8_t *bytes; /* of the intact file */
static size_t n_bytes;
static elm_section sections[8];
static uint32_t n_sections;
static uint64_t toc_at;

static int setup(void **state) {
    elm_container c;
    (void)state;
    fault_io_init(&fs);
    if (tiny_write(&fs.platform, PATH, NULL) != ELM_OK) return -1;
    const uint8_t *file = fault_io_get(&fs, PATH, &n_bytes);
    bytes = malloc(n_bytes);
    memcpy(bytes, file, n_bytes);
    if (elm_container_open(&fs.platform, PATH, &c, NULL) != ELM_OK) return -1;
    n_sections = c.n_sections;
    memcpy(sections, c.sections, n_sections * sizeof *sections);
    toc_at = c.toc_offset;
    elm_container_close(&c);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    free(bytes);
    fault_io_free(&fs);
    return 0;
}

static uint8_t *fresh(void) {
    size_t size;
    fault_io_put(&fs, PATH, bytes, n_bytes);
    return fault_io_get(&fs, PATH, &size);
}

static void keep(void *context, const elm_damage *damage) {
    findings *f = context;
    if (f->n < MAX_KEPT) {
        f->kept[f->n] = *damage;
        strncpy(f->sections[f->n], damage->section, 15);
        strncpy(f->tensors[f->n], damage->tensor ? damage->tensor : "-", 15);
    }
    f->n++;
}

static void note_progress(void *context, uint64_t done, uint64_t total) {
    findings *f = context;
    assert_true(done >= f->last_progress && done <= total);
    f->last_progress = done;
}

/* Opens and verifies; the status of whichever failed. */
static elm_status verify(findings *f) {
    elm_container c;
    memset(f, 0, sizeof *f);
    elm_status status = elm_container_open(&fs.platform, PATH, &c, NULL);
    if (status == ELM_OK)
        status = elm_container_verify(&c, keep, f, note_progress, &f->result, NULL);
    elm_container_close(&c);
    return status;
}

static uint32_t next_random(uint32_t *seed) {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

/* The tensor of lowest offset in [begin, end) of the file, found without the code under test. */
static const char *tensor_between(uint64_t begin, uint64_t end) {
    const uint8_t *table = NULL;
    uint64_t weights = 0, best = UINT64_MAX;
    static char name[16];
    for (uint32_t i = 0; i < n_sections; i++) {
        if (sections[i].type == ELM_SECTION_TENSORS) table = bytes + sections[i].offset;
        if (sections[i].type == ELM_SECTION_WEIGHTS) weights = sections[i].offset;
    }
    uint32_t n = (uint32_t)tiny_get_le(table, 4);
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t *record = table + 8 + i * sizeof(elm_disk_tensor);
        for (size_t plane = 40; plane < 88; plane += 16) {
            uint64_t at = weights + tiny_get_le(record + plane, 8),
                     size = tiny_get_le(record + plane + 8, 8);
            if (size == 0 || at >= end || at + size <= begin || at >= best) continue;
            best = at;
            memset(name, 0, sizeof name);
            memcpy(name, table + 8 + n * sizeof(elm_disk_tensor) + tiny_get_le(record, 4),
                   tiny_get_le(record + 4, 2));
        }
    }
    return best == UINT64_MAX ? "-" : name;
}

static void covers_every_byte(void **state) {
    findings f;
    (void)state;
    fresh();
    assert_int_equal(verify(&f), ELM_OK);
    assert_int_equal(f.n, 0);
    assert_int_equal(f.result.bytes_checked, n_bytes);
    assert_int_equal(f.last_progress, n_bytes);
    assert_int_equal(f.result.bytes_after_end, 0);
}

static void expect_named(const findings *f, uint64_t at) {
    for (uint32_t i = 0; i < n_sections; i++) {
        const elm_section *s = &sections[i];
        if (at < s->offset || at >= s->offset + s->size) continue;
        uint64_t chunk = (at - s->offset) / s->chunk_bytes,
                 begin = s->offset + chunk * s->chunk_bytes;
        uint64_t end = begin + s->chunk_bytes < s->offset + s->size ? begin + s->chunk_bytes
                                                                    : s->offset + s->size;
        assert_string_equal(f->sections[0], elm_section_text(s->type));
        assert_int_equal(f->kept[0].chunk, chunk);
        assert_int_equal(f->kept[0].offset, begin);
        assert_int_equal(f->kept[0].size, end - begin);
        assert_int_not_equal(f->kept[0].expected, f->kept[0].found);
        /* A damaged tensor table cannot name tensors, and need not. */
        if (s->type == ELM_SECTION_WEIGHTS)
            assert_string_equal(f->tensors[0], tensor_between(begin, end));
        return;
    }
    assert_string_equal(f->sections[0], "padding");
    assert_int_equal(f->kept[0].offset, at);
}

/* 1, 2 or 3 flipped bits inside 64 bytes, anywhere behind the slots and before the TOC. */
static void finds_and_names_random_flips(void **state) {
    uint32_t seed = 20260727, in_sections = 0, n_named = 0, wanted = soak(100000, 3000);
    (void)state;
    uint8_t *p = fresh();
    for (uint32_t round = 0; n_named < wanted; round++) {
        uint64_t first = 2 * ELM_SLOT_BYTES, at;
        if (round % 2) { /* most bytes are padding: every other round goes into a section */
            const elm_section *s = &sections[next_random(&seed) % n_sections];
            if (s->size == 0) continue;
            at = s->offset + next_random(&seed) % s->size;
        } else {
            at = first + next_random(&seed) % (toc_at - first);
        }
        int n = 1 + (int)(next_random(&seed) % 3);
        for (int i = 0; i < n; i++)
            p[at] ^= (uint8_t)(1u << (next_random(&seed) % 3 + 3 * (uint32_t)i) % 8);
        findings f;
        if (p[at] == bytes[at]) continue;
        assert_int_equal(verify(&f), ELM_MALFORMED);
        assert_int_equal(f.n, 1);
        assert_int_equal(f.result.n_damaged, 1);
        expect_named(&f, at);
        p[at] = bytes[at];
        in_sections += round % 2;
        n_named++;
    }
    assert_true(in_sections > wanted / 3);
    print_message("%u damages found and named, %u of them in sections\n", n_named, in_sections);
}

static const elm_section *section_of(elm_section_type type) {
    for (uint32_t i = 0; i < n_sections; i++) {
        if (sections[i].type == (uint32_t)type) return &sections[i];
    }
    fail();
    return NULL;
}

static void names_the_tensor_of_every_chunk(void **state) {
    const elm_section *w = section_of(ELM_SECTION_WEIGHTS);
    findings f;
    uint8_t *p = fresh();
    (void)state;
    for (uint64_t at = 0; at < w->size; at += ELM_MIN_CHUNK_BYTES) {
        p[w->offset + at] ^= 1;
        assert_int_equal(verify(&f), ELM_MALFORMED);
        assert_int_equal(f.n, 1);
        expect_named(&f, w->offset + at);
        p[w->offset + at] ^= 1;
    }
    assert_string_equal(f.tensors[0], "tail");
}

static void finds_moved_chunks(void **state) {
    const elm_section *w = section_of(ELM_SECTION_WEIGHTS);
    findings f;
    (void)state;
    assert_true(w->n_chunks > 10);
    uint8_t *p = fresh(), *a = p + w->offset, *b = a + 4 * ELM_MIN_CHUNK_BYTES;
    /* swapped */
    memcpy(a, bytes + w->offset + 4 * ELM_MIN_CHUNK_BYTES, ELM_MIN_CHUNK_BYTES);
    memcpy(b, bytes + w->offset, ELM_MIN_CHUNK_BYTES);
    assert_int_equal(verify(&f), ELM_MALFORMED);
    assert_int_equal(f.n, 2);
    assert_int_equal(f.kept[0].chunk, 0);
    assert_int_equal(f.kept[1].chunk, 4);
    /* swapped together with their checksums: only the index in the checksum tells */
    uint8_t *crc = p + toc_at + sizeof(elm_disk_toc) + n_sections * sizeof(elm_disk_section) +
                   w->first_checksum * 4;
    uint32_t first = (uint32_t)tiny_get_le(crc, 4), second = (uint32_t)tiny_get_le(crc + 16, 4);
    tiny_put_le(crc, second, 4);
    tiny_put_le(crc + 16, first, 4);
    tiny_repair_toc(p, n_bytes, 0);
    assert_int_equal(verify(&f), ELM_MALFORMED);
    assert_int_equal(f.n, 2);
    /* duplicated */
    p = fresh();
    memcpy(p + w->offset + 4 * ELM_MIN_CHUNK_BYTES, p + w->offset, ELM_MIN_CHUNK_BYTES);
    assert_int_equal(verify(&f), ELM_MALFORMED);
    assert_int_equal(f.n, 1);
    assert_int_equal(f.kept[0].chunk, 4);
    /* zeroed */
    p = fresh();
    memset(p + w->offset + 4 * ELM_MIN_CHUNK_BYTES, 0, ELM_MIN_CHUNK_BYTES);
    assert_int_equal(verify(&f), ELM_MALFORMED);
    assert_int_equal(f.n, 1);
    /* shifted by one byte: every chunk that is not all zeros on both sides */
    p = fresh();
    memmove(p + w->offset + 1, p + w->offset, w->size - 1);
    assert_int_equal(verify(&f), ELM_MALFORMED);
    assert_true(f.n > 4);
    assert_int_equal(f.n, f.result.n_damaged);
}

static void reports_a_damaged_slot(void **state) {
    findings f;
    uint8_t *p = fresh();
    (void)state;
    p[ELM_SLOT_BYTES + 4000] = 1; /* B, which is empty */
    assert_int_equal(verify(&f), ELM_MALFORMED);
    assert_int_equal(f.n, 1);
    assert_string_equal(f.sections[0], "header");
    assert_int_equal(f.kept[0].chunk, 1);
    assert_int_equal(f.kept[0].offset, ELM_SLOT_BYTES);
    p = fresh();
    memcpy(p + ELM_SLOT_BYTES, p, ELM_SLOT_BYTES); /* A damaged, B holds */
    p[17] ^= 1;
    assert_int_equal(verify(&f), ELM_MALFORMED);
    assert_int_equal(f.n, 1);
    assert_int_equal(f.kept[0].chunk, 0);
    assert_int_not_equal(f.kept[0].expected, f.kept[0].found);
    p = fresh();
    memcpy(p + ELM_SLOT_BYTES, p, ELM_SLOT_BYTES); /* B names a TOC that is not there */
    p[ELM_SLOT_BYTES + 48] ^= 1;
    tiny_repair_slot(p + ELM_SLOT_BYTES);
    assert_int_equal(verify(&f), ELM_MALFORMED);
    assert_int_equal(f.n, 1);
    assert_string_equal(f.sections[0], "toc");
    assert_int_equal(f.kept[0].offset, toc_at);
}

static void sees_the_toc_change_while_open(void **state) {
    elm_container c;
    findings f = {.n = 0};
    uint8_t *p = fresh();
    (void)state;
    assert_int_equal(elm_container_open(&fs.platform, PATH, &c, NULL), ELM_OK);
    p[toc_at + sizeof(elm_disk_toc) + 50] ^= 1; /* in a section's SHA-256: nothing else covers it */
    assert_int_equal(elm_container_verify(&c, keep, &f, NULL, &f.result, NULL), ELM_MALFORMED);
    assert_int_equal(f.n, 1);
    assert_string_equal(f.sections[0], "toc");
    elm_container_close(&c);
}

static void counts_bytes_after_the_end(void **state) {
    findings f;
    uint8_t *longer = malloc(n_bytes + 77);
    (void)state;
    memcpy(longer, bytes, n_bytes);
    memset(longer + n_bytes, 0xcd, 77);
    fault_io_put(&fs, PATH, longer, n_bytes + 77);
    free(longer);
    assert_int_equal(verify(&f), ELM_OK);
    assert_int_equal(f.result.bytes_after_end, 77);
    assert_int_equal(f.result.bytes_checked, n_bytes);
}

static void works_without_callbacks(void **state) {
    elm_container c;
    elm_verify_result result;
    elm_error err;
    uint8_t *p = fresh();
    (void)state;
    p[sections[0].offset] ^= 1;
    p[sections[1].offset] ^= 1;
    assert_int_equal(elm_container_open(&fs.platform, PATH, &c, NULL), ELM_OK);
    assert_int_equal(elm_container_verify(&c, NULL, NULL, NULL, &result, &err), ELM_MALFORMED);
    assert_int_equal(result.n_damaged, 2);
    assert_non_null(strstr(err.message, "2 places"));
    elm_container_close(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(covers_every_byte),
        cmocka_unit_test(finds_and_names_random_flips),
        cmocka_unit_test(names_the_tensor_of_every_chunk),
        cmocka_unit_test(finds_moved_chunks),
        cmocka_unit_test(reports_a_damaged_slot),
        cmocka_unit_test(sees_the_toc_change_while_open),
        cmocka_unit_test(counts_bytes_after_the_end),
        cmocka_unit_test(works_without_callbacks),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
