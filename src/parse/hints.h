/* hints.h - what it means when a model's file is missing or is no such file; parse. */
#ifndef ELM_PARSE_HINTS_H
#define ELM_PARSE_HINTS_H

#include "base/platform.h"

/* Fails where `text`, the beginning of a file, is a Git LFS pointer, which a clone without git-lfs
 * leaves in place of every large file. */
elm_status elm_hint_pointer(elm_span text, const char *path, elm_error *err) ELM_MUST_CHECK;

/* Always fails: `name` is not in the folder. Says what is there instead, where it is known. */
elm_status elm_hint_missing(const elm_platform *platform, elm_arena *arena, const char *folder,
                            const char *name, elm_error *err) ELM_MUST_CHECK;

#endif
