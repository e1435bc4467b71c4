/* template_filters.h - the tables of filters; text, internal. */
#ifndef ELM_TEXT_TEMPLATE_FILTERS_H
#define ELM_TEXT_TEMPLATE_FILTERS_H

#include "text/template_value.h"

typedef struct elm_tfilter {
    const char *name; /* NULL ends the table */
    elm_tv (*run)(elm_trender *r, elm_tv v, const elm_targs *args);
} elm_tfilter;

/* Each in template_<list, number, markup, wrap>*.c. */
extern const elm_tfilter elm_list_filters[], elm_number_filters[], elm_markup_filters[],
    elm_wrap_filters[];

enum { ELM_TEMPLATE_MAX_TEXT_BYTES = 16 << 20 }; /* of a string that a filter makes */

#endif
