/* Writing: the bytes, the faults, the power cut. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <unistd.h>

#include "base/hash.h"
#include "fault_io.h"
#include "tiny_elm.h"

#define PATH "m.elm"
#define PART "m.elm.part"

static const char old_file[] = "what was there before";

static bool exists(fault_io *fs, const char *path) {
    return fault_find(fs, path) != NULL;
}

static bool is_old(fault_io *fs) {
    size_t size;
    const uint8_t *p = fault_io_get(fs, PATH, &size);
    return p && size == sizeof old_file && memcmp(p, old_file, size) == 0;
}

static bool is_new(fault_io *fs) {
    elm_container c;
    elm_verify_result result;
    elm_status status = elm_container_open(&fs->platform, PATH, &c, NULL);
    if (status == ELM_OK) status = elm_container_verify(&c, NULL, NULL, NULL, &result, NULL);
    elm_container_close(&c);
    return status == ELM_OK;
}

static void hash_of(const void *data, size_t size, uint8_t out[32]) {
    elm_sha256 h;
    elm_sha256_init(&h);
    elm_sha256_update(&h, data, size);
    elm_sha256_final(&h, out);
}

static void round_trip(void **state) {
    fault_io fs;
    elm_container c;
    elm_tensor *tensors;
    uint32_t n;
    uint8_t planes[3 * TINY_PLANE_BYTES];
    (void)state;
    fault_io_init(&fs);
    assert_int_equal(tiny_write(&fs.platform, PATH, NULL), ELM_OK);
    assert_false(exists(&fs, PART));
    assert_int_equal(elm_container_open(&fs.platform, PATH, &c, NULL), ELM_OK);
    assert_int_equal(elm_container_tensors(&c, &tensors, &n, NULL), ELM_OK);
    assert_int_equal(n, TINY_N_TENSORS);
    for (uint32_t i = 0; i < n; i++) {
        elm_tensor t = tiny_tensor(i, planes);
        const elm_tensor *r = &tensors[i];
        assert_string_equal(r->name, t.name);
        assert_int_equal(r->dtype, t.dtype);
        assert_int_equal(r->layout, t.layout);
        assert_int_equal(r->n_dims, t.n_dims);
        assert_memory_equal(r->dims, t.dims, sizeof t.dims);
        assert_int_equal(r->group, t.group);
        assert_int_equal(r->scale_exp, t.scale_exp);
        assert_int_equal((uintptr_t)((const uint8_t *)r->codes - c.map.data) %
                             (t.layout == ELM_LAYOUT_P16 ? ELM_TENSOR_ALIGN : ELM_PLANE_ALIGN),
                         0);
        assert_int_equal(r->codes_bytes, t.codes_bytes);
        assert_memory_equal(r->codes, t.codes, t.codes_bytes);
        assert_int_equal(r->scales_bytes, t.scales_bytes);
        if (t.scales)
            assert_memory_equal(r->scales, t.scales, t.scales_bytes);
        else
            assert_null(r->scales);
        assert_int_equal(r->zeros_bytes, t.zeros_bytes);
        if (t.zeros)
            assert_memory_equal(r->zeros, t.zeros, t.zeros_bytes);
        else
            assert_null(r->zeros);
    }
    for (uint32_t i = 0; i < c.n_sections; i++) {
        uint8_t sha[32];
        elm_span s = elm_container_bytes(&c, &c.sections[i]);
        hash_of(s.data, s.size, sha);
        assert_memory_equal(sha, c.sections[i].sha256, 32);
    }
    elm_container_close(&c);
    fault_io_free(&fs);
}

/* The file of section 18 of docs/elm-format.md. A change here is a change of the format. */
static void writes_the_documented_bytes(void **state) {
    static const char expected[] =
        "a513b3b0a95d4cae08aad229132604e9aad00542aac451e65814ba0fa60adca5";
    static const float ones[4] = {1, 2, 3, 4};
    fault_io fs;
    elm_writer *w;
    uint8_t sha[32];
    char hex[65];
    size_t size;
    (void)state;
    fault_io_init(&fs);
    elm_tensor t = {.name = "norm",
                    .dtype = ELM_F32,
                    .n_dims = 1,
                    .dims = {4},
                    .codes = ones,
                    .codes_bytes = 16};
    assert_int_equal(elm_writer_open(&fs.platform, PATH, 0, &w, NULL), ELM_OK);
    assert_int_equal(
        elm_writer_section(w, ELM_SECTION_META, elm_span_str("{\"name\": \"tiny\"}"), NULL),
        ELM_OK);
    assert_int_equal(elm_writer_begin(w, ELM_SECTION_WEIGHTS, ELM_MAX_CHUNK_BYTES, NULL, NULL),
                     ELM_OK);
    assert_int_equal(elm_writer_tensor(w, &t, NULL), ELM_OK);
    assert_int_equal(elm_writer_end(w, NULL), ELM_OK);
    assert_int_equal(elm_writer_tensors(w, NULL), ELM_OK);
    assert_int_equal(elm_writer_finish(w, NULL, NULL), ELM_OK);
    const uint8_t *p = fault_io_get(&fs, PATH, &size);
    hash_of(p, size, sha);
    for (int i = 0; i < 32; i++) snprintf(hex + 2 * i, 3, "%02x", sha[i]);
    assert_string_equal(hex, expected);
    fault_io_free(&fs);
}

