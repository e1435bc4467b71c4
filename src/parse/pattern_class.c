/* pattern_class.c - literals, escapes and classes of patterns; parse.
 *
 * Level n of nested classes collects its members in set[2n + 1] and, over &&, its result in
 * set[2n]. */
#include "parse/pattern_class.h"

#include "base/utf8.h"

enum { ALL_CATEGORIES = (1u << ELM_N_CATEGORIES) - 1, MAX_CLASSES_DEEP = ELM_PATTERN_SETS / 2 - 1 };

elm_status elm_pattern_refuse(const elm_pattern *c, const char *what) {
    size_t n = c->text.size < 200 ? c->text.size : 200;
    return elm_fail(c->err, ELM_UNSUPPORTED,
                    "tokenizer pattern: %s at byte %zu of '%.*s' is not supported", what, c->at,
                    (int)n, (const char *)c->text.data);
}

int elm_pattern_peek(const elm_pattern *c, size_t ahead) {
    return c->at + ahead < c->text.size ? c->text.data[c->at + ahead] : -1;
}

bool elm_pattern_take(elm_pattern *c, const char *text) {
    size_t n = strlen(text);
    if (c->text.size - c->at < n || memcmp(c->text.data + c->at, text, n) != 0) return false;
    c->at += n;
    return true;
}

elm_status elm_pattern_code_point(elm_pattern *c, uint32_t *out) {
    int n = elm_utf8_decode(elm_span_of(c->text.data + c->at, c->text.size - c->at), out);
    if (n <= 0) return elm_pattern_refuse(c, "bad UTF-8");
    c->at += (size_t)n;
    return ELM_OK;
}

/* Letters of either case; U+017F and U+212A fold to s and k. Others have more to fold than is known
 * here. */
static elm_status add_char(elm_pattern *c, elm_charset *set, uint32_t ch, bool fold) {
    elm_charset_add(set, ch, ch);
    if (!fold) return ELM_OK;
    if (ch > 127) return elm_pattern_refuse(c, "a character that is not ASCII under (?i)");
    uint32_t lower = ch | 32;
    if (lower < 'a' || lower > 'z') return ELM_OK;
    elm_charset_add(set, ch ^ 32, ch ^ 32);
    if (lower == 's') elm_charset_add(set, 0x17f, 0x17f);
    if (lower == 'k') elm_charset_add(set, 0x212a, 0x212a);
    return ELM_OK;
}

/* Two letters in a row that fold to one character (ligatures, sharp s) would match it too. */
static elm_status check_folded_pair(elm_pattern *c, uint32_t ch) {
    static const char pairs[][3] = {"ss", "ff", "fi", "fl", "st"};
    uint32_t lower = ch | 32;
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++) {
        if (c->last_folded == (uint32_t)pairs[i][0] && lower == (uint32_t)pairs[i][1]) {
            return elm_pattern_refuse(c, "letters under (?i) that have a ligature");
        }
    }
    c->last_folded = lower;
    return ELM_OK;
}

/* ---- escapes ---- */

static uint32_t category_bits(elm_span name) {
    static const char names[][3] = {"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl",
                                    "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc",
                                    "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co", "Cn"};
    static const char *const long_names[] = {"Letter", "Mark",      "Number", "Punctuation",
                                             "Symbol", "Separator", "Other"};
    static const char majors[] = "LMNPSZC";
    uint32_t bits = 0;
    uint8_t major = name.size == 1 ? name.data[0] : 0;
    for (size_t i = 0; i < sizeof long_names / sizeof long_names[0]; i++) {
        if (elm_span_equal(name, elm_span_str(long_names[i]))) major = (uint8_t)majors[i];
    }
    for (uint32_t i = 0; i < ELM_N_CATEGORIES; i++) {
        bool whole = name.size == 2 && memcmp(name.data, names[i], 2) == 0;
        if (whole || (major != 0 && major == (uint8_t)names[i][0])) bits |= 1u << i;
    }
    return bits;
}

