/* What is wrong with a tokenizer, or not supported, is refused by name; and memory that runs out at any call. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "nth_alloc.h"
#include "parse/trie_build.h"
#include "text/tokenizer_blob.h"
#include "tokenizer_json.h"

static elm_status build(const elm_allocator *alloc, const char *json, elm_error *err) {
    elm_buf blob;
    elm_buf_init(&blob, alloc, 1 << 24);
    elm_status status = tokenizer_from_json(alloc, json, &blob, err);
    elm_buf_free(&blob);
    return status;
}

#define MODEL(model) "{\"model\": {" model "}}"
#define BPE(vocab, merges) \
    "{\"model\": {\"type\": \"BPE\", \"vocab\": {" vocab "}, \"merges\": [" merges "]}}"
#define ADDED(added, vocab)                                                             \
    "{\"added_tokens\": [" added "], \"model\": {\"type\": \"BPE\", \"vocab\": {" vocab \
    "}, \"merges\": []}}"
#define STEP(kind, step)    \
    "{\"" kind "\": {" step \
    "}, \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": []}}"
#define UNIGRAM(unk, vocab) \
    "{\"model\": {\"type\": \"Unigram\", \"unk_id\": " unk ", \"vocab\": [" vocab "]}}"

#define PATTERN(regex)                                                                        \
    STEP("pre_tokenizer",                                                                     \
         "\"type\": \"Split\", \"behavior\": \"Isolated\", \"pattern\": {\"Regex\": \"" regex \
         "\"}")
#define SPECIAL(id) "{\"SpecialToken\": {\"id\": \"" id "\"}}"
#define TEMPLATE(single, tokens) \
    "\"type\": \"TemplateProcessing\", \"single\": [" single "], \"special_tokens\": {" tokens "}"
#define AROUND(single, tokens) STEP("post_processor", TEMPLATE(single, tokens))
#define TEXT "{\"Sequence\": {\"id\": \"A\"}}"
#define NINE_AROUND \
    "{" TEMPLATE(SPECIAL("<s>") ", " TEXT, "\"<s>\": {\"ids\": [0,0,0,0,0,0,0,0,0]}") "}"

static const struct refusal {
    const char *json;
    elm_status status;
    const char *words;
} refusals[] = {
    {"{}", ELM_MALFORMED, "no model"},
    {MODEL("\"type\": \"WordPiece\", \"vocab\": {}"), ELM_UNSUPPORTED, "'WordPiece'"},
    {MODEL("\"vocab\": {}"), ELM_UNSUPPORTED, "tokenizer model ''"},
    {MODEL("\"type\": \"BPE\""), ELM_MALFORMED, "no vocabulary"},
    {MODEL("\"type\": \"BPE\", \"vocab\": [[\"a\", 0]]"), ELM_MALFORMED, "no vocabulary"},
    {MODEL("\"type\": \"Unigram\", \"vocab\": {\"a\": 0}"), ELM_MALFORMED, "no vocabulary"},
    {MODEL("\"merges\": [], \"vocab\": {}"), ELM_MALFORMED, "0 ids"},
    {MODEL("\"type\": \"BPE\", \"vocab\": {\"a\": 0}"), ELM_MALFORMED, "no list of merges"},
    {MODEL("\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": {}"), ELM_MALFORMED,
     "no list of merges"},
    {BPE("\"a\": -1", ""), ELM_MALFORMED, "entry 0"},
    {BPE("\"a\": 1.5", ""), ELM_MALFORMED, "entry 0"},
    {BPE("\"a\": 4194304", ""), ELM_MALFORMED, "entry 0"},
    {BPE("\"a\": \"0\"", ""), ELM_MALFORMED, "entry 0"},
    {BPE("\"a\": 0, \"b\": 0", ""), ELM_MALFORMED, "two tokens have id 0"},
    {BPE("\"a\": 0", "\"a b\""), ELM_MALFORMED, "merge 0"},
    {BPE("\"a\": 0, \"b\": 1", "\"a b\""), ELM_MALFORMED, "merge 0"},
    {BPE("\"a\": 0", "\"aa\""), ELM_MALFORMED, "merge 0"},
    {BPE("\"a\": 0", "\"a a a\""), ELM_MALFORMED, "merge 0"},
    {BPE("\"a\": 0", "\"#version: 0.2\", \"a \""), ELM_MALFORMED, "merge 1"},
    {BPE("\"a\": 0", "[\"a\"]"), ELM_MALFORMED, "merge 0"},
    {BPE("\"a\": 0", "7"), ELM_MALFORMED, "merge 0"},
    {MODEL("\"type\": \"BPE\", \"unk_token\": \"u\", \"vocab\": {\"a\": 0}, \"merges\": []"),
     ELM_MALFORMED, "lacks the unk_token"},
    {MODEL("\"type\": \"BPE\", \"continuing_subword_prefix\": \"##\", \"vocab\": {\"a\": 0}, "
           "\"merges\": []"),
     ELM_UNSUPPORTED, "continuing_subword_prefix"},
    {MODEL("\"type\": \"BPE\", \"dropout\": 0.5, \"vocab\": {\"a\": 0}, \"merges\": []"),
     ELM_UNSUPPORTED, "dropout"},
    {MODEL("\"type\": \"BPE\", \"dropout\": \"x\", \"vocab\": {\"a\": 0}, \"merges\": []"),
     ELM_MALFORMED, "dropout"},
    {ADDED("{\"content\": \"b\"}", "\"a\": 0"), ELM_MALFORMED, "has no id"},
    {ADDED("{\"id\": -1, \"content\": \"b\"}", "\"a\": 0"), ELM_MALFORMED, "id"},
    {ADDED("{\"id\": 1, \"content\": \"a\"}", "\"a\": 0"), ELM_MALFORMED, "id 0 in the vocabulary"},
    {UNIGRAM("null", "[\"a\", 0]"), ELM_UNSUPPORTED, "unk_id"},
    {UNIGRAM("1", "[\"a\", 0]"), ELM_MALFORMED, "unk_id"},
    {UNIGRAM("0", "[\"a\"]"), ELM_MALFORMED, "entry 0"},
    {UNIGRAM("0", "[\"a\", \"b\"]"), ELM_MALFORMED, "entry 0"},
    {UNIGRAM("0", "7"), ELM_MALFORMED, "entry 0"},
    {"{\"pre_tokenizer\": {\"type\": \"ByteLevel\"}, \"decoder\": {\"type\": \"ByteLevel\"}, "
     "\"model\": {\"type\": "
     "\"Unigram\", \"unk_id\": 0, \"vocab\": [[\"a\", 0]]}}",
     ELM_UNSUPPORTED, "behind ByteLevel"},
    {"{\"pre_tokenizer\": {\"type\": \"ByteLevel\"}, \"decoder\": {\"type\": \"ByteLevel\"}, "
     "\"model\": {\"type\": "
     "\"BPE\", \"byte_fallback\": true, \"vocab\": {\"a\": 0}, \"merges\": []}}",
     ELM_UNSUPPORTED, "lacks byte 0x00"},
    {STEP("decoder", "\"type\": \"ByteLevel\""), ELM_UNSUPPORTED,
     "ByteLevel decoder without a ByteLevel pre-tokenizer"},
    {STEP("pre_tokenizer", "\"type\": \"ByteLevel\""), ELM_UNSUPPORTED,
     "ByteLevel pre-tokenizer without a ByteLevel decoder"},
    {STEP("normalizer", "\"type\": \"Nothing\""), ELM_UNSUPPORTED, "'Nothing'"},
    {STEP("normalizer", "\"type\": \"Sequence\""), ELM_UNSUPPORTED, "a part without its list"},
    {STEP("pre_tokenizer",
          "\"type\": \"Split\", \"pattern\": {\"String\": \"a\"}, \"behavior\": \"X\""),
     ELM_UNSUPPORTED, "the behavior of pre-tokenizer"},
    {STEP("decoder",
          "\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Fuse\"}, {\"type\": \"Replace\", "
          "\"pattern\": {\"String\": \"ab\"}, \"content\": \"\"}]"),
     ELM_UNSUPPORTED, "more than one character behind Fuse"},
    {STEP("decoder", "\"type\": \"Strip\", \"content\": \"ab\", \"start\": 1, \"stop\": 0"),
     ELM_UNSUPPORTED, "this use of decoder"},
    {STEP("decoder", "\"type\": \"Strip\", \"content\": \"a\", \"start\": 65, \"stop\": 0"),
     ELM_UNSUPPORTED, "this use of decoder"},
    {AROUND(SPECIAL("<s>"), ""), ELM_UNSUPPORTED, "a token without ids"},
    {AROUND(SPECIAL("<s>"), "\"<s>\": {\"ids\": [1]}"), ELM_UNSUPPORTED, "an impossible id"},
    {AROUND(SPECIAL("<s>"), "\"<s>\": {\"ids\": [-1]}"), ELM_UNSUPPORTED, "an impossible id"},
    {AROUND(SPECIAL("<s>"), "\"<s>\": {\"ids\": [0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]}"),
     ELM_UNSUPPORTED, "an impossible id"},
    {AROUND("{\"Sequence\": {\"id\": \"A\"}}, {\"Sequence\": {\"id\": \"B\"}}", ""),
     ELM_UNSUPPORTED, "a second text"},
    {STEP("post_processor",
          "\"type\": \"Sequence\", \"processors\": [" NINE_AROUND ", " NINE_AROUND "]"),
     ELM_UNSUPPORTED, "too many ids"},
    {PATTERN("(?i:ss)"), ELM_UNSUPPORTED, "a ligature"},
    {PATTERN("\\\\x{110000}"), ELM_UNSUPPORTED, "a bad escape"},
    {PATTERN("[[:alpha:]]"), ELM_UNSUPPORTED, "a class in a class"},
    {PATTERN("*a"), ELM_UNSUPPORTED, "a repetition of nothing"},
    {PATTERN("a{3,2}"), ELM_UNSUPPORTED, "a bad repetition"},
    {PATTERN("a{2}?"), ELM_UNSUPPORTED, "a repetition of an interval"},
    {PATTERN("((((((((((((((((((((((((((((((((((((((((a"), ELM_UNSUPPORTED, "too many groups"},
    {PATTERN("(?:a|b"), ELM_UNSUPPORTED, "a group"},
    {PATTERN("(?=ab)"), ELM_UNSUPPORTED, "a lookahead of more than one"},
    {PATTERN("(?=a)*"), ELM_UNSUPPORTED, "a repeated lookahead"},
    {STEP("pre_tokenizer", "\"type\": \"Nothing\""), ELM_UNSUPPORTED, "'Nothing'"},
    {STEP("decoder", "\"type\": \"CTC\""), ELM_UNSUPPORTED, "'CTC'"},
    {STEP("post_processor", "\"type\": \"BertProcessing\""), ELM_UNSUPPORTED, "'BertProcessing'"},
};

static void names_what_it_refuses(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        elm_error err = {.message = ""};
        elm_status status = build(elm_allocator_default(), refusals[i].json, &err);
        if (status != refusals[i].status || !strstr(err.message, refusals[i].words))
            fail_msg("%s: %s, '%s'", refusals[i].json, elm_status_name(status), err.message);
    }
}

/* Text of `n` pieces between `head` and `tail`; a piece is a format with its number. */
static char *many(const char *head, const char *piece, uint32_t n, const char *tail) {
    size_t size = strlen(head) + (size_t)n * (strlen(piece) + 12) + strlen(tail) + 1;
    char *out = malloc(size), *p = out + strlen(head);
    assert_non_null(out);
    memcpy(out, head, strlen(head));
    for (uint32_t i = 0; i < n; i++) p += snprintf(p, size - (size_t)(p - out), piece, i);
    memcpy(p, tail, strlen(tail) + 1);
    return out;
}

