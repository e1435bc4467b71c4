/* template_methods.c - methods of strings, dicts and lists; text. */
#include "text/template_methods.h"

#include "base/utf8.h"
#include "text/unicode.h"

#include <string.h>

enum { MAX_PADDING = 1 << 16 };

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
    if (set.type == ELM_TV_STRING) return elm_tv_string(strip(s, &set.as.string, left, right));
    elm_tr_fail(r, ELM_INVALID_ARGUMENT, "strip takes a string");
    return elm_tv_none();
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

/* The words of split_space, of which the first ones stay together where there are too many. */
static elm_tv rsplit_space(elm_trender *r, elm_tstr s, int64_t most) {
    elm_tv words = split_space(r, s, -1), out = elm_tv_new_list(r, false);
    if (r->status != ELM_OK || most < 0 || words.as.list->n <= most) return words;
    uint32_t first = words.as.list->n - (uint32_t)most; /* of those that are cut off */
    const elm_tv *w = words.as.list->items;
    const uint8_t *end = w[first - 1].as.string.data + w[first - 1].as.string.size;
    if (most == 0) return elm_tv_append(r, out, elm_tv_string(strip(s, NULL, true, true))), out;
    uint32_t begin = (uint32_t)(w[0].as.string.data - s.data);
    elm_tv_append(r, out, elm_tv_string(elm_ts_slice(s, begin, (uint32_t)(end - s.data))));
    for (; first < words.as.list->n; first++) elm_tv_append(r, out, w[first]);
    return out;
}

static elm_tv split(elm_trender *r, elm_tstr s, const elm_targs *args, bool from_right) {
    elm_tv sep = elm_targ(args, 0, "sep", elm_tv_none()),
           max = elm_targ(args, 1, "maxsplit", elm_tv_int(-1));
    int64_t most = max.type == ELM_TV_INT ? max.as.integer : -1;
    if (sep.type == ELM_TV_NONE)
        return from_right ? rsplit_space(r, s, most) : split_space(r, s, most);
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

static elm_tv split_lines(elm_trender *r, elm_tstr s, bool keep) {
    elm_tv list = elm_tv_new_list(r, false);
    for (uint32_t at = 0; at < s.size && elm_tr_step(r);) {
        uint32_t end = at, size = 0;
        while (end < s.size && (size = elm_line_end(s, end)) == 0) end++;
        elm_tv_append(r, list, elm_tv_string(elm_ts_slice(s, at, end + (keep ? size : 0))));
        at = end + size;
    }
    return list;
}

static elm_tv partition(elm_trender *r, elm_tstr s, elm_tv what, bool last) {
    elm_tv out = elm_tv_new_list(r, true);
    if (what.type != ELM_TV_STRING || what.as.string.size == 0) {
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "partition takes a separator that is not empty");
        return elm_tv_none();
    }
    int64_t hit = elm_ts_find(s, what.as.string, 0);
    for (int64_t at = hit; last && at >= 0; at = elm_ts_find(s, what.as.string, (uint32_t)at + 1))
        hit = at;
    uint32_t begin = hit >= 0 ? (uint32_t)hit : last ? 0 : s.size;
    uint32_t end = hit >= 0 ? begin + what.as.string.size : begin;
    elm_tv_append(r, out, elm_tv_string(elm_ts_slice(s, 0, begin)));
    elm_tv_append(r, out, elm_tv_string(elm_ts_slice(s, begin, end)));
    elm_tv_append(r, out, elm_tv_string(elm_ts_slice(s, end, s.size)));
    return out;
}

/* To `width` characters; side: 'l'eft, 'r'ight or 'c'enter, where the text stands. */
static elm_tv justify(elm_trender *r, elm_tstr s, const elm_targs *args, char side) {
    elm_tv width = elm_targ(args, 0, "width", elm_tv_none()),
           fill = elm_targ(args, 1, "fillchar", elm_tv_literal(" "));
    int64_t size = elm_ts_length(s),
            missing = width.type == ELM_TV_INT ? width.as.integer - size : 0;
    if (width.type != ELM_TV_INT || missing > MAX_PADDING || fill.type != ELM_TV_STRING ||
        elm_ts_length(fill.as.string) != 1) {
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "a width and one character to fill are needed");
        return elm_tv_none();
    }
    if (missing <= 0) return elm_tv_string(s);
    int64_t left = side == 'l'   ? 0
                   : side == 'r' ? missing
                                 : missing / 2 + (missing & width.as.integer & 1);
    elm_tv list = elm_tv_new_list(r, false);
    for (int64_t i = 0; i < left; i++) elm_tv_append(r, list, fill);
    elm_tv_append(r, list, elm_tv_string(s));
    for (int64_t i = left; i < missing; i++) elm_tv_append(r, list, fill);
    return r->status == ELM_OK ? elm_tv_join(r, list.as.list, elm_tv_literal("").as.string) : fill;
}

