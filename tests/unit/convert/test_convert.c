/* test_convert.c - a folder to a file and back: the same bytes every time, the error that is stored
 * is the error that is there, and everything wrong with the weights is refused by name with nothing
 * left behind. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "base/json.h"
#include "base/platform.h"
#include "edge_llm_convert.h"
#include "elm/container.h"
#include "ir/p16.h"
#include "tiny_folder.h"

typedef struct fixture {
    tiny_folder folder;
    elm_convert_options options;
    elm_error err;
} fixture;

static int setup(void **state) {
    fixture *f = calloc(1, sizeof *f);
    folder_init(&f->folder, 7);
    f->options.struct_size = sizeof f->options;
    f->options.n_threads = 2;
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    folder_free(&f->folder);
    free(f);
    return 0;
}

static elm_status convert_to(fixture *f, const char *path) {
    folder_write(&f->folder);
    return elm_convert(f->folder.path, path, &f->options, NULL, &f->err);
}

static void must_convert(fixture *f) {
    if (convert_to(f, f->folder.elm) != ELM_OK) fail_msg("%s", f->err.message);
}

/* Refused with `status`, `word` in the message, no file and no part of one. */
static void refused(fixture *f, elm_status status, const char *word) {
    char part[FOLDER_PATH_BYTES + 32];
    snprintf(part, sizeof part, "%s.part", f->folder.elm);
    elm_status got = convert_to(f, f->folder.elm);
    if (got != status || !strstr(f->err.message, word))
        fail_msg("status %d, message '%s'; expected %d and '%s'", (int)got,
                 got ? f->err.message : "", (int)status, word);
    assert_int_not_equal(access(f->folder.elm, F_OK), 0);
    assert_int_not_equal(access(part, F_OK), 0);
}

static uint8_t *slurp(const char *path, size_t *n) {
    FILE *in = fopen(path, "rb");
    assert_non_null(in);
    uint8_t *data = malloc(1 << 24);
    *n = fread(data, 1, 1 << 24, in);
    fclose(in);
    return data;
}

static void test_the_same_bytes_for_any_threads(void **state) {
    fixture *f = *state;
    char again[FOLDER_PATH_BYTES + 32];
    snprintf(again, sizeof again, "%s/again.elm", f->folder.path);
    for (int q = ELM_QUANT_F32; q <= ELM_QUANT_KEEP; q++) {
        size_t n, m;
        f->options.quant = (elm_quant)q;
        f->options.zero_point = q == ELM_QUANT_INT4;
        f->options.n_threads = 1;
        must_convert(f);
        f->options.n_threads = 4;
        assert_int_equal(convert_to(f, again), ELM_OK);
        uint8_t *a = slurp(f->folder.elm, &n), *b = slurp(again, &m);
        assert_int_equal(n, m);
        assert_memory_equal(a, b, n);
        free(a);
        free(b);
    }
}

static const elm_json *find_record(const elm_json *list, const char *name) {
    for (uint32_t i = 0; i < list->count; i++)
        if (elm_json_is(elm_json_get(&list->as.items[i], "name"), name)) return &list->as.items[i];
    return NULL;
}

/* sqrt(sum (w - w')^2 / sum w^2) of one stored matrix against its source. */
static void check_error(const elm_tensor *t, const folder_tensor *source, const elm_json *record,
                        double bar) {
    double e2 = 0, w2 = 0, most = 0, rel = -1, max_abs = -1;
    for (uint32_t r = 0; r < source->rows; r++)
        for (uint32_t k = 0; k < source->cols; k++) {
            double w = (double)source->values[(size_t)r * source->cols + k],
                   d = w - (double)elm_tensor_at(t, r, k);
            e2 += d * d;
            w2 += w * w;
            most = fmax(most, fabs(d));
        }
    double want = sqrt(e2 / w2);
    elm_error err;
    assert_int_equal(elm_json_double(record, "rel_rms", "quant", &rel, &err), ELM_OK);
    assert_int_equal(elm_json_double(record, "max_abs", "quant", &max_abs, &err), ELM_OK);
    if (fabs(rel - want) > 1e-6 * want)
        fail_msg("%s: stored error %.9g, measured %.9g", t->name, rel, want);
    assert_true(fabs(max_abs - most) <= 1e-6 * most);
    if (!(want < bar)) fail_msg("%s: error %.4g is not below %.4g", t->name, want, bar);
}

/* `bar`: what uniform weights may lose. Steps of amax/127 or of about amax/8: step / sqrt(12) /
 * (amax / sqrt(3)). */
static void check_errors(fixture *f, elm_quant quant, bool zero_point, double bar) {
    elm_container c;
    elm_arena arena;
    elm_tensor *tensors;
    const elm_json *record;
    uint32_t n;
    f->options.quant = f->options.embed = quant;
    f->options.group = f->options.embed_group = 32;
    f->options.zero_point = zero_point;
    must_convert(f);
    elm_arena_init(&arena, elm_allocator_default(), 0);
    assert_int_equal(elm_container_open(elm_platform_default(), f->folder.elm, &c, &f->err),
                     ELM_OK);
    assert_int_equal(elm_container_tensors(&c, &tensors, &n, &f->err), ELM_OK);
    elm_span section;
    assert_int_equal(elm_container_load(&c, ELM_SECTION_QUANT, &section, &f->err), ELM_OK);
    assert_int_equal(elm_json_parse(section, "quant", NULL, &arena, &record, &f->err), ELM_OK);
    const elm_json *list = elm_json_get(record, "tensors");
    assert_non_null(list);
    uint32_t checked = 0;
    for (uint32_t i = 0; i < n; i++) {
        const folder_tensor *source = folder_find(&f->folder, tensors[i].name);
        if (!source || source->cols == 0) continue;
        check_error(&tensors[i], source, find_record(list, tensors[i].name), bar);
        checked++;
    }
    assert_true(checked >= 2);
    elm_container_close(&c);
    elm_arena_free(&arena);
}

