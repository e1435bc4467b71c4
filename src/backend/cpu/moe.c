/* moe.c - mixture of experts: rows grouped by expert, then the linear kernels. Layer: backend/cpu.
 *
 *   route      every row picks its experts and their weights
 *   sort       rows are listed expert by expert ("places")
 *   gather     the input of every place: codes, or floats
 *   up         [place][2I] = gather . gate_up[expert]
 *   activate   activation and product, quantised again
 *   down       [place][N]
 *   sum        out[row] = its places in the order of their rank, weighed
 *
 * Each is a pass: a stage of its own.
 *
 * What a row gets does not depend on the rows beside it. */
#include <math.h>
#include <string.h>

#include "backend/cpu/program.h"
#include "base/checked.h"

/* The workspace of one step; places are rows * top_k. */
typedef struct plan {
    int32_t *expert;  /* [rows][top_k] chosen */
    float *weight;    /* [rows][top_k] */
    uint32_t *place;  /* [rows][top_k] where that pair is in the list */
    uint32_t *row;    /* [places] which row it is */
    uint32_t *first;  /* [n_experts + 1] places of an expert */
    uint32_t *active; /* [n_active] experts that have any, ascending */
    uint32_t *n_active;
    float *x;             /* [places][x_stride] without act_quant */
    float *up;            /* [places][up_stride] gate | up, then their product in front */
    float *down;          /* [places][down_stride] */
    elm_cpu_acts in, mid; /* with act_quant */
    size_t x_stride, up_stride, down_stride, bytes;
} plan;

static void *take(uint8_t *base, size_t *at, size_t bytes) {
    void *p = base ? base + *at : NULL;
    *at += elm_round_up(bytes, 64);
    return p;
}

static elm_cpu_acts take_acts(uint8_t *base, size_t *at, size_t rows, size_t n) {
    elm_cpu_acts a = {.block_stride = (n + ELM_ACT_GROUP - 1) / ELM_ACT_GROUP};
    a.q_stride = elm_round_up(a.block_stride * ELM_ACT_GROUP, 64) + 64;
    a.q = take(base, at, rows * a.q_stride);
    a.d = take(base, at, rows * a.block_stride * sizeof *a.d);
    a.start = take(base, at, rows * a.block_stride * sizeof *a.start);
    a.sum = take(base, at, rows * a.block_stride * sizeof *a.sum);
    return a;
}

/* base NULL: only the size. */
static plan plan_of(const elm_cpu_step *s, uint8_t *base, size_t rows) {
    size_t at = 0, top_k = (size_t)s->node->attrs.top_k, places = rows * top_k;
    bool quantised = s->node->attrs.act_quant == ELM_ACT_QUANT_I8;
    plan p = {.x_stride = elm_round_up(s->weight.n_cols, 16),
              .up_stride = elm_round_up(s->weight.n_rows, 16),
              .down_stride = elm_round_up(s->down.n_rows, 16)};
    p.expert = take(base, &at, places * sizeof *p.expert);
    p.weight = take(base, &at, places * sizeof *p.weight);
    p.place = take(base, &at, places * sizeof *p.place);
    p.row = take(base, &at, places * sizeof *p.row);
    p.first = take(base, &at, ((size_t)s->n_experts + 1) * sizeof *p.first);
    p.active = take(base, &at, s->n_experts * sizeof *p.active);
    p.n_active = take(base, &at, sizeof *p.n_active);
    p.up = take(base, &at, places * p.up_stride * sizeof *p.up);
    p.down = take(base, &at, places * p.down_stride * sizeof *p.down);
    if (quantised) {
        p.in = take_acts(base, &at, places, s->weight.n_cols);
        p.mid = take_acts(base, &at, places, s->down.n_cols);
    } else {
        p.x = take(base, &at, places * p.x_stride * sizeof *p.x);
    }
    p.bytes = at;
    return p;
}

size_t elm_cpu_moe_workspace(const elm_cpu_step *s, size_t rows) {
    return plan_of(s, NULL, rows).bytes;
}

/* ---- routing ---- */

