/* test_graph.c - shape rules, validation and the GRAPH section: what is right passes and comes back
 * the same, and everything else is refused with a message that names the place. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ir/build.h"

enum { HIDDEN = 48, HEADS = 4, KV_HEADS = 2, DIM = 16, FF = 40, VOCAB = 30 };

typedef struct net {
    elm_arena arena;
    elm_builder b;
    uint32_t n_weights;
    elm_error err;
} net;

static elm_value_id matrix(net *n, uint32_t rows, uint32_t cols) {
    uint32_t dims[2] = {rows, cols};
    char *name = elm_arena_printf(&n->arena, "w%u", n->n_weights);
    return elm_build_weight(&n->b, n->n_weights++, name, ELM_I4, 2, dims);
}

static elm_value_id vector(net *n, uint32_t count) {
    char *name = elm_arena_printf(&n->arena, "v%u", n->n_weights);
    return elm_build_weight(&n->b, n->n_weights++, name, ELM_F32, 1, &count);
}

static elm_value_id heads(net *n, elm_value_id x, uint32_t count) {
    elm_dim dims[3] = {ELM_DIM_T, (elm_dim)count, DIM};
    return elm_build_reshape(&n->b, "heads", x, 3, dims);
}

/* One layer with every operation there is. */
static int make(void **state) {
    net *n = calloc(1, sizeof *n);
    elm_builder *b = &n->b;
    elm_arena_init(&n->arena, elm_allocator_default(), 0);
    assert_int_equal(elm_builder_init(b, &n->arena, "text", NULL), ELM_OK);
    elm_value_id x = elm_build_embedding(b, elm_build_input(b, ELM_INPUT_TOKENS),
                                         matrix(n, VOCAB, HIDDEN), 2.0f);
    elm_builder_scope(b, "layers.%u", 0);
    elm_value_id h = elm_build_rms_norm(b, "norm", x, vector(n, HIDDEN), 1e-6f);
    elm_value_id q =
        elm_build_linear(b, "q", h, matrix(n, HEADS * DIM, HIDDEN), vector(n, HEADS * DIM), 1);
    elm_value_id kv =
        elm_build_linear(b, "kv", h, matrix(n, 2 * KV_HEADS * DIM, HIDDEN), ELM_NO_VALUE, 1);
    elm_value_id k = elm_build_slice(b, "k", kv, 0, KV_HEADS * DIM);
    elm_value_id v = elm_build_slice(b, "v", kv, KV_HEADS * DIM, KV_HEADS * DIM);
    elm_value_id freq = vector(n, DIM / 2), positions = elm_build_input(b, ELM_INPUT_POSITIONS);
    q = elm_build_rope(b, "rope", heads(n, q, HEADS), positions, freq, DIM / 2, 1.0f);
    elm_value_id cache = elm_build_state(b, ELM_STATE_KV, 0, KV_HEADS, DIM, DIM, 8);
    elm_build_kv_write(b, heads(n, k, KV_HEADS), heads(n, v, KV_HEADS), cache);
    elm_value_id a = elm_build_attention(b, q, cache, 0.25f, 8, 30.0f);
    elm_dim flat[2] = {ELM_DIM_T, HEADS * DIM};
    a = elm_build_reshape(b, "flat", a, 2, flat);
    x = elm_build_add(b, "add", x,
                      elm_build_linear(b, "o", a, matrix(n, HIDDEN, HEADS * DIM), ELM_NO_VALUE, 1));
    elm_value_id g =
        elm_build_glu(b, elm_build_linear(b, "gu", x, matrix(n, 2 * FF, HIDDEN), ELM_NO_VALUE, 1),
                      ELM_NO_VALUE, ELM_GELU_TANH);
    x = elm_build_add(b, "add2", x,
                      elm_build_linear(b, "down", g, matrix(n, HIDDEN, FF), ELM_NO_VALUE, 1));
    elm_builder_scope(b, NULL);
    x = elm_build_gather_rows(b, x, elm_build_input(b, ELM_INPUT_ROWS));
    x = elm_build_linear(b, "head", x, matrix(n, VOCAB, HIDDEN), ELM_NO_VALUE, 0);
    if (elm_builder_finish(b, x, ELM_NO_VALUE, &n->err) != ELM_OK) fail_msg("%s", n->err.message);
    *state = n;
    return 0;
}

