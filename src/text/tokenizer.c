/* tokenizer.c - the encode call from end to end, and questions about ids; text. */
#include "base/utf8.h"
#include "text/added_tokens.h"
#include "text/encoding.h"
#include "text/normalize.h"
#include "text/pretokenize.h"

enum { FUEL_LEAST = 1 << 16, FUEL_PER_BYTE = 512 }; /* steps of the pattern programs */

typedef struct source {
    elm_span text;
    const elm_parts *parts; /* NULL: all of one origin */
    elm_part_origin origin;
    const uint8_t *marks; /* per byte; NULL: not needed, or nothing is the template's */
} source;

/* A segment between raw added tokens: [begin, end) of the text. */
static void encode_segment(elm_encoding *e, const source *s, size_t begin, size_t end) {
    if (begin >= end) return;
    elm_marked segment = {elm_span_of(s->text.data + begin, end - begin),
                          s->marks ? s->marks + begin : NULL, false};
    segment = elm_normalize(e, segment);
    elm_added_scan scan = elm_added_scan_of(e->t, true, segment.text);
    scan.all_template = !s->parts && s->origin == ELM_PART_TEMPLATE;
    scan.marks = segment.marks;
    for (elm_added_part part = {0, 0, 0}; part.id != ELM_NO_TOKEN;) {
        part = elm_added_scan_next(&scan);
        elm_pretokenize(e, elm_span_of(segment.text.data + part.begin, part.end - part.begin),
                        begin == 0 && part.begin == 0 && !segment.beheaded);
        if (part.id != ELM_NO_TOKEN) elm_encoding_emit(e, part.id);
    }
}

static void encode(elm_encoding *e, const source *s) {
    elm_added_scan scan = elm_added_scan_of(e->t, false, s->text);
    scan.parts = s->parts;
    scan.all_template = !s->parts && s->origin == ELM_PART_TEMPLATE;
    for (elm_added_part part = {0, 0, 0}; part.id != ELM_NO_TOKEN;) {
        part = elm_added_scan_next(&scan);
        encode_segment(e, s, part.begin, part.end);
        if (part.id != ELM_NO_TOKEN) elm_encoding_emit(e, part.id);
    }
}

static void mark_parts(const source *s, elm_buf *marks) {
    if (!elm_buf_reserve(marks, s->text.size)) return;
    for (size_t i = 0; i < elm_parts_count(s->parts); i++) {
        const elm_part *p = elm_parts_at(s->parts, i);
        uint8_t mark = p->origin == ELM_PART_TEMPLATE;
        while (marks->size < p->end && marks->size < s->text.size) elm_buf_u8(marks, mark);
    }
    while (marks->size < s->text.size) elm_buf_u8(marks, 0);
}

/* All scratch buffers, in a row. */
enum { N_SCRATCH = 12 + ELM_MAX_STEPS };
static void list_scratch(elm_encoding *e, elm_buf *out[N_SCRATCH]) {
    elm_buf *fixed[] = {&e->normal[0].text,  &e->normal[0].marks, &e->normal[1].text,
                        &e->normal[1].marks, &e->unicode.points,  &e->unicode.scratch,
                        &e->symbols,         &e->links,           &e->heap,
                        &e->tokens[0],       &e->tokens[1],       &e->pair};
    _Static_assert(sizeof fixed / sizeof fixed[0] == N_SCRATCH - ELM_MAX_STEPS, "all of them");
    memcpy(out, fixed, sizeof fixed);
    for (int i = 0; i < ELM_MAX_STEPS; i++) out[N_SCRATCH - ELM_MAX_STEPS + i] = &e->pieces[i];
}

void elm_encoding_init(elm_encoding *e, const elm_tokenizer *t, elm_buf *ids, size_t text_bytes) {
    elm_buf *scratch[N_SCRATCH];
    memset(e, 0, sizeof *e);
    e->t = t;
    e->ids = ids;
    e->fuel = FUEL_LEAST + (uint64_t)FUEL_PER_BYTE * text_bytes;
    list_scratch(e, scratch);
    for (int i = 0; i < N_SCRATCH; i++) elm_buf_init(scratch[i], t->alloc, SIZE_MAX / 16);
}

