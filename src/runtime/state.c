/* state.c - see state.h; runtime. */
#include "runtime/state.h"

#include "backend/kv.h"
#include "base/checked.h"
#include "runtime/session.h"

#include <string.h>

enum { STATE_ALIGN = 64 };

elm_dtype elm_kv_dtype(const elm_model *m, elm_kv_type kv) {
    switch (kv) {
    case ELM_KV_F32:
        return ELM_F32;
    case ELM_KV_F16:
        return ELM_F16;
    case ELM_KV_I8:
        return ELM_I8;
    case ELM_KV_DEFAULT:
        break;
    }
    return m->meta.float_weights ? ELM_F32 : ELM_F16;
}

/* ---- sizes ---- */

static const elm_state *state_at(const elm_state_config *c, uint32_t i) {
    return &c->model->module->states[i];
}

bool elm_state_is_used(const elm_state_config *c, uint32_t state) {
    uint8_t users = c->model->state_users[state];
    return (users & ELM_USED_BY_TEXT) || (c->with_draft && (users & ELM_USED_BY_DRAFT));
}

uint32_t elm_state_capacity(const elm_state_config *c, const elm_state *state) {
    if (state->window == 0) return c->n_context;
    /* A step writes its tokens before it reads: the window before the first of them must survive.
     */
    uint64_t ring = (uint64_t)state->window + c->model->max_batch_tokens + ELM_REWIND_SLACK;
    return ring < c->n_context ? (uint32_t)ring : c->n_context;
}

bool elm_states_are_recurrent(const elm_state_config *c) {
    for (uint32_t i = 0; i < c->model->module->n_states; i++) {
        if (elm_state_is_used(c, i) && state_at(c, i)->kind != ELM_STATE_KV) return true;
    }
    return false;
}

bool elm_states_need_marks(const elm_state_config *c) {
    for (uint32_t i = 0; i < c->model->module->n_states; i++) {
        const elm_state *state = state_at(c, i);
        if (!elm_state_is_used(c, i)) continue;
        if (state->kind != ELM_STATE_KV || elm_state_capacity(c, state) < c->n_context) return true;
    }
    return false;
}

static size_t recurrent_bytes(const elm_state *state) {
    size_t floats = elm_state_floats(state) + ELM_MAX_HELD * elm_state_held_floats(state);
    return elm_round_up(floats * sizeof(float), STATE_ALIGN);
}

static size_t state_bytes(const elm_state_config *c, uint32_t i) {
    const elm_state *state = state_at(c, i);
    if (!elm_state_is_used(c, i)) return 0;
    if (state->kind != ELM_STATE_KV) return recurrent_bytes(state);
    return elm_kv_bytes(c->kv, state->n_heads, state->k_dim, state->v_dim,
                        elm_state_capacity(c, state));
}

uint64_t elm_states_bytes(const elm_state_config *c) {
    uint64_t total = 0;
    for (uint32_t i = 0; i < c->model->module->n_states; i++) total += state_bytes(c, i);
    return total;
}

/* ---- layout, reset, reach ---- */

void elm_states_layout(elm_session *s) {
    const elm_state_config *c = &s->config;
    uint8_t *at = s->state_memory;
    for (uint32_t i = 0; i < c->model->module->n_states; i++) {
        const elm_state *state = state_at(c, i);
        if (!elm_state_is_used(c, i)) continue;
        if (state->kind == ELM_STATE_KV) {
            elm_kv *kv = &s->states[i];
            kv->dtype = c->kv;
            kv->n_heads = state->n_heads;
            kv->k_dim = state->k_dim;
            kv->v_dim = state->v_dim;
            kv->capacity = elm_state_capacity(c, state);
            elm_kv_layout(kv, at);
        } else {
            s->recurrent[i].values = (float *)(void *)at;
            s->recurrent[i].held = s->recurrent[i].values + elm_state_floats(state);
        }
        at += state_bytes(c, i);
    }
}

