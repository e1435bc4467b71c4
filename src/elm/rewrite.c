/* rewrite.c - see rewrite.h; elm. */
#include "elm/rewrite.h"

#include "elm/writer.h"

#include <string.h>

static elm_status copy(elm_writer *w, elm_container *c, const elm_section *s, elm_error *err) {
    elm_span bytes = elm_container_bytes(c, s);
    /* What is copied gets new checksums: damage must not get good ones. */
    ELM_TRY(elm_container_check(c, s, 0, s->size, err));
    ELM_TRY(elm_writer_begin(w, (elm_section_type)s->type, s->chunk_bytes,
                             s->type == ELM_SECTION_PRODUCT ? s->name : NULL, err));
    ELM_TRY(elm_writer_write(w, bytes.data, bytes.size, err));
    return elm_writer_end(w, err);
}

static elm_status write_dropped(elm_writer *w, const elm_platform *p, const elm_section *s,
                                elm_error *err) {
    elm_buf record;
    elm_buf_init(&record, p->alloc, sizeof(elm_disk_dropped));
    elm_buf_u32(&record, s->type);
    elm_buf_u32(&record, 0);
    elm_buf_u64(&record, s->size);
    elm_buf_append(&record, s->sha256, sizeof s->sha256);
    elm_status status = elm_buf_check(&record, "a dropped section", err);
    if (status == ELM_OK)
        status = elm_writer_section(w, ELM_SECTION_DROPPED, elm_buf_span(&record), err);
    elm_buf_free(&record);
    return status;
}

/* The sections of `c` with take[i], in their order. */
static elm_status write_taken(elm_container *c, elm_writer *w, const bool *take, bool drop_weights,
                              elm_error *err) {
    for (uint32_t i = 0; i < c->n_sections; i++) {
        const elm_section *s = &c->sections[i];
        if (!take[i]) continue;
        if (drop_weights && s->type == ELM_SECTION_WEIGHTS)
            ELM_TRY(write_dropped(w, c->platform, s, err));
        else
            ELM_TRY(copy(w, c, s, err));
    }
    return ELM_OK;
}

static elm_status write_file(elm_container *c, const char *path, const bool *take,
                             bool drop_weights, const elm_file *mode_of, elm_error *err) {
    elm_writer *w = NULL;
    uint64_t bytes = 3 * (uint64_t)ELM_SECTION_ALIGN;
    for (uint32_t i = 0; i < c->n_sections; i++) {
        const elm_section *s = &c->sections[i];
        if (take[i] && !(drop_weights && s->type == ELM_SECTION_WEIGHTS))
            bytes += s->size + ELM_SECTION_ALIGN;
        if (take[i] && !elm_section_rule_of(s->type)) {
            return elm_fail(err, ELM_UNSUPPORTED,
                            "'%s' has a section of type %u that this program does not know; use a "
                            "newer edge-llm",
                            c->file.path, s->type);
        }
    }
    ELM_TRY(elm_writer_open(c->platform, path, bytes, &w, err));
    elm_writer_copy_mode(w, mode_of);
    elm_status status = write_taken(c, w, take, drop_weights, err);
    if (status == ELM_OK) return elm_writer_finish(w, NULL, err);
    elm_writer_abort(w);
    return status;
}

/* ---- strip ---- */

static bool is_kept(const elm_strip_options *o, const char *target) {
    for (uint32_t i = 0; i < o->n_keep; i++) {
        if (strcmp(o->keep[i], target) == 0) return true;
    }
    return false;
}

static elm_status check_targets(const elm_container *c, const elm_strip_options *o,
                                elm_error *err) {
    for (uint32_t k = 0; k < o->n_keep; k++) {
        bool found = false;
        for (uint32_t i = 0; i < c->n_sections; i++) {
            const elm_section *s = &c->sections[i];
            found = found || (s->type == ELM_SECTION_PRODUCT && strcmp(s->name, o->keep[k]) == 0);
        }
        if (!found) {
            return elm_fail(err, ELM_INVALID_ARGUMENT,
                            "'%s' has no product '%s' to keep; 'edge-llm inspect' lists them",
                            c->file.path, o->keep[k]);
        }
    }
    return ELM_OK;
}

