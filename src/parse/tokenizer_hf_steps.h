/* tokenizer_hf_steps.h - normalizer, pre-tokenizer and decoder of a tokenizer.json to steps; parse.
 */
#ifndef ELM_PARSE_TOKENIZER_HF_STEPS_H
#define ELM_PARSE_TOKENIZER_HF_STEPS_H

#include "base/json.h"
#include "parse/tokenizer_blob_write.h"

typedef struct elm_hf_builder {
    elm_tokenizer_spec s;
    const elm_json *root; /* the whole tokenizer.json */
    bool byte_level;      /* a ByteLevel pre-tokenizer is there: spellings are stand-ins of bytes */
    bool decodes_bytes;   /* a ByteLevel decoder is */
    bool byte_tokens;     /* a ByteFallback decoder is */
    bool fused;           /* the decoder sees the text as a whole from here on */
    bool stripped;        /* and strips it */
    uint32_t depth;       /* of nested sequences */
    elm_error *err;
} elm_hf_builder;

/* All three append steps, in this order. */
elm_status elm_hf_normalizer(elm_hf_builder *b, const elm_json *normalizer) ELM_MUST_CHECK;
elm_status elm_hf_pre_tokenizer(elm_hf_builder *b, const elm_json *pre_tokenizer) ELM_MUST_CHECK;
elm_status elm_hf_decoder(elm_hf_builder *b, const elm_json *decoder) ELM_MUST_CHECK;

/* Helpers for the other parts of the file. */
elm_status elm_hf_refuse(const elm_hf_builder *b, const char *what,
                         const elm_json *object); /* names object's type */
elm_span elm_hf_text(const elm_json *value);      /* empty: no string */
bool elm_hf_flag(const elm_json *object, const char *key, bool otherwise);
typedef elm_status (*elm_hf_part)(elm_hf_builder *b, const elm_json *object);
/* Calls fn for the object, or for each member of a Sequence's list; nothing for null. */
elm_status elm_hf_each(elm_hf_builder *b, const elm_json *object, const char *list_key,
                       elm_hf_part fn) ELM_MUST_CHECK;

#define ELM_HF_FILE "tokenizer.json"

#endif
