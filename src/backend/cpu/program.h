/* program.h - a prepared segment: a list of steps in stages, and the workspace they share.
 *
 * Layer: backend/cpu. A stage is a run of steps that the pool's threads divide among themselves:
 * each of its parts does that part of every step in turn. Steps are cut into parts in one of two
 * ways:
 *
 *   rows   a part has the same contiguous rows [T or R] in every such step
 *   wide   the work of all rows is divided otherwise (panels of a matrix, heads)
 *
 * prepare finds where a stage must end: before a step that touches memory which an earlier step of
 * the stage wrote (or that it overwrites), unless both split the same rows. A step of several
 * passes is a stage of its own for each of them. schedule.c runs the stages, and says how many
 * parts each has.
 *
 *   workspace  [acts: codes, scales, starts, sums][rope tables][attention partial sums]
 *              [scratch of thread 0][thread 1]... */
#ifndef ELM_BACKEND_CPU_PROGRAM_H
#define ELM_BACKEND_CPU_PROGRAM_H

#include "backend/backend.h"
#include "backend/cpu/kernels.h"

typedef struct elm_cpu_device {
    const elm_platform *platform;
    uint32_t features; /* ELM_CPU_* */
    elm_cpu_kernels kernels;
} elm_cpu_device;

typedef enum elm_cpu_split {
    ELM_CPU_SPLIT_T, /* rows are tokens of the step */
    ELM_CPU_SPLIT_R, /* rows whose output is wanted */
    ELM_CPU_SPLIT_WIDE,
} elm_cpu_split;

/* Rows of a value: [n][width] floats, `stride` apart. */
typedef struct elm_cpu_rows {
    uint64_t offset;
    uint32_t stride, width;
    bool is_r; /* R rows, else T */
} elm_cpu_rows;

typedef struct elm_cpu_step elm_cpu_step;

/* A step of the session being run, as one thread sees it. */
typedef struct elm_cpu_run {
    const elm_program *program;
    const elm_step *step;
    const elm_cpu_kernels *kernels;
    uint8_t *workspace; /* 64-byte aligned */
    uint32_t thread;    /* whose scratch it is */
    uint32_t pass;      /* of a step of several */
} elm_cpu_run;

/* What a float of a row costs in norms, rotations, quantisation. */
enum { ELM_CPU_ROW_FLOAT_COST = 8 };

/* One pass of a step, for the scheduler. */
typedef struct elm_cpu_work {
    uint32_t n_passes; /* at least 1 */
    size_t units;      /* pieces that it can be cut into */
    uint64_t cost;     /* in the time that a thread takes to read one byte of weights */
} elm_cpu_work;

typedef void (*elm_cpu_step_fn)(const elm_cpu_run *run, const elm_cpu_step *s, uint32_t part,
                                uint32_t n_parts);

struct elm_cpu_step {
    elm_cpu_step_fn fn;
    elm_cpu_split split;
    bool opens_stage;
    const elm_node *node; /* NULL for rope tables */
    elm_cpu_rows in[3], out;
    uint32_t n_in;            /* that are rows of floats */
    uint32_t inner;           /* last dimension of in[0]: what a norm or a rotation works on */
    uint32_t n_heads;         /* of in[0], for rope, kv_write and attention */
    uint32_t state;           /* kv_write, attention, causal_conv1d, gated_delta_net */
    uint32_t n_experts;       /* moe */
    uint32_t table;           /* rope: index of its table */
    const float *vector;      /* norm weight, factor, taps, decay rates, expert scales; or NULL */
    const float *vector2;     /* dt_bias */
    const elm_tensor *tensor; /* embedding table */
    elm_cpu_weight weight;    /* linear; embedding tables in P16; of moe the first gate_up */
    elm_cpu_weight down;      /* moe */
    bool reads_acts, writes_acts;
};

/* cos and sin of all tokens of a step for one frequency vector: [max_tokens][2 * n]. */
typedef struct elm_cpu_rope_table {
    const float *inv_freq;
    uint32_t n;
    float scale;
    bool is_r;     /* a row for each of the R rows, else for each token */
    size_t offset; /* in the workspace */
} elm_cpu_rope_table;

/* Attention of one token at a long context divides keys into chunks; partial sums of that many
 * chunks are kept. */
enum { ELM_CPU_KV_CHUNK = 512, ELM_CPU_WAVE_CHUNKS = 16 };

struct elm_program {
    const elm_allocator *alloc;
    elm_cpu_kernels kernels;
    elm_cpu_step *steps;
    uint32_t n_steps, steps_capacity;
    elm_cpu_rope_table *tables;
    uint32_t n_tables;
    uint32_t max_tokens, max_rows, max_threads;
    const elm_state *states;                     /* of the module */
    size_t acts_q, acts_d, acts_start, acts_sum; /* workspace offsets */
    size_t acts_q_stride, acts_block_stride;
    size_t partials; /* offset */
    size_t moe;      /* offset; every moe uses it in turn */
    size_t thread_scratch, thread_scratch_bytes;
    size_t workspace_bytes;
    uint32_t n_vocab; /* smallest embedding table; 0 = none */
};

