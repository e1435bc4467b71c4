/* pattern_class.h - the part of the pattern compiler that reads one code point or class; parse. */
#ifndef ELM_PARSE_PATTERN_CLASS_H
#define ELM_PARSE_PATTERN_CLASS_H

#include "parse/pattern_compile.h"

typedef struct elm_pattern {
    elm_tokenizer_spec *spec;
    elm_span text; /* the pattern */
    size_t at;
    uint32_t last_folded; /* the ASCII letter before, when it stood alone under (?i), else 0 */
    elm_charset *set;     /* [ELM_PATTERN_SETS] one per level of nested classes, and one more */
    elm_error *err;
} elm_pattern;

elm_status elm_pattern_refuse(const elm_pattern *c, const char *what);
int elm_pattern_peek(const elm_pattern *c, size_t ahead); /* -1 behind the end */
bool elm_pattern_take(elm_pattern *c, const char *text);
elm_status elm_pattern_code_point(elm_pattern *c, uint32_t *out) ELM_MUST_CHECK;

/* Reads a literal, an escape, `.` or a class into c->set[0]. */
elm_status elm_pattern_atom(elm_pattern *c, bool fold) ELM_MUST_CHECK;

#endif
