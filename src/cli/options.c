/* options.c - the option table, parsing and help; cli. */
#include "cli/cli.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    C_CONVERT = 1 << 0,
    C_RUN = 1 << 1,
    C_CHAT = 1 << 2,
    C_TOKENIZE = 1 << 3,
    C_TEMPLATE = 1 << 4,
    C_EVAL = 1 << 5,
    C_BENCH = 1 << 6,
    C_INSPECT = 1 << 7,
    C_VERIFY = 1 << 8,
    C_DOCTOR = 1 << 9,
    C_VERSION = 1 << 10,
    C_HELP = 1 << 11,
    C_SIGN = 1 << 12,
    C_STRIP = 1 << 13,
    C_ATTACH = 1 << 14,
    C_COMPACT = 1 << 15,
    C_DIFF = 1 << 16,
    C_COMPLETION = 1 << 17,
    C_ALL = (1 << 18) - 1,
    C_REPORTS = C_ALL & ~(C_HELP | C_COMPLETION),
    C_RUNS = C_CONVERT | C_RUN | C_CHAT | C_EVAL | C_BENCH | C_INSPECT,
};

typedef enum kind { KIND_FLAG, KIND_TEXT, KIND_INT, KIND_NUMBER, KIND_LIST } kind;

typedef struct option {
    const char *name;
    char letter;
    kind kind;
    size_t offset;
    const char *argument;
    int commands;
    const char *help;
} option;

