/* test_cpu_program.c - whole segments on the cpu backend: the same bits for every number of
 * threads, chunking of the prompt and integer instruction set, values that share memory, and
 * agreement with the oracle. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "backend/kv.h"
#include "ir/build.h"
#include "ir/p16.h"
#include "kernel/kernel_sets.h"

enum { MAX_TENSORS = 32, VOCAB = 90, MAX_TOKENS = 40 };

/* One block of a transformer: the shapes that matter. */
typedef struct shape {
    uint32_t hidden, heads, kv_heads, k_dim, v_dim, ff;
    int32_t window;
    float softcap;
    elm_dtype weights;
    int32_t act_quant;
    bool untied_glu; /* gate and up from one linear, as one input */
    elm_dtype kv;
    uint32_t capacity;
} shape;

typedef struct net {
    elm_arena arena;
    elm_builder b;
    elm_tensor tensors[MAX_TENSORS];
    uint32_t n_tensors;
    elm_place *places;
    uint64_t scratch_bytes;
    uint32_t *nodes, n_nodes;
    random_state r;
} net;

static elm_value_id weight(net *n, elm_dtype dtype, uint32_t rows, uint32_t cols) {
    const elm_dtype_info *info = elm_dtype_get(dtype);
    matrix m = matrix_make(&n->r, dtype, rows, cols, info->has_scales ? 32 : 0, CODES_RANDOM, 0);
    elm_tensor *t = &n->tensors[n->n_tensors];
    *t = (elm_tensor){.name = "w",
                      .dtype = dtype,
                      .layout = ELM_LAYOUT_P16,
                      .n_dims = 2,
                      .dims = {rows, cols},
                      .group = info->has_scales ? 32 : 0,
                      .scale_exp = info->has_scales ? -5 : 0,
                      .zeros = m.zeros};
    if (info->has_scales) /* near 1, so that the values of all layers stay moderate */
        for (size_t i = 0; i < m.shape.scales_bytes / 2; i++)
            m.scales[i] = elm_f16_from_f32(random_float(&n->r) * (info->bits == 4 ? 0.5f : 0.03f));
    t->codes = m.codes;
    t->scales = m.scales;
    free(m.bias);
    uint32_t dims[2] = {rows, cols};
    uint32_t index = n->n_tensors++;
    return elm_build_weight(&n->b, index, elm_arena_printf(&n->arena, "w%u", index), dtype, 2,
                            dims);
}

static elm_value_id vector(net *n, uint32_t count, float lowest, float range) {
    float *v = malloc(count * sizeof *v);
    for (uint32_t i = 0; i < count; i++)
        v[i] = lowest + range * (random_float(&n->r) * 0.5f + 0.5f);
    n->tensors[n->n_tensors] = (elm_tensor){.name = "v",
                                            .dtype = ELM_F32,
                                            .layout = ELM_LAYOUT_ROWS,
                                            .n_dims = 1,
                                            .dims = {count},
                                            .codes = v};
    uint32_t index = n->n_tensors++;
    return elm_build_weight(&n->b, index, elm_arena_printf(&n->arena, "v%u", index), ELM_F32, 1,
                            &count);
}

static elm_value_id heads(net *n, elm_value_id x, const char *name, uint32_t count, uint32_t dim) {
    elm_dim dims[3] = {ELM_DIM_T, (elm_dim)count, (elm_dim)dim};
    return elm_build_reshape(&n->b, name, x, 3, dims);
}

