/* template_case.c - string methods that ask what a character is: case, digits, white space; text.
 *
 * Lower case is Unicode's full mapping (Python's, but for a final sigma). Upper case is its
 * inverse, with what has no inverse in a table. */
#include "text/template_methods.h"

#include "base/utf8.h"
#include "text/unicode.h"

enum { MAX_TEXT_BYTES = 16 << 20 };

/* Letters whose upper case is not the letter that they are the lower case of. */
static const struct {
    uint16_t from, upper[2], title[2];
} odd_letters[] = {{0xb5, {0x39c, 0}, {0x39c, 0}},     {0xdf, {'S', 'S'}, {'S', 's'}},
                   {0x131, {'I', 0}, {'I', 0}},        {0x149, {0x2bc, 'N'}, {0x2bc, 'N'}},
                   {0x17f, {'S', 0}, {'S', 0}},        {0x1c4, {0x1c4, 0}, {0x1c5, 0}},
                   {0x1c5, {0x1c4, 0}, {0x1c5, 0}},    {0x1c6, {0x1c4, 0}, {0x1c5, 0}},
                   {0x1c7, {0x1c7, 0}, {0x1c8, 0}},    {0x1c8, {0x1c7, 0}, {0x1c8, 0}},
                   {0x1c9, {0x1c7, 0}, {0x1c8, 0}},    {0x1ca, {0x1ca, 0}, {0x1cb, 0}},
                   {0x1cb, {0x1ca, 0}, {0x1cb, 0}},    {0x1cc, {0x1ca, 0}, {0x1cb, 0}},
                   {0x3c2, {0x3a3, 0}, {0x3a3, 0}},    {0x3d0, {0x392, 0}, {0x392, 0}},
                   {0x3d1, {0x398, 0}, {0x398, 0}},    {0x3d5, {0x3a6, 0}, {0x3a6, 0}},
                   {0x3d6, {0x3a0, 0}, {0x3a0, 0}},    {0x3f0, {0x39a, 0}, {0x39a, 0}},
                   {0x3f1, {0x3a1, 0}, {0x3a1, 0}},    {0x3f5, {0x395, 0}, {0x395, 0}},
                   {0x1e9b, {0x1e60, 0}, {0x1e60, 0}}, {0x1fbe, {0x399, 0}, {0x399, 0}},
                   {0xfb00, {'F', 'F'}, {'F', 'f'}},   {0xfb01, {'F', 'I'}, {'F', 'i'}},
                   {0xfb02, {'F', 'L'}, {'F', 'l'}}};

/* Of the rows of lower case, the one that leads to `c`; Georgian's capitals are no title case. */
static uint32_t upper_of(uint32_t c, bool title) {
    if (c < 0x80) return c >= 'a' && c <= 'z' ? c - 32 : c;
    if (title && c >= 0x10d0 && c <= 0x10ff) return c;
    for (uint32_t i = 0; i < elm_unicode_n_lower; i++) {
        const int32_t *r = elm_unicode_lower_rows[i];
        int32_t upper = (int32_t)c - r[3];
        if (upper >= r[0] && upper <= r[1] && (upper - r[0]) % r[2] == 0 && upper != 0x1e9e)
            return (uint32_t)upper;
    }
    return c;
}

/* how: 'u'pper, 'l'ower, 't'itle. Returns how many code points. */
static uint32_t map(uint32_t c, char how, uint32_t out[2]) {
    if (how == 'l') return elm_unicode_lower(c, out);
    for (size_t i = 0; c >= 0x80 && i < sizeof odd_letters / sizeof odd_letters[0]; i++) {
        const uint16_t *to = how == 'u' ? odd_letters[i].upper : odd_letters[i].title;
        if (odd_letters[i].from != c) continue;
        out[0] = to[0];
        out[1] = to[1];
        return to[1] ? 2 : 1;
    }
    out[0] = upper_of(c, how == 't');
    return 1;
}

static bool is_cased(uint32_t c) {
    uint32_t other[2];
    elm_category k = elm_unicode_category(c);
    return k == ELM_CAT_LU || k == ELM_CAT_LL || k == ELM_CAT_LT ||
           (map(c, 'l', other), other[0] != c) || (map(c, 'u', other), other[0] != c);
}

/* how: 'u'pper, 'l'ower, 't'itle (every word), 'c'apitalize (the first letter), 's'wapcase, 'j' as
 * jinja2's title filter (words begin behind white space, hyphens and opening brackets) */
static elm_tv with_case(elm_trender *r, elm_tstr s, char how) {
    elm_buf buf;
    bool inside = false;
    elm_buf_init(&buf, r->arena->alloc, MAX_TEXT_BYTES);
    for (uint32_t i = 0; i < s.size;) {
        uint32_t c, to[2];
        uint8_t bytes[4];
        int n = elm_utf8_decode(elm_span_of(s.data + i, s.size - i), &c);
        if (n <= 0) break;
        elm_category k = elm_unicode_category(c);
        char mode = how == 's'                 ? (k == ELM_CAT_LU ? 'l' : 'u')
                    : how == 'u' || how == 'l' ? how
                    : inside                   ? 'l'
                    : how == 'j'               ? 'u'
                                               : 't';
        bool opens =
            elm_unicode_is_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
        inside = how == 'c' ? true : how == 'j' ? !opens : is_cased(c);
        for (uint32_t m = 0, n_to = map(c, mode, to); m < n_to; m++)
            elm_buf_append(&buf, bytes, (size_t)elm_utf8_encode(to[m], bytes));
        i += (uint32_t)n;
    }
    elm_tstr out = elm_ts_from_buf(r, &buf);
    elm_buf_free(&buf);
    return elm_tv_string(out);
}

