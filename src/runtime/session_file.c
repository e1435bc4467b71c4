/* session_file.c - sizes and names of a session on disk, and saving one; runtime. */
#include "backend/kv.h"
#include "runtime/session_file.h"

#include "base/hash.h"

#include <stdio.h>
#include <string.h>

void elm_model_identity(const elm_model *m, uint8_t out[32]) {
    static const elm_section_type types[] = {ELM_SECTION_META, ELM_SECTION_GRAPH,
                                             ELM_SECTION_TENSORS, ELM_SECTION_WEIGHTS,
                                             ELM_SECTION_TOKENIZER};
    elm_sha256 h;
    elm_sha256_init(&h);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        const elm_section *s = elm_container_find(&m->container, types[i]);
        if (s) elm_sha256_update(&h, s->sha256, sizeof s->sha256);
    }
    elm_sha256_final(&h, out);
}

elm_state_config elm_session_header_config(const elm_session_header *h, const elm_model *m) {
    return (elm_state_config){m, (elm_dtype)h->kv, h->n_context, h->with_draft != 0};
}

uint64_t elm_session_body_bytes(const elm_session_header *h, const elm_model *m) {
    elm_state_config c = elm_session_header_config(h, m);
    uint64_t mark = elm_mark_bytes(&c), logits = m->meta.vocab_size * sizeof(float);
    uint64_t bytes = h->n_tokens * (sizeof(int32_t) + 1) + h->conversation_bytes + mark;
    if (h->has_logits) bytes += logits;
    bytes += h->n_snapshots * (2 * sizeof(uint32_t) + mark + logits);
    for (uint32_t i = 0; i < m->module->n_states; i++) {
        const elm_state *state = &m->module->states[i];
        if (!elm_state_is_used(&c, i) || state->kind != ELM_STATE_KV || state->window) continue;
        elm_kv kv = {.dtype = c.kv, .n_heads = state->n_heads, .k_dim = state->k_dim};
        kv.v_dim = state->v_dim;
        bytes += (uint64_t)h->n_run * elm_kv_position_bytes(&kv);
    }
    return bytes;
}

uint64_t elm_session_file_bytes(uint64_t body_bytes) {
    uint64_t chunks = (body_bytes + ELM_SESSION_CHUNK_BYTES - 1) / ELM_SESSION_CHUNK_BYTES;
    return ELM_SESSION_HEADER_BYTES + body_bytes + chunks * sizeof(uint32_t);
}

void elm_session_stream_close(elm_session_stream *s) {
    elm_file_close(&s->file);
    elm_free(s->alloc, s->chunk, ELM_SESSION_CHUNK_BYTES + sizeof(uint32_t));
    s->chunk = NULL;
}

/* ---- writing ---- */

static uint64_t chunk_offset(uint32_t index) {
    return ELM_SESSION_HEADER_BYTES +
           (uint64_t)index * (ELM_SESSION_CHUNK_BYTES + sizeof(uint32_t));
}

static elm_status flush(elm_session_stream *out, elm_error *err) {
    if (out->at == 0) return ELM_OK;
    uint32_t crc = elm_chunk_crc(out->index, out->chunk, out->at);
    memcpy(out->chunk + out->at, &crc, sizeof crc);
    ELM_TRY(elm_file_write_at(&out->file, chunk_offset(out->index), out->chunk,
                              out->at + sizeof crc, err));
    out->index++;
    out->at = 0;
    return ELM_OK;
}

static elm_status put(elm_session_stream *out, const void *data, size_t n, elm_error *err) {
    const uint8_t *from = data;
    while (n > 0) {
        size_t take = ELM_SESSION_CHUNK_BYTES - out->at;
        if (take > n) take = n;
        memcpy(out->chunk + out->at, from, take);
        out->at += take;
        from += take;
        n -= take;
        if (out->at == ELM_SESSION_CHUNK_BYTES) ELM_TRY(flush(out, err));
    }
    return ELM_OK;
}