/* Zeros behind the sign. */
static elm_tv zero_fill(elm_trender *r, elm_tstr s, elm_tv width) {
    uint32_t sign = s.size > 0 && (s.data[0] == '-' || s.data[0] == '+');
    elm_tv items[2] = {width.type == ELM_TV_INT ? elm_tv_int(width.as.integer - sign) : width,
                       elm_tv_literal("0")};
    elm_targs args = {items, 2, NULL};
    elm_tv digits = justify(r, elm_ts_slice(s, sign, s.size), &args, 'r');
    if (r->status != ELM_OK) return digits;
    elm_tstr parts[2] = {elm_ts_slice(s, 0, sign), digits.as.string};
    return elm_tv_string(elm_ts_concat(r, parts, 2));
}

static elm_tv expand_tabs(elm_trender *r, elm_tstr s, elm_tv size) {
    int64_t width = size.type == ELM_TV_INT ? size.as.integer : 8, column = 0;
    elm_tv list = elm_tv_new_list(r, false);
    for (uint32_t at = 0; at < s.size && elm_tr_step(r);) {
        uint32_t end = at + 1;
        while (end < s.size && (s.data[end] & 0xc0) == 0x80) end++;
        bool tab = s.data[at] == '\t', line = s.data[at] == '\n' || s.data[at] == '\r';
        int64_t spaces = tab && width > 0 && width < 256 ? width - column % width : 0;
        if (!tab) elm_tv_append(r, list, elm_tv_string(elm_ts_slice(s, at, end)));
        for (int64_t i = 0; i < spaces; i++) elm_tv_append(r, list, elm_tv_literal(" "));
        column = line ? 0 : column + (tab ? spaces : 1);
        at = end;
    }
    return r->status == ELM_OK ? elm_tv_join(r, list.as.list, elm_tv_literal("").as.string) : size;
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

/* s[start:end] by the arguments behind the first, as find, count and startswith take them. */
static elm_tstr part_of(elm_trender *r, elm_tstr s, const elm_targs *args) {
    elm_tv start = elm_targ(args, 1, NULL, elm_tv_none()),
           end = elm_targ(args, 2, NULL, elm_tv_none());
    if (start.type == ELM_TV_NONE && end.type == ELM_TV_NONE) return s;
    elm_tv part = elm_tv_slice(r, elm_tv_string(s), start, end, elm_tv_none());
    return part.type == ELM_TV_STRING ? part.as.string : elm_ts_slice(s, 0, 0);
}

static elm_tv find(elm_trender *r, elm_tstr s, const elm_targs *args, bool last, bool must) {
    elm_tv what = elm_targ(args, 0, NULL, elm_tv_none());
    elm_tstr part = part_of(r, s, args);
    int64_t hit = -1;
    if (what.type != ELM_TV_STRING)
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "find takes a string");
    else if (!last)
        hit = elm_ts_find(part, what.as.string, 0);
    else
        for (int64_t at = -1; (at = elm_ts_find(part, what.as.string, (uint32_t)(at + 1))) >= 0;)
            hit = at;
    if (hit < 0 && must) elm_tr_fail(r, ELM_INVALID_ARGUMENT, "substring not found");
    if (hit < 0 || r->status != ELM_OK) return elm_tv_int(-1);
    uint32_t before = part.size > 0 ? (uint32_t)(part.data - s.data) : 0;
    return elm_tv_int((int64_t)elm_ts_length(elm_ts_slice(s, 0, before + (uint32_t)hit)));
}

