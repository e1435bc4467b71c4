/* line.h - reading what a person types: the seam to libedit, where it is there; cli. */
#ifndef ELM_CLI_LINE_H
#define ELM_CLI_LINE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct cli_lines {
    bool terminal; /* a prompt, line editing */
    bool history;  /* kept in ~/.edge_llm_history, for the person only to read */
    const char *(*command)(
        size_t i); /* what the tab key completes at the start of a line, by index up to NULL */
} cli_lines;

void cli_lines_open(const cli_lines *l);
void cli_lines_close(const cli_lines *l);

/* The next message, malloc'ed, without its line end; NULL at the end of input, or when a signal
 * came. Three double quotes begin and end a message of several lines; at a terminal a line that
 * ends in a backslash goes on. */
char *cli_read_message(const cli_lines *l);

#endif