/* Weights may go only when what stays does not need them. */
static elm_status check_whole(const elm_container *c, const elm_product *p, elm_error *err) {
    bool whole = false;
    ELM_TRY(elm_json_bool(p->record, "whole", p->target, &whole, err));
    if (whole) return ELM_OK;
    return elm_fail(err, ELM_INVALID_ARGUMENT,
                    "'%s': product '%s' runs only a part of the model and needs its weights: strip "
                    "without --no-fallback",
                    c->file.path, p->target);
}

static elm_status choose(elm_container *c, const elm_strip_options *o, elm_arena *arena, bool *take,
                         elm_error *err) {
    uint8_t digests[ELM_MAX_SECTIONS][32];
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->n_sections; i++) {
        const elm_section *s = &c->sections[i];
        elm_product p;
        take[i] = s->type != ELM_SECTION_RETIRED && s->type != ELM_SECTION_SIGNATURE;
        if (s->type != ELM_SECTION_PRODUCT) continue;
        take[i] = is_kept(o, s->name);
        if (!take[i]) continue;
        ELM_TRY(elm_product_read(c, s, arena, &p, err));
        if (o->no_fallback) ELM_TRY(check_whole(c, &p, err));
        memcpy(digests[n++], p.digest, 32);
    }
    if (o->no_fallback && n == 0) {
        return elm_fail(err, ELM_INVALID_ARGUMENT,
                        "--no-fallback leaves out the weights: say with --keep which product is to "
                        "run instead");
    }
    for (uint32_t i = 0; i < c->n_sections; i++) {
        elm_signature signature;
        if (c->sections[i].type != ELM_SECTION_SIGNATURE) continue;
        ELM_TRY(elm_signature_read(c, &c->sections[i], &signature, err));
        take[i] = signature.kind == ELM_SIGNED_MODEL;
        for (uint32_t k = 0; k < n && !take[i]; k++)
            take[i] = memcmp(digests[k], signature.digest, 32) == 0;
    }
    return ELM_OK;
}

elm_status elm_strip(elm_container *c, const char *path, const elm_strip_options *o,
                     elm_error *err) {
    bool take[ELM_MAX_SECTIONS];
    elm_arena arena;
    ELM_TRY(check_targets(c, o, err));
    elm_arena_init(&arena, c->platform->alloc, 0);
    elm_status status = choose(c, o, &arena, take, err);
    elm_arena_free(&arena);
    return status == ELM_OK ? write_file(c, path, take, o->no_fallback, &c->file, err) : status;
}

/* ---- compact ---- */

elm_status elm_compact(const elm_platform *platform, const char *path, uint64_t *saved,
                       elm_error *err) {
    elm_appender a; /* for its lock: nobody appends to a file that is about to be replaced */
    elm_container now;
    bool take[ELM_MAX_SECTIONS], retired = false;
    *saved = 0;
    elm_status status = elm_append_open(platform, path, &a, err);
    if (status == ELM_OK) {
        for (uint32_t i = 0; i < a.c.n_sections; i++) {
            take[i] = a.c.sections[i].type != ELM_SECTION_RETIRED;
            retired = retired || !take[i];
        }
        if (retired) status = write_file(&a.c, path, take, false, &a.file, err);
    }
    if (status == ELM_OK && retired) {
        uint64_t before = a.c.map.size;
        status = elm_container_open(platform, path, &now, err);
        if (status == ELM_OK && now.map.size < before) *saved = before - now.map.size;
        elm_container_close(&now);
    }
    elm_append_close(&a);
    return status;
}
