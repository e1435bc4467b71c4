/* tokenizer_blob_write.c - from the spec to the mapped tables; parse. */
#include "parse/tokenizer_blob_write.h"

#include "parse/trie_build.h"
#include "text/model.h"
#include "text/normalize.h"
#include "text/points.h"

#include <stddef.h>

enum {
    LEAST_SLOTS = 64,
    JOIN_BITS = 1 << 24, /* the set before it is folded */
    JOIN_LEAST_BYTES = 64,
    MOST_GROWTH = 16, /* a hash table against the one that fits its entries */
    JOIN_SPARSE = 24, /* one bit in so many may be set */
};

typedef struct writing {
    elm_tokenizer_spec *s;
    elm_buf *blob;
    elm_error *err;
} writing;

static elm_status put_table(writing *w, int index, const void *data, size_t count, size_t size) {
    elm_buf_align(w->blob, 8);
    elm_disk_table tab = {(uint32_t)w->blob->size, (uint32_t)count};
    elm_buf_append(w->blob, data, count * size);
    ELM_TRY(elm_buf_check(w->blob, "the tokenizer section", w->err));
    memcpy(w->blob->data + offsetof(elm_disk_tokenizer, tables) + (size_t)index * sizeof tab, &tab,
           sizeof tab);
    return ELM_OK;
}

static elm_status put_buf(writing *w, int index, const elm_buf *buf, size_t size) {
    return put_table(w, index, buf->data, buf->size / size, size);
}

static bool is_special(const elm_tokenizer_spec *s, uint32_t id) {
    return (s->token_flags[id] & ELM_TOKEN_SPECIAL) != 0;
}

/* What the lookup table holds: the model never makes a special token, so that no content can spell
 * one. */
static bool is_looked_up(const elm_tokenizer_spec *s, uint32_t id) {
    return s->in_model[id] && !is_special(s, id) && s->spellings[id].size > 0;
}

/* ---- hash tables ---- */

typedef bool (*same_fn)(const elm_tokenizer_spec *s, uint32_t a, uint32_t b);

/* Finds the slot of an entry; false when that takes too many probes for the reader. */
static bool insert(const elm_tokenizer_spec *s, uint32_t *slots, uint32_t mask, uint32_t hash,
                   uint32_t entry, same_fn same) {
    for (uint32_t probes = 0, slot = hash & mask; probes < ELM_MAX_PROBES;
         probes++, slot = (slot + 1) & mask) {
        if (slots[slot] && !same(s, slots[slot] - 1, entry)) continue;
        slots[slot] = entry + 1; /* of equal entries the last one counts, as in a map */
        return true;
    }
    return false;
}

static bool same_spelling(const elm_tokenizer_spec *s, uint32_t a, uint32_t b) {
    return elm_span_equal(s->spellings[a], s->spellings[b]);
}
static bool same_pair(const elm_tokenizer_spec *s, uint32_t a, uint32_t b) {
    return memcmp(s->merges + (size_t)a * 3, s->merges + (size_t)b * 3, 2 * sizeof *s->merges) == 0;
}

static bool fill_lookup(const elm_tokenizer_spec *s, uint32_t *slots, uint32_t mask) {
    for (uint32_t i = 0; i < s->n_ids; i++) {
        uint32_t hash = (uint32_t)elm_fnv1a(s->spellings[i].data, s->spellings[i].size);
        if (is_looked_up(s, i) && !insert(s, slots, mask, hash, i, same_spelling)) return false;
    }
    return true;
}

static bool fill_merges(const elm_tokenizer_spec *s, uint32_t *slots, uint32_t mask) {
    for (uint32_t i = 0; i < s->n_merges; i++) {
        const uint32_t *m = s->merges + (size_t)i * 3;
        if (is_special(s, m[2])) continue;
        if (!insert(s, slots, mask, elm_pair_hash(m[0], m[1]), i, same_pair)) return false;
    }
    return true;
}

