/* arena.h - bump allocation for data that lives and dies together (a parsed file, an opened model).
 */
#ifndef ELM_BASE_ARENA_H
#define ELM_BASE_ARENA_H

#include "base/alloc.h"
#include "base/span.h"

typedef struct elm_arena_block elm_arena_block;

typedef struct elm_arena {
    const elm_allocator *alloc;
    elm_arena_block *blocks; /* newest first */
    size_t total_bytes;
    size_t limit_bytes; /* 0 = none; past it allocations fail with ELM_OUT_OF_MEMORY */
} elm_arena;

/* A valid empty arena; takes no memory until the first allocation. */
void elm_arena_init(elm_arena *arena, const elm_allocator *alloc, size_t limit_bytes);
void elm_arena_free(elm_arena *arena);

/* Zeroed memory aligned to `align` (power of two, <= 64); lives as long as the arena. NULL when
 * memory or the limit runs out: callers turn that into elm_fail_oom. */
void *elm_arena_alloc(elm_arena *arena, size_t bytes, size_t align);

/* count * size bytes, overflow checked, aligned for any type. */
void *elm_arena_array(elm_arena *arena, size_t count, size_t size);

/* A NUL-terminated copy. */
char *elm_arena_string(elm_arena *arena, elm_span text);
char *elm_arena_printf(elm_arena *arena, const char *fmt, ...) ELM_PRINTF(2, 3);

#endif
