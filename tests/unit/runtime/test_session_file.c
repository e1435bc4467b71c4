/* Sessions on disk: what is loaded goes on bit for bit, whatever else is refused, nothing half-made
 * stays. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/hash.h"
#include "runtime/session_file.h"
#include "session_model.h"

enum { N_PROMPT = 300, N_NEW = 30 };
#define FILE_NAME "s.bin"

static elm_session *session_of(elm_model *m, elm_session_options options) {
    elm_session *s = NULL;
    elm_error err = {0};
    options.struct_size = sizeof options;
    if (options.n_context == 0) options.n_context = 600;
    if (elm_session_create(m, &options, &s, &err) != ELM_OK) fail_msg("%s", err.message);
    return s;
}

static void append(elm_session *s, uint32_t n, uint32_t seed) {
    int32_t ids[N_PROMPT];
    elm_error err;
    tm_prompt(ids, n, seed);
    if (elm_session_append(s, ids, n, &err) != ELM_OK) fail_msg("%s", err.message);
}

static void generate(elm_session *s, uint32_t n) {
    elm_error err;
    elm_generate_options g = {.struct_size = sizeof g, .max_tokens = n, .ignore_eos = true};
    if (elm_session_generate(s, &g, NULL, &err) != ELM_OK) fail_msg("%s", err.message);
}

static void save(elm_session *s, const char *path) {
    elm_error err;
    if (elm_session_save(s, path, &err) != ELM_OK) fail_msg("%s", err.message);
}

static elm_session *load(elm_model *m, elm_session_options options) {
    elm_session *s = NULL;
    elm_error err;
    options.struct_size = sizeof options;
    if (elm_session_load(m, FILE_NAME, &options, &s, &err) != ELM_OK) fail_msg("%s", err.message);
    return s;
}

static void check_equal(const elm_session *a, const elm_session *b) {
    assert_int_equal(a->n_tokens, b->n_tokens);
    assert_memory_equal(a->tokens, b->tokens, a->n_tokens * sizeof *a->tokens);
    const float *x = elm_session_logits(a), *y = elm_session_logits(b);
    assert_int_equal(x == NULL, y == NULL);
    if (x) assert_memory_equal(x, y, TM_VOCAB * sizeof *x);
}

/* Both go on: the rest of an answer, another turn, back into the last one. */
static void check_goes_on(elm_session *a, elm_session *b) {
    check_equal(a, b);
    generate(a, N_NEW);
    generate(b, N_NEW);
    check_equal(a, b);
    append(a, 40, 5);
    append(b, 40, 5);
    check_equal(a, b);
    uint32_t n = a->n_tokens - 20;
    assert_int_equal(elm_session_rewind(a, n, NULL), ELM_OK);
    assert_int_equal(elm_session_rewind(b, n, NULL), ELM_OK);
    generate(a, N_NEW);
    generate(b, N_NEW);
    check_equal(a, b);
}

static void loaded_sessions_go_on_bit_for_bit(void **state) {
    static const char *const kinds[] = {"FF", "WF", "GF", "GW"};
    (void)state;
    for (int k = 0; k < 4; k++) {
        open_model o;
        session_model_open(&o, kinds[k]);
        for (uint32_t i = 0; i < 12; i++) {
            elm_session_options so = {.kv = (elm_kv_type)(1 + i % 3)};
            so.draft = i % 2 ? ELM_DRAFT_LOOKUP : ELM_DRAFT_NONE;
            if (i >= 6)
                so.sampling = (elm_sampling){.struct_size = sizeof(elm_sampling),
                                             .temperature = 1.0f,
                                             .top_p = 0.9f,
                                             .repetition_penalty = 1.2f,
                                             .frequency_penalty = 0.2f,
                                             .seed = i};
            elm_session *s = session_of(o.model, so);
            if (i != 3) append(s, i % 4 == 2 ? 5 : N_PROMPT, i);
            if (i % 3 && i != 3) generate(s, 25);
            save(s, FILE_NAME);
            elm_session_options how = {.draft = so.draft, .n_context = i % 2 ? 0 : 512};
            elm_session *l = load(o.model, how);
            if (i == 3) {
                append(s, 30, 1);
                append(l, 30, 1);
            }
            check_goes_on(s, l);
            elm_session_free(l);
            elm_session_free(s);
        }
        session_model_close(&o);
    }
}

