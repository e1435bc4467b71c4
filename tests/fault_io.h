/* fault_io.h - files in memory behind the io vtable, with faults: a call that fails, short writes,
 * a disk that is full, a power cut. For tests; plain malloc, one thread at a time.
 *
 *   names  -> nodes    as the program sees them          power cut: unsynced data and names are
 * lost, names' -> data'    as the medium holds them          kept, or kept by halves (every other
 * 512 bytes) */
#ifndef TESTS_FAULT_IO_H
#define TESTS_FAULT_IO_H

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/platform.h"

enum { FAULT_MAX_FILES = 16, FAULT_MAX_NODES = 64, FAULT_MAX_OLD = 64, FAULT_PATH_BYTES = 128 };

typedef enum fault_call {
    FAULT_NONE,
    FAULT_OPEN,
    FAULT_SIZE,
    FAULT_READ,
    FAULT_WRITE,
    FAULT_SYNC,
    FAULT_TRUNCATE,
    FAULT_RESERVE,
    FAULT_MAP,
    FAULT_LOCK,
    FAULT_RENAME,
    FAULT_REMOVE,
    FAULT_SYNC_FOLDER,
    FAULT_FREE_SPACE,
    FAULT_KIND,
    FAULT_ANY, /* counts every call above */
    FAULT_N_CALLS
} fault_call;

typedef struct fault_node {
    bool used;
    bool locked;
    uint8_t *data,
        *durable; /* exactly `size` bytes, so that a sanitizer sees a read past the end */
    size_t size, durable_size;
    uint8_t *old[FAULT_MAX_OLD]; /* what was mapped and has grown since: a mapping stays readable */
    int n_old, n_maps;
} fault_node;

typedef struct fault_name {
    char path[FAULT_PATH_BYTES];
    int node; /* -1 = free */
} fault_name;

typedef struct fault_handle {
    int node;
    bool holds_lock;
} fault_handle;

typedef struct fault_io {
    elm_io io;
    elm_platform platform;
    fault_node nodes[FAULT_MAX_NODES];
    fault_name names[FAULT_MAX_FILES], durable_names[FAULT_MAX_FILES];
    /* The plan: call number `at` (from 1) of kind `call` answers -`error`; with `stays` all later
     * ones too. */
    fault_call call;
    uint32_t at;
    int error;
    bool stays;
    size_t max_write; /* bytes that one write moves at most; 0 = all */
    int64_t free_bytes;
    uint32_t counts[FAULT_N_CALLS];
    int n_open;
} fault_io;

static inline int fault_check(fault_io *f, fault_call call) {
    f->counts[call]++;
    f->counts[FAULT_ANY]++;
    if (f->call == FAULT_NONE || (f->call != call && f->call != FAULT_ANY)) return 0;
    uint32_t n = f->counts[f->call];
    return n == f->at || (f->stays && n > f->at) ? -f->error : 0;
}

static inline fault_name *fault_find(fault_io *f, const char *path) {
    for (int i = 0; i < FAULT_MAX_FILES; i++) {
        if (f->names[i].node >= 0 && strcmp(f->names[i].path, path) == 0) return &f->names[i];
    }
    return NULL;
}

static inline void fault_resize(fault_node *n, size_t size) {
    if (size == n->size) return;
    uint8_t *data = malloc(size ? size : 1);
    assert(data);
    memset(data, 0, size ? size : 1);
    if (n->data) memcpy(data, n->data, size < n->size ? size : n->size);
    if (n->n_maps > 0 && n->data && n->n_old < FAULT_MAX_OLD)
        n->old[n->n_old++] = n->data;
    else
        free(n->data);
    n->data = data;
    n->size = size;
}

static inline int fault_add(fault_io *f, const char *path) {
    int node = 0, name = 0;
    while (node < FAULT_MAX_NODES && f->nodes[node].used) node++;
    while (name < FAULT_MAX_FILES && f->names[name].node >= 0) name++;
    assert(node < FAULT_MAX_NODES && name < FAULT_MAX_FILES && strlen(path) < FAULT_PATH_BYTES);
    f->nodes[node].used = true;
    f->names[name].node = node;
    memcpy(f->names[name].path, path, strlen(path) + 1);
    return node;
}

static inline int fault_open(void *self, const char *path, elm_open_mode mode, void **out) {
    fault_io *f = self;
    int error = fault_check(f, FAULT_OPEN);
    fault_name *name = fault_find(f, path);
    if (error) return error;
    if (!name && mode != ELM_OPEN_CREATE) return -ENOENT;
    int node = name ? name->node : fault_add(f, path);
    if (mode == ELM_OPEN_CREATE) fault_resize(&f->nodes[node], 0);
    fault_handle *h = malloc(sizeof *h);
    assert(h);
    h->node = node;
    h->holds_lock = false;
    f->n_open++;
    *out = h;
    return 0;
}

