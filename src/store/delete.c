/* Delete Blob and Undelete Blob: of the current state, snapshots and versions, softly or for good. */
#include "store/internal.h"

/* ---- a snapshot or a version ---- */

/* A version that is current cannot be deleted by its id ("Delete Blob"). */
static err refuse_current(change *ch, const store_delete *d) {
    row_blob current;
    bool exists;
    if (!d->pick.version) return OK;
    TRY(change_blob(ch, &current, &exists));
    ENSURE(!exists || current.pub.version != d->pick.version,
           ERR_OPERATION_NOT_ALLOWED_ON_ROOT_BLOB,
           "the version is the current one; delete the blob without versionid");
    return OK;
}

static err find_past(change *ch, const store_delete *d, row_blob *ret, uint64_t *ret_tick) {
    store_call c = {.arena = ch->arena, .nowait = ch->nowait};
    err e = past_find(ch->s, c, &ch->key, d->pick, ret, ret_tick);
    bool seen = e == OK && (!row_deleted(ret) || d->permanent);
    if (e == ERR_NOT_FOUND || (e == OK && !seen))
        return err_fail(ERR_BLOB_NOT_FOUND, "the blob has no such %s",
                        d->pick.snapshot ? "snapshot" : "version");
    return e;
}

static err delete_past(change *ch, const store_conditions *cond, const store_delete *d,
                       bool *ret_permanent) {
    row_blob r;
    uint64_t tick;
    keeping p;
    TRY(change_head(ch));
    TRY(change_keeping(ch, &p));
    TRY(refuse_current(ch, d));
    TRY(find_past(ch, d, &r, &tick));
    TRY(conditions_check(cond, CONDITION_WRITE, target_of(&r, true)));
    if (d->permanent) {
        ENSURE(p.permanent, ERR_PERMANENT_DELETE_NOT_ENABLED,
               "deletetype=permanent needs AllowPermanentDelete in the service's "
               "DeleteRetentionPolicy");
        ENSURE(row_deleted(&r), ERR_BLOB_SNAPSHOT_NOT_SOFT_DELETED,
               "only what is soft-deleted can be deleted for good; delete it first");
    }
    *ret_permanent = d->permanent || !p.delete_days;
    if (*ret_permanent) {
        change_drop_past(ch, tick, &r);
    } else {
        row_blob after = r;
        change_soften(ch, tick, &after, p.delete_days);
        change_put_past(ch, tick, &r, &after);
    }
    return change_commit(ch);
}

/* ---- the blob, and its snapshots with it ---- */

typedef struct deletion {
    change *ch;
    keeping keeping;
    size_t count;
    bool again; /* there are more than one step's */
} deletion;

static err delete_snapshot(void *ctx, uint64_t tick, const row_blob *r, bool *stop) {
    deletion *d = ctx;
    if (r->past != ROW_PAST_SNAPSHOT || row_deleted(r)) return OK;
    *stop = d->again = d->count == STORE_HISTORY_STEP;
    if (*stop) return OK;
    d->count++;
    if (d->keeping.delete_days) {
        row_blob after = *r;
        change_soften(d->ch, tick, &after, d->keeping.delete_days);
        change_put_past(d->ch, tick, r, &after);
    } else {
        change_drop_past(d->ch, tick, r);
    }
    return OK;
}

static err delete_snapshots(change *ch, bool *ret_again) {
    deletion d = {.ch = ch};
    if (ch->nowait) return ERR_WOULD_BLOCK;
    TRY(change_keeping(ch, &d.keeping));
    TRY(past_walk(ch->s, ch->arena, &ch->key, 1, delete_snapshot, &d));
    *ret_again = d.again;
    return OK;
}

static err delete_current(change *ch, const row_blob *row, bool *ret_permanent) {
    row_staging staging;
    bool staged, kept;
    TRY(change_staging(ch, &staging, &staged));
    TRY(change_retire(ch, row, RETIRE_DELETE, &kept));
    if (!kept) change_drop_content(ch, row);
    if (staged) change_drop_staging(ch, &staging, true);
    change_delete_blob(ch);
    keeping p;
    TRY(change_keeping(ch, &p));
    *ret_permanent = !p.versioning && !p.delete_days;
    return OK;
}

static err delete_base(change *ch, const store_conditions *cond, store_snapshots snapshots,
                       bool *ret_permanent, bool *ret_again) {
    row_blob row;
    bool exists;
    TRY(change_blob(ch, &row, &exists));
    if (!exists) return blob_missing(ch->name);
    TRY(conditions_check(cond, CONDITION_WRITE, target_of(&row, true)));
    TRY(change_head(ch));
    ENSURE(snapshots != STORE_SNAPSHOTS_REFUSE || ch->head.snapshots == 0, ERR_SNAPSHOTS_PRESENT,
           "the blob has snapshots (%u); send x-ms-delete-snapshots: include or only",
           ch->head.snapshots);
    if (ch->head.snapshots) TRY(delete_snapshots(ch, ret_again));
    keeping p;
    TRY(change_keeping(ch, &p));
    *ret_permanent = !p.delete_days;
    if (snapshots != STORE_SNAPSHOTS_ONLY && !*ret_again)
        TRY(delete_current(ch, &row, ret_permanent));
    if (*ret_again) ch->later = NULL; /* this is not the last one */
    return change_commit(ch);
}

