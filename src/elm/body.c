/* body.c - see body.h; elm. */
#include "elm/body.h"

#include "base/checked.h"

#include <assert.h>
#include <string.h>

/* A buffer ends where the file reaches a multiple of it: a page cache with large folios then holds
 * the file in pieces that a reader can map as 2 MiB pages. */
enum { BUFFER_BYTES = 2 << 20, MAX_TABLE_BYTES = 256 << 20 };

elm_status elm_body_init(elm_body *b, const elm_platform *platform, elm_file *file,
                         uint64_t position, elm_error *err) {
    memset(b, 0, sizeof *b);
    assert(position % ELM_SECTION_ALIGN == 0 && position >= ELM_SECTION_ALIGN);
    b->platform = platform;
    b->file = file;
    b->position = position;
    elm_buf_init(&b->sections, platform->alloc, MAX_TABLE_BYTES);
    elm_buf_init(&b->checksums, platform->alloc, MAX_TABLE_BYTES);
    return elm_alloc(platform->alloc, BUFFER_BYTES, "a write buffer", &b->buffer, err);
}

void elm_body_free(elm_body *b) {
    if (!b->platform) return;
    elm_buf_free(&b->sections);
    elm_buf_free(&b->checksums);
    elm_free(b->platform->alloc, b->buffer, BUFFER_BYTES);
    memset(b, 0, sizeof *b);
}

/* ---- bytes ---- */

elm_status elm_body_flush(elm_body *b, elm_error *err) {
    size_t n = b->n_buffer;
    if (b->failed != ELM_OK)
        return elm_fail(err, b->failed, "'%s': an earlier write failed", b->file->path);
    b->n_buffer = 0;
    if (n > 0) b->failed = elm_file_write_at(b->file, b->position - n, b->buffer, n, err);
    return b->failed;
}

static elm_status put(elm_body *b, const uint8_t *data, size_t size, elm_error *err) {
    if (b->failed != ELM_OK) return elm_body_flush(b, err); /* nothing empties the buffer any more */
    while (size > 0) {
        size_t room = BUFFER_BYTES - b->position % BUFFER_BYTES, n = room < size ? room : size;
        memcpy(b->buffer + b->n_buffer, data, n);
        b->n_buffer += n;
        b->position += n;
        data += n;
        size -= n;
        if (n == room) ELM_TRY(elm_body_flush(b, err));
    }
    return ELM_OK;
}

static elm_status align_position(elm_body *b, elm_error *err) {
    static const uint8_t zeros[4096] = {0};
    uint64_t left = (ELM_SECTION_ALIGN - b->position % ELM_SECTION_ALIGN) % ELM_SECTION_ALIGN;
    for (size_t n; left > 0; left -= n) {
        n = left < sizeof zeros ? (size_t)left : sizeof zeros;
        ELM_TRY(put(b, zeros, n, err));
    }
    return ELM_OK;
}

static void end_chunk(elm_body *b) {
    elm_buf_u32(&b->checksums, b->chunk_crc);
    b->section.n_chunks++;
    b->chunk_used = 0;
}

/* The sums over bytes of the open section. */
static void count(elm_body *b, const uint8_t *p, size_t left) {
    if (left > 0) elm_sha256_update(&b->sha, p, left);
    b->crc = elm_crc32c(b->crc, p, left);
    while (left > 0) {
        size_t room = b->section.chunk_bytes - b->chunk_used, n = left < room ? left : room;
        if (b->chunk_used == 0) b->chunk_crc = elm_chunk_crc(b->section.n_chunks, NULL, 0);
        b->chunk_crc = elm_crc32c(b->chunk_crc, p, n);
        b->chunk_used += (uint32_t)n;
        p += n;
        left -= n;
        if (b->chunk_used == b->section.chunk_bytes) end_chunk(b);
    }
}

static elm_status read_back(elm_body *b, uint64_t size, elm_error *err) {
    ELM_TRY(elm_body_flush(b, err));
    while (size > 0) {
        size_t n = size < BUFFER_BYTES ? (size_t)size : BUFFER_BYTES;
        ELM_TRY(elm_file_read_at(b->file, b->position, b->buffer, n, err));
        count(b, b->buffer, n);
        b->position += n;
        size -= n;
    }
    return ELM_OK;
}