static int unmake(void **state) {
    net *n = *state;
    elm_arena_free(&n->arena);
    free(n);
    return 0;
}

static elm_node *node(net *n, const char *name) {
    for (uint32_t i = 0; i < n->b.graph->n_nodes; i++)
        if (strcmp(n->b.graph->nodes[i].name, name) == 0) return &n->b.graph->nodes[i];
    fail_msg("no node '%s'", name);
    return NULL;
}

static elm_value *value_of(net *n, elm_value_id id) {
    return &n->b.graph->values[id];
}

static void invalid(net *n, const char *word) {
    elm_status status = elm_module_validate(n->b.module, NULL, 0, &n->err);
    if (status != ELM_MALFORMED && status != ELM_UNSUPPORTED)
        fail_msg("taken; expected a refusal with '%s'", word);
    if (!strstr(n->err.message, word)) fail_msg("'%s' is not in '%s'", word, n->err.message);
}

/* Changes one thing, expects a refusal that names it, and puts it back. */
#define REFUSED(n, place, wrong, word)                                               \
    do {                                                                             \
        __typeof__(place) kept_ = (place);                                           \
        (place) = (wrong);                                                           \
        invalid(n, word);                                                            \
        (place) = kept_;                                                             \
        assert_int_equal(elm_module_validate((n)->b.module, NULL, 0, NULL), ELM_OK); \
    } while (0)

static void test_shape_rules(void **state) {
    net *n = *state;
    elm_graph *g = n->b.graph;
    REFUSED(n, node(n, "layers.0.q")->n_inputs, 1, "layers.0.q");
    REFUSED(n, node(n, "layers.0.q")->n_inputs, 4, "layers.0.q");
    REFUSED(n, node(n, "layers.0.q")->inputs[2], node(n, "layers.0.norm")->inputs[1], "bias");
    REFUSED(n, node(n, "layers.0.q")->attrs.act_quant, 2, "act_quant");
    REFUSED(n, value_of(n, node(n, "layers.0.q")->inputs[1])->dtype, ELM_F16, "act_quant");
    REFUSED(n, value_of(n, node(n, "layers.0.q")->inputs[1])->dims[1], HIDDEN + 1, "[N][K]");
    REFUSED(n, node(n, "layers.0.norm")->attrs.eps, -1.0f, "eps");
    REFUSED(n, node(n, "layers.0.norm")->attrs.eps, NAN, "eps");
    REFUSED(n, value_of(n, node(n, "layers.0.norm")->inputs[1])->dims[0], 7, "last dimension");
    REFUSED(n, node(n, "layers.0.rope")->attrs.pair_stride, DIM / 2 - 1, "head dimension");
    REFUSED(n, node(n, "layers.0.rope")->attrs.pair_stride, INT32_MAX, "head dimension");
    REFUSED(n, node(n, "layers.0.rope")->attrs.pair_stride, -1, "head dimension");
    REFUSED(n, node(n, "layers.0.attention")->attrs.window, 9, "window");
    REFUSED(n, node(n, "layers.0.attention")->attrs.window, 0, "window");
    REFUSED(n, node(n, "layers.0.attention")->attrs.softcap, -1.0f, "softcap");
    REFUSED(n, n->b.module->states[0].n_heads, 3, "shape of the state");
    REFUSED(n, n->b.module->states[0].kind, ELM_STATE_RECURRENT, "state");
    REFUSED(n, node(n, "layers.0.k")->attrs.start, 2 * KV_HEADS * DIM, "outside");
    REFUSED(n, node(n, "layers.0.v")->attrs.start, KV_HEADS * DIM + 1, "outside");
    REFUSED(n, node(n, "layers.0.k")->attrs.start, INT32_MAX, "outside");
    REFUSED(n, node(n, "layers.0.k")->attrs.length, 0, "outside");
    REFUSED(n, node(n, "layers.0.glu")->attrs.activation, ELM_N_ACTIVATIONS, "activation");
    REFUSED(n, value_of(n, node(n, "layers.0.flat")->output)->dims[1], HEADS * DIM + 1, "elements");
    REFUSED(n, value_of(n, node(n, "layers.0.q")->output)->dims[1], 5, "layers.0");
    REFUSED(n, node(n, "gather_rows")->inputs[1], node(n, "embedding")->inputs[0], "indices");
    assert_int_equal(g->values[g->output].dims[0], ELM_DIM_R);
}

