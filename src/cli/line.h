/* line.h - reading what a person types: the seam to libedit, where it is there; cli. */
#ifndef ELM_CLI_LINE_H
#define ELM_CLI_LINE_H

#include <stdbool.h>

/* The next message, malloc'ed, without its line end; NULL at the end of input. At a terminal: a
 * prompt, line editing and history; three double quotes on a line begin and end a message of
 * several lines; a line that ends in a backslash goes on. From a pipe: a line. */
char *cli_read_message(bool terminal);

/* Whether a piped line is one of the slash commands, and not text that begins with a slash. */
bool cli_is_command(const char *line);

#endif
