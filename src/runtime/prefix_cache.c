/* prefix_cache.c - see prefix_cache.h; runtime. */
#include "backend/kv.h"
#include "runtime/prefix_cache.h"

#include "runtime/session.h"

#include <string.h>

enum { BLOCK = ELM_MARK_GRID, N_ROOTS = 2 * ELM_N_DTYPES, MARKS_OF_A_TURN = 6 };

typedef struct block block;
struct block {
    block *parent, *child, *sibling;
    block *newer, *older; /* by last use; a parent is always newer than its children */
    uint32_t pins;
    int32_t tokens[BLOCK];
    uint8_t *rows, *mark; /* mark: NULL = none */
    size_t rows_bytes, mark_bytes;
};

struct elm_prefix_cache {
    const elm_allocator *alloc;
    pthread_mutex_t lock;
    size_t max_bytes, bytes;
    block roots[N_ROOTS]; /* hold children only */
    block *newest, *oldest;
};

elm_status elm_prefix_cache_create(const elm_allocator *alloc, size_t max_bytes,
                                   elm_prefix_cache **out, elm_error *err) {
    elm_prefix_cache *c = NULL;
    ELM_TRY(elm_alloc(alloc, sizeof *c, "the prefix cache", &c, err));
    c->alloc = alloc;
    c->max_bytes = max_bytes;
    pthread_mutex_init(&c->lock, NULL);
    *out = c;
    return ELM_OK;
}

/* ---- the list by last use ---- */

static void unlist(elm_prefix_cache *c, block *b) {
    *(b->newer ? &b->newer->older : &c->newest) = b->older;
    *(b->older ? &b->older->newer : &c->oldest) = b->newer;
}

static void list(elm_prefix_cache *c, block *b) {
    b->newer = NULL;
    b->older = c->newest;
    *(c->newest ? &c->newest->newer : &c->oldest) = b;
    c->newest = b;
}

/* A path was used: its blocks become the newest, the root's child last. */
static void touch(elm_prefix_cache *c, block *b) {
    for (; b->parent; b = b->parent) {
        unlist(c, b);
        list(c, b);
    }
}

/* ---- memory ---- */

static size_t block_bytes(const block *b) {
    return sizeof *b + b->rows_bytes + b->mark_bytes;
}

static void block_free(elm_prefix_cache *c, block *b) {
    elm_free(c->alloc, b->rows, b->rows_bytes);
    elm_free(c->alloc, b->mark, b->mark_bytes);
    elm_free(c->alloc, b, sizeof *b);
}

static void drop(elm_prefix_cache *c, block *b) {
    block **link = &b->parent->child;
    while (*link != b) link = &(*link)->sibling;
    *link = b->sibling;
    unlist(c, b);
    c->bytes -= block_bytes(b);
    block_free(c, b);
}

/* Drops leaves, the one used longest ago first, until `more` bytes fit; false when they cannot. */
static bool make_room(elm_prefix_cache *c, size_t more) {
    if (more > c->max_bytes) return false;
    for (block *b = c->oldest; b && c->bytes > c->max_bytes - more;) {
        block *next = b->newer;
        if (!b->child && b->pins == 0) drop(c, b);
        b = next;
    }
    return c->bytes <= c->max_bytes - more;
}

void elm_prefix_cache_trim(elm_prefix_cache *c) {
    if (!c) return;
    pthread_mutex_lock(&c->lock);
    for (block *b = c->oldest, *next; b; b = next) {
        next = b->newer; /* a parent, dropped after its children */
        if (!b->child && b->pins == 0) drop(c, b);
    }
    pthread_mutex_unlock(&c->lock);
}

size_t elm_prefix_cache_bytes(elm_prefix_cache *c) {
    if (!c) return 0;
    pthread_mutex_lock(&c->lock);
    size_t bytes = c->bytes;
    pthread_mutex_unlock(&c->lock);
    return bytes;
}

void elm_prefix_cache_free(elm_prefix_cache *c) {
    if (!c) return;
    elm_prefix_cache_trim(c);
    pthread_mutex_destroy(&c->lock);
    elm_free(c->alloc, c, sizeof *c);
}

/* ---- rows of all full KV states ---- */

static bool is_full(const elm_session *s, uint32_t state) {
    return s->states[state].capacity > 0 && s->model->module->states[state].window == 0;
}

static size_t rows_bytes(const elm_session *s) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < s->model->module->n_states; i++) {
        if (is_full(s, i)) bytes += BLOCK * elm_kv_position_bytes(&s->states[i]);
    }
    return bytes;
}

static void pack(const elm_session *s, uint32_t first, uint8_t *rows) {
    for (uint32_t i = 0; i < s->model->module->n_states; i++) {
        if (!is_full(s, i)) continue;
        elm_kv_pack(&s->states[i], first, BLOCK, rows);
        rows += BLOCK * elm_kv_position_bytes(&s->states[i]);
    }
}

static void unpack(elm_session *s, uint32_t first, const uint8_t *rows) {
    for (uint32_t i = 0; i < s->model->module->n_states; i++) {
        if (!is_full(s, i)) continue;
        elm_kv_unpack(&s->states[i], first, BLOCK, rows);
        rows += BLOCK * elm_kv_position_bytes(&s->states[i]);
    }
}

/* ---- the tree ---- */

static block *root_of(elm_prefix_cache *c, const elm_session *s) {
    return &c->roots[2 * s->config.kv + s->config.with_draft];
}

