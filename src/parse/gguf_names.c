/* gguf_names.c - "blk.3.attn_q.weight" is "model.layers.3.self_attn.q_proj.weight"; parse. */
#include "parse/gguf_names.h"

#include "parse/gguf_reader.h"

#include <string.h>

enum { MAX_LAYER_DIGITS = 6, MAX_SIZE = 1 << 20 };

static const elm_gguf_rename model_names[] = {
    {"token_embd", "model.embed_tokens", 0},
    {"output_norm", "model.norm", 0},
    {"output", "lm_head", 0},
    {"per_layer_token_embd", "model.embed_tokens_per_layer", 0},
    {"per_layer_model_proj", "model.per_layer_model_projection", 0},
    {"per_layer_proj_norm", "model.per_layer_projection_norm", 0},
    {0},
};

static const elm_gguf_rename layer_names[] = {
    {"attn_norm", "input_layernorm", 0},
    {"attn_q", "self_attn.q_proj", 0},
    {"attn_k", "self_attn.k_proj", 0},
    {"attn_v", "self_attn.v_proj", 0},
    {"attn_output", "self_attn.o_proj", 0},
    {"attn_q_norm", "self_attn.q_norm", 0},
    {"attn_k_norm", "self_attn.k_norm", 0},
    {"post_attention_norm", "post_attention_layernorm", 0},
    {"post_ffw_norm", "post_feedforward_layernorm", 0},
    {"ffn_norm", "post_attention_layernorm", 0},
    {"ffn_gate", "mlp.gate_proj", 0},
    {"ffn_up", "mlp.up_proj", 0},
    {"ffn_down", "mlp.down_proj", 0},
    {0},
};

/* llama.cpp rotates in pairs (2i, 2i + 1) here and permutes rows of q and k for that; the others
 * rotate halves, as Hugging Face does. */
static const elm_gguf_rename pair_names[] = {
    {"attn_q", "self_attn.q_proj", ELM_GGUF_Q_PAIRS},
    {"attn_k", "self_attn.k_proj", ELM_GGUF_K_PAIRS},
    {0},
};

static const elm_gguf_rename phi3_names[] = {
    {"attn_qkv", "self_attn.qkv_proj", 0},
    {"ffn_up", "mlp.gate_up_proj", 0},
    {0},
};

static const elm_gguf_rename qwen_expert_names[] = {
    {"ffn_gate_inp", "mlp.gate", 0},
    {"ffn_gate_exps.weight", "mlp.experts.gate_proj", 0},
    {"ffn_up_exps.weight", "mlp.experts.up_proj", 0},
    {"ffn_gate_up_exps.weight", "mlp.experts.gate_up_proj", 0},
    {"ffn_down_exps.weight", "mlp.experts.down_proj", 0},
    {"ffn_gate_inp_shexp.weight", "mlp.shared_expert_gate.weight", ELM_GGUF_ONE_ROW},
    {"ffn_gate_shexp", "mlp.shared_expert.gate_proj", 0},
    {"ffn_up_shexp", "mlp.shared_expert.up_proj", 0},
    {"ffn_down_shexp", "mlp.shared_expert.down_proj", 0},
    {0},
};

static const elm_gguf_rename qwen35_names[] = {
    {"attn_qkv.weight", "linear_attn.in_proj_qkv.weight", ELM_GGUF_V_BEHIND_QK},
    {"attn_gate.weight", "linear_attn.in_proj_z.weight", ELM_GGUF_V_ROWS},
    {"ssm_beta.weight", "linear_attn.in_proj_b.weight", ELM_GGUF_V_NUMBERS},
    {"ssm_alpha.weight", "linear_attn.in_proj_a.weight", ELM_GGUF_V_NUMBERS},
    {"ssm_conv1d.weight", "linear_attn.conv1d.weight", ELM_GGUF_V_TAPS},
    {"ssm_a", "linear_attn.A_log", ELM_GGUF_V_MINUS_EXP},
    {"ssm_dt.bias", "linear_attn.dt_bias", ELM_GGUF_V_NUMBERS},
    {"ssm_norm", "linear_attn.norm", 0},
    {"ssm_out.weight", "linear_attn.out_proj.weight", ELM_GGUF_V_COLS},
    {0},
};

