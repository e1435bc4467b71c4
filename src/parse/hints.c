/* hints.c - see hints.h; parse. */
#include "parse/hints.h"

#include <string.h>

elm_status elm_hint_pointer(elm_span text, const char *path, elm_error *err) {
    static const char begin[] = "version https://git-lfs";
    if (text.size < sizeof begin - 1 || memcmp(text.data, begin, sizeof begin - 1) != 0)
        return ELM_OK;
    return elm_fail(err, ELM_MALFORMED,
                    "'%s' is a Git LFS pointer, not the file itself; 'git lfs pull' fetches it",
                    path);
}

/* What may lie in the folder where `missing` does not. */
static const struct {
    const char *missing, *there;
    elm_status status;
    const char *what;
} hints[] = {
    {"config.json", "adapter_config.json", ELM_UNSUPPORTED,
     "this is an adapter; merge it into its base model and convert that"},
    {"config.json", "params.json", ELM_UNSUPPORTED,
     "this is the original format; the Hugging Face format of the model is needed"},
    {"tokenizer.json", "tokenizer.model", ELM_NOT_FOUND,
     "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) makes it from that"},
    {"tokenizer.json", "tekken.json", ELM_NOT_FOUND,
     "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) makes it from that"},
    {"tokenizer.json", "vocab.json", ELM_NOT_FOUND,
     "AutoTokenizer.from_pretrained(FOLDER).save_pretrained(FOLDER) makes it from that"},
    {"model.safetensors", "pytorch_model.bin", ELM_UNSUPPORTED,
     "PyTorch's pickle files are not read; save the model as safetensors"},
    {"model.safetensors", "pytorch_model.bin.index.json", ELM_UNSUPPORTED,
     "PyTorch's pickle files are not read; save the model as safetensors"},
    {"model.safetensors", "adapter_model.safetensors", ELM_UNSUPPORTED,
     "this is an adapter; merge it into its base model and convert that"},
    {"model.safetensors", "consolidated.safetensors", ELM_UNSUPPORTED,
     "this is the original format; the Hugging Face format of the model is needed"},
};

elm_status elm_hint_missing(const elm_platform *platform, elm_arena *arena, const char *folder,
                            const char *name, elm_error *err) {
    for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++) {
        elm_path_kind kind = ELM_PATH_NONE;
        if (strcmp(hints[i].missing, name) != 0) continue;
        char *path = elm_path_join(arena, folder, hints[i].there);
        if (!path) return elm_fail_oom(err, strlen(folder), "a path");
        ELM_TRY(elm_path_kind_of(platform, path, &kind, err));
        if (kind != ELM_PATH_FILE) continue;
        return elm_fail(err, hints[i].status, "'%s' has no %s, but %s: %s", folder, name,
                        hints[i].there, hints[i].what);
    }
    return elm_fail(err, ELM_NOT_FOUND, "'%s/%s' is missing; a model folder needs it", folder,
                    name);
}
