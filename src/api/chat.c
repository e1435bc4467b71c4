/* chat.c - the three-line conversation: a session that remembers its turns; api.
 *
 * session->conversation holds the turns so far as JSON objects, comma separated, the answers taken
 * apart as the template wants them back. Each call renders all of them and syncs, so that only what is
 * new is run. */
#include "api/text.h"
#include "runtime/session.h"

#include <string.h>

typedef struct answer {
    elm_text_fn on_text;
    void *context;
    elm_answer *parts;
} answer;

static bool collect(void *context, const char *text, size_t n) {
    answer *a = context;
    elm_answer_add(a->parts, text, n);
    return a->on_text ? a->on_text(a->context, text, n) : true;
}

static void add_turn(elm_buf *turns, const char *role, elm_span content) {
    elm_json_writer w;
    if (turns->size > 0) elm_buf_str(turns, ", ");
    elm_json_writer_init(&w, turns, false);
    elm_json_begin_object(&w, NULL);
    elm_json_put_str(&w, "role", role);
    elm_json_put_string(&w, "content", content);
    elm_json_end_object(&w);
}

static elm_status render(elm_session *s, elm_buf *json, elm_buf *ids, elm_error *err) {
    elm_buf_str(json, "{\"add_generation_prompt\": true, \"messages\": [");
    elm_buf_append(json, s->conversation.data, s->conversation.size);
    elm_buf_str(json, "]}");
    ELM_TRY(elm_buf_check(json, "the conversation", err));
    return elm_chat_ids(s->model, elm_buf_span(json), ids, err);
}

static elm_status turn(elm_session *s, answer *a, elm_error *err) {
    elm_buf json, ids;
    elm_buf_init(&json, s->alloc, s->conversation.max_bytes + 256);
    elm_buf_init(&ids, s->alloc, ELM_MAX_IDS_BYTES);
    elm_status status = render(s, &json, &ids, err);
    if (status == ELM_OK) {
        status = elm_session_sync(s, (const int32_t *)(const void *)ids.data,
                                  ids.size / sizeof(int32_t), NULL, err);
    }
    if (status == ELM_OK) {
        status = elm_answer_create(s->model, (const char *)json.data, json.size, NULL, NULL,
                                   &a->parts, err);
    }
    if (status == ELM_OK) {
        elm_generate_options o = {.struct_size = sizeof o, .on_text = collect, .context = a};
        status = elm_session_generate(s, &o, NULL, err);
    }
    elm_buf_free(&ids);
    elm_buf_free(&json);
    return status;
}

static elm_status add_answer(elm_session *s, elm_answer *parts, elm_error *err) {
    char *message;
    size_t n;
    ELM_TRY(elm_answer_message(parts, &message, &n, err));
    elm_buf_str(&s->conversation, ", ");
    elm_buf_append(&s->conversation, message, n);
    elm_string_free(s->model, message, n);
    return elm_buf_check(&s->conversation, "the conversation", err);
}

elm_status elm_session_chat(elm_session *s, const char *user_text, elm_text_fn on_text,
                            void *context, elm_error *err) {
    size_t before = s->conversation.size;
    answer a = {.on_text = on_text, .context = context};
    if (before == 0 && s->system) {
        add_turn(&s->conversation, "system", elm_span_str(s->system));
    }
    add_turn(&s->conversation, "user", elm_span_str(user_text));
    elm_status status = elm_buf_check(&s->conversation, "the conversation", err);
    if (status == ELM_OK) status = turn(s, &a, err);
    if (status == ELM_OK) status = add_answer(s, a.parts, err);
    if (status != ELM_OK) { /* a failed turn never happened */
        s->conversation.size = before;
        s->conversation.status = ELM_OK;
    }
    elm_answer_free(a.parts);
    return status;
}

void elm_session_chat_reset(elm_session *s) {
    elm_buf_clear(&s->conversation);
}
