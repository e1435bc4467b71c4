/* bpe.c - byte pair encoding with a linked list and a heap: O(n log n) on any input; text.
 *
 * The pair with the lowest rank (or the highest score) merges first, the leftmost of equals before
 * the others. A heap entry is stale when its symbols have changed since; it is recognised by the
 * ids it was made for. */
#include "text/bpe.h"

#include "base/utf8.h"

#include <string.h>

enum { NONE = -1, SMALL_PIECE = 32 };

typedef struct symbol {
    int32_t id;
    int32_t previous, next; /* indices, NONE at the ends */
    uint32_t begin, end;    /* bytes of the piece; begin == end: merged away */
} symbol;

typedef struct candidate {
    uint64_t key;     /* smaller first */
    int32_t left;     /* symbol index: leftmost of equals */
    int32_t a, b, id; /* ids that it merges, and the result */
} candidate;

void elm_bpe_init(elm_bpe *b, const elm_tokenizer *t, elm_buf *ids) {
    b->t = t;
    b->ids = ids;
    elm_buf_init(&b->symbols, t->alloc, SIZE_MAX / 2);
    elm_buf_init(&b->heap, t->alloc, SIZE_MAX / 2);
}

void elm_bpe_free(elm_bpe *b) {
    elm_buf_free(&b->symbols);
    elm_buf_free(&b->heap);
}

static void emit(elm_bpe *b, int32_t id) {
    elm_buf_append(b->ids, &id, sizeof id);
}

/* ---- heap ---- */

static bool before(const candidate *x, const candidate *y) {
    return x->key < y->key || (x->key == y->key && x->left < y->left);
}

static void heap_push(elm_buf *heap, const candidate *c) {
    elm_buf_append(heap, c, sizeof *c);
    if (heap->status != ELM_OK) return;
    candidate *h = (candidate *)(void *)heap->data;
    for (size_t i = heap->size / sizeof *c - 1; i > 0;) {
        size_t parent = (i - 1) / 2;
        if (!before(&h[i], &h[parent])) return;
        candidate t = h[i];
        h[i] = h[parent];
        h[parent] = t;
        i = parent;
    }
}

static candidate heap_pop(elm_buf *heap) {
    candidate *h = (candidate *)(void *)heap->data, top = h[0];
    size_t n = heap->size / sizeof *h - 1;
    heap->size -= sizeof *h;
    h[0] = h[n];
    for (size_t i = 0, child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && before(&h[child + 1], &h[child])) child++;
        if (!before(&h[child], &h[i])) break;
        candidate t = h[i];
        h[i] = h[child];
        h[child] = t;
    }
    return top;
}

/* ---- symbols ---- */

static symbol *symbols_of(elm_bpe *b) {
    return (symbol *)(void *)b->symbols.data;
}

static void add_symbol(elm_bpe *b, int32_t id, size_t begin, size_t end) {
    int32_t n = (int32_t)(b->symbols.size / sizeof(symbol));
    symbol s = {id, n - 1, NONE, (uint32_t)begin, (uint32_t)end};
    elm_buf_append(&b->symbols, &s, sizeof s);
    if (n > 0 && b->symbols.status == ELM_OK) symbols_of(b)[n - 1].next = n;
}

/* A character that the vocabulary does not have: its bytes, or the unknown token, which may swallow
 * its like. */
static void add_unknown(elm_bpe *b, elm_span piece, size_t begin, size_t end) {
    const elm_tokenizer *t = b->t;
    bool bytes = (t->flags & ELM_TOK_BYTE_FALLBACK) != 0;
    for (size_t i = begin; i < end && bytes; i++) bytes = t->byte_ids[piece.data[i]] >= 0;
    for (size_t i = begin; i < end && bytes; i++)
        add_symbol(b, t->byte_ids[piece.data[i]], i, i + 1);
    if (bytes || t->unk_id == ELM_NO_TOKEN) return;
    size_t n = b->symbols.size / sizeof(symbol);
    symbol *last = n > 0 ? &symbols_of(b)[n - 1] : NULL;
    if (last && last->id == t->unk_id && (t->flags & ELM_TOK_FUSE_UNK))
        last->end = (uint32_t)end;
    else
        add_symbol(b, t->unk_id, begin, end);
}

static void split(elm_bpe *b, elm_span piece) {
    const elm_tokenizer *t = b->t;
    b->symbols.size = 0;
    if (t->flags & ELM_TOK_BYTE_LEVEL) {
        for (size_t i = 0; i < piece.size; i++) {
            int32_t id = t->byte_ids[piece.data[i]];
            if (id >= 0)
                add_symbol(b, id, i, i + 1);
            else
                add_unknown(b, piece, i, i + 1);
        }
        return;
    }
    for (size_t at = 0; at < piece.size;) {
        uint32_t c;
        int n = elm_utf8_decode(elm_span_of(piece.data + at, piece.size - at), &c);
        size_t end = at + (n > 0 ? (size_t)n : 1);
        int32_t id = elm_tokenizer_lookup(t, piece.data + at, end - at);
        /* A score-merging vocabulary starts from all characters; unknown ones fall back at the end.
         */
        if (id >= 0 || t->model == ELM_MODEL_SPM)
            add_symbol(b, id, at, end);
        else
            add_unknown(b, piece, at, end);
        at = end;
    }
}

