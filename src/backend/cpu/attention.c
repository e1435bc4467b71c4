/* attention.c - attention over what is stored. Layer: backend/cpu.
 *
 * Keys are walked in blocks of 64 absolute positions with an online softmax; 8 blocks make a chunk
 * of 512, whose sums start from nothing and are joined in ascending order:
 *
 *   position  0 ..... 511 | 512 ... 1023 | 1024 ..      chunk: (m, l, o) from its own blocks
 *                  join  ---> join ------> join ->       total: (M, L, O)
 *
 * What a query computes depends on its position alone, so the bits are the same for any chunking of
 * the prompt and any division of work: over (KV head, tile of tokens), for few tokens over KV
 * heads, or for one token over (chunk, group of KV heads). All query heads that share a KV head run
 * together, and keys and values are read as they lie (backend/kv.h). */
#include <math.h>
#include <string.h>

#include "backend/cpu/attention_block.h"
#include "base/checked.h"

enum {
    BLOCK = ELM_CPU_KV_BLOCK,
    TILE_QUERIES = 48, /* queries of one tile of tokens, at least the heads of one token */
    SIDE_QUERIES =
        256, /* of all heads that a thread runs side by side, at least those of one token */
};

static size_t padded(size_t dim) {
    return elm_round_up(dim, 16);
}

static size_t tile_tokens(size_t heads_per_kv) {
    return heads_per_kv >= TILE_QUERIES ? 1 : TILE_QUERIES / heads_per_kv;
}

static size_t side_queries(size_t n_heads) {
    return n_heads > SIDE_QUERIES ? n_heads : SIDE_QUERIES;
}

/* Blocks of 32 that a quantised query takes. */
static size_t query_blocks(size_t k_dim) {
    return (k_dim + ELM_ACT_GROUP - 1) / ELM_ACT_GROUP;
}

/* Floats for n queries: q, its codes (32 bytes and three words a block), s, w, c, ones, unit and two
 * sums, in this order. */
static size_t tile_floats(size_t n_q, size_t k_dim, size_t v_pad) {
    size_t n = elm_round_up(n_q, 16), blocks = query_blocks(k_dim);
    return n * k_dim + n * blocks * (ELM_ACT_GROUP / 4 + 3) + n * BLOCK +
           n * ELM_CPU_WEIGHT_CODES / 4 + 3 * n + 2 * (2 * n + n * v_pad);
}

static float *take(float **at, size_t n) {
    float *p = *at;
    *at += n;
    return p;
}

static void tile_layout(elm_cpu_tile *t, float *memory, size_t max_q) {
    size_t n = elm_round_up(max_q, 16), blocks = query_blocks(t->k_dim);
    t->q = take(&memory, n * t->k_dim);
    t->codes.q = (int8_t *)take(&memory, n * blocks * ELM_ACT_GROUP / 4);
    t->codes.d = take(&memory, n * blocks);
    t->codes.start = (int32_t *)(void *)take(&memory, n * blocks);
    t->codes.sum = (int32_t *)(void *)take(&memory, n * blocks);
    t->codes.q_stride = blocks * ELM_ACT_GROUP;
    t->codes.block_stride = blocks;
    t->s = take(&memory, n * BLOCK);
    t->w = (uint8_t *)take(&memory, n * ELM_CPU_WEIGHT_CODES / 4);
    t->unit = take(&memory, n);
    t->c = take(&memory, n);
    t->ones = take(&memory, n);
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
    if (n_q < side_queries(n_heads)) n_q = side_queries(n_heads);
    return tile_floats(n_q, k_dim, padded(v_dim)) * sizeof(float);
}

/* One partial sum: m, l and 14 floats of padding, then o. */
static size_t partial_floats(size_t v_dim) {
    return 16 + padded(v_dim);
}

/* The chunks of a wave, and the totals, for every query head. */
size_t elm_cpu_attention_partials(uint32_t n_heads, uint32_t v_dim) {
    return (ELM_CPU_WAVE_CHUNKS + 1) * (size_t)n_heads * partial_floats(v_dim) * sizeof(float);
}

