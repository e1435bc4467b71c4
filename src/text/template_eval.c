/* template_eval.c - running a parsed template; text.
 *
 * Scopes are chains of dictionaries: loops, macros and blocks open one, `if` does not, and `set`
 * writes into the innermost. Output goes to the parts, byte by byte with its origin, or to a list
 * while a block is captured. */
#include "text/template_ast.h"

#include <math.h>
#include <string.h>

enum {
    MAX_ARENA_BYTES = 64 << 20,
    MAX_ARGUMENTS = 64,
    MAX_EVAL_DEPTH = 2 * ELM_TEMPLATE_MAX_DEPTH
};

typedef struct scope {
    struct scope *outer;
    elm_tv vars; /* dict */
} scope;

static elm_tv eval(elm_trender *r, const elm_tnode *n);
static void run(elm_trender *r, const elm_tnodes *body);
static elm_tv call_macro(elm_trender *r, const elm_tnode *m, scope *outer, const elm_targs *args,
                         elm_tv caller);

/* ---- scopes ---- */

static scope *push(elm_trender *r, scope *outer) {
    scope *s = elm_tr_alloc(r, sizeof *s);
    if (r->status != ELM_OK) return outer;
    s->outer = outer;
    s->vars = elm_tv_new_dict(r);
    return s;
}

static void bind(elm_trender *r, elm_tstr name, elm_tv value) {
    if (r->status == ELM_OK) elm_tv_set(r, ((scope *)r->scope)->vars, elm_tv_string(name), value);
}

static const char *name_text(elm_trender *r, elm_tstr name) {
    char *copy = elm_tr_alloc(r, name.size + 1);
    if (r->status != ELM_OK || !copy) return "";
    memcpy(copy, name.data, name.size);
    copy[name.size] = 0;
    return copy;
}

static elm_tv lookup(elm_trender *r, elm_tstr name) {
    for (scope *s = r->scope; s; s = s->outer) {
        const elm_tv *v = elm_tv_get(s->vars.as.dict, elm_tv_string(name));
        if (v) return *v;
    }
    for (int f = 0; f < ELM_N_FUNCTIONS; f++) {
        if (elm_tv_is_text(elm_tv_string(name), elm_tv_function_names[f])) {
            return (elm_tv){.type = ELM_TV_FUNCTION, .as.function = f};
        }
    }
    return elm_tv_undefined(name_text(r, name));
}

/* ---- output ---- */

static void write_piece(elm_trender *r, elm_tstr s) {
    if (s.size == 0 || r->status != ELM_OK) return;
    if (r->capture.type == ELM_TV_LIST) {
        elm_tv_append(r, r->capture, elm_tv_string(s));
        return;
    }
    if (r->out->text.size + s.size > ELM_TEMPLATE_MAX_OUTPUT_BYTES) {
        elm_tr_fail(r, ELM_LIMIT, "its output is longer than %d bytes",
                    ELM_TEMPLATE_MAX_OUTPUT_BYTES);
        return;
    }
    for (uint32_t at = 0; at < s.size;) {
        uint32_t end = s.map ? at + 1 : s.size;
        while (s.map && end < s.size && s.map[end] == s.map[at]) end++;
        elm_parts_append(r->out, elm_span_of(s.data + at, end - at),
                         (elm_part_origin)(s.map ? s.map[at] : s.origin));
        at = end;
    }
}

/* Runs a body with its output in a string. */
static elm_tv captured(elm_trender *r, const elm_tnodes *body) {
    elm_tv before = r->capture, list = elm_tv_new_list(r, false);
    if (r->status != ELM_OK) return elm_tv_none();
    r->capture = list;
    run(r, body);
    r->capture = before;
    elm_targs one = {&list, 1, NULL};
    return elm_tv_method(r, elm_tv_literal(""), elm_tv_literal("join").as.string, &one);
}

/* ---- calls ---- */

