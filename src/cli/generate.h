/* generate.h - streaming an answer to stdout, shared by run and chat; cli. */
#ifndef ELM_CLI_GENERATE_H
#define ELM_CLI_GENERATE_H

#include "cli/cli.h"

/* {"messages": [turns], "add_generation_prompt": true, ...} from turns already written as JSON
 * objects. */
elm_status cli_chat_json(const cli_options *o, elm_span turns, elm_buf *out,
                         elm_error *err) ELM_MUST_CHECK;
/* Appends one turn object to `turns`; cli_add_message one that is JSON already. */
void cli_add_turn(elm_buf *turns, const char *role, elm_span content);
void cli_add_message(elm_buf *turns, elm_span json);

/* What was answered. */
typedef struct cli_reply {
    elm_buf text;      /* as it was generated */
    elm_buf message;   /* the same as a message of the chat, JSON; empty without a chat */
    uint32_t n_prompt; /* tokens in front of it */
    elm_stats before;  /* of the session, when the prompt came; zero for a new one */
    elm_generate_result result;
} cli_reply;

void cli_reply_init(cli_reply *r);
void cli_reply_free(cli_reply *r);

/* Brings the session to the prompt: as its whole timeline, or behind it where the text is raw. A
 * terminal is told how much there is to read, until it is read. */
elm_status cli_read_prompt(elm_session *session, const cli_options *o, const int32_t *ids, size_t n,
                           elm_error *err) ELM_MUST_CHECK;

/* Generates and streams to stdout: the text as it is, or at a terminal with thoughts dimmed.
 * `chat`: the arguments that the prompt was rendered from, empty for raw text. */
elm_status cli_stream(const elm_model *model, elm_session *session, const cli_options *o,
                      elm_span chat, cli_reply *reply, elm_error *err) ELM_MUST_CHECK;

/* The answer that was just generated, as one JSON document; on one line unless pretty. */
void cli_print_reply(const elm_session *session, const cli_reply *reply, bool pretty);

/* The closing line of --stats, on stderr; a short one for a conversation. */
void cli_print_stats(const elm_session *session);
void cli_print_rate(const elm_session *session, const elm_generate_result *result);

/* Ids of a chat (template applied) in a malloc'ed array. */
elm_status cli_chat_ids(const elm_model *model, elm_span json, int32_t **ids, size_t *n,
                        elm_error *err) ELM_MUST_CHECK;

/* Whether a stream is a terminal that takes colours. */
bool cli_has_colour(FILE *stream);

#endif
