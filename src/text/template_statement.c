/* template_statement.c - tags of chat templates and the text between them; text.
 *
 * Text is trimmed as jinja2 trims it with trim_blocks and lstrip_blocks on and one newline at the
 * very end left out. */
#include "text/template_parser.h"

#include <stdio.h>
#include <string.h>

static void end_tag(elm_tparser *p, const char *close) {
    elm_tp_skip_space(p);
    p->strip_next = false;
    bool plus = false;
    if (elm_tp_peek(p, 0) == '-')
        p->strip_next = true, p->pos++;
    else if (elm_tp_peek(p, 0) == '+')
        plus = true, p->pos++;
    if (!elm_tp_starts(p, close)) {
        elm_tp_expected(p, close);
        return;
    }
    p->pos += strlen(close);
    p->trim_newline = !plus && strcmp(close, "}}") != 0;
}

static bool is_space(uint8_t c) {
    return c == ' ' || (c >= 9 && c <= 13);
}

/* Where the next tag begins; the end of the source when there is none. */
static size_t next_tag(const elm_tparser *p) {
    for (size_t i = p->pos; i + 1 < p->s.size; i++) {
        if (p->s.data[i] == '{' &&
            (p->s.data[i + 1] == '{' || p->s.data[i + 1] == '%' || p->s.data[i + 1] == '#'))
            return i;
    }
    return p->s.size;
}

static void text(elm_tparser *p, elm_tnodes *out, size_t end) {
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
    elm_tnode *n = elm_tp_node(p, ELM_TN_TEXT);
    if (!n) return;
    n->value = elm_tv_text(elm_span_of(s + begin, stop - begin), ELM_PART_TEMPLATE);
    elm_tp_add(p, out, n);
}

static void comment(elm_tparser *p) {
    for (p->pos += 2; p->pos + 1 < p->s.size; p->pos++) {
        if (!elm_tp_starts(p, "#}")) continue;
        p->strip_next = p->s.data[p->pos - 1] == '-';
        p->trim_newline = p->s.data[p->pos - 1] != '+';
        p->pos += 2;
        return;
    }
    elm_tp_expected(p, "the end of a comment");
}

/* A name, name.attribute, or targets in parentheses. */
static elm_tnode *target(elm_tparser *p);

/* Targets of for, set and with. */
static void targets(elm_tparser *p, elm_tnode *n) {
    do {
        elm_tp_skip_space(p);
        if (n->list.n > 0 && (elm_tp_starts(p, ")") || elm_tp_starts(p, "="))) return; /* (a,) */
        elm_tp_add(p, &n->list, target(p));
    } while (p->status == ELM_OK && elm_tp_take(p, ","));
}

static elm_tnode *target(elm_tparser *p) {
    if (elm_tp_take(p, "(")) {
        elm_tnode *tuple = elm_tp_node(p, ELM_TN_TUPLE);
        if (!tuple || !elm_tp_enter(p)) return NULL;
        targets(p, tuple);
        p->depth--;
        return elm_tp_take(p, ")") ? tuple : elm_tp_expected(p, "')'");
    }
    static const char *const constants[] = {"true", "false", "none", "True", "False", "None"};
    elm_tnode *t = elm_tp_node(p, ELM_TN_NAME);
    if (!t) return NULL;
    t->text = elm_tp_take_name(p);
    for (size_t i = 0; i < sizeof constants / sizeof constants[0]; i++) {
        if (elm_tp_word_is(t->text, constants[i])) return elm_tp_expected(p, "a name to set");
    }
    if (elm_tp_peek(p, 0) != '.') return t;
    elm_tnode *attr = elm_tp_node(p, ELM_TN_ATTR);
    if (!attr) return NULL;
    p->pos++;
    attr->a = t;
    attr->text = elm_tp_take_name(p);
    return attr;
}

