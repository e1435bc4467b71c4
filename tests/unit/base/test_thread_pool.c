/* test_thread_pool.c - every thread runs once a step, stages follow each other, threads that do not
 * run are not waited for, idle workers wake, and callers queue. Runs under ThreadSanitizer too. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

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

/* ---- stages ---- */

enum { CELLS = 64 };

/* Plain memory: parts of one stage write what those of the next read. */
typedef struct relay {
    const uint32_t *n_parts; /* of every stage; ends with 0 */
    uint32_t stage;
    uint32_t cells[2][CELLS]; /* of odd and even stages: which one wrote last */
    atomic_uint wrong, runs;
} relay;

static uint32_t next_relay(void *context) {
    relay *r = context;
    for (uint32_t i = 0; r->stage > 0 && i < r->n_parts[r->stage - 1]; i++)
        if (r->cells[r->stage % 2][i] != r->stage) atomic_fetch_add(&r->wrong, 1);
    return r->n_parts[r->stage++];
}

static void relay_part(void *context, uint32_t part, uint32_t n_parts, uint32_t thread) {
    relay *r = context;
    uint32_t before = r->stage > 1 ? r->n_parts[r->stage - 2] : 0;
    if (n_parts != r->n_parts[r->stage - 1] || thread >= MAX_THREADS)
        atomic_fetch_add(&r->wrong, 1);
    for (uint32_t i = 0; i < before; i++)
        if (r->cells[(r->stage - 1) % 2][i] != r->stage - 1) atomic_fetch_add(&r->wrong, 1);
    r->cells[r->stage % 2][part] = r->stage;
    atomic_fetch_add(&r->runs, 1);
}

static const uint32_t mixed[] = {3, 1, 1, 64, 2, 1, 5, 40, 1, 7, 1, 0};
enum { MIXED_PARTS = 126 };

static void run_mixed(elm_thread_pool *pool) {
    relay r = {.n_parts = mixed};
    elm_stages stages = {next_relay, relay_part, &r};
    elm_thread_pool_run_stages(pool, &stages);
    assert_int_equal(atomic_load(&r.wrong), 0);
    assert_int_equal(atomic_load(&r.runs), MIXED_PARTS);
}

static void test_stages_follow_each_other(void **state) {
    (void)state;
    for (uint32_t n = 1; n <= MAX_THREADS; n++) {
        elm_thread_pool *pool = make(n);
        for (int i = 0; i < 300; i++) run_mixed(pool);
        elm_thread_pool_free(pool);
    }
}

/* ---- threads that do not run ---- */

/* A thread that gets the signal stays in its handler until `gate` is closed: what a thread looks
 * like whose processor another program has, as long as the test likes. */
static int gate[2];
static atomic_uint n_stopped;

static void stay(int signal) {
    char unused;
    (void)signal;
    atomic_fetch_add(&n_stopped, 1);
    while (read(gate[0], &unused, 1) < 0) {}
    atomic_fetch_sub(&n_stopped, 1);
}

static void stop_threads(const pthread_t *threads, uint32_t n_threads, uint32_t but) {
    assert_int_equal(pipe(gate), 0);
    for (uint32_t t = 0; t < n_threads; t++)
        if (t != but) assert_int_equal(pthread_kill(threads[t], SIGUSR1), 0);
    while (atomic_load(&n_stopped) < n_threads - 1) sched_yield();
}

static void let_go(void) {
    close(gate[1]);
    while (atomic_load(&n_stopped) > 0) sched_yield();
    close(gate[0]);
}

static void note_thread(void *context, uint32_t thread, uint32_t n_threads) {
    (void)n_threads;
    ((pthread_t *)context)[thread] = pthread_self();
}

static void test_absent_workers_are_not_waited_for(void **state) {
    (void)state;
    elm_thread_pool *pool = make(MAX_THREADS);
    pthread_t threads[MAX_THREADS];
    elm_thread_pool_run(pool, note_thread, threads);
    for (int i = 0; i < 20; i++) {
        stop_threads(threads, MAX_THREADS, 0);
        for (int k = 0; k < 5; k++) run_mixed(pool);
        let_go(); /* they wake in another run, or between two, and find nothing of the old ones */
        run_mixed(pool);
    }
    elm_thread_pool_free(pool);
}

/* All but one are stopped in the middle of a run, the caller perhaps among them: in a stage of one
 * part, which none of the others holds. */
typedef struct ambush {
    pthread_t threads[MAX_THREADS];
    uint32_t stage, survivor;
    atomic_uint runs, wrong;
} ambush;

enum { AMBUSH_STAGE = 3, RESCUE_STAGE = 40, AMBUSH_PARTS = 12 };

static uint32_t next_ambush(void *context) {
    ambush *a = context;
    uint32_t stage = a->stage++;
    if (stage > RESCUE_STAGE) return 0;
    return stage == AMBUSH_STAGE || stage == RESCUE_STAGE ? 1 : AMBUSH_PARTS;
}

static void ambush_part(void *context, uint32_t part, uint32_t n_parts, uint32_t thread) {
    ambush *a = context;
    uint32_t stage = a->stage - 1;
    (void)part;
    (void)n_parts;
    atomic_fetch_add(&a->runs, 1);
    if (stage == AMBUSH_STAGE) {
        a->survivor = thread;
        stop_threads(a->threads, MAX_THREADS, thread);
    } else if (stage > AMBUSH_STAGE && thread != a->survivor) {
        atomic_fetch_add(&a->wrong, 1);
    }
    if (stage == RESCUE_STAGE) let_go();
}

static void test_one_thread_finishes_what_many_began(void **state) {
    (void)state;
    elm_thread_pool *pool = make(MAX_THREADS);
    ambush a = {.stage = 0};
    elm_stages stages = {next_ambush, ambush_part, &a};
    elm_thread_pool_run(pool, note_thread, a.threads);
    for (int i = 1; i <= 20; i++) {
        a.stage = 0;
        elm_thread_pool_run_stages(pool, &stages);
        assert_int_equal(atomic_load(&a.wrong), 0);
        assert_int_equal(atomic_load(&a.runs), i * ((RESCUE_STAGE - 1) * AMBUSH_PARTS + 2));
    }
    elm_thread_pool_free(pool);
}

/* ---- callers ---- */

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
    struct sigaction action = {.sa_handler = stay};
    sigaction(SIGUSR1, &action, NULL);
    alarm(120); /* a pool that waits for a thread that does not run would wait for ever */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_thread_runs_once),
        cmocka_unit_test(test_parked_workers_wake),
        cmocka_unit_test(test_stages_follow_each_other),
        cmocka_unit_test(test_absent_workers_are_not_waited_for),
        cmocka_unit_test(test_one_thread_finishes_what_many_began),
        cmocka_unit_test(test_callers_queue),
        cmocka_unit_test(test_split_covers_everything_once),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