static bool collect(elm_trender *r, const elm_tnode *n, elm_tv storage[MAX_ARGUMENTS],
                    elm_targs *out) {
    uint32_t n_positional = n->list.n - n->n_names;
    *out = (elm_targs){storage, n_positional, NULL};
    if (n->list.n > MAX_ARGUMENTS)
        elm_tr_fail(r, ELM_LIMIT, "a call has more than %d arguments", MAX_ARGUMENTS);
    for (uint32_t i = 0; i < n_positional && r->status == ELM_OK; i++)
        storage[i] = eval(r, n->list.items[i]);
    if (n->n_names == 0 || r->status != ELM_OK) return r->status == ELM_OK;
    elm_tv named = elm_tv_new_dict(r);
    for (uint32_t i = 0; i < n->n_names && r->status == ELM_OK; i++) {
        elm_tv value = eval(r, n->list.items[n_positional + i]);
        elm_tv_set(r, named, elm_tv_string(n->names[i]), value);
    }
    out->named = named.as.dict;
    return r->status == ELM_OK;
}

static elm_tv call(elm_trender *r, const elm_tnode *n, elm_tv caller) {
    elm_tv storage[MAX_ARGUMENTS], f = eval(r, n->a);
    elm_targs args;
    if (!collect(r, n, storage, &args)) return elm_tv_none();
    r->line = n->line;
    switch (f.type) {
    case ELM_TV_FUNCTION:
        return elm_tv_function(r, f.as.function, &args);
    case ELM_TV_BOUND:
        return elm_tv_method(r, *f.as.bound->self, f.as.bound->name, &args);
    case ELM_TV_MACRO:
        return call_macro(r, f.as.macro, f.scope, &args, caller);
    case ELM_TV_UNDEFINED:
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "'%s' is undefined", f.as.undefined);
        break;
    default:
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "%s cannot be called", elm_tv_type_name(f));
        break;
    }
    return elm_tv_none();
}

static elm_tv call_macro(elm_trender *r, const elm_tnode *m, scope *outer, const elm_targs *args,
                         elm_tv caller) {
    scope *before = r->scope;
    if (r->status != ELM_OK) return elm_tv_none();
    r->scope = push(r, outer);
    elm_tv extra = elm_tv_new_list(r, true);
    for (uint32_t i = 0; i < m->n_names && r->status == ELM_OK; i++) {
        const elm_tv *named =
            args->named ? elm_tv_get(args->named, elm_tv_string(m->names[i])) : NULL;
        elm_tv value = i < args->n        ? args->items[i]
                       : named            ? *named
                       : m->list.items[i] ? eval(r, m->list.items[i])
                                          : elm_tv_undefined(name_text(r, m->names[i]));
        bind(r, m->names[i], value);
    }
    for (uint32_t i = m->n_names; i < args->n; i++) elm_tv_append(r, extra, args->items[i]);
    bind(r, elm_tv_literal("varargs").as.string, extra);
    if (caller.type == ELM_TV_MACRO) bind(r, elm_tv_literal("caller").as.string, caller);
    elm_tv out = captured(r, &m->body);
    r->scope = before;
    return out;
}

/* ---- operators ---- */

static bool is_number(elm_tv v) {
    return v.type == ELM_TV_INT || v.type == ELM_TV_FLOAT || v.type == ELM_TV_BOOL;
}
static double number_of(elm_tv v) {
    return v.type == ELM_TV_FLOAT ? v.as.number
           : v.type == ELM_TV_INT ? (double)v.as.integer
                                  : (double)v.as.boolean;
}
static int64_t integer_of(elm_tv v) {
    return v.type == ELM_TV_INT ? v.as.integer : v.as.boolean;
}

static elm_tv type_error(elm_trender *r, const char *op, elm_tv a, elm_tv b) {
    const elm_tv *u = a.type == ELM_TV_UNDEFINED ? &a : b.type == ELM_TV_UNDEFINED ? &b : NULL;
    if (u)
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "'%s' is undefined", u->as.undefined);
    else
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "%s %s %s is not possible", elm_tv_type_name(a), op,
                    elm_tv_type_name(b));
    return elm_tv_none();
}

