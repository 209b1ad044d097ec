/* The data folder: FORMAT, LOCK, and where the rest stands. local.h says what is in it.
 *
 *   (none) --make_folder--> MAKING: FORMAT.new --folder_finish_create--> WHOLE: FORMAT
 *                             |  ^
 *                             +--+ make_folder, after a crash: what was begun is removed
 *
 * An older format is upgraded when the folder is opened for writing: first what is new is made, then
 * FORMAT says so (folder_upgrade). Stopped in between, it is done again. Formats:
 *   1  tables meta, blob, block, content, job, system
 *   2  and history, index; rows may hold fields that a program of format 1 would drop
 *   3  and log
 *   4  and the file CLOSED, which a program of format 3 would leave behind
 *
 * A folder that has FORMAT.new and no FORMAT never took a change: opening returns only when it is
 * whole. One that has parts and neither of the two may be somebody's data and is never touched. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "engine/local/private.h"

static err read_small(local *l, const char *name, char *out, size_t cap) {
    int fd = l->io->open(l->io, l->dir_fd, name, O_RDONLY);
    if (fd == -ENOENT) return ERR_NOT_FOUND;
    if (fd < 0) return err_fail_errno(ERR_IO, -fd, "%s/%s: open", l->path, name);
    int64_t n = l->io->pread(l->io, fd, out, cap - 1, 0);
    l->io->close(l->io, fd);
    if (n < 0) return err_fail_errno(ERR_IO, (int)-n, "%s/%s: read", l->path, name);
    out[n] = 0;
    return OK;
}

static err check_format(local *l) {
    char text[64];
    err e = read_small(l, "FORMAT", text, sizeof text);
    if (e == ERR_NOT_FOUND)
        return err_fail(ERR_NOT_FOUND,
                        "%s is not a strongroom data folder, or its making was interrupted (it has "
                        "no FORMAT file)",
                        l->path);
    TRY(e);
    slice s = slice_str(text);
    uint64_t version;
    if (!slice_starts(s, S("strongroom ")) || !slice_ends(s, S("\n")) ||
        slice_u64(slice_take(slice_skip(s, 11), s.len - 12), &version) != OK)
        return err_fail(ERR_CORRUPT, "%s/FORMAT is damaged: it should say 'strongroom %d'", l->path,
                        ENGINE_LOCAL_FORMAT);
    ENSURE(version <= ENGINE_LOCAL_FORMAT, ERR_FORMAT_VERSION,
           "%s has format %llu, and this program knows format %d: start the newer strongroom that "
           "wrote it",
           l->path, (unsigned long long)version, ENGINE_LOCAL_FORMAT);
    ENSURE(version >= ENGINE_LOCAL_FORMAT_OLDEST, ERR_FORMAT_VERSION,
           "%s has format %llu, and this program upgrades from format %d on: open it with the "
           "strongroom that wrote it, and copy its content to a new folder",
           l->path, (unsigned long long)version, ENGINE_LOCAL_FORMAT_OLDEST);
    ENSURE(
        version == ENGINE_LOCAL_FORMAT || !l->read_only, ERR_FORMAT_VERSION,
        "%s has format %llu and must be upgraded to format %d first: start the server on it once",
        l->path, (unsigned long long)version, ENGINE_LOCAL_FORMAT);
    l->format = (int)version;
    return OK;
}

static err take_lock(local *l) {
    int fd = l->io->open(l->io, l->dir_fd, "LOCK", O_RDWR | O_CREAT);
    if (fd == -EROFS && l->read_only) return OK; /* nobody writes there */
    if (fd < 0) return err_fail_errno(ERR_IO, -fd, "%s/LOCK: open", l->path);
    int r = l->io->lock(l->io, fd);
    if (r < 0) {
        char pid[32] = "";
        (void)!read_small(l, "LOCK", pid, sizeof pid);
        pid[strcspn(pid, "\n")] = 0;
        l->io->close(l->io, fd);
        if (r != -EWOULDBLOCK) return err_fail_errno(ERR_IO, -r, "%s/LOCK: flock", l->path);
        return err_fail(ERR_IN_USE, "the data folder %s is in use by process %s; stop it first",
                        l->path, pid[0] != 0 ? pid : "(unknown)");
    }
    l->lock_fd = fd;
    char pid[32];
    const int n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    r = l->io->truncate(l->io, fd, 0);
    if (r == 0) r = l->io->pwrite(l->io, fd, pid, (size_t)n, 0);
    /* The number is for people; a full disk must not keep a store from opening. */
    return r < 0 && r != -ENOSPC ? err_fail_errno(ERR_IO, -r, "%s/LOCK: write", l->path) : OK;
}

static void look_for_parts(void *ctx, const char *name) {
    static const char *const parts[] = {"FORMAT", "FORMAT.new", "rows", "extents", "vault"};
    bool *found = ctx;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) found[i] |= strcmp(name, parts[i]) == 0;
}

typedef struct sweeper {
    local *l;
    int dir;
} sweeper;

static void sweep_one(void *ctx, const char *name) {
    const sweeper *s = ctx;
    (void)s->l->io->unlink(s->l->io, s->dir, name);
}

