/* test_json.c - the JSON reader on valid, malformed and hostile text, typed access, and the writer
 * read back. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

static elm_arena arena;
static elm_error err;

static int setup(void **state) {
    (void)state;
    elm_arena_init(&arena, elm_allocator_default(), 64 << 20);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    elm_arena_free(&arena);
    return 0;
}

static elm_status parse_bytes(const void *text, size_t n, const elm_json_options *o,
                              const elm_json **out) {
    /* An exact copy, so that a sanitizer sees a read past the end. */
    uint8_t *copy = malloc(n ? n : 1);
    if (n > 0) memcpy(copy, text, n);
    elm_status status = elm_json_parse(elm_span_of(copy, n), "t.json", o, &arena, out, &err);
    free(copy);
    return status;
}

static const elm_json *parse(const char *text) {
    const elm_json *out;
    if (parse_bytes(text, strlen(text), NULL, &out) != ELM_OK)
        fail_msg("%s: %s", text, err.message);
    return out;
}

static void refuse(const char *text, const char *word) {
    const elm_json *out = (const elm_json *)&arena;
    if (parse_bytes(text, strlen(text), NULL, &out) != ELM_MALFORMED) fail_msg("%s: taken", text);
    assert_null(out);
    if (!strstr(err.message, word)) fail_msg("%s: '%s' is not in '%s'", text, word, err.message);
}

static void test_values(void **state) {
    (void)state;
    assert_int_equal(parse("null")->type, ELM_JSON_NULL);
    assert_true(parse(" true ")->as.boolean);
    assert_false(parse("\xef\xbb\xbf false")->as.boolean);
    assert_int_equal(parse("-0")->as.integer, 0);
    assert_true(parse("9223372036854775807")->as.integer == INT64_MAX);
    assert_true(parse("-9223372036854775808")->as.integer == INT64_MIN);
    assert_int_equal(parse("9223372036854775808")->type, ELM_JSON_DOUBLE);
    assert_true(parse("9223372036854775808")->as.number == 9223372036854775808.0);
    assert_int_equal(parse("1.0")->type, ELM_JSON_DOUBLE);
    assert_true(parse("1e-5")->as.number == 1e-5);
    assert_true(parse("-2.5E+3")->as.number == -2500.0);
    assert_int_equal(parse("[]")->count, 0);
    assert_int_equal(parse("{}")->count, 0);
    const elm_json *list = parse("[1, [2, [3]], \"x\"]");
    assert_int_equal(list->count, 3);
    assert_int_equal(list->as.items[1].as.items[1].as.items[0].as.integer, 3);
    assert_int_equal(parse("{\"a\":\n\n1}")->as.items[0].line, 3);
}

static void check_string(const char *text, const char *want, size_t n) {
    const elm_json *v = parse(text);
    assert_int_equal(v->type, ELM_JSON_STRING);
    assert_int_equal(v->as.string.size, n);
    assert_memory_equal(v->as.string.data, want, n);
    assert_int_equal(v->as.string.data[n], 0);
}

static void test_strings(void **state) {
    (void)state;
    check_string("\"\"", "", 0);
    check_string("\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "a\"\\/\b\f\n\r\t", 9);
    check_string("\"\\u0041\\u00e9\\u20ac\"", "A\xc3\xa9\xe2\x82\xac", 6);
    check_string("\"\\ud83c\\udf89\"", "\xf0\x9f\x8e\x89", 4);
    check_string("\"a\\u0000b\"", "a\0b", 3);
    refuse("\"\\ud83c\"", "surrogate");
    refuse("\"\\ud83cx\"", "surrogate");
    refuse("\"\\udf89\"", "surrogate");
    refuse("\"\\ud83c\\u0041\"", "surrogate");
    elm_json_options lone = {.allow_lone_surrogates = true};
    const elm_json *v;
    assert_int_equal(parse_bytes("\"\\ud83cx\"", 9, &lone, &v), ELM_OK);
    assert_memory_equal(v->as.string.data, "\xef\xbf\xbdx", 4);
}

