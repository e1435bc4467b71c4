/* session.c - create, append, sync, rewind, cancel: the timeline; runtime. */
#include "runtime/session.h"

#include <string.h>

enum { MAX_TEXT_BYTES = 1 << 20, MAX_CONVERSATION_BYTES = 16 << 20 };

/* ---- create and free ---- */

static elm_status check_context(const elm_model *m, uint32_t n_context, elm_error *err) {
    if (n_context >= 1 && n_context <= ELM_MAX_DIM) return ELM_OK;
    return elm_fail(err, ELM_INVALID_ARGUMENT,
                    "a context of %u positions; expected 1..%d (the model was made for %u)",
                    n_context, ELM_MAX_DIM, m->meta.context_length);
}

static uint32_t context_of(const elm_model *m, uint32_t wanted) {
    if (wanted > 0) return wanted;
    return m->meta.context_length < ELM_DEFAULT_CONTEXT ? m->meta.context_length
                                                        : ELM_DEFAULT_CONTEXT;
}

static uint64_t sampler_bytes(const elm_model *m) {
    return (uint64_t)m->meta.n_real_tokens *
           (sizeof(elm_candidate) + sizeof(uint16_t) + sizeof(uint8_t));
}

elm_status elm_model_estimate_memory(const elm_model *m, uint32_t n_context, elm_kv_type kv,
                                     elm_memory_estimate *out, elm_error *err) {
    memset(out, 0, sizeof *out);
    n_context = context_of(m, n_context);
    ELM_TRY(check_context(m, n_context, err));
    out->kv_bytes = elm_states_bytes(m, elm_kv_dtype(m, kv), n_context);
    out->scratch_bytes = m->plan.scratch_bytes + m->plan.workspace_bytes + sampler_bytes(m) +
                         (uint64_t)(n_context + m->max_batch_tokens) * sizeof(int32_t);
    out->total_bytes = out->kv_bytes + out->scratch_bytes;
    return ELM_OK;
}

static elm_status allocate(elm_session *s, elm_error *err) {
    elm_model *m = s->model;
    s->kv_bytes = elm_states_bytes(m, s->kv_dtype, s->n_context);
    s->scratch_bytes = m->plan.scratch_bytes;
    s->workspace_bytes = m->plan.workspace_bytes;
    ELM_TRY(elm_alloc_array(s->alloc, s->n_context, sizeof *s->tokens, "the timeline", &s->tokens,
                            err));
    ELM_TRY(elm_alloc_array(s->alloc, m->max_batch_tokens, sizeof *s->positions, "positions",
                            &s->positions, err));
    ELM_TRY(elm_alloc_array(s->alloc, m->module->n_states, sizeof *s->states, "state variables",
                            &s->states, err));
    ELM_TRY(elm_alloc_array(s->alloc, m->module->n_states, sizeof *s->recurrent, "state variables",
                            &s->recurrent, err));
    ELM_TRY(elm_alloc(s->alloc, s->kv_bytes,
                      "the KV cache (a smaller context or --kv int8 takes less)", &s->kv_memory,
                      err));
    ELM_TRY(elm_alloc(s->alloc, s->scratch_bytes, "activations", &s->scratch, err));
    ELM_TRY(elm_alloc(s->alloc, s->workspace_bytes, "kernel workspaces", &s->workspace, err));
    elm_states_layout(s);
    elm_states_reset(s);
    elm_buf_init(&s->text, s->alloc, MAX_TEXT_BYTES);
    elm_buf_init(&s->conversation, s->alloc, MAX_CONVERSATION_BYTES);
    if (!elm_buf_reserve(&s->text, 4096)) return elm_fail_oom(err, 4096, "generated text");
    return elm_sampler_init(&s->sampler, s->alloc, &m->meta, err);
}

elm_status elm_session_create(elm_model *model, const elm_session_options *options,
                              elm_session **out, elm_error *err) {
    elm_session *s = NULL;
    elm_session_options o;
    *out = NULL;
    elm_options_copy(&o, sizeof o, options);
    uint32_t n_context = context_of(model, o.n_context);
    ELM_TRY(check_context(model, n_context, err));
    const elm_sampling *sampling = o.sampling.struct_size ? &o.sampling : &model->meta.sampling;
    ELM_TRY(elm_sampling_check(sampling, err));
    ELM_TRY(elm_alloc(model->platform.alloc, sizeof *s, "a session", &s, err));
    s->model = model;
    s->alloc = model->platform.alloc;
    s->n_context = n_context;
    s->kv_dtype = elm_kv_dtype(model, o.kv);
    elm_status status = allocate(s, err);
    if (status != ELM_OK) {
        elm_session_free(s);
        return status;
    }
    s->sampler.settings = *sampling;
    s->options = o;
    s->stats.load_us = model->load_us;
    *out = s;
    return ELM_OK;
}

