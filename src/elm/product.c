/* product.c - see product.h; elm. */
#include "elm/product.h"

#include "base/checked.h"
#include "base/hash.h"

#include <stdio.h>
#include <string.h>

enum { PRODUCT_CHUNK = ELM_MAX_CHUNK_BYTES, HMAC_BLOCK = 64 };

static const char product_domain[20] = "edge-llm product 1";

static void sha256_of(elm_span bytes, uint8_t out[32]) {
    elm_sha256 h;
    elm_sha256_init(&h);
    if (bytes.size > 0) elm_sha256_update(&h, bytes.data, bytes.size);
    elm_sha256_final(&h, out);
}

static void digest_of(const char *target, const uint8_t made_from[32], elm_span record,
                      const uint8_t blob_sha256[32], uint8_t out[32]) {
    elm_sha256 h;
    char name[48] = "";
    uint8_t record_sha[32];
    snprintf(name, sizeof name, "%s", target);
    sha256_of(record, record_sha);
    elm_sha256_init(&h);
    elm_sha256_update(&h, product_domain, sizeof product_domain);
    elm_sha256_update(&h, name, sizeof name);
    elm_sha256_update(&h, made_from, 32);
    elm_sha256_update(&h, record_sha, 32);
    elm_sha256_update(&h, blob_sha256, 32);
    elm_sha256_final(&h, out);
}

/* HMAC-SHA256 (RFC 2104) of 32 bytes. */
static void hmac(elm_span key, const uint8_t message[32], uint8_t out[32]) {
    uint8_t block[HMAC_BLOCK] = {0}, pad[HMAC_BLOCK];
    elm_sha256 h;
    if (key.size > HMAC_BLOCK)
        sha256_of(key, block);
    else
        memcpy(block, key.data, key.size);
    for (int i = 0; i < HMAC_BLOCK; i++) pad[i] = block[i] ^ 0x36;
    elm_sha256_init(&h);
    elm_sha256_update(&h, pad, sizeof pad);
    elm_sha256_update(&h, message, 32);
    elm_sha256_final(&h, out);
    for (int i = 0; i < HMAC_BLOCK; i++) pad[i] = block[i] ^ 0x5c;
    elm_sha256_init(&h);
    elm_sha256_update(&h, pad, sizeof pad);
    elm_sha256_update(&h, out, 32);
    elm_sha256_final(&h, out);
}

/* In the same time wherever they differ. */
static bool same_bytes(const uint8_t a[32], const uint8_t b[32]) {
    unsigned difference = 0;
    for (int i = 0; i < 32; i++) difference |= a[i] ^ b[i];
    return difference == 0;
}

/* ---- reading ---- */

static elm_status bad(const elm_container *c, const elm_section *s, const char *what,
                      elm_error *err) {
    return elm_fail(err, ELM_MALFORMED, "'%s': product '%s' %s", c->file.path, s->name, what);
}

static elm_status read_head(const elm_container *c, const elm_section *s, elm_product *p,
                            elm_error *err) {
    elm_reader r = elm_reader_of(elm_container_bytes(c, s));
    const uint8_t *magic = elm_read_bytes(&r, 8);
    uint32_t head_bytes = elm_read_u32(&r), record_bytes = elm_read_u32(&r);
    uint64_t blob_offset = elm_read_u64(&r), blob_bytes = elm_read_u64(&r), expected;
    const uint8_t *made_from = elm_read_bytes(&r, 32), *sha = elm_read_bytes(&r, 32),
                  *seal = elm_read_bytes(&r, 32), *reserved = elm_read_bytes(&r, 32);
    if (r.failed || memcmp(magic, ELM_PRODUCT_MAGIC, 8) != 0 ||
        head_bytes != sizeof(elm_disk_product) || !elm_bytes_are_zero(reserved, 32))
        return bad(c, s, "does not begin with a product's head", err);
    const uint8_t *record = elm_read_bytes(&r, record_bytes);
    if (!record || record_bytes > ELM_MAX_PRODUCT_RECORD)
        return bad(c, s, "has a record that does not fit", err);
    if (!elm_align_u64(r.pos, ELM_BLOB_ALIGN, &expected) || blob_offset != expected ||
        !elm_range_inside(blob_offset, blob_bytes, s->size) || blob_offset + blob_bytes != s->size)
        return bad(c, s, "has a blob that does not end where its section does", err);
    if (!elm_bytes_are_zero(r.span.data + r.pos, (size_t)blob_offset - r.pos))
        return bad(c, s, "has bytes between record and blob that are not zero", err);
    p->record_text = elm_span_of(record, record_bytes);
    p->blob = elm_span_of(r.span.data + blob_offset, (size_t)blob_bytes);
    memcpy(p->made_from, made_from, 32);
    memcpy(p->blob_sha256, sha, 32);
    memcpy(p->seal, seal, 32);
    return ELM_OK;
}