static void test_malformed(void **state) {
    (void)state;
    static const char *const texts[] = {
        "",      " ",    "nul",    "tru",      "[",         "[1",          "[1,",     "[1,]",
        "[,]",   "{",    "{\"a\"", "{\"a\":",  "{\"a\":1",  "{\"a\":1,}",  "{1:2}",   "{a:1}",
        "[1 2]", "1 2",  "01",     "-",        "+1",        "1.",          ".5",      "1e",
        "1e+",   "0x10", "\"",     "\"\\",     "\"\\x\"",   "\"\\u12g4\"", "\"\\u12", "\"a\nb\"",
        "'a'",   "NaN",  "[NaN]",  "Infinity", "-Infinity", "[1]]",        "{}{",     "//\n1",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) refuse(texts[i], "t.json:");
    refuse("[1,\n2,\n x]", "t.json:3");
    refuse("{\"a\": 1, \"b\": 2, \"a\": 3}", "'a' appears twice");
    refuse("\"a\xff\"", "UTF-8");
    refuse("\"\xc0\xaf\"", "UTF-8");     /* overlong */
    refuse("\"\xed\xa0\x80\"", "UTF-8"); /* a surrogate */
    refuse("1e999", "too large");
    refuse("[-1e400]", "too large");
}

static void test_not_a_number_on_request(void **state) {
    (void)state;
    elm_json_options allow = {.allow_nan = true};
    const elm_json *v;
    assert_int_equal(parse_bytes("[NaN,Infinity,-Infinity]", 24, &allow, &v), ELM_OK);
    assert_true(isnan(v->as.items[0].as.number));
    assert_true(v->as.items[1].as.number == (double)INFINITY);
    assert_true(v->as.items[2].as.number == -(double)INFINITY);
}

static void test_every_truncation_is_refused(void **state) {
    (void)state;
    static const char text[] =
        "{\"a\": [1, -2.5e3, \"x\\u00e9\\n\"], \"b\": {\"c\": null, \"d\": true}}";
    const elm_json *v;
    for (size_t n = 0; n < sizeof text - 1; n++)
        assert_int_equal(parse_bytes(text, n, NULL, &v), ELM_MALFORMED);
    assert_int_equal(parse_bytes(text, sizeof text - 1, NULL, &v), ELM_OK);
}

static void test_depth(void **state) {
    (void)state;
    char text[2 * ELM_JSON_MAX_DEPTH + 3];
    const elm_json *v;
    for (int extra = 0; extra < 2; extra++) {
        size_t depth = ELM_JSON_MAX_DEPTH + (size_t)extra;
        memset(text, '[', depth);
        memset(text + depth, ']', depth);
        elm_status status = parse_bytes(text, 2 * depth, NULL, &v);
        assert_int_equal(status, extra ? ELM_MALFORMED : ELM_OK);
    }
    assert_non_null(strstr(err.message, "deeper"));
    size_t n = 1 << 20;
    char *bomb = malloc(n);
    memset(bomb, '[', n);
    assert_int_equal(parse_bytes(bomb, n, NULL, &v), ELM_MALFORMED);
    free(bomb);
}

/* Large objects go through the hash table, where a duplicate is found too. */
static void test_many_keys(void **state) {
    (void)state;
    enum { N = 60000 };
    char *text = malloc(N * 16 + 64);
    for (int twice = 0; twice < 2; twice++) {
        size_t n = 0;
        text[n++] = '{';
        for (int i = 0; i < N; i++)
            n += (size_t)sprintf(text + n, "%s\"k%d\":%d", i ? "," : "", i, i);
        if (twice) n += (size_t)sprintf(text + n, ",\"k31415\":0");
        text[n++] = '}';
        const elm_json *v;
        elm_status status = parse_bytes(text, n, NULL, &v);
        assert_int_equal(status, twice ? ELM_MALFORMED : ELM_OK);
        if (!twice) assert_int_equal(elm_json_get(v, "k59999")->as.integer, 59999);
    }
    assert_non_null(strstr(err.message, "k31415"));
    free(text);
}

