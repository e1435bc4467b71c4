/* tokenizer_spec.c - from the spec to the mapped tables; parse. */
#include "parse/tokenizer_spec.h"

#include "base/hash.h"
#include "base/utf8.h"

#include <string.h>

enum { MAX_TEXTS = 1 << 20 };

elm_status elm_tokenizer_spec_init(elm_tokenizer_spec *s, const elm_allocator *alloc,
                                   uint32_t n_ids, elm_error *err) {
    memset(s, 0, sizeof *s);
    elm_arena_init(&s->arena, alloc, 0);
    elm_buf_init(&s->items, alloc, ELM_MAX_PATTERN_ITEMS * sizeof(elm_disk_item));
    elm_buf_init(&s->ranges, alloc, ELM_MAX_PATTERN_RANGES * 8);
    elm_buf_init(&s->texts, alloc, MAX_TEXTS);
    if (n_ids == 0 || n_ids > ELM_TOKENIZER_MAX_IDS) {
        return elm_fail(err, ELM_MALFORMED, "a tokenizer of %u ids; expected 1..%d", n_ids,
                        ELM_TOKENIZER_MAX_IDS);
    }
    s->n_ids = n_ids;
    s->unk_id = ELM_NO_TOKEN;
    for (int i = 0; i < 256; i++) s->byte_ids[i] = ELM_NO_TOKEN;
    s->spellings = elm_arena_array(&s->arena, n_ids, sizeof *s->spellings);
    s->token_flags = elm_arena_array(&s->arena, n_ids, 1);
    return s->spellings && s->token_flags
               ? ELM_OK
               : elm_fail_oom(err, n_ids * sizeof *s->spellings, "the vocabulary");
}

void elm_tokenizer_spec_free(elm_tokenizer_spec *s) {
    elm_buf_free(&s->items);
    elm_buf_free(&s->ranges);
    elm_buf_free(&s->texts);
    elm_arena_free(&s->arena);
}

elm_status elm_spec_step(elm_tokenizer_spec *s, elm_step_kind kind, uint32_t a, uint32_t b,
                         elm_span text, elm_span text2, elm_error *err) {
    if (s->n_steps == ELM_MAX_STEPS)
        return elm_fail(err, ELM_UNSUPPORTED, "a tokenizer of more than %d steps", ELM_MAX_STEPS);
    elm_disk_step *step = &s->steps[s->n_steps++];
    *step = (elm_disk_step){.kind = (uint32_t)kind, .a = a, .b = b};
    step->text = (uint32_t)s->texts.size;
    step->text_bytes = (uint32_t)text.size;
    elm_buf_append(&s->texts, text.data, text.size);
    step->text2 = (uint32_t)s->texts.size;
    step->text2_bytes = (uint32_t)text2.size;
    elm_buf_append(&s->texts, text2.data, text2.size);
    return elm_buf_check(&s->texts, "the tokenizer's strings", err);
}

/* The code points that stand for bytes: printable Latin-1 as itself, the 68 others from U+0100 on.
 */
static bool is_printable_stand_in(uint32_t c) {
    return (c >= 33 && c <= 126) || (c >= 161 && c <= 172) || (c >= 174 && c <= 255);
}

bool elm_byte_level_decode(elm_span spelling, uint8_t *out, size_t *n) {
    *n = 0;
    for (size_t at = 0; at < spelling.size;) {
        uint32_t c;
        int k = elm_utf8_decode(elm_span_of(spelling.data + at, spelling.size - at), &c);
        if (k <= 0) return false;
        at += (size_t)k;
        if (c >= 256 && c < 256 + 68) {
            uint32_t other = c - 256, byte = 0;
            for (;; byte++) {
                if (!is_printable_stand_in(byte) && other-- == 0) break;
            }
            c = byte;
        } else if (!is_printable_stand_in(c)) {
            return false;
        }
        out[(*n)++] = (uint8_t)c;
    }
    return true;
}

/* ---- the blob ---- */

static void put_table(elm_buf *blob, int index, const void *data, size_t count, size_t size) {
    elm_buf_align(blob, 8);
    if (blob->status != ELM_OK) return;
    elm_disk_table tab = {(uint32_t)blob->size, (uint32_t)count};
    memcpy(blob->data + offsetof(elm_disk_tokenizer, tables) + (size_t)index * sizeof tab, &tab,
           sizeof tab);
    elm_buf_append(blob, data, count * size);
}

