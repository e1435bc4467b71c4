/* template_parser.c - the source of a chat template to its tree; text.
 *
 * Recursive descent over the characters, depth limited. Between tags lies text, trimmed as jinja2
 * trims it with trim_blocks and lstrip_blocks on and one newline at the very end left out. */
#include "text/template_ast.h"

#include "base/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ITEMS = 4096, MAX_NUMBER = 64 };

typedef struct parser {
    elm_template *t;
    elm_span s;
    size_t pos;
    uint32_t depth;
    elm_error *err;
    elm_status status;
    size_t counted; /* how far lines and columns have been counted */
    uint32_t line, column;
    bool strip_next;   /* the last tag ended in - */
    bool trim_newline; /* the last tag was a block without + */
    elm_tstr tag;      /* the word that ended a body ("endif", "else", ...) */
} parser;

/* ---- errors ---- */

/* Line and column of a position. Nodes ask with rising positions, so the count goes on from where
 * it was. */
static void place(parser *p, size_t at, uint32_t *line, uint32_t *column) {
    if (at < p->counted || p->line == 0) p->counted = 0, p->line = p->column = 1;
    for (; p->counted < at && p->counted < p->s.size; p->counted++) {
        uint8_t c = p->s.data[p->counted];
        if (c == '\n')
            p->line++, p->column = 1;
        else if ((c & 0xc0) != 0x80)
            p->column++;
    }
    *line = p->line;
    *column = p->column;
}

static elm_tnode *fail(parser *p, elm_status status, const char *what) {
    uint32_t line, column;
    if (p->status != ELM_OK) return NULL;
    place(p, p->pos, &line, &column);
    p->status =
        elm_fail(p->err, status, "chat template, line %u, column %u: %s", line, column, what);
    return NULL;
}

static elm_tnode *expected(parser *p, const char *what) {
    char text[96];
    snprintf(text, sizeof text, "expected %s", what);
    return fail(p, ELM_MALFORMED, text);
}

static elm_tnode *node(parser *p, elm_tkind kind) {
    elm_tnode *n = elm_arena_alloc(&p->t->arena, sizeof *n, 16);
    if (!n) return fail(p, ELM_OUT_OF_MEMORY, "no memory");
    n->kind = kind;
    place(p, p->pos, &n->line, &n->column);
    return n;
}

static void add(parser *p, elm_tnodes *list, elm_tnode *n) {
    if (p->status != ELM_OK) return;
    if (list->n == list->capacity) {
        uint32_t capacity = list->capacity ? list->capacity * 2 : 8;
        elm_tnode **larger = elm_arena_array(&p->t->arena, capacity, sizeof *larger);
        if (!larger || capacity > MAX_ITEMS * 64) {
            fail(p, ELM_LIMIT, "too many items");
            return;
        }
        if (list->n > 0) memcpy(larger, list->items, list->n * sizeof *larger);
        list->items = larger;
        list->capacity = capacity;
    }
    list->items[list->n++] = n;
}

static void add_name(parser *p, elm_tnode *n, elm_tstr name) {
    if (n->n_names % 8 == 0) {
        elm_tstr *larger = elm_arena_array(&p->t->arena, n->n_names + 8, sizeof *larger);
        if (!larger || n->n_names > MAX_ITEMS) {
            fail(p, ELM_LIMIT, "too many arguments");
            return;
        }
        if (n->n_names > 0) memcpy(larger, n->names, n->n_names * sizeof *larger);
        n->names = larger;
    }
    n->names[n->n_names++] = name;
}

/* ---- characters and words ---- */

static int peek(const parser *p, size_t ahead) {
    return p->pos + ahead < p->s.size ? p->s.data[p->pos + ahead] : -1;
}

static void skip_space(parser *p) {
    while (peek(p, 0) == ' ' || peek(p, 0) == '\t' || peek(p, 0) == '\n' || peek(p, 0) == '\r')
        p->pos++;
}

static bool starts(const parser *p, const char *text) {
    size_t n = strlen(text);
    return p->s.size - p->pos >= n && memcmp(p->s.data + p->pos, text, n) == 0;
}

static bool take(parser *p, const char *text) {
    skip_space(p);
    if (!starts(p, text)) return false;
    p->pos += strlen(text);
    return true;
}

static bool is_word(int c) {
    return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c >= 0x80;
}

