/* test_thread_pool.c - every thread runs once a step, barriers order what lies between them, idle
 * workers wake, and callers queue. Runs under ThreadSanitizer too. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "base/thread_pool.h"

enum { MAX_THREADS = 5 };

typedef struct count {
    atomic_uint calls[MAX_THREADS];
    uint32_t n_threads;
    atomic_uint wrong;
} count;

static void count_step(void *context, uint32_t thread, uint32_t n_threads) {
    count *c = context;
    if (n_threads != c->n_threads || thread >= n_threads) atomic_fetch_add(&c->wrong, 1);
    atomic_fetch_add(&c->calls[thread], 1);
}

static elm_thread_pool *make(uint32_t n) {
    elm_thread_pool *pool = NULL;
    elm_error err;
    if (elm_thread_pool_create(elm_allocator_default(), n, &pool, &err) != ELM_OK)
        fail_msg("%s", err.message);
    assert_int_equal(elm_thread_pool_size(pool), n);
    return pool;
}

static void test_every_thread_runs_once(void **state) {
    (void)state;
    for (uint32_t n = 1; n <= MAX_THREADS; n++) {
        count c = {.n_threads = n};
        elm_thread_pool *pool = make(n);
        for (int i = 0; i < 200; i++) elm_thread_pool_run(pool, count_step, &c);
        for (uint32_t t = 0; t < MAX_THREADS; t++)
            assert_int_equal(atomic_load(&c.calls[t]), t < n ? 200 : 0);
        assert_int_equal(atomic_load(&c.wrong), 0);
        elm_thread_pool_free(pool);
    }
}

static void test_parked_workers_wake(void **state) {
    (void)state;
    count c = {.n_threads = 3};
    elm_thread_pool *pool = make(3);
    for (int i = 0; i < 5; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL); /* longer than a worker spins */
        elm_thread_pool_run(pool, count_step, &c);
    }
    for (uint32_t t = 0; t < 3; t++) assert_int_equal(atomic_load(&c.calls[t]), 5);
    elm_thread_pool_free(pool);
}

/* Plain memory, written before a barrier and read by others after it. */
typedef struct relay {
    elm_thread_pool *pool;
    uint32_t cells[MAX_THREADS];
    atomic_uint wrong;
} relay;

static void relay_step(void *context, uint32_t thread, uint32_t n_threads) {
    relay *r = context;
    for (uint32_t round = 1; round <= 100; round++) {
        r->cells[thread] = round * 10 + thread;
        elm_thread_pool_barrier(r->pool);
        uint32_t other = (thread + 1) % n_threads;
        if (r->cells[other] != round * 10 + other) atomic_fetch_add(&r->wrong, 1);
        elm_thread_pool_barrier(r->pool);
    }
}

static void test_barriers_order_memory(void **state) {
    (void)state;
    for (uint32_t n = 1; n <= MAX_THREADS; n++) {
        relay r = {.pool = make(n)};
        for (int i = 0; i < 3; i++) elm_thread_pool_run(r.pool, relay_step, &r);
        assert_int_equal(atomic_load(&r.wrong), 0);
        elm_thread_pool_free(r.pool);
    }
}

typedef struct caller {
    elm_thread_pool *pool;
    uint64_t *sum; /* plain: only safe when runs do not overlap */
} caller;

static void add_step(void *context, uint32_t thread, uint32_t n_threads) {
    caller *c = context;
    (void)n_threads;
    if (thread == 0) ++*c->sum;
}

static void *call(void *argument) {
    caller *c = argument;
    for (int i = 0; i < 200; i++) elm_thread_pool_run(c->pool, add_step, c);
    return NULL;
}

static void test_callers_queue(void **state) {
    (void)state;
    uint64_t sum = 0;
    caller c = {make(2), &sum};
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) assert_int_equal(pthread_create(&threads[i], NULL, call, &c), 0);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    assert_true(sum == 600);
    elm_thread_pool_free(c.pool);
}

static void test_split_covers_everything_once(void **state) {
    (void)state;
    for (size_t n = 0; n < 70; n++) {
        for (size_t grain = 1; grain <= 32; grain *= 2) {
            for (uint32_t threads = 1; threads <= 7; threads++) {
                size_t at = 0, begin, end;
                for (uint32_t t = 0; t < threads; t++) {
                    elm_split(n, grain, t, threads, &begin, &end);
                    assert_true(begin <= end && (begin == at || begin == end));
                    assert_true(begin == end || begin % grain == 0);
                    if (begin < end) at = end;
                }
                assert_int_equal(at, n);
            }
        }
    }
}

static void test_refusals(void **state) {
    (void)state;
    elm_thread_pool *pool = (elm_thread_pool *)(uintptr_t)state;
    elm_error err;
    const elm_allocator *a = elm_allocator_default();
    assert_int_equal(elm_thread_pool_create(a, 0, &pool, &err), ELM_INVALID_ARGUMENT);
    assert_null(pool);
    assert_int_equal(elm_thread_pool_create(a, ELM_MAX_THREADS + 1, &pool, &err),
                     ELM_INVALID_ARGUMENT);
    elm_capped_allocator c;
    elm_capped_allocator_init(&c, a, 64);
    assert_int_equal(elm_thread_pool_create(&c.interface, 2, &pool, &err), ELM_OUT_OF_MEMORY);
    assert_null(pool);
    assert_int_equal(atomic_load(&c.live_bytes), 0);
    elm_thread_pool_free(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_thread_runs_once),
        cmocka_unit_test(test_parked_workers_wake),
        cmocka_unit_test(test_barriers_order_memory),
        cmocka_unit_test(test_callers_queue),
        cmocka_unit_test(test_split_covers_everything_once),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
