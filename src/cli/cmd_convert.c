/* cmd_convert.c - edge-llm convert: a folder or a GGUF to one .elm file, with progress; cli. */
#include "cli/cli.h"
#include "edge_llm_convert.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct news {
    const cli_options *options;
    bool bar;      /* a progress line is on the screen */
    bool show_bar; /* stderr is a terminal */
    uint64_t start_us, last_us;
    uint32_t n_requantised;
} news;

static void clear_bar(news *n) {
    if (n->bar) fputs("\r\033[K", stderr);
    n->bar = false;
}

static void on_progress(void *context, const elm_convert_progress *p) {
    news *n = context;
    uint64_t now = elm_now_us(elm_platform_default());
    if (!n->show_bar || (now - n->last_us < 100000 && p->n_done < p->n_total)) return;
    n->last_us = now;
    double seconds = (double)(now - n->start_us) / 1e6, done = (double)p->bytes_done,
           total = (double)p->bytes_total;
    double left = done > 0.0 ? seconds * (total - done) / done : 0.0;
    clear_bar(n);
    fprintf(stderr, "%u/%u tensors  %.0f of %.0f MB  %.0f MB/s  %.0f s left", p->n_done, p->n_total,
            done / 1e6, total / 1e6, seconds > 0.0 ? done / 1e6 / seconds : 0.0, left);
    n->bar = true;
}

static void on_note(void *context, const char *line) {
    news *n = context;
    if (n->options->quiet || n->options->json) return;
    clear_bar(n);
    fprintf(stderr, "%s\n", line);
}

/* Of GGUF's: q4_0, iq4_xs, tq1_0, mxfp4 ...; plain elements are f32, bf16, i64, u8, bool. */
static bool is_block_type(const char *source_type) {
    return strchr("qtm", source_type[0]) != NULL || strncmp(source_type, "iq", 2) == 0;
}

/* With keep, whatever could not be carried over is named, with what it cost. */
static void on_tensor(void *context, const elm_convert_tensor *t) {
    news *n = context;
    elm_quant quant;
    bool keeping = !n->options->quant ||
                   (elm_quant_parse(n->options->quant, &quant) && quant == ELM_QUANT_KEEP);
    bool was_quantised = is_block_type(t->source_type);
    if (t->exact || !keeping || !was_quantised) return;
    n->n_requantised++;
    if (n->options->quiet || n->options->json) return;
    clear_bar(n);
    fprintf(stderr, "%s: %s cannot be held exactly, stored as %s group %d (relative error %.2e)\n",
            t->name, t->source_type, t->type, t->group, t->rel_rms);
}

static bool should_stop(void *context) {
    (void)context;
    return cli_interrupted != 0;
}

/* "int8" or "int8:64" */
static elm_status parse_scheme(const char *option, const char *text, elm_quant *quant,
                               int32_t *group, elm_error *err) {
    char word[16];
    const char *colon = text ? strchr(text, ':') : NULL;
    if (!text) return ELM_OK;
    size_t n = colon ? (size_t)(colon - text) : strlen(text);
    snprintf(word, sizeof word, "%.*s", (int)(n < 15 ? n : 15), text);
    if (!elm_quant_parse(word, quant)) {
        return elm_fail(err, ELM_INVALID_ARGUMENT,
                        "%s takes f32, f16, bf16, int8, int4 or keep, not '%s'", option, word);
    }
    if (!colon) return ELM_OK;
    if (strcmp(colon + 1, "channel") == 0)
        *group = ELM_GROUP_CHANNEL;
    else
        *group = (int32_t)strtol(colon + 1, NULL, 10);
    if (*group != ELM_GROUP_CHANNEL && *group != 32 && *group != 64 && *group != 128) {
        return elm_fail(err, ELM_INVALID_ARGUMENT,
                        "%s: a group is 32, 64, 128 or channel, not '%s'", option, colon + 1);
    }
    return ELM_OK;
}

static elm_status read_options(const cli_options *o, elm_convert_options *out, elm_error *err) {
    uint32_t threads = 0;
    memset(out, 0, sizeof *out);
    out->struct_size = sizeof *out;
    ELM_TRY(parse_scheme("--quant", o->quant, &out->quant, &out->group, err));
    ELM_TRY(parse_scheme("--embed", o->embed, &out->embed, &out->embed_group, err));
    ELM_TRY(parse_scheme("--head", o->head, &out->head, &out->head_group, err));
    if (o->group) {
        out->group = strcmp(o->group, "channel") == 0 ? ELM_GROUP_CHANNEL
                                                      : (int32_t)strtol(o->group, NULL, 10);
        if (out->group != ELM_GROUP_CHANNEL && out->group != 32 && out->group != 64 &&
            out->group != 128) {
            return elm_fail(err, ELM_INVALID_ARGUMENT,
                            "--group takes 32, 64, 128 or channel, not '%s'", o->group);
        }
    }
    out->zero_point = o->zero_point;
    if (o->threads &&
        (cli_numbers(o->threads, 1, &threads) != 1 || threads == 0 || threads > 256)) {
        return elm_fail(err, ELM_INVALID_ARGUMENT,
                        "--threads takes a number from 1 to 256, not '%s'", o->threads);
    }
    out->n_threads = threads;
    out->resume = o->resume;
    if (o->calib)
        return elm_fail(err, ELM_UNSUPPORTED, "--calib is not in this version of edge-llm");
    return ELM_OK;
}

