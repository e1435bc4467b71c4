/* GGUF headers: metadata of every type, tensors, and that each kind of damage is refused. */
#include <errno.h>

#include "source_fixture.h"

static gguf_maker m;

static int begin_made(void **state) {
    begin(state);
    gguf_begin(&m);
    return 0;
}

static void assert_refused(elm_status expected, const char *fragment) {
    elm_gguf g;
    elm_error err = {0};
    elm_status status = elm_gguf_open(&fs.platform, PATH, &g, &err);
    elm_gguf_close(&g);
    if (status != expected || !strstr(err.message, fragment)) {
        fail_msg("expected %s with '%s'; found %s: %s", elm_status_name(expected), fragment,
                 elm_status_name(status), err.message);
    }
}

static void assert_opens(elm_gguf *g) {
    elm_error err = {0};
    if (elm_gguf_open(&fs.platform, PATH, g, &err) != ELM_OK) fail_msg("%s", err.message);
}

static void a_tensor(void) {
    gguf_tensor(&m, "w", ELM_SOURCE_F32, 0, 1, "\0\0\x80\x3f");
}

static void metadata_of_every_type(void **state) {
    (void)state;
    static const char *const texts[] = {"", "b\xc3\xa9", "c"};
    elm_gguf g;
    elm_arena arena;
    elm_span text, *list;
    int64_t i;
    double d;
    bool b;
    uint32_t n;
    float *floats;
    gguf_key(&m, "u8", ELM_GGUF_U8), elm_buf_u8(&m.values, 200);
    gguf_key(&m, "i8", ELM_GGUF_I8), elm_buf_u8(&m.values, 0xff);
    gguf_key(&m, "u16", ELM_GGUF_U16), elm_buf_u16(&m.values, 0xffff);
    gguf_key(&m, "i16", ELM_GGUF_I16), elm_buf_u16(&m.values, 0xfffe);
    gguf_u32(&m, "u32", 0xffffffffu);
    gguf_key(&m, "i32", ELM_GGUF_I32), elm_buf_u32(&m.values, 0xfffffffdu);
    gguf_key(&m, "u64", ELM_GGUF_U64), elm_buf_u64(&m.values, 1ull << 40);
    gguf_key(&m, "huge", ELM_GGUF_U64), elm_buf_u64(&m.values, UINT64_MAX);
    gguf_key(&m, "i64", ELM_GGUF_I64), elm_buf_u64(&m.values, (uint64_t)-4);
    gguf_f32(&m, "f32", 1.5f);
    gguf_key(&m, "f64", ELM_GGUF_F64), elm_buf_f64(&m.values, 0.1);
    gguf_bool(&m, "bool", true);
    gguf_string(&m, "string", "text");
    gguf_strings(&m, "strings", texts, 3);
    gguf_array(&m, "floats", ELM_GGUF_F32, 2), elm_buf_f32(&m.values, 2.0f),
        elm_buf_f32(&m.values, -3.0f);
    gguf_array(&m, "nothing", ELM_GGUF_F32, 0);
    a_tensor();
    gguf_end(&m, &fs, PATH);
    assert_opens(&g);
    assert_true(elm_gguf_int(&g, "u8", &i) && i == 200);
    assert_true(elm_gguf_int(&g, "i8", &i) && i == -1);
    assert_true(elm_gguf_int(&g, "u16", &i) && i == 65535);
    assert_true(elm_gguf_int(&g, "i16", &i) && i == -2);
    assert_true(elm_gguf_int(&g, "u32", &i) && i == 4294967295);
    assert_true(elm_gguf_int(&g, "i32", &i) && i == -3);
    assert_true(elm_gguf_int(&g, "u64", &i) && i == 1ll << 40);
    assert_true(elm_gguf_int(&g, "i64", &i) && i == -4);
    assert_false(elm_gguf_int(&g, "huge", &i));
    assert_false(elm_gguf_int(&g, "f32", &i));
    assert_false(elm_gguf_int(&g, "absent", &i));
    assert_true(elm_gguf_float(&g, "f32", &d) && d == 1.5);
    assert_true(elm_gguf_float(&g, "f64", &d) && d == 0.1);
    assert_false(elm_gguf_float(&g, "u32", &d));
    assert_true(elm_gguf_bool(&g, "bool", &b) && b);
    assert_false(elm_gguf_bool(&g, "u8", &b));
    assert_true(elm_gguf_string(&g, "string", &text) && elm_span_equal(text, elm_span_str("text")));
    assert_false(elm_gguf_string(&g, "strings", &text));
    elm_arena_init(&arena, fs.platform.alloc, 0);
    assert_int_equal(elm_gguf_strings(&g, "strings", &arena, &list, &n, NULL), ELM_OK);
    assert_int_equal(n, 3);
    for (int k = 0; k < 3; k++) assert_true(elm_span_equal(list[k], elm_span_str(texts[k])));
    assert_int_equal(elm_gguf_words(&g, "floats", ELM_GGUF_F32, &arena, &floats, &n, NULL), ELM_OK);
    assert_true(n == 2 && floats[0] == 2.0f && floats[1] == -3.0f);
    assert_int_equal(elm_gguf_words(&g, "nothing", ELM_GGUF_F32, &arena, &floats, &n, NULL),
                     ELM_OK);
    assert_true(n == 0 && floats);
    assert_int_equal(elm_gguf_words(&g, "absent", ELM_GGUF_F32, &arena, &floats, &n, NULL), ELM_OK);
    assert_true(n == 0 && !floats);
    assert_int_equal(elm_gguf_words(&g, "floats", ELM_GGUF_I32, &arena, &floats, &n, NULL),
                     ELM_MALFORMED);
    assert_int_equal(elm_gguf_words(&g, "u32", ELM_GGUF_I32, &arena, &floats, &n, NULL),
                     ELM_MALFORMED);
    assert_int_equal(elm_gguf_strings(&g, "floats", &arena, &list, &n, NULL), ELM_MALFORMED);
    elm_arena_free(&arena);
    elm_gguf_close(&g);
}

