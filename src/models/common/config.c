/* config.c - typed access to a model's config, with messages that name the key; models/common. */
#include "models/common/model_builder.h"

#include <string.h>

elm_status elm_mb_int(const elm_model_builder *mb, const char *key, int64_t max, uint32_t *out,
                      elm_error *err) {
    int64_t value = 0;
    if (!elm_json_find(mb->config, key)) {
        return elm_fail(err, ELM_MALFORMED, "%s has no '%s'", mb->where, key);
    }
    ELM_TRY(elm_json_int(mb->config, key, 1, max, mb->where, &value, err));
    *out = (uint32_t)value;
    return ELM_OK;
}

elm_status elm_mb_int_or(const elm_model_builder *mb, const char *key, int64_t max, uint32_t *out,
                         elm_error *err) {
    if (*out == 0 || elm_json_find(mb->config, key)) return elm_mb_int(mb, key, max, out, err);
    return ELM_OK;
}

elm_status elm_mb_optional_int(const elm_model_builder *mb, const char *key, int64_t max,
                               uint32_t *out, elm_error *err) {
    int64_t value = *out;
    ELM_TRY(elm_json_int(mb->config, key, 0, max, mb->where, &value, err));
    *out = (uint32_t)value;
    return ELM_OK;
}

elm_status elm_mb_optional_float(const elm_model_builder *mb, const char *key, float *out,
                                 elm_error *err) {
    double value = (double)*out;
    ELM_TRY(elm_json_double(mb->config, key, mb->where, &value, err));
    *out = (float)value;
    return ELM_OK;
}

elm_status elm_mb_optional_bool(const elm_model_builder *mb, const char *key, bool *out,
                                elm_error *err) {
    return elm_json_bool(mb->config, key, mb->where, out, err);
}

/* Do two tensors hold the same bytes? Read piece by piece, up to the first difference. */
static elm_status same_content(const elm_checkpoint *ck, const elm_source_tensor *a,
                               const elm_source_tensor *b, bool *same, elm_error *err) {
    uint8_t x[8192], y[sizeof x];
    *same = a->type == b->type && a->bytes == b->bytes;
    for (uint64_t at = 0; *same && at < a->bytes; at += sizeof x) {
        size_t n = a->bytes - at < sizeof x ? (size_t)(a->bytes - at) : sizeof x;
        ELM_TRY(elm_file_read_at(&ck->shards[a->shard], a->offset + at, x, n, err));
        ELM_TRY(elm_file_read_at(&ck->shards[b->shard], b->offset + at, y, n, err));
        *same = memcmp(x, y, n) == 0;
    }
    return ELM_OK;
}

elm_status elm_mb_tied(elm_model_builder *mb, bool def, bool *out, elm_error *err) {
    static const char key[] = "tie_word_embeddings";
    const elm_checkpoint *ck = mb->checkpoint;
    const elm_source_tensor *head = elm_checkpoint_find(ck, "lm_head.weight");
    const elm_source_tensor *embedding = elm_checkpoint_find(ck, "model.embed_tokens.weight");
    bool tied = def, in_root = false, same = true;
    bool said = elm_json_find(mb->config, key) || elm_json_find(mb->root, key);
    if (mb->root != mb->config) ELM_TRY(elm_json_bool(mb->root, key, mb->where, &in_root, err));
    ELM_TRY(elm_mb_optional_bool(mb, key, &tied, err));
    *out = tied || in_root || !head;
    if (!head && said && !tied && !in_root) {
        return elm_fail(err, ELM_MALFORMED,
                        "tensor 'lm_head.weight' is missing; %s says that the head is not the "
                        "embedding (%s is false)",
                        mb->where, key);
    }
    if (!*out || !head || !embedding) return ELM_OK;
    ELM_TRY(same_content(ck, head, embedding, &same, err));
    mb->head_differs = !same;
    *out = same;
    return ELM_OK;
}

elm_status elm_mb_activation(const elm_model_builder *mb, const char *key, const char *def,
                             int32_t *out, elm_error *err) {
    static const struct {
        const char *name;
        int32_t activation;
    } known[] = {
        {"silu", ELM_SILU},          {"swish", ELM_SILU},    {"gelu_pytorch_tanh", ELM_GELU_TANH},
        {"gelu_new", ELM_GELU_TANH}, {"gelu", ELM_GELU_ERF}, {"sigmoid", ELM_SIGMOID},
    };
    elm_span name = elm_span_str(def);
    ELM_TRY(elm_json_string(mb->config, key, mb->where, &name, err));
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (elm_span_equal(name, elm_span_str(known[i].name))) {
            *out = known[i].activation;
            return ELM_OK;
        }
    }
    return elm_fail(err, ELM_UNSUPPORTED,
                    "%s: activation '%.*s' is not known (silu, gelu_pytorch_tanh, gelu)", mb->where,
                    (int)(name.size < 64 ? name.size : 64), (const char *)name.data);
}

elm_status elm_mb_check_heads(const elm_model_builder *mb, uint32_t n_heads, uint32_t n_kv_heads,
                              uint32_t head_dim, elm_error *err) {
    if (n_kv_heads == 0 || head_dim == 0 || n_heads % n_kv_heads != 0) {
        return elm_fail(err, ELM_MALFORMED,
                        "%s: %u attention heads do not share %u key-value heads evenly", mb->where,
                        n_heads, n_kv_heads);
    }
    if ((uint64_t)n_heads * head_dim * 3 > ELM_MAX_DIM) {
        return elm_fail(err, ELM_MALFORMED, "%s: %u heads of %u are too wide", mb->where, n_heads,
                        head_dim);
    }
    return ELM_OK;
}
