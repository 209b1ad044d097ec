/* Giving space back: the census after opening, punching, sealing, unlinking, recovery. One
 * background thread does it all, so nothing here races with itself. Its invariants stand at the top
 * of extent.c.
 *
 * A released run: its row is deleted and a pending row put in the transaction; later, here, the
 * range is punched, the file synced, and only then the pending row deleted. Whatever a crash
 * interrupts is punched again after the next opening.
 *
 * While a point is held (point.c), nothing is punched that a row released, nor is a file unlinked: the rows of the
 * point may name it. What is held back is found again by its pending row, or in the table of extents. */
#include <errno.h>
#include <fcntl.h>

#include "engine/local/private.h"

#define PUNCH_BATCH  256
#define POINT_LOOK_S 1

void reclaim_push_locked(local *l, punch p) {
    extents *xs = &l->ext;
    if (local_failed(l)) return;
    if (xs->punch_count == PUNCH_QUEUE_MAX) {
        /* Rows are found by a scan; what has none stays pinned until recovery after the stop. */
        if (p.row) xs->rescan = true;
        return;
    }
    xs->punches[(xs->punch_head + xs->punch_count++) % PUNCH_QUEUE_MAX] = p;
    pthread_cond_signal(&xs->work);
}

/* ---- punching ---- */

