/* What goes out of elm_session_generate, when the tokens are known: whole code points, nothing of a
 * stop string, an end for every reason. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "session_model.h"

enum { MAX_PIECES = 64 };

/* The sampler is made to draw the bytes of `text`, and then the end token: every other id is
 * suppressed. */
typedef struct script {
    elm_session *session;
    const char *text;
    size_t at;
    int32_t suppressed[TM_IDS];
    char out[256];
    size_t n_out, n_pieces, pieces[MAX_PIECES];
    size_t stop_at_piece, stop_at_token; /* 0: never */
} script;

static void expect_next(script *s) {
    int32_t id = (uint8_t)s->text[s->at], n = 0;
    if (id) s->at++;
    for (int32_t i = 0; i < TM_IDS; i++) {
        if (i != id) s->suppressed[n++] = i;
    }
    s->session->sampler.suppressed = s->suppressed;
    s->session->sampler.n_suppressed = (uint32_t)n;
}

static bool on_text(void *context, const char *text, size_t n) {
    script *s = context;
    assert_true(n > 0 && s->n_out + n < sizeof s->out && s->n_pieces < MAX_PIECES);
    memcpy(s->out + s->n_out, text, n);
    s->n_out += n;
    s->pieces[s->n_pieces++] = n;
    return s->n_pieces != s->stop_at_piece;
}

static bool on_token(void *context, int32_t id) {
    script *s = context;
    (void)id;
    expect_next(s);
    return s->stop_at_token == 0 || s->at != s->stop_at_token;
}

static elm_generate_result say(open_model *o, script *s, elm_generate_options g, uint32_t context) {
    elm_error err = {0};
    elm_generate_result r;
    elm_session_options so = {.struct_size = sizeof so, .n_context = context ? context : 200};
    int32_t ids[3] = {65, 66, 67};
    s->at = s->n_out = s->n_pieces = 0;
    memset(s->out, 0, sizeof s->out);
    assert_int_equal(elm_session_create(o->model, &so, &s->session, &err), ELM_OK);
    assert_int_equal(elm_session_append(s->session, ids, 3, &err), ELM_OK);
    expect_next(s);
    g.struct_size = sizeof g;
    g.on_text = on_text;
    g.on_token = on_token;
    g.context = s;
    if (elm_session_generate(s->session, &g, &r, &err) != ELM_OK) fail_msg("%s", err.message);
    elm_session_free(s->session);
    return r;
}

static open_model shared;

static void text_comes_in_whole_code_points(void **state) {
    (void)state;
    script s = {.text = "h\xc3\xa9 \xf0\x9f\x8e\x89!"};
    elm_generate_result r = say(&shared, &s, (elm_generate_options){0}, 0);
    assert_int_equal(r.reason, ELM_STOP_EOS);
    assert_int_equal(r.n_tokens, strlen(s.text));
    assert_string_equal(s.out, s.text);
    const size_t pieces[] = {1, 2, 1, 4, 1};
    assert_int_equal(s.n_pieces, 5);
    assert_memory_equal(s.pieces, pieces, sizeof pieces);
}

/* Bytes that are no UTF-8 become U+FFFD, at the latest at the end. */
static void broken_text_is_replaced(void **state) {
    (void)state;
    script s = {.text = "a\xc3"};
    elm_generate_result r = say(&shared, &s, (elm_generate_options){0}, 0);
    assert_int_equal(r.reason, ELM_STOP_EOS);
    assert_string_equal(s.out, "a\xef\xbf\xbd");
}

static void stop_strings_are_held_back(void **state) {
    const char *stops[] = {"STOP", "", "\n\n"};
    elm_generate_options g = {.stop_strings = stops, .n_stop_strings = 3};
    const struct {
        const char *text, *out;
        elm_stop_reason reason;
    } cases[] = {
        {"one STOP two", "one ", ELM_STOP_STRING}, {"one STO two", "one STO two", ELM_STOP_EOS},
        {"one SSTOP", "one S", ELM_STOP_STRING},   {"STOP", "", ELM_STOP_STRING},
        {"one STO", "one STO", ELM_STOP_EOS}, /* held back, and sent at the end */
        {"a\n\nb", "a", ELM_STOP_STRING},          {"a\nb\n", "a\nb\n", ELM_STOP_EOS},
        {"STSTOP", "ST", ELM_STOP_STRING},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        script s = {.text = cases[i].text};
        elm_generate_result r = say(&shared, &s, g, 0);
        assert_string_equal(s.out, cases[i].out);
        assert_int_equal(r.reason, cases[i].reason);
    }
}

