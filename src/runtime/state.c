/* state.c - how large the state variables of a session are and where they lie; runtime. */
#include "backend/kv.h"
#include "base/checked.h"
#include "runtime/session.h"

#include <string.h>

enum { STATE_ALIGN = 64 };

uint32_t elm_state_capacity(const elm_state *state, uint32_t n_context, uint32_t max_batch_tokens) {
    if (state->window == 0) return n_context;
    /* A step writes its tokens before it reads: the window before the first of them must survive.
     */
    uint64_t ring = (uint64_t)state->window + max_batch_tokens + ELM_REWIND_SLACK;
    return ring < n_context ? (uint32_t)ring : n_context;
}

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

static size_t recurrent_bytes(const elm_state *state) {
    size_t floats = elm_state_floats(state) + ELM_MAX_HELD * elm_state_held_floats(state);
    return elm_round_up(floats * sizeof(float), STATE_ALIGN);
}

static size_t state_bytes(const elm_model *m, const elm_state *state, elm_dtype kv,
                          uint32_t n_context) {
    if (state->kind != ELM_STATE_KV) return recurrent_bytes(state);
    return elm_kv_bytes(kv, state->n_heads, state->k_dim, state->v_dim,
                        elm_state_capacity(state, n_context, m->max_batch_tokens));
}

uint64_t elm_states_bytes(const elm_model *m, elm_dtype kv, uint32_t n_context) {
    uint64_t total = 0;
    for (uint32_t i = 0; i < m->module->n_states; i++) {
        total += state_bytes(m, &m->module->states[i], kv, n_context);
    }
    return total;
}

void elm_states_layout(elm_session *s) {
    const elm_module *module = s->model->module;
    uint8_t *at = s->kv_memory;
    for (uint32_t i = 0; i < module->n_states; i++) {
        const elm_state *state = &module->states[i];
        if (state->kind != ELM_STATE_KV) {
            s->recurrent[i].values = (float *)(void *)at;
            s->recurrent[i].held = s->recurrent[i].values + elm_state_floats(state);
            at += recurrent_bytes(state);
            continue;
        }
        elm_kv *kv = &s->states[i];
        kv->dtype = s->kv_dtype;
        kv->n_heads = state->n_heads;
        kv->k_dim = state->k_dim;
        kv->v_dim = state->v_dim;
        kv->capacity = elm_state_capacity(state, s->n_context, s->model->max_batch_tokens);
        elm_kv_layout(kv, at);
        at += state_bytes(s->model, state, s->kv_dtype, s->n_context);
    }
}

void elm_states_reset(elm_session *s) {
    for (uint32_t i = 0; i < s->model->module->n_states; i++) {
        const elm_state *state = &s->model->module->states[i];
        if (state->kind == ELM_STATE_KV) continue;
        memset(s->recurrent[i].values, 0, elm_state_floats(state) * sizeof(float));
    }
}
