/* draft_mtp.c - see draft_mtp.h; runtime. */
#include "runtime/draft_mtp.h"

#include "runtime/session.h"

#include <string.h>

struct elm_mtp {
    const elm_allocator *alloc;
    const elm_plan *plan; /* the model's draft plan */
    uint8_t *scratch, *workspace;
    float *carry;  /* [n_hidden] the head's own hidden row, on its way back in */
    uint32_t next; /* the KV state holds the pairs of positions [0, next) */
    struct {       /* hidden rows of the text graph */
        const float *rows;
        uint32_t stride, first, n;
    } seen;
};

static uint32_t n_hidden_of(const elm_model *m) {
    return (uint32_t)m->graph->values[m->graph->hidden].dims[1];
}

elm_status elm_mtp_measure(const elm_model *m, uint64_t *bytes, elm_error *err) {
    if (!m->draft_plan.graph)
        return elm_fail(err, ELM_UNSUPPORTED, "the file has no draft head (MTP)");
    *bytes = sizeof(elm_mtp) + m->draft_plan.scratch_bytes + m->draft_plan.workspace_bytes +
             n_hidden_of(m) * sizeof(float);
    return ELM_OK;
}

elm_status elm_mtp_create(const elm_session *s, elm_mtp **out, elm_error *err) {
    const elm_plan *plan = &s->model->draft_plan;
    elm_mtp *mtp = NULL;
    *out = NULL;
    ELM_TRY(elm_alloc(s->alloc, sizeof *mtp, "the draft head", &mtp, err));
    mtp->alloc = s->alloc;
    mtp->plan = plan;
    *out = mtp; /* freed by the caller, also half-made */
    ELM_TRY(elm_alloc_array(s->alloc, n_hidden_of(s->model), sizeof *mtp->carry, "a hidden row",
                            &mtp->carry, err));
    ELM_TRY(elm_alloc(s->alloc, plan->scratch_bytes, "activations of the draft head", &mtp->scratch,
                      err));
    return elm_alloc(s->alloc, plan->workspace_bytes, "workspaces of the draft head",
                     &mtp->workspace, err);
}

void elm_mtp_free(elm_mtp *mtp) {
    if (!mtp) return;
    uint32_t n_hidden = (uint32_t)mtp->plan->graph->values[mtp->plan->graph->hidden].dims[1];
    elm_free(mtp->alloc, mtp->carry, n_hidden * sizeof *mtp->carry);
    elm_free(mtp->alloc, mtp->scratch, mtp->plan->scratch_bytes);
    elm_free(mtp->alloc, mtp->workspace, mtp->plan->workspace_bytes);
    elm_free(mtp->alloc, mtp, sizeof *mtp);
}

/* ---- what is known ---- */

void elm_mtp_saw(elm_mtp *mtp, const elm_session *s, const elm_work *work, uint32_t first,
                 uint32_t n) {
    const elm_place *place = &work->plan->places[s->model->graph->hidden];
    mtp->seen.rows = (const float *)(const void *)(work->scratch + place->offset);
    mtp->seen.stride = place->row_stride;
    mtp->seen.first = first;
    mtp->seen.n = n;
}

void elm_mtp_forget_rows(elm_mtp *mtp) {
    mtp->seen.n = 0;
}

void elm_mtp_cut(elm_mtp *mtp, uint32_t n) {
    uint32_t pairs = n > 0 ? n - 1 : 0; /* the last one's token was n - 1 */
    if (mtp->next > pairs) mtp->next = pairs;
    if (mtp->seen.first >= n)
        mtp->seen.n = 0;
    else if (mtp->seen.n > n - mtp->seen.first)
        mtp->seen.n = n - mtp->seen.first;
}

bool elm_mtp_has_row(const elm_mtp *mtp, uint32_t position) {
    return position >= mtp->seen.first && position - mtp->seen.first < mtp->seen.n;
}

/* ---- steps ---- */

/* Runs the pairs of positions [first, first + n): hidden rows `stride` apart, tokens as given. Asks
 * for the logits of the last one when `logits` is not NULL. */
static elm_status run(elm_mtp *mtp, elm_session *s, uint32_t first, uint32_t n, const float *hidden,
                      uint32_t stride, const int32_t *tokens, const float **logits,
                      elm_error *err) {
    const elm_graph *g = mtp->plan->graph;
    const int32_t last = (int32_t)n - 1;
    for (uint32_t i = 0; i < n; i++) s->positions[i] = (int32_t)(first + i);
    elm_step step = {
        .n_tokens = n,
        .n_past = first,
        .n_rows = logits ? 1 : 0,
        .tokens = tokens,
        .positions = s->positions,
        .rows = &last,
        .hidden = hidden,
        .hidden_stride = stride,
        .scratch = mtp->scratch,
        .workspace = mtp->workspace,
        .states = s->states,
        .recurrent = s->recurrent,
        .pool = s->pool,
    };
    ELM_TRY(elm_plan_run(mtp->plan, &step, err));
    if (!logits) return ELM_OK;
    const elm_place *place = &mtp->plan->places[g->hidden];
    memcpy(mtp->carry, elm_step_rows(&step, place) + (size_t)last * place->row_stride,
           n_hidden_of(s->model) * sizeof *mtp->carry);
    *logits = elm_step_rows(&step, &mtp->plan->places[g->output]);
    return ELM_OK;
}

/* Runs what the rows at hand complete; *logits is of the last pair, NULL when there was none. */
static elm_status catch_up(elm_mtp *mtp, elm_session *s, const float **logits, elm_error *err) {
    uint32_t end = mtp->seen.first + mtp->seen.n;
    if (end > s->n_run) end = s->n_run; /* candidates that were rejected */
    if (s->n_tokens == 0 || mtp->seen.n == 0) return ELM_OK;
    if (end > s->n_tokens - 1) end = s->n_tokens - 1; /* the token behind is not known yet */
    uint32_t first = mtp->next > mtp->seen.first ? mtp->next : mtp->seen.first;
    if (first >= end) return ELM_OK;
    ELM_TRY(run(mtp, s, first, end - first,
                mtp->seen.rows + (size_t)(first - mtp->seen.first) * mtp->seen.stride,
                mtp->seen.stride, s->tokens + first + 1, logits, err));
    mtp->next = end;
    return ELM_OK;
}

elm_status elm_mtp_prime(elm_mtp *mtp, elm_session *s, elm_error *err) {
    return catch_up(mtp, s, NULL, err);
}

elm_status elm_mtp_propose(elm_mtp *mtp, elm_session *s, uint32_t most, int32_t *out, uint32_t *n,
                           elm_error *err) {
    const float *logits = NULL;
    *n = 0;
    ELM_TRY(catch_up(mtp, s, &logits, err));
    if (!logits || mtp->next != s->n_tokens - 1) return ELM_OK;
    for (;;) {
        out[*n] = elm_likeliest(logits, s->model->meta.n_real_tokens);
        if (++*n == most) return ELM_OK;
        uint32_t position = mtp->next + *n - 1;
        ELM_TRY(run(mtp, s, position, 1, mtp->carry, 0, &out[*n - 1], &logits, err));
    }
}
