/* A change to one blob: gate, container, transaction, garbage (invariants 1 to 4). */
#include "store/internal.h"

#define WASTE_PIECES_MAX 512
#define WASTE_BYTES_MAX  (256u << 10)

static void name_change(change *ch, store *s, arena *a, uint64_t container, slice name) {
    *ch = (change){.s = s, .arena = a, .container = container, .name = name};
    key_blob(&ch->key, container, name);
    ch->hash = slice_hash(key_base(&ch->key));
}

err change_begin_unchecked(change *ch, store *s, arena *a, uint64_t container, slice name) {
    name_change(ch, s, a, container, name);
    return engine_txn_begin(s->engine, key_base(&ch->key), &ch->txn);
}

static err begin_in_gate(change *ch, store *s, store_call c, const store_container *k, slice name) {
    guard g;
    TRY(container_current_guard(s, c.arena, c.nowait, container_of(k), &g));
    name_change(ch, s, c.arena, k->id, name);
    ch->guard = g;
    ch->nowait = c.nowait;
    ch->later = c.later;
    ch->record = c.record;
    return c.nowait ? engine_txn_try_begin(s->engine, key_base(&ch->key), &ch->txn)
                    : engine_txn_begin(s->engine, key_base(&ch->key), &ch->txn);
}

err change_begin(change *ch, store *s, store_call c, const store_container *k, slice name) {
    *ch = (change){.s = s};
    if (c.nowait && (!c.later || c.later->taken)) return ERR_WOULD_BLOCK;
    ENSURE(store_blob_name_valid(name), ERR_INVALID_RESOURCE_NAME,
           "a blob's name is 1 to 1024 characters of UTF-8 without NUL, at most 254 segments");
    gate_token token = gate_enter(&s->gate);
    err e = begin_in_gate(ch, s, c, k, name);
    if (e != OK) {
        gate_leave(&s->gate, token);
        return e;
    }
    ch->account_name = k->account;
    ch->token = token;
    ch->inside = true;
    ch->account = container_of(k)->account_id;
    ch->container_name = k->name;
    ch->track_access = container_of(k)->track_access;
    return OK;
}

static void free_jobs(job *jobs) {
    for (job *j = jobs, *next; j; j = next) {
        next = j->next;
        job_free(j);
    }
}

void change_done(change *ch) {
    ch->txn = engine_txn_abort(ch->txn);
    if (ch->inside) gate_leave(&ch->s->gate, ch->token);
    ch->inside = false;
    free_jobs(ch->jobs);
    ch->jobs = NULL;
}

err change_blocks(const change *ch) {
    return ch->nowait ? ERR_WOULD_BLOCK : OK;
}

err change_get(change *ch, engine_table t, slice key, slice *ret) {
    return engine_get(ch->s->engine, t, key, ch->arena, ch->nowait, ret);
}

err change_blob(change *ch, row_blob *ret, bool *ret_exists) {
    slice value;
    err e = change_get(ch, ENGINE_BLOB, key_state(&ch->key), &value);
    if (e != ERR_NOT_FOUND) TRY(e);
    *ret = (row_blob){0};
    *ret_exists = e == OK;
    if (*ret_exists) TRY(row_blob_get(value, ret));
    if (*ret_exists) entry_touch(ch->record, &ret->pub);
    if (!ch->index_known) {
        ch->indexed_tags = ret->tags;
        ch->indexed_count = ret->pub.tag_count;
        ch->indexed_expiry = *ret_exists ? ret->pub.expires_us : STORE_TIME_NONE;
        ch->indexed_protected = *ret_exists && index_protected(ret);
        ch->protected_by = !*ret_exists || !blob_protected(ret) ? OK
                           : ret->pub.legal_hold ? ERR_BLOB_IMMUTABLE_DUE_TO_LEGAL_HOLD
                                                 : ERR_BLOB_IMMUTABLE_DUE_TO_POLICY;
        ch->protected_etag = ret->pub.etag;
        ch->guarded_put = *ret_exists ? guard_refuses(&ch->guard, ret, false) : OK;
        ch->guarded_gone = *ret_exists ? guard_refuses(&ch->guard, ret, true) : OK;
        ch->index_known = true;
    }
    if (*ret_exists && blob_expired(ret)) {
        TRY(change_drop_current(ch, ret));
        change_delete_blob(ch);
        *ret = (row_blob){0};
        *ret_exists = false;
    }
    return OK;
}

