/* Deleted containers whose days are over: each becomes a purge, as if it were deleted only now. */
#include "store/internal.h"

/* Inside the transaction, since it may have been restored meanwhile. */
static err purge_in(engine *en, engine_txn *t, const short_key *key, slice name, int64_t now_us,
                    arena *a, bool *ret_gone) {
    slice value;
    row_container row;
    short_key job_key;
    err e = engine_get(en, ENGINE_META, key_slice(key), a, false, &value);
    *ret_gone = e == ERR_NOT_FOUND;
    if (*ret_gone) return OK;
    TRY(e);
    TRY(row_container_get(value, &row));
    MUST(row.purge_us <= now_us); /* never changes */
    row_purge p = {
        .account = row.account, .container = name, .slot = row.slot, .deleted_us = row.deleted_us};
    key_job(&job_key, KEY_JOB_PURGE, row.id);
    engine_txn_delete(t, ENGINE_META, key_slice(key));
    engine_txn_put(t, ENGINE_JOB, key_slice(&job_key), ROW_ENCODE(purge, a, &p));
    return OK;
}

static err purge_deleted(store *s, slice key, uint64_t account, slice name, uint64_t id,
                         int64_t now_us, arena *a) {
    short_key shard, row_key = {.len = key.len};
    engine_txn *t;
    bool gone;
    ENSURE(key.len <= sizeof row_key.b, ERR_CORRUPT, "a deleted container's key is too long");
    memcpy(row_key.b, key.p, key.len);
    key_id(&shard, account);
    /* Its own key is about to go: the entry is opened with the account's. */
    store_deed deed CLEANUP(deed_end) = {.kind = STORE_DEED_ERASES,
                                         .action = "Purge Container",
                                         .decision = "end of retention",
                                         .container_name = name};
    store_call c = {.arena = a};
    TRY(id_account(s, c, account, &deed.account));
    c = store_deed_call(s, c, &deed);
    TRY(engine_txn_begin(s->engine, key_slice(&shard), &t));
    err e = purge_in(s->engine, t, &row_key, name, now_us, a, &gone);
    if (e != OK || gone) {
        engine_txn_abort(t);
        return e;
    }
    TRY(entry_commit(c, t));
    reaper_submit(s, job_new(JOB_PURGE, id, id, 0));
    return OK;
}

static err sweep_row(reaper *r, slice key, slice value, int64_t now_us) {
    slice rest = slice_skip(key, 1), name;
    uint64_t account, version;
    row_container row;
    TRY(id_take(&rest, &account));
    TRY(key_deleted_take(rest, &name, &version));
    TRY(row_container_get(value, &row));
    if (row.id % REAPERS != (uint64_t)(r - r->store->reapers) || row.purge_us > now_us) return OK;
    arena *a = arena_new(4096, 0);
    err e =
        purge_deleted(r->store, arena_dup(a, key), account, arena_dup(a, name), row.id, now_us, a);
    arena_free(a);
    return e;
}

err reaper_sweep_containers(reaper *r, int64_t now_us) {
    engine_cursor *cur;
    err e;
    TRY(engine_scan(r->store->engine, ENGINE_META, S("d"), S("e"), &cur));
    for (;;) {
        slice k, v;
        bool more;
        TRY_TO(out, engine_cursor_next(cur, &k, &v, &more));
        if (!more) break;
        e = sweep_row(r, k, v, now_us);
        if (e == ERR_CORRUPT) /* the others are not to wait for it; `check` reports it */
            LOG(LOG_ERROR, "sweep_row_damaged", LF_C("detail", err_detail()));
        else if (e != OK)
            goto out;
    }
out:
    engine_cursor_free(cur);
    return e;
}

err sweep_containers(store *s, int64_t now_us) {
    for (int i = 0; i < REAPERS; i++) TRY(reaper_sweep_containers(&s->reapers[i], now_us));
    return OK;
}
