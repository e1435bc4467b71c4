/* Speculative decoding changes no token: greedy or sampled, whatever is guessed, wherever it stops.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "backend/kv.h"
#include "session_model.h"

enum { N_PROMPT = 90, N_NEW = 120 };

static elm_session *session_of(elm_model *m, elm_session_options options) {
    elm_session *s = NULL;
    elm_error err = {0};
    options.struct_size = sizeof options;
    if (options.n_context == 0) options.n_context = 512;
    if (elm_session_create(m, &options, &s, &err) != ELM_OK) fail_msg("%s", err.message);
    return s;
}

/* A prompt that repeats itself, so that lookup finds something. */
static void repeating(int32_t *ids, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) ids[i] = 'a' + (int32_t)(i % 7);
}

typedef struct output {
    elm_buf text;
    int32_t ids[N_NEW + 2];
    uint32_t n_ids, stop_after; /* 0: never */
} output;

static bool on_text(void *context, const char *text, size_t n) {
    elm_buf_append(&((output *)context)->text, text, n);
    return true;
}

static bool on_token(void *context, int32_t id) {
    output *o = context;
    if (o->n_ids < N_NEW + 2) o->ids[o->n_ids++] = id;
    return o->stop_after == 0 || o->n_ids < o->stop_after;
}

typedef struct run {
    output out;
    elm_generate_result result;
    uint32_t length;
    int32_t tokens[512];
    elm_stats stats;
} run;

static void generate(elm_session *s, elm_generate_options g, run *r, uint32_t stop_after) {
    elm_error err = {0};
    memset(&r->out, 0, sizeof r->out);
    elm_buf_init(&r->out.text, elm_allocator_default(), 1 << 16);
    r->out.stop_after = stop_after;
    g.struct_size = sizeof g;
    g.on_text = on_text;
    g.on_token = on_token;
    g.context = &r->out;
    if (elm_session_generate(s, &g, &r->result, &err) != ELM_OK) fail_msg("%s", err.message);
    r->length = elm_session_length(s);
    memcpy(r->tokens, elm_session_tokens(s), r->length * sizeof *r->tokens);
    elm_session_get_stats(s, &r->stats);
}

static void run_free(run *r) {
    elm_buf_free(&r->out.text);
}

static void check_same(const run *a, const run *b) {
    assert_int_equal(a->result.reason, b->result.reason);
    assert_int_equal(a->result.n_tokens, b->result.n_tokens);
    assert_int_equal(a->length, b->length);
    assert_memory_equal(a->tokens, b->tokens, a->length * sizeof *a->tokens);
    assert_int_equal(a->out.n_ids, b->out.n_ids);
    assert_memory_equal(a->out.ids, b->out.ids, a->out.n_ids * sizeof *a->out.ids);
    assert_int_equal(a->out.text.size, b->out.text.size);
    if (a->out.text.size) assert_memory_equal(a->out.text.data, b->out.text.data, a->out.text.size);
}

/* The same conversation with and without drafts: generate, add, generate, rewind, generate. */
static void compare(elm_model *m, elm_session_options plain, elm_session_options drafting,
                    elm_generate_options g, uint32_t stop_after, elm_stats *stats) {
    int32_t ids[N_PROMPT];
    run a, b;
    elm_session *s = session_of(m, plain), *d = session_of(m, drafting);
    repeating(ids, N_PROMPT);
    for (int round = 0; round < 3; round++) {
        assert_int_equal(elm_session_append(s, ids, N_PROMPT / (round + 1), NULL), ELM_OK);
        assert_int_equal(elm_session_append(d, ids, N_PROMPT / (round + 1), NULL), ELM_OK);
        generate(s, g, &a, stop_after);
        generate(d, g, &b, stop_after);
        check_same(&a, &b);
        if (round == 1) {
            uint32_t n = elm_session_length(s) - 3;
            assert_int_equal(elm_session_rewind(s, n, NULL), ELM_OK);
            assert_int_equal(elm_session_rewind(d, n, NULL), ELM_OK);
        }
        *stats = b.stats;
        run_free(&a);
        run_free(&b);
    }
    elm_session_free(s);
    elm_session_free(d);
}

