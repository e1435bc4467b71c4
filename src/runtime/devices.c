/* devices.c - which backends a model opens, from the caller's list of preference; runtime. */
#include "runtime/model.h"

#include <stdio.h>
#include <string.h>

static elm_status add(elm_model *m, const elm_backend *backend, uint32_t cpu_mask, elm_error *err) {
    elm_device_options options = {.cpu_mask = cpu_mask ? cpu_mask : UINT32_MAX};
    for (uint32_t d = 0; d < m->n_devices; d++) {
        if (m->devices[d].backend == backend) return ELM_OK;
    }
    if (m->n_devices == ELM_MAX_DEVICES) {
        return elm_fail(err, ELM_INVALID_ARGUMENT, "more than %d backends", ELM_MAX_DEVICES);
    }
    elm_device *device = &m->devices[m->n_devices];
    ELM_TRY(backend->open(&m->platform, &options, &device->handle, err));
    device->backend = backend;
    m->n_devices++;
    return ELM_OK;
}

static elm_status add_named(elm_model *m, const char *name, uint32_t cpu_mask, elm_error *err) {
    const elm_backend *backend = elm_backend_find(name);
    if (backend) return add(m, backend, cpu_mask, err);
    char known[128] = "";
    size_t used = 0;
    for (size_t i = 0; elm_backend_table[i] && used < sizeof known - 1; i++) {
        used += (size_t)snprintf(known + used, sizeof known - used, i ? ", %s" : "%s",
                                 elm_backend_table[i]->name);
    }
    return elm_fail(err, ELM_INVALID_ARGUMENT, "no backend is called '%s'; this build has: %s",
                    name, known);
}

elm_status elm_model_open_devices(elm_model *m, const char *list, uint32_t cpu_mask,
                                  elm_error *err) {
    char name[32];
    bool strict = false;
    size_t n = 0;
    for (const char *p = list ? list : ""; *p || n > 0; p += *p != 0) {
        if (*p == '!' && p[1] == 0) {
            strict = true;
        } else if (*p != ',' && *p != 0) {
            if (n + 1 >= sizeof name) {
                return elm_fail(err, ELM_INVALID_ARGUMENT,
                                "the backend list '%s' has a name of over %zu bytes", list,
                                sizeof name - 1);
            }
            name[n++] = *p;
            continue;
        }
        name[n] = 0;
        if (n > 0) ELM_TRY(add_named(m, name, cpu_mask, err));
        n = 0;
        if (*p == 0) break;
    }
    return strict && m->n_devices > 0 ? ELM_OK : add_named(m, "cpu", cpu_mask, err);
}
