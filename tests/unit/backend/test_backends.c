/* test_backends.c - what every backend owes its callers, and the template that others are copied
 * from. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "backend/backend.h"
#include "ir/build.h"

static void test_the_table(void **state) {
    (void)state;
    size_t n = 0;
    for (; elm_backend_table[n]; n++) {
        const elm_backend *b = elm_backend_table[n];
        assert_true(b->name && strlen(b->name) > 0 && strlen(b->name) < 32 && b->summary);
        assert_true(b->open && b->close && b->describe && b->supports && b->prepare &&
                    b->program_free && b->run);
        assert_ptr_equal(elm_backend_find(b->name), b);
        for (size_t i = 0; i < n; i++) assert_string_not_equal(b->name, elm_backend_table[i]->name);
    }
    assert_true(n >= 3);
    assert_null(elm_backend_find("nosuch"));
    assert_null(elm_backend_find(""));
}

/* Opening and closing takes and gives back; descriptions end inside any buffer. */
static void test_open_and_describe(void **state) {
    (void)state;
    for (size_t i = 0; elm_backend_table[i]; i++) {
        const elm_backend *b = elm_backend_table[i];
        elm_capped_allocator c;
        elm_platform p = *elm_platform_default();
        elm_device_options options = {UINT32_MAX};
        elm_error err;
        void *device = NULL;
        elm_capped_allocator_init(&c, p.alloc, 0);
        p.alloc = &c.interface;
        elm_status status = b->open(&p, &options, &device, &err);
        if (status != ELM_OK) { /* a device that is not there, with the reason */
            assert_true(status == ELM_BACKEND || status == ELM_UNSUPPORTED);
            assert_true(strlen(err.message) > 0);
            continue;
        }
        for (size_t n = 1; n < 40; n += 6) {
            char text[64];
            memset(text, 'x', sizeof text);
            b->describe(device, text, n);
            assert_true(memchr(text, 0, n) != NULL);
            assert_int_equal(text[n], 'x');
        }
        b->close(device);
        assert_int_equal(atomic_load(&c.live_bytes), 0);
        b->program_free(NULL);
    }
}

static void test_null_refuses_everything_and_says_why(void **state) {
    (void)state;
    const elm_backend *null = elm_backend_find("null");
    elm_arena arena;
    elm_builder b;
    void *device;
    elm_error err;
    elm_arena_init(&arena, elm_allocator_default(), 0);
    assert_int_equal(elm_builder_init(&b, &arena, "text", &err), ELM_OK);
    assert_int_equal(null->open(elm_platform_default(), NULL, &device, &err), ELM_OK);
    static const elm_op all[] = {
#define X(name, number, text, min_in, max_in, n_out, attrs) ELM_OP_##name,
#include "ir/op.def"
#undef X
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        elm_node node = {.op = all[i], .name = "x"};
        char reason[100] = "";
        assert_false(null->supports(device, b.module, b.graph, &node, NULL, reason, sizeof reason));
        assert_non_null(strstr(reason, elm_op_get(all[i])->text));
        char small[8];
        memset(small, 'x', sizeof small);
        assert_false(null->supports(device, b.module, b.graph, &node, NULL, small, 5));
        assert_true(small[4] == 0 && small[5] == 'x');
    }
    elm_program *program = (elm_program *)(void *)&arena;
    size_t bytes = 7;
    elm_prepare_info info = {
        .platform = elm_platform_default(), .module = b.module, .graph = b.graph};
    assert_int_equal(null->prepare(device, &info, &program, &bytes, &err), ELM_INTERNAL);
    assert_null(program);
    assert_int_equal(bytes, 0);
    assert_int_equal(null->run(NULL, NULL, &err), ELM_INTERNAL);
    null->close(device);
    elm_arena_free(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_table),
        cmocka_unit_test(test_open_and_describe),
        cmocka_unit_test(test_null_refuses_everything_and_says_why),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
