/* safetensors.c - u64 header length, JSON header, data; single files and sharded folders; parse.
 *
 * {"name": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [begin, end]}, "__metadata__": {...}}
 * Offsets count from the byte behind the header. */
#include "parse/safetensors.h"

#include "base/checked.h"
#include "base/json.h"
#include "parse/hints.h"

#include <stdlib.h>
#include <string.h>

static const char index_name[] = "model.safetensors.index.json";

/* A parsed header takes up to 9 times its text where all entries are tensors; more is a trap. */
enum { MAX_INDEX_BYTES = 64 << 20, TREE_FACTOR = 16, TREE_SLACK = 4 << 20, MAX_NAME = 400 };

static elm_status bad(const char *path, const elm_json *entry, const char *what, elm_error *err) {
    return elm_fail(err, ELM_MALFORMED, "'%s': tensor '%.*s' %s", path,
                    (int)(entry->key.size < 200 ? entry->key.size : 200),
                    (const char *)entry->key.data, what);
}

static bool find_type(const elm_json *dtype, elm_source_type *out) {
    for (uint32_t i = 0; i < ELM_N_SOURCE_TYPES; i++) {
        const char *name = elm_source_type_get((elm_source_type)i)->safetensors;
        if (name && elm_json_is(dtype, name)) {
            *out = (elm_source_type)i;
            return true;
        }
    }
    return false;
}

static bool two_offsets(const elm_json *list, uint64_t out[2]) {
    if (!list || list->type != ELM_JSON_ARRAY || list->count != 2) return false;
    for (int i = 0; i < 2; i++) {
        if (list->as.items[i].type != ELM_JSON_INT || list->as.items[i].as.integer < 0)
            return false;
        out[i] = (uint64_t)list->as.items[i].as.integer;
    }
    return out[0] <= out[1];
}

static elm_status read_entry(const char *path, const elm_json *entry, uint64_t data_start,
                             uint32_t shard, elm_source_tensor *t, elm_error *err) {
    const elm_json *dtype = elm_json_find(entry, "dtype"), *shape = elm_json_find(entry, "shape");
    uint64_t offsets[2];
    memset(t, 0, sizeof *t);
    t->shard = shard;
    if (entry->type != ELM_JSON_OBJECT) return bad(path, entry, "is no object", err);
    if (!dtype || dtype->type != ELM_JSON_STRING) return bad(path, entry, "has no dtype", err);
    if (!find_type(dtype, &t->type)) {
        size_t n = dtype->as.string.size;
        return elm_fail(err, ELM_UNSUPPORTED,
                        "'%s': tensor '%.*s' has dtype '%.*s', which is not supported", path,
                        (int)(entry->key.size < 200 ? entry->key.size : 200),
                        (const char *)entry->key.data, (int)(n < 32 ? n : 32),
                        (const char *)dtype->as.string.data);
    }
    if (!shape || shape->type != ELM_JSON_ARRAY) return bad(path, entry, "has no shape", err);
    if (shape->count > ELM_SOURCE_MAX_DIMS)
        return bad(path, entry, "has more than eight dimensions", err);
    t->n_dims = shape->count;
    bool empty = false;
    for (uint32_t d = 0; d < shape->count; d++) {
        const elm_json *dim = &shape->as.items[d];
        if (dim->type != ELM_JSON_INT || dim->as.integer < 0)
            return bad(path, entry, "has an impossible shape", err);
        t->dims[d] = (uint64_t)dim->as.integer;
        empty = empty || t->dims[d] == 0;
    }
    if (!two_offsets(elm_json_find(entry, "data_offsets"), offsets) ||
        !elm_add_u64(data_start, offsets[0], &t->offset)) {
        return bad(path, entry, "has bad data_offsets", err);
    }
    t->bytes = offsets[1] - offsets[0];
    uint64_t expected = empty ? 0 : elm_source_bytes(t->type, t->n_dims, t->dims);
    if (expected != t->bytes || (!empty && expected == 0)) {
        return elm_fail(err, ELM_MALFORMED,
                        "'%s': tensor '%.*s' has %llu bytes; its shape and dtype need %llu", path,
                        (int)(entry->key.size < 200 ? entry->key.size : 200),
                        (const char *)entry->key.data, (unsigned long long)t->bytes,
                        (unsigned long long)expected);
    }
    return ELM_OK;
}

