/* open.h - what run and chat work with: the model, its draft model, a session, new or loaded; cli.
 */
#ifndef ELM_CLI_OPEN_H
#define ELM_CLI_OPEN_H

#include "cli/cli.h"

typedef struct cli_opened {
    elm_model *model;
    elm_model *draft; /* --draft MODEL, or NULL */
    elm_model_info info;
    elm_session_options options;
    elm_session *session;
} cli_opened;

/* Opens the models and fills info and options. Close with cli_close, also after a failure. */
elm_status cli_open_models(const cli_options *o, cli_opened *out, elm_error *err) ELM_MUST_CHECK;
/* Makes the session, or loads it with --load. */
elm_status cli_open_session(const cli_options *o, cli_opened *out, elm_error *err) ELM_MUST_CHECK;
/* Keeps the session in a file, with these turns (JSON objects, comma separated) unless NULL. */
elm_status cli_save_session(const char *path, cli_opened *opened, const elm_buf *turns,
                            elm_error *err) ELM_MUST_CHECK;
void cli_close(cli_opened *opened);

#endif
