/* arena.c - blocks that double up to a cap, freed together; base. */
#include "base/arena.h"

#include "base/checked.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { FIRST_BLOCK = 4096, LARGEST_BLOCK = 1 << 20, HEADER = 64 };

struct elm_arena_block {
    elm_arena_block *next;
    size_t bytes; /* whole block, header included */
    size_t used;
};
static_assert(sizeof(struct elm_arena_block) <= HEADER, "the header keeps data aligned");

void elm_arena_init(elm_arena *arena, const elm_allocator *alloc, size_t limit_bytes) {
    memset(arena, 0, sizeof *arena);
    arena->alloc = alloc;
    arena->limit_bytes = limit_bytes;
}

void elm_arena_free(elm_arena *arena) {
    elm_arena_block *block = arena->blocks;
    while (block) {
        elm_arena_block *next = block->next;
        elm_free(arena->alloc, block, block->bytes);
        block = next;
    }
    arena->blocks = NULL;
    arena->total_bytes = 0;
}

static elm_arena_block *add_block(elm_arena *arena, size_t need) {
    size_t bytes = arena->blocks ? arena->blocks->bytes * 2 : FIRST_BLOCK;
    if (bytes > LARGEST_BLOCK) bytes = LARGEST_BLOCK;
    size_t least, total;
    if (!elm_add_size(need, HEADER + 64, &least)) return NULL;
    if (bytes < least) bytes = least;
    if (!elm_add_size(arena->total_bytes, bytes, &total)) return NULL;
    if (arena->limit_bytes && total > arena->limit_bytes) return NULL;
    elm_arena_block *block = NULL;
    if (elm_alloc(arena->alloc, bytes, "an arena", &block, NULL) != ELM_OK) return NULL;
    block->next = arena->blocks;
    block->bytes = bytes;
    block->used = HEADER;
    arena->blocks = block;
    arena->total_bytes = total;
    return block;
}

void *elm_arena_alloc(elm_arena *arena, size_t bytes, size_t align) {
    elm_arena_block *block = arena->blocks;
    if (bytes == 0) bytes = 1; /* distinct, non-NULL */
    for (int attempt = 0; attempt < 2; attempt++) {
        if (block) {
            size_t at = elm_round_up(block->used, align);
            if (at <= block->bytes && bytes <= block->bytes - at) {
                block->used = at + bytes;
                return (uint8_t *)block + at; /* blocks come zeroed and are used once */
            }
        }
        block = add_block(arena, bytes);
        if (!block) return NULL;
    }
    return NULL;
}

void *elm_arena_array(elm_arena *arena, size_t count, size_t size) {
    size_t bytes;
    return elm_mul_size(count, size, &bytes) ? elm_arena_alloc(arena, bytes, 16) : NULL;
}

char *elm_arena_string(elm_arena *arena, elm_span text) {
    char *copy = elm_arena_alloc(arena, text.size + 1, 1);
    if (copy && text.size > 0) memcpy(copy, text.data, text.size);
    return copy;
}

char *elm_arena_printf(elm_arena *arena, const char *fmt, ...) {
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    char *text = n < 0 ? NULL : elm_arena_alloc(arena, (size_t)n + 1, 1);
    if (text) vsnprintf(text, (size_t)n + 1, fmt, again);
    va_end(again);
    va_end(args);
    return text;
}