static elm_tnode *if_tag(elm_tparser *p) {
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    elm_tnode *first = elm_tp_node(p, ELM_TN_IF), *branch = first;
    if (!branch) return NULL;
    p->branches++;
    branch->a = elm_tp_expression(p);
    end_tag(p, "%}");
    elm_tp_body(p, &branch->body, ends);
    while (p->status == ELM_OK && !elm_tp_word_is(p->tag, "endif")) {
        elm_tnode *next = elm_tp_node(p, ELM_TN_IF);
        if (!next) return NULL;
        bool last = elm_tp_word_is(p->tag, "else");
        if (!last) next->a = elm_tp_expression(p);
        end_tag(p, "%}");
        elm_tp_body(p, &next->body, last ? ends + 2 : ends);
        branch = branch->b = next;
    }
    p->branches--;
    end_tag(p, "%}");
    return first;
}

static elm_tnode *for_tag(elm_tparser *p) {
    static const char *const ends[] = {"else", "endfor", NULL};
    elm_tnode *n = elm_tp_node(p, ELM_TN_FOR);
    if (!n) return NULL;
    targets(p, n);
    if (!elm_tp_take_word(p, "in")) return elm_tp_expected(p, "in");
    n->a = elm_tp_disjunction(p); /* no inline if: that is the filter */
    if (elm_tp_take_word(p, "if")) n->b = elm_tp_expression(p);
    n->flag = elm_tp_take_word(p, "recursive");
    end_tag(p, "%}");
    p->loops++;
    elm_tp_body(p, &n->body, ends);
    p->loops--;
    if (elm_tp_word_is(p->tag, "else")) {
        end_tag(p, "%}");
        elm_tp_body(p, &n->other, ends + 1);
    }
    end_tag(p, "%}");
    return n;
}

static elm_tnode *set_tag(elm_tparser *p) {
    static const char *const ends[] = {"endset", NULL};
    elm_tnode *n = elm_tp_node(p, ELM_TN_SET);
    if (!n) return NULL;
    targets(p, n);
    if (elm_tp_take(p, "=")) {
        n->a = elm_tp_open_tuple(p);
        end_tag(p, "%}");
        return n;
    }
    n->kind = ELM_TN_SET_BLOCK;
    while (p->status == ELM_OK && elm_tp_take(p, "|")) n->a = elm_tp_filter(p, n->a);
    end_tag(p, "%}");
    elm_tp_body(p, &n->body, ends);
    end_tag(p, "%}");
    return n;
}

/* (a, b=1, ...) of a macro or a call block. */
static void parameters(elm_tparser *p, elm_tnode *n) {
    while (p->status == ELM_OK && !elm_tp_take(p, ")")) {
        elm_tp_add_name(p, n, elm_tp_take_name(p));
        elm_tnode *def = elm_tp_take(p, "=") ? elm_tp_expression(p) : NULL;
        elm_tp_add(p, &n->list, def);
        if (elm_tp_take(p, ",")) continue;
        if (!elm_tp_take(p, ")")) elm_tp_expected(p, "')'");
        return;
    }
}

/* The body of a macro or a call block. */
static void closure(elm_tparser *p, elm_tnode *n, const char *const *ends) {
    uint8_t uses = p->uses;
    uint32_t loops = p->loops;
    p->uses = 0;
    p->loops = 0;
    elm_tp_body(p, &n->body, ends);
    n->uses = p->uses;
    p->uses |= uses;
    p->loops = loops;
}

static elm_tnode *macro_tag(elm_tparser *p) {
    static const char *const ends[] = {"endmacro", NULL};
    elm_tnode *n = elm_tp_node(p, ELM_TN_MACRO);
    if (!n) return NULL;
    n->text = elm_tp_take_name(p);
    if (!elm_tp_take(p, "(")) return elm_tp_expected(p, "'('");
    parameters(p, n);
    end_tag(p, "%}");
    closure(p, n, ends);
    elm_tp_skip_space(p);
    p->pos += elm_tp_word_at(p, p->pos).size; /* endmacro name */
    end_tag(p, "%}");
    return n;
}