static elm_status property(elm_pattern *c, elm_charset *set, bool negated) {
    if (!elm_pattern_take(c, "{")) return elm_pattern_refuse(c, "a property without {");
    if (elm_pattern_take(c, "^")) negated = !negated;
    size_t start = c->at;
    while (elm_pattern_peek(c, 0) > 0 && elm_pattern_peek(c, 0) != '}') c->at++;
    uint32_t bits = category_bits(elm_span_of(c->text.data + start, c->at - start));
    if (bits == 0 || !elm_pattern_take(c, "}")) return elm_pattern_refuse(c, "an unknown property");
    elm_charset_add_categories(set, negated ? ALL_CATEGORIES & ~bits : bits);
    return ELM_OK;
}

/* \w of Oniguruma: alphabetic code points, marks, decimal digits, connectors, and the superscript
 * digits and fractions of Latin-1. */
static void add_word(elm_charset *set) {
    static const uint32_t more[][2] = {{0xb2, 0xb3},      {0xb9, 0xb9},       {0xbc, 0xbe},
                                       {0x24b6, 0x24e9},  {0x1f130, 0x1f149}, {0x1f150, 0x1f169},
                                       {0x1f170, 0x1f189}};
    elm_charset_add_categories(set, (1u << (ELM_CAT_NL + 1)) - 1);
    elm_charset_add_categories(set, 1u << ELM_CAT_PC);
    for (size_t i = 0; i < sizeof more / sizeof more[0]; i++)
        elm_charset_add(set, more[i][0], more[i][1]);
}

/* \s and its like; false when `e` is none. */
static bool short_class(elm_charset *set, elm_charset *spare, int e) {
    elm_charset_clear(spare);
    switch (e | 32) {
    case 's':
        elm_charset_add_spaces(spare);
        break;
    case 'd':
        elm_charset_add_categories(spare, 1u << ELM_CAT_ND);
        break;
    case 'w':
        add_word(spare);
        break;
    case 'h':
        elm_charset_add(spare, '0', '9');
        elm_charset_add(spare, 'a', 'f');
        elm_charset_add(spare, 'A', 'F');
        break;
    default:
        return false;
    }
    if (!(e & 32)) elm_charset_invert(spare);
    elm_charset_unite(set, spare);
    return true;
}

