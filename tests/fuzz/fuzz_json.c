/* fuzz_json.c - the JSON reader; what it read, written and read again, is the same tree. */
#include <stdlib.h>

#include "base/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MEMORY_PER_BYTE = 256, MEMORY_BASE = 1 << 20 };

static bool equal(const elm_json *a, const elm_json *b) {
    if (a->type != b->type) return a->type == ELM_JSON_DOUBLE && b->type == ELM_JSON_INT;
    switch (a->type) {
    case ELM_JSON_STRING:
        return elm_span_equal(a->as.string, b->as.string);
    case ELM_JSON_INT:
        return a->as.integer == b->as.integer;
    case ELM_JSON_DOUBLE:
        return a->as.number == b->as.number;
    case ELM_JSON_ARRAY:
        for (uint32_t i = 0; i < a->count; i++) {
            if (i >= b->count || !equal(&a->as.items[i], &b->as.items[i])) return false;
        }
        return a->count == b->count;
    default:
        return true;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    elm_capped_allocator cap;
    elm_arena arena;
    const elm_json *root = NULL, *again = NULL;
    elm_error err = {0};
    elm_buf text;
    elm_capped_allocator_init(&cap, elm_allocator_default(), MEMORY_BASE + MEMORY_PER_BYTE * size);
    elm_arena_init(&arena, &cap.interface, 0);
    elm_status status = elm_json_parse(elm_span_of(data, size), "x", NULL, &arena, &root, &err);
    if (status == ELM_OUT_OF_MEMORY) abort(); /* more than the input can need */
    if (status != ELM_OK && err.message[0] == 0) abort();
    if (status == ELM_OK) {
        elm_json_writer w;
        elm_buf_init(&text, elm_allocator_default(), 1 << 28);
        elm_json_writer_init(&w, &text, false);
        elm_json_put_value(&w, NULL, root);
        elm_arena_free(&arena);
        elm_arena_init(&arena, elm_allocator_default(), 0);
        if (elm_json_parse(elm_span_of(data, size), "x", NULL, &arena, &root, NULL) != ELM_OK)
            abort();
        if (elm_json_parse(elm_buf_span(&text), "y", NULL, &arena, &again, &err) != ELM_OK) abort();
        if (!equal(root, again)) abort();
        elm_buf_free(&text);
    }
    elm_arena_free(&arena);
    return 0;
}
