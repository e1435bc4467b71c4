/* cmd_completion.c - completion scripts for bash, zsh and fish, and the man page, from the one
 * option table; cli. */
#include "cli/cli.h"

#include <string.h>

static void print_bash(void) {
    cli_option_info o;
    puts("_edge_llm() {\n"
         "    local cur=${COMP_WORDS[COMP_CWORD]} words\n"
         "    if [ \"$COMP_CWORD\" -eq 1 ]; then");
    printf("        words='");
    for (size_t c = 0; cli_commands[c]; c++) printf("%s%s", c ? " " : "", cli_commands[c]->name);
    puts("'\n    else\n        case ${COMP_WORDS[1]} in");
    for (size_t c = 0; cli_commands[c]; c++) {
        printf("        %s) words='", cli_commands[c]->name);
        for (size_t i = 0; cli_option_at(cli_commands[c], i, &o); i++)
            printf("%s--%s", i ? " " : "", o.name);
        puts("' ;;");
    }
    puts("        esac\n"
         "    fi\n"
         "    if [ \"$COMP_CWORD\" -eq 1 ] || [[ $cur == -* ]]; then\n"
         "        COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
         "    else\n"
         "        COMPREPLY=($(compgen -f -- \"$cur\"))\n"
         "    fi\n"
         "}\n"
         "complete -o filenames -F _edge_llm edge-llm");
}

/* Text inside single quotes, with `also` (may be NUL) escaped by a backslash. */
static void print_quoted(const char *text, const char *also) {
    for (const char *p = text; *p; p++) {
        if (*p == '\'')
            fputs("'\\''", stdout);
        else
            printf("%s%c", strchr(also, *p) ? "\\" : "", *p);
    }
}

static void print_zsh(void) {
    cli_option_info o;
    puts("#compdef edge-llm\n_edge_llm() {\n    local -a commands\n    commands=(");
    for (size_t c = 0; cli_commands[c]; c++) {
        printf("        '%s:", cli_commands[c]->name);
        print_quoted(cli_commands[c]->summary, ":\\");
        puts("'");
    }
    puts("    )\n    if (( CURRENT == 2 )); then\n        _describe command commands\n        "
         "return\n    fi\n"
         "    case $words[2] in");
    for (size_t c = 0; cli_commands[c]; c++) {
        printf("    %s) _arguments", cli_commands[c]->name);
        for (size_t i = 0; cli_option_at(cli_commands[c], i, &o); i++) {
            printf(" \\\n        '--%s[", o.name);
            print_quoted(o.help, "[]\\");
            printf("]%s%s%s'", *o.argument ? ":" : "", o.argument, *o.argument ? ":_files" : "");
        }
        puts(" \\\n        '*:file:_files' ;;");
    }
    puts("    esac\n}\n_edge_llm \"$@\"");
}

static void print_fish(void) {
    cli_option_info o;
    puts("complete -c edge-llm -f -n __fish_use_subcommand");
    for (size_t c = 0; cli_commands[c]; c++) {
        printf("complete -c edge-llm -n __fish_use_subcommand -a %s -d '", cli_commands[c]->name);
        print_quoted(cli_commands[c]->summary, "\\");
        puts("'");
        for (size_t i = 0; cli_option_at(cli_commands[c], i, &o); i++) {
            printf("complete -c edge-llm -n '__fish_seen_subcommand_from %s' -l %s",
                   cli_commands[c]->name, o.name);
            if (o.letter) printf(" -s %c", o.letter);
            if (*o.argument) fputs(" -r", stdout);
            fputs(" -d '", stdout);
            print_quoted(o.help, "\\");
            puts("'");
        }
    }
}

/* roff text: hyphens as typed, no line that begins a request. */
static void print_roff(const char *text) {
    for (const char *p = text; *p; p++) {
        bool first = p == text || p[-1] == '\n';
        if (first && (*p == '.' || *p == '\'')) fputs("\\&", stdout);
        if (*p == '\\')
            fputs("\\e", stdout);
        else if (*p == '-')
            fputs("\\-", stdout);
        else
            fputc(*p, stdout);
    }
}

static void print_man_command(const cli_command *command) {
    cli_option_info o;
    fputs(".SS ", stdout);
    print_roff(command->name);
    fputs("\n.B edge\\-llm\n", stdout);
    print_roff(command->usage);
    fputs("\n.PP\n", stdout);
    print_roff(command->summary);
    fputs(".\n", stdout);
    for (size_t i = 0; cli_option_at(command, i, &o); i++) {
        fputs(".TP\n.B ", stdout);
        if (o.letter) printf("\\-%c, ", o.letter);
        fputs("\\-\\-", stdout);
        print_roff(o.name);
        printf("%s", *o.argument ? " " : "");
        print_roff(o.argument);
        fputc('\n', stdout);
        print_roff(o.help);
        fputc('\n', stdout);
    }
}

static void print_man(void) {
    printf(".TH EDGE\\-LLM 1 \"\" \"edge\\-llm %s\" \"User Commands\"\n", elm_version());
    puts(".SH NAME\nedge\\-llm \\- large language models on devices, one file, no network\n"
         ".SH SYNOPSIS\n.B edge\\-llm\n.I command\n[options]\n.SH COMMANDS");
    for (size_t c = 0; cli_commands[c]; c++) print_man_command(cli_commands[c]);
    puts(".SH EXIT STATUS");
#define X(name, value, exit_code, text) printf(".TP\n%d\n%s\n", exit_code, text);
    ELM_STATUS_LIST(X)
#undef X
}

static int run(const cli_options *o) {
    static const struct {
        const char *name;
        void (*print)(void);
    } kinds[] = {
        {"bash", print_bash}, {"zsh", print_zsh}, {"fish", print_fish}, {"man", print_man}};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(kinds[i].name, o->positional[0]) != 0) continue;
        kinds[i].print();
        return 0;
    }
    return cli_fail(ELM_INVALID_ARGUMENT, "completion takes bash, zsh, fish or man, not '%s'",
                    o->positional[0]);
}

const cli_command cli_completion = {
    "completion",
    "completion bash|zsh|fish|man",
    "a completion script for a shell, or the man page",
    "  source <(edge-llm completion bash)\n"
    "  edge-llm completion fish > ~/.config/fish/completions/edge-llm.fish\n"
    "  edge-llm completion man | man -l -\n",
    1,
    1,
    run};
