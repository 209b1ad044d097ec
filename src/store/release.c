/* Giving back what the history of a blob held: dropped states one after another, each compared with
 * its neighbours; soft-deleted states whose time has come; all states of a deleted container.
 *
 * Everything here runs on the thread that would purge the container, in transactions of the blob's
 * shard, and can be begun again at any point: a state's row goes with the garbage rows that name what
 * it alone had. */
#include "store/internal.h"

#define BATCH_STATES 64
#define FIRST_SPAN   (1ull << 24) /* ticks: 1.7 s */

/* ---- one state ---- */

static err add_piece(void *ctx, const row_block *b) {
    id_set_add(ctx, b->piece.id);
    return OK;
}

typedef struct difference {
    change *ch;
    const id_set *shared;
} difference;

static err drop_if_alone(void *ctx, const row_block *b) {
    difference *d = ctx;
    if (!b->repeat && !id_set_has(d->shared, b->piece.id)) change_drop_piece(d->ch, &b->piece);
    return OK;
}

static bool is_list(const row_blob *r) {
    return r && r->where == ROW_LIST;
}

/* The pieces of a list that the lists beside it do not have, and its rows. */
static err release_list(change *ch, const row_blob *gone, const row_blob *older,
                        const row_blob *newer) {
    id_set shared = {0};
    difference d = {ch, &shared};
    err e = OK;
    if (is_list(older))
        e = list_walk(ch->s, ch->arena, &ch->key, older->pub.content_id, add_piece, &shared);
    if (e == OK && is_list(newer))
        e = list_walk(ch->s, ch->arena, &ch->key, newer->pub.content_id, add_piece, &shared);
    if (e == OK) e = list_walk(ch->s, ch->arena, &ch->key, gone->pub.content_id, drop_if_alone, &d);
    id_set_clear(&shared);
    TRY(e);
    change_drop_list_rows(ch, gone->pub.content_id);
    return OK;
}

/* Content with the same id is the same content. older, newer: NULL when there is none. */
static err release_content(change *ch, const row_blob *gone, const row_blob *older,
                           const row_blob *newer) {
    if (gone->where == ROW_PAGES) { /* each state has a generation of its own */
        change_drop_content(ch, gone);
        return OK;
    }
    if (newer && newer->pub.content_id == gone->pub.content_id) return OK;
    if (older && older->pub.content_id == gone->pub.content_id) {
        /* What was appended since the older state is the gone one's alone. */
        if (gone->pub.length > older->pub.length)
            change_drop_list_tail(ch, gone->pub.content_id, older->pub.length);
        return OK;
    }
    if (is_list(gone) && (is_list(older) || is_list(newer)))
        return release_list(ch, gone, older, newer);
    change_drop_content(ch, gone);
    return OK;
}

/* Also one that has expired: until it is dropped it shares its content. */
static err current_as_it_is(change *ch, arena *a, row_blob *ret, bool *ret_exists) {
    slice value;
    err e = engine_get(ch->s->engine, ENGINE_BLOB, key_state(&ch->key), a, false, &value);
    *ret_exists = e == OK;
    if (e == ERR_NOT_FOUND) return OK;
    TRY(e);
    return row_blob_get(value, ret);
}

/* ---- neighbours ---- */

/* A state at or after a tick, of HISTORY or of the dropped ones. */
typedef struct state {
    uint64_t tick; /* 0: none */
    row_blob row;
} state;

/* The first state with low <= tick < high of a table; its bytes are in the arena. */
static err first_in(store *s, arena *a, blob_key *key, engine_table table, uint64_t low,
                    uint64_t high, state *ret) {
    bool dropped = table == ENGINE_JOB;
    slice from = arena_dup(a, dropped ? key_dropped(key, low) : key_past(key, low));
    slice to = arena_dup(a, dropped ? key_dropped(key, high) : key_past(key, high));
    ret->tick = 0;
    if (low >= high) return OK;
    engine_cursor *cur;
    slice k, v;
    bool more;
    TRY(engine_scan(s->engine, table, from, to, &cur));
    err e = engine_cursor_next(cur, &k, &v, &more);
    if (e == OK && more) {
        slice rest = slice_skip(k, key->base + (dropped ? 1 : 0));
        e = hex16_take(&rest, &ret->tick);
        if (e == OK) e = row_blob_get(arena_dup(a, v), &ret->row);
    }
    engine_cursor_free(cur);
    return e;
}

