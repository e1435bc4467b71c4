/* template_value.c - making and comparing values, and strings with their origin; text. */
#include "text/template_value.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MAX_VALUE_DEPTH = 100, FREE_KEYS = 32 };

void elm_tr_fail(elm_trender *r, elm_status status, const char *fmt, ...) {
    char text[400];
    va_list args;
    if (r->status != ELM_OK) return;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    r->status = elm_fail(r->err, status, "chat template, line %u: %s", r->line, text);
}

bool elm_tr_step(elm_trender *r) {
    if (r->status != ELM_OK) return false;
    if (r->fuel == 0) {
        elm_tr_fail(r, ELM_LIMIT, "it takes too many steps");
        return false;
    }
    r->fuel--;
    return true;
}

void *elm_tr_alloc(elm_trender *r, size_t bytes) {
    static uint64_t nothing[8]; /* never written: callers stop when the status is set */
    void *p = r->status == ELM_OK ? elm_arena_alloc(r->arena, bytes, 16) : NULL;
    if (p) return p;
    elm_tr_fail(r, ELM_LIMIT, "it needs too much memory");
    return bytes <= sizeof nothing ? nothing : NULL;
}

elm_tv elm_tv_none(void) {
    return (elm_tv){.type = ELM_TV_NONE};
}
elm_tv elm_tv_undefined(const char *name) {
    return (elm_tv){.type = ELM_TV_UNDEFINED, .as.undefined = name};
}
elm_tv elm_tv_bool(bool b) {
    return (elm_tv){.type = ELM_TV_BOOL, .as.boolean = b};
}
elm_tv elm_tv_int(int64_t i) {
    return (elm_tv){.type = ELM_TV_INT, .as.integer = i};
}
elm_tv elm_tv_float(double d) {
    return (elm_tv){.type = ELM_TV_FLOAT, .as.number = d};
}
elm_tv elm_tv_string(elm_tstr s) {
    return (elm_tv){.type = ELM_TV_STRING, .as.string = s};
}

elm_tv elm_tv_text(elm_span s, elm_part_origin origin) {
    return elm_tv_string((elm_tstr){s.data, (uint32_t)s.size, (uint8_t)origin, NULL});
}

elm_tv elm_tv_literal(const char *s) {
    return elm_tv_text(elm_span_str(s), ELM_PART_INPUT);
}

elm_tv elm_tv_new_list(elm_trender *r, bool tuple) {
    elm_tlist *list = elm_tr_alloc(r, sizeof *list);
    if (r->status != ELM_OK) return elm_tv_none();
    return (elm_tv){.type = tuple ? ELM_TV_TUPLE : ELM_TV_LIST, .as.list = list};
}

elm_tv elm_tv_new_dict(elm_trender *r) {
    elm_tdict *dict = elm_tr_alloc(r, sizeof *dict);
    if (r->status != ELM_OK) return elm_tv_none();
    return (elm_tv){.type = ELM_TV_DICT, .as.dict = dict};
}

static void *grow(elm_trender *r, void *old, uint32_t n, uint32_t capacity, size_t size) {
    void *larger = elm_tr_alloc(r, capacity * size);
    if (r->status == ELM_OK && n > 0) memcpy(larger, old, n * size);
    return larger;
}

void elm_tv_append(elm_trender *r, elm_tv v, elm_tv item) {
    if (r->status != ELM_OK) return;
    elm_tlist *l = v.as.list;
    if (l->n == l->capacity) {
        uint32_t capacity = l->capacity ? l->capacity * 2 : 8;
        elm_tv *larger = grow(r, l->items, l->n, capacity, sizeof *larger);
        if (r->status != ELM_OK) return;
        l->items = larger;
        l->capacity = capacity;
    }
    l->items[l->n++] = item;
}

const elm_tv *elm_tv_get(const elm_tdict *d, elm_tv key) {
    for (uint32_t i = 0; i < d->n; i++) {
        if (elm_tv_equal(d->keys[i], key)) return &d->values[i];
    }
    return NULL;
}

const elm_tv *elm_tv_get_text(const elm_tdict *d, const char *key) {
    return d ? elm_tv_get(d, elm_tv_literal(key)) : NULL;
}

