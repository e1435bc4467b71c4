/* checked.h - arithmetic on sizes that come from outside. False means overflow; *out is then 0. */
#ifndef ELM_BASE_CHECKED_H
#define ELM_BASE_CHECKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool elm_add_u64(uint64_t a, uint64_t b, uint64_t *out) {
    bool ok = !__builtin_add_overflow(a, b, out);
    if (!ok) *out = 0;
    return ok;
}

static inline bool elm_mul_u64(uint64_t a, uint64_t b, uint64_t *out) {
    bool ok = !__builtin_mul_overflow(a, b, out);
    if (!ok) *out = 0;
    return ok;
}

static inline bool elm_add_size(size_t a, size_t b, size_t *out) {
    bool ok = !__builtin_add_overflow(a, b, out);
    if (!ok) *out = 0;
    return ok;
}

static inline bool elm_mul_size(size_t a, size_t b, size_t *out) {
    bool ok = !__builtin_mul_overflow(a, b, out);
    if (!ok) *out = 0;
    return ok;
}

/* Rounds up to a multiple of `align` (a power of two). */
static inline bool elm_align_u64(uint64_t value, uint64_t align, uint64_t *out) {
    if (!elm_add_u64(value, align - 1, out)) return false;
    *out &= ~(align - 1);
    return true;
}

/* True when [offset, offset + size) lies inside [0, total). */
static inline bool elm_range_inside(uint64_t offset, uint64_t size, uint64_t total) {
    return offset <= total && size <= total - offset;
}

/* For sizes that are already known to be small: our own shapes, not a file's. */
static inline size_t elm_round_up(size_t value, size_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

#endif
