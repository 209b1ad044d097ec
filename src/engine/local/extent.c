/* Extents: append-only files of 256 MiB that hold runs. Allocation, states, accounting.
 *
 * Invariants
 *   1. An extent's row, state open, is durable before its first byte is handed out; so after a
 *      crash every file that may hold unadopted bytes is known without looking at the files.
 *   2. Space is handed out upwards and never twice: what was adopted once is never written again,
 *      and punching a range twice is harmless. (Only what a run reserved and never used is handed
 *      out again, while nothing follows it.)
 *   3. A run is pinned from allocation until its row is durable or its space is given back; an
 *      extent is sealed only without pins. So in a sealed extent, what is not a hole has a run
 *      row or a pending row.
 *   4. Nothing is punched, truncated or unlinked before the transaction that released it is
 *      durable, nor ever once the engine failed: then nobody knows which rows the disk holds.
 *   5. A file is unlinked only when sealed, with no live byte by count and no run row by look-up.
 *   6. live is exact from the end of the census on: its iterator was opened before the first
 *      commit of this run, and every later change is added to it.
 *
 *   (none) --extent_make--> OPEN --lane_retire--> FULL --seal, without pins--> SEALED
 *                             |                                                  ^ |
 *                             +---------------crash: reclaim_recover-------------+ |
 *                                                                                  |
 *   (gone) <--unlink_dead-- DEAD <--reclaim_extent, when nothing lives in it-------+ */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "engine/local/private.h"

void extent_name(uint32_t id, char out[16]) {
    snprintf(out, 16, "%08x.ext", id);
}

