/* bandwidth.c - see bandwidth.h; cli. */
#include "cli/bandwidth.h"

#include "base/platform.h"
#include "base/thread_pool.h"
#include "runtime/session.h"

#include <string.h>

enum { BUFFER_BYTES = 512 << 20, ROUNDS = 5, LANES = 16 };

typedef struct reading {
    const uint64_t *words;
    size_t n;
    uint64_t sums[ELM_MAX_THREADS];
} reading;

/* Sixteen independent sums, so that the loads and not the additions are what takes time. */
static uint64_t sum_words(const uint64_t *p, size_t n) {
    uint64_t s[LANES] = {0}, total = 0;
    for (size_t i = 0; i + LANES <= n; i += LANES) {
        for (size_t l = 0; l < LANES; l++) s[l] += p[i + l];
    }
    for (size_t l = 0; l < LANES; l++) total += s[l];
    return total;
}

static void read_step(void *context, uint32_t thread, uint32_t n_threads) {
    reading *r = context;
    size_t begin, end;
    elm_split(r->n, 4096, thread, n_threads, &begin, &end);
    r->sums[thread] += sum_words(r->words + begin, end - begin);
}

double cli_read_bandwidth(uint32_t threads) {
    const elm_platform *p = elm_platform_default();
    elm_thread_pool *pool = NULL;
    reading r = {.n = BUFFER_BYTES / sizeof(uint64_t)};
    void *buffer = NULL;
    double best = 0.0;
    if (elm_thread_pool_create(p->alloc, threads, &pool, NULL) == ELM_OK &&
        elm_alloc(p->alloc, BUFFER_BYTES, "a bandwidth buffer", &buffer, NULL) == ELM_OK) {
        memset(buffer, 1, BUFFER_BYTES); /* real pages, not the shared zero page */
        r.words = buffer;
        for (int i = 0; i < ROUNDS; i++) {
            uint64_t start = elm_now_us(p);
            elm_thread_pool_run(pool, read_step, &r);
            double rate = (double)BUFFER_BYTES * 1e6 / (double)(elm_now_us(p) - start + 1);
            if (rate > best && r.sums[0] != 0) best = rate;
        }
    }
    elm_free(p->alloc, buffer, buffer ? BUFFER_BYTES : 0);
    elm_thread_pool_free(pool);
    return best;
}

uint64_t cli_token_weight_bytes(const elm_model *model) {
    uint64_t total = 0;
    for (uint32_t n = 0; n < model->graph->n_nodes; n++) {
        const elm_node *node = &model->graph->nodes[n];
        if (node->op != ELM_OP_LINEAR && node->op != ELM_OP_EMBEDDING) continue;
        const elm_tensor *t = &model->tensors[model->graph->values[node->inputs[1]].index];
        uint64_t bytes = t->codes_bytes + t->scales_bytes + t->zeros_bytes;
        total += node->op == ELM_OP_EMBEDDING ? bytes / t->dims[0] : bytes;
    }
    return total;
}

uint64_t cli_token_kv_bytes(const elm_session *session, uint32_t depth) {
    uint64_t total = 0;
    for (uint32_t i = 0; i < session->model->module->n_states; i++) {
        if (session->model->module->states[i].kind != ELM_STATE_KV) continue;
        const elm_kv *kv = &session->states[i];
        uint32_t window = session->model->module->states[i].window;
        uint64_t seen = window && window < depth ? window : depth;
        uint64_t row = (uint64_t)(kv->k_dim + kv->v_dim) * elm_dtype_get(kv->dtype)->bits / 8;
        if (kv->dtype == ELM_I8) row += 2 * sizeof(float);
        total += seen * kv->n_heads * row;
    }
    return total;
}
