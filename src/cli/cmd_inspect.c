/* cmd_inspect.c - edge-llm inspect: what a file holds, what it costs, who would run it; cli. */
#include "cli/origin.h"
#include "runtime/session.h"

#include <string.h>

/* What the tensors add up to. */
typedef struct totals {
    uint64_t stored, f32;
    uint64_t by_type[ELM_N_DTYPES];
    uint32_t n_by_type[ELM_N_DTYPES];
} totals;

static totals add_up(const elm_model *m) {
    totals t = {0};
    for (uint32_t i = 0; i < m->n_tensors; i++) {
        const elm_tensor *w = &m->tensors[i];
        uint64_t elements = 1, bytes = w->codes_bytes + w->scales_bytes + w->zeros_bytes;
        for (uint32_t d = 0; d < w->n_dims; d++) elements *= w->dims[d];
        t.stored += bytes;
        t.f32 += elements * sizeof(float);
        t.by_type[w->dtype] += bytes;
        t.n_by_type[w->dtype]++;
    }
    return t;
}

static elm_status quant_record(elm_model *m, elm_arena *arena, const elm_json **out,
                               elm_error *err) {
    elm_span section;
    *out = NULL;
    if (!elm_container_find(&m->container, ELM_SECTION_QUANT)) return ELM_OK;
    ELM_TRY(elm_container_load(&m->container, ELM_SECTION_QUANT, &section, err));
    const elm_json *root;
    ELM_TRY(elm_json_parse(section, "quant", NULL, arena, &root, err));
    *out = elm_json_find(root, "tensors");
    return ELM_OK;
}

static const elm_json *record_of(const elm_json *records, uint32_t i, const char *name) {
    if (!records || records->type != ELM_JSON_ARRAY || i >= records->count) return NULL;
    return elm_json_is(elm_json_find(&records->as.items[i], "name"), name) ? &records->as.items[i]
                                                                           : NULL;
}

static double number_of(const elm_json *record, const char *key) {
    double value = 0.0;
    (void)!elm_json_double(record, key, "quant", &value, NULL);
    return value;
}

static elm_span text_of(const elm_json *record, const char *key) {
    elm_span text = elm_span_str("");
    (void)!elm_json_string(record, key, "quant", &text, NULL);
    return text;
}

static void shape_text(const elm_tensor *t, char *out, size_t n) {
    size_t used = 0;
    for (uint32_t d = 0; d < t->n_dims && used < n - 1; d++) {
        used += (size_t)snprintf(out + used, n - used, d ? "x%u" : "%u", t->dims[d]);
    }
}

static void print_tensors(const elm_model *m, const elm_json *records) {
    puts("| tensor | shape | type | group | bytes | from | relative error | largest error |\n"
         "|---|---|---|---:|---:|---|---:|---:|");
    for (uint32_t i = 0; i < m->n_tensors; i++) {
        const elm_tensor *t = &m->tensors[i];
        const elm_json *r = record_of(records, i, t->name);
        char shape[48];
        elm_span from = text_of(r, "source_type");
        shape_text(t, shape, sizeof shape);
        printf("| %s | %s | %s | %u | %llu | ", t->name, shape, elm_dtype_get(t->dtype)->text,
               t->group, (unsigned long long)(t->codes_bytes + t->scales_bytes + t->zeros_bytes));
        cli_print_plain((const char *)from.data, from.size);
        printf(" | %.3g | %.3g |\n", number_of(r, "rel_rms"), number_of(r, "max_abs"));
    }
}

/* What sessions take, up to the context that the model was made for. */
static void print_memory(const elm_model *m) {
    static const uint32_t steps[] = {2048, 8192, 32768, 131072, UINT32_MAX};
    const uint32_t most = m->meta.context_length;
    uint32_t n = 0;
    puts("\n| context | KV f32 MB | KV f16 MB | KV int8 MB | rewind points MB | other MB |\n"
         "|---:|---:|---:|---:|---:|---:|");
    for (size_t i = 0; n < most; i++) {
        elm_memory_estimate e[3];
        n = steps[i] < most ? steps[i] : most;
        for (int kv = 0; kv < 3; kv++) {
            elm_session_options so = {
                .struct_size = sizeof so, .n_context = n, .kv = (elm_kv_type)(ELM_KV_F32 + kv)};
            (void)!elm_model_estimate_memory(m, &so, &e[kv], NULL);
        }
        printf("| %u | %.1f | %.1f | %.1f | %.1f | %.1f |\n", n, (double)e[0].kv_bytes / 1e6,
               (double)e[1].kv_bytes / 1e6, (double)e[2].kv_bytes / 1e6,
               (double)e[1].snapshot_bytes / 1e6, (double)e[1].scratch_bytes / 1e6);
    }
}

