/* template_filters.c - filters and tests, in jinja2's words; text. */
#include "text/template.h"
#include "text/template_value.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TEXT_BYTES = 16 << 20 };

static bool is(elm_tstr s, const char *text) {
    return s.size == strlen(text) && memcmp(s.data, text, s.size) == 0;
}

static elm_tv call_method(elm_trender *r, elm_tv v, const char *name, const elm_targs *args) {
    elm_tv s = elm_tv_string(elm_tv_str(r, v));
    return elm_tv_method(r, s, elm_tv_literal(name).as.string, args);
}

/* ---- lists ---- */

/* attribute "a.b.0" of an item, or the item itself. */
static elm_tv by_attribute(elm_trender *r, elm_tv item, elm_tv attribute) {
    if (attribute.type == ELM_TV_INT) return elm_tv_attribute(r, item, attribute, false);
    if (attribute.type != ELM_TV_STRING) return item;
    elm_tstr path = attribute.as.string;
    for (uint32_t at = 0; at <= path.size && r->status == ELM_OK;) {
        uint32_t end = at;
        while (end < path.size && path.data[end] != '.') end++;
        elm_tstr part = elm_ts_slice(path, at, end);
        bool number = part.size > 0 && part.data[0] >= '0' && part.data[0] <= '9';
        item = elm_tv_attribute(
            r, item, number ? elm_tv_int(part.data[0] - '0') : elm_tv_string(part), false);
        at = end + 1;
    }
    return item;
}

/* Rest of the arguments from `from` on. */
static elm_targs rest(const elm_targs *args, uint32_t from) {
    elm_targs out = *args;
    uint32_t skip = from < out.n ? from : out.n;
    out.items += skip;
    out.n -= skip;
    return out;
}

static elm_tv map(elm_trender *r, elm_tv v, const elm_targs *args) {
    elm_tlist *l = elm_tv_iterate(r, v);
    elm_tv out = elm_tv_new_list(r, false),
           attribute = elm_targ(args, UINT32_MAX, "attribute", elm_tv_none());
    elm_tv def = elm_targ(args, UINT32_MAX, "default", elm_tv_undefined("map"));
    elm_tv name = elm_targ(args, 0, NULL, elm_tv_none());
    elm_targs more = rest(args, 1);
    for (uint32_t i = 0; i < l->n && elm_tr_step(r); i++) {
        elm_tv item;
        if (attribute.type != ELM_TV_NONE) {
            item = by_attribute(r, l->items[i], attribute);
            if (item.type == ELM_TV_UNDEFINED) item = def.type == ELM_TV_UNDEFINED ? item : def;
        } else if (name.type == ELM_TV_STRING && elm_filter_known(name.as.string)) {
            item = elm_tv_filter(r, name.as.string, l->items[i], &more);
        } else {
            elm_tr_fail(r, ELM_UNSUPPORTED, "map needs an attribute or a known filter");
            break;
        }
        elm_tv_append(r, out, item);
    }
    return out;
}

/* select, reject, selectattr, rejectattr */
static elm_tv choose(elm_trender *r, elm_tv v, const elm_targs *args, bool wanted, bool attribute) {
    elm_tlist *l = elm_tv_iterate(r, v);
    elm_tv out = elm_tv_new_list(r, false);
    uint32_t at = attribute ? 1 : 0;
    elm_tv key = elm_targ(args, 0, NULL, elm_tv_none()),
           test = elm_targ(args, at, NULL, elm_tv_none());
    elm_targs more = rest(args, at + 1);
    if (test.type == ELM_TV_STRING && !elm_test_known(test.as.string))
        elm_tr_fail(r, ELM_UNSUPPORTED, "select by an unknown test");
    for (uint32_t i = 0; i < l->n && elm_tr_step(r); i++) {
        elm_tv item = attribute ? by_attribute(r, l->items[i], key) : l->items[i];
        bool good = test.type == ELM_TV_STRING ? elm_tv_test(r, test.as.string, item, &more)
                                               : elm_tv_truth(item);
        if (good == wanted) elm_tv_append(r, out, l->items[i]);
    }
    return out;
}

/* Keys compare without case unless they are asked to: jinja2's default. */
static elm_tv sort_key(elm_trender *r, elm_tv v, elm_tv attribute, bool case_sensitive) {
    elm_tv key = by_attribute(r, v, attribute);
    return key.type == ELM_TV_STRING && !case_sensitive ? call_method(r, key, "lower", NULL) : key;
}

