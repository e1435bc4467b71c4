/* model.h - an open model: the mapped file, its graph and plan, tokenizer, template; immutable
 * after open.
 *
 * Layer: runtime. Shared by all threads; only the weight checks and the pool carry state, both
 * locked. */
#ifndef ELM_RUNTIME_MODEL_H
#define ELM_RUNTIME_MODEL_H

#include <pthread.h>

#include "edge_llm.h"
#include "elm/container.h"
#include "partition/plan.h"
#include "text/answer.h"
#include "text/template.h"
#include "text/tokenizer.h"

enum {
    ELM_BATCH_TOKENS = 256,            /* of a prompt; activations of more leave the near caches */
    ELM_BATCH_TOKENS_OF_EXPERTS = 512, /* of which each sees a few */
    ELM_MAX_BATCH_TOKENS = 8192,
    ELM_DECODE_ROWS = 8,    /* rows of logits that an ordinary step may ask for */
    ELM_REWIND_SLACK = 256, /* positions that a ring keeps beyond its window */
    ELM_DEFAULT_CONTEXT = 4096,
};

/* What the META section says (docs/elm-format.md). */
typedef struct elm_meta {
    const char *architecture, *name;
    uint32_t vocab_size, n_real_tokens, context_length, hidden_size, n_layers;
    uint64_t n_parameters;
    int32_t bos_id;
    bool add_bos, raw_needs_bos;
    int32_t *eos_ids;
    uint32_t n_eos_ids;
    int32_t *suppress_ids;
    uint32_t n_suppress_ids;
    elm_sampling sampling;
    const elm_json *special_tokens; /* {"bos_token": "<s>", ...} or NULL */
    elm_answer_format answer;
    bool float_weights; /* an f32 file: the KV default is f32 */
} elm_meta;

typedef struct elm_prefix_cache elm_prefix_cache;

/* Which graphs use a state variable. */
enum { ELM_USED_BY_TEXT = 1, ELM_USED_BY_DRAFT = 2 };

struct elm_model {
    elm_capped_allocator capped;
    elm_platform platform; /* alloc = &capped.interface */
    elm_container container;
    elm_arena arena;
    elm_meta meta;
    elm_module *module;
    const elm_graph *graph; /* "text" */
    uint8_t *state_users;   /* [n_states] ELM_USED_BY_* */
    elm_tensor *tensors;
    uint32_t n_tensors;
    elm_tokenizer *tokenizer;
    elm_template *chat_template; /* NULL: none */
    const char *template_source;
    elm_thread_pool *pool;
    uint32_t n_threads, max_batch_tokens;
    elm_device devices[ELM_MAX_DEVICES];
    uint32_t n_devices;
    elm_plan plan;
    elm_plan draft_plan; /* of the graph "draft"; graph NULL = there is none */
    char backend_text[160];
    uint64_t load_us;
    elm_prefix_cache *prefix_cache; /* NULL: off */

    int32_t utc_offset_s; /* of the clock that chat templates see */
    bool skip_checks;
    pthread_mutex_t check_lock;
    atomic_bool weights_checked;
};

/* As elm_model_open, on a platform of the caller's and with nodes refused by a test. */
typedef struct elm_model_hooks {
    const elm_platform *platform; /* NULL: the default */
    elm_refuse_fn refuse;
    void *refuse_context;
} elm_model_hooks;

elm_status elm_model_open_with(elm_model **out, const char *path, const elm_model_options *options,
                               const elm_model_hooks *hooks, elm_error *err) ELM_MUST_CHECK;

/* Reads META into *out; strings live in `arena`. */
elm_status elm_meta_read(elm_span section, elm_arena *arena, elm_meta *out,
                         elm_error *err) ELM_MUST_CHECK;

/* Opens the devices of a --backend list (NULL: every backend that opens, ref and null left out). */
elm_status elm_model_open_devices(elm_model *m, const char *list, uint32_t cpu_mask,
                                  elm_error *err) ELM_MUST_CHECK;

/* Tells the system which tables are read a row at a time. */
void elm_model_advise(const elm_model *m);

/* Checks the weights that a step over these tokens reads, each chunk once, on all threads; later
 * calls cost next to nothing. */
elm_status elm_model_check_weights(elm_model *m, const int32_t *tokens, uint32_t n,
                                   elm_error *err) ELM_MUST_CHECK;

/* A plan like the model's own for other batch sizes or another graph (NULL: text). Free with
 * elm_plan_free. */
elm_status elm_model_make_plan(elm_model *m, const elm_graph *graph, uint32_t max_tokens,
                               uint32_t max_rows, const elm_model_hooks *hooks, elm_plan *out,
                               elm_error *err) ELM_MUST_CHECK;

/* Copies an option struct of an older or newer caller: min(struct_size, own_bytes), the rest zero.
 */
void elm_options_copy(void *out, size_t own_bytes, const void *options);

#endif