static elm_sampling sampled(float temperature, uint64_t seed) {
    return (elm_sampling){.struct_size = sizeof(elm_sampling),
                          .temperature = temperature,
                          .top_k = 40,
                          .top_p = 0.95f,
                          .repetition_penalty = 1.1f,
                          .frequency_penalty = 0.1f,
                          .seed = seed};
}

/* A second model that is another one, with the same tokenizer. */
static elm_model *other_model(open_model *o, uint64_t seed, uint32_t n_ids) {
    session_model m = {.mixers = "F", .seed = seed, .n_ids = n_ids};
    elm_model *model = NULL;
    elm_error err = {0};
    session_model_write(&m, &o->fs.platform, "other.elm");
    elm_status status =
        session_model_open_file(&o->fs, "other.elm", (elm_model_options){0}, &model, &err);
    if (status != ELM_OK) fail_msg("%s", err.message);
    return model;
}

static const char *const kinds[] = {"FF", "WF", "GF+", "FF+"};
enum { N_KINDS = 4 };

/* The kinds of drafts there are for a model, in turn. */
static elm_session_options draft_options(open_model *o, const char *kind, elm_model *other,
                                         uint32_t i) {
    elm_session_options so = {.draft = ELM_DRAFT_LOOKUP};
    uint32_t n = strchr(kind, '+') ? 4 : 3;
    if (i % n == 0) return so;
    so.draft = i % n == 3 ? ELM_DRAFT_MTP : ELM_DRAFT_MODEL;
    so.draft_model = i % n == 1 ? o->model : other;
    return so;
}

static void drafts_change_no_token(void **state) {
    (void)state;
    for (int k = 0; k < N_KINDS; k++) {
        open_model o;
        session_model_open(&o, kinds[k]);
        elm_model *other = other_model(&o, 99, 0);
        for (uint32_t i = 0; i < 24; i++) {
            elm_session_options plain = {.kv = (elm_kv_type)(1 + i % 3)};
            elm_session_options drafting = draft_options(&o, kinds[k], other, i);
            elm_generate_options g = {.max_tokens = 50, .ignore_eos = i % 2};
            elm_stats stats;
            if (i >= 12) plain.sampling = drafting.sampling = sampled(0.8f, i);
            drafting.kv = plain.kv;
            drafting.n_draft = i % 5 == 4 ? 1 : 0;
            compare(o.model, plain, drafting, g, 0, &stats);
            assert_true(stats.accepted_tokens <= stats.drafted_tokens);
            if (i < 12 && drafting.draft_model ==
                              o.model) { /* greedy guesses of the model itself are right */
                assert_true(stats.drafted_tokens > 0);
                if (!strchr(kinds[k], 'G'))
                    assert_int_equal(stats.drafted_tokens, stats.accepted_tokens);
            }
        }
        elm_model_close(other);
        session_model_close(&o);
    }
}

