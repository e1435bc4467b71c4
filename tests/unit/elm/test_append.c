/* Appending: products come and go, readers are not disturbed, and whatever happens the file is as
 * before or as after. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "elm/product.h"
#include "elm/rewrite.h"
#include "nth_alloc.h"
#include "power_log.h"
#include "soak.h"
#include "tiny_elm.h"

#define PATH "m.elm"
#define RECORD "{\"backend\": \"cpu\", \"whole\": true}"

enum { BLOB_BYTES = 20000 };

static elm_new_product product_of(const char *target, uint32_t seed) {
    static uint8_t blob[BLOB_BYTES];
    tiny_fill(blob, sizeof blob, seed);
    return (elm_new_product){
        .target = target, .record = elm_span_str(RECORD), .blob = elm_span_of(blob, sizeof blob)};
}

static elm_status add(const elm_platform *p, const char *path, const char *target, uint32_t seed,
                      elm_error *err) {
    elm_new_product product = product_of(target, seed);
    bool written;
    return elm_product_add(p, path, &product, &written, err);
}

/* A base file without products. */
static elm_status write_base(const elm_platform *p, const char *path) {
    elm_container c;
    elm_strip_options nothing = {0};
    ELM_TRY(tiny_write(p, "with.elm", NULL));
    ELM_TRY(elm_container_open(p, "with.elm", &c, NULL));
    elm_status status = elm_strip(&c, path, &nothing, NULL);
    elm_container_close(&c);
    if (status == ELM_OK) status = elm_path_remove(p, "with.elm", NULL);
    return status;
}

static void setup(fault_io *fs) {
    fault_io_init(fs);
    assert_int_equal(write_base(&fs->platform, PATH), ELM_OK);
}

/* Intact, of that generation, with exactly these products (NULL ends). */
static bool holds(fault_io *fs, uint64_t generation, const char *const *targets) {
    elm_container c;
    elm_verify_result v;
    elm_arena arena;
    uint32_t n = 0;
    const elm_trust trust = {.everything = true};
    bool good = elm_container_open(&fs->platform, PATH, &c, NULL) == ELM_OK;
    elm_arena_init(&arena, elm_allocator_default(), 0);
    /* A slot that was torn is damage that verify reports; the file counts all the same. */
    for (int i = 0; good && i < 2; i++) c.slot_damaged[i] = false;
    good = good && c.generation == generation &&
           elm_container_verify(&c, NULL, NULL, NULL, &v, NULL) == ELM_OK;
    for (uint32_t i = 0; good && i < c.n_sections; i++) {
        elm_product p;
        if (c.sections[i].type != ELM_SECTION_PRODUCT) continue;
        good = targets[n] && strcmp(targets[n], c.sections[i].name) == 0 &&
               elm_product_read(&c, &c.sections[i], &arena, &p, NULL) == ELM_OK &&
               elm_product_judge(&c, &p, &trust, NULL) == ELM_OK;
        n++;
    }
    good = good && !targets[n];
    elm_arena_free(&arena);
    elm_container_close(&c);
    return good;
}

static const char *const none[] = {NULL}, *const only_a[] = {"cpu:a", NULL},
                         *const a_and_b[] = {"cpu:a", "cpu:b", NULL},
                         *const b_and_a[] = {"cpu:b", "cpu:a", NULL};

static void adds_replaces_and_leaves_alone(void **state) {
    fault_io fs;
    size_t size, again;
    (void)state;
    setup(&fs);
    assert_true(holds(&fs, 1, none));
    assert_int_equal(add(&fs.platform, PATH, "cpu:a", 1, NULL), ELM_OK);
    assert_true(holds(&fs, 2, only_a));
    assert_int_equal(add(&fs.platform, PATH, "cpu:b", 2, NULL), ELM_OK);
    assert_true(holds(&fs, 3, a_and_b));
    (void)fault_io_get(&fs, PATH, &size);
    /* T17: the same product again writes nothing. */
    uint32_t writes = fs.counts[FAULT_WRITE];
    assert_int_equal(add(&fs.platform, PATH, "cpu:b", 2, NULL), ELM_OK);
    assert_int_equal(fs.counts[FAULT_WRITE], writes);
    (void)fault_io_get(&fs, PATH, &again);
    assert_int_equal(size, again);
    assert_int_equal(add(&fs.platform, PATH, "cpu:a", 3, NULL), ELM_OK);
    assert_true(holds(&fs, 4, b_and_a));
    fault_io_free(&fs);
}

