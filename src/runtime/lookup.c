/* lookup.c - guesses from the timeline itself: text that repeats is cheap; runtime. */
#include "runtime/speculate.h"

enum {
    SHORTEST_MATCH = 2, /* one token alone is followed by too many things */
    LONGEST_MATCH = 8,  /* longer ones are no better, and cost time to compare */
};

uint32_t elm_lookup_propose(const int32_t *tokens, uint32_t n_tokens, uint32_t most, int32_t *out) {
    uint32_t best = SHORTEST_MATCH - 1, follows = 0;
    for (uint32_t end = n_tokens; end > 1 && best < LONGEST_MATCH; end--) {
        uint32_t n = 0, before = end - 1; /* tokens[.. before) end like all of them? */
        while (n < before && n < LONGEST_MATCH &&
               tokens[before - 1 - n] == tokens[n_tokens - 1 - n])
            n++;
        if (n <= best) continue;
        best = n;
        follows = before;
    }
    if (follows == 0) return 0;
    /* Past the end of the timeline it goes on with the guesses themselves: a loop stays a loop. */
    for (uint32_t i = 0, period = n_tokens - follows; i < most; i++)
        out[i] = i < period ? tokens[follows + i] : out[i - period];
    return most;
}
