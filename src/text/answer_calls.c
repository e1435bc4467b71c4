/* answer_calls.c - the text of tool calls to JSON, form by form; text. */
#include "text/answer.h"

typedef struct reading {
    elm_span text;
    size_t at;
    const elm_json *tools;
    elm_arena arena;
    elm_buf *out;
    size_t begin; /* of the call that is being written, in out */
    elm_json_writer w;
} reading;

/* ---- JSON ---- */

static const elm_json *parse(reading *r, elm_span text) {
    static const elm_json_options options = {.max_depth = ELM_MAX_ARGUMENT_DEPTH};
    const elm_json *value = NULL;
    return elm_json_parse(text, "a tool call", &options, &r->arena, &value, NULL) == ELM_OK ? value
                                                                                            : NULL;
}

/* A value as JSON, or as Python's str() of a constant, which is what templates write. */
static const elm_json *parse_loose(reading *r, elm_span text) {
    static const char *const words[][2] = {{"True", "true"}, {"False", "false"}, {"None", "null"}};
    for (int i = 0; i < 3; i++) {
        if (elm_span_equal(text, elm_span_str(words[i][0]))) text = elm_span_str(words[i][1]);
    }
    return parse(r, text);
}

static void begin_call(reading *r, elm_span name) {
    r->begin = r->out->size;
    elm_json_writer_init(&r->w, r->out, false);
    elm_json_begin_object(&r->w, NULL);
    elm_json_put_string(&r->w, "name", name);
}

/* False when the call is not what its reader can take: a parameter that stands twice. */
static bool end_call(reading *r) {
    const elm_json *call;
    elm_json_end_object(&r->w);
    elm_buf_u8(r->out, 0); /* may move what was written: looked at only afterwards */
    if (r->out->status != ELM_OK) return false;
    elm_span text = elm_span_of(r->out->data + r->begin, r->out->size - r->begin - 1);
    return elm_json_parse(text, "a call", NULL, &r->arena, &call, NULL) == ELM_OK;
}

static bool has_zero(const elm_json *v) {
    if (v->key.size > 0 && memchr(v->key.data, 0, v->key.size)) return true;
    for (uint32_t i = 0; (v->type == ELM_JSON_ARRAY || v->type == ELM_JSON_OBJECT) && i < v->count;
         i++) {
        if (has_zero(&v->as.items[i])) return true;
    }
    return false;
}

/* {"name": ..., "arguments" or "parameters": an object, or its text} */
static bool json_call(reading *r, const elm_json *v) {
    const elm_json *name = elm_json_find(v, "name"), *arguments = elm_json_find(v, "arguments");
    if (!arguments) arguments = elm_json_find(v, "parameters");
    if (!name || name->type != ELM_JSON_STRING || name->as.string.size == 0 || !arguments)
        return false;
    if (arguments->type == ELM_JSON_STRING) arguments = parse(r, arguments->as.string);
    if (!arguments || arguments->type != ELM_JSON_OBJECT || has_zero(arguments)) return false;
    begin_call(r, name->as.string);
    elm_json_put_value(&r->w, "arguments", arguments);
    return end_call(r);
}

/* ---- words ---- */

static void skip_space(reading *r) {
    while (r->at < r->text.size && strchr(" \t\r\n", r->text.data[r->at])) r->at++;
}

static bool take(reading *r, const char *word) {
    size_t n = strlen(word);
    if (r->text.size - r->at < n || memcmp(r->text.data + r->at, word, n) != 0) return false;
    r->at += n;
    return true;
}

/* The text before the next `word`, which is taken; false: there is none. */
static bool until(reading *r, const char *word, elm_span *out) {
    size_t n = strlen(word);
    for (size_t at = r->at; at + n <= r->text.size; at++) {
        if (memcmp(r->text.data + at, word, n) != 0) continue;
        *out = elm_span_of(r->text.data + r->at, at - r->at);
        r->at = at + n;
        return true;
    }
    return false;
}

static elm_span rest(const reading *r) {
    return elm_span_of(r->text.data + r->at, r->text.size - r->at);
}

/* A NUL-terminated copy of a key; NULL when it holds a zero byte. */
static const char *key_of(reading *r, elm_span key) {
    if (key.size == 0 || memchr(key.data, 0, key.size)) return NULL;
    return elm_arena_string(&r->arena, key);
}

/* ---- xml ---- */

