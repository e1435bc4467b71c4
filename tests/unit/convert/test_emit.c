/* Converting a tiny GGUF in memory: killed, out of space, out of memory, resumed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "convert/conversion.h"
#include "elm/container.h"
#include "nth_alloc.h"
#include "soak.h"
#include "source_files.h"

#define SOURCE "s.gguf"
#define PATH "m.elm"
#define PART PATH ".part"
#define JOURNAL PART ".journal"

static const char old_file[] = "what was there before";
static uint8_t *whole; /* what an undisturbed conversion gives */
static size_t n_whole;

/* What the caller of convert hears. */
typedef struct heard {
    uint32_t n_tensors, resumed_at;
    uint32_t stop_at; /* cancel at this tensor; 0 = never */
    double needed_mb;
} heard;

static void on_tensor(void *context, const elm_convert_tensor *t) {
    (void)t;
    ((heard *)context)->n_tensors++;
}

static void on_note(void *context, const char *line) {
    heard *h = context;
    (void)sscanf(line, "going on after %u of", &h->resumed_at);
    (void)sscanf(line, "space: %lf MB needed", &h->needed_mb);
}

static bool should_stop(void *context) {
    const heard *h = context;
    return h->stop_at && h->n_tensors >= h->stop_at;
}

static elm_status convert(const elm_platform *p, bool resume, elm_quant quant, heard *h,
                          elm_error *err) {
    elm_convert_options o = {.struct_size = sizeof o,
                             .quant = quant,
                             .n_threads = 1,
                             .on_tensor = on_tensor,
                             .on_note = on_note,
                             .should_stop = should_stop,
                             .context = h,
                             .resume = resume};
    uint32_t stop_at = h->stop_at;
    *h = (heard){.stop_at = stop_at};
    return elm_convert_on(p, SOURCE, PATH, &o, NULL, err);
}

static void put_source(fault_io *fs) {
    gguf_maker m;
    source_files_init(fs);
    gguf_tiny(&m, "llama");
    gguf_end(&m, fs, SOURCE);
    fault_io_put(fs, PATH, old_file, sizeof old_file);
}

static bool exists(fault_io *fs, const char *path) {
    return fault_find(fs, path) != NULL;
}

static bool is_old(fault_io *fs) {
    size_t size;
    const uint8_t *p = fault_io_get(fs, PATH, &size);
    return p && size == sizeof old_file && memcmp(p, old_file, size) == 0;
}

static bool is_whole(fault_io *fs) {
    size_t size;
    const uint8_t *p = fault_io_get(fs, PATH, &size);
    return p && size == n_whole && memcmp(p, whole, size) == 0;
}

static int make_whole(void **state) {
    fault_io fs;
    heard h = {0};
    elm_error err = {0};
    (void)state;
    put_source(&fs);
    if (convert(&fs.platform, false, ELM_QUANT_INT4, &h, &err) != ELM_OK)
        fail_msg("%s", err.message);
    const uint8_t *p = fault_io_get(&fs, PATH, &n_whole);
    whole = malloc(n_whole);
    assert_non_null(whole);
    memcpy(whole, p, n_whole);
    assert_false(exists(&fs, PART));
    assert_false(exists(&fs, JOURNAL));
    assert_int_equal(fs.n_open, 0);
    fault_io_free(&fs);
    return 0;
}

static int free_whole(void **state) {
    (void)state;
    free(whole);
    return 0;
}

static void asks_for_the_space_it_takes(void **state) {
    fault_io fs;
    heard h = {0};
    elm_error err;
    (void)state;
    put_source(&fs);
    assert_int_equal(convert(&fs.platform, false, ELM_QUANT_INT4, &h, NULL), ELM_OK);
    double off = h.needed_mb * 1e6 / (double)n_whole;
    assert_true(off > 0.98 && off < 1.02 + 1e5 / (double)n_whole); /* printed to 0.1 MB */
    fault_io_put(&fs, PATH, old_file, sizeof old_file);
    fs.free_bytes = (int64_t)n_whole / 2;
    assert_int_equal(convert(&fs.platform, false, ELM_QUANT_INT4, &h, &err), ELM_IO);
    assert_non_null(strstr(err.message, "free"));
    assert_true(is_old(&fs));
    assert_false(exists(&fs, PART));
    assert_false(exists(&fs, JOURNAL));
    fault_io_free(&fs);
}

/* The program is gone after call number `at`; the same command with --resume gives the same bytes
 * and makes no finished weight again. */
