/* Products: what is read, what is refused and why, who is trusted, what moves between files. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/hash.h"
#include "elm/rewrite.h"
#include "fault_io.h"
#include "soak.h"
#include "tiny_elm.h"

#define PATH "m.elm"
#define WHOLE "{\"backend\": \"cpu\", \"whole\": true}"
#define PART_OF "{\"backend\": \"cpu\"}"

static const char machine[] = "0123456789abcdef0123456789abcdef";

static void put_base(fault_io *fs, const char *path) {
    elm_container c;
    elm_strip_options nothing = {0};
    assert_int_equal(tiny_write(&fs->platform, "with.elm", NULL), ELM_OK);
    assert_int_equal(elm_container_open(&fs->platform, "with.elm", &c, NULL), ELM_OK);
    assert_int_equal(elm_strip(&c, path, &nothing, NULL), ELM_OK);
    elm_container_close(&c);
}

static void add(fault_io *fs, const char *path, const char *target, const char *record,
                const char *blob, const char *key) {
    elm_error err = {.message = ""};
    bool written;
    elm_new_product p = {.target = target,
                         .record = elm_span_str(record),
                         .blob = elm_span_str(blob),
                         .machine_key = elm_span_str(key)};
    if (elm_product_add(&fs->platform, path, &p, &written, &err) != ELM_OK)
        fail_msg("%s", err.message);
    assert_true(written);
}

/* Opens, reads the product number `index` and judges it. */
static elm_status judge(fault_io *fs, const char *path, uint32_t index, const elm_trust *trust,
                        elm_error *err) {
    elm_container c;
    elm_arena arena;
    elm_product p;
    uint32_t n = 0;
    elm_arena_init(&arena, elm_allocator_default(), 0);
    elm_status status = elm_container_open(&fs->platform, path, &c, err);
    for (uint32_t i = 0; status == ELM_OK && i < c.n_sections; i++) {
        if (c.sections[i].type != ELM_SECTION_PRODUCT || n++ != index) continue;
        status = elm_product_read(&c, &c.sections[i], &arena, &p, err);
        if (status == ELM_OK) status = elm_product_judge(&c, &p, trust, err);
    }
    elm_arena_free(&arena);
    elm_container_close(&c);
    return status;
}

static uint32_t count(fault_io *fs, const char *path, uint32_t type) {
    elm_container c;
    uint32_t n = 0;
    assert_int_equal(elm_container_open(&fs->platform, path, &c, NULL), ELM_OK);
    for (uint32_t i = 0; i < c.n_sections; i++) n += c.sections[i].type == type;
    elm_container_close(&c);
    return n;
}

/* A stand-in for a signature scheme: the signature is the message's hash with the key before it. */
static void fake_sign(const char *key, const uint8_t *message, uint8_t out[64]) {
    elm_sha256 h;
    memset(out, 0, 64);
    elm_sha256_init(&h);
    elm_sha256_update(&h, key, strlen(key));
    elm_sha256_update(&h, message, ELM_SIGNED_MESSAGE_BYTES);
    elm_sha256_final(&h, out);
}

static bool fake_check(void *key, const elm_signature *s,
                       const uint8_t message[ELM_SIGNED_MESSAGE_BYTES]) {
    uint8_t expected[64];
    fake_sign(key, message, expected);
    return memcmp(expected, s->signature, 64) == 0;
}

