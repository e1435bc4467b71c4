/* container.h - reading an .elm file: header slots, table of contents, sections, checksums.
 *
 * Opening maps the file and checks the header and the whole TOC; section contents are checked chunk
 * by chunk at first use (elm_container_check) or all at once (elm_container_verify). The mapping is
 * read only and shared; checks may run on many threads. */
#ifndef ELM_ELM_CONTAINER_H
#define ELM_ELM_CONTAINER_H

#include <stdatomic.h>

#include "base/platform.h"
#include "elm/format.h"
#include "ir/p16.h"

typedef struct elm_section {
    uint32_t type; /* elm_section_type, or an unknown number that need not be understood */
    uint32_t flags;
    uint64_t offset, size;
    uint32_t chunk_bytes, n_chunks;
    uint64_t first_checksum;
    uint8_t sha256[32];
    char name[48];
} elm_section;

typedef struct elm_container {
    const elm_platform *platform;
    elm_file file;
    elm_span map;
    uint16_t major, minor;
    uint64_t generation, committed_end, toc_offset, toc_bytes;
    uint32_t slot; /* the one that counts: 0 = A, 1 = B */
    uint8_t toc_sha256[32];
    bool slot_damaged[ELM_N_SLOTS]; /* a slot that is neither valid nor empty: opened from the other
                                     */
    uint32_t n_sections;
    elm_section *sections;    /* in the arena */
    const uint8_t *checksums; /* u32 little-endian, in the mapping */
    uint64_t n_checksums;
    atomic_uchar *checked; /* one byte a checksum: 1 = that chunk was found intact */
    elm_arena arena;
} elm_container;

/* Opens `path`. ELM_NOT_FOUND, ELM_MALFORMED (what, where, expected, found), ELM_UNSUPPORTED (newer
 * version, a must-understand section that is not known). Close with elm_container_close, also after
 * a failure. */
elm_status elm_container_open(const elm_platform *platform, const char *path, elm_container *out,
                              elm_error *err) ELM_MUST_CHECK;
void elm_container_close(elm_container *c);

/* The first section of a type, or NULL. Its bytes in the mapping, unchecked. */
const elm_section *elm_container_find(const elm_container *c, elm_section_type type);
elm_span elm_container_bytes(const elm_container *c, const elm_section *s);

/* Checks the chunks that [offset, offset + size) of a section touches, each once in the life of the
 * container. ELM_MALFORMED names section, chunk, expected and found. Thread-safe. */
elm_status elm_container_check(elm_container *c, const elm_section *s, uint64_t offset,
                               uint64_t size, elm_error *err) ELM_MUST_CHECK;

/* A required section, found and wholly checked: for the small ones. */
elm_status elm_container_load(elm_container *c, elm_section_type type, elm_span *out,
                              elm_error *err) ELM_MUST_CHECK;

/* What format.h says of a section type; NULL, and "unknown", for numbers that are not in the list. */
typedef struct elm_section_rule {
    uint32_t type;
    const char *text;
    bool must_understand, many;
} elm_section_rule;
const elm_section_rule *elm_section_rule_of(uint32_t type);
const char *elm_section_text(uint32_t type);

/* Checksums as docs/elm-format.md defines them: of a TOC, of a slot with its own field zero, and of
 * a chunk with its index in front, so that swapped chunks are found. */
void elm_container_toc_sha256(elm_span map, uint64_t offset, uint64_t bytes, uint8_t out[32]);
uint32_t elm_slot_crc(const uint8_t slot[ELM_SLOT_BYTES]);
uint32_t elm_chunk_crc(uint32_t index, const void *data, size_t size);
uint32_t elm_container_expected_crc(const elm_container *c, const elm_section *s, uint32_t chunk);
uint32_t elm_container_found_crc(const elm_container *c, const elm_section *s, uint32_t chunk);

bool elm_bytes_are_zero(const uint8_t *p, size_t n);

/* One finding of elm_container_verify. */
typedef struct elm_damage {
    const char *section; /* "header", "toc", "padding", or a section's name */
    const char *tensor;  /* the tensor of lowest offset that the chunk touches, or NULL */
    uint64_t chunk;  /* index in the section; 0 = A, 1 = B for a slot and for the TOC it names */
    uint64_t offset; /* in the file */
    uint64_t size;
    uint32_t expected,
        found; /* CRC-32C of a slot or chunk; 0 for the TOC (SHA-256) and for padding */
} elm_damage;

typedef void (*elm_damage_fn)(void *context, const elm_damage *damage);

typedef struct elm_verify_result {
    uint64_t bytes_checked;
    uint64_t n_damaged;
    uint64_t bytes_after_end; /* behind the committed end */
} elm_verify_result;

/* Checks every byte up to the committed end: slots, TOC, all chunks, padding. Reports each damage;
 * the result is ELM_MALFORMED when there was any. progress may be NULL. */
elm_status elm_container_verify(elm_container *c, elm_damage_fn on_damage, void *context,
                                void (*progress)(void *context, uint64_t done, uint64_t total),
                                elm_verify_result *out, elm_error *err) ELM_MUST_CHECK;

/* The sizes that the planes of a tensor of this type, layout, shape and group must have; false when
 * there is no such tensor. Also the writer's check: what it writes can be read. */
bool elm_tensor_plane_sizes(const elm_tensor *t, elm_p16_shape *out);
/* 1..512 bytes of UTF-8 without control characters. */
bool elm_tensor_name_holds(elm_span name);

/* The tensors of the TENSORS section as views into the WEIGHTS section: every offset, size and
 * shape is checked against its dtype and layout (ir/p16.h). Lives in the container's arena. */
elm_status elm_container_tensors(elm_container *c, elm_tensor **out, uint32_t *n_out,
                                 elm_error *err) ELM_MUST_CHECK;

#endif
