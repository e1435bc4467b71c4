/* norm_rope.c - RMS norm and rotary positions, a row at a time. Layer: backend/cpu.
 *
 * The angle is position * inv_freq in float; its cosine and sine are computed once for each token
 * and frequency of a step and kept in the workspace for all layers. */
#include <math.h>
#include <string.h>

#include "backend/cpu/program.h"

void elm_cpu_run_rms_norm(const elm_cpu_run *r, const elm_cpu_step *s, uint32_t part,
                          uint32_t n_parts) {
    size_t begin, end;
    elm_cpu_own_rows(r, s, part, n_parts, &begin, &end);
    for (size_t t = begin; t < end; t++) {
        const float *x = elm_cpu_row(r, &s->in[0], t);
        float *y = elm_cpu_row(r, &s->out, t);
        for (size_t i = 0; i < s->in[0].width; i += s->inner)
            r->kernels->rms_norm(x + i, s->vector, s->inner, s->node->attrs.eps, y + i);
    }
}

static float *table_row(const elm_cpu_run *r, const elm_cpu_rope_table *table, size_t token) {
    return (float *)(void *)(r->workspace + table->offset) + token * 2 * table->n;
}

void elm_cpu_run_rope_table(const elm_cpu_run *r, const elm_cpu_step *s, uint32_t part,
                            uint32_t n_parts) {
    const elm_cpu_rope_table *table = &r->program->tables[s->table];
    size_t begin, end;
    elm_cpu_own_rows(r, s, part, n_parts, &begin, &end);
    for (size_t t = begin; t < end; t++) {
        float *cs = table_row(r, table, t), position;
        position = (float)r->step->positions[table->is_r ? (size_t)r->step->rows[t] : t];
        for (uint32_t i = 0; i < table->n; i++) {
            float angle = position * table->inv_freq[i];
            cs[i] = cosf(angle) * table->scale;
            cs[table->n + i] = sinf(angle) * table->scale;
        }
    }
}

void elm_cpu_run_rope(const elm_cpu_run *r, const elm_cpu_step *s, uint32_t part,
                      uint32_t n_parts) {
    const elm_cpu_rope_table *table = &r->program->tables[s->table];
    size_t begin, end, dim = s->inner, pair = (size_t)s->node->attrs.pair_stride;
    elm_cpu_own_rows(r, s, part, n_parts, &begin, &end);
    for (size_t t = begin; t < end; t++) {
        const float *cs = table_row(r, table, t), *x = elm_cpu_row(r, &s->in[0], t);
        float *y = elm_cpu_row(r, &s->out, t);
        for (uint32_t h = 0; h < s->n_heads; h++, x += dim, y += dim) {
            if (y != x) memcpy(y, x, dim * sizeof *y); /* what no frequency rotates */
            r->kernels->rotate(x, x + pair, cs, table->n, y, y + pair);
        }
    }
}
