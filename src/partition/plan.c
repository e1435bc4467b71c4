/* plan.c - select, cut, lay out, prepare; and running a step; partition. */
#include "partition/select.h"

#include "base/checked.h"

#include <string.h>

enum { WORKSPACE_ALIGN = 64 };

static elm_status prepare(elm_plan *plan, const elm_platform *platform, const elm_module *module,
                          const elm_tensor *tensors, const elm_plan_options *o, elm_error *err) {
    for (uint32_t s = 0; s < plan->n_segments; s++) {
        elm_segment *segment = &plan->segments[s];
        const elm_device *device = &plan->devices[segment->device];
        elm_prepare_info info = {
            .platform = platform,
            .module = module,
            .graph = plan->graph,
            .tensors = tensors,
            .places = plan->places,
            .nodes = plan->order + segment->first,
            .n_nodes = segment->count,
            .max_tokens = o->max_tokens,
            .max_rows = o->max_rows,
            .max_threads = o->max_threads,
        };
        ELM_TRY(device->backend->prepare(device->handle, &info, &segment->program,
                                         &segment->workspace_bytes, err));
        segment->workspace_offset = plan->workspace_bytes;
        plan->workspace_bytes += elm_round_up(segment->workspace_bytes, WORKSPACE_ALIGN);
    }
    return ELM_OK;
}

static elm_status make(elm_plan *plan, const elm_platform *platform, const elm_module *module,
                       const elm_tensor *tensors, const elm_plan_options *o, elm_error *err) {
    uint32_t n = plan->graph->n_nodes;
    if (o->n_devices < 1 || o->n_devices > ELM_MAX_DEVICES || o->max_tokens < 1 ||
        o->max_rows < 1) {
        return elm_fail(err, ELM_INVALID_ARGUMENT, "a plan needs a device, a token and a row");
    }
    memcpy(plan->devices, o->devices, o->n_devices * sizeof *o->devices);
    plan->n_devices = o->n_devices;
    plan->node_device = elm_arena_array(&plan->arena, n, sizeof *plan->node_device);
    plan->node_reason = elm_arena_array(&plan->arena, n, sizeof *plan->node_reason);
    if (!plan->node_device || !plan->node_reason)
        return elm_fail_oom(err, n * sizeof *plan->node_reason, "the plan");
    ELM_TRY(elm_plan_select(plan, module, tensors, o, err));
    ELM_TRY(elm_plan_cut(plan, err));
    ELM_TRY(elm_plan_layout(plan, o->max_tokens, o->max_rows, err));
    return prepare(plan, platform, module, tensors, o, err);
}

elm_status elm_plan_make(const elm_platform *platform, const elm_module *module,
                         const elm_graph *graph, const elm_tensor *tensors,
                         const elm_plan_options *options, elm_plan *out, elm_error *err) {
    memset(out, 0, sizeof *out);
    elm_arena_init(&out->arena, platform->alloc, 0);
    out->graph = graph;
    elm_status status = make(out, platform, module, tensors, options, err);
    if (status != ELM_OK) elm_plan_free(out);
    return status;
}

void elm_plan_free(elm_plan *plan) {
    for (uint32_t s = 0; s < plan->n_segments; s++) {
        elm_segment *segment = &plan->segments[s];
        if (segment->program)
            plan->devices[segment->device].backend->program_free(segment->program);
    }
    elm_arena_free(&plan->arena);
    memset(plan, 0, sizeof *plan);
}

elm_status elm_plan_run(const elm_plan *plan, const elm_step *step, elm_error *err) {
    uint8_t *base = step->workspace;
    for (uint32_t s = 0; s < plan->n_segments; s++) {
        const elm_segment *segment = &plan->segments[s];
        elm_step own = *step;
        own.workspace = base ? base + segment->workspace_offset : NULL;
        ELM_TRY(plan->devices[segment->device].backend->run(segment->program, &own, err));
    }
    return ELM_OK;
}
