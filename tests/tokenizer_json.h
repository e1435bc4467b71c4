/* tokenizer_json.h - small tokenizer.json files from C, and the TOKENIZER section that they become. For tests. */
#ifndef TESTS_TOKENIZER_JSON_H
#define TESTS_TOKENIZER_JSON_H

#include "parse/tokenizer_build.h"

/* Byte-level BPE with every kind of table but scores and pieces. */
#define BYTE_LEVEL_HEAD                                                                         \
    "{\"added_tokens\": [{\"id\": 3, \"content\": \"<s>\", \"special\": true, \"normalized\": " \
    "false}, "                                                                                  \
    "{\"id\": 4, \"content\": \"<t>\", \"lstrip\": true, \"rstrip\": true, \"single_word\": "   \
    "true}], "
#define BYTE_LEVEL_STEPS                                                                           \
    "\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFC\"}, {\"type\": "  \
    "\"Replace\", "                                                                                \
    "\"pattern\": {\"String\": \"x\"}, \"content\": \"y\"}]}, \"pre_tokenizer\": {\"type\": "      \
    "\"Sequence\", "                                                                               \
    "\"pretokenizers\": [{\"type\": \"Split\", \"pattern\": {\"Regex\": \"a+|\\\\p{L}\"}, "        \
    "\"behavior\": "                                                                               \
    "\"Isolated\", \"invert\": false}, {\"type\": \"ByteLevel\", \"add_prefix_space\": false, "    \
    "\"use_regex\": "                                                                              \
    "false}]}, \"decoder\": {\"type\": \"ByteLevel\"}, \"post_processor\": {\"type\": "            \
    "\"TemplateProcessing\", "                                                                     \
    "\"single\": [{\"SpecialToken\": {\"id\": \"<s>\", \"type_id\": 0}}, {\"Sequence\": {\"id\": " \
    "\"A\", "                                                                                      \
    "\"type_id\": 0}}, {\"SpecialToken\": {\"id\": \"<s>\", \"type_id\": 0}}], \"pair\": [], "     \
    "\"special_tokens\": {\"<s>\": {\"id\": \"<s>\", \"ids\": [3], \"tokens\": [\"<s>\"]}}}, "
#define BYTE_LEVEL_MODEL                                                                           \
    "\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2}, \"merges\": [\"a " \
    "b\"]}}"
#define BYTE_LEVEL_JSON BYTE_LEVEL_HEAD BYTE_LEVEL_STEPS BYTE_LEVEL_MODEL

#define UNIGRAM_JSON                                                                               \
    "{\"added_tokens\": [], \"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": \"_\", " \
    "\"prepend_scheme\": \"always\", \"split\": true}, \"decoder\": {\"type\": \"Metaspace\", "    \
    "\"replacement\": "                                                                            \
    "\"_\", \"prepend_scheme\": \"always\", \"split\": true}, \"model\": {\"type\": \"Unigram\", " \
    "\"unk_id\": 0, "                                                                              \
    "\"vocab\": [[\"<unk>\", 0], [\"_\", -1.5], [\"a\", -2], [\"_a\", -2.5]]}}"

static inline elm_status tokenizer_from_json(const elm_allocator *alloc, const char *json,
                                             elm_buf *blob, elm_error *err) {
    elm_arena arena;
    const elm_json *root = NULL;
    elm_arena_init(&arena, elm_allocator_default(), 0);
    elm_status status =
        elm_json_parse(elm_span_str(json), "tokenizer.json", NULL, &arena, &root, err);
    if (status == ELM_OK) status = elm_tokenizer_build_hf(alloc, root, blob, err);
    elm_arena_free(&arena);
    return status;
}

#endif
