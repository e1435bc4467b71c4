/* session_load.c - a session from its file: every number is checked against the model before it is
 * used, every chunk against its checksum before its bytes are; runtime. */
#include "backend/kv.h"
#include "base/hash.h"
#include "runtime/session_file.h"

#include <string.h>

/* ---- the body ---- */

static elm_status next_chunk(elm_session_stream *in, elm_error *err) {
    uint32_t expected, found;
    size_t n = in->left < ELM_SESSION_CHUNK_BYTES ? (size_t)in->left : ELM_SESSION_CHUNK_BYTES;
    uint64_t offset = ELM_SESSION_HEADER_BYTES +
                      (uint64_t)in->index * (ELM_SESSION_CHUNK_BYTES + sizeof(uint32_t));
    ELM_TRY(elm_file_read_at(&in->file, offset, in->chunk, n + sizeof expected, err));
    memcpy(&expected, in->chunk + n, sizeof expected);
    found = elm_chunk_crc(in->index, in->chunk, n);
    if (found != expected) {
        return elm_fail(err, ELM_MALFORMED,
                        "'%s': chunk %u at byte %llu is damaged: checksum %08x, expected %08x",
                        in->file.path, in->index, (unsigned long long)offset, found, expected);
    }
    in->index++;
    in->left -= n;
    in->at = 0;
    in->size = n;
    return ELM_OK;
}

/* The next n bytes of the body, into `out` or, when that is NULL, nowhere. */
static elm_status get(elm_session_stream *in, void *out, size_t n, elm_error *err) {
    uint8_t *to = out;
    while (n > 0) {
        if (in->at == in->size) {
            if (in->left == 0) return elm_fail(err, ELM_INTERNAL, "a session's body is too short");
            ELM_TRY(next_chunk(in, err));
        }
        size_t take = in->size - in->at < n ? in->size - in->at : n;
        if (to) {
            memcpy(to, in->chunk + in->at, take);
            to += take;
        }
        in->at += take;
        n -= take;
    }
    return ELM_OK;
}

static elm_status get_tokens(elm_session_stream *in, elm_session *s, const elm_session_header *h,
                             elm_error *err) {
    ELM_TRY(get(in, s->tokens, h->n_tokens * sizeof *s->tokens, err));
    for (uint32_t i = 0; i < h->n_tokens; i++) {
        if (s->tokens[i] < 0 || (uint32_t)s->tokens[i] >= s->model->meta.vocab_size) {
            return elm_fail(err, ELM_MALFORMED,
                            "'%s': token %u is %d, outside the vocabulary of %u", in->file.path, i,
                            s->tokens[i], s->model->meta.vocab_size);
        }
    }
    ELM_TRY(get(in, s->was_generated, h->n_tokens, err));
    s->n_tokens = h->n_tokens;
    return ELM_OK;
}

static elm_status get_conversation(elm_session_stream *in, elm_session *s,
                                   const elm_session_header *h, elm_error *err) {
    char *turns = NULL;
    ELM_TRY(elm_alloc(in->alloc, h->conversation_bytes, "the conversation", &turns, err));
    elm_status status = get(in, turns, h->conversation_bytes, err);
    if (status == ELM_OK)
        status = elm_session_set_conversation(s, turns, h->conversation_bytes, err);
    elm_free(in->alloc, turns, h->conversation_bytes);
    return status;
}

