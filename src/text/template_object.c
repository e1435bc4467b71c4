/* template_object.c - attributes and items of values, what can be iterated, global functions; text.
 */
#include "text/template.h"
#include "text/template_value.h"

#include <string.h>
#include <time.h>

enum { MAX_RANGE = 100000 };
#define MAX_NUMBER ((int64_t)1 << 40) /* in a range */

const char *const elm_tv_function_names[ELM_N_FUNCTIONS] = {
    "range", "namespace", "dict", "raise_exception", "strftime_now", "cycler", "joiner"};

elm_tv elm_targ(const elm_targs *args, uint32_t index, const char *name, elm_tv def) {
    if (args && index < args->n) return args->items[index];
    const elm_tv *named = args && name ? elm_tv_get_text(args->named, name) : NULL;
    return named ? *named : def;
}

/* ---- attributes and iteration ---- */

static elm_tv bound(elm_trender *r, elm_tv self, elm_tstr name) {
    elm_tv v = {.type = ELM_TV_BOUND};
    v.as.bound = elm_tr_alloc(r, sizeof *v.as.bound);
    elm_tv *copy = elm_tr_alloc(r, sizeof *copy);
    if (r->status != ELM_OK) return elm_tv_none();
    *copy = self;
    v.as.bound->self = copy;
    v.as.bound->name = name;
    return v;
}

static const char *key_text(elm_trender *r, elm_tv key) {
    elm_tstr s = elm_tv_str(r, key);
    char *copy = elm_tr_alloc(r, s.size + 1);
    if (r->status != ELM_OK || !copy) return "";
    memcpy(copy, s.data, s.size);
    copy[s.size] = 0;
    return copy;
}

elm_tv elm_tv_attribute(elm_trender *r, elm_tv object, elm_tv key, bool dot) {
    if (object.type == ELM_TV_RANGE) {
        elm_tlist *list = elm_tv_iterate(r, object);
        object = (elm_tv){.type = ELM_TV_LIST, .as.list = list};
    }
    bool sequence =
        object.type == ELM_TV_LIST || object.type == ELM_TV_TUPLE || object.type == ELM_TV_STRING;
    if (object.type == ELM_TV_UNDEFINED) {
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "'%s' is undefined", object.as.undefined);
        return elm_tv_none();
    }
    /* x.y asks for the attribute first, x["y"] for the item first. */
    if (dot && key.type == ELM_TV_STRING && elm_tv_has_method(object, key.as.string))
        return bound(r, object, key.as.string);
    if (object.type == ELM_TV_LOOP && key.type == ELM_TV_STRING)
        return elm_tv_loop_attribute(r, object.as.loop, key.as.string);
    bool state = object.type == ELM_TV_CYCLER || object.type == ELM_TV_JOINER;
    if (state && key.type == ELM_TV_STRING && !elm_tv_has_method(object, key.as.string))
        return elm_tv_state_attribute(object, key.as.string);
    if (object.type == ELM_TV_DICT || object.type == ELM_TV_NAMESPACE) {
        const elm_tv *v = elm_tv_get(object.as.dict, key);
        if (v) return *v;
    } else if (sequence && (key.type == ELM_TV_INT || key.type == ELM_TV_BOOL)) {
        int64_t n = elm_tv_length(r, object),
                i = key.type == ELM_TV_INT ? key.as.integer : key.as.boolean;
        if (i < 0) i += n;
        if (i >= 0 && i < n && object.type != ELM_TV_STRING) return object.as.list->items[i];
        if (i >= 0 && i < n) {
            uint32_t begin = elm_ts_offset(object.as.string, (uint32_t)i),
                     end = elm_ts_offset(object.as.string, (uint32_t)i + 1);
            return elm_tv_marked(elm_tv_string(elm_ts_slice(object.as.string, begin, end)), object);
        }
    }
    /* What groupby gives are pairs whose parts have names. */
    if (object.type == ELM_TV_TUPLE && object.as.list->n == 2) {
        if (elm_tv_is_text(key, "grouper")) return object.as.list->items[0];
        if (elm_tv_is_text(key, "list")) return object.as.list->items[1];
    }
    if (!dot && key.type == ELM_TV_STRING && elm_tv_has_method(object, key.as.string))
        return bound(r, object, key.as.string);
    return elm_tv_undefined(key_text(r, key));
}

