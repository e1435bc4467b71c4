/* thread_pool.c - shares of parts, taken by counter; workers that spin, then park; base.
 *
 * Each thread has a word: the generation of the stage and how many parts of its share are left.
 *
 *   63 ............. 16 | 15 .... 1 | 0
 *   generation          | parts left| fixed: only the owner may take
 *
 * A part is taken by lowering the count with a compare-and-swap, which fails if another stage has
 * begun meanwhile. Nothing else of a run is read before one of its parts is in hand, and the run
 * cannot end while one is: a thread that comes late, whenever that is, finds counts of 0. Whoever
 * finishes the last part of a stage opens the next, and runs stages of one part on the way. */
#include "base/thread_pool.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <time.h>

enum {
    FIXED = 1,
    LEFT_ONE = 2,
    GENERATION_SHIFT = 16,
    LEFT_MASK = (1 << GENERATION_SHIFT) - LEFT_ONE,
    SPIN_US = 100,       /* a thread without work spins this long: longer than a stage is open */
    SPINS_PER_LOOK = 32, /* at the clock */
    NAP_US = 50,         /* then it gives way, inside a run */
};
_Static_assert(ELM_MAX_PARTS *LEFT_ONE <= LEFT_MASK, "parts of a share are counted in 15 bits");

typedef struct worker {
    _Alignas(64) atomic_uint_fast64_t share;
    atomic_bool parked; /* set by the worker, cleared by who wakes it */
    sem_t wake;
    elm_thread_pool *pool;
    uint32_t index;
    pthread_t thread;
    bool started;
} worker;

struct elm_thread_pool {
    const elm_allocator *alloc;
    uint32_t n_threads;
    worker *workers;
    pthread_mutex_t run_lock; /* one run at a time */
    /* Of the stage: written by who opens it, read with one of its parts in hand. */
    const elm_stages *stages;
    uint64_t generation;
    uint32_t n_parts;
    bool fixed;
    _Alignas(64) atomic_uint n_undone; /* parts */
    _Alignas(64) atomic_bool running;
    atomic_bool stop;
};

static inline void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb"); /* "yield" takes no time on most cores */
#endif
}

