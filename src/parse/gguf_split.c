/* gguf_split.c - the other files of a model that llama.cpp split: NAME-00001-of-00003.gguf and so
 * on. The first holds the metadata, each of them some of the tensors; parse. */
#include "parse/gguf.h"

#include "base/checked.h"

#include <stdio.h>
#include <string.h>

enum { MAX_SUFFIX = 64 };

static elm_status bad(const char *path, const char *what, elm_error *err) {
    return elm_fail(err, ELM_MALFORMED, "'%s' %s", path, what);
}

static void suffix_of(int64_t no, int64_t count, char out[MAX_SUFFIX]) {
    snprintf(out, MAX_SUFFIX, "-%05lld-of-%05lld.gguf", (long long)no + 1, (long long)count);
}

/* How much of the first file's path comes before what the others replace. */
static elm_status stem_of(const char *path, int64_t no, int64_t count, size_t *stem,
                          elm_error *err) {
    char own[MAX_SUFFIX], first[MAX_SUFFIX];
    suffix_of(no, count, own);
    suffix_of(0, count, first);
    size_t n = strlen(path), tail = strlen(own);
    if (no != 0) {
        return elm_fail(err, ELM_INVALID_ARGUMENT,
                        "'%s' is file %lld of %lld; give the first one, ...%s", path,
                        (long long)no + 1, (long long)count, first);
    }
    if (n < tail || strcmp(path + n - tail, own) != 0) {
        return elm_fail(err, ELM_NOT_FOUND,
                        "'%s' is the first of %lld files; its name must end in %s, for the others "
                        "to be found",
                        path, (long long)count, first);
    }
    *stem = n - tail;
    return ELM_OK;
}

static elm_status open_part(elm_gguf *g, size_t stem, int64_t no, int64_t count, elm_gguf *part,
                            elm_error *err) {
    char suffix[MAX_SUFFIX];
    int64_t its_no = -1, its_count = -1;
    suffix_of(no, count, suffix);
    const char *path = elm_arena_printf(&g->checkpoint.arena, "%.*s%s", (int)stem,
                                        g->checkpoint.shards[0].path, suffix);
    if (!path) return elm_fail_oom(err, stem + MAX_SUFFIX, "a path");
    ELM_TRY(elm_gguf_open(g->checkpoint.platform, path, part, err));
    if (!elm_gguf_int(part, "split.no", &its_no) ||
        !elm_gguf_int(part, "split.count", &its_count) || its_no != no || its_count != count) {
        return bad(path, "is another part of a model than its name says", err);
    }
    return ELM_OK;
}

/* The part's file and tensors become those of g. */
static elm_status take_part(elm_gguf *g, elm_gguf *part, uint32_t shard, uint32_t *at,
                            elm_error *err) {
    elm_checkpoint *ck = &g->checkpoint;
    for (uint32_t i = 0; i < part->checkpoint.n_tensors; i++) {
        elm_source_tensor *t = &ck->tensors[(*at)++];
        *t = part->checkpoint.tensors[i];
        t->shard = shard;
        t->name = elm_arena_string(&ck->arena, elm_span_str(t->name));
        if (!t->name) return elm_fail_oom(err, 0, "a tensor's name");
    }
    ck->shards[shard] = part->checkpoint.shards[0];
    ck->n_shards = shard + 1;
    part->checkpoint.n_shards = 0;
    return ELM_OK;
}

static elm_status take_parts(elm_gguf *g, elm_gguf *parts, uint32_t count, elm_error *err) {
    elm_checkpoint *ck = &g->checkpoint;
    uint64_t total = ck->n_tensors;
    int64_t expected;
    uint32_t at = ck->n_tensors;
    for (uint32_t i = 1; i < count; i++) total += parts[i].checkpoint.n_tensors;
    if (total > ELM_MAX_SOURCE_TENSORS ||
        (elm_gguf_int(g, "split.tensors.count", &expected) && (uint64_t)expected != total)) {
        return elm_fail(err, ELM_MALFORMED,
                        "'%s' and the files that belong to it hold %llu tensors, "
                        "another number than it says",
                        ck->shards[0].path, (unsigned long long)total);
    }
    elm_file *shards = elm_arena_array(&ck->arena, count, sizeof *shards);
    elm_source_tensor *tensors = elm_arena_array(&ck->arena, (size_t)total, sizeof *tensors);
    if (!shards || !tensors)
        return elm_fail_oom(err, (size_t)total * sizeof *tensors, "the GGUF header");
    shards[0] = ck->shards[0];
    if (ck->n_tensors) memcpy(tensors, ck->tensors, ck->n_tensors * sizeof *tensors);
    ck->shards = shards;
    ck->tensors = tensors;
    for (uint32_t i = 1; i < count; i++) ELM_TRY(take_part(g, &parts[i], i, &at, err));
    ck->n_tensors = at;
    return at > 0 ? elm_checkpoint_index(ck, err) : ELM_OK;
}

elm_status elm_gguf_join(elm_gguf *g, elm_error *err) {
    const char *path = g->checkpoint.shards[0].path;
    int64_t count = 1, no = 0;
    size_t stem = 0;
    (void)elm_gguf_int(g, "split.count", &count);
    (void)elm_gguf_int(g, "split.no", &no);
    if (count == 0 || count == 1) return ELM_OK;
    if (count < 0 || count > ELM_MAX_SHARDS || no < 0 || no >= count)
        return bad(path, "says that it is an impossible part of a model", err);
    ELM_TRY(stem_of(path, no, count, &stem, err));
    elm_gguf *parts = elm_arena_array(&g->checkpoint.arena, (size_t)count, sizeof *parts);
    if (!parts) return elm_fail_oom(err, (size_t)count * sizeof *parts, "the parts of a model");
    elm_status status = ELM_OK;
    for (int64_t i = 1; i < count && status == ELM_OK; i++)
        status = open_part(g, stem, i, count, &parts[i], err);
    if (status == ELM_OK) status = take_parts(g, parts, (uint32_t)count, err);
    for (int64_t i = 1; i < count; i++) elm_gguf_close(&parts[i]);
    return status;
}