static elm_session_header header_of(const elm_session *s) {
    elm_session_header h = {
        .kv = s->config.kv,
        .n_context = s->n_context,
        .n_tokens = s->n_tokens,
        .n_run = s->n_run,
        .has_logits = elm_session_logits(s) != NULL,
        .with_draft = s->config.with_draft,
        .n_snapshots =
            s->snapshots.n < ELM_SESSION_SNAPSHOTS ? s->snapshots.n : ELM_SESSION_SNAPSHOTS,
        .conversation_bytes = (uint32_t)s->conversation.size,
        .n_drawn = s->sampler.n_drawn,
        .sampling = s->sampler.settings,
    };
    const elm_meta *meta = &s->model->meta;
    elm_model_identity(s->model, h.model);
    snprintf(h.name, sizeof h.name, "%s%s%s", meta->architecture, meta->name[0] ? " " : "",
             meta->name);
    return h;
}

static elm_status put_header(elm_session_stream *out, const elm_session_header *h, elm_error *err) {
    elm_buf b;
    const elm_sampling *p = &h->sampling;
    elm_buf_init(&b, out->alloc, ELM_SESSION_HEADER_BYTES);
    elm_buf_append(&b, ELM_SESSION_MAGIC, 8);
    elm_buf_u32(&b, ELM_SESSION_VERSION);
    elm_buf_append(&b, h->model, sizeof h->model);
    elm_buf_append(&b, h->name, sizeof h->name);
    elm_buf_u32(&b, h->kv);
    elm_buf_u32(&b, h->n_context);
    elm_buf_u32(&b, h->n_tokens);
    elm_buf_u32(&b, h->n_run);
    elm_buf_u32(&b, h->has_logits);
    elm_buf_u32(&b, h->with_draft);
    elm_buf_u32(&b, h->n_snapshots);
    elm_buf_u32(&b, h->conversation_bytes);
    elm_buf_u64(&b, h->n_drawn);
    elm_buf_f32(&b, p->temperature);
    elm_buf_u32(&b, (uint32_t)p->top_k);
    elm_buf_f32(&b, p->top_p);
    elm_buf_f32(&b, p->min_p);
    elm_buf_f32(&b, p->repetition_penalty);
    elm_buf_f32(&b, p->presence_penalty);
    elm_buf_f32(&b, p->frequency_penalty);
    elm_buf_u64(&b, p->seed);
    while (b.status == ELM_OK && b.size < ELM_SESSION_HEADER_BYTES - sizeof(uint32_t))
        elm_buf_u8(&b, 0);
    if (b.status == ELM_OK) elm_buf_u32(&b, elm_crc32c(0, b.data, b.size));
    elm_status status = elm_buf_check(&b, "a session's header", err);
    if (status == ELM_OK) status = elm_file_write_at(&out->file, 0, b.data, b.size, err);
    elm_buf_free(&b);
    return status;
}

/* All rows of one full KV state, through a buffer of a block. */
static elm_status put_rows(elm_session_stream *out, const elm_session *s, const elm_kv *kv,
                           elm_error *err) {
    size_t row = elm_kv_position_bytes(kv);
    uint8_t *block = NULL;
    ELM_TRY(elm_alloc_array(out->alloc, ELM_SESSION_ROWS_BLOCK, row, "rows", &block, err));
    elm_status status = ELM_OK;
    for (uint32_t at = 0; at < s->n_run && status == ELM_OK; at += ELM_SESSION_ROWS_BLOCK) {
        uint32_t n =
            s->n_run - at < ELM_SESSION_ROWS_BLOCK ? s->n_run - at : ELM_SESSION_ROWS_BLOCK;
        elm_kv_pack(kv, at, n, block);
        status = put(out, block, n * row, err);
    }
    elm_free(out->alloc, block, ELM_SESSION_ROWS_BLOCK * row);
    return status;
}

