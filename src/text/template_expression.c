/* template_expression.c - expressions of chat templates; text. */
#include "text/template_parser.h"

#include "base/utf8.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_NUMBER = 64, MAX_COMPARISONS = 16 };

static elm_tnode *unary(elm_tparser *p, bool with_filters);

static void escape(elm_tparser *p, elm_buf *out) {
    static const char from[] = "ntrbfav0\\'\"", to[] = "\n\t\r\b\f\a\v\0\\'\"";
    int c = elm_tp_peek(p, 0);
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
        int d = elm_tp_peek(p, 0);
        int digit = d >= '0' && d <= '9'                 ? d - '0'
                    : (d | 32) >= 'a' && (d | 32) <= 'f' ? (d | 32) - 'a' + 10
                                                         : -1;
        if (digit < 0) {
            elm_tp_expected(p, "a hexadecimal digit");
            return;
        }
        value = value << 4 | (uint32_t)digit;
    }
    uint8_t bytes[4];
    if (value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
        elm_tp_expected(p, "a code point");
    else
        elm_buf_append(out, bytes, (size_t)elm_utf8_encode(value, bytes));
}

static elm_tnode *string(elm_tparser *p) {
    elm_buf buf;
    elm_tnode *n = elm_tp_node(p, ELM_TN_LITERAL);
    elm_buf_init(&buf, p->t->alloc, ELM_TEMPLATE_MAX_SOURCE_BYTES);
    do { /* neighbouring literals join */
        int quote = elm_tp_peek(p, 0);
        p->pos++;
        while (p->status == ELM_OK && elm_tp_peek(p, 0) != quote) {
            int c = elm_tp_peek(p, 0);
            if (c < 0) elm_tp_expected(p, "the end of a string");
            p->pos++;
            if (c == '\\')
                escape(p, &buf);
            else if (c >= 0)
                elm_buf_u8(&buf, (uint8_t)c);
        }
        p->pos++;
        elm_tp_skip_space(p);
    } while (p->status == ELM_OK && (elm_tp_peek(p, 0) == '"' || elm_tp_peek(p, 0) == '\''));
    if (n && p->status == ELM_OK) {
        bool whole = elm_buf_check(&buf, "a string", NULL) == ELM_OK;
        char *copy = whole ? elm_arena_string(&p->t->arena, elm_buf_span(&buf)) : NULL;
        if (!copy)
            elm_tp_fail(p, ELM_OUT_OF_MEMORY, "no memory");
        else
            n->value = elm_tv_text(elm_span_of(copy, buf.size), ELM_PART_TEMPLATE);
    }
    elm_buf_free(&buf);
    return p->status == ELM_OK ? n : NULL;
}

/* Takes 0x, 0o or 0b. */
static int number_base(elm_tparser *p) {
    int next = elm_tp_peek(p, 0) == '0' ? elm_tp_peek(p, 1) | 32 : 0;
    int base = next == 'x' ? 16 : next == 'o' ? 8 : next == 'b' ? 2 : 10;
    if (base != 10) p->pos += 2;
    return base;
}

static elm_tnode *number(elm_tparser *p) {
    char text[MAX_NUMBER + 1];
    size_t n = 0;
    bool real = false;
    elm_tnode *out = elm_tp_node(p, ELM_TN_LITERAL);
    int base = number_base(p);
    for (int c; (c = elm_tp_peek(p, 0)) >= 0 && n < MAX_NUMBER; p->pos++) {
        bool digit = c >= '0' && c <= '9';
        bool dot = c == '.' && !real && elm_tp_peek(p, 1) >= '0' && elm_tp_peek(p, 1) <= '9';
        bool exponent = (c == 'e' || c == 'E') && n > 0;
        bool sign = (c == '+' || c == '-') && n > 0 && (text[n - 1] == 'e' || text[n - 1] == 'E');
        if (c == '_' && n > 0) continue;
        bool more = base == 16 && ((c | 32) >= 'a' && (c | 32) <= 'f');
        if (base == 10 ? !digit && !dot && !exponent && !sign : !digit && !more) break;
        real = real || (base == 10 && (dot || exponent));
        text[n++] = (char)c;
    }
    text[n] = 0;
    if (!out) return NULL;
    errno = 0;
    out->value = real ? elm_tv_float(strtod(text, NULL)) : elm_tv_int(strtoll(text, NULL, base));
    if (!real && errno != 0)
        return elm_tp_fail(p, ELM_UNSUPPORTED, "an integer of more than 64 bits is not supported");
    return out;
}

