/* append.c - see append.h; elm. */
#include "elm/append.h"

#include <string.h>

elm_status elm_append_open(const elm_platform *platform, const char *path, elm_appender *a,
                           elm_error *err) {
    bool same = false;
    memset(a, 0, sizeof *a);
    ELM_TRY(elm_file_open(platform, path, ELM_OPEN_UPDATE, &a->file, err));
    ELM_TRY(elm_file_lock(&a->file, err));
    /* Another writer may have put a new file there between opening and locking. */
    ELM_TRY(elm_file_is_at(&a->file, path, &same, err));
    if (!same) return elm_file_fail_busy(path, err);
    return elm_container_open(platform, path, &a->c, err);
}

static elm_status check_space(const elm_appender *a, uint64_t need, elm_error *err) {
    uint64_t available;
    ELM_TRY(elm_path_free_space(a->c.platform, a->file.path, &available, err));
    if (available >= need) return ELM_OK;
    return elm_fail(err, ELM_IO,
                    "'%s' needs %llu more bytes (%.1f MB) and the disk has %llu (%.1f MB) free; "
                    "nothing was written",
                    a->file.path, (unsigned long long)need, (double)need / 1e6,
                    (unsigned long long)available, (double)available / 1e6);
}

/* The old TOC stays where it is and must stay covered: a section whose content is ignored. */
static elm_status retire_toc(elm_appender *a, elm_error *err) {
    const elm_container *c = &a->c;
    elm_section toc = {.type = ELM_SECTION_RETIRED,
                       .offset = c->toc_offset,
                       .size = c->toc_bytes,
                       .chunk_bytes = ELM_MAX_CHUNK_BYTES};
    elm_buf sums;
    elm_buf_init(&sums, c->platform->alloc, ELM_MAX_TOC_BYTES);
    for (uint64_t at = 0; at < toc.size; at += ELM_MAX_CHUNK_BYTES) {
        uint64_t left = toc.size - at;
        size_t n = left < ELM_MAX_CHUNK_BYTES ? (size_t)left : ELM_MAX_CHUNK_BYTES;
        elm_buf_u32(&sums, elm_chunk_crc(toc.n_chunks++, c->map.data + toc.offset + at, n));
    }
    memcpy(toc.sha256, c->toc_sha256, sizeof toc.sha256);
    const elm_container with = {.checksums = sums.data};
    elm_status status = elm_buf_check(&sums, "the checksums", err);
    if (status == ELM_OK) status = elm_body_keep(&a->body, &with, &toc, ELM_SECTION_RETIRED, err);
    elm_buf_free(&sums);
    return status;
}

elm_status elm_append_start(elm_appender *a, uint64_t new_bytes, elm_error *err) {
    static const uint8_t zeros[ELM_SECTION_ALIGN] = {0};
    const elm_container *c = &a->c;
    uint64_t end = c->committed_end,
             gap = (ELM_SECTION_ALIGN - end % ELM_SECTION_ALIGN) % ELM_SECTION_ALIGN;
    uint64_t more = new_bytes + 2 * c->toc_bytes + 3 * ELM_SECTION_ALIGN;
    ELM_TRY(check_space(a, more, err));
    ELM_TRY(elm_body_init(&a->body, c->platform, &a->file, end + gap, err));
    ELM_TRY(elm_file_reserve(&a->file, end + more, err));
    for (uint32_t i = 0; i < c->n_sections; i++) {
        const elm_section *s = &c->sections[i];
        elm_section_type type = a->retire[i] ? ELM_SECTION_RETIRED : (elm_section_type)s->type;
        ELM_TRY(elm_body_keep(&a->body, c, s, type, err));
    }
    ELM_TRY(retire_toc(a, err));
    /* Whatever a killed commit left behind the end. */
    return elm_file_write_at(&a->file, end, zeros, (size_t)gap, err);
}

elm_status elm_append_commit(elm_appender *a, elm_error *err) {
    uint8_t slot[ELM_SLOT_BYTES];
    const elm_container *c = &a->c;
    ELM_TRY(elm_body_toc(&a->body, c->generation + 1, c->toc_offset, slot, err));
    ELM_TRY(elm_file_truncate(&a->file, a->body.position, err));
    ELM_TRY(elm_file_sync(&a->file, err));
    a->flipping = true;
    uint64_t other = c->slot == 0 ? ELM_SLOT_BYTES : 0;
    ELM_TRY(elm_file_write_at(&a->file, other, slot, sizeof slot, err));
    if (elm_file_sync(&a->file, NULL) == ELM_OK) return ELM_OK;
    return elm_fail(err, ELM_IO,
                    "'%s' is complete, but could not be synced: after a power cut it may be what "
                    "it was before",
                    a->file.path);
}

void elm_append_close(elm_appender *a) {
    /* What was begun lies behind the committed end; it is cut off where that is certain. */
    if (a->body.platform && !a->flipping)
        (void)!elm_file_truncate(&a->file, a->c.committed_end, NULL);
    elm_body_free(&a->body);
    elm_container_close(&a->c);
    elm_file_close(&a->file);
    memset(a, 0, sizeof *a);
}
