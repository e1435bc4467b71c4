/* buf.h - a growable byte buffer with a maximum size, named at creation (curl's dynbuf idea).
 *
 * Appends latch the first failure in `status`, so that a writer checks once at its end. */
#ifndef ELM_BASE_BUF_H
#define ELM_BASE_BUF_H

#include "base/alloc.h"
#include "base/span.h"

typedef struct elm_buf {
    const elm_allocator *alloc;
    uint8_t *data;
    size_t size;
    size_t capacity;
    size_t max_bytes;
    elm_status status; /* ELM_OK, ELM_OUT_OF_MEMORY, or ELM_LIMIT past max_bytes */
} elm_buf;

void elm_buf_init(elm_buf *buf, const elm_allocator *alloc, size_t max_bytes);
void elm_buf_free(elm_buf *buf);
void elm_buf_clear(elm_buf *buf); /* keeps the capacity, resets status */

void elm_buf_append(elm_buf *buf, const void *data, size_t size);
void elm_buf_str(elm_buf *buf, const char *text);
void elm_buf_printf(elm_buf *buf, const char *fmt, ...) ELM_PRINTF(2, 3);
void elm_buf_u8(elm_buf *buf, uint8_t value);
void elm_buf_u16(elm_buf *buf, uint16_t value); /* little-endian, as all below */
void elm_buf_u32(elm_buf *buf, uint32_t value);
void elm_buf_u64(elm_buf *buf, uint64_t value);
void elm_buf_f32(elm_buf *buf, float value);
void elm_buf_f64(elm_buf *buf, double value);
void elm_buf_align(elm_buf *buf, size_t align); /* zero bytes up to a multiple of align */

/* Makes room for `more` further bytes without changing size; false (latched) on failure. */
bool elm_buf_reserve(elm_buf *buf, size_t more);

/* Turns the latched status into a call's result; `what` names the buffer in the message. */
elm_status elm_buf_check(const elm_buf *buf, const char *what, elm_error *err) ELM_MUST_CHECK;

static inline elm_span elm_buf_span(const elm_buf *buf) {
    return elm_span_of(buf->data, buf->size);
}

#endif
