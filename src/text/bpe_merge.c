/* bpe_merge.c - byte pair encoding proper; text.
 *
 * The pair with the lowest key merges first, the leftmost of equals before the others.
 *
 *   few symbols       in arrays; the best pair is looked for again and again
 *   a window of them  a linked list, and a heap of  key << 32 | index of the left symbol
 *   more              window by window
 *
 * Windows are exact. A row of tokens is the encoding of its text if every two neighbours are the
 * encoding of theirs: until some merge crosses a boundary, what happens to two neighbours is what
 * happens to them alone, so the first such merge would happen there too. So a window is cut where
 * the next one, begun at the cut, fits to the token before the cut. Near the window's end cuts are
 * not tried: there the text that is missing would have changed something. */
#include "text/bpe_merge.h"

enum {
    NONE = -1,
    SMALL_PART = 32,
    HEAP_FAN = 4,
    WINDOW = 4096,
    MARGIN = 256,  /* symbols at a window's end */
    MAX_CUTS = 12, /* that are tried, each twice as far from the end */
};
#define NO_KEY UINT32_MAX

/* A symbol of the linked list; a heap entry is stale when its symbol is gone or has another key. */
typedef struct link {
    int32_t id, previous, next; /* indices, NONE at the ends */
    uint32_t key;               /* of the pair with the next one, NO_KEY: they do not merge */
    uint32_t begin;
} link;

