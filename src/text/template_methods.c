/* template_methods.c - string and dictionary methods, attributes, iteration, global functions;
 * text. */
#include "text/template.h"
#include "text/template_value.h"

#include "text/unicode.h"
#include "base/utf8.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { MAX_TEXT_BYTES = 16 << 20, MAX_RANGE = 1 << 20 };

const char *const elm_tv_function_names[ELM_N_FUNCTIONS] = {"range", "namespace", "dict",
                                                            "raise_exception", "strftime_now"};

elm_tv elm_targ(const elm_targs *args, uint32_t index, const char *name, elm_tv def) {
    if (args && index < args->n) return args->items[index];
    const elm_tv *named = args && name ? elm_tv_get_text(args->named, name) : NULL;
    return named ? *named : def;
}

static bool is(elm_tstr s, const char *text) {
    return s.size == strlen(text) && memcmp(s.data, text, s.size) == 0;
}

/* ---- case ---- */

/* Simple case mapping of the scripts that chat templates meet: ASCII, Latin-1, Latin Extended-A,
 * Greek, Cyrillic. */
static uint32_t change_case(uint32_t c, bool upper) {
    elm_category category = elm_unicode_category(c);
    if (upper && category == ELM_CAT_LL) {
        if ((c >= 'a' && c <= 'z') || (c >= 0xe0 && c <= 0xfe && c != 0xf7)) return c - 32;
        if (c >= 0x101 && c <= 0x17f && c % 2 && elm_unicode_category(c - 1) == ELM_CAT_LU)
            return c - 1;
        if (c >= 0x3b1 && c <= 0x3c9 && c != 0x3c2) return c - 32;
        if (c >= 0x430 && c <= 0x44f) return c - 32;
        if (c >= 0x450 && c <= 0x45f) return c - 80;
    }
    if (!upper && category == ELM_CAT_LU) {
        if ((c >= 'A' && c <= 'Z') || (c >= 0xc0 && c <= 0xde && c != 0xd7)) return c + 32;
        if (c >= 0x100 && c <= 0x17e && c % 2 == 0 && elm_unicode_category(c + 1) == ELM_CAT_LL)
            return c + 1;
        if (c >= 0x391 && c <= 0x3a9) return c + 32;
        if (c >= 0x410 && c <= 0x42f) return c + 32;
        if (c >= 0x400 && c <= 0x40f) return c + 80;
    }
    return c;
}

/* mode: 'u'pper, 'l'ower, 't'itle (every word), 'c'apitalize (the first letter) */
static elm_tv with_case(elm_trender *r, elm_tstr s, char mode) {
    elm_buf buf;
    bool inside = false;
    elm_buf_init(&buf, r->arena->alloc, MAX_TEXT_BYTES);
    for (uint32_t i = 0; i < s.size;) {
        uint32_t c;
        uint8_t bytes[4];
        int n = elm_utf8_decode(elm_span_of(s.data + i, s.size - i), &c);
        if (n <= 0) break;
        bool upper = mode == 'u' || ((mode == 't' || mode == 'c') && !inside);
        bool letter = elm_unicode_category(c) <= ELM_CAT_LO;
        inside = mode == 'c' ? true : letter;
        elm_buf_append(&buf, bytes, (size_t)elm_utf8_encode(change_case(c, upper), bytes));
        i += (uint32_t)n;
    }
    elm_tstr out = elm_ts_from_buf(r, &buf);
    elm_buf_free(&buf);
    return elm_tv_string(out);
}

/* ---- strip, split, replace ---- */

static bool in_set(elm_tstr set, const uint8_t *c, uint32_t n) {
    elm_tstr needle = {c, n, 0, NULL};
    return elm_ts_find(set, needle, 0) >= 0;
}

