/* chat.c - a conversation that is kept in a file between two runs.   chat MODEL.elm HISTORY
 *
 * A line is a turn. Ctrl-C stops the answer, and the end of the input leaves. */
#include <edge_llm.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static elm_session *session;

static void stop(int signal) {
    (void)signal;
    elm_session_cancel(session); /* from any thread, and from a handler: it sets a flag */
}

static bool print(void *context, const char *text, size_t n) {
    (void)context;
    return fwrite(text, 1, n, stdout) == n && fflush(stdout) == 0;
}

/* The session of last time, or a new one that guesses ahead from what was said. */
static elm_status open_session(elm_model *model, const char *history, elm_error *err) {
    elm_session_options o = {.struct_size = sizeof o,
                             .system = "Answer in one sentence.",
                             .draft = ELM_DRAFT_LOOKUP};
    elm_status status = elm_session_load(model, history, &o, &session, err);
    return status == ELM_NOT_FOUND ? elm_session_create(model, &o, &session, err) : status;
}

static elm_status converse(const char *history, elm_error *err) {
    char line[4096];
    while (fputs("> ", stdout), fflush(stdout), fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        elm_status status = elm_session_chat(session, line, print, NULL, err);
        puts("");
        if (status != ELM_OK && status != ELM_CANCELLED) return status;
    }
    return elm_session_save(session, history, err);
}

int main(int argc, char **argv) {
    elm_model *model = NULL;
    elm_error err = {0};
    if (argc != 3) return fputs("usage: chat MODEL.elm HISTORY\n", stderr), 2;
    elm_status status = elm_model_open(&model, argv[1], NULL, &err);
    if (status == ELM_OK) status = open_session(model, argv[2], &err);
    if (status == ELM_OK) {
        signal(SIGINT, stop);
        status = converse(argv[2], &err);
    }
    if (status != ELM_OK) fprintf(stderr, "chat: %s\n", err.message);
    elm_session_free(session);
    elm_model_close(model);
    return elm_status_exit_code(status);
}
