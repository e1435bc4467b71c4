/* bpe.c - byte pair encoding, merged by rank or (SentencePiece) by score; text.
 *
 * The pair with the lowest key merges first, the leftmost of equals before the others. A piece is
 * first cut where no token of the vocabulary holds the two symbols side by side: no merge ever
 * crosses such a place, so the parts do not know of each other. What is left is short in any
 * language; a hostile part of a million symbols goes through a heap: O(n log n).
 *
 *   symbols[]   id, neighbours, key of the pair with the next symbol      heap[]   key << 32 |
 * index of the left symbol
 *
 * A heap entry is stale when its symbol is gone or has another key by now. */
#include "text/model.h"
#include "text/points.h"

enum { NONE = -1, SMALL_PART = 32, HEAP_FAN = 4 };
#define NO_KEY UINT32_MAX

typedef struct symbol {
    int32_t id;             /* -1: a character that the vocabulary does not have (by score only) */
    int32_t previous, next; /* indices, NONE at the ends */
    uint32_t key;           /* of the pair with the next one, NO_KEY: they do not merge */
    uint32_t begin;         /* first byte in the part */
} symbol;

static symbol *symbols_of(elm_encoding *e) {
    return (symbol *)(void *)e->symbols.data;
}

/* ---- keys ---- */

/* Scores sort the other way round: the order of the floats, reversed. */
static uint32_t score_key(double score) {
    float f = (float)score;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    bits = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return bits == 0 ? NO_KEY - 1 : NO_KEY - bits;
}

/* Key of symbols `a` and `b`, which together are part[begin, end). */
static uint32_t pair_key(const elm_tokenizer *t, elm_span part, int32_t a, int32_t b,
                         uint32_t begin, uint32_t end) {
    if (t->model == ELM_MODEL_BPE) return elm_tokenizer_rank(t, (uint32_t)a, (uint32_t)b);
    int32_t id = elm_tokenizer_lookup(t, part.data + begin, end - begin);
    return id < 0 ? NO_KEY : score_key(t->scores[id]);
}

/* The symbol that a pair becomes. By score it is known by its text, so the id is only looked up at
 * the end. */
static int32_t merged_id(const elm_tokenizer *t, uint32_t key) {
    return t->model == ELM_MODEL_BPE ? (int32_t)t->merges[(size_t)key * 3 + 2] : 0;
}

/* ---- symbols of a part ---- */

typedef struct splitter {
    elm_encoding *e;
    int32_t n;
    bool unk; /* an unknown character waits: the next one may fuse with it */
    uint32_t unk_begin;
} splitter;

static void add(splitter *s, int32_t id, size_t begin) {
    symbol x = {id, s->n - 1, s->n + 1, NO_KEY, (uint32_t)begin};
    elm_buf_append(&s->e->symbols, &x, sizeof x);
    s->n++;
}

static void add_waiting(splitter *s) {
    if (s->unk) add(s, s->e->t->unk_id, s->unk_begin);
    s->unk = false;
}

/* Bytes when there is a token for each, else the unknown token. Byte tokens overtake one that
 * waits, as in Hugging Face's BPE. */
static void add_unknown(splitter *s, elm_span part, size_t begin, size_t end) {
    const elm_tokenizer *t = s->e->t;
    bool bytes = (t->flags & ELM_TOK_BYTE_FALLBACK) != 0;
    for (size_t i = begin; i < end && bytes; i++) bytes = t->byte_ids[part.data[i]] >= 0;
    if (bytes) {
        for (size_t i = begin; i < end; i++) add(s, t->byte_ids[part.data[i]], i);
    } else if (t->unk_id != ELM_NO_TOKEN) {
        if (s->unk && (t->flags & ELM_TOK_FUSE_UNK)) return;
        add_waiting(s);
        s->unk = true;
        s->unk_begin = (uint32_t)begin;
    }
}

