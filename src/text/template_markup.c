/* template_markup.c - what `escape` and `safe` give: strings that escape what + and % put beside them;
 * text.
 *
 * As markupsafe has it, in an environment that does not escape by itself: methods and slices keep the
 * mark, `~`, join and the output do not ask for it. */
#include "text/template_filters.h"

#include <string.h>

static void append_escaped(elm_buf *buf, elm_tstr s) {
    for (uint32_t i = 0; i < s.size; i++) {
        switch (s.data[i]) {
        case '&':
            elm_buf_str(buf, "&amp;");
            break;
        case '<':
            elm_buf_str(buf, "&lt;");
            break;
        case '>':
            elm_buf_str(buf, "&gt;");
            break;
        case '\'':
            elm_buf_str(buf, "&#39;");
            break;
        case '"':
            elm_buf_str(buf, "&#34;");
            break;
        default:
            elm_buf_u8(buf, s.data[i]);
            break;
        }
    }
}

static void append_text(elm_buf *buf, elm_tstr s) {
    if (s.size > 0) elm_buf_append(buf, s.data, s.size);
}

static elm_tv escape_text(elm_trender *r, elm_tstr s) {
    elm_buf buf;
    elm_buf_init(&buf, r->arena->alloc, ELM_TEMPLATE_MAX_TEXT_BYTES);
    append_escaped(&buf, s);
    elm_tv out = elm_tv_string(elm_ts_from_buf(r, &buf));
    elm_buf_free(&buf);
    out.safe = true;
    return out;
}

elm_tv elm_tv_escape(elm_trender *r, elm_tv v) {
    return v.type == ELM_TV_STRING && v.safe ? v : escape_text(r, elm_tv_str(r, v));
}

elm_tv elm_tv_marked(elm_tv v, elm_tv like) {
    v.safe = v.type == ELM_TV_STRING && like.type == ELM_TV_STRING && like.safe;
    return v;
}

/* Numbers are left to the format. */
static elm_tv escape_value(elm_trender *r, elm_tv v) {
    bool number = v.type == ELM_TV_INT || v.type == ELM_TV_FLOAT || v.type == ELM_TV_BOOL;
    return number ? v : elm_tv_escape(r, v);
}

elm_tv elm_tv_escape_all(elm_trender *r, elm_tv v) {
    if (v.type == ELM_TV_DICT) {
        elm_tv out = elm_tv_new_dict(r);
        for (uint32_t i = 0; i < v.as.dict->n && elm_tr_step(r); i++)
            elm_tv_set(r, out, v.as.dict->keys[i], escape_value(r, v.as.dict->values[i]));
        return out;
    }
    if (v.type != ELM_TV_TUPLE && v.type != ELM_TV_LIST) return escape_value(r, v);
    elm_tv out = elm_tv_new_list(r, v.type == ELM_TV_TUPLE);
    for (uint32_t i = 0; i < v.as.list->n && elm_tr_step(r); i++)
        elm_tv_append(r, out, escape_value(r, v.as.list->items[i]));
    return out;
}

elm_tv elm_tv_marked_method(elm_trender *r, elm_tv self, elm_tstr name, const elm_targs *args) {
    elm_tv items[2] = {elm_targ(args, 0, NULL, elm_tv_none()),
                       elm_targ(args, 1, NULL, elm_tv_none())};
    elm_targs own = args ? *args : (elm_targs){0};
    bool join = elm_ts_is(name, "join");
    if (join && own.n == 1) {
        elm_tlist *l = elm_tv_iterate(r, items[0]);
        items[0] = elm_tv_escape_all(r, (elm_tv){.type = ELM_TV_LIST, .as.list = l});
    } else if (own.n >= 2 && items[1].type == ELM_TV_STRING) { /* what replaces or fills */
        items[1] = elm_tv_escape(r, items[1]);
    }
    bool few = own.n > 0 && own.n <= 2;
    if (few) own.items = items;
    if (r->status != ELM_OK) return elm_tv_none();
    elm_tv plain = self;
    plain.safe = false;
    elm_tv out = elm_ts_is(name, "format") ? elm_tv_format(r, self, args)
                                           : elm_tv_method(r, plain, name, &own);
    bool list = out.type == ELM_TV_LIST || out.type == ELM_TV_TUPLE;
    for (uint32_t i = 0; list && r->status == ELM_OK && i < out.as.list->n; i++)
        out.as.list->items[i] = elm_tv_marked(out.as.list->items[i], self);
    return elm_tv_marked(out, self);
}

/* ---- filters ---- */

static elm_tv escape(elm_trender *r, elm_tv v, const elm_targs *args) {
    (void)args;
    return elm_tv_escape(r, v);
}

static elm_tv force_escape(elm_trender *r, elm_tv v, const elm_targs *args) {
    (void)args;
    return escape_text(r, elm_tv_str(r, v));
}

static elm_tv safe(elm_trender *r, elm_tv v, const elm_targs *args) {
    elm_tv out = elm_tv_string(elm_tv_str(r, v));
    (void)args;
    out.safe = true;
    return out;
}

/* Whether no character of an attribute's name ends it: white space, / > = */
static bool is_attribute_name(elm_tv key) {
    if (key.type != ELM_TV_STRING) return false;
    for (uint32_t i = 0; i < key.as.string.size; i++) {
        uint8_t c = key.as.string.data[i];
        if (c > 0 && strchr(" \t\n\v\f\r/>=", c)) return false;
    }
    return true;
}

static elm_tv xml_attributes(elm_trender *r, elm_tv v, const elm_targs *args) {
    bool space = elm_tv_truth(elm_targ(args, 0, "autospace", elm_tv_bool(true)));
    elm_buf buf;
    if (v.type != ELM_TV_DICT) elm_tr_fail(r, ELM_INVALID_ARGUMENT, "xmlattr takes a dict");
    elm_buf_init(&buf, r->arena->alloc, ELM_TEMPLATE_MAX_TEXT_BYTES);
    for (uint32_t i = 0; r->status == ELM_OK && i < v.as.dict->n && elm_tr_step(r); i++) {
        elm_tv key = v.as.dict->keys[i], value = v.as.dict->values[i];
        if (value.type == ELM_TV_NONE || value.type == ELM_TV_UNDEFINED) continue;
        if (!is_attribute_name(key)) {
            elm_tr_fail(r, ELM_INVALID_ARGUMENT,
                        "xmlattr takes names without white space, '/', '>' and '='");
            break;
        }
        if (space || buf.size > 0) elm_buf_u8(&buf, ' ');
        append_escaped(&buf, key.as.string);
        elm_buf_str(&buf, "=\"");
        append_text(&buf, elm_tv_escape(r, value).as.string);
        elm_buf_u8(&buf, '"');
    }
    elm_tstr out = elm_ts_from_buf(r, &buf);
    elm_buf_free(&buf);
    return elm_tv_string(out);
}

const elm_tfilter elm_markup_filters[] = {
    {"escape", escape},          {"e", escape}, {"forceescape", force_escape}, {"safe", safe},
    {"xmlattr", xml_attributes}, {NULL, NULL}};
