/* A GGUF seen as the Hugging Face folder that it was made from: config, names, permutations, end
 * tokens. */
#include <math.h>

#include "parse/source.h"
#include "source_fixture.h"

static gguf_maker m;

static void open_made(elm_source *s) {
    elm_error err = {0};
    gguf_end(&m, &fs, PATH);
    if (elm_source_open(&fs.platform, PATH, true, s, &err) != ELM_OK) fail_msg("%s", err.message);
}

static void assert_refused(elm_status expected, const char *fragment) {
    elm_source s;
    elm_error err = {0};
    gguf_end(&m, &fs, PATH);
    elm_status status = elm_source_open(&fs.platform, PATH, true, &s, &err);
    elm_source_close(&s);
    if (status != expected || !strstr(err.message, fragment)) {
        fail_msg("expected %s with '%s'; found %s: %s", elm_status_name(expected), fragment,
                 elm_status_name(status), err.message);
    }
}

static int64_t int_of(const elm_json *object, const char *key) {
    int64_t value = INT64_MIN;
    assert_int_equal(elm_json_int(object, key, INT64_MIN + 1, INT64_MAX, "config", &value, NULL),
                     ELM_OK);
    return value;
}

static double double_of(const elm_json *object, const char *key) {
    double value = (double)NAN;
    assert_int_equal(elm_json_double(object, key, "config", &value, NULL), ELM_OK);
    return value;
}

static void llama(void **state) {
    (void)state;
    elm_source s;
    gguf_tiny(&m, "llama");
    gguf_string(&m, "tokenizer.chat_template", "{{ x }}");
    open_made(&s);
    assert_true(elm_json_is(elm_json_find(s.config, "model_type"), "llama"));
    assert_int_equal(int_of(s.config, "hidden_size"), 8);
    assert_int_equal(int_of(s.config, "num_hidden_layers"), 2);
    assert_int_equal(int_of(s.config, "intermediate_size"), 16);
    assert_int_equal(int_of(s.config, "num_attention_heads"), 2);
    assert_int_equal(int_of(s.config, "num_key_value_heads"), 1);
    assert_int_equal(int_of(s.config, "max_position_embeddings"), 64);
    assert_int_equal(int_of(s.config, "vocab_size"), 6);
    assert_true((float)double_of(s.config, "rms_norm_eps") == 1e-5f);
    assert_true(double_of(s.config, "rope_theta") == 10000.0);
    assert_null(elm_json_find(s.config, "rope_scaling"));
    assert_true(elm_json_find(s.config, "tie_word_embeddings")->as.boolean);
    assert_string_equal(s.name, "tiny");
    assert_string_equal(s.chat_template, "{{ x }}");
    assert_true(elm_json_is(elm_json_find(s.special_tokens, "bos_token"), "<s>"));
    assert_true(elm_json_is(elm_json_find(s.special_tokens, "eos_token"), "</s>"));
    assert_null(elm_json_find(s.special_tokens, "unk_token"));
    assert_int_equal(s.bos_id, 1);
    assert_int_equal(s.n_eos,
                     2); /* the one that the file names, and <end_of_turn> by its spelling */
    assert_int_equal(s.eos_ids[0], 2);
    assert_int_equal(s.eos_ids[1], 5);
    assert_int_equal(s.vocab.n_tokens, 6);
    assert_int_equal(s.vocab.n_merges, 1);
    assert_true(s.vocab.add_bos); /* llama-bpe begins with BOS where the file is silent */
    assert_false(s.vocab.add_space_prefix);
    assert_int_equal(s.vocab.unk_id, ELM_NO_TOKEN);
    elm_source_close(&s);
}

/* Hugging Face's row r of a head of 4 (halves 0 1 | 2 3) lies at 0 2 1 3 in llama.cpp's (pairs 0 2
 * | 1 3). */