static void has_limits(void **state) {
    static const struct {
        const char *head, *piece, *tail, *words;
        uint32_t n;
    } rows[] = {
        {"{\"pre_tokenizer\": {\"type\": \"Split\", \"behavior\": \"Isolated\", \"pattern\": "
         "{\"Regex\": \"",
         "a%u", "\"}}, \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": []}}",
         "an alternative that is too long", 100},
        {"{\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFC\"}",
         ", {\"type\": \"Lowercase\", \"n\": %u}",
         "]}, \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": []}}",
         "more than 64 steps", 64},
        {"{\"added_tokens\": [{\"id\": 1, \"normalized\": false, \"content\": \"", "%08u",
         "\"}], \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": []}}",
         "token 1 has 1032 bytes", 129},
        {"{\"pre_tokenizer\": {\"type\": \"Split\", \"behavior\": \"Isolated\", \"invert\": false, "
         "\"pattern\": {\"Regex\": \"",
         "(?:a%u|b)",
         "\"}}, \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": []}}", "", 2000},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        elm_error err = {.message = ""};
        char *json = many(rows[i].head, rows[i].piece, rows[i].n, rows[i].tail);
        elm_status status = build(elm_allocator_default(), json, &err);
        if (status != ELM_UNSUPPORTED || !strstr(err.message, rows[i].words))
            fail_msg("row %zu: %s, '%s'", i, elm_status_name(status), err.message);
        free(json);
    }
}

