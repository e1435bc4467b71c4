/* tokenizer_blob.c - opening a TOKENIZER section: the header, the sizes of all tables, all of the
 * small ones; text. */
#include "text/tokenizer_blob.h"

#include "base/checked.h"
#include "base/utf8.h"
#include "text/matcher.h"
#include "text/unicode.h"

#include <stddef.h>

_Static_assert(sizeof(elm_disk_step) == 32 && sizeof(elm_disk_class) == 24 &&
                   sizeof(elm_disk_item) == 40,
               "as stored");
_Static_assert(offsetof(elm_disk_tokenizer, tables) == 40 && sizeof(elm_disk_tokenizer) % 8 == 0,
               "as stored");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "the tables are mapped as they lie in the file");

typedef struct opening {
    elm_tokenizer *t;
    elm_span blob;
    const elm_disk_tokenizer *head;
    uint32_t n_items, n_classes, n_ranges, n_texts;
    elm_error *err;
} opening;

static elm_status bad(const opening *o, const char *what, uint32_t number) {
    return elm_fail(o->err, ELM_MALFORMED, "tokenizer section: %s (%u); convert the model again",
                    what, number);
}

/* Table number `index` of elements of `size` bytes, at *out_pointer; its count is `expected`, or
 * any. */
#define ANY_COUNT UINT32_MAX
static elm_status table(const opening *o, int index, uint32_t size, uint32_t expected,
                        void *out_pointer, uint32_t *count) {
    const elm_disk_table *tab = &o->head->tables[index];
    if (tab->offset % 8 != 0 ||
        !elm_range_inside(tab->offset, (uint64_t)tab->count * size, o->blob.size)) {
        return bad(o, "a table lies outside", (uint32_t)index);
    }
    if (expected != ANY_COUNT && tab->count != expected)
        return bad(o, "a table has the wrong size", (uint32_t)index);
    const uint8_t *at = o->blob.data + tab->offset;
    memcpy(out_pointer, &at, sizeof at);
    if (count) *count = tab->count;
    return ELM_OK;
}

static elm_status hash_table(const opening *o, int index, const uint32_t **slots, uint32_t *mask) {
    uint32_t n = 0;
    ELM_TRY(table(o, index, 4, ANY_COUNT, slots, &n));
    if (n == 0 || (n & (n - 1)) != 0)
        return bad(o, "a hash table is no power of two", (uint32_t)index);
    *mask = n - 1;
    return ELM_OK;
}

static elm_status trie(const opening *o, int index, elm_trie *out, bool first[256]) {
    uint32_t n = o->head->tables[index + 2].count;
    if (n == 0) return ELM_OK; /* no trie: its tables are not looked at */
    if (n > ELM_TOKENIZER_MAX_IDS * 8u) return bad(o, "a trie is too large", n);
    ELM_TRY(table(o, index, 4, n + 1, &out->first, NULL));
    ELM_TRY(table(o, index + 1, 1, n - 1, &out->bytes, NULL));
    ELM_TRY(table(o, index + 2, 4, n, &out->values, NULL));
    out->n_nodes = n;
    for (uint32_t i = out->first[0]; first && i < out->first[1] && i + 1 < n; i++)
        first[out->bytes[i]] = true;
    return ELM_OK;
}

static elm_status check_ids(const opening *o, const int32_t *ids, uint32_t n, bool none_allowed,
                            const char *what) {
    for (uint32_t i = 0; i < n; i++) {
        if (ids[i] < (none_allowed ? -1 : 0) || ids[i] >= (int32_t)o->t->n_ids)
            return bad(o, what, i);
    }
    return ELM_OK;
}

