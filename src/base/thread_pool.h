/* thread_pool.h - a fixed set of workers that run one step at a time, with a barrier inside a step.
 *
 * Workers spin for a short while after a step and then park on a futex-like condition, so that a
 * token's steps cost tens of nanoseconds to start and an idle pool costs nothing. */
#ifndef ELM_BASE_THREAD_POOL_H
#define ELM_BASE_THREAD_POOL_H

#include "base/alloc.h"

enum { ELM_MAX_THREADS = 256 };

typedef struct elm_thread_pool elm_thread_pool;

/* `thread` in [0, n_threads); 0 is the caller's own thread. */
typedef void (*elm_step_fn)(void *context, uint32_t thread, uint32_t n_threads);

/* n_threads in [1, ELM_MAX_THREADS] counts the calling thread: 1 starts no worker. */
elm_status elm_thread_pool_create(const elm_allocator *alloc, uint32_t n_threads,
                                  elm_thread_pool **out, elm_error *err) ELM_MUST_CHECK;
void elm_thread_pool_free(elm_thread_pool *pool);
uint32_t elm_thread_pool_size(const elm_thread_pool *pool);

/* Runs fn on every thread and returns when all have returned. One run at a time: concurrent callers
 * queue on a lock. Allocates nothing. Everything written before is visible inside and after. */
void elm_thread_pool_run(elm_thread_pool *pool, elm_step_fn fn, void *context);

/* Inside fn only, called by every thread the same number of times: waits for all of them. */
void elm_thread_pool_barrier(elm_thread_pool *pool);

/* The part [*begin, *end) of [0, n) for one thread, contiguous, in units of `grain`. */
static inline void elm_split(size_t n, size_t grain, uint32_t thread, uint32_t n_threads,
                             size_t *begin, size_t *end) {
    size_t units = (n + grain - 1) / grain;
    *begin = units * thread / n_threads * grain;
    *end = units * (thread + 1) / n_threads * grain;
    if (*end > n) *end = n;
    if (*begin > n) *begin = n;
}

#endif
