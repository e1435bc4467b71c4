/* explain.c - the plan as a table for people; partition. */
#include "partition/select.h"

static const elm_tensor *weight_of(const elm_plan *plan, const elm_tensor *tensors,
                                   const elm_node *node, uint32_t input) {
    return &tensors[plan->graph->values[node->inputs[input]].index];
}

static uint64_t bytes_of(const elm_tensor *t) {
    return t->codes_bytes + t->scales_bytes + t->zeros_bytes;
}

/* Multiply-adds for one token, and bytes of weights that are read for it. */
static void cost(const elm_plan *plan, const elm_tensor *tensors, uint32_t n, uint64_t *macs,
                 uint64_t *bytes) {
    const elm_node *node = &plan->graph->nodes[n];
    if (node->op == ELM_OP_LINEAR) {
        const elm_tensor *w = weight_of(plan, tensors, node, 1);
        *macs += (uint64_t)w->dims[0] * w->dims[1];
        *bytes += bytes_of(w);
    }
    for (uint32_t i = 2; node->op == ELM_OP_MOE && i < 4; i++) { /* of the experts of one token */
        const elm_tensor *w = weight_of(plan, tensors, node, i);
        *macs += (uint64_t)node->attrs.top_k * w->dims[1] * w->dims[2];
        *bytes += bytes_of(w) / w->dims[0] * (uint64_t)node->attrs.top_k;
    }
}

/* The segment that computes a value, views seen through; UINT32_MAX for weights, inputs and state.
 */
static uint32_t segment_of(const elm_plan *plan, const uint32_t *segment_of_node, elm_value_id id) {
    const elm_value *v = &plan->graph->values[id];
    while (v->kind == ELM_VALUE_NODE && plan->node_device[v->index] == ELM_DEVICE_VIEW) {
        v = &plan->graph->values[plan->graph->nodes[v->index].inputs[0]];
    }
    return v->kind == ELM_VALUE_NODE ? segment_of_node[v->index] : UINT32_MAX;
}

/* Bytes a token that cross into a segment. */
static uint64_t boundary(const elm_plan *plan, const uint32_t *segment_of_node, uint32_t s) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < plan->segments[s].count; i++) {
        const elm_node *node = &plan->graph->nodes[plan->order[plan->segments[s].first + i]];
        for (uint32_t k = 0; k < node->n_inputs; k++) {
            uint32_t from = segment_of(plan, segment_of_node, node->inputs[k]);
            if (from == UINT32_MAX || from == s) continue;
            bytes += elm_value_width(&plan->graph->values[node->inputs[k]]) * sizeof(float);
        }
    }
    return bytes;
}

void elm_plan_explain(const elm_plan *plan, const elm_module *module, const elm_tensor *tensors,
                      elm_buf *out) {
    const elm_allocator *a = plan->arena.alloc;
    uint32_t *segment_of_node = NULL;
    (void)module;
    if (elm_alloc_array(a, plan->graph->n_nodes, sizeof *segment_of_node, "a plan's text",
                        &segment_of_node, NULL) != ELM_OK) {
        out->status = ELM_OUT_OF_MEMORY;
        return;
    }
    elm_buf_printf(
        out,
        "| segment | backend | nodes | first node | MMACs/token | weights MB | in, bytes/token |\n"
        "|---:|---|---:|---|---:|---:|---:|\n");
    for (uint32_t s = 0; s < plan->n_segments; s++) {
        const elm_segment *segment = &plan->segments[s];
        uint64_t macs = 0, bytes = 0;
        for (uint32_t i = 0; i < segment->count; i++) {
            uint32_t n = plan->order[segment->first + i];
            segment_of_node[n] = s;
            cost(plan, tensors, n, &macs, &bytes);
        }
        elm_buf_printf(out, "| %u | %s | %u | %s | %.2f | %.2f | %llu |\n", s,
                       plan->devices[segment->device].backend->name, segment->count,
                       plan->graph->nodes[plan->order[segment->first]].name, (double)macs / 1e6,
                       (double)bytes / 1e6, (unsigned long long)boundary(plan, segment_of_node, s));
    }
    elm_buf_printf(out, "\nscratch %.2f MB, workspaces %.2f MB\n",
                   (double)plan->scratch_bytes / 1e6, (double)plan->workspace_bytes / 1e6);
    for (uint32_t n = 0; n < plan->graph->n_nodes; n++) {
        if (!plan->node_reason[n]) continue;
        elm_buf_printf(out, "%s -> %s: %s\n", plan->graph->nodes[n].name,
                       plan->devices[plan->node_device[n]].backend->name, plan->node_reason[n]);
    }
    elm_free(a, segment_of_node, plan->graph->n_nodes * sizeof *segment_of_node);
}
