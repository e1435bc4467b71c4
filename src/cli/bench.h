/* bench.h - what edge-llm bench measures (cmd_bench.c) and how it prints it (bench_report.c); cli.
 */
#ifndef ELM_CLI_BENCH_H
#define ELM_CLI_BENCH_H

#include "cli/cli.h"

enum { BENCH_MAX_LIST = 16, BENCH_MAX_REPEAT = 100, BENCH_MAX_RESULTS = 512 };

/* One line of the report. */
typedef struct bench_result {
    char test[24];
    uint32_t depth, threads;
    double median, min, max; /* tokens a second */
    double gb_s;     /* decode: weight and KV bytes of a token times tokens a second; else 0 */
    double gop_s;    /* prefill: operations of the linears a second; else 0 */
    double share;    /* of the read bandwidth, or of the integer peak */
    double steps;    /* verification: its time in steps of one token; else 0 */
    double worst_ms; /* decode: the longest of all tokens; else 0 */
    double load_ms, first_token_ms;
    uint64_t file_bytes, anonymous_bytes; /* resident */
    uint64_t file_huge_bytes;             /* of file_bytes, as pages of 2 MiB: decode needs them */
} bench_result;

/* The machine with a number of threads: medians of the samples taken beside the tests. */
typedef struct bench_machine {
    uint32_t threads;
    double read, peak; /* bytes and operations a second */
    double scaling;    /* peak with all threads / peak with one */
} bench_machine;

typedef struct bench_report {
    bench_result results[BENCH_MAX_RESULTS];
    uint32_t n_results;
    bench_machine machines[BENCH_MAX_LIST];
    uint32_t n_machines;
    char backend[200];
    char check[200]; /* how the output was checked */
} bench_report;

/* format: "md", "csv" or "json". */
void bench_print(const bench_report *report, const char *format);

#endif