void folder_sweep(local *l, int parent, const char *name) {
    int dir = l->io->open(l->io, parent, name, O_RDONLY | O_DIRECTORY);
    if (dir < 0) return;
    sweeper s = {l, dir};
    (void)l->io->list(l->io, dir, sweep_one, &s);
    l->io->close(l->io, dir);
}

/* Writes FORMAT.new and makes it durable. Where there is no FORMAT the folder is known to be in the
 * making from here on. */
static err write_format(local *l) {
    char text[32];
    const int n = snprintf(text, sizeof text, "strongroom %d\n", ENGINE_LOCAL_FORMAT);
    const io *sys = l->io;
    int fd = sys->open(sys, l->dir_fd, "FORMAT.new", O_WRONLY | O_CREAT | O_TRUNC);
    if (fd < 0) return err_fail_errno(ERR_IO, -fd, "%s/FORMAT.new: create", l->path);
    int r = sys->pwrite(sys, fd, text, (size_t)n, 0);
    if (r == 0) r = sys->fsync(sys, fd);
    sys->close(sys, fd);
    if (r == 0) r = sys->fsync(sys, l->dir_fd);
    return r < 0 ? err_fail_errno(ERR_IO, -r, "%s/FORMAT.new: write", l->path) : OK;
}

static err make_folder(local *l) {
    bool found[5] = {false};
    int r = l->io->list(l->io, l->dir_fd, look_for_parts, found);
    if (r < 0) return err_fail_errno(ERR_IO, -r, "%s: list", l->path);
    ENSURE(!found[0], ERR_IN_USE, "%s is a data folder already; open it, or give another path",
           l->path);
    ENSURE(found[1] || !(found[2] || found[3] || found[4]), ERR_IN_USE,
           "%s holds parts of a data folder but no FORMAT; nothing is made over what may be data",
           l->path);
    TRY(take_lock(l));
    TRY(write_format(l));
    folder_sweep(l, l->dir_fd, "rows");
    folder_sweep(l, l->dir_fd, "extents");
    (void)l->io->unlink(l->io, l->dir_fd, "vault");
    r = l->io->mkdir(l->io, l->dir_fd, "extents");
    if (r < 0 && r != -EEXIST) return err_fail_errno(ERR_IO, -r, "%s/extents: mkdir", l->path);
    return OK;
}

err folder_open(local *l, bool create) {
    if (create) {
        int r = l->io->mkdir(l->io, AT_FDCWD, l->path);
        if (r < 0 && r != -EEXIST)
            return err_fail_errno(r == -ENOENT ? ERR_NOT_FOUND : ERR_IO, -r, "%s: mkdir", l->path);
    }
    int fd = l->io->open(l->io, AT_FDCWD, l->path, O_RDONLY | O_DIRECTORY);
    if (fd == -ENOENT)
        return err_fail(ERR_NOT_FOUND, "there is no data folder %s; make one first", l->path);
    if (fd < 0) return err_fail_errno(ERR_IO, -fd, "%s: open", l->path);
    l->dir_fd = fd;
    if (create) {
        TRY(make_folder(l));
        l->format = ENGINE_LOCAL_FORMAT;
    } else {
        TRY(check_format(l));
        TRY(take_lock(l));
    }
    fd = l->io->open(l->io, l->dir_fd, "extents", O_RDONLY | O_DIRECTORY);
    if (fd < 0)
        return err_fail_errno(fd == -ENOENT ? ERR_CORRUPT : ERR_IO, -fd, "%s/extents: open",
                              l->path);
    l->extents_fd = fd;
    return OK;
}

err folder_upgrade(local *l) {
    if (l->format == ENGINE_LOCAL_FORMAT || l->read_only) return OK;
    TRY(write_format(l));
    int r = l->io->rename(l->io, l->dir_fd, "FORMAT.new", "FORMAT");
    if (r == 0) r = l->io->fsync(l->io, l->dir_fd);
    if (r < 0) return err_fail_errno(ERR_IO, -r, "%s/FORMAT: rename", l->path);
    LOG(LOG_INFO, "engine.upgraded", LF_C("path", l->path), LF_I("from", l->format),
        LF_I("to", ENGINE_LOCAL_FORMAT));
    l->format = ENGINE_LOCAL_FORMAT;
    return OK;
}

err folder_finish_create(local *l) {
    const io *sys = l->io;
    int r = sys->rename(sys, l->dir_fd, "FORMAT.new", "FORMAT");
    if (r == 0) r = sys->fsync(sys, l->dir_fd);
    if (r < 0) return err_fail_errno(ERR_IO, -r, "%s/FORMAT: rename", l->path);
    int fd = sys->open(sys, l->dir_fd, "..", O_RDONLY | O_DIRECTORY);
    r = fd < 0 ? fd : sys->fsync(sys, fd);
    if (fd >= 0) sys->close(sys, fd);
    /* The folder above may be one we cannot read; then its owner's sync has to do. */
    return r < 0 && r != -EACCES ? err_fail_errno(ERR_IO, -r, "%s/..: fsync", l->path) : OK;
}

void folder_close(local *l) {
    if (l->extents_fd >= 0) l->io->close(l->io, l->extents_fd);
    if (l->lock_fd >= 0) l->io->close(l->io, l->lock_fd);
    if (l->dir_fd >= 0) l->io->close(l->io, l->dir_fd);
}
