/* Safetensors files and folders: what is read, and that each kind of damage is refused by name. */
#include <errno.h>
#include <unistd.h>

#include "base/thread_pool.h"
#include "source_fixture.h"

#define FILE_ "m/model.safetensors"
#define INDEX "m/model.safetensors.index.json"

static void assert_refused(elm_status expected, const char *fragment) {
    elm_checkpoint ck;
    elm_error err = {0};
    elm_status status = elm_checkpoint_open_folder(&fs.platform, SOURCE_FOLDER, &ck, &err);
    elm_checkpoint_close(&ck);
    if (status != expected || !strstr(err.message, fragment)) {
        fail_msg("expected %s with '%s'; found %s: %s", elm_status_name(expected), fragment,
                 elm_status_name(status), err.message);
    }
}

static void assert_opens(elm_checkpoint *ck) {
    elm_error err = {0};
    if (elm_checkpoint_open_folder(&fs.platform, SOURCE_FOLDER, ck, &err) != ELM_OK)
        fail_msg("%s", err.message);
}

static void tensors_of_one_file(void **state) {
    (void)state;
    static const float matrix[6] = {1, 2, 3, 4, 5, 6};
    static const uint8_t rest[] = {0x80, 0x3f, 0x00, 0xc0,
                                   0x00, 0x00, 0xe0, 0x40}; /* bf16 1, -2; f32 7 */
    uint8_t data[32];
    elm_checkpoint ck;
    float out[6];
    memcpy(data, matrix, 24);
    memcpy(data + 24, rest, 8);
    source_put_safetensors(&fs, FILE_,
                           "{\"__metadata__\":{\"format\":\"pt\"},"
                           "\"s\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[28,32]},"
                           "\"v\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[24,28]},"
                           "\"none\":{\"dtype\":\"F32\",\"shape\":[0,4],\"data_offsets\":[4,4]},"
                           "\"m\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}}   ",
                           data, sizeof data);
    assert_opens(&ck);
    assert_int_equal(ck.n_tensors, 3); /* the empty one holds nothing to convert */
    assert_int_equal(ck.total_bytes, 32);
    assert_null(elm_checkpoint_find(&ck, "none"));
    assert_null(elm_checkpoint_find(&ck, ""));
    const elm_source_tensor *m = elm_checkpoint_find(&ck, "m"), *v = elm_checkpoint_find(&ck, "v");
    const elm_source_tensor *s = elm_checkpoint_find(&ck, "s");
    assert_true(m && v && s);
    assert_int_equal(m->n_dims, 2);
    assert_int_equal(m->dims[0], 2);
    assert_int_equal(m->dims[1], 3);
    assert_int_equal(elm_checkpoint_read_rows(&ck, m, 1, 1, out, NULL), ELM_OK);
    assert_memory_equal(out, matrix + 3, 12);
    assert_int_equal(elm_checkpoint_read_raw_rows(&ck, m, 0, 2, out, NULL), ELM_OK);
    assert_memory_equal(out, matrix, 24);
    assert_int_equal(elm_checkpoint_read_rows(&ck, v, 0, 2, out, NULL), ELM_OK);
    assert_true(out[0] == 1.0f && out[1] == -2.0f);
    assert_int_equal(elm_checkpoint_read_rows(&ck, s, 0, 1, out, NULL), ELM_OK);
    assert_true(out[0] == 7.0f);
    assert_int_equal(elm_checkpoint_read_rows(&ck, m, 1, 2, out, NULL), ELM_INTERNAL);
    assert_int_equal(elm_checkpoint_read_raw_rows(&ck, m, 3, 0, out, NULL), ELM_INTERNAL);
    assert_int_equal(elm_checkpoint_read_rows(&ck, m, UINT64_MAX, 1, out, NULL), ELM_INTERNAL);
    elm_checkpoint_close(&ck);
}

