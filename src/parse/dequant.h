/* dequant.h - source elements to float32, with the formulas and the order of operations of ggml;
 * parse. */
#ifndef ELM_PARSE_DEQUANT_H
#define ELM_PARSE_DEQUANT_H

#include "parse/checkpoint.h"

/* Converts n_blocks blocks of a type; out holds n_blocks * block_elements floats. */
void elm_dequantize(elm_source_type type, const uint8_t *blocks, size_t n_blocks, float *out);

/* Whether a block is one float16 scale times integers of 8 bits, so that Q8_0 holds it exactly. */
bool elm_source_fits_q8_0(elm_source_type type);
/* Blocks of such a type as those of Q8_0: out[n_blocks * block_elements / 32][34]. */
void elm_blocks_as_q8_0(elm_source_type type, const uint8_t *blocks, size_t n_blocks, uint8_t *out);

#endif
