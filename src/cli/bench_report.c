/* bench_report.c - the results of edge-llm bench as a table, csv or JSON; cli. */
#include "cli/bench.h"

#include <string.h>

/* Fastest over slowest repetition, and peak of n threads over n times that of one, which are said. */
static const double UNSTEADY = 1.25, SCALES = 0.75;

static void put_or_null(elm_json_writer *w, const char *name, double value) {
    if (value > 0.0)
        elm_json_put_double(w, name, value);
    else
        elm_json_put_null(w, name);
}

static const bench_machine *machine_of(const bench_report *b, const bench_result *r) {
    const bench_machine *m = b->machines;
    while (m->threads != r->threads) m++;
    return m;
}

static void print_json(const bench_report *b) {
    elm_buf out;
    elm_json_writer w;
    cli_buf(&out);
    elm_json_writer_init(&w, &out, true);
    elm_json_begin_array(&w, NULL);
    for (uint32_t i = 0; i < b->n_results; i++) {
        const bench_result *r = &b->results[i];
        const bench_machine *m = machine_of(b, r);
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
        put_or_null(&w, "gb_s", r->gb_s);
        put_or_null(&w, "bandwidth_share", r->gb_s > 0.0 ? r->share : 0.0);
        put_or_null(&w, "gop_s", r->gop_s);
        put_or_null(&w, "peak_share", r->gop_s > 0.0 ? r->share : 0.0);
        put_or_null(&w, "verify_steps", r->steps);
        put_or_null(&w, "worst_token_ms", r->worst_ms);
        elm_json_put_double(&w, "read_gb_s", m->read / 1e9);
        elm_json_put_double(&w, "peak_gop_s", m->peak / 1e9);
        elm_json_put_double(&w, "compute_scaling", m->scaling);
        elm_json_put_double(&w, "load_ms", r->load_ms);
        elm_json_put_double(&w, "first_token_ms", r->first_token_ms);
        elm_json_put_double(&w, "rss_file_mb", (double)r->file_bytes / 1e6);
        elm_json_put_double(&w, "rss_file_2mib_pages_mb", (double)r->file_huge_bytes / 1e6);
        elm_json_put_double(&w, "rss_anon_mb", (double)r->anonymous_bytes / 1e6);
        elm_json_put_str(&w, "check", b->check);
        elm_json_end_object(&w);
    }
    elm_json_end_array(&w);
    elm_buf_u8(&out, '\n');
    cli_print_buf(&out);
    elm_buf_free(&out);
}

static void print_csv(const bench_report *b) {
    puts(
        "test,depth,threads,tok_s_median,tok_s_min,tok_s_max,gb_s,bandwidth_share,gop_s,peak_share,"
        "verify_steps,worst_token_ms,"
        "read_gb_s,peak_gop_s,compute_scaling,load_ms,first_token_ms,rss_file_mb,rss_file_2mib_"
        "pages_mb,"
        "rss_anon_mb");
    for (uint32_t i = 0; i < b->n_results; i++) {
        const bench_result *r = &b->results[i];
        const bench_machine *m = machine_of(b, r);
        char rate[64] = ",,,", steps[16] = "", worst[16] = "";
        if (r->gb_s > 0.0) snprintf(rate, sizeof rate, "%.2f,%.3f,,", r->gb_s, r->share);
        if (r->gop_s > 0.0) snprintf(rate, sizeof rate, ",,%.1f,%.3f", r->gop_s, r->share);
        if (r->steps > 0.0) snprintf(steps, sizeof steps, "%.3f", r->steps);
        if (r->worst_ms > 0.0) snprintf(worst, sizeof worst, "%.2f", r->worst_ms);
        printf("%s,%u,%u,%.3f,%.3f,%.3f,%s,%s,%s,%.2f,%.1f,%.2f,%.2f,%.1f,%.1f,%.1f,%.1f\n",
               r->test, r->depth, r->threads, r->median, r->min, r->max, rate, steps, worst,
               m->read / 1e9, m->peak / 1e9, m->scaling, r->load_ms, r->first_token_ms,
               (double)r->file_bytes / 1e6, (double)r->file_huge_bytes / 1e6,
               (double)r->anonymous_bytes / 1e6);
    }
}

static void print_table(const bench_report *b) {
    printf("%s; %s\n", b->backend, b->check);
    for (uint32_t i = 0; i < b->n_machines; i++) {
        const bench_machine *m = &b->machines[i];
        printf("%u thread%s: read %.1f GB/s, integer peak %.0f GOP/s", m->threads,
               m->threads > 1 ? "s" : "", m->read / 1e9, m->peak / 1e9);
        printf(m->threads > 1 ? ", %.2f times that of one thread\n" : "\n", m->scaling);
    }
    puts("\n| test | depth | threads | tok/s (median) | min | max | worst token ms | rate | share "
         "of limit | peak, "
         "of 1T | open ms "
         "| first token ms | RSS file MB | in 2 MiB pages | RSS anon MB |\n"
         "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for (uint32_t i = 0; i < b->n_results; i++) {
        const bench_result *r = &b->results[i];
        const bench_machine *m = machine_of(b, r);
        char rate[32] = "", share[32] = "", worst[32] = "";
        if (r->gb_s > 0.0) snprintf(rate, sizeof rate, "%.1f GB/s", r->gb_s);
        if (r->gop_s > 0.0) snprintf(rate, sizeof rate, "%.0f GOP/s", r->gop_s);
        if (r->steps > 0.0) snprintf(rate, sizeof rate, "%.2f steps", r->steps);
        if (r->worst_ms > 0.0) snprintf(worst, sizeof worst, "%.2f", r->worst_ms);
        if (r->share > 0.0) snprintf(share, sizeof share, "%.0f %%", 100.0 * r->share);
        printf("| %s | %u | %u | %.2f | %.2f | %.2f | %s | %s | %s | %.2f | %.2f | %.1f | %.1f | "
               "%.1f | "
               "%.1f |\n",
               r->test, r->depth, r->threads, r->median, r->min, r->max, worst, rate, share,
               m->scaling, r->load_ms, r->first_token_ms, (double)r->file_bytes / 1e6,
               (double)r->file_huge_bytes / 1e6, (double)r->anonymous_bytes / 1e6);
    }
}

/* Figures that are not exact are said to be so, beside the result. */
static void warn_unsteady(const bench_report *b) {
    for (uint32_t i = 0; i < b->n_results; i++) {
        const bench_result *r = &b->results[i];
        if (r->max > UNSTEADY * r->min)
            fprintf(
                stderr,
                "edge-llm: warning: %s at depth %u with %u threads went from %.1f to %.1f tok/s: "
                "something else runs on this machine; compare in pairs, or stop it\n",
                r->test, r->depth, r->threads, r->min, r->max);
    }
    for (uint32_t i = 0; i < b->n_machines; i++) {
        const bench_machine *m = &b->machines[i];
        if (m->threads > 1 && m->scaling < SCALES * m->threads)
            fprintf(stderr,
                    "edge-llm: warning: %u threads reach %.2f times the integer peak of one: they "
                    "share cores, or something else runs on them\n",
                    m->threads, m->scaling);
    }
}

void bench_print(const bench_report *report, const char *format) {
    warn_unsteady(report);
    if (strcmp(format, "json") == 0)
        print_json(report);
    else if (strcmp(format, "csv") == 0)
        print_csv(report);
    else
        print_table(report);
}
