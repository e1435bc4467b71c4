/* tokenizer_patterns.h - the patterns that tokenizers have without saying so in their files; parse.
 */
#ifndef ELM_PARSE_TOKENIZER_PATTERNS_H
#define ELM_PARSE_TOKENIZER_PATTERNS_H

#include "base/span.h"

/* What ByteLevel splits by. */
extern const char elm_pattern_gpt2[];

enum { ELM_MAX_PRE_PATTERNS = 6 };

/* What a GGUF's tokenizer.ggml.pre stands for: the split patterns in their order (all isolated),
 * and the rest of the pipeline. */
typedef struct elm_pre_tokenizer {
    const char *patterns[ELM_MAX_PRE_PATTERNS]; /* NULL: no more */
    bool nfc;
    bool ignore_merges;
} elm_pre_tokenizer;

/* NULL when the name is not known. An empty name is GPT-2's. */
const elm_pre_tokenizer *elm_pre_tokenizer_find(elm_span name);

#endif