static elm_tstr word_at(const parser *p, size_t pos) {
    size_t end = pos;
    if (end < p->s.size && p->s.data[end] >= '0' && p->s.data[end] <= '9')
        return (elm_tstr){p->s.data + pos, 0, ELM_PART_TEMPLATE, NULL};
    while (end < p->s.size && is_word(p->s.data[end])) end++;
    return (elm_tstr){p->s.data + pos, (uint32_t)(end - pos), ELM_PART_TEMPLATE, NULL};
}

static bool word_is(elm_tstr w, const char *text) {
    return w.size == strlen(text) && memcmp(w.data, text, w.size) == 0;
}

static bool take_word(parser *p, const char *text) {
    skip_space(p);
    if (!word_is(word_at(p, p->pos), text)) return false;
    p->pos += strlen(text);
    return true;
}

static bool is_reserved(elm_tstr w) {
    static const char *const words[] = {"and", "or", "not", "in", "is", "if", "else", "elif"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (word_is(w, words[i])) return true;
    }
    return false;
}

static elm_tstr take_name(parser *p) {
    skip_space(p);
    elm_tstr w = word_at(p, p->pos);
    if (w.size == 0 || is_reserved(w))
        expected(p, "a name");
    else
        p->pos += w.size;
    return w;
}

/* ---- expressions ---- */

static elm_tnode *expression(parser *p);
static elm_tnode *unary(parser *p, bool with_filters);

static bool enter(parser *p) {
    if (p->status != ELM_OK) return false;
    if (++p->depth > ELM_TEMPLATE_MAX_DEPTH) {
        fail(p, ELM_LIMIT, "nested too deep");
        return false;
    }
    return true;
}

static void escape(parser *p, elm_buf *out) {
    static const char from[] = "ntrbfav0\\'\"", to[] = "\n\t\r\b\f\a\v\0\\'\"";
    int c = peek(p, 0);
    const char *at = c > 0 ? strchr(from, c) : NULL;
    if (at) {
        elm_buf_u8(out, (uint8_t)to[at - from]);
        p->pos++;
        return;
    }
    int digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits == 0) { /* Python keeps an unknown escape as it stands */
        if (c == '\n')
            p->pos++;
        else
            elm_buf_u8(out, '\\');
        return;
    }
    uint32_t value = 0;
    p->pos++;
    for (int i = 0; i < digits; i++, p->pos++) {
        int d = peek(p, 0);
        int digit = d >= '0' && d <= '9'                 ? d - '0'
                    : (d | 32) >= 'a' && (d | 32) <= 'f' ? (d | 32) - 'a' + 10
                                                         : -1;
        if (digit < 0) {
            expected(p, "a hexadecimal digit");
            return;
        }
        value = value << 4 | (uint32_t)digit;
    }
    uint8_t bytes[4];
    if (value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
        expected(p, "a code point");
    else
        elm_buf_append(out, bytes, (size_t)elm_utf8_encode(value, bytes));
}

static elm_tnode *string(parser *p) {
    elm_buf buf;
    elm_tnode *n = node(p, ELM_TN_LITERAL);
    elm_buf_init(&buf, p->t->alloc, ELM_TEMPLATE_MAX_SOURCE_BYTES);
    do { /* neighbouring literals join */
        int quote = peek(p, 0);
        p->pos++;
        while (p->status == ELM_OK && peek(p, 0) != quote) {
            int c = peek(p, 0);
            if (c < 0) expected(p, "the end of a string");
            p->pos++;
            if (c == '\\')
                escape(p, &buf);
            else if (c >= 0)
                elm_buf_u8(&buf, (uint8_t)c);
        }
        p->pos++;
        skip_space(p);
    } while (p->status == ELM_OK && (peek(p, 0) == '"' || peek(p, 0) == '\''));
    if (n && p->status == ELM_OK) {
        char *copy = elm_arena_string(&p->t->arena, elm_buf_span(&buf));
        if (!copy)
            fail(p, ELM_OUT_OF_MEMORY, "no memory");
        else
            n->value = elm_tv_text(elm_span_of(copy, buf.size), ELM_PART_TEMPLATE);
    }
    elm_buf_free(&buf);
    return p->status == ELM_OK ? n : NULL;
}

