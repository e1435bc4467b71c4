/* Every place where opening a TOKENIZER section refuses: a good section, one number of it changed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "nth_alloc.h"
#include "text/matcher.h"
#include "tokenizer_json.h"

/* Room behind the section's own tables, so that a count may be too large and still inside. */
enum { ROOM = 1 << 20, MANY_MERGES_ROOM = ELM_TOKENIZER_MAX_MERGES * 12 + (1 << 16) };

typedef enum where { HEAD, OFFSET, COUNT, DATA } where; /* the header; of table `table` */

static const struct change {
    const char *json;
    where where;
    int table;
    size_t at, size; /* in the header, or in the table's data */
    uint64_t value;
    elm_status status;
    const char *words;
} changes[] = {
#define BPE(where, table, at, size, value, words) \
    { BYTE_LEVEL_JSON, where, table, at, size, value, ELM_MALFORMED, words }
#define ITEM(i, member, value, words)                                                          \
    BPE(DATA, ELM_TAB_ITEMS, (i) * sizeof(elm_disk_item) + offsetof(elm_disk_item, member), 4, \
        value, words)
#define STEP(i, member, value, words)                                                          \
    BPE(DATA, ELM_TAB_STEPS, (i) * sizeof(elm_disk_step) + offsetof(elm_disk_step, member), 4, \
        value, words)
    BPE(HEAD, 0, 0, 1, 'e', "no magic"),
    {BYTE_LEVEL_JSON, HEAD, 0, 8, 4, 1, ELM_UNSUPPORTED, "version 1"},
    {BYTE_LEVEL_JSON, HEAD, 0, 8, 4, 3, ELM_UNSUPPORTED, "version 3"},
    BPE(HEAD, 0, 12, 4, ELM_N_MODELS, "an unknown model"),
    BPE(HEAD, 0, 20, 4, 0, "a bad number of ids"),
    BPE(HEAD, 0, 20, 4, ELM_TOKENIZER_MAX_IDS + 1, "a bad number of ids"),
    BPE(HEAD, 0, 24, 4, 5, "the unknown token"),
    BPE(HEAD, 0, 24, 4, (uint32_t)-2, "the unknown token"),
    BPE(OFFSET, ELM_TAB_MERGES, 0, 4, 4, "a table lies outside (4)"),
    BPE(OFFSET, ELM_TAB_SPELLINGS, 0, 4, 0xfffffff8, "a table lies outside (1)"),
    BPE(COUNT, ELM_TAB_SPELLING_OFFSETS, 0, 4, 7, "a table has the wrong size (0)"),
    BPE(COUNT, ELM_TAB_SPELLING_OFFSETS, 0, 4, 6 + 0x40000000, "a table lies outside (0)"),
    BPE(COUNT, ELM_TAB_FLAGS, 0, 4, 4, "a table has the wrong size (2)"),
    BPE(COUNT, ELM_TAB_LOOKUP, 0, 4, 0, "no power of two (3)"),
    BPE(COUNT, ELM_TAB_LOOKUP, 0, 4, 3, "no power of two (3)"),
    BPE(COUNT, ELM_TAB_MERGE_SLOTS, 0, 4, 6, "no power of two (5)"),
    BPE(COUNT, ELM_TAB_JOINS, 0, 4, 3, "joins are no power of two"),
    BPE(COUNT, ELM_TAB_SCORES, 0, 4, 1, "wrong size (7)"),
    BPE(COUNT, ELM_TAB_BYTE_IDS, 0, 4, 255, "wrong size (8)"),
    BPE(COUNT, ELM_TAB_ADDED + 2, 0, 4, ELM_TOKENIZER_MAX_IDS * 8u + 1, "a trie is too large"),
    BPE(COUNT, ELM_TAB_ADDED, 0, 4, 1, "wrong size (9)"),
    BPE(COUNT, ELM_TAB_ADDED + 1, 0, 4, 0, "wrong size (10)"),
    BPE(COUNT, ELM_TAB_ADDED_NORMALIZED + 2, 0, 4, 1, "wrong size (12)"),
    {UNIGRAM_JSON, COUNT, ELM_TAB_PIECES + 2, 0, 4, 0, ELM_MALFORMED, "no pieces"},
    {UNIGRAM_JSON, COUNT, ELM_TAB_PIECES + 1, 0, 4, 0, ELM_MALFORMED, "wrong size (16)"},
    {UNIGRAM_JSON, COUNT, ELM_TAB_SCORES, 0, 4, 0, ELM_MALFORMED, "wrong size (7)"},
    {UNIGRAM_JSON, HEAD, 0, 24, 4, (uint32_t)-1, ELM_MALFORMED, "the unknown token"},
    BPE(COUNT, ELM_TAB_PREFIX, 0, 4, ELM_MAX_AROUND + 1, "too many ids around"),
    BPE(COUNT, ELM_TAB_SUFFIX, 0, 4, ELM_MAX_AROUND + 1, "too many ids around"),
    BPE(DATA, ELM_TAB_BYTE_IDS, 40, 4, 5, "a byte has an impossible id (10)"),
    BPE(DATA, ELM_TAB_BYTE_IDS, 1020, 4, (uint32_t)-2, "a byte has an impossible id (255)"),
    BPE(DATA, ELM_TAB_PREFIX, 0, 4, 5, "before a text"),
    BPE(DATA, ELM_TAB_SUFFIX, 0, 4, (uint32_t)-1, "behind a text"),
    BPE(COUNT, ELM_TAB_ITEMS, 0, 4, ELM_MAX_PATTERN_ITEMS + 1, "large patterns"),
    BPE(COUNT, ELM_TAB_CLASSES, 0, 4, ELM_MAX_PATTERN_CLASSES + 1, "large patterns"),
    BPE(DATA, ELM_TAB_CLASSES, offsetof(elm_disk_class, n_ranges), 4, 1 << 20,
        "a class lies outside"),
    /* items: 0 alternative, 1 a+, 2 alternative, 3 letter, 4 end */
    ITEM(0, target, 0, "an alternative is too long (0)"),
    ITEM(0, target, 5, "an alternative is too long (0)"),
    ITEM(0, target, 0xffffffff, "an alternative is too long (0)"),
    ITEM(0, target, 3, "does not end where it says (2)"),
    ITEM(0, target, 1, "does not end where it says (2)"),
    ITEM(0, kind, ELM_ITEM_END, "an item outside of an alternative (1)"),
    ITEM(1, kind, ELM_ITEM_END, "does not end where it says (1)"),
    ITEM(1, kind, ELM_ITEM_JUMP, "a jump leaves"),
    ITEM(1, kind, ELM_N_ITEM_KINDS, "an item of an unknown kind"),
    ITEM(1, class, 9, "an item has no class"),
    ITEM(4, kind, ELM_ITEM_TEXT_END, "a pattern has no end"),
    BPE(COUNT, ELM_TAB_STEPS, 0, 4, ELM_MAX_STEPS + 1, "too many steps"),
    /* steps: 0 NFC, 1 replace, 2 split, 3 decode */
    STEP(0, text, 1 << 30, "a step's text lies outside (0)"),
    STEP(0, text2_bytes, 1 << 30, "a step's text lies outside (0)"),
    BPE(DATA, ELM_TAB_TEXTS, 0, 1, 0xff, "no UTF-8 (1)"),
    STEP(0, a, 99, "unknown, or has no sense (0)"),
    STEP(0, kind, 99, "unknown, or has no sense (0)"),
    STEP(0, kind, ELM_STEP_DECODE_FUSE, "out of order (1)"),
    STEP(1, text_bytes, 0, "no sense (1)"),
    STEP(2, a, 1, "no sense (2)"),
    STEP(2, a, 99, "no sense (2)"),
    STEP(2, b, ELM_N_SPLITS, "no sense (2)"),
    STEP(3, kind, ELM_STEP_DECODE_STRIP, "no sense (3)"),
};

