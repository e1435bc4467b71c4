/* encode.c - the pipeline: added tokens, normalizer, pre-tokenizer, model, post-processor; text.
 *
 * A special token matches only where all of its bytes are template bytes. What lies between added
 * tokens goes, as one segment, through the normalizer steps and then through the split steps, each
 * of which cuts the pieces of the one before; what comes out of the last is a piece for the model.
 */
#include "base/utf8.h"
#include "text/bpe.h"
#include "text/matcher.h"
#include "text/unicode.h"

#include <string.h>

typedef struct encoding {
    const elm_tokenizer *t;
    elm_span text;
    const elm_parts *parts; /* NULL: one part of `origin` */
    elm_part_origin origin;
    size_t part; /* the part that the scan is in */
    elm_buf normal[2];
    elm_bpe bpe;
} encoding;

/* ---- added tokens ---- */

/* Whether [begin, end) lies in template parts. Scans ask with rising `begin`. */
static bool is_template(encoding *e, size_t begin, size_t end) {
    if (!e->parts) return e->origin == ELM_PART_TEMPLATE;
    while (e->part + 1 < elm_parts_count(e->parts) && elm_parts_at(e->parts, e->part)->end <= begin)
        e->part++;
    const elm_part *p = elm_parts_at(e->parts, e->part);
    return p->origin == ELM_PART_TEMPLATE && begin >= p->begin && end <= p->end;
}

static bool is_word(elm_span text, size_t at) {
    uint32_t c;
    if (at >= text.size || elm_utf8_decode(elm_span_of(text.data + at, text.size - at), &c) <= 0)
        return false;
    elm_category k = elm_unicode_category(c);
    return k <= ELM_CAT_NO || k == ELM_CAT_PC;
}

static bool word_before(elm_span text, size_t at) {
    if (at == 0) return false;
    do at--;
    while (at > 0 && (text.data[at] & 0xc0) == 0x80);
    return is_word(text, at);
}

/* The longest added token at `at`; normalized says which of the two passes this is. Length 0: none.
 */
static size_t added_at(encoding *e, elm_span text, size_t at, bool normalized, int32_t *id) {
    const elm_tokenizer *t = e->t;
    const uint8_t *lengths = t->added_lengths + (size_t)text.data[at] * 32;
    size_t left = text.size - at;
    for (size_t n = left < ELM_MAX_ADDED_BYTES ? left : ELM_MAX_ADDED_BYTES; n > 0; n--) {
        if (!(lengths[n / 8] >> (n % 8) & 1)) {
            if (n % 8 != 7 || lengths[n / 8] != 0) continue;
            if (n < 8) break;
            n -= 7; /* eight lengths at once */
            continue;
        }
        int32_t found = elm_tokenizer_lookup(t, text.data + at, n);
        if (found < 0) continue;
        uint8_t flags = t->token_flags[found];
        if (!(flags & ELM_TOKEN_ADDED) || ((flags & ELM_TOKEN_NORMALIZED) != 0) != normalized)
            continue;
        /* In the second pass positions are those of normalised text: specials are never matched
         * there. */
        if ((flags & ELM_TOKEN_SPECIAL) && (normalized || !is_template(e, at, at + n))) continue;
        if ((flags & ELM_TOKEN_SINGLE_WORD) && (word_before(text, at) || is_word(text, at + n)))
            continue;
        *id = found;
        return n;
    }
    return 0;
}

/* ---- pre-tokenizer ---- */

static void split(encoding *e, elm_span text, uint32_t step);

static void emit_piece(encoding *e, const uint8_t *data, size_t size, uint32_t step) {
    if (size > 0) split(e, elm_span_of(data, size), step + 1);
}

/* The next match at or behind `at`: [*begin, *end). Empty matches are passed over. */
static bool next_match(const encoding *e, const elm_disk_step *s, elm_span text, size_t at,
                       size_t *begin, size_t *end) {
    for (size_t i = at; i < text.size;) {
        int64_t n = elm_match(e->t, s->a, text, i);
        if (n > 0) {
            *begin = i;
            *end = i + (size_t)n;
            return true;
        }
        do i++;
        while (i < text.size && (text.data[i] & 0xc0) == 0x80);
    }
    return false;
}

