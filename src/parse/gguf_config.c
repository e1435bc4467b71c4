/* gguf_config.c - keys of GGUF to keys of config.json, with the rules that llama.cpp keeps in code;
 * parse. */
#include "parse/gguf_config.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    MAX_CONFIG_BYTES = 1 << 20,
    MAX_KEY = 96,
    MAX_LAYERS = 4096,
    GEMMA3_PATTERN = 6,
    GEMMA3_27B_LAYERS = 62
};

typedef struct reader {
    const elm_gguf *g;
    const elm_gguf_architecture *a;
    elm_json_writer w;
    elm_status status; /* the first failure; later reads do nothing */
    elm_error *err;
    char key[MAX_KEY];
} reader;

static const char *key_of(reader *r, const char *rest) {
    snprintf(r->key, sizeof r->key, "%s.%s", r->a->gguf, rest);
    return r->key;
}

static void refuse(reader *r, elm_status code, const char *key, const char *what) {
    if (r->status != ELM_OK) return;
    r->status = elm_fail(r->err, code, "'%s': '%s' %s", r->g->checkpoint.shards[0].path,
                         key_of(r, key), what);
}

/* An integer or a finite number; false when absent. Another type is refused: a default would be a
 * guess. */
static bool get_int(reader *r, const char *key, int64_t *out) {
    if (!elm_gguf_find(r->g, key_of(r, key))) return false;
    if (elm_gguf_int(r->g, r->key, out)) return true;
    refuse(r, ELM_UNSUPPORTED, key, "is not one integer for all layers");
    return false;
}

static bool get_float(reader *r, const char *key, double *out) {
    if (!elm_gguf_find(r->g, key_of(r, key))) return false;
    if (elm_gguf_float(r->g, r->key, out) && isfinite(*out)) return true;
    refuse(r, ELM_MALFORMED, key, "is no finite number");
    return false;
}

static void put_int(reader *r, const char *gguf, const char *hf) {
    int64_t value;
    if (get_int(r, gguf, &value)) elm_json_put_int(&r->w, hf, value);
}

static void put_float(reader *r, const char *gguf, const char *hf) {
    double value;
    if (get_float(r, gguf, &value)) elm_json_put_double(&r->w, hf, value);
}

/* ---- what no config here can say ---- */

static void refuse_others(reader *r) {
    static const char *const ints[] = {"expert_count", "expert_used_count"};
    /* 0 and 1 say nothing */
    static const char *const scales[] = {"logit_scale",
                                         "embedding_scale",
                                         "residual_scale",
                                         "rope.scaling.alpha",
                                         "rope.scaling.yarn_attn_factor",
                                         "rope.scaling.yarn_ext_factor"};
    /* 0 says nothing */
    static const char *const floats[] = {
        "attn_logit_softcapping", "final_logit_softcapping",  "attention.temperature_scale",
        "attention.clamp_kqv",    "attention.max_alibi_bias", "rope.scaling.yarn_log_multiplier"};
    int64_t n;
    double x;
    bool causal;
    for (size_t i = 0; i < sizeof ints / sizeof ints[0]; i++) {
        if (get_int(r, ints[i], &n) && n != 0)
            refuse(r, ELM_UNSUPPORTED, ints[i], "is not supported in GGUF files");
    }
    for (size_t i = 0; i < sizeof scales / sizeof scales[0]; i++) {
        if (get_float(r, scales[i], &x) && x != 0.0 && x != 1.0) {
            refuse(r, ELM_UNSUPPORTED, scales[i], "is not supported in GGUF files");
        }
    }
    for (size_t i = 0; i < sizeof floats / sizeof floats[0]; i++) {
        if (get_float(r, floats[i], &x) && x != 0.0) {
            refuse(r, ELM_UNSUPPORTED, floats[i], "is not supported in GGUF files");
        }
    }
    if (elm_gguf_bool(r->g, key_of(r, "attention.causal"), &causal) && !causal) {
        refuse(r, ELM_UNSUPPORTED, "attention.causal",
               "is false; only causal models are supported");
    }
}

/* ---- heads ---- */

/* The head dimension, whether the file says it or not; 0 when it cannot be known. */
static int64_t head_dim_of(reader *r) {
    int64_t dim = 0, hidden = 0, heads = 0;
    if (get_int(r, "attention.key_length", &dim)) return dim;
    (void)get_int(r, "embedding_length", &hidden);
    (void)get_int(r, "attention.head_count", &heads);
    return heads > 0 ? hidden / heads : 0;
}