static elm_status parse_header(elm_checkpoint *ck, uint32_t shard, elm_arena *arena,
                               elm_tensor_fn add, void *context, elm_error *err) {
    const elm_file *file = &ck->shards[shard];
    const elm_json *header = NULL;
    uint8_t length[8], begin[32];
    uint64_t size;
    ELM_TRY(elm_file_size(file, &size, err));
    if (size < 8)
        return elm_fail(err, ELM_MALFORMED, "'%s' is too short for a safetensors file", file->path);
    ELM_TRY(elm_file_read_at(file, 0, length, sizeof length, err));
    elm_reader r = elm_reader_of(elm_span_of(length, sizeof length));
    uint64_t n = elm_read_u64(&r);
    if (size > sizeof begin) {
        ELM_TRY(elm_file_read_at(file, 0, begin, sizeof begin, err));
        ELM_TRY(elm_hint_pointer(elm_span_of(begin, sizeof begin), file->path, err));
    }
    if (n > ELM_SAFETENSORS_MAX_HEADER) {
        return elm_fail(err, ELM_MALFORMED,
                        "'%s': the header says it has %llu bytes; at most %d are accepted",
                        file->path, (unsigned long long)n, ELM_SAFETENSORS_MAX_HEADER);
    }
    if (n > size - 8) {
        return elm_fail(err, ELM_MALFORMED,
                        "'%s': the header says it has %llu bytes; the file has %llu", file->path,
                        (unsigned long long)n, (unsigned long long)size);
    }
    uint64_t data_start = 8 + n;
    arena->limit_bytes = (size_t)n * TREE_FACTOR + TREE_SLACK;
    uint8_t *text = elm_arena_alloc(arena, (size_t)n + 1, 1);
    if (!text) return elm_fail_oom(err, (size_t)n, "a safetensors header");
    ELM_TRY(elm_file_read_at(file, 8, text, (size_t)n, err));
    while (n > 0 && text[n - 1] == ' ') n--; /* padding */
    ELM_TRY(elm_json_parse(elm_span_of(text, (size_t)n), file->path, NULL, arena, &header, err));
    if (header->type != ELM_JSON_OBJECT) {
        return elm_fail(err, ELM_MALFORMED, "'%s': the header is not an object", file->path);
    }
    for (uint32_t i = 0; i < header->count; i++) {
        const elm_json *entry = &header->as.items[i];
        elm_source_tensor t;
        if (elm_span_equal(entry->key, elm_span_str("__metadata__"))) continue;
        ELM_TRY(read_entry(file->path, entry, data_start, shard, &t, err));
        t.name = elm_arena_string(&ck->arena, entry->key);
        if (!t.name) return elm_fail_oom(err, entry->key.size, "a tensor's name");
        if (strlen(t.name) != entry->key.size || entry->key.size > MAX_NAME ||
            entry->key.size == 0) {
            return bad(file->path, entry, "has a bad name", err);
        }
        ELM_TRY(add(context, &t, err));
    }
    return ELM_OK;
}

elm_status elm_safetensors_read(elm_checkpoint *ck, uint32_t shard, elm_tensor_fn add,
                                void *context, elm_error *err) {
    elm_arena arena;
    elm_arena_init(&arena, ck->platform->alloc, 0);
    elm_status status = parse_header(ck, shard, &arena, add, context, err);
    elm_arena_free(&arena);
    return status;
}

/* ---- folders ---- */

/* The index's weight_map as a table sorted by tensor name: its size is the file's choice. */
typedef struct weight_map {
    const elm_json **entries; /* {tensor: file} members */
    uint8_t *seen;            /* the shard that it names holds it */
    uint32_t n;               /* 0 entries and entries == NULL: a single file */
} weight_map;

typedef struct collector {
    elm_checkpoint *ck;
    elm_buf tensors;
    weight_map map;
    const char *shard_name;
} collector;

