/* text.h - the chat template's context and ids, shared by the calls of the API; api, internal. */
#ifndef ELM_API_TEXT_H
#define ELM_API_TEXT_H

#include "runtime/model.h"

/* Renders `json` (arguments of apply_chat_template) with the model's special tokens where they are
 * absent. */
elm_status elm_chat_parts(const elm_model *model, elm_span json, elm_parts *out,
                          elm_error *err) ELM_MUST_CHECK;
/* The same to ids: int32 in `ids`. The template writes BOS itself, so none is added. */
elm_status elm_chat_ids(const elm_model *model, elm_span json, elm_buf *ids,
                        elm_error *err) ELM_MUST_CHECK;

/* Hands a buffer's bytes to the caller, exactly sized and NUL-terminated; elm_string_free frees. */
elm_status elm_give_string(const elm_model *model, const elm_buf *buf, const char *what, char **out,
                           size_t *out_bytes, elm_error *err) ELM_MUST_CHECK;

/* Parses chat arguments and adds the special tokens; the object lives in `arena`. */
elm_status elm_chat_arguments(const elm_model *model, elm_span json, elm_arena *arena,
                              elm_json *out, elm_error *err) ELM_MUST_CHECK;

enum { ELM_MAX_CONTEXT_BYTES = 64 << 20 };
enum { ELM_MAX_IDS_BYTES = 64 << 20 };

#endif