static uint64_t now_us(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

/* ---- stages ---- */

/* First part of a thread's share of the stage. */
static uint32_t share_begin(const elm_thread_pool *p, uint32_t thread) {
    return (uint32_t)((uint64_t)p->n_parts * thread / p->n_threads);
}

/* No lock, which a thread that does not run could hold. A worker says that it parks before it looks
 * at `running` and `stop` for the last time, and they are set before this looks for such workers. */
static void wake_workers(elm_thread_pool *p) {
    for (uint32_t t = 1; t < p->n_threads; t++) {
        worker *w = &p->workers[t];
        if (atomic_load(&w->parked) && atomic_exchange(&w->parked, false)) sem_post(&w->wake);
    }
}

/* Counts are set last: who sees one sees the stage. */
static void open_stage(elm_thread_pool *p, uint32_t n_parts) {
    p->n_parts = n_parts;
    p->generation++;
    atomic_store_explicit(&p->n_undone, n_parts, memory_order_relaxed);
    for (uint32_t t = 0; t < p->n_threads; t++) {
        uint64_t n = share_begin(p, t + 1) - share_begin(p, t);
        uint64_t word = p->generation << GENERATION_SHIFT | n * LEFT_ONE | (p->fixed ? FIXED : 0);
        atomic_store_explicit(&p->workers[t].share, word, memory_order_release);
    }
    wake_workers(p);
}

/* Ends the stage, on the thread that finished its last part. */
static void advance(elm_thread_pool *p, uint32_t thread) {
    const elm_stages *s = p->stages;
    uint32_t n_parts = s->next(s->context);
    while (n_parts == 1 && !p->fixed) {
        s->part(s->context, 0, 1, thread);
        n_parts = s->next(s->context);
    }
    if (n_parts > 0)
        open_stage(p, n_parts);
    else
        atomic_store(&p->running, false); /* the caller may be gone after this */
}

/* Takes a part of the share of thread `from`. */
static bool take(elm_thread_pool *p, uint32_t from, uint32_t thread, uint32_t *part) {
    atomic_uint_fast64_t *share = &p->workers[from].share;
    uint_fast64_t word = atomic_load_explicit(share, memory_order_acquire);
    do {
        if ((word & LEFT_MASK) == 0 || ((word & FIXED) && from != thread)) return false;
    } while (!atomic_compare_exchange_weak_explicit(share, &word, word - LEFT_ONE,
                                                    memory_order_acquire, memory_order_acquire));
    *part = share_begin(p, from + 1) - (uint32_t)(word & LEFT_MASK) / LEFT_ONE;
    return true;
}

/* Runs parts, of the own share first, until there are none to take. */
static void run_parts(elm_thread_pool *p, uint32_t thread) {
    uint32_t n_done;
    do {
        n_done = 0;
        for (uint32_t i = 0; i < p->n_threads; i++) {
            uint32_t part, from = (thread + i) % p->n_threads;
            for (; take(p, from, thread, &part); n_done++)
                p->stages->part(p->stages->context, part, p->n_parts, thread);
        }
        if (n_done > 0 &&
            atomic_fetch_sub_explicit(&p->n_undone, n_done, memory_order_acq_rel) == n_done)
            advance(p, thread);
    } while (n_done > 0);
}

/* ---- waiting ---- */

static bool waits(elm_thread_pool *p, uint32_t thread, uint64_t seen) {
    return atomic_load_explicit(&p->workers[thread].share, memory_order_acquire) == seen &&
           !atomic_load_explicit(&p->stop, memory_order_relaxed);
}

static void park(elm_thread_pool *p, worker *w) {
    atomic_store(&w->parked, true);
    if ((atomic_load(&p->running) || atomic_load(&p->stop)) && atomic_exchange(&w->parked, false))
        return;
    while (sem_wait(&w->wake) != 0 && errno == EINTR) {}
}

/* Until there may be parts to take, or, for the caller, the run is over. Spins; then gives way, so
 * that a thread with a part in hand can have this processor. */
static void wait_for_parts(elm_thread_pool *p, uint32_t thread, uint64_t seen) {
    const struct timespec nap = {.tv_nsec = NAP_US * 1000};
    uint64_t start = 0;
    for (uint32_t i = 1; waits(p, thread, seen); i++) {
        bool running = atomic_load_explicit(&p->running, memory_order_acquire);
        if (thread == 0 && !running) return;
        relax();
        if (i % SPINS_PER_LOOK != 0) continue;
        if (start == 0) start = now_us();
        if (now_us() - start < SPIN_US) continue;
        if (running) {
            nanosleep(&nap, NULL);
        } else {
            park(p, &p->workers[thread]);
            start = 0;
        }
    }
}

/* `seen` is read before the search: what is given out after it ends the wait. */
static void *work(void *argument) {
    worker *w = argument;
    elm_thread_pool *p = w->pool;
    while (!atomic_load_explicit(&p->stop, memory_order_acquire)) {
        uint64_t seen = atomic_load_explicit(&w->share, memory_order_acquire);
        run_parts(p, w->index);
        wait_for_parts(p, w->index, seen);
    }
    return NULL;
}

/* ---- runs ---- */

static void run(elm_thread_pool *p, const elm_stages *stages, bool fixed) {
    pthread_mutex_lock(&p->run_lock);
    p->stages = stages;
    p->fixed = fixed;
    atomic_store(&p->running, true);
    advance(p, 0);
    while (atomic_load_explicit(&p->running, memory_order_acquire)) {
        uint64_t seen = atomic_load_explicit(&p->workers[0].share, memory_order_acquire);
        run_parts(p, 0);
        wait_for_parts(p, 0, seen);
    }
    pthread_mutex_unlock(&p->run_lock);
}

void elm_thread_pool_run_stages(elm_thread_pool *p, const elm_stages *stages) {
    run(p, stages, false);
}

/* One stage with a part for each thread. */
typedef struct each {
    elm_step_fn fn;
    void *context;
    uint32_t n_threads;
    bool opened;
} each;

static uint32_t next_of_each(void *context) {
    each *e = context;
    uint32_t n = e->opened ? 0 : e->n_threads;
    e->opened = true;
    return n;
}

static void part_of_each(void *context, uint32_t part, uint32_t n_parts, uint32_t thread) {
    const each *e = context;
    (void)part;
    e->fn(e->context, thread, n_parts);
}

void elm_thread_pool_run(elm_thread_pool *p, elm_step_fn fn, void *context) {
    each e = {fn, context, p->n_threads, false};
    elm_stages stages = {next_of_each, part_of_each, &e};
    run(p, &stages, true);
}

/* ---- life ---- */

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
    elm_status status =
        elm_alloc_array(alloc, n_threads, sizeof *p->workers, "workers", &p->workers, err);
    for (uint32_t i = 1; status == ELM_OK && i < n_threads; i++)
        sem_init(&p->workers[i].wake, 0, 0);
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
    if (p->workers) wake_workers(p);
    for (uint32_t i = 1; p->workers && i < p->n_threads; i++) {
        if (p->workers[i].started) pthread_join(p->workers[i].thread, NULL);
        sem_destroy(&p->workers[i].wake);
    }
    pthread_mutex_destroy(&p->run_lock);
    elm_free(p->alloc, p->workers, p->n_threads * sizeof *p->workers);
    elm_free(p->alloc, p, sizeof *p);
}

uint32_t elm_thread_pool_size(const elm_thread_pool *p) {
    return p->n_threads;
}