static void add_pair(elm_trender *r, elm_tdict *d, elm_tv key, elm_tv value) {
    if (d->n == d->capacity) {
        uint32_t capacity = d->capacity ? d->capacity * 2 : 8;
        elm_tv *keys = grow(r, d->keys, d->n, capacity, sizeof *keys);
        elm_tv *values = grow(r, d->values, d->n, capacity, sizeof *values);
        if (r->status != ELM_OK) return;
        d->keys = keys;
        d->values = values;
        d->capacity = capacity;
    }
    d->keys[d->n] = key;
    d->values[d->n++] = value;
}

static bool hashable(elm_tv dict, elm_tv key) {
    return dict.type != ELM_TV_DICT || (key.type != ELM_TV_LIST && key.type != ELM_TV_DICT);
}

void elm_tv_set(elm_trender *r, elm_tv v, elm_tv key, elm_tv value) {
    if (r->status != ELM_OK) return;
    elm_tdict *d = v.as.dict;
    /* Keys are looked for one by one: many of them cost steps. */
    r->fuel -= r->fuel < d->n / FREE_KEYS ? r->fuel : d->n / FREE_KEYS;
    if (!hashable(v, key)) {
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "%s is no key of a dict", elm_tv_type_name(key));
        return;
    }
    elm_tv *there = (elm_tv *)(uintptr_t)elm_tv_get(d, key);
    if (there) {
        *there = value;
        return;
    }
    add_pair(r, d, key, value);
}

elm_tv elm_tv_from_json(elm_trender *r, const elm_json *json, elm_part_origin origin) {
    elm_tv v = elm_tv_none();
    if (!elm_tr_step(r)) return v;
    switch (json->type) {
    case ELM_JSON_NULL:
        break;
    case ELM_JSON_BOOL:
        return elm_tv_bool(json->as.boolean);
    case ELM_JSON_INT:
        return elm_tv_int(json->as.integer);
    case ELM_JSON_DOUBLE:
        return elm_tv_float(json->as.number);
    case ELM_JSON_STRING:
        return elm_tv_text(json->as.string, origin);
    case ELM_JSON_ARRAY:
        v = elm_tv_new_list(r, false);
        for (uint32_t i = 0; i < json->count && r->status == ELM_OK; i++) {
            elm_tv_append(r, v, elm_tv_from_json(r, &json->as.items[i], origin));
        }
        break;
    case ELM_JSON_OBJECT:
        v = elm_tv_new_dict(r);
        for (uint32_t i = 0; i < json->count && r->status == ELM_OK; i++) {
            /* Keys are unique (the parser checks), so they are appended without a look. */
            elm_tv value = elm_tv_from_json(r, &json->as.items[i], origin);
            if (r->status == ELM_OK)
                add_pair(r, v.as.dict, elm_tv_text(json->as.items[i].key, origin), value);
        }
        break;
    }
    return v;
}

/* ---- comparing ---- */

bool elm_tv_is_text(elm_tv v, const char *text) {
    return v.type == ELM_TV_STRING && v.as.string.size == strlen(text) &&
           memcmp(v.as.string.data, text, v.as.string.size) == 0;
}

bool elm_tv_truth(elm_tv v) {
    switch (v.type) {
    case ELM_TV_UNDEFINED:
    case ELM_TV_NONE:
        return false;
    case ELM_TV_BOOL:
        return v.as.boolean;
    case ELM_TV_INT:
        return v.as.integer != 0;
    case ELM_TV_FLOAT:
        return v.as.number != 0.0;
    case ELM_TV_STRING:
        return v.as.string.size > 0;
    case ELM_TV_LIST:
    case ELM_TV_TUPLE:
        return v.as.list->n > 0;
    case ELM_TV_DICT:
        return v.as.dict->n > 0;
    case ELM_TV_RANGE:
        return v.as.range->n > 0;
    default:
        return true;
    }
}

static bool is_number(elm_tv v) {
    return v.type == ELM_TV_BOOL || v.type == ELM_TV_INT || v.type == ELM_TV_FLOAT;
}

static double number_of(elm_tv v) {
    return v.type == ELM_TV_FLOAT ? v.as.number
           : v.type == ELM_TV_INT ? (double)v.as.integer
                                  : (double)v.as.boolean;
}

