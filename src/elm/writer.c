/* writer.c - one pass to PATH.part, header last, rename at the end; elm. */
#include "elm/writer.h"

#include "elm/body.h"
#include "ir/p16.h"

#include <assert.h>
#include <string.h>

enum { MAX_TABLE_BYTES = 256 << 20 };

struct elm_writer {
    const elm_platform *platform;
    elm_file file;
    char *path, *part, *side; /* side: NULL, or a file that goes when PATH.part goes */
    size_t path_bytes, part_bytes, side_bytes;
    elm_body body;
    bool resumed;   /* PATH.part holds what a killed run wrote */
    bool keep_part; /* also after a failure */
    elm_buf tensors, names;
    uint32_t n_tensors;
};

/* Names are removed under the lock: afterwards they may be another writer's. */
static void release(elm_writer *w, bool remove_part, bool remove_side) {
    const elm_platform *p = w->platform;
    if (remove_part) (void)!elm_path_remove(p, w->part, NULL);
    if (remove_side && w->side) (void)!elm_path_remove(p, w->side, NULL);
    elm_body_free(&w->body);
    elm_file_close(&w->file);
    elm_buf_free(&w->tensors);
    elm_buf_free(&w->names);
    elm_free(p->alloc, w->path, w->path_bytes);
    elm_free(p->alloc, w->part, w->part_bytes);
    elm_free(p->alloc, w->side, w->side_bytes);
    elm_free(p->alloc, w, sizeof *w);
}

void elm_writer_keep_part(elm_writer *w) {
    w->keep_part = true;
}

void elm_writer_copy_mode(elm_writer *w, const elm_file *of) {
    elm_file_copy_mode(of, &w->file);
}

void elm_writer_abort(elm_writer *w) {
    if (w) release(w, !w->keep_part, !w->keep_part);
}

static elm_status check_space(const elm_platform *p, const char *path, uint64_t need,
                              elm_error *err) {
    uint64_t free_bytes;
    if (need == 0) return ELM_OK;
    ELM_TRY(elm_path_free_space(p, path, &free_bytes, err));
    if (free_bytes >= need) return ELM_OK;
    return elm_fail(err, ELM_IO,
                    "'%s' needs %llu bytes (%.1f MB) and the disk has %llu (%.1f MB) free; nothing "
                    "was written",
                    path, (unsigned long long)need, (double)need / 1e6,
                    (unsigned long long)free_bytes, (double)free_bytes / 1e6);
}

/* The finished file is moved to `path`, which must not put it in the place of a device. */
static elm_status check_target(const elm_platform *p, const char *path, elm_error *err) {
    elm_path_kind kind;
    ELM_TRY(elm_path_kind_of(p, path, &kind, err));
    if (kind == ELM_PATH_NONE || kind == ELM_PATH_FILE) return ELM_OK;
    return elm_fail(err, ELM_INVALID_ARGUMENT, "'%s' is %s; give the path of the file to write",
                    path, kind == ELM_PATH_FOLDER ? "a folder" : "no regular file");
}

/* Opens and locks PATH.part before it is emptied, so that a file in the making is never cut under
 * its writer; and looks again once it is locked, because that writer may have moved it to PATH
 * meanwhile. *present is the size of what was found there. */
static elm_status claim_part(elm_writer *w, uint64_t *present, elm_error *err) {
    const elm_platform *p = w->platform;
    elm_path_kind kind;
    bool same = false;
    ELM_TRY(elm_path_kind_of(p, w->part, &kind, err));
    elm_open_mode mode = kind == ELM_PATH_FILE ? ELM_OPEN_UPDATE : ELM_OPEN_CREATE;
    ELM_TRY(elm_file_open(p, w->part, mode, &w->file, err));
    elm_status status = elm_file_lock(&w->file, err);
    if (status == ELM_OK) status = elm_file_is_at(&w->file, w->part, &same, err);
    if (status == ELM_OK && !same) status = elm_file_fail_busy(w->part, err);
    if (status == ELM_OK) status = elm_file_size(&w->file, present, err);
    if (status == ELM_OK || mode == ELM_OPEN_CREATE) return status;
    elm_file_close(&w->file); /* it is the other writer's, and must not be removed */
    return status;
}

static elm_status copy_path(const elm_writer *w, const char *path, const char *suffix, char **out,
                            size_t *bytes, elm_error *err) {
    size_t n = strlen(path), m = strlen(suffix);
    ELM_TRY(elm_alloc(w->platform->alloc, n + m + 1, "a path", out, err));
    *bytes = n + m + 1;
    memcpy(*out, path, n);
    memcpy(*out + n, suffix, m);
    return ELM_OK;
}

elm_status elm_writer_side_file(elm_writer *w, const char *path, elm_error *err) {
    assert(!w->side);
    return copy_path(w, path, "", &w->side, &w->side_bytes, err);
}

/* To resume, PATH.part is kept as it is, and what it holds needs no more space. The space is not
 * only counted but set aside: the disk may fill while hours of work go into the file. */
