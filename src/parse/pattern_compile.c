/* pattern_compile.c - recursive descent over a regular expression, straight to items; parse.
 *
 *   pattern = alternative { "|" alternative }          each becomes ALTERNATIVE items
 *   group   = "(" alternative { "|" alternative } ")"  SPLIT a; items; JUMP end; a: items; end:
 *
 * A group's branches and its `?` are found by looking ahead, so that items are written once. */
#include "parse/pattern_compile.h"

#include "parse/pattern_class.h"

enum { MAX_GROUPS_DEEP = 16 };

static const elm_disk_item *items_of(const elm_tokenizer_spec *s) {
    return (const elm_disk_item *)(const void *)s->items.data;
}
static uint32_t n_items(const elm_pattern *c) {
    return (uint32_t)(c->spec->items.size / sizeof(elm_disk_item));
}

static elm_status emit(elm_pattern *c, elm_disk_item item) {
    elm_buf_append(&c->spec->items, &item, sizeof item);
    return elm_buf_check(&c->spec->items, "the tokenizer's patterns", c->err);
}

/* An item whose target is not known yet; set_target says it. */
static elm_status emit_open(elm_pattern *c, uint32_t kind, uint32_t *index) {
    *index = n_items(c);
    return emit(c, (elm_disk_item){.kind = kind});
}
static void set_target(elm_pattern *c, uint32_t index) {
    elm_disk_item *item = (elm_disk_item *)(void *)c->spec->items.data + index;
    item->target = n_items(c);
}

/* Walks from `at` (inside of a group, or at the pattern's beginning) to the end of the group: the
 * place of its `)`, or the pattern's size. *bars counts its branches' separators. */
static size_t group_end(const elm_pattern *c, size_t at, uint32_t *bars) {
    uint32_t groups = 0, classes = 0;
    *bars = 0;
    for (; at < c->text.size; at++) {
        uint8_t b = c->text.data[at];
        if (b == '\\')
            at++;
        else if (b == '[')
            classes++;
        else if (b == ']' && classes > 0)
            classes--;
        else if (classes > 0)
            continue;
        else if (b == '(')
            groups++;
        else if (b == ')' && groups-- == 0)
            return at;
        else if (b == '|' && groups == 0)
            ++*bars;
    }
    return c->text.size;
}

/* ---- repetition ---- */

static elm_status number(elm_pattern *c, uint32_t *out) {
    uint32_t n = 0, digits = 0;
    for (; elm_pattern_peek(c, 0) >= '0' && elm_pattern_peek(c, 0) <= '9' && digits < 6; digits++) {
        n = n * 10 + (uint32_t)(c->text.data[c->at++] - '0');
    }
    *out = n;
    return digits > 0 ? ELM_OK : elm_pattern_refuse(c, "a repetition without a number");
}

static elm_status interval(elm_pattern *c, elm_disk_item *it, bool *fixed) {
    it->min = 0;
    if (elm_pattern_peek(c, 0) != ',') ELM_TRY(number(c, &it->min));
    *fixed = !elm_pattern_take(c, ",");
    it->max = *fixed ? it->min : ELM_REPEAT_FOREVER;
    if (!*fixed && elm_pattern_peek(c, 0) != '}') ELM_TRY(number(c, &it->max));
    if (!elm_pattern_take(c, "}") || it->max < it->min)
        return elm_pattern_refuse(c, "a bad repetition");
    return ELM_OK;
}

static elm_status repetition(elm_pattern *c, elm_disk_item *it) {
    bool is_interval = false, fixed = false;
    it->min = it->max = 1;
    if (elm_pattern_take(c, "?")) {
        it->min = 0;
    } else if (elm_pattern_take(c, "*")) {
        it->min = 0;
        it->max = ELM_REPEAT_FOREVER;
    } else if (elm_pattern_take(c, "+")) {
        it->max = ELM_REPEAT_FOREVER;
    } else if (elm_pattern_take(c, "{")) {
        is_interval = true;
        ELM_TRY(interval(c, it, &fixed));
    } else {
        return ELM_OK;
    }
    int next = elm_pattern_peek(c, 0);
    /* In Ruby's syntax x{2}? is (x{2})? and x{2,3}+ is (x{2,3})+. */
    if ((next == '+' && is_interval) || (next == '?' && fixed))
        return elm_pattern_refuse(c, "a repetition of an interval");
    if (elm_pattern_take(c, "+"))
        it->kind = ELM_ITEM_POSSESSIVE;
    else if (elm_pattern_take(c, "?"))
        it->kind = ELM_ITEM_LAZY;
    next = elm_pattern_peek(c, 0);
    bool again = next == '*' || next == '+' || next == '?' || next == '{';
    return again ? elm_pattern_refuse(c, "a repetition of a repetition") : ELM_OK;
}

/* ---- sequences ---- */

static elm_status sequence(elm_pattern *c, bool fold, uint32_t depth);

