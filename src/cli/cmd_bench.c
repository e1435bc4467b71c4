/* cmd_bench.c - edge-llm bench: prefill and decode speed, beside what this machine can do; cli.
 *
 * Each figure is the median of repetitions. Around every repetition the limit is sampled: the read
 * bandwidth for decode, the integer peak of the kernels in use for prefill; `share` is the median
 * of the paired ratios, so a machine that changes speed does not change it. A depth is filled with
 * seeded rows, not computed: speed at depth depends on how much is stored.
 *
 * Before a model's speed counts, the logits of a seeded run are compared bit for bit with those of
 * the next smaller set of kernels, on one thread: a fast path that computes something else does not
 * score. */
#include "cli/bench_subject.h"

#include <stdlib.h>
#include <string.h>

#include "backend/cpu/features.h"
#include "base/thread_pool.h"
#include "runtime/session.h"

enum {
    CHECK_TOKENS = 14, /* long enough for the kernels of many tokens; one more is decoded */
    WINDOW_SECONDS = 60,
    VERIFY_TOKENS = 5,
    VERIFY_STEPS = 8, /* of each kind in a repetition, one kind after the other */
};

typedef struct bench {
    const cli_options *options;
    uint32_t n_prompt, n_decode, repeat;
    uint32_t depths[BENCH_MAX_LIST], threads[BENCH_MAX_LIST], n_depths, n_threads;
    double sustained_seconds;
    cli_limits limits;
    float *expected; /* [vocab] logits of the seeded run; NULL: nothing to compare with */
    bench_report report;
} bench;

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, uint32_t n) {
    qsort(values, n, sizeof *values, compare);
    return values[n / 2];
}

/* ---- the output check ---- */

static elm_status seeded_run(bench_subject *s, elm_error *err) {
    double unused;
    ELM_TRY(elm_session_rewind(s->session, 0, err));
    ELM_TRY(bench_feed(s, CHECK_TOKENS, false, &unused, err));
    return bench_feed(s, 1, true, &unused, err);
}

/* Computes the expected logits with the features of this run but the newest. */
static elm_status expect(bench *b, uint32_t mask, elm_error *err) {
    bench_subject s = {0};
    uint32_t used = elm_cpu_features(mask ? mask : UINT32_MAX), top = UINT32_C(1) << 31;
    while (top > used) top >>= 1;
    uint32_t smaller = used & ~top;
    /* A bit that names no feature leaves the portable kernels: 0 would mean all. */
    elm_status status = bench_subject_open(b->options, &s, 1, smaller ? smaller : UINT32_C(1) << 31,
                                           CHECK_TOKENS + 1, err);
    bool same_backend = status == ELM_OK && s.model->plan.n_segments == 1 &&
                        strcmp(s.model->devices[0].backend->name, "cpu") == 0;
    if (same_backend && used) status = seeded_run(&s, err);
    if (status == ELM_OK && same_backend && used) {
        size_t bytes = s.info.vocab_size * sizeof(float);
        b->expected = malloc(bytes);
        if (b->expected) memcpy(b->expected, elm_session_logits(s.session), bytes);
        snprintf(b->report.check, sizeof b->report.check,
                 "logits of a seeded run equal those of %s, bit for bit", s.info.backend);
    } else {
        snprintf(b->report.check, sizeof b->report.check, "output not compared with other kernels");
    }
    bench_subject_close(&s);
    return status;
}

static elm_status check(const bench *b, bench_subject *s, elm_error *err) {
    if (!b->expected) return ELM_OK;
    ELM_TRY(seeded_run(s, err));
    const float *logits = elm_session_logits(s->session);
    for (uint32_t i = 0; i < s->info.vocab_size; i++) {
        uint32_t got, expected;
        memcpy(&got, &logits[i], sizeof got);
        memcpy(&expected, &b->expected[i], sizeof expected);
        if (got == expected) continue;
        return elm_fail(err, ELM_INTERNAL,
                        "logit %u of a seeded run is %.9g, other kernels give %.9g: the speed of "
                        "this model means nothing; please report it",
                        i, (double)logits[i], (double)b->expected[i]);
    }
    return ELM_OK;
}