/* The last state of HISTORY before a tick. Cursors only go forward: first back in growing steps, then
 * by halves. */
static err last_before(store *s, arena *a, blob_key *key, uint64_t tick, state *ret) {
    state best = {0}, next;
    for (uint64_t span = FIRST_SPAN; best.tick == 0; span *= 64) {
        uint64_t low = span < tick ? tick - span : 1;
        TRY(first_in(s, a, key, ENGINE_HISTORY, low, tick, &best));
        if (low == 1 || span > UINT64_MAX / 64) break;
    }
    for (uint64_t high = tick; best.tick;) {
        TRY(first_in(s, a, key, ENGINE_HISTORY, best.tick + 1, high, &next));
        if (!next.tick) break;
        best = next;
        uint64_t middle = best.tick + (high - best.tick) / 2;
        TRY(first_in(s, a, key, ENGINE_HISTORY, middle, high, &next));
        if (next.tick)
            best = next;
        else
            high = middle;
    }
    *ret = best;
    return OK;
}

/* The states a dropped one stands between. All dropped before it have been given back already. */
typedef struct beside {
    state older, newer;
    bool has_newer;
} beside;

static err find_beside(change *ch, arena *a, uint64_t tick, const row_blob *current, bool exists,
                       beside *ret) {
    state past, dropped;
    TRY(last_before(ch->s, a, &ch->key, tick, &ret->older));
    TRY(first_in(ch->s, a, &ch->key, ENGINE_HISTORY, tick + 1, UINT64_MAX, &past));
    TRY(first_in(ch->s, a, &ch->key, ENGINE_JOB, tick + 1, UINT64_MAX, &dropped));
    bool first = past.tick && (!dropped.tick || past.tick < dropped.tick);
    ret->newer = first ? past : dropped;
    ret->has_newer = ret->newer.tick != 0;
    if (ret->has_newer || !exists) return OK;
    ret->newer.row = *current;
    ret->has_newer = true;
    return OK;
}

/* ---- dropped states ---- */

static err base_take(slice base, arena *a, uint64_t *ret_container, slice *ret_name) {
    slice escaped;
    TRY(id_take(&base, ret_container));
    TRY(name_take(&base, &escaped));
    ENSURE(escaped.len <= KEY_NAME_MAX, ERR_CORRUPT, "a key's name is too long");
    *ret_name = name_unescape(arena_alloc(a, escaped.len + 1), arena_dup(a, escaped));
    return OK;
}

static void shrink(change *ch) {
    if (ch->head.states) ch->head.states--;
    ch->head_changed = true;
}

/* What a damaged row named cannot be known; `check` reports what is left over. */
static err unless_damaged(err e) {
    if (e != ERR_CORRUPT) return e;
    LOG(LOG_ERROR, "history_row_damaged", LF_C("detail", err_detail()));
    return OK;
}

static err release_one(change *ch, arena *a, uint64_t tick, slice value, const row_blob *current,
                       bool exists) {
    row_blob gone;
    beside b;
    TRY(row_blob_get(value, &gone));
    TRY(find_beside(ch, a, tick, current, exists, &b));
    return release_content(ch, &gone, b.older.tick ? &b.older.row : NULL,
                           b.has_newer ? &b.newer.row : NULL);
}

/* Oldest first, so that what stands before a state is final. The rows of a list end the batch: what
 * they bring along is as large as a transaction may be. */
