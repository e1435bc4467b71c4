/* test_plan.c - who takes a node, where segments are cut, where values lie, what is printed, and
 * what a failure leaves. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "ir/build.h"
#include "partition/select.h"

enum { WIDTH = 40, VOCAB = 50, LAYERS = 6, MAX_TENSORS = 32 };

typedef struct net {
    elm_arena arena;
    elm_builder b;
    elm_tensor tensors[MAX_TENSORS];
    uint32_t n_tensors;
    elm_device devices[2];
    elm_error err;
} net;

static elm_value_id matrix(net *n, uint32_t rows, uint32_t cols) {
    uint32_t dims[2] = {rows, cols};
    float *codes = elm_arena_alloc(&n->arena, (rows + 15) / 16 * 16 * cols * sizeof(float), 64);
    n->tensors[n->n_tensors] = (elm_tensor){.name = "w",
                                            .dtype = ELM_F32,
                                            .layout = ELM_LAYOUT_P16,
                                            .n_dims = 2,
                                            .dims = {rows, cols},
                                            .codes = codes,
                                            .codes_bytes = 4096};
    return elm_build_weight(&n->b, n->n_tensors++, "w", ELM_F32, 2, dims);
}

/* x = x + down(glu(up(norm(x)))), with the halves of up as slices, several times. */
static int make(void **state) {
    net *n = calloc(1, sizeof *n);
    elm_builder *b = &n->b;
    elm_arena_init(&n->arena, elm_allocator_default(), 0);
    assert_int_equal(elm_builder_init(b, &n->arena, "text", NULL), ELM_OK);
    elm_value_id x =
        elm_build_embedding(b, elm_build_input(b, ELM_INPUT_TOKENS), matrix(n, VOCAB, WIDTH), 1.0f);
    for (uint32_t l = 0; l < LAYERS; l++) {
        elm_builder_scope(b, "layers.%u", l);
        elm_value_id h = elm_build_rms_norm(b, "norm", x, ELM_NO_VALUE, 1e-6f);
        elm_value_id up =
            elm_build_linear(b, "up", h, matrix(n, 2 * WIDTH, WIDTH), ELM_NO_VALUE, 0);
        elm_value_id gate = elm_build_slice(b, "gate", up, 0, WIDTH),
                     rest = elm_build_slice(b, "rest", up, WIDTH, WIDTH);
        elm_value_id g = elm_build_glu(b, gate, rest, ELM_SILU);
        x = elm_build_add(b, "add", x,
                          elm_build_linear(b, "down", g, matrix(n, WIDTH, WIDTH), ELM_NO_VALUE, 0));
    }
    elm_builder_scope(b, NULL);
    x = elm_build_gather_rows(b, x, elm_build_input(b, ELM_INPUT_ROWS));
    if (elm_builder_finish(b, x, ELM_NO_VALUE, &n->err) != ELM_OK) fail_msg("%s", n->err.message);
    static const char *const names[] = {"cpu", "ref"};
    for (int d = 0; d < 2; d++) {
        n->devices[d].backend = elm_backend_find(names[d]);
        elm_device_options options = {UINT32_MAX};
        assert_int_equal(n->devices[d].backend->open(elm_platform_default(), &options,
                                                     &n->devices[d].handle, NULL),
                         ELM_OK);
    }
    *state = n;
    return 0;
}

static int unmake(void **state) {
    net *n = *state;
    for (int d = 0; d < 2; d++) n->devices[d].backend->close(n->devices[d].handle);
    elm_arena_free(&n->arena);
    free(n);
    return 0;
}

static elm_plan_options options_of(net *n, elm_refuse_fn refuse, void *context) {
    return (elm_plan_options){.devices = n->devices,
                              .n_devices = 2,
                              .max_tokens = 9,
                              .max_rows = 3,
                              .max_threads = 2,
                              .refuse = refuse,
                              .refuse_context = context};
}

static elm_status plan_with(net *n, const elm_platform *p, const elm_plan_options *o,
                            elm_plan *out) {
    return elm_plan_make(p, n->b.module, n->b.graph, n->tensors, o, out, &n->err);
}

static void must_plan(net *n, elm_refuse_fn refuse, void *context, elm_plan *out) {
    elm_plan_options o = options_of(n, refuse, context);
    if (plan_with(n, elm_platform_default(), &o, out) != ELM_OK) fail_msg("%s", n->err.message);
}

static bool refuse_linears(void *context, uint32_t node, uint32_t device) {
    const net *n = context;
    return device == 0 && n->b.graph->nodes[node].op == ELM_OP_LINEAR;
}

