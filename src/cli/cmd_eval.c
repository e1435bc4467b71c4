/* cmd_eval.c - edge-llm eval: perplexity of a text, or the logits of given ids; cli.
 *
 * Perplexity is counted as llama.cpp counts it: windows that do not overlap, each with its first id
 * replaced by BOS where the model uses one, predictions from index skip + 1 on. */
#include "cli/cli.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct eval {
    const cli_options *options;
    elm_model *model;
    elm_session *session;
    elm_model_info info;
} eval;

/* -log p(id) under the softmax of logits[n]. */
static double nll_of(const float *logits, uint32_t n, int32_t id) {
    double top = (double)logits[0], sum = 0.0;
    for (uint32_t i = 1; i < n; i++) {
        if ((double)logits[i] > top) top = (double)logits[i];
    }
    for (uint32_t i = 0; i < n; i++) sum += exp((double)logits[i] - top);
    /* One of the terms is exp(0). */
    /* cppcheck-suppress invalidFunctionArg */
    return log(sum) + top - (double)logits[id];
}

static elm_status text_ids(const eval *e, const char *text, size_t n_text, int32_t **out, size_t *n,
                           elm_error *err) {
    bool add_bos = e->info.raw_needs_bos && !e->info.add_bos && e->info.bos_id >= 0;
    ELM_TRY(elm_tokenize(e->model, text, n_text, true, false, NULL, 0, n, err));
    int32_t *ids = malloc((*n + 2) * sizeof *ids);
    if (!ids) return elm_fail(err, ELM_OUT_OF_MEMORY, "no memory for %zu ids", *n);
    *out = ids;
    ids[0] = e->info.bos_id;
    ELM_TRY(elm_tokenize(e->model, text, n_text, true, false, ids + add_bos, *n + 1, n, err));
    *n += add_bos;
    return ELM_OK;
}

typedef struct sums {
    double nll, nll2;
    uint64_t n;
} sums;

static elm_status window(eval *e, int32_t *ids, uint32_t size, uint32_t skip, float *logits,
                         sums *s, elm_error *err) {
    int32_t first = ids[0];
    if ((e->info.add_bos || e->info.raw_needs_bos) && e->info.bos_id >= 0) ids[0] = e->info.bos_id;
    ELM_TRY(elm_session_rewind(e->session, 0, err));
    size_t chunk = e->options->chunk != CLI_NO_INT ? (size_t)e->options->chunk : 64;
    ELM_TRY(elm_session_append_logits(e->session, ids, size, chunk, logits, err));
    ids[0] = first;
    for (uint32_t i = skip; i + 1 < size; i++) {
        double nll =
            nll_of(logits + (size_t)i * e->info.vocab_size, e->info.n_real_tokens, ids[i + 1]);
        s->nll += nll;
        s->nll2 += nll * nll;
        s->n++;
    }
    return ELM_OK;
}

static void print_perplexity(const cli_options *o, const sums *s, uint32_t size, uint32_t skip) {
    double mean = s->nll / (double)s->n;
    double variance = s->nll2 / (double)s->n - mean * mean;
    double error = s->n > 1 ? sqrt(fmax(variance, 0.0) / (double)(s->n - 1)) : 0.0;
    if (!o->json) {
        printf("perplexity %.4f +- %.4f (%llu tokens, window %u, skip %u)\n", exp(mean),
               exp(mean) * error, (unsigned long long)s->n, size, skip);
        return;
    }
    printf("{\"schema_version\": 1, \"perplexity\": %.9g, \"perplexity_error\": %.6g, "
           "\"nll_mean\": %.9g, "
           "\"tokens\": %llu, \"window\": %u, \"skip\": %u}\n",
           fmin(exp(mean), DBL_MAX), fmin(exp(mean) * error, DBL_MAX), mean,
           (unsigned long long)s->n, size, skip);
}