/* Whatever ends a text may lie anywhere in a run of guesses. */
static void drafts_end_where_decoding_ends(void **state) {
    (void)state;
    for (int k = 0; k < N_KINDS; k++) {
        open_model o;
        int32_t ids[N_PROMPT];
        run r;
        session_model_open(&o, kinds[k]);
        elm_session *s = session_of(o.model, (elm_session_options){0});
        repeating(ids, N_PROMPT);
        assert_int_equal(elm_session_append(s, ids, N_PROMPT, NULL), ELM_OK);
        generate(s, (elm_generate_options){.max_tokens = 60, .ignore_eos = true}, &r, 0);
        elm_session_free(s);
        for (uint32_t at = 1; at < 30; at++) {
            elm_session_options plain = {0}, drafting = {.draft = ELM_DRAFT_MODEL};
            elm_generate_options g = {.max_tokens = 60, .ignore_eos = true};
            elm_stats stats;
            drafting.draft_model = o.model;
            drafting.n_draft = 1 + at % 7;
            compare(o.model, plain, drafting, (elm_generate_options){.max_tokens = at}, 0, &stats);
            compare(o.model, plain, drafting, g, at, &stats);
            plain.n_context = drafting.n_context = N_PROMPT + at;
            elm_session *full = session_of(o.model, drafting);
            run f;
            assert_int_equal(elm_session_append(full, ids, N_PROMPT, NULL), ELM_OK);
            generate(full, g, &f, 0);
            assert_int_equal(f.result.reason, ELM_STOP_CONTEXT);
            assert_int_equal(f.result.n_tokens, at);
            assert_memory_equal(f.tokens + N_PROMPT, r.tokens + N_PROMPT, at * sizeof *f.tokens);
            run_free(&f);
            elm_session_free(full);
            /* an end token: what came `at` places into the answer */
            o.model->meta.eos_ids[0] = r.tokens[N_PROMPT + at];
            plain.n_context = drafting.n_context = 0;
            compare(o.model, plain, drafting, (elm_generate_options){.max_tokens = 60}, 0, &stats);
            o.model->meta.eos_ids[0] = 0;
        }
        run_free(&r);
        session_model_close(&o);
    }
}

/* The last state of a model with a draft graph is the draft's. Its rows of the first n positions.
 */
static uint8_t *draft_rows(elm_session *s, uint32_t n, size_t *bytes) {
    const elm_kv *kv = &s->states[s->model->module->n_states - 1];
    elm_error err;
    *bytes = n * elm_kv_position_bytes(kv);
    uint8_t *rows = malloc(*bytes);
    assert_non_null(rows);
    if (elm_draft_before_step(s, &err) != ELM_OK) fail_msg("%s", err.message);
    elm_kv_pack(kv, 0, n, rows);
    return rows;
}

/* However a timeline came about, the draft head has seen its true pairs: those of a prompt in any
 * chunks, of accepted guesses, not those of rejected ones, not those of a timeline that was cut. */
static void draft_heads_see_the_true_pairs(void **state) {
    int32_t ids[200];
    elm_error err;
    (void)state;
    for (uint32_t round = 0; round < 8; round++) {
        open_model o;
        session_model_open_with(&o, "FF+", (elm_model_options){.max_batch_tokens = 16 + round});
        elm_session_options so = {.draft = ELM_DRAFT_MTP, .n_draft = 1 + round % 7};
        if (round % 2) so.sampling = sampled(1.5f, round);
        run stopped; /* by the caller, where guesses that were rejected may lie behind the end */
        elm_session *s = session_of(o.model, so), *fresh = session_of(o.model, so);
        tm_prompt(ids, 200, round);
        assert_int_equal(elm_session_append(s, ids, 90, &err), ELM_OK);
        elm_generate_options g = {.struct_size = sizeof g, .max_tokens = 30, .ignore_eos = true};
        assert_int_equal(elm_session_generate(s, &g, NULL, &err), ELM_OK);
        generate(s, (elm_generate_options){.ignore_eos = true}, &stopped, 17 + round);
        run_free(&stopped);
        if (round > 2 && round < 6)
            assert_int_equal(elm_session_rewind(s, 70 + round, &err), ELM_OK);
        assert_int_equal(elm_session_append(s, ids + 90, round == 4 ? 1 : 60, &err), ELM_OK);
        if (round > 5) assert_int_equal(elm_session_generate(s, &g, NULL, &err), ELM_OK);
        if (round > 6) assert_int_equal(elm_session_append(s, ids + 91, 20, &err), ELM_OK);
        uint32_t n = elm_session_length(s);
        assert_int_equal(elm_session_append(fresh, elm_session_tokens(s), n, &err), ELM_OK);
        size_t a_bytes, b_bytes;
        uint32_t pairs = s->n_run < n ? s->n_run : n - 1;
        uint8_t *a = draft_rows(s, pairs, &a_bytes), *b = draft_rows(fresh, pairs, &b_bytes);
        assert_int_equal(a_bytes, b_bytes);
        assert_memory_equal(a, b, a_bytes);
        free(a);
        free(b);
        elm_session_free(fresh);
        elm_session_free(s);
        session_model_close(&o);
    }
}

