/* template_parser.c - places, failures, nodes, characters and words of the template parser, and its
 * call; text. */
#include "text/template_parser.h"

#include <stdio.h>
#include <string.h>

enum { MAX_ITEMS = 4096, MAX_NODES = 1 << 17, MAX_HEIGHT = 200 };
_Static_assert(MAX_HEIGHT < 2 * ELM_TEMPLATE_MAX_DEPTH, "what is parsed can be evaluated");

/* ---- errors ---- */

/* Line and column of a position. Nodes ask with rising positions, so the count goes on from where
 * it was. */
static void place(elm_tparser *p, size_t at, uint32_t *line, uint32_t *column) {
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

elm_tnode *elm_tp_fail(elm_tparser *p, elm_status status, const char *what) {
    uint32_t line, column;
    if (p->status != ELM_OK) return NULL;
    place(p, p->pos, &line, &column);
    p->status =
        elm_fail(p->err, status, "chat template, line %u, column %u: %s", line, column, what);
    return NULL;
}

elm_tnode *elm_tp_expected(elm_tparser *p, const char *what) {
    char text[96];
    snprintf(text, sizeof text, "expected %s", what);
    return elm_tp_fail(p, ELM_MALFORMED, text);
}

elm_tnode *elm_tp_node(elm_tparser *p, elm_tkind kind) {
    if (++p->n_nodes > MAX_NODES) return elm_tp_fail(p, ELM_LIMIT, "it has too many parts");
    elm_tnode *n = elm_arena_alloc(&p->t->arena, sizeof *n, 16);
    if (!n) return elm_tp_fail(p, ELM_OUT_OF_MEMORY, "no memory");
    n->kind = kind;
    place(p, p->pos, &n->line, &n->column);
    return n;
}

elm_tnode *elm_tp_over(elm_tparser *p, elm_tkind kind, elm_tnode *a) {
    elm_tnode *n = elm_tp_node(p, kind);
    if (!n) return NULL;
    n->a = a;
    n->height = a ? (uint16_t)(a->height + 1) : 0;
    if (n->height <= MAX_HEIGHT) return n;
    return elm_tp_fail(p, ELM_LIMIT, "too many operators in a row: nested too deep");
}

void elm_tp_add(elm_tparser *p, elm_tnodes *list, elm_tnode *n) {
    if (p->status != ELM_OK) return;
    if (list->n == list->capacity) {
        uint32_t capacity = list->capacity ? list->capacity * 2 : 8;
        elm_tnode **larger = elm_arena_array(&p->t->arena, capacity, sizeof *larger);
        if (!larger || capacity > MAX_ITEMS * 64) {
            elm_tp_fail(p, ELM_LIMIT, "too many items");
            return;
        }
        if (list->n > 0) memcpy(larger, list->items, list->n * sizeof *larger);
        list->items = larger;
        list->capacity = capacity;
    }
    list->items[list->n++] = n;
}

void elm_tp_add_name(elm_tparser *p, elm_tnode *n, elm_tstr name) {
    if (n->n_names % 8 == 0) {
        elm_tstr *larger = elm_arena_array(&p->t->arena, n->n_names + 8, sizeof *larger);
        if (!larger || n->n_names > MAX_ITEMS) {
            elm_tp_fail(p, ELM_LIMIT, "too many arguments");
            return;
        }
        if (n->n_names > 0) memcpy(larger, n->names, n->n_names * sizeof *larger);
        n->names = larger;
    }
    n->names[n->n_names++] = name;
}

/* ---- characters and words ---- */

int elm_tp_peek(const elm_tparser *p, size_t ahead) {
    return p->pos + ahead < p->s.size ? p->s.data[p->pos + ahead] : -1;
}

void elm_tp_skip_space(elm_tparser *p) {
    while (elm_tp_peek(p, 0) == ' ' || elm_tp_peek(p, 0) == '\t' || elm_tp_peek(p, 0) == '\n' ||
           elm_tp_peek(p, 0) == '\r')
        p->pos++;
}

bool elm_tp_starts(const elm_tparser *p, const char *text) {
    size_t n = strlen(text);
    /* A string that does not end leaves the position behind the source. */
    return p->pos <= p->s.size && p->s.size - p->pos >= n &&
           memcmp(p->s.data + p->pos, text, n) == 0;
}

bool elm_tp_take(elm_tparser *p, const char *text) {
    elm_tp_skip_space(p);
    if (!elm_tp_starts(p, text)) return false;
    p->pos += strlen(text);
    return true;
}

bool elm_tp_is_word(int c) {
    return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c >= 0x80;
}

elm_tstr elm_tp_word_at(const elm_tparser *p, size_t pos) {
    size_t end = pos;
    if (end < p->s.size && p->s.data[end] >= '0' && p->s.data[end] <= '9')
        return (elm_tstr){p->s.data + pos, 0, ELM_PART_TEMPLATE, NULL};
    while (end < p->s.size && elm_tp_is_word(p->s.data[end])) end++;
    return (elm_tstr){p->s.data + pos, (uint32_t)(end - pos), ELM_PART_TEMPLATE, NULL};
}

bool elm_tp_word_is(elm_tstr w, const char *text) {
    return w.size == strlen(text) && memcmp(w.data, text, w.size) == 0;
}

bool elm_tp_take_word(elm_tparser *p, const char *text) {
    elm_tp_skip_space(p);
    if (!elm_tp_word_is(elm_tp_word_at(p, p->pos), text)) return false;
    p->pos += strlen(text);
    return true;
}

bool elm_tp_is_reserved(elm_tstr w) {
    static const char *const words[] = {"and", "or", "not", "in", "is", "if", "else", "elif"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (elm_tp_word_is(w, words[i])) return true;
    }
    return false;
}

elm_tstr elm_tp_take_name(elm_tparser *p) {
    elm_tp_skip_space(p);
    elm_tstr w = elm_tp_word_at(p, p->pos);
    if (w.size == 0 || elm_tp_is_reserved(w))
        elm_tp_expected(p, "a name");
    else
        p->pos += w.size;
    return w;
}

bool elm_tp_enter(elm_tparser *p) {
    if (p->status != ELM_OK) return false;
    if (++p->depth > ELM_TEMPLATE_MAX_DEPTH) {
        elm_tp_fail(p, ELM_LIMIT, "nested too deep");
        return false;
    }
    return true;
}

elm_status elm_template_parse_source(elm_template *t, elm_span source, elm_error *err) {
    elm_tparser p = {.t = t, .s = source, .err = err};
    if (p.s.size > 0 && p.s.data[p.s.size - 1] == '\n')
        p.s.size--; /* keep_trailing_newline is off */
    elm_tp_body(&p, &t->body, NULL);
    return p.status;
}
