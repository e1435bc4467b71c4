/* kv.h - the one definition of how keys and values are stored and read back, for every host
 * backend.
 *
 * A cache has a whole number of blocks of 64 slots, so 64 positions from a multiple of 64 lie
 * together. Keys are stored as weights are: 16 slots are a panel, and a dot product with all of
 * them walks memory in order.
 *
 *   K  f32, f16  [slot / 64][head][4 panels][k_dim][16]
 *      int8      [slot / 64][head][4 panels][ceil(k_dim / 4)][16][4]
 *   V  f32, f16  [slot / 64][head][64][v_dim rounded up to 16]
 *      int8      [slot / 64][head][v_dim / 16 rounded up][64 / 4][16][4]
 *   scales       [slot / 64][head][64], int8 only
 *
 * f16 rounds to nearest even. int8: scale = amax / 127 in float, code = round to nearest even of
 * x * (127 / amax), all zero when amax is 0. Attention reads what is stored, this step's rows
 * included; over an int8 cache it reads queries as int8 in groups of 32, as a linear reads its
 * activations, and weighs values in integers (docs/numerics.md). */
#ifndef ELM_BACKEND_KV_H
#define ELM_BACKEND_KV_H

#include "backend/backend.h"

enum {
    ELM_KV_BLOCK = 64,
    ELM_KV_PANEL = 16,
    ELM_KV_WEIGHT_ONE = 32512, /* the largest weight of int8 values in a block: 127 * 256 */
};

/* Slots of one head: the capacity in whole blocks. */
static inline size_t elm_kv_slots(const elm_kv *kv) {
    return ((size_t)kv->capacity + ELM_KV_BLOCK - 1) / ELM_KV_BLOCK * ELM_KV_BLOCK;
}
static inline size_t elm_kv_slot(const elm_kv *kv, size_t position) {
    return position % elm_kv_slots(kv);
}
/* Elements of a stored row: of K with what completes its last four, of V with what completes its
 * last sixteen. */
static inline size_t elm_kv_k_width(const elm_kv *kv) {
    return kv->dtype == ELM_I8 ? ((size_t)kv->k_dim + 3) / 4 * 4 : kv->k_dim;
}
static inline size_t elm_kv_v_width(const elm_kv *kv) {
    return ((size_t)kv->v_dim + 15) / 16 * 16;
}
/* Number of a head's slot among those of all heads. */
static inline size_t elm_kv_row(const elm_kv *kv, size_t head, size_t slot) {
    return (slot / ELM_KV_BLOCK * kv->n_heads + head) * ELM_KV_BLOCK + slot % ELM_KV_BLOCK;
}
/* Index of the first element of a slot's panel, and where element i of the slot lies from there. */
static inline size_t elm_kv_k_panel(const elm_kv *kv, size_t head, size_t slot) {
    return elm_kv_row(kv, head, slot / ELM_KV_PANEL * ELM_KV_PANEL) * elm_kv_k_width(kv);
}
static inline size_t elm_kv_k_element(const elm_kv *kv, size_t slot, size_t i) {
    size_t row = slot % ELM_KV_PANEL;
    return kv->dtype == ELM_I8 ? i / 4 * 64 + row * 4 + i % 4 : i * ELM_KV_PANEL + row;
}
/* The same of V: of an int8 slot the first element of its block, whose columns lie 16 together. */
static inline size_t elm_kv_v_row(const elm_kv *kv, size_t head, size_t slot) {
    if (kv->dtype == ELM_I8) slot = slot / ELM_KV_BLOCK * ELM_KV_BLOCK;
    return elm_kv_row(kv, head, slot) * elm_kv_v_width(kv);
}
static inline size_t elm_kv_v_element(const elm_kv *kv, size_t slot, size_t i) {
    if (kv->dtype != ELM_I8) return i;
    return i / 16 * 16 * ELM_KV_BLOCK + slot % ELM_KV_BLOCK / 4 * 64 + i % 16 * 4 + slot % 4;
}

/* Stores one head's row at `position` into plane K (is_v = false) or V. */
void elm_kv_store(elm_kv *kv, bool is_v, uint32_t head, uint32_t position, const float *row);

/* Reads it back as floats. */
void elm_kv_load(const elm_kv *kv, bool is_v, uint32_t head, uint32_t position, float *row);

/* Bytes of one KV state: all planes, each padded to 64. */
size_t elm_kv_bytes(elm_dtype dtype, uint32_t n_heads, uint32_t k_dim, uint32_t v_dim,
                    uint32_t capacity);
/* Lays the planes of `kv` (whose numbers are set) into `memory` of elm_kv_bytes bytes. */
void elm_kv_layout(elm_kv *kv, void *memory);

/* ---- packed rows: how states move between sessions, files and backends ---- */

/* Bytes of one packed position: K and V of all heads, and their scales. */
size_t elm_kv_position_bytes(const elm_kv *kv);
/* Copies positions [first, first + n), which the state holds, out to `packed` or in from it: planes
 * K, V, K scales, V scales, each [head][position][dim], codes as stored. Positions that are packed
 * one after the other are not the same bytes as packed together. */
void elm_kv_pack(const elm_kv *kv, uint32_t first, uint32_t n, uint8_t *packed);
void elm_kv_unpack(elm_kv *kv, uint32_t first, uint32_t n, const uint8_t *packed);

#endif
