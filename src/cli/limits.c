/* limits.c - see limits.h; cli. */
#include "cli/limits.h"

#include "backend/cpu/features.h"
#include "backend/kv.h"
#include "base/platform.h"
#include "runtime/session.h"

#include <string.h>
#include <sys/mman.h>

enum { BUFFER_BYTES = 256 << 20, BEST_OF = 5, PEAK_ROUNDS = 2000000, LANES = 32 };

typedef struct sample {
    const cli_limits *limits;
    uint32_t threads;
    bool i4;
    uint64_t done[ELM_MAX_THREADS]; /* operations, or a sum that keeps the loads alive */
} sample;

/* Many independent sums, so that the loads and not the additions are what takes time. */
static uint64_t sum_words(const uint64_t *p, size_t n) {
    uint64_t s[LANES] = {0}, total = 0;
    for (size_t i = 0; i + LANES <= n; i += LANES) {
        for (size_t l = 0; l < LANES; l++) s[l] += p[i + l];
    }
    for (size_t l = 0; l < LANES; l++) total += s[l];
    return total;
}

static void read_step(void *context, uint32_t thread, uint32_t n_threads) {
    sample *s = context;
    size_t begin, end, n = s->limits->buffer_bytes / sizeof(uint64_t);
    (void)n_threads;
    if (thread >= s->threads) return;
    elm_split(n, 4096, thread, s->threads, &begin, &end);
    s->done[thread] =
        sum_words((const uint64_t *)(const void *)s->limits->buffer + begin, end - begin);
}

static void peak_step(void *context, uint32_t thread, uint32_t n_threads) {
    sample *s = context;
    (void)n_threads;
    if (thread >= s->threads) return;
    const elm_cpu_kernels *k = &s->limits->kernels;
    s->done[thread] = (s->i4 ? k->peak_i4 : k->peak_i8)(PEAK_ROUNDS);
}

static double seconds_of(elm_thread_pool *pool, elm_step_fn fn, sample *s) {
    const elm_platform *p = elm_platform_default();
    uint64_t start = elm_now_us(p);
    elm_thread_pool_run(pool, fn, s);
    return (double)(elm_now_us(p) - start + 1) / 1e6;
}

bool cli_limits_open(cli_limits *out, uint32_t cpu_mask) {
    memset(out, 0, sizeof *out);
    elm_cpu_kernels_init(&out->kernels, elm_cpu_features(cpu_mask ? cpu_mask : UINT32_MAX));
    void *p = mmap(NULL, BUFFER_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return false;
#ifdef MADV_HUGEPAGE
    (void)madvise(p, BUFFER_BYTES,
                  MADV_HUGEPAGE); /* the limit is the memory's, not the page table's */
#endif
    memset(p, 1, BUFFER_BYTES); /* real pages, not the shared zero page */
    out->buffer = p;
    out->buffer_bytes = BUFFER_BYTES;
    return true;
}

void cli_limits_close(cli_limits *limits) {
    if (limits->buffer) munmap(limits->buffer, limits->buffer_bytes);
    limits->buffer = NULL;
}

double cli_limits_read(const cli_limits *limits, elm_thread_pool *pool, uint32_t threads) {
    sample s = {.limits = limits, .threads = threads};
    double seconds = seconds_of(pool, read_step, &s);
    return s.done[0] ? (double)limits->buffer_bytes / seconds : 0.0;
}

double cli_limits_peak(const cli_limits *limits, elm_thread_pool *pool, uint32_t threads, bool i4) {
    sample s = {.limits = limits, .threads = threads, .i4 = i4};
    double seconds = seconds_of(pool, peak_step, &s), done = 0.0;
    for (uint32_t t = 0; t < threads; t++) done += (double)s.done[t];
    return done / seconds;
}

double cli_read_bandwidth(void) {
    elm_thread_pool *pool = NULL;
    cli_limits limits;
    double best = 0.0;
    if (!cli_limits_open(&limits, 0)) return 0.0;
    if (elm_thread_pool_create(elm_platform_default()->alloc, 1, &pool, NULL) == ELM_OK) {
        for (int i = 0; i < BEST_OF; i++) {
            double rate = cli_limits_read(&limits, pool, 1);
            best = rate > best ? rate : best;
        }
    }
    elm_thread_pool_free(pool);
    cli_limits_close(&limits);
    return best;
}

static uint64_t tensor_bytes(const elm_tensor *t) {
    return t->codes_bytes + t->scales_bytes + t->zeros_bytes;
}

/* Adds the operations of `count` uses of a [rows][cols] matrix, the last two dimensions of t. */
static void add_operations(const elm_tensor *t, uint64_t count, uint64_t *total, uint64_t *of_i4) {
    uint64_t operations = 2 * count * t->dims[t->n_dims - 2] * t->dims[t->n_dims - 1];
    *total += operations;
    if (elm_dtype_get(t->dtype)->bits == 4) *of_i4 += operations;
}

cli_costs cli_token_costs(const elm_model *model) {
    const elm_graph *g = model->graph;
    cli_costs out = {0};
    uint64_t of_i4 = 0;
    for (uint32_t n = 0; n < g->n_nodes; n++) {
        const elm_node *node = &g->nodes[n];
        if (node->op == ELM_OP_EMBEDDING || node->op == ELM_OP_LINEAR) {
            const elm_tensor *t = &model->tensors[g->values[node->inputs[1]].index];
            bool all_rows = g->values[node->output].dims[0] == ELM_DIM_T;
            out.weight_bytes +=
                node->op == ELM_OP_LINEAR ? tensor_bytes(t) : tensor_bytes(t) / t->dims[0];
            if (node->op == ELM_OP_LINEAR)
                add_operations(t, 1, all_rows ? &out.operations : &out.row_operations, &of_i4);
        } else if (node->op == ELM_OP_MOE) {
            const uint64_t chosen = (uint64_t)node->attrs.top_k;
            for (uint32_t i = 2; i <= 3; i++) { /* gate|up and down, [experts][rows][cols] */
                const elm_tensor *t = &model->tensors[g->values[node->inputs[i]].index];
                out.weight_bytes += tensor_bytes(t) / t->dims[0] * chosen;
                add_operations(t, chosen, &out.operations, &of_i4);
            }
        }
    }
    out.i4 = 2 * of_i4 > out.operations + out.row_operations;
    return out;
}

uint64_t cli_token_state_bytes(const elm_session *session, uint32_t depth) {
    uint64_t total = 0;
    for (uint32_t i = 0; i < session->model->module->n_states; i++) {
        const elm_state *state = &session->model->module->states[i];
        if (!(session->model->state_users[i] & ELM_USED_BY_TEXT)) continue;
        if (state->kind != ELM_STATE_KV) {
            total += elm_state_floats(state) * sizeof(float);
            continue;
        }
        const elm_kv *kv = &session->states[i];
        uint64_t seen = state->window && state->window < depth ? state->window : depth;
        uint64_t row =
            (elm_kv_k_width(kv) + elm_kv_v_width(kv)) * elm_dtype_get(kv->dtype)->bits / 8;
        if (kv->dtype == ELM_I8) row += 2 * sizeof(float);
        total += seen * kv->n_heads * row;
    }
    return total;
}
