/* ref.c - the oracle's table, its programs and dispatch; backend/ref. */
#include "backend/ref/ref.h"

#include <stdio.h>
#include <string.h>

struct elm_program {
    elm_prepare_info info;
    uint32_t *nodes;
    size_t row_floats;
};

static elm_status ref_open(const elm_platform *platform, const elm_device_options *options,
                           void **out, elm_error *err) {
    static const char device = 0; /* there is nothing to open */
    (void)platform, (void)options, (void)err;
    *out = (void *)(uintptr_t)&device;
    return ELM_OK;
}

static void ref_close(void *device) {
    (void)device;
}

static void ref_describe(const void *device, char *out, size_t n) {
    (void)device;
    snprintf(out, n, "oracle, double accumulation, 1 thread");
}

static bool ref_supports(const void *device, const elm_module *module, const elm_graph *graph,
                         const elm_node *node, const elm_tensor *tensors, char *reason, size_t n) {
    (void)device, (void)module, (void)graph, (void)node, (void)tensors;
    if (n > 0) reason[0] = 0;
    return true;
}

/* The widest row that a node reads or writes. */
static size_t widest(const elm_prepare_info *info) {
    size_t most = 1;
    for (uint32_t v = 0; v < info->graph->n_values; v++) {
        const elm_value *value = &info->graph->values[v];
        size_t n = 1;
        uint32_t first = value->kind == ELM_VALUE_WEIGHT ? value->n_dims - 1 : 1;
        for (uint32_t d = first; d < value->n_dims; d++) n *= (size_t)value->dims[d];
        if (value->kind == ELM_VALUE_WEIGHT && value->n_dims == 3 && n < (size_t)value->dims[1])
            n = (size_t)value->dims[1]; /* what one expert computes */
        if (value->kind != ELM_VALUE_STATE && n > most) most = n;
    }
    for (uint32_t s = 0; s < info->module->n_states; s++) {
        const elm_state *state = &info->module->states[s];
        if (state->k_dim > most) most = state->k_dim;
        if (state->v_dim > most) most = state->v_dim;
    }
    return most;
}

static elm_status ref_prepare(void *device, const elm_prepare_info *info, elm_program **out,
                              size_t *workspace, elm_error *err) {
    elm_program *p = NULL;
    (void)device;
    *out = NULL;
    ELM_TRY(elm_alloc(info->platform->alloc, sizeof *p, "a ref program", &p, err));
    elm_status status = elm_alloc_array(info->platform->alloc, info->n_nodes, sizeof *p->nodes,
                                        "a ref program", &p->nodes, err);
    if (status != ELM_OK) {
        elm_free(info->platform->alloc, p, sizeof *p);
        return status;
    }
    if (info->n_nodes > 0) memcpy(p->nodes, info->nodes, info->n_nodes * sizeof *p->nodes);
    p->info = *info;
    p->info.nodes = p->nodes;
    p->row_floats = widest(info) + 64; /* padding of a quantised row */
    *workspace = ELM_REF_ROWS * p->row_floats * sizeof(float);
    *out = p;
    return ELM_OK;
}

static void ref_program_free(elm_program *p) {
    if (!p) return;
    const elm_allocator *a = p->info.platform->alloc;
    elm_free(a, p->nodes, p->info.n_nodes * sizeof *p->nodes);
    elm_free(a, p, sizeof *p);
}

static void run_node(const elm_ref_call *c) {
    switch (c->node->op) {
    case ELM_OP_EMBEDDING:
        elm_ref_embedding(c);
        return;
    case ELM_OP_LINEAR:
        elm_ref_linear(c);
        return;
    case ELM_OP_RMS_NORM:
        elm_ref_rms_norm(c);
        return;
    case ELM_OP_ROPE:
        elm_ref_rope(c);
        return;
    case ELM_OP_KV_WRITE:
        elm_ref_kv_write(c);
        return;
    case ELM_OP_ATTENTION:
        elm_ref_attention(c);
        return;
    case ELM_OP_GLU:
        elm_ref_glu(c);
        return;
    case ELM_OP_ADD:
        elm_ref_add(c);
        return;
    case ELM_OP_GATHER_ROWS:
        elm_ref_gather_rows(c);
        return;
    case ELM_OP_CONCAT:
        elm_ref_concat(c);
        return;
    case ELM_OP_MUL:
        elm_ref_mul(c);
        return;
    case ELM_OP_SOFTCAP:
        elm_ref_softcap(c);
        return;
    case ELM_OP_LOAD_HIDDEN:
        elm_ref_load_hidden(c);
        return;
    case ELM_OP_CAUSAL_CONV1D:
        elm_ref_causal_conv1d(c);
        return;
    case ELM_OP_GATED_DELTA_NET:
        elm_ref_gated_delta_net(c);
        return;
    case ELM_OP_MOE:
        elm_ref_moe(c);
        return;
    case ELM_OP_SLICE:
    case ELM_OP_RESHAPE:
        return; /* views: the memory plan made them */
    }
}

static elm_status ref_run(const elm_program *p, const elm_step *step, elm_error *err) {
    (void)err;
    for (uint32_t i = 0; i < p->info.n_nodes; i++) {
        elm_ref_call c = {&p->info, &p->info.graph->nodes[p->nodes[i]], step, step->workspace,
                          p->row_floats};
        run_node(&c);
    }
    return ELM_OK;
}

uint32_t elm_ref_rows(const elm_ref_call *c, elm_value_id id) {
    return c->info->graph->values[id].dims[0] == ELM_DIM_R ? c->step->n_rows : c->step->n_tokens;
}

uint32_t elm_ref_token(const elm_ref_call *c, elm_value_id id, uint32_t row) {
    bool is_r = c->info->graph->values[id].dims[0] == ELM_DIM_R;
    return is_r ? (uint32_t)c->step->rows[row] : row;
}

uint32_t elm_ref_inner(const elm_ref_call *c, elm_value_id id) {
    const elm_value *v = &c->info->graph->values[id];
    uint32_t n = 1;
    for (uint32_t d = 1; d < v->n_dims; d++) n *= (uint32_t)v->dims[d];
    return n;
}

float *elm_ref_row(const elm_ref_call *c, elm_value_id id, uint32_t row) {
    const elm_place *place = &c->info->places[id];
    return elm_step_rows(c->step, place) + (size_t)row * place->row_stride;
}

const elm_tensor *elm_ref_weight(const elm_ref_call *c, uint32_t input) {
    if (input >= c->node->n_inputs) return NULL;
    return &c->info->tensors[c->info->graph->values[c->node->inputs[input]].index];
}

const elm_backend elm_backend_ref = {
    .name = "ref",
    .summary = "the oracle: plain C, double accumulation; slow and exact",
    .open = ref_open,
    .close = ref_close,
    .describe = ref_describe,
    .supports = ref_supports,
    .prepare = ref_prepare,
    .program_free = ref_program_free,
    .run = ref_run,
};
