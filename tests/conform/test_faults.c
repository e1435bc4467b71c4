/* Opening and running a converted model while memory runs out at any call, and while its bytes are
 * damaged: an error that says so, nothing leaked, and the next call works. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "convert/conversion.h"
#include "edge_llm.h"
#include "nth_alloc.h"
#include "runtime/model.h"
#include "soak.h"
#include "source_files.h"

#define PATH "m.elm"

static fault_io fs;

static int convert(void **state) {
    gguf_maker m;
    elm_error err = {.message = ""};
    const elm_convert_options o = {.struct_size = sizeof o, .n_threads = 1};
    (void)state;
    source_files_init(&fs);
    gguf_tiny(&m, "llama");
    gguf_end(&m, &fs, "s.gguf");
    if (elm_convert_on(&fs.platform, "s.gguf", PATH, &o, NULL, &err) != ELM_OK)
        fail_msg("%s", err.message);
    return 0;
}

static int clean(void **state) {
    (void)state;
    fault_io_free(&fs);
    return 0;
}

/* Open, tokenise, prefill, decode, go back. */
static elm_status run(const elm_platform *platform, uint64_t *n_decode, nth_alloc *nth,
                      elm_error *err) {
    static const int32_t prompt[] = {1, 3, 4, 3, 3};
    const elm_model_options mo = {.struct_size = sizeof mo, .n_threads = 1, .backends = "cpu"};
    const elm_session_options so = {.struct_size = sizeof so, .n_context = 32};
    const elm_model_hooks hooks = {.platform = platform};
    elm_model *model = NULL;
    elm_session *session = NULL;
    int32_t ids[32], next = 4;
    size_t n_ids = 0;
    elm_status status = elm_model_open_with(&model, PATH, &mo, &hooks, err);
    if (status == ELM_OK) status = elm_tokenize(model, "abab", 4, true, false, ids, 32, &n_ids, err);
    if (status == ELM_OK) status = elm_session_create(model, &so, &session, err);
    if (status == ELM_OK) status = elm_session_append(session, prompt, 5, err);
    uint64_t before = nth ? atomic_load(&nth->n) : 0;
    for (int i = 0; i < 4 && status == ELM_OK; i++)
        status = elm_session_append(session, &next, 1, err);
    if (n_decode && nth) *n_decode = atomic_load(&nth->n) - before;
    if (status == ELM_OK) status = elm_session_rewind(session, 3, err);
    elm_session_free(session);
    elm_model_close(model);
    return status;
}

static void survives_every_failed_allocation(void **state) {
    uint64_t n_decode = 1;
    (void)state;
    for (uint64_t at = 1;; at += soak(1, 2)) {
        nth_alloc nth;
        elm_error err = {.message = ""};
        nth_alloc_init(&nth, at);
        elm_platform p = fs.platform;
        p.alloc = &nth.interface;
        elm_status status = run(&p, &n_decode, &nth, &err);
        assert_int_equal(nth.live_bytes, 0);
        assert_int_equal(fs.n_open, 0);
        if (status != ELM_OK) {
            if (status != ELM_OUT_OF_MEMORY) fail_msg("call %u: %s", (unsigned)at, err.message);
            assert_true(err.message[0] != 0);
        }
        if (atomic_load(&nth.n) < at) {
            assert_int_equal(status, ELM_OK);
            break;
        }
    }
    assert_int_equal(n_decode, 0); /* decode allocates nothing */
}

/* I2: whatever byte of the file is damaged, running it says so before a damaged byte is used. */
static void finds_damage_before_it_is_used(void **state) {
    size_t size;
    uint64_t seed = 3;
    uint32_t n_header = 0;
    uint8_t *file = fault_io_get(&fs, PATH, &size);
    elm_container c;
    (void)state;
    assert_int_equal(elm_container_open(&fs.platform, PATH, &c, NULL), ELM_OK);
    for (uint32_t round = 0; round < soak(20000, 600); round++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        const elm_section *s = &c.sections[(seed >> 40) % c.n_sections];
        if (s->size == 0 || s->type == ELM_SECTION_QUANT) continue;
        uint8_t *p = file + s->offset + (seed >> 20) % s->size, was = *p;
        *p ^= (uint8_t)(1u << (seed >> 13 & 7));
        elm_error err = {.message = ""};
        assert_int_equal(run(&fs.platform, NULL, NULL, &err), ELM_MALFORMED);
        if (!strstr(err.message, elm_section_text(s->type)) || !strstr(err.message, "chunk"))
            fail_msg("section %s: %s", elm_section_text(s->type), err.message);
        n_header++;
        *p = was;
    }
    elm_container_close(&c);
    assert_true(n_header > soak(10000, 300));
    assert_int_equal(run(&fs.platform, NULL, NULL, NULL), ELM_OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(survives_every_failed_allocation),
        cmocka_unit_test(finds_damage_before_it_is_used),
    };
    return cmocka_run_group_tests(tests, convert, clean);
}
