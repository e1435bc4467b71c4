/* draft_model.h - guesses of a smaller model with the same vocabulary; runtime.
 *
 * The draft model has a session of its own whose timeline follows the other's: before it guesses it
 * drops what was rejected and runs what was accepted. It guesses greedily. */
#ifndef ELM_RUNTIME_DRAFT_MODEL_H
#define ELM_RUNTIME_DRAFT_MODEL_H

#include "runtime/speculate.h"

/* ELM_INVALID_ARGUMENT when the vocabularies differ. */
elm_status elm_draft_model_measure(const elm_model *m, const elm_session_options *o,
                                   uint64_t *bytes, elm_error *err) ELM_MUST_CHECK;
elm_status elm_draft_model_create(elm_session *target, const elm_session_options *o,
                                  elm_session **out, elm_error *err) ELM_MUST_CHECK;
/* out[*n]: *n <= most guesses for what follows the target's timeline. */
elm_status elm_draft_model_propose(elm_session *draft, const elm_session *target, uint32_t most,
                                   int32_t *out, uint32_t *n, elm_error *err) ELM_MUST_CHECK;

#endif
