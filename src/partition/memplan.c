/* memplan.c - where every value lies in a step's scratch; partition.
 *
 * A value lives from the node that computes it to the last node that reads it or a view of it.
 * Values are placed in the order of their birth, each at the lowest offset where it overlaps no
 * value that lives at the same time. A row's stride is its width rounded up to 16 floats, so that
 * every row begins on a cache line. */
#include "partition/select.h"

#include "base/checked.h"

#include <string.h>

enum { ROW_FLOATS = 16, PLACE_ALIGN = 64 };

typedef struct lifetime {
    elm_value_id root;   /* the value whose memory it is: itself, or what it views */
    uint32_t column;     /* first float in the root's row */
    uint32_t born, dies; /* node numbers, inclusive; of roots */
    uint64_t offset, bytes;
    bool placed;
} lifetime;

static void find_lifetimes(const elm_graph *g, lifetime *l) {
    for (uint32_t v = 0; v < g->n_values; v++) l[v].root = v;
    for (uint32_t n = 0; n < g->n_nodes; n++) {
        const elm_node *node = &g->nodes[n];
        for (uint32_t i = 0; i < node->n_inputs; i++) {
            lifetime *root = &l[l[node->inputs[i]].root];
            if (n > root->dies) root->dies = n;
        }
        if (node->output == ELM_NO_VALUE) continue;
        lifetime *out = &l[node->output];
        if (elm_op_is_view(node->op)) {
            const lifetime *in = &l[node->inputs[0]];
            out->root = in->root;
            out->column = in->column + (node->op == ELM_OP_SLICE ? (uint32_t)node->attrs.start : 0);
        } else {
            out->born = out->dies = n;
        }
    }
    l[l[g->output].root].dies = g->n_nodes;
    if (g->hidden != ELM_NO_VALUE) l[l[g->hidden].root].dies = g->n_nodes;
}

/* The lowest offset that is free for as long as `v` lives. Offsets of the values already placed are
 * tried in turn: the lowest free one is 0 or the end of one of them. */
static uint64_t lowest_free(const elm_graph *g, const lifetime *l, uint32_t v) {
    uint64_t offset = 0;
    for (bool moved = true; moved;) {
        moved = false;
        for (uint32_t o = 0; o < g->n_values; o++) {
            const lifetime *other = &l[o];
            bool together = other->placed && other->born <= l[v].dies && l[v].born <= other->dies;
            bool overlap =
                other->offset < offset + l[v].bytes && offset < other->offset + other->bytes;
            if (!together || !overlap) continue;
            offset = other->offset + other->bytes;
            moved = true;
        }
    }
    return offset;
}

elm_status elm_plan_layout(elm_plan *plan, uint32_t max_tokens, uint32_t max_rows, elm_error *err) {
    const elm_graph *g = plan->graph;
    lifetime *l = elm_arena_array(&plan->arena, g->n_values, sizeof *l);
    plan->places = elm_arena_array(&plan->arena, g->n_values, sizeof *plan->places);
    if (!l || !plan->places) return elm_fail_oom(err, g->n_values * sizeof *l, "the plan");
    find_lifetimes(g, l);
    for (uint32_t n = 0; n < g->n_nodes; n++) {
        elm_value_id v = g->nodes[n].output;
        if (v == ELM_NO_VALUE) continue;
        uint64_t width = elm_value_width(&g->values[v]),
                 stride = elm_round_up((size_t)width, ROW_FLOATS);
        if (l[v].root == v) {
            uint64_t rows = g->values[v].dims[0] == ELM_DIM_R ? max_rows : max_tokens;
            if (!elm_mul_u64(rows * stride, sizeof(float), &l[v].bytes) || stride > UINT32_MAX) {
                return elm_fail(err, ELM_UNSUPPORTED,
                                "value '%s' is too large for a step of %u tokens",
                                g->values[v].name, max_tokens);
            }
            l[v].offset = lowest_free(g, l, v);
            l[v].placed = true;
            if (l[v].offset + l[v].bytes > plan->scratch_bytes)
                plan->scratch_bytes = l[v].offset + l[v].bytes;
            plan->places[v] = (elm_place){l[v].offset, (uint32_t)stride};
        } else {
            const elm_place *root = &plan->places[l[v].root];
            plan->places[v] =
                (elm_place){root->offset + (uint64_t)l[v].column * sizeof(float), root->row_stride};
        }
    }
    return ELM_OK;
}
