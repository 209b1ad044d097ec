/* The reaper: gives back what changes left behind. Everything it does is named by a row in JOB
 * before it begins, is done in transactions that each delete a row together with what it owned, and
 * can be begun again at any point.
 *
 * All jobs of a container are done by one thread (container id modulo REAPERS), so that garbage and
 * the purge of its container never meet. */
#include "store/internal.h"

#include <time.h>

/* A transaction of the reaper ends at so many rows, or so many bytes of values: a part of a block
 * list names up to ROW_CHUNK_BLOCKS pieces. */
#define BATCH_ROWS     256
#define BATCH_BYTES    (256u << 10)
#define RETRY_MS       250   /* a purge that waits for readers */
#define RETRY_ERROR_MS 10000 /* a job that failed: the disk is full, or worse */
#define SWEEP_EVERY_US (600 * 1000000ll)

job *job_new(job_kind kind, uint64_t container, uint64_t id, uint64_t hash) {
    job *j = malloc(sizeof *j);
    MUST(j);
    *j = (job){.kind = kind, .container = container, .id = id, .hash = hash};
    return j;
}

static void job_done(store *s, job *j) {
    if (j->kind == JOB_GARBAGE) atomic_fetch_sub(&s->garbage_pending, 1);
    free(j);
}

static void push(reaper *r, job *j) {
    j->next = NULL;
    *(r->last ? &r->last->next : &r->first) = j;
    r->last = j;
    r->count++;
}

void reaper_submit(store *s, job *jobs) {
    for (job *j = jobs, *next; j; j = next) {
        next = j->next;
        if (j->seq == 0) {
            j->seq = atomic_fetch_add(&s->readers.seq, 1);
            if (j->kind == JOB_GARBAGE) atomic_fetch_add(&s->garbage_pending, 1);
        }
        reaper *r = &s->reapers[j->container % REAPERS];
        pthread_mutex_lock(&r->lock);
        if (r->count < REAPER_JOBS_MAX) {
            push(r, j);
        } else { /* its row is still there, and read when the queue is empty */
            r->rescan = true;
            job_done(s, j);
        }
        pthread_cond_signal(&r->wake);
        pthread_mutex_unlock(&r->lock);
    }
}

/* ---- deleting ranges of rows
 * ------------------------------------------------------------------------------ */

/* Adds to a transaction what must go with a row, before the row itself. */
typedef err also(void *ctx, engine_txn *t, slice key, slice value);

typedef struct range {
    store *s;
    slice shard;
    engine_table table;
    slice lower, upper;
    also *also; /* may be NULL */
    void *ctx;
} range;

/* One batch of rows in one transaction, after *key (empty: from the beginning), which it moves on.
 */
static err delete_batch(const range *r, buf *key, bool *ret_more) {
    engine_cursor *cur = NULL;
    engine_txn *t = NULL;
    slice k, v;
    size_t n = 0, bytes = 0;
    bool more = true;
    err e;
    TRY_TO(out, engine_txn_begin(r->s->engine, r->shard, &t));
    TRY_TO(out, engine_scan(r->s->engine, r->table, key->len ? buf_slice(key) : r->lower, r->upper,
                            &cur));
    for (; n < BATCH_ROWS && bytes < BATCH_BYTES; n++, bytes += v.len) {
        TRY_TO(out, engine_cursor_next(cur, &k, &v, &more));
        if (!more) break;
        e = r->also ? r->also(r->ctx, t, k, v) : OK;
        if (e == ERR_CORRUPT) /* what it named cannot be known; `check` reports what is left over */
            LOG(LOG_ERROR, "reaper_row_damaged", LF_C("detail", err_detail()));
        else if (e != OK)
            goto out;
        engine_txn_delete(t, r->table, k);
        buf_reset(key);
        buf_put(key, k);
    }
    e = OK;
    if (n > 0) {
        e = engine_txn_commit(t);
        t = NULL;
    }
out:
    engine_cursor_free(cur);
    engine_txn_abort(t);
    if (e == OK) *ret_more = more;
    return e;
}