static void test_validation(void **state) {
    net *n = *state;
    elm_graph *g = n->b.graph;
    elm_module *m = n->b.module;
    REFUSED(n, g->output, g->n_values, "output");
    REFUSED(n, g->output, node(n, "embedding")->inputs[0], "output");
    REFUSED(n, node(n, "embedding")->op, (elm_op)9999, "9999");
    REFUSED(n, node(n, "layers.0.norm")->inputs[0], g->n_values, "reads value");
    REFUSED(n, node(n, "layers.0.norm")->inputs[0], g->output, "before it is computed");
    REFUSED(n, node(n, "layers.0.norm")->output, ELM_NO_VALUE, "layers.0.norm");
    REFUSED(n, node(n, "layers.0.norm")->output, node(n, "layers.0.q")->output,
            "output of its node");
    REFUSED(n, node(n, "layers.0.kv_write")->output, node(n, "layers.0.q")->output, "kv_write");
    REFUSED(n, value_of(n, g->output)->dtype, ELM_F16, "float32");
    REFUSED(n, value_of(n, g->output)->n_dims, ELM_MAX_DIMS + 1, "dimensions");
    REFUSED(n, value_of(n, g->output)->dims[1], 0, "dimension");
    REFUSED(n, value_of(n, g->output)->dims[1], ELM_DIM_T,
            "dimension"); /* symbols come first only */
    REFUSED(n, value_of(n, g->output)->kind, (elm_value_kind)7, "kind");
    REFUSED(n, value_of(n, node(n, "embedding")->inputs[0])->index, ELM_N_INPUTS, "input");
    REFUSED(n, value_of(n, node(n, "layers.0.attention")->inputs[1])->index, 1, "state");
    REFUSED(n, m->states[0].k_dim, 0, "state 0");
    REFUSED(n, m->states[0].n_heads, UINT32_MAX, "state 0");
    REFUSED(n, m->states[0].kind, (elm_state_kind)9, "state 0");
    REFUSED(n, m->n_states, ELM_MAX_STATES + 1, "states");
    REFUSED(n, m->n_graphs, ELM_MAX_GRAPHS + 1, "graphs");
    REFUSED(n, g->n_values, ELM_MAX_VALUES + 1, "values");
    REFUSED(n, g->n_nodes, ELM_MAX_NODES + 1, "nodes");
    elm_graph two[2] = {*g, *g}, *one = m->graphs;
    m->graphs = two, m->n_graphs = 2;
    invalid(n, "two graphs");
    m->graphs = one, m->n_graphs = 1;
    assert_ptr_equal(elm_module_graph(m, "text"), g);
    assert_null(elm_module_graph(m, "vision"));
}

static void test_weights_against_tensors(void **state) {
    net *n = *state;
    elm_graph *g = n->b.graph;
    elm_tensor *t = calloc(n->n_weights, sizeof *t);
    for (uint32_t v = 0; v < g->n_values; v++) {
        const elm_value *value = &g->values[v];
        if (value->kind != ELM_VALUE_WEIGHT) continue;
        t[value->index] =
            (elm_tensor){.dtype = value->dtype,
                         .n_dims = value->n_dims,
                         .layout = value->n_dims == 2 ? ELM_LAYOUT_P16 : ELM_LAYOUT_ROWS};
        for (uint32_t d = 0; d < value->n_dims; d++)
            t[value->index].dims[d] = (uint32_t)value->dims[d];
    }
    assert_int_equal(elm_module_validate(n->b.module, t, n->n_weights, &n->err), ELM_OK);
    assert_int_equal(elm_module_validate(n->b.module, t, n->n_weights - 1, &n->err), ELM_MALFORMED);
    uint32_t at = value_of(n, node(n, "head")->inputs[1])->index;
    elm_tensor kept = t[at];
    t[at].dtype = ELM_I8;
    assert_int_equal(elm_module_validate(n->b.module, t, n->n_weights, &n->err), ELM_MALFORMED);
    t[at] = kept, t[at].dims[0]++;
    assert_int_equal(elm_module_validate(n->b.module, t, n->n_weights, &n->err), ELM_MALFORMED);
    t[at] = kept, t[at].layout = ELM_LAYOUT_ROWS;
    assert_int_equal(elm_module_validate(n->b.module, t, n->n_weights, &n->err), ELM_MALFORMED);
    free(t);
}

