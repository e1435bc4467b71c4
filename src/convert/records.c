/* records.c - see records.h; convert. */
#include "convert/records.h"

#include "convert/provenance.h"
#include "text/answer.h"

#include <math.h>
#include <stdio.h>

enum { MAX_META_BYTES = 4 << 20, MAX_QUANT_BYTES = 64 << 20 };

static elm_status put_sampling(elm_json_writer *w, const char *key, double value, double least,
                               double most, elm_error *err) {
    if (isnan(value)) return ELM_OK; /* the source does not say */
    if (!(value >= least && value <= most)) {
        return elm_fail(err, ELM_MALFORMED, "generation_config.json: '%s' is %g; expected %g..%g",
                        key, value, least, most);
    }
    elm_json_put_double(w, key, value);
    return ELM_OK;
}

static elm_status write_sampling(const elm_source_sampling *source, elm_json_writer *w,
                                 elm_error *err) {
    elm_source_sampling s = *source;
    if (s.greedy) s.temperature = 0.0;
    elm_json_begin_object(w, "sampling");
#define X(name, least, most) ELM_TRY(put_sampling(w, #name, s.name, least, most, err));
#include "elm/sampling.def"
#undef X
    if (s.top_k >= 0) elm_json_put_int(w, "top_k", s.top_k);
    elm_json_end_object(w);
    return ELM_OK;
}

static void write_ids(elm_json_writer *w, const char *key, const int64_t *ids, uint32_t n,
                      uint32_t vocab) {
    elm_json_begin_array(w, key);
    for (uint32_t i = 0; i < n; i++) {
        if (ids[i] < (int64_t)vocab) elm_json_put_int(w, NULL, ids[i]);
    }
    elm_json_end_array(w);
}

static void write_special_tokens(const elm_json *tokens, elm_json_writer *w) {
    if (!tokens) return;
    elm_json_begin_object(w, "special_tokens");
    for (uint32_t i = 0; i < tokens->count; i++) {
        const elm_json *t = &tokens->as.items[i];
        elm_json_put_string(w, (const char *)t->key.data, t->as.string); /* keys end in NUL */
    }
    elm_json_end_object(w);
}

static bool all_float(const elm_model_builder *mb) {
    for (uint32_t i = 0; i < mb->n_weights; i++) {
        if (mb->weights[i].role != ELM_ROLE_VECTOR && mb->weights[i].scheme.dtype != ELM_F32)
            return false;
    }
    return true;
}

/* "int4:32", "int8:channel", "f16", "keep" */
static void put_scheme(elm_json_writer *w, const char *key, elm_quant quant,
                       const elm_scheme_choice *choice) {
    char text[32];
    bool grouped = quant == ELM_QUANT_INT4 || quant == ELM_QUANT_INT8;
    if (!grouped)
        snprintf(text, sizeof text, "%s", elm_quant_text(quant));
    else if (choice->group)
        snprintf(text, sizeof text, "%s:%u", elm_quant_text(quant), choice->group);
    else
        snprintf(text, sizeof text, "%s:channel", elm_quant_text(quant));
    elm_json_put_str(w, key, text);
}

static void write_options(const elm_convert_options *o, const elm_model_builder *mb,
                          elm_json_writer *w) {
    elm_json_begin_object(w, "options");
    put_scheme(w, "linear", o->quant, &mb->choice[ELM_ROLE_LINEAR]);
    put_scheme(w, "embedding", o->embed, &mb->choice[ELM_ROLE_EMBEDDING]);
    put_scheme(w, "head", o->head, &mb->choice[ELM_ROLE_HEAD]);
    elm_json_put_bool(w, "zero_point", o->zero_point);
    elm_json_end_object(w);
}

elm_status elm_write_meta(const elm_source *source, const elm_model_builder *mb,
                          const elm_meta_facts *facts, elm_buf *out, elm_error *err) {
    elm_json_writer w;
    int32_t tokenizer_bos = facts->tokenizer_bos;
    int32_t bos = tokenizer_bos != ELM_NO_TOKEN ? tokenizer_bos : source->bos_id;
    out->max_bytes = MAX_META_BYTES;
    elm_json_writer_init(&w, out, false);
    elm_json_begin_object(&w, NULL);
    elm_json_put_str(&w, "architecture", facts->family);
    elm_json_put_str(&w, "name", source->name);
    elm_json_put_int(&w, "vocab_size", mb->vocab_size);
    elm_json_put_int(&w, "n_real_tokens", facts->n_real_tokens);
    elm_json_put_int(&w, "context_length", mb->context_length);
    elm_json_put_int(&w, "hidden_size", mb->hidden_size);
    elm_json_put_int(&w, "n_layers", mb->n_layers);
    elm_json_put_int(&w, "n_parameters", (int64_t)facts->n_parameters);
    if (bos >= 0 && (uint32_t)bos < mb->vocab_size) elm_json_put_int(&w, "bos_id", bos);
    elm_json_put_bool(&w, "add_bos", tokenizer_bos != ELM_NO_TOKEN);
    elm_json_put_bool(&w, "raw_needs_bos", mb->raw_needs_bos);
    elm_json_put_bool(&w, "float_weights", all_float(mb));
    write_ids(&w, "eos_ids", source->eos_ids, source->n_eos, mb->vocab_size);
    write_ids(&w, "suppress_ids", source->suppress_ids, source->n_suppress, mb->vocab_size);
    ELM_TRY(write_sampling(&source->sampling, &w, err));
    write_special_tokens(source->special_tokens, &w);
    if (source->chat_template) {
        elm_answer_format answer;
        elm_answer_format_detect(elm_span_str(source->chat_template), &answer);
        elm_answer_format_write(&answer, &w);
    }
    ELM_TRY(elm_provenance_write(source, facts->path, &w, err));
    write_options(facts->options, mb, &w);
    elm_json_put_str(&w, "converter_version", EDGE_LLM_VERSION);
    elm_json_end_object(&w);
    return elm_buf_check(out, "the metadata", err);
}

void elm_quant_record_begin(elm_quant_record *q, const elm_allocator *alloc, const char *scheme) {
    elm_buf_init(&q->text, alloc, MAX_QUANT_BYTES);
    elm_json_writer_init(&q->w, &q->text, false);
    elm_json_begin_object(&q->w, NULL);
    elm_json_put_str(&q->w, "scheme", scheme);
    elm_json_begin_array(&q->w, "tensors");
}

void elm_quant_record_add(elm_quant_record *q, const elm_convert_tensor *t) {
    elm_json_begin_object(&q->w, NULL);
    elm_json_put_str(&q->w, "name", t->name);
    elm_json_put_str(&q->w, "source_type", t->source_type);
    elm_json_put_str(&q->w, "type", t->type);
    elm_json_put_int(&q->w, "group", t->group);
    elm_json_put_bool(&q->w, "exact", t->exact);
    elm_json_put_double(&q->w, "rel_rms", t->rel_rms);
    elm_json_put_double(&q->w, "max_abs", t->max_abs);
    elm_json_end_object(&q->w);
}

elm_status elm_quant_record_end(elm_quant_record *q, elm_error *err) {
    elm_json_end_array(&q->w);
    elm_json_end_object(&q->w);
    return elm_buf_check(&q->text, "the quantisation record", err);
}

void elm_quant_record_free(elm_quant_record *q) {
    elm_buf_free(&q->text);
}