static elm_tnode *number(parser *p) {
    char text[MAX_NUMBER + 1];
    size_t n = 0;
    bool real = false;
    elm_tnode *out = node(p, ELM_TN_LITERAL);
    for (int c; (c = peek(p, 0)) >= 0 && n < MAX_NUMBER; p->pos++) {
        bool digit = c >= '0' && c <= '9';
        bool dot = c == '.' && !real && peek(p, 1) >= '0' && peek(p, 1) <= '9';
        bool exponent = (c == 'e' || c == 'E') && n > 0;
        bool sign = (c == '+' || c == '-') && n > 0 && (text[n - 1] == 'e' || text[n - 1] == 'E');
        if (c == '_' && n > 0) continue;
        if (!digit && !dot && !exponent && !sign) break;
        real = real || dot || exponent;
        text[n++] = (char)c;
    }
    text[n] = 0;
    if (!out) return NULL;
    out->value = real ? elm_tv_float(strtod(text, NULL)) : elm_tv_int(strtoll(text, NULL, 10));
    return out;
}

/* Expressions up to `close`, in parentheses, brackets or braces. */
static void items(parser *p, elm_tnodes *list, const char *close) {
    while (p->status == ELM_OK && !take(p, close)) {
        add(p, list, expression(p));
        if (take(p, ",")) continue;
        if (!take(p, close)) expected(p, close);
        return;
    }
}

static elm_tnode *parenthesised(parser *p) {
    elm_tnode *first, *n;
    if (take(p, ")")) return node(p, ELM_TN_TUPLE);
    first = expression(p);
    if (take(p, ")")) return first;
    if (!take(p, ",")) return expected(p, "')'");
    n = node(p, ELM_TN_TUPLE);
    if (!n) return NULL;
    add(p, &n->list, first);
    items(p, &n->list, ")");
    return n;
}

static elm_tnode *dict(parser *p) {
    elm_tnode *n = node(p, ELM_TN_DICT);
    while (n && p->status == ELM_OK && !take(p, "}")) {
        add(p, &n->list, expression(p));
        if (!take(p, ":")) return expected(p, "':'");
        add(p, &n->list, expression(p));
        if (take(p, ",")) continue;
        if (!take(p, "}")) return expected(p, "'}'");
        break;
    }
    return n;
}

static elm_tnode *constant(parser *p, elm_tv value, size_t length) {
    elm_tnode *n = node(p, ELM_TN_LITERAL);
    p->pos += length;
    if (n) n->value = value;
    return n;
}

static elm_tnode *primary(parser *p) {
    skip_space(p);
    int c = peek(p, 0);
    if (c == '"' || c == '\'') return string(p);
    if (c >= '0' && c <= '9') return number(p);
    if (take(p, "(")) return parenthesised(p);
    if (take(p, "[")) {
        elm_tnode *n = node(p, ELM_TN_LIST);
        if (n) items(p, &n->list, "]");
        return n;
    }
    if (take(p, "{")) return dict(p);
    elm_tstr w = word_at(p, p->pos);
    if (w.size == 0 || is_reserved(w)) return expected(p, "an expression");
    if (word_is(w, "true") || word_is(w, "True")) return constant(p, elm_tv_bool(true), w.size);
    if (word_is(w, "false") || word_is(w, "False")) return constant(p, elm_tv_bool(false), w.size);
    if (word_is(w, "none") || word_is(w, "None")) return constant(p, elm_tv_none(), w.size);
    elm_tnode *n = node(p, ELM_TN_NAME);
    p->pos += w.size;
    if (n) n->text = w;
    return n;
}

/* Arguments behind '('. */
static void arguments(parser *p, elm_tnode *n) {
    while (p->status == ELM_OK && !take(p, ")")) {
        skip_space(p);
        elm_tstr w = word_at(p, p->pos);
        size_t after = p->pos + w.size;
        while (after < p->s.size &&
               (p->s.data[after] == ' ' || p->s.data[after] == '\t' || p->s.data[after] == '\n'))
            after++;
        bool named = w.size > 0 && after + 1 < p->s.size && p->s.data[after] == '=' &&
                     p->s.data[after + 1] != '=';
        if (starts(p, "*")) {
            fail(p, ELM_UNSUPPORTED, "* and ** arguments are not supported");
            return;
        }
        if (named) {
            p->pos = after + 1;
            add_name(p, n, w);
        } else if (n->n_names > 0) {
            expected(p, "a named argument");
        }
        add(p, &n->list, expression(p));
        if (take(p, ",")) continue;
        if (!take(p, ")")) expected(p, "')'");
        return;
    }
}