void elm_session_free(elm_session *s) {
    if (!s) return;
    const elm_allocator *alloc = s->alloc;
    elm_sampler_free(&s->sampler, alloc);
    elm_buf_free(&s->text);
    elm_buf_free(&s->conversation);
    elm_free(alloc, s->tokens, s->n_context * sizeof *s->tokens);
    elm_free(alloc, s->positions, s->model->max_batch_tokens * sizeof *s->positions);
    elm_free(alloc, s->states, s->model->module->n_states * sizeof *s->states);
    elm_free(alloc, s->recurrent, s->model->module->n_states * sizeof *s->recurrent);
    elm_free(alloc, s->kv_memory, s->kv_bytes);
    elm_free(alloc, s->scratch, s->scratch_bytes);
    elm_free(alloc, s->workspace, s->workspace_bytes);
    elm_free(alloc, s, sizeof *s);
}

uint32_t elm_session_length(const elm_session *s) {
    return s->n_tokens;
}
uint32_t elm_session_context(const elm_session *s) {
    return s->n_context;
}
const int32_t *elm_session_tokens(const elm_session *s) {
    return s->tokens;
}
void elm_session_cancel(elm_session *s) {
    atomic_store(&s->cancelled, true);
}

const float *elm_session_logits(const elm_session *s) {
    return s->n_run == s->n_tokens ? s->logits : NULL;
}

elm_status elm_session_set_sampling(elm_session *s, const elm_sampling *sampling, elm_error *err) {
    elm_sampling copy;
    elm_options_copy(&copy, sizeof copy, sampling);
    ELM_TRY(elm_sampling_check(&copy, err));
    s->sampler.settings = copy;
    s->sampler.n_drawn = 0;
    return ELM_OK;
}

void elm_session_get_stats(const elm_session *s, elm_stats *out) {
    *out = s->stats;
    out->model_allocated_bytes = atomic_load(&s->model->capped.live_bytes);
    out->session_allocated_bytes = s->kv_bytes + s->scratch_bytes + s->workspace_bytes +
                                   sampler_bytes(s->model) +
                                   (uint64_t)s->n_context * sizeof *s->tokens;
}

/* ---- steps ---- */

elm_status elm_session_step(elm_session *s, const elm_plan *plan, uint8_t *scratch,
                            uint8_t *workspace, uint32_t n, uint32_t n_rows,
                            const float **out_logits, uint32_t *row_stride, elm_error *err) {
    int32_t rows[ELM_MAX_BATCH_TOKENS];
    if (atomic_exchange(&s->cancelled, false)) return elm_fail(err, ELM_CANCELLED, "cancelled");
    ELM_TRY(elm_model_check_weights(s->model, err));
    for (uint32_t t = 0; t < n; t++) s->positions[t] = (int32_t)(s->n_run + t);
    for (uint32_t r = 0; r < n_rows; r++) rows[r] = (int32_t)(n - n_rows + r);
    elm_step step = {
        .n_tokens = n,
        .n_past = s->n_run,
        .n_rows = n_rows,
        .tokens = s->tokens + s->n_run,
        .positions = s->positions,
        .rows = rows,
        .scratch = scratch,
        .workspace = workspace,
        .states = s->states,
        .recurrent = s->recurrent,
        .pool = s->model->pool,
    };
    ELM_TRY(elm_plan_run(plan, &step, err));
    s->n_run += n;
    if (s->n_run > s->high_water) s->high_water = s->n_run;
    const elm_place *place = &plan->places[plan->graph->output];
    *out_logits = elm_step_rows(&step, place);
    *row_stride = place->row_stride;
    return ELM_OK;
}

elm_status elm_session_run_pending(elm_session *s, elm_error *err) {
    while (s->n_run < s->n_tokens) {
        uint32_t left = s->n_tokens - s->n_run, stride;
        uint32_t n = left < s->model->max_batch_tokens ? left : s->model->max_batch_tokens;
        ELM_TRY(elm_session_step(s, &s->model->plan, s->scratch, s->workspace, n, n == left ? 1 : 0,
                                 &s->logits, &stride, err));
    }
    return ELM_OK;
}

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
    if (n > 0) memcpy(s->tokens + s->n_tokens, ids, n * sizeof *ids);
    s->n_tokens += (uint32_t)n;
    for (size_t i = 0; i < n; i++) elm_sampler_saw(&s->sampler, ids[i], false);
    return ELM_OK;
}

