/* fuzz_answer.c - byte 0: the form of calls, byte 1: how the text is cut; the rest is an answer. It
 * is read whole and in pieces: both give the same, and every call is JSON with a name and
 * arguments. */
#include <stdlib.h>

#include "base/utf8.h"
#include "text/answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct parts {
    elm_buf of[ELM_N_ANSWER_KINDS];
} parts;

static void take(void *context, elm_answer_kind kind, elm_span text) {
    parts *p = context;
    if (text.size == 0 || elm_utf8_valid_prefix(text) != text.size) abort();
    if (kind == ELM_ANSWER_TOOL_CALL) {
        elm_arena arena;
        const elm_json *call = NULL, *arguments;
        elm_arena_init(&arena, elm_allocator_default(), 0);
        if (elm_json_parse(text, "call", NULL, &arena, &call, NULL) == ELM_OK) {
            arguments = elm_json_find(call, "arguments");
            if (!elm_json_find(call, "name") || !arguments || arguments->type != ELM_JSON_OBJECT)
                abort();
        } else {
            abort();
        }
        elm_arena_free(&arena);
    }
    elm_buf_append(&p->of[kind], text.data, text.size);
}

static void read_answer(const elm_answer_format *f, bool thinking, elm_span text, size_t step,
                        parts *out) {
    elm_answer_parser p;
    elm_error err = {0};
    for (int i = 0; i < ELM_N_ANSWER_KINDS; i++)
        elm_buf_init(&out->of[i], elm_allocator_default(), 64 << 20);
    elm_answer_parser_init(&p, elm_allocator_default(), f, thinking, NULL, take, out);
    for (size_t at = 0, end; at < text.size; at = end) {
        end = at + step < text.size ? at + step : text.size;
        while (end < text.size && (text.data[end] & 0xc0) == 0x80) end++; /* whole code points */
        elm_answer_push(&p, elm_span_of(text.data + at, end - at));
    }
    if (elm_answer_finish(&p, &err) != ELM_OK && err.message[0] == 0) abort();
    elm_answer_parser_free(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const templates[] = {"</think><tool_call><function=<parameter=",
                                            "</think><tool_call></tool_call>arguments",
                                            "<|channel>thought<|tool_call>call:<tool_call|>",
                                            "[TOOL_CALLS][/THINK]",
                                            "tool_call\"parameters\": {\"name\": \"",
                                            ""};
    elm_answer_format f;
    parts whole, pieces;
    if (size < 2) return 0;
    elm_answer_format_detect(elm_span_str(templates[data[0] % 6]), &f);
    elm_span text = elm_span_of(data + 2, size - 2);
    text.size = elm_utf8_valid_prefix(text);
    read_answer(&f, data[1] & 1, text, text.size + 1, &whole);
    read_answer(&f, data[1] & 1, text, 1u + (data[1] >> 1) % 7, &pieces);
    for (int i = 0; i < ELM_N_ANSWER_KINDS; i++) {
        if (!elm_span_equal(elm_buf_span(&whole.of[i]), elm_buf_span(&pieces.of[i]))) abort();
        elm_buf_free(&whole.of[i]);
        elm_buf_free(&pieces.of[i]);
    }
    return 0;
}
