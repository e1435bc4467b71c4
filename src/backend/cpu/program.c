/* program.c - from nodes to steps and stages, and the workspace. Layer: backend/cpu. */
#include "backend/cpu/program.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"

enum {
    WORKSPACE_ALIGN = 64,
    Q_ROW_PADDING = 64 /* keeps rows of one column out of one cache set */
};

typedef struct builder {
    const elm_prepare_info *info;
    elm_program *program;
    elm_value_id quantised; /* what the activation buffer holds; ELM_NO_VALUE = nothing */
    uint32_t chain_begin;   /* first step of the stage */
    size_t max_k;           /* widest quantised input */
    size_t attention_scratch, attention_partials, delta_scratch, moe_bytes;
} builder;

static const elm_value *value_of(const builder *b, elm_value_id id) {
    return &b->info->graph->values[id];
}

static elm_cpu_rows rows_of(const builder *b, elm_value_id id) {
    const elm_value *v = value_of(b, id);
    const elm_place *place = &b->info->places[id];
    uint32_t width = 1;
    for (uint32_t d = 1; d < v->n_dims; d++) width *= (uint32_t)v->dims[d];
    elm_cpu_rows r = {place->offset, place->row_stride, width, v->dims[0] == ELM_DIM_R};
    return r;
}

static const elm_tensor *tensor_of(const builder *b, const elm_node *node, uint32_t input) {
    return &b->info->tensors[value_of(b, node->inputs[input])->index];
}

/* ---- stages ---- */

/* Bytes of scratch that a value's rows cover. */
static uint64_t rows_end(const elm_program *p, const elm_cpu_rows *r) {
    uint64_t n = r->is_r ? p->max_rows : p->max_tokens;
    return n == 0 ? r->offset : r->offset + ((n - 1) * r->stride + r->width) * sizeof(float);
}

/* Whether parts with the same rows of both never meet: same distance of rows, and side by
 * side within one. */
static bool same_rows(const elm_cpu_rows *a, const elm_cpu_rows *b) {
    uint64_t lo = a->offset < b->offset ? a->offset : b->offset;
    uint64_t a_end = a->offset + a->width * sizeof(float),
             b_end = b->offset + b->width * sizeof(float);
    uint64_t hi = a_end > b_end ? a_end : b_end;
    return a->stride == b->stride && hi - lo <= a->stride * sizeof(float);
}

static bool rows_conflict(const elm_program *p, const elm_cpu_step *x, const elm_cpu_rows *a,
                          const elm_cpu_step *y, const elm_cpu_rows *b) {
    if (a->width == 0 || b->width == 0) return false;
    if (rows_end(p, a) <= b->offset || rows_end(p, b) <= a->offset) return false;
    bool split_alike = x->split == y->split && x->split != ELM_CPU_SPLIT_WIDE &&
                       a->is_r == b->is_r && a->is_r == (x->split == ELM_CPU_SPLIT_R);
    return !(split_alike && same_rows(a, b));
}

static bool has_state(const elm_cpu_step *s) {
    return s->node && (s->node->op == ELM_OP_KV_WRITE || s->node->op == ELM_OP_ATTENTION);
}

/* Whether `later` must wait for all parts of `earlier`. */
static bool steps_conflict(const elm_program *p, const elm_cpu_step *earlier,
                           const elm_cpu_step *later) {
    if (earlier->writes_acts ? later->reads_acts || later->writes_acts
                             : earlier->reads_acts && later->writes_acts) {
        bool both_write = earlier->writes_acts && later->writes_acts;
        if (!(both_write && earlier->split == later->split)) return true;
    }
    if (has_state(earlier) && has_state(later) && earlier->state == later->state &&
        (earlier->node->op == ELM_OP_KV_WRITE || later->node->op == ELM_OP_KV_WRITE))
        return true;
    for (uint32_t i = 0; i < later->n_in; i++)
        if (rows_conflict(p, earlier, &earlier->out, later, &later->in[i])) return true;
    for (uint32_t i = 0; i < earlier->n_in; i++)
        if (rows_conflict(p, earlier, &earlier->in[i], later, &later->out)) return true;
    return rows_conflict(p, earlier, &earlier->out, later, &later->out);
}

/* Whether a step may have several passes. */
static bool is_alone(const elm_cpu_step *s) {
    return s->node && (s->node->op == ELM_OP_ATTENTION || s->node->op == ELM_OP_MOE);
}

static void append(builder *b, const elm_cpu_step *step) {
    elm_program *p = b->program;
    elm_cpu_step *s = &p->steps[p->n_steps];
    *s = *step;
    s->opens_stage = is_alone(s) || (p->n_steps > 0 && is_alone(s - 1));
    for (uint32_t i = b->chain_begin; i < p->n_steps && !s->opens_stage; i++)
        s->opens_stage = steps_conflict(p, &p->steps[i], s);
    if (s->opens_stage) b->chain_begin = p->n_steps;
    p->n_steps++;
}