/* The branches of a group, up to its `)`. */
static elm_status branches(elm_pattern *c, bool fold, uint32_t depth) {
    uint32_t bars, split = 0, jumps[ELM_MAX_ALTERNATIVE_ITEMS], n_jumps = 0;
    group_end(c, c->at, &bars);
    if (depth > MAX_GROUPS_DEEP || bars >= ELM_MAX_ALTERNATIVE_ITEMS)
        return elm_pattern_refuse(c, "too many groups");
    for (uint32_t i = 0; i <= bars; i++) {
        if (i < bars) ELM_TRY(emit_open(c, ELM_ITEM_SPLIT, &split));
        ELM_TRY(sequence(c, fold, depth));
        if (i < bars) {
            ELM_TRY(emit_open(c, ELM_ITEM_JUMP, &jumps[n_jumps++]));
            set_target(c, split);
            if (!elm_pattern_take(c, "|"))
                return elm_fail(c->err, ELM_INTERNAL, "a group's branches were counted wrongly");
        }
    }
    while (n_jumps > 0) set_target(c, jumps[--n_jumps]);
    return elm_pattern_take(c, ")") ? ELM_OK : elm_pattern_refuse(c, "a group without )");
}

static elm_status group(elm_pattern *c, bool fold, uint32_t depth) {
    uint32_t bars, skip = 0;
    size_t end = group_end(c, c->at, &bars);
    size_t save = c->at;
    c->at = end;
    bool optional = elm_pattern_take(c, ")?"), lazy = optional && elm_pattern_take(c, "?");
    int next = elm_pattern_peek(c, optional ? 0 : 1);
    if (next == '*' || next == '+' || next == '?' || next == '{')
        return elm_pattern_refuse(c, "a repeated group");
    c->at = save;
    if (optional) ELM_TRY(emit_open(c, lazy ? ELM_ITEM_SPLIT_LAZY : ELM_ITEM_SPLIT, &skip));
    ELM_TRY(branches(c, fold, depth + 1));
    if (!optional) return ELM_OK;
    c->at += lazy ? 2 : 1;
    set_target(c, skip);
    return ELM_OK;
}

static elm_status lookahead(elm_pattern *c, bool negated) {
    elm_disk_item it = {.kind = negated ? ELM_ITEM_NOT_LOOKAHEAD : ELM_ITEM_LOOKAHEAD};
    ELM_TRY(elm_pattern_atom(c, false));
    if (!elm_pattern_take(c, ")"))
        return elm_pattern_refuse(c, "a lookahead of more than one code point");
    int next = elm_pattern_peek(c, 0);
    if (next == '*' || next == '+' || next == '?' || next == '{')
        return elm_pattern_refuse(c, "a repeated lookahead");
    ELM_TRY(elm_spec_class(c->spec, c->set, &it.class, c->err));
    return emit(c, it);
}

/* What matches no code point; *kind is ELM_ITEM_END when none is next. */
static void anchor(elm_pattern *c, uint32_t *kind) {
    static const struct {
        const char *text;
        elm_item_kind kind;
    } anchors[] = {{"^", ELM_ITEM_LINE_START},
                   {"$", ELM_ITEM_LINE_END},
                   {"\\A", ELM_ITEM_TEXT_START},
                   {"\\z", ELM_ITEM_TEXT_END},
                   {"\\Z", ELM_ITEM_LAST_LINE_END}};
    *kind = ELM_ITEM_END;
    for (size_t i = 0; i < sizeof anchors / sizeof anchors[0] && *kind == ELM_ITEM_END; i++) {
        if (elm_pattern_take(c, anchors[i].text)) *kind = anchors[i].kind;
    }
}

static elm_status one_atom(elm_pattern *c, bool fold) {
    elm_disk_item it = {.kind = ELM_ITEM_GREEDY};
    ELM_TRY(elm_pattern_atom(c, fold));
    ELM_TRY(repetition(c, &it));
    if (it.max == 0) return ELM_OK;
    ELM_TRY(elm_spec_class(c->spec, c->set, &it.class, c->err));
    return emit(c, it);
}

/* Items until `|`, `)` or the end. */
static elm_status sequence(elm_pattern *c, bool fold, uint32_t depth) {
    c->last_folded = 0;
    for (int b; (b = elm_pattern_peek(c, 0)) >= 0 && b != '|' && b != ')';) {
        uint32_t kind;
        anchor(c, &kind);
        if (kind != ELM_ITEM_END)
            ELM_TRY(emit(c, (elm_disk_item){.kind = kind}));
        else if (elm_pattern_take(c, "(?i:"))
            ELM_TRY(group(c, true, depth));
        else if (elm_pattern_take(c, "(?:"))
            ELM_TRY(group(c, fold, depth));
        else if (elm_pattern_take(c, "(?!"))
            ELM_TRY(lookahead(c, true));
        else if (elm_pattern_take(c, "(?="))
            ELM_TRY(lookahead(c, false));
        else if (b == '(' && elm_pattern_peek(c, 1) == '?')
            return elm_pattern_refuse(c, "an unknown group");
        else if (elm_pattern_take(c, "("))
            ELM_TRY(group(c, fold, depth));
        else
            ELM_TRY(one_atom(c, fold));
    }
    return ELM_OK;
}