static const option table[] = {
#define X(name, letter, kind, field, argument, commands, help) \
    {name, letter, KIND_##kind, offsetof(cli_options, field), argument, commands, help},
#include "cli/options.def"
#undef X
};

enum { N_OPTIONS = sizeof table / sizeof table[0] };

static int bit_of(const cli_command *command) {
    static const struct {
        const char *name;
        int bit;
    } bits[] = {
        {"convert", C_CONVERT},   {"run", C_RUN},           {"chat", C_CHAT},
        {"tokenize", C_TOKENIZE}, {"template", C_TEMPLATE}, {"eval", C_EVAL},
        {"bench", C_BENCH},       {"inspect", C_INSPECT},   {"verify", C_VERIFY},
        {"doctor", C_DOCTOR},     {"version", C_VERSION},   {"help", C_HELP},
        {"sign", C_SIGN},         {"strip", C_STRIP},       {"attach", C_ATTACH},
        {"compact", C_COMPACT},   {"diff", C_DIFF},         {"completion", C_COMPLETION},
    };
    for (size_t i = 0; i < sizeof bits / sizeof bits[0]; i++) {
        if (strcmp(bits[i].name, command->name) == 0) return bits[i].bit;
    }
    return 0;
}

/* Edit distance, for "did you mean"; both words are short. */
static size_t distance(const char *a, const char *b) {
    size_t row[32], n = strlen(b);
    if (n >= 31) return 99;
    for (size_t j = 0; j <= n; j++) row[j] = j;
    for (size_t i = 1; a[i - 1]; i++) {
        size_t previous = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t best = previous + (a[i - 1] != b[j - 1]);
            previous = row[j];
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[n];
}

/* A suggestion must share more than half of what was typed. */
static size_t largest_distance(const char *word) {
    size_t n = strlen(word);
    return n < 2 ? 0 : n < 6 ? n / 2 : 3;
}

int cli_no_command(const char *word) {
    const char *nearest = NULL;
    size_t best = largest_distance(word) + 1;
    for (size_t i = 0; cli_commands[i]; i++) {
        size_t d = distance(word, cli_commands[i]->name);
        if (d < best) best = d, nearest = cli_commands[i]->name;
    }
    if (nearest) {
        return cli_fail(ELM_INVALID_ARGUMENT, "there is no command '%s'; did you mean '%s'?", word,
                        nearest);
    }
    return cli_fail(ELM_INVALID_ARGUMENT, "there is no command '%s'; see 'edge-llm help'", word);
}

static int unknown(const cli_command *command, const char *word) {
    const char *nearest = NULL;
    const char *bare = word + strspn(word, "-");
    size_t best = largest_distance(bare) + 1;
    for (size_t i = 0; i < N_OPTIONS; i++) {
        if (!(table[i].commands & bit_of(command))) continue;
        size_t d = distance(bare, table[i].name);
        if (d < best) best = d, nearest = table[i].name;
    }
    if (nearest) {
        return cli_fail(ELM_INVALID_ARGUMENT, "%s has no option '%s'; did you mean --%s?",
                        command->name, word, nearest);
    }
    return cli_fail(ELM_INVALID_ARGUMENT, "%s has no option '%s'; see 'edge-llm help %s'",
                    command->name, word, command->name);
}

static const option *find(const cli_command *command, const char *word, const char **value) {
    *value = NULL;
    for (size_t i = 0; i < N_OPTIONS; i++) {
        const option *o = &table[i];
        if (!(o->commands & bit_of(command))) continue;
        size_t n = strlen(o->name);
        if (word[0] == '-' && word[1] == '-' && strncmp(word + 2, o->name, n) == 0) {
            if (word[2 + n] == 0) return o;
            if (word[2 + n] == '=') {
                *value = word + 3 + n;
                return o;
            }
        }
        if (o->letter && word[0] == '-' && word[1] == o->letter && word[2] == 0) return o;
    }
    return NULL;
}

static int store(const option *o, const char *value, cli_options *out) {
    char *field = (char *)out + o->offset, *end = NULL;
    int64_t integer;
    double number;
    cli_list *list;
    errno = 0;
    switch (o->kind) {
    case KIND_FLAG:
        *(bool *)(void *)field = true;
        return 0;
    case KIND_TEXT:
        *(const char **)(void *)field = value;
        return 0;
    case KIND_LIST:
        list = (cli_list *)(void *)field;
        if (list->n == CLI_MAX_LIST)
            return cli_fail(ELM_INVALID_ARGUMENT, "more than %d --%s", CLI_MAX_LIST, o->name);
        list->items[list->n++] = value;
        return 0;
    case KIND_INT:
        integer = strtoll(value, &end, 10);
        if (end == value || *end || errno || integer == CLI_NO_INT) break;
        *(int64_t *)(void *)field = integer;
        return 0;
    case KIND_NUMBER:
        number = strtod(value, &end);
        if (end == value || *end || errno) break;
        *(double *)(void *)field = number;
        return 0;
    }
    return cli_fail(ELM_INVALID_ARGUMENT, "--%s takes a number, not '%s'", o->name, value);
}

static void defaults(cli_options *out) {
    memset(out, 0, sizeof *out);
    for (size_t i = 0; i < N_OPTIONS; i++) {
        char *field = (char *)out + table[i].offset;
        if (table[i].kind == KIND_INT) *(int64_t *)(void *)field = CLI_NO_INT;
        if (table[i].kind == KIND_NUMBER) *(double *)(void *)field = CLI_NO_NUMBER;
    }
}

int cli_parse(const cli_command *command, int argc, char **argv, int first, cli_options *out) {
    bool only_positional = false;
    defaults(out);
    for (int i = first; i < argc; i++) {
        const char *word = argv[i], *value = NULL;
        if (!only_positional && strcmp(word, "--") == 0) {
            only_positional = true;
            continue;
        }
        if (only_positional || word[0] != '-' || word[1] == 0) {
            if (out->n_positional == command->max_positional) {
                return cli_fail(ELM_INVALID_ARGUMENT, "%s does not take '%s'; usage: edge-llm %s",
                                command->name, word, command->usage);
            }
            out->positional[out->n_positional++] = word;
            continue;
        }
        const option *o = find(command, word, &value);
        if (!o) return unknown(command, word);
        if (o->kind != KIND_FLAG && !value) {
            if (i + 1 >= argc) {
                return cli_fail(ELM_INVALID_ARGUMENT, "--%s needs %s", o->name, o->argument);
            }
            value = argv[++i];
        } else if (o->kind == KIND_FLAG && value) {
            return cli_fail(ELM_INVALID_ARGUMENT, "--%s takes no value", o->name);
        }
        int code = store(o, value, out);
        if (code != 0) return code;
    }
    if (!out->help && out->n_positional < command->min_positional) {
        return cli_fail(ELM_INVALID_ARGUMENT, "usage: edge-llm %s", command->usage);
    }
    return 0;
}

bool cli_option_at(const cli_command *command, size_t index, cli_option_info *out) {
    for (size_t i = 0; i < N_OPTIONS; i++) {
        const option *o = &table[i];
        if (!(o->commands & bit_of(command)) || index-- > 0) continue;
        *out = (cli_option_info){o->name, o->letter, o->argument, o->help};
        return true;
    }
    return false;
}

/* The usage, broken before a bracket where a line would pass WIDTH columns. */
static void print_usage(const char *usage, FILE *out) {
    enum { WIDTH = 96, INDENT = 16 };
    int column = fprintf(out, "usage: edge-llm");
    for (const char *p = usage; *p;) {
        int n = (int)(1 + strcspn(p + 1, "[")), shown = p[n - 1] == ' ' ? n - 1 : n;
        bool wrap = p != usage && column + 1 + shown > WIDTH;
        if (wrap) column = fprintf(out, "\n%*s", INDENT - 1, "") - 1;
        column += fprintf(out, "%s%.*s", p == usage || p[-1] == ' ' ? " " : "", shown, p);
        p += n;
    }
    fputc('\n', out);
}

void cli_print_help(const cli_command *command, FILE *out) {
    fprintf(out, "edge-llm %s - %s\n\n", command->name, command->summary);
    print_usage(command->usage, out);
    if (command->examples) fprintf(out, "\n%s", command->examples);
    fprintf(out, "\noptions:\n");
    for (size_t i = 0; i < N_OPTIONS; i++) {
        const option *o = &table[i];
        char left[64];
        if (!(o->commands & bit_of(command))) continue;
        char letter[8] = "    ";
        if (o->letter) snprintf(letter, sizeof letter, "-%c, ", o->letter);
        snprintf(left, sizeof left, "%s--%s %s", letter, o->name, o->argument);
        fprintf(out, "  %-28s %s\n", left, o->help);
    }
}
