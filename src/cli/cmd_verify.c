/* cmd_verify.c - edge-llm verify: every byte of a file against its checksums, its signature, and
 * mending from another copy; cli. */
#include "cli/trust.h"
#include "elm/repair.h"

#include <string.h>
#include <unistd.h>

enum { MAX_LISTED = 100 };

typedef struct report {
    const cli_options *options;
    elm_json_writer *w;
    const char *word; /* "damaged" or "mended" */
    uint64_t n;
    bool bar;
} report;

static void on_damage(void *context, const elm_damage *d) {
    report *r = context;
    if (r->n++ >= MAX_LISTED) return;
    if (r->options->json) {
        elm_json_begin_object(r->w, NULL);
        elm_json_put_str(r->w, "section", d->section);
        elm_json_put_str(r->w, "tensor", d->tensor);
        elm_json_put_int(r->w, "chunk", (int64_t)d->chunk);
        elm_json_put_int(r->w, "offset", (int64_t)d->offset);
        elm_json_put_int(r->w, "size", (int64_t)d->size);
        elm_json_put_int(r->w, "expected", d->expected);
        elm_json_put_int(r->w, "found", d->found);
        elm_json_end_object(r->w);
        return;
    }
    printf("%s: section %s, %s%s%schunk %llu, bytes %llu..%llu", r->word, d->section,
           d->tensor ? "tensor " : "", d->tensor ? d->tensor : "", d->tensor ? ", " : "",
           (unsigned long long)d->chunk, (unsigned long long)d->offset,
           (unsigned long long)(d->offset + d->size - 1));
    if (d->expected || d->found) printf(", checksum %08x, expected %08x", d->found, d->expected);
    putchar('\n');
}

static void on_progress(void *context, uint64_t done, uint64_t total) {
    report *r = context;
    if (!r->bar) return;
    fprintf(stderr, "\r%.0f %%", 100.0 * (double)done / (double)total);
}

/* ---- the signature ---- */

/* The recorded hashes are the bytes', and a trusted signature is over them. */
static elm_status check_signature(elm_container *c, const cli_trust *t, elm_error *err) {
    uint8_t root[32];
    bool good;
    uint32_t n;
    for (uint32_t i = 0; i < c->n_sections; i++) {
        const elm_section *s = &c->sections[i];
        if (elm_section_is_immutable(s->type)) ELM_TRY(elm_section_check_sha256(c, s, err));
    }
    ELM_TRY(elm_root_of_model(c, root, err));
    ELM_TRY(elm_signature_find(c, ELM_SIGNED_MODEL, root, t->trust.check, t->trust.context, &good,
                               &n, err));
    if (good) return ELM_OK;
    return elm_fail(err, ELM_MALFORMED,
                    "'%s' is not signed by this key (%u signature%s of other keys, or made over "
                    "another content); do not trust it, or 'edge-llm sign' it",
                    c->file.path, n, n == 1 ? "" : "s");
}

static elm_status check_products(elm_container *c, const cli_options *o, const cli_trust *t,
                                 elm_json_writer *w, elm_error *err) {
    elm_json_begin_array(w, "products");
    for (uint32_t i = 0; i < c->n_sections; i++) {
        elm_product p;
        elm_error why = {.message = ""};
        const elm_section *s = &c->sections[i];
        if (s->type != ELM_SECTION_PRODUCT) continue;
        elm_status status = elm_product_read(c, s, &c->arena, &p, &why);
        if (status == ELM_OK) status = elm_product_judge(c, &p, &t->trust, &why);
        if (!o->json)
            printf("product %s: %s\n", s->name, status == ELM_OK ? "valid, trusted" : why.message);
        elm_json_begin_object(w, NULL);
        elm_json_put_str(w, "target", s->name);
        elm_json_put_bool(w, "valid", status == ELM_OK);
        elm_json_put_str(w, "reason", status == ELM_OK ? NULL : why.message);
        elm_json_end_object(w);
        if (status == ELM_OUT_OF_MEMORY || status == ELM_IO)
            return elm_fail(err, status, "%s", why.message);
    }
    elm_json_end_array(w);
    return ELM_OK;
}

