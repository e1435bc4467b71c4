/* quantize_act.c - activations to int8 in blocks of 32, for the linear that follows. Layer:
 * backend/cpu. */
#include "backend/cpu/program.h"

elm_cpu_acts elm_cpu_acts_of(const elm_cpu_run *r) {
    const elm_program *p = r->program;
    elm_cpu_acts a = {
        .q = (int8_t *)(void *)(r->workspace + p->acts_q),
        .d = (float *)(void *)(r->workspace + p->acts_d),
        .start = (int32_t *)(void *)(r->workspace + p->acts_start),
        .sum = (int32_t *)(void *)(r->workspace + p->acts_sum),
        .q_stride = p->acts_q_stride,
        .block_stride = p->acts_block_stride,
    };
    return a;
}

void elm_cpu_run_quantize(const elm_cpu_run *r, const elm_cpu_step *s, uint32_t part,
                          uint32_t n_parts) {
    elm_cpu_acts a = elm_cpu_acts_of(r);
    size_t begin, end;
    elm_cpu_own_rows(r, s, part, n_parts, &begin, &end);
    for (size_t t = begin; t < end; t++) {
        r->kernels->quantize(elm_cpu_row(r, &s->in[0], t), s->in[0].width, a.q + t * a.q_stride,
                             a.d + t * a.block_stride, a.start + t * a.block_stride,
                             a.sum + t * a.block_stride);
    }
}
