/* model.h - a piece of text to ids: what comes behind the pre-tokenizer; text. */
#ifndef ELM_TEXT_MODEL_H
#define ELM_TEXT_MODEL_H

#include "text/encoding.h"

/* Each appends the ids of one piece, which is not empty; the piece borrows nothing of e->symbols,
 * e->heap. Time O(n log n) for the merging models, O(n) times the longest piece of the vocabulary
 * for Unigram. */
void elm_bpe_encode(elm_encoding *e, elm_span piece); /* by rank or by score */
void elm_unigram_encode(elm_encoding *e, elm_span piece);

static inline void elm_model_encode(elm_encoding *e, elm_span piece) {
    if (e->t->model == ELM_MODEL_UNIGRAM)
        elm_unigram_encode(e, piece);
    else
        elm_bpe_encode(e, piece);
}

#endif
