/* source_gguf.c - a GGUF as the Hugging Face folder that it was made from: vocabulary, special
 * tokens; parse. */
#include "parse/gguf_config.h"
#include "parse/source.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_ROPE_FACTORS = 4096, MAX_TEMPLATE_BYTES = 1 << 20 };

/* Divisors of frequencies, taken out of the tensors: rope_freqs.weight, which stands for llama3
 * scaling, or longrope's factors. */
static elm_status take_factors(elm_source *s, const char *name, elm_gguf_factors *out,
                               elm_error *err) {
    elm_checkpoint *ck = &s->gguf.checkpoint;
    const elm_source_tensor *t = elm_checkpoint_find(ck, name);
    if (!t) return ELM_OK;
    if (t->n_dims != 1 || t->dims[0] > MAX_ROPE_FACTORS || t->type != ELM_SOURCE_F32) {
        return elm_fail(err, ELM_MALFORMED, "'%s': %s is no vector of float32", s->where, name);
    }
    float *factors = elm_arena_array(&s->arena, (size_t)t->dims[0], sizeof *factors);
    if (!factors) return elm_fail_oom(err, (size_t)t->bytes, "rope factors");
    ELM_TRY(elm_checkpoint_read_rows(ck, t, 0, t->dims[0], factors, err));
    for (uint64_t i = 0; i < t->dims[0]; i++) {
        if (factors[i] > 0.0f && isfinite(factors[i])) continue;
        return elm_fail(err, ELM_MALFORMED, "'%s': a factor of %s is not a finite number above 0",
                        s->where, name);
    }
    *out = (elm_gguf_factors){factors, (uint32_t)t->dims[0]};
    uint32_t at = (uint32_t)(t - ck->tensors);
    memmove(&ck->tensors[at], &ck->tensors[at + 1], (ck->n_tensors - at - 1) * sizeof *ck->tensors);
    ck->n_tensors--;
    return elm_checkpoint_index(ck, err);
}

/* ---- tokenizer ---- */

/* A token id that the vocabulary has; ELM_NO_TOKEN when the file does not say. */
static elm_status read_id(const elm_source *s, const char *key, int32_t *out, elm_error *err) {
    int64_t id;
    *out = ELM_NO_TOKEN;
    if (!elm_gguf_find(&s->gguf, key)) return ELM_OK;
    if (!elm_gguf_int(&s->gguf, key, &id)) {
        return elm_fail(err, ELM_MALFORMED, "'%s': '%s' is no integer", s->where, key);
    }
    if (id == -1 || id == UINT32_MAX) return ELM_OK; /* how some writers say none */
    if (id < 0 || id >= s->vocab.n_tokens) {
        return elm_fail(err, ELM_MALFORMED, "'%s': '%s' is %lld; the vocabulary has %u tokens",
                        s->where, key, (long long)id, s->vocab.n_tokens);
    }
    *out = (int32_t)id;
    return ELM_OK;
}

static elm_status read_lists(elm_source *s, elm_error *err) {
    const elm_gguf *g = &s->gguf;
    elm_gguf_vocab *v = &s->vocab;
    elm_span *tokens, *merges;
    float *scores;
    int32_t *types;
    uint32_t n_scores, n_types;
    ELM_TRY(elm_gguf_strings(g, "tokenizer.ggml.tokens", &s->arena, &tokens, &v->n_tokens, err));
    ELM_TRY(elm_gguf_strings(g, "tokenizer.ggml.merges", &s->arena, &merges, &v->n_merges, err));
    ELM_TRY(elm_gguf_words(g, "tokenizer.ggml.scores", ELM_GGUF_F32, &s->arena, &scores, &n_scores,
                           err));
    ELM_TRY(elm_gguf_words(g, "tokenizer.ggml.token_type", ELM_GGUF_I32, &s->arena, &types,
                           &n_types, err));
    if (!tokens || v->n_tokens == 0)
        return elm_fail(err, ELM_MALFORMED, "'%s' has no tokenizer.ggml.tokens", s->where);
    if ((scores && n_scores != v->n_tokens) || (types && n_types != v->n_tokens)) {
        return elm_fail(err, ELM_MALFORMED, "'%s': the tokenizer's lists differ in length",
                        s->where);
    }
    v->tokens = tokens;
    v->merges = merges;
    v->scores = scores;
    v->types = types;
    return ELM_OK;
}

