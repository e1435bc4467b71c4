/* text_tool.c - the tokenizer and the template engine, driven by many records through a pipe.
 *
 *   text_tool tokenizer PATH      PATH as `edge-llm tokenize` takes it, but no .elm
 *     in:  u8 flags, u32 n; then n parts {u8 origin, u32 size, bytes}, or with DECODE n times i32
 *     out: i32 status; on success u32 n, n times i32, u32 size, the decoded text; else u32 size,
 * message text_tool time PATH RUNS      the fastest of RUNS encodings in:  u32 size, bytes out: f64
 * seconds, u32 calls of the allocator in one encoding, u32 number of ids text_tool template in: i64
 * now, u32 size, source, u32 size, JSON of the variables out: i32 status, u32 size, text or
 * message; on success u32 n, n times {u32 end, u8 origin}
 *   text_tool answer
 *     in:  u32 size, source of the template, u8 thinking, u32 size, JSON of the tools, u32 n, n
 * pieces {u32 size, bytes} out: i32 status, u32 n, n parts {u8 kind, u32 size, bytes}
 *
 * Little-endian. Decoding goes token by token; a piece that is no whole code points ends the
 * program. */
#include "base/utf8.h"
#include "parse/source.h"
#include "parse/tokenizer_build.h"
#include "text/answer.h"
#include "text/template.h"
#include "text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ADD_SPECIAL = 1, DECODE = 2, SKIP_SPECIAL = 4, MAX_BYTES = 1 << 30 };

static void die(const char *what, const elm_error *err) {
    fprintf(stderr, "text_tool: %s: %s\n", what, err ? err->message : "");
    exit(1);
}

/* ---- the pipe ---- */

static bool get(void *out, size_t size) {
    size_t n = fread(out, 1, size, stdin);
    if (n != 0 && n != size) die("a record ends early", NULL);
    return n == size;
}

static uint32_t get_u32(void) {
    uint32_t value = 0;
    if (!get(&value, sizeof value)) die("a record ends early", NULL);
    return value;
}

static uint8_t *get_bytes(uint32_t size) {
    uint8_t *data = malloc((size_t)size + 1);
    if (!data || (size > 0 && !get(data, size))) die("a record ends early", NULL);
    return data;
}

static void put(const void *data, size_t size) {
    if (size > 0 && fwrite(data, 1, size, stdout) != size) die("stdout", NULL);
}

static void put_u32(uint32_t value) {
    put(&value, sizeof value);
}

static void put_text(elm_span text) {
    put_u32((uint32_t)text.size);
    put(text.data, text.size);
}

/* ---- tokenizer ---- */

static elm_tokenizer *open_tokenizer(const elm_allocator *alloc, const char *path, elm_arena *arena,
                                     elm_buf *blob) {
    static const elm_json_options options = {.allow_nan = true, .allow_lone_surrogates = true};
    const elm_platform *p = elm_platform_default();
    size_t n = strlen(path);
    elm_tokenizer *t = NULL;
    elm_error err;
    elm_status status;
    if (n > 5 && strcmp(path + n - 5, ".json") == 0) {
        elm_span text;
        const elm_json *root = NULL;
        status = elm_file_slurp(p, path, MAX_BYTES, arena, &text, &err);
        if (status == ELM_OK) status = elm_json_parse(text, path, &options, arena, &root, &err);
        if (status == ELM_OK) status = elm_tokenizer_build_hf(p->alloc, root, blob, &err);
    } else {
        elm_source source;
        status = elm_source_open(p, path, false, &source, &err);
        if (status == ELM_OK) status = elm_source_tokenizer(&source, blob, &err);
        elm_source_close(&source);
    }
    if (status == ELM_OK) status = elm_tokenizer_open(alloc, elm_buf_span(blob), &t, &err);
    if (status == ELM_OK) return t;
    printf("%s", err.message);
    exit(3);
}

static void decode(const elm_tokenizer *t, const elm_buf *ids, bool skip_special, elm_buf *text) {
    elm_detokenizer d = {0};
    const int32_t *id = (const int32_t *)(const void *)ids->data;
    for (size_t i = 0, n = ids->size / sizeof *id; i <= n; i++) {
        size_t before = text->size;
        if (i < n)
            elm_detokenizer_push(t, &d, id[i], skip_special, text);
        else
            elm_detokenizer_finish(t, &d, text);
        elm_span piece = elm_span_of(text->data + before, text->size - before);
        if (piece.size > 0 && elm_utf8_valid_prefix(piece) != piece.size)
            die("decoding gave half a code point", NULL);
    }
}

