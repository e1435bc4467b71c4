/* template_value.h - values of the template language: Python's, as far as chat templates see them;
 * text.
 *
 * Everything lives in the render's arena and is immutable, but for namespaces, cyclers, joiners and
 * the dictionaries of loops. A string knows for every byte whether the template wrote it: one origin for all, or a
 * map where it is mixed. */
#ifndef ELM_TEXT_TEMPLATE_VALUE_H
#define ELM_TEXT_TEMPLATE_VALUE_H

#include "base/json.h"
#include "text/parts.h"

typedef enum elm_tv_type {
    ELM_TV_UNDEFINED,
    ELM_TV_NONE,
    ELM_TV_BOOL,
    ELM_TV_INT,
    ELM_TV_FLOAT,
    ELM_TV_STRING,
    ELM_TV_LIST,
    ELM_TV_TUPLE,
    ELM_TV_DICT,
    ELM_TV_NAMESPACE,
    ELM_TV_MACRO,
    ELM_TV_FUNCTION,
    ELM_TV_BOUND,
    ELM_TV_JOINER, /* the last that can be called, but for a loop */
    ELM_TV_RANGE,
    ELM_TV_LOOP, /* what `loop` is in a for */
    ELM_TV_CYCLER
} elm_tv_type;

typedef struct elm_tstr {
    const uint8_t *data;
    uint32_t size;
    uint8_t origin;     /* elm_part_origin of every byte, when map is NULL */
    const uint8_t *map; /* [size], or NULL */
} elm_tstr;

typedef struct elm_tv elm_tv;
typedef struct elm_tlist {
    elm_tv *items;
    uint32_t n, capacity;
} elm_tlist;
typedef struct elm_tdict {
    elm_tv *keys, *values; /* in insertion order */
    uint32_t n, capacity;
} elm_tdict;

/* range(): start, start + step, ... before stop: n numbers. */
typedef struct elm_trange {
    int64_t start, stop, step, n;
} elm_trange;

struct elm_tv {
    elm_tv_type type;
    bool safe; /* of a string: `escape` or `safe` made it (template_markup.c) */
    union {
        bool boolean;
        int64_t integer;
        double number;
        elm_tstr string;
        elm_tlist *list; /* LIST and TUPLE */
        elm_tdict *dict; /* DICT and NAMESPACE */
        const struct elm_tnode *macro;
        int function; /* a global function's number */
        struct elm_tbound {
            elm_tv *self;
            elm_tstr name;
        } * bound;             /* a method, waiting for its call */
        const char *undefined; /* what was looked up, for messages */
        elm_trange *range;
        struct elm_tloop *loop;
        struct elm_tstate *state; /* CYCLER and JOINER */
    } as;
    void *scope; /* of a macro: where it was defined */
};

/* A cycler's items (a tuple) and the next one's index; a joiner's separator and whether it was
 * called. */
struct elm_tstate {
    elm_tv given;
    uint32_t n;
};

/* What a for goes over: a list, or the numbers of a range. */
typedef struct elm_titems {
    const elm_tlist *list; /* NULL: the range */
    elm_trange range;
    int64_t n;
} elm_titems;

/* With an `if`, items are chosen from the source when the loop comes to them, or when somebody asks
 * for what follows: the condition sees what the rounds before have changed. */
typedef struct elm_tloop {
    elm_titems items;             /* with an `if`: those chosen so far, in `chosen` */
    int64_t index;                /* from 0 */
    uint32_t depth;               /* from 1 */
    const struct elm_tnode *node; /* the for */
    void *scope;                  /* in which it stands */
    elm_tv changed;               /* what loop.changed saw last: a list, or undefined */
    elm_titems source;
    int64_t taken; /* from the source */
    elm_tv chosen;
    void *filter_scope; /* NULL: no `if` */
} elm_tloop;

/* One render. Failures are latched in `status`; every function returns something harmless
 * afterwards. */
typedef struct elm_trender {
    elm_arena *arena;
    elm_status status;
    elm_error *err;
    uint64_t fuel;
    uint32_t depth, line, column;
    elm_parts *out;
    const struct elm_template_options *options;
    void *scope;    /* the evaluator's innermost scope */
    elm_tv capture; /* a list that output goes to instead, or none */
    bool breaking, continuing;
} elm_trender;

void elm_tr_fail(elm_trender *r, elm_status status, const char *fmt, ...) ELM_PRINTF(3, 4);
/* Takes one step of fuel; false when there is none left, or something failed already. */
bool elm_tr_step(elm_trender *r);
void *elm_tr_alloc(elm_trender *r, size_t bytes);

elm_tv elm_tv_none(void);
elm_tv elm_tv_undefined(const char *name);
elm_tv elm_tv_bool(bool b);
elm_tv elm_tv_int(int64_t i);
elm_tv elm_tv_float(double d);
elm_tv elm_tv_string(elm_tstr s);
elm_tv elm_tv_text(elm_span s, elm_part_origin origin); /* borrows */
elm_tv elm_tv_literal(const char *s); /* input: made by the program, not by the template */
elm_tv elm_tv_new_list(elm_trender *r, bool tuple);
elm_tv elm_tv_new_dict(elm_trender *r);
void elm_tv_append(elm_trender *r, elm_tv list, elm_tv item);
void elm_tv_set(elm_trender *r, elm_tv dict, elm_tv key, elm_tv value);
const elm_tv *elm_tv_get(const elm_tdict *d, elm_tv key);
const elm_tv *elm_tv_get_text(const elm_tdict *d, const char *key);
elm_tv elm_tv_from_json(elm_trender *r, const elm_json *json, elm_part_origin origin);

