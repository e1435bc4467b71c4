/* store.c - rows in, planes out: threads take batches of panels from a counter; convert/.
 *
 * Source bytes are read with pread, a batch at a time, so that memory holds one weight's planes and
 * a batch a thread whatever the model's size. A panel's bytes depend on its rows alone, so any
 * number of threads gives the same file. */
#include "convert/store.h"

#include "parse/dequant.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

enum {
    Q8_0_BYTES = 34,       /* of a block of 32 */
    BATCH_BYTES = 1 << 20, /* of float rows in a batch, at least one panel */
    SAMPLE_ROWS = 64,      /* that decide the scale exponent; a surprise costs a second pass */
};

typedef struct worker {
    float *rows;
    size_t rows_bytes;
    float *scratch;
    size_t scratch_bytes;
    uint8_t *raw;
    size_t raw_bytes;
    elm_status status;
    elm_error message;
} worker;

typedef struct job {
    elm_store *store;
    const elm_planned_weight *weight;
    elm_p16_shape shape;
    uint32_t n_panels; /* of 16 rows, in either layout */
    elm_p16_planes planes;
    int32_t scale_exp;
    uint32_t panels_per_batch;
    atomic_uint next_batch;
    atomic_bool failed;
} job;

struct elm_store {
    const elm_allocator *alloc;
    const elm_checkpoint *checkpoint;
    elm_thread_pool *pool;
    uint32_t n_threads;
    bool (*should_stop)(void *context);
    void *context;
    worker *workers;
    uint8_t *planes;
    size_t planes_bytes;
    elm_quant_error
        *errors; /* one a batch, added in order: the sums do not depend on the threads */
    size_t errors_bytes;
};

elm_status elm_store_create(const elm_allocator *alloc, const elm_checkpoint *checkpoint,
                            uint32_t n_threads, bool (*should_stop)(void *context), void *context,
                            elm_store **out, elm_error *err) {
    elm_store *s = NULL;
    *out = NULL;
    ELM_TRY(elm_alloc(alloc, sizeof *s, "the converter's buffers", &s, err));
    s->alloc = alloc;
    s->checkpoint = checkpoint;
    s->n_threads = n_threads;
    s->should_stop = should_stop;
    s->context = context;
    elm_status status = elm_alloc_array(alloc, n_threads, sizeof *s->workers, "converter threads",
                                        &s->workers, err);
    if (status == ELM_OK) status = elm_thread_pool_create(alloc, n_threads, &s->pool, err);
    if (status != ELM_OK) {
        elm_store_free(s);
        return status;
    }
    *out = s;
    return ELM_OK;
}

void elm_store_free(elm_store *s) {
    if (!s) return;
    elm_thread_pool_free(s->pool);
    for (uint32_t t = 0; s->workers && t < s->n_threads; t++) {
        worker *w = &s->workers[t];
        elm_free(s->alloc, w->rows, w->rows_bytes);
        elm_free(s->alloc, w->scratch, w->scratch_bytes);
        elm_free(s->alloc, w->raw, w->raw_bytes);
    }
    elm_free(s->alloc, s->workers, s->n_threads * sizeof *s->workers);
    elm_free(s->alloc, s->planes, s->planes_bytes);
    elm_free(s->alloc, s->errors, s->errors_bytes);
    elm_free(s->alloc, s, sizeof *s);
}

static elm_status grow(const elm_allocator *alloc, size_t bytes, void *buffer_ptr, size_t *have,
                       const char *what, elm_error *err) {
    void *old, *block = NULL;
    memcpy(&old, buffer_ptr, sizeof old);
    if (bytes <= *have) return ELM_OK;
    elm_free(alloc, old, *have);
    *have = 0;
    memcpy(buffer_ptr, &block, sizeof block);
    ELM_TRY(elm_alloc(alloc, bytes, what, &block, err));
    memcpy(buffer_ptr, &block, sizeof block);
    *have = bytes;
    return ELM_OK;
}

/* ---- rows of the joined parts ---- */

/* A row of the stored (tall) matrix: where it comes from, and how many rows behind it lie one after
 * the other there. part NULL: padding between the matrices of a stack. */
typedef struct origin {
    const elm_weight_part *part;
    uint32_t row, n;
} origin;