static void get_parts(elm_parts *parts, uint32_t n) {
    elm_parts_clear(parts);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t origin = 0;
        if (!get(&origin, 1)) die("a record ends early", NULL);
        uint32_t size = get_u32();
        uint8_t *data = get_bytes(size);
        elm_parts_append(parts, elm_span_of(data, size), (elm_part_origin)origin);
        free(data);
    }
}

static void run_tokenizer(const char *path) {
    const elm_allocator *alloc = elm_allocator_default();
    elm_arena arena;
    elm_buf blob, ids, text;
    elm_parts parts;
    uint8_t flags;
    elm_arena_init(&arena, alloc, 0);
    elm_buf_init(&blob, alloc, MAX_BYTES);
    elm_buf_init(&ids, alloc, MAX_BYTES);
    elm_buf_init(&text, alloc, MAX_BYTES);
    elm_parts_init(&parts, alloc, MAX_BYTES);
    elm_tokenizer *t = open_tokenizer(alloc, path, &arena, &blob);
    while (get(&flags, 1)) {
        elm_error err;
        elm_status status = ELM_OK;
        uint32_t n = get_u32();
        elm_buf_clear(&ids);
        elm_buf_clear(&text);
        if (flags & DECODE) {
            uint8_t *data = get_bytes(n * 4);
            elm_buf_append(&ids, data, (size_t)n * 4);
            free(data);
        } else {
            get_parts(&parts, n);
            status = elm_tokenizer_encode(t, &parts, (flags & ADD_SPECIAL) != 0, &ids, &err);
        }
        put(&(int32_t){(int32_t)status}, 4);
        if (status != ELM_OK) {
            put_text(elm_span_str(err.message));
            continue;
        }
        decode(t, &ids, (flags & SKIP_SPECIAL) != 0, &text);
        put_u32((uint32_t)(ids.size / 4));
        put(ids.data, ids.size);
        put_text(elm_buf_span(&text));
    }
    elm_tokenizer_close(t);
    elm_parts_free(&parts);
    elm_buf_free(&text);
    elm_buf_free(&ids);
    elm_buf_free(&blob);
    elm_arena_free(&arena);
}

/* ---- speed ---- */

/* self counts the calls. */
static void *count_resize(void *self, void *block, size_t old_bytes, size_t new_bytes) {
    const elm_allocator *a = elm_allocator_default();
    *(uint32_t *)self += new_bytes > 0;
    return a->resize(a->self, block, old_bytes, new_bytes);
}

static double seconds_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void run_timing(const char *path, int runs) {
    uint32_t calls = 0;
    elm_allocator alloc = {&calls, count_resize};
    elm_arena arena;
    elm_buf blob, ids;
    uint32_t size;
    elm_arena_init(&arena, elm_allocator_default(), 0);
    elm_buf_init(&blob, elm_allocator_default(), MAX_BYTES);
    elm_buf_init(&ids, &alloc, MAX_BYTES);
    elm_tokenizer *t = open_tokenizer(&alloc, path, &arena, &blob);
    while (get(&size, sizeof size)) {
        uint8_t *data = get_bytes(size);
        double best = 1e300;
        elm_error err;
        for (int i = 0; i < runs; i++) {
            elm_buf_free(&ids);
            elm_buf_init(&ids, &alloc, MAX_BYTES);
            calls = 0;
            double begin = seconds_now();
            if (elm_tokenizer_encode_text(t, elm_span_of(data, size), ELM_PART_TEMPLATE, false,
                                          &ids, &err) != ELM_OK)
                die("encode", &err);
            double took = seconds_now() - begin;
            if (took < best) best = took;
        }
        put(&best, sizeof best);
        put_u32(calls);
        put_u32((uint32_t)(ids.size / 4));
        free(data);
    }
    elm_tokenizer_close(t);
    elm_buf_free(&ids);
    elm_buf_free(&blob);
    elm_arena_free(&arena);
}

/* ---- templates ---- */

static elm_status render(elm_span source, elm_span json, int64_t now, elm_parts *out,
                         elm_error *err) {
    elm_template_options options = {.now_unix_s = now};
    elm_template *t = NULL;
    elm_arena arena;
    const elm_json *context = NULL;
    elm_arena_init(&arena, elm_allocator_default(), 0);
    elm_status status = elm_template_parse(elm_allocator_default(), source, &t, err);
    if (status == ELM_OK) status = elm_json_parse(json, "variables", NULL, &arena, &context, err);
    if (status == ELM_OK) status = elm_template_render(t, context, &options, out, err);
    elm_template_free(t);
    elm_arena_free(&arena);
    return status;
}

