/* normalize.h - the normalizer steps over one segment; text. */
#ifndef ELM_TEXT_NORMALIZE_H
#define ELM_TEXT_NORMALIZE_H

#include "text/encoding.h"

/* The normalised segment: the segment itself, or memory of `e` that is good until the next call. */
elm_marked elm_normalize(elm_encoding *e, elm_marked segment);

#endif
