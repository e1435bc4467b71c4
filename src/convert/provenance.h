/* provenance.h - what a model was converted from, as META records it: hashes and sizes, no paths
 * and no dates, so that the same source gives the same bytes; convert. */
#ifndef ELM_CONVERT_PROVENANCE_H
#define ELM_CONVERT_PROVENANCE_H

#include "parse/source.h"

/* Writes META's "source" object (docs/elm-format.md section 7): the SHA-256 of every small file of
 * a folder, and for each weight file its size, the SHA-256 of what lies before its first tensor and
 * of 64 samples of its bytes. `path` is the folder or the GGUF. */
elm_status elm_provenance_write(const elm_source *source, const char *path, elm_json_writer *w,
                                elm_error *err) ELM_MUST_CHECK;

/* ELM_INVALID_ARGUMENT when `target`, which will be written, is a file that the source was read
 * from, under whatever name. */
elm_status elm_provenance_spare(const elm_source *source, const char *path, const char *target,
                                elm_error *err) ELM_MUST_CHECK;

#endif