static const elm_symbol *symbols_of(const elm_encoding *e) {
    return (const elm_symbol *)(const void *)e->symbols.data;
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

/* ---- a window ---- */

/* The symbols [first, first + n) of the part, which end at byte `end`. */
typedef struct window {
    const elm_tokenizer *t;
    elm_span part;
    const elm_symbol *in;
    uint32_t first, n, end;
} window;

static window window_of(const elm_encoding *e, elm_span part, uint32_t first, uint32_t stop,
                        uint32_t n_all) {
    const elm_symbol *s = symbols_of(e);
    uint32_t end = stop < n_all ? s[stop].begin : (uint32_t)part.size;
    return (window){e->t, part, s + first, first, stop - first, end};
}

static uint32_t end_of(const window *w, const link *l, const link *x) {
    return x->next == NONE ? w->end : l[x->next].begin;
}

static void find_key(const window *w, link *l, int32_t left) {
    link *x = &l[left];
    x->key = NO_KEY;
    if (x->next == NONE) return;
    const link *y = &l[x->next];
    x->key = pair_key(w->t, w->part, x->id, y->id, x->begin, end_of(w, l, y));
}

static void heap_make(const window *w, link *l, elm_buf *heap) {
    heap->size = 0;
    for (uint32_t i = 0; i < w->n; i++) {
        find_key(w, l, (int32_t)i);
        uint64_t entry = (uint64_t)l[i].key << 32 | i;
        if (l[i].key != NO_KEY) elm_buf_append(heap, &entry, sizeof entry);
    }
    if (heap->status != ELM_OK) return;
    size_t entries = heap->size / sizeof(uint64_t);
    for (size_t i = entries / HEAP_FAN + 1; i-- > 0;) {
        if (i < entries) sift_down((uint64_t *)(void *)heap->data, entries, i);
    }
}

static void merge_heap(const window *w, link *l, elm_buf *heap) {
    heap_make(w, l, heap);
    while (heap->size > 0 && heap->status == ELM_OK) {
        uint64_t entry = heap_pop(heap);
        int32_t left = (int32_t)(entry & UINT32_MAX);
        link *x = &l[left];
        if (x->key != entry >> 32) continue; /* stale; a symbol that is gone has no key */
        link *y = &l[x->next];
        x->id = merged_id(w->t, x->key);
        x->next = y->next;
        y->key = NO_KEY;
        if (x->next != NONE) l[x->next].previous = left;
        find_key(w, l, left);
        if (x->key != NO_KEY) heap_push(heap, (uint64_t)x->key << 32 | (uint32_t)left);
        if (x->previous == NONE) continue;
        find_key(w, l, x->previous);
        uint32_t key = l[x->previous].key;
        if (key != NO_KEY) heap_push(heap, (uint64_t)key << 32 | (uint32_t)x->previous);
    }
}

/* Into out[n]; returns how many tokens there are. */
static uint32_t merge_small(const window *w, elm_merged *out) {
    uint32_t n = w->n, keys[SMALL_PART], begins[SMALL_PART + 2];
    for (uint32_t i = 0; i < n; i++) {
        out[i] = (elm_merged){w->in[i].id, w->in[i].begin, w->first + i};
        begins[i] = w->in[i].begin;
    }
    begins[n] = w->end;
    for (uint32_t i = 0; i + 1 < n; i++)
        keys[i] = pair_key(w->t, w->part, out[i].id, out[i + 1].id, begins[i], begins[i + 2]);
    while (n > 1) {
        uint32_t best = 0;
        for (uint32_t i = 1; i + 1 < n; i++) best = keys[i] < keys[best] ? i : best;
        if (keys[best] == NO_KEY) break;
        out[best].id = merged_id(w->t, keys[best]);
        n--;
        for (uint32_t i = best + 1; i < n; i++) {
            out[i] = out[i + 1];
            begins[i] = begins[i + 1];
        }
        for (uint32_t i = best; i + 1 < n; i++) keys[i] = keys[i + 1];
        begins[n] = w->end;
        if (best + 1 < n)
            keys[best] = pair_key(w->t, w->part, out[best].id, out[best + 1].id, begins[best],
                                  begins[best + 2]);
        if (best > 0)
            keys[best - 1] = pair_key(w->t, w->part, out[best - 1].id, out[best].id,
                                      begins[best - 1], begins[best + 1]);
    }
    return n;
}

/* The tokens of a window into `out`; returns how many, 0 after a failure. */
static uint32_t merge_window(elm_encoding *e, const window *w, elm_buf *out) {
    out->size = e->links.size = 0;
    if (!elm_buf_reserve(out, (size_t)w->n * sizeof(elm_merged))) return 0;
    elm_merged *tokens = (elm_merged *)(void *)out->data;
    uint32_t n = 0;
    if (w->n <= SMALL_PART) {
        n = merge_small(w, tokens);
    } else {
        if (!elm_buf_reserve(&e->links, (size_t)w->n * sizeof(link))) return 0;
        link *l = (link *)(void *)e->links.data;
        for (uint32_t i = 0; i < w->n; i++)
            l[i] = (link){w->in[i].id, (int32_t)i - 1, (int32_t)i + 1, NO_KEY, w->in[i].begin};
        l[w->n - 1].next = NONE;
        merge_heap(w, l, &e->heap);
        if (e->heap.status != ELM_OK) return 0;
        for (int32_t i = 0; i != NONE; i = l[i].next)
            tokens[n++] = (elm_merged){l[i].id, l[i].begin, w->first + (uint32_t)i};
    }
    out->size = n * sizeof(elm_merged);
    return n;
}

/* ---- windows ---- */

static uint32_t count(const elm_buf *tokens) {
    return (uint32_t)(tokens->size / sizeof(elm_merged));
}
static const elm_merged *tokens_of(const elm_buf *tokens) {
    return (const elm_merged *)(const void *)tokens->data;
}

/* Whether the symbols [begin, end) become two tokens that meet at `cut`. */
static bool meets(elm_encoding *e, elm_span part, uint32_t begin, uint32_t cut, uint32_t end,
                  uint32_t n) {
    window w = window_of(e, part, begin, end, n);
    return merge_window(e, &w, &e->pair) == 2 && tokens_of(&e->pair)[1].first == cut;
}

/* Finds where the window `a`, which begins at `begin`, is cut, with what follows in e->tokens[1].
 * Returns how many of its tokens stay; 0: no cut fits. */
static uint32_t find_cut(elm_encoding *e, elm_span part, uint32_t begin, uint32_t n) {
    const elm_buf *a = &e->tokens[0], *b = &e->tokens[1];
    uint32_t kept = count(a), back = MARGIN;
    for (int tries = 0; tries < MAX_CUTS && back < WINDOW; tries++, back += back / 2) {
        while (kept > 0 && tokens_of(a)[kept - 1].first > begin + WINDOW - back) kept--;
        if (kept < 2) return 0;
        uint32_t cut = tokens_of(a)[kept].first, left = tokens_of(a)[kept - 1].first;
        uint32_t stop = n - cut > WINDOW ? cut + WINDOW : n;
        window w = window_of(e, part, cut, stop, n);
        uint32_t made = merge_window(e, &w, &e->tokens[1]);
        if (made == 0) return 0;
        uint32_t right = made > 1 ? tokens_of(b)[1].first : stop;
        if (meets(e, part, left, cut, right, n)) return kept;
    }
    return 0;
}

void elm_bpe_merge(elm_encoding *e, elm_span part, uint32_t n, elm_merged_fn emit) {
    uint32_t begin = 0, stop = n > WINDOW ? WINDOW : n;
    window w = window_of(e, part, begin, stop, n);
    if (merge_window(e, &w, &e->tokens[0]) == 0) return;
    while (stop < n) {
        uint32_t kept = find_cut(e, part, begin, n);
        if (kept == 0) { /* never seen: all that is left is one window */
            w = window_of(e, part, begin, n, n);
            merge_window(e, &w, &e->tokens[0]);
            break;
        }
        uint32_t cut = tokens_of(&e->tokens[0])[kept].first;
        emit(e, part, tokens_of(&e->tokens[0]), kept, symbols_of(e)[cut].begin);
        elm_buf swap = e->tokens[0];
        e->tokens[0] = e->tokens[1];
        e->tokens[1] = swap;
        begin = cut;
        stop = n - cut > WINDOW ? cut + WINDOW : n;
    }
    emit(e, part, tokens_of(&e->tokens[0]), count(&e->tokens[0]), (uint32_t)part.size);
}