static elm_tv overflow(elm_trender *r) {
    elm_tr_fail(r, ELM_LIMIT, "an integer does not fit 64 bits");
    return elm_tv_none();
}

/* Division that rounds down, as Python's. */
static elm_tv integer_division(elm_trender *r, elm_top op, int64_t x, int64_t y) {
    if (y == 0) {
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "division by zero");
        return elm_tv_none();
    }
    if (x == INT64_MIN && y == -1) return overflow(r);
    int64_t q = x / y, rest = x % y;
    if (rest != 0 && (rest < 0) != (y < 0)) q--, rest += y;
    return elm_tv_int(op == ELM_OP_FLOOR ? q : rest);
}

static elm_tv arithmetic(elm_trender *r, elm_top op, elm_tv a, elm_tv b) {
    bool real = a.type == ELM_TV_FLOAT || b.type == ELM_TV_FLOAT || op == ELM_OP_DIVIDE;
    double x = number_of(a), y = number_of(b);
    int64_t i = integer_of(a), j = integer_of(b), k;
    if (op == ELM_OP_POWER && !real && j >= 0) {
        for (k = 1; j > 0 && elm_tr_step(r); j--) {
            if (__builtin_mul_overflow(k, i, &k)) return overflow(r);
        }
        return elm_tv_int(k);
    }
    if (op == ELM_OP_POWER) return elm_tv_float(pow(x, y));
    if (!real && (op == ELM_OP_FLOOR || op == ELM_OP_MODULO)) return integer_division(r, op, i, j);
    if (y == 0.0 && (op == ELM_OP_DIVIDE || op == ELM_OP_FLOOR || op == ELM_OP_MODULO)) {
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "division by zero");
        return elm_tv_none();
    }
    switch (op) {
    case ELM_OP_PLUS:
        return real                               ? elm_tv_float(x + y)
               : __builtin_add_overflow(i, j, &k) ? overflow(r)
                                                  : elm_tv_int(k);
    case ELM_OP_MINUS:
        return real                               ? elm_tv_float(x - y)
               : __builtin_sub_overflow(i, j, &k) ? overflow(r)
                                                  : elm_tv_int(k);
    case ELM_OP_TIMES:
        return real                               ? elm_tv_float(x * y)
               : __builtin_mul_overflow(i, j, &k) ? overflow(r)
                                                  : elm_tv_int(k);
    case ELM_OP_DIVIDE:
        return elm_tv_float(x / y);
    case ELM_OP_FLOOR:
        return elm_tv_float(floor(x / y));
    default:
        return elm_tv_float(x - y * floor(x / y));
    }
}

static elm_tv repeat(elm_trender *r, elm_tstr s, int64_t times) {
    if (times <= 0 || s.size == 0) return elm_tv_literal("");
    if (times > (16 << 20) / (int64_t)s.size) {
        elm_tr_fail(r, ELM_LIMIT, "a string is too long");
        return elm_tv_none();
    }
    elm_tstr *parts = elm_tr_alloc(r, (size_t)times * sizeof *parts);
    for (int64_t i = 0; r->status == ELM_OK && i < times; i++) parts[i] = s;
    return elm_tv_string(elm_ts_concat(r, parts, (uint32_t)times));
}

