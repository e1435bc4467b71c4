/* session.h - one token timeline: its tokens, state memory, scratch and sampler; runtime.
 *
 *   tokens  [0 .. n_run)          run: their state is in the KV caches; the recurrent states are at
 *                                 n_run - n_commit, and the next step commits the rest
 *           [n_run .. n_tokens)   not run yet: run when the next step needs them
 *
 * Everything is allocated at creation: no later call allocates, but for text that goes out. */
#ifndef ELM_RUNTIME_SESSION_H
#define ELM_RUNTIME_SESSION_H

#include "runtime/sampler.h"
#include "runtime/snapshot.h"
#include "runtime/speculate.h"

/* What a session takes, in the order of elm_memory_estimate. */
typedef struct elm_session_sizes {
    uint64_t state, snapshots, scratch, workspace, draft, rest;
} elm_session_sizes;

struct elm_session {
    elm_model *model;
    const elm_allocator *alloc;
    elm_thread_pool *pool; /* the model's, or that of the session that it drafts for */
    const char *system;
    elm_state_config config;
    uint32_t n_context; /* = config.n_context */
    elm_session_sizes sizes;

    int32_t *tokens;        /* [n_context] */
    uint8_t *was_generated; /* [n_context] for the penalties: sampled here, not given */
    uint32_t n_tokens, n_run, n_commit;
    int32_t *positions;       /* [max_batch_tokens] */
    elm_kv *states;           /* [n_states], those of kind KV */
    uint32_t *oldest;         /* [n_states] first position that a ring still holds */
    elm_recurrent *recurrent; /* [n_states], the others */
    uint8_t *state_memory, *scratch, *workspace;
    const float *logits; /* of the last token when all have been run, or NULL */

    elm_snapshots snapshots;
    elm_draft *draft; /* NULL: no speculative decoding */
    elm_sampler sampler;
    elm_buf text;                   /* detokenised and held back by stop strings */
    atomic_bool cancelled, *cancel; /* cancel: own flag, or of the session that it drafts for */
    elm_stats stats;
    uint64_t first_append_us; /* 0 = none since the last generate */

    elm_buf conversation; /* JSON objects of the turns so far, comma separated; elm_session_chat */
};

/* Positions for the `n_context` of options. */
uint32_t elm_session_context_of(const elm_model *m, uint32_t n_context);
/* A session's memory, all of it, before anything is allocated. */
elm_status elm_session_measure(const elm_model *m, const elm_session_options *o,
                               elm_state_config *config, elm_session_sizes *out,
                               elm_error *err) ELM_MUST_CHECK;

/* ---- steps (timeline.c) ---- */

/* A plan and the memory that its steps run in. */
struct elm_work {
    const elm_plan *plan;
    uint8_t *scratch, *workspace;
};

elm_work elm_session_work(const elm_session *s); /* the session's own */

/* Rows of logits in scratch. */
typedef struct elm_logits {
    const float *first;
    uint32_t stride;
} elm_logits;

/* Runs tokens [n_run, n_run + n) of the array of tokens as one step with the logits of the last
 * n_rows, and commits what waits. An ordinary step moves n_run. A held one does not: its tokens are
 * candidates until elm_session_accept. ELM_CANCELLED before anything is run. */
elm_status elm_session_step(elm_session *s, const elm_work *work, uint32_t n, uint32_t n_rows,
                            bool hold, elm_logits *out, elm_error *err) ELM_MUST_CHECK;
/* The first n candidates of a held step count. */
void elm_session_accept(elm_session *s, uint32_t n);
/* Recurrent states catch up with n_run. */
elm_status elm_session_commit(elm_session *s, elm_error *err) ELM_MUST_CHECK;

/* Runs whatever has not been run; afterwards logits are those of the last token. */
elm_status elm_session_run_pending(elm_session *s, elm_error *err) ELM_MUST_CHECK;
/* The same for a timeline whose logits are gone: runs its last token again. */
elm_status elm_session_need_logits(elm_session *s, elm_error *err) ELM_MUST_CHECK;
/* The timeline's tokens end at n: n_tokens, the sampler's marks, the draft. States stay. */
void elm_session_cut_tokens(elm_session *s, uint32_t n);
/* The sampler's marks from the timeline. */
void elm_session_mark_tokens(elm_session *s);

#endif