static void sign(fault_io *fs, const char *path, elm_signed_kind kind, uint32_t index,
                 const char *key) {
    elm_appender a;
    elm_signature s = {.kind = kind};
    elm_product p;
    uint8_t message[ELM_SIGNED_MESSAGE_BYTES], content[sizeof(elm_disk_signature)];
    uint32_t n = 0;
    assert_int_equal(elm_append_open(&fs->platform, path, &a, NULL), ELM_OK);
    assert_int_equal(elm_root_of_model(&a.c, s.digest, NULL), ELM_OK);
    for (uint32_t i = 0; kind == ELM_SIGNED_PRODUCT && i < a.c.n_sections; i++) {
        if (a.c.sections[i].type != ELM_SECTION_PRODUCT || n++ != index) continue;
        assert_int_equal(elm_product_read(&a.c, &a.c.sections[i], &a.c.arena, &p, NULL), ELM_OK);
        memcpy(s.digest, p.digest, 32);
    }
    elm_signed_message(kind, s.digest, message);
    fake_sign(key, message, s.signature);
    elm_signature_write(&s, content);
    assert_int_equal(elm_append_start(&a, 4096, NULL), ELM_OK);
    assert_int_equal(elm_body_begin(&a.body, ELM_SECTION_SIGNATURE, 4096, NULL, NULL), ELM_OK);
    assert_int_equal(elm_body_write(&a.body, content, sizeof content, NULL), ELM_OK);
    assert_int_equal(elm_body_end(&a.body, NULL), ELM_OK);
    assert_int_equal(elm_append_commit(&a, NULL), ELM_OK);
    elm_append_close(&a);
}

static bool is_signed(fault_io *fs, const char *path, const char *key) {
    elm_container c;
    uint8_t root[32];
    bool good = false;
    uint32_t n;
    assert_int_equal(elm_container_open(&fs->platform, path, &c, NULL), ELM_OK);
    assert_int_equal(elm_root_of_model(&c, root, NULL), ELM_OK);
    assert_int_equal(elm_signature_find(&c, ELM_SIGNED_MODEL, root, fake_check, (void *)(size_t)key,
                                        &good, &n, NULL),
                     ELM_OK);
    elm_container_close(&c);
    return good;
}

static void trusts_for_three_reasons(void **state) {
    fault_io fs;
    elm_error err;
    const elm_trust nobody = {0}, here = {.machine_key = elm_span_str(machine)},
                    elsewhere = {.machine_key = elm_span_str("another machine, another key...")},
                    key = {.check = fake_check, .context = "good"},
                    other_key = {.check = fake_check, .context = "bad"}, all = {.everything = true};
    (void)state;
    fault_io_init(&fs);
    put_base(&fs, PATH);
    add(&fs, PATH, "cpu:a", WHOLE, "blob", machine);
    assert_int_equal(judge(&fs, PATH, 0, &here, &err), ELM_OK);
    assert_int_equal(judge(&fs, PATH, 0, &all, &err), ELM_OK);
    assert_int_equal(judge(&fs, PATH, 0, &elsewhere, &err), ELM_UNSUPPORTED);
    assert_non_null(strstr(err.message, "not made on this machine"));
    assert_int_equal(judge(&fs, PATH, 0, &nobody, &err), ELM_UNSUPPORTED);
    assert_non_null(strstr(err.message, "not signed"));
    sign(&fs, PATH, ELM_SIGNED_PRODUCT, 0, "good");
    assert_int_equal(judge(&fs, PATH, 0, &key, &err), ELM_OK);
    assert_int_equal(judge(&fs, PATH, 0, &other_key, &err), ELM_UNSUPPORTED);
    assert_non_null(strstr(err.message, "another key"));
    assert_int_equal(judge(&fs, PATH, 0, &nobody, &err), ELM_UNSUPPORTED);
    assert_non_null(strstr(err.message, "no key"));
    fault_io_free(&fs);
}

/* A signature of the model is none of a product, and the other way round. */
static void keeps_kinds_of_signatures_apart(void **state) {
    fault_io fs;
    elm_error err;
    const elm_trust key = {.check = fake_check, .context = "good"};
    (void)state;
    fault_io_init(&fs);
    put_base(&fs, PATH);
    add(&fs, PATH, "cpu:a", WHOLE, "blob", "");
    sign(&fs, PATH, ELM_SIGNED_MODEL, 0, "good");
    assert_true(is_signed(&fs, PATH, "good"));
    assert_false(is_signed(&fs, PATH, "bad"));
    assert_int_equal(judge(&fs, PATH, 0, &key, &err), ELM_UNSUPPORTED);
    fault_io_free(&fs);
}

