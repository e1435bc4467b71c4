/* attention.c - see attention.h; models/common. */
#include "models/common/attention.h"

typedef struct projections {
    elm_value_id q, gate, k, v; /* [rows][heads * head_dim]; ELM_NO_VALUE where there is none */
} projections;

static projections project(elm_model_builder *mb, const elm_attention *a, elm_value_id x,
                           bool own_kv) {
    uint32_t q_rows = a->n_heads * a->head_dim, kv_rows = a->n_kv_heads * a->head_dim;
    elm_linear_part parts[4];
    elm_value_id out[4];
    uint32_t n = 0, k_at = 0;
    parts[n++] = (elm_linear_part){.source = elm_mb_name(mb, "self_attn.q_proj"), .rows = q_rows};
    if (a->gated) { /* rows of a head: query, then gate; all queries are put before all gates */
        parts[0].of = 2 * q_rows;
        parts[0].run = a->head_dim;
        parts[0].stride = 2 * a->head_dim;
        parts[n] = parts[0];
        parts[n++].first = a->head_dim;
    }
    if (own_kv) {
        k_at = n;
        parts[n++] =
            (elm_linear_part){.source = elm_mb_name(mb, "self_attn.k_proj"), .rows = kv_rows};
        if (!a->k_is_v)
            parts[n++] =
                (elm_linear_part){.source = elm_mb_name(mb, "self_attn.v_proj"), .rows = kv_rows};
    }
    for (uint32_t i = 0, first = 0; a->fused_qkv && i < n; i++) {
        uint32_t rows = parts[i].rows;
        parts[i] = (elm_linear_part){.source = elm_mb_name(mb, "self_attn.qkv_proj"),
                                     .rows = rows,
                                     .of = q_rows + 2 * kv_rows,
                                     .first = first,
                                     .run = rows,
                                     .stride = rows};
        first += rows;
    }
    elm_mb_linears(mb, ELM_ROLE_LINEAR, own_kv ? "self_attn.qkv" : "self_attn.q_proj", x,
                   mb->hidden_size, n, parts, a->bias, out);
    projections p = {out[0], a->gated ? out[1] : ELM_NO_VALUE, ELM_NO_VALUE, ELM_NO_VALUE};
    if (own_kv) p.k = out[k_at], p.v = a->k_is_v ? out[k_at] : out[k_at + 1];
    return p;
}

/* [rows][heads * head_dim] -> [rows][heads][head_dim] */
static elm_value_id split_heads(elm_model_builder *mb, const elm_attention *a, const char *name,
                                elm_value_id x, uint32_t n_heads) {
    elm_dim rows = elm_builder_is_r(&mb->graph, x) ? ELM_DIM_R : ELM_DIM_T;
    elm_dim dims[3] = {rows, (elm_dim)n_heads, (elm_dim)a->head_dim};
    return elm_build_reshape(&mb->graph, name, x, 3, dims);
}

/* Heads of q or k: normalised where the family does, and rotated. */
static elm_value_id turn(elm_model_builder *mb, const elm_attention *a, const char *norm,
                         const char *rope, elm_value_id heads) {
    elm_builder *g = &mb->graph;
    if (a->qk_norm) {
        const char *source = elm_arena_printf(mb->arena, "%s%s.weight", mb->prefix, norm);
        elm_value_id w = elm_mb_vector(mb, source ? source : "", a->head_dim, a->norm_add);
        heads = elm_build_rms_norm(g, norm, heads, w, a->eps);
    }
    if (!a->rope) return heads;
    elm_value_id positions = elm_build_input(g, ELM_INPUT_POSITIONS);
    return elm_build_rope(g, rope, heads, positions, a->rope->inv_freq, a->rope->pair_stride,
                          a->rope->scale);
}

static elm_value_id write_kv(elm_model_builder *mb, uint32_t layer, const elm_attention *a,
                             const projections *p) {
    elm_builder *g = &mb->graph;
    elm_value_id k = split_heads(mb, a, "self_attn.k", p->k, a->n_kv_heads);
    k = turn(mb, a, "self_attn.k_norm", "self_attn.k_rope", k);
    elm_value_id v = split_heads(mb, a, "self_attn.v", p->v, a->n_kv_heads);
    if (a->v_norm) v = elm_build_rms_norm(g, "self_attn.v_norm", v, ELM_NO_VALUE, a->eps);
    elm_value_id state =
        elm_build_state(g, ELM_STATE_KV, layer, a->n_kv_heads, a->head_dim, a->head_dim, a->window);
    elm_build_kv_write(g, k, v, state);
    return state;
}

elm_value_id elm_mb_attention(elm_model_builder *mb, uint32_t layer, const elm_attention *a,
                              elm_value_id x, elm_value_id *state) {
    elm_builder *g = &mb->graph;
    uint32_t width = a->n_heads * a->head_dim;
    bool own_kv = *state == ELM_NO_VALUE;
    projections p = project(mb, a, x, own_kv);
    elm_value_id q = split_heads(mb, a, "self_attn.q", p.q, a->n_heads);
    q = turn(mb, a, "self_attn.q_norm", "self_attn.q_rope", q);
    if (own_kv) *state = write_kv(mb, layer, a, &p);
    elm_value_id out = elm_build_attention(g, q, *state, a->scale, (int32_t)a->window, a->softcap);
    elm_dim flat[2] = {elm_builder_is_r(g, x) ? ELM_DIM_R : ELM_DIM_T, (elm_dim)width};
    out = elm_build_reshape(g, "self_attn.flat", out, 2, flat);
    if (a->gated) out = elm_build_glu(g, p.gate, out, ELM_SIGMOID);
    return elm_mb_linear(mb, ELM_ROLE_LINEAR, "self_attn.o", out, width,
                         elm_mb_name(mb, "self_attn.o_proj"), mb->hidden_size, a->output_bias);
}
