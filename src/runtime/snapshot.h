/* snapshot.h - the rewind points of a session; runtime.
 *
 * Recurrent states and rings cannot go back by forgetting. So a turn (an append of ELM_TURN_TOKENS
 * or more) leaves marks of itself: one at its end, with the logits, and on the grid of 64 positions
 * at the last point before the end, one, three, seven ... points before that. A rewind continues
 * from the nearest mark at or before its target and runs the rest again. Slots are allocated with
 * the session; when all are taken the oldest mark makes room. Cutting the timeline drops the marks
 * behind the cut. */
#ifndef ELM_RUNTIME_SNAPSHOT_H
#define ELM_RUNTIME_SNAPSHOT_H

#include "runtime/state.h"

enum {
    ELM_MARK_GRID = 64,
    ELM_TURN_TOKENS = 8,
    ELM_DEFAULT_SNAPSHOTS = 4,
    ELM_MAX_SNAPSHOTS = 64,
};

typedef struct elm_snapshot {
    uint32_t position;
    bool has_logits;
    uint8_t *memory; /* the mark, then float logits[vocab_size] */
} elm_snapshot;

typedef struct elm_snapshots {
    elm_snapshot slots[ELM_MAX_SNAPSHOTS]; /* the first n in use, positions ascending */
    uint32_t n, n_slots;
    uint8_t *memory;
    uint64_t slot_bytes;
} elm_snapshots;

/* How many a session keeps for `wanted` of its options: none when its states need none. */
uint32_t elm_snapshots_count(const elm_state_config *c, uint32_t wanted);
uint64_t elm_snapshots_bytes(const elm_state_config *c, uint32_t n_slots);
elm_status elm_snapshots_init(elm_snapshots *s, const elm_allocator *alloc,
                              const elm_state_config *c, uint32_t n_slots,
                              elm_error *err) ELM_MUST_CHECK;
void elm_snapshots_free(elm_snapshots *s, const elm_allocator *alloc);

/* The first position in (from, end] where a turn that ends at `end` leaves a mark, at most
 * `n_marks` of them behind the end; `end` when there is none before. */
uint32_t elm_mark_next(uint32_t from, uint32_t end, uint32_t n_marks);

/* Keeps the present position, n_run; with the session's logits when they are those of its last
 * token. Does nothing without slots or when that position is kept already. */
void elm_snapshots_take(elm_session *s);
/* Comes back to the nearest mark at or before `n`; false when there is none. */
bool elm_snapshots_restore(elm_session *s, uint32_t n);
/* Drops the marks behind position n. */
void elm_snapshots_cut(elm_session *s, uint32_t n);

#endif
