/* gated_delta_net.c - Gated DeltaNet (arXiv 2412.06464): heads divided into parts. Layer:
 * backend/cpu.
 *
 * One token at a time by the recurrence; several by the chunked form inside cells of 64 positions
 * that are counted from 0, so that how a prompt is cut changes little. With S [k_dim][v_dim], unit
 * rows K, Q and values V of n tokens, decays g and strengths b:
 *
 *   E_i = g_0 .. g_i           D_ij = g_(j+1) .. g_i for j <= i
 *   A_ij = b_i (K_i . K_j) D_ij for j < i
 *   N = (I + A)^-1 (b (V - E K S))
 *   out = E Q S + ((Q K^T) D) N          S = E_last S + (D_last K)^T N
 *
 * Products of decays are taken step by step, as the recurrence takes them: nothing overflows. */
#include <math.h>
#include <string.h>

#include "backend/cpu/program.h"
#include "base/checked.h"

enum { CELL = ELM_CPU_KV_BLOCK };

/* What a thread needs for one head and one cell. Widths are padded to 16 with zeros. */
typedef struct cell {
    float *q, *k;      /* [CELL][k_pad] unit rows, q scaled */
    float *x;          /* [CELL][v_pad] values, then N */
    float *o;          /* [CELL][v_pad] */
    float *a, *p;      /* [CELL][CELL] */
    float *kt;         /* [k_pad][CELL] K transposed */
    float *copy;       /* [k_dim][v_pad] a state that must not be written, or is not padded */
    float decay[CELL]; /* g */
    float beta[CELL];  /* b */
} cell;

typedef struct net {
    const elm_cpu_run *run;
    const elm_cpu_step *step;
    const elm_state *state;
    elm_recurrent *memory;
    size_t k_dim, v_dim, k_pad, v_pad;
    size_t keys;     /* floats of all queries, or of all keys */
    size_t group;    /* value heads of a key head */
    size_t head;     /* at work */
    float *s;        /* its state */
    size_t s_stride; /* of rows of s: v_dim in place, v_pad in the copy */
    cell c;
} net;

static size_t padded(size_t n) {
    return elm_round_up(n, 16);
}

size_t elm_cpu_delta_scratch(const elm_state *state) {
    size_t k = padded(state->k_dim), v = padded(state->v_dim);
    return (3 * CELL * k + 2 * CELL * v + 2 * CELL * CELL + state->k_dim * v) * sizeof(float);
}

static net net_of(const elm_cpu_run *r, const elm_cpu_step *s) {
    const elm_state *state = &r->program->states[s->state];
    net n = {.run = r,
             .step = s,
             .state = state,
             .memory = &r->step->recurrent[s->state],
             .k_dim = state->k_dim,
             .v_dim = state->v_dim,
             .k_pad = padded(state->k_dim),
             .v_pad = padded(state->v_dim)};
    n.keys = (s->in[0].width - (size_t)state->n_heads * n.v_dim) / 2;
    n.group = state->n_heads / (n.keys / n.k_dim);
    float *at = elm_cpu_scratch(r);
    n.c.q = at, at += CELL * n.k_pad;
    n.c.k = at, at += CELL * n.k_pad;
    n.c.x = at, at += CELL * n.v_pad;
    n.c.o = at, at += CELL * n.v_pad;
    n.c.a = at, at += CELL * CELL;
    n.c.p = at, at += CELL * CELL;
    n.c.kt = at, at += CELL * n.k_pad;
    n.c.copy = at;
    return n;
}

/* ---- the state of a head ---- */

static float *stored(const net *n) {
    return n->memory->values + n->head * n->k_dim * n->v_dim;
}

static void work_on_copy(net *n) {
    const float *from = stored(n);
    for (size_t i = 0; i < n->k_dim; i++) {
        float *to = n->c.copy + i * n->v_pad;
        memcpy(to, from + i * n->v_dim, n->v_dim * sizeof *to);
        memset(to + n->v_dim, 0, (n->v_pad - n->v_dim) * sizeof *to);
    }
    n->s = n->c.copy;
    n->s_stride = n->v_pad;
}

static void take_state(net *n, size_t head) {
    n->head = head;
    n->s = stored(n);
    n->s_stride = n->v_dim;
    if (n->v_dim != n->v_pad) work_on_copy(n);
}