static elm_tnode *call_tag(elm_tparser *p) {
    static const char *const ends[] = {"endcall", NULL};
    elm_tnode *n = elm_tp_node(p, ELM_TN_CALL_BLOCK);
    if (!n) return NULL;
    if (elm_tp_take(p, "(")) parameters(p, n);
    n->a = elm_tp_expression(p);
    if (p->status == ELM_OK && n->a->kind != ELM_TN_CALL) return elm_tp_expected(p, "a call");
    end_tag(p, "%}");
    closure(p, n, ends);
    end_tag(p, "%}");
    return n;
}

static elm_tnode *filter_tag(elm_tparser *p) {
    static const char *const ends[] = {"endfilter", NULL};
    elm_tnode *n = elm_tp_node(p, ELM_TN_FILTER_BLOCK);
    if (!n) return NULL;
    do n->a = elm_tp_filter(p, n->a);
    while (p->status == ELM_OK && elm_tp_take(p, "|"));
    end_tag(p, "%}");
    elm_tp_body(p, &n->body, ends);
    end_tag(p, "%}");
    return n;
}

static elm_tnode *generation_tag(elm_tparser *p) {
    static const char *const ends[] = {"endgeneration", NULL};
    elm_tnode *n = elm_tp_node(p, ELM_TN_BLOCK);
    end_tag(p, "%}");
    if (n) elm_tp_body(p, &n->body, ends);
    end_tag(p, "%}");
    return n;
}

static elm_tnode *with_tag(elm_tparser *p) {
    static const char *const ends[] = {"endwith", NULL};
    elm_tnode *n = elm_tp_node(p, ELM_TN_WITH);
    elm_tp_skip_space(p);
    while (n && p->status == ELM_OK && elm_tp_is_word(elm_tp_peek(p, 0))) {
        elm_tp_add(p, &n->list, target(p));
        if (!elm_tp_take(p, "=")) return elm_tp_expected(p, "'='");
        elm_tp_add(p, &n->other, elm_tp_expression(p));
        if (!elm_tp_take(p, ",")) break;
        elm_tp_skip_space(p);
    }
    end_tag(p, "%}");
    if (n) elm_tp_body(p, &n->body, ends);
    end_tag(p, "%}");
    return n;
}

/* {% block name %}: its body, as no template extends another. */
static elm_tnode *block_tag(elm_tparser *p) {
    static const char *const ends[] = {"endblock", NULL};
    elm_tnode *n = elm_tp_node(p, ELM_TN_WITH);
    (void)elm_tp_take_name(p);
    while (elm_tp_take_word(p, "scoped") || elm_tp_take_word(p, "required")) {}
    end_tag(p, "%}");
    if (n) elm_tp_body(p, &n->body, ends);
    elm_tp_skip_space(p);
    p->pos += elm_tp_word_at(p, p->pos).size;
    end_tag(p, "%}");
    return n;
}

static elm_tnode *autoescape_tag(elm_tparser *p) {
    static const char *const ends[] = {"endautoescape", NULL};
    elm_tnode *n = elm_tp_node(p, ELM_TN_WITH);
    if (!elm_tp_take_word(p, "false") && !elm_tp_take_word(p, "False"))
        return elm_tp_fail(p, ELM_UNSUPPORTED, "autoescape other than false is not supported");
    end_tag(p, "%}");
    if (n) elm_tp_body(p, &n->body, ends);
    end_tag(p, "%}");
    return n;
}

