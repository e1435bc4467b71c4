/* template_operators.c - operators of the template language on values, as Python's; text. */
#include "text/template_ast.h"

#include <math.h>

static bool is_number(elm_tv v) {
    return v.type == ELM_TV_INT || v.type == ELM_TV_FLOAT || v.type == ELM_TV_BOOL;
}
static double number_of(elm_tv v) {
    return v.type == ELM_TV_FLOAT ? v.as.number
           : v.type == ELM_TV_INT ? (double)v.as.integer
                                  : (double)v.as.boolean;
}
static int64_t integer_of(elm_tv v) {
    return v.type == ELM_TV_INT ? v.as.integer : v.type == ELM_TV_BOOL ? v.as.boolean : 0;
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

static elm_tv concat_lists(elm_trender *r, elm_tv a, elm_tv b) {
    elm_tv out = elm_tv_new_list(r, a.type == ELM_TV_TUPLE);
    for (uint32_t i = 0; i < a.as.list->n && elm_tr_step(r); i++)
        elm_tv_append(r, out, a.as.list->items[i]);
    for (uint32_t i = 0; i < b.as.list->n && elm_tr_step(r); i++)
        elm_tv_append(r, out, b.as.list->items[i]);
    return out;
}

static bool is_list(elm_tv v) {
    return v.type == ELM_TV_LIST || v.type == ELM_TV_TUPLE;
}

static elm_tv repeat_list(elm_trender *r, elm_tv v, int64_t times) {
    elm_tv out = elm_tv_new_list(r, v.type == ELM_TV_TUPLE);
    for (int64_t k = 0; k < times && v.as.list->n > 0 && r->status == ELM_OK; k++) {
        for (uint32_t i = 0; i < v.as.list->n && elm_tr_step(r); i++)
            elm_tv_append(r, out, v.as.list->items[i]);
    }
    return out;
}

/* text * n, n * text, list * n, n * list */
static elm_tv times(elm_trender *r, elm_tv a, elm_tv b) {
    elm_tv what = is_number(a) ? b : a, n = is_number(a) ? a : b;
    if (n.type != ELM_TV_INT && n.type != ELM_TV_BOOL) return type_error(r, "*", a, b);
    if (what.type == ELM_TV_STRING)
        return elm_tv_marked(repeat(r, what.as.string, integer_of(n)), what);
    return is_list(what) ? repeat_list(r, what, integer_of(n)) : type_error(r, "*", a, b);
}

elm_tv elm_tv_binary(elm_trender *r, int op, elm_tv a, elm_tv b) {
    static const char *const texts[] = {"or", "and", "+", "-", "*", "/", "//", "%", "**", "~"};
    bool texts_both = a.type == ELM_TV_STRING && b.type == ELM_TV_STRING;
    if (op == ELM_OP_PLUS && texts_both && a.safe != b.safe) {
        a = elm_tv_escape(r, a);
        b = elm_tv_escape(r, b);
    }
    if (op == ELM_OP_PLUS && texts_both) {
        elm_tstr parts[2] = {a.as.string, b.as.string};
        return elm_tv_marked(elm_tv_string(elm_ts_concat(r, parts, 2)), a);
    }
    if (op == ELM_OP_TILDE) {
        elm_tstr parts[2] = {elm_tv_str(r, a), elm_tv_str(r, b)};
        return elm_tv_string(elm_ts_concat(r, parts, 2));
    }
    if (is_number(a) && is_number(b)) return arithmetic(r, (elm_top)op, a, b);
    if (op == ELM_OP_PLUS && is_list(a) && a.type == b.type) return concat_lists(r, a, b);
    if (op == ELM_OP_TIMES) return times(r, a, b);
    if (op == ELM_OP_MODULO && a.type == ELM_TV_STRING && b.type != ELM_TV_UNDEFINED)
        return elm_tv_percent(r, a, b);
    return type_error(r, texts[op], a, b);
}

bool elm_tv_compare_by(elm_trender *r, int op, elm_tv a, elm_tv b) {
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

elm_tv elm_tv_negate(elm_trender *r, elm_tv v) {
    if (v.type == ELM_TV_FLOAT) return elm_tv_float(-v.as.number);
    if (!is_number(v)) return type_error(r, "-", v, elm_tv_none());
    return integer_of(v) == INT64_MIN ? overflow(r) : elm_tv_int(-integer_of(v));
}

/* ---- slices ---- */

/* A bound, counted from the end when it is negative, kept within [low, high]. */
static int64_t bound_of(elm_trender *r, elm_tv v, int64_t size, int64_t low, int64_t high,
                        int64_t left_out) {
    if (v.type == ELM_TV_NONE) return left_out;
    if (v.type != ELM_TV_INT && v.type != ELM_TV_BOOL)
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "a slice takes integers, not %s", elm_tv_type_name(v));
    int64_t i = integer_of(v);
    if (i < 0) i += size;
    return i < low ? low : i > high ? high : i;
}

elm_tv elm_tv_slice(elm_trender *r, elm_tv v, elm_tv from, elm_tv to, elm_tv by) {
    bool text = v.type == ELM_TV_STRING;
    if (!text && !is_list(v) && v.type != ELM_TV_RANGE)
        return type_error(r, "[:]", v, elm_tv_none());
    int64_t size = elm_tv_length(r, v), step = 1;
    if (by.type != ELM_TV_NONE) step = bound_of(r, by, 0, -INT32_MAX, INT32_MAX, 1);
    if (step == 0) elm_tr_fail(r, ELM_INVALID_ARGUMENT, "a slice's step is 0");
    int64_t low = step > 0 ? 0 : -1, high = step > 0 ? size : size - 1;
    int64_t begin = bound_of(r, from, size, low, high, step > 0 ? low : high);
    int64_t end = bound_of(r, to, size, low, high, step > 0 ? high : low);
    if (r->status != ELM_OK) return elm_tv_none();
    if (text && step == 1) {
        if (end <= begin) return elm_tv_marked(elm_tv_literal(""), v);
        uint32_t first = elm_ts_offset(v.as.string, (uint32_t)begin),
                 stop = elm_ts_offset(v.as.string, (uint32_t)end);
        return elm_tv_marked(elm_tv_string(elm_ts_slice(v.as.string, first, stop)), v);
    }
    elm_tlist *items = elm_tv_iterate(r, v);
    elm_tv out = elm_tv_new_list(r, v.type == ELM_TV_TUPLE);
    for (int64_t i = begin; (step > 0 ? i < end : i > end) && elm_tr_step(r); i += step)
        elm_tv_append(r, out, items->items[i]);
    if (!text || r->status != ELM_OK) return out;
    return elm_tv_marked(elm_tv_join(r, out.as.list, elm_tv_literal("").as.string), v);
}
