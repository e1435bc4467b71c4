/* reply.c - an answer as JSON, for run and chat; cli. */
#include "cli/generate.h"

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

void cli_print_reply(const elm_session *session, const cli_reply *reply, bool pretty) {
    const elm_generate_result *result = &reply->result;
    elm_buf out;
    elm_json_writer w;
    elm_stats stats;
    const int32_t *tokens = elm_session_tokens(session);
    elm_session_get_stats(session, &stats);
    cli_buf(&out);
    elm_json_writer_init(&w, &out, pretty);
    elm_json_begin_object(&w, NULL);
    elm_json_put_int(&w, "schema_version", 1);
    elm_json_put_string(&w, "text", elm_buf_span(&reply->text));
    if (reply->message.size > 0) {
        elm_buf_str(&out, pretty ? ",\n  \"message\": " : ", \"message\": ");
        elm_buf_append(&out, reply->message.data, reply->message.size);
    }
    elm_json_begin_array(&w, "ids");
    for (uint32_t i = reply->n_prompt; i < elm_session_length(session); i++) {
        elm_json_put_int(&w, NULL, tokens[i]);
    }
    elm_json_end_array(&w);
    elm_json_put_str(&w, "stop_reason", reason_text(result->reason));
    elm_json_put_int(&w, "prompt_tokens", reply->n_prompt);
    elm_json_put_int(&w, "generated_tokens", result->n_tokens);
    elm_json_put_double(&w, "load_ms", (double)stats.load_us / 1e3);
    elm_json_put_double(&w, "first_token_ms", (double)stats.first_token_us / 1e3);
    elm_json_put_double(&w, "prefill_ms",
                        (double)(stats.prefill_us - reply->before.prefill_us) / 1e3);
    elm_json_put_double(&w, "decode_ms", (double)(stats.decode_us - reply->before.decode_us) / 1e3);
    elm_json_put_int(&w, "reused_tokens",
                     (int64_t)(stats.reused_tokens - reply->before.reused_tokens));
    elm_json_put_int(&w, "drafted_tokens",
                     (int64_t)(stats.drafted_tokens - reply->before.drafted_tokens));
    elm_json_put_int(&w, "accepted_tokens",
                     (int64_t)(stats.accepted_tokens - reply->before.accepted_tokens));
    elm_json_put_int(&w, "peak_rss_bytes", (int64_t)cli_memory_now().peak_bytes);
    elm_json_end_object(&w);
    elm_buf_u8(&out, '\n');
    cli_print_buf(&out);
    elm_buf_free(&out);
}