static elm_status put_hash(writing *w, int index, uint32_t n,
                           bool (*fill)(const elm_tokenizer_spec *, uint32_t *, uint32_t)) {
    uint64_t slots = LEAST_SLOTS;
    while (slots < (uint64_t)n * 2) slots *= 2;
    /* Hashes of a vocabulary that is not made to collide fit at once; one that is must not cost memory without end. */
    for (uint64_t most = slots * MOST_GROWTH; slots <= most; slots *= 2) {
        uint32_t *table = elm_arena_array(&w->s->arena, (size_t)slots, sizeof *table);
        if (!table)
            return elm_fail_oom(w->err, (size_t)slots * sizeof *table, "the tokenizer's tables");
        if (fill(w->s, table, (uint32_t)slots - 1))
            return put_table(w, index, table, (size_t)slots, 4);
    }
    return elm_fail(w->err, ELM_UNSUPPORTED, "the vocabulary has too many tokens of one hash");
}

/* ---- vocabulary ---- */

static elm_status put_spellings(writing *w, uint32_t *longest) {
    elm_tokenizer_spec *s = w->s;
    uint32_t *offsets = elm_arena_array(&s->arena, (size_t)s->n_ids + 1, sizeof *offsets);
    if (!offsets) return elm_fail_oom(w->err, s->n_ids * sizeof *offsets, "the vocabulary");
    uint64_t total = 0;
    *longest = 0;
    for (uint32_t i = 0; i < s->n_ids; i++) {
        offsets[i] = (uint32_t)total;
        total += s->spellings[i].size;
        if (total > UINT32_MAX)
            return elm_fail(w->err, ELM_UNSUPPORTED, "the vocabulary is larger than 4 GiB");
        if (is_looked_up(s, i) && s->spellings[i].size > *longest)
            *longest = (uint32_t)s->spellings[i].size;
    }
    offsets[s->n_ids] = (uint32_t)total;
    ELM_TRY(put_table(w, ELM_TAB_SPELLING_OFFSETS, offsets, (size_t)s->n_ids + 1, 4));
    ELM_TRY(put_table(w, ELM_TAB_SPELLINGS, NULL, 0, 1));
    for (uint32_t i = 0; i < s->n_ids; i++)
        elm_buf_append(w->blob, s->spellings[i].data, s->spellings[i].size);
    ELM_TRY(elm_buf_check(w->blob, "the tokenizer section", w->err));
    elm_disk_tokenizer *head = (elm_disk_tokenizer *)(void *)w->blob->data;
    head->tables[ELM_TAB_SPELLINGS].count = (uint32_t)total;
    ELM_TRY(put_table(w, ELM_TAB_FLAGS, s->token_flags, s->n_ids, 1));
    return put_hash(w, ELM_TAB_LOOKUP, s->n_ids, fill_lookup);
}

static elm_status put_trie(writing *w, int index, elm_trie_key *keys, size_t n) {
    elm_trie trie;
    for (size_t i = 0; i < n; i++) {
        if (keys[i].text.size <= ELM_MAX_ADDED_BYTES) continue;
        return elm_fail(w->err, ELM_UNSUPPORTED, "token %d has %zu bytes; at most %d",
                        keys[i].value, keys[i].text.size, ELM_MAX_ADDED_BYTES);
    }
    ELM_TRY(elm_trie_build(&w->s->arena, keys, n, &trie, w->err));
    if (trie.n_nodes == 0) return ELM_OK;
    ELM_TRY(put_table(w, index, trie.first, (size_t)trie.n_nodes + 1, 4));
    ELM_TRY(put_table(w, index + 1, trie.bytes, trie.n_nodes - 1, 1));
    return put_table(w, index + 2, trie.values, trie.n_nodes, 4);
}

