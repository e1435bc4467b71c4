/* session_model.h - a tiny random language model as an .elm file in memory, for tests of sessions.
 *
 *   embedding -> per layer { norm, mixer, residual, norm, mlp, residual } -> norm, rows, head
 *
 * The mixer of layer i is mixers[i]: F full attention, W attention in a sliding window, G a
 * convolution and a gated delta net. Ids are bytes; byte 0 ends a text. Asserts on every failure.
 */
#ifndef TESTS_SESSION_MODEL_H
#define TESTS_SESSION_MODEL_H

#include <math.h>
#include <stdio.h>

#include "backend/kv.h"
#include "elm/writer.h"
#include "fault_io.h"
#include "ir/build.h"
#include "ir/p16.h"
#include "parse/tokenizer_build.h"
#include "runtime/session.h"

enum {
    TM_HIDDEN = 32,
    TM_HEADS = 2,
    TM_DIM = 16,
    TM_FF = 48,
    TM_WINDOW = 24,
    TM_IDS = 256,
    TM_VOCAB = 272, /* the last 16 rows of the logits are padding */
    TM_CONTEXT = 4096,
    TM_MAX_TENSORS = 96,
};

typedef struct session_model {
    const char *mixers; /* "FF", "WF", "GF" ... */
    uint64_t seed;
    uint32_t n_ids; /* 0: TM_IDS */
    bool draft;     /* with a draft graph */
    bool with_template;
    elm_arena arena;
    elm_builder b;
    elm_tensor tensors[TM_MAX_TENSORS];
    uint32_t n_tensors;
} session_model;

static inline float tm_random(session_model *m) {
    m->seed = m->seed * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(m->seed >> 40) / (double)(1 << 23) - 1.0);
}

/* A weight of random numbers in middle +- range. */
static inline elm_value_id tm_weight(session_model *m, elm_layout layout, uint32_t n_dims,
                                     uint32_t rows, uint32_t cols, float middle, float range) {
    size_t padded = layout == ELM_LAYOUT_P16 ? (rows + 15u) / 16u * 16u : rows;
    size_t n = n_dims == 2 ? padded * cols : cols;
    float *values = elm_arena_alloc(&m->arena, n * sizeof *values, 64);
    assert(values && m->n_tensors < TM_MAX_TENSORS);
    for (size_t i = 0; i < n; i++) values[i] = middle + range * tm_random(m);
    uint32_t index = m->n_tensors++, dims[2] = {rows, cols};
    if (n_dims == 1) dims[0] = cols;
    char *name = elm_arena_printf(&m->arena, "w%u", index);
    m->tensors[index] = (elm_tensor){.name = name,
                                     .dtype = ELM_F32,
                                     .layout = layout,
                                     .n_dims = n_dims,
                                     .dims = {dims[0], n_dims == 2 ? dims[1] : 0},
                                     .codes_bytes = n * sizeof(float),
                                     .codes = (const uint8_t *)values};
    return elm_build_weight(&m->b, index, name, ELM_F32, n_dims, dims);
}

static inline elm_value_id tm_vector(session_model *m, uint32_t n, float middle, float range) {
    return tm_weight(m, ELM_LAYOUT_ROWS, 1, 0, n, middle, range);
}

static inline elm_value_id tm_linear(session_model *m, const char *name, elm_value_id x,
                                     uint32_t rows, uint32_t cols) {
    elm_value_id w = tm_weight(m, ELM_LAYOUT_P16, 2, rows, cols, 0.0f, sqrtf(3.0f / (float)cols));
    return elm_build_linear(&m->b, name, x, w, ELM_NO_VALUE, ELM_ACT_QUANT_NONE);
}

static inline elm_value_id tm_norm(session_model *m, const char *name, elm_value_id x) {
    return elm_build_rms_norm(&m->b, name, x, tm_vector(m, TM_HIDDEN, 1.0f, 0.4f), 1e-6f);
}

static inline elm_value_id tm_heads(session_model *m, const char *name, elm_value_id x,
                                    int32_t start) {
    elm_dim dims[3] = {ELM_DIM_T, TM_HEADS, TM_DIM};
    x = elm_build_slice(&m->b, elm_arena_printf(&m->arena, "%s_part", name), x, start,
                        TM_HEADS * TM_DIM);
    return elm_build_reshape(&m->b, name, x, 3, dims);
}

