/* tokenizer.h - text to ids and back, over tables that lie mapped in the .elm file.
 *
 * The general pipeline of Hugging Face tokenizers: added tokens, normalizer, pre-tokenizer, model
 * (BPE by ranks, BPE by scores as SentencePiece merges, Unigram), post-processor, decoder. Which
 * steps run is data in the blob (layout: docs/elm-format-tokenizer.md); no branch on a
 * family's name. Opening parses nothing: it checks the tables' bounds and keeps pointers.
 * Immutable, many threads. */
#ifndef ELM_TEXT_TOKENIZER_H
#define ELM_TEXT_TOKENIZER_H

#include "text/parts.h"

typedef struct elm_tokenizer elm_tokenizer;

enum { ELM_NO_TOKEN = -1 };

/* Opens a blob, which is borrowed and must outlive the tokenizer. Damage is ELM_MALFORMED. */
elm_status elm_tokenizer_open(const elm_allocator *alloc, elm_span blob, elm_tokenizer **out,
                              elm_error *err) ELM_MUST_CHECK;
void elm_tokenizer_close(elm_tokenizer *t);

typedef struct elm_tokenizer_info {
    uint32_t n_ids; /* one more than the largest id of the vocabulary or an added token */
    int32_t bos_id; /* the first id that the post-processor puts before a text, or ELM_NO_TOKEN */
    int32_t eos_id; /* the first id that it puts after one, or ELM_NO_TOKEN */
    int32_t unk_id;
    const char *kind; /* "bpe", "spm", "unigram" */
} elm_tokenizer_info;

void elm_tokenizer_get_info(const elm_tokenizer *t, elm_tokenizer_info *out);

/* Encodes valid UTF-8 and appends int32 ids to `ids` (native byte order). Bad UTF-8 is
 * ELM_MALFORMED with its byte offset. Special tokens are read in template parts only; added tokens
 * that are not special are read everywhere. add_special applies the post-processor (BOS ...). Equal
 * to Hugging Face `tokenizers` on the joined text when all of it is template. Uses scratch from the
 * tokenizer's allocator, a few times the text's size; none per token. */
elm_status elm_tokenizer_encode(const elm_tokenizer *t, const elm_parts *parts, bool add_special,
                                elm_buf *ids, elm_error *err) ELM_MUST_CHECK;

/* The same for one text of one origin. */
elm_status elm_tokenizer_encode_text(const elm_tokenizer *t, elm_span text, elm_part_origin origin,
                                     bool add_special, elm_buf *ids, elm_error *err) ELM_MUST_CHECK;

/* The stored spelling of an id (byte-level tokens in their raw bytes); empty for ids without one.
 */
elm_span elm_tokenizer_spelling(const elm_tokenizer *t, int32_t id);
bool elm_tokenizer_is_special(const elm_tokenizer *t, int32_t id);

/* Streaming decoder. Zero-initialise, then push ids; bytes of an incomplete code point are held
 * back, bytes that can never become valid come out as U+FFFD as in Hugging Face's decode. The
 * concatenation of all output, elm_detokenizer_finish included, equals the decode of all ids at
 * once. */
/* With byte fallback a run of byte tokens is text as a whole or not at all (one U+FFFD a byte), as
 * in Hugging Face's decode: it is held back until it ends; past 64 bytes what is complete goes out.
 */
typedef struct elm_detokenizer {
    uint8_t held[64];
    uint32_t n_held;
    uint32_t n_left,
        n_right;  /* stripped from the text's beginning; held back because the text may end here */
    bool started; /* a token has come: what applies to the first one only is over */
    bool left_done; /* something that is not stripped has come */
} elm_detokenizer;

/* Appends text to `out`. Special tokens give no text when skip_special. Allocates only through
 * `out`. */
void elm_detokenizer_push(const elm_tokenizer *t, elm_detokenizer *d, int32_t id, bool skip_special,
                          elm_buf *out);
void elm_detokenizer_finish(const elm_tokenizer *t, elm_detokenizer *d, elm_buf *out);

#endif