static void names_and_permutations(void **state) {
    (void)state;
    static const float q[8] = {0, 2, 1, 3, 4, 6, 5, 7};
    elm_source s;
    float out[64];
    gguf_tiny(&m, "llama");
    open_made(&s);
    const elm_checkpoint *ck = elm_source_checkpoint(&s);
    static const char *const names[] = {
        "model.embed_tokens.weight",
        "model.norm.weight",
        "model.layers.1.input_layernorm.weight",
        "model.layers.0.post_attention_layernorm.weight",
        "model.layers.0.self_attn.v_proj.weight",
        "model.layers.1.self_attn.o_proj.weight",
        "model.layers.1.mlp.gate_proj.weight",
        "model.layers.1.mlp.up_proj.weight",
        "model.layers.0.mlp.down_proj.weight",
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const elm_source_tensor *t = elm_checkpoint_find(ck, names[i]);
        if (!t) fail_msg("%s is missing", names[i]);
        assert_int_equal(t->rows.outer, 0);
        assert_false(t->form_folded);
    }
    const elm_source_tensor *t = elm_checkpoint_find(ck, "model.layers.1.self_attn.q_proj.weight");
    assert_non_null(t);
    assert_int_equal(elm_checkpoint_read_rows(ck, t, 0, 8, out, NULL), ELM_OK);
    for (int r = 0; r < 8; r++) assert_true(out[8 * r] == q[r] && out[8 * r + 7] == q[r]);
    assert_int_equal(elm_checkpoint_read_rows(ck, t, 5, 2, out, NULL), ELM_OK);
    assert_true(out[0] == q[5] && out[8] == q[6]);
    assert_int_equal(elm_checkpoint_read_raw_rows(ck, t, 1, 2, out, NULL), ELM_OK);
    assert_true(out[0] == q[1] && out[8] == q[2]);
    t = elm_checkpoint_find(ck, "model.layers.0.self_attn.k_proj.weight");
    assert_non_null(t);
    assert_int_equal(t->rows.outer, 2);
    assert_int_equal(elm_checkpoint_read_rows(ck, t, 0, 4, out, NULL), ELM_OK);
    for (int r = 0; r < 4; r++) assert_true(out[8 * r] == q[r]);
    elm_source_close(&s);
}

static void others_are_not_permuted(void **state) {
    (void)state;
    elm_source s;
    gguf_tiny(&m, "qwen3");
    gguf_tensor(&m, "output.weight", ELM_SOURCE_F32, 6, 8, NULL);
    gguf_tensor(&m, "blk.0.attn_q_norm.weight", ELM_SOURCE_F32, 0, 4, NULL);
    gguf_tensor(&m, "blk.00.attn_k_norm.weight", ELM_SOURCE_F32, 0, 4, NULL);
    gguf_tensor(&m, "blk.0.novelty.weight", ELM_SOURCE_F32, 0, 4, NULL);
    gguf_tensor(&m, "blk.0.attn_q.bias", ELM_SOURCE_F32, 0, 8, NULL);
    gguf_u32(&m, "qwen3.attention.key_length", 4);
    open_made(&s);
    const elm_checkpoint *ck = elm_source_checkpoint(&s);
    for (uint32_t i = 0; i < ck->n_tensors; i++) assert_int_equal(ck->tensors[i].rows.outer, 0);
    assert_non_null(elm_checkpoint_find(ck, "lm_head.weight"));
    assert_non_null(elm_checkpoint_find(ck, "model.layers.0.self_attn.q_norm.weight"));
    assert_non_null(elm_checkpoint_find(ck, "model.layers.0.self_attn.q_proj.bias"));
    assert_non_null(elm_checkpoint_find(
        ck, "blk.00.attn_k_norm.weight")); /* unknown: kept, to be refused by name */
    assert_non_null(elm_checkpoint_find(ck, "blk.0.novelty.weight"));
    assert_false(elm_json_find(s.config, "tie_word_embeddings")->as.boolean);
    assert_true(elm_json_find(s.config, "attention_bias")->as.boolean);
    assert_int_equal(int_of(s.config, "head_dim"), 4);
    elm_source_close(&s);
}

/* Two key heads and four value heads of one dimension: grouped 0 1 | 2 3 is tiled 0 2 1 3. */
static void delta_net(elm_status expected, uint32_t inner) {
    gguf_tiny(&m, "qwen35");
    gguf_u32(&m, "qwen35.rope.dimension_count", 2);
    gguf_u32(&m, "qwen35.ssm.conv_kernel", 2);
    gguf_u32(&m, "qwen35.ssm.state_size", 2);
    gguf_u32(&m, "qwen35.ssm.group_count", 2);
    gguf_u32(&m, "qwen35.ssm.time_step_rank", 4);
    gguf_u32(&m, "qwen35.ssm.inner_size", inner);
    if (expected == ELM_OK) gguf_u32(&m, "qwen35.full_attention_interval", 2);
}

