/* thread_pool.c - workers that spin for a moment, then park; base.
 *
 * A run publishes {fn, context} and raises `epoch`. Workers see it by spinning, or are woken. The
 * caller works as thread 0 and waits until `n_left` is 0. The barrier is two atomics: the last to
 * arrive resets the count and moves the phase that the others watch. */
#include "base/thread_pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

enum {
    SPINS = 20000,             /* about 50..100 us of pause instructions before a worker parks */
    SPINS_BEFORE_YIELD = 4000, /* in a barrier: more threads than cores must not hang each other */
};

typedef struct worker {
    elm_thread_pool *pool;
    uint32_t index;
    pthread_t thread;
    bool started;
} worker;

struct elm_thread_pool {
    const elm_allocator *alloc;
    uint32_t n_threads;
    worker *workers;
    elm_step_fn fn;
    void *context;
    pthread_mutex_t run_lock; /* one run at a time */
    pthread_mutex_t park_lock;
    pthread_cond_t park;
    _Alignas(64) atomic_uint epoch;
    _Alignas(64) atomic_uint n_left;
    _Alignas(64) atomic_uint n_parked;
    _Alignas(64) atomic_uint barrier_count;
    _Alignas(64) atomic_uint barrier_phase;
    atomic_bool stop;
};

static inline void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

static void wait_for_epoch(elm_thread_pool *p, uint32_t seen) {
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&p->epoch, memory_order_acquire) != seen) return;
        relax();
    }
    pthread_mutex_lock(&p->park_lock);
    atomic_fetch_add(&p->n_parked, 1);
    while (atomic_load(&p->epoch) == seen) pthread_cond_wait(&p->park, &p->park_lock);
    atomic_fetch_sub(&p->n_parked, 1);
    pthread_mutex_unlock(&p->park_lock);
}

static void *work(void *argument) {
    worker *w = argument;
    elm_thread_pool *p = w->pool;
    uint32_t seen = 0;
    for (;;) {
        wait_for_epoch(p, seen);
        seen = atomic_load_explicit(&p->epoch, memory_order_acquire);
        if (atomic_load(&p->stop)) return NULL;
        p->fn(p->context, w->index, p->n_threads);
        atomic_fetch_sub_explicit(&p->n_left, 1, memory_order_release);
    }
}

/* Raises the epoch; wakes those who sleep. A worker that is about to park counts itself under the
 * lock and looks at the epoch again before it sleeps, so none is missed. */
static void publish(elm_thread_pool *p) {
    atomic_fetch_add(&p->epoch, 1);
    if (atomic_load(&p->n_parked) > 0) {
        pthread_mutex_lock(&p->park_lock);
        pthread_cond_broadcast(&p->park);
        pthread_mutex_unlock(&p->park_lock);
    }
}

elm_status elm_thread_pool_create(const elm_allocator *alloc, uint32_t n_threads,
                                  elm_thread_pool **out, elm_error *err) {
    elm_thread_pool *p = NULL;
    *out = NULL;
    if (n_threads < 1 || n_threads > ELM_MAX_THREADS) {
        return elm_fail(err, ELM_INVALID_ARGUMENT, "%u threads; expected 1..%d", n_threads,
                        ELM_MAX_THREADS);
    }
    ELM_TRY(elm_alloc(alloc, sizeof *p, "a thread pool", &p, err));
    p->alloc = alloc;
    p->n_threads = n_threads;
    pthread_mutex_init(&p->run_lock, NULL);
    pthread_mutex_init(&p->park_lock, NULL);
    pthread_cond_init(&p->park, NULL);
    elm_status status =
        elm_alloc_array(alloc, n_threads, sizeof *p->workers, "workers", &p->workers, err);
    for (uint32_t i = 1; status == ELM_OK && i < n_threads; i++) {
        worker *w = &p->workers[i];
        w->pool = p;
        w->index = i;
        w->started = pthread_create(&w->thread, NULL, work, w) == 0;
        if (!w->started)
            status =
                elm_fail(err, ELM_OUT_OF_MEMORY, "cannot start thread %u of %u", i + 1, n_threads);
    }
    if (status != ELM_OK) {
        elm_thread_pool_free(p);
        return status;
    }
    *out = p;
    return ELM_OK;
}

void elm_thread_pool_free(elm_thread_pool *p) {
    if (!p) return;
    atomic_store(&p->stop, true);
    publish(p);
    for (uint32_t i = 1; p->workers && i < p->n_threads; i++) {
        if (p->workers[i].started) pthread_join(p->workers[i].thread, NULL);
    }
    pthread_cond_destroy(&p->park);
    pthread_mutex_destroy(&p->park_lock);
    pthread_mutex_destroy(&p->run_lock);
    elm_free(p->alloc, p->workers, p->n_threads * sizeof *p->workers);
    elm_free(p->alloc, p, sizeof *p);
}

uint32_t elm_thread_pool_size(const elm_thread_pool *p) {
    return p->n_threads;
}

/* Spins until *value differs from (or, equal = true, is) `wanted`. */
static void spin_until(atomic_uint *value, uint32_t wanted, bool equal) {
    for (uint32_t i = 0; (atomic_load_explicit(value, memory_order_acquire) == wanted) != equal;
         i++) {
        if (i < SPINS_BEFORE_YIELD)
            relax();
        else
            sched_yield();
    }
}

void elm_thread_pool_run(elm_thread_pool *p, elm_step_fn fn, void *context) {
    pthread_mutex_lock(&p->run_lock);
    if (p->n_threads == 1) {
        fn(context, 0, 1);
    } else {
        p->fn = fn;
        p->context = context;
        atomic_store_explicit(&p->n_left, p->n_threads - 1, memory_order_relaxed);
        publish(p);
        fn(context, 0, p->n_threads);
        spin_until(&p->n_left, 0, true);
    }
    pthread_mutex_unlock(&p->run_lock);
}

void elm_thread_pool_barrier(elm_thread_pool *p) {
    if (p->n_threads == 1) return;
    uint32_t phase = atomic_load_explicit(&p->barrier_phase, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&p->barrier_count, 1, memory_order_acq_rel) == p->n_threads - 1) {
        atomic_store_explicit(&p->barrier_count, 0, memory_order_relaxed);
        atomic_fetch_add_explicit(&p->barrier_phase, 1, memory_order_release);
    } else {
        spin_until(&p->barrier_phase, phase, false);
    }
}
