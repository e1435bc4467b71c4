/* tokenizer.c - opening a TOKENIZER blob: bounds of every table and index, checked once; text. */
#include "base/checked.h"
#include "base/hash.h"
#include "text/matcher.h"

#include <string.h>

static elm_status bad(const char *what, elm_error *err) {
    return elm_fail(err, ELM_MALFORMED, "tokenizer section: %s", what);
}

typedef struct opening {
    elm_span blob;
    const elm_disk_tokenizer *head;
    bool ok;
} opening;

/* Table number `index` as `count` elements of `size` bytes; NULL (and ok = false) when it does not
 * fit. */
static const void *table(opening *o, int index, size_t size, uint32_t *count) {
    const elm_disk_table *tab = &o->head->tables[index];
    uint64_t bytes = (uint64_t)tab->count * size;
    if (tab->offset % 8 != 0 || !elm_range_inside(tab->offset, bytes, o->blob.size)) {
        o->ok = false;
        return NULL;
    }
    *count = tab->count;
    return o->blob.data + tab->offset;
}

static bool power_of_two(uint32_t n) {
    return n > 0 && (n & (n - 1)) == 0;
}

static elm_status bind_tables(elm_tokenizer *t, opening *o, elm_error *err) {
    uint32_t n_offsets = 0, n_spellings = 0, n_flags = 0, n_lookup = 0, n_slots = 0, n_scores = 0,
             n_bytes = 0;
    uint32_t n_lengths = 0, n_items = 0, n_ranges = 0, n_texts = 0;
    t->spelling_offsets = table(o, ELM_TAB_SPELLING_OFFSETS, 4, &n_offsets);
    t->spellings = table(o, ELM_TAB_SPELLINGS, 1, &n_spellings);
    t->token_flags = table(o, ELM_TAB_FLAGS, 1, &n_flags);
    t->lookup = table(o, ELM_TAB_LOOKUP, 4, &n_lookup);
    t->merges = table(o, ELM_TAB_MERGES, 12, &t->n_merges);
    t->merge_slots = table(o, ELM_TAB_MERGE_SLOTS, 4, &n_slots);
    t->scores = table(o, ELM_TAB_SCORES, 4, &n_scores);
    t->byte_ids = table(o, ELM_TAB_BYTE_IDS, 4, &n_bytes);
    t->added_lengths = table(o, ELM_TAB_ADDED_LENGTHS, 32, &n_lengths);
    t->steps = table(o, ELM_TAB_STEPS, sizeof *t->steps, &t->n_steps);
    t->items = table(o, ELM_TAB_ITEMS, sizeof *t->items, &n_items);
    t->ranges = table(o, ELM_TAB_RANGES, 8, &n_ranges);
    t->prefix = table(o, ELM_TAB_PREFIX, 4, &t->n_prefix);
    t->suffix = table(o, ELM_TAB_SUFFIX, 4, &t->n_suffix);
    t->texts = table(o, ELM_TAB_TEXTS, 1, &n_texts);
    if (!o->ok || t->n_ids < 1 || t->n_ids > ELM_TOKENIZER_MAX_IDS || n_offsets != t->n_ids + 1 ||
        n_flags != t->n_ids || !power_of_two(n_lookup) || n_bytes != 256 || n_lengths != 256 ||
        t->n_merges > ELM_TOKENIZER_MAX_MERGES || (t->n_merges > 0 && !power_of_two(n_slots)) ||
        t->n_steps > ELM_MAX_STEPS || t->n_prefix > 16 || t->n_suffix > 16 ||
        (t->model == ELM_MODEL_SPM && n_scores != t->n_ids)) {
        return bad("a table does not fit", err);
    }
    t->lookup_mask = n_lookup - 1;
    t->merge_mask = n_slots - 1;
    for (uint32_t i = 0; i < t->n_ids; i++) {
        if (t->spelling_offsets[i] > t->spelling_offsets[i + 1])
            return bad("spellings overlap", err);
    }
    if (t->spelling_offsets[t->n_ids] > n_spellings) return bad("spellings lie outside", err);
    for (uint32_t i = 0; i < t->n_merges; i++) {
        if (t->merges[(size_t)i * 3 + 2] >= t->n_ids) return bad("a merge gives no token", err);
    }
    for (int i = 0; i < 256; i++) {
        if (t->byte_ids[i] < -1 || t->byte_ids[i] >= (int32_t)t->n_ids)
            return bad("a byte has no token", err);
    }
    for (uint32_t i = 0; i < t->n_prefix; i++) {
        if (t->prefix[i] < 0 || t->prefix[i] >= (int32_t)t->n_ids)
            return bad("a prefix is no token", err);
    }
    for (uint32_t i = 0; i < t->n_suffix; i++) {
        if (t->suffix[i] < 0 || t->suffix[i] >= (int32_t)t->n_ids)
            return bad("a suffix is no token", err);
    }
    if (t->unk_id < -1 || t->unk_id >= (int32_t)t->n_ids)
        return bad("the unknown token is none", err);
    /* Every program must end before the table does, whatever item it is entered at. */
    if (n_items > ELM_MAX_PATTERN_ITEMS ||
        (n_items > 0 && t->items[n_items - 1].kind != ELM_ITEM_END)) {
        return bad("a pattern has no end", err);
    }
    for (uint32_t i = 0; i < n_items; i++) {
        const elm_disk_item *item = &t->items[i];
        if (item->kind >= ELM_N_ITEM_KINDS ||
            !elm_range_inside(item->first_range, item->n_ranges, n_ranges)) {
            return bad("a pattern item does not fit", err);
        }
    }
    for (uint32_t i = 0; i < t->n_steps; i++) {
        const elm_disk_step *s = &t->steps[i];
        if (!elm_range_inside(s->text, s->text_bytes, n_texts) ||
            !elm_range_inside(s->text2, s->text2_bytes, n_texts) ||
            (s->kind == ELM_STEP_SPLIT && (s->a >= n_items || s->b >= ELM_N_SPLITS)) ||
            ((s->kind == ELM_STEP_REPLACE || s->kind == ELM_STEP_DECODE_REPLACE) &&
             s->text_bytes == 0)) {
            return bad("a step does not fit", err);
        }
        if (s->kind == ELM_STEP_DECODE_STRIP_LEFT) t->strip_left = s->a;
    }
    return ELM_OK;
}