/* Of the first layer behind the model's own, the draft head: below "mtp." */
static const elm_gguf_rename draft_names[] = {
    {"nextn.eh_proj.weight", "fc.weight", 0},
    {"nextn.enorm.weight", "pre_fc_norm_embedding.weight", 0},
    {"nextn.hnorm.weight", "pre_fc_norm_hidden.weight", 0},
    {"nextn.shared_head_norm.weight", "norm.weight", 0},
    {0},
};

static const elm_gguf_rename gemma_names[] = {
    {"ffn_norm", "pre_feedforward_layernorm", 0},
    {0},
};

static const elm_gguf_rename gemma4_names[] = {
    {"ffn_gate_inp.weight", "router.proj.weight", 0},
    {"ffn_gate_inp.scale", "router.scale", 0},
    {"ffn_gate_exps.weight", "experts.gate_proj", 0},
    {"ffn_up_exps.weight", "experts.up_proj", 0},
    {"ffn_gate_up_exps.weight", "experts.gate_up_proj", 0},
    {"ffn_down_exps.weight", "experts.down_proj", 0},
    {"ffn_down_exps.scale", "router.per_expert_scale", 0},
    {"pre_ffw_norm_2", "pre_feedforward_layernorm_2", 0},
    {"post_ffw_norm_1", "post_feedforward_layernorm_1", 0},
    {"post_ffw_norm_2", "post_feedforward_layernorm_2", 0},
    {"layer_output_scale.weight", "layer_scalar", 0},
    {"inp_gate", "per_layer_input_gate", 0},
    {"proj", "per_layer_projection", 0},
    {"post_norm", "post_per_layer_input_norm", 0},
    {0},
};

/* llama: Llama, Mistral, SmolLM2. The vl ones: the text models, whose rotation of text is the plain
 * one. smollm3: every fourth layer without RoPE, as its config says where it is silent. */
static const elm_gguf_architecture architectures[] = {
    {"llama", "llama", false, {pair_names}, elm_gguf_plain_config},
    {"mistral3", "mistral", false, {pair_names}, elm_gguf_mistral3_config},
    {"granite", "granite", false, {pair_names}, elm_gguf_granite_config},
    {"smollm3", "smollm3", false, {pair_names}, elm_gguf_plain_config},
    {"phi3", "phi3", false, {phi3_names}, elm_gguf_phi3_config},
    {"qwen2", "qwen2", false, {NULL}, elm_gguf_plain_config},
    {"qwen2vl", "qwen2_vl_text", false, {NULL}, elm_gguf_plain_config},
    {"qwen3", "qwen3", false, {NULL}, elm_gguf_plain_config},
    {"qwen3vl", "qwen3", false, {NULL}, elm_gguf_plain_config},
    {"qwen3moe", "qwen3_moe", false, {qwen_expert_names}, elm_gguf_qwen3moe_config},
    {"qwen3vlmoe", "qwen3_moe", false, {qwen_expert_names}, elm_gguf_qwen3moe_config},
    {"qwen35", "qwen3_5_text", true, {qwen35_names}, elm_gguf_qwen35_config},
    {"qwen35moe",
     "qwen3_5_moe_text",
     true,
     {qwen35_names, qwen_expert_names},
     elm_gguf_qwen35_config},
    {"gemma", "gemma", true, {NULL}, elm_gguf_plain_config},
    {"gemma2", "gemma2", true, {gemma_names}, elm_gguf_gemma2_config},
    {"gemma3", "gemma3_text", true, {gemma_names}, elm_gguf_gemma3_config},
    {"gemma4", "gemma4_text", false, {gemma_names, gemma4_names}, elm_gguf_gemma4_config},
};

