/* append.h - more sections at the end of an .elm file that is in use; elm.
 *
 *   new sections, new TOC   behind the committed end      sync
 *   the slot not in use     generation + 1                sync
 *
 * Nothing below the committed end changes, so readers that have the file mapped go on undisturbed,
 * and killed at any point the file is as before or as after. The TOC that was becomes a RETIRED
 * section, which keeps every byte covered; a section that is replaced is retired by its record in
 * the new TOC. One writer at a time: the file is locked. */
#ifndef ELM_ELM_APPEND_H
#define ELM_ELM_APPEND_H

#include "elm/body.h"

typedef struct elm_appender {
    elm_container c; /* the file as it was when it was locked */
    elm_file file;
    elm_body body;
    bool retire[ELM_MAX_SECTIONS]; /* sections of c that the new TOC retires: set before _start */
    bool flipping;                 /* the slot has been touched: nothing may be cut off any more */
} elm_appender;

/* Opens for writing, locks, reads. ELM_IO when another writer holds it. Close in any case. */
elm_status elm_append_open(const elm_platform *platform, const char *path, elm_appender *out,
                           elm_error *err) ELM_MUST_CHECK;

/* Takes the present sections over, after a look at the free space; then elm_body_begin, _write and
 * _end on &a->body add sections. */
elm_status elm_append_start(elm_appender *a, uint64_t new_bytes, elm_error *err) ELM_MUST_CHECK;

/* TOC, sync, slot, sync. After a failure the file is what it was, or, when only the last sync
 * failed, the new one that a power cut may undo. */
elm_status elm_append_commit(elm_appender *a, elm_error *err) ELM_MUST_CHECK;

/* Gives up what is not committed. A zeroed appender is fine. */
void elm_append_close(elm_appender *a);

#endif
