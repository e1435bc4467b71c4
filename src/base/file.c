/* file.c - what the rest of the code calls: loops over short reads, EINTR, and messages; base. */
#include "base/platform.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { MAX_RETRIES = 1000 }; /* of EINTR and of calls that move nothing */

static elm_status fail_errno(elm_error *err, const char *what, const char *path, int64_t result) {
    int number = (int)-result;
    switch (number) {
    case ENOENT:
    case EACCES:
    case EPERM:
    case ENOTDIR:
    case EISDIR:
    case ELOOP:
    case ENAMETOOLONG:
        return elm_fail(err, ELM_NOT_FOUND, "cannot %s '%s': %s", what, path, strerror(number));
    case ESPIPE:
        return elm_fail(err, ELM_NOT_FOUND, "'%s' is a pipe or a device; give the path of a file",
                        path);
    case ENOMEM:
        return elm_fail(err, ELM_OUT_OF_MEMORY, "cannot %s '%s': %s", what, path, strerror(number));
    case ENOSPC:
    case EDQUOT:
        return elm_fail(err, ELM_IO, "cannot %s '%s': no space left; free some and try again", what,
                        path);
    case EROFS:
        return elm_fail(err, ELM_IO, "cannot %s '%s': the file system is read-only", what, path);
    default:
        return elm_fail(err, ELM_IO, "cannot %s '%s': %s", what, path, strerror(number));
    }
}

elm_status elm_file_open(const elm_platform *p, const char *path, elm_open_mode mode, elm_file *out,
                         elm_error *err) {
    size_t n = strlen(path) + 1;
    memset(out, 0, sizeof *out);
    ELM_TRY(elm_alloc(p->alloc, n, "a path", &out->path, err));
    memcpy(out->path, path, n);
    out->io = p->io;
    out->alloc = p->alloc;
    int result = -EINTR;
    for (int i = 0; i < MAX_RETRIES && result == -EINTR; i++) {
        result = p->io->open(p->io->self, path, mode, &out->handle);
    }
    if (result == 0) return ELM_OK;
    elm_status status = fail_errno(err, mode == ELM_OPEN_CREATE ? "create" : "open", path, result);
    elm_file_close(out);
    return status;
}

void elm_file_close(elm_file *file) {
    if (file->handle) file->io->close(file->io->self, file->handle);
    if (file->path) elm_free(file->alloc, file->path, strlen(file->path) + 1);
    memset(file, 0, sizeof *file);
}

elm_status elm_file_size(const elm_file *file, uint64_t *out, elm_error *err) {
    int64_t result = file->io->size(file->io->self, file->handle);
    *out = result < 0 ? 0 : (uint64_t)result;
    return result < 0 ? fail_errno(err, "read the size of", file->path, result) : ELM_OK;
}

elm_status elm_file_read_at(const elm_file *file, uint64_t offset, void *data, size_t size,
                            elm_error *err) {
    size_t done = 0;
    for (int idle = 0; done < size && idle < MAX_RETRIES;) {
        int64_t n = file->io->read_at(file->io->self, file->handle, offset + done,
                                      (uint8_t *)data + done, size - done);
        if (n == 0) {
            return elm_fail(err, ELM_MALFORMED,
                            "'%s' ends at byte %llu; %zu more were expected (truncated?)",
                            file->path, (unsigned long long)(offset + done), size - done);
        }
        if (n < 0 && n != -EINTR) return fail_errno(err, "read", file->path, n);
        if (n > 0) done += (size_t)n;
        idle = n > 0 ? 0 : idle + 1;
    }
    return done == size ? ELM_OK : fail_errno(err, "read", file->path, -EIO);
}

elm_status elm_file_write_at(const elm_file *file, uint64_t offset, const void *data, size_t size,
                             elm_error *err) {
    size_t done = 0;
    for (int idle = 0; done < size && idle < MAX_RETRIES;) {
        int64_t n = file->io->write_at(file->io->self, file->handle, offset + done,
                                       (const uint8_t *)data + done, size - done);
        if (n < 0 && n != -EINTR) return fail_errno(err, "write", file->path, n);
        if (n > 0) done += (size_t)n;
        idle = n > 0 ? 0 : idle + 1;
    }
    return done == size ? ELM_OK : fail_errno(err, "write", file->path, -EIO);
}

/* For the calls that answer 0 or a negative errno. */
static elm_status check(int result, const char *what, const char *path, elm_error *err) {
    return result == 0 ? ELM_OK : fail_errno(err, what, path, result);
}

elm_status elm_file_sync(const elm_file *file, elm_error *err) {
    return check(file->io->sync(file->io->self, file->handle), "sync", file->path, err);
}

