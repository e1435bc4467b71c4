/* model.c - opening and closing a model; runtime.
 *
 * Opening maps the file, checks and reads the small sections, opens devices and makes the plan.
 * Weights are not touched: their checksums are compared at the first step
 * (elm_model_check_weights). */
#include "runtime/model.h"

#include "base/cores.h"
#include "runtime/prefix_cache.h"

#include <stdio.h>
#include <string.h>

enum { MAX_DEFAULT_THREADS = 8 };

void elm_options_copy(void *out, size_t own_bytes, const void *options) {
    size_t given = 0;
    memset(out, 0, own_bytes);
    if (!options) return;
    memcpy(&given, options, sizeof given); /* struct_size comes first in every option struct */
    memcpy(out, options, given < own_bytes ? given : own_bytes);
}

static elm_status read_text_sections(elm_model *m, elm_error *err) {
    elm_span section;
    ELM_TRY(elm_container_load(&m->container, ELM_SECTION_TOKENIZER, &section, err));
    ELM_TRY(elm_tokenizer_open(m->platform.alloc, section, &m->tokenizer, err));
    if (!elm_container_find(&m->container, ELM_SECTION_TEMPLATE)) return ELM_OK;
    ELM_TRY(elm_container_load(&m->container, ELM_SECTION_TEMPLATE, &section, err));
    m->template_source = elm_arena_string(&m->arena, section);
    if (!m->template_source) return elm_fail_oom(err, section.size, "the chat template");
    return elm_template_parse(m->platform.alloc, section, &m->chat_template, err);
}

static void mark_users(elm_model *m, const elm_graph *g, uint8_t user) {
    for (uint32_t v = 0; g && v < g->n_values; v++) {
        if (g->values[v].kind == ELM_VALUE_STATE) m->state_users[g->values[v].index] |= user;
    }
}

static elm_status find_state_users(elm_model *m, elm_error *err) {
    uint32_t n = m->module->n_states;
    m->state_users = elm_arena_array(&m->arena, n, sizeof *m->state_users);
    if (!m->state_users && n > 0) return elm_fail_oom(err, n, "state variables");
    mark_users(m, m->graph, ELM_USED_BY_TEXT);
    mark_users(m, elm_module_graph(m->module, "draft"), ELM_USED_BY_DRAFT);
    return ELM_OK;
}

/* Whether a graph gives logits as meta says, [R][vocab]. */
static elm_status check_output(const elm_model *m, const elm_graph *g, elm_error *err) {
    const elm_value *out = &g->values[g->output];
    if (out->n_dims == 2 && out->dims[0] == ELM_DIM_R &&
        out->dims[1] == (elm_dim)m->meta.vocab_size)
        return ELM_OK;
    return elm_fail(err, ELM_MALFORMED, "the output of graph '%s' is not [R][%u], as meta says",
                    g->name, m->meta.vocab_size);
}

/* A draft graph goes on from hidden rows, those of the text graph and its own. */
static elm_status check_draft(const elm_model *m, elm_error *err) {
    const elm_graph *text = m->graph, *draft = elm_module_graph(m->module, "draft");
    if (!draft) return ELM_OK;
    ELM_TRY(check_output(m, draft, err));
    if (text->hidden == ELM_NO_VALUE || draft->hidden == ELM_NO_VALUE ||
        text->values[text->hidden].dims[1] != draft->values[draft->hidden].dims[1]) {
        return elm_fail(err, ELM_MALFORMED,
                        "the graphs 'text' and 'draft' have no hidden rows of one width");
    }
    for (uint32_t v = 0; v < draft->n_values; v++) {
        const elm_value *value = &draft->values[v];
        if (value->kind == ELM_VALUE_INPUT && value->index == ELM_INPUT_HIDDEN &&
            value->dims[1] != text->values[text->hidden].dims[1]) {
            return elm_fail(err, ELM_MALFORMED,
                            "the graph 'draft' reads hidden rows of %d; 'text' has %d",
                            value->dims[1], text->values[text->hidden].dims[1]);
        }
        if (value->kind == ELM_VALUE_STATE && m->module->states[value->index].kind != ELM_STATE_KV)
            return elm_fail(err, ELM_MALFORMED, "the graph 'draft' has recurrent state");
    }
    return ELM_OK;
}