/* Saving twice gives the same bytes: nothing of the heap gets into the file. */
static void bytes_are_those_of_the_session(void **state) {
    open_model o;
    size_t n, n2;
    (void)state;
    session_model_open(&o, "GW");
    for (int i = 0; i < 2; i++) {
        elm_session *s = session_of(o.model, (elm_session_options){0});
        append(s, 70, 1);
        save(s, i ? "b.bin" : "a.bin");
        elm_session_free(s);
    }
    const uint8_t *a = fault_io_get(&o.fs, "a.bin", &n), *b = fault_io_get(&o.fs, "b.bin", &n2);
    assert_int_equal(n, n2);
    assert_memory_equal(a, b, n);
    session_model_close(&o);
}

static bool one_word(void *context, const char *text, size_t n) {
    (void)context, (void)text, (void)n;
    return false;
}

static void conversation_is_kept(void **state) {
    open_model o;
    elm_error err;
    (void)state;
    session_model_open(&o, "FF");
    elm_session *s = session_of(o.model, (elm_session_options){.system = "be brief"});
    for (int i = 0; i < 3; i++) {
        elm_status status = elm_session_chat(s, i == 2 ? "three" : "hello", one_word, NULL, &err);
        if (status != ELM_OK) fail_msg("%s", err.message);
        elm_session *l;
        save(s, FILE_NAME);
        l = load(o.model, (elm_session_options){0});
        assert_int_equal(l->conversation.size, s->conversation.size);
        assert_memory_equal(l->conversation.data, s->conversation.data, s->conversation.size);
        elm_session_free(s);
        s = l;
    }
    elm_buf_u8(&s->conversation, 0);
    assert_non_null(strstr((const char *)s->conversation.data, "be brief"));
    assert_non_null(strstr((const char *)s->conversation.data, "three"));
    elm_session_free(s);
    session_model_close(&o);
}

/* ---- what is refused ---- */

static elm_status try_load(open_model *o, elm_session_options options, elm_error *err) {
    elm_session *s = NULL;
    options.struct_size = sizeof options;
    size_t before = atomic_load(&o->model->capped.live_bytes);
    elm_status status = elm_session_load(o->model, FILE_NAME, &options, &s, err);
    if (status == ELM_OK) {
        elm_session_free(s);
    } else {
        assert_null(s);
    }
    assert_int_equal(atomic_load(&o->model->capped.live_bytes), before);
    return status;
}

/* A model with a session of it in FILE_NAME; returns the file's bytes and their number. */
static uint8_t *saved(open_model *o, const char *mixers, size_t *n) {
    session_model_open(o, mixers);
    elm_session *s = session_of(o->model, (elm_session_options){.n_context = 200});
    append(s, 100, 1);
    save(s, FILE_NAME);
    elm_session_free(s);
    const uint8_t *p = fault_io_get(&o->fs, FILE_NAME, n);
    uint8_t *copy = malloc(*n);
    assert_non_null(copy);
    memcpy(copy, p, *n);
    return copy;
}

static void every_flip_is_found(void **state) {
    open_model o;
    size_t n;
    elm_error err;
    (void)state;
    uint8_t *good = saved(&o, "GW", &n);
    for (size_t at = 0; at < n; at += at < ELM_SESSION_HEADER_BYTES ? 1 : 211) {
        good[at] ^= 16;
        fault_io_put(&o.fs, FILE_NAME, good, n);
        assert_int_not_equal(try_load(&o, (elm_session_options){0}, &err), ELM_OK);
        good[at] ^= 16;
    }
    for (size_t size = 0; size < n; size += size < 300 ? 7 : 997) {
        fault_io_put(&o.fs, FILE_NAME, good, size);
        assert_int_equal(try_load(&o, (elm_session_options){0}, &err), ELM_MALFORMED);
    }
    fault_io_put(&o.fs, FILE_NAME, good, n);
    assert_int_equal(try_load(&o, (elm_session_options){0}, &err), ELM_OK);
    free(good);
    session_model_close(&o);
}

