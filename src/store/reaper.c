/* The reaper: gives back what changes left behind. Everything it does is named by a row in JOB
 * before it begins, is done in transactions that each delete a row together with what it owned, and
 * can be begun again at any point.
 *
 * All jobs of a container are done by one thread (container id modulo REAPERS), so that garbage and
 * the purge of its container never meet. */
#include "store/pages.h"

/* A transaction of the reaper ends at so many rows, or so many bytes of values: a part of a block
 * list names up to ROW_CHUNK_BLOCKS pieces. */
#define BATCH_ROWS  256
#define BATCH_BYTES (256u << 10)

job *job_new(job_kind kind, uint64_t container, uint64_t id, uint64_t hash) {
    job *j = malloc(sizeof *j);
    MUST(j);
    *j = (job){.kind = kind, .container = container, .id = id, .hash = hash};
    return j;
}

job *job_new_access(uint64_t container, uint64_t hash, slice name, int64_t accessed_us) {
    job *j = malloc(sizeof *j + name.len);
    MUST(j);
    *j =
        (job){.kind = JOB_ACCESS, .container = container, .hash = hash, .accessed_us = accessed_us};
    memcpy(j + 1, name.p, name.len);
    j->name = slice_of(j + 1, name.len);
    return j;
}

job *job_new_dropped(uint64_t container, slice base) {
    job *j = malloc(sizeof *j + base.len);
    MUST(j);
    *j = (job){
        .kind = JOB_DROPPED,
        .container = container,
    };
    memcpy(j + 1, base.p, base.len);
    j->name = slice_of(j + 1, base.len);
    return j;
}

void job_free(job *j) {
    free(j);
}

/* ---- deleting ranges of rows ---- */

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