/* ---- one file ---- */

static void put_totals(elm_json_writer *w, const elm_container *c, const elm_verify_result *v) {
    elm_json_put_bool(w, "intact", v->n_damaged == 0);
    elm_json_put_int(w, "damaged", (int64_t)v->n_damaged);
    elm_json_put_int(w, "bytes_checked", (int64_t)v->bytes_checked);
    elm_json_put_int(w, "bytes_after_end", (int64_t)v->bytes_after_end);
    elm_json_put_int(w, "generation", (int64_t)c->generation);
}

static elm_status verify_open(elm_container *c, report *r, const cli_trust *t, elm_error *err) {
    const cli_options *o = r->options;
    elm_verify_result v;
    elm_json_begin_array(r->w, "damage");
    elm_status status = elm_container_verify(c, on_damage, r, on_progress, &v, err);
    if (r->bar) fputs("\r\033[K", stderr);
    elm_json_end_array(r->w);
    put_totals(r->w, c, &v);
    if (status == ELM_OK && !o->json)
        printf("%s: intact, %.1f MB checked\n", o->positional[0], (double)v.bytes_checked / 1e6);
    if (v.bytes_after_end > 0 && !o->json)
        printf("%llu bytes behind the committed end are ignored\n",
               (unsigned long long)v.bytes_after_end);
    if (status != ELM_OK || !o->key) return status;
    status = check_signature(c, t, err);
    elm_json_put_bool(r->w, "signed", status == ELM_OK);
    if (status == ELM_OK && !o->json) puts("signed by this key");
    return status == ELM_OK ? check_products(c, o, t, r->w, err) : status;
}

static elm_status repair(report *r, elm_error *err) {
    const elm_platform *p = elm_platform_default();
    const cli_options *o = r->options;
    elm_container other;
    elm_repair_result result = {0};
    r->word = "mended";
    elm_status status = elm_container_open(p, o->repair_from, &other, err);
    elm_json_begin_array(r->w, "mended");
    if (status == ELM_OK)
        status = elm_repair(p, o->positional[0], &other, on_damage, r, &result, err);
    elm_json_end_array(r->w);
    elm_container_close(&other);
    elm_json_put_bool(r->w, "header_restored", result.header_restored);
    if (result.header_restored && !o->json)
        puts("mended: header and table of contents came from the other copy");
    r->word = "damaged";
    r->n = 0;
    return status;
}

static elm_status verify(report *r, elm_error *err) {
    const cli_options *o = r->options;
    elm_container c;
    cli_trust trust;
    if (o->repair_from) ELM_TRY(repair(r, err));
    elm_status status = elm_container_open(elm_platform_default(), o->positional[0], &c, err);
    if (status == ELM_OK) {
        status = cli_trust_open(&trust, o->key, err);
        if (status == ELM_OK) status = verify_open(&c, r, &trust, err);
        cli_trust_close(&trust);
    }
    elm_container_close(&c);
    return status;
}

static int run(const cli_options *o) {
    elm_error err;
    elm_buf json;
    elm_json_writer w;
    report r = {
        .options = o, .w = &w, .word = "damaged", .bar = isatty(2) && !o->quiet && !o->json};
    cli_buf(&json);
    elm_json_writer_init(&w, &json, true);
    elm_json_begin_object(&w, NULL);
    elm_json_put_int(&w, "schema_version", 1);
    elm_status status = verify(&r, &err);
    if (status != ELM_OK) elm_json_put_str(&w, "error", err.message);
    elm_json_end_object(&w);
    elm_buf_u8(&json, '\n');
    if (o->json) cli_print_buf(&json);
    elm_buf_free(&json);
    return status == ELM_OK ? 0 : cli_error(&err);
}

const cli_command cli_verify = {
    "verify",
    "verify MODEL [--key PUBLIC.pem] [--repair-from OTHER.elm] [--json]",
    "check every byte of a file, its signature; mend it from another copy",
    "  edge-llm verify model.elm\n"
    "  edge-llm verify model.elm --key public.pem\n"
    "  edge-llm verify damaged.elm --repair-from good.elm\n",
    1,
    1,
    run};
