/* generate.h - streaming an answer to stdout, shared by run and chat; cli. */
#ifndef ELM_CLI_GENERATE_H
#define ELM_CLI_GENERATE_H

#include "cli/cli.h"

/* {"messages": [turns], "add_generation_prompt": true, ...} from turns already written as JSON
 * objects. */
elm_status cli_chat_json(const cli_options *o, elm_span turns, elm_buf *out,
                         elm_error *err) ELM_MUST_CHECK;
/* Appends one turn object to `turns`. */
void cli_add_turn(elm_buf *turns, const char *role, elm_span content);

/* Generates and streams. `answer` (may be NULL) collects the text. */
elm_status cli_stream(elm_session *session, const cli_options *o, elm_buf *answer,
                      elm_generate_result *result, elm_error *err) ELM_MUST_CHECK;

/* The closing line of --stats, on stderr. */
void cli_print_stats(const elm_session *session);

/* Ids of a chat (template applied) in a malloc'ed array. */
elm_status cli_chat_ids(const elm_model *model, elm_span json, int32_t **ids, size_t *n,
                        elm_error *err) ELM_MUST_CHECK;

#endif
