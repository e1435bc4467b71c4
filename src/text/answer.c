/* answer.c - the streaming parser of answers; text.
 *
 * What is held back: the beginning of a marker, line feeds that a marker may follow, and a call
 * until it is whole. Its name is told before; its arguments are not handed on piece by piece, as only
 * the end of a call shows that it is one, and pieces of text that looked like arguments could not be
 * taken back. */
#include "text/answer.h"

void elm_answer_parser_init(elm_answer_parser *p, const elm_allocator *alloc,
                            const elm_answer_format *format, bool thinking, const elm_json *tools,
                            elm_answer_part_fn on_part, void *context) {
    memset(p, 0, sizeof *p);
    p->format = format;
    p->tools = tools;
    p->on_part = on_part;
    p->context = context;
    p->state = thinking ? ELM_IN_THOUGHT : ELM_IN_TEXT;
    p->at_start = true;
    elm_buf_init(&p->held, alloc, ELM_MAX_ANSWER_BYTES);
}

void elm_answer_parser_free(elm_answer_parser *p) {
    elm_buf_free(&p->held);
}

/* ---- what is held ---- */

static void drop(elm_answer_parser *p, size_t n) {
    if (n == 0) return;
    memmove(p->held.data, p->held.data + n, p->held.size - n);
    p->held.size -= n;
}

static void give(elm_answer_parser *p, elm_answer_kind kind, size_t n) {
    if (n == 0) return;
    if (kind == ELM_ANSWER_TEXT) p->any_text = true;
    p->on_part(p->context, kind, elm_span_of(p->held.data, n));
    drop(p, n);
}

static bool is_feed(uint8_t c) {
    return c == '\n' || c == '\r';
}

/* Line feeds where a part begins are the template's. */
static void drop_feeds(elm_answer_parser *p) {
    size_t n = 0;
    if (!p->at_start) return;
    while (n < p->held.size && is_feed(p->held.data[n])) n++;
    drop(p, n);
    if (p->held.size > 0) p->at_start = false;
}

/* Where `marker` begins; SIZE_MAX: nowhere. */
static size_t find(elm_span text, const char *marker, size_t from) {
    size_t n = strlen(marker);
    for (size_t at = from; n > 0 && at + n <= text.size; at++) {
        if (memcmp(text.data + at, marker, n) == 0) return at;
    }
    return SIZE_MAX;
}

/* Bytes at the end of the text that could begin the marker. */
static size_t beginning(elm_span text, const char *marker) {
    size_t n = strlen(marker);
    n = n == 0 ? 0 : n - 1 < text.size ? n - 1 : text.size;
    while (n > 0 && memcmp(text.data + text.size - n, marker, n) != 0) n--;
    return n;
}

static size_t feeds_before(elm_span text, size_t end) {
    size_t n = 0;
    while (n < end && n < ELM_MAX_HELD_FEEDS && is_feed(text.data[end - 1 - n])) n++;
    return n;
}

/* ---- states ---- */

/* Each takes what it can from the held text; true: the state has changed, go on. `last`: no more
 * text comes. */
static bool in_thought(elm_answer_parser *p, bool last) {
    drop_feeds(p);
    elm_span text = elm_buf_span(&p->held);
    const char *end = p->format->think_end;
    size_t at = find(text, end, 0);
    if (at == SIZE_MAX) {
        size_t keep = last ? 0 : beginning(text, end);
        keep += feeds_before(text, text.size - keep);
        give(p, ELM_ANSWER_THOUGHT, text.size - keep);
        return false;
    }
    size_t feeds = feeds_before(text, at);
    give(p, ELM_ANSWER_THOUGHT, at - feeds);
    drop(p, feeds + strlen(end));
    p->state = ELM_IN_TEXT;
    p->at_start = true;
    return true;
}

