/* timeline.c - append, rewind, sync: what is run, and what need not be run again; runtime. */
#include "runtime/prefix_cache.h"
#include "runtime/session.h"

#include <string.h>

/* ---- steps ---- */

elm_work elm_session_work(const elm_session *s) {
    return (elm_work){&s->model->plan, s->scratch, s->workspace};
}

/* A step broke off: recurrent states may have moved in some layers and not in others. */
static void recover(elm_session *s) {
    if (!elm_states_are_recurrent(&s->config)) return;
    if (!elm_snapshots_restore(s, s->n_run - s->n_commit)) elm_states_reset(s);
}

elm_status elm_session_step(elm_session *s, const elm_work *work, uint32_t n, uint32_t n_rows,
                            bool hold, elm_logits *out, elm_error *err) {
    int32_t rows[ELM_MAX_BATCH_TOKENS];
    const elm_place *place = &work->plan->places[work->plan->graph->output];
    if (atomic_exchange(s->cancel, false)) return elm_fail(err, ELM_CANCELLED, "cancelled");
    ELM_TRY(elm_model_check_weights(s->model, s->tokens + s->n_run, n, err));
    ELM_TRY(elm_draft_before_step(s, err));
    for (uint32_t t = 0; t < n; t++) s->positions[t] = (int32_t)(s->n_run + t);
    for (uint32_t r = 0; r < n_rows; r++) rows[r] = (int32_t)(n - n_rows + r);
    elm_step step = {
        .n_tokens = n,
        .n_past = s->n_run,
        .n_rows = n_rows,
        .tokens = s->tokens + s->n_run,
        .positions = s->positions,
        .rows = rows,
        .scratch = work->scratch,
        .workspace = work->workspace,
        .states = s->states,
        .recurrent = s->recurrent,
        .hold = hold && elm_states_are_recurrent(&s->config),
        .n_commit = s->n_commit,
        .pool = s->pool,
    };
    s->logits = NULL;
    elm_status status = elm_plan_run(work->plan, &step, err);
    if (status != ELM_OK) {
        recover(s);
        return status;
    }
    elm_states_wrote(s, s->n_run + n);
    if (n > 0) elm_draft_after_step(s, work, s->n_run, n);
    s->n_commit = 0;
    if (!hold) s->n_run += n;
    *out = (elm_logits){elm_step_rows(&step, place), place->row_stride};
    return ELM_OK;
}

void elm_session_accept(elm_session *s, uint32_t n) {
    s->n_run += n;
    s->n_commit = elm_states_are_recurrent(&s->config) ? n : 0;
}

elm_status elm_session_commit(elm_session *s, elm_error *err) {
    elm_work work = elm_session_work(s);
    elm_logits none;
    const float *logits = s->logits;
    if (s->n_commit == 0) return ELM_OK;
    ELM_TRY(elm_session_step(s, &work, 0, 0, false, &none, err));
    s->logits = logits; /* a step of no tokens leaves scratch alone */
    return ELM_OK;
}

/* Grid points of a turn that are marked, its end not counted. */
static uint32_t marks_of(const elm_session *s) {
    uint32_t own = s->snapshots.n_slots > 0 ? s->snapshots.n_slots - 1 : 0;
    uint32_t shared = elm_prefix_cache_marks(s);
    return own > shared ? own : shared;
}

static void mark(elm_session *s) {
    elm_snapshots_take(s);
    elm_prefix_cache_publish(s);
}

elm_status elm_session_run_pending(elm_session *s, elm_error *err) {
    elm_work work = elm_session_work(s);
    bool turn = s->n_tokens - s->n_run >= ELM_TURN_TOKENS;
    uint32_t n_marks = marks_of(s);
    if (turn) elm_prefix_cache_fetch(s);
    while (s->n_run < s->n_tokens) {
        elm_logits logits = {0};
        uint32_t stop = turn ? elm_mark_next(s->n_run, s->n_tokens, n_marks) : s->n_tokens;
        uint32_t n = stop - s->n_run, last;
        if (n > s->model->max_batch_tokens) n = s->model->max_batch_tokens;
        last = s->n_run + n == s->n_tokens;
        ELM_TRY(elm_session_step(s, &work, n, last, false, &logits, err));
        if (last) s->logits = logits.first;
        if (turn && s->n_run == stop) mark(s);
    }
    return ELM_OK;
}

/* ---- append ---- */

static elm_status check_ids(const elm_session *s, const int32_t *ids, size_t n, elm_error *err) {
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || (uint32_t)ids[i] >= s->model->meta.vocab_size) {
            return elm_fail(err, ELM_INVALID_ARGUMENT,
                            "token %zu is %d; the vocabulary has ids 0..%u", i, ids[i],
                            s->model->meta.vocab_size - 1);
        }
    }
    return ELM_OK;
}

/* Puts ids behind the timeline without running them. */
static elm_status push(elm_session *s, const int32_t *ids, size_t n, elm_error *err) {
    ELM_TRY(check_ids(s, ids, n, err));
    if (n > s->n_context - s->n_tokens) {
        return elm_fail(
            err, ELM_CONTEXT_FULL,
            "%zu more tokens do not fit: %u of %u positions are taken; ask for a larger context", n,
            s->n_tokens, s->n_context);
    }
    if (n == 0) return ELM_OK;
    memcpy(s->tokens + s->n_tokens, ids, n * sizeof *ids);
    memset(s->was_generated + s->n_tokens, 0, n);
    s->n_tokens += (uint32_t)n;
    for (size_t i = 0; i < n; i++) elm_sampler_saw(&s->sampler, ids[i], false);
    return ELM_OK;
}

