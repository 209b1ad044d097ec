/* engine/local: opening, closing, failing; the table of its calls.
 *
 * What failing means. A write or a sync of data that somebody may rely on has failed. Then the
 * disk's state is unknown and the kernel may have forgotten the failure, so nothing is tried again:
 *
 *   OPEN --local_fail--> FAILED --engine_close--> closed --engine_local_open: recovery--> OPEN
 *
 * In FAILED, reads go on; every change answers ERR_READ_ONLY; nothing is written, punched,
 * truncated, unlinked or flushed, not even on close. Only opening again leaves the state. RocksDB
 * would go on by itself (after ENOSPC it syncs the same log again, and flushes), so its background work is
 * called off.
 *
 * A full disk is not a failure as long as nothing was harmed: see local_space,
 * extent.c:preallocate and stream.c:write_error. */
#include "engine/local/private.h"

bool local_failed(local *l) {
    return atomic_load_explicit(&l->failed, memory_order_acquire);
}

err local_fail(local *l, err e) {
    if (atomic_exchange(&l->failed, true)) return e;
    LOG(LOG_ERROR, "engine.failed", LF_C("path", l->path), LF_C("detail", err_detail()));
    if (l->rows.db != NULL) rocksdb_cancel_all_background_work(l->rows.db, 0);
    return e;
}

err local_writable(local *l) {
    ENSURE(!l->read_only, ERR_READ_ONLY, "%s is open for reading only", l->path);
    ENSURE(!local_failed(l), ERR_READ_ONLY,
           "a write to %s failed; it takes no changes until it is opened again", l->path);
    return OK;
}

err local_space(local *l, uint64_t more) {
    uint64_t left, total;
    if (l->io->free_space(l->io, l->dir_fd, &left, &total) < 0) return OK; /* a write will tell */
    uint64_t reserve = total / 32;
    if (reserve < SPACE_RESERVE_MIN) reserve = SPACE_RESERVE_MIN;
    if (reserve > SPACE_RESERVE_MAX) reserve = SPACE_RESERVE_MAX;
    /* What is in memory only will want its place too; asked when it may matter. */
    if (left < SPACE_PLENTY) reserve += rows_unflushed(l);
    ENSURE(left >= reserve && left - reserve >= more, ERR_NO_SPACE,
           "the disk of %s has %llu MiB left, of which %llu are kept for deleting and tidying",
           l->path, (unsigned long long)(left >> 20), (unsigned long long)(reserve >> 20));
    return OK;
}

static uint64_t local_new_id(engine *e) {
    local *l = local_of(e);
    MUST(!l->read_only);
    const uint64_t n = atomic_fetch_add(&l->id_counter, 1) + 1;
    MUST(n < 1ull << 40 && l->epoch < 1ull << 24);
    return l->epoch << 40 | n;
}

static void local_stats(engine *e, engine_stats *ret) {
    local *l = local_of(e);
    *ret = (engine_stats){.commits = atomic_load(&l->commit.commits),
                          .commit_batches = atomic_load(&l->commit.batches),
                          .log_first = atomic_load(&l->log.first),
                          .log_next = atomic_load(&l->log.next),
                          .failed = local_failed(l)};
    rows_stats(l, ret);
    extents_stats(l, ret);
}

static void local_close(engine *e) {
    local *l = local_of(e);
    bool flushed;
    point_done(l);
    extents_close(l); /* the last to commit */
    commit_stop(l);
    rows_close(l, &flushed);
    if (flushed) closed_write(l);
    vault_close(l);
    fds_done(l);
    writers_done(l);
    buffers_done(l);
    log_done(l);
    commit_done(l);
    point_free(l);
    folder_close(l);
    l->magic = 0;
    free(l->path);
    free(l);
}

