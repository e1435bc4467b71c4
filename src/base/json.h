/* json.h - bounded JSON: a parser to an arena tree, typed access with messages, and a writer.
 *
 * RFC 8259 and nothing more, except that NaN and Infinity (which Python's json writes) parse as
 * numbers when allowed. Depth, input size and memory are limited. Duplicate keys are an error: two
 * readers must not see two models. Strings come out as UTF-8; a lone surrogate escape is kept as
 * the replacement character U+FFFD only where allow_lone_surrogates says so, else refused. */
#ifndef ELM_BASE_JSON_H
#define ELM_BASE_JSON_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/span.h"

typedef enum elm_json_type {
    ELM_JSON_NULL,
    ELM_JSON_BOOL,
    ELM_JSON_INT,    /* integer syntax that fits int64 */
    ELM_JSON_DOUBLE, /* everything else numeric */
    ELM_JSON_STRING,
    ELM_JSON_ARRAY,
    ELM_JSON_OBJECT,
} elm_json_type;

typedef struct elm_json elm_json;
struct elm_json {
    elm_json_type type;
    uint32_t count; /* items of an array or members of an object, in input order */
    uint32_t line;  /* 1-based line in the input, for messages */
    union {
        bool boolean;
        int64_t integer;
        double number;
        elm_span string;       /* also NUL-terminated in the arena */
        const elm_json *items; /* [count]; members of an object are values with `key` set */
    } as;
    elm_span key; /* of a member */
};

enum {
    ELM_JSON_MAX_DEPTH = 64,
    ELM_JSON_WRITER_DEPTH = 2 * ELM_JSON_MAX_DEPTH, /* a parsed value inside a written one */
};

typedef struct elm_json_options {
    bool allow_nan;
    bool allow_lone_surrogates;
    uint32_t max_depth; /* 0 = ELM_JSON_MAX_DEPTH */
} elm_json_options;

/* Parses all of `text` (one value, surrounding whitespace). `where` names the input in messages
 * ("config.json"). The tree and its strings live in `arena`. options may be NULL. */
elm_status elm_json_parse(elm_span text, const char *where, const elm_json_options *options,
                          elm_arena *arena, const elm_json **out, elm_error *err) ELM_MUST_CHECK;

/* Member of an object, or NULL when it is absent or `object` is NULL or no object; the key as text,
 * or as bytes, which may hold zeros. */
const elm_json *elm_json_member(const elm_json *object, elm_span key);
const elm_json *elm_json_get(const elm_json *object, const char *key);
/* As elm_json_get, but a JSON null counts as absent. */
const elm_json *elm_json_find(const elm_json *object, const char *key);

/* Typed members. `*out` keeps its value (the default) when the member is absent or null; a member
 * of another type or outside [min, max] is ELM_MALFORMED and named with `where`. */
elm_status elm_json_int(const elm_json *object, const char *key, int64_t min, int64_t max,
                        const char *where, int64_t *out, elm_error *err) ELM_MUST_CHECK;
elm_status elm_json_double(const elm_json *object, const char *key, const char *where, double *out,
                           elm_error *err) ELM_MUST_CHECK;
elm_status elm_json_bool(const elm_json *object, const char *key, const char *where, bool *out,
                         elm_error *err) ELM_MUST_CHECK;
elm_status elm_json_string(const elm_json *object, const char *key, const char *where,
                           elm_span *out, elm_error *err) ELM_MUST_CHECK;

/* True when `value` is a string equal to `text`. */
bool elm_json_is(const elm_json *value, const char *text);

/* Writer. Commas, quoting and escapes are its business; the caller nests begin/end correctly
 * (assert). Keys and strings must be UTF-8. Compact output, one space after ':' and ','; pretty = 2
 * spaces. */
typedef struct elm_json_writer {
    elm_buf *out;
    bool pretty;
    uint32_t depth;
    bool keyed; /* the key of the next value is written */
    bool first[ELM_JSON_WRITER_DEPTH];
} elm_json_writer;

void elm_json_writer_init(elm_json_writer *w, elm_buf *out, bool pretty);
void elm_json_begin_object(elm_json_writer *w,
                           const char *key); /* key NULL inside arrays and at top */
void elm_json_end_object(elm_json_writer *w);
void elm_json_begin_array(elm_json_writer *w, const char *key);
void elm_json_end_array(elm_json_writer *w);
void elm_json_put_string(elm_json_writer *w, const char *key, elm_span value);
void elm_json_put_str(elm_json_writer *w, const char *key, const char *value); /* NULL -> null */
void elm_json_put_int(elm_json_writer *w, const char *key, int64_t value);
void elm_json_put_double(elm_json_writer *w, const char *key,
                         double value); /* shortest; nan -> null */
void elm_json_put_bool(elm_json_writer *w, const char *key, bool value);
void elm_json_put_null(elm_json_writer *w, const char *key);
/* A parsed value with all it holds, whatever its depth; at most ELM_JSON_MAX_DEPTH - 1 containers
 * may be open. */
void elm_json_put_value(elm_json_writer *w, const char *key, const elm_json *value);

#endif