/* "text %s" % value */
static elm_tv format(elm_trender *r, elm_tstr s, elm_tv v) {
    elm_tv pieces = elm_tv_new_list(r, false);
    uint32_t done = 0, used = 0;
    for (uint32_t at = 0; at + 1 < s.size && r->status == ELM_OK; at++) {
        if (s.data[at] != '%') continue;
        elm_tv_append(r, pieces, elm_tv_string(elm_ts_slice(s, done, at)));
        uint8_t c = s.data[++at];
        done = at + 1;
        if (c == '%') {
            elm_tv_append(r, pieces, elm_tv_string(elm_ts_slice(s, at, at + 1)));
            continue;
        }
        elm_tv item = v.type == ELM_TV_TUPLE ? (used < v.as.list->n ? v.as.list->items[used]
                                                                    : elm_tv_undefined("format"))
                                             : v;
        used++;
        if ((c != 's' && c != 'd') || item.type == ELM_TV_UNDEFINED)
            elm_tr_fail(r, ELM_UNSUPPORTED, "a format other than %%s and %%d");
        elm_tv_append(r, pieces, elm_tv_string(elm_tv_str(r, item)));
    }
    elm_tv_append(r, pieces, elm_tv_string(elm_ts_slice(s, done, s.size)));
    elm_targs one = {&pieces, 1, NULL};
    return elm_tv_method(r, elm_tv_literal(""), elm_tv_literal("join").as.string, &one);
}

static elm_tv concat_lists(elm_trender *r, elm_tv a, elm_tv b) {
    elm_tv out = elm_tv_new_list(r, a.type == ELM_TV_TUPLE);
    for (uint32_t i = 0; i < a.as.list->n && elm_tr_step(r); i++)
        elm_tv_append(r, out, a.as.list->items[i]);
    for (uint32_t i = 0; i < b.as.list->n && elm_tr_step(r); i++)
        elm_tv_append(r, out, b.as.list->items[i]);
    return out;
}

static elm_tv binary(elm_trender *r, const elm_tnode *n) {
    static const char *const texts[] = {"or", "and", "+", "-", "*", "/", "//", "%", "**", "~"};
    elm_tv a = eval(r, n->a);
    if (n->op == ELM_OP_OR) return elm_tv_truth(a) ? a : eval(r, n->b);
    if (n->op == ELM_OP_AND) return elm_tv_truth(a) ? eval(r, n->b) : a;
    elm_tv b = eval(r, n->b);
    if (r->status != ELM_OK) return elm_tv_none();
    r->line = n->line;
    if (n->op == ELM_OP_TILDE ||
        (n->op == ELM_OP_PLUS && a.type == ELM_TV_STRING && b.type == ELM_TV_STRING)) {
        elm_tstr parts[2] = {elm_tv_str(r, a), elm_tv_str(r, b)};
        return elm_tv_string(elm_ts_concat(r, parts, 2));
    }
    if (is_number(a) && is_number(b)) return arithmetic(r, n->op, a, b);
    bool lists = (a.type == ELM_TV_LIST || a.type == ELM_TV_TUPLE) && a.type == b.type;
    if (n->op == ELM_OP_PLUS && lists) return concat_lists(r, a, b);
    if (n->op == ELM_OP_TIMES && a.type == ELM_TV_STRING && b.type == ELM_TV_INT)
        return repeat(r, a.as.string, b.as.integer);
    if (n->op == ELM_OP_TIMES && b.type == ELM_TV_STRING && a.type == ELM_TV_INT)
        return repeat(r, b.as.string, a.as.integer);
    if (n->op == ELM_OP_MODULO && a.type == ELM_TV_STRING) return format(r, a.as.string, b);
    return type_error(r, texts[n->op], a, b);
}

static bool compare_one(elm_trender *r, elm_top op, elm_tv a, elm_tv b) {
    elm_targs one = {&b, 1, NULL};
    switch (op) {
    case ELM_OP_EQ:
        return elm_tv_equal(a, b);
    case ELM_OP_NE:
        return !elm_tv_equal(a, b);
    case ELM_OP_LT:
        return elm_tv_compare(r, a, b) < 0;
    case ELM_OP_LE:
        return elm_tv_compare(r, a, b) <= 0;
    case ELM_OP_GT:
        return elm_tv_compare(r, a, b) > 0;
    case ELM_OP_GE:
        return elm_tv_compare(r, a, b) >= 0;
    default:
        return elm_tv_test(r, elm_tv_literal("in").as.string, a, &one) == (op == ELM_OP_IN);
    }
}

