/* cmd_help.c - edge-llm help and version; cli. */
#include "cli/cli.h"

static int run_help(const cli_options *o) {
    if (o->n_positional > 0) {
        const cli_command *command = cli_command_find(o->positional[0]);
        if (!command) return cli_no_command(o->positional[0]);
        cli_print_help(command, stdout);
        return 0;
    }
    printf("edge-llm %s - large language models on devices, one file, no network\n\n",
           elm_version());
    for (size_t i = 0; cli_commands[i]; i++) {
        printf("  %-10s %s\n", cli_commands[i]->name, cli_commands[i]->summary);
    }
    fputs("\n  edge-llm convert SmolLM2/ -o smol.elm && edge-llm run smol.elm -p \"Hello\"\n"
          "\n'edge-llm help COMMAND' tells more. Exit codes: 0 ok, 1 internal, 2 usage, 3 not "
          "found,\n"
          "4 malformed, 5 unsupported, 6 memory, 7 space or I/O, 8 backend, 9 limit, 130 "
          "interrupted.\n",
          stdout);
    return 0;
}

static int run_version(const cli_options *o) {
    if (o->json) {
        printf("{\"schema_version\": 1, \"version\": \"%s\"}\n", elm_version());
    } else {
        printf("edge-llm %s\n", elm_version());
    }
    return 0;
}

const cli_command cli_help = {"help", "help [COMMAND]", "what there is", NULL, 0, 1, run_help};
const cli_command cli_version = {"version", "version [--json]", "the version", NULL, 0,
                                 0,         run_version};
