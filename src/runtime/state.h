/* state.h - the state variables of a session: how large they are, where they lie, how far back they
 * reach, and how they are copied out and in; runtime.
 *
 *   KV, full       one row a position, never lost: cutting the timeline forgets the rows behind it
 *   KV, windowed   a ring of capacity rows; holds positions [oldest, n_run)
 *   RECURRENT      one value that every token changes: is at n_run and nowhere else
 *
 * A mark is what the last two kinds need to come back to a position: the recurrent values, and of
 * every ring the window - 1 rows in front of the position. With the full KV rows it is the whole
 * state. Snapshots, the prefix cache and session files keep marks. */
#ifndef ELM_RUNTIME_STATE_H
#define ELM_RUNTIME_STATE_H

#include "runtime/model.h"

typedef struct elm_session elm_session;

/* What decides the size of a session's state. */
typedef struct elm_state_config {
    const elm_model *model;
    elm_dtype kv;
    uint32_t n_context;
    bool with_draft; /* the states that only the file's draft graph uses, too */
} elm_state_config;

/* The dtype that a KV type stands for in this model. */
elm_dtype elm_kv_dtype(const elm_model *m, elm_kv_type kv);

/* Whether a session with this configuration has the state at all. */
bool elm_state_is_used(const elm_state_config *c, uint32_t state);
/* Positions that a KV state has room for: the context, or window + batch + slack for a ring. */
uint32_t elm_state_capacity(const elm_state_config *c, const elm_state *state);
/* Whether some state cannot simply be cut: a recurrent one, or a ring smaller than the context. */
bool elm_states_need_marks(const elm_state_config *c);
bool elm_states_are_recurrent(const elm_state_config *c);

uint64_t elm_states_bytes(const elm_state_config *c);
/* Points the session's states into its state_memory. */
void elm_states_layout(elm_session *s);
/* All states as they are before position 0. */
void elm_states_reset(elm_session *s);

/* A step wrote positions up to `end`: rings lost what it overwrote. */
void elm_states_wrote(elm_session *s, uint32_t end);
/* Whether every state can be cut to its first `n` positions, n <= n_run. */
bool elm_states_reach(const elm_session *s, uint32_t n);

/* ---- marks ---- */

/* Bytes of a mark at most. */
uint64_t elm_mark_bytes(const elm_state_config *c);
/* Copies the mark of the present position, n_run, out; nothing may wait for its commit. */
void elm_mark_pack(const elm_session *s, uint8_t *mark);
/* Comes back to `position`, whose full KV rows are there: sets n_run. */
void elm_mark_unpack(elm_session *s, uint32_t position, const uint8_t *mark);

#endif