static inline float *elm_cpu_row(const elm_cpu_run *r, const elm_cpu_rows *rows, size_t row) {
    return (float *)(void *)(r->step->scratch + rows->offset) + row * rows->stride;
}
static inline uint32_t elm_cpu_n_rows(const elm_cpu_run *r, const elm_cpu_rows *rows) {
    return rows->is_r ? r->step->n_rows : r->step->n_tokens;
}
/* The token of the step that row `row` belongs to. */
static inline size_t elm_cpu_token_of(const elm_cpu_run *r, const elm_cpu_rows *rows, size_t row) {
    return rows->is_r ? (size_t)r->step->rows[row] : row;
}
/* A part's rows of a step that is split by rows: those of its output, or of its input when it has
 * none. */
static inline void elm_cpu_own_rows(const elm_cpu_run *r, const elm_cpu_step *s, uint32_t part,
                                    uint32_t n_parts, size_t *begin, size_t *end) {
    size_t n = s->split == ELM_CPU_SPLIT_R ? r->step->n_rows : r->step->n_tokens;
    elm_split(n, 1, part, n_parts, begin, end);
}
static inline void *elm_cpu_scratch(const elm_cpu_run *r) {
    const elm_program *p = r->program;
    return r->workspace + p->thread_scratch + r->thread * p->thread_scratch_bytes;
}
elm_cpu_acts elm_cpu_acts_of(const elm_cpu_run *r);

/* The steps, one function an operation: part `part` of n_parts. */
void elm_cpu_run_embedding(const elm_cpu_run *, const elm_cpu_step *, uint32_t, uint32_t);
void elm_cpu_run_quantize(const elm_cpu_run *, const elm_cpu_step *, uint32_t, uint32_t);
void elm_cpu_run_linear(const elm_cpu_run *, const elm_cpu_step *, uint32_t, uint32_t);
void elm_cpu_run_rms_norm(const elm_cpu_run *, const elm_cpu_step *, uint32_t, uint32_t);
void elm_cpu_run_rope_table(const elm_cpu_run *, const elm_cpu_step *, uint32_t, uint32_t);
void elm_cpu_run_rope(const elm_cpu_run *, const elm_cpu_step *, uint32_t, uint32_t);
void elm_cpu_run_kv_write(const elm_cpu_run *, const elm_cpu_step *, uint32_t, uint32_t);
void elm_cpu_run_attention(const elm_cpu_run *, const elm_cpu_step *, uint32_t, uint32_t);
void elm_cpu_run_glu(const elm_cpu_run *, const elm_cpu_step *, uint32_t, uint32_t);
void elm_cpu_run_add(const elm_cpu_run *, const elm_cpu_step *, uint32_t, uint32_t);
void elm_cpu_run_gather_rows(const elm_cpu_run *, const elm_cpu_step *, uint32_t, uint32_t);

void elm_cpu_run_concat(const elm_cpu_run *, const elm_cpu_step *, uint32_t, uint32_t);
void elm_cpu_run_mul(const elm_cpu_run *, const elm_cpu_step *, uint32_t, uint32_t);
void elm_cpu_run_softcap(const elm_cpu_run *, const elm_cpu_step *, uint32_t, uint32_t);
void elm_cpu_run_load_hidden(const elm_cpu_run *, const elm_cpu_step *, uint32_t, uint32_t);
void elm_cpu_run_causal_conv1d(const elm_cpu_run *, const elm_cpu_step *, uint32_t, uint32_t);
void elm_cpu_run_gated_delta_net(const elm_cpu_run *, const elm_cpu_step *, uint32_t, uint32_t);
void elm_cpu_run_moe(const elm_cpu_run *, const elm_cpu_step *, uint32_t, uint32_t);

/* How the passes of these can be cut; of others schedule.c knows. */
elm_cpu_work elm_cpu_attention_work(const elm_cpu_run *, const elm_cpu_step *);
elm_cpu_work elm_cpu_moe_work(const elm_cpu_run *, const elm_cpu_step *);

/* Bytes of scratch of a thread for a delta net, and of workspace for a moe of `rows` rows. */
size_t elm_cpu_delta_scratch(const elm_state *state);
size_t elm_cpu_moe_workspace(const elm_cpu_step *s, size_t rows);
bool elm_cpu_conv1d_fits(const elm_state *state);

/* Bytes of scratch that attention needs for each thread, and for the partial sums of all. */
size_t elm_cpu_attention_scratch(uint32_t n_heads, uint32_t n_kv_heads, uint32_t k_dim,
                                 uint32_t v_dim);
size_t elm_cpu_attention_partials(uint32_t n_heads, uint32_t v_dim);

elm_status elm_cpu_prepare(void *device, const elm_prepare_info *info, elm_program **out,
                           size_t *workspace_bytes, elm_error *err);
void elm_cpu_program_free(elm_program *program);
elm_status elm_cpu_run_program(const elm_program *program, const elm_step *step, elm_error *err);

#endif