static void tiled_heads_are_grouped_again(void **state) {
    (void)state;
    static const float a[4] = {-1, -2, -3, -4};
    static const float out_rows[2][4] = {{10, 12, 11, 13}, {20, 22, 21, 23}};
    static const float taps[12][2] = {{0, 1},   {2, 3},   {4, 5},   {6, 7},   {8, 9},   {10, 11},
                                      {12, 13}, {14, 15}, {30, 31}, {50, 51}, {40, 41}, {60, 61}};
    elm_source s;
    float out[8];
    delta_net(ELM_OK, 4);
    gguf_tensor(&m, "blk.0.ssm_a", ELM_SOURCE_F32, 0, 4, a);
    gguf_tensor(&m, "blk.0.ssm_out.weight", ELM_SOURCE_F32, 2, 4, &out_rows[0][0]);
    gguf_tensor(&m, "blk.0.ssm_conv1d.weight", ELM_SOURCE_F32, 12, 2, &taps[0][0]);
    open_made(&s);
    const elm_checkpoint *ck = elm_source_checkpoint(&s);
    const elm_source_tensor *t = elm_checkpoint_find(ck, "model.layers.0.linear_attn.A_log");
    assert_true(t && t->form_folded);
    assert_int_equal(elm_checkpoint_read_rows(ck, t, 0, 4, out, NULL), ELM_OK);
    assert_true(out[0] == -1 && out[1] == -3 && out[2] == -2 && out[3] == -4);
    t = elm_checkpoint_find(ck, "model.layers.0.linear_attn.out_proj.weight");
    assert_non_null(t);
    assert_int_equal(elm_checkpoint_read_rows(ck, t, 0, 2, out, NULL), ELM_OK);
    for (int i = 0; i < 4; i++) assert_true(out[i] == 10 + (float)i && out[4 + i] == 20 + (float)i);
    memset(out, 0, sizeof out);
    assert_int_equal(elm_checkpoint_read_raw_rows(ck, t, 1, 1, out, NULL), ELM_OK);
    for (int i = 0; i < 4; i++) assert_true(out[i] == 20 + (float)i);
    t = elm_checkpoint_find(ck, "model.layers.0.linear_attn.conv1d.weight");
    assert_true(t && t->n_dims == 3 && t->dims[1] == 1 && t->dims[2] == 2);
    assert_int_equal(elm_checkpoint_read_rows(ck, t, 7, 4, out, NULL), ELM_OK);
    assert_true(out[0] == 14 && out[2] == 30 && out[4] == 40 && out[6] == 50);
    assert_true(
        elm_json_is(&elm_json_find(s.config, "layer_types")->as.items[0], "linear_attention"));
    elm_source_close(&s);

    delta_net(ELM_MALFORMED, 4);
    gguf_tensor(&m, "blk.0.ssm_a", ELM_SOURCE_F32, 0, 5, NULL);
    assert_refused(ELM_MALFORMED, "'blk.0.ssm_a' has 5 rows, which its heads do not share evenly");
    delta_net(ELM_MALFORMED, 6);
    assert_refused(ELM_MALFORMED, "not shared evenly by ssm.time_step_rank heads");
}

static void layer_types_are(const elm_source *s, const char *expected) {
    const elm_json *types = elm_json_find(s->config, "layer_types");
    assert_non_null(types);
    assert_int_equal(types->count, strlen(expected));
    for (uint32_t i = 0; i < types->count; i++) {
        assert_true(elm_json_is(&types->as.items[i],
                                expected[i] == 's' ? "sliding_attention" : "full_attention"));
    }
}

static void gemma3(void **state) {
    (void)state;
    elm_source s;
    gguf_tiny(&m, "gemma3");
    gguf_u32(&m, "gemma3.attention.sliding_window", 32);
    open_made(&s);
    const elm_checkpoint *ck = elm_source_checkpoint(&s);
    assert_true(elm_json_is(elm_json_find(s.config, "model_type"), "gemma3_text"));
    assert_int_equal(int_of(s.config, "query_pre_attn_scalar"), 4);
    assert_int_equal(int_of(s.config, "sliding_window"), 32);
    layer_types_are(&s, "ss");
    const elm_source_tensor *t =
        elm_checkpoint_find(ck, "model.layers.0.pre_feedforward_layernorm.weight");
    assert_true(t && t->form_folded);
    t = elm_checkpoint_find(ck, "model.norm.weight");
    assert_true(t && t->form_folded);
    t = elm_checkpoint_find(ck, "model.layers.0.self_attn.q_proj.weight");
    assert_true(t && !t->form_folded && t->rows.outer == 0);
    elm_source_close(&s);

    gguf_tiny(&m, "gemma3"); /* no window: nothing slides */
    gguf_f32(&m, "gemma3.attention.scale", 0.25f);
    open_made(&s);
    layer_types_are(&s, "ff");
    assert_true(double_of(s.config, "query_pre_attn_scalar") == 16.0);
    elm_source_close(&s);

    gguf_tiny(&m, "gemma3");
    gguf_u32(&m, "gemma3.attention.sliding_window", 32);
    gguf_u32(&m, "gemma3.attention.sliding_window_pattern", 2);
    open_made(&s);
    layer_types_are(&s, "sf");
    elm_source_close(&s);

    gguf_tiny(&m, "gemma3");
    gguf_u32(&m, "gemma3.attention.sliding_window", 32);
    gguf_array(&m, "gemma3.attention.sliding_window_pattern", ELM_GGUF_BOOL, 2);
    elm_buf_u8(&m.values, 0), elm_buf_u8(&m.values, 1);
    open_made(&s);
    layer_types_are(&s, "fs");
    elm_source_close(&s);
}