static void test_memory_limit(void **state) {
    (void)state;
    elm_arena small;
    elm_arena_init(&small, elm_allocator_default(), 16384);
    char text[20001];
    memset(text, '1', sizeof text);
    for (size_t i = 0; i < sizeof text; i += 2) text[i] = i ? ',' : '[';
    text[sizeof text - 1] = ']';
    const elm_json *v;
    assert_int_equal(elm_json_parse(elm_span_of(text, sizeof text), "t", NULL, &small, &v, &err),
                     ELM_OUT_OF_MEMORY);
    elm_arena_free(&small);
}

static void test_access(void **state) {
    (void)state;
    const elm_json *o =
        parse("{\"i\": 7, \"f\": 2.5, \"w\": 3.0, \"b\": true, \"s\": \"x\", \"n\": null}");
    int64_t i = 1;
    double d = 0;
    bool b = false;
    elm_span s;
    assert_int_equal(elm_json_int(o, "i", 0, 10, "t", &i, &err), ELM_OK);
    assert_int_equal(i, 7);
    assert_int_equal(elm_json_int(o, "w", 0, 10, "t", &i, &err), ELM_OK);
    assert_int_equal(i, 3);
    assert_int_equal(elm_json_int(o, "n", 0, 10, "t", &i, &err),
                     ELM_OK); /* null keeps the default */
    assert_int_equal(elm_json_int(o, "nosuch", 0, 10, "t", &i, &err), ELM_OK);
    assert_int_equal(i, 3);
    assert_int_equal(elm_json_int(o, "i", 8, 10, "t", &i, &err), ELM_MALFORMED);
    assert_non_null(strstr(err.message, "8..10"));
    assert_int_equal(elm_json_int(o, "f", 0, 10, "t", &i, &err), ELM_MALFORMED);
    assert_int_equal(elm_json_int(o, "s", 0, 10, "t", &i, &err), ELM_MALFORMED);
    assert_int_equal(elm_json_double(o, "i", "t", &d, &err), ELM_OK);
    assert_true(d == 7.0);
    assert_int_equal(elm_json_double(o, "b", "t", &d, &err), ELM_MALFORMED);
    assert_int_equal(elm_json_bool(o, "b", "t", &b, &err), ELM_OK);
    assert_true(b);
    assert_int_equal(elm_json_bool(o, "i", "t", &b, &err), ELM_MALFORMED);
    assert_int_equal(elm_json_string(o, "s", "t", &s, &err), ELM_OK);
    assert_int_equal(elm_json_string(o, "i", "t", &s, &err), ELM_MALFORMED);
    assert_non_null(strstr(err.message, "'i' is an integer; expected a string"));
    assert_true(elm_json_is(elm_json_get(o, "s"), "x"));
    assert_non_null(elm_json_get(o, "n"));
    assert_null(elm_json_find(o, "n"));
    assert_null(elm_json_get(NULL, "x"));
    assert_null(elm_json_get(parse("[1]"), "x"));
}

static void write_sample(elm_json_writer *w) {
    elm_json_begin_object(w, NULL);
    elm_json_put_string(w, "odd \"key\"", elm_span_of("\x01\x1f\"\\\n\t\r\xc3\xa9", 9));
    elm_json_begin_array(w, "list");
    elm_json_put_int(w, NULL, INT64_MIN);
    elm_json_put_double(w, NULL, 0.1);
    elm_json_put_double(w, NULL, DBL_MAX);
    elm_json_put_double(w, NULL, 5e-324);
    elm_json_put_double(w, NULL, 3.0);
    elm_json_put_double(w, NULL, (double)NAN);
    elm_json_end_array(w);
    elm_json_begin_object(w, "empty");
    elm_json_end_object(w);
    elm_json_put_bool(w, "yes", true);
    elm_json_put_str(w, "none", NULL);
    elm_json_end_object(w);
}

