/* Pattern programs against PCRE2: random patterns of the class that compiles, random texts, every
 * match. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/utf8.h"
#include "parse/pattern_compile.h"
#include "soak.h"

enum { MAX_PATTERN = 400, MAX_MATCHES = 256, N_TEXTS = 6 };

static uint64_t seed;
static uint32_t pick(uint32_t n) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % n;
}

typedef struct text {
    char data[MAX_PATTERN];
    size_t n;
} text;

static void put(text *t, const char *s) {
    size_t n = strlen(s);
    if (t->n + n + 1 > sizeof t->data) return;
    memcpy(t->data + t->n, s, n + 1);
    t->n += n;
}

static const char *one_of(const char *const *list, uint32_t n) {
    return list[pick(n)];
}
#define PICK(list) one_of(list, sizeof(list) / sizeof(list)[0])

/* ---- patterns ---- */

static void atom(text *p) {
    static const char *const atoms[] = {"a",
                                        "b",
                                        "s",
                                        "1",
                                        " ",
                                        "\\s",
                                        "\\S",
                                        "\\p{L}",
                                        "\\p{N}",
                                        "\\P{L}",
                                        "\\d",

                                        ".",
                                        "[ab]",
                                        "[^a\\n]",
                                        "[^\\s\\p{L}\\p{N}]",
                                        "[a-f1]",
                                        "[\\p{Lu}\\p{M}]",
                                        "\\n",
                                        "\xc3\xa9",
                                        "[\xce\xb1-\xcf\x89]",
                                        "[^\\r\\n\\p{L}\\p{N}]"};
    put(p, PICK(atoms));
}

static void repetition(text *p) {
    static const char *const all[] = {"",      "",     "",   "",   "?",  "*",  "+",  "+", "{2}",
                                      "{1,3}", "{2,}", "??", "*?", "+?", "?+", "*+", "++"};
    put(p, PICK(all));
}

static void sequence(text *p, uint32_t depth);

static void branches(text *p, uint32_t depth) {
    uint32_t n = 1 + pick(3);
    for (uint32_t i = 0; i < n; i++) {
        if (i > 0) put(p, "|");
        sequence(p, depth);
    }
}

static void item(text *p, uint32_t depth) {
    static const char *const anchors[] = {"^", "$", "\\A", "\\z", "\\Z"};
    uint32_t kind = pick(20);
    if (kind == 0) {
        put(p, PICK(anchors));
    } else if (kind < 3) {
        put(p, pick(2) ? "(?!" : "(?=");
        atom(p);
        put(p, ")");
    } else if (kind < 6 && depth < 2) {
        put(p, pick(4) == 0 ? "(" : "(?:");
        branches(p, depth + 1);
        put(p, ")");
        if (pick(2)) put(p, pick(2) ? "?" : "??");
    } else if (kind == 6) {
        put(p, "(?i:'s|'T|k)");
    } else {
        atom(p);
        repetition(p);
    }
}

static void sequence(text *p, uint32_t depth) {
    for (uint32_t i = 0, n = 1 + pick(4); i < n; i++) item(p, depth);
}

static void random_text(text *t) {
    static const char *const pieces[] = {"a",
                                         "b",
                                         "a",
                                         "A",
                                         "s",
                                         "f",
                                         "1",
                                         "23",
                                         " ",
                                         "  ",
                                         "\n",
                                         "\r\n",
                                         "\t",
                                         "-",
                                         "!",
                                         "'s",
                                         "'S",
                                         "'\xc5\xbf",
                                         "\xe2\x84\xaa",
                                         "k",
                                         "\xc3\xa9",
                                         "\xce\xb2",
                                         "\xd7\x90",
                                         "\xe4\xb8\x80",
                                         "\xcc\x81",
                                         "\xd9\xa3",
                                         "\xf0\x9f\x98\x80",
                                         "\xc2\xa0",
                                         "\xe3\x80\x80",
                                         "_"};
    t->n = 0;
    t->data[0] = 0;
    for (uint32_t i = 0, n = pick(24); i < n; i++) put(t, PICK(pieces));
}

