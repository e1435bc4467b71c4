/* template_tests.c - tests (`x is name`), in jinja2's words; text. */
#include "text/template_ast.h"

#include <string.h>

static const char *const test_names[] = {
    "defined",     "undefined", "none",     "string",   "number", "integer", "float",   "boolean",
    "mapping",     "sequence",  "iterable", "callable", "true",   "false",   "odd",     "even",
    "divisibleby", "in",        "eq",       "equalto",  "==",     "ne",      "!=",      "lt",
    "<",           "le",        "<=",       "gt",       ">",      "ge",      ">=",      "lessthan",
    "greaterthan", "sameas",    "upper",    "lower",    "filter", "test",    "escaped", NULL};

bool elm_test_known(elm_tstr name) {
    for (const char *const *t = test_names; *t; t++) {
        if (elm_ts_is(name, *t)) return true;
    }
    return false;
}

static bool contains(elm_trender *r, elm_tv where, elm_tv what) {
    if (where.type == ELM_TV_DICT) return elm_tv_get(where.as.dict, what) != NULL;
    if (where.type == ELM_TV_STRING && what.type == ELM_TV_STRING)
        return elm_ts_find(where.as.string, what.as.string, 0) >= 0;
    if (where.type == ELM_TV_STRING) {
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "%s cannot be in a string", elm_tv_type_name(what));
        return false;
    }
    elm_tlist *l = elm_tv_iterate(r, where);
    for (uint32_t i = 0; i < l->n && elm_tr_step(r); i++) {
        if (elm_tv_equal(l->items[i], what)) return true;
    }
    return false;
}

static bool same_as(elm_tv a, elm_tv b) {
    return a.type == b.type &&
           (a.type == ELM_TV_LIST || a.type == ELM_TV_TUPLE ? a.as.list == b.as.list
            : a.type == ELM_TV_DICT                         ? a.as.dict == b.as.dict
                                                            : elm_tv_equal(a, b));
}

/* odd, even and divisibleby, as the remainder has it. */
static bool remainder_is(elm_trender *r, elm_tv v, elm_tv divisor, int64_t wanted) {
    elm_tv rest = elm_tv_binary(r, ELM_OP_MODULO, v, divisor);
    return r->status == ELM_OK && elm_tv_equal(rest, elm_tv_int(wanted));
}

bool elm_tv_test(elm_trender *r, elm_tstr t, elm_tv v, const elm_targs *args) {
    elm_tv other = elm_targ(args, 0, NULL, elm_tv_none());
    bool sequence = v.type == ELM_TV_LIST || v.type == ELM_TV_TUPLE || v.type == ELM_TV_STRING ||
                    v.type == ELM_TV_DICT || v.type == ELM_TV_RANGE;
    if (!elm_tr_step(r)) return false;
    if (elm_ts_is(t, "defined")) return v.type != ELM_TV_UNDEFINED;
    if (elm_ts_is(t, "undefined")) return v.type == ELM_TV_UNDEFINED;
    if (elm_ts_is(t, "none")) return v.type == ELM_TV_NONE;
    if (elm_ts_is(t, "string")) return v.type == ELM_TV_STRING;
    if (elm_ts_is(t, "number"))
        return v.type == ELM_TV_INT || v.type == ELM_TV_FLOAT || v.type == ELM_TV_BOOL;
    if (elm_ts_is(t, "integer")) return v.type == ELM_TV_INT;
    if (elm_ts_is(t, "float")) return v.type == ELM_TV_FLOAT;
    if (elm_ts_is(t, "boolean")) return v.type == ELM_TV_BOOL;
    if (elm_ts_is(t, "true")) return v.type == ELM_TV_BOOL && v.as.boolean;
    if (elm_ts_is(t, "false")) return v.type == ELM_TV_BOOL && !v.as.boolean;
    if (elm_ts_is(t, "mapping")) return v.type == ELM_TV_DICT;
    if (elm_ts_is(t, "sequence")) return sequence || v.type == ELM_TV_UNDEFINED;
    if (elm_ts_is(t, "iterable")) return sequence || v.type == ELM_TV_UNDEFINED;
    if (elm_ts_is(t, "callable")) /* jinja2's undefined can be called, and fails then */
        return (v.type >= ELM_TV_MACRO && v.type <= ELM_TV_JOINER) || v.type == ELM_TV_UNDEFINED;
    if (elm_ts_is(t, "escaped")) return v.type == ELM_TV_STRING && v.safe;
    if (elm_ts_is(t, "filter")) return v.type == ELM_TV_STRING && elm_filter_known(v.as.string);
    if (elm_ts_is(t, "test")) return v.type == ELM_TV_STRING && elm_test_known(v.as.string);
    if (elm_ts_is(t, "odd")) return remainder_is(r, v, elm_tv_int(2), 1);
    if (elm_ts_is(t, "even")) return remainder_is(r, v, elm_tv_int(2), 0);
    if (elm_ts_is(t, "divisibleby")) return remainder_is(r, v, other, 0);
    if (elm_ts_is(t, "in")) return contains(r, other, v);
    if (elm_ts_is(t, "eq") || elm_ts_is(t, "equalto") || elm_ts_is(t, "=="))
        return elm_tv_equal(v, other);
    if (elm_ts_is(t, "ne") || elm_ts_is(t, "!=")) return !elm_tv_equal(v, other);
    if (elm_ts_is(t, "lt") || elm_ts_is(t, "<") || elm_ts_is(t, "lessthan"))
        return elm_tv_compare(r, v, other) < 0;
    if (elm_ts_is(t, "le") || elm_ts_is(t, "<=")) return elm_tv_compare(r, v, other) <= 0;
    if (elm_ts_is(t, "gt") || elm_ts_is(t, ">") || elm_ts_is(t, "greaterthan"))
        return elm_tv_compare(r, v, other) > 0;
    if (elm_ts_is(t, "ge") || elm_ts_is(t, ">=")) return elm_tv_compare(r, v, other) >= 0;
    if (elm_ts_is(t, "sameas")) return same_as(v, other);
    if (!elm_test_known(t)) {
        elm_tr_fail(r, ELM_UNSUPPORTED, "test '%.*s' is not supported",
                    (int)(t.size < 40 ? t.size : 40), (const char *)t.data);
        return false;
    }
    const char *method = elm_ts_is(t, "upper") ? "isupper" : "islower";
    elm_tv text = elm_tv_string(elm_tv_str(r, v));
    return elm_tv_truth(elm_tv_method(r, text, elm_tv_literal(method).as.string, NULL));
}