static elm_status put_tries(writing *w) {
    elm_tokenizer_spec *s = w->s;
    size_t n_raw = 0, n_normal = 0, n_pieces = 0;
    elm_trie_key *raw = elm_arena_array(&s->arena, s->n_ids, sizeof *raw);
    elm_trie_key *normal = elm_arena_array(&s->arena, s->n_ids, sizeof *normal);
    elm_trie_key *pieces = elm_arena_array(&s->arena, s->n_ids, sizeof *pieces);
    if (!raw || !normal || !pieces)
        return elm_fail_oom(w->err, s->n_ids * sizeof *raw, "the vocabulary");
    for (uint32_t i = 0; i < s->n_ids; i++) {
        elm_span text = s->spellings[i];
        if (s->model == ELM_MODEL_UNIGRAM && is_looked_up(s, i))
            pieces[n_pieces++] = (elm_trie_key){text, (int32_t)i};
        if (!(s->token_flags[i] & ELM_TOKEN_ADDED)) continue;
        if (s->normalized[i].size > 0)
            normal[n_normal++] = (elm_trie_key){s->normalized[i], (int32_t)i};
        else if (text.size > 0)
            raw[n_raw++] = (elm_trie_key){text, (int32_t)i};
    }
    ELM_TRY(put_trie(w, ELM_TAB_ADDED, raw, n_raw));
    ELM_TRY(put_trie(w, ELM_TAB_ADDED_NORMALIZED, normal, n_normal));
    return put_trie(w, ELM_TAB_PIECES, pieces, n_pieces);
}

/* ---- joins ---- */

static void set_bit(uint8_t *set, uint32_t bit) {
    set[bit >> 3] |= (uint8_t)(1u << (bit & 7));
}

static void join_within(const elm_tokenizer_spec *s, elm_span text, uint8_t *set) {
    uint32_t a, b;
    if (text.size == 0) return;
    if (s->flags & ELM_TOK_BYTE_LEVEL) {
        for (size_t i = 1; i < text.size; i++)
            set_bit(set, elm_pair_hash(text.data[i - 1], text.data[i]) & (JOIN_BITS - 1));
        return;
    }
    for (size_t at = elm_point_at(text, 0, &a); at < text.size; a = b) {
        at += elm_point_at(text, at, &b);
        set_bit(set, elm_pair_hash(a, b) & (JOIN_BITS - 1));
    }
}

/* A byte that the vocabulary lacks is dropped, or becomes an unknown token that fuses with others:
 * its neighbours meet. */
static void join_missing_bytes(const elm_tokenizer_spec *s, uint8_t *set) {
    for (uint32_t missing = 0; missing < 256 && (s->flags & ELM_TOK_BYTE_LEVEL); missing++) {
        for (uint32_t other = 0; other < 256 && s->byte_ids[missing] < 0; other++) {
            set_bit(set, elm_pair_hash(missing, other) & (JOIN_BITS - 1));
            set_bit(set, elm_pair_hash(other, missing) & (JOIN_BITS - 1));
        }
    }
}

/* Cutting is exact only while a symbol is the text that it stands for: not when unknown characters
 * are dropped or fuse, nor when byte tokens or the unknown token take part in merges. */
static bool can_cut(const elm_tokenizer_spec *s) {
    bool all_bytes = true;
    uint8_t byte;
    if (s->model == ELM_MODEL_SPM) return true;
    for (int i = 0; i < 256; i++) all_bytes = all_bytes && s->byte_ids[i] >= 0;
    bool byte_level = (s->flags & ELM_TOK_BYTE_LEVEL) != 0;
    if (!byte_level && !(all_bytes && (s->flags & ELM_TOK_BYTE_FALLBACK))) return false;
    for (uint32_t i = 0; i < s->n_merges; i++) {
        for (int k = 0; k < 3; k++) {
            uint32_t id = s->merges[(size_t)i * 3 + (size_t)k];
            bool fallback = !byte_level && elm_is_byte_token(s->spellings[id], false, &byte);
            if (fallback || (int32_t)id == s->unk_id) return false;
        }
    }
    return true;
}