elm_status elm_product_read(elm_container *c, const elm_section *s, elm_arena *arena,
                            elm_product *p, elm_error *err) {
    memset(p, 0, sizeof *p);
    p->section = s;
    p->target = s->name;
    /* Head and record lie in the first chunks; the blob is checked when it is judged. */
    uint64_t most = sizeof(elm_disk_product) + ELM_MAX_PRODUCT_RECORD + ELM_BLOB_ALIGN;
    ELM_TRY(elm_container_check(c, s, 0, s->size < most ? s->size : most, err));
    ELM_TRY(read_head(c, s, p, err));
    ELM_TRY(elm_json_parse(p->record_text, "product", NULL, arena, &p->record, err));
    if (p->record->type != ELM_JSON_OBJECT)
        return bad(c, s, "has a record that is no JSON object", err);
    digest_of(p->target, p->made_from, p->record_text, p->blob_sha256, p->digest);
    return ELM_OK;
}

static bool is_sealed(const elm_product *p, elm_span key) {
    uint8_t expected[32];
    if (key.size == 0 || elm_bytes_are_zero(p->seal, 32)) return false;
    hmac(key, p->digest, expected);
    return same_bytes(p->seal, expected);
}

static elm_status check_made_from(elm_container *c, const elm_product *p, elm_error *err) {
    uint8_t root[32];
    ELM_TRY(elm_root_of_weights(c, root, err));
    if (memcmp(root, p->made_from, 32) == 0) return ELM_OK;
    return elm_fail(err, ELM_MALFORMED,
                    "product '%s' was made from other weights (%02x%02x%02x%02x, this model is "
                    "%02x%02x%02x%02x); compile this model again",
                    p->target, p->made_from[0], p->made_from[1], p->made_from[2], p->made_from[3],
                    root[0], root[1], root[2], root[3]);
}

elm_status elm_product_judge(elm_container *c, const elm_product *p, const elm_trust *trust,
                             elm_error *err) {
    uint8_t sha[32];
    bool is_signed = false;
    uint32_t n_signatures = 0;
    ELM_TRY(check_made_from(c, p, err));
    ELM_TRY(elm_container_check(c, p->section, 0, p->section->size, err));
    sha256_of(p->blob, sha);
    if (memcmp(sha, p->blob_sha256, 32) != 0) {
        return elm_fail(err, ELM_MALFORMED,
                        "product '%s': its blob is not the one that was compiled; compile again",
                        p->target);
    }
    if (trust->everything || is_sealed(p, trust->machine_key)) return ELM_OK;
    ELM_TRY(elm_signature_find(c, ELM_SIGNED_PRODUCT, p->digest, trust->check, trust->context,
                               &is_signed, &n_signatures, err));
    if (is_signed) return ELM_OK;
    return elm_fail(err, ELM_UNSUPPORTED,
                    "product '%s' was not made on this machine and %s; compile here, give the key "
                    "of its maker, or trust it by name",
                    p->target,
                    n_signatures == 0 ? "is not signed"
                    : trust->check    ? "is signed by another key"
                                      : "no key to check its signature was given");
}

/* ---- adding ---- */

