/* One fdatasync for all who wait.
 *
 * Invariant: a waiter returns OK only after an fdatasync that began after its call and returned 0.
 * A sync that is running when a waiter arrives may have passed the waiter's pages already, so it
 * waits for the next one; the first such waiter runs it for the others.
 *
 * After a failure nothing is tried again: the kernel may have dropped the pages and marked them
 * clean. */
#include "engine/local/private.h"

void syncer_init(syncer *s) {
    *s = (syncer){0};
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->done, NULL);
}

void syncer_done(syncer *s) {
    pthread_mutex_destroy(&s->mutex);
    pthread_cond_destroy(&s->done);
}

err syncer_wait(syncer *s, local *l, int fd, const char *what) {
    pthread_mutex_lock(&s->mutex);
    const uint64_t need = s->started + 1; /* the first sync that begins from now on */
    while (s->finished < need && s->running) pthread_cond_wait(&s->done, &s->mutex);
    int r = 0;
    if (s->finished < need && !local_failed(l)) {
        s->running = true;
        s->started++;
        pthread_mutex_unlock(&s->mutex);
        r = l->io->fdatasync(l->io, fd);
        err failed = OK;
        if (r < 0) failed = local_fail(l, err_fail_errno(ERR_IO, -r, "%s: fdatasync", what));
        pthread_mutex_lock(&s->mutex);
        s->running = false;
        s->finished = s->started;
        pthread_cond_broadcast(&s->done);
        pthread_mutex_unlock(&s->mutex);
        return failed;
    }
    pthread_mutex_unlock(&s->mutex);
    /* One that others ran: it failed exactly when the engine did. */
    return local_failed(l) ? err_fail(ERR_IO, "%s: a sync failed", what) : OK;
}
