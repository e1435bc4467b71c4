/* added_tokens.c - finding added tokens; text.
 *
 * As Hugging Face's AddedVocabulary: a token that must be a word of its own and is none takes its
 * bytes out of the search all the same; stripped white space does not. */
#include "text/added_tokens.h"

#include "text/points.h"
#include "text/unicode.h"

elm_added_scan elm_added_scan_of(const elm_tokenizer *t, bool normalized, elm_span text) {
    return (elm_added_scan){.t = t,
                            .trie = normalized ? &t->added_normalized : &t->added,
                            .first = normalized ? t->normalized_first : t->added_first,
                            .text = text};
}

/* Whether all of [begin, end) was written by the template. `begin` never goes back. */
static bool is_template(elm_added_scan *s, size_t begin, size_t end) {
    if (s->all_template) return true;
    if (s->marks) {
        for (size_t i = begin; i < end; i++) {
            if (!s->marks[i]) return false;
        }
        return true;
    }
    if (!s->parts) return false;
    size_t n = elm_parts_count(s->parts);
    while (s->part < n && elm_parts_at(s->parts, s->part)->end <= begin) s->part++;
    for (size_t i = s->part; i < n && elm_parts_at(s->parts, i)->begin < end; i++) {
        if (elm_parts_at(s->parts, i)->origin != ELM_PART_TEMPLATE) return false;
    }
    return s->part < n;
}

static bool word_at(elm_span text, size_t at) {
    uint32_t c;
    if (at >= text.size) return false;
    elm_point_at(text, at, &c);
    return elm_unicode_is_word(c);
}

static bool word_before(elm_span text, size_t at) {
    return at > 0 && word_at(text, elm_point_before(text, at));
}

/* The longest token at `at` that may be read there. Its length, or 0. */
static size_t longest(elm_added_scan *s, size_t at, int32_t *id) {
    const elm_tokenizer *t = s->t;
    size_t most = s->text.size - at, found = 0;
    if (most > ELM_MAX_ADDED_BYTES) most = ELM_MAX_ADDED_BYTES;
    for (size_t n = 0, node = 0; n < most;) {
        node = elm_trie_step(s->trie, (uint32_t)node, s->text.data[at + n]);
        if (node == 0) break;
        n++;
        int32_t value = s->trie->values[node];
        if (value < 0 || (uint32_t)value >= t->n_ids) continue;
        if ((t->token_flags[value] & ELM_TOKEN_SPECIAL) && !is_template(s, at, at + n)) continue;
        found = n;
        *id = value;
    }
    return found;
}

static size_t spaces_before(const elm_added_scan *s, size_t at) {
    while (at > s->done) {
        size_t before = elm_point_before(s->text, at);
        uint32_t c;
        elm_point_at(s->text, before, &c);
        if (!elm_unicode_is_space(c)) break;
        at = before;
    }
    return at;
}

static size_t spaces_behind(elm_added_scan *s, size_t at) {
    if (at < s->spaces_end) return s->spaces_end;
    while (at < s->text.size) {
        uint32_t c;
        size_t n = elm_point_at(s->text, at, &c);
        if (!elm_unicode_is_space(c)) break;
        at += n;
    }
    return s->spaces_end = at;
}

elm_added_part elm_added_scan_next(elm_added_scan *s) {
    const uint8_t *p = s->text.data;
    while (s->trie->n_nodes > 0 && s->at < s->text.size) {
        int32_t id;
        size_t begin = s->at, n = s->first[p[begin]] ? longest(s, begin, &id) : 0;
        if (n == 0) {
            s->at++;
            continue;
        }
        size_t end = s->at = begin + n;
        uint8_t flags = s->t->token_flags[id];
        if ((flags & ELM_TOKEN_SINGLE_WORD) &&
            (word_before(s->text, begin) || word_at(s->text, end)))
            continue;
        if (flags & ELM_TOKEN_LSTRIP) begin = spaces_before(s, begin);
        if (flags & ELM_TOKEN_RSTRIP) end = spaces_behind(s, end);
        elm_added_part part = {id, s->done, begin > s->done ? begin : s->done};
        s->done = end;
        return part;
    }
    elm_added_part last = {ELM_NO_TOKEN, s->done, s->text.size};
    s->done = s->text.size;
    return last;
}
