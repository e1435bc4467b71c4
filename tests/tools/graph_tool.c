/* graph_tool.c - runs one graph of a file and gives the rows of one of its values.
 *
 *   graph_tool MODEL BACKENDS GRAPH VALUE CHUNK HOLD
 *     VALUE  "output", "hidden", or the name of a node; HOLD: of so many tokens at the end of the
 * first half a held step is made, all but one of them are committed, and the last is run again in:
 * u32 n, n times i32 tokens, u32 width, n * width floats: rows of the input "hidden" out:   u32
 * width, n * width floats
 *
 * Little-endian. Every row of a step is wanted; states are float32. */
#include "backend/kv.h"
#include "partition/plan.h"
#include "runtime/model.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* READ_AHEAD: what the system may read of a table when its neighbours are read from one end to the other. */
enum { MAX_CHUNK = 4096, READ_AHEAD = 20 << 20 };

typedef struct job {
    elm_model *model;
    elm_graph graph; /* a copy: its output is the value */
    elm_plan plan;
    elm_kv *kv;
    elm_recurrent *recurrent;
    uint8_t *scratch, *workspace;
    uint32_t n, hidden_width, width, n_commit;
    int32_t *tokens;
    float *hidden;
} job;

static void die(const char *what) {
    fprintf(stderr, "graph_tool: %s\n", what);
    exit(1);
}

static void *get(size_t count, size_t size) {
    void *data = calloc(count + 1, size);
    if (!data || fread(data, size, count, stdin) != count) die("input ends early");
    return data;
}

static uint32_t get_u32(void) {
    uint32_t *value = get(1, sizeof *value), v = *value;
    free(value);
    return v;
}

static void *zeros(size_t bytes) {
    void *p = aligned_alloc(64, (bytes + 127) / 64 * 64);
    if (!p) die("no memory");
    memset(p, 0, bytes);
    return p;
}

static void make_states(job *j) {
    const elm_module *m = j->model->module;
    j->kv = calloc(m->n_states + 1, sizeof *j->kv);
    j->recurrent = calloc(m->n_states + 1, sizeof *j->recurrent);
    if (!j->kv || !j->recurrent) die("no memory");
    for (uint32_t i = 0; i < m->n_states; i++) {
        const elm_state *s = &m->states[i];
        elm_kv *kv = &j->kv[i];
        if (s->kind != ELM_STATE_KV) {
            j->recurrent[i].values = zeros(elm_state_floats(s) * sizeof(float));
            j->recurrent[i].held = zeros(ELM_MAX_HELD * elm_state_held_floats(s) * sizeof(float));
            continue;
        }
        *kv = (elm_kv){ELM_F32, s->n_heads, s->k_dim, s->v_dim, j->n, NULL, NULL, NULL, NULL};
        elm_kv_layout(kv, zeros(elm_kv_bytes(kv->dtype, s->n_heads, s->k_dim, s->v_dim, j->n)));
    }
}

static elm_value_id find_value(const elm_graph *g, const char *name) {
    if (strcmp(name, "output") == 0) return g->output;
    if (strcmp(name, "hidden") == 0) return g->hidden;
    for (uint32_t i = 0; i < g->n_nodes; i++)
        if (strcmp(g->nodes[i].name, name) == 0) return g->nodes[i].output;
    return ELM_NO_VALUE;
}

static void step_of(job *j, uint32_t first, uint32_t n, bool hold, float *out) {
    int32_t positions[MAX_CHUNK], rows[MAX_CHUNK];
    elm_error err;
    for (uint32_t t = 0; t < n; t++) positions[t] = (int32_t)(first + t), rows[t] = (int32_t)t;
    elm_step step = {.n_tokens = n,
                     .n_past = first,
                     .n_rows = n,
                     .tokens = j->tokens + first,
                     .positions = positions,
                     .rows = rows,
                     .hidden = j->hidden + (size_t)first * j->hidden_width,
                     .hidden_stride = j->hidden_width,
                     .scratch = j->scratch,
                     .workspace = j->workspace,
                     .states = j->kv,
                     .recurrent = j->recurrent,
                     .hold = hold,
                     .n_commit = j->n_commit,
                     .pool = j->model->pool};
    if (elm_plan_run(&j->plan, &step, &err) != ELM_OK) die(err.message);
    j->n_commit = 0;
    const elm_place *place = &j->plan.places[j->graph.output];
    for (uint32_t r = 0; r < n; r++)
        memcpy(out + (size_t)(first + r) * j->width,
               elm_step_rows(&step, place) + (size_t)r * place->row_stride, j->width * sizeof *out);
}