static err delete_range(const range *r) {
    buf key;
    bool more = true;
    err e = OK;
    buf_init(&key, ENGINE_KEY_MAX);
    while (more && e == OK)
        e = atomic_load(&r->s->stopping) && r->s->background ? ERR_CANCELLED
                                                             : delete_batch(r, &key, &more);
    buf_done(&key);
    return e;
}

/* ---- garbage
 * ------------------------------------------------------------------------------------------------
 */

typedef struct garbage_ctx {
    store *s;
    blob_key key; /* for CONTENT rows */
} garbage_ctx;

static void free_piece(garbage_ctx *g, engine_txn *t, const row_piece *p) {
    if (p->where == ROW_INLINE)
        engine_txn_delete(t, ENGINE_CONTENT, key_content(&g->key, p->id));
    else if (p->where == ROW_STREAM)
        engine_txn_release(t, p->ref);
}

static err also_part(void *ctx, engine_txn *t, slice key, slice value) {
    (void)key;
    row_chunk chunk;
    TRY(row_chunk_get(value, &chunk));
    for (uint32_t i = 0; i < chunk.count; i++) {
        row_block b;
        TRY(row_block_take(&chunk.blocks, &b));
        if (!b.repeat) free_piece(ctx, t, &b.piece);
    }
    return OK;
}

static err also_staged(void *ctx, engine_txn *t, slice key, slice value) {
    (void)key;
    row_staged st;
    TRY(row_staged_get(value, &st));
    free_piece(ctx, t, &st.piece);
    return OK;
}

/* The rows of a block list or of a staging session. */
static err collect_rows(garbage_ctx *g, slice begin, also *also_fn) {
    buf low, high;
    buf_init(&low, ENGINE_KEY_MAX);
    buf_init(&high, ENGINE_KEY_MAX);
    buf_put(&low, begin);
    buf_put(&high, begin);
    buf_byte(&high, 0xff);
    blob_key shard = g->key;
    range r = {.s = g->s,
               .shard = key_base(&shard),
               .table = ENGINE_BLOCK,
               .lower = buf_slice(&low),
               .upper = buf_slice(&high),
               .also = also_fn,
               .ctx = g};
    err e = delete_range(&r);
    buf_done(&low);
    buf_done(&high);
    return e;
}

/* The pieces that the garbage row names itself, and with them the row. */
static err collect_pieces(garbage_ctx *g, const short_key *row_key, slice pieces) {
    engine_txn *t;
    err e = OK;
    TRY(engine_txn_begin(g->s->engine, key_base(&g->key), &t));
    while (pieces.len > 0) {
        row_piece p;
        TRY_TO(fail, row_waste_take(&pieces, &p));
        free_piece(g, t, &p);
    }
    engine_txn_delete(t, ENGINE_JOB, key_slice(row_key));
    return engine_txn_commit(t);
fail:
    engine_txn_abort(t);
    return e;
}

static err collect(store *s, uint64_t container, uint64_t id, arena *a) {
    short_key k;
    slice value;
    row_garbage row;
    key_garbage(&k, container, id);
    err e = engine_get(s->engine, ENGINE_JOB, key_slice(&k), a, false, &value);
    if (e == ERR_NOT_FOUND) return OK;
    TRY(e);
    TRY(row_garbage_get(value, &row));
    garbage_ctx *g = arena_alloc(a, sizeof *g);
    g->s = s;
    key_blob(&g->key, container, row.name);
    if (row.manifest)
        TRY(collect_rows(g, key_manifest_all(&g->key, row.manifest),
                         row.manifest_all ? also_part : NULL));
    if (row.session)
        TRY(collect_rows(g, key_staged_all(&g->key, row.session),
                         row.session_all ? also_staged : NULL));
    return collect_pieces(g, &k, row.pieces);
}

/* ---- purges
 * ---------------------------------------------------------------------------------------------------
 */

