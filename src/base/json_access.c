/* json_access.c - finding and typing members, with messages that name the place; base. */
#include "base/json.h"

#include <math.h>
#include <string.h>

const elm_json *elm_json_member(const elm_json *object, elm_span key) {
    if (!object || object->type != ELM_JSON_OBJECT) return NULL;
    for (uint32_t i = 0; i < object->count; i++) {
        if (elm_span_equal(object->as.items[i].key, key)) return &object->as.items[i];
    }
    return NULL;
}

const elm_json *elm_json_get(const elm_json *object, const char *key) {
    return elm_json_member(object, elm_span_str(key));
}

const elm_json *elm_json_find(const elm_json *object, const char *key) {
    const elm_json *value = elm_json_get(object, key);
    return value && value->type != ELM_JSON_NULL ? value : NULL;
}

static const char *type_name(elm_json_type type) {
    static const char *const names[] = {"null",     "a boolean", "an integer", "a number",
                                        "a string", "a list",    "an object"};
    return names[type];
}

static elm_status wrong_type(const elm_json *value, const char *key, const char *where,
                             const char *expected, elm_error *err) {
    return elm_fail(err, ELM_MALFORMED, "%s:%u: '%s' is %s; expected %s", where, value->line, key,
                    type_name(value->type), expected);
}

elm_status elm_json_int(const elm_json *object, const char *key, int64_t min, int64_t max,
                        const char *where, int64_t *out, elm_error *err) {
    const elm_json *v = elm_json_find(object, key);
    if (!v) return ELM_OK;
    int64_t value;
    if (v->type == ELM_JSON_INT) {
        value = v->as.integer;
    } else if (v->type == ELM_JSON_DOUBLE && fabs(v->as.number) < 9e15 &&
               v->as.number == floor(v->as.number)) {
        value = (int64_t)v->as.number; /* Python writes some integers as 1.0 or 1e6 */
    } else {
        return wrong_type(v, key, where, "an integer", err);
    }
    if (value < min || value > max) {
        return elm_fail(err, ELM_MALFORMED, "%s:%u: '%s' is %lld; expected %lld..%lld", where,
                        v->line, key, (long long)value, (long long)min, (long long)max);
    }
    *out = value;
    return ELM_OK;
}

elm_status elm_json_double(const elm_json *object, const char *key, const char *where, double *out,
                           elm_error *err) {
    const elm_json *v = elm_json_find(object, key);
    if (!v) return ELM_OK;
    if (v->type == ELM_JSON_INT)
        *out = (double)v->as.integer;
    else if (v->type == ELM_JSON_DOUBLE)
        *out = v->as.number;
    else
        return wrong_type(v, key, where, "a number", err);
    return ELM_OK;
}

elm_status elm_json_bool(const elm_json *object, const char *key, const char *where, bool *out,
                         elm_error *err) {
    const elm_json *v = elm_json_find(object, key);
    if (!v) return ELM_OK;
    if (v->type != ELM_JSON_BOOL) return wrong_type(v, key, where, "true or false", err);
    *out = v->as.boolean;
    return ELM_OK;
}

elm_status elm_json_string(const elm_json *object, const char *key, const char *where,
                           elm_span *out, elm_error *err) {
    const elm_json *v = elm_json_find(object, key);
    if (!v) return ELM_OK;
    if (v->type != ELM_JSON_STRING) return wrong_type(v, key, where, "a string", err);
    *out = v->as.string;
    return ELM_OK;
}

bool elm_json_is(const elm_json *value, const char *text) {
    return value && value->type == ELM_JSON_STRING &&
           elm_span_equal(value->as.string, elm_span_str(text));
}
