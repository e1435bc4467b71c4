/* pace.c - see pace.h; runtime. */
#include "runtime/pace.h"

enum {
    TRIAL = 8,    /* steps with guesses before they are judged */
    COMPARE = 64, /* so many later the steps without are measured anew: the context has grown */
    MEMORY = 8,   /* steps that a mean remembers */
    FIRST_REST = 16,
    LONGEST_REST = 256
};

/* Guesses must save this much, or what they cost elsewhere (a second model's memory traffic, noise
 * of the clock) is not worth it. */
static const double margin = 1.03;

static double mean(double old, double x, uint32_t n) {
    return n <= 1 ? x : old + (x - old) / (n < MEMORY ? n : MEMORY);
}

bool elm_pace_wants_guesses(elm_pace *p) {
    if (p->rest > 0) {
        p->rest--;
        return false;
    }
    bool compare = p->n_guessed == TRIAL && p->n_plain == 0;
    return !compare && (p->n_guessed == 0 || p->n_guessed % COMPARE != 0);
}

static void judge(elm_pace *p) {
    if (p->n_guessed < TRIAL || p->n_plain == 0) return;
    if (p->guessed_us * margin <= p->plain_us) {
        p->last_rest = 0;
        return;
    }
    p->last_rest = p->last_rest == 0 ? FIRST_REST : 2 * p->last_rest;
    if (p->last_rest > LONGEST_REST) p->last_rest = LONGEST_REST;
    p->rest = p->last_rest;
    p->n_guessed = 0;
}

void elm_pace_saw(elm_pace *p, bool guessed, uint32_t n_tokens, uint64_t us) {
    double each = (double)us / n_tokens;
    if (us == 0) return; /* no clock */
    if (guessed) {
        p->n_guessed++;
        p->guessed_us = mean(p->guessed_us, each, p->n_guessed);
    } else {
        if (p->n_guessed > 0 && p->n_guessed % COMPARE == 0) p->n_guessed++; /* it is measured */
        p->n_plain++;
        p->plain_us = mean(p->plain_us, each, p->n_plain);
    }
    judge(p);
}