static void gemma3_27b_scales_by_hidden_over_heads(void **state) {
    (void)state;
    elm_source s;
    gguf_tiny(&m, "gemma3");
    elm_buf_clear(&m.values);
    m.n_values = 0;
    gguf_string(&m, "general.architecture", "gemma3");
    gguf_u32(&m, "gemma3.block_count", 62);
    gguf_u32(&m, "gemma3.embedding_length", 5376);
    gguf_u32(&m, "gemma3.attention.head_count", 32);
    gguf_u32(&m, "gemma3.attention.key_length", 128);
    gguf_string(&m, "tokenizer.ggml.model", "llama");
    gguf_strings(&m, "tokenizer.ggml.tokens", (const char *const[]){"a"}, 1);
    open_made(&s);
    assert_int_equal(int_of(s.config, "query_pre_attn_scalar"), 168);
    assert_int_equal(int_of(s.config, "num_key_value_heads"), 32);
    assert_string_equal(s.name, "");
    assert_true(s.vocab.add_bos && s.vocab.add_space_prefix); /* SentencePiece's defaults */
    assert_int_equal(s.bos_id, ELM_NO_TOKEN);
    assert_int_equal(s.n_eos, 0);
    elm_source_close(&s);
}

static void rope_scaling(void **state) {
    (void)state;
    elm_source s;
    gguf_tiny(&m, "qwen3");
    gguf_string(&m, "qwen3.rope.scaling.type", "yarn");
    gguf_f32(&m, "qwen3.rope.scaling.factor", 4.0f);
    gguf_u32(&m, "qwen3.rope.scaling.original_context_length", 32);
    gguf_f32(&m, "qwen3.rope.scaling.attn_factor", 2.0f);
    open_made(&s);
    const elm_json *scaling = elm_json_find(s.config, "rope_scaling");
    assert_true(elm_json_is(elm_json_find(scaling, "rope_type"), "yarn"));
    assert_true(double_of(scaling, "factor") == 4.0);
    assert_int_equal(int_of(scaling, "original_max_position_embeddings"), 32);
    assert_true(fabs(double_of(scaling, "attention_factor") - 2.0 * (0.1 * log(4.0) + 1.0)) <
                1e-12);
    elm_source_close(&s);

    gguf_tiny(&m, "qwen3"); /* Hugging Face's factor, and the ratio of two of its scales */
    gguf_string(&m, "qwen3.rope.scaling.type", "yarn");
    gguf_f32(&m, "qwen3.rope.scaling.factor", 4.0f);
    gguf_f32(&m, "qwen3.rope.scaling.yarn_attn_factor", 1.5f);
    gguf_f32(&m, "qwen3.rope.scaling.yarn_log_multiplier", 0.5f);
    open_made(&s);
    scaling = elm_json_find(s.config, "rope_scaling");
    assert_true(double_of(scaling, "attention_factor") == 1.5);
    assert_true(double_of(scaling, "mscale") == 1.0 && double_of(scaling, "mscale_all_dim") == 0.5);
    elm_source_close(&s);

    gguf_tiny(&m, "llama"); /* the key before scaling.type */
    gguf_f32(&m, "llama.rope.scale_linear", 2.0f);
    open_made(&s);
    scaling = elm_json_find(s.config, "rope_scaling");
    assert_true(elm_json_is(elm_json_find(scaling, "rope_type"), "linear"));
    elm_source_close(&s);

    gguf_tiny(&m, "llama");
    gguf_string(&m, "llama.rope.scaling.type", "none");
    gguf_f32(&m, "llama.rope.scaling.factor", 2.0f);
    open_made(&s);
    assert_null(elm_json_find(s.config, "rope_scaling"));
    elm_source_close(&s);
}

