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

/* What a model's weights cost. Operations are those of products with weights, two for each weight
 * used; attention is left out. */
typedef struct cli_costs {
    uint64_t weight_bytes;   /* read for one decoded token: the planes of every linear, one row of
                              * an embedding, the experts that one token is sent to */
    uint64_t operations;     /* of every token of a prompt */
    uint64_t row_operations; /* of every row whose logits are wanted: the head */
    bool i4;                 /* whether most operations are with 4-bit weights */
} cli_costs;

cli_costs cli_token_costs(const elm_model *model);

/* Bytes of state that one token reads at a depth: rows of the KV cache, and all of the recurrent
 * states. */
uint64_t cli_token_state_bytes(const elm_session *session, uint32_t depth);

#endif
