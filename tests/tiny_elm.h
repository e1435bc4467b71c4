/* tiny_elm.h - a small .elm file with every kind of section and plane, for tests of the container.
 */
#ifndef TESTS_TINY_ELM_H
#define TESTS_TINY_ELM_H

#include <stddef.h>
#include <string.h>

#include "elm/container.h"
#include "elm/writer.h"

enum { TINY_N_TENSORS = 6, TINY_PLANE_BYTES = 8192 };

/* Bytes that differ from place to place, never zero. */
static inline void tiny_fill(uint8_t *p, size_t n, uint32_t seed) {
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        p[i] = (uint8_t)(seed >> 24 | 1u);
    }
}

/* Tensor number i; its planes lie in `planes` [3][TINY_PLANE_BYTES]. "ids" ends where a chunk of
 * 4096 does. */
static inline elm_tensor tiny_tensor(uint32_t i, uint8_t *planes) {
    static const char *const names[] = {"norm", "attn.q", "mlp.up", "embed", "ids", "tail"};
    static const elm_dtype dtypes[] = {ELM_F32, ELM_I4, ELM_I8Z, ELM_F16, ELM_I32, ELM_F32};
    static const uint32_t groups[] = {0, 32, 64, 0, 0, 0};
    static const uint32_t dims[][4] = {{37}, {20, 70}, {17, 128}, {33, 40}, {2, 2, 4, 4}, {8}};
    static const uint32_t n_dims[] = {1, 2, 2, 2, 4, 1};
    elm_p16_shape shape;
    elm_tensor t = {.name = names[i], .dtype = dtypes[i], .n_dims = n_dims[i], .group = groups[i]};
    t.layout = n_dims[i] == 2 ? ELM_LAYOUT_P16 : ELM_LAYOUT_ROWS;
    t.scale_exp = groups[i] ? -3 : 0;
    memcpy(t.dims, dims[i], sizeof t.dims);
    if (!elm_tensor_plane_sizes(&t, &shape)) return t;
    t.codes_bytes = shape.codes_bytes;
    t.scales_bytes = shape.scales_bytes;
    t.zeros_bytes = shape.zeros_bytes;
    tiny_fill(planes, 3 * TINY_PLANE_BYTES, i + 1);
    t.codes = planes;
    t.scales = t.scales_bytes ? (const uint16_t *)(const void *)(planes + TINY_PLANE_BYTES) : NULL;
    t.zeros = t.zeros_bytes ? planes + 2 * TINY_PLANE_BYTES : NULL;
    return t;
}

static inline elm_status tiny_sections(elm_writer *w, elm_error *err) {
    static const char meta[] = "{\"architecture\": \"tiny\", \"vocab_size\": 4}";
    _Alignas(64) uint8_t planes[3 * TINY_PLANE_BYTES];
    uint8_t graph[9000];
    tiny_fill(graph, sizeof graph, 99);
    ELM_TRY(elm_writer_section(w, ELM_SECTION_META, elm_span_str(meta), err));
    ELM_TRY(elm_writer_section(w, ELM_SECTION_GRAPH, elm_span_of(graph, sizeof graph), err));
    ELM_TRY(elm_writer_section(w, ELM_SECTION_TEMPLATE, elm_span_str(""), err));
    ELM_TRY(elm_writer_begin(w, ELM_SECTION_WEIGHTS, ELM_MIN_CHUNK_BYTES, NULL, err));
    for (uint32_t i = 0; i < TINY_N_TENSORS; i++) {
        elm_tensor t = tiny_tensor(i, planes);
        ELM_TRY(elm_writer_tensor(w, &t, err));
    }
    ELM_TRY(elm_writer_end(w, err));
    ELM_TRY(elm_writer_tensors(w, err));
    ELM_TRY(elm_writer_begin(w, ELM_SECTION_PRODUCT, 8192, "cpu:test", err));
    ELM_TRY(elm_writer_write(w, graph, 100, err));
    return elm_writer_end(w, err);
}

static inline elm_status tiny_write(const elm_platform *p, const char *path, elm_error *err) {
    elm_writer *w = NULL;
    ELM_TRY(elm_writer_open(p, path, 1000, &w, err));
    elm_status status = tiny_sections(w, err);
    if (status != ELM_OK) {
        elm_writer_abort(w);
        return status;
    }
    return elm_writer_finish(w, NULL, err);
}

/* ---- changing a file and repairing the checksums over the change ---- */

static inline void tiny_put_le(uint8_t *p, uint64_t value, size_t n) {
    for (size_t i = 0; i < n; i++) p[i] = (uint8_t)(value >> (8 * i));
}

static inline uint64_t tiny_get_le(const uint8_t *p, size_t n) {
    uint64_t value = 0;
    for (size_t i = 0; i < n; i++) value |= (uint64_t)p[i] << (8 * i);
    return value;
}

static inline void tiny_repair_slot(uint8_t *slot) {
    tiny_put_le(slot + offsetof(elm_disk_slot, crc32c), elm_slot_crc(slot), 4);
}

/* Makes slot `index` name the TOC's present bytes, when they lie inside the file. */
static inline void tiny_repair_toc(uint8_t *file, size_t size, size_t index) {
    uint8_t *slot = file + index * ELM_SLOT_BYTES;
    uint64_t offset = tiny_get_le(slot + offsetof(elm_disk_slot, toc_offset), 8);
    uint64_t bytes = tiny_get_le(slot + offsetof(elm_disk_slot, toc_bytes), 8);
    if (bytes <= ELM_MAX_TOC_BYTES && offset <= size && bytes <= size - offset) {
        elm_container_toc_sha256(elm_span_of(file, size), offset, bytes,
                                 slot + offsetof(elm_disk_slot, toc_sha256));
    }
    tiny_repair_slot(slot);
}

/* Writes the chunk checksums of section `index` anew and repairs TOC and slot A over them. */
static inline void tiny_repair_section(uint8_t *file, size_t size, uint32_t index) {
    const uint8_t *slot = file;
    uint8_t *toc = file + tiny_get_le(slot + offsetof(elm_disk_slot, toc_offset), 8);
    uint32_t n_sections = (uint32_t)tiny_get_le(toc + offsetof(elm_disk_toc, n_sections), 4);
    const uint8_t *record = toc + sizeof(elm_disk_toc) + index * sizeof(elm_disk_section);
    uint64_t offset = tiny_get_le(record + offsetof(elm_disk_section, offset), 8);
    uint64_t bytes = tiny_get_le(record + offsetof(elm_disk_section, size), 8);
    uint32_t chunk = (uint32_t)tiny_get_le(record + offsetof(elm_disk_section, chunk_bytes), 4);
    uint64_t first = tiny_get_le(record + offsetof(elm_disk_section, first_checksum), 8);
    uint8_t *checksums =
        toc + sizeof(elm_disk_toc) + n_sections * sizeof(elm_disk_section) + first * 4;
    for (uint32_t i = 0; (uint64_t)i * chunk < bytes; i++) {
        uint64_t at = (uint64_t)i * chunk, left = bytes - at;
        uint32_t crc = elm_chunk_crc(i, file + offset + at, (size_t)(left < chunk ? left : chunk));
        tiny_put_le(checksums + (size_t)i * 4, crc, 4);
    }
    tiny_repair_toc(file, size, 0);
}

#endif
