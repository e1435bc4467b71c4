/* template_print.c - str(), repr() and json.dumps() of values, as Python writes them; text. */
#include "text/template_value.h"

#include "base/utf8.h"
#include "text/unicode.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PRINT_BYTES = 16 << 20, MAX_VALUE_DEPTH = 100 };

/* Python's repr of a float: the shortest digits that read back. */
static void print_float(double d, elm_buf *out) {
    char text[40];
    if (isnan(d)) {
        elm_buf_str(out, "nan");
        return;
    }
    if (isinf(d)) {
        elm_buf_str(out, d > 0 ? "inf" : "-inf");
        return;
    }
    int digits = 1;
    do snprintf(text, sizeof text, "%.*e", digits - 1, d);
    while (strtod(text, NULL) != d && ++digits <= 17);
    int exponent = (int)strtol(strchr(text, 'e') + 1, NULL, 10);
    if (exponent >= -4 && exponent < 16) {
        snprintf(text, sizeof text, "%.*f", digits - 1 > exponent ? digits - 1 - exponent : 0, d);
        elm_buf_str(out, text);
        if (!strchr(text, '.')) elm_buf_str(out, ".0");
        return;
    }
    *strchr(text, 'e') = 0;
    elm_buf_printf(out, "%se%s%02d", text, exponent < 0 ? "-" : "+", abs(exponent));
}

