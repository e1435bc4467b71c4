/* sampler.c - see sampler.h; runtime. Allocates nothing after init. */
#include "runtime/sampler.h"

#include <math.h>
#include <string.h>

elm_status elm_sampling_check(const elm_sampling *s, elm_error *err) {
    const struct {
        const char *name;
        double value, low, high;
    } fields[] = {
        {"temperature", (double)s->temperature, 0.0, 100.0},
        {"top_k", (double)s->top_k, 0.0, 2147483647.0},
        {"top_p", (double)s->top_p, 0.0, 1.0},
        {"min_p", (double)s->min_p, 0.0, 1.0},
        {"repetition_penalty", (double)s->repetition_penalty, 0.01, 100.0},
        {"presence_penalty", (double)s->presence_penalty, -100.0, 100.0},
        {"frequency_penalty", (double)s->frequency_penalty, -100.0, 100.0},
    };
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (!(fields[i].value >= fields[i].low && fields[i].value <= fields[i].high)) {
            return elm_fail(err, ELM_INVALID_ARGUMENT, "%s is %g; expected %g..%g", fields[i].name,
                            fields[i].value, fields[i].low, fields[i].high);
        }
    }
    return ELM_OK;
}

elm_status elm_sampler_init(elm_sampler *s, const elm_allocator *alloc, const elm_meta *meta,
                            elm_error *err) {
    s->n_tokens = meta->n_real_tokens;
    s->suppressed = meta->suppress_ids;
    s->n_suppressed = meta->n_suppress_ids;
    ELM_TRY(elm_alloc_array(alloc, s->n_tokens, sizeof *s->candidates, "sampler candidates",
                            &s->candidates, err));
    ELM_TRY(elm_alloc_array(alloc, s->n_tokens, sizeof *s->generated, "sampler counts",
                            &s->generated, err));
    return elm_alloc_array(alloc, s->n_tokens, sizeof *s->seen, "sampler marks", &s->seen, err);
}

void elm_sampler_free(elm_sampler *s, const elm_allocator *alloc) {
    elm_free(alloc, s->candidates, s->n_tokens * sizeof *s->candidates);
    elm_free(alloc, s->generated, s->n_tokens * sizeof *s->generated);
    elm_free(alloc, s->seen, s->n_tokens * sizeof *s->seen);
    memset(s, 0, sizeof *s);
}

void elm_sampler_forget(elm_sampler *s) {
    memset(s->generated, 0, s->n_tokens * sizeof *s->generated);
    memset(s->seen, 0, s->n_tokens * sizeof *s->seen);
}

void elm_sampler_saw(elm_sampler *s, int32_t id, bool was_generated) {
    if ((uint32_t)id >= s->n_tokens) return;
    s->seen[id] = 1;
    if (was_generated && s->generated[id] < UINT16_MAX) s->generated[id]++;
}

/* splitmix64: the n-th draw of a seed, without state (Steele, Lea, Flood 2014). */
static double uniform(uint64_t seed, uint64_t n) {
    uint64_t z = seed + (n + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (double)(z >> 11) * 0x1.0p-53;
}

static float penalised(const elm_sampler *s, int32_t id, float logit) {
    const elm_sampling *p = &s->settings;
    if (s->seen[id] && p->repetition_penalty != 1.0f) {
        logit = logit > 0.0f ? logit / p->repetition_penalty : logit * p->repetition_penalty;
    }
    if (s->generated[id]) {
        logit -= p->presence_penalty + p->frequency_penalty * (float)s->generated[id];
    }
    return logit;
}

static bool before(elm_candidate a, elm_candidate b) {
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

static void sift_down(elm_candidate *heap, uint32_t n, uint32_t at) {
    for (uint32_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && before(heap[child + 1], heap[child])) child++;
        if (!before(heap[child], heap[at])) return;
        elm_candidate t = heap[at];
        heap[at] = heap[child];
        heap[child] = t;
    }
}

/* Moves the best of heap[0..n) behind its end and mends the rest; returns it. */
static elm_candidate pop(elm_candidate *heap, uint32_t n) {
    elm_candidate best = heap[0];
    heap[0] = heap[n - 1];
    heap[n - 1] = best;
    sift_down(heap, n - 1, 0);
    return best;
}

static uint32_t collect(elm_sampler *s, const float *logits) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->n_tokens; i++) {
        float logit = penalised(s, (int32_t)i, logits[i]);
        if (isnan(logit)) continue;
        s->candidates[n++] = (elm_candidate){logit, (int32_t)i};
    }
    for (uint32_t i = 0; i < s->n_suppressed; i++) {
        for (uint32_t c = 0; c < n; c++) {
            if (s->candidates[c].id == s->suppressed[i]) s->candidates[c].logit = -INFINITY;
        }
    }
    return n;
}

static int32_t greedy(const elm_candidate *c, uint32_t n) {
    elm_candidate best = c[0];
    for (uint32_t i = 1; i < n; i++) {
        if (before(c[i], best)) best = c[i];
    }
    return best.id;
}

/* The kept candidates lie best first at the array's end: candidate r of them is c[n - 1 - r]. */
static int32_t draw(elm_sampler *s, uint32_t n) {
    elm_candidate *c = s->candidates;
    const elm_sampling *p = &s->settings;
    double inverse = 1.0 / (double)p->temperature;
    for (uint32_t i = n / 2; i-- > 0;) sift_down(c, n, i);
    double top = (double)c[0].logit, total = 0.0;
    if (isinf(top)) return c[0].id;
    uint32_t limit = p->top_k > 0 && (uint32_t)p->top_k < n ? (uint32_t)p->top_k : n;
    if (limit == n) {
        for (uint32_t i = 0; i < n; i++) total += exp(((double)c[i].logit - top) * inverse);
    }
    uint32_t kept = 0;
    double mass = 0.0;
    if (limit < n) {
        for (uint32_t i = 0; i < limit; i++) {
            elm_candidate best = pop(c, n - i);
            total += exp(((double)best.logit - top) * inverse);
        }
    }
    for (uint32_t r = 0; r < limit; r++) {
        elm_candidate best = limit < n ? c[n - 1 - r] : pop(c, n - r);
        double weight = exp(((double)best.logit - top) * inverse);
        if (r > 0 && (mass >= (double)p->top_p * total || weight < (double)p->min_p)) break;
        mass += weight;
        kept++;
    }
    double target = uniform(p->seed, s->n_drawn++) * mass, sum = 0.0;
    for (uint32_t r = 0; r < kept; r++) {
        sum += exp(((double)c[n - 1 - r].logit - top) * inverse);
        if (target < sum) return c[n - 1 - r].id;
    }
    return c[n - 1].id;
}

int32_t elm_sampler_draw(elm_sampler *s, const float *logits) {
    uint32_t n = collect(s, logits);
    if (n == 0) return ELM_NO_TOKEN;
    return s->settings.temperature == 0.0f ? greedy(s->candidates, n) : draw(s, n);
}
