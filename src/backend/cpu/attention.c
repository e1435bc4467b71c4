/* attention.c - writing keys and values, and attention over what is stored. Layer: backend/cpu.
 *
 * Keys are walked in blocks of 64 absolute positions with an online softmax; 8 blocks make a chunk
 * of 512, whose sums start from nothing and are joined in ascending order:
 *
 *   position  0 ..... 511 | 512 ... 1023 | 1024 ..      chunk: (m, l, o) from its own blocks
 *                  join  ---> join ------> join ->       total: (M, L, O)
 *
 * What a query computes depends on its position alone, so the bits are the same for any chunking of
 * the prompt and any division of work: over (KV head, tile of tokens), or for one token over (KV
 * head, chunk). All query heads that share a KV head run together. Slot of a position: position %
 * capacity. */
#include <math.h>
#include <string.h>

#include "backend/cpu/program.h"
#include "base/checked.h"

enum {
    BLOCK = ELM_CPU_KV_BLOCK,
    TILE_QUERIES = 32,  /* queries of one tile of tokens, at least the heads of one token */
    DIRECT_QUERIES = 8, /* up to here stored keys are read as they lie; above, a block is turned to
                           floats once */
};

static size_t padded(size_t dim) {
    return elm_round_up(dim, 16);
}

static size_t tile_tokens(size_t heads_per_kv) {
    return heads_per_kv >= TILE_QUERIES ? 1 : TILE_QUERIES / heads_per_kv;
}

/* Online sums of n queries: largest score, sum of weights, weighted values. */
typedef struct sums {
    float *m, *l; /* [n] */
    float *o;     /* [n][v_pad] */
} sums;

typedef struct tile {
    const elm_cpu_kernels *kernels;
    const elm_kv *kv;
    const elm_attrs *attrs;
    uint32_t kv_head, group;     /* group: query heads of this KV head */
    size_t first, n_tokens, n_q; /* position of the first token; n_q = n_tokens * group */
    size_t k_dim, v_dim, k_pad, v_pad;
    bool direct;
    float *q;           /* [n_q][k_pad] */
    float *s;           /* [n_q][64] scores, then weights */
    float *c, *ones;    /* [n_q] */
    float *keys, *vals; /* [64][pad] a block as floats */
    sums chunk, total;
} tile;

/* Floats for n queries: q, s, c, ones, keys, vals and two sums, in this order. */
static size_t tile_floats(size_t n_q, size_t k_pad, size_t v_pad) {
    size_t n = elm_round_up(n_q, 16);
    return n * k_pad + n * BLOCK + 2 * n + BLOCK * (k_pad + v_pad) + 2 * (2 * n + n * v_pad);
}

static float *take(float **at, size_t n) {
    float *p = *at;
    *at += n;
    return p;
}

static void tile_layout(tile *t, float *memory, size_t max_q) {
    size_t n = elm_round_up(max_q, 16);
    t->q = take(&memory, n * t->k_pad);
    t->s = take(&memory, n * BLOCK);
    t->c = take(&memory, n);
    t->ones = take(&memory, n);
    t->keys = take(&memory, BLOCK * t->k_pad);
    t->vals = take(&memory, BLOCK * t->v_pad);
    t->chunk.m = take(&memory, n);
    t->chunk.l = take(&memory, n);
    t->total.m = take(&memory, n);
    t->total.l = take(&memory, n);
    t->chunk.o = take(&memory, n * t->v_pad);
    t->total.o = take(&memory, n * t->v_pad);
    for (size_t i = 0; i < n; i++) t->ones[i] = 1.0f;
}

size_t elm_cpu_attention_scratch(uint32_t n_heads, uint32_t n_kv_heads, uint32_t k_dim,
                                 uint32_t v_dim) {
    size_t group = n_heads / n_kv_heads, n_q = tile_tokens(group) * group;
    return tile_floats(n_q, padded(k_dim), padded(v_dim)) * sizeof(float);
}

/* One partial sum: m, l and 14 floats of padding, then o. */
static size_t partial_floats(size_t v_dim) {
    return 16 + padded(v_dim);
}

/* The chunks of a wave, and the totals, for every query head. */
size_t elm_cpu_attention_partials(uint32_t n_heads, uint32_t v_dim) {
    return (ELM_CPU_WAVE_CHUNKS + 1) * (size_t)n_heads * partial_floats(v_dim) * sizeof(float);
}

static void sums_clear(const sums *s, size_t n, size_t v_pad) {
    for (size_t i = 0; i < n; i++) {
        s->m[i] = -INFINITY;
        s->l[i] = 0.0f;
    }
    memset(s->o, 0, n * v_pad * sizeof *s->o);
}