static elm_status vocabulary(const opening *o) {
    elm_tokenizer *t = o->t;
    uint32_t n_joins = 0;
    ELM_TRY(table(o, ELM_TAB_SPELLING_OFFSETS, 4, t->n_ids + 1, &t->spelling_offsets, NULL));
    ELM_TRY(table(o, ELM_TAB_SPELLINGS, 1, ANY_COUNT, &t->spellings, &t->n_spellings));
    ELM_TRY(table(o, ELM_TAB_FLAGS, 1, t->n_ids, &t->token_flags, NULL));
    ELM_TRY(hash_table(o, ELM_TAB_LOOKUP, &t->lookup, &t->lookup_mask));
    ELM_TRY(table(o, ELM_TAB_MERGES, 12, ANY_COUNT, &t->merges, &t->n_merges));
    if (t->n_merges > ELM_TOKENIZER_MAX_MERGES) return bad(o, "too many merges", t->n_merges);
    ELM_TRY(hash_table(o, ELM_TAB_MERGE_SLOTS, &t->merge_slots, &t->merge_mask));
    ELM_TRY(table(o, ELM_TAB_JOINS, 1, ANY_COUNT, &t->joins, &n_joins));
    if (n_joins == 0)
        t->joins = NULL;
    else if (n_joins > UINT32_MAX / 8 || (n_joins & (n_joins - 1)) != 0)
        return bad(o, "joins are no power of two", n_joins);
    t->joins_mask = n_joins * 8 - 1;
    ELM_TRY(
        table(o, ELM_TAB_SCORES, 8, t->model == ELM_MODEL_BPE ? 0 : t->n_ids, &t->scores, NULL));
    ELM_TRY(table(o, ELM_TAB_BYTE_IDS, 4, 256, &t->byte_ids, NULL));
    ELM_TRY(trie(o, ELM_TAB_ADDED, &t->added, t->added_first));
    ELM_TRY(trie(o, ELM_TAB_ADDED_NORMALIZED, &t->added_normalized, t->normalized_first));
    ELM_TRY(trie(o, ELM_TAB_PIECES, &t->pieces, NULL));
    if (t->model == ELM_MODEL_UNIGRAM && t->pieces.n_nodes == 0) return bad(o, "no pieces", 0);
    ELM_TRY(table(o, ELM_TAB_PREFIX, 4, ANY_COUNT, &t->prefix, &t->n_prefix));
    ELM_TRY(table(o, ELM_TAB_SUFFIX, 4, ANY_COUNT, &t->suffix, &t->n_suffix));
    if (t->n_prefix > ELM_MAX_AROUND || t->n_suffix > ELM_MAX_AROUND)
        return bad(o, "too many ids around a text", 0);
    ELM_TRY(check_ids(o, t->byte_ids, 256, true, "a byte has an impossible id"));
    ELM_TRY(check_ids(o, t->prefix, t->n_prefix, false, "an impossible id before a text"));
    ELM_TRY(check_ids(o, t->suffix, t->n_suffix, false, "an impossible id behind a text"));
    return check_ids(o, &t->unk_id, 1, t->model != ELM_MODEL_UNIGRAM,
                     "the unknown token has an impossible id");
}

/* Every jump goes forward and stays in its alternative, so that a match ends and its depth is
 * bounded. */