/* ---- the section ---- */

static elm_status read_back(const void *data, size_t size, elm_arena *arena, elm_module **out,
                            elm_error *err) {
    uint8_t *copy =
        malloc(size ? size : 1); /* exact, so that a sanitizer sees a read past the end */
    if (size > 0) memcpy(copy, data, size);
    elm_status status = elm_module_read(elm_span_of(copy, size), arena, out, err);
    free(copy);
    return status;
}

static void write(const elm_module *m, elm_buf *out) {
    elm_buf_init(out, elm_allocator_default(), 1 << 20);
    elm_module_write(m, out);
    assert_int_equal(elm_buf_check(out, "t", NULL), ELM_OK);
}

static void test_what_is_written_is_read(void **state) {
    net *n = *state;
    elm_buf first, second, a, b;
    elm_arena arena;
    elm_module *m;
    elm_arena_init(&arena, elm_allocator_default(), 0);
    write(n->b.module, &first);
    if (read_back(first.data, first.size, &arena, &m, &n->err) != ELM_OK)
        fail_msg("%s", n->err.message);
    assert_int_equal(elm_module_validate(m, NULL, 0, &n->err), ELM_OK);
    write(m, &second);
    assert_int_equal(first.size, second.size);
    assert_memory_equal(first.data, second.data, first.size);
    elm_buf_init(&a, elm_allocator_default(), 1 << 20);
    elm_buf_init(&b, elm_allocator_default(), 1 << 20);
    elm_module_dump(n->b.module, NULL, 0, &a);
    elm_module_dump(m, NULL, 0, &b);
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.data, b.data, a.size);
    elm_buf *bufs[] = {&first, &second, &a, &b};
    for (int i = 0; i < 4; i++) elm_buf_free(bufs[i]);
    elm_arena_free(&arena);
}

/* Cut anywhere it is refused; with any byte changed it is refused, or what it now says passes or
 * fails validation. */
static void test_cut_and_changed_sections(void **state) {
    net *n = *state;
    elm_buf section;
    write(n->b.module, &section);
    uint32_t refused = 0;
    for (size_t i = 0; i < section.size; i++) {
        elm_arena arena;
        elm_module *m = (elm_module *)(void *)n;
        elm_arena_init(&arena, elm_allocator_default(), 1 << 24);
        assert_int_not_equal(read_back(section.data, i, &arena, &m, &n->err), ELM_OK);
        assert_null(m);
        for (int bit = 0; bit < 8; bit += 3) {
            section.data[i] ^= (uint8_t)(1 << bit);
            if (read_back(section.data, section.size, &arena, &m, &n->err) != ELM_OK ||
                elm_module_validate(m, NULL, 0, &n->err) != ELM_OK)
                refused++;
            section.data[i] ^= (uint8_t)(1 << bit);
        }
        elm_arena_free(&arena);
    }
    assert_true(refused > section.size); /* names, floats and tensor numbers may change unseen */
    elm_buf_u8(&section, 0);
    elm_arena arena;
    elm_module *m;
    elm_arena_init(&arena, elm_allocator_default(), 0);
    assert_int_equal(read_back(section.data, section.size, &arena, &m, &n->err), ELM_MALFORMED);
    assert_non_null(strstr(n->err.message, "behind the last graph"));
    section.data[0]++;
    assert_int_equal(read_back(section.data, section.size, &arena, &m, &n->err), ELM_UNSUPPORTED);
    elm_arena_free(&arena);
    elm_buf_free(&section);
}

/* An attribute that stands twice has no one value. */
static void test_attribute_twice(void **state) {
    net *n = *state;
    uint32_t mask = elm_op_get(ELM_OP_ATTENTION)->attr_mask;
    const uint32_t first = (uint32_t)__builtin_ctz(mask),
                   second = (uint32_t)__builtin_ctz(mask & (mask - 1));
    elm_buf section;
    elm_arena arena;
    elm_module *m;
    bool found = false;
    write(n->b.module, &section);
    elm_arena_init(&arena, elm_allocator_default(), 1 << 20);
    for (size_t i = 0; i + 12 <= section.size && !found; i++) {
        found = memcmp(section.data + i, &first, 4) == 0 &&
                memcmp(section.data + i + 8, &second, 4) == 0;
        if (found) memcpy(section.data + i + 8, &first, 4);
    }
    assert_true(found);
    assert_int_equal(read_back(section.data, section.size, &arena, &m, &n->err), ELM_MALFORMED);
    assert_non_null(strstr(n->err.message, "an attribute out of order"));
    elm_arena_free(&arena);
    elm_buf_free(&section);
}

