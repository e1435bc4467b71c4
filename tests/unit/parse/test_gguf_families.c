/* What the configs of single architectures refuse in a GGUF: lists by layer, RoPE and widths of
 * Gemma 4, the recurrent layers of Qwen3.5. */
#include "parse/source.h"
#include "source_fixture.h"

static gguf_maker m;

/* Opens what was made; a status of ELM_OK means that it is accepted. */
static void assert_opens_as(size_t i, elm_status expected, const char *fragment) {
    elm_source s;
    elm_error err = {0};
    gguf_end(&m, &fs, PATH);
    elm_status status = elm_source_open(&fs.platform, PATH, true, &s, &err);
    elm_source_close(&s);
    if (status != expected || !strstr(err.message, fragment)) {
        fail_msg("case %zu: expected %s with '%s'; found %s: %s", i, elm_status_name(expected),
                 fragment, elm_status_name(status), err.message);
    }
}

static void put_bools(const char *key, const char *flags) {
    gguf_array(&m, key, ELM_GGUF_BOOL, strlen(flags));
    for (const char *f = flags; *f; f++) elm_buf_u8(&m.values, *f == '1');
}

/* n integers: none leaves the key out, one is a plain number, more are a list. */
static void put_by_layer(const char *key, elm_gguf_type item, uint64_t n, const int32_t *list) {
    if (n == 1) {
        gguf_u32(&m, key, (uint32_t)list[0]);
    } else if (n > 1) {
        gguf_array(&m, key, item, n);
        for (uint64_t i = 0; i < n; i++) elm_buf_u32(&m.values, (uint32_t)list[i]);
    }
}

/* Three layers of heads of 4, the second one full; `item` is the type in the lists. */
static void gemma4(elm_gguf_type item, const char *slides, uint64_t n_kv, const int32_t *kv,
                   uint64_t n_widths, const int32_t *widths) {
    gguf_tiny(&m, "gemma4");
    elm_buf_clear(&m.values);
    m.n_values = 0;
    gguf_string(&m, "general.architecture", "gemma4");
    gguf_u32(&m, "gemma4.block_count", 3);
    gguf_u32(&m, "gemma4.embedding_length", 8);
    gguf_u32(&m, "gemma4.attention.head_count", 2);
    put_bools("gemma4.attention.sliding_window_pattern", slides);
    put_by_layer("gemma4.attention.head_count_kv", item, n_kv, kv);
    put_by_layer("gemma4.feed_forward_length", item, n_widths, widths);
    gguf_string(&m, "tokenizer.ggml.model", "llama");
    gguf_strings(&m, "tokenizer.ggml.tokens", (const char *const[]){"a"}, 1);
}