/* The largest logits, the lowest index of equals first; then the softmax over all, or over them. */
static void route(const elm_cpu_step *s, const float *logits, int32_t *expert, float *weight) {
    size_t top_k = (size_t)s->node->attrs.top_k;
    float total = 0.0f;
    for (size_t n = 0; n < top_k; n++) { /* insertion into the chosen, kept in order */
        expert[n] = -1;
        weight[n] = -INFINITY;
    }
    for (uint32_t e = 0; e < s->n_experts; e++) {
        if (expert[top_k - 1] >= 0 && !(logits[e] > weight[top_k - 1])) continue;
        size_t at = top_k - 1;
        for (; at > 0 && (expert[at - 1] < 0 || logits[e] > weight[at - 1]); at--) {
            expert[at] = expert[at - 1];
            weight[at] = weight[at - 1];
        }
        expert[at] = (int32_t)e;
        weight[at] = logits[e];
    }
    float top = weight[0];
    for (uint32_t e = 0; !s->node->attrs.renormalise && e < s->n_experts; e++)
        total += expf(logits[e] - top);
    for (size_t n = 0; n < top_k; n++) {
        weight[n] = expf(weight[n] - top);
        if (s->node->attrs.renormalise) total += weight[n];
    }
    for (size_t n = 0; n < top_k; n++) {
        weight[n] /= total;
        if (s->vector) weight[n] *= s->vector[expert[n]];
    }
}

/* Lists the rows of every expert, ascending, and the experts. */
static void sort(const elm_cpu_step *s, const plan *p, size_t places) {
    uint32_t top_k = (uint32_t)s->node->attrs.top_k, n_experts = s->n_experts;
    memset(p->first, 0, (n_experts + 1) * sizeof *p->first);
    for (size_t i = 0; i < places; i++) p->first[p->expert[i] + 1]++;
    for (uint32_t e = 0; e < n_experts; e++) p->first[e + 1] += p->first[e];
    for (size_t i = 0; i < places; i++) { /* first[e] moves to the end of e ... */
        p->place[i] = p->first[p->expert[i]]++;
        p->row[p->place[i]] = (uint32_t)(i / top_k);
    }
    for (uint32_t e = n_experts; e > 0; e--) p->first[e] = p->first[e - 1]; /* ... and back */
    p->first[0] = 0;
    *p->n_active = 0;
    for (uint32_t e = 0; e < n_experts; e++)
        if (p->first[e] < p->first[e + 1]) p->active[(*p->n_active)++] = e;
}

/* ---- data ---- */

static void gather(const elm_cpu_run *r, const elm_cpu_step *s, const plan *p, size_t begin,
                   size_t end) {
    elm_cpu_acts from = elm_cpu_acts_of(r);
    const elm_cpu_acts *to = &p->in;
    size_t blocks = s->weight.n_blocks;
    for (size_t i = begin; i < end; i++) {
        size_t row = p->row[i];
        if (!s->reads_acts) {
            memcpy(p->x + i * p->x_stride, elm_cpu_row(r, &s->in[0], row),
                   s->weight.n_cols * sizeof(float));
            continue;
        }
        size_t at = i * to->block_stride, source = row * from.block_stride;
        memcpy(to->q + i * to->q_stride, from.q + row * from.q_stride, blocks * ELM_ACT_GROUP);
        memcpy(to->d + at, from.d + source, blocks * sizeof *to->d);
        memcpy(to->start + at, from.start + source, blocks * sizeof *to->start);
        memcpy(to->sum + at, from.sum + source, blocks * sizeof *to->sum);
    }
}

static void activate(const elm_cpu_run *r, const elm_cpu_step *s, const plan *p, size_t begin,
                     size_t end) {
    const elm_cpu_acts *to = &p->mid;
    size_t n = s->down.n_cols;
    for (size_t i = begin; i < end; i++) {
        float *up = p->up + i * p->up_stride;
        size_t at = i * to->block_stride;
        r->kernels->glu(up, up + n, n, s->node->attrs.activation, up);
        if (s->reads_acts)
            r->kernels->quantize(up, n, to->q + i * to->q_stride, to->d + at, to->start + at,
                                 to->sum + at);
    }
}

static void sum_places(const elm_cpu_run *r, const elm_cpu_step *s, const plan *p, size_t begin,
                       size_t end) {
    size_t top_k = (size_t)s->node->attrs.top_k, n = s->out.width;
    for (size_t row = begin; row < end; row++) {
        float *out = elm_cpu_row(r, &s->out, row);
        memset(out, 0, n * sizeof *out);
        for (size_t k = row * top_k; k < (row + 1) * top_k; k++)
            r->kernels->join(out, 1.0f, p->down + p->place[k] * p->down_stride, p->weight[k], n);
    }
}

/* ---- linears ---- */

static elm_cpu_weight of_expert(const elm_cpu_weight *stack, size_t expert) {
    elm_cpu_weight w = *stack;
    size_t codes = (size_t)w.n_panels * w.k_padded * 16 * elm_dtype_get(w.dtype)->bits / 8;
    size_t groups = (size_t)w.n_panels * w.n_groups * 16;
    w.codes = (const uint8_t *)w.codes + expert * codes;
    if (w.scales) w.scales += expert * groups;
    if (w.zeros) w.zeros += expert * groups;
    return w;
}

/* Pairs of panels, the tiles of the linear kernels, of one expert. */
static size_t pairs_of(const elm_cpu_weight *stack) {
    return (stack->n_panels + 1) / 2;
}