static void repr_string(elm_tstr s, elm_buf *out) {
    bool single = memchr(s.data, '\'', s.size) != NULL, twice = memchr(s.data, '"', s.size) != NULL;
    uint8_t quote = single && !twice ? '"' : '\'';
    elm_buf_u8(out, quote);
    for (uint32_t i = 0; i < s.size;) {
        uint32_t c;
        int n = elm_utf8_decode(elm_span_of(s.data + i, s.size - i), &c);
        if (n <= 0) break;
        elm_category category = elm_unicode_category(c);
        bool hidden = category >= ELM_CAT_ZS && c != ' ';
        if (c == quote || c == '\\')
            elm_buf_printf(out, "\\%c", (char)c);
        else if (c == '\n')
            elm_buf_str(out, "\\n");
        else if (c == '\r')
            elm_buf_str(out, "\\r");
        else if (c == '\t')
            elm_buf_str(out, "\\t");
        else if (c < 0x20 || c == 0x7f || (hidden && c < 0x100))
            elm_buf_printf(out, "\\x%02x", c);
        else if (hidden)
            elm_buf_printf(out, c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
        else
            elm_buf_append(out, s.data + i, (size_t)n);
        i += (uint32_t)n;
    }
    elm_buf_u8(out, quote);
}

static void repr(elm_trender *r, elm_tv v, elm_buf *out, uint32_t depth) {
    if (depth > MAX_VALUE_DEPTH) elm_tr_fail(r, ELM_LIMIT, "a value is nested too deep");
    if (!elm_tr_step(r)) return;
    switch (v.type) {
    case ELM_TV_UNDEFINED:
        elm_buf_str(out, "Undefined");
        break;
    case ELM_TV_NONE:
        elm_buf_str(out, "None");
        break;
    case ELM_TV_BOOL:
        elm_buf_str(out, v.as.boolean ? "True" : "False");
        break;
    case ELM_TV_INT:
        elm_buf_printf(out, "%lld", (long long)v.as.integer);
        break;
    case ELM_TV_FLOAT:
        print_float(v.as.number, out);
        break;
    case ELM_TV_STRING:
        if (v.safe) elm_buf_str(out, "Markup(");
        repr_string(v.as.string, out);
        if (v.safe) elm_buf_str(out, ")");
        break;
    case ELM_TV_LIST:
    case ELM_TV_TUPLE:
        elm_buf_str(out, v.type == ELM_TV_LIST ? "[" : "(");
        for (uint32_t i = 0; i < v.as.list->n; i++) {
            if (i > 0) elm_buf_str(out, ", ");
            repr(r, v.as.list->items[i], out, depth + 1);
        }
        if (v.type == ELM_TV_TUPLE && v.as.list->n == 1) elm_buf_str(out, ",");
        elm_buf_str(out, v.type == ELM_TV_LIST ? "]" : ")");
        break;
    case ELM_TV_DICT:
        elm_buf_str(out, "{");
        for (uint32_t i = 0; i < v.as.dict->n; i++) {
            if (i > 0) elm_buf_str(out, ", ");
            repr(r, v.as.dict->keys[i], out, depth + 1);
            elm_buf_str(out, ": ");
            repr(r, v.as.dict->values[i], out, depth + 1);
        }
        elm_buf_str(out, "}");
        break;
    case ELM_TV_RANGE: {
        const elm_trange *g = v.as.range;
        elm_buf_printf(out, "range(%lld, %lld", (long long)g->start, (long long)g->stop);
        if (g->step != 1) elm_buf_printf(out, ", %lld", (long long)g->step);
        elm_buf_u8(out, ')');
        break;
    }
    default:
        elm_tr_fail(r, ELM_UNSUPPORTED, "%s cannot be printed", elm_tv_type_name(v));
        break;
    }
}

void elm_tv_repr(elm_trender *r, elm_tv v, elm_buf *out) {
    repr(r, v, out, 0);
}

elm_tstr elm_tv_str(elm_trender *r, elm_tv v) {
    elm_buf buf;
    elm_tstr empty = {(const uint8_t *)"", 0, ELM_PART_INPUT, NULL};
    if (v.type == ELM_TV_STRING) return v.as.string;
    if (v.type == ELM_TV_UNDEFINED) return empty;
    elm_buf_init(&buf, r->arena->alloc, MAX_PRINT_BYTES);
    elm_tv_repr(r, v, &buf);
    elm_tstr out = elm_ts_from_buf(r, &buf);
    elm_buf_free(&buf);
    return out;
}

/* ---- tojson ---- */

typedef struct json_style {
    bool lines;
    elm_tstr indent;    /* of one level */
    elm_tstr item, key; /* separators */
    bool sort_keys, ascii;
} json_style;

static void json_string(elm_tstr s, const json_style *style, elm_buf *out) {
    elm_buf_u8(out, '"');
    for (uint32_t i = 0; i < s.size;) {
        uint32_t c;
        int n = elm_utf8_decode(elm_span_of(s.data + i, s.size - i), &c);
        if (n <= 0) break;
        if (c == '"' || c == '\\')
            elm_buf_printf(out, "\\%c", (char)c);
        else if (c == '\n')
            elm_buf_str(out, "\\n");
        else if (c == '\r')
            elm_buf_str(out, "\\r");
        else if (c == '\t')
            elm_buf_str(out, "\\t");
        else if (c == '\b')
            elm_buf_str(out, "\\b");
        else if (c == '\f')
            elm_buf_str(out, "\\f");
        else if (c < 0x20 || (style->ascii && c == 0x7f))
            elm_buf_printf(out, "\\u%04x", c);
        else if (style->ascii && c >= 0x10000)
            elm_buf_printf(out, "\\u%04x\\u%04x", 0xd7c0 + (c >> 10), 0xdc00 + (c & 0x3ff));
        else if (style->ascii && c >= 0x80)
            elm_buf_printf(out, "\\u%04x", c);
        else
            elm_buf_append(out, s.data + i, (size_t)n);
        i += (uint32_t)n;
    }
    elm_buf_u8(out, '"');
}

static void json_line(const json_style *style, uint32_t depth, elm_buf *out) {
    if (!style->lines) return;
    elm_buf_u8(out, '\n');
    for (uint32_t i = 0; i < depth; i++)
        elm_buf_append(out, style->indent.data, style->indent.size);
}

static void json_value(elm_trender *r, elm_tv v, const json_style *style, uint32_t depth,
                       elm_buf *out);

static void json_dict(elm_trender *r, const elm_tdict *d, const json_style *style, uint32_t depth,
                      elm_buf *out) {
    uint32_t *order = elm_tr_alloc(r, (d->n + 1) * sizeof *order);
    if (r->status != ELM_OK) return;
    for (uint32_t i = 0; i < d->n; i++) {
        uint32_t k = i;
        for (;
             style->sort_keys && k > 0 && elm_tv_compare(r, d->keys[order[k - 1]], d->keys[i]) > 0;
             k--)
            order[k] = order[k - 1];
        order[k] = i;
    }
    elm_buf_u8(out, '{');
    for (uint32_t i = 0; i < d->n && r->status == ELM_OK; i++) {
        if (i > 0) elm_buf_append(out, style->item.data, style->item.size);
        json_line(style, depth + 1, out);
        elm_tv key = d->keys[order[i]];
        if (key.type == ELM_TV_STRING)
            json_string(key.as.string, style, out);
        else {
            elm_buf_u8(out, '"');
            json_value(r, key, style, depth + 1, out);
            elm_buf_u8(out, '"');
        }
        elm_buf_append(out, style->key.data, style->key.size);
        json_value(r, d->values[order[i]], style, depth + 1, out);
    }
    if (d->n > 0) json_line(style, depth, out);
    elm_buf_u8(out, '}');
}

static void json_value(elm_trender *r, elm_tv v, const json_style *style, uint32_t depth,
                       elm_buf *out) {
    if (depth > MAX_VALUE_DEPTH) elm_tr_fail(r, ELM_LIMIT, "a value is nested too deep");
    if (!elm_tr_step(r)) return;
    switch (v.type) {
    case ELM_TV_NONE:
        elm_buf_str(out, "null");
        break;
    case ELM_TV_BOOL:
        elm_buf_str(out, v.as.boolean ? "true" : "false");
        break;
    case ELM_TV_INT:
        elm_buf_printf(out, "%lld", (long long)v.as.integer);
        break;
    case ELM_TV_FLOAT:
        if (isnan(v.as.number))
            elm_buf_str(out, "NaN");
        else if (isinf(v.as.number))
            elm_buf_str(out, v.as.number > 0 ? "Infinity" : "-Infinity");
        else
            print_float(v.as.number, out);
        break;
    case ELM_TV_STRING:
        json_string(v.as.string, style, out);
        break;
    case ELM_TV_LIST:
    case ELM_TV_TUPLE:
        elm_buf_u8(out, '[');
        for (uint32_t i = 0; i < v.as.list->n && r->status == ELM_OK; i++) {
            if (i > 0) elm_buf_append(out, style->item.data, style->item.size);
            json_line(style, depth + 1, out);
            json_value(r, v.as.list->items[i], style, depth + 1, out);
        }
        if (v.as.list->n > 0) json_line(style, depth, out);
        elm_buf_u8(out, ']');
        break;
    case ELM_TV_DICT:
        json_dict(r, v.as.dict, style, depth, out);
        break;
    default:
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "%s is not JSON serializable", elm_tv_type_name(v));
        break;
    }
}

