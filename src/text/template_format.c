/* template_format.c - Python's two ways to format: "%s" % values and "{}".format(values); text.
 *
 *   %[(name)][flags][width][.precision]conversion      {[name or
 * number][!r][:[[fill]align][sign][#][0] [width][,][.precision][type]]} */
#include "text/template_value.h"

#include <stdio.h>
#include <string.h>

enum { MAX_WIDTH = 1024, MAX_PIECE = 1500 };

typedef struct spec {
    elm_tstr fill; /* one character */
    char align;    /* < > ^ =, 0: by type */
    char sign, type;
    bool alternate, zero, comma;
    int32_t width, precision; /* precision -1: none */
} spec;

static elm_tv fail(elm_trender *r, const char *what) {
    elm_tr_fail(r, ELM_INVALID_ARGUMENT, "format: %s", what);
    return elm_tv_none();
}

static elm_tstr short_text(elm_trender *r, const char *text) {
    elm_buf buf;
    elm_buf_init(&buf, r->arena->alloc, MAX_PIECE);
    elm_buf_str(&buf, text);
    elm_tstr out = elm_ts_from_buf(r, &buf);
    elm_buf_free(&buf);
    return out;
}

/* ---- one value ---- */

static int32_t take_number(elm_tstr s, uint32_t *at) {
    int32_t n = -1;
    for (; *at < s.size && s.data[*at] >= '0' && s.data[*at] <= '9'; ++*at) {
        if (n < 0) n = 0;
        if (n <= MAX_WIDTH) n = n * 10 + (s.data[*at] - '0');
    }
    return n;
}

static void group_thousands(char *text, size_t capacity) {
    size_t first = text[0] == '-' || text[0] == '+' || text[0] == ' ', end = first;
    while (text[end] >= '0' && text[end] <= '9') end++;
    for (size_t at = end; at > first + 3 && strlen(text) + 2 < capacity;) {
        at -= 3;
        memmove(text + at + 1, text + at, strlen(text + at) + 1);
        text[at] = ',';
    }
}

static bool is_integer(elm_tv v) {
    return v.type == ELM_TV_INT || v.type == ELM_TV_BOOL;
}

/* A number by C's printf, which agrees with Python on these. */
static elm_tstr number_text(elm_trender *r, const spec *f, elm_tv v) {
    char form[16], text[MAX_PIECE];
    char sign[2] = {f->sign == '-' ? 0 : f->sign, 0};
    int precision = f->precision < 0 ? 6 : f->precision > 300 ? 300 : f->precision;
    int64_t i = v.type == ELM_TV_INT    ? v.as.integer
                : v.type == ELM_TV_BOOL ? v.as.boolean
                                        : (int64_t)0;
    double d = v.type == ELM_TV_FLOAT ? v.as.number : (double)i;
    if (strchr("eEfFgG%", f->type)) {
        snprintf(form, sizeof form, "%%%s%s.*%c%s", sign, f->alternate ? "#" : "",
                 f->type == '%' ? 'f' : f->type, f->type == '%' ? "%%" : "");
        snprintf(text, sizeof text, form, precision, f->type == '%' ? d * 100 : d);
    } else if (strchr("xXo", f->type)) {
        uint64_t magnitude = i < 0 ? (uint64_t)0 - (uint64_t)i : (uint64_t)i;
        const char *mark = !f->alternate    ? ""
                           : f->type == 'o' ? "0o"
                           : f->type == 'x' ? "0x"
                                            : "0X";
        snprintf(form, sizeof form, "%%s%%s%%ll%c", f->type);
        snprintf(text, sizeof text, form, i < 0 ? "-" : sign, mark, (unsigned long long)magnitude);
    } else {
        snprintf(form, sizeof form, "%%%slld", sign);
        snprintf(text, sizeof text, form, (long long)i);
    }
    if (f->comma) group_thousands(text, sizeof text);
    return short_text(r, text);
}