err change_begin_existing(change *ch, store *s, store_call c, const store_container *k, slice name,
                          row_blob *ret) {
    bool exists;
    *ch = (change){.s = s};
    if (!store_blob_name_valid(name)) return blob_missing(name);
    TRY(change_begin(ch, s, c, k, name));
    TRY(change_blob(ch, ret, &exists));
    return exists ? OK : blob_missing(name);
}

static void fail_later(change *ch, err e) {
    if (e != OK && ch->failed == OK) ch->failed = e;
}

static err guarded(err why) {
    return why == OK ? OK : err_fail(why, "its container has a retention policy or a legal hold");
}

void change_refuse_protected(change *ch, const row_blob *r) {
    fail_later(ch, blob_mutable(r));
    fail_later(ch, guarded(guard_refuses(&ch->guard, r, true)));
}

err change_refuse_guarded(const change *ch) {
    static const row_blob any;
    return guarded(guard_refuses(&ch->guard, &any, false));
}

/* A protected blob stays as it is: its state is what its ETag stands for (immutable.c). */
static void check_protected(change *ch, const row_blob *now) {
    if (now && now->pub.etag == ch->protected_etag) return;
    fail_later(ch, guarded(now ? ch->guarded_put : ch->guarded_gone));
    if (ch->protected_by == OK) return;
    if (ch->kept_as_version) return; /* it lives on there, as protected as it was */
    fail_later(ch, err_fail(ch->protected_by, "nothing was changed"));
}

void change_delete_blob(change *ch) {
    ch->state_changed = true;
    fail_later(ch, index_change(ch, NULL));
    check_protected(ch, NULL);
    engine_txn_delete(ch->txn, ENGINE_BLOB, key_state(&ch->key));
}

/* The generation that r shows when its map was frozen in this change. */
static uint64_t generation_of(const change *ch, const row_blob *r) {
    bool frozen = ch->map == r->pub.content_id && r->generation < ch->map_next;
    return frozen ? ch->map_next : r->generation;
}

void change_put_row(change *ch, const row_blob *r) {
    ch->state_changed = true;
    fail_later(ch, index_change(ch, r));
    check_protected(ch, r);
    entry_touch(ch->record, &r->pub);
    row_blob next = *r;
    if (r->where == ROW_PAGES) next.generation = generation_of(ch, r);
    engine_txn_put(ch->txn, ENGINE_BLOB, key_state(&ch->key), ROW_ENCODE(blob, ch->arena, &next));
}

void change_put_blob(change *ch, const row_blob *r) {
    if (r->pub.lease.id.len == 0) {
        change_put_row(ch, r);
        return;
    }
    row_blob settled = *r;
    lease_after_write(&settled.pub.lease, clock_wall_us());
    change_put_row(ch, &settled);
}

err change_staging(change *ch, row_staging *ret, bool *ret_exists) {
    slice value;
    err e = change_get(ch, ENGINE_JOB, key_staging(&ch->key), &value);
    if (e == ERR_NOT_FOUND) {
        *ret = (row_staging){0};
        *ret_exists = false;
        return OK;
    }
    TRY(e);
    *ret_exists = true;
    return row_staging_get(value, ret);
}

