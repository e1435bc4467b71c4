/* Merging against the definition: find the pair with the lowest key, the leftmost of equals; merge;
 * again. Random vocabularies, also such as no trainer makes, and parts of many windows. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "parse/tokenizer_blob_write.h"

enum { MAX_TOKENS = 200, MAX_SPELLING = 24, MAX_TEXT = 12000 };

typedef struct vocabulary {
    char spelling[MAX_TOKENS][MAX_SPELLING + 1];
    uint32_t n, n_letters, merges[MAX_TOKENS][3], n_merges;
    double scores[MAX_TOKENS];
} vocabulary;

static uint64_t seed;
static uint32_t pick(uint32_t n) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % n;
}

static int find(const vocabulary *v, const char *text, size_t n) {
    for (uint32_t i = 0; i < v->n; i++) {
        if (strlen(v->spelling[i]) == n && memcmp(v->spelling[i], text, n) == 0) return (int)i;
    }
    return -1;
}

static void make(vocabulary *v, uint32_t n_letters, uint32_t n_merges, bool shuffled) {
    memset(v, 0, sizeof *v);
    v->n = v->n_letters = n_letters;
    for (uint32_t i = 0; i < n_letters; i++) v->spelling[i][0] = (char)('a' + i);
    for (uint32_t tries = 0; v->n_merges < n_merges && tries < 10000; tries++) {
        char joined[2 * MAX_SPELLING + 1] = {0};
        uint32_t a = pick(v->n), b = pick(v->n);
        strcat(strcpy(joined, v->spelling[a]), v->spelling[b]);
        int there = find(v, joined, strlen(joined));
        bool twice = false;
        for (uint32_t i = 0; i < v->n_merges; i++)
            twice = twice || (v->merges[i][0] == a && v->merges[i][1] == b);
        if (strlen(joined) > MAX_SPELLING || twice || (there >= 0 && !shuffled)) continue;
        if (there < 0) strcpy(v->spelling[there = (int)v->n++], joined);
        uint32_t at = shuffled ? pick(v->n_merges + 1) : v->n_merges;
        memmove(v->merges[at + 1], v->merges[at], (v->n_merges - at) * sizeof v->merges[0]);
        memcpy(v->merges[at], (uint32_t[]){a, b, (uint32_t)there}, sizeof v->merges[0]);
        v->n_merges++;
    }
    for (uint32_t i = 0; i < v->n; i++) v->scores[i] = -(double)pick(40);
}

static elm_tokenizer *open(const vocabulary *v, bool by_score, elm_buf *blob) {
    elm_tokenizer_spec s;
    elm_tokenizer *t = NULL;
    elm_error err = {0};
    assert_int_equal(elm_tokenizer_spec_init(&s, elm_allocator_default(), v->n, &err), ELM_OK);
    s.model = by_score ? ELM_MODEL_SPM : ELM_MODEL_BPE;
    s.flags = by_score ? 0 : ELM_TOK_BYTE_LEVEL;
    for (uint32_t i = 0; i < v->n; i++) {
        s.spellings[i] = elm_span_str(v->spelling[i]);
        s.in_model[i] = 1;
        if (i < v->n_letters) s.byte_ids['a' + i] = (int32_t)i;
    }
    s.merges = by_score ? NULL : elm_arena_array(&s.arena, MAX_TOKENS * 3, sizeof *s.merges);
    s.scores = by_score ? elm_arena_array(&s.arena, v->n, sizeof *s.scores) : NULL;
    if (by_score) memcpy(s.scores, v->scores, v->n * sizeof *s.scores);
    s.n_merges = by_score ? 0 : v->n_merges;
    if (!by_score) memcpy(s.merges, v->merges, v->n_merges * sizeof v->merges[0]);
    elm_buf_init(blob, elm_allocator_default(), 64 << 20);
    assert_int_equal(elm_tokenizer_spec_write(&s, blob, &err), ELM_OK);
    elm_tokenizer_spec_free(&s);
    assert_int_equal(elm_tokenizer_open(elm_allocator_default(), elm_buf_span(blob), &t, &err),
                     ELM_OK);
    return t;
}

/* Lower is sooner; UINT32_MAX: never. */
static uint32_t key_of(const vocabulary *v, bool by_score, int a, int b) {
    char joined[2 * MAX_SPELLING + 1];
    for (uint32_t i = 0; !by_score && i < v->n_merges; i++) {
        if ((int)v->merges[i][0] == a && (int)v->merges[i][1] == b) return i;
    }
    if (!by_score) return UINT32_MAX;
    strcat(strcpy(joined, v->spelling[a]), v->spelling[b]);
    int id = find(v, joined, strlen(joined));
    return id < 0 ? UINT32_MAX : (uint32_t)-v->scores[id];
}

