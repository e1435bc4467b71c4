/* gguf_config.c - keys of GGUF to keys of config.json, with the rules that llama.cpp keeps in code;
 * parse. What single architectures write: gguf_families.c. */
#include "parse/gguf_config.h"

#include "parse/gguf_reader.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MAX_CONFIG_BYTES = 1 << 20, MAX_TENSOR_NAME = 128 };

const char *elm_gguf_key(elm_gguf_reader *r, const char *rest) {
    snprintf(r->key, sizeof r->key, "%s.%s", r->a->gguf, rest);
    return r->key;
}

void elm_gguf_refuse(elm_gguf_reader *r, elm_status code, const char *key, const char *what) {
    if (r->status != ELM_OK) return;
    r->status = elm_fail(r->err, code, "'%s': '%s' %s", r->g->checkpoint.shards[0].path,
                         elm_gguf_key(r, key), what);
}

const elm_gguf_value *elm_gguf_get(elm_gguf_reader *r, const char *key) {
    const elm_gguf_value *v = elm_gguf_find(r->g, elm_gguf_key(r, key));
    if (v) r->understood[v - r->g->values] = true;
    return v;
}

/* A list of one and the same integer. */
static bool same_integers(const elm_gguf_value *v, int64_t *out) {
    bool words = v->type == ELM_GGUF_ARRAY && v->count > 0 &&
                 (v->item_type == ELM_GGUF_I32 || v->item_type == ELM_GGUF_U32);
    elm_reader items = elm_reader_of(v->data);
    if (words) *out = elm_read_i32(&items);
    for (uint64_t i = 1; words && i < v->count; i++) words = elm_read_i32(&items) == *out;
    return words;
}

bool elm_gguf_get_int(elm_gguf_reader *r, const char *key, int64_t *out) {
    const elm_gguf_value *v = elm_gguf_get(r, key);
    if (!v) return false;
    if (elm_gguf_int(r->g, r->key, out) || same_integers(v, out)) return true;
    elm_gguf_refuse(r, ELM_UNSUPPORTED, key, "is not one integer for all layers");
    return false;
}

bool elm_gguf_get_float(elm_gguf_reader *r, const char *key, double *out) {
    if (!elm_gguf_get(r, key)) return false;
    if (elm_gguf_float(r->g, r->key, out) && isfinite(*out)) return true;
    elm_gguf_refuse(r, ELM_MALFORMED, key, "is no finite number");
    return false;
}

bool elm_gguf_get_by_layer(elm_gguf_reader *r, const char *key, int64_t max, uint32_t *out) {
    const elm_gguf_value *v = elm_gguf_get(r, key);
    int64_t n = 0;
    if (!v || r->status != ELM_OK) return false;
    bool list = v->type == ELM_GGUF_ARRAY, words = list && v->data.size == v->count * 4;
    words = words && (v->item_type == ELM_GGUF_I32 || v->item_type == ELM_GGUF_U32);
    if (list && (!words || v->count < (uint64_t)r->n_layers)) {
        elm_gguf_refuse(r, ELM_MALFORMED, key, "does not list one integer for each layer");
        return false;
    }
    if (!list && !elm_gguf_get_int(r, key, &n)) return false;
    elm_reader items = elm_reader_of(v->data);
    for (int64_t i = 0; i < r->n_layers; i++) {
        if (list) n = elm_read_i32(&items);
        if (n < 0 || n > max) {
            elm_gguf_refuse(r, ELM_MALFORMED, key, "is impossible");
            return false;
        }
        out[i] = (uint32_t)n;
    }
    return true;
}

void elm_gguf_put_int(elm_gguf_reader *r, const char *key, const char *hf) {
    int64_t value;
    if (elm_gguf_get_int(r, key, &value)) elm_json_put_int(&r->w, hf, value);
}

void elm_gguf_put_float(elm_gguf_reader *r, const char *key, const char *hf) {
    double value;
    if (elm_gguf_get_float(r, key, &value)) elm_json_put_double(&r->w, hf, value);
}

bool elm_gguf_has(const elm_gguf_reader *r, const char *fmt, ...) {
    char name[MAX_TENSOR_NAME];
    va_list args;
    va_start(args, fmt);
    vsnprintf(name, sizeof name, fmt, args);
    va_end(args);
    return elm_checkpoint_find(&r->g->checkpoint, name) != NULL;
}

/* ---- what no config here can say ---- */

