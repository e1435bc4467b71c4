/* select.c - the first device in the order of preference that takes a node gets it; partition. */
#include "partition/select.h"

#include <stdio.h>
#include <string.h>

enum { REASON_BYTES = 160 };

/* Asks the devices in order. *reason is the first choice's refusal, or empty. */
static uint8_t ask(const elm_plan *plan, const elm_module *module, const elm_tensor *tensors,
                   const elm_plan_options *o, uint32_t n, char *reason, char *all,
                   size_t all_bytes) {
    const elm_node *node = &plan->graph->nodes[n];
    size_t used = 0;
    reason[0] = all[0] = 0;
    for (uint32_t d = 0; d < plan->n_devices; d++) {
        char why[REASON_BYTES] = "";
        const elm_device *device = &plan->devices[d];
        bool refused = o->refuse && o->refuse(o->refuse_context, n, d);
        if (refused) {
            snprintf(why, sizeof why, "refused by the caller");
        } else if (device->backend->supports(device->handle, module, plan->graph, node, tensors,
                                             why, sizeof why)) {
            return (uint8_t)d;
        }
        if (d == 0) memcpy(reason, why, REASON_BYTES);
        if (used < all_bytes - 1) {
            used += (size_t)snprintf(all + used, all_bytes - used, "%s%s: %s", d ? "; " : "",
                                     device->backend->name, why);
        }
    }
    return UINT8_MAX;
}

elm_status elm_plan_select(elm_plan *plan, const elm_module *module, const elm_tensor *tensors,
                           const elm_plan_options *o, elm_error *err) {
    for (uint32_t n = 0; n < plan->graph->n_nodes; n++) {
        char reason[REASON_BYTES], all[320];
        const elm_node *node = &plan->graph->nodes[n];
        if (elm_op_is_view(node->op)) {
            plan->node_device[n] = ELM_DEVICE_VIEW;
            continue;
        }
        plan->node_device[n] = ask(plan, module, tensors, o, n, reason, all, sizeof all);
        if (plan->node_device[n] == UINT8_MAX) {
            return elm_fail(err, ELM_UNSUPPORTED, "no backend takes node '%s' (%s): %s", node->name,
                            elm_op_get(node->op)->text, all);
        }
        if (plan->node_device[n] == 0) continue;
        plan->node_reason[n] = elm_arena_string(&plan->arena, elm_span_str(reason));
        if (!plan->node_reason[n]) return elm_fail_oom(err, REASON_BYTES, "the plan");
    }
    return ELM_OK;
}
