/* kv.h - the one definition of how keys and values are stored and read back, for every host
 * backend.
 *
 * f16 rounds to nearest even. int8: scale = amax / 127 in float, code = round to nearest even of
 * x * (127 / amax), all zero when amax is 0. Attention reads what is stored, this step's rows
 * included. */
#ifndef ELM_BACKEND_KV_H
#define ELM_BACKEND_KV_H

#include "backend/backend.h"

/* Stores one head's row at `position` into plane K (is_v = false) or V. */
void elm_kv_store(elm_kv *kv, bool is_v, uint32_t head, uint32_t position, const float *row);

/* Reads it back as floats. */
void elm_kv_load(const elm_kv *kv, bool is_v, uint32_t head, uint32_t position, float *row);

/* Bytes of one KV state: all planes, each padded to 64. */
size_t elm_kv_bytes(elm_dtype dtype, uint32_t n_heads, uint32_t k_dim, uint32_t v_dim,
                    uint32_t capacity);
/* Lays the planes of `kv` (whose numbers are set) into `memory` of elm_kv_bytes bytes. */
void elm_kv_layout(elm_kv *kv, void *memory);

#endif