static uint32_t tall_rows(const elm_planned_weight *w) {
    uint32_t padded = (w->dims[1] + ELM_P16_ROWS - 1) / ELM_P16_ROWS * ELM_P16_ROWS;
    return w->n_dims == 3 ? w->dims[0] * padded : w->dims[0];
}

static uint32_t cols_of(const elm_planned_weight *w) {
    return w->dims[w->n_dims - 1];
}

static origin locate(const elm_planned_weight *w, uint32_t row) {
    uint32_t left = UINT32_MAX;
    if (w->n_dims == 3) {
        uint32_t padded = tall_rows(w) / w->dims[0], inside = row % padded;
        if (inside >= w->dims[1]) return (origin){NULL, 0, padded - inside};
        left = w->dims[1] - inside;
        row = row / padded * w->dims[1] + inside;
    }
    for (uint32_t p = 0; p < w->n_parts; p++) {
        const elm_weight_part *part = &w->parts[p];
        uint32_t rows = part->run * part->n_runs;
        if (row >= rows) {
            row -= rows;
            continue;
        }
        uint32_t n = part->run - row % part->run;
        uint32_t at = part->first + row / part->run * part->stride + row % part->run;
        return (origin){part, at, n < left ? n : left};
    }
    return (origin){NULL, 0, left};
}

/* Rows [first, first + n) as floats: out[n][cols]. */
static elm_status read_rows(const elm_store *s, const elm_planned_weight *w, uint32_t first,
                            uint32_t n, uint32_t cols, float *out, elm_error *err) {
    while (n > 0) {
        origin o = locate(w, first);
        uint32_t take = o.n < n ? o.n : n;
        if (o.part)
            ELM_TRY(elm_checkpoint_read_rows(s->checkpoint, o.part->tensor, o.row, take, out, err));
        else
            memset(out, 0, (size_t)take * cols * sizeof *out);
        first += take;
        n -= take;
        out += (size_t)take * cols;
    }
    return ELM_OK;
}

/* The rows of one panel in the source's blocks; *n of them, up to padding. */
static elm_status read_blocks(const job *j, uint32_t panel, size_t row_bytes, uint8_t *out,
                              uint32_t *n, elm_error *err) {
    const elm_planned_weight *w = j->weight;
    uint32_t first = panel * ELM_P16_ROWS, left = tall_rows(w) - first;
    uint32_t wanted = left < ELM_P16_ROWS ? left : ELM_P16_ROWS;
    *n = 0;
    while (*n < wanted) {
        origin o = locate(w, first + *n);
        if (!o.part) break;
        uint32_t take = o.n < wanted - *n ? o.n : wanted - *n;
        ELM_TRY(elm_checkpoint_read_raw_rows(j->store->checkpoint, o.part->tensor, o.row, take,
                                             out + *n * row_bytes, err));
        *n += take;
    }
    return ELM_OK;
}

/* ---- panels ---- */

static elm_status carry_panels(const job *j, worker *wk, uint32_t panel, uint32_t n_panels,
                               elm_error *err) {
    const elm_planned_weight *w = j->weight;
    elm_source_type type = w->parts[0].tensor->type;
    const elm_source_type_info *info = elm_source_type_get(type);
    size_t row_blocks = cols_of(w) / info->block_elements,
           row_bytes = row_blocks * info->block_bytes;
    size_t q8_bytes = (size_t)cols_of(w) / 32 * Q8_0_BYTES;
    for (uint32_t i = 0; i < n_panels; i++, panel++) {
        uint32_t n;
        elm_p16_planes planes = j->planes;
        ELM_TRY(read_blocks(j, panel, row_bytes, wk->raw, &n, err));
        if (type == ELM_SOURCE_Q4_0) {
            elm_carry_q4_0_panel(&j->shape, wk->raw, row_bytes, n, panel, &planes);
        } else if (type == ELM_SOURCE_Q8_0) {
            elm_carry_q8_0_panel(&j->shape, wk->raw, row_bytes, n, panel, &planes);
        } else {
            uint8_t *q8 = wk->raw + row_bytes * ELM_P16_ROWS;
            elm_blocks_as_q8_0(type, wk->raw, n * row_blocks, q8);
            elm_carry_q8_0_panel(&j->shape, q8, q8_bytes, n, panel, &planes);
        }
    }
    return ELM_OK;
}

