/* test_file.c - the file calls over a scripted io (short counts, interruptions, errors) and over
 * POSIX. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/platform.h"

static elm_error err;

/* Reads and writes three bytes at a time, fails every second call with EINTR, and at `error_at`
 * with `error`. */
typedef struct script {
    uint8_t data[64];
    int calls, error_at, error;
} script;

static int64_t answer(script *s, size_t size) {
    s->calls++;
    if (s->error_at && s->calls >= s->error_at) return -s->error;
    if (s->calls % 2) return -EINTR;
    return (int64_t)(size < 3 ? size : 3);
}

static int64_t scripted_read(void *self, void *handle, uint64_t offset, void *data, size_t size) {
    script *s = self;
    (void)handle;
    if (offset >= sizeof s->data) return 0;
    if (size > sizeof s->data - offset) size = (size_t)(sizeof s->data - offset);
    int64_t n = answer(s, size);
    if (n > 0) memcpy(data, s->data + offset, (size_t)n);
    return n;
}

static int64_t scripted_write(void *self, void *handle, uint64_t offset, const void *data,
                              size_t size) {
    script *s = self;
    (void)handle;
    int64_t n = answer(s, size);
    if (n > 0) memcpy(s->data + offset, data, (size_t)n);
    return n;
}

static void test_short_counts_and_interruptions(void **state) {
    (void)state;
    script s = {0};
    elm_io io = *elm_io_posix();
    io.self = &s;
    io.read_at = scripted_read;
    io.write_at = scripted_write;
    char path[] = "memory";
    elm_file f = {.io = &io, .handle = &s, .path = path, .alloc = elm_allocator_default()};
    uint8_t bytes[50], back[50];
    for (uint8_t i = 0; i < 50; i++) bytes[i] = (uint8_t)(i + 1);
    assert_int_equal(elm_file_write_at(&f, 7, bytes, 50, &err), ELM_OK);
    assert_memory_equal(s.data + 7, bytes, 50);
    assert_int_equal(elm_file_read_at(&f, 7, back, 50, &err), ELM_OK);
    assert_memory_equal(back, bytes, 50);
    assert_int_equal(elm_file_read_at(&f, 60, back, 5, &err), ELM_MALFORMED); /* the file ends */
    assert_non_null(strstr(err.message, "memory"));
    s.calls = 0, s.error_at = 4, s.error = ENOSPC;
    assert_int_equal(elm_file_write_at(&f, 0, bytes, 50, &err), ELM_IO);
    s.calls = 0, s.error = EIO;
    assert_int_equal(elm_file_read_at(&f, 0, back, 50, &err), ELM_IO);
}

static char *in_folder(const char *folder, const char *name) {
    static char path[4][300];
    static int next;
    char *out = path[next++ % 4];
    snprintf(out, 300, "%s/%s", folder, name);
    return out;
}

static void write_whole(const char *path, const char *text) {
    elm_file f;
    assert_int_equal(elm_file_open(elm_platform_default(), path, ELM_OPEN_CREATE, &f, &err),
                     ELM_OK);
    assert_int_equal(elm_file_write_at(&f, 0, text, strlen(text), &err), ELM_OK);
    assert_int_equal(elm_file_sync(&f, &err), ELM_OK);
    elm_file_close(&f);
}

static void test_posix(void **state) {
    (void)state;
    const elm_platform *p = elm_platform_default();
    char folder[] = "/tmp/elm-file-XXXXXX";
    assert_non_null(mkdtemp(folder));
    char *a = in_folder(folder, "a"), *b = in_folder(folder, "b");
    elm_path_kind kind;
    elm_file f;
    assert_int_equal(elm_file_open(p, a, ELM_OPEN_READ, &f, &err), ELM_NOT_FOUND);
    assert_null(f.handle);
    assert_int_equal(elm_path_kind_of(p, a, &kind, &err), ELM_OK);
    assert_int_equal(kind, ELM_PATH_NONE);
    write_whole(a, "hello");
    assert_int_equal(elm_path_kind_of(p, a, &kind, &err), ELM_OK);
    assert_int_equal(kind, ELM_PATH_FILE);
    assert_int_equal(elm_path_kind_of(p, folder, &kind, &err), ELM_OK);
    assert_int_equal(kind, ELM_PATH_FOLDER);
    assert_int_equal(elm_path_kind_of(p, "/dev/null", &kind, &err), ELM_OK);
    assert_int_equal(kind, ELM_PATH_OTHER);
    elm_arena arena;
    elm_span text;
    elm_arena_init(&arena, p->alloc, 0);
    assert_int_equal(elm_file_slurp(p, a, 5, &arena, &text, &err), ELM_OK);
    assert_int_equal(text.size, 5);
    assert_string_equal((const char *)text.data, "hello"); /* a NUL follows */
    assert_int_equal(elm_file_slurp(p, a, 4, &arena, &text, &err), ELM_MALFORMED);
    assert_int_equal(elm_file_slurp(p, folder, 100, &arena, &text, &err), ELM_NOT_FOUND);
    assert_int_equal(elm_path_rename(p, a, b, &err), ELM_OK);
    assert_int_equal(elm_file_open(p, b, ELM_OPEN_UPDATE, &f, &err), ELM_OK);
    assert_int_equal(elm_file_truncate(&f, 100, &err), ELM_OK);
    elm_file_close(&f);
    elm_file_close(&f);
    assert_int_equal(elm_file_open(p, b, ELM_OPEN_READ, &f, &err), ELM_OK);
    assert_int_equal(elm_file_map(&f, &text, &err), ELM_OK);
    assert_int_equal(text.size, 100);
    assert_memory_equal(text.data, "hello\0\0", 7);
    elm_file_unmap(&f, text);
    elm_file_close(&f);
    uint64_t left;
    assert_int_equal(elm_path_free_space(p, b, &left, &err), ELM_OK);
    assert_true(left > 0);
    assert_int_equal(elm_path_remove(p, b, &err), ELM_OK);
    assert_int_equal(elm_path_remove(p, b, &err), ELM_OK); /* not there: fine */
    elm_arena_free(&arena);
    assert_int_equal(rmdir(folder), 0);
}

/* Two handles of one file: the second does not wait. */
static void test_locks_exclude(void **state) {
    (void)state;
    const elm_platform *p = elm_platform_default();
    char folder[] = "/tmp/elm-file-XXXXXX";
    assert_non_null(mkdtemp(folder));
    char *path = in_folder(folder, "locked");
    elm_file a, b;
    assert_int_equal(elm_file_open(p, path, ELM_OPEN_CREATE, &a, &err), ELM_OK);
    assert_int_equal(elm_file_open(p, path, ELM_OPEN_UPDATE, &b, &err), ELM_OK);
    assert_int_equal(elm_file_lock(&a, &err), ELM_OK);
    assert_int_equal(elm_file_lock(&b, &err), ELM_IO);
    elm_file_close(&a);
    assert_int_equal(elm_file_lock(&b, &err), ELM_OK);
    elm_file_close(&b);
    unlink(path);
    rmdir(folder);
}

static void test_clock_does_not_go_back(void **state) {
    (void)state;
    uint64_t last = elm_now_us(elm_platform_default());
    for (int i = 0; i < 1000; i++) {
        uint64_t now = elm_now_us(elm_platform_default());
        assert_true(now >= last);
        last = now;
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_short_counts_and_interruptions),
        cmocka_unit_test(test_posix),
        cmocka_unit_test(test_locks_exclude),
        cmocka_unit_test(test_clock_does_not_go_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
