/* cmd_compact.c - edge-llm compact: writes a file anew without what was replaced; cli. */
#include "cli/cli.h"
#include "elm/rewrite.h"

static int run(const cli_options *o) {
    elm_error err;
    uint64_t saved;
    if (elm_compact(elm_platform_default(), o->positional[0], &saved, &err) != ELM_OK)
        return cli_error(&err);
    if (o->json)
        printf("{\"schema_version\": 1, \"bytes_saved\": %llu}\n", (unsigned long long)saved);
    else
        printf("%s: %.1f MB saved\n", o->positional[0], (double)saved / 1e6);
    return 0;
}

const cli_command cli_compact = {"compact",
                                 "compact MODEL",
                                 "write a file anew without what was replaced",
                                 "  edge-llm compact model.elm\n",
                                 1,
                                 1,
                                 run};