/* Spellings that all fall into slot 0 of a table: refused, and for little memory. */
static void hashes_that_collide(void **state) {
    enum { N = ELM_MAX_PROBES + 100, MASK = (1 << 15) - 1 };
    elm_capped_allocator cap;
    elm_buf json;
    elm_error err = {.message = ""};
    char text[16];
    uint32_t n = 0;
    (void)state;
    elm_buf_init(&json, elm_allocator_default(), 1 << 20);
    elm_buf_str(&json, "{\"model\": {\"type\": \"BPE\", \"merges\": [], \"vocab\": {");
    for (uint32_t i = 0; n < N; i++) {
        int size = snprintf(text, sizeof text, "%x", i);
        if (((uint32_t)elm_fnv1a(text, (size_t)size) & MASK) != 0) continue;
        elm_buf_printf(&json, "%s\"%s\": %u", n ? ", " : "", text, n);
        n++;
    }
    elm_buf_str(&json, "}}}");
    elm_buf_u8(&json, 0);
    elm_capped_allocator_init(&cap, elm_allocator_default(), 4 << 20);
    elm_status status = build(&cap.interface, (const char *)json.data, &err);
    if (status != ELM_UNSUPPORTED || !strstr(err.message, "of one hash"))
        fail_msg("%s, '%s'", elm_status_name(status), err.message);
    assert_int_equal(cap.live_bytes, 0);
    elm_buf_free(&json);
}

