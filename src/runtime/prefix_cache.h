/* prefix_cache.h - what sessions of one model have run already, for the next one that begins alike;
 * runtime.
 *
 * A tree of blocks of 64 tokens. The path from a root to a block is a prefix; a block holds the
 * rows that its tokens left in the full KV states and, where a turn left a mark, the mark behind
 * it:
 *
 *   root (one a KV type) -- "You are a helpful ..." -- "... assistant. User: "    rows [mark]
 *                       `-- "Translate the text ..."                              rows
 *
 * A model whose states can all be cut is served at any block, another at blocks with a mark. Blocks
 * are immutable once they are in the tree and are copied in and out. Past its limit in bytes the
 * cache drops the leaf that was not used for longest. Thread-safe: the lock is held for the walk,
 * not for the copies; a block that is being copied is pinned. */
#ifndef ELM_RUNTIME_PREFIX_CACHE_H
#define ELM_RUNTIME_PREFIX_CACHE_H

#include "runtime/state.h"

typedef struct elm_prefix_cache elm_prefix_cache;

elm_status elm_prefix_cache_create(const elm_allocator *alloc, size_t max_bytes,
                                   elm_prefix_cache **out, elm_error *err) ELM_MUST_CHECK;
void elm_prefix_cache_free(elm_prefix_cache *c);

/* Drops what no session is copying. NULL is fine. */
void elm_prefix_cache_trim(elm_prefix_cache *c);
size_t elm_prefix_cache_bytes(elm_prefix_cache *c);

/* Grid points of a turn at which marks are wanted. */
uint32_t elm_prefix_cache_marks(const elm_session *s);
/* Takes over as much of the timeline in front of its last token as the cache has: moves n_run. */
void elm_prefix_cache_fetch(elm_session *s);
/* Leaves the whole blocks in front of n_run, and the mark when n_run is on the grid. Short of
 * memory it leaves less. */
void elm_prefix_cache_publish(elm_session *s);

#endif
