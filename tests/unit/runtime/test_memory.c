/* Memory: decoding takes none, every allocation may fail, the cap is hard. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "session_model.h"

/* The C library's, which counts and fails on demand. */
typedef struct failing {
    elm_allocator interface;
    uint32_t n, fail_at; /* allocations and growths; 0 = none fails */
    size_t live;
} failing;

static void *failing_resize(void *self, void *block, size_t old_bytes, size_t new_bytes) {
    failing *f = self;
    const elm_allocator *a = elm_allocator_default();
    if (new_bytes > old_bytes && ++f->n == f->fail_at) return NULL;
    void *p = a->resize(a->self, block, old_bytes, new_bytes);
    if (p || new_bytes == 0) f->live += new_bytes - old_bytes;
    return p;
}

static void failing_init(failing *f) {
    *f = (failing){.interface = {f, failing_resize}};
}

static void decoding_allocates_nothing(void **state) {
    static const char *const kinds[] = {"FF", "WF", "GF+"};
    static const elm_draft_kind drafts[] = {ELM_DRAFT_NONE, ELM_DRAFT_LOOKUP, ELM_DRAFT_MODEL,
                                            ELM_DRAFT_MTP};
    int32_t ids[100];
    const char *stops[] = {"no such text, and a long one at that"};
    (void)state;
    for (int k = 0; k < 3; k++) {
        for (int d = 0; d < (k == 2 ? 4 : 3); d++) {
            open_model o;
            failing f;
            elm_error err;
            failing_init(&f);
            session_model_open_with(&o, kinds[k], (elm_model_options){.allocator = &f.interface});
            elm_session_options so = {.struct_size = sizeof so,
                                      .n_context = 512,
                                      .draft = drafts[d],
                                      .draft_model = o.model};
            elm_session *s = NULL;
            assert_int_equal(elm_session_create(o.model, &so, &s, &err), ELM_OK);
            tm_prompt(ids, 100, 1);
            assert_int_equal(elm_session_append(s, ids, 100, &err), ELM_OK);
            elm_generate_options g = {.struct_size = sizeof g,
                                      .max_tokens = 100,
                                      .ignore_eos = true,
                                      .stop_strings = stops,
                                      .n_stop_strings = 1};
            elm_generate_result r;
            assert_int_equal(elm_session_generate(s, &g, &r, &err), ELM_OK);
            assert_int_equal(r.n_tokens, 100);
            uint32_t before = f.n; /* the first one made room for the stop string */
            assert_int_equal(elm_session_rewind(s, 50, &err), ELM_OK);
            assert_int_equal(elm_session_sync(s, ids, 90, NULL, &err), ELM_OK);
            assert_int_equal(elm_session_generate(s, &g, &r, &err), ELM_OK);
            assert_int_equal(f.n, before);
            elm_session_free(s);
            session_model_close(&o);
            assert_int_equal(f.live, 0);
        }
    }
}

/* A whole life; true when nothing failed. */
static bool live(fault_io *fs, failing *f, size_t limit, elm_error *err) {
    int32_t ids[90];
    elm_model *m = NULL;
    elm_session *s = NULL, *l = NULL;
    elm_model_options mo = {.allocator = &f->interface,
                            .n_threads = 2,
                            .prefix_cache_bytes = 1 << 20,
                            .memory_limit_bytes = limit};
    elm_generate_options g = {.struct_size = sizeof g, .max_tokens = 10, .ignore_eos = true};
    tm_prompt(ids, 90, 1);
    elm_status status = session_model_open_file(fs, "m.elm", mo, &m, err);
    elm_session_options so = {.struct_size = sizeof so, .n_context = 256, .draft = ELM_DRAFT_MTP};
    if (status == ELM_OK) status = elm_session_create(m, &so, &s, err);
    if (status == ELM_OK) status = elm_session_append(s, ids, 90, err);
    if (status == ELM_OK) status = elm_session_generate(s, &g, NULL, err);
    if (status == ELM_OK) status = elm_session_set_conversation(s, "{\"role\": \"a\"}", 13, err);
    if (status == ELM_OK) status = elm_session_save(s, "s.bin", err);
    if (status == ELM_OK) status = elm_session_load(m, "s.bin", &so, &l, err);
    if (status == ELM_OK) status = elm_session_generate(l, &g, NULL, err);
    if (status == ELM_OK) status = elm_session_generate(s, &g, NULL, err);
    if (status == ELM_OK)
        assert_memory_equal(elm_session_tokens(s), elm_session_tokens(l),
                            elm_session_length(s) * sizeof(int32_t));
    if (status != ELM_OK) assert_int_equal(status, ELM_OUT_OF_MEMORY);
    elm_session_free(l);
    elm_session_free(s);
    elm_model_close(m);
    assert_int_equal(f->live, 0);
    assert_int_equal(fs->n_open, 0);
    return status == ELM_OK;
}

static void write_model(fault_io *fs) {
    session_model m = {.mixers = "GF", .seed = 7, .draft = true};
    fault_io_init(fs);
    session_model_write(&m, &fs->platform, "m.elm");
}

static void every_allocation_may_fail(void **state) {
    fault_io fs;
    failing f;
    elm_error err;
    uint32_t n_failed = 0;
    (void)state;
    write_model(&fs);
    for (uint32_t at = 1;; at++) {
        failing_init(&f);
        f.fail_at = at;
        if (!live(&fs, &f, 0, &err)) n_failed++;
        if (f.n < at) break;
    }
    assert_true(n_failed > 40);
    fault_io_free(&fs);
}

static void the_cap_is_hard(void **state) {
    fault_io fs;
    failing f;
    elm_error err;
    uint32_t n_failed = 0;
    (void)state;
    write_model(&fs);
    failing_init(&f);
    for (size_t limit = 1 << 14;; limit += limit / 8) {
        if (live(&fs, &f, limit, &err)) break;
        n_failed++;
        assert_true(limit < (size_t)1 << 30);
    }
    assert_true(n_failed > 5);
    fault_io_free(&fs);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decoding_allocates_nothing),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(the_cap_is_hard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
