/* template_filters.c - filters of text, and the call by name, in jinja2's words; text. */
#include "text/template_filters.h"

#include "text/template_ast.h"
#include "text/template_methods.h"

#include <ctype.h>
#include <string.h>

static elm_tv call_method(elm_trender *r, elm_tv v, const char *name, const elm_targs *args) {
    elm_tv s = v.type == ELM_TV_STRING ? v : elm_tv_string(elm_tv_str(r, v));
    return elm_tv_method(r, s, elm_tv_literal(name).as.string, args);
}

static elm_tv indent(elm_trender *r, elm_tv v, const elm_targs *args) {
    elm_tv width = elm_targ(args, 0, "width", elm_tv_int(4)), pieces = elm_tv_new_list(r, false);
    bool first = elm_tv_truth(elm_targ(args, 1, "first", elm_tv_bool(false)));
    bool blank = elm_tv_truth(elm_targ(args, 2, "blank", elm_tv_bool(false)));
    if (v.type != ELM_TV_STRING) {
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "indent takes a string, not %s", elm_tv_type_name(v));
        return elm_tv_none();
    }
    if (width.type != ELM_TV_STRING)
        width = elm_tv_binary(r, ELM_OP_TIMES, elm_tv_text(elm_span_str(" "), ELM_PART_TEMPLATE),
                              width);
    if (r->status != ELM_OK) return elm_tv_none();
    elm_tstr s = v.as.string, pad = width.as.string;
    elm_tstr line_feed = {(const uint8_t *)"\n", 1, s.map ? s.map[0] : s.origin, NULL};
    if (s.size == 0 && first) return elm_tv_marked(elm_tv_string(pad), v);
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
    return elm_tv_marked(elm_tv_join(r, pieces.as.list, elm_tv_literal("").as.string), v);
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
        return elm_tv_marked(elm_tv_string(s), v);
    uint32_t stop = elm_ts_offset(s, (uint32_t)(size.as.integer - elm_ts_length(tail))), at = stop;
    while (!kill && at > 0 && s.data[at - 1] != ' ') at--;
    elm_tv head = elm_tv_string(elm_ts_slice(s, 0, kill || at == 0 ? stop : at - 1));
    return elm_tv_binary(r, ELM_OP_PLUS, elm_tv_marked(head, v), end);
}

static elm_tv urlencode(elm_trender *r, elm_tv v, const elm_targs *args) {
    elm_tstr s = elm_tv_str(r, v);
    elm_buf buf;
    (void)args;
    if (v.type == ELM_TV_DICT || v.type == ELM_TV_LIST)
        elm_tr_fail(r, ELM_UNSUPPORTED, "urlencode of %s is not supported", elm_tv_type_name(v));
    elm_buf_init(&buf, r->arena->alloc, ELM_TEMPLATE_MAX_TEXT_BYTES);
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
    elm_tv text = v.type == ELM_TV_STRING ? v : elm_tv_string(elm_tv_str(r, v));
    return r->status == ELM_OK ? elm_tv_binary(r, ELM_OP_MODULO, text, args->named ? named : tuple)
                               : v;
}

static elm_tv as_string(elm_trender *r, elm_tv v, const elm_targs *args) {
    (void)args;
    return v.type == ELM_TV_STRING ? v : elm_tv_string(elm_tv_str(r, v));
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

/* Filters that are a method of the value's str(); two of them give a plain string always. */
static const char *const methods[][2] = {
    {"trim", "strip"},         {"upper", "upper"},           {"lower", "lower"},
    {"title", "title filter"}, {"capitalize", "capitalize"}, {"replace", "replace"}};

static const elm_tfilter filters[] = {{"tojson", json},          {"length", length},
                                      {"count", length},         {"default", defaulted},
                                      {"d", defaulted},          {"string", as_string},
                                      {"indent", indent},        {"attr", attribute},
                                      {"wordcount", word_count}, {"truncate", truncate},
                                      {"urlencode", urlencode},  {"format", formatted},
                                      {"center", centered},      {NULL, NULL}};

static const elm_tfilter *find(elm_tstr name) {
    const elm_tfilter *tables[] = {filters, elm_list_filters, elm_number_filters,
                                   elm_markup_filters, elm_wrap_filters};
    for (size_t t = 0; t < sizeof tables / sizeof tables[0]; t++) {
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
    if (method && (elm_ts_is(name, "title") || elm_ts_is(name, "replace"))) v.safe = false;
    if (method) return call_method(r, v, method, args);
    elm_tr_fail(r, ELM_UNSUPPORTED, "filter '%.*s' is not supported",
                (int)(name.size < 40 ? name.size : 40), (const char *)name.data);
    return elm_tv_none();
}
