/* platform.c - the default platform; base. */
#include "base/platform.h"

#include <pthread.h>
#include <time.h>

static uint64_t monotonic_us(void *self) {
    struct timespec now;
    (void)self;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

static elm_platform platform;

static void make_platform(void) {
    static const elm_clock clock = {NULL, monotonic_us};
    platform = (elm_platform){elm_allocator_default(), elm_io_posix(), &clock};
}

const elm_platform *elm_platform_default(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_platform);
    return &platform;
}