static block *find(const block *parent, const int32_t *tokens) {
    block *b = parent->child;
    while (b && memcmp(b->tokens, tokens, sizeof b->tokens) != 0) b = b->sibling;
    return b;
}

/* Whether some used state is no full KV: the same for every context, as blocks are shared. */
static bool needs_marks(const elm_session *s) {
    return elm_mark_bytes(&s->config) > 0;
}

uint32_t elm_prefix_cache_marks(const elm_session *s) {
    return s->model->prefix_cache && needs_marks(s) ? MARKS_OF_A_TURN : 0;
}

/* Copies the path that ends with the pinned block at *position, from n_run on. */
static void copy_path(elm_session *s, const block *b, uint32_t position) {
    uint32_t from = s->n_run, end = position;
    const uint8_t *mark = b->mark;
    for (; b->parent && end > from; b = b->parent, end -= BLOCK) unpack(s, end - BLOCK, b->rows);
    if (mark) {
        elm_mark_unpack(s, position, mark);
    } else {
        s->n_run = position;
    }
}

void elm_prefix_cache_fetch(elm_session *s) {
    elm_prefix_cache *c = s->model->prefix_cache;
    if (!c) return;
    bool any = !needs_marks(s);
    uint32_t position = 0, before = s->n_run;
    block *best = NULL;
    pthread_mutex_lock(&c->lock);
    block *b = root_of(c, s);
    for (uint32_t end = BLOCK; end < s->n_tokens; end += BLOCK) {
        b = find(b, s->tokens + end - BLOCK);
        if (!b) break;
        if (!any && !b->mark) continue;
        best = b;
        position = end;
    }
    if (best && position > before) {
        best->pins++;
        touch(c, best);
    }
    pthread_mutex_unlock(&c->lock);
    if (!best || position <= before) return;
    copy_path(s, best, position);
    pthread_mutex_lock(&c->lock);
    best->pins--;
    pthread_mutex_unlock(&c->lock);
    s->logits = NULL;
    s->stats.reused_tokens += position - before;
    elm_snapshots_take(s);
}

/* A block outside the tree; NULL when memory is short. */
static block *block_make(elm_prefix_cache *c, const elm_session *s, uint32_t first) {
    block *b = NULL;
    if (elm_alloc(c->alloc, sizeof *b, "a cached block", &b, NULL) != ELM_OK) return NULL;
    b->rows_bytes = rows_bytes(s);
    memcpy(b->tokens, s->tokens + first, sizeof b->tokens);
    if (elm_alloc(c->alloc, b->rows_bytes, "cached rows", &b->rows, NULL) != ELM_OK) {
        elm_free(c->alloc, b, sizeof *b);
        return NULL;
    }
    pack(s, first, b->rows);
    return b;
}

/* Puts b under its pinned parent, unless another session was faster or there is no room. */
static block *link_block(elm_prefix_cache *c, block *parent, block *b) {
    block *twin = find(parent, b->tokens);
    if (twin || !make_room(c, block_bytes(b))) {
        block_free(c, b);
        return twin;
    }
    b->parent = parent;
    b->sibling = parent->child;
    parent->child = b;
    c->bytes += block_bytes(b);
    list(c, b);
    touch(c, parent);
    return b;
}

/* The child of a pinned parent for the tokens at `first`, made when it is not there. The pin moves
 * to the child. NULL: no memory, the pin is gone. */
static block *descend(elm_prefix_cache *c, elm_session *s, block *parent, uint32_t first) {
    pthread_mutex_lock(&c->lock);
    block *b = find(parent, s->tokens + first);
    if (!b) {
        pthread_mutex_unlock(&c->lock);
        block *made = block_make(c, s, first);
        pthread_mutex_lock(&c->lock);
        if (made) b = link_block(c, parent, made);
    }
    parent->pins--;
    if (b) b->pins++;
    pthread_mutex_unlock(&c->lock);
    return b;
}

static void add_mark(elm_prefix_cache *c, elm_session *s, block *b) {
    size_t bytes = elm_mark_bytes(&s->config);
    uint8_t *mark = NULL;
    pthread_mutex_lock(&c->lock);
    bool wanted = !b->mark;
    pthread_mutex_unlock(&c->lock);
    if (!wanted || elm_alloc(c->alloc, bytes, "a cached mark", &mark, NULL) != ELM_OK) return;
    elm_mark_pack(s, mark);
    pthread_mutex_lock(&c->lock);
    if (!b->mark && make_room(c, bytes)) {
        b->mark = mark;
        b->mark_bytes = bytes;
        c->bytes += bytes;
        mark = NULL;
    }
    pthread_mutex_unlock(&c->lock);
    elm_free(c->alloc, mark, bytes);
}

void elm_prefix_cache_publish(elm_session *s) {
    elm_prefix_cache *c = s->model->prefix_cache;
    if (!c) return;
    block *b = root_of(c, s);
    pthread_mutex_lock(&c->lock);
    b->pins++;
    pthread_mutex_unlock(&c->lock);
    for (uint32_t end = BLOCK; b && end <= s->n_run; end += BLOCK)
        b = descend(c, s, b, end - BLOCK);
    if (!b) return;
    if (b->parent && needs_marks(s) && s->n_run % BLOCK == 0) add_mark(c, s, b);
    pthread_mutex_lock(&c->lock);
    touch(c, b);
    b->pins--;
    pthread_mutex_unlock(&c->lock);
}