static elm_status get_rows(elm_session_stream *in, elm_session *s, uint32_t i, uint32_t n_run,
                           elm_error *err) {
    const elm_state *state = &s->model->module->states[i];
    elm_kv shape = {.dtype = s->config.kv, .n_heads = state->n_heads, .k_dim = state->k_dim};
    shape.v_dim = state->v_dim;
    size_t row = elm_kv_position_bytes(&shape);
    uint8_t *block = NULL;
    if (s->states[i].capacity == 0) return get(in, NULL, n_run * row, err); /* of a draft head */
    ELM_TRY(elm_alloc_array(in->alloc, ELM_SESSION_ROWS_BLOCK, row, "rows", &block, err));
    elm_status status = ELM_OK;
    for (uint32_t at = 0; at < n_run && status == ELM_OK; at += ELM_SESSION_ROWS_BLOCK) {
        uint32_t n = n_run - at < ELM_SESSION_ROWS_BLOCK ? n_run - at : ELM_SESSION_ROWS_BLOCK;
        status = get(in, block, n * row, err);
        if (status == ELM_OK) elm_kv_unpack(&s->states[i], at, n, block);
    }
    elm_free(in->alloc, block, ELM_SESSION_ROWS_BLOCK * row);
    return status;
}

static elm_status get_mark(elm_session_stream *in, elm_session *s, uint32_t n_run, elm_error *err) {
    uint64_t bytes = elm_mark_bytes(&s->config);
    uint8_t *mark = NULL;
    ELM_TRY(elm_alloc(in->alloc, bytes, "a mark", &mark, err));
    elm_status status = get(in, mark, bytes, err);
    if (status == ELM_OK) elm_mark_unpack(s, n_run, mark);
    elm_free(in->alloc, mark, bytes);
    return status;
}

/* Positions ascend and lie in what was run; without a slot for it a snapshot is read past. */
static elm_status get_snapshot(elm_session_stream *in, elm_session *s, elm_error *err) {
    elm_snapshots *all = &s->snapshots;
    size_t logits = s->model->meta.vocab_size * sizeof(float);
    uint32_t numbers[2] = {0, 0}, before = all->n > 0 ? all->slots[all->n - 1].position : 0;
    ELM_TRY(get(in, numbers, sizeof numbers, err));
    if (numbers[0] > 1 || numbers[1] <= before || numbers[1] > s->n_run) {
        return elm_fail(err, ELM_MALFORMED, "'%s': a snapshot of position %u; expected %u..%u",
                        in->file.path, numbers[1], before + 1, s->n_run);
    }
    elm_snapshot *slot = all->n < all->n_slots ? &all->slots[all->n] : NULL;
    ELM_TRY(get(in, slot ? slot->memory : NULL, elm_mark_bytes(&s->config) + logits, err));
    if (!slot) return ELM_OK;
    slot->position = numbers[1];
    slot->has_logits = numbers[0] != 0;
    all->n++;
    return ELM_OK;
}

static elm_status get_body(elm_session_stream *in, elm_session *s, const elm_session_header *h,
                           elm_error *err) {
    elm_state_config file = elm_session_header_config(h, s->model);
    ELM_TRY(get_tokens(in, s, h, err));
    ELM_TRY(get_conversation(in, s, h, err));
    if (h->has_logits) {
        const elm_place *place = &s->model->plan.places[s->model->graph->output];
        float *logits = (float *)(void *)(s->scratch + place->offset);
        ELM_TRY(get(in, logits, s->model->meta.vocab_size * sizeof *logits, err));
        s->logits = logits;
    }
    for (uint32_t i = 0; i < s->model->module->n_states; i++) {
        const elm_state *state = &s->model->module->states[i];
        if (!elm_state_is_used(&file, i) || state->kind != ELM_STATE_KV || state->window) continue;
        ELM_TRY(get_rows(in, s, i, h->n_run, err));
    }
    ELM_TRY(get_mark(in, s, h->n_run, err));
    for (uint32_t i = 0; i < h->n_snapshots; i++) ELM_TRY(get_snapshot(in, s, err));
    for (uint32_t i = 0; i < s->n_tokens; i++) s->was_generated[i] = s->was_generated[i] != 0;
    elm_session_mark_tokens(s);
    s->sampler.n_drawn = h->n_drawn;
    return ELM_OK;
}

/* ---- the header ---- */

