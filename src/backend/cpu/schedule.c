/* schedule.c - runs a program: how its stages are cut into parts. Layer: backend/cpu.
 *
 * A part should be worth the few hundred nanoseconds that it takes to hand out a stage, and there
 * should be several for each thread, so that others can take over what a slow one has not begun;
 * and none should be so long that the others wait for the last one.
 * Nothing that is computed depends on the number of parts. */
#include "backend/cpu/program.h"

enum {
    WORKSPACE_ALIGN = 64,
    PARTS_PER_THREAD = 8,
    MIN_PART_COST = 16 * 1024,  /* about a microsecond */
    MAX_PART_COST = 512 * 1024, /* tens of them */
    ROWS_TOGETHER = 4,          /* that run through all steps of a stage before the next: near
                                   caches hold them */
};

typedef struct walk {
    elm_cpu_run run;
    uint32_t n_threads;
    uint32_t begin, end; /* steps of the stage */
    uint32_t n_passes;
    size_t n_rows; /* of every step, if all are split by rows; else 0 */
} walk;

/* ---- work ---- */

static elm_cpu_work rows_work(const elm_cpu_run *r, const elm_cpu_step *s) {
    size_t n = s->split == ELM_CPU_SPLIT_R ? r->step->n_rows : r->step->n_tokens;
    uint64_t width = s->out.width > s->in[0].width ? s->out.width : s->in[0].width;
    return (elm_cpu_work){1, n, n * width * ELM_CPU_ROW_FLOAT_COST};
}

/* Many tokens are bound by products, four of them to the time of reading. */
static elm_cpu_work linear_work(const elm_cpu_run *r, const elm_cpu_step *s) {
    const elm_cpu_weight *w = &s->weight;
    size_t n = s->out.is_r ? r->step->n_rows : r->step->n_tokens;
    uint64_t bytes = (uint64_t)w->n_panels * 16 * w->k_padded * elm_dtype_get(w->dtype)->bits / 8;
    return (elm_cpu_work){1, n > 1 ? (w->n_panels + 1) / 2 : w->n_panels, bytes * (1 + n / 4)};
}

static elm_cpu_work work_of(const elm_cpu_run *r, const elm_cpu_step *s) {
    if (s->split != ELM_CPU_SPLIT_WIDE) return rows_work(r, s);
    const elm_state *state = &r->program->states[s->state];
    uint64_t n = r->step->n_tokens + r->step->n_commit;
    switch (s->node->op) {
    case ELM_OP_LINEAR:
        return linear_work(r, s);
    case ELM_OP_ATTENTION:
        return elm_cpu_attention_work(r, s);
    case ELM_OP_MOE:
        return elm_cpu_moe_work(r, s);
    case ELM_OP_CAUSAL_CONV1D:
        return (elm_cpu_work){1, (state->v_dim + 15) / 16,
                              n * state->v_dim * ELM_CPU_ROW_FLOAT_COST};
    case ELM_OP_GATED_DELTA_NET:
        return (elm_cpu_work){1, state->n_heads,
                              n * state->n_heads * state->k_dim * state->v_dim * sizeof(float)};
    default: /* softcap */
        return (elm_cpu_work){1, (s->out.width + 15) / 16,
                              (uint64_t)r->step->n_rows * s->out.width * ELM_CPU_ROW_FLOAT_COST};
    }
}

/* ---- stages ---- */

/* Of the steps together. One of several passes is a stage of its own. */
static elm_cpu_work stage_work(const walk *w) {
    elm_cpu_work all = {1, 1, 0};
    for (uint32_t i = w->begin; i < w->end; i++) {
        const elm_cpu_work work = work_of(&w->run, &w->run.program->steps[i]);
        if (work.units > all.units) all.units = work.units;
        if (work.n_passes > all.n_passes) all.n_passes = work.n_passes;
        all.cost += work.cost;
    }
    return all;
}

static uint32_t parts_of(const elm_cpu_work *work, uint32_t n_threads) {
    uint64_t n = work->cost / MIN_PART_COST, fewest = (uint64_t)n_threads * PARTS_PER_THREAD;
    if (n > fewest) n = fewest;
    if (n < work->cost / MAX_PART_COST) n = work->cost / MAX_PART_COST;
    if (n > work->units) n = work->units;
    if (n > ELM_MAX_PARTS) n = ELM_MAX_PARTS;
    if (n_threads <= 1 || n == 0) return 1;
    if (n > n_threads) n -= n % n_threads; /* equal shares */
    return (uint32_t)n;
}