/* Up to there Ministral's scale of queries is 1. */
static void ministral_ends_at_the_original_context(void **state) {
    (void)state;
    elm_source s;
    gguf_tiny(&m, "mistral3");
    gguf_f32(&m, "mistral3.attention.temperature_scale", 0.1f);
    gguf_u32(&m, "mistral3.rope.scaling.original_context_length", 32);
    open_made(&s);
    assert_int_equal(int_of(s.config, "max_position_embeddings"), 32);
    elm_source_close(&s);
    gguf_tiny(&m, "mistral3");
    gguf_f32(&m, "mistral3.attention.temperature_scale", 0.0f);
    open_made(&s);
    assert_int_equal(int_of(s.config, "max_position_embeddings"), 64);
    elm_source_close(&s);
}

static void longrope(void **state) {
    (void)state;
    static const float shorts[2] = {1.0f, 1.5f}, longs[2] = {2.0f, 4.0f};
    elm_source s;
    for (int n_long = 0; n_long < 3; n_long++) {
        gguf_tiny(&m, "phi3");
        gguf_u32(&m, "phi3.rope.scaling.original_context_length", 32);
        gguf_f32(&m, "phi3.rope.scaling.attn_factor", 1.25f);
        gguf_tensor(&m, "rope_factors_short.weight", ELM_SOURCE_F32, 0, 2, shorts);
        if (n_long > 0)
            gguf_tensor(&m, "rope_factors_long.weight", ELM_SOURCE_F32, 0, (uint64_t)n_long, longs);
        if (n_long < 2) {
            assert_refused(ELM_MALFORMED, "does not fit rope_factors_short.weight");
            continue;
        }
        open_made(&s);
        const elm_json *scaling = elm_json_find(s.config, "rope_scaling"),
                       *list = elm_json_find(scaling, "short_factor");
        assert_true(elm_json_is(elm_json_find(scaling, "rope_type"), "longrope"));
        assert_int_equal(int_of(scaling, "original_max_position_embeddings"), 32);
        assert_true(double_of(scaling, "attention_factor") == 1.25);
        assert_true(list->count == 2 && list->as.items[1].as.number == 1.5);
        assert_null(elm_checkpoint_find(elm_source_checkpoint(&s), "rope_factors_long.weight"));
        elm_source_close(&s);
    }
}

/* q has 8 rows, k and v 4 each; what the output projection takes in says so. */
static void rows_of_q_k_and_v_in_one_tensor(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint64_t rows, cols;
        elm_status status;
    } cases[] = {
        {"blk.2.attn_qkv.weight", 16, 8, ELM_OK},
        {"blk.2.attn_qkv.bias", 0, 16, ELM_OK},
        {"blk.2.attn_qkv.weight", 15, 8, ELM_MALFORMED},
        {"blk.2.attn_qkv.weight", 8, 8, ELM_MALFORMED},
        {"blk.3.attn_qkv.weight", 16, 8, ELM_MALFORMED},
    };
    float values[128];
    elm_source s;
    for (int i = 0; i < 128; i++) values[i] = (float)(i / 8);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        float out[32];
        bool bias = cases[i].rows == 0;
        gguf_tiny(&m, "qwen3");
        gguf_tensor(&m, "blk.2.attn_output.weight", ELM_SOURCE_F32, 8, 8, NULL);
        gguf_tensor(&m, cases[i].name, ELM_SOURCE_F32, cases[i].rows, cases[i].cols, values);
        if (cases[i].status != ELM_OK) {
            assert_refused(cases[i].status, "which are not q's");
            continue;
        }
        open_made(&s);
        const elm_checkpoint *ck = elm_source_checkpoint(&s);
        const elm_source_tensor *t =
            elm_checkpoint_find(ck, bias ? "mtp.layers.0.self_attn.v_proj.bias"
                                         : "mtp.layers.0.self_attn.v_proj.weight");
        assert_non_null(t);
        assert_int_equal(t->dims[0], 4);
        assert_int_equal(elm_checkpoint_read_rows(ck, t, 0, 4, out, NULL), ELM_OK);
        assert_true(out[0] == (bias ? 1.0f : 12.0f) && out[3] == (bias ? 1.0f : 12.0f));
        elm_source_close(&s);
    }
}

/* A file of a vocabulary alone has no architecture that we know and no tensors: it tokenizes, and is
 * no model. */
