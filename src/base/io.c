/* The real calls behind io.h. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"

static int real_open(const io *self, int dir, const char *name, int flags) {
    (void)self;
    int fd;
    do fd = openat(dir, name, flags | O_CLOEXEC, 0600);
    while (fd < 0 && errno == EINTR);
    return fd < 0 ? -errno : fd;
}

static int real_close(const io *self, int fd) {
    (void)self;
    return close(fd) < 0 ? -errno : 0;
}

static int64_t real_pread(const io *self, int fd, void *p, size_t n, uint64_t at) {
    (void)self;
    size_t done = 0;
    while (done < n) {
        ssize_t got = pread(fd, (uint8_t *)p + done, n - done, (off_t)(at + done));
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return -errno;
        if (got == 0) break;
        done += (size_t)got;
    }
    return (int64_t)done;
}

static int64_t real_pread_nowait(const io *self, int fd, void *p, size_t n, uint64_t at) {
    (void)self;
    struct iovec v = {.iov_base = p, .iov_len = n};
    ssize_t got;
    do got = preadv2(fd, &v, 1, (off_t)at, RWF_NOWAIT);
    while (got < 0 && errno == EINTR);
    /* A file system that cannot promise not to wait is asked on a thread that may. */
    if (got < 0) return errno == EOPNOTSUPP || errno == ENOSYS ? -EAGAIN : -errno;
    return got;
}

static int real_pwrite(const io *self, int fd, const void *p, size_t n, uint64_t at) {
    (void)self;
    size_t done = 0;
    while (done < n) {
        ssize_t put = pwrite(fd, (const uint8_t *)p + done, n - done, (off_t)(at + done));
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return -errno;
        if (put == 0) return -EIO;
        done += (size_t)put;
    }
    return 0;
}

/* fdatasync and fsync are not repeated after EINTR or anything else: what a failed sync lost is
 * unknown. */
static int real_fdatasync(const io *self, int fd) {
    (void)self;
    return fdatasync(fd) < 0 ? -errno : 0;
}

static int real_fsync(const io *self, int fd) {
    (void)self;
    return fsync(fd) < 0 ? -errno : 0;
}

static int real_writeback(const io *self, int fd, uint64_t at, uint64_t n) {
    (void)self;
    return sync_file_range(fd, (off_t)at, (off_t)n, SYNC_FILE_RANGE_WRITE) < 0 ? -errno : 0;
}

static int real_fallocate(const io *self, int fd, uint64_t at, uint64_t n) {
    (void)self;
    int r;
    do r = fallocate(fd, 0, (off_t)at, (off_t)n);
    while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : 0;
}

static int real_punch(const io *self, int fd, uint64_t at, uint64_t n) {
    (void)self;
    int r;
    do r = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at, (off_t)n);
    while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : 0;
}

static int real_truncate(const io *self, int fd, uint64_t n) {
    (void)self;
    int r;
    do r = ftruncate(fd, (off_t)n);
    while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : 0;
}

static int real_rename(const io *self, int dir, const char *from, const char *to) {
    (void)self;
    return renameat(dir, from, dir, to) < 0 ? -errno : 0;
}