static elm_status perplexity(eval *e, elm_error *err) {
    const cli_options *o = e->options;
    uint32_t size = o->window != CLI_NO_INT ? (uint32_t)o->window : 512;
    uint32_t skip = o->skip != CLI_NO_INT ? (uint32_t)o->skip : size / 2;
    char *text = NULL;
    int32_t *ids = NULL;
    float *logits = NULL;
    size_t n_text, n = 0;
    sums s = {0};
    elm_status status = cli_read(o->text, &text, &n_text, err);
    if (status == ELM_OK) status = text_ids(e, text, n_text, &ids, &n, err);
    if (status != ELM_OK) goto out;
    if (n < size) {
        status = elm_fail(err, ELM_INVALID_ARGUMENT,
                          "'%s' has %zu tokens; one window takes %u (--window makes it smaller)",
                          o->text, n, size);
        goto out;
    }
    logits = malloc((size_t)size * e->info.vocab_size * sizeof *logits);
    if (!logits) {
        status = elm_fail(err, ELM_OUT_OF_MEMORY, "no memory for the logits of %u tokens", size);
        goto out;
    }
    for (size_t at = 0; at + size <= n; at += size) {
        ELM_TRY_OUT(window(e, ids + at, size, skip, logits, &s, err));
        if (!o->quiet && !o->json) {
            fprintf(stderr, "\r%zu of %zu windows, perplexity %.4f", at / size + 1, n / size,
                    exp(s.nll / (double)s.n));
        }
    }
    if (!o->quiet && !o->json) fputc('\n', stderr);
    if (!isfinite(s.nll)) {
        status = elm_fail(err, ELM_BACKEND,
                          "the model's numbers overflowed: logits are NaN; an f32 cache (--kv f32) "
                          "holds more than the f16 one");
        goto out;
    }
    print_perplexity(o, &s, size, skip);
out:
    free(logits);
    free(ids);
    free(text);
    return status;
}

/* Without --ctx: room for n tokens, as far as the model's own context goes. */
static void fit_context(elm_session_options *so, const elm_model_info *info, size_t n) {
    if (so->n_context == 0)
        so->n_context = n < info->context_length ? (uint32_t)n : info->context_length;
}

/* Ids separated by anything that is no digit. */
static elm_status parse_ids(const char *text, size_t n_text, int32_t **out, size_t *n,
                            elm_error *err) {
    int32_t *ids = malloc((n_text / 2 + 2) * sizeof *ids);
    if (!ids) return elm_fail(err, ELM_OUT_OF_MEMORY, "no memory for the ids");
    *out = ids;
    *n = 0;
    for (const char *p = text; *p;) {
        char *end;
        if (*p < '0' || *p > '9') {
            if (!strchr(" \t\r\n,[]", *p)) {
                return elm_fail(err, ELM_MALFORMED, "byte %zu of the ids is '%c'; expected numbers",
                                (size_t)(p - text), *p);
            }
            p++;
            continue;
        }
        long id = strtol(p, &end, 10);
        if (id > INT32_MAX) return elm_fail(err, ELM_MALFORMED, "id %zu is too large", *n);
        ids[(*n)++] = (int32_t)id;
        p = end;
    }
    return *n > 0 ? ELM_OK : elm_fail(err, ELM_MALFORMED, "there are no ids");
}

/* NPY 1.0: magic, header padded to 64 bytes, then float32 rows. A file appears whole or not at all. */
static elm_status write_npy(const char *path, const float *data, size_t rows, size_t cols,
                            elm_error *err) {
    char header[128];
    memset(header, ' ', sizeof header);
    memcpy(header, "\x93NUMPY\x01\x00", 8);
    header[8] = (char)(sizeof header - 10);
    header[9] = 0;
    int n = snprintf(header + 10, sizeof header - 10,
                     "{'descr': '<f4', 'fortran_order': False, 'shape': (%zu, %zu), }", rows, cols);
    header[10 + n] = ' ';
    header[sizeof header - 1] = '\n';
    char part[4096];
    struct stat to;
    bool whole = stat(path, &to) != 0 || S_ISREG(to.st_mode); /* no device, no pipe */
    if ((size_t)snprintf(part, sizeof part, whole ? "%s.part" : "%s", path) >= sizeof part)
        return elm_fail(err, ELM_INVALID_ARGUMENT, "the path of the logits is too long");
    FILE *out = fopen(part, "wb");
    if (!out) return elm_fail(err, ELM_IO, "cannot write '%s': %s", path, strerror(errno));
    bool ok = fwrite(header, 1, sizeof header, out) == sizeof header &&
              fwrite(data, sizeof *data * cols, rows, out) == rows;
    if (fclose(out) != 0 || !ok || (whole && rename(part, path) != 0)) {
        if (whole) remove(part);
        return elm_fail(err, ELM_IO, "cannot write '%s': no space left, or an I/O error", path);
    }
    return ELM_OK;
}

