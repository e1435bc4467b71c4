/* cli.h - what the sub-commands share: parsed options, streams, errors. One file a sub-command
 * (cmd_*.c).
 *
 * stdout carries the result only; progress, notes and errors go to stderr. Exit codes: docs/cli.md.
 */
#ifndef ELM_CLI_CLI_H
#define ELM_CLI_CLI_H

#include <stdio.h>

#include "base/json.h"
#include "base/platform.h"
#include "edge_llm.h"

enum { CLI_MAX_LIST = 16, CLI_MAX_POSITIONAL = 4 };

/* Values of an option that may be repeated. */
typedef struct cli_list {
    const char *items[CLI_MAX_LIST];
    uint32_t n;
} cli_list;

typedef enum cli_switch { CLI_UNSET = 0, CLI_ON, CLI_OFF } cli_switch;

/* Every option of every command; which command takes which is said in options.def. */
typedef struct cli_options {
    const char *positional[CLI_MAX_POSITIONAL];
    uint32_t n_positional;

    const char *prompt, *file, *system, *output, *quant, *group, *embed, *head, *calib, *kv,
        *backend;
    const char *draft, *save, *load, *tools, *decode, *chat, *text, *tokens, *logits, *depths,
        *threads;
    const char *key, *repair_from, *think, *cpu_mask;
    cli_list stops, keep;
    int64_t n, top_k, ctx, seed, window, skip, chunk, repeat, prefill, memory_mb;
    double temp, top_p, min_p, repeat_penalty, presence_penalty, frequency_penalty, sustained;
    bool raw, ids, json, stats, zero_point, resume, no_bos, plain, render, graph, tensors, plan,
        help, verbose, quiet, no_fallback, no_history;
} cli_options;

/* Values of numbers that were not given. */
#define CLI_NO_INT INT64_MIN
#define CLI_NO_NUMBER (-1e300)

typedef struct cli_command {
    const char *name;
    const char *usage;   /* behind "edge-llm " */
    const char *summary; /* one line */
    const char *examples;
    uint32_t min_positional, max_positional;
    int (*run)(const cli_options *o);
} cli_command;

extern const cli_command *const cli_commands[]; /* NULL-terminated */
const cli_command *cli_command_find(const char *name);
/* Says that there is no such command, with the likeliest meant one, and returns 2. */
int cli_no_command(const char *word);

/* Fills *out from argv[first..]; on a mistake prints what and how to get help and returns 2. */
int cli_parse(const cli_command *command, int argc, char **argv, int first, cli_options *out);
/* Option number `index` of a command, in the order of the table; false past the last. */
typedef struct cli_option_info {
    const char *name;
    char letter;          /* 0: none */
    const char *argument; /* "": a flag */
    const char *help;
} cli_option_info;
bool cli_option_at(const cli_command *command, size_t index, cli_option_info *out);
/* Prints usage, options and examples of one command. */
void cli_print_help(const cli_command *command, FILE *out);

/* Prints "edge-llm: message" to stderr and returns the exit code of the error's status. */
int cli_error(const elm_error *err);
int cli_fail(elm_status status, const char *fmt, ...) ELM_PRINTF(2, 3);

/* Whole file, or stdin when path is NULL or "-". Free with free(). */
elm_status cli_read(const char *path, char **out, size_t *n_out, elm_error *err) ELM_MUST_CHECK;
/* Whether the file begins as an .elm file does, whatever its name. */
bool cli_is_elm(const char *path);
/* Fails where `target`, which is about to be written, is one of the n files that the command reads
 * (NULL ones are skipped), or a model. */
elm_status cli_spare(const char *target, const char *const *sources, size_t n,
                     elm_error *err) ELM_MUST_CHECK;
/* Fails with the place of the first byte of `what` that is not UTF-8. */
elm_status cli_check_utf8(elm_span text, const char *what, elm_error *err) ELM_MUST_CHECK;
/* Writes to stdout and says so when that fails (a full disk behind a redirection). */
int cli_finish_output(void);

/* Set by SIGINT and SIGTERM (main.c); the first asks the running step to stop, the second ends the
 * program. */
extern volatile int cli_interrupted;
/* Whether such a signal ends a call that waits: reading the input, yes; otherwise no, or writing the
 * output would lose a piece. */
void cli_signals_end_waits(bool on);
/* The session that the first Ctrl-C cancels; NULL: none. */
void cli_cancel_target(elm_session *session);

/* The model options that -- threads, backend, ... stand for. threads: first number of the list. */
elm_status cli_model_options(const cli_options *o, elm_model_options *out,
                             elm_error *err) ELM_MUST_CHECK;
elm_status cli_session_options(const cli_options *o, const elm_model_info *info,
                               elm_session_options *out, elm_error *err) ELM_MUST_CHECK;

/* Without --ctx: room for n_prompt tokens and the answer, as far as the model's own context goes.
 */
void cli_fit_context(const cli_options *o, const elm_model_info *info, size_t n_prompt,
                     elm_session_options *session);

/* Seconds that local time is ahead of UTC now; what strftime_now shows is local, as in Python. */
int32_t cli_utc_offset_s(void);

/* "1,2,4" to numbers; returns how many, 0 on a mistake. */
uint32_t cli_numbers(const char *text, uint32_t max_count, uint32_t *out);

/* A buffer over the C library's memory. */
void cli_buf(elm_buf *buf);
void cli_print_buf(const elm_buf *buf);
/* Text as it is; with --json as {"schema_version", "text"}. */
void cli_print_text(const cli_options *o, const elm_buf *text);

/* Text of a stranger's file to stdout: what moves a terminal's cursor or changes its colours becomes
 * '?'. Returns n. */
size_t cli_print_plain(const char *text, size_t n);

/* Peak resident memory in bytes, and what is resident now, split (Linux; 0 elsewhere). */
typedef struct cli_memory {
    uint64_t peak_bytes, file_bytes, anonymous_bytes;
    uint64_t file_huge_bytes; /* of file_bytes, mapped as pages of 2 MiB */
} cli_memory;
cli_memory cli_memory_now(void);

#endif