static void tensors_of(uint32_t version, uint32_t alignment) {
    static const float matrix[6] = {1, 2, 3, 4, 5, 6};
    uint8_t q8[34] = {0x00, 0x38, 4};
    elm_gguf g;
    float out[32];
    m.version = version;
    m.alignment = alignment;
    if (alignment != 32) gguf_u32(&m, "general.alignment", alignment);
    gguf_tensor(&m, "m", ELM_SOURCE_F32, 2, 3, matrix);
    gguf_tensor(&m, "q", ELM_SOURCE_Q8_0, 1, 32, q8);
    gguf_end(&m, &fs, PATH);
    assert_opens(&g);
    const elm_source_tensor *t = elm_checkpoint_find(&g.checkpoint, "m"),
                            *q = elm_checkpoint_find(&g.checkpoint, "q");
    assert_true(t && q);
    assert_int_equal(t->n_dims, 2);
    assert_int_equal(t->dims[0], 2); /* outermost first */
    assert_int_equal(t->dims[1], 3);
    assert_int_equal(elm_checkpoint_read_rows(&g.checkpoint, t, 0, 2, out, NULL), ELM_OK);
    assert_memory_equal(out, matrix, sizeof matrix);
    assert_int_equal(elm_checkpoint_read_rows(&g.checkpoint, q, 0, 1, out, NULL), ELM_OK);
    assert_true(out[0] == 2.0f && out[31] == 0.0f);
    elm_gguf_close(&g);
}

static void tensors_of_version_3(void **state) {
    (void)state, tensors_of(3, 32);
}
static void tensors_of_version_2_and_other_alignment(void **state) {
    (void)state, tensors_of(2, 128);
}

