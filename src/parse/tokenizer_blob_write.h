/* tokenizer_blob_write.h - a tokenizer on its way from JSON or GGUF to the TOKENIZER section;
 * parse.
 *
 * A builder fills the spec, elm_tokenizer_spec_write makes the tables from it. Spans are borrowed.
 */
#ifndef ELM_PARSE_TOKENIZER_BLOB_WRITE_H
#define ELM_PARSE_TOKENIZER_BLOB_WRITE_H

#include "base/arena.h"
#include "parse/charset.h"
#include "text/matcher.h"

enum { ELM_PATTERN_SETS = 9 };

typedef struct elm_tokenizer_spec {
    elm_arena arena;
    uint32_t model, flags, n_ids;
    int32_t unk_id;
    bool
        ignore_merges; /* a piece that is in the vocabulary is one token, whatever the merges say */
    elm_span *spellings;  /* [n_ids], empty: no token; what decoding gives */
    uint8_t *token_flags; /* [n_ids] ELM_TOKEN_*, but for WHOLE */
    uint8_t *in_model;    /* [n_ids] 1: the model finds the token by its spelling */
    elm_span *normalized; /* [n_ids] of added tokens that are matched in normalised text: what is
                             matched */
    uint32_t *merges;     /* [n_merges][3] */
    uint32_t n_merges;
    double *scores; /* NULL, or [n_ids] */
    double unk_score;
    int32_t byte_ids[256];
    elm_disk_step steps[ELM_MAX_STEPS];
    uint32_t n_steps;
    int32_t prefix[ELM_MAX_AROUND], suffix[ELM_MAX_AROUND];
    uint32_t n_prefix, n_suffix;
    elm_buf items, classes, ranges, texts;
    elm_charset
        *sets; /* [ELM_PATTERN_SETS] of the pattern compiler, NULL before the first pattern */
} elm_tokenizer_spec;

elm_status elm_tokenizer_spec_init(elm_tokenizer_spec *s, const elm_allocator *alloc,
                                   uint32_t n_ids, elm_error *err) ELM_MUST_CHECK;
void elm_tokenizer_spec_free(elm_tokenizer_spec *s);

/* Appends a step; the texts are copied. */
elm_status elm_spec_step(elm_tokenizer_spec *s, elm_disk_step step, elm_span text, elm_span text2,
                         elm_error *err) ELM_MUST_CHECK;

/* The number of the class of these code points. */
elm_status elm_spec_class(elm_tokenizer_spec *s, const elm_charset *set, uint32_t *out,
                          elm_error *err) ELM_MUST_CHECK;

/* The bytes behind the printable stand-ins of a byte-level spelling (at most spelling.size); false
 * when a character is none of them. */
bool elm_byte_level_decode(elm_span spelling, uint8_t *out, size_t *n);

/* Whether a token is spelled <0xXX>: upper case only, or either (as decoding takes it). */
bool elm_is_byte_token(elm_span spelling, bool either_case, uint8_t *byte);

/* An index from spellings to numbers, over memory of an arena. */
typedef struct elm_spelling_index {
    uint32_t *slots, mask; /* number + 1 */
    const elm_span *spellings;
} elm_spelling_index;

elm_status elm_spelling_index_make(elm_arena *arena, const elm_span *spellings, uint32_t n,
                                   elm_spelling_index *out, elm_error *err) ELM_MUST_CHECK;
/* The number of a spelling (of equal ones the last), or UINT32_MAX. */
uint32_t elm_spelling_index_find(const elm_spelling_index *x, elm_span spelling);

/* Writes the section of docs/elm-format-tokenizer.md; `blob` must be empty. Normalised added tokens
 * are run through the normalizer here; every token is tried, to mark those that a piece becomes as
 * a whole. */
elm_status elm_tokenizer_spec_write(elm_tokenizer_spec *s, elm_buf *blob,
                                    elm_error *err) ELM_MUST_CHECK;

#endif
