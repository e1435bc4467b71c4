/* cut.c - neighbours on the same device become one segment; partition. */
#include "partition/select.h"

elm_status elm_plan_cut(elm_plan *plan, elm_error *err) {
    uint32_t n_nodes = plan->graph->n_nodes, n_order = 0;
    plan->order = elm_arena_array(&plan->arena, n_nodes, sizeof *plan->order);
    plan->segments = elm_arena_array(&plan->arena, n_nodes, sizeof *plan->segments);
    if (!plan->order || !plan->segments)
        return elm_fail_oom(err, n_nodes * sizeof *plan->segments, "the plan");
    for (uint32_t n = 0; n < n_nodes; n++) {
        if (plan->node_device[n] == ELM_DEVICE_VIEW) continue;
        elm_segment *last = plan->n_segments ? &plan->segments[plan->n_segments - 1] : NULL;
        if (!last || last->device != plan->node_device[n]) {
            last = &plan->segments[plan->n_segments++];
            last->device = plan->node_device[n];
            last->first = n_order;
        }
        plan->order[n_order++] = n;
        last->count++;
    }
    return ELM_OK;
}
