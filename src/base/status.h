/* status.h - how a fallible call reports: elm_fail writes the message once, ELM_TRY returns early.
 */
#ifndef ELM_BASE_STATUS_H
#define ELM_BASE_STATUS_H

#include "edge_llm_types.h"

/* Fills `err` (may be NULL) with `code` and a one-line message and returns `code`, so that
 * `return elm_fail(err, ELM_MALFORMED, "...", ...)` is the whole error path. */
elm_status elm_fail(elm_error *err, elm_status code, const char *fmt, ...) ELM_PRINTF(3, 4);

/* elm_fail for a request of `bytes` bytes that the allocator refused. */
elm_status elm_fail_oom(elm_error *err, size_t bytes, const char *what);

#define ELM_TRY(expr)                                          \
    do {                                                       \
        elm_status elm_try_status_ = (expr);                   \
        if (elm_try_status_ != ELM_OK) return elm_try_status_; \
    } while (0)

/* The same inside a function that owns something: sets `status` and jumps to `out`. */
#define ELM_TRY_OUT(expr)               \
    do {                                \
        status = (expr);                \
        if (status != ELM_OK) goto out; \
    } while (0)

#endif
