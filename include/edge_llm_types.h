/* edge_llm_types.h - the types that the device API and the host API share: status, error, allocator.
 *
 * Layer: public, below everything. Depends on the C standard library headers only. */
#ifndef EDGE_LLM_TYPES_H
#define EDGE_LLM_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define ELM_API __attribute__((visibility("default")))
#define ELM_MUST_CHECK __attribute__((warn_unused_result))
#define ELM_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define ELM_API
#define ELM_MUST_CHECK
#define ELM_PRINTF(fmt, args)
#endif

/* The one list of statuses: X(name, value, exit code of the command line, meaning).
 * Values are part of the ABI and are never reused. */
#define ELM_STATUS_LIST(X)                                                                   \
    X(OK, 0, 0, "ok")                                                                        \
    X(INTERNAL, 1, 1, "internal error: a bug in edge-llm, please report it")                 \
    X(INVALID_ARGUMENT, 2, 2, "a caller's argument is not acceptable")                       \
    X(CONTEXT_FULL, 3, 2, "the tokens do not fit the context")                               \
    X(NOT_FOUND, 4, 3, "an input file is missing or cannot be read")                         \
    X(MALFORMED, 5, 4, "an input is malformed or failed verification")                       \
    X(UNSUPPORTED, 6, 5, "an architecture, operation, type or version is not supported")     \
    X(OUT_OF_MEMORY, 7, 6, "memory ran out, or the memory limit was reached")                \
    X(IO, 8, 7, "no space left, or an input/output error")                                   \
    X(BACKEND, 9, 8, "a backend or its device failed")                                       \
    X(LIMIT, 10, 9, "a limit on time, steps or output was reached")                          \
    X(CANCELLED, 11, 130, "cancelled by the caller")

typedef enum elm_status {
#define X(name, value, exit_code, text) ELM_##name = value,
    ELM_STATUS_LIST(X)
#undef X
} elm_status;

enum { ELM_ERROR_MESSAGE_BYTES = 512 };

/* Filled by a failing call when the caller passes one; NULL is accepted everywhere.
 * `message` is one line of UTF-8: what, where, expected, found, what to do. */
typedef struct elm_error {
    elm_status code;
    char message[ELM_ERROR_MESSAGE_BYTES];
} elm_error;

/* Every allocation of the library goes through one of these.
 *
 * resize(self, NULL, 0, n) allocates, resize(self, p, old, 0) frees and returns NULL, otherwise the
 * block moves to new_bytes and keeps min(old, new) bytes. Blocks are aligned to ELM_ALLOC_ALIGN.
 * On failure NULL is returned and the old block stays valid. Must be callable from any thread. */
enum { ELM_ALLOC_ALIGN = 64 };

typedef struct elm_allocator {
    void *self;
    void *(*resize)(void *self, void *block, size_t old_bytes, size_t new_bytes);
} elm_allocator;

/* Short name of a status ("MALFORMED"), its meaning, and the exit code that the command line uses. */
ELM_API const char *elm_status_name(elm_status status);
ELM_API const char *elm_status_text(elm_status status);
ELM_API int elm_status_exit_code(elm_status status);

#ifdef __cplusplus
}
#endif
#endif