static void print_summary(const elm_model *m, const totals *t) {
    const elm_meta *meta = &m->meta;
    cli_print_plain(meta->architecture, strlen(meta->architecture));
    if (meta->name[0]) putchar(' ');
    cli_print_plain(meta->name, strlen(meta->name));
    printf(", format %u.%u, generation %llu\n", m->container.major, m->container.minor,
           (unsigned long long)m->container.generation);
    printf("%.1f M parameters, %u layers, hidden %u, vocabulary %u (%u real), context %u\n",
           (double)meta->n_parameters / 1e6, meta->n_layers, meta->hidden_size, meta->vocab_size,
           meta->n_real_tokens, meta->context_length);
    printf("weights %.1f MB: 1/%.2f of float32 (%.1f MB); file %.1f MB: 1/%.2f\n",
           (double)t->stored / 1e6, (double)t->f32 / (double)t->stored, (double)t->f32 / 1e6,
           (double)m->container.map.size / 1e6, (double)t->f32 / (double)m->container.map.size);
    for (uint32_t d = 0; d < ELM_N_DTYPES; d++) {
        if (t->n_by_type[d]) {
            printf("  %-6s %4u tensors, %.1f MB\n", elm_dtype_get(d)->text, t->n_by_type[d],
                   (double)t->by_type[d] / 1e6);
        }
    }
    cli_sections_print(&m->container);
    print_memory(m);
    elm_memory_estimate head;
    elm_session_options mtp = {.struct_size = sizeof mtp, .draft = ELM_DRAFT_MTP};
    if (elm_model_estimate_memory(m, &mtp, &head, NULL) == ELM_OK)
        printf("\n--draft mtp takes %.1f MB more\n", (double)head.draft_bytes / 1e6);
    printf("\nchat template: %s\n", m->chat_template ? "yes" : "none");
}

static void put_tensors(elm_json_writer *w, const elm_model *m, const elm_json *records) {
    elm_json_begin_array(w, "tensors");
    for (uint32_t i = 0; i < m->n_tensors; i++) {
        const elm_tensor *t = &m->tensors[i];
        const elm_json *r = record_of(records, i, t->name);
        elm_json_begin_object(w, NULL);
        elm_json_put_str(w, "name", t->name);
        elm_json_put_str(w, "type", elm_dtype_get(t->dtype)->text);
        elm_json_put_int(w, "group", t->group);
        elm_json_begin_array(w, "shape");
        for (uint32_t d = 0; d < t->n_dims; d++) elm_json_put_int(w, NULL, t->dims[d]);
        elm_json_end_array(w);
        elm_json_put_int(w, "bytes", (int64_t)(t->codes_bytes + t->scales_bytes + t->zeros_bytes));
        elm_json_put_string(w, "source_type", text_of(r, "source_type"));
        elm_json_put_double(w, "rel_rms", number_of(r, "rel_rms"));
        elm_json_put_double(w, "max_abs", number_of(r, "max_abs"));
        elm_json_end_object(w);
    }
    elm_json_end_array(w);
}

