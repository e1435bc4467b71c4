/* template_filters.c - filters of text and numbers, and the call by name, in jinja2's words; text.
 */
#include "text/template_filters.h"

#include "text/template_methods.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TEXT_BYTES = 16 << 20 };

static elm_tv call_method(elm_trender *r, elm_tv v, const char *name, const elm_targs *args) {
    elm_tv s = elm_tv_string(elm_tv_str(r, v));
    return elm_tv_method(r, s, elm_tv_literal(name).as.string, args);
}

static elm_tv indent(elm_trender *r, elm_tv v, const elm_targs *args) {
    elm_tv width = elm_targ(args, 0, "width", elm_tv_int(4)), pieces = elm_tv_new_list(r, false);
    bool first = elm_tv_truth(elm_targ(args, 1, "first", elm_tv_bool(false)));
    bool blank = elm_tv_truth(elm_targ(args, 2, "blank", elm_tv_bool(false)));
    static const uint8_t spaces[] =
        "                                                                ";
    elm_tstr s = elm_tv_str(r, v), pad = {spaces, 0, ELM_PART_TEMPLATE, NULL};
    elm_tstr line_feed = {(const uint8_t *)"\n", 1, s.map ? s.map[0] : s.origin, NULL};
    if (width.type == ELM_TV_STRING) pad = width.as.string;
    if (width.type == ELM_TV_INT && width.as.integer > (int64_t)sizeof spaces - 1)
        elm_tr_fail(r, ELM_UNSUPPORTED, "indent by more than %zu is not supported",
                    sizeof spaces - 1);
    if (width.type == ELM_TV_INT && width.as.integer > 0) pad.size = (uint32_t)width.as.integer;
    if (s.size == 0 && first) return elm_tv_string(pad);
    for (uint32_t at = 0, line = 0; at < s.size && elm_tr_step(r); line++) {
        uint32_t end = at, size = 0;
        while (end < s.size && (size = elm_line_end(s, end)) == 0) end++;
        bool wanted = line == 0 ? first : (blank || end > at);
        if (wanted) elm_tv_append(r, pieces, elm_tv_string(pad));
        elm_tv_append(r, pieces, elm_tv_string(elm_ts_slice(s, at, end)));
        if (size > 0) elm_tv_append(r, pieces, elm_tv_string(line_feed));
        at = end + size;
        if (at == s.size && size > 0 && blank) elm_tv_append(r, pieces, elm_tv_string(pad));
    }
    if (r->status != ELM_OK) return elm_tv_none();
    return elm_tv_join(r, pieces.as.list, elm_tv_literal("").as.string);
}

static void append_escaped(elm_buf *buf, elm_tstr s) {
    for (uint32_t i = 0; i < s.size; i++) {
        switch (s.data[i]) {
        case '&':
            elm_buf_str(buf, "&amp;");
            break;
        case '<':
            elm_buf_str(buf, "&lt;");
            break;
        case '>':
            elm_buf_str(buf, "&gt;");
            break;
        case '\'':
            elm_buf_str(buf, "&#39;");
            break;
        case '"':
            elm_buf_str(buf, "&#34;");
            break;
        default:
            elm_buf_u8(buf, s.data[i]);
            break;
        }
    }
}

static elm_tv escape(elm_trender *r, elm_tv v, const elm_targs *args) {
    (void)args;
    elm_buf buf;
    elm_buf_init(&buf, r->arena->alloc, MAX_TEXT_BYTES);
    append_escaped(&buf, elm_tv_str(r, v));
    elm_tstr out = elm_ts_from_buf(r, &buf);
    elm_buf_free(&buf);
    return elm_tv_string(out);
}

/* Whether no character of an attribute's name ends it: white space, / > = */
static bool is_attribute_name(elm_tv key) {
    if (key.type != ELM_TV_STRING) return false;
    for (uint32_t i = 0; i < key.as.string.size; i++) {
        uint8_t c = key.as.string.data[i];
        if (c > 0 && strchr(" \t\n\v\f\r/>=", c)) return false;
    }
    return true;
}