/* Expressions up to `close`, in parentheses, brackets or braces. */
static void items(elm_tparser *p, elm_tnodes *list, const char *close) {
    while (p->status == ELM_OK && !elm_tp_take(p, close)) {
        elm_tp_add(p, list, elm_tp_expression(p));
        if (elm_tp_take(p, ",")) continue;
        if (!elm_tp_take(p, close)) elm_tp_expected(p, close);
        return;
    }
}

static elm_tnode *parenthesised(elm_tparser *p) {
    elm_tnode *first, *n;
    if (elm_tp_take(p, ")")) return elm_tp_node(p, ELM_TN_TUPLE);
    first = elm_tp_expression(p);
    if (elm_tp_take(p, ")")) return first;
    if (!elm_tp_take(p, ",")) return elm_tp_expected(p, "')'");
    n = elm_tp_node(p, ELM_TN_TUPLE);
    if (!n) return NULL;
    elm_tp_add(p, &n->list, first);
    items(p, &n->list, ")");
    return n;
}

static elm_tnode *dict(elm_tparser *p) {
    elm_tnode *n = elm_tp_node(p, ELM_TN_DICT);
    while (n && p->status == ELM_OK && !elm_tp_take(p, "}")) {
        elm_tp_add(p, &n->list, elm_tp_expression(p));
        if (!elm_tp_take(p, ":")) return elm_tp_expected(p, "':'");
        elm_tp_add(p, &n->list, elm_tp_expression(p));
        if (elm_tp_take(p, ",")) continue;
        if (!elm_tp_take(p, "}")) return elm_tp_expected(p, "'}'");
        break;
    }
    return n;
}

static elm_tnode *constant(elm_tparser *p, elm_tv value, size_t length) {
    elm_tnode *n = elm_tp_node(p, ELM_TN_LITERAL);
    p->pos += length;
    if (n) n->value = value;
    return n;
}

static elm_tnode *primary(elm_tparser *p) {
    elm_tp_skip_space(p);
    int c = elm_tp_peek(p, 0);
    if (c == '"' || c == '\'') return string(p);
    if (c >= '0' && c <= '9') return number(p);
    if (elm_tp_take(p, "(")) return parenthesised(p);
    if (elm_tp_take(p, "[")) {
        elm_tnode *n = elm_tp_node(p, ELM_TN_LIST);
        if (n) items(p, &n->list, "]");
        return n;
    }
    if (elm_tp_take(p, "{")) return dict(p);
    elm_tstr w = elm_tp_word_at(p, p->pos);
    if (w.size == 0 || elm_tp_is_reserved(w)) return elm_tp_expected(p, "an expression");
    if (elm_tp_word_is(w, "true") || elm_tp_word_is(w, "True"))
        return constant(p, elm_tv_bool(true), w.size);
    if (elm_tp_word_is(w, "false") || elm_tp_word_is(w, "False"))
        return constant(p, elm_tv_bool(false), w.size);
    if (elm_tp_word_is(w, "none") || elm_tp_word_is(w, "None"))
        return constant(p, elm_tv_none(), w.size);
    elm_tnode *n = elm_tp_node(p, ELM_TN_NAME);
    p->pos += w.size;
    if (n) n->text = w;
    if (elm_tp_word_is(w, "varargs")) p->uses |= ELM_USES_VARARGS;
    if (elm_tp_word_is(w, "kwargs")) p->uses |= ELM_USES_KWARGS;
    if (elm_tp_word_is(w, "caller")) p->uses |= ELM_USES_CALLER;
    return n;
}