static bool refuse_some(void *context, uint32_t node, uint32_t device) {
    uint64_t z = (*(const uint64_t *)context * 1000003 + node) * 0x9e3779b97f4a7c15u;
    return device == 0 && (z >> 40) % 2;
}

static bool refuse_one_everywhere(void *context, uint32_t node, uint32_t device) {
    (void)device;
    return node == *(const uint32_t *)context;
}

static void test_one_segment_without_refusals(void **state) {
    net *n = *state;
    elm_plan plan;
    must_plan(n, NULL, NULL, &plan);
    assert_int_equal(plan.n_segments, 1);
    uint32_t views = 0;
    for (uint32_t i = 0; i < n->b.graph->n_nodes; i++) {
        views += plan.node_device[i] == ELM_DEVICE_VIEW;
        assert_true(plan.node_device[i] == 0 || plan.node_device[i] == ELM_DEVICE_VIEW);
        assert_null(plan.node_reason[i]);
    }
    assert_int_equal(views, 2 * LAYERS);
    assert_int_equal(plan.segments[0].count, n->b.graph->n_nodes - views);
    elm_plan_free(&plan);
    elm_plan_free(&plan);
}

/* Segments hold every node that is no view once, in order, each on one device, and no two
 * neighbours share theirs. */
static void check_cut(const net *n, const elm_plan *plan) {
    uint32_t at = 0;
    int64_t last = -1;
    for (uint32_t s = 0; s < plan->n_segments; s++) {
        const elm_segment *segment = &plan->segments[s];
        assert_int_equal(segment->first, at);
        assert_true(segment->count > 0);
        assert_true(s == 0 || plan->segments[s - 1].device != segment->device);
        for (uint32_t i = 0; i < segment->count; i++, at++) {
            assert_true((int64_t)plan->order[at] > last);
            last = plan->order[at];
            assert_int_equal(plan->node_device[last], segment->device);
        }
    }
    uint32_t views = 0;
    for (uint32_t i = 0; i < n->b.graph->n_nodes; i++)
        views += plan->node_device[i] == ELM_DEVICE_VIEW;
    assert_int_equal(at + views, n->b.graph->n_nodes);
}

/* Two values that live at the same time share no byte, views lie inside what they view, and all
 * lies in the scratch. */
static void check_places(const net *n, const elm_plan *plan, uint32_t max_tokens,
                         uint32_t max_rows) {
    const elm_graph *g = n->b.graph;
    uint32_t *root = calloc(g->n_values, sizeof *root), *dies = calloc(g->n_values, sizeof *dies);
    uint64_t *from = calloc(g->n_values, sizeof *from), *to = calloc(g->n_values, sizeof *to);
    for (uint32_t v = 0; v < g->n_values; v++) root[v] = v;
    for (uint32_t i = 0; i < g->n_nodes; i++) {
        const elm_node *node = &g->nodes[i];
        if (node->output == ELM_NO_VALUE) continue;
        if (elm_op_is_view(node->op)) root[node->output] = root[node->inputs[0]];
        dies[root[node->output]] = i;
        for (uint32_t k = 0; k < node->n_inputs; k++) dies[root[node->inputs[k]]] = i;
    }
    dies[root[g->output]] = g->n_nodes;
    for (uint32_t v = 0; v < g->n_values; v++) {
        const elm_value *value = &g->values[v];
        if (value->kind != ELM_VALUE_NODE) {
            assert_int_equal(plan->places[v].row_stride, 0);
            continue;
        }
        uint64_t rows = value->dims[0] == ELM_DIM_R ? max_rows : max_tokens,
                 width = elm_value_width(value);
        from[v] = plan->places[v].offset;
        to[v] = from[v] + ((rows - 1) * plan->places[v].row_stride + width) * sizeof(float);
        assert_true(to[v] <= plan->scratch_bytes);
        assert_true(plan->places[v].row_stride >= width);
        if (root[v] == v) assert_int_equal(from[v] % 64, 0);
    }
    for (uint32_t a = 0; a < g->n_values; a++) {
        if (g->values[a].kind != ELM_VALUE_NODE) continue;
        if (root[a] != a) assert_true(from[a] >= from[root[a]] && to[a] <= to[root[a]]);
        for (uint32_t b = 0; b < a; b++) {
            if (g->values[b].kind != ELM_VALUE_NODE || root[a] != a || root[b] != b) continue;
            uint32_t born_a = g->values[a].index, born_b = g->values[b].index;
            bool together = born_a <= dies[b] && born_b <= dies[a];
            if (together && from[a] < to[b] && from[b] < to[a])
                fail_msg("'%s' and '%s' lie on each other", g->values[a].name, g->values[b].name);
        }
    }
    free(root);
    free(dies);
    free(from);
    free(to);
}

