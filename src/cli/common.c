/* common.c - streams, errors and option conversion for all sub-commands; cli. */
#include "cli/cli.h"

#include "base/utf8.h"
#include "elm/format.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

enum { MAX_INPUT_BYTES = 256 << 20, USUAL_CONTEXT = 4096, USUAL_ANSWER = 1024 };

int cli_error(const elm_error *err) {
    fflush(stdout);
    fprintf(stderr, "edge-llm: %s\n", err->message);
    return elm_status_exit_code(err->code);
}

int cli_fail(elm_status status, const char *fmt, ...) {
    elm_error err = {.code = status};
    va_list args;
    va_start(args, fmt);
    vsnprintf(err.message, sizeof err.message, fmt, args);
    va_end(args);
    return cli_error(&err);
}

static elm_status read_stream(FILE *in, const char *name, char **out, size_t *n_out,
                              elm_error *err) {
    size_t size = 0, capacity = 65536;
    char *data = malloc(capacity + 1);
    while (data) {
        size_t n = fread(data + size, 1, capacity - size, in);
        size += n;
        if (n == 0) break;
        if (size < capacity) continue;
        if (capacity >= MAX_INPUT_BYTES) {
            free(data);
            return elm_fail(err, ELM_LIMIT, "%s has more than %d bytes", name, MAX_INPUT_BYTES);
        }
        char *larger = realloc(data, capacity * 2 + 1);
        if (!larger) free(data);
        data = larger;
        capacity *= 2;
    }
    if (!data) return elm_fail(err, ELM_OUT_OF_MEMORY, "no memory to read %s", name);
    if (ferror(in)) {
        free(data);
        if (cli_interrupted) return elm_fail(err, ELM_CANCELLED, "interrupted");
        return elm_fail(err, ELM_NOT_FOUND, "cannot read %s: %s", name, strerror(errno));
    }
    data[size] = 0;
    *out = data;
    *n_out = size;
    return ELM_OK;
}

elm_status cli_read(const char *path, char **out, size_t *n_out, elm_error *err) {
    if (!path || strcmp(path, "-") == 0) {
        cli_signals_end_waits(true);
        elm_status status = read_stream(stdin, "standard input", out, n_out, err);
        cli_signals_end_waits(false);
        return status;
    }
    FILE *in = fopen(path, "rb");
    if (!in) return elm_fail(err, ELM_NOT_FOUND, "cannot open '%s': %s", path, strerror(errno));
    elm_status status = read_stream(in, path, out, n_out, err);
    fclose(in);
    return status;
}

bool cli_is_elm(const char *path) {
    struct stat of;
    uint8_t magic[8] = {0};
    FILE *in = stat(path, &of) == 0 && S_ISREG(of.st_mode) ? fopen(path, "rb") : NULL;
    bool elm = in && fread(magic, 1, sizeof magic, in) == sizeof magic &&
               memcmp(magic, ELM_MAGIC, sizeof magic) == 0;
    if (in) fclose(in);
    return elm;
}

elm_status cli_spare(const char *target, const char *const *sources, size_t n, elm_error *err) {
    struct stat to, from;
    if (stat(target, &to) != 0) return ELM_OK;
    for (size_t i = 0; i < n; i++) {
        if (!sources[i] || stat(sources[i], &from) != 0) continue;
        if (to.st_dev != from.st_dev || to.st_ino != from.st_ino) continue;
        return elm_fail(err, ELM_INVALID_ARGUMENT,
                        "'%s' is a file that this command reads; give another path to write",
                        target);
    }
    if (!cli_is_elm(target)) return ELM_OK;
    return elm_fail(err, ELM_INVALID_ARGUMENT, "'%s' is a model; give another path to write",
                    target);
}

elm_status cli_check_utf8(elm_span text, const char *what, elm_error *err) {
    const size_t n = elm_utf8_valid_prefix(text);
    if (n == text.size) return ELM_OK;
    return elm_fail(err, ELM_MALFORMED, "%s is not UTF-8 at byte %zu (0x%02x)", what, n,
                    text.data[n]);
}

int cli_finish_output(void) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return 0;
    if (errno == EPIPE) return 0; /* the reader had enough */
    return cli_fail(ELM_IO, "cannot write the output: %s", strerror(errno));
}

uint32_t cli_numbers(const char *text, uint32_t max_count, uint32_t *out) {
    uint32_t n = 0;
    for (const char *p = text; n < max_count;) {
        char *end;
        unsigned long value = strtoul(p, &end, 10);
        if (end == p || value > UINT32_MAX || *p == '-' || *p == '+') return 0;
        out[n++] = (uint32_t)value;
        if (*end == 0) return n;
        if (*end != ',') return 0;
        p = end + 1;
    }
    return 0;
}

int32_t cli_utc_offset_s(void) {
    struct tm local;
    time_t now = time(NULL);
    tzset(); /* localtime_r need not read TZ */
    return localtime_r(&now, &local) ? (int32_t)local.tm_gmtoff : 0;
}

elm_status cli_model_options(const cli_options *o, elm_model_options *out, elm_error *err) {
    memset(out, 0, sizeof *out);
    out->struct_size = sizeof *out;
    uint32_t threads[64];
    if (o->threads) {
        if (cli_numbers(o->threads, 64, threads) == 0 || threads[0] == 0) {
            return elm_fail(err, ELM_INVALID_ARGUMENT, "--threads takes a number from 1, not '%s'",
                            o->threads);
        }
        out->n_threads = threads[0];
    }
    if (o->cpu_mask) {
        char *end;
        out->cpu_mask = (uint32_t)strtoul(o->cpu_mask, &end, 16);
        if (*end || out->cpu_mask == 0) {
            return elm_fail(err, ELM_INVALID_ARGUMENT,
                            "--cpu-mask takes a hexadecimal number above 0, not '%s'", o->cpu_mask);
        }
    }
    if (o->memory_mb != CLI_NO_INT) {
        if (o->memory_mb < 1)
            return elm_fail(err, ELM_INVALID_ARGUMENT, "--memory takes megabytes, from 1");
        out->memory_limit_bytes = (size_t)o->memory_mb << 20;
    }
    out->backends = o->backend;
    out->utc_offset_s = cli_utc_offset_s();
    return ELM_OK;
}

