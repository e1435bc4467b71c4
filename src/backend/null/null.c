/* null.c - a backend that opens, says what it is, and refuses every node: the template to copy.
 *
 * backend/null/README.md lists what to replace. It is never chosen unless it is asked for by name.
 */
#include "backend/backend.h"

#include <stdio.h>

static elm_status null_open(const elm_platform *platform, const elm_device_options *options,
                            void **out, elm_error *err) {
    static const char device = 0;
    (void)platform, (void)options, (void)err;
    *out = (void *)(uintptr_t)&device;
    return ELM_OK;
}

static void null_close(void *device) {
    (void)device;
}

static void null_describe(const void *device, char *out, size_t n) {
    (void)device;
    snprintf(out, n, "template, runs nothing");
}

static bool null_supports(const void *device, const elm_module *module, const elm_graph *graph,
                          const elm_node *node, const elm_tensor *tensors, char *reason, size_t n) {
    (void)device, (void)module, (void)graph, (void)tensors;
    snprintf(reason, n, "the null backend has no kernel for %s", elm_op_get(node->op)->text);
    return false;
}

static elm_status null_prepare(void *device, const elm_prepare_info *info, elm_program **out,
                               size_t *workspace, elm_error *err) {
    (void)device, (void)info;
    *out = NULL;
    *workspace = 0;
    return elm_fail(err, ELM_INTERNAL,
                    "the null backend was given a segment, and it refuses every node");
}

static void null_program_free(elm_program *program) {
    (void)program;
}

static elm_status null_run(const elm_program *program, const elm_step *step, elm_error *err) {
    (void)program, (void)step;
    return elm_fail(err, ELM_INTERNAL, "the null backend has no programs");
}

const elm_backend elm_backend_null = {
    .name = "null",
    .summary = "a template for new backends; refuses every node",
    .open = null_open,
    .close = null_close,
    .describe = null_describe,
    .supports = null_supports,
    .prepare = null_prepare,
    .program_free = null_program_free,
    .run = null_run,
};
