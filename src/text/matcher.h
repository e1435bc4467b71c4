/* matcher.h - the patterns of tokenizers as small programs over code points; text.
 *
 *   ALTERNATIVE a ... ALTERNATIVE b ... END        tried in order; `target` leads to the next
 *   GREEDY, LAZY, POSSESSIVE   a class of code points, min to max times
 *   LOOKAHEAD ...              the next code point is (not) of the class
 *   SPLIT target               goes on behind itself, and at the target when that fails: a group
 *   JUMP target                the end of one branch of a group
 *
 * A program gives what a backtracking engine gives (Oniguruma, which Hugging Face tokenizers uses,
 * with Ruby's syntax), because it backtracks; groups do not repeat, so its depth is bounded by its
 * length. `fuel` bounds the work: the patterns that tokenizers have take a few steps a code point,
 * and one that takes hundreds fails. */
#ifndef ELM_TEXT_MATCHER_H
#define ELM_TEXT_MATCHER_H

#include "text/tokenizer_blob.h"

typedef enum elm_item_kind {
    ELM_ITEM_END = 0, /* ends the program */
    ELM_ITEM_ALTERNATIVE,
    ELM_ITEM_GREEDY,
    ELM_ITEM_LAZY,
    ELM_ITEM_POSSESSIVE,
    ELM_ITEM_LOOKAHEAD,     /* the next code point is of the class */
    ELM_ITEM_NOT_LOOKAHEAD, /* there is no next code point, or it is not of the class */
    ELM_ITEM_SPLIT,         /* behind itself first, then at the target */
    ELM_ITEM_SPLIT_LAZY,    /* the other way round */
    ELM_ITEM_JUMP,
    ELM_ITEM_LINE_START,    /* ^ */
    ELM_ITEM_LINE_END,      /* $ */
    ELM_ITEM_TEXT_START,    /* \A */
    ELM_ITEM_TEXT_END,      /* \z */
    ELM_ITEM_LAST_LINE_END, /* \Z */
    ELM_N_ITEM_KINDS
} elm_item_kind;

enum { ELM_ALT_NOT_ASCII = 1 /* may begin with a code point from 128 on, or with none */ };

#define ELM_REPEAT_FOREVER UINT32_MAX

/* Walks over the matches in a text as onig's find_iter does: from left to right, without overlap;
 * an empty match counts unless it touches the match before it. */
typedef struct elm_matches {
    const elm_tokenizer *t;
    uint32_t program; /* index of its first item */
    elm_span text;    /* valid UTF-8 */
    size_t at;        /* where the next search begins */
    size_t last_end;  /* of the match before, SIZE_MAX: none */
    uint64_t *fuel;   /* counted down; at 0 there are no more matches */
} elm_matches;

elm_matches elm_matches_of(const elm_tokenizer *t, uint32_t program, elm_span text, uint64_t *fuel);
bool elm_matches_next(elm_matches *m, size_t *begin, size_t *end);

#endif
