/* container.c - opening an .elm file and checking its chunks; elm.
 *
 * Trust grows in this order: a slot's checksum, the TOC's SHA-256 in it, every number in the TOC against the
 * file's size, and a chunk's CRC-32C before its first use. */
#include "elm/container.h"

#include "base/checked.h"
#include "base/hash.h"

#include <string.h>

static elm_disk_slot read_slot(const uint8_t *p) {
    elm_disk_slot s;
    elm_reader r = elm_reader_of(elm_span_of(p, sizeof s));
    memcpy(s.magic, elm_read_bytes(&r, 8), 8);
    s.major = elm_read_u16(&r);
    s.minor = elm_read_u16(&r);
    s.slot_bytes = elm_read_u32(&r);
    s.generation = elm_read_u64(&r);
    s.toc_offset = elm_read_u64(&r);
    s.toc_bytes = elm_read_u64(&r);
    s.committed_end = elm_read_u64(&r);
    memcpy(s.toc_sha256, elm_read_bytes(&r, 32), 32);
    s.reserved = elm_read_u32(&r);
    s.crc32c = elm_read_u32(&r);
    return s;
}

static bool all_zero(const uint8_t *p, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (p[i] != 0) return false;
    }
    return true;
}

uint32_t elm_slot_crc(const uint8_t slot[ELM_SLOT_BYTES]) {
    static const uint8_t zero[4] = {0};
    size_t at = offsetof(elm_disk_slot, crc32c);
    uint32_t crc = elm_crc32c(0, slot, at);
    crc = elm_crc32c(crc, zero, sizeof zero);
    return elm_crc32c(crc, slot + at + 4, ELM_SLOT_BYTES - at - 4);
}

uint32_t elm_chunk_crc(uint32_t index, const void *data, size_t size) {
    uint8_t prefix[4] = {(uint8_t)index, (uint8_t)(index >> 8), (uint8_t)(index >> 16), (uint8_t)(index >> 24)};
    return elm_crc32c(elm_crc32c(0, prefix, 4), data, size);
}

static bool slot_holds(const elm_container *c, const elm_disk_slot *s) {
    return s->slot_bytes == ELM_SLOT_BYTES && s->generation > 0 && s->reserved == 0 &&
           s->toc_offset % ELM_SECTION_ALIGN == 0 && s->toc_offset >= ELM_SECTION_ALIGN &&
           s->toc_bytes >= sizeof(elm_disk_toc) && s->toc_bytes <= ELM_MAX_TOC_BYTES &&
           elm_range_inside(s->toc_offset, s->toc_bytes, c->map.size) &&
           s->committed_end == s->toc_offset + s->toc_bytes;
}

static elm_status no_slot(const elm_container *c, const char *path, bool magic, elm_error *err) {
    if (!magic) return elm_fail(err, ELM_MALFORMED, "'%s' is not an .elm file (no magic in its header)", path);
    return elm_fail(err, ELM_MALFORMED, "'%s': both header slots are damaged, or the file is truncated (%zu bytes)", path,
                    c->map.size);
}

/* Chooses the valid slot of the higher generation whose TOC is intact. */
static elm_status choose_slot(elm_container *c, const char *path, elm_error *err) {
    elm_disk_slot best = {0};
    bool magic = false;
    for (int i = 0; i < ELM_N_SLOTS; i++) {
        const uint8_t *p = c->map.data + (size_t)i * ELM_SLOT_BYTES;
        elm_disk_slot s = read_slot(p);
        if (all_zero(p, ELM_SLOT_BYTES)) continue;
        magic = magic || memcmp(s.magic, ELM_MAGIC, 8) == 0;
        bool intact = memcmp(s.magic, ELM_MAGIC, 8) == 0 && elm_slot_crc(p) == s.crc32c;
        if (intact && (s.major != ELM_FORMAT_MAJOR || s.minor != ELM_FORMAT_MINOR)) {
            return elm_fail(err, ELM_UNSUPPORTED, "'%s' has format %u.%u; this program reads %d.%d: convert the model again",
                            path, s.major, s.minor, ELM_FORMAT_MAJOR, ELM_FORMAT_MINOR);
        }
        if (intact && slot_holds(c, &s)) {
            uint8_t sha[32];
            elm_sha256 h;
            elm_sha256_init(&h);
            elm_sha256_update(&h, c->map.data + s.toc_offset, (size_t)s.toc_bytes);
            elm_sha256_final(&h, sha);
            intact = memcmp(sha, s.toc_sha256, 32) == 0;
        } else {
            intact = false;
        }
        c->slot_damaged[i] = !intact;
        if (intact && s.generation > best.generation) best = s;
    }
    if (best.generation == 0) return no_slot(c, path, magic, err);
    c->major = best.major;
    c->minor = best.minor;
    c->generation = best.generation;
    c->toc_offset = best.toc_offset;
    c->toc_bytes = best.toc_bytes;
    c->committed_end = best.committed_end;
    memcpy(c->toc_sha256, best.toc_sha256, 32);
    return ELM_OK;
}

