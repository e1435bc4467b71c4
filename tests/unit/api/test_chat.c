/* The three-line conversation: what it remembers, what a failed turn leaves. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "session_model.h"

static bool one_piece(void *context, const char *text, size_t n) {
    elm_buf_append(context, text, n);
    return false;
}

static elm_session *session_of(open_model *o, uint32_t n_context, const char *system) {
    elm_session *s = NULL;
    elm_session_options so = {.struct_size = sizeof so, .n_context = n_context, .system = system};
    elm_error err = {0};
    if (elm_session_create(o->model, &so, &s, &err) != ELM_OK) fail_msg("%s", err.message);
    return s;
}

static void turns_are_remembered_and_not_run_again(void **state) {
    open_model o;
    elm_buf text;
    elm_error err;
    elm_stats before, after;
    size_t n;
    (void)state;
    session_model_open(&o, "FF");
    elm_session *s = session_of(&o, 1000, "be brief");
    elm_buf_init(&text, elm_allocator_default(), 1000);
    assert_int_equal(elm_session_chat(s, "first question", one_piece, &text, &err), ELM_OK);
    elm_session_get_stats(s, &before);
    assert_int_equal(elm_session_chat(s, "a \"second\" one\n", one_piece, &text, &err), ELM_OK);
    elm_session_get_stats(s, &after);
    assert_true(after.reused_tokens - before.reused_tokens > strlen("<system>be brief\n"));
    const char *turns = elm_session_conversation(s, &n);
    char copy[1000];
    snprintf(copy, sizeof copy, "%.*s", (int)n, turns);
    const char *at = copy;
    const char *words[] = {"system",
                           "be brief",
                           "user",
                           "first question",
                           "assistant",
                           "user",
                           "a \\\"second\\\" one\\n",
                           "assistant"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        at = strstr(at, words[i]);
        assert_non_null(at);
    }
    elm_session_chat_reset(s);
    elm_session_conversation(s, &n);
    assert_int_equal(n, 0);
    elm_buf_free(&text);
    elm_session_free(s);
    session_model_close(&o);
}

static void a_failed_turn_never_happened(void **state) {
    open_model o;
    elm_buf text;
    elm_error err;
    size_t before, after;
    char longer[300];
    (void)state;
    session_model_open(&o, "GF");
    elm_session *s = session_of(&o, 200, NULL);
    elm_buf_init(&text, elm_allocator_default(), 1000);
    assert_int_equal(elm_session_chat(s, "hello", one_piece, &text, &err), ELM_OK);
    elm_session_conversation(s, &before);
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    assert_int_equal(elm_session_chat(s, longer, one_piece, &text, &err), ELM_CONTEXT_FULL);
    elm_session_conversation(s, &after);
    assert_int_equal(before, after);
    assert_int_equal(elm_session_chat(s, "hello again", one_piece, &text, &err), ELM_OK);
    elm_buf_free(&text);
    elm_session_free(s);
    session_model_close(&o);
}

/* A template that opens the thoughts, and a model that never ends them: the next prompt must not say
 * that it had answered so. */
static void answers_are_remembered_in_their_parts(void **state) {
    open_model o;
    elm_buf text;
    elm_error err;
    size_t n;
    (void)state;
    session_model_open(&o, "F");
    elm_answer_format *format = &((elm_model *)(uintptr_t)o.model)->meta.answer;
    *format = (elm_answer_format){.think_begin = "<assistant>", .think_end = "</think>"};
    elm_session *s = session_of(&o, 300, NULL);
    elm_buf_init(&text, elm_allocator_default(), 1000);
    assert_int_equal(elm_session_chat(s, "hello", one_piece, &text, &err), ELM_OK);
    const char *turns = elm_session_conversation(s, &n);
    char copy[1000];
    snprintf(copy, sizeof copy, "%.*s", (int)n, turns);
    assert_non_null(strstr(copy, "\"assistant\", \"content\": \"\", \"reasoning_content\": \""));
    elm_buf_free(&text);
    elm_session_free(s);
    session_model_close(&o);
}

static void conversations_are_checked(void **state) {
    open_model o;
    elm_error err;
    size_t n;
    (void)state;
    session_model_open(&o, "F");
    elm_session *s = session_of(&o, 100, NULL);
    const char *good = "{\"role\": \"user\", \"content\": \"x\"}";
    assert_int_equal(elm_session_set_conversation(s, good, strlen(good), &err), ELM_OK);
    const char *bad[] = {"{", "]", "{}]", "{} {}"};
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(elm_session_set_conversation(s, bad[i], strlen(bad[i]), &err),
                         ELM_MALFORMED);
        assert_memory_equal(elm_session_conversation(s, &n), good, strlen(good));
        assert_int_equal(n, strlen(good));
    }
    assert_int_equal(elm_session_set_conversation(s, NULL, 0, &err), ELM_OK);
    elm_session_free(s);
    session_model_close(&o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(turns_are_remembered_and_not_run_again),
        cmocka_unit_test(a_failed_turn_never_happened),
        cmocka_unit_test(answers_are_remembered_in_their_parts),
        cmocka_unit_test(conversations_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
