/* fuzz_container.c - opening, reading and verifying a hostile .elm file.
 *
 * Sections lie 64 KiB apart, so the input is no file but a list of changes to a small valid one:
 *
 *   u8 mode   bit 0: repair chunk checksums   bit 1: repair TOC and slots   bit 2: copy slot A to B
 * first bit 7: the rest is a file as it is change    u8 region (0, 1: slot A, B; 2: TOC; 3..:
 * sections)   u16 offset   u8 n   n bytes
 *
 * Without repairs any change must be found: by open, by a damaged slot, or by verify. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "fault_io.h"
#include "tiny_elm.h"

#define PATH "m.elm"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static fault_io fs;
static uint8_t *intact;
static size_t n_intact;
static uint64_t region_at[16], region_bytes[16];
static size_t n_regions;
static volatile uint8_t sink; /* reads go here, so that they are made */

static void add_region(uint64_t at, uint64_t bytes) {
    region_at[n_regions] = at;
    region_bytes[n_regions++] = bytes;
}

static void make_intact(void) {
    elm_container c;
    fault_io_init(&fs);
    if (tiny_write(&fs.platform, PATH, NULL) != ELM_OK) abort();
    const uint8_t *file = fault_io_get(&fs, PATH, &n_intact);
    intact = malloc(n_intact);
    if (!intact || elm_container_open(&fs.platform, PATH, &c, NULL) != ELM_OK) abort();
    memcpy(intact, file, n_intact);
    add_region(0, ELM_SLOT_BYTES);
    add_region(ELM_SLOT_BYTES, ELM_SLOT_BYTES);
    add_region(c.toc_offset, c.toc_bytes);
    for (uint32_t i = 0; i < c.n_sections; i++)
        add_region(c.sections[i].offset, c.sections[i].size + 16);
    elm_container_close(&c);
}

static void apply(uint8_t *file, elm_reader *r) {
    while (elm_reader_left(r) > 4) {
        size_t region = elm_read_u8(r) % n_regions;
        uint64_t offset = elm_read_u16(r) % region_bytes[region];
        size_t n = elm_read_u8(r);
        if (n > elm_reader_left(r)) n = elm_reader_left(r);
        if (n > region_bytes[region] - offset) n = (size_t)(region_bytes[region] - offset);
        const uint8_t *p = elm_read_bytes(r, n);
        if (p && n > 0) memcpy(file + region_at[region] + offset, p, n);
    }
}

/* Reads all that can be read, so that a sanitizer sees a bad pointer. Returns whether the file is
 * intact. */
static bool use(void) {
    elm_container c;
    elm_tensor *tensors;
    elm_span span;
    uint32_t n;
    elm_verify_result result;
    elm_error err;
    bool ok = elm_container_open(&fs.platform, PATH, &c, &err) == ELM_OK;
    if (ok) {
        for (uint32_t type = 0; type < 12; type++) {
            if (elm_container_load(&c, (elm_section_type)type, &span, &err) != ELM_OK) continue;
            for (size_t i = 0; i < span.size; i += 64) sink = span.data[i];
        }
        if (elm_container_tensors(&c, &tensors, &n, &err) == ELM_OK) {
            for (uint32_t i = 0; i < n; i++) {
                const elm_tensor *t = &tensors[i];
                sink = ((const uint8_t *)t->codes)[t->codes_bytes - 1];
                if (t->scales) sink = ((const uint8_t *)t->scales)[t->scales_bytes - 1];
                if (t->zeros) sink = t->zeros[t->zeros_bytes - 1];
                if (elm_dtype_get(t->dtype)->is_float && t->layout == ELM_LAYOUT_P16) {
                    (void)elm_tensor_at(t, t->dims[0] - 1, t->dims[1] - 1);
                }
            }
        }
        ok = elm_container_verify(&c, NULL, NULL, NULL, &result, &err) == ELM_OK;
        if (ok && result.bytes_checked != c.committed_end) abort();
    }
    elm_container_close(&c);
    return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    elm_reader r = elm_reader_of(elm_span_of(data, size));
    size_t n_file;
    if (!intact) make_intact();
    uint8_t mode = elm_read_u8(&r);
    if (mode & 0x80) {
        fault_io_put(&fs, PATH, data + 1, size - 1);
        (void)use();
        return 0;
    }
    uint8_t *file = fault_io_get(&fs, PATH, &n_file);
    if (n_file != n_intact) {
        fault_io_put(&fs, PATH, intact, n_intact);
        file = fault_io_get(&fs, PATH, &n_file);
    }
    memcpy(file, intact, n_intact);
    if (mode & 4) memcpy(file + ELM_SLOT_BYTES, file, ELM_SLOT_BYTES);
    apply(file, &r);
    bool repaired = (mode & 7) != 0;
    bool changed = memcmp(file, intact, n_intact) != 0;
    if (mode & 1) {
        /* Only while the TOC is the one that the regions come from. */
        const uint8_t *toc = intact + region_at[2];
        if (memcmp(file, intact, 88) == 0 &&
            memcmp(file + region_at[2], toc, region_bytes[2]) == 0) {
            for (uint32_t i = 0; i + 3 < n_regions; i++) tiny_repair_section(file, n_file, i);
        }
    }
    if (mode & 2) {
        tiny_repair_toc(file, n_file, 0);
        if (mode & 4) tiny_repair_toc(file, n_file, 1);
    }
    bool ok = use();
    if (!repaired && ok == changed) abort();
    return 0;
}