/* ---- nodes ---- */

static elm_cpu_weight weight_of(const elm_tensor *t, const elm_tensor *bias) {
    elm_cpu_weight w = {
        .dtype = t->dtype,
        .n_rows = t->dims[t->n_dims - 2], /* of a stack: its first matrix */
        .n_cols = elm_tensor_cols(t),
        .k_padded = elm_tensor_cols(t),
        .group_blocks = 1,
        .codes = t->codes,
        .scales = t->scales,
        .zeros = t->zeros,
        .unit = 1.0f,
        .bias = bias ? bias->codes : NULL,
    };
    w.n_panels = (w.n_rows + ELM_P16_ROWS - 1) / ELM_P16_ROWS;
    w.n_blocks = (w.n_cols + ELM_ACT_GROUP - 1) / ELM_ACT_GROUP;
    if (!elm_dtype_get(t->dtype)->has_scales) return w;
    w.n_groups = (w.n_cols + t->group - 1) / t->group;
    w.k_padded = w.n_groups * t->group;
    w.group_blocks = t->group / ELM_ACT_GROUP;
    w.unit = ldexpf(1.0f, t->scale_exp);
    return w;
}

/* The codes of the step's first input, in the buffer of all; made unless they are there. */
static void read_codes(builder *b, elm_cpu_step *s) {
    const elm_node *node = s->node;
    if (node->attrs.act_quant != ELM_ACT_QUANT_I8) return;
    s->reads_acts = true;
    if (b->quantised != node->inputs[0]) {
        elm_cpu_step q = {.fn = elm_cpu_run_quantize, .node = node, .n_in = 1, .writes_acts = true};
        q.in[0] = s->in[0];
        q.split = s->in[0].is_r ? ELM_CPU_SPLIT_R : ELM_CPU_SPLIT_T;
        append(b, &q);
        b->quantised = node->inputs[0];
    }
    if (s->in[0].width > b->max_k) b->max_k = s->in[0].width;
}

static void add_linear(builder *b, elm_cpu_step *s) {
    const elm_node *node = s->node;
    s->split = ELM_CPU_SPLIT_WIDE;
    s->fn = elm_cpu_run_linear;
    s->weight = weight_of(tensor_of(b, node, 1), node->n_inputs > 2 ? tensor_of(b, node, 2) : NULL);
    read_codes(b, s);
    if (s->reads_acts) s->n_in = 0; /* not the rows */
    append(b, s);
}

static void add_moe(builder *b, elm_cpu_step *s) {
    const elm_node *node = s->node;
    const elm_tensor *gate_up = tensor_of(b, node, 2);
    elm_program *p = b->program;
    s->split = ELM_CPU_SPLIT_WIDE;
    s->n_experts = gate_up->dims[0];
    s->weight = weight_of(gate_up, NULL);
    s->down = weight_of(tensor_of(b, node, 3), NULL);
    s->vector = node->n_inputs > 4 ? tensor_of(b, node, 4)->codes : NULL;
    read_codes(b, s);
    size_t bytes = elm_cpu_moe_workspace(s, s->out.is_r ? p->max_rows : p->max_tokens);
    if (bytes > b->moe_bytes) b->moe_bytes = bytes;
    append(b, s);
}

static void add_recurrent(builder *b, elm_cpu_step *s, uint32_t state_input) {
    const elm_node *node = s->node;
    s->state = value_of(b, node->inputs[state_input])->index;
    s->split = ELM_CPU_SPLIT_WIDE;
    if (node->op == ELM_OP_CAUSAL_CONV1D) {
        s->vector = tensor_of(b, node, 1)->codes;
        return;
    }
    s->vector = tensor_of(b, node, 3)->codes;
    s->vector2 = tensor_of(b, node, 4)->codes;
    size_t scratch = elm_cpu_delta_scratch(&b->info->module->states[s->state]);
    if (scratch > b->delta_scratch) b->delta_scratch = scratch;
}

/* The table of a frequency vector and scale, made when it is first asked for. */
static uint32_t rope_table(builder *b, const elm_tensor *inv_freq, float scale, bool is_r) {
    elm_program *p = b->program;
    for (uint32_t i = 0; i < p->n_tables; i++) {
        const elm_cpu_rope_table *t = &p->tables[i];
        if (t->inv_freq == inv_freq->codes && t->n == inv_freq->dims[0] && t->scale == scale &&
            t->is_r == is_r)
            return i;
    }
    elm_cpu_rope_table t = {inv_freq->codes, inv_freq->dims[0], scale, is_r, 0};
    p->tables[p->n_tables] = t;
    elm_cpu_step s = {.fn = elm_cpu_run_rope_table,
                      .split = is_r ? ELM_CPU_SPLIT_R : ELM_CPU_SPLIT_T,
                      .table = p->n_tables};
    p->n_tables++;
    append(b, &s); /* row by row, as the rotations that read it: never a conflict */
    return p->n_tables - 1;
}

