/* The files of a Hugging Face folder: which one wins, what is optional, and messages that name the
 * file. */
#include <math.h>

#include "parse/source.h"
#include "source_fixture.h"

static int begin_folder(void **state) {
    begin(state);
    source_put_text(&fs, "m/config.json",
                    "{\"model_type\":\"llama\",\"bos_token_id\":7,\"eos_token_id\":8}");
    source_put_text(
        &fs, "m/tokenizer.json",
        "{\"added_tokens\":[{\"id\":3,\"content\":\"<s>\"},{\"id\":4,\"content\":\"<|end|>\"}]}");
    return 0;
}

static void open_folder(elm_source *s) {
    elm_error err = {0};
    if (elm_source_open(&fs.platform, SOURCE_FOLDER, false, s, &err) != ELM_OK)
        fail_msg("%s", err.message);
}

static void assert_refused(bool with_weights, elm_status expected, const char *fragment) {
    elm_source s;
    elm_error err = {0};
    elm_status status = elm_source_open(&fs.platform, SOURCE_FOLDER, with_weights, &s, &err);
    elm_source_close(&s);
    if (status != expected || !strstr(err.message, fragment)) {
        fail_msg("expected %s with '%s'; found %s: %s", elm_status_name(expected), fragment,
                 elm_status_name(status), err.message);
    }
}

static void optional_files_may_be_missing(void **state) {
    (void)state;
    elm_source s;
    open_folder(&s);
    assert_false(s.is_gguf);
    assert_true(elm_json_is(elm_json_find(s.config, "model_type"), "llama"));
    assert_null(s.chat_template);
    assert_null(s.special_tokens);
    assert_int_equal(s.bos_id, 7);
    assert_int_equal(s.n_eos, 1);
    assert_int_equal(s.eos_ids[0], 8);
    assert_int_equal(s.n_suppress, 0);
    assert_true(isnan(s.sampling.temperature) && isnan(s.sampling.top_p) &&
                isnan(s.sampling.min_p));
    assert_true(isnan(s.sampling.repetition_penalty) && isnan(s.sampling.presence_penalty));
    assert_int_equal(s.sampling.top_k, -1);
    assert_false(s.sampling.greedy);
    elm_source_close(&s);
}

static void generation_config_wins(void **state) {
    (void)state;
    elm_source s;
    source_put_text(
        &fs, "m/generation_config.json",
        "{\"bos_token_id\":1,\"eos_token_id\":[5,6,5],\"temperature\":0.6,\"top_p\":0.95,\"top_k\":"
        "20,"
        "\"min_p\":0,\"repetition_penalty\":1.1,\"presence_penalty\":1.5,\"do_sample\":false,"
        "\"suppress_tokens\":[9,10],\"pad_token_id\":null}");
    source_put_text(&fs, "m/tokenizer_config.json",
                    "{\"bos_token\":\"<s>\",\"eos_token\":{\"content\":\"<|end|>\"}}");
    open_folder(&s);
    assert_int_equal(s.bos_id, 1);
    assert_int_equal(s.n_eos, 3); /* each once, and the tokenizer's own */
    assert_int_equal(s.eos_ids[0], 5);
    assert_int_equal(s.eos_ids[1], 6);
    assert_int_equal(s.eos_ids[2], 4);
    assert_int_equal(s.n_suppress, 2);
    assert_int_equal(s.suppress_ids[1], 10);
    assert_true(s.sampling.temperature == 0.6 && s.sampling.top_p == 0.95 &&
                s.sampling.min_p == 0.0);
    assert_true(s.sampling.repetition_penalty == 1.1 && s.sampling.presence_penalty == 1.5);
    assert_int_equal(s.sampling.top_k, 20);
    assert_true(s.sampling.greedy);
    elm_source_close(&s);
}

static void special_tokens(void **state) {
    (void)state;
    elm_source s;
    source_put_text(&fs, "m/config.json", "{}");
    source_put_text(&fs, "m/tokenizer_config.json",
                    "{\"bos_token\":\"<s>\",\"eos_token\":{\"content\":\"</"
                    "s>\",\"lstrip\":false},\"pad_token\":null,"
                    "\"unk_token\":\"<unk>\",\"add_bos_token\":true,\"tokenizer_class\":\"x\"}");
    open_folder(&s);
    assert_true(elm_json_is(elm_json_find(s.special_tokens, "bos_token"), "<s>"));
    assert_true(elm_json_is(elm_json_find(s.special_tokens, "eos_token"), "</s>"));
    assert_true(elm_json_is(elm_json_find(s.special_tokens, "unk_token"), "<unk>"));
    assert_int_equal(s.special_tokens->count, 3);
    assert_int_equal(s.bos_id, 3); /* by its text, where no config has the id */
    assert_int_equal(s.n_eos, 0);  /* </s> is no added token */
    elm_source_close(&s);
}

