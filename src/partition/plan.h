/* plan.h - who runs which node and why, where the cuts are, and where every value lies.
 *
 * Made anew at every open, in milliseconds and deterministically, from the graph, the devices that
 * opened and the order of preference. Printed by `inspect --plan`. */
#ifndef ELM_PARTITION_PLAN_H
#define ELM_PARTITION_PLAN_H

#include "backend/backend.h"

enum { ELM_MAX_DEVICES = 16 };

typedef struct elm_device {
    const elm_backend *backend;
    void *handle;
} elm_device;

/* Lets a test (or --force) refuse a node to a device: true = refused. */
typedef bool (*elm_refuse_fn)(void *context, uint32_t node, uint32_t device);

typedef struct elm_plan_options {
    const elm_device *devices; /* in order of preference */
    uint32_t n_devices;
    uint32_t max_tokens, max_rows, max_threads;
    elm_refuse_fn refuse; /* may be NULL */
    void *refuse_context;
} elm_plan_options;

enum { ELM_DEVICE_VIEW = 254 }; /* slices and reshapes: nobody runs them */

typedef struct elm_segment {
    uint32_t device;       /* index into devices */
    uint32_t first, count; /* into plan->order */
    elm_program *program;
    size_t workspace_bytes, workspace_offset;
} elm_segment;

typedef struct elm_plan {
    const elm_graph *graph;
    elm_device devices[ELM_MAX_DEVICES];
    uint32_t n_devices;
    uint8_t *node_device;     /* [n_nodes] device index or ELM_DEVICE_VIEW */
    const char **node_reason; /* [n_nodes] why the first choice did not take it, or NULL */
    uint32_t *order;          /* node indices, views left out */
    elm_segment *segments;
    uint32_t n_segments;
    elm_place *places;        /* [n_values] */
    uint64_t scratch_bytes;   /* all places */
    uint64_t workspace_bytes; /* all segments; workspaces of segments do not overlap */
    elm_arena arena;
} elm_plan;

/* Selects, cuts, lays out memory and prepares the segments. ELM_UNSUPPORTED names the node that no
 * device takes. tensors are borrowed. Free with elm_plan_free, also after a failure. */
elm_status elm_plan_make(const elm_platform *platform, const elm_module *module,
                         const elm_graph *graph, const elm_tensor *tensors,
                         const elm_plan_options *options, elm_plan *out,
                         elm_error *err) ELM_MUST_CHECK;
void elm_plan_free(elm_plan *plan);

/* Runs all segments in order. step->workspace is the base for all of them. */
elm_status elm_plan_run(const elm_plan *plan, const elm_step *step, elm_error *err) ELM_MUST_CHECK;

/* A table: segment, backend, nodes, MACs a token, weight bytes, bytes over the boundary; then each
 * node that did not get its first choice, with the reason. */
void elm_plan_explain(const elm_plan *plan, const elm_module *module, const elm_tensor *tensors,
                      elm_buf *out);

#endif
