/* template_wrap.c - the filter wordwrap: Python's textwrap.wrap of every line; text.
 *
 * A line of the text is cut into chunks: runs of white space, words, parts of words behind a hyphen,
 * and dashes between words. An output line is as many chunks as fit, so always a range of the text;
 * lengths are code points. */
#include "text/template_filters.h"

#include "base/utf8.h"
#include "text/template_methods.h"
#include "text/unicode.h"

#include <string.h>

typedef struct wrapper {
    elm_trender *r;
    elm_tstr s;           /* one line */
    uint64_t width;       /* from 1 */
    bool break_words;     /* those longer than a line */
    bool hyphens;         /* a word that is broken is broken behind one */
    bool split;           /* words are split behind them */
    uint32_t at, end;     /* what is left of the chunk */
    uint64_t length;      /* of it, in code points */
    elm_tv pieces, joint; /* what came out, and what stands between lines */
} wrapper;

/* The code point at `at`, its size in *n; 0 and 0 at the end. */
static uint32_t decode(elm_tstr s, uint32_t at, uint32_t *n) {
    uint32_t c = 0;
    *n = 0;
    if (at >= s.size) return 0;
    int size = elm_utf8_decode(elm_span_of(s.data + at, s.size - at), &c);
    *n = size > 0 ? (uint32_t)size : 1;
    return size > 0 ? c : 0xfffd;
}

static uint32_t next(elm_tstr s, uint32_t at) {
    do at++;
    while (at < s.size && (s.data[at] & 0xc0) == 0x80);
    return at;
}

/* The code point that ends at *at, which moves before it; 0 at the beginning. */
static uint32_t previous(elm_tstr s, uint32_t *at) {
    uint32_t n;
    if (*at == 0) return 0;
    do --*at;
    while (*at > 0 && (s.data[*at] & 0xc0) == 0x80);
    return decode(s, *at, &n);
}

