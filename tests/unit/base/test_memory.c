/* test_memory.c - allocators, arenas, buffers, spans and checked arithmetic at their limits. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/checked.h"
#include "base/span.h"

static elm_error err;

static void test_checked_arithmetic(void **state) {
    (void)state;
    uint64_t u = 1;
    size_t z = 1;
    assert_true(elm_add_u64(UINT64_MAX - 1, 1, &u) && u == UINT64_MAX);
    assert_false(elm_add_u64(UINT64_MAX, 1, &u));
    assert_true(u == 0);
    assert_true(elm_mul_u64(UINT32_MAX, UINT32_MAX, &u));
    assert_false(elm_mul_u64(UINT64_MAX / 2 + 1, 2, &u) || u != 0);
    assert_false(elm_add_size(SIZE_MAX, 1, &z) || z != 0);
    assert_false(elm_mul_size(SIZE_MAX, 2, &z) || z != 0);
    assert_true(elm_align_u64(65, 64, &u) && u == 128);
    assert_true(elm_align_u64(0, 64, &u) && u == 0);
    assert_false(elm_align_u64(UINT64_MAX - 3, 64, &u));
    assert_true(elm_range_inside(0, 0, 0) && elm_range_inside(5, 5, 10) &&
                elm_range_inside(10, 0, 10));
    assert_false(elm_range_inside(5, 6, 10) || elm_range_inside(11, 0, 10));
    assert_false(elm_range_inside(UINT64_MAX, 2, 10) || elm_range_inside(2, UINT64_MAX, 10));
}

static void test_reader_stops_at_the_end(void **state) {
    (void)state;
    uint8_t *bytes = malloc(15);
    for (uint8_t i = 0; i < 15; i++) bytes[i] = (uint8_t)(i + 1);
    elm_reader r = elm_reader_of(elm_span_of(bytes, 15));
    assert_int_equal(elm_read_u8(&r), 1);
    assert_int_equal(elm_read_u16(&r), 0x0302);
    assert_int_equal(elm_read_u32(&r), 0x07060504);
    assert_true(elm_read_u64(&r) == 0x0f0e0d0c0b0a0908u);
    assert_false(r.failed);
    assert_int_equal(elm_read_u8(&r), 0);
    assert_true(r.failed);
    r = elm_reader_of(elm_span_of(bytes, 3));
    assert_int_equal(elm_read_u32(&r),
                     0); /* half a number is none, and what follows is not read either */
    assert_true(r.failed);
    assert_int_equal(elm_read_u8(&r), 0);
    assert_null(elm_read_bytes(&r, 0));
    r = elm_reader_of(elm_span_of(bytes, 15));
    assert_null(elm_read_bytes(&r, UINT64_MAX));
    float f = 1.5f;
    double d = -2.25;
    uint8_t both[12];
    memcpy(both, &f, 4);
    memcpy(both + 4, &d, 8);
    r = elm_reader_of(elm_span_of(both, 12));
    assert_true(elm_read_f32(&r) == 1.5f && elm_read_f64(&r) == -2.25 && !r.failed);
    free(bytes);
}

static void test_slices(void **state) {
    (void)state;
    elm_span s = elm_span_str("hello");
    bool ok = true;
    assert_true(elm_span_equal(elm_span_slice(s, 1, 3, &ok), elm_span_str("ell")) && ok);
    assert_int_equal(elm_span_slice(s, 5, 0, &ok).size, 0);
    assert_true(ok);
    elm_span_slice(s, 4, 2, &ok);
    assert_false(ok);
    ok = true;
    elm_span_slice(s, UINT64_MAX, 1, &ok);
    assert_false(ok);
    ok = true;
    elm_span_slice(s, 1, UINT64_MAX, &ok);
    assert_false(ok);
    assert_true(elm_span_equal(elm_span_of(NULL, 0), elm_span_str("")));
}

static void test_allocations_are_zeroed_and_aligned(void **state) {
    (void)state;
    const elm_allocator *a = elm_allocator_default();
    for (size_t n = 1; n < 5000; n = n * 3 + 1) {
        uint8_t *p = NULL;
        assert_int_equal(elm_alloc(a, n, "t", &p, &err), ELM_OK);
        assert_int_equal((uintptr_t)p % ELM_ALLOC_ALIGN, 0);
        for (size_t i = 0; i < n; i++) assert_int_equal(p[i], 0);
        memset(p, 0xff, n);
        p = a->resize(a->self, p, n, 2 * n);
        assert_non_null(p);
        for (size_t i = 0; i < n; i++) assert_int_equal(p[i], 0xff);
        elm_free(a, p, 2 * n);
    }
    void *none = &err;
    assert_int_equal(elm_alloc(a, 0, "t", &none, &err), ELM_OK);
    assert_null(none);
    none = &err;
    assert_int_equal(elm_alloc_array(a, SIZE_MAX / 2, 3, "a table", &none, &err),
                     ELM_OUT_OF_MEMORY);
    assert_null(none);
    assert_non_null(strstr(err.message, "a table"));
    elm_free(a, NULL, 10);
}

