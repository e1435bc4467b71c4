/* writer.c - one pass to PATH.part, header last, rename at the end; elm.
 *
 * Bytes go through a 1 MiB buffer. A section's SHA-256 and its chunks' CRC-32C are computed as they
 * pass. The first write that fails is kept: nothing that follows can make such a file complete. */
#include "elm/writer.h"

#include "base/buf.h"
#include "base/checked.h"
#include "base/hash.h"
#include "elm/container.h"
#include "ir/p16.h"

#include <assert.h>
#include <string.h>

enum { BUFFER_BYTES = 1 << 20, MAX_TABLE_BYTES = 256 << 20 };

struct elm_writer {
    const elm_platform *platform;
    elm_file file;
    elm_status failed; /* of the first write that did */
    char *path, *part;
    size_t path_bytes, part_bytes;
    uint8_t *buffer;
    size_t n_buffer;
    uint64_t position; /* of the next byte in the file */

    elm_disk_section section; /* the open one */
    bool open;
    uint32_t types_seen; /* bit (1 << type) */
    uint64_t section_start;
    elm_sha256 sha;
    uint32_t chunk_crc, chunk_index;
    uint32_t chunk_used;

    elm_buf sections, checksums, tensors, names;
    uint32_t n_sections, n_tensors;
};

static void release(elm_writer *w, bool remove_part) {
    const elm_platform *p = w->platform;
    /* Removed under the lock: afterwards the name may be another writer's. */
    if (remove_part) (void)!elm_path_remove(p, w->part, NULL);
    elm_file_close(&w->file);
    elm_buf_free(&w->sections);
    elm_buf_free(&w->checksums);
    elm_buf_free(&w->tensors);
    elm_buf_free(&w->names);
    elm_free(p->alloc, w->buffer, BUFFER_BYTES);
    elm_free(p->alloc, w->path, w->path_bytes);
    elm_free(p->alloc, w->part, w->part_bytes);
    elm_free(p->alloc, w, sizeof *w);
}

void elm_writer_abort(elm_writer *w) {
    if (w) release(w, true);
}

static elm_status check_space(const elm_platform *p, const char *path, uint64_t need,
                              elm_error *err) {
    uint64_t free_bytes;
    if (need == 0) return ELM_OK;
    ELM_TRY(elm_path_free_space(p, path, &free_bytes, err));
    if (free_bytes >= need) return ELM_OK;
    return elm_fail(err, ELM_IO,
                    "'%s' needs %.1f MB and the disk has %.1f MB free; nothing was written", path,
                    (double)need / 1e6, (double)free_bytes / 1e6);
}

/* The finished file is moved to `path`, which must not put it in the place of a device. */
static elm_status check_target(const elm_platform *p, const char *path, elm_error *err) {
    elm_path_kind kind;
    ELM_TRY(elm_path_kind_of(p, path, &kind, err));
    if (kind == ELM_PATH_NONE || kind == ELM_PATH_FILE) return ELM_OK;
    return elm_fail(err, ELM_INVALID_ARGUMENT, "'%s' is %s; give the path of the file to write",
                    path, kind == ELM_PATH_FOLDER ? "a folder" : "no regular file");
}

static elm_status refuse_busy(const elm_writer *w, elm_error *err) {
    return elm_fail(err, ELM_IO,
                    "'%s' is being written by another program; try again when it is done", w->part);
}

/* Opens and locks PATH.part before it is emptied, so that a file in the making is never cut under
 * its writer; and looks again once it is locked, because that writer may have moved it to PATH
 * meanwhile. */
static elm_status claim_part(elm_writer *w, elm_error *err) {
    const elm_platform *p = w->platform;
    elm_path_kind kind;
    ELM_TRY(elm_path_kind_of(p, w->part, &kind, err));
    elm_open_mode mode = kind == ELM_PATH_FILE ? ELM_OPEN_UPDATE : ELM_OPEN_CREATE;
    ELM_TRY(elm_file_open(p, w->part, mode, &w->file, err));
    elm_status status = elm_file_lock(&w->file, err);
    if (status == ELM_OK) status = elm_path_kind_of(p, w->part, &kind, err);
    if (status == ELM_OK && kind != ELM_PATH_FILE) status = refuse_busy(w, err);
    if (status == ELM_OK || mode == ELM_OPEN_CREATE) {
        return status == ELM_OK ? elm_file_truncate(&w->file, 0, err) : status;
    }
    elm_file_close(&w->file); /* it is the other writer's, and must not be removed */
    return status;
}