static void goes_on_after_a_kill_at_every_call(void **state) {
    uint32_t n_resumed = 0, n_points = 0, at = 1;
    (void)state;
    for (;; at += soak(1, 2)) {
        fault_io fs;
        heard killed = {0}, resumed = {0};
        put_source(&fs);
        fault_io_plan(&fs, FAULT_ANY, at, EIO, true);
        elm_status status = convert(&fs.platform, false, ELM_QUANT_INT4, &killed, NULL);
        fault_io_plan(&fs, FAULT_NONE, 0, 0, false);
        assert_true(is_old(&fs) || is_whole(&fs));
        if (status == ELM_OK) assert_true(is_whole(&fs));
        bool left = exists(&fs, PART);
        assert_int_equal(convert(&fs.platform, true, ELM_QUANT_INT4, &resumed, NULL), ELM_OK);
        assert_true(is_whole(&fs));
        assert_false(exists(&fs, PART));
        assert_false(exists(&fs, JOURNAL));
        n_points++;
        if (left) assert_true(resumed.resumed_at + 1 >= killed.n_tensors);
        n_resumed += resumed.resumed_at > 0;
        fault_io_free(&fs);
        if (status == ELM_OK) break;
    }
    assert_true(n_resumed > 20);
    print_message("killed at %u calls, %u times resumed behind a finished weight\n", n_points,
                  n_resumed);
}

/* The same with the power gone: what was not synced is lost, kept or torn. */
static void goes_on_after_a_power_cut(void **state) {
    uint32_t n_cuts = 0;
    (void)state;
    for (int variant = 0; variant < 6; variant++) {
        for (uint32_t at = 1 + (uint32_t)variant;; at += soak(1, 9)) {
            fault_io fs;
            heard h = {0};
            put_source(&fs);
            fault_io_plan(&fs, FAULT_ANY, at, EIO, true);
            elm_status status = convert(&fs.platform, false, ELM_QUANT_INT4, &h, NULL);
            fault_io_power_cut(&fs, (fault_data)(variant / 2), variant % 2 == 1);
            assert_true(is_old(&fs) || is_whole(&fs));
            assert_int_equal(convert(&fs.platform, true, ELM_QUANT_INT4, &h, NULL), ELM_OK);
            assert_true(is_whole(&fs));
            fault_io_free(&fs);
            n_cuts++;
            if (status == ELM_OK) break;
        }
    }
    print_message("power cut %u times\n", n_cuts);
}

static void cleans_up_after_every_error(void **state) {
    static const int errors[] = {ENOSPC, EIO};
    (void)state;
    for (int e = 0; e < 2; e++) {
        for (uint32_t at = 1 + (uint32_t)e;; at += soak(1, 2)) {
            fault_io fs;
            heard h = {0};
            put_source(&fs);
            fs.max_write = 50000;
            fault_io_plan(&fs, FAULT_ANY, at, errors[e], false);
            elm_status status = convert(&fs.platform, false, ELM_QUANT_INT4, &h, NULL);
            uint32_t n_calls = fs.counts[FAULT_ANY];
            bool folder = status != ELM_OK && fs.counts[FAULT_SYNC_FOLDER] > 0;
            fault_io_plan(&fs, FAULT_NONE, 0, 0, false);
            assert_int_equal(fs.n_open, 0);
            assert_true(is_whole(&fs) ? status == ELM_OK || folder || n_calls > at : is_old(&fs));
            if (n_calls >= at) assert_true(status == ELM_OK || status == ELM_IO);
            if (fs.counts[FAULT_REMOVE] == 0) assert_false(exists(&fs, PART));
            fault_io_free(&fs);
            if (n_calls < at) {
                assert_int_equal(status, ELM_OK);
                break;
            }
        }
    }
}

static void waits_out_interruptions(void **state) {
    (void)state;
    for (uint32_t at = 1;; at += soak(1, 5)) {
        fault_io fs;
        heard h = {0};
        put_source(&fs);
        fs.max_write = 20000;
        fault_io_plan(&fs, FAULT_WRITE, at, EINTR, false);
        assert_int_equal(convert(&fs.platform, false, ELM_QUANT_INT4, &h, NULL), ELM_OK);
        uint32_t n = fs.counts[FAULT_WRITE];
        assert_true(is_whole(&fs));
        fault_io_free(&fs);
        if (n < at) break;
    }
}

static void stops_when_asked(void **state) {
    fault_io fs;
    heard h = {.stop_at = 3};
    (void)state;
    put_source(&fs);
    assert_int_equal(convert(&fs.platform, false, ELM_QUANT_INT4, &h, NULL), ELM_CANCELLED);
    assert_true(is_old(&fs));
    assert_false(exists(&fs, PART));
    assert_false(exists(&fs, JOURNAL));
    assert_int_equal(convert(&fs.platform, true, ELM_QUANT_INT4, &h, NULL), ELM_CANCELLED);
    assert_true(is_old(&fs));
    assert_true(exists(&fs, PART)); /* who asks to resume gets it kept */
    h.stop_at = 0;
    assert_int_equal(convert(&fs.platform, true, ELM_QUANT_INT4, &h, NULL), ELM_OK);
    assert_int_equal(h.resumed_at, 3);
    assert_true(is_whole(&fs));
    fault_io_free(&fs);
}