/* Arguments behind '('. */
static void arguments(elm_tparser *p, elm_tnode *n) {
    while (p->status == ELM_OK && !elm_tp_take(p, ")")) {
        elm_tp_skip_space(p);
        elm_tstr w = elm_tp_word_at(p, p->pos);
        size_t after = p->pos + w.size;
        while (after < p->s.size &&
               (p->s.data[after] == ' ' || p->s.data[after] == '\t' || p->s.data[after] == '\n'))
            after++;
        bool named = w.size > 0 && after + 1 < p->s.size && p->s.data[after] == '=' &&
                     p->s.data[after + 1] != '=';
        if (elm_tp_starts(p, "*")) {
            elm_tnode **rest = elm_tp_starts(p, "**") ? &n->c : &n->b;
            p->pos += rest == &n->c ? 2 : 1;
            if (*rest) elm_tp_expected(p, "one * and one **");
            *rest = elm_tp_expression(p);
            if (elm_tp_take(p, ",")) continue;
            if (!elm_tp_take(p, ")")) elm_tp_expected(p, "')'");
            return;
        }
        if (named) {
            for (uint32_t i = 0; i < n->n_names; i++) {
                bool same =
                    n->names[i].size == w.size && memcmp(n->names[i].data, w.data, w.size) == 0;
                if (same) elm_tp_expected(p, "every named argument once");
            }
            p->pos = after + 1;
            elm_tp_add_name(p, n, w);
        } else if (n->n_names > 0 || n->b || n->c) {
            elm_tp_expected(p, "a named argument");
        }
        elm_tp_add(p, &n->list, elm_tp_expression(p));
        if (elm_tp_take(p, ",")) continue;
        if (!elm_tp_take(p, ")")) elm_tp_expected(p, "')'");
        return;
    }
}

static elm_tnode *subscript(elm_tparser *p, elm_tnode *object) {
    elm_tnode *n = elm_tp_over(p, ELM_TN_INDEX, object), *parts[3] = {NULL, NULL, NULL};
    uint32_t at = 0;
    bool slice = false;
    if (!n) return NULL;
    while (p->status == ELM_OK && !elm_tp_take(p, "]")) {
        if (elm_tp_take(p, ":")) {
            slice = true;
            if (++at > 2) return elm_tp_expected(p, "']'");
        } else if (!parts[at]) {
            parts[at] = elm_tp_expression(p);
        } else {
            return elm_tp_expected(p, "']'");
        }
    }
    n->b = parts[0];
    if (!slice && !n->b) return elm_tp_expected(p, "an index");
    if (!slice) return n;
    n->kind = ELM_TN_SLICE;
    for (int i = 0; i < 3; i++) elm_tp_add(p, &n->list, parts[i]);
    return n;
}

static elm_tnode *postfix(elm_tparser *p, elm_tnode *n) {
    while (p->status == ELM_OK) { /* so long there is a node */
        elm_tp_skip_space(p);
        elm_tnode *outer;
        if (elm_tp_peek(p, 0) == '.' && elm_tp_peek(p, 1) != '.') {
            p->pos++;
            elm_tp_skip_space(p);
            outer = elm_tp_over(p, ELM_TN_ATTR, n);
            if (!outer) return NULL;
            if (elm_tp_peek(p, 0) >= '0' && elm_tp_peek(p, 0) <= '9') { /* list.0 */
                outer->kind = ELM_TN_INDEX;
                outer->b = number(p);
            } else {
                outer->text = elm_tp_word_at(p, p->pos);
                if (outer->text.size == 0) return elm_tp_expected(p, "an attribute");
                p->pos += outer->text.size;
            }
        } else if (elm_tp_take(p, "[")) {
            n = subscript(p, n);
            continue;
        } else if (elm_tp_peek(p, 0) == '(') {
            p->pos++;
            outer = elm_tp_over(p, ELM_TN_CALL, n);
            if (!outer) return NULL;
            arguments(p, outer);
        } else {
            return n;
        }
        n = outer;
    }
    return n;
}

