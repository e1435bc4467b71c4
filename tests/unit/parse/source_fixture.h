/* source_fixture.h - the file system in memory that each test of sources begins with, and that has
 * to have every file closed when the test ends. */
#ifndef TESTS_SOURCE_FIXTURE_H
#define TESTS_SOURCE_FIXTURE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "source_files.h"

#define PATH "m.gguf"

static fault_io fs;

static inline int begin(void **state) {
    (void)state;
    source_files_init(&fs);
    return 0;
}

static inline int end(void **state) {
    (void)state;
    int left = fs.n_open;
    fault_io_free(&fs);
    return left;
}

#endif
