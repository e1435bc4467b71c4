/* emit.c - the prepared model to PATH.part, weight by weight, with a journal beside it; convert. */
#include "convert/conversion.h"

#include "base/checked.h"
#include "base/hash.h"

#include <stdio.h>
#include <string.h>

enum {
    TABLE_CHUNK = 16 << 10,
    RECORD_TEXT_BYTES = 160, /* of a tensor in QUANT, without its name; an estimate */
};

/* ---- how large the file becomes ---- */

static void add_section(uint64_t bytes, uint32_t chunk_bytes, uint64_t *at, uint64_t *toc) {
    *at = (*at + ELM_SECTION_ALIGN - 1) / ELM_SECTION_ALIGN * ELM_SECTION_ALIGN + bytes;
    *toc += sizeof(elm_disk_section) + (bytes + chunk_bytes - 1) / chunk_bytes * sizeof(uint32_t);
}

static void add_plane(uint64_t bytes, uint64_t align, uint64_t *at) {
    if (bytes > 0) *at = (*at + align - 1) / align * align + bytes;
}

/* Weights that are read whole are checked in large pieces. Where a step reads single rows of a table,
 * a chunk is about what it must read for one of them. */
static uint32_t weight_chunk(const elm_conversion *c) {
    for (uint32_t i = 0; i < c->mb.n_weights; i++)
        if (c->mb.weights[i].role == ELM_ROLE_TABLE) return TABLE_CHUNK;
    return ELM_MAX_CHUNK_BYTES;
}

/* The sections before WEIGHTS. */
static void add_head(const elm_conversion *c, uint64_t *at, uint64_t *toc) {
    add_section(c->meta.size, ELM_MIN_CHUNK_BYTES, at, toc);
    add_section(c->graph.size, ELM_MIN_CHUNK_BYTES, at, toc);
    add_section(c->tokenizer.size, ELM_MIN_CHUNK_BYTES, at, toc);
    if (c->source.chat_template)
        add_section(strlen(c->source.chat_template), ELM_MIN_CHUNK_BYTES, at, toc);
}

/* Exact but for the length of QUANT's numbers. */
static elm_status file_bytes(const elm_conversion *c, uint64_t *out, elm_error *err) {
    uint64_t weights = 0, tensors = 8, quant = 64, at = ELM_SECTION_ALIGN;
    uint64_t toc = sizeof(elm_disk_toc);
    for (uint32_t i = 0; i < c->mb.n_weights; i++) {
        elm_tensor t;
        ELM_TRY(elm_store_describe(&c->mb.weights[i], &t, err));
        bool panels = t.layout == ELM_LAYOUT_P16;
        add_plane(t.codes_bytes, panels ? ELM_TENSOR_ALIGN : ELM_PLANE_ALIGN, &weights);
        add_plane(t.scales_bytes, ELM_PLANE_ALIGN, &weights);
        add_plane(t.zeros_bytes, ELM_PLANE_ALIGN, &weights);
        tensors += sizeof(elm_disk_tensor) + strlen(t.name);
        quant += RECORD_TEXT_BYTES + strlen(t.name);
    }
    add_head(c, &at, &toc);
    add_section(weights, weight_chunk(c), &at, &toc);
    add_section(tensors, ELM_MIN_CHUNK_BYTES, &at, &toc);
    add_section(quant, ELM_MIN_CHUNK_BYTES, &at, &toc);
    add_section(toc, ELM_MIN_CHUNK_BYTES, &at, &(uint64_t){0});
    *out = at;
    return ELM_OK;
}

static elm_status say_space(const elm_conversion *c, const char *path, uint64_t need,
                            elm_error *err) {
    uint64_t available;
    ELM_TRY(elm_path_free_space(&c->platform, path, &available, err));
    elm_conversion_note(c, "space: %.1f MB needed, %.1f MB free", (double)need / 1e6,
                        (double)available / 1e6);
    return ELM_OK;
}

/* ---- what is converted and how: two runs with the same identity write the same bytes ---- */

static void identify_weight(const elm_planned_weight *w, elm_sha256 *h) {
    uint32_t numbers[] = {(uint32_t)w->role, (uint32_t)w->scheme.dtype,
                          w->scheme.group,   w->carried,
                          w->n_dims,         w->dims[0],
                          w->dims[1],        w->dims[2],
                          w->n_parts};
    elm_sha256_update(h, w->name, strlen(w->name) + 1);
    elm_sha256_update(h, numbers, sizeof numbers);
    for (uint32_t p = 0; p < w->n_parts; p++) {
        const elm_weight_part *part = &w->parts[p];
        const elm_source_tensor *t = part->tensor;
        uint64_t place[] = {t->shard,    t->offset, t->bytes,     (uint64_t)t->type,
                            part->first, part->run, part->stride, part->n_runs};
        elm_source_swap swaps[] = {t->rows, t->cols};
        elm_sha256_update(h, place, sizeof place);
        elm_sha256_update(h, swaps, sizeof swaps);
    }
}

