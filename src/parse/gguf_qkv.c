/* gguf_qkv.c - attn_qkv, one tensor of rows of q, k and v that the converter may write for any
 * architecture, as the three tensors that others have; parse. Hugging Face has it for Phi-3 only;
 * below delta nets the name means something else. */
#include "parse/gguf_names.h"

#include <stdio.h>
#include <string.h>

enum { MAX_TENSOR_NAME = 64 };

/* "blk.<layer>.attn_qkv.weight" or .bias: its layer's prefix, "blk.<layer>.". */
static bool is_fused(const elm_gguf *g, const char *name, char prefix[MAX_TENSOR_NAME]) {
    static const char *const ends[] = {"attn_qkv.weight", "attn_qkv.bias"};
    char other[MAX_TENSOR_NAME + 8];
    size_t n = strlen(name);
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        size_t tail = strlen(ends[i]);
        if (n <= tail || n >= MAX_TENSOR_NAME || strcmp(name + n - tail, ends[i]) != 0) continue;
        snprintf(prefix, MAX_TENSOR_NAME, "%.*s", (int)(n - tail), name);
        snprintf(other, sizeof other, "%sssm_a", prefix);
        return strncmp(name, "blk.", 4) == 0 && !elm_checkpoint_find(&g->checkpoint, other);
    }
    return false;
}

/* How many rows are q's: what the output projection takes in, twice that where a gate lies beside.
 */
static uint64_t rows_of_q(const elm_gguf *g, const elm_gguf_architecture *a, const char *prefix) {
    char name[MAX_TENSOR_NAME + 32];
    bool gated = strncmp(a->gguf, "qwen35", 6) == 0;
    snprintf(name, sizeof name, "%sattn_output.weight", prefix);
    const elm_source_tensor *o = elm_checkpoint_find(&g->checkpoint, name);
    return o && o->n_dims == 2 && o->dims[1] < UINT32_MAX ? o->dims[1] * (gated ? 2 : 1) : 0;
}

static elm_status part(elm_gguf *g, const elm_gguf_architecture *a, const elm_source_tensor *t,
                       const char *prefix, elm_source_tensor out[3], elm_error *err) {
    static const char *const names[3] = {"attn_q", "attn_k", "attn_v"};
    uint64_t rows = t->dims[0], q = rows_of_q(g, a, prefix), row_bytes = t->bytes / rows, at = 0;
    bool whole = t->n_dims <= 2 && t->bytes % rows == 0;
    if (!whole || q == 0 || q >= rows || (rows - q) % 2 != 0) {
        return elm_fail(err, ELM_MALFORMED,
                        "'%s': tensor '%s' has %llu rows, which are not q's %llu and as many of k "
                        "as of v",
                        g->checkpoint.shards[t->shard].path, t->name, (unsigned long long)rows,
                        (unsigned long long)q);
    }
    for (int i = 0; i < 3; i++) {
        uint64_t n = i == 0 ? q : (rows - q) / 2;
        out[i] = *t;
        out[i].name = elm_arena_printf(&g->checkpoint.arena, "%s%s%s", prefix, names[i],
                                       strrchr(t->name, '.'));
        if (!out[i].name) return elm_fail_oom(err, MAX_TENSOR_NAME, "a tensor's name");
        out[i].dims[0] = n;
        out[i].bytes = n * row_bytes;
        out[i].offset = t->offset + at * row_bytes;
        at += n;
    }
    return ELM_OK;
}

elm_status elm_gguf_part_qkv(elm_gguf *g, const elm_gguf_architecture *a, elm_error *err) {
    elm_checkpoint *ck = &g->checkpoint;
    char prefix[MAX_TENSOR_NAME];
    uint32_t n_fused = 0, at = 0;
    for (uint32_t i = 0; i < ck->n_tensors && strcmp(a->gguf, "phi3") != 0; i++)
        n_fused += is_fused(g, ck->tensors[i].name, prefix);
    if (n_fused == 0) return ELM_OK;
    elm_source_tensor *all =
        elm_arena_array(&ck->arena, ck->n_tensors + 2 * (size_t)n_fused, sizeof *all);
    if (!all) return elm_fail_oom(err, ck->n_tensors * sizeof *all, "the tensors");
    for (uint32_t i = 0; i < ck->n_tensors; i++) {
        if (!is_fused(g, ck->tensors[i].name, prefix)) {
            all[at++] = ck->tensors[i];
            continue;
        }
        ELM_TRY(part(g, a, &ck->tensors[i], prefix, &all[at], err));
        at += 3;
    }
    ck->tensors = all;
    ck->n_tensors = at;
    return elm_checkpoint_index(ck, err);
}