static elm_tv compare(elm_trender *r, const elm_tnode *n) {
    elm_tv left = eval(r, n->list.items[0]);
    for (uint32_t i = 1; i < n->list.n && r->status == ELM_OK; i++) {
        elm_tv right = eval(r, n->list.items[i]);
        r->line = n->line;
        if (r->status != ELM_OK || !compare_one(r, (elm_top)n->ops[i - 1], left, right))
            return elm_tv_bool(false);
        left = right;
    }
    return elm_tv_bool(true);
}

static bool bound_of(elm_trender *r, const elm_tnode *n, int64_t *out) {
    if (!n) return false;
    elm_tv v = eval(r, n);
    if (v.type == ELM_TV_NONE) return false;
    if (v.type != ELM_TV_INT)
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "a slice takes integers, not %s", elm_tv_type_name(v));
    *out = v.as.integer;
    return v.type == ELM_TV_INT;
}

static elm_tv slice(elm_trender *r, const elm_tnode *n) {
    elm_tv v = eval(r, n->a);
    int64_t step = 1, begin, end, size = elm_tv_length(v);
    bool text = v.type == ELM_TV_STRING;
    if (v.type == ELM_TV_UNDEFINED || (!text && v.type != ELM_TV_LIST && v.type != ELM_TV_TUPLE)) {
        return type_error(r, "[:]", v, elm_tv_none());
    }
    (void)bound_of(r, n->list.items[2], &step);
    if (step == 0) elm_tr_fail(r, ELM_INVALID_ARGUMENT, "a slice's step is 0");
    int64_t low = step > 0 ? 0 : -1, high = step > 0 ? size : size - 1;
    bool has_begin = bound_of(r, n->list.items[0], &begin),
         has_end = bound_of(r, n->list.items[1], &end);
    begin = !has_begin ? (step > 0 ? low : high) : begin < 0 ? begin + size : begin;
    end = !has_end ? (step > 0 ? high : low) : end < 0 ? end + size : end;
    if (has_begin) begin = begin < low ? low : begin > high ? high : begin;
    if (has_end) end = end < low ? low : end > high ? high : end;
    if (r->status != ELM_OK) return elm_tv_none();
    if (text && step == 1) {
        if (end <= begin) return elm_tv_literal("");
        return elm_tv_string(elm_ts_slice(v.as.string, elm_ts_offset(v.as.string, (uint32_t)begin),
                                          elm_ts_offset(v.as.string, (uint32_t)end)));
    }
    elm_tlist *items = elm_tv_iterate(r, v);
    elm_tv out = elm_tv_new_list(r, v.type == ELM_TV_TUPLE);
    for (int64_t i = begin; (step > 0 ? i < end : i > end) && elm_tr_step(r); i += step)
        elm_tv_append(r, out, items->items[i]);
    if (!text) return out;
    elm_targs one = {&out, 1, NULL};
    return elm_tv_method(r, elm_tv_literal(""), elm_tv_literal("join").as.string, &one);
}

static elm_tv filter_value(elm_trender *r, const elm_tnode *n, elm_tv v) {
    elm_tv storage[MAX_ARGUMENTS];
    elm_targs args;
    if (!collect(r, n, storage, &args)) return elm_tv_none();
    r->line = n->line;
    return elm_tv_filter(r, n->text, v, &args);
}

static elm_tv test(elm_trender *r, const elm_tnode *n) {
    elm_tv storage[MAX_ARGUMENTS], v = eval(r, n->a);
    elm_targs args;
    if (!collect(r, n, storage, &args)) return elm_tv_none();
    r->line = n->line;
    return elm_tv_bool(elm_tv_test(r, n->text, v, &args) != n->flag);
}

static elm_tv collection(elm_trender *r, const elm_tnode *n) {
    elm_tv out =
        n->kind == ELM_TN_DICT ? elm_tv_new_dict(r) : elm_tv_new_list(r, n->kind == ELM_TN_TUPLE);
    for (uint32_t i = 0; i < n->list.n && r->status == ELM_OK; i++) {
        elm_tv item = eval(r, n->list.items[i]);
        if (n->kind == ELM_TN_DICT)
            elm_tv_set(r, out, item, eval(r, n->list.items[++i]));
        else
            elm_tv_append(r, out, item);
    }
    return out;
}

