/* tokenizer_spec.h - a tokenizer on its way from JSON or GGUF to the blob; parse. */
#ifndef ELM_PARSE_TOKENIZER_SPEC_H
#define ELM_PARSE_TOKENIZER_SPEC_H

#include "base/arena.h"
#include "text/matcher.h"

typedef struct elm_tokenizer_spec {
    elm_arena arena;
    uint32_t model, flags, n_ids;
    int32_t unk_id;
    elm_span *spellings;  /* [n_ids], empty: no token */
    uint8_t *token_flags; /* [n_ids] */
    uint32_t *merges;     /* [n_merges][3] */
    uint32_t n_merges;
    float *scores; /* NULL, or [n_ids] */
    int32_t byte_ids[256];
    elm_disk_step steps[ELM_MAX_STEPS];
    uint32_t n_steps;
    int32_t prefix[16], suffix[16];
    uint32_t n_prefix, n_suffix;
    elm_buf items, ranges, texts;
} elm_tokenizer_spec;

elm_status elm_tokenizer_spec_init(elm_tokenizer_spec *s, const elm_allocator *alloc,
                                   uint32_t n_ids, elm_error *err) ELM_MUST_CHECK;
void elm_tokenizer_spec_free(elm_tokenizer_spec *s);

/* Appends a step with its texts. */
elm_status elm_spec_step(elm_tokenizer_spec *s, elm_step_kind kind, uint32_t a, uint32_t b,
                         elm_span text, elm_span text2, elm_error *err) ELM_MUST_CHECK;

/* Compiles a regular expression of tokenizer.json into a program; *first_item is where it begins.
 * What the matcher cannot run exactly is ELM_UNSUPPORTED, quoting the pattern. */
elm_status elm_spec_pattern(elm_tokenizer_spec *s, elm_span pattern, uint32_t *first_item,
                            elm_error *err) ELM_MUST_CHECK;
/* A program that matches a literal text. */
elm_status elm_spec_literal(elm_tokenizer_spec *s, elm_span text, uint32_t *first_item,
                            elm_error *err) ELM_MUST_CHECK;

/* The GPT-2 pattern, which ByteLevel uses when it splits by itself. */
extern const char elm_pattern_gpt2[];

/* The bytes behind the printable stand-ins of a byte-level spelling; false when one is none of
 * them. */
bool elm_byte_level_decode(elm_span spelling, uint8_t *out, size_t *n);

/* Writes the blob of tokenizer_blob.h. */
elm_status elm_tokenizer_spec_write(elm_tokenizer_spec *s, elm_buf *blob,
                                    elm_error *err) ELM_MUST_CHECK;

#endif
