/* rig.h - one operation on one backend: a graph whose inputs are known floats, run through the
 * partitioner with the node under test on the backend and everything else on the oracle.
 *
 *   embedding (f32 table, token t reads row t) -> reshape -> NODE UNDER TEST -> output
 *
 * Inputs come out of an embedding because graph values are node outputs; the table is the input,
 * bit for bit. State lies where the session would put it, so a row with state also shows that one
 * backend reads what the other wrote. */
#ifndef TESTS_CONFORM_RIG_H
#define TESTS_CONFORM_RIG_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "backend/kv.h"
#include "base/f16.h"
#include "base/thread_pool.h"
#include "ir/build.h"
#include "ir/p16.h"
#include "partition/plan.h"
#include "quant/quantize.h"

enum { RIG_TOKENS = 23, RIG_MAX_WIDTH = 260, RIG_MAX_TENSORS = 16, RIG_MAX_STATES = 2 };

/* u of docs/numerics.md: one rounding of float32 is off by at most this, relative. */
#define RIG_U 5.9604644775390625e-8

typedef struct rig {
    elm_arena arena;
    elm_builder b;
    elm_tensor tensors[RIG_MAX_TENSORS];
    uint32_t n_tensors;
    uint64_t seed;
    uint32_t n_tested; /* nodes from here on are under test */
    uint32_t n_past;   /* positions before the first token, filled by rig_fill_past */
    elm_kv kv[RIG_MAX_STATES];
    elm_recurrent recurrent[RIG_MAX_STATES];
    const float *hidden; /* [RIG_TOKENS][hidden_stride] */
    uint32_t hidden_stride;
} rig;

