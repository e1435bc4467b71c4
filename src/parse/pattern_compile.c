/* pattern_compile.c - the regular expressions of tokenizers to pattern programs; parse.
 *
 * Known: literals, escapes, ., classes with ranges, \s \S \d \D \w \W \p{..} \P{..} \r \n \t,
 * greedy, lazy and possessive ? * + {n,m} on one code point, lookaheads of one code point, ^ $, and
 * alternatives at the top or in one group per alternative, (?i:...) included, as the contractions
 * of GPT-2 use it. Groups are multiplied out into alternatives. Everything else is refused with the
 * pattern quoted. */
#include "parse/tokenizer_spec.h"

#include "base/utf8.h"
#include "text/unicode.h"

#include <string.h>

enum {
    MAX_CLASS_RANGES = 256,
    MAX_SEQUENCE = 48,
    MAX_EXPANDED = 64,
    ALL_CATEGORIES = (1u << ELM_N_CATEGORIES) - 1
};

const char elm_pattern_gpt2[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

typedef struct item {
    uint32_t kind, min, max, categories, flags;
    uint32_t ranges[MAX_CLASS_RANGES][2];
    uint32_t n_ranges;
} item;

typedef struct sequence {
    item *items; /* in the arena */
    uint32_t n;
} sequence;

typedef struct compiler {
    elm_tokenizer_spec *spec;
    elm_span pattern;
    size_t at;
    elm_error *err;
} compiler;

static elm_status refuse(const compiler *c, const char *what) {
    size_t n = c->pattern.size < 160 ? c->pattern.size : 160;
    return elm_fail(c->err, ELM_UNSUPPORTED, "pre-tokenizer pattern: %s at byte %zu of %.*s", what,
                    c->at, (int)n, (const char *)c->pattern.data);
}

static int peek(const compiler *c, size_t ahead) {
    return c->at + ahead < c->pattern.size ? c->pattern.data[c->at + ahead] : -1;
}

static bool take(compiler *c, const char *text) {
    size_t n = strlen(text);
    if (c->pattern.size - c->at < n || memcmp(c->pattern.data + c->at, text, n) != 0) return false;
    c->at += n;
    return true;
}

static elm_status add_range(compiler *c, item *it, uint32_t from, uint32_t to) {
    if (it->n_ranges == MAX_CLASS_RANGES) return refuse(c, "a class of too many ranges");
    it->ranges[it->n_ranges][0] = from;
    it->ranges[it->n_ranges++][1] = to;
    return ELM_OK;
}

/* Letters of either case; U+017F and U+212A fold to s and k, as Oniguruma folds them. */
static elm_status add_char(compiler *c, item *it, uint32_t ch, bool fold) {
    ELM_TRY(add_range(c, it, ch, ch));
    if (!fold || ch > 127) return ELM_OK;
    uint32_t lower = ch | 32;
    if (lower < 'a' || lower > 'z') return ELM_OK;
    ELM_TRY(add_range(c, it, ch ^ 32, ch ^ 32));
    if (lower == 's') return add_range(c, it, 0x17f, 0x17f);
    return lower == 'k' ? add_range(c, it, 0x212a, 0x212a) : ELM_OK;
}

static uint32_t category_bits(elm_span name) {
    static const char names[][3] = {"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Me", "Nd", "Nl",
                                    "No", "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "Sm", "Sc",
                                    "Sk", "So", "Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Co", "Cn"};
    uint32_t bits = 0;
    for (uint32_t i = 0; i < ELM_N_CATEGORIES; i++) {
        bool whole = name.size == 2 && memcmp(name.data, names[i], 2) == 0;
        bool major = name.size == 1 && name.data[0] == (uint8_t)names[i][0];
        if (whole || major) bits |= 1u << i;
    }
    return bits;
}

static elm_status property(compiler *c, item *it, bool negated) {
    size_t start = ++c->at; /* behind { */
    while (peek(c, 0) > 0 && peek(c, 0) != '}') c->at++;
    if (peek(c, 0) != '}') return refuse(c, "a property without }");
    uint32_t bits = category_bits(elm_span_of(c->pattern.data + start, c->at - start));
    if (bits == 0) return refuse(c, "an unknown property");
    it->categories |= negated ? ALL_CATEGORIES & ~bits : bits;
    c->at++;
    return ELM_OK;
}

/* Behind a backslash: a class or a character into `it`. *single is set to the character, or left
 * alone. */
static elm_status escape(compiler *c, item *it, bool fold, int64_t *single) {
    int e = peek(c, 0);
    static const char from[] = "rntfv", to[] = "\r\n\t\f\v";
    if (e < 0) return refuse(c, "a backslash at the end");
    c->at++;
    switch (e) {
    case 's':
        it->flags |= ELM_CLASS_SPACE;
        return ELM_OK;
    case 'S':
        it->flags |= ELM_CLASS_NOT_SPACE;
        return ELM_OK;
    case 'd':
        it->categories |= 1u << ELM_CAT_ND;
        return ELM_OK;
    case 'D':
        it->categories |= ALL_CATEGORIES & ~(1u << ELM_CAT_ND);
        return ELM_OK;
    case 'p':
    case 'P':
        if (peek(c, 0) != '{') return refuse(c, "a property without {");
        return property(c, it, e == 'P');
    default:
        break;
    }
    const char *at = strchr(from, e);
    uint32_t ch = at ? (uint32_t)to[at - from] : (uint32_t)e;
    if (!at && ((e >= 'a' && e <= 'z') || (e >= 'A' && e <= 'Z') || (e >= '0' && e <= '9'))) {
        c->at--;
        return refuse(c, "an unknown escape");
    }
    *single = ch;
    return add_char(c, it, ch, fold);
}

static elm_status code_point(compiler *c, uint32_t *out) {
    int n = elm_utf8_decode(elm_span_of(c->pattern.data + c->at, c->pattern.size - c->at), out);
    if (n <= 0) return refuse(c, "bad UTF-8");
    c->at += (size_t)n;
    return ELM_OK;
}

static elm_status class_member(compiler *c, item *it, bool fold, int64_t *single) {
    uint32_t ch;
    *single = -1;
    if (take(c, "\\")) return escape(c, it, fold, single);
    if (peek(c, 0) == '[' || (peek(c, 0) == '&' && peek(c, 1) == '&'))
        return refuse(c, "a nested class");
    ELM_TRY(code_point(c, &ch));
    *single = ch;
    return add_char(c, it, ch, fold);
}

static elm_status parse_class(compiler *c, item *it, bool fold) {
    if (take(c, "^")) it->flags |= ELM_CLASS_NEGATED;
    bool first = true;
    while (first || peek(c, 0) != ']') {
        int64_t low, high;
        if (peek(c, 0) < 0) return refuse(c, "a class without ]");
        first = false;
        ELM_TRY(class_member(c, it, fold, &low));
        if (low < 0 || peek(c, 0) != '-' || peek(c, 1) == ']') continue;
        c->at++;
        item other = {0};
        ELM_TRY(class_member(c, &other, false, &high));
        if (high < low) return refuse(c, "a range that runs backwards");
        if (fold && high < 128) return refuse(c, "a range under (?i)");
        ELM_TRY(add_range(c, it, (uint32_t)low, (uint32_t)high));
    }
    c->at++;
    return ELM_OK;
}

static elm_status number(compiler *c, uint32_t *out) {
    uint32_t n = 0, digits = 0;
    for (; peek(c, 0) >= '0' && peek(c, 0) <= '9' && digits < 6; digits++)
        n = n * 10 + (uint32_t)(c->pattern.data[c->at++] - '0');
    *out = n;
    return digits > 0 ? ELM_OK : refuse(c, "a repetition without a number");
}

static elm_status repetition(compiler *c, item *it) {
    it->min = it->max = 1;
    if (take(c, "?"))
        it->min = 0;
    else if (take(c, "*"))
        it->min = 0, it->max = ELM_REPEAT_FOREVER;
    else if (take(c, "+"))
        it->max = ELM_REPEAT_FOREVER;
    else if (take(c, "{")) {
        ELM_TRY(number(c, &it->min));
        it->max = it->min;
        if (take(c, ",")) {
            it->max = ELM_REPEAT_FOREVER;
            if (peek(c, 0) != '}') ELM_TRY(number(c, &it->max));
        }
        if (!take(c, "}") || it->max < it->min) return refuse(c, "a bad repetition");
    } else {
        return ELM_OK;
    }
    if (take(c, "+"))
        it->kind = ELM_ITEM_POSSESSIVE;
    else if (take(c, "?"))
        it->kind = ELM_ITEM_LAZY;
    int next = peek(c, 0);
    return next == '*' || next == '+' || next == '?' ? refuse(c, "a repetition of a repetition")
                                                     : ELM_OK;
}

/* One atom: a class or a character. */
static elm_status atom(compiler *c, item *it, bool fold) {
    int64_t single;
    int e = peek(c, 0);
    uint32_t ch;
    if (e == '[') {
        c->at++;
        return parse_class(c, it, fold);
    }
    if (e == '\\') {
        c->at++;
        return escape(c, it, fold, &single);
    }
    if (e == '.') {
        c->at++;
        it->flags |= ELM_CLASS_NEGATED;
        return add_range(c, it, '\n', '\n');
    }
    if (e == '*' || e == '+' || e == '?' || e == '{') return refuse(c, "a repetition of nothing");
    ELM_TRY(code_point(c, &ch));
    return add_char(c, it, ch, fold);
}

static elm_status append(compiler *c, sequence *s, const item *it) {
    if (s->n == MAX_SEQUENCE) return refuse(c, "an alternative that is too long");
    s->items[s->n++] = *it;
    return ELM_OK;
}

static elm_status new_sequence(compiler *c, sequence *s, const sequence *copy) {
    s->items = elm_arena_array(&c->spec->arena, MAX_SEQUENCE, sizeof *s->items);
    s->n = 0;
    if (!s->items) return elm_fail_oom(c->err, MAX_SEQUENCE * sizeof *s->items, "a pattern");
    for (uint32_t i = 0; copy && i < copy->n; i++) s->items[s->n++] = copy->items[i];
    return ELM_OK;
}

static elm_status lookahead(compiler *c, sequence *s, bool negated) {
    item it = {.kind = negated ? ELM_ITEM_NOT_LOOKAHEAD : ELM_ITEM_LOOKAHEAD, .min = 1, .max = 1};
    ELM_TRY(atom(c, &it, false));
    if (!take(c, ")")) return refuse(c, "a lookahead of more than one code point");
    return append(c, s, &it);
}

static elm_status emit(compiler *c, const sequence *s) {
    elm_disk_item head = {.kind = ELM_ITEM_ALTERNATIVE};
    elm_buf_append(&c->spec->items, &head, sizeof head);
    for (uint32_t i = 0; i < s->n; i++) {
        const item *it = &s->items[i];
        elm_disk_item out = {.kind = it->kind,
                             .min = it->min,
                             .max = it->max,
                             .categories = it->categories,
                             .flags = it->flags,
                             .first_range = (uint32_t)(c->spec->ranges.size / 8),
                             .n_ranges = it->n_ranges};
        elm_buf_append(&c->spec->items, &out, sizeof out);
        elm_buf_append(&c->spec->ranges, it->ranges, it->n_ranges * sizeof it->ranges[0]);
    }
    ELM_TRY(elm_buf_check(&c->spec->items, "a pattern", c->err));
    return elm_buf_check(&c->spec->ranges, "a pattern", c->err);
}

/* Alternatives until `)` or the end. Each is a copy of `before` with its own items behind it; they
 * land in out[*n_out...]. */
static elm_status alternatives(compiler *c, const sequence *before, bool fold, uint32_t depth,
                               sequence *out, uint32_t *n_out);

/* A group multiplies the sequences at hand by its alternatives. */
static elm_status group(compiler *c, sequence *open, uint32_t *n_open, bool fold, uint32_t depth) {
    sequence grown[MAX_EXPANDED];
    uint32_t n = 0;
    size_t start = c->at;
    if (depth >= 4) return refuse(c, "groups nested too deep");
    for (uint32_t i = 0; i < *n_open; i++) {
        c->at = start;
        ELM_TRY(alternatives(c, &open[i], fold, depth + 1, grown, &n));
        if (!take(c, ")")) return refuse(c, "a group without )");
    }
    int next = peek(c, 0);
    if (next == '?' || next == '*' || next == '+' || next == '{')
        return refuse(c, "a repeated group");
    memcpy(open, grown, n * sizeof *grown);
    *n_open = n;
    return ELM_OK;
}

static elm_status one_alternative(compiler *c, sequence *open, uint32_t *n_open, bool fold,
                                  uint32_t depth) {
    for (int e; (e = peek(c, 0)) >= 0 && e != '|' && e != ')';) {
        item it = {.kind = ELM_ITEM_GREEDY};
        if (take(c, "(?i:")) {
            ELM_TRY(group(c, open, n_open, true, depth));
            continue;
        }
        if (take(c, "(?:")) {
            ELM_TRY(group(c, open, n_open, fold, depth));
            continue;
        }
        bool not_ahead = take(c, "(?!");
        if (not_ahead || take(c, "(?=")) {
            size_t start = c->at;
            for (uint32_t i = 0; i < *n_open; i++) {
                c->at = start;
                ELM_TRY(lookahead(c, &open[i], not_ahead));
            }
            continue;
        }
        if (e == '(') {
            if (peek(c, 1) == '?') return refuse(c, "an unknown group");
            c->at++;
            ELM_TRY(group(c, open, n_open, fold, depth));
            continue;
        }
        if (e == '^' || e == '$') {
            c->at++;
            it.kind = e == '^' ? ELM_ITEM_TEXT_START : ELM_ITEM_TEXT_END;
        } else {
            ELM_TRY(atom(c, &it, fold));
            ELM_TRY(repetition(c, &it));
        }
        for (uint32_t i = 0; i < *n_open; i++) ELM_TRY(append(c, &open[i], &it));
    }
    return ELM_OK;
}

static elm_status alternatives(compiler *c, const sequence *before, bool fold, uint32_t depth,
                               sequence *out, uint32_t *n_out) {
    do {
        sequence open[MAX_EXPANDED];
        uint32_t n_open = 1;
        ELM_TRY(new_sequence(c, &open[0], before));
        ELM_TRY(one_alternative(c, open, &n_open, fold, depth));
        if (*n_out + n_open > MAX_EXPANDED) return refuse(c, "too many alternatives");
        for (uint32_t i = 0; i < n_open; i++) out[(*n_out)++] = open[i];
    } while (take(c, "|"));
    return ELM_OK;
}

static elm_status finish(compiler *c, const sequence *all, uint32_t n, uint32_t *first_item) {
    elm_disk_item end = {.kind = ELM_ITEM_END};
    *first_item = (uint32_t)(c->spec->items.size / sizeof end);
    for (uint32_t i = 0; i < n; i++) ELM_TRY(emit(c, &all[i]));
    elm_buf_append(&c->spec->items, &end, sizeof end);
    return elm_buf_check(&c->spec->items, "a pattern", c->err);
}

elm_status elm_spec_pattern(elm_tokenizer_spec *s, elm_span pattern, uint32_t *first_item,
                            elm_error *err) {
    compiler c = {.spec = s, .pattern = pattern, .err = err};
    sequence all[MAX_EXPANDED];
    uint32_t n = 0;
    ELM_TRY(alternatives(&c, NULL, false, 0, all, &n));
    if (c.at != pattern.size) return refuse(&c, "a ) without (");
    return finish(&c, all, n, first_item);
}

elm_status elm_spec_literal(elm_tokenizer_spec *s, elm_span text, uint32_t *first_item,
                            elm_error *err) {
    compiler c = {.spec = s, .pattern = text, .err = err};
    sequence all;
    ELM_TRY(new_sequence(&c, &all, NULL));
    while (c.at < text.size) {
        item it = {.kind = ELM_ITEM_GREEDY, .min = 1, .max = 1};
        uint32_t ch;
        ELM_TRY(code_point(&c, &ch));
        ELM_TRY(add_range(&c, &it, ch, ch));
        ELM_TRY(append(&c, &all, &it));
    }
    return finish(&c, &all, 1, first_item);
}