static elm_tv xml_attributes(elm_trender *r, elm_tv v, const elm_targs *args) {
    bool space = elm_tv_truth(elm_targ(args, 0, "autospace", elm_tv_bool(true)));
    elm_buf buf;
    if (v.type != ELM_TV_DICT) elm_tr_fail(r, ELM_INVALID_ARGUMENT, "xmlattr takes a dict");
    elm_buf_init(&buf, r->arena->alloc, MAX_TEXT_BYTES);
    for (uint32_t i = 0; r->status == ELM_OK && i < v.as.dict->n && elm_tr_step(r); i++) {
        elm_tv key = v.as.dict->keys[i], value = v.as.dict->values[i];
        if (value.type == ELM_TV_NONE || value.type == ELM_TV_UNDEFINED) continue;
        if (!is_attribute_name(key)) {
            elm_tr_fail(r, ELM_INVALID_ARGUMENT,
                        "xmlattr takes names without white space, '/', '>' and '='");
            break;
        }
        if (space || buf.size > 0) elm_buf_u8(&buf, ' ');
        append_escaped(&buf, key.as.string);
        elm_buf_str(&buf, "=\"");
        append_escaped(&buf, elm_tv_str(r, value));
        elm_buf_u8(&buf, '"');
    }
    elm_tstr out = elm_ts_from_buf(r, &buf);
    elm_buf_free(&buf);
    return elm_tv_string(out);
}

/* A number as Python's int() and float() take it: white space around, underscores between digits.
 * False when it is too long, or empty. */
static bool number_text(elm_tv v, char out[48]) {
    size_t n = 0;
    if (v.type != ELM_TV_STRING) return false;
    const uint8_t *s = v.as.string.data;
    uint32_t begin = 0, end = v.as.string.size;
    while (begin < end && strchr(" \t\n\r\v\f", s[begin])) begin++;
    while (end > begin && strchr(" \t\n\r\v\f", s[end - 1])) end--;
    for (uint32_t i = begin; i < end; i++) {
        bool between = i > begin && i + 1 < end && isxdigit(s[i - 1]) && isxdigit(s[i + 1]);
        if (s[i] == '_' && between) continue;
        if (n == 47 || s[i] == 0 || isspace(s[i])) return false;
        out[n++] = (char)s[i];
    }
    out[n] = 0;
    return n > 0;
}

static elm_tv to_int(elm_trender *r, elm_tv v, const elm_targs *args) {
    elm_tv def = elm_targ(args, 0, "default", elm_tv_int(0)),
           base = elm_targ(args, 1, "base", elm_tv_int(10));
    char text[48], *end;
    (void)r;
    if (v.type == ELM_TV_INT) return v;
    if (v.type == ELM_TV_BOOL) return elm_tv_int(v.as.boolean);
    if (v.type == ELM_TV_FLOAT)
        return fabs(v.as.number) < 9e18 ? elm_tv_int((int64_t)v.as.number) : def;
    bool known = base.type == ELM_TV_INT && base.as.integer >= 2 && base.as.integer <= 36;
    if (!known || !number_text(v, text)) return def;
    char *digits = text + (text[0] == '-' || text[0] == '+');
    int mark = base.as.integer == 16  ? 'x'
               : base.as.integer == 8 ? 'o'
               : base.as.integer == 2 ? 'b'
                                      : 0;
    if (mark && digits[0] == '0' && (digits[1] | 32) == mark)
        memmove(digits, digits + 2, strlen(digits) - 1);
    errno = 0;
    long long value = strtoll(text, &end, (int)base.as.integer);
    if (*end == 0 && errno == 0) return elm_tv_int(value);
    double real = strtod(text, &end);
    return *end == 0 && fabs(real) < 9e18 ? elm_tv_int((int64_t)real) : def;
}

/* float(v); false where Python refuses. */
static bool float_of(elm_tv v, double *out) {
    char text[48], *end;
    if (v.type == ELM_TV_FLOAT) return *out = v.as.number, true;
    if (v.type == ELM_TV_INT) return *out = (double)v.as.integer, true;
    if (v.type == ELM_TV_BOOL) return *out = (double)v.as.boolean, true;
    if (!number_text(v, text) || strpbrk(text, "xX(")) return false;
    *out = strtod(text, &end);
    return *end == 0;
}

static elm_tv to_float(elm_trender *r, elm_tv v, const elm_targs *args) {
    double value;
    (void)r;
    return float_of(v, &value) ? elm_tv_float(value)
                               : elm_targ(args, 0, "default", elm_tv_float(0.0));
}