static elm_tstr strip(elm_tstr s, const elm_tstr *set, bool left, bool right) {
    uint32_t begin = 0, end = s.size, c;
    while (left && begin < end) {
        int n = elm_utf8_decode(elm_span_of(s.data + begin, end - begin), &c);
        if (n <= 0 || !(set ? in_set(*set, s.data + begin, (uint32_t)n)
                            : elm_unicode_is_space(c) || (c >= 0x1c && c <= 0x1f)))
            break;
        begin += (uint32_t)n;
    }
    while (right && end > begin) {
        uint32_t at = end - 1;
        while (at > begin && (s.data[at] & 0xc0) == 0x80) at--;
        if (elm_utf8_decode(elm_span_of(s.data + at, end - at), &c) <= 0) break;
        if (!(set ? in_set(*set, s.data + at, end - at)
                  : elm_unicode_is_space(c) || (c >= 0x1c && c <= 0x1f)))
            break;
        end = at;
    }
    return elm_ts_slice(s, begin, end);
}

static elm_tv strip_method(elm_trender *r, elm_tstr s, const elm_targs *args, bool left,
                           bool right) {
    elm_tv set = elm_targ(args, 0, "chars", elm_tv_none());
    if (set.type == ELM_TV_NONE) return elm_tv_string(strip(s, NULL, left, right));
    if (set.type != ELM_TV_STRING) elm_tr_fail(r, ELM_INVALID_ARGUMENT, "strip takes a string");
    return elm_tv_string(strip(s, &set.as.string, left, right));
}

static elm_tv split_space(elm_trender *r, elm_tstr s, int64_t most) {
    elm_tv list = elm_tv_new_list(r, false);
    uint32_t at = 0, c;
    for (int64_t n = 0; r->status == ELM_OK; n++) {
        elm_tstr rest = strip(elm_ts_slice(s, at, s.size), NULL, true, false);
        if (rest.size == 0) break;
        at = s.size - rest.size;
        uint32_t end = at;
        if (most >= 0 && n == most) {
            elm_tv_append(r, list, elm_tv_string(strip(rest, NULL, false, true)));
            break;
        }
        for (int k; end < s.size &&
                    (k = elm_utf8_decode(elm_span_of(s.data + end, s.size - end), &c)) > 0 &&
                    !elm_unicode_is_space(c);) {
            end += (uint32_t)k;
        }
        elm_tv_append(r, list, elm_tv_string(elm_ts_slice(s, at, end)));
        at = end;
        if (!elm_tr_step(r)) break;
    }
    return list;
}

static elm_tv split(elm_trender *r, elm_tstr s, const elm_targs *args, bool from_right) {
    elm_tv sep = elm_targ(args, 0, "sep", elm_tv_none()),
           max = elm_targ(args, 1, "maxsplit", elm_tv_int(-1));
    int64_t most = max.type == ELM_TV_INT ? max.as.integer : -1;
    if (sep.type == ELM_TV_NONE && !from_right) return split_space(r, s, most);
    if (sep.type != ELM_TV_STRING || sep.as.string.size == 0) {
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "split takes a separator that is not empty");
        return elm_tv_none();
    }
    uint32_t n_hits = 0, size = sep.as.string.size;
    for (int64_t at = 0; (at = elm_ts_find(s, sep.as.string, (uint32_t)at)) >= 0; at += size)
        n_hits++;
    int64_t skip = from_right && most >= 0 && n_hits > most ? n_hits - most : 0;
    int64_t cuts = most >= 0 && n_hits > most ? most : n_hits;
    elm_tv list = elm_tv_new_list(r, false);
    uint32_t begin = 0;
    int64_t at = 0;
    for (; skip > 0; skip--) at = elm_ts_find(s, sep.as.string, (uint32_t)at) + size;
    for (; cuts > 0 && elm_tr_step(r); cuts--) {
        at = elm_ts_find(s, sep.as.string, (uint32_t)at);
        elm_tv_append(r, list, elm_tv_string(elm_ts_slice(s, begin, (uint32_t)at)));
        at += size;
        begin = (uint32_t)at;
    }
    elm_tv_append(r, list, elm_tv_string(elm_ts_slice(s, begin, s.size)));
    return list;
}