/* Below an `if` a name that nobody knows is no mistake until somebody comes there, as in jinja2. */
static elm_tnode *unknown(elm_tparser *p, const char *what, elm_tstr name) {
    char text[96];
    snprintf(text, sizeof text, "%s '%.*s' is not supported", what,
             (int)(name.size < 40 ? name.size : 40), (const char *)name.data);
    return elm_tp_fail(p, ELM_UNSUPPORTED, text);
}

elm_tnode *elm_tp_filter(elm_tparser *p, elm_tnode *operand) {
    elm_tnode *n = elm_tp_over(p, ELM_TN_FILTER, operand);
    if (!n) return NULL;
    n->text = elm_tp_take_name(p);
    if (p->status == ELM_OK && !elm_filter_known(n->text) && p->branches == 0) {
        p->pos -= n->text.size;
        return unknown(p, "filter", n->text);
    }
    if (elm_tp_peek(p, 0) == '(') {
        p->pos++;
        arguments(p, n);
    }
    return n;
}

static elm_tnode *test(elm_tparser *p, elm_tnode *operand) {
    elm_tnode *n = elm_tp_over(p, ELM_TN_TEST, operand);
    if (!n) return NULL;
    n->flag = elm_tp_take_word(p, "not");
    elm_tp_skip_space(p);
    n->text = elm_tp_word_at(p, p->pos);
    if (n->text.size == 0) return elm_tp_expected(p, "a test");
    if (!elm_test_known(n->text) && p->branches == 0) return unknown(p, "test", n->text);
    p->pos += n->text.size;
    elm_tp_skip_space(p);
    int c = elm_tp_peek(p, 0);
    if (c == '(') {
        p->pos++;
        arguments(p, n);
    } else if (c == '"' || c == '\'' || (c >= '0' && c <= '9') || c == '[' || c == '{' ||
               (elm_tp_is_word(c) && !elm_tp_is_reserved(elm_tp_word_at(p, p->pos)))) {
        elm_tp_add(p, &n->list, postfix(p, primary(p))); /* `x is divisibleby 3` */
    }
    return n;
}

static elm_tnode *filters(elm_tparser *p, elm_tnode *n) {
    while (p->status == ELM_OK && n) {
        elm_tp_skip_space(p);
        if (elm_tp_peek(p, 0) == '|' && elm_tp_peek(p, 1) != '|') {
            p->pos++;
            n = elm_tp_filter(p, n);
        } else if (elm_tp_take_word(p, "is")) {
            n = test(p, n);
        } else if (elm_tp_peek(p, 0) == '(') {
            p->pos++;
            elm_tnode *call = elm_tp_over(p, ELM_TN_CALL, n);
            if (!call) return NULL;
            arguments(p, call);
            n = call;
        } else {
            return n;
        }
    }
    return n;
}

static elm_tnode *unary(elm_tparser *p, bool with_filters) {
    elm_tnode *n;
    if (!elm_tp_enter(p)) return NULL;
    elm_tp_skip_space(p);
    int c = elm_tp_peek(p, 0);
    if ((c == '-' || c == '+') && !elm_tp_starts(p, "-%}") && !elm_tp_starts(p, "-}}")) {
        p->pos++;
        n = elm_tp_node(p, c == '-' ? ELM_TN_NEGATE : ELM_TN_PLUS);
        if (n) n->a = unary(p, false);
    } else {
        n = postfix(p, primary(p));
    }
    if (with_filters) n = filters(p, n);
    p->depth--;
    return n;
}

static elm_tnode *binary(elm_tparser *p, elm_top op, elm_tnode *a, elm_tnode *b) {
    elm_tnode *n = elm_tp_over(p, ELM_TN_BINARY, a);
    if (!n) return NULL;
    n->op = op;
    n->b = b;
    return n;
}

/* An operator that is no part of a tag's end ("-%}"). */
static bool take_operator(elm_tparser *p, const char *op) {
    elm_tp_skip_space(p);
    if (elm_tp_starts(p, "-%}") || elm_tp_starts(p, "-}}") || elm_tp_starts(p, "+%}") ||
        elm_tp_starts(p, "%}") || elm_tp_starts(p, "}}"))
        return false;
    return elm_tp_take(p, op);
}