/* ---- measuring ---- */

static double limit_now(const bench *b, const bench_subject *s, bool decode) {
    uint32_t threads = s->machine->threads;
    return decode ? cli_limits_read(&b->limits, s->model->pool, threads)
                  : cli_limits_peak(&b->limits, s->model->pool, threads, s->costs.i4);
}

static bench_result *new_result(bench *b, const bench_subject *s, const char *kind, uint32_t n,
                                uint32_t depth) {
    bench_report *report = &b->report;
    bench_result *out = &report->results[report->n_results++];
    memset(out, 0, sizeof *out);
    snprintf(out->test, sizeof out->test, "%s%u", kind, n);
    out->depth = depth;
    out->threads = s->machine->threads;
    out->load_ms = s->load_ms;
    out->first_token_ms = s->first_token_ms;
    cli_memory memory = cli_memory_now();
    out->file_bytes = memory.file_bytes;
    out->file_huge_bytes = memory.file_huge_bytes;
    out->anonymous_bytes = memory.anonymous_bytes > b->limits.buffer_bytes
                               ? memory.anonymous_bytes - b->limits.buffer_bytes
                               : 0;
    return out;
}

static void set_rates(bench_result *r, double *rates, uint32_t n) {
    r->median = median(rates, n);
    r->min = rates[0];
    r->max = rates[n - 1];
}

static elm_status measure(bench *b, bench_subject *s, bool decode, uint32_t depth, elm_error *err) {
    uint32_t n = decode ? b->n_decode : b->n_prompt;
    double rates[BENCH_MAX_REPEAT], shares[BENCH_MAX_REPEAT];
    uint64_t bytes = s->costs.weight_bytes + cli_token_state_bytes(s->session, depth + n / 2);
    double operations = (double)s->costs.operations + (double)s->costs.row_operations / n;
    double cost = decode ? (double)bytes : operations;
    double before = limit_now(b, s, decode);
    for (uint32_t r = 0; r < b->repeat + 1; r++) { /* the first one warms up */
        double seconds = 0.0;
        ELM_TRY(bench_stand_at(s, depth, err));
        ELM_TRY(bench_feed(s, n, decode, &seconds, err));
        double after = limit_now(b, s, decode), rate = (double)n / seconds;
        if (r == 0) s->worst_seconds = 0.0;
        if (r > 0) rates[r - 1] = rate;
        if (r > 0) shares[r - 1] = rate * cost / ((before + after) / 2);
        before = after;
    }
    bench_result *out = new_result(b, s, decode ? "tg" : "pp", n, depth);
    set_rates(out, rates, b->repeat);
    out->share = median(shares, b->repeat);
    if (decode) out->worst_ms = s->worst_seconds * 1e3;
    *(decode ? &out->gb_s : &out->gop_s) = out->median * cost / 1e9;
    return ELM_OK;
}

/* How long it takes to verify four draft tokens behind one that is certain, against one token. */
static elm_status measure_verify(bench *b, bench_subject *s, uint32_t depth, elm_error *err) {
    double rates[BENCH_MAX_REPEAT], ratios[BENCH_MAX_REPEAT], seconds;
    ELM_TRY(bench_stand_at(s, depth, err));
    for (uint32_t r = 0; r < b->repeat + 1; r++) { /* the first one warms up */
        double one = 0.0, many = 0.0;
        for (uint32_t step = 0; step < VERIFY_STEPS; step++) {
            ELM_TRY(bench_verify(s, 1, &seconds, err));
            one += seconds;
            ELM_TRY(bench_verify(s, VERIFY_TOKENS, &seconds, err));
            many += seconds;
        }
        if (r == 0) continue;
        rates[r - 1] = VERIFY_STEPS * VERIFY_TOKENS / many;
        ratios[r - 1] = many / one;
    }
    bench_result *out = new_result(b, s, "vf", VERIFY_TOKENS, depth);
    set_rates(out, rates, b->repeat);
    out->steps = median(ratios, b->repeat);
    return ELM_OK;
}

