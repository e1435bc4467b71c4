/* pretokenize.h - the pre-tokenizer steps, then the model for every piece; text. */
#ifndef ELM_TEXT_PRETOKENIZE_H
#define ELM_TEXT_PRETOKENIZE_H

#include "text/encoding.h"

/* Encodes one segment (normalised, without added tokens). `first`: it begins with what the whole
 * text begins with. */
void elm_pretokenize(elm_encoding *e, elm_span segment, bool first);

#endif