/* The bytes below the committed end never change, so what a reader has mapped is what it was. */
static void leaves_readers_alone(void **state) {
    fault_io fs;
    elm_container reader;
    elm_verify_result v;
    (void)state;
    setup(&fs);
    assert_int_equal(elm_container_open(&fs.platform, PATH, &reader, NULL), ELM_OK);
    uint8_t *before = malloc(reader.map.size);
    assert_non_null(before);
    memcpy(before, reader.map.data, reader.map.size);
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(add(&fs.platform, PATH, i % 2 ? "cpu:a" : "cpu:b", i, NULL), ELM_OK);
    size_t size;
    const uint8_t *now = fault_io_get(&fs, PATH, &size);
    assert_true(size > reader.map.size);
    assert_memory_equal(now + 2 * ELM_SLOT_BYTES, before + 2 * ELM_SLOT_BYTES,
                        reader.map.size - 2 * ELM_SLOT_BYTES);
    assert_int_equal(elm_container_verify(&reader, NULL, NULL, NULL, &v, NULL), ELM_OK);
    elm_container_close(&reader);
    free(before);
    fault_io_free(&fs);
}

/* The slot that counts is not touched: it is the way back. */
static void writes_the_other_slot(void **state) {
    fault_io fs;
    size_t size;
    uint8_t before[ELM_SLOT_BYTES];
    (void)state;
    setup(&fs);
    for (uint32_t i = 0; i < 4; i++) {
        size_t in_use = i % 2 * ELM_SLOT_BYTES, other = ELM_SLOT_BYTES - in_use;
        const uint8_t *file = fault_io_get(&fs, PATH, &size);
        memcpy(before, file + in_use, sizeof before);
        assert_int_equal(add(&fs.platform, PATH, "cpu:a", i, NULL), ELM_OK);
        file = fault_io_get(&fs, PATH, &size);
        assert_memory_equal(file + in_use, before, sizeof before);
        assert_int_equal(tiny_get_le(file + other + offsetof(elm_disk_slot, generation), 8), i + 2);
    }
    fault_io_free(&fs);
}

static void lets_one_writer_in(void **state) {
    fault_io fs;
    elm_appender first;
    elm_error err;
    (void)state;
    setup(&fs);
    assert_int_equal(elm_append_open(&fs.platform, PATH, &first, NULL), ELM_OK);
    assert_int_equal(add(&fs.platform, PATH, "cpu:a", 1, &err), ELM_IO);
    assert_non_null(strstr(err.message, "another program"));
    uint64_t saved;
    assert_int_equal(elm_compact(&fs.platform, PATH, &saved, &err), ELM_IO);
    elm_append_close(&first);
    assert_true(holds(&fs, 1, none));
    assert_int_equal(add(&fs.platform, PATH, "cpu:a", 1, NULL), ELM_OK);
    assert_true(holds(&fs, 2, only_a));
    fault_io_free(&fs);
}

static void asks_for_space_first(void **state) {
    fault_io fs;
    elm_error err;
    size_t size, again;
    (void)state;
    setup(&fs);
    (void)fault_io_get(&fs, PATH, &size);
    fs.free_bytes = BLOB_BYTES;
    assert_int_equal(add(&fs.platform, PATH, "cpu:a", 1, &err), ELM_IO);
    assert_non_null(strstr(err.message, "free"));
    (void)fault_io_get(&fs, PATH, &again);
    assert_int_equal(size, again);
    assert_true(holds(&fs, 1, none));
    fault_io_free(&fs);
}