static elm_status read_graph(elm_model *m, elm_error *err) {
    elm_span section;
    ELM_TRY(elm_container_load(&m->container, ELM_SECTION_META, &section, err));
    ELM_TRY(elm_meta_read(section, &m->arena, &m->meta, err));
    ELM_TRY(elm_container_tensors(&m->container, &m->tensors, &m->n_tensors, err));
    ELM_TRY(elm_container_load(&m->container, ELM_SECTION_GRAPH, &section, err));
    ELM_TRY(elm_module_read(section, &m->arena, &m->module, err));
    ELM_TRY(elm_module_validate(m->module, m->tensors, m->n_tensors, err));
    m->graph = elm_module_graph(m->module, "text");
    if (!m->graph) return elm_fail(err, ELM_MALFORMED, "the file has no graph 'text'");
    ELM_TRY(find_state_users(m, err));
    ELM_TRY(check_output(m, m->graph, err));
    return check_draft(m, err);
}

static void describe(elm_model *m) {
    char text[120] = "";
    const elm_device *d = &m->devices[0];
    d->backend->describe(d->handle, text, sizeof text);
    snprintf(m->backend_text, sizeof m->backend_text, "%s (%s)", d->backend->name, text);
}

elm_status elm_model_make_plan(elm_model *m, const elm_graph *graph, uint32_t max_tokens,
                               uint32_t max_rows, const elm_model_hooks *hooks, elm_plan *out,
                               elm_error *err) {
    elm_plan_options options = {
        .devices = m->devices,
        .n_devices = m->n_devices,
        .max_tokens = max_tokens,
        .max_rows = max_rows,
        .max_threads = m->n_threads,
        .refuse = hooks ? hooks->refuse : NULL,
        .refuse_context = hooks ? hooks->refuse_context : NULL,
    };
    return elm_plan_make(&m->platform, m->module, graph ? graph : m->graph, m->tensors, &options,
                         out, err);
}

static uint32_t default_batch(const elm_graph *graph) {
    for (uint32_t i = 0; i < graph->n_nodes; i++)
        if (graph->nodes[i].op == ELM_OP_MOE) return ELM_BATCH_TOKENS_OF_EXPERTS;
    return ELM_BATCH_TOKENS;
}

static elm_status open_all(elm_model *m, const char *path, const elm_model_options *o,
                           const elm_model_hooks *hooks, elm_error *err) {
    uint64_t start = elm_now_us(&m->platform);
    ELM_TRY(elm_container_open(&m->platform, path, &m->container, err));
    ELM_TRY(read_graph(m, err));
    ELM_TRY(read_text_sections(m, err));
    elm_cores cores;
    elm_cores_of_process(o->n_threads, &cores);
    m->n_threads = cores.n_threads;
    if (o->n_threads == 0 && m->n_threads > MAX_DEFAULT_THREADS) m->n_threads = MAX_DEFAULT_THREADS;
    if (m->n_threads > ELM_MAX_THREADS) {
        return elm_fail(err, ELM_INVALID_ARGUMENT, "%u threads; at most %d", m->n_threads,
                        ELM_MAX_THREADS);
    }
    m->max_batch_tokens = o->max_batch_tokens ? o->max_batch_tokens : default_batch(m->graph);
    if (m->max_batch_tokens > ELM_MAX_BATCH_TOKENS) {
        return elm_fail(err, ELM_INVALID_ARGUMENT, "a batch of %u tokens; at most %d",
                        m->max_batch_tokens, ELM_MAX_BATCH_TOKENS);
    }
    ELM_TRY(elm_thread_pool_create(m->platform.alloc, m->n_threads, &m->pool, err));
    if (m->n_threads <= elm_cpu_set_count(&cores.big)) elm_cores_bind(&cores, m->pool);
    ELM_TRY(elm_model_open_devices(m, o->backends, o->cpu_mask, err));
    ELM_TRY(elm_model_make_plan(m, m->graph, m->max_batch_tokens, ELM_DECODE_ROWS, hooks, &m->plan,
                                err));
    const elm_graph *draft = elm_module_graph(m->module, "draft");
    if (draft) {
        ELM_TRY(elm_model_make_plan(m, draft, m->max_batch_tokens, 1, hooks, &m->draft_plan, err));
    }
    if (o->prefix_cache_bytes > 0) {
        ELM_TRY(elm_prefix_cache_create(m->platform.alloc, o->prefix_cache_bytes, &m->prefix_cache,
                                        err));
    }
    m->skip_checks = o->skip_checks;
    m->utc_offset_s = o->utc_offset_s;
    elm_model_advise(m);
    describe(m);
    m->load_us = elm_now_us(&m->platform) - start;
    return ELM_OK;
}

