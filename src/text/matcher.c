/* matcher.c - running pattern programs; text. */
#include "text/matcher.h"

#include "text/points.h"

#define NO_MATCH SIZE_MAX

/* Whether a code point is of a class; `hint` is a range that it was found in before. */
static inline bool in_class(const elm_tokenizer *t, const elm_disk_class *class, uint32_t c,
                            uint32_t *hint) {
    if (c < 128) return class->ascii[c >> 5] >> (c & 31) & 1;
    const uint32_t *r = t->ranges + (size_t) class->first_range * 2;
    uint32_t low = 0, high = class->n_ranges;
    if (*hint < high && c >= r[*hint * 2] && c <= r[*hint * 2 + 1]) return true;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (c < r[middle * 2]) {
            high = middle;
        } else if (c > r[middle * 2 + 1]) {
            low = middle + 1;
        } else {
            *hint = middle;
            return true;
        }
    }
    return false;
}

/* Length of the code point at `at` when it is of the class, else 0. */
static inline size_t step(const elm_matches *m, const elm_disk_class *class, size_t at,
                          uint32_t *hint) {
    uint32_t c;
    if (at >= m->text.size) return 0;
    size_t n = elm_point_at(m->text, at, &c);
    return in_class(m->t, class, c, hint) ? n : 0;
}

static bool burn(const elm_matches *m, uint64_t n) {
    *m->fuel = *m->fuel > n ? *m->fuel - n : 0;
    return *m->fuel > 0;
}

static size_t run(const elm_matches *m, const elm_disk_item *item, size_t at);

static size_t greedy(const elm_matches *m, const elm_disk_item *item, size_t at) {
    const elm_disk_class *class = &m->t->classes[item->class];
    size_t end = at, least = at;
    uint32_t n = 0, hint = 0;
    for (size_t k; n < item->max && (k = step(m, class, end, &hint)) > 0; n++) {
        end += k;
        if (n + 1 == item->min) least = end;
    }
    if (n < item->min || !burn(m, (uint64_t)n + 1)) return NO_MATCH;
    if (item->kind == ELM_ITEM_POSSESSIVE) return run(m, item + 1, end);
    for (;; end = elm_point_before(m->text, end)) {
        size_t found = run(m, item + 1, end);
        if (found != NO_MATCH || end <= least) return found;
    }
}

static size_t lazy(const elm_matches *m, const elm_disk_item *item, size_t at) {
    const elm_disk_class *class = &m->t->classes[item->class];
    uint32_t hint = 0;
    for (uint32_t n = 0;; n++) {
        if (n >= item->min) {
            size_t found = run(m, item + 1, at);
            if (found != NO_MATCH) return found;
        }
        size_t k = n < item->max && burn(m, 1) ? step(m, class, at, &hint) : 0;
        if (k == 0) return NO_MATCH;
        at += k;
    }
}

static bool holds(const elm_matches *m, const elm_disk_item *item, size_t at) {
    elm_span s = m->text;
    uint32_t hint = 0;
    switch (item->kind) {
    case ELM_ITEM_LOOKAHEAD:
        return step(m, &m->t->classes[item->class], at, &hint) > 0;
    case ELM_ITEM_NOT_LOOKAHEAD:
        return step(m, &m->t->classes[item->class], at, &hint) == 0;
    case ELM_ITEM_LINE_START:
        return at == 0 || (s.data[at - 1] == '\n' && at < s.size);
    case ELM_ITEM_LINE_END:
        return at == s.size || s.data[at] == '\n';
    case ELM_ITEM_TEXT_START:
        return at == 0;
    case ELM_ITEM_TEXT_END:
        return at == s.size;
    default:
        return at == s.size || (at + 1 == s.size && s.data[at] == '\n'); /* last line's end */
    }
}

/* The end of the match of the items from `item` to the end of their alternative. */
static size_t run(const elm_matches *m, const elm_disk_item *item, size_t at) {
    for (;; item++) {
        switch (item->kind) {
        case ELM_ITEM_END:
        case ELM_ITEM_ALTERNATIVE:
            return at;
        case ELM_ITEM_GREEDY:
        case ELM_ITEM_POSSESSIVE:
            if (item->min == 1 && item->max == 1) { /* nothing to give back: no recursion */
                uint32_t hint = 0;
                size_t k = burn(m, 1) ? step(m, &m->t->classes[item->class], at, &hint) : 0;
                if (k == 0) return NO_MATCH;
                at += k;
                break;
            }
            return greedy(m, item, at);
        case ELM_ITEM_LAZY:
            return lazy(m, item, at);
        case ELM_ITEM_JUMP:
            item = m->t->items + item->target - 1;
            break;
        case ELM_ITEM_SPLIT:
        case ELM_ITEM_SPLIT_LAZY: {
            const elm_disk_item *first = item + 1, *second = m->t->items + item->target;
            bool swap = item->kind == ELM_ITEM_SPLIT_LAZY;
            size_t found = burn(m, 1) ? run(m, swap ? second : first, at) : NO_MATCH;
            if (found != NO_MATCH) return found;
            item = (swap ? first : second) - 1;
            break;
        }
        default:
            if (!holds(m, item, at)) return NO_MATCH;
            break;
        }
    }
}

/* The end of the match that begins at `at`. */
static size_t match_at(const elm_matches *m, size_t at) {
    const elm_disk_item *item = m->t->items + m->program;
    uint32_t c = at < m->text.size ? m->text.data[at] : 128;
    while (item->kind == ELM_ITEM_ALTERNATIVE) {
        bool may =
            c < 128 ? item->first[c >> 5] >> (c & 31) & 1 : (item->flags & ELM_ALT_NOT_ASCII) != 0;
        size_t end = may ? run(m, item + 1, at) : NO_MATCH;
        if (end != NO_MATCH) return end;
        item = m->t->items + item->target;
    }
    return NO_MATCH;
}

elm_matches elm_matches_of(const elm_tokenizer *t, uint32_t program, elm_span text,
                           uint64_t *fuel) {
    elm_matches m = {t, program, text, 0, NO_MATCH, fuel};
    return m;
}

bool elm_matches_next(elm_matches *m, size_t *begin, size_t *end) {
    while (m->at <= m->text.size && burn(m, 1)) {
        size_t at = m->at, found = match_at(m, at);
        uint32_t c;
        m->at += at < m->text.size ? elm_point_at(m->text, at, &c) : 1;
        if (found == NO_MATCH || (found == at && m->last_end == at)) continue;
        *begin = at;
        *end = m->last_end = found;
        m->at = found;
        return true;
    }
    return false;
}