static elm_tv negate(elm_trender *r, elm_tv v) {
    if (v.type == ELM_TV_FLOAT) return elm_tv_float(-v.as.number);
    if (!is_number(v)) return type_error(r, "-", v, elm_tv_none());
    return integer_of(v) == INT64_MIN ? overflow(r) : elm_tv_int(-integer_of(v));
}

static elm_tv eval_node(elm_trender *r, const elm_tnode *n) {
    switch (n->kind) {
    case ELM_TN_LITERAL:
        return n->value;
    case ELM_TN_NAME:
        return lookup(r, n->text);
    case ELM_TN_ATTR: {
        elm_tv object = eval(r, n->a);
        r->line = n->line;
        return elm_tv_attribute(r, object, elm_tv_string(n->text), true);
    }
    case ELM_TN_INDEX: {
        elm_tv object = eval(r, n->a), key = eval(r, n->b);
        r->line = n->line;
        return elm_tv_attribute(r, object, key, false);
    }
    case ELM_TN_SLICE:
        return slice(r, n);
    case ELM_TN_CALL:
        return call(r, n, elm_tv_none());
    case ELM_TN_FILTER:
        return filter_value(r, n, eval(r, n->a));
    case ELM_TN_TEST:
        return test(r, n);
    case ELM_TN_BINARY:
        return binary(r, n);
    case ELM_TN_COMPARE:
        return compare(r, n);
    case ELM_TN_NOT:
        return elm_tv_bool(!elm_tv_truth(eval(r, n->a)));
    case ELM_TN_NEGATE:
        return negate(r, eval(r, n->a));
    case ELM_TN_PLUS:
        return eval(r, n->a);
    case ELM_TN_CONDITION:
        if (elm_tv_truth(eval(r, n->b))) return eval(r, n->a);
        return n->c ? eval(r, n->c) : elm_tv_undefined("the else of an inline if");
    default:
        return collection(r, n);
    }
}

static elm_tv eval(elm_trender *r, const elm_tnode *n) {
    if (!elm_tr_step(r)) return elm_tv_none();
    if (r->depth >= MAX_EVAL_DEPTH) {
        elm_tr_fail(r, ELM_LIMIT, "an expression or its macros nest too deep");
        return elm_tv_none();
    }
    r->depth++;
    elm_tv v = eval_node(r, n);
    r->depth--;
    return v;
}

/* ---- statements ---- */

static void assign_one(elm_trender *r, const elm_tnode *target, elm_tv value) {
    if (target->kind == ELM_TN_NAME) {
        bind(r, target->text, value);
        return;
    }
    elm_tv object = eval(r, target->a);
    r->line = target->line;
    if (object.type != ELM_TV_NAMESPACE)
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "only a namespace takes attributes");
    else
        elm_tv_set(r, object, elm_tv_string(target->text), value);
}

static void assign(elm_trender *r, const elm_tnodes *targets, elm_tv value) {
    if (targets->n == 1) {
        assign_one(r, targets->items[0], value);
        return;
    }
    elm_tlist *l = elm_tv_iterate(r, value);
    if (r->status == ELM_OK && l->n != targets->n) {
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "%u values for %u names", l->n, targets->n);
    }
    for (uint32_t i = 0; i < targets->n && r->status == ELM_OK; i++)
        assign_one(r, targets->items[i], l->items[i]);
}

static void set_text(elm_trender *r, elm_tv dict, const char *key, elm_tv value) {
    elm_tv_set(r, dict, elm_tv_literal(key), value);
}

