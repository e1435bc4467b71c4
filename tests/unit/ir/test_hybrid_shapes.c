/* test_hybrid_shapes.c - the shape rules of the operations of hybrid and mixture models: what fits
 * has the shape of docs/ops.md, each thing that does not is refused and says so. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "ir/build.h"

/* One graph being built: sizes that fit, of which a case changes one. */
typedef struct sizes {
    uint32_t channels, taps, conv_rows, heads, k_dim, v_dim, keys, gates, rates;
    uint32_t experts, k, up_rows, down_cols, logits, scales;
    int32_t top_k, activation, act_quant;
    float eps, softcap;
    bool quantised;
} sizes;

static const sizes good = {.channels = 40,
                           .taps = 4,
                           .conv_rows = 3,
                           .heads = 4,
                           .k_dim = 8,
                           .v_dim = 6,
                           .keys = 32,
                           .gates = 4,
                           .rates = 4,
                           .experts = 5,
                           .k = 64,
                           .up_rows = 48,
                           .down_cols = 24,
                           .logits = 5,
                           .scales = 5,
                           .top_k = 2,
                           .eps = 1e-6f,
                           .softcap = 30.0f};

typedef struct net {
    elm_arena arena;
    elm_builder b;
    uint32_t n_tensors;
} net;

static void net_init(net *n) {
    memset(n, 0, sizeof *n);
    elm_arena_init(&n->arena, elm_allocator_default(), 0);
    assert_int_equal(elm_builder_init(&n->b, &n->arena, "text", NULL), ELM_OK);
}

static elm_value_id weight(net *n, elm_dtype dtype, uint32_t n_dims, uint32_t a, uint32_t b,
                           uint32_t c) {
    uint32_t dims[3] = {a, b, c};
    const char *name = elm_arena_printf(&n->arena, "w%u", n->n_tensors);
    return elm_build_weight(&n->b, n->n_tensors++, name, dtype, n_dims, dims);
}

static elm_value_id rows(net *n, uint32_t width) {
    elm_value_id table = weight(n, ELM_F32, 2, 9, width, 0);
    return elm_build_embedding(&n->b, elm_build_input(&n->b, ELM_INPUT_TOKENS), table, 1.0f);
}

static elm_value_id conv(net *n, const sizes *s) {
    elm_value_id x = rows(n, 40), taps = weight(n, ELM_F32, 2, s->taps, s->channels, 0);
    elm_value_id state = elm_build_state(&n->b, ELM_STATE_CONV, 0, 1, s->conv_rows, 40, 0);
    return elm_build_causal_conv1d(&n->b, "conv", x, taps, state, s->activation);
}

static elm_value_id delta(net *n, const sizes *s) {
    elm_value_id m = rows(n, s->keys + 4 * 6), b = rows(n, 4), a = rows(n, s->gates);
    elm_value_id rate = weight(n, ELM_F32, 1, s->rates, 0, 0),
                 bias = weight(n, ELM_F32, 1, 4, 0, 0);
    elm_value_id state =
        elm_build_state(&n->b, ELM_STATE_RECURRENT, 0, s->heads, s->k_dim, s->v_dim, 0);
    return elm_build_gated_delta_net(&n->b, "delta", m, b, a, rate, bias, state, 1.0f, s->eps);
}

static elm_value_id moe(net *n, const sizes *s) {
    elm_dtype dtype = s->quantised ? ELM_I4 : ELM_F32;
    elm_moe_weights w = {.gate_up = weight(n, dtype, 3, s->experts, s->up_rows, s->k),
                         .down = weight(n, dtype, 3, 5, 70, s->down_cols),
                         .expert_scale = weight(n, ELM_F32, 1, s->scales, 0, 0),
                         .top_k = (uint32_t)s->top_k,
                         .activation = s->activation,
                         .act_quant = s->act_quant};
    return elm_build_moe(&n->b, "moe", rows(n, 64), rows(n, s->logits), &w);
}

static elm_value_id cap(net *n, const sizes *s) {
    return elm_build_softcap(&n->b, "cap", rows(n, 40), s->softcap);
}

typedef elm_value_id (*build_fn)(net *n, const sizes *s);

static void expect_width(build_fn build, elm_dim width) {
    net n;
    net_init(&n);
    elm_value_id y = build(&n, &good);
    assert_int_equal(n.b.status, ELM_OK);
    assert_int_equal(n.b.graph->values[y].n_dims, 2);
    assert_int_equal(n.b.graph->values[y].dims[0], ELM_DIM_T);
    assert_int_equal(n.b.graph->values[y].dims[1], width);
    elm_arena_free(&n.arena);
}

static void test_what_fits(void **state) {
    (void)state;
    expect_width(conv, 40);
    expect_width(delta, 24);
    expect_width(moe, 70);
    expect_width(cap, 40);
}

static void refused(build_fn build, sizes s, const char *words) {
    net n;
    net_init(&n);
    assert_int_equal(build(&n, &s), ELM_NO_VALUE);
    assert_int_equal(n.b.status, ELM_MALFORMED);
    if (!strstr(n.b.error.message, words)) fail_msg("%s; expected %s", n.b.error.message, words);
    elm_arena_free(&n.arena);
}

#define REFUSED(build, member, value, words) \
    do {                                     \
        sizes s = good;                      \
        s.member = value;                    \
        refused(build, s, words);            \
    } while (0)

static void test_what_does_not(void **state) {
    (void)state;
    REFUSED(conv, channels, 41, "taps");
    REFUSED(conv, conv_rows, 4, "CONV state");
    REFUSED(conv, taps, 1, "taps");
    REFUSED(conv, activation, 99, "activation");
    REFUSED(delta, heads, 3, "heads");
    REFUSED(delta, keys, 40, "key heads");
    REFUSED(delta, keys, 48, "key heads"); /* 3 key heads for 4 */
    REFUSED(delta, gates, 5, "b, a");
    REFUSED(delta, rates, 5, "vectors");
    REFUSED(delta, eps, 0.0f, "eps");
    REFUSED(moe, experts, 6, "stacks");
    REFUSED(moe, up_rows, 47, "stacks");
    REFUSED(moe, down_cols, 25, "stacks");
    REFUSED(moe, k, 63, "x [rows][K]");
    REFUSED(moe, logits, 4, "router");
    REFUSED(moe, scales, 4, "scale");
    REFUSED(moe, top_k, 6, "top_k");
    REFUSED(moe, top_k, 0, "top_k");
    REFUSED(moe, act_quant, ELM_ACT_QUANT_I8, "act_quant");
    REFUSED(cap, softcap, 0.0f, "softcap");
}

static void test_a_hidden_result_is_rows_of_all_tokens(void **state) {
    (void)state;
    for (int wanted_only = 0; wanted_only < 2; wanted_only++) {
        net n;
        elm_error err;
        net_init(&n);
        elm_value_id x = elm_build_load_hidden(&n.b, elm_build_hidden_input(&n.b, 40));
        elm_value_id r = elm_build_gather_rows(&n.b, x, elm_build_input(&n.b, ELM_INPUT_ROWS));
        assert_true(elm_builder_is_r(&n.b, r) && !elm_builder_is_r(&n.b, x));
        elm_status status = elm_builder_finish(&n.b, r, wanted_only ? r : x, &err);
        assert_int_equal(status, wanted_only ? ELM_MALFORMED : ELM_OK);
        if (wanted_only) assert_non_null(strstr(err.message, "hidden"));
        elm_arena_free(&n.arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_fits),
        cmocka_unit_test(test_what_does_not),
        cmocka_unit_test(test_a_hidden_result_is_rows_of_all_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