elm_tlist *elm_tv_iterate(elm_trender *r, elm_tv v) {
    static elm_tlist nothing;
    elm_tv list = elm_tv_none();
    switch (v.type) {
    case ELM_TV_LIST:
    case ELM_TV_TUPLE:
        return v.as.list;
    case ELM_TV_DICT:
        list = elm_tv_method(r, v, elm_tv_literal("keys").as.string, NULL);
        break;
    case ELM_TV_UNDEFINED:
        return &nothing;
    case ELM_TV_RANGE:
        list = elm_tv_new_list(r, false);
        for (int64_t i = 0; i < v.as.range->n && elm_tr_step(r); i++)
            elm_tv_append(r, list, elm_tv_int(v.as.range->start + i * v.as.range->step));
        break;
    case ELM_TV_STRING:
        list = elm_tv_new_list(r, false);
        for (uint32_t at = 0; at < v.as.string.size && elm_tr_step(r);) {
            uint32_t end = at + 1;
            while (end < v.as.string.size && (v.as.string.data[end] & 0xc0) == 0x80) end++;
            elm_tv_append(r, list, elm_tv_string(elm_ts_slice(v.as.string, at, end)));
            at = end;
        }
        break;
    default:
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "%s cannot be iterated", elm_tv_type_name(v));
        break;
    }
    return r->status == ELM_OK ? list.as.list : &nothing;
}

elm_titems elm_tv_items(elm_trender *r, elm_tv v) {
    if (v.type == ELM_TV_RANGE) return (elm_titems){.range = *v.as.range, .n = v.as.range->n};
    const elm_tlist *l = elm_tv_iterate(r, v);
    return (elm_titems){.list = l, .n = l->n};
}

elm_tv elm_titem(const elm_titems *items, int64_t i) {
    return items->list ? items->list->items[i]
                       : elm_tv_int(items->range.start + i * items->range.step);
}

elm_tv elm_tv_loop_attribute(elm_trender *r, elm_tloop *l, elm_tstr name) {
    int64_t i = l->index;
    if (elm_ts_is(name, "index")) return elm_tv_int(i + 1);
    if (elm_ts_is(name, "index0")) return elm_tv_int(i);
    if (elm_ts_is(name, "first")) return elm_tv_bool(i == 0);
    if (elm_ts_is(name, "depth")) return elm_tv_int(l->depth);
    if (elm_ts_is(name, "depth0")) return elm_tv_int(l->depth - 1);
    if (elm_ts_is(name, "previtem") && i > 0) return elm_titem(&l->items, i - 1);
    bool next = elm_ts_is(name, "nextitem");
    if (next || elm_ts_is(name, "last")) {
        bool more = elm_te_loop_reach(r, l, i + 2);
        if (!next) return elm_tv_bool(!more);
        return more ? elm_titem(&l->items, i + 1) : elm_tv_undefined("loop.nextitem");
    }
    bool back = elm_ts_is(name, "revindex"), back0 = elm_ts_is(name, "revindex0");
    if (!back && !back0 && !elm_ts_is(name, "length"))
        return elm_tv_undefined("an attribute of loop");
    int64_t n = elm_tv_length(r, (elm_tv){.type = ELM_TV_LOOP, .as.loop = l});
    return elm_tv_int(back ? n - i : back0 ? n - i - 1 : n);
}

/* ---- functions ---- */

static elm_tv range(elm_trender *r, const elm_targs *args) {
    int64_t v[3] = {0, 0, 1};
    for (uint32_t i = 0; i < args->n && i < 3; i++) {
        if (args->items[i].type != ELM_TV_INT)
            elm_tr_fail(r, ELM_INVALID_ARGUMENT, "range takes integers");
        else
            v[i] = args->items[i].as.integer;
    }
    if (args->n == 1) v[1] = v[0], v[0] = 0;
    if (args->n == 0 || args->n > 3 || v[2] == 0) {
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "range takes one to three integers, the step not 0");
        return elm_tv_none();
    }
    for (int i = 0; i < 3; i++) {
        if (v[i] > MAX_NUMBER || v[i] < -MAX_NUMBER)
            elm_tr_fail(r, ELM_LIMIT, "a range of such numbers is too long");
    }
    if (r->status != ELM_OK) return elm_tv_none();
    int64_t span = v[2] > 0 ? v[1] - v[0] : v[0] - v[1], step = v[2] > 0 ? v[2] : -v[2];
    int64_t n = span > 0 ? (span + step - 1) / step : 0;
    /* The sandbox of jinja2 has the same limit. */
    if (n > MAX_RANGE)
        elm_tr_fail(r, ELM_LIMIT, "a range of %lld numbers is too long", (long long)n);
    elm_trange *g = elm_tr_alloc(r, sizeof *g);
    if (r->status != ELM_OK) return elm_tv_none();
    *g = (elm_trange){v[0], v[1], v[2], n};
    return (elm_tv){.type = ELM_TV_RANGE, .as.range = g};
}