static err delete_once(store *s, store_call c, const store_container *k, slice name,
                       const store_conditions *cond, const store_delete *d, bool *ret_permanent,
                       bool *ret_again) {
    *ret_again = false;
    if (!store_blob_name_valid(name)) return blob_missing(name);
    change ch CLEANUP(change_done);
    TRY(change_begin(&ch, s, c, k, name));
    if (d->pick.snapshot || d->pick.version) return delete_past(&ch, cond, d, ret_permanent);
    return delete_base(&ch, cond, d->snapshots, ret_permanent, ret_again);
}

err store_blob_delete(store *s, store_call c, const store_container *k, slice name,
                      const store_conditions *cond, const store_delete *d, bool *ret_permanent) {
    static const store_delete plain;
    bool permanent = true, again = false;
    for (int try = 1;;) {
        arena *mem = arena_new(4096, 0); /* a step's rows do not all fit into a request's */
        c.arena = mem;
        err e = delete_once(s, c, k, name, cond, d ? d : &plain, &permanent, &again);
        arena_free(mem);
        if (e == ERR_CONFLICT && try++ < STORE_CONFLICT_TRIES) continue;
        TRY(e);
        if (!again) break;
    }
    if (ret_permanent) *ret_permanent = permanent;
    return OK;
}

/* ---- Undelete Blob ---- */

typedef struct undeletion {
    change *ch;
    int64_t now_us;
    size_t count;
    bool again;
} undeletion;

static bool restorable(const row_blob *r, int64_t now_us) {
    return row_deleted(r) && r->pub.until_us > now_us;
}

static err undelete_past(void *ctx, uint64_t tick, const row_blob *r, bool *stop) {
    undeletion *u = ctx;
    if (r->past == ROW_PAST_BASE || !restorable(r, u->now_us)) return OK;
    *stop = u->again = u->count == STORE_HISTORY_STEP;
    if (*stop) return OK;
    u->count++;
    row_blob after = *r;
    after.pub.deleted_us = after.pub.until_us = STORE_TIME_NONE;
    change_put_past(u->ch, tick, r, &after);
    return OK;
}

/* The blob itself; ret_restored false when it is not there, or its time is over. */
static err undelete_base(change *ch, int64_t now_us, bool *ret_restored) {
    uint64_t tick = ch->head.base;
    slice value;
    row_blob r;
    *ret_restored = false;
    if (!tick) return OK;
    err e = engine_get(ch->s->engine, ENGINE_HISTORY, key_past(&ch->key, tick), ch->arena, false,
                       &value);
    ENSURE(e != ERR_NOT_FOUND, ERR_CORRUPT, "the head of a history names a state that is missing");
    TRY(e);
    TRY(row_blob_get(value, &r));
    if (!restorable(&r, now_us)) return OK;
    change_restore_base(ch, tick, &r);
    *ret_restored = true;
    return OK;
}

static err undelete_once(store *s, store_call c, const store_container *k, slice name,
                         bool *ret_again) {
    if (!store_blob_name_valid(name)) return blob_missing(name);
    change ch CLEANUP(change_done);
    row_blob current;
    bool exists, restored = false;
    undeletion u = {.ch = &ch, .now_us = clock_wall_us()};
    TRY(change_begin(&ch, s, c, k, name));
    TRY(change_blob(&ch, &current, &exists));
    TRY(change_head(&ch));
    if (ch.head.states) TRY(past_walk(s, c.arena, &ch.key, 1, undelete_past, &u));
    if (!exists && !u.again) TRY(undelete_base(&ch, u.now_us, &restored));
    bool left = exists || restored || ch.head.snapshots || ch.head.versions;
    if (!left && !u.count) return blob_missing(name);
    *ret_again = u.again;
    return change_commit(&ch);
}

err store_blob_undelete(store *s, store_call c, const store_container *k, slice name) {
    bool again = false;
    if (c.nowait) return ERR_WOULD_BLOCK;
    for (int try = 1;;) {
        arena *mem = arena_new(16 << 10, 0);
        err e = undelete_once(s, (store_call){.arena = mem, .record = c.record}, k, name, &again);
        arena_free(mem);
        if (e == ERR_CONFLICT && try++ < STORE_CONFLICT_TRIES) continue;
        if (e != OK || !again) return e;
    }
}