elm_status elm_body_write(elm_body *b, const void *data, uint64_t size, elm_error *err) {
    assert(b->open);
    if (!data) return read_back(b, size, err);
    count(b, data, (size_t)size);
    return put(b, data, (size_t)size, err);
}

uint64_t elm_body_tell(const elm_body *b) {
    return b->position - b->section.offset;
}

elm_status elm_body_align(elm_body *b, size_t align, elm_error *err) {
    static const uint8_t zeros[4096] = {0};
    uint64_t left = (align - elm_body_tell(b) % align) % align;
    for (size_t n; left > 0; left -= n) {
        n = left < sizeof zeros ? (size_t)left : sizeof zeros;
        ELM_TRY(elm_body_write(b, zeros, n, err));
    }
    return ELM_OK;
}

/* ---- sections ---- */

static elm_status add_record(elm_body *b, const elm_disk_section *s, elm_error *err) {
    if (b->n_sections == ELM_MAX_SECTIONS) {
        return elm_fail(err, ELM_LIMIT,
                        "'%s' has %d sections and takes no more: run 'edge-llm compact' on it",
                        b->file->path, ELM_MAX_SECTIONS);
    }
    elm_buf_u32(&b->sections, s->type);
    elm_buf_u32(&b->sections, s->flags);
    elm_buf_u64(&b->sections, s->offset);
    elm_buf_u64(&b->sections, s->size);
    elm_buf_u64(&b->sections, s->alignment);
    elm_buf_u32(&b->sections, s->chunk_bytes);
    elm_buf_u32(&b->sections, s->n_chunks);
    elm_buf_u64(&b->sections, s->first_checksum);
    elm_buf_append(&b->sections, s->sha256, sizeof s->sha256);
    elm_buf_append(&b->sections, s->name, sizeof s->name);
    b->n_sections++;
    ELM_TRY(elm_buf_check(&b->checksums, "the checksums", err));
    return elm_buf_check(&b->sections, "the table of contents", err);
}

elm_status elm_body_keep(elm_body *b, const elm_container *c, const elm_section *s,
                         elm_section_type type, elm_error *err) {
    elm_disk_section d = {.type = (uint32_t)type,
                          .offset = s->offset,
                          .size = s->size,
                          .alignment = ELM_SECTION_ALIGN,
                          .chunk_bytes = s->chunk_bytes,
                          .n_chunks = s->n_chunks,
                          .first_checksum = b->checksums.size / 4};
    const elm_section_rule *rule = elm_section_rule_of(d.type);
    assert(!b->open && elm_range_inside(s->offset, s->size, b->position));
    d.flags = !rule ? s->flags : rule->must_understand ? ELM_SECTION_MUST_UNDERSTAND : 0;
    memcpy(d.sha256, s->sha256, sizeof d.sha256);
    if (d.type == s->type) memcpy(d.name, s->name, sizeof d.name);
    if (d.type < 32) b->types_seen |= 1u << d.type;
    elm_buf_append(&b->checksums, c->checksums + s->first_checksum * 4, (size_t)s->n_chunks * 4);
    return add_record(b, &d, err);
}

static elm_status set_name(elm_body *b, const char *name, elm_error *err) {
    size_t n = strlen(name), printable = 0;
    while (name[printable] > 0x20 && name[printable] < 0x7f) printable++;
    if (n == 0 || n != printable || n >= sizeof b->section.name) {
        return elm_fail(err, ELM_INVALID_ARGUMENT,
                        "a product's name has 1..%zu printable ASCII characters",
                        sizeof b->section.name - 1);
    }
    memcpy(b->section.name, name, n);
    return ELM_OK;
}

