/* snapshot.c - see snapshot.h; runtime. */
#include "runtime/snapshot.h"

#include "runtime/session.h"

#include <string.h>

uint32_t elm_snapshots_count(const elm_state_config *c, uint32_t wanted) {
    if (wanted == ELM_NO_SNAPSHOTS || !elm_states_need_marks(c)) return 0;
    return wanted ? wanted : ELM_DEFAULT_SNAPSHOTS;
}

static uint64_t slot_bytes(const elm_state_config *c) {
    return elm_mark_bytes(c) + (uint64_t)c->model->meta.vocab_size * sizeof(float);
}

uint64_t elm_snapshots_bytes(const elm_state_config *c, uint32_t n_slots) {
    return n_slots * slot_bytes(c);
}

elm_status elm_snapshots_init(elm_snapshots *s, const elm_allocator *alloc,
                              const elm_state_config *c, uint32_t n_slots, elm_error *err) {
    memset(s, 0, sizeof *s);
    if (n_slots == 0) return ELM_OK;
    s->slot_bytes = slot_bytes(c);
    uint64_t bytes = n_slots * s->slot_bytes;
    /* Not zeroed: a slot that is never taken costs address space only. */
    s->memory = alloc->resize(alloc->self, NULL, 0, bytes);
    if (!s->memory) return elm_fail_oom(err, bytes, "rewind points (fewer n_snapshots take less)");
    s->n_slots = n_slots;
    for (uint32_t i = 0; i < n_slots; i++) s->slots[i].memory = s->memory + i * s->slot_bytes;
    return ELM_OK;
}

void elm_snapshots_free(elm_snapshots *s, const elm_allocator *alloc) {
    elm_free(alloc, s->memory, s->n_slots * s->slot_bytes);
    memset(s, 0, sizeof *s);
}

uint32_t elm_mark_next(uint32_t from, uint32_t end, uint32_t n_marks) {
    uint32_t grid = end / ELM_MARK_GRID * ELM_MARK_GRID, next = end;
    for (uint32_t i = 0, back = 0; i < n_marks && back < grid; i++) {
        if (grid - back <= from) break;
        next = grid - back;
        back = 2 * back + ELM_MARK_GRID;
    }
    return next;
}

/* The slots with the first one behind all others. */
static void rotate(elm_snapshots *s) {
    elm_snapshot first = s->slots[0];
    memmove(s->slots, s->slots + 1, (s->n_slots - 1) * sizeof *s->slots);
    s->slots[s->n_slots - 1] = first;
}

void elm_snapshots_take(elm_session *session) {
    elm_snapshots *s = &session->snapshots;
    if (s->n_slots == 0 || session->n_run == 0) return;
    if (s->n > 0 && s->slots[s->n - 1].position >= session->n_run) return;
    if (s->n == s->n_slots) {
        rotate(s);
        s->n--;
    }
    elm_snapshot *slot = &s->slots[s->n++];
    const elm_meta *meta = &session->model->meta;
    slot->position = session->n_run;
    slot->has_logits = elm_session_logits(session) != NULL;
    elm_mark_pack(session, slot->memory);
    if (!slot->has_logits) return;
    memcpy(slot->memory + s->slot_bytes - meta->vocab_size * sizeof(float), session->logits,
           meta->vocab_size * sizeof(float));
}

bool elm_snapshots_restore(elm_session *session, uint32_t n) {
    elm_snapshots *s = &session->snapshots;
    elm_snapshots_cut(session, n);
    if (s->n == 0) return false;
    const elm_snapshot *slot = &s->slots[s->n - 1];
    elm_mark_unpack(session, slot->position, slot->memory);
    session->logits = NULL;
    if (slot->has_logits) {
        session->logits =
            (const float *)(const void *)(slot->memory + s->slot_bytes -
                                          session->model->meta.vocab_size * sizeof(float));
    }
    return true;
}

void elm_snapshots_cut(elm_session *session, uint32_t n) {
    elm_snapshots *s = &session->snapshots;
    while (s->n > 0 && s->slots[s->n - 1].position > n) s->n--;
}
