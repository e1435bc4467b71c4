/* cpu.c - the cpu backend's table: every operation, on every processor. Layer: backend/cpu. */
#include <stdarg.h>
#include <stdio.h>

#include "backend/cpu/features.h"
#include "backend/cpu/program.h"

static elm_status cpu_open(const elm_platform *platform, const elm_device_options *options,
                           void **out_device, elm_error *err) {
    elm_cpu_device *d = NULL;
    *out_device = NULL;
    ELM_TRY(elm_alloc(platform->alloc, sizeof *d, "the cpu device", &d, err));
    d->platform = platform;
    d->features = elm_cpu_features(options ? options->cpu_mask : UINT32_MAX);
    elm_cpu_kernels_init(&d->kernels, d->features);
    *out_device = d;
    return ELM_OK;
}

static void cpu_close(void *device) {
    elm_cpu_device *d = device;
    if (d) elm_free(d->platform->alloc, d, sizeof *d);
}

static void cpu_describe(const void *device, char *out, size_t out_bytes) {
    const elm_cpu_device *d = device;
    elm_cpu_features_text(d->features, out, out_bytes);
}

static bool refuse(char *reason, size_t reason_bytes, const char *fmt, ...) ELM_PRINTF(3, 4);
static bool refuse(char *reason, size_t reason_bytes, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    if (reason_bytes > 0) vsnprintf(reason, reason_bytes, fmt, args);
    va_end(args);
    return false;
}

static bool matrix_fits(const elm_tensor *t, bool p16_only) {
    const elm_dtype_info *info = elm_dtype_get(t->dtype);
    if (!info || (!info->is_float && !info->has_scales)) return false;
    return t->layout == ELM_LAYOUT_P16 || !p16_only;
}

static bool cpu_supports(const void *device, const elm_module *module, const elm_graph *graph,
                         const elm_node *node, const elm_tensor *tensors, char *reason,
                         size_t reason_bytes) {
    (void)device;
    if (reason_bytes > 0) reason[0] = 0;
    const elm_op_info *op = elm_op_get(node->op);
    if (!op) return refuse(reason, reason_bytes, "operation %u is not known", (unsigned)node->op);
    if (node->op == ELM_OP_CAUSAL_CONV1D &&
        !elm_cpu_conv1d_fits(&module->states[graph->values[node->inputs[2]].index]))
        return refuse(reason, reason_bytes, "too many taps");
    for (uint32_t i = 0; i < node->n_inputs; i++) {
        const elm_value *v = &graph->values[node->inputs[i]];
        if (v->kind == ELM_VALUE_NODE && v->dims[0] != ELM_DIM_T && v->dims[0] != ELM_DIM_R)
            return refuse(reason, reason_bytes, "rows of '%s' are neither tokens nor outputs",
                          v->name);
        if (v->kind != ELM_VALUE_WEIGHT || !tensors) continue;
        const elm_tensor *t = &tensors[v->index];
        bool panels = node->op == ELM_OP_LINEAR || node->op == ELM_OP_MOE;
        if (v->n_dims >= 2 && !matrix_fits(t, panels))
            return refuse(reason, reason_bytes, "'%s' is not stored in panels of 16 rows", v->name);
        if (v->n_dims == 1 && (t->dtype != ELM_F32 || t->layout != ELM_LAYOUT_ROWS))
            return refuse(reason, reason_bytes, "'%s' is not stored as plain f32", v->name);
    }
    return true;
}

const elm_backend elm_backend_cpu = {
    .name = "cpu",
    .summary = "every operation, int8 and float kernels for x86-64 and AArch64",
    .open = cpu_open,
    .close = cpu_close,
    .describe = cpu_describe,
    .supports = cpu_supports,
    .prepare = elm_cpu_prepare,
    .program_free = elm_cpu_program_free,
    .run = elm_cpu_run_program,
};