static elm_tnode *power(elm_tparser *p) {
    elm_tnode *n = unary(p, true);
    while (p->status == ELM_OK && take_operator(p, "**"))
        n = binary(p, ELM_OP_POWER, n, unary(p, true));
    return n;
}

static elm_tnode *product(elm_tparser *p) {
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

static elm_tnode *concatenation(elm_tparser *p) {
    elm_tnode *n = product(p);
    while (p->status == ELM_OK && take_operator(p, "~")) n = binary(p, ELM_OP_TILDE, n, product(p));
    return n;
}

static elm_tnode *sum(elm_tparser *p) {
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

static bool comparison_operator(elm_tparser *p, elm_top *op) {
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
    if (elm_tp_take_word(p, "in")) {
        *op = ELM_OP_IN;
        return true;
    }
    if (elm_tp_take_word(p, "not") && elm_tp_take_word(p, "in")) {
        *op = ELM_OP_NOT_IN;
        return true;
    }
    p->pos = before;
    return false;
}

static elm_tnode *comparison(elm_tparser *p) {
    elm_tnode *n = sum(p), *chain = NULL;
    elm_top op;
    while (p->status == ELM_OK && comparison_operator(p, &op)) {
        if (!chain) {
            chain = elm_tp_node(p, ELM_TN_COMPARE);
            if (!chain) return NULL;
            chain->ops = elm_arena_alloc(&p->t->arena, MAX_COMPARISONS, 1);
            elm_tp_add(p, &chain->list, n);
        }
        if (!chain->ops || chain->list.n > MAX_COMPARISONS)
            return elm_tp_fail(p, ELM_LIMIT, "a comparison is too long");
        chain->ops[chain->list.n - 1] = (uint8_t)op;
        elm_tp_add(p, &chain->list, sum(p));
    }
    return chain ? chain : n;
}

static elm_tnode *negation(elm_tparser *p) {
    if (!elm_tp_take_word(p, "not")) return comparison(p);
    elm_tnode *n = elm_tp_node(p, ELM_TN_NOT);
    if (!n || !elm_tp_enter(p)) return NULL;
    n->a = negation(p);
    p->depth--;
    return n;
}

static elm_tnode *conjunction(elm_tparser *p) {
    elm_tnode *n = negation(p);
    while (p->status == ELM_OK && elm_tp_take_word(p, "and"))
        n = binary(p, ELM_OP_AND, n, negation(p));
    return n;
}

elm_tnode *elm_tp_disjunction(elm_tparser *p) {
    elm_tnode *n = conjunction(p);
    while (p->status == ELM_OK && elm_tp_take_word(p, "or"))
        n = binary(p, ELM_OP_OR, n, conjunction(p));
    return n;
}

elm_tnode *elm_tp_expression(elm_tparser *p) {
    if (!elm_tp_enter(p)) return NULL;
    elm_tnode *n = elm_tp_disjunction(p);
    while (p->status == ELM_OK && elm_tp_take_word(p, "if")) {
        elm_tnode *outer = elm_tp_over(p, ELM_TN_CONDITION, n);
        if (!outer) return NULL;
        outer->b = elm_tp_disjunction(p);
        if (elm_tp_take_word(p, "else")) outer->c = elm_tp_expression(p);
        n = outer;
    }
    p->depth--;
    return n;
}

/* expression, expression, ... without parentheses. */
elm_tnode *elm_tp_open_tuple(elm_tparser *p) {
    elm_tnode *first = elm_tp_expression(p);
    if (p->status != ELM_OK || !elm_tp_take(p, ",")) return first;
    elm_tnode *n = elm_tp_node(p, ELM_TN_TUPLE);
    if (!n) return NULL;
    elm_tp_add(p, &n->list, first);
    while (p->status == ELM_OK && !elm_tp_starts(p, "%}") && !elm_tp_starts(p, "-%}") &&
           !elm_tp_starts(p, "+%}")) {
        elm_tp_add(p, &n->list, elm_tp_expression(p));
        if (!elm_tp_take(p, ",")) break;
    }
    return n;
}
