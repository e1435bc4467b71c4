/* cmd_doctor.c - edge-llm doctor: what this machine and this build can do; cli. */
#include "backend/backend.h"
#include "cli/limits.h"
#include "cli/cli.h"

#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

static void describe(const elm_backend *b, uint32_t mask, char *text, size_t n, bool *works) {
    elm_device_options options = {.cpu_mask = mask};
    elm_error err;
    void *device = NULL;
    *works = b->open(elm_platform_default(), &options, &device, &err) == ELM_OK;
    if (!*works) {
        snprintf(text, n, "%.200s", err.message);
        return;
    }
    b->describe(device, text, n);
    b->close(device);
}

static int run(const cli_options *o) {
    elm_buf out;
    elm_json_writer w;
    struct utsname system;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    double memory = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    uint32_t mask = o->cpu_mask ? (uint32_t)strtoul(o->cpu_mask, NULL, 16) : UINT32_MAX;
    double bandwidth = cli_read_bandwidth();
    if (uname(&system) != 0) return cli_fail(ELM_INTERNAL, "the system does not say what it is");
    cli_buf(&out);
    elm_json_writer_init(&w, &out, true);
    elm_json_begin_object(&w, NULL);
    elm_json_put_int(&w, "schema_version", 1);
    elm_json_put_str(&w, "version", elm_version());
    elm_json_put_str(&w, "system", system.sysname);
    elm_json_put_str(&w, "machine", system.machine);
    elm_json_put_int(&w, "cores", cores);
    elm_json_put_double(&w, "memory_gb", memory / 1e9);
    elm_json_put_double(&w, "read_bandwidth_gb_s_1_thread", bandwidth / 1e9);
    elm_json_begin_array(&w, "backends");
    if (!o->json) {
        printf("edge-llm %s on %s %s, %ld cores, %.1f GB memory, read bandwidth %.1f GB/s (1 "
               "thread)\n\n",
               elm_version(), system.sysname, system.machine, cores, memory / 1e9, bandwidth / 1e9);
    }
    for (size_t i = 0; elm_backend_table[i]; i++) {
        const elm_backend *b = elm_backend_table[i];
        char text[256];
        bool works;
        describe(b, mask, text, sizeof text, &works);
        elm_json_begin_object(&w, NULL);
        elm_json_put_str(&w, "name", b->name);
        elm_json_put_str(&w, "summary", b->summary);
        elm_json_put_bool(&w, "available", works);
        elm_json_put_str(&w, "detail", text);
        elm_json_end_object(&w);
        if (!o->json)
            printf("%-6s %-4s %s\n            %s\n", b->name, works ? "ok" : "no", text,
                   b->summary);
    }
    elm_json_end_array(&w);
    elm_json_end_object(&w);
    elm_buf_u8(&out, '\n');
    if (o->json) cli_print_buf(&out);
    elm_buf_free(&out);
    return 0;
}

const cli_command cli_doctor = {
    "doctor", "doctor [--json]", "what this machine and this build can do", NULL, 0, 0, run};
