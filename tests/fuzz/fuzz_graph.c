/* fuzz_graph.c - the GRAPH section: read, checked, written again and dumped. What is written holds
 * every attribute, so it is as long or longer; written once more it is the same. */
#include <stdlib.h>

#include "ir/graph.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    elm_arena arena;
    elm_module *m = NULL;
    elm_error err = {0};
    elm_buf out, again;
    elm_arena_init(&arena, elm_allocator_default(), 64 << 20);
    elm_buf_init(&out, elm_allocator_default(), 64 << 20);
    elm_status status = elm_module_read(elm_span_of(data, size), &arena, &m, &err);
    if (status == ELM_OK) status = elm_module_validate(m, NULL, 0, &err);
    if (status != ELM_OK && err.message[0] == 0) abort();
    if (status == ELM_OK) {
        elm_module_write(m, &out);
        if (out.status != ELM_OK || out.size < size) abort();
        if (out.size == size && memcmp(out.data, data, size) != 0) abort();
        elm_buf_init(&again, elm_allocator_default(), 64 << 20);
        if (elm_module_read(elm_buf_span(&out), &arena, &m, NULL) != ELM_OK) abort();
        elm_module_write(m, &again);
        if (!elm_span_equal(elm_buf_span(&out), elm_buf_span(&again))) abort();
        elm_buf_free(&again);
        elm_buf_clear(&out);
        elm_module_dump(m, NULL, 0, &out);
    }
    elm_buf_free(&out);
    elm_arena_free(&arena);
    return 0;
}
