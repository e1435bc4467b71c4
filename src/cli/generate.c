/* generate.c - see generate.h; cli. */
#include "cli/generate.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DIM "\033[2m"
#define PLAIN "\033[0m"
#define ERASE_LINE "\r\033[K"

enum { LONG_PROMPT = 64 }; /* tokens: a second, where a device reads slowly */

typedef struct stream {
    const cli_options *options;
    cli_reply *reply;
    elm_answer *answer; /* NULL: raw text */
    bool styled;        /* the parts of the answer are printed, not its text */
    bool dim;
    bool first_id;
} stream;

bool cli_has_colour(FILE *out) {
    const char *term = getenv("TERM"), *no = getenv("NO_COLOR");
    return isatty(fileno(out)) && !(no && *no) && !(term && strcmp(term, "dumb") == 0);
}

void cli_reply_init(cli_reply *r) {
    memset(r, 0, sizeof *r);
    cli_buf(&r->text);
    cli_buf(&r->message);
}

void cli_reply_free(cli_reply *r) {
    elm_buf_free(&r->text);
    elm_buf_free(&r->message);
}

static bool prints(const stream *s) {
    return !s->options->ids && !s->options->json;
}

static void set_dim(stream *s, bool on) {
    if (s->dim == on) return;
    fputs(on ? DIM : PLAIN, stdout);
    if (!on) fputs("\n\n", stdout); /* thoughts, then the answer */
    s->dim = on;
}

static void on_part(void *context, elm_answer_part part, const char *text, size_t n) {
    stream *s = context;
    if (!s->styled) return;
    set_dim(s, part == ELM_ANSWER_REASONING);
    if (part == ELM_ANSWER_CALL) fputs("\n[call] ", stdout);
    if (part == ELM_ANSWER_CALL_BEGUN) fputs("\n[calling] ", stdout);
    fwrite(text, 1, n, stdout);
    fflush(stdout);
}

static bool on_text(void *context, const char *text, size_t n) {
    stream *s = context;
    elm_buf_append(&s->reply->text, text, n);
    if (s->answer) elm_answer_add(s->answer, text, n);
    if (!prints(s)) return true;
    if (!s->styled) fwrite(text, 1, n, stdout);
    return fflush(stdout) == 0;
}

static bool on_token(void *context, int32_t id) {
    stream *s = context;
    if (!s->options->ids || s->options->json) return true;
    printf(s->first_id ? "%d" : " %d", id);
    s->first_id = false;
    return fflush(stdout) == 0;
}

void cli_add_message(elm_buf *turns, elm_span json) {
    if (turns->size > 0) elm_buf_str(turns, ", ");
    elm_buf_append(turns, json.data, json.size);
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

/* A list; what is wrong with it is said with the file's name. */
static elm_status check_tools(const char *path, elm_span text, elm_error *err) {
    const elm_json *tools = NULL;
    elm_arena arena;
    elm_arena_init(&arena, elm_allocator_default(), 0);
    elm_status status = elm_json_parse(text, path, NULL, &arena, &tools, err);
    if (status == ELM_OK && tools->type != ELM_JSON_ARRAY)
        status = elm_fail(err, ELM_MALFORMED, "'%s' holds no JSON list of tools", path);
    elm_arena_free(&arena);
    return status;
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
        const size_t mark = n >= 3 && memcmp(tools, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
        elm_status status = check_tools(o->tools, elm_span_of(tools, n), err);
        elm_buf_str(out, ", \"tools\": ");
        elm_buf_append(out, tools + mark, n - mark);
        free(tools);
        ELM_TRY(status);
    }
    elm_buf_str(out, ", \"messages\": [");
    elm_buf_append(out, turns.data, turns.size);
    elm_buf_str(out, "]}");
    return elm_buf_check(out, "the conversation", err);
}

elm_status cli_read_prompt(elm_session *session, const cli_options *o, const int32_t *ids, size_t n,
                           elm_error *err) {
    size_t held = o->raw ? 0 : elm_session_length(session), more = n > held ? n - held : n;
    bool tell = more >= LONG_PROMPT && !o->quiet && cli_has_colour(stderr);
    if (tell) fprintf(stderr, DIM "reading %zu tokens ..." PLAIN, more);
    cli_cancel_target(session);
    elm_status status = o->raw ? elm_session_append(session, ids, n, err)
                               : elm_session_sync(session, ids, n, NULL, err);
    cli_cancel_target(NULL);
    if (tell) fputs(ERASE_LINE, stderr);
    return status;
}

static elm_status generate(elm_session *session, stream *s, elm_error *err) {
    const cli_options *o = s->options;
    elm_generate_options g = {
        .struct_size = sizeof g,
        .stop_strings = o->stops.items,
        .n_stop_strings = o->stops.n,
        .on_text = on_text,
        .on_token = on_token,
        .context = s,
    };
    if (o->n != CLI_NO_INT) {
        if (o->n < 1 || o->n > UINT32_MAX) {
            return elm_fail(err, ELM_INVALID_ARGUMENT, "-n takes a number of tokens from 1");
        }
        g.max_tokens = (uint32_t)o->n;
    }
    cli_cancel_target(session);
    elm_status status = elm_session_generate(session, &g, &s->reply->result, err);
    cli_cancel_target(NULL);
    return status;
}

/* The answer as a message, into the reply. */
static elm_status finish(const elm_model *model, stream *s, elm_error *err) {
    char *json = NULL;
    size_t n = 0;
    if (!s->answer) return ELM_OK;
    ELM_TRY(elm_answer_message(s->answer, &json, &n, err));
    if (s->dim) fputs(PLAIN, stdout);
    fflush(stdout);
    elm_buf_append(&s->reply->message, json, n);
    elm_string_free(model, json, n);
    return elm_buf_check(&s->reply->message, "the answer", err);
}

elm_status cli_stream(const elm_model *model, elm_session *session, const cli_options *o,
                      elm_span chat, cli_reply *reply, elm_error *err) {
    stream s = {.options = o, .reply = reply, .first_id = true};
    reply->n_prompt = elm_session_length(session);
    if (chat.size > 0) {
        s.styled = prints(&s) && cli_has_colour(stdout);
        ELM_TRY(elm_answer_create(model, (const char *)chat.data, chat.size, on_part, &s, &s.answer,
                                  err));
    }
    elm_status status = generate(session, &s, err);
    if (status == ELM_OK) status = finish(model, &s, err);
    elm_answer_free(s.answer);
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
    fprintf(stderr, " | memory: peak %.0f MB, session %.1f MB", (double)memory.peak_bytes / 1e6,
            (double)s.session_allocated_bytes / 1e6);
    if (s.draft_bytes >= 50000)
        fprintf(stderr, ", %.1f of it for guesses", (double)s.draft_bytes / 1e6);
    fputs("]\n", stderr);
}

void cli_print_rate(const elm_session *session, const elm_generate_result *result) {
    elm_stats s;
    elm_session_get_stats(session, &s);
    bool colour = cli_has_colour(stderr);
    fprintf(stderr, "%s[%u tokens, %.1f tok/s, first after %.0f ms, %u of %u positions]%s\n",
            colour ? DIM : "", result->n_tokens, rate(s.decode_tokens, s.decode_us),
            (double)s.first_token_us / 1e3, elm_session_length(session),
            elm_session_context(session), colour ? PLAIN : "");
}
