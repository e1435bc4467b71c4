/* json.c - the JSON parser: recursive descent with a depth limit, children gathered on one growing
 * stack; base.
 *
 * Items of an open array or object wait on `stack` and move to the arena, exactly sized, when it
 * closes; so a list of half a million pairs costs its nodes and nothing else. */
#include "base/json.h"

#include "base/hash.h"
#include "base/utf8.h"

#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_NUMBER_BYTES = 512,
    LINEAR_KEYS = 16, /* objects up to here find duplicate keys by comparing all pairs */
    MAX_STACK_BYTES = 1 << 30,
};

typedef struct parser {
    elm_span text;
    size_t pos;
    uint32_t line;
    uint32_t depth, max_depth;
    bool allow_nan, allow_lone_surrogates;
    const char *where;
    elm_arena *arena;
    elm_buf stack; /* elm_json[] */
    elm_error *err;
} parser;

static elm_status parse_value(parser *p, elm_json *out);

static elm_status bad(const parser *p, const char *expected) {
    if (p->pos >= p->text.size) {
        return elm_fail(p->err, ELM_MALFORMED, "%s:%u: the text ends; expected %s", p->where,
                        p->line, expected);
    }
    uint8_t c = p->text.data[p->pos];
    return elm_fail(p->err, ELM_MALFORMED, "%s:%u: expected %s, found %s%c%s (byte %zu)", p->where,
                    p->line, expected, c >= 0x20 && c < 0x7f ? "'" : "",
                    c >= 0x20 && c < 0x7f ? c : '?', c >= 0x20 && c < 0x7f ? "'" : "", p->pos);
}

static void skip_space(parser *p) {
    while (p->pos < p->text.size) {
        uint8_t c = p->text.data[p->pos];
        if (c == '\n')
            p->line++;
        else if (c != ' ' && c != '\t' && c != '\r')
            return;
        p->pos++;
    }
}

static int peek(const parser *p) {
    return p->pos < p->text.size ? p->text.data[p->pos] : -1;
}

static bool take(parser *p, const char *word) {
    size_t n = strlen(word);
    if (p->text.size - p->pos < n || memcmp(p->text.data + p->pos, word, n) != 0) return false;
    p->pos += n;
    return true;
}

/* ---- strings ---- */

static elm_status hex4(parser *p, uint32_t *out) {
    *out = 0;
    for (int i = 0; i < 4; i++, p->pos++) {
        int c = peek(p);
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) return bad(p, "four hexadecimal digits");
        *out = *out << 4 | (uint32_t)digit;
    }
    return ELM_OK;
}

static elm_status unicode_escape(parser *p, uint32_t *out) {
    ELM_TRY(hex4(p, out));
    if (*out < 0xd800 || *out > 0xdfff) return ELM_OK;
    size_t mark = p->pos;
    uint32_t low = 0;
    if (*out < 0xdc00 && take(p, "\\u")) {
        ELM_TRY(hex4(p, &low));
        if (low >= 0xdc00 && low <= 0xdfff) {
            *out = 0x10000 + ((*out - 0xd800) << 10) + (low - 0xdc00);
            return ELM_OK;
        }
        p->pos = mark;
    }
    *out = 0xfffd;
    return p->allow_lone_surrogates ? ELM_OK : bad(p, "the second half of a surrogate pair");
}

static elm_status escape(parser *p, uint8_t *out, size_t *n) {
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    int c = peek(p);
    const char *at = c > 0 ? strchr(from, c) : NULL;
    if (at) {
        out[(*n)++] = (uint8_t)to[at - from];
        p->pos++;
        return ELM_OK;
    }
    if (c != 'u') return bad(p, "an escape");
    p->pos++;
    uint32_t code_point;
    ELM_TRY(unicode_escape(p, &code_point));
    *n += (size_t)elm_utf8_encode(code_point, out + *n);
    return ELM_OK;
}

