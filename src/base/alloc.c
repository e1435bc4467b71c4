/* alloc.c - the default allocator and the capped one; base. */
#include "base/alloc.h"

#include "base/checked.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* From here on a block begins on a 2 MiB page and is made of such where the system can: what is
 * streamed from 4 KiB pages loses a third of the bandwidth to address translation. */
enum { HUGE_PAGE = 2 << 20, HUGE_BYTES = 8 << 20 };

static void *default_resize(void *self, void *block, size_t old_bytes, size_t new_bytes) {
    void *moved = NULL;
    (void)self;
    if (new_bytes == 0) {
        free(block);
        return NULL;
    }
    if (posix_memalign(&moved, new_bytes >= HUGE_BYTES ? HUGE_PAGE : ELM_ALLOC_ALIGN, new_bytes) !=
        0)
        return NULL;
#ifdef MADV_HUGEPAGE
    if (new_bytes >= HUGE_BYTES) (void)madvise(moved, new_bytes, MADV_HUGEPAGE);
#endif
    if (block) {
        memcpy(moved, block, old_bytes < new_bytes ? old_bytes : new_bytes);
        free(block);
    }
    return moved;
}

const elm_allocator *elm_allocator_default(void) {
    static const elm_allocator allocator = {NULL, default_resize};
    return &allocator;
}

elm_status elm_alloc_unset(const elm_allocator *a, size_t bytes, const char *what, void *out_ptr,
                           elm_error *err) {
    void *block = bytes > 0 ? a->resize(a->self, NULL, 0, bytes) : NULL;
    memcpy(out_ptr, &block, sizeof block);
    return block || bytes == 0 ? ELM_OK : elm_fail_oom(err, bytes, what);
}

elm_status elm_alloc(const elm_allocator *a, size_t bytes, const char *what, void *out_ptr,
                     elm_error *err) {
    void *block;
    ELM_TRY(elm_alloc_unset(a, bytes, what, &block, err));
    if (block) memset(block, 0, bytes);
    memcpy(out_ptr, &block, sizeof block);
    return ELM_OK;
}

elm_status elm_alloc_array(const elm_allocator *a, size_t count, size_t size, const char *what,
                           void *out_ptr, elm_error *err) {
    size_t bytes;
    void *none = NULL;
    memcpy(out_ptr, &none, sizeof none);
    if (!elm_mul_size(count, size, &bytes)) {
        return elm_fail(err, ELM_OUT_OF_MEMORY, "no memory for %s (%zu items of %zu bytes)", what,
                        count, size);
    }
    return elm_alloc(a, bytes, what, out_ptr, err);
}

void elm_free(const elm_allocator *a, void *block, size_t bytes) {
    if (block) a->resize(a->self, block, bytes, 0);
}

/* ---- capped ---- */

static bool reserve(elm_capped_allocator *c, size_t bytes) {
    size_t live = atomic_load(&c->live_bytes), wanted;
    do {
        if (!elm_add_size(live, bytes, &wanted)) return false;
        if (c->limit_bytes && wanted > c->limit_bytes) return false;
    } while (!atomic_compare_exchange_weak(&c->live_bytes, &live, wanted));
    size_t peak = atomic_load(&c->peak_bytes);
    while (wanted > peak && !atomic_compare_exchange_weak(&c->peak_bytes, &peak, wanted)) {}
    return true;
}

static void *capped_resize(void *self, void *block, size_t old_bytes, size_t new_bytes) {
    elm_capped_allocator *c = self;
    if (new_bytes > old_bytes && !reserve(c, new_bytes - old_bytes)) return NULL;
    void *moved = c->parent->resize(c->parent->self, block, old_bytes, new_bytes);
    if (new_bytes > 0 && !moved) {
        if (new_bytes > old_bytes) atomic_fetch_sub(&c->live_bytes, new_bytes - old_bytes);
        return NULL;
    }
    if (new_bytes < old_bytes) atomic_fetch_sub(&c->live_bytes, old_bytes - new_bytes);
    if (new_bytes > 0) atomic_fetch_add(&c->n_allocations, 1);
    return moved;
}

void elm_capped_allocator_init(elm_capped_allocator *c, const elm_allocator *parent,
                               size_t limit_bytes) {
    memset(c, 0, sizeof *c);
    c->interface.self = c;
    c->interface.resize = capped_resize;
    c->parent = parent;
    c->limit_bytes = limit_bytes;
}