/* textwrap knows the white space of ASCII only, but strips every kind. */
static bool is_blank(uint8_t c) {
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool all_space(const wrapper *w, uint32_t begin, uint32_t end) {
    for (uint32_t n; begin < end && elm_tr_step(w->r); begin += n) {
        uint32_t c = decode(w->s, begin, &n);
        if (!elm_unicode_is_space(c) && (c < 0x1c || c > 0x1f)) return false;
    }
    return true;
}

/* \w and [^\d\W] of Python's re. */
static bool is_word(uint32_t c) {
    elm_category k = elm_unicode_category(c);
    return c == '_' || k <= ELM_CAT_LO || (k >= ELM_CAT_ND && k <= ELM_CAT_NO);
}

static bool is_letter(uint32_t c) {
    return is_word(c) && elm_unicode_category(c) != ELM_CAT_ND;
}

static bool letter_at(elm_tstr s, uint32_t at) {
    uint32_t n, c = decode(s, at, &n);
    return n > 0 && is_letter(c);
}

/* ---- chunks ---- */

/* Whether the hyphen at `at` is one of a compound word: two letters or one between hyphens before
 * it, and behind it two letters, a hyphen between them or not. */
static bool is_compound(elm_tstr s, uint32_t at) {
    uint32_t before = at, after = at + 1;
    if (!is_letter(previous(s, &before))) return false;
    uint32_t c = previous(s, &before);
    if (!is_letter(c) && (c != '-' || !is_letter(previous(s, &before)))) return false;
    if (!letter_at(s, after)) return false;
    after = next(s, after);
    if (after < s.size && s.data[after] == '-') after++;
    return letter_at(s, after);
}

/* Where the dashes at `at` end, when they are two or more between words; else 0. */
static uint32_t dashes_end(elm_tstr s, uint32_t at) {
    uint32_t end = at, n, before = at, c = previous(s, &before);
    while (end < s.size && s.data[end] == '-') end++;
    bool word = at > 0 && (is_word(c) || (c > 0 && c < 0x80 && strchr("!\"'&.,?", (int)c)));
    c = decode(s, end, &n);
    return word && end - at >= 2 && n > 0 && is_word(c) ? end : 0;
}

static uint32_t chunk_end(const wrapper *w, uint32_t at) {
    elm_tstr s = w->s;
    uint32_t end = at;
    if (is_blank(s.data[at])) {
        while (end < s.size && is_blank(s.data[end])) end++;
        return end;
    }
    if (w->split && s.data[at] == '-' && (end = dashes_end(s, at)) > 0) return end;
    for (end = next(s, at); end < s.size && !is_blank(s.data[end]); end = next(s, end)) {
        if (s.data[end] != '-' || !w->split) continue;
        if (is_compound(s, end)) return end + 1;
        if (dashes_end(s, end) > 0) return end;
    }
    return end;
}

/* Goes to the chunk behind the current one. */
static void advance(wrapper *w) {
    w->at = w->end;
    if (w->at >= w->s.size || !elm_tr_step(w->r)) return;
    w->end = chunk_end(w, w->at);
    w->length = elm_ts_length(elm_ts_slice(w->s, w->at, w->end));
}

/* ---- lines ---- */

/* How many code points of the current chunk, which is too long for any line, go into the `space`
 * that is left on this one: up to its last hyphen there, unless only hyphens come before. */
static uint64_t part_of_word(const wrapper *w, uint64_t space) {
    uint64_t taken = space, index = 0;
    bool other = false;
    for (uint32_t at = w->at; w->hyphens && at < w->end && index < space; at = next(w->s, at)) {
        if (w->s.data[at] != '-')
            other = true;
        else if (other)
            taken = index + 1;
        index++;
    }
    return taken;
}

static bool more(const wrapper *w) {
    return w->at < w->s.size && w->r->status == ELM_OK;
}

static void wrap(wrapper *w, elm_tstr line) {
    bool begun = false;
    w->s = line;
    w->end = 0;
    advance(w);
    while (more(w)) {
        if (begun && all_space(w, w->at, w->end)) advance(w);
        uint32_t begin = w->at, last = begin, n = 0;
        uint64_t used = 0;
        for (; more(w) && used + w->length <= w->width; n++) {
            last = w->at;
            used += w->length;
            advance(w);
        }
        if (more(w) && w->length > w->width && (w->break_words || n == 0)) {
            uint64_t taken = w->break_words ? part_of_word(w, w->width - used) : w->length;
            last = w->at;
            n++;
            w->length -= taken;
            for (; taken > 0; taken--) w->at = next(w->s, w->at);
            if (w->at == w->end) advance(w);
        }
        /* A part of no length counts as white space: what stands before it stays. */
        uint32_t stop = w->at;
        if (n > 0 && all_space(w, last, stop)) stop = last, n--;
        if (n == 0) continue;
        if (begun) elm_tv_append(w->r, w->pieces, w->joint);
        elm_tv_append(w->r, w->pieces, elm_tv_string(elm_ts_slice(w->s, begin, stop)));
        begun = true;
    }
}

static elm_tv word_wrap(elm_trender *r, elm_tv v, const elm_targs *args) {
    elm_tv width = elm_targ(args, 0, "width", elm_tv_int(79)),
           hyphens = elm_targ(args, 3, "break_on_hyphens", elm_tv_bool(true));
    elm_tv joint = elm_targ(args, 2, "wrapstring", elm_tv_none());
    if (v.type != ELM_TV_STRING || (width.type != ELM_TV_INT && width.type != ELM_TV_BOOL) ||
        (joint.type != ELM_TV_NONE && joint.type != ELM_TV_STRING)) {
        elm_tr_fail(r, ELM_INVALID_ARGUMENT,
                    "wordwrap takes a string, a whole number and a string between lines");
        return elm_tv_none();
    }
    elm_tstr s = v.as.string;
    elm_tstr line_feed = {(const uint8_t *)"\n", 1, s.map ? s.map[0] : s.origin, NULL};
    int64_t columns = width.type == ELM_TV_INT ? width.as.integer : width.as.boolean;
    wrapper w = {.r = r,
                 .width = columns > 0 ? (uint64_t)columns : 1,
                 .break_words =
                     elm_tv_truth(elm_targ(args, 1, "break_long_words", elm_tv_bool(true))),
                 .hyphens = elm_tv_truth(hyphens),
                 .split = hyphens.type == ELM_TV_BOOL && hyphens.as.boolean,
                 .pieces = elm_tv_new_list(r, false),
                 .joint = joint.type == ELM_TV_NONE ? elm_tv_string(line_feed) : joint};
    if (columns <= 0 && s.size > 0)
        elm_tr_fail(r, ELM_INVALID_ARGUMENT, "wordwrap takes a width from 1, not %lld",
                    (long long)columns);
    for (uint32_t at = 0, size = 0; at < s.size && elm_tr_step(r); at += size) {
        uint32_t end = at;
        while (end < s.size && (size = elm_line_end(s, end)) == 0) end++;
        if (at > 0) elm_tv_append(r, w.pieces, w.joint);
        wrap(&w, elm_ts_slice(s, at, end));
        if (end == s.size) break;
        at = end;
    }
    if (r->status != ELM_OK) return elm_tv_none();
    return elm_tv_join(r, w.pieces.as.list, elm_tv_literal("").as.string);
}

const elm_tfilter elm_wrap_filters[] = {{"wordwrap", word_wrap}, {NULL, NULL}};
