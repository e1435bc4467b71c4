/* elementwise.c - embedding rows, gated activations, sums, chosen rows. Layer: backend/cpu. */
#include <string.h>

#include "backend/cpu/program.h"
#include "base/f16.h"

/* The same of a table in rows: all of it lies together. */
static void table_row(const elm_tensor *t, float unit, size_t row, float *out) {
    bool i4 = elm_dtype_get(t->dtype)->bits == 4;
    size_t n = t->dims[1], groups = (n + t->group - 1) / t->group;
    const uint8_t *codes = (const uint8_t *)t->codes + row * groups * t->group / (i4 ? 2 : 1);
    for (size_t g = 0; g < groups; g++) {
        float scale = elm_f32_from_f16(t->scales[row * groups + g]) * unit;
        int zero = t->zeros ? t->zeros[row * groups + g] : i4 ? ELM_ZERO_I4 : ELM_ZERO_I8;
        size_t begin = g * t->group, end = begin + t->group < n ? begin + t->group : n;
        for (size_t k = begin; k < end; k++) {
            int u = i4 ? codes[k / 2] >> elm_rows_i4_shift(k) & 15 : codes[k] ^ 0x80;
            out[k] = scale * (float)(u - zero);
        }
    }
}

/* Row `row` of a P16 matrix of codes: s * (u - zero), s = scale * 2^scale_exp. */
static void codes_row(const elm_cpu_weight *w, size_t row, float *out) {
    const uint8_t *codes = w->codes;
    bool i4 = elm_dtype_get(w->dtype)->bits == 4;
    for (size_t k = 0; k < w->n_cols; k++) {
        size_t at = ((row / 16) * w->n_groups + k / 32 / w->group_blocks) * 16 + row % 16;
        int u = i4 ? codes[elm_p16_i4_offset(w->k_padded, row, k)] >> elm_p16_i4_shift(k) & 15
                   : codes[elm_p16_i8_offset(w->k_padded, row, k)] ^ 0x80;
        int zero = w->zeros ? w->zeros[at] : i4 ? ELM_ZERO_I4 : ELM_ZERO_I8;
        out[k] = elm_f32_from_f16(w->scales[at]) * w->unit * (float)(u - zero);
    }
}

static float float_at(const void *base, size_t index, elm_dtype dtype) {
    if (dtype == ELM_F32) return ((const float *)base)[index];
    uint16_t half = ((const uint16_t *)base)[index];
    return dtype == ELM_F16 ? elm_f32_from_f16(half) : elm_f32_from_bf16(half);
}

void elm_cpu_run_embedding(const elm_cpu_run *r, const elm_cpu_step *s, uint32_t part,
                           uint32_t n_parts) {
    const elm_tensor *table = s->tensor;
    size_t begin, end, n = s->out.width;
    elm_cpu_own_rows(r, s, part, n_parts, &begin, &end);
    for (size_t t = begin; t < end; t++) {
        size_t id = (size_t)r->step->tokens[t];
        float *y = elm_cpu_row(r, &s->out, t);
        bool panels = table->layout == ELM_LAYOUT_P16;
        if (!elm_dtype_get(table->dtype)->is_float) {
            if (panels)
                codes_row(&s->weight, id, y);
            else
                table_row(table, s->weight.unit, id, y);
        } else {
            size_t first = panels ? elm_p16_float_offset(n, id, 0) : id * n;
            size_t step = panels ? ELM_P16_ROWS : 1;
            for (size_t k = 0; k < n; k++)
                y[k] = float_at(table->codes, first + k * step, table->dtype);
        }
        for (size_t k = 0; k < n; k++) y[k] *= s->node->attrs.scale;
    }
}