static inline void fault_close(void *self, void *handle) {
    fault_io *f = self;
    fault_handle *h = handle;
    if (h->holds_lock) f->nodes[h->node].locked = false;
    free(h);
    f->n_open--;
}

static inline fault_node *fault_node_of(fault_io *f, void *handle) {
    return &f->nodes[((fault_handle *)handle)->node];
}

static inline int64_t fault_size(void *self, void *handle) {
    int error = fault_check(self, FAULT_SIZE);
    return error ? error : (int64_t)fault_node_of(self, handle)->size;
}

static inline int64_t fault_read_at(void *self, void *handle, uint64_t offset, void *data,
                                    size_t size) {
    int error = fault_check(self, FAULT_READ);
    fault_node *n = fault_node_of(self, handle);
    if (error) return error;
    if (offset >= n->size) return 0;
    if (size > n->size - offset) size = n->size - (size_t)offset;
    memcpy(data, n->data + offset, size);
    return (int64_t)size;
}

static inline int64_t fault_write_at(void *self, void *handle, uint64_t offset, const void *data,
                                     size_t size) {
    fault_io *f = self;
    int error = fault_check(f, FAULT_WRITE);
    fault_node *n = fault_node_of(f, handle);
    if (error) return error;
    if (f->max_write && size > f->max_write) size = f->max_write;
    if (offset + size > n->size) fault_resize(n, (size_t)offset + size);
    memcpy(n->data + offset, data, size);
    return (int64_t)size;
}

static inline int fault_sync(void *self, void *handle) {
    int error = fault_check(self, FAULT_SYNC);
    fault_node *n = fault_node_of(self, handle);
    if (error) return error;
    free(n->durable);
    n->durable = malloc(n->size ? n->size : 1);
    assert(n->durable);
    if (n->size) memcpy(n->durable, n->data, n->size);
    n->durable_size = n->size;
    return 0;
}

static inline void fault_forget(void *self, void *handle) {
    (void)self, (void)handle;
}

static inline int fault_truncate(void *self, void *handle, uint64_t size) {
    int error = fault_check(self, FAULT_TRUNCATE);
    if (!error) fault_resize(fault_node_of(self, handle), (size_t)size);
    return error;
}

static inline int fault_reserve(void *self, void *handle, uint64_t size) {
    (void)handle, (void)size;
    return fault_check(self, FAULT_RESERVE);
}

static inline int fault_map(void *self, void *handle, uint64_t size, const void **out) {
    int error = fault_check(self, FAULT_MAP);
    fault_node *n = fault_node_of(self, handle);
    assert(size == n->size);
    (void)size;
    *out = n->data;
    n->n_maps += !error;
    return error;
}

static inline void fault_unmap(void *self, const void *data, uint64_t size) {
    fault_io *f = self;
    (void)size;
    for (int i = 0; i < FAULT_MAX_NODES; i++) {
        fault_node *n = &f->nodes[i];
        bool mine = n->data == data;
        for (int k = 0; k < n->n_old; k++) mine = mine || n->old[k] == data;
        if (!mine || --n->n_maps > 0) continue;
        while (n->n_old > 0) free(n->old[--n->n_old]);
    }
}

static inline void fault_advise(void *self, const void *data, uint64_t size,
                                elm_map_advice advice) {
    (void)self, (void)data, (void)size, (void)advice;
}

static inline int fault_lock(void *self, void *handle) {
    int error = fault_check(self, FAULT_LOCK);
    fault_node *n = fault_node_of(self, handle);
    if (error) return error;
    if (n->locked) return -EAGAIN;
    n->locked = ((fault_handle *)handle)->holds_lock = true;
    return 0;
}

static inline int fault_rename(void *self, const char *from, const char *to) {
    fault_io *f = self;
    int error = fault_check(f, FAULT_RENAME);
    fault_name *a = fault_find(f, from), *b = fault_find(f, to);
    if (error) return error;
    if (!a) return -ENOENT;
    if (b) b->node = -1;
    memcpy(a->path, to, strlen(to) + 1);
    return 0;
}

static inline int fault_remove(void *self, const char *path) {
    fault_io *f = self;
    int error = fault_check(f, FAULT_REMOVE);
    fault_name *name = fault_find(f, path);
    if (error) return error;
    if (!name) return -ENOENT;
    name->node = -1;
    return 0;
}

static inline int fault_sync_folder(void *self, const char *path) {
    fault_io *f = self;
    int error = fault_check(f, FAULT_SYNC_FOLDER);
    (void)path;
    if (!error) memcpy(f->durable_names, f->names, sizeof f->names);
    return error;
}

