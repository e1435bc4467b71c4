/* zero_point.c - a scale and an integer zero a group, range searched; quant/.
 *
 * w' = scale * (code - zero). The range [low, high] always holds 0 and is shrunk at both ends,
 * independently, in steps; the pair with the smallest squared error wins. INT8 takes the full range
 * without a search. */
#include "base/f16.h"
#include "quant/quantize.h"

#include <math.h>

enum { N_SHRINK = 6 }; /* factors 1.0, 0.95 .. 0.75 */

typedef struct candidate {
    float scale, zero;
    uint16_t stored;
} candidate;

static candidate candidate_of(float low, float high, float levels, float unit) {
    candidate c = {0.0f, 0.0f, 0};
    c.stored = elm_f16_from_f32((high - low) / levels / unit);
    c.scale = elm_f32_from_f16(c.stored) * unit;
    if (c.scale > 0.0f) c.zero = nearbyintf(-low / c.scale);
    if (!(c.zero < levels)) c.zero = levels;
    return c;
}

static inline float code_of(float w, candidate c, float inverse, float levels) {
    float u = nearbyintf(w * inverse) + c.zero;
    u = u > 0.0f ? u : 0.0f; /* NaN becomes 0: counted and refused by the caller */
    return u < levels ? u : levels;
}

static double error_of(const float *w, uint32_t n, candidate c, float levels) {
    float inverse = c.scale > 0.0f ? 1.0f / c.scale : 0.0f;
    double error = 0.0;
    for (uint32_t i = 0; i < n; i++) {
        float d = w[i] - c.scale * (code_of(w[i], c, inverse, levels) - c.zero);
        error += (double)d * d;
    }
    return error;
}

void elm_group_zero_point(elm_dtype dtype, const float *w, uint32_t n, float unit, uint16_t *scale,
                          uint8_t *zero, uint8_t *codes) {
    float low = 0.0f, high = 0.0f, levels = dtype == ELM_I4Z ? 15.0f : 255.0f;
    for (uint32_t i = 0; i < n; i++) {
        if (w[i] < low) low = w[i];
        if (w[i] > high) high = w[i];
    }
    candidate best = candidate_of(low, high, levels, unit);
    if (dtype == ELM_I4Z) {
        double best_error = error_of(w, n, best, levels);
        for (int a = 0; a < N_SHRINK; a++) {
            for (int b = 0; b < N_SHRINK; b++) {
                candidate c = candidate_of(low * (1.0f - 0.05f * (float)a),
                                           high * (1.0f - 0.05f * (float)b), levels, unit);
                double error = error_of(w, n, c, levels);
                if (error < best_error) best_error = error, best = c;
            }
        }
    }
    float inverse = best.scale > 0.0f ? 1.0f / best.scale : 0.0f;
    *scale = best.stored;
    *zero = (uint8_t)best.zero;
    for (uint32_t i = 0; i < n; i++) codes[i] = (uint8_t)code_of(w[i], best, inverse, levels);
}
