/* provenance.c - see provenance.h; convert. */
#include "convert/provenance.h"

#include "base/hash.h"

#include <stdio.h>
#include <string.h>

enum {
    N_SAMPLES = 64,
    SAMPLE_BYTES = 4096,
    READ_BYTES = 1 << 16,
    MAX_SMALL_FILE_BYTES = 1 << 30,
};

/* The files of a folder that decide what the converter writes, besides the weights. */
static const char *const small_files[] = {
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "chat_template.json",
    "model.safetensors.index.json",
};

static void put_hash(elm_json_writer *w, const char *key, elm_sha256 *h) {
    uint8_t sha[32];
    char text[65];
    elm_sha256_final(h, sha);
    for (int i = 0; i < 32; i++) snprintf(text + 2 * i, 3, "%02x", sha[i]);
    elm_json_put_str(w, key, text);
}

/* Bytes [at, at + size) of a file into the hash. */
static elm_status hash_range(const elm_file *file, uint64_t at, uint64_t size, elm_sha256 *h,
                             elm_error *err) {
    uint8_t buffer[READ_BYTES];
    for (size_t n; size > 0; at += n, size -= n) {
        n = size < sizeof buffer ? (size_t)size : sizeof buffer;
        ELM_TRY(elm_file_read_at(file, at, buffer, n, err));
        elm_sha256_update(h, buffer, n);
    }
    return ELM_OK;
}

/* Closed when the folder has no such file. */
static elm_status open_small(const elm_source *s, const char *folder, const char *name,
                             elm_arena *arena, elm_file *out, elm_error *err) {
    elm_path_kind kind;
    char *path = elm_path_join(arena, folder, name);
    memset(out, 0, sizeof *out);
    if (!path) return elm_fail_oom(err, strlen(name), "a path");
    ELM_TRY(elm_path_kind_of(s->platform, path, &kind, err));
    return kind == ELM_PATH_FILE ? elm_file_open(s->platform, path, ELM_OPEN_READ, out, err)
                                 : ELM_OK;
}

static elm_status small_file(const elm_source *s, const char *folder, const char *name,
                             elm_arena *arena, elm_json_writer *w, elm_error *err) {
    elm_file file;
    elm_sha256 h;
    uint64_t size = 0;
    ELM_TRY(open_small(s, folder, name, arena, &file, err));
    if (!file.handle) return ELM_OK;
    elm_status status = elm_file_size(&file, &size, err);
    elm_sha256_init(&h);
    if (status == ELM_OK && size > MAX_SMALL_FILE_BYTES)
        status = elm_fail(err, ELM_MALFORMED, "'%s' has %llu bytes; at most %d are accepted",
                          file.path, (unsigned long long)size, MAX_SMALL_FILE_BYTES);
    if (status == ELM_OK) status = hash_range(&file, 0, size, &h, err);
    elm_file_close(&file);
    if (status == ELM_OK) put_hash(w, name, &h);
    return status;
}

/* Where the first tensor of a weight file lies: what is before it is its header. */
static uint64_t header_bytes(const elm_checkpoint *ck, uint32_t shard, uint64_t size) {
    uint64_t first = size;
    for (uint32_t i = 0; i < ck->n_tensors; i++) {
        const elm_source_tensor *t = &ck->tensors[i];
        if (t->shard == shard && t->offset < first) first = t->offset;
    }
    return first;
}

static elm_status weight_file(const elm_checkpoint *ck, uint32_t shard, elm_json_writer *w,
                              elm_error *err) {
    const elm_file *file = &ck->shards[shard];
    uint64_t size;
    elm_sha256 header, samples;
    ELM_TRY(elm_file_size(file, &size, err));
    elm_sha256_init(&header);
    elm_sha256_init(&samples);
    ELM_TRY(hash_range(file, 0, header_bytes(ck, shard, size), &header, err));
    if (size <= (uint64_t)N_SAMPLES * SAMPLE_BYTES) {
        ELM_TRY(hash_range(file, 0, size, &samples, err));
    } else {
        uint64_t step = (size - SAMPLE_BYTES) / (N_SAMPLES - 1);
        for (uint64_t i = 0; i < N_SAMPLES; i++)
            ELM_TRY(hash_range(file, i * step, SAMPLE_BYTES, &samples, err));
    }
    elm_json_begin_object(w, NULL);
    elm_json_put_int(w, "bytes", (int64_t)size);
    put_hash(w, "header_sha256", &header);
    put_hash(w, "samples_sha256", &samples);
    elm_json_end_object(w);
    return ELM_OK;
}

elm_status elm_provenance_write(const elm_source *s, const char *path, elm_json_writer *w,
                                elm_error *err) {
    const elm_checkpoint *ck = elm_source_checkpoint(s);
    elm_status status = ELM_OK;
    elm_arena arena;
    elm_json_begin_object(w, "source");
    elm_json_put_str(w, "format", s->is_gguf ? "gguf" : "safetensors");
    elm_json_begin_object(w, "sha256");
    elm_arena_init(&arena, s->platform->alloc, 0);
    for (size_t i = 0; i < sizeof small_files / sizeof small_files[0] && !s->is_gguf; i++) {
        if (status == ELM_OK) status = small_file(s, path, small_files[i], &arena, w, err);
    }
    elm_arena_free(&arena);
    elm_json_end_object(w);
    elm_json_begin_array(w, "weights");
    for (uint32_t i = 0; status == ELM_OK && i < ck->n_shards; i++)
        status = weight_file(ck, i, w, err);
    elm_json_end_array(w);
    elm_json_end_object(w);
    return status;
}

/* ---- what must not be written over ---- */

static elm_status spare(const elm_file *file, const char *target, elm_error *err) {
    bool same;
    ELM_TRY(elm_file_is_at(file, target, &same, err));
    if (!same) return ELM_OK;
    return elm_fail(err, ELM_INVALID_ARGUMENT,
                    "'%s' is a file of the model that is being converted; give another path to "
                    "write",
                    target);
}

elm_status elm_provenance_spare(const elm_source *s, const char *path, const char *target,
                                elm_error *err) {
    const elm_checkpoint *ck = elm_source_checkpoint(s);
    elm_status status = ELM_OK;
    elm_arena arena;
    for (uint32_t i = 0; i < ck->n_shards; i++) ELM_TRY(spare(&ck->shards[i], target, err));
    elm_arena_init(&arena, s->platform->alloc, 0);
    for (size_t i = 0; i < sizeof small_files / sizeof small_files[0] && !s->is_gguf; i++) {
        elm_file file = {0};
        if (status == ELM_OK) status = open_small(s, path, small_files[i], &arena, &file, err);
        if (status == ELM_OK && file.handle) status = spare(&file, target, err);
        elm_file_close(&file);
    }
    elm_arena_free(&arena);
    return status;
}