static elm_tv sort(elm_trender *r, elm_tv v, bool reverse, bool case_sensitive, elm_tv attribute) {
    elm_tlist *l = elm_tv_iterate(r, v);
    elm_tv out = elm_tv_new_list(r, false), keys = elm_tv_new_list(r, false);
    for (uint32_t i = 0; i < l->n && elm_tr_step(r); i++) {
        elm_tv key = sort_key(r, l->items[i], attribute, case_sensitive);
        elm_tv_append(r, out, l->items[i]);
        elm_tv_append(r, keys, key);
        if (r->status != ELM_OK) break;
        elm_tv *items = out.as.list->items, *k = keys.as.list->items;
        uint32_t at = i;
        for (; at > 0 && elm_tr_step(r); at--) {
            int order = elm_tv_compare(r, k[at - 1], key);
            if (reverse ? order >= 0 : order <= 0) break;
            items[at] = items[at - 1];
            k[at] = k[at - 1];
        }
        items[at] = l->items[i];
        k[at] = key;
    }
    return out;
}

static elm_tv dict_sort(elm_trender *r, elm_tv v, const elm_targs *args) {
    elm_tv by = elm_targ(args, 1, "by", elm_tv_literal("key"));
    if (v.type != ELM_TV_DICT) {
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "dictsort takes a dict, not %s", elm_tv_type_name(v));
        return elm_tv_none();
    }
    elm_tv items = elm_tv_method(r, v, elm_tv_literal("items").as.string, NULL);
    return sort(r, items, elm_tv_truth(elm_targ(args, 2, "reverse", elm_tv_bool(false))),
                elm_tv_truth(elm_targ(args, 0, "case_sensitive", elm_tv_bool(false))),
                elm_tv_int(elm_tv_is_text(by, "value") ? 1 : 0));
}

static elm_tv reversed(elm_trender *r, elm_tv v) {
    elm_tlist *l = elm_tv_iterate(r, v);
    elm_tv out = elm_tv_new_list(r, false);
    for (uint32_t i = l->n; i > 0 && elm_tr_step(r); i--) elm_tv_append(r, out, l->items[i - 1]);
    if (v.type != ELM_TV_STRING || r->status != ELM_OK) return out;
    elm_targs one = {&out, 1, NULL};
    return elm_tv_method(r, elm_tv_literal(""), elm_tv_literal("join").as.string, &one);
}

static elm_tv unique(elm_trender *r, elm_tv v, elm_tv attribute) {
    elm_tlist *l = elm_tv_iterate(r, v);
    elm_tv out = elm_tv_new_list(r, false), keys = elm_tv_new_list(r, false);
    for (uint32_t i = 0; i < l->n && r->status == ELM_OK; i++) {
        elm_tv key = sort_key(r, l->items[i], attribute, false);
        bool seen = false;
        for (uint32_t k = 0; r->status == ELM_OK && k < keys.as.list->n && !seen && elm_tr_step(r);
             k++)
            seen = elm_tv_equal(keys.as.list->items[k], key);
        if (seen) continue;
        elm_tv_append(r, keys, key);
        elm_tv_append(r, out, l->items[i]);
    }
    return out;
}

static elm_tv extreme(elm_trender *r, elm_tv v, const elm_targs *args, int sign) {
    elm_tlist *l = elm_tv_iterate(r, v);
    elm_tv attribute = elm_targ(args, UINT32_MAX, "attribute", elm_tv_none());
    uint32_t best = 0;
    if (l->n == 0) return elm_tv_undefined("min or max of nothing");
    for (uint32_t i = 1; i < l->n && elm_tr_step(r); i++) {
        if (elm_tv_compare(r, sort_key(r, l->items[i], attribute, false),
                           sort_key(r, l->items[best], attribute, false)) == sign)
            best = i;
    }
    return l->items[best];
}

static elm_tv total(elm_trender *r, elm_tv v, const elm_targs *args) {
    elm_tlist *l = elm_tv_iterate(r, v);
    elm_tv attribute = elm_targ(args, 0, "attribute", elm_tv_none()),
           start = elm_targ(args, 1, "start", elm_tv_int(0));
    int64_t sum = start.type == ELM_TV_INT ? start.as.integer : 0;
    double real = 0.0;
    bool is_real = false;
    for (uint32_t i = 0; i < l->n && elm_tr_step(r); i++) {
        elm_tv item = by_attribute(r, l->items[i], attribute);
        if (item.type == ELM_TV_FLOAT)
            is_real = true, real += item.as.number;
        else if (item.type == ELM_TV_INT)
            sum += item.as.integer;
        else
            elm_tr_fail(r, ELM_INVALID_ARGUMENT, "sum of %s", elm_tv_type_name(item));
    }
    return is_real ? elm_tv_float(real + (double)sum) : elm_tv_int(sum);
}

