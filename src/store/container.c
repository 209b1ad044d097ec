/* Containers: create, find, change, delete, list. */
#include "store/internal.h"

#define DAY_US (86400ll * 1000000)

static void container_free(snap *s) {
    struct container *k = (struct container *)s;
    k->secret = crypto_secret_free(k->secret);
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
                             .lease = row->lease,
                             .guard = row->guard,
                             .scope = row->scope,
                             .deleted = row->deleted_us != STORE_TIME_NONE,
                             .deleted_us = row->deleted_us,
                             .purge_us = row->purge_us};
    TRY(row_pairs_get(a, row->metadata, &ret->metadata, &ret->metadata_count));
    return row_policies_get(row->policies, ret->policies, &ret->policy_count);
}

err unwrap_container_key(store *s, arena *a, const crypto_key *account_key, uint64_t id,
                         uint64_t slot, crypto_key *ret) {
    slice secret;
    TRY(engine_vault_get(s->engine, id, slot, a, &secret));
    ENSURE(secret.len == CRYPTO_WRAPPED_LEN, ERR_CORRUPT, "a wrapped key has a wrong length");
    crypto_wrapped w;
    memcpy(w.b, secret.p, sizeof w.b);
    return crypto_unwrap(account_key, &w, ret);
}

err container_snapshot(store *s, arena *scratch, const struct account *ac, slice name, slice value,
                       struct container **ret) {
    arena *mem = arena_new(2048, 1 << 20);
    struct container *k = arena_alloc(mem, sizeof *k);
    *k = (struct container){.mem = mem,
                            .secret = crypto_secret_new(sizeof *k->secret),
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
    if (e == OK)
        e = unwrap_container_key(s, scratch, &ac->secret->key, row.id, row.slot, &k->secret->key);
    if (e == OK) crypto_derive(&k->secret->key, RECORDS_LABEL, &k->secret->records);
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
    TRY(container_snapshot(s, c.arena, ac, slice_skip(cache_key, KEY_ID_LEN), value, ret));
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

/* The id that a row in META has now, 0 when there is none; and what protects its blobs. */
static err id_in_container(store *s, arena *a, bool nowait, const struct container *k,
                           uint64_t *ret, guard *ret_guard) {
    struct container *now = (struct container *)cache_get(&s->containers, k->snap.key, NULL);
    if (now) {
        *ret = now->pub.id;
        *ret_guard = guard_of(&now->pub.guard);
        snap_unref(&now->snap);
        return OK;
    }
    short_key key;
    slice value;
    row_container row = {0};
    key_container(&key, k->account_id, k->pub.name);
    err e = engine_get(s->engine, ENGINE_META, key_slice(&key), a, nowait, &value);
    if (e != ERR_NOT_FOUND) {
        TRY(e);
        TRY(row_container_get(value, &row));
    }
    *ret = e == OK ? row.id : 0;
    *ret_guard = guard_of(&row.guard);
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
    guard unused;
    return container_current_guard(s, a, nowait, k, &unused);
}

err container_current_guard(store *s, arena *a, bool nowait, const struct container *k,
                            guard *ret) {
    uint64_t id, account;
    TRY(id_in_container(s, a, nowait, k, &id, ret));
    TRY(id_of_account(s, a, nowait, k->pub.account, &account));
    return id == k->pub.id && account == k->account_id ? OK : not_found(k->pub.name);
}

/* ---- changes ---- */

/* A change to one container's row, between begin and commit or done; as `change` is for blobs.
 * Those of one account come one after the other. */
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
    short_key shard;
    key_id(&shard, a->id);
    return engine_txn_begin(s->engine, key_slice(&shard), &ch->txn);
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
    err e = entry_commit(ch->c, ch->txn);
    ch->txn = NULL;
    cache_drop(&ch->s->containers, slice_skip(key_slice(&ch->key), 1));
    container_change_done(ch);
    return e;
}

err new_container_key(store *s, const struct account *ac, uint64_t id, uint64_t *ret_slot) {
    crypto_key key;
    crypto_wrapped w;
    crypto_key_random(&key);
    err e = crypto_wrap(&ac->secret->key, &key, &w);
    crypto_key_wipe(&key);
    TRY(e);
    return engine_vault_put(s->engine, id, slice_of(w.b, sizeof w.b), ret_slot);
}

static err name_is_free(const container_change *ch) {
    slice value;
    err e = engine_get(ch->s->engine, ENGINE_META, key_slice(&ch->key), ch->c.arena, false, &value);
    ENSURE(e != OK, ERR_CONTAINER_ALREADY_EXISTS, "the container '%.*s' exists already",
           SLICE_ARG(ch->name));
    return e == ERR_NOT_FOUND ? OK : e;
}

static err name_check(slice name) {
    ENSURE(store_container_name_valid(name), ERR_INVALID_RESOURCE_NAME,
           "'%.*s' is not a container's name: 3 to 63 of a-z, 0-9 and single '-' inside",
           SLICE_ARG(slice_take(name, 80)));
    return OK;
}

/* A default scope is there, and enabled, when its container is made. */
static err check_default(const container_change *ch, const store_default_scope *scope) {
    const struct container account = {.pub = {.account = ch->account->name},
                                      .account_id = ch->account->id};
    return scope_check(ch->s, ch->c, &account, scope->name);
}

static err create(container_change *ch, store_public access, const store_default_scope *scope,
                  slice metadata) {
    store *s = ch->s;
    TRY(name_is_free(ch));
    TRY(check_default(ch, scope));
    store_now now = store_tick(s, 0);
    row_container row = {.id = engine_new_id(s->engine),
                         .etag = now.etag,
                         .created_us = now.us,
                         .modified_us = now.us,
                         .public_access = access,
                         .scope = *scope,
                         .metadata = metadata};
    TRY(new_container_key(s, account_of(ch->account), row.id, &row.slot));
    engine_txn_put(ch->txn, ENGINE_META, key_slice(&ch->key),
                   ROW_ENCODE(container, ch->c.arena, &row));
    err e = container_change_commit(ch);
    if (e != OK && e != ERR_IO) vault_forget(s, row.id, row.slot); /* ERR_IO: it may stand */
    return e;
}

err store_container_create(store *s, store_call c, const store_account *a, slice name,
                           store_public access, const pair *metadata, size_t metadata_count,
                           const store_container **ret) {
    return store_container_create_under(s, c, a, name, access, NULL, metadata, metadata_count, ret);
}

err store_container_create_under(store *s, store_call c, const store_account *a, slice name,
                                 store_public access, const store_default_scope *scope,
                                 const pair *metadata, size_t metadata_count,
                                 const store_container **ret) {
    static const store_default_scope none;
    TRY(name_check(name));
    slice packed;
    TRY(metadata_pack(metadata, metadata_count, c.arena, &packed));
    container_change ch CLEANUP(container_change_done);
    TRY(container_change_begin(&ch, s, c, a, name));
    TRY(create(&ch, access, scope ? scope : &none, packed));
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

/* The row under its deleted name, with all it holds: its blobs stay where they are, by its id. */
static void keep_deleted(container_change *ch, uint32_t days) {
    store_now now = store_tick(ch->s, 0);
    row_container row = ch->row;
    row.deleted_us = now.us;
    row.purge_us = now.us + days * DAY_US;
    row.account = ch->account->name;
    short_key k;
    key_deleted(&k, ch->account->id, ch->name, now.etag);
    engine_txn_put(ch->txn, ENGINE_META, key_slice(&k), ROW_ENCODE(container, ch->c.arena, &row));
}

static void put_purge(container_change *ch) {
    row_purge purge = {.account = ch->account->name,
                       .container = ch->name,
                       .slot = ch->row.slot,
                       .deleted_us = clock_wall_us()};
    short_key k;
    key_job(&k, KEY_JOB_PURGE, ch->row.id);
    engine_txn_put(ch->txn, ENGINE_JOB, key_slice(&k), ROW_ENCODE(purge, ch->c.arena, &purge));
}

static err delete_container(store *s, store_call c, const store_account *a, slice name,
                            const store_conditions *cond) {
    container_change ch CLEANUP(container_change_done);
    TRY(container_change_checked(&ch, s, c, a, name, cond, CONDITION_WRITE));
    TRY(guard_permits_deletion(&ch.row.guard, name));
    TRY(container_mutable(s, ch.row.id));
    uint32_t days = a->settings.container_delete_days;
    engine_txn_delete(ch.txn, ENGINE_META, key_slice(&ch.key));
    if (days > 0)
        keep_deleted(&ch, days);
    else
        put_purge(&ch);
    TRY(container_change_commit(&ch));
    short_key k;
    key_id(&k, ch.row.id);
    cache_drop_all(&s->hot.cache, key_slice(&k));
    opened_drop_container(&s->opened, ch.row.id);
    if (days == 0) reaper_submit(s, job_new(JOB_PURGE, ch.row.id, ch.row.id, 0));
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
    TRY(container_snapshot(ch->s, ch->c.arena, account_of(ch->account), ch->name, value, &k));
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

/* The row with another guard; what it was before in *ret_before. */
static err set_guard(store *s, store_call c, const store_account *a, slice name,
                     const store_guard *put, slice setting, store_guard *ret_before) {
    container_change ch CLEANUP(container_change_done);
    TRY(container_change_checked(&ch, s, c, a, name, NULL, CONDITION_READ));
    *ret_before = ch.row.guard;
    if (put)
        ch.row.guard = *put;
    else
        TRY(guard_change(c.arena, setting, &ch.row.guard));
    engine_txn_put(ch.txn, ENGINE_META, key_slice(&ch.key),
                   ROW_ENCODE(container, c.arena, &ch.row));
    TRY(container_change_commit(&ch));
    gate_wait(&s->gate); /* who came in before did not see it */
    return OK;
}

static err find_expiring(void *ctx, const store_blob *b, slice prefix) {
    (void)ctx, (void)prefix;
    ENSURE(
        b->expires_us == STORE_TIME_NONE, ERR_INVALID_INPUT,
        "blob '%.*s' has an expiry, which would end it in spite of the policy or hold; take that "
        "away first (Set Blob Expiry: NeverExpire)",
        SLICE_ARG(slice_take(b->name, 256)));
    return OK;
}

/* No blob expires in a container that is guarded: none may be given an expiry, and none has one. */
static err nothing_expires(store *s, store_call c, const store_container *k) {
    store_blob_list q = {.max = STORE_LIST_MAX};
    do TRY(store_blob_scan(s, c, k, &q, find_expiring, NULL, &q.marker));
    while (q.marker.len > 0);
    return OK;
}

err store_container_guard_set(store *s, store_call c, const store_account *a, slice name,
                              slice setting, const store_container **ret) {
    if (c.nowait) return ERR_WOULD_BLOCK;
    store_guard before, unused;
    TRY(set_guard(s, c, a, name, NULL, setting, &before));
    TRY(store_container_get(s, c, a, name, ret));
    guard was = guard_of(&before);
    err e = was.days || was.held ? OK : nothing_expires(s, c, *ret);
    if (e == OK) return OK;
    slice why = arena_dup(c.arena, slice_str(err_detail()));
    store_container_unref(*ret);
    TRY(set_guard(s, c, a, name, &before, SLICE_NONE, &unused));
    return err_fail(e, "%.*s", SLICE_ARG(why));
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

/* ---- Restore Container, Rename Container ---- */

err store_container_restore(store *s, store_call c, const store_account *a, slice name,
                            slice deleted_name, uint64_t version) {
    TRY(name_check(name));
    if (!store_container_name_valid(deleted_name) || version == 0) return not_found(deleted_name);
    container_change ch CLEANUP(container_change_done);
    TRY(container_change_begin(&ch, s, c, a, name));
    TRY(name_is_free(&ch));
    short_key from;
    slice value;
    key_deleted(&from, a->id, deleted_name, version);
    err e = engine_get(s->engine, ENGINE_META, key_slice(&from), c.arena, false, &value);
    ENSURE(e != ERR_NOT_FOUND, ERR_CONTAINER_NOT_FOUND,
           "no deleted container '%.*s' of version %016llX can be restored",
           SLICE_ARG(deleted_name), (unsigned long long)version);
    TRY(e);
    TRY(row_container_get(value, &ch.row));
    ch.row.deleted_us = ch.row.purge_us = STORE_TIME_NONE;
    ch.row.account = SLICE_NONE;
    engine_txn_delete(ch.txn, ENGINE_META, key_slice(&from));
    engine_txn_put(ch.txn, ENGINE_META, key_slice(&ch.key),
                   ROW_ENCODE(container, c.arena, &ch.row));
    return container_change_commit(&ch);
}

err store_container_rename(store *s, store_call c, const store_account *a, slice name, slice source,
                           slice source_lease_id) {
    TRY(name_check(name));
    store_conditions lease = STORE_NO_CONDITIONS;
    lease.lease_id = source_lease_id;
    container_change ch CLEANUP(container_change_done);
    TRY(container_change_checked(&ch, s, c, a, source, &lease, CONDITION_WRITE));
    short_key from = ch.key;
    ch.name = name;
    key_container(&ch.key, a->id, name);
    TRY(name_is_free(&ch));
    engine_txn_delete(ch.txn, ENGINE_META, key_slice(&from));
    engine_txn_put(ch.txn, ENGINE_META, key_slice(&ch.key),
                   ROW_ENCODE(container, c.arena, &ch.row));
    err e = container_change_commit(&ch);
    cache_drop(&s->containers, slice_skip(key_slice(&from), 1));
    return e;
}

err store_container_check(const store_container *k, const store_conditions *cond) {
    return conditions_check(cond, CONDITION_READ,
                            (condition_target){.exists = true,
                                               .container = true,
                                               .etag = k->etag,
                                               .modified_us = k->modified_us,
                                               .lease = &k->lease});
}