/* Writes the garbage gathered so far as one row. */
static void flush_waste(change *ch) {
    row_garbage *w = &ch->waste;
    if (ch->piece_count == 0 && w->manifest == 0 && w->session == 0 && w->map == 0) return;
    w->name = ch->name;
    w->pieces = buf_slice(&ch->pieces);
    MUST(!ch->pieces.failed);
    uint64_t id = engine_new_id(ch->s->engine);
    short_key k;
    key_garbage(&k, ch->container, id);
    engine_txn_put(ch->txn, ENGINE_JOB, key_slice(&k), ROW_ENCODE(garbage, ch->arena, w));
    job *j = job_new(JOB_GARBAGE, ch->container, id, ch->hash);
    j->next = ch->jobs;
    ch->jobs = j;
    *w = (row_garbage){0};
    buf_reset(&ch->pieces);
    ch->piece_count = 0;
}

static void add_piece(change *ch, const row_piece *p) {
    if (p->where == ROW_EMPTY) return;
    ch->content_dropped = true;
    if (!ch->pieces.p) buf_init_arena(&ch->pieces, ch->arena, ENGINE_VALUE_MAX);
    row_waste_put(&ch->pieces, p);
    ch->piece_count++;
    if (ch->piece_count >= WASTE_PIECES_MAX || ch->pieces.len >= WASTE_BYTES_MAX) flush_waste(ch);
}

void change_drop_piece(change *ch, const row_piece *p) {
    if (ch->waste.pages) flush_waste(ch);
    add_piece(ch, p);
}

void change_drop_page_piece(change *ch, uint64_t content, const row_piece *p) {
    if (ch->waste.pages != content) flush_waste(ch);
    ch->waste.pages = content;
    add_piece(ch, p);
}

static void put_frozen(change *ch, uint64_t content, uint64_t generation) {
    buf empty;
    buf_init_arena(&empty, ch->arena, 16);
    record_begin(&empty, 1);
    engine_txn_put(ch->txn, ENGINE_BLOCK, key_frozen(&ch->key, content, generation),
                   buf_slice(&empty));
}

void change_freeze(change *ch, row_blob *r) {
    if (r->where != ROW_PAGES) return;
    r->generation = generation_of(ch, r);
    put_frozen(ch, r->pub.content_id, r->generation);
    ch->map = r->pub.content_id;
    ch->map_next = r->generation + 1;
}

void change_free_piece(change *ch, const row_piece *p) {
    if (p->where == ROW_INLINE)
        engine_txn_delete(ch->txn, ENGINE_CONTENT, key_content(&ch->key, p->id));
    else if (p->where == ROW_STREAM)
        engine_txn_release(ch->txn, p->ref);
}

void change_drop_staging(change *ch, const row_staging *st, bool all) {
    if (ch->waste.session) flush_waste(ch);
    ch->waste.session = st->session;
    ch->waste.session_all = all;
    engine_txn_delete(ch->txn, ENGINE_JOB, key_staging(&ch->key));
    engine_txn_delete(ch->txn, ENGINE_BLOB, key_marker(&ch->key));
}

void change_drop_content(change *ch, const row_blob *r) {
    row_piece p = row_blob_piece(r);
    switch (r->where) {
    case ROW_INLINE: /* readers take it whole when they open */
        change_free_piece(ch, &p);
        break;
    case ROW_STREAM:
        change_drop_piece(ch, &p);
        break;
    case ROW_LIST:
        if (ch->waste.manifest) flush_waste(ch);
        ch->content_dropped = true;
        ch->waste.manifest = r->pub.content_id;
        ch->waste.manifest_all = true;
        break;
    case ROW_PAGES: /* frozen until the reaper has swept it */
        if (ch->waste.map) flush_waste(ch);
        put_frozen(ch, r->pub.content_id, r->generation);
        ch->waste.map = r->pub.content_id;
        ch->waste.map_generation = r->generation;
        break;
    default:
        break;
    }
}

void change_drop_list_tail(change *ch, uint64_t content, uint64_t from) {
    if (ch->waste.manifest) flush_waste(ch);
    ch->waste.manifest = content;
    ch->waste.manifest_all = true;
    ch->waste.manifest_from = from;
}

void change_drop_list_rows(change *ch, uint64_t content) {
    if (ch->waste.manifest) flush_waste(ch);
    ch->content_dropped = true;
    ch->waste.manifest = content;
    ch->waste.manifest_all = false;
}

