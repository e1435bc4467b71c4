/* generate.c - see generate.h; cli. */
#include "cli/generate.h"

#include <stdlib.h>
#include <string.h>

typedef struct stream {
    const cli_options *options;
    elm_buf *answer;
    bool first_id;
} stream;

static bool on_text(void *context, const char *text, size_t n) {
    stream *s = context;
    if (s->answer) elm_buf_append(s->answer, text, n);
    if (s->options->ids || s->options->json) return true;
    fwrite(text, 1, n, stdout);
    return fflush(stdout) == 0;
}

static bool on_token(void *context, int32_t id) {
    stream *s = context;
    if (!s->options->ids || s->options->json) return true;
    printf(s->first_id ? "%d" : " %d", id);
    s->first_id = false;
    return fflush(stdout) == 0;
}

void cli_add_turn(elm_buf *turns, const char *role, elm_span content) {
    elm_json_writer w;
    if (turns->size > 0) elm_buf_str(turns, ", ");
    elm_json_writer_init(&w, turns, false);
    elm_json_begin_object(&w, NULL);
    elm_json_put_str(&w, "role", role);
    elm_json_put_string(&w, "content", content);
    elm_json_end_object(&w);
}

elm_status cli_chat_json(const cli_options *o, elm_span turns, elm_buf *out, elm_error *err) {
    elm_buf_str(out, "{\"add_generation_prompt\": true");
    if (o->think) {
        bool on = strcmp(o->think, "on") == 0;
        if (!on && strcmp(o->think, "off") != 0) {
            return elm_fail(err, ELM_INVALID_ARGUMENT, "--think takes on or off, not '%s'",
                            o->think);
        }
        elm_buf_printf(out, ", \"enable_thinking\": %s", on ? "true" : "false");
    }
    if (o->tools) {
        char *tools;
        size_t n;
        ELM_TRY(cli_read(o->tools, &tools, &n, err));
        elm_buf_str(out, ", \"tools\": ");
        elm_buf_append(out, tools, n);
        free(tools);
    }
    elm_buf_str(out, ", \"messages\": [");
    elm_buf_append(out, turns.data, turns.size);
    elm_buf_str(out, "]}");
    return elm_buf_check(out, "the conversation", err);
}

elm_status cli_stream(elm_session *session, const cli_options *o, elm_buf *answer,
                      elm_generate_result *result, elm_error *err) {
    stream s = {.options = o, .answer = answer, .first_id = true};
    elm_generate_options g = {
        .struct_size = sizeof g,
        .stop_strings = o->stops.items,
        .n_stop_strings = o->stops.n,
        .on_text = on_text,
        .on_token = on_token,
        .context = &s,
    };
    if (o->n != CLI_NO_INT) {
        if (o->n < 1 || o->n > UINT32_MAX) {
            return elm_fail(err, ELM_INVALID_ARGUMENT, "-n takes a number of tokens from 1");
        }
        g.max_tokens = (uint32_t)o->n;
    }
    cli_cancel_target(session);
    elm_status status = elm_session_generate(session, &g, result, err);
    cli_cancel_target(NULL);
    return status;
}

elm_status cli_chat_ids(const elm_model *model, elm_span json, int32_t **ids, size_t *n,
                        elm_error *err) {
    *ids = NULL;
    const char *text = (const char *)json.data;
    ELM_TRY(elm_chat_tokenize(model, text, json.size, NULL, 0, n, err));
    *ids = malloc((*n + 1) * sizeof **ids);
    if (!*ids) return elm_fail(err, ELM_OUT_OF_MEMORY, "no memory for %zu ids", *n);
    return elm_chat_tokenize(model, text, json.size, *ids, *n + 1, n, err);
}

static double rate(uint64_t tokens, uint64_t us) {
    return us ? (double)tokens * 1e6 / (double)us : 0.0;
}

void cli_print_stats(const elm_session *session) {
    elm_stats s;
    elm_session_get_stats(session, &s);
    cli_memory memory = cli_memory_now();
    fprintf(stderr,
            "[load %.1f ms | first token %.1f ms | prefill %llu tokens, %.1f tok/s, %llu reused | "
            "decode %llu tokens, %.1f tok/s",
            (double)s.load_us / 1e3, (double)s.first_token_us / 1e3,
            (unsigned long long)s.prefill_tokens, rate(s.prefill_tokens, s.prefill_us),
            (unsigned long long)s.reused_tokens, (unsigned long long)s.decode_tokens,
            rate(s.decode_tokens, s.decode_us));
    if (s.drafted_tokens > 0)
        fprintf(stderr, ", %llu of %llu guesses right", (unsigned long long)s.accepted_tokens,
                (unsigned long long)s.drafted_tokens);
    fprintf(stderr, " | memory: peak %.0f MB, session %.1f MB]\n", (double)memory.peak_bytes / 1e6,
            (double)s.session_allocated_bytes / 1e6);
}