static elm_status put_mark(elm_session_stream *out, const elm_session *s, elm_error *err) {
    uint64_t bytes = elm_mark_bytes(&s->config);
    uint8_t *mark = NULL;
    ELM_TRY(elm_alloc(out->alloc, bytes, "a mark", &mark, err));
    if (mark) elm_mark_pack(s, mark);
    elm_status status = put(out, mark, bytes, err);
    elm_free(out->alloc, mark, bytes);
    return status;
}

static elm_status put_snapshot(elm_session_stream *out, const elm_session *s,
                               const elm_snapshot *shot, elm_error *err) {
    uint32_t numbers[2] = {shot->has_logits, shot->position};
    size_t logits = s->model->meta.vocab_size * sizeof(float);
    static const uint8_t zeros[4096];
    ELM_TRY(put(out, numbers, sizeof numbers, err));
    ELM_TRY(put(out, shot->memory, s->snapshots.slot_bytes - logits, err));
    if (shot->has_logits)
        return put(out, shot->memory + s->snapshots.slot_bytes - logits, logits, err);
    for (size_t n; logits > 0; logits -= n) { /* the room is not used and never was written */
        n = logits < sizeof zeros ? logits : sizeof zeros;
        ELM_TRY(put(out, zeros, n, err));
    }
    return ELM_OK;
}

static elm_status put_body(elm_session_stream *out, const elm_session *s,
                           const elm_session_header *h, elm_error *err) {
    ELM_TRY(put(out, s->tokens, s->n_tokens * sizeof *s->tokens, err));
    ELM_TRY(put(out, s->was_generated, s->n_tokens, err));
    ELM_TRY(put(out, s->conversation.data, s->conversation.size, err));
    if (h->has_logits) ELM_TRY(put(out, s->logits, s->model->meta.vocab_size * sizeof(float), err));
    for (uint32_t i = 0; i < s->model->module->n_states; i++) {
        if (s->states[i].capacity == 0 || s->model->module->states[i].window) continue;
        ELM_TRY(put_rows(out, s, &s->states[i], err));
    }
    ELM_TRY(put_mark(out, s, err));
    for (uint32_t i = s->snapshots.n - h->n_snapshots; i < s->snapshots.n; i++)
        ELM_TRY(put_snapshot(out, s, &s->snapshots.slots[i], err));
    return flush(out, err);
}

static elm_status write_part(const elm_session *s, const char *part, elm_error *err) {
    const elm_platform *p = &s->model->platform;
    elm_session_stream out = {.alloc = s->alloc};
    elm_session_header h = header_of(s);
    ELM_TRY(elm_file_open(p, part, ELM_OPEN_CREATE, &out.file, err));
    elm_status status = elm_alloc(s->alloc, ELM_SESSION_CHUNK_BYTES + sizeof(uint32_t),
                                  "saving a session", &out.chunk, err);
    if (status == ELM_OK) status = put_header(&out, &h, err);
    if (status == ELM_OK) status = put_body(&out, s, &h, err);
    if (status == ELM_OK) status = elm_file_sync(&out.file, err);
    elm_session_stream_close(&out);
    return status;
}

elm_status elm_session_save(elm_session *s, const char *path, elm_error *err) {
    const elm_platform *p = &s->model->platform;
    elm_buf part;
    ELM_TRY(elm_session_commit(s, err));
    elm_buf_init(&part, s->alloc, 1 << 16);
    elm_buf_printf(&part, "%s.part", path);
    elm_buf_u8(&part, 0);
    elm_status status = elm_buf_check(&part, "the name of the session's file", err);
    const char *name = (const char *)part.data;
    if (status == ELM_OK) status = write_part(s, name, err);
    if (status == ELM_OK) status = elm_path_rename(p, name, path, err);
    if (status == ELM_OK) {
        status = elm_path_sync_folder(p, path, err);
    } else if (name) {
        (void)!elm_path_remove(p, name, NULL);
    }
    elm_buf_free(&part);
    return status;
}
