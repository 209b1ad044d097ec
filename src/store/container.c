/* Containers: create, find, change, delete, list. */
#include "store/internal.h"

static void container_free(snap *s) {
    struct container *k = (struct container *)s;
    crypto_key_wipe(&k->key);
    arena_free(k->mem);
}

const store_container *store_container_unref(const store_container *k) {
    if (k) snap_unref(&container_of(k)->snap);
    return NULL;
}

err container_decode(arena *a, slice account, slice name, slice value, store_container *ret,
                     row_container *ret_row) {
    row_container *row = ret_row;
    TRY(row_container_get(value, row));
    *ret = (store_container){.id = row->id,
                             .account = account,
                             .name = name,
                             .etag = row->etag,
                             .created_us = row->created_us,
                             .modified_us = row->modified_us,
                             .public_access = row->public_access,
                             .lease = row->lease};
    TRY(row_pairs_get(a, row->metadata, &ret->metadata, &ret->metadata_count));
    return row_policies_get(row->policies, ret->policies, &ret->policy_count);
}

static err container_key(store *s, arena *a, const crypto_key *account_key, uint64_t id,
                         uint64_t slot, crypto_key *ret) {
    slice secret;
    TRY(engine_vault_get(s->engine, id, slot, a, &secret));
    ENSURE(secret.len == CRYPTO_WRAPPED_LEN, ERR_CORRUPT, "the container's key has a wrong length");
    crypto_wrapped w;
    memcpy(w.b, secret.p, sizeof w.b);
    return crypto_unwrap(account_key, &w, ret);
}

/* Makes a snapshot of a row, with its key. */
static err snapshot(store *s, arena *scratch, const struct account *ac, slice name, slice value,
                    struct container **ret) {
    arena *mem = arena_new(2048, 1 << 20);
    struct container *k = arena_alloc(mem, sizeof *k);
    *k = (struct container){.mem = mem,
                            .account_id = ac->pub.id,
                            .track_access = ac->pub.settings.last_access_tracking};
    k->snap.free = container_free;
    k->snap.cost = 1;
    atomic_init(&k->snap.refs, 1);
    short_key key;
    key_container(&key, ac->pub.id, name);
    k->snap.key = slice_skip(arena_dup(mem, key_slice(&key)), 1);
    row_container row;
    err e = container_decode(mem, arena_dup(mem, ac->pub.name), arena_dup(mem, name),
                             arena_dup(mem, value), &k->pub, &row);
    k->slot = row.slot;
    if (e == OK) e = container_key(s, scratch, &ac->key, row.id, row.slot, &k->key);
    if (e != OK) {
        snap_unref(&k->snap);
        return e;
    }
    *ret = k;
    return OK;
}

static err not_found(slice name) {
    return err_fail(ERR_CONTAINER_NOT_FOUND, "there is no container '%.*s'",
                    SLICE_ARG(slice_take(name, 64)));
}

static err container_load(store *s, store_call c, const struct account *ac, const short_key *key,
                          uint64_t version, struct container **ret) {
    slice cache_key = slice_skip(key_slice(key), 1), value;
    TRY(account_current(s, c.arena, false, ac->pub.name, ac->pub.id));
    TRY(engine_get(s->engine, ENGINE_META, key_slice(key), c.arena, false, &value));
    TRY(snapshot(s, c.arena, ac, slice_skip(cache_key, KEY_ID_LEN), value, ret));
    cache_add(&s->containers, &(*ret)->snap, version);
    return OK;
}

err store_container_get(store *s, store_call c, const store_account *a, slice name,
                        const store_container **ret) {
    if (!store_container_name_valid(name)) return not_found(name);
    short_key key;
    key_container(&key, a->id, name);
    uint64_t version;
    struct container *k =
        (struct container *)cache_get(&s->containers, slice_skip(key_slice(&key), 1), &version);
    if (!k) {
        if (c.nowait) return ERR_WOULD_BLOCK;
        err e = container_load(s, c, account_of(a), &key, version, &k);
        /* A deleted account's key is destroyed before its containers are purged. */
        if (e == ERR_NOT_FOUND || e == ERR_KEY_DESTROYED) return not_found(name);
        TRY(e);
    }
    *ret = &k->pub;
    return OK;
}