static void every_end_has_its_reason(void **state) {
    (void)state;
    script s = {.text = "abcdefgh"};
    elm_generate_result r = say(&shared, &s, (elm_generate_options){.max_tokens = 3}, 0);
    assert_int_equal(r.reason, ELM_STOP_LENGTH);
    assert_string_equal(s.out, "abc");
    r = say(&shared, &s, (elm_generate_options){0}, 3 + 5);
    assert_int_equal(r.reason, ELM_STOP_CONTEXT);
    assert_string_equal(s.out, "abcde");
    r = say(&shared, &s, (elm_generate_options){0}, 3);
    assert_int_equal(r.reason, ELM_STOP_CONTEXT);
    assert_int_equal(r.n_tokens, 0);
    s.stop_at_piece = 2;
    r = say(&shared, &s, (elm_generate_options){0}, 0);
    assert_int_equal(r.reason, ELM_STOP_CALLBACK);
    assert_string_equal(s.out, "ab");
    s.stop_at_piece = 0;
    s.stop_at_token = 3;
    r = say(&shared, &s, (elm_generate_options){0}, 0);
    assert_int_equal(r.reason, ELM_STOP_CALLBACK);
    script empty = {.text = ""};
    r = say(&shared, &empty, (elm_generate_options){0}, 0);
    assert_int_equal(r.reason, ELM_STOP_EOS);
    assert_int_equal(r.n_tokens, 0);
    r = say(&shared, &empty, (elm_generate_options){.ignore_eos = true, .max_tokens = 4}, 0);
    assert_int_equal(r.reason, ELM_STOP_LENGTH);
    assert_int_equal(r.n_tokens, 4);
}

static void nothing_to_continue(void **state) {
    elm_session *s;
    elm_error err;
    (void)state;
    assert_int_equal(elm_session_create(shared.model, NULL, &s, &err), ELM_OK);
    assert_int_equal(elm_session_generate(s, NULL, NULL, &err), ELM_INVALID_ARGUMENT);
    elm_session_free(s);
}

/* Penalties count what was generated, and only that, whatever way the timeline took. */
static void generated_tokens_are_marked(void **state) {
    elm_session *s;
    elm_error err;
    int32_t ids[] = {65, 66, 65};
    elm_generate_options g = {.struct_size = sizeof g, .max_tokens = 20, .ignore_eos = true};
    (void)state;
    assert_int_equal(elm_session_create(shared.model, NULL, &s, &err), ELM_OK);
    assert_int_equal(elm_session_append(s, ids, 3, &err), ELM_OK);
    assert_int_equal(s->sampler.generated[65], 0);
    assert_int_equal(s->sampler.seen[65], 1);
    assert_int_equal(elm_session_generate(s, &g, NULL, &err), ELM_OK);
    uint32_t total = 0;
    for (int i = 0; i < TM_IDS; i++) total += s->sampler.generated[i];
    assert_int_equal(total, 20);
    assert_int_equal(elm_session_rewind(s, 10, &err), ELM_OK);
    total = 0;
    for (int i = 0; i < TM_IDS; i++) total += s->sampler.generated[i];
    assert_int_equal(total, 7);
    assert_int_equal(elm_session_sync(s, elm_session_tokens(s), 10, NULL, &err), ELM_OK);
    for (int i = 0; i < TM_IDS; i++) assert_int_equal(s->sampler.generated[i], 0);
    elm_session_free(s);
}

static int set_up(void **state) {
    (void)state;
    session_model_open(&shared, "F");
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    session_model_close(&shared);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_comes_in_whole_code_points),
        cmocka_unit_test(broken_text_is_replaced),
        cmocka_unit_test(stop_strings_are_held_back),
        cmocka_unit_test(every_end_has_its_reason),
        cmocka_unit_test(nothing_to_continue),
        cmocka_unit_test(generated_tokens_are_marked),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