static err also_stream_of_blob(void *ctx, engine_txn *t, slice key, slice value) {
    (void)ctx;
    if (key.p[key.len - 1] != KEY_STATE) return OK; /* a marker */
    row_blob row;
    TRY(row_blob_get(value, &row));
    if (row.where == ROW_STREAM) engine_txn_release(t, row.ref);
    return OK;
}

static void release_stream(engine_txn *t, const row_piece *p) {
    if (p->where == ROW_STREAM) engine_txn_release(t, p->ref);
}

static err also_streams_of_part(engine_txn *t, slice value) {
    row_chunk chunk;
    TRY(row_chunk_get(value, &chunk));
    for (uint32_t i = 0; i < chunk.count; i++) {
        row_block b;
        TRY(row_block_take(&chunk.blocks, &b));
        if (!b.repeat) release_stream(t, &b.piece);
    }
    return OK;
}

static err also_streams_of_blocks(void *ctx, engine_txn *t, slice key, slice value) {
    (void)ctx;
    slice rest = slice_skip(key, KEY_ID_LEN), name;
    TRY(name_take(&rest, &name));
    ENSURE(rest.len > 0, ERR_CORRUPT, "a block's key is damaged");
    if (rest.p[0] == KEY_MANIFEST) return also_streams_of_part(t, value);
    row_staged st;
    TRY(row_staged_get(value, &st));
    release_stream(t, &st.piece);
    return OK;
}

/* All garbage of the container; nobody reads it any more. */
static err purge_garbage(store *s, uint64_t container) {
    short_key low, high;
    key_job(&low, KEY_JOB_GARBAGE, container);
    high = low;
    key_end(&high);
    for (;;) {
        engine_cursor *cur;
        slice k, v;
        bool more;
        uint64_t id = 0;
        TRY(engine_scan(s->engine, ENGINE_JOB, key_slice(&low), key_slice(&high), &cur));
        err e = engine_cursor_next(cur, &k, &v, &more);
        if (e == OK && more) {
            slice rest = slice_skip(k, 1 + KEY_ID_LEN);
            e = id_take(&rest, &id);
        }
        engine_cursor_free(cur);
        TRY(e);
        if (!more) return OK;
        arena *a = arena_new(16 << 10, 0);
        e = collect(s, container, id, a);
        arena_free(a);
        TRY(e);
        key_garbage(&low, container, id); /* on from here: over no tombstone twice */
    }
}

static err purge_table(store *s, uint64_t container, engine_table t, also *also_fn) {
    short_key low, high;
    key_id(&low, container);
    high = low;
    key_end(&high);
    range r = {.s = s,
               .shard = key_slice(&low),
               .table = t,
               .lower = key_slice(&low),
               .upper = key_slice(&high),
               .also = also_fn};
    return delete_range(&r);
}

static err purge_sessions(store *s, uint64_t container) {
    short_key low, high, shard;
    key_id(&shard, container);
    key_job(&low, KEY_JOB_STAGING, container);
    high = low;
    key_end(&high);
    range r = {.s = s,
               .shard = key_slice(&shard),
               .table = ENGINE_JOB,
               .lower = key_slice(&low),
               .upper = key_slice(&high)};
    return delete_range(&r);
}

static err delete_job_row(store *s, char kind, uint64_t id) {
    short_key k, shard;
    engine_txn *t;
    key_id(&shard, id);
    key_job(&k, kind, id);
    TRY(engine_txn_begin(s->engine, key_slice(&shard), &t));
    engine_txn_delete(t, ENGINE_JOB, key_slice(&k));
    return engine_txn_commit(t);
}

static err purge_row(store *s, char kind, uint64_t id, arena *a, row_purge *ret) {
    short_key k;
    slice value;
    key_job(&k, kind, id);
    TRY(engine_get(s->engine, ENGINE_JOB, key_slice(&k), a, false, &value));
    return row_purge_get(value, ret);
}

