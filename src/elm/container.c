/* container.c - opening an .elm file and checking its chunks; elm.
 *
 * Trust grows in this order: a slot's checksum, the TOC's SHA-256 in it, every number in the TOC
 * against the file's size, and a chunk's CRC-32C before its first use. */
#include "elm/container.h"

#include "base/checked.h"
#include "base/hash.h"

#include <string.h>

enum { READS_BESIDE_WRITER = 8 /* times that a header which does not hold is read once more */ };

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

bool elm_bytes_are_zero(const uint8_t *p, size_t n) {
    /* Each byte equals the one before it: memcmp has the vector code. */
    return n == 0 || (p[0] == 0 && memcmp(p, p + 1, n - 1) == 0);
}

uint32_t elm_slot_crc(const uint8_t slot[ELM_SLOT_BYTES]) {
    static const uint8_t zero[4] = {0};
    size_t at = offsetof(elm_disk_slot, crc32c);
    uint32_t crc = elm_crc32c(0, slot, at);
    crc = elm_crc32c(crc, zero, sizeof zero);
    return elm_crc32c(crc, slot + at + 4, ELM_SLOT_BYTES - at - 4);
}

uint32_t elm_chunk_crc(uint32_t index, const void *data, size_t size) {
    uint8_t prefix[4] = {(uint8_t)index, (uint8_t)(index >> 8), (uint8_t)(index >> 16),
                         (uint8_t)(index >> 24)};
    return elm_crc32c(elm_crc32c(0, prefix, 4), data, size);
}

/* What a slot is; later ones tell more about the file, so the message names the last that was met.
 */
typedef enum slot_state {
    SLOT_EMPTY,
    SLOT_NO_MAGIC,
    SLOT_BAD_CRC,
    SLOT_BAD_FIELDS,
    SLOT_BAD_TOC,
    SLOT_TRUNCATED, /* its TOC ends behind the end of the file */
    SLOT_VERSION,
    SLOT_VALID,
} slot_state;

static bool version_is_read(const elm_disk_slot *s) {
    if (s->major != ELM_FORMAT_MAJOR) return false;
    return ELM_FORMAT_MAJOR == 0 ? s->minor == ELM_FORMAT_MINOR : s->minor <= ELM_FORMAT_MINOR;
}

static bool slot_fields_hold(const uint8_t *p, const elm_disk_slot *s) {
    uint64_t end;
    return s->slot_bytes == ELM_SLOT_BYTES && s->generation > 0 && s->reserved == 0 &&
           s->toc_offset % ELM_SECTION_ALIGN == 0 && s->toc_offset >= ELM_SECTION_ALIGN &&
           s->toc_bytes >= sizeof(elm_disk_toc) && s->toc_bytes <= ELM_MAX_TOC_BYTES &&
           elm_add_u64(s->toc_offset, s->toc_bytes, &end) && s->committed_end == end &&
           elm_bytes_are_zero(p + sizeof *s, ELM_SLOT_BYTES - sizeof *s);
}

void elm_container_toc_sha256(elm_span map, uint64_t offset, uint64_t bytes, uint8_t out[32]) {
    elm_sha256 h;
    elm_sha256_init(&h);
    elm_sha256_update(&h, map.data + offset, (size_t)bytes);
    elm_sha256_final(&h, out);
}

static slot_state judge_slot(const elm_container *c, size_t index, elm_disk_slot *s) {
    uint8_t sha[32], p[ELM_SLOT_BYTES]; /* a copy: a writer may be at it */
    memset(s, 0, sizeof *s);
    if (c->map.size < (index + 1) * ELM_SLOT_BYTES) return index == 0 ? SLOT_NO_MAGIC : SLOT_EMPTY;
    memcpy(p, c->map.data + index * ELM_SLOT_BYTES, sizeof p);
    if (elm_bytes_are_zero(p, ELM_SLOT_BYTES)) return SLOT_EMPTY;
    *s = read_slot(p);
    if (memcmp(s->magic, ELM_MAGIC, 8) != 0) return SLOT_NO_MAGIC;
    if (elm_slot_crc(p) != s->crc32c) return SLOT_BAD_CRC;
    if (!version_is_read(s)) return SLOT_VERSION;
    if (!slot_fields_hold(p, s)) return SLOT_BAD_FIELDS;
    if (s->committed_end > c->map.size) return SLOT_TRUNCATED;
    elm_container_toc_sha256(c->map, s->toc_offset, s->toc_bytes, sha);
    return memcmp(sha, s->toc_sha256, 32) == 0 ? SLOT_VALID : SLOT_BAD_TOC;
}