/* Longer than the first piece, so that parsing begins anew. */
static void a_long_header(void **state) {
    (void)state;
    enum { N = 300000 };
    elm_gguf g;
    elm_arena arena;
    elm_span *list;
    uint32_t n;
    char text[16];
    gguf_array(&m, "tokens", ELM_GGUF_STRING, N);
    for (int i = 0; i < N; i++) {
        snprintf(text, sizeof text, "t%d", i);
        gguf_text(&m.values, text);
    }
    a_tensor();
    assert_true(m.values.size > 3 << 20);
    gguf_end(&m, &fs, PATH);
    assert_opens(&g);
    elm_arena_init(&arena, fs.platform.alloc, 0);
    assert_int_equal(elm_gguf_strings(&g, "tokens", &arena, &list, &n, NULL), ELM_OK);
    assert_int_equal(n, N);
    assert_true(elm_span_equal(list[N - 1], elm_span_str("t299999")));
    assert_true(g.checkpoint.arena.total_bytes <
                8 << 20); /* pieces that were too short are given back */
    elm_arena_free(&arena);
    elm_gguf_close(&g);
}

static void bad_beginnings(void **state) {
    (void)state;
    uint8_t head[24] = "GGUF";
    assert_refused(ELM_NOT_FOUND, "m.gguf");
    fault_io_put(&fs, PATH, head, 0);
    assert_refused(ELM_MALFORMED, "nor a GGUF file");
    fault_io_put(&fs, PATH, head, 23);
    assert_refused(ELM_MALFORMED, "nor a GGUF file");
    head[4] = 1;
    fault_io_put(&fs, PATH, head, 24);
    assert_refused(ELM_UNSUPPORTED, "is GGUF version 1");
    head[4] = 0, head[7] = 3;
    fault_io_put(&fs, PATH, head, 24);
    assert_refused(ELM_UNSUPPORTED, "is a big-endian GGUF");
    head[7] = 0, head[4] = 3;
    head[8] = 2; /* more than 24 bytes can hold, though below the limits */
    fault_io_put(&fs, PATH, head, 24);
    assert_refused(ELM_MALFORMED, "impossible number of values or tensors");
    head[8] = 0, head[18] = 1;
    fault_io_put(&fs, PATH, head, 24);
    assert_refused(ELM_MALFORMED, "impossible number of values or tensors");
    head[0] = 'g';
    fault_io_put(&fs, PATH, head, 24);
    assert_refused(ELM_MALFORMED, "nor a GGUF file");
}

/* One change to a good file each. */
typedef enum damage {
    VALUE_TYPE,
    ITEM_TYPE,
    NESTED,
    LONG_ARRAY,
    LONG_STRING,
    KEY_TWICE,
    ALIGNMENT_3,
    ALIGNMENT_0,
    NO_DIMS,
    FIVE_DIMS,
    TYPE_4,
    IQ3_S,
    TYPE_99,
    BAD_SHAPE,
    EMPTY_DIM,
    OVERFLOW,
    UNALIGNED,
    PAST_END,
    FAR_PAST_END,
    OVERLAP,
    NAME_TWICE,
    NO_NAME,
    ZERO_IN_NAME,
    N_DAMAGES
} damage;

static void raw_tensor(const char *name, size_t n_name, uint32_t n_dims, uint64_t inner,
                       uint32_t type, uint64_t offset) {
    m.n_tensors++;
    elm_buf_u64(&m.tensors, n_name);
    if (n_name > 0) elm_buf_append(&m.tensors, name, n_name);
    elm_buf_u32(&m.tensors, n_dims);
    for (uint32_t d = 0; d < n_dims; d++)
        elm_buf_u64(&m.tensors, d == 0 ? inner : inner > 1u << 31 ? inner : 1);
    elm_buf_u32(&m.tensors, type);
    elm_buf_u64(&m.tensors, offset);
}

