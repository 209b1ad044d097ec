/* libc's file calls, defined anew: faults.h says why. Each finds out whether it concerns a file under the
 * root; then it waits for its turn (one at a time), asks what is to happen to it, does it to the real file
 * and to the model. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#include "faults.h"

#define FDS_MAX 65536

static struct {
    atomic_flag lock;
    atomic_bool on;
    char root[FAULT_PATH_MAX];
    size_t root_len;
    fault_plan *plan;
    void (*at_cut)(void);
    disk_file *fds[FDS_MAX];
    char *names[FDS_MAX]; /* of those, and of files that are only read; in the region */
} f = {.lock = ATOMIC_FLAG_INIT};

static void lock(void) {
    for (int i = 0; atomic_flag_test_and_set_explicit(&f.lock, memory_order_acquire); i++)
        if (i > 50) sched_yield();
}

static void unlock(void) {
    atomic_flag_clear_explicit(&f.lock, memory_order_release);
}

void faults_begin(const char *root, fault_plan *plan, void (*at_cut)(void)) {
    snprintf(f.root, sizeof f.root, "%s", root);
    f.root_len = strlen(f.root);
    f.plan = plan;
    f.at_cut = at_cut;
    memset(f.fds, 0, sizeof f.fds);
    atomic_store(&f.on, true);
}

void faults_end(void) {
    atomic_store(&f.on, false);
}

void faults_stop_here(void (*fn)(void)) {
    lock();
    if (fn != NULL) fn();
    syscall(SYS_exit_group, 137);
}

bool fault_left_alone(const char *text) {
    return strncmp(text, "rows/LOG", 8) == 0 || strncmp(text, "rows/LOCK", 9) == 0;
}

/* ---- which file ---- */

static bool is_on(void) {
    return atomic_load_explicit(&f.on, memory_order_relaxed);
}

static disk_file *file_of(int fd) {
    return fd >= 0 && fd < FDS_MAX ? f.fds[fd] : NULL;
}

static bool is_named(int fd) {
    return fd >= 0 && fd < FDS_MAX && f.names[fd] != NULL;
}

static void set_fd(int fd, disk_file *file, const char *text) {
    if (fd < 0 || fd >= FDS_MAX) return;
    if (f.names[fd] != NULL) region_give(f.names[fd], FAULT_PATH_MAX);
    f.names[fd] = NULL;
    f.fds[fd] = file;
    if (text == NULL) return;
    f.names[fd] = region_take(FAULT_PATH_MAX);
    fault_copy(f.names[fd], text);
}

/* The name below the root; false: it is somewhere else. */
static bool below(int dir, const char *path, char out[FAULT_PATH_MAX]) {
    char joined[2 * FAULT_PATH_MAX];
    if (path[0] == '/') {
        if (strncmp(path, f.root, f.root_len) != 0) return false;
        if (path[f.root_len] != '/' && path[f.root_len] != 0) return false;
        snprintf(joined, sizeof joined, "%s", path + f.root_len);
    } else {
        if (file_of(dir) == NULL || strncmp(path, "..", 2) == 0) return false;
        snprintf(joined, sizeof joined, "%s/%s", f.names[dir], path);
    }
    size_t n = 0;
    for (const char *c = joined; *c != 0 && n + 1 < FAULT_PATH_MAX; c++)
        if (*c != '/' || (n > 0 && out[n - 1] != '/')) out[n++] = *c;
    while (n > 0 && (out[n - 1] == '/' || out[n - 1] == '.')) {
        if (out[n - 1] == '.' && n > 1 && out[n - 2] != '/') break;
        n--;
    }
    out[n] = 0;
    return !fault_left_alone(out);
}

/* ---- what is to happen ---- */

static void cut(void) {
    f.plan->is_cut = 1;
    f.plan->cuts++;
    f.at_cut();
    abort();
}