/* ---- both engines ---- */

typedef struct matches {
    size_t begin[MAX_MATCHES], end[MAX_MATCHES];
    uint32_t n;
} matches;

static void by_pcre2(const pcre2_code *code, const text *t, matches *out) {
    pcre2_match_data *data = pcre2_match_data_create(1, NULL);
    size_t at = 0, last = SIZE_MAX;
    out->n = 0;
    while (at <= t->n &&
           pcre2_match(code, (PCRE2_SPTR)t->data, t->n, at, PCRE2_NO_JIT, data, NULL) >= 0) {
        const PCRE2_SIZE *v = pcre2_get_ovector_pointer(data);
        bool touches = v[0] == v[1] && v[0] == last;
        if (!touches) {
            out->begin[out->n] = v[0];
            out->end[out->n++] = last = v[1];
            at = v[1];
        }
        if (touches || v[0] == v[1]) { /* one code point on */
            do at++;
            while (at < t->n && ((uint8_t)t->data[at] & 0xc0) == 0x80);
        }
    }
    pcre2_match_data_free(data);
}

static elm_tokenizer *compiled(const text *pattern, elm_buf *blob, elm_error *err) {
    elm_tokenizer_spec s;
    elm_tokenizer *t = NULL;
    uint32_t program = 0;
    assert_int_equal(elm_tokenizer_spec_init(&s, elm_allocator_default(), 1, err), ELM_OK);
    s.flags = ELM_TOK_BYTE_LEVEL;
    elm_buf_init(blob, elm_allocator_default(), 64 << 20);
    elm_status status = elm_spec_pattern(&s, elm_span_of(pattern->data, pattern->n), &program, err);
    assert_int_equal(program, 0);
    if (status == ELM_OK) status = elm_tokenizer_spec_write(&s, blob, err);
    elm_tokenizer_spec_free(&s);
    if (status == ELM_OK)
        status = elm_tokenizer_open(elm_allocator_default(), elm_buf_span(blob), &t, err);
    return status == ELM_OK ? t : NULL;
}

static void assert_equal(const elm_tokenizer *t, const pcre2_code *code, const text *pattern) {
    matches theirs;
    text sample;
    for (int i = 0; i < N_TEXTS; i++) {
        random_text(&sample);
        by_pcre2(code, &sample, &theirs);
        uint64_t fuel = 1 << 24;
        elm_matches m = elm_matches_of(t, 0, elm_span_of(sample.data, sample.n), &fuel);
        size_t begin = 0, end = 0;
        uint32_t n = 0;
        for (; elm_matches_next(&m, &begin, &end); n++) {
            bool same = n < theirs.n && theirs.begin[n] == begin && theirs.end[n] == end;
            if (!same)
                fail_msg("'%s' on '%s': match %u is [%zu, %zu), PCRE2 [%zu, %zu)", pattern->data,
                         sample.data, n, begin, end, theirs.begin[n], theirs.end[n]);
        }
        if (n != theirs.n)
            fail_msg("'%s' on '%s': %u matches, PCRE2 %u", pattern->data, sample.data, n, theirs.n);
    }
}

static void equals_pcre2(void **state) {
    uint64_t n_patterns = soak(20000, 400), n_compared = 0;
    (void)state;
    for (uint64_t number = 1; number <= n_patterns; number++) {
        text pattern = {{0}, 0};
        elm_error err = {0};
        elm_buf blob;
        int code_error;
        PCRE2_SIZE offset;
        seed = number;
        branches(&pattern, 0);
        elm_tokenizer *t = compiled(&pattern, &blob, &err);
        pcre2_code *code =
            pcre2_compile((PCRE2_SPTR)pattern.data, pattern.n,
                          PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE, &code_error, &offset, NULL);
        if (t && code) {
            assert_equal(t, code, &pattern);
            n_compared++;
        }
        pcre2_code_free(code);
        elm_tokenizer_close(t);
        elm_buf_free(&blob);
    }
    assert_true(n_compared > n_patterns * 9 / 10); /* the class is not refused away */
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(equals_pcre2)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