static void put_heads(reader *r) {
    int64_t dim = head_dim_of(r), other;
    put_int(r, "attention.head_count", "num_attention_heads");
    if (elm_gguf_find(r->g, key_of(r, "attention.head_count_kv"))) {
        put_int(r, "attention.head_count_kv", "num_key_value_heads");
    } else {
        put_int(r, "attention.head_count", "num_key_value_heads");
    }
    put_int(r, "attention.key_length", "head_dim");
    if (get_int(r, "attention.value_length", &other) && other != dim) {
        refuse(r, ELM_UNSUPPORTED, "attention.value_length", "differs from the length of keys");
    }
    if (get_int(r, "rope.dimension_count", &other) && other != dim) {
        refuse(r, ELM_UNSUPPORTED, "rope.dimension_count",
               "is not the head dimension; partial RoPE is not supported");
    }
}

/* attention.scale multiplies q k; what config.json can say is Gemma's query_pre_attn_scalar, its
 * -1/2 power. */
static void put_scale(reader *r, bool gemma3) {
    int64_t dim = head_dim_of(r), layers = 0, hidden = 0, heads = 0;
    double scale = 0.0;
    bool given = get_float(r, "attention.scale", &scale) && scale > 0.0;
    if (!gemma3) {
        if (given && fabs(scale * sqrt((double)dim) - 1.0) > 1e-4) {
            refuse(r, ELM_UNSUPPORTED, "attention.scale",
                   "is not one over the root of the head dimension");
        }
        return;
    }
    (void)get_int(r, "block_count", &layers);
    (void)get_int(r, "embedding_length", &hidden);
    (void)get_int(r, "attention.head_count", &heads);
    /* llama.cpp's rule: the head dimension, but hidden / heads for the 27B, which it knows by its
     * layers. */
    if (given)
        elm_json_put_double(&r->w, "query_pre_attn_scalar", 1.0 / (scale * scale));
    else if (layers == GEMMA3_27B_LAYERS && heads > 0)
        elm_json_put_int(&r->w, "query_pre_attn_scalar", hidden / heads);
    else
        elm_json_put_int(&r->w, "query_pre_attn_scalar", dim);
}

/* ---- RoPE ---- */

/* The scaling's name and factor; false for none. Files before scaling.type say rope.scale_linear.
 */
static bool get_scaling(reader *r, elm_span *type, double *factor) {
    bool has_factor =
        get_float(r, "rope.scaling.factor", factor) || get_float(r, "rope.scale_linear", factor);
    if (!elm_gguf_string(r->g, key_of(r, "rope.scaling.type"), type)) {
        *type = elm_span_str("linear");
        return has_factor && *factor != 1.0 && *factor != 0.0;
    }
    if (elm_span_equal(*type, elm_span_str("none"))) return false;
    if (!elm_span_equal(*type, elm_span_str("linear")) &&
        !elm_span_equal(*type, elm_span_str("yarn"))) {
        refuse(r, ELM_UNSUPPORTED, "rope.scaling.type", "is not known (none, linear, yarn)");
    } else if (!has_factor || !(*factor > 0.0)) {
        refuse(r, ELM_MALFORMED, "rope.scaling.factor", "is missing or not above 0");
    }
    return r->status == ELM_OK;
}

static void put_rope(reader *r) {
    elm_span type;
    double factor = 0.0, attention;
    bool has_factors = elm_checkpoint_find(&r->g->checkpoint, "rope_freqs.weight") != NULL;
    put_float(r, "rope.freq_base", "rope_theta");
    put_float(r, "rope.freq_base_swa", "rope_local_base_freq");
    if (!get_scaling(r, &type, &factor)) return;
    if (has_factors)
        refuse(r, ELM_UNSUPPORTED, "rope.scaling.type",
               "stands beside rope_freqs.weight; only one may");
    elm_json_begin_object(&r->w, "rope_scaling");
    elm_json_put_string(&r->w, "rope_type", type);
    elm_json_put_double(&r->w, "factor", factor);
    bool has_attention = get_float(r, "rope.scaling.attn_factor", &attention) && attention != 0.0 &&
                         attention != 1.0;
    if (elm_span_equal(type, elm_span_str("yarn"))) {
        put_int(r, "rope.scaling.original_context_length", "original_max_position_embeddings");
        put_float(r, "rope.scaling.yarn_beta_fast", "beta_fast");
        put_float(r, "rope.scaling.yarn_beta_slow", "beta_slow");
        /* GGUF's factor multiplies YaRN's own; Hugging Face's stands in its place. */
        double own = factor > 1.0 ? 0.1 * log(factor) + 1.0 : 1.0;
        if (has_attention) elm_json_put_double(&r->w, "attention_factor", attention * own);
    } else if (has_attention) {
        refuse(r, ELM_UNSUPPORTED, "rope.scaling.attn_factor", "is only known for yarn");
    }
    elm_json_end_object(&r->w);
}

