/* file_posix.c - the io vtable over POSIX. Results are counts or negative errno values; base. */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { MAX_PATH_BYTES = 4096 };

static int fd_of(void *handle) {
    return (int)(intptr_t)handle - 1;
}

static int posix_open(void *self, const char *path, elm_open_mode mode, void **out) {
    int flags = O_RDONLY | O_NONBLOCK; /* a pipe that nobody writes to must not be waited for */
    (void)self;
    if (mode == ELM_OPEN_CREATE) flags = O_RDWR | O_CREAT | O_TRUNC;
    if (mode == ELM_OPEN_UPDATE) flags = O_RDWR;
    int fd = open(path, flags | O_CLOEXEC, 0666);
    if (fd < 0) return -errno;
    *out = (void *)(intptr_t)(fd + 1); /* so that NULL means closed */
    return 0;
}

static void posix_close(void *self, void *handle) {
    (void)self;
    close(fd_of(handle));
}

static int64_t posix_size(void *self, void *handle) {
    struct stat st;
    (void)self;
    if (fstat(fd_of(handle), &st) != 0) return -errno;
    if (S_ISDIR(st.st_mode)) return -EISDIR;
    if (!S_ISREG(st.st_mode)) return -ESPIPE;
    return st.st_size;
}

static int64_t posix_read_at(void *self, void *handle, uint64_t offset, void *data, size_t size) {
    (void)self;
    ssize_t n = pread(fd_of(handle), data, size, (off_t)offset);
    return n < 0 ? -errno : n;
}

static int64_t posix_write_at(void *self, void *handle, uint64_t offset, const void *data,
                              size_t size) {
    (void)self;
    ssize_t n = pwrite(fd_of(handle), data, size, (off_t)offset);
    return n < 0 ? -errno : n;
}

static int posix_sync(void *self, void *handle) {
    (void)self;
    return fdatasync(fd_of(handle)) == 0 ? 0 : -errno;
}

static void posix_forget(void *self, void *handle) {
    (void)self;
    (void)posix_fadvise(fd_of(handle), 0, 0, POSIX_FADV_DONTNEED);
}

static int posix_truncate(void *self, void *handle, uint64_t size) {
    (void)self;
    return ftruncate(fd_of(handle), (off_t)size) == 0 ? 0 : -errno;
}

/* Not posix_fallocate, which writes to every block where the file system cannot. */
static int posix_reserve(void *self, void *handle, uint64_t size) {
    (void)self;
#ifdef FALLOC_FL_KEEP_SIZE
    if (fallocate(fd_of(handle), FALLOC_FL_KEEP_SIZE, 0, (off_t)size) == 0) return 0;
    return errno == EOPNOTSUPP || errno == ENOSYS ? 0 : -errno;
#else
    (void)handle, (void)size;
    return 0;
#endif
}

static int posix_map(void *self, void *handle, uint64_t size, const void **out) {
    (void)self;
    void *data = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, fd_of(handle), 0);
    if (data == MAP_FAILED) return -errno;
#ifdef MADV_HUGEPAGE
    /* Weights are streamed: with 4 KiB pages a third of the bandwidth goes to address translation.
     * A file system with large folios then reads the file in 2 MiB pieces and maps them as such;
     * others ignore it. */
    (void)madvise(data, (size_t)size, MADV_HUGEPAGE);
#endif
    *out = data;
    return 0;
}

static void posix_unmap(void *self, const void *data, uint64_t size) {
    (void)self;
    munmap((void *)(uintptr_t)data, (size_t)size);
}

static void posix_advise(void *self, const void *data, uint64_t size, elm_map_advice advice) {
    int how = advice == ELM_MAP_RANDOM     ? MADV_RANDOM
              : advice == ELM_MAP_WILLNEED ? MADV_WILLNEED
                                           : MADV_NORMAL;
    (void)self;
#ifdef MADV_NOHUGEPAGE
    /* Where huge pages are asked for a fault reads 2 MiB, whatever else is advised. */
    if (advice == ELM_MAP_RANDOM)
        (void)madvise((void *)(uintptr_t)data, (size_t)size, MADV_NOHUGEPAGE);
#endif
    madvise((void *)(uintptr_t)data, (size_t)size, how);
}

static int posix_lock(void *self, void *handle) {
    (void)self;
    if (flock(fd_of(handle), LOCK_EX | LOCK_NB) == 0) return 0;
    return errno == EWOULDBLOCK ? -EAGAIN : -errno;
}

static int posix_rename(void *self, const char *from, const char *to) {
    (void)self;
    return rename(from, to) == 0 ? 0 : -errno;
}

static int posix_remove(void *self, const char *path) {
    (void)self;
    return unlink(path) == 0 ? 0 : -errno;
}

/* The folder that holds `path`: "." when it names none, "/" when it is the root. */
static int folder_of(const char *path, char out[MAX_PATH_BYTES]) {
    const char *slash = strrchr(path, '/');
    int n = slash == path ? 1 : slash ? (int)(slash - path) : 1;
    if (n >= MAX_PATH_BYTES) return -ENAMETOOLONG;
    snprintf(out, MAX_PATH_BYTES, "%.*s", n, slash ? path : ".");
    return 0;
}

static int posix_sync_folder(void *self, const char *path) {
    char folder[MAX_PATH_BYTES];
    (void)self;
    int result = folder_of(path, folder);
    if (result != 0) return result;
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -errno;
    result = fsync(fd) == 0 ? 0 : -errno;
    close(fd);
    /* Some file systems cannot sync a folder and say so; there is nothing better to do on them. */
    return result == -EINVAL || result == -ENOTSUP ? 0 : result;
}

static int64_t posix_free_space(void *self, const char *path) {
    char folder[MAX_PATH_BYTES];
    struct statvfs fs;
    (void)self;
    int result = folder_of(path, folder);
    if (result != 0) return result;
    if (statvfs(folder, &fs) != 0) return -errno;
    uint64_t bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    return bytes > INT64_MAX ? INT64_MAX : (int64_t)bytes;
}

static int posix_kind(void *self, const char *path, elm_path_kind *out) {
    struct stat st;
    (void)self;
    *out = ELM_PATH_NONE;
    if (stat(path, &st) != 0) return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
    *out = S_ISDIR(st.st_mode)   ? ELM_PATH_FOLDER
           : S_ISREG(st.st_mode) ? ELM_PATH_FILE
                                 : ELM_PATH_OTHER;
    return 0;
}

static int posix_is_at(void *self, void *handle, const char *path, bool *out) {
    struct stat open_one, named;
    (void)self;
    *out = false;
    if (fstat(fd_of(handle), &open_one) != 0) return -errno;
    if (stat(path, &named) != 0) return errno == ENOENT ? 0 : -errno;
    *out = open_one.st_dev == named.st_dev && open_one.st_ino == named.st_ino;
    return 0;
}

static void posix_copy_mode(void *self, void *from, void *to) {
    struct stat st;
    (void)self;
    if (fstat(fd_of(from), &st) == 0) (void)!fchmod(fd_of(to), st.st_mode & 0777);
}

const elm_io *elm_io_posix(void) {
    static const elm_io io = {
        NULL,          posix_open,        posix_close,
        posix_size,    posix_read_at,     posix_write_at,
        posix_sync,    posix_forget,      posix_truncate,
        posix_reserve, posix_map,         posix_unmap,
        posix_advise,  posix_lock,        posix_rename,
        posix_remove,  posix_sync_folder, posix_free_space,
        posix_kind,    posix_is_at,       posix_copy_mode,
    };
    return &io;
}