static err release_rows(change *ch, engine_cursor *cur, arena *a, bool *ret_more) {
    row_blob current;
    bool exists;
    TRY(current_as_it_is(ch, a, &current, &exists));
    for (int n = 0; n < BATCH_STATES && !ch->jobs && !ch->waste.manifest; n++) {
        slice k, v;
        uint64_t tick;
        TRY(engine_cursor_next(cur, &k, &v, ret_more));
        if (!*ret_more) return OK;
        slice key = arena_dup(a, k), rest = slice_skip(key, 1 + ch->key.base);
        TRY(hex16_take(&rest, &tick));
        TRY(unless_damaged(release_one(ch, a, tick, arena_dup(a, v), &current, exists)));
        engine_txn_delete(ch->txn, ENGINE_JOB, key);
        shrink(ch);
    }
    return OK;
}

static err release_batch(store *s, slice base, arena *a, bool *ret_more) {
    change ch CLEANUP(change_done) = {.s = s};
    uint64_t container;
    slice name;
    engine_cursor *cur;
    TRY(base_take(base, a, &container, &name));
    TRY(change_begin_unchecked(&ch, s, a, container, name));
    TRY(change_head(&ch));
    slice low = arena_dup(a, key_dropped_all(&ch.key)),
          high = arena_dup(a, key_dropped(&ch.key, UINT64_MAX));
    TRY(engine_scan(s->engine, ENGINE_JOB, low, high, &cur));
    err e = release_rows(&ch, cur, a, ret_more);
    engine_cursor_free(cur);
    TRY(e);
    return change_commit(&ch);
}

err history_release(store *s, slice base) {
    err e = OK;
    for (bool more = true; more && e == OK;) {
        arena *a = arena_new(16 << 10, 0);
        e = atomic_load(&s->stopping) && s->background ? ERR_CANCELLED
                                                       : release_batch(s, base, a, &more);
        arena_free(a);
    }
    return e;
}

/* ---- expiry ---- */

/* Drops the state unless it was restored meanwhile, or deleted again. */
static err expire_state(store *s, uint64_t container, slice key, const row_expiry *x,
                        int64_t now_us, arena *a) {
    store_deed deed CLEANUP(deed_end) = {.kind = STORE_DEED_ERASES,
                                         .action = "Purge Blob",
                                         .decision = "end of retention",
                                         .blob = x->name};
    change ch CLEANUP(change_done) = {.s = s};
    store_recorder *record;
    TRY(deed_begin(s, a, container, &deed, &record));
    TRY(change_begin_unchecked(&ch, s, a, container, x->name));
    TRY(change_head(&ch));
    slice value;
    row_blob r;
    err e = engine_get(s->engine, ENGINE_HISTORY, key_past(&ch.key, x->tick), a, false, &value);
    if (e == OK) e = row_blob_get(value, &r);
    if (e != ERR_NOT_FOUND) TRY(e);
    if (e == OK && row_deleted(&r) && r.pub.until_us <= now_us) {
        change_drop_past(&ch, x->tick, &r);
        ch.record = record;
        entry_touch(record, &r.pub);
    }
    engine_txn_delete(ch.txn, ENGINE_JOB, key);
    return change_commit(&ch);
}

/* One row; ret_skip: nothing more of this container is due. */
static err expire_row(reaper *r, slice key, slice value, int64_t now_us, bool *ret_skip) {
    uint64_t container, until;
    slice rest = slice_skip(key, 1);
    row_expiry x;
    TRY(id_take(&rest, &container));
    TRY(hex16_take(&rest, &until));
    *ret_skip = container % REAPERS != (uint64_t)(r - r->store->reapers) || (int64_t)until > now_us;
    if (*ret_skip) return OK;
    arena *a = arena_new(16 << 10, 0);
    err e = row_expiry_get(arena_dup(a, value), &x);
    if (e == OK) e = expire_state(r->store, container, arena_dup(a, key), &x, now_us, a);
    arena_free(a);
    return unless_damaged(e);
}

