/* added_tokens.h - the tokens that are found in a text before the model sees it; text. */
#ifndef ELM_TEXT_ADDED_TOKENS_H
#define ELM_TEXT_ADDED_TOKENS_H

#include "text/tokenizer_blob.h"

/* Walks over a text: leftmost, longest, without overlap. What lies between two tokens is a segment.
 */
typedef struct elm_added_scan {
    const elm_tokenizer *t;
    const elm_trie *trie;
    const bool *first; /* [256] bytes that begin a token */
    elm_span text;
    bool all_template;      /* special tokens may be anywhere, */
    const uint8_t *marks;   /* or where all marks are set, */
    const elm_parts *parts; /* or inside of one template part */
    size_t part;            /* the part that the scan is in */
    size_t at;              /* where the search goes on */
    size_t done;            /* end of what was given out */
    size_t spaces_end;      /* no need to look for the end of white space before it */
} elm_added_scan;

/* A segment, or a token (id >= 0; the text that it took is not given). */
typedef struct elm_added_part {
    int32_t id;
    size_t begin, end;
} elm_added_part;

/* `normalized`: the tokens that are matched in normalised text, else the others. */
elm_added_scan elm_added_scan_of(const elm_tokenizer *t, bool normalized, elm_span text);

/* The next token and the segment before it, which may be empty (begin == end); id ELM_NO_TOKEN at
 * the end, with the last segment. */
elm_added_part elm_added_scan_next(elm_added_scan *s);

#endif