static void tell(unsigned call, const char *text) {
    static const char *const names[] = {"make",  "write",  "sync",   "truncate", "allocate",
                                        "punch", "rename", "remove", "mkdir",    "read"};
    char line[FAULT_PATH_MAX + 64];
    const int n = snprintf(line, sizeof line, "      [%llu] %s %s\n",
                           (unsigned long long)f.plan->changes, names[__builtin_ctz(call)], text);
    (void)syscall(SYS_write, 2, line, n);
}

/* An errno, or 0. Under the lock. */
static int verdict(unsigned call, const char *text) {
    fault_plan *p = f.plan;
    if (p->tell) tell(call, text);
    p->calls++;
    if (call & FAULT_SYNC) p->syncs++;
    if (call & FAULT_CHANGES) p->changes++;
    for (size_t i = 0; i < FAULT_RULES; i++) {
        fault_rule *r = &p->rules[i];
        if (r->countdown == 0 || !(r->calls & call) || (r->match[0] && !strstr(text, r->match)))
            continue;
        if (r->countdown > 1) {
            r->countdown--;
            continue;
        }
        if (!r->sticky) r->countdown = 0;
        p->injected++;
        return r->error;
    }
    return 0;
}

/* Behind each change: the power goes with it half done, since what it did is not synced. */
static void maybe_cut(void) {
    fault_plan *p = f.plan;
    p->unsynced = disk_unsynced();
    if (p->cut_now || (p->cut_at != 0 && p->changes >= p->cut_at)) cut();
}

static int answer(long r) {
    return (int)r; /* syscall() has set errno */
}

static int refuse(int error) {
    unlock();
    errno = error == FAULT_SHORT ? EIO : error;
    return -1;
}

/* ---- open, close ---- */

static int open_below(int dir, const char *path, int flags, mode_t mode, const char *text) {
    lock();
    disk_file *file = disk_find(text);
    const bool makes = file == NULL && (flags & O_CREAT);
    const int no = verdict(makes ? FAULT_OPEN : FAULT_READ, text);
    if (no) return refuse(no);
    /* The model is the disk: nothing is gained by going past the page cache. */
    const int fd = answer(syscall(SYS_openat, dir, path, flags & ~O_DIRECT, mode));
    const int error = errno;
    if (fd >= 0) {
        if (makes) file = disk_make(text, false);
        if (file != NULL && (flags & O_TRUNC) && !makes) disk_truncate(file, 0);
        const bool uses = file != NULL && ((flags & O_ACCMODE) != O_RDONLY || disk_is_folder(file));
        set_fd(fd, uses ? file : NULL, text);
        if (makes) maybe_cut();
    }
    unlock();
    errno = error;
    return fd;
}

static int do_open(int dir, const char *path, int flags, mode_t mode) {
    char text[FAULT_PATH_MAX];
    if (is_on() && below(dir, path, text)) return open_below(dir, path, flags, mode, text);
    const int fd = answer(syscall(SYS_openat, dir, path, flags, mode));
    if (is_on() && is_named(fd)) {
        lock();
        set_fd(fd, NULL, NULL);
        unlock();
    }
    return fd;
}

static mode_t mode_of(int flags, va_list *args) {
    return flags & (O_CREAT | __O_TMPFILE) ? va_arg(*args, mode_t) : 0;
}

int open(const char *path, int flags, ...) {
    va_list args;
    va_start(args, flags);
    const mode_t mode = mode_of(flags, &args);
    va_end(args);
    return do_open(AT_FDCWD, path, flags, mode);
}

int openat(int dir, const char *path, int flags, ...) {
    va_list args;
    va_start(args, flags);
    const mode_t mode = mode_of(flags, &args);
    va_end(args);
    return do_open(dir, path, flags, mode);
}

/* What _FORTIFY_SOURCE makes of them. */
int __open_2(const char *path, int flags);
int __openat_2(int dir, const char *path, int flags);
int __open_2(const char *path, int flags) {
    return do_open(AT_FDCWD, path, flags, 0);
}
int __openat_2(int dir, const char *path, int flags) {
    return do_open(dir, path, flags, 0);
}

