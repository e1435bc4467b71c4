/* platform.h - what the library asks of the world: memory, files, time. Fault tests replace them.
 */
#ifndef ELM_BASE_PLATFORM_H
#define ELM_BASE_PLATFORM_H

#include "base/alloc.h"
#include "base/file.h"

typedef struct elm_clock {
    void *self;
    uint64_t (*now_us)(void *self); /* monotonic microseconds */
} elm_clock;

typedef struct elm_platform {
    const elm_allocator *alloc;
    const elm_io *io;
    const elm_clock *clock;
} elm_platform;

/* The C library, POSIX files and the monotonic clock. */
const elm_platform *elm_platform_default(void);

static inline uint64_t elm_now_us(const elm_platform *p) {
    return p->clock->now_us(p->clock->self);
}

#endif