static void run(job *j, uint32_t chunk, uint32_t hold, float *out) {
    for (uint32_t first = 0; first < j->n;) {
        uint32_t n = j->n - first < chunk ? j->n - first : chunk;
        if (hold > 1 && first < j->n / 2 && first + n >= j->n / 2 - hold) {
            n = j->n / 2 - hold - first;
            step_of(j, first, n, false, out);
            first += n;
            step_of(j, first, hold, true, out);
            j->n_commit = hold - 1;
            first += hold - 1;
            hold = 0;
            continue;
        }
        step_of(j, first, n, false, out);
        first += n;
    }
}

static void make_plan(job *j, const char *graph, const char *value, uint32_t chunk) {
    elm_error err;
    elm_model *m = j->model;
    const elm_graph *g = elm_module_graph(m->module, graph);
    if (!g) die("no such graph");
    j->graph = *g;
    j->graph.output = find_value(g, value);
    if (j->graph.output == ELM_NO_VALUE) die("no such value");
    const elm_value *v = &g->values[j->graph.output];
    j->width = 1;
    for (uint32_t d = 1; d < v->n_dims; d++) j->width *= (uint32_t)v->dims[d];
    elm_plan_options o = {.devices = m->devices,
                          .n_devices = m->n_devices,
                          .max_tokens = chunk,
                          .max_rows = chunk,
                          .max_threads = m->n_threads};
    if (elm_plan_make(&m->platform, m->module, &j->graph, m->tensors, &o, &j->plan, &err) != ELM_OK)
        die(err.message);
    j->scratch = zeros(j->plan.scratch_bytes);
    j->workspace = zeros(j->plan.workspace_bytes);
}

/* ---- pages ---- */

static void forget(const char *path) {
    int fd = open(path, O_RDONLY);
    if (fd < 0 || fsync(fd) != 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
        die("the file stays in memory");
    close(fd);
}

static size_t resident(const void *data, size_t bytes) {
    size_t page = (size_t)sysconf(_SC_PAGESIZE), n = 0;
    uintptr_t begin = (uintptr_t)data / page * page;
    size_t pages = ((uintptr_t)data + bytes - begin + page - 1) / page;
    unsigned char *in = calloc(pages, 1);
    if (!in || mincore((void *)begin, pages * page, in) != 0) die("mincore");
    for (size_t i = 0; i < pages; i++) n += in[i] & 1;
    free(in);
    return n;
}

static void say_pages(const elm_model *m, const char *when) {
    for (uint32_t i = 0; i < m->n_tensors; i++) {
        const elm_tensor *t = &m->tensors[i];
        if (t->layout != ELM_LAYOUT_ROWS || t->codes_bytes <= 2 * READ_AHEAD) continue;
        size_t n =
            resident((const uint8_t *)t->codes + READ_AHEAD, t->codes_bytes - 2 * READ_AHEAD);
        fprintf(stderr, "%s: %s: %zu pages of %zu bytes\n", when, t->name, n,
                (size_t)sysconf(_SC_PAGESIZE));
    }
}

int main(int argc, char **argv) {
    static job j; /* static: what it holds until the end is no leak */
    static float *out;
    elm_error err;
    bool pages = argc > 1 && strcmp(argv[1], "--pages") == 0;
    if (pages) argc--, argv++;
    if (argc != 7) die("MODEL BACKENDS GRAPH VALUE CHUNK HOLD");
    uint32_t chunk = (uint32_t)atoi(argv[5]), hold = (uint32_t)atoi(argv[6]);
    if (pages) forget(argv[1]);
    elm_model_options o = {.struct_size = sizeof o, .backends = argv[2]};
    if (elm_model_open_with(&j.model, argv[1], &o, NULL, &err) != ELM_OK) die(err.message);
    j.n = get_u32();
    j.tokens = get(j.n, sizeof *j.tokens);
    j.hidden_width = get_u32();
    j.hidden = get((size_t)j.n * j.hidden_width, sizeof *j.hidden);
    if (chunk == 0 || chunk > MAX_CHUNK || hold > ELM_MAX_HELD) die("a bad chunk");
    make_plan(&j, argv[3], argv[4], chunk < hold ? hold : chunk);
    make_states(&j);
    out = zeros((size_t)j.n * j.width * sizeof *out);
    if (pages) say_pages(j.model, "before");
    if (pages && elm_model_check_weights(j.model, j.tokens, j.n, &err) != ELM_OK) die(err.message);
    run(&j, chunk, hold, out);
    if (pages) say_pages(j.model, "after");
    fwrite(&j.width, sizeof j.width, 1, stdout);
    fwrite(out, sizeof *out, (size_t)j.n * j.width, stdout);
    return 0; /* the end of the process frees what was taken */
}
