/* Every place where the template parser refuses, with its status and where it says to be; and memory that runs out
 * at any call. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "nth_alloc.h"
#include "text/template.h"

static const struct refusal {
    const char *source;
    elm_status status;
    const char *words;
} refusals[] = {
    /* tags and text */
    {"{{ a", ELM_MALFORMED, "column 5: expected }}"},
    {"\n\n {% if a }}", ELM_MALFORMED, "line 3, column 10: expected %}"},
    {"{# a", ELM_MALFORMED, "the end of a comment"},
    {"{% if a %}b", ELM_MALFORMED, "expected elif"},
    {"{% if a %}{% else %}{% elif b %}{% endif %}", ELM_MALFORMED, "unknown tag 'elif'"},
    {"{% for %}{% endfor %}", ELM_MALFORMED, "a name"},
    {"{% for a of b %}{% endfor %}", ELM_MALFORMED, "expected in"},
    {"{% for (a, b in c %}{% endfor %}", ELM_MALFORMED, "')'"},
    {"{% for a.in in c %}{% endfor %}", ELM_MALFORMED, "a name"},
    {"{% for in in c %}{% endfor %}", ELM_MALFORMED, "a name"},
    {"{% set none = 1 %}", ELM_MALFORMED, "a name to set"},
    {"{% set True = 1 %}", ELM_MALFORMED, "a name to set"},
    {"{% macro %}", ELM_MALFORMED, "a name"},
    {"{% macro f %}", ELM_MALFORMED, "'('"},
    {"{% macro f(a b) %}", ELM_MALFORMED, "')'"},
    {"{% call(a b) f() %}", ELM_MALFORMED, "')'"},
    {"{% call f %}{% endcall %}", ELM_MALFORMED, "a call"},
    {"{% with a %}{% endwith %}", ELM_MALFORMED, "'='"},
    {"{% autoescape true %}", ELM_UNSUPPORTED, "autoescape"},
    {"{% raw %}{% endrow %}", ELM_MALFORMED, "endraw"},
    {"{% block %}", ELM_MALFORMED, "a name"},
    {"{% break %}", ELM_MALFORMED, "in no loop"},
    {"{% for a in b %}{% macro f() %}{% continue %}{% endmacro %}{% endfor %}", ELM_MALFORMED,
     "in no loop"},
    {"{% extends 'x' %}", ELM_UNSUPPORTED, "tag 'extends'"},
    {"{% nonsense %}", ELM_MALFORMED, "unknown tag 'nonsense'"},
    {"{% aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa %}", ELM_MALFORMED,
     "unknown tag 'aaaa"},
    /* literals */
    {"{{ '\\xg' }}", ELM_MALFORMED, "a hexadecimal digit"},
    {"{{ '\\ud800' }}", ELM_MALFORMED, "a code point"},
    {"{{ '\\U00110000' }}", ELM_MALFORMED, "a code point"},
    {"{{ 'open }}", ELM_MALFORMED, "the end of a string"},
    {"{{ ['open", ELM_MALFORMED, "the end of a string"},
    {"{{ 9223372036854775808 }}", ELM_UNSUPPORTED, "64 bits"},
    /* expressions */
    {"{{ }}", ELM_MALFORMED, "an expression"},
    {"{{ a if }}", ELM_MALFORMED, "an expression"},
    {"{{ and }}", ELM_MALFORMED, "an expression"},
    {"{{ (a b) }}", ELM_MALFORMED, "')'"},
    {"{{ (a, b c) }}", ELM_MALFORMED, "expected )"},
    {"{{ [a b] }}", ELM_MALFORMED, "expected ]"},
    {"{{ {a} }}", ELM_MALFORMED, "':'"},
    {"{{ {a: b c} }}", ELM_MALFORMED, "'}'"},
    {"{{ f(a b) }}", ELM_MALFORMED, "')'"},
    {"{{ f(*a b) }}", ELM_MALFORMED, "')'"},
    {"{{ f(*a, *b) }}", ELM_MALFORMED, "one * and one **"},
    {"{{ f(**a, **b) }}", ELM_MALFORMED, "one * and one **"},
    {"{{ f(a=1, a=2) }}", ELM_MALFORMED, "every named argument once"},
    {"{{ f(a=1, 2) }}", ELM_MALFORMED, "a named argument"},
    {"{{ a[] }}", ELM_MALFORMED, "an index"},
    {"{{ a[1 2] }}", ELM_MALFORMED, "']'"},
    {"{{ a[1:2:3:4] }}", ELM_MALFORMED, "']'"},
    {"{{ a. }}", ELM_MALFORMED, "an attribute"},
    {"{{ a | nosuchfilter }}", ELM_UNSUPPORTED, "filter 'nosuchfilter'"},
    {"{{ a | }}", ELM_MALFORMED, "a name"},
    {"{{ a is }}", ELM_MALFORMED, "a test"},
    {"{{ a is nosuchtest }}", ELM_UNSUPPORTED, "test 'nosuchtest'"},
};