static elm_tv batch(elm_trender *r, elm_tv v, const elm_targs *args) {
    elm_tlist *l = elm_tv_iterate(r, v);
    elm_tv out = elm_tv_new_list(r, false), size = elm_targ(args, 0, "linecount", elm_tv_int(0)),
           row = elm_tv_none();
    if (size.type != ELM_TV_INT || size.as.integer < 1)
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "batch takes a size from 1");
    for (uint32_t i = 0; i < l->n && elm_tr_step(r); i++) {
        if (i % (uint64_t)size.as.integer == 0) {
            row = elm_tv_new_list(r, false);
            elm_tv_append(r, out, row);
        }
        elm_tv_append(r, row, l->items[i]);
    }
    return out;
}

/* ---- text and numbers ---- */

static elm_tv indent(elm_trender *r, elm_tv v, const elm_targs *args) {
    elm_tv width = elm_targ(args, 0, "width", elm_tv_int(4));
    bool first = elm_tv_truth(elm_targ(args, 1, "first", elm_tv_bool(false)));
    bool blank = elm_tv_truth(elm_targ(args, 2, "blank", elm_tv_bool(false)));
    elm_tstr s = elm_tv_str(r, v), pad = {(const uint8_t *)"", 0, ELM_PART_TEMPLATE, NULL};
    if (width.type == ELM_TV_STRING)
        pad = width.as.string;
    else if (width.type == ELM_TV_INT && width.as.integer > 0 && width.as.integer <= 1024) {
        uint8_t *spaces = elm_tr_alloc(r, (size_t)width.as.integer);
        if (r->status != ELM_OK) return elm_tv_none();
        memset(spaces, ' ', (size_t)width.as.integer);
        pad = (elm_tstr){spaces, (uint32_t)width.as.integer, ELM_PART_TEMPLATE, NULL};
    }
    elm_tv pieces = elm_tv_new_list(r, false);
    for (uint32_t at = 0, line = 0; r->status == ELM_OK; line++) {
        uint32_t end = at;
        while (end < s.size && s.data[end] != '\n') end++;
        bool wanted = line == 0 ? first : (blank || end > at);
        if (wanted) elm_tv_append(r, pieces, elm_tv_string(pad));
        uint32_t stop = end < s.size ? end + 1 : end;
        elm_tv_append(r, pieces, elm_tv_string(elm_ts_slice(s, at, stop)));
        if (end >= s.size || !elm_tr_step(r)) break;
        at = stop;
    }
    elm_targs one = {&pieces, 1, NULL};
    return elm_tv_method(r, elm_tv_literal(""), elm_tv_literal("join").as.string, &one);
}

static elm_tv escape(elm_trender *r, elm_tv v) {
    elm_tstr s = elm_tv_str(r, v);
    elm_buf buf;
    elm_buf_init(&buf, r->arena->alloc, MAX_TEXT_BYTES);
    for (uint32_t i = 0; i < s.size; i++) {
        switch (s.data[i]) {
        case '&':
            elm_buf_str(&buf, "&amp;");
            break;
        case '<':
            elm_buf_str(&buf, "&lt;");
            break;
        case '>':
            elm_buf_str(&buf, "&gt;");
            break;
        case '\'':
            elm_buf_str(&buf, "&#39;");
            break;
        case '"':
            elm_buf_str(&buf, "&#34;");
            break;
        default:
            elm_buf_u8(&buf, s.data[i]);
            break;
        }
    }
    elm_tstr out = elm_ts_from_buf(r, &buf);
    elm_buf_free(&buf);
    return elm_tv_string(out);
}