static void print_json(const elm_convert_result *r, double seconds) {
    elm_buf out;
    elm_json_writer w;
    cli_buf(&out);
    elm_json_writer_init(&w, &out, true);
    elm_json_begin_object(&w, NULL);
    elm_json_put_int(&w, "schema_version", 1);
    elm_json_put_str(&w, "architecture", r->architecture);
    elm_json_put_int(&w, "parameters", (int64_t)r->n_parameters);
    elm_json_put_int(&w, "source_bytes", (int64_t)r->source_bytes);
    elm_json_put_int(&w, "file_bytes", (int64_t)r->file_bytes);
    elm_json_put_int(&w, "f32_bytes", (int64_t)r->f32_bytes);
    elm_json_put_int(&w, "tensors", r->n_tensors);
    elm_json_put_int(&w, "tensors_exact", r->n_exact);
    elm_json_put_double(&w, "worst_rel_rms", r->worst_rel_rms);
    elm_json_put_str(&w, "worst_tensor", r->worst_tensor);
    elm_json_put_double(&w, "seconds", seconds);
    elm_json_put_double(&w, "mb_s", (double)r->source_bytes / 1e6 / seconds);
    elm_json_put_int(&w, "peak_rss_bytes", (int64_t)cli_memory_now().peak_bytes);
    elm_json_end_object(&w);
    elm_buf_u8(&out, '\n');
    cli_print_buf(&out);
    elm_buf_free(&out);
}

static void say_what_is_left(const cli_options *o) {
    char part[4096];
    snprintf(part, sizeof part, "%s.part", o->output);
    if (o->resume && !o->quiet && access(part, F_OK) == 0)
        fprintf(stderr, "'%s' stays: the same command goes on from there\n", part);
}

static int run(const cli_options *o) {
    elm_error err;
    elm_convert_options co;
    elm_convert_result result;
    news n = {.options = o, .show_bar = isatty(2) && !o->quiet && !o->json};
    if (!o->output) return cli_fail(ELM_INVALID_ARGUMENT, "convert needs -o OUT.elm");
    if (read_options(o, &co, &err) != ELM_OK) return cli_error(&err);
    co.on_progress = on_progress;
    co.on_tensor = on_tensor;
    co.on_note = on_note;
    co.should_stop = should_stop;
    co.context = &n;
    n.start_us = elm_now_us(elm_platform_default());
    elm_status status = elm_convert(o->positional[0], o->output, &co, &result, &err);
    clear_bar(&n);
    if (status != ELM_OK) {
        say_what_is_left(o);
        return cli_error(&err);
    }
    double seconds = (double)(elm_now_us(elm_platform_default()) - n.start_us) / 1e6;
    if (o->json) {
        print_json(&result, seconds);
        return 0;
    }
    printf("%s: %s, %.1f M parameters, %.1f MB (1/%.2f of float32)\n", o->output,
           result.architecture, (double)result.n_parameters / 1e6, (double)result.file_bytes / 1e6,
           (double)result.f32_bytes / (double)result.file_bytes);
    printf("%u tensors, %u exact; largest relative error %.4f (%s)\n", result.n_tensors,
           result.n_exact, result.worst_rel_rms,
           result.worst_tensor[0] ? result.worst_tensor : "none");
    printf("%.1f s, %.0f MB/s, peak memory %.0f MB\n", seconds,
           (double)result.source_bytes / 1e6 / seconds, (double)cli_memory_now().peak_bytes / 1e6);
    return 0;
}

const cli_command cli_convert = {
    "convert",
    "convert SRC -o OUT.elm [options]",
    "make one .elm file from a Hugging Face folder or a .gguf",
    "  edge-llm convert Qwen3-0.6B/ -o qwen3.elm\n"
    "  edge-llm convert smollm2.gguf -o smollm2.elm --quant keep\n"
    "  edge-llm convert Qwen3-0.6B/ -o small.elm --quant int4 --group 32 --embed int4:32\n",
    1,
    1,
    run};