static elm_status open_part(elm_writer *w, const char *path, elm_error *err) {
    const elm_allocator *a = w->platform->alloc;
    size_t n = strlen(path);
    ELM_TRY(elm_alloc(a, n + 1, "a path", &w->path, err));
    w->path_bytes = n + 1;
    memcpy(w->path, path, n);
    ELM_TRY(elm_alloc(a, n + 6, "a path", &w->part, err));
    w->part_bytes = n + 6;
    memcpy(w->part, path, n);
    memcpy(w->part + n, ".part", 5);
    ELM_TRY(elm_alloc(a, BUFFER_BYTES, "a write buffer", &w->buffer, err));
    return claim_part(w, err);
}

elm_status elm_writer_open(const elm_platform *platform, const char *path, uint64_t expected_bytes,
                           elm_writer **out, elm_error *err) {
    elm_writer *w = NULL;
    *out = NULL;
    ELM_TRY(check_target(platform, path, err));
    ELM_TRY(check_space(platform, path, expected_bytes, err));
    ELM_TRY(elm_alloc(platform->alloc, sizeof *w, "a writer", &w, err));
    w->platform = platform;
    elm_buf *const bufs[] = {&w->sections, &w->checksums, &w->tensors, &w->names};
    for (size_t i = 0; i < sizeof bufs / sizeof bufs[0]; i++)
        elm_buf_init(bufs[i], platform->alloc, MAX_TABLE_BYTES);
    elm_status status = open_part(w, path, err);
    if (status != ELM_OK) {
        release(w, w->file.handle != NULL);
        return status;
    }
    w->position = ELM_SECTION_ALIGN;
    *out = w;
    return ELM_OK;
}

/* ---- bytes ---- */

static elm_status flush(elm_writer *w, elm_error *err) {
    size_t n = w->n_buffer;
    if (w->failed != ELM_OK)
        return elm_fail(err, w->failed, "'%s': an earlier write failed", w->path);
    w->n_buffer = 0;
    if (n > 0) w->failed = elm_file_write_at(&w->file, w->position - n, w->buffer, n, err);
    return w->failed;
}

static elm_status put(elm_writer *w, const uint8_t *data, size_t size, elm_error *err) {
    while (size > 0) {
        size_t n = BUFFER_BYTES - w->n_buffer < size ? BUFFER_BYTES - w->n_buffer : size;
        memcpy(w->buffer + w->n_buffer, data, n);
        w->n_buffer += n;
        w->position += n;
        data += n;
        size -= n;
        if (w->n_buffer == BUFFER_BYTES) ELM_TRY(flush(w, err));
    }
    return ELM_OK;
}

static elm_status put_zeros_to(elm_writer *w, uint64_t position, elm_error *err) {
    static const uint8_t zeros[4096] = {0};
    while (w->position < position) {
        uint64_t left = position - w->position;
        ELM_TRY(put(w, zeros, (size_t)(left < sizeof zeros ? left : sizeof zeros), err));
    }
    return ELM_OK;
}

static void end_chunk(elm_writer *w) {
    elm_buf_u32(&w->checksums, w->chunk_crc);
    w->chunk_index++;
    w->chunk_used = 0;
}

static uint32_t start_crc(uint32_t index) {
    return elm_chunk_crc(index, NULL, 0);
}

elm_status elm_writer_write(elm_writer *w, const void *data, size_t size, elm_error *err) {
    const uint8_t *p = data;
    size_t left = size;
    assert(w->open);
    if (size > 0) elm_sha256_update(&w->sha, data, size);
    while (left > 0) {
        size_t room = w->section.chunk_bytes - w->chunk_used, n = left < room ? left : room;
        if (w->chunk_used == 0) w->chunk_crc = start_crc(w->chunk_index);
        w->chunk_crc = elm_crc32c(w->chunk_crc, p, n);
        w->chunk_used += (uint32_t)n;
        p += n;
        left -= n;
        if (w->chunk_used == w->section.chunk_bytes) end_chunk(w);
    }
    return put(w, data, size, err);
}