/* Scores as keys that sort the other way round: the order of the floats, reversed. */
static uint64_t score_key(float score) {
    uint32_t bits;
    memcpy(&bits, &score, sizeof bits);
    bits = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return UINT32_MAX - bits;
}

static bool pair_of(elm_bpe *b, elm_span piece, const symbol *s, int32_t left, candidate *out) {
    const elm_tokenizer *t = b->t;
    const symbol *x = &s[left], *y = x->next == NONE ? NULL : &s[x->next];
    if (!y) return false;
    out->left = left;
    out->a = x->id;
    out->b = y->id;
    if (t->model == ELM_MODEL_SPM) {
        out->id = elm_tokenizer_lookup(t, piece.data + x->begin, y->end - x->begin);
        if (out->id < 0) return false;
        out->key = score_key(t->scores[out->id]);
        /* Ids of unknown characters are all alike: the end tells stale from fresh. */
        out->a = (int32_t)x->end;
        out->b = (int32_t)y->end;
        return true;
    }
    uint32_t rank, id;
    if (x->id < 0 || y->id < 0 ||
        !elm_tokenizer_merge(t, (uint32_t)x->id, (uint32_t)y->id, &rank, &id))
        return false;
    out->key = rank;
    out->id = (int32_t)id;
    return true;
}

static bool is_stale(const elm_bpe *b, const symbol *s, const candidate *c) {
    const symbol *x = &s[c->left];
    if (x->begin == x->end || x->next == NONE) return true;
    const symbol *y = &s[x->next];
    if (b->t->model == ELM_MODEL_SPM) return (int32_t)x->end != c->a || (int32_t)y->end != c->b;
    return x->id != c->a || y->id != c->b;
}

static void join(symbol *s, int32_t left, int32_t id) {
    symbol *x = &s[left], *y = &s[x->next];
    x->id = id;
    x->end = y->end;
    x->next = y->next;
    if (y->next != NONE) s[y->next].previous = left;
    y->begin = y->end; /* gone */
}

/* Few symbols: look for the best pair again and again, without a heap. */
static void merge_small(elm_bpe *b, elm_span piece) {
    symbol *s = symbols_of(b);
    size_t n = b->symbols.size / sizeof *s;
    candidate pairs[SMALL_PIECE];
    bool valid[SMALL_PIECE];
    for (size_t i = 0; i < n; i++) valid[i] = pair_of(b, piece, s, (int32_t)i, &pairs[i]);
    for (;;) {
        const candidate *best = NULL;
        for (int32_t i = 0; i != NONE; i = s[i].next) {
            if (valid[i] && (!best || before(&pairs[i], best))) best = &pairs[i];
        }
        if (!best) return;
        int32_t left = best->left;
        join(s, left, best->id);
        valid[left] = pair_of(b, piece, s, left, &pairs[left]);
        int32_t previous = s[left].previous;
        if (previous != NONE) valid[previous] = pair_of(b, piece, s, previous, &pairs[previous]);
    }
}

static void merge_large(elm_bpe *b, elm_span piece) {
    symbol *s = symbols_of(b);
    size_t n = b->symbols.size / sizeof *s;
    candidate c;
    b->heap.size = 0;
    for (size_t i = 0; i + 1 < n; i++) {
        if (pair_of(b, piece, s, (int32_t)i, &c)) heap_push(&b->heap, &c);
    }
    while (b->heap.size > 0 && b->heap.status == ELM_OK) {
        candidate best = heap_pop(&b->heap);
        if (is_stale(b, s, &best)) continue;
        join(s, best.left, best.id);
        if (pair_of(b, piece, s, best.left, &c)) heap_push(&b->heap, &c);
        int32_t previous = s[best.left].previous;
        if (previous != NONE && pair_of(b, piece, s, previous, &c)) heap_push(&b->heap, &c);
    }
}

/* Characters that no merge took and that the vocabulary lacks: bytes, or unknown. */
static void emit_fallback(elm_bpe *b, elm_span piece, const symbol *x) {
    const elm_tokenizer *t = b->t;
    for (uint32_t i = x->begin; i < x->end; i++) {
        int32_t id = t->byte_ids[piece.data[i]];
        if (id >= 0) {
            emit(b, id);
        } else if (t->unk_id != ELM_NO_TOKEN) {
            emit(b, t->unk_id);
            return;
        }
    }
}

void elm_bpe_piece(elm_bpe *b, elm_span piece) {
    const elm_tokenizer *t = b->t;
    if (t->flags & ELM_TOK_IGNORE_MERGES) {
        int32_t whole = elm_tokenizer_lookup(t, piece.data, piece.size);
        if (whole >= 0) {
            emit(b, whole);
            return;
        }
    }
    split(b, piece);
    if (b->symbols.status != ELM_OK || b->symbols.size == 0) return;
    if (b->symbols.size / sizeof(symbol) <= SMALL_PIECE)
        merge_small(b, piece);
    else
        merge_large(b, piece);
    const symbol *s = symbols_of(b);
    for (int32_t i = 0; i != NONE; i = s[i].next) {
        if (s[i].id >= 0)
            emit(b, s[i].id);
        else
            emit_fallback(b, piece, &s[i]);
    }
}
