/* backend.h - what a backend implements: one const table a folder. The build generates
 * elm_backend_table.
 *
 * The partitioner asks `supports` for every node, gives runs of nodes ("segments") to `prepare`,
 * and the runtime calls `run` for every step. Weights, scratch and state of a host backend lie in
 * host memory; all activations are float32 rows.
 *
 * To add one: copy the folder null/, whose README lists every name to replace. */
#ifndef ELM_BACKEND_BACKEND_H
#define ELM_BACKEND_BACKEND_H

#include "base/platform.h"
#include "base/thread_pool.h"
#include "ir/graph.h"

/* One KV state of one session, in host memory; backend/kv.h says in which order, and is what reads
 * and writes it. A ring: capacity >= every window that reads it + the step's tokens. */
typedef struct elm_kv {
    elm_dtype dtype; /* ELM_F32, ELM_F16 or ELM_I8 */
    uint32_t n_heads, k_dim, v_dim, capacity;
    void *k, *v;     /* planes */
    float *k_scales; /* int8 only: x = scale * code */
    float *v_scales;
} elm_kv;

/* One RECURRENT or CONV state of one session, in host memory. */
typedef struct elm_recurrent {
    float *values; /* [elm_state_floats], zero before position 0 */
    float *held;   /* [ELM_MAX_HELD][elm_state_held_floats], see elm_step.hold */
} elm_recurrent;

enum { ELM_MAX_HELD = 16 };

/* Where the memory plan puts a value: rows of row_stride floats, beginning `offset` bytes into the
 * step's scratch. Slices and reshapes are views: same memory, other offset. Values that are no node
 * outputs have row_stride 0. */
typedef struct elm_place {
    uint64_t offset;
    uint32_t row_stride;
} elm_place;

/* What is fixed when a model is opened. Pointers outlive the program. */
typedef struct elm_prepare_info {
    const elm_platform *platform;
    const elm_module *module;
    const elm_graph *graph;
    const elm_tensor *tensors; /* weight values index this */
    const elm_place *places;   /* [graph->n_values] */
    const uint32_t *nodes; /* [n_nodes] node indices of this segment, ascending, views left out */
    uint32_t n_nodes;
    uint32_t max_tokens; /* T and R never exceed these */
    uint32_t max_rows;
    uint32_t max_threads;
} elm_prepare_info;

/* What changes with every step. */
typedef struct elm_step {
    uint32_t n_tokens;        /* T */
    uint32_t n_past;          /* S: position of the first token */
    uint32_t n_rows;          /* R */
    const int32_t *tokens;    /* [T] */
    const int32_t *positions; /* [T] */
    const int32_t *rows;      /* [R] */
    const float *hidden;      /* [T][hidden_stride]: ELM_INPUT_HIDDEN, for graphs that read it */
    uint32_t hidden_stride;
    uint8_t *scratch;         /* the places' memory, 64-byte aligned */
    void *workspace;          /* the program's own, of the size that prepare asked for */
    elm_kv *states;           /* [module->n_states], those of kind KV filled in */
    elm_recurrent *recurrent; /* [module->n_states], the others */

    /* Deferred commit, for drafts that may be rejected. A step with `hold` (n_tokens <=
     * ELM_MAX_HELD) computes its outputs, writes KV states as always, and leaves RECURRENT and CONV
     * states as they are: what its tokens would do to them goes to `held`. The next step says with
     * n_commit how many of those tokens, from the first, count; a node that reads the state applies
     * them before its own tokens. A step of no tokens only commits. n_commit is 0 after a step that
     * was not held. */
    bool hold;
    uint32_t n_commit;
    elm_thread_pool *pool;
} elm_step;

typedef struct elm_device_options {
    uint32_t cpu_mask; /* features that the cpu backend may use: bits of ELM_CPU_*; UINT32_MAX = all
                          it finds */
} elm_device_options;

typedef struct elm_program elm_program; /* a prepared segment; immutable, shared by sessions */

/* Every slot is required. */
typedef struct elm_backend {
    const char *name;
    const char *summary; /* one line for doctor */

    /* Finds and opens the device. ELM_BACKEND or ELM_UNSUPPORTED with the reason when it is not
     * there. */
    elm_status (*open)(const elm_platform *platform, const elm_device_options *options,
                       void **out_device, elm_error *err);
    void (*close)(void *device);
    /* One line about the device and what it uses ("avx2, f16c"), for doctor and bench. */
    void (*describe)(const void *device, char *out, size_t out_bytes);

    /* Whether this device runs this node; if not, `reason` says why, in one line. */
    bool (*supports)(const void *device, const elm_module *module, const elm_graph *graph,
                     const elm_node *node, const elm_tensor *tensors, char *reason,
                     size_t reason_bytes);

    /* Makes a program of a segment; *workspace_bytes is what each session must provide for its run.
     */
    elm_status (*prepare)(void *device, const elm_prepare_info *info, elm_program **out,
                          size_t *workspace_bytes, elm_error *err);
    void (*program_free)(elm_program *program);

    /* Runs the segment for one step. Allocates nothing. */
    elm_status (*run)(const elm_program *program, const elm_step *step, elm_error *err);
} elm_backend;

/* NULL-terminated, generated by the build from the folders under backend/. */
extern const elm_backend *const elm_backend_table[];

/* The backend of that name, or NULL. */
const elm_backend *elm_backend_find(const char *name);

/* The rows of a value in this step's scratch. */
static inline float *elm_step_rows(const elm_step *step, const elm_place *place) {
    return (float *)(void *)(step->scratch + place->offset);
}

#endif