/* The id that a row in META has now, 0 when there is none. */
static err id_in_container(store *s, arena *a, bool nowait, const struct container *k,
                           uint64_t *ret) {
    struct container *now = (struct container *)cache_get(&s->containers, k->snap.key, NULL);
    if (now) {
        *ret = now->pub.id;
        snap_unref(&now->snap);
        return OK;
    }
    short_key key;
    slice value;
    row_container row;
    key_container(&key, k->account_id, k->pub.name);
    err e = engine_get(s->engine, ENGINE_META, key_slice(&key), a, nowait, &value);
    if (e != ERR_NOT_FOUND) {
        TRY(e);
        TRY(row_container_get(value, &row));
    }
    *ret = e == OK ? row.id : 0;
    return OK;
}

static err id_of_account(store *s, arena *a, bool nowait, slice name, uint64_t *ret) {
    struct account *now = (struct account *)cache_get(&s->accounts, name, NULL);
    if (now) {
        *ret = now->pub.id;
        snap_unref(&now->snap);
        return OK;
    }
    short_key key;
    slice value;
    row_account row;
    key_account(&key, name);
    err e = engine_get(s->engine, ENGINE_META, key_slice(&key), a, nowait, &value);
    if (e != ERR_NOT_FOUND) {
        TRY(e);
        TRY(row_account_get(value, &row));
    }
    *ret = e == OK ? row.id : 0;
    return OK;
}

err account_current(store *s, arena *a, bool nowait, slice name, uint64_t id) {
    uint64_t now;
    TRY(id_of_account(s, a, nowait, name, &now));
    ENSURE(now == id, ERR_NOT_FOUND, "the account '%.*s' was deleted", SLICE_ARG(name));
    return OK;
}

err container_current(store *s, arena *a, bool nowait, const struct container *k) {
    uint64_t id, account;
    TRY(id_in_container(s, a, nowait, k, &id));
    TRY(id_of_account(s, a, nowait, k->pub.account, &account));
    return id == k->pub.id && account == k->account_id ? OK : not_found(k->pub.name);
}

/* ---- changes ---- */

/* A change to one container's row, between begin and commit or done; as `change` is for blobs. */
typedef struct container_change {
    store *s;
    store_call c;
    const store_account *account;
    slice name;
    short_key key;
    gate_token token;
    bool inside;
    engine_txn *txn;
    row_container row; /* as read by find */
} container_change;

static void container_change_done(container_change *ch) {
    ch->txn = engine_txn_abort(ch->txn);
    if (ch->inside) gate_leave(&ch->s->gate, ch->token);
    ch->inside = false;
}

static err container_change_begin(container_change *ch, store *s, store_call c,
                                  const store_account *a, slice name) {
    *ch = (container_change){.s = s, .c = c, .account = a, .name = name};
    if (c.nowait) return ERR_WOULD_BLOCK;
    key_container(&ch->key, a->id, name);
    ch->token = gate_enter(&s->gate);
    ch->inside = true;
    TRY(account_current(s, c.arena, false, a->name, a->id));
    return engine_txn_begin(s->engine, key_slice(&ch->key), &ch->txn);
}

static err container_change_find(container_change *ch) {
    slice value;
    err e = engine_get(ch->s->engine, ENGINE_META, key_slice(&ch->key), ch->c.arena, false, &value);
    if (e == ERR_NOT_FOUND) return not_found(ch->name);
    TRY(e);
    return row_container_get(value, &ch->row);
}

static condition_target container_target(const row_container *row) {
    return (condition_target){.exists = true,
                              .container = true,
                              .etag = row->etag,
                              .modified_us = row->modified_us,
                              .lease = &row->lease};
}

static err container_change_commit(container_change *ch) {
    err e = engine_txn_commit(ch->txn);
    ch->txn = NULL;
    cache_drop(&ch->s->containers, slice_skip(key_slice(&ch->key), 1));
    container_change_done(ch);
    return e;
}

static err new_container_key(store *s, const struct account *ac, uint64_t id, uint64_t *ret_slot) {
    crypto_key key;
    crypto_wrapped w;
    crypto_key_random(&key);
    err e = crypto_wrap(&ac->key, &key, &w);
    crypto_key_wipe(&key);
    TRY(e);
    return engine_vault_put(s->engine, id, slice_of(w.b, sizeof w.b), ret_slot);
}