/* Fills up to the width; a sign stays in front of zeros. */
static elm_tv pad(elm_trender *r, const spec *f, elm_tstr s, bool number) {
    int64_t missing = f->width - (int64_t)elm_ts_length(s);
    char align = f->align ? f->align : number ? '>' : '<';
    if (missing <= 0 || r->status != ELM_OK) return elm_tv_string(s);
    int64_t left = align == '<' ? 0 : align == '^' ? missing / 2 : missing;
    elm_tv fill = elm_tv_string(f->fill);
    elm_tv list = elm_tv_new_list(r, false);
    uint32_t sign = align == '=' && s.size > 0 && (s.data[0] == '-' || s.data[0] == '+');
    elm_tv_append(r, list, elm_tv_string(elm_ts_slice(s, 0, sign)));
    for (int64_t i = 0; i < left; i++) elm_tv_append(r, list, fill);
    elm_tv_append(r, list, elm_tv_string(elm_ts_slice(s, sign, s.size)));
    for (int64_t i = left; i < missing; i++) elm_tv_append(r, list, fill);
    if (r->status != ELM_OK) return elm_tv_none();
    return elm_tv_join(r, list.as.list, elm_tv_literal("").as.string);
}

static elm_tv cut(elm_trender *r, const spec *f, elm_tstr s) {
    if (f->precision >= 0) s = elm_ts_slice(s, 0, elm_ts_offset(s, (uint32_t)f->precision));
    return pad(r, f, s, false);
}

static elm_tstr repr_of(elm_trender *r, elm_tv v) {
    elm_buf buf;
    elm_buf_init(&buf, r->arena->alloc, 1 << 20);
    elm_tv_repr(r, v, &buf);
    elm_tstr out = elm_ts_from_buf(r, &buf);
    elm_buf_free(&buf);
    return out;
}

/* ---- "%" ---- */

typedef struct percent {
    elm_tv values;
    uint32_t used;
    bool named;
} percent;

static elm_tv next_value(elm_trender *r, percent *p, elm_tstr name) {
    if (name.data) {
        const elm_tv *v = p->values.type == ELM_TV_DICT
                              ? elm_tv_get(p->values.as.dict, elm_tv_string(name))
                              : NULL;
        p->named = true;
        return v ? *v : fail(r, "no value of that name");
    }
    bool tuple = p->values.type == ELM_TV_TUPLE;
    if (p->used >= (tuple ? p->values.as.list->n : 1)) return fail(r, "too few values");
    return tuple ? p->values.as.list->items[p->used++] : (p->used++, p->values);
}

/* One conversion, behind its %. */
static elm_tv conversion(elm_trender *r, percent *p, elm_tstr s, uint32_t *at) {
    spec f = {.fill = elm_tv_literal(" ").as.string, .precision = -1};
    elm_tstr name = {NULL, 0, 0, NULL};
    if (*at < s.size && s.data[*at] == '(') {
        uint32_t begin = ++*at;
        while (*at < s.size && s.data[*at] != ')') ++*at;
        name = elm_ts_slice(s, begin, *at);
        if (*at < s.size) ++*at;
    }
    for (; *at < s.size && strchr("#0- +", s.data[*at]); ++*at) {
        uint8_t c = s.data[*at];
        f.alternate = f.alternate || c == '#';
        f.zero = f.zero || c == '0';
        if (c == '-') f.align = '<';
        if (c == '+' || (c == ' ' && f.sign != '+')) f.sign = (char)c;
    }
    f.width = take_number(s, at);
    if (*at < s.size && s.data[*at] == '.') {
        ++*at;
        f.precision = take_number(s, at);
        if (f.precision < 0) f.precision = 0;
    }
    if (*at >= s.size || f.width > MAX_WIDTH) return fail(r, "an incomplete conversion");
    f.type = (char)s.data[(*at)++];
    if (f.type == '%') return elm_tv_literal("%");
    elm_tv v = next_value(r, p, name);
    if (r->status != ELM_OK) return v;
    if (f.type == 's') return f.align = f.align ? f.align : '>', cut(r, &f, elm_tv_str(r, v));
    if (f.type == 'r') return f.align = f.align ? f.align : '>', cut(r, &f, repr_of(r, v));
    if (f.type == 'c' && v.type == ELM_TV_STRING && elm_ts_length(v.as.string) == 1) return v;
    if (!strchr("diuxXoeEfFgG", f.type)) return fail(r, "an unknown conversion");
    if (!is_integer(v) && v.type != ELM_TV_FLOAT) return fail(r, "a conversion takes a number");
    if (strchr("diuxXo", f.type) && v.type == ELM_TV_FLOAT) v = elm_tv_int((int64_t)v.as.number);
    if (f.zero && !f.align) f.fill = elm_tv_literal("0").as.string, f.align = '=';
    if (strchr("iu", f.type)) f.type = 'd';
    return pad(r, &f, number_text(r, &f, v), true);
}