elm_status elm_encoding_finish(elm_encoding *e, elm_error *err) {
    elm_status status = elm_buf_check(e->ids, "the ids", err);
    elm_buf *scratch[N_SCRATCH];
    list_scratch(e, scratch);
    for (int i = 0; i < N_SCRATCH; i++) {
        if (status == ELM_OK)
            status = elm_buf_check(scratch[i], "the tokenizer's scratch memory", err);
        elm_buf_free(scratch[i]);
    }
    if (status == ELM_OK && e->fuel == 0) {
        status = elm_fail(err, ELM_LIMIT, "a pattern of the tokenizer takes too long on this text");
    }
    return status;
}

static elm_status run(const elm_tokenizer *t, source *s, bool add_special, elm_buf *ids,
                      elm_error *err) {
    elm_encoding e;
    elm_buf marks;
    if (s->text.size > ELM_MAX_TEXT_BYTES) {
        return elm_fail(err, ELM_LIMIT, "a text of %zu bytes; at most %d", s->text.size,
                        ELM_MAX_TEXT_BYTES);
    }
    size_t valid = elm_utf8_valid_prefix(s->text);
    if (valid != s->text.size) {
        return elm_fail(err, ELM_MALFORMED, "the text is not UTF-8 at byte %zu (0x%02x)", valid,
                        s->text.data[valid]);
    }
    elm_buf_init(&marks, t->alloc, ELM_MAX_TEXT_BYTES);
    if (s->parts && t->marks_needed) {
        mark_parts(s, &marks);
        if (marks.status == ELM_OK) s->marks = marks.data;
    }
    elm_status status = elm_buf_check(&marks, "marks of the text", err);
    if (status == ELM_OK) {
        elm_encoding_init(&e, t, ids, s->text.size);
        for (uint32_t i = 0; add_special && i < t->n_prefix; i++)
            elm_encoding_emit(&e, t->prefix[i]);
        encode(&e, s);
        for (uint32_t i = 0; add_special && i < t->n_suffix; i++)
            elm_encoding_emit(&e, t->suffix[i]);
        status = elm_encoding_finish(&e, err);
    }
    elm_buf_free(&marks);
    return status;
}

elm_status elm_tokenizer_encode(const elm_tokenizer *t, const elm_parts *parts, bool add_special,
                                elm_buf *ids, elm_error *err) {
    source s = {.text = elm_buf_span(&parts->text), .parts = parts};
    return run(t, &s, add_special, ids, err);
}

elm_status elm_tokenizer_encode_text(const elm_tokenizer *t, elm_span text, elm_part_origin origin,
                                     bool add_special, elm_buf *ids, elm_error *err) {
    source s = {.text = text, .origin = origin};
    return run(t, &s, add_special, ids, err);
}

/* ---- ids ---- */

void elm_tokenizer_get_info(const elm_tokenizer *t, elm_tokenizer_info *out) {
    static const char *const kinds[ELM_N_MODELS] = {"bpe", "spm", "unigram"};
    out->n_ids = t->n_ids;
    out->bos_id = t->n_prefix > 0 ? t->prefix[0] : ELM_NO_TOKEN;
    out->eos_id = t->n_suffix > 0 ? t->suffix[0] : ELM_NO_TOKEN;
    out->unk_id = t->unk_id;
    out->kind = kinds[t->model];
}

elm_span elm_tokenizer_spelling(const elm_tokenizer *t, int32_t id) {
    if (id < 0 || (uint32_t)id >= t->n_ids) return elm_span_of(NULL, 0);
    uint32_t begin = t->spelling_offsets[id], end = t->spelling_offsets[id + 1];
    if (begin > end || end > t->n_spellings) return elm_span_of(NULL, 0);
    return elm_span_of(t->spellings + begin, end - begin);
}

bool elm_tokenizer_is_special(const elm_tokenizer *t, int32_t id) {
    return id >= 0 && (uint32_t)id < t->n_ids && (t->token_flags[id] & ELM_TOKEN_SPECIAL) != 0;
}
