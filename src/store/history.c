/* The history of a blob: the states it keeps beside the current one. docs/decisions/0010-history.md.
 *
 * Every state is a whole row_blob under a tick. Three kinds stand in HISTORY: snapshots, versions and
 * (soft-deleted) the blob itself. A state that nobody may see any more is a dropped row in JOB until
 * the reaper has given its content back (release.c).
 *
 *                Snapshot Blob                        Delete, expiry, …
 *   current ---------------------> HISTORY, live ----------------------> dropped ---> gone
 *      |   overwritten: version       |  ^  Undelete                        ^  reaper
 *      |                       Delete v  |                                  |
 *      |---------------------> HISTORY, soft-deleted -----------------------+
 *      |   soft delete, no versions                                         |
 *      +--------------------------------------------------------------------+
 *          overwritten or deleted, nothing keeps it, but the blob has a history
 *
 * Invariants
 *  1. States of a blob, HISTORY and dropped together, sort by their ticks as their contents followed
 *     one another; the current state is the newest. So whoever shares a piece of content is a run of
 *     neighbours, and a state gives back what neither of its neighbours has.
 *  2. While any state is there, so is the head; it counts them. A blob without a head owns its
 *     content alone, and changes of it are as they are without this file.
 *  3. At most one ROW_PAST_BASE, and only while there is no current state.
 *  4. A soft-deleted state has an expiry row for its time. An expiry row without its state says
 *     nothing, and goes when its time comes. */
#include "store/internal.h"

#define DAY_US (24ll * 3600 * 1000000)

/* ---- the head ---- */

err change_head(change *ch) {
    if (ch->head_known) return OK;
    slice value;
    ch->head = (row_head){0};
    err e =
        engine_get(ch->s->engine, ENGINE_JOB, key_head(&ch->key), ch->arena, ch->nowait, &value);
    if (e == OK) e = row_head_get(value, &ch->head);
    if (e != ERR_NOT_FOUND) TRY(e);
    ch->head_known = true;
    return OK;
}

store_now change_now(change *ch, const row_blob *old) {
    MUST(ch->head_known);
    uint64_t last = ch->head.newest;
    if (old->pub.etag > last) last = old->pub.etag;
    if (old->pub.version > last) last = old->pub.version;
    return store_tick(ch->s, last);
}

err change_keeping(change *ch, keeping *ret) {
    if (!ch->keeping_known) {
        MUST(ch->account_name.len);
        TRY(account_keeping(ch->s, ch->arena, ch->nowait, ch->account_name, &ch->keeping));
        ch->keeping_known = true;
    }
    *ret = ch->keeping;
    return OK;
}

static uint32_t *live_count(row_head *h, const row_blob *r) {
    if (row_deleted(r)) return NULL;
    if (r->past == ROW_PAST_SNAPSHOT) return &h->snapshots;
    return r->past == ROW_PAST_VERSION ? &h->versions : NULL;
}

static void count(change *ch, uint64_t tick, const row_blob *r, bool in) {
    row_head *h = &ch->head;
    uint32_t *live = live_count(h, r);
    if (live && (in || *live)) *live += in ? 1 : UINT32_MAX;
    if (r->past == ROW_PAST_BASE) h->base = in ? tick : 0;
    ch->head_changed = true;
}

/* A state more; its tick may be lower than others' (a version's is that of its beginning). */
static void grow(change *ch, uint64_t tick) {
    MUST(ch->head_known && tick != 0);
    ch->head.states++;
    if (tick > ch->head.newest) ch->head.newest = tick;
    ch->head_changed = true;
}

void change_add_past(change *ch, uint64_t tick, const row_blob *r) {
    row_blob past = *r;
    grow(ch, tick);
    count(ch, tick, r, true);
    change_freeze(ch, &past);
    engine_txn_put(ch->txn, ENGINE_HISTORY, key_past(&ch->key, tick),
                   ROW_ENCODE(blob, ch->arena, &past));
}

void change_put_past(change *ch, uint64_t tick, const row_blob *before, const row_blob *after) {
    MUST(ch->head_known);
    if (row_deleted(after) && !row_deleted(before)) change_refuse_protected(ch, before);
    count(ch, tick, before, false);
    count(ch, tick, after, true);
    engine_txn_put(ch->txn, ENGINE_HISTORY, key_past(&ch->key, tick),
                   ROW_ENCODE(blob, ch->arena, after));
}

