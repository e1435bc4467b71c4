/* charset.h - a set of code points as bits, while a pattern is compiled; parse. */
#ifndef ELM_PARSE_CHARSET_H
#define ELM_PARSE_CHARSET_H

#include "text/unicode.h"

typedef struct elm_charset {
    uint64_t bits[ELM_UNICODE_END / 64];
} elm_charset;

void elm_charset_clear(elm_charset *s);
void elm_charset_add(elm_charset *s, uint32_t first, uint32_t last); /* last < ELM_UNICODE_END */
void elm_charset_add_categories(elm_charset *s, uint32_t bits);      /* bit set of elm_category */
void elm_charset_add_spaces(elm_charset *s);
void elm_charset_invert(elm_charset *s);
void elm_charset_unite(elm_charset *s, const elm_charset *other);
void elm_charset_intersect(elm_charset *s, const elm_charset *other);

static inline bool elm_charset_has(const elm_charset *s, uint32_t c) {
    return s->bits[c / 64] >> (c % 64) & 1;
}

/* The next range at or behind `from`; false when there is none. */
bool elm_charset_range(const elm_charset *s, uint32_t from, uint32_t *first, uint32_t *last);

#endif