elm_tv elm_tv_percent(elm_trender *r, elm_tv format, elm_tv values) {
    elm_tstr s = format.as.string;
    percent p = {.values = format.safe ? elm_tv_escape_all(r, values) : values};
    elm_tv pieces = elm_tv_new_list(r, false);
    uint32_t done = 0;
    for (uint32_t at = 0; at < s.size && r->status == ELM_OK;) {
        if (s.data[at++] != '%') continue;
        elm_tv_append(r, pieces, elm_tv_string(elm_ts_slice(s, done, at - 1)));
        elm_tv_append(r, pieces, conversion(r, &p, s, &at));
        done = at;
    }
    uint32_t given = values.type == ELM_TV_TUPLE ? values.as.list->n : 1;
    bool spare = values.type == ELM_TV_DICT || values.type == ELM_TV_LIST;
    if (r->status == ELM_OK && !p.named && !spare && p.used < given)
        return fail(r, "too many values");
    elm_tv_append(r, pieces, elm_tv_string(elm_ts_slice(s, done, s.size)));
    if (r->status != ELM_OK) return elm_tv_none();
    return elm_tv_marked(elm_tv_join(r, pieces.as.list, elm_tv_literal("").as.string), format);
}

/* ---- format() ---- */

static bool is_align(uint8_t c) {
    return c == '<' || c == '>' || c == '^' || c == '=';
}

static spec parse_spec(elm_trender *r, elm_tstr s) {
    spec f = {.fill = elm_tv_literal(" ").as.string, .precision = -1};
    uint32_t at = 0, first = s.size > 0 ? elm_ts_offset(s, 1) : 0;
    if (first > 0 && first < s.size && is_align(s.data[first])) {
        f.fill = elm_ts_slice(s, 0, first);
        f.align = (char)s.data[first];
        at = first + 1;
    } else if (s.size > 0 && is_align(s.data[0])) {
        f.align = (char)s.data[at++];
    }
    if (at < s.size && strchr("+- ", s.data[at])) f.sign = (char)s.data[at++];
    if (at < s.size && s.data[at] == '#') f.alternate = true, at++;
    if (at < s.size && s.data[at] == '0') f.zero = true, at++;
    f.width = take_number(s, &at);
    if (at < s.size && s.data[at] == ',') f.comma = true, at++;
    if (at < s.size && s.data[at] == '.') at++, f.precision = take_number(s, &at);
    if (at < s.size) f.type = (char)s.data[at++];
    if (at < s.size || f.width > MAX_WIDTH) fail(r, "an unknown specification");
    if (f.zero && !f.align) f.fill = elm_tv_literal("0").as.string, f.align = '=';
    return f;
}

static elm_tv format_value(elm_trender *r, elm_tstr s, elm_tv v) {
    spec f = parse_spec(r, s);
    if (r->status != ELM_OK || s.size == 0) return elm_tv_string(elm_tv_str(r, v));
    if (v.type == ELM_TV_STRING)
        return f.type == 0 || f.type == 's' ? cut(r, &f, v.as.string)
                                            : fail(r, "a string is no number");
    if (v.type != ELM_TV_FLOAT && !is_integer(v))
        return fail(r, "a value that takes no specification");
    bool real = f.type != 0 && strchr("eEfFgG%", f.type);
    if (f.type == 0 && v.type == ELM_TV_FLOAT && f.precision < 0 && !f.comma)
        return pad(r, &f, elm_tv_str(r, v), true);
    if (f.type == 0) f.type = v.type == ELM_TV_FLOAT ? (f.precision < 0 ? 'f' : 'g') : 'd';
    if (!real && !strchr("dxXogf", f.type)) return fail(r, "an unknown type");
    if (!real && v.type == ELM_TV_FLOAT && strchr("dxXo", f.type))
        return fail(r, "a float is no integer");
    return pad(r, &f, number_text(r, &f, v), true);
}