err change_begin_picked(change *ch, store *s, store_call c, const store_container *k, slice name,
                        store_pick pick, picked_state *ret) {
    bool exists;
    *ch = (change){.s = s};
    if (c.nowait) return ERR_WOULD_BLOCK;
    if (!store_blob_name_valid(name)) return blob_missing(name);
    TRY(change_begin(ch, s, c, k, name));
    TRY(change_blob(ch, &ret->row, &exists));
    ret->tick = 0;
    bool current = exists && pick.version && ret->row.pub.version == pick.version;
    if (pick.snapshot || (pick.version && !current)) {
        TRY(change_head(ch));
        err e = past_find(s, c, &ch->key, pick, &ret->row, &ret->tick);
        exists = e == OK && !row_deleted(&ret->row);
        if (e != ERR_NOT_FOUND) TRY(e);
    }
    ret->before = ret->row;
    return exists ? OK : blob_missing(name);
}

void change_put_picked(change *ch, const picked_state *p) {
    if (!p->tick) {
        change_put_blob(ch, &p->row);
        return;
    }
    if (index_protected(&p->row)) index_put_protected(ch);
    change_put_past(ch, p->tick, &p->before, &p->row);
}

static void put_dropped(change *ch, uint64_t tick, const row_blob *r) {
    engine_txn_put(ch->txn, ENGINE_JOB, key_dropped(&ch->key, tick),
                   ROW_ENCODE(blob, ch->arena, r));
    ch->dropped = true;
}

void change_drop_past(change *ch, uint64_t tick, const row_blob *r) {
    MUST(ch->head_known);
    if (!row_deleted(r)) change_refuse_protected(ch, r);
    count(ch, tick, r, false);
    engine_txn_delete(ch->txn, ENGINE_HISTORY, key_past(&ch->key, tick));
    put_dropped(ch, tick, r);
}

void change_restore_base(change *ch, uint64_t tick, const row_blob *r) {
    row_blob current = *r;
    count(ch, tick, r, false);
    ch->head.states--;
    engine_txn_delete(ch->txn, ENGINE_HISTORY, key_past(&ch->key, tick));
    current.past = ROW_PAST_NONE;
    current.pub.deleted_us = current.pub.until_us = STORE_TIME_NONE;
    if (r->where == ROW_PAGES) { /* goes on under the next generation; nobody shows this one */
        change_freeze(ch, &current);
        change_drop_content(ch, r);
    }
    change_put_blob(ch, &current);
}

void change_soften(change *ch, uint64_t tick, row_blob *r, uint32_t days) {
    r->pub.deleted_us = clock_wall_us();
    r->pub.until_us = r->pub.deleted_us + days * DAY_US;
    row_expiry x = {.name = ch->name, .tick = tick};
    short_key k;
    key_expiry(&k, ch->container, r->pub.until_us, engine_new_id(ch->s->engine));
    engine_txn_put(ch->txn, ENGINE_JOB, key_slice(&k), ROW_ENCODE(expiry, ch->arena, &x));
}

/* ---- what becomes of the current state ---- */

row_blob past_of(const row_blob *current, row_past kind) {
    row_blob r = *current;
    r.past = kind;
    if (kind != ROW_PAST_VERSION && kind != ROW_PAST_BASE) r.pub.version = 0;
    r.pub.deleted_us = r.pub.until_us = STORE_TIME_NONE;
    r.pub.expires_us = STORE_TIME_NONE;
    if (kind != ROW_PAST_VERSION) { /* a version is as protected as it was */
        r.pub.immutable_until_us = STORE_TIME_NONE;
        r.pub.immutable_mode = STORE_MUTABLE;
        r.pub.legal_hold = false;
    }
    r.pub.lease = (store_lease){.until_us = STORE_TIME_NONE};
    return r;
}

/* A version's id is the time when its state began. A block blob's content is the same from then on,
 * so its place is there, before the snapshots of it. Append and page blobs change without becoming a
 * new version: their place is now. */
