/* answer.c - an answer as it streams, and as a message; api. */
#include "api/text.h"

#include "text/answer.h"

#include <string.h>

struct elm_answer {
    const elm_model *model;
    elm_answer_fn on_part;
    void *context;
    elm_arena arena; /* the chat arguments, for the tools */
    elm_answer_parser parser;
    elm_buf content, reasoning, calls; /* calls: members of "tool_calls" */
    uint32_t n_calls;
};

/* The id has nine letters and digits, as Mistral's templates want it. */
static void add_call(elm_answer *a, elm_span call) {
    if (a->n_calls > 0) elm_buf_str(&a->calls, ", ");
    elm_buf_printf(&a->calls,
                   "{\"type\": \"function\", \"id\": \"call%05u\", \"function\": ", ++a->n_calls);
    elm_buf_append(&a->calls, call.data, call.size);
    elm_buf_str(&a->calls, "}");
}

static void take_part(void *context, elm_answer_kind kind, elm_span text) {
    elm_answer *a = context;
    if (kind == ELM_ANSWER_TEXT) elm_buf_append(&a->content, text.data, text.size);
    if (kind == ELM_ANSWER_THOUGHT) elm_buf_append(&a->reasoning, text.data, text.size);
    if (kind == ELM_ANSWER_TOOL_CALL) add_call(a, text);
    if (!a->on_part) return;
    static const elm_answer_part parts[ELM_N_ANSWER_KINDS] = {
        [ELM_ANSWER_TEXT] = ELM_ANSWER_CONTENT,
        [ELM_ANSWER_THOUGHT] = ELM_ANSWER_REASONING,
        [ELM_ANSWER_TOOL_CALL] = ELM_ANSWER_CALL,
        [ELM_ANSWER_CALL_NAME] = ELM_ANSWER_CALL_BEGUN,
    };
    a->on_part(a->context, parts[kind], (const char *)text.data, text.size);
}

static elm_status prepare(elm_answer *a, elm_span json, elm_error *err) {
    const elm_answer_format *format = &a->model->meta.answer;
    elm_json arguments = {.type = ELM_JSON_NULL};
    bool thinking = false;
    if (json.size > 0) {
        elm_parts prompt;
        elm_parts_init(&prompt, a->model->platform.alloc, ELM_TEMPLATE_MAX_OUTPUT_BYTES);
        elm_status status = elm_chat_arguments(a->model, json, &a->arena, &arguments, err);
        if (status == ELM_OK) status = elm_chat_parts(a->model, json, &prompt, err);
        thinking = elm_answer_prompt_thinks(format, elm_buf_span(&prompt.text));
        elm_parts_free(&prompt);
        ELM_TRY(status);
    }
    elm_answer_parser_init(&a->parser, a->model->platform.alloc, format, thinking,
                           elm_json_find(&arguments, "tools"), take_part, a);
    return ELM_OK;
}

elm_status elm_answer_create(const elm_model *model, const char *chat_json, size_t chat_bytes,
                             elm_answer_fn on_part, void *context, elm_answer **out,
                             elm_error *err) {
    elm_answer *a = NULL;
    *out = NULL;
    ELM_TRY(elm_alloc(model->platform.alloc, sizeof *a, "an answer", &a, err));
    *a = (elm_answer){.model = model, .on_part = on_part, .context = context};
    elm_arena_init(&a->arena, model->platform.alloc, ELM_MAX_CONTEXT_BYTES);
    elm_buf_init(&a->content, model->platform.alloc, ELM_MAX_ANSWER_BYTES);
    elm_buf_init(&a->reasoning, model->platform.alloc, ELM_MAX_ANSWER_BYTES);
    elm_buf_init(&a->calls, model->platform.alloc, 2 * (size_t)ELM_MAX_ANSWER_BYTES);
    elm_status status = prepare(a, elm_span_of(chat_json, chat_bytes), err);
    if (status != ELM_OK) {
        elm_answer_free(a);
        return status;
    }
    *out = a;
    return ELM_OK;
}

void elm_answer_add(elm_answer *a, const char *text, size_t text_bytes) {
    elm_answer_push(&a->parser, elm_span_of(text, text_bytes));
}

static void write_message(const elm_answer *a, elm_buf *out) {
    elm_json_writer w;
    elm_json_writer_init(&w, out, false);
    elm_json_begin_object(&w, NULL);
    elm_json_put_str(&w, "role", "assistant");
    elm_json_put_string(&w, "content", elm_buf_span(&a->content));
    if (a->reasoning.size > 0)
        elm_json_put_string(&w, "reasoning_content", elm_buf_span(&a->reasoning));
    if (a->n_calls > 0) {
        elm_buf_str(out, ", \"tool_calls\": [");
        elm_buf_append(out, a->calls.data, a->calls.size);
        elm_buf_str(out, "]");
    }
    elm_json_end_object(&w);
}

elm_status elm_answer_message(elm_answer *a, char **json, size_t *json_bytes, elm_error *err) {
    elm_buf out;
    *json = NULL;
    *json_bytes = 0;
    ELM_TRY(elm_answer_finish(&a->parser, err));
    ELM_TRY(elm_buf_check(&a->content, "the answer", err));
    ELM_TRY(elm_buf_check(&a->reasoning, "the answer", err));
    ELM_TRY(elm_buf_check(&a->calls, "the answer", err));
    elm_buf_init(&out, a->model->platform.alloc, 8 * (size_t)ELM_MAX_ANSWER_BYTES);
    write_message(a, &out);
    elm_status status = elm_give_string(a->model, &out, "the answer", json, json_bytes, err);
    elm_buf_free(&out);
    return status;
}

void elm_answer_free(elm_answer *a) {
    if (!a) return;
    elm_answer_parser_free(&a->parser);
    elm_buf_free(&a->content);
    elm_buf_free(&a->reasoning);
    elm_buf_free(&a->calls);
    elm_arena_free(&a->arena);
    elm_free(a->model->platform.alloc, a, sizeof *a);
}