static elm_status patterns(opening *o) {
    elm_tokenizer *t = o->t;
    ELM_TRY(table(o, ELM_TAB_ITEMS, sizeof *t->items, ANY_COUNT, &t->items, &o->n_items));
    ELM_TRY(table(o, ELM_TAB_CLASSES, sizeof *t->classes, ANY_COUNT, &t->classes, &o->n_classes));
    ELM_TRY(table(o, ELM_TAB_RANGES, 8, ANY_COUNT, &t->ranges, &o->n_ranges));
    if (o->n_items > ELM_MAX_PATTERN_ITEMS || o->n_classes > ELM_MAX_PATTERN_CLASSES)
        return bad(o, "large patterns", 0);
    for (uint32_t i = 0; i < o->n_classes; i++) {
        const elm_disk_class *c = &t->classes[i];
        if (!elm_range_inside(c->first_range, c->n_ranges, o->n_ranges))
            return bad(o, "a class lies outside", i);
    }
    uint32_t end = 0; /* of the alternative */
    for (uint32_t i = 0; i < o->n_items; i++) {
        const elm_disk_item *item = &t->items[i];
        bool inside = item->target > i && item->target <= end;
        switch (item->kind) {
        case ELM_ITEM_END:
            if (i != end && end != 0) return bad(o, "an alternative does not end where it says", i);
            end = 0;
            break;
        case ELM_ITEM_ALTERNATIVE:
            if (i != end && end != 0) return bad(o, "an alternative does not end where it says", i);
            if (item->target <= i || item->target >= o->n_items ||
                item->target - i > ELM_MAX_ALTERNATIVE_ITEMS) {
                return bad(o, "an alternative is too long", i);
            }
            end = item->target;
            break;
        case ELM_ITEM_SPLIT:
        case ELM_ITEM_SPLIT_LAZY:
        case ELM_ITEM_JUMP:
            if (!inside) return bad(o, "a jump leaves its alternative", i);
            break;
        case ELM_ITEM_GREEDY:
        case ELM_ITEM_POSSESSIVE:
        case ELM_ITEM_LAZY:
        case ELM_ITEM_LOOKAHEAD:
        case ELM_ITEM_NOT_LOOKAHEAD:
            if (item->class >= o->n_classes) return bad(o, "an item has no class", i);
            break;
        default:
            if (item->kind >= ELM_N_ITEM_KINDS) return bad(o, "an item of an unknown kind", i);
            break;
        }
        if (end == 0 && item->kind != ELM_ITEM_END)
            return bad(o, "an item outside of an alternative", i);
    }
    if (end != 0) return bad(o, "a pattern has no end", end);
    return ELM_OK;
}

static elm_status check_step(const opening *o, const elm_disk_step *s, uint32_t i) {
    const elm_tokenizer *t = o->t;
    if (!elm_range_inside(s->text, s->text_bytes, o->n_texts) ||
        !elm_range_inside(s->text2, s->text2_bytes, o->n_texts)) {
        return bad(o, "a step's text lies outside", i);
    }
    elm_span text = elm_step_text(t, s), text2 = elm_step_text2(t, s);
    if (elm_utf8_valid_prefix(text) != text.size || elm_utf8_valid_prefix(text2) != text2.size) {
        return bad(o, "a step's text is no UTF-8", i);
    }
    bool ok = true;
    switch (s->kind) {
    case ELM_STEP_NORMALIZE:
        ok = s->a < ELM_N_FORMS;
        break;
    case ELM_STEP_LOWERCASE:
    case ELM_STEP_STRIP:
    case ELM_STEP_STRIP_MARKS:
    case ELM_STEP_PREPEND:
    case ELM_STEP_PREFIX_SPACE:
    case ELM_STEP_DECODE_BYTES:
    case ELM_STEP_DECODE_FUSE:
    case ELM_STEP_DECODE_BYTE_LEVEL:
    case ELM_STEP_DECODE_JOIN:
        break;
    case ELM_STEP_REPLACE:
    case ELM_STEP_METASPACE:
    case ELM_STEP_DECODE_REPLACE:
    case ELM_STEP_DECODE_METASPACE:
        ok = text.size > 0;
        break;
    case ELM_STEP_DECODE_STRIP:
        ok = text.size > 0 && s->a <= ELM_MAX_DECODE_STRIP && s->b <= ELM_MAX_DECODE_STRIP;
        break;
    case ELM_STEP_REPLACE_PATTERN:
    case ELM_STEP_SPLIT:
        ok =
            s->a < o->n_items && t->items[s->a].kind == ELM_ITEM_ALTERNATIVE && s->b < ELM_N_SPLITS;
        break;
    default:
        ok = false;
        break;
    }
    return ok ? ELM_OK : bad(o, "a step that is unknown, or has no sense", i);
}

