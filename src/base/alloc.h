/* alloc.h - memory through the allocator vtable, the default allocator, and one that enforces a
 * cap. */
#ifndef ELM_BASE_ALLOC_H
#define ELM_BASE_ALLOC_H

#include <stdatomic.h>

#include "base/status.h"

/* The C library's aligned allocator. Never NULL. */
const elm_allocator *elm_allocator_default(void);

/* Allocates `bytes` zeroed bytes, aligned to ELM_ALLOC_ALIGN. bytes == 0 gives *out = NULL.
 * `what` names the purpose in the message of a failure. Free with elm_free and the same size. */
elm_status elm_alloc(const elm_allocator *a, size_t bytes, const char *what, void *out_ptr,
                     elm_error *err) ELM_MUST_CHECK;

/* The same with whatever the memory holds: for large blocks that are written before they are read,
 * whose pages should not be touched before. */
elm_status elm_alloc_unset(const elm_allocator *a, size_t bytes, const char *what, void *out_ptr,
                           elm_error *err) ELM_MUST_CHECK;

/* The same for count * size bytes, overflow checked. */
elm_status elm_alloc_array(const elm_allocator *a, size_t count, size_t size, const char *what,
                           void *out_ptr, elm_error *err) ELM_MUST_CHECK;

/* Frees a block of `bytes` bytes; NULL is fine. */
void elm_free(const elm_allocator *a, void *block, size_t bytes);

/* An allocator over `parent` that counts live bytes and refuses what would pass `limit_bytes`
 * (0 = no limit). Thread-safe. `interface` is what is handed on; it points into this struct, which
 * must not move. */
typedef struct elm_capped_allocator {
    elm_allocator interface;
    const elm_allocator *parent;
    size_t limit_bytes;
    atomic_size_t live_bytes;
    atomic_size_t peak_bytes;
    atomic_size_t n_allocations; /* successful resize calls that are not frees */
} elm_capped_allocator;

void elm_capped_allocator_init(elm_capped_allocator *c, const elm_allocator *parent,
                               size_t limit_bytes);

#endif
