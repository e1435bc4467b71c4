/* chat_commands.c - the slash commands of a conversation; cli. */
#include "cli/chat.h"

#include <stdlib.h>
#include <string.h>

/* ---- parameters ---- */

typedef struct parameter {
    const char *name;
    size_t number, integer; /* offset in cli_options of one of them, SIZE_MAX for the other */
    double low, high;
} parameter;

#define NUMBER(field, low, high) \
    { #field, offsetof(cli_options, field), SIZE_MAX, low, high }
#define INTEGER(field, low, high) \
    { #field, SIZE_MAX, offsetof(cli_options, field), low, high }
static const parameter parameters[] = {NUMBER(temp, 0, 100),
                                       INTEGER(top_k, 0, 1e9),
                                       NUMBER(top_p, 0, 1),
                                       NUMBER(min_p, 0, 1),
                                       NUMBER(repeat_penalty, 0.01, 100),
                                       NUMBER(presence_penalty, -100, 100),
                                       NUMBER(frequency_penalty, -100, 100),
                                       INTEGER(seed, 0, 9e15),
                                       INTEGER(n, 1, 4e9)};
enum { N_PARAMETERS = sizeof parameters / sizeof parameters[0] };

static int apply_sampling(cli_conversation *c) {
    elm_error err;
    elm_model_info info;
    elm_session_options so;
    elm_model_get_info(c->opened.model, &info);
    elm_status status = cli_session_options(&c->options, &info, &so, &err);
    if (status == ELM_OK) status = elm_session_set_sampling(c->opened.session, &so.sampling, &err);
    return status == ELM_OK ? 0 : cli_error(&err);
}

static int set_parameter(cli_conversation *c, const char *name, const char *text) {
    char *end;
    double value = strtod(text, &end);
    for (size_t i = 0; i < N_PARAMETERS; i++) {
        const parameter *p = &parameters[i];
        if (strcmp(p->name, name) != 0) continue;
        if (end == text || *end || !(value >= p->low && value <= p->high))
            return cli_fail(ELM_INVALID_ARGUMENT, "/set %s takes a number from %g to %g, not '%s'",
                            name, p->low, p->high, text);
        char *base = (char *)&c->options;
        if (p->number != SIZE_MAX)
            memcpy(base + p->number, &value, sizeof value);
        else
            memcpy(base + p->integer, &(int64_t){(int64_t)value}, sizeof(int64_t));
        return apply_sampling(c);
    }
    return cli_fail(ELM_INVALID_ARGUMENT, "there is no parameter '%s'; /show parameters lists them",
                    name);
}

static int set(cli_conversation *c, char *rest) {
    char *value = strchr(rest, ' ');
    if (value) *value++ = 0;
    if (strcmp(rest, "system") == 0) return cli_chat_set_system(c, value ? value : "");
    if (!value || !*value) return cli_fail(ELM_INVALID_ARGUMENT, "/set takes a name and a value");
    if (strcmp(rest, "think") == 0) {
        bool on = strcmp(value, "on") == 0;
        if (!on && strcmp(value, "off") != 0)
            return cli_fail(ELM_INVALID_ARGUMENT, "/set think takes on or off, not '%s'", value);
        c->options.think = on ? "on" : "off";
        return 0;
    }
    return set_parameter(c, rest, value);
}

static void show_parameters(const cli_conversation *c) {
    elm_error err;
    elm_model_info info;
    elm_session_options so;
    elm_model_get_info(c->opened.model, &info);
    if (cli_session_options(&c->options, &info, &so, &err) != ELM_OK) return;
    const elm_sampling *s = &so.sampling;
    printf("temp %g\ntop_k %d\ntop_p %g\nmin_p %g\nrepeat_penalty %g\npresence_penalty "
           "%g\nfrequency_penalty %g\n"
           "seed %llu\nthink %s\n",
           (double)s->temperature, s->top_k, (double)s->top_p, (double)s->min_p,
           (double)s->repetition_penalty, (double)s->presence_penalty, (double)s->frequency_penalty,
           (unsigned long long)s->seed,
           c->options.think ? c->options.think : "as the template has it");
    if (c->options.n != CLI_NO_INT) printf("n %lld\n", (long long)c->options.n);
}

static int show(cli_conversation *c, char *what) {
    elm_model_info info;
    elm_model_get_info(c->opened.model, &info);
    if (strcmp(what, "parameters") == 0) {
        show_parameters(c);
    } else if (strcmp(what, "system") == 0) {
        printf("%s\n", c->system ? c->system : "");
    } else if (strcmp(what, "template") == 0) {
        printf("%s\n", info.chat_template ? info.chat_template : "");
    } else if (strcmp(what, "info") == 0) {
        printf("%s (%s), %.1f M parameters, %u layers, context %u of %u\n", info.name,
               info.architecture, (double)info.n_parameters / 1e6, info.n_layers,
               elm_session_context(c->opened.session), info.context_length);
    } else {
        return cli_fail(ELM_INVALID_ARGUMENT, "/show takes info, template, parameters or system");
    }
    return 0;
}

/* ---- commands ---- */

static int clear(cli_conversation *c, char *rest) {
    (void)rest;
    cli_chat_restart(c);
    return 0;
}

static int leave(cli_conversation *c, char *rest) {
    (void)rest;
    c->done = true;
    return 0;
}

static int again(cli_conversation *c, char *rest) {
    (void)rest;
    return cli_chat_again(c);
}

static int read_file(cli_conversation *c, char *path) {
    char *text;
    size_t n;
    elm_error err;
    if (!*path) return cli_fail(ELM_INVALID_ARGUMENT, "/read takes a file");
    if (cli_read(path, &text, &n, &err) != ELM_OK) return cli_error(&err);
    int code = cli_chat_say(c, elm_span_of(text, n));
    free(text);
    return code;
}

static int stats(cli_conversation *c, char *rest) {
    (void)rest;
    cli_print_stats(c->opened.session);
    return 0;
}

static int save(cli_conversation *c, char *path) {
    elm_error err;
    if (!*path) return cli_fail(ELM_INVALID_ARGUMENT, "/save takes a file");
    return cli_save_session(path, &c->opened, &c->turns, &err) == ELM_OK ? 0 : cli_error(&err);
}

static int load(cli_conversation *c, char *path) {
    if (!*path) return cli_fail(ELM_INVALID_ARGUMENT, "/load takes a file");
    int code = cli_chat_load(c, path);
    return code == 0 ? apply_sampling(c) : code;
}

static int set_system(cli_conversation *c, char *text) {
    return cli_chat_set_system(c, text);
}

static int help(cli_conversation *c, char *rest);

static const struct {
    const char *name, *arguments, *text;
    int (*run)(cli_conversation *c, char *rest);
} commands[] = {
    {"/clear", "", "forget the conversation", clear},
    {"/regen", "", "answer the last message once more", again},
    {"/read", "FILE", "say what a file says", read_file},
    {"/save", "FILE", "keep the conversation in a file", save},
    {"/load", "FILE", "go on with one that was kept", load},
    {"/system", "TEXT", "set the system turn and start anew", set_system},
    {"/set", "NAME VALUE", "change a parameter, think on|off, or system", set},
    {"/show", "WHAT", "info, template, parameters or system", show},
    {"/stats", "", "speed and memory", stats},
    {"/help", "", "this list", help},
    {"/exit", "", "leave (Ctrl-D)", leave},
    {"/bye", "", NULL, leave},
    {"/quit", "", NULL, leave},
    {"/?", "", NULL, help},
};
enum { N_COMMANDS = sizeof commands / sizeof commands[0] };

static int help(cli_conversation *c, char *rest) {
    (void)c;
    (void)rest;
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (commands[i].text)
            fprintf(stderr, "%-8s %-11s %s\n", commands[i].name, commands[i].arguments,
                    commands[i].text);
    }
    fputs("\"\"\" begins and ends a message of several lines; a \\ at a line's end continues it.\n"
          "Ctrl-C stops an answer; a second one leaves.\n",
          stderr);
    return 0;
}

static size_t find(const char *line) {
    size_t n = strcspn(line, " "), i = 0;
    while (i < N_COMMANDS &&
           (strlen(commands[i].name) != n || strncmp(commands[i].name, line, n) != 0))
        i++;
    return i;
}

const char *cli_chat_command_name(size_t i) {
    return i < N_COMMANDS ? commands[i].name : NULL;
}

bool cli_chat_is_command(const char *line) {
    return line[0] == '/' && find(line) < N_COMMANDS;
}

int cli_chat_command(cli_conversation *c, char *line) {
    size_t i = find(line);
    if (i == N_COMMANDS)
        return cli_fail(ELM_INVALID_ARGUMENT, "there is no command '%s'; /help lists them", line);
    char *rest = line + strlen(commands[i].name);
    rest += strspn(rest, " ");
    return commands[i].run(c, rest);
}