int close(int fd) {
    if (is_on() && is_named(fd)) {
        lock();
        set_fd(fd, NULL, NULL);
        unlock();
    }
    return answer(syscall(SYS_close, fd));
}

/* ---- writing ---- */

/* at < 0: where the file stands. */
static ssize_t write_to(int fd, const void *p, size_t n, off_t at) {
    lock();
    disk_file *file = file_of(fd);
    const int no = verdict(FAULT_WRITE, f.names[fd]);
    if (no == FAULT_SHORT && n > 1)
        n = 1 + fault_mix(f.plan->seed, f.plan->calls) % (n - 1);
    else if (no)
        return refuse(no);
    const off_t from = at >= 0 ? at : (off_t)syscall(SYS_lseek, fd, 0, SEEK_CUR);
    const long put = at >= 0 ? syscall(SYS_pwrite64, fd, p, n, at) : syscall(SYS_write, fd, p, n);
    const int error = errno;
    if (put > 0) {
        disk_write(file, (uint64_t)from, p, (size_t)put);
        maybe_cut();
    }
    unlock();
    errno = error;
    return put;
}

ssize_t write(int fd, const void *p, size_t n) {
    if (is_on() && file_of(fd) != NULL) return write_to(fd, p, n, -1);
    return syscall(SYS_write, fd, p, n);
}

ssize_t pwrite(int fd, const void *p, size_t n, off_t at) {
    if (is_on() && file_of(fd) != NULL) return write_to(fd, p, n, at);
    return syscall(SYS_pwrite64, fd, p, n, at);
}

int ftruncate(int fd, off_t size) {
    if (!is_on() || file_of(fd) == NULL) return answer(syscall(SYS_ftruncate, fd, size));
    lock();
    const int no = verdict(FAULT_TRUNCATE, f.names[fd]);
    if (no) return refuse(no);
    const int r = answer(syscall(SYS_ftruncate, fd, size));
    const int error = errno;
    if (r == 0) {
        disk_truncate(file_of(fd), (uint64_t)size);
        maybe_cut();
    }
    unlock();
    errno = error;
    return r;
}

int fallocate(int fd, int mode, off_t at, off_t n) {
    if (!is_on() || file_of(fd) == NULL) return answer(syscall(SYS_fallocate, fd, mode, at, n));
    lock();
    const bool punch = mode & FALLOC_FL_PUNCH_HOLE;
    const int no = verdict(punch ? FAULT_PUNCH : FAULT_ALLOCATE, f.names[fd]);
    if (no) return refuse(no);
    disk_file *file = file_of(fd);
    int r = 0, error = 0;
    if (punch) {
        r = answer(syscall(SYS_fallocate, fd, mode, at, n));
        error = errno;
        if (r == 0) disk_punch(file, (uint64_t)at, (uint64_t)n);
    } else if (!(mode & FALLOC_FL_KEEP_SIZE) && (uint64_t)(at + n) > disk_size(file)) {
        r = answer(syscall(SYS_ftruncate, fd, at + n)); /* no space is held */
        error = errno;
        if (r == 0) disk_truncate(file, (uint64_t)(at + n));
    }
    if (r == 0) maybe_cut();
    unlock();
    errno = error;
    return r;
}

/* ---- syncs ---- */

static int sync_of(int fd) {
    lock();
    disk_file *file = file_of(fd);
    const char *text = f.names[fd];
    const int no = verdict(FAULT_SYNC, text);
    if (no) {
        disk_sync_failed(file, fault_mix(f.plan->seed, f.plan->calls));
        return refuse(f.plan->no_space_is_io && no == ENOSPC ? EIO : no);
    }
    maybe_cut(); /* before it is done */
    if (!f.plan->lie || strstr(text, f.plan->lie_about) == NULL) disk_sync(file);
    unlock();
    return 0;
}

int fsync(int fd) {
    return is_on() && file_of(fd) != NULL ? sync_of(fd) : answer(syscall(SYS_fsync, fd));
}

int fdatasync(int fd) {
    return is_on() && file_of(fd) != NULL ? sync_of(fd) : answer(syscall(SYS_fdatasync, fd));
}