/* The value of a field `name`, `number` or empty, and .attribute or [key] behind it. */
static elm_tv field_value(elm_trender *r, elm_tstr s, const elm_targs *args, uint32_t *automatic) {
    uint32_t at = 0;
    while (at < s.size && s.data[at] != '.' && s.data[at] != '[') at++;
    elm_tstr name = elm_ts_slice(s, 0, at);
    uint32_t digits = 0;
    int32_t number = take_number(name, &digits);
    elm_tv v;
    if (name.size == 0) number = (int32_t)(*automatic)++;
    if (number >= 0 && digits == name.size) {
        if (!args || (uint32_t)number >= args->n) return fail(r, "too few values");
        v = args->items[number];
    } else {
        const elm_tv *named =
            args && args->named ? elm_tv_get(args->named, elm_tv_string(name)) : NULL;
        if (!named) return fail(r, "no value of that name");
        v = *named;
    }
    while (at < s.size && r->status == ELM_OK) {
        bool dot = s.data[at++] == '.';
        uint32_t begin = at;
        while (at < s.size && (dot ? s.data[at] != '.' && s.data[at] != '[' : s.data[at] != ']'))
            at++;
        elm_tv key = elm_tv_string(elm_ts_slice(s, begin, at));
        uint32_t used = 0;
        int32_t index = take_number(key.as.string, &used);
        if (!dot && index >= 0 && used == key.as.string.size) key = elm_tv_int(index);
        v = elm_tv_attribute(r, v, key, dot);
        if (!dot && at < s.size) at++;
    }
    return v;
}

/* The inside of {...}. */
static elm_tv field(elm_trender *r, elm_tstr s, const elm_targs *args, uint32_t *automatic) {
    uint32_t at = 0;
    while (at < s.size && s.data[at] != '!' && s.data[at] != ':') at++;
    elm_tv v = field_value(r, elm_ts_slice(s, 0, at), args, automatic);
    if (at + 1 < s.size && s.data[at] == '!') {
        char how = (char)s.data[at + 1];
        if (how != 's' && how != 'r') return fail(r, "an unknown conversion");
        v = elm_tv_string(how == 'r' ? repr_of(r, v) : elm_tv_str(r, v));
        at += 2;
    }
    if (at < s.size && s.data[at] != ':') return fail(r, "an unknown field");
    return elm_tv_marked(format_value(r, elm_ts_slice(s, at < s.size ? at + 1 : at, s.size), v), v);
}

elm_tv elm_tv_format(elm_trender *r, elm_tv format, const elm_targs *args) {
    elm_tstr s = format.as.string;
    elm_tv pieces = elm_tv_new_list(r, false);
    uint32_t done = 0, automatic = 0;
    for (uint32_t at = 0; at < s.size && r->status == ELM_OK; at++) {
        uint8_t c = s.data[at];
        if (c != '{' && c != '}') continue;
        bool twice = at + 1 < s.size && s.data[at + 1] == c;
        elm_tv_append(r, pieces, elm_tv_string(elm_ts_slice(s, done, at + twice)));
        if (twice) {
            at++;
        } else if (c == '}') {
            return fail(r, "a single }");
        } else {
            uint32_t begin = at + 1;
            while (at < s.size && s.data[at] != '}') at++;
            if (at == s.size) return fail(r, "a single {");
            elm_tv piece = field(r, elm_ts_slice(s, begin, at), args, &automatic);
            elm_tv_append(r, pieces, format.safe ? elm_tv_escape(r, piece) : piece);
        }
        done = at + 1;
    }
    elm_tv_append(r, pieces, elm_tv_string(elm_ts_slice(s, done, s.size)));
    if (r->status != ELM_OK) return elm_tv_none();
    return elm_tv_marked(elm_tv_join(r, pieces.as.list, elm_tv_literal("").as.string), format);
}