static elm_value_id layer(net *n, const shape *s, uint32_t index, elm_value_id x,
                          elm_value_id freq) {
    elm_builder *b = &n->b;
    elm_builder_scope(b, "layers.%u", index);
    elm_value_id positions = elm_build_input(b, ELM_INPUT_POSITIONS);
    uint32_t nq = s->heads * s->k_dim, nk = s->kv_heads * s->k_dim, nv = s->kv_heads * s->v_dim;
    elm_value_id h = elm_build_rms_norm(b, "norm1", x, vector(n, s->hidden, 0.5f, 1.0f), 1e-6f);
    elm_value_id qkv = elm_build_linear(b, "qkv", h, weight(n, s->weights, nq + nk + nv, s->hidden),
                                        vector(n, nq + nk + nv, -0.1f, 0.2f), s->act_quant);
    elm_value_id q = elm_build_slice(b, "q", qkv, 0, (int32_t)nq);
    elm_value_id k = elm_build_slice(b, "k", qkv, (int32_t)nq, (int32_t)nk);
    elm_value_id v = elm_build_slice(b, "v", qkv, (int32_t)(nq + nk), (int32_t)nv);
    q = elm_build_rms_norm(b, "qn", heads(n, q, "qh", s->heads, s->k_dim),
                           vector(n, s->k_dim, 0.5f, 1.0f), 1e-6f);
    q = elm_build_rope(b, "qr", q, positions, freq, (int32_t)s->k_dim / 2, 1.0f);
    k = elm_build_rope(b, "kr", heads(n, k, "kh", s->kv_heads, s->k_dim), positions, freq,
                       (int32_t)s->k_dim / 2, 1.0f);
    elm_value_id state =
        elm_build_state(b, ELM_STATE_KV, index, s->kv_heads, s->k_dim, s->v_dim, (uint32_t)s->window);
    elm_build_kv_write(b, k, heads(n, v, "vh", s->kv_heads, s->v_dim), state);
    elm_value_id a =
        elm_build_attention(b, q, state, 1.0f / sqrtf((float)s->k_dim), s->window, s->softcap);
    elm_dim flat[2] = {ELM_DIM_T, (elm_dim)(s->heads * s->v_dim)};
    a = elm_build_reshape(b, "flat", a, 2, flat);
    elm_value_id o =
        elm_build_linear(b, "o", a, weight(n, s->weights, s->hidden, s->heads * s->v_dim),
                         ELM_NO_VALUE, s->act_quant);
    x = elm_build_add(b, "add1", x, o);
    h = elm_build_rms_norm(b, "norm2", x, ELM_NO_VALUE, 1e-6f);
    elm_value_id gu = elm_build_linear(b, "gu", h, weight(n, s->weights, 2 * s->ff, s->hidden),
                                       ELM_NO_VALUE, s->act_quant);
    elm_value_id gate = elm_build_slice(b, "gate", gu, 0, (int32_t)s->ff);
    elm_value_id up = elm_build_slice(b, "up", gu, (int32_t)s->ff, (int32_t)s->ff);
    elm_value_id g = s->untied_glu ? elm_build_glu(b, gu, ELM_NO_VALUE, ELM_GELU_TANH)
                                   : elm_build_glu(b, gate, up, ELM_SILU);
    elm_value_id d = elm_build_linear(b, "down", g, weight(n, s->weights, s->hidden, s->ff),
                                      ELM_NO_VALUE, s->act_quant);
    return elm_build_add(b, "add2", x, d);
}

static bool is_view(elm_op op) {
    return op == ELM_OP_SLICE || op == ELM_OP_RESHAPE;
}

/* Places values; memory is used again as soon as nobody reads it any more. */
static void place(net *n) {
    const elm_graph *g = n->b.graph;
    uint32_t *root = calloc(g->n_values, sizeof *root), *dies = calloc(g->n_values, sizeof *dies);
    uint64_t *end = calloc(g->n_values, sizeof *end);
    n->places = calloc(g->n_values, sizeof *n->places);
    n->nodes = calloc(g->n_nodes, sizeof *n->nodes);
    for (uint32_t v = 0; v < g->n_values; v++) root[v] = v;
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        const elm_node *node = &g->nodes[i];
        if (is_view(node->op)) root[node->output] = root[node->inputs[0]];
        for (uint32_t j = 0; j < node->n_inputs; j++) dies[root[node->inputs[j]]] = i;
        if (!is_view(node->op)) n->nodes[n->n_nodes++] = i;
    }
    dies[g->output] = g->n_nodes;
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        const elm_node *node = &g->nodes[i];
        elm_value_id v = node->output;
        if (v == ELM_NO_VALUE) continue;
        if (is_view(node->op)) {
            n->places[v] = n->places[node->inputs[0]];
            if (node->op == ELM_OP_SLICE) n->places[v].offset += (uint64_t)node->attrs.start * 4;
            continue;
        }
        uint32_t width = 1;
        for (uint32_t d = 1; d < g->values[v].n_dims; d++) width *= (uint32_t)g->values[v].dims[d];
        uint32_t stride = (width + 15) / 16 * 16;
        uint64_t offset = 0, bytes = (uint64_t)stride * 4 * MAX_TOKENS;
        for (bool moved = true; moved;) {
            moved = false;
            for (uint32_t o = 0; o < g->n_values; o++) {
                if (!end[o] || dies[o] < i || end[o] <= offset ||
                    n->places[o].offset >= offset + bytes)
                    continue;
                offset = end[o];
                moved = true;
            }
        }
        n->places[v] = (elm_place){offset, stride};
        end[v] = offset + bytes;
        if (end[v] > n->scratch_bytes) n->scratch_bytes = end[v];
    }
    free(root);
    free(dies);
    free(end);
}