static elm_tv split_lines(elm_trender *r, elm_tstr s) {
    elm_tv list = elm_tv_new_list(r, false);
    for (uint32_t at = 0; at < s.size && elm_tr_step(r);) {
        uint32_t end = at;
        while (end < s.size && s.data[end] != '\n' && s.data[end] != '\r') end++;
        elm_tv_append(r, list, elm_tv_string(elm_ts_slice(s, at, end)));
        at = end + (end + 1 < s.size && s.data[end] == '\r' && s.data[end + 1] == '\n' ? 2 : 1);
    }
    return list;
}

static elm_tv replace(elm_trender *r, elm_tstr s, elm_tv from, elm_tv to, int64_t most) {
    elm_tv pieces = elm_tv_new_list(r, false);
    if (from.type != ELM_TV_STRING || to.type != ELM_TV_STRING) {
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "replace takes two strings");
        return elm_tv_none();
    }
    uint32_t done = 0, step = from.as.string.size ? from.as.string.size : 0;
    for (int64_t at = 0;
         most != 0 && (at = elm_ts_find(s, from.as.string, (uint32_t)at)) >= 0 && elm_tr_step(r);
         most--) {
        elm_tv_append(r, pieces, elm_tv_string(elm_ts_slice(s, done, (uint32_t)at)));
        elm_tv_append(r, pieces, to);
        done = (uint32_t)at + step;
        at += step;
        if (step > 0) continue;
        if (at >= (int64_t)s.size) break;
        do at++; /* an empty needle stands between all characters */
        while (at < (int64_t)s.size && (s.data[at] & 0xc0) == 0x80);
    }
    elm_tv_append(r, pieces, elm_tv_string(elm_ts_slice(s, done, s.size)));
    if (r->status != ELM_OK) return elm_tv_none();
    elm_tstr *parts = elm_tr_alloc(r, pieces.as.list->n * sizeof *parts);
    for (uint32_t i = 0; r->status == ELM_OK && i < pieces.as.list->n; i++)
        parts[i] = pieces.as.list->items[i].as.string;
    return elm_tv_string(elm_ts_concat(r, parts, pieces.as.list->n));
}

static elm_tv affix(elm_trender *r, elm_tstr s, elm_tv what, bool at_start) {
    if (what.type == ELM_TV_TUPLE) {
        for (uint32_t i = 0; i < what.as.list->n; i++) {
            if (elm_tv_truth(affix(r, s, what.as.list->items[i], at_start)))
                return elm_tv_bool(true);
        }
        return elm_tv_bool(false);
    }
    if (what.type != ELM_TV_STRING) {
        elm_tr_fail(r, ELM_INVALID_ARGUMENT,
                    "startswith and endswith take a string or a tuple of them");
        return elm_tv_none();
    }
    elm_tstr a = what.as.string;
    return elm_tv_bool(
        a.size <= s.size &&
        (a.size == 0 || memcmp(at_start ? s.data : s.data + s.size - a.size, a.data, a.size) == 0));
}

static elm_tv find(elm_trender *r, elm_tstr s, elm_tv what, bool last, bool must) {
    int64_t hit = -1;
    if (what.type != ELM_TV_STRING)
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "find takes a string");
    else if (!last)
        hit = elm_ts_find(s, what.as.string, 0);
    else
        for (int64_t at = -1; (at = elm_ts_find(s, what.as.string, (uint32_t)(at + 1))) >= 0;)
            hit = at;
    if (hit < 0 && must) elm_tr_fail(r, ELM_INVALID_ARGUMENT, "substring not found");
    return elm_tv_int(hit < 0 ? -1 : (int64_t)elm_ts_length(elm_ts_slice(s, 0, (uint32_t)hit)));
}

static elm_tv join(elm_trender *r, elm_tstr separator, elm_tv v) {
    elm_tlist *l = elm_tv_iterate(r, v);
    if (r->status != ELM_OK || l->n == 0) return elm_tv_literal("");
    elm_tstr *parts = elm_tr_alloc(r, (size_t)l->n * 2 * sizeof *parts);
    if (r->status != ELM_OK) return elm_tv_none();
    for (uint32_t i = 0; i < l->n; i++) {
        parts[2 * i] = elm_tv_str(r, l->items[i]);
        parts[2 * i + 1] = separator;
    }
    return elm_tv_string(elm_ts_concat(r, parts, l->n * 2 - 1));
}