void elm_session_mark_tokens(elm_session *s) {
    elm_sampler_forget(&s->sampler);
    for (uint32_t i = 0; i < s->n_tokens; i++) {
        elm_sampler_saw(&s->sampler, s->tokens[i], s->was_generated[i]);
    }
}

void elm_session_cut_tokens(elm_session *s, uint32_t n) {
    s->n_tokens = n;
    elm_draft_cut(s, n);
    elm_session_mark_tokens(s);
}

/* Takes back what was pushed and not run, after a failed or cancelled step. */
static void forget_unrun(elm_session *s) {
    elm_session_cut_tokens(s, s->n_run);
}

elm_status elm_session_append(elm_session *s, const int32_t *ids, size_t n, elm_error *err) {
    uint64_t start = elm_now_us(&s->model->platform);
    ELM_TRY(push(s, ids, n, err));
    uint32_t before = s->n_run;
    uint64_t reused = s->stats.reused_tokens;
    if (s->first_append_us == 0) s->first_append_us = start;
    elm_status status = elm_session_run_pending(s, err);
    s->stats.prefill_us += elm_now_us(&s->model->platform) - start;
    if (status != ELM_OK) forget_unrun(s);
    if (s->n_run > before)
        s->stats.prefill_tokens += s->n_run - before - (s->stats.reused_tokens - reused);
    return status;
}

elm_status elm_session_append_logits(elm_session *s, const int32_t *ids, size_t n, size_t chunk,
                                     float *out, elm_error *err) {
    uint32_t vocab = s->model->meta.vocab_size;
    size_t batch = chunk ? chunk : s->model->max_batch_tokens;
    if (batch > s->model->max_batch_tokens) batch = s->model->max_batch_tokens;
    if (batch > n) batch = n;
    if (n == 0) return ELM_OK;
    ELM_TRY(elm_session_run_pending(s, err));
    elm_plan plan;
    elm_work work = {.plan = &plan};
    elm_status status =
        elm_model_make_plan(s->model, NULL, (uint32_t)batch, (uint32_t)batch, NULL, &plan, err);
    if (status == ELM_OK)
        status = elm_alloc(s->alloc, plan.scratch_bytes, "activations", &work.scratch, err);
    if (status == ELM_OK) {
        status =
            elm_alloc(s->alloc, plan.workspace_bytes, "kernel workspaces", &work.workspace, err);
    }
    if (status == ELM_OK) status = push(s, ids, n, err);
    for (size_t done = 0; status == ELM_OK && done < n;) {
        uint32_t take = (uint32_t)(n - done < batch ? n - done : batch);
        elm_logits logits;
        status = elm_session_step(s, &work, take, take, false, &logits, err);
        for (uint32_t r = 0; status == ELM_OK && r < take; r++) {
            memcpy(out + (done + r) * vocab, logits.first + (size_t)r * logits.stride,
                   vocab * sizeof *out);
        }
        done += take;
    }
    if (status != ELM_OK) forget_unrun(s);
    elm_draft_forget_rows(s); /* they lay in the scratch of this call */
    elm_free(s->alloc, work.workspace, plan.workspace_bytes);
    elm_free(s->alloc, work.scratch, plan.scratch_bytes);
    elm_plan_free(&plan);
    return status;
}

/* ---- rewind and sync ---- */

/* Makes n_run at most n: cuts the states where they can be cut, else goes back to a mark, else to
 * the beginning. What lies between is run again when it is needed. */
static void go_back(elm_session *s, uint32_t n) {
    if (n >= s->n_run) return;
    if (elm_states_reach(s, n)) {
        if (s->n_commit > 0) s->n_commit -= s->n_run - n;
        s->n_run = n;
        s->logits = NULL;
        elm_snapshots_cut(s, n);
    } else if (!elm_snapshots_restore(s, n)) {
        elm_states_reset(s);
        s->logits = NULL;
    }
}

elm_status elm_session_need_logits(elm_session *s, elm_error *err) {
    if (s->n_tokens == 0) return ELM_OK;
    if (s->n_run == s->n_tokens && !s->logits) go_back(s, s->n_tokens - 1);
    return elm_session_run_pending(s, err);
}

elm_status elm_session_rewind(elm_session *s, size_t n, elm_error *err) {
    if (n > s->n_tokens) {
        return elm_fail(err, ELM_INVALID_ARGUMENT,
                        "cannot rewind to %zu: the timeline has %u tokens", n, s->n_tokens);
    }
    if (n == s->n_tokens) return ELM_OK;
    elm_session_cut_tokens(s, (uint32_t)n);
    if (elm_draft_wants_last(s, s->n_tokens) && elm_states_reach(s, s->n_tokens - 1))
        go_back(s, s->n_tokens - 1);
    else
        go_back(s, s->n_tokens);
    return ELM_OK;
}

elm_status elm_session_sync(elm_session *s, const int32_t *ids, size_t n, size_t *n_reused,
                            elm_error *err) {
    size_t common = 0;
    if (n_reused) *n_reused = 0;
    ELM_TRY(check_ids(s, ids, n, err));
    if (n > s->n_context) {
        return elm_fail(err, ELM_CONTEXT_FULL,
                        "%zu tokens do not fit a context of %u; ask for a larger one", n,
                        s->n_context);
    }
    uint64_t before = s->stats.reused_tokens;
    while (common < n && common < s->n_tokens && s->tokens[common] == ids[common]) common++;
    ELM_TRY(elm_session_rewind(s, common, err));
    memset(s->was_generated, 0, s->n_tokens); /* what is given anew is a prompt */
    elm_session_mark_tokens(s);
    s->stats.reused_tokens += s->n_run;
    ELM_TRY(elm_session_append(s, ids + common, n - common, err));
    if (n_reused) *n_reused = (size_t)(s->stats.reused_tokens - before);
    return elm_session_need_logits(s, err);
}
