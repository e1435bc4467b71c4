/* cmd_attach.c - edge-llm attach: takes over products that were made elsewhere from the same
 * weights; cli. */
#include "cli/cli.h"
#include "elm/product.h"

static int run(const cli_options *o) {
    elm_error err;
    elm_container other;
    elm_attach_result r = {0};
    const elm_platform *p = elm_platform_default();
    elm_status status = elm_container_open(p, o->positional[1], &other, &err);
    if (status == ELM_OK) status = elm_product_attach(p, o->positional[0], &other, &r, &err);
    elm_container_close(&other);
    if (status != ELM_OK) return cli_error(&err);
    if (o->json)
        printf("{\"schema_version\": 1, \"added\": %u, \"replaced\": %u, \"same\": %u}\n",
               r.n_added, r.n_replaced, r.n_same);
    else
        printf("%s: %u product%s added (%u in the place of another), %u there already\n",
               o->positional[0], r.n_added, r.n_added == 1 ? "" : "s", r.n_replaced, r.n_same);
    return 0;
}

const cli_command cli_attach = {"attach",
                                "attach MODEL PRODUCT.elm",
                                "take over products made elsewhere from the same weights",
                                "  edge-llm attach model.elm compiled-on-the-build-host.elm\n",
                                2,
                                2,
                                run};