static void test_the_stored_error_is_the_real_one(void **state) {
    check_errors(*state, ELM_QUANT_INT8, false, 1.0 / 127 / 2);
    check_errors(*state, ELM_QUANT_INT4, false, 1.0 / 8 / 2);
    check_errors(*state, ELM_QUANT_INT4, true, 1.0 / 7.5 / 2);
    check_errors(*state, ELM_QUANT_BF16, false, 1.0 / 256);
}

static void test_missing_extra_and_misshaped(void **state) {
    fixture *f = *state;
    folder_drop(&f->folder, "model.layers.1.mlp.up_proj.weight");
    refused(f, ELM_MALFORMED, "model.layers.1.mlp.up_proj.weight");
    folder_add(&f->folder, "model.layers.1.mlp.up_proj.weight", 112, 72, 0.0f, 0.2f);
    folder_add(&f->folder, "model.layers.1.mlp.extra.weight", 4, 4, 0.0f, 1.0f);
    refused(f, ELM_MALFORMED, "model.layers.1.mlp.extra.weight");
    folder_drop(&f->folder, "model.layers.1.mlp.extra.weight");
    folder_find(&f->folder, "model.layers.0.self_attn.k_proj.weight")->rows = 23;
    refused(f, ELM_MALFORMED, "model.layers.0.self_attn.k_proj.weight");
    folder_find(&f->folder, "model.layers.0.self_attn.k_proj.weight")->rows = 24;
    must_convert(f);
}

static void test_weights_that_are_no_numbers(void **state) {
    fixture *f = *state;
    static const char *const names[] = {"lm_head.weight", "model.layers.1.self_attn.v_proj.weight",
                                        "model.norm.weight", "model.embed_tokens.weight"};
    static const struct {
        float value;
        const char *word;
    } values[] = {{NAN, "NaN"}, {INFINITY, "infinite"}, {-INFINITY, "infinite"}};
    for (int q = ELM_QUANT_F32; q <= ELM_QUANT_KEEP; q++)
        for (size_t n = 0; n < 4; n++)
            for (size_t v = 0; v < 3; v++) {
                folder_tensor *t = folder_find(&f->folder, names[n]);
                size_t last = (size_t)t->rows * (t->cols ? t->cols : 1) - 1;
                float kept = t->values[last];
                f->options.quant = (elm_quant)q;
                t->values[last] = values[v].value;
                refused(f, ELM_MALFORMED, values[v].word);
                t->values[last] = kept;
            }
}

/* Finite, and past 65504: f16 cannot hold it, bf16 and scaled integers can. */
static void test_values_that_f16_cannot_hold(void **state) {
    fixture *f = *state;
    folder_find(&f->folder, "lm_head.weight")->values[5] = 70000.0f;
    f->options.quant = ELM_QUANT_F16;
    refused(f, ELM_MALFORMED, "lm_head.weight");
    assert_non_null(strstr(f->err.message, "column 5"));
    assert_non_null(strstr(f->err.message, "f16"));
    static const elm_quant wide[] = {ELM_QUANT_BF16, ELM_QUANT_F32, ELM_QUANT_INT8, ELM_QUANT_INT4};
    for (size_t i = 0; i < 4; i++) {
        f->options.quant = wide[i];
        must_convert(f);
    }
}

static bool stop_at_once(void *context) {
    return ++*(int *)context > 3;
}

static void test_a_conversion_can_be_stopped(void **state) {
    fixture *f = *state;
    int asked = 0;
    f->options.should_stop = stop_at_once;
    f->options.context = &asked;
    refused(f, ELM_CANCELLED, "interrupted");
    assert_int_equal(asked, 4);
}

/* With every amount of memory it either works or fails cleanly. */
static void test_every_memory_limit(void **state) {
    fixture *f = *state;
    elm_capped_allocator c;
    bool done = false;
    for (size_t limit = 4096; !done; limit = limit * 5 / 4) {
        assert_true(limit < (size_t)1 << 30);
        elm_capped_allocator_init(&c, elm_allocator_default(), limit);
        f->options.allocator = &c.interface;
        elm_status status = convert_to(f, f->folder.elm);
        done = status == ELM_OK;
        if (!done && status != ELM_OUT_OF_MEMORY && status != ELM_LIMIT)
            fail_msg("limit %zu: status %d: %s", limit, (int)status, f->err.message);
        assert_int_equal(access(f->folder.elm, F_OK), done ? 0 : -1);
        assert_int_equal(atomic_load(&c.live_bytes), 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_the_same_bytes_for_any_threads, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_stored_error_is_the_real_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_missing_extra_and_misshaped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_weights_that_are_no_numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_values_that_f16_cannot_hold, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_conversion_can_be_stopped, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_memory_limit, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