/* Marks the product of this target, if there is one, as retired. True when there was. */
static bool retire_target(elm_appender *a, const char *target) {
    bool found = false;
    for (uint32_t i = 0; i < a->c.n_sections; i++) {
        const elm_section *s = &a->c.sections[i];
        if (s->type != ELM_SECTION_PRODUCT || strcmp(s->name, target) != 0) continue;
        a->retire[i] = found = true;
    }
    return found;
}

/* Whether the file has exactly this product (a damaged one counts as another). */
static bool has_product(elm_container *c, const char *target, const uint8_t digest[32]) {
    bool found = false;
    elm_arena arena;
    elm_arena_init(&arena, c->platform->alloc, 0);
    for (uint32_t i = 0; i < c->n_sections && !found; i++) {
        elm_product p;
        const elm_section *s = &c->sections[i];
        found = s->type == ELM_SECTION_PRODUCT && strcmp(s->name, target) == 0 &&
                elm_product_read(c, s, &arena, &p, NULL) == ELM_OK &&
                memcmp(p.digest, digest, 32) == 0 &&
                elm_container_check(c, s, 0, s->size, NULL) == ELM_OK;
    }
    elm_arena_free(&arena);
    return found;
}

static elm_status write_product(elm_body *b, const elm_new_product *p, const uint8_t made_from[32],
                                const uint8_t blob_sha[32], const uint8_t digest[32],
                                elm_error *err) {
    uint8_t seal[32] = {0};
    elm_buf head;
    uint64_t blob_offset;
    /* The record has been checked: at most ELM_MAX_PRODUCT_RECORD bytes. */
    (void)elm_align_u64(sizeof(elm_disk_product) + p->record.size, ELM_BLOB_ALIGN, &blob_offset);
    if (p->machine_key.size > 0) hmac(p->machine_key, digest, seal);
    elm_buf_init(&head, b->platform->alloc, sizeof(elm_disk_product));
    elm_buf_append(&head, ELM_PRODUCT_MAGIC, 8);
    elm_buf_u32(&head, sizeof(elm_disk_product));
    elm_buf_u32(&head, (uint32_t)p->record.size);
    elm_buf_u64(&head, blob_offset);
    elm_buf_u64(&head, p->blob.size);
    elm_buf_append(&head, made_from, 32);
    elm_buf_append(&head, blob_sha, 32);
    elm_buf_append(&head, seal, 32);
    elm_buf_append(&head, (uint8_t[32]){0}, 32);
    elm_status status = elm_buf_check(&head, "a product's head", err);
    if (status == ELM_OK)
        status = elm_body_begin(b, ELM_SECTION_PRODUCT, PRODUCT_CHUNK, p->target, err);
    if (status == ELM_OK) status = elm_body_write(b, head.data, head.size, err);
    if (status == ELM_OK) status = elm_body_write(b, p->record.data, p->record.size, err);
    if (status == ELM_OK) status = elm_body_align(b, ELM_BLOB_ALIGN, err);
    if (status == ELM_OK && p->blob.size > 0)
        status = elm_body_write(b, p->blob.data, p->blob.size, err);
    if (status == ELM_OK) status = elm_body_end(b, err);
    elm_buf_free(&head);
    return status;
}

static elm_status check_record(const elm_platform *platform, const elm_new_product *p,
                               elm_error *err) {
    elm_arena arena;
    const elm_json *record = NULL;
    elm_arena_init(&arena, platform->alloc, 0);
    elm_status status = elm_json_parse(p->record, "product", NULL, &arena, &record, NULL);
    bool holds = status == ELM_OK && record->type == ELM_JSON_OBJECT;
    elm_arena_free(&arena);
    if (status == ELM_OUT_OF_MEMORY) return elm_fail_oom(err, p->record.size, "a product's record");
    if (holds && p->record.size <= ELM_MAX_PRODUCT_RECORD) return ELM_OK;
    return elm_fail(err, ELM_INVALID_ARGUMENT,
                    "product '%s': its record must be a JSON object of at most %d bytes",
                    p->target, ELM_MAX_PRODUCT_RECORD);
}