bool extent_name_parse(const char *name, uint32_t *ret_id) {
    if (strlen(name) != 12 || strcmp(name + 8, ".ext") != 0) return false;
    uint32_t id = 0;
    for (int i = 0; i < 8; i++) {
        const char c = name[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return false;
        id = id << 4 | (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    *ret_id = id;
    return true;
}

/* ---- rows ---- */

err extent_put_row(local *l, uint32_t id, bool sealed, uint64_t size) {
    const system_key key = system_key_extent('E', id);
    buf b;
    buf_init(&b, 64);
    record_begin(&b, 1);
    record_num(&b, 1, sealed);
    record_num(&b, 2, size);
    local_txn *t = txn_system(l);
    txn_system_put(t, &key, buf_slice(&b));
    buf_done(&b);
    return local_txn_commit((engine_txn *)t);
}

static err two_numbers(slice value, uint64_t *ret_first, uint64_t *ret_second) {
    record_reader r;
    record_field f;
    bool more;
    uint64_t v[2] = {0, 0};
    TRY(record_open(&r, value, 1));
    for (;;) {
        TRY(record_next(&r, &f, &more));
        if (!more) break;
        if (!f.is_bytes && (f.tag == 1 || f.tag == 2)) v[f.tag - 1] = f.num;
    }
    *ret_first = v[0];
    *ret_second = v[1];
    return OK;
}

err extent_row_parse(slice value, bool *ret_sealed, uint64_t *ret_size) {
    uint64_t sealed, size;
    TRY(two_numbers(value, &sealed, &size));
    ENSURE(sealed <= 1 && size <= (1ull << 40), ERR_CORRUPT, "extent row: out of range");
    *ret_sealed = sealed != 0;
    *ret_size = size;
    return OK;
}

slice run_row(buf *b, uint64_t data_len, uint64_t stream) {
    record_begin(b, 1);
    record_num(b, 1, data_len);
    record_num(b, 2, stream);
    return buf_slice(b);
}

err run_row_parse(slice key, slice value, char kind, run *ret, uint64_t *ret_stream) {
    run r;
    uint32_t block;
    TRY(system_key_parse(key, kind, &r.extent, &block));
    TRY(two_numbers(value, &r.data_len, ret_stream));
    ENSURE(r.data_len > 0 && r.data_len <= UINT32_MAX, ERR_CORRUPT, "run row: length out of range");
    r.offset = (uint64_t)block * EXTENT_BLOCK;
    r.blocks = run_blocks_for(r.data_len);
    *ret = r;
    return OK;
}

/* ---- the table of extents ---- */

extent *extent_find_locked(local *l, uint32_t id) {
    extent *x = l->ext.hash[id % EXTENT_HASH];
    while (x != NULL && x->id != id) x = x->next;
    return x;
}

static extent *extent_add_locked(local *l, uint32_t id, extent_state state, uint64_t size) {
    extent *x = calloc(1, sizeof *x);
    MUST(x != NULL);
    x->id = id;
    x->state = state;
    x->fd = x->direct = -1;
    x->size = size;
    syncer_init(&x->sync);
    x->next = l->ext.hash[id % EXTENT_HASH];
    l->ext.hash[id % EXTENT_HASH] = x;
    return x;
}

static void extent_free(local *l, extent *x) {
    syncer_done(&x->sync);
    if (x->fd >= 0) l->io->close(l->io, x->fd);
    if (x->direct >= 0) l->io->close(l->io, x->direct);
    free(x);
}

void extent_remove_locked(local *l, extent *x) {
    extent **at = &l->ext.hash[x->id % EXTENT_HASH];
    while (*at != x) at = &(*at)->next;
    *at = x->next;
    extent_free(l, x);
}

void extent_look_locked(local *l, extent *x) {
    if (x->queued) return;
    x->queued = true;
    x->todo = l->ext.todo;
    l->ext.todo = x;
    pthread_cond_signal(&l->ext.work);
}

void extent_unpin_locked(local *l, extent *x) {
    MUST(x->pins > 0);
    x->pins--;
    if (x->pins == 0 && x->state == EXTENT_FULL) extent_look_locked(l, x);
}

/* ---- allocation ---- */

/* Reserves the file's space, less of it when the disk has not that much. */
static err preallocate(local *l, int fd, const char *name, uint64_t *size) {
    const uint64_t smallest = *size < EXTENT_BYTES_MIN ? *size : EXTENT_BYTES_MIN;
    int r = -ENOSPC;
    for (uint64_t n = *size; n >= smallest; n /= 2) {
        if (local_space(l, n) != OK) continue;
        r = l->io->fallocate(l->io, fd, 0, n);
        /* Without fallocate a full disk is met by a write, which only ends that stream. */
        if (r == -EOPNOTSUPP || r == -ENOSYS) r = l->io->truncate(l->io, fd, n);
        if (r == 0) {
            *size = n;
            return OK;
        }
        if (r != -ENOSPC && r != -EDQUOT) break;
    }
    if (r == -ENOSPC || r == -EDQUOT)
        return err_fail(ERR_NO_SPACE, "the disk of %s has no room for %llu MiB more of content",
                        l->path, (unsigned long long)(smallest >> 20));
    return err_fail_errno(ERR_IO, -r, "extents/%s: fallocate", name);
}

/* A new file and its row, both durable before anybody may write (invariant 1). */
static err extent_make(local *l, extent **ret) {
    extents *xs = &l->ext;
    pthread_mutex_lock(&xs->mutex);
    const uint32_t id = xs->next_id++;
    pthread_mutex_unlock(&xs->mutex);
    char name[16];
    extent_name(id, name);
    uint64_t size = xs->extent_bytes;
    int fd = l->io->open(l->io, l->extents_fd, name, O_RDWR | O_CREAT | O_EXCL);
    if (fd == -ENOSPC) return err_fail_errno(ERR_NO_SPACE, -fd, "extents/%s: create", name);
    if (fd < 0) return err_fail_errno(ERR_IO, -fd, "extents/%s: create", name);
    err e = preallocate(l, fd, name, &size);
    if (e == OK) {
        int r = l->io->fsync(l->io, fd);
        if (r == 0) r = l->io->fsync(l->io, l->extents_fd);
        if (r < 0) e = local_fail(l, err_fail_errno(ERR_IO, -r, "extents/%s: fsync", name));
    }
    if (e == OK) e = extent_put_row(l, id, false, size);
    if (e != OK) {
        l->io->close(l->io, fd);
        if (!local_failed(l)) (void)l->io->unlink(l->io, l->extents_fd, name);
        return e;
    }
    const int direct = l->io->open(l->io, l->extents_fd, name, O_RDWR | O_DIRECT);
    pthread_mutex_lock(&xs->mutex);
    *ret = extent_add_locked(l, id, EXTENT_OPEN, size);
    (*ret)->fd = fd;
    (*ret)->direct = direct < 0 ? -1 : direct;
    pthread_mutex_unlock(&xs->mutex);
    return OK;
}

static void lane_retire(local *l, lane *n) {
    pthread_mutex_lock(&l->ext.mutex);
    extent *x = n->current;
    n->current = NULL;
    x->state = EXTENT_FULL;
    if (x->pins == 0) extent_look_locked(l, x);
    pthread_mutex_unlock(&l->ext.mutex);
}

static lane *lane_lock(extents *xs) {
    const unsigned first = atomic_fetch_add(&xs->lane_next, 1) % xs->lane_count;
    for (unsigned i = 0; i < xs->lane_count; i++) {
        lane *n = &xs->lanes[(first + i) % xs->lane_count];
        if (pthread_mutex_trylock(&n->mutex) == 0) return n;
    }
    pthread_mutex_lock(&xs->lanes[first].mutex);
    return &xs->lanes[first];
}

static bool take_locked(extent *x, uint64_t want, uint64_t least, run *ret) {
    const uint64_t left = x->size - x->tail;
    if (left < least) return false;
    const uint64_t n = want < left ? want : left;
    *ret = (run){.extent = x->id, .offset = x->tail, .blocks = (uint32_t)(n / EXTENT_BLOCK)};
    x->tail += n;
    x->pins++;
    return true;
}

err extent_alloc(local *l, uint64_t want, uint64_t least, run *ret, extent **ret_extent) {
    MUST(least > 0 && least <= want && want % EXTENT_BLOCK == 0);
    lane *n = lane_lock(&l->ext);
    err e = OK;
    for (;;) {
        if (n->current != NULL) {
            pthread_mutex_lock(&l->ext.mutex);
            const bool taken = take_locked(n->current, want, least, ret);
            pthread_mutex_unlock(&l->ext.mutex);
            if (taken) break;
            lane_retire(l, n);
        }
        extent *made = NULL;
        TRY_TO(out, extent_make(l, &made));
        MUST(made != NULL && made->size >= least);
        n->current = made;
    }
    *ret_extent = n->current;
out:
    pthread_mutex_unlock(&n->mutex);
    return e;
}

bool extent_extend(local *l, extent *x, run *r, uint64_t more) {
    bool done = false;
    pthread_mutex_lock(&l->ext.mutex);
    const uint64_t len = run_disk_len(r);
    uint64_t n = more;
    if (n > x->size - x->tail) n = x->size - x->tail;
    if (len + n > l->ext.run_bytes_max)
        n = len >= l->ext.run_bytes_max ? 0 : l->ext.run_bytes_max - len;
    n -= n % EXTENT_BLOCK;
    if (x->state == EXTENT_OPEN && r->offset + len == x->tail && n > 0) {
        x->tail += n;
        r->blocks += (uint32_t)(n / EXTENT_BLOCK);
        done = true;
    }
    pthread_mutex_unlock(&l->ext.mutex);
    return done;
}

void extent_trim(local *l, extent *x, run *r, uint32_t blocks) {
    MUST(blocks > 0 && blocks <= r->blocks);
    if (blocks == r->blocks) return;
    const uint32_t left = r->blocks - blocks;
    const uint64_t end = r->offset + run_disk_len(r);
    r->blocks = blocks;
    pthread_mutex_lock(&l->ext.mutex);
    if (x->state == EXTENT_OPEN && x->tail == end) {
        x->tail -= (uint64_t)left * EXTENT_BLOCK;
    } else {
        x->pins++;
        reclaim_push_locked(l, (punch){.extent = x->id,
                                       .blocks = left,
                                       .offset = end - (uint64_t)left * EXTENT_BLOCK,
                                       .pin = true});
    }
    pthread_mutex_unlock(&l->ext.mutex);
}

int extent_write(local *l, extent *x, bool *direct, const uint8_t *p, size_t n, uint64_t at) {
    if (*direct && x->direct >= 0 && !atomic_load(&l->ext.direct_unsupported)) {
        const int r = l->io->pwrite(l->io, x->direct, p, n, at);
        if (r != -EINVAL) return r;
        /* It can be opened so and not written so, or wants larger blocks than ours: nothing is lost, for the
         * space is ours and is written again, whole. */
        if (!atomic_exchange(&l->ext.direct_unsupported, true))
            LOG(LOG_WARN, "engine.direct_unsupported", LF_C("path", l->path));
    }
    *direct = false;
    return l->io->pwrite(l->io, x->fd, p, n, at);
}

/* ---- accounting ---- */

static void count_locked(local *l, extent *x, const run *r, int sign) {
    const int64_t disk = (int64_t)run_disk_len(r) * sign;
    x->live += disk;
    l->ext.live_bytes += disk;
    l->ext.live_data += (int64_t)r->data_len * sign;
}

void extent_adopted(local *l, const run *r) {
    pthread_mutex_lock(&l->ext.mutex);
    extent *x = extent_find_locked(l, r->extent);
    MUST(x != NULL);
    count_locked(l, x, r, 1);
    extent_unpin_locked(l, x);
    pthread_mutex_unlock(&l->ext.mutex);
}

void extent_abandoned(local *l, const run *r) {
    pthread_mutex_lock(&l->ext.mutex);
    reclaim_push_locked(
        l, (punch){.extent = r->extent, .blocks = r->blocks, .offset = r->offset, .pin = true});
    pthread_mutex_unlock(&l->ext.mutex);
}

void extent_released(local *l, const run *r) {
    pthread_mutex_lock(&l->ext.mutex);
    extent *x = extent_find_locked(l, r->extent);
    if (x != NULL) {
        count_locked(l, x, r, -1);
        reclaim_push_locked(
            l, (punch){.extent = r->extent, .blocks = r->blocks, .offset = r->offset, .row = true});
        if (x->live <= 0 && x->state == EXTENT_SEALED) extent_look_locked(l, x);
    }
    pthread_mutex_unlock(&l->ext.mutex);
}

void extents_stats(local *l, engine_stats *ret) {
    extents *xs = &l->ext;
    pthread_mutex_lock(&xs->mutex);
    int64_t disk = xs->live_bytes;
    for (unsigned i = 0; i < xs->lane_count; i++) {
        const extent *x = xs->lanes[i].current;
        if (x != NULL) disk += (int64_t)x->size - x->live;
    }
    for (size_t i = 0; i < xs->punch_count; i++)
        disk += (int64_t)xs->punches[(xs->punch_head + i) % PUNCH_QUEUE_MAX].blocks * EXTENT_BLOCK;
    ret->stream_bytes_live = xs->live_data > 0 ? (uint64_t)xs->live_data : 0;
    ret->stream_bytes_disk = disk > 0 ? (uint64_t)disk : 0;
    pthread_mutex_unlock(&xs->mutex);
}

/* ---- opening and closing ---- */

static err load_rows(local *l) {
    rocksdb_iterator_t *it = rows_system_iter(l, NULL);
    err e = OK;
    for (rocksdb_iter_seek(it, "E", 1); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
        size_t key_len, value_len;
        const char *key = rocksdb_iter_key(it, &key_len);
        if (key_len == 0 || key[0] != 'E') break;
        const char *value = rocksdb_iter_value(it, &value_len);
        uint32_t id;
        bool sealed;
        uint64_t size;
        TRY_TO(out, system_key_parse(slice_of(key, key_len), 'E', &id, NULL));
        TRY_TO(out, extent_row_parse(slice_of(value, value_len), &sealed, &size));
        extent *x = extent_add_locked(l, id, sealed ? EXTENT_SEALED : EXTENT_FULL, size);
        x->tail = size;
        if (id >= l->ext.next_id) l->ext.next_id = id + 1;
    }
    char *text = NULL;
    rocksdb_iter_get_error(it, &text);
    if (text != NULL) e = rows_error(text, "extents");
out:
    rocksdb_iter_destroy(it);
    return e;
}

/* A file without a row: made, and never used, just before a crash. It goes when it holds nothing;
 * one that holds data (somebody put back older rows?) is left for a person; check reports it. */
static void stray_file(void *ctx, const char *name) {
    local *l = ctx;
    uint32_t id;
    if (!extent_name_parse(name, &id)) return;
    if (id >= l->ext.next_id) l->ext.next_id = id + 1;
    if (extent_find_locked(l, id) != NULL || l->read_only) return;
    int fd = l->io->open(l->io, l->extents_fd, name, O_RDONLY);
    if (fd < 0) return;
    uint64_t at;
    const bool nothing = io_first_data(l->io, fd, 0, UINT64_MAX, &at) == 0;
    l->io->close(l->io, fd);
    if (nothing)
        (void)l->io->unlink(l->io, l->extents_fd, name);
    else
        LOG(LOG_WARN, "engine.stray_extent", LF_C("file", name));
}

static err recover_all(local *l) {
    for (size_t i = 0; i < EXTENT_HASH; i++) {
        for (extent *x = l->ext.hash[i]; x != NULL; x = x->next) {
            if (x->state != EXTENT_FULL) continue;
            TRY(reclaim_recover(l, x->id, &x->size));
            x->state = EXTENT_SEALED;
            x->tail = x->size;
        }
    }
    return OK;
}

void extents_init(local *l) {
    extents *xs = &l->ext;
    pthread_mutex_init(&xs->mutex, NULL);
    pthread_cond_init(&xs->work, NULL);
    for (unsigned i = 0; i < LANES_MAX; i++) pthread_mutex_init(&xs->lanes[i].mutex, NULL);
    if (xs->lane_count == 0) {
        const long cores = sysconf(_SC_NPROCESSORS_ONLN);
        xs->lane_count = cores < 2 ? 2 : cores > LANES_MAX ? LANES_MAX : (unsigned)cores;
    }
    xs->next_id = 1;
}

err extents_open(local *l) {
    extents *xs = &l->ext;
    TRY(load_rows(l));
    int r = l->io->list(l->io, l->extents_fd, stray_file, l);
    ENSURE(r == 0, ERR_IO, "%s/extents cannot be listed: %s", l->path, strerror(-r));
    if (!l->read_only) return recover_all(l);
    xs->census = rows_system_iter(l, NULL); /* no thread runs: counted at once */
    reclaim_census(l);
    return OK;
}

err extents_start(local *l) {
    extents *xs = &l->ext;
    xs->punches = calloc(PUNCH_QUEUE_MAX, sizeof *xs->punches);
    MUST(xs->punches != NULL);
    xs->rescan = true;
    xs->census = rows_system_iter(l, NULL);
    if (l->quiet) {
        reclaim_census(l);
        return OK;
    }
    int r = pthread_create(&xs->thread, NULL, reclaim_thread, l);
    if (r != 0) return err_fail_errno(ERR_IO, r, "no thread for the engine");
    xs->thread_started = true;
    return OK;
}

void extents_close(local *l) {
    extents *xs = &l->ext;
    for (unsigned i = 0; i < xs->lane_count; i++)
        if (xs->lanes[i].current != NULL) lane_retire(l, &xs->lanes[i]);
    pthread_mutex_lock(&xs->mutex);
    xs->stop = true;
    pthread_cond_signal(&xs->work);
    pthread_mutex_unlock(&xs->mutex);
    if (xs->thread_started)
        pthread_join(xs->thread, NULL);
    else if (l->quiet)
        reclaim_now(l);
    for (size_t i = 0; i < EXTENT_HASH; i++) {
        for (extent *x = xs->hash[i], *next; x != NULL; x = next) {
            next = x->next;
            extent_free(l, x);
        }
    }
    if (xs->census != NULL) rocksdb_iter_destroy(xs->census);
    free(xs->punches);
    for (unsigned i = 0; i < LANES_MAX; i++) pthread_mutex_destroy(&xs->lanes[i].mutex);
    pthread_cond_destroy(&xs->work);
    pthread_mutex_destroy(&xs->mutex);
}
