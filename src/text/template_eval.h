/* template_eval.h - what running expressions and statements share; text, internal.
 *
 * Scopes are chains of dictionaries: loops, macros and blocks open one, `if` does not, and `set`
 * writes into the innermost. The first failure is latched in the render's status; values are
 * harmless then. */
#ifndef ELM_TEXT_TEMPLATE_EVAL_H
#define ELM_TEXT_TEMPLATE_EVAL_H

#include "text/template_ast.h"

enum { ELM_TE_MAX_DEPTH = 2 * ELM_TEMPLATE_MAX_DEPTH };

typedef struct elm_tscope {
    struct elm_tscope *outer;
    elm_tv vars; /* dict */
} elm_tscope;

/* A scope inside `outer`, and a name in the innermost one. */
elm_tscope *elm_te_push(elm_trender *r, elm_tscope *outer);
void elm_te_bind(elm_trender *r, elm_tstr name, elm_tv value);

/* template_eval.c: an expression; a call, whose macro may ask for `caller` (none: it has none); a
 * filter on a value. */
elm_tv elm_te_eval(elm_trender *r, const elm_tnode *n);
elm_tv elm_te_call(elm_trender *r, const elm_tnode *n, elm_tv caller);
elm_tv elm_te_filter(elm_trender *r, const elm_tnode *n, elm_tv v);

/* template_run.c: statements; the same with their output in a string; loop(items) of a recursive
 * loop. */
void elm_te_run(elm_trender *r, const elm_tnodes *body);
elm_tv elm_te_captured(elm_trender *r, const elm_tnodes *body);
elm_tv elm_te_loop_again(elm_trender *r, const elm_tloop *l, const elm_targs *args);

#endif