/* What llama.cpp does where the file is silent: SentencePiece, Llama 3 and Tekken begin with BOS. */
static void default_flags(elm_gguf_vocab *v) {
    static const char *const with_bos[] = {"llama3",    "llama-v3", "llama-bpe", "falcon3",
                                           "falcon-h1", "pixtral",  "midm-2.0",  "lfm2"};
    bool spm = elm_span_equal(v->model, elm_span_str("llama"));
    v->add_bos = spm;
    v->add_space_prefix = spm;
    for (size_t i = 0; i < sizeof with_bos / sizeof with_bos[0]; i++) {
        if (!spm && elm_span_equal(v->pre, elm_span_str(with_bos[i]))) v->add_bos = true;
    }
}

/* Files carry one end token or two, chat models need every one that ends a turn: llama.cpp finds
 * them by their spelling, and so do we. */
static void add_spelled_ends(elm_source *s) {
    static const char *const ends[] = {"<|eot_id|>",    "<|im_end|>",      "<|end|>",
                                       "<end_of_turn>", "<|endoftext|>",   "<|end_of_text|>",
                                       "<|eom_id|>",    "<EOT>",           "<end_of_utterance>",
                                       "<turn|>",       "<|tool_response>"};
    for (uint32_t t = 0; t < s->vocab.n_tokens; t++) {
        const elm_span text = s->vocab.tokens[t];
        if (text.size < 5 || text.data[0] != '<') continue;
        for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
            if (elm_span_equal(text, elm_span_str(ends[i]))) elm_source_add_eos(s, t);
        }
    }
}

static elm_status read_vocab(elm_source *s, elm_error *err) {
    const elm_gguf *g = &s->gguf;
    elm_gguf_vocab *v = &s->vocab;
    int32_t turn_end, message_end;
    elm_span architecture = {NULL, 0};
    if (!elm_gguf_string(g, "tokenizer.ggml.model", &v->model)) {
        return elm_fail(err, ELM_MALFORMED, "'%s' has no tokenizer.ggml.model", s->where);
    }
    (void)elm_gguf_string(g, "tokenizer.ggml.pre", &v->pre);
    ELM_TRY(read_lists(s, err));
    ELM_TRY(read_id(s, "tokenizer.ggml.bos_token_id", &v->bos_id, err));
    ELM_TRY(read_id(s, "tokenizer.ggml.eos_token_id", &v->eos_id, err));
    ELM_TRY(read_id(s, "tokenizer.ggml.unknown_token_id", &v->unk_id, err));
    ELM_TRY(read_id(s, "tokenizer.ggml.eot_token_id", &turn_end, err));
    ELM_TRY(read_id(s, "tokenizer.ggml.eom_token_id", &message_end, err));
    default_flags(v);
    (void)elm_gguf_string(g, "general.architecture", &architecture);
    v->phi3_strips = elm_span_equal(architecture, elm_span_str("phi3")) &&
                     elm_span_equal(v->model, elm_span_str("llama"));
    (void)elm_gguf_bool(g, "tokenizer.ggml.add_bos_token", &v->add_bos);
    (void)elm_gguf_bool(g, "tokenizer.ggml.add_eos_token", &v->add_eos);
    (void)elm_gguf_bool(g, "tokenizer.ggml.add_space_prefix", &v->add_space_prefix);
    s->bos_id = v->bos_id;
    elm_source_add_eos(s, v->eos_id);
    elm_source_add_eos(s, turn_end);
    elm_source_add_eos(s, message_end);
    add_spelled_ends(s);
    return ELM_OK;
}

/* {"bos_token": ..., "eos_token": ...} from the vocabulary's spellings. */
static elm_status special_tokens(elm_source *s, elm_error *err) {
    const struct {
        const char *key;
        int32_t id;
    } tokens[] = {{"bos_token", s->vocab.bos_id},
                  {"eos_token", s->vocab.eos_id},
                  {"unk_token", s->vocab.unk_id}};
    elm_json *object = elm_arena_array(&s->arena, 1, sizeof *object);
    elm_json *members = elm_arena_array(&s->arena, 3, sizeof *members);
    if (!object || !members) return elm_fail_oom(err, 3 * sizeof *members, "special tokens");
    object->type = ELM_JSON_OBJECT;
    object->as.items = members;
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0]; i++) {
        if (tokens[i].id == ELM_NO_TOKEN) continue;
        elm_json *m = &members[object->count++];
        m->type = ELM_JSON_STRING;
        m->key = elm_span_str(tokens[i].key);
        m->as.string = s->vocab.tokens[tokens[i].id];
    }
    s->special_tokens = object;
    return ELM_OK;
}