static int compare(elm_span a, elm_span b) {
    size_t n = a.size < b.size ? a.size : b.size;
    int order = n > 0 ? memcmp(a.data, b.data, n) : 0;
    return order ? order : (a.size > b.size) - (a.size < b.size);
}

static int by_key(const void *a, const void *b) {
    return compare((*(const elm_json *const *)a)->key, (*(const elm_json *const *)b)->key);
}

static int by_file(const void *a, const void *b) {
    return compare((*(const elm_json *const *)a)->as.string,
                   (*(const elm_json *const *)b)->as.string);
}

/* True when the index names this shard for the tensor. */
static bool is_mapped(collector *c, const char *name) {
    uint32_t low = 0, high = c->map.n;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = compare(elm_span_str(name), c->map.entries[middle]->key);
        if (order == 0) {
            bool here = elm_json_is(c->map.entries[middle], c->shard_name);
            if (here) c->map.seen[middle] = 1;
            return here;
        }
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return false;
}

static elm_status collect(void *context, const elm_source_tensor *t, elm_error *err) {
    collector *c = context;
    if (c->map.entries && !is_mapped(c, t->name))
        return ELM_OK;                /* the index decides which shard counts */
    if (t->bytes == 0) return ELM_OK; /* an empty tensor holds nothing to convert */
    elm_buf_append(&c->tensors, t, sizeof *t);
    return elm_buf_check(&c->tensors, "the tensor list", err);
}

static elm_status add_shard(const elm_json *file, const char *where, elm_arena *arena,
                            const char **names, uint32_t *n, elm_error *err) {
    if (*n == ELM_MAX_SHARDS)
        return elm_fail(err, ELM_MALFORMED, "%s: more than %d shards", where, ELM_MAX_SHARDS);
    char *name = elm_arena_string(arena, file->as.string);
    if (!name) return elm_fail_oom(err, file->as.string.size, "a shard's name");
    if (name[0] == 0 || strlen(name) != file->as.string.size || strchr(name, '/') ||
        name[0] == '.') {
        return elm_fail(err, ELM_MALFORMED, "%s: '%s' is no file name inside the folder", where,
                        name);
    }
    names[(*n)++] = name;
    return ELM_OK;
}

/* Sorts the members of weight_map into c->map and lists the files that they name, each once. */
static elm_status read_map(collector *c, const elm_json *map, const char *where, elm_arena *arena,
                           const char **names, uint32_t *n, elm_error *err) {
    c->map.n = map->count;
    c->map.entries = elm_arena_array(arena, map->count, sizeof *c->map.entries);
    c->map.seen = elm_arena_array(arena, map->count, 1);
    if (!c->map.entries || !c->map.seen)
        return elm_fail_oom(err, map->count * sizeof *c->map.entries, where);
    for (uint32_t i = 0; i < map->count; i++) {
        c->map.entries[i] = &map->as.items[i];
        if (map->as.items[i].type != ELM_JSON_STRING) {
            return elm_fail(err, ELM_MALFORMED, "%s: weight_map holds no file names", where);
        }
    }
    if (map->count == 0) return elm_fail(err, ELM_MALFORMED, "%s: weight_map is empty", where);
    qsort(c->map.entries, map->count, sizeof *c->map.entries, by_file);
    for (uint32_t i = 0; i < map->count; i++) {
        if (i > 0 && by_file(&c->map.entries[i - 1], &c->map.entries[i]) == 0) continue;
        ELM_TRY(add_shard(c->map.entries[i], where, arena, names, n, err));
    }
    qsort(c->map.entries, map->count, sizeof *c->map.entries, by_key);
    return ELM_OK;
}

static elm_status all_there(const weight_map *map, const char *where, elm_error *err) {
    for (uint32_t i = 0; i < map->n; i++) {
        const elm_json *e = map->entries[i];
        if (map->seen[i]) continue;
        return elm_fail(err, ELM_MALFORMED, "%s lists tensor '%.*s', which '%.*s' does not hold",
                        where, (int)(e->key.size < 200 ? e->key.size : 200),
                        (const char *)e->key.data,
                        (int)(e->as.string.size < 100 ? e->as.string.size : 100),
                        (const char *)e->as.string.data);
    }
    return ELM_OK;
}

