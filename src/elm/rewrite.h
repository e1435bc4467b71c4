/* rewrite.h - the same model in a new file: without what was retired (compact), or without products
 * and weights that a device does not need (strip); elm. */
#ifndef ELM_ELM_REWRITE_H
#define ELM_ELM_REWRITE_H

#include "elm/product.h"

typedef struct elm_strip_options {
    const char *const *keep; /* targets whose products stay */
    uint32_t n_keep;
    bool no_fallback; /* leave WEIGHTS out: every kept product must say that it is whole */
} elm_strip_options;

/* Writes `c` to `path`, another file. A target that the file has no product for is
 * ELM_INVALID_ARGUMENT. Signatures stay with what they sign; left-out weights stay named by their
 * hash (DROPPED), so that the model's signature and the products stay valid. */
elm_status elm_strip(elm_container *c, const char *path, const elm_strip_options *options,
                     elm_error *err) ELM_MUST_CHECK;

/* Writes the model at `path` anew without what is retired, and puts it in its place: readers that
 * have it open keep the old file. *saved is what it is smaller by; 0 = nothing was to be done. */
elm_status elm_compact(const elm_platform *platform, const char *path, uint64_t *saved,
                       elm_error *err) ELM_MUST_CHECK;

#endif
