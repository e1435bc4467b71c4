/* bench_subject.h - a model under measurement: opened, filled to a depth, fed seeded tokens; cli.
 */
#ifndef ELM_CLI_BENCH_SUBJECT_H
#define ELM_CLI_BENCH_SUBJECT_H

#include "cli/bench.h"
#include "cli/limits.h"
#include "edge_llm.h"

typedef struct bench_subject {
    elm_model *model;
    elm_session *session;
    elm_model_info info;
    bench_machine *machine;
    cli_costs costs;
    double load_ms, first_token_ms;
    double worst_seconds; /* longest token since it was set to 0 */
} bench_subject;

/* Seconds of the monotonic clock. */
double bench_now(void);

/* Opens the model and a session of n_context positions (0: as the options say); mask 0: the
 * options'. bench_subject_close after success and failure alike; *s begins as zeros. */
elm_status bench_subject_open(const cli_options *o, bench_subject *s, uint32_t threads,
                              uint32_t mask, uint32_t n_context, elm_error *err);
void bench_subject_close(bench_subject *s);

/* The same, twice, with the time from nothing to the logits of a short prompt; the second time the
 * file is in the page cache. */
elm_status bench_subject_open_timed(const cli_options *o, bench_subject *s, uint32_t threads,
                                    uint32_t n_context, elm_error *err);

/* Fills every KV state up to `depth` with seeded rows. */
void bench_fill(bench_subject *s, uint32_t depth);
/* Goes to position `depth` as if the tokens before it had been run; the KV caches keep what they
 * hold, recurrent states start from zero. (A rewind would run tokens again where states cannot be
 * cut.) */
elm_status bench_stand_at(bench_subject *s, uint32_t depth, elm_error *err);

/* Appends n seeded ids, as one prompt or one by one; checks that the logits are numbers. Ctrl-C is
 * heard between tokens and between pieces of a long prompt. */
elm_status bench_feed(bench_subject *s, uint32_t n, bool one_by_one, double *seconds,
                      elm_error *err);
/* Seconds of one step over n candidates with the logits of all, as speculative decoding verifies
 * them; the timeline stays where it is. */
elm_status bench_verify(bench_subject *s, uint32_t n, double *seconds, elm_error *err);

#endif
