/* cmd_diff.c - edge-llm diff: what two files have in common, by section, key of META and tensor; cli. */
#include "cli/cli.h"
#include "base/sort.h"
#include "base/utf8.h"
#include "elm/container.h"

#include <string.h>

typedef struct side {
    elm_container c;
    elm_tensor *tensors;
    uint32_t n_tensors;
    const elm_tensor **by_name;
} side;

typedef struct comparison {
    const cli_options *options;
    elm_json_writer *w;
    uint32_t n_different, n_same;
} comparison;

static int by_name(const void *a, const void *b) {
    const elm_tensor *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static elm_status open_side(side *s, const char *path, elm_error *err) {
    ELM_TRY(elm_container_open(elm_platform_default(), path, &s->c, err));
    if (!elm_container_find(&s->c, ELM_SECTION_TENSORS) ||
        !elm_container_find(&s->c, ELM_SECTION_WEIGHTS))
        return ELM_OK;
    ELM_TRY(elm_container_tensors(&s->c, &s->tensors, &s->n_tensors, err));
    s->by_name = elm_arena_array(&s->c.arena, s->n_tensors, sizeof *s->by_name);
    if (!s->by_name && s->n_tensors > 0) return elm_fail_oom(err, s->n_tensors, "tensor names");
    for (uint32_t i = 0; i < s->n_tensors; i++) s->by_name[i] = &s->tensors[i];
    elm_heap_sort(s->by_name, s->n_tensors, sizeof *s->by_name, by_name);
    return ELM_OK;
}

static void say(comparison *d, const char *kind, const char *name, const char *what) {
    if (d->options->json) {
        elm_json_begin_object(d->w, NULL);
        elm_json_put_str(d->w, "kind", kind);
        elm_json_put_str(d->w, "name", name);
        elm_json_put_str(d->w, "difference", what);
        elm_json_end_object(d->w);
    } else {
        printf("%s ", kind);
        cli_print_plain(name, strlen(name));
        printf(": ");
        cli_print_plain(what, strlen(what));
        putchar('\n');
    }
    d->n_different++;
}

/* ---- sections ---- */

static const elm_section *section_of(const elm_container *c, const elm_section *like) {
    for (uint32_t i = 0; i < c->n_sections; i++) {
        const elm_section *s = &c->sections[i];
        if (s->type == like->type && strcmp(s->name, like->name) == 0) return s;
    }
    return NULL;
}

static bool is_content(const elm_section *s) {
    return s->type != ELM_SECTION_RETIRED && s->type != ELM_SECTION_SIGNATURE;
}

static void compare_sections(comparison *d, const elm_container *a, const elm_container *b) {
    char what[96];
    for (uint32_t i = 0; i < a->n_sections; i++) {
        const elm_section *s = &a->sections[i], *o = section_of(b, s);
        const char *name = s->name[0] ? s->name : elm_section_text(s->type);
        if (!is_content(s)) continue;
        if (!o) {
            say(d, "section", name, "only in the first file");
        } else if (o->size != s->size) {
            snprintf(what, sizeof what, "%llu bytes against %llu", (unsigned long long)s->size,
                     (unsigned long long)o->size);
            say(d, "section", name, what);
        } else if (memcmp(s->sha256, o->sha256, 32) != 0) {
            say(d, "section", name, "other content of the same size");
        } else {
            d->n_same++;
        }
    }
    for (uint32_t i = 0; i < b->n_sections; i++) {
        const elm_section *s = &b->sections[i];
        if (is_content(s) && !section_of(a, s))
            say(d, "section", s->name[0] ? s->name : elm_section_text(s->type),
                "only in the second file");
    }
}

/* ---- META, key by key ---- */

/* JSON text, in which control characters are escaped. */
static void put_json(elm_buf *out, const elm_json *value) {
    elm_json_writer w;
    elm_json_writer_init(&w, out, false);
    elm_json_put_value(&w, NULL, value);
    elm_buf_u8(out, 0);
}

/* What did not fit was cut off, perhaps within a character. */
static void end_text(char *text) {
    text[elm_utf8_valid_prefix(elm_span_str(text))] = 0;
}

static elm_status compare_values(comparison *d, const char *name, const elm_json *x,
                                 const elm_json *y, elm_error *err) {
    char what[160], cut[2][72];
    elm_buf texts[2];
    elm_status status = ELM_OK;
    for (int i = 0; i < 2; i++) {
        cli_buf(&texts[i]);
        put_json(&texts[i], i == 0 ? x : y);
        if (status == ELM_OK) status = elm_buf_check(&texts[i], "a key of META", err);
    }
    if (status == ELM_OK && strcmp((char *)texts[0].data, (char *)texts[1].data) != 0) {
        for (int i = 0; i < 2; i++) {
            snprintf(cut[i], sizeof cut[i], "%s", (char *)texts[i].data);
            end_text(cut[i]);
        }
        snprintf(what, sizeof what, "%s against %s", cut[0], cut[1]);
        say(d, "meta", name, what);
    }
    for (int i = 0; i < 2; i++) elm_buf_free(&texts[i]);
    return status;
}

enum { NAME_BYTES = 192 };

static void name_of(const char *path, const elm_json *member, char out[NAME_BYTES]) {
    size_t n = member->key.size < 60 ? member->key.size : 60;
    snprintf(out, NAME_BYTES, "%s%.*s", path, (int)n, (const char *)member->key.data);
    end_text(out);
}

/* The depth is that of the parser. `path` is empty, or ends in a dot. */
static elm_status compare_objects(comparison *d, const char *path, const elm_json *a,
                                  const elm_json *b, elm_error *err) {
    char name[NAME_BYTES], below[NAME_BYTES + 1];
    for (uint32_t i = 0; i < a->count; i++) {
        const elm_json *x = &a->as.items[i], *y = elm_json_member(b, x->key);
        name_of(path, x, name);
        if (!y) {
            say(d, "meta", name, "only in the first file");
        } else if (x->type == ELM_JSON_OBJECT && y->type == ELM_JSON_OBJECT) {
            snprintf(below, sizeof below, "%s.", name);
            ELM_TRY(compare_objects(d, below, x, y, err));
        } else {
            ELM_TRY(compare_values(d, name, x, y, err));
        }
    }
    for (uint32_t i = 0; i < b->count; i++) {
        name_of(path, &b->as.items[i], name);
        if (!elm_json_member(a, b->as.items[i].key))
            say(d, "meta", name, "only in the second file");
    }
    return ELM_OK;
}

static elm_status compare_meta(comparison *d, elm_container *a, elm_container *b, elm_error *err) {
    elm_container *const files[] = {a, b};
    const elm_json *meta[2];
    for (int i = 0; i < 2; i++) {
        elm_span text;
        if (!elm_container_find(files[i], ELM_SECTION_META)) return ELM_OK;
        ELM_TRY(elm_container_load(files[i], ELM_SECTION_META, &text, err));
        ELM_TRY(elm_json_parse(text, "meta", NULL, &files[i]->arena, &meta[i], err));
        if (meta[i]->type != ELM_JSON_OBJECT) return ELM_OK;
    }
    return compare_objects(d, "", meta[0], meta[1], err);
}

/* ---- tensors ---- */

static elm_status check_planes(elm_container *c, const elm_tensor *t, elm_error *err) {
    const void *const planes[] = {t->codes, t->scales, t->zeros};
    const uint64_t bytes[] = {t->codes_bytes, t->scales_bytes, t->zeros_bytes};
    const elm_section *weights = elm_container_find(c, ELM_SECTION_WEIGHTS);
    for (int p = 0; p < 3; p++) {
        if (!planes[p]) continue;
        uint64_t at = (uint64_t)((const uint8_t *)planes[p] - c->map.data) - weights->offset;
        ELM_TRY(elm_container_check(c, weights, at, bytes[p], err));
    }
    return ELM_OK;
}

static bool planes_equal(const void *a, const void *b, uint64_t bytes) {
    return bytes == 0 || memcmp(a, b, (size_t)bytes) == 0;
}

static void describe(const elm_tensor *t, char *out, size_t n) {
    size_t used = (size_t)snprintf(out, n, "%s", elm_dtype_get(t->dtype)->text);
    if (t->group) used += (size_t)snprintf(out + used, n - used, ":%u", t->group);
    for (uint32_t i = 0; i < t->n_dims && used < n; i++)
        used += (size_t)snprintf(out + used, n - used, i ? "x%u" : " %u", t->dims[i]);
}

static elm_status compare_tensor(comparison *d, side *a, const elm_tensor *x, side *b,
                                 const elm_tensor *y, elm_error *err) {
    char what[160], first[64], second[64];
    bool same_form = x->dtype == y->dtype && x->layout == y->layout && x->group == y->group &&
                     x->n_dims == y->n_dims && memcmp(x->dims, y->dims, sizeof x->dims) == 0;
    if (!same_form) {
        describe(x, first, sizeof first);
        describe(y, second, sizeof second);
        snprintf(what, sizeof what, "%s against %s", first, second);
        say(d, "tensor", x->name, what);
        return ELM_OK;
    }
    ELM_TRY(check_planes(&a->c, x, err));
    ELM_TRY(check_planes(&b->c, y, err));
    bool codes = planes_equal(x->codes, y->codes, x->codes_bytes);
    bool scales = x->scale_exp == y->scale_exp &&
                  planes_equal(x->scales, y->scales, x->scales_bytes) &&
                  planes_equal(x->zeros, y->zeros, x->zeros_bytes);
    if (codes && scales) {
        d->n_same++;
        return ELM_OK;
    }
    snprintf(what, sizeof what, "other %s%s%s", codes ? "" : "values",
             codes || scales ? "" : " and ", scales ? "" : "scales");
    say(d, "tensor", x->name, what);
    return ELM_OK;
}

static elm_status compare_tensors(comparison *d, side *a, side *b, elm_error *err) {
    uint32_t i = 0, k = 0;
    while (i < a->n_tensors || k < b->n_tensors) {
        int order = i == a->n_tensors   ? 1
                    : k == b->n_tensors ? -1
                                        : strcmp(a->by_name[i]->name, b->by_name[k]->name);
        if (order < 0)
            say(d, "tensor", a->by_name[i++]->name, "only in the first file");
        else if (order > 0)
            say(d, "tensor", b->by_name[k++]->name, "only in the second file");
        else
            ELM_TRY(compare_tensor(d, a, a->by_name[i++], b, b->by_name[k++], err));
    }
    return ELM_OK;
}

static int run(const cli_options *o) {
    elm_error err;
    side a = {0}, b = {0};
    elm_buf json;
    elm_json_writer w;
    comparison d = {.options = o, .w = &w};
    cli_buf(&json);
    elm_json_writer_init(&w, &json, true);
    elm_json_begin_object(&w, NULL);
    elm_json_put_int(&w, "schema_version", 1);
    elm_json_begin_array(&w, "differences");
    elm_status status = open_side(&a, o->positional[0], &err);
    if (status == ELM_OK) status = open_side(&b, o->positional[1], &err);
    if (status == ELM_OK) {
        compare_sections(&d, &a.c, &b.c);
        status = compare_meta(&d, &a.c, &b.c, &err);
    }
    if (status == ELM_OK) {
        status = compare_tensors(&d, &a, &b, &err);
    }
    elm_json_end_array(&w);
    elm_json_put_int(&w, "different", d.n_different);
    elm_json_put_int(&w, "same", d.n_same);
    elm_json_end_object(&w);
    elm_buf_u8(&json, '\n');
    if (status == ELM_OK && o->json) cli_print_buf(&json);
    if (status == ELM_OK && !o->json)
        printf("%u different, %u the same\n", d.n_different, d.n_same);
    elm_buf_free(&json);
    elm_container_close(&a.c);
    elm_container_close(&b.c);
    if (status != ELM_OK) return cli_error(&err);
    return d.n_different > 0 ? 1 : 0;
}

const cli_command cli_diff = {
    "diff",
    "diff A.elm B.elm [--json]",
    "compare two files by section and tensor; exit code 1 when they differ",
    "  edge-llm diff yesterday.elm today.elm\n",
    2,
    2,
    run};