/* Longer than the buffer that rows are converted through. */
static void long_rows(void **state) {
    (void)state;
    enum { COLS = 50001 };
    uint8_t *data = malloc(2 * 2 * COLS);
    float *out = malloc(sizeof(float) * COLS);
    char header[128];
    elm_checkpoint ck;
    assert_non_null(data);
    assert_non_null(out);
    for (int i = 0; i < 2 * COLS; i++) {
        uint32_t bits = (uint32_t)(0x3f80 + i % 128); /* 1 + i % 128 / 128 */
        data[2 * i] = (uint8_t)bits;
        data[2 * i + 1] = (uint8_t)(bits >> 8);
    }
    snprintf(header, sizeof header,
             "{\"w\":{\"dtype\":\"BF16\",\"shape\":[2,%d],\"data_offsets\":[0,%d]}}", COLS,
             4 * COLS);
    source_put_safetensors(&fs, FILE_, header, data, 4 * COLS);
    assert_opens(&ck);
    assert_int_equal(elm_checkpoint_read_rows(&ck, elm_checkpoint_find(&ck, "w"), 1, 1, out, NULL),
                     ELM_OK);
    for (int i = 0; i < COLS; i++) assert_true(out[i] == 1.0f + (float)((COLS + i) % 128) / 128.0f);
    elm_checkpoint_close(&ck);
    free(data);
    free(out);
}