static elm_status parse_string(parser *p, elm_span *out) {
    size_t start = ++p->pos, end = start;
    while (end < p->text.size && p->text.data[end] != '"') end += p->text.data[end] == '\\' ? 2 : 1;
    if (end >= p->text.size) {
        p->pos = p->text.size;
        return bad(p, "'\"'");
    }
    uint8_t *text = elm_arena_alloc(p->arena, end - start + 1, 1); /* escapes only shrink */
    if (!text) return elm_fail_oom(p->err, end - start + 1, p->where);
    size_t n = 0;
    while (p->pos < end) {
        uint8_t c = p->text.data[p->pos];
        if (c == '\\') {
            p->pos++;
            ELM_TRY(escape(p, text, &n));
        } else if (c < 0x20) {
            return bad(p, "no control character in a string");
        } else {
            text[n++] = c;
            p->pos++;
        }
    }
    size_t valid = elm_utf8_valid_prefix(elm_span_of(text, n));
    if (valid != n) {
        p->pos = start + valid < end ? start + valid : start;
        return elm_fail(p->err, ELM_MALFORMED, "%s:%u: bad UTF-8 in a string at byte %zu", p->where,
                        p->line, p->pos);
    }
    text[n] = 0;
    *out = elm_span_of(text, n);
    p->pos = end + 1;
    return ELM_OK;
}

/* ---- numbers ---- */

/* strtod reads the decimal point of the process's locale: hand it that one. */
static double to_double(const char *text) {
    char copy[MAX_NUMBER_BYTES + 8];
    const char *point = localeconv()->decimal_point;
    const char *dot = strchr(text, '.');
    if (!dot || strcmp(point, ".") == 0) return strtod(text, NULL);
    snprintf(copy, sizeof copy, "%.*s%s%s", (int)(dot - text), text, point, dot + 1);
    return strtod(copy, NULL);
}

static size_t digits(parser *p) {
    size_t n = 0;
    for (int c; (c = peek(p)) >= '0' && c <= '9'; n++) p->pos++;
    return n;
}

static elm_status parse_number(parser *p, elm_json *out) {
    char text[MAX_NUMBER_BYTES + 1];
    size_t start = p->pos;
    bool integer = true;
    if (peek(p) == '-') p->pos++;
    int first = peek(p);
    size_t n_whole = digits(p);
    if (n_whole == 0 || (first == '0' && n_whole > 1)) return bad(p, "a value");
    if (peek(p) == '.') {
        integer = false;
        p->pos++;
        if (digits(p) == 0) return bad(p, "a digit");
    }
    if (peek(p) == 'e' || peek(p) == 'E') {
        integer = false;
        p->pos++;
        if (peek(p) == '+' || peek(p) == '-') p->pos++;
        if (digits(p) == 0) return bad(p, "a digit");
    }
    size_t n = p->pos - start;
    if (n > MAX_NUMBER_BYTES) return bad(p, "a shorter number");
    memcpy(text, p->text.data + start, n);
    text[n] = 0;
    if (integer) {
        /* At most 19 digits can be an int64; longer ones are doubles. */
        uint64_t value = 0;
        bool negative = text[0] == '-', fits = n_whole <= 19;
        for (size_t i = negative; fits && i < n; i++) {
            fits = !__builtin_mul_overflow(value, 10u, &value) &&
                   !__builtin_add_overflow(value, (uint64_t)(text[i] - '0'), &value);
        }
        if (fits && value <= (uint64_t)INT64_MAX + negative) {
            out->type = ELM_JSON_INT;
            out->as.integer = negative ? (int64_t)(0 - value) : (int64_t)value;
            return ELM_OK;
        }
    }
    out->type = ELM_JSON_DOUBLE;
    out->as.number = to_double(text);
    if (isfinite(out->as.number) || p->allow_nan) return ELM_OK;
    return elm_fail(p->err, ELM_MALFORMED, "%s:%u: the number '%.40s' is too large", p->where,
                    p->line, text);
}