static elm_status parse(const elm_allocator *alloc, const char *source, elm_error *err) {
    elm_template *t = NULL;
    elm_status status = elm_template_parse(alloc, elm_span_str(source), &t, err);
    elm_template_free(t);
    return status;
}

static void says_where_and_what(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        const struct refusal *r = &refusals[i];
        elm_error err = {.message = ""};
        elm_status status = parse(elm_allocator_default(), r->source, &err);
        if (status != r->status || !strstr(err.message, r->words) || !strstr(err.message, "line "))
            fail_msg("%s: %s, '%s'", r->source, elm_status_name(status), err.message);
    }
}

/* `n` times `piece` between `begin` and `end`. */
static elm_status parse_many(const char *begin, const char *piece, uint32_t n, const char *end,
                             elm_error *err) {
    size_t a = strlen(begin), b = strlen(piece), c = strlen(end);
    char *source = malloc(a + b * n + c + 1);
    assert_non_null(source);
    memcpy(source, begin, a);
    for (uint32_t i = 0; i < n; i++) memcpy(source + a + b * i, piece, b);
    memcpy(source + a + b * n, end, c + 1);
    elm_status status = parse(elm_allocator_default(), source, err);
    free(source);
    return status;
}

static void has_limits(void **state) {
    static const struct {
        const char *begin, *piece, *end, *words;
        uint32_t n;
    } rows[] = {
        {"{{ ", "(", "", "deep", 200000},
        {"{{ ", "[", "", "deep", 1000000},
        {"{{ ", "not ", "a }}", "deep", 200000},
        {"{{ ", "-", "a }}", "deep", 200000},
        {"", "{% if a %}", "", "deep", 100000},
        {"{% for ", "(", "", "deep", 200000},
        {"{% macro f(", "a,", ") %}{% endmacro %}", "too many arguments", 5000},
        {"{{ a", " < a", " }}", "too long", 2000},
        {"{{ [", "1,", "] }}", "too many parts", 400000},
        {"", "{{a}}", "", "too many parts", 150000},
        {"{{ a", " + a", " }}", "in a row", 300},
        {"{{ a", " | e", " }}", "in a row", 300},
        {"{{ ", "a if ", "a }}", "in a row", 300},
        {"", "{{a}}", "", "bytes", 300000},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        elm_error err = {.message = ""};
        elm_status status = parse_many(rows[i].begin, rows[i].piece, rows[i].n, rows[i].end, &err);
        if (status != ELM_LIMIT || !strstr(err.message, rows[i].words))
            fail_msg("%s: %s, '%s'", rows[i].piece, elm_status_name(status), err.message);
    }
}

/* One of everything that is a node of its own. */
static const char everything[] = "a {#- b #} {%- if a and not b or c %}{{ x ~ 'y' 'z' + 1.5 * 2 ** "
                                 "-3 // 4 % 5 }}{% elif d is not none %}"
                                 "{{- [1, 0x1f, (2,), {'k': v}] -}}{% else %}{% endif %}{% for i, "
                                 "(j, k) in l if i recursive %}{{ loop(i) }}"
                                 "{% break %}{% else %}e{% endfor %}{% set ns.a, b = 1, 2 %}{% set "
                                 "c | upper | trim %}t{% endset %}"
                                 "{% macro m(a, b=2) %}{{ caller(varargs, kwargs) }}{% endmacro "
                                 "%}{% call(u) m(1, b=3, *r, **s) %}{% endcall %}"
                                 "{% filter upper %}f{% endfilter %}{% with q = 1, r = 2 %}{{ "
                                 "q[1:2], r[::2], r.0, r['s'].t }}{% endwith %}"
                                 "{% raw %}{{ raw }}{% endraw %}{% block b scoped %}b{% endblock b "
                                 "%}{% generation %}g{% endgeneration %}"
                                 "{% autoescape false %}{{ a if b else c }}{% endautoescape %}{{ 1 "
                                 "< 2 <= 3 != x in y not in z }}\n";

static void survives_every_failed_allocation(void **state) {
    uint32_t n_failed = 0;
    (void)state;
    for (uint64_t at = 1;; at++) {
        nth_alloc nth;
        elm_error err = {.message = ""};
        nth_alloc_init(&nth, at);
        elm_status status = parse(&nth.interface, everything, &err);
        assert_int_equal(nth.live_bytes, 0);
        if (atomic_load(&nth.n) < at) {
            if (status != ELM_OK) fail_msg("%s", err.message);
            break;
        }
        n_failed++;
        if (status != ELM_OUT_OF_MEMORY)
            fail_msg("call %u: %s, '%s'", n_failed, elm_status_name(status), err.message);
    }
    assert_true(n_failed > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_where_and_what),
        cmocka_unit_test(has_limits),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
