/* source_files.h - model folders and GGUF files in memory, made by the test that reads them. Plain
 * malloc. */
#ifndef TESTS_SOURCE_FILES_H
#define TESTS_SOURCE_FILES_H

#include <stdio.h>

#include "base/buf.h"
#include "fault_io.h"
#include "parse/gguf.h"

#define SOURCE_FOLDER "m"

/* As fault_kind, but for the one folder there is. */
static inline int source_kind(void *self, const char *path, elm_path_kind *out) {
    if (strcmp(path, SOURCE_FOLDER) != 0) return fault_kind(self, path, out);
    *out = ELM_PATH_FOLDER;
    return 0;
}

static inline void source_files_init(fault_io *fs) {
    fault_io_init(fs);
    fs->io.kind = source_kind;
}

static inline void source_put_text(fault_io *fs, const char *path, const char *text) {
    fault_io_put(fs, path, text, strlen(text));
}

/* A .safetensors file: the header's length, the header, data. */
static inline void source_put_safetensors(fault_io *fs, const char *path, const char *header,
                                          const void *data, size_t n) {
    elm_buf file;
    elm_buf_init(&file, elm_allocator_default(), 1 << 24);
    elm_buf_u64(&file, strlen(header));
    elm_buf_str(&file, header);
    if (n > 0) elm_buf_append(&file, data, n);
    assert(file.status == ELM_OK);
    fault_io_put(fs, path, file.data, file.size);
    elm_buf_free(&file);
}

/* ---- GGUF ---- */

typedef struct gguf_maker {
    uint32_t version, alignment;
    elm_buf values, tensors, data;
    uint64_t n_values, n_tensors;
} gguf_maker;

static inline void gguf_begin(gguf_maker *m) {
    const elm_allocator *a = elm_allocator_default();
    memset(m, 0, sizeof *m);
    m->version = 3;
    m->alignment = 32;
    elm_buf_init(&m->values, a, 1 << 26);
    elm_buf_init(&m->tensors, a, 1 << 24);
    elm_buf_init(&m->data, a, 1 << 24);
}

static inline void gguf_text(elm_buf *out, const char *text) {
    elm_buf_u64(out, strlen(text));
    elm_buf_str(out, text);
}

static inline void gguf_key(gguf_maker *m, const char *key, elm_gguf_type type) {
    m->n_values++;
    gguf_text(&m->values, key);
    elm_buf_u32(&m->values, (uint32_t)type);
}

static inline void gguf_string(gguf_maker *m, const char *key, const char *value) {
    gguf_key(m, key, ELM_GGUF_STRING);
    gguf_text(&m->values, value);
}

static inline void gguf_u32(gguf_maker *m, const char *key, uint32_t value) {
    gguf_key(m, key, ELM_GGUF_U32);
    elm_buf_u32(&m->values, value);
}

static inline void gguf_f32(gguf_maker *m, const char *key, float value) {
    gguf_key(m, key, ELM_GGUF_F32);
    elm_buf_f32(&m->values, value);
}

static inline void gguf_bool(gguf_maker *m, const char *key, bool value) {
    gguf_key(m, key, ELM_GGUF_BOOL);
    elm_buf_u8(&m->values, value);
}

static inline void gguf_array(gguf_maker *m, const char *key, elm_gguf_type item, uint64_t count) {
    gguf_key(m, key, ELM_GGUF_ARRAY);
    elm_buf_u32(&m->values, (uint32_t)item);
    elm_buf_u64(&m->values, count);
}

static inline void gguf_strings(gguf_maker *m, const char *key, const char *const *texts,
                                uint64_t n) {
    gguf_array(m, key, ELM_GGUF_STRING, n);
    for (uint64_t i = 0; i < n; i++) gguf_text(&m->values, texts[i]);
}

/* A tensor of 1 or 2 dimensions, outermost first: rows 0 for a vector. `data` NULL: zeros. */
static inline void gguf_tensor(gguf_maker *m, const char *name, elm_source_type type, uint64_t rows,
                               uint64_t cols, const void *data) {
    const elm_source_type_info *info = elm_source_type_get(type);
    uint64_t bytes = (rows ? rows : 1) * (cols / info->block_elements) * info->block_bytes;
    m->n_tensors++;
    gguf_text(&m->tensors, name);
    elm_buf_u32(&m->tensors, rows ? 2 : 1);
    elm_buf_u64(&m->tensors, cols);
    if (rows) elm_buf_u64(&m->tensors, rows);
    elm_buf_u32(&m->tensors, (uint32_t)info->gguf);
    elm_buf_u64(&m->tensors, m->data.size);
    for (uint64_t i = 0; i < bytes; i++)
        elm_buf_u8(&m->data, data ? ((const uint8_t *)data)[i] : 0);
    elm_buf_align(&m->data, m->alignment);
}