static elm_status quantize_panels(const job *j, worker *wk, uint32_t panel, uint32_t n_panels,
                                  elm_error *err) {
    const elm_planned_weight *w = j->weight;
    uint32_t cols = cols_of(w), first = panel * ELM_P16_ROWS, left = tall_rows(w) - first;
    uint32_t n = n_panels * ELM_P16_ROWS < left ? n_panels * ELM_P16_ROWS : left;
    elm_quant_error *error = &j->store->errors[panel / j->panels_per_batch];
    ELM_TRY(read_rows(j->store, w, first, n, cols, wk->rows, err));
    elm_p16_planes planes = j->planes;
    if (w->layout == ELM_LAYOUT_ROWS) {
        elm_quantize_rows(w->scheme, &j->shape, j->scale_exp, wk->rows, n, cols, first, &planes,
                          wk->scratch, error);
        return ELM_OK;
    }
    for (uint32_t i = 0; i < n_panels; i++) {
        uint32_t rows = n - i * ELM_P16_ROWS < ELM_P16_ROWS ? n - i * ELM_P16_ROWS : ELM_P16_ROWS;
        elm_quantize_panel(w->scheme, &j->shape, j->scale_exp,
                           wk->rows + (size_t)i * ELM_P16_ROWS * cols, cols, rows, cols, panel + i,
                           &planes, wk->scratch, error);
    }
    return ELM_OK;
}

static bool is_carried_block(const elm_planned_weight *w) {
    if (!w->carried || w->n_parts == 0 || w->layout != ELM_LAYOUT_P16) return false;
    elm_source_type type = w->parts[0].tensor->type;
    return type == ELM_SOURCE_Q4_0 || type == ELM_SOURCE_Q8_0 || elm_source_fits_q8_0(type);
}

static void step(void *context, uint32_t thread, uint32_t n_threads) {
    job *j = context;
    worker *wk = &j->store->workers[thread];
    (void)n_threads;
    wk->status = ELM_OK;
    while (!atomic_load(&j->failed)) {
        uint32_t panel = atomic_fetch_add(&j->next_batch, 1) * j->panels_per_batch;
        if (panel >= j->n_panels) break;
        if (thread == 0 && j->store->should_stop && j->store->should_stop(j->store->context)) {
            wk->status = elm_fail(&wk->message, ELM_CANCELLED, "interrupted");
            atomic_store(&j->failed, true);
            break;
        }
        uint32_t n = j->n_panels - panel;
        if (n > j->panels_per_batch) n = j->panels_per_batch;
        wk->status = is_carried_block(j->weight) ? carry_panels(j, wk, panel, n, &wk->message)
                                                 : quantize_panels(j, wk, panel, n, &wk->message);
        if (wk->status != ELM_OK) atomic_store(&j->failed, true);
    }
}

/* Largest magnitude in rows [0, n_rows); NaN and infinity come back as they are. */
static elm_status largest_of(elm_store *s, const elm_planned_weight *w, uint32_t n_rows, float *out,
                             elm_error *err) {
    uint32_t cols = cols_of(w);
    *out = 0.0f;
    for (uint32_t row = 0; row < n_rows; row += ELM_P16_ROWS) {
        uint32_t n = n_rows - row < ELM_P16_ROWS ? n_rows - row : ELM_P16_ROWS;
        float *rows = s->workers[0].rows;
        ELM_TRY(read_rows(s, w, row, n, cols, rows, err));
        for (size_t i = 0; i < (size_t)n * cols; i++) {
            if (!isfinite(rows[i])) {
                return elm_fail(err, ELM_MALFORMED,
                                "%s: row %zu, column %zu is %s; weights must be finite", w->name,
                                row + i / cols, i % cols, isnan(rows[i]) ? "NaN" : "infinite");
            }
            if (fabsf(rows[i]) > *out) *out = fabsf(rows[i]);
        }
    }
    return ELM_OK;
}

