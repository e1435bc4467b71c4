/* test_ops.c - every operation of op.def, on every backend that takes it, against the oracle,
 * within bounds that are derived in docs/numerics.md from the arithmetic of the operation.
 *
 * An operation is a function that builds one random instance of it and says, for every element of
 * its output, how far a backend may be from the oracle. Shapes are odd on purpose: widths around
 * 16, 32 and groups, single rows. */
#include "conform/hybrid_ops.h"

enum { ROUNDS = 12 };

static const elm_dtype matrix_types[] = {ELM_F32, ELM_F16, ELM_BF16, ELM_I8,
                                         ELM_I4,  ELM_I8Z, ELM_I4Z};

/* ---- embedding: an exact product of scale and code, then one multiplication ---- */

static void make_embedding(rig *g, uint32_t round, instance *out) {
    elm_dtype dtype = matrix_types[round % 7];
    uint32_t width = odd_width(g);
    static const uint32_t groups[] = {32, 64, 128, 0};
    const float *x = rig_floats(g, (size_t)RIG_TOKENS * width, 1.0f);
    elm_value_id table = rig_matrix(g, dtype, RIG_TOKENS, width, groups[round % 4], x);
    const elm_tensor *t = &g->tensors[g->n_tensors - 1];
    float scale = round % 3 == 0 ? 1.0f : 8.3f;
    rig_test_from_here(g);
    out->output =
        elm_build_embedding(&g->b, elm_build_input(&g->b, ELM_INPUT_TOKENS), table, scale);
    out->bound = bounds(g, width);
    for (uint32_t r = 0; r < RIG_TOKENS; r++)
        for (uint32_t k = 0; k < width; k++)
            out->bound[r * width + k] =
                2 * RIG_U * fabs((double)elm_tensor_at(t, r, k) * (double)scale);
    snprintf(out->what, sizeof out->what, "%s x %u", elm_dtype_get(dtype)->text, width);
}

/* ---- linear ---- */

/* (K + 2) u sum |w x|: K fused steps in one chain, the bias, the exponent. */
static double float_bound(const elm_tensor *w, uint32_t n, const float *x, double bias) {
    double sum = fabs(bias);
    for (uint32_t k = 0; k < w->dims[1]; k++)
        sum += fabs((double)elm_tensor_at(w, n, k) * (double)x[k]);
    return ((double)w->dims[1] + 2) * RIG_U * sum;
}

/* (K / 32 + 3) u sum over groups |integer sum * scale * d|: the integer sums are exact on both
 * sides. */
static double int_bound(const elm_tensor *w, uint32_t n, const float *x, double bias) {
    double sum = fabs(bias);
    uint32_t blocks = (w->dims[1] + 31) / 32,
             k_padded = (w->dims[1] + w->group - 1) / w->group * w->group;
    for (uint32_t b = 0; b < blocks; b++) {
        uint32_t first = b * 32, count = w->dims[1] - first < 32 ? w->dims[1] - first : 32;
        float amax = 0.0f;
        for (uint32_t i = 0; i < count; i++) amax = fmaxf(amax, fabsf(x[first + i]));
        float inverse = amax > 0.0f ? 127.0f / amax : 0.0f;
        double integer = 0;
        for (uint32_t i = 0; i < count; i++)
            integer += elm_tensor_code_at(w, n, first + i) * (double)rintf(x[first + i] * inverse);
        float scale = elm_f32_from_f16(
            w->scales[elm_p16_scale_offset(k_padded / w->group, w->group, n, first)]);
        sum += fabs(integer * (double)scale * (double)(amax / 127.0f)) * ldexp(1.0, w->scale_exp);
    }
    return (blocks + 3.0) * RIG_U * sum;
}