static void put_state(const net *n) {
    float *to = stored(n);
    if (n->s == to) return;
    for (size_t i = 0; i < n->k_dim; i++)
        memcpy(to + i * n->v_dim, n->s + i * n->s_stride, n->v_dim * sizeof *to);
}

/* ---- tokens ---- */

/* to = from * factor / sqrt(sum of squares + eps), padded. */
static void unit_row(const net *n, const float *from, float factor, float *to) {
    float eps = n->step->node->attrs.eps / (float)n->k_dim;
    n->run->kernels->rms_norm(from, NULL, n->k_dim, eps, to);
    factor /= sqrtf((float)n->k_dim);
    for (size_t i = 0; i < n->k_dim; i++) to[i] *= factor;
    memset(to + n->k_dim, 0, (n->k_pad - n->k_dim) * sizeof *to);
}

static float softplus(float x) {
    return x > 20.0f ? x : log1pf(expf(x));
}

static void load_tokens(net *n, size_t first, size_t count) {
    const elm_cpu_step *s = n->step;
    size_t key_head = n->head / n->group;
    for (size_t i = 0; i < count; i++) {
        const float *m = elm_cpu_row(n->run, &s->in[0], first + i);
        float b = elm_cpu_row(n->run, &s->in[1], first + i)[n->head];
        float a = elm_cpu_row(n->run, &s->in[2], first + i)[n->head];
        float *x = n->c.x + i * n->v_pad;
        unit_row(n, m + key_head * n->k_dim, s->node->attrs.scale, n->c.q + i * n->k_pad);
        unit_row(n, m + n->keys + key_head * n->k_dim, 1.0f, n->c.k + i * n->k_pad);
        memcpy(x, m + 2 * n->keys + n->head * n->v_dim, n->v_dim * sizeof *x);
        memset(x + n->v_dim, 0, (n->v_pad - n->v_dim) * sizeof *x);
        n->c.decay[i] = expf(s->vector[n->head] * softplus(a + s->vector2[n->head]));
        n->c.beta[i] = 1.0f / (1.0f + expf(-b));
    }
}

static void store_outputs(const net *n, size_t first, size_t count) {
    for (size_t i = 0; i < count; i++)
        memcpy(elm_cpu_row(n->run, &n->step->out, first + i) + n->head * n->v_dim,
               n->c.o + i * n->v_pad, n->v_dim * sizeof(float));
}

static void one_by_one(const net *n, size_t count) {
    for (size_t i = 0; i < count; i++)
        n->run->kernels->delta_step(n->s, n->s_stride, n->k_dim, n->v_pad, n->c.k + i * n->k_pad,
                                    n->c.q + i * n->k_pad, n->c.x + i * n->v_pad, n->c.decay[i],
                                    n->c.beta[i], n->c.o + i * n->v_pad);
}

/* A and P from the products of rows that they hold; through[i] = E_i, last[j] = D of the last row.
 */
static void apply_decays(const net *n, size_t count, float *through, float *last) {
    float e = 1.0f;
    for (size_t i = 0; i < count; i++) {
        float g = n->c.decay[i], *a = n->c.a + i * CELL, *p = n->c.p + i * CELL;
        for (size_t j = 0; j < i; j++) last[j] *= g;
        last[i] = 1.0f;
        for (size_t j = 0; j < i; j++) a[j] *= n->c.beta[i] * last[j];
        for (size_t j = 0; j <= i; j++) p[j] *= last[j];
        for (size_t j = i + 1; j < count; j++) p[j] = 0.0f;
        through[i] = e *= g;
    }
}

static void scale_rows(float *x, size_t stride, size_t width, size_t n_rows, const float *factors) {
    for (size_t i = 0; i < n_rows; i++, x += stride)
        for (size_t j = 0; j < width; j++) x[j] *= factors[i];
}

/* a = K K^T and p = Q K^T, [count][count]. */
static void products_with_keys(const net *n, size_t count) {
    const cell *c = &n->c;
    size_t kp = n->k_pad, wide = padded(count);
    for (size_t d = 0; d < kp; d++)
        for (size_t j = 0; j < wide; j++) c->kt[d * CELL + j] = j < count ? c->k[j * kp + d] : 0.0f;
    memset(c->a, 0, count * CELL * sizeof *c->a);
    memset(c->p, 0, count * CELL * sizeof *c->p);
    n->run->kernels->gemm(c->k, kp, 1, c->kt, CELL, count, kp, wide, c->a, CELL);
    n->run->kernels->gemm(c->q, kp, 1, c->kt, CELL, count, kp, wide, c->p, CELL);
}