static elm_status logits_of_tokens(eval *e, elm_session_options *so, elm_error *err) {
    const cli_options *o = e->options;
    char *text = NULL;
    int32_t *ids = NULL;
    float *logits = NULL;
    size_t n_text, n = 0, chunk = o->chunk != CLI_NO_INT ? (size_t)o->chunk : 64;
    elm_status status = cli_read(o->tokens, &text, &n_text, err);
    if (status == ELM_OK) status = parse_ids(text, n_text, &ids, &n, err);
    if (status == ELM_OK) {
        fit_context(so, &e->info, n);
        status = elm_session_create(e->model, so, &e->session, err);
    }
    if (status == ELM_OK) {
        logits = n > 0 ? calloc(n, e->info.vocab_size * sizeof *logits) : NULL;
        if (!logits)
            status = elm_fail(err, ELM_OUT_OF_MEMORY, "no memory for the logits of %zu tokens", n);
    }
    if (status == ELM_OK) {
        status = elm_session_append_logits(e->session, ids, n, chunk, logits, err);
    }
    if (status == ELM_OK) status = write_npy(o->logits, logits, n, e->info.vocab_size, err);
    if (status == ELM_OK && o->json) {
        printf("{\"schema_version\": 1, \"tokens\": %zu, \"vocab_size\": %u}\n", n,
               e->info.vocab_size);
    }
    free(logits);
    free(ids);
    free(text);
    return status;
}

static elm_status evaluate(eval *e, elm_error *err) {
    const cli_options *o = e->options;
    const char *const read[] = {o->positional[0], o->tokens};
    elm_model_options mo;
    elm_session_options so;
    if (o->logits) ELM_TRY(cli_spare(o->logits, read, sizeof read / sizeof read[0], err));
    ELM_TRY(cli_model_options(o, &mo, err));
    ELM_TRY(elm_model_open(&e->model, o->positional[0], &mo, err));
    elm_model_get_info(e->model, &e->info);
    ELM_TRY(cli_session_options(o, &e->info, &so, err));
    if (!o->text) return logits_of_tokens(e, &so, err);
    if (o->window != CLI_NO_INT) fit_context(&so, &e->info, (size_t)o->window);
    ELM_TRY(elm_session_create(e->model, &so, &e->session, err));
    return perplexity(e, err);
}

static int run(const cli_options *o) {
    elm_error err;
    eval e = {.options = o};
    if (!o->text == !(o->tokens && o->logits)) {
        return cli_fail(ELM_INVALID_ARGUMENT,
                        "eval needs either --text FILE, or --tokens IDS and --logits OUT.npy");
    }
    if ((o->chunk != CLI_NO_INT && o->chunk < 1) ||
        (o->window != CLI_NO_INT && (o->window < 2 || o->window > 1 << 20)) ||
        (o->skip != CLI_NO_INT && (o->skip < 0 || o->skip > (1 << 20)))) {
        return cli_fail(ELM_INVALID_ARGUMENT,
                        "--chunk from 1, --window from 2, --skip from 0 and below the window");
    }
    int64_t window = o->window != CLI_NO_INT ? o->window : 512;
    int64_t skip = o->skip != CLI_NO_INT ? o->skip : window / 2;
    if (skip + 1 >= window) {
        return cli_fail(ELM_INVALID_ARGUMENT, "--skip %lld leaves nothing of a window of %lld",
                        (long long)skip, (long long)window);
    }
    elm_status status = evaluate(&e, &err);
    elm_session_free(e.session);
    elm_model_close(e.model);
    return status == ELM_OK ? 0 : cli_error(&err);
}

const cli_command cli_eval = {
    "eval",
    "eval MODEL (--text FILE | --tokens IDS.txt --logits OUT.npy) [options]",
    "perplexity of a text, or logits of given ids",
    "  edge-llm eval model.elm --text book.txt --window 512\n"
    "  edge-llm eval model.elm --tokens ids.txt --logits out.npy --chunk 1\n",
    1,
    1,
    run};
