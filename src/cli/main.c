/* main.c - the edge-llm program: finds the sub-command, parses its options, runs it; cli. */
#include "cli/cli.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern const cli_command cli_convert, cli_run, cli_chat, cli_tokenize, cli_template, cli_eval,
    cli_bench, cli_inspect, cli_verify, cli_doctor, cli_version, cli_help, cli_completion, cli_sign,
    cli_diff, cli_strip, cli_attach, cli_compact;

const cli_command *const cli_commands[] = {
    &cli_convert, &cli_run,   &cli_chat,       &cli_tokenize, &cli_template,
    &cli_eval,    &cli_bench, &cli_inspect,    &cli_verify,   &cli_sign,
    &cli_diff,    &cli_strip, &cli_attach,     &cli_compact,  &cli_doctor,
    &cli_version, &cli_help,  &cli_completion, NULL,
};

volatile int cli_interrupted;
static elm_session *volatile cancel_target;

void cli_cancel_target(elm_session *session) {
    cancel_target = session;
}

/* elm_session_cancel stores one atomic flag, so it may be called here. */
static void on_signal(int number) {
    int code = 128 + number;
    if (cli_interrupted) _exit(code);
    cli_interrupted = code;
    elm_session *session = cancel_target;
    if (session) elm_session_cancel(session);
}

/* A page of a mapped file cannot be read: the file was cut off while it was in use, or its medium
 * is gone. Whoever reads the mapping cannot go on. */
static void on_bus_error(int number) {
    static const char message[] =
        "edge-llm: a file changed while it was in use: it was cut off, or its disk cannot be read; "
        "put it back and try again\n";
    (void)number;
    (void)!write(2, message, sizeof message - 1);
    _exit(4);
}

void cli_signals_end_waits(bool on) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = on ? 0 : SA_RESTART};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static void install_signals(void) {
    struct sigaction action = {.sa_handler = on_bus_error};
    sigaction(SIGBUS, &action, NULL);
    cli_signals_end_waits(false);
    /* A reader that goes away and a limit on the size of files are write errors, reported as such. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
}

const cli_command *cli_command_find(const char *name) {
    for (size_t i = 0; cli_commands[i]; i++) {
        if (strcmp(cli_commands[i]->name, name) == 0) return cli_commands[i];
    }
    return NULL;
}

int main(int argc, char **argv) {
    cli_options options;
    const char *name = argc > 1 ? argv[1] : "help";
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0) name = "help";
    if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0) name = "version";
    const cli_command *command = cli_command_find(name);
    if (!command) return cli_no_command(name);
    install_signals();
    int code = cli_parse(command, argc, argv, 2, &options);
    if (code != 0) return code;
    if (options.help) {
        cli_print_help(command, stdout);
        return cli_finish_output();
    }
    code = command->run(&options);
    int output = cli_finish_output();
    if (code == 0) code = output;
    return cli_interrupted && code == elm_status_exit_code(ELM_CANCELLED) ? cli_interrupted : code;
}