/* Memory that is never zero by itself: bytes that were not written on purpose differ between two
 * fillings. */
static void *dirty_resize(void *self, void *block, size_t old_bytes, size_t new_bytes) {
    if (new_bytes == 0) {
        free(block);
        return NULL;
    }
    uint8_t *moved = aligned_alloc(64, (new_bytes + 63) / 64 * 64);
    if (!moved) return NULL;
    memset(moved, *(const uint8_t *)self, new_bytes);
    if (block) memcpy(moved, block, old_bytes < new_bytes ? old_bytes : new_bytes);
    free(block);
    return moved;
}

static void same_input_same_bytes(void **state) {
    fault_io fs;
    size_t size, again;
    uint8_t dirt[2] = {0xaa, 0x55};
    (void)state;
    fault_io_init(&fs);
    for (int i = 0; i < 2; i++) {
        elm_allocator dirty = {&dirt[i], dirty_resize};
        elm_platform p = fs.platform;
        p.alloc = &dirty;
        fs.max_write = i == 0 ? 0 : 777; /* short writes change nothing */
        assert_int_equal(tiny_write(&p, i == 0 ? "a.elm" : "b.elm", NULL), ELM_OK);
    }
    const uint8_t *a = fault_io_get(&fs, "a.elm", &size), *b = fault_io_get(&fs, "b.elm", &again);
    assert_int_equal(size, again);
    assert_memory_equal(a, b, size);
    fault_io_free(&fs);
}

static void replaces_a_stale_part(void **state) {
    fault_io fs;
    size_t size;
    static uint8_t stale[1 << 20];
    (void)state;
    fault_io_init(&fs);
    memset(stale, 0xee, sizeof stale);
    fault_io_put(&fs, PART, stale, sizeof stale);
    fault_io_put(&fs, PATH, old_file, sizeof old_file);
    assert_int_equal(tiny_write(&fs.platform, PATH, NULL), ELM_OK);
    assert_true(is_new(&fs));
    (void)fault_io_get(&fs, PATH, &size);
    assert_true(size < sizeof stale);
    assert_false(exists(&fs, PART));
    fault_io_free(&fs);
}

static void asks_for_space_first(void **state) {
    fault_io fs;
    elm_writer *w;
    elm_error err;
    (void)state;
    fault_io_init(&fs);
    fs.free_bytes = 5000000;
    assert_int_equal(elm_writer_open(&fs.platform, PATH, 7000000, &w, &err), ELM_IO);
    assert_null(w);
    assert_non_null(strstr(err.message, "7.0 MB"));
    assert_non_null(strstr(err.message, "5.0 MB"));
    assert_int_equal(fs.counts[FAULT_OPEN], 0);
    assert_int_equal(elm_writer_open(&fs.platform, PATH, 5000000, &w, &err), ELM_OK);
    elm_writer_abort(w);
    assert_false(exists(&fs, PART));
    elm_writer_abort(NULL);
    fault_io_free(&fs);
}

