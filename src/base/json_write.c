/* json_write.c - the JSON writer; base. */
#include "base/json.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void elm_json_writer_init(elm_json_writer *w, elm_buf *out, bool pretty) {
    memset(w, 0, sizeof *w);
    w->out = out;
    w->pretty = pretty;
    w->first[0] = true;
}

static void new_line(elm_json_writer *w) {
    elm_buf_u8(w->out, '\n');
    for (uint32_t i = 0; i < w->depth; i++) elm_buf_str(w->out, "  ");
}

static void quoted(elm_buf *out, elm_span text) {
    elm_buf_u8(out, '"');
    size_t from = 0;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        if (c >= 0x20 && c != '"' && c != '\\') continue;
        elm_buf_append(out, text.data + from, i - from);
        from = i + 1;
        switch (c) {
        case '"':
            elm_buf_str(out, "\\\"");
            break;
        case '\\':
            elm_buf_str(out, "\\\\");
            break;
        case '\n':
            elm_buf_str(out, "\\n");
            break;
        case '\r':
            elm_buf_str(out, "\\r");
            break;
        case '\t':
            elm_buf_str(out, "\\t");
            break;
        default:
            elm_buf_printf(out, "\\u%04x", c);
            break;
        }
    }
    elm_buf_append(out, text.data + from, text.size - from);
    elm_buf_u8(out, '"');
}

/* Comma and line in front of a key or a value. */
static void separate(elm_json_writer *w) {
    if (!w->first[w->depth]) elm_buf_str(w->out, w->pretty ? "," : ", ");
    if (w->pretty && w->depth > 0) new_line(w);
    w->first[w->depth] = false;
}

static void put_key(elm_json_writer *w, elm_span key) {
    separate(w);
    quoted(w->out, key);
    elm_buf_str(w->out, ": ");
    w->keyed = true;
}

/* What stands in front of a value. */
static void lead(elm_json_writer *w, const char *key) {
    if (key) put_key(w, elm_span_str(key));
    if (!w->keyed) separate(w);
    w->keyed = false;
}

static void begin(elm_json_writer *w, const char *key, char open) {
    lead(w, key);
    elm_buf_u8(w->out, (uint8_t)open);
    assert(w->depth + 1 < ELM_JSON_WRITER_DEPTH);
    w->first[++w->depth] = true;
}

static void end(elm_json_writer *w, char close) {
    assert(w->depth > 0);
    bool empty = w->first[w->depth--];
    if (w->pretty && !empty) new_line(w);
    elm_buf_u8(w->out, (uint8_t)close);
}

void elm_json_begin_object(elm_json_writer *w, const char *key) {
    begin(w, key, '{');
}
void elm_json_end_object(elm_json_writer *w) {
    end(w, '}');
}
void elm_json_begin_array(elm_json_writer *w, const char *key) {
    begin(w, key, '[');
}
void elm_json_end_array(elm_json_writer *w) {
    end(w, ']');
}

void elm_json_put_string(elm_json_writer *w, const char *key, elm_span value) {
    lead(w, key);
    quoted(w->out, value);
}

void elm_json_put_str(elm_json_writer *w, const char *key, const char *value) {
    if (value)
        elm_json_put_string(w, key, elm_span_str(value));
    else
        elm_json_put_null(w, key);
}

void elm_json_put_int(elm_json_writer *w, const char *key, int64_t value) {
    lead(w, key);
    elm_buf_printf(w->out, "%lld", (long long)value);
}

void elm_json_put_double(elm_json_writer *w, const char *key, double value) {
    char text[64];
    if (!isfinite(value)) {
        elm_json_put_null(w, key);
        return;
    }
    lead(w, key);
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtod(text, NULL) == value) break;
    }
    for (char *p = text; *p; p++) {
        if (*p == ',') *p = '.'; /* the locale's decimal point */
    }
    elm_buf_str(w->out, text);
    if (!strpbrk(text, ".e")) elm_buf_str(w->out, ".0");
}

void elm_json_put_bool(elm_json_writer *w, const char *key, bool value) {
    lead(w, key);
    elm_buf_str(w->out, value ? "true" : "false");
}

void elm_json_put_null(elm_json_writer *w, const char *key) {
    lead(w, key);
    elm_buf_str(w->out, "null");
}

void elm_json_put_value(elm_json_writer *w, const char *key, const elm_json *v) {
    switch (v->type) {
    case ELM_JSON_NULL:
        elm_json_put_null(w, key);
        break;
    case ELM_JSON_BOOL:
        elm_json_put_bool(w, key, v->as.boolean);
        break;
    case ELM_JSON_INT:
        elm_json_put_int(w, key, v->as.integer);
        break;
    case ELM_JSON_DOUBLE:
        elm_json_put_double(w, key, v->as.number);
        break;
    case ELM_JSON_STRING:
        elm_json_put_string(w, key, v->as.string);
        break;
    case ELM_JSON_ARRAY:
        elm_json_begin_array(w, key);
        for (uint32_t i = 0; i < v->count; i++) elm_json_put_value(w, NULL, &v->as.items[i]);
        elm_json_end_array(w);
        break;
    case ELM_JSON_OBJECT:
        elm_json_begin_object(w, key);
        for (uint32_t i = 0; i < v->count; i++) {
            put_key(w, v->as.items[i].key);
            elm_json_put_value(w, NULL, &v->as.items[i]);
        }
        elm_json_end_object(w);
        break;
    }
}