static elm_status run(job *j, elm_quant_error *error, elm_error *err) {
    elm_store *s = j->store;
    uint32_t n_batches = (j->n_panels + j->panels_per_batch - 1) / j->panels_per_batch;
    ELM_TRY(grow(s->alloc, n_batches * sizeof *s->errors, &s->errors, &s->errors_bytes,
                 "error sums", err));
    memset(s->errors, 0, n_batches * sizeof *s->errors);
    atomic_store(&j->next_batch, 0);
    atomic_store(&j->failed, false);
    elm_thread_pool_run(s->pool, step, j);
    memset(error, 0, sizeof *error);
    for (uint32_t t = 0; t < s->n_threads; t++) {
        if (s->workers[t].status != ELM_OK) {
            if (err) *err = s->workers[t].message;
            return s->workers[t].status;
        }
    }
    for (uint32_t b = 0; b < n_batches; b++) elm_quant_error_add(error, &s->errors[b]);
    return ELM_OK;
}

static elm_status reserve(elm_store *s, job *j, elm_error *err) {
    const elm_planned_weight *w = j->weight;
    uint64_t row_bytes = (uint64_t)cols_of(w) * sizeof(float);
    uint64_t panels = BATCH_BYTES / (row_bytes * ELM_P16_ROWS);
    j->panels_per_batch = panels < 1 ? 1 : (uint32_t)panels;
    size_t rows_bytes = (size_t)(row_bytes * ELM_P16_ROWS * j->panels_per_batch);
    size_t scratch_bytes = elm_panel_scratch_floats(w->scheme, &j->shape) * sizeof(float);
    for (uint32_t t = 0; t < s->n_threads; t++) {
        worker *wk = &s->workers[t];
        ELM_TRY(grow(s->alloc, rows_bytes, &wk->rows, &wk->rows_bytes, "source rows", err));
        ELM_TRY(grow(s->alloc, scratch_bytes, &wk->scratch, &wk->scratch_bytes, "a group", err));
        /* A row of floats is longer than one of blocks and one of Q8_0's together. */
        ELM_TRY(grow(s->alloc, is_carried_block(w) ? (size_t)row_bytes * ELM_P16_ROWS : 0, &wk->raw,
                     &wk->raw_bytes, "source blocks", err));
    }
    uint64_t scales_at = (j->shape.codes_bytes + 63) / 64 * 64;
    uint64_t zeros_at = scales_at + (j->shape.scales_bytes + 63) / 64 * 64;
    ELM_TRY(grow(s->alloc, (size_t)(zeros_at + j->shape.zeros_bytes), &s->planes, &s->planes_bytes,
                 "a stored weight", err));
    j->planes.codes = s->planes;
    j->planes.scales = j->shape.scales_bytes ? (uint16_t *)(void *)(s->planes + scales_at) : NULL;
    j->planes.zeros = j->shape.zeros_bytes ? s->planes + zeros_at : NULL;
    return ELM_OK;
}

/* The elements of one part of a vector, read in one piece and picked from it. */
static elm_status read_elements(elm_store *s, const elm_weight_part *part, float *out,
                                elm_error *err) {
    worker *wk = &s->workers[0];
    if (part->n_runs == 1)
        return elm_checkpoint_read_rows(s->checkpoint, part->tensor, part->first, part->run, out,
                                        err);
    size_t span = (size_t)(part->n_runs - 1) * part->stride + part->run;
    ELM_TRY(grow(s->alloc, span * sizeof(float), &wk->rows, &wk->rows_bytes, "source rows", err));
    ELM_TRY(
        elm_checkpoint_read_rows(s->checkpoint, part->tensor, part->first, span, wk->rows, err));
    for (uint32_t i = 0; i < part->n_runs; i++, out += part->run)
        memcpy(out, wk->rows + (size_t)i * part->stride, part->run * sizeof *out);
    return ELM_OK;
}

static float formed(const elm_vector_form *form, float w) {
    if (form->negative_exp) return -expf(w);
    w += form->add;
    return form->mul != 0.0f ? w * form->mul : w;
}

static elm_status shape_of(const elm_planned_weight *w, elm_p16_shape *out, elm_error *err) {
    uint32_t rows = tall_rows(w), cols = cols_of(w);
    bool fits = w->layout == ELM_LAYOUT_ROWS
                    ? elm_rows_shape_of(w->scheme.dtype, rows, cols, w->scheme.group, out)
                    : elm_p16_shape_of(w->scheme.dtype, rows, cols, w->scheme.group, out);
    if (fits) return ELM_OK;
    return elm_fail(err, ELM_UNSUPPORTED, "%s: a %u x %u matrix cannot be stored in groups of %u",
                    w->name, rows, cols, w->scheme.group);
}