void elm_file_forget(const elm_file *file) {
    file->io->forget(file->io->self, file->handle);
}

elm_status elm_file_truncate(const elm_file *file, uint64_t size, elm_error *err) {
    return check(file->io->truncate(file->io->self, file->handle, size), "resize", file->path, err);
}

elm_status elm_file_reserve(const elm_file *file, uint64_t size, elm_error *err) {
    int result = -EINTR;
    for (int i = 0; i < MAX_RETRIES && result == -EINTR; i++)
        result = size > 0 ? file->io->reserve(file->io->self, file->handle, size) : 0;
    return check(result, "reserve room for", file->path, err);
}

elm_status elm_file_fail_busy(const char *path, elm_error *err) {
    return elm_fail(err, ELM_IO,
                    "'%s' is being written by another program; try again when it is done", path);
}

elm_status elm_file_lock(const elm_file *file, elm_error *err) {
    int result = file->io->lock(file->io->self, file->handle);
    if (result == -EAGAIN) return elm_file_fail_busy(file->path, err);
    return check(result, "lock", file->path, err);
}

elm_status elm_file_is_at(const elm_file *file, const char *path, bool *out, elm_error *err) {
    *out = false;
    return check(file->io->is_at(file->io->self, file->handle, path, out), "look at", path, err);
}

void elm_file_copy_mode(const elm_file *from, const elm_file *to) {
    from->io->copy_mode(from->io->self, from->handle, to->handle);
}

elm_status elm_file_map(const elm_file *file, elm_span *out, elm_error *err) {
    uint64_t size;
    const void *data = NULL;
    *out = elm_span_of(NULL, 0);
    ELM_TRY(elm_file_size(file, &size, err));
    if (size == 0) return ELM_OK;
    if (size > SIZE_MAX)
        return elm_fail(err, ELM_UNSUPPORTED, "'%s' is too large to map here", file->path);
    ELM_TRY(
        check(file->io->map(file->io->self, file->handle, size, &data), "map", file->path, err));
    *out = elm_span_of(data, (size_t)size);
    return ELM_OK;
}

void elm_file_unmap(const elm_file *file, elm_span span) {
    if (span.size > 0) file->io->unmap(file->io->self, span.data, span.size);
}

elm_status elm_path_kind_of(const elm_platform *p, const char *path, elm_path_kind *out,
                            elm_error *err) {
    return check(p->io->kind(p->io->self, path, out), "look at", path, err);
}

elm_status elm_path_rename(const elm_platform *p, const char *from, const char *to,
                           elm_error *err) {
    return check(p->io->rename(p->io->self, from, to), "rename to", to, err);
}

elm_status elm_path_remove(const elm_platform *p, const char *path, elm_error *err) {
    int result = p->io->remove(p->io->self, path);
    return result == -ENOENT ? ELM_OK : check(result, "remove", path, err);
}

elm_status elm_path_sync_folder(const elm_platform *p, const char *path, elm_error *err) {
    return check(p->io->sync_folder(p->io->self, path), "sync the folder of", path, err);
}

elm_status elm_path_free_space(const elm_platform *p, const char *path, uint64_t *out,
                               elm_error *err) {
    int64_t result = p->io->free_space(p->io->self, path);
    *out = result < 0 ? 0 : (uint64_t)result;
    return result < 0 ? fail_errno(err, "measure the free space for", path, result) : ELM_OK;
}

elm_status elm_file_slurp(const elm_platform *p, const char *path, uint64_t max_bytes,
                          elm_arena *arena, elm_span *out, elm_error *err) {
    elm_file file;
    uint64_t size = 0;
    uint8_t *data = NULL;
    *out = elm_span_of(NULL, 0);
    ELM_TRY(elm_file_open(p, path, ELM_OPEN_READ, &file, err));
    elm_status status = elm_file_size(&file, &size, err);
    if (status == ELM_OK && size > max_bytes) {
        status = elm_fail(err, ELM_MALFORMED, "'%s' has %llu bytes; at most %llu are accepted",
                          path, (unsigned long long)size, (unsigned long long)max_bytes);
    }
    if (status == ELM_OK && !(data = elm_arena_alloc(arena, (size_t)size + 1, 16))) {
        status = elm_fail_oom(err, (size_t)size, path);
    }
    if (status == ELM_OK) status = elm_file_read_at(&file, 0, data, (size_t)size, err);
    if (status == ELM_OK) *out = elm_span_of(data, (size_t)size);
    elm_file_close(&file);
    return status;
}

char *elm_path_join(elm_arena *arena, const char *folder, const char *name) {
    size_t n = strlen(folder);
    return elm_arena_printf(arena, n > 0 && folder[n - 1] == '/' ? "%s%s" : "%s/%s", folder, name);
}