/* ---- containers ---- */

static int compare_keys(const void *a, const void *b) {
    const elm_json *x = *(const elm_json *const *)a, *y = *(const elm_json *const *)b;
    size_t n = x->key.size < y->key.size ? x->key.size : y->key.size;
    int order = n > 0 ? memcmp(x->key.data, y->key.data, n) : 0;
    return order ? order : (x->key.size > y->key.size) - (x->key.size < y->key.size);
}

static elm_status duplicate(const parser *p, const elm_json *member) {
    return elm_fail(p->err, ELM_MALFORMED, "%s:%u: the key '%.*s' appears twice", p->where,
                    member->line, (int)(member->key.size < 80 ? member->key.size : 80),
                    (const char *)member->key.data);
}

/* An open-addressing table of member numbers + 1. FNV can be attacked, so a probe limit falls back
 * to sorting. */
static elm_status check_duplicates(parser *p, const elm_json *items, uint32_t n) {
    enum { MAX_PROBES = 64 };
    if (n <= LINEAR_KEYS) {
        for (uint32_t i = 1; i < n; i++) {
            for (uint32_t k = 0; k < i; k++) {
                if (elm_span_equal(items[i].key, items[k].key)) return duplicate(p, &items[i]);
            }
        }
        return ELM_OK;
    }
    size_t slots = 64;
    while (slots < (size_t)n * 2) slots *= 2;
    const elm_allocator *alloc = p->arena->alloc;
    uint32_t *table = NULL;
    ELM_TRY(elm_alloc_array(alloc, slots, sizeof *table, p->where, &table, p->err));
    elm_status status = ELM_OK;
    bool crowded = false;
    for (uint32_t i = 0; i < n && status == ELM_OK && !crowded; i++) {
        size_t slot = elm_fnv1a(items[i].key.data, items[i].key.size) & (slots - 1);
        uint32_t probes = 0;
        while (table[slot] && !elm_span_equal(items[table[slot] - 1].key, items[i].key)) {
            slot = (slot + 1) & (slots - 1);
            if (++probes > MAX_PROBES) crowded = true;
            if (crowded) break;
        }
        if (!crowded && table[slot])
            status = duplicate(p, &items[i]);
        else if (!crowded)
            table[slot] = i + 1;
    }
    elm_free(alloc, table, slots * sizeof *table);
    if (!crowded || status != ELM_OK) return status;
    const elm_json **sorted = NULL;
    ELM_TRY(elm_alloc_array(alloc, n, sizeof *sorted, p->where, &sorted, p->err));
    for (uint32_t i = 0; i < n; i++) sorted[i] = &items[i];
    qsort(sorted, n, sizeof *sorted, compare_keys);
    for (uint32_t i = 1; i < n && status == ELM_OK; i++) {
        if (compare_keys(&sorted[i - 1], &sorted[i]) == 0) status = duplicate(p, sorted[i]);
    }
    elm_free(alloc, sorted, n * sizeof *sorted);
    return status;
}

static elm_status parse_member_key(parser *p, elm_span *key) {
    if (peek(p) != '"') return bad(p, "a key in quotes");
    ELM_TRY(parse_string(p, key));
    skip_space(p);
    if (peek(p) != ':') return bad(p, "':'");
    p->pos++;
    skip_space(p);
    return ELM_OK;
}

