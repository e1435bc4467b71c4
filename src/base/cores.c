/* cores.c - see cores.h; base. */
#include "base/cores.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    TEXT_BYTES = 4096,
    BIG_PERCENT = 70, /* of the fastest: keeps favoured cores and middle clusters together */
};

uint32_t elm_cpu_set_count(const elm_cpu_set *s) {
    uint32_t n = 0;
    for (uint32_t cpu = 0; cpu < ELM_MAX_CPUS; cpu++) n += elm_cpu_set_has(s, cpu);
    return n;
}

/* Reads the beginning of a small file as a string; false when there is none. */
static bool read_text(const char *root, const char *path, char text[TEXT_BYTES]) {
    char full[TEXT_BYTES];
    int length = snprintf(full, sizeof full, "%s%s", root, path);
    if (length < 0 || (size_t)length >= sizeof full) return false;
    int fd = open(full, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t n = read(fd, text, TEXT_BYTES - 1);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    return n > 0;
}

/* A list of processors, as "0-3,8". */
static void parse_list(const char *text, elm_cpu_set *out) {
    memset(out, 0, sizeof *out);
    for (const char *p = text; *p >= '0' && *p <= '9';) {
        char *end;
        unsigned long first = strtoul(p, &end, 10), last = first;
        if (*end == '-') last = strtoul(end + 1, &end, 10);
        for (; first <= last && first < ELM_MAX_CPUS; first++)
            elm_cpu_set_add(out, (uint32_t)first);
        p = *end == ',' ? end + 1 : end;
    }
}

/* A number that says how fast a processor is, from one file of each; 0 when it does not say. */
static uint32_t speed_of(const char *root, uint32_t cpu, const char *file) {
    char path[128], text[TEXT_BYTES];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%u/%s", cpu, file);
    if (!read_text(root, path, text)) return 0;
    unsigned long speed = strtoul(text, NULL, 10);
    return speed > UINT32_MAX ? UINT32_MAX : (uint32_t)speed;
}

/* Of `from` those that are about as fast as the fastest by `file`; false when one does not say. */
static bool pick_by(const char *root, const elm_cpu_set *from, const char *file, elm_cpu_set *out) {
    uint32_t fastest = 0, speed[ELM_MAX_CPUS];
    for (uint32_t cpu = 0; cpu < ELM_MAX_CPUS; cpu++) {
        if (!elm_cpu_set_has(from, cpu)) continue;
        speed[cpu] = speed_of(root, cpu, file);
        if (speed[cpu] == 0) return false;
        if (speed[cpu] > fastest) fastest = speed[cpu];
    }
    memset(out, 0, sizeof *out);
    for (uint32_t cpu = 0; cpu < ELM_MAX_CPUS; cpu++) {
        if (elm_cpu_set_has(from, cpu) &&
            (uint64_t)speed[cpu] * 100 >= (uint64_t)fastest * BIG_PERCENT)
            elm_cpu_set_add(out, cpu);
    }
    return true;
}

static void pick_big(const char *root, const elm_cpu_set *allowed, elm_cpu_set *out) {
    char text[TEXT_BYTES];
    elm_cpu_set performance;
    if (read_text(root, "/sys/devices/cpu_core/cpus", text)) {
        parse_list(text, &performance);
        for (size_t i = 0; i < ELM_MAX_CPUS / 64; i++)
            out->bits[i] = allowed->bits[i] & performance.bits[i];
        if (elm_cpu_set_count(out) > 0) return;
    }
    if (pick_by(root, allowed, "cpu_capacity", out)) return;
    if (!pick_by(root, allowed, "cpufreq/cpuinfo_max_freq", out)) *out = *allowed;
}

/* Processors' worth of time that the control group at `path` grants; UINT32_MAX: no limit. */
static uint32_t quota_at(const char *root, const char *path) {
    char file[TEXT_BYTES], text[TEXT_BYTES], *end;
    int length = snprintf(file, sizeof file, "/sys/fs/cgroup%s/cpu.max", path);
    if (length < 0 || (size_t)length >= sizeof file || !read_text(root, file, text))
        return UINT32_MAX;
    unsigned long long quota = strtoull(text, &end, 10);
    unsigned long long period = end > text ? strtoull(end, NULL, 10) : 0;
    if (period == 0 || quota / period >= ELM_MAX_CPUS) return UINT32_MAX; /* "max" or nonsense */
    uint32_t whole = (uint32_t)(quota / period) + (quota % period > 0);
    return whole > 0 ? whole : 1;
}

/* The tightest limit of the process's own group and those around it. */
static uint32_t quota_of(const char *root) {
    char text[TEXT_BYTES];
    uint32_t least = quota_at(root, "");
    if (!read_text(root, "/proc/self/cgroup", text)) return least;
    char *path = strncmp(text, "0::/", 4) == 0 ? text : strstr(text, "\n0::/");
    if (!path) return least; /* version 1 of control groups */
    path = strchr(path, '/');
    path[strcspn(path, "\n")] = 0;
    while (*path) { /* cuts the last part off until nothing is left */
        uint32_t quota = quota_at(root, path);
        least = quota < least ? quota : least;
        *strrchr(path, '/') = 0;
    }
    return least;
}

void elm_cores_read(const char *root, const elm_cpu_set *allowed, uint32_t wanted, elm_cores *out) {
    memset(out, 0, sizeof *out);
    out->n_allowed = elm_cpu_set_count(allowed);
    out->big = *allowed;
    out->n_threads = wanted;
    bool all_alike = wanted == 1 || wanted >= out->n_allowed; /* no worker, or one for each */
    if (out->n_allowed > 0 && !all_alike) pick_big(root, allowed, &out->big);
    if (wanted > 0) return;
    out->n_threads = elm_cpu_set_count(&out->big);
    uint32_t quota = quota_of(root);
    if (quota < out->n_threads) out->n_threads = quota;
    if (out->n_threads == 0) out->n_threads = 1;
}

void elm_cores_of_process(uint32_t wanted, elm_cores *out) {
    elm_cpu_set allowed = {0};
    cpu_set_t mask;
    if (sched_getaffinity(0, sizeof mask, &mask) == 0) {
        for (uint32_t cpu = 0; cpu < ELM_MAX_CPUS && cpu < CPU_SETSIZE; cpu++) {
            if (CPU_ISSET(cpu, &mask)) elm_cpu_set_add(&allowed, cpu);
        }
    } else {
        long n = sysconf(_SC_NPROCESSORS_ONLN);
        for (long cpu = 0; cpu < n && cpu < ELM_MAX_CPUS; cpu++)
            elm_cpu_set_add(&allowed, (uint32_t)cpu);
    }
    elm_cores_read("", &allowed, wanted, out);
}

static void bind_worker(void *context, uint32_t thread, uint32_t n_threads) {
    const elm_cpu_set *big = context;
    cpu_set_t mask;
    (void)n_threads;
    if (thread == 0) return;
    CPU_ZERO(&mask);
    for (uint32_t cpu = 0; cpu < ELM_MAX_CPUS && cpu < CPU_SETSIZE; cpu++) {
        if (elm_cpu_set_has(big, cpu)) CPU_SET(cpu, &mask);
    }
    (void)sched_setaffinity(0, sizeof mask, &mask); /* refused: it runs where the system likes */
}

void elm_cores_bind(const elm_cores *cores, elm_thread_pool *pool) {
    elm_cpu_set big = cores->big;
    if (elm_cpu_set_count(&big) < cores->n_allowed) elm_thread_pool_run(pool, bind_worker, &big);
}