/* Decodes for minutes; a line for the first and one for the last of them. */
static elm_status sustain(bench *b, bench_subject *s, elm_error *err) {
    enum { MAX_RUNS = 1 << 16 };
    double *rates = malloc(MAX_RUNS * sizeof *rates), start = bench_now(), elapsed = 0.0;
    double window =
        b->sustained_seconds / 2 < WINDOW_SECONDS ? b->sustained_seconds / 2 : WINDOW_SECONDS;
    uint32_t n = 0, first = 0, last = 0;
    elm_status status = ELM_OK;
    if (!rates) return elm_fail(err, ELM_OUT_OF_MEMORY, "no memory for measurements");
    while (status == ELM_OK && elapsed < b->sustained_seconds && n < MAX_RUNS) {
        double seconds = 1.0;
        status = elm_session_rewind(s->session, 0, err);
        if (status == ELM_OK) status = bench_feed(s, b->n_decode, true, &seconds, err);
        rates[n++] = (double)b->n_decode / seconds;
        elapsed = bench_now() - start;
        if (elapsed <= window) first = n;
        if (elapsed <= b->sustained_seconds - window) last = n;
    }
    if (status == ELM_OK) {
        if (first == 0) first = 1;
        if (last >= n) last = n - 1;
        set_rates(new_result(b, s, "first-minute-tg", b->n_decode, 0), rates, first);
        set_rates(new_result(b, s, "last-minute-tg", b->n_decode, 0), rates + last, n - last);
    }
    free(rates);
    return status;
}

/* What this machine does with this many threads, beside all the tests. */
static void measure_machine(const bench *b, const bench_subject *s) {
    enum { SAMPLES = 9 };
    double read[SAMPLES], peak[SAMPLES], scaling[SAMPLES];
    for (int i = 0; i < SAMPLES; i++) {
        double one = cli_limits_peak(&b->limits, s->model->pool, 1, s->costs.i4);
        read[i] = limit_now(b, s, true);
        peak[i] = limit_now(b, s, false);
        scaling[i] = peak[i] / one;
    }
    s->machine->read = median(read, SAMPLES);
    s->machine->peak = median(peak, SAMPLES);
    s->machine->scaling = s->machine->threads > 1 ? median(scaling, SAMPLES) : 1.0;
}

static elm_status measure_all(bench *b, bench_subject *s, elm_error *err) {
    ELM_TRY(check(b, s, err));
    measure_machine(b, s);
    for (uint32_t d = 0; d < b->n_depths; d++) {
        bench_fill(s, b->depths[d]);
        if (b->n_prompt > 0) ELM_TRY(measure(b, s, false, b->depths[d], err));
        if (b->n_decode == 0) continue;
        ELM_TRY(measure(b, s, true, b->depths[d], err));
        ELM_TRY(measure_verify(b, s, b->depths[d], err));
    }
    return b->sustained_seconds > 0.0 ? sustain(b, s, err) : ELM_OK;
}

static elm_status run_threads(bench *b, uint32_t index, elm_error *err) {
    bench_subject s = {.machine = &b->report.machines[b->report.n_machines]};
    uint32_t deepest = 0, longest = b->n_prompt > b->n_decode ? b->n_prompt : b->n_decode;
    for (uint32_t d = 0; d < b->n_depths; d++)
        deepest = b->depths[d] > deepest ? b->depths[d] : deepest;
    if (longest < CHECK_TOKENS + 1) longest = CHECK_TOKENS + 1;
    elm_status status =
        bench_subject_open_timed(b->options, &s, b->threads[index], deepest + longest + 8, err);
    if (status == ELM_OK) {
        b->report.n_machines++;
        s.machine->threads = s.info.n_threads;
        s.costs = cli_token_costs(s.model);
        snprintf(b->report.backend, sizeof b->report.backend, "%s", s.info.backend);
        status = measure_all(b, &s, err);
    }
    bench_subject_close(&s);
    return status;
}

/* ---- options ---- */

