/* checkpoint.c - finding and reading tensors; parse. */
#include "parse/checkpoint.h"

#include "base/checked.h"
#include "parse/dequant.h"

#include <stdlib.h>
#include <string.h>

enum { READ_BYTES = 1 << 16 };

static const elm_source_type_info types[ELM_N_SOURCE_TYPES] = {
#define X(name, text, elements, bytes, safetensors, gguf) \
    [ELM_SOURCE_##name] = {text, elements, bytes, safetensors, gguf},
#include "parse/source_type.def"
#undef X
};

const elm_source_type_info *elm_source_type_get(elm_source_type type) {
    return &types[type];
}

uint64_t elm_source_bytes(elm_source_type type, uint32_t n_dims, const uint64_t *dims) {
    const elm_source_type_info *info = &types[type];
    uint64_t elements = 1, bytes;
    for (uint32_t d = 0; d < n_dims; d++) {
        if (dims[d] == 0 || !elm_mul_u64(elements, dims[d], &elements)) return 0;
    }
    uint64_t inner = n_dims > 0 ? dims[n_dims - 1] : 1;
    if (inner % info->block_elements != 0) return 0;
    return elm_mul_u64(elements / info->block_elements, info->block_bytes, &bytes) ? bytes : 0;
}

void elm_checkpoint_close(elm_checkpoint *ck) {
    for (uint32_t i = 0; i < ck->n_shards; i++) {
        if (ck->shards[i].path) elm_file_close(&ck->shards[i]);
    }
    elm_arena_free(&ck->arena);
    memset(ck, 0, sizeof *ck);
}

/* ---- index ---- */

static int by_place(const void *a, const void *b) {
    const elm_source_tensor *x = *(const elm_source_tensor *const *)a,
                            *y = *(const elm_source_tensor *const *)b;
    if (x->shard != y->shard) return x->shard < y->shard ? -1 : 1;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static int by_name(const void *a, const void *b) {
    const elm_source_tensor *x = *(const elm_source_tensor *const *)a,
                            *y = *(const elm_source_tensor *const *)b;
    return strcmp(x->name, y->name);
}

/* Sorts by place; what lies inside its file and behind the one before overlaps nothing. */
static elm_status check_ranges(const elm_checkpoint *ck, const elm_source_tensor **sorted,
                               elm_error *err) {
    qsort(sorted, ck->n_tensors, sizeof *sorted, by_place);
    for (uint32_t i = 0; i < ck->n_tensors; i++) {
        const elm_source_tensor *t = sorted[i], *before = i > 0 ? sorted[i - 1] : NULL;
        const char *path = ck->shards[t->shard].path;
        uint64_t size;
        ELM_TRY(elm_file_size(&ck->shards[t->shard], &size, err));
        if (!elm_range_inside(t->offset, t->bytes, size)) {
            return elm_fail(err, ELM_MALFORMED,
                            "'%s': tensor '%s' needs %llu bytes at %llu; the file has %llu", path,
                            t->name, (unsigned long long)t->bytes, (unsigned long long)t->offset,
                            (unsigned long long)size);
        }
        if (before && before->shard == t->shard && t->offset < before->offset + before->bytes) {
            return elm_fail(err, ELM_MALFORMED, "'%s': tensors '%s' and '%s' overlap", path,
                            before->name, t->name);
        }
    }
    return ELM_OK;
}

elm_status elm_checkpoint_index(elm_checkpoint *ck, elm_error *err) {
    ck->by_name = NULL;
    if (ck->n_shards == 0 || ck->n_tensors == 0) {
        return elm_fail(err, ELM_MALFORMED, "'%s' holds no tensors",
                        ck->n_shards > 0 ? ck->shards[0].path : "");
    }
    const elm_source_tensor **sorted = elm_arena_array(&ck->arena, ck->n_tensors, sizeof *sorted);
    if (!sorted) return elm_fail_oom(err, ck->n_tensors * sizeof *sorted, "the tensor index");
    ck->total_bytes = 0;
    for (uint32_t i = 0; i < ck->n_tensors; i++) {
        sorted[i] = &ck->tensors[i];
        ck->total_bytes += ck->tensors[i].bytes;
    }
    ELM_TRY(check_ranges(ck, sorted, err));
    qsort(sorted, ck->n_tensors, sizeof *sorted, by_name);
    for (uint32_t i = 1; i < ck->n_tensors; i++) {
        if (strcmp(sorted[i - 1]->name, sorted[i]->name) == 0) {
            return elm_fail(err, ELM_MALFORMED, "'%s': the tensor '%s' is there twice",
                            ck->shards[sorted[i]->shard].path, sorted[i]->name);
        }
    }
    ck->by_name = sorted;
    return ELM_OK;
}

const elm_source_tensor *elm_checkpoint_find(const elm_checkpoint *ck, const char *name) {
    uint32_t low = 0, high = ck->by_name ? ck->n_tensors : 0;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = strcmp(name, ck->by_name[middle]->name);
        if (order == 0) return ck->by_name[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

/* ---- reading ---- */

/* A vector is one row an element; a scalar is one row of one. */
static uint64_t row_elements(const elm_source_tensor *t) {
    return t->n_dims > 1 ? t->dims[t->n_dims - 1] : 1;
}

static uint64_t rows_of(const elm_source_tensor *t) {
    uint64_t n = t->n_dims > 0 ? t->dims[0] : 1;
    for (uint32_t d = 1; d + 1 < t->n_dims; d++) n *= t->dims[d];
    return n;
}

/* ---- swapped rows and columns ---- */

static uint64_t stored_at(const elm_source_swap *s, uint64_t at) {
    if (s->outer == 0 || at < s->first) return at;
    uint64_t inside = (at - s->first) % ((uint64_t)s->outer * s->inner * s->size);
    uint64_t i = inside / s->size / s->inner, j = inside / s->size % s->inner;
    return at - inside + (j * s->outer + i) * s->size + inside % s->size;
}

/* How many of the n from `at` on also lie one after the other in the file. */
static uint64_t together(const elm_source_swap *s, uint64_t at, uint64_t n) {
    if (s->outer == 0) return n;
    uint64_t run = at < s->first ? s->first - at : s->size - (at - s->first) % s->size;
    return run < n ? run : n;
}

static void swap_bytes(uint8_t *a, uint8_t *b, size_t n) {
    uint8_t piece[256];
    for (size_t at = 0; at < n; at += sizeof piece) {
        size_t some = n - at < sizeof piece ? n - at : sizeof piece;
        memcpy(piece, a + at, some);
        memcpy(a + at, b + at, some);
        memcpy(b + at, piece, some);
    }
}

/* Puts the groups of a row, `bytes` each, into the checkpoint's own order, in place: what group i needs lies at stored_at(i), or,
 * if an earlier swap took that place, where the place's old content went. */
static void unswap_columns(const elm_source_swap *s, uint8_t *row, size_t bytes) {
    elm_source_swap groups = {0, s->outer, s->inner, 1};
    for (uint64_t i = 0; i < (uint64_t)s->outer * s->inner; i++) {
        uint64_t from = stored_at(&groups, i);
        while (from < i) from = stored_at(&groups, from);
        if (from != i) swap_bytes(row + i * bytes, row + from * bytes, bytes);
    }
}

bool elm_source_has_raw_rows(const elm_source_tensor *t) {
    return t->cols.outer == 0 || t->cols.size % types[t->type].block_elements == 0;
}

elm_status elm_checkpoint_read_raw_rows(const elm_checkpoint *ck, const elm_source_tensor *t,
                                        uint64_t first_row, uint64_t n_rows, void *out,
                                        elm_error *err) {
    const elm_source_type_info *info = &types[t->type];
    uint64_t row_bytes = t->bytes / rows_of(t);
    if (!elm_range_inside(first_row, n_rows, rows_of(t)) || !elm_source_has_raw_rows(t)) {
        return elm_fail(err, ELM_INTERNAL, "rows %llu.. of '%s' do not exist",
                        (unsigned long long)first_row, t->name);
    }
    for (uint64_t r = 0, n; r < n_rows; r += n) {
        n = together(&t->rows, first_row + r, n_rows - r);
        uint64_t offset = t->offset + stored_at(&t->rows, first_row + r) * row_bytes;
        ELM_TRY(elm_file_read_at(&ck->shards[t->shard], offset, (uint8_t *)out + r * row_bytes,
                                 (size_t)(n * row_bytes), err));
    }
    size_t group_bytes = (size_t)t->cols.size / info->block_elements * info->block_bytes;
    for (uint64_t r = 0; t->cols.outer && r < n_rows; r++)
        unswap_columns(&t->cols, (uint8_t *)out + r * row_bytes, group_bytes);
    return ELM_OK;
}

/* A contiguous range of bytes, converted piece by piece through a buffer on the stack. */
static elm_status convert_range(const elm_checkpoint *ck, const elm_source_tensor *t,
                                uint64_t offset, uint64_t bytes, float *out, elm_error *err) {
    uint8_t piece[READ_BYTES];
    const elm_source_type_info *info = &types[t->type];
    size_t most = READ_BYTES / info->block_bytes * info->block_bytes;
    while (bytes > 0) {
        size_t n = bytes < most ? (size_t)bytes : most, blocks = n / info->block_bytes;
        ELM_TRY(elm_file_read_at(&ck->shards[t->shard], offset, piece, n, err));
        elm_dequantize(t->type, piece, blocks, out);
        out += blocks * info->block_elements;
        offset += n;
        bytes -= n;
    }
    return ELM_OK;
}

elm_status elm_checkpoint_read_rows(const elm_checkpoint *ck, const elm_source_tensor *t,
                                    uint64_t first_row, uint64_t n_rows, float *out,
                                    elm_error *err) {
    uint64_t row_bytes = t->bytes / rows_of(t), elements = row_elements(t);
    if (!elm_range_inside(first_row, n_rows, rows_of(t))) {
        return elm_fail(err, ELM_INTERNAL, "rows %llu.. of '%s' do not exist",
                        (unsigned long long)first_row, t->name);
    }
    for (uint64_t r = 0, n; r < n_rows; r += n) {
        n = together(&t->rows, first_row + r, n_rows - r);
        uint64_t offset = t->offset + stored_at(&t->rows, first_row + r) * row_bytes;
        ELM_TRY(convert_range(ck, t, offset, n * row_bytes, out + r * elements, err));
    }
    for (uint64_t r = 0; t->cols.outer && r < n_rows; r++)
        unswap_columns(&t->cols, (uint8_t *)(out + r * elements), t->cols.size * sizeof *out);
    return ELM_OK;
}