/* dict(pairs or dict, name=value, ...), and namespace of the same. */
static elm_tv new_dict(elm_trender *r, const elm_targs *args, elm_tv_type type) {
    elm_tv d = elm_tv_new_dict(r);
    elm_tv first = elm_targ(args, 0, NULL, elm_tv_new_list(r, false));
    bool dict = first.type == ELM_TV_DICT;
    const elm_tlist *pairs = dict ? NULL : elm_tv_iterate(r, first);
    for (uint32_t i = 0; dict && i < first.as.dict->n; i++)
        elm_tv_set(r, d, first.as.dict->keys[i], first.as.dict->values[i]);
    for (uint32_t i = 0; pairs && i < pairs->n && elm_tr_step(r); i++) {
        const elm_tlist *pair = elm_tv_iterate(r, pairs->items[i]);
        if (pair->n == 2)
            elm_tv_set(r, d, pair->items[0], pair->items[1]);
        else
            elm_tr_fail(r, ELM_INVALID_ARGUMENT, "dict takes pairs");
    }
    for (uint32_t i = 0; args->named && i < args->named->n; i++)
        elm_tv_set(r, d, args->named->keys[i], args->named->values[i]);
    if (r->status != ELM_OK) return elm_tv_none();
    for (uint32_t i = 0; type == ELM_TV_NAMESPACE && i < d.as.dict->n; i++) {
        elm_tv key = d.as.dict->keys[i];
        if (key.type == ELM_TV_STRING && key.as.string.size > 0 && key.as.string.data[0] == '_')
            elm_tr_fail(r, ELM_INVALID_ARGUMENT, "an attribute of a namespace begins with _");
    }
    d.type = type;
    return d;
}

/* %z and %Z are empty, as of Python's datetime.now(), which knows no zone. */
static void copy_format(elm_tstr s, char *out) {
    size_t n = 0;
    for (uint32_t i = 0; i < s.size; i++) {
        bool pair = s.data[i] == '%' && i + 1 < s.size;
        if (pair && (s.data[i + 1] | 32) == 'z') {
            i++;
            continue;
        }
        out[n++] = (char)s.data[i];
        if (pair) out[n++] = (char)s.data[++i];
    }
    out[n] = 0;
}

static elm_tv now(elm_trender *r, const elm_targs *args) {
    char format[128], text[512];
    elm_tv f = elm_targ(args, 0, "format", elm_tv_none());
    time_t seconds = (time_t)(r->options->now_unix_s + r->options->now_offset_s);
    struct tm parts;
    if (f.type != ELM_TV_STRING || f.as.string.size >= sizeof format) {
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "strftime_now takes a short format");
        return elm_tv_none();
    }
    copy_format(f.as.string, format);
    gmtime_r(&seconds, &parts);
    elm_buf buf;
    elm_buf_init(&buf, r->arena->alloc, sizeof text);
    size_t n = strftime(text, sizeof text, format, &parts);
    elm_buf_append(&buf, text, n);
    elm_tstr out = elm_ts_from_buf(r, &buf);
    elm_buf_free(&buf);
    return elm_tv_string(out);
}

elm_tv elm_tv_function(elm_trender *r, int function, const elm_targs *args) {
    switch (function) {
    case ELM_FN_RANGE:
        return range(r, args);
    case ELM_FN_NAMESPACE:
        return new_dict(r, args, ELM_TV_NAMESPACE);
    case ELM_FN_DICT:
        return new_dict(r, args, ELM_TV_DICT);
    case ELM_FN_STRFTIME:
        return now(r, args);
    case ELM_FN_CYCLER:
        return elm_tv_new_cycler(r, args);
    case ELM_FN_JOINER:
        return elm_tv_new_joiner(r, args);
    default:
        break;
    }
    elm_tstr message = elm_tv_str(r, elm_targ(args, 0, NULL, elm_tv_literal("")));
    if (r->status == ELM_OK) {
        r->status =
            elm_fail(r->err, ELM_INVALID_ARGUMENT, "the chat template refuses: %.*s",
                     (int)(message.size < 400 ? message.size : 400), (const char *)message.data);
    }
    return elm_tv_none();
}