/* Rows of the places of every expert that has any times its matrix: panels of one expert after the
 * other are divided, so that a part reads one contiguous stream of few experts. */
static void experts(const elm_cpu_run *r, const elm_cpu_step *s, const plan *p,
                    const elm_cpu_weight *stack, const elm_cpu_linear *all, uint32_t part,
                    uint32_t n_parts) {
    size_t at, stop, pairs = pairs_of(stack);
    elm_cpu_linear_fn fn = r->kernels->linear_float;
    if (s->reads_acts)
        fn = elm_dtype_get(stack->dtype)->bits == 4 ? r->kernels->linear_i4 : r->kernels->linear_i8;
    elm_split(*p->n_active * pairs, 1, part, n_parts, &at, &stop);
    while (at < stop) {
        size_t e = p->active[at / pairs], first = p->first[e];
        size_t begin = at % pairs, end = begin + (stop - at) < pairs ? begin + (stop - at) : pairs;
        elm_cpu_weight w = of_expert(stack, e);
        elm_cpu_linear job = *all;
        job.weight = &w;
        job.n_tokens = p->first[e + 1] - p->first[e];
        job.y += first * job.y_stride;
        if (s->reads_acts) {
            job.acts.q += first * job.acts.q_stride;
            job.acts.d += first * job.acts.block_stride;
            job.acts.start += first * job.acts.block_stride;
            job.acts.sum += first * job.acts.block_stride;
        } else {
            job.x += first * job.x_stride;
        }
        fn(&job, 2 * begin, 2 * end < stack->n_panels ? 2 * end : stack->n_panels,
           elm_cpu_scratch(r));
        at += end - begin;
    }
}

/* ---- passes ---- */

enum { ROUTE, SORT, GATHER, UP, ACTIVATE, DOWN, SUM, N_PASSES };

elm_cpu_work elm_cpu_moe_work(const elm_cpu_run *r, const elm_cpu_step *s) {
    const size_t rows = elm_cpu_n_rows(r, &s->out), places = rows * (size_t)s->node->attrs.top_k;
    const plan p = plan_of(s, r->workspace + r->program->moe, rows);
    elm_cpu_work w = {.n_passes = rows > 0 ? N_PASSES : 1, .units = rows};
    if (r->pass == UP || r->pass == DOWN) {
        const elm_cpu_weight *stack = r->pass == UP ? &s->weight : &s->down;
        w.units = *p.n_active * pairs_of(stack);
        w.cost = w.units * 32 * stack->k_padded * elm_dtype_get(stack->dtype)->bits / 8 *
                 (1 + places / (*p.n_active * 4));
    } else if (r->pass == SORT) {
        w.units = 1;
    } else if (r->pass == ROUTE) {
        w.cost = (uint64_t)rows * s->n_experts * ELM_CPU_ROW_FLOAT_COST;
    } else {
        if (r->pass != SUM) w.units = places;
        w.cost = (uint64_t)places * s->weight.n_rows * ELM_CPU_ROW_FLOAT_COST;
    }
    return w;
}

void elm_cpu_run_moe(const elm_cpu_run *r, const elm_cpu_step *s, uint32_t part, uint32_t n_parts) {
    size_t rows = elm_cpu_n_rows(r, &s->out), top_k = (size_t)s->node->attrs.top_k;
    size_t begin, end, place, place_end;
    if (rows == 0) return;
    plan p = plan_of(s, r->workspace + r->program->moe, rows);
    elm_split(rows, 1, part, n_parts, &begin, &end);
    elm_split(rows * top_k, 1, part, n_parts, &place, &place_end);
    const elm_cpu_linear up = {
        .acts = p.in, .x = p.x, .x_stride = p.x_stride, .y = p.up, .y_stride = p.up_stride};
    const elm_cpu_linear down = {
        .acts = p.mid, .x = p.up, .x_stride = p.up_stride, .y = p.down, .y_stride = p.down_stride};
    switch (r->pass) {
    case ROUTE:
        for (size_t row = begin; row < end; row++)
            route(s, elm_cpu_row(r, &s->in[1], row), p.expert + row * top_k,
                  p.weight + row * top_k);
        break;
    case SORT:
        sort(s, &p, rows * top_k);
        break;
    case GATHER:
        gather(r, s, &p, place, place_end);
        break;
    case UP:
        experts(r, s, &p, &s->weight, &up, part, n_parts);
        break;
    case ACTIVATE:
        activate(r, s, &p, place, place_end);
        break;
    case DOWN:
        experts(r, s, &p, &s->down, &down, part, n_parts);
        break;
    default:
        sum_places(r, s, &p, begin, end);
    }
}