/* Appending, attaching, stripping and compacting leave the model's signature good. */
static void what_voids_no_signature(void **state) {
    fault_io fs;
    elm_container c;
    uint64_t saved;
    const char *const keep[] = {"cpu:a"};
    (void)state;
    fault_io_init(&fs);
    put_base(&fs, PATH);
    sign(&fs, PATH, ELM_SIGNED_MODEL, 0, "good");
    add(&fs, PATH, "cpu:a", WHOLE, "blob", "");
    add(&fs, PATH, "cpu:b", WHOLE, "blob b", "");
    sign(&fs, PATH, ELM_SIGNED_PRODUCT, 0, "good");
    sign(&fs, PATH, ELM_SIGNED_PRODUCT, 1, "good");
    assert_true(is_signed(&fs, PATH, "good"));
    assert_int_equal(elm_compact(&fs.platform, PATH, &saved, NULL), ELM_OK);
    assert_true(saved > 0 && is_signed(&fs, PATH, "good"));
    assert_int_equal(count(&fs, PATH, ELM_SECTION_SIGNATURE), 3);
    for (int no_fallback = 0; no_fallback < 2; no_fallback++) {
        elm_strip_options o = {.keep = keep, .n_keep = 1, .no_fallback = no_fallback};
        assert_int_equal(elm_container_open(&fs.platform, PATH, &c, NULL), ELM_OK);
        assert_int_equal(elm_strip(&c, "out.elm", &o, NULL), ELM_OK);
        elm_container_close(&c);
        assert_true(is_signed(&fs, "out.elm", "good"));
        assert_int_equal(count(&fs, "out.elm", ELM_SECTION_SIGNATURE), 2);
        assert_int_equal(count(&fs, "out.elm", ELM_SECTION_WEIGHTS), !no_fallback);
        const elm_trust key = {.check = fake_check, .context = "good"};
        assert_int_equal(judge(&fs, "out.elm", 0, &key, NULL), ELM_OK);
    }
    /* Without its weights the file says so. */
    elm_tensor *tensors;
    uint32_t n;
    elm_error err;
    assert_int_equal(elm_container_open(&fs.platform, "out.elm", &c, NULL), ELM_OK);
    assert_int_equal(elm_container_tensors(&c, &tensors, &n, &err), ELM_UNSUPPORTED);
    assert_non_null(strstr(err.message, "stripped"));
    elm_container_close(&c);
    fault_io_free(&fs);
}

/* Any byte of the signed content that changes voids the signature, checksums repaired or not. */
static void every_change_voids_the_signature(void **state) {
    fault_io fs;
    elm_container c;
    size_t size;
    uint64_t seed = 1;
    uint32_t n_caught = 0;
    (void)state;
    fault_io_init(&fs);
    put_base(&fs, PATH);
    sign(&fs, PATH, ELM_SIGNED_MODEL, 0, "good");
    uint8_t *file = fault_io_get(&fs, PATH, &size);
    uint8_t *intact = malloc(size);
    assert_non_null(intact);
    memcpy(intact, file, size);
    assert_int_equal(elm_container_open(&fs.platform, PATH, &c, NULL), ELM_OK);
    elm_section sections[8];
    uint32_t n_sections = 0;
    for (uint32_t i = 0; i < c.n_sections; i++) {
        const elm_section *s = &c.sections[i];
        if (elm_section_is_immutable(s->type) && s->size > 0) sections[n_sections++] = *s;
    }
    elm_container_close(&c);
    for (uint32_t round = 0; round < soak(10000, 1000); round++) {
        memcpy(file, intact, size);
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        const elm_section *s = &sections[(seed >> 20) % n_sections];
        file[s->offset + (seed >> 33) % s->size] ^= (uint8_t)(1u << (seed >> 28 & 7));
        assert_int_equal(elm_container_open(&fs.platform, PATH, &c, NULL), ELM_OK);
        bool accepted = is_signed(&fs, PATH, "good");
        for (uint32_t i = 0; accepted && i < c.n_sections; i++) {
            if (elm_section_is_immutable(c.sections[i].type))
                accepted = elm_section_check_sha256(&c, &c.sections[i], NULL) == ELM_OK;
        }
        n_caught += !accepted;
        elm_container_close(&c);
    }
    assert_int_equal(n_caught, soak(10000, 1000));
    free(intact);
    fault_io_free(&fs);
}