/* Starts what a power cut may still undo. */
int sync_file_range(int fd, off_t at, off_t n, unsigned flags) {
    if (is_on() && file_of(fd) != NULL) return 0;
    return answer(syscall(SYS_sync_file_range, fd, at, n, flags));
}

/* ---- names ---- */

static int rename_of(int from_dir, const char *from, int to_dir, const char *to) {
    char a[FAULT_PATH_MAX], b[FAULT_PATH_MAX];
    if (!is_on() || !below(from_dir, from, a) || !below(to_dir, to, b))
        return answer(syscall(SYS_renameat, from_dir, from, to_dir, to));
    lock();
    const int no = verdict(FAULT_RENAME, b);
    if (no) return refuse(no);
    const int r = answer(syscall(SYS_renameat, from_dir, from, to_dir, to));
    const int error = errno;
    if (r == 0) {
        disk_rename(a, b);
        maybe_cut();
    }
    unlock();
    errno = error;
    return r;
}

int rename(const char *from, const char *to) {
    return rename_of(AT_FDCWD, from, AT_FDCWD, to);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to) {
    return rename_of(from_dir, from, to_dir, to);
}

int link(const char *from, const char *to) {
    const int r = answer(syscall(SYS_link, from, to));
    char a[FAULT_PATH_MAX], b[FAULT_PATH_MAX];
    if (r < 0 || !is_on() || !below(AT_FDCWD, from, a) || !below(AT_FDCWD, to, b)) return r;
    lock();
    disk_link(a, b);
    unlock();
    return r;
}

static int remove_of(int dir, const char *path, int flags) {
    char text[FAULT_PATH_MAX];
    if (!is_on() || !below(dir, path, text)) return answer(syscall(SYS_unlinkat, dir, path, flags));
    lock();
    const int no = verdict(FAULT_UNLINK, text);
    if (no) return refuse(no);
    const int r = answer(syscall(SYS_unlinkat, dir, path, flags));
    const int error = errno;
    if (r == 0) {
        disk_unlink(text);
        maybe_cut();
    }
    unlock();
    errno = error;
    return r;
}

int unlink(const char *path) {
    return remove_of(AT_FDCWD, path, 0);
}

int unlinkat(int dir, const char *path, int flags) {
    return remove_of(dir, path, flags);
}

int rmdir(const char *path) {
    return remove_of(AT_FDCWD, path, AT_REMOVEDIR);
}

static int mkdir_of(int dir, const char *path, mode_t mode) {
    char text[FAULT_PATH_MAX];
    if (!is_on() || !below(dir, path, text) || text[0] == 0)
        return answer(syscall(SYS_mkdirat, dir, path, mode));
    lock();
    const int no = verdict(FAULT_MKDIR, text);
    if (no) return refuse(no);
    const int r = answer(syscall(SYS_mkdirat, dir, path, mode));
    const int error = errno;
    if (r == 0) {
        disk_make(text, true);
        maybe_cut();
    }
    unlock();
    errno = error;
    return r;
}

int mkdir(const char *path, mode_t mode) {
    return mkdir_of(AT_FDCWD, path, mode);
}

int mkdirat(int dir, const char *path, mode_t mode) {
    return mkdir_of(dir, path, mode);
}

/* ---- reading: only to fail ---- */

static int read_verdict(int fd) {
    if (!is_on() || !is_named(fd)) return 0;
    lock();
    const int no = verdict(FAULT_READ, f.names[fd]);
    unlock();
    if (no) errno = no == FAULT_SHORT ? EIO : no;
    return no;
}

ssize_t pread(int fd, void *p, size_t n, off_t at) {
    return read_verdict(fd) ? -1 : syscall(SYS_pread64, fd, p, n, at);
}

ssize_t preadv2(int fd, const struct iovec *v, int count, off_t at, int flags) {
    return read_verdict(fd) ? -1 : syscall(SYS_preadv2, fd, v, count, at, 0, flags);
}
