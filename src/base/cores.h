/* cores.h - which processors the threads of a model should run on; base.
 *
 * A step is as slow as its slowest thread, so on a processor with big and little cores the little
 * ones are left out; and more threads than the process may use at once only wait for each other. */
#ifndef ELM_BASE_CORES_H
#define ELM_BASE_CORES_H

#include "base/thread_pool.h"

enum { ELM_MAX_CPUS = 1024 };

typedef struct elm_cpu_set {
    uint64_t bits[ELM_MAX_CPUS / 64];
} elm_cpu_set;

static inline bool elm_cpu_set_has(const elm_cpu_set *s, uint32_t cpu) {
    return cpu < ELM_MAX_CPUS && (s->bits[cpu / 64] >> cpu % 64 & 1) != 0;
}
static inline void elm_cpu_set_add(elm_cpu_set *s, uint32_t cpu) {
    if (cpu < ELM_MAX_CPUS) s->bits[cpu / 64] |= UINT64_C(1) << cpu % 64;
}
uint32_t elm_cpu_set_count(const elm_cpu_set *s);

typedef struct elm_cores {
    elm_cpu_set big;    /* of those allowed, the ones that are about as fast as the fastest */
    uint32_t n_allowed; /* processors this process may run on */
    uint32_t n_threads; /* as wanted; else as many as big ones, or as the control group grants: at
                           least 1 */
} elm_cores;

/* Reads below `root` ("" for the system itself; tests bring a tree of their own):
 *
 *   /sys/devices/cpu_core/cpus                       Intel: the performance cores
 *   /sys/devices/system/cpu/cpuN/cpu_capacity        ARM: speed, 1024 the fastest
 *   /sys/devices/system/cpu/cpuN/cpufreq/cpuinfo_max_freq    others
 *   /proc/self/cgroup, /sys/fs/cgroup/.../cpu.max    processors' worth of time, rounded up
 *
 * What is missing or unreadable restricts nothing. `wanted`: a number of threads that was decided
 * on, 0 for none; with one, only what places workers is read, and nothing at all when it is 1 or
 * leaves no processor out. */
void elm_cores_read(const char *root, const elm_cpu_set *allowed, uint32_t wanted, elm_cores *out);

/* The same for this process: its affinity mask, the system's files. */
void elm_cores_of_process(uint32_t wanted, elm_cores *out);

/* Keeps the pool's workers on the big cores when there are others; the caller's thread is the
 * application's and stays as it is. */
void elm_cores_bind(const elm_cores *cores, elm_thread_pool *pool);

#endif
