/* charset.c - sets of code points; parse. */
#include "parse/charset.h"

void elm_charset_clear(elm_charset *s) {
    memset(s, 0, sizeof *s);
}

void elm_charset_add(elm_charset *s, uint32_t first, uint32_t last) {
    for (uint32_t c = first; c <= last; c++) s->bits[c / 64] |= (uint64_t)1 << (c % 64);
}

void elm_charset_add_categories(elm_charset *s, uint32_t bits) {
    /* The table of ranges ends with the last one; each begins where it says and ends where the next
     * begins. */
    for (uint32_t i = 0;; i++) {
        uint32_t first = elm_unicode_categories[i] >> 8, category = elm_unicode_categories[i] & 255;
        bool last = i == elm_unicode_categories_index[0x300];
        uint32_t end = last ? ELM_UNICODE_END : elm_unicode_categories[i + 1] >> 8;
        if (bits >> category & 1) elm_charset_add(s, first, end - 1);
        if (last) return;
    }
}

void elm_charset_add_spaces(elm_charset *s) {
    for (uint32_t c = 0; c <= 0x3000; c++) {
        if (elm_unicode_is_space(c)) elm_charset_add(s, c, c);
    }
}

void elm_charset_invert(elm_charset *s) {
    for (size_t i = 0; i < sizeof s->bits / sizeof s->bits[0]; i++) s->bits[i] = ~s->bits[i];
}

void elm_charset_unite(elm_charset *s, const elm_charset *other) {
    for (size_t i = 0; i < sizeof s->bits / sizeof s->bits[0]; i++) s->bits[i] |= other->bits[i];
}

void elm_charset_intersect(elm_charset *s, const elm_charset *other) {
    for (size_t i = 0; i < sizeof s->bits / sizeof s->bits[0]; i++) s->bits[i] &= other->bits[i];
}

bool elm_charset_range(const elm_charset *s, uint32_t from, uint32_t *first, uint32_t *last) {
    uint32_t c = from;
    while (c < ELM_UNICODE_END && !elm_charset_has(s, c))
        c += s->bits[c / 64] >> (c % 64) ? 1 : 64 - c % 64;
    if (c >= ELM_UNICODE_END) return false;
    *first = c;
    while (c < ELM_UNICODE_END && elm_charset_has(s, c)) c++;
    *last = c - 1;
    return true;
}