/* Whether the tools say that this parameter is a string: "5" stays text then. */
static bool is_string(const reading *r, elm_span function, const char *parameter) {
    for (uint32_t i = 0; r->tools && r->tools->type == ELM_JSON_ARRAY && i < r->tools->count; i++) {
        const elm_json *tool = &r->tools->as.items[i], *f = elm_json_find(tool, "function");
        if (!f) f = tool;
        const elm_json *name = elm_json_find(f, "name");
        if (!name || name->type != ELM_JSON_STRING || !elm_span_equal(name->as.string, function))
            continue;
        const elm_json *properties = elm_json_find(elm_json_find(f, "parameters"), "properties");
        return elm_json_is(elm_json_find(elm_json_find(properties, parameter), "type"), "string");
    }
    return false;
}

/* The template writes a line feed on both sides of a value. */
static elm_span without_feeds(elm_span s) {
    if (s.size > 0 && s.data[0] == '\n') s = elm_span_of(s.data + 1, s.size - 1);
    if (s.size > 0 && s.data[s.size - 1] == '\n') s.size--;
    return s;
}

static bool xml_parameters(reading *r, elm_span function) {
    for (skip_space(r); take(r, "<parameter="); skip_space(r)) {
        elm_span name, text;
        if (!until(r, ">", &name) || !until(r, "</parameter>", &text)) return false;
        const char *key = key_of(r, name);
        text = without_feeds(text);
        if (!key) return false;
        const elm_json *value = is_string(r, function, key) ? NULL : parse_loose(r, text);
        if (value && value->type != ELM_JSON_STRING && !has_zero(value))
            elm_json_put_value(&r->w, key, value);
        else
            elm_json_put_string(&r->w, key, text);
    }
    return take(r, "</function>");
}

static bool xml_calls(reading *r) {
    elm_span name;
    bool any = false;
    for (skip_space(r); take(r, "<function="); skip_space(r)) {
        if (!until(r, ">", &name) || name.size == 0) return false;
        begin_call(r, name);
        elm_json_begin_object(&r->w, "arguments");
        if (!xml_parameters(r, name)) return false;
        elm_json_end_object(&r->w);
        if (!end_call(r)) return false;
        any = true;
    }
    return any && r->at == r->text.size;
}

/* ---- keyed ---- */

#define QUOTE "<|\"|>"

static bool keyed_value(reading *r, const char *key, uint32_t depth);

static bool keyed_members(reading *r, uint32_t depth) {
    if (take(r, "}")) return true;
    for (;;) {
        elm_span name;
        if (take(r, QUOTE)) { /* a key may be quoted too */
            if (!until(r, QUOTE, &name) || !take(r, ":")) return false;
        } else if (!until(r, ":", &name)) {
            return false;
        }
        const char *key = key_of(r, name);
        if (!key || !keyed_value(r, key, depth)) return false;
        if (take(r, "}")) return true;
        if (!take(r, ",")) return false;
        skip_space(r);
    }
}

static bool keyed_items(reading *r, uint32_t depth) {
    if (take(r, "]")) return true;
    for (;;) {
        if (!keyed_value(r, NULL, depth)) return false;
        if (take(r, "]")) return true;
        if (!take(r, ",")) return false;
        skip_space(r);
    }
}

static bool keyed_value(reading *r, const char *key, uint32_t depth) {
    elm_span text;
    if (depth >= ELM_MAX_ARGUMENT_DEPTH) return false;
    if (take(r, QUOTE)) {
        if (!until(r, QUOTE, &text)) return false;
        elm_json_put_string(&r->w, key, text);
        return true;
    }
    if (take(r, "{")) {
        elm_json_begin_object(&r->w, key);
        bool ok = keyed_members(r, depth + 1);
        elm_json_end_object(&r->w);
        return ok;
    }
    if (take(r, "[")) {
        elm_json_begin_array(&r->w, key);
        bool ok = keyed_items(r, depth + 1);
        elm_json_end_array(&r->w);
        return ok;
    }
    size_t begin = r->at;
    while (r->at < r->text.size && !strchr(",}]", r->text.data[r->at])) r->at++;
    const elm_json *value = parse_loose(r, elm_span_of(r->text.data + begin, r->at - begin));
    if (!value) return false;
    elm_json_put_value(&r->w, key, value);
    return true;
}

static bool keyed_calls(reading *r) {
    elm_span name;
    if (!take(r, "call:") || !until(r, "{", &name) || name.size == 0) return false;
    begin_call(r, name);
    elm_json_begin_object(&r->w, "arguments");
    if (!keyed_members(r, 0)) return false;
    elm_json_end_object(&r->w);
    skip_space(r);
    return end_call(r) && r->at == r->text.size;
}

/* ---- list ---- */