static elm_status steps(opening *o) {
    elm_tokenizer *t = o->t;
    ELM_TRY(table(o, ELM_TAB_TEXTS, 1, ANY_COUNT, &t->texts, &o->n_texts));
    ELM_TRY(table(o, ELM_TAB_STEPS, sizeof *t->steps, ANY_COUNT, &t->steps, &t->n_steps));
    if (t->n_steps > ELM_MAX_STEPS) return bad(o, "too many steps", t->n_steps);
    t->first_splitter = t->first_decoder = t->bytes_step = t->fuse_step = t->n_steps;
    uint32_t phase = 0;
    for (uint32_t i = 0; i < t->n_steps; i++) {
        const elm_disk_step *s = &t->steps[i];
        ELM_TRY(check_step(o, s, i));
        uint32_t p = s->kind >= ELM_FIRST_DECODER ? 2 : s->kind >= ELM_FIRST_SPLITTER ? 1 : 0;
        if (p < phase) return bad(o, "a step out of order", i);
        phase = p;
        if (p >= 1 && t->first_splitter == t->n_steps) t->first_splitter = i;
        if (p == 2 && t->first_decoder == t->n_steps) t->first_decoder = i;
        if (s->kind == ELM_STEP_DECODE_BYTES) t->bytes_step = i;
        bool fuses = s->kind == ELM_STEP_DECODE_FUSE || s->kind == ELM_STEP_DECODE_BYTE_LEVEL;
        if (fuses && t->fuse_step == t->n_steps) t->fuse_step = i;
    }
    return ELM_OK;
}

elm_status elm_tokenizer_open(const elm_allocator *alloc, elm_span blob, elm_tokenizer **out,
                              elm_error *err) {
    opening o = {.blob = blob, .err = err};
    *out = NULL;
    if ((uintptr_t)blob.data % 8 != 0) {
        return elm_fail(err, ELM_INVALID_ARGUMENT,
                        "the tokenizer section must lie on a multiple of 8 bytes");
    }
    if (blob.size < sizeof *o.head || memcmp(blob.data, "ELMTOK\0\0", 8) != 0) {
        return bad(&o, "it is too short, or has no magic", (uint32_t)(blob.size < sizeof *o.head));
    }
    o.head = (const elm_disk_tokenizer *)(const void *)blob.data;
    if (o.head->version != ELM_TOKENIZER_VERSION) {
        return elm_fail(
            err, ELM_UNSUPPORTED,
            "the tokenizer section has version %u; this program reads %d: convert the model again",
            o.head->version, ELM_TOKENIZER_VERSION);
    }
    if (o.head->model >= ELM_N_MODELS) return bad(&o, "an unknown model", o.head->model);
    if (o.head->n_ids < 1 || o.head->n_ids > ELM_TOKENIZER_MAX_IDS)
        return bad(&o, "a bad number of ids", o.head->n_ids);
    ELM_TRY(elm_alloc(alloc, sizeof *o.t, "a tokenizer", &o.t, err));
    *o.t = (elm_tokenizer){.alloc = alloc,
                           .model = o.head->model,
                           .flags = o.head->flags,
                           .n_ids = o.head->n_ids,
                           .max_spelling = o.head->max_spelling,
                           .unk_id = o.head->unk_id,
                           .unk_score = o.head->unk_score};
    elm_status status = vocabulary(&o);
    if (status == ELM_OK) status = patterns(&o);
    if (status == ELM_OK) status = steps(&o);
    if (status != ELM_OK) {
        elm_tokenizer_close(o.t);
        return status;
    }
    o.t->marks_needed = o.t->added_normalized.n_nodes > 0;
    *out = o.t;
    return ELM_OK;
}

void elm_tokenizer_close(elm_tokenizer *t) {
    if (t) elm_free(t->alloc, t, sizeof *t);
}