static void make_linear(rig *g, uint32_t round, instance *out) {
    static const uint32_t groups[] = {32, 64, 128, 0};
    elm_dtype dtype = matrix_types[round % 7];
    uint32_t cols = odd_width(g), rows = odd_width(g), group = groups[rig_u32(g) % 4];
    bool quantised = elm_dtype_get(dtype)->has_scales && rig_u32(g) % 4 != 0,
         biased = rig_u32(g) % 2;
    const float *x;
    elm_value_id in = rig_rows(g, cols, 2.0f, &x);
    elm_value_id w =
        rig_matrix(g, dtype, rows, cols, group, rig_floats(g, (size_t)rows * cols, 1.0f));
    const elm_tensor *t = &g->tensors[g->n_tensors - 1];
    elm_value_id bias = biased ? rig_vector(g, rows, 0.0f, 1.0f) : ELM_NO_VALUE;
    const float *b = biased ? g->tensors[g->n_tensors - 1].codes : NULL;
    rig_test_from_here(g);
    out->output = elm_build_linear(&g->b, "linear", in, w, bias,
                                   quantised ? ELM_ACT_QUANT_I8 : ELM_ACT_QUANT_NONE);
    out->bound = bounds(g, rows);
    for (uint32_t r = 0; r < RIG_TOKENS; r++)
        for (uint32_t n = 0; n < rows; n++)
            out->bound[r * rows + n] = (quantised ? int_bound : float_bound)(
                t, n, x + (size_t)r * cols, b ? (double)b[n] : 0.0);
    snprintf(out->what, sizeof out->what, "%s/%u %u x %u, %s activations%s",
             elm_dtype_get(dtype)->text, t->group, rows, cols, quantised ? "int8" : "float",
             biased ? ", bias" : "");
}

/* ---- norm, rope ---- */

static void make_rms_norm(rig *g, uint32_t round, instance *out) {
    uint32_t heads = round % 3 == 0 ? 1 : rig_between(g, 2, 5), n = odd_width(g);
    const float *x;
    elm_value_id in = rig_rows(g, heads * n, round % 5 == 0 ? 1e-4f : 3.0f, &x);
    if (heads > 1) in = rig_heads(g, in, heads, n);
    elm_value_id w = round % 4 == 0 ? ELM_NO_VALUE : rig_vector(g, n, 1.0f, 0.5f);
    const float *weight = round % 4 == 0 ? NULL : g->tensors[g->n_tensors - 1].codes;
    rig_test_from_here(g);
    out->output = elm_build_rms_norm(&g->b, "norm", in, w, 1e-6f);
    out->bound = bounds(g, heads * n);
    for (size_t i = 0; i < (size_t)RIG_TOKENS * heads; i++) {
        double sum = 0;
        for (uint32_t k = 0; k < n; k++) sum += (double)x[i * n + k] * (double)x[i * n + k];
        double inverse = 1.0 / sqrt(sum / n + 1e-6);
        for (uint32_t k = 0; k < n; k++)
            out->bound[i * n + k] =
                (0.5 * n + 6) * RIG_U *
                fabs((double)x[i * n + k] * inverse * (weight ? (double)weight[k] : 1.0));
    }
    snprintf(out->what, sizeof out->what, "%u x %u", heads, n);
}

static void make_rope(rig *g, uint32_t round, instance *out) {
    uint32_t heads = rig_between(g, 1, 5), half = rig_between(g, 1, 40),
             rotated = rig_between(g, 1, half + 1);
    uint32_t dim = 2 * half + round % 3, stride = round % 2 ? half : rotated;
    float scale = round % 2 ? 1.0f : 1.19f;
    const float *x;
    elm_value_id in = rig_heads(g, rig_rows(g, heads * dim, 2.0f, &x), heads, dim);
    elm_value_id freq = rig_vector(g, rotated, 0.5f, 0.5f);
    rig_test_from_here(g);
    out->output = elm_build_rope(&g->b, "rope", in, elm_build_input(&g->b, ELM_INPUT_POSITIONS),
                                 freq, (int32_t)stride, scale);
    out->bound = bounds(g, heads * dim);
    for (size_t i = 0; i < (size_t)RIG_TOKENS * heads; i++)
        for (uint32_t k = 0; k < rotated; k++) {
            double size = (double)fabsf(x[i * dim + k]) + (double)fabsf(x[i * dim + k + stride]);
            out->bound[i * dim + k] = out->bound[i * dim + k + stride] =
                6 * RIG_U * size * (double)scale;
        }
    snprintf(out->what, sizeof out->what, "%u heads of %u, %u pairs %u apart", heads, dim, rotated,
             stride);
}

/* ---- state ---- */

static elm_value_id add_kv(rig *g, uint32_t round, uint32_t heads, uint32_t k_dim, uint32_t v_dim,
                           uint32_t window) {
    static const elm_dtype types[] = {ELM_F32, ELM_F16, ELM_I8};
    uint32_t capacity = window ? window + RIG_TOKENS : g->n_past + RIG_TOKENS;
    g->kv[0] = (elm_kv){.dtype = types[round % 3],
                        .n_heads = heads,
                        .k_dim = k_dim,
                        .v_dim = v_dim,
                        .capacity = capacity};
    return elm_build_state(&g->b, ELM_STATE_KV, 0, heads, k_dim, v_dim, window);
}