static void sums_clear(const elm_cpu_sums *s, size_t n, size_t v_pad) {
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

static void attend_block(const elm_cpu_tile *t, size_t base) {
    const elm_cpu_sight s = elm_cpu_sight_of(t, base);
    if (s.i0 >= s.i1) return;
    elm_cpu_block_scores(t, &s, base);
    elm_cpu_block_softmax(t, s.i0 * t->group, s.i1 * t->group);
    elm_cpu_block_add(t, &s, base);
}

/* Sums of the tile over one chunk, into t->chunk. */
static void attend_chunk(const elm_cpu_tile *t, size_t chunk) {
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

static elm_cpu_tile tile_of(const elm_cpu_run *r, const elm_cpu_step *s, const elm_kv *kv) {
    elm_cpu_tile t = {
        .kernels = r->kernels,
        .kv = kv,
        .attrs = &s->node->attrs,
        .group = s->n_heads / kv->n_heads,
        .k_dim = kv->k_dim,
        .v_dim = kv->v_dim,
        .v_pad = padded(kv->v_dim),
        .stride = kv->n_heads,
    };
    size_t n_q = tile_tokens(t.group) * t.group, side = side_queries(s->n_heads);
    tile_layout(&t, elm_cpu_scratch(r), n_q > side ? n_q : side);
    return t;
}

/* Points the tile at n tokens of a KV head and loads their queries. */
static void tile_aim(elm_cpu_tile *t, const elm_cpu_run *r, const elm_cpu_step *s, size_t head,
                     size_t token, size_t n) {
    t->kv_head = (uint32_t)head;
    t->first = r->step->n_past + elm_cpu_token_of(r, &s->in[0], token);
    t->n_tokens = n;
    t->n_q = n * t->group;
    for (size_t i = 0; i < t->n_q; i++) {
        const float *x = elm_cpu_row(r, &s->in[0], token + i / t->group);
        const elm_cpu_acts *c = &t->codes;
        x += (head * t->group + i % t->group) * t->k_dim;
        if (t->kv->dtype != ELM_I8)
            memcpy(t->q + i * t->k_dim, x, t->k_dim * sizeof *x);
        else
            t->kernels->quantize(x, t->k_dim, c->q + i * c->q_stride, c->d + i * c->block_stride,
                                 c->start + i * c->block_stride, c->sum + i * c->block_stride);
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

/* Of the first row. */
static size_t position_of(const elm_cpu_run *r, const elm_cpu_step *s) {
    size_t n = elm_cpu_n_rows(r, &s->in[0]);
    return r->step->n_past + (n > 0 ? elm_cpu_token_of(r, &s->in[0], 0) : 0);
}

static void join_chunk(const elm_cpu_tile *t) {
    for (size_t i = 0; i < t->n_q; i++)
        join(t->kernels, &t->total.m[i], &t->total.l[i], t->total.o + i * t->v_pad, t->chunk.m[i],
             t->chunk.l[i], t->chunk.o + i * t->v_pad, t->v_pad);
}

/* The tile's outputs, to rows from `token` on. */
static void put(const elm_cpu_tile *t, const elm_cpu_run *r, const elm_cpu_step *s, size_t token) {
    for (size_t i = 0; i < t->n_q; i++) {
        float *out = elm_cpu_row(r, &s->out, token + i / t->group) +
                     (t->kv_head * t->group + i % t->group) * t->v_dim;
        finish(out, t->total.o + i * t->v_pad, t->total.l[i], t->v_dim);
    }
}

/* Tiles of tokens, dealt out in turn: later tiles see more keys. */
static void by_tokens(const elm_cpu_run *r, const elm_cpu_step *s, const elm_kv *kv, uint32_t part,
                      uint32_t n_parts) {
    elm_cpu_tile t = tile_of(r, s, kv);
    size_t n_tokens = elm_cpu_n_rows(r, &s->in[0]), step = rows_of_tile(r, s, t.group),
           n_tiles = (n_tokens + step - 1) / step;
    for (size_t item = part; item < n_tiles * kv->n_heads; item += n_parts) {
        size_t head = item / n_tiles, token = item % n_tiles * step;
        tile_aim(&t, r, s, head, token, n_tokens - token < step ? n_tokens - token : step);
        sums_clear(&t.total, t.n_q, t.v_pad);
        size_t end = (t.first + t.n_tokens - 1) / ELM_CPU_KV_CHUNK + 1;
        for (size_t chunk = first_chunk(t.attrs, t.first); chunk < end; chunk++) {
            attend_chunk(&t, chunk);
            join_chunk(&t);
        }
        put(&t, r, s, token);
    }
}

/* Moves a tile on by n heads, whose rows lie one behind the other. Integer weights, which last for one
 * block of one head, all heads share. */
static void move_on(elm_cpu_tile *t, size_t n) {
    size_t rows = n * t->n_q, blocks = t->codes.block_stride;
    t->kv_head += (uint32_t)n;
    t->q += rows * t->k_dim;
    t->codes.q += rows * t->codes.q_stride;
    t->codes.d += rows * blocks;
    t->codes.start += rows * blocks;
    t->codes.sum += rows * blocks;
    t->s += rows * BLOCK;
    t->c += rows;
    t->chunk.m += rows;
    t->chunk.l += rows;
    t->chunk.o += rows * t->v_pad;
    t->total.m += rows;
    t->total.l += rows;
    t->total.o += rows * t->v_pad;
}

/* The part of `all`, whose first is KV head `begin`, that belongs to one of its heads. */
static elm_cpu_tile head_of(const elm_cpu_tile *all, size_t begin, size_t head) {
    elm_cpu_tile t = *all;
    t.kv_head = (uint32_t)begin;
    move_on(&t, head - begin);
    return t;
}

/* Blocks from one of a head to that which a walk over KV heads [begin, end) reads next. */
static size_t step_from(const elm_cpu_tile *t, size_t begin, size_t end) {
    return t->kv_head + 1 < end ? 1 : t->kv->n_heads - (end - begin) + 1;
}

/* A block of KV heads [begin, end): all keys, then all values. What is read lies one behind the other
 * for as long as it may, which is what prefetchers live on; and the heads have their softmax together,
 * unless some of their tokens see nothing. */
static void attend_heads(const elm_cpu_tile *all, size_t begin, size_t end, size_t base) {
    const elm_cpu_sight s = elm_cpu_sight_of(all, base);
    const bool together = s.i0 == 0 && s.i1 == all->n_tokens;
    if (s.i0 >= s.i1) return;
    /* A tile is moved, for a copy of it costs as much as some lines of the cache. */
    elm_cpu_tile t = head_of(all, begin, begin);
    for (size_t h = begin; h < end; h++, move_on(&t, 1)) {
        t.stride = step_from(&t, begin, end);
        elm_cpu_block_scores(&t, &s, base);
        if (!together) elm_cpu_block_softmax(&t, s.i0 * t.group, s.i1 * t.group);
    }
    if (together) elm_cpu_block_softmax(all, 0, (end - begin) * all->n_q);
    t = head_of(all, begin, begin);
    for (size_t h = begin; h < end; h++, move_on(&t, 1)) {
        t.stride = step_from(&t, begin, end);
        elm_cpu_block_add(&t, &s, base);
    }
}

/* Sums of KV heads [begin, end) over one chunk, into all->chunk, which holds theirs one behind the other. */
static void attend_chunk_of_heads(const elm_cpu_tile *all, size_t begin, size_t end, size_t chunk) {
    const size_t stop = (chunk + 1) * ELM_CPU_KV_CHUNK, last = all->first + all->n_tokens;
    sums_clear(&all->chunk, (end - begin) * all->n_q, all->v_pad);
    for (size_t base = chunk * ELM_CPU_KV_CHUNK; base < stop && base < last; base += BLOCK)
        attend_heads(all, begin, end, base);
}

/* Points `all` at every row of KV heads [begin, end). */
static void aim_heads(elm_cpu_tile *all, const elm_cpu_run *r, const elm_cpu_step *s, size_t begin,
                      size_t end) {
    all->n_tokens = elm_cpu_n_rows(r, &s->in[0]);
    all->n_q = all->n_tokens * all->group;
    for (size_t h = begin; h < end; h++) {
        elm_cpu_tile t = head_of(all, begin, h);
        tile_aim(&t, r, s, h, 0, all->n_tokens);
        all->first = t.first;
    }
}

/* Few tokens run at the speed of memory: a part's heads side by side, block by block, so that the
 * cache is read as it lies. */
static void by_heads(const elm_cpu_run *r, const elm_cpu_step *s, const elm_kv *kv, uint32_t part,
                     uint32_t n_parts) {
    elm_cpu_tile all = tile_of(r, s, kv);
    size_t begin, end;
    elm_split(kv->n_heads, 1, part, n_parts, &begin, &end);
    if (begin == end) return;
    aim_heads(&all, r, s, begin, end);
    sums_clear(&all.total, (end - begin) * all.n_q, all.v_pad);
    const size_t n_chunks = (all.first + all.n_tokens - 1) / ELM_CPU_KV_CHUNK + 1;
    for (size_t chunk = first_chunk(all.attrs, all.first); chunk < n_chunks; chunk++) {
        attend_chunk_of_heads(&all, begin, end, chunk);
        for (size_t h = begin; h < end; h++) {
            elm_cpu_tile t = head_of(&all, begin, h);
            join_chunk(&t);
        }
    }
    for (size_t h = begin; h < end; h++) {
        elm_cpu_tile t = head_of(&all, begin, h);
        put(&t, r, s, 0);
    }
}

/* The chunks of one token's wave, and into how many groups their KV heads are divided: one if there are
 * chunks enough for all threads, which then read whole stretches of the cache as they lie. */
typedef struct wave {
    size_t first, n_chunks, n_groups;
    bool last;
} wave;

static wave wave_of(const elm_cpu_run *r, const elm_cpu_step *s, const elm_kv *kv) {
    const size_t position = position_of(r, s), end = position / ELM_CPU_KV_CHUNK + 1;
    const size_t wanted = 2 * (size_t)elm_thread_pool_size(r->step->pool);
    wave w = {.first = first_chunk(&s->node->attrs, position) + r->pass / 2 * ELM_CPU_WAVE_CHUNKS};
    w.last = end - w.first <= ELM_CPU_WAVE_CHUNKS;
    w.n_chunks = w.last ? end - w.first : ELM_CPU_WAVE_CHUNKS;
    w.n_groups = (wanted + w.n_chunks - 1) / w.n_chunks;
    if (w.n_groups > kv->n_heads) w.n_groups = kv->n_heads;
    return w;
}

/* The sums of one chunk and some KV heads of a token, to where they are joined from. */
static void put_partials(const elm_cpu_tile *all, size_t begin, size_t end, float *partials) {
    const size_t floats = partial_floats(all->v_dim);
    for (size_t q = 0; q < (end - begin) * all->group; q++) {
        float *out = partials + (begin * all->group + q) * floats;
        out[0] = all->chunk.m[q];
        out[1] = all->chunk.l[q];
        memcpy(out + 16, all->chunk.o + q * all->v_pad, all->v_pad * sizeof *out);
    }
}

/* One token: chunks in waves, every (chunk, group of KV heads) of a wave in one pass, joined head by head
 * in the next. */
static void by_chunks(const elm_cpu_run *r, const elm_cpu_step *s, const elm_kv *kv, uint32_t part,
                      uint32_t n_parts) {
    const wave w = wave_of(r, s, kv);
    const size_t floats = partial_floats(kv->v_dim), n_heads = s->n_heads;
    float *totals = (float *)(void *)(r->workspace + r->program->partials),
          *partials = totals + n_heads * floats;
    elm_cpu_tile all = tile_of(r, s, kv);
    size_t item, item_end;
    elm_split(r->pass % 2 ? n_heads : w.n_chunks * w.n_groups, 1, part, n_parts, &item, &item_end);
    for (; r->pass % 2 == 0 && item < item_end; item++) {
        size_t begin, end, chunk = item / w.n_groups;
        elm_split(kv->n_heads, 1, (uint32_t)(item % w.n_groups), (uint32_t)w.n_groups, &begin,
                  &end);
        aim_heads(&all, r, s, begin, end);
        attend_chunk_of_heads(&all, begin, end, w.first + chunk);
        put_partials(&all, begin, end, partials + chunk * n_heads * floats);
    }
    for (; item < item_end; item++) {
        float *total = totals + item * floats;
        elm_cpu_sums sum = {total, total + 1, total + 16};
        if (r->pass == 1) sums_clear(&sum, 1, all.v_pad);
        for (size_t chunk = 0; chunk < w.n_chunks; chunk++) {
            const float *p = partials + (chunk * n_heads + item) * floats;
            join(all.kernels, total, total + 1, total + 16, p[0], p[1], p + 16, all.v_pad);
        }
        if (w.last)
            finish(elm_cpu_row(r, &s->out, 0) + item * all.v_dim, total + 16, total[1], all.v_dim);
    }
}

typedef void (*division)(const elm_cpu_run *, const elm_cpu_step *, const elm_kv *, uint32_t,
                         uint32_t);

static division division_of(const elm_cpu_run *r, const elm_cpu_step *s, const elm_kv *kv) {
    size_t n_rows = elm_cpu_n_rows(r, &s->in[0]), first = position_of(r, s);
    bool deep = first / ELM_CPU_KV_CHUNK > first_chunk(&s->node->attrs, first);
    if (n_rows == 1 && deep && elm_thread_pool_size(r->step->pool) > 1) return by_chunks;
    if (n_rows <= rows_of_tile(r, s, s->n_heads / kv->n_heads) &&
        n_rows * s->n_heads <= SIDE_QUERIES)
        return by_heads;
    return by_tokens;
}

elm_cpu_work elm_cpu_attention_work(const elm_cpu_run *r, const elm_cpu_step *s) {
    const elm_kv *kv = &r->step->states[s->state];
    const division way = division_of(r, s, kv);
    const size_t n_rows = elm_cpu_n_rows(r, &s->in[0]), position = position_of(r, s),
                 begin = first_chunk(&s->node->attrs, position),
                 n_chunks = position / ELM_CPU_KV_CHUNK + 1 - begin;
    const uint64_t seen = position + n_rows - begin * ELM_CPU_KV_CHUNK;
    elm_cpu_work w = {1, elm_thread_pool_size(r->step->pool),
                      n_rows * seen * s->n_heads * (kv->k_dim + kv->v_dim)};
    if (way == by_tokens) {
        size_t step = rows_of_tile(r, s, s->n_heads / kv->n_heads);
        w.units = (n_rows + step - 1) / step * kv->n_heads;
    } else if (way == by_chunks) {
        const wave now = wave_of(r, s, kv);
        w.n_passes = (uint32_t)(2 * ((n_chunks + ELM_CPU_WAVE_CHUNKS - 1) / ELM_CPU_WAVE_CHUNKS));
        w.units = r->pass % 2 ? s->n_heads : now.n_chunks * now.n_groups;
        if (r->pass % 2) w.cost = now.n_chunks * s->n_heads * kv->v_dim * ELM_CPU_ROW_FLOAT_COST;
    }
    return w;
}

void elm_cpu_run_attention(const elm_cpu_run *r, const elm_cpu_step *s, uint32_t part,
                           uint32_t n_parts) {
    const elm_kv *kv = &r->step->states[s->state];
    division_of(r, s, kv)(r, s, kv, part, n_parts);
}
