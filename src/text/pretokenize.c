/* pretokenize.c - cutting a segment into pieces; text.
 *
 * Every step cuts, or changes, the pieces of the one before it, depth first: no list of pieces is
 * kept. A step's matches and what lies between them are a row of events; a behaviour joins
 * neighbouring events to pieces. */
#include "text/pretokenize.h"

#include "text/matcher.h"
#include "text/model.h"

static void next_step(elm_encoding *e, elm_span piece, bool first, uint32_t step);

/* A piece in the making. */
typedef struct splitting {
    elm_encoding *e;
    elm_span text;
    bool first;
    uint32_t step;
    elm_split_behavior behavior;
    size_t begin, end; /* held back, because the next event may join it; SIZE_MAX: nothing is */
    bool was_match;    /* the event before */
} splitting;

static void give(splitting *s, size_t begin, size_t end) {
    if (begin < end)
        next_step(s->e, elm_span_of(s->text.data + begin, end - begin), s->first && begin == 0,
                  s->step + 1);
}

static void give_held(splitting *s) {
    if (s->begin != SIZE_MAX) give(s, s->begin, s->end);
    s->begin = SIZE_MAX;
}

static void event(splitting *s, size_t begin, size_t end, bool match) {
    bool held = s->begin != SIZE_MAX, joins = false;
    switch (s->behavior) {
    case ELM_SPLIT_ISOLATED:
        give(s, begin, end);
        return;
    case ELM_SPLIT_REMOVED:
        if (!match) give(s, begin, end);
        return;
    case ELM_SPLIT_CONTIGUOUS:
        joins = held && match == s->was_match;
        break;
    case ELM_SPLIT_MERGED_PREVIOUS:
        joins = held && match && !s->was_match;
        break;
    default:
        joins = held && !match && s->was_match;
        break; /* merged with next */
    }
    if (joins) {
        s->end = end;
    } else {
        give_held(s);
        s->begin = begin;
        s->end = end;
    }
    s->was_match = match;
}

static void split(elm_encoding *e, const elm_disk_step *step, elm_span text, bool first,
                  uint32_t index) {
    splitting s = {e, text, first, index, (elm_split_behavior)step->b, SIZE_MAX, 0, false};
    elm_matches m = elm_matches_of(e->t, step->a, text, &e->fuel);
    size_t done = 0, begin, end;
    bool match = step->c == 0;
    while (elm_matches_next(&m, &begin, &end)) {
        if (done != begin) event(&s, done, begin, !match);
        event(&s, begin, end, match);
        done = end;
    }
    if (done != text.size) event(&s, done, text.size, !match);
    give_held(&s);
}

static bool begins_with(elm_span text, elm_span with) {
    return text.size >= with.size && memcmp(text.data, with.data, with.size) == 0;
}

static elm_span metaspace(elm_encoding *e, const elm_disk_step *step, elm_span text, bool first,
                          elm_buf *out) {
    elm_span mark = elm_step_text(e->t, step);
    bool prepend = step->a == ELM_PREPEND_ALWAYS || (step->a == ELM_PREPEND_FIRST && first);
    out->size = 0;
    if (prepend && text.data[0] != ' ' && !begins_with(text, mark))
        elm_buf_append(out, mark.data, mark.size);
    for (size_t at = 0; at < text.size;) {
        const uint8_t *space = memchr(text.data + at, ' ', text.size - at);
        size_t end = space ? (size_t)(space - text.data) : text.size;
        elm_buf_append(out, text.data + at, end - at);
        if (space) elm_buf_append(out, mark.data, mark.size);
        at = end + 1;
    }
    return elm_buf_span(out);
}

static void next_step(elm_encoding *e, elm_span piece, bool first, uint32_t index) {
    for (; index < e->t->first_decoder; index++) {
        const elm_disk_step *step = &e->t->steps[index];
        elm_buf *out = &e->pieces[index];
        if (step->kind == ELM_STEP_SPLIT) {
            split(e, step, piece, first, index);
            return;
        }
        if (step->kind == ELM_STEP_METASPACE) {
            piece = metaspace(e, step, piece, first, out);
        } else if (piece.data[0] != ' ') { /* a space in front */
            out->size = 0;
            elm_buf_u8(out, ' ');
            elm_buf_append(out, piece.data, piece.size);
            piece = elm_buf_span(out);
        }
        if (out->status != ELM_OK || piece.size == 0) return;
    }
    elm_model_encode(e, piece);
}

void elm_pretokenize(elm_encoding *e, elm_span segment, bool first) {
    if (segment.size > 0) next_step(e, segment, first, e->t->first_splitter);
}
