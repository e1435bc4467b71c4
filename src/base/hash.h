/* hash.h - CRC-32C for chunks (Castagnoli, hardware where the CPU has it) and SHA-256 (FIPS 180-4).
 */
#ifndef ELM_BASE_HASH_H
#define ELM_BASE_HASH_H

#include "base/span.h"

/* Continues a CRC-32C; start with crc = 0. elm_crc32c(0, "123456789", 9) == 0xe3069283. */
uint32_t elm_crc32c(uint32_t crc, const void *data, size_t size);

typedef struct elm_sha256 {
    uint32_t state[8];
    uint64_t total_bytes;
    uint8_t block[64];
    uint32_t n_block;
} elm_sha256;

void elm_sha256_init(elm_sha256 *h);
void elm_sha256_update(elm_sha256 *h, const void *data, size_t size);
void elm_sha256_final(elm_sha256 *h, uint8_t out[32]);

/* FNV-1a, for hash tables of trusted size only. */
static inline uint64_t elm_fnv1a(const void *data, size_t size) {
    const uint8_t *p = (const uint8_t *)data;
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < size; i++) h = (h ^ p[i]) * 1099511628211u;
    return h;
}

#endif