/* The JSON value at r->at: up to where its brackets close. */
static const elm_json *next_json(reading *r) {
    size_t depth = 0;
    bool quoted = false;
    for (size_t at = r->at; at < r->text.size; at++) {
        uint8_t c = r->text.data[at];
        if (quoted && c == '\\')
            at++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == '{' || c == '['))
            depth++;
        else if (!quoted && (c == '}' || c == ']') && --depth == 0) {
            elm_span value = elm_span_of(r->text.data + r->at, at + 1 - r->at);
            r->at = at + 1;
            return parse(r, value);
        } else if (depth == 0) {
            return NULL;
        }
    }
    return NULL;
}

/* n[ARGS]a, n[CALL_ID]i[ARGS]a, or na */
static bool named_call(reading *r) {
    elm_span id;
    size_t begin = r->at;
    while (r->at < r->text.size && !strchr("[{", r->text.data[r->at])) r->at++;
    elm_span name = elm_span_of(r->text.data + begin, r->at - begin);
    if (take(r, "[CALL_ID]")) {
        if (!until(r, "[ARGS]", &id)) return false;
    } else {
        (void)take(r, "[ARGS]");
    }
    const elm_json *arguments = next_json(r);
    if (name.size == 0 || !arguments || arguments->type != ELM_JSON_OBJECT || has_zero(arguments))
        return false;
    begin_call(r, name);
    elm_json_put_value(&r->w, "arguments", arguments);
    return end_call(r);
}

static bool list_calls(reading *r) {
    skip_space(r);
    if (r->at < r->text.size && r->text.data[r->at] == '[') {
        const elm_json *list = next_json(r);
        skip_space(r);
        bool ok = list && list->type == ELM_JSON_ARRAY && list->count > 0 && r->at == r->text.size;
        for (uint32_t i = 0; ok && i < list->count; i++) ok = json_call(r, &list->as.items[i]);
        return ok;
    }
    for (bool any = false;; any = true) {
        if (any && r->at == r->text.size) return true;
        if ((any && !take(r, "[TOOL_CALLS]")) || !named_call(r)) return false;
        skip_space(r);
    }
}

/* ---- bare ---- */

/* One object, or several with semicolons between. */
static bool bare_calls(reading *r) {
    for (;;) {
        skip_space(r);
        const elm_json *value = r->at < r->text.size ? next_json(r) : NULL;
        if (!value || !json_call(r, value)) return false;
        skip_space(r);
        if (r->at == r->text.size) return true;
        if (!take(r, ";")) return false;
    }
}

/* ---- the name, before the call is whole ---- */

static bool json_head(reading *r) {
    static const char *const words[] = {"{", "\"name\"", ":", "\""};
    for (int i = 0; i < 4; i++) {
        skip_space(r);
        if (!take(r, words[i])) return false;
    }
    return true;
}

static bool is_name_letter(uint8_t c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
}

bool elm_answer_call_name(elm_call_form form, elm_span text, elm_span *name) {
    reading r = {.text = text};
    const char *ends = "\"";
    if (form == ELM_CALLS_JSON) {
        if (!json_head(&r)) return false;
    } else if (form == ELM_CALLS_XML) {
        skip_space(&r);
        if (!take(&r, "<function=")) return false;
        ends = ">";
    } else if (form == ELM_CALLS_KEYED) {
        if (!take(&r, "call:")) return false;
        ends = "{";
    } else if (form == ELM_CALLS_LIST) {
        skip_space(&r);
        if (!take(&r, "["))
            ends = "[{";
        else if (!json_head(&r))
            return false;
    } else {
        return false;
    }
    size_t begin = r.at;
    while (r.at < text.size && is_name_letter(text.data[r.at])) r.at++;
    *name = elm_span_of(text.data + begin, r.at - begin);
    return name->size > 0 && r.at < text.size && text.data[r.at] && strchr(ends, text.data[r.at]);
}

bool elm_answer_read_calls(elm_call_form form, elm_span text, const elm_json *tools,
                           const elm_allocator *alloc, elm_buf *out) {
    reading r = {.text = text, .tools = tools, .out = out};
    size_t before = out->size;
    bool ok = false;
    elm_arena_init(&r.arena, alloc, 4 * (size_t)ELM_MAX_ANSWER_BYTES);
    if (form == ELM_CALLS_JSON) {
        const elm_json *value = parse(&r, rest(&r));
        ok = value && json_call(&r, value);
    }
    if (form == ELM_CALLS_XML) ok = xml_calls(&r);
    if (form == ELM_CALLS_KEYED) ok = keyed_calls(&r);
    if (form == ELM_CALLS_LIST) ok = list_calls(&r);
    if (form == ELM_CALLS_BARE) ok = bare_calls(&r);
    if (!ok) out->size = before;
    elm_arena_free(&r.arena);
    return ok;
}
