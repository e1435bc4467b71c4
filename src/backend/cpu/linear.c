/* linear.c - y = x W^T + b: panels of 16 output rows divided into parts. Layer: backend/cpu.
 *
 * A part is a contiguous range of panels and the parts of a thread follow each other, so it reads one
 * contiguous stream of weights. */
#include "backend/cpu/program.h"

void elm_cpu_run_linear(const elm_cpu_run *r, const elm_cpu_step *s, uint32_t part,
                        uint32_t n_parts) {
    const elm_cpu_weight *w = &s->weight;
    uint32_t n = elm_cpu_n_rows(r, &s->in[0]);
    if (n == 0) return;
    elm_cpu_linear job = {
        .weight = w,
        .acts = elm_cpu_acts_of(r),
        .x = elm_cpu_row(r, &s->in[0], 0),
        .x_stride = s->in[0].stride,
        .y = elm_cpu_row(r, &s->out, 0),
        .y_stride = s->out.stride,
        .n_tokens = n,
    };
    size_t begin, end;
    elm_split(w->n_panels, n > 1 ? 2 : 1, part, n_parts, &begin,
              &end); /* pairs: tiles of two panels */
    if (begin == end) return;
    elm_cpu_linear_fn fn = r->kernels->linear_float;
    if (s->reads_acts)
        fn = elm_dtype_get(w->dtype)->bits == 4 ? r->kernels->linear_i4 : r->kernels->linear_i8;
    fn(&job, begin, end, elm_cpu_scratch(r));
}