static err create(container_change *ch, store_public access, slice metadata) {
    store *s = ch->s;
    slice value;
    err e = engine_get(s->engine, ENGINE_META, key_slice(&ch->key), ch->c.arena, false, &value);
    ENSURE(e != OK, ERR_CONTAINER_ALREADY_EXISTS, "the container '%.*s' exists already",
           SLICE_ARG(ch->name));
    if (e != ERR_NOT_FOUND) return e;
    store_now now = store_tick(s, 0);
    row_container row = {.id = engine_new_id(s->engine),
                         .etag = now.etag,
                         .created_us = now.us,
                         .modified_us = now.us,
                         .public_access = access,
                         .metadata = metadata};
    TRY(new_container_key(s, account_of(ch->account), row.id, &row.slot));
    engine_txn_put(ch->txn, ENGINE_META, key_slice(&ch->key),
                   ROW_ENCODE(container, ch->c.arena, &row));
    e = container_change_commit(ch);
    if (e != OK && e != ERR_IO) vault_forget(s, row.id, row.slot); /* ERR_IO: it may stand */
    return e;
}

err store_container_create(store *s, store_call c, const store_account *a, slice name,
                           store_public access, const pair *metadata, size_t metadata_count,
                           const store_container **ret) {
    ENSURE(store_container_name_valid(name), ERR_INVALID_RESOURCE_NAME,
           "'%.*s' is not a container's name: 3 to 63 of a-z, 0-9 and single '-' inside",
           SLICE_ARG(slice_take(name, 80)));
    slice packed;
    TRY(metadata_pack(metadata, metadata_count, c.arena, &packed));
    container_change ch CLEANUP(container_change_done);
    TRY(container_change_begin(&ch, s, c, a, name));
    TRY(create(&ch, access, packed));
    return ret ? store_container_get(s, c, a, name, ret) : OK;
}

static err container_change_checked(container_change *ch, store *s, store_call c,
                                    const store_account *a, slice name,
                                    const store_conditions *cond, condition_kind kind) {
    *ch = (container_change){.s = s};
    if (!store_container_name_valid(name)) return not_found(name);
    TRY(container_change_begin(ch, s, c, a, name));
    TRY(container_change_find(ch));
    return conditions_check(cond, kind, container_target(&ch->row));
}

static err delete_container(store *s, store_call c, const store_account *a, slice name,
                            const store_conditions *cond) {
    container_change ch CLEANUP(container_change_done);
    TRY(container_change_checked(&ch, s, c, a, name, cond, CONDITION_WRITE));
    TRY(container_mutable(s, ch.row.id));
    engine_txn_delete(ch.txn, ENGINE_META, key_slice(&ch.key));
    row_purge purge = {
        .account = a->name, .container = name, .slot = ch.row.slot, .deleted_us = clock_wall_us()};
    short_key k;
    key_job(&k, KEY_JOB_PURGE, ch.row.id);
    engine_txn_put(ch.txn, ENGINE_JOB, key_slice(&k), ROW_ENCODE(purge, c.arena, &purge));
    TRY(container_change_commit(&ch));
    key_id(&k, ch.row.id);
    cache_drop_all(&s->hot.cache, key_slice(&k));
    opened_drop_container(&s->opened, ch.row.id);
    reaper_submit(s, job_new(JOB_PURGE, ch.row.id, ch.row.id, 0));
    return OK;
}

err store_container_delete(store *s, store_call c, const store_account *a, slice name,
                           const store_conditions *cond) {
    if (c.nowait) return ERR_WOULD_BLOCK;
    immutable_exclude(s);
    err e = delete_container(s, c, a, name, cond);
    immutable_leave(s);
    return e;
}

/* Writes ch->row with a new ETag and answers with the new snapshot. */
static err container_update(container_change *ch, const store_container **ret) {
    store_now now = store_tick(ch->s, ch->row.etag);
    ch->row.etag = now.etag;
    ch->row.modified_us = now.us;
    slice value = ROW_ENCODE(container, ch->c.arena, &ch->row);
    engine_txn_put(ch->txn, ENGINE_META, key_slice(&ch->key), value);
    TRY(container_change_commit(ch));
    if (!ret) return OK;
    struct container *k;
    TRY(snapshot(ch->s, ch->c.arena, account_of(ch->account), ch->name, value, &k));
    *ret = &k->pub;
    return OK;
}

err store_container_set_metadata(store *s, store_call c, const store_account *a, slice name,
                                 const store_conditions *cond, const pair *metadata, size_t count,
                                 const store_container **ret) {
    if (!store_container_name_valid(name)) return not_found(name);
    slice packed;
    TRY(metadata_pack(metadata, count, c.arena, &packed));
    container_change ch CLEANUP(container_change_done);
    TRY(container_change_checked(&ch, s, c, a, name, cond, CONDITION_TOUCH));
    ch.row.metadata = packed;
    return container_update(&ch, ret);
}