static elm_tnode *subscript(parser *p, elm_tnode *object) {
    elm_tnode *n = node(p, ELM_TN_INDEX), *parts[3] = {NULL, NULL, NULL};
    uint32_t at = 0;
    bool slice = false;
    if (!n) return NULL;
    n->a = object;
    while (p->status == ELM_OK && !take(p, "]")) {
        if (take(p, ":")) {
            slice = true;
            if (++at > 2) return expected(p, "']'");
        } else if (!parts[at]) {
            parts[at] = expression(p);
        } else {
            return expected(p, "']'");
        }
    }
    n->b = parts[0];
    if (!slice && !n->b) return expected(p, "an index");
    if (!slice) return n;
    n->kind = ELM_TN_SLICE;
    for (int i = 0; i < 3; i++) add(p, &n->list, parts[i]);
    return n;
}

static elm_tnode *postfix(parser *p, elm_tnode *n) {
    while (p->status == ELM_OK && n) {
        skip_space(p);
        elm_tnode *outer;
        if (peek(p, 0) == '.' && peek(p, 1) != '.') {
            p->pos++;
            skip_space(p);
            outer = node(p, ELM_TN_ATTR);
            if (!outer) return NULL;
            if (peek(p, 0) >= '0' && peek(p, 0) <= '9') { /* list.0 */
                outer->kind = ELM_TN_INDEX;
                outer->b = number(p);
            } else {
                outer->text = word_at(p, p->pos);
                if (outer->text.size == 0) return expected(p, "an attribute");
                p->pos += outer->text.size;
            }
        } else if (take(p, "[")) {
            n = subscript(p, n);
            continue;
        } else if (peek(p, 0) == '(') {
            p->pos++;
            outer = node(p, ELM_TN_CALL);
            if (!outer) return NULL;
            arguments(p, outer);
        } else {
            return n;
        }
        outer->a = n;
        n = outer;
    }
    return n;
}

static elm_tnode *filter(parser *p, elm_tnode *operand) {
    elm_tnode *n = node(p, ELM_TN_FILTER);
    if (!n) return NULL;
    n->a = operand;
    n->text = take_name(p);
    if (p->status == ELM_OK && !elm_filter_known(n->text)) {
        p->pos -= n->text.size;
        char text[96];
        snprintf(text, sizeof text, "filter '%.*s' is not supported",
                 (int)(n->text.size < 40 ? n->text.size : 40), (const char *)n->text.data);
        return fail(p, ELM_UNSUPPORTED, text);
    }
    if (peek(p, 0) == '(') {
        p->pos++;
        arguments(p, n);
    }
    return n;
}

static elm_tnode *test(parser *p, elm_tnode *operand) {
    elm_tnode *n = node(p, ELM_TN_TEST);
    if (!n) return NULL;
    n->a = operand;
    n->flag = take_word(p, "not");
    skip_space(p);
    n->text = word_at(p, p->pos);
    if (n->text.size == 0) return expected(p, "a test");
    if (!elm_test_known(n->text)) {
        char text[96];
        snprintf(text, sizeof text, "test '%.*s' is not supported",
                 (int)(n->text.size < 40 ? n->text.size : 40), (const char *)n->text.data);
        return fail(p, ELM_UNSUPPORTED, text);
    }
    p->pos += n->text.size;
    skip_space(p);
    int c = peek(p, 0);
    if (c == '(') {
        p->pos++;
        arguments(p, n);
    } else if (c == '"' || c == '\'' || (c >= '0' && c <= '9') || c == '[' || c == '{' ||
               (is_word(c) && !is_reserved(word_at(p, p->pos)))) {
        add(p, &n->list, postfix(p, primary(p))); /* `x is divisibleby 3` */
    }
    return n;
}

static elm_tnode *filters(parser *p, elm_tnode *n) {
    while (p->status == ELM_OK && n) {
        skip_space(p);
        if (peek(p, 0) == '|' && peek(p, 1) != '|') {
            p->pos++;
            n = filter(p, n);
        } else if (take_word(p, "is")) {
            n = test(p, n);
        } else if (peek(p, 0) == '(') {
            p->pos++;
            elm_tnode *call = node(p, ELM_TN_CALL);
            if (!call) return NULL;
            call->a = n;
            arguments(p, call);
            n = call;
        } else {
            return n;
        }
    }
    return n;
}