elm_status elm_writer_align(elm_writer *w, size_t align, elm_error *err) {
    static const uint8_t zeros[4096] = {0};
    uint64_t left = (align - elm_writer_tell(w) % align) % align;
    while (left > 0) {
        size_t n = left < sizeof zeros ? (size_t)left : sizeof zeros;
        ELM_TRY(elm_writer_write(w, zeros, n, err));
        left -= n;
    }
    return ELM_OK;
}

uint64_t elm_writer_tell(const elm_writer *w) {
    return w->position - w->section_start;
}

/* ---- sections ---- */

static bool must_understand(elm_section_type type) {
    switch (type) {
#define X(name, number, text, must) \
    case ELM_SECTION_##name:        \
        return must;
        ELM_SECTION_LIST(X)
#undef X
    }
    return true;
}

static elm_status set_name(elm_writer *w, const char *name, elm_error *err) {
    size_t n = strlen(name), printable = 0;
    while (name[printable] > 0x20 && name[printable] < 0x7f) printable++;
    if (n == 0 || n != printable || n >= sizeof w->section.name) {
        return elm_fail(err, ELM_INVALID_ARGUMENT,
                        "a product's name has 1..%zu printable ASCII characters",
                        sizeof w->section.name - 1);
    }
    memcpy(w->section.name, name, n);
    return ELM_OK;
}

elm_status elm_writer_begin(elm_writer *w, elm_section_type type, uint32_t chunk_bytes,
                            const char *name, elm_error *err) {
    assert(!w->open && chunk_bytes >= ELM_MIN_CHUNK_BYTES && chunk_bytes <= ELM_MAX_CHUNK_BYTES);
    assert((chunk_bytes & (chunk_bytes - 1)) == 0);
    assert(type == ELM_SECTION_PRODUCT || (!name && !(w->types_seen >> type & 1)));
    w->types_seen |= 1u << type;
    if (w->n_sections == ELM_MAX_SECTIONS) {
        return elm_fail(err, ELM_LIMIT, "'%s': more than %d sections", w->path, ELM_MAX_SECTIONS);
    }
    ELM_TRY(put_zeros_to(
        w, (w->position + ELM_SECTION_ALIGN - 1) / ELM_SECTION_ALIGN * ELM_SECTION_ALIGN, err));
    memset(&w->section, 0, sizeof w->section);
    w->section.type = (uint32_t)type;
    w->section.flags = must_understand(type) ? ELM_SECTION_MUST_UNDERSTAND : 0;
    w->section.offset = w->section_start = w->position;
    w->section.alignment = ELM_SECTION_ALIGN;
    w->section.chunk_bytes = chunk_bytes;
    w->section.first_checksum = w->checksums.size / 4;
    if (name) ELM_TRY(set_name(w, name, err));
    elm_sha256_init(&w->sha);
    w->chunk_index = w->chunk_used = 0;
    w->open = true;
    return ELM_OK;
}

elm_status elm_writer_end(elm_writer *w, elm_error *err) {
    assert(w->open);
    elm_disk_section *s = &w->section;
    if (w->chunk_used > 0) end_chunk(w);
    w->open = false;
    s->size = elm_writer_tell(w);
    s->n_chunks = w->chunk_index;
    elm_sha256_final(&w->sha, s->sha256);
    elm_buf_u32(&w->sections, s->type);
    elm_buf_u32(&w->sections, s->flags);
    elm_buf_u64(&w->sections, s->offset);
    elm_buf_u64(&w->sections, s->size);
    elm_buf_u64(&w->sections, s->alignment);
    elm_buf_u32(&w->sections, s->chunk_bytes);
    elm_buf_u32(&w->sections, s->n_chunks);
    elm_buf_u64(&w->sections, s->first_checksum);
    elm_buf_append(&w->sections, s->sha256, sizeof s->sha256);
    elm_buf_append(&w->sections, s->name, sizeof s->name);
    w->n_sections++;
    ELM_TRY(elm_buf_check(&w->checksums, "the checksums", err));
    return elm_buf_check(&w->sections, "the table of contents", err);
}

elm_status elm_writer_section(elm_writer *w, elm_section_type type, elm_span content,
                              elm_error *err) {
    ELM_TRY(elm_writer_begin(w, type, ELM_MIN_CHUNK_BYTES, NULL, err));
    ELM_TRY(elm_writer_write(w, content.data, content.size, err));
    return elm_writer_end(w, err);
}

