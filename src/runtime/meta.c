/* meta.c - the META section to numbers, each checked; runtime. */
#include "runtime/model.h"

#include <math.h>

static elm_status u32(const elm_json *meta, const char *key, int64_t min, int64_t max,
                      uint32_t *out, elm_error *err) {
    int64_t value = *out;
    ELM_TRY(elm_json_int(meta, key, min, max, "meta", &value, err));
    if (value < min) return elm_fail(err, ELM_MALFORMED, "meta: '%s' is missing", key);
    *out = (uint32_t)value;
    return ELM_OK;
}

static elm_status ids(const elm_json *meta, const char *key, uint32_t vocab, elm_arena *arena,
                      int32_t **out, uint32_t *n_out, elm_error *err) {
    const elm_json *list = elm_json_find(meta, key);
    if (!list) return ELM_OK;
    if (list->type != ELM_JSON_ARRAY)
        return elm_fail(err, ELM_MALFORMED, "meta: '%s' is no list", key);
    int32_t *values = elm_arena_array(arena, list->count, sizeof *values);
    if (!values && list->count > 0) return elm_fail_oom(err, list->count * sizeof *values, key);
    for (uint32_t i = 0; i < list->count; i++) {
        const elm_json *v = &list->as.items[i];
        if (v->type != ELM_JSON_INT || v->as.integer < 0 || v->as.integer >= vocab) {
            return elm_fail(err, ELM_MALFORMED, "meta: '%s' holds an id outside 0..%u", key,
                            vocab - 1);
        }
        values[i] = (int32_t)v->as.integer;
    }
    *out = values;
    *n_out = list->count;
    return ELM_OK;
}

static elm_status number(const elm_json *object, const char *key, double min, double max,
                         float *out, elm_error *err) {
    double value = (double)*out;
    ELM_TRY(elm_json_double(object, key, "meta.sampling", &value, err));
    if (!(value >= min && value <= max)) {
        return elm_fail(err, ELM_MALFORMED, "meta.sampling: '%s' is %g; expected %g..%g", key,
                        value, min, max);
    }
    *out = (float)value;
    return ELM_OK;
}

static elm_status sampling(const elm_json *meta, elm_sampling *s, elm_error *err) {
    const elm_json *object = elm_json_find(meta, "sampling");
    int64_t top_k = 0;
    s->struct_size = sizeof *s;
    s->temperature = 1.0f;
    s->top_p = 1.0f;
    s->repetition_penalty = 1.0f;
    if (!object) return ELM_OK;
#define X(name, least, most) ELM_TRY(number(object, #name, least, most, &s->name, err));
#include "elm/sampling.def"
#undef X
    ELM_TRY(elm_json_int(object, "top_k", 0, INT32_MAX, "meta.sampling", &top_k, err));
    s->top_k = (int32_t)top_k;
    return ELM_OK;
}

static elm_status text(const elm_json *meta, const char *key, elm_arena *arena, const char **out,
                       elm_error *err) {
    elm_span s = elm_span_str("");
    ELM_TRY(elm_json_string(meta, key, "meta", &s, err));
    *out = elm_arena_string(arena, s);
    return *out ? ELM_OK : elm_fail_oom(err, s.size, key);
}

elm_status elm_meta_read(elm_span section, elm_arena *arena, elm_meta *out, elm_error *err) {
    const elm_json *meta = NULL;
    ELM_TRY(elm_json_parse(section, "meta", NULL, arena, &meta, err));
    if (meta->type != ELM_JSON_OBJECT)
        return elm_fail(err, ELM_MALFORMED, "meta: expected an object");
    ELM_TRY(text(meta, "architecture", arena, &out->architecture, err));
    ELM_TRY(text(meta, "name", arena, &out->name, err));
    ELM_TRY(u32(meta, "vocab_size", 1, ELM_MAX_DIM, &out->vocab_size, err));
    ELM_TRY(u32(meta, "hidden_size", 1, ELM_MAX_DIM, &out->hidden_size, err));
    ELM_TRY(u32(meta, "n_layers", 1, ELM_MAX_DIM, &out->n_layers, err));
    ELM_TRY(u32(meta, "context_length", 1, ELM_MAX_DIM, &out->context_length, err));
    out->n_real_tokens = out->vocab_size;
    ELM_TRY(u32(meta, "n_real_tokens", 1, out->vocab_size, &out->n_real_tokens, err));
    int64_t parameters = 0, bos = ELM_NO_TOKEN;
    ELM_TRY(elm_json_int(meta, "n_parameters", 0, INT64_MAX, "meta", &parameters, err));
    ELM_TRY(elm_json_int(meta, "bos_id", 0, (int64_t)out->vocab_size - 1, "meta", &bos, err));
    out->n_parameters = (uint64_t)parameters;
    out->bos_id = (int32_t)bos;
    ELM_TRY(elm_json_bool(meta, "add_bos", "meta", &out->add_bos, err));
    ELM_TRY(elm_json_bool(meta, "raw_needs_bos", "meta", &out->raw_needs_bos, err));
    ELM_TRY(elm_json_bool(meta, "float_weights", "meta", &out->float_weights, err));
    ELM_TRY(ids(meta, "eos_ids", out->vocab_size, arena, &out->eos_ids, &out->n_eos_ids, err));
    ELM_TRY(ids(meta, "suppress_ids", out->vocab_size, arena, &out->suppress_ids,
                &out->n_suppress_ids, err));
    ELM_TRY(elm_answer_format_read(meta, &out->answer, err));
    out->special_tokens = elm_json_find(meta, "special_tokens");
    return sampling(meta, &out->sampling, err);
}
