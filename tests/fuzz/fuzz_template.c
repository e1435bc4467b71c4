/* fuzz_template.c - a chat template, a zero byte, the JSON of its variables: every part covers the
 * text it should, and what cannot be done is said. */
#include <stdlib.h>

#include "text/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char variables[] =
    "{\"messages\": [{\"role\": \"user\", \"content\": \"h\xc3\xa9 <|x|>\"}, {\"role\": "
    "\"assistant\", \"content\": null, "
    "\"tool_calls\": [{\"function\": {\"name\": \"f\", \"arguments\": {\"a\": [1, 2.5, "
    "true]}}}]}], \"tools\": [{\"function\": "
    "{\"name\": \"f\"}}], \"add_generation_prompt\": true, \"bos_token\": \"<s>\"}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const elm_template_options options = {.fuel = 200000, .now_unix_s = 1700000000};
    const uint8_t *zero = size > 0 ? memchr(data, 0, size) : NULL;
    elm_span source = elm_span_of(data, zero ? (size_t)(zero - data) : size);
    elm_span json = zero ? elm_span_of(zero + 1, size - source.size - 1) : elm_span_str(variables);
    elm_error err = {0};
    elm_template *t = NULL;
    elm_status status = elm_template_parse(elm_allocator_default(), source, &t, &err);
    if (status != ELM_OK) {
        if (t || err.message[0] == 0) abort();
        return 0;
    }
    elm_arena arena;
    elm_parts parts;
    const elm_json *context = NULL;
    elm_arena_init(&arena, elm_allocator_default(), 16 << 20);
    elm_parts_init(&parts, elm_allocator_default(), ELM_TEMPLATE_MAX_OUTPUT_BYTES);
    if (elm_json_parse(json, "variables", NULL, &arena, &context, &err) == ELM_OK) {
        status = elm_template_render(t, context, &options, &parts, &err);
        if (status != ELM_OK && err.message[0] == 0) abort();
        size_t end = 0;
        for (size_t i = 0; status == ELM_OK && i < elm_parts_count(&parts); i++) {
            const elm_part *p = elm_parts_at(&parts, i);
            if (p->begin != end || p->end <= p->begin) abort();
            end = p->end;
        }
        if (status == ELM_OK && end != parts.text.size) abort();
    }
    elm_parts_free(&parts);
    elm_arena_free(&arena);
    elm_template_free(t);
    return 0;
}
