/* test_cores.c - which cores a model's threads take, over trees of made-up systems. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cores.h"

static char root[] = "/tmp/elm-cores-XXXXXX";

/* Writes text below the root, with the folders on the way. */
static void put(const char *path, const char *text) {
    char full[512];
    snprintf(full, sizeof full, "%s%s", root, path);
    for (char *p = full + strlen(root) + 1; (p = strchr(p, '/')); p++) {
        *p = 0;
        if (mkdir(full, 0700) != 0) assert_int_equal(errno, EEXIST);
        *p = '/';
    }
    FILE *f = fopen(full, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void put_cpu(uint32_t cpu, const char *file, unsigned value) {
    char path[128], text[32];
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%u/%s", cpu, file);
    snprintf(text, sizeof text, "%u\n", value);
    put(path, text);
}

static int make_root(void **state) {
    (void)state;
    strcpy(root + strlen(root) - 6, "XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state) {
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

static elm_cores read_for(uint32_t first, uint32_t n, uint32_t wanted) {
    elm_cpu_set allowed = {0};
    elm_cores cores;
    for (uint32_t cpu = first; cpu < first + n; cpu++) elm_cpu_set_add(&allowed, cpu);
    elm_cores_read(root, &allowed, wanted, &cores);
    assert_int_equal(cores.n_allowed, n);
    return cores;
}

static elm_cores read_cores(uint32_t first, uint32_t n) {
    return read_for(first, n, 0);
}

static void expect_big(const elm_cores *cores, uint32_t first, uint32_t n) {
    for (uint32_t cpu = 0; cpu < ELM_MAX_CPUS; cpu++)
        assert_int_equal(elm_cpu_set_has(&cores->big, cpu), cpu >= first && cpu < first + n);
}

static void test_nothing_known(void **state) {
    (void)state;
    elm_cores cores = read_cores(0, 6);
    expect_big(&cores, 0, 6);
    assert_int_equal(cores.n_threads, 6);
}

/* Four little cores, three in the middle and one prime, by capacity; frequencies are not asked. */
static void test_arm_clusters(void **state) {
    (void)state;
    for (uint32_t cpu = 0; cpu < 8; cpu++) {
        put_cpu(cpu, "cpu_capacity", cpu < 4 ? 325 : cpu < 7 ? 830 : 1024);
        put_cpu(cpu, "cpufreq/cpuinfo_max_freq", 2000000);
    }
    elm_cores cores = read_cores(0, 8);
    expect_big(&cores, 4, 4);
    assert_int_equal(cores.n_threads, 4);
    cores = read_cores(0, 4); /* only little ones allowed: they are the fastest there are */
    expect_big(&cores, 0, 4);
    cores = read_cores(2, 3);
    expect_big(&cores, 4, 1);
    assert_int_equal(cores.n_threads, 1);
}

static void test_frequencies(void **state) {
    (void)state;
    for (uint32_t cpu = 0; cpu < 6; cpu++)
        put_cpu(cpu, "cpufreq/cpuinfo_max_freq", cpu < 2 ? 5100000 : 3300000);
    elm_cores cores = read_cores(0, 6);
    expect_big(&cores, 0, 2);
    cores = read_cores(0, 7); /* one that says nothing: nothing is known */
    expect_big(&cores, 0, 7);
}

static void test_intel_core_types(void **state) {
    (void)state;
    put("/sys/devices/cpu_core/cpus", "0-3,6\n");
    put("/sys/devices/cpu_atom/cpus", "4-5,7-15\n");
    elm_cores cores = read_cores(0, 6);
    expect_big(&cores, 0, 4);
    cores = read_cores(8, 4); /* bound to efficiency cores */
    expect_big(&cores, 8, 4);
}

static void test_quota(void **state) {
    (void)state;
    put("/proc/self/cgroup", "0::/app/job\n");
    put("/sys/fs/cgroup/app/job/cpu.max", "max 100000\n");
    assert_int_equal(read_cores(0, 8).n_threads, 8);
    put("/sys/fs/cgroup/app/cpu.max", "250000 100000\n");
    assert_int_equal(read_cores(0, 8).n_threads, 3);
    put("/sys/fs/cgroup/app/job/cpu.max", "50000 100000\n");
    assert_int_equal(read_cores(0, 8).n_threads, 1);
    put("/sys/fs/cgroup/app/job/cpu.max", "0 0\n");
    assert_int_equal(read_cores(0, 8).n_threads, 3);
    put("/sys/fs/cgroup/cpu.max", "200000 100000\n");
    assert_int_equal(read_cores(0, 8).n_threads, 2);
    expect_big(&(elm_cores){.big = read_cores(0, 8).big}, 0, 8);
}

/* Big ones are looked for only where a number that is given leaves a choice. */
static void test_a_number_that_is_given(void **state) {
    (void)state;
    put("/sys/devices/cpu_core/cpus", "0-3\n");
    put("/sys/fs/cgroup/cpu.max", "200000 100000\n");
    elm_cores cores = read_for(0, 8, 0);
    expect_big(&cores, 0, 4);
    assert_int_equal(cores.n_threads, 2);
    cores = read_for(0, 8, 3);
    expect_big(&cores, 0, 4);
    assert_int_equal(cores.n_threads, 3);
    cores = read_for(0, 8, 1);
    expect_big(&cores, 0, 8);
    assert_int_equal(cores.n_threads, 1);
    cores = read_for(0, 8, 9);
    expect_big(&cores, 0, 8);
    assert_int_equal(cores.n_threads, 9);
}

static void test_this_process(void **state) {
    (void)state;
    elm_cores cores;
    elm_cores_of_process(0, &cores);
    assert_in_range(cores.n_threads, 1, cores.n_allowed);
    assert_true(elm_cpu_set_count(&cores.big) <= cores.n_allowed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_nothing_known, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_arm_clusters, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_frequencies, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_intel_core_types, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_quota, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_a_number_that_is_given, make_root, remove_root),
        cmocka_unit_test(test_this_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