static elm_tnode *unary(parser *p, bool with_filters) {
    elm_tnode *n;
    if (!enter(p)) return NULL;
    skip_space(p);
    int c = peek(p, 0);
    if ((c == '-' || c == '+') && !starts(p, "-%}") && !starts(p, "-}}")) {
        p->pos++;
        n = node(p, c == '-' ? ELM_TN_NEGATE : ELM_TN_PLUS);
        if (n) n->a = unary(p, false);
    } else {
        n = postfix(p, primary(p));
    }
    if (with_filters) n = filters(p, n);
    p->depth--;
    return n;
}

static elm_tnode *binary(parser *p, elm_top op, elm_tnode *a, elm_tnode *b) {
    elm_tnode *n = node(p, ELM_TN_BINARY);
    if (!n) return NULL;
    n->op = op;
    n->a = a;
    n->b = b;
    return n;
}

/* An operator that is no part of a tag's end ("-%}"). */
static bool take_operator(parser *p, const char *op) {
    skip_space(p);
    if (starts(p, "-%}") || starts(p, "-}}") || starts(p, "+%}") || starts(p, "%}") ||
        starts(p, "}}"))
        return false;
    return take(p, op);
}

static elm_tnode *power(parser *p) {
    elm_tnode *n = unary(p, true);
    while (p->status == ELM_OK && take_operator(p, "**"))
        n = binary(p, ELM_OP_POWER, n, unary(p, true));
    return n;
}

static elm_tnode *product(parser *p) {
    elm_tnode *n = power(p);
    while (p->status == ELM_OK) {
        if (take_operator(p, "//"))
            n = binary(p, ELM_OP_FLOOR, n, power(p));
        else if (take_operator(p, "*"))
            n = binary(p, ELM_OP_TIMES, n, power(p));
        else if (take_operator(p, "/"))
            n = binary(p, ELM_OP_DIVIDE, n, power(p));
        else if (take_operator(p, "%"))
            n = binary(p, ELM_OP_MODULO, n, power(p));
        else
            break;
    }
    return n;
}

static elm_tnode *concatenation(parser *p) {
    elm_tnode *n = product(p);
    while (p->status == ELM_OK && take_operator(p, "~")) n = binary(p, ELM_OP_TILDE, n, product(p));
    return n;
}

static elm_tnode *sum(parser *p) {
    elm_tnode *n = concatenation(p);
    while (p->status == ELM_OK) {
        if (take_operator(p, "+"))
            n = binary(p, ELM_OP_PLUS, n, concatenation(p));
        else if (take_operator(p, "-"))
            n = binary(p, ELM_OP_MINUS, n, concatenation(p));
        else
            break;
    }
    return n;
}

static bool comparison_operator(parser *p, elm_top *op) {
    static const struct {
        const char *text;
        elm_top op;
    } table[] = {{"==", ELM_OP_EQ}, {"!=", ELM_OP_NE}, {"<=", ELM_OP_LE},
                 {">=", ELM_OP_GE}, {"<", ELM_OP_LT},  {">", ELM_OP_GT}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (take_operator(p, table[i].text)) {
            *op = table[i].op;
            return true;
        }
    }
    size_t before = p->pos;
    if (take_word(p, "in")) {
        *op = ELM_OP_IN;
        return true;
    }
    if (take_word(p, "not") && take_word(p, "in")) {
        *op = ELM_OP_NOT_IN;
        return true;
    }
    p->pos = before;
    return false;
}

static elm_tnode *comparison(parser *p) {
    elm_tnode *n = sum(p), *chain = NULL;
    elm_top op;
    while (p->status == ELM_OK && comparison_operator(p, &op)) {
        if (!chain) {
            chain = node(p, ELM_TN_COMPARE);
            if (!chain) return NULL;
            chain->ops = elm_arena_alloc(&p->t->arena, 16, 1);
            add(p, &chain->list, n);
        }
        if (!chain->ops || chain->list.n > 16)
            return fail(p, ELM_LIMIT, "a comparison is too long");
        chain->ops[chain->list.n - 1] = (uint8_t)op;
        add(p, &chain->list, sum(p));
    }
    return chain ? chain : n;
}

static elm_tnode *negation(parser *p) {
    if (!take_word(p, "not")) return comparison(p);
    elm_tnode *n = node(p, ELM_TN_NOT);
    if (!n || !enter(p)) return NULL;
    n->a = negation(p);
    p->depth--;
    return n;
}

static elm_tnode *conjunction(parser *p) {
    elm_tnode *n = negation(p);
    while (p->status == ELM_OK && take_word(p, "and")) n = binary(p, ELM_OP_AND, n, negation(p));
    return n;
}