static void chunk(const net *n, size_t count) {
    const elm_cpu_kernels *k = n->run->kernels;
    const cell *c = &n->c;
    size_t kp = n->k_pad, vp = n->v_pad;
    float through[CELL], last[CELL], *seen = c->o;
    products_with_keys(n, count);
    apply_decays(n, count, through, last);

    memset(seen, 0, count * vp * sizeof *seen);
    k->gemm(c->k, kp, 1, n->s, n->s_stride, count, n->k_dim, vp, seen, vp);
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < vp; j++) {
            size_t at = i * vp + j;
            c->x[at] = c->beta[i] * (c->x[at] - through[i] * seen[at]);
        }
    k->solve(c->a, count, vp, c->x, vp);

    memset(c->o, 0, count * vp * sizeof *c->o);
    k->gemm(c->q, kp, 1, n->s, n->s_stride, count, n->k_dim, vp, c->o, vp);
    scale_rows(c->o, vp, vp, count, through);
    k->gemm(c->p, CELL, 1, c->x, vp, count, count, vp, c->o, vp);

    for (size_t i = 0; i < n->k_dim; i++)
        for (size_t j = 0; j < vp; j++) n->s[i * n->s_stride + j] *= through[count - 1];
    scale_rows(c->k, kp, kp, count, last);
    k->gemm(c->k, 1, kp, c->x, vp, n->k_dim, count, vp, n->s, n->s_stride);
}

/* ---- held steps ---- */

/* [k_dim] key, [v_dim] value, decay, strength of one token of the head. */
static float *held_of(const net *n, size_t token) {
    return n->memory->held + token * elm_state_held_floats(n->state) +
           n->head * (n->k_dim + n->v_dim + 2);
}

static void commit(const net *n, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const float *h = held_of(n, i), *gates = h + n->k_dim + n->v_dim;
        memcpy(n->c.x, h + n->k_dim, n->v_dim * sizeof *h);
        memset(n->c.x + n->v_dim, 0, (n->v_pad - n->v_dim) * sizeof *h);
        n->run->kernels->delta_step(n->s, n->s_stride, n->k_dim, n->v_pad, h, NULL, n->c.x,
                                    gates[0], gates[1], NULL);
    }
}

static void hold(const net *n, size_t count) {
    for (size_t i = 0; i < count; i++) {
        float *h = held_of(n, i);
        memcpy(h, n->c.k + i * n->k_pad, n->k_dim * sizeof *h);
        memcpy(h + n->k_dim, n->c.x + i * n->v_pad, n->v_dim * sizeof *h);
        h[n->k_dim + n->v_dim] = n->c.decay[i];
        h[n->k_dim + n->v_dim + 1] = n->c.beta[i];
    }
}

static void run_head(net *n, size_t head) {
    const elm_step *step = n->run->step;
    take_state(n, head);
    commit(n, step->n_commit);
    if (step->hold) { /* token by token, as they would run alone: the same bits */
        put_state(n);
        work_on_copy(n);
        load_tokens(n, 0, step->n_tokens);
        hold(n, step->n_tokens);
        one_by_one(n, step->n_tokens);
        store_outputs(n, 0, step->n_tokens);
        return;
    }
    for (size_t t = 0; t < step->n_tokens;) {
        size_t left = CELL - (step->n_past + t) % CELL;
        size_t count = step->n_tokens - t < left ? step->n_tokens - t : left;
        load_tokens(n, t, count);
        if (count == 1)
            one_by_one(n, 1);
        else
            chunk(n, count);
        store_outputs(n, t, count);
        t += count;
    }
    put_state(n);
}

void elm_cpu_run_gated_delta_net(const elm_cpu_run *r, const elm_cpu_step *s, uint32_t part,
                                 uint32_t n_parts) {
    net n = net_of(r, s);
    size_t begin, end;
    elm_split(n.state->n_heads, 1, part, n_parts, &begin, &end);
    for (size_t head = begin; head < end; head++) run_head(&n, head);
}