/* The section of `json`, with `room` zero bytes behind it, on 64 bytes. Free with free(). */
static uint8_t *section(const char *json, size_t room, size_t *size) {
    elm_buf blob;
    elm_error err = {.message = ""};
    elm_buf_init(&blob, elm_allocator_default(), 1 << 24);
    if (tokenizer_from_json(elm_allocator_default(), json, &blob, &err) != ELM_OK)
        fail_msg("%s", err.message);
    *size = (blob.size + room + 63) / 64 * 64;
    uint8_t *out = aligned_alloc(64, *size);
    assert_non_null(out);
    memset(out, 0, *size);
    memcpy(out, blob.data, blob.size);
    elm_buf_free(&blob);
    return out;
}

static elm_status open_it(const elm_allocator *alloc, const uint8_t *bytes, size_t size,
                          elm_error *err) {
    elm_tokenizer *t = NULL;
    elm_status status = elm_tokenizer_open(alloc, elm_span_of(bytes, size), &t, err);
    assert_true((t != NULL) == (status == ELM_OK));
    elm_tokenizer_close(t);
    return status;
}

static void put(uint8_t *bytes, const struct change *c) {
    elm_disk_tokenizer *head = (elm_disk_tokenizer *)(void *)bytes;
    size_t table = offsetof(elm_disk_tokenizer, tables) + (size_t)c->table * sizeof(elm_disk_table);
    size_t at = c->where == HEAD     ? c->at
                : c->where == OFFSET ? table
                : c->where == COUNT  ? table + 4
                                     : head->tables[c->table].offset + c->at;
    for (size_t i = 0; i < c->size; i++) bytes[at + i] = (uint8_t)(c->value >> 8 * i);
}