static void lets_one_writer_in(void **state) {
    fault_io fs;
    elm_writer *first, *second;
    elm_error err;
    (void)state;
    fault_io_init(&fs);
    assert_int_equal(elm_writer_open(&fs.platform, PATH, 0, &first, NULL), ELM_OK);
    assert_int_equal(elm_writer_section(first, ELM_SECTION_META, elm_span_str("{}"), NULL), ELM_OK);
    assert_int_equal(elm_writer_open(&fs.platform, PATH, 0, &second, &err), ELM_IO);
    assert_non_null(strstr(err.message, "another program"));
    assert_null(second);
    assert_int_equal(elm_writer_finish(first, NULL, NULL), ELM_OK); /* undisturbed */
    assert_true(is_new(&fs));
    assert_int_equal(elm_writer_open(&fs.platform, PATH, 0, &second, NULL), ELM_OK);
    elm_writer_abort(second);
    assert_true(is_new(&fs));
    fault_io_free(&fs);
}

/* Every call of the vtable fails once, and once for good. */
static void survives_every_fault(void **state) {
    static const int errors[] = {ENOSPC, EIO};
    (void)state;
    for (uint32_t round = 0; round < 4; round++) {
        uint32_t at = 1, n_failed = 0;
        for (;; at++) {
            fault_io fs;
            fault_io_init(&fs);
            fault_io_put(&fs, PATH, old_file, sizeof old_file);
            fs.max_write = 40000;
            fault_io_plan(&fs, FAULT_ANY, at, errors[round % 2], round >= 2);
            elm_status status = tiny_write(&fs.platform, PATH, NULL);
            uint32_t n_calls = fs.counts[FAULT_ANY];
            bool folder_failed = status != ELM_OK && fs.counts[FAULT_SYNC_FOLDER] > 0;
            fault_io_plan(&fs, FAULT_NONE, 0, 0, false);
            assert_int_equal(fs.n_open, 0);
            if (status == ELM_OK || folder_failed) {
                assert_true(is_new(&fs));
            } else {
                assert_int_equal(status, ELM_IO);
                assert_true(is_old(&fs));
                n_failed++;
            }
            /* With every later call failing, removing fails as well. */
            if (round < 2) assert_false(exists(&fs, PART));
            fault_io_free(&fs);
            if (status == ELM_OK && n_calls < at) break;
        }
        assert_true(n_failed > 20);
    }
}

static void waits_out_interruptions(void **state) {
    fault_io fs;
    (void)state;
    for (uint32_t at = 1; at < 8; at++) {
        fault_io_init(&fs);
        fault_io_plan(&fs, FAULT_WRITE, at, EINTR, false);
        assert_int_equal(tiny_write(&fs.platform, PATH, NULL), ELM_OK);
        fault_io_plan(&fs, FAULT_NONE, 0, 0, false);
        assert_true(is_new(&fs));
        fault_io_free(&fs);
    }
}

/* The program stops at any call, and then the power goes: PATH is whole, the old or the new one. */
static void survives_power_cuts(void **state) {
    bool seen_old = false, seen_new = false;
    (void)state;
    for (int variant = 0; variant < 6; variant++) {
        for (uint32_t at = 1;; at++) {
            fault_io fs;
            fault_io_init(&fs);
            fault_io_put(&fs, PATH, old_file, sizeof old_file);
            fs.max_write = 100000;
            fault_io_plan(&fs, FAULT_ANY, at, EIO, true);
            elm_status status = tiny_write(&fs.platform, PATH, NULL);
            fault_io_power_cut(&fs, (fault_data)(variant / 2), variant % 2 == 1);
            bool old = is_old(&fs), new = !old &&is_new(&fs);
            assert_true(old || new);
            if (status == ELM_OK) assert_true(new);
            seen_old = seen_old || old;
            seen_new = seen_new || new;
            fault_io_free(&fs);
            if (status == ELM_OK) break;
        }
    }
    assert_true(seen_old && seen_new);
}

