/* dequant.h - source elements to float32, with the formulas and the order of operations of ggml;
 * parse. */
#ifndef ELM_PARSE_DEQUANT_H
#define ELM_PARSE_DEQUANT_H

#include "parse/checkpoint.h"

/* Converts n_blocks blocks of a type; out holds n_blocks * block_elements floats. */
void elm_dequantize(elm_source_type type, const uint8_t *blocks, size_t n_blocks, float *out);

#endif
