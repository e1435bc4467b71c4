/* status.c - status names from the one list, and the single place that writes messages; base. */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>

static const struct {
    const char *name, *text;
    int exit_code;
} table[] = {
#define X(name, value, exit_code, text) [value] = {#name, text, exit_code},
    ELM_STATUS_LIST(X)
#undef X
};

static size_t index_of(elm_status status) {
    size_t i = (size_t)status;
    return i < sizeof table / sizeof table[0] ? i : (size_t)ELM_INTERNAL;
}

const char *elm_status_name(elm_status status) {
    return table[index_of(status)].name;
}
const char *elm_status_text(elm_status status) {
    return table[index_of(status)].text;
}
int elm_status_exit_code(elm_status status) {
    return table[index_of(status)].exit_code;
}

elm_status elm_fail(elm_error *err, elm_status code, const char *fmt, ...) {
    if (!err) return code;
    va_list args;
    va_start(args, fmt);
    err->code = code;
    vsnprintf(err->message, sizeof err->message, fmt, args);
    va_end(args);
    /* One line, whatever a name from a file holds. */
    for (char *p = err->message; *p; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f) *p = '?';
    }
    return code;
}

elm_status elm_fail_oom(elm_error *err, size_t bytes, const char *what) {
    return elm_fail(err, ELM_OUT_OF_MEMORY, "no memory for %s (%zu bytes)", what, bytes);
}