static bool in_text(elm_answer_parser *p, bool last) {
    const elm_answer_format *f = p->format;
    drop_feeds(p);
    elm_span text = elm_buf_span(&p->held);
    if (f->calls == ELM_CALLS_BARE && !p->any_text && text.size > 0 && text.data[0] == '{') {
        p->state = ELM_IN_CALL;
        return true;
    }
    size_t think = find(text, f->think_begin, 0), call = find(text, f->call_begin, 0);
    size_t at = think < call ? think : call;
    if (at == SIZE_MAX) {
        size_t a = beginning(text, f->think_begin), b = beginning(text, f->call_begin);
        size_t keep = last ? 0 : a > b ? a : b;
        if (!last && (f->call_begin[0] || f->think_begin[0]))
            keep += feeds_before(text, text.size - keep);
        give(p, ELM_ANSWER_TEXT, text.size - keep);
        return false;
    }
    size_t feeds = feeds_before(text, at);
    give(p, ELM_ANSWER_TEXT, at - feeds);
    drop(p, feeds + (at == think ? strlen(f->think_begin) : 0));
    p->state =
        at == think ? ELM_IN_THOUGHT : ELM_IN_CALL; /* a call keeps its marker, as it may be none */
    p->at_start = true;
    p->named = false;
    p->searched = p->n_ends = 0;
    return true;
}

/* Tells the name of a call that is still being written. */
static void give_name(elm_answer_parser *p, size_t begin) {
    size_t n = p->held.size > begin ? p->held.size - begin : 0;
    elm_span name, head;
    if (p->named) return;
    head = elm_span_of(p->held.data + begin, n < ELM_MAX_CALL_HEAD ? n : ELM_MAX_CALL_HEAD);
    bool found = n > 0 && elm_answer_call_name(p->format->calls, head, &name);
    if (found) p->on_part(p->context, ELM_ANSWER_CALL_NAME, name);
    p->named = found || n >= ELM_MAX_CALL_HEAD;
}

/* Hands on the calls in held[begin, end). False: there are none. */
static bool give_calls(elm_answer_parser *p, size_t begin, size_t end) {
    elm_buf calls;
    elm_buf_init(&calls, p->held.alloc, 2 * ELM_MAX_ANSWER_BYTES);
    bool ok =
        elm_answer_read_calls(p->format->calls, elm_span_of(p->held.data + begin, end - begin),
                              p->tools, p->held.alloc, &calls);
    for (size_t at = 0; ok && at < calls.size;) {
        size_t n = strlen((const char *)calls.data + at);
        if (p->n_calls++ < ELM_MAX_ANSWER_CALLS)
            p->on_part(p->context, ELM_ANSWER_TOOL_CALL, elm_span_of(calls.data + at, n));
        else
            p->status = ELM_LIMIT;
        at += n + 1;
    }
    if (calls.status != ELM_OK) p->status = calls.status;
    elm_buf_free(&calls);
    return ok;
}

static bool in_call(elm_answer_parser *p, bool last) {
    const elm_answer_format *f = p->format;
    elm_span text = elm_buf_span(&p->held);
    size_t begin = strlen(f->call_begin), n_end = strlen(f->call_end), end = SIZE_MAX;
    give_name(p, begin);
    /* The end marker may stand in a string of the call: then the text before it is no call. */
    while (n_end > 0 &&
           (end = find(text, f->call_end, p->searched > begin ? p->searched : begin)) != SIZE_MAX) {
        if (give_calls(p, begin, end)) {
            drop(p, end + n_end);
            p->state = ELM_IN_TEXT;
            p->at_start = true;
            return true;
        }
        p->searched = ++p->n_ends < ELM_MAX_CALL_ENDS ? end + 1 : text.size;
    }
    if (!last) {
        if (p->n_ends < ELM_MAX_CALL_ENDS) p->searched = text.size > n_end ? text.size - n_end : 0;
        return false;
    }
    if (give_calls(p, begin, text.size))
        drop(p, text.size);
    else
        give(p, ELM_ANSWER_TEXT, text.size);
    return false;
}

static void run(elm_answer_parser *p, bool last) {
    bool more = true;
    while (more && p->status == ELM_OK) {
        more = p->state == ELM_IN_THOUGHT ? in_thought(p, last)
               : p->state == ELM_IN_TEXT  ? in_text(p, last)
                                          : in_call(p, last);
    }
}

void elm_answer_push(elm_answer_parser *p, elm_span text) {
    if (p->status != ELM_OK) return;
    elm_buf_append(&p->held, text.data, text.size);
    p->status = p->held.status;
    run(p, false);
}

elm_status elm_answer_finish(elm_answer_parser *p, elm_error *err) {
    run(p, true);
    if (p->status == ELM_LIMIT)
        return elm_fail(err, ELM_LIMIT, "an answer of more than %d bytes, or %d tool calls",
                        ELM_MAX_ANSWER_BYTES, ELM_MAX_ANSWER_CALLS);
    return p->status == ELM_OK ? ELM_OK : elm_fail(err, p->status, "no memory for the answer");
}