static bool equal_deep(elm_tv a, elm_tv b, uint32_t depth) {
    if (depth > MAX_VALUE_DEPTH) return false;
    if (is_number(a) && is_number(b)) return number_of(a) == number_of(b);
    if (a.type != b.type) return false;
    switch (a.type) {
    case ELM_TV_STRING:
        return a.as.string.size == b.as.string.size &&
               (a.as.string.size == 0 ||
                memcmp(a.as.string.data, b.as.string.data, a.as.string.size) == 0);
    case ELM_TV_LIST:
    case ELM_TV_TUPLE:
        if (a.as.list->n != b.as.list->n) return false;
        for (uint32_t i = 0; i < a.as.list->n; i++) {
            if (!equal_deep(a.as.list->items[i], b.as.list->items[i], depth + 1)) return false;
        }
        return true;
    case ELM_TV_DICT:
        if (a.as.dict->n != b.as.dict->n) return false;
        for (uint32_t i = 0; i < a.as.dict->n; i++) {
            const elm_tv *other = elm_tv_get(b.as.dict, a.as.dict->keys[i]);
            if (!other || !equal_deep(a.as.dict->values[i], *other, depth + 1)) return false;
        }
        return true;
    case ELM_TV_NAMESPACE:
        return a.as.dict == b.as.dict;
    case ELM_TV_MACRO:
        return a.as.macro == b.as.macro;
    case ELM_TV_FUNCTION:
        return a.as.function == b.as.function;
    case ELM_TV_RANGE:
        return memcmp(a.as.range, b.as.range, sizeof *a.as.range) == 0;
    case ELM_TV_CYCLER:
    case ELM_TV_JOINER:
        return a.as.state == b.as.state;
    case ELM_TV_BOUND:
    case ELM_TV_LOOP:
        return false;
    default:
        return true; /* none and none, undefined and undefined */
    }
}

bool elm_tv_equal(elm_tv a, elm_tv b) {
    return equal_deep(a, b, 0);
}

int elm_tv_compare(elm_trender *r, elm_tv a, elm_tv b) {
    if (is_number(a) && is_number(b)) {
        double x = number_of(a), y = number_of(b);
        return (x > y) - (x < y);
    }
    if (a.type == ELM_TV_STRING && b.type == ELM_TV_STRING) {
        elm_tstr x = a.as.string, y = b.as.string;
        uint32_t n = x.size < y.size ? x.size : y.size;
        int order = n > 0 ? memcmp(x.data, y.data, n) : 0; /* UTF-8 sorts as code points do */
        return order ? (order > 0) - (order < 0) : (x.size > y.size) - (x.size < y.size);
    }
    if ((a.type == ELM_TV_LIST || a.type == ELM_TV_TUPLE) && a.type == b.type) {
        for (uint32_t i = 0; i < a.as.list->n && i < b.as.list->n; i++) {
            int order = elm_tv_compare(r, a.as.list->items[i], b.as.list->items[i]);
            if (order || r->status != ELM_OK) return order;
        }
        return (a.as.list->n > b.as.list->n) - (a.as.list->n < b.as.list->n);
    }
    elm_tr_fail(r, ELM_INVALID_ARGUMENT, "%s and %s do not compare", elm_tv_type_name(a),
                elm_tv_type_name(b));
    return 0;
}

int64_t elm_tv_length(elm_trender *r, elm_tv v) {
    switch (v.type) {
    case ELM_TV_STRING:
        return elm_ts_length(v.as.string);
    case ELM_TV_LIST:
    case ELM_TV_TUPLE:
        return v.as.list->n;
    case ELM_TV_DICT:
        return v.as.dict->n;
    case ELM_TV_RANGE:
        return v.as.range->n;
    case ELM_TV_UNDEFINED:
        return 0;
    case ELM_TV_LOOP:
        (void)elm_te_loop_reach(r, v.as.loop, INT64_MAX);
        return v.as.loop->items.n;
    default:
        return -1;
    }
}