/* Adds one query's chunk to its total. A chunk of which it sees nothing has m = -inf. */
static void join(const elm_cpu_kernels *k, float *m, float *l, float *o, float cm, float cl,
                 const float *co, size_t n) {
    if (cm == -INFINITY) return;
    float now = cm > *m ? cm : *m;
    float a = k->exponential(*m - now), b = k->exponential(cm - now);
    float kept = *l * a;
    *l = kept + cl * b;
    *m = now;
    k->join(o, a, co, b, n);
}

/* ---- stored rows ---- */

static size_t element_bytes(elm_dtype dtype) {
    return dtype == ELM_F32 ? 4 : dtype == ELM_F16 ? 2 : 1;
}
static int kernel_index(elm_dtype dtype) {
    return dtype == ELM_F32 ? 0 : dtype == ELM_F16 ? 1 : 2;
}

static const uint8_t *stored(const elm_kv *kv, const void *plane, size_t dim, size_t head,
                             size_t slot) {
    return (const uint8_t *)plane + (head * kv->capacity + slot) * dim * element_bytes(kv->dtype);
}

/* Positions [from, to) that lie one after the other in the ring: returns their number, from the
 * front. */
static size_t run_of(const elm_kv *kv, size_t from, size_t to) {
    size_t until_wrap = kv->capacity - from % kv->capacity;
    return to - from < until_wrap ? to - from : until_wrap;
}

/* Positions [from, to) of a plane as floats, out[(position - base)][pad], without scales. */
static void expand(const tile *t, const void *plane, size_t dim, size_t pad, size_t base,
                   size_t from, size_t to, float *out) {
    for (size_t p = from; p < to; p++) {
        const void *row = stored(t->kv, plane, dim, t->kv_head, p % t->kv->capacity);
        float *y = out + (p - base) * pad;
        if (t->kv->dtype == ELM_F32)
            memcpy(y, row, dim * sizeof *y);
        else if (t->kv->dtype == ELM_F16)
            t->kernels->from_f16(row, dim, y);
        else
            t->kernels->from_i8(row, dim, y);
        memset(y + dim, 0, (pad - dim) * sizeof *y);
    }
}

/* ---- one block of 64 positions ---- */

/* Positions that token i of the tile sees: [*lo, *hi), cut to the block at `base`; empty when *lo
 * >= *hi. */
static void visible(const tile *t, size_t i, size_t base, size_t *lo, size_t *hi) {
    size_t position = t->first + i, window = (size_t)t->attrs->window;
    *lo = window && position + 1 > window ? position + 1 - window : 0;
    *hi = position + 1;
    if (*lo < base) *lo = base;
    if (*hi > base + BLOCK) *hi = base + BLOCK;
}

static void block_scores(const tile *t, size_t q0, size_t n_q, size_t base, size_t from,
                         size_t to) {
    const float *q = t->q + q0 * t->k_pad;
    float *s = t->s + q0 * BLOCK;
    if (!t->direct) {
        expand(t, t->kv->k, t->k_dim, t->k_pad, base, from, to, t->keys);
        t->kernels->scores[0](q, t->k_pad, n_q, t->keys + (from - base) * t->k_pad, to - from,
                              t->k_pad, s + (from - base));
        return;
    }
    while (from < to) {
        size_t n = run_of(t->kv, from, to);
        const void *k = stored(t->kv, t->kv->k, t->k_dim, t->kv_head, from % t->kv->capacity);
        t->kernels->scores[kernel_index(t->kv->dtype)](q, t->k_pad, n_q, k, n, t->k_dim,
                                                       s + (from - base));
        from += n;
    }
}

/* Scores of one query to weights; what it does not see gets 0. Sets its factor c. */
static void block_softmax(const tile *t, size_t q, size_t base, size_t lo, size_t hi) {
    float *s = t->s + q * BLOCK, scale = t->attrs->scale, cap = t->attrs->softcap;
    const elm_kv *kv = t->kv;
    const size_t begin = lo - base, end = hi - base, row = (size_t)t->kv_head * kv->capacity;
    for (size_t j = 0; j < begin; j++) s[j] = -INFINITY;
    for (size_t j = end; j < BLOCK; j++) s[j] = -INFINITY;
    if (kv->dtype == ELM_I8)
        for (size_t j = begin; j < end; j++) s[j] *= kv->k_scales[row + (base + j) % kv->capacity];
    for (size_t j = begin; j < end; j++) s[j] *= scale;
    if (cap > 0.0f)
        for (size_t j = begin; j < end; j++) s[j] = cap * tanhf(s[j] / cap);
    t->c[q] = t->kernels->softmax(s, &t->chunk.m[q], &t->chunk.l[q]);
    if (kv->dtype == ELM_I8)
        for (size_t j = begin; j < end; j++) s[j] *= kv->v_scales[row + (base + j) % kv->capacity];
}