static void refuses_every_wrong_number(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        elm_error err = {.message = ""};
        size_t size;
        uint8_t *bytes = section(changes[i].json, ROOM, &size);
        assert_int_equal(open_it(elm_allocator_default(), bytes, size, &err), ELM_OK);
        put(bytes, &changes[i]);
        elm_status status = open_it(elm_allocator_default(), bytes, size, &err);
        if (status != changes[i].status || !strstr(err.message, changes[i].words))
            fail_msg("case %zu (%s): %s, '%s'", i, changes[i].words, elm_status_name(status),
                     err.message);
        free(bytes);
    }
}

static void refuses_what_is_cut_or_misplaced(void **state) {
    elm_error err = {.message = ""};
    size_t size;
    uint8_t *bytes = section(BYTE_LEVEL_JSON, 64, &size);
    (void)state;
    for (size_t n = 0; n < sizeof(elm_disk_tokenizer); n++)
        assert_int_equal(open_it(elm_allocator_default(), bytes, n, &err), ELM_MALFORMED);
    memmove(bytes + 4, bytes, size - 64);
    assert_int_equal(open_it(elm_allocator_default(), bytes + 4, size - 64, &err),
                     ELM_INVALID_ARGUMENT);
    free(bytes);
    bytes = section(BYTE_LEVEL_JSON, MANY_MERGES_ROOM, &size);
    put(bytes, &(struct change){NULL, COUNT, ELM_TAB_MERGES, 0, 4, ELM_TOKENIZER_MAX_MERGES + 1,
                                ELM_OK, NULL});
    assert_int_equal(open_it(elm_allocator_default(), bytes, size, &err), ELM_MALFORMED);
    assert_non_null(strstr(err.message, "too many merges"));
    free(bytes);
}

static void survives_every_failed_allocation(void **state) {
    size_t size;
    uint8_t *bytes = section(BYTE_LEVEL_JSON, 0, &size);
    (void)state;
    for (uint64_t at = 1;; at++) {
        nth_alloc nth;
        nth_alloc_init(&nth, at);
        elm_status status = open_it(&nth.interface, bytes, size, NULL);
        assert_int_equal(nth.live_bytes, 0);
        if (atomic_load(&nth.n) < at) {
            assert_int_equal(status, ELM_OK);
            break;
        }
        assert_int_equal(status, ELM_OUT_OF_MEMORY);
    }
    free(bytes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_every_wrong_number),
        cmocka_unit_test(refuses_what_is_cut_or_misplaced),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