static elm_status refuse_version(const char *path, const elm_disk_slot *s, elm_error *err) {
    bool newer = s->major > ELM_FORMAT_MAJOR ||
                 (s->major == ELM_FORMAT_MAJOR && s->minor > ELM_FORMAT_MINOR);
    return elm_fail(
        err, ELM_UNSUPPORTED, "'%s' has .elm format %u.%u and this program reads %d.%d: %s", path,
        s->major, s->minor, ELM_FORMAT_MAJOR, ELM_FORMAT_MINOR,
        newer ? "use a newer edge-llm, or convert the model again" : "convert the model again");
}

static elm_status no_slot(const elm_container *c, const char *path, slot_state state,
                          const elm_disk_slot *s, elm_error *err) {
    unsigned long long size = c->map.size, end = s->committed_end;
    bool magic = size >= 8 && memcmp(c->map.data, ELM_MAGIC, 8) == 0;
    switch (state) {
    case SLOT_TRUNCATED:
        return elm_fail(err, ELM_MALFORMED,
                        "'%s' is truncated: its header says %llu bytes, it has %llu; "
                        "copy it again",
                        path, end, size);
    case SLOT_BAD_TOC:
        return elm_fail(err, ELM_MALFORMED,
                        "'%s' is damaged: the table of contents at byte %llu (%llu bytes) does not "
                        "have the SHA-256 in the header; copy it again",
                        path, (unsigned long long)s->toc_offset, (unsigned long long)s->toc_bytes);
    case SLOT_BAD_FIELDS:
        return elm_fail(err, ELM_MALFORMED,
                        "'%s': the header holds impossible numbers (table of contents: %llu bytes "
                        "at %llu)",
                        path, (unsigned long long)s->toc_bytes, (unsigned long long)s->toc_offset);
    default:
        break;
    }
    if (magic && size < ELM_SECTION_ALIGN) {
        return elm_fail(err, ELM_MALFORMED,
                        "'%s' is truncated: it has %llu bytes, the header alone has %d; "
                        "copy it again",
                        path, size, ELM_SECTION_ALIGN);
    }
    if (state == SLOT_BAD_CRC || magic) {
        return elm_fail(err, ELM_MALFORMED,
                        "'%s' is damaged: no header slot has the checksum it names; "
                        "copy it again",
                        path);
    }
    bool gguf = size >= 4 && memcmp(c->map.data, "GGUF", 4) == 0;
    return elm_fail(err, ELM_MALFORMED,
                    gguf ? "'%s' is a GGUF file; 'edge-llm convert' makes an .elm file of it"
                         : "'%s' is not an .elm file: it does not begin with its magic",
                    path);
}

static elm_status refuse_folder(const elm_platform *platform, const char *path, elm_error *err) {
    elm_path_kind kind;
    ELM_TRY(elm_path_kind_of(platform, path, &kind, err));
    if (kind != ELM_PATH_FOLDER) return ELM_OK;
    return elm_fail(err, ELM_MALFORMED,
                    "'%s' is a folder; 'edge-llm convert' makes an .elm file of a model's folder",
                    path);
}

/* Chooses the valid slot of the higher generation. */
static elm_status choose_slot(elm_container *c, const char *path, elm_error *err) {
    elm_disk_slot best = {0}, telling = {0};
    c->slot = 0;
    slot_state worst = SLOT_EMPTY;
    for (size_t i = 0; i < ELM_N_SLOTS; i++) {
        elm_disk_slot s;
        slot_state state = judge_slot(c, i, &s);
        if (state == SLOT_VERSION) return refuse_version(path, &s, err);
        c->slot_damaged[i] = state != SLOT_VALID && state != SLOT_EMPTY;
        if (state == SLOT_VALID && s.generation > best.generation) best = s, c->slot = (uint32_t)i;
        if (state > worst) worst = state, telling = s;
    }
    if (best.generation == 0) return no_slot(c, path, worst, &telling, err);
    c->major = best.major;
    c->minor = best.minor;
    c->generation = best.generation;
    c->toc_offset = best.toc_offset;
    c->toc_bytes = best.toc_bytes;
    c->committed_end = best.committed_end;
    memcpy(c->toc_sha256, best.toc_sha256, 32);
    return ELM_OK;
}