static void split_by(encoding *e, const elm_disk_step *s, elm_span text, uint32_t step) {
    size_t done = 0, at = 0, begin, end; /* done: bytes that have gone out */
    const uint8_t *p = text.data;
    while (next_match(e, s, text, at, &begin, &end)) {
        at = end;
        switch ((elm_split_behavior)s->b) {
        case ELM_SPLIT_ISOLATED:
            emit_piece(e, p + done, begin - done, step);
            emit_piece(e, p + begin, end - begin, step);
            break;
        case ELM_SPLIT_REMOVED:
            emit_piece(e, p + done, begin - done, step);
            break;
        case ELM_SPLIT_INVERTED_REMOVED:
            emit_piece(e, p + begin, end - begin, step);
            break;
        case ELM_SPLIT_MERGED_PREVIOUS:
            emit_piece(e, p + done, end - done, step);
            break;
        case ELM_SPLIT_MERGED_NEXT:
            emit_piece(e, p + done, begin - done, step);
            end = begin; /* goes out with what follows */
            break;
        case ELM_SPLIT_CONTIGUOUS:
            emit_piece(e, p + done, begin - done, step);
            for (size_t b, n; next_match(e, s, text, at, &b, &n) && b == end;) at = end = n;
            emit_piece(e, p + begin, end - begin, step);
            break;
        case ELM_N_SPLITS:
            return;
        }
        done = end;
    }
    if (s->b != ELM_SPLIT_INVERTED_REMOVED) emit_piece(e, p + done, text.size - done, step);
}

static void split(encoding *e, elm_span text, uint32_t step) {
    while (step < e->t->n_steps && e->t->steps[step].kind != ELM_STEP_SPLIT) step++;
    if (step >= e->t->n_steps)
        elm_bpe_piece(&e->bpe, text);
    else
        split_by(e, &e->t->steps[step], text, step);
}

/* ---- normalizer ---- */

static void replace_all(elm_span text, elm_span from, elm_span to, elm_buf *out) {
    size_t done = 0;
    for (size_t at = 0; at + from.size <= text.size;) {
        const uint8_t *hit = memchr(text.data + at, from.data[0], text.size - at);
        if (!hit) break;
        at = (size_t)(hit - text.data);
        if (at + from.size > text.size || memcmp(hit, from.data, from.size) != 0) {
            at++;
            continue;
        }
        elm_buf_append(out, text.data + done, at - done);
        elm_buf_append(out, to.data, to.size);
        at += from.size;
        done = at;
    }
    elm_buf_append(out, text.data + done, text.size - done);
}

/* Runs the normalizer steps over a segment; the result is the segment itself or one of the two
 * buffers. */
static elm_span normalize(encoding *e, elm_span text, bool first) {
    const elm_tokenizer *t = e->t;
    int which = 0;
    for (uint32_t i = 0; i < t->n_steps; i++) {
        const elm_disk_step *s = &t->steps[i];
        elm_buf *out = &e->normal[which];
        if (s->kind > ELM_STEP_PREFIX_SPACE || text.size == 0) continue;
        elm_buf_clear(out);
        switch (s->kind) {
        case ELM_STEP_NFC:
            elm_unicode_nfc(text, out);
            break;
        case ELM_STEP_REPLACE:
            replace_all(text, elm_step_text(t, s), elm_step_text2(t, s), out);
            break;
        case ELM_STEP_PREPEND_FIRST:
            if (!first) continue;
            /* fall through */
        case ELM_STEP_PREPEND: {
            elm_span prefix = elm_step_text(t, s);
            /* A Metaspace prefix (b = 1) is not doubled. */
            if (s->b && text.size >= prefix.size &&
                memcmp(text.data, prefix.data, prefix.size) == 0)
                continue;
            elm_buf_append(out, prefix.data, prefix.size);
            elm_buf_append(out, text.data, text.size);
            break;
        }
        default:
            if (text.data[0] == ' ') continue;
            elm_buf_u8(out, ' ');
            elm_buf_append(out, text.data, text.size);
            break;
        }
        text = elm_buf_span(out);
        which ^= 1;
    }
    return text;
}