static elm_tv file_size(elm_trender *r, elm_tv v, const elm_targs *args) {
    static const char prefixes[] = "kMGTPEZY";
    bool binary = elm_tv_truth(elm_targ(args, 0, "binary", elm_tv_bool(false)));
    double bytes, base = binary ? 1024 : 1000, unit = base;
    char text[400];
    if (!float_of(v, &bytes) || (isinf(bytes) && bytes < 0)) {
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "filesizeformat takes a number");
        return elm_tv_none();
    }
    if (bytes == 1) {
        snprintf(text, sizeof text, "1 Byte");
    } else if (bytes < base) {
        snprintf(text, sizeof text, "%.0f Bytes", trunc(bytes) + 0.0); /* no -0 */
    } else {
        size_t i = 0;
        /* Python compares with whole numbers: the double nearest to 1000^8 is below it. */
        for (unit *= base; i < 7 && !(bytes < unit || (i == 6 && bytes == 1e24)); i++) unit *= base;
        double shown = isnan(bytes) ? fabs(bytes) : base * bytes / unit; /* no -nan */
        snprintf(text, sizeof text, "%.1f %c%s", shown, binary && i == 0 ? 'K' : prefixes[i],
                 binary ? "iB" : "B");
    }
    elm_buf buf;
    elm_buf_init(&buf, r->arena->alloc, sizeof text);
    elm_buf_str(&buf, text);
    elm_tstr out = elm_ts_from_buf(r, &buf);
    elm_buf_free(&buf);
    return elm_tv_string(out);
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
    bool common = elm_tv_is_text(method, "common");
    if (v.type == ELM_TV_INT && common && digits >= 0) return v;
    double scale = pow(10.0, (double)digits);
    if (v.type == ELM_TV_INT && common) return elm_tv_int((int64_t)(nearbyint(x * scale) / scale));
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
    return elm_tv_tojson(r, v, width, elm_targ(args, 2, "separators", elm_tv_none()),
                         elm_tv_truth(elm_targ(args, 3, "sort_keys", elm_tv_bool(false))),
                         elm_tv_truth(ascii));
}

static elm_tv defaulted(elm_trender *r, elm_tv v, const elm_targs *args) {
    bool falsy = elm_tv_truth(elm_targ(args, 1, "boolean", elm_tv_bool(false)));
    (void)r;
    if (v.type == ELM_TV_UNDEFINED || (falsy && !elm_tv_truth(v)))
        return elm_targ(args, 0, "default_value", elm_tv_literal(""));
    return v;
}

static elm_tv length(elm_trender *r, elm_tv v, const elm_targs *args) {
    int64_t n = elm_tv_length(r, v);
    (void)args;
    if (n < 0) elm_tr_fail(r, ELM_INVALID_ARGUMENT, "%s has no length", elm_tv_type_name(v));
    return elm_tv_int(n);
}

static elm_tv absolute(elm_trender *r, elm_tv v, const elm_targs *args) {
    (void)args;
    if (v.type == ELM_TV_BOOL) return elm_tv_int(v.as.boolean);
    if (v.type == ELM_TV_INT) return v.as.integer < 0 ? elm_tv_negate(r, v) : v;
    if (v.type == ELM_TV_FLOAT) return elm_tv_float(fabs(v.as.number));
    elm_tr_fail(r, ELM_INVALID_ARGUMENT, "abs takes a number");
    return v;
}

/* The first words of a text that is longer than `length` and the leeway, and an ellipsis. */
static elm_tv truncate(elm_trender *r, elm_tv v, const elm_targs *args) {
    elm_tv size = elm_targ(args, 0, "length", elm_tv_int(255)),
           end = elm_targ(args, 2, "end", elm_tv_literal("...")),
           leeway = elm_targ(args, 3, "leeway", elm_tv_int(5));
    elm_tstr s = elm_tv_str(r, v), tail = elm_tv_str(r, end);
    bool kill = elm_tv_truth(elm_targ(args, 1, "killwords", elm_tv_bool(false)));
    if (leeway.type == ELM_TV_NONE) leeway = elm_tv_int(5);
    if (size.type != ELM_TV_INT || leeway.type != ELM_TV_INT ||
        size.as.integer < elm_ts_length(tail))
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "truncate takes lengths of at least that of its end");
    if (r->status != ELM_OK || elm_ts_length(s) <= size.as.integer + leeway.as.integer)
        return elm_tv_string(s);
    uint32_t stop = elm_ts_offset(s, (uint32_t)(size.as.integer - elm_ts_length(tail))), at = stop;
    while (!kill && at > 0 && s.data[at - 1] != ' ') at--;
    elm_tstr parts[2] = {elm_ts_slice(s, 0, kill || at == 0 ? stop : at - 1), tail};
    return elm_tv_string(elm_ts_concat(r, parts, 2));
}