/* ---- the table of contents ---- */

static const elm_section_rule rules[] = {
#define X(name, number, text, must, many) {number, text, must, many},
    ELM_SECTION_LIST(X)
#undef X
};

const elm_section_rule *elm_section_rule_of(uint32_t type) {
    for (size_t r = 0; r < sizeof rules / sizeof rules[0]; r++) {
        if (rules[r].type == type) return &rules[r];
    }
    return NULL;
}

const char *elm_section_text(uint32_t type) {
    const elm_section_rule *rule = elm_section_rule_of(type);
    return rule ? rule->text : "unknown";
}

static elm_status bad_section(const elm_container *c, uint32_t i, const char *what, uint64_t found,
                              elm_error *err) {
    return elm_fail(err, ELM_MALFORMED,
                    "'%s': section %u (%s) of the table of contents %s (found %llu)", c->file.path,
                    i, elm_section_text(c->sections[i].type), what, (unsigned long long)found);
}

static elm_status check_type(const elm_container *c, uint32_t i, elm_error *err) {
    const elm_section *s = &c->sections[i];
    const elm_section_rule *rule = elm_section_rule_of(s->type);
    if (s->flags & ~(uint32_t)ELM_SECTION_MUST_UNDERSTAND)
        return bad_section(c, i, "has unknown flags", s->flags, err);
    if (!rule) {
        if (!(s->flags & ELM_SECTION_MUST_UNDERSTAND)) return ELM_OK;
        return elm_fail(err, ELM_UNSUPPORTED,
                        "'%s': a section of type %u must be understood and this program does not "
                        "know it: use a newer edge-llm",
                        c->file.path, s->type);
    }
    if (s->flags != (rule->must_understand ? ELM_SECTION_MUST_UNDERSTAND : 0u)) {
        return bad_section(c, i, "has the wrong must-understand flag", s->flags, err);
    }
    if (s->type != ELM_SECTION_PRODUCT && s->name[0])
        return bad_section(c, i, "has a name, which only products have", s->type, err);
    bool is_product = s->type == ELM_SECTION_PRODUCT;
    if (is_product && !s->name[0]) return bad_section(c, i, "has no target as its name", i, err);
    for (uint32_t k = 0; k < i; k++) {
        const elm_section *o = &c->sections[k];
        if (o->type == s->type && (is_product ? strcmp(o->name, s->name) == 0 : !rule->many))
            return bad_section(c, i, "occurs twice; first as section", k, err);
    }
    return ELM_OK;
}

static elm_status check_section(const elm_container *c, uint32_t i, const elm_disk_section *d,
                                uint64_t *end, uint64_t *next_checksum, elm_error *err) {
    const elm_section *s = &c->sections[i];
    uint32_t chunk = s->chunk_bytes;
    ELM_TRY(check_type(c, i, err));
    if (d->alignment < ELM_SECTION_ALIGN || d->alignment > ELM_MAX_SECTION_ALIGN ||
        (d->alignment & (d->alignment - 1)) != 0) {
        return bad_section(c, i, "has an alignment that is no power of two from 65536 to 2^30",
                           d->alignment, err);
    }
    if (s->offset % d->alignment != 0) return bad_section(c, i, "is not aligned", s->offset, err);
    if (s->offset < *end) return bad_section(c, i, "overlaps the section before", s->offset, err);
    if (!elm_range_inside(s->offset, s->size, c->toc_offset)) {
        return bad_section(c, i, "reaches behind the table of contents", s->size, err);
    }
    if (chunk < ELM_MIN_CHUNK_BYTES || chunk > ELM_MAX_CHUNK_BYTES || (chunk & (chunk - 1)) != 0) {
        return bad_section(c, i, "has chunks of no power of two from 4096 to 2^20", chunk, err);
    }
    if (s->size / chunk + (s->size % chunk != 0) != s->n_chunks) {
        return bad_section(c, i, "has a number of chunks that does not fit its size", s->n_chunks,
                           err);
    }
    if (s->first_checksum != *next_checksum || s->n_chunks > c->n_checksums - s->first_checksum) {
        return bad_section(c, i, "does not name its own checksums", s->first_checksum, err);
    }
    *end = s->offset + s->size;
    *next_checksum += s->n_chunks;
    return ELM_OK;
}