static void make_kv_write(rig *g, uint32_t round, instance *out) {
    uint32_t heads = rig_between(g, 1, 5), k_dim = odd_width(g), v_dim = odd_width(g);
    elm_value_id k = rig_heads(g, rig_rows(g, heads * k_dim, 2.0f, NULL), heads, k_dim);
    elm_value_id v = rig_heads(g, rig_rows(g, heads * v_dim, 2.0f, NULL), heads, v_dim);
    elm_value_id state = add_kv(g, round, heads, k_dim, v_dim, 0);
    rig_test_from_here(g);
    elm_build_kv_write(&g->b, k, v, state);
    out->output = k;
    out->bound = NULL; /* and the states are compared bit for bit */
    snprintf(out->what, sizeof out->what, "%s, %u heads of %u and %u",
             elm_dtype_get(g->kv[0].dtype)->text, heads, k_dim, v_dim);
}

/* Scores are off by e = ((d + 2) sum |q k| |scale| + 4 softcap + 8) u at most, weights by that
 * relative, outputs by (2 e + (keys + 16) u + 64 / 32512 of an int8 cache) max |v|:
 * docs/numerics.md, attention. */
static double attention_bound(uint32_t k_dim, const float *q, double largest_k, double largest_v,
                              uint32_t keys, const elm_attrs *a, bool int8) {
    double sum = 0;
    for (uint32_t i = 0; i < k_dim; i++) sum += fabs((double)q[i]) * largest_k;
    double e = ((k_dim + 2.0) * sum * (double)a->scale + 4 * (double)a->softcap + 8) * RIG_U;
    return (2 * e + (keys + 16.0) * RIG_U + (int8 ? 64 / 32512.0 : 0)) * largest_v;
}

static double largest(const float *x, size_t n) {
    double most = 0;
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs((double)x[i]));
    return most * 1.001; /* f16 storage may round up */
}

static void make_attention(rig *g, uint32_t round, instance *out) {
    uint32_t kv_heads = rig_between(g, 1, 4), group = rig_between(g, 1, 5),
             heads = kv_heads * group;
    uint32_t k_dim = odd_width(g), v_dim = odd_width(g),
             window = round % 2 ? 0 : rig_between(g, 1, 20);
    const float *q, *k, *v;
    g->n_past = round % 4 == 3 ? 500 + 97 * round : 0; /* sums of more than one chunk of keys */
    elm_value_id qi = rig_heads(g, rig_rows(g, heads * k_dim, 2.0f, &q), heads, k_dim);
    elm_value_id ki = rig_heads(g, rig_rows(g, kv_heads * k_dim, 2.0f, &k), kv_heads, k_dim);
    elm_value_id vi = rig_heads(g, rig_rows(g, kv_heads * v_dim, 2.0f, &v), kv_heads, v_dim);
    elm_value_id state = add_kv(g, round / 2, kv_heads, k_dim, v_dim, window);
    elm_build_kv_write(&g->b, ki, vi, state); /* the oracle writes what the backend reads */
    float scale = 1.0f / sqrtf((float)k_dim), softcap = round % 3 == 2 ? 5.0f : 0.0f;
    rig_test_from_here(g);
    out->output = elm_build_attention(&g->b, qi, state, scale, (int32_t)window, softcap);
    out->bound = bounds(g, heads * v_dim);
    elm_attrs attrs = {.scale = scale, .softcap = softcap};
    double most_k = fmax(largest(k, (size_t)RIG_TOKENS * kv_heads * k_dim), g->n_past ? 2.002 : 0);
    double most_v = fmax(largest(v, (size_t)RIG_TOKENS * kv_heads * v_dim), g->n_past ? 2.002 : 0);
    uint32_t keys = g->n_past + RIG_TOKENS;
    for (size_t i = 0; i < (size_t)RIG_TOKENS * heads; i++)
        for (uint32_t d = 0; d < v_dim; d++)
            out->bound[i * v_dim + d] = attention_bound(k_dim, q + i * k_dim, most_k, most_v, keys,
                                                        &attrs, g->kv[0].dtype == ELM_I8);
    snprintf(out->what, sizeof out->what,
             "%s, %u/%u heads of %u and %u, past %u, window %u, cap %g",
             elm_dtype_get(g->kv[0].dtype)->text, heads, kv_heads, k_dim, v_dim, g->n_past, window,
             (double)softcap);
}

/* ---- elementwise ---- */