/* Leaves a PATH.part after three weights. */
static void leave_part(fault_io *fs) {
    heard h = {.stop_at = 3};
    put_source(fs);
    assert_int_equal(convert(&fs->platform, true, ELM_QUANT_INT4, &h, NULL), ELM_CANCELLED);
}

static void refuses_to_mix_sources_and_options(void **state) {
    fault_io fs;
    heard h = {0};
    elm_error err;
    size_t size, again;
    (void)state;
    leave_part(&fs);
    const uint8_t *part = fault_io_get(&fs, PART, &size);
    uint8_t *before = malloc(size);
    assert_non_null(before);
    memcpy(before, part, size);
    assert_int_equal(convert(&fs.platform, true, ELM_QUANT_INT8, &h, &err), ELM_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "--resume"));
    /* One weight of the source has another value. */
    size_t n_source;
    uint8_t *source = fault_io_get(&fs, SOURCE, &n_source);
    source[n_source - 40] ^= 0x10;
    assert_int_equal(convert(&fs.platform, true, ELM_QUANT_INT4, &h, &err), ELM_INVALID_ARGUMENT);
    source[n_source - 40] ^= 0x10;
    part = fault_io_get(&fs, PART, &again);
    assert_int_equal(size, again);
    assert_memory_equal(part, before, size); /* untouched, so that the right command still works */
    free(before);
    assert_int_equal(convert(&fs.platform, true, ELM_QUANT_INT4, &h, NULL), ELM_OK);
    assert_int_equal(h.resumed_at, 3);
    assert_true(is_whole(&fs));
    fault_io_free(&fs);
}

static void makes_damaged_weights_again(void **state) {
    static const char *const names[] = {PART, JOURNAL};
    (void)state;
    for (int which = 0; which < 2; which++) {
        size_t size = SIZE_MAX;
        for (size_t back = 1; back < size; back += which == 0 ? soak(4099, 30011) : soak(1, 29)) {
            fault_io fs;
            heard h = {0};
            leave_part(&fs);
            uint8_t *p = fault_io_get(&fs, names[which], &size);
            if (back < size) p[size - back] ^= 0x04;
            assert_int_equal(convert(&fs.platform, true, ELM_QUANT_INT4, &h, NULL), ELM_OK);
            assert_true(h.resumed_at <= 3);
            assert_true(is_whole(&fs));
            fault_io_free(&fs);
        }
    }
}

static void begins_anew_without_a_journal(void **state) {
    fault_io fs;
    heard h = {0};
    (void)state;
    leave_part(&fs);
    assert_int_equal(elm_path_remove(&fs.platform, JOURNAL, NULL), ELM_OK);
    assert_int_equal(convert(&fs.platform, true, ELM_QUANT_INT4, &h, NULL), ELM_OK);
    assert_int_equal(h.resumed_at, 0);
    assert_true(is_whole(&fs));
    fault_io_free(&fs);
    leave_part(&fs);
    assert_int_equal(elm_path_remove(&fs.platform, PART, NULL), ELM_OK);
    assert_int_equal(convert(&fs.platform, true, ELM_QUANT_INT4, &h, NULL), ELM_OK);
    assert_true(is_whole(&fs));
    assert_false(exists(&fs, JOURNAL));
    fault_io_free(&fs);
}

static void survives_every_failed_allocation(void **state) {
    (void)state;
    for (uint64_t at = 1;; at += soak(1, 3)) {
        fault_io fs;
        nth_alloc nth;
        heard h = {0};
        put_source(&fs);
        nth_alloc_init(&nth, at);
        elm_platform p = fs.platform;
        p.alloc = &nth.interface;
        elm_status status = convert(&p, false, ELM_QUANT_INT4, &h, NULL);
        assert_int_equal(nth.live_bytes, 0);
        assert_int_equal(fs.n_open, 0);
        assert_false(exists(&fs, PART));
        assert_false(exists(&fs, JOURNAL));
        if (status != ELM_OK) {
            assert_int_equal(status, ELM_OUT_OF_MEMORY);
            assert_true(is_old(&fs) || is_whole(&fs));
        } else {
            assert_true(is_whole(&fs));
        }
        bool done = atomic_load(&nth.n) < at;
        fault_io_free(&fs);
        if (done) break;
        assert_true(status != ELM_OK);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asks_for_the_space_it_takes),
        cmocka_unit_test(goes_on_after_a_kill_at_every_call),
        cmocka_unit_test(goes_on_after_a_power_cut),
        cmocka_unit_test(cleans_up_after_every_error),
        cmocka_unit_test(waits_out_interruptions),
        cmocka_unit_test(stops_when_asked),
        cmocka_unit_test(refuses_to_mix_sources_and_options),
        cmocka_unit_test(makes_damaged_weights_again),
        cmocka_unit_test(begins_anew_without_a_journal),
        cmocka_unit_test(survives_every_failed_allocation),
    };
    return cmocka_run_group_tests(tests, make_whole, free_whole);
}
