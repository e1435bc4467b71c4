/* source_folder.c - the files of a Hugging Face folder; parse.
 *
 *   config.json             required; the text model may lie in "text_config"
 *   tokenizer.json          required
 *   generation_config.json  end tokens and sampling; wins over config.json
 *   tokenizer_config.json   special tokens, chat template
 *   chat_template.jinja     wins over the template in tokenizer_config.json;
 *                           then chat_template.json */
#include "parse/hints.h"
#include "parse/source.h"

#include <string.h>

enum { MAX_CONFIG_BYTES = 16 << 20, MAX_TOKENIZER_BYTES = 256 << 20, MAX_TEMPLATE_BYTES = 1 << 20 };

/* A JSON file of the folder; *out = NULL when it is not there and not required. */
static elm_status read_json(elm_source *s, const char *folder, const char *name, uint64_t max_bytes,
                            bool required, const elm_json **out, elm_error *err) {
    static const elm_json_options options = {.allow_nan = true, .allow_lone_surrogates = true};
    elm_path_kind kind;
    elm_span text;
    char *path = elm_path_join(&s->arena, folder, name);
    *out = NULL;
    if (!path) return elm_fail_oom(err, strlen(name), "a path");
    ELM_TRY(elm_path_kind_of(s->platform, path, &kind, err));
    if (kind != ELM_PATH_FILE) {
        if (!required) return ELM_OK;
        return elm_hint_missing(s->platform, &s->arena, folder, name, err);
    }
    ELM_TRY(elm_file_slurp(s->platform, path, max_bytes, &s->arena, &text, err));
    ELM_TRY(elm_hint_pointer(text, path, err));
    ELM_TRY(elm_json_parse(text, path, &options, &s->arena, out, err));
    if ((*out)->type != ELM_JSON_OBJECT)
        return elm_fail(err, ELM_MALFORMED, "'%s': expected a JSON object", path);
    return ELM_OK;
}

/* An id, or a list of them. */
static elm_status read_ids(const elm_json *object, const char *key, const char *where, int64_t *out,
                           uint32_t max, uint32_t *n, elm_error *err) {
    const elm_json *v = elm_json_find(object, key);
    uint32_t count = !v ? 0 : v->type == ELM_JSON_ARRAY ? v->count : 1;
    *n = 0;
    for (uint32_t i = 0; i < count; i++) {
        const elm_json *item = v->type == ELM_JSON_ARRAY ? &v->as.items[i] : v;
        if (item->type != ELM_JSON_INT || item->as.integer < 0) {
            return elm_fail(err, ELM_MALFORMED, "%s: '%s' holds no token id", where, key);
        }
        if (*n == max)
            return elm_fail(err, ELM_UNSUPPORTED, "%s: '%s' lists more than %u ids", where, key,
                            max);
        out[(*n)++] = item->as.integer;
    }
    return ELM_OK;
}

static elm_status read_generation(elm_source *s, const char *folder, const elm_json *root,
                                  elm_error *err) {
    static const char where[] = "generation_config.json";
    const elm_json *g;
    elm_source_sampling *p = &s->sampling;
    int64_t ids[ELM_MAX_EOS], bos = -1, top_k = 0;
    uint32_t n = 0;
    bool sample = true;
    ELM_TRY(read_json(s, folder, where, MAX_CONFIG_BYTES, false, &g, err));
    ELM_TRY(read_ids(g, "eos_token_id", where, ids, ELM_MAX_EOS, &n, err));
    if (n == 0) ELM_TRY(read_ids(s->config, "eos_token_id", s->where, ids, ELM_MAX_EOS, &n, err));
    if (n == 0) ELM_TRY(read_ids(root, "eos_token_id", s->where, ids, ELM_MAX_EOS, &n, err));
    for (uint32_t i = 0; i < n; i++) elm_source_add_eos(s, ids[i]);
    ELM_TRY(read_ids(g, "suppress_tokens", where, s->suppress_ids, ELM_MAX_SUPPRESS, &s->n_suppress,
                     err));
    ELM_TRY(elm_json_int(root, "bos_token_id", 0, INT32_MAX, s->where, &bos, err));
    ELM_TRY(elm_json_int(s->config, "bos_token_id", 0, INT32_MAX, s->where, &bos, err));
    ELM_TRY(elm_json_int(g, "bos_token_id", 0, INT32_MAX, where, &bos, err));
    s->bos_id = (int32_t)bos;
    ELM_TRY(elm_json_double(g, "temperature", where, &p->temperature, err));
    ELM_TRY(elm_json_double(g, "top_p", where, &p->top_p, err));
    ELM_TRY(elm_json_double(g, "min_p", where, &p->min_p, err));
    ELM_TRY(elm_json_double(g, "repetition_penalty", where, &p->repetition_penalty, err));
    ELM_TRY(elm_json_double(g, "presence_penalty", where, &p->presence_penalty, err));
    ELM_TRY(elm_json_int(g, "top_k", -1, INT32_MAX, where, &top_k, err));
    if (elm_json_find(g, "top_k")) p->top_k = top_k > 0 ? top_k : 0; /* some write -1 for off */
    ELM_TRY(elm_json_bool(g, "do_sample", where, &sample, err));
    p->greedy = !sample;
    return ELM_OK;
}