static elm_status put_joins(writing *w) {
    elm_tokenizer_spec *s = w->s;
    size_t bytes = JOIN_BITS / 8;
    if (s->model == ELM_MODEL_UNIGRAM || !can_cut(s)) return ELM_OK;
    uint8_t *set = elm_arena_array(&s->arena, bytes, 1);
    if (!set) return elm_fail_oom(w->err, bytes, "the tokenizer's tables");
    join_missing_bytes(s, set);
    for (uint32_t i = 0; i < s->n_merges; i++)
        join_within(s, s->spellings[s->merges[(size_t)i * 3 + 2]], set);
    for (uint32_t i = 0; s->model == ELM_MODEL_SPM && i < s->n_ids; i++) {
        if (is_looked_up(s, i)) join_within(s, s->spellings[i], set);
    }
    size_t ones = 0;
    for (size_t i = 0; i < bytes; i++) ones += (size_t)__builtin_popcount(set[i]);
    /* The hash is masked: half of the set is the set of half the size, united with the other half.
     */
    for (; bytes > JOIN_LEAST_BYTES && ones * JOIN_SPARSE < bytes * 4; bytes /= 2) {
        for (size_t i = 0; i < bytes / 2; i++) set[i] |= set[i + bytes / 2];
    }
    return put_table(w, ELM_TAB_JOINS, set, bytes, 1);
}

/* ---- what the tables themselves tell ---- */

/* The token's spelling becomes what is matched, as Hugging Face decodes it; the model does not find
 * another spelling. */
static void normalized_added(elm_tokenizer_spec *s, uint32_t id, const uint8_t *text, size_t size) {
    elm_span spelling = elm_span_of(text, size);
    if (!elm_span_equal(spelling, s->spellings[id])) s->in_model[id] = 0;
    s->normalized[id] = s->spellings[id] = spelling;
}

/* Runs the contents of normalised added tokens through the normalizer, over a section that has only
 * the steps. */
static elm_status normalize_added(writing *w) {
    elm_tokenizer_spec *s = w->s;
    elm_tokenizer *t;
    elm_encoding e;
    elm_buf ids;
    ELM_TRY(elm_tokenizer_open(s->arena.alloc, elm_buf_span(w->blob), &t, w->err));
    elm_buf_init(&ids, s->arena.alloc, SIZE_MAX / 16);
    elm_encoding_init(&e, t, &ids, ELM_MAX_ADDED_BYTES);
    elm_status status = ELM_OK;
    for (uint32_t i = 0; i < s->n_ids && status == ELM_OK; i++) {
        if (s->normalized[i].size == 0) continue;
        e.fuel = (uint64_t)1 << 20;
        elm_span text = elm_normalize(&e, (elm_marked){s->normalized[i], NULL, false}).text;
        uint8_t *copy = elm_arena_alloc(&s->arena, text.size + 1, 1);
        if (!copy)
            status = elm_fail_oom(w->err, text.size, "an added token");
        else if (text.size == 0)
            s->normalized[i] = elm_span_of(NULL, 0), s->token_flags[i] &= (uint8_t)~ELM_TOKEN_ADDED;
        else
            normalized_added(s, i, memcpy(copy, text.data, text.size), text.size);
    }
    elm_status end = elm_encoding_finish(&e, status == ELM_OK ? w->err : NULL);
    elm_buf_free(&ids);
    elm_tokenizer_close(t);
    return status == ELM_OK ? end : status;
}

/* Marks the tokens that the model makes of their own spelling; most words of a text are such
 * tokens. */