/* META holds the source's hashes, the options and the version. */
static void identify(const elm_conversion *c, uint8_t out[32]) {
    elm_sha256 h;
    const char *template = c->source.chat_template ? c->source.chat_template : "";
    const elm_span parts[] = {elm_buf_span(&c->meta), elm_buf_span(&c->graph),
                              elm_buf_span(&c->tokenizer), elm_span_str(template)};
    elm_sha256_init(&h);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        uint64_t size = parts[i].size;
        elm_sha256_update(&h, &size, sizeof size);
        if (size > 0) elm_sha256_update(&h, parts[i].data, parts[i].size);
    }
    for (uint32_t i = 0; i < c->mb.n_weights; i++) identify_weight(&c->mb.weights[i], &h);
    elm_sha256_final(&h, out);
}

/* ---- weights ---- */

static const char *source_text(const elm_planned_weight *w) {
    return w->n_parts ? elm_source_type_get(w->parts[0].tensor->type)->text : "computed";
}

static uint64_t source_bytes(const elm_planned_weight *w) {
    uint64_t bytes = 0;
    for (uint32_t p = 0; p < w->n_parts; p++) { /* by rows, so that shared tensors count once */
        const elm_weight_part *part = &w->parts[p];
        bytes += part->tensor->bytes / elm_mb_whole(part->tensor).run * part->run * part->n_runs;
    }
    return bytes;
}

static void record(elm_conversion *c, const elm_planned_weight *w, const elm_tensor *t,
                   const elm_quant_error *error) {
    elm_convert_tensor news = {
        .name = w->name,
        .source_type = source_text(w),
        .type = elm_dtype_get(t->dtype)->text,
        .group = (int32_t)t->group,
        .exact = w->role == ELM_ROLE_VECTOR || w->carried || error->sum_error2 == 0.0,
        .rel_rms = elm_quant_error_rel_rms(error),
        .max_abs = error->max_abs,
    };
    elm_quant_record_add(&c->quant, &news);
    c->out->n_tensors++;
    c->out->n_exact += news.exact;
    if (news.rel_rms > c->out->worst_rel_rms) {
        c->out->worst_rel_rms = news.rel_rms;
        snprintf(c->out->worst_tensor, sizeof c->out->worst_tensor, "%s", w->name);
    }
    if (c->o.on_tensor) c->o.on_tensor(c->o.context, &news);
}

/* A weight that PATH.part holds already. */
static elm_status take_over(elm_conversion *c, const elm_planned_weight *w,
                            const elm_journal_record *r, elm_tensor *tensor, elm_error *err) {
    ELM_TRY(elm_store_describe(w, tensor, err));
    tensor->scale_exp = r->scale_exp;
    ELM_TRY(elm_writer_tensor(c->writer, tensor, err));
    if (elm_writer_take_crc(c->writer) == r->crc && elm_writer_position(c->writer) == r->end)
        return ELM_OK;
    return elm_fail(err, ELM_IO, "'%s' changed while it was read; convert without --resume",
                    c->journal.part);
}

static elm_status make(elm_conversion *c, const elm_planned_weight *w, elm_tensor *tensor,
                       elm_quant_error *error, elm_error *err) {
    ELM_TRY(elm_store_weight(c->store, w, tensor, error, err));
    ELM_TRY(elm_writer_tensor(c->writer, tensor, err));
    ELM_TRY(elm_writer_flush(c->writer, err));
    const elm_journal_record done = {.crc = elm_writer_take_crc(c->writer),
                                     .end = elm_writer_position(c->writer),
                                     .scale_exp = tensor->scale_exp,
                                     .error = *error};
    return elm_journal_add(&c->journal, &done, err);
}