const elm_gguf_architecture *elm_gguf_architecture_find(elm_span name) {
    for (size_t i = 0; i < sizeof architectures / sizeof architectures[0]; i++) {
        if (elm_span_equal(name, elm_span_str(architectures[i].gguf))) return &architectures[i];
    }
    return NULL;
}

/* ---- names ---- */

/* The entry for `name`, and in *rest what of it follows behind a match without suffix. */
static const elm_gguf_rename *look_up(const elm_gguf_rename *table, const char *name,
                                      const char **rest) {
    for (const elm_gguf_rename *e = table; e && e->gguf; e++) {
        size_t n = strlen(e->gguf);
        if (strncmp(name, e->gguf, n) != 0) continue;
        bool whole = strchr(e->gguf, '.') || name[n] == '\0';
        if (name[n] != '\0' && (name[n] != '.' || whole)) continue;
        *rest = name + n;
        return e;
    }
    return NULL;
}

/* "blk.<layer>.<rest>" in parts; NULL for anything else, a layer with leading zeros among it. */
static const char *behind_layer(const char *text, uint32_t *layer) {
    if (strncmp(text, "blk.", 4) != 0) return NULL;
    const char *start = text + 4, *p = start;
    *layer = 0;
    while (*p >= '0' && *p <= '9' && p - start < MAX_LAYER_DIGITS)
        *layer = *layer * 10 + (uint32_t)(*p++ - '0');
    return p == start || *p != '.' || (*start == '0' && p - start > 1) ? NULL : p + 1;
}

/* ---- what was done to them ---- */

typedef struct sizes {
    uint32_t n_layers, n_heads, n_kv_heads, key_heads, value_heads, key_dim, value_dim;
} sizes;

static elm_status read_size(const elm_json *config, const char *key, const char *where,
                            uint32_t def, uint32_t *out, elm_error *err) {
    int64_t n = def;
    ELM_TRY(elm_json_int(config, key, 1, MAX_SIZE, where, &n, err));
    *out = (uint32_t)n;
    return ELM_OK;
}

static elm_status read_sizes(const elm_json *c, const char *where, sizes *z, elm_error *err) {
    ELM_TRY(read_size(c, "num_hidden_layers", where, UINT32_MAX, &z->n_layers, err));
    ELM_TRY(read_size(c, "num_attention_heads", where, 1, &z->n_heads, err));
    ELM_TRY(read_size(c, "num_key_value_heads", where, z->n_heads, &z->n_kv_heads, err));
    ELM_TRY(read_size(c, "linear_num_key_heads", where, 1, &z->key_heads, err));
    ELM_TRY(read_size(c, "linear_num_value_heads", where, 1, &z->value_heads, err));
    ELM_TRY(read_size(c, "linear_key_head_dim", where, 1, &z->key_dim, err));
    return read_size(c, "linear_value_head_dim", where, 1, &z->value_dim, err);
}

static elm_source_swap value_heads(const sizes *z, bool behind_qk, uint32_t size) {
    uint32_t first = behind_qk ? 2 * z->key_heads * z->key_dim : 0;
    if (z->value_heads == z->key_heads) return (elm_source_swap){0};
    return (elm_source_swap){first, z->key_heads, z->value_heads / z->key_heads, size};
}

static elm_source_swap pairs(uint64_t rows, uint32_t n_heads) {
    return (elm_source_swap){0, 2, (uint32_t)(rows / n_heads / 2), 1};
}

