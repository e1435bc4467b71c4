/* convert.c - a source model to one .elm file: options, source, graph; convert.
 *
 * Everything that can be refused is refused before the first byte is written: config, tensors,
 * tokenizer, template. Then emit.c lets the weights stream through, one at a time. */
#include "convert/conversion.h"
#include "convert/provenance.h"
#include "text/template.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { MAX_TOKENIZER_BYTES = 512 << 20 };

/* ---- options ---- */

static const struct {
    elm_quant quant;
    const char *text;
    elm_dtype dtype;
} quants[] = {
    {ELM_QUANT_F32, "f32", ELM_F32},
    {ELM_QUANT_F16, "f16", ELM_F16},
    {ELM_QUANT_BF16, "bf16", ELM_BF16},
    {ELM_QUANT_INT8, "int8", ELM_I8},
    {ELM_QUANT_INT4, "int4", ELM_I4},
    {ELM_QUANT_KEEP, "keep", ELM_N_DTYPES},
    {ELM_QUANT_DEFAULT, "default", ELM_N_DTYPES},
};

bool elm_quant_parse(const char *text, elm_quant *out) {
    for (size_t i = 0; i < sizeof quants / sizeof quants[0]; i++) {
        if (quants[i].quant != ELM_QUANT_DEFAULT && strcmp(quants[i].text, text) == 0) {
            *out = quants[i].quant;
            return true;
        }
    }
    return false;
}

const char *elm_quant_text(elm_quant quant) {
    for (size_t i = 0; i < sizeof quants / sizeof quants[0]; i++) {
        if (quants[i].quant == quant) return quants[i].text;
    }
    return "?";
}

