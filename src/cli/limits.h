/* limits.h - what speed is measured against: this machine's read bandwidth and integer peak, now,
 * and what a token reads and computes; cli. */
#ifndef ELM_CLI_LIMITS_H
#define ELM_CLI_LIMITS_H

#include "backend/cpu/kernels.h"
#include "base/thread_pool.h"
#include "edge_llm.h"

/* A buffer far larger than the caches and the kernels of the instruction set in use. Machines
 * change speed within seconds, so every sample takes about 10 ms and is meant to be taken beside
 * what it is compared with. */
typedef struct cli_limits {
    uint8_t *buffer;
    size_t buffer_bytes; /* to be left out of this program's own memory figures */
    elm_cpu_kernels kernels;
} cli_limits;

/* cpu_mask: as in elm_model_options, 0 = all. False when there is no memory for the buffer. */
bool cli_limits_open(cli_limits *out, uint32_t cpu_mask);
void cli_limits_close(cli_limits *limits);

/* One sample with the first `threads` threads of a pool: bytes a second, operations a second. */
double cli_limits_read(const cli_limits *limits, elm_thread_pool *pool, uint32_t threads);
double cli_limits_peak(const cli_limits *limits, elm_thread_pool *pool, uint32_t threads, bool i4);

/* Read bandwidth of one thread, best of five, for a first look; 0 when it cannot be measured. */
double cli_read_bandwidth(void);

/* Bytes of weights that one decoded token reads: every linear's planes once, one row of the
 * embedding. */
uint64_t cli_token_weight_bytes(const elm_model *model);
/* Bytes of KV cache that one token reads at a depth. */
uint64_t cli_token_kv_bytes(const elm_session *session, uint32_t depth);
/* Operations of the linears that every token of a prompt passes (the head, of which a prompt needs
 * one row, and attention are left out). *i4: whether most of them have 4-bit weights. */
uint64_t cli_token_operations(const elm_model *model, bool *i4);

#endif
