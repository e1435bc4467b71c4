/* verify.c - every byte up to the committed end: slots, chunks, padding; elm. */
#include "elm/container.h"
#include "base/sort.h"

#include <string.h>

enum { CHUNKS_PER_REPORT = 64 };

/* A tensor's plane in the file. */
typedef struct extent {
    uint64_t offset, size;
    const char *tensor;
} extent;

typedef struct verification {
    elm_container *c;
    elm_damage_fn on_damage;
    void *context;
    extent *extents; /* ascending, without overlap */
    size_t n_extents;
    elm_verify_result *out;
} verification;

static void report(verification *v, elm_damage damage) {
    v->out->n_damaged++;
    if (v->on_damage) v->on_damage(v->context, &damage);
}

static int by_offset(const void *a, const void *b) {
    const extent *x = a, *y = b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

/* Where tensors lie, for names in reports. A damaged tensor table leaves them out; it is reported
 * itself. */
static void find_extents(verification *v) {
    elm_container *c = v->c;
    elm_tensor *tensors = NULL;
    uint32_t n = 0;
    if (elm_container_tensors(c, &tensors, &n, NULL) != ELM_OK) return;
    v->extents = elm_arena_array(&c->arena, (size_t)n * 3, sizeof *v->extents);
    if (!v->extents) return;
    for (uint32_t i = 0; i < n; i++) {
        const elm_tensor *t = &tensors[i];
        const void *const planes[3] = {t->codes, t->scales, t->zeros};
        const uint64_t bytes[3] = {t->codes_bytes, t->scales_bytes, t->zeros_bytes};
        for (int p = 0; p < 3; p++) {
            if (!planes[p]) continue;
            uint64_t offset = (uint64_t)((const uint8_t *)planes[p] - c->map.data);
            v->extents[v->n_extents++] = (extent){offset, bytes[p], t->name};
        }
    }
    elm_heap_sort(v->extents, v->n_extents, sizeof *v->extents, by_offset);
}

/* The tensor of lowest offset with bytes in [begin, end) of the file. */
static const char *tensor_at(const verification *v, uint64_t begin, uint64_t end) {
    size_t low = 0, high = v->n_extents; /* the first extent that ends behind `begin` */
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (v->extents[middle].offset + v->extents[middle].size <= begin)
            low = middle + 1;
        else
            high = middle;
    }
    return low < v->n_extents && v->extents[low].offset < end ? v->extents[low].tensor : NULL;
}

static void check_zeros(verification *v, uint64_t from, uint64_t to) {
    const uint8_t *p = v->c->map.data;
    v->out->bytes_checked += to - from;
    if (elm_bytes_are_zero(p + from, (size_t)(to - from))) return;
    uint64_t at = from;
    while (p[at] == 0) at++;
    report(v, (elm_damage){.section = "padding", .offset = at, .size = to - at});
}

/* A slot whose own checksum holds is damaged in what it names: the TOC. */
static void report_slot(verification *v, size_t index) {
    const uint8_t *p = v->c->map.data + index * ELM_SLOT_BYTES;
    elm_reader r = elm_reader_of(elm_span_of(p, ELM_SLOT_BYTES));
    (void)elm_read_bytes(&r, offsetof(elm_disk_slot, toc_offset));
    uint64_t toc_offset = elm_read_u64(&r), toc_bytes = elm_read_u64(&r);
    r.pos = offsetof(elm_disk_slot, crc32c);
    uint32_t expected = elm_read_u32(&r), found = elm_slot_crc(p);
    if (expected == found) {
        report(v, (elm_damage){
                      .section = "toc", .chunk = index, .offset = toc_offset, .size = toc_bytes});
        return;
    }
    report(v, (elm_damage){.section = "header",
                           .chunk = index,
                           .offset = index * ELM_SLOT_BYTES,
                           .size = ELM_SLOT_BYTES,
                           .expected = expected,
                           .found = found});
}

static void check_header(verification *v) {
    elm_container *c = v->c;
    uint8_t sha[32];
    for (size_t i = 0; i < ELM_N_SLOTS; i++) {
        if (c->slot_damaged[i]) report_slot(v, i);
    }
    v->out->bytes_checked += ELM_N_SLOTS * ELM_SLOT_BYTES;
    check_zeros(v, ELM_N_SLOTS * ELM_SLOT_BYTES, ELM_SECTION_ALIGN);
    /* It held when the file was opened; the file may have changed under the mapping. */
    elm_container_toc_sha256(c->map, c->toc_offset, c->toc_bytes, sha);
    if (memcmp(sha, c->toc_sha256, sizeof sha) != 0) {
        report(v, (elm_damage){.section = "toc", .offset = c->toc_offset, .size = c->toc_bytes});
    }
    v->out->bytes_checked += c->toc_bytes;
}

static void check_chunk(verification *v, const elm_section *s, uint32_t chunk) {
    elm_container *c = v->c;
    uint64_t at = (uint64_t)chunk * s->chunk_bytes, left = s->size - at;
    uint64_t size = left < s->chunk_bytes ? left : s->chunk_bytes;
    uint32_t expected = elm_container_expected_crc(c, s, chunk),
             found = elm_container_found_crc(c, s, chunk);
    v->out->bytes_checked += size;
    if (expected == found) return;
    uint64_t begin = s->offset + at;
    report(v, (elm_damage){.section = elm_section_text(s->type),
                           .tensor = tensor_at(v, begin, begin + size),
                           .chunk = chunk,
                           .offset = begin,
                           .size = size,
                           .expected = expected,
                           .found = found});
}

elm_status elm_container_verify(elm_container *c, elm_damage_fn on_damage, void *context,
                                void (*progress)(void *context, uint64_t done, uint64_t total),
                                elm_verify_result *out, elm_error *err) {
    verification v = {.c = c, .on_damage = on_damage, .context = context, .out = out};
    uint64_t end = ELM_SECTION_ALIGN;
    memset(out, 0, sizeof *out);
    find_extents(&v);
    check_header(&v);
    for (uint32_t i = 0; i < c->n_sections; i++) {
        const elm_section *s = &c->sections[i];
        check_zeros(&v, end, s->offset);
        for (uint32_t chunk = 0; chunk < s->n_chunks; chunk++) {
            check_chunk(&v, s, chunk);
            if (progress && chunk % CHUNKS_PER_REPORT == 0)
                progress(context, out->bytes_checked, c->committed_end);
        }
        end = s->offset + s->size;
    }
    check_zeros(&v, end, c->toc_offset);
    out->bytes_after_end = c->map.size - c->committed_end;
    if (progress) progress(context, out->bytes_checked, c->committed_end);
    if (out->n_damaged == 0) return ELM_OK;
    return elm_fail(err, ELM_MALFORMED, "'%s' is damaged in %llu place%s; copy or convert it again",
                    c->file.path, (unsigned long long)out->n_damaged,
                    out->n_damaged > 1 ? "s" : "");
}
