/* matcher.c - running pattern programs; text. */
#include "text/matcher.h"

#include "base/utf8.h"
#include "text/unicode.h"

enum { MAX_ITEMS_DEEP = 64 };

typedef struct matching {
    const elm_tokenizer *t;
    elm_span text;
} matching;

static bool in_class(const matching *m, const elm_disk_item *item, uint32_t c) {
    bool in = false;
    const uint32_t *range = m->t->ranges + (size_t)item->first_range * 2;
    for (uint32_t i = 0; i < item->n_ranges && !in; i++)
        in = c >= range[2 * i] && c <= range[2 * i + 1];
    if (!in && (item->flags & (ELM_CLASS_SPACE | ELM_CLASS_NOT_SPACE))) {
        bool space = elm_unicode_is_space(c);
        in = ((item->flags & ELM_CLASS_SPACE) && space) ||
             ((item->flags & ELM_CLASS_NOT_SPACE) && !space);
    }
    if (!in && item->categories) in = item->categories >> elm_unicode_category(c) & 1;
    return in != ((item->flags & ELM_CLASS_NEGATED) != 0);
}

/* Length of the code point at `at` when it is of the class, else 0. */
static size_t step(const matching *m, const elm_disk_item *item, size_t at) {
    uint32_t c;
    if (at >= m->text.size) return 0;
    int n = elm_utf8_decode(elm_span_of(m->text.data + at, m->text.size - at), &c);
    return n > 0 && in_class(m, item, c) ? (size_t)n : 0;
}

static size_t step_back(const matching *m, size_t at) {
    do at--;
    while ((m->text.data[at] & 0xc0) == 0x80);
    return at;
}

static int64_t run(const matching *m, const elm_disk_item *item, size_t at, uint32_t depth);

static int64_t greedy(const matching *m, const elm_disk_item *item, size_t at, uint32_t depth) {
    size_t end = at, least = at;
    uint32_t n = 0;
    for (size_t k; n < item->max && (k = step(m, item, end)) > 0; n++) {
        end += k;
        if (n + 1 == item->min) least = end;
    }
    if (n < item->min) return -1;
    if (item->min == 0) least = at;
    if (item->kind == ELM_ITEM_POSSESSIVE) return run(m, item + 1, end, depth);
    /* The last item takes all it can: nothing behind it can ask for less. */
    for (;; end = step_back(m, end)) {
        int64_t found = run(m, item + 1, end, depth);
        if (found >= 0 || end <= least) return found;
    }
}

static int64_t lazy(const matching *m, const elm_disk_item *item, size_t at, uint32_t depth) {
    size_t end = at;
    for (uint32_t n = 0;; n++) {
        if (n >= item->min) {
            int64_t found = run(m, item + 1, end, depth);
            if (found >= 0) return found;
        }
        size_t k = n < item->max ? step(m, item, end) : 0;
        if (k == 0) return -1;
        end += k;
    }
}

/* The end of the match of the items from `item` to the end of their alternative, or -1. */
static int64_t run(const matching *m, const elm_disk_item *item, size_t at, uint32_t depth) {
    if (depth >= MAX_ITEMS_DEEP) return -1;
    switch (item->kind) {
    case ELM_ITEM_GREEDY:
    case ELM_ITEM_POSSESSIVE:
        return greedy(m, item, at, depth + 1);
    case ELM_ITEM_LAZY:
        return lazy(m, item, at, depth + 1);
    case ELM_ITEM_LOOKAHEAD:
        return step(m, item, at) > 0 ? run(m, item + 1, at, depth + 1) : -1;
    case ELM_ITEM_NOT_LOOKAHEAD:
        return step(m, item, at) == 0 ? run(m, item + 1, at, depth + 1) : -1;
    case ELM_ITEM_TEXT_END:
        return at == m->text.size ? run(m, item + 1, at, depth + 1) : -1;
    case ELM_ITEM_TEXT_START:
        return at == 0 ? run(m, item + 1, at, depth + 1) : -1;
    default:
        return (int64_t)at;
    }
}

int64_t elm_match(const elm_tokenizer *t, uint32_t first_item, elm_span text, size_t at) {
    matching m = {t, text};
    const elm_disk_item *item = t->items + first_item;
    while (item->kind == ELM_ITEM_ALTERNATIVE) {
        int64_t end = run(&m, item + 1, at, 0);
        if (end >= 0) return end - (int64_t)at;
        for (item++; item->kind != ELM_ITEM_ALTERNATIVE && item->kind != ELM_ITEM_END;) item++;
    }
    return -1;
}