static inline elm_value_id tm_attention(session_model *m, elm_value_id x, uint32_t layer,
                                        uint32_t window, elm_value_id freq) {
    elm_builder *b = &m->b;
    const int32_t n = TM_HEADS * TM_DIM;
    elm_value_id positions = elm_build_input(b, ELM_INPUT_POSITIONS);
    elm_value_id qkv = tm_linear(m, "qkv", x, 3 * n, TM_HIDDEN);
    elm_value_id q = tm_heads(m, "q", qkv, 0), k = tm_heads(m, "k", qkv, n);
    elm_value_id v = tm_heads(m, "v", qkv, 2 * n);
    q = elm_build_rope(b, "q_rope", q, positions, freq, TM_DIM / 2, 1.0f);
    k = elm_build_rope(b, "k_rope", k, positions, freq, TM_DIM / 2, 1.0f);
    elm_value_id kv = elm_build_state(b, ELM_STATE_KV, layer, TM_HEADS, TM_DIM, TM_DIM, window);
    elm_build_kv_write(b, k, v, kv);
    elm_value_id a = elm_build_attention(b, q, kv, 0.25f, (int32_t)window, 0.0f);
    elm_dim flat[2] = {ELM_DIM_T, n};
    a = elm_build_reshape(b, "flat", a, 2, flat);
    return tm_linear(m, "o", a, TM_HIDDEN, (uint32_t)n);
}

/* One key head, TM_HEADS value heads. */
static inline elm_value_id tm_delta_net(session_model *m, elm_value_id x, uint32_t layer) {
    elm_builder *b = &m->b;
    const uint32_t n = TM_HEADS * TM_DIM, channels = 2 * TM_DIM + n;
    elm_value_id c = tm_linear(m, "in", x, channels, TM_HIDDEN);
    elm_value_id taps = tm_weight(m, ELM_LAYOUT_ROWS, 2, 4, channels, 0.0f, 0.8f);
    elm_value_id conv = elm_build_state(b, ELM_STATE_CONV, layer, 1, 3, channels, 0);
    c = elm_build_causal_conv1d(b, "conv", c, taps, conv, ELM_SILU);
    elm_value_id beta = tm_linear(m, "b", x, TM_HEADS, TM_HIDDEN);
    elm_value_id alpha = tm_linear(m, "a", x, TM_HEADS, TM_HIDDEN);
    elm_value_id rate = tm_vector(m, TM_HEADS, -0.5f, 0.4f);
    elm_value_id bias = tm_vector(m, TM_HEADS, 0.0f, 0.5f);
    elm_value_id s = elm_build_state(b, ELM_STATE_RECURRENT, layer, TM_HEADS, TM_DIM, TM_DIM, 0);
    elm_value_id o =
        elm_build_gated_delta_net(b, "gdn", c, beta, alpha, rate, bias, s, 0.25f, 1e-6f);
    return tm_linear(m, "o", o, TM_HIDDEN, n);
}

static inline elm_value_id tm_layer(session_model *m, elm_value_id x, char mixer, uint32_t layer,
                                    elm_value_id freq) {
    elm_builder *b = &m->b;
    elm_builder_scope(b, "layers.%u", layer);
    elm_value_id h = tm_norm(m, "norm1", x);
    elm_value_id a = mixer == 'G' ? tm_delta_net(m, h, layer)
                                  : tm_attention(m, h, layer, mixer == 'W' ? TM_WINDOW : 0, freq);
    x = elm_build_add(b, "add1", x, a);
    h = tm_linear(m, "up", tm_norm(m, "norm2", x), 2 * TM_FF, TM_HIDDEN);
    elm_value_id gate = elm_build_slice(b, "gate", h, 0, TM_FF);
    elm_value_id up = elm_build_slice(b, "up_half", h, TM_FF, TM_FF);
    h = tm_linear(m, "down", elm_build_glu(b, gate, up, ELM_SILU), TM_HIDDEN, TM_FF);
    x = elm_build_add(b, "add2", x, h);
    elm_builder_scope(b, NULL);
    return x;
}

static inline elm_value_id tm_frequencies(session_model *m) {
    elm_value_id freq = tm_vector(m, TM_DIM / 2, 0.0f, 0.0f);
    float *values = (float *)(uintptr_t)m->tensors[m->n_tensors - 1].codes;
    for (uint32_t i = 0; i < TM_DIM / 2; i++)
        values[i] = powf(10000.0f, -(float)i / (float)(TM_DIM / 2));
    return freq;
}

/* concat of the next token's embedding and the hidden row in front of it, one layer, the same head.
 */
