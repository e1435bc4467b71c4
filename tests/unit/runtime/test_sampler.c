/* The sampler against a plain one: everything sorted, double precision, no shortcuts. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/sampler.h"

enum { N = 60 };

static elm_sampler sampler_of(elm_sampling settings, uint32_t n, int32_t *suppressed,
                              uint32_t n_suppressed) {
    elm_sampler s = {0};
    elm_meta meta = {
        .n_real_tokens = n, .suppress_ids = suppressed, .n_suppress_ids = n_suppressed};
    assert_int_equal(elm_sampler_init(&s, elm_allocator_default(), &meta, NULL), ELM_OK);
    settings.struct_size = sizeof settings;
    s.settings = settings;
    return s;
}

static elm_sampling plain(float temperature) {
    return (elm_sampling){.temperature = temperature, .top_p = 1.0f, .repetition_penalty = 1.0f};
}

static double random_unit(uint64_t *r) {
    *r = *r * 6364136223846793005u + 1442695040888963407u;
    return (double)(*r >> 11) * 0x1.0p-53;
}

/* ---- the plain one ---- */

typedef struct item {
    double logit, p;
    int32_t id;
} item;

static int best_first(const void *a, const void *b) {
    const item *x = a, *y = b;
    if (x->logit != y->logit) return x->logit > y->logit ? -1 : 1;
    return x->id < y->id ? -1 : 1;
}

/* The distribution that is drawn from: items[0 .. n) with their shares, best first. */
static uint32_t distribution(const elm_sampling *p, const float *logits, const uint16_t *generated,
                             const uint8_t *seen, item items[N]) {
    double top_total = 0.0, kept = 0.0;
    uint32_t n = 0, limit = N;
    for (int32_t i = 0; i < N; i++) {
        float x = logits[i]; /* penalties in float, as models' logits are */
        if (isnan(x)) continue;
        if (seen[i]) x = x > 0.0f ? x / p->repetition_penalty : x * p->repetition_penalty;
        if (generated[i]) x -= p->presence_penalty + p->frequency_penalty * (float)generated[i];
        items[n++] = (item){(double)x, 0.0, i};
    }
    qsort(items, n, sizeof *items, best_first);
    if (p->temperature == 0.0f) return 1;
    if (limit > n) limit = n;
    if (p->top_k > 0 && (uint32_t)p->top_k < limit) limit = (uint32_t)p->top_k;
    for (uint32_t i = 0; i < limit; i++) {
        items[i].p = exp((items[i].logit - items[0].logit) / (double)p->temperature);
        top_total += items[i].p;
    }
    uint32_t n_kept = 0;
    for (; n_kept < limit; n_kept++) { /* top-p: until the mass before is enough; min-p */
        if (n_kept > 0 && kept >= (double)p->top_p * top_total) break;
        if (n_kept > 0 && items[n_kept].p < (double)p->min_p) break;
        kept += items[n_kept].p;
    }
    for (uint32_t i = 0; i < n_kept; i++) items[i].p /= kept;
    return n_kept;
}

static void draws_are_those_of_a_plain_sampler(void **state) {
    uint64_t r = 1;
    float logits[N];
    item items[N];
    (void)state;
    for (uint32_t round = 0; round < 400; round++) {
        elm_sampling p = {.temperature = round % 7 ? (float)(0.2 + 2.0 * random_unit(&r)) : 0.0f,
                          .top_k = round % 3 ? (int32_t)(random_unit(&r) * 70.0) : 0,
                          .top_p = round % 4 ? (float)random_unit(&r) : 1.0f,
                          .min_p = round % 5 ? 0.0f : (float)(0.3 * random_unit(&r)),
                          .repetition_penalty = round % 2 ? 1.0f : 1.3f,
                          .presence_penalty = round % 6 ? 0.0f : 0.7f,
                          .frequency_penalty = round % 8 ? 0.0f : 0.4f,
                          .seed = round};
        elm_sampler s = sampler_of(p, N, NULL, 0);
        for (int i = 0; i < N; i++) logits[i] = (float)(8.0 * random_unit(&r) - 4.0);
        if (round % 9 == 0) logits[round % N] = NAN;
        if (round % 11 == 0) logits[3] = logits[7]; /* a tie */
        for (uint32_t i = 0; i < 20; i++)
            elm_sampler_saw(&s, (int32_t)(random_unit(&r) * N), i % 2 != 0);
        uint32_t n = distribution(&p, logits, s.generated, s.seen, items);
        uint32_t counts[N] = {0}, n_draws = 300;
        for (uint32_t i = 0; i < n_draws; i++) counts[elm_sampler_draw(&s, logits)]++;
        double chi2 = 0.0, expected_rest = 0.0, found_rest = 0.0;
        uint32_t degrees = 0;
        for (uint32_t i = 0; i < n; i++) {
            double expected = (n == 1 ? 1.0 : items[i].p) * n_draws, found = counts[items[i].id];
            counts[items[i].id] = 0;
            if (expected < 8.0) {
                expected_rest += expected;
                found_rest += found;
                continue;
            }
            chi2 += (found - expected) * (found - expected) / expected;
            degrees++;
        }
        for (int i = 0; i < N; i++) assert_int_equal(counts[i], 0); /* nothing outside the kept */
        if (expected_rest >= 8.0) {
            chi2 += (found_rest - expected_rest) * (found_rest - expected_rest) / expected_rest;
            degrees++;
        }
        /* mean + 6 deviations: about one false alarm in 10^6 rounds; the seeds are fixed */
        assert_true(chi2 <= degrees + 6.0 * sqrt(2.0 * degrees) + 6.0);
        elm_sampler_free(&s, elm_allocator_default());
    }
}

