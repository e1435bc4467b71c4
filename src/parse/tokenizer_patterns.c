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

/* Letters with an upper or a lower case, as of the Unicode that DeepSeek's file was written by. */
static const char deepseek_words[] =
    "\\s?"
    "[A-Za-z\\u00b5\\u00c0-\\u00d6\\u00d8-\\u00f6\\u00f8-\\u01ba\\u01bc-\\u01bf\\u01c4-\\u0293"
    "\\u0295-\\u02af\\u0370-\\u0373\\u0376\\u0377\\u037b-\\u037d\\u037f\\u0386\\u0388-\\u038a"
    "\\u038c\\u038e-\\u03a1\\u03a3-\\u03f5\\u03f7-\\u0481\\u048a-\\u052f\\u0531-\\u0556"
    "\\u10a0-\\u10c5\\u13a0-\\u13f5\\u13f8-\\u13fd\\u1c90-\\u1cba\\u1cbd-\\u1cbf"
    "\\u1d00-\\u1d2b\\u1d6b-\\u1d77\\u1d79-\\u1d9a\\u1e00-\\u1f15\\u1f18-\\u1f1d"
    "\\u1f20-\\u1f45\\u1f48-\\u1f4d\\u1f50-\\u1f57\\u1f59\\u1f5b\\u1f5d\\u1f5f-\\u1f7d"
    "\\u1f80-\\u1fb4\\u1fb6-\\u1fbc\\u1fbe\\u1fc2-\\u1fc4\\u1fc6-\\u1fcc\\u1fd0-\\u1fd3"
    "\\u1fd6-\\u1fdb\\u1fe0-\\u1fec\\u1ff2-\\u1ff4\\u1ff6-\\u1ffc\\u2102\\u2107"
    "\\u210a-\\u2113\\u2115\\u2119-\\u211d\\u2124\\u2126\\u2128\\u212a-\\u212d\\u212f-\\u2134"
    "\\u2139\\u213c-\\u213f\\u2145-\\u2149\\u214e\\u2183\\u2184\\u2c00-\\u2c7b\\u2c7e-\\u2ce4"
    "\\u2ceb-\\u2cee\\u2cf2\\u2cf3\\ua640-\\ua66d\\ua680-\\ua69b\\ua722-\\ua76f"
    "\\ua771-\\ua787\\ua78b-\\ua78e\\uab70-\\uabbf\\ufb00-\\ufb06\\ufb13-\\ufb17"
    "\\uff21-\\uff3a\\uff41-\\uff5a\\x{10400}-\\x{1044f}\\x{104b0}-\\x{104d3}"
    "\\x{104d8}-\\x{104fb}\\x{10c80}-\\x{10cb2}\\x{10cc0}-\\x{10cf2}\\x{118a0}-\\x{118df}"
    "\\x{1e900}-\\x{1e943}]+";
static const char deepseek_marks[] =
    "\\s?[!-/:-~\\uff01-\\uff0f\\uff1a-\\uff5e\\u2018-\\u201f\\u3000-\\u3002]+";
static const char falcon_marks[] = "[\\p{P}\\$\\+<=>\\^~\\|`]+";
static const char jais2[] = CONTRACTIONS WORDS
    "|\\p{N}{1,3}" OTHERS
    "|\\s*[\\r\\n]+|\\s{512}(?!\\S)|\\s{256}(?!\\S)|\\s{128}(?!\\S)|\\s{64}(?!\\S)|\\s{32}(?!\\S)|"
    "\\s{16}(?!\\S)|\\s{8}(?!\\S)|\\s{4}(?!\\S)|\\s{1,2}(?!\\S)|\\s{1}";
static const char digit_runs[] = CONTRACTIONS WORDS "|\\p{N}+" OTHERS SPACES;
static const char bailing[] =
    "'(?i:[sdmt]|ll|ve|re)|[^\\r\\n\\p{L}\\p{N}]?+\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]++[\\r\\n]*|"
    "\\s*[\\r\\n]|\\s+(?!\\S)|\\s+";