/* Each call fails, once or for good (which is a kill): the old state or the new one. */
static void survives_every_fault(void **state) {
    static const int errors[] = {ENOSPC, EIO};
    (void)state;
    for (uint32_t round = 0; round < 4; round++) {
        for (uint32_t at = 1;; at++) {
            fault_io fs;
            size_t before, after;
            setup(&fs);
            assert_int_equal(add(&fs.platform, PATH, "cpu:a", 1, NULL), ELM_OK);
            (void)fault_io_get(&fs, PATH, &before);
            fs.max_write = 9000;
            fault_io_plan(&fs, FAULT_ANY, at, errors[round % 2], round >= 2);
            elm_status status = add(&fs.platform, PATH, "cpu:b", 2, NULL);
            uint32_t n_calls = fs.counts[FAULT_ANY];
            uint32_t n_syncs = fs.counts[FAULT_SYNC];
            fault_io_plan(&fs, FAULT_NONE, 0, 0, false);
            assert_int_equal(fs.n_open, 0);
            bool old = holds(&fs, 2, only_a), new = holds(&fs, 3, a_and_b);
            assert_true(old != new);
            if (status == ELM_OK) assert_true(new);
            if (n_calls >= at && status != ELM_OK) assert_int_equal(status, ELM_IO);
            /* Space that a failed append took is given back, as long as no slot was touched. */
            (void)fault_io_get(&fs, PATH, &after);
            if (n_syncs == 0 && round < 2) assert_int_equal(after, before);
            assert_int_equal(add(&fs.platform, PATH, "cpu:b", 2, NULL), ELM_OK);
            assert_true(holds(&fs, 3, a_and_b));
            fault_io_free(&fs);
            if (n_calls < at) break;
        }
    }
}

static void waits_out_interruptions(void **state) {
    (void)state;
    for (uint32_t at = 1; at < 12; at++) {
        fault_io fs;
        setup(&fs);
        fs.max_write = 7000;
        fault_io_plan(&fs, FAULT_WRITE, at, EINTR, false);
        assert_int_equal(add(&fs.platform, PATH, "cpu:a", 1, NULL), ELM_OK);
        fault_io_plan(&fs, FAULT_NONE, 0, 0, false);
        assert_true(holds(&fs, 2, only_a));
        fault_io_free(&fs);
    }
}

/* R2: every prefix of the write log, with what was not synced lost, kept, reordered or torn. */
static void survives_every_power_cut(void **state) {
    static power_log log;
    uint32_t n_states = 0, n_old = 0, n_new = 0, wanted = soak(12000, 1200);
    (void)state;
    fault_io_init(&log.fs);
    assert_int_equal(write_base(&log.fs.platform, PATH), ELM_OK);
    assert_int_equal(add(&log.fs.platform, PATH, "cpu:a", 1, NULL), ELM_OK);
    log.fs.max_write = 7000;
    power_begin(&log);
    assert_int_equal(add(&log.fs.platform, PATH, "cpu:b", 2, NULL), ELM_OK);
    for (uint64_t seed = 0; n_states < wanted; seed++) {
        for (size_t prefix = 0; prefix <= log.n; prefix++, n_states++) {
            fault_io fs;
            power_state(&log, prefix, (int)(seed % POWER_N_MODES), seed * 1000003 + prefix, &fs);
            bool old = holds(&fs, 2, only_a), new = holds(&fs, 3, a_and_b);
            assert_true(old != new);
            if (prefix == log.n) assert_true(new);
            n_old += old;
            n_new += new;
            /* And the next append succeeds from there. */
            if (n_states % 16 == 0) {
                assert_int_equal(add(&fs.platform, PATH, "cpu:b", 2, NULL), ELM_OK);
                assert_true(holds(&fs, 3, a_and_b));
            }
            fault_io_free(&fs);
        }
    }
    assert_true(n_old > 100 && n_new > 10);
    print_message("power cuts: %u states, %u as before, %u as after\n", n_states, n_old, n_new);
    power_end(&log);
}