static elm_tv urlencode(elm_trender *r, elm_tv v, const elm_targs *args) {
    elm_tstr s = elm_tv_str(r, v);
    elm_buf buf;
    (void)args;
    if (v.type == ELM_TV_DICT || v.type == ELM_TV_LIST)
        elm_tr_fail(r, ELM_UNSUPPORTED, "urlencode of %s is not supported", elm_tv_type_name(v));
    elm_buf_init(&buf, r->arena->alloc, MAX_TEXT_BYTES);
    for (uint32_t i = 0; i < s.size; i++) {
        bool plain = isalnum(s.data[i]) || (s.data[i] && strchr("_.-~/", s.data[i]));
        if (plain)
            elm_buf_u8(&buf, s.data[i]);
        else
            elm_buf_printf(&buf, "%%%02X", s.data[i]);
    }
    elm_tstr out = elm_ts_from_buf(r, &buf);
    elm_buf_free(&buf);
    return elm_tv_string(out);
}

static elm_tv formatted(elm_trender *r, elm_tv v, const elm_targs *args) {
    elm_tv tuple = elm_tv_new_list(r, true), named = {.type = ELM_TV_DICT, .as.dict = args->named};
    for (uint32_t i = 0; i < args->n; i++) elm_tv_append(r, tuple, args->items[i]);
    return r->status == ELM_OK ? elm_tv_percent(r, elm_tv_str(r, v), args->named ? named : tuple)
                               : v;
}

static elm_tv as_string(elm_trender *r, elm_tv v, const elm_targs *args) {
    (void)args;
    return elm_tv_string(elm_tv_str(r, v));
}

/* getattr: the values that templates see have none but their methods. */
static elm_tv attribute(elm_trender *r, elm_tv v, const elm_targs *args) {
    elm_tv name = elm_targ(args, 0, "name", elm_tv_none());
    bool has = v.type == ELM_TV_NAMESPACE || v.type >= ELM_TV_LOOP || v.type == ELM_TV_JOINER ||
               (name.type == ELM_TV_STRING && elm_tv_has_method(v, name.as.string));
    return has ? elm_tv_attribute(r, v, name, true) : elm_tv_undefined("an attribute");
}

static elm_tv word_count(elm_trender *r, elm_tv v, const elm_targs *args) {
    (void)args;
    return length(r, call_method(r, v, "split", NULL), NULL);
}

static elm_tv centered(elm_trender *r, elm_tv v, const elm_targs *args) {
    elm_tv width = elm_targ(args, 0, "width", elm_tv_int(80));
    elm_targs one = {&width, 1, NULL};
    return call_method(r, v, "center", &one);
}

/* Filters that are a method of the value's str(). */
static const char *const methods[][2] = {
    {"trim", "strip"},         {"upper", "upper"},           {"lower", "lower"},
    {"title", "title filter"}, {"capitalize", "capitalize"}, {"replace", "replace"}};

static const elm_tfilter filters[] = {{"tojson", json},
                                      {"length", length},
                                      {"count", length},
                                      {"default", defaulted},
                                      {"d", defaulted},
                                      {"safe", as_string},
                                      {"string", as_string},
                                      {"int", to_int},
                                      {"float", to_float},
                                      {"round", rounded},
                                      {"abs", absolute},
                                      {"indent", indent},
                                      {"escape", escape},
                                      {"e", escape},
                                      {"forceescape", escape},
                                      {"attr", attribute},
                                      {"wordcount", word_count},
                                      {"truncate", truncate},
                                      {"urlencode", urlencode},
                                      {"format", formatted},
                                      {"center", centered},
                                      {"xmlattr", xml_attributes},
                                      {"filesizeformat", file_size},
                                      {NULL, NULL}};

static const elm_tfilter *find(elm_tstr name) {
    const elm_tfilter *tables[] = {filters, elm_list_filters, elm_wrap_filters};
    for (int t = 0; t < 3; t++) {
        for (const elm_tfilter *f = tables[t]; f->name; f++) {
            if (elm_ts_is(name, f->name)) return f;
        }
    }
    return NULL;
}

static const char *method_of(elm_tstr name) {
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        if (elm_ts_is(name, methods[i][0])) return methods[i][1];
    }
    return NULL;
}

bool elm_filter_known(elm_tstr name) {
    return find(name) || method_of(name);
}

elm_tv elm_tv_filter(elm_trender *r, elm_tstr name, elm_tv v, const elm_targs *args) {
    const elm_tfilter *f = find(name);
    const char *method = f ? NULL : method_of(name);
    if (!elm_tr_step(r)) return elm_tv_none();
    if (f) return f->run(r, v, args);
    if (method) return call_method(r, v, method, args);
    elm_tr_fail(r, ELM_UNSUPPORTED, "an unknown filter");
    return elm_tv_none();
}