static void refuses_other_weights(void **state) {
    fault_io fs;
    elm_container c, other;
    elm_attach_result r;
    elm_error err;
    const elm_trust all = {.everything = true};
    (void)state;
    fault_io_init(&fs);
    put_base(&fs, PATH);
    put_base(&fs, "other.elm");
    /* The other model differs in one weight. */
    size_t size;
    uint8_t *file = fault_io_get(&fs, "other.elm", &size);
    assert_int_equal(elm_container_open(&fs.platform, "other.elm", &c, NULL), ELM_OK);
    for (uint32_t i = 0; i < c.n_sections; i++) {
        const elm_section *s = &c.sections[i];
        if (s->type != ELM_SECTION_WEIGHTS) continue;
        file[s->offset] ^= 1;
        elm_sha256 h;
        elm_sha256_init(&h);
        elm_sha256_update(&h, file + s->offset, (size_t)s->size);
        elm_sha256_final(&h, file + c.toc_offset + 32 + i * 128 + 48);
        tiny_repair_section(file, size, i);
    }
    elm_container_close(&c);
    add(&fs, "other.elm", "cpu:a", WHOLE, "blob", "");
    assert_int_equal(elm_container_open(&fs.platform, "other.elm", &other, NULL), ELM_OK);
    assert_int_equal(elm_product_attach(&fs.platform, PATH, &other, &r, &err), ELM_MALFORMED);
    assert_non_null(strstr(err.message, "other weights"));
    assert_non_null(strstr(err.message, "compile"));
    elm_container_close(&other);
    assert_int_equal(count(&fs, PATH, ELM_SECTION_PRODUCT), 0);
    assert_int_equal(judge(&fs, "other.elm", 0, &all, NULL), ELM_OK);
    fault_io_free(&fs);
}

static void attaches(void **state) {
    fault_io fs;
    elm_container other;
    elm_attach_result r;
    elm_error err;
    const elm_trust key = {.check = fake_check, .context = "good"};
    (void)state;
    fault_io_init(&fs);
    put_base(&fs, PATH);
    put_base(&fs, "other.elm");
    assert_int_equal(elm_container_open(&fs.platform, "other.elm", &other, NULL), ELM_OK);
    assert_int_equal(elm_product_attach(&fs.platform, PATH, &other, &r, &err), ELM_MALFORMED);
    assert_non_null(strstr(err.message, "no product"));
    elm_container_close(&other);
    add(&fs, "other.elm", "cpu:a", WHOLE, "blob", "");
    add(&fs, "other.elm", "cpu:b", WHOLE, "blob b", "");
    sign(&fs, "other.elm", ELM_SIGNED_PRODUCT, 1, "good");
    add(&fs, PATH, "cpu:a", WHOLE, "an older blob", "");
    assert_int_equal(elm_container_open(&fs.platform, "other.elm", &other, NULL), ELM_OK);
    assert_int_equal(elm_product_attach(&fs.platform, PATH, &other, &r, &err), ELM_OK);
    assert_int_equal(r.n_added, 2);
    assert_int_equal(r.n_replaced, 1);
    assert_int_equal(count(&fs, PATH, ELM_SECTION_PRODUCT), 2);
    assert_int_equal(judge(&fs, PATH, 1, &key, &err), ELM_OK); /* its signature came along */
    assert_int_equal(elm_product_attach(&fs.platform, PATH, &other, &r, &err), ELM_OK);
    assert_int_equal(r.n_added, 0);
    assert_int_equal(r.n_same, 2);
    elm_container_close(&other);
    fault_io_free(&fs);
}