/* ERR_CONFLICT: readers are in the way; again later. */
static err purge(store *s, const job *j, arena *a) {
    row_purge row;
    err e = purge_row(s, KEY_JOB_PURGE, j->container, a, &row);
    if (e == ERR_NOT_FOUND) return OK;
    TRY(e);
    TRY(engine_vault_destroy(s->engine, j->container, row.slot));
    gate_wait(&s->gate);
    if (!readers_quiet(&s->readers, j->container, j->seq)) return ERR_CONFLICT;
    TRY(purge_garbage(s, j->container));
    TRY(purge_table(s, j->container, ENGINE_BLOCK, also_streams_of_blocks));
    TRY(purge_table(s, j->container, ENGINE_BLOB, also_stream_of_blob));
    TRY(purge_table(s, j->container, ENGINE_CONTENT, NULL));
    TRY(purge_sessions(s, j->container));
    TRY(delete_job_row(s, KEY_JOB_PURGE, j->container));
    LOG(LOG_INFO, "container_purged", LF_S("account", row.account),
        LF_S("container", row.container));
    return OK;
}

/* Turns one container of a deleted account into a purge of its own. */
static err doom_container(store *s, const row_purge *account, slice key, slice value, arena *a) {
    row_container row;
    TRY(row_container_get(value, &row));
    row_purge p = {.account = account->account,
                   .container = slice_skip(key, 1 + KEY_ID_LEN),
                   .slot = row.slot,
                   .deleted_us = account->deleted_us};
    short_key jk;
    engine_txn *t;
    key_job(&jk, KEY_JOB_PURGE, row.id);
    TRY(engine_txn_begin(s->engine, key, &t));
    engine_txn_delete(t, ENGINE_META, key);
    engine_txn_put(t, ENGINE_JOB, key_slice(&jk), ROW_ENCODE(purge, a, &p));
    TRY(engine_txn_commit(t));
    reaper_submit(s, job_new(JOB_PURGE, row.id, row.id, 0));
    return OK;
}

static err purge_account(store *s, const job *j, arena *a) {
    row_purge row;
    err e = purge_row(s, KEY_JOB_PURGE_ACCOUNT, j->id, a, &row);
    if (e == ERR_NOT_FOUND) return OK;
    TRY(e);
    TRY(engine_vault_destroy(s->engine, j->id, row.slot));
    gate_wait(&s->gate);
    short_key low, high;
    key_container(&low, j->id, SLICE_NONE);
    high = low;
    key_end(&high);
    engine_cursor *cur;
    TRY(engine_scan(s->engine, ENGINE_META, key_slice(&low), key_slice(&high), &cur));
    for (;;) {
        slice k, v;
        bool more;
        TRY_TO(out, engine_cursor_next(cur, &k, &v, &more));
        if (!more) break;
        TRY_TO(out, doom_container(s, &row, k, v, a));
    }
    e = delete_job_row(s, KEY_JOB_PURGE_ACCOUNT, j->id);
out:
    engine_cursor_free(cur);
    if (e == OK) LOG(LOG_INFO, "account_purged", LF_S("account", row.account));
    return e;
}

/* ---- staged blocks that nobody committed
 * -------------------------------------------------------------------- */

/* On the thread that purges this container, so that it finds the session or its purge has been. */
static err expire(store *s, uint64_t container, slice name, int64_t before_us, arena *a) {
    change ch CLEANUP(change_done);
    row_staging st;
    bool exists;
    TRY(change_begin_unchecked(&ch, s, a, container, name));
    TRY(change_staging(&ch, &st, &exists));
    if (!exists || st.changed_us >= before_us) return OK;
    change_drop_staging(&ch, &st, true);
    return change_commit(&ch);
}

static err sweep_row(reaper *r, slice key, slice value, int64_t before_us) {
    uint64_t container;
    slice rest = slice_skip(key, 1), name;
    TRY(id_take(&rest, &container));
    TRY(name_take(&rest, &name));
    row_staging st;
    TRY(row_staging_get(value, &st));
    if (container % REAPERS != (uint64_t)(r - r->store->reapers) || st.changed_us >= before_us)
        return OK;
    arena *a = arena_new(16 << 10, 0);
    name = name_unescape(arena_alloc(a, name.len), name);
    err e = expire(r->store, container, name, before_us, a);
    arena_free(a);
    return e;
}

