/* template_parser.h - what the parts of the template parser share; text, internal.
 *
 * Recursive descent over the characters: statements (template_statement.c) hold expressions
 * (template_expression.c). The first failure is latched in `status`; functions that return a node
 * return NULL then. */
#ifndef ELM_TEXT_TEMPLATE_PARSER_H
#define ELM_TEXT_TEMPLATE_PARSER_H

#include "text/template_ast.h"

typedef struct elm_tparser {
    elm_template *t;
    elm_span s;
    size_t pos;
    uint32_t depth;
    elm_error *err;
    elm_status status;
    size_t counted; /* how far lines and columns have been counted */
    uint32_t line, column;
    bool strip_next;   /* the last tag ended in - */
    bool trim_newline; /* the last tag was a block without + */
    uint8_t uses;      /* ELM_USES_* since the innermost macro began */
    uint32_t loops;    /* that the place lies in */
    uint32_t branches; /* of an if, the same */
    uint32_t n_nodes;
    elm_tstr tag; /* the word that ended a body ("endif", "else", ...) */
} elm_tparser;

/* Latches a failure at the place of parsing; returns NULL. */
elm_tnode *elm_tp_fail(elm_tparser *p, elm_status status, const char *what);
elm_tnode *elm_tp_expected(elm_tparser *p, const char *what);

/* A node; one whose operand `a` has been read, which a row of operators piles up. */
elm_tnode *elm_tp_node(elm_tparser *p, elm_tkind kind);
elm_tnode *elm_tp_over(elm_tparser *p, elm_tkind kind, elm_tnode *a);
void elm_tp_add(elm_tparser *p, elm_tnodes *list, elm_tnode *n);
void elm_tp_add_name(elm_tparser *p, elm_tnode *n, elm_tstr name);

/* One level deeper; false, with a failure, when that is too deep. The caller counts down. */
bool elm_tp_enter(elm_tparser *p);

/* Characters: -1 behind the end. take and take_word skip white space first. */
int elm_tp_peek(const elm_tparser *p, size_t ahead);
void elm_tp_skip_space(elm_tparser *p);
bool elm_tp_starts(const elm_tparser *p, const char *text);
bool elm_tp_take(elm_tparser *p, const char *text);
bool elm_tp_is_word(int c);
elm_tstr elm_tp_word_at(const elm_tparser *p, size_t pos);
bool elm_tp_word_is(elm_tstr w, const char *text);
bool elm_tp_take_word(elm_tparser *p, const char *text);
bool elm_tp_is_reserved(elm_tstr w);
elm_tstr elm_tp_take_name(elm_tparser *p);

/* Expressions: whole ones, without the inline if, `a, b` without parentheses, a filter behind `|`.
 */
elm_tnode *elm_tp_expression(elm_tparser *p);
elm_tnode *elm_tp_disjunction(elm_tparser *p);
elm_tnode *elm_tp_open_tuple(elm_tparser *p);
elm_tnode *elm_tp_filter(elm_tparser *p, elm_tnode *operand);

/* Statements up to one of the words in `ends` (NULL: the end of the source), which is left in
 * p->tag. */
void elm_tp_body(elm_tparser *p, elm_tnodes *out, const char *const *ends);

#endif