static elm_tv to_int(elm_trender *r, elm_tv v, const elm_targs *args) {
    elm_tv def = elm_targ(args, 0, "default", elm_tv_int(0));
    if (v.type == ELM_TV_INT) return v;
    if (v.type == ELM_TV_BOOL) return elm_tv_int(v.as.boolean);
    if (v.type == ELM_TV_FLOAT)
        return fabs(v.as.number) < 9e18 ? elm_tv_int((int64_t)v.as.number) : def;
    if (v.type != ELM_TV_STRING || v.as.string.size == 0 || v.as.string.size > 40) return def;
    char text[48], *end;
    memcpy(text, v.as.string.data, v.as.string.size);
    text[v.as.string.size] = 0;
    long long value = strtoll(text, &end, 10);
    if (*end == 0) return elm_tv_int(value);
    double real = strtod(text, &end);
    (void)r;
    return *end == 0 && fabs(real) < 9e18 ? elm_tv_int((int64_t)real) : def;
}

static elm_tv to_float(elm_tv v, const elm_targs *args) {
    elm_tv def = elm_targ(args, 0, "default", elm_tv_float(0.0));
    if (v.type == ELM_TV_FLOAT) return v;
    if (v.type == ELM_TV_INT) return elm_tv_float((double)v.as.integer);
    if (v.type == ELM_TV_BOOL) return elm_tv_float((double)v.as.boolean);
    if (v.type != ELM_TV_STRING || v.as.string.size == 0 || v.as.string.size > 40) return def;
    char text[48], *end;
    memcpy(text, v.as.string.data, v.as.string.size);
    text[v.as.string.size] = 0;
    double value = strtod(text, &end);
    return *end == 0 ? elm_tv_float(value) : def;
}

static elm_tv rounded(elm_trender *r, elm_tv v, const elm_targs *args) {
    elm_tv precision = elm_targ(args, 0, "precision", elm_tv_int(0)),
           method = elm_targ(args, 1, "method", elm_tv_literal("common"));
    double x = v.type == ELM_TV_INT ? (double)v.as.integer : v.as.number;
    int64_t digits = precision.type == ELM_TV_INT ? precision.as.integer : 0;
    if ((v.type != ELM_TV_INT && v.type != ELM_TV_FLOAT) || digits < -18 || digits > 18) {
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "round takes a number");
        return elm_tv_none();
    }
    double scale = pow(10.0, (double)digits);
    if (elm_tv_is_text(method, "ceil")) return elm_tv_float(ceil(x * scale) / scale);
    if (elm_tv_is_text(method, "floor")) return elm_tv_float(floor(x * scale) / scale);
    char text[400];
    snprintf(text, sizeof text, "%.*f", digits > 0 ? (int)digits : 0,
             digits < 0 ? nearbyint(x * scale) / scale : x);
    return elm_tv_float(strtod(text, NULL));
}

static elm_tv json(elm_trender *r, elm_tv v, const elm_targs *args) {
    elm_tv width = elm_targ(args, 1, "indent", elm_tv_none());
    elm_tv ascii = elm_targ(args, 0, "ensure_ascii", elm_tv_bool(false));
    return elm_tv_tojson(r, v, width.type == ELM_TV_INT ? width.as.integer : -1,
                         elm_targ(args, 2, "separators", elm_tv_none()),
                         elm_tv_truth(elm_targ(args, 3, "sort_keys", elm_tv_bool(false))),
                         elm_tv_truth(ascii));
}

static elm_tv defaulted(elm_tv v, const elm_targs *args) {
    bool falsy = elm_tv_truth(elm_targ(args, 1, "boolean", elm_tv_bool(false)));
    if (v.type == ELM_TV_UNDEFINED || (falsy && !elm_tv_truth(v))) {
        return elm_targ(args, 0, "default_value", elm_tv_literal(""));
    }
    return v;
}

static elm_tv length(elm_trender *r, elm_tv v) {
    int64_t n = elm_tv_length(v);
    if (n < 0) elm_tr_fail(r, ELM_INVALID_ARGUMENT, "%s has no length", elm_tv_type_name(v));
    return elm_tv_int(n);
}

static elm_tv edge(elm_trender *r, elm_tv v, bool last) {
    elm_tlist *l = elm_tv_iterate(r, v);
    if (l->n == 0)
        return elm_tv_undefined(last ? "the last item of nothing" : "the first item of nothing");
    return l->items[last ? l->n - 1 : 0];
}

static elm_tv joined(elm_trender *r, elm_tv v, const elm_targs *args) {
    elm_tv separator = elm_targ(args, 0, "d", elm_tv_literal("")),
           attribute = elm_targ(args, 1, "attribute", elm_tv_none());
    elm_tlist *l = elm_tv_iterate(r, v);
    elm_tv items = elm_tv_new_list(r, false);
    for (uint32_t i = 0; i < l->n && elm_tr_step(r); i++)
        elm_tv_append(r, items, by_attribute(r, l->items[i], attribute));
    elm_targs one = {&items, 1, NULL};
    return elm_tv_method(r, elm_tv_string(elm_tv_str(r, separator)),
                         elm_tv_literal("join").as.string, &one);
}