static void test_random_cuts(void **state) {
    net *n = *state;
    for (uint64_t seed = 1; seed < 30; seed++) {
        elm_plan plan, again;
        must_plan(n, refuse_some, &seed, &plan);
        must_plan(n, refuse_some, &seed, &again);
        assert_true(plan.n_segments > 1);
        check_cut(n, &plan);
        check_places(n, &plan, 9, 3);
        assert_int_equal(plan.n_segments, again.n_segments);
        assert_memory_equal(plan.node_device, again.node_device, n->b.graph->n_nodes);
        assert_int_equal(plan.scratch_bytes, again.scratch_bytes);
        elm_plan_free(&again);
        elm_plan_free(&plan);
    }
}

/* Memory is used again: six layers take no more than two of them. */
static void test_scratch_does_not_grow_with_layers(void **state) {
    net *n = *state;
    elm_plan plan;
    must_plan(n, NULL, NULL, &plan);
    uint64_t row = (WIDTH + 15) / 16 * 16 * sizeof(float);
    assert_true(plan.scratch_bytes <= 9 * row * 6);
    elm_plan_free(&plan);
}

static void test_a_node_that_nobody_takes(void **state) {
    net *n = *state;
    for (uint32_t node = 0; node < 3; node++) {
        elm_plan plan;
        elm_plan_options o = options_of(n, refuse_one_everywhere, &node);
        assert_int_equal(plan_with(n, elm_platform_default(), &o, &plan), ELM_UNSUPPORTED);
        assert_non_null(strstr(n->err.message, n->b.graph->nodes[node].name));
        assert_non_null(
            strstr(n->err.message, "cpu: refused by the caller; ref: refused by the caller"));
        elm_plan_free(&plan);
    }
    elm_plan plan;
    elm_plan_options o = options_of(n, NULL, NULL);
    o.n_devices = 0;
    assert_int_equal(plan_with(n, elm_platform_default(), &o, &plan), ELM_INVALID_ARGUMENT);
}

static void test_explanation(void **state) {
    net *n = *state;
    elm_plan plan;
    elm_buf out;
    must_plan(n, refuse_linears, n, &plan);
    assert_int_equal(plan.n_segments, 4 * LAYERS + 1);
    elm_buf_init(&out, elm_allocator_default(), 1 << 20);
    elm_plan_explain(&plan, n->b.module, n->tensors, &out);
    elm_buf_u8(&out, 0);
    static const char *const lines[] = {
        "| 0 | cpu | 2 | embedding | 0.00 | 0.00 | 0 |",     /* embedding and norm */
        "| 1 | ref | 1 | layers.0.up | 0.00 | 0.00 | 160 |", /* 40 floats cross */
        "layers.5.down -> ref: refused by the caller\n",
        "scratch ",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        if (!strstr((const char *)out.data, lines[i]))
            fail_msg("'%s' is not in\n%s", lines[i], (const char *)out.data);
    elm_buf_free(&out);
    elm_plan_free(&plan);
}

/* With every amount of memory the plan is made or refused, and nothing is lost. */
static void test_every_memory_limit(void **state) {
    net *n = *state;
    uint64_t seed = 3;
    bool done = false;
    for (size_t limit = 256; !done; limit = limit * 9 / 8) {
        elm_capped_allocator c;
        elm_platform p = *elm_platform_default();
        elm_plan plan;
        elm_plan_options o = options_of(n, refuse_some, &seed);
        elm_capped_allocator_init(&c, p.alloc, limit);
        p.alloc = &c.interface;
        elm_status status = plan_with(n, &p, &o, &plan);
        done = status == ELM_OK;
        if (!done) assert_int_equal(status, ELM_OUT_OF_MEMORY);
        elm_plan_free(&plan);
        assert_int_equal(atomic_load(&c.live_bytes), 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_segment_without_refusals, make, unmake),
        cmocka_unit_test_setup_teardown(test_random_cuts, make, unmake),
        cmocka_unit_test_setup_teardown(test_scratch_does_not_grow_with_layers, make, unmake),
        cmocka_unit_test_setup_teardown(test_a_node_that_nobody_takes, make, unmake),
        cmocka_unit_test_setup_teardown(test_explanation, make, unmake),
        cmocka_unit_test_setup_teardown(test_every_memory_limit, make, unmake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
