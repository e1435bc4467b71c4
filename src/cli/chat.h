/* chat.h - a conversation at the terminal: its state, and its slash commands; cli. */
#ifndef ELM_CLI_CHAT_H
#define ELM_CLI_CHAT_H

#include "cli/generate.h"
#include "cli/open.h"

typedef struct cli_conversation {
    cli_options options; /* a copy: /set changes it */
    cli_opened opened;
    elm_buf turns;       /* JSON objects, comma separated */
    size_t before_reply; /* turns.size behind the last user turn; 0: there is none */
    char *system;        /* current system turn, or NULL */
    elm_span first;      /* what -p or -f say before anything is read; empty: nothing */
    bool terminal;
    bool done;
} cli_conversation;

/* Forgets the conversation, but for the system turn. */
void cli_chat_restart(cli_conversation *c);
/* Says something, or answers the last user turn once more. Returns an exit code. */
int cli_chat_say(cli_conversation *c, elm_span user);
int cli_chat_again(cli_conversation *c);
/* Replaces the system turn (empty: none) and starts anew. */
int cli_chat_set_system(cli_conversation *c, const char *text);

/* Goes on with a saved session in place of this one, or with this one when it cannot be loaded. */
int cli_chat_load(cli_conversation *c, const char *path);

/* Runs a line that begins with a slash. Returns an exit code. */
int cli_chat_command(cli_conversation *c, char *line);
/* Whether a piped line is one of the slash commands, and not text that begins with a slash. */
bool cli_chat_is_command(const char *line);
/* The commands one by one, to complete them; NULL behind the last. */
const char *cli_chat_command_name(size_t i);

#endif
