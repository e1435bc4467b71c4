/* encoding.h - what the steps of one encode call share; text.
 *
 *   text -> added tokens (raw) -> normalizer -> added tokens (normalised) -> pre-tokenizer -> model
 * -> ids
 *
 * All scratch memory hangs here and is reused from piece to piece. Failures are latched: in the
 * buffers, or in `fuel`, which is 0 when a pattern took too long. */
#ifndef ELM_TEXT_ENCODING_H
#define ELM_TEXT_ENCODING_H

#include "text/tokenizer_blob.h"
#include "text/unicode.h"

/* Text, and for each of its bytes whether the template wrote it (NULL: not known, so nothing is);
 * and whether a normalizer has taken away what it began with. */
typedef struct elm_marked {
    elm_span text;
    const uint8_t *marks;
    bool beheaded;
} elm_marked;

/* A growing elm_marked. */
typedef struct elm_marked_buf {
    elm_buf text, marks;
    bool beheaded;
} elm_marked_buf;

typedef struct elm_encoding {
    const elm_tokenizer *t;
    elm_buf *ids;
    uint64_t fuel;            /* of the pattern programs */
    elm_marked_buf normal[2]; /* a normalizer step reads one and writes the other */
    elm_unicode_work unicode;
    elm_buf pieces[ELM_MAX_STEPS];                 /* what a pre-tokenizer step made of a piece */
    elm_buf symbols, links, heap, tokens[2], pair; /* of the model */
} elm_encoding;

void elm_encoding_init(elm_encoding *e, const elm_tokenizer *t, elm_buf *ids, size_t text_bytes);
/* Frees the scratch memory and returns the first failure. */
elm_status elm_encoding_finish(elm_encoding *e, elm_error *err) ELM_MUST_CHECK;

static inline void elm_encoding_emit(elm_encoding *e, int32_t id) {
    elm_buf_append(e->ids, &id, sizeof id);
}

#endif
