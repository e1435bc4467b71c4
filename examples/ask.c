/* ask.c - the three lines: a model, a session, an answer.   ask MODEL.elm "What is a byte?" */
#include <edge_llm.h>
#include <stdio.h>

static bool print(void *out, const char *text, size_t n) {
    return fwrite(text, 1, n, out) == n && fflush(out) == 0;
}

int main(int argc, char **argv) {
    elm_model *model = NULL;
    elm_session *session = NULL;
    elm_error err = {0};
    if (argc != 3) return fputs("usage: ask MODEL.elm QUESTION\n", stderr), 2;

    bool ok = elm_model_open(&model, argv[1], NULL, &err) == ELM_OK &&
              elm_session_create(model, NULL, &session, &err) == ELM_OK &&
              elm_session_chat(session, argv[2], print, stdout, &err) == ELM_OK;

    puts("");
    if (!ok) fprintf(stderr, "ask: %s\n", err.message);
    elm_session_free(session);
    elm_model_close(model);
    return elm_status_exit_code(err.code);
}
