/* Extent files open for reading: a small set-associative cache. A file in use is never closed; when
 * all places of a set are in use, the reader opens one for itself. */
#include <errno.h>
#include <fcntl.h>

#include "engine/local/private.h"

void fds_init(local *l) {
    pthread_mutex_init(&l->fds.mutex, NULL);
    for (size_t set = 0; set < FD_SETS; set++)
        for (size_t way = 0; way < FD_WAYS; way++) l->fds.slots[set][way].fd = -1;
}

void fds_done(local *l) {
    for (size_t set = 0; set < FD_SETS; set++) {
        for (size_t way = 0; way < FD_WAYS; way++) {
            read_fd *f = &l->fds.slots[set][way];
            MUST(f->refs == 0);
            if (f->fd >= 0) l->io->close(l->io, f->fd);
        }
    }
    pthread_mutex_destroy(&l->fds.mutex);
}

static read_fd *find_locked(fds *f, uint32_t id) {
    read_fd *set = f->slots[id % FD_SETS];
    for (size_t i = 0; i < FD_WAYS; i++)
        if (set[i].fd >= 0 && set[i].extent == id && !set[i].stale) return &set[i];
    return NULL;
}

/* The place to use for another file: a free one, or the one unused for longest. NULL: none. */
static read_fd *victim_locked(fds *f, uint32_t id) {
    read_fd *set = f->slots[id % FD_SETS], *best = NULL;
    for (size_t i = 0; i < FD_WAYS; i++) {
        if (set[i].fd < 0) return &set[i];
        if (set[i].refs == 0 && (best == NULL || set[i].used < best->used)) best = &set[i];
    }
    return best;
}

static fd_lease lease_locked(fds *f, read_fd *slot) {
    slot->refs++;
    slot->used = ++f->clock;
    return (fd_lease){.fd = slot->fd, .slot = slot};
}

err fds_get(local *l, uint32_t id, bool nowait, fd_lease *ret) {
    fds *f = &l->fds;
    pthread_mutex_lock(&f->mutex);
    read_fd *slot = find_locked(f, id);
    if (slot != NULL) *ret = lease_locked(f, slot);
    pthread_mutex_unlock(&f->mutex);
    if (slot != NULL) return OK;
    if (nowait) return ERR_WOULD_BLOCK;

    char name[16];
    extent_name(id, name);
    int fd = l->io->open(l->io, l->extents_fd, name, O_RDONLY);
    if (fd == -ENOENT) return err_fail(ERR_CORRUPT, "extents/%s is missing", name);
    if (fd < 0) return err_fail_errno(ERR_IO, -fd, "extents/%s: open", name);
    int closing = -1;
    pthread_mutex_lock(&f->mutex);
    slot = find_locked(f, id) == NULL ? victim_locked(f, id) : NULL;
    if (slot != NULL) {
        closing = slot->fd;
        *slot = (read_fd){.extent = id, .fd = fd};
        *ret = lease_locked(f, slot);
    } else {
        *ret = (fd_lease){.fd = fd};
    }
    pthread_mutex_unlock(&f->mutex);
    if (closing >= 0) l->io->close(l->io, closing);
    return OK;
}

void fds_put(local *l, fd_lease lease) {
    int closing = -1;
    if (lease.slot == NULL) {
        closing = lease.fd;
    } else {
        pthread_mutex_lock(&l->fds.mutex);
        read_fd *slot = lease.slot;
        if (--slot->refs == 0 && slot->stale) {
            closing = slot->fd;
            *slot = (read_fd){.fd = -1};
        }
        pthread_mutex_unlock(&l->fds.mutex);
    }
    if (closing >= 0) l->io->close(l->io, closing);
}

void fds_forget(local *l, uint32_t id) {
    int closing = -1;
    pthread_mutex_lock(&l->fds.mutex);
    read_fd *slot = find_locked(&l->fds, id);
    if (slot != NULL && slot->refs > 0) {
        slot->stale = true;
    } else if (slot != NULL) {
        closing = slot->fd;
        *slot = (read_fd){.fd = -1};
    }
    pthread_mutex_unlock(&l->fds.mutex);
    if (closing >= 0) l->io->close(l->io, closing);
}