/* Returns how many symbols there are. */
static int32_t split(elm_encoding *e, elm_span part) {
    const elm_tokenizer *t = e->t;
    splitter s = {.e = e};
    e->symbols.size = 0;
    if (t->flags & ELM_TOK_BYTE_LEVEL) {
        for (size_t i = 0; i < part.size; i++) {
            int32_t id = t->byte_ids[part.data[i]];
            if (id < 0) {
                add_unknown(&s, part, i, i + 1);
                continue;
            }
            add_waiting(&s);
            add(&s, id, i);
        }
    } else {
        uint32_t c;
        for (size_t at = 0, n; at < part.size; at += n) {
            n = elm_point_at(part, at, &c);
            int32_t id = elm_tokenizer_lookup(t, part.data + at, n);
            if (id < 0 && t->model == ELM_MODEL_BPE) {
                add_unknown(&s, part, at, at + n);
                continue;
            }
            add_waiting(&s);
            add(&s, id, at);
        }
    }
    add_waiting(&s);
    if (e->symbols.status != ELM_OK || s.n == 0) return 0;
    symbols_of(e)[s.n - 1].next = NONE;
    return s.n;
}

/* ---- a heap of numbers, the smallest first ---- */

static void sift_down(uint64_t *h, size_t n, size_t i) {
    uint64_t x = h[i];
    for (size_t child; (child = HEAP_FAN * i + 1) < n;) {
        size_t end = child + HEAP_FAN < n ? child + HEAP_FAN : n, best = child;
        for (size_t k = child + 1; k < end; k++) {
            if (h[k] < h[best]) best = k;
        }
        if (h[best] >= x) break;
        h[i] = h[best];
        i = best;
    }
    h[i] = x;
}

static void heap_push(elm_buf *heap, uint64_t x) {
    elm_buf_append(heap, &x, sizeof x);
    if (heap->status != ELM_OK) return;
    uint64_t *h = (uint64_t *)(void *)heap->data;
    size_t i = heap->size / sizeof x - 1;
    for (size_t up; i > 0 && h[up = (i - 1) / HEAP_FAN] > x; i = up) h[i] = h[up];
    h[i] = x;
}

static uint64_t heap_pop(elm_buf *heap) {
    uint64_t *h = (uint64_t *)(void *)heap->data, top = h[0];
    heap->size -= sizeof *h;
    size_t n = heap->size / sizeof *h;
    h[0] = h[n];
    if (n > 0) sift_down(h, n, 0);
    return top;
}

/* ---- merging ---- */

static uint32_t end_of(const symbol *s, const symbol *x, elm_span part) {
    return x->next == NONE ? (uint32_t)part.size : s[x->next].begin;
}

static void find_key(const elm_tokenizer *t, elm_span part, symbol *s, int32_t left) {
    symbol *x = &s[left];
    x->key = x->next == NONE
                 ? NO_KEY
                 : pair_key(t, part, x->id, s[x->next].id, x->begin, end_of(s, &s[x->next], part));
}

static void merge_large(elm_encoding *e, elm_span part, int32_t n) {
    symbol *s = symbols_of(e);
    elm_buf *heap = &e->heap;
    heap->size = 0;
    for (int32_t i = 0; i < n; i++) {
        find_key(e->t, part, s, i);
        uint64_t entry = (uint64_t)s[i].key << 32 | (uint32_t)i;
        if (s[i].key != NO_KEY) elm_buf_append(heap, &entry, sizeof entry);
    }
    size_t entries = heap->size / sizeof(uint64_t);
    for (size_t i = heap->status == ELM_OK ? entries / HEAP_FAN + 1 : 0; i-- > 0;) {
        if (i < entries) sift_down((uint64_t *)(void *)heap->data, entries, i);
    }
    while (heap->size > 0 && heap->status == ELM_OK) {
        uint64_t entry = heap_pop(heap);
        int32_t left = (int32_t)(entry & UINT32_MAX);
        symbol *x = &s[left];
        if (x->key != entry >> 32) continue; /* stale; a symbol that is gone has no key */
        symbol *y = &s[x->next];
        x->id = merged_id(e->t, x->key);
        x->next = y->next;
        y->key = NO_KEY;
        if (x->next != NONE) s[x->next].previous = left;
        find_key(e->t, part, s, left);
        if (x->key != NO_KEY) heap_push(heap, (uint64_t)x->key << 32 | (uint32_t)left);
        if (x->previous == NONE) continue;
        find_key(e->t, part, s, x->previous);
        uint32_t key = s[x->previous].key;
        if (key != NO_KEY) heap_push(heap, (uint64_t)key << 32 | (uint32_t)x->previous);
    }
}

/* Few symbols lie in arrays, and the best pair is looked for again and again. Returns how many are
 * left. */