/* ---- first characters ---- */

/* Adds to `into` what can come first from item `i` on, up to `end`. */
static void first_of(const elm_tokenizer_spec *s, uint32_t i, uint32_t end, elm_disk_item *into) {
    while (i < end) {
        const elm_disk_item *it = &items_of(s)[i];
        bool consumes = it->kind == ELM_ITEM_GREEDY || it->kind == ELM_ITEM_LAZY ||
                        it->kind == ELM_ITEM_POSSESSIVE;
        if (it->kind == ELM_ITEM_SPLIT || it->kind == ELM_ITEM_SPLIT_LAZY)
            first_of(s, it->target, end, into);
        if (consumes) {
            const elm_disk_class *class =
                (const elm_disk_class *)(const void *)s->classes.data + it->class;
            for (int k = 0; k < 4; k++) into->first[k] |= class->ascii[k];
            if (class->n_ranges > 0) into->flags |= ELM_ALT_NOT_ASCII;
            if (it->min > 0) return;
        }
        i = it->kind == ELM_ITEM_JUMP ? it->target : i + 1;
    }
    memset(into->first, 0xff, sizeof into->first); /* it may be empty */
    into->flags |= ELM_ALT_NOT_ASCII;
}

static elm_status close_alternative(elm_pattern *c, uint32_t index) {
    set_target(c, index);
    elm_disk_item *head = (elm_disk_item *)(void *)c->spec->items.data + index;
    if (head->target - index > ELM_MAX_ALTERNATIVE_ITEMS)
        return elm_pattern_refuse(c, "an alternative that is too long");
    elm_disk_item first = {0};
    first_of(c->spec, index + 1, head->target, &first);
    memcpy(head->first, first.first, sizeof first.first);
    head->flags = first.flags;
    return ELM_OK;
}

/* ---- the calls ---- */

static elm_status begin(elm_pattern *c, elm_tokenizer_spec *s, elm_span text, uint32_t *first_item,
                        elm_error *err) {
    *c = (elm_pattern){.spec = s, .text = text, .err = err};
    *first_item = n_items(c);
    if (text.size > ELM_MAX_PATTERN_BYTES) return elm_pattern_refuse(c, "more than 8192 bytes");
    if (!s->sets) s->sets = elm_arena_array(&s->arena, ELM_PATTERN_SETS, sizeof *s->sets);
    if (!s->sets) return elm_fail_oom(err, ELM_PATTERN_SETS * sizeof *s->sets, "a pattern");
    c->set = s->sets;
    return ELM_OK;
}

elm_status elm_spec_pattern(elm_tokenizer_spec *s, elm_span pattern, uint32_t *first_item,
                            elm_error *err) {
    elm_pattern c;
    uint32_t head;
    ELM_TRY(begin(&c, s, pattern, first_item, err));
    bool fold = elm_pattern_take(&c, "(?i)");
    do {
        ELM_TRY(emit_open(&c, ELM_ITEM_ALTERNATIVE, &head));
        ELM_TRY(sequence(&c, fold, 0));
        ELM_TRY(close_alternative(&c, head));
    } while (elm_pattern_take(&c, "|"));
    if (c.at != pattern.size) return elm_pattern_refuse(&c, "a ) without (");
    return emit(&c, (elm_disk_item){.kind = ELM_ITEM_END});
}

elm_status elm_spec_literal(elm_tokenizer_spec *s, elm_span text, uint32_t *first_item,
                            elm_error *err) {
    elm_pattern c;
    uint32_t head;
    ELM_TRY(begin(&c, s, text, first_item, err));
    ELM_TRY(emit_open(&c, ELM_ITEM_ALTERNATIVE, &head));
    while (c.at < text.size) {
        elm_disk_item it = {.kind = ELM_ITEM_GREEDY, .min = 1, .max = 1};
        uint32_t ch;
        ELM_TRY(elm_pattern_code_point(&c, &ch));
        elm_charset_clear(c.set);
        elm_charset_add(c.set, ch, ch);
        ELM_TRY(elm_spec_class(s, c.set, &it.class, err));
        ELM_TRY(emit(&c, it));
    }
    ELM_TRY(close_alternative(&c, head));
    return emit(&c, (elm_disk_item){.kind = ELM_ITEM_END});
}

elm_status elm_spec_set(elm_tokenizer_spec *s, const elm_charset *set, uint32_t min, uint32_t max,
                        uint32_t *first_item, elm_error *err) {
    elm_pattern c;
    elm_disk_item it = {.kind = ELM_ITEM_GREEDY, .min = min, .max = max};
    uint32_t head;
    ELM_TRY(begin(&c, s, elm_span_str(""), first_item, err));
    ELM_TRY(emit_open(&c, ELM_ITEM_ALTERNATIVE, &head));
    ELM_TRY(elm_spec_class(s, set, &it.class, err));
    ELM_TRY(emit(&c, it));
    ELM_TRY(close_alternative(&c, head));
    return emit(&c, (elm_disk_item){.kind = ELM_ITEM_END});
}