void elm_cpu_run_glu(const elm_cpu_run *r, const elm_cpu_step *s, uint32_t part, uint32_t n_parts) {
    size_t begin, end;
    int32_t activation = s->node->attrs.activation;
    elm_cpu_own_rows(r, s, part, n_parts, &begin, &end);
    for (size_t t = begin; t < end; t++) {
        const float *x = elm_cpu_row(r, &s->in[0], t);
        float *y = elm_cpu_row(r, &s->out, t);
        if (s->n_in == 2 && s->in[0].width < s->out.width) { /* one gate for the whole row */
            float gate;
            r->kernels->glu(x, NULL, 1, activation, &gate);
            const float *up = elm_cpu_row(r, &s->in[1], t);
            for (size_t i = 0; i < s->out.width; i++) y[i] = gate * up[i];
            continue;
        }
        if (s->n_in == 2) {
            r->kernels->glu(x, elm_cpu_row(r, &s->in[1], t), s->in[0].width, activation, y);
            continue;
        }
        size_t half = s->inner / 2; /* gate | up in every last dimension */
        for (size_t i = 0; i < s->in[0].width; i += s->inner)
            r->kernels->glu(x + i, x + i + half, half, activation, y + i / 2);
    }
}

void elm_cpu_run_add(const elm_cpu_run *r, const elm_cpu_step *s, uint32_t part, uint32_t n_parts) {
    size_t begin, end;
    elm_cpu_own_rows(r, s, part, n_parts, &begin, &end);
    for (size_t t = begin; t < end; t++) {
        r->kernels->add(elm_cpu_row(r, &s->in[0], t), elm_cpu_row(r, &s->in[1], t), s->out.width,
                        elm_cpu_row(r, &s->out, t));
    }
}

void elm_cpu_run_gather_rows(const elm_cpu_run *r, const elm_cpu_step *s, uint32_t part,
                             uint32_t n_parts) {
    size_t begin, end;
    elm_cpu_own_rows(r, s, part, n_parts, &begin, &end);
    for (size_t i = begin; i < end; i++) {
        const float *x = elm_cpu_row(r, &s->in[0], (size_t)r->step->rows[i]);
        memmove(elm_cpu_row(r, &s->out, i), x, s->out.width * sizeof *x);
    }
}

void elm_cpu_run_concat(const elm_cpu_run *r, const elm_cpu_step *s, uint32_t part,
                        uint32_t n_parts) {
    size_t begin, end, first = s->in[0].width;
    elm_cpu_own_rows(r, s, part, n_parts, &begin, &end);
    for (size_t t = begin; t < end; t++) {
        float *y = elm_cpu_row(r, &s->out, t);
        memcpy(y, elm_cpu_row(r, &s->in[0], t), first * sizeof *y);
        memcpy(y + first, elm_cpu_row(r, &s->in[1], t), s->in[1].width * sizeof *y);
    }
}

void elm_cpu_run_mul(const elm_cpu_run *r, const elm_cpu_step *s, uint32_t part, uint32_t n_parts) {
    size_t begin, end;
    elm_cpu_own_rows(r, s, part, n_parts, &begin, &end);
    for (size_t t = begin; t < end; t++) {
        const float *x = elm_cpu_row(r, &s->in[0], t);
        float *y = elm_cpu_row(r, &s->out, t), factor = *s->vector;
        for (size_t i = 0; i < s->out.width; i++) y[i] = x[i] * factor;
    }
}

/* Rows are few and wide: logits. Blocks of columns are divided. */
void elm_cpu_run_softcap(const elm_cpu_run *r, const elm_cpu_step *s, uint32_t part,
                         uint32_t n_parts) {
    size_t begin, end;
    elm_split(s->out.width, 16, part, n_parts, &begin, &end);
    for (size_t t = 0; t < elm_cpu_n_rows(r, &s->out); t++)
        r->kernels->softcap(elm_cpu_row(r, &s->in[0], t) + begin, end - begin,
                            s->node->attrs.softcap, elm_cpu_row(r, &s->out, t) + begin);
}

void elm_cpu_run_load_hidden(const elm_cpu_run *r, const elm_cpu_step *s, uint32_t part,
                             uint32_t n_parts) {
    size_t begin, end;
    elm_cpu_own_rows(r, s, part, n_parts, &begin, &end);
    for (size_t t = begin; t < end; t++)
        memcpy(elm_cpu_row(r, &s->out, t), r->step->hidden + t * r->step->hidden_stride,
               s->out.width * sizeof(float));
}
