/* session.h - one token timeline: its tokens, state memory, scratch and sampler; runtime.
 *
 *   tokens  [0 .. n_run)          run: their state is in the KV caches
 *           [n_run .. n_tokens)   appended by generate, run when the next step needs them
 *
 * Everything is allocated at creation: no later call allocates, but for text that goes out. */
#ifndef ELM_RUNTIME_SESSION_H
#define ELM_RUNTIME_SESSION_H

#include "runtime/sampler.h"

struct elm_session {
    elm_model *model;
    const elm_allocator *alloc;
    elm_session_options options;
    elm_dtype kv_dtype;
    uint32_t n_context;

    int32_t *tokens; /* [n_context] */
    uint32_t n_tokens, n_run;
    uint32_t high_water;      /* positions ever written since the rings were last whole */
    int32_t *positions;       /* [max_batch_tokens] */
    elm_kv *states;           /* [n_states], those of kind KV */
    elm_recurrent *recurrent; /* [n_states], the others */
    uint8_t *kv_memory;
    uint64_t kv_bytes;
    uint8_t *scratch;
    uint64_t scratch_bytes;
    uint8_t *workspace;
    uint64_t workspace_bytes;
    const float *logits; /* in scratch; NULL when the last token has not been run */

    elm_sampler sampler;
    elm_buf text; /* detokenised and held back by stop strings */
    atomic_bool cancelled;
    elm_stats stats;
    uint64_t first_append_us; /* 0 = none since the last generate */

    elm_buf conversation; /* JSON objects of the turns so far, comma separated; elm_session_chat */
};

/* Capacity of a state's ring for a context. */
uint32_t elm_state_capacity(const elm_state *state, uint32_t n_context, uint32_t max_batch_tokens);
/* The dtype that a KV type stands for in this model. */
elm_dtype elm_kv_dtype(const elm_model *m, elm_kv_type kv);
uint64_t elm_states_bytes(const elm_model *m, elm_dtype kv, uint32_t n_context);
/* Points the session's states into its kv_memory. */
void elm_states_layout(elm_session *s);
/* Recurrent states as they are before position 0. */
void elm_states_reset(elm_session *s);

/* Runs tokens [n_run, n_run + n) of the timeline as one step of `plan` with the logits of the last
 * n_rows; they are then in session->logits or, for other plans, at *out_logits. */
elm_status elm_session_step(elm_session *s, const elm_plan *plan, uint8_t *scratch,
                            uint8_t *workspace, uint32_t n, uint32_t n_rows,
                            const float **out_logits, uint32_t *row_stride,
                            elm_error *err) ELM_MUST_CHECK;

/* Runs whatever has not been run; afterwards logits are those of the last token. */
elm_status elm_session_run_pending(elm_session *s, elm_error *err) ELM_MUST_CHECK;

#endif
