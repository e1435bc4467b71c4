/* thread_pool.h - a fixed set of workers that share the parts of one stage after another.
 *
 * A run is a sequence of stages; a stage is a number of parts that may run in any order, on any
 * thread, at once. Each thread has a share of the parts of its own, the same ones every time, and
 * takes from the others' when it is through. A stage is over when all its parts are, not when all
 * threads have arrived: a thread that has no part in hand (because another program has its
 * processor, or because it sleeps) is never waited for.
 *
 * Workers spin for a short while after the last part and then park, so that a stage costs a few
 * hundred nanoseconds to start and an idle pool costs nothing. */
#ifndef ELM_BASE_THREAD_POOL_H
#define ELM_BASE_THREAD_POOL_H

#include "base/alloc.h"

enum { ELM_MAX_THREADS = 256, ELM_MAX_PARTS = 16384 };

typedef struct elm_thread_pool elm_thread_pool;

/* What a run does. Everything that `next` and earlier stages wrote is visible to a part. */
typedef struct elm_stages {
    /* Opens the next stage and returns its number of parts, at most ELM_MAX_PARTS; 0 ends the run.
     * Called by one thread at a time, once all parts of the stage before are done. A stage of one
     * part runs where it was opened: no other thread hears of it. */
    uint32_t (*next)(void *context);
    /* Part `part` of n_parts, on thread `thread` of the pool: 0 is the caller's own. */
    void (*part)(void *context, uint32_t part, uint32_t n_parts, uint32_t thread);
    void *context;
} elm_stages;

/* `thread` in [0, n_threads). */
typedef void (*elm_step_fn)(void *context, uint32_t thread, uint32_t n_threads);

/* n_threads in [1, ELM_MAX_THREADS] counts the calling thread: 1 starts no worker. */
elm_status elm_thread_pool_create(const elm_allocator *alloc, uint32_t n_threads,
                                  elm_thread_pool **out, elm_error *err) ELM_MUST_CHECK;
void elm_thread_pool_free(elm_thread_pool *pool);
uint32_t elm_thread_pool_size(const elm_thread_pool *pool);

/* Runs all stages and returns. One run at a time: concurrent callers queue on a lock. Allocates
 * nothing. Everything written before is visible inside and after. */
void elm_thread_pool_run_stages(elm_thread_pool *pool, const elm_stages *stages);

/* Runs fn once on every thread, whatever keeps it from starting, and returns when all have
 * returned. */
void elm_thread_pool_run(elm_thread_pool *pool, elm_step_fn fn, void *context);

/* The part [*begin, *end) of [0, n) for one of n_parts, contiguous, in units of `grain`. */
static inline void elm_split(size_t n, size_t grain, uint32_t part, uint32_t n_parts, size_t *begin,
                             size_t *end) {
    size_t units = (n + grain - 1) / grain;
    *begin = units * part / n_parts * grain;
    *end = units * (part + 1) / n_parts * grain;
    if (*end > n) *end = n;
    if (*begin > n) *begin = n;
}

#endif