static void only_a_vocabulary(void **state) {
    (void)state;
    elm_source s;
    elm_buf blob;
    elm_error err = {0};
    gguf_begin(&m);
    gguf_string(&m, "general.architecture", "nothing");
    gguf_string(&m, "tokenizer.ggml.model", "gpt2");
    gguf_strings(&m, "tokenizer.ggml.tokens", (const char *const[]){"a", "b", "ab"}, 3);
    gguf_strings(&m, "tokenizer.ggml.merges", (const char *const[]){"a b"}, 1);
    assert_refused(ELM_MALFORMED, "holds no tensors");
    if (elm_source_open(&fs.platform, PATH, false, &s, &err) != ELM_OK) fail_msg("%s", err.message);
    elm_buf_init(&blob, elm_allocator_default(), 1 << 20);
    assert_int_equal(elm_source_tokenizer(&s, &blob, NULL), ELM_OK);
    assert_true(blob.size > 0);
    elm_buf_free(&blob);
    elm_source_close(&s);
}

static void rope_factors(void **state) {
    (void)state;
    static const float factors[2] = {1.0f, 8.0f}, bad[2] = {1.0f, 0.0f};
    elm_source s;
    gguf_tiny(&m, "llama");
    gguf_tensor(&m, "rope_freqs.weight", ELM_SOURCE_F32, 0, 2, factors);
    open_made(&s);
    assert_int_equal(s.n_rope_factors, 2);
    assert_true(s.rope_factors[0] == 1.0f && s.rope_factors[1] == 8.0f);
    assert_null(elm_checkpoint_find(elm_source_checkpoint(&s),
                                    "rope_freqs.weight")); /* no tensor of the model */
    elm_source_close(&s);
    gguf_tiny(&m, "llama");
    gguf_tensor(&m, "rope_freqs.weight", ELM_SOURCE_F32, 0, 2, bad);
    assert_refused(ELM_MALFORMED, "rope_freqs.weight is not a finite number above 0");
    gguf_tiny(&m, "llama");
    gguf_tensor(&m, "rope_freqs.weight", ELM_SOURCE_F16, 0, 2, NULL);
    assert_refused(ELM_MALFORMED, "rope_freqs.weight is no vector of float32");
    gguf_tiny(&m, "llama");
    gguf_tensor(&m, "rope_freqs.weight", ELM_SOURCE_F32, 0, 2, factors);
    gguf_string(&m, "llama.rope.scaling.type", "linear");
    gguf_f32(&m, "llama.rope.scaling.factor", 2.0f);
    assert_refused(ELM_UNSUPPORTED, "stands beside rope_freqs.weight");
}

typedef enum value_kind { U32, F32, BOOL, STRING, ARRAY } value_kind;

