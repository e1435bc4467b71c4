/* complete.c - a filter: every line of the input, with what the model would write behind it.
 *
 *   complete MODEL.elm < beginnings.txt
 *
 * One session for all lines: sync keeps what two lines have in common. */
#include <edge_llm.h>
#include <stdio.h>
#include <string.h>

enum { MAX_IDS = 2048 };

static bool print(void *context, const char *text, size_t n) {
    (void)context;
    return fwrite(text, 1, n, stdout) == n;
}

static elm_status complete(elm_model *model, elm_session *session, const char *line,
                           elm_error *err) {
    static int32_t ids[MAX_IDS];
    const char *stop[] = {"\n"};
    elm_generate_options o = {.struct_size = sizeof o,
                              .max_tokens = 64,
                              .stop_strings = stop,
                              .n_stop_strings = 1,
                              .on_text = print};
    size_t n;
    elm_status status = elm_tokenize(model, line, strlen(line), true, false, ids, MAX_IDS, &n, err);
    if (status == ELM_OK) status = elm_session_sync(session, ids, n, NULL, err);
    if (status == ELM_OK) status = elm_session_generate(session, &o, NULL, err);
    return status;
}

int main(int argc, char **argv) {
    elm_model *model = NULL;
    elm_session *session = NULL;
    elm_error err = {0};
    char line[8192];
    if (argc != 2) return fputs("usage: complete MODEL.elm < LINES\n", stderr), 2;
    elm_status status = elm_model_open(&model, argv[1], NULL, &err);
    if (status == ELM_OK) status = elm_session_create(model, NULL, &session, &err);
    while (status == ELM_OK && fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        if (!line[0]) continue;
        fputs(line, stdout);
        status = complete(model, session, line, &err);
        puts("");
    }
    if (status != ELM_OK) fprintf(stderr, "complete: %s\n", err.message);
    elm_session_free(session);
    elm_model_close(model);
    return elm_status_exit_code(status);
}