static void draws_depend_on_seed_and_count_only(void **state) {
    float logits[N];
    uint64_t r = 5;
    uint32_t same = 0;
    (void)state;
    for (int i = 0; i < N; i++) logits[i] = (float)random_unit(&r);
    elm_sampling p = plain(1.0f);
    p.seed = 42;
    elm_sampler a = sampler_of(p, N, NULL, 0), b = sampler_of(p, N, NULL, 0);
    p.seed = 43;
    elm_sampler c = sampler_of(p, N, NULL, 0);
    for (int i = 0; i < 100; i++) {
        int32_t x = elm_sampler_draw(&a, logits);
        assert_int_equal(x, elm_sampler_draw(&b, logits));
        same += x == elm_sampler_draw(&c, logits);
    }
    assert_true(same < 20);
    b.n_drawn = 7; /* the 8th draw again */
    a.n_drawn = 7;
    assert_int_equal(elm_sampler_draw(&a, logits), elm_sampler_draw(&b, logits));
    elm_sampler_free(&a, elm_allocator_default());
    elm_sampler_free(&b, elm_allocator_default());
    elm_sampler_free(&c, elm_allocator_default());
}

static void suppressed_ids_are_never_drawn(void **state) {
    float logits[N];
    int32_t suppressed[] = {3, 5};
    (void)state;
    for (int i = 0; i < N; i++) logits[i] = i == 3 || i == 5 ? 50.0f : -(float)i;
    for (int t = 0; t < 2; t++) {
        elm_sampler s = sampler_of(plain((float)t), N, suppressed, 2);
        for (int i = 0; i < 200; i++) {
            int32_t id = elm_sampler_draw(&s, logits);
            assert_true(id != 3 && id != 5);
            if (t == 0) assert_int_equal(id, 0);
        }
        elm_sampler_free(&s, elm_allocator_default());
    }
}

static void strange_logits_give_some_id_or_none(void **state) {
    float logits[N];
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        const float values[] = {NAN, INFINITY, -INFINITY, 0.0f};
        for (int t = 0; t < 2; t++) {
            elm_sampler s = sampler_of(plain((float)t), N, NULL, 0);
            for (int i = 0; i < N; i++) logits[i] = values[kind];
            int32_t id = elm_sampler_draw(&s, logits);
            if (kind == 0)
                assert_int_equal(id, ELM_NO_TOKEN);
            else
                assert_true(id >= 0 && id < N);
            logits[17] = kind == 1 ? INFINITY : 1.0f;
            id = elm_sampler_draw(&s, logits);
            if (kind == 0 || kind == 2 || (kind == 3 && t == 0)) assert_int_equal(id, 17);
            elm_sampler_free(&s, elm_allocator_default());
        }
    }
}

static void settings_are_checked(void **state) {
    elm_error err;
    (void)state;
    elm_sampling good = plain(1.0f);
    assert_int_equal(elm_sampling_check(&good, &err), ELM_OK);
#define BAD(field, value)                                                       \
    do {                                                                        \
        elm_sampling bad = good;                                                \
        bad.field = (value);                                                    \
        assert_int_equal(elm_sampling_check(&bad, &err), ELM_INVALID_ARGUMENT); \
        assert_non_null(strstr(err.message, #field));                           \
    } while (0)
    BAD(temperature, -0.1f);
    BAD(temperature, NAN);
    BAD(top_k, -1);
    BAD(top_p, 1.1f);
    BAD(top_p, NAN);
    BAD(min_p, -1.0f);
    BAD(repetition_penalty, 0.0f);
    BAD(presence_penalty, INFINITY);
    BAD(frequency_penalty, -101.0f);
#undef BAD
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_are_those_of_a_plain_sampler),
        cmocka_unit_test(draws_depend_on_seed_and_count_only),
        cmocka_unit_test(suppressed_ids_are_never_drawn),
        cmocka_unit_test(strange_logits_give_some_id_or_none),
        cmocka_unit_test(settings_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
