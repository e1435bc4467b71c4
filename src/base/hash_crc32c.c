/* hash_crc32c.c - CRC-32C (Castagnoli, reflected 0x82f63b78): instructions where the CPU has them,
 * else a table of eight; base.
 *
 * The instruction has a latency of three and starts every cycle, so long inputs run as three
 * streams whose checksums are joined by multiplying with x^(8n) mod P, from tables made for one
 * stream length. */
#include "base/hash.h"

#include <pthread.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

enum { STREAM_BYTES = 4096, POLYNOMIAL_TABLES = 8 };

static uint32_t tables[POLYNOMIAL_TABLES][256];
static uint32_t shift_tables[4][256]; /* crc -> crc of the same followed by STREAM_BYTES zeros */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static uint32_t table_crc(uint32_t crc, const uint8_t *p, size_t n) {
    for (; n >= 8; n -= 8, p += 8) {
        uint32_t low = crc ^ ((uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 |
                              (uint32_t)p[3] << 24);
        crc = tables[7][low & 255] ^ tables[6][low >> 8 & 255] ^ tables[5][low >> 16 & 255] ^
              tables[4][low >> 24] ^ tables[3][p[4]] ^ tables[2][p[5]] ^ tables[1][p[6]] ^
              tables[0][p[7]];
    }
    for (; n > 0; n--, p++) crc = crc >> 8 ^ tables[0][(crc ^ *p) & 255];
    return crc;
}

static uint32_t after_zeros(uint32_t crc, size_t n) {
    for (; n > 0; n--) crc = crc >> 8 ^ tables[0][crc & 255];
    return crc;
}

static void make_tables(void) {
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
        tables[0][i] = crc;
    }
    for (uint32_t t = 1; t < POLYNOMIAL_TABLES; t++) {
        for (uint32_t i = 0; i < 256; i++) {
            tables[t][i] = tables[t - 1][i] >> 8 ^ tables[0][tables[t - 1][i] & 255];
        }
    }
    /* The shift is linear over GF(2): the image of each bit gives the image of every byte. */
    uint32_t image[32];
    for (uint32_t bit = 0; bit < 32; bit++) image[bit] = after_zeros(1u << bit, STREAM_BYTES);
    for (uint32_t t = 0; t < 4; t++) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t value = 0;
            for (uint32_t bit = 0; bit < 8; bit++) value ^= i >> bit & 1 ? image[8 * t + bit] : 0;
            shift_tables[t][i] = value;
        }
    }
}

static inline uint32_t shift_stream(uint32_t crc) {
    return shift_tables[0][crc & 255] ^ shift_tables[1][crc >> 8 & 255] ^
           shift_tables[2][crc >> 16 & 255] ^ shift_tables[3][crc >> 24];
}

static inline uint64_t load64(const uint8_t *p) {
    uint64_t value;
    memcpy(&value, p, sizeof value);
    return value;
}

/* gcc spells the ARM builtins so; clang needs arm_acle.h with +crc on the whole file and takes the
 * table. */
#if defined(__x86_64__)
#define CRC_TARGET __attribute__((target("sse4.2")))
#define CRC_U64(crc, value) ((uint32_t)_mm_crc32_u64((crc), (value)))
#define CRC_U8(crc, value) _mm_crc32_u8((crc), (value))
static int has_instruction(void) {
    return __builtin_cpu_supports("sse4.2");
}
#elif defined(__aarch64__) && !defined(__clang__)
#define CRC_TARGET __attribute__((target("+crc")))
#define CRC_U64(crc, value) __builtin_aarch64_crc32cx((crc), (value))
#define CRC_U8(crc, value) __builtin_aarch64_crc32cb((crc), (value))
static int has_instruction(void) {
    return (getauxval(AT_HWCAP) & (1u << 7)) != 0;
} /* HWCAP_CRC32 */
#endif

#ifdef CRC_TARGET
CRC_TARGET static uint32_t instruction_crc(uint32_t crc, const uint8_t *p, size_t n) {
    while (n >= 3 * STREAM_BYTES) {
        uint32_t a = crc, b = 0, c = 0;
        for (size_t i = 0; i < STREAM_BYTES; i += 8) {
            a = CRC_U64(a, load64(p + i));
            b = CRC_U64(b, load64(p + STREAM_BYTES + i));
            c = CRC_U64(c, load64(p + 2 * STREAM_BYTES + i));
        }
        crc = shift_stream(shift_stream(a) ^ b) ^ c;
        p += 3 * STREAM_BYTES;
        n -= 3 * STREAM_BYTES;
    }
    for (; n >= 8; n -= 8, p += 8) crc = CRC_U64(crc, load64(p));
    for (; n > 0; n--, p++) crc = CRC_U8(crc, *p);
    return crc;
}
#endif

uint32_t elm_crc32c(uint32_t crc, const void *data, size_t size) {
    pthread_once(&once, make_tables);
#ifdef CRC_TARGET
    if (has_instruction()) return ~instruction_crc(~crc, data, size);
#endif
    return ~table_crc(~crc, data, size);
}