static const char seed[] = CONTRACTIONS WORDS "|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+" SPACES;
static const char bloom[] = " ?[^(\\s|.,!?\\u2026\\u3002\\uff0c\\u3001\\u0964\\u06d4\\u060c)]+";
static const char youtu_scripts[] =
    "[\\uac00-\\ud7a3\\u3131-\\u318e]+|[\\uff01\\u2026\\u201c\\u201d\\u2018\\u2019\\u2014\\uff1a"
    "\\uff1b\\uff0c\\u3001-\\u303f\\ufe30-\\ufe4f]+|[\\u3105-\\u312f]+|"
    "[\\u4e00-\\u9fa5\\u3040-\\u309f\\u30a0-\\u30ff]+";
static const char youtu[] = BEFORE UPPER "*" LOWER "+" CONTRACTIONS "?|" BEFORE UPPER "+" LOWER
                                         "*" CONTRACTIONS "?|\\p{N}" OTHERS_SLASH SPACES;

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
    {"gigachat", {{elm_pattern_gpt2}, false, false}},
    {"a.x-4.0", {{elm_pattern_gpt2}, false, false}},
    {"exaone4", {{elm_pattern_gpt2}, false, false}},
    {"mellum", {{elm_pattern_gpt2}, false, false}},
    {"smollm", {{"\\p{N}", elm_pattern_gpt2}, false, false}},
    {"starcoder", {{"\\p{N}", elm_pattern_gpt2}, false, false}},
    {"refact", {{"\\p{N}", elm_pattern_gpt2}, false, false}},
    {"command-r", {{"\\p{N}", elm_pattern_gpt2}, true, false}},
    {"codeshell", {{"\\p{N}", elm_pattern_gpt2}, false, false}},
    {"exaone", {{"\\p{N}", elm_pattern_gpt2}, false, false}},
    {"minerva-7b", {{"\\p{N}", elm_pattern_gpt2}, false, false}},
    {"mellum2", {{"\\p{N}", elm_pattern_gpt2}, false, false}},
    {"falcon", {{falcon_marks, elm_pattern_gpt2, "[0-9][0-9][0-9]"}, false, false}},
    {"qwen2", {{qwen2}, true, false}},
    {"deepseek-r1-qwen", {{qwen2}, true, false}},
    {"megrez", {{qwen2}, true, false}},
    {"qwen35", {{qwen35}, true, false}},
    {"hunyuan", {{qwen2}, false, false}},
    {"kormo", {{qwen2}, false, false}},
    {"grok-2", {{qwen2}, false, false}},
    {"solar-open", {{qwen2}, false, false}},
    {"laguna", {{"[^\\n]+|[\\n]+", qwen2}, false, false}},
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
    {"glm4", {{llama3}, false, false}},
    {"chatglm-bpe", {{llama3}, false, false}},
    {"jais-2", {{jais2}, false, false}},
    {"minicpm5", {{"\\p{N}{1,3}", digit_runs}, false, true}},
    {"bailingmoe", {{bailing}, false, false}},
    {"bailingmoe2", {{bailing}, false, false}},
    {"llada-moe", {{bailing}, false, false}},
    {"seed-coder", {{seed}, false, false}},
    {"bloom", {{bloom}, false, false}},
    {"poro-chat", {{bloom}, false, false}},
    {"gpt3-finnish", {{bloom}, false, false}},
    {"viking", {{bloom, "\\p{N}"}, false, false}},
    {"tekken", {{tekken}, false, true}},
    {"gpt-4o", {{gpt4o}, false, false}},
    {"llama4", {{gpt4o}, false, false}},
    {"kanana2", {{gpt4o}, false, false}},
    {"talkie", {{gpt4o}, false, false}},
    {"minimax-m2", {{gpt4o}, false, false}},
    {"youtu", {{youtu_scripts, youtu}, false, true}},
    {"hunyuan-dense", {{"\\p{N}{1,3}", kana_and_han, deepseek3}, false, false}},
    {"joyai-llm", {{"\\p{N}{1,3}", kana_and_han, deepseek3}, false, false}},
    {"deepseek-v3", {{"\\p{N}{1,3}", kana_and_han, deepseek3}, false, false}},
    {"deepseek-llm",
     {{"[\\r\\n]", deepseek_words, deepseek_marks, "\\s+$", han_and_more, "\\p{N}+"},
      false,
      false}},
    {"deepseek-coder",
     {{"[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", han_and_more, "\\p{N}"}, false, false}},
};

const elm_pre_tokenizer *elm_pre_tokenizer_find(elm_span name) {
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        if (elm_span_equal(name, elm_span_str(table[i].name))) return &table[i].pre;
    }
    return NULL;
}