static int by_place(const void *a, const void *b) {
    const punch *x = a, *y = b;
    if (x->extent != y->extent) return x->extent < y->extent ? -1 : 1;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static void log_failure(const char *event, uint32_t id, int r) {
    char name[16];
    extent_name(id, name);
    LOG(LOG_ERROR, event, LF_C("extent", name), LF_C("reason", strerror(-r)));
}

/* Makes a hole of [from, to) of an extent's file. On a file system without holes: zeros, as holes read and `check`
 * expects of what no row names; there space comes back when a whole extent is dead. */
static int make_hole(local *l, int fd, uint64_t from, uint64_t to) {
    int r = -EOPNOTSUPP;
    if (!l->ext.punch_unsupported) r = l->io->punch(l->io, fd, from, to - from);
    if (r != -EOPNOTSUPP && r != -ENOSYS) return r;
    if (!l->ext.punch_unsupported) LOG(LOG_WARN, "engine.punch_unsupported", LF_C("path", l->path));
    l->ext.punch_unsupported = true;
    uint64_t size, allocated;
    r = l->io->stat(l->io, fd, &size, &allocated);
    return r < 0 ? r : io_zero(l->io, fd, from, to < size ? to : size);
}

/* Punches ranges [first, last) of one extent, durably. False: not done. */
static bool punch_extent(local *l, const punch *first, const punch *last) {
    const uint32_t id = first->extent;
    char name[16];
    extent_name(id, name);
    int fd = l->io->open(l->io, l->extents_fd, name, O_RDWR);
    if (fd == -ENOENT) return true; /* unlinked meanwhile, with all in it */
    int r = fd < 0 ? fd : 0;
    while (first < last && r == 0) {
        const uint64_t from = first->offset;
        uint64_t to = from;
        while (first < last && first->offset <= to) {
            const uint64_t end = first->offset + (uint64_t)first->blocks * EXTENT_BLOCK;
            if (end > to) to = end;
            first++;
        }
        r = make_hole(l, fd, from, to);
    }
    if (r < 0) log_failure("engine.punch_failed", id, r);
    if (r == 0) {
        r = l->io->fdatasync(l->io, fd);
        if (r < 0) (void)!local_fail(l, err_fail_errno(ERR_IO, -r, "extents/%s: fdatasync", name));
    }
    if (fd >= 0) l->io->close(l->io, fd);
    return r == 0;
}

/* Leaves out what a row released; ret: how many are left. */
static size_t hold_back(punch *p, size_t n) {
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (!p[i].row) p[kept++] = p[i];
    return kept;
}

/* Punches a batch; deletes the pending rows and drops the pins of what succeeded. */
static void punch_all(local *l, punch *p, size_t n) {
    if (n == 0 || local_failed(l)) return;
    qsort(p, n, sizeof *p, by_place);
    local_txn *t = txn_system(l);
    for (size_t i = 0, j; i < n; i = j) {
        for (j = i + 1; j < n && p[j].extent == p[i].extent;) j++;
        const bool done = punch_extent(l, p + i, p + j);
        for (size_t k = i; k < j; k++) {
            if (!done)
                p[k].pin = false; /* stays pinned */
            else if (p[k].row) {
                const system_key key =
                    system_key_of('P', p[k].extent, (uint32_t)(p[k].offset / EXTENT_BLOCK));
                txn_system_delete(t, &key);
            }
        }
    }
    (void)!local_txn_commit((engine_txn *)t); /* pending rows that stay are punched again */
    pthread_mutex_lock(&l->ext.mutex);
    for (size_t i = 0; i < n; i++) {
        extent *x = p[i].pin ? extent_find_locked(l, p[i].extent) : NULL;
        if (x != NULL) extent_unpin_locked(l, x);
    }
    pthread_mutex_unlock(&l->ext.mutex);
}

static void punch_batch(local *l, punch *p, size_t n) {
    pthread_mutex_lock(&l->point.reclaims);
    punch_all(l, p, l->point.held ? hold_back(p, n) : n);
    pthread_mutex_unlock(&l->point.reclaims);
}

/* All pending rows, a batch at a time: after opening, and after the queue was full. */
static void punch_pending_rows(local *l) {
    rocksdb_iterator_t *it = rows_system_iter(l, NULL);
    punch batch[PUNCH_BATCH];
    size_t n = 0;
    for (rocksdb_iter_seek(it, "P", 1); rocksdb_iter_valid(it) && !local_failed(l);
         rocksdb_iter_next(it)) {
        size_t key_len, value_len;
        const char *key = rocksdb_iter_key(it, &key_len);
        if (key_len == 0 || key[0] != 'P') break;
        const char *value = rocksdb_iter_value(it, &value_len);
        run r;
        uint64_t stream;
        if (run_row_parse(slice_of(key, key_len), slice_of(value, value_len), 'P', &r, &stream) !=
            OK)
            continue; /* check reports it */
        batch[n++] =
            (punch){.extent = r.extent, .blocks = r.blocks, .offset = r.offset, .row = true};
        if (n < PUNCH_BATCH) continue;
        punch_batch(l, batch, n);
        n = 0;
    }
    rocksdb_iter_destroy(it);
    punch_batch(l, batch, n);
}

/* ---- whole extents ---- */

static err seal(local *l, extent *x) {
    char name[16];
    extent_name(x->id, name);
    int r = 0;
    if (x->tail < x->size) r = l->io->truncate(l->io, x->fd, x->tail);
    if (r < 0) return err_fail_errno(ERR_IO, -r, "extents/%s: truncate", name);
    r = l->io->fdatasync(l->io, x->fd);
    if (r < 0) return local_fail(l, err_fail_errno(ERR_IO, -r, "extents/%s: fdatasync", name));
    TRY(extent_put_row(l, x->id, true, x->tail));
    pthread_mutex_lock(&l->ext.mutex);
    x->size = x->tail;
    x->state = EXTENT_SEALED;
    const int fd = x->fd, direct = x->direct;
    x->fd = x->direct = -1;
    pthread_mutex_unlock(&l->ext.mutex);
    l->io->close(l->io, fd);
    if (direct >= 0) l->io->close(l->io, direct);
    return OK;
}

static bool any_run(local *l, uint32_t id) {
    const system_key prefix = system_key_extent('R', id);
    rocksdb_iterator_t *it = rows_system_iter(l, NULL);
    rocksdb_iter_seek(it, (const char *)prefix.b, prefix.len);
    bool any = false;
    char *text = NULL;
    if (rocksdb_iter_valid(it)) {
        size_t len;
        const char *key = rocksdb_iter_key(it, &len);
        any = slice_starts(slice_of(key, len), system_key_slice(&prefix));
    } else {
        rocksdb_iter_get_error(it, &text);
    }
    rocksdb_iter_destroy(it);
    if (text != NULL) rocksdb_free(text);
    return any || text != NULL;
}

/* Deletes the extent's row and its pending rows. */
static err forget_rows(local *l, uint32_t id) {
    local_txn *t = txn_system(l);
    const system_key own = system_key_extent('E', id), prefix = system_key_extent('P', id);
    txn_system_delete(t, &own);
    rocksdb_iterator_t *it = rows_system_iter(l, NULL);
    for (rocksdb_iter_seek(it, (const char *)prefix.b, prefix.len); rocksdb_iter_valid(it);
         rocksdb_iter_next(it)) {
        size_t len;
        const char *key = rocksdb_iter_key(it, &len);
        if (len != 9 || !slice_starts(slice_of(key, len), system_key_slice(&prefix))) break;
        system_key k = {.len = 9};
        memcpy(k.b, key, 9);
        txn_system_delete(t, &k);
    }
    rocksdb_iter_destroy(it);
    return local_txn_commit((engine_txn *)t);
}

static err unlink_dead(local *l, extent *x) {
    if (any_run(l, x->id)) return OK; /* the count was wrong; the rows are right */
    char name[16];
    extent_name(x->id, name);
    fds_forget(l, x->id);
    int r = l->io->unlink(l->io, l->extents_fd, name);
    if (r == 0 || r == -ENOENT) r = l->io->fsync(l->io, l->extents_fd);
    if (r < 0) return err_fail_errno(ERR_IO, -r, "extents/%s: unlink", name);
    TRY(forget_rows(l, x->id));
    pthread_mutex_lock(&l->ext.mutex);
    extent_remove_locked(l, x);
    pthread_mutex_unlock(&l->ext.mutex);
    return OK;
}

void reclaim_extent(local *l, extent *x) {
    if (local_failed(l)) return;
    pthread_mutex_lock(&l->ext.mutex);
    const bool sealable = x->state == EXTENT_FULL && x->pins == 0 && x->fd >= 0;
    pthread_mutex_unlock(&l->ext.mutex);
    err e = sealable ? seal(l, x) : OK;
    pthread_mutex_lock(&l->point.reclaims);
    pthread_mutex_lock(&l->ext.mutex);
    const bool dead = e == OK && x->state == EXTENT_SEALED && x->live <= 0 && l->ext.census_done &&
                      !x->queued && !l->point.held;
    if (dead) x->state = EXTENT_DEAD;
    pthread_mutex_unlock(&l->ext.mutex);
    if (dead) e = unlink_dead(l, x);
    pthread_mutex_unlock(&l->point.reclaims);
    if (e != OK)
        LOG(LOG_ERROR, "engine.reclaim_failed", LF_C("error", err_get(e)->name),
            LF_C("detail", err_detail()));
}

/* ---- census ---- */

static bool stopping(local *l) {
    pthread_mutex_lock(&l->ext.mutex);
    const bool stop = l->ext.stop;
    pthread_mutex_unlock(&l->ext.mutex);
    return stop;
}

static void look_at_dead_locked(local *l) {
    for (size_t i = 0; i < EXTENT_HASH; i++)
        for (extent *x = l->ext.hash[i]; x != NULL; x = x->next)
            if (x->live <= 0 && x->state == EXTENT_SEALED) extent_look_locked(l, x);
}

void reclaim_all_locked(local *l) {
    l->ext.rescan = true;
    look_at_dead_locked(l);
    pthread_cond_signal(&l->ext.work);
}

static void count_run(local *l, const run *r) {
    pthread_mutex_lock(&l->ext.mutex);
    extent *x = extent_find_locked(l, r->extent);
    if (x != NULL) {
        x->live += (int64_t)run_disk_len(r);
        l->ext.live_bytes += (int64_t)run_disk_len(r);
        l->ext.live_data += (int64_t)r->data_len;
    }
    pthread_mutex_unlock(&l->ext.mutex);
}

/* Counts the live bytes of every extent as they stood at opening; changes since are added. */
void reclaim_census(local *l) {
    rocksdb_iterator_t *it = l->ext.census;
    bool whole = true;
    size_t n = 0;
    for (rocksdb_iter_seek(it, "R", 1); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
        size_t key_len, value_len;
        const char *key = rocksdb_iter_key(it, &key_len);
        if (key_len == 0 || key[0] != 'R') break;
        const char *value = rocksdb_iter_value(it, &value_len);
        run r;
        uint64_t stream;
        if (run_row_parse(slice_of(key, key_len), slice_of(value, value_len), 'R', &r, &stream) ==
            OK)
            count_run(l, &r);
        if (++n % 1024 == 0 && stopping(l)) {
            whole = false;
            break;
        }
    }
    char *text = NULL;
    rocksdb_iter_get_error(it, &text);
    if (text != NULL) {
        LOG(LOG_ERROR, "engine.census_failed", LF_C("reason", text));
        rocksdb_free(text);
        whole = false;
    }
    rocksdb_iter_destroy(it);
    pthread_mutex_lock(&l->ext.mutex);
    l->ext.census = NULL;
    l->ext.census_done = whole;
    if (whole) look_at_dead_locked(l);
    pthread_mutex_unlock(&l->ext.mutex);
}

/* ---- the thread ---- */

static size_t take_punches_locked(extents *xs, punch *out, size_t max) {
    size_t n = 0;
    while (n < max && xs->punch_count > 0) {
        out[n++] = xs->punches[xs->punch_head];
        xs->punch_head = (xs->punch_head + 1) % PUNCH_QUEUE_MAX;
        xs->punch_count--;
    }
    return n;
}

static bool has_work(const extents *xs) {
    return xs->stop || xs->rescan || xs->punch_count > 0 || xs->todo != NULL;
}

/* Waits for work, and while a point is held looks from time to time whether it still is. */
static void wait_for_work(local *l) {
    extents *xs = &l->ext;
    for (;;) {
        const bool held = point_look(l);
        struct timespec until;
        pthread_mutex_lock(&xs->mutex);
        if (!has_work(xs) && !held) pthread_cond_wait(&xs->work, &xs->mutex);
        if (!has_work(xs) && held) {
            MUST(clock_gettime(CLOCK_REALTIME, &until) == 0);
            until.tv_sec += POINT_LOOK_S;
            (void)pthread_cond_timedwait(&xs->work, &xs->mutex, &until);
        }
        const bool work = has_work(xs);
        pthread_mutex_unlock(&xs->mutex);
        if (work) return;
    }
}

/* One round of work. False: none is left, and the engine is closing. */
static bool reclaim_round(local *l) {
    extents *xs = &l->ext;
    punch batch[PUNCH_BATCH];
    wait_for_work(l);
    pthread_mutex_lock(&xs->mutex);
    const bool rescan = xs->rescan && !xs->stop;
    const size_t n = take_punches_locked(xs, batch, PUNCH_BATCH);
    extent *x = xs->todo;
    if (x != NULL) {
        xs->todo = x->todo;
        x->queued = false;
    }
    const bool more = rescan || n > 0 || x != NULL || !xs->stop;
    xs->rescan = false;
    pthread_mutex_unlock(&xs->mutex);
    if (rescan) punch_pending_rows(l);
    punch_batch(l, batch, n);
    if (x != NULL) reclaim_extent(l, x);
    return more;
}

void reclaim_now(local *l) {
    extents *xs = &l->ext;
    for (;;) {
        pthread_mutex_lock(&xs->mutex);
        const bool work = xs->rescan || xs->punch_count > 0 || xs->todo != NULL;
        pthread_mutex_unlock(&xs->mutex);
        if (!work || xs->punches == NULL) return;
        (void)reclaim_round(l);
    }
}

void *reclaim_thread(void *arg) {
    local *l = arg;
    reclaim_census(l);
    while (reclaim_round(l)) continue;
    return NULL;
}

/* ---- recovery ---- */

/* Punches what stands between the runs of an extent; ret_end: the end of the last. */
static err punch_gaps(local *l, uint32_t id, int fd, uint64_t *ret_end) {
    const system_key prefix = system_key_extent('R', id);
    rocksdb_iterator_t *it = rows_system_iter(l, NULL);
    uint64_t end = 0;
    int failed = 0;
    err e = OK;
    for (rocksdb_iter_seek(it, (const char *)prefix.b, prefix.len); rocksdb_iter_valid(it);
         rocksdb_iter_next(it)) {
        size_t key_len, value_len;
        const char *key = rocksdb_iter_key(it, &key_len);
        if (!slice_starts(slice_of(key, key_len), system_key_slice(&prefix))) break;
        const char *value = rocksdb_iter_value(it, &value_len);
        run r;
        uint64_t stream;
        TRY_TO(out,
               run_row_parse(slice_of(key, key_len), slice_of(value, value_len), 'R', &r, &stream));
        if (r.offset > end && failed == 0) failed = make_hole(l, fd, end, r.offset);
        if (r.offset + run_disk_len(&r) > end) end = r.offset + run_disk_len(&r);
    }
    char *text = NULL;
    rocksdb_iter_get_error(it, &text);
    if (text != NULL) e = rows_error(text, "recovery of an extent");
    if (e == OK && failed < 0) e = err_fail_errno(ERR_IO, -failed, "recovery: punch");
    *ret_end = end;
out:
    rocksdb_iter_destroy(it);
    return e;
}

err reclaim_recover(local *l, uint32_t id, uint64_t *ret_size) {
    char name[16];
    extent_name(id, name);
    int fd = l->io->open(l->io, l->extents_fd, name, O_RDWR);
    if (fd == -ENOENT) { /* lost; check says what was in it */
        LOG(LOG_ERROR, "engine.extent_missing", LF_C("file", name));
        *ret_size = 0;
        return OK;
    }
    if (fd < 0) return err_fail_errno(ERR_IO, -fd, "extents/%s: open", name);
    uint64_t end, size, allocated;
    err e = punch_gaps(l, id, fd, &end);
    if (e == OK) {
        int r = l->io->stat(l->io, fd, &size, &allocated);
        if (r == 0 && size > end) r = l->io->truncate(l->io, fd, end);
        if (r == 0) r = l->io->fdatasync(l->io, fd);
        if (r < 0) e = err_fail_errno(ERR_IO, -r, "extents/%s: recovery", name);
    }
    l->io->close(l->io, fd);
    TRY(e);
    TRY(extent_put_row(l, id, true, end));
    LOG(LOG_INFO, "engine.extent_recovered", LF_C("file", name), LF_I("bytes", end));
    *ret_size = end;
    return OK;
}