static void retire_version(change *ch, const row_blob *old) {
    row_blob r = past_of(old, ROW_PAST_VERSION);
    if (!r.pub.version) r.pub.version = old->pub.etag;
    uint64_t tick = old->pub.type == STORE_BLOCK_BLOB ? r.pub.version : change_now(ch, old).etag;
    change_add_past(ch, tick, &r);
    ch->kept_as_version = true;
}

static void retire_softly(change *ch, const row_blob *old, retire why, uint32_t days) {
    row_blob r = past_of(old, why == RETIRE_DELETE ? ROW_PAST_BASE : ROW_PAST_SNAPSHOT);
    uint64_t tick = change_now(ch, old).etag;
    change_soften(ch, tick, &r, days);
    change_add_past(ch, tick, &r);
}

/* Its neighbours may share its content: the reaper will see. */
static void retire_dropped(change *ch, const row_blob *old) {
    row_blob r = past_of(old, ROW_PAST_NONE);
    uint64_t tick = change_now(ch, old).etag;
    change_freeze(ch, &r);
    grow(ch, tick);
    put_dropped(ch, tick, &r);
}

/* "Blob versioning", "Soft delete for blobs". A state that is a version already stays one when
 * versioning was switched off since: "all existing versions persist as previous versions". */
err change_retire(change *ch, const row_blob *old, retire why, bool *ret_kept) {
    keeping p;
    TRY(change_head(ch));
    TRY(change_keeping(ch, &p));
    *ret_kept = true;
    if (p.versioning || (old->pub.version && why != RETIRE_DELETE))
        retire_version(ch, old);
    else if (why != RETIRE_PROPERTIES && p.delete_days)
        retire_softly(ch, old, why, p.delete_days);
    else if (why != RETIRE_PROPERTIES && ch->head.states)
        retire_dropped(ch, old);
    else
        *ret_kept = false;
    return OK;
}

err change_drop_current(change *ch, const row_blob *old) {
    TRY(change_head(ch));
    if (ch->head.states)
        retire_dropped(ch, old);
    else
        change_drop_content(ch, old);
    return OK;
}

err change_supersede_base(change *ch) {
    TRY(change_head(ch));
    if (!ch->head.base) return OK;
    uint64_t tick = ch->head.base;
    slice value;
    row_blob before;
    err e = engine_get(ch->s->engine, ENGINE_HISTORY, key_past(&ch->key, tick), ch->arena,
                       ch->nowait, &value);
    ENSURE(e != ERR_NOT_FOUND, ERR_CORRUPT, "the head of a history names a state that is missing");
    TRY(e);
    TRY(row_blob_get(value, &before));
    row_blob after = before;
    after.past = ROW_PAST_SNAPSHOT;
    after.pub.version = 0;
    change_put_past(ch, tick, &before, &after);
    return OK;
}

/* ---- finding states ---- */

static err open_past(store *s, arena *a, blob_key *key, uint64_t from, engine_cursor **ret) {
    slice low = arena_dup(a, key_past(key, from));
    blob_key upper = *key;
    slice last = key_past(&upper, UINT64_MAX);
    buf high;
    buf_init_arena(&high, a, ENGINE_KEY_MAX);
    buf_put(&high, last);
    buf_byte(&high, 0xff);
    return engine_scan(s->engine, ENGINE_HISTORY, low, buf_slice(&high), ret);
}

err past_walk(store *s, arena *a, blob_key *key, uint64_t from, past_each *each, void *ctx) {
    engine_cursor *cur;
    err e;
    TRY(open_past(s, a, key, from, &cur));
    for (bool stop = false; !stop;) {
        slice k, v;
        bool more;
        uint64_t tick;
        row_blob r;
        TRY_TO(out, engine_cursor_next(cur, &k, &v, &more));
        if (!more) break;
        slice rest = slice_skip(k, key->base);
        TRY_TO(out, hex16_take(&rest, &tick));
        TRY_TO(out, row_blob_get(v, &r));
        if (r.past == ROW_PAST_SNAPSHOT) r.pub.snapshot = tick;
        TRY_TO(out, each(ctx, tick, &r, &stop));
    }
out:
    engine_cursor_free(cur);
    return e;
}

