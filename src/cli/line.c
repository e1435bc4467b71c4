/* line.c - see line.h; cli. The only file that knows libedit. */
#include "cli/line.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "cli/cli.h"

#ifdef EDGE_LLM_HAVE_LIBEDIT
/* Declared here: the header's path differs between systems, the functions do not. */
char *readline(const char *prompt);
int add_history(const char *line);
int read_history(const char *path);
int write_history(const char *path);
void stifle_history(int max);
typedef char **elm_completion(const char *word, int begin, int end);
extern elm_completion *rl_attempted_completion_function;
char **rl_completion_matches(const char *word, char *(*next)(const char *word, int state));
#endif

enum { MAX_HISTORY = 1000 };
static const char quotes[] = "\"\"\"";

/* ---- Ctrl-C at the prompt ---- */

enum { EXIT_INTERRUPTED = 130 };
static struct termios terminal_before; /* line editing changes it */

/* The first one says what a second one does; only what a signal handler may call. */
static void on_interrupt(int number) {
    static const char hint[] = "\n[Ctrl-C again leaves, or Ctrl-D]\n> ";
    (void)number;
    if (cli_interrupted) {
        (void)tcsetattr(STDIN_FILENO, TCSANOW, &terminal_before);
        _exit(EXIT_INTERRUPTED);
    }
    cli_interrupted = EXIT_INTERRUPTED;
    if (write(STDERR_FILENO, hint, sizeof hint - 1) < 0) return;
}

#ifdef EDGE_LLM_HAVE_LIBEDIT
/* ---- the tab key ---- */

static const char *(*command_name)(size_t i); /* libedit hands no context to its callbacks */

/* The next command that begins with the word; `state` is 0 at the first call for it. */
static char *next_command(const char *word, int state) {
    static size_t at;
    const char *name;
    if (state == 0) at = 0;
    while ((name = command_name(at)) != NULL) {
        at++;
        if (strncmp(name, word, strlen(word)) == 0) return strdup(name);
    }
    return NULL;
}

/* Commands where a line begins with a slash; NULL elsewhere, where libedit completes paths. */
static char **complete(const char *word, int begin, int end) {
    (void)end;
    return begin == 0 && word[0] == '/' ? rl_completion_matches(word, next_command) : NULL;
}

/* ---- history ---- */

static bool history_path(char out[4096]) {
    const char *home = getenv("HOME");
    return home && *home && snprintf(out, 4096, "%s/.edge_llm_history", home) < 4096;
}
#endif

void cli_lines_open(const cli_lines *l) {
#ifdef EDGE_LLM_HAVE_LIBEDIT
    char path[4096];
    command_name = l->command;
    if (l->terminal && l->command) rl_attempted_completion_function = complete;
    if (!l->history || !history_path(path)) return;
    (void)read_history(path); /* the first time there is none */
    stifle_history(MAX_HISTORY);
#else
    (void)l;
#endif
}

void cli_lines_close(const cli_lines *l) {
#ifdef EDGE_LLM_HAVE_LIBEDIT
    char path[4096];
    if (!l->history || !history_path(path)) return;
    mode_t before = umask(077);
    (void)write_history(path);
    umask(before);
#else
    (void)l;
#endif
}

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

static char *edited_line(const char *prompt) {
#ifdef EDGE_LLM_HAVE_LIBEDIT
    char *line = readline(prompt);
    if (line && *line) add_history(line);
    return line;
#else
    fputs(prompt, stderr);
    fflush(stderr);
    return plain_line();
#endif
}

static char *one_line(const cli_lines *l, const char *prompt) {
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = SA_RESTART}, before;
    if (!l->terminal) {
        cli_signals_end_waits(true);
        char *piped = plain_line();
        cli_signals_end_waits(false);
        return piped;
    }
    (void)tcgetattr(STDIN_FILENO, &terminal_before);
    sigaction(SIGINT, &action, &before);
    char *line = edited_line(prompt);
    sigaction(SIGINT, &before, NULL);
    if (line) cli_interrupted = 0;
    return line;
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

/* Cuts quotes off the end; false: there are none. */
static bool cut_quotes(char *line) {
    size_t n = strlen(line);
    if (n < 3 || strcmp(line + n - 3, quotes) != 0) return false;
    line[n - 3] = 0;
    return true;
}

/* The rest of a message that began with quotes. `line` is what stands behind them. */
static char *quoted(const cli_lines *l, char *line) {
    char *message = NULL;
    if (*line) {
        bool done = cut_quotes(line);
        message = join(NULL, line);
        if (done || !message) return message;
    } else {
        free(line);
    }
    while ((line = one_line(l, "... ")) != NULL) {
        bool done = cut_quotes(line), nothing = done && !*line;
        if (nothing)
            free(line);
        else
            message = join(message, line);
        if (done || !message) break;
    }
    return message ? message : strdup("");
}

char *cli_read_message(const cli_lines *l) {
    char *line = one_line(l, "> ");
    if (!line) return NULL;
    if (strncmp(line, quotes, 3) == 0) {
        memmove(line, line + 3, strlen(line) - 2);
        return quoted(l, line);
    }
    size_t n;
    while (l->terminal && (n = strlen(line)) > 0 && line[n - 1] == '\\') {
        line[n - 1] = 0;
        char *more = one_line(l, "... ");
        if (!more) break;
        line = join(line, more);
        if (!line) return NULL;
    }
    return line;
}
