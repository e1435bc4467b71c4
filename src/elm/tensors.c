/* tensors.c - the TENSORS section as views into WEIGHTS, every number checked; elm. */
#include "base/checked.h"
#include "base/utf8.h"
#include "elm/container.h"
#include "base/sort.h"

#include <string.h>

typedef struct plane {
    uint64_t offset, size;
} plane;

typedef struct tensor_table {
    elm_container *c;
    const elm_section *weights;
    elm_span names;
    uint64_t names_used; /* names follow each other in the order of the records */
    elm_error *err;
    plane *planes; /* of all tensors, to find overlaps */
    size_t n_planes;
} tensor_table;

static elm_status bad(const tensor_table *t, uint32_t i, const char *name, const char *what) {
    return elm_fail(t->err, ELM_MALFORMED, "'%s': tensor %u ('%s') %s", t->c->file.path, i,
                    name ? name : "?", what);
}

static elm_status place(tensor_table *t, uint32_t i, const char *name, uint64_t offset,
                        uint64_t size, uint64_t expected, uint64_t align, const void **out) {
    *out = NULL;
    if (size != expected) return bad(t, i, name, "has a plane whose size does not fit its shape");
    if (size == 0)
        return offset == 0 ? ELM_OK : bad(t, i, name, "has an empty plane with an offset");
    if (offset % align != 0) return bad(t, i, name, "has a plane that is not aligned");
    if (!elm_range_inside(offset, size, t->weights->size))
        return bad(t, i, name, "lies outside the weights");
    t->planes[t->n_planes++] = (plane){offset, size};
    *out = t->c->map.data + t->weights->offset + offset;
    return ELM_OK;
}

bool elm_tensor_plane_sizes(const elm_tensor *t, elm_p16_shape *out) {
    const elm_dtype_info *info = elm_dtype_get(t->dtype);
    uint64_t bytes;
    memset(out, 0, sizeof *out);
    if (!info || t->n_dims < 1 || t->n_dims > ELM_MAX_DIMS) return false;
    for (uint32_t d = 0; d < t->n_dims; d++) {
        if (t->dims[d] < 1 || t->dims[d] > ELM_MAX_DIM) return false;
    }
    int32_t most = info->has_scales ? ELM_MAX_SCALE_EXP : 0;
    if (t->scale_exp < -most || t->scale_exp > most) return false;
    if (t->layout == ELM_LAYOUT_P16) {
        return (t->n_dims == 2 || t->n_dims == 3) &&
               elm_p16_shape_of(t->dtype, elm_tensor_tall_rows(t), elm_tensor_cols(t), t->group,
                                out);
    }
    if (t->layout != ELM_LAYOUT_ROWS) return false;
    if (info->has_scales) {
        return t->n_dims == 2 && elm_rows_shape_of(t->dtype, t->dims[0], t->dims[1], t->group, out);
    }
    if (t->group != 0) return false;
    bytes = info->bits / 8u;
    for (uint32_t d = 0; d < t->n_dims; d++) {
        if (!elm_mul_u64(bytes, t->dims[d], &bytes)) return false;
    }
    out->codes_bytes = bytes;
    return true;
}

bool elm_tensor_name_holds(elm_span name) {
    if (name.size == 0 || name.size > ELM_MAX_TENSOR_NAME) return false;
    for (size_t i = 0; i < name.size; i++) {
        if (name.data[i] < 0x20 || name.data[i] == 0x7f) return false;
    }
    return elm_utf8_valid_prefix(name) == name.size;
}

static elm_status read_name(tensor_table *table, uint32_t i, uint32_t offset, uint16_t bytes,
                            const char **out) {
    bool inside = true;
    elm_span name = elm_span_slice(table->names, offset, bytes, &inside);
    if (!inside || offset != table->names_used)
        return bad(table, i, NULL, "has a name that lies elsewhere");
    if (!elm_tensor_name_holds(name))
        return bad(table, i, NULL, "has a name that is empty, too long or not text");
    table->names_used += bytes;
    *out = elm_arena_string(&table->c->arena, name);
    return *out ? ELM_OK : elm_fail_oom(table->err, bytes, "a tensor's name");
}