static void net_make(net *n, const shape *s, uint64_t seed) {
    memset(n, 0, sizeof *n);
    n->r.s = seed;
    elm_arena_init(&n->arena, elm_allocator_default(), 0);
    assert_int_equal(elm_builder_init(&n->b, &n->arena, "text", NULL), ELM_OK);
    elm_value_id ids = elm_build_input(&n->b, ELM_INPUT_TOKENS);
    elm_value_id x = elm_build_embedding(&n->b, ids, weight(n, ELM_I8, VOCAB, s->hidden), 30.0f);
    elm_value_id freq = vector(n, s->k_dim / 2, 0.01f, 0.9f);
    for (uint32_t i = 0; i < 2; i++) x = layer(n, s, i, x, freq);
    elm_builder_scope(&n->b, NULL);
    x = elm_build_gather_rows(&n->b, x, elm_build_input(&n->b, ELM_INPUT_ROWS));
    x = elm_build_rms_norm(&n->b, "norm", x, vector(n, s->hidden, 0.5f, 1.0f), 1e-6f);
    x = elm_build_linear(&n->b, "head", x, weight(n, s->weights, VOCAB, s->hidden), ELM_NO_VALUE,
                         s->act_quant);
    elm_error err;
    if (elm_builder_finish(&n->b, x, ELM_NO_VALUE, &err) != ELM_OK) fail_msg("%s", err.message);
    place(n);
}

static void net_free(net *n) {
    for (uint32_t i = 0; i < n->n_tensors; i++) {
        free((void *)(uintptr_t)n->tensors[i].codes);
        free((void *)(uintptr_t)n->tensors[i].scales);
        free((void *)(uintptr_t)n->tensors[i].zeros);
    }
    free(n->places);
    free(n->nodes);
    elm_arena_free(&n->arena);
}

