/* pattern_compile.h - regular expressions of tokenizers to pattern programs; parse.
 *
 * The syntax is Oniguruma's default (Ruby), as Hugging Face tokenizers uses it. Known: literals and
 * escapes, `.`, classes with ranges, nested classes and &&, \s \d \w \h and their opposites, \p{..}
 * of general categories, greedy, lazy and possessive repetition of one code point, groups that do
 * not repeat (but may be optional), (?i:...) of ASCII letters, lookaheads of one code point, ^ $ \A
 * \z \Z. Everything else is ELM_UNSUPPORTED, with the pattern quoted. */
#ifndef ELM_PARSE_PATTERN_COMPILE_H
#define ELM_PARSE_PATTERN_COMPILE_H

#include "parse/tokenizer_blob_write.h"

enum { ELM_MAX_PATTERN_BYTES = 8192 };

/* Appends the program to the spec; *first_item is where it begins. */
elm_status elm_spec_pattern(elm_tokenizer_spec *s, elm_span pattern, uint32_t *first_item,
                            elm_error *err) ELM_MUST_CHECK;
/* A program that matches a literal text. */
elm_status elm_spec_literal(elm_tokenizer_spec *s, elm_span text, uint32_t *first_item,
                            elm_error *err) ELM_MUST_CHECK;
/* A program that matches min..max code points of a set. */
elm_status elm_spec_set(elm_tokenizer_spec *s, const elm_charset *set, uint32_t min, uint32_t max,
                        uint32_t *first_item, elm_error *err) ELM_MUST_CHECK;

#endif