bool elm_tv_is_text(elm_tv v, const char *text);
bool elm_tv_truth(elm_tv v);
bool elm_tv_equal(elm_tv a, elm_tv b);
/* -1, 0, 1; fails on types that do not compare. */
int elm_tv_compare(elm_trender *r, elm_tv a, elm_tv b);
int64_t elm_tv_length(elm_trender *r, elm_tv v); /* -1: it has none */
const char *elm_tv_type_name(elm_tv v);

/* str() and repr() as Python writes them. */
elm_tstr elm_tv_str(elm_trender *r, elm_tv v);
void elm_tv_repr(elm_trender *r, elm_tv v, elm_buf *out);
/* json.dumps. indent: none, a number or a string; separators: none, or two strings. */
elm_tv elm_tv_tojson(elm_trender *r, elm_tv v, elm_tv indent, elm_tv separators, bool sort_keys,
                     bool ascii);

/* Strings. */
elm_tstr elm_ts_slice(elm_tstr s, uint32_t begin, uint32_t end); /* in bytes */
elm_tstr elm_ts_concat(elm_trender *r, const elm_tstr *parts, uint32_t n);
elm_tstr elm_ts_from_buf(elm_trender *r, const elm_buf *buf);    /* copies; input */
uint32_t elm_ts_length(elm_tstr s);                              /* code points */
uint32_t elm_ts_offset(elm_tstr s, uint32_t index);              /* byte offset of a code point */
int64_t elm_ts_find(elm_tstr s, elm_tstr needle, uint32_t from); /* byte offset, -1 */

/* Builtins (template_filters.c, template_methods.c). Arguments: positional, then named in `named`.
 */
typedef struct elm_targs {
    elm_tv *items;
    uint32_t n;
    elm_tdict *named; /* NULL: none */
} elm_targs;
elm_tv elm_tv_filter(elm_trender *r, elm_tstr name, elm_tv v, const elm_targs *args);
bool elm_tv_test(elm_trender *r, elm_tstr name, elm_tv v, const elm_targs *args);
elm_tv elm_tv_method(elm_trender *r, elm_tv self, elm_tstr name, const elm_targs *args);
bool elm_tv_has_method(elm_tv self, elm_tstr name);
elm_tv elm_tv_function(elm_trender *r, int function, const elm_targs *args);
/* cycler(...) and joiner(...), and what can be done with them (template_state.c). */
elm_tv elm_tv_new_cycler(elm_trender *r, const elm_targs *args);
elm_tv elm_tv_new_joiner(elm_trender *r, const elm_targs *args);
elm_tv elm_tv_joiner_call(elm_trender *r, elm_tv joiner, const elm_targs *args);
elm_tv elm_tv_cycler_method(elm_trender *r, elm_tv cycler, elm_tstr name, const elm_targs *args);
elm_tv elm_tv_state_attribute(elm_tv v, elm_tstr name); /* undefined: it has none */
/* obj.name or obj[key] as jinja looks them up. */
elm_tv elm_tv_attribute(elm_trender *r, elm_tv object, elm_tv key, bool dot);
/* Items of anything that can be iterated; fails otherwise. A range becomes a list. */
elm_tlist *elm_tv_iterate(elm_trender *r, elm_tv v);
/* The same without making a list of a range. */
elm_titems elm_tv_items(elm_trender *r, elm_tv v);
elm_tv elm_titem(const elm_titems *items, int64_t i);
/* Chooses items until there are n of them (template_run.c); false when there are not so many. */
bool elm_te_loop_reach(elm_trender *r, elm_tloop *loop, int64_t n);
/* An attribute of `loop`. */
elm_tv elm_tv_loop_attribute(elm_trender *r, elm_tloop *loop, elm_tstr name);
/* Joins the str() of a list's items. */
elm_tv elm_tv_join(elm_trender *r, const elm_tlist *items, elm_tstr separator);
elm_tv elm_targ(const elm_targs *args, uint32_t index, const char *name, elm_tv def);
/* Operators (template_operators.c). `op` is an elm_top. */
elm_tv elm_tv_binary(elm_trender *r, int op, elm_tv a, elm_tv b);
bool elm_tv_compare_by(elm_trender *r, int op, elm_tv a, elm_tv b);
elm_tv elm_tv_negate(elm_trender *r, elm_tv v);
/* v[begin:end:step]; none where a bound was left out. */
elm_tv elm_tv_slice(elm_trender *r, elm_tv v, elm_tv begin, elm_tv end, elm_tv step);

/* "%s" % value and "{}".format(...) of a string (template_format.c). */
elm_tv elm_tv_percent(elm_trender *r, elm_tv format, elm_tv values);
elm_tv elm_tv_format(elm_trender *r, elm_tv format, const elm_targs *args);

/* Strings that are safe (template_markup.c): str() with & < > ' " escaped where it is not; the same of
 * what a tuple or dict holds, but for numbers; a string that is as safe as another; a method of a safe
 * string. */
elm_tv elm_tv_escape(elm_trender *r, elm_tv v);
elm_tv elm_tv_escape_all(elm_trender *r, elm_tv v);
elm_tv elm_tv_marked(elm_tv v, elm_tv like);
elm_tv elm_tv_marked_method(elm_trender *r, elm_tv self, elm_tstr name, const elm_targs *args);

bool elm_ts_is(elm_tstr s, const char *text);
bool elm_filter_known(elm_tstr name);
bool elm_test_known(elm_tstr name);

enum {
    ELM_FN_RANGE,
    ELM_FN_NAMESPACE,
    ELM_FN_DICT,
    ELM_FN_RAISE,
    ELM_FN_STRFTIME,
    ELM_FN_CYCLER,
    ELM_FN_JOINER,
    ELM_N_FUNCTIONS
};
extern const char *const elm_tv_function_names[ELM_N_FUNCTIONS];

#endif