static elm_status bad_section(const elm_container *c, uint32_t i, const char *what, elm_error *err) {
    return elm_fail(err, ELM_MALFORMED, "'%s': section %u of the table of contents %s", c->file.path, i, what);
}

static elm_status check_section(const elm_container *c, uint32_t i, uint64_t *end, uint64_t *next_checksum,
                                elm_error *err) {
    const elm_section *s = &c->sections[i];
    uint32_t chunk = s->chunk_bytes;
    if (s->flags & ~(uint32_t)ELM_SECTION_MUST_UNDERSTAND) return bad_section(c, i, "has unknown flags", err);
    if (s->offset % ELM_SECTION_ALIGN != 0 || s->offset < *end ||
        !elm_range_inside(s->offset, s->size, c->toc_offset)) {
        return bad_section(c, i, "overlaps another or lies outside the file", err);
    }
    if (chunk < ELM_MIN_CHUNK_BYTES || chunk > ELM_MAX_CHUNK_BYTES || (chunk & (chunk - 1)) != 0) {
        return bad_section(c, i, "has an impossible chunk size", err);
    }
    uint64_t chunks = s->size / chunk + (s->size % chunk != 0);
    if (chunks != s->n_chunks || s->first_checksum != *next_checksum ||
        s->n_chunks > c->n_checksums - s->first_checksum) {
        return bad_section(c, i, "and its checksums do not belong together", err);
    }
    bool known = false;
#define X(name, number, text, must) known = known || s->type == (number);
    ELM_SECTION_LIST(X)
#undef X
    if (!known && (s->flags & ELM_SECTION_MUST_UNDERSTAND)) {
        return elm_fail(err, ELM_UNSUPPORTED, "'%s': section type %u must be understood, and this version does not know it",
                        c->file.path, s->type);
    }
    *end = s->offset + s->size;
    *next_checksum += s->n_chunks;
    return ELM_OK;
}

static void read_section(elm_reader *r, elm_section *s) {
    s->type = elm_read_u32(r);
    s->flags = elm_read_u32(r);
    s->offset = elm_read_u64(r);
    s->size = elm_read_u64(r);
    (void)elm_read_u64(r); /* alignment: what the writer used; ours is checked */
    s->chunk_bytes = elm_read_u32(r);
    s->n_chunks = elm_read_u32(r);
    s->first_checksum = elm_read_u64(r);
    const uint8_t *sha = elm_read_bytes(r, 32), *name = elm_read_bytes(r, 48);
    if (sha) memcpy(s->sha256, sha, 32);
    if (name) memcpy(s->name, name, 47);
}

static elm_status read_toc(elm_container *c, elm_error *err) {
    elm_reader r = elm_reader_of(elm_span_of(c->map.data + c->toc_offset, (size_t)c->toc_bytes));
    const uint8_t *magic = elm_read_bytes(&r, 8);
    uint32_t n = elm_read_u32(&r), record = elm_read_u32(&r);
    c->n_checksums = elm_read_u64(&r);
    (void)elm_read_u64(&r); /* the TOC before this one: for tools that look back */
    if (!magic || memcmp(magic, "ELMTOC\0\0", 8) != 0 || n > ELM_MAX_SECTIONS || record != sizeof(elm_disk_section) ||
        c->n_checksums > elm_reader_left(&r) / 4 ||
        elm_reader_left(&r) != (uint64_t)n * record + c->n_checksums * 4) {
        return elm_fail(err, ELM_MALFORMED, "'%s': the table of contents has an impossible size", c->file.path);
    }
    c->n_sections = n;
    c->sections = elm_arena_array(&c->arena, n, sizeof *c->sections);
    c->checked = elm_arena_alloc(&c->arena, (size_t)c->n_checksums, 1);
    if (!c->sections || !c->checked) return elm_fail_oom(err, n * sizeof *c->sections, "the table of contents");
    for (uint32_t i = 0; i < n; i++) read_section(&r, &c->sections[i]);
    c->checksums = elm_read_bytes(&r, c->n_checksums * 4);
    uint64_t end = ELM_SECTION_ALIGN, next = 0;
    for (uint32_t i = 0; i < n; i++) ELM_TRY(check_section(c, i, &end, &next, err));
    if (next != c->n_checksums) return elm_fail(err, ELM_MALFORMED, "'%s': checksums that no section owns", c->file.path);
    return ELM_OK;
}

