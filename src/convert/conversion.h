/* conversion.h - one conversion from its options to the file: what convert.c prepares and emit.c
 * writes; internal to convert/. */
#ifndef ELM_CONVERT_CONVERSION_H
#define ELM_CONVERT_CONVERSION_H

#include "convert/journal.h"
#include "convert/records.h"
#include "convert/store.h"
#include "elm/writer.h"
#include "models/family.h"

typedef struct elm_conversion {
    elm_platform platform;
    elm_convert_options o;
    elm_convert_result *out;
    elm_source source;
    elm_arena arena;
    elm_model_builder mb;
    const elm_family *family;
    elm_buf tokenizer, meta, graph;
    elm_quant_record quant;
    elm_store *store;
    elm_writer *writer;
    elm_journal journal;
    uint32_t n_real_tokens;
    int32_t bos_id;
} elm_conversion;

/* One line to the caller's on_note. */
void elm_conversion_note(const elm_conversion *c, const char *fmt, ...) ELM_PRINTF(2, 3);

/* Writes the prepared model to `path`: space asked for first, PATH.part and its journal, rename. On
 * failure both are removed, unless the caller asked to resume. */
elm_status elm_conversion_emit(elm_conversion *c, const char *path, elm_error *err) ELM_MUST_CHECK;

/* As elm_convert, on a platform of the caller's: tests put faults there. */
elm_status elm_convert_on(const elm_platform *platform, const char *source, const char *path,
                          const elm_convert_options *options, elm_convert_result *out,
                          elm_error *err) ELM_MUST_CHECK;

#endif