static void bad_headers(void **state) {
    (void)state;
#define ENTRY(name, dtype, shape, offsets) \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
    static const struct {
        const char *header;
        elm_status status;
        const char *fragment;
    } cases[] = {
        {"", ELM_MALFORMED, "model.safetensors:1: the text ends"},
        {"[]", ELM_MALFORMED, "the header is not an object"},
        {"{\"a\":1}", ELM_MALFORMED, "'a' is no object"},
        {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", ELM_MALFORMED, "'a' has no dtype"},
        {"{" ENTRY("a", "F4", "[1]", "[0,4]") "}", ELM_UNSUPPORTED, "'a' has dtype 'F4'"},
        {"{" ENTRY("a", "F32", "1", "[0,4]") "}", ELM_MALFORMED, "'a' has no shape"},
        {"{" ENTRY("a", "F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]") "}", ELM_MALFORMED,
         "'a' has more than eight dimensions"},
        {"{" ENTRY("a", "F32", "[-1]", "[0,4]") "}", ELM_MALFORMED, "'a' has an impossible shape"},
        {"{" ENTRY("a", "F32", "[1.5]", "[0,4]") "}", ELM_MALFORMED, "'a' has an impossible shape"},
        {"{" ENTRY("a", "F32", "[4294967296,4294967296,4]", "[0,4]") "}", ELM_MALFORMED,
         "'a' has 4 bytes; its shape"},
        {"{" ENTRY("a", "F32", "[2]", "[0,4]") "}", ELM_MALFORMED,
         "'a' has 4 bytes; its shape and dtype need 8"},
        {"{" ENTRY("a", "F32", "[1]", "[4,0]") "}", ELM_MALFORMED, "'a' has bad data_offsets"},
        {"{" ENTRY("a", "F32", "[1]", "[-4,0]") "}", ELM_MALFORMED, "'a' has bad data_offsets"},
        {"{" ENTRY("a", "F32", "[1]", "[0]") "}", ELM_MALFORMED, "'a' has bad data_offsets"},
        {"{" ENTRY("a", "F32", "[1]", "[8,12]") "}", ELM_MALFORMED, "tensor 'a' needs 4 bytes at"},
        {"{" ENTRY("a", "U8", "[8]", "[9223372036854775799,9223372036854775807]") "}",
         ELM_MALFORMED, "tensor 'a' needs 8"},
        {"{" ENTRY("a", "F32", "[1]", "[0,4]") "," ENTRY("b", "F32", "[1]", "[2,6]") "}",
         ELM_MALFORMED, "'a' and 'b' overlap"},
        {"{" ENTRY("a", "F32", "[1]", "[0,4]") "," ENTRY("b", "F32", "[1]", "[0,4]") "}",
         ELM_MALFORMED, "overlap"},
        {"{" ENTRY("a", "F32", "[1]", "[0,4]") "," ENTRY("a", "F32", "[1]", "[4,8]") "}",
         ELM_MALFORMED, "'a' appears twice"},
        {"{" ENTRY("a\\u0000b", "F32", "[1]", "[0,4]") "}", ELM_MALFORMED, "has a bad name"},
        {"{" ENTRY("", "F32", "[1]", "[0,4]") "}", ELM_MALFORMED, "has a bad name"},
        {"{\"__metadata__\":{}}", ELM_MALFORMED, "holds no tensors"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        source_put_safetensors(&fs, FILE_, cases[i].header, "12345678", 8);
        assert_refused(cases[i].status, cases[i].fragment);
    }
}

static void bad_lengths(void **state) {
    (void)state;
    uint8_t length[16] = {0};
    assert_refused(ELM_NOT_FOUND, "model.safetensors");
    fault_io_put(&fs, FILE_, length, 7);
    assert_refused(ELM_MALFORMED, "too short");
    length[0] = 9;
    fault_io_put(&fs, FILE_, length, 16);
    assert_refused(ELM_MALFORMED, "the header says it has 9 bytes; the file has 16");
    length[4] = 1;
    fault_io_put(&fs, FILE_, length, 16);
    assert_refused(ELM_MALFORMED, "at most 104857600 are accepted");
}

/* A header of nothing but small numbers would take 24 times its size. */
static void a_header_that_swells_is_refused(void **state) {
    (void)state;
    enum { N = 1 << 20 };
    char *header = malloc(2 * N + 16);
    elm_capped_allocator cap;
    assert_non_null(header);
    strcpy(header, "{\"a\":[");
    for (size_t i = 0; i < N; i++) memcpy(header + 6 + 2 * i, "1,", 2);
    strcpy(header + 6 + 2 * N, "1]}");
    source_put_safetensors(&fs, FILE_, header, "", 0);
    elm_capped_allocator_init(&cap, fs.platform.alloc, 0);
    fs.platform.alloc = &cap.interface;
    assert_refused(ELM_OUT_OF_MEMORY, "model.safetensors");
    assert_int_equal(cap.live_bytes, 0);
    free(header);
}

static void shards(void **state) {
    (void)state;
    elm_checkpoint ck;
    float out[2];
    /* b lies in both; the index says which counts. The empty one is listed too. */
    source_put_text(&fs, INDEX,
                    "{\"metadata\":{\"total_size\":1},\"weight_map\":"
                    "{\"b\":\"2.safetensors\",\"a\":\"1.safetensors\",\"e\":\"1.safetensors\"}}");
    source_put_safetensors(&fs, "m/1.safetensors",
                           "{" ENTRY("a", "F32", "[1]", "[0,4]") "," ENTRY(
                               "b", "U8", "[1]", "[4,5]") "," ENTRY("e", "U8", "[0]", "[5,5]") "}",
                           "\0\0\x80\x3f\x05", 5);
    source_put_safetensors(&fs, "m/2.safetensors", "{" ENTRY("b", "U8", "[2]", "[0,2]") "}",
                           "\x08\x09", 2);
    assert_opens(&ck);
    assert_int_equal(ck.n_shards, 2);
    assert_int_equal(ck.n_tensors, 2);
    assert_int_equal(elm_checkpoint_read_rows(&ck, elm_checkpoint_find(&ck, "b"), 0, 2, out, NULL),
                     ELM_OK);
    assert_true(out[0] == 8.0f && out[1] == 9.0f);
    assert_int_equal(elm_checkpoint_read_rows(&ck, elm_checkpoint_find(&ck, "a"), 0, 1, out, NULL),
                     ELM_OK);
    assert_true(out[0] == 1.0f);
    elm_checkpoint_close(&ck);
}

static void bad_indexes(void **state) {
    (void)state;
    static const struct {
        const char *index, *fragment;
        elm_status status;
    } cases[] = {
        {"[", "index.json:1:", ELM_MALFORMED},
        {"{}", "has no weight_map", ELM_MALFORMED},
        {"{\"weight_map\":[]}", "has no weight_map", ELM_MALFORMED},
        {"{\"weight_map\":{}}", "weight_map is empty", ELM_MALFORMED},
        {"{\"weight_map\":{\"a\":1}}", "holds no file names", ELM_MALFORMED},
        {"{\"weight_map\":{\"a\":\"../1.safetensors\"}}", "no file name inside the folder",
         ELM_MALFORMED},
        {"{\"weight_map\":{\"a\":\"/etc/1.safetensors\"}}", "no file name inside the folder",
         ELM_MALFORMED},
        {"{\"weight_map\":{\"a\":\"\"}}", "no file name inside the folder", ELM_MALFORMED},
        {"{\"weight_map\":{\"a\":\"1\\u0000\"}}", "no file name inside the folder", ELM_MALFORMED},
        {"{\"weight_map\":{\"a\":\"9.safetensors\"}}", "9.safetensors", ELM_NOT_FOUND},
        {"{\"weight_map\":{\"a\":\"1.safetensors\",\"b\":\"1.safetensors\"}}",
         "lists tensor 'b', which '1.safetensors' does not hold", ELM_MALFORMED},
    };
    source_put_safetensors(&fs, "m/1.safetensors", "{" ENTRY("a", "U8", "[1]", "[0,1]") "}", "x",
                           1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        source_put_text(&fs, INDEX, cases[i].index);
        assert_refused(cases[i].status, cases[i].fragment);
    }
}

static void too_many_shards(void **state) {
    elm_buf index;
    (void)state;
    elm_buf_init(&index, elm_allocator_default(), 1 << 20);
    elm_buf_str(&index, "{\"weight_map\": {");
    for (int i = 0; i <= ELM_MAX_SHARDS; i++)
        elm_buf_printf(&index, "%s\"t%d\": \"%d.safetensors\"", i ? ", " : "", i, i);
    elm_buf_str(&index, "}}");
    elm_buf_u8(&index, 0);
    source_put_text(&fs, INDEX, (const char *)index.data);
    assert_refused(ELM_MALFORMED, "more than 1024 shards");
    elm_buf_free(&index);
}

static void every_failing_read_and_allocation(void **state) {
    (void)state;
    elm_checkpoint ck;
    elm_status status = ELM_IO;
    source_put_text(&fs, INDEX, "{\"weight_map\":{\"a\":\"1.safetensors\"}}");
    source_put_safetensors(&fs, "m/1.safetensors", "{" ENTRY("a", "U8", "[1]", "[0,1]") "}", "x",
                           1);
    for (uint32_t at = 1; status != ELM_OK; at++) {
        fault_io_plan(&fs, FAULT_ANY, at, EIO, false);
        status = elm_checkpoint_open_folder(&fs.platform, SOURCE_FOLDER, &ck, NULL);
        if (status != ELM_OK)
            assert_int_equal(status, ELM_IO);
        else
            assert_true(at > 5);
        elm_checkpoint_close(&ck);
        assert_int_equal(fs.n_open, 0);
    }
    fault_io_plan(&fs, FAULT_NONE, 0, 0, false);
    bool opened = false;
    for (size_t limit = 64; !opened; limit += 512) {
        elm_capped_allocator cap;
        elm_capped_allocator_init(&cap, elm_allocator_default(), limit);
        fs.platform.alloc = &cap.interface;
        status = elm_checkpoint_open_folder(&fs.platform, SOURCE_FOLDER, &ck, NULL);
        opened = status == ELM_OK;
        if (!opened) assert_int_equal(status, ELM_OUT_OF_MEMORY);
        elm_checkpoint_close(&ck);
        assert_int_equal(cap.live_bytes, 0);
    }
}

typedef struct reading {
    const elm_checkpoint *ck;
    const elm_source_tensor *t;
    bool wrong[4];
} reading;

static void read_some(void *context, uint32_t thread, uint32_t n_threads) {
    reading *r = context;
    float out[8];
    for (uint64_t row = thread; row < 256; row += n_threads) {
        bool ok = elm_checkpoint_read_rows(r->ck, r->t, row, 1, out, NULL) == ELM_OK;
        for (int i = 0; i < 8; i++) r->wrong[thread] |= !ok || out[i] != (float)row;
    }
}

/* On a real file: pread has no position to share. */
static void threads_read_at_once(void **state) {
    (void)state;
    char folder[] = "/tmp/elm-test-XXXXXX", path[64];
    static const char header[] = "{" ENTRY("w", "U8", "[256,8]", "[0,2048]") "}";
    elm_checkpoint ck;
    elm_thread_pool *pool = NULL;
    reading r = {.ck = &ck};
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    uint8_t length[8] = {(uint8_t)strlen(header)};
    fwrite(length, 1, 8, f);
    fputs(header, f);
    for (int i = 0; i < 2048; i++) fputc(i / 8, f);
    fclose(f);
    assert_int_equal(elm_checkpoint_open_folder(elm_platform_default(), folder, &ck, NULL), ELM_OK);
    assert_int_equal(elm_thread_pool_create(elm_allocator_default(), 4, &pool, NULL), ELM_OK);
    r.t = elm_checkpoint_find(&ck, "w");
    elm_thread_pool_run(pool, read_some, &r);
    for (int i = 0; i < 4; i++) assert_false(r.wrong[i]);
    elm_thread_pool_free(pool);
    elm_checkpoint_close(&ck);
    unlink(path);
    rmdir(folder);
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
    const struct CMUnitTest tests[] = {
        T(tensors_of_one_file),
        T(long_rows),
        T(bad_headers),
        T(bad_lengths),
        T(a_header_that_swells_is_refused),
        T(shards),
        T(bad_indexes),
        T(too_many_shards),
        T(every_failing_read_and_allocation),
        T(threads_read_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
