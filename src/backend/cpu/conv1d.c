/* conv1d.c - causal depthwise convolution: channels divided into parts. Layer: backend/cpu.
 *
 * Every part keeps the state of its channels: it applies accepted tokens of a held step first,
 * and leaves the last rows behind. */
#include <string.h>

#include "backend/cpu/program.h"

enum { MAX_TAPS = 64 };

typedef struct conv {
    const elm_state *state;
    elm_recurrent *memory;
    size_t begin, n; /* channels of this part */
} conv;

/* The state becomes the last k_dim rows of itself with `row` behind it, in these channels. */
static void push(const conv *c, const float *row) {
    size_t width = c->state->v_dim, bytes = c->n * sizeof(float);
    float *at = c->memory->values + c->begin;
    for (uint32_t j = 0; j + 1 < c->state->k_dim; j++, at += width) memcpy(at, at + width, bytes);
    memcpy(at, row, bytes);
}

/* Input row of token t (before 0: from the state), from the first channel on. */
static const float *row_of(const elm_cpu_run *r, const elm_cpu_step *s, const conv *c, int64_t t) {
    if (t >= 0) return elm_cpu_row(r, &s->in[0], (size_t)t) + c->begin;
    return c->memory->values + (size_t)(t + c->state->k_dim) * c->state->v_dim + c->begin;
}

static void keep(const elm_cpu_run *r, const elm_cpu_step *s, const conv *c) {
    size_t n = r->step->n_tokens, floats = elm_state_held_floats(c->state);
    if (r->step->hold) {
        for (size_t t = 0; t < n; t++)
            memcpy(c->memory->held + t * floats + c->begin, row_of(r, s, c, (int64_t)t),
                   c->n * sizeof(float));
        return;
    }
    for (size_t t = n > c->state->k_dim ? n - c->state->k_dim : 0; t < n; t++)
        push(c, row_of(r, s, c, (int64_t)t));
}

void elm_cpu_run_causal_conv1d(const elm_cpu_run *r, const elm_cpu_step *s, uint32_t part,
                               uint32_t n_parts) {
    const elm_state *state = &r->program->states[s->state];
    conv c = {.state = state, .memory = &r->step->recurrent[s->state]};
    size_t end, n_taps = (size_t)state->k_dim + 1, floats = elm_state_held_floats(state);
    elm_split(state->v_dim, 16, part, n_parts, &c.begin, &end);
    c.n = end - c.begin;
    if (c.n == 0) return;
    for (uint32_t i = 0; i < r->step->n_commit; i++)
        push(&c, c.memory->held + i * floats + c.begin);
    for (size_t t = 0; t < r->step->n_tokens; t++) {
        const float *rows[MAX_TAPS];
        for (size_t j = 0; j < n_taps; j++)
            rows[j] = row_of(r, s, &c, (int64_t)(t + j) - (int64_t)state->k_dim);
        r->kernels->conv(rows, s->vector + c.begin, state->v_dim, n_taps, c.n,
                         s->node->attrs.activation, elm_cpu_row(r, &s->out, t) + c.begin);
    }
    keep(r, s, &c);
}

bool elm_cpu_conv1d_fits(const elm_state *state) {
    return state->k_dim < MAX_TAPS;
}
