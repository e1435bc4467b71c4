/* template_numbers.c - filters that make numbers or take them, in jinja2's words; text. */
#include "text/template_filters.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

static elm_tv absolute(elm_trender *r, elm_tv v, const elm_targs *args) {
    (void)args;
    if (v.type == ELM_TV_BOOL) return elm_tv_int(v.as.boolean);
    if (v.type == ELM_TV_INT) return v.as.integer < 0 ? elm_tv_negate(r, v) : v;
    if (v.type == ELM_TV_FLOAT) return elm_tv_float(fabs(v.as.number));
    elm_tr_fail(r, ELM_INVALID_ARGUMENT, "abs takes a number");
    return v;
}

const elm_tfilter elm_number_filters[] = {
    {"int", to_int},   {"float", to_float},           {"round", rounded},
    {"abs", absolute}, {"filesizeformat", file_size}, {NULL, NULL}};