/* ---- tokenizer_config.json ---- */

/* "<s>" or {"content": "<s>", ...} */
static bool token_text(const elm_json *v, elm_span *out) {
    if (v && v->type == ELM_JSON_OBJECT) v = elm_json_find(v, "content");
    if (!v || v->type != ELM_JSON_STRING) return false;
    *out = v->as.string;
    return true;
}

/* {"bos_token": "<s>", ...} with plain strings, from the members named *_token. */
static elm_status special_tokens(elm_source *s, const elm_json *t, elm_error *err) {
    elm_json *object = elm_arena_array(&s->arena, 1, sizeof *object);
    elm_json *members = elm_arena_array(&s->arena, t->count, sizeof *members);
    if (!object || !members) return elm_fail_oom(err, t->count * sizeof *members, "special tokens");
    uint32_t n = 0;
    for (uint32_t i = 0; i < t->count; i++) {
        const elm_json *m = &t->as.items[i];
        elm_span text;
        bool named = m->key.size > 6 && memcmp(m->key.data + m->key.size - 6, "_token", 6) == 0;
        if (!named || !token_text(m, &text)) continue;
        members[n] = *m;
        members[n].type = ELM_JSON_STRING;
        members[n++].as.string = text;
    }
    object->type = ELM_JSON_OBJECT;
    object->count = n;
    object->as.items = members;
    s->special_tokens = object;
    return ELM_OK;
}

/* A template is a string, or a list of {name, template} of which "default" is taken. */
static elm_status template_of(elm_source *s, const elm_json *v, const char *where, elm_error *err) {
    const elm_json *chosen = NULL;
    if (!v) return ELM_OK;
    if (v->type == ELM_JSON_STRING) chosen = v;
    for (uint32_t i = 0; v->type == ELM_JSON_ARRAY && i < v->count; i++) {
        if (elm_json_is(elm_json_find(&v->as.items[i], "name"), "default")) {
            chosen = elm_json_find(&v->as.items[i], "template");
        }
    }
    if (!chosen || chosen->type != ELM_JSON_STRING) {
        return elm_fail(err, ELM_MALFORMED, "%s: chat_template is no string and has no 'default'",
                        where);
    }
    s->chat_template = elm_arena_string(&s->arena, chosen->as.string);
    return s->chat_template ? ELM_OK
                            : elm_fail_oom(err, chosen->as.string.size, "the chat template");
}

static elm_status read_template(elm_source *s, const char *folder, const elm_json *tokenizer_config,
                                elm_error *err) {
    elm_path_kind kind;
    elm_span text;
    const elm_json *json;
    char *path = elm_path_join(&s->arena, folder, "chat_template.jinja");
    if (!path) return elm_fail_oom(err, 64, "a path");
    ELM_TRY(elm_path_kind_of(s->platform, path, &kind, err));
    if (kind == ELM_PATH_FILE) {
        ELM_TRY(elm_file_slurp(s->platform, path, MAX_TEMPLATE_BYTES, &s->arena, &text, err));
        s->chat_template = (const char *)text.data;
        if (strlen(s->chat_template) == text.size) return ELM_OK;
        return elm_fail(err, ELM_MALFORMED, "'%s' holds a zero byte; a template is text", path);
    }
    ELM_TRY(read_json(s, folder, "chat_template.json", MAX_TEMPLATE_BYTES * 2, false, &json, err));
    if (elm_json_find(json, "chat_template")) {
        return template_of(s, elm_json_find(json, "chat_template"), "chat_template.json", err);
    }
    return template_of(s, elm_json_find(tokenizer_config, "chat_template"), "tokenizer_config.json",
                       err);
}

/* The id of a special token by its text, from tokenizer.json's added tokens. */
static int64_t added_token_id(const elm_json *tokenizer, const elm_json *token) {
    const elm_json *added = elm_json_find(tokenizer, "added_tokens");
    elm_span text;
    if (!token_text(token, &text) || !added || added->type != ELM_JSON_ARRAY) return -1;
    for (uint32_t i = 0; i < added->count; i++) {
        const elm_json *content = elm_json_find(&added->as.items[i], "content");
        const elm_json *id = elm_json_find(&added->as.items[i], "id");
        if (content && content->type == ELM_JSON_STRING &&
            elm_span_equal(content->as.string, text) && id && id->type == ELM_JSON_INT &&
            id->as.integer <= INT32_MAX) {
            return id->as.integer;
        }
    }
    return -1;
}

