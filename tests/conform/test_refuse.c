/* test_refuse.c - nodes taken from the cpu backend at random and given to the oracle: the same
 * tokens wherever the winner is clearer than the bound of docs/numerics.md, and state that one
 * backend wrote and the other reads. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "edge_llm_convert.h"
#include "runtime/model.h"
#include "tiny_folder.h"

enum { VOCAB = 256, TOKENS = 48, CUTS = 6 };

typedef struct refusal {
    uint64_t seed;
    uint32_t percent; /* of the nodes */
} refusal;

/* Decided by the node alone, so that every plan of the model is cut alike. Device 0 is cpu, 1 the
 * oracle. */
static bool refuse(void *context, uint32_t node, uint32_t device) {
    const refusal *r = context;
    uint64_t z = (r->seed * 1000003 + node) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    return device == 0 && (z >> 33) % 100 < r->percent;
}

/* How often an attention reads, on one device, a state that was written on the other. */
static uint32_t crossings(const elm_plan *plan) {
    const elm_graph *g = plan->graph;
    uint32_t n = 0;
    for (uint32_t a = 0; a < g->n_nodes; a++) {
        if (g->nodes[a].op != ELM_OP_ATTENTION) continue;
        for (uint32_t w = 0; w < a; w++)
            if (g->nodes[w].op == ELM_OP_KV_WRITE && g->nodes[w].inputs[2] == g->nodes[a].inputs[1])
                n += plan->node_device[w] != plan->node_device[a];
    }
    return n;
}

/* Logits of every one of TOKENS fixed ids, fed one at a time after a prompt of 16. */
static uint32_t run(const char *path, const refusal *r, elm_kv_type kv, float *out) {
    elm_error err;
    elm_model *m = NULL;
    elm_session *s = NULL;
    elm_model_options options = {
        .struct_size = sizeof options, .n_threads = 2, .backends = "cpu,ref!"};
    refusal copy = *r;
    elm_model_hooks hooks = {.refuse = refuse, .refuse_context = &copy};
    if (elm_model_open_with(&m, path, &options, &hooks, &err) != ELM_OK)
        fail_msg("%s", err.message);
    elm_session_options so = {.struct_size = sizeof so, .n_context = TOKENS, .kv = kv};
    if (elm_session_create(m, &so, &s, &err) != ELM_OK) fail_msg("%s", err.message);
    int32_t ids[TOKENS];
    for (int i = 0; i < TOKENS; i++) ids[i] = (i * 97 + 31) % VOCAB;
    for (uint32_t done = 0, n; done < TOKENS; done += n) {
        n = done ? 1 : 16;
        if (elm_session_append(s, ids + done, n, &err) != ELM_OK) fail_msg("%s", err.message);
        memcpy(out + (size_t)(done + n - 1) * VOCAB, elm_session_logits(s), VOCAB * sizeof(float));
    }
    uint32_t crossed = crossings(&m->plan);
    elm_session_free(s);
    elm_model_close(m);
    return crossed;
}

static uint32_t argmax(const float *x) {
    uint32_t best = 0;
    for (uint32_t i = 1; i < VOCAB; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

/* Same winner in every row whose margin exceeds twice `bound` times the row's RMS; returns how many
 * rows that were. */
static uint32_t same_tokens(const float *want, const float *got, double bound, double *share) {
    uint32_t sure = 0;
    for (uint32_t t = 15; t < TOKENS; t++) {
        const float *w = want + (size_t)t * VOCAB, *g = got + (size_t)t * VOCAB;
        uint32_t first = argmax(w);
        double sum = 0, second = -INFINITY, worst = 0;
        for (uint32_t i = 0; i < VOCAB; i++) {
            sum += (double)w[i] * (double)w[i];
            worst = fmax(worst, fabs((double)w[i] - (double)g[i]));
            if (i != first) second = fmax(second, (double)w[i]);
        }
        double allowed = bound * sqrt(sum / VOCAB);
        if (worst > allowed)
            fail_msg("token %u: logits differ by %.3g; %.3g are allowed", t, worst, allowed);
        *share = fmax(*share, worst / allowed);
        if ((double)w[first] - second <= 2 * allowed) continue;
        sure++;
        if (argmax(g) != first) fail_msg("token %u: %u instead of %u", t, argmax(g), first);
    }
    return sure;
}

static void test_refused_nodes_change_no_token(void **state) {
    (void)state;
    static const struct {
        elm_quant quant;
        elm_kv_type kv;
        double bound; /* docs/numerics.md, whole models */
    } models[] = {{ELM_QUANT_F32, ELM_KV_F32, 1e-4},
                  {ELM_QUANT_BF16, ELM_KV_F16, 2e-3},
                  {ELM_QUANT_INT8, ELM_KV_F32, 2e-2},
                  {ELM_QUANT_INT4, ELM_KV_I8, 2e-2}};
    static float want[TOKENS * VOCAB], got[TOKENS * VOCAB];
    tiny_folder folder;
    elm_error err;
    folder_init(&folder, 3);
    folder_write(&folder);
    uint32_t crossed = 0, sure = 0;
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        elm_convert_options o = {
            .struct_size = sizeof o, .quant = models[i].quant, .group = 32, .n_threads = 1};
        if (elm_convert(folder.path, folder.elm, &o, NULL, &err) != ELM_OK)
            fail_msg("%s", err.message);
        double share = 0;
        run(folder.elm, &(refusal){0, 0}, models[i].kv, want);
        for (uint32_t cut = 0; cut < CUTS; cut++) {
            crossed +=
                run(folder.elm, &(refusal){cut + 1, cut ? 10 + 15 * cut : 100}, models[i].kv, got);
            sure += same_tokens(want, got, models[i].bound, &share);
        }
        printf("%s: largest difference %.3f of the bound\n", elm_quant_text(models[i].quant),
               share);
    }
    folder_free(&folder);
    printf("%u tokens with a clear winner, %u states that crossed\n", sure, crossed);
    assert_true(crossed >= 8 && sure > 100); /* or the test shows nothing */
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_refused_nodes_change_no_token)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
