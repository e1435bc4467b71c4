/* line.c - see line.h; cli. The only file that knows libedit. */
#include "cli/line.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef EDGE_LLM_HAVE_LIBEDIT
/* Declared here: the header's path differs between systems, the functions do not. */
char *readline(const char *prompt);
int add_history(const char *line);
#endif

static char *plain_line(void) {
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n = getline(&line, &capacity, stdin);
    if (n < 0) {
        free(line);
        return NULL;
    }
    while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r')) line[--n] = 0;
    return line;
}

static char *one_line(bool terminal, const char *prompt) {
#ifdef EDGE_LLM_HAVE_LIBEDIT
    if (terminal) {
        char *line = readline(prompt);
        if (line && *line) add_history(line);
        return line;
    }
#endif
    if (terminal) {
        fputs(prompt, stderr);
        fflush(stderr);
    }
    return plain_line();
}

/* message + "\n" + line; frees both. */
static char *join(char *message, char *line) {
    size_t a = message ? strlen(message) + 1 : 0, b = strlen(line);
    char *joined = malloc(a + b + 1);
    if (joined) {
        if (message) memcpy(joined, message, a - 1), joined[a - 1] = '\n';
        memcpy(joined + a, line, b + 1);
    }
    free(message);
    free(line);
    return joined;
}

static char *quoted(bool terminal) {
    char *message = NULL, *line;
    while ((line = one_line(terminal, "... ")) != NULL && strcmp(line, "\"\"\"") != 0) {
        message = join(message, line);
        if (!message) return NULL;
    }
    free(line);
    return message ? message : strdup("");
}

char *cli_read_message(bool terminal) {
    char *line = one_line(terminal, "> ");
    if (!line) return NULL;
    if (strcmp(line, "\"\"\"") == 0) {
        free(line);
        return quoted(terminal);
    }
    size_t n;
    while (terminal && (n = strlen(line)) > 0 && line[n - 1] == '\\') {
        line[n - 1] = 0;
        char *more = one_line(terminal, "... ");
        if (!more) break;
        line = join(line, more);
        if (!line) return NULL;
    }
    return line;
}

bool cli_is_command(const char *line) {
    static const char *const commands[] = {"/clear", "/exit",  "/bye",    "/quit", "/help",
                                           "/?",     "/stats", "/system", "/read"};
    size_t n = strcspn(line, " ");
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strlen(commands[i]) == n && strncmp(line, commands[i], n) == 0) return true;
    }
    return false;
}