elm_status elm_body_begin(elm_body *b, elm_section_type type, uint32_t chunk_bytes,
                          const char *name, elm_error *err) {
    const elm_section_rule *rule = elm_section_rule_of((uint32_t)type);
    assert(!b->open && chunk_bytes >= ELM_MIN_CHUNK_BYTES && chunk_bytes <= ELM_MAX_CHUNK_BYTES);
    assert((chunk_bytes & (chunk_bytes - 1)) == 0);
    assert(rule && (rule->many || !(b->types_seen >> type & 1)));
    assert(!name == (type != ELM_SECTION_PRODUCT));
    b->types_seen |= 1u << type;
    if (b->n_sections == ELM_MAX_SECTIONS) return add_record(b, &b->section, err);
    ELM_TRY(align_position(b, err));
    memset(&b->section, 0, sizeof b->section);
    b->section.type = (uint32_t)type;
    b->section.flags = rule->must_understand ? ELM_SECTION_MUST_UNDERSTAND : 0;
    b->section.offset = b->position;
    b->section.alignment = ELM_SECTION_ALIGN;
    b->section.chunk_bytes = chunk_bytes;
    b->section.first_checksum = b->checksums.size / 4;
    if (name) ELM_TRY(set_name(b, name, err));
    elm_sha256_init(&b->sha);
    b->chunk_used = 0;
    b->open = true;
    return ELM_OK;
}

elm_status elm_body_end(elm_body *b, elm_error *err) {
    assert(b->open);
    if (b->chunk_used > 0) end_chunk(b);
    b->open = false;
    b->section.size = elm_body_tell(b);
    elm_sha256_final(&b->sha, b->section.sha256);
    return add_record(b, &b->section, err);
}

/* ---- the end ---- */

static void put_le(uint8_t *p, uint64_t value, size_t n) {
    for (size_t i = 0; i < n; i++) p[i] = (uint8_t)(value >> (8 * i));
}

static void make_slot(uint8_t out[ELM_SLOT_BYTES], uint64_t generation, uint64_t toc_offset,
                      elm_span toc) {
    memset(out, 0, ELM_SLOT_BYTES);
    memcpy(out, ELM_MAGIC, 8);
    put_le(out + offsetof(elm_disk_slot, major), ELM_FORMAT_MAJOR, 2);
    put_le(out + offsetof(elm_disk_slot, minor), ELM_FORMAT_MINOR, 2);
    put_le(out + offsetof(elm_disk_slot, slot_bytes), ELM_SLOT_BYTES, 4);
    put_le(out + offsetof(elm_disk_slot, generation), generation, 8);
    put_le(out + offsetof(elm_disk_slot, toc_offset), toc_offset, 8);
    put_le(out + offsetof(elm_disk_slot, toc_bytes), toc.size, 8);
    put_le(out + offsetof(elm_disk_slot, committed_end), toc_offset + toc.size, 8);
    elm_container_toc_sha256(toc, 0, toc.size, out + offsetof(elm_disk_slot, toc_sha256));
    put_le(out + offsetof(elm_disk_slot, crc32c), elm_slot_crc(out), 4);
}

elm_status elm_body_toc(elm_body *b, uint64_t generation, uint64_t previous_toc,
                        uint8_t slot[ELM_SLOT_BYTES], elm_error *err) {
    elm_buf toc;
    ELM_TRY(align_position(b, err));
    uint64_t toc_offset = b->position;
    elm_buf_init(&toc, b->platform->alloc, ELM_MAX_TOC_BYTES);
    elm_buf_append(&toc, ELM_TOC_MAGIC, 8);
    elm_buf_u32(&toc, b->n_sections);
    elm_buf_u32(&toc, sizeof(elm_disk_section));
    elm_buf_u64(&toc, b->checksums.size / 4);
    elm_buf_u64(&toc, previous_toc);
    elm_buf_append(&toc, b->sections.data, b->sections.size);
    elm_buf_append(&toc, b->checksums.data, b->checksums.size);
    elm_status status = elm_buf_check(&toc, "the table of contents", err);
    if (status == ELM_OK) status = put(b, toc.data, toc.size, err);
    if (status == ELM_OK) status = elm_body_flush(b, err);
    if (status == ELM_OK) make_slot(slot, generation, toc_offset, elm_buf_span(&toc));
    elm_buf_free(&toc);
    return status;
}