void elm_states_reset(elm_session *s) {
    s->n_run = s->n_commit = 0;
    for (uint32_t i = 0; i < s->model->module->n_states; i++) {
        const elm_state *state = state_at(&s->config, i);
        s->oldest[i] = 0;
        if (!s->recurrent[i].values) continue;
        memset(s->recurrent[i].values, 0, elm_state_floats(state) * sizeof(float));
    }
}

void elm_states_wrote(elm_session *s, uint32_t end) {
    for (uint32_t i = 0; i < s->model->module->n_states; i++) {
        uint32_t capacity = s->states[i].capacity;
        if (capacity > 0 && end > capacity && end - capacity > s->oldest[i])
            s->oldest[i] = end - capacity;
    }
}

bool elm_states_reach(const elm_session *s, uint32_t n) {
    for (uint32_t i = 0; i < s->model->module->n_states; i++) {
        const elm_state *state = state_at(&s->config, i);
        if (!elm_state_is_used(&s->config, i)) continue;
        if (state->kind != ELM_STATE_KV) {
            /* What a held step left can be committed in part. */
            if (n > s->n_run || n < s->n_run - s->n_commit) return false;
        } else if (state->window > 0) {
            uint32_t needed = n > state->window - 1 ? n - (state->window - 1) : 0;
            if (needed < s->oldest[i]) return false;
        }
    }
    return true;
}

/* ---- marks ---- */

/* Rows in front of a position that a ring's mark holds. */
static uint32_t mark_rows(const elm_state *state, uint32_t position) {
    return position < state->window - 1 ? position : state->window - 1;
}

static size_t mark_state_bytes(const elm_state_config *c, uint32_t i) {
    const elm_state *state = state_at(c, i);
    elm_kv kv = {.dtype = c->kv, .n_heads = state->n_heads, .k_dim = state->k_dim};
    kv.v_dim = state->v_dim;
    if (!elm_state_is_used(c, i)) return 0;
    if (state->kind != ELM_STATE_KV) return elm_state_floats(state) * sizeof(float);
    return state->window ? (state->window - 1) * elm_kv_position_bytes(&kv) : 0;
}

uint64_t elm_mark_bytes(const elm_state_config *c) {
    uint64_t total = 0;
    for (uint32_t i = 0; i < c->model->module->n_states; i++) {
        total += elm_round_up(mark_state_bytes(c, i), STATE_ALIGN);
    }
    return total;
}

void elm_mark_pack(const elm_session *s, uint8_t *mark) {
    for (uint32_t i = 0; i < s->model->module->n_states; i++) {
        const elm_state *state = state_at(&s->config, i);
        size_t bytes = mark_state_bytes(&s->config, i), padded = elm_round_up(bytes, STATE_ALIGN);
        if (bytes == 0) continue;
        if (state->kind == ELM_STATE_KV) {
            uint32_t rows = mark_rows(state, s->n_run);
            size_t used = rows * elm_kv_position_bytes(&s->states[i]);
            elm_kv_pack(&s->states[i], s->n_run - rows, rows, mark);
            memset(mark + used, 0, padded - used); /* marks go into files */
        } else {
            memcpy(mark, s->recurrent[i].values, bytes);
            memset(mark + bytes, 0, padded - bytes);
        }
        mark += padded;
    }
}

void elm_mark_unpack(elm_session *s, uint32_t position, const uint8_t *mark) {
    for (uint32_t i = 0; i < s->model->module->n_states; i++) {
        const elm_state *state = state_at(&s->config, i);
        size_t bytes = mark_state_bytes(&s->config, i);
        if (bytes == 0) continue;
        if (state->kind == ELM_STATE_KV) {
            uint32_t rows = mark_rows(state, position);
            elm_kv_unpack(&s->states[i], position - rows, rows, mark);
            s->oldest[i] = position - rows;
        } else {
            memcpy(s->recurrent[i].values, mark, bytes);
        }
        mark += elm_round_up(bytes, STATE_ALIGN);
    }
    s->n_run = position;
    s->n_commit = 0;
}
