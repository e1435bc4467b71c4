/* The prefix cache: same tokens with and without, bounded, shared by threads. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "backend/kv.h"
#include "runtime/prefix_cache.h"
#include "session_model.h"

enum { N_PREFIX = 300, N_NEW = 12, N_THREADS = 4, N_ROUNDS = 12 };

static elm_session *session_of(elm_model *m, elm_session_options options) {
    elm_session *s = NULL;
    elm_error err = {0};
    options.struct_size = sizeof options;
    if (options.n_context == 0) options.n_context = 512;
    if (elm_session_create(m, &options, &s, &err) != ELM_OK) fail_msg("%s", err.message);
    return s;
}

static void open_cached(open_model *o, const char *mixers, size_t bytes) {
    session_model_open_with(o, mixers,
                            (elm_model_options){.prefix_cache_bytes = bytes, .n_threads = 2});
}

/* Logits behind the ids and what is generated. */
typedef struct answer {
    float logits[TM_VOCAB];
    int32_t ids[N_NEW];
    uint64_t reused;
} answer;

static elm_status ask(elm_model *m, elm_session_options options, const int32_t *ids, uint32_t n,
                      answer *out) {
    elm_error err = {0};
    elm_session *s = NULL;
    elm_stats stats;
    options.struct_size = sizeof options;
    if (options.n_context == 0) options.n_context = 512;
    elm_generate_options g = {.struct_size = sizeof g, .max_tokens = N_NEW, .ignore_eos = true};
    ELM_TRY(elm_session_create(m, &options, &s, &err));
    elm_status status = elm_session_append(s, ids, n, &err);
    if (status == ELM_OK) memcpy(out->logits, elm_session_logits(s), sizeof out->logits);
    if (status == ELM_OK) status = elm_session_generate(s, &g, NULL, &err);
    if (status == ELM_OK) memcpy(out->ids, elm_session_tokens(s) + n, sizeof out->ids);
    elm_session_get_stats(s, &stats);
    out->reused = stats.reused_tokens;
    elm_session_free(s);
    return status;
}

static void check(elm_model *m, elm_session_options options, const int32_t *ids, uint32_t n,
                  const answer *want, answer *found) {
    assert_int_equal(ask(m, options, ids, n, found), ELM_OK);
    double error = 0.0, size = 0.0;
    for (int i = 0; i < TM_VOCAB; i++) {
        double d = (double)found->logits[i] - (double)want->logits[i];
        error += d * d;
        size += (double)want->logits[i] * (double)want->logits[i];
    }
    assert_true(error <= 1e-10 * size);
    if (!strchr(m->meta.name, 'G'))
        assert_memory_equal(found->logits, want->logits, sizeof want->logits);
    assert_memory_equal(found->ids, want->ids, sizeof want->ids);
}

static const char *const kinds[] = {"FF", "WF", "GF", "GW", "FF+"};

static void later_sessions_begin_where_the_first_was(void **state) {
    int32_t ids[N_PREFIX];
    answer want, found;
    (void)state;
    for (size_t k = 0; k < 5; k++) {
        open_model plain, o;
        session_model_open(&plain, kinds[k]);
        open_cached(&o, kinds[k], 64 << 20);
        for (uint32_t i = 0; i < 16; i++) {
            /* the same beginning, of any length, and different ends; KV types and contexts in turn
             */
            elm_session_options so = {.kv = (elm_kv_type)(1 + i % 2),
                                      .n_context = i % 3 ? 512 : 400,
                                      .draft = k == 4 && i % 4 > 1 ? ELM_DRAFT_MTP : 0};
            uint32_t n = 100 + i * 83 % 200, same = 64 + i * 47 % 200;
            if (same > n) same = n;
            tm_prompt(ids, n, 1);
            tm_prompt(ids + same, n - same, 50 + i);
            assert_int_equal(ask(plain.model, so, ids, n, &want), ELM_OK);
            check(o.model, so, ids, n, &want, &found);
            check(o.model, so, ids, n, &want, &found);
            assert_true(found.reused + 64 >= n && found.reused < n);
        }
        assert_true(elm_prefix_cache_bytes(o.model->prefix_cache) > 0);
        elm_model_trim(o.model);
        assert_int_equal(elm_prefix_cache_bytes(o.model->prefix_cache), 0);
        session_model_close(&o);
        session_model_close(&plain);
    }
}