static elm_status read_header(elm_session_stream *in, elm_session_header *h, elm_error *err) {
    uint8_t bytes[ELM_SESSION_HEADER_BYTES];
    const char *path = in->file.path;
    ELM_TRY(elm_file_read_at(&in->file, 0, bytes, sizeof bytes, err));
    elm_reader r = elm_reader_of(elm_span_of(bytes, sizeof bytes));
    if (memcmp(elm_read_bytes(&r, 8), ELM_SESSION_MAGIC, 8) != 0)
        return elm_fail(err, ELM_MALFORMED, "'%s' is no saved session", path);
    uint32_t version = elm_read_u32(&r);
    if (version != ELM_SESSION_VERSION) {
        return elm_fail(err, ELM_UNSUPPORTED, "'%s' is a session of version %u; this is version %d",
                        path, version, ELM_SESSION_VERSION);
    }
    elm_reader end = elm_reader_of(elm_span_of(bytes + sizeof bytes - 4, 4));
    uint32_t expected = elm_read_u32(&end), found = elm_crc32c(0, bytes, sizeof bytes - 4);
    if (found != expected) {
        return elm_fail(err, ELM_MALFORMED,
                        "'%s': the header is damaged: checksum %08x, "
                        "expected %08x",
                        path, found, expected);
    }
    memcpy(h->model, elm_read_bytes(&r, sizeof h->model), sizeof h->model);
    memcpy(h->name, elm_read_bytes(&r, sizeof h->name), sizeof h->name);
    h->kv = elm_read_u32(&r);
    h->n_context = elm_read_u32(&r);
    h->n_tokens = elm_read_u32(&r);
    h->n_run = elm_read_u32(&r);
    h->has_logits = elm_read_u32(&r);
    h->with_draft = elm_read_u32(&r);
    h->n_snapshots = elm_read_u32(&r);
    h->conversation_bytes = elm_read_u32(&r);
    h->n_drawn = elm_read_u64(&r);
    h->sampling.struct_size = sizeof h->sampling;
    h->sampling.temperature = elm_read_f32(&r);
    h->sampling.top_k = elm_read_i32(&r);
    h->sampling.top_p = elm_read_f32(&r);
    h->sampling.min_p = elm_read_f32(&r);
    h->sampling.repetition_penalty = elm_read_f32(&r);
    h->sampling.presence_penalty = elm_read_f32(&r);
    h->sampling.frequency_penalty = elm_read_f32(&r);
    h->sampling.seed = elm_read_u64(&r);
    return ELM_OK;
}

/* What a hostile file may say is refused here; what is left decides sizes. */
static elm_status check_header(const elm_session_stream *in, const elm_session_header *h,
                               const elm_model *m, elm_error *err) {
    uint8_t identity[32];
    char name[ELM_SESSION_NAME_BYTES + 1] = "";
    uint64_t size;
    const char *path = in->file.path;
    elm_model_identity(m, identity);
    if (memcmp(identity, h->model, sizeof identity) != 0) {
        for (size_t i = 0; i < sizeof h->name && h->name[i]; i++)
            name[i] = h->name[i] >= 32 && h->name[i] < 127 ? h->name[i] : '?';
        return elm_fail(err, ELM_INVALID_ARGUMENT,
                        "'%s' was made by another model ('%s', %02x%02x%02x%02x; this one is "
                        "%02x%02x%02x%02x): load it with that one",
                        path, name, h->model[0], h->model[1], h->model[2], h->model[3], identity[0],
                        identity[1], identity[2], identity[3]);
    }
    bool kv_holds = h->kv == ELM_F32 || h->kv == ELM_F16 || h->kv == ELM_I8;
    if (!kv_holds || h->n_context < 1 || h->n_context > ELM_MAX_DIM || h->n_tokens > h->n_context ||
        h->n_run > h->n_tokens || h->has_logits > 1 || h->with_draft > 1 ||
        (h->has_logits && h->n_run != h->n_tokens) || h->n_snapshots > ELM_SESSION_SNAPSHOTS ||
        h->conversation_bytes > ELM_MAX_CONVERSATION_BYTES) {
        return elm_fail(err, ELM_MALFORMED, "'%s': the header's numbers do not hold together",
                        path);
    }
    ELM_TRY(elm_sampling_check(&h->sampling, err));
    ELM_TRY(elm_file_size(&in->file, &size, err));
    uint64_t expected = elm_session_file_bytes(elm_session_body_bytes(h, m));
    if (size == expected) return ELM_OK;
    return elm_fail(err, ELM_MALFORMED, "'%s' has %llu bytes; expected %llu", path,
                    (unsigned long long)size, (unsigned long long)expected);
}

