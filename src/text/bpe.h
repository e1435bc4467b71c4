/* bpe.h - one piece of text to ids: merges by rank, or by score as SentencePiece does; text. */
#ifndef ELM_TEXT_BPE_H
#define ELM_TEXT_BPE_H

#include "text/tokenizer_blob.h"

/* Symbols of a piece, reused from piece to piece. */
typedef struct elm_bpe {
    const elm_tokenizer *t;
    elm_buf symbols; /* linked list over the piece */
    elm_buf heap;    /* candidate merges */
    elm_buf *ids;
} elm_bpe;

void elm_bpe_init(elm_bpe *b, const elm_tokenizer *t, elm_buf *ids);
void elm_bpe_free(elm_bpe *b);
/* Appends the ids of one piece (normalised text, not empty). Failures are latched in the buffers.
 */
void elm_bpe_piece(elm_bpe *b, elm_span piece);

#endif