static elm_tnode *disjunction(parser *p) {
    elm_tnode *n = conjunction(p);
    while (p->status == ELM_OK && take_word(p, "or")) n = binary(p, ELM_OP_OR, n, conjunction(p));
    return n;
}

static elm_tnode *expression(parser *p) {
    if (!enter(p)) return NULL;
    elm_tnode *n = disjunction(p);
    while (p->status == ELM_OK && take_word(p, "if")) {
        elm_tnode *outer = node(p, ELM_TN_CONDITION);
        if (!outer) return NULL;
        outer->a = n;
        outer->b = disjunction(p);
        if (take_word(p, "else")) outer->c = expression(p);
        n = outer;
    }
    p->depth--;
    return n;
}

/* expression, expression, ... without parentheses. */
static elm_tnode *open_tuple(parser *p) {
    elm_tnode *first = expression(p);
    if (p->status != ELM_OK || !take(p, ",")) return first;
    elm_tnode *n = node(p, ELM_TN_TUPLE);
    if (!n) return NULL;
    add(p, &n->list, first);
    while (p->status == ELM_OK && !starts(p, "%}") && !starts(p, "-%}") && !starts(p, "+%}")) {
        add(p, &n->list, expression(p));
        if (!take(p, ",")) break;
    }
    return n;
}

/* ---- tags and text ---- */

static void body(parser *p, elm_tnodes *out, const char *const *ends);

static void end_tag(parser *p, const char *close) {
    skip_space(p);
    p->strip_next = false;
    bool plus = false;
    if (peek(p, 0) == '-')
        p->strip_next = true, p->pos++;
    else if (peek(p, 0) == '+')
        plus = true, p->pos++;
    if (!starts(p, close)) {
        expected(p, close);
        return;
    }
    p->pos += strlen(close);
    p->trim_newline = !plus && strcmp(close, "}}") != 0;
}

static bool is_space(uint8_t c) {
    return c == ' ' || (c >= 9 && c <= 13);
}

/* Where the next tag begins; the end of the source when there is none. */
static size_t next_tag(const parser *p) {
    for (size_t i = p->pos; i + 1 < p->s.size; i++) {
        if (p->s.data[i] == '{' &&
            (p->s.data[i + 1] == '{' || p->s.data[i + 1] == '%' || p->s.data[i + 1] == '#'))
            return i;
    }
    return p->s.size;
}

static void text(parser *p, elm_tnodes *out, size_t end) {
    size_t begin = p->pos, stop = end;
    const uint8_t *s = p->s.data;
    if (p->strip_next) {
        while (begin < stop && is_space(s[begin])) begin++;
    } else if (p->trim_newline && begin < stop && s[begin] == '\n') {
        begin++;
    }
    int mark = end + 2 < p->s.size ? s[end + 2] : 0;
    if (end < p->s.size && mark == '-') {
        while (stop > begin && is_space(s[stop - 1])) stop--;
    } else if (end < p->s.size && s[end + 1] != '{' && mark != '+') { /* lstrip_blocks */
        size_t line = stop;
        while (line > begin && (s[line - 1] == ' ' || s[line - 1] == '\t')) line--;
        bool fresh = line == 0 || s[line - 1] == '\n' ||
                     (line == begin && begin > 0 && s[begin - 1] == '\n');
        if (fresh) stop = line;
    }
    p->strip_next = p->trim_newline = false;
    p->pos = end;
    if (stop <= begin) return;
    elm_tnode *n = node(p, ELM_TN_TEXT);
    if (!n) return;
    n->value = elm_tv_text(elm_span_of(s + begin, stop - begin), ELM_PART_TEMPLATE);
    add(p, out, n);
}

static void comment(parser *p) {
    for (p->pos += 2; p->pos + 1 < p->s.size; p->pos++) {
        if (!starts(p, "#}")) continue;
        p->strip_next = p->s.data[p->pos - 1] == '-';
        p->trim_newline = p->s.data[p->pos - 1] != '+';
        p->pos += 2;
        return;
    }
    expected(p, "the end of a comment");
}