/* Takes back what was pushed and not run, after a failed or cancelled step. */
static void forget_unrun(elm_session *s) {
    s->n_tokens = s->n_run;
}

elm_status elm_session_append(elm_session *s, const int32_t *ids, size_t n, elm_error *err) {
    uint64_t start = elm_now_us(&s->model->platform);
    uint32_t before = s->n_run;
    ELM_TRY(push(s, ids, n, err));
    if (s->first_append_us == 0) s->first_append_us = start;
    elm_status status = elm_session_run_pending(s, err);
    s->stats.prefill_us += elm_now_us(&s->model->platform) - start;
    s->stats.prefill_tokens += s->n_run - before;
    if (status != ELM_OK) forget_unrun(s);
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
    uint8_t *scratch = NULL, *workspace = NULL;
    elm_status status =
        elm_model_make_plan(s->model, (uint32_t)batch, (uint32_t)batch, NULL, &plan, err);
    if (status == ELM_OK)
        status = elm_alloc(s->alloc, plan.scratch_bytes, "activations", &scratch, err);
    if (status == ELM_OK) {
        status = elm_alloc(s->alloc, plan.workspace_bytes, "kernel workspaces", &workspace, err);
    }
    if (status == ELM_OK) status = push(s, ids, n, err);
    for (size_t done = 0; status == ELM_OK && done < n;) {
        uint32_t take = (uint32_t)(n - done < batch ? n - done : batch), stride;
        const float *logits;
        status = elm_session_step(s, &plan, scratch, workspace, take, take, &logits, &stride, err);
        for (uint32_t r = 0; status == ELM_OK && r < take; r++) {
            memcpy(out + (done + r) * vocab, logits + (size_t)r * stride, vocab * sizeof *out);
        }
        done += take;
    }
    s->logits = NULL; /* they lay in the scratch of this call */
    if (status != ELM_OK) forget_unrun(s);
    elm_free(s->alloc, workspace, plan.workspace_bytes);
    elm_free(s->alloc, scratch, plan.scratch_bytes);
    elm_plan_free(&plan);
    return status;
}

/* ---- rewind and sync ---- */

/* Whether every state can go back to position n: a ring must still hold the window in front of it,
 * a recurrent state knows only where it is. */
static bool states_reach(const elm_session *s, uint32_t n) {
    for (uint32_t i = 0; i < s->model->module->n_states; i++) {
        if (s->model->module->states[i].kind != ELM_STATE_KV && n < s->n_run) return false;
        uint32_t window = s->model->module->states[i].window, capacity = s->states[i].capacity;
        if (window == 0 || s->high_water <= capacity) continue;
        uint32_t oldest_kept = s->high_water - capacity;
        uint32_t oldest_needed = n > window - 1 ? n - (window - 1) : 0;
        if (oldest_needed < oldest_kept) return false;
    }
    return true;
}

elm_status elm_session_rewind(elm_session *s, size_t n, elm_error *err) {
    if (n > s->n_tokens) {
        return elm_fail(err, ELM_INVALID_ARGUMENT,
                        "cannot rewind to %zu: the timeline has %u tokens", n, s->n_tokens);
    }
    s->n_tokens = (uint32_t)n;
    s->logits = NULL;
    uint32_t run = s->n_run < s->n_tokens ? s->n_run : s->n_tokens;
    if (!states_reach(s, run)) { /* the kept tokens are run again */
        run = s->high_water = 0;
        elm_states_reset(s);
    }
    s->n_run = run;
    elm_sampler_forget(&s->sampler);
    for (uint32_t i = 0; i < s->n_tokens; i++) elm_sampler_saw(&s->sampler, s->tokens[i], false);
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
    while (common < n && common < s->n_tokens && s->tokens[common] == ids[common]) common++;
    if (common == n && n > 0 && (common < s->n_tokens || !elm_session_logits(s))) common--;
    ELM_TRY(elm_session_rewind(s, common, err));
    size_t kept = s->n_run < common ? s->n_run : common;
    s->stats.reused_tokens += kept;
    if (n_reused) *n_reused = kept;
    return elm_session_append(s, ids + common, n - common, err);
}
