/* normalize.c - the normalizer steps; text.
 *
 * Every step copies its input to a buffer. Where marks are kept, a byte that came from several is
 * the template's only when all of them were. */
#include "text/normalize.h"

#include "text/matcher.h"
#include "text/points.h"

/* Input [begin, end) as it is. */
static void keep(elm_marked_buf *out, elm_marked in, size_t begin, size_t end) {
    if (end <= begin) return;
    elm_buf_append(&out->text, in.text.data + begin, end - begin);
    if (in.marks) elm_buf_append(&out->marks, in.marks + begin, end - begin);
}

/* Marks for what was just written, from offset `from` of the output on: it stands for input [begin,
 * end). */
static void mark(elm_marked_buf *out, size_t from, elm_marked in, size_t begin, size_t end) {
    if (!in.marks) return;
    uint8_t all = 1;
    if (begin == end && begin < in.text.size) end++;
    for (size_t i = begin; i < end; i++) all &= in.marks[i];
    while (from++ < out->text.size && out->marks.status == ELM_OK) elm_buf_u8(&out->marks, all);
}

static void put(elm_marked_buf *out, elm_span text, elm_marked in, size_t begin, size_t end) {
    size_t from = out->text.size;
    if (begin == 0 && end > 0 && text.size == 0) out->beheaded = true;
    elm_buf_append(&out->text, text.data, text.size);
    mark(out, from, in, begin, end);
}

static void put_point(elm_marked_buf *out, uint32_t c, elm_marked in, size_t begin, size_t end) {
    uint8_t bytes[4];
    put(out, elm_span_of(bytes, (size_t)elm_utf8_encode(c, bytes)), in, begin, end);
}

/* Stretches that may change are normalised, all between them is copied. */
static void forms(elm_encoding *e, elm_form form, elm_marked in, elm_marked_buf *out) {
    size_t done = 0, stretch = 0; /* stretch: where the last stable code point began */
    uint32_t c;
    for (size_t at = 0, n; at < in.text.size; at += n) {
        n = elm_point_at(in.text, at, &c);
        if (!elm_unicode_is_unstable(c, form)) {
            stretch = at;
            continue;
        }
        size_t end = at + n;
        while (end < in.text.size) {
            size_t k = elm_point_at(in.text, end, &c);
            if (!elm_unicode_is_unstable(c, form)) break;
            end += k;
        }
        keep(out, in, done, stretch);
        size_t from = out->text.size;
        elm_unicode_normalize(&e->unicode, elm_span_of(in.text.data + stretch, end - stretch), form,
                              &out->text);
        mark(out, from, in, stretch, end);
        n = end - at;
        done = stretch = end;
    }
    keep(out, in, done, in.text.size);
}

static void lowercase(elm_marked in, elm_marked_buf *out) {
    uint32_t c, low[ELM_UNICODE_MAX_LOWER];
    size_t done = 0;
    for (size_t at = 0, n; at < in.text.size; at += n) {
        n = elm_point_at(in.text, at, &c);
        uint32_t n_low = elm_unicode_lower(c, low);
        if (n_low == 1 && low[0] == c) continue;
        keep(out, in, done, at);
        for (uint32_t i = 0; i < n_low; i++) put_point(out, low[i], in, at, at + n);
        done = at + n;
    }
    keep(out, in, done, in.text.size);
}

static void strip_marks(elm_marked in, elm_marked_buf *out) {
    uint32_t c;
    size_t done = 0;
    for (size_t at = 0, n; at < in.text.size; at += n) {
        n = elm_point_at(in.text, at, &c);
        if (!elm_unicode_is_mark(c)) continue;
        if (at == 0) out->beheaded = true;
        keep(out, in, done, at);
        done = at + n;
    }
    keep(out, in, done, in.text.size);
}

