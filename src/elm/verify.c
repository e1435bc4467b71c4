/* verify.c - every byte up to the committed end: slots, chunks, padding; elm. */
#include "elm/container.h"

#include <string.h>

typedef struct verification {
    elm_container *c;
    elm_damage_fn on_damage;
    void *context;
    const elm_tensor *tensors;
    uint32_t n_tensors;
    elm_verify_result *out;
} verification;

static void report(verification *v, elm_damage damage) {
    v->out->n_damaged++;
    if (v->on_damage) v->on_damage(v->context, &damage);
}

/* The first tensor with a plane in [begin, end) of the mapping. */
static const char *tensor_at(const verification *v, const uint8_t *begin, const uint8_t *end) {
    for (uint32_t i = 0; i < v->n_tensors; i++) {
        const elm_tensor *t = &v->tensors[i];
        const void *planes[3] = {t->codes, t->scales, t->zeros};
        const uint64_t bytes[3] = {t->codes_bytes, t->scales_bytes, t->zeros_bytes};
        for (int p = 0; p < 3; p++) {
            const uint8_t *at = planes[p];
            if (at && at < end && begin < at + bytes[p]) return t->name;
        }
    }
    return NULL;
}

static void check_zeros(verification *v, uint64_t from, uint64_t to) {
    const uint8_t *p = v->c->map.data;
    for (uint64_t at = from; at < to; at++) {
        if (p[at] == 0) continue;
        report(v, (elm_damage){.section = "padding", .offset = at, .size = to - at});
        break;
    }
    v->out->bytes_checked += to - from;
}

static void check_slots(verification *v) {
    for (int i = 0; i < ELM_N_SLOTS; i++) {
        if (v->c->slot_damaged[i]) {
            report(v, (elm_damage){.section = "header", .chunk = (uint64_t)i, .offset = (uint64_t)i * ELM_SLOT_BYTES,
                                   .size = ELM_SLOT_BYTES});
        }
    }
    v->out->bytes_checked += ELM_N_SLOTS * ELM_SLOT_BYTES;
    check_zeros(v, ELM_N_SLOTS * ELM_SLOT_BYTES, ELM_SECTION_ALIGN);
}

static void check_chunk(verification *v, const elm_section *s, uint32_t chunk) {
    elm_container *c = v->c;
    uint64_t at = (uint64_t)chunk * s->chunk_bytes, left = s->size - at;
    uint64_t size = left < s->chunk_bytes ? left : s->chunk_bytes;
    uint32_t expected = elm_container_expected_crc(c, s, chunk), found = elm_container_found_crc(c, s, chunk);
    v->out->bytes_checked += size;
    if (expected == found) return;
    const uint8_t *begin = c->map.data + s->offset + at;
    report(v, (elm_damage){.section = elm_section_text(s->type), .tensor = tensor_at(v, begin, begin + size),
                           .chunk = chunk, .offset = s->offset + at, .size = size, .expected = expected, .found = found});
}

elm_status elm_container_verify(elm_container *c, elm_damage_fn on_damage, void *context,
                                void (*progress)(void *context, uint64_t done, uint64_t total),
                                elm_verify_result *out, elm_error *err) {
    verification v = {.c = c, .on_damage = on_damage, .context = context, .out = out};
    elm_tensor *tensors = NULL;
    uint64_t end = ELM_SECTION_ALIGN;
    memset(out, 0, sizeof *out);
    /* For names only; a damaged tensor table is found below anyway. */
    if (elm_container_tensors(c, &tensors, &v.n_tensors, NULL) == ELM_OK) v.tensors = tensors;
    else v.n_tensors = 0;
    check_slots(&v);
    for (uint32_t i = 0; i < c->n_sections; i++) {
        const elm_section *s = &c->sections[i];
        check_zeros(&v, end, s->offset);
        for (uint32_t chunk = 0; chunk < s->n_chunks; chunk++) {
            check_chunk(&v, s, chunk);
            if (progress && chunk % 256 == 0) progress(context, s->offset + (uint64_t)chunk * s->chunk_bytes, c->committed_end);
        }
        end = s->offset + s->size;
    }
    check_zeros(&v, end, c->toc_offset);
    out->bytes_checked += c->toc_bytes; /* its SHA-256 was compared when the file was opened */
    out->bytes_after_end = c->map.size - c->committed_end;
    if (out->n_damaged == 0) return ELM_OK;
    return elm_fail(err, ELM_MALFORMED, "'%s' is damaged in %llu place%s", c->file.path,
                    (unsigned long long)out->n_damaged, out->n_damaged > 1 ? "s" : "");
}