static elm_tv as_list(elm_trender *r, elm_tv v) {
    elm_tlist *l = elm_tv_iterate(r, v);
    elm_tv out = elm_tv_new_list(r, false);
    for (uint32_t i = 0; i < l->n && elm_tr_step(r); i++) elm_tv_append(r, out, l->items[i]);
    return out;
}

static elm_tv items_of(elm_trender *r, elm_tv v) {
    if (v.type == ELM_TV_UNDEFINED) return elm_tv_new_list(r, false);
    return elm_tv_method(r, v, elm_tv_literal("items").as.string, NULL);
}

static elm_tv absolute(elm_trender *r, elm_tv v) {
    if (v.type == ELM_TV_INT) return elm_tv_int(v.as.integer < 0 ? -v.as.integer : v.as.integer);
    if (v.type == ELM_TV_FLOAT) return elm_tv_float(fabs(v.as.number));
    elm_tr_fail(r, ELM_INVALID_ARGUMENT, "abs takes a number");
    return v;
}

/* ---- the list of filters ---- */

static const char *const filter_names[] = {
    "tojson",     "trim",       "length",     "count", "items",     "dictsort", "upper",
    "lower",      "title",      "capitalize", "list",  "map",       "select",   "reject",
    "selectattr", "rejectattr", "default",    "d",     "safe",      "string",   "int",
    "float",      "round",      "abs",        "join",  "replace",   "first",    "last",
    "reverse",    "sort",       "unique",     "sum",   "min",       "max",      "batch",
    "indent",     "escape",     "e",          "attr",  "wordcount", NULL};

bool elm_filter_known(elm_tstr name) {
    for (const char *const *f = filter_names; *f; f++) {
        if (is(name, *f)) return true;
    }
    return false;
}

elm_tv elm_tv_filter(elm_trender *r, elm_tstr f, elm_tv v, const elm_targs *args) {
    elm_tv none = elm_tv_none();
    if (!elm_tr_step(r)) return none;
    if (is(f, "tojson")) return json(r, v, args);
    if (is(f, "trim")) return call_method(r, v, "strip", args);
    if (is(f, "length") || is(f, "count")) return length(r, v);
    if (is(f, "items")) return items_of(r, v);
    if (is(f, "dictsort")) return dict_sort(r, v, args);
    if (is(f, "upper")) return call_method(r, v, "upper", NULL);
    if (is(f, "lower")) return call_method(r, v, "lower", NULL);
    if (is(f, "title")) return call_method(r, v, "title", NULL);
    if (is(f, "capitalize")) return call_method(r, v, "capitalize", NULL);
    if (is(f, "list")) return as_list(r, v);
    if (is(f, "map")) return map(r, v, args);
    if (is(f, "select")) return choose(r, v, args, true, false);
    if (is(f, "reject")) return choose(r, v, args, false, false);
    if (is(f, "selectattr")) return choose(r, v, args, true, true);
    if (is(f, "rejectattr")) return choose(r, v, args, false, true);
    if (is(f, "default") || is(f, "d")) return defaulted(v, args);
    if (is(f, "safe") || is(f, "string")) return elm_tv_string(elm_tv_str(r, v));
    if (is(f, "int")) return to_int(r, v, args);
    if (is(f, "float")) return to_float(v, args);
    if (is(f, "round")) return rounded(r, v, args);
    if (is(f, "abs")) return absolute(r, v);
    if (is(f, "join")) return joined(r, v, args);
    if (is(f, "replace")) return call_method(r, v, "replace", args);
    if (is(f, "first")) return edge(r, v, false);
    if (is(f, "last")) return edge(r, v, true);
    if (is(f, "reverse")) return reversed(r, v);
    if (is(f, "sort")) {
        return sort(r, v, elm_tv_truth(elm_targ(args, 0, "reverse", elm_tv_bool(false))),
                    elm_tv_truth(elm_targ(args, 1, "case_sensitive", elm_tv_bool(false))),
                    elm_targ(args, 2, "attribute", none));
    }
    if (is(f, "unique")) return unique(r, v, elm_targ(args, 1, "attribute", none));
    if (is(f, "sum")) return total(r, v, args);
    if (is(f, "min")) return extreme(r, v, args, -1);
    if (is(f, "max")) return extreme(r, v, args, 1);
    if (is(f, "batch")) return batch(r, v, args);
    if (is(f, "indent")) return indent(r, v, args);
    if (is(f, "escape") || is(f, "e")) return escape(r, v);
    if (is(f, "attr")) return elm_tv_attribute(r, v, elm_targ(args, 0, "name", none), true);
    if (is(f, "wordcount")) return length(r, call_method(r, v, "split", NULL));
    elm_tr_fail(r, ELM_UNSUPPORTED, "an unknown filter");
    return none;
}

