/* tiny_folder.h - a Hugging Face folder of a small random model on disk, for tests that convert
 * one. The tokenizer's ids are the 256 bytes. Tensors may be changed, dropped or added before they
 * are written. */
#ifndef TESTS_TINY_FOLDER_H
#define TESTS_TINY_FOLDER_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/utf8.h"

enum { FOLDER_MAX_TENSORS = 64, FOLDER_PATH_BYTES = 160 };

typedef struct folder_tensor {
    char name[80];
    uint32_t rows, cols; /* cols 0: a vector */
    float *values;
} folder_tensor;

typedef struct tiny_folder {
    char path[FOLDER_PATH_BYTES];
    char elm[FOLDER_PATH_BYTES + 16]; /* a path beside it for the converted file */
    char config[1024];
    folder_tensor tensors[FOLDER_MAX_TENSORS];
    uint32_t n_tensors;
    uint64_t seed;
} tiny_folder;

static inline float folder_random(tiny_folder *f) { /* in [-1, 1) */
    uint64_t z = (f->seed += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (float)(int32_t)(uint32_t)((z ^ (z >> 31)) >> 16) * (1.0f / 2147483648.0f);
}

static inline folder_tensor *folder_add(tiny_folder *f, const char *name, uint32_t rows,
                                        uint32_t cols, float middle, float spread) {
    folder_tensor *t = &f->tensors[f->n_tensors++];
    size_t n = (size_t)rows * (cols ? cols : 1);
    *t = (folder_tensor){.rows = rows, .cols = cols, .values = malloc(n * sizeof(float))};
    snprintf(t->name, sizeof t->name, "%s", name);
    for (size_t i = 0; i < n; i++) t->values[i] = middle + spread * folder_random(f);
    return t;
}

static inline folder_tensor *folder_find(tiny_folder *f, const char *name) {
    for (uint32_t i = 0; i < f->n_tensors; i++)
        if (strcmp(f->tensors[i].name, name) == 0) return &f->tensors[i];
    return NULL;
}

static inline void folder_drop(tiny_folder *f, const char *name) {
    folder_tensor *t = folder_find(f, name);
    free(t->values);
    *t = f->tensors[--f->n_tensors];
}

/* A llama of two layers, hidden 72, 3 heads over 1, head_dim 24, 256 ids. Makes the folder, writes
 * nothing. */
static inline void folder_init(tiny_folder *f, uint64_t seed) {
    enum { HIDDEN = 72, FF = 112, HEADS = 3, KV = 1, DIM = 24, VOCAB = 256, LAYERS = 2 };
    static const struct {
        const char *name;
        uint32_t rows, cols;
    } per_layer[] = {{"input_layernorm", HIDDEN, 0},
                     {"post_attention_layernorm", HIDDEN, 0},
                     {"self_attn.q_proj", HEADS * DIM, HIDDEN},
                     {"self_attn.k_proj", KV * DIM, HIDDEN},
                     {"self_attn.v_proj", KV * DIM, HIDDEN},
                     {"self_attn.o_proj", HIDDEN, HEADS * DIM},
                     {"mlp.gate_proj", FF, HIDDEN},
                     {"mlp.up_proj", FF, HIDDEN},
                     {"mlp.down_proj", HIDDEN, FF}};
    memset(f, 0, sizeof *f);
    f->seed = seed;
    snprintf(f->path, sizeof f->path, "/tmp/elm-folder-XXXXXX");
    if (!mkdtemp(f->path)) abort();
    snprintf(f->elm, sizeof f->elm, "%s/out.elm", f->path);
    snprintf(
        f->config, sizeof f->config,
        "{\"model_type\": \"llama\", \"vocab_size\": %d, \"hidden_size\": %d, "
        "\"intermediate_size\": %d, "
        "\"num_hidden_layers\": %d, \"num_attention_heads\": %d, \"num_key_value_heads\": %d, "
        "\"head_dim\": %d, "
        "\"max_position_embeddings\": 256, \"rms_norm_eps\": 1e-5, \"tie_word_embeddings\": false}",
        VOCAB, HIDDEN, FF, LAYERS, HEADS, KV, DIM);
    folder_add(f, "model.embed_tokens.weight", VOCAB, HIDDEN, 0.0f, 1.7f);
    for (uint32_t l = 0; l < LAYERS; l++)
        for (size_t i = 0; i < sizeof per_layer / sizeof per_layer[0]; i++) {
            char name[80];
            snprintf(name, sizeof name, "model.layers.%u.%s.weight", l, per_layer[i].name);
            bool norm = per_layer[i].cols == 0;
            folder_add(f, name, per_layer[i].rows, per_layer[i].cols, norm ? 1.0f : 0.0f,
                       norm ? 0.5f : 0.2f);
        }
    folder_add(f, "model.norm.weight", HIDDEN, 0, 1.0f, 0.5f);
    folder_add(f, "lm_head.weight", VOCAB, HIDDEN, 0.0f, 0.2f);
}

static inline void folder_write_file(const tiny_folder *f, const char *name, const elm_buf *data) {
    char path[FOLDER_PATH_BYTES + 64];
    snprintf(path, sizeof path, "%s/%s", f->path, name);
    FILE *out = fopen(path, "wb");
    if (!out || data->status != ELM_OK || fwrite(data->data, 1, data->size, out) != data->size)
        abort();
    fclose(out);
}

/* The 256 bytes by their printable stand-ins, as byte-level tokenizers spell them. */
static inline void folder_tokenizer(elm_buf *out) {
    uint32_t extra = 256;
    elm_buf_str(
        out,
        "{\"version\": \"1.0\", \"added_tokens\": [], \"normalizer\": null, \"pre_tokenizer\": "
        "{\"type\": "
        "\"ByteLevel\", \"add_prefix_space\": false, \"use_regex\": false}, \"post_processor\": "
        "null, "
        "\"decoder\": {\"type\": \"ByteLevel\"}, \"model\": {\"type\": \"BPE\", \"merges\": [], "
        "\"vocab\": {");
    for (uint32_t byte = 0; byte < 256; byte++) {
        bool shown = (byte >= 33 && byte < 127) || (byte >= 161 && byte < 173) || byte >= 174;
        uint8_t text[4];
        int n = elm_utf8_encode(shown ? byte : extra++, text);
        elm_buf_str(out, byte ? ", \"" : "\"");
        if (byte == '"' || byte == '\\') elm_buf_str(out, "\\");
        elm_buf_append(out, text, (size_t)n);
        elm_buf_printf(out, "\": %u", byte);
    }
    elm_buf_str(out, "}}}");
}

static inline void folder_weights(const tiny_folder *f, elm_buf *out) {
    elm_buf header;
    size_t at = 0;
    elm_buf_init(&header, elm_allocator_default(), 1 << 20);
    elm_buf_str(&header, "{");
    for (uint32_t i = 0; i < f->n_tensors; i++) {
        const folder_tensor *t = &f->tensors[i];
        size_t bytes = (size_t)t->rows * (t->cols ? t->cols : 1) * sizeof(float);
        elm_buf_printf(&header, "%s\"%s\": {\"dtype\": \"F32\", \"shape\": [%u", i ? ", " : "",
                       t->name, t->rows);
        if (t->cols) elm_buf_printf(&header, ", %u", t->cols);
        elm_buf_printf(&header, "], \"data_offsets\": [%zu, %zu]}", at, at + bytes);
        at += bytes;
    }
    elm_buf_str(&header, "}");
    elm_buf_u64(out, header.size);
    elm_buf_append(out, header.data, header.size);
    for (uint32_t i = 0; i < f->n_tensors; i++)
        elm_buf_append(out, f->tensors[i].values,
                       (size_t)f->tensors[i].rows * (f->tensors[i].cols ? f->tensors[i].cols : 1) *
                           sizeof(float));
    elm_buf_free(&header);
}

/* Writes (again) config.json, tokenizer.json and model.safetensors. */
static inline void folder_write(const tiny_folder *f) {
    elm_buf data;
    elm_buf_init(&data, elm_allocator_default(), 1 << 26);
    elm_buf_str(&data, f->config);
    folder_write_file(f, "config.json", &data);
    elm_buf_clear(&data);
    folder_tokenizer(&data);
    folder_write_file(f, "tokenizer.json", &data);
    elm_buf_clear(&data);
    folder_weights(f, &data);
    folder_write_file(f, "model.safetensors", &data);
    elm_buf_free(&data);
}

/* Removes the files it knows of, and the folder. */
static inline void folder_free(tiny_folder *f) {
    static const char *const names[] = {"config.json", "tokenizer.json", "model.safetensors",
                                        "out.elm", "again.elm"};
    char path[FOLDER_PATH_BYTES + 64];
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", f->path, names[i]);
        unlink(path);
    }
    rmdir(f->path);
    for (uint32_t i = 0; i < f->n_tensors; i++) free(f->tensors[i].values);
    f->n_tensors = 0;
}

#endif
