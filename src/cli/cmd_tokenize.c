/* cmd_tokenize.c - edge-llm tokenize: text to ids and back, for a .elm, a tokenizer.json, a folder
 * or a GGUF; cli. */
#include "cli/cli.h"
#include "elm/container.h"
#include "parse/source.h"
#include "text/template.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_BYTES = 1 << 30 };

/* A tokenizer and, where there is one, a chat template, out of any of the four kinds of file. */
typedef struct text_model {
    elm_container container;
    elm_source source;
    elm_arena arena;
    elm_buf blob;
    elm_tokenizer *tokenizer;
    elm_span chat_template; /* empty: none */
    const elm_json *special_tokens;
} text_model;

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

static elm_status open_elm(text_model *m, const char *path, elm_error *err) {
    elm_span section;
    const elm_json *meta;
    ELM_TRY(elm_container_open(elm_platform_default(), path, &m->container, err));
    ELM_TRY(elm_container_load(&m->container, ELM_SECTION_META, &section, err));
    ELM_TRY(elm_json_parse(section, "meta", NULL, &m->arena, &meta, err));
    m->special_tokens = elm_json_find(meta, "special_tokens");
    if (elm_container_find(&m->container, ELM_SECTION_TEMPLATE)) {
        ELM_TRY(elm_container_load(&m->container, ELM_SECTION_TEMPLATE, &m->chat_template, err));
    }
    ELM_TRY(elm_container_load(&m->container, ELM_SECTION_TOKENIZER, &section, err));
    return elm_tokenizer_open(elm_allocator_default(), section, &m->tokenizer, err);
}

static elm_status open_source(text_model *m, const char *path, elm_error *err) {
    static const elm_json_options options = {.allow_nan = true, .allow_lone_surrogates = true};
    const elm_platform *p = elm_platform_default();
    if (ends_with(path, ".json")) {
        elm_span text;
        const elm_json *root;
        ELM_TRY(elm_file_slurp(p, path, MAX_BYTES, &m->arena, &text, err));
        ELM_TRY(elm_json_parse(text, path, &options, &m->arena, &root, err));
        ELM_TRY(elm_tokenizer_build_hf(p->alloc, root, &m->blob, err));
    } else {
        ELM_TRY(elm_source_open(p, path, false, &m->source, err));
        ELM_TRY(elm_source_tokenizer(&m->source, &m->blob, err));
        m->special_tokens = m->source.special_tokens;
        if (m->source.chat_template) m->chat_template = elm_span_str(m->source.chat_template);
    }
    ELM_TRY(elm_buf_check(&m->blob, "the tokenizer", err));
    return elm_tokenizer_open(p->alloc, elm_buf_span(&m->blob), &m->tokenizer, err);
}

static void close_model(text_model *m) {
    elm_tokenizer_close(m->tokenizer);
    elm_buf_free(&m->blob);
    if (m->source.platform) elm_source_close(&m->source);
    if (m->container.platform) elm_container_close(&m->container);
    elm_arena_free(&m->arena);
}

static void print_ids(const cli_options *o, const elm_buf *ids) {
    const int32_t *id = (const int32_t *)(const void *)ids->data;
    if (o->json) fputs("{\"schema_version\": 1, \"ids\": [", stdout);
    for (size_t i = 0; i < ids->size / sizeof *id; i++)
        printf(!i ? "%d" : o->json ? ", %d" : " %d", id[i]);
    puts(o->json ? "]}" : "");
}

static elm_status encode(const text_model *m, const cli_options *o, elm_buf *ids, elm_error *err) {
    char *text = NULL;
    size_t n = 0;
    if (o->prompt && o->file) return elm_fail(err, ELM_INVALID_ARGUMENT, "give -p or -f, not both");
    if (!o->prompt) ELM_TRY(cli_read(o->file, &text, &n, err));
    elm_span span = o->prompt ? elm_span_str(o->prompt) : elm_span_of(text, n);
    elm_status status = elm_tokenizer_encode_text(
        m->tokenizer, span, o->plain ? ELM_PART_INPUT : ELM_PART_TEMPLATE, !o->no_bos, ids, err);
    free(text);
    return status;
}

static elm_status decode(const text_model *m, const char *list, elm_buf *out, elm_error *err) {
    elm_detokenizer d = {0};
    elm_tokenizer_info info;
    elm_tokenizer_get_info(m->tokenizer, &info);
    for (const char *p = list; *p;) {
        char *end;
        if (strchr(" \t\r\n,", *p)) {
            p++;
            continue;
        }
        long id = strtol(p, &end, 10);
        if (end == p || id < 0 || id >= (long)info.n_ids) {
            return elm_fail(err, ELM_INVALID_ARGUMENT, "'%.20s' is no id of this tokenizer (0..%u)",
                            p, info.n_ids - 1);
        }
        elm_detokenizer_push(m->tokenizer, &d, (int32_t)id, false, out);
        p = end;
    }
    elm_detokenizer_finish(m->tokenizer, &d, out);
    return elm_buf_check(out, "the text", err);
}