static void put_u32(uint8_t *at, uint32_t v) {
    memcpy(at, &v, sizeof v);
}

/* Numbers that lie, under checksums that hold. Offsets of docs/sessions.md. */
static void lies_are_refused(void **state) {
    static const struct {
        size_t offset;
        uint32_t value;
        elm_status status;
    } cases[] = {
        {8, 2, ELM_UNSUPPORTED},       /* version */
        {12, 0, ELM_INVALID_ARGUMENT}, /* model */
        {108, 99, ELM_MALFORMED},      /* kv */
        {112, 0, ELM_MALFORMED},       /* n_context */
        {112, UINT32_MAX, ELM_MALFORMED},
        {116, 201, ELM_MALFORMED}, /* n_tokens */
        {116, 99, ELM_MALFORMED},
        {120, 101, ELM_MALFORMED}, /* n_run */
        {120, 99, ELM_MALFORMED},
        {124, 2, ELM_MALFORMED},                 /* has_logits */
        {128, 2, ELM_MALFORMED},                 /* with_draft */
        {132, 3, ELM_MALFORMED},                 /* n_snapshots */
        {136, UINT32_MAX, ELM_MALFORMED},        /* conversation_bytes */
        {148, 0x7fc00000, ELM_INVALID_ARGUMENT}, /* temperature: NaN */
        {112, 1 << 24, ELM_OK},                  /* a context beyond the model's is cut to that */
    };
    open_model o;
    size_t n;
    elm_error err;
    (void)state;
    uint8_t *good = saved(&o, "GF", &n), *bad = malloc(n);
    assert_non_null(bad);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memcpy(bad, good, n);
        put_u32(bad + cases[i].offset, cases[i].value);
        put_u32(bad + 252, elm_crc32c(0, bad, 252));
        fault_io_put(&o.fs, FILE_NAME, bad, n);
        elm_status status = try_load(&o, (elm_session_options){0}, &err);
        if (status != cases[i].status) fail_msg("case %zu: %d %s", i, status, err.message);
    }
    free(bad);
    free(good);
    session_model_close(&o);
}

/* The same for the body: a token, a snapshot's position. */
static void lies_in_the_body_are_refused(void **state) {
    open_model o;
    size_t n;
    elm_error err;
    (void)state;
    uint8_t *good = saved(&o, "GF", &n);
    uint64_t body = n - ELM_SESSION_HEADER_BYTES;
    assert_true(body < ELM_SESSION_CHUNK_BYTES); /* one chunk */
    uint8_t *first = good + ELM_SESSION_HEADER_BYTES;
    for (int i = 0; i < 2; i++) {
        uint32_t before;
        elm_state_config c = {o.model, ELM_F32, 200, false};
        size_t shot = elm_mark_bytes(&c) + TM_VOCAB * sizeof(float);
        uint8_t *at = i ? good + n - 4 - shot - 4 : first + 4 * 7;
        memcpy(&before, at, 4);
        if (i) assert_int_equal(before, 100); /* the snapshot at the end of the turn */
        put_u32(at, i ? 101 : TM_VOCAB);
        put_u32(good + n - 4, elm_chunk_crc(0, first, (size_t)body - 4));
        fault_io_put(&o.fs, FILE_NAME, good, n);
        assert_int_equal(try_load(&o, (elm_session_options){0}, &err), ELM_MALFORMED);
        assert_non_null(strstr(err.message, i ? "position 101" : "token 7"));
        put_u32(at, before);
    }
    free(good);
    session_model_close(&o);
}