/* ---- segments ---- */

static void emit_id(encoding *e, int32_t id) {
    elm_buf_append(e->bpe.ids, &id, sizeof id);
}

static void normalised_segment(encoding *e, elm_span text) {
    size_t done = 0;
    for (size_t at = 0; e->t->has_normalized_added && at < text.size;) {
        int32_t id;
        size_t n = added_at(e, text, at, true, &id);
        if (n == 0) {
            at++;
            continue;
        }
        if (at > done) split(e, elm_span_of(text.data + done, at - done), 0);
        emit_id(e, id);
        at += n;
        done = at;
    }
    if (done < text.size) split(e, elm_span_of(text.data + done, text.size - done), 0);
}

static void segment(encoding *e, size_t begin, size_t end) {
    if (end <= begin) return;
    normalised_segment(e, normalize(e, elm_span_of(e->text.data + begin, end - begin), begin == 0));
}

static bool is_space_byte(uint8_t c) {
    return c == ' ' || (c >= 9 && c <= 13);
}

static void encode(encoding *e) {
    size_t done = 0;
    for (size_t at = 0; at < e->text.size;) {
        int32_t id;
        size_t n = added_at(e, e->text, at, false, &id);
        if (n == 0) {
            at++;
            continue;
        }
        uint8_t flags = e->t->token_flags[id];
        size_t begin = at, end = at + n;
        while ((flags & ELM_TOKEN_LSTRIP) && begin > done && is_space_byte(e->text.data[begin - 1]))
            begin--;
        while ((flags & ELM_TOKEN_RSTRIP) && end < e->text.size && is_space_byte(e->text.data[end]))
            end++;
        segment(e, done, begin);
        emit_id(e, id);
        at = done = end;
    }
    segment(e, done, e->text.size);
}

static elm_status run(encoding *e, const elm_tokenizer *t, bool add_special, elm_buf *ids,
                      elm_error *err) {
    size_t valid = elm_utf8_valid_prefix(e->text);
    if (valid != e->text.size) {
        return elm_fail(err, ELM_MALFORMED, "the text is not UTF-8 at byte %zu (0x%02x)", valid,
                        e->text.data[valid]);
    }
    e->t = t;
    elm_bpe_init(&e->bpe, t, ids);
    for (int i = 0; i < 2; i++) elm_buf_init(&e->normal[i], t->alloc, SIZE_MAX / 16);
    for (uint32_t i = 0; add_special && i < t->n_prefix; i++) emit_id(e, t->prefix[i]);
    encode(e);
    for (uint32_t i = 0; add_special && i < t->n_suffix; i++) emit_id(e, t->suffix[i]);
    elm_status status = elm_buf_check(ids, "the ids", err);
    if (status == ELM_OK) status = elm_buf_check(&e->bpe.symbols, "the tokenizer's symbols", err);
    if (status == ELM_OK) status = elm_buf_check(&e->bpe.heap, "the tokenizer's merges", err);
    for (int i = 0; i < 2; i++) {
        if (status == ELM_OK) status = elm_buf_check(&e->normal[i], "normalised text", err);
        elm_buf_free(&e->normal[i]);
    }
    elm_bpe_free(&e->bpe);
    return status;
}

elm_status elm_tokenizer_encode(const elm_tokenizer *t, const elm_parts *parts, bool add_special,
                                elm_buf *ids, elm_error *err) {
    encoding e = {.text = elm_buf_span(&parts->text), .parts = parts};
    return run(&e, t, add_special, ids, err);
}

elm_status elm_tokenizer_encode_text(const elm_tokenizer *t, elm_span text, elm_part_origin origin,
                                     bool add_special, elm_buf *ids, elm_error *err) {
    encoding e = {.text = text, .origin = origin};
    return run(&e, t, add_special, ids, err);
}
