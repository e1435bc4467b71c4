/* power_log.h - what a disk may hold after the power went: every write between two syncs may be
 * there or not, in any order, torn at 512 bytes, with sectors that hold neither old nor new. For
 * tests.
 *
 * The log stands before a fault_io and notes each call that changes something. A state is built
 * from a prefix of the log: what was synced is there; of the rest a part, chosen by a seed. Names
 * reach the disk in order, up to some point behind the last sync of the folder. */
#ifndef TESTS_POWER_LOG_H
#define TESTS_POWER_LOG_H

#include "fault_io.h"

enum { POWER_MAX_EVENTS = 4096, POWER_SECTOR = 512, POWER_N_MODES = 5 };

typedef enum power_kind {
    POWER_CREATE,
    POWER_WRITE,
    POWER_TRUNCATE,
    POWER_SYNC,
    POWER_RENAME,
    POWER_REMOVE,
    POWER_SYNC_FOLDER
} power_kind;

typedef struct power_event {
    power_kind kind;
    int node;
    uint64_t offset;
    size_t size;
    uint8_t *data;
    char path[FAULT_PATH_BYTES], to[FAULT_PATH_BYTES];
} power_event;

typedef struct power_log {
    fault_io fs; /* first: the vtable's self */
    elm_io below;
    fault_io before; /* as it was when the log began */
    power_event events[POWER_MAX_EVENTS];
    size_t n;
} power_log;

static inline power_event *power_add(power_log *l, power_kind kind, int node) {
    assert(l->n < POWER_MAX_EVENTS);
    power_event *e = &l->events[l->n++];
    memset(e, 0, sizeof *e);
    e->kind = kind;
    e->node = node;
    return e;
}

static inline int power_node(void *handle) {
    return ((fault_handle *)handle)->node;
}

static inline int power_open(void *self, const char *path, elm_open_mode mode, void **out) {
    power_log *l = self;
    bool was_there = fault_find(&l->fs, path) != NULL;
    int result = l->below.open(self, path, mode, out);
    if (result == 0 && mode == ELM_OPEN_CREATE) {
        power_event *e = power_add(l, was_there ? POWER_TRUNCATE : POWER_CREATE, power_node(*out));
        memcpy(e->path, path, strlen(path) + 1);
    }
    return result;
}

static inline int64_t power_write(void *self, void *handle, uint64_t offset, const void *data,
                                  size_t size) {
    power_log *l = self;
    int64_t n = l->below.write_at(self, handle, offset, data, size);
    if (n <= 0) return n;
    power_event *e = power_add(l, POWER_WRITE, power_node(handle));
    e->offset = offset;
    e->size = (size_t)n;
    e->data = malloc((size_t)n);
    assert(e->data);
    memcpy(e->data, data, (size_t)n);
    return n;
}

static inline int power_truncate(void *self, void *handle, uint64_t size) {
    power_log *l = self;
    int result = l->below.truncate(self, handle, size);
    if (result == 0) power_add(l, POWER_TRUNCATE, power_node(handle))->offset = size;
    return result;
}

static inline int power_sync(void *self, void *handle) {
    power_log *l = self;
    int result = l->below.sync(self, handle);
    if (result == 0) (void)power_add(l, POWER_SYNC, power_node(handle));
    return result;
}

static inline int power_rename(void *self, const char *from, const char *to) {
    power_log *l = self;
    int result = l->below.rename(self, from, to);
    if (result != 0) return result;
    power_event *e = power_add(l, POWER_RENAME, -1);
    memcpy(e->path, from, strlen(from) + 1);
    memcpy(e->to, to, strlen(to) + 1);
    return 0;
}

static inline int power_remove(void *self, const char *path) {
    power_log *l = self;
    int result = l->below.remove(self, path);
    if (result != 0) return result;
    power_event *e = power_add(l, POWER_REMOVE, -1);
    memcpy(e->path, path, strlen(path) + 1);
    return 0;
}

static inline int power_sync_folder(void *self, const char *path) {
    power_log *l = self;
    int result = l->below.sync_folder(self, path);
    if (result == 0) (void)power_add(l, POWER_SYNC_FOLDER, -1);
    return result;
}

/* Deep copy of files, without plans and handles. */
static inline void power_copy(fault_io *to, const fault_io *from) {
    fault_io_init(to);
    to->io.kind = from->io.kind;
    for (int i = 0; i < FAULT_MAX_NODES; i++) {
        to->nodes[i].used = from->nodes[i].used;
        fault_resize(&to->nodes[i], from->nodes[i].size);
        if (from->nodes[i].size)
            memcpy(to->nodes[i].data, from->nodes[i].data, from->nodes[i].size);
    }
    memcpy(to->names, from->names, sizeof to->names);
}

