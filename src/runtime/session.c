/* session.c - create and free a session, what it takes, what it says of itself; runtime. */
#include "runtime/prefix_cache.h"
#include "runtime/session_file.h"

#include <string.h>

enum { TEXT_BYTES = 4096, MAX_TEXT_BYTES = 1 << 20 };

/* ---- create and free ---- */

static elm_status check_context(const elm_model *m, uint32_t n_context, elm_error *err) {
    if (n_context >= 1 && n_context <= ELM_MAX_DIM) return ELM_OK;
    return elm_fail(err, ELM_INVALID_ARGUMENT,
                    "a context of %u positions; expected 1..%d (the model was made for %u)",
                    n_context, ELM_MAX_DIM, m->meta.context_length);
}

uint32_t elm_session_context_of(const elm_model *m, uint32_t wanted) {
    if (wanted > 0) return wanted;
    return m->meta.context_length < ELM_DEFAULT_CONTEXT ? m->meta.context_length
                                                        : ELM_DEFAULT_CONTEXT;
}

static uint64_t sampler_bytes(const elm_model *m) {
    return (uint64_t)m->meta.n_real_tokens *
           (sizeof(elm_candidate) + sizeof(uint16_t) + sizeof(uint8_t));
}

elm_status elm_session_measure(const elm_model *m, const elm_session_options *o,
                               elm_state_config *config, elm_session_sizes *out, elm_error *err) {
    uint32_t n_context = elm_session_context_of(m, o->n_context), n_states = m->module->n_states;
    memset(out, 0, sizeof *out);
    ELM_TRY(check_context(m, n_context, err));
    if (o->n_snapshots > ELM_MAX_SNAPSHOTS && o->n_snapshots != ELM_NO_SNAPSHOTS) {
        return elm_fail(err, ELM_INVALID_ARGUMENT, "%u snapshots; at most %d", o->n_snapshots,
                        ELM_MAX_SNAPSHOTS);
    }
    *config = (elm_state_config){m, elm_kv_dtype(m, o->kv), n_context, o->draft == ELM_DRAFT_MTP};
    ELM_TRY(elm_draft_measure(m, o, &out->draft, err));
    out->state = elm_states_bytes(config);
    out->snapshots = elm_snapshots_bytes(config, elm_snapshots_count(config, o->n_snapshots));
    out->scratch = m->plan.scratch_bytes;
    out->workspace = m->plan.workspace_bytes;
    out->rest = sizeof(elm_session) + sampler_bytes(m) + n_context * (sizeof(int32_t) + 1) +
                m->max_batch_tokens * sizeof(int32_t) + TEXT_BYTES +
                n_states * (sizeof(elm_kv) + sizeof(elm_recurrent) + sizeof(uint32_t));
    return ELM_OK;
}

elm_status elm_model_estimate_memory(const elm_model *m, const elm_session_options *options,
                                     elm_memory_estimate *out, elm_error *err) {
    elm_session_options o;
    elm_state_config config;
    elm_session_sizes sizes;
    memset(out, 0, sizeof *out);
    elm_options_copy(&o, sizeof o, options);
    ELM_TRY(elm_session_measure(m, &o, &config, &sizes, err));
    out->kv_bytes = sizes.state;
    out->snapshot_bytes = sizes.snapshots;
    out->draft_bytes = sizes.draft;
    out->scratch_bytes = sizes.scratch + sizes.workspace + sizes.rest;
    out->total_bytes = out->kv_bytes + out->snapshot_bytes + out->draft_bytes + out->scratch_bytes;
    return ELM_OK;
}

static elm_status allocate(elm_session *s, elm_error *err) {
    elm_model *m = s->model;
    uint32_t n_states = m->module->n_states;
    ELM_TRY(elm_alloc_array(s->alloc, s->n_context, sizeof *s->tokens, "the timeline", &s->tokens,
                            err));
    ELM_TRY(elm_alloc(s->alloc, s->n_context, "the timeline", &s->was_generated, err));
    ELM_TRY(elm_alloc_array(s->alloc, m->max_batch_tokens, sizeof *s->positions, "positions",
                            &s->positions, err));
    ELM_TRY(
        elm_alloc_array(s->alloc, n_states, sizeof *s->states, "state variables", &s->states, err));
    ELM_TRY(
        elm_alloc_array(s->alloc, n_states, sizeof *s->oldest, "state variables", &s->oldest, err));
    ELM_TRY(elm_alloc_array(s->alloc, n_states, sizeof *s->recurrent, "state variables",
                            &s->recurrent, err));
    /* No position is read before it is written; elm_states_reset sets what is not a position. */
    ELM_TRY(elm_alloc_unset(s->alloc, s->sizes.state,
                            "the KV cache (a smaller context or --kv int8 takes less)",
                            &s->state_memory, err));
    ELM_TRY(elm_alloc(s->alloc, s->sizes.scratch, "activations", &s->scratch, err));
    ELM_TRY(elm_alloc(s->alloc, s->sizes.workspace, "kernel workspaces", &s->workspace, err));
    elm_states_layout(s);
    elm_states_reset(s);
    elm_buf_init(&s->text, s->alloc, MAX_TEXT_BYTES);
    elm_buf_init(&s->conversation, s->alloc, ELM_MAX_CONVERSATION_BYTES);
    if (!elm_buf_reserve(&s->text, TEXT_BYTES)) return elm_fail_oom(err, TEXT_BYTES, "text");
    return elm_sampler_init(&s->sampler, s->alloc, &m->meta, err);
}

