/* store.h - one planned weight, read from the checkpoint and made ready for the file, on all cores.
 */
#ifndef ELM_CONVERT_STORE_H
#define ELM_CONVERT_STORE_H

#include "base/thread_pool.h"
#include "models/common/model_builder.h"

/* Reused from weight to weight: plane buffers grow to the largest weight, row buffers are one a
 * thread. */
typedef struct elm_store elm_store;

elm_status elm_store_create(const elm_allocator *alloc, const elm_checkpoint *checkpoint,
                            uint32_t n_threads, elm_store **out, elm_error *err) ELM_MUST_CHECK;
void elm_store_free(elm_store *store);

/* Sizes of the planes of a matrix, table or stack; false when its scheme cannot hold it. */
bool elm_planned_shape(const elm_planned_weight *weight, elm_p16_shape *out);

/* Fills *tensor, whose planes live in the store until the next call, and what storing cost. A value
 * that is NaN or infinite is ELM_MALFORMED, naming tensor, row and column. */
elm_status elm_store_weight(elm_store *store, const elm_planned_weight *weight, elm_tensor *tensor,
                            elm_quant_error *error, elm_error *err) ELM_MUST_CHECK;

#endif