static void lists_by_layer_of_gemma4(void **state) {
    (void)state;
    static const struct {
        elm_gguf_type item;
        const char *slides;
        uint64_t n_kv;
        int32_t kv[3];
        uint64_t n_widths;
        int32_t widths[3];
        uint32_t shared;
        elm_status status;
        const char *fragment;
    } cases[] = {
        {ELM_GGUF_I32, "101", 3, {2, 1, 2}, 3, {16, 16, 16}, 0, ELM_OK, ""},
        {ELM_GGUF_U32, "101", 1, {1}, 3, {16, 16, 32}, 1, ELM_OK, ""},
        {ELM_GGUF_I32,
         "10",
         1,
         {1},
         1,
         {16},
         0,
         ELM_MALFORMED,
         "'gemma4.attention.sliding_window_pattern' does not say for each layer"},
        {ELM_GGUF_I32,
         "101",
         0,
         {0},
         1,
         {16},
         0,
         ELM_MALFORMED,
         "'gemma4.attention.head_count_kv' is missing"},
        {ELM_GGUF_I32,
         "101",
         2,
         {2, 1},
         1,
         {16},
         0,
         ELM_MALFORMED,
         "'gemma4.attention.head_count_kv' does not list one integer for each layer"},
        {ELM_GGUF_F32,
         "101",
         3,
         {2, 1, 2},
         1,
         {16},
         0,
         ELM_MALFORMED,
         "'gemma4.attention.head_count_kv' does not list one integer for each layer"},
        {ELM_GGUF_I32,
         "101",
         3,
         {2, -1, 2},
         1,
         {16},
         0,
         ELM_MALFORMED,
         "'gemma4.attention.head_count_kv' is impossible"},
        {ELM_GGUF_I32,
         "101",
         1,
         {65537},
         1,
         {16},
         0,
         ELM_MALFORMED,
         "'gemma4.attention.head_count_kv' is impossible"},
        {ELM_GGUF_I32,
         "101",
         1,
         {1},
         3,
         {16, 24, 16},
         0,
         ELM_UNSUPPORTED,
         "'gemma4.feed_forward_length' lists widths other than"},
        {ELM_GGUF_I32,
         "101",
         1,
         {1},
         3,
         {16, 16, 32},
         2,
         ELM_UNSUPPORTED,
         "'gemma4.feed_forward_length' lists widths other than"},
        {ELM_GGUF_I32,
         "101",
         1,
         {1},
         3,
         {16, 16, 24},
         1,
         ELM_UNSUPPORTED,
         "'gemma4.feed_forward_length' lists widths other than"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        gemma4(cases[i].item, cases[i].slides, cases[i].n_kv, cases[i].kv, cases[i].n_widths,
               cases[i].widths);
        gguf_u32(&m, "gemma4.attention.shared_kv_layers", cases[i].shared);
        assert_opens_as(i, cases[i].status, cases[i].fragment);
    }
}

static void rope_of_gemma4(void **state) {
    (void)state;
    static const struct {
        const char *key; /* NULL: none */
        uint32_t value;  /* 0: text */
        uint32_t n_factors;
        float factors[3];
        elm_status status;
        const char *fragment;
    } cases[] = {
        {"rope.dimension_count", 4, 2, {1.0f, 1e30f}, ELM_OK, ""},
        {"rope.dimension_count",
         2,
         0,
         {0},
         ELM_UNSUPPORTED,
         "'gemma4.rope.dimension_count' is not the head dimension"},
        {"rope.dimension_count_swa",
         2,
         0,
         {0},
         ELM_UNSUPPORTED,
         "'gemma4.rope.dimension_count_swa' is not the head dimension"},
        {"rope.scaling.type",
         0,
         0,
         {0},
         ELM_UNSUPPORTED,
         "'gemma4.rope.scaling.type' is not known for this model"},
        {"rope.scaling.factor",
         2,
         0,
         {0},
         ELM_UNSUPPORTED,
         "'gemma4.rope.scaling.type' is not known for this model"},
        {NULL, 0, 2, {1.0f, 8.0f}, ELM_UNSUPPORTED, "of other factors than 1 and infinity"},
        {NULL,
         0,
         3,
         {1.0f, 1.0f, 1e30f},
         ELM_MALFORMED,
         "'gemma4.attention.key_length' does not fit rope_freqs.weight"},
    };
    static const int32_t heads[1] = {1}, widths[1] = {16};
    char key[64];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        gemma4(ELM_GGUF_I32, "101", 1, heads, 1, widths);
        snprintf(key, sizeof key, "gemma4.%s", cases[i].key ? cases[i].key : "");
        if (cases[i].value)
            gguf_u32(&m, key, cases[i].value);
        else if (cases[i].key)
            gguf_string(&m, key, "linear");
        if (cases[i].n_factors) {
            gguf_tensor(&m, "rope_freqs.weight", ELM_SOURCE_F32, 0, cases[i].n_factors,
                        cases[i].factors);
        }
        assert_opens_as(i, cases[i].status, cases[i].fragment);
    }
}

static void recurrent_layers_of_qwen35(void **state) {
    (void)state;
    static const struct {
        uint32_t interval;
        elm_gguf_type item;
        uint64_t n;
        elm_status status;
        const char *fragment;
    } cases[] = {
        {2, ELM_GGUF_BOOL, 2, ELM_OK, ""},
        {0, ELM_GGUF_BOOL, 2, ELM_MALFORMED,
         "'qwen35.full_attention_interval' does not say for each layer"},
        {2, ELM_GGUF_BOOL, 1, ELM_MALFORMED,
         "'qwen35.attention.recurrent_layers' does not say for each layer"},
        {2, ELM_GGUF_U8, 2, ELM_MALFORMED,
         "'qwen35.attention.recurrent_layers' does not say for each layer"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        gguf_tiny(&m, "qwen35");
        gguf_u32(&m, "qwen35.rope.dimension_count", 2);
        gguf_u32(&m, "qwen35.ssm.conv_kernel", 2);
        gguf_u32(&m, "qwen35.ssm.state_size", 2);
        gguf_u32(&m, "qwen35.ssm.group_count", 2);
        gguf_u32(&m, "qwen35.ssm.time_step_rank", 4);
        gguf_u32(&m, "qwen35.ssm.inner_size", 4);
        gguf_u32(&m, "qwen35.full_attention_interval", cases[i].interval);
        gguf_array(&m, "qwen35.attention.recurrent_layers", cases[i].item, cases[i].n);
        for (uint64_t k = 0; k < cases[i].n; k++) elm_buf_u8(&m.values, 1);
        assert_opens_as(i, cases[i].status, cases[i].fragment);
    }
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
    const struct CMUnitTest tests[] = {
        T(lists_by_layer_of_gemma4),
        T(rope_of_gemma4),
        T(recurrent_layers_of_qwen35),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
