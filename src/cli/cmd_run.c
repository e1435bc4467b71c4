/* cmd_run.c - edge-llm run: one prompt in, one streamed answer out; cli. */
#include "cli/generate.h"

#include <stdlib.h>
#include <string.h>

/* The prompt's ids: through the chat template, with its arguments in `json`, or raw with BOS where
 * the model wants it. */
static elm_status prompt_ids(const cli_options *o, const elm_model *model,
                             const elm_model_info *info, elm_span prompt, elm_buf *json,
                             int32_t **ids, size_t *n, elm_error *err) {
    *ids = NULL;
    if (!o->raw) {
        elm_buf turns;
        cli_buf(&turns);
        if (o->system) cli_add_turn(&turns, "system", elm_span_str(o->system));
        cli_add_turn(&turns, "user", prompt);
        elm_status status = cli_chat_json(o, elm_buf_span(&turns), json, err);
        if (status == ELM_OK) status = cli_chat_ids(model, elm_buf_span(json), ids, n, err);
        elm_buf_free(&turns);
        return status;
    }
    const char *text = (const char *)prompt.data;
    size_t extra = info->raw_needs_bos && !info->add_bos && info->bos_id >= 0 ? 1 : 0;
    ELM_TRY(elm_tokenize(model, text, prompt.size, true, false, NULL, 0, n, err));
    int32_t *list = malloc((*n + 2) * sizeof *list);
    if (!list) return elm_fail(err, ELM_OUT_OF_MEMORY, "no memory for %zu ids", *n);
    *ids = list;
    list[0] = info->bos_id;
    ELM_TRY(elm_tokenize(model, text, prompt.size, true, false, list + extra, *n + 1, n, err));
    *n += extra;
    return *n > 0 ? ELM_OK : elm_fail(err, ELM_INVALID_ARGUMENT, "the prompt is empty");
}

static const char *reason_text(elm_stop_reason reason) {
    switch (reason) {
    case ELM_STOP_EOS:
        return "eos";
    case ELM_STOP_STRING:
        return "stop";
    case ELM_STOP_LENGTH:
        return "length";
    case ELM_STOP_CONTEXT:
        return "context";
    case ELM_STOP_CANCELLED:
        return "cancelled";
    case ELM_STOP_CALLBACK:
    case ELM_STOP_NONE:
        break;
    }
    return "none";
}

static void print_json(const elm_session *session, const cli_reply *reply, size_t n_prompt) {
    const elm_generate_result *result = &reply->result;
    elm_buf out;
    elm_json_writer w;
    elm_stats stats;
    const int32_t *tokens = elm_session_tokens(session);
    elm_session_get_stats(session, &stats);
    cli_buf(&out);
    elm_json_writer_init(&w, &out, true);
    elm_json_begin_object(&w, NULL);
    elm_json_put_int(&w, "schema_version", 1);
    elm_json_put_string(&w, "text", elm_buf_span(&reply->text));
    if (reply->message.size > 0) {
        elm_buf_str(&out, ",\n  \"message\": ");
        elm_buf_append(&out, reply->message.data, reply->message.size);
    }
    elm_json_begin_array(&w, "ids");
    for (uint32_t i = (uint32_t)n_prompt; i < elm_session_length(session); i++) {
        elm_json_put_int(&w, NULL, tokens[i]);
    }
    elm_json_end_array(&w);
    elm_json_put_str(&w, "stop_reason", reason_text(result->reason));
    elm_json_put_int(&w, "prompt_tokens", (int64_t)n_prompt);
    elm_json_put_int(&w, "generated_tokens", result->n_tokens);
    elm_json_put_double(&w, "load_ms", (double)stats.load_us / 1e3);
    elm_json_put_double(&w, "first_token_ms", (double)stats.first_token_us / 1e3);
    elm_json_put_double(&w, "prefill_ms", (double)stats.prefill_us / 1e3);
    elm_json_put_double(&w, "decode_ms", (double)stats.decode_us / 1e3);
    elm_json_put_int(&w, "peak_rss_bytes", (int64_t)cli_memory_now().peak_bytes);
    elm_json_end_object(&w);
    elm_buf_u8(&out, '\n');
    cli_print_buf(&out);
    elm_buf_free(&out);
}

static elm_status answer(const cli_options *o, const elm_model *model, elm_session *session,
                         elm_span chat, const int32_t *ids, size_t n, elm_generate_result *result,
                         elm_error *err) {
    cli_reply reply;
    cli_reply_init(&reply);
    cli_cancel_target(session);
    elm_status status = elm_session_append(session, ids, n, err);
    cli_cancel_target(NULL);
    if (status == ELM_OK) status = cli_stream(model, session, o, chat, &reply, err);
    if (status == ELM_OK && o->json) print_json(session, &reply, n);
    if (status == ELM_OK && !o->json) fputc('\n', stdout);
    if (status == ELM_OK && o->stats) cli_print_stats(session);
    *result = reply.result;
    cli_reply_free(&reply);
    return status;
}

static elm_status run_model(const cli_options *o, elm_span prompt, elm_generate_result *result,
                            elm_error *err) {
    elm_model *model = NULL;
    elm_session *session = NULL;
    elm_model_options mo;
    elm_session_options so;
    elm_model_info info;
    int32_t *ids = NULL;
    size_t n = 0;
    elm_buf chat;
    cli_buf(&chat);
    elm_status status = cli_model_options(o, &mo, err);
    if (status == ELM_OK) status = elm_model_open(&model, o->positional[0], &mo, err);
    if (status != ELM_OK) goto out;
    elm_model_get_info(model, &info);
    ELM_TRY_OUT(cli_session_options(o, &info, &so, err));
    ELM_TRY_OUT(prompt_ids(o, model, &info, prompt, &chat, &ids, &n, err));
    cli_fit_context(o, &info, n, &so);
    ELM_TRY_OUT(elm_session_create(model, &so, &session, err));
    status = answer(o, model, session, elm_buf_span(&chat), ids, n, result, err);
out:
    elm_buf_free(&chat);
    free(ids);
    elm_session_free(session);
    elm_model_close(model);
    return status;
}

static int run(const cli_options *o) {
    elm_error err;
    elm_generate_result result = {0};
    char *text = NULL;
    size_t n = 0;
    elm_status status = ELM_OK;
    if (o->prompt && o->file) return cli_fail(ELM_INVALID_ARGUMENT, "give -p or -f, not both");
    if (!o->prompt) status = cli_read(o->file, &text, &n, &err);
    elm_span prompt = o->prompt ? elm_span_str(o->prompt) : elm_span_of(text, n);
    if (status == ELM_OK) status = run_model(o, prompt, &result, &err);
    free(text);
    if (status != ELM_OK) return cli_error(&err);
    return result.reason == ELM_STOP_CANCELLED ? cli_interrupted : 0;
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