static int32_t merge_small(elm_encoding *e, elm_span part, int32_t n) {
    const elm_tokenizer *t = e->t;
    symbol *s = symbols_of(e);
    int32_t ids[SMALL_PART];
    uint32_t keys[SMALL_PART], begins[SMALL_PART + 2];
    for (int32_t i = 0; i < n; i++) {
        ids[i] = s[i].id;
        begins[i] = s[i].begin;
    }
    begins[n] = (uint32_t)part.size;
    for (int32_t i = 0; i + 1 < n; i++)
        keys[i] = pair_key(t, part, ids[i], ids[i + 1], begins[i], begins[i + 2]);
    while (n > 1) {
        int32_t best = 0;
        for (int32_t i = 1; i + 1 < n; i++) best = keys[i] < keys[best] ? i : best;
        if (keys[best] == NO_KEY) break;
        ids[best] = merged_id(t, keys[best]);
        n--;
        for (int32_t i = best + 1; i < n; i++) {
            ids[i] = ids[i + 1];
            begins[i] = begins[i + 1];
        }
        for (int32_t i = best; i + 1 < n; i++) keys[i] = keys[i + 1];
        begins[n] = (uint32_t)part.size;
        if (best + 1 < n)
            keys[best] =
                pair_key(t, part, ids[best], ids[best + 1], begins[best], begins[best + 2]);
        if (best > 0)
            keys[best - 1] =
                pair_key(t, part, ids[best - 1], ids[best], begins[best - 1], begins[best + 1]);
    }
    for (int32_t i = 0; i < n; i++)
        s[i] = (symbol){ids[i], i - 1, i + 1 < n ? i + 1 : NONE, NO_KEY, begins[i]};
    return n;
}

/* ---- ids ---- */

/* By score: what the text of a symbol is; a character that the vocabulary lacks becomes its bytes,
 * or unknown. */
static void emit_text(elm_encoding *e, elm_span text) {
    const elm_tokenizer *t = e->t;
    int32_t id = elm_tokenizer_lookup(t, text.data, text.size);
    if (id >= 0) {
        elm_encoding_emit(e, id);
        return;
    }
    for (size_t i = 0; i < text.size; i++) {
        id = t->byte_ids[text.data[i]];
        if (id < 0) id = t->unk_id;
        if (id >= 0) elm_encoding_emit(e, id);
    }
}

static int32_t whole(const elm_tokenizer *t, elm_span piece) {
    int32_t id = elm_tokenizer_lookup(t, piece.data, piece.size);
    return id >= 0 && (t->token_flags[id] & ELM_TOKEN_WHOLE) ? id : ELM_NO_TOKEN;
}

static void encode_part(elm_encoding *e, elm_span part) {
    int32_t n = split(e, part);
    if (n == 0) return;
    if (n <= SMALL_PART)
        merge_small(e, part, n);
    else
        merge_large(e, part, n);
    if (e->heap.status != ELM_OK) return;
    const symbol *s = symbols_of(e);
    for (int32_t i = 0; i != NONE; i = s[i].next) {
        if (e->t->model == ELM_MODEL_BPE)
            elm_encoding_emit(e, s[i].id);
        else
            emit_text(e, elm_span_of(part.data + s[i].begin, end_of(s, &s[i], part) - s[i].begin));
    }
}

/* The next place behind `at` where a piece may be cut. */
static size_t next_cut(const elm_tokenizer *t, elm_span piece, size_t at) {
    uint32_t a, b;
    if (!t->joins) return piece.size;
    if (t->flags & ELM_TOK_BYTE_LEVEL) {
        for (at++; at < piece.size && elm_tokenizer_joins(t, piece.data[at - 1], piece.data[at]);)
            at++;
        return at;
    }
    for (at += elm_point_at(piece, at, &a); at < piece.size; a = b) {
        size_t n = elm_point_at(piece, at, &b);
        if (!elm_tokenizer_joins(t, a, b)) break;
        at += n;
    }
    return at;
}

void elm_bpe_encode(elm_encoding *e, elm_span piece) {
    int32_t id = whole(e->t, piece);
    if (id >= 0) {
        elm_encoding_emit(e, id);
        return;
    }
    for (size_t begin = 0, end; begin < piece.size; begin = end) {
        end = next_cut(e->t, piece, begin);
        elm_span part = elm_span_of(piece.data + begin, end - begin);
        id = part.size < piece.size ? whole(e->t, part) : ELM_NO_TOKEN;
        if (id >= 0)
            elm_encoding_emit(e, id);
        else
            encode_part(e, part);
    }
}