/* Keys that no architecture here read, though they change the model unless they hold 0 or 1. */
static void refuse_others(elm_gguf_reader *r) {
    static const struct {
        const char *key;
        bool one_says_nothing;
    } keys[] = {
        {"expert_count", false},
        {"expert_used_count", false},
        {"expert_shared_count", false},
        {"expert_shared_feed_forward_length", false},
        {"expert_group_count", true},
        {"expert_weights_scale", true},
        {"leading_dense_block_count", false},
        {"nextn_predict_layers", false},
        {"full_attention_interval", true},
        {"attention.shared_kv_layers", false},
        {"attention.key_length_swa", false},
        {"embedding_length_per_layer_input", false},
        {"logit_scale", true},
        {"embedding_scale", true},
        {"residual_scale", true},
        {"rope.scaling.alpha", true},
        {"rope.scaling.yarn_ext_factor", true},
        {"attn_logit_softcapping", false},
        {"final_logit_softcapping", false},
        {"attention.temperature_scale", false},
        {"attention.clamp_kqv", false},
        {"attention.max_alibi_bias", false},
        {"rope.scaling.yarn_log_multiplier", false},
    };
    int64_t n;
    double x;
    bool flag;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const elm_gguf_value *v = elm_gguf_find(r->g, elm_gguf_key(r, keys[i].key));
        if (!v || r->understood[v - r->g->values]) continue;
        if (!elm_gguf_int(r->g, r->key, &n)) {
            if (!elm_gguf_get_float(r, keys[i].key, &x)) continue;
        } else {
            x = (double)n;
        }
        if (x != 0.0 && !(x == 1.0 && keys[i].one_says_nothing))
            elm_gguf_refuse(r, ELM_UNSUPPORTED, keys[i].key, "is not supported in GGUF files");
    }
    if (elm_gguf_bool(r->g, elm_gguf_key(r, "attention.causal"), &flag) && !flag) {
        elm_gguf_refuse(r, ELM_UNSUPPORTED, "attention.causal",
                        "is false; only causal models are supported");
    }
    if (elm_gguf_bool(r->g, elm_gguf_key(r, "rope.scaling.finetuned"), &flag) && !flag &&
        strcmp(r->a->gguf, "granite") == 0) {
        elm_gguf_refuse(r, ELM_UNSUPPORTED, "rope.scaling.finetuned",
                        "is false, which stands for no RoPE at all");
    }
}

/* ---- heads ---- */

int64_t elm_gguf_head_dim(elm_gguf_reader *r) {
    int64_t dim = 0, hidden = 0, heads = 0;
    if (elm_gguf_get_int(r, "attention.key_length", &dim)) return dim;
    (void)elm_gguf_get_int(r, "embedding_length", &hidden);
    (void)elm_gguf_get_int(r, "attention.head_count", &heads);
    return heads > 0 ? hidden / heads : 0;
}

void elm_gguf_put_heads(elm_gguf_reader *r) {
    int64_t dim = elm_gguf_head_dim(r), other;
    bool own = elm_gguf_get(r, "attention.head_count_kv") != NULL;
    elm_gguf_put_int(r, "attention.head_count", "num_attention_heads");
    elm_gguf_put_int(r, own ? "attention.head_count_kv" : "attention.head_count",
                     "num_key_value_heads");
    elm_gguf_put_int(r, "attention.key_length", "head_dim");
    if (elm_gguf_get_int(r, "attention.value_length", &other) && other != dim) {
        elm_gguf_refuse(r, ELM_UNSUPPORTED, "attention.value_length",
                        "differs from the length of keys");
    }
}

void elm_gguf_check_rotation(elm_gguf_reader *r) {
    int64_t dim = elm_gguf_head_dim(r), other;
    if (elm_gguf_get_int(r, "rope.dimension_count", &other) && other != dim) {
        elm_gguf_refuse(r, ELM_UNSUPPORTED, "rope.dimension_count",
                        "is not the head dimension; partial RoPE is not supported");
    }
}

/* attention.scale says nothing new. */
static void check_scale(elm_gguf_reader *r) {
    int64_t dim = elm_gguf_head_dim(r);
    double scale;
    if (elm_gguf_get_float(r, "attention.scale", &scale) && scale > 0.0 &&
        fabs(scale * sqrt((double)dim) - 1.0) > 1e-4) {
        elm_gguf_refuse(r, ELM_UNSUPPORTED, "attention.scale",
                        "is not one over the root of the head dimension");
    }
}