static inline int64_t fault_free_space(void *self, const char *path) {
    fault_io *f = self;
    int error = fault_check(f, FAULT_FREE_SPACE);
    (void)path;
    return error ? error : f->free_bytes;
}

static inline int fault_kind(void *self, const char *path, elm_path_kind *out) {
    int error = fault_check(self, FAULT_KIND);
    *out = !error && fault_find(self, path) ? ELM_PATH_FILE : ELM_PATH_NONE;
    return error;
}

static inline int fault_is_at(void *self, void *handle, const char *path, bool *out) {
    int error = fault_check(self, FAULT_KIND);
    fault_name *name = fault_find(self, path);
    *out = !error && name && name->node == ((fault_handle *)handle)->node;
    return error;
}

static inline void fault_copy_mode(void *self, void *from, void *to) {
    (void)self, (void)from, (void)to;
}

static inline void fault_io_init(fault_io *f) {
    memset(f, 0, sizeof *f);
    for (int i = 0; i < FAULT_MAX_FILES; i++) f->names[i].node = f->durable_names[i].node = -1;
    f->io = (elm_io){f,
                     fault_open,
                     fault_close,
                     fault_size,
                     fault_read_at,
                     fault_write_at,
                     fault_sync,
                     fault_forget,
                     fault_truncate,
                     fault_reserve,
                     fault_map,
                     fault_unmap,
                     fault_advise,
                     fault_lock,
                     fault_rename,
                     fault_remove,
                     fault_sync_folder,
                     fault_free_space,
                     fault_kind,
                     fault_is_at,
                     fault_copy_mode};
    f->platform = *elm_platform_default();
    f->platform.io = &f->io;
    f->free_bytes = (int64_t)1 << 40;
}

static inline void fault_io_free(fault_io *f) {
    for (int i = 0; i < FAULT_MAX_NODES; i++) {
        free(f->nodes[i].data);
        free(f->nodes[i].durable);
        while (f->nodes[i].n_old > 0) free(f->nodes[i].old[--f->nodes[i].n_old]);
    }
    fault_io_init(f);
}

/* Puts a file there, synced, whatever the plan says. */
static inline void fault_io_put(fault_io *f, const char *path, const void *data, size_t size) {
    fault_name *name = fault_find(f, path);
    fault_node *n = &f->nodes[name ? name->node : fault_add(f, path)];
    fault_resize(n, size);
    if (size) memcpy(n->data, data, size);
    free(n->durable);
    n->durable = malloc(size ? size : 1);
    assert(n->durable);
    if (size) memcpy(n->durable, data, size);
    n->durable_size = size;
    memcpy(f->durable_names, f->names, sizeof f->names);
}

/* The file's bytes as the program sees them, writable; NULL when there is none. */
static inline uint8_t *fault_io_get(fault_io *f, const char *path, size_t *size) {
    fault_name *name = fault_find(f, path);
    *size = name ? f->nodes[name->node].size : 0;
    return name ? f->nodes[name->node].data : NULL;
}

/* From now on call number `at` of this kind fails; counting starts anew. */
static inline void fault_io_plan(fault_io *f, fault_call call, uint32_t at, int error, bool stays) {
    memset(f->counts, 0, sizeof f->counts);
    f->call = call;
    f->at = at;
    f->error = error;
    f->stays = stays;
}

typedef enum fault_data { FAULT_DATA_LOST, FAULT_DATA_KEPT, FAULT_DATA_TORN } fault_data;

/* The power goes: every handle is dead (close them still), the plan ends. */
static inline void fault_io_power_cut(fault_io *f, fault_data data, bool keep_names) {
    if (!keep_names) memcpy(f->names, f->durable_names, sizeof f->names);
    for (int i = 0; i < FAULT_MAX_NODES; i++) {
        fault_node *n = &f->nodes[i];
        n->locked = false;
        if (!n->used || data == FAULT_DATA_KEPT) continue;
        size_t size = n->size;
        uint8_t *now = malloc(size ? size : 1);
        assert(now);
        if (size) memcpy(now, n->data, size);
        fault_resize(n, n->durable_size);
        if (n->durable_size) memcpy(n->data, n->durable, n->durable_size);
        if (data == FAULT_DATA_TORN && size > n->size) fault_resize(n, size);
        for (size_t at = 0; data == FAULT_DATA_TORN && at < size; at += 1024) {
            memcpy(n->data + at, now + at, size - at < 512 ? size - at : 512);
        }
        free(now);
    }
    fault_io_plan(f, FAULT_NONE, 0, 0, false);
    f->max_write = 0;
}

#endif