static elm_status write_weights(elm_conversion *c, const elm_journal_record *done, uint32_t n_done,
                                elm_error *err) {
    elm_convert_progress progress = {.n_total = c->mb.n_weights,
                                     .bytes_total = elm_source_checkpoint(&c->source)->total_bytes};
    for (uint32_t i = 0; i < c->mb.n_weights; i++) {
        const elm_planned_weight *w = &c->mb.weights[i];
        elm_tensor tensor;
        elm_quant_error error = {0};
        if (c->o.should_stop && c->o.should_stop(c->o.context))
            return elm_fail(err, ELM_CANCELLED, "interrupted");
        progress.tensor = w->name;
        progress.n_done = i;
        if (c->o.on_progress) c->o.on_progress(c->o.context, &progress);
        if (i < n_done) {
            error = done[i].error;
            ELM_TRY(take_over(c, w, &done[i], &tensor, err));
        } else {
            ELM_TRY(make(c, w, &tensor, &error, err));
        }
        record(c, w, &tensor, &error);
        progress.bytes_done += source_bytes(w);
    }
    progress.n_done = progress.n_total;
    if (c->o.on_progress) c->o.on_progress(c->o.context, &progress);
    return elm_writer_end(c->writer, err);
}

/* ---- the file ---- */

static elm_status begin(elm_conversion *c, const char *path, bool *resuming, elm_error *err) {
    uint64_t need;
    elm_path_kind kind = ELM_PATH_NONE;
    ELM_TRY(file_bytes(c, &need, err));
    ELM_TRY(say_space(c, path, need, err));
    ELM_TRY(elm_journal_init(&c->journal, &c->platform, path, err));
    if (c->o.resume) ELM_TRY(elm_path_kind_of(&c->platform, c->journal.part, &kind, err));
    *resuming = kind == ELM_PATH_FILE;
    ELM_TRY(*resuming ? elm_writer_resume(&c->platform, path, need, &c->writer, err)
                      : elm_writer_open(&c->platform, path, need, &c->writer, err));
    if (c->o.resume) elm_writer_keep_part(c->writer);
    return elm_writer_side_file(c->writer, c->journal.path, err);
}

static elm_status write_head(elm_conversion *c, elm_error *err) {
    ELM_TRY(elm_writer_section(c->writer, ELM_SECTION_META, elm_buf_span(&c->meta), err));
    ELM_TRY(elm_writer_section(c->writer, ELM_SECTION_GRAPH, elm_buf_span(&c->graph), err));
    ELM_TRY(elm_writer_section(c->writer, ELM_SECTION_TOKENIZER, elm_buf_span(&c->tokenizer), err));
    if (c->source.chat_template) {
        ELM_TRY(elm_writer_section(c->writer, ELM_SECTION_TEMPLATE,
                                   elm_span_str(c->source.chat_template), err));
    }
    ELM_TRY(elm_writer_begin(c->writer, ELM_SECTION_WEIGHTS, weight_chunk(c), NULL, err));
    (void)elm_writer_take_crc(c->writer);
    return ELM_OK;
}

/* Before anything is written: a PATH.part of another source must stay as it is. */
static elm_status open_journal(elm_conversion *c, bool resuming, elm_journal_record **done,
                               uint32_t *n_done, elm_error *err) {
    uint8_t identity[32];
    uint64_t weights_at = ELM_SECTION_ALIGN, toc = 0;
    *done = NULL;
    *n_done = 0;
    identify(c, identity);
    if (!resuming) return elm_journal_create(&c->journal, identity, err);
    add_head(c, &weights_at, &toc);
    add_section(0, weight_chunk(c), &weights_at, &toc);
    ELM_TRY(elm_journal_resume(&c->journal, identity, weights_at, c->mb.n_weights, &c->arena, done,
                               n_done, err));
    elm_conversion_note(c, "going on after %u of %u weights", *n_done, c->mb.n_weights);
    return ELM_OK;
}

elm_status elm_conversion_emit(elm_conversion *c, const char *path, elm_error *err) {
    bool resuming;
    elm_journal_record *done;
    uint32_t n_done;
    ELM_TRY(begin(c, path, &resuming, err));
    ELM_TRY(open_journal(c, resuming, &done, &n_done, err));
    ELM_TRY(write_head(c, err));
    elm_quant_record_begin(&c->quant, c->platform.alloc, elm_quant_text(c->o.quant));
    ELM_TRY(write_weights(c, done, n_done, err));
    ELM_TRY(elm_writer_tensors(c->writer, err));
    ELM_TRY(elm_quant_record_end(&c->quant, err));
    ELM_TRY(elm_writer_section(c->writer, ELM_SECTION_QUANT, elm_buf_span(&c->quant.text), err));
    elm_writer *writer = c->writer;
    c->writer = NULL; /* finish frees it, whatever happens */
    return elm_writer_finish(writer, &c->out->file_bytes, err);
}
