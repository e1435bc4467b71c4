/* bandwidth.h - the limit that decode speed is measured against: this machine's read bandwidth,
 * now; cli. */
#ifndef ELM_CLI_BANDWIDTH_H
#define ELM_CLI_BANDWIDTH_H

#include "edge_llm.h"

/* Bytes a second that `threads` threads read from a buffer far larger than the caches: best of
 * five. 0 when there is no memory for the buffer. */
double cli_read_bandwidth(uint32_t threads);

/* Bytes of weights that one decoded token reads: every linear's planes once, one row of the
 * embedding. */
uint64_t cli_token_weight_bytes(const elm_model *model);
/* Bytes of KV cache that one token reads at a depth. */
uint64_t cli_token_kv_bytes(const elm_session *session, uint32_t depth);

#endif