static void strips_only_what_may_go(void **state) {
    fault_io fs;
    elm_container c;
    elm_error err;
    const char *const a[] = {"cpu:a"}, *const x[] = {"cpu:x"};
    const elm_strip_options unknown = {.keep = x, .n_keep = 1},
                            nothing_left = {.no_fallback = true},
                            needs_weights = {.keep = a, .n_keep = 1, .no_fallback = true};
    (void)state;
    fault_io_init(&fs);
    put_base(&fs, PATH);
    add(&fs, PATH, "cpu:a", PART_OF, "blob", "");
    assert_int_equal(elm_container_open(&fs.platform, PATH, &c, NULL), ELM_OK);
    assert_int_equal(elm_strip(&c, "o.elm", &unknown, &err), ELM_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "cpu:x"));
    assert_int_equal(elm_strip(&c, "o.elm", &nothing_left, &err), ELM_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "--keep"));
    assert_int_equal(elm_strip(&c, "o.elm", &needs_weights, &err), ELM_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "--no-fallback"));
    assert_null(fault_find(&fs, "o.elm"));
    elm_container_close(&c);
    fault_io_free(&fs);
}

/* Products that come and go leave no trace behind compact: the bytes that convert wrote. */
static void compact_gives_the_original_back(void **state) {
    fault_io fs;
    elm_container c;
    elm_strip_options nothing = {0};
    size_t size, again;
    (void)state;
    fault_io_init(&fs);
    put_base(&fs, PATH);
    const uint8_t *p = fault_io_get(&fs, PATH, &size);
    uint8_t *original = malloc(size);
    assert_non_null(original);
    memcpy(original, p, size);
    add(&fs, PATH, "cpu:a", WHOLE, "blob", "");
    assert_int_equal(elm_container_open(&fs.platform, PATH, &c, NULL), ELM_OK);
    assert_int_equal(elm_strip(&c, "o.elm", &nothing, NULL), ELM_OK);
    elm_container_close(&c);
    p = fault_io_get(&fs, "o.elm", &again);
    assert_int_equal(size, again);
    assert_memory_equal(p, original, size);
    free(original);
    fault_io_free(&fs);
}

/* Every field of the head; `what` is in the message. Offsets as in docs/elm-format.md 13. */
static const struct {
    size_t at;
    uint8_t value;
    const char *what;
} wrong_heads[] = {
    {0, 'X', "head"}, {8, 0xa1, "head"},     {12, 0xff, "product"},  {14, 0xff, "record"},
    {16, 1, "blob"},  {24, 77, "blob"},      {31, 0x80, "blob"},     {128, 1, "head"},
    {159, 1, "head"}, {160, '[', "product"}, {164, 0x01, "product"}, {300, 1, "not zero"},
};

static void refuses_wrong_products(void **state) {
    const elm_trust all = {.everything = true};
    (void)state;
    for (size_t i = 0; i < sizeof wrong_heads / sizeof wrong_heads[0]; i++) {
        fault_io fs;
        elm_container c;
        elm_error err = {.message = ""};
        uint32_t index = 0;
        size_t size;
        fault_io_init(&fs);
        put_base(&fs, PATH);
        add(&fs, PATH, "cpu:a", WHOLE, "blob", "");
        uint8_t *file = fault_io_get(&fs, PATH, &size);
        assert_int_equal(elm_container_open(&fs.platform, PATH, &c, NULL), ELM_OK);
        while (c.sections[index].type != ELM_SECTION_PRODUCT) index++;
        file[c.sections[index].offset + wrong_heads[i].at] = wrong_heads[i].value;
        elm_container_close(&c);
        memcpy(file, file + ELM_SLOT_BYTES, ELM_SLOT_BYTES); /* slot A is what the repair reads */
        tiny_repair_section(file, size, index);
        memset(file + ELM_SLOT_BYTES, 0, ELM_SLOT_BYTES);
        elm_status status = judge(&fs, PATH, 0, &all, &err);
        if (status != ELM_MALFORMED || !strstr(err.message, wrong_heads[i].what))
            fail_msg("case %zu: status %d, %s", i, (int)status, err.message);
        fault_io_free(&fs);
    }
}