static void do_damage(damage what) {
    switch (what) {
    case VALUE_TYPE:
        gguf_key(&m, "key", (elm_gguf_type)13);
        break;
    case ITEM_TYPE:
        gguf_array(&m, "key", (elm_gguf_type)77, 1);
        break;
    case NESTED:
        gguf_array(&m, "key", ELM_GGUF_ARRAY, 1);
        break;
    case LONG_ARRAY:
        gguf_array(&m, "key", ELM_GGUF_U64, UINT64_MAX / 4);
        break;
    case LONG_STRING:
        gguf_key(&m, "key", ELM_GGUF_STRING), elm_buf_u64(&m.values, UINT64_MAX);
        break;
    case KEY_TWICE:
        gguf_u32(&m, "key", 1), gguf_u32(&m, "key", 1);
        break;
    case ALIGNMENT_3:
        gguf_u32(&m, "general.alignment", 3);
        break;
    case ALIGNMENT_0:
        gguf_u32(&m, "general.alignment", 0);
        break;
    case NO_DIMS:
        raw_tensor("t", 1, 0, 1, 0, 0);
        break;
    case FIVE_DIMS:
        raw_tensor("t", 1, 5, 1, 0, 0);
        break;
    case TYPE_4:
        raw_tensor("t", 1, 1, 32, 4, 32);
        break;
    case IQ3_S:
        raw_tensor("t", 1, 1, 256, 21, 32);
        break;
    case TYPE_99:
        raw_tensor("t", 1, 1, 32, 99, 32);
        break;
    case BAD_SHAPE:
        raw_tensor("t", 1, 1, 31, 2, 32);
        break;
    case EMPTY_DIM:
        raw_tensor("t", 1, 1, 0, 0, 32);
        break;
    case OVERFLOW:
        raw_tensor("t", 1, 4, 1ull << 62, 0, 32);
        break;
    case UNALIGNED:
        raw_tensor("t", 1, 1, 1, 0, 4);
        break;
    case PAST_END:
        raw_tensor("t", 1, 1, 1, 0, 64);
        break;
    case FAR_PAST_END:
        raw_tensor("t", 1, 1, 1, 0, UINT64_MAX - 31);
        break;
    case OVERLAP:
        raw_tensor("t", 1, 1, 1, 0, 0);
        break;
    case NAME_TWICE:
        gguf_tensor(&m, "w", ELM_SOURCE_F32, 0, 1, NULL);
        break;
    case NO_NAME:
        raw_tensor("", 0, 1, 1, 0, 32);
        break;
    case ZERO_IN_NAME:
        raw_tensor("a\0b", 3, 1, 1, 0, 32);
        break;
    case N_DAMAGES:
        break;
    }
}