/* More than any file that these tests could make: the count alone is looked at. */
static void too_many_to_make(void **state) {
    elm_arena arena;
    const elm_json *root = NULL;
    elm_buf blob;
    elm_trie trie;
    elm_error err = {.message = ""};
    (void)state;
    elm_arena_init(&arena, elm_allocator_default(), 0);
    elm_buf_init(&blob, elm_allocator_default(), 1 << 20);
    assert_int_equal(
        elm_json_parse(elm_span_str(BPE("\"a\": 0", "")), "t", NULL, &arena, &root, &err), ELM_OK);
    elm_json *merges = (elm_json *)(uintptr_t)elm_json_find(elm_json_find(root, "model"), "merges");
    merges->count = ELM_TOKENIZER_MAX_MERGES + 1;
    assert_int_equal(elm_tokenizer_build_hf(elm_allocator_default(), root, &blob, &err),
                     ELM_UNSUPPORTED);
    assert_non_null(strstr(err.message, "8388609 merges"));
    elm_buf_free(&blob);
    enum { N_KEYS = ELM_TOKENIZER_MAX_IDS * 8 / ELM_MAX_ADDED_BYTES };
    static uint8_t text[ELM_MAX_ADDED_BYTES];
    elm_trie_key *keys = elm_arena_array(&arena, N_KEYS, sizeof *keys);
    assert_non_null(keys);
    for (int i = 0; i < N_KEYS; i++) keys[i] = (elm_trie_key){elm_span_of(text, sizeof text), i};
    assert_int_equal(elm_trie_build(&arena, keys, N_KEYS, &trie, &err), ELM_UNSUPPORTED);
    assert_non_null(strstr(err.message, "bytes together"));
    elm_arena_free(&arena);
}

/* ---- GGUF ---- */

static const int32_t byte_types[] = {2, 3, 1, 6}, all_normal[] = {1, 1, 1, 1};
static const float some_scores[] = {0, 0, -1, -2};
static elm_span tokens[4], good_merges[1], bad_merges[3];