/* What one row of logits is of: the head over all pairs at once, by hand. */
static void first_guess_is_the_heads(void **state) {
    int32_t ids[40], positions[40];
    elm_error err = {0};
    open_model o;
    uint32_t n_guessed;
    (void)state;
    session_model_open(&o, "FF+");
    elm_session *s = session_of(o.model, (elm_session_options){.draft = ELM_DRAFT_MTP});
    elm_session *hand = session_of(o.model, (elm_session_options){.draft = ELM_DRAFT_MTP});
    tm_prompt(ids, 40, 3);
    assert_int_equal(elm_session_append(s, ids, 39, &err), ELM_OK);
    s->tokens[s->n_tokens++] = ids[39]; /* pending, as generate leaves it */
    assert_int_equal(elm_draft_propose(s, 3, &n_guessed, &err), ELM_OK);
    assert_int_equal(n_guessed, 3);
    assert_int_equal(elm_session_append(hand, ids, 39, &err), ELM_OK);
    const elm_plan *text = &o.model->plan, *head = &o.model->draft_plan;
    const elm_place *hidden = &text->places[text->graph->hidden];
    uint8_t *scratch, *workspace;
    int32_t last = 38;
    assert_int_equal(elm_alloc(s->alloc, head->scratch_bytes, "", &scratch, &err), ELM_OK);
    assert_int_equal(elm_alloc(s->alloc, head->workspace_bytes, "", &workspace, &err), ELM_OK);
    for (int32_t i = 0; i < 40; i++) positions[i] = i;
    elm_step step = {.n_tokens = 39,
                     .n_rows = 1,
                     .tokens = ids + 1,
                     .positions = positions,
                     .rows = &last,
                     .hidden = (const float *)(const void *)(hand->scratch + hidden->offset),
                     .hidden_stride = hidden->row_stride,
                     .scratch = scratch,
                     .workspace = workspace,
                     .states = hand->states,
                     .recurrent = hand->recurrent,
                     .pool = o.model->pool};
    assert_int_equal(elm_plan_run(head, &step, &err), ELM_OK);
    const float *logits = elm_step_rows(&step, &head->places[head->graph->output]);
    assert_int_equal(s->tokens[40], elm_likeliest(logits, TM_IDS));
    /* and the second goes on from the first: its token and the head's own hidden row */
    float row[TM_HIDDEN];
    const elm_place *own = &head->places[head->graph->hidden];
    memcpy(row, elm_step_rows(&step, own) + (size_t)last * own->row_stride, sizeof row);
    positions[0] = 39;
    last = 0;
    step.n_tokens = 1;
    step.n_past = 39;
    step.tokens = &s->tokens[40];
    step.hidden = row;
    assert_int_equal(elm_plan_run(head, &step, &err), ELM_OK);
    assert_int_equal(s->tokens[41], elm_likeliest(logits, TM_IDS));
    elm_free(s->alloc, scratch, head->scratch_bytes);
    elm_free(s->alloc, workspace, head->workspace_bytes);
    elm_session_free(hand);
    elm_session_free(s);
    session_model_close(&o);
}