static err sweep(reaper *r, int64_t before_us) {
    short_key low = {.len = 1, .b = {KEY_JOB_STAGING}}, high = low;
    key_end(&high);
    engine_cursor *cur;
    err e;
    TRY(engine_scan(r->store->engine, ENGINE_JOB, key_slice(&low), key_slice(&high), &cur));
    for (;;) {
        slice k, v;
        bool more;
        TRY_TO(out, engine_cursor_next(cur, &k, &v, &more));
        if (!more) break;
        TRY_TO(out, sweep_row(r, k, v, before_us));
    }
out:
    engine_cursor_free(cur);
    return e;
}

err sweep_staged(store *s, int64_t before_us) {
    for (int i = 0; i < REAPERS; i++) TRY(sweep(&s->reapers[i], before_us));
    return OK;
}

/* ---- the threads
 * ---------------------------------------------------------------------------------------------- */

/* Done, or kept by the readers (ret_kept), or an error: again later. */
static err run_job(store *s, job *j, bool *ret_kept) {
    *ret_kept = j->kind == JOB_GARBAGE && !readers_admit(&s->readers, j);
    if (*ret_kept) return OK;
    arena *a = arena_new(16 << 10, 0);
    err e = j->kind == JOB_GARBAGE ? collect(s, j->container, j->id, a)
            : j->kind == JOB_PURGE ? purge(s, j, a)
                                   : purge_account(s, j, a);
    arena_free(a);
    return e;
}

/* Reads the jobs of this thread's containers from the table. */
static err rescan(reaper *r, char kind, job_kind job_kind_) {
    store *s = r->store;
    short_key low = {.len = 1, .b = {(uint8_t)kind}}, high = low;
    key_end(&high);
    engine_cursor *cur;
    err e;
    TRY(engine_scan(s->engine, ENGINE_JOB, key_slice(&low), key_slice(&high), &cur));
    for (;;) {
        slice k, v;
        bool more;
        uint64_t container, id, hash = 0;
        TRY_TO(out, engine_cursor_next(cur, &k, &v, &more));
        if (!more) break;
        slice rest = slice_skip(k, 1);
        TRY_TO(out, id_take(&rest, &container));
        id = container;
        if (container % REAPERS != (uint64_t)(r - s->reapers)) continue;
        if (job_kind_ == JOB_GARBAGE) {
            row_garbage row;
            blob_key key;
            TRY_TO(out, id_take(&rest, &id));
            TRY_TO(out, row_garbage_get(v, &row));
            key_blob(&key, container, row.name);
            hash = slice_hash(key_base(&key));
        }
        reaper_submit(s, job_new(job_kind_, container, id, hash));
    }
out:
    engine_cursor_free(cur);
    return e;
}

static void rescan_all(reaper *r) {
    err e = rescan(r, KEY_JOB_PURGE_ACCOUNT, JOB_PURGE_ACCOUNT);
    if (e == OK) e = rescan(r, KEY_JOB_PURGE, JOB_PURGE);
    if (e == OK) e = rescan(r, KEY_JOB_GARBAGE, JOB_GARBAGE);
    if (e != OK)
        LOG(LOG_ERROR, "reaper_scan_failed", LF_C("error", err_get(e)->name),
            LF_C("detail", err_detail()));
}

static job *pop(reaper *r) {
    job *j = r->first;
    if (!j) return NULL;
    r->first = j->next;
    if (!r->first) r->last = NULL;
    r->count--;
    return j;
}

/* Does one job; what could not be done goes to *later. */
static void work(reaper *r, job *j, job **later) {
    store *s = r->store;
    bool kept;
    err e = run_job(s, j, &kept);
    r->failing = e != OK && e != ERR_CONFLICT;
    if (kept) return;
    if (e == OK) {
        job_done(s, j);
        return;
    }
    if (e != ERR_CONFLICT && e != ERR_CANCELLED)
        LOG(LOG_ERROR, "reaper_failed", LF_C("error", err_get(e)->name),
            LF_C("detail", err_detail()), LF_I("container", j->container), LF_I("job", j->id));
    j->next = *later;
    *later = j;
}