static int hex_value(int c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Behind \x or \u: HH, {H...} or HHHH. */
static elm_status hex_escape(elm_pattern *c, bool four, uint32_t *out) {
    bool braces = !four && elm_pattern_take(c, "{");
    size_t most = four ? 4 : braces ? 6 : 2, n = 0;
    uint32_t value = 0;
    for (int d; n < most && (d = hex_value(elm_pattern_peek(c, 0))) >= 0; n++, c->at++)
        value = value * 16 + (uint32_t)d;
    bool ok = n > 0 && (!four || n == 4) && (!braces || elm_pattern_take(c, "}"));
    /* Without braces \x80 and up are bytes, not code points. */
    if (!ok || value >= ELM_UNICODE_END || (value >= 0xd800 && value < 0xe000) ||
        (!four && !braces && value > 127)) {
        return elm_pattern_refuse(c, "a bad escape");
    }
    *out = value;
    return ELM_OK;
}

/* Behind a backslash: a class or a character into `set`; *single is the character, else -1. */
static elm_status escape(elm_pattern *c, elm_charset *set, bool fold, int64_t *single) {
    static const char from[] = "rntfvae", to[] = "\r\n\t\f\v\a\x1b";
    int e = elm_pattern_peek(c, 0);
    uint32_t ch = 0;
    *single = -1;
    if (e < 0) return elm_pattern_refuse(c, "a backslash at the end");
    if (e < 128 && short_class(set, &c->set[ELM_PATTERN_SETS - 1], e)) {
        c->at++;
        return fold ? elm_pattern_refuse(c, "a class under (?i)") : ELM_OK;
    }
    const char *at = strchr(from, e);
    if (e == 'p' || e == 'P') {
        c->at++;
        return fold ? elm_pattern_refuse(c, "a property under (?i)") : property(c, set, e == 'P');
    }
    if (e == 'x' || e == 'u') {
        c->at++;
        ELM_TRY(hex_escape(c, e == 'u', &ch));
    } else if (at) {
        c->at++;
        ch = (uint32_t)to[at - from];
    } else if ((e >= 'a' && e <= 'z') || (e >= 'A' && e <= 'Z') || (e >= '0' && e <= '9')) {
        return elm_pattern_refuse(c, "an unknown escape");
    } else {
        ELM_TRY(elm_pattern_code_point(c, &ch));
    }
    *single = ch;
    return add_char(c, set, ch, fold);
}

/* ---- classes ---- */

static elm_status parse_class(elm_pattern *c, bool fold, uint32_t level);

static elm_status class_member(elm_pattern *c, bool fold, uint32_t level, int64_t *single) {
    elm_charset *set = &c->set[2 * level + 1];
    uint32_t ch;
    *single = -1;
    if (elm_pattern_take(c, "\\")) return escape(c, set, fold, single);
    if (elm_pattern_peek(c, 0) == '[') {
        if (elm_pattern_peek(c, 1) == ':' || level + 1 >= MAX_CLASSES_DEEP)
            return elm_pattern_refuse(c, "a class in a class");
        c->at++;
        ELM_TRY(parse_class(c, fold, level + 1));
        elm_charset_unite(set, &c->set[2 * (level + 1)]);
        return ELM_OK;
    }
    ELM_TRY(elm_pattern_code_point(c, &ch));
    *single = ch;
    return add_char(c, set, ch, fold);
}

/* Members up to `]`: into c->set[2 * level]. */
static elm_status parse_class(elm_pattern *c, bool fold, uint32_t level) {
    elm_charset *result = &c->set[2 * level], *members = &c->set[2 * level + 1];
    bool negated = elm_pattern_take(c, "^"), first = true, both = false;
    elm_charset_clear(members);
    while (first || elm_pattern_peek(c, 0) != ']') {
        int64_t low, high;
        if (elm_pattern_peek(c, 0) < 0) return elm_pattern_refuse(c, "a class without ]");
        if (elm_pattern_take(c, "&&")) {
            if (both)
                elm_charset_intersect(result, members);
            else
                *result = *members;
            both = true;
            elm_charset_clear(members);
            continue;
        }
        first = false;
        ELM_TRY(class_member(c, fold, level, &low));
        if (low < 0 || elm_pattern_peek(c, 0) != '-' || elm_pattern_peek(c, 1) == ']') continue;
        c->at++;
        if (elm_pattern_peek(c, 0) == '[') return elm_pattern_refuse(c, "a range to a class");
        ELM_TRY(class_member(c, false, level, &high));
        if (high < low) return elm_pattern_refuse(c, "a range that runs backwards");
        if (fold && high > 127) return elm_pattern_refuse(c, "a range under (?i)");
        for (int64_t ch = low; ch <= high; ch++) ELM_TRY(add_char(c, members, (uint32_t)ch, fold));
    }
    c->at++;
    if (both)
        elm_charset_intersect(result, members);
    else
        *result = *members;
    if (negated && fold) return elm_pattern_refuse(c, "a negated class under (?i)");
    if (negated) elm_charset_invert(result);
    return ELM_OK;
}

elm_status elm_pattern_atom(elm_pattern *c, bool fold) {
    int64_t single = -1;
    int b = elm_pattern_peek(c, 0);
    uint32_t ch;
    elm_charset_clear(&c->set[0]);
    if (elm_pattern_take(c, "[")) {
        ELM_TRY(parse_class(c, fold, 0));
    } else if (elm_pattern_take(c, "\\")) {
        ELM_TRY(escape(c, &c->set[0], fold, &single));
    } else if (elm_pattern_take(c, ".")) {
        elm_charset_add(&c->set[0], '\n', '\n');
        elm_charset_invert(&c->set[0]);
    } else if (b == '*' || b == '+' || b == '?' || b == '{') {
        return elm_pattern_refuse(c, "a repetition of nothing");
    } else {
        ELM_TRY(elm_pattern_code_point(c, &ch));
        single = ch;
        ELM_TRY(add_char(c, &c->set[0], ch, fold));
    }
    if (fold && single >= 0) return check_folded_pair(c, (uint32_t)single);
    c->last_folded = 0;
    return ELM_OK;
}