/* A write that failed cannot be forgotten, even by a caller that goes on. */
static void keeps_its_first_failure(void **state) {
    fault_io fs;
    elm_writer *w;
    static uint8_t much[3 << 20];
    (void)state;
    fault_io_init(&fs);
    assert_int_equal(elm_writer_open(&fs.platform, PATH, 0, &w, NULL), ELM_OK);
    assert_int_equal(elm_writer_begin(w, ELM_SECTION_GRAPH, ELM_MAX_CHUNK_BYTES, NULL, NULL),
                     ELM_OK);
    fault_io_plan(&fs, FAULT_WRITE, 1, ENOSPC, false);
    assert_int_equal(elm_writer_write(w, much, sizeof much, NULL), ELM_IO);
    assert_int_equal(elm_writer_write(w, much, sizeof much, NULL), ELM_IO);
    assert_int_equal(elm_writer_end(w, NULL), ELM_OK);
    assert_int_equal(elm_writer_finish(w, NULL, NULL), ELM_IO);
    assert_false(exists(&fs, PATH) || exists(&fs, PART));
    fault_io_free(&fs);
}

static void refuses_what_could_not_be_read(void **state) {
    fault_io fs;
    elm_writer *w;
    uint8_t planes[3 * TINY_PLANE_BYTES];
    static char long_name[600];
    (void)state;
    fault_io_init(&fs);
    memset(long_name, 'n', sizeof long_name - 1);
    assert_int_equal(elm_writer_open(&fs.platform, PATH, 0, &w, NULL), ELM_OK);
    assert_int_equal(elm_writer_begin(w, ELM_SECTION_PRODUCT, 4096, long_name, NULL),
                     ELM_INVALID_ARGUMENT);
    assert_int_equal(elm_writer_begin(w, ELM_SECTION_PRODUCT, 4096, "a b", NULL),
                     ELM_INVALID_ARGUMENT);
    assert_int_equal(elm_writer_begin(w, ELM_SECTION_WEIGHTS, 4096, NULL, NULL), ELM_OK);
    elm_tensor t = tiny_tensor(1, planes);
    t.codes_bytes--;
    assert_int_equal(elm_writer_tensor(w, &t, NULL), ELM_INTERNAL);
    t = tiny_tensor(1, planes);
    t.group = 33;
    assert_int_equal(elm_writer_tensor(w, &t, NULL), ELM_INTERNAL);
    t = tiny_tensor(0, planes);
    t.scale_exp = 1;
    assert_int_equal(elm_writer_tensor(w, &t, NULL), ELM_INTERNAL);
    static const char *const names[] = {"", "a\nb", "\xff", long_name};
    for (size_t i = 0; i < 4; i++) {
        t = tiny_tensor(0, planes);
        t.name = names[i];
        assert_int_equal(elm_writer_tensor(w, &t, NULL), ELM_INVALID_ARGUMENT);
    }
    elm_writer_abort(w);
    assert_false(exists(&fs, PART));
    fault_io_free(&fs);
}

/* The same over POSIX files: locks, renaming while open, removal. */
static void works_on_a_real_disk(void **state) {
    char folder[] = "/tmp/elm_writer_XXXXXX", path[64], part[70];
    elm_writer *w, *second;
    elm_container c;
    elm_verify_result result;
    elm_path_kind kind;
    const elm_platform *p = elm_platform_default();
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/m.elm", folder);
    snprintf(part, sizeof part, "%s.part", path);
    for (int round = 0; round < 2; round++) assert_int_equal(tiny_write(p, path, NULL), ELM_OK);
    assert_int_equal(elm_writer_open(p, path, 1, &w, NULL), ELM_OK);
    assert_int_equal(elm_writer_open(p, path, 1, &second, NULL), ELM_IO);
    assert_int_equal(elm_path_kind_of(p, part, &kind, NULL), ELM_OK);
    assert_int_equal(kind, ELM_PATH_FILE);
    elm_writer_abort(w);
    assert_int_equal(elm_path_kind_of(p, part, &kind, NULL), ELM_OK);
    assert_int_equal(kind, ELM_PATH_NONE);
    assert_int_equal(elm_container_open(p, path, &c, NULL), ELM_OK);
    assert_int_equal(elm_container_verify(&c, NULL, NULL, NULL, &result, NULL), ELM_OK);
    elm_container_close(&c);
    assert_int_equal(elm_path_remove(p, path, NULL), ELM_OK);
    assert_int_equal(rmdir(folder), 0);
}

