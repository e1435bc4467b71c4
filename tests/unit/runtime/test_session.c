/* Sessions: whatever way a timeline came about, what follows is the same. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "session_model.h"

enum { N_LONG = 700, N_NEW = 24 };

static elm_session *session_of(open_model *o, elm_session_options options) {
    elm_session *s = NULL;
    elm_error err = {0};
    options.struct_size = sizeof options;
    if (options.n_context == 0) options.n_context = 1024;
    elm_status status = elm_session_create(o->model, &options, &s, &err);
    if (status != ELM_OK) fail_msg("%s", err.message);
    return s;
}

static void append(elm_session *s, const int32_t *ids, size_t n) {
    elm_error err = {0};
    if (elm_session_append(s, ids, n, &err) != ELM_OK) fail_msg("%s", err.message);
}

static void rewind_to(elm_session *s, size_t n) {
    elm_error err = {0};
    if (elm_session_rewind(s, n, &err) != ELM_OK) fail_msg("%s", err.message);
}

/* Generates n tokens; they are then at the end of the timeline. */
static void generate(elm_session *s, uint32_t n) {
    elm_error err = {0};
    elm_generate_options g = {.struct_size = sizeof g, .max_tokens = n, .ignore_eos = true};
    elm_generate_result r;
    if (elm_session_generate(s, &g, &r, &err) != ELM_OK) fail_msg("%s", err.message);
    assert_int_equal(r.n_tokens, n);
}

/* What a fresh session says behind these ids: the logits of the last, and what it generates. */
typedef struct answer {
    float logits[TM_VOCAB];
    int32_t ids[N_NEW];
} answer;

static void expected(open_model *o, elm_session_options options, const int32_t *ids, uint32_t n,
                     answer *out) {
    elm_session *s = session_of(o, options);
    append(s, ids, n);
    memcpy(out->logits, elm_session_logits(s), sizeof out->logits);
    generate(s, N_NEW);
    memcpy(out->ids, elm_session_tokens(s) + n, sizeof out->ids);
    elm_session_free(s);
}

/* Attention alone gives the same bits; a delta net works in chunks on a grid, and agrees to 1e-5.
 */
static void check_logits(const char *mixers, const float *found, const float *want) {
    double error = 0.0, size = 0.0;
    assert_non_null(found);
    if (!strchr(mixers, 'G')) assert_memory_equal(found, want, TM_VOCAB * sizeof *want);
    for (uint32_t i = 0; i < TM_VOCAB; i++) {
        double d = (double)found[i] - (double)want[i];
        error += d * d;
        size += (double)want[i] * (double)want[i];
    }
    assert_true(error <= 1e-10 * size);
}

/* The timeline, of n tokens, goes on as a fresh one does. */
static void check_tail(elm_session *s, uint32_t n, const answer *want) {
    elm_error err;
    assert_int_equal(elm_session_length(s), n);
    if (elm_session_need_logits(s, &err) != ELM_OK) fail_msg("%s", err.message);
    check_logits(s->model->meta.name, elm_session_logits(s), want->logits);
    generate(s, N_NEW);
    assert_memory_equal(elm_session_tokens(s) + n, want->ids, sizeof want->ids);
}

static const char *const kinds[] = {"FF", "WF", "GF", "GW"};

/* Every way back, from everywhere: far, near, to the very end, to nothing. */
static void rewind_gives_what_a_fresh_session_gives(void **state) {
    static const uint32_t targets[] = {N_LONG, N_LONG - 1, N_LONG - 2, 640, 639,
                                       500,    100,        64,         3,   1};
    int32_t ids[N_LONG];
    answer want;
    (void)state;
    tm_prompt(ids, N_LONG, 1);
    for (size_t k = 0; k < 4; k++) {
        open_model o;
        session_model_open(&o, kinds[k]);
        for (uint32_t snapshots = 0; snapshots < 2; snapshots++) {
            elm_session_options so = {.n_snapshots = snapshots ? ELM_NO_SNAPSHOTS : 0};
            elm_session *s = session_of(&o, so);
            for (size_t t = 0; t < sizeof targets / sizeof *targets; t++) {
                uint32_t have = elm_session_length(s);
                if (have < N_LONG) append(s, ids + have, N_LONG - have);
                if (t % 2) generate(s, 40);
                rewind_to(s, targets[t]);
                assert_int_equal(elm_session_length(s), targets[t]);
                expected(&o, so, ids, targets[t], &want);
                check_tail(s, targets[t], &want);
                rewind_to(s, targets[t]);
            }
            elm_session_free(s);
        }
        session_model_close(&o);
    }
}

/* The second question on a long context runs little of it again. */
static void second_question_is_short(void **state) {
    static int32_t ids[4096 + 60];
    const elm_session_options so = {.n_context = 6000};
    answer want;
    (void)state;
    for (size_t k = 0; k < 4; k++) {
        open_model o;
        session_model_open(&o, kinds[k]);
        elm_session *s = session_of(&o, so);
        size_t reused;
        tm_prompt(ids, 4096, 1);
        tm_prompt(ids + 4096, 60, 2);
        assert_int_equal(elm_session_sync(s, ids, 4096 + 60, &reused, NULL), ELM_OK);
        assert_int_equal(reused, 0);
        generate(s, 500);
        tm_prompt(ids + 4096, 60, 3);
        assert_int_equal(elm_session_sync(s, ids, 4096 + 60, &reused, NULL), ELM_OK);
        assert_true(4096 + 60 - reused < 4096 / 20);
        expected(&o, so, ids, 4096 + 60, &want);
        check_tail(s, 4096 + 60, &want);
        elm_session_free(s);
        session_model_close(&o);
    }
}