elm_tv elm_tv_tojson(elm_trender *r, elm_tv v, elm_tv indent, elm_tv separators, bool sort_keys,
                     bool ascii) {
    static const char spaces[] = "                                ";
    json_style style = {
        .sort_keys = sort_keys, .ascii = ascii, .lines = indent.type != ELM_TV_NONE};
    elm_buf buf;
    if (indent.type == ELM_TV_BOOL) indent = elm_tv_int(indent.as.boolean);
    if (indent.type == ELM_TV_INT && indent.as.integer > (int64_t)sizeof spaces - 1)
        elm_tr_fail(r, ELM_UNSUPPORTED, "tojson with an indent over %zu", sizeof spaces - 1);
    style.indent =
        indent.type == ELM_TV_STRING ? indent.as.string : elm_tv_literal(spaces).as.string;
    if (indent.type == ELM_TV_INT && r->status == ELM_OK)
        style.indent.size = indent.as.integer > 0 ? (uint32_t)indent.as.integer : 0;
    style.item = elm_tv_literal(style.lines ? "," : ", ").as.string;
    style.key = elm_tv_literal(": ").as.string;
    bool pair = (separators.type == ELM_TV_LIST || separators.type == ELM_TV_TUPLE) &&
                separators.as.list->n == 2;
    if (pair && separators.as.list->items[0].type == ELM_TV_STRING &&
        separators.as.list->items[1].type == ELM_TV_STRING) {
        style.item = separators.as.list->items[0].as.string;
        style.key = separators.as.list->items[1].as.string;
    }
    elm_buf_init(&buf, r->arena->alloc, MAX_PRINT_BYTES);
    json_value(r, v, &style, 0, &buf);
    elm_tstr out = elm_ts_from_buf(r, &buf);
    elm_buf_free(&buf);
    return elm_tv_string(out);
}