static void a_system_prompt_is_run_once(void **state) {
    int32_t ids[N_PREFIX];
    answer found;
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        open_model o;
        open_cached(&o, k ? "FF" : "GF", 64 << 20);
        tm_prompt(ids, N_PREFIX, 1);
        assert_int_equal(ask(o.model, (elm_session_options){0}, ids, 256, &found), ELM_OK);
        assert_int_equal(found.reused, 0);
        tm_prompt(ids + 256, N_PREFIX - 256, 2);
        assert_int_equal(ask(o.model, (elm_session_options){0}, ids, N_PREFIX, &found), ELM_OK);
        assert_int_equal(found.reused, 256);
        session_model_close(&o);
    }
}

/* Never more than the limit; what was used last stays longest. */
static void the_limit_holds(void **state) {
    int32_t ids[N_PREFIX];
    answer found;
    open_model o;
    (void)state;
    session_model_open(&o, "FF");
    elm_session *s = session_of(o.model, (elm_session_options){0});
    size_t block = 2 * 64 * elm_kv_position_bytes(&s->states[0]) + 1024;
    elm_session_free(s);
    session_model_close(&o);
    size_t limit = 5 * block;
    open_cached(&o, "FF", limit);
    for (uint32_t i = 0; i < 40; i++) {
        tm_prompt(ids, N_PREFIX, i % 2 ? 999 : i);
        assert_int_equal(ask(o.model, (elm_session_options){0}, ids, 140, &found), ELM_OK);
        assert_true(elm_prefix_cache_bytes(o.model->prefix_cache) <= limit);
        if (i > 2 && i % 2) assert_int_equal(found.reused, 128);
        if (i % 2 == 0) assert_int_equal(found.reused, 0);
    }
    session_model_close(&o);
    open_cached(&o, "GF", 1); /* too little for anything */
    assert_int_equal(ask(o.model, (elm_session_options){0}, ids, 140, &found), ELM_OK);
    assert_int_equal(ask(o.model, (elm_session_options){0}, ids, 140, &found), ELM_OK);
    assert_int_equal(found.reused, 0);
    session_model_close(&o);
}

/* A session that does not fit beside the cache gets the cache's memory. */
static void the_cache_gives_way(void **state) {
    int32_t ids[N_PREFIX];
    answer found;
    open_model o;
    (void)state;
    open_cached(&o, "FF", 64 << 20);
    tm_prompt(ids, N_PREFIX, 1);
    assert_int_equal(ask(o.model, (elm_session_options){0}, ids, N_PREFIX, &found), ELM_OK);
    elm_session_options so = {.struct_size = sizeof so, .n_context = 512};
    elm_memory_estimate e;
    assert_int_equal(elm_model_estimate_memory(o.model, &so, &e, NULL), ELM_OK);
    size_t live = atomic_load(&o.model->capped.live_bytes);
    o.model->capped.limit_bytes = live + e.total_bytes - 1;
    elm_session *s = session_of(o.model, so);
    assert_int_equal(elm_prefix_cache_bytes(o.model->prefix_cache), 0);
    elm_session_free(s);
    session_model_close(&o);
}

/* ---- threads ---- */

typedef struct worker {
    pthread_t thread;
    elm_model *model;
    const answer *want; /* [N_ROUNDS] */
    uint32_t index, n_wrong;
} worker;

static uint32_t prompt_of(uint32_t round, int32_t *ids) {
    uint32_t n = 130 + round % 5 * 40;
    tm_prompt(ids, n, 1);
    tm_prompt(ids + 128, n - 128, round);
    return n;
}

static void *work(void *argument) {
    worker *w = argument;
    int32_t ids[N_PREFIX];
    answer found;
    for (uint32_t i = 0; i < N_ROUNDS; i++) {
        uint32_t round = (i + w->index * 3) % N_ROUNDS, n = prompt_of(round, ids);
        if (ask(w->model, (elm_session_options){0}, ids, n, &found) != ELM_OK ||
            memcmp(found.ids, w->want[round].ids, sizeof found.ids) != 0)
            w->n_wrong++;
        if (i % 5 == 4) elm_model_trim(w->model);
    }
    return NULL;
}

static void threads_share_it(void **state) {
    static const size_t limits[] = {0, 300000, 64 << 20}; /* none, always full, ample */
    answer want[N_ROUNDS];
    int32_t ids[N_PREFIX];
    (void)state;
    for (size_t k = 0; k < 3; k++) {
        worker workers[N_THREADS];
        open_model o, plain;
        session_model_open(&plain, kinds[k]);
        for (uint32_t i = 0; i < N_ROUNDS; i++) {
            uint32_t n = prompt_of(i, ids);
            assert_int_equal(ask(plain.model, (elm_session_options){0}, ids, n, &want[i]), ELM_OK);
        }
        session_model_close(&plain);
        open_cached(&o, kinds[k], limits[k]);
        for (uint32_t t = 0; t < N_THREADS; t++) {
            workers[t] = (worker){.model = o.model, .want = want, .index = t};
            assert_int_equal(pthread_create(&workers[t].thread, NULL, work, &workers[t]), 0);
        }
        for (uint32_t t = 0; t < N_THREADS; t++) {
            pthread_join(workers[t].thread, NULL);
            assert_int_equal(workers[t].n_wrong, 0);
        }
        session_model_close(&o);
    }
}

