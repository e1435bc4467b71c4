/* source.c - which kind of source a path is, and what both kinds share; parse. */
#include "parse/source.h"

#include <math.h>
#include <string.h>

static bool ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

elm_status elm_source_open(const elm_platform *platform, const char *path, bool with_weights,
                           elm_source *out, elm_error *err) {
    elm_path_kind kind;
    memset(out, 0, sizeof *out);
    out->platform = platform;
    out->bos_id = ELM_NO_TOKEN;
    out->name = "";
    out->sampling = (elm_source_sampling){(double)NAN, (double)NAN, (double)NAN, (double)NAN,
                                          (double)NAN, -1,          false};
    elm_arena_init(&out->arena, platform->alloc, 0);
    ELM_TRY(elm_path_kind_of(platform, path, &kind, err));
    if (kind == ELM_PATH_NONE) return elm_fail(err, ELM_NOT_FOUND, "'%s' does not exist", path);
    if (kind == ELM_PATH_FOLDER) return elm_source_read_folder(out, path, with_weights, err);
    if (ends_with(path, ".safetensors") || ends_with(path, ".json")) {
        return elm_fail(err, ELM_INVALID_ARGUMENT,
                        "'%s' is one file of a model; give the folder that holds it", path);
    }
    return elm_source_read_gguf(out, path, with_weights, err);
}

void elm_source_close(elm_source *s) {
    if (s->gguf.checkpoint.platform) elm_gguf_close(&s->gguf);
    if (s->checkpoint.platform) elm_checkpoint_close(&s->checkpoint);
    elm_arena_free(&s->arena);
    memset(s, 0, sizeof *s);
}

const elm_checkpoint *elm_source_checkpoint(const elm_source *s) {
    return s->is_gguf ? &s->gguf.checkpoint : &s->checkpoint;
}

elm_status elm_source_tokenizer(const elm_source *s, elm_buf *blob, elm_error *err) {
    const elm_allocator *a = s->platform->alloc;
    return s->is_gguf ? elm_tokenizer_build_gguf(a, &s->vocab, blob, err)
                      : elm_tokenizer_build_hf(a, s->tokenizer_json, blob, err);
}

void elm_source_add_eos(elm_source *s, int64_t id) {
    if (id < 0) return;
    for (uint32_t i = 0; i < s->n_eos; i++) {
        if (s->eos_ids[i] == id) return;
    }
    if (s->n_eos < ELM_MAX_EOS) s->eos_ids[s->n_eos++] = id;
}
