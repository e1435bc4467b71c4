/* utf8.h - strict UTF-8 (RFC 3629: no overlong forms, no surrogates, nothing past U+10FFFF). */
#ifndef ELM_BASE_UTF8_H
#define ELM_BASE_UTF8_H

#include "base/span.h"

/* Decodes the code point at the start of `s`. Returns its length 1..4, 0 when `s` is empty or is a
 * valid but incomplete beginning, -1 when it is malformed. *out is written on success only. */
int elm_utf8_decode(elm_span s, uint32_t *out);

/* Writes 1..4 bytes for a code point that is valid; returns the length. */
int elm_utf8_encode(uint32_t code_point, uint8_t out[4]);

/* Offset of the first byte that makes `s` invalid (a truncated tail counts), or s.size when valid.
 */
size_t elm_utf8_valid_prefix(elm_span s);

#endif