static uint32_t by_definition(const vocabulary *v, bool by_score, const char *text, int *ids) {
    static uint32_t keys[MAX_TOKENS][MAX_TOKENS];
    uint32_t n = (uint32_t)strlen(text);
    for (uint32_t a = 0; a < v->n; a++) {
        for (uint32_t b = 0; b < v->n; b++) keys[a][b] = key_of(v, by_score, (int)a, (int)b);
    }
    for (uint32_t i = 0; i < n; i++) ids[i] = text[i] - 'a';
    for (;;) {
        uint32_t best = UINT32_MAX, at = 0;
        for (uint32_t i = 0; i + 1 < n; i++) {
            uint32_t key = keys[ids[i]][ids[i + 1]];
            if (key < best) best = key, at = i;
        }
        if (best == UINT32_MAX) return n;
        char joined[2 * MAX_SPELLING + 1];
        strcat(strcpy(joined, v->spelling[ids[at]]), v->spelling[ids[at + 1]]);
        ids[at] = find(v, joined, strlen(joined));
        n--;
        memmove(ids + at + 1, ids + at + 2, (n - at - 1) * sizeof *ids);
    }
}

static void compare(uint64_t number, bool by_score, uint32_t size) {
    static char text[MAX_TEXT + 1];
    static int expected[MAX_TEXT];
    vocabulary v;
    elm_buf blob, ids;
    elm_error err = {0};
    seed = number;
    make(&v, 1 + pick(3), 2 + pick(30), pick(2) == 1);
    uint32_t period = pick(3) == 0 ? 1 + pick(9) : MAX_TEXT;
    for (uint32_t i = 0; i < size; i++)
        text[i] = i < period ? (char)('a' + pick(v.n_letters)) : text[i - period];
    text[size] = 0;
    elm_tokenizer *t = open(&v, by_score, &blob);
    elm_buf_init(&ids, elm_allocator_default(), 64 << 20);
    if (elm_tokenizer_encode_text(t, elm_span_str(text), ELM_PART_INPUT, false, &ids, &err) !=
        ELM_OK)
        fail_msg("seed %llu: %s", (unsigned long long)number, err.message);
    uint32_t n = by_definition(&v, by_score, text, expected);
    if (ids.size / 4 != n || memcmp(ids.data, expected, ids.size) != 0)
        fail_msg("seed %llu, %u symbols: other tokens", (unsigned long long)number, size);
    elm_buf_free(&ids);
    elm_tokenizer_close(t);
    elm_buf_free(&blob);
}

static void short_parts(void **state) {
    (void)state;
    for (uint64_t i = 1; i <= 400; i++) compare(i, i % 2 == 0, 1 + (uint32_t)(i * 7 % 120));
}

static void parts_of_many_windows(void **state) {
    (void)state;
    for (uint64_t i = 1; i <= 24; i++) compare(1000 + i, i % 2 == 0, 4090 + (uint32_t)(i * 311));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(short_parts),
                                       cmocka_unit_test(parts_of_many_windows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
