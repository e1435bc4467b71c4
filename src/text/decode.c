/* decode.c - ids to text, a token at a time, in whole code points; text.
 *
 *   token -> steps before the fuse, in place at the end of `out` -> steps behind it, with what they
 * remember -> text
 *
 * Byte-level vocabularies: the bytes of all tokens are one text. From the front of what is held
 * back, valid code points go out; a byte that can never begin or continue one goes out as U+FFFD; a
 * beginning that may still become valid stays. */
#include "text/points.h"
#include "text/tokenizer_blob.h"

static const char replacement[] = "\xef\xbf\xbd";

/* ---- steps, on out[base ...) ---- */

static size_t count(elm_span text, elm_span what) {
    size_t n = 0;
    for (size_t at = 0; at + what.size <= text.size;) {
        bool hit = memcmp(text.data + at, what.data, what.size) == 0;
        n += hit;
        at += hit ? what.size : 1;
    }
    return n;
}

static elm_span tail(const elm_buf *out, size_t base) {
    return elm_span_of(out->data + base, out->size - base);
}

static void replace(elm_buf *out, size_t base, elm_span from, elm_span to) {
    size_t size = out->size - base, hits = size > 0 ? count(tail(out, base), from) : 0;
    /* The result is built behind the text; what is read must not move meanwhile. */
    if (hits == 0 || !elm_buf_reserve(out, size + hits * to.size)) return;
    for (size_t at = 0; at < size;) {
        bool hit =
            at + from.size <= size && memcmp(out->data + base + at, from.data, from.size) == 0;
        if (hit)
            elm_buf_append(out, to.data, to.size);
        else
            elm_buf_append(out, out->data + base + at, 1);
        at += hit ? from.size : 1;
    }
    size_t made = out->size - base - size;
    memmove(out->data + base, out->data + base + size, made);
    out->size = base + made;
}

static void insert(elm_buf *out, size_t base, elm_span text) {
    if (text.size == 0 || !elm_buf_reserve(out, text.size)) return;
    memmove(out->data + base + text.size, out->data + base, out->size - base);
    memcpy(out->data + base, text.data, text.size);
    out->size += text.size;
}

static bool begins(elm_span text, elm_span with) {
    return text.size >= with.size && memcmp(text.data, with.data, with.size) == 0;
}
static bool ends(elm_span text, elm_span with) {
    return text.size >= with.size &&
           memcmp(text.data + text.size - with.size, with.data, with.size) == 0;
}

static void drop_front(elm_buf *out, size_t base, size_t n) {
    if (n == 0) return;
    memmove(out->data + base, out->data + base + n, out->size - base - n);
    out->size -= n;
}

/* On one token. */
static void strip_token(elm_buf *out, size_t base, elm_span what, uint32_t left, uint32_t right) {
    size_t cut = 0;
    while (left-- > 0 && begins(tail(out, base + cut), what)) cut += what.size;
    while (right-- > 0 && ends(tail(out, base + cut), what)) out->size -= what.size;
    drop_front(out, base, cut);
}

/* On the whole text, of which this is the next part. */
static void strip_text(elm_detokenizer *d, elm_buf *out, size_t base, elm_span what, uint32_t left,
                       uint32_t right) {
    size_t cut = 0;
    if (out->size == base) return;
    while (!d->left_done && d->n_left < left && begins(tail(out, base + cut), what)) {
        cut += what.size;
        d->n_left++;
    }
    drop_front(out, base, cut);
    if (out->size == base) return;
    d->left_done = true;
    for (; d->n_right > 0; d->n_right--) insert(out, base, what);
    for (; d->n_right < right && ends(tail(out, base), what); d->n_right++) out->size -= what.size;
}

static void token_steps(const elm_tokenizer *t, bool first, uint32_t from, size_t base,
                        elm_buf *out) {
    for (uint32_t i = from; i < t->fuse_step && out->status == ELM_OK; i++) {
        const elm_disk_step *s = &t->steps[i];
        elm_span text = elm_step_text(t, s);
        switch (s->kind) {
        case ELM_STEP_DECODE_REPLACE:
            replace(out, base, text, elm_step_text2(t, s));
            break;
        case ELM_STEP_DECODE_METASPACE:
            replace(out, base, text, elm_span_str(first && s->a ? "" : " "));
            break;
        case ELM_STEP_DECODE_STRIP:
            strip_token(out, base, text, s->a, s->b);
            break;
        case ELM_STEP_DECODE_JOIN:
            if (!first) insert(out, base, elm_span_str(" "));
            break;
        default:
            break;
        }
    }
}

static void text_steps(const elm_tokenizer *t, elm_detokenizer *d, size_t base, elm_buf *out) {
    for (uint32_t i = t->fuse_step; i < t->n_steps && out->status == ELM_OK; i++) {
        const elm_disk_step *s = &t->steps[i];
        if (s->kind == ELM_STEP_DECODE_REPLACE)
            replace(out, base, elm_step_text(t, s), elm_step_text2(t, s));
        if (s->kind == ELM_STEP_DECODE_STRIP)
            strip_text(d, out, base, elm_step_text(t, s), s->a, s->b);
    }
}

/* out[base ...) is a token, seen by the steps from number `from` on. */
static void give(const elm_tokenizer *t, elm_detokenizer *d, uint32_t from, size_t base,
                 elm_buf *out) {
    token_steps(t, !d->started, from, base, out);
    d->started = true;
    text_steps(t, d, base, out);
}

/* ---- byte tokens ---- */

