/* gguf_names.c - "blk.3.attn_q.weight" is "model.layers.3.self_attn.q_proj.weight"; parse. */
#include "parse/gguf_names.h"

#include <string.h>

enum { MAX_LAYER_DIGITS = 6 };

/* llama: Llama, Mistral, SmolLM2. llama.cpp rotates its q and k in pairs (2i, 2i + 1) and permutes
 * their rows for that; the others rotate halves, as Hugging Face does. */
static const elm_gguf_architecture architectures[] = {
    {"llama", "llama", true, false, "post_attention_layernorm"},
    {"mistral3", "mistral", true, false, "post_attention_layernorm"},
    {"qwen2", "qwen2", false, false, "post_attention_layernorm"},
    {"qwen3", "qwen3", false, false, "post_attention_layernorm"},
    {"gemma3", "gemma3_text", false, true, "pre_feedforward_layernorm"},
};

typedef struct rename_entry {
    const char *gguf, *hf;
} rename_entry;

static const rename_entry model_names[] = {
    {"token_embd", "model.embed_tokens"},
    {"output_norm", "model.norm"},
    {"output", "lm_head"},
};

static const rename_entry layer_names[] = {
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

const elm_gguf_architecture *elm_gguf_architecture_find(elm_span name) {
    for (size_t i = 0; i < sizeof architectures / sizeof architectures[0]; i++) {
        if (elm_span_equal(name, elm_span_str(architectures[i].gguf))) return &architectures[i];
    }
    return NULL;
}

static const char *look_up(const rename_entry *table, size_t n, elm_span name) {
    for (size_t i = 0; i < n; i++) {
        if (elm_span_equal(name, elm_span_str(table[i].gguf))) return table[i].hf;
    }
    return NULL;
}

/* "blk.<layer>.<name>.<rest>" in parts; false for anything else, a layer with leading zeros among
 * it. */
static bool split_layer_name(const char *text, uint32_t *layer, elm_span *name, const char **rest) {
    if (strncmp(text, "blk.", 4) != 0) return false;
    const char *start = text + 4, *p = start;
    *layer = 0;
    while (*p >= '0' && *p <= '9' && p - start < MAX_LAYER_DIGITS)
        *layer = *layer * 10 + (uint32_t)(*p++ - '0');
    if (p == start || *p != '.' || (*start == '0' && p - start > 1)) return false;
    *rest = strchr(p + 1, '.');
    if (!*rest) return false;
    *name = elm_span_of(p + 1, (size_t)(*rest - p - 1));
    return true;
}

static const char *layer_name(const elm_gguf_architecture *a, elm_span name) {
    if (elm_span_equal(name, elm_span_str("ffn_norm"))) return a->ffn_norm;
    return look_up(layer_names, sizeof layer_names / sizeof layer_names[0], name);
}

static uint32_t permuted_heads(const elm_gguf_architecture *a, const char *hf, uint32_t n_heads,
                               uint32_t n_kv_heads) {
    if (!a->permuted) return 0;
    if (strcmp(hf, "self_attn.q_proj") == 0) return n_heads;
    return strcmp(hf, "self_attn.k_proj") == 0 ? n_kv_heads : 0;
}

static elm_status rename_tensor(elm_source_tensor *t, const char *path,
                                const elm_gguf_architecture *a, uint32_t n_heads,
                                uint32_t n_kv_heads, elm_arena *arena, elm_error *err) {
    uint32_t layer;
    elm_span name;
    const char *rest = strchr(t->name, '.'), *hf, *full;
    if (split_layer_name(t->name, &layer, &name, &rest)) {
        if (!(hf = layer_name(a, name))) return ELM_OK;
        full = elm_arena_printf(arena, "model.layers.%u.%s%s", layer, hf, rest);
        t->permuted_heads = permuted_heads(a, hf, n_heads, n_kv_heads);
    } else {
        if (!rest) return ELM_OK;
        name = elm_span_of(t->name, (size_t)(rest - t->name));
        if (!(hf = look_up(model_names, sizeof model_names / sizeof model_names[0], name)))
            return ELM_OK;
        full = elm_arena_printf(arena, "%s%s", hf, rest);
    }
    if (!full) return elm_fail_oom(err, strlen(t->name), "a tensor's name");
    if (t->permuted_heads > 0 && t->dims[0] % ((uint64_t)t->permuted_heads * 2) != 0) {
        return elm_fail(err, ELM_MALFORMED,
                        "'%s': tensor '%s' has %llu rows, which %u heads do not share evenly", path,
                        t->name, (unsigned long long)t->dims[0], t->permuted_heads);
    }
    t->norm_plus_one_folded =
        a->norms_plus_one && strstr(hf, "norm") && strcmp(rest, ".weight") == 0;
    t->name = full;
    return ELM_OK;
}

elm_status elm_gguf_rename_tensors(elm_gguf *g, const elm_gguf_architecture *a, uint32_t n_heads,
                                   uint32_t n_kv_heads, elm_arena *arena, elm_error *err) {
    elm_checkpoint *ck = &g->checkpoint;
    ck->by_name = NULL;
    for (uint32_t i = 0; i < ck->n_tensors; i++) {
        ELM_TRY(
            rename_tensor(&ck->tensors[i], ck->shards[0].path, a, n_heads, n_kv_heads, arena, err));
    }
    return elm_checkpoint_index(ck, err);
}