static elm_status put_spellings(elm_tokenizer_spec *s, elm_buf *blob, elm_error *err) {
    uint32_t *offsets = elm_arena_array(&s->arena, (size_t)s->n_ids + 1, sizeof *offsets);
    uint32_t slots = 64;
    while (slots < s->n_ids * 2) slots *= 2;
    uint32_t *lookup = elm_arena_array(&s->arena, slots, sizeof *lookup);
    uint8_t *lengths = elm_arena_array(&s->arena, 256, 32);
    if (!offsets || !lookup || !lengths)
        return elm_fail_oom(err, slots * sizeof *lookup, "the vocabulary");
    uint64_t total = 0;
    for (uint32_t i = 0; i < s->n_ids; i++) {
        elm_span text = s->spellings[i];
        offsets[i] = (uint32_t)total;
        total += text.size;
        if (total > UINT32_MAX)
            return elm_fail(err, ELM_UNSUPPORTED, "the vocabulary is larger than 4 GiB");
        if (text.size == 0) continue;
        s->token_flags[i] |= ELM_TOKEN_PRESENT;
        if (s->token_flags[i] & ELM_TOKEN_ADDED) {
            if (text.size > ELM_MAX_ADDED_BYTES) {
                return elm_fail(err, ELM_UNSUPPORTED, "added token %u has %zu bytes; at most %d", i,
                                text.size, ELM_MAX_ADDED_BYTES);
            }
            lengths[(size_t)text.data[0] * 32 + text.size / 8] |= (uint8_t)(1u << (text.size % 8));
        }
        uint32_t slot = (uint32_t)elm_fnv1a(text.data, text.size) & (slots - 1);
        bool there = false;
        while (lookup[slot] && !there) {
            there = elm_span_equal(s->spellings[lookup[slot] - 1], text);
            if (!there) slot = (slot + 1) & (slots - 1);
        }
        /* Of two ids with one spelling the added token counts, else the first. */
        if (!there || (s->token_flags[i] & ELM_TOKEN_ADDED)) lookup[slot] = i + 1;
    }
    offsets[s->n_ids] = (uint32_t)total;
    put_table(blob, ELM_TAB_SPELLING_OFFSETS, offsets, (size_t)s->n_ids + 1, 4);
    put_table(blob, ELM_TAB_SPELLINGS, NULL, 0, 1);
    if (blob->status == ELM_OK) {
        elm_disk_table *tab =
            (elm_disk_table *)(void *)(blob->data + offsetof(elm_disk_tokenizer, tables)) +
            ELM_TAB_SPELLINGS;
        tab->count = (uint32_t)total;
    }
    for (uint32_t i = 0; i < s->n_ids; i++)
        elm_buf_append(blob, s->spellings[i].data, s->spellings[i].size);
    put_table(blob, ELM_TAB_FLAGS, s->token_flags, s->n_ids, 1);
    put_table(blob, ELM_TAB_LOOKUP, lookup, slots, 4);
    put_table(blob, ELM_TAB_ADDED_LENGTHS, lengths, 256, 32);
    return ELM_OK;
}

static elm_status put_merges(elm_tokenizer_spec *s, elm_buf *blob, elm_error *err) {
    uint32_t slots = 64;
    while (slots < s->n_merges * 2) slots *= 2;
    uint32_t *table = elm_arena_array(&s->arena, slots, sizeof *table);
    if (!table) return elm_fail_oom(err, slots * sizeof *table, "the merges");
    for (uint32_t i = 0; i < s->n_merges; i++) {
        const uint32_t *m = s->merges + (size_t)i * 3;
        uint32_t slot = elm_merge_hash(m[0], m[1]) & (slots - 1);
        bool there = false;
        while (table[slot] && !there) {
            const uint32_t *o = s->merges + (size_t)(table[slot] - 1) * 3;
            there = o[0] == m[0] && o[1] == m[1];
            if (!there) slot = (slot + 1) & (slots - 1);
        }
        table[slot] = i + 1; /* a merge that is listed twice has its last rank, as in a map */
    }
    put_table(blob, ELM_TAB_MERGES, s->merges, s->n_merges, 12);
    put_table(blob, ELM_TAB_MERGE_SLOTS, table, slots, 4);
    return ELM_OK;
}

elm_status elm_tokenizer_spec_write(elm_tokenizer_spec *s, elm_buf *blob, elm_error *err) {
    elm_disk_tokenizer head = {.version = ELM_TOKENIZER_VERSION,
                               .model = s->model,
                               .flags = s->flags,
                               .n_ids = s->n_ids,
                               .unk_id = s->unk_id};
    elm_disk_item end = {.kind = ELM_ITEM_END};
    memcpy(head.magic, "ELMTOK\0\0", 8);
    elm_buf_append(&s->items, &end, sizeof end);
    ELM_TRY(elm_buf_check(&s->items, "the tokenizer's patterns", err));
    ELM_TRY(elm_buf_check(&s->ranges, "the tokenizer's patterns", err));
    elm_buf_append(blob, &head, sizeof head);
    ELM_TRY(put_spellings(s, blob, err));
    ELM_TRY(put_merges(s, blob, err));
    put_table(blob, ELM_TAB_SCORES, s->scores, s->scores ? s->n_ids : 0, 4);
    put_table(blob, ELM_TAB_BYTE_IDS, s->byte_ids, 256, 4);
    put_table(blob, ELM_TAB_STEPS, s->steps, s->n_steps, sizeof s->steps[0]);
    put_table(blob, ELM_TAB_ITEMS, s->items.data, s->items.size / sizeof(elm_disk_item),
              sizeof(elm_disk_item));
    put_table(blob, ELM_TAB_RANGES, s->ranges.data, s->ranges.size / 8, 8);
    put_table(blob, ELM_TAB_PREFIX, s->prefix, s->n_prefix, 4);
    put_table(blob, ELM_TAB_SUFFIX, s->suffix, s->n_suffix, 4);
    put_table(blob, ELM_TAB_TEXTS, s->texts.data, s->texts.size, 1);
    return elm_buf_check(blob, "the tokenizer", err);
}