static void strip(elm_marked in, bool left, bool right, elm_marked_buf *out) {
    size_t begin = 0, end = in.text.size;
    uint32_t c;
    for (size_t n; left && begin < end; begin += n) {
        n = elm_point_at(in.text, begin, &c);
        if (!elm_unicode_is_space(c)) break;
    }
    for (size_t before; right && end > begin; end = before) {
        before = elm_point_before(in.text, end);
        elm_point_at(in.text, before, &c);
        if (!elm_unicode_is_space(c)) break;
    }
    out->beheaded = begin > 0;
    keep(out, in, begin, end);
}

static void replace(elm_marked in, elm_span from, elm_span to, elm_marked_buf *out) {
    size_t done = 0;
    for (size_t at = 0; at + from.size <= in.text.size;) {
        const uint8_t *hit =
            memchr(in.text.data + at, from.data[0], in.text.size - from.size + 1 - at);
        if (!hit) break;
        at = (size_t)(hit - in.text.data);
        if (memcmp(hit, from.data, from.size) != 0) {
            at++;
            continue;
        }
        keep(out, in, done, at);
        put(out, to, in, at, at + from.size);
        at += from.size;
        done = at;
    }
    keep(out, in, done, in.text.size);
}

static void replace_matches(elm_encoding *e, const elm_disk_step *s, elm_marked in,
                            elm_marked_buf *out) {
    elm_matches m = elm_matches_of(e->t, s->a, in.text, &e->fuel);
    size_t done = 0, begin, end;
    while (elm_matches_next(&m, &begin, &end)) {
        keep(out, in, done, begin);
        put(out, elm_step_text2(e->t, s), in, begin, end);
        done = end;
    }
    keep(out, in, done, in.text.size);
}

static void run(elm_encoding *e, const elm_disk_step *s, elm_marked in, elm_marked_buf *out) {
    switch (s->kind) {
    case ELM_STEP_NORMALIZE:
        forms(e, (elm_form)s->a, in, out);
        break;
    case ELM_STEP_LOWERCASE:
        lowercase(in, out);
        break;
    case ELM_STEP_STRIP:
        strip(in, s->a != 0, s->b != 0, out);
        break;
    case ELM_STEP_STRIP_MARKS:
        strip_marks(in, out);
        break;
    case ELM_STEP_REPLACE:
        replace(in, elm_step_text(e->t, s), elm_step_text2(e->t, s), out);
        break;
    case ELM_STEP_REPLACE_PATTERN:
        replace_matches(e, s, in, out);
        break;
    default: /* prepend */
        put(out, elm_step_text(e->t, s), in, 0, 0);
        keep(out, in, 0, in.text.size);
        break;
    }
}

/* Text of this kind no step of this kind changes: most text, for NFC. */
static bool leaves_alone(const elm_disk_step *s, elm_span text) {
    if (s->kind != ELM_STEP_NORMALIZE) return false;
    /* 0xcc is the lead byte of U+0300; below it nothing changes under NFC. */
    uint8_t first = s->a == ELM_FORM_NFC ? 0xcc : 0x80;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] >= first) return false;
    }
    return true;
}

elm_marked elm_normalize(elm_encoding *e, elm_marked segment) {
    int which = 0;
    for (uint32_t i = 0; i < e->t->first_splitter && segment.text.size > 0; i++) {
        const elm_disk_step *s = &e->t->steps[i];
        elm_marked_buf *out = &e->normal[which];
        if (leaves_alone(s, segment.text)) continue;
        out->text.size = out->marks.size = 0; /* a failure stays latched */
        out->beheaded = false;
        run(e, s, segment, out);
        /* A failed buffer is not as long as it should be. */
        bool ok = out->text.status == ELM_OK && out->marks.status == ELM_OK;
        segment.text = ok ? elm_buf_span(&out->text) : elm_span_of(NULL, 0);
        segment.marks = segment.marks ? out->marks.data : NULL;
        segment.beheaded = segment.beheaded || out->beheaded;
        which ^= 1;
    }
    if (segment.text.size == 0) segment.text.data = (const uint8_t *)""; /* to point into */
    return segment;
}
