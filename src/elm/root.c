/* root.c - see root.h; elm. */
#include "elm/root.h"

#include "base/hash.h"

#include <string.h>

static const char root_domain[16] = "edge-llm root 1";
static const char signature_domain[28] = "edge-llm signature 1";

static const elm_section_type immutable[] = {
    ELM_SECTION_META,      ELM_SECTION_GRAPH,    ELM_SECTION_TENSORS, ELM_SECTION_WEIGHTS,
    ELM_SECTION_TOKENIZER, ELM_SECTION_TEMPLATE, ELM_SECTION_QUANT,   ELM_SECTION_PROCESSOR,
};

bool elm_section_is_immutable(uint32_t type) {
    for (size_t i = 0; i < sizeof immutable / sizeof immutable[0]; i++) {
        if ((uint32_t)immutable[i] == type) return true;
    }
    return false;
}

static elm_status find_dropped(elm_container *c, elm_section_type type, uint64_t *size,
                               uint8_t sha256[32], int *found, elm_error *err) {
    elm_span content;
    if (!elm_container_find(c, ELM_SECTION_DROPPED)) return ELM_OK;
    ELM_TRY(elm_container_load(c, ELM_SECTION_DROPPED, &content, err));
    elm_reader r = elm_reader_of(content);
    uint32_t last = 0;
    while (elm_reader_left(&r) > 0) {
        uint32_t number = elm_read_u32(&r), reserved = elm_read_u32(&r);
        uint64_t bytes = elm_read_u64(&r);
        const uint8_t *sha = elm_read_bytes(&r, 32);
        if (!sha || reserved != 0 || number <= last || !elm_section_is_immutable(number) ||
            elm_container_find(c, (elm_section_type)number)) {
            return elm_fail(err, ELM_MALFORMED,
                            "'%s': the list of dropped sections is not one of sections that are "
                            "not here, in order",
                            c->file.path);
        }
        last = number;
        if (number != (uint32_t)type) continue;
        *size = bytes;
        memcpy(sha256, sha, 32);
        *found = 2;
    }
    return ELM_OK;
}

elm_status elm_section_digest(elm_container *c, elm_section_type type, uint64_t *size,
                              uint8_t sha256[32], int *found, elm_error *err) {
    const elm_section *s = elm_container_find(c, type);
    *found = 0;
    *size = 0;
    if (!s) return find_dropped(c, type, size, sha256, found, err);
    *found = 1;
    *size = s->size;
    memcpy(sha256, s->sha256, 32);
    return ELM_OK;
}

static elm_status root_of(elm_container *c, const elm_section_type *types, size_t n,
                          uint8_t out[32], elm_error *err) {
    elm_sha256 h;
    elm_sha256_init(&h);
    elm_sha256_update(&h, root_domain, sizeof root_domain);
    for (size_t i = 0; i < n; i++) {
        uint64_t size;
        uint8_t record[44];
        int found;
        ELM_TRY(elm_section_digest(c, types[i], &size, record + 12, &found, err));
        if (!found) continue;
        for (int b = 0; b < 4; b++) record[b] = (uint8_t)((uint32_t)types[i] >> (8 * b));
        for (int b = 0; b < 8; b++) record[4 + b] = (uint8_t)(size >> (8 * b));
        elm_sha256_update(&h, record, sizeof record);
    }
    elm_sha256_final(&h, out);
    return ELM_OK;
}

elm_status elm_root_of_model(elm_container *c, uint8_t out[32], elm_error *err) {
    return root_of(c, immutable, sizeof immutable / sizeof immutable[0], out, err);
}

elm_status elm_root_of_weights(elm_container *c, uint8_t out[32], elm_error *err) {
    return root_of(c, immutable + 1, 3, out, err);
}