static elm_status open_part(elm_writer *w, uint64_t expected_bytes, elm_error *err) {
    uint64_t present = 0;
    ELM_TRY(elm_body_init(&w->body, w->platform, &w->file, ELM_SECTION_ALIGN, err));
    if (!w->resumed) ELM_TRY(check_space(w->platform, w->path, expected_bytes, err));
    ELM_TRY(claim_part(w, &present, err));
    if (!w->resumed && present > 0) ELM_TRY(elm_file_truncate(&w->file, 0, err));
    if (w->resumed) {
        uint64_t more = present < expected_bytes ? expected_bytes - present : 0;
        ELM_TRY(check_space(w->platform, w->path, more, err));
    }
    return elm_file_reserve(&w->file, expected_bytes, err);
}

static elm_status open_writer(const elm_platform *platform, const char *path,
                              uint64_t expected_bytes, bool resume, elm_writer **out,
                              elm_error *err) {
    elm_writer *w = NULL;
    *out = NULL;
    ELM_TRY(check_target(platform, path, err));
    ELM_TRY(elm_alloc(platform->alloc, sizeof *w, "a writer", &w, err));
    w->platform = platform;
    w->resumed = w->keep_part = resume;
    elm_buf_init(&w->tensors, platform->alloc, MAX_TABLE_BYTES);
    elm_buf_init(&w->names, platform->alloc, MAX_TABLE_BYTES);
    elm_status status = copy_path(w, path, "", &w->path, &w->path_bytes, err);
    if (status == ELM_OK) status = copy_path(w, path, ".part", &w->part, &w->part_bytes, err);
    if (status == ELM_OK) status = open_part(w, expected_bytes, err);
    if (status != ELM_OK) {
        release(w, w->file.handle != NULL && !resume, false);
        return status;
    }
    *out = w;
    return ELM_OK;
}

elm_status elm_writer_open(const elm_platform *platform, const char *path, uint64_t expected_bytes,
                           elm_writer **out, elm_error *err) {
    return open_writer(platform, path, expected_bytes, false, out, err);
}

elm_status elm_writer_resume(const elm_platform *platform, const char *path,
                             uint64_t expected_bytes, elm_writer **out, elm_error *err) {
    return open_writer(platform, path, expected_bytes, true, out, err);
}

/* ---- sections ---- */

elm_status elm_writer_begin(elm_writer *w, elm_section_type type, uint32_t chunk_bytes,
                            const char *name, elm_error *err) {
    return elm_body_begin(&w->body, type, chunk_bytes, name, err);
}

elm_status elm_writer_write(elm_writer *w, const void *data, size_t size, elm_error *err) {
    return size > 0 ? elm_body_write(&w->body, data, size, err) : ELM_OK;
}

elm_status elm_writer_align(elm_writer *w, size_t align, elm_error *err) {
    return elm_body_align(&w->body, align, err);
}

uint64_t elm_writer_tell(const elm_writer *w) {
    return elm_body_tell(&w->body);
}

uint64_t elm_writer_position(const elm_writer *w) {
    return w->body.position;
}

uint32_t elm_writer_take_crc(elm_writer *w) {
    uint32_t crc = w->body.crc;
    w->body.crc = 0;
    return crc;
}

elm_status elm_writer_flush(elm_writer *w, elm_error *err) {
    return elm_body_flush(&w->body, err);
}

elm_status elm_writer_end(elm_writer *w, elm_error *err) {
    return elm_body_end(&w->body, err);
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
        ELM_TRY(elm_body_align(&w->body, align, err));
        offset = elm_body_tell(&w->body);
        ELM_TRY(elm_body_write(&w->body, data, size, err));
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
    assert(w->body.open && w->body.section.type == ELM_SECTION_WEIGHTS);
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

static elm_status write_end(elm_writer *w, elm_error *err) {
    uint8_t slot[ELM_SLOT_BYTES];
    static const uint8_t zeros[ELM_SECTION_ALIGN] = {0};
    ELM_TRY(elm_body_toc(&w->body, 1, 0, slot, err));
    /* Room that was not used, or what a killed run left there. */
    ELM_TRY(elm_file_truncate(&w->file, w->body.position, err));
    /* The rest of the header area first, then the data is made safe, then the slot that makes it a
     * file. */
    ELM_TRY(elm_file_write_at(&w->file, 0, zeros, sizeof zeros, err));
    ELM_TRY(elm_file_sync(&w->file, err));
    ELM_TRY(elm_file_write_at(&w->file, 0, slot, sizeof slot, err));
    ELM_TRY(elm_file_sync(&w->file, err));
    elm_file_forget(&w->file);
    return ELM_OK;
}

elm_status elm_writer_finish(elm_writer *w, uint64_t *file_bytes, elm_error *err) {
    assert(!w->body.open);
    elm_status status = write_end(w, err);
    if (file_bytes) *file_bytes = w->body.position;
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
    release(w, !renamed && !w->keep_part, renamed || !w->keep_part);
    return status;
}