/* Targets of for and set: a name, names, or name.attribute. */
static void targets(parser *p, elm_tnode *n) {
    bool parens = take(p, "(");
    do {
        elm_tnode *t = node(p, ELM_TN_NAME);
        if (!t) return;
        t->text = take_name(p);
        if (peek(p, 0) == '.') {
            elm_tnode *attr = node(p, ELM_TN_ATTR);
            if (!attr) return;
            p->pos++;
            attr->a = t;
            attr->text = take_name(p);
            t = attr;
        }
        add(p, &n->list, t);
    } while (p->status == ELM_OK && take(p, ","));
    if (parens && !take(p, ")")) expected(p, "')'");
}

static elm_tnode *if_tag(parser *p) {
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    elm_tnode *first = node(p, ELM_TN_IF), *branch = first;
    if (!branch) return NULL;
    branch->a = expression(p);
    end_tag(p, "%}");
    body(p, &branch->body, ends);
    while (p->status == ELM_OK && !word_is(p->tag, "endif")) {
        elm_tnode *next = node(p, ELM_TN_IF);
        if (!next) return NULL;
        bool last = word_is(p->tag, "else");
        if (!last) next->a = expression(p);
        end_tag(p, "%}");
        body(p, &next->body, last ? ends + 2 : ends);
        branch = branch->b = next;
    }
    end_tag(p, "%}");
    return first;
}

static elm_tnode *for_tag(parser *p) {
    static const char *const ends[] = {"else", "endfor", NULL};
    elm_tnode *n = node(p, ELM_TN_FOR);
    if (!n) return NULL;
    targets(p, n);
    if (!take_word(p, "in")) return expected(p, "in");
    n->a = disjunction(p); /* no inline if: that is the filter */
    if (take_word(p, "if")) n->b = expression(p);
    if (take_word(p, "recursive"))
        return fail(p, ELM_UNSUPPORTED, "recursive loops are not supported");
    end_tag(p, "%}");
    body(p, &n->body, ends);
    if (word_is(p->tag, "else")) {
        end_tag(p, "%}");
        body(p, &n->other, ends + 1);
    }
    end_tag(p, "%}");
    return n;
}

static elm_tnode *set_tag(parser *p) {
    static const char *const ends[] = {"endset", NULL};
    elm_tnode *n = node(p, ELM_TN_SET);
    if (!n) return NULL;
    targets(p, n);
    if (take(p, "=")) {
        n->a = open_tuple(p);
        end_tag(p, "%}");
        return n;
    }
    n->kind = ELM_TN_SET_BLOCK;
    while (p->status == ELM_OK && take(p, "|")) n->a = filter(p, n->a);
    end_tag(p, "%}");
    body(p, &n->body, ends);
    end_tag(p, "%}");
    return n;
}

/* (a, b=1, ...) of a macro or a call block. */
static void parameters(parser *p, elm_tnode *n) {
    while (p->status == ELM_OK && !take(p, ")")) {
        add_name(p, n, take_name(p));
        elm_tnode *def = take(p, "=") ? expression(p) : NULL;
        add(p, &n->list, def);
        if (take(p, ",")) continue;
        if (!take(p, ")")) expected(p, "')'");
        return;
    }
}

static elm_tnode *macro_tag(parser *p) {
    static const char *const ends[] = {"endmacro", NULL};
    elm_tnode *n = node(p, ELM_TN_MACRO);
    if (!n) return NULL;
    n->text = take_name(p);
    if (!take(p, "(")) return expected(p, "'('");
    parameters(p, n);
    end_tag(p, "%}");
    body(p, &n->body, ends);
    skip_space(p);
    p->pos += word_at(p, p->pos).size; /* endmacro name */
    end_tag(p, "%}");
    return n;
}

static elm_tnode *call_tag(parser *p) {
    static const char *const ends[] = {"endcall", NULL};
    elm_tnode *n = node(p, ELM_TN_CALL_BLOCK);
    if (!n) return NULL;
    if (take(p, "(")) parameters(p, n);
    n->a = expression(p);
    if (p->status == ELM_OK && n->a->kind != ELM_TN_CALL) return expected(p, "a call");
    end_tag(p, "%}");
    body(p, &n->body, ends);
    end_tag(p, "%}");
    return n;
}

static elm_tnode *filter_tag(parser *p) {
    static const char *const ends[] = {"endfilter", NULL};
    elm_tnode *n = node(p, ELM_TN_FILTER_BLOCK);
    if (!n) return NULL;
    do n->a = filter(p, n->a);
    while (p->status == ELM_OK && take(p, "|"));
    end_tag(p, "%}");
    body(p, &n->body, ends);
    end_tag(p, "%}");
    return n;
}