static void survives_every_failed_allocation(void **state) {
    (void)state;
    for (uint64_t at = 1;; at++) {
        fault_io fs;
        nth_alloc nth;
        setup(&fs);
        nth_alloc_init(&nth, at);
        elm_platform p = fs.platform;
        p.alloc = &nth.interface;
        elm_status status = add(&p, PATH, "cpu:a", 1, NULL);
        assert_int_equal(nth.live_bytes, 0);
        assert_int_equal(fs.n_open, 0);
        if (status != ELM_OK) {
            assert_int_equal(status, ELM_OUT_OF_MEMORY);
            assert_true(holds(&fs, 1, none));
        } else {
            assert_true(holds(&fs, 2, only_a));
        }
        fault_io_free(&fs);
        if (atomic_load(&nth.n) < at) break;
    }
}

static void runs_out_of_sections(void **state) {
    fault_io fs;
    elm_error err;
    uint64_t saved;
    uint32_t n = 0;
    (void)state;
    setup(&fs);
    while (n < 200 && add(&fs.platform, PATH, "cpu:a", n, &err) == ELM_OK) n++;
    assert_true(n > 100 && n < 200);
    assert_int_equal(err.code, ELM_LIMIT);
    assert_non_null(strstr(err.message, "compact"));
    assert_true(holds(&fs, n + 1, only_a));
    assert_int_equal(elm_compact(&fs.platform, PATH, &saved, NULL), ELM_OK);
    assert_true(saved > 100 * ELM_SECTION_ALIGN);
    assert_true(holds(&fs, 1, only_a));
    assert_int_equal(add(&fs.platform, PATH, "cpu:b", 1, NULL), ELM_OK);
    assert_true(holds(&fs, 2, a_and_b));
    fault_io_free(&fs);
}

/* ---- on a real disk, with readers ---- */

typedef struct reading {
    const char *path;
    atomic_bool stop;
    atomic_uint n_opened, n_wrong;
} reading;

static void *read_on(void *context) {
    reading *r = context;
    while (!atomic_load(&r->stop)) {
        elm_container c;
        elm_verify_result v;
        bool good = elm_container_open(elm_platform_default(), r->path, &c, NULL) == ELM_OK &&
                    !c.slot_damaged[0] && !c.slot_damaged[1] &&
                    elm_container_verify(&c, NULL, NULL, NULL, &v, NULL) == ELM_OK;
        elm_container_close(&c);
        atomic_fetch_add(&r->n_opened, 1);
        atomic_fetch_add(&r->n_wrong, !good);
    }
    return NULL;
}

/* R7: readers open and verify while products are added and the file is compacted. */
static void works_beside_readers(void **state) {
    char folder[] = "/tmp/elm_append_XXXXXX", path[64];
    const elm_platform *p = elm_platform_default();
    pthread_t threads[4];
    reading r = {0};
    uint32_t rounds = soak(400, 40);
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/m.elm", folder);
    r.path = path;
    assert_int_equal(tiny_write(p, path, NULL), ELM_OK);
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, read_on, &r), 0);
    for (uint32_t i = 0; i < rounds; i++) {
        uint64_t saved;
        assert_int_equal(add(p, path, i % 3 ? "cpu:a" : "cpu:b", i, NULL), ELM_OK);
        if (i % 10 == 9) assert_int_equal(elm_compact(p, path, &saved, NULL), ELM_OK);
    }
    atomic_store(&r.stop, true);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    assert_true(r.n_opened > 10);
    assert_int_equal(r.n_wrong, 0);
    assert_int_equal(elm_path_remove(p, path, NULL), ELM_OK);
    assert_int_equal(rmdir(folder), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(adds_replaces_and_leaves_alone),
        cmocka_unit_test(leaves_readers_alone),
        cmocka_unit_test(writes_the_other_slot),
        cmocka_unit_test(lets_one_writer_in),
        cmocka_unit_test(asks_for_space_first),
        cmocka_unit_test(survives_every_fault),
        cmocka_unit_test(waits_out_interruptions),
        cmocka_unit_test(survives_every_power_cut),
        cmocka_unit_test(survives_every_failed_allocation),
        cmocka_unit_test(runs_out_of_sections),
        cmocka_unit_test(works_beside_readers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
