/* bench_subject.c - see bench_subject.h; cli. */
#include "cli/bench_subject.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/kv.h"
#include "runtime/session.h"

enum {
    FIRST_TOKENS = 16,   /* prompt of the time to the first token */
    PIECE_TOKENS = 4096, /* of a long prompt: between two, Ctrl-C is heard */
};

double bench_now(void) {
    return (double)elm_now_us(elm_platform_default()) / 1e6;
}

/* The n-th id of a fixed sequence over the vocabulary. */
static int32_t seeded_id(uint32_t n, uint32_t vocab) {
    uint64_t z = (n + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    return (int32_t)((z >> 33) % vocab);
}

void bench_subject_close(bench_subject *s) {
    elm_session_free(s->session);
    elm_model_close(s->model);
    s->session = NULL;
    s->model = NULL;
}

elm_status bench_subject_open(const cli_options *o, bench_subject *s, uint32_t threads,
                              uint32_t mask, uint32_t n_context, elm_error *err) {
    elm_model_options mo;
    elm_session_options so;
    ELM_TRY(cli_model_options(o, &mo, err));
    mo.n_threads = threads;
    if (mask) mo.cpu_mask = mask;
    ELM_TRY(elm_model_open(&s->model, o->positional[0], &mo, err));
    elm_model_get_info(s->model, &s->info);
    ELM_TRY(cli_session_options(o, &s->info, &so, err));
    if (so.n_context == 0 || n_context > so.n_context) so.n_context = n_context;
    return elm_session_create(s->model, &so, &s->session, err);
}

elm_status bench_subject_open_timed(const cli_options *o, bench_subject *s, uint32_t threads,
                                    uint32_t n_context, elm_error *err) {
    for (int warm = 0; warm < 2; warm++) {
        int32_t ids[FIRST_TOKENS];
        bench_subject_close(s);
        double start = bench_now();
        ELM_TRY(bench_subject_open(o, s, threads, 0, n_context, err));
        for (uint32_t i = 0; i < FIRST_TOKENS; i++) ids[i] = seeded_id(i, s->info.n_real_tokens);
        ELM_TRY(elm_session_append(s->session, ids, FIRST_TOKENS, err));
        s->first_token_ms = (bench_now() - start) * 1e3;
    }
    elm_stats stats;
    elm_session_get_stats(s->session, &stats);
    s->load_ms = (double)stats.load_us / 1e3;
    return ELM_OK;
}

elm_status bench_stand_at(bench_subject *s, uint32_t depth, elm_error *err) {
    elm_session *session = s->session;
    ELM_TRY(elm_session_rewind(session, 0, err));
    for (uint32_t i = 0; i < s->model->module->n_states; i++) {
        if (s->model->module->states[i].kind != ELM_STATE_KV) continue;
        uint32_t capacity = session->states[i].capacity;
        session->oldest[i] = depth > capacity ? depth - capacity : 0;
    }
    for (uint32_t p = 0; p < depth; p++) session->tokens[p] = seeded_id(p, s->info.n_real_tokens);
    session->n_tokens = session->n_run = depth;
    return ELM_OK;
}

void bench_fill(bench_subject *s, uint32_t depth) {
    enum { ROWS = 4096 };
    float rows[ROWS];
    for (uint32_t i = 0; i < ROWS; i++) rows[i] = (float)seeded_id(i, 2001) / 1000.0f - 1.0f;
    for (uint32_t i = 0; i < s->model->module->n_states; i++) {
        elm_kv *kv = &s->session->states[i];
        if (s->model->module->states[i].kind != ELM_STATE_KV) continue;
        uint32_t widest = kv->k_dim > kv->v_dim ? kv->k_dim : kv->v_dim;
        uint32_t from = depth > kv->capacity ? depth - kv->capacity : 0;
        for (uint32_t p = from; p < depth && widest < ROWS; p++) {
            for (uint32_t h = 0; h < kv->n_heads; h++) {
                const float *row = rows + (uint32_t)seeded_id(p * kv->n_heads + h, ROWS - widest);
                elm_kv_store(kv, false, h, p, row);
                elm_kv_store(kv, true, h, p, row);
            }
        }
    }
}

static elm_status check_finite(const float *logits, elm_error *err) {
    if (logits && isfinite(logits[0])) return ELM_OK;
    return elm_fail(err, ELM_INTERNAL,
                    "the logits are not finite: the speed of this run means nothing");
}

elm_status bench_feed(bench_subject *s, uint32_t n, bool one_by_one, double *seconds,
                      elm_error *err) {
    uint32_t at = (uint32_t)elm_session_length(s->session);
    int32_t *ids = malloc((n + 1) * sizeof *ids);
    if (!ids) return elm_fail(err, ELM_OUT_OF_MEMORY, "no memory for ids");
    for (uint32_t i = 0; i < n; i++) ids[i] = seeded_id(at + i, s->info.n_real_tokens);
    elm_status status = ELM_OK;
    double start = bench_now(), before = start;
    for (uint32_t i = 0; i < n && status == ELM_OK && !cli_interrupted;) {
        uint32_t count = one_by_one ? 1 : n - i < PIECE_TOKENS ? n - i : PIECE_TOKENS;
        status = elm_session_append(s->session, ids + i, count, err);
        i += count;
        double now = bench_now();
        if (one_by_one && now - before > s->worst_seconds) s->worst_seconds = now - before;
        before = now;
    }
    *seconds = bench_now() - start;
    free(ids);
    ELM_TRY(status);
    if (cli_interrupted) return elm_fail(err, ELM_CANCELLED, "interrupted");
    return check_finite(elm_session_logits(s->session), err);
}

elm_status bench_verify(bench_subject *s, uint32_t n, double *seconds, elm_error *err) {
    elm_session *session = s->session;
    elm_work work = elm_session_work(session);
    elm_logits logits;
    for (uint32_t i = 0; i < n; i++)
        session->tokens[session->n_run + i] = seeded_id(i, s->info.n_real_tokens);
    double start = bench_now();
    ELM_TRY(elm_session_step(session, &work, n, n, true, &logits, err));
    *seconds = bench_now() - start;
    if (cli_interrupted) return elm_fail(err, ELM_CANCELLED, "interrupted");
    return check_finite(logits.first, err);
}