static void test_writer_reads_back(void **state) {
    (void)state;
    for (int pretty = 0; pretty < 2; pretty++) {
        elm_buf out;
        elm_json_writer w;
        elm_buf_init(&out, elm_allocator_default(), 1 << 16);
        elm_json_writer_init(&w, &out, pretty);
        write_sample(&w);
        elm_buf_u8(&out, 0);
        assert_int_equal(elm_buf_check(&out, "t", &err), ELM_OK);
        const elm_json *v = parse((const char *)out.data), *list = elm_json_get(v, "list");
        assert_int_equal(v->count, 5);
        assert_memory_equal(v->as.items[0].as.string.data, "\x01\x1f\"\\\n\t\r\xc3\xa9", 9);
        assert_true(list->as.items[0].as.integer == INT64_MIN);
        assert_true(list->as.items[1].as.number == 0.1 && list->as.items[2].as.number == DBL_MAX);
        assert_true(list->as.items[3].as.number == 5e-324);
        assert_int_equal(list->as.items[4].type, ELM_JSON_DOUBLE); /* 3.0 stays a double */
        assert_int_equal(list->as.items[5].type, ELM_JSON_NULL);
        assert_int_equal(elm_json_get(v, "empty")->count, 0);
        elm_buf_free(&out);
    }
}

/* What was read as deeply as reading goes is written inside another object, keys with a zero byte
 * included. */
static void test_writer_puts_values(void **state) {
    char text[256];
    const elm_json *value;
    elm_json_options deep = {.max_depth = ELM_JSON_MAX_DEPTH + 2};
    elm_json_writer w;
    elm_buf out;
    int n = snprintf(text, sizeof text, "{\"a\\u0000b\": 1, \"a\\u0000c\": ");
    (void)state;
    for (int i = 0; i < ELM_JSON_MAX_DEPTH - 1; i++) text[n++] = '[';
    for (int i = 0; i < ELM_JSON_MAX_DEPTH - 1; i++) text[n++] = ']';
    text[n++] = '}';
    elm_span span = elm_span_of(text, (size_t)n);
    if (elm_json_parse(span, "t", NULL, &arena, &value, &err) != ELM_OK)
        fail_msg("%s", err.message);
    elm_buf_init(&out, elm_allocator_default(), 1 << 20);
    elm_json_writer_init(&w, &out, false);
    elm_json_begin_object(&w, NULL);
    elm_json_begin_array(&w, "list");
    elm_json_put_value(&w, NULL, value);
    elm_json_put_value(&w, NULL, value);
    elm_json_end_array(&w);
    elm_json_put_int(&w, "after", 2);
    elm_json_end_object(&w);
    const elm_json *again, *list;
    if (elm_json_parse(elm_buf_span(&out), "t", &deep, &arena, &again, &err) != ELM_OK)
        fail_msg("%s", err.message);
    list = elm_json_find(again, "list");
    assert_int_equal(list->count, 2);
    assert_int_equal(list->as.items[1].count, 2);
    assert_int_equal(list->as.items[1].as.items[1].key.size, 3);
    assert_memory_equal(out.data + strlen("{\"list\": ["), text, (size_t)n);
    elm_buf_free(&out);
}

static void test_writer_forms(void **state) {
    (void)state;
    elm_buf out;
    elm_json_writer w;
    elm_buf_init(&out, elm_allocator_default(), 1 << 16);
    elm_json_writer_init(&w, &out, false);
    elm_json_begin_array(&w, NULL);
    elm_json_put_int(&w, NULL, 1);
    elm_json_put_double(&w, NULL, 0.5);
    elm_json_end_array(&w);
    elm_buf_u8(&out, 0);
    assert_string_equal((const char *)out.data, "[1, 0.5]");
    elm_buf_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_strings, setup, teardown),
        cmocka_unit_test_setup_teardown(test_malformed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_a_number_on_request, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_truncation_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_depth, setup, teardown),
        cmocka_unit_test_setup_teardown(test_many_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(test_memory_limit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_access, setup, teardown),
        cmocka_unit_test_setup_teardown(test_writer_reads_back, setup, teardown),
        cmocka_unit_test_setup_teardown(test_writer_puts_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_writer_forms, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
