/* Guesses are made while they pay, left out when they do not, and tried again. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "runtime/pace.h"

/* n steps in which a step with guesses takes guessed_us and gives `tokens`; returns how many guessed. */
static uint32_t steps(elm_pace *p, uint32_t n, uint64_t plain_us, uint64_t guessed_us,
                      uint32_t tokens) {
    uint32_t guessed = 0;
    for (uint32_t i = 0; i < n; i++) {
        bool wants = elm_pace_wants_guesses(p);
        guessed += wants;
        elm_pace_saw(p, wants, wants ? tokens : 1, wants ? guessed_us : plain_us);
    }
    return guessed;
}

static void what_pays_goes_on(void **state) {
    (void)state;
    elm_pace p = {0};
    assert_true(elm_pace_wants_guesses(&p));
    assert_in_range(steps(&p, 1000, 100, 150, 3), 980, 999); /* a few without, to compare */
}

static void what_does_not_pay_rests_longer_each_time(void **state) {
    (void)state;
    elm_pace p = {0};
    assert_in_range(steps(&p, 2000, 100, 250, 2), 40, 100);
    assert_int_equal(p.last_rest, 256);
    uint32_t more = steps(&p, 600, 100, 110, 2); /* it pays from here on */
    assert_in_range(more, 600 - 256 - 10, 600);
    assert_int_equal(p.last_rest, 0);
}

static void equal_is_not_enough(void **state) {
    (void)state;
    elm_pace p = {0};
    assert_in_range(steps(&p, 1000, 100, 200, 2), 10, 80);
}

static void without_a_clock_it_always_guesses(void **state) {
    (void)state;
    elm_pace p = {0};
    assert_int_equal(steps(&p, 500, 0, 0, 1), 500);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_pays_goes_on),
        cmocka_unit_test(what_does_not_pay_rests_longer_each_time),
        cmocka_unit_test(equal_is_not_enough),
        cmocka_unit_test(without_a_clock_it_always_guesses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