void elm_conversion_note(const elm_conversion *c, const char *fmt, ...) {
    char line[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    if (c->o.on_note) c->o.on_note(c->o.context, line);
}

static elm_status choice_of(const elm_conversion *c, elm_quant quant, int32_t group,
                            int32_t default_group, elm_scheme_choice *out, elm_error *err) {
    elm_dtype dtype = ELM_N_DTYPES;
    for (size_t i = 0; i < sizeof quants / sizeof quants[0]; i++) {
        if (quants[i].quant == quant) dtype = quants[i].dtype;
    }
    if (group == 0) group = default_group;
    if (group != 32 && group != 64 && group != 128 && group != ELM_GROUP_CHANNEL) {
        return elm_fail(err, ELM_INVALID_ARGUMENT, "a group of %d; expected 32, 64, 128 or channel",
                        group);
    }
    if (c->o.zero_point && dtype == ELM_I4) dtype = ELM_I4Z;
    if (c->o.zero_point && dtype == ELM_I8) dtype = ELM_I8Z;
    out->dtype = dtype;
    out->group = group == ELM_GROUP_CHANNEL ? 0 : (uint32_t)group;
    return ELM_OK;
}

static const char *group_text(uint32_t group, char *buffer, size_t n) {
    if (group)
        snprintf(buffer, n, "%u", group);
    else
        snprintf(buffer, n, "channel");
    return buffer;
}

static bool is_int(elm_quant q) {
    return q == ELM_QUANT_INT4 || q == ELM_QUANT_INT8;
}

static bool has_blocks(const elm_checkpoint *ck) {
    for (uint32_t i = 0; i < ck->n_tensors; i++) {
        if (elm_source_type_get(ck->tensors[i].type)->block_elements > 1) return true;
    }
    return false;
}

static elm_status choose_schemes(elm_conversion *c, elm_error *err) {
    elm_convert_options *o = &c->o;
    elm_scheme_choice *choice = c->mb.choice;
    char group[16];
    if (o->quant == ELM_QUANT_DEFAULT) {
        o->quant = has_blocks(elm_source_checkpoint(&c->source)) ? ELM_QUANT_KEEP : ELM_QUANT_INT4;
    }
    /* The embedding is read a row a token, and a tied head decides every token: eight bits where
     * the rest has four. */
    if (o->embed == ELM_QUANT_DEFAULT) {
        o->embed = is_int(o->quant) ? ELM_QUANT_INT8 : o->quant;
        if (o->embed_group == 0 && is_int(o->quant)) o->embed_group = 64;
    }
    if (o->head == ELM_QUANT_DEFAULT) {
        o->head = o->embed;
        if (o->head_group == 0) o->head_group = o->embed_group;
    }
    ELM_TRY(choice_of(c, o->quant, o->group, o->quant == ELM_QUANT_INT8 ? 64 : 32,
                      &choice[ELM_ROLE_LINEAR], err));
    ELM_TRY(choice_of(c, o->embed, o->embed_group, o->embed == ELM_QUANT_INT8 ? 64 : 32,
                      &choice[ELM_ROLE_EMBEDDING], err));
    ELM_TRY(choice_of(c, o->head, o->head_group, o->head == ELM_QUANT_INT8 ? 64 : 32,
                      &choice[ELM_ROLE_HEAD], err));
    choice[ELM_ROLE_TABLE] = choice[ELM_ROLE_LINEAR];
    elm_conversion_note(
        c, "linear layers: %s%s%s", elm_quant_text(o->quant), is_int(o->quant) ? ", group " : "",
        is_int(o->quant) ? group_text(choice[ELM_ROLE_LINEAR].group, group, sizeof group) : "");
    elm_conversion_note(
        c, "embedding (and the head where it is tied): %s%s%s", elm_quant_text(o->embed),
        is_int(o->embed) ? ", group " : "",
        is_int(o->embed) ? group_text(choice[ELM_ROLE_EMBEDDING].group, group, sizeof group) : "");
    return ELM_OK;
}

/* ---- before anything is written ---- */

static elm_status find_family(elm_conversion *c, elm_error *err) {
    elm_span type = elm_span_str("");
    ELM_TRY(elm_json_string(c->source.config, "model_type", c->source.where, &type, err));
    c->family = elm_family_find(type);
    if (c->family) return ELM_OK;
    char known[160] = "";
    size_t used = 0;
    for (size_t f = 0; elm_families[f]; f++) {
        for (const char *const *t = elm_families[f]->model_types; *t && used < sizeof known - 1;
             t++) {
            used += (size_t)snprintf(known + used, sizeof known - used, used ? ", %s" : "%s", *t);
        }
    }
    return elm_fail(err, ELM_UNSUPPORTED, "%s: model_type '%.*s' is not supported; known are %s",
                    c->source.where, (int)(type.size < 64 ? type.size : 64),
                    (const char *)type.data, known);
}

static elm_status build_text(elm_conversion *c, elm_error *err) {
    elm_tokenizer *t = NULL;
    elm_tokenizer_info info;
    ELM_TRY(elm_source_tokenizer(&c->source, &c->tokenizer, err));
    ELM_TRY(elm_buf_check(&c->tokenizer, "the tokenizer", err));
    ELM_TRY(elm_tokenizer_open(c->platform.alloc, elm_buf_span(&c->tokenizer), &t, err));
    elm_tokenizer_get_info(t, &info);
    elm_tokenizer_close(t);
    c->bos_id = info.bos_id;
    c->n_real_tokens = info.n_ids < c->mb.vocab_size ? info.n_ids : c->mb.vocab_size;
    if (info.n_ids > c->mb.vocab_size) {
        elm_conversion_note(
            c,
            "the tokenizer has %u ids and the embedding %u rows; ids beyond the rows cannot be "
            "used",
            info.n_ids, c->mb.vocab_size);
    }
    if (!c->source.chat_template) {
        elm_conversion_note(c, "there is no chat template: run with --raw");
        return ELM_OK;
    }
    elm_template *template = NULL;
    ELM_TRY(elm_template_parse(c->platform.alloc, elm_span_str(c->source.chat_template), &template,
                               err));
    elm_template_free(template);
    return ELM_OK;
}

/* A checkpoint that another tool quantised has other tensors than the family: says so. */
static elm_status explain_quantised(const elm_conversion *c, elm_status status, elm_error *err) {
    const elm_json *q = elm_json_find(c->source.config, "quantization_config");
    elm_span method = elm_span_str("?");
    if (!q) q = elm_json_find(c->source.root, "quantization_config");
    if (status != ELM_MALFORMED || !q || q->type != ELM_JSON_OBJECT) return status;
    elm_error before = {0}, ignored;
    if (err) before = *err;
    if (elm_json_string(q, "quant_method", c->source.where, &method, &ignored) != ELM_OK)
        return status;
    return elm_fail(err, ELM_UNSUPPORTED,
                    "%s: the checkpoint is quantised by '%.*s', which is not read; convert the "
                    "original one, or a GGUF of it (%s)",
                    c->source.where, (int)(method.size < 32 ? method.size : 32),
                    (const char *)method.data, before.message);
}

static elm_status build(elm_conversion *c, const char *path, elm_error *err) {
    ELM_TRY(find_family(c, err));
    c->mb.rope_factors = c->source.rope_factors;
    c->mb.n_rope_factors = c->source.n_rope_factors;
    ELM_TRY(choose_schemes(c, err));
    ELM_TRY(elm_model_builder_init(&c->mb, elm_source_checkpoint(&c->source), c->source.config,
                                   c->source.root, c->source.where, &c->arena, err));
    ELM_TRY(explain_quantised(c, c->family->build(&c->mb, err), err));
    if (c->source.n_other_tensors > 0) {
        elm_conversion_note(
            c, "left out: %u tensors of the vision and audio parts; this file holds the text model",
            c->source.n_other_tensors);
    }
    if (c->mb.head_differs) {
        elm_conversion_note(c,
                            "%s ties head and embedding, but lm_head.weight holds other numbers: "
                            "the head is kept apart, as transformers does",
                            c->source.where);
    }
    ELM_TRY(build_text(c, err));
    uint64_t parameters = 0;
    for (uint32_t i = 0; i < c->mb.n_weights; i++) {
        const elm_planned_weight *w = &c->mb.weights[i];
        if (w->n_parts > 0) parameters += elm_planned_elements(w);
    }
    c->out->n_parameters = parameters;
    c->out->f32_bytes = parameters * sizeof(float);
    const elm_meta_facts facts = {.path = path,
                                  .options = &c->o,
                                  .family = c->family->name,
                                  .n_real_tokens = c->n_real_tokens,
                                  .tokenizer_bos = c->bos_id,
                                  .n_parameters = parameters};
    ELM_TRY(elm_write_meta(&c->source, &c->mb, &facts, &c->meta, err));
    elm_module_write(c->mb.graph.module, &c->graph);
    return elm_buf_check(&c->graph, "the graph", err);
}

static elm_status convert(elm_conversion *c, const char *source, const char *path, elm_error *err) {
    const char *part = elm_arena_printf(&c->arena, "%s.part", path);
    if (!part) return elm_fail_oom(err, strlen(path), "a path");
    ELM_TRY(elm_source_open(&c->platform, source, true, &c->source, err));
    ELM_TRY(elm_provenance_spare(&c->source, source, path, err));
    ELM_TRY(elm_provenance_spare(&c->source, source, part, err));
    ELM_TRY(build(c, source, err));
    c->out->source_bytes = elm_source_checkpoint(&c->source)->total_bytes;
    snprintf(c->out->architecture, sizeof c->out->architecture, "%s", c->family->name);
    uint32_t threads = c->o.n_threads;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (threads == 0) threads = cores > 0 ? (uint32_t)cores : 1;
    ELM_TRY(elm_store_create(c->platform.alloc, elm_source_checkpoint(&c->source), threads,
                             c->o.should_stop, c->o.context, &c->store, err));
    return elm_conversion_emit(c, path, err);
}

static void copy_options(elm_convert_options *out, const elm_convert_options *options) {
    memset(out, 0, sizeof *out);
    if (!options) return;
    memcpy(out, options, options->struct_size < sizeof *out ? options->struct_size : sizeof *out);
}

elm_status elm_convert_on(const elm_platform *platform, const char *source, const char *path,
                          const elm_convert_options *options, elm_convert_result *out,
                          elm_error *err) {
    elm_convert_result local = {0};
    elm_conversion c;
    memset(&c, 0, sizeof c);
    c.out = out ? out : &local;
    memset(c.out, 0, sizeof *c.out);
    copy_options(&c.o, options);
    c.platform = *platform;
    if (c.o.allocator) c.platform.alloc = c.o.allocator;
    elm_arena_init(&c.arena, c.platform.alloc, 0);
    elm_buf_init(&c.tokenizer, c.platform.alloc, MAX_TOKENIZER_BYTES);
    elm_buf_init(&c.graph, c.platform.alloc, MAX_TOKENIZER_BYTES);
    elm_buf_init(&c.meta, c.platform.alloc, MAX_TOKENIZER_BYTES);
    elm_status status = convert(&c, source, path, err);
    elm_journal_close(&c.journal);
    elm_writer_abort(c.writer);
    elm_store_free(c.store);
    elm_quant_record_free(&c.quant);
    elm_buf_free(&c.meta);
    elm_buf_free(&c.graph);
    elm_buf_free(&c.tokenizer);
    elm_arena_free(&c.arena);
    elm_source_close(&c.source);
    return status;
}

elm_status elm_convert(const char *source, const char *path, const elm_convert_options *options,
                       elm_convert_result *out, elm_error *err) {
    return elm_convert_on(elm_platform_default(), source, path, options, out, err);
}