static elm_gguf_vocab vocab(const char *model) {
    static const char *const names[] = {"a", "b", "ab", "<0x41>"};
    for (int i = 0; i < 4; i++) tokens[i] = elm_span_str(names[i]);
    good_merges[0] = elm_span_str("a b");
    bad_merges[0] = elm_span_str("a c");
    bad_merges[1] = elm_span_str("ab");
    return (elm_gguf_vocab){.model = elm_span_str(model),
                            .pre = elm_span_str("llama-bpe"),
                            .tokens = tokens,
                            .scores = some_scores,
                            .types = strcmp(model, "llama") == 0 ? byte_types : all_normal,
                            .n_tokens = 4,
                            .merges = good_merges,
                            .n_merges = 1,
                            .bos_id = 0,
                            .eos_id = 1,
                            .unk_id = ELM_NO_TOKEN,
                            .add_bos = true,
                            .add_eos = true,
                            .add_space_prefix = true};
}

static elm_status build_gguf(const elm_allocator *alloc, const elm_gguf_vocab *v, elm_error *err) {
    elm_buf blob;
    elm_buf_init(&blob, alloc, 1 << 24);
    elm_status status = elm_tokenizer_build_gguf(alloc, v, &blob, err);
    elm_buf_free(&blob);
    return status;
}

static void refuses_gguf(const elm_gguf_vocab *v, elm_status expected, const char *words) {
    elm_error err = {.message = ""};
    elm_status status = build_gguf(elm_allocator_default(), v, &err);
    if (status != expected || !strstr(err.message, words))
        fail_msg("expected '%s': %s, '%s'", words, elm_status_name(status), err.message);
}

static void names_what_it_refuses_of_a_gguf(void **state) {
    elm_gguf_vocab v;
    (void)state;
    refuses_gguf((v = vocab("bert"), &v), ELM_UNSUPPORTED, "'bert'");
    v = vocab("gpt2"), v.pre = elm_span_str("nonsense");
    refuses_gguf(&v, ELM_UNSUPPORTED, "'nonsense'");
    v = vocab("gpt2"), v.n_tokens = 0;
    refuses_gguf(&v, ELM_MALFORMED, "0 ids");
    v = vocab("gpt2"), v.n_merges = 0;
    refuses_gguf(&v, ELM_MALFORMED, "0 merges");
    for (int i = 0; i < 3; i++) { /* a token that is not there, no space, nothing at all */
        v = vocab("gpt2"), v.merges = bad_merges + i;
        refuses_gguf(&v, ELM_MALFORMED, "merge 0");
    }
    v = vocab("llama"), v.scores = NULL;
    refuses_gguf(&v, ELM_MALFORMED, "no scores");
    v = vocab("llama"); /* of these only the sizes are looked at */
    for (int i = 0; i < 3; i++) tokens[i].size = (size_t)3 << 29;
    refuses_gguf(&v, ELM_UNSUPPORTED, "larger than 4 GiB");
    v = vocab("llama"), tokens[3] = elm_span_str("<0xZZ>");
    refuses_gguf(&v, ELM_MALFORMED, "byte token 3");
}

/* ---- memory ---- */

static elm_status build_one(const elm_allocator *alloc, int which, elm_error *err) {
    static const char *const jsons[] = {BYTE_LEVEL_JSON, UNIGRAM_JSON};
    static const char *const models[] = {"gpt2", "llama", "gemma4"};
    if (which < 2) return build(alloc, jsons[which], err);
    elm_gguf_vocab v = vocab(models[which - 2]);
    return build_gguf(alloc, &v, err);
}

static void survives_every_failed_allocation(void **state) {
    (void)state;
    for (int which = 0; which < 5; which++) {
        for (uint64_t at = 1;; at++) {
            nth_alloc nth;
            elm_error err = {.message = ""};
            nth_alloc_init(&nth, at);
            elm_status status = build_one(&nth.interface, which, &err);
            assert_int_equal(nth.live_bytes, 0);
            if (atomic_load(&nth.n) < at) {
                if (status != ELM_OK) fail_msg("%d: %s", which, err.message);
                break;
            }
            if (status != ELM_OUT_OF_MEMORY)
                fail_msg("%d, call %u: %s, '%s'", which, (unsigned)at, elm_status_name(status),
                         err.message);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_what_it_refuses),
        cmocka_unit_test(has_limits),
        cmocka_unit_test(hashes_that_collide),
        cmocka_unit_test(too_many_to_make),
        cmocka_unit_test(names_what_it_refuses_of_a_gguf),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
