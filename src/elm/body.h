/* body.h - the body of an .elm file in the making: sections one after the other, then their table
 * of contents; elm.
 *
 * What writer.c (a new file) and append.c (more sections behind the committed end) share. Bytes go
 * through a 1 MiB buffer; a section's SHA-256 and its chunks' CRC-32C are computed as they pass.
 * The first write that fails is kept: nothing that follows can make such a file complete. */
#ifndef ELM_ELM_BODY_H
#define ELM_ELM_BODY_H

#include "base/buf.h"
#include "base/hash.h"
#include "elm/container.h"

typedef struct elm_body {
    const elm_platform *platform;
    elm_file *file;    /* the caller's, open for update */
    elm_status failed; /* of the first write that did */
    uint8_t *buffer;
    size_t n_buffer;
    uint64_t position; /* of the next byte in the file */

    elm_disk_section section; /* the open one */
    bool open;
    uint32_t types_seen; /* bit (1 << type) */
    elm_sha256 sha;
    uint32_t chunk_crc, chunk_used;
    uint32_t crc; /* of all section bytes since someone set it to 0 */
    elm_buf sections, checksums;
    uint32_t n_sections;
} elm_body;

/* Begins at `position`, a multiple of ELM_SECTION_ALIGN. Free also after a failure. */
elm_status elm_body_init(elm_body *b, const elm_platform *platform, elm_file *file,
                         uint64_t position, elm_error *err) ELM_MUST_CHECK;
void elm_body_free(elm_body *b);

/* A section that lies in the file already, below `position`: its record and checksums are taken
 * over, with another type where it is retired. Before the first elm_body_begin. */
elm_status elm_body_keep(elm_body *b, const elm_container *c, const elm_section *s,
                         elm_section_type type, elm_error *err) ELM_MUST_CHECK;

/* Starts a section; types that occur once are written once. chunk_bytes is a power of two in
 * [ELM_MIN_CHUNK_BYTES, ELM_MAX_CHUNK_BYTES]; name: 1..47 printable ASCII bytes for products, else
 * NULL. */
elm_status elm_body_begin(elm_body *b, elm_section_type type, uint32_t chunk_bytes,
                          const char *name, elm_error *err) ELM_MUST_CHECK;
/* data NULL: the bytes that lie in the file at this place already, read back and counted. */
elm_status elm_body_write(elm_body *b, const void *data, uint64_t size,
                          elm_error *err) ELM_MUST_CHECK;
/* Zeros up to a multiple of `align` from the section's start. */
elm_status elm_body_align(elm_body *b, size_t align, elm_error *err) ELM_MUST_CHECK;
uint64_t elm_body_tell(const elm_body *b); /* bytes in the current section so far */
elm_status elm_body_end(elm_body *b, elm_error *err) ELM_MUST_CHECK;

/* Everything that was written so far reaches the file. */
elm_status elm_body_flush(elm_body *b, elm_error *err) ELM_MUST_CHECK;

/* Writes the TOC behind the sections and fills the slot that makes it count. */
elm_status elm_body_toc(elm_body *b, uint64_t generation, uint64_t previous_toc,
                        uint8_t slot[ELM_SLOT_BYTES], elm_error *err) ELM_MUST_CHECK;

#endif
