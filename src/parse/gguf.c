/* gguf.c - the header of a GGUF file; parse.
 *
 *   "GGUF"  u32 version  u64 n_tensors  u64 n_values
 *   value:  string key  u32 type  value
 *           string: u64 bytes, text; array: u32 type, u64 count, items
 *   tensor: string name  u32 n_dims  u64 dims[] (innermost first)  u32 type  u64 offset
 *   padding to general.alignment, then data
 *
 * How long the header is stands nowhere, so it is read in growing pieces until it parses. */
#include "parse/gguf.h"

#include "base/checked.h"
#include "parse/hints.h"

#include <string.h>

enum {
    GGUF_MAX_DIMS = 4,
    FIRST_PIECE = 1 << 20,
    MAX_STRING = 64 << 20,
    MAX_NAME = 400,
    DEFAULT_ALIGNMENT = 32,
    LEAST_VALUE = 13,  /* bytes: an empty key, a type, one byte */
    LEAST_TENSOR = 32, /* bytes: an empty name, one dimension */
};

static uint32_t size_of(elm_gguf_type type) {
    static const uint8_t sizes[ELM_GGUF_N_TYPES] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return sizes[type];
}

static elm_span read_string(elm_reader *r) {
    uint64_t n = elm_read_u64(r);
    const uint8_t *p = n <= MAX_STRING ? elm_read_bytes(r, n) : NULL;
    if (!p) r->failed = true;
    return elm_span_of(p, p ? (size_t)n : 0);
}

static elm_status bad(const elm_gguf *g, const char *what, elm_error *err) {
    return elm_fail(err, ELM_MALFORMED, "'%s': %s", g->checkpoint.shards[0].path, what);
}

static elm_status bad_value(const elm_gguf *g, elm_span key, const char *what, elm_error *err) {
    return elm_fail(err, ELM_MALFORMED, "'%s': the metadata value '%.*s' %s",
                    g->checkpoint.shards[0].path, (int)(key.size < 100 ? key.size : 100),
                    (const char *)key.data, what);
}

/* r->failed when the piece at hand ends inside the value. */
static elm_status read_value(const elm_gguf *g, elm_reader *r, elm_gguf_value *v, elm_error *err) {
    v->key = read_string(r);
    uint32_t type = elm_read_u32(r);
    if (r->failed) return ELM_OK;
    if (type >= ELM_GGUF_N_TYPES) return bad_value(g, v->key, "has an unknown type", err);
    v->type = (elm_gguf_type)type;
    if (v->type == ELM_GGUF_STRING) {
        v->data = read_string(r);
    } else if (v->type == ELM_GGUF_ARRAY) {
        uint32_t item = elm_read_u32(r);
        v->count = elm_read_u64(r);
        if (r->failed) return ELM_OK;
        if (item >= ELM_GGUF_N_TYPES || item == ELM_GGUF_ARRAY) {
            return bad_value(g, v->key, "is an array of an unknown type", err);
        }
        v->item_type = (elm_gguf_type)item;
        size_t start = r->pos;
        if (item == ELM_GGUF_STRING) {
            for (uint64_t i = 0; i < v->count && !r->failed; i++) (void)read_string(r);
        } else {
            uint64_t bytes;
            if (!elm_mul_u64(v->count, size_of(v->item_type), &bytes))
                return bad_value(g, v->key, "is too long", err);
            (void)elm_read_bytes(r, bytes);
        }
        if (!r->failed) v->data = elm_span_of(r->span.data + start, r->pos - start);
    } else {
        uint32_t n = size_of(v->type);
        v->data = elm_span_of(elm_read_bytes(r, n), n);
    }
    return ELM_OK;
}

static bool find_type(uint32_t number, elm_source_type *out) {
    for (uint32_t i = 0; i < ELM_N_SOURCE_TYPES; i++) {
        if (elm_source_type_get((elm_source_type)i)->gguf == (int32_t)number) {
            *out = (elm_source_type)i;
            return true;
        }
    }
    return false;
}

/* Types that llama.cpp writes and that are not read here, to name them. */
static const char *unread_type(uint32_t number) {
    static const struct {
        uint32_t number;
        const char *text;
    } known[] = {
        {9, "q8_1"},     {15, "q8_k"},  {16, "iq2_xxs"}, {17, "iq2_xs"},
        {18, "iq3_xxs"}, {19, "iq1_s"}, {21, "iq3_s"},   {22, "iq2_s"},
        {24, "i8"},      {25, "i16"},   {29, "iq1_m"},   {40, "nvfp4"},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (known[i].number == number) return known[i].text;
    }
    return "unknown";
}