/* Runs `total` tokens in chunks and gives the logits of each: out[total][VOCAB]. */
static void run(const net *n, const shape *s, const elm_backend *backend, uint32_t cpu_mask,
                uint32_t threads, uint32_t total, uint32_t chunk, uint32_t last_chunk, float *out) {
    const elm_platform *platform = elm_platform_default();
    elm_device_options options = {.cpu_mask = cpu_mask};
    void *device = NULL, *workspace = NULL;
    elm_program *program = NULL;
    elm_thread_pool *pool = NULL;
    size_t bytes = 0;
    const elm_module *m = n->b.module;
    assert_int_equal(backend->open(platform, &options, &device, NULL), ELM_OK);
    for (uint32_t i = 0; i < n->n_nodes; i++) {
        char reason[128];
        if (!backend->supports(device, m, n->b.graph, &n->b.graph->nodes[n->nodes[i]], n->tensors,
                               reason, 128))
            fail_msg("%s", reason);
    }
    elm_prepare_info info = {platform, m,          n->b.graph, n->tensors, n->places,
                             n->nodes, n->n_nodes, MAX_TOKENS, MAX_TOKENS, threads};
    assert_int_equal(backend->prepare(device, &info, &program, &bytes, NULL), ELM_OK);
    assert_int_equal(elm_thread_pool_create(platform->alloc, threads, &pool, NULL), ELM_OK);
    workspace = guarded(bytes);
    uint8_t *scratch = guarded(n->scratch_bytes);
    elm_kv *states = calloc(m->n_states, sizeof *states);
    void **memory = calloc(m->n_states, sizeof *memory);
    for (uint32_t i = 0; i < m->n_states; i++) {
        states[i] = (elm_kv){.dtype = s->kv,
                             .n_heads = s->kv_heads,
                             .k_dim = s->k_dim,
                             .v_dim = s->v_dim,
                             .capacity = s->capacity};
        size_t kv_bytes = elm_kv_bytes(s->kv, s->kv_heads, s->k_dim, s->v_dim, s->capacity);
        memory[i] = guarded(kv_bytes);
        memset(memory[i], 0xff, kv_bytes); /* NaN: what was not written must not be read */
        elm_kv_layout(&states[i], memory[i]);
    }
    for (uint32_t done = 0; done < total;) {
        uint32_t count = total - done <= last_chunk ? 1 : chunk;
        if (count > total - done) count = total - done;
        int32_t tokens[MAX_TOKENS], positions[MAX_TOKENS], rows[MAX_TOKENS];
        for (uint32_t i = 0; i < count; i++) {
            tokens[i] = (int32_t)((done + i) * 37 % VOCAB);
            positions[i] = (int32_t)(done + i);
            rows[i] = (int32_t)i;
        }
        elm_step step = {.n_tokens = count,
                         .n_past = done,
                         .n_rows = count,
                         .tokens = tokens,
                         .positions = positions,
                         .rows = rows,
                         .scratch = scratch,
                         .workspace = workspace,
                         .states = states,
                         .pool = pool};
        elm_error err;
        if (backend->run(program, &step, &err) != ELM_OK) fail_msg("%s", err.message);
        const elm_place *place_of = &n->places[n->b.graph->output];
        for (uint32_t i = 0; i < count; i++)
            memcpy(out + (done + i) * VOCAB,
                   elm_step_rows(&step, place_of) + i * place_of->row_stride, VOCAB * 4);
        done += count;
    }
    assert_true(guards_hold(workspace, bytes));
    assert_true(guards_hold(scratch, n->scratch_bytes));
    for (uint32_t i = 0; i < m->n_states; i++) {
        assert_true(guards_hold(memory[i],
                                elm_kv_bytes(s->kv, s->kv_heads, s->k_dim, s->v_dim, s->capacity)));
        guarded_free(memory[i]);
    }
    free(memory);
    free(states);
    guarded_free(scratch);
    guarded_free(workspace);
    elm_thread_pool_free(pool);
    backend->program_free(program);
    backend->close(device);
}

/* hidden heads kv k v ff window cap weights act untied kv capacity */
static const shape shapes[] = {
    {96, 6, 3, 32, 32, 112, 0, 0.0f, ELM_I4, 1, false, ELM_F16, 700},
    {64, 4, 1, 40, 24, 80, 0, 0.0f, ELM_I8, 1, true, ELM_I8, 700},
    {80, 3, 3, 16, 16, 48, 0, 20.0f, ELM_I4Z, 1, false, ELM_F32, 700},
    {64, 8, 1, 64, 64, 100, 50, 0.0f, ELM_I8Z, 1, true, ELM_F16, 50 + MAX_TOKENS},
    {48, 4, 2, 16, 32, 64, 7, 0.0f, ELM_F16, 0, false, ELM_I8, 64},
    {48, 2, 1, 16, 16, 33, 0, 0.0f, ELM_BF16, 0, false, ELM_F32, 700},
    {48, 2, 2, 16, 16, 33, 0, 0.0f, ELM_I4, 0, false, ELM_F16, 700},
};
enum { N_SHAPES = sizeof shapes / sizeof shapes[0], TOTAL = 530 };

static void test_same_bits(void **state) {
    (void)state;
    static float want[TOTAL * VOCAB], got[TOTAL * VOCAB];
    const elm_backend *cpu = elm_backend_find("cpu");
    static const struct {
        uint32_t mask, threads, chunk, last;
    } ways[] = {{UINT32_MAX, 2, MAX_TOKENS, 9},
                {UINT32_MAX, 3, 33, 12},
                {UINT32_MAX, 1, 7, 0},
                {UINT32_MAX, 5, 17, 20},
                {ELM_CPU_AVX2 | ELM_CPU_NEON, 2, 16, 5},
                {0, 2, 40, 4}};
    for (size_t i = 0; i < N_SHAPES; i++) {
        net n;
        net_make(&n, &shapes[i], i + 1);
        run(&n, &shapes[i], cpu, UINT32_MAX, 1, TOTAL, 1, 0, want);
        for (size_t k = 0; k < TOTAL * VOCAB; k++) assert_true(isfinite(want[k]));
        for (size_t w = 0; w < sizeof ways / sizeof ways[0]; w++) {
            memset(got, 0, sizeof got);
            run(&n, &shapes[i], cpu, ways[w].mask, ways[w].threads, TOTAL, ways[w].chunk,
                ways[w].last, got);
            for (size_t k = 0; k < TOTAL * VOCAB; k++)
                if (memcmp(&want[k], &got[k], 4) != 0)
                    fail_msg("shape %zu, way %zu: token %zu differs: %g and %g", i, w, k / VOCAB,
                             (double)want[k], (double)got[k]);
        }
        net_free(&n);
    }
}

