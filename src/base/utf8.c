/* utf8.c - strict decoding by the table of RFC 3629; base. */
#include "base/utf8.h"

int elm_utf8_decode(elm_span s, uint32_t *out) {
    if (s.size == 0) return 0;
    uint8_t b = s.data[0];
    if (b < 0x80) {
        *out = b;
        return 1;
    }
    int n = b >= 0xc2 && b <= 0xdf ? 2 : (b & 0xf0) == 0xe0 ? 3 : b >= 0xf0 && b <= 0xf4 ? 4 : 0;
    if (n == 0) return -1;
    uint32_t value = b & (0xffu >> (n + 1));
    for (int i = 1; i < n; i++) {
        if ((size_t)i >= s.size) return 0;
        uint8_t c = s.data[i];
        /* The second byte rules out overlong forms, surrogates and what lies past U+10FFFF. */
        uint8_t low = 0x80, high = 0xbf;
        if (i == 1 && b == 0xe0) low = 0xa0;
        if (i == 1 && b == 0xed) high = 0x9f;
        if (i == 1 && b == 0xf0) low = 0x90;
        if (i == 1 && b == 0xf4) high = 0x8f;
        if (c < low || c > high) return -1;
        value = value << 6 | (c & 0x3fu);
    }
    *out = value;
    return n;
}

int elm_utf8_encode(uint32_t c, uint8_t out[4]) {
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (uint8_t)(0xc0 | c >> 6);
        out[1] = (uint8_t)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (uint8_t)(0xe0 | c >> 12);
        out[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | c >> 18);
    out[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (c & 0x3f));
    return 4;
}

size_t elm_utf8_valid_prefix(elm_span s) {
    size_t at = 0;
    uint32_t c;
    while (at < s.size) {
        if (s.data[at] < 0x80) {
            at++;
            continue;
        }
        int n = elm_utf8_decode(elm_span_of(s.data + at, s.size - at), &c);
        if (n <= 0) return at;
        at += (size_t)n;
    }
    return at;
}