static void make_glu(rig *g, uint32_t round, instance *out) {
    uint32_t n = odd_width(g);
    int32_t activation = (int32_t)(round % ELM_N_ACTIVATIONS);
    bool joined = round % 2;
    const float *gate, *up = NULL;
    float range = round < 6 ? 3.0f : 30.0f; /* the far ends of the exponential too */
    elm_value_id a = rig_rows(g, joined ? 2 * n : n, range, &gate);
    elm_value_id b = joined ? ELM_NO_VALUE : rig_rows(g, n, 2.0f, &up);
    rig_test_from_here(g);
    out->output = elm_build_glu(&g->b, a, b, activation);
    out->bound = bounds(g, n);
    for (size_t t = 0; t < RIG_TOKENS; t++)
        for (uint32_t i = 0; i < n; i++) {
            double x = (double)gate[joined ? t * 2 * n + i : t * n + i];
            double u = fabs((double)(joined ? gate[t * 2 * n + n + i] : up[t * n + i]));
            out->bound[t * n + i] =
                activation_bound(activation, x) * u + 2 * RIG_U * fabs(activate(activation, x)) * u;
        }
    snprintf(out->what, sizeof out->what, "activation %d, %u%s", activation, n,
             joined ? ", one input" : "");
}

static void make_add(rig *g, uint32_t round, instance *out) {
    uint32_t n = odd_width(g);
    (void)round;
    elm_value_id a = rig_rows(g, n, 2.0f, NULL), b = rig_rows(g, n, 1e-3f, NULL);
    rig_test_from_here(g);
    out->output = elm_build_add(&g->b, "add", a, b);
    out->bound = NULL; /* one rounding of the same sum */
    snprintf(out->what, sizeof out->what, "%u", n);
}

static void make_gather_rows(rig *g, uint32_t round, instance *out) {
    uint32_t n = odd_width(g);
    (void)round;
    elm_value_id x = rig_rows(g, n, 2.0f, NULL);
    rig_test_from_here(g);
    out->output = elm_build_gather_rows(&g->b, x, elm_build_input(&g->b, ELM_INPUT_ROWS));
    out->bound = NULL;
    snprintf(out->what, sizeof out->what, "%u", n);
}

/* A view is no work: what reads it must find its columns. */
static void make_slice(rig *g, uint32_t round, instance *out) {
    uint32_t n = odd_width(g) + 3, start = round % 3, length = rig_between(g, 1, n - start + 1);
    elm_value_id x = rig_rows(g, n, 2.0f, NULL), y = rig_rows(g, length, 2.0f, NULL);
    rig_test_from_here(g);
    elm_value_id s = elm_build_slice(&g->b, "slice", x, (int32_t)start, (int32_t)length);
    out->output = elm_build_add(&g->b, "add", s, y);
    out->bound = NULL;
    snprintf(out->what, sizeof out->what, "%u from %u of %u", length, start, n);
}

static void make_reshape(rig *g, uint32_t round, instance *out) {
    uint32_t heads = 1 + round % 5, dim = odd_width(g);
    elm_value_id x = rig_rows(g, heads * dim, 2.0f, NULL), y = rig_rows(g, heads * dim, 2.0f, NULL);
    y = rig_heads(g, y, heads, dim);
    rig_test_from_here(g);
    out->output = elm_build_add(&g->b, "add", rig_heads(g, x, heads, dim), y);
    out->bound = NULL;
    snprintf(out->what, sizeof out->what, "%u x %u", heads, dim);
}

/* ---- all of them ---- */

static const struct {
    elm_op op;
    void (*make)(rig *g, uint32_t round, instance *out);
} operations[] = {
    {ELM_OP_EMBEDDING, make_embedding},
    {ELM_OP_LINEAR, make_linear},
    {ELM_OP_RMS_NORM, make_rms_norm},
    {ELM_OP_ROPE, make_rope},
    {ELM_OP_KV_WRITE, make_kv_write},
    {ELM_OP_ATTENTION, make_attention},
    {ELM_OP_GLU, make_glu},
    {ELM_OP_ADD, make_add},
    {ELM_OP_SLICE, make_slice},
    {ELM_OP_RESHAPE, make_reshape},
    {ELM_OP_GATHER_ROWS, make_gather_rows},
    {ELM_OP_CONCAT, make_concat},
    {ELM_OP_MUL, make_mul},
    {ELM_OP_SOFTCAP, make_softcap},
    {ELM_OP_LOAD_HIDDEN, make_load_hidden},
    {ELM_OP_CAUSAL_CONV1D, make_causal_conv1d},
    {ELM_OP_GATED_DELTA_NET, make_gated_delta_net},
    {ELM_OP_MOE, make_moe},
};
enum { N_OPERATIONS = sizeof operations / sizeof operations[0] };