static elm_status parse_container(parser *p, elm_json *out, bool object) {
    char close = object ? '}' : ']';
    size_t base = p->stack.size;
    if (++p->depth > p->max_depth) {
        return elm_fail(p->err, ELM_MALFORMED, "%s:%u: nested deeper than %u", p->where, p->line,
                        p->max_depth);
    }
    p->pos++;
    skip_space(p);
    while (peek(p) != close) {
        elm_json item = {.line = p->line};
        if (object) ELM_TRY(parse_member_key(p, &item.key));
        ELM_TRY(parse_value(p, &item));
        elm_buf_append(&p->stack, &item, sizeof item);
        if (p->stack.status != ELM_OK) return elm_buf_check(&p->stack, p->where, p->err);
        skip_space(p);
        if (peek(p) == ',') {
            p->pos++;
            skip_space(p);
            if (peek(p) == close) return bad(p, "a value");
        } else if (peek(p) != close) {
            return bad(p, object ? "',' or '}'" : "',' or ']'");
        }
    }
    p->pos++;
    p->depth--;
    size_t bytes = p->stack.size - base;
    if (bytes / sizeof(elm_json) > UINT32_MAX) return bad(p, "fewer items");
    elm_json *items = elm_arena_alloc(p->arena, bytes, _Alignof(elm_json));
    if (!items) return elm_fail_oom(p->err, bytes, p->where);
    if (bytes > 0) memcpy(items, p->stack.data + base, bytes);
    p->stack.size = base;
    out->type = object ? ELM_JSON_OBJECT : ELM_JSON_ARRAY;
    out->count = (uint32_t)(bytes / sizeof(elm_json));
    out->as.items = items;
    return object ? check_duplicates(p, items, out->count) : ELM_OK;
}

static elm_status parse_word(parser *p, elm_json *out) {
    if (take(p, "null")) {
        out->type = ELM_JSON_NULL;
    } else if (take(p, "true") || take(p, "false")) {
        out->type = ELM_JSON_BOOL;
        out->as.boolean = p->text.data[p->pos - 2] == 'u'; /* tr-u-e, fal-s-e */
    } else if (p->allow_nan && (take(p, "NaN") || take(p, "Infinity") || take(p, "-Infinity"))) {
        out->type = ELM_JSON_DOUBLE;
        bool negative =
            p->text.data[p->pos - 1] == 'y' && p->pos >= 9 && p->text.data[p->pos - 9] == '-';
        out->as.number = p->text.data[p->pos - 1] == 'N' ? (double)NAN
                         : negative                      ? -(double)INFINITY
                                                         : (double)INFINITY;
    } else {
        return parse_number(p, out);
    }
    return ELM_OK;
}

static elm_status parse_value(parser *p, elm_json *out) {
    out->line = p->line;
    switch (peek(p)) {
    case '{':
        return parse_container(p, out, true);
    case '[':
        return parse_container(p, out, false);
    case '"':
        out->type = ELM_JSON_STRING;
        return parse_string(p, &out->as.string);
    default:
        return parse_word(p, out);
    }
}

elm_status elm_json_parse(elm_span text, const char *where, const elm_json_options *options,
                          elm_arena *arena, const elm_json **out, elm_error *err) {
    static const elm_json_options none = {0};
    const elm_json_options *o = options ? options : &none;
    parser p = {
        .text = text,
        .line = 1,
        .max_depth = o->max_depth ? o->max_depth : ELM_JSON_MAX_DEPTH,
        .allow_nan = o->allow_nan,
        .allow_lone_surrogates = o->allow_lone_surrogates,
        .where = where,
        .arena = arena,
        .err = err,
    };
    *out = NULL;
    elm_json *root = elm_arena_alloc(arena, sizeof *root, _Alignof(elm_json));
    if (!root) return elm_fail_oom(err, sizeof *root, where);
    elm_buf_init(&p.stack, arena->alloc, MAX_STACK_BYTES);
    if (text.size >= 3 && memcmp(text.data, "\xef\xbb\xbf", 3) == 0)
        p.pos = 3; /* a byte order mark */
    skip_space(&p);
    elm_status status = parse_value(&p, root);
    skip_space(&p);
    if (status == ELM_OK && p.pos != text.size) status = bad(&p, "the end");
    elm_buf_free(&p.stack);
    if (status == ELM_OK) *out = root;
    return status;
}