static void test_the_cap_is_hard(void **state) {
    (void)state;
    elm_capped_allocator c;
    elm_capped_allocator_init(&c, elm_allocator_default(), 1000);
    const elm_allocator *a = &c.interface;
    void *p = NULL, *q = NULL;
    assert_int_equal(elm_alloc(a, 600, "t", &p, &err), ELM_OK);
    assert_int_equal(elm_alloc(a, 401, "t", &q, &err), ELM_OUT_OF_MEMORY);
    assert_int_equal(elm_alloc(a, 400, "t", &q, &err), ELM_OK);
    assert_null(a->resize(a->self, q, 400, 401));
    q = a->resize(a->self, q, 400, 100);
    assert_non_null(q);
    assert_int_equal(atomic_load(&c.live_bytes), 700);
    assert_int_equal(atomic_load(&c.peak_bytes), 1000);
    assert_int_equal(atomic_load(&c.n_allocations), 3);
    elm_free(a, q, 100);
    elm_free(a, p, 600);
    assert_int_equal(atomic_load(&c.live_bytes), 0);
    assert_null(a->resize(a->self, NULL, 0, SIZE_MAX));
    assert_int_equal(atomic_load(&c.live_bytes), 0);
}

static void *never(void *self, void *block, size_t old_bytes, size_t new_bytes) {
    (void)self, (void)block, (void)old_bytes, (void)new_bytes;
    return NULL;
}

/* What the parent refuses must not stay counted. */
static void test_a_refusal_of_the_parent_is_given_back(void **state) {
    (void)state;
    const elm_allocator parent = {NULL, never};
    elm_capped_allocator c;
    elm_capped_allocator_init(&c, &parent, 0);
    assert_null(c.interface.resize(c.interface.self, NULL, 0, 100));
    assert_int_equal(atomic_load(&c.live_bytes), 0);
}

static void test_arena(void **state) {
    (void)state;
    elm_arena arena;
    elm_arena_init(&arena, elm_allocator_default(), 100000);
    assert_int_equal(arena.total_bytes, 0);
    uint8_t *last = NULL;
    for (size_t i = 0; i < 200; i++) {
        size_t align = (size_t)1 << i % 7, n = i * 7 % 97;
        uint8_t *p = elm_arena_alloc(&arena, n, align);
        assert_non_null(p);
        assert_ptr_not_equal(p, last); /* also when nothing was asked for */
        assert_int_equal((uintptr_t)p % align, 0);
        for (size_t k = 0; k < n; k++) assert_int_equal(p[k], 0);
        if (n > 0) memset(p, 0xff, n);
        last = p;
    }
    assert_non_null(elm_arena_alloc(&arena, 50000, 64)); /* larger than a block */
    assert_null(elm_arena_alloc(&arena, 100000, 1));
    assert_null(elm_arena_alloc(&arena, SIZE_MAX - 10, 64));
    assert_null(elm_arena_array(&arena, SIZE_MAX / 4, 8));
    assert_true(arena.total_bytes <= 100000);
    assert_string_equal(elm_arena_printf(&arena, "%d-%s", 7, "x"), "7-x");
    assert_string_equal(elm_arena_string(&arena, elm_span_of("abc", 2)), "ab");
    elm_arena_free(&arena);
    elm_arena_free(&arena);
}

static void test_buffer(void **state) {
    (void)state;
    elm_buf b;
    elm_buf_init(&b, elm_allocator_default(), 1000);
    elm_buf_u8(&b, 1);
    elm_buf_u16(&b, 0x0302);
    elm_buf_u32(&b, 0x07060504);
    elm_buf_u64(&b, 0x0f0e0d0c0b0a0908u);
    for (size_t i = 0; i < 15; i++) assert_int_equal(b.data[i], i + 1);
    elm_buf_align(&b, 64);
    assert_int_equal(b.size, 64);
    elm_buf_printf(&b, "%s=%d", "x", 5);
    assert_memory_equal(b.data + 64, "x=5", 3);
    assert_int_equal(elm_buf_check(&b, "t", &err), ELM_OK);
    static const uint8_t block[400] = {0};
    elm_buf_append(&b, block, 400);
    elm_buf_append(&b, block, 400);
    assert_int_equal(elm_buf_check(&b, "t", &err), ELM_OK);
    size_t size = b.size;
    elm_buf_append(&b, block, 400); /* past 1000: latched, nothing added, later appends ignored */
    elm_buf_u8(&b, 1);
    assert_int_equal(b.size, size);
    assert_int_equal(elm_buf_check(&b, "the thing", &err), ELM_LIMIT);
    assert_non_null(strstr(err.message, "the thing"));
    elm_buf_clear(&b);
    assert_int_equal(elm_buf_check(&b, "t", &err), ELM_OK);
    elm_buf_free(&b);
    elm_capped_allocator c;
    elm_capped_allocator_init(&c, elm_allocator_default(), 300);
    elm_buf_init(&b, &c.interface, 1 << 20);
    elm_buf_append(&b, block, 400);
    assert_int_equal(elm_buf_check(&b, "t", &err), ELM_OUT_OF_MEMORY);
    elm_buf_free(&b);
    assert_int_equal(atomic_load(&c.live_bytes), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checked_arithmetic),
        cmocka_unit_test(test_reader_stops_at_the_end),
        cmocka_unit_test(test_slices),
        cmocka_unit_test(test_allocations_are_zeroed_and_aligned),
        cmocka_unit_test(test_the_cap_is_hard),
        cmocka_unit_test(test_a_refusal_of_the_parent_is_given_back),
        cmocka_unit_test(test_arena),
        cmocka_unit_test(test_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
