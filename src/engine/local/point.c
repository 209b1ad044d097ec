/* A point: the state at one moment, for a backup that copies it while all else goes on.
 *
 *   point/rows    RocksDB's checkpoint: hard links of its tables, which never change, and copies of MANIFEST and log
 *   point/vault   the vault
 *   extents/      stay where they are
 *
 * Invariants
 *   1. The point is what a crash at its moment would have left: rows and vault are of one moment, since the
 *      vault's mutex is held from before the checkpoint until its slots are copied; and what a row names was durable
 *      before the row was written.
 *   2. Each run that the point's rows name stays where it is as long as the point is held: it was adopted, so it is
 *      never written again (extent.c, invariant 2), and what is released from now on is neither punched nor
 *      unlinked (reclaim.c). `held` is set before the checkpoint is made, under the mutex that whoever punches or
 *      unlinks holds too.
 *   3. A point ends once: when it is told to, when its lease is over, when the engine is closed. Whoever ended it
 *      in order (point_end answered OK) copied from it whole.
 *   4. The copy of the vault is overwritten before it is removed, also after a crash.
 *
 *   NONE --local_point_begin--> HELD --local_point_end, point_look (lease over), point_done--> NONE */
#include <errno.h>
#include <fcntl.h>

#include "engine/local/private.h"

#define NAME      ENGINE_LOCAL_POINT
#define PATH_MAX_ 4096

void point_init(local *l) {
    pthread_mutex_init(&l->point.mutex, NULL);
    pthread_mutex_init(&l->point.reclaims, NULL);
}

/* ---- the folder ---- */

/* A folder of files, with them. */
static void remove_folder(local *l, int parent, const char *name) {
    folder_sweep(l, parent, name);
    (void)l->io->rmdir(l->io, parent, name);
}

/* Invariant 4. */
static void wipe_vault(local *l, int dir) {
    const int r = io_wipe(l->io, dir, "vault");
    if (r < 0) LOG(LOG_WARN, "engine.point_wipe", LF_C("reason", strerror(-r)));
}

void point_sweep(local *l) {
    int dir = l->io->open(l->io, l->dir_fd, NAME, O_RDONLY | O_DIRECTORY);
    if (dir < 0) return;
    wipe_vault(l, dir);
    remove_folder(l, dir, "rows");
    remove_folder(l, dir, "rows.tmp"); /* RocksDB's, of a checkpoint in the making */
    l->io->close(l->io, dir);
    remove_folder(l, l->dir_fd, NAME);
}

/* ---- holding ---- */

static void hold(local *l, bool held) {
    pthread_mutex_lock(&l->point.reclaims);
    l->point.held = held;
    pthread_mutex_unlock(&l->point.reclaims);
    if (held) return;
    pthread_mutex_lock(&l->ext.mutex);
    reclaim_all_locked(l);
    pthread_mutex_unlock(&l->ext.mutex);
}

static void end_locked(local *l) {
    if (l->point.id == 0) return;
    l->point.id = 0;
    hold(l, false);
    point_sweep(l);
}

static void lapse_locked(local *l) {
    if (l->point.id == 0 || l->io->mono_us(l->io) < l->point.until_us) return;
    LOG(LOG_WARN, "engine.point_lapsed", LF_C("path", l->path));
    end_locked(l);
}

bool point_look(local *l) {
    pthread_mutex_lock(&l->point.mutex);
    lapse_locked(l);
    const bool held = l->point.id != 0;
    pthread_mutex_unlock(&l->point.mutex);
    return held;
}

void point_done(local *l) {
    pthread_mutex_lock(&l->point.mutex);
    end_locked(l);
    pthread_mutex_unlock(&l->point.mutex);
}

void point_free(local *l) {
    pthread_mutex_destroy(&l->point.mutex);
    pthread_mutex_destroy(&l->point.reclaims);
}

/* ---- making ---- */

static err checkpoint(local *l) {
    char path[PATH_MAX_];
    snprintf(path, sizeof path, "%s/" NAME "/rows", l->path);
    return rows_checkpoint(l, path);
}

static err make_files(local *l) {
    const io *sys = l->io;
    int r = sys->mkdir(sys, l->dir_fd, NAME);
    if (r < 0) return err_fail_errno(ERR_IO, -r, "%s/" NAME ": mkdir", l->path);
    int fd = sys->open(sys, l->dir_fd, NAME "/vault", O_WRONLY | O_CREAT | O_EXCL);
    if (fd < 0) return err_fail_errno(ERR_IO, -fd, "%s/" NAME "/vault: create", l->path);
    err e = vault_copy(l, checkpoint, fd);
    sys->close(sys, fd);
    return e;
}

static err begin_locked(local *l, int64_t lease_ms) {
    lapse_locked(l);
    ENSURE(l->point.id == 0, ERR_IN_USE, "a backup of %s is under way already", l->path);
    TRY(local_writable(l));
    TRY(local_space(l, 0));
    point_sweep(l);
    (void)rows_flush(l); /* what is in tables already need not be copied as log */
    hold(l, true);
    err e = make_files(l);
    if (e != OK) {
        char why[512];
        snprintf(why, sizeof why, "%s", err_detail());
        hold(l, false);
        point_sweep(l);
        return err_fail(e, "%s", why);
    }
    l->point.id = engine_new_id(&l->base); /* of no other point, also of another start */
    l->point.until_us = l->io->mono_us(l->io) + lease_ms * 1000;
    return OK;
}

err local_point_begin(engine *e, int64_t lease_ms, uint64_t *ret_id) {
    local *l = local_of(e);
    pthread_mutex_lock(&l->point.mutex);
    err er = begin_locked(l, lease_ms);
    if (er == OK) *ret_id = l->point.id;
    pthread_mutex_unlock(&l->point.mutex);
    TRY(er);
    pthread_mutex_lock(&l->ext.mutex);
    pthread_cond_signal(&l->ext.work); /* from now on the reclaimer looks at the lease */
    pthread_mutex_unlock(&l->ext.mutex);
    return OK;
}

/* Under the mutex. */
static err find(local *l, uint64_t id) {
    lapse_locked(l);
    ENSURE(
        id != 0 && l->point.id == id, ERR_NOT_FOUND,
        "the point that the backup copies is no longer held: the server was started again, or the "
        "backup was silent for too long");
    return OK;
}

err local_point_renew(engine *e, uint64_t id, int64_t lease_ms) {
    local *l = local_of(e);
    pthread_mutex_lock(&l->point.mutex);
    err er = find(l, id);
    if (er == OK) l->point.until_us = l->io->mono_us(l->io) + lease_ms * 1000;
    pthread_mutex_unlock(&l->point.mutex);
    return er;
}

err local_point_end(engine *e, uint64_t id) {
    local *l = local_of(e);
    pthread_mutex_lock(&l->point.mutex);
    err er = find(l, id);
    if (er == OK) end_locked(l);
    pthread_mutex_unlock(&l->point.mutex);
    return er;
}