/* Whether all characters (at least one) are of a kind. */
static elm_tv all_are(elm_tstr s, char kind) {
    bool seen = false;
    for (uint32_t i = 0; i < s.size;) {
        uint32_t c;
        int n = elm_utf8_decode(elm_span_of(s.data + i, s.size - i), &c);
        elm_category k = n > 0 ? elm_unicode_category(c) : ELM_CAT_CN;
        bool letter = k <= ELM_CAT_LO, good = kind == 'd'   ? k == ELM_CAT_ND
                                              : kind == 'a' ? letter
                                              : kind == 's' ? n > 0 && elm_unicode_is_space(c)
                                              : kind == 'n' ? letter || k == ELM_CAT_ND
                                              : kind == 'u' ? k != ELM_CAT_LL && k != ELM_CAT_LT
                                                            : k != ELM_CAT_LU && k != ELM_CAT_LT;
        if (n <= 0 || !good) return elm_tv_bool(false);
        seen = seen || (kind != 'u' && kind != 'l') || k == ELM_CAT_LU || k == ELM_CAT_LL;
        i += (uint32_t)n;
    }
    return elm_tv_bool(seen);
}

static elm_tv remove_affix(elm_trender *r, elm_tstr s, elm_tv what, bool prefix) {
    if (!elm_tv_truth(affix(r, s, what, prefix)) || what.type != ELM_TV_STRING)
        return elm_tv_string(s);
    uint32_t n = what.as.string.size;
    return elm_tv_string(prefix ? elm_ts_slice(s, n, s.size) : elm_ts_slice(s, 0, s.size - n));
}

static elm_tv string_method(elm_trender *r, elm_tstr s, elm_tstr name, const elm_targs *args,
                            bool *known) {
    elm_tv first = elm_targ(args, 0, NULL, elm_tv_none());
    *known = true;
    if (is(name, "strip")) return strip_method(r, s, args, true, true);
    if (is(name, "lstrip")) return strip_method(r, s, args, true, false);
    if (is(name, "rstrip")) return strip_method(r, s, args, false, true);
    if (is(name, "split")) return split(r, s, args, false);
    if (is(name, "rsplit")) return split(r, s, args, true);
    if (is(name, "splitlines")) return split_lines(r, s);
    if (is(name, "startswith")) return affix(r, s, first, true);
    if (is(name, "endswith")) return affix(r, s, first, false);
    if (is(name, "removeprefix")) return remove_affix(r, s, first, true);
    if (is(name, "removesuffix")) return remove_affix(r, s, first, false);
    if (is(name, "upper")) return with_case(r, s, 'u');
    if (is(name, "lower")) return with_case(r, s, 'l');
    if (is(name, "title")) return with_case(r, s, 't');
    if (is(name, "capitalize")) return with_case(r, s, 'c');
    if (is(name, "find")) return find(r, s, first, false, false);
    if (is(name, "rfind")) return find(r, s, first, true, false);
    if (is(name, "index")) return find(r, s, first, false, true);
    if (is(name, "join")) return join(r, s, first);
    if (is(name, "isdigit")) return all_are(s, 'd');
    if (is(name, "isalpha")) return all_are(s, 'a');
    if (is(name, "isalnum")) return all_are(s, 'n');
    if (is(name, "isspace")) return all_are(s, 's');
    if (is(name, "isupper")) return all_are(s, 'u');
    if (is(name, "islower")) return all_are(s, 'l');
    if (is(name, "replace")) {
        elm_tv count = elm_targ(args, 2, "count", elm_tv_int(-1));
        return replace(r, s, first, elm_targ(args, 1, NULL, elm_tv_none()),
                       count.type == ELM_TV_INT ? count.as.integer : -1);
    }
    if (is(name, "count")) {
        int64_t n = 0;
        for (int64_t at = 0; first.type == ELM_TV_STRING && first.as.string.size > 0 &&
                             (at = elm_ts_find(s, first.as.string, (uint32_t)at)) >= 0;
             at += first.as.string.size)
            n++;
        return elm_tv_int(n);
    }
    *known = false;
    return elm_tv_none();
}