/* Largest difference as a share of its bound (exact rows: 0 or infinite), and where. */
static double worst_share(const instance *i, const rig_result *want, const rig_result *got,
                          size_t *where) {
    double worst = 0;
    for (size_t k = 0; k < want->n_rows * want->width; k++) {
        double d = fabs((double)want->rows[k] - (double)got->rows[k]), share = 0;
        if (!i->bound)
            share =
                memcmp(&want->rows[k], &got->rows[k], sizeof(float)) == 0 ? 0 : (double)INFINITY;
        else if (!(d <= 0))
            share = isfinite(d) ? d / (i->bound[k] + 1e-44) : (double)INFINITY;
        if (share > worst) worst = share, *where = k;
    }
    return worst;
}

/* Bit for bit, or within the instance's bound. */
static bool states_agree(const instance *i, const rig_result *want, const rig_result *got) {
    const float *a = (const float *)(const void *)want->states;
    const float *b = (const float *)(const void *)got->states;
    if (i->state_bound == 0) return memcmp(want->states, got->states, want->states_bytes) == 0;
    for (size_t k = 0; k < want->states_bytes / sizeof(float); k++)
        if (!(fabs((double)a[k] - (double)b[k]) <= i->state_bound)) return false;
    return true;
}

static void check_round(size_t index, uint32_t round, const elm_backend *backend, double *worst,
                        uint32_t *refused) {
    rig g;
    instance i;
    rig_result want, got;
    const char *name = elm_op_get(operations[index].op)->text;
    rig_init(&g, index * 1000 + round + 1);
    memset(&i, 0, sizeof i);
    operations[index].make(&g, round, &i);
    rig_run(&g, elm_backend_find("ref"), RIG_TOKENS, 1, i.output, &want);
    bool taken = rig_run(&g, backend, 1 + round % RIG_TOKENS, 1 + round % 3, i.output, &got);
    if (!taken) {
        ++*refused;
    } else {
        size_t where = 0;
        if (g.b.graph->values[i.output].dims[0] != ELM_DIM_R)
            assert_int_equal(got.n_rows, RIG_TOKENS);
        /* Rows that are chosen by their place in a step: the oracle takes the same steps. */
        rig_result same;
        rig_run(&g, elm_backend_find("ref"), 1 + round % RIG_TOKENS, 1, i.output, &same);
        assert_int_equal(same.n_rows, got.n_rows);
        double share = worst_share(&i, &same, &got, &where);
        if (share > 1)
            fail_msg("%s on %s, round %u (%s): element %zu is %.9g, the oracle says %.9g; %.2f of "
                     "the bound",
                     name, backend->name, round, i.what, where, (double)got.rows[where],
                     (double)same.rows[where], share);
        if (!states_agree(&i, &same, &got))
            fail_msg("%s on %s, round %u (%s): the state differs", name, backend->name, round,
                     i.what);
        if (share > *worst) *worst = share;
        rig_result_free(&same);
    }
    rig_result_free(&want);
    rig_result_free(&got);
    rig_free(&g);
}

static void test_every_operation_on_every_backend(void **state) {
    (void)state;
    for (size_t b = 0; elm_backend_table[b]; b++) {
        const elm_backend *backend = elm_backend_table[b];
        for (size_t i = 0; i < N_OPERATIONS; i++) {
            double worst = 0;
            uint32_t refused = 0;
            for (uint32_t round = 0; round < ROUNDS; round++)
                check_round(i, round, backend, &worst, &refused);
            printf("%-6s %-12s %2u of %u taken, largest difference %.2f of the bound\n",
                   backend->name, elm_op_get(operations[i].op)->text, ROUNDS - refused, ROUNDS,
                   worst);
            bool must = strcmp(backend->name, "cpu") == 0 || strcmp(backend->name, "ref") == 0;
            if (must && refused)
                fail_msg("%s refuses %s", backend->name, elm_op_get(operations[i].op)->text);
        }
    }
}

static void test_no_operation_is_left_out(void **state) {
    (void)state;
    static const elm_op all[] = {
#define X(name, number, text, min_in, max_in, n_out, attrs) ELM_OP_##name,
#include "ir/op.def"
#undef X
    };
    for (size_t k = 0; k < sizeof all / sizeof all[0]; k++) {
        bool found = false;
        for (size_t i = 0; i < N_OPERATIONS; i++) found = found || operations[i].op == all[k];
        if (!found)
            fail_msg("%s has no rows in tests/conform/test_ops.c", elm_op_get(all[k])->text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_operation_is_left_out),
        cmocka_unit_test(test_every_operation_on_every_backend),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