elm_status elm_section_check_sha256(const elm_container *c, const elm_section *s, elm_error *err) {
    elm_sha256 h;
    uint8_t sha[32];
    elm_span bytes = elm_container_bytes(c, s);
    elm_sha256_init(&h);
    if (bytes.size > 0) elm_sha256_update(&h, bytes.data, bytes.size);
    elm_sha256_final(&h, sha);
    if (memcmp(sha, s->sha256, 32) == 0) return ELM_OK;
    return elm_fail(err, ELM_MALFORMED,
                    "'%s': section %s does not have the SHA-256 in the table of contents: it was "
                    "changed",
                    c->file.path, elm_section_text(s->type));
}

/* ---- signatures ---- */

void elm_signed_message(elm_signed_kind kind, const uint8_t digest[32],
                        uint8_t out[ELM_SIGNED_MESSAGE_BYTES]) {
    memset(out, 0, ELM_SIGNED_MESSAGE_BYTES);
    memcpy(out, signature_domain, sizeof signature_domain);
    out[28] = (uint8_t)kind;
    memcpy(out + 32, digest, 32);
}

elm_status elm_signature_read(elm_container *c, const elm_section *s, elm_signature *out,
                              elm_error *err) {
    memset(out, 0, sizeof *out);
    ELM_TRY(elm_container_check(c, s, 0, s->size, err));
    elm_reader r = elm_reader_of(elm_container_bytes(c, s));
    const uint8_t *magic = elm_read_bytes(&r, 8);
    uint32_t algorithm = elm_read_u32(&r), kind = elm_read_u32(&r);
    const uint8_t *digest = elm_read_bytes(&r, 32), *key = elm_read_bytes(&r, 32),
                  *signature = elm_read_bytes(&r, 64);
    if (r.failed || elm_reader_left(&r) != 0 || memcmp(magic, ELM_SIGNATURE_MAGIC, 8) != 0) {
        return elm_fail(err, ELM_MALFORMED, "'%s': a signature section of %llu bytes is not one",
                        c->file.path, (unsigned long long)s->size);
    }
    if (algorithm != ELM_SIGNATURE_ED25519 ||
        (kind != ELM_SIGNED_MODEL && kind != ELM_SIGNED_PRODUCT)) {
        return elm_fail(err, ELM_UNSUPPORTED,
                        "'%s': a signature of kind %u with algorithm %u is not known here",
                        c->file.path, kind, algorithm);
    }
    out->kind = (elm_signed_kind)kind;
    memcpy(out->digest, digest, 32);
    memcpy(out->key_id, key, 32);
    memcpy(out->signature, signature, 64);
    return ELM_OK;
}

void elm_signature_write(const elm_signature *s, uint8_t out[sizeof(elm_disk_signature)]) {
    elm_disk_signature d = {.algorithm = ELM_SIGNATURE_ED25519, .kind = (uint32_t)s->kind};
    uint8_t *p = out;
    memcpy(p, ELM_SIGNATURE_MAGIC, 8);
    p += 8;
    for (int b = 0; b < 4; b++) *p++ = (uint8_t)(d.algorithm >> (8 * b));
    for (int b = 0; b < 4; b++) *p++ = (uint8_t)(d.kind >> (8 * b));
    memcpy(p, s->digest, 32);
    memcpy(p + 32, s->key_id, 32);
    memcpy(p + 64, s->signature, 64);
}

elm_status elm_signature_find(elm_container *c, elm_signed_kind kind, const uint8_t digest[32],
                              elm_signature_check check, void *context, bool *good,
                              uint32_t *n_seen, elm_error *err) {
    uint8_t message[ELM_SIGNED_MESSAGE_BYTES];
    *good = false;
    *n_seen = 0;
    elm_signed_message(kind, digest, message);
    for (uint32_t i = 0; i < c->n_sections; i++) {
        elm_signature s;
        if (c->sections[i].type != ELM_SECTION_SIGNATURE) continue;
        ELM_TRY(elm_signature_read(c, &c->sections[i], &s, err));
        if (s.kind != kind || memcmp(s.digest, digest, 32) != 0) continue;
        ++*n_seen;
        *good = *good || (check && check(context, &s, message));
    }
    return ELM_OK;
}