/* A list of numbers up to `most`, comma separated. */
static uint32_t read_list(const char *option, const char *text, uint32_t most,
                          uint32_t out[BENCH_MAX_LIST]) {
    uint32_t n = cli_numbers(text, BENCH_MAX_LIST, out);
    bool fits = n > 0;
    for (uint32_t i = 0; i < n; i++) fits = fits && out[i] <= most;
    if (fits) return n;
    (void)cli_fail(ELM_INVALID_ARGUMENT,
                   "bench %s takes up to %d numbers from 0 to %u, comma separated, not '%s'",
                   option, BENCH_MAX_LIST, most, text);
    return 0;
}

static int read_options(bench *b, const cli_options *o) {
    enum { MOST = 1 << 20 };
    const int usage = elm_status_exit_code(ELM_INVALID_ARGUMENT);
    b->options = o;
    b->n_prompt = 512;
    b->n_decode = o->n != CLI_NO_INT ? (uint32_t)o->n : 64;
    b->repeat = o->repeat != CLI_NO_INT ? (uint32_t)o->repeat : 5;
    if (o->prompt && cli_numbers(o->prompt, 1, &b->n_prompt) != 1) {
        return cli_fail(ELM_INVALID_ARGUMENT, "bench -p takes a number of tokens, not '%s'",
                        o->prompt);
    }
    if (b->repeat < 1 || b->repeat > BENCH_MAX_REPEAT || b->n_prompt > MOST || b->n_decode > MOST) {
        return cli_fail(ELM_INVALID_ARGUMENT, "-r from 1 to %d, -p and -n up to %d",
                        BENCH_MAX_REPEAT, MOST);
    }
    if (b->n_prompt == 0 && b->n_decode == 0)
        return cli_fail(ELM_INVALID_ARGUMENT, "-p 0 and -n 0 leave nothing to measure");
    b->n_depths = read_list("-d", o->depths ? o->depths : "0", MOST, b->depths);
    if (b->n_depths == 0) return usage;
    b->n_threads =
        read_list("--threads", o->threads ? o->threads : "0", ELM_MAX_THREADS, b->threads);
    if (b->n_threads == 0) return usage;
    if (o->sustained != CLI_NO_NUMBER) {
        if (!(o->sustained > 0.0 && o->sustained <= 24 * 60) || b->n_decode == 0)
            return cli_fail(
                ELM_INVALID_ARGUMENT,
                "--sustained takes minutes, more than 0 and at most a day, with -n above 0");
        b->sustained_seconds = o->sustained * 60.0;
    }
    return 0;
}

static int run(const cli_options *o) {
    elm_error err;
    elm_model_options mo;
    const char *format = o->json ? "json" : o->output ? o->output : "md";
    bench *b = calloc(1, sizeof *b);
    if (!b) return cli_fail(ELM_OUT_OF_MEMORY, "no memory");
    int code = read_options(b, o);
    if (code == 0 && strcmp(format, "md") != 0 && strcmp(format, "csv") != 0 &&
        strcmp(format, "json") != 0) {
        code = cli_fail(ELM_INVALID_ARGUMENT, "-o takes md, csv or json, not '%s'", format);
    }
    if (code == 0 && cli_model_options(o, &mo, &err) != ELM_OK) code = cli_error(&err);
    if (code == 0 && !cli_limits_open(&b->limits, mo.cpu_mask))
        code = cli_fail(ELM_OUT_OF_MEMORY, "no memory to measure the read bandwidth with");
    if (code == 0 && expect(b, mo.cpu_mask, &err) != ELM_OK) code = cli_error(&err);
    for (uint32_t t = 0; code == 0 && t < b->n_threads; t++) {
        if (run_threads(b, t, &err) != ELM_OK) code = cli_error(&err);
    }
    if (code == 0) bench_print(&b->report, format);
    cli_limits_close(&b->limits);
    free(b->expected);
    free(b);
    return code;
}

const cli_command cli_bench = {"bench",
                               "bench MODEL [-p 512] [-n 64] [-d 0,2048] [--threads 1,2] [-r 5] "
                               "[--sustained MIN] [-o md|csv|json]",
                               "measure prefill and decode speed",
                               "  edge-llm bench model.elm --threads 1,2\n"
                               "  edge-llm bench model.elm -p 0 -n 128 -d 0,2048 -o json\n",
                               1,
                               1,
                               run};