/* What is left to do of a change when its outcome is known: the change itself is gone then. */
typedef struct left_to_do {
    store *s;
    store_later later;
    gate_token token;
    bool state_changed, content_dropped;
    uint64_t hash;
    job *jobs;
    size_t base_len;
    uint8_t base[];
} left_to_do;

static void finish_later(void *ctx, err e) {
    left_to_do *l = ctx;
    if (l->state_changed) cache_release(&l->s->hot.cache, slice_of(l->base, l->base_len));
    if (l->content_dropped) opened_drop_blob(&l->s->opened, l->hash);
    if (e == OK)
        reaper_submit(l->s, l->jobs);
    else
        free_jobs(l->jobs);
    gate_leave(&l->s->gate, l->token);
    store_later later = l->later;
    atomic_fetch_sub(&l->s->changes_later, 1); /* from here on the store may be closed */
    free(l);
    later.done(later.ctx, e);
}

static void commit_later(change *ch) {
    slice base = key_base(&ch->key);
    left_to_do *l = malloc(sizeof *l + base.len);
    MUST(l);
    *l = (left_to_do){.s = ch->s,
                      .later = *ch->later,
                      .token = ch->token,
                      .state_changed = ch->state_changed,
                      .content_dropped = ch->content_dropped,
                      .hash = ch->hash,
                      .jobs = ch->jobs,
                      .base_len = base.len};
    memcpy(l->base, base.p, base.len);
    if (ch->state_changed) cache_hold(&ch->s->hot.cache, base);
    engine_txn *t = ch->txn;
    ch->later->taken = true;
    atomic_fetch_add(&ch->s->changes_later, 1);
    ch->txn = NULL;
    ch->jobs = NULL;
    ch->inside = false;
    engine_txn_commit_later(t, finish_later, l);
}

/* The head is a row of JOB, so that blobs with a history can be deleted on a full disk. */
/* The history is over: what stood for its protection goes, unless the current state has its own. */
static void end_protection(change *ch) {
    slice value;
    row_blob row;
    bool keep = ch->indexed_protected;
    if (!ch->index_known) {
        err e = change_get(ch, ENGINE_BLOB, key_state(&ch->key), &value);
        keep = e != ERR_NOT_FOUND &&
               (e != OK || row_blob_get(value, &row) != OK || index_protected(&row));
    }
    if (!keep) index_purge_protected(ch->txn, ch->container, key_escaped(&ch->key));
}

static void flush_head(change *ch) {
    if (!ch->head_changed) return;
    if (ch->head.states == 0) {
        engine_txn_delete(ch->txn, ENGINE_JOB, key_head(&ch->key));
        end_protection(ch);
    } else {
        engine_txn_put(ch->txn, ENGINE_JOB, key_head(&ch->key),
                       ROW_ENCODE(head, ch->arena, &ch->head));
    }
}

err change_commit(change *ch) {
    if (ch->failed != OK) {
        err failed = ch->failed;
        change_done(ch);
        return failed;
    }
    flush_waste(ch);
    flush_head(ch);
    if (ch->dropped) {
        job *j = job_new_dropped(ch->container, key_base(&ch->key));
        j->next = ch->jobs;
        ch->jobs = j;
    }
    const bool carries = entry_attach(ch->record, ch->txn);
    if (ch->later && !ch->later->taken) {
        commit_later(ch);
        return OK;
    }
    engine_txn *t = ch->txn;
    ch->txn = NULL;
    cache *hot = &ch->s->hot.cache;
    if (ch->state_changed) cache_hold(hot, key_base(&ch->key));
    err e = engine_txn_commit(t);
    if (e != OK && carries) ch->record->taken = false;
    if (ch->state_changed) cache_release(hot, key_base(&ch->key));
    if (ch->content_dropped) opened_drop_blob(&ch->s->opened, ch->hash);
    if (e == OK) {
        reaper_submit(ch->s, ch->jobs);
        ch->jobs = NULL;
    }
    change_done(ch);
    return e;
}