static elm_status read_tensor(elm_gguf *g, elm_reader *r, elm_source_tensor *t, elm_error *err) {
    elm_span name = read_string(r);
    uint32_t n_dims = elm_read_u32(r);
    uint64_t dims[ELM_SOURCE_MAX_DIMS] = {0};
    if (!r->failed && (n_dims < 1 || n_dims > GGUF_MAX_DIMS)) {
        return elm_fail(err, ELM_MALFORMED,
                        "'%s': tensor '%.*s' has %u dimensions; expected 1 to %d",
                        g->checkpoint.shards[0].path, (int)(name.size < 100 ? name.size : 100),
                        (const char *)name.data, n_dims, GGUF_MAX_DIMS);
    }
    for (uint32_t d = 0; d < n_dims && !r->failed; d++) dims[d] = elm_read_u64(r);
    uint32_t type = elm_read_u32(r);
    t->offset = elm_read_u64(r);
    if (r->failed) return ELM_OK;
    t->name = elm_arena_string(&g->checkpoint.arena, name);
    if (!t->name) return elm_fail_oom(err, name.size, "a tensor's name");
    if (name.size == 0 || name.size > MAX_NAME || strlen(t->name) != name.size) {
        return bad(g, "a tensor has a bad name", err);
    }
    if (!find_type(type, &t->type)) {
        return elm_fail(err, ELM_UNSUPPORTED,
                        "'%s': tensor '%s' has GGUF type %u (%s), which is not supported",
                        g->checkpoint.shards[0].path, t->name, type, unread_type(type));
    }
    t->n_dims = n_dims;
    for (uint32_t d = 0; d < n_dims; d++) t->dims[d] = dims[n_dims - 1 - d];
    t->bytes = elm_source_bytes(t->type, n_dims, t->dims);
    if (t->bytes == 0) {
        return elm_fail(err, ELM_MALFORMED, "'%s': tensor '%s' has a shape that %s cannot hold",
                        g->checkpoint.shards[0].path, t->name, elm_source_type_get(t->type)->text);
    }
    return ELM_OK;
}

/* Parses what is in `piece`, the beginning of a file of `size` bytes. *complete = false: more bytes
 * are needed. */
static elm_status parse(elm_gguf *g, elm_span piece, uint64_t size, bool *complete,
                        elm_error *err) {
    elm_reader r = elm_reader_of(piece);
    elm_checkpoint *ck = &g->checkpoint;
    *complete = false;
    const uint8_t *magic = elm_read_bytes(&r, 4);
    uint32_t version = elm_read_u32(&r);
    uint64_t n_tensors = elm_read_u64(&r), n_values = elm_read_u64(&r);
    if (r.failed || memcmp(magic, "GGUF", 4) != 0) {
        bool elm = !r.failed && memcmp(magic, "ELM\x89", 4) == 0;
        ELM_TRY(elm_hint_pointer(piece, ck->shards[0].path, err));
        return elm_fail(err, ELM_MALFORMED, "'%s' is %s", ck->shards[0].path,
                        elm ? "an .elm file already; there is nothing to convert"
                            : "neither a model's folder nor a GGUF file (no magic, or too short)");
    }
    if (version >> 16 != 0 && (version & 0xffff) == 0) {
        return elm_fail(err, ELM_UNSUPPORTED,
                        "'%s' is a big-endian GGUF; this program reads "
                        "little-endian ones",
                        ck->shards[0].path);
    }
    if (version != 2 && version != 3) {
        return elm_fail(err, ELM_UNSUPPORTED, "'%s' is GGUF version %u; this program reads 2 and 3",
                        ck->shards[0].path, version);
    }
    if (n_values > ELM_GGUF_MAX_VALUES || n_tensors > ELM_MAX_SOURCE_TENSORS ||
        n_values * LEAST_VALUE + n_tensors * LEAST_TENSOR > size) {
        return bad(g, "the header has an impossible number of values or tensors", err);
    }
    g->values = elm_arena_array(&ck->arena, n_values, sizeof *g->values);
    ck->tensors = elm_arena_array(&ck->arena, n_tensors, sizeof *ck->tensors);
    if (!g->values || !ck->tensors)
        return elm_fail_oom(err, n_tensors * sizeof *ck->tensors, "the GGUF header");
    g->n_values = (uint32_t)n_values;
    ck->n_tensors = (uint32_t)n_tensors;
    for (uint64_t i = 0; i < n_values && !r.failed; i++)
        ELM_TRY(read_value(g, &r, &g->values[i], err));
    for (uint64_t i = 0; i < n_tensors && !r.failed; i++)
        ELM_TRY(read_tensor(g, &r, &ck->tensors[i], err));
    if (r.failed) return ELM_OK;
    *complete = true;
    g->header = elm_span_of(piece.data, r.pos);
    return ELM_OK;
}