/* Rows of a container are in the order of their times. */
err history_expire(reaper *r, int64_t now_us) {
    short_key low = {.len = 1, .b = {KEY_JOB_EXPIRY}}, high = low;
    key_end(&high);
    engine_cursor *cur;
    err e;
    TRY(engine_scan(r->store->engine, ENGINE_JOB, key_slice(&low), key_slice(&high), &cur));
    for (;;) {
        slice k, v;
        bool more, skip;
        if (atomic_load(&r->store->stopping) && r->store->background) {
            e = ERR_CANCELLED;
            break;
        }
        TRY_TO(out, engine_cursor_next(cur, &k, &v, &more));
        if (!more) break;
        TRY_TO(out, expire_row(r, k, v, now_us, &skip));
        if (!skip) continue;
        short_key next = {.len = 1 + KEY_ID_LEN};
        memcpy(next.b, k.p, next.len);
        key_end(&next);
        TRY_TO(out, engine_cursor_seek(cur, key_slice(&next)));
    }
out:
    engine_cursor_free(cur);
    return e;
}

err sweep_deleted(store *s, int64_t now_us) {
    for (int i = 0; i < REAPERS; i++) TRY(history_expire(&s->reapers[i], now_us));
    return OK;
}

/* ---- a deleted container ---- */

/* The next state of the blob, wherever it stands; oldest first. */
static err next_state(change *ch, arena *a, uint64_t from, state *ret, bool *ret_dropped) {
    state past, dropped;
    TRY(first_in(ch->s, a, &ch->key, ENGINE_HISTORY, from, UINT64_MAX, &past));
    TRY(first_in(ch->s, a, &ch->key, ENGINE_JOB, from, UINT64_MAX, &dropped));
    *ret_dropped = dropped.tick && (!past.tick || dropped.tick < past.tick);
    *ret = *ret_dropped ? dropped : past;
    return OK;
}

static void delete_state(change *ch, uint64_t tick, bool dropped) {
    if (dropped)
        engine_txn_delete(ch->txn, ENGINE_JOB, key_dropped(&ch->key, tick));
    else
        engine_txn_delete(ch->txn, ENGINE_HISTORY, key_past(&ch->key, tick));
}

/* Each state gives back what the next one does not have; older ones are gone. */
static err purge_states(change *ch, arena *a, bool *ret_more) {
    row_blob current;
    state at, next;
    bool exists, dropped, next_dropped;
    TRY(current_as_it_is(ch, a, &current, &exists));
    TRY(next_state(ch, a, 1, &at, &dropped));
    for (int n = 0; at.tick && n < BATCH_STATES && !ch->jobs && !ch->waste.manifest; n++) {
        TRY(next_state(ch, a, at.tick + 1, &next, &next_dropped));
        const row_blob *newer = next.tick ? &next.row : exists ? &current : NULL;
        TRY(unless_damaged(release_content(ch, &at.row, NULL, newer)));
        delete_state(ch, at.tick, dropped);
        at = next;
        dropped = next_dropped;
    }
    *ret_more = at.tick != 0;
    return OK;
}

static err purge_batch(store *s, slice base, arena *a, bool *ret_more) {
    change ch CLEANUP(change_done) = {.s = s};
    uint64_t container;
    slice name;
    TRY(base_take(base, a, &container, &name));
    TRY(change_begin_unchecked(&ch, s, a, container, name));
    TRY(purge_states(&ch, a, ret_more));
    if (!*ret_more) engine_txn_delete(ch.txn, ENGINE_JOB, key_head(&ch.key));
    return change_commit(&ch);
}

static err purge_blob(store *s, slice base) {
    err e = OK;
    for (bool more = true; more && e == OK;) {
        arena *a = arena_new(16 << 10, 0);
        e = atomic_load(&s->stopping) && s->background ? ERR_CANCELLED
                                                       : purge_batch(s, base, a, &more);
        arena_free(a);
    }
    return e;
}

err history_purge(store *s, uint64_t container) {
    short_key low, high;
    key_job(&low, KEY_JOB_HEAD, container);
    high = low;
    key_end(&high);
    engine_cursor *cur;
    err e;
    TRY(engine_scan(s->engine, ENGINE_JOB, key_slice(&low), key_slice(&high), &cur));
    for (;;) {
        slice k, v;
        bool more;
        TRY_TO(out, engine_cursor_next(cur, &k, &v, &more));
        if (!more) break;
        TRY_TO(out, purge_blob(s, slice_skip(k, 1)));
    }
out:
    engine_cursor_free(cur);
    return e;
}
