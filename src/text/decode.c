/* decode.c - ids to text, a token at a time, in whole code points; text.
 *
 * Bytes of a token are appended to what is held back. From the front, valid code points go out; a
 * byte that can never begin or continue one goes out as U+FFFD; a beginning that may still become
 * valid stays. */
#include "base/utf8.h"
#include "text/tokenizer_blob.h"

#include <string.h>

static const char replacement[] = "\xef\xbf\xbd";

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
    memmove(d->held, d->held + at, d->n_held - at);
    d->n_held -= (uint32_t)at;
}

static void push_bytes(const elm_tokenizer *t, elm_detokenizer *d, const uint8_t *data, size_t size,
                       elm_buf *out) {
    if (!d->started && size > 0) {
        uint32_t strip = t->strip_left;
        while (strip > 0 && size > 0 && *data == ' ') data++, size--, strip--;
        d->started = true;
    }
    while (size > 0) {
        size_t room = sizeof d->held - d->n_held, n = size < room ? size : room;
        memcpy(d->held + d->n_held, data, n);
        d->n_held += (uint32_t)n;
        data += n;
        size -= n;
        drain(d, false, out);
    }
}

static int hex_digit(uint8_t c) {
    return c >= '0' && c <= '9'                 ? c - '0'
           : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                : -1;
}

void elm_detokenizer_push(const elm_tokenizer *t, elm_detokenizer *d, int32_t id, bool skip_special,
                          elm_buf *out) {
    elm_span s = elm_tokenizer_spelling(t, id);
    if (s.size == 0 || (skip_special && elm_tokenizer_is_special(t, id))) return;
    if (t->token_flags[id] & ELM_TOKEN_BYTE) { /* <0xXX> */
        uint8_t byte =
            s.size == 6 ? (uint8_t)(hex_digit(s.data[3]) << 4 | hex_digit(s.data[4])) : 0;
        push_bytes(t, d, &byte, 1, out);
        return;
    }
    const elm_disk_step *replace = NULL;
    for (uint32_t i = 0; i < t->n_steps && !replace; i++) {
        if (t->steps[i].kind == ELM_STEP_DECODE_REPLACE) replace = &t->steps[i];
    }
    if (!replace) {
        push_bytes(t, d, s.data, s.size, out);
        return;
    }
    elm_span from = elm_step_text(t, replace), to = elm_step_text2(t, replace);
    size_t done = 0;
    for (size_t at = 0; at + from.size <= s.size;) {
        if (memcmp(s.data + at, from.data, from.size) != 0) {
            at++;
            continue;
        }
        push_bytes(t, d, s.data + done, at - done, out);
        push_bytes(t, d, to.data, to.size, out);
        at += from.size;
        done = at;
    }
    push_bytes(t, d, s.data + done, s.size - done, out);
}

void elm_detokenizer_finish(const elm_tokenizer *t, elm_detokenizer *d, elm_buf *out) {
    (void)t;
    drain(d, true, out);
}
