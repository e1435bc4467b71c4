/* cmd_chat.c - edge-llm chat: a conversation at the terminal, or a line a turn from a pipe; cli. */
#include "cli/generate.h"
#include "cli/line.h"
#include "cli/open.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct chat {
    const cli_options *options;
    cli_opened opened;
    elm_buf turns; /* JSON objects, comma separated */
    char *system;  /* current system turn, or NULL */
    bool terminal;
    bool done;
} chat;

static void restart(chat *c) {
    elm_buf_clear(&c->turns);
    if (c->system) cli_add_turn(&c->turns, "system", elm_span_str(c->system));
}

static elm_status answer(chat *c, elm_buf *json, elm_buf *text, elm_generate_result *result,
                         elm_error *err) {
    int32_t *ids = NULL;
    size_t n = 0;
    elm_status status = cli_chat_json(c->options, elm_buf_span(&c->turns), json, err);
    if (status == ELM_OK) status = cli_chat_ids(c->opened.model, elm_buf_span(json), &ids, &n, err);
    if (status == ELM_OK) {
        cli_cancel_target(c->opened.session);
        status = elm_session_sync(c->opened.session, ids, n, NULL, err);
        cli_cancel_target(NULL);
    }
    if (status == ELM_OK) status = cli_stream(c->opened.session, c->options, text, result, err);
    free(ids);
    return status;
}

/* One turn. A failed one is taken back, so that the conversation can go on. */
static int say(chat *c, elm_span user) {
    elm_buf json, text;
    elm_error err;
    elm_generate_result result = {0};
    size_t before = c->turns.size;
    cli_buf(&json);
    cli_buf(&text);
    cli_add_turn(&c->turns, "user", user);
    elm_status status = answer(c, &json, &text, &result, &err);
    if (status == ELM_OK) {
        cli_add_turn(&c->turns, "assistant", elm_buf_span(&text));
        fputc('\n', stdout);
        fflush(stdout);
        if (result.reason == ELM_STOP_CONTEXT)
            fprintf(stderr, "[the context is full; /clear starts anew]\n");
        if (c->options->stats || c->terminal) cli_print_stats(c->opened.session);
    } else {
        c->turns.size = before;
    }
    elm_buf_free(&text);
    elm_buf_free(&json);
    if (status == ELM_CANCELLED || result.reason == ELM_STOP_CANCELLED) {
        if (c->terminal) {
            cli_interrupted = 0; /* Ctrl-C stopped the answer, not the conversation */
            return 0;
        }
        return cli_interrupted;
    }
    return status == ELM_OK ? 0 : cli_error(&err);
}

static void help(void) {
    fputs("/clear          forget the conversation\n"
          "/system TEXT    set the system turn and start anew\n"
          "/read FILE      say what a file says\n"
          "/stats          speed and memory\n"
          "/help           this list\n"
          "/exit           leave (Ctrl-D)\n"
          "\"\"\" on a line of its own begins and ends a message of several lines; so does a \\ at "
          "a line's end\n",
          stderr);
}

static int set_system(chat *c, const char *text) {
    char *copy = *text ? strdup(text) : NULL;
    if (*text && !copy) return cli_fail(ELM_OUT_OF_MEMORY, "no memory for the system turn");
    free(c->system);
    c->system = copy;
    restart(c);
    return 0;
}

static int command(chat *c, const char *line) {
    char *text;
    size_t n;
    elm_error err;
    if (strcmp(line, "/exit") == 0 || strcmp(line, "/bye") == 0 || strcmp(line, "/quit") == 0) {
        c->done = true;
    } else if (strcmp(line, "/help") == 0 || strcmp(line, "/?") == 0) {
        help();
    } else if (strcmp(line, "/clear") == 0) {
        restart(c);
    } else if (strcmp(line, "/stats") == 0) {
        cli_print_stats(c->opened.session);
    } else if (strncmp(line, "/system", 7) == 0 && (line[7] == ' ' || line[7] == 0)) {
        return set_system(c, line + 7 + (line[7] == ' '));
    } else if (strncmp(line, "/read ", 6) == 0) {
        if (cli_read(line + 6, &text, &n, &err) != ELM_OK) return cli_error(&err);
        int code = say(c, elm_span_of(text, n));
        free(text);
        return code;
    } else {
        return cli_fail(ELM_INVALID_ARGUMENT, "there is no command '%s'; /help lists them", line);
    }
    return 0;
}

static int converse(chat *c) {
    int code = 0;
    if (c->terminal) fprintf(stderr, "Type a message; /help lists commands, Ctrl-D leaves.\n");
    if (c->options->prompt) code = say(c, elm_span_str(c->options->prompt));
    while (!c->done && (code == 0 || c->terminal)) {
        char *message = cli_read_message(c->terminal);
        if (!message) break;
        if (message[0] == '/' && (c->terminal || cli_is_command(message))) {
            code = command(c, message);
        } else if (message[0] != 0) {
            code = say(c, elm_span_str(message));
        }
        free(message);
    }
    return c->terminal ? 0 : code;
}

/* The turns to begin with: those of a loaded session, or the system turn. */
static elm_status begin(chat *c, elm_error *err) {
    size_t n;
    ELM_TRY(cli_open_models(c->options, &c->opened, err));
    ELM_TRY(cli_open_session(c->options, &c->opened, err));
    const char *turns = elm_session_conversation(c->opened.session, &n);
    elm_buf_append(&c->turns, turns, n);
    ELM_TRY(elm_buf_check(&c->turns, "the conversation", err));
    if (!c->options->system) return ELM_OK;
    c->system = strdup(c->options->system);
    if (!c->system) return elm_fail(err, ELM_OUT_OF_MEMORY, "no memory for the system turn");
    restart(c);
    return ELM_OK;
}

static int run(const cli_options *o) {
    elm_error err;
    chat c = {.options = o, .terminal = isatty(0) != 0};
    cli_buf(&c.turns);
    elm_status status = begin(&c, &err);
    int code = status == ELM_OK ? converse(&c) : cli_error(&err);
    if (status == ELM_OK && cli_save_session(o, &c.opened, &c.turns, &err) != ELM_OK)
        code = cli_error(&err);
    cli_close(&c.opened);
    elm_buf_free(&c.turns);
    free(c.system);
    return code;
}

const cli_command cli_chat = {
    "chat",
    "chat MODEL [options of run]",
    "hold a conversation",
    "  edge-llm chat model.elm --system \"Answer in one sentence.\"\n"
    "  printf 'Hello\\nAnd now in French\\n' | edge-llm chat model.elm --temp 0\n",
    1,
    1,
    run};