/* Content of the product's section from `at` on is replaced, and its checksum with it. */
static void overwrite(fault_io *fs, uint32_t type, size_t at, const void *bytes, size_t n) {
    elm_container c;
    uint32_t index = 0;
    size_t size;
    uint8_t *file = fault_io_get(fs, PATH, &size);
    assert_int_equal(elm_container_open(&fs->platform, PATH, &c, NULL), ELM_OK);
    while (c.sections[index].type != type) index++;
    memcpy(file + c.sections[index].offset + at, bytes, n);
    uint32_t slot = c.slot;
    elm_container_close(&c);
    if (slot == 1) memcpy(file, file + ELM_SLOT_BYTES, ELM_SLOT_BYTES);
    tiny_repair_section(file, size, index);
    memset(file + ELM_SLOT_BYTES, 0, ELM_SLOT_BYTES);
}

static void refuses_wrong_signatures(void **state) {
    static const struct {
        size_t at;
        uint8_t value;
        elm_status status;
        const char *words;
    } rows[] = {{0, 'X', ELM_MALFORMED, "is not one"},
                {8, 9, ELM_UNSUPPORTED, "not known here"},
                {12, 9, ELM_UNSUPPORTED, "not known here"}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        fault_io fs;
        elm_container c;
        elm_signature s;
        elm_error err = {.message = ""};
        fault_io_init(&fs);
        put_base(&fs, PATH);
        sign(&fs, PATH, ELM_SIGNED_MODEL, 0, "k");
        overwrite(&fs, ELM_SECTION_SIGNATURE, rows[i].at, &rows[i].value, 1);
        assert_int_equal(elm_container_open(&fs.platform, PATH, &c, NULL), ELM_OK);
        const elm_section *section = elm_container_find(&c, ELM_SECTION_SIGNATURE);
        elm_status status = elm_signature_read(&c, section, &s, &err);
        if (status != rows[i].status || !strstr(err.message, rows[i].words))
            fail_msg("%s, '%s'", elm_status_name(status), err.message);
        elm_container_close(&c);
        fault_io_free(&fs);
    }
}

static void refuses_a_wrong_list_of_dropped_sections(void **state) {
    static const uint64_t wrong[] = {0, ELM_SECTION_PRODUCT, ELM_SECTION_META,
                                     (uint64_t)1 << 32 | ELM_SECTION_WEIGHTS};
    static const char *const keep[] = {"cpu:a"};
    const elm_strip_options whole = {.keep = keep, .n_keep = 1, .no_fallback = true};
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        fault_io fs;
        elm_container c;
        elm_error err = {.message = ""};
        uint8_t root[32], number[8];
        fault_io_init(&fs);
        put_base(&fs, "base.elm");
        add(&fs, "base.elm", "cpu:a", WHOLE, "blob", "");
        assert_int_equal(elm_container_open(&fs.platform, "base.elm", &c, NULL), ELM_OK);
        assert_int_equal(elm_strip(&c, PATH, &whole, NULL), ELM_OK);
        elm_container_close(&c);
        tiny_put_le(number, wrong[i], 8);
        overwrite(&fs, ELM_SECTION_DROPPED, 0, number, 8);
        assert_int_equal(elm_container_open(&fs.platform, PATH, &c, NULL), ELM_OK);
        assert_int_equal(elm_root_of_model(&c, root, &err), ELM_MALFORMED);
        assert_non_null(strstr(err.message, "dropped sections"));
        elm_container_close(&c);
        fault_io_free(&fs);
    }
}

static void refuses_a_record_that_is_no_object(void **state) {
    fault_io fs;
    elm_error err = {.message = ""};
    const elm_trust all = {.everything = true};
    char record[] = WHOLE;
    (void)state;
    fault_io_init(&fs);
    put_base(&fs, PATH);
    add(&fs, PATH, "cpu:a", WHOLE, "blob", "");
    memset(record, ' ', sizeof record - 1);
    record[0] = '7';
    overwrite(&fs, ELM_SECTION_PRODUCT, sizeof(elm_disk_product), record, sizeof record - 1);
    assert_int_equal(judge(&fs, PATH, 0, &all, &err), ELM_MALFORMED);
    assert_non_null(strstr(err.message, "no JSON object"));
    fault_io_free(&fs);
}