static void give_run(const elm_tokenizer *t, elm_detokenizer *d, size_t size, elm_buf *out) {
    size_t base = out->size;
    elm_span run = elm_span_of(d->held, size);
    if (size == 0) return;
    if (elm_utf8_valid_prefix(run) == size)
        elm_buf_append(out, run.data, size);
    else
        for (size_t i = 0; i < size; i++) elm_buf_str(out, replacement);
    give(t, d, t->bytes_step + 1, base, out);
    d->n_held -= (uint32_t)size;
    memmove(d->held, d->held + size, d->n_held);
}

static void push_byte(const elm_tokenizer *t, elm_detokenizer *d, uint8_t byte, elm_buf *out) {
    if (d->n_held == sizeof d->held) {
        size_t valid = elm_utf8_valid_prefix(elm_span_of(d->held, d->n_held));
        give_run(t, d, valid > 0 ? valid : 1, out);
    }
    d->held[d->n_held++] = byte;
}

static uint8_t hex_value(elm_span s) { /* <0xXX> */
    uint32_t value = 0;
    for (size_t i = 3; i < 5 && i < s.size; i++) {
        uint8_t c = s.data[i];
        value = value * 16 + (c <= '9' ? c - 48u : (c | 32u) - 87u);
    }
    return (uint8_t)value;
}

/* ---- byte-level vocabularies ---- */

/* How many bytes of the malformed sequence at the front one U+FFFD stands for: the longest
 * beginning that could have been valid (the Unicode Standard's "maximal subpart", as Rust's and
 * Python's decoders do), at least one. */
static size_t malformed_bytes(elm_span s) {
    uint32_t c;
    size_t n = 1;
    while (n < s.size && n < 4 && elm_utf8_decode(elm_span_of(s.data, n + 1), &c) == 0) n++;
    return elm_utf8_decode(elm_span_of(s.data, 1), &c) == 0 ? n : 1;
}

static void drain(elm_detokenizer *d, bool final, elm_buf *out) {
    size_t at = 0;
    while (at < d->n_held) {
        elm_span s = elm_span_of(d->held + at, d->n_held - at);
        uint32_t c;
        int n = elm_utf8_decode(s, &c);
        if (n > 0) {
            elm_buf_append(out, s.data, (size_t)n);
            at += (size_t)n;
        } else if (n == 0 && !final) {
            break;
        } else {
            elm_buf_str(out, replacement);
            at += n == 0 ? s.size : malformed_bytes(s);
        }
    }
    d->n_held -= (uint32_t)at;
    memmove(d->held, d->held + at, d->n_held);
}

static void push_bytes(elm_detokenizer *d, elm_span s, elm_buf *out) {
    if (d->n_held == 0 && elm_utf8_valid_prefix(s) == s.size) {
        elm_buf_append(out, s.data, s.size);
        return;
    }
    for (size_t at = 0, n; at < s.size; at += n) {
        size_t room = sizeof d->held - d->n_held;
        n = s.size - at < room ? s.size - at : room;
        memcpy(d->held + d->n_held, s.data + at, n);
        d->n_held += (uint32_t)n;
        drain(d, false, out);
    }
}

/* The byte that a stand-in of byte-level spellings means, or -1. */
static int stand_in(uint32_t c) {
    if ((c >= 33 && c <= 126) || (c >= 161 && c <= 172) || (c >= 174 && c <= 255)) return (int)c;
    if (c < 256 || c >= 256 + 68) return -1;
    c -= 256; /* 0..32, 127..160, 173 */
    return c < 33 ? (int)c : c < 67 ? (int)c - 33 + 127 : 173;
}

/* Added tokens are spelled as they are; where all of an added token could be stand-ins, decoding
 * takes it so. */
static void push_added(elm_detokenizer *d, elm_span s, elm_buf *out) {
    uint32_t c;
    bool all = true;
    for (size_t at = 0; at < s.size && all;) {
        at += elm_point_at(s, at, &c);
        all = stand_in(c) >= 0;
    }
    if (!all) {
        push_bytes(d, s, out);
        return;
    }
    for (size_t at = 0; at < s.size;) {
        at += elm_point_at(s, at, &c);
        uint8_t byte = (uint8_t)stand_in(c);
        push_bytes(d, elm_span_of(&byte, 1), out);
    }
}

/* ---- the calls ---- */

static bool is_byte_level(const elm_tokenizer *t) {
    return t->fuse_step < t->n_steps && t->steps[t->fuse_step].kind == ELM_STEP_DECODE_BYTE_LEVEL;
}

void elm_detokenizer_push(const elm_tokenizer *t, elm_detokenizer *d, int32_t id, bool skip_special,
                          elm_buf *out) {
    elm_span s = elm_tokenizer_spelling(t, id);
    size_t base = out->size;
    if (s.size == 0 || (skip_special && elm_tokenizer_is_special(t, id))) return;
    if (is_byte_level(t)) {
        if (t->token_flags[id] & ELM_TOKEN_ADDED)
            push_added(d, s, out);
        else
            push_bytes(d, s, out);
        text_steps(t, d, base, out);
    } else if ((t->token_flags[id] & ELM_TOKEN_BYTE) && t->bytes_step < t->n_steps) {
        push_byte(t, d, hex_value(s), out);
    } else {
        give_run(t, d, d->n_held, out);
        base = out->size;
        elm_buf_append(out, s.data, s.size);
        give(t, d, t->first_decoder, base, out);
    }
}

void elm_detokenizer_finish(const elm_tokenizer *t, elm_detokenizer *d, elm_buf *out) {
    size_t base = out->size;
    if (is_byte_level(t)) {
        drain(d, true, out);
        text_steps(t, d, base, out);
    } else {
        give_run(t, d, d->n_held, out);
    }
    /* What is held on the right is stripped: the text has ended. */
    d->n_right = 0;
}