static inline uint32_t rig_u32(rig *g) { /* splitmix64 */
    uint64_t z = (g->seed += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (uint32_t)((z ^ (z >> 31)) >> 16);
}

/* In [low, high). */
static inline uint32_t rig_between(rig *g, uint32_t low, uint32_t high) {
    return low + rig_u32(g) % (high - low);
}

static inline float rig_float(rig *g) { /* in [-1, 1) */
    return (float)(int32_t)rig_u32(g) * (1.0f / 2147483648.0f);
}

static inline void rig_init(rig *g, uint64_t seed) {
    memset(g, 0, sizeof *g);
    g->seed = seed;
    elm_arena_init(&g->arena, elm_allocator_default(), 0);
    assert_int_equal(elm_builder_init(&g->b, &g->arena, "text", NULL), ELM_OK);
}

static inline void rig_free(rig *g) {
    elm_arena_free(&g->arena);
}

static inline elm_value_id rig_tensor(rig *g, elm_tensor t) {
    assert_true(g->n_tensors < RIG_MAX_TENSORS);
    t.name = elm_arena_printf(&g->arena, "w%u", g->n_tensors);
    g->tensors[g->n_tensors] = t;
    return elm_build_weight(&g->b, g->n_tensors++, t.name, t.dtype, t.n_dims, t.dims);
}

static inline float *rig_floats(rig *g, size_t n, float scale) {
    float *x = elm_arena_alloc(&g->arena, n * sizeof *x, 64);
    for (size_t i = 0; i < n; i++) x[i] = rig_float(g) * scale;
    return x;
}

/* A vector of n floats around `middle`. */
static inline elm_value_id rig_vector(rig *g, uint32_t n, float middle, float spread) {
    float *x = rig_floats(g, n, spread);
    for (uint32_t i = 0; i < n; i++) x[i] += middle;
    return rig_tensor(g, (elm_tensor){.dtype = ELM_F32, .n_dims = 1, .dims = {n}, .codes = x});
}

/* A P16 matrix of any type, stored by the quantiser itself. group 0: one a row. */
static inline elm_value_id rig_matrix(rig *g, elm_dtype dtype, uint32_t rows, uint32_t cols,
                                      uint32_t group, const float *values) {
    const elm_dtype_info *info = elm_dtype_get(dtype);
    elm_p16_shape shape;
    if (!info->has_scales)
        group = 0;
    else if (group == 0)
        group = elm_p16_channel_group(cols);
    assert_true(elm_p16_shape_of(dtype, rows, cols, group, &shape));
    elm_p16_planes planes = {
        .codes = elm_arena_alloc(&g->arena, shape.codes_bytes, 64),
        .scales = info->has_scales ? elm_arena_alloc(&g->arena, shape.scales_bytes, 64) : NULL,
        .zeros = info->has_zeros ? elm_arena_alloc(&g->arena, shape.zeros_bytes, 64) : NULL,
    };
    elm_scheme scheme = {dtype, group};
    elm_quant_error error = {0};
    float *scratch =
        elm_arena_alloc(&g->arena, elm_panel_scratch_floats(scheme, &shape) * sizeof(float), 64);
    int32_t scale_exp = elm_scale_exp_for(dtype, 1.0f);
    for (uint32_t p = 0; p < shape.n_panels; p++) {
        uint32_t n =
            rows - p * ELM_P16_ROWS < ELM_P16_ROWS ? rows - p * ELM_P16_ROWS : ELM_P16_ROWS;
        elm_quantize_panel(scheme, &shape, scale_exp, values + (size_t)p * ELM_P16_ROWS * cols,
                           cols, n, cols, p, &planes, scratch, &error);
    }
    return rig_tensor(g, (elm_tensor){.dtype = dtype,
                                      .layout = ELM_LAYOUT_P16,
                                      .n_dims = 2,
                                      .dims = {rows, cols},
                                      .group = group,
                                      .scale_exp = scale_exp,
                                      .codes = planes.codes,
                                      .scales = planes.scales,
                                      .zeros = planes.zeros,
                                      .codes_bytes = shape.codes_bytes,
                                      .scales_bytes = shape.scales_bytes,
                                      .zeros_bytes = shape.zeros_bytes});
}

/* An input of RIG_TOKENS rows of `width` floats; *out_values gets them, [RIG_TOKENS][width]. */
static inline elm_value_id rig_rows(rig *g, uint32_t width, float scale, const float **out_values) {
    float *x = rig_floats(g, (size_t)RIG_TOKENS * width, scale);
    elm_value_id table = rig_matrix(g, ELM_F32, RIG_TOKENS, width, 0, x);
    if (out_values) *out_values = x;
    return elm_build_embedding(&g->b, elm_build_input(&g->b, ELM_INPUT_TOKENS), table, 1.0f);
}

static inline elm_value_id rig_heads(rig *g, elm_value_id x, uint32_t heads, uint32_t dim) {
    elm_dim dims[3] = {ELM_DIM_T, (elm_dim)heads, (elm_dim)dim};
    return elm_build_reshape(&g->b, "heads", x, 3, dims);
}

/* The inputs are complete: what is built next is under test. */
static inline void rig_test_from_here(rig *g) {
    g->n_tested = g->b.graph->n_nodes;
}

/* ---- running ---- */

typedef struct rig_refuse {
    uint32_t first_tested;
} rig_refuse;

/* Device 0 is the backend under test, device 1 the oracle. */
static inline bool rig_refuses(void *context, uint32_t node, uint32_t device) {
    const rig_refuse *r = context;
    return device == 0 && node < r->first_tested;
}

typedef struct rig_result {
    float *rows; /* [RIG_TOKENS][width] of the output, all steps in order */
    size_t width, n_rows;
    uint8_t *states; /* what every state holds, packed, one after the other */
    size_t states_bytes;
} rig_result;

static inline void rig_result_free(rig_result *r) {
    free(r->rows);
    free(r->states);
}

static inline size_t rig_states_layout(rig *g, uint8_t *memory) {
    size_t bytes = 0;
    for (uint32_t s = 0; s < g->b.module->n_states; s++) {
        const elm_state *state = &g->b.module->states[s];
        size_t floats = elm_state_floats(state) * sizeof(float);
        if (memory && floats > 0) {
            g->recurrent[s].values = (float *)(void *)(memory + bytes);
            memset(memory + bytes, 0, floats);
        }
        bytes += floats;
        if (floats > 0) continue;
        elm_kv *kv = &g->kv[s];
        if (memory) elm_kv_layout(kv, memory + bytes);
        bytes += elm_kv_bytes(kv->dtype, kv->n_heads, kv->k_dim, kv->v_dim, kv->capacity);
    }
    return bytes;
}

/* Random keys and values for the positions before the first token, the same for every backend. */
static inline void rig_fill_past(rig *g) {
    uint64_t kept = g->seed;
    g->seed = 99;
    for (uint32_t s = 0; s < g->b.module->n_states; s++) {
        elm_kv *kv = &g->kv[s];
        if (g->b.module->states[s].kind != ELM_STATE_KV) continue;
        for (uint32_t p = 0; p < g->n_past; p++)
            for (uint32_t h = 0; h < kv->n_heads; h++)
                for (int is_v = 0; is_v < 2; is_v++) {
                    float row[RIG_MAX_WIDTH];
                    for (uint32_t i = 0; i < RIG_MAX_WIDTH; i++) row[i] = 2.0f * rig_float(g);
                    elm_kv_store(kv, is_v, h, p, row);
                }
    }
    g->seed = kept;
}

/* The states' contents without how a backend pads or orders them. */
static inline void rig_states_pack(const rig *g, rig_result *out) {
    out->states = calloc(1, out->states_bytes + 64);
    out->states_bytes = 0;
    for (uint32_t s = 0; s < g->b.module->n_states; s++) {
        const elm_kv *kv = &g->kv[s];
        size_t bytes = elm_state_floats(&g->b.module->states[s]) * sizeof(float);
        if (bytes > 0) {
            memcpy(out->states + out->states_bytes, g->recurrent[s].values, bytes);
        } else {
            uint32_t end = g->n_past + RIG_TOKENS, held = kv->capacity < end ? kv->capacity : end;
            elm_kv_pack(kv, end - held, held, out->states + out->states_bytes);
            bytes = held * elm_kv_position_bytes(kv);
        }
        out->states_bytes += bytes;
    }
}

/* Runs all tokens in steps of `chunk` on `threads` threads. False when the backend refuses a node
 * under test. */
static inline bool rig_run(rig *g, const elm_backend *backend, uint32_t chunk, uint32_t threads,
                           elm_value_id output, rig_result *out) {
    const elm_platform *p = elm_platform_default();
    elm_device_options options = {.cpu_mask = UINT32_MAX};
    elm_device devices[2] = {{backend, NULL}, {elm_backend_find("ref"), NULL}};
    elm_thread_pool *pool = NULL;
    elm_error err = {0};
    elm_plan plan;
    elm_graph *graph = g->b.graph;
    if (elm_builder_finish(&g->b, output, ELM_NO_VALUE, &err) != ELM_OK)
        fail_msg("%s", err.message);
    if (elm_module_validate(g->b.module, g->tensors, g->n_tensors, &err) != ELM_OK)
        fail_msg("%s", err.message);
    for (int d = 0; d < 2; d++)
        assert_int_equal(devices[d].backend->open(p, &options, &devices[d].handle, &err), ELM_OK);
    rig_refuse refuse = {g->n_tested};
    elm_plan_options o = {.devices = devices,
                          .n_devices = 2,
                          .max_tokens = RIG_TOKENS,
                          .max_rows = RIG_TOKENS,
                          .max_threads = threads,
                          .refuse = rig_refuses,
                          .refuse_context = &refuse};
    if (elm_plan_make(p, g->b.module, graph, g->tensors, &o, &plan, &err) != ELM_OK)
        fail_msg("%s", err.message);
    bool taken = true;
    for (uint32_t n = g->n_tested; n < graph->n_nodes; n++)
        taken = taken && (plan.node_device[n] == 0 || plan.node_device[n] == ELM_DEVICE_VIEW);
    assert_int_equal(elm_thread_pool_create(p->alloc, threads, &pool, &err), ELM_OK);
    uint8_t *scratch = aligned_alloc(64, (plan.scratch_bytes + 127) / 64 * 64);
    uint8_t *workspace = aligned_alloc(64, (plan.workspace_bytes + 127) / 64 * 64);
    memset(scratch, 0xff,
           (plan.scratch_bytes + 127) / 64 *
               64); /* NaN: nothing may be read before it is written */
    memset(workspace, 0xff, (plan.workspace_bytes + 127) / 64 * 64);
    out->states_bytes = rig_states_layout(g, NULL);
    uint8_t *states = aligned_alloc(64, (out->states_bytes + 127) / 64 * 64);
    memset(states, 0xff, out->states_bytes);
    rig_states_layout(g, states);
    rig_fill_past(g);
    const elm_value *v = &graph->values[output];
    bool gathered = v->dims[0] == ELM_DIM_R;
    out->width = 1;
    for (uint32_t d = 1; d < v->n_dims; d++) out->width *= (size_t)v->dims[d];
    out->rows = malloc(RIG_TOKENS * out->width * sizeof(float));
    out->n_rows = 0;
    for (uint32_t done = 0; done < RIG_TOKENS && taken;) {
        uint32_t n = RIG_TOKENS - done < chunk ? RIG_TOKENS - done : chunk;
        int32_t tokens[RIG_TOKENS], positions[RIG_TOKENS], rows[RIG_TOKENS];
        uint32_t n_rows = 0;
        for (uint32_t t = 0; t < n; t++) {
            tokens[t] = (int32_t)(done + t);
            positions[t] = (int32_t)(g->n_past + done + t);
            if (!gathered || t % 3 == 1) rows[n_rows++] = (int32_t)t;
        }
        elm_step step = {.n_tokens = n,
                         .n_past = g->n_past + done,
                         .n_rows = n_rows,
                         .tokens = tokens,
                         .positions = positions,
                         .rows = rows,
                         .scratch = scratch,
                         .workspace = workspace,
                         .states = g->kv,
                         .recurrent = g->recurrent,
                         .hidden = g->hidden ? g->hidden + (size_t)done * g->hidden_stride : NULL,
                         .hidden_stride = g->hidden_stride,
                         .pool = pool};
        if (elm_plan_run(&plan, &step, &err) != ELM_OK) fail_msg("%s", err.message);
        const elm_place *place = &plan.places[output];
        for (uint32_t r = 0; r < (gathered ? n_rows : n); r++, out->n_rows++)
            memcpy(out->rows + out->n_rows * out->width,
                   (float *)(void *)(scratch + place->offset) + (size_t)r * place->row_stride,
                   out->width * sizeof(float));
        done += n;
    }
    rig_states_pack(g, out);
    free(states);
    free(workspace);
    free(scratch);
    elm_thread_pool_free(pool);
    elm_plan_free(&plan);
    for (int d = 0; d < 2; d++) devices[d].backend->close(devices[d].handle);
    return taken;
}

#endif
