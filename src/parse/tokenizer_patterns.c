/* tokenizer_patterns.c - split patterns by the names that GGUF files use; parse.
 *
 * The patterns are those of the models' own tokenizer.json files; the names and their groups are
 * llama.cpp's (llama-vocab.cpp). A GGUF does not say whether the text is to be NFC: it is where
 * those files say so. */
#include "parse/tokenizer_patterns.h"

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define SPACES "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define WORDS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
#define OTHERS "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define BEFORE "[^\\r\\n\\p{L}\\p{N}]?"
#define OTHERS_SLASH "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*"

const char elm_pattern_gpt2[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

static const char qwen2[] = CONTRACTIONS WORDS "|\\p{N}" OTHERS SPACES;
static const char llama3[] = CONTRACTIONS WORDS "|\\p{N}{1,3}" OTHERS SPACES;
static const char qwen35[] = CONTRACTIONS
    "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*" SPACES;
static const char tekken[] =
    BEFORE UPPER "*" LOWER "+|" BEFORE UPPER "+" LOWER "*|\\p{N}" OTHERS_SLASH SPACES;
static const char gpt4o[] = BEFORE UPPER "*" LOWER "+" CONTRACTIONS "?|" BEFORE UPPER "+" LOWER
                                         "*" CONTRACTIONS "?|\\p{N}{1,3}" OTHERS_SLASH SPACES;
static const char kana_and_han[] =
    "[\xe4\xb8\x80-\xe9\xbe\xa5\xe3\x81\x80-\xe3\x82\x9f\xe3\x82\xa0-\xe3\x83\xbf]+";
static const char han_and_more[] =
    "[\xe4\xb8\x80-\xe9\xbe\xa5\xe0\xa0\x80-\xe4\xb8\x80\xea\xb0\x80-\xed\x9f\xbf]+";
static const char deepseek3[] =
    "[!\"#$%&'()*+,\\-./"
    ":;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|"
    " ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

static const struct {
    const char *name;
    elm_pre_tokenizer pre;
} table[] = {
    {"", {{elm_pattern_gpt2}, false, false}},
    {"gpt-2", {{elm_pattern_gpt2}, false, false}},
    {"gpt2", {{elm_pattern_gpt2}, false, false}},
    {"default", {{elm_pattern_gpt2}, false, false}},
    {"mpt", {{elm_pattern_gpt2}, true, false}},
    {"olmo", {{elm_pattern_gpt2}, true, false}},
    {"phi-2", {{elm_pattern_gpt2}, false, false}},
    {"jais", {{elm_pattern_gpt2}, false, false}},
    {"trillion", {{elm_pattern_gpt2}, false, false}},
    {"granite-docling", {{elm_pattern_gpt2}, false, false}},
    {"smollm", {{"\\p{N}", elm_pattern_gpt2}, false, false}},
    {"starcoder", {{"\\p{N}", elm_pattern_gpt2}, false, false}},
    {"refact", {{"\\p{N}", elm_pattern_gpt2}, false, false}},
    {"command-r", {{"\\p{N}", elm_pattern_gpt2}, true, false}},
    {"codeshell", {{"\\p{N}", elm_pattern_gpt2}, false, false}},
    {"exaone", {{"\\p{N}", elm_pattern_gpt2}, false, false}},
    {"minerva-7b", {{"\\p{N}", elm_pattern_gpt2}, false, false}},
    {"qwen2", {{qwen2}, true, false}},
    {"deepseek-r1-qwen", {{qwen2}, true, false}},
    {"megrez", {{qwen2}, true, false}},
    {"qwen35", {{qwen35}, true, false}},
    {"stablelm2", {{qwen2}, false, false}},
    {"llama-bpe", {{llama3}, false, true}},
    {"llama3", {{llama3}, false, true}},
    {"llama-v3", {{llama3}, false, true}},
    {"falcon3", {{llama3}, false, true}},
    {"falcon-h1", {{llama3}, false, true}},
    {"pixtral", {{llama3}, false, true}},
    {"midm-2.0", {{llama3}, false, true}},
    {"lfm2", {{llama3}, false, true}},
    {"smaug-bpe", {{llama3}, false, false}},
    {"dbrx", {{llama3}, false, false}},
    {"tekken", {{tekken}, false, true}},
    {"gpt-4o", {{gpt4o}, false, false}},
    {"llama4", {{gpt4o}, false, false}},
    {"deepseek-v3", {{"\\p{N}{1,3}", kana_and_han, deepseek3}, false, false}},
    {"deepseek-coder",
     {{"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", han_and_more, "\\p{N}"}, false, false}},
};

const elm_pre_tokenizer *elm_pre_tokenizer_find(elm_span name) {
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (elm_span_equal(name, elm_span_str(table[i].name))) return &table[i].pre;
    }
    return NULL;
}