/* ---- tensors ---- */

static elm_status put_plane(elm_writer *w, const void *data, uint64_t size, size_t align,
                            elm_error *err) {
    uint64_t offset = 0;
    if (size > 0) {
        ELM_TRY(elm_writer_align(w, align, err));
        offset = elm_writer_tell(w);
        ELM_TRY(elm_writer_write(w, data, (size_t)size, err));
    }
    elm_buf_u64(&w->tensors, offset);
    elm_buf_u64(&w->tensors, size);
    return ELM_OK;
}

/* What the reader would refuse is refused here, before hours of work go into the file. */
static elm_status check_tensor(const elm_writer *w, const elm_tensor *t, elm_error *err) {
    elm_p16_shape shape;
    if (!elm_tensor_name_holds(elm_span_str(t->name))) {
        return elm_fail(err, ELM_INVALID_ARGUMENT,
                        "'%s': tensor %u has a name that is empty, longer than %d bytes or "
                        "not UTF-8 text",
                        w->path, w->n_tensors, ELM_MAX_TENSOR_NAME);
    }
    if (w->n_tensors == ELM_MAX_TENSORS) {
        return elm_fail(err, ELM_LIMIT, "'%s': more than %d tensors", w->path, ELM_MAX_TENSORS);
    }
    if (!elm_tensor_plane_sizes(t, &shape) || shape.codes_bytes != t->codes_bytes ||
        shape.scales_bytes != t->scales_bytes || shape.zeros_bytes != t->zeros_bytes) {
        return elm_fail(err, ELM_INTERNAL,
                        "'%s': tensor '%s': planes of %llu, %llu and %llu bytes do not fit its "
                        "shape; expected %llu, %llu and %llu",
                        w->path, t->name, (unsigned long long)t->codes_bytes,
                        (unsigned long long)t->scales_bytes, (unsigned long long)t->zeros_bytes,
                        (unsigned long long)shape.codes_bytes,
                        (unsigned long long)shape.scales_bytes,
                        (unsigned long long)shape.zeros_bytes);
    }
    return ELM_OK;
}

elm_status elm_writer_tensor(elm_writer *w, const elm_tensor *t, elm_error *err) {
    assert(w->open && w->section.type == ELM_SECTION_WEIGHTS);
    ELM_TRY(check_tensor(w, t, err));
    elm_buf_u32(&w->tensors, (uint32_t)w->names.size);
    elm_buf_u16(&w->tensors, (uint16_t)strlen(t->name));
    elm_buf_u8(&w->tensors, (uint8_t)t->dtype);
    elm_buf_u8(&w->tensors, (uint8_t)t->layout);
    elm_buf_u8(&w->tensors, (uint8_t)t->n_dims);
    elm_buf_append(&w->tensors, "\0\0\0", 3);
    for (uint32_t d = 0; d < ELM_MAX_DIMS; d++)
        elm_buf_u32(&w->tensors, d < t->n_dims ? t->dims[d] : 0);
    elm_buf_u32(&w->tensors, t->group);
    elm_buf_u32(&w->tensors, (uint32_t)t->scale_exp);
    elm_buf_u32(&w->tensors, 0);
    elm_buf_str(&w->names, t->name);
    size_t code_align = t->layout == ELM_LAYOUT_P16 ? ELM_TENSOR_ALIGN : ELM_PLANE_ALIGN;
    ELM_TRY(put_plane(w, t->codes, t->codes_bytes, code_align, err));
    ELM_TRY(put_plane(w, t->scales, t->scales_bytes, ELM_PLANE_ALIGN, err));
    ELM_TRY(put_plane(w, t->zeros, t->zeros_bytes, ELM_PLANE_ALIGN, err));
    w->n_tensors++;
    return ELM_OK;
}