void elm_gguf_put_share(elm_gguf_reader *r, const char *hf, int64_t rotated, int64_t dim) {
    if (rotated < dim) elm_json_put_double(&r->w, hf, ((double)rotated + 0.5) / (double)dim);
}

/* ---- RoPE ---- */

/* The scaling's name and factor; false for none. Files before scaling.type say rope.scale_linear.
 */
static bool get_scaling(elm_gguf_reader *r, elm_span *type, double *factor) {
    bool has_factor = elm_gguf_get_float(r, "rope.scaling.factor", factor) ||
                      elm_gguf_get_float(r, "rope.scale_linear", factor);
    if (!elm_gguf_string(r->g, elm_gguf_key(r, "rope.scaling.type"), type)) {
        *type = elm_span_str("linear");
        return has_factor && *factor != 1.0 && *factor != 0.0;
    }
    if (elm_span_equal(*type, elm_span_str("none"))) return false;
    if (!elm_span_equal(*type, elm_span_str("linear")) &&
        !elm_span_equal(*type, elm_span_str("yarn"))) {
        elm_gguf_refuse(r, ELM_UNSUPPORTED, "rope.scaling.type",
                        "is not known (none, linear, yarn)");
    } else if (!has_factor || !(*factor > 0.0)) {
        elm_gguf_refuse(r, ELM_MALFORMED, "rope.scaling.factor", "is missing or not above 0");
    }
    return r->status == ELM_OK;
}

