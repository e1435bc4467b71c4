/* instance.h - one random instance of an operation and how far a backend may be from the oracle. */
#ifndef TESTS_CONFORM_INSTANCE_H
#define TESTS_CONFORM_INSTANCE_H

#include "conform/rig.h"

#include <stdio.h>

typedef struct instance {
    elm_value_id output;
    double *bound;      /* [RIG_TOKENS][width], in the rig's arena; NULL: the bits must be equal */
    double state_bound; /* of every float of the states; 0: their bits must be equal */
    char what[96];
} instance;

static double *bounds(rig *g, size_t width) {
    return elm_arena_array(&g->arena, RIG_TOKENS * width, sizeof(double));
}

static uint32_t odd_width(rig *g) {
    static const uint32_t widths[] = {1,  2,  7,  15, 16, 17,  31,  32,
                                      33, 47, 64, 75, 96, 129, 160, 257};
    return widths[rig_u32(g) % (sizeof widths / sizeof widths[0])];
}

/* How far act(x) may be off: docs/numerics.md, activations. */
static double activation_bound(int32_t activation, double x) {
    double arg = 1.5957691216057308 * (x + 0.044715 * x * x * x);
    switch (activation) {
    case ELM_SILU:
        return 8 * RIG_U * fabs(x / (1 + exp(-x))) + 1e-36;
    case ELM_SIGMOID:
        return 8 * RIG_U / (1 + exp(-x)) + 1e-36;
    case ELM_GELU_TANH:
        /* 1 + tanh in the oracle is right to 2^-52 only */
        return (10 + 6 * fabs(arg)) * RIG_U * fabs(x / (1 + exp(-arg))) + 2.3e-16 * fabs(x) + 1e-36;
    default:
        return 4 * RIG_U * fabs(x);
    }
}

static double activate(int32_t activation, double x) {
    double arg = 1.5957691216057308 * (x + 0.044715 * x * x * x);
    if (activation == ELM_SILU) return x / (1 + exp(-x));
    if (activation == ELM_SIGMOID) return 1 / (1 + exp(-x));
    return activation == ELM_GELU_TANH ? x / (1 + exp(-arg))
                                       : 0.5 * x * (1 + erf(x * 0.7071067811865476));
}

#endif
