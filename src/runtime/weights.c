/* weights.c - which weights are read from the file, and when they are checked; runtime.
 *
 * Nearly all weights are read by every step: their chunks are compared with their checksums at the
 * first one, by all threads. A table of which a step reads single rows (per-layer embeddings) may
 * be most of the file: its pages are read and its chunks compared only as tokens come up. */
#include "runtime/model.h"

enum { CHECK_BYTES = 4 << 20, MAX_ROW_TABLES = 16 };

typedef struct row_tables {
    const elm_tensor *tables[MAX_ROW_TABLES];
    uint32_t n;
} row_tables;

static void add_table(row_tables *out, const elm_tensor *t) {
    for (uint32_t i = 0; i < out->n; i++)
        if (out->tables[i] == t) return;
    if (out->n < MAX_ROW_TABLES) out->tables[out->n++] = t;
}

/* The embedding tables that are stored row by row. */
static row_tables row_tables_of(const elm_model *m) {
    row_tables out = {.n = 0};
    for (uint32_t n = 0; n < m->graph->n_nodes; n++) {
        const elm_node *node = &m->graph->nodes[n];
        if (node->op != ELM_OP_EMBEDDING) continue;
        const elm_tensor *t = &m->tensors[m->graph->values[node->inputs[1]].index];
        if (t->layout == ELM_LAYOUT_ROWS) add_table(&out, t);
    }
    return out;
}

/* The planes of a tensor and the bytes of one of its rows in each. */
typedef struct plane {
    const void *data;
    uint64_t bytes, row_bytes;
} plane;

static uint32_t planes_of(const elm_tensor *t, plane out[3]) {
    const void *data[3] = {t->codes, t->scales, t->zeros};
    const uint64_t bytes[3] = {t->codes_bytes, t->scales_bytes, t->zeros_bytes};
    uint32_t n = 0;
    for (int p = 0; p < 3; p++)
        if (bytes[p] > 0) out[n++] = (plane){data[p], bytes[p], bytes[p] / t->dims[0]};
    return n;
}

void elm_model_advise(const elm_model *m) {
    row_tables tables = row_tables_of(m);
    const elm_io *io = m->container.file.io;
    for (uint32_t i = 0; i < tables.n; i++) {
        plane planes[3];
        uint32_t n = planes_of(tables.tables[i], planes);
        for (uint32_t p = 0; p < n; p++) { /* inner pages: the rest belongs to neighbours too */
            uint64_t begin = (uint64_t)(uintptr_t)planes[p].data, end = begin + planes[p].bytes;
            begin = (begin + ELM_SECTION_ALIGN - 1) / ELM_SECTION_ALIGN * ELM_SECTION_ALIGN;
            end = end / ELM_SECTION_ALIGN * ELM_SECTION_ALIGN;
            if (begin < end)
                io->advise(io->self, (const void *)(uintptr_t)begin, end - begin, ELM_MAP_RANDOM);
        }
    }
}

/* ---- the first step ---- */

typedef struct check_job {
    elm_model *model;
    const elm_section *section;
    row_tables tables;
    atomic_uint_fast64_t next;
    atomic_int status;
    pthread_mutex_t lock;
    elm_error *err;
} check_job;

static uint64_t offset_of(const elm_model *m, const elm_section *section, const void *data) {
    return (uint64_t)((const uint8_t *)data - m->container.map.data) - section->offset;
}

/* Moves *at, below `end`, out of the planes of such tables; returns where the next one begins, `end`
 * when that is behind it. */
static uint64_t outside_tables(const check_job *job, uint64_t *at, uint64_t end) {
    uint64_t next = end;
    bool moved = true;
    while (moved) {
        moved = false;
        next = end;
        for (uint32_t i = 0; i < job->tables.n; i++) {
            plane planes[3];
            uint32_t n_planes = planes_of(job->tables.tables[i], planes);
            for (uint32_t p = 0; p < n_planes; p++) {
                uint64_t begin = offset_of(job->model, job->section, planes[p].data);
                if (*at >= begin && *at < begin + planes[p].bytes)
                    *at = begin + planes[p].bytes, moved = true;
                else if (begin > *at && begin < next)
                    next = begin;
            }
        }
    }
    return next;
}

static elm_status check_piece(const check_job *job, uint64_t at, uint64_t end, elm_error *err) {
    while (at < end) {
        uint64_t next = outside_tables(job, &at, end);
        if (at >= end) break;
        ELM_TRY(elm_container_check(&job->model->container, job->section, at, next - at, err));
        at = next;
    }
    return ELM_OK;
}

static void check_step(void *context, uint32_t thread, uint32_t n_threads) {
    check_job *job = context;
    elm_error message;
    (void)thread, (void)n_threads;
    while (atomic_load(&job->status) == ELM_OK) {
        uint64_t at = atomic_fetch_add(&job->next, CHECK_BYTES);
        if (at >= job->section->size) return;
        uint64_t left = job->section->size - at;
        elm_status status = check_piece(
            job, at, left < CHECK_BYTES ? job->section->size : at + CHECK_BYTES, &message);
        if (status == ELM_OK) continue;
        pthread_mutex_lock(&job->lock);
        if (atomic_load(&job->status) == ELM_OK && job->err) *job->err = message;
        atomic_store(&job->status, (int)status);
        pthread_mutex_unlock(&job->lock);
    }
}

static elm_status check_all(elm_model *m, const elm_section *section, elm_error *err) {
    check_job job = {.model = m, .section = section, .tables = row_tables_of(m), .err = err};
    elm_status status = ELM_OK;
    pthread_mutex_lock(&m->check_lock);
    if (!atomic_load(&m->weights_checked)) {
        pthread_mutex_init(&job.lock, NULL);
        elm_thread_pool_run(m->pool, check_step, &job);
        pthread_mutex_destroy(&job.lock);
        status = (elm_status)atomic_load(&job.status);
        if (status == ELM_OK) atomic_store(&m->weights_checked, true);
    }
    pthread_mutex_unlock(&m->check_lock);
    return status;
}

/* ---- every step ---- */

static elm_status check_rows(elm_model *m, const elm_section *section, const elm_tensor *table,
                             const int32_t *tokens, uint32_t n, elm_error *err) {
    plane planes[3];
    uint32_t n_planes = planes_of(table, planes);
    for (uint32_t t = 0; t < n; t++) {
        if (tokens[t] < 0 || (uint32_t)tokens[t] >= table->dims[0]) continue; /* the step refuses */
        for (uint32_t p = 0; p < n_planes; p++) {
            uint64_t at = offset_of(m, section, planes[p].data);
            at += (uint64_t)tokens[t] * planes[p].row_bytes;
            ELM_TRY(elm_container_check(&m->container, section, at, planes[p].row_bytes, err));
        }
    }
    return ELM_OK;
}

elm_status elm_model_check_weights(elm_model *m, const int32_t *tokens, uint32_t n,
                                   elm_error *err) {
    const elm_section *section = elm_container_find(&m->container, ELM_SECTION_WEIGHTS);
    if (m->skip_checks || !section) return ELM_OK;
    if (!atomic_load(&m->weights_checked)) ELM_TRY(check_all(m, section, err));
    row_tables tables = row_tables_of(m);
    for (uint32_t i = 0; i < tables.n; i++)
        ELM_TRY(check_rows(m, section, tables.tables[i], tokens, n, err));
    return ELM_OK;
}