static elm_status place_tensors(elm_gguf *g, elm_error *err) {
    int64_t alignment = DEFAULT_ALIGNMENT;
    uint64_t start;
    (void)elm_gguf_int(g, "general.alignment", &alignment);
    if (alignment < 1 || alignment > 1 << 20 || (alignment & (alignment - 1)) != 0) {
        return bad(g, "general.alignment is no power of two up to a mebibyte", err);
    }
    (void)elm_align_u64(g->header.size, (uint64_t)alignment, &start); /* far below 2^63 both */
    for (uint32_t i = 0; i < g->checkpoint.n_tensors; i++) {
        elm_source_tensor *t = &g->checkpoint.tensors[i];
        if (t->offset % (uint64_t)alignment != 0 || !elm_add_u64(t->offset, start, &t->offset)) {
            return elm_fail(err, ELM_MALFORMED, "'%s': tensor '%s' is not aligned to %lld bytes",
                            g->checkpoint.shards[0].path, t->name, (long long)alignment);
        }
    }
    for (uint32_t i = 0; i < g->n_values; i++) {
        for (uint32_t k = 0; k < i; k++) {
            if (elm_span_equal(g->values[i].key, g->values[k].key)) {
                return bad_value(g, g->values[i].key, "appears twice", err);
            }
        }
    }
    return g->checkpoint.n_tensors > 0 ? elm_checkpoint_index(&g->checkpoint, err) : ELM_OK;
}

/* A fresh arena with the first n bytes in it: what an earlier, shorter piece left is given back. */
static elm_status read_piece(elm_gguf *g, uint64_t n, elm_span *piece, elm_error *err) {
    elm_checkpoint *ck = &g->checkpoint;
    elm_file file = ck->shards[0];
    const elm_allocator *alloc = ck->arena.alloc;
    elm_arena fresh;
    elm_arena_init(&fresh, alloc, 0);
    elm_file *shards = elm_arena_array(&fresh, 1, sizeof *shards);
    if (!shards) return elm_fail_oom(err, sizeof *shards, "a GGUF file");
    *shards = file;
    elm_arena_free(&ck->arena);
    ck->arena = fresh;
    ck->shards = shards;
    ck->tensors = NULL;
    g->values = NULL;
    ck->n_tensors = g->n_values = 0;
    uint8_t *bytes = elm_arena_alloc(&ck->arena, (size_t)n, 16);
    if (!bytes) return elm_fail_oom(err, (size_t)n, "the GGUF header");
    *piece = elm_span_of(bytes, (size_t)n);
    return elm_file_read_at(&ck->shards[0], 0, bytes, (size_t)n, err);
}

elm_status elm_gguf_open(const elm_platform *platform, const char *path, elm_gguf *out,
                         elm_error *err) {
    elm_checkpoint *ck = &out->checkpoint;
    uint64_t size;
    bool complete = false;
    memset(out, 0, sizeof *out);
    ck->platform = platform;
    elm_arena_init(&ck->arena, platform->alloc, 0);
    ck->shards = elm_arena_array(&ck->arena, 1, sizeof *ck->shards);
    if (!ck->shards) return elm_fail_oom(err, sizeof *ck->shards, "a GGUF file");
    ELM_TRY(elm_file_open(platform, path, ELM_OPEN_READ, &ck->shards[0], err));
    ck->n_shards = 1;
    ELM_TRY(elm_file_size(&ck->shards[0], &size, err));
    for (uint64_t n = FIRST_PIECE; !complete; n *= 2) {
        elm_span piece = {NULL, 0};
        if (n > size) n = size;
        ELM_TRY(read_piece(out, n, &piece, err));
        ELM_TRY(parse(out, piece, size, &complete, err));
        if (!complete && (n == size || n >= ELM_GGUF_MAX_HEADER)) {
            return elm_fail(err, ELM_MALFORMED,
                            "'%s': the header does not end (truncated, or over %d MiB)", path,
                            ELM_GGUF_MAX_HEADER >> 20);
        }
    }
    return place_tensors(out, err);
}

void elm_gguf_close(elm_gguf *g) {
    elm_checkpoint_close(&g->checkpoint);
}