/* Rows that all steps of the stage work on one by one, or 0. */
static size_t rows_of_stage(const walk *w) {
    const elm_cpu_step *first = &w->run.program->steps[w->begin];
    for (const elm_cpu_step *s = first; s < w->run.program->steps + w->end; s++)
        if (s->split == ELM_CPU_SPLIT_WIDE || s->split != first->split) return 0;
    return rows_work(&w->run, first).units;
}

static uint32_t next_stage(void *context) {
    walk *w = context;
    const elm_program *p = w->run.program;
    if (++w->run.pass >= w->n_passes) {
        w->run.pass = 0;
        w->begin = w->end;
        if (w->begin == p->n_steps) return 0;
        do w->end++;
        while (w->end < p->n_steps && !p->steps[w->end].opens_stage);
        w->n_rows = rows_of_stage(w);
    }
    const elm_cpu_work work = stage_work(w);
    w->n_passes = work.n_passes;
    return parts_of(&work, w->n_threads);
}

static void run_part(void *context, uint32_t part, uint32_t n_parts, uint32_t thread) {
    const walk *w = context;
    elm_cpu_run r = w->run;
    r.thread = thread;
    uint32_t cuts = (uint32_t)(w->n_rows / n_parts / ROWS_TOGETHER) + 1;
    for (uint32_t c = 0; c < cuts; c++)
        for (uint32_t i = w->begin; i < w->end; i++) {
            const elm_cpu_step *s = &r.program->steps[i];
            s->fn(&r, s, part * cuts + c, n_parts * cuts);
        }
}

/* ---- running ---- */

/* Numbers of the step against what the program was prepared for, and indices against their tables.
 */
static elm_status check_step(const elm_program *p, const elm_step *step, elm_error *err) {
    if (step->n_tokens > p->max_tokens || step->n_rows > p->max_rows)
        return elm_fail(err, ELM_INVALID_ARGUMENT,
                        "cpu: a step of %u tokens and %u rows; prepared for %u and %u",
                        step->n_tokens, step->n_rows, p->max_tokens, p->max_rows);
    if (step->n_commit > ELM_MAX_HELD || (step->hold && step->n_tokens > ELM_MAX_HELD))
        return elm_fail(err, ELM_INVALID_ARGUMENT, "cpu: %u tokens held, %u committed; at most %d",
                        step->n_tokens, step->n_commit, ELM_MAX_HELD);
    if (elm_thread_pool_size(step->pool) > p->max_threads)
        return elm_fail(err, ELM_INVALID_ARGUMENT, "cpu: %u threads; prepared for %u",
                        elm_thread_pool_size(step->pool), p->max_threads);
    for (uint32_t i = 0; p->n_vocab > 0 && i < step->n_tokens; i++)
        if (step->tokens[i] < 0 || (uint32_t)step->tokens[i] >= p->n_vocab)
            return elm_fail(err, ELM_INVALID_ARGUMENT,
                            "cpu: token %d at %u is outside the table of %u", (int)step->tokens[i],
                            i, p->n_vocab);
    for (uint32_t i = 0; i < step->n_rows; i++)
        if (step->rows[i] < 0 || (uint32_t)step->rows[i] >= step->n_tokens)
            return elm_fail(err, ELM_INVALID_ARGUMENT,
                            "cpu: row %d at %u is outside the step's %u tokens", (int)step->rows[i],
                            i, step->n_tokens);
    return ELM_OK;
}

elm_status elm_cpu_run_program(const elm_program *p, const elm_step *step, elm_error *err) {
    ELM_TRY(check_step(p, step, err));
    if (step->n_tokens == 0 && step->n_commit == 0) return ELM_OK;
    uintptr_t base = (uintptr_t)step->workspace;
    size_t shift = (WORKSPACE_ALIGN - base % WORKSPACE_ALIGN) % WORKSPACE_ALIGN;
    walk w = {
        .run = {p, step, &p->kernels, (uint8_t *)step->workspace + shift, 0, 0},
        .n_threads = elm_thread_pool_size(step->pool),
    };
    elm_stages stages = {next_stage, run_part, &w};
    elm_thread_pool_run_stages(step->pool, &stages);
    return ELM_OK;
}
