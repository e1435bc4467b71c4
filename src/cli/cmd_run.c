/* cmd_run.c - edge-llm run: one prompt in, one streamed answer out; cli. */
#include "cli/generate.h"
#include "cli/open.h"

#include <stdlib.h>
#include <string.h>

/* What one run holds. */
typedef struct task {
    const cli_options *options;
    cli_opened opened;
    elm_buf turns; /* the conversation with this question */
    elm_buf chat;  /* the template's arguments; empty for raw text */
    int32_t *ids;
    size_t n_ids;
    cli_reply reply;
} task;

/* The whole conversation through the chat template. */
static elm_status chat_ids(task *t, elm_span prompt, elm_error *err) {
    size_t n = 0;
    if (t->opened.session) {
        const char *before = elm_session_conversation(t->opened.session, &n);
        elm_buf_append(&t->turns, before, n);
    }
    if (t->options->system) cli_add_turn(&t->turns, "system", elm_span_str(t->options->system));
    cli_add_turn(&t->turns, "user", prompt);
    ELM_TRY(cli_chat_json(t->options, elm_buf_span(&t->turns), &t->chat, err));
    return cli_chat_ids(t->opened.model, elm_buf_span(&t->chat), &t->ids, &t->n_ids, err);
}

/* The text as it is: BOS where the model wants it, and only where a timeline begins. */
static elm_status raw_ids(task *t, elm_span prompt, elm_error *err) {
    const elm_model_info *info = &t->opened.info;
    const char *text = (const char *)prompt.data;
    bool begins = !t->opened.session || elm_session_length(t->opened.session) == 0;
    size_t extra = begins && info->raw_needs_bos && !info->add_bos && info->bos_id >= 0 ? 1 : 0;
    ELM_TRY(
        elm_tokenize(t->opened.model, text, prompt.size, begins, false, NULL, 0, &t->n_ids, err));
    t->ids = malloc((t->n_ids + 2) * sizeof *t->ids);
    if (!t->ids) return elm_fail(err, ELM_OUT_OF_MEMORY, "no memory for %zu ids", t->n_ids);
    t->ids[0] = info->bos_id;
    ELM_TRY(elm_tokenize(t->opened.model, text, prompt.size, begins, false, t->ids + extra,
                         t->n_ids + 1, &t->n_ids, err));
    t->n_ids += extra;
    if (t->n_ids > 0 || !begins) return ELM_OK;
    return elm_fail(err, ELM_INVALID_ARGUMENT, "the prompt is empty");
}

/* Runs the prompt, streams the answer, keeps the session. */
static elm_status answer(task *t, elm_error *err) {
    const cli_options *o = t->options;
    elm_session *session = t->opened.session;
    elm_status status = cli_read_prompt(session, o, t->ids, t->n_ids, err);
    if (status == ELM_OK)
        status = cli_stream(t->opened.model, session, o, elm_buf_span(&t->chat), &t->reply, err);
    if (status == ELM_OK && o->json) cli_print_reply(session, &t->reply, true);
    if (status == ELM_OK && !o->json) fputc('\n', stdout);
    if (status == ELM_OK && o->stats) cli_print_stats(session);
    if (status != ELM_OK) return status;
    if (!o->raw) cli_add_message(&t->turns, elm_buf_span(&t->reply.message));
    if (!o->save) return ELM_OK;
    return cli_save_session(o->save, &t->opened, o->raw ? NULL : &t->turns, err);
}

static elm_status run_model(task *t, elm_span prompt, elm_error *err) {
    const cli_options *o = t->options;
    cli_opened *opened = &t->opened;
    ELM_TRY(cli_open_models(o, opened, err));
    if (!o->save && !o->load)
        opened->options.n_snapshots = ELM_NO_SNAPSHOTS; /* nothing goes back */
    if (o->load) ELM_TRY(cli_open_session(o, opened, err));
    ELM_TRY(o->raw ? raw_ids(t, prompt, err) : chat_ids(t, prompt, err));
    cli_fit_context(o, &opened->info, t->n_ids, &opened->options);
    if (!o->load) ELM_TRY(cli_open_session(o, opened, err));
    return answer(t, err);
}

static int run(const cli_options *o) {
    elm_error err;
    task t = {.options = o};
    char *text = NULL;
    size_t n = 0;
    elm_status status = ELM_OK;
    if (o->prompt && o->file) return cli_fail(ELM_INVALID_ARGUMENT, "give -p or -f, not both");
    if (!o->prompt) status = cli_read(o->file, &text, &n, &err);
    elm_span prompt = o->prompt ? elm_span_str(o->prompt) : elm_span_of(text, n);
    if (status == ELM_OK) status = cli_check_utf8(prompt, "the prompt", &err);
    if (status == ELM_OK && o->system)
        status = cli_check_utf8(elm_span_str(o->system), "--system", &err);
    cli_buf(&t.turns);
    cli_buf(&t.chat);
    cli_reply_init(&t.reply);
    if (status == ELM_OK) status = run_model(&t, prompt, &err);
    cli_close(&t.opened);
    elm_buf_free(&t.turns);
    elm_buf_free(&t.chat);
    free(t.ids);
    free(text);
    bool cancelled = t.reply.result.reason == ELM_STOP_CANCELLED;
    cli_reply_free(&t.reply);
    if (status != ELM_OK) return cli_error(&err);
    return cancelled ? cli_interrupted : 0;
}

const cli_command cli_run = {"run",
                             "run MODEL [-p TEXT | -f FILE | < FILE] [options]",
                             "answer one prompt",
                             "  edge-llm run model.elm -p \"What is a byte?\"\n"
                             "  edge-llm run model.elm -f question.txt --temp 0 -n 200 --stats\n"
                             "  echo \"Once upon a time\" | edge-llm run model.elm --raw\n",
                             1,
                             1,
                             run};