static elm_tv count(elm_trender *r, elm_tstr s, const elm_targs *args) {
    elm_tv what = elm_targ(args, 0, NULL, elm_tv_none());
    elm_tstr part = part_of(r, s, args);
    int64_t n = 0;
    if (what.type != ELM_TV_STRING) elm_tr_fail(r, ELM_INVALID_ARGUMENT, "count takes a string");
    if (r->status != ELM_OK || what.as.string.size == 0)
        return elm_tv_int((int64_t)elm_ts_length(part) + 1);
    for (int64_t at = 0; (at = elm_ts_find(part, what.as.string, (uint32_t)at)) >= 0;
         at += what.as.string.size)
        n++;
    return elm_tv_int(n);
}

static elm_tv remove_affix(elm_trender *r, elm_tstr s, elm_tv what, bool prefix) {
    if (!elm_tv_truth(affix(r, s, what, prefix)) || what.type != ELM_TV_STRING)
        return elm_tv_string(s);
    uint32_t n = what.as.string.size;
    return elm_tv_string(prefix ? elm_ts_slice(s, n, s.size) : elm_ts_slice(s, 0, s.size - n));
}

/* The methods, each by number: one list for the call and for the question whether it exists. */
static const char *const string_names[] = {
    "strip",      "lstrip",     "rstrip",    "split",        "rsplit",
    "splitlines", "startswith", "endswith",  "removeprefix", "removesuffix",
    "find",       "rfind",      "index",     "rindex",       "count",
    "replace",    "join",       "partition", "rpartition",   "center",
    "ljust",      "rjust",      "zfill",     "expandtabs",   "format"};
enum {
    STRIP,
    LSTRIP,
    RSTRIP,
    SPLIT,
    RSPLIT,
    SPLITLINES,
    STARTSWITH,
    ENDSWITH,
    REMOVEPREFIX,
    REMOVESUFFIX,
    FIND,
    RFIND,
    INDEX,
    RINDEX,
    COUNT,
    REPLACE,
    JOIN,
    PARTITION,
    RPARTITION,
    CENTER,
    LJUST,
    RJUST,
    ZFILL,
    EXPANDTABS,
    FORMAT,
    N_STRING_METHODS
};

static int string_method_number(elm_tstr name) {
    _Static_assert(sizeof string_names / sizeof string_names[0] == N_STRING_METHODS, "all of them");
    int i = 0;
    while (i < N_STRING_METHODS && !elm_ts_is(name, string_names[i])) i++;
    return i;
}

static elm_tv string_method(elm_trender *r, elm_tstr s, elm_tstr name, const elm_targs *args) {
    elm_tv first = elm_targ(args, 0, NULL, elm_tv_none());
    int method = string_method_number(name);
    switch (method) {
    case STRIP:
    case LSTRIP:
    case RSTRIP:
        return strip_method(r, s, args, method != RSTRIP, method != LSTRIP);
    case SPLIT:
    case RSPLIT:
        return split(r, s, args, method == RSPLIT);
    case SPLITLINES:
        return split_lines(r, s, elm_tv_truth(elm_targ(args, 0, "keepends", first)));
    case STARTSWITH:
    case ENDSWITH:
        return affix(r, part_of(r, s, args), first, method == STARTSWITH);
    case REMOVEPREFIX:
    case REMOVESUFFIX:
        return remove_affix(r, s, first, method == REMOVEPREFIX);
    case FIND:
    case RFIND:
    case INDEX:
    case RINDEX:
        return find(r, s, args, method == RFIND || method == RINDEX,
                    method == INDEX || method == RINDEX);
    case COUNT:
        return count(r, s, args);
    case REPLACE: {
        elm_tv most = elm_targ(args, 2, "count", elm_tv_int(-1));
        return replace(r, s, first, elm_targ(args, 1, NULL, elm_tv_none()),
                       most.type == ELM_TV_INT ? most.as.integer : -1);
    }
    case JOIN:
        return elm_tv_join(r, elm_tv_iterate(r, first), s);
    case PARTITION:
    case RPARTITION:
        return partition(r, s, first, method == RPARTITION);
    case CENTER:
        return justify(r, s, args, 'c');
    case LJUST:
        return justify(r, s, args, 'l');
    case RJUST:
        return justify(r, s, args, 'r');
    case ZFILL:
        return zero_fill(r, s, first);
    case EXPANDTABS:
        return expand_tabs(r, s, elm_targ(args, 0, "tabsize", first));
    case FORMAT:
        return elm_tv_format(r, elm_tv_string(s), args);
    default:
        return elm_ts_case_method(r, s, name);
    }
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

static elm_tv dict_method(elm_trender *r, const elm_tdict *d, elm_tstr name,
                          const elm_targs *args) {
    elm_tv copy = {.type = ELM_TV_DICT,
                   .as.dict = (elm_tdict *)(uintptr_t)d}; /* values do not change */
    if (elm_ts_is(name, "copy")) return copy;
    if (!elm_ts_is(name, "get")) return pairs(r, d, (char)name.data[0]); /* items keys values */
    const elm_tv *v = elm_tv_get(d, elm_targ(args, 0, "key", elm_tv_none()));
    return v ? *v : elm_targ(args, 1, "default", elm_tv_none());
}

static elm_tv list_method(elm_trender *r, elm_tv self, elm_tstr name, const elm_targs *args) {
    elm_tv what = elm_targ(args, 0, NULL, elm_tv_none());
    const elm_tlist *l = self.as.list;
    int64_t n = 0;
    if (elm_ts_is(name, "copy")) return self;
    for (uint32_t i = 0; i < l->n && elm_tr_step(r); i++) {
        if (!elm_tv_equal(l->items[i], what)) continue;
        if (elm_ts_is(name, "index")) return elm_tv_int(i);
        n++;
    }
    if (elm_ts_is(name, "index"))
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "the value is not in the list");
    return elm_tv_int(n);
}