static inline void tm_draft_graph(session_model *m, uint32_t table, uint32_t layer) {
    elm_builder *b = &m->b;
    elm_error err;
    uint32_t dims[2] = {TM_VOCAB, TM_HIDDEN};
    elm_builder_next_graph(b, "draft");
    elm_value_id freq = tm_frequencies(m);
    elm_value_id w = elm_build_weight(b, table, m->tensors[table].name, ELM_F32, 2, dims);
    elm_value_id e = elm_build_embedding(b, elm_build_input(b, ELM_INPUT_TOKENS), w, 1.0f);
    elm_value_id h = elm_build_load_hidden(b, elm_build_hidden_input(b, TM_HIDDEN));
    elm_value_id x =
        tm_linear(m, "fc", elm_build_concat(b, "both", e, h), TM_HIDDEN, 2 * TM_HIDDEN);
    h = tm_norm(m, "norm", tm_layer(m, x, 'F', layer, freq));
    elm_value_id rows = elm_build_gather_rows(b, h, elm_build_input(b, ELM_INPUT_ROWS));
    elm_value_id logits = elm_build_linear(b, "head", rows, w, ELM_NO_VALUE, ELM_ACT_QUANT_NONE);
    if (elm_builder_finish(b, logits, h, &err) != ELM_OK) fprintf(stderr, "%s\n", err.message);
}

static inline void tm_graphs(session_model *m) {
    elm_builder *b = &m->b;
    elm_error err = {0};
    assert(elm_builder_init(b, &m->arena, "text", &err) == ELM_OK);
    elm_value_id table = tm_weight(m, ELM_LAYOUT_P16, 2, TM_VOCAB, TM_HIDDEN, 0.0f, 1.0f);
    elm_value_id freq = tm_frequencies(m);
    elm_value_id x = elm_build_embedding(b, elm_build_input(b, ELM_INPUT_TOKENS), table, 1.0f);
    uint32_t n_layers = (uint32_t)strlen(m->mixers);
    for (uint32_t i = 0; i < n_layers; i++) x = tm_layer(m, x, m->mixers[i], i, freq);
    elm_value_id h = tm_norm(m, "norm", x);
    elm_value_id rows = elm_build_gather_rows(b, h, elm_build_input(b, ELM_INPUT_ROWS));
    elm_value_id logits = tm_linear(m, "head", rows, TM_VOCAB, TM_HIDDEN);
    elm_status status = elm_builder_finish(b, logits, m->draft ? h : ELM_NO_VALUE, &err);
    if (status != ELM_OK) fprintf(stderr, "%s\n", err.message);
    assert(status == ELM_OK);
    if (m->draft) tm_draft_graph(m, 0, n_layers);
}

/* ---- text ---- */

/* A tokenizer.json whose ids are the bytes, in the printable stand-ins of byte-level BPE. */
static inline void tm_tokenizer(const session_model *m, elm_buf *out) {
    elm_buf json;
    elm_arena arena;
    const elm_json *parsed;
    uint32_t extra = 0, n = m->n_ids ? m->n_ids : TM_IDS;
    elm_buf_init(&json, elm_allocator_default(), 1 << 20);
    elm_arena_init(&arena, elm_allocator_default(), 0);
    elm_buf_str(&json, "{\"version\": \"1.0\", \"added_tokens\": [], \"normalizer\": null, "
                       "\"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
                       "\"trim_offsets\": true, \"use_regex\": false}, \"post_processor\": null, "
                       "\"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, "
                       "\"trim_offsets\": true, \"use_regex\": true}, \"model\": {\"type\": "
                       "\"BPE\", \"dropout\": null, \"unk_token\": null, "
                       "\"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, "
                       "\"fuse_unk\": false, \"byte_fallback\": false, \"ignore_merges\": false, "
                       "\"vocab\": {");
    for (uint32_t byte = 0; byte < n; byte++) {
        bool keep = (byte >= 33 && byte < 127) || (byte >= 161 && byte < 173) || byte >= 174;
        uint32_t c = keep ? byte : 256 + extra;
        extra += !keep;
        elm_buf_printf(&json, "%s\"\\u%04x\": %u", byte ? ", " : "", c, byte);
    }
    elm_buf_str(&json, "}, \"merges\": []}}");
    elm_error err;
    elm_status status =
        elm_json_parse(elm_buf_span(&json), "tokenizer.json", NULL, &arena, &parsed, &err);
    if (status == ELM_OK)
        status = elm_tokenizer_build_hf(elm_allocator_default(), parsed, out, &err);
    if (status != ELM_OK) fprintf(stderr, "%s\n", err.message);
    assert(status == ELM_OK);
    elm_arena_free(&arena);
    elm_buf_free(&json);
}

static const char tm_template[] =
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}";

/* ---- the file ---- */