static elm_status read_text_files(elm_source *s, const char *folder, elm_error *err) {
    const elm_json *t = NULL;
    ELM_TRY(
        read_json(s, folder, "tokenizer.json", MAX_TOKENIZER_BYTES, true, &s->tokenizer_json, err));
    ELM_TRY(read_json(s, folder, "tokenizer_config.json", MAX_CONFIG_BYTES, false, &t, err));
    if (t) {
        ELM_TRY(special_tokens(s, t, err));
        elm_source_add_eos(s, added_token_id(s->tokenizer_json, elm_json_find(t, "eos_token")));
        int64_t bos = added_token_id(s->tokenizer_json, elm_json_find(t, "bos_token"));
        if (s->bos_id == ELM_NO_TOKEN && bos >= 0) s->bos_id = (int32_t)bos;
    }
    return read_template(s, folder, t, err);
}

/* ---- tensors of multimodal checkpoints ---- */

/* The text model's tensors take the names that a text-only checkpoint has. */
static const struct {
    const char *prefix, *instead;
} text_prefixes[] = {
    {"thinker.model.language_model.", "model."},
    {"thinker.model.", "model."},
    {"thinker.lm_head.", "lm_head."},
    {"model.language_model.", "model."},
    {"model.text_model.", "model."}, /* SmolVLM, Idefics 3 */
    {"language_model.model.", "model."},
    {"language_model.lm_head.", "lm_head."},
};

static const char *const tower_prefixes[] = {
    "vision_tower.", "visual.",      "multi_modal_projector.", "audio_tower.", "vision_embedder.",
    "embed_vision.", "embed_audio.", "vision_model.",          "connector.",   "talker.",
    "token2wav.",    "code2wav.",
};

static bool begins_with(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static bool of_a_tower(const char *name) {
    if (begins_with(name, "thinker.")) name += strlen("thinker.");
    if (begins_with(name, "model."))
        name += strlen("model."); /* newer checkpoints have it in front, older not */
    for (size_t i = 0; i < sizeof tower_prefixes / sizeof tower_prefixes[0]; i++) {
        if (begins_with(name, tower_prefixes[i])) return true;
    }
    return false;
}

/* A model that was saved without its head (AutoModel) has no "model." in front of its names. */
static bool is_headless(const elm_checkpoint *ck) {
    bool embeds = false;
    for (uint32_t i = 0; i < ck->n_tensors; i++) {
        if (strstr(ck->tensors[i].name, "model.")) return false;
        embeds = embeds || strcmp(ck->tensors[i].name, "embed_tokens.weight") == 0;
    }
    return embeds;
}

static elm_status keep_text_model(elm_source *s, elm_error *err) {
    elm_checkpoint *ck = &s->checkpoint;
    uint32_t n = 0;
    const bool headless = is_headless(ck);
    ck->by_name = NULL;
    for (uint32_t i = 0; i < ck->n_tensors; i++) {
        elm_source_tensor t = ck->tensors[i];
        if (of_a_tower(t.name)) continue;
        for (size_t k = 0; k < sizeof text_prefixes / sizeof text_prefixes[0]; k++) {
            if (!begins_with(t.name, text_prefixes[k].prefix)) continue;
            t.name = elm_arena_printf(&ck->arena, "%s%s", text_prefixes[k].instead,
                                      t.name + strlen(text_prefixes[k].prefix));
            if (!t.name) return elm_fail_oom(err, 64, "a tensor's name");
            break;
        }
        if (headless) {
            t.name = elm_arena_printf(&ck->arena, "model.%s", t.name);
            if (!t.name) return elm_fail_oom(err, 64, "a tensor's name");
        }
        ck->tensors[n++] = t;
    }
    s->n_other_tensors = ck->n_tensors - n;
    ck->n_tensors = n;
    return elm_checkpoint_index(ck, err);
}

elm_status elm_source_read_folder(elm_source *s, const char *folder, bool with_weights,
                                  elm_error *err) {
    const elm_json *root = NULL;
    s->where = "config.json";
    ELM_TRY(read_json(s, folder, "config.json", MAX_CONFIG_BYTES, with_weights, &root, err));
    if (elm_json_find(root, "thinker_config")) root = elm_json_find(root, "thinker_config");
    const elm_json *text = elm_json_find(root, "text_config");
    s->root = root;
    s->config = text && text->type == ELM_JSON_OBJECT ? text : root;
    ELM_TRY(read_generation(s, folder, root, err));
    ELM_TRY(read_text_files(s, folder, err));
    if (!with_weights) return ELM_OK;
    ELM_TRY(elm_checkpoint_open_folder(s->platform, folder, &s->checkpoint, err));
    return keep_text_model(s, err);
}
