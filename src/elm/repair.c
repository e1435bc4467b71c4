/* repair.c - see repair.h; elm. */
#include "elm/repair.h"

#include <string.h>

typedef struct repair {
    elm_file file; /* locked, for update */
    elm_container c, *other;
    elm_damage_fn on_mended;
    void *context;
    elm_repair_result *out;
    elm_status status; /* of writing */
    elm_error *err;
} repair;

static elm_status lock_file(const elm_platform *platform, const char *path, elm_file *out,
                            elm_error *err) {
    bool same = false;
    ELM_TRY(elm_file_open(platform, path, ELM_OPEN_UPDATE, out, err));
    ELM_TRY(elm_file_lock(out, err));
    ELM_TRY(elm_file_is_at(out, path, &same, err));
    return same ? ELM_OK : elm_file_fail_busy(path, err);
}

/* The other file's section with the same content. */
static const elm_section *twin_of(const elm_container *other, const elm_section *s) {
    for (uint32_t i = 0; i < other->n_sections; i++) {
        const elm_section *o = &other->sections[i];
        if (o->type == s->type && o->size == s->size && o->chunk_bytes == s->chunk_bytes &&
            memcmp(o->sha256, s->sha256, sizeof o->sha256) == 0)
            return o;
    }
    return NULL;
}

static const elm_section *section_at(const elm_container *c, uint64_t offset) {
    for (uint32_t i = 0; i < c->n_sections; i++) {
        const elm_section *s = &c->sections[i];
        if (offset >= s->offset && offset - s->offset < s->size) return s;
    }
    return NULL;
}

static bool write_over(repair *r, uint64_t offset, const uint8_t *data, uint64_t size) {
    static const uint8_t zeros[4096] = {0};
    while (size > 0 && r->status == ELM_OK) {
        size_t n = data ? (size_t)size : size < sizeof zeros ? (size_t)size : sizeof zeros;
        r->status = elm_file_write_at(&r->file, offset, data ? data : zeros, n, r->err);
        offset += n;
        size -= n;
    }
    return r->status == ELM_OK;
}

static bool mend_chunk(repair *r, const elm_damage *d) {
    const elm_section *s = section_at(&r->c, d->offset), *twin = s ? twin_of(r->other, s) : NULL;
    if (!twin) return false;
    uint64_t at = d->offset - s->offset;
    const uint8_t *good = r->other->map.data + twin->offset + at;
    if (elm_chunk_crc((uint32_t)d->chunk, good, (size_t)d->size) != d->expected) return false;
    return write_over(r, d->offset, good, d->size);
}

static void on_damage(void *context, const elm_damage *d) {
    repair *r = context;
    bool mended = false;
    r->out->n_damaged++;
    if (r->status != ELM_OK) return;
    /* A damaged slot is emptied: the other one says what the file is. The TOC that it named counts
     * for nothing. */
    if (strcmp(d->section, "padding") == 0)
        mended = write_over(r, d->offset, NULL, d->size);
    else if (strcmp(d->section, "header") == 0 || strcmp(d->section, "toc") == 0)
        mended =
            r->c.slot != d->chunk && write_over(r, d->chunk * ELM_SLOT_BYTES, NULL, ELM_SLOT_BYTES);
    else
        mended = mend_chunk(r, d);
    if (!mended) return;
    r->out->n_mended++;
    if (r->on_mended) r->on_mended(r->context, d);
}

/* ---- a file that does not open ---- */