const char *elm_tv_type_name(elm_tv v) {
    static const char *const names[] = {
        "undefined", "None",     "a bool",  "an int",      "a float", "a string",
        "a list",    "a tuple",  "a dict",  "a namespace", "a macro", "a function",
        "a method",  "a joiner", "a range", "a loop",      "a cycler"};
    return names[v.type];
}

/* ---- strings ---- */

elm_tstr elm_ts_slice(elm_tstr s, uint32_t begin, uint32_t end) {
    s.data += begin;
    s.size = end - begin;
    if (s.map) s.map += begin;
    return s;
}

elm_tstr elm_ts_concat(elm_trender *r, const elm_tstr *parts, uint32_t n) {
    uint64_t total = 0;
    bool mixed = false;
    const elm_tstr *first = NULL;
    elm_tstr out = {(const uint8_t *)"", 0, ELM_PART_INPUT, NULL};
    for (uint32_t i = 0; i < n; i++) {
        if (parts[i].size == 0) continue;
        total += parts[i].size;
        if (!first) first = &parts[i];
        mixed = mixed || parts[i].map || parts[i].origin != first->origin;
    }
    if (!first || r->status != ELM_OK) return out;
    if (first->size == total) return *first;
    if (total > UINT32_MAX / 2) {
        elm_tr_fail(r, ELM_LIMIT, "a string is too long");
        return out;
    }
    uint8_t *data = elm_tr_alloc(r, (size_t)total),
            *map = mixed ? elm_tr_alloc(r, (size_t)total) : NULL;
    if (r->status != ELM_OK) return out;
    uint32_t at = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (parts[i].size == 0) continue;
        memcpy(data + at, parts[i].data, parts[i].size);
        if (map && parts[i].map)
            memcpy(map + at, parts[i].map, parts[i].size);
        else if (map)
            memset(map + at, parts[i].origin, parts[i].size);
        at += parts[i].size;
    }
    return (elm_tstr){data, at, first->origin, map};
}

elm_tstr elm_ts_from_buf(elm_trender *r, const elm_buf *buf) {
    elm_tstr out = {(const uint8_t *)"", 0, ELM_PART_INPUT, NULL};
    if (buf->status != ELM_OK) elm_tr_fail(r, ELM_LIMIT, "a string is too long");
    uint8_t *data = buf->size > 0 ? elm_tr_alloc(r, buf->size) : NULL;
    if (r->status != ELM_OK || !data) return out;
    memcpy(data, buf->data, buf->size);
    return (elm_tstr){data, (uint32_t)buf->size, ELM_PART_INPUT, NULL};
}

uint32_t elm_ts_length(elm_tstr s) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < s.size; i++) n += (s.data[i] & 0xc0) != 0x80;
    return n;
}

uint32_t elm_ts_offset(elm_tstr s, uint32_t index) {
    uint32_t at = 0;
    for (; at < s.size; at++) {
        if ((s.data[at] & 0xc0) != 0x80 && index-- == 0) break;
    }
    return at;
}

int64_t elm_ts_find(elm_tstr s, elm_tstr needle, uint32_t from) {
    if (needle.size == 0) return from <= s.size ? (int64_t)from : -1;
    for (uint64_t at = from; at + needle.size <= s.size;) {
        const uint8_t *hit = memchr(s.data + at, needle.data[0], s.size - at);
        if (!hit) return -1;
        at = (uint64_t)(hit - s.data);
        if (at + needle.size <= s.size && memcmp(hit, needle.data, needle.size) == 0)
            return (int64_t)at;
        at++;
    }
    return -1;
}

bool elm_ts_is(elm_tstr s, const char *text) {
    return s.size == strlen(text) && memcmp(s.data, text, s.size) == 0;
}

elm_tv elm_tv_join(elm_trender *r, const elm_tlist *items, elm_tstr separator) {
    if (r->status != ELM_OK || items->n == 0) return elm_tv_literal("");
    elm_tstr *parts = elm_tr_alloc(r, (size_t)items->n * 2 * sizeof *parts);
    if (r->status != ELM_OK) return elm_tv_none();
    for (uint32_t i = 0; i < items->n; i++) {
        parts[2 * i] = elm_tv_str(r, items->items[i]);
        parts[2 * i + 1] = separator;
    }
    return elm_tv_string(elm_ts_concat(r, parts, items->n * 2 - 1));
}
