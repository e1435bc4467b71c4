/* source_gguf.c - a GGUF as the Hugging Face folder that it was made from: config, names, permutations; parse. */
#include "parse/source.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_CONFIG_BYTES = 1 << 20, MAX_KEY = 96, MAX_ROPE_FACTORS = 4096 };

/* How an architecture of GGUF maps to Hugging Face. */
typedef struct architecture {
    const char *gguf, *model_type;
    bool permuted;      /* q and k rows were permuted for interleaved RoPE */
    bool norms_plus_one; /* norms hold w + 1 */
    const char *ffn_norm; /* what blk.N.ffn_norm is called */
} architecture;

static const architecture architectures[] = {
    {"llama", "llama", true, false, "post_attention_layernorm"},
    {"qwen2", "qwen2", false, false, "post_attention_layernorm"},
    {"qwen3", "qwen3", false, false, "post_attention_layernorm"},
    {"gemma3", "gemma3_text", false, true, "pre_feedforward_layernorm"},
};

static const struct {
    const char *gguf, *hf;
} layer_names[] = {
    {"attn_norm", "input_layernorm"},
    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},
    {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"},
    {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"},
    {"post_attention_norm", "post_attention_layernorm"},
    {"post_ffw_norm", "post_feedforward_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},
    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
};

typedef struct reader {
    elm_source *s;
    const architecture *a;
    char key[MAX_KEY];
} reader;

static const char *key_of(reader *r, const char *rest) {
    snprintf(r->key, sizeof r->key, "%s.%s", r->a->gguf, rest);
    return r->key;
}

/* ---- config ---- */

static void put_int(reader *r, elm_json_writer *w, const char *gguf, const char *hf) {
    int64_t value;
    if (elm_gguf_int(&r->s->gguf, key_of(r, gguf), &value)) elm_json_put_int(w, hf, value);
}

static void put_float(reader *r, elm_json_writer *w, const char *gguf, const char *hf) {
    double value;
    if (elm_gguf_float(&r->s->gguf, key_of(r, gguf), &value)) elm_json_put_double(w, hf, value);
}

static void put_rope(reader *r, elm_json_writer *w) {
    elm_span type;
    double factor = 0.0;
    put_float(r, w, "rope.freq_base", "rope_theta");
    put_float(r, w, "rope.freq_base_swa", "rope_local_base_freq");
    bool typed = elm_gguf_string(&r->s->gguf, key_of(r, "rope.scaling.type"), &type);
    bool has_factor = elm_gguf_float(&r->s->gguf, key_of(r, "rope.scaling.factor"), &factor);
    if (!typed || elm_span_equal(type, elm_span_str("none"))) {
        if (!has_factor || factor == 1.0 || typed) return;
        type = elm_span_str("linear");
    }
    elm_json_begin_object(w, "rope_scaling");
    elm_json_put_string(w, "rope_type", type);
    if (has_factor) elm_json_put_double(w, "factor", factor);
    put_int(r, w, "rope.scaling.original_context_length", "original_max_position_embeddings");
    put_float(r, w, "rope.scaling.attn_factor", "attention_factor");
    put_float(r, w, "rope.scaling.yarn_beta_fast", "beta_fast");
    put_float(r, w, "rope.scaling.yarn_beta_slow", "beta_slow");
    elm_json_end_object(w);
}

/* llama.cpp's rule: 1 / sqrt(head_dim), but hidden / heads for the 27B, which has 62 layers. */
static void put_gemma3(reader *r, elm_json_writer *w) {
    int64_t layers = 0, hidden = 0, heads = 1, head_dim = 256;
    (void)elm_gguf_int(&r->s->gguf, key_of(r, "block_count"), &layers);
    (void)elm_gguf_int(&r->s->gguf, key_of(r, "embedding_length"), &hidden);
    (void)elm_gguf_int(&r->s->gguf, key_of(r, "attention.head_count"), &heads);
    (void)elm_gguf_int(&r->s->gguf, key_of(r, "attention.key_length"), &head_dim);
    elm_json_put_int(w, "query_pre_attn_scalar", layers == 62 && heads > 0 ? hidden / heads : head_dim);
    put_int(r, w, "attention.sliding_window_pattern", "sliding_window_pattern");
}

static void write_config(reader *r, elm_json_writer *w, uint64_t vocab_size, bool tied) {
    bool gemma3 = strcmp(r->a->gguf, "gemma3") == 0;
    elm_json_begin_object(w, NULL);
    elm_json_put_str(w, "model_type", r->a->model_type);
    elm_json_put_int(w, "vocab_size", (int64_t)vocab_size);
    elm_json_put_bool(w, "tie_word_embeddings", tied);
    put_int(r, w, "embedding_length", "hidden_size");
    put_int(r, w, "block_count", "num_hidden_layers");
    put_int(r, w, "feed_forward_length", "intermediate_size");
    put_int(r, w, "attention.head_count", "num_attention_heads");
    put_int(r, w, "attention.head_count_kv", "num_key_value_heads");
    put_int(r, w, "attention.key_length", "head_dim");
    put_int(r, w, "context_length", "max_position_embeddings");
    put_int(r, w, "attention.sliding_window", "sliding_window");
    put_float(r, w, "attention.layer_norm_rms_epsilon", "rms_norm_eps");
    put_rope(r, w);
    if (gemma3) put_gemma3(r, w);
    elm_json_end_object(w);
}

static elm_status make_config(reader *r, uint64_t vocab_size, bool tied, elm_error *err) {
    elm_buf text;
    elm_json_writer w;
    elm_buf_init(&text, r->s->platform->alloc, MAX_CONFIG_BYTES);
    elm_json_writer_init(&w, &text, false);
    write_config(r, &w, vocab_size, tied);
    elm_status status = elm_buf_check(&text, "the config", err);
    if (status == ELM_OK) {
        status = elm_json_parse(elm_buf_span(&text), r->s->where, NULL, &r->s->arena, &r->s->config, err);
    }
    elm_buf_free(&text);
    return status;
}

/* ---- names ---- */

static const char *layer_name(reader *r, const char *gguf, size_t n) {
    if (n == strlen("ffn_norm") && memcmp(gguf, "ffn_norm", n) == 0) return r->a->ffn_norm;
    for (size_t i = 0; i < sizeof layer_names / sizeof layer_names[0]; i++) {
        if (strlen(layer_names[i].gguf) == n && memcmp(layer_names[i].gguf, gguf, n) == 0) return layer_names[i].hf;
    }
    return NULL;
}

/* "blk.3.attn_q.weight" -> "model.layers.3.self_attn.q_proj.weight"; unknown names stay, and are refused later. */
static elm_status rename_tensor(reader *r, elm_source_tensor *t, uint32_t heads, uint32_t kv_heads, elm_error *err) {
    unsigned layer;
    int used = 0;
    const char *name = NULL;
    elm_arena *arena = &r->s->arena;
    if (strcmp(t->name, "token_embd.weight") == 0) name = "model.embed_tokens.weight";
    else if (strcmp(t->name, "output_norm.weight") == 0) name = "model.norm.weight";
    else if (strcmp(t->name, "output.weight") == 0) name = "lm_head.weight";
    else if (strncmp(t->name, "blk.", 4) == 0) {
        const char *p = t->name + 4;
        for (layer = 0; *p >= '0' && *p <= '9' && used < 6; p++, used++) layer = layer * 10 + (unsigned)(*p - '0');
        const char *dot = *p == '.' ? strchr(p + 1, '.') : NULL;
        const char *middle = dot && used > 0 ? layer_name(r, p + 1, (size_t)(dot - p - 1)) : NULL;
        if (middle) {
            name = elm_arena_printf(arena, "model.layers.%u.%s%s", layer, middle, dot);
            if (!name) return elm_fail_oom(err, 64, "a tensor's name");
            if (r->a->permuted && strcmp(middle, "self_attn.q_proj") == 0) t->permuted_heads = heads;
            if (r->a->permuted && strcmp(middle, "self_attn.k_proj") == 0) t->permuted_heads = kv_heads;
        }
    }
    if (t->permuted_heads > 0 && t->dims[0] % ((uint64_t)t->permuted_heads * 2) != 0) {
        return elm_fail(err, ELM_MALFORMED, "'%s': tensor '%s' has %llu rows, which %u heads do not share evenly",
                        r->s->where, t->name, (unsigned long long)t->dims[0], t->permuted_heads);
    }
    if (name) t->name = name;
    t->norm_plus_one_folded = r->a->norms_plus_one && t->n_dims == 1;
    return ELM_OK;
}

/* rope_freqs.weight holds the divisors that stand for llama3 scaling; it is taken out of the tensors. */
static elm_status take_rope_factors(reader *r, elm_error *err) {
    elm_checkpoint *ck = &r->s->gguf.checkpoint;
    const elm_source_tensor *t = elm_checkpoint_find(ck, "rope_freqs.weight");
    if (!t) return ELM_OK;
    if (t->n_dims != 1 || t->dims[0] > MAX_ROPE_FACTORS || t->type != ELM_SOURCE_F32) {
        return elm_fail(err, ELM_MALFORMED, "'%s': rope_freqs.weight is no vector of float32", r->s->where);
    }
    float *factors = elm_arena_array(&r->s->arena, (size_t)t->dims[0], sizeof *factors);
    if (!factors) return elm_fail_oom(err, (size_t)t->bytes, "rope factors");
    ELM_TRY(elm_checkpoint_read_rows(ck, t, 0, t->dims[0], factors, err));
    for (uint64_t i = 0; i < t->dims[0]; i++) {
        if (!(factors[i] > 0.0f)) return elm_fail(err, ELM_MALFORMED, "'%s': a rope factor is not above 0", r->s->where);
    }
    r->s->rope_factors = factors;
    r->s->n_rope_factors = (uint32_t)t->dims[0];
    uint32_t at = (uint32_t)(t - ck->tensors);
    memmove(&ck->tensors[at], &ck->tensors[at + 1], (ck->n_tensors - at - 1) * sizeof *ck->tensors);
    ck->n_tensors--;
    return ELM_OK;
}

/* ---- tokenizer ---- */

static int32_t id_of(const elm_gguf *g, const char *key) {
    int64_t id;
    return elm_gguf_int(g, key, &id) && id >= 0 && id <= INT32_MAX ? (int32_t)id : ELM_NO_TOKEN;
}

static elm_status read_vocab(elm_source *s, elm_error *err) {
    const elm_gguf *g = &s->gguf;
    elm_gguf_vocab *v = &s->vocab;
    elm_span *tokens, *merges;
    float *scores;
    int32_t *types;
    uint32_t n_scores, n_types;
    if (!elm_gguf_string(g, "tokenizer.ggml.model", &v->model)) {
        return elm_fail(err, ELM_MALFORMED, "'%s' has no tokenizer.ggml.model", s->where);
    }
    (void)elm_gguf_string(g, "tokenizer.ggml.pre", &v->pre);
    ELM_TRY(elm_gguf_strings(g, "tokenizer.ggml.tokens", &s->arena, &tokens, &v->n_tokens, err));
    ELM_TRY(elm_gguf_strings(g, "tokenizer.ggml.merges", &s->arena, &merges, &v->n_merges, err));
    ELM_TRY(elm_gguf_words(g, "tokenizer.ggml.scores", ELM_GGUF_F32, &s->arena, &scores, &n_scores, err));
    ELM_TRY(elm_gguf_words(g, "tokenizer.ggml.token_type", ELM_GGUF_I32, &s->arena, &types, &n_types, err));
    if (!tokens || (scores && n_scores != v->n_tokens) || (types && n_types != v->n_tokens)) {
        return elm_fail(err, ELM_MALFORMED, "'%s': the tokenizer's lists differ in length", s->where);
    }
    v->tokens = tokens;
    v->merges = merges;
    v->scores = scores;
    v->types = types;
    v->bos_id = id_of(g, "tokenizer.ggml.bos_token_id");
    v->eos_id = id_of(g, "tokenizer.ggml.eos_token_id");
    v->unk_id = id_of(g, "tokenizer.ggml.unknown_token_id");
    bool spm = elm_span_equal(v->model, elm_span_str("llama"));
    v->add_bos = spm;
    v->add_space_prefix = spm;
    (void)elm_gguf_bool(g, "tokenizer.ggml.add_bos_token", &v->add_bos);
    (void)elm_gguf_bool(g, "tokenizer.ggml.add_eos_token", &v->add_eos);
    (void)elm_gguf_bool(g, "tokenizer.ggml.add_space_prefix", &v->add_space_prefix);
    s->bos_id = v->bos_id;
    elm_source_add_eos(s, v->eos_id);
    elm_source_add_eos(s, id_of(g, "tokenizer.ggml.eot_token_id"));
    elm_source_add_eos(s, id_of(g, "tokenizer.ggml.eom_token_id"));
    return ELM_OK;
}

/* {"bos_token": ..., "eos_token": ...} from the vocabulary's spellings. */
static elm_status special_tokens(elm_source *s, elm_error *err) {
    const struct {
        const char *key;
        int32_t id;
    } tokens[] = {{"bos_token", s->vocab.bos_id}, {"eos_token", s->vocab.eos_id}, {"unk_token", s->vocab.unk_id}};
    elm_json *object = elm_arena_array(&s->arena, 1, sizeof *object);
    elm_json *members = elm_arena_array(&s->arena, 3, sizeof *members);
    if (!object || !members) return elm_fail_oom(err, 3 * sizeof *members, "special tokens");
    object->type = ELM_JSON_OBJECT;
    object->as.items = members;
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
        if (tokens[i].id < 0 || (uint32_t)tokens[i].id >= s->vocab.n_tokens) continue;
        elm_json *m = &members[object->count++];
        m->type = ELM_JSON_STRING;
        m->key = elm_span_str(tokens[i].key);
        m->as.string = s->vocab.tokens[tokens[i].id];
    }
    s->special_tokens = object;
    return ELM_OK;
}

elm_status elm_source_read_gguf(elm_source *s, const char *path, elm_error *err) {
    reader r = {.s = s};
    elm_span text, name;
    int64_t heads = 0, kv_heads = 0;
    s->is_gguf = true;
    s->where = elm_arena_string(&s->arena, elm_span_str(path));
    if (!s->where) return elm_fail_oom(err, strlen(path), "a path");
    ELM_TRY(elm_gguf_open(s->platform, path, &s->gguf, err));
    elm_checkpoint *ck = &s->gguf.checkpoint;
    if (!elm_gguf_string(&s->gguf, "general.architecture", &name)) {
        return elm_fail(err, ELM_MALFORMED, "'%s' has no general.architecture", path);
    }
    for (size_t i = 0; i < sizeof architectures / sizeof architectures[0]; i++) {
        if (elm_span_equal(name, elm_span_str(architectures[i].gguf))) r.a = &architectures[i];
    }
    if (!r.a) {
        return elm_fail(err, ELM_UNSUPPORTED, "'%s': architecture '%.*s' is not supported in GGUF files", path,
                        (int)(name.size < 64 ? name.size : 64), (const char *)name.data);
    }
    const elm_source_tensor *embed = elm_checkpoint_find(ck, "token_embd.weight");
    if (!embed) return elm_fail(err, ELM_MALFORMED, "'%s': tensor 'token_embd.weight' is missing", path);
    ELM_TRY(make_config(&r, embed->dims[0], !elm_checkpoint_find(ck, "output.weight"), err));
    ELM_TRY(take_rope_factors(&r, err));
    (void)elm_gguf_int(&s->gguf, key_of(&r, "attention.head_count"), &heads);
    kv_heads = heads;
    (void)elm_gguf_int(&s->gguf, key_of(&r, "attention.head_count_kv"), &kv_heads);
    if (heads < 1 || heads > 65536 || kv_heads < 1 || kv_heads > 65536) {
        return elm_fail(err, ELM_MALFORMED, "'%s': attention.head_count is missing or impossible", path);
    }
    for (uint32_t i = 0; i < ck->n_tensors; i++) {
        ELM_TRY(rename_tensor(&r, &ck->tensors[i], (uint32_t)heads, (uint32_t)kv_heads, err));
    }
    ELM_TRY(elm_checkpoint_index(ck, err)); /* under the new names */
    ELM_TRY(read_vocab(s, err));
    ELM_TRY(special_tokens(s, err));
    if (elm_gguf_string(&s->gguf, "general.name", &text)) s->name = elm_arena_string(&s->arena, text);
    if (elm_gguf_string(&s->gguf, "tokenizer.chat_template", &text)) s->chat_template = elm_arena_string(&s->arena, text);
    return s->name ? ELM_OK : elm_fail_oom(err, 64, "the model's name");
}