/* Writes the model as `path` of the platform. */
static inline void session_model_write(session_model *m, const elm_platform *p, const char *path) {
    elm_buf graph, tokenizer;
    elm_writer *w = NULL;
    elm_error err = {0};
    char meta[512];
    elm_arena_init(&m->arena, elm_allocator_default(), 0);
    elm_buf_init(&graph, elm_allocator_default(), 1 << 20);
    elm_buf_init(&tokenizer, elm_allocator_default(), 1 << 24);
    tm_graphs(m);
    elm_module_write(m->b.module, &graph);
    tm_tokenizer(m, &tokenizer);
    snprintf(meta, sizeof meta,
             "{\"architecture\": \"tiny\", \"name\": \"%s\", \"vocab_size\": %d, "
             "\"n_real_tokens\": %u, \"context_length\": %d, \"hidden_size\": %d, \"n_layers\": "
             "%d, \"float_weights\": true, \"eos_ids\": [0], \"sampling\": {\"temperature\": 0}}",
             m->mixers, TM_VOCAB, m->n_ids ? m->n_ids : TM_IDS, TM_CONTEXT, TM_HIDDEN,
             (int)strlen(m->mixers));
    elm_status status = elm_writer_open(p, path, 0, &w, &err);
    assert(status == ELM_OK);
    status = elm_writer_section(w, ELM_SECTION_META, elm_span_str(meta), &err);
    if (status == ELM_OK)
        status = elm_writer_section(w, ELM_SECTION_GRAPH, elm_buf_span(&graph), &err);
    if (status == ELM_OK)
        status = elm_writer_section(w, ELM_SECTION_TOKENIZER, elm_buf_span(&tokenizer), &err);
    if (status == ELM_OK && m->with_template)
        status = elm_writer_section(w, ELM_SECTION_TEMPLATE, elm_span_str(tm_template), &err);
    if (status == ELM_OK)
        status = elm_writer_begin(w, ELM_SECTION_WEIGHTS, ELM_MIN_CHUNK_BYTES, NULL, &err);
    for (uint32_t i = 0; status == ELM_OK && i < m->n_tensors; i++)
        status = elm_writer_tensor(w, &m->tensors[i], &err);
    if (status == ELM_OK) status = elm_writer_end(w, &err);
    if (status == ELM_OK) status = elm_writer_tensors(w, &err);
    if (status == ELM_OK) status = elm_writer_finish(w, NULL, &err);
    if (status != ELM_OK) fprintf(stderr, "%s\n", err.message);
    assert(status == ELM_OK);
    elm_buf_free(&tokenizer);
    elm_buf_free(&graph);
    elm_arena_free(&m->arena);
    m->n_tensors = 0;
}

/* ---- opening it ---- */

/* A model in a file system of its own. Close with session_model_close. */
typedef struct open_model {
    fault_io fs;
    elm_model *model;
} open_model;

static inline elm_status session_model_open_file(fault_io *fs, const char *path,
                                                 elm_model_options options, elm_model **out,
                                                 elm_error *err) {
    elm_model_hooks hooks = {.platform = &fs->platform};
    options.struct_size = sizeof options;
    if (options.n_threads == 0) options.n_threads = 1;
    if (options.max_batch_tokens == 0) options.max_batch_tokens = 64;
    if (!options.backends) options.backends = "cpu,ref"; /* ref takes what cpu does not run */
    return elm_model_open_with(out, path, &options, &hooks, err);
}

static inline void session_model_open_with(open_model *o, const char *mixers,
                                           elm_model_options options) {
    session_model m = {.mixers = mixers, .seed = 7, .with_template = true};
    elm_error err = {0};
    m.draft = strchr(mixers, '+') != NULL; /* "GF+": with a draft graph */
    char plain[16];
    snprintf(plain, sizeof plain, "%.*s", (int)strcspn(mixers, "+"), mixers);
    m.mixers = plain;
    fault_io_init(&o->fs);
    session_model_write(&m, &o->fs.platform, "m.elm");
    elm_status status = session_model_open_file(&o->fs, "m.elm", options, &o->model, &err);
    if (status != ELM_OK) fprintf(stderr, "%s\n", err.message);
    assert(status == ELM_OK);
}

static inline void session_model_open(open_model *o, const char *mixers) {
    session_model_open_with(o, mixers, (elm_model_options){0});
}

static inline void session_model_close(open_model *o) {
    elm_model_close(o->model);
    fault_io_free(&o->fs);
}

/* ---- prompts ---- */

/* `n` ids that differ from seed to seed, none of them an end token. */
static inline void tm_prompt(int32_t *ids, uint32_t n, uint32_t seed) {
    for (uint32_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        ids[i] = (int32_t)(32 + (seed >> 24) % 90);
    }
}

#endif