static void other_models_and_options_are_refused(void **state) {
    open_model o, other;
    size_t n;
    elm_error err;
    (void)state;
    uint8_t *good = saved(&o, "FF", &n);
    session_model_open(&other, "FFF");
    fault_io_put(&other.fs, FILE_NAME, good, n);
    assert_int_equal(try_load(&other, (elm_session_options){0}, &err), ELM_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "tiny FF"));
    assert_int_equal(try_load(&o, (elm_session_options){.kv = ELM_KV_I8}, &err),
                     ELM_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "f32"));
    assert_int_equal(try_load(&o, (elm_session_options){.n_context = 99}, &err), ELM_CONTEXT_FULL);
    assert_int_equal(try_load(&o, (elm_session_options){.n_context = 100}, &err), ELM_OK);
    free(good);
    session_model_close(&other);
    session_model_close(&o);
}

/* ---- faults ---- */

/* Whichever call fails, the file under the name is the old one or the new one, whole. */
static void failed_saves_leave_the_old_file(void **state) {
    open_model o;
    size_t n_old, n;
    elm_error err;
    (void)state;
    uint8_t *old = saved(&o, "GF", &n_old);
    elm_session *s = session_of(o.model, (elm_session_options){0});
    append(s, 30, 9);
    for (uint32_t at = 1; at < 100; at++) {
        fault_io_put(&o.fs, FILE_NAME, old, n_old);
        fault_io_plan(&o.fs, FAULT_ANY, at, ENOSPC, false);
        elm_status status = elm_session_save(s, FILE_NAME, &err);
        bool planned = o.fs.counts[FAULT_ANY] >= at;
        fault_io_plan(&o.fs, FAULT_NONE, 0, 0, false);
        if (!planned) {
            assert_int_equal(status, ELM_OK);
            break;
        }
        const uint8_t *now = fault_io_get(&o.fs, FILE_NAME, &n);
        if (n == n_old) assert_memory_equal(now, old, n);
        assert_int_equal(try_load(&o, (elm_session_options){0}, &err), ELM_OK);
        if (at < 3) assert_int_not_equal(status, ELM_OK);
        assert_null(fault_find(&o.fs, FILE_NAME ".part"));
        assert_true(at < 99);
    }
    elm_session_free(s);
    free(old);
    session_model_close(&o);
}

/* Reads that fail, memory that is not there: a status, nothing leaks. */
static void failed_loads_leave_nothing(void **state) {
    open_model o;
    size_t n;
    elm_error err;
    (void)state;
    uint8_t *good = saved(&o, "GF", &n);
    for (uint32_t at = 1; at < 20; at++) {
        fault_io_plan(&o.fs, FAULT_ANY, at, EIO, false);
        elm_status status = try_load(&o, (elm_session_options){0}, &err);
        if (o.fs.counts[FAULT_ANY] >= at) assert_int_not_equal(status, ELM_OK);
        fault_io_plan(&o.fs, FAULT_NONE, 0, 0, false);
    }
    size_t limit = atomic_load(&o.model->capped.live_bytes);
    uint32_t failed = 0;
    for (size_t more = 0; more < 4 << 20; more += 1 << 14) {
        o.model->capped.limit_bytes = limit + more;
        elm_status status = try_load(&o, (elm_session_options){0}, &err);
        assert_true(status == ELM_OK || status == ELM_OUT_OF_MEMORY);
        failed += status != ELM_OK;
    }
    assert_true(failed > 5);
    assert_int_equal(try_load(&o, (elm_session_options){0}, &err), ELM_OK);
    free(good);
    session_model_close(&o);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loaded_sessions_go_on_bit_for_bit),
        cmocka_unit_test(bytes_are_those_of_the_session),
        cmocka_unit_test(conversation_is_kept),
        cmocka_unit_test(every_flip_is_found),
        cmocka_unit_test(lies_are_refused),
        cmocka_unit_test(lies_in_the_body_are_refused),
        cmocka_unit_test(other_models_and_options_are_refused),
        cmocka_unit_test(failed_saves_leave_the_old_file),
        cmocka_unit_test(failed_loads_leave_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
