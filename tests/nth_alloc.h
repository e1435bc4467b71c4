/* nth_alloc.h - an allocator whose N-th request fails, and which counts what is live. For tests. */
#ifndef TESTS_NTH_ALLOC_H
#define TESTS_NTH_ALLOC_H

#include <stdatomic.h>

#include "base/alloc.h"

typedef struct nth_alloc {
    elm_allocator interface;
    uint64_t fail_at; /* from 1; 0 = never */
    atomic_ullong n, live_bytes;
} nth_alloc;

static inline void *nth_resize(void *self, void *block, size_t old_bytes, size_t new_bytes) {
    nth_alloc *a = self;
    const elm_allocator *parent = elm_allocator_default();
    if (new_bytes > 0 && atomic_fetch_add(&a->n, 1) + 1 == a->fail_at) return NULL;
    void *moved = parent->resize(parent->self, block, old_bytes, new_bytes);
    if (moved || new_bytes == 0) {
        atomic_fetch_add(&a->live_bytes, new_bytes);
        atomic_fetch_sub(&a->live_bytes, block ? old_bytes : 0);
    }
    return moved;
}

static inline void nth_alloc_init(nth_alloc *a, uint64_t fail_at) {
    a->interface = (elm_allocator){a, nth_resize};
    a->fail_at = fail_at;
    atomic_init(&a->n, 0);
    atomic_init(&a->live_bytes, 0);
}

#endif
