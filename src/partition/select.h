/* select.h - inside the partitioner: who takes a node, where segments begin, where values lie. */
#ifndef ELM_PARTITION_SELECT_H
#define ELM_PARTITION_SELECT_H

#include "partition/plan.h"

/* Fills node_device and node_reason of every node. ELM_UNSUPPORTED names the first node that no
 * device takes, with the reason of each. */
elm_status elm_plan_select(elm_plan *plan, const elm_module *module, const elm_tensor *tensors,
                           const elm_plan_options *options, elm_error *err) ELM_MUST_CHECK;

/* Fills order and segments: runs of nodes of one device, in the graph's order, which keeps every
 * dependency, those through state included. */
elm_status elm_plan_cut(elm_plan *plan, elm_error *err) ELM_MUST_CHECK;

/* Fills places and scratch_bytes. */
elm_status elm_plan_layout(elm_plan *plan, uint32_t max_tokens, uint32_t max_rows,
                           elm_error *err) ELM_MUST_CHECK;

/* Slices and reshapes only rename memory. */
static inline bool elm_op_is_view(elm_op op) {
    return op == ELM_OP_SLICE || op == ELM_OP_RESHAPE;
}

/* Floats of one row of a value. */
static inline uint64_t elm_value_width(const elm_value *v) {
    uint64_t n = 1;
    for (uint32_t d = 1; d < v->n_dims; d++) n *= (uint64_t)v->dims[d];
    return n;
}

#endif