static void what_the_config_cannot_say_is_refused(void **state) {
    (void)state;
    static const struct {
        const char *architecture, *key;
        value_kind kind;
        double value;
        elm_status status;
        const char *fragment;
    } cases[] = {
        {"mamba", "x.y", U32, 1, ELM_UNSUPPORTED, "architecture 'mamba' is not supported"},
        {"clip", "x.y", U32, 1, ELM_UNSUPPORTED, "is the vision or audio part of a model"},
        {"llama", "general.type", STRING, 0, ELM_UNSUPPORTED, "only whole models"},
        {"llama", "llama.expert_count", U32, 8, ELM_UNSUPPORTED, "'llama.expert_count'"},
        {"llama", "llama.logit_scale", F32, 0.5, ELM_UNSUPPORTED, "'llama.logit_scale'"},
        {"qwen3", "qwen3.nextn_predict_layers", U32, 1, ELM_UNSUPPORTED, "nextn_predict_layers"},
        {"qwen3moe", "qwen3moe.expert_gating_func", U32, 2, ELM_UNSUPPORTED, "is not the softmax"},
        {"qwen3moe", "qwen3moe.expert_weights_norm", BOOL, 0, ELM_UNSUPPORTED,
         "'qwen3moe.expert_weights_norm' is false"},
        {"qwen3moe", "qwen3moe.expert_shared_count", U32, 1, ELM_UNSUPPORTED,
         "expert_shared_count"},
        {"qwen35", "qwen35.rope.dimension_count", U32, 6, ELM_MALFORMED, "is impossible"},
        {"qwen35", "qwen35.rope.dimension_count", U32, 2, ELM_MALFORMED, "ssm.inner_size"},
        {"granite", "granite.rope.scaling.finetuned", BOOL, 0, ELM_UNSUPPORTED, "no RoPE at all"},
        {"gemma4", "gemma4.attention.shared_kv_layers", U32, 2, ELM_MALFORMED, "is impossible"},
        {"gemma4", "gemma4.attention.value_length", U32, 8, ELM_UNSUPPORTED,
         "differs from the length of keys"},
        {"gemma4", "gemma4.attention.sliding_window_pattern", U32, 6, ELM_MALFORMED,
         "does not say for each layer whether it slides"},
        {"gemma3", "gemma3.final_logit_softcapping", F32, 30, ELM_UNSUPPORTED,
         "'gemma3.final_logit_softcapping'"},
        {"llama", "llama.attention.temperature_scale", F32, 0.1, ELM_UNSUPPORTED,
         "temperature_scale"},
        {"mistral3", "mistral3.attention.temperature_scale", F32, 0.1, ELM_MALFORMED,
         "'mistral3.rope.scaling.original_context_length' is missing"},
        {"phi3", "phi3.rope.dimension_count", U32, 6, ELM_MALFORMED, "is impossible"},
        {"qwen3", "qwen3.attention.causal", BOOL, 0, ELM_UNSUPPORTED, "only causal models"},
        {"llama", "llama.attention.scale", F32, 0.7, ELM_UNSUPPORTED, "'llama.attention.scale'"},
        {"llama", "llama.attention.value_length", U32, 8, ELM_UNSUPPORTED,
         "'llama.attention.value_length'"},
        {"llama", "llama.rope.dimension_count", U32, 2, ELM_UNSUPPORTED, "partial RoPE"},
        {"llama", "llama.attention.key_length", ARRAY, 0, ELM_UNSUPPORTED,
         "not one integer for all layers"},
        {"llama", "llama.rope.freq_base_swa", F32, (double)NAN, ELM_MALFORMED,
         "is no finite number"},
        {"llama", "llama.rope.scaling.type", STRING, 0, ELM_UNSUPPORTED,
         "is not known (none, linear, yarn)"},
        {"gemma3", "gemma3.attention.sliding_window_pattern", ARRAY, 0, ELM_MALFORMED,
         "for each layer"},
        {"llama", "tokenizer.ggml.eot_token_id", U32, 6, ELM_MALFORMED,
         "the vocabulary has 6 tokens"},
        {"llama", "tokenizer.ggml.eom_token_id", STRING, 0, ELM_MALFORMED,
         "'tokenizer.ggml.eom_token_id' is no integer"},
        {"llama", "tokenizer.ggml.scores", ARRAY, 0, ELM_MALFORMED, "lists differ in length"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        gguf_tiny(&m, cases[i].architecture);
        switch (cases[i].kind) {
        case U32:
            gguf_u32(&m, cases[i].key, (uint32_t)cases[i].value);
            break;
        case F32:
            gguf_f32(&m, cases[i].key, (float)cases[i].value);
            break;
        case BOOL:
            gguf_bool(&m, cases[i].key, cases[i].value != 0.0);
            break;
        case STRING:
            gguf_string(&m, cases[i].key, "novel");
            break;
        case ARRAY:
            gguf_array(&m, cases[i].key, ELM_GGUF_F32, 1), elm_buf_f32(&m.values, 1.0f);
            break;
        }
        assert_refused(cases[i].status, cases[i].fragment);
    }
}

static void scaling_that_cannot_be_said_is_refused(void **state) {
    (void)state;
    gguf_tiny(&m, "llama");
    gguf_array(&m, "llama.attention.key_length", ELM_GGUF_U32, 2);
    elm_buf_u32(&m.values, 4), elm_buf_u32(&m.values, 8);
    assert_refused(ELM_UNSUPPORTED, "not one integer for all layers");
    gguf_tiny(&m, "llama");
    gguf_string(&m, "llama.rope.scaling.type", "linear");
    assert_refused(ELM_MALFORMED, "'llama.rope.scaling.factor' is missing");
    gguf_tiny(&m, "llama");
    gguf_string(&m, "llama.rope.scaling.type", "linear");
    gguf_f32(&m, "llama.rope.scaling.factor", -2.0f);
    assert_refused(ELM_MALFORMED, "or not above 0");
    gguf_tiny(&m, "llama");
    gguf_string(&m, "llama.rope.scaling.type", "linear");
    gguf_f32(&m, "llama.rope.scaling.factor", 2.0f);
    gguf_f32(&m, "llama.rope.scaling.attn_factor", 0.5f);
    assert_refused(ELM_UNSUPPORTED, "only known for yarn");
}

static void what_says_nothing_is_accepted(void **state) {
    (void)state;
    elm_source s;
    gguf_tiny(&m, "llama");
    gguf_u32(&m, "llama.expert_count", 0);
    gguf_f32(&m, "llama.logit_scale", 1.0f);
    gguf_f32(&m, "llama.attention.scale", 0.5f);
    gguf_u32(&m, "llama.rope.dimension_count", 4);
    gguf_u32(&m, "tokenizer.ggml.unknown_token_id", UINT32_MAX);
    gguf_bool(&m, "tokenizer.ggml.add_bos_token", false);
    gguf_array(&m, "llama.attention.key_length", ELM_GGUF_U32, 2);
    elm_buf_u32(&m.values, 4), elm_buf_u32(&m.values, 4);
    open_made(&s);
    assert_false(s.vocab.add_bos);
    assert_int_equal(int_of(s.config, "head_dim"), 4);
    assert_int_equal(s.vocab.unk_id, ELM_NO_TOKEN);
    elm_source_close(&s);
}

static void missing_pieces(void **state) {
    (void)state;
    gguf_begin(&m);
    gguf_tensor(&m, "token_embd.weight", ELM_SOURCE_F32, 6, 8, NULL);
    assert_refused(ELM_MALFORMED, "has no general.architecture");
    gguf_begin(&m);
    gguf_string(&m, "general.architecture", "llama");
    gguf_tensor(&m, "x", ELM_SOURCE_F32, 6, 8, NULL);
    assert_refused(ELM_MALFORMED, "'token_embd.weight' is missing");
    gguf_begin(&m);
    gguf_string(&m, "general.architecture", "llama");
    gguf_tensor(&m, "token_embd.weight", ELM_SOURCE_F32, 6, 8, NULL);
    assert_refused(ELM_MALFORMED, "'llama.block_count' is missing");
    gguf_begin(&m);
    gguf_string(&m, "general.architecture", "llama");
    gguf_u32(&m, "llama.block_count", 1);
    gguf_tensor(&m, "token_embd.weight", ELM_SOURCE_F32, 6, 8, NULL);
    assert_refused(ELM_MALFORMED, "'llama.attention.head_count' is missing");
    gguf_begin(&m);
    gguf_string(&m, "general.architecture", "llama");
    gguf_u32(&m, "llama.block_count", 1);
    gguf_u32(&m, "llama.attention.head_count", 2);
    gguf_tensor(&m, "token_embd.weight", ELM_SOURCE_F32, 6, 8, NULL);
    assert_refused(ELM_MALFORMED, "has no tokenizer.ggml.model");
    gguf_begin(&m);
    gguf_string(&m, "general.architecture", "llama");
    gguf_u32(&m, "llama.attention.head_count", 2);
    gguf_u32(&m, "llama.block_count", 1);
    gguf_string(&m, "tokenizer.ggml.model", "gpt2");
    gguf_tensor(&m, "token_embd.weight", ELM_SOURCE_F32, 6, 8, NULL);
    assert_refused(ELM_MALFORMED, "has no tokenizer.ggml.tokens");
    gguf_begin(&m);
    gguf_string(&m, "general.architecture", "gemma3");
    gguf_u32(&m, "gemma3.attention.head_count", 2);
    gguf_tensor(&m, "token_embd.weight", ELM_SOURCE_F32, 6, 8, NULL);
    assert_refused(ELM_MALFORMED, "block_count");
    gguf_tiny(&m, "llama");
    gguf_tensor(&m, "blk.2.attn_q.weight", ELM_SOURCE_F32, 6, 8, NULL);
    assert_refused(ELM_MALFORMED,
                   "'blk.2.attn_q.weight' has 6 rows, which its heads do not share evenly");
    gguf_tiny(&m, "llama");
    gguf_string(&m, "tokenizer.chat_template", "x");
    m.values.data[m.values.size - 1] = 0;
    assert_refused(ELM_MALFORMED, "holds a zero byte");
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
    const struct CMUnitTest tests[] = {
        T(llama),
        T(names_and_permutations),
        T(others_are_not_permuted),
        T(tiled_heads_are_grouped_again),
        T(gemma3),
        T(gemma3_27b_scales_by_hidden_over_heads),
        T(rope_scaling),
        T(only_a_vocabulary),
        T(rope_factors),
        T(longrope),
        T(ministral_ends_at_the_original_context),
        T(rows_of_q_k_and_v_in_one_tensor),
        T(what_the_config_cannot_say_is_refused),
        T(scaling_that_cannot_be_said_is_refused),
        T(what_says_nothing_is_accepted),
        T(missing_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