static void strip_refuses_sections_it_does_not_know(void **state) {
    fault_io fs;
    elm_container c;
    elm_error err = {.message = ""};
    const elm_strip_options nothing = {0};
    size_t size;
    (void)state;
    fault_io_init(&fs);
    assert_int_equal(tiny_write(&fs.platform, PATH, NULL), ELM_OK);
    uint8_t *file = fault_io_get(&fs, PATH, &size);
    uint8_t *toc = file + tiny_get_le(file + offsetof(elm_disk_slot, toc_offset), 8);
    tiny_put_le(toc + sizeof(elm_disk_toc) + 5 * sizeof(elm_disk_section), 77, 4);
    tiny_repair_toc(file, size, 0);
    assert_int_equal(elm_container_open(&fs.platform, PATH, &c, NULL), ELM_OK);
    assert_int_equal(elm_strip(&c, "out.elm", &nothing, &err), ELM_UNSUPPORTED);
    assert_non_null(strstr(err.message, "type 77"));
    elm_container_close(&c);
    fault_io_free(&fs);
}

static void refuses_a_changed_blob(void **state) {
    fault_io fs;
    elm_container c;
    elm_error err;
    size_t size;
    uint32_t index = 0;
    const elm_trust all = {.everything = true};
    (void)state;
    fault_io_init(&fs);
    put_base(&fs, PATH);
    add(&fs, PATH, "cpu:a", WHOLE, "blob", machine);
    uint8_t *file = fault_io_get(&fs, PATH, &size);
    assert_int_equal(elm_container_open(&fs.platform, PATH, &c, NULL), ELM_OK);
    while (c.sections[index].type != ELM_SECTION_PRODUCT) index++;
    file[c.sections[index].offset + c.sections[index].size - 1] ^= 1;
    elm_container_close(&c);
    assert_int_equal(judge(&fs, PATH, 0, &all, &err), ELM_MALFORMED); /* the chunk's checksum */
    memcpy(file, file + ELM_SLOT_BYTES, ELM_SLOT_BYTES);
    tiny_repair_section(file, size, index);
    assert_int_equal(judge(&fs, PATH, 0, &all, &err), ELM_MALFORMED); /* the blob's hash */
    assert_non_null(strstr(err.message, "blob"));
    fault_io_free(&fs);
}

static void refuses_wrong_arguments(void **state) {
    fault_io fs;
    elm_error err;
    bool written;
    static const char *const records[] = {"", "[]", "{", "{\"a\": 1}x"};
    static const char *const targets[] = {"", "a b", "\xff",
                                          "12345678901234567890123456789012345678901234567890"};
    (void)state;
    fault_io_init(&fs);
    put_base(&fs, PATH);
    for (size_t i = 0; i < 4; i++) {
        elm_new_product p = {
            .target = "cpu:a", .record = elm_span_str(records[i]), .blob = elm_span_str("b")};
        assert_int_equal(elm_product_add(&fs.platform, PATH, &p, &written, &err),
                         ELM_INVALID_ARGUMENT);
        p = (elm_new_product){
            .target = targets[i], .record = elm_span_str("{}"), .blob = elm_span_str("b")};
        assert_int_equal(elm_product_add(&fs.platform, PATH, &p, &written, &err),
                         ELM_INVALID_ARGUMENT);
        assert_false(written);
    }
    assert_int_equal(count(&fs, PATH, ELM_SECTION_PRODUCT), 0);
    fault_io_free(&fs);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trusts_for_three_reasons),
        cmocka_unit_test(keeps_kinds_of_signatures_apart),
        cmocka_unit_test(what_voids_no_signature),
        cmocka_unit_test(every_change_voids_the_signature),
        cmocka_unit_test(refuses_other_weights),
        cmocka_unit_test(attaches),
        cmocka_unit_test(strips_only_what_may_go),
        cmocka_unit_test(compact_gives_the_original_back),
        cmocka_unit_test(refuses_wrong_products),
        cmocka_unit_test(refuses_wrong_signatures),
        cmocka_unit_test(refuses_a_wrong_list_of_dropped_sections),
        cmocka_unit_test(refuses_a_record_that_is_no_object),
        cmocka_unit_test(strip_refuses_sections_it_does_not_know),
        cmocka_unit_test(refuses_a_changed_blob),
        cmocka_unit_test(refuses_wrong_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
