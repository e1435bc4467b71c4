/* source_fuzz.h - what the fuzz targets of parse/ share: a memory cap, and reading all that an open
 * source offers. */
#ifndef TESTS_SOURCE_FUZZ_H
#define TESTS_SOURCE_FUZZ_H

#include <stdlib.h>

#include "parse/source.h"
#include "source_files.h"

enum { FUZZ_MEMORY = 256 << 20, FUZZ_READ_FLOATS = 1 << 16 };

static fault_io fs;
static elm_capped_allocator cap;

static inline void fuzz_begin(void) {
    source_files_init(&fs);
    elm_capped_allocator_init(&cap, elm_allocator_default(), FUZZ_MEMORY);
    fs.platform.alloc = &cap.interface;
}

static inline void fuzz_end(void) {
    if (cap.live_bytes != 0 || fs.n_open != 0) abort(); /* something was not given back */
    fault_io_free(&fs);
}

/* Every status comes with a message of one line. */
static inline void fuzz_check(elm_status status, const elm_error *err) {
    if (status != ELM_OK && (err->message[0] == 0 || err->code != status)) abort();
}

static inline void fuzz_read_tensor(const elm_checkpoint *ck, const elm_source_tensor *t) {
    static float out[FUZZ_READ_FLOATS];
    uint64_t rows = t->n_dims > 0 ? t->dims[0] : 1;
    uint64_t elements = t->bytes / elm_source_type_get(t->type)->block_bytes *
                        elm_source_type_get(t->type)->block_elements;
    uint64_t per_row = elements / rows;
    if (elm_checkpoint_find(ck, t->name) != t) abort();
    if (per_row > FUZZ_READ_FLOATS) return;
    uint64_t n = FUZZ_READ_FLOATS / per_row < rows ? FUZZ_READ_FLOATS / per_row : rows;
    if (elm_checkpoint_read_rows(ck, t, rows - n, n, out, NULL) != ELM_OK) abort();
    if (t->bytes / rows * n > sizeof out) return;
    if (elm_checkpoint_read_raw_rows(ck, t, 0, n, out, NULL) != ELM_OK) abort();
    if (elm_checkpoint_read_rows(ck, t, rows, 1, out, NULL) == ELM_OK) abort();
}

/* What opened must be readable to its last byte. */
static inline void fuzz_read_all(const elm_checkpoint *ck) {
    for (uint32_t i = 0; i < ck->n_tensors; i++) fuzz_read_tensor(ck, &ck->tensors[i]);
}

#endif
