/* file.h - files through a vtable (SQLite's VFS idea), and the calls that the rest of the code
 * uses.
 *
 * The vtable speaks in negative errno values and may do less than asked (short reads and writes,
 * EINTR); the elm_file_* functions loop, check and write the message, so no other file of the
 * project handles errno. Paths are UTF-8 as the system takes them. A handle is used by one thread
 * at a time, but for pread on a file opened for reading. */
#ifndef ELM_BASE_FILE_H
#define ELM_BASE_FILE_H

#include "base/arena.h"
#include "base/span.h"
#include "base/status.h"

typedef enum elm_open_mode {
    ELM_OPEN_READ,   /* must exist */
    ELM_OPEN_CREATE, /* created or emptied, read and write */
    ELM_OPEN_UPDATE, /* must exist, read and write, kept as it is */
} elm_open_mode;

typedef enum elm_map_advice { ELM_MAP_NORMAL, ELM_MAP_RANDOM, ELM_MAP_WILLNEED } elm_map_advice;

typedef enum elm_path_kind {
    ELM_PATH_NONE,
    ELM_PATH_FILE, /* a regular file; links are followed */
    ELM_PATH_FOLDER,
    ELM_PATH_OTHER, /* a device, pipe or socket */
} elm_path_kind;

/* Every slot is required. int results: 0 or a negative errno; int64 results: a count or that. */
typedef struct elm_io {
    void *self;
    int (*open)(void *self, const char *path, elm_open_mode mode, void **out_handle);
    void (*close)(void *self, void *handle);
    int64_t (*size)(void *self, void *handle); /* -ESPIPE for what is no file, as a pipe */
    int64_t (*read_at)(void *self, void *handle, uint64_t offset, void *data, size_t size);
    int64_t (*write_at)(void *self, void *handle, uint64_t offset, const void *data, size_t size);
    int (*sync)(void *self, void *handle);    /* fdatasync */
    void (*forget)(void *self, void *handle); /* a hint: what is synced leaves memory */
    int (*truncate)(void *self, void *handle, uint64_t size); /* grows with zeros or cuts */
    /* Room for `size` bytes in all is set aside; the file stays as long as it is. 0 too where the
     * file system cannot. */
    int (*reserve)(void *self, void *handle, uint64_t size);
    int (*map)(void *self, void *handle, uint64_t size,
               const void **out); /* whole file, read only */
    void (*unmap)(void *self, const void *data, uint64_t size);
    void (*advise)(void *self, const void *data, uint64_t size, elm_map_advice advice); /* a hint */
    int (*lock)(void *self, void *handle); /* exclusive, not waiting; -EAGAIN */
    int (*rename)(void *self, const char *from, const char *to);
    int (*remove)(void *self, const char *path);
    int (*sync_folder)(void *self, const char *path);    /* the folder that holds `path` */
    int64_t (*free_space)(void *self, const char *path); /* bytes left where `path` would be */
    int (*kind)(void *self, const char *path, elm_path_kind *out);
    /* Whether `path` names the open file now: it may have been renamed or replaced since. */
    int (*is_at)(void *self, void *handle, const char *path, bool *out);
    void (*copy_mode)(void *self, void *from,
                      void *to); /* who may read and write; as far as can be */
} elm_io;

const elm_io *elm_io_posix(void);

typedef struct elm_file {
    const elm_io *io;
    void *handle; /* NULL = closed */
    char *path;   /* owned copy, for messages */
    const elm_allocator *alloc;
} elm_file;

struct elm_platform;

elm_status elm_file_open(const struct elm_platform *p, const char *path, elm_open_mode mode,
                         elm_file *out, elm_error *err) ELM_MUST_CHECK;
void elm_file_close(elm_file *file); /* a closed or zeroed file is fine */
elm_status elm_file_size(const elm_file *file, uint64_t *out, elm_error *err) ELM_MUST_CHECK;
/* Exactly `size` bytes or a failure; a file that ends too early is ELM_MALFORMED. */
elm_status elm_file_read_at(const elm_file *file, uint64_t offset, void *data, size_t size,
                            elm_error *err) ELM_MUST_CHECK;
elm_status elm_file_write_at(const elm_file *file, uint64_t offset, const void *data, size_t size,
                             elm_error *err) ELM_MUST_CHECK;
elm_status elm_file_sync(const elm_file *file, elm_error *err) ELM_MUST_CHECK;
/* The first to read a file that was synced reads it anew. What was written piece by piece lies in the
 * page cache in small pages when memory is short or in pieces, and is streamed a third slower for as
 * long as it stays there; read through a mapping it comes in 2 MiB pages. */
void elm_file_forget(const elm_file *file);
elm_status elm_file_truncate(const elm_file *file, uint64_t size, elm_error *err) ELM_MUST_CHECK;
/* A disk that fills up later does not stop the writer of these `size` bytes. A truncation gives back
 * what was not used. */
elm_status elm_file_reserve(const elm_file *file, uint64_t size, elm_error *err) ELM_MUST_CHECK;
/* One writer at a time: ELM_IO when another holds it. */
elm_status elm_file_lock(const elm_file *file, elm_error *err) ELM_MUST_CHECK;
elm_status elm_file_is_at(const elm_file *file, const char *path, bool *out,
                          elm_error *err) ELM_MUST_CHECK;
/* A file that takes another's place is not more readable than that one was. */
void elm_file_copy_mode(const elm_file *from, const elm_file *to);
/* The failure of elm_file_lock, for who finds out in another way. */
elm_status elm_file_fail_busy(const char *path, elm_error *err);

/* Maps the whole file read only. An empty file gives an empty span. Unmap before closing. */
elm_status elm_file_map(const elm_file *file, elm_span *out, elm_error *err) ELM_MUST_CHECK;
void elm_file_unmap(const elm_file *file, elm_span span);

elm_status elm_path_kind_of(const struct elm_platform *p, const char *path, elm_path_kind *out,
                            elm_error *err) ELM_MUST_CHECK;
elm_status elm_path_rename(const struct elm_platform *p, const char *from, const char *to,
                           elm_error *err) ELM_MUST_CHECK;
/* Removing what is not there is fine. */
elm_status elm_path_remove(const struct elm_platform *p, const char *path,
                           elm_error *err) ELM_MUST_CHECK;
elm_status elm_path_sync_folder(const struct elm_platform *p, const char *path,
                                elm_error *err) ELM_MUST_CHECK;
elm_status elm_path_free_space(const struct elm_platform *p, const char *path, uint64_t *out,
                               elm_error *err) ELM_MUST_CHECK;

/* Reads a whole file of at most `max_bytes` into the arena. A NUL byte follows the span's end. */
elm_status elm_file_slurp(const struct elm_platform *p, const char *path, uint64_t max_bytes,
                          elm_arena *arena, elm_span *out, elm_error *err) ELM_MUST_CHECK;

/* "folder/name" in the arena; NULL when memory runs out. */
char *elm_path_join(elm_arena *arena, const char *folder, const char *name);

#endif
