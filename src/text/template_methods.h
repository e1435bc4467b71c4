/* template_methods.h - what the files of string methods share; text, internal. */
#ifndef ELM_TEXT_TEMPLATE_METHODS_H
#define ELM_TEXT_TEMPLATE_METHODS_H

#include "text/template_value.h"

/* upper, lower, title, isalpha, ... (template_case.c) */
bool elm_ts_has_case_method(elm_tstr name);
elm_tv elm_ts_case_method(elm_trender *r, elm_tstr s, elm_tstr name);

/* Bytes of the line end at `at`, by str.splitlines; 0: there is none. */
uint32_t elm_line_end(elm_tstr s, uint32_t at);

#endif