static void run_templates(void) {
    elm_parts parts;
    int64_t now;
    elm_parts_init(&parts, elm_allocator_default(), ELM_TEMPLATE_MAX_OUTPUT_BYTES);
    while (get(&now, sizeof now)) {
        elm_error err;
        uint32_t n_source = get_u32();
        uint8_t *source = get_bytes(n_source);
        uint32_t n_json = get_u32();
        uint8_t *json = get_bytes(n_json);
        elm_parts_clear(&parts);
        elm_status status =
            render(elm_span_of(source, n_source), elm_span_of(json, n_json), now, &parts, &err);
        put(&(int32_t){(int32_t)status}, 4);
        put_text(status == ELM_OK ? elm_buf_span(&parts.text) : elm_span_str(err.message));
        if (status == ELM_OK) put_u32((uint32_t)elm_parts_count(&parts));
        for (size_t i = 0; status == ELM_OK && i < elm_parts_count(&parts); i++) {
            const elm_part *part = elm_parts_at(&parts, i);
            put_u32((uint32_t)part->end);
            put(&(uint8_t){(uint8_t)part->origin}, 1);
        }
        free(json);
        free(source);
    }
    elm_parts_free(&parts);
}

/* ---- answers ---- */

static void keep_part(void *context, elm_answer_kind kind, elm_span text) {
    elm_buf *out = context;
    if (text.size == 0 || elm_utf8_valid_prefix(text) != text.size) die("a part is no text", NULL);
    elm_buf_u8(out, (uint8_t)kind);
    elm_buf_u32(out, (uint32_t)text.size);
    elm_buf_append(out, text.data, text.size);
}

static uint32_t count_parts(const elm_buf *parts) {
    uint32_t n = 0;
    for (size_t at = 0; at < parts->size; n++) {
        uint32_t size;
        memcpy(&size, parts->data + at + 1, sizeof size);
        at += 5 + (size_t)size;
    }
    return n;
}

static void run_answers(void) {
    const elm_allocator *alloc = elm_allocator_default();
    uint32_t n_source;
    while (get(&n_source, sizeof n_source)) {
        uint8_t *source = get_bytes(n_source), thinking = 0;
        elm_answer_format format;
        elm_answer_parser parser;
        elm_arena arena;
        elm_buf parts;
        elm_error err;
        const elm_json *tools = NULL;
        elm_answer_format_detect(elm_span_of(source, n_source), &format);
        if (!get(&thinking, 1)) die("a record ends early", NULL);
        uint32_t n_tools = get_u32();
        uint8_t *json = get_bytes(n_tools);
        elm_arena_init(&arena, alloc, 0);
        elm_buf_init(&parts, alloc, MAX_BYTES);
        if (elm_json_parse(elm_span_of(json, n_tools), "tools", NULL, &arena, &tools, &err) !=
            ELM_OK)
            die("tools", &err);
        elm_answer_parser_init(&parser, alloc, &format, thinking != 0, tools, keep_part, &parts);
        for (uint32_t i = 0, n = get_u32(); i < n; i++) {
            uint32_t size = get_u32();
            uint8_t *piece = get_bytes(size);
            elm_answer_push(&parser, elm_span_of(piece, size));
            free(piece);
        }
        put(&(int32_t){(int32_t)elm_answer_finish(&parser, &err)}, 4);
        put_u32(count_parts(&parts));
        put(parts.data, parts.size);
        elm_answer_parser_free(&parser);
        elm_buf_free(&parts);
        elm_arena_free(&arena);
        free(json);
        free(source);
    }
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "tokenizer") == 0) {
        run_tokenizer(argv[2]);
    } else if (argc == 4 && strcmp(argv[1], "time") == 0) {
        run_timing(argv[2], atoi(argv[3]));
    } else if (argc == 2 && strcmp(argv[1], "template") == 0) {
        run_templates();
    } else if (argc == 2 && strcmp(argv[1], "answer") == 0) {
        run_answers();
    } else {
        fprintf(stderr, "usage: text_tool tokenizer PATH | time PATH RUNS | template | answer\n");
        return 2;
    }
    return fflush(stdout) == 0 ? 0 : 1;
}