/* ---- access ---- */

const elm_gguf_value *elm_gguf_find(const elm_gguf *g, const char *key) {
    elm_span wanted = elm_span_str(key);
    for (uint32_t i = 0; i < g->n_values; i++) {
        if (elm_span_equal(g->values[i].key, wanted)) return &g->values[i];
    }
    return NULL;
}

bool elm_gguf_int(const elm_gguf *g, const char *key, int64_t *out) {
    const elm_gguf_value *v = elm_gguf_find(g, key);
    if (!v) return false;
    elm_reader r = elm_reader_of(v->data);
    switch (v->type) {
    case ELM_GGUF_U8:
        *out = elm_read_u8(&r);
        return true;
    case ELM_GGUF_I8:
        *out = (int64_t)(int8_t)elm_read_u8(&r);
        return true;
    case ELM_GGUF_U16:
        *out = elm_read_u16(&r);
        return true;
    case ELM_GGUF_I16:
        *out = (int16_t)elm_read_u16(&r);
        return true;
    case ELM_GGUF_U32:
        *out = elm_read_u32(&r);
        return true;
    case ELM_GGUF_I32:
        *out = elm_read_i32(&r);
        return true;
    case ELM_GGUF_I64:
    case ELM_GGUF_U64:
        *out = elm_read_i64(&r);
        return *out >= 0 || v->type == ELM_GGUF_I64;
    default:
        return false;
    }
}

bool elm_gguf_float(const elm_gguf *g, const char *key, double *out) {
    const elm_gguf_value *v = elm_gguf_find(g, key);
    if (!v) return false;
    elm_reader r = elm_reader_of(v->data);
    if (v->type == ELM_GGUF_F32)
        *out = (double)elm_read_f32(&r);
    else if (v->type == ELM_GGUF_F64)
        *out = elm_read_f64(&r);
    else
        return false;
    return true;
}

bool elm_gguf_bool(const elm_gguf *g, const char *key, bool *out) {
    const elm_gguf_value *v = elm_gguf_find(g, key);
    if (!v || v->type != ELM_GGUF_BOOL) return false;
    *out = v->data.data[0] != 0;
    return true;
}

bool elm_gguf_string(const elm_gguf *g, const char *key, elm_span *out) {
    const elm_gguf_value *v = elm_gguf_find(g, key);
    if (!v || v->type != ELM_GGUF_STRING) return false;
    *out = v->data;
    return true;
}

static elm_status wrong(const elm_gguf *g, const char *key, elm_error *err) {
    return elm_fail(err, ELM_MALFORMED, "'%s': '%s' has another type than expected",
                    g->checkpoint.shards[0].path, key);
}

elm_status elm_gguf_strings(const elm_gguf *g, const char *key, elm_arena *arena, elm_span **out,
                            uint32_t *n, elm_error *err) {
    const elm_gguf_value *v = elm_gguf_find(g, key);
    *out = NULL;
    *n = 0;
    if (!v) return ELM_OK;
    if (v->type != ELM_GGUF_ARRAY || v->item_type != ELM_GGUF_STRING) return wrong(g, key, err);
    if (v->count > UINT32_MAX) return wrong(g, key, err);
    *out = elm_arena_array(arena, (size_t)v->count, sizeof **out);
    if (!*out) return elm_fail_oom(err, (size_t)v->count * sizeof **out, key);
    elm_reader r = elm_reader_of(v->data);
    for (uint64_t i = 0; i < v->count; i++) (*out)[i] = read_string(&r);
    *n = (uint32_t)v->count;
    return ELM_OK;
}

elm_status elm_gguf_words(const elm_gguf *g, const char *key, elm_gguf_type type, elm_arena *arena,
                          void *out_ptr, uint32_t *n, elm_error *err) {
    const elm_gguf_value *v = elm_gguf_find(g, key);
    void *copy = NULL;
    memcpy(out_ptr, &copy, sizeof copy);
    *n = 0;
    if (!v) return ELM_OK;
    bool same = v->item_type == type || (type == ELM_GGUF_I32 && v->item_type == ELM_GGUF_U32);
    if (v->type != ELM_GGUF_ARRAY || !same || v->count > UINT32_MAX) return wrong(g, key, err);
    copy = elm_arena_array(arena, v->data.size, 1);
    if (!copy) return elm_fail_oom(err, v->data.size, key);
    memcpy(copy, v->data.data, v->data.size);
    memcpy(out_ptr, &copy, sizeof copy);
    *n = (uint32_t)v->count;
    return ELM_OK;
}
