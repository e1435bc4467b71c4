/* cmocka.h - as much of cmocka as the kernel tests use, for targets that Debian has no cmocka for: they
 * run under an emulator. Prints TAP. */
#ifndef TESTS_CROSS_CMOCKA_H
#define TESTS_CROSS_CMOCKA_H

#include <stdio.h>

struct CMUnitTest {
    const char *name;
    void (*run)(void **state);
};

#define cmocka_unit_test(f) \
    { #f, f }

static jmp_buf cmocka_failed;

#define fail_msg(...)                            \
    do {                                         \
        printf("# %s:%d: ", __FILE__, __LINE__); \
        printf(__VA_ARGS__);                     \
        printf("\n");                            \
        longjmp(cmocka_failed, 1);               \
    } while (0)
#define assert_true(c)                \
    do {                              \
        if (!(c)) fail_msg("%s", #c); \
    } while (0)
#define assert_int_equal(a, b) assert_true((a) == (b))

static inline int cmocka_run(const struct CMUnitTest *tests, size_t n) {
    volatile int failed = 0;
    printf("1..%zu\n", n);
    for (volatile size_t i = 0; i < n; i++) {
        void *state = NULL;
        int bad = setjmp(cmocka_failed);
        if (!bad) tests[i].run(&state);
        failed += bad;
        printf("%s %zu - %s\n", bad ? "not ok" : "ok", i + 1, tests[i].name);
        fflush(stdout);
    }
    return failed;
}

#define cmocka_run_group_tests(tests, setup, teardown) \
    ((void)(setup), (void)(teardown), cmocka_run(tests, sizeof(tests) / sizeof *(tests)))

#endif
