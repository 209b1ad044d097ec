/* The model's files as real ones, and real ones as the model's. Plain calls of the kernel, so that it can
 * run inside of an intercepted one. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "faults.h"

typedef struct restoring {
    const char *root;
    bool all;
    enum { MAKE_FOLDERS, FILES, DROP_FOLDERS } pass;
    int fd;
} restoring;

static void put_page(void *ctx, uint64_t at, const uint8_t *p, size_t n) {
    const restoring *r = ctx;
    if (syscall(SYS_pwrite64, r->fd, p, n, at) != (long)n) abort();
}

static void make_file(restoring *r, const char *path, const disk_file *f) {
    (void)syscall(SYS_unlink, path);
    r->fd =
        (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (r->fd < 0 || syscall(SYS_ftruncate, r->fd, disk_size(f)) < 0) abort();
    disk_each_page(f, put_page, r);
    (void)syscall(SYS_close, r->fd);
}

/* With what the model does not know in it. No memory is taken: this runs inside of calls. */
static void drop_folder(const char *path) {
    struct {
        uint64_t ino, off;
        uint16_t len;
        uint8_t type;
        char name[];
    } * e;
    uint8_t found[4096] __attribute__((aligned(8)));
    const int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (long n; fd >= 0 && (n = syscall(SYS_getdents64, fd, found, sizeof found)) > 0;)
        for (long at = 0; at < n; at += e->len) {
            e = (void *)(found + at);
            (void)syscall(SYS_unlinkat, fd, e->name, 0);
        }
    (void)syscall(SYS_close, fd);
    (void)syscall(SYS_rmdir, path);
}

static void restore_one(void *ctx, const char *text, const disk_file *f, bool remake) {
    restoring *r = ctx;
    char path[2 * FAULT_PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", r->root, text);
    const bool folder = f != NULL && disk_is_folder(f);
    if (r->pass == MAKE_FOLDERS && folder) (void)syscall(SYS_mkdir, path, 0700);
    if (r->pass == DROP_FOLDERS && f == NULL && remake) drop_folder(path);
    if (r->pass != FILES || folder || !(remake || r->all)) return;
    if (f != NULL)
        make_file(r, path, f);
    else
        (void)syscall(SYS_unlink, path);
}

void disk_restore(const char *root, bool all) {
    restoring r = {.root = root, .all = all};
    for (r.pass = MAKE_FOLDERS; r.pass <= DROP_FOLDERS; r.pass++) disk_each_name(restore_one, &r);
    disk_restored();
}

/* ---- reading ---- */

static void load_file(const char *path, const char *text) {
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0) abort();
    disk_file *f = disk_make(text, false);
    static const uint8_t zeros[FAULT_PAGE];
    uint8_t page[FAULT_PAGE];
    for (off_t at = 0; at < st.st_size; at += FAULT_PAGE) {
        /* Holes of a large file are not read. */
        off_t data = lseek(fd, at, SEEK_DATA);
        if (data < 0) break;
        at = data / FAULT_PAGE * FAULT_PAGE;
        long n = syscall(SYS_pread64, fd, page, sizeof page, at);
        if (n < 0) abort();
        if (memcmp(page, zeros, (size_t)n) != 0) disk_write(f, (uint64_t)at, page, (size_t)n);
    }
    disk_truncate(f, (uint64_t)st.st_size);
    (void)syscall(SYS_close, fd);
}

static void load_folder(const char *root, const char *folder) {
    char path[2 * FAULT_PATH_MAX], text[FAULT_PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", root, folder);
    DIR *d = opendir(path);
    if (d == NULL) return;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (e->d_name[0] == '.') continue;
        const int n =
            snprintf(text, sizeof text, "%s%s%s", folder, folder[0] ? "/" : "", e->d_name);
        if (n >= (int)sizeof text || fault_left_alone(text)) continue;
        snprintf(path, sizeof path, "%s/%s", root, text);
        struct stat st;
        if (lstat(path, &st) < 0) continue;
        if (S_ISDIR(st.st_mode)) {
            disk_make(text, true);
            load_folder(root, text);
        } else if (S_ISREG(st.st_mode)) {
            load_file(path, text);
        }
    }
    closedir(d);
}

void disk_load(const char *root) {
    load_folder(root, "");
    disk_all_durable();
}
