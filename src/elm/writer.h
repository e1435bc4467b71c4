/* writer.h - writing an .elm file in one pass, to PATH.part, with a rename at the end.
 *
 * Sections are written one after the other; their checksums and hashes are computed as the bytes
 * pass. The file under PATH appears whole or not at all: header last, fdatasync before the rename,
 * then the folder. */
#ifndef ELM_ELM_WRITER_H
#define ELM_ELM_WRITER_H

#include "base/platform.h"
#include "elm/format.h"
#include "ir/dtype.h"

typedef struct elm_writer elm_writer;

/* Creates PATH.part and locks it (a stale one is replaced; one that another writer holds is
 * ELM_IO). expected_bytes > 0: ELM_IO before anything is written when the medium has less free
 * space, with both numbers in the message. */
elm_status elm_writer_open(const elm_platform *platform, const char *path, uint64_t expected_bytes,
                           elm_writer **out, elm_error *err) ELM_MUST_CHECK;

/* The same over a PATH.part that a killed run left: it is kept, and elm_writer_tensor takes planes
 * over from it. The same sections must be written in the same order. A failure leaves it there. */
elm_status elm_writer_resume(const elm_platform *platform, const char *path,
                             uint64_t expected_bytes, elm_writer **out,
                             elm_error *err) ELM_MUST_CHECK;
/* From now on PATH.part stays when the writer is aborted or fails. */
void elm_writer_keep_part(elm_writer *w);

/* The file gets the permissions of another one, which it replaces or is made from. */
void elm_writer_copy_mode(elm_writer *w, const elm_file *of);

/* A file beside PATH.part that is removed together with it, or once PATH is there. */
elm_status elm_writer_side_file(elm_writer *w, const char *path, elm_error *err) ELM_MUST_CHECK;

/* Starts a section, each type once but for products. chunk_bytes is a power of two in
 * [ELM_MIN_CHUNK_BYTES, ELM_MAX_CHUNK_BYTES]; name: 1..47 printable ASCII bytes for products, else
 * NULL. */
elm_status elm_writer_begin(elm_writer *w, elm_section_type type, uint32_t chunk_bytes,
                            const char *name, elm_error *err) ELM_MUST_CHECK;
elm_status elm_writer_write(elm_writer *w, const void *data, size_t size,
                            elm_error *err) ELM_MUST_CHECK;
/* Zeros up to a multiple of `align` from the section's start. */
elm_status elm_writer_align(elm_writer *w, size_t align, elm_error *err) ELM_MUST_CHECK;
uint64_t elm_writer_tell(const elm_writer *w);     /* bytes in the current section so far */
uint64_t elm_writer_position(const elm_writer *w); /* in the file */
uint32_t elm_writer_take_crc(elm_writer *w); /* CRC-32C of section bytes since the last call */
elm_status elm_writer_end(elm_writer *w, elm_error *err) ELM_MUST_CHECK;
/* What was written so far is in the file (not yet synced), so that a killed run can be resumed. */
elm_status elm_writer_flush(elm_writer *w, elm_error *err) ELM_MUST_CHECK;

/* A whole small section (chunks of 4 KiB). */
elm_status elm_writer_section(elm_writer *w, elm_section_type type, elm_span content,
                              elm_error *err) ELM_MUST_CHECK;

/* One tensor into the current WEIGHTS section: planes aligned as format.h says, and its record kept
 * for elm_writer_tensors. The tensor's codes/scales/zeros pointers are read now; a plane
 * of more than 0 bytes whose pointer is NULL lies in the file already (elm_writer_resume). Names
 * must be unique. */
elm_status elm_writer_tensor(elm_writer *w, const elm_tensor *tensor,
                             elm_error *err) ELM_MUST_CHECK;

/* The TENSORS section from the records so far. */
elm_status elm_writer_tensors(elm_writer *w, elm_error *err) ELM_MUST_CHECK;

/* Writes the TOC and the header slots, syncs, renames PATH.part to PATH, syncs the folder. The
 * writer is gone afterwards, whatever the result. On failure, also of an earlier call, PATH.part is
 * removed (unless it is kept) and PATH is what it was; but when only the last step fails, PATH is
 * the new file, whole, and ELM_IO says that a power cut may still bring the old one back.
 * *file_bytes (may be NULL) is the length of the file. */
elm_status elm_writer_finish(elm_writer *w, uint64_t *file_bytes, elm_error *err) ELM_MUST_CHECK;
/* Gives up: closes and removes PATH.part. NULL is fine. */
void elm_writer_abort(elm_writer *w);

#endif
