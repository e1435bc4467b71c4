/* matcher.h - pre-tokenizer patterns as small programs over code points; text.
 *
 * A program is a list of alternatives, tried in order; an alternative is a list of items, each one
 * class of code points with a repetition, or a one-code-point lookahead. Repetitions are greedy and
 * give back as a backtracking regular expression would; possessive ones give nothing back. There
 * are no nested repetitions, so the work at one position is bounded by the lengths of the runs it
 * looks at. */
#ifndef ELM_TEXT_MATCHER_H
#define ELM_TEXT_MATCHER_H

#include "text/tokenizer_blob.h"

typedef enum elm_item_kind {
    ELM_ITEM_END = 0,     /* ends the program */
    ELM_ITEM_ALTERNATIVE, /* begins an alternative */
    ELM_ITEM_GREEDY,
    ELM_ITEM_POSSESSIVE,
    ELM_ITEM_LAZY,
    ELM_ITEM_LOOKAHEAD,     /* the next code point is of the class */
    ELM_ITEM_NOT_LOOKAHEAD, /* there is no next code point, or it is not of the class */
    ELM_ITEM_TEXT_END,      /* $ or \z */
    ELM_ITEM_TEXT_START,    /* ^ or \A */
    ELM_N_ITEM_KINDS
} elm_item_kind;

enum {
    ELM_CLASS_NEGATED = 1,
    ELM_CLASS_SPACE = 2 /* White_Space belongs to it */,
    ELM_CLASS_NOT_SPACE = 4
};

#define ELM_REPEAT_FOREVER UINT32_MAX

/* Length of the match of program `first_item` at `at`, or -1. Text is valid UTF-8; an empty match
 * is 0. */
int64_t elm_match(const elm_tokenizer *t, uint32_t first_item, elm_span text, size_t at);

#endif
