/* template_filters.h - the tables of filters; text, internal. */
#ifndef ELM_TEXT_TEMPLATE_FILTERS_H
#define ELM_TEXT_TEMPLATE_FILTERS_H

#include "text/template_value.h"

typedef struct elm_tfilter {
    const char *name; /* NULL ends the table */
    elm_tv (*run)(elm_trender *r, elm_tv v, const elm_targs *args);
} elm_tfilter;

extern const elm_tfilter elm_list_filters[]; /* template_lists.c */
extern const elm_tfilter elm_wrap_filters[]; /* template_wrap.c */

#endif
