/* cmd_chat.c - edge-llm chat: a conversation at the terminal, or a line a turn from a pipe; cli. */
#include "cli/chat.h"
#include "cli/line.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void cli_chat_restart(cli_conversation *c) {
    elm_buf_clear(&c->turns);
    c->before_reply = 0;
    if (c->system) cli_add_turn(&c->turns, "system", elm_span_str(c->system));
}

int cli_chat_set_system(cli_conversation *c, const char *text) {
    char *copy = *text ? strdup(text) : NULL;
    if (*text && !copy) return cli_fail(ELM_OUT_OF_MEMORY, "no memory for the system turn");
    free(c->system);
    c->system = copy;
    cli_chat_restart(c);
    return 0;
}

/* Answers the turns there are, into `reply`. */
static elm_status answer(cli_conversation *c, cli_reply *reply, elm_error *err) {
    elm_buf json;
    int32_t *ids = NULL;
    size_t n = 0;
    cli_buf(&json);
    elm_session_get_stats(c->opened.session, &reply->before);
    elm_status status = cli_chat_json(&c->options, elm_buf_span(&c->turns), &json, err);
    if (status == ELM_OK)
        status = cli_chat_ids(c->opened.model, elm_buf_span(&json), &ids, &n, err);
    if (status == ELM_OK) status = cli_read_prompt(c->opened.session, &c->options, ids, n, err);
    if (status == ELM_OK)
        status = cli_stream(c->opened.model, c->opened.session, &c->options, elm_buf_span(&json),
                            reply, err);
    free(ids);
    elm_buf_free(&json);
    return status;
}

/* The answer to the last user turn. `before`: turns.size to go back to when it fails, so that the
 * conversation can go on. */
static int reply_to_last(cli_conversation *c, size_t before) {
    cli_reply reply;
    elm_error err;
    cli_reply_init(&reply);
    elm_status status = answer(c, &reply, &err);
    bool stopped = status == ELM_CANCELLED || reply.result.reason == ELM_STOP_CANCELLED;
    if (status == ELM_OK) {
        cli_add_message(&c->turns, elm_buf_span(&reply.message));
        if (c->options.json)
            cli_print_reply(c->opened.session, &reply, false);
        else
            fputc('\n', stdout);
        fflush(stdout);
        if (stopped && c->terminal) fprintf(stderr, "[stopped]\n");
        if (reply.result.reason == ELM_STOP_CONTEXT)
            fprintf(stderr, "[the context is full; /clear starts anew]\n");
        if (c->options.stats)
            cli_print_stats(c->opened.session);
        else if (c->terminal)
            cli_print_rate(c->opened.session, &reply.result);
    } else {
        c->turns.size = before;
        if (before < c->before_reply) c->before_reply = 0;
    }
    cli_reply_free(&reply);
    if (!stopped) return status == ELM_OK ? 0 : cli_error(&err);
    if (!c->terminal) return cli_interrupted;
    cli_interrupted = 0; /* Ctrl-C stopped the answer, not the conversation */
    return 0;
}

int cli_chat_say(cli_conversation *c, elm_span user) {
    elm_error err;
    size_t before = c->turns.size;
    if (cli_check_utf8(user, "the message", &err) != ELM_OK) return cli_error(&err);
    cli_add_turn(&c->turns, "user", user);
    c->before_reply = c->turns.size;
    return reply_to_last(c, before);
}

int cli_chat_again(cli_conversation *c) {
    if (c->before_reply == 0)
        return cli_fail(ELM_INVALID_ARGUMENT, "there is no message to answer once more");
    c->turns.size = c->before_reply;
    return reply_to_last(c, c->before_reply);
}

static int converse(cli_conversation *c) {
    int code = 0;
    bool stopped = false;
    cli_lines lines = {.terminal = c->terminal,
                       .history = c->terminal && !c->options.no_history,
                       .command = cli_chat_command_name};
    if (c->terminal) fprintf(stderr, "Type a message; /help lists commands, Ctrl-D leaves.\n");
    cli_lines_open(&lines);
    if (c->first.size > 0) code = cli_chat_say(c, c->first);
    while (!c->done && (code == 0 || c->terminal)) {
        char *message = cli_read_message(&lines);
        if (!message && c->terminal && cli_interrupted && !stopped) {
            stopped = true; /* the first Ctrl-C may end the line, not the input */
            continue;
        }
        if (!message) break;
        stopped = false;
        if (message[0] == '/' && (c->terminal || cli_chat_is_command(message)))
            code = cli_chat_command(c, message);
        else if (message[0] != 0)
            code = cli_chat_say(c, elm_span_str(message));
        free(message);
    }
    cli_lines_close(&lines);
    if (c->terminal) return 0;
    return code == 0 && cli_interrupted ? cli_interrupted : code;
}

static elm_status take_turns(cli_conversation *c, elm_error *err) {
    size_t n;
    const char *turns = elm_session_conversation(c->opened.session, &n);
    elm_buf_clear(&c->turns);
    c->before_reply = 0;
    elm_buf_append(&c->turns, turns, n);
    return elm_buf_check(&c->turns, "the conversation", err);
}

int cli_chat_load(cli_conversation *c, const char *path) {
    elm_session *session = NULL;
    elm_error err;
    if (elm_session_load(c->opened.model, path, &c->opened.options, &session, &err) != ELM_OK)
        return cli_error(&err); /* the conversation goes on as it was */
    elm_session_free(c->opened.session);
    c->opened.session = session;
    free(c->system); /* the system turn is the loaded one */
    c->system = NULL;
    return take_turns(c, &err) == ELM_OK ? 0 : cli_error(&err);
}

/* The turns to begin with: those of a loaded session, or the system turn. */
static elm_status begin(cli_conversation *c, elm_error *err) {
    ELM_TRY(cli_open_models(&c->options, &c->opened, err));
    ELM_TRY(cli_open_session(&c->options, &c->opened, err));
    ELM_TRY(take_turns(c, err));
    if (!c->options.system) return ELM_OK;
    c->system = strdup(c->options.system);
    if (!c->system) return elm_fail(err, ELM_OUT_OF_MEMORY, "no memory for the system turn");
    cli_chat_restart(c);
    return ELM_OK;
}

static int run(const cli_options *o) {
    elm_error err;
    cli_conversation c = {.options = *o, .terminal = isatty(0) != 0};
    char *text = NULL;
    size_t n = 0;
    if (o->prompt && o->file) return cli_fail(ELM_INVALID_ARGUMENT, "give -p or -f, not both");
    cli_buf(&c.turns);
    elm_status status = o->file ? cli_read(o->file, &text, &n, &err) : ELM_OK;
    c.first = o->prompt ? elm_span_str(o->prompt) : elm_span_of(text, n);
    if (status == ELM_OK && o->system)
        status = cli_check_utf8(elm_span_str(o->system), "--system", &err);
    if (status == ELM_OK) status = begin(&c, &err);
    int code = status == ELM_OK ? converse(&c) : cli_error(&err);
    if (status == ELM_OK && o->save &&
        cli_save_session(o->save, &c.opened, &c.turns, &err) != ELM_OK)
        code = cli_error(&err);
    cli_close(&c.opened);
    elm_buf_free(&c.turns);
    free(c.system);
    free(text);
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