/* Sets what reading undoes; false if the tensor's shape does not allow it. */
static bool change(elm_source_tensor *t, elm_gguf_change c, const sizes *z) {
    uint64_t rows = t->dims[0], cols = t->n_dims == 2 ? t->dims[1] : 1;
    bool single = c == ELM_GGUF_V_NUMBERS || c == ELM_GGUF_V_MINUS_EXP;
    if (c == ELM_GGUF_AS_IT_IS) return true;
    if (t->n_dims > 2 || rows > MAX_SIZE * 64u) return false;
    if (c == ELM_GGUF_ONE_ROW) {
        if (t->n_dims == 1) t->n_dims = 2, t->dims[1] = rows, t->dims[0] = 1;
        return true;
    }
    if (c == ELM_GGUF_Q_PAIRS || c == ELM_GGUF_K_PAIRS) {
        uint32_t n = c == ELM_GGUF_Q_PAIRS ? z->n_heads : z->n_kv_heads;
        t->rows = pairs(rows, n);
        return rows % ((uint64_t)n * 2) == 0;
    }
    bool behind = c == ELM_GGUF_V_BEHIND_QK || c == ELM_GGUF_V_TAPS;
    elm_source_swap swap = value_heads(z, behind, single ? 1 : z->value_dim);
    uint64_t values = (uint64_t)z->value_heads * (single ? 1 : z->value_dim);
    bool by_cols = c == ELM_GGUF_V_COLS;
    *(by_cols ? &t->cols : &t->rows) = swap;
    t->form_folded = c == ELM_GGUF_V_MINUS_EXP;
    if (c == ELM_GGUF_V_TAPS && t->n_dims == 2)
        t->n_dims = 3, t->dims[2] = t->dims[1], t->dims[1] = 1;
    uint64_t expected = values + (behind ? 2ull * z->key_heads * z->key_dim : 0);
    return z->value_heads % z->key_heads == 0 && (by_cols ? cols : rows) == expected;
}

static elm_status rename_tensor(elm_source_tensor *t, const char *path,
                                const elm_gguf_architecture *a, const sizes *z, elm_arena *arena,
                                elm_error *err) {
    uint32_t layer = 0;
    const char *name = behind_layer(t->name, &layer), *rest = "", *full;
    const elm_gguf_rename *e = NULL;
    bool draft = name && layer >= z->n_layers;
    if (draft && layer == z->n_layers) e = look_up(draft_names, name, &rest);
    bool head = e != NULL;
    for (int i = 0; name && !e && i < 2; i++) e = look_up(a->own[i], name, &rest);
    if (!e) e = look_up(name ? layer_names : model_names, name ? name : t->name, &rest);
    if (!e) return ELM_OK;
    if (head)
        full = elm_arena_printf(arena, "mtp.%s%s", e->hf, rest);
    else if (draft)
        full = elm_arena_printf(arena, "mtp.layers.%u.%s%s", layer - z->n_layers, e->hf, rest);
    else if (name)
        full = elm_arena_printf(arena, "model.layers.%u.%s%s", layer, e->hf, rest);
    else
        full = elm_arena_printf(arena, "%s%s", e->hf, rest);
    if (!full) return elm_fail_oom(err, strlen(t->name), "a tensor's name");
    if (!change(t, e->change, z)) {
        return elm_fail(err, ELM_MALFORMED,
                        "'%s': tensor '%s' has %llu rows, which its heads do not share evenly",
                        path, t->name, (unsigned long long)t->dims[0]);
    }
    if (a->norms_plus_one && strstr(full, "norm") && t->n_dims == 1) t->form_folded = true;
    t->name = full;
    return ELM_OK;
}

elm_status elm_gguf_rename_tensors(elm_gguf *g, const elm_gguf_architecture *a,
                                   const elm_json *config, elm_arena *arena, elm_error *err) {
    elm_checkpoint *ck = &g->checkpoint;
    const char *path = ck->shards[0].path;
    sizes z;
    ck->by_name = NULL;
    ELM_TRY(read_sizes(config, path, &z, err));
    for (uint32_t i = 0; i < ck->n_tensors; i++)
        ELM_TRY(rename_tensor(&ck->tensors[i], path, a, &z, arena, err));
    return elm_checkpoint_index(ck, err);
}