static int real_rmdir(const io *self, int dir, const char *name) {
    (void)self;
    return unlinkat(dir, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

static int real_unlink(const io *self, int dir, const char *name) {
    (void)self;
    return unlinkat(dir, name, 0) < 0 ? -errno : 0;
}

static int real_mkdir(const io *self, int dir, const char *name) {
    (void)self;
    return mkdirat(dir, name, 0700) < 0 ? -errno : 0;
}

static int real_lock(const io *self, int fd) {
    (void)self;
    return flock(fd, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
}

static int real_share(const io *self, int fd) {
    (void)self;
    return flock(fd, LOCK_SH | LOCK_NB) < 0 ? -errno : 0;
}

static int real_stat(const io *self, int fd, uint64_t *ret_size, uint64_t *ret_allocated) {
    (void)self;
    struct stat st;
    if (fstat(fd, &st) < 0) return -errno;
    *ret_size = (uint64_t)st.st_size;
    *ret_allocated = (uint64_t)st.st_blocks * 512;
    return 0;
}

static int real_next_data(const io *self, int fd, uint64_t at, uint64_t *ret_from,
                          uint64_t *ret_to) {
    (void)self;
    off_t from = lseek(fd, (off_t)at, SEEK_DATA);
    if (from < 0) return -errno;
    off_t to = lseek(fd, from, SEEK_HOLE);
    if (to < 0) return -errno;
    *ret_from = (uint64_t)from;
    *ret_to = (uint64_t)to;
    return 0;
}

static int real_list(const io *self, int dir, void (*each)(void *ctx, const char *name),
                     void *ctx) {
    (void)self;
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return -errno;
    DIR *d = fdopendir(fd);
    if (d == NULL) {
        int r = -errno;
        close(fd);
        return r;
    }
    errno = 0;
    for (struct dirent *entry; (entry = readdir(d)) != NULL; errno = 0) {
        if (entry->d_name[0] != '.') each(ctx, entry->d_name);
    }
    int r = -errno;
    closedir(d);
    return r;
}

static int real_free_space(const io *self, int fd, uint64_t *ret_free, uint64_t *ret_total) {
    (void)self;
    struct statvfs st;
    if (fstatvfs(fd, &st) < 0) return -errno;
    if (st.f_blocks == 0) return -ENOSYS; /* file systems in user space that do not count */
    *ret_free = (uint64_t)st.f_bavail * st.f_frsize;
    *ret_total = (uint64_t)st.f_blocks * st.f_frsize;
    return 0;
}

static int64_t clock_us(clockid_t clock) {
    struct timespec now;
    MUST(clock_gettime(clock, &now) == 0);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t real_wall_us(const io *self) {
    (void)self;
    return clock_us(CLOCK_REALTIME);
}

static int64_t real_mono_us(const io *self) {
    (void)self;
    return clock_us(CLOCK_MONOTONIC);
}

static void real_random(const io *self, void *out, size_t n) {
    (void)self;
    for (uint8_t *p = out; n > 0;) {
        ssize_t got = getrandom(p, n, 0);
        if (got < 0 && errno == EINTR) continue;
        MUST(got > 0);
        p += got;
        n -= (size_t)got;
    }
}

const io io_real = {
    .open = real_open,
    .close = real_close,
    .pread = real_pread,
    .pread_nowait = real_pread_nowait,
    .pwrite = real_pwrite,
    .fdatasync = real_fdatasync,
    .fsync = real_fsync,
    .writeback = real_writeback,
    .fallocate = real_fallocate,
    .punch = real_punch,
    .truncate = real_truncate,
    .rename = real_rename,
    .unlink = real_unlink,
    .rmdir = real_rmdir,
    .mkdir = real_mkdir,
    .lock = real_lock,
    .share = real_share,
    .stat = real_stat,
    .next_data = real_next_data,
    .list = real_list,
    .free_space = real_free_space,
    .wall_us = real_wall_us,
    .mono_us = real_mono_us,
    .random = real_random,
};

int io_zero(const io *t, int fd, uint64_t from, uint64_t to) {
    static const uint8_t zeros[65536];
    int r = 0;
    for (uint64_t at = from; r == 0 && at < to; at += sizeof zeros)
        r = t->pwrite(t, fd, zeros, to - at < sizeof zeros ? (size_t)(to - at) : sizeof zeros, at);
    return r;
}

int io_wipe(const io *t, int dir, const char *name) {
    uint64_t size = 0, allocated;
    const int fd = t->open(t, dir, name, O_WRONLY);
    if (fd < 0) return fd == -ENOENT ? 0 : fd;
    int r = t->stat(t, fd, &size, &allocated);
    if (r == 0) r = io_zero(t, fd, 0, size);
    if (r == 0) r = t->fdatasync(t, fd);
    t->close(t, fd);
    return r;
}

static const io *_Atomic in_use = &io_real;

const io *io_in_use(void) {
    return atomic_load_explicit(&in_use, memory_order_relaxed);
}

void io_use(const io *t) {
    atomic_store(&in_use, t);
}

/* As io_first_data, of a range that is no hole. */
static int first_in(const io *t, int fd, uint64_t from, uint64_t to, uint64_t *ret) {
    uint8_t piece[16384];
    while (from < to) {
        const size_t n = to - from < sizeof piece ? (size_t)(to - from) : sizeof piece;
        const int64_t got = t->pread(t, fd, piece, n, from);
        if (got <= 0) return (int)got; /* the file ends here */
        for (int64_t i = 0; i < got; i++) {
            if (piece[i] == 0) continue;
            *ret = from + (uint64_t)i;
            return 1;
        }
        from += (uint64_t)got;
    }
    return 0;
}

int io_first_data(const io *t, int fd, uint64_t from, uint64_t to, uint64_t *ret) {
    while (from < to) {
        uint64_t data, data_end;
        int r = t->next_data(t, fd, from, &data, &data_end);
        if (r == -ENXIO || (r == 0 && data >= to)) return 0;
        if (r == 0) r = first_in(t, fd, data, data_end < to ? data_end : to, ret);
        if (r != 0) return r;
        from = data_end;
    }
    return 0;
}