uint32_t elm_line_end(elm_tstr s, uint32_t at) {
    uint8_t c = s.data[at], next = at + 1 < s.size ? s.data[at + 1] : 0,
            third = at + 2 < s.size ? s.data[at + 2] : 0;
    if (c == '\r') return next == '\n' ? 2 : 1;
    if (c == '\n' || c == '\v' || c == '\f' || (c >= 0x1c && c <= 0x1e)) return 1;
    if (c == 0xc2 && next == 0x85) return 2;
    return c == 0xe2 && next == 0x80 && (third == 0xa8 || third == 0xa9) ? 3
                                                                         : 0; /* U+2028, U+2029 */
}

/* Superscripts and circled digits are digits, but not decimal. */
static bool is_digit(uint32_t c, elm_category k) {
    return k == ELM_CAT_ND ||
           (k == ELM_CAT_NO && (c == 0xb2 || c == 0xb3 || c == 0xb9 ||
                                (c >= 0x2070 && c <= 0x2089) || (c >= 0x2460 && c <= 0x2468)));
}

static bool is_of(uint32_t c, elm_category k, char kind) {
    bool letter = k <= ELM_CAT_LO;
    switch (kind) {
    case 'a':
        return letter;
    case 'n':
        return letter || (k >= ELM_CAT_ND && k <= ELM_CAT_NO);
    case 'd':
        return is_digit(c, k);
    case 'c':
        return k == ELM_CAT_ND;
    case 'm':
        return k >= ELM_CAT_ND && k <= ELM_CAT_NO;
    case 's':
        return elm_unicode_is_space(c) || (c >= 0x1c && c <= 0x1f);
    case 'i':
        return letter || k == ELM_CAT_PC || k == ELM_CAT_MN || k == ELM_CAT_MC || k == ELM_CAT_ND ||
               k == ELM_CAT_NL;
    default:
        return c < 0x80;
    }
}

/* Whether all characters are of a kind; of 'u' and 'l' (case) it is enough that none is of the
 * other. */
static bool all_are(elm_tstr s, char kind) {
    bool seen = kind == 'x';
    for (uint32_t i = 0; i < s.size;) {
        uint32_t c;
        int n = elm_utf8_decode(elm_span_of(s.data + i, s.size - i), &c);
        if (n <= 0) return false;
        elm_category k = elm_unicode_category(c);
        if (kind == 'u' || kind == 'l') {
            if (k == ELM_CAT_LT || k == (kind == 'u' ? ELM_CAT_LL : ELM_CAT_LU)) return false;
            seen = seen || k == (kind == 'u' ? ELM_CAT_LU : ELM_CAT_LL);
        } else if (!is_of(c, k, kind) ||
                   (kind == 'i' && i == 0 && k >= ELM_CAT_MN && k <= ELM_CAT_ND)) {
            return false;
        } else {
            seen = true;
        }
        i += (uint32_t)n;
    }
    return seen;
}

static bool is_title(elm_tstr s) {
    bool seen = false, inside = false;
    for (uint32_t i = 0; i < s.size;) {
        uint32_t c;
        int n = elm_utf8_decode(elm_span_of(s.data + i, s.size - i), &c);
        if (n <= 0) return false;
        elm_category k = elm_unicode_category(c);
        bool capital = k == ELM_CAT_LU || k == ELM_CAT_LT;
        if ((capital && inside) || (k == ELM_CAT_LL && !inside)) return false;
        seen = seen || capital;
        inside = is_cased(c);
        i += (uint32_t)n;
    }
    return seen;
}

static const struct {
    const char *name;
    char change, kind;
} methods[] = {{"upper", 'u', 0},        {"lower", 'l', 0},        {"title", 't', 0},
               {"capitalize", 'c', 0},   {"swapcase", 's', 0},     {"casefold", 'l', 0},
               {"title filter", 'j', 0}, {"isalpha", 0, 'a'},      {"isalnum", 0, 'n'},
               {"isdigit", 0, 'd'},      {"isdecimal", 0, 'c'},    {"isnumeric", 0, 'm'},
               {"isspace", 0, 's'},      {"isidentifier", 0, 'i'}, {"isascii", 0, 'x'},
               {"isupper", 0, 'u'},      {"islower", 0, 'l'},      {"istitle", 0, 'T'}};

bool elm_ts_has_case_method(elm_tstr name) {
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        if (elm_ts_is(name, methods[i].name)) return true;
    }
    return false;
}

elm_tv elm_ts_case_method(elm_trender *r, elm_tstr s, elm_tstr name) {
    size_t i = 0;
    while (i + 1 < sizeof methods / sizeof methods[0] && !elm_ts_is(name, methods[i].name)) i++;
    if (methods[i].change) return with_case(r, s, methods[i].change);
    return elm_tv_bool(methods[i].kind == 'T' ? is_title(s) : all_are(s, methods[i].kind));
}