elm_status elm_writer_tensors(elm_writer *w, elm_error *err) {
    elm_buf head;
    elm_buf_init(&head, w->platform->alloc, 64);
    elm_buf_u32(&head, w->n_tensors);
    elm_buf_u32(&head, sizeof(elm_disk_tensor));
    elm_status status = elm_buf_check(&head, "the tensor table", err);
    if (status == ELM_OK) status = elm_buf_check(&w->tensors, "the tensor table", err);
    if (status == ELM_OK) status = elm_buf_check(&w->names, "tensor names", err);
    if (status == ELM_OK)
        status = elm_writer_begin(w, ELM_SECTION_TENSORS, ELM_MIN_CHUNK_BYTES, NULL, err);
    if (status == ELM_OK) status = elm_writer_write(w, head.data, head.size, err);
    if (status == ELM_OK) status = elm_writer_write(w, w->tensors.data, w->tensors.size, err);
    if (status == ELM_OK) status = elm_writer_write(w, w->names.data, w->names.size, err);
    if (status == ELM_OK) status = elm_writer_end(w, err);
    elm_buf_free(&head);
    return status;
}

/* ---- the end ---- */

static void make_slot(uint8_t out[ELM_SLOT_BYTES], uint64_t toc_offset, elm_span toc) {
    elm_sha256 h;
    uint8_t sha[32];
    uint8_t *p = out;
    memset(out, 0, ELM_SLOT_BYTES);
    elm_sha256_init(&h);
    elm_sha256_update(&h, toc.data, toc.size);
    elm_sha256_final(&h, sha);
    const uint64_t fields[] = {ELM_FORMAT_MAJOR | (uint64_t)ELM_FORMAT_MINOR << 16 |
                                   (uint64_t)ELM_SLOT_BYTES << 32,
                               1, toc_offset, toc.size, toc_offset + toc.size};
    memcpy(p, ELM_MAGIC, 8);
    p += 8;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++, p += 8) {
        for (int b = 0; b < 8; b++) p[b] = (uint8_t)(fields[i] >> (8 * b));
    }
    memcpy(p, sha, 32);
    uint32_t crc = elm_slot_crc(out);
    p = out + offsetof(elm_disk_slot, crc32c);
    for (int b = 0; b < 4; b++) p[b] = (uint8_t)(crc >> (8 * b));
}

static elm_status write_end(elm_writer *w, elm_error *err) {
    elm_buf toc;
    uint8_t slot[ELM_SLOT_BYTES];
    static const uint8_t zeros[ELM_SECTION_ALIGN] = {0};
    ELM_TRY(put_zeros_to(
        w, (w->position + ELM_SECTION_ALIGN - 1) / ELM_SECTION_ALIGN * ELM_SECTION_ALIGN, err));
    uint64_t toc_offset = w->position;
    elm_buf_init(&toc, w->platform->alloc, ELM_MAX_TOC_BYTES);
    elm_buf_append(&toc, ELM_TOC_MAGIC, 8);
    elm_buf_u32(&toc, w->n_sections);
    elm_buf_u32(&toc, sizeof(elm_disk_section));
    elm_buf_u64(&toc, w->checksums.size / 4);
    elm_buf_u64(&toc, 0);
    elm_buf_append(&toc, w->sections.data, w->sections.size);
    elm_buf_append(&toc, w->checksums.data, w->checksums.size);
    elm_status status = elm_buf_check(&toc, "the table of contents", err);
    if (status == ELM_OK) status = put(w, toc.data, toc.size, err);
    if (status == ELM_OK) status = flush(w, err);
    /* The rest of the header area first, then the data is made safe, then the slot that makes it a
     * file. */
    if (status == ELM_OK) status = elm_file_write_at(&w->file, 0, zeros, sizeof zeros, err);
    if (status == ELM_OK) status = elm_file_sync(&w->file, err);
    if (status == ELM_OK) {
        make_slot(slot, toc_offset, elm_buf_span(&toc));
        status = elm_file_write_at(&w->file, 0, slot, sizeof slot, err);
    }
    if (status == ELM_OK) status = elm_file_sync(&w->file, err);
    elm_buf_free(&toc);
    return status;
}

elm_status elm_writer_finish(elm_writer *w, elm_error *err) {
    assert(!w->open);
    elm_status status = write_end(w, err);
    /* Renamed while it is open, so that the lock holds until the name is gone. */
    if (status == ELM_OK) status = elm_path_rename(w->platform, w->part, w->path, err);
    bool renamed = status == ELM_OK;
    if (renamed && elm_path_sync_folder(w->platform, w->path, NULL) != ELM_OK) {
        status =
            elm_fail(err, ELM_IO,
                     "'%s' is complete, but its folder could not be synced: after a power cut the "
                     "file before may be back",
                     w->path);
    }
    release(w, !renamed);
    return status;
}
