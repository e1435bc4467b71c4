/* attention_block.h - a tile of queries of one KV head, and what it does with a block of 64 positions.
 *
 * Layer: backend/cpu. attention.c divides the work into tiles and walks them over blocks. */
#ifndef ELM_BACKEND_CPU_ATTENTION_BLOCK_H
#define ELM_BACKEND_CPU_ATTENTION_BLOCK_H

#include "backend/cpu/program.h"
#include "backend/kv.h"

/* Online sums of n queries: largest score, sum of weights, weighted values. */
typedef struct elm_cpu_sums {
    float *m, *l; /* [n] */
    float *o;     /* [n][v_pad] */
} elm_cpu_sums;

typedef struct elm_cpu_tile {
    const elm_cpu_kernels *kernels;
    const elm_kv *kv;
    const elm_attrs *attrs;
    uint32_t kv_head, group;     /* group: query heads of this KV head */
    size_t first, n_tokens, n_q; /* position of the first token; n_q = n_tokens * group */
    size_t k_dim, v_dim, v_pad;
    size_t stride;      /* rows of a plane from one block to that which is read next, in blocks */
    float *q;           /* [n_q][k_dim]; of an f32 or f16 cache */
    elm_cpu_acts codes; /* the same as int8, of an int8 cache */
    float *s;           /* [n_q][64] scores, then weights */
    float *c, *ones;    /* [n_q] */
    uint8_t *w;         /* [n_q][ELM_CPU_WEIGHT_CODES] weights as integers, of an int8 cache */
    float *unit;        /* [n_q] what 1 weighs */
    elm_cpu_sums chunk, total;
} elm_cpu_tile;

/* What a tile sees of a block: tokens [i0, i1), positions [from, to) between them. */
typedef struct elm_cpu_sight {
    size_t i0, i1, from, to;
} elm_cpu_sight;

/* Of the block at position `base`, a multiple of 64. i0 >= i1: nothing. */
elm_cpu_sight elm_cpu_sight_of(const elm_cpu_tile *t, size_t base);

/* Scores of the queries of what is seen, as the softmax takes them: scaled, capped, -inf for what a query
 * does not see; into t->s. */
void elm_cpu_block_scores(const elm_cpu_tile *t, const elm_cpu_sight *seen, size_t base);

/* Scores of queries [q0, q1) to weights, 0 for what they do not see; their factors to t->c. */
void elm_cpu_block_softmax(const elm_cpu_tile *t, size_t q0, size_t q1);

/* Adds the weighted values to t->chunk. */
void elm_cpu_block_add(const elm_cpu_tile *t, const elm_cpu_sight *seen, size_t base);

#endif