static void template_is(const char *expected) {
    elm_source s;
    open_folder(&s);
    assert_non_null(s.chat_template);
    assert_string_equal(s.chat_template, expected);
    elm_source_close(&s);
}

static void the_template_that_wins(void **state) {
    (void)state;
    source_put_text(&fs, "m/tokenizer_config.json", "{\"chat_template\":\"one\"}");
    template_is("one");
    source_put_text(&fs, "m/tokenizer_config.json",
                    "{\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"t\"},"
                    "{\"name\":\"default\",\"template\":\"two\"}]}");
    template_is("two");
    source_put_text(&fs, "m/chat_template.json", "{}");
    template_is("two");
    source_put_text(&fs, "m/chat_template.json", "{\"chat_template\":\"three\"}");
    template_is("three");
    source_put_text(&fs, "m/chat_template.jinja", "four\n");
    template_is("four\n");
}

static void malformed_files_are_named(void **state) {
    (void)state;
    static const struct {
        const char *path, *text;
        elm_status status;
        const char *fragment;
    } cases[] = {
        {"m/config.json", "{", ELM_MALFORMED, "config.json:1:"},
        {"m/config.json", "[]", ELM_MALFORMED, "config.json': expected a JSON object"},
        {"m/config.json", "{\"eos_token_id\":\"x\"}", ELM_MALFORMED,
         "config.json: 'eos_token_id' holds no token id"},
        {"m/config.json", "{\"bos_token_id\":-1}", ELM_MALFORMED,
         "config.json:1: 'bos_token_id' is -1"},
        {"m/tokenizer.json", "", ELM_MALFORMED, "tokenizer.json:1:"},
        {"m/tokenizer.json", "3", ELM_MALFORMED, "tokenizer.json': expected a JSON object"},
        {"m/generation_config.json", "[]", ELM_MALFORMED,
         "generation_config.json': expected a JSON object"},
        {"m/generation_config.json", "{\"eos_token_id\":[1,-2]}", ELM_MALFORMED,
         "generation_config.json: 'eos_token_id'"},
        {"m/generation_config.json", "{\"temperature\":\"hot\"}", ELM_MALFORMED,
         "'temperature' is a string"},
        {"m/generation_config.json", "{\"top_k\":-2}", ELM_MALFORMED, "'top_k' is -2"},
        {"m/generation_config.json", "{\"do_sample\":1}", ELM_MALFORMED,
         "'do_sample' is an integer"},
        {"m/tokenizer_config.json", "{\"a\":1,\"a\":2}", ELM_MALFORMED,
         "tokenizer_config.json:1: the key 'a' appears"},
        {"m/tokenizer_config.json", "[]", ELM_MALFORMED,
         "tokenizer_config.json': expected a JSON object"},
        {"m/tokenizer_config.json", "{\"chat_template\":1}", ELM_MALFORMED,
         "tokenizer_config.json: chat_template"},
        {"m/tokenizer_config.json", "{\"chat_template\":[{\"name\":\"rag\",\"template\":\"x\"}]}",
         ELM_MALFORMED, "has no 'default'"},
        {"m/chat_template.json", "{\"chat_template\":{}}", ELM_MALFORMED,
         "chat_template.json: chat_template"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        source_put_text(&fs, cases[i].path, cases[i].text);
        assert_refused(false, cases[i].status, cases[i].fragment);
        fault_io_free(&fs);
        (void)begin_folder(NULL);
    }
    fault_io_put(&fs, "m/chat_template.jinja", "a\0b", 3);
    assert_refused(false, ELM_MALFORMED, "chat_template.jinja' holds a zero byte");
}

static void too_many_end_tokens(void **state) {
    (void)state;
    char text[512] = "{\"eos_token_id\":[0";
    for (int i = 1; i <= ELM_MAX_EOS; i++) snprintf(text + strlen(text), 16, ",%d", i);
    snprintf(text + strlen(text), 8, "]}");
    source_put_text(&fs, "m/generation_config.json", text);
    assert_refused(false, ELM_UNSUPPORTED, "lists more than 32 ids");
}

static void missing_required_files(void **state) {
    (void)state;
    elm_source s;
    elm_error err = {0};
    fs.io.remove(&fs, "m/config.json");
    open_folder(&s); /* a tokenizer needs no config */
    assert_null(s.config);
    elm_source_close(&s);
    assert_refused(true, ELM_NOT_FOUND, "'m/config.json' is missing");
    fs.io.remove(&fs, "m/tokenizer.json");
    assert_refused(false, ELM_NOT_FOUND, "'m/tokenizer.json' is missing");
    source_put_text(&fs, "x.json", "{}");
    assert_int_equal(elm_source_open(&fs.platform, "x.json", true, &s, &err), ELM_INVALID_ARGUMENT);
    elm_source_close(&s);
    assert_int_equal(elm_source_open(&fs.platform, "nowhere", true, &s, &err), ELM_NOT_FOUND);
    elm_source_close(&s);
}

/* The text model of a multimodal checkpoint, under the names of old and of new. */
static void the_text_model_of_a_multimodal_folder(void **state) {
    (void)state;
    static const char *const styles[][4] = {
        {"language_model.model.norm.weight", "language_model.lm_head.weight", "vision_tower.x",
         "multi_modal_projector.y"},
        {"model.language_model.norm.weight", "lm_head.weight", "model.visual.x",
         "model.embed_audio.y"},
    };
    char header[1024];
    for (size_t i = 0; i < 2; i++) {
        elm_source s;
        elm_error err = {0};
        size_t at = 0;
        source_put_text(&fs, "m/config.json",
                        "{\"model_type\":\"gemma3\",\"eos_token_id\":[1,106],\"vision_config\":{},"
                        "\"text_config\":{\"model_type\":\"gemma3_text\",\"bos_token_id\":2}}");
        for (int t = 0; t < 4; t++) {
            at += (size_t)snprintf(
                header + at, sizeof header - at,
                "%s\"%s\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[%d,%d]}", t ? "," : "{",
                styles[i][t], t, t + 1);
        }
        snprintf(header + at, sizeof header - at, "}");
        source_put_safetensors(&fs, "m/model.safetensors", header, "abcd", 4);
        if (elm_source_open(&fs.platform, SOURCE_FOLDER, true, &s, &err) != ELM_OK)
            fail_msg("%s", err.message);
        const elm_checkpoint *ck = elm_source_checkpoint(&s);
        assert_true(elm_json_is(elm_json_find(s.config, "model_type"), "gemma3_text"));
        assert_int_equal(s.n_eos, 2);
        assert_int_equal(s.bos_id, 2);
        assert_int_equal(ck->n_tensors, 2);
        assert_int_equal(s.n_other_tensors, 2);
        assert_non_null(elm_checkpoint_find(ck, "model.norm.weight"));
        const elm_source_tensor *head = elm_checkpoint_find(ck, "lm_head.weight");
        float out;
        assert_non_null(head);
        assert_int_equal(elm_checkpoint_read_rows(ck, head, 0, 1, &out, NULL), ELM_OK);
        assert_true(out == 'b');
        elm_source_close(&s);
    }
    /* Two tensors that become one name. */
    source_put_safetensors(
        &fs, "m/model.safetensors",
        "{\"model.norm\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
        "\"model.language_model.norm\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
        "ab", 2);
    assert_refused(true, ELM_MALFORMED, "'model.norm' is there twice");
}

static void every_failing_allocation(void **state) {
    (void)state;
    bool opened = false;
    source_put_text(&fs, "m/tokenizer_config.json",
                    "{\"bos_token\":\"<s>\",\"chat_template\":\"one\"}");
    for (size_t limit = 64; !opened; limit += 512) {
        elm_source s;
        elm_capped_allocator cap;
        elm_capped_allocator_init(&cap, elm_allocator_default(), limit);
        fs.platform.alloc = &cap.interface;
        elm_status status = elm_source_open(&fs.platform, SOURCE_FOLDER, false, &s, NULL);
        opened = status == ELM_OK;
        if (!opened) assert_int_equal(status, ELM_OUT_OF_MEMORY);
        elm_source_close(&s);
        assert_int_equal(cap.live_bytes, 0);
    }
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, begin_folder, end)
    const struct CMUnitTest tests[] = {
        T(optional_files_may_be_missing),
        T(generation_config_wins),
        T(special_tokens),
        T(the_template_that_wins),
        T(malformed_files_are_named),
        T(too_many_end_tokens),
        T(missing_required_files),
        T(the_text_model_of_a_multimodal_folder),
        T(every_failing_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