/* o = o * c, then the weighted values of [from, to), for queries [q0, q0 + n_q). */
static void add_values(const tile *t, size_t q0, size_t n_q, const float *c, size_t base,
                       size_t from, size_t to) {
    float *o = t->chunk.o + q0 * t->v_pad;
    const float *p = t->s + q0 * BLOCK;
    if (!t->direct) {
        t->kernels->values[0](p + (from - base), c, n_q, t->vals + (from - base) * t->v_pad,
                              to - from, t->v_pad, o, t->v_pad);
        return;
    }
    while (from < to) {
        size_t n = run_of(t->kv, from, to);
        const void *v = stored(t->kv, t->kv->v, t->v_dim, t->kv_head, from % t->kv->capacity);
        t->kernels->values[kernel_index(t->kv->dtype)](p + (from - base), c, n_q, v, n, t->v_dim, o,
                                                       t->v_pad);
        c = t->ones;
        from += n;
    }
}

/* The values of a block for tokens [i0, i1), each over exactly the positions that it sees: what all
 * see runs together, the rest of each token before and after. */
static void block_values(const tile *t, size_t i0, size_t i1, size_t base, size_t from, size_t to) {
    size_t lo, hi, unused;
    if (!t->direct) expand(t, t->kv->v, t->v_dim, t->v_pad, base, from, to, t->vals);
    visible(t, i1 - 1, base, &lo,
            &unused); /* bounds rise with the token: common part = [last lo, first hi) */
    visible(t, i0, base, &unused, &hi);
    size_t q0 = i0 * t->group, n_q = (i1 - i0) * t->group;
    if (lo == from && hi == to) {
        add_values(t, q0, n_q, t->c + q0, base, from, to);
        return;
    }
    if (lo >= hi) lo = hi = to; /* nothing in common: all of it in the first part */
    for (size_t i = i0; i < i1; i++) {
        size_t own_lo, own_hi, q = i * t->group;
        visible(t, i, base, &own_lo, &own_hi);
        size_t front = own_hi < lo ? own_hi : lo;
        t->kernels->values[0](t->s, t->c + q, t->group, t->vals, 0, t->v_pad,
                              t->chunk.o + q * t->v_pad, t->v_pad);
        if (own_lo < front) add_values(t, q, t->group, t->ones, base, own_lo, front);
    }
    if (lo < hi) add_values(t, q0, n_q, t->ones, base, lo, hi);
    for (size_t i = i0; i < i1; i++) {
        size_t own_lo, own_hi;
        visible(t, i, base, &own_lo, &own_hi);
        if (hi < own_hi) add_values(t, i * t->group, t->group, t->ones, base, hi, own_hi);
    }
}

static void attend_block(const tile *t, size_t base) {
    size_t i0 = t->n_tokens, i1 = 0, from = base + BLOCK, to = base;
    for (size_t i = 0; i < t->n_tokens; i++) {
        size_t lo, hi;
        visible(t, i, base, &lo, &hi);
        if (lo >= hi) continue;
        if (i < i0) i0 = i;
        i1 = i + 1;
        if (lo < from) from = lo;
        if (hi > to) to = hi;
    }
    if (i0 >= i1) return;
    block_scores(t, i0 * t->group, (i1 - i0) * t->group, base, from, to);
    for (size_t i = i0; i < i1; i++) {
        size_t lo, hi;
        visible(t, i, base, &lo, &hi);
        for (size_t g = 0; g < t->group; g++) block_softmax(t, i * t->group + g, base, lo, hi);
    }
    block_values(t, i0, i1, base, from, to);
}

/* Sums of the tile over one chunk, into t->chunk. */
static void attend_chunk(const tile *t, size_t chunk) {
    sums_clear(&t->chunk, t->n_q, t->v_pad);
    size_t begin = chunk * ELM_CPU_KV_CHUNK, end = begin + ELM_CPU_KV_CHUNK,
           last = t->first + t->n_tokens;
    for (size_t base = begin; base < end && base < last; base += BLOCK) attend_block(t, base);
}

/* ---- division of the work ---- */

