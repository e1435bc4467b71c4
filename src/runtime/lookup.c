/* lookup.c - guesses from the timeline itself: text that repeats is cheap; runtime. */
#include "runtime/speculate.h"

#include <string.h>

enum {
    SHORTEST_MATCH = 2, /* one token alone is followed by too many things */
    LONGEST_MATCH = 8,  /* longer ones are no better, and cost time to compare */
};

uint32_t elm_lookup_propose(const int32_t *tokens, uint32_t n_tokens, uint32_t most, int32_t *out) {
    uint32_t best = SHORTEST_MATCH - 1, follows = 0;
    for (uint32_t end = n_tokens; --end > 0 && best < LONGEST_MATCH;) {
        uint32_t n = 0;
        while (n < end && n < LONGEST_MATCH && tokens[end - 1 - n] == tokens[n_tokens - 1 - n]) n++;
        if (n <= best) continue;
        best = n;
        follows = end;
    }
    if (follows == 0) return 0;
    uint32_t n = n_tokens - follows < most ? n_tokens - follows : most;
    memcpy(out, tokens + follows, n * sizeof *out);
    return n;
}