/* From here on `l->fs` logs. Put the files there before. */
static inline void power_begin(power_log *l) {
    power_copy(&l->before, &l->fs);
    l->below = l->fs.io;
    l->fs.io.open = power_open;
    l->fs.io.write_at = power_write;
    l->fs.io.truncate = power_truncate;
    l->fs.io.sync = power_sync;
    l->fs.io.rename = power_rename;
    l->fs.io.remove = power_remove;
    l->fs.io.sync_folder = power_sync_folder;
}

static inline void power_end(power_log *l) {
    for (size_t i = 0; i < l->n; i++) free(l->events[i].data);
    l->n = 0;
    fault_io_free(&l->before);
    fault_io_free(&l->fs);
}

static inline uint32_t power_random(uint64_t *seed) {
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*seed >> 33);
}

/* One change of a file's bytes, whole or by sectors. */
static inline void power_apply(fault_node *n, const power_event *e, int mode, uint64_t *seed) {
    if (e->kind == POWER_TRUNCATE) {
        fault_resize(n, (size_t)e->offset);
        return;
    }
    if (e->offset + e->size > n->size) fault_resize(n, (size_t)(e->offset + e->size));
    for (size_t at = 0; at < e->size;) {
        size_t to_border = POWER_SECTOR - (size_t)((e->offset + at) % POWER_SECTOR);
        size_t take = e->size - at < to_border ? e->size - at : to_border;
        uint32_t fate = mode == 3 ? power_random(seed) % 3 : 0; /* new, old, or neither */
        if (fate == 0) memcpy(n->data + e->offset + at, e->data + at, take);
        if (fate == 2) memset(n->data + e->offset + at, 0xee, take);
        at += take;
    }
}

static inline bool power_of_node(const power_event *e, int node) {
    return e->node == node && (e->kind == POWER_WRITE || e->kind == POWER_TRUNCATE);
}

/* The unsynced changes of one node among events [from, to): mode 0 none, 1 all, 2 some in any
 * order, 3 some and torn, 4 the first few. */
static inline void power_pending(const power_log *l, fault_node *n, int node, size_t from,
                                 size_t to, int mode, uint64_t *seed) {
    size_t order[POWER_MAX_EVENTS], k = 0;
    for (size_t i = from; i < to; i++) {
        if (power_of_node(&l->events[i], node)) order[k++] = i;
    }
    if (mode == 0) return;
    if (mode == 4 && k > 0) k = power_random(seed) % (k + 1);
    for (size_t i = 0; mode >= 2 && mode <= 3 && i + 1 < k; i++) {
        size_t with = i + power_random(seed) % (k - i), held = order[i];
        order[i] = order[with];
        order[with] = held;
    }
    for (size_t i = 0; i < k; i++) {
        if ((mode == 2 || mode == 3) && power_random(seed) % 2 == 0) continue;
        power_apply(n, &l->events[order[i]], mode, seed);
    }
}

static inline void power_name(fault_io *fs, const power_event *e) {
    fault_name *name;
    switch (e->kind) {
    case POWER_CREATE:
        for (name = fs->names; name->node >= 0;) name++;
        memcpy(name->path, e->path, sizeof name->path);
        name->node = e->node;
        fs->nodes[e->node].used = true;
        break;
    case POWER_RENAME:
        if (fault_find(fs, e->to)) fault_find(fs, e->to)->node = -1;
        if ((name = fault_find(fs, e->path)) != NULL) memcpy(name->path, e->to, sizeof e->to);
        break;
    case POWER_REMOVE:
        if ((name = fault_find(fs, e->path)) != NULL) name->node = -1;
        break;
    default:
        break;
    }
}

/* The files after a power cut behind event `prefix`. Free with fault_io_free. */
static inline void power_state(const power_log *l, size_t prefix, int mode, uint64_t seed,
                               fault_io *out) {
    size_t synced_folder = 0;
    power_copy(out, &l->before);
    for (int node = 0; node < FAULT_MAX_NODES; node++) {
        size_t synced = 0;
        for (size_t i = 0; i < prefix; i++) {
            if (l->events[i].kind == POWER_SYNC && l->events[i].node == node) synced = i + 1;
        }
        power_pending(l, &out->nodes[node], node, 0, synced, 1, &seed);
        power_pending(l, &out->nodes[node], node, synced, prefix, mode, &seed);
    }
    for (size_t i = 0; i < prefix; i++) {
        if (l->events[i].kind == POWER_SYNC_FOLDER) synced_folder = i + 1;
    }
    size_t names = mode == 0   ? synced_folder
                   : mode == 1 ? prefix
                               : synced_folder + power_random(&seed) % (prefix - synced_folder + 1);
    for (size_t i = 0; i < names; i++) power_name(out, &l->events[i]);
}

#endif
