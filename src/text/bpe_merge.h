/* bpe_merge.h - merging the symbols of a part, the pair with the lowest key first; text. */
#ifndef ELM_TEXT_BPE_MERGE_H
#define ELM_TEXT_BPE_MERGE_H

#include "text/encoding.h"

/* A symbol before merging. */
typedef struct elm_symbol {
    int32_t id;     /* -1: a character that the vocabulary does not have (by score only) */
    uint32_t begin; /* first byte in the part */
} elm_symbol;

/* What symbols become. */
typedef struct elm_merged {
    int32_t id; /* by rank; by score it is known by its text */
    uint32_t begin;
    uint32_t first; /* its first symbol */
} elm_merged;

/* Called with the next tokens of the part; they end where `end` says, in bytes. */
typedef void (*elm_merged_fn)(elm_encoding *e, elm_span part, const elm_merged *tokens, uint32_t n,
                              uint32_t end);

/* Merges symbols [0, n) of e->symbols, which are all of the part. Failures are latched in the
 * buffers of `e`. */
void elm_bpe_merge(elm_encoding *e, elm_span part, uint32_t n, elm_merged_fn emit);

#endif
