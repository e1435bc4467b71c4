/* The name of a call while it streams: from as few bytes as tell it, the same whatever follows. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "text/answer.h"

static const struct {
    elm_call_form form;
    const char *text;
    size_t known_at; /* bytes that tell the name; 0: never told */
} cases[] = {
    {ELM_CALLS_JSON, "\n{\"name\": \"f\", \"arguments\": {}}", 13},
    {ELM_CALLS_JSON, "{\"name\": \"f g\", \"arguments\": {}}", 0},
    {ELM_CALLS_JSON, "{\"arguments\": {\"name\": \"f\"}}", 0},
    {ELM_CALLS_XML, "<function=f><parameter=a>1", 12},
    {ELM_CALLS_KEYED, "call:f{a:1}", 7},
    {ELM_CALLS_LIST, "f[ARGS]{}", 2},
    {ELM_CALLS_LIST, "[{\"name\":\"f\"", 12},
    {ELM_CALLS_BARE, "{\"name\": \"f\", \"parameters\": {}}", 0},
};

static void the_name_is_told_as_soon_as_it_is_known(void **state) {
    elm_span name;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = strlen(cases[i].text), known = cases[i].known_at;
        for (size_t size = 0; size <= n; size++) {
            bool told =
                elm_answer_call_name(cases[i].form, elm_span_of(cases[i].text, size), &name);
            assert_int_equal(told, known > 0 && size >= known);
            if (told) assert_true(elm_span_equal(name, elm_span_str("f")));
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_name_is_told_as_soon_as_it_is_known),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