static elm_status print_json(elm_model *m, const totals *t, const elm_json *records,
                             const cli_trust *trust, elm_error *err) {
    elm_buf out;
    elm_json_writer w;
    cli_buf(&out);
    elm_json_writer_init(&w, &out, true);
    elm_json_begin_object(&w, NULL);
    elm_json_put_int(&w, "schema_version", 1);
    elm_json_put_str(&w, "architecture", m->meta.architecture);
    elm_json_put_str(&w, "name", m->meta.name);
    elm_json_put_int(&w, "parameters", (int64_t)m->meta.n_parameters);
    elm_json_put_int(&w, "vocab_size", m->meta.vocab_size);
    elm_json_put_int(&w, "context_length", m->meta.context_length);
    elm_json_put_int(&w, "file_bytes", (int64_t)m->container.map.size);
    elm_json_put_int(&w, "weight_bytes", (int64_t)t->stored);
    elm_json_put_int(&w, "f32_bytes", (int64_t)t->f32);
    elm_json_put_double(&w, "f32_ratio", (double)t->f32 / (double)t->stored); /* of the weights */
    elm_json_put_double(&w, "file_f32_ratio", (double)t->f32 / (double)m->container.map.size);
    elm_json_begin_array(&w, "sections");
    for (uint32_t i = 0; i < m->container.n_sections; i++) {
        const elm_section *s = &m->container.sections[i];
        elm_json_begin_object(&w, NULL);
        elm_json_put_str(&w, "type", elm_section_text(s->type));
        elm_json_put_int(&w, "offset", (int64_t)s->offset);
        elm_json_put_int(&w, "bytes", (int64_t)s->size);
        elm_json_end_object(&w);
    }
    elm_json_end_array(&w);
    elm_status status = cli_origin_json(&m->container, trust, &w, err);
    put_tensors(&w, m, records);
    elm_json_end_object(&w);
    elm_buf_u8(&out, '\n');
    if (status == ELM_OK) cli_print_buf(&out);
    elm_buf_free(&out);
    return status;
}

static elm_status inspect(elm_model *m, const cli_options *o, const cli_trust *trust,
                          elm_error *err) {
    totals t = add_up(m);
    elm_buf out;
    elm_arena arena;
    const elm_json *records = NULL;
    cli_buf(&out);
    elm_arena_init(&arena, elm_allocator_default(), 0);
    elm_status status = quant_record(m, &arena, &records, err);
    if (status == ELM_OK && o->json) {
        status = print_json(m, &t, records, trust, err);
    } else if (status == ELM_OK && o->graph) {
        elm_module_dump(m->module, m->tensors, m->n_tensors, &out);
    } else if (status == ELM_OK && o->plan) {
        elm_plan_explain(&m->plan, m->module, m->tensors, &out);
    } else if (status == ELM_OK && o->tensors) {
        print_tensors(m, records);
    } else if (status == ELM_OK) {
        print_summary(m, &t);
        status = cli_origin_print(&m->container, trust, err);
    }
    cli_print_buf(&out);
    elm_buf_free(&out);
    elm_arena_free(&arena);
    return status;
}

/* A file that nothing here can run, such as one without its weights: what can be said of it. */
static void inspect_container(const char *path, const cli_trust *trust) {
    elm_container c;
    elm_error err;
    elm_status status = elm_container_open(elm_platform_default(), path, &c, &err);
    if (status == ELM_OK) {
        cli_warn_damaged_slot(&c);
        cli_sections_print(&c);
        (void)!cli_origin_print(&c, trust, &err);
    }
    elm_container_close(&c);
}

static int run(const cli_options *o) {
    elm_error err;
    elm_model *m = NULL;
    elm_model_options mo;
    cli_trust trust;
    elm_status status = cli_trust_open(&trust, o->key, &err);
    if (status == ELM_OK) status = cli_model_options(o, &mo, &err);
    if (status == ELM_OK) status = elm_model_open(&m, o->positional[0], &mo, &err);
    if (status == ELM_OK) {
        cli_warn_damaged_slot(&m->container);
        status = inspect(m, o, &trust, &err);
    } else if (status == ELM_UNSUPPORTED && !o->json) {
        inspect_container(o->positional[0], &trust);
    }
    elm_model_close(m);
    cli_trust_close(&trust);
    return status == ELM_OK ? 0 : cli_error(&err);
}

const cli_command cli_inspect = {"inspect",
                                 "inspect MODEL [--graph | --tensors | --plan] [--json]",
                                 "what a file holds and what it costs",
                                 "  edge-llm inspect model.elm\n"
                                 "  edge-llm inspect model.elm --plan --backend cpu\n",
                                 1,
                                 1,
                                 run};