elm_status elm_product_add(const elm_platform *platform, const char *path,
                           const elm_new_product *p, bool *written, elm_error *err) {
    elm_appender a;
    uint8_t root[32], blob_sha[32], digest[32];
    *written = false;
    ELM_TRY(check_record(platform, p, err));
    sha256_of(p->blob, blob_sha);
    elm_status status = elm_append_open(platform, path, &a, err);
    if (status == ELM_OK) status = elm_root_of_weights(&a.c, root, err);
    if (status == ELM_OK) {
        digest_of(p->target, root, p->record, blob_sha, digest);
        if (has_product(&a.c, p->target, digest)) goto out;
        (void)retire_target(&a, p->target);
        status = elm_append_start(&a, p->blob.size + p->record.size, err);
    }
    if (status == ELM_OK) status = write_product(&a.body, p, root, blob_sha, digest, err);
    if (status == ELM_OK) status = elm_append_commit(&a, err);
    *written = status == ELM_OK;
out:
    elm_append_close(&a);
    return status;
}

/* ---- attaching ---- */

static elm_status copy_section(elm_body *b, elm_container *from, const elm_section *s,
                               elm_error *err) {
    const char *name = s->type == ELM_SECTION_PRODUCT ? s->name : NULL;
    elm_span bytes = elm_container_bytes(from, s);
    ELM_TRY(elm_container_check(from, s, 0, s->size, err));
    ELM_TRY(elm_body_begin(b, (elm_section_type)s->type, s->chunk_bytes, name, err));
    if (bytes.size > 0) ELM_TRY(elm_body_write(b, bytes.data, bytes.size, err));
    return elm_body_end(b, err);
}

/* What of `other` is to be added: take[i] for its section i. */
static elm_status choose(elm_appender *a, elm_container *other, elm_arena *arena, bool *take,
                         elm_attach_result *out, elm_error *err) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < other->n_sections; i++) {
        elm_product p;
        const elm_section *s = &other->sections[i];
        if (s->type != ELM_SECTION_PRODUCT) continue;
        n++;
        ELM_TRY(elm_product_read(other, s, arena, &p, err));
        ELM_TRY(check_made_from(&a->c, &p, err));
        if (has_product(&a->c, p.target, p.digest)) {
            out->n_same++;
            continue;
        }
        take[i] = true;
        out->n_added++;
        out->n_replaced += retire_target(a, p.target);
        for (uint32_t k = 0; k < other->n_sections; k++) {
            elm_signature signature;
            if (other->sections[k].type != ELM_SECTION_SIGNATURE) continue;
            ELM_TRY(elm_signature_read(other, &other->sections[k], &signature, err));
            if (signature.kind == ELM_SIGNED_PRODUCT && memcmp(signature.digest, p.digest, 32) == 0)
                take[k] = true;
        }
    }
    if (n > 0) return ELM_OK;
    return elm_fail(err, ELM_MALFORMED, "'%s' holds no product; there is nothing to attach",
                    other->file.path);
}

elm_status elm_product_attach(const elm_platform *platform, const char *path, elm_container *other,
                              elm_attach_result *out, elm_error *err) {
    elm_appender a;
    elm_arena arena;
    bool take[ELM_MAX_SECTIONS] = {false};
    uint64_t bytes = 0;
    memset(out, 0, sizeof *out);
    elm_arena_init(&arena, platform->alloc, 0);
    elm_status status = elm_append_open(platform, path, &a, err);
    if (status == ELM_OK) status = choose(&a, other, &arena, take, out, err);
    if (status == ELM_OK && out->n_added > 0) {
        for (uint32_t i = 0; i < other->n_sections; i++)
            if (take[i]) bytes += other->sections[i].size + ELM_SECTION_ALIGN;
        status = elm_append_start(&a, bytes, err);
        for (uint32_t i = 0; status == ELM_OK && i < other->n_sections; i++)
            if (take[i]) status = copy_section(&a.body, other, &other->sections[i], err);
        if (status == ELM_OK) status = elm_append_commit(&a, err);
    }
    elm_append_close(&a);
    elm_arena_free(&arena);
    if (status != ELM_OK) memset(out, 0, sizeof *out);
    return status;
}
