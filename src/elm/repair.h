/* repair.h - mending a damaged file from another copy; elm. */
#ifndef ELM_ELM_REPAIR_H
#define ELM_ELM_REPAIR_H

#include "elm/container.h"

typedef struct elm_repair_result {
    uint64_t n_damaged, n_mended;
    bool header_restored; /* the file did not open: header and TOC came from the other copy */
} elm_repair_result;

/* Writes over damaged places of the file at `path` what `other` has there: a chunk when the other
 * file's section is the same by its SHA-256 and the chunk's checksum is the one expected; zeros over
 * padding and over a damaged slot beside a good one. Nothing that is intact is touched, so a run
 * that is killed leaves the file no worse and can be run again. A file whose header or TOC is lost,
 * or whose end is, is mended when most of its chunks are those of `other` at the same place.
 *
 * The file is locked meanwhile. on_mended (may be NULL) hears of each place. ELM_MALFORMED when
 * damage is left, or the files are not the same model. */
elm_status elm_repair(const elm_platform *platform, const char *path, elm_container *other,
                      elm_damage_fn on_mended, void *context, elm_repair_result *out,
                      elm_error *err) ELM_MUST_CHECK;

#endif