static void add_attention(builder *b, elm_cpu_step *s, uint32_t state_input) {
    s->state = value_of(b, s->node->inputs[state_input])->index;
    const elm_state *state = &b->info->module->states[s->state];
    if (s->node->op == ELM_OP_KV_WRITE) { /* a row as it is stored */
        size_t dim = state->k_dim > state->v_dim ? state->k_dim : state->v_dim;
        size_t row = (dim + 4) * sizeof(uint16_t);
        if (row > b->attention_scratch) b->attention_scratch = row;
        return;
    }
    s->split = ELM_CPU_SPLIT_WIDE;
    size_t scratch =
        elm_cpu_attention_scratch(s->n_heads, state->n_heads, state->k_dim, state->v_dim);
    size_t partials = elm_cpu_attention_partials(s->n_heads, state->v_dim);
    if (scratch > b->attention_scratch) b->attention_scratch = scratch;
    if (partials > b->attention_partials) b->attention_partials = partials;
}

static void add_embedding(builder *b, elm_cpu_step *s) {
    elm_program *p = b->program;
    s->tensor = tensor_of(b, s->node, 1);
    s->weight = weight_of(s->tensor, NULL); /* of a table in rows only the unit counts */
    if (p->n_vocab == 0 || s->tensor->dims[0] < p->n_vocab) p->n_vocab = s->tensor->dims[0];
}

/* The function of every operation that is a step, and how many inputs are rows of floats. */
static const struct {
    elm_op op;
    elm_cpu_step_fn fn;
    uint32_t n_in;
} step_of_op[] = {
    {ELM_OP_EMBEDDING, elm_cpu_run_embedding, 0},
    {ELM_OP_LINEAR, elm_cpu_run_linear, 1},
    {ELM_OP_RMS_NORM, elm_cpu_run_rms_norm, 1},
    {ELM_OP_ROPE, elm_cpu_run_rope, 1},
    {ELM_OP_KV_WRITE, elm_cpu_run_kv_write, 2},
    {ELM_OP_ATTENTION, elm_cpu_run_attention, 1},
    {ELM_OP_GLU, elm_cpu_run_glu, 2},
    {ELM_OP_ADD, elm_cpu_run_add, 2},
    {ELM_OP_GATHER_ROWS, elm_cpu_run_gather_rows, 1},
    {ELM_OP_CONCAT, elm_cpu_run_concat, 2},
    {ELM_OP_MUL, elm_cpu_run_mul, 1},
    {ELM_OP_SOFTCAP, elm_cpu_run_softcap, 1},
    {ELM_OP_LOAD_HIDDEN, elm_cpu_run_load_hidden, 0},
    {ELM_OP_CAUSAL_CONV1D, elm_cpu_run_causal_conv1d, 1},
    {ELM_OP_GATED_DELTA_NET, elm_cpu_run_gated_delta_net, 3},
    {ELM_OP_MOE, elm_cpu_run_moe, 2},
};

static void add_node(builder *b, const elm_node *node) {
    elm_cpu_step s = {.node = node};
    for (size_t i = 0; i < sizeof step_of_op / sizeof step_of_op[0]; i++) {
        if (step_of_op[i].op != node->op) continue;
        s.fn = step_of_op[i].fn;
        s.n_in = step_of_op[i].n_in < node->n_inputs ? step_of_op[i].n_in : node->n_inputs;
    }
    if (!s.fn) return; /* slice, reshape: views */
    for (uint32_t i = 0; i < s.n_in; i++) s.in[i] = rows_of(b, node->inputs[i]);
    if (node->output != ELM_NO_VALUE) s.out = rows_of(b, node->output);
    const elm_value *x = value_of(b, node->inputs[0]);
    if (s.n_in > 0) {
        s.inner = (uint32_t)x->dims[x->n_dims - 1];
        s.n_heads = x->n_dims > 2 ? (uint32_t)x->dims[1] : 1;
    }
    bool r_rows = node->output != ELM_NO_VALUE ? s.out.is_r : s.in[0].is_r;
    s.split = r_rows ? ELM_CPU_SPLIT_R : ELM_CPU_SPLIT_T;
    switch (node->op) {
    case ELM_OP_LINEAR:
        add_linear(b, &s);
        return;
    case ELM_OP_EMBEDDING:
        add_embedding(b, &s);
        break;
    case ELM_OP_RMS_NORM:
        s.vector = node->n_inputs > 1 ? tensor_of(b, node, 1)->codes : NULL;
        break;
    case ELM_OP_SOFTCAP:
        s.split = ELM_CPU_SPLIT_WIDE;
        break;
    case ELM_OP_MUL:
        s.vector = tensor_of(b, node, 1)->codes;
        break;
    case ELM_OP_MOE:
        add_moe(b, &s);
        return;
    case ELM_OP_CAUSAL_CONV1D:
        add_recurrent(b, &s, 2);
        break;
    case ELM_OP_GATED_DELTA_NET:
        add_recurrent(b, &s, 5);
        break;
    case ELM_OP_ROPE:
        s.table = rope_table(b, tensor_of(b, node, 2), node->attrs.scale, s.out.is_r);
        break;
    case ELM_OP_KV_WRITE:
        add_attention(b, &s, 2);
        break;
    case ELM_OP_ATTENTION:
        add_attention(b, &s, 1);
        break;
    default:
        break;
    }
    append(b, &s);
}