/* ---- tests ---- */

static const char *const test_names[] = {
    "defined",     "undefined", "none",     "string",   "number", "integer", "float", "boolean",
    "mapping",     "sequence",  "iterable", "callable", "true",   "false",   "odd",   "even",
    "divisibleby", "in",        "eq",       "equalto",  "==",     "ne",      "!=",    "lt",
    "<",           "le",        "<=",       "gt",       ">",      "ge",      ">=",    "lessthan",
    "greaterthan", "sameas",    "upper",    "lower",    NULL};

bool elm_test_known(elm_tstr name) {
    for (const char *const *t = test_names; *t; t++) {
        if (is(name, *t)) return true;
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

static bool number_test(elm_trender *r, elm_tstr t, elm_tv v, elm_tv other) {
    if (v.type != ELM_TV_INT) {
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "%s is not an integer", elm_tv_type_name(v));
        return false;
    }
    if (is(t, "odd")) return v.as.integer % 2 != 0;
    if (is(t, "even")) return v.as.integer % 2 == 0;
    return other.type == ELM_TV_INT && other.as.integer != 0 &&
           v.as.integer % other.as.integer == 0;
}

bool elm_tv_test(elm_trender *r, elm_tstr t, elm_tv v, const elm_targs *args) {
    elm_tv other = elm_targ(args, 0, NULL, elm_tv_none());
    bool sequence = v.type == ELM_TV_LIST || v.type == ELM_TV_TUPLE || v.type == ELM_TV_STRING ||
                    v.type == ELM_TV_DICT;
    if (!elm_tr_step(r)) return false;
    if (is(t, "defined")) return v.type != ELM_TV_UNDEFINED;
    if (is(t, "undefined")) return v.type == ELM_TV_UNDEFINED;
    if (is(t, "none")) return v.type == ELM_TV_NONE;
    if (is(t, "string")) return v.type == ELM_TV_STRING;
    if (is(t, "number"))
        return v.type == ELM_TV_INT || v.type == ELM_TV_FLOAT || v.type == ELM_TV_BOOL;
    if (is(t, "integer")) return v.type == ELM_TV_INT;
    if (is(t, "float")) return v.type == ELM_TV_FLOAT;
    if (is(t, "boolean")) return v.type == ELM_TV_BOOL;
    if (is(t, "true")) return v.type == ELM_TV_BOOL && v.as.boolean;
    if (is(t, "false")) return v.type == ELM_TV_BOOL && !v.as.boolean;
    if (is(t, "mapping")) return v.type == ELM_TV_DICT;
    if (is(t, "sequence")) return sequence || v.type == ELM_TV_UNDEFINED;
    if (is(t, "iterable")) return sequence || v.type == ELM_TV_UNDEFINED;
    if (is(t, "callable")) return v.type >= ELM_TV_MACRO;
    if (is(t, "odd") || is(t, "even") || is(t, "divisibleby")) return number_test(r, t, v, other);
    if (is(t, "in")) return contains(r, other, v);
    if (is(t, "eq") || is(t, "equalto") || is(t, "==")) return elm_tv_equal(v, other);
    if (is(t, "ne") || is(t, "!=")) return !elm_tv_equal(v, other);
    if (is(t, "lt") || is(t, "<") || is(t, "lessthan")) return elm_tv_compare(r, v, other) < 0;
    if (is(t, "le") || is(t, "<=")) return elm_tv_compare(r, v, other) <= 0;
    if (is(t, "gt") || is(t, ">") || is(t, "greaterthan")) return elm_tv_compare(r, v, other) > 0;
    if (is(t, "ge") || is(t, ">=")) return elm_tv_compare(r, v, other) >= 0;
    if (is(t, "sameas")) return same_as(v, other);
    elm_tv changed = call_method(r, v, is(t, "upper") ? "isupper" : "islower", NULL);
    return elm_tv_truth(changed);
}
