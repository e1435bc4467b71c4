/* store.h - one planned weight, read from the checkpoint and made ready for the file, on all cores.
 */
#ifndef ELM_CONVERT_STORE_H
#define ELM_CONVERT_STORE_H

#include "base/thread_pool.h"
#include "models/common/model_builder.h"

/* Reused from weight to weight: plane buffers grow to the largest weight, row buffers are one a
 * thread. */
typedef struct elm_store elm_store;

/* should_stop (may be NULL) is asked on the calling thread, every few megabytes; true ends the work
 * with ELM_CANCELLED. */
elm_status elm_store_create(const elm_allocator *alloc, const elm_checkpoint *checkpoint,
                            uint32_t n_threads, bool (*should_stop)(void *context), void *context,
                            elm_store **out, elm_error *err) ELM_MUST_CHECK;
void elm_store_free(elm_store *store);

/* What the weight will be in the file: *tensor without planes and exponent. */
elm_status elm_store_describe(const elm_planned_weight *weight, elm_tensor *tensor,
                              elm_error *err) ELM_MUST_CHECK;

/* Fills *tensor, whose planes live in the store until the next call, and what storing cost. A value
 * that is NaN or infinite is ELM_MALFORMED, naming tensor, row and column. */
elm_status elm_store_weight(elm_store *store, const elm_planned_weight *weight, elm_tensor *tensor,
                            elm_quant_error *error, elm_error *err) ELM_MUST_CHECK;

#endif