static void resubmit(reaper *r, job **later) {
    while (*later) {
        job *j = *later;
        *later = j->next;
        push(r, j);
    }
}

static struct timespec after_ms(int64_t ms) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_sec += ms / 1000;
    t.tv_nsec += (ms % 1000) * 1000000;
    if (t.tv_nsec >= 1000000000) t.tv_sec++, t.tv_nsec -= 1000000000;
    return t;
}

/* Waits for work. The lock is held before and after. */
static void wait_for_work(reaper *r, job **later) {
    if (!*later) {
        struct timespec t = after_ms(SWEEP_EVERY_US / 1000);
        pthread_cond_timedwait(&r->wake, &r->lock, &t);
        return;
    }
    struct timespec t = after_ms(r->failing ? RETRY_ERROR_MS : RETRY_MS);
    pthread_cond_timedwait(&r->wake, &r->lock, &t);
    if (!r->first) resubmit(r, later);
}

static void sweep_now_and_then(reaper *r, int64_t *next_us) {
    if (clock_mono_us() < *next_us) return;
    *next_us = clock_mono_us() + SWEEP_EVERY_US;
    err e = sweep(r, clock_wall_us() - STORE_STAGED_LIFE_US);
    if (e != OK && e != ERR_CANCELLED)
        LOG(LOG_ERROR, "sweep_failed", LF_C("error", err_get(e)->name),
            LF_C("detail", err_detail()));
}

static void *reaper_main(void *arg) {
    reaper *r = arg;
    job *later = NULL;
    int64_t next_sweep_us = 0;
    pthread_mutex_lock(&r->lock);
    while (!atomic_load(&r->store->stopping)) {
        job *j = pop(r);
        if (!j && !r->rescan) {
            wait_for_work(r, &later);
            j = pop(r);
        }
        bool scan = !j && r->rescan;
        if (scan) r->rescan = false;
        pthread_mutex_unlock(&r->lock);
        if (scan) rescan_all(r);
        if (j) work(r, j, &later);
        sweep_now_and_then(r, &next_sweep_us);
        pthread_mutex_lock(&r->lock);
    }
    resubmit(r, &later);
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

void reaper_run(store *s) {
    for (bool again = true; again;) {
        again = false;
        for (int i = 0; i < REAPERS; i++) {
            reaper *r = &s->reapers[i];
            job *later = NULL, *j;
            if (r->rescan) {
                r->rescan = false;
                rescan_all(r);
            }
            while ((j = pop(r)) != NULL) {
                work(r, j, &later);
                again = true;
            }
            if (later) again = false;
            resubmit(r, &later);
        }
    }
}

err reaper_start(store *s) {
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    for (int i = 0; i < REAPERS; i++) {
        reaper *r = &s->reapers[i];
        r->store = s;
        r->rescan = true;
        pthread_mutex_init(&r->lock, NULL);
        pthread_cond_init(&r->wake, &attr);
    }
    pthread_condattr_destroy(&attr);
    for (int i = 0; i < REAPERS && s->background; i++) {
        int n = pthread_create(&s->reapers[i].thread, NULL, reaper_main, &s->reapers[i]);
        if (n != 0) return err_fail_errno(ERR_NO_MEMORY, n, "cannot start a background thread");
        s->reapers[i].running = true;
    }
    return OK;
}

void reaper_stop(store *s) {
    atomic_store(&s->stopping, true);
    for (int i = 0; i < REAPERS; i++) {
        reaper *r = &s->reapers[i];
        pthread_mutex_lock(&r->lock);
        pthread_cond_signal(&r->wake);
        pthread_mutex_unlock(&r->lock);
        if (r->running) pthread_join(r->thread, NULL);
        for (job *j; (j = pop(r)) != NULL;) job_done(s, j);
        pthread_mutex_destroy(&r->lock);
        pthread_cond_destroy(&r->wake);
    }
}
