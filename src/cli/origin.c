/* origin.c - see origin.h; cli. */
#include "cli/origin.h"

#include "backend/backend.h"

#include <string.h>

void cli_warn_damaged_slot(const elm_container *c) {
    for (int i = 0; i < ELM_N_SLOTS; i++) {
        if (c->slot_damaged[i])
            fprintf(stderr,
                    "edge-llm: warning: header slot %c of '%s' is damaged; it was opened from the "
                    "other, generation %llu; 'edge-llm verify' tells more\n",
                    'A' + i, c->file.path, (unsigned long long)c->generation);
    }
}

void cli_sections_print(const elm_container *c) {
    puts("\n| section | offset | bytes | chunks | sha256 |\n|---|---:|---:|---:|---|");
    for (uint32_t i = 0; i < c->n_sections; i++) {
        const elm_section *s = &c->sections[i];
        printf("| %s%s%s | %llu | %llu | %u |", elm_section_text(s->type), s->name[0] ? " " : "",
               s->name, (unsigned long long)s->offset, (unsigned long long)s->size, s->n_chunks);
        printf(" %02x%02x%02x%02x... |\n", s->sha256[0], s->sha256[1], s->sha256[2], s->sha256[3]);
    }
}

/* ---- provenance ---- */

static elm_status read_meta(elm_container *c, const elm_json **out, elm_error *err) {
    elm_span section;
    ELM_TRY(elm_container_load(c, ELM_SECTION_META, &section, err));
    return elm_json_parse(section, "meta", NULL, &c->arena, out, err);
}

static void print_text(const char *label, const elm_json *v) {
    if (!v || v->type != ELM_JSON_STRING) return;
    fputs(label, stdout);
    cli_print_plain((const char *)v->as.string.data, v->as.string.size);
}

static void print_hashes(const elm_json *source) {
    const elm_json *hashes = elm_json_find(source, "sha256"),
                   *weights = elm_json_find(source, "weights");
    for (uint32_t i = 0; hashes && hashes->type == ELM_JSON_OBJECT && i < hashes->count; i++) {
        const elm_json *h = &hashes->as.items[i];
        if (h->type != ELM_JSON_STRING) continue;
        fputs("  ", stdout);
        size_t n = cli_print_plain((const char *)h->key.data, h->key.size);
        printf("%*s sha256 ", n < 24 ? (int)(24 - n) : 0, "");
        cli_print_plain((const char *)h->as.string.data,
                        h->as.string.size < 16 ? h->as.string.size : 16);
        puts("...");
    }
    for (uint32_t i = 0; weights && weights->type == ELM_JSON_ARRAY && i < weights->count; i++) {
        int64_t bytes = 0;
        (void)!elm_json_int(&weights->as.items[i], "bytes", 0, INT64_MAX, "meta", &bytes, NULL);
        printf("  weight file %-12u %.1f MB", i, (double)bytes / 1e6);
        print_text(", header ", elm_json_find(&weights->as.items[i], "header_sha256"));
        putchar('\n');
    }
}

static void print_provenance(const elm_json *meta) {
    const elm_json *source = elm_json_find(meta, "source"),
                   *options = elm_json_find(meta, "options");
    print_text("\nconverted by edge-llm ", elm_json_find(meta, "converter_version"));
    print_text(" from ", elm_json_find(source, "format"));
    print_text("; linear ", elm_json_find(options, "linear"));
    print_text(", embedding ", elm_json_find(options, "embedding"));
    print_text(", head ", elm_json_find(options, "head"));
    putchar('\n');
    print_hashes(source);
}

/* ---- products ---- */

/* Whether this build has the backend of a product: the part of its target before the colon. */
static elm_status check_backend(const elm_product *p, elm_error *err) {
    char name[48];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(p->target, ":"), p->target);
    if (elm_backend_find(name)) return ELM_OK;
    return elm_fail(err, ELM_UNSUPPORTED,
                    "this build has no backend '%s'; the other backends run the model", name);
}

static elm_status judge(elm_container *c, const elm_section *s, const cli_trust *trust,
                        elm_product *p, elm_error *why) {
    ELM_TRY(elm_product_read(c, s, &c->arena, p, why));
    ELM_TRY(elm_product_judge(c, p, &trust->trust, why));
    return check_backend(p, why);
}

static uint32_t count(const elm_container *c, uint32_t type) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->n_sections; i++) n += c->sections[i].type == type;
    return n;
}

elm_status cli_origin_print(elm_container *c, const cli_trust *trust, elm_error *err) {
    const elm_json *meta;
    ELM_TRY(read_meta(c, &meta, err));
    print_provenance(meta);
    for (uint32_t i = 0; i < c->n_sections; i++) {
        elm_product p;
        elm_error why;
        const elm_section *s = &c->sections[i];
        if (s->type != ELM_SECTION_PRODUCT) continue;
        elm_status status = judge(c, s, trust, &p, &why);
        printf("product %s, %.1f MB: %s\n", s->name, (double)s->size / 1e6,
               status == ELM_OK ? "valid here" : why.message);
    }
    printf("%u signature%s\n", count(c, ELM_SECTION_SIGNATURE),
           count(c, ELM_SECTION_SIGNATURE) == 1 ? "" : "s");
    return ELM_OK;
}

elm_status cli_origin_json(elm_container *c, const cli_trust *trust, elm_json_writer *w,
                           elm_error *err) {
    static const char *const keys[] = {"source", "options", "converter_version"};
    const elm_json *meta;
    ELM_TRY(read_meta(c, &meta, err));
    elm_json_begin_object(w, "provenance");
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const elm_json *v = elm_json_find(meta, keys[i]);
        if (v) elm_json_put_value(w, keys[i], v);
    }
    elm_json_end_object(w);
    elm_json_begin_array(w, "products");
    for (uint32_t i = 0; i < c->n_sections; i++) {
        elm_product p = {.record = NULL};
        elm_error why;
        const elm_section *s = &c->sections[i];
        if (s->type != ELM_SECTION_PRODUCT) continue;
        elm_status status = judge(c, s, trust, &p, &why);
        elm_json_begin_object(w, NULL);
        elm_json_put_str(w, "target", s->name);
        elm_json_put_int(w, "bytes", (int64_t)s->size);
        elm_json_put_bool(w, "valid", status == ELM_OK);
        elm_json_put_str(w, "reason", status == ELM_OK ? NULL : why.message);
        if (p.record) elm_json_put_value(w, "record", p.record);
        elm_json_end_object(w);
    }
    elm_json_end_array(w);
    elm_json_put_int(w, "signatures", count(c, ELM_SECTION_SIGNATURE));
    return ELM_OK;
}
