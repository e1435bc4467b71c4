/* sampler.h - from logits to one token. Deterministic: the n-th token of a session depends on the
 * logits, the settings, the seed and n only.
 *
 * Order of the steps, as Hugging Face applies them: penalties, temperature, top-k, top-p, min-p,
 * draw. */
#ifndef ELM_RUNTIME_SAMPLER_H
#define ELM_RUNTIME_SAMPLER_H

#include "runtime/model.h"

typedef struct elm_candidate {
    float logit;
    int32_t id;
} elm_candidate;

typedef struct elm_sampler {
    elm_sampling settings;
    uint64_t n_drawn;
    elm_candidate *candidates; /* [n_real_tokens] */
    uint16_t *generated;       /* [n_real_tokens] how often each id was generated, saturating */
    uint8_t *seen;             /* [n_real_tokens] whether it is anywhere in the timeline */
    uint32_t n_tokens;         /* n_real_tokens */
    const int32_t *suppressed;
    uint32_t n_suppressed;
} elm_sampler;

/* Fails with ELM_INVALID_ARGUMENT, naming the field, on NaN or a value out of its range. */
elm_status elm_sampling_check(const elm_sampling *s, elm_error *err) ELM_MUST_CHECK;

elm_status elm_sampler_init(elm_sampler *s, const elm_allocator *alloc, const elm_meta *meta,
                            elm_error *err) ELM_MUST_CHECK;
void elm_sampler_free(elm_sampler *s, const elm_allocator *alloc);

/* The timeline's tokens as the penalties see them. */
void elm_sampler_forget(elm_sampler *s);
void elm_sampler_saw(elm_sampler *s, int32_t id, bool was_generated);

/* Draws one id from logits[n_tokens]. Never returns a suppressed id while another one is finite;
 * ELM_NO_TOKEN where every logit is NaN. */
int32_t elm_sampler_draw(elm_sampler *s, const float *logits);

#endif
