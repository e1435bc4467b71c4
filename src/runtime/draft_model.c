/* draft_model.c - see draft_model.h; runtime. */
#include "runtime/draft_model.h"

#include "runtime/session.h"

#include <string.h>

/* The same ids must mean the same text: one tokenizer, byte for byte. */
static elm_status check_vocabulary(const elm_model *m, const elm_model *draft, elm_error *err) {
    const elm_section *a = elm_container_find(&m->container, ELM_SECTION_TOKENIZER);
    const elm_section *b = elm_container_find(&draft->container, ELM_SECTION_TOKENIZER);
    if (m->meta.n_real_tokens != draft->meta.n_real_tokens) {
        return elm_fail(err, ELM_INVALID_ARGUMENT,
                        "the draft model has %u tokens and the model %u; drafting needs the same "
                        "vocabulary, as models of one family have",
                        draft->meta.n_real_tokens, m->meta.n_real_tokens);
    }
    if (!a || !b || memcmp(a->sha256, b->sha256, sizeof a->sha256) != 0) {
        return elm_fail(err, ELM_INVALID_ARGUMENT,
                        "the draft model has another tokenizer; drafting needs the same one, as "
                        "models of one family have");
    }
    return ELM_OK;
}

static elm_session_options options_of(const elm_session_options *o, uint32_t n_context) {
    return (elm_session_options){
        .struct_size = sizeof(elm_session_options), .n_context = n_context, .kv = o->kv};
}

elm_status elm_draft_model_measure(const elm_model *m, const elm_session_options *o,
                                   uint64_t *bytes, elm_error *err) {
    elm_memory_estimate e;
    elm_session_options own = options_of(o, elm_session_context_of(m, o->n_context));
    ELM_TRY(check_vocabulary(m, o->draft_model, err));
    ELM_TRY(elm_model_estimate_memory(o->draft_model, &own, &e, err));
    *bytes = e.total_bytes;
    return ELM_OK;
}

elm_status elm_draft_model_create(elm_session *target, const elm_session_options *o,
                                  elm_session **out, elm_error *err) {
    elm_session_options own = options_of(o, target->n_context);
    ELM_TRY(elm_session_create(o->draft_model, &own, out, err));
    (*out)->cancel = target->cancel; /* one flag stops both */
    /* Two pools would wait for work at the same time, each on all cores. */
    if (target->model->n_threads <= o->draft_model->n_threads) (*out)->pool = target->pool;
    return ELM_OK;
}

/* Makes the draft's timeline the target's. */
static elm_status follow(elm_session *draft, const elm_session *target, elm_error *err) {
    uint32_t common = 0,
             n = draft->n_tokens < target->n_tokens ? draft->n_tokens : target->n_tokens;
    while (common < n && draft->tokens[common] == target->tokens[common]) common++;
    ELM_TRY(elm_session_rewind(draft, common, err));
    ELM_TRY(elm_session_append(draft, target->tokens + common, target->n_tokens - common, err));
    ELM_TRY(elm_session_need_logits(draft, err));
    elm_snapshots_take(draft); /* where a recurrent draft comes back to from rejected guesses */
    return ELM_OK;
}

elm_status elm_draft_model_propose(elm_session *draft, const elm_session *target, uint32_t most,
                                   int32_t *out, uint32_t *n, elm_error *err) {
    *n = 0;
    ELM_TRY(follow(draft, target, err));
    for (;;) {
        int32_t id = elm_likeliest(draft->logits, draft->model->meta.n_real_tokens);
        out[(*n)++] = id;
        if (*n == most) return ELM_OK;
        ELM_TRY(elm_session_append(draft, &id, 1, err));
    }
}