/* First chunk that a query at `position` sees. */
static size_t first_chunk(const elm_attrs *attrs, size_t position) {
    size_t window = (size_t)attrs->window;
    return (window && position + 1 > window ? position + 1 - window : 0) / ELM_CPU_KV_CHUNK;
}

static tile tile_of(const elm_cpu_run *r, const elm_cpu_step *s, const elm_kv *kv,
                    uint32_t thread) {
    tile t = {
        .kernels = r->kernels,
        .kv = kv,
        .attrs = &s->node->attrs,
        .group = s->n_heads / kv->n_heads,
        .k_dim = kv->k_dim,
        .v_dim = kv->v_dim,
        .k_pad = padded(kv->k_dim),
        .v_pad = padded(kv->v_dim),
    };
    tile_layout(&t, elm_cpu_scratch(r, thread), tile_tokens(t.group) * t.group);
    return t;
}

/* Points the tile at n tokens of a KV head and loads their queries. */
static void tile_aim(tile *t, const elm_cpu_run *r, const elm_cpu_step *s, size_t head,
                     size_t token, size_t n) {
    t->kv_head = (uint32_t)head;
    t->first = r->step->n_past + elm_cpu_token_of(r, &s->in[0], token);
    t->n_tokens = n;
    t->n_q = n * t->group;
    bool whole = t->k_dim == t->k_pad && t->v_dim == t->v_pad;
    t->direct = whole && (t->n_q <= DIRECT_QUERIES || t->kv->dtype == ELM_F32);
    for (size_t i = 0; i < t->n_q; i++) {
        const float *x = elm_cpu_row(r, &s->in[0], token + i / t->group);
        float *q = t->q + i * t->k_pad;
        memcpy(q, x + (head * t->group + i % t->group) * t->k_dim, t->k_dim * sizeof *q);
        memset(q + t->k_dim, 0, (t->k_pad - t->k_dim) * sizeof *q);
    }
}

static void finish(float *out, const float *o, float l, size_t n) {
    float inv = 1.0f / l;
    for (size_t i = 0; i < n; i++) out[i] = o[i] * inv;
}

/* Tokens of a tile follow each other; wanted rows need not. */
static size_t rows_of_tile(const elm_cpu_run *r, const elm_cpu_step *s, size_t group) {
    size_t n = elm_cpu_n_rows(r, &s->in[0]);
    bool apart =
        n > 0 && elm_cpu_token_of(r, &s->in[0], n - 1) + 1 - elm_cpu_token_of(r, &s->in[0], 0) != n;
    return apart ? 1 : tile_tokens(group);
}

/* Tiles of tokens, dealt out in turn: later tiles see more keys. */
static void by_tokens(const elm_cpu_run *r, const elm_cpu_step *s, const elm_kv *kv,
                      uint32_t thread, uint32_t n_threads) {
    tile t = tile_of(r, s, kv, thread);
    size_t n_tokens = elm_cpu_n_rows(r, &s->in[0]), step = rows_of_tile(r, s, t.group),
           n_tiles = (n_tokens + step - 1) / step;
    for (size_t item = thread; item < n_tiles * kv->n_heads; item += n_threads) {
        size_t head = item / n_tiles, token = item % n_tiles * step;
        tile_aim(&t, r, s, head, token, n_tokens - token < step ? n_tokens - token : step);
        sums_clear(&t.total, t.n_q, t.v_pad);
        size_t end = (t.first + t.n_tokens - 1) / ELM_CPU_KV_CHUNK + 1;
        for (size_t chunk = first_chunk(t.attrs, t.first); chunk < end; chunk++) {
            attend_chunk(&t, chunk);
            for (size_t i = 0; i < t.n_q; i++)
                join(t.kernels, &t.total.m[i], &t.total.l[i], t.total.o + i * t.v_pad, t.chunk.m[i],
                     t.chunk.l[i], t.chunk.o + i * t.v_pad, t.v_pad);
        }
        for (size_t i = 0; i < t.n_q; i++) {
            float *out = elm_cpu_row(r, &s->out, token + i / t.group) +
                         (head * t.group + i % t.group) * t.v_dim;
            finish(out, t.total.o + i * t.v_pad, t.total.l[i], t.v_dim);
        }
    }
}

/* One token: chunks in waves, every (KV head, chunk) of a wave on any thread, then joined head by
 * head. */
