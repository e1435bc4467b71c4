/* cmd_template.c - edge-llm template: renders a chat template file; cli. */
#include "cli/cli.h"
#include "text/template.h"

#include <stdlib.h>
#include <time.h>

static elm_status render(const cli_options *o, elm_arena *arena, elm_parts *out, elm_error *err) {
    elm_template_options options = {.now_unix_s = (int64_t)time(NULL),
                                    .now_offset_s = cli_utc_offset_s()};
    elm_template *template = NULL;
    const elm_json *context = NULL;
    char *source, *json;
    size_t n_source, n_json;
    ELM_TRY(cli_read(o->positional[0], &source, &n_source, err));
    elm_status status =
        elm_template_parse(elm_allocator_default(), elm_span_of(source, n_source), &template, err);
    free(source);
    ELM_TRY(status);
    status = cli_read(o->chat, &json, &n_json, err);
    if (status == ELM_OK) {
        status = elm_json_parse(elm_span_of(json, n_json), o->chat, NULL, arena, &context, err);
        free(json);
    }
    if (status == ELM_OK && context->type != ELM_JSON_OBJECT) {
        status = elm_fail(err, ELM_MALFORMED, "'%s' holds no JSON object", o->chat);
    }
    if (status == ELM_OK) status = elm_template_render(template, context, &options, out, err);
    if (status == ELM_OK) status = elm_parts_check(out, "the rendered text", err);
    elm_template_free(template);
    return status;
}

static int run(const cli_options *o) {
    elm_error err;
    elm_arena arena;
    elm_parts out;
    if (!o->chat) return cli_fail(ELM_INVALID_ARGUMENT, "template needs --chat FILE.json");
    elm_arena_init(&arena, elm_allocator_default(), 0);
    elm_parts_init(&out, elm_allocator_default(), ELM_TEMPLATE_MAX_OUTPUT_BYTES);
    elm_status status = render(o, &arena, &out, &err);
    if (status == ELM_OK) cli_print_text(o, &out.text);
    elm_parts_free(&out);
    elm_arena_free(&arena);
    return status == ELM_OK ? 0 : cli_error(&err);
}

const cli_command cli_template = {"template",
                                  "template FILE.jinja --chat FILE.json",
                                  "render a chat template",
                                  "  edge-llm template chat_template.jinja --chat chat.json\n",
                                  1,
                                  1,
                                  run};
