/* points.h - stepping over the code points of text that was checked to be UTF-8; text.
 *
 * Never reads past the span, whatever is in it: a byte that begins nothing counts as one U+FFFD. */
#ifndef ELM_TEXT_POINTS_H
#define ELM_TEXT_POINTS_H

#include "base/utf8.h"

/* The code point at `at` (< text.size); returns its length, at least 1. */
static inline size_t elm_point_at(elm_span text, size_t at, uint32_t *out) {
    const uint8_t *p = text.data + at;
    size_t left = text.size - at;
    uint32_t b = p[0];
    *out = b;
    if (b < 0x80) return 1;
    if (b < 0xe0 && left >= 2) {
        *out = (b & 0x1f) << 6 | (p[1] & 0x3fu);
        return 2;
    }
    if (b < 0xf0 && left >= 3) {
        *out = (b & 0x0f) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
        return 3;
    }
    if (left >= 4) {
        *out = (b & 0x07) << 18 | (p[1] & 0x3fu) << 12 | (p[2] & 0x3fu) << 6 | (p[3] & 0x3fu);
        return 4;
    }
    *out = 0xfffd;
    return 1;
}

/* Where the code point that ends at `at` (> 0) begins. */
static inline size_t elm_point_before(elm_span text, size_t at) {
    do at--;
    while (at > 0 && (text.data[at] & 0xc0) == 0x80);
    return at;
}

#endif