static elm_status read_tensor(tensor_table *table, elm_reader *r, uint32_t i, elm_tensor *t) {
    uint32_t name_offset = elm_read_u32(r);
    uint16_t name_bytes = elm_read_u16(r);
    uint8_t dtype = elm_read_u8(r), layout = elm_read_u8(r), n_dims = elm_read_u8(r);
    const uint8_t *reserved = elm_read_bytes(r, 3);
    for (int d = 0; d < ELM_MAX_DIMS; d++) t->dims[d] = elm_read_u32(r);
    t->group = elm_read_u32(r);
    t->scale_exp = elm_read_i32(r);
    uint32_t reserved2 = elm_read_u32(r);
    uint64_t offsets[3], sizes[3];
    for (int p = 0; p < 3; p++) offsets[p] = elm_read_u64(r), sizes[p] = elm_read_u64(r);
    if (r->failed || !reserved || reserved[0] || reserved[1] || reserved[2] || reserved2) {
        return bad(table, i, NULL, "has reserved fields that are not zero");
    }
    ELM_TRY(read_name(table, i, name_offset, name_bytes, &t->name));
    if (!elm_dtype_get(dtype)) return bad(table, i, t->name, "has an unknown type");
    if (layout > ELM_LAYOUT_P16) return bad(table, i, t->name, "has an unknown layout");
    t->dtype = (elm_dtype)dtype;
    t->layout = (elm_layout)layout;
    t->n_dims = n_dims;
    elm_p16_shape shape;
    if (!elm_tensor_plane_sizes(t, &shape)) {
        return bad(table, i, t->name,
                   "has a shape, group or exponent that its type and layout cannot have");
    }
    for (uint32_t d = n_dims; d < ELM_MAX_DIMS; d++) {
        if (t->dims[d] != 0)
            return bad(table, i, t->name, "has an unused dimension that is not zero");
    }
    const void *planes[3];
    const uint64_t expected[3] = {shape.codes_bytes, shape.scales_bytes, shape.zeros_bytes};
    const uint64_t code_align = layout == ELM_LAYOUT_P16 ? ELM_TENSOR_ALIGN : ELM_PLANE_ALIGN;
    for (int p = 0; p < 3; p++) {
        ELM_TRY(place(table, i, t->name, offsets[p], sizes[p], expected[p],
                      p == 0 ? code_align : ELM_PLANE_ALIGN, &planes[p]));
    }
    t->codes = planes[0];
    t->scales = planes[1];
    t->zeros = planes[2];
    t->codes_bytes = sizes[0];
    t->scales_bytes = sizes[1];
    t->zeros_bytes = sizes[2];
    return ELM_OK;
}

static int by_offset(const void *a, const void *b) {
    const plane *x = a, *y = b;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

static int by_name(const void *a, const void *b) {
    const elm_tensor *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static elm_status check_together(tensor_table *table, const elm_tensor *tensors, uint32_t n) {
    elm_heap_sort(table->planes, table->n_planes, sizeof *table->planes, by_offset);
    for (size_t i = 1; i < table->n_planes; i++) {
        const plane *before = &table->planes[i - 1];
        if (table->planes[i].offset < before->offset + before->size) {
            return elm_fail(table->err, ELM_MALFORMED,
                            "'%s': two tensors overlap at byte %llu of the weights",
                            table->c->file.path, (unsigned long long)table->planes[i].offset);
        }
    }
    const elm_tensor **sorted = elm_arena_array(&table->c->arena, n, sizeof *sorted);
    if (!sorted) return elm_fail_oom(table->err, n * sizeof *sorted, "tensor names");
    for (uint32_t i = 0; i < n; i++) sorted[i] = &tensors[i];
    elm_heap_sort(sorted, n, sizeof *sorted, by_name);
    for (uint32_t i = 1; i < n; i++) {
        if (strcmp(sorted[i]->name, sorted[i - 1]->name) == 0) {
            return elm_fail(table->err, ELM_MALFORMED, "'%s': two tensors are called '%s'",
                            table->c->file.path, sorted[i]->name);
        }
    }
    return ELM_OK;
}

elm_status elm_container_tensors(elm_container *c, elm_tensor **out, uint32_t *n_out,
                                 elm_error *err) {
    elm_span section;
    *out = NULL;
    *n_out = 0;
    ELM_TRY(elm_container_load(c, ELM_SECTION_TENSORS, &section, err));
    tensor_table table = {
        .c = c, .weights = elm_container_find(c, ELM_SECTION_WEIGHTS), .err = err};
    if (!table.weights && elm_container_find(c, ELM_SECTION_DROPPED)) {
        return elm_fail(err, ELM_UNSUPPORTED,
                        "'%s' was stripped of its weights: only the products in it can run it; use "
                        "the file it was made from",
                        c->file.path);
    }
    if (!table.weights)
        return elm_fail(err, ELM_MALFORMED, "'%s' has no section weights", c->file.path);
    elm_reader r = elm_reader_of(section);
    uint32_t n = elm_read_u32(&r), record = elm_read_u32(&r);
    bool inside = true;
    if (r.failed || record != sizeof(elm_disk_tensor) || n > ELM_MAX_TENSORS) inside = false;
    elm_span records = elm_span_slice(section, 8, inside ? (uint64_t)n * record : 0, &inside);
    if (!inside)
        return elm_fail(err, ELM_MALFORMED, "'%s': the tensor table has an impossible size",
                        c->file.path);
    table.names = elm_span_of(section.data + 8 + records.size, section.size - 8 - records.size);
    elm_tensor *tensors = elm_arena_array(&c->arena, n, sizeof *tensors);
    table.planes = elm_arena_array(&c->arena, (size_t)n * 3, sizeof *table.planes);
    if (!tensors || !table.planes)
        return elm_fail_oom(err, n * sizeof *tensors, "the tensor table");
    r = elm_reader_of(records);
    for (uint32_t i = 0; i < n; i++) ELM_TRY(read_tensor(&table, &r, i, &tensors[i]));
    if (table.names_used != table.names.size) {
        return elm_fail(err, ELM_MALFORMED,
                        "'%s': the tensor table has %zu bytes of names, its tensors %llu",
                        c->file.path, table.names.size, (unsigned long long)table.names_used);
    }
    ELM_TRY(check_together(&table, tensors, n));
    *out = tensors;
    *n_out = n;
    return ELM_OK;
}