/* The context with the model's special tokens where it does not name them. */
static elm_status chat_context(text_model *m, const char *path, elm_json *out, elm_error *err) {
    char *text;
    size_t n;
    const elm_json *root = NULL;
    ELM_TRY(cli_read(path, &text, &n, err));
    elm_status status = elm_json_parse(elm_span_of(text, n), path, NULL, &m->arena, &root, err);
    free(text);
    ELM_TRY(status);
    if (root->type != ELM_JSON_OBJECT)
        return elm_fail(err, ELM_MALFORMED, "'%s' holds no JSON object", path);
    uint32_t extra = m->special_tokens ? m->special_tokens->count : 0, count = root->count;
    elm_json *members = elm_arena_array(&m->arena, (size_t)count + extra, sizeof *members);
    if (!members) return elm_fail_oom(err, sizeof *members, "the template's variables");
    if (count > 0) memcpy(members, root->as.items, count * sizeof *members);
    for (uint32_t i = 0; i < extra; i++) {
        const elm_json *token = &m->special_tokens->as.items[i];
        bool named = false;
        for (uint32_t k = 0; k < root->count && !named; k++)
            named = elm_span_equal(root->as.items[k].key, token->key);
        if (!named) members[count++] = *token;
    }
    *out = *root;
    out->as.items = members;
    out->count = count;
    return ELM_OK;
}

static elm_status chat(text_model *m, const cli_options *o, elm_parts *parts, elm_buf *ids,
                       elm_error *err) {
    elm_json context;
    elm_template *template = NULL;
    elm_template_options options = {.now_unix_s = (int64_t)time(NULL),
                                    .now_offset_s = cli_utc_offset_s()};
    if (m->chat_template.size == 0)
        return elm_fail(err, ELM_UNSUPPORTED, "'%s' has no chat template", o->positional[0]);
    ELM_TRY(chat_context(m, o->chat, &context, err));
    ELM_TRY(elm_template_parse(elm_allocator_default(), m->chat_template, &template, err));
    elm_status status = elm_template_render(template, &context, &options, parts, err);
    if (status == ELM_OK) status = elm_parts_check(parts, "the rendered text", err);
    if (status == ELM_OK && !o->render)
        status = elm_tokenizer_encode(m->tokenizer, parts, false, ids, err);
    elm_template_free(template);
    return status;
}

static elm_status work(text_model *m, const cli_options *o, elm_buf *out, elm_parts *parts,
                       elm_error *err) {
    const char *path = o->positional[0];
    bool elm = cli_is_elm(path) || ends_with(path, ".elm"); /* which may be damaged */
    ELM_TRY(elm ? open_elm(m, path, err) : open_source(m, path, err));
    if (o->decode) {
        ELM_TRY(decode(m, o->decode, out, err));
        cli_print_text(o, out);
        return ELM_OK;
    }
    if (o->chat) {
        ELM_TRY(chat(m, o, parts, out, err));
        if (o->render)
            cli_print_text(o, &parts->text);
        else
            print_ids(o, out);
        return ELM_OK;
    }
    ELM_TRY(encode(m, o, out, err));
    print_ids(o, out);
    return ELM_OK;
}

static int run(const cli_options *o) {
    elm_error err;
    text_model m;
    elm_buf out;
    elm_parts parts;
    memset(&m, 0, sizeof m);
    elm_arena_init(&m.arena, elm_allocator_default(), 0);
    cli_buf(&m.blob);
    cli_buf(&out);
    elm_parts_init(&parts, elm_allocator_default(), ELM_TEMPLATE_MAX_OUTPUT_BYTES);
    elm_status status = work(&m, o, &out, &parts, &err);
    elm_parts_free(&parts);
    elm_buf_free(&out);
    close_model(&m);
    return status == ELM_OK ? 0 : cli_error(&err);
}

const cli_command cli_tokenize = {"tokenize",
                                  "tokenize MODEL [-p TEXT | -f FILE | --decode \"ID ...\" | "
                                  "--chat FILE.json [--render]] [--no-bos] [--plain]",
                                  "text to ids and back",
                                  "  edge-llm tokenize model.elm -p \"Hello\"\n"
                                  "  edge-llm tokenize tokenizer.json --decode \"9707 11\"\n"
                                  "  edge-llm tokenize model.elm --chat chat.json --render\n",
                                  1,
                                  1,
                                  run};
