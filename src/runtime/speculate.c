/* speculate.c - see speculate.h: which kind of guesses, and how many; runtime. */
#include "runtime/speculate.h"

#include "runtime/draft_model.h"
#include "runtime/draft_mtp.h"
#include "runtime/pace.h"
#include "runtime/session.h"

#include <string.h>

struct elm_draft {
    const elm_allocator *alloc;
    elm_draft_kind kind;
    uint32_t most, now; /* guesses a step: at most, and as recent steps suggest */
    bool always;        /* the caller said how many: no rests */
    elm_pace pace;
    elm_session *model; /* ELM_DRAFT_MODEL: the draft model's own session */
    elm_mtp *mtp;       /* ELM_DRAFT_MTP */
};

/* Guesses a step when the caller names none: lookup costs nothing, the others their own steps. */
static uint32_t default_of(elm_draft_kind kind) {
    return kind == ELM_DRAFT_LOOKUP ? ELM_MAX_DRAFT : kind == ELM_DRAFT_MTP ? 3 : 4;
}

static elm_status check(const elm_session_options *o, elm_error *err) {
    if (o->n_draft > ELM_MAX_DRAFT) {
        return elm_fail(err, ELM_INVALID_ARGUMENT, "%u drafted tokens a step; at most %d",
                        o->n_draft, ELM_MAX_DRAFT);
    }
    if (o->draft == ELM_DRAFT_MODEL && !o->draft_model)
        return elm_fail(err, ELM_INVALID_ARGUMENT, "a draft model is asked for and none is given");
    return ELM_OK;
}

elm_status elm_draft_measure(const elm_model *m, const elm_session_options *o, uint64_t *bytes,
                             elm_error *err) {
    *bytes = 0;
    ELM_TRY(check(o, err));
    switch (o->draft) {
    case ELM_DRAFT_NONE:
        return ELM_OK;
    case ELM_DRAFT_LOOKUP:
        break;
    case ELM_DRAFT_MODEL:
        ELM_TRY(elm_draft_model_measure(m, o, bytes, err));
        break;
    case ELM_DRAFT_MTP:
        ELM_TRY(elm_mtp_measure(m, bytes, err));
        break;
    default:
        return elm_fail(err, ELM_INVALID_ARGUMENT, "there is no draft kind %d", (int)o->draft);
    }
    *bytes += sizeof(elm_draft);
    return ELM_OK;
}

elm_status elm_draft_create(elm_session *s, const elm_session_options *o, elm_draft **out,
                            elm_error *err) {
    elm_draft *d = NULL;
    *out = NULL;
    if (o->draft == ELM_DRAFT_NONE) return ELM_OK;
    ELM_TRY(elm_alloc(s->alloc, sizeof *d, "a draft", &d, err));
    d->alloc = s->alloc;
    d->kind = o->draft;
    d->always = o->n_draft != 0;
    d->most = d->now = o->n_draft ? o->n_draft : default_of(o->draft);
    elm_status status = ELM_OK;
    if (d->kind == ELM_DRAFT_MODEL) status = elm_draft_model_create(s, o, &d->model, err);
    if (d->kind == ELM_DRAFT_MTP) status = elm_mtp_create(s, &d->mtp, err);
    if (status != ELM_OK) {
        elm_draft_free(d);
        return status;
    }
    *out = d;
    return ELM_OK;
}

void elm_draft_free(elm_draft *d) {
    if (!d) return;
    elm_session_free(d->model);
    elm_mtp_free(d->mtp);
    elm_free(d->alloc, d, sizeof *d);
}

elm_status elm_draft_before_step(elm_session *s, elm_error *err) {
    return s->draft && s->draft->mtp ? elm_mtp_prime(s->draft->mtp, s, err) : ELM_OK;
}

void elm_draft_after_step(elm_session *s, const elm_work *work, uint32_t first, uint32_t n) {
    if (s->draft && s->draft->mtp) elm_mtp_saw(s->draft->mtp, s, work, first, n);
}

void elm_draft_cut(elm_session *s, uint32_t n) {
    if (s->draft && s->draft->mtp) elm_mtp_cut(s->draft->mtp, n);
}

void elm_draft_forget_rows(elm_session *s) {
    if (s->draft && s->draft->mtp) elm_mtp_forget_rows(s->draft->mtp);
}

bool elm_draft_wants_last(const elm_session *s, uint32_t n) {
    return n > 0 && s->draft && s->draft->mtp && !elm_mtp_has_row(s->draft->mtp, n - 1);
}

int32_t elm_likeliest(const float *logits, uint32_t n) {
    uint32_t best = 0;
    for (uint32_t i = 1; i < n; i++) {
        if (logits[i] > logits[best]) best = i;
    }
    return (int32_t)best;
}

elm_status elm_draft_propose(elm_session *s, uint32_t most, uint32_t *n, elm_error *err) {
    elm_draft *d = s->draft;
    int32_t *out = s->tokens + s->n_tokens;
    *n = 0;
    if (most > d->now) most = d->now;
    if (most == 0 || (!d->always && !elm_pace_wants_guesses(&d->pace))) return ELM_OK;
    if (d->model) return elm_draft_model_propose(d->model, s, most, out, n, err);
    if (d->mtp) return elm_mtp_propose(d->mtp, s, most, out, n, err);
    *n = elm_lookup_propose(s->tokens, s->n_tokens, most, out);
    return ELM_OK;
}

void elm_draft_verified(elm_session *s, uint32_t n_proposed, uint32_t n_accepted, uint64_t us) {
    elm_draft *d = s->draft;
    elm_pace_saw(&d->pace, n_proposed > 0, n_accepted + 1, us);
    if (n_proposed == 0) return;
    d->now = n_accepted == n_proposed ? d->now + 2 : n_accepted + 1;
    if (d->now > d->most) d->now = d->most;
    s->stats.drafted_tokens += n_proposed;
    s->stats.accepted_tokens += n_accepted;
}