static const engine_vtable local_vtable = {
    .close = local_close,
    .get = local_get,
    .scan = local_scan,
    .cursor_next = local_cursor_next,
    .cursor_seek = local_cursor_seek,
    .cursor_free = local_cursor_free,
    .txn_begin = local_txn_begin,
    .txn_put = local_txn_put,
    .txn_delete = local_txn_delete,
    .txn_adopt = local_txn_adopt,
    .txn_release = local_txn_release,
    .txn_log = local_txn_log,
    .txn_commit = local_txn_commit,
    .txn_commit_later = local_txn_commit_later,
    .txn_abort = local_txn_abort,
    .stream_create = local_stream_create,
    .stream_room = local_stream_room,
    .stream_filled = local_stream_filled,
    .stream_sync = local_stream_sync,
    .stream_abort = local_stream_abort,
    .stream_read = local_stream_read,
    .stream_len = local_stream_len,
    .vault_put = local_vault_put,
    .vault_get = local_vault_get,
    .vault_destroy = local_vault_destroy,
    .vault_each = local_vault_each,
    .log_read = local_log_read,
    .log_next = local_log_next,
    .log_trim = local_log_trim,
    .point_begin = local_point_begin,
    .point_renew = local_point_renew,
    .point_end = local_point_end,
    .check = local_check,
    .stats = local_stats,
    .new_id = local_new_id,
};

static local *local_new(const engine_local_options *o, const local_tune *tune) {
    local *l = calloc(1, sizeof *l);
    MUST(l != NULL && o->path != NULL);
    l->base.v = &local_vtable;
    l->magic = LOCAL_MAGIC;
    l->path = strdup(o->path);
    MUST(l->path != NULL);
    l->read_only = o->read_only;
    l->io = tune != NULL && tune->io != NULL ? tune->io : &io_real;
    l->dir_fd = l->extents_fd = l->lock_fd = -1;
    l->rows.cache_bytes = o->cache_bytes != 0 ? o->cache_bytes : 256ull << 20;
    l->ext.extent_bytes = EXTENT_BYTES;
    l->ext.run_bytes_max = RUN_BYTES_MAX;
    l->ext.run_step_first = RUN_STEP_FIRST;
    if (tune != NULL && tune->extent_bytes != 0) l->ext.extent_bytes = tune->extent_bytes;
    if (tune != NULL && tune->run_bytes_max != 0) l->ext.run_bytes_max = tune->run_bytes_max;
    if (tune != NULL && tune->run_step_first != 0) l->ext.run_step_first = tune->run_step_first;
    if (tune != NULL) l->ext.lane_count = tune->lanes;
    if (tune != NULL) l->rows.write_bytes = tune->write_bytes;
    l->quiet = tune != NULL && tune->quiet;
    MUST(l->ext.lane_count <= LANES_MAX && l->ext.run_bytes_max <= l->ext.extent_bytes &&
         l->ext.run_step_first <= l->ext.run_bytes_max);
    commit_init(l);
    log_init(l);
    fds_init(l);
    buffers_init(l);
    writers_init(l);
    vault_init(l);
    point_init(l);
    extents_init(l);
    return l;
}

/* Opening writes: a recovered log is flushed, the epoch is put, and RocksDB cannot carry on (it aborts) when
 * there is no room for that. So it is refused before RocksDB is asked. */
static err room_to_open(local *l) {
    uint64_t left, total;
    if (l->io->free_space(l->io, l->dir_fd, &left, &total) < 0) return OK;
    ENSURE(left >= SPACE_TO_OPEN, ERR_NO_SPACE,
           "the disk of %s is full: %llu MiB are free and opening needs %llu MiB; make room "
           "(nothing in the "
           "data folder may be deleted by hand) and start again",
           l->path, (unsigned long long)(left >> 20), (unsigned long long)(SPACE_TO_OPEN >> 20));
    return OK;
}

err engine_local_open_tuned(const engine_local_options *o, const local_tune *tune, engine **ret) {
    MUST(!(o->create && o->read_only));
    local *l = local_new(o, tune);
    err e;
    TRY_TO(failed, folder_open(l, o->create));
    if (!o->read_only) point_sweep(l);
    if (!o->read_only) TRY_TO(failed, room_to_open(l));
    if (!o->create) TRY_TO(failed, closed_check(l));
    TRY_TO(failed, rows_open(l, o->create));
    TRY_TO(failed, folder_upgrade(l));
    TRY_TO(failed, log_open(l));
    TRY_TO(failed, vault_open(l, o->create));
    TRY_TO(failed, extents_open(l));
    if (!o->read_only) TRY_TO(failed, extents_start(l));
    if (!o->read_only) commit_start(l);
    if (o->create) TRY_TO(failed, folder_finish_create(l));
    *ret = &l->base;
    return OK;
failed:;
    char detail[512];
    snprintf(detail, sizeof detail, "%s", err_detail());
    local_close(&l->base);
    return err_fail(e, "%s", detail);
}

err engine_local_open(const engine_local_options *o, engine **ret) {
    return engine_local_open_tuned(o, NULL, ret);
}