/* ---- cancel ---- */

typedef struct canceller {
    elm_session *session;
    atomic_uint n_tokens, at;
} canceller;

static bool count_token(void *context, int32_t id) {
    canceller *c = context;
    (void)id;
    atomic_fetch_add(&c->n_tokens, 1);
    return true;
}

static void *cancel_soon(void *argument) {
    canceller *c = argument;
    while (atomic_load(&c->n_tokens) < 10) sched_yield();
    elm_session_cancel(c->session);
    atomic_store(&c->at, atomic_load(&c->n_tokens));
    return NULL;
}

/* From another thread, in the middle of an answer: it stops, and can go on. */
static void cancel_stops_within_a_token(void **state) {
    int32_t ids[N_PREFIX], rest[400];
    (void)state;
    for (int drafting = 0; drafting < 2; drafting++) {
        open_model o;
        pthread_t thread;
        elm_error err;
        elm_generate_result r;
        session_model_open(&o, "FF");
        elm_session_options so = {.draft = drafting ? ELM_DRAFT_MODEL : ELM_DRAFT_NONE};
        so.draft_model = o.model;
        elm_session *s = session_of(o.model, so);
        tm_prompt(ids, 40, 1);
        assert_int_equal(elm_session_append(s, ids, 40, &err), ELM_OK);
        canceller c = {.session = s};
        elm_generate_options g = {.struct_size = sizeof g, .ignore_eos = true};
        g.on_token = count_token;
        g.context = &c;
        assert_int_equal(pthread_create(&thread, NULL, cancel_soon, &c), 0);
        assert_int_equal(elm_session_generate(s, &g, &r, &err), ELM_OK);
        pthread_join(thread, NULL);
        if (r.reason == ELM_STOP_CANCELLED) {
            uint32_t late = r.n_tokens - atomic_load(&c.at);
            assert_true(late <= (drafting ? ELM_DECODE_ROWS : 1u));
        } else { /* the answer was over before the other thread ran */
            assert_int_equal(r.reason, ELM_STOP_CONTEXT);
            assert_int_equal(elm_session_append(s, ids, 0, &err), ELM_CANCELLED);
        }
        uint32_t n = elm_session_length(s);
        g = (elm_generate_options){.struct_size = sizeof g, .ignore_eos = true};
        assert_int_equal(elm_session_generate(s, &g, &r, &err), ELM_OK);
        memcpy(rest, elm_session_tokens(s) + 40, 400 * sizeof *rest);
        assert_int_equal(elm_session_rewind(s, 40, &err), ELM_OK);
        assert_int_equal(elm_session_generate(s, &g, &r, &err), ELM_OK);
        assert_memory_equal(elm_session_tokens(s) + 40, rest, 400 * sizeof *rest);
        assert_true(n <= elm_session_length(s));
        elm_session_free(s);
        session_model_close(&o);
    }
}

/* A prompt stops behind the chunk that runs; what was run stays, the rest is forgotten. */
static void cancel_stops_within_a_chunk(void **state) {
    int32_t ids[N_PREFIX];
    open_model o;
    elm_error err;
    (void)state;
    session_model_open(&o, "GF");
    elm_session *s = session_of(o.model, (elm_session_options){0});
    tm_prompt(ids, N_PREFIX, 1);
    elm_session_cancel(s);
    assert_int_equal(elm_session_append(s, ids, N_PREFIX, &err), ELM_CANCELLED);
    assert_int_equal(elm_session_length(s), 0);
    assert_int_equal(elm_session_append(s, ids, N_PREFIX, &err), ELM_OK);
    elm_session_cancel(s);
    assert_int_equal(elm_session_append(s, ids, 20, &err), ELM_CANCELLED);
    assert_int_equal(elm_session_length(s), N_PREFIX);
    elm_session_free(s);
    session_model_close(&o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(later_sessions_begin_where_the_first_was),
        cmocka_unit_test(a_system_prompt_is_run_once),
        cmocka_unit_test(the_limit_holds),
        cmocka_unit_test(the_cache_gives_way),
        cmocka_unit_test(threads_share_it),
        cmocka_unit_test(cancel_stops_within_a_token),
        cmocka_unit_test(cancel_stops_within_a_chunk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