static void by_chunks(const elm_cpu_run *r, const elm_cpu_step *s, const elm_kv *kv,
                      uint32_t thread, uint32_t n_threads) {
    tile t = tile_of(r, s, kv, thread);
    const size_t position = r->step->n_past + elm_cpu_token_of(r, &s->in[0], 0),
                 end = position / ELM_CPU_KV_CHUNK + 1;
    const size_t floats = partial_floats(kv->v_dim), n_heads = s->n_heads;
    float *totals = (float *)(void *)(r->workspace + r->program->partials),
          *partials = totals + n_heads * floats;
    size_t head_begin, head_end;
    elm_split(n_heads, 1, thread, n_threads, &head_begin, &head_end);
    for (size_t h = head_begin; h < head_end; h++) {
        sums total = {totals + h * floats, totals + h * floats + 1, totals + h * floats + 16};
        sums_clear(&total, 1, t.v_pad);
    }
    for (size_t wave = first_chunk(t.attrs, position); wave < end; wave += ELM_CPU_WAVE_CHUNKS) {
        size_t n = end - wave < ELM_CPU_WAVE_CHUNKS ? end - wave : ELM_CPU_WAVE_CHUNKS;
        size_t item, item_end;
        elm_split(n * kv->n_heads, 1, thread, n_threads, &item, &item_end);
        for (; item < item_end; item++) {
            tile_aim(&t, r, s, item / n, 0, 1);
            attend_chunk(&t, wave + item % n);
            for (size_t g = 0; g < t.group; g++) {
                float *out = partials + (item % n * n_heads + item / n * t.group + g) * floats;
                out[0] = t.chunk.m[g];
                out[1] = t.chunk.l[g];
                memcpy(out + 16, t.chunk.o + g * t.v_pad, t.v_pad * sizeof *out);
            }
        }
        elm_thread_pool_barrier(r->step->pool);
        for (size_t h = head_begin; h < head_end; h++) {
            float *total = totals + h * floats;
            for (size_t chunk = 0; chunk < n; chunk++) {
                const float *p = partials + (chunk * n_heads + h) * floats;
                join(t.kernels, total, total + 1, total + 16, p[0], p[1], p + 16, t.v_pad);
            }
            if (wave + n == end)
                finish(elm_cpu_row(r, &s->out, 0) + h * t.v_dim, total + 16, total[1], t.v_dim);
        }
        elm_thread_pool_barrier(
            r->step->pool); /* the next wave, or step, writes the partial sums again */
    }
}

void elm_cpu_run_attention(const elm_cpu_run *r, const elm_cpu_step *s, uint32_t thread,
                           uint32_t n_threads) {
    const elm_kv *kv = &r->step->states[s->state];
    bool even = kv->n_heads % n_threads == 0 || kv->n_heads >= 8 * n_threads;
    size_t n_rows = elm_cpu_n_rows(r, &s->in[0]);
    size_t first = r->step->n_past + (n_rows > 0 ? elm_cpu_token_of(r, &s->in[0], 0) : 0);
    bool deep = first / ELM_CPU_KV_CHUNK > first_chunk(&s->node->attrs, first);
    if (n_rows == 1 && !even && deep)
        by_chunks(r, s, kv, thread, n_threads);
    else
        by_tokens(r, s, kv, thread, n_threads);
}

/* ---- writing ---- */

static void store(const elm_cpu_kernels *k, elm_kv *kv, bool is_v, size_t head, size_t position,
                  const float *x) {
    size_t dim = is_v ? kv->v_dim : kv->k_dim, slot = head * kv->capacity + position % kv->capacity;
    void *plane = is_v ? kv->v : kv->k;
    if (kv->dtype == ELM_F32)
        memcpy((float *)plane + slot * dim, x, dim * sizeof *x);
    else if (kv->dtype == ELM_F16)
        k->to_f16(x, dim, (uint16_t *)plane + slot * dim);
    else
        (is_v ? kv->v_scales : kv->k_scales)[slot] = k->to_i8(x, dim, (int8_t *)plane + slot * dim);
}

/* Exactly what elm_kv_store stores. */
void elm_cpu_run_kv_write(const elm_cpu_run *r, const elm_cpu_step *s, uint32_t thread,
                          uint32_t n_threads) {
    elm_kv *kv = &r->step->states[s->state];
    size_t begin, end;
    elm_cpu_own_rows(r, s, thread, n_threads, &begin, &end);
    for (size_t t = begin; t < end; t++) {
        const float *k = elm_cpu_row(r, &s->in[0], t), *v = elm_cpu_row(r, &s->in[1], t);
        for (size_t h = 0; h < kv->n_heads; h++) {
            store(r->kernels, kv, false, h, r->step->n_past + t, k + h * kv->k_dim);
            store(r->kernels, kv, true, h, r->step->n_past + t, v + h * kv->v_dim);
        }
    }
}
