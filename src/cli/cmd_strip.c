/* cmd_strip.c - edge-llm strip: a copy without what a device does not need; cli. */
#include "cli/cli.h"
#include "elm/rewrite.h"

static elm_status strip(const cli_options *o, uint64_t *before, uint64_t *after, elm_error *err) {
    const elm_platform *p = elm_platform_default();
    const elm_strip_options options = {
        .keep = o->keep.items, .n_keep = o->keep.n, .no_fallback = o->no_fallback};
    elm_container c;
    elm_status status = elm_container_open(p, o->positional[0], &c, err);
    *before = c.map.size;
    if (status == ELM_OK) status = elm_strip(&c, o->output, &options, err);
    elm_container_close(&c);
    if (status != ELM_OK) return status;
    status = elm_container_open(p, o->output, &c, err);
    *after = c.map.size;
    elm_container_close(&c);
    return status;
}

static int run(const cli_options *o) {
    elm_error err;
    uint64_t before, after;
    if (!o->output) return cli_fail(ELM_INVALID_ARGUMENT, "strip needs -o OUT.elm");
    if (strip(o, &before, &after, &err) != ELM_OK) return cli_error(&err);
    if (o->json)
        printf("{\"schema_version\": 1, \"bytes_before\": %llu, \"bytes_after\": %llu}\n",
               (unsigned long long)before, (unsigned long long)after);
    else
        printf("%s: %.1f MB, was %.1f MB\n", o->output, (double)after / 1e6, (double)before / 1e6);
    return 0;
}

const cli_command cli_strip = {
    "strip",
    "strip MODEL -o OUT.elm [--keep TARGET]... [--no-fallback]",
    "a copy without products that are not needed",
    "  edge-llm strip model.elm -o phone.elm --keep qualcomm:sm8750\n"
    "  edge-llm strip model.elm -o phone.elm --keep qualcomm:sm8750 --no-fallback\n",
    1,
    1,
    run};