/* Chunk borders and buffer borders at once: 4 KiB chunks over more than one 1 MiB buffer, in odd
 * pieces. */
static void writes_across_buffers(void **state) {
    fault_io fs;
    elm_writer *w;
    static uint8_t much[(5 << 20) / 2];
    (void)state;
    tiny_fill(much, sizeof much, 5);
    fault_io_init(&fs);
    assert_int_equal(elm_writer_open(&fs.platform, PATH, 0, &w, NULL), ELM_OK);
    assert_int_equal(elm_writer_begin(w, ELM_SECTION_GRAPH, 4096, NULL, NULL), ELM_OK);
    for (size_t at = 0, step = 1; at < sizeof much; at += step, step = step * 3 % 65521) {
        if (step > sizeof much - at) step = sizeof much - at;
        assert_int_equal(elm_writer_write(w, much + at, step, NULL), ELM_OK);
        assert_int_equal(elm_writer_tell(w), at + step);
    }
    assert_int_equal(elm_writer_align(w, 1 << 20, NULL), ELM_OK);
    assert_int_equal(elm_writer_tell(w), 3 << 20);
    assert_int_equal(elm_writer_end(w, NULL), ELM_OK);
    assert_int_equal(elm_writer_finish(w, NULL, NULL), ELM_OK);
    elm_container c;
    elm_span span;
    assert_int_equal(elm_container_open(&fs.platform, PATH, &c, NULL), ELM_OK);
    assert_int_equal(elm_container_load(&c, ELM_SECTION_GRAPH, &span, NULL), ELM_OK);
    assert_memory_equal(span.data, much, sizeof much);
    for (size_t i = sizeof much; i < span.size; i++) assert_int_equal(span.data[i], 0);
    elm_container_close(&c);
    assert_true(is_new(&fs));
    fault_io_free(&fs);
}

static void survives_every_failed_allocation(void **state) {
    (void)state;
    size_t peak = 0;
    for (size_t limit = 0;; limit = limit < 2048 ? limit + 97 : limit * 9 / 8) {
        fault_io fs;
        elm_capped_allocator capped;
        fault_io_init(&fs);
        fault_io_put(&fs, PATH, old_file, sizeof old_file);
        elm_capped_allocator_init(&capped, elm_allocator_default(), limit ? limit : 1);
        elm_platform p = fs.platform;
        p.alloc = &capped.interface;
        elm_status status = tiny_write(&p, PATH, NULL);
        assert_int_equal(capped.live_bytes, 0);
        assert_int_equal(fs.n_open, 0);
        assert_false(exists(&fs, PART));
        if (status != ELM_OK) {
            assert_true(status == ELM_OUT_OF_MEMORY);
            assert_true(is_old(&fs));
        }
        peak = capped.peak_bytes;
        fault_io_free(&fs);
        if (status == ELM_OK) break;
    }
    assert_true(peak < 3 << 20); /* whatever the size of the model: buffer and tables only */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(writes_the_documented_bytes),
        cmocka_unit_test(same_input_same_bytes),
        cmocka_unit_test(replaces_a_stale_part),
        cmocka_unit_test(asks_for_space_first),
        cmocka_unit_test(lets_one_writer_in),
        cmocka_unit_test(survives_every_fault),
        cmocka_unit_test(waits_out_interruptions),
        cmocka_unit_test(survives_power_cuts),
        cmocka_unit_test(keeps_its_first_failure),
        cmocka_unit_test(refuses_what_could_not_be_read),
        cmocka_unit_test(works_on_a_real_disk),
        cmocka_unit_test(writes_across_buffers),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