/* Names are printed: none may hold what moves a terminal's cursor. */
static void test_names_without_control_characters(void **state) {
    net *n = *state;
    elm_buf section;
    elm_arena arena;
    elm_module *m;
    write(n->b.module, &section);
    elm_arena_init(&arena, elm_allocator_default(), 1 << 20);
    uint8_t *name = section.data + 14; /* of the first state */
    for (const char *c = "\n\x1b\x7f\xff"; *c; c++) {
        name[0] = (uint8_t)*c;
        assert_int_equal(read_back(section.data, section.size, &arena, &m, &n->err), ELM_MALFORMED);
        assert_non_null(strstr(n->err.message, "a bad name"));
    }
    name[0] = 'x';
    assert_int_equal(read_back(section.data, section.size, &arena, &m, &n->err), ELM_OK);
    elm_arena_free(&arena);
    elm_buf_free(&section);
}

/* A count that the section cannot hold costs no memory. */
static void test_impossible_counts(void **state) {
    net *n = *state;
    static const uint32_t heads_of[][3] = {
        {2, 0xffffffff, 1}, {2, 0, 0xffffffff}, {2, 1 << 14, 1}, {2, 0, 8}};
    elm_arena arena;
    elm_module *m;
    elm_arena_init(&arena, elm_allocator_default(), 1 << 20);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(read_back(heads_of[i], 12, &arena, &m, &n->err), ELM_MALFORMED);
    assert_true(arena.total_bytes < 1 << 16);
    elm_arena_free(&arena);
}

static void test_dump(void **state) {
    net *n = *state;
    elm_buf out;
    elm_buf_init(&out, elm_allocator_default(), 1 << 20);
    elm_module_dump(n->b.module, NULL, 0, &out);
    elm_buf_u8(&out, 0);
    static const char *const lines[] = {
        "state @kv.0 kv layer=0 heads=2 k_dim=16 v_dim=16 window=8\n",
        "[T][48] = embedding(tokens, w0:int4[30][48]) scale=2  # embedding\n",
        "kv_write(",
        "@kv.0)  # layers.0.kv_write\n",
        "scale=0.25 window=8 softcap=30  # layers.0.attention\n",
        "[R][30] = linear(",
        "  output %",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        if (!strstr((const char *)out.data, lines[i]))
            fail_msg("'%s' is not in\n%s", lines[i], (const char *)out.data);
    elm_buf_free(&out);
}

static void test_builder_keeps_its_first_failure(void **state) {
    net *n = *state;
    elm_value_id x = elm_build_embedding(&n->b, elm_build_input(&n->b, ELM_INPUT_TOKENS),
                                         matrix(n, VOCAB, 5), 1.0f);
    elm_builder_scope(&n->b, "here");
    x = elm_build_linear(&n->b, "bad", x, matrix(n, 3, 6), ELM_NO_VALUE, 0);
    assert_int_equal(x, ELM_NO_VALUE);
    x = elm_build_add(&n->b, "later", x, x);
    assert_int_equal(elm_builder_finish(&n->b, x, ELM_NO_VALUE, &n->err), ELM_MALFORMED);
    assert_non_null(strstr(n->err.message, "here.bad"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_shape_rules, make, unmake),
        cmocka_unit_test_setup_teardown(test_validation, make, unmake),
        cmocka_unit_test_setup_teardown(test_weights_against_tensors, make, unmake),
        cmocka_unit_test_setup_teardown(test_what_is_written_is_read, make, unmake),
        cmocka_unit_test_setup_teardown(test_cut_and_changed_sections, make, unmake),
        cmocka_unit_test_setup_teardown(test_impossible_counts, make, unmake),
        cmocka_unit_test_setup_teardown(test_attribute_twice, make, unmake),
        cmocka_unit_test_setup_teardown(test_names_without_control_characters, make, unmake),
        cmocka_unit_test_setup_teardown(test_dump, make, unmake),
        cmocka_unit_test_setup_teardown(test_builder_keeps_its_first_failure, make, unmake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
