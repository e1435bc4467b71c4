/* fuzz_graph.c - the GRAPH section: read, checked, written again and dumped. */
#include <stdlib.h>

#include "ir/graph.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    elm_arena arena;
    elm_module *m = NULL;
    elm_error err = {0};
    elm_buf out;
    elm_arena_init(&arena, elm_allocator_default(), 64 << 20);
    elm_buf_init(&out, elm_allocator_default(), 64 << 20);
    elm_status status = elm_module_read(elm_span_of(data, size), &arena, &m, &err);
    if (status == ELM_OK) status = elm_module_validate(m, NULL, 0, &err);
    if (status != ELM_OK && err.message[0] == 0) abort();
    if (status == ELM_OK) {
        elm_module_write(m, &out);
        if (out.status != ELM_OK || out.size != size || memcmp(out.data, data, size) != 0) abort();
        elm_buf_clear(&out);
        elm_module_dump(m, NULL, 0, &out);
    }
    elm_buf_free(&out);
    elm_arena_free(&arena);
    return 0;
}
