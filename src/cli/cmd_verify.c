/* cmd_verify.c - edge-llm verify: every byte of a file against its checksums; cli. */
#include "cli/cli.h"
#include "elm/container.h"

#include <string.h>
#include <unistd.h>

enum { MAX_LISTED = 100 };

typedef struct report {
    const cli_options *options;
    elm_json_writer *w;
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
        elm_json_end_object(r->w);
        return;
    }
    printf("damaged: section %s, %s%s%schunk %llu, bytes %llu..%llu", d->section,
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

static void print_json_tail(elm_json_writer *w, const elm_container *c,
                            const elm_verify_result *v) {
    elm_json_end_array(w);
    elm_json_put_bool(w, "intact", v->n_damaged == 0);
    elm_json_put_int(w, "damaged", (int64_t)v->n_damaged);
    elm_json_put_int(w, "bytes_checked", (int64_t)v->bytes_checked);
    elm_json_put_int(w, "bytes_after_end", (int64_t)v->bytes_after_end);
    elm_json_put_int(w, "generation", (int64_t)c->generation);
    elm_json_end_object(w);
}

static elm_status verify(const cli_options *o, elm_error *err) {
    elm_container c;
    elm_verify_result v;
    elm_buf json;
    elm_json_writer w;
    report r = {.options = o, .w = &w, .bar = isatty(2) && !o->quiet && !o->json};
    elm_status status = elm_container_open(elm_platform_default(), o->positional[0], &c, err);
    if (status != ELM_OK) {
        elm_container_close(&c);
        return status;
    }
    cli_buf(&json);
    elm_json_writer_init(&w, &json, true);
    elm_json_begin_object(&w, NULL);
    elm_json_put_int(&w, "schema_version", 1);
    elm_json_begin_array(&w, "damage");
    status = elm_container_verify(&c, on_damage, &r, on_progress, &v, err);
    if (r.bar) fputs("\r\033[K", stderr);
    print_json_tail(&w, &c, &v);
    if (o->json) {
        elm_buf_u8(&json, '\n');
        cli_print_buf(&json);
    } else if (status == ELM_OK) {
        printf("%s: intact, %.1f MB checked\n", o->positional[0], (double)v.bytes_checked / 1e6);
    }
    if (v.bytes_after_end > 0 && !o->json) {
        printf("%llu bytes behind the committed end are ignored\n",
               (unsigned long long)v.bytes_after_end);
    }
    elm_buf_free(&json);
    elm_container_close(&c);
    return status;
}

static int run(const cli_options *o) {
    elm_error err;
    if (o->key || o->repair_from) {
        return cli_fail(ELM_UNSUPPORTED, "%s is not in this version of edge-llm",
                        o->key ? "--key" : "--repair-from");
    }
    return verify(o, &err) == ELM_OK ? 0 : cli_error(&err);
}

const cli_command cli_verify = {"verify",
                                "verify MODEL [--json]",
                                "check every byte of a file",
                                "  edge-llm verify model.elm\n",
                                1,
                                1,
                                run};
