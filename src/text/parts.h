/* parts.h - text that remembers where it came from, so that content can never forge a turn.
 *
 * The chat template returns parts, the tokenizer takes parts. Special tokens are read only where
 * every byte of them lies in template parts; everything else is plain text, however it is spelled.
 */
#ifndef ELM_TEXT_PARTS_H
#define ELM_TEXT_PARTS_H

#include "base/buf.h"

typedef enum elm_part_origin {
    ELM_PART_INPUT = 0,    /* user, tool or document text: special tokens are not read */
    ELM_PART_TEMPLATE = 1, /* written by the model's authors: special tokens are read */
} elm_part_origin;

/* Bytes [begin, end) of one text share one origin. */
typedef struct elm_part {
    size_t begin;
    size_t end;
    elm_part_origin origin;
} elm_part;

/* A text and the parts that cover it, ascending, without gaps; neighbours differ in origin. */
typedef struct elm_parts {
    elm_buf text;
    elm_buf list; /* elm_part[] */
} elm_parts;

void elm_parts_init(elm_parts *parts, const elm_allocator *alloc, size_t max_text_bytes);
void elm_parts_free(elm_parts *parts);
void elm_parts_clear(elm_parts *parts);
void elm_parts_append(elm_parts *parts, elm_span text, elm_part_origin origin);
elm_status elm_parts_check(const elm_parts *parts, const char *what, elm_error *err) ELM_MUST_CHECK;

static inline size_t elm_parts_count(const elm_parts *parts) {
    return parts->list.size / sizeof(elm_part);
}
static inline const elm_part *elm_parts_at(const elm_parts *parts, size_t i) {
    return (const elm_part *)(const void *)parts->list.data + i;
}

#endif