/* Puts the file there and frees the maker. */
static inline void gguf_end(gguf_maker *m, fault_io *fs, const char *path) {
    elm_buf file;
    elm_buf_init(&file, elm_allocator_default(), 1 << 27);
    elm_buf_str(&file, "GGUF");
    elm_buf_u32(&file, m->version);
    elm_buf_u64(&file, m->n_tensors);
    elm_buf_u64(&file, m->n_values);
    elm_buf_append(&file, m->values.data, m->values.size);
    if (m->tensors.size > 0) elm_buf_append(&file, m->tensors.data, m->tensors.size);
    elm_buf_align(&file, m->alignment);
    if (m->data.size > 0) elm_buf_append(&file, m->data.data, m->data.size);
    assert(file.status == ELM_OK);
    fault_io_put(fs, path, file.data, file.size);
    elm_buf_free(&file);
    elm_buf_free(&m->values);
    elm_buf_free(&m->tensors);
    elm_buf_free(&m->data);
}

/* The metadata and tensors of a whole tiny model: hidden 8, 2 layers, 2 heads of 4 over 1 KV head,
 * 6 tokens. The matrices of q hold their row numbers as the converter stores them. */
static inline void gguf_tiny(gguf_maker *m, const char *architecture) {
    static const char *const tokens[] = {"ab", "<s>", "</s>", "a", "b", "<end_of_turn>"};
    static const char *const merges[] = {"a b"};
    char key[64], name[64];
    float rows[64];
    gguf_begin(m);
    gguf_string(m, "general.architecture", architecture);
    gguf_string(m, "general.name", "tiny");
#define GGUF_TINY_KEY(rest) (snprintf(key, sizeof key, "%s.%s", architecture, rest), key)
    gguf_u32(m, GGUF_TINY_KEY("block_count"), 2);
    gguf_u32(m, GGUF_TINY_KEY("context_length"), 64);
    gguf_u32(m, GGUF_TINY_KEY("embedding_length"), 8);
    gguf_u32(m, GGUF_TINY_KEY("feed_forward_length"), 16);
    gguf_u32(m, GGUF_TINY_KEY("attention.head_count"), 2);
    gguf_u32(m, GGUF_TINY_KEY("attention.head_count_kv"), 1);
    gguf_f32(m, GGUF_TINY_KEY("attention.layer_norm_rms_epsilon"), 1e-5f);
    gguf_f32(m, GGUF_TINY_KEY("rope.freq_base"), 10000.0f);
#undef GGUF_TINY_KEY
    gguf_string(m, "tokenizer.ggml.model", "gpt2");
    gguf_string(m, "tokenizer.ggml.pre", "llama-bpe");
    gguf_strings(m, "tokenizer.ggml.tokens", tokens, 6);
    gguf_strings(m, "tokenizer.ggml.merges", merges, 1);
    gguf_u32(m, "tokenizer.ggml.bos_token_id", 1);
    gguf_u32(m, "tokenizer.ggml.eos_token_id", 2);
    for (int i = 0; i < 64; i++) rows[i] = (float)(i / 8);
    gguf_tensor(m, "token_embd.weight", ELM_SOURCE_F32, 6, 8, NULL);
    gguf_tensor(m, "output_norm.weight", ELM_SOURCE_F32, 0, 8, NULL);
    for (unsigned layer = 0; layer < 2; layer++) {
#define GGUF_TINY_NAME(rest) (snprintf(name, sizeof name, "blk.%u.%s", layer, rest), name)
        gguf_tensor(m, GGUF_TINY_NAME("attn_norm.weight"), ELM_SOURCE_F32, 0, 8, NULL);
        gguf_tensor(m, GGUF_TINY_NAME("ffn_norm.weight"), ELM_SOURCE_F32, 0, 8, NULL);
        gguf_tensor(m, GGUF_TINY_NAME("attn_q.weight"), ELM_SOURCE_F32, 8, 8, rows);
        gguf_tensor(m, GGUF_TINY_NAME("attn_k.weight"), ELM_SOURCE_F32, 4, 8, rows);
        gguf_tensor(m, GGUF_TINY_NAME("attn_v.weight"), ELM_SOURCE_F32, 4, 8, rows);
        gguf_tensor(m, GGUF_TINY_NAME("attn_output.weight"), ELM_SOURCE_F32, 8, 8, rows);
        gguf_tensor(m, GGUF_TINY_NAME("ffn_gate.weight"), ELM_SOURCE_F32, 16, 8, NULL);
        gguf_tensor(m, GGUF_TINY_NAME("ffn_up.weight"), ELM_SOURCE_F32, 16, 8, NULL);
        gguf_tensor(m, GGUF_TINY_NAME("ffn_down.weight"), ELM_SOURCE_F32, 8, 16, NULL);
#undef GGUF_TINY_NAME
    }
}

#endif