static bool name_holds(const char name[48]) {
    size_t n = 0;
    while (n < 48 && name[n] > 0x20 && name[n] < 0x7f) n++;
    return n < 48 && elm_bytes_are_zero((const uint8_t *)name + n, 48 - n);
}

/* The next record as it lies on disk; the reader has enough bytes. */
static void read_record(elm_reader *r, elm_disk_section *d) {
    memset(d, 0, sizeof *d);
    d->type = elm_read_u32(r);
    d->flags = elm_read_u32(r);
    d->offset = elm_read_u64(r);
    d->size = elm_read_u64(r);
    d->alignment = elm_read_u64(r);
    d->chunk_bytes = elm_read_u32(r);
    d->n_chunks = elm_read_u32(r);
    d->first_checksum = elm_read_u64(r);
    const uint8_t *sha = elm_read_bytes(r, 32), *name = elm_read_bytes(r, 48);
    if (sha) memcpy(d->sha256, sha, 32);
    if (name) memcpy(d->name, name, 48);
}

static elm_status read_sections(elm_container *c, elm_reader *r, elm_error *err) {
    uint64_t end = ELM_SECTION_ALIGN, next_checksum = 0;
    for (uint32_t i = 0; i < c->n_sections; i++) {
        elm_section *s = &c->sections[i];
        elm_disk_section d;
        read_record(r, &d);
        *s = (elm_section){.type = d.type,
                           .flags = d.flags,
                           .offset = d.offset,
                           .size = d.size,
                           .chunk_bytes = d.chunk_bytes,
                           .n_chunks = d.n_chunks,
                           .first_checksum = d.first_checksum};
        memcpy(s->sha256, d.sha256, sizeof s->sha256);
        if (!name_holds(d.name))
            return bad_section(c, i, "has a name that is not printable ASCII", s->type, err);
        memcpy(s->name, d.name, sizeof s->name);
        ELM_TRY(check_section(c, i, &d, &end, &next_checksum, err));
    }
    if (next_checksum != c->n_checksums) {
        return elm_fail(
            err, ELM_MALFORMED, "'%s': the table of contents has %llu checksums, its sections %llu",
            c->file.path, (unsigned long long)c->n_checksums, (unsigned long long)next_checksum);
    }
    return ELM_OK;
}

static elm_status read_toc(elm_container *c, elm_error *err) {
    elm_reader r = elm_reader_of(elm_span_of(c->map.data + c->toc_offset, (size_t)c->toc_bytes));
    const uint8_t *magic = elm_read_bytes(&r, 8);
    uint32_t n = elm_read_u32(&r), record = elm_read_u32(&r);
    c->n_checksums = elm_read_u64(&r);
    uint64_t previous = elm_read_u64(&r);
    if (!magic || memcmp(magic, ELM_TOC_MAGIC, 8) != 0 || n > ELM_MAX_SECTIONS ||
        record != sizeof(elm_disk_section) || c->n_checksums > elm_reader_left(&r) / 4 ||
        elm_reader_left(&r) != (uint64_t)n * record + c->n_checksums * 4) {
        return elm_fail(err, ELM_MALFORMED,
                        "'%s': the table of contents (%llu bytes) does not have the size that its "
                        "%u sections and %llu checksums need",
                        c->file.path, (unsigned long long)c->toc_bytes, n,
                        (unsigned long long)c->n_checksums);
    }
    if (previous % ELM_SECTION_ALIGN != 0 || previous >= c->toc_offset) {
        return elm_fail(err, ELM_MALFORMED,
                        "'%s': the table of contents before this one cannot be at byte %llu",
                        c->file.path, (unsigned long long)previous);
    }
    c->n_sections = n;
    c->sections = elm_arena_array(&c->arena, n, sizeof *c->sections);
    c->checked = elm_arena_alloc(&c->arena, (size_t)c->n_checksums, 1);
    if (!c->sections || !c->checked) {
        return elm_fail_oom(err, n * sizeof *c->sections + (size_t)c->n_checksums,
                            "the table of contents");
    }
    ELM_TRY(read_sections(c, &r, err));
    c->checksums = elm_read_bytes(&r, c->n_checksums * 4);
    return ELM_OK;
}