static err past_get(store *s, store_call c, blob_key *key, uint64_t tick, row_blob *ret) {
    slice value;
    TRY(engine_get(s->engine, ENGINE_HISTORY, key_past(key, tick), c.arena, c.nowait, &value));
    return row_blob_get(value, ret);
}

typedef struct version_search {
    arena *arena;
    uint64_t version, tick;
    row_blob row;
    bool found;
} version_search;

/* Between a version's id and its row stand only snapshots that were taken of it. */
static err find_version(void *ctx, uint64_t tick, const row_blob *r, bool *stop) {
    version_search *f = ctx;
    *stop = r->past == ROW_PAST_VERSION;
    f->found = *stop && r->pub.version == f->version;
    if (!f->found) return OK;
    f->tick = tick;
    return row_blob_get(ROW_ENCODE(blob, f->arena, r), &f->row); /* the cursor's bytes go */
}

err past_find(store *s, store_call c, blob_key *key, store_pick pick, row_blob *ret,
              uint64_t *ret_tick) {
    uint64_t tick = pick.snapshot ? pick.snapshot : pick.version;
    err e = past_get(s, c, key, tick, ret);
    *ret_tick = tick;
    if (e != OK && e != ERR_NOT_FOUND) return e;
    if (pick.snapshot) {
        if (e == OK && ret->past != ROW_PAST_SNAPSHOT) return ERR_NOT_FOUND;
        ret->pub.snapshot = tick;
        return e;
    }
    if (e == OK && ret->past == ROW_PAST_VERSION && ret->pub.version == tick) return OK;
    if (c.nowait) return ERR_WOULD_BLOCK;
    version_search f = {.arena = c.arena, .version = tick};
    TRY(past_walk(s, c.arena, key, tick, find_version, &f));
    if (!f.found) return ERR_NOT_FOUND;
    *ret = f.row;
    *ret_tick = f.tick;
    return OK;
}

/* ---- Snapshot Blob ---- */

static err snapshot_once(store *s, store_call c, const store_container *k, slice name,
                         const store_conditions *cond, const slice *metadata, store_blob *ret) {
    change ch CLEANUP(change_done);
    row_blob current;
    bool kept;
    TRY(change_begin_existing(&ch, s, c, k, name, &current));
    TRY(conditions_check(cond, CONDITION_TOUCH, target_of(&current, true)));
    TRY(encryption_writes(s, c, k, &current.pub));
    TRY(change_refuse_guarded(&ch));
    TRY(change_head(&ch));
    ENSURE(ch.head.snapshots < STORE_SNAPSHOTS_MAX, ERR_SNAPSHOT_COUNT_EXCEEDED,
           "the blob has %d snapshots already; delete some", STORE_SNAPSHOTS_MAX);
    keeping p;
    TRY(change_keeping(&ch, &p));
    /* "Snapshot a blob when versioning is enabled": the current state becomes a version, and goes on
     * as a new one. */
    if (p.versioning) TRY(change_retire(&ch, &current, RETIRE_PROPERTIES, &kept));
    store_now now = change_now(&ch, &current);
    row_blob taken = past_of(&current, ROW_PAST_SNAPSHOT);
    if (metadata) {
        taken.metadata = *metadata;
        taken.pub.etag = now.etag;
        taken.pub.modified_us = now.us;
    }
    change_add_past(&ch, now.etag, &taken);
    if (p.versioning) {
        current.pub.version = change_now(&ch, &current).etag;
    }
    if (p.versioning || current.where == ROW_PAGES) change_put_row(&ch, &current);
    TRY(blob_result(&ch, &taken, ret));
    ret->snapshot = now.etag;
    ret->version = current.pub.version;
    return change_commit(&ch);
}

err store_blob_snapshot(store *s, store_call c, const store_container *k, slice name,
                        const store_conditions *cond, const pair *metadata, size_t metadata_count,
                        store_blob *ret) {
    slice packed;
    if (metadata) TRY(metadata_pack(metadata, metadata_count, c.arena, &packed));
    for (int try = 1;; try++) {
        err e = snapshot_once(s, c, k, name, cond, metadata ? &packed : NULL, ret);
        if (e != ERR_CONFLICT || try == STORE_CONFLICT_TRIES) return e;
    }
}