elm_status elm_model_open_with(elm_model **out, const char *path, const elm_model_options *options,
                               const elm_model_hooks *hooks, elm_error *err) {
    elm_model_options o;
    elm_options_copy(&o, sizeof o, options);
    const elm_platform *platform =
        hooks && hooks->platform ? hooks->platform : elm_platform_default();
    const elm_allocator *parent = o.allocator ? o.allocator : platform->alloc;
    elm_model *m = NULL;
    *out = NULL;
    ELM_TRY(elm_alloc(parent, sizeof *m, "a model", &m, err));
    elm_capped_allocator_init(&m->capped, parent, o.memory_limit_bytes);
    m->platform = *platform;
    m->platform.alloc = &m->capped.interface;
    elm_arena_init(&m->arena, m->platform.alloc, 0);
    pthread_mutex_init(&m->check_lock, NULL);
    elm_status status = open_all(m, path, &o, hooks, err);
    if (status != ELM_OK) {
        elm_model_close(m);
        return status;
    }
    *out = m;
    return ELM_OK;
}

elm_status elm_model_open(elm_model **out, const char *path, const elm_model_options *options,
                          elm_error *err) {
    return elm_model_open_with(out, path, options, NULL, err);
}

void elm_model_close(elm_model *m) {
    if (!m) return;
    elm_prefix_cache_free(m->prefix_cache);
    elm_plan_free(&m->draft_plan);
    elm_plan_free(&m->plan);
    for (uint32_t d = 0; d < m->n_devices; d++) m->devices[d].backend->close(m->devices[d].handle);
    elm_thread_pool_free(m->pool);
    elm_template_free(m->chat_template);
    elm_tokenizer_close(m->tokenizer);
    elm_arena_free(&m->arena);
    elm_container_close(&m->container);
    pthread_mutex_destroy(&m->check_lock);
    elm_free(m->capped.parent, m, sizeof *m);
}

/* ---- what it is ---- */

void elm_model_get_info(const elm_model *m, elm_model_info *out) {
    memset(out, 0, sizeof *out);
    out->architecture = m->meta.architecture;
    out->name = m->meta.name;
    out->vocab_size = m->meta.vocab_size;
    out->n_real_tokens = m->meta.n_real_tokens;
    out->context_length = m->meta.context_length;
    out->hidden_size = m->meta.hidden_size;
    out->n_layers = m->meta.n_layers;
    out->n_parameters = m->meta.n_parameters;
    out->file_bytes = m->container.map.size;
    out->bos_id = m->meta.bos_id;
    out->add_bos = m->meta.add_bos;
    out->raw_needs_bos = m->meta.raw_needs_bos;
    out->eos_ids = m->meta.eos_ids;
    out->n_eos_ids = m->meta.n_eos_ids;
    out->chat_template = m->template_source;
    out->sampling = m->meta.sampling;
    out->n_threads = m->n_threads;
    out->backend = m->backend_text;
}