static void set_loop(elm_trender *r, elm_tv loop, const elm_tlist *l, uint32_t i, uint32_t depth) {
    set_text(r, loop, "index", elm_tv_int((int64_t)i + 1));
    set_text(r, loop, "index0", elm_tv_int(i));
    set_text(r, loop, "revindex", elm_tv_int((int64_t)l->n - i));
    set_text(r, loop, "revindex0", elm_tv_int((int64_t)l->n - i - 1));
    set_text(r, loop, "first", elm_tv_bool(i == 0));
    set_text(r, loop, "last", elm_tv_bool(i + 1 == l->n));
    set_text(r, loop, "length", elm_tv_int(l->n));
    set_text(r, loop, "depth", elm_tv_int(depth));
    set_text(r, loop, "previtem", i > 0 ? l->items[i - 1] : elm_tv_undefined("loop.previtem"));
    set_text(r, loop, "nextitem",
             i + 1 < l->n ? l->items[i + 1] : elm_tv_undefined("loop.nextitem"));
}

/* The items that pass the loop's own `if`. */
static elm_tlist *chosen(elm_trender *r, const elm_tnode *n, elm_tlist *all, scope *outer) {
    elm_tv out = elm_tv_new_list(r, false);
    for (uint32_t i = 0; i < all->n && r->status == ELM_OK; i++) {
        r->scope = push(r, outer);
        assign(r, &n->list, all->items[i]);
        if (elm_tv_truth(eval(r, n->b))) elm_tv_append(r, out, all->items[i]);
    }
    r->scope = outer;
    return r->status == ELM_OK ? out.as.list : all;
}

static void loop(elm_trender *r, const elm_tnode *n) {
    scope *outer = r->scope;
    elm_tlist *l = elm_tv_iterate(r, eval(r, n->a));
    if (r->status == ELM_OK && n->b) l = chosen(r, n, l, outer);
    elm_tv state = elm_tv_new_dict(r);
    for (uint32_t i = 0; r->status == ELM_OK && i < l->n; i++) {
        r->scope = push(r, outer);
        set_loop(r, state, l, i, 1);
        bind(r, elm_tv_literal("loop").as.string, state);
        assign(r, &n->list, l->items[i]);
        run(r, &n->body);
        bool stop = r->breaking;
        r->breaking = r->continuing = false;
        if (stop) break;
    }
    r->scope = outer;
    if (r->status == ELM_OK && l->n == 0) run(r, &n->other);
}

static elm_tv through_filters(elm_trender *r, const elm_tnode *f, elm_tv v) {
    if (!f) return v;
    return filter_value(r, f, through_filters(r, f->a, v));
}

static elm_tv macro_value(const elm_tnode *n, scope *s) {
    elm_tv v = {.type = ELM_TV_MACRO, .as.macro = n};
    v.scope = s;
    return v;
}

/* A body in a scope of its own, captured. */
static elm_tv captured_scope(elm_trender *r, const elm_tnodes *body) {
    scope *outer = r->scope;
    r->scope = push(r, outer);
    elm_tv out = captured(r, body);
    r->scope = outer;
    return out;
}

static void statement(elm_trender *r, const elm_tnode *n) {
    switch (n->kind) {
    case ELM_TN_TEXT:
        write_piece(r, n->value.as.string);
        return;
    case ELM_TN_OUTPUT:
        write_piece(r, elm_tv_str(r, eval(r, n->a)));
        return;
    case ELM_TN_IF:
        while (n && n->a && !elm_tv_truth(eval(r, n->a)) && r->status == ELM_OK) n = n->b;
        if (n && r->status == ELM_OK) run(r, &n->body);
        return;
    case ELM_TN_FOR:
        loop(r, n);
        return;
    case ELM_TN_SET:
        assign(r, &n->list, eval(r, n->a));
        return;
    case ELM_TN_SET_BLOCK:
        assign(r, &n->list, through_filters(r, n->a, captured_scope(r, &n->body)));
        return;
    case ELM_TN_MACRO:
        bind(r, n->text, macro_value(n, r->scope));
        return;
    case ELM_TN_CALL_BLOCK:
        write_piece(r, elm_tv_str(r, call(r, n->a, macro_value(n, r->scope))));
        return;
    case ELM_TN_FILTER_BLOCK:
        write_piece(r, elm_tv_str(r, through_filters(r, n->a, captured_scope(r, &n->body))));
        return;
    case ELM_TN_BREAK:
        r->breaking = true;
        return;
    case ELM_TN_CONTINUE:
        r->continuing = true;
        return;
    case ELM_TN_BLOCK:
        run(r, &n->body);
        return;
    default:
        elm_tr_fail(r, ELM_INTERNAL, "a statement of an unknown kind");
        return;
    }
}

