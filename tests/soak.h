/* soak.h - how thorough a sweep is: a sample in `make test`, everything in `make soak`, which sets
 * EDGE_LLM_SOAK. */
#ifndef TESTS_SOAK_H
#define TESTS_SOAK_H

#include <stdint.h>
#include <stdlib.h>

static inline uint32_t soak(uint32_t whole, uint32_t sample) {
    return getenv("EDGE_LLM_SOAK") ? whole : sample;
}

#endif