static void every_damage_is_refused(void **state) {
    (void)state;
    static const struct {
        elm_status status;
        const char *fragment;
    } expected[N_DAMAGES] = {
        [VALUE_TYPE] = {ELM_MALFORMED, "'key' has an unknown type"},
        [ITEM_TYPE] = {ELM_MALFORMED, "'key' is an array of an unknown type"},
        [NESTED] = {ELM_MALFORMED, "'key' is an array of an unknown type"},
        [LONG_ARRAY] = {ELM_MALFORMED, "'key' is too long"},
        [LONG_STRING] = {ELM_MALFORMED, "the header does not end"},
        [KEY_TWICE] = {ELM_MALFORMED, "'key' appears twice"},
        [ALIGNMENT_3] = {ELM_MALFORMED, "general.alignment is no power of two"},
        [ALIGNMENT_0] = {ELM_MALFORMED, "general.alignment is no power of two"},
        [NO_DIMS] = {ELM_MALFORMED, "'t' has 0 dimensions; expected 1 to 4"},
        [FIVE_DIMS] = {ELM_MALFORMED, "'t' has 5 dimensions; expected 1 to 4"},
        [TYPE_4] = {ELM_UNSUPPORTED, "'t' has GGUF type 4"},
        [IQ3_S] = {ELM_UNSUPPORTED, "'t' has GGUF type 21 (iq3_s)"},
        [TYPE_99] = {ELM_UNSUPPORTED, "'t' has GGUF type 99 (unknown)"},
        [BAD_SHAPE] = {ELM_MALFORMED, "'t' has a shape that q4_0 cannot hold"},
        [EMPTY_DIM] = {ELM_MALFORMED, "'t' has a shape that f32 cannot hold"},
        [OVERFLOW] = {ELM_MALFORMED, "'t' has a shape that f32 cannot hold"},
        [UNALIGNED] = {ELM_MALFORMED, "'t' is not aligned to 32 bytes"},
        [PAST_END] = {ELM_MALFORMED, "tensor 't' needs 4 bytes at"},
        [FAR_PAST_END] = {ELM_MALFORMED, "'t' is not aligned"},
        [OVERLAP] = {ELM_MALFORMED, "overlap"},
        [NAME_TWICE] = {ELM_MALFORMED, "the tensor 'w' is there twice"},
        [NO_NAME] = {ELM_MALFORMED, "bad name"},
        [ZERO_IN_NAME] = {ELM_MALFORMED, "bad name"},
    };
    for (int i = 0; i < N_DAMAGES; i++) {
        if (i > 0) gguf_begin(&m);
        a_tensor();
        do_damage((damage)i);
        gguf_end(&m, &fs, PATH);
        assert_refused(expected[i].status, expected[i].fragment);
    }
}

static void every_truncation_is_refused(void **state) {
    (void)state;
    size_t size;
    elm_gguf g;
    gguf_string(&m, "key", "value");
    a_tensor();
    gguf_end(&m, &fs, PATH);
    assert_opens(&g);
    uint64_t last = g.checkpoint.tensors[0].offset + g.checkpoint.tensors[0].bytes;
    elm_gguf_close(&g);
    uint8_t *copy = malloc((size_t)last);
    assert_non_null(copy);
    memcpy(copy, fault_io_get(&fs, PATH, &size), (size_t)last);
    for (size_t n = 0; n < last; n++) {
        fault_io_put(&fs, PATH, copy, n);
        assert_refused(ELM_MALFORMED, PATH);
    }
    free(copy);
}

static void every_failing_read_and_allocation(void **state) {
    (void)state;
    elm_gguf g;
    elm_status status = ELM_IO;
    gguf_string(&m, "key", "value");
    a_tensor();
    gguf_end(&m, &fs, PATH);
    for (uint32_t at = 1; status != ELM_OK; at++) {
        fault_io_plan(&fs, FAULT_ANY, at, EIO, false);
        status = elm_gguf_open(&fs.platform, PATH, &g, NULL);
        if (status != ELM_OK)
            assert_int_equal(status, ELM_IO);
        else
            assert_true(at > 3);
        elm_gguf_close(&g);
        assert_int_equal(fs.n_open, 0);
    }
    fault_io_plan(&fs, FAULT_NONE, 0, 0, false);
    bool opened = false;
    for (size_t limit = 64; !opened; limit += 512) {
        elm_capped_allocator cap;
        elm_capped_allocator_init(&cap, elm_allocator_default(), limit);
        fs.platform.alloc = &cap.interface;
        status = elm_gguf_open(&fs.platform, PATH, &g, NULL);
        opened = status == ELM_OK;
        if (!opened) assert_int_equal(status, ELM_OUT_OF_MEMORY);
        elm_gguf_close(&g);
        assert_int_equal(cap.live_bytes, 0);
    }
}

static void put_part(const char *path, uint32_t no, uint32_t count, const char *tensor) {
    if (no > 0) gguf_begin(&m);
    gguf_u32(&m, "split.no", no);
    gguf_u32(&m, "split.count", count);
    if (tensor) gguf_tensor(&m, tensor, ELM_SOURCE_F32, 0, 1, "\0\0\x80\x3f");
    gguf_end(&m, &fs, path);
}