static void run(elm_trender *r, const elm_tnodes *body) {
    for (uint32_t i = 0; i < body->n && !r->breaking && !r->continuing && elm_tr_step(r); i++) {
        r->line = body->items[i]->line;
        statement(r, body->items[i]);
    }
}

/* ---- the public calls ---- */

elm_status elm_template_parse(const elm_allocator *alloc, elm_span source, elm_template **out,
                              elm_error *err) {
    elm_template *t = NULL;
    *out = NULL;
    if (source.size > ELM_TEMPLATE_MAX_SOURCE_BYTES) {
        return elm_fail(err, ELM_LIMIT, "the chat template has %zu bytes; at most %d", source.size,
                        ELM_TEMPLATE_MAX_SOURCE_BYTES);
    }
    ELM_TRY(elm_alloc(alloc, sizeof *t, "a chat template", &t, err));
    t->alloc = alloc;
    elm_arena_init(&t->arena, alloc, 0);
    uint8_t *copy = elm_arena_alloc(&t->arena, source.size + 1, 1);
    elm_status status = copy ? ELM_OK : elm_fail_oom(err, source.size, "a chat template");
    size_t n = 0;
    for (size_t i = 0; status == ELM_OK && i < source.size;
         i++) { /* jinja2 reads every line end as \n */
        if (source.data[i] == '\r' && i + 1 < source.size && source.data[i + 1] == '\n') continue;
        copy[n++] = source.data[i] == '\r' ? '\n' : source.data[i];
    }
    if (status == ELM_OK) status = elm_template_parse_source(t, elm_span_of(copy, n), err);
    if (status != ELM_OK) {
        elm_template_free(t);
        return status;
    }
    *out = t;
    return ELM_OK;
}

void elm_template_free(elm_template *t) {
    if (!t) return;
    elm_arena_free(&t->arena);
    elm_free(t->alloc, t, sizeof *t);
}

static bool ends_with_token(elm_span key) {
    return key.size > 6 && memcmp(key.data + key.size - 6, "_token", 6) == 0;
}

elm_status elm_template_render(const elm_template *t, const elm_json *context,
                               const elm_template_options *options, elm_parts *out,
                               elm_error *err) {
    static const elm_template_options none = {0};
    const elm_template_options *o = options ? options : &none;
    elm_arena arena;
    elm_arena_init(&arena, t->alloc, MAX_ARENA_BYTES);
    elm_trender r = {
        .arena = &arena, .err = err, .out = out, .options = o, .capture = elm_tv_none()};
    r.fuel = o->fuel ? o->fuel : ELM_TEMPLATE_DEFAULT_FUEL;
    scope *top = push(&r, NULL);
    r.scope = top;
    for (uint32_t i = 0;
         context && context->type == ELM_JSON_OBJECT && i < context->count && r.status == ELM_OK;
         i++) {
        const elm_json *m = &context->as.items[i];
        elm_part_origin origin = ends_with_token(m->key) ? ELM_PART_TEMPLATE : ELM_PART_INPUT;
        bind(&r, elm_tv_text(m->key, ELM_PART_INPUT).as.string, elm_tv_from_json(&r, m, origin));
    }
    r.scope =
        push(&r, top); /* what the template sets hides the variables, and does not change them */
    run(&r, &t->body);
    elm_arena_free(&arena);
    ELM_TRY(r.status);
    return elm_parts_check(out, "the rendered template", err);
}