elm_status elm_tokenizer_open(const elm_allocator *alloc, elm_span blob, elm_tokenizer **out,
                              elm_error *err) {
    elm_tokenizer *t = NULL;
    *out = NULL;
    if (blob.size < sizeof(elm_disk_tokenizer) || memcmp(blob.data, "ELMTOK\0\0", 8) != 0) {
        return bad("it is too short, or has no magic", err);
    }
    opening o = {blob, (const elm_disk_tokenizer *)(const void *)blob.data, true};
    if (o.head->version != ELM_TOKENIZER_VERSION) {
        return elm_fail(err, ELM_UNSUPPORTED,
                        "the tokenizer section has version %u; this program reads %d",
                        o.head->version, ELM_TOKENIZER_VERSION);
    }
    if (o.head->model > ELM_MODEL_SPM) return bad("an unknown model", err);
    ELM_TRY(elm_alloc(alloc, sizeof *t, "a tokenizer", &t, err));
    t->alloc = alloc;
    t->model = o.head->model;
    t->flags = o.head->flags;
    t->n_ids = o.head->n_ids;
    t->unk_id = o.head->unk_id;
    elm_status status = bind_tables(t, &o, err);
    if (status != ELM_OK) {
        elm_tokenizer_close(t);
        return status;
    }
    for (uint32_t i = 0; i < t->n_ids; i++) {
        if ((t->token_flags[i] & (ELM_TOKEN_ADDED | ELM_TOKEN_NORMALIZED)) ==
            (ELM_TOKEN_ADDED | ELM_TOKEN_NORMALIZED)) {
            t->has_normalized_added = true;
        }
    }
    *out = t;
    return ELM_OK;
}

void elm_tokenizer_close(elm_tokenizer *t) {
    if (t) elm_free(t->alloc, t, sizeof *t);
}

void elm_tokenizer_get_info(const elm_tokenizer *t, elm_tokenizer_info *out) {
    out->n_ids = t->n_ids;
    out->bos_id = t->n_prefix > 0 ? t->prefix[0] : ELM_NO_TOKEN;
    out->eos_id = t->n_suffix > 0 ? t->suffix[0] : ELM_NO_TOKEN;
    out->unk_id = t->unk_id;
    out->kind = t->model == ELM_MODEL_SPM ? "spm" : "bpe";
}

elm_span elm_tokenizer_spelling(const elm_tokenizer *t, int32_t id) {
    if (id < 0 || (uint32_t)id >= t->n_ids) return elm_span_of(NULL, 0);
    uint32_t begin = t->spelling_offsets[id];
    return elm_span_of(t->spellings + begin, t->spelling_offsets[id + 1] - begin);
}

bool elm_tokenizer_is_special(const elm_tokenizer *t, int32_t id) {
    return id >= 0 && (uint32_t)id < t->n_ids && (t->token_flags[id] & ELM_TOKEN_SPECIAL) != 0;
}

int32_t elm_tokenizer_lookup(const elm_tokenizer *t, const uint8_t *text, size_t size) {
    uint32_t slot = (uint32_t)elm_fnv1a(text, size) & t->lookup_mask;
    for (uint32_t probes = 0; probes <= t->lookup_mask; probes++) {
        uint32_t index = t->lookup[slot];
        if (index == 0 || index > t->n_ids) return ELM_NO_TOKEN;
        elm_span s = elm_tokenizer_spelling(t, (int32_t)(index - 1));
        if (s.size == size && memcmp(s.data, text, size) == 0) return (int32_t)(index - 1);
        slot = (slot + 1) & t->lookup_mask;
    }
    return ELM_NO_TOKEN;
}

int32_t elm_tokenizer_find(const elm_tokenizer *t, elm_span text) {
    return elm_tokenizer_lookup(t, text.data, text.size);
}
