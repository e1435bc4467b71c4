/* pace.h - whether guesses pay: what a token takes with them and without, as recent steps were;
 * runtime.
 *
 * The time of a step says nothing about its tokens, so the choice changes no text. */
#ifndef ELM_RUNTIME_PACE_H
#define ELM_RUNTIME_PACE_H

#include <stdbool.h>
#include <stdint.h>

typedef struct elm_pace {
    double plain_us, guessed_us; /* a token, running means; 0 = not known */
    uint32_t n_plain;            /* steps in the mean, up to where it starts to forget */
    uint32_t n_guessed;          /* steps with guesses since the last rest */
    uint32_t rest;               /* steps without guesses to come */
    uint32_t last_rest;
} elm_pace;

/* Whether the next step should guess. At the start it should; a few steps later one without guesses
 * shows what they are worth; when they do not pay there is a rest, longer each time. */
bool elm_pace_wants_guesses(elm_pace *p);
/* A step took `us` and gave n_tokens >= 1. */
void elm_pace_saw(elm_pace *p, bool guessed, uint32_t n_tokens, uint64_t us);

#endif