static elm_status create(elm_model *model, const elm_session_options *o, elm_session **out,
                         elm_error *err) {
    elm_session *s = NULL;
    elm_state_config config;
    elm_session_sizes sizes = {0};
    const elm_sampling *sampling = o->sampling.struct_size ? &o->sampling : &model->meta.sampling;
    ELM_TRY(elm_session_measure(model, o, &config, &sizes, err));
    ELM_TRY(elm_sampling_check(sampling, err));
    ELM_TRY(elm_alloc(model->platform.alloc, sizeof *s, "a session", &s, err));
    s->model = model;
    s->alloc = model->platform.alloc;
    s->pool = model->pool;
    s->config = config;
    s->n_context = config.n_context;
    s->sizes = sizes;
    s->system = o->system;
    s->cancel = &s->cancelled;
    elm_status status = allocate(s, err);
    if (status == ELM_OK) {
        status = elm_snapshots_init(&s->snapshots, s->alloc, &config,
                                    elm_snapshots_count(&config, o->n_snapshots), err);
    }
    if (status == ELM_OK) status = elm_draft_create(s, o, &s->draft, err);
    if (status != ELM_OK) {
        elm_session_free(s);
        return status;
    }
    s->sampler.settings = *sampling;
    s->stats.load_us = model->load_us;
    *out = s;
    return ELM_OK;
}

elm_status elm_session_create(elm_model *model, const elm_session_options *options,
                              elm_session **out, elm_error *err) {
    elm_session_options o;
    *out = NULL;
    elm_options_copy(&o, sizeof o, options);
    elm_status status = create(model, &o, out, err);
    if (status != ELM_OUT_OF_MEMORY || elm_prefix_cache_bytes(model->prefix_cache) == 0)
        return status;
    elm_prefix_cache_trim(model->prefix_cache); /* a session is worth more than what it may save */
    return create(model, &o, out, err);
}

void elm_session_free(elm_session *s) {
    if (!s) return;
    const elm_allocator *alloc = s->alloc;
    uint32_t n_states = s->model->module->n_states;
    elm_draft_free(s->draft);
    elm_snapshots_free(&s->snapshots, alloc);
    elm_sampler_free(&s->sampler, alloc);
    elm_buf_free(&s->text);
    elm_buf_free(&s->conversation);
    elm_free(alloc, s->tokens, s->n_context * sizeof *s->tokens);
    elm_free(alloc, s->was_generated, s->n_context);
    elm_free(alloc, s->positions, s->model->max_batch_tokens * sizeof *s->positions);
    elm_free(alloc, s->states, n_states * sizeof *s->states);
    elm_free(alloc, s->oldest, n_states * sizeof *s->oldest);
    elm_free(alloc, s->recurrent, n_states * sizeof *s->recurrent);
    elm_free(alloc, s->state_memory, s->sizes.state);
    elm_free(alloc, s->scratch, s->sizes.scratch);
    elm_free(alloc, s->workspace, s->sizes.workspace);
    elm_free(alloc, s, sizeof *s);
}

void elm_session_trim(elm_session *s) {
    const uint8_t *logits = (const uint8_t *)s->logits;
    uint64_t bytes = s->snapshots.n_slots * s->snapshots.slot_bytes;
    if (s->snapshots.memory && logits >= s->snapshots.memory &&
        logits < s->snapshots.memory + bytes)
        s->logits = NULL; /* they lie in the mark that the timeline was cut to */
    s->sizes.snapshots = 0;
    elm_snapshots_free(&s->snapshots, s->alloc);
}

void elm_model_trim(elm_model *m) {
    elm_prefix_cache_trim(m->prefix_cache);
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
    atomic_store(s->cancel, true);
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
    out->draft_bytes = s->sizes.draft;
    out->session_allocated_bytes = s->sizes.state + s->sizes.snapshots + s->sizes.scratch +
                                   s->sizes.workspace + s->sizes.draft + s->sizes.rest;
}

/* ---- the conversation ---- */

const char *elm_session_conversation(const elm_session *s, size_t *n_bytes) {
    *n_bytes = s->conversation.size;
    return s->conversation.size > 0 ? (const char *)s->conversation.data : "";
}

elm_status elm_session_set_conversation(elm_session *s, const char *turns, size_t n_bytes,
                                        elm_error *err) {
    elm_buf text;
    elm_arena arena;
    const elm_json *list = NULL;
    elm_buf_init(&text, s->alloc, ELM_MAX_CONVERSATION_BYTES);
    elm_arena_init(&arena, s->alloc, 0);
    elm_buf_u8(&text, '[');
    if (n_bytes > 0) elm_buf_append(&text, turns, n_bytes);
    elm_buf_u8(&text, ']');
    elm_status status = elm_buf_check(&text, "the conversation", err);
    if (status == ELM_OK)
        status = elm_json_parse(elm_buf_span(&text), "the conversation", NULL, &arena, &list, err);
    if (status == ELM_OK) {
        elm_buf_clear(&s->conversation);
        if (n_bytes > 0) elm_buf_append(&s->conversation, turns, n_bytes);
        status = elm_buf_check(&s->conversation, "the conversation", err);
    }
    elm_arena_free(&arena);
    elm_buf_free(&text);
    return status;
}
