/* buf.c - the growable buffer; base. */
#include "base/buf.h"

#include "base/checked.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { FIRST_CAPACITY = 256 };

void elm_buf_init(elm_buf *buf, const elm_allocator *alloc, size_t max_bytes) {
    memset(buf, 0, sizeof *buf);
    buf->alloc = alloc;
    buf->max_bytes = max_bytes;
}

void elm_buf_free(elm_buf *buf) {
    if (buf->alloc) elm_free(buf->alloc, buf->data, buf->capacity);
    buf->data = NULL;
    buf->size = buf->capacity = 0;
}

void elm_buf_clear(elm_buf *buf) {
    buf->size = 0;
    buf->status = ELM_OK;
}

bool elm_buf_reserve(elm_buf *buf, size_t more) {
    size_t need;
    if (buf->status != ELM_OK) return false;
    if (!elm_add_size(buf->size, more, &need) || need > buf->max_bytes) {
        buf->status = ELM_LIMIT;
        return false;
    }
    if (need <= buf->capacity) return true;
    size_t capacity = buf->capacity ? buf->capacity : FIRST_CAPACITY;
    while (capacity < need)
        capacity = capacity > buf->max_bytes / 2 ? buf->max_bytes : capacity * 2;
    void *moved = buf->alloc->resize(buf->alloc->self, buf->data, buf->capacity, capacity);
    if (!moved) {
        buf->status = ELM_OUT_OF_MEMORY;
        return false;
    }
    buf->data = moved;
    buf->capacity = capacity;
    return true;
}

void elm_buf_append(elm_buf *buf, const void *data, size_t size) {
    if (size == 0 || !elm_buf_reserve(buf, size)) return;
    memcpy(buf->data + buf->size, data, size);
    buf->size += size;
}

void elm_buf_str(elm_buf *buf, const char *text) {
    elm_buf_append(buf, text, strlen(text));
}

void elm_buf_printf(elm_buf *buf, const char *fmt, ...) {
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    if (n >= 0 && elm_buf_reserve(buf, (size_t)n + 1)) {
        vsnprintf((char *)buf->data + buf->size, (size_t)n + 1, fmt, again);
        buf->size += (size_t)n;
    }
    va_end(again);
    va_end(args);
}

static void put_le(elm_buf *buf, uint64_t value, size_t n) {
    uint8_t bytes[8];
    for (size_t i = 0; i < n; i++) bytes[i] = (uint8_t)(value >> (8 * i));
    elm_buf_append(buf, bytes, n);
}

void elm_buf_u8(elm_buf *buf, uint8_t value) {
    put_le(buf, value, 1);
}
void elm_buf_u16(elm_buf *buf, uint16_t value) {
    put_le(buf, value, 2);
}
void elm_buf_u32(elm_buf *buf, uint32_t value) {
    put_le(buf, value, 4);
}
void elm_buf_u64(elm_buf *buf, uint64_t value) {
    put_le(buf, value, 8);
}

void elm_buf_f32(elm_buf *buf, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    elm_buf_u32(buf, bits);
}

void elm_buf_f64(elm_buf *buf, double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    elm_buf_u64(buf, bits);
}

void elm_buf_align(elm_buf *buf, size_t align) {
    static const uint8_t zeros[64] = {0};
    size_t left = (align - buf->size % align) % align;
    while (left > 0) {
        size_t n = left < sizeof zeros ? left : sizeof zeros;
        elm_buf_append(buf, zeros, n);
        left -= n;
    }
}

elm_status elm_buf_check(const elm_buf *buf, const char *what, elm_error *err) {
    if (buf->status == ELM_LIMIT) {
        return elm_fail(err, ELM_LIMIT, "%s would pass its limit of %zu bytes", what,
                        buf->max_bytes);
    }
    return buf->status == ELM_OK ? ELM_OK : elm_fail_oom(err, buf->capacity, what);
}