/* Against the oracle. Without integer activations and caches both compute the same real function in
 * float, so the difference is rounding alone: two layers of sums of at most 112 terms, 1e-4 of the
 * largest logit is generous. A code of an activation or a cached key may round the other way after
 * a last-bit difference; it moves the result by up to 1/254 of a block's largest value, so those
 * shapes get 3e-2. */
static void test_against_oracle(void **state) {
    (void)state;
    static float want[60 * VOCAB], got[60 * VOCAB];
    for (size_t i = 0; i < N_SHAPES; i++) {
        net n;
        net_make(&n, &shapes[i], i + 1);
        run(&n, &shapes[i], elm_backend_find("ref"), 0, 1, 60, 20, 0, want);
        run(&n, &shapes[i], elm_backend_find("cpu"), UINT32_MAX, 2, 60, 31, 3, got);
        double largest = 0, worst = 0;
        for (size_t k = 0; k < 60 * VOCAB; k++) {
            largest = fmax(largest, fabs((double)want[k]));
            worst = fmax(worst, fabs((double)want[k] - (double)got[k]));
        }
        bool rounds = shapes[i].act_quant || shapes[i].kv != ELM_F32;
        printf("shape %zu: largest logit %.3g, worst difference %.2e\n", i, largest,
               worst / largest);
        assert_true(largest > 0.01 && worst <= (rounds ? 3e-2 : 1e-4) * largest);
        net_free(&n);
    }
}

static void test_refuses_bad_steps(void **state) {
    (void)state;
    net n;
    net_make(&n, &shapes[0], 1);
    const elm_backend *cpu = elm_backend_find("cpu");
    const elm_platform *platform = elm_platform_default();
    void *device = NULL;
    elm_program *program = NULL;
    elm_thread_pool *pool = NULL;
    size_t bytes;
    elm_device_options options = {UINT32_MAX};
    assert_int_equal(cpu->open(platform, &options, &device, NULL), ELM_OK);
    elm_prepare_info info = {platform, n.b.module, n.b.graph, n.tensors, n.places,
                             n.nodes,  n.n_nodes,  4,         4,         1};
    assert_int_equal(cpu->prepare(device, &info, &program, &bytes, NULL), ELM_OK);
    assert_int_equal(elm_thread_pool_create(platform->alloc, 2, &pool, NULL), ELM_OK);
    int32_t tokens[5] = {0, 1, VOCAB, 3, 4}, rows[1] = {0};
    elm_step step = {.n_tokens = 2,
                     .n_rows = 1,
                     .tokens = tokens,
                     .positions = tokens,
                     .rows = rows,
                     .pool = pool};
    elm_error err;
    assert_int_equal(cpu->run(program, &step, &err), ELM_INVALID_ARGUMENT); /* two threads */
    elm_thread_pool_free(pool);
    assert_int_equal(elm_thread_pool_create(platform->alloc, 1, &pool, NULL), ELM_OK);
    step.pool = pool;
    step.n_tokens = 5;
    assert_int_equal(cpu->run(program, &step, &err), ELM_INVALID_ARGUMENT);
    step.n_tokens = 3; /* holds an id outside the vocabulary */
    assert_int_equal(cpu->run(program, &step, &err), ELM_INVALID_ARGUMENT);
    step.n_tokens = 2;
    rows[0] = 2;
    assert_int_equal(cpu->run(program, &step, &err), ELM_INVALID_ARGUMENT);
    elm_thread_pool_free(pool);
    cpu->program_free(program);
    cpu->close(device);
    net_free(&n);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_against_oracle),
        cmocka_unit_test(test_refuses_bad_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