err store_container_set_acl(store *s, store_call c, const store_account *a, slice name,
                            const store_conditions *cond, store_public access,
                            const store_policy *policies, size_t count,
                            const store_container **ret) {
    if (!store_container_name_valid(name)) return not_found(name);
    ENSURE(count <= STORE_POLICIES_MAX, ERR_INVALID_XML_DOCUMENT,
           "%zu stored access policies, more than %d", count, STORE_POLICIES_MAX);
    for (size_t i = 0; i < count; i++)
        ENSURE(policies[i].id.len >= 1 && policies[i].id.len <= 256, ERR_INVALID_XML_NODE_VALUE,
               "a stored access policy's Id has 1 to 64 characters");
    buf packed;
    buf_init_arena(&packed, c.arena, 64 << 10);
    row_policies_put(&packed, policies, count);
    TRY(buf_check(&packed));
    container_change ch CLEANUP(container_change_done);
    TRY(container_change_checked(&ch, s, c, a, name, cond, CONDITION_TOUCH));
    ch.row.policies = buf_slice(&packed);
    ch.row.public_access = access;
    return container_update(&ch, ret);
}

err store_container_lease(store *s, store_call c, const store_account *a, slice name,
                          const store_conditions *cond, const store_lease_ask *ask,
                          store_lease_answer *ret) {
    container_change ch CLEANUP(container_change_done);
    TRY(container_change_checked(&ch, s, c, a, name, cond, CONDITION_TOUCH));
    store_lease_answer answer = {.etag = ch.row.etag, .modified_us = ch.row.modified_us};
    TRY(lease_apply(&ch.row.lease, ask, clock_wall_us(), c.arena, &answer));
    engine_txn_put(ch.txn, ENGINE_META, key_slice(&ch.key),
                   ROW_ENCODE(container, c.arena, &ch.row));
    TRY(container_change_commit(&ch));
    *ret = answer;
    return OK;
}

err store_container_check(const store_container *k, const store_conditions *cond) {
    return conditions_check(cond, CONDITION_READ,
                            (condition_target){.exists = true,
                                               .container = true,
                                               .etag = k->etag,
                                               .modified_us = k->modified_us,
                                               .lease = &k->lease});
}

/* ---- listing ---- */

static err scan_page(store_call c, const store_account *a, const store_container_list *q,
                     engine_cursor *cur, err (*each)(void *ctx, const store_container *k),
                     void *ctx, slice *ret_next) {
    arena *scratch = arena_new(4096, 1 << 20);
    err e;
    for (size_t n = 0;; n++) {
        slice key, value;
        bool more;
        TRY_TO(out, engine_cursor_next(cur, &key, &value, &more));
        if (!more) break;
        slice name = slice_skip(key, 1 + KEY_ID_LEN);
        if (n == q->max) {
            *ret_next = arena_dup(c.arena, name);
            break;
        }
        arena_reset(scratch);
        store_container k;
        row_container row;
        TRY_TO(out, container_decode(scratch, a->name, name, value, &k, &row));
        if (!q->metadata) k.metadata_count = 0;
        e = each(ctx, &k);
        if (e == ERR_TOO_LARGE) {
            *ret_next = arena_dup(c.arena, name);
            e = OK;
            break;
        }
        if (e != OK) break;
    }
out:
    arena_free(scratch);
    return e;
}

/* No name is longer than 63 bytes. */
static bool could_begin_name(slice s) {
    return s.len == 0 || (s.len <= 63 && slice_find(s, 0, 0) == s.len);
}

err store_container_scan(store *s, store_call c, const store_account *a,
                         const store_container_list *q,
                         err (*each)(void *ctx, const store_container *k), void *ctx,
                         slice *ret_next) {
    if (c.nowait) return ERR_WOULD_BLOCK;
    ENSURE(q->max >= 1 && q->max <= STORE_LIST_MAX, ERR_OUT_OF_RANGE_QUERY_PARAMETER_VALUE,
           "maxresults is 1 to %d", STORE_LIST_MAX);
    *ret_next = SLICE_NONE;
    if (!could_begin_name(q->prefix)) return OK;
    ENSURE(could_begin_name(q->marker), ERR_OUT_OF_RANGE_INPUT,
           "marker is not one that a listing gave");
    short_key lower, upper;
    key_container(&lower, a->id, slice_cmp(q->marker, q->prefix) > 0 ? q->marker : q->prefix);
    key_container(&upper, a->id, q->prefix);
    key_end(&upper);
    engine_cursor *cur;
    TRY(engine_scan(s->engine, ENGINE_META, key_slice(&lower), key_slice(&upper), &cur));
    err e = scan_page(c, a, q, cur, each, ctx, ret_next);
    engine_cursor_free(cur);
    return e;
}