static elm_tnode *raw_tag(elm_tparser *p) {
    end_tag(p, "%}");
    bool strip = p->strip_next;
    size_t begin = p->pos;
    if (!strip && p->trim_newline && elm_tp_peek(p, 0) == '\n') begin++;
    for (; p->pos + 1 < p->s.size; p->pos++) {
        if (!elm_tp_starts(p, "{%")) continue;
        size_t end = p->pos;
        p->pos += 2;
        bool strip_end = elm_tp_peek(p, 0) == '-';
        if (strip_end || elm_tp_peek(p, 0) == '+') p->pos++;
        if (!elm_tp_take_word(p, "endraw")) {
            p->pos = end;
            continue;
        }
        end_tag(p, "%}");
        while (strip && begin < end && is_space(p->s.data[begin])) begin++;
        while (strip_end && end > begin && is_space(p->s.data[end - 1])) end--;
        elm_tnode *n = elm_tp_node(p, ELM_TN_TEXT);
        if (n)
            n->value = elm_tv_text(elm_span_of(p->s.data + begin, end > begin ? end - begin : 0),
                                   ELM_PART_TEMPLATE);
        return n;
    }
    return elm_tp_expected(p, "endraw");
}

static elm_tnode *tag_of(elm_tparser *p, elm_tstr word) {
    static const struct {
        const char *word;
        elm_tnode *(*parse)(elm_tparser *p);
    } tags[] = {{"if", if_tag},
                {"for", for_tag},
                {"set", set_tag},
                {"macro", macro_tag},
                {"call", call_tag},
                {"filter", filter_tag},
                {"with", with_tag},
                {"raw", raw_tag},
                {"block", block_tag},
                {"generation", generation_tag},
                {"autoescape", autoescape_tag}};
    for (size_t i = 0; i < sizeof tags / sizeof tags[0]; i++) {
        if (elm_tp_word_is(word, tags[i].word)) return tags[i].parse(p);
    }
    if (elm_tp_word_is(word, "break") || elm_tp_word_is(word, "continue")) {
        if (p->loops == 0) return elm_tp_fail(p, ELM_MALFORMED, "it stands in no loop");
        elm_tnode *n =
            elm_tp_node(p, elm_tp_word_is(word, "break") ? ELM_TN_BREAK : ELM_TN_CONTINUE);
        end_tag(p, "%}");
        return n;
    }
    char message[96];
    p->pos -= word.size;
    snprintf(message, sizeof message, "tag '%.*s' is not supported",
             (int)(word.size < 40 ? word.size : 40), (const char *)word.data);
    static const char *const known[] = {"include", "import", "from", "extends", "do", "trans"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (elm_tp_word_is(word, known[i])) return elm_tp_fail(p, ELM_UNSUPPORTED, message);
    }
    snprintf(message, sizeof message, "unknown tag '%.*s'", (int)(word.size < 40 ? word.size : 40),
             (const char *)word.data);
    return elm_tp_fail(p, ELM_MALFORMED, message);
}

/* Statements up to one of the words in `ends` (NULL: the end of the source), which is left in
 * p->tag. */
void elm_tp_body(elm_tparser *p, elm_tnodes *out, const char *const *ends) {
    if (!elm_tp_enter(p)) return;
    while (p->status == ELM_OK) {
        size_t tag = next_tag(p);
        text(p, out, tag);
        if (p->pos >= p->s.size) {
            if (ends) elm_tp_expected(p, ends[0]);
            break;
        }
        int kind = elm_tp_peek(p, 1);
        if (kind == '#') {
            comment(p);
            continue;
        }
        p->pos += 2;
        if (elm_tp_peek(p, 0) == '-' || elm_tp_peek(p, 0) == '+') p->pos++;
        if (kind == '{') {
            elm_tnode *n = elm_tp_node(p, ELM_TN_OUTPUT);
            if (!n) break;
            n->a = elm_tp_open_tuple(p);
            end_tag(p, "}}");
            elm_tp_add(p, out, n);
            continue;
        }
        elm_tp_skip_space(p);
        elm_tstr word = elm_tp_word_at(p, p->pos);
        p->pos += word.size;
        for (size_t i = 0; ends && ends[i]; i++) {
            if (!elm_tp_word_is(word, ends[i])) continue;
            p->tag = word;
            p->depth--;
            return;
        }
        elm_tnode *n = tag_of(p, word);
        if (n) elm_tp_add(p, out, n);
    }
    p->depth--;
}