static elm_tv pairs(elm_trender *r, const elm_tdict *d, char what) {
    elm_tv list = elm_tv_new_list(r, false);
    for (uint32_t i = 0; i < d->n && r->status == ELM_OK; i++) {
        if (what == 'k') elm_tv_append(r, list, d->keys[i]);
        if (what == 'v') elm_tv_append(r, list, d->values[i]);
        if (what != 'i') continue;
        elm_tv pair = elm_tv_new_list(r, true);
        elm_tv_append(r, pair, d->keys[i]);
        elm_tv_append(r, pair, d->values[i]);
        elm_tv_append(r, list, pair);
    }
    return list;
}

static elm_tv dict_method(elm_trender *r, const elm_tdict *d, elm_tstr name, const elm_targs *args,
                          bool *known) {
    *known = true;
    if (is(name, "items")) return pairs(r, d, 'i');
    if (is(name, "keys")) return pairs(r, d, 'k');
    if (is(name, "values")) return pairs(r, d, 'v');
    if (is(name, "get")) {
        const elm_tv *v = elm_tv_get(d, elm_targ(args, 0, "key", elm_tv_none()));
        return v ? *v : elm_targ(args, 1, "default", elm_tv_none());
    }
    *known = false;
    return elm_tv_none();
}

static elm_tv list_method(elm_trender *r, const elm_tlist *l, elm_tstr name, const elm_targs *args,
                          bool *known) {
    elm_tv what = elm_targ(args, 0, NULL, elm_tv_none());
    int64_t n = 0;
    *known = is(name, "index") || is(name, "count");
    for (uint32_t i = 0; *known && i < l->n; i++) {
        if (!elm_tv_equal(l->items[i], what)) continue;
        if (is(name, "index")) return elm_tv_int(i);
        n++;
    }
    if (is(name, "index")) elm_tr_fail(r, ELM_INVALID_ARGUMENT, "the value is not in the list");
    return elm_tv_int(n);
}

elm_tv elm_tv_method(elm_trender *r, elm_tv self, elm_tstr name, const elm_targs *args) {
    bool known = false;
    elm_tv out = elm_tv_none();
    if (self.type == ELM_TV_STRING)
        out = string_method(r, self.as.string, name, args, &known);
    else if (self.type == ELM_TV_DICT)
        out = dict_method(r, self.as.dict, name, args, &known);
    else if (self.type == ELM_TV_LIST || self.type == ELM_TV_TUPLE)
        out = list_method(r, self.as.list, name, args, &known);
    if (!known) {
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "%s has no method '%.*s'", elm_tv_type_name(self),
                    (int)(name.size < 40 ? name.size : 40), (const char *)name.data);
    }
    return out;
}