/* Sync keeps what is common, whatever is common. */
static void sync_is_append_or_rewind(void **state) {
    int32_t ids[300];
    answer want;
    size_t reused;
    (void)state;
    for (size_t k = 0; k < 4; k++) {
        open_model o;
        session_model_open(&o, kinds[k]);
        elm_session *s = session_of(&o, (elm_session_options){0});
        for (uint32_t round = 0; round < 12; round++) {
            uint32_t n = 20 + round * 61 % 270, same = round * 37 % n;
            tm_prompt(ids, n, 1);
            tm_prompt(ids + same, n - same, 100 + round);
            assert_int_equal(elm_session_sync(s, ids, n, &reused, NULL), ELM_OK);
            assert_non_null(elm_session_logits(s));
            assert_true(reused <= n);
            expected(&o, (elm_session_options){0}, ids, n, &want);
            check_tail(s, n, &want);
        }
        assert_int_equal(elm_session_sync(s, ids, 20, &reused, NULL), ELM_OK);
        assert_int_equal(elm_session_sync(s, ids, 20, &reused, NULL), ELM_OK);
        assert_int_equal(reused, 20);
        assert_int_equal(elm_session_sync(s, NULL, 0, &reused, NULL), ELM_OK);
        assert_int_equal(elm_session_length(s), 0);
        assert_null(elm_session_logits(s));
        elm_session_free(s);
        session_model_close(&o);
    }
}

static void bad_calls_change_nothing(void **state) {
    int32_t ids[40];
    open_model o;
    elm_error err;
    (void)state;
    session_model_open(&o, "GF");
    elm_session *s = session_of(&o, (elm_session_options){.n_context = 32});
    tm_prompt(ids, 40, 1);
    append(s, ids, 30);
    assert_int_equal(elm_session_append(s, ids, 3, &err), ELM_CONTEXT_FULL);
    ids[1] = TM_VOCAB;
    assert_int_equal(elm_session_append(s, ids, 2, &err), ELM_INVALID_ARGUMENT);
    ids[1] = -1;
    assert_int_equal(elm_session_append(s, ids, 2, &err), ELM_INVALID_ARGUMENT);
    assert_int_equal(elm_session_sync(s, ids, 40, NULL, &err), ELM_INVALID_ARGUMENT);
    assert_int_equal(elm_session_rewind(s, 31, &err), ELM_INVALID_ARGUMENT);
    assert_int_equal(elm_session_length(s), 30);
    assert_non_null(elm_session_logits(s));
    generate(s, 2);
    elm_generate_result r;
    assert_int_equal(elm_session_generate(s, NULL, &r, &err), ELM_OK);
    assert_int_equal(r.reason, ELM_STOP_CONTEXT);
    elm_session_free(s);
    session_model_close(&o);
}

/* The estimate is what is taken, to the byte. */
static void estimate_is_exact(void **state) {
    (void)state;
    for (size_t k = 0; k < 4; k++) {
        open_model o;
        session_model_open(&o, kinds[k]);
        for (uint32_t i = 0; i < 12; i++) {
            elm_session_options so = {.struct_size = sizeof so,
                                      .n_context = i % 2 ? 4000 : 100,
                                      .kv = (elm_kv_type)(i % 4),
                                      .n_snapshots = i % 3 ? i : ELM_NO_SNAPSHOTS,
                                      .draft = i % 2 ? ELM_DRAFT_LOOKUP : ELM_DRAFT_NONE};
            elm_memory_estimate e;
            if (i == 5) {
                so.draft = ELM_DRAFT_MODEL;
                so.draft_model = o.model;
            }
            size_t before = atomic_load(&o.model->capped.live_bytes);
            assert_int_equal(elm_model_estimate_memory(o.model, &so, &e, NULL), ELM_OK);
            elm_session *s = session_of(&o, so);
            assert_int_equal(atomic_load(&o.model->capped.live_bytes) - before, e.total_bytes);
            assert_int_equal(e.total_bytes,
                             e.kv_bytes + e.snapshot_bytes + e.draft_bytes + e.scratch_bytes);
            elm_session_free(s);
            assert_int_equal(atomic_load(&o.model->capped.live_bytes), before);
        }
        session_model_close(&o);
    }
}

/* Trimming costs time later, and nothing else. */
static void trim_changes_no_token(void **state) {
    int32_t ids[N_LONG];
    answer want;
    open_model o;
    (void)state;
    session_model_open(&o, "GW");
    tm_prompt(ids, N_LONG, 1);
    elm_session *s = session_of(&o, (elm_session_options){0});
    append(s, ids, N_LONG);
    generate(s, 30);
    rewind_to(s, N_LONG); /* the logits lie in a rewind point now */
    elm_session_trim(s);
    expected(&o, (elm_session_options){0}, ids, N_LONG, &want);
    check_tail(s, N_LONG, &want);
    rewind_to(s, 200);
    expected(&o, (elm_session_options){0}, ids, 200, &want);
    check_tail(s, 200, &want);
    elm_session_trim(s);
    elm_session_free(s);
    session_model_close(&o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rewind_gives_what_a_fresh_session_gives),
        cmocka_unit_test(second_question_is_short),
        cmocka_unit_test(sync_is_append_or_rewind),
        cmocka_unit_test(bad_calls_change_nothing),
        cmocka_unit_test(estimate_is_exact),
        cmocka_unit_test(trim_changes_no_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