elm_status elm_container_open(const elm_platform *platform, const char *path, elm_container *out,
                              elm_error *err) {
    elm_container *c = out;
    memset(c, 0, sizeof *c);
    c->platform = platform;
    elm_arena_init(&c->arena, platform->alloc, 0);
    ELM_TRY(refuse_folder(platform, path, err));
    ELM_TRY(elm_file_open(platform, path, ELM_OPEN_READ, &c->file, err));
    ELM_TRY(elm_file_map(&c->file, &c->map, err));
    elm_status status = choose_slot(c, path, err);
    /* A writer may be between two commits: its slot half written, or a TOC behind the end that the
     * file had when it was mapped. A damage that is real is there each time. */
    for (int again = 0; again < READS_BESIDE_WRITER; again++) {
        bool told = status == ELM_OK || status == ELM_UNSUPPORTED;
        if (told && !c->slot_damaged[0] && !c->slot_damaged[1]) break;
        elm_file_unmap(&c->file, c->map);
        ELM_TRY(elm_file_map(&c->file, &c->map, err));
        status = choose_slot(c, path, err);
    }
    return status == ELM_OK ? read_toc(c, err) : status;
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

uint32_t elm_container_expected_crc(const elm_container *c, const elm_section *s, uint32_t chunk) {
    elm_reader r = elm_reader_of(elm_span_of(c->checksums + (s->first_checksum + chunk) * 4, 4));
    return elm_read_u32(&r);
}

uint32_t elm_container_found_crc(const elm_container *c, const elm_section *s, uint32_t chunk) {
    uint64_t at = (uint64_t)chunk * s->chunk_bytes, left = s->size - at;
    size_t size = (size_t)(left < s->chunk_bytes ? left : s->chunk_bytes);
    return elm_chunk_crc(chunk, c->map.data + s->offset + at, size);
}

elm_status elm_container_check(elm_container *c, const elm_section *s, uint64_t offset,
                               uint64_t size, elm_error *err) {
    if (!elm_range_inside(offset, size, s->size)) {
        return elm_fail(err, ELM_MALFORMED, "'%s': bytes behind the end of section %s",
                        c->file.path, elm_section_text(s->type));
    }
    if (size == 0) return ELM_OK;
    uint32_t first = (uint32_t)(offset / s->chunk_bytes);
    uint32_t last = (uint32_t)((offset + size - 1) / s->chunk_bytes);
    for (uint32_t chunk = first; chunk <= last; chunk++) {
        atomic_uchar *checked = &c->checked[s->first_checksum + chunk];
        if (atomic_load_explicit(checked, memory_order_relaxed)) continue;
        uint32_t expected = elm_container_expected_crc(c, s, chunk),
                 found = elm_container_found_crc(c, s, chunk);
        if (expected != found) {
            return elm_fail(
                err, ELM_MALFORMED,
                "'%s' is damaged: section %s, chunk %u of %u: checksum %08x, expected %08x; "
                "'edge-llm verify' lists all damage",
                c->file.path, elm_section_text(s->type), chunk, s->n_chunks, found, expected);
        }
        atomic_store_explicit(checked, 1, memory_order_relaxed);
    }
    return ELM_OK;
}

elm_status elm_container_load(elm_container *c, elm_section_type type, elm_span *out,
                              elm_error *err) {
    const elm_section *s = elm_container_find(c, type);
    *out = elm_span_of(NULL, 0);
    if (!s) {
        return elm_fail(err, ELM_MALFORMED, "'%s' has no section %s", c->file.path,
                        elm_section_text(type));
    }
    ELM_TRY(elm_container_check(c, s, 0, s->size, err));
    *out = elm_container_bytes(c, s);
    return ELM_OK;
}