/* Whether most chunks that the file still has are the other one's. */
static elm_status is_a_copy(repair *r, uint64_t size, bool *out, elm_error *err) {
    const elm_container *other = r->other;
    elm_span map;
    uint64_t n = 0, n_same = 0;
    *out = false;
    ELM_TRY(elm_file_map(&r->file, &map, err));
    for (uint32_t i = 0; i < other->n_sections; i++) {
        const elm_section *s = &other->sections[i];
        for (uint32_t k = 0; k < s->n_chunks; k++, n++) {
            uint64_t at = (uint64_t)k * s->chunk_bytes, left = s->size - at;
            size_t bytes = (size_t)(left < s->chunk_bytes ? left : s->chunk_bytes);
            if (s->offset + at + bytes > size) continue;
            n_same += elm_chunk_crc(k, map.data + s->offset + at, bytes) ==
                      elm_container_expected_crc(other, s, k);
        }
    }
    elm_file_unmap(&r->file, map);
    *out = n_same * 2 > n;
    return ELM_OK;
}

/* Header and TOC of the other copy; the TOC before the slots that name it. */
static elm_status restore_header(repair *r, elm_error *err) {
    const elm_container *other = r->other;
    uint64_t size;
    bool copy;
    ELM_TRY(elm_file_size(&r->file, &size, err));
    ELM_TRY(is_a_copy(r, size, &copy, err));
    if (!copy) {
        return elm_fail(err, ELM_MALFORMED,
                        "'%s' does not open and is no copy of '%s': most of its chunks differ; "
                        "copy it again",
                        r->file.path, other->file.path);
    }
    if (size < other->committed_end)
        ELM_TRY(elm_file_truncate(&r->file, other->committed_end, err));
    ELM_TRY(elm_file_write_at(&r->file, other->toc_offset, other->map.data + other->toc_offset,
                              (size_t)other->toc_bytes, err));
    ELM_TRY(elm_file_sync(&r->file, err));
    ELM_TRY(elm_file_write_at(&r->file, 0, other->map.data, ELM_N_SLOTS * ELM_SLOT_BYTES, err));
    ELM_TRY(elm_file_sync(&r->file, err));
    r->out->header_restored = true;
    return ELM_OK;
}

static elm_status open_damaged(repair *r, const elm_platform *platform, const char *path,
                               elm_error *err) {
    elm_status status = elm_container_open(platform, path, &r->c, err);
    /* A newer generation whose slot or TOC is damaged, and the other copy still has it. */
    bool behind = status == ELM_OK && (r->c.slot_damaged[0] || r->c.slot_damaged[1]) &&
                  r->other->generation > r->c.generation;
    if (status != ELM_MALFORMED && !behind) return status;
    elm_container_close(&r->c);
    ELM_TRY(restore_header(r, err));
    return elm_container_open(platform, path, &r->c, err);
}

static elm_status mend(repair *r, const elm_platform *platform, const char *path, elm_error *err) {
    elm_verify_result v;
    ELM_TRY(lock_file(platform, path, &r->file, err));
    ELM_TRY(open_damaged(r, platform, path, err));
    elm_status status = elm_container_verify(&r->c, on_damage, r, NULL, &v, err);
    if (status == ELM_OK || status != ELM_MALFORMED) return status;
    ELM_TRY(r->status);
    ELM_TRY(elm_file_sync(&r->file, err));
    /* Looked at again, as it is on the disk now. */
    elm_container_close(&r->c);
    ELM_TRY(elm_container_open(platform, path, &r->c, err));
    status = elm_container_verify(&r->c, NULL, NULL, NULL, &v, err);
    if (status != ELM_MALFORMED) return status;
    return elm_fail(err, ELM_MALFORMED,
                    "'%s': %llu damaged places are not intact in '%s' or not part of it; mend them "
                    "from a third copy, or copy the file again",
                    path, (unsigned long long)v.n_damaged, r->other->file.path);
}

elm_status elm_repair(const elm_platform *platform, const char *path, elm_container *other,
                      elm_damage_fn on_mended, void *context, elm_repair_result *out,
                      elm_error *err) {
    repair r = {.other = other, .on_mended = on_mended, .context = context, .out = out, .err = err};
    memset(out, 0, sizeof *out);
    elm_status status = mend(&r, platform, path, err);
    elm_container_close(&r.c);
    elm_file_close(&r.file);
    return status;
}