/* ---- sliding layers ---- */

/* True when layer i slides by a list of booleans or integers, one a layer. */
static bool slides(const elm_gguf_value *list, uint64_t i) {
    uint64_t width = list->data.size / list->count;
    const uint8_t *item = list->data.data + i * width;
    for (uint64_t b = 0; b < width; b++) {
        if (item[b]) return true;
    }
    return false;
}

/* llama.cpp: five sliding layers, one full, unless the file says otherwise; none without a window.
 */
static void put_gemma3_layers(reader *r) {
    int64_t layers = 0, window = 0, pattern = GEMMA3_PATTERN;
    const elm_gguf_value *v;
    (void)get_int(r, "block_count", &layers);
    (void)get_int(r, "attention.sliding_window", &window);
    if (layers < 1 || layers > MAX_LAYERS) {
        refuse(r, ELM_MALFORMED, "block_count", "is missing or impossible");
        return;
    }
    v = elm_gguf_find(r->g, key_of(r, "attention.sliding_window_pattern"));
    if (v && v->type != ELM_GGUF_ARRAY)
        (void)get_int(r, "attention.sliding_window_pattern", &pattern);
    bool list = v && v->type == ELM_GGUF_ARRAY;
    if (pattern < 0 ||
        (list && (v->count != (uint64_t)layers || v->item_type == ELM_GGUF_STRING))) {
        refuse(r, ELM_MALFORMED, "attention.sliding_window_pattern",
               "does not say for each layer whether it slides");
        return;
    }
    elm_json_begin_array(&r->w, "layer_types");
    for (int64_t i = 0; i < layers; i++) {
        bool sliding = list ? slides(v, (uint64_t)i) : pattern == 0 || (i + 1) % pattern != 0;
        elm_json_put_str(&r->w, NULL,
                         sliding && window > 0 ? "sliding_attention" : "full_attention");
    }
    elm_json_end_array(&r->w);
}

/* ---- all of it ---- */

static void write_config(reader *r) {
    const elm_checkpoint *ck = &r->g->checkpoint;
    const elm_source_tensor *embed = elm_checkpoint_find(ck, "token_embd.weight");
    bool gemma3 = strcmp(r->a->gguf, "gemma3") == 0;
    elm_json_begin_object(&r->w, NULL);
    elm_json_put_str(&r->w, "model_type", r->a->model_type);
    elm_json_put_int(&r->w, "vocab_size", (int64_t)embed->dims[0]);
    elm_json_put_bool(&r->w, "tie_word_embeddings", !elm_checkpoint_find(ck, "output.weight"));
    elm_json_put_bool(&r->w, "attention_bias", elm_checkpoint_find(ck, "blk.0.attn_q.bias"));
    elm_json_put_bool(&r->w, "mlp_bias", elm_checkpoint_find(ck, "blk.0.ffn_up.bias"));
    put_int(r, "embedding_length", "hidden_size");
    put_int(r, "block_count", "num_hidden_layers");
    put_int(r, "feed_forward_length", "intermediate_size");
    put_int(r, "context_length", "max_position_embeddings");
    put_int(r, "attention.sliding_window", "sliding_window");
    put_float(r, "attention.layer_norm_rms_epsilon", "rms_norm_eps");
    put_heads(r);
    put_scale(r, gemma3);
    put_rope(r);
    if (gemma3) put_gemma3_layers(r);
    refuse_others(r);
    elm_json_end_object(&r->w);
}

elm_status elm_gguf_config(const elm_gguf *g, const elm_gguf_architecture *a, elm_arena *arena,
                           const elm_json **out, elm_error *err) {
    reader r = {.g = g, .a = a, .err = err};
    const char *path = g->checkpoint.shards[0].path;
    elm_buf text;
    *out = NULL;
    if (!elm_checkpoint_find(&g->checkpoint, "token_embd.weight")) {
        return elm_fail(err, ELM_MALFORMED, "'%s': tensor 'token_embd.weight' is missing", path);
    }
    elm_buf_init(&text, arena->alloc, MAX_CONFIG_BYTES);
    elm_json_writer_init(&r.w, &text, false);
    write_config(&r);
    elm_status status = r.status != ELM_OK ? r.status : elm_buf_check(&text, "the config", err);
    if (status == ELM_OK) status = elm_json_parse(elm_buf_span(&text), path, NULL, arena, out, err);
    elm_buf_free(&text);
    return status;
}
