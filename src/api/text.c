/* text.c - tokenize, detokenize and the chat template over an open model; api. */
#include "api/text.h"

#include <string.h>
#include <time.h>

enum { MAX_TEXT_BYTES = 256 << 20 };

static elm_status copy_ids(const elm_buf *ids, int32_t *out, size_t capacity, size_t *n_ids,
                           elm_error *err) {
    *n_ids = ids->size / sizeof *out;
    if (capacity == 0) return ELM_OK;
    if (*n_ids > capacity) {
        return elm_fail(err, ELM_INVALID_ARGUMENT, "%zu ids do not fit a buffer of %zu", *n_ids,
                        capacity);
    }
    if (ids->size > 0) memcpy(out, ids->data, ids->size);
    return ELM_OK;
}

elm_status elm_tokenize(const elm_model *model, const char *text, size_t text_bytes,
                        bool add_special, bool parse_special, int32_t *ids, size_t capacity,
                        size_t *n_ids, elm_error *err) {
    elm_buf buf;
    *n_ids = 0;
    elm_buf_init(&buf, model->platform.alloc, ELM_MAX_IDS_BYTES);
    elm_status status = elm_tokenizer_encode_text(
        model->tokenizer, elm_span_of(text, text_bytes),
        parse_special ? ELM_PART_TEMPLATE : ELM_PART_INPUT, add_special, &buf, err);
    if (status == ELM_OK) status = copy_ids(&buf, ids, capacity, n_ids, err);
    elm_buf_free(&buf);
    return status;
}

elm_status elm_give_string(const elm_model *model, const elm_buf *buf, const char *what, char **out,
                           size_t *out_bytes, elm_error *err) {
    ELM_TRY(elm_buf_check(buf, what, err));
    ELM_TRY(elm_alloc(model->platform.alloc, buf->size + 1, what, out, err));
    if (buf->size > 0) memcpy(*out, buf->data, buf->size);
    *out_bytes = buf->size;
    return ELM_OK;
}

elm_status elm_detokenize(const elm_model *model, const int32_t *ids, size_t n_ids,
                          bool skip_special, char **out, size_t *out_bytes, elm_error *err) {
    elm_detokenizer d = {0};
    elm_buf buf;
    *out = NULL;
    *out_bytes = 0;
    elm_buf_init(&buf, model->platform.alloc, MAX_TEXT_BYTES);
    for (size_t i = 0; i < n_ids; i++) {
        elm_detokenizer_push(model->tokenizer, &d, ids[i], skip_special, &buf);
    }
    elm_detokenizer_finish(model->tokenizer, &d, &buf);
    elm_status status = elm_give_string(model, &buf, "decoded text", out, out_bytes, err);
    elm_buf_free(&buf);
    return status;
}

void elm_string_free(const elm_model *model, char *text, size_t text_bytes) {
    if (text) elm_free(model->platform.alloc, text, text_bytes + 1);
}

/* The caller's object with the model's special tokens appended where it does not name them. */
static elm_status add_special_tokens(const elm_model *model, elm_json *context, elm_arena *arena,
                                     elm_error *err) {
    const elm_json *tokens = model->meta.special_tokens;
    if (!tokens || tokens->type != ELM_JSON_OBJECT) return ELM_OK;
    elm_json *members =
        elm_arena_array(arena, (size_t)context->count + tokens->count, sizeof *members);
    if (!members) return elm_fail_oom(err, sizeof *members, "the template's context");
    uint32_t n = context->count;
    if (n > 0) memcpy(members, context->as.items, n * sizeof *members);
    for (uint32_t i = 0; i < tokens->count; i++) {
        const elm_json *token = &tokens->as.items[i];
        bool named = false;
        for (uint32_t k = 0; k < context->count && !named; k++) {
            named = elm_span_equal(context->as.items[k].key, token->key);
        }
        if (!named) members[n++] = *token;
    }
    context->as.items = members;
    context->count = n;
    return ELM_OK;
}

elm_status elm_chat_arguments(const elm_model *model, elm_span json, elm_arena *arena,
                              elm_json *out, elm_error *err) {
    const elm_json *parsed = NULL;
    ELM_TRY(elm_json_parse(json, "chat arguments", NULL, arena, &parsed, err));
    if (parsed->type != ELM_JSON_OBJECT) {
        return elm_fail(err, ELM_INVALID_ARGUMENT,
                        "chat arguments must be an object with \"messages\"");
    }
    *out = *parsed;
    return add_special_tokens(model, out, arena, err);
}

elm_status elm_chat_parts(const elm_model *model, elm_span json, elm_parts *out, elm_error *err) {
    if (!model->chat_template) {
        return elm_fail(err, ELM_UNSUPPORTED,
                        "the model has no chat template; use raw text (--raw)");
    }
    elm_arena arena;
    elm_json context;
    elm_template_options options = {.now_unix_s = (int64_t)time(NULL),
                                    .now_offset_s = model->utc_offset_s};
    elm_arena_init(&arena, model->platform.alloc, ELM_MAX_CONTEXT_BYTES);
    elm_status status = elm_chat_arguments(model, json, &arena, &context, err);
    if (status == ELM_OK)
        status = elm_template_render(model->chat_template, &context, &options, out, err);
    elm_arena_free(&arena);
    return status;
}

elm_status elm_chat_ids(const elm_model *model, elm_span json, elm_buf *ids, elm_error *err) {
    elm_parts parts;
    elm_parts_init(&parts, model->platform.alloc, ELM_TEMPLATE_MAX_OUTPUT_BYTES);
    elm_status status = elm_chat_parts(model, json, &parts, err);
    if (status == ELM_OK) {
        status = elm_tokenizer_encode(model->tokenizer, &parts, false, ids, err);
    }
    elm_parts_free(&parts);
    return status;
}

elm_status elm_chat_tokenize(const elm_model *model, const char *json, size_t json_bytes,
                             int32_t *ids, size_t capacity, size_t *n_ids, elm_error *err) {
    elm_buf buf;
    *n_ids = 0;
    elm_buf_init(&buf, model->platform.alloc, ELM_MAX_IDS_BYTES);
    elm_status status = elm_chat_ids(model, elm_span_of(json, json_bytes), &buf, err);
    if (status == ELM_OK) status = copy_ids(&buf, ids, capacity, n_ids, err);
    elm_buf_free(&buf);
    return status;
}

elm_status elm_chat_render(const elm_model *model, const char *json, size_t json_bytes, char **out,
                           size_t *out_bytes, elm_error *err) {
    elm_parts parts;
    *out = NULL;
    *out_bytes = 0;
    elm_parts_init(&parts, model->platform.alloc, ELM_TEMPLATE_MAX_OUTPUT_BYTES);
    elm_status status = elm_chat_parts(model, elm_span_of(json, json_bytes), &parts, err);
    if (status == ELM_OK)
        status = elm_give_string(model, &parts.text, "rendered text", out, out_bytes, err);
    elm_parts_free(&parts);
    return status;
}
