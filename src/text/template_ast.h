/* template_ast.h - a parsed template: statements and expressions in one arena; text. */
#ifndef ELM_TEXT_TEMPLATE_AST_H
#define ELM_TEXT_TEMPLATE_AST_H

#include "text/template.h"
#include "text/template_value.h"

typedef enum elm_tkind {
    /* expressions */
    ELM_TN_LITERAL, /* value */
    ELM_TN_NAME,    /* text */
    ELM_TN_ATTR,    /* a.text */
    ELM_TN_INDEX,   /* a[b] */
    ELM_TN_SLICE,   /* a[list[0]:list[1]:list[2]], NULL where left out */
    ELM_TN_CALL,    /* a(list..., names, *b, **c) */
    ELM_TN_FILTER,  /* a | text(list..., names, *b, **c) */
    ELM_TN_TEST,    /* a is text list...; flag: not */
    ELM_TN_BINARY,  /* a op b */
    ELM_TN_COMPARE, /* list[0] ops[0] list[1] ops[1] ... */
    ELM_TN_NOT,
    ELM_TN_NEGATE,
    ELM_TN_PLUS,
    ELM_TN_CONDITION, /* b ? a : c (c may be NULL) */
    ELM_TN_LIST,
    ELM_TN_TUPLE,
    ELM_TN_DICT, /* list; of a dict: key, value, key, ... */
    /* statements */
    ELM_TN_TEXT,         /* value */
    ELM_TN_OUTPUT,       /* a */
    ELM_TN_IF,           /* a: condition (NULL: else), body; b: the next branch */
    ELM_TN_FOR,          /* target list, a: what, b: filter, body, other: else; flag: recursive */
    ELM_TN_SET,          /* target list, a: value */
    ELM_TN_SET_BLOCK,    /* target list, a: filters around NULL, body */
    ELM_TN_WITH,         /* target list, their values in other, body; a scope of its own */
    ELM_TN_MACRO,        /* text, params in names, defaults in list, body, uses */
    ELM_TN_CALL_BLOCK,   /* a: the call, names and list: parameters, body, uses */
    ELM_TN_FILTER_BLOCK, /* a: filters around NULL, body */
    ELM_TN_BREAK,
    ELM_TN_CONTINUE,
    ELM_TN_BLOCK, /* body (generation) */
} elm_tkind;

typedef enum elm_top {
    ELM_OP_OR,
    ELM_OP_AND,
    ELM_OP_PLUS,
    ELM_OP_MINUS,
    ELM_OP_TIMES,
    ELM_OP_DIVIDE,
    ELM_OP_FLOOR,
    ELM_OP_MODULO,
    ELM_OP_POWER,
    ELM_OP_TILDE,
    ELM_OP_EQ,
    ELM_OP_NE,
    ELM_OP_LT,
    ELM_OP_LE,
    ELM_OP_GT,
    ELM_OP_GE,
    ELM_OP_IN,
    ELM_OP_NOT_IN
} elm_top;

/* Which of the names that a macro may take for granted its body mentions. */
enum { ELM_USES_VARARGS = 1, ELM_USES_KWARGS = 2, ELM_USES_CALLER = 4 };

/* A target is a NAME, an ATTR of a NAME, or a TUPLE of targets. */
typedef struct elm_tnode elm_tnode;
typedef struct elm_tnodes {
    elm_tnode **items;
    uint32_t n, capacity;
} elm_tnodes;

struct elm_tnode {
    elm_tkind kind;
    elm_top op;
    uint32_t line, column;
    uint16_t height; /* operators of a row that lie on one another: a + b + c has 2 */
    bool flag;
    uint8_t uses;
    elm_tv value;
    elm_tstr text;
    elm_tnode *a, *b, *c;
    elm_tnodes list;
    elm_tstr *names; /* of keyword arguments or parameters */
    uint32_t n_names;
    uint8_t *ops; /* of a comparison chain */
    elm_tnodes body, other;
};

struct elm_template {
    const elm_allocator *alloc;
    elm_arena arena;
    elm_tnodes body;
};

/* The parser (template_parser.c): fills body. `source` lies in the template's arena. */
elm_status elm_template_parse_source(elm_template *t, elm_span source,
                                     elm_error *err) ELM_MUST_CHECK;

#endif
