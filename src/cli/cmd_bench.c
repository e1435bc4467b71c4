/* cmd_bench.c - edge-llm bench: prefill and decode speed, beside what this machine can do; cli.
 *
 * Each figure is the median of repetitions. The read bandwidth is measured in the same run, before
 * the tests, with as many threads; gb_s is the weight and KV bytes of a decoded token times tokens
 * a second. Decode runs feed seeded ids and their logits are checked to be finite, so that a broken
 * fast path does not score. */
#include "cli/bandwidth.h"
#include "cli/cli.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LIST = 16, MAX_REPEAT = 100, MAX_RESULTS = 512 };

typedef struct result {
    char test[24];
    uint32_t depth, threads;
    double median, min, max;
    double gb_s, share;
    double load_ms;
    cli_memory memory;
} result;

typedef struct bench {
    const cli_options *options;
    uint32_t n_prompt, n_decode, repeat;
    uint32_t depths[MAX_LIST], threads[MAX_LIST], n_depths, n_threads;
    result results[MAX_RESULTS];
    uint32_t n_results;
    char backend[200];
    double bandwidth[MAX_LIST]; /* bytes a second, by thread list index */
} bench;

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The n-th id of a fixed sequence over the vocabulary. */
static int32_t seeded_id(uint32_t n, uint32_t vocab) {
    uint64_t z = (n + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    return (int32_t)((z >> 33) % vocab);
}

static elm_status feed(elm_session *session, const int32_t *ids, uint32_t n, bool one_by_one,
                       const elm_platform *p, double *seconds, elm_error *err) {
    uint64_t start = elm_now_us(p);
    if (one_by_one) {
        for (uint32_t i = 0; i < n; i++) ELM_TRY(elm_session_append(session, ids + i, 1, err));
    } else {
        ELM_TRY(elm_session_append(session, ids, n, err));
    }
    *seconds = (double)(elm_now_us(p) - start) / 1e6;
    const float *logits = elm_session_logits(session);
    if (!logits || !isfinite(logits[0])) {
        return elm_fail(err, ELM_INTERNAL,
                        "the logits are not finite: the speed of this run means nothing");
    }
    return ELM_OK;
}

static elm_status measure(bench *b, elm_session *session, const elm_model_info *info, bool decode,
                          uint32_t depth, uint32_t thread_index, uint64_t token_bytes,
                          elm_error *err) {
    uint32_t n = decode ? b->n_decode : b->n_prompt;
    double rates[MAX_REPEAT];
    int32_t *ids = malloc((size_t)(depth + n + 1) * sizeof *ids);
    if (!ids) return elm_fail(err, ELM_OUT_OF_MEMORY, "no memory for ids");
    for (uint32_t i = 0; i < depth + n; i++) ids[i] = seeded_id(i, info->n_real_tokens);
    elm_status status = elm_session_rewind(session, 0, err);
    if (status == ELM_OK && depth > 0) status = elm_session_append(session, ids, depth, err);
    for (uint32_t r = 0; r < b->repeat + 1 && status == ELM_OK; r++) { /* the first one warms up */
        double seconds = 0.0;
        status = elm_session_rewind(session, depth, err);
        if (status == ELM_OK) {
            status = feed(session, ids + depth, n, decode, elm_platform_default(), &seconds, err);
        }
        if (r > 0) rates[r - 1] = (double)n / seconds;
        if (cli_interrupted && status == ELM_OK)
            status = elm_fail(err, ELM_CANCELLED, "interrupted");
    }
    free(ids);
    ELM_TRY(status);
    qsort(rates, b->repeat, sizeof rates[0], compare);
    result *out = &b->results[b->n_results++];
    memset(out, 0, sizeof *out);
    snprintf(out->test, sizeof out->test, decode ? "tg%u" : "pp%u", n);
    out->depth = depth;
    out->threads = b->threads[thread_index];
    out->median = rates[b->repeat / 2];
    out->min = rates[0];
    out->max = rates[b->repeat - 1];
    if (decode) {
        out->gb_s = out->median * (double)token_bytes / 1e9;
        out->share = out->gb_s * 1e9 / b->bandwidth[thread_index];
    }
    elm_stats stats;
    elm_session_get_stats(session, &stats);
    out->load_ms = (double)stats.load_us / 1e3;
    out->memory = cli_memory_now();
    return ELM_OK;
}

static elm_status run_threads(bench *b, uint32_t t, elm_error *err) {
    const cli_options *o = b->options;
    elm_model *model = NULL;
    elm_session *session = NULL;
    elm_model_options mo;
    elm_session_options so;
    elm_model_info info;
    elm_status status = cli_model_options(o, &mo, err);
    mo.n_threads = b->threads[t];
    if (status == ELM_OK) status = elm_model_open(&model, o->positional[0], &mo, err);
    if (status != ELM_OK) goto out;
    elm_model_get_info(model, &info);
    snprintf(b->backend, sizeof b->backend, "%s", info.backend);
    if (b->threads[t] == 0) b->threads[t] = info.n_threads;
    b->bandwidth[t] = cli_read_bandwidth(b->threads[t]);
    ELM_TRY_OUT(cli_session_options(o, &info, &so, err));
    uint32_t deepest = 0;
    for (uint32_t d = 0; d < b->n_depths; d++)
        deepest = b->depths[d] > deepest ? b->depths[d] : deepest;
    uint32_t longest = b->n_prompt > b->n_decode ? b->n_prompt : b->n_decode;
    if (so.n_context == 0) so.n_context = deepest + longest + 8;
    ELM_TRY_OUT(elm_session_create(model, &so, &session, err));
    uint64_t weights = cli_token_weight_bytes(model);
    for (uint32_t d = 0; d < b->n_depths; d++) {
        uint64_t token_bytes =
            weights + cli_token_kv_bytes(session, b->depths[d] + b->n_decode / 2);
        if (b->n_prompt > 0) {
            ELM_TRY_OUT(measure(b, session, &info, false, b->depths[d], t, 0, err));
        }
        if (b->n_decode > 0) {
            ELM_TRY_OUT(measure(b, session, &info, true, b->depths[d], t, token_bytes, err));
        }
    }
out:
    elm_session_free(session);
    elm_model_close(model);
    return status;
}

static void print_json(const bench *b) {
    elm_buf out;
    elm_json_writer w;
    cli_buf(&out);
    elm_json_writer_init(&w, &out, true);
    elm_json_begin_array(&w, NULL);
    for (uint32_t i = 0; i < b->n_results; i++) {
        const result *r = &b->results[i];
        elm_json_begin_object(&w, NULL);
        elm_json_put_str(&w, "test", r->test);
        elm_json_put_int(&w, "depth", r->depth);
        elm_json_put_int(&w, "threads", r->threads);
        elm_json_put_str(&w, "backend", b->backend);
        elm_json_begin_object(&w, "tok_s");
        elm_json_put_double(&w, "median", r->median);
        elm_json_put_double(&w, "min", r->min);
        elm_json_put_double(&w, "max", r->max);
        elm_json_end_object(&w);
        if (r->gb_s > 0.0) {
            elm_json_put_double(&w, "gb_s", r->gb_s);
            elm_json_put_double(&w, "bandwidth_share", r->share);
        } else {
            elm_json_put_null(&w, "gb_s");
            elm_json_put_null(&w, "bandwidth_share");
        }
        elm_json_put_double(&w, "load_ms", r->load_ms);
        elm_json_put_double(&w, "rss_file_mb", (double)r->memory.file_bytes / 1e6);
        elm_json_put_double(&w, "rss_anon_mb", (double)r->memory.anonymous_bytes / 1e6);
        elm_json_end_object(&w);
    }
    elm_json_end_array(&w);
    elm_buf_u8(&out, '\n');
    cli_print_buf(&out);
    elm_buf_free(&out);
}

static void print_table(const bench *b, bool csv) {
    if (csv) {
        puts("test,depth,threads,tok_s_median,tok_s_min,tok_s_max,gb_s,bandwidth_share,load_ms,rss_"
             "file_mb,rss_anon_mb");
    } else {
        printf("%s\n", b->backend);
        for (uint32_t t = 0; t < b->n_threads; t++) {
            printf("read bandwidth, %u thread%s: %.1f GB/s\n", b->threads[t],
                   b->threads[t] > 1 ? "s" : "", b->bandwidth[t] / 1e9);
        }
        puts("\n| test | depth | threads | tok/s (median) | min | max | GB/s | share of bandwidth "
             "| load ms | RSS file MB | RSS anon MB |\n"
             "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    }
    for (uint32_t i = 0; i < b->n_results; i++) {
        const result *r = &b->results[i];
        char gb[32] = "", share[32] = "";
        if (r->gb_s > 0.0) {
            snprintf(gb, sizeof gb, "%.2f", r->gb_s);
            snprintf(share, sizeof share, csv ? "%.3f" : "%.0f %%", r->share * (csv ? 1.0 : 100.0));
        }
        printf(csv ? "%s,%u,%u,%.3f,%.3f,%.3f,%s,%s,%.2f,%.1f,%.1f\n"
                   : "| %s | %u | %u | %.2f | %.2f | %.2f | %s | %s | %.2f | %.1f | %.1f |\n",
               r->test, r->depth, r->threads, r->median, r->min, r->max, gb, share, r->load_ms,
               (double)r->memory.file_bytes / 1e6, (double)r->memory.anonymous_bytes / 1e6);
    }
}

static int read_options(bench *b, const cli_options *o) {
    b->options = o;
    b->n_prompt = 512;
    b->n_decode = o->n != CLI_NO_INT ? (uint32_t)o->n : 64;
    b->repeat = o->repeat != CLI_NO_INT ? (uint32_t)o->repeat : 5;
    if (o->prompt && cli_numbers(o->prompt, 1, &b->n_prompt) != 1) {
        return cli_fail(ELM_INVALID_ARGUMENT, "bench -p takes a number of tokens, not '%s'",
                        o->prompt);
    }
    if (b->repeat < 1 || b->repeat > MAX_REPEAT || b->n_prompt > 1 << 20 || b->n_decode > 1 << 20) {
        return cli_fail(ELM_INVALID_ARGUMENT, "-r from 1 to %d, -p and -n up to %d", MAX_REPEAT,
                        1 << 20);
    }
    b->n_depths = cli_numbers(o->depths ? o->depths : "0", MAX_LIST, b->depths);
    b->n_threads = cli_numbers(o->threads ? o->threads : "0", MAX_LIST, b->threads);
    if (b->n_depths == 0 || b->n_threads == 0) {
        return cli_fail(ELM_INVALID_ARGUMENT,
                        "-d and --threads take up to %d numbers, comma separated", MAX_LIST);
    }
    if (o->sustained != CLI_NO_NUMBER) {
        return cli_fail(ELM_UNSUPPORTED, "--sustained is not in this version of edge-llm");
    }
    return 0;
}

static int run(const cli_options *o) {
    elm_error err;
    const char *format = o->json ? "json" : o->output ? o->output : "md";
    bench *b = calloc(1, sizeof *b);
    if (!b) return cli_fail(ELM_OUT_OF_MEMORY, "no memory");
    int code = read_options(b, o);
    if (code == 0 && strcmp(format, "md") != 0 && strcmp(format, "csv") != 0 &&
        strcmp(format, "json") != 0) {
        code = cli_fail(ELM_INVALID_ARGUMENT, "-o takes md, csv or json, not '%s'", format);
    }
    for (uint32_t t = 0; code == 0 && t < b->n_threads; t++) {
        if (run_threads(b, t, &err) != ELM_OK) code = cli_error(&err);
    }
    if (code == 0 && strcmp(format, "json") == 0)
        print_json(b);
    else if (code == 0)
        print_table(b, strcmp(format, "csv") == 0);
    free(b);
    return code;
}

const cli_command cli_bench = {
    "bench",
    "bench MODEL [-p 512] [-n 64] [-d 0,2048] [--threads 1,2] [-r 5] [-o md|csv|json]",
    "measure prefill and decode speed",
    "  edge-llm bench model.elm --threads 1,2\n"
    "  edge-llm bench model.elm -p 0 -n 128 -d 0,2048 -o json\n",
    1,
    1,
    run};