void elm_gguf_put_rope(elm_gguf_reader *r) {
    elm_span type;
    double factor = 0.0, attention, all_dims;
    elm_gguf_put_float(r, "rope.freq_base", "rope_theta");
    elm_gguf_put_float(r, "rope.freq_base_swa", "rope_local_base_freq");
    if (!get_scaling(r, &type, &factor)) return;
    if (r->n_rope_factors > 0)
        elm_gguf_refuse(r, ELM_UNSUPPORTED, "rope.scaling.type",
                        "stands beside rope_freqs.weight; only one may");
    elm_json_begin_object(&r->w, "rope_scaling");
    elm_json_put_string(&r->w, "rope_type", type);
    elm_json_put_double(&r->w, "factor", factor);
    bool has_attention = elm_gguf_get_float(r, "rope.scaling.attn_factor", &attention) &&
                         attention != 0.0 && attention != 1.0;
    if (elm_span_equal(type, elm_span_str("yarn"))) {
        elm_gguf_put_int(r, "rope.scaling.original_context_length",
                         "original_max_position_embeddings");
        elm_gguf_put_float(r, "rope.scaling.yarn_beta_fast", "beta_fast");
        elm_gguf_put_float(r, "rope.scaling.yarn_beta_slow", "beta_slow");
        /* GGUF's factor multiplies YaRN's own; Hugging Face's stands in its place. */
        double own = factor > 1.0 ? 0.1 * log(factor) + 1.0 : 1.0, whole;
        bool has_whole = elm_gguf_get_float(r, "rope.scaling.yarn_attn_factor", &whole) &&
                         whole > 0.0; /* in YaRN's place, as Hugging Face's */
        if (has_whole)
            elm_json_put_double(&r->w, "attention_factor", whole);
        else if (has_attention)
            elm_json_put_double(&r->w, "attention_factor", attention * own);
        if (elm_gguf_get_float(r, "rope.scaling.yarn_log_multiplier", &all_dims)) {
            elm_json_put_double(&r->w, "mscale", 1.0);
            elm_json_put_double(&r->w, "mscale_all_dim", all_dims);
        }
    } else if (has_attention) {
        elm_gguf_refuse(r, ELM_UNSUPPORTED, "rope.scaling.attn_factor", "is only known for yarn");
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

/* One full layer in `pattern`, unless the file says otherwise; none slides without a window. */
void elm_gguf_put_sliding_layers(elm_gguf_reader *r, int64_t pattern) {
    int64_t layers = r->n_layers, window = 0;
    const elm_gguf_value *v;
    (void)elm_gguf_get_int(r, "attention.sliding_window", &window);
    v = elm_gguf_get(r, "attention.sliding_window_pattern");
    if (v && v->type != ELM_GGUF_ARRAY)
        (void)elm_gguf_get_int(r, "attention.sliding_window_pattern", &pattern);
    bool list = v && v->type == ELM_GGUF_ARRAY;
    if (pattern < 0 ||
        (list && (v->count != (uint64_t)layers || v->item_type == ELM_GGUF_STRING))) {
        elm_gguf_refuse(r, ELM_MALFORMED, "attention.sliding_window_pattern",
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

void elm_gguf_plain_config(elm_gguf_reader *r) {
    elm_gguf_put_heads(r);
    elm_gguf_put_int(r, "feed_forward_length", "intermediate_size");
    elm_gguf_check_rotation(r);
    check_scale(r);
    elm_gguf_put_rope(r);
}

/* block_count counts draft heads too. */
static void read_layers(elm_gguf_reader *r) {
    int64_t heads = 0, drafts = 0;
    (void)elm_gguf_get_int(r, "block_count", &r->n_layers);
    if (strncmp(r->a->gguf, "qwen35", 6) == 0 &&
        elm_gguf_get_int(r, "nextn_predict_layers", &drafts) && drafts > 0) {
        elm_json_put_int(&r->w, "mtp_num_hidden_layers", drafts);
        r->n_layers -= drafts;
    }
    if (r->n_layers < 1 || r->n_layers > ELM_GGUF_MAX_LAYERS || drafts < 0)
        elm_gguf_refuse(r, ELM_MALFORMED, "block_count", "is missing or impossible");
    if (!elm_gguf_get_int(r, "attention.head_count", &heads) || heads < 1)
        elm_gguf_refuse(r, ELM_MALFORMED, "attention.head_count", "is missing or impossible");
    elm_json_put_int(&r->w, "num_hidden_layers", r->n_layers);
}

static void put_context(elm_gguf_reader *r) {
    int64_t context;
    if (!elm_gguf_get_int(r, "context_length", &context)) return;
    if (r->longest > 0 && r->longest < context) context = r->longest;
    elm_json_put_int(&r->w, "max_position_embeddings", context);
}

static void write_config(elm_gguf_reader *r) {
    const elm_source_tensor *embed = elm_checkpoint_find(&r->g->checkpoint, "token_embd.weight");
    elm_json_begin_object(&r->w, NULL);
    elm_json_put_str(&r->w, "model_type", r->a->model_type);
    elm_json_put_int(&r->w, "vocab_size", (int64_t)embed->dims[0]);
    elm_json_put_bool(&r->w, "tie_word_embeddings", !elm_gguf_has(r, "output.weight"));
    elm_json_put_bool(&r->w, "attention_bias", elm_gguf_has(r, "blk.0.attn_q.bias"));
    elm_json_put_bool(&r->w, "mlp_bias", elm_gguf_has(r, "blk.0.ffn_up.bias"));
    read_layers(r);
    elm_gguf_put_int(r, "embedding_length", "hidden_size");
    if (elm_gguf_get(r, "attention.sliding_window"))
        elm_gguf_put_int(r, "attention.sliding_window", "sliding_window");
    else
        elm_json_put_null(&r->w, "sliding_window"); /* absent, it would have the family's default */
    elm_gguf_put_float(r, "attention.layer_norm_rms_epsilon", "rms_norm_eps");
    if (r->status == ELM_OK) r->a->config(r);
    put_context(r);
    refuse_others(r);
    elm_json_end_object(&r->w);
}

elm_status elm_gguf_config(const elm_gguf *g, const elm_gguf_architecture *a,
                           const elm_gguf_factors *factors, elm_arena *arena, const elm_json **out,
                           elm_error *err) {
    elm_gguf_reader r = {.g = g,
                         .a = a,
                         .rope_factors = factors[ELM_GGUF_FREQS].values,
                         .n_rope_factors = factors[ELM_GGUF_FREQS].n,
                         .short_factors = factors[ELM_GGUF_SHORT],
                         .long_factors = factors[ELM_GGUF_LONG],
                         .err = err};
    const char *path = g->checkpoint.shards[0].path;
    elm_buf text;
    *out = NULL;
    if (!elm_checkpoint_find(&g->checkpoint, "token_embd.weight")) {
        return elm_fail(err, ELM_MALFORMED, "'%s': tensor 'token_embd.weight' is missing", path);
    }
    r.understood = elm_arena_array(arena, g->n_values, sizeof *r.understood);
    if (!r.understood) return elm_fail_oom(err, g->n_values, "the config");
    elm_buf_init(&text, arena->alloc, MAX_CONFIG_BYTES);
    elm_json_writer_init(&r.w, &text, false);
    write_config(&r);
    elm_status status = r.status != ELM_OK ? r.status : elm_buf_check(&text, "the config", err);
    if (status == ELM_OK) status = elm_json_parse(elm_buf_span(&text), path, NULL, arena, out, err);
    elm_buf_free(&text);
    return status;
}