static elm_tnode *block_tag(parser *p) {
    static const char *const ends[] = {"endgeneration", NULL};
    elm_tnode *n = node(p, ELM_TN_BLOCK);
    end_tag(p, "%}");
    if (n) body(p, &n->body, ends);
    end_tag(p, "%}");
    return n;
}

static elm_tnode *raw_tag(parser *p) {
    end_tag(p, "%}");
    bool strip = p->strip_next;
    size_t begin = p->pos;
    if (!strip && p->trim_newline && peek(p, 0) == '\n') begin++;
    for (; p->pos + 1 < p->s.size; p->pos++) {
        if (!starts(p, "{%")) continue;
        size_t end = p->pos;
        p->pos += 2;
        bool strip_end = peek(p, 0) == '-';
        if (strip_end || peek(p, 0) == '+') p->pos++;
        if (!take_word(p, "endraw")) {
            p->pos = end;
            continue;
        }
        end_tag(p, "%}");
        while (strip && begin < end && is_space(p->s.data[begin])) begin++;
        while (strip_end && end > begin && is_space(p->s.data[end - 1])) end--;
        elm_tnode *n = node(p, ELM_TN_TEXT);
        if (n)
            n->value = elm_tv_text(elm_span_of(p->s.data + begin, end > begin ? end - begin : 0),
                                   ELM_PART_TEMPLATE);
        return n;
    }
    return expected(p, "endraw");
}

static elm_tnode *tag_of(parser *p, elm_tstr word) {
    static const struct {
        const char *word;
        elm_tnode *(*parse)(parser *p);
    } tags[] = {
        {"if", if_tag},     {"for", for_tag},       {"set", set_tag},          {"macro", macro_tag},
        {"call", call_tag}, {"filter", filter_tag}, {"generation", block_tag}, {"raw", raw_tag}};
    for (size_t i = 0; i < sizeof tags / sizeof tags[0]; i++) {
        if (word_is(word, tags[i].word)) return tags[i].parse(p);
    }
    if (word_is(word, "break") || word_is(word, "continue")) {
        elm_tnode *n = node(p, word_is(word, "break") ? ELM_TN_BREAK : ELM_TN_CONTINUE);
        end_tag(p, "%}");
        return n;
    }
    char message[96];
    p->pos -= word.size;
    snprintf(message, sizeof message, "tag '%.*s' is not supported",
             (int)(word.size < 40 ? word.size : 40), (const char *)word.data);
    static const char *const known[] = {"include", "import", "from",       "extends", "block",
                                        "do",      "with",   "autoescape", "trans"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (word_is(word, known[i])) return fail(p, ELM_UNSUPPORTED, message);
    }
    snprintf(message, sizeof message, "unknown tag '%.*s'", (int)(word.size < 40 ? word.size : 40),
             (const char *)word.data);
    return fail(p, ELM_MALFORMED, message);
}

/* Statements up to one of the words in `ends` (NULL: the end of the source), which is left in
 * p->tag. */
static void body(parser *p, elm_tnodes *out, const char *const *ends) {
    if (!enter(p)) return;
    while (p->status == ELM_OK) {
        size_t tag = next_tag(p);
        text(p, out, tag);
        if (p->pos >= p->s.size) {
            if (ends) expected(p, ends[0]);
            break;
        }
        int kind = peek(p, 1);
        if (kind == '#') {
            comment(p);
            continue;
        }
        p->pos += 2;
        if (peek(p, 0) == '-' || peek(p, 0) == '+') p->pos++;
        if (kind == '{') {
            elm_tnode *n = node(p, ELM_TN_OUTPUT);
            if (!n) break;
            n->a = open_tuple(p);
            end_tag(p, "}}");
            add(p, out, n);
            continue;
        }
        skip_space(p);
        elm_tstr word = word_at(p, p->pos);
        p->pos += word.size;
        for (size_t i = 0; ends && ends[i]; i++) {
            if (!word_is(word, ends[i])) continue;
            p->tag = word;
            p->depth--;
            return;
        }
        elm_tnode *n = tag_of(p, word);
        if (n) add(p, out, n);
    }
    p->depth--;
}

elm_status elm_template_parse_source(elm_template *t, elm_span source, elm_error *err) {
    parser p = {.t = t, .s = source, .err = err};
    if (p.s.size > 0 && p.s.data[p.s.size - 1] == '\n')
        p.s.size--; /* keep_trailing_newline is off */
    body(&p, &t->body, NULL);
    return p.status;
}