/* loop.cycle and loop.changed */
static elm_tv loop_method(elm_trender *r, elm_tloop *l, elm_tstr name, const elm_targs *args) {
    uint32_t n = args ? args->n : 0;
    if (elm_ts_is(name, "cycle")) {
        if (n == 0) elm_tr_fail(r, ELM_INVALID_ARGUMENT, "cycle of nothing");
        return n > 0 ? args->items[l->index % n] : elm_tv_none();
    }
    elm_tv now = elm_tv_new_list(r, true);
    for (uint32_t i = 0; i < n; i++) elm_tv_append(r, now, args->items[i]);
    if (r->status != ELM_OK || elm_tv_equal(l->changed, now)) return elm_tv_bool(false);
    l->changed = now;
    return elm_tv_bool(true);
}

bool elm_tv_has_method(elm_tv self, elm_tstr name) {
    static const char *const dicts[] = {"items", "keys", "values", "get", "copy", NULL};
    static const char *const lists[] = {"index", "count", "copy", NULL};
    static const char *const loops[] = {"cycle", "changed", NULL};
    static const char *const cyclers[] = {"next", "reset", NULL};
    const char *const *names = self.type == ELM_TV_DICT                                ? dicts
                               : self.type == ELM_TV_LIST || self.type == ELM_TV_TUPLE ? lists
                               : self.type == ELM_TV_LOOP                              ? loops
                               : self.type == ELM_TV_CYCLER                            ? cyclers
                                                                                       : NULL;
    if (self.type == ELM_TV_STRING)
        return string_method_number(name) < N_STRING_METHODS || elm_ts_has_case_method(name);
    for (; names && *names; names++) {
        if (elm_ts_is(name, *names)) return true;
    }
    return false;
}

elm_tv elm_tv_method(elm_trender *r, elm_tv self, elm_tstr name, const elm_targs *args) {
    if (!elm_tv_has_method(self, name)) {
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "%s has no method '%.*s'", elm_tv_type_name(self),
                    (int)(name.size < 40 ? name.size : 40), (const char *)name.data);
        return elm_tv_none();
    }
    if (self.type == ELM_TV_STRING)
        return self.safe ? elm_tv_marked_method(r, self, name, args)
                         : string_method(r, self.as.string, name, args);
    if (self.type == ELM_TV_DICT) return dict_method(r, self.as.dict, name, args);
    if (self.type == ELM_TV_LOOP) return loop_method(r, self.as.loop, name, args);
    if (self.type == ELM_TV_CYCLER) return elm_tv_cycler_method(r, self, name, args);
    return list_method(r, self, name, args);
}