static elm_status mark_wholes(writing *w) {
    elm_tokenizer_spec *s = w->s;
    elm_tokenizer *t;
    elm_encoding e;
    elm_buf ids;
    if (s->model == ELM_MODEL_UNIGRAM) return ELM_OK;
    ELM_TRY(elm_tokenizer_open(s->arena.alloc, elm_buf_span(w->blob), &t, w->err));
    elm_buf_init(&ids, s->arena.alloc, SIZE_MAX / 16);
    elm_encoding_init(&e, t, &ids, ELM_MAX_ADDED_BYTES);
    uint8_t *flags =
        w->blob->data + ((elm_disk_tokenizer *)(void *)w->blob->data)->tables[ELM_TAB_FLAGS].offset;
    for (uint32_t i = 0; i < s->n_ids && ids.status == ELM_OK; i++) {
        if (!is_looked_up(s, i)) continue;
        elm_buf_clear(&ids);
        if (!s->ignore_merges) elm_model_encode(&e, s->spellings[i]);
        bool whole = s->ignore_merges;
        if (ids.size == sizeof(int32_t))
            whole = *(const int32_t *)(const void *)ids.data == (int32_t)i;
        if (whole) flags[i] |= ELM_TOKEN_WHOLE;
    }
    elm_status status = elm_encoding_finish(&e, w->err);
    elm_buf_free(&ids);
    elm_tokenizer_close(t);
    return status;
}

static bool any_normalized(const elm_tokenizer_spec *s) {
    for (uint32_t i = 0; i < s->n_ids; i++) {
        if (s->normalized[i].size > 0) return true;
    }
    return false;
}

static elm_status put_steps(writing *w) {
    elm_tokenizer_spec *s = w->s;
    ELM_TRY(put_table(w, ELM_TAB_STEPS, s->steps, s->n_steps, sizeof s->steps[0]));
    ELM_TRY(put_buf(w, ELM_TAB_ITEMS, &s->items, sizeof(elm_disk_item)));
    ELM_TRY(put_buf(w, ELM_TAB_CLASSES, &s->classes, sizeof(elm_disk_class)));
    ELM_TRY(put_buf(w, ELM_TAB_RANGES, &s->ranges, 8));
    return put_buf(w, ELM_TAB_TEXTS, &s->texts, 1);
}

static elm_status put_head(writing *w) {
    const elm_tokenizer_spec *s = w->s;
    elm_disk_tokenizer head = {.version = ELM_TOKENIZER_VERSION,
                               .model = s->model,
                               .flags = s->flags,
                               .n_ids = s->n_ids,
                               .unk_id = s->unk_id,
                               .unk_score = s->unk_score};
    memcpy(head.magic, "ELMTOK\0\0", 8);
    elm_buf_append(w->blob, &head, sizeof head);
    return elm_buf_check(w->blob, "the tokenizer section", w->err);
}

static elm_status put_model(writing *w) {
    elm_tokenizer_spec *s = w->s;
    uint32_t longest = 0;
    ELM_TRY(put_spellings(w, &longest));
    ((elm_disk_tokenizer *)(void *)w->blob->data)->max_spelling = longest;
    ELM_TRY(put_table(w, ELM_TAB_MERGES, s->merges, s->n_merges, 12));
    ELM_TRY(put_hash(w, ELM_TAB_MERGE_SLOTS, s->n_merges, fill_merges));
    ELM_TRY(put_joins(w));
    ELM_TRY(put_table(w, ELM_TAB_SCORES, s->scores, s->model == ELM_MODEL_BPE ? 0 : s->n_ids, 8));
    ELM_TRY(put_table(w, ELM_TAB_BYTE_IDS, s->byte_ids, 256, 4));
    ELM_TRY(put_table(w, ELM_TAB_PREFIX, s->prefix, s->n_prefix, 4));
    ELM_TRY(put_table(w, ELM_TAB_SUFFIX, s->suffix, s->n_suffix, 4));
    return put_tries(w);
}

elm_status elm_tokenizer_spec_write(elm_tokenizer_spec *s, elm_buf *blob, elm_error *err) {
    writing w = {s, blob, err};
    if (blob->max_bytes > UINT32_MAX)
        blob->max_bytes = UINT32_MAX; /* its tables have u32 offsets */
    if (any_normalized(s)) {
        ELM_TRY(put_head(&w));
        ELM_TRY(put_model(&w));
        ELM_TRY(put_steps(&w));
        ELM_TRY(normalize_added(&w));
        elm_buf_clear(blob);
    }
    ELM_TRY(put_head(&w));
    ELM_TRY(put_model(&w));
    ELM_TRY(put_steps(&w));
    return mark_wholes(&w);
}