static const char *kv_text(uint32_t dtype) {
    return elm_dtype_get(dtype)->text;
}

/* The caller's options, with the file's numbers where they leave a choice. */
static elm_status merge_options(const elm_session_header *h, const elm_model *m, const char *path,
                                elm_session_options *o, elm_error *err) {
    if (o->kv != ELM_KV_DEFAULT && elm_kv_dtype(m, o->kv) != h->kv) {
        return elm_fail(err, ELM_INVALID_ARGUMENT,
                        "'%s' holds a KV cache in %s, and %s is asked for: leave the type out to "
                        "go on as it was",
                        path, kv_text(h->kv), kv_text(elm_kv_dtype(m, o->kv)));
    }
    o->kv = h->kv == ELM_F32 ? ELM_KV_F32 : h->kv == ELM_F16 ? ELM_KV_F16 : ELM_KV_I8;
    if (o->n_context == 0) { /* no more than the model was made for, whatever the file says */
        uint32_t most = m->meta.context_length > h->n_tokens ? m->meta.context_length : h->n_tokens;
        o->n_context = h->n_context < most ? h->n_context : most;
    }
    if (o->n_context < h->n_tokens) {
        return elm_fail(err, ELM_CONTEXT_FULL,
                        "'%s' has %u tokens, which do not fit a context of "
                        "%u",
                        path, h->n_tokens, o->n_context);
    }
    if (o->sampling.struct_size == 0) o->sampling = h->sampling;
    return ELM_OK;
}

static elm_status load(elm_session_stream *in, elm_model *m, elm_session_options *o,
                       elm_session **out, elm_error *err) {
    elm_session_header h = {0};
    ELM_TRY(read_header(in, &h, err));
    ELM_TRY(check_header(in, &h, m, err));
    ELM_TRY(merge_options(&h, m, in->file.path, o, err));
    in->left = elm_session_body_bytes(&h, m);
    elm_state_config file = elm_session_header_config(&h, m);
    uint64_t mark = elm_mark_bytes(&file);
    ELM_TRY(elm_alloc(in->alloc, ELM_SESSION_CHUNK_BYTES + sizeof(uint32_t), "loading a session",
                      &in->chunk, err));
    ELM_TRY(elm_session_create(m, o, out, err));
    if (mark != elm_mark_bytes(&(*out)->config)) {
        return elm_fail(err, ELM_UNSUPPORTED,
                        "'%s' was saved with other draft options: load it "
                        "with those",
                        in->file.path);
    }
    return get_body(in, *out, &h, err);
}

elm_status elm_session_load(elm_model *model, const char *path, const elm_session_options *options,
                            elm_session **out, elm_error *err) {
    elm_session_options o;
    elm_session_stream in = {.alloc = model->platform.alloc};
    *out = NULL;
    elm_options_copy(&o, sizeof o, options);
    ELM_TRY(elm_file_open(&model->platform, path, ELM_OPEN_READ, &in.file, err));
    elm_status status = load(&in, model, &o, out, err);
    elm_session_stream_close(&in);
    if (status == ELM_OK) return ELM_OK;
    elm_session_free(*out);
    *out = NULL;
    return status;
}