bool elm_tv_has_method(elm_tv self, elm_tstr name) {
    static const char *const strings[] = {"strip",        "lstrip",       "rstrip",     "split",
                                          "rsplit",       "splitlines",   "startswith", "endswith",
                                          "removeprefix", "removesuffix", "upper",      "lower",
                                          "title",        "capitalize",   "find",       "rfind",
                                          "index",        "join",         "isdigit",    "isalpha",
                                          "isalnum",      "isspace",      "isupper",    "islower",
                                          "replace",      "count",        NULL};
    static const char *const dicts[] = {"items", "keys", "values", "get", NULL};
    static const char *const lists[] = {"index", "count", NULL};
    static const char *const none[] = {NULL};
    const char *const *names = self.type == ELM_TV_STRING                              ? strings
                               : self.type == ELM_TV_DICT                              ? dicts
                               : self.type == ELM_TV_LIST || self.type == ELM_TV_TUPLE ? lists
                                                                                       : none;
    for (; *names; names++) {
        if (is(name, *names)) return true;
    }
    return false;
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
    bool sequence =
        object.type == ELM_TV_LIST || object.type == ELM_TV_TUPLE || object.type == ELM_TV_STRING;
    if (object.type == ELM_TV_UNDEFINED) {
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "'%s' is undefined", object.as.undefined);
        return elm_tv_none();
    }
    /* x.y asks for the attribute first, x["y"] for the item first. */
    if (dot && key.type == ELM_TV_STRING && elm_tv_has_method(object, key.as.string))
        return bound(r, object, key.as.string);
    if (object.type == ELM_TV_DICT || object.type == ELM_TV_NAMESPACE) {
        const elm_tv *v = elm_tv_get(object.as.dict, key);
        if (v) return *v;
    } else if (sequence && (key.type == ELM_TV_INT || key.type == ELM_TV_BOOL)) {
        int64_t n = elm_tv_length(object),
                i = key.type == ELM_TV_INT ? key.as.integer : key.as.boolean;
        if (i < 0) i += n;
        if (i >= 0 && i < n && object.type != ELM_TV_STRING) return object.as.list->items[i];
        if (i >= 0 && i < n) {
            uint32_t begin = elm_ts_offset(object.as.string, (uint32_t)i),
                     end = elm_ts_offset(object.as.string, (uint32_t)i + 1);
            return elm_tv_string(elm_ts_slice(object.as.string, begin, end));
        }
    }
    if (!dot && key.type == ELM_TV_STRING && elm_tv_has_method(object, key.as.string))
        return bound(r, object, key.as.string);
    return elm_tv_undefined(key_text(r, key));
}

elm_tlist *elm_tv_iterate(elm_trender *r, elm_tv v) {
    static elm_tlist nothing;
    elm_tv list;
    switch (v.type) {
    case ELM_TV_LIST:
    case ELM_TV_TUPLE:
        return v.as.list;
    case ELM_TV_DICT:
        list = pairs(r, v.as.dict, 'k');
        break;
    case ELM_TV_UNDEFINED:
        return &nothing;
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
        return &nothing;
    }
    return r->status == ELM_OK ? list.as.list : &nothing;
}

/* ---- functions ---- */

static elm_tv range(elm_trender *r, const elm_targs *args) {
    int64_t v[3] = {0, 0, 1};
    elm_tv list = elm_tv_new_list(r, false);
    for (uint32_t i = 0; i < args->n && i < 3; i++) {
        if (args->items[i].type != ELM_TV_INT)
            elm_tr_fail(r, ELM_INVALID_ARGUMENT, "range takes integers");
        v[i] = args->items[i].as.integer;
    }
    if (args->n == 1) v[1] = v[0], v[0] = 0;
    if (args->n == 0 || args->n > 3 || v[2] == 0)
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "range takes one to three integers, the step not 0");
    for (int64_t i = v[0], n = 0; r->status == ELM_OK && (v[2] > 0 ? i < v[1] : i > v[1]);
         i += v[2]) {
        if (++n > MAX_RANGE) elm_tr_fail(r, ELM_LIMIT, "a range is too long");
        if (elm_tr_step(r)) elm_tv_append(r, list, elm_tv_int(i));
    }
    return list;
}

static elm_tv new_dict(elm_trender *r, const elm_targs *args, elm_tv_type type) {
    elm_tv d = elm_tv_new_dict(r);
    elm_tv first = elm_targ(args, 0, NULL, elm_tv_none());
    for (uint32_t i = 0; first.type == ELM_TV_DICT && i < first.as.dict->n; i++) {
        elm_tv_set(r, d, first.as.dict->keys[i], first.as.dict->values[i]);
    }
    for (uint32_t i = 0; args->named && i < args->named->n; i++)
        elm_tv_set(r, d, args->named->keys[i], args->named->values[i]);
    if (r->status == ELM_OK) d.type = type;
    return d;
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
    memcpy(format, f.as.string.data, f.as.string.size);
    format[f.as.string.size] = 0;
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