static elm_status join(const char *path, elm_gguf *g, elm_error *err) {
    elm_status status = elm_gguf_open(&fs.platform, path, g, err);
    return status == ELM_OK ? elm_gguf_join(g, err) : status;
}

/* Whatever fails, every file is closed and the memory given back. */
static void the_files_of_a_split(void **state) {
    (void)state;
    static const char first[] = "m-00001-of-00003.gguf";
    elm_gguf g;
    elm_status status = ELM_IO;
    float out;
    put_part(first, 0, 3, NULL);
    put_part("m-00002-of-00003.gguf", 1, 3, "a");
    put_part("m-00003-of-00003.gguf", 2, 3, "b");
    for (uint32_t at = 1; status != ELM_OK; at++) {
        fault_io_plan(&fs, FAULT_ANY, at, EIO, false);
        status = join(first, &g, NULL);
        if (status == ELM_OK) {
            fault_io_plan(&fs, FAULT_NONE, 0, 0, false);
            const elm_source_tensor *t = elm_checkpoint_find(&g.checkpoint, "b");
            assert_true(g.checkpoint.n_shards == 3 && g.checkpoint.n_tensors == 2 && t);
            assert_int_equal(elm_checkpoint_read_rows(&g.checkpoint, t, 0, 1, &out, NULL), ELM_OK);
            assert_true(out == 1.0f && at > 9);
        }
        elm_gguf_close(&g);
        assert_int_equal(fs.n_open, 0);
    }
    status = ELM_OUT_OF_MEMORY;
    for (size_t limit = 64; status != ELM_OK; limit += 512) {
        elm_capped_allocator cap;
        elm_capped_allocator_init(&cap, elm_allocator_default(), limit);
        fs.platform.alloc = &cap.interface;
        status = join(first, &g, NULL);
        assert_true(status == ELM_OK || status == ELM_OUT_OF_MEMORY);
        elm_gguf_close(&g);
        assert_int_equal(cap.live_bytes, 0);
    }
    fs.platform.alloc = elm_allocator_default();
}

static void an_impossible_split(void **state) {
    (void)state;
    static const struct {
        const char *path;
        uint32_t no, count;
        elm_status status;
        const char *fragment;
    } cases[] = {
        {"m.gguf", 0, 70000, ELM_MALFORMED, "impossible part"},
        {"m.gguf", 2, 2, ELM_MALFORMED, "impossible part"},
        {"m-00002-of-00002.gguf", 1, 2, ELM_INVALID_ARGUMENT, "-00001-of-00002.gguf"},
        {"m.gguf", 0, 2, ELM_NOT_FOUND, "must end in -00001-of-00002.gguf"},
        {"n-00001-of-00002.gguf", 0, 2, ELM_NOT_FOUND, "n-00002-of-00002.gguf"},
        {"-00001-of-00001.gguf", 0, 1, ELM_OK, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        elm_gguf g;
        elm_error err = {0};
        if (i > 0) gguf_begin(&m);
        gguf_u32(&m, "split.no", cases[i].no);
        gguf_u32(&m, "split.count", cases[i].count);
        a_tensor();
        gguf_end(&m, &fs, cases[i].path);
        assert_int_equal(join(cases[i].path, &g, &err), cases[i].status);
        assert_non_null(strstr(err.message, cases[i].fragment));
        elm_gguf_close(&g);
    }
}

int main(void) {
#define T(f) cmocka_unit_test_setup_teardown(f, begin_made, end)
    const struct CMUnitTest tests[] = {
        T(metadata_of_every_type),
        T(tensors_of_version_3),
        T(tensors_of_version_2_and_other_alignment),
        T(a_long_header),
        T(bad_beginnings),
        T(every_damage_is_refused),
        T(the_files_of_a_split),
        T(an_impossible_split),
        T(every_truncation_is_refused),
        T(every_failing_read_and_allocation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