/* ---- workspace ---- */

static size_t reserve(elm_program *p, size_t bytes) {
    size_t at = p->workspace_bytes;
    p->workspace_bytes += elm_round_up(bytes, WORKSPACE_ALIGN);
    return at;
}

static void lay_out(builder *b) {
    elm_program *p = b->program;
    size_t rows = p->max_tokens > p->max_rows ? p->max_tokens : p->max_rows;
    size_t blocks = (b->max_k + ELM_ACT_GROUP - 1) / ELM_ACT_GROUP;
    p->acts_q_stride = elm_round_up(blocks * ELM_ACT_GROUP, 64) + Q_ROW_PADDING;
    p->acts_block_stride = blocks;
    p->acts_q = reserve(p, b->max_k ? rows * p->acts_q_stride : 0);
    p->acts_d = reserve(p, rows * blocks * sizeof(float));
    p->acts_start = reserve(p, rows * blocks * sizeof(int32_t));
    p->acts_sum = reserve(p, rows * blocks * sizeof(int32_t));
    for (uint32_t i = 0; i < p->n_tables; i++)
        p->tables[i].offset = reserve(p, (p->tables[i].is_r ? p->max_rows : p->max_tokens) * 2 *
                                             (size_t)p->tables[i].n * sizeof(float));
    p->partials = reserve(p, b->attention_partials);
    p->moe = reserve(p, b->moe_bytes);
    p->thread_scratch_bytes = b->attention_scratch > ELM_CPU_LINEAR_SCRATCH
                                  ? b->attention_scratch
                                  : ELM_CPU_LINEAR_SCRATCH;
    if (b->delta_scratch > p->thread_scratch_bytes) p->thread_scratch_bytes = b->delta_scratch;
    p->thread_scratch_bytes = elm_round_up(p->thread_scratch_bytes, WORKSPACE_ALIGN);
    p->thread_scratch = reserve(p, p->max_threads * p->thread_scratch_bytes);
    p->workspace_bytes += WORKSPACE_ALIGN; /* to align what the caller gives */
}

elm_status elm_cpu_prepare(void *device, const elm_prepare_info *info, elm_program **out,
                           size_t *workspace_bytes, elm_error *err) {
    const elm_cpu_device *d = device;
    elm_program *p = NULL;
    elm_status status = ELM_OK;
    *out = NULL;
    *workspace_bytes = 0;
    ELM_TRY(elm_alloc(info->platform->alloc, sizeof *p, "a cpu program", &p, err));
    p->alloc = info->platform->alloc;
    p->kernels = d->kernels;
    p->max_tokens = info->max_tokens;
    p->max_rows = info->max_rows;
    p->max_threads = info->max_threads;
    p->states = info->module->states;
    p->steps_capacity = 2 * info->n_nodes; /* a quantisation or a rope table beside each node */
    ELM_TRY_OUT(elm_alloc_array(p->alloc, p->steps_capacity, sizeof *p->steps, "cpu steps",
                                &p->steps, err));
    ELM_TRY_OUT(elm_alloc_array(p->alloc, p->steps_capacity, sizeof *p->tables, "rope tables",
                                &p->tables, err));
    builder b = {.info = info, .program = p, .quantised = ELM_NO_VALUE};
    for (uint32_t i = 0; i < info->n_nodes; i++) add_node(&b, &info->graph->nodes[info->nodes[i]]);
    lay_out(&b);
    *out = p;
    *workspace_bytes = p->workspace_bytes;
    return ELM_OK;
out:
    elm_cpu_program_free(p);
    return status;
}

void elm_cpu_program_free(elm_program *p) {
    if (!p) return;
    elm_free(p->alloc, p->tables, p->steps_capacity * sizeof *p->tables);
    elm_free(p->alloc, p->steps, p->steps_capacity * sizeof *p->steps);
    elm_free(p->alloc, p, sizeof *p);
}