static void stop_strings_end_a_run_of_guesses(void **state) {
    open_model o;
    (void)state;
    session_model_open(&o, "FF");
    for (int32_t c = 1; c < 128; c += 3) {
        char stop[2] = {(char)c, 0};
        const char *stops[] = {stop, "zzzzzzzz"};
        elm_session_options plain = {.sampling = sampled(3.0f, (uint64_t)c)}, drafting = plain;
        elm_stats stats;
        drafting.draft = ELM_DRAFT_MODEL;
        drafting.draft_model = o.model;
        compare(
            o.model, plain, drafting,
            (elm_generate_options){.max_tokens = 60, .stop_strings = stops, .n_stop_strings = 2}, 0,
            &stats);
    }
    session_model_close(&o);
}

static void draft_options_are_checked(void **state) {
    open_model o;
    elm_session *s;
    elm_error err;
    (void)state;
    session_model_open(&o, "FF");
    elm_model *other = other_model(&o, 5, 250);
    const struct {
        elm_session_options options;
        elm_status status;
        const char *word;
    } cases[] = {
        {{.draft = ELM_DRAFT_MODEL}, ELM_INVALID_ARGUMENT, "draft model"},
        {{.draft = ELM_DRAFT_MODEL, .draft_model = other}, ELM_INVALID_ARGUMENT, "vocabulary"},
        {{.draft = ELM_DRAFT_LOOKUP, .n_draft = 8}, ELM_INVALID_ARGUMENT, "at most 7"},
        {{.draft = (elm_draft_kind)9}, ELM_INVALID_ARGUMENT, "9"},
        {{.draft = ELM_DRAFT_MTP}, ELM_UNSUPPORTED, "no draft head"},
        {{.n_snapshots = 65}, ELM_INVALID_ARGUMENT, "65 snapshots"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        elm_session_options so = cases[i].options;
        so.struct_size = sizeof so;
        assert_int_equal(elm_session_create(o.model, &so, &s, &err), cases[i].status);
        assert_null(s);
        if (!strstr(err.message, cases[i].word)) fail_msg("%s", err.message);
    }
    elm_model_close(other);
    session_model_close(&o);
}

static void lookup_finds_the_longest_and_latest(void **state) {
    (void)state;
    const int32_t a[] = {1, 2, 3, 9, 5, 2, 3, 8, 1, 2, 3};
    int32_t out[8];
    assert_int_equal(elm_lookup_propose(a, 11, 4, out), 4);
    assert_memory_equal(out, ((int32_t[]){9, 5, 2, 3}), sizeof(int32_t) * 4);
    const int32_t b[] = {7, 1, 2, 4, 1, 2, 5, 1, 2};
    assert_int_equal(elm_lookup_propose(b, 9, 2, out), 2);
    assert_memory_equal(out, ((int32_t[]){5, 1}), sizeof(int32_t) * 2);
    const int32_t c[] = {6, 6, 6, 6};
    assert_int_equal(elm_lookup_propose(c, 4, 7, out), 7);
    for (int i = 0; i < 7; i++) assert_int_equal(out[i], 6);
    const int32_t e[] = {5, 6, 7, 5, 6};
    assert_int_equal(elm_lookup_propose(e, 5, 7, out), 7);
    assert_memory_equal(out, ((int32_t[]){7, 5, 6, 7, 5, 6, 7}), sizeof(int32_t) * 7);
    const int32_t d[] = {1, 2, 3, 4, 5, 1};
    assert_int_equal(elm_lookup_propose(d, 6, 7, out), 0);
    assert_int_equal(elm_lookup_propose(d, 1, 7, out), 0);
    assert_int_equal(elm_lookup_propose(d, 0, 7, out), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(drafts_change_no_token),
        cmocka_unit_test(drafts_end_where_decoding_ends),
        cmocka_unit_test(stop_strings_end_a_run_of_guesses),
        cmocka_unit_test(draft_heads_see_the_true_pairs),
        cmocka_unit_test(first_guess_is_the_heads),
        cmocka_unit_test(draft_options_are_checked),
        cmocka_unit_test(lookup_finds_the_longest_and_latest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
