/* span.h - a borrowed byte range and the bounded little-endian reader over it.
 *
 * Every byte from outside (file, network, vendor blob) is read through elm_reader. A reader never
 * reads past its span: the first short read sets `failed`, returns zeros from then on, and the
 * parser checks once per record instead of once per field. */
#ifndef ELM_BASE_SPAN_H
#define ELM_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct elm_span {
    const uint8_t *data;
    size_t size;
} elm_span;

static inline elm_span elm_span_of(const void *data, size_t size) {
    elm_span s = {(const uint8_t *)data, size};
    return s;
}

static inline elm_span elm_span_str(const char *text) {
    return elm_span_of(text, strlen(text));
}

static inline bool elm_span_equal(elm_span a, elm_span b) {
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

/* The part [offset, offset + size), or an empty span with *ok = false when it does not fit. */
static inline elm_span elm_span_slice(elm_span s, uint64_t offset, uint64_t size, bool *ok) {
    if (offset > s.size || size > s.size - offset) {
        *ok = false;
        return elm_span_of(NULL, 0);
    }
    return elm_span_of(s.data + offset, (size_t)size);
}

typedef struct elm_reader {
    elm_span span;
    size_t pos;
    bool failed;
} elm_reader;

static inline elm_reader elm_reader_of(elm_span span) {
    elm_reader r = {span, 0, false};
    return r;
}

static inline size_t elm_reader_left(const elm_reader *r) {
    return r->span.size - r->pos;
}

/* Borrows the next `size` bytes; NULL (and failed) when fewer are left. */
static inline const uint8_t *elm_read_bytes(elm_reader *r, uint64_t size) {
    if (r->failed || size > elm_reader_left(r)) {
        r->failed = true;
        return NULL;
    }
    const uint8_t *p = r->span.data + r->pos;
    r->pos += (size_t)size;
    return p;
}

static inline uint8_t elm_read_u8(elm_reader *r) {
    const uint8_t *p = elm_read_bytes(r, 1);
    return p ? p[0] : 0;
}

static inline uint16_t elm_read_u16(elm_reader *r) {
    const uint8_t *p = elm_read_bytes(r, 2);
    return p ? (uint16_t)(p[0] | (uint32_t)p[1] << 8) : 0;
}

static inline uint32_t elm_read_u32(elm_reader *r) {
    const uint8_t *p = elm_read_bytes(r, 4);
    return p ? (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24
             : 0;
}

static inline uint64_t elm_read_u64(elm_reader *r) {
    uint64_t low = elm_read_u32(r);
    uint64_t high = elm_read_u32(r);
    return low | high << 32;
}

static inline int32_t elm_read_i32(elm_reader *r) {
    return (int32_t)elm_read_u32(r);
}
static inline int64_t elm_read_i64(elm_reader *r) {
    return (int64_t)elm_read_u64(r);
}

static inline float elm_read_f32(elm_reader *r) {
    uint32_t bits = elm_read_u32(r);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline double elm_read_f64(elm_reader *r) {
    uint64_t bits = elm_read_u64(r);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

#endif