static elm_status kv_type(const char *text, elm_kv_type *out, elm_error *err) {
    if (!text) return ELM_OK;
    if (strcmp(text, "f32") == 0)
        *out = ELM_KV_F32;
    else if (strcmp(text, "f16") == 0)
        *out = ELM_KV_F16;
    else if (strcmp(text, "int8") == 0)
        *out = ELM_KV_I8;
    else
        return elm_fail(err, ELM_INVALID_ARGUMENT, "--kv takes f32, f16 or int8, not '%s'", text);
    return ELM_OK;
}

elm_status cli_session_options(const cli_options *o, const elm_model_info *info,
                               elm_session_options *out, elm_error *err) {
    memset(out, 0, sizeof *out);
    out->struct_size = sizeof *out;
    ELM_TRY(kv_type(o->kv, &out->kv, err));
    if (o->ctx != CLI_NO_INT) {
        if (o->ctx < 1 || o->ctx > UINT32_MAX) {
            return elm_fail(err, ELM_INVALID_ARGUMENT, "--ctx takes a number of positions from 1");
        }
        out->n_context = (uint32_t)o->ctx;
        if (out->n_context > info->context_length && !o->quiet)
            fprintf(stderr, "edge-llm: note: the model was made for %u positions, not for %u\n",
                    info->context_length, out->n_context);
    }
    elm_sampling *s = &out->sampling;
    *s = info->sampling;
    s->struct_size = sizeof *s;
    if (o->temp != CLI_NO_NUMBER) s->temperature = (float)o->temp;
    if (o->top_k != CLI_NO_INT)
        s->top_k = (int32_t)(o->top_k < 0 || o->top_k > INT32_MAX ? -1 : o->top_k);
    if (o->top_p != CLI_NO_NUMBER) s->top_p = (float)o->top_p;
    if (o->min_p != CLI_NO_NUMBER) s->min_p = (float)o->min_p;
    if (o->repeat_penalty != CLI_NO_NUMBER) s->repetition_penalty = (float)o->repeat_penalty;
    if (o->presence_penalty != CLI_NO_NUMBER) s->presence_penalty = (float)o->presence_penalty;
    if (o->frequency_penalty != CLI_NO_NUMBER) s->frequency_penalty = (float)o->frequency_penalty;
    s->seed = o->seed != CLI_NO_INT ? (uint64_t)o->seed : 0;
    return ELM_OK;
}

void cli_fit_context(const cli_options *o, const elm_model_info *info, size_t n_prompt,
                     elm_session_options *session) {
    size_t answer = o->n != CLI_NO_INT && o->n > 0 ? (size_t)o->n : USUAL_ANSWER;
    size_t need = n_prompt + answer;
    if (session->n_context != 0 || need <= USUAL_CONTEXT) return;
    session->n_context = need < info->context_length ? (uint32_t)need : info->context_length;
}

void cli_buf(elm_buf *buf) {
    elm_buf_init(buf, elm_allocator_default(), (size_t)1 << 30);
}

void cli_print_buf(const elm_buf *buf) {
    if (buf->size > 0) fwrite(buf->data, 1, buf->size, stdout); /* an empty one has no data */
}

void cli_print_text(const cli_options *o, const elm_buf *text) {
    elm_buf out;
    elm_json_writer w;
    if (!o->json) {
        cli_print_buf(text);
        return;
    }
    cli_buf(&out);
    elm_json_writer_init(&w, &out, false);
    elm_json_begin_object(&w, NULL);
    elm_json_put_int(&w, "schema_version", 1);
    elm_json_put_string(&w, "text", elm_buf_span(text));
    elm_json_end_object(&w);
    elm_buf_u8(&out, '\n');
    cli_print_buf(&out);
    elm_buf_free(&out);
}

size_t cli_print_plain(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)text[i],
                            next = i + 1 < n ? (unsigned char)text[i + 1] : 0;
        bool c1 = c == 0xc2 && next >= 0x80 && next < 0xa0; /* U+0080 .. U+009F */
        putchar(c < 0x20 || c == 0x7f || c1 ? '?' : c);
        i += c1;
    }
    return n;
}

/* The number behind `name` in a file of lines "name: 123 kB", in bytes; 0 when it is not there. */
static uint64_t kilobytes_of(const char *path, const char *name) {
    FILE *in = fopen(path, "r");
    char line[128];
    uint64_t bytes = 0;
    while (in && fgets(line, sizeof line, in)) {
        if (strncmp(line, name, strlen(name)) == 0)
            bytes = strtoull(line + strlen(name), NULL, 10) * 1024;
    }
    if (in) fclose(in);
    return bytes;
}

cli_memory cli_memory_now(void) {
    cli_memory memory = {0};
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) == 0) memory.peak_bytes = (uint64_t)usage.ru_maxrss * 1024;
    memory.file_bytes = kilobytes_of("/proc/self/status", "RssFile:");
    memory.anonymous_bytes = kilobytes_of("/proc/self/status", "RssAnon:");
    memory.file_huge_bytes = kilobytes_of("/proc/self/smaps_rollup", "FilePmdMapped:");
    return memory;
}
