/* open.c - see open.h; cli. */
#include "cli/open.h"

#include "cli/origin.h"
#include "runtime/model.h"

#include <string.h>

static elm_status open_draft(const cli_options *o, const elm_model_options *mo, cli_opened *out,
                             elm_error *err) {
    if (!o->draft) return ELM_OK;
    if (strcmp(o->draft, "lookup") == 0) {
        out->options.draft = ELM_DRAFT_LOOKUP;
    } else if (strcmp(o->draft, "mtp") == 0) {
        out->options.draft = ELM_DRAFT_MTP;
    } else {
        ELM_TRY(elm_model_open(&out->draft, o->draft, mo, err));
        out->options.draft = ELM_DRAFT_MODEL;
        out->options.draft_model = out->draft;
    }
    return ELM_OK;
}

elm_status cli_open_models(const cli_options *o, cli_opened *out, elm_error *err) {
    elm_model_options mo;
    const char *const read[] = {o->positional[0], o->draft, o->file, o->tools};
    memset(out, 0, sizeof *out);
    if (o->save) ELM_TRY(cli_spare(o->save, read, sizeof read / sizeof read[0], err));
    ELM_TRY(cli_model_options(o, &mo, err));
    ELM_TRY(elm_model_open(&out->model, o->positional[0], &mo, err));
    if (!o->quiet) cli_warn_damaged_slot(&out->model->container);
    elm_model_get_info(out->model, &out->info);
    ELM_TRY(cli_session_options(o, &out->info, &out->options, err));
    return open_draft(o, &mo, out, err);
}

elm_status cli_open_session(const cli_options *o, cli_opened *out, elm_error *err) {
    if (!o->load) return elm_session_create(out->model, &out->options, &out->session, err);
    if (o->system) {
        return elm_fail(err, ELM_INVALID_ARGUMENT,
                        "--system cannot change a session that is loaded: leave it out");
    }
    return elm_session_load(out->model, o->load, &out->options, &out->session, err);
}

elm_status cli_save_session(const char *path, cli_opened *opened, const elm_buf *turns,
                            elm_error *err) {
    ELM_TRY(cli_spare(path, NULL, 0, err));
    if (turns) {
        ELM_TRY(elm_session_set_conversation(opened->session, (const char *)turns->data,
                                             turns->size, err));
    }
    return elm_session_save(opened->session, path, err);
}

void cli_close(cli_opened *opened) {
    elm_session_free(opened->session);
    elm_model_close(opened->model);
    elm_model_close(opened->draft);
}