static elm_status store_vector(elm_store *s, const elm_planned_weight *w, elm_tensor *tensor,
                               elm_error *err) {
    size_t n = (size_t)elm_planned_elements(w), bytes = n * sizeof(float);
    ELM_TRY(grow(s->alloc, bytes, &s->planes, &s->planes_bytes, "a stored vector", err));
    float *out = (float *)(void *)s->planes;
    if (w->table) memcpy(out, w->table, bytes);
    size_t at = 0;
    for (uint32_t p = 0; p < w->n_parts; p++) {
        ELM_TRY(read_elements(s, &w->parts[p], out + at, err));
        at += (size_t)w->parts[p].run * w->parts[p].n_runs;
    }
    for (size_t i = 0; i < n; i++) {
        if (isfinite(out[i])) out[i] = formed(&w->form, out[i]);
        if (!isfinite(out[i])) {
            return elm_fail(err, ELM_MALFORMED, "%s: element %zu is %s; weights must be finite",
                            w->name, i, isnan(out[i]) ? "NaN" : "infinite");
        }
    }
    tensor->codes = out;
    return ELM_OK;
}

static elm_status store_matrix(elm_store *s, const elm_planned_weight *w, elm_tensor *tensor,
                               elm_quant_error *error, elm_error *err) {
    uint32_t n_rows = tall_rows(w);
    job j = {.store = s, .weight = w, .n_panels = (n_rows + ELM_P16_ROWS - 1) / ELM_P16_ROWS};
    float largest = 0.0f;
    ELM_TRY(shape_of(w, &j.shape, err));
    ELM_TRY(reserve(s, &j, err));
    if (!is_carried_block(w)) {
        uint32_t sample = n_rows < SAMPLE_ROWS ? n_rows : SAMPLE_ROWS;
        ELM_TRY(largest_of(s, w, sample, &largest, err));
        j.scale_exp = elm_scale_exp_for(w->scheme.dtype, largest);
    }
    ELM_TRY(run(&j, error, err));
    if (error->n_not_finite > 0) {
        ELM_TRY(largest_of(s, w, n_rows, &largest, err));
        j.scale_exp = elm_scale_exp_for(w->scheme.dtype, largest);
        ELM_TRY(run(&j, error, err));
        if (error->n_not_finite > 0) {
            return elm_fail(err, ELM_MALFORMED,
                            "%s: row %llu, column %llu does not fit %s (largest value %g)", w->name,
                            (unsigned long long)error->first_not_finite_row,
                            (unsigned long long)error->first_not_finite_col,
                            elm_dtype_get(w->scheme.dtype)->text, (double)largest);
        }
    }
    tensor->scale_exp = j.scale_exp;
    tensor->codes = j.planes.codes;
    tensor->scales = j.planes.scales;
    tensor->zeros = j.planes.zeros;
    return ELM_OK;
}

elm_status elm_store_describe(const elm_planned_weight *w, elm_tensor *tensor, elm_error *err) {
    elm_p16_shape shape = {.codes_bytes = elm_planned_elements(w) * sizeof(float)};
    if (w->role != ELM_ROLE_VECTOR) ELM_TRY(shape_of(w, &shape, err));
    *tensor = (elm_tensor){.name = w->name,
                           .dtype = w->scheme.dtype,
                           .layout = w->layout,
                           .n_dims = w->n_dims,
                           .dims = {w->dims[0], w->dims[1], w->dims[2]},
                           .group = w->role == ELM_ROLE_VECTOR ? 0 : w->scheme.group,
                           .codes_bytes = shape.codes_bytes,
                           .scales_bytes = shape.scales_bytes,
                           .zeros_bytes = shape.zeros_bytes};
    return ELM_OK;
}

elm_status elm_store_weight(elm_store *s, const elm_planned_weight *w, elm_tensor *tensor,
                            elm_quant_error *error, elm_error *err) {
    memset(error, 0, sizeof *error);
    ELM_TRY(elm_store_describe(w, tensor, err));
    return w->role == ELM_ROLE_VECTOR ? store_vector(s, w, tensor, err)
                                      : store_matrix(s, w, tensor, error, err);
}