/* ---- garbage ---- */

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
/* from: where to begin, or empty. */
static err collect_rows(garbage_ctx *g, slice begin, slice from, also *also_fn) {
    buf low, high;
    buf_init(&low, ENGINE_KEY_MAX);
    buf_init(&high, ENGINE_KEY_MAX);
    buf_put(&low, from.len ? from : begin);
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

/* The first row that ends behind `from` begins there: appends end where states do. */
static err collect_list(garbage_ctx *g, const row_garbage *row) {
    blob_key low = g->key;
    slice from = row->manifest_from ? key_manifest(&low, row->manifest, row->manifest_from + 1, 0)
                                    : SLICE_NONE;
    return collect_rows(g, key_manifest_all(&g->key, row->manifest), from,
                        row->manifest_all ? also_part : NULL);
}

/* The pieces that the garbage row names itself, and with them the row. */
static err collect_pieces(garbage_ctx *g, const short_key *row_key, const row_garbage *row) {
    engine_txn *t;
    slice pieces = row->pieces;
    err e = OK;
    TRY(engine_txn_begin(g->s->engine, key_base(&g->key), &t));
    while (pieces.len > 0) {
        row_piece p;
        TRY_TO(fail, row_waste_take(&pieces, &p));
        free_piece(g, t, &p);
        if (row->pages)
            engine_txn_delete(t, ENGINE_BLOCK, key_page_piece(&g->key, row->pages, p.id));
    }
    if (row->map)
        engine_txn_delete(t, ENGINE_BLOCK, key_frozen(&g->key, row->map, row->map_generation));
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
    if (row.manifest) TRY(collect_list(g, &row));
    if (row.session)
        TRY(collect_rows(g, key_staged_all(&g->key, row.session), SLICE_NONE,
                         row.session_all ? also_staged : NULL));
    if (row.map) TRY(page_sweep(s, container, row.name, row.map, row.map_generation));
    return collect_pieces(g, &k, &row);
}

/* ---- purges ---- */

static err also_stream_of_blob(void *ctx, engine_txn *t, slice key, slice value) {
    (void)ctx;
    if (key.p[key.len - 1] != KEY_STATE) return OK; /* a marker */
    row_blob row;
    TRY(row_blob_get(value, &row));
    if (row.where == ROW_STREAM) engine_txn_release(t, row.ref);
    if (row.pub.expires_us != STORE_TIME_NONE)
        index_purge_expiry(t, row.pub.expires_us, slice_take(key, key.len - 1));
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

static err also_stream_of_pages(engine_txn *t, slice value) {
    row_page_piece row;
    TRY(row_page_piece_get(value, &row));
    release_stream(t, &row.piece);
    return OK;
}

static err also_streams_of_blocks(void *ctx, engine_txn *t, slice key, slice value) {
    (void)ctx;
    slice rest = slice_skip(key, KEY_ID_LEN), name;
    TRY(name_take(&rest, &name));
    ENSURE(rest.len > 0, ERR_CORRUPT, "a block's key is damaged");
    if (rest.p[0] == KEY_MANIFEST) return also_streams_of_part(t, value);
    if (rest.p[0] == KEY_PAGE_PIECE) return also_stream_of_pages(t, value);
    if (rest.p[0] != KEY_STAGED) return OK;
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

static err also_row_of_account(void *ctx, engine_txn *t, slice key, slice value) {
    (void)ctx;
    return index_purge_row(t, key, value);
}

/* The rows of a table that begin with kind and the container. */
static err purge_kind(store *s, uint64_t container, engine_table t, char kind, also *also_fn) {
    short_key low, high, shard;
    key_id(&shard, container);
    key_job(&low, kind, container);
    high = low;
    key_end(&high);
    range r = {.s = s,
               .shard = key_slice(&shard),
               .table = t,
               .lower = key_slice(&low),
               .upper = key_slice(&high),
               .also = also_fn};
    return delete_range(&r);
}

static err purge_index(store *s, uint64_t container) {
    TRY(purge_kind(s, container, ENGINE_INDEX, KEY_INDEX_PROTECTED, NULL));
    return purge_kind(s, container, ENGINE_INDEX, KEY_INDEX_CONTAINER, also_row_of_account);
}

/* Of one kind, by blobs: staging sessions, pending copies. */
static err purge_jobs(store *s, uint64_t container, char kind) {
    return purge_kind(s, container, ENGINE_JOB, kind, NULL);
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
    TRY(history_purge(s, j->container));
    TRY(purge_garbage(s, j->container));
    TRY(purge_table(s, j->container, ENGINE_BLOCK, also_streams_of_blocks));
    TRY(purge_table(s, j->container, ENGINE_BLOB, also_stream_of_blob));
    TRY(purge_table(s, j->container, ENGINE_CONTENT, NULL));
    TRY(purge_index(s, j->container));
    TRY(purge_jobs(s, j->container, KEY_JOB_STAGING));
    TRY(purge_jobs(s, j->container, KEY_JOB_EXPIRY));
    TRY(purge_jobs(s, j->container, KEY_JOB_DROPPED)); /* of a history whose head was lost */
    TRY(purge_table(s, j->container, ENGINE_HISTORY, NULL));
    TRY(purge_jobs(s, j->container, KEY_JOB_COPY));
    TRY(delete_job_row(s, KEY_JOB_PURGE, j->container));
    LOG(LOG_INFO, "container_purged", LF_S("account", row.account),
        LF_S("container", row.container));
    return OK;
}

/* Turns one container of a deleted account, deleted itself or not, into a purge of its own. */
static err doom_container(store *s, const row_purge *account, slice key, slice value, arena *a) {
    row_container row;
    uint64_t account_id, version;
    slice rest = slice_skip(key, 1), name;
    TRY(id_take(&rest, &account_id));
    name = rest;
    if (key.p[0] == 'd') TRY(key_deleted_take(rest, &name, &version));
    TRY(row_container_get(value, &row));
    row_purge p = {.account = account->account,
                   .container = name,
                   .slot = row.slot,
                   .deleted_us = account->deleted_us};
    short_key jk, shard;
    engine_txn *t;
    key_job(&jk, KEY_JOB_PURGE, row.id);
    key_id(&shard, account_id);
    TRY(engine_txn_begin(s->engine, key_slice(&shard), &t));
    engine_txn_delete(t, ENGINE_META, key);
    engine_txn_put(t, ENGINE_JOB, key_slice(&jk), ROW_ENCODE(purge, a, &p));
    TRY(engine_txn_commit(t));
    reaper_submit(s, job_new(JOB_PURGE, row.id, row.id, 0));
    return OK;
}

/* Of a deleted account's scopes the keys are of no use any more; row and slot go. */
static err doom_scope(store *s, const row_purge *account, slice key, slice value, arena *a) {
    row_scope row;
    engine_txn *t;
    (void)account, (void)a;
    TRY(row_scope_get(value, &row));
    if (row.state != STORE_SCOPE_DESTROYED) TRY(engine_vault_destroy(s->engine, row.id, row.slot));
    TRY(engine_txn_begin(s->engine, slice_take(slice_skip(key, 1), KEY_ID_LEN), &t));
    engine_txn_delete(t, ENGINE_META, key);
    return engine_txn_commit(t);
}

typedef err doom(store *s, const row_purge *account, slice key, slice value, arena *a);

/* All rows of META that begin so. */
static err doom_all(store *s, const row_purge *account, const short_key *begin, doom *each,
                    arena *a) {
    short_key high = *begin;
    key_end(&high);
    engine_cursor *cur;
    err e;
    TRY(engine_scan(s->engine, ENGINE_META, key_slice(begin), key_slice(&high), &cur));
    for (;;) {
        slice k, v;
        bool more;
        TRY_TO(out, engine_cursor_next(cur, &k, &v, &more));
        if (!more) break;
        TRY_TO(out, each(s, account, k, v, a));
    }
out:
    engine_cursor_free(cur);
    return e;
}

static err purge_account(store *s, const job *j, arena *a) {
    row_purge row;
    err e = purge_row(s, KEY_JOB_PURGE_ACCOUNT, j->id, a, &row);
    if (e == ERR_NOT_FOUND) return OK;
    TRY(e);
    TRY(engine_vault_destroy(s->engine, j->id, row.slot));
    gate_wait(&s->gate);
    short_key begin;
    key_container(&begin, j->id, SLICE_NONE);
    TRY(doom_all(s, &row, &begin, doom_container, a));
    key_deleted(&begin, j->id, SLICE_NONE, 0);
    TRY(doom_all(s, &row, &begin, doom_container, a));
    key_scope(&begin, j->id, SLICE_NONE);
    TRY(doom_all(s, &row, &begin, doom_scope, a));
    TRY(delete_job_row(s, KEY_JOB_PURGE_ACCOUNT, j->id));
    LOG(LOG_INFO, "account_purged", LF_S("account", row.account));
    return OK;
}

/* ---- staged blocks that nobody committed ---- */

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

err reaper_sweep(reaper *r, int64_t before_us) {
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

/* ---- blobs that have expired ---- */

/* What is left of one, and the row that led here. */
static err remove_expired(store *s, uint64_t container, slice name, int64_t expires_us, arena *a) {
    store_deed deed CLEANUP(deed_end) = {.kind = STORE_DEED_ERASES,
                                         .action = "Expire Blob",
                                         .decision = "expiry time",
                                         .blob = name};
    change ch CLEANUP(change_done) = {0};
    row_blob row;
    bool exists;
    store_recorder *record;
    TRY(deed_begin(s, a, container, &deed, &record));
    TRY(change_begin_unchecked(&ch, s, a, container, name));
    ch.record = record;
    TRY(change_blob(&ch, &row, &exists));                         /* drops it */
    if (exists && row.pub.expires_us == expires_us) return OK;    /* protected */
    if (exists || !deed.recorder.touched.known) ch.record = NULL; /* nothing expired here */
    index_purge_expiry(ch.txn, expires_us, key_base(&ch.key));
    return change_commit(&ch);
}

static err expired_row(reaper *r, slice key) {
    uint64_t expires_us, container;
    slice rest = slice_skip(key, 1), name;
    TRY(id_take(&rest, &expires_us));
    TRY(id_take(&rest, &container));
    TRY(name_take(&rest, &name));
    if (container % REAPERS != (uint64_t)(r - r->store->reapers)) return OK;
    arena *a = arena_new(16 << 10, 0);
    name = arena_dup(a, name_unescape(arena_alloc(a, name.len), name));
    err e = remove_expired(r->store, container, name, (int64_t)expires_us, a);
    arena_free(a);
    return e;
}

err reaper_expire(reaper *r) {
    index_key low = {.len = 1, .b = {KEY_INDEX_EXPIRY}}, high;
    key_index(&high, KEY_INDEX_EXPIRY, (uint64_t)clock_wall_us());
    engine_cursor *cur;
    err e;
    TRY(engine_scan(r->store->engine, ENGINE_INDEX, key_index_slice(&low), key_index_slice(&high),
                    &cur));
    for (;;) {
        slice k, v;
        bool more;
        TRY_TO(out, engine_cursor_next(cur, &k, &v, &more));
        if (!more) break;
        TRY_TO(out, expired_row(r, k));
    }
out:
    engine_cursor_free(cur);
    return e;
}

err sweep_expired(store *s) {
    for (int i = 0; i < REAPERS; i++) TRY(reaper_expire(&s->reapers[i]));
    return OK;
}

err sweep_staged(store *s, int64_t before_us) {
    for (int i = 0; i < REAPERS; i++) TRY(reaper_sweep(&s->reapers[i], before_us));
    return OK;
}

/* ---- one job ---- */

/* Done, or kept by the readers (ret_kept), or an error: again later. */
err reaper_work(store *s, job *j, bool *ret_kept) {
    *ret_kept = j->kind == JOB_GARBAGE && !readers_admit(&s->readers, j);
    if (*ret_kept) return OK;
    if (j->kind == JOB_DROPPED) return history_release(s, j->name);
    arena *a = arena_new(16 << 10, 0);
    err e = j->kind == JOB_GARBAGE  ? collect(s, j->container, j->id, a)
            : j->kind == JOB_PURGE  ? purge(s, j, a)
            : j->kind == JOB_ACCESS ? access_write(s, j, a)
                                    : purge_account(s, j, a);
    arena_free(a);
    return e;
}