static elm_status open_files(elm_checkpoint *ck, const char *folder, const char *const *names,
                             uint32_t n, collector *c, elm_error *err) {
    ck->shards = elm_arena_array(&ck->arena, n, sizeof *ck->shards);
    if (!ck->shards) return elm_fail_oom(err, n * sizeof *ck->shards, "the shards");
    for (uint32_t i = 0; i < n; i++) {
        char *path = elm_path_join(&ck->arena, folder, names[i]);
        if (!path) return elm_fail_oom(err, strlen(names[i]), "a path");
        ELM_TRY(elm_file_open(ck->platform, path, ELM_OPEN_READ, &ck->shards[i], err));
        ck->n_shards = i + 1;
        c->shard_name = names[i];
        ELM_TRY(elm_safetensors_read(ck, i, collect, c, err));
    }
    ck->n_tensors = (uint32_t)(c->tensors.size / sizeof *ck->tensors);
    ck->tensors = elm_arena_array(&ck->arena, ck->n_tensors, sizeof *ck->tensors);
    if (!ck->tensors) return elm_fail_oom(err, c->tensors.size, "the tensor list");
    if (c->tensors.size > 0) memcpy(ck->tensors, c->tensors.data, c->tensors.size);
    return elm_checkpoint_index(ck, err);
}

static elm_status open_sharded(elm_checkpoint *ck, const char *folder, const char *path,
                               elm_arena *arena, collector *c, elm_error *err) {
    elm_span text;
    const elm_json *root = NULL;
    const char **names = elm_arena_array(arena, ELM_MAX_SHARDS, sizeof *names);
    uint32_t n = 0;
    if (!names) return elm_fail_oom(err, ELM_MAX_SHARDS * sizeof *names, "shard names");
    ELM_TRY(elm_file_slurp(ck->platform, path, MAX_INDEX_BYTES, arena, &text, err));
    arena->limit_bytes = text.size * TREE_FACTOR + TREE_SLACK;
    ELM_TRY(elm_json_parse(text, index_name, NULL, arena, &root, err));
    const elm_json *map = elm_json_find(root, "weight_map");
    if (!map || map->type != ELM_JSON_OBJECT)
        return elm_fail(err, ELM_MALFORMED, "'%s' has no weight_map", path);
    ELM_TRY(read_map(c, map, index_name, arena, names, &n, err));
    ELM_TRY(open_files(ck, folder, names, n, c, err));
    return all_there(&c->map, index_name, err);
}

/* A single file wins over an index, which may be left from an earlier save, as in transformers. */
static elm_status open_folder(elm_checkpoint *ck, const char *folder, elm_arena *arena,
                              collector *c, elm_error *err) {
    static const char *const single = "model.safetensors";
    elm_path_kind kind;
    char *path = elm_path_join(arena, folder, single), *index;
    if (!path) return elm_fail_oom(err, strlen(folder), "a path");
    ELM_TRY(elm_path_kind_of(ck->platform, path, &kind, err));
    if (kind == ELM_PATH_FILE) return open_files(ck, folder, &single, 1, c, err);
    index = elm_path_join(arena, folder, index_name);
    if (!index) return elm_fail_oom(err, strlen(folder), "a path");
    ELM_TRY(elm_path_kind_of(ck->platform, index, &kind, err));
    if (kind == ELM_PATH_FILE) return open_sharded(ck, folder, index, arena, c, err);
    return elm_hint_missing(ck->platform, arena, folder, single, err);
}

elm_status elm_checkpoint_open_folder(const elm_platform *platform, const char *folder,
                                      elm_checkpoint *out, elm_error *err) {
    elm_arena arena;
    collector c = {.ck = out};
    memset(out, 0, sizeof *out);
    out->platform = platform;
    elm_arena_init(&out->arena, platform->alloc, 0);
    elm_arena_init(&arena, platform->alloc, 0);
    elm_buf_init(&c.tensors, platform->alloc, ELM_MAX_SOURCE_TENSORS * sizeof(elm_source_tensor));
    elm_status status = open_folder(out, folder, &arena, &c, err);
    elm_buf_free(&c.tensors);
    elm_arena_free(&arena);
    return status;
}
