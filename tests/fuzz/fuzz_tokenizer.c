/* fuzz_tokenizer.c - a tokenizer.json, a zero byte, a text: what converts must open, encode in
 * parts, and decode to text. Without a zero byte the input is a TOKENIZER section. */
#include <stdlib.h>

#include "base/utf8.h"
#include "parse/tokenizer_build.h"
#include "text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MAX_BLOB = 64 << 20, MAX_JSON = 64 << 20 };

static void decode(const elm_tokenizer *t, const elm_buf *ids) {
    elm_detokenizer d = {0};
    elm_buf text;
    const int32_t *id = (const int32_t *)(const void *)ids->data;
    elm_buf_init(&text, elm_allocator_default(), MAX_BLOB);
    for (size_t i = 0; i < ids->size / 4; i++) {
        size_t before = text.size;
        elm_detokenizer_push(t, &d, id[i], false, &text);
        if (text.size == before) continue;
        elm_span piece = elm_span_of(text.data + before, text.size - before);
        if (elm_utf8_valid_prefix(piece) != piece.size) abort();
    }
    elm_detokenizer_finish(t, &d, &text);
    elm_buf_free(&text);
}

static void encode(const elm_tokenizer *t, elm_span text) {
    elm_buf ids;
    elm_parts parts;
    elm_tokenizer_info info;
    elm_error err = {0};
    elm_tokenizer_get_info(t, &info);
    elm_buf_init(&ids, elm_allocator_default(), MAX_BLOB);
    elm_parts_init(&parts, elm_allocator_default(), MAX_BLOB);
    elm_parts_append(&parts, elm_span_of(text.data, text.size / 2), ELM_PART_TEMPLATE);
    elm_parts_append(&parts, elm_span_of(text.data + text.size / 2, text.size - text.size / 2),
                     ELM_PART_INPUT);
    elm_status status = elm_tokenizer_encode(t, &parts, true, &ids, &err);
    const int32_t *id = (const int32_t *)(const void *)ids.data;
    for (size_t i = 0; status == ELM_OK && i < ids.size / 4; i++) {
        if (id[i] < 0 || (uint32_t)id[i] >= info.n_ids) abort();
    }
    if (status == ELM_OK) decode(t, &ids);
    elm_parts_free(&parts);
    elm_buf_free(&ids);
}

/* All input is a special token's chance: none may come out. */
static void forge(const elm_tokenizer *t, elm_span text) {
    elm_buf ids;
    elm_error err = {0};
    elm_buf_init(&ids, elm_allocator_default(), MAX_BLOB);
    elm_status status = elm_tokenizer_encode_text(t, text, ELM_PART_INPUT, false, &ids, &err);
    elm_tokenizer_info info;
    elm_tokenizer_get_info(t, &info);
    const int32_t *id = (const int32_t *)(const void *)ids.data;
    for (size_t i = 0; status == ELM_OK && i < ids.size / 4; i++) {
        if (elm_tokenizer_is_special(t, id[i]) && id[i] != info.unk_id) abort();
    }
    elm_buf_free(&ids);
}

static elm_status build(elm_span json, elm_buf *blob, elm_error *err) {
    elm_arena arena;
    const elm_json *root = NULL;
    elm_arena_init(&arena, elm_allocator_default(), MAX_JSON);
    elm_status status = elm_json_parse(json, "tokenizer.json", NULL, &arena, &root, err);
    if (status == ELM_OK) status = elm_tokenizer_build_hf(elm_allocator_default(), root, blob, err);
    elm_arena_free(&arena);
    return status;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const uint8_t *zero = size > 0 ? memchr(data, 0, size) : NULL;
    elm_span text = zero && data[0] == '{'
                        ? elm_span_of(zero + 1, size - (size_t)(zero + 1 - data))
                        : elm_span_str("Hello <s> w\xc3\xb6rld\xe2\x96\x81 1234\n");
    bool is_json = zero && data[0] == '{';
    elm_error err = {0};
    elm_tokenizer *t = NULL;
    elm_buf blob;
    elm_buf_init(&blob, elm_allocator_default(), MAX_BLOB);
    elm_status status = ELM_OK;
    if (is_json)
        status = build(elm_span_of(data, (size_t)(zero - data)), &blob, &err);
    else
        elm_buf_append(&blob, data, size); /* aligned, as a mapped section is */
    if (status == ELM_OK)
        status = elm_tokenizer_open(elm_allocator_default(), elm_buf_span(&blob), &t, &err);
    if (status != ELM_OK && err.message[0] == 0) abort();
    if (status == ELM_OK) {
        encode(t, text);
        if (is_json) forge(t, text);
    }
    elm_tokenizer_close(t);
    elm_buf_free(&blob);
    return 0;
}