/* The metadata's texts that stand on their own. */
static elm_status read_texts(elm_source *s, elm_error *err) {
    elm_span text;
    if (elm_gguf_string(&s->gguf, "general.name", &text))
        s->name = elm_arena_string(&s->arena, text);
    if (!s->name) return elm_fail_oom(err, 64, "the model's name");
    if (!elm_gguf_string(&s->gguf, "tokenizer.chat_template", &text)) return ELM_OK;
    s->chat_template = elm_arena_string(&s->arena, text);
    if (!s->chat_template) return elm_fail_oom(err, text.size, "the chat template");
    if (text.size > MAX_TEMPLATE_BYTES || strlen(s->chat_template) != text.size) {
        return elm_fail(err, ELM_MALFORMED,
                        "'%s': tokenizer.chat_template is over %d bytes or holds a zero byte",
                        s->where, MAX_TEMPLATE_BYTES);
    }
    return ELM_OK;
}

/* Files beside a model's own: "clip" is what older vision parts call themselves. */
static elm_status check_kind(const elm_source *s, elm_span architecture, elm_error *err) {
    static const char vision[] = "mmproj";
    elm_span kind = elm_span_str("model");
    (void)elm_gguf_string(&s->gguf, "general.type", &kind);
    if (elm_span_equal(architecture, elm_span_str("clip"))) kind = elm_span_str(vision);
    if (elm_span_equal(kind, elm_span_str("model"))) return ELM_OK;
    if (elm_span_equal(kind, elm_span_str(vision))) {
        return elm_fail(
            err, ELM_UNSUPPORTED,
            "'%s' is the vision or audio part of a model (mmproj); only language models "
            "are supported: give that one's file",
            s->where);
    }
    return elm_fail(err, ELM_UNSUPPORTED,
                    "'%s' is of the type '%.*s'; only whole models can be converted", s->where,
                    (int)(kind.size < 64 ? kind.size : 64), (const char *)kind.data);
}

/* The architecture, its config.json and the tensors under Hugging Face's names. */
static elm_status read_model(elm_source *s, elm_error *err) {
    elm_gguf_factors factors[ELM_GGUF_N_FACTORS] = {{NULL, 0}};
    elm_span name;
    ELM_TRY(elm_gguf_join(&s->gguf, err));
    if (s->gguf.checkpoint.n_tensors == 0)
        return elm_fail(err, ELM_MALFORMED, "'%s' holds no tensors", s->where);
    if (!elm_gguf_string(&s->gguf, "general.architecture", &name)) {
        return elm_fail(err, ELM_MALFORMED, "'%s' has no general.architecture", s->where);
    }
    ELM_TRY(check_kind(s, name, err));
    const elm_gguf_architecture *a = elm_gguf_architecture_find(name);
    if (!a) {
        return elm_fail(err, ELM_UNSUPPORTED,
                        "'%s': architecture '%.*s' is not supported in GGUF files", s->where,
                        (int)(name.size < 64 ? name.size : 64), (const char *)name.data);
    }
    ELM_TRY(elm_gguf_part_qkv(&s->gguf, a, err));
    ELM_TRY(take_factors(s, "rope_freqs.weight", &factors[ELM_GGUF_FREQS], err));
    if (elm_span_equal(name, elm_span_str("phi3"))) {
        ELM_TRY(take_factors(s, "rope_factors_short.weight", &factors[ELM_GGUF_SHORT], err));
        ELM_TRY(take_factors(s, "rope_factors_long.weight", &factors[ELM_GGUF_LONG], err));
    }
    ELM_TRY(elm_gguf_config(&s->gguf, a, factors, &s->arena, &s->config, err));
    s->rope_factors = factors[ELM_GGUF_FREQS].values;
    s->n_rope_factors = factors[ELM_GGUF_FREQS].n;
    s->root = s->config;
    if (elm_json_find(s->config, "rope_parameters")) s->n_rope_factors = 0; /* they are in there */
    if (s->n_rope_factors == 0) s->rope_factors = NULL;
    return elm_gguf_rename_tensors(&s->gguf, a, s->config, &s->arena, err);
}

elm_status elm_source_read_gguf(elm_source *s, const char *path, bool with_weights,
                                elm_error *err) {
    s->is_gguf = true;
    s->where = elm_arena_string(&s->arena, elm_span_str(path));
    if (!s->where) return elm_fail_oom(err, strlen(path), "a path");
    ELM_TRY(elm_gguf_open(s->platform, path, &s->gguf, err));
    if (with_weights) ELM_TRY(read_model(s, err));
    ELM_TRY(read_vocab(s, err));
    ELM_TRY(special_tokens(s, err));
    return read_texts(s, err);
}