elm_status elm_container_open(const elm_platform *platform, const char *path, elm_container *out, elm_error *err) {
    elm_container *c = out;
    memset(c, 0, sizeof *c);
    c->platform = platform;
    elm_arena_init(&c->arena, platform->alloc, 0);
    ELM_TRY(elm_file_open(platform, path, ELM_OPEN_READ, &c->file, err));
    ELM_TRY(elm_file_map(&c->file, &c->map, err));
    if (c->map.size < ELM_SECTION_ALIGN) {
        bool magic = c->map.size >= 8 && memcmp(c->map.data, ELM_MAGIC, 8) == 0;
        return no_slot(c, path, magic, err);
    }
    ELM_TRY(choose_slot(c, path, err));
    return read_toc(c, err);
}

void elm_container_close(elm_container *c) {
    if (c->file.handle) elm_file_unmap(&c->file, c->map);
    if (c->file.path) elm_file_close(&c->file);
    elm_arena_free(&c->arena);
    memset(c, 0, sizeof *c);
}

const elm_section *elm_container_find(const elm_container *c, elm_section_type type) {
    for (uint32_t i = 0; i < c->n_sections; i++) {
        if (c->sections[i].type == (uint32_t)type) return &c->sections[i];
    }
    return NULL;
}

elm_span elm_container_bytes(const elm_container *c, const elm_section *s) {
    return elm_span_of(c->map.data + s->offset, (size_t)s->size);
}

const char *elm_section_text(uint32_t type) {
    switch (type) {
#define X(name, number, text, must) \
    case number: return text;
        ELM_SECTION_LIST(X)
#undef X
    default: return "unknown";
    }
}

uint32_t elm_container_expected_crc(const elm_container *c, const elm_section *s, uint32_t chunk) {
    elm_reader r = elm_reader_of(elm_span_of(c->checksums + (s->first_checksum + chunk) * 4, 4));
    return elm_read_u32(&r);
}

uint32_t elm_container_found_crc(const elm_container *c, const elm_section *s, uint32_t chunk) {
    uint64_t at = (uint64_t)chunk * s->chunk_bytes, left = s->size - at;
    size_t size = (size_t)(left < s->chunk_bytes ? left : s->chunk_bytes);
    return elm_chunk_crc(chunk, c->map.data + s->offset + at, size);
}

elm_status elm_container_check(elm_container *c, const elm_section *s, uint64_t offset, uint64_t size,
                               elm_error *err) {
    if (!elm_range_inside(offset, size, s->size)) {
        return elm_fail(err, ELM_MALFORMED, "'%s': bytes behind the end of section %s", c->file.path,
                        elm_section_text(s->type));
    }
    if (size == 0) return ELM_OK;
    uint32_t first = (uint32_t)(offset / s->chunk_bytes), last = (uint32_t)((offset + size - 1) / s->chunk_bytes);
    for (uint32_t chunk = first; chunk <= last; chunk++) {
        atomic_uchar *checked = &c->checked[s->first_checksum + chunk];
        if (atomic_load_explicit(checked, memory_order_relaxed)) continue;
        uint32_t expected = elm_container_expected_crc(c, s, chunk), found = elm_container_found_crc(c, s, chunk);
        if (expected != found) {
            return elm_fail(err, ELM_MALFORMED,
                            "'%s' is damaged: section %s, chunk %u of %u: checksum %08x, expected %08x; 'edge-llm verify' "
                            "lists all damage",
                            c->file.path, elm_section_text(s->type), chunk, s->n_chunks, found, expected);
        }
        atomic_store_explicit(checked, 1, memory_order_relaxed);
    }
    return ELM_OK;
}

elm_status elm_container_load(elm_container *c, elm_section_type type, elm_span *out, elm_error *err) {
    const elm_section *s = elm_container_find(c, type);
    *out = elm_span_of(NULL, 0);
    if (!s) {
        return elm_fail(err, ELM_MALFORMED, "'%s' has no section %s", c->file.path, elm_section_text(type));
    }
    ELM_TRY(elm_container_check(c, s, 0, s->size, err));
    *out = elm_container_bytes(c, s);
    return ELM_OK;
}
