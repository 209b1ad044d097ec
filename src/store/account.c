/* Accounts: their keys, and their properties of the service. */
#include "store/internal.h"

#define SHARED_KEY_LEN 64

static void account_free(snap *s) {
    struct account *a = (struct account *)s;
    a->secret = crypto_secret_free(a->secret);
    arena_free(a->mem);
}

const store_account *store_account_unref(const store_account *a) {
    if (a) snap_unref(&account_of(a)->snap);
    return NULL;
}

/* Shared keys are bound to their account. */
static void keys_context(uint8_t out[STORE_PIECE_CONTEXT], uint64_t account) {
    piece_context(out, account, 0);
}

err root_key(store *s, arena *a, uint64_t id, uint64_t slot, crypto_key *ret) {
    slice secret;
    TRY(engine_vault_get(s->engine, id, slot, a, &secret));
    ENSURE(secret.len == CRYPTO_WRAPPED_LEN, ERR_CORRUPT, "a wrapped key has a wrong length");
    crypto_wrapped w;
    memcpy(w.b, secret.p, sizeof w.b);
    return s->keys->unwrap(s->keys, &w, ret);
}

static err open_shared_keys(struct account *ac, const row_account *row) {
    uint8_t context[STORE_PIECE_CONTEXT];
    keys_context(context, row->id);
    for (int i = 0; i < 2; i++) {
        if (row->keys[i].len == 0) continue;
        uint8_t room[SHARED_KEY_LEN_MAX];
        buf plain;
        buf_init_fixed(&plain, room, sizeof room);
        err e =
            crypto_open(&ac->secret->key, slice_of(context, sizeof context), row->keys[i], &plain);
        if (e == OK && plain.len > 0) {
            memcpy(ac->secret->shared[i], plain.p, plain.len);
            ac->pub.keys[i] = slice_of(ac->secret->shared[i], plain.len);
        }
        if (e == OK) ac->pub.key_set[i] = true;
        crypto_wipe(room, sizeof room);
        TRY(e);
    }
    return OK;
}

static err load_keeping(store *s, arena *scratch, struct account *a) {
    store_service v;
    TRY(store_service_get(s, (store_call){.arena = scratch}, &a->pub, &v));
    a->keeping = (keeping){.versioning = a->pub.settings.versioning,
                           .permanent = v.delete_retention.enabled && v.delete_permanent,
                           .delete_days = v.delete_retention.enabled ? v.delete_retention.days : 0};
    return OK;
}

err account_keeping(store *s, arena *a, bool nowait, slice account, keeping *ret) {
    const store_account *ac;
    err e = store_account_get(s, (store_call){.arena = a, .nowait = nowait}, account, &ac);
    if (e == ERR_NOT_FOUND)
        return err_fail(ERR_CONTAINER_NOT_FOUND, "the account '%.*s' was deleted",
                        SLICE_ARG(account));
    TRY(e);
    *ret = account_of(ac)->keeping;
    store_account_unref(ac);
    return OK;
}

static err account_load(store *s, slice name, arena *scratch, struct account **ret) {
    short_key k;
    key_account(&k, name);
    slice value;
    row_account row;
    TRY(engine_get(s->engine, ENGINE_META, key_slice(&k), scratch, false, &value));
    TRY(row_account_get(value, &row));
    arena *mem = arena_new(1024, 1 << 20);
    struct account *a = arena_alloc(mem, sizeof *a);
    *a = (struct account){
        .mem = mem, .slot = row.slot, .secret = crypto_secret_new(sizeof *a->secret)};
    a->snap.free = account_free;
    a->snap.cost = 1;
    a->snap.key = arena_dup(mem, name);
    atomic_init(&a->snap.refs, 1);
    a->pub.name = a->snap.key;
    a->pub.created_us = row.created_us;
    a->pub.id = row.id;
    a->pub.settings = row.settings;
    a->pub.settings.purpose_key1 = arena_dup(mem, row.settings.purpose_key1);
    a->pub.settings.purpose_key2 = arena_dup(mem, row.settings.purpose_key2);
    err e = root_key(s, scratch, row.id, row.slot, &a->secret->key);
    if (e == OK) crypto_derive(&a->secret->key, RECORDS_LABEL, &a->secret->records);
    if (e == OK) e = open_shared_keys(a, &row);
    if (e == OK) e = load_keeping(s, scratch, a);
    if (e != OK) {
        snap_unref(&a->snap);
        return e;
    }
    *ret = a;
    return OK;
}

err store_account_get(store *s, store_call c, slice name, const store_account **ret) {
    ENSURE(store_account_name_valid(name), ERR_NOT_FOUND, "'%.*s' is not an account's name",
           SLICE_ARG(slice_take(name, 64)));
    uint64_t version;
    struct account *a = NULL;
    if (!c.verifies) a = (struct account *)cache_get(&s->accounts, name, &version);
    if (!a) {
        if (c.nowait) return ERR_WOULD_BLOCK;
        err e = account_load(s, name, c.arena, &a);
        if (e == ERR_NOT_FOUND) return err_fail(e, "there is no account '%.*s'", SLICE_ARG(name));
        TRY(e);
        if (!c.verifies) cache_add(&s->accounts, &a->snap, version);
    }
    *ret = &a->pub;
    return OK;
}

/* Seals shared key `which` into the row; given empty: a random one. */
static err seal_shared_key(arena *a, const crypto_key *key, row_account *row, int which,
                           slice given) {
    uint8_t random[SHARED_KEY_LEN], context[STORE_PIECE_CONTEXT];
    if (given.len == 0) {
        random_fill(random, sizeof random);
        given = slice_of(random, sizeof random);
    }
    keys_context(context, row->id);
    buf out;
    buf_init_arena(&out, a, 1024);
    err e = crypto_seal(key, slice_of(context, sizeof context), given, &out);
    crypto_wipe(random, sizeof random);
    TRY(e);
    row->keys[which] = buf_slice(&out);
    return OK;
}

err new_root_key(store *s, uint64_t id, crypto_key *ret_key, uint64_t *ret_slot) {
    crypto_wrapped w;
    crypto_key_random(ret_key);
    TRY(s->keys->wrap(s->keys, ret_key, &w));
    return engine_vault_put(s->engine, id, slice_of(w.b, sizeof w.b), ret_slot);
}

static err absent(store *s, store_call c, const short_key *k, err taken, slice name) {
    slice value;
    err e = engine_get(s->engine, ENGINE_META, key_slice(k), c.arena, false, &value);
    if (e == ERR_NOT_FOUND) return OK;
    TRY(e);
    return err_fail(taken, "'%.*s' exists already", SLICE_ARG(name));
}

static err account_create_in(store *s, store_call c, slice name, const slice keys[2],
                             engine_txn *txn, row_account *row) {
    short_key k;
    key_account(&k, name);
    TRY(absent(s, c, &k, ERR_ACCOUNT_ALREADY_EXISTS, name));
    row->id = engine_new_id(s->engine);
    row->created_us = clock_wall_us();
    crypto_key key;
    TRY(new_root_key(s, row->id, &key, &row->slot));
    err e = OK;
    for (int i = 0; i < 2 && e == OK; i++)
        e = seal_shared_key(c.arena, &key, row, i, keys ? keys[i] : SLICE_NONE);
    crypto_key_wipe(&key);
    if (e != OK) {
        vault_forget(s, row->id, row->slot);
        return e;
    }
    engine_txn_put(txn, ENGINE_META, key_slice(&k), ROW_ENCODE(account, c.arena, row));
    return OK;
}

static err check_key_len(int which, slice key) {
    ENSURE(key.len <= SHARED_KEY_LEN_MAX, ERR_INVALID_INPUT, "key %d has %zu bytes, more than %d",
           which + 1, key.len, SHARED_KEY_LEN_MAX);
    return OK;
}

err store_account_create(store *s, store_call c, slice name, const slice keys[2]) {
    if (c.nowait) return ERR_WOULD_BLOCK;
    ENSURE(store_account_name_valid(name), ERR_INVALID_RESOURCE_NAME,
           "an account's name is 3 to 24 lower-case letters and digits; '%.*s' is not",
           SLICE_ARG(slice_take(name, 64)));
    for (int i = 0; keys && i < 2; i++) TRY(check_key_len(i, keys[i]));
    short_key k;
    key_account(&k, name);
    engine_txn *txn;
    row_account row = {0};
    TRY(engine_txn_begin(s->engine, key_slice(&k), &txn));
    err e = account_create_in(s, c, name, keys, txn, &row);
    if (e != OK) {
        engine_txn_abort(txn);
        return e;
    }
    e = entry_commit(c, txn);
    if (e != OK && e != ERR_IO) vault_forget(s, row.id, row.slot);
    cache_drop(&s->accounts, name);
    return e;
}

/* Reads the row inside a transaction of the account's shard. */
static err account_row(store *s, store_call c, slice name, row_account *ret) {
    short_key k;
    key_account(&k, name);
    slice value;
    err e = engine_get(s->engine, ENGINE_META, key_slice(&k), c.arena, false, &value);
    if (e == ERR_NOT_FOUND) return err_fail(e, "there is no account '%.*s'", SLICE_ARG(name));
    TRY(e);
    return row_account_get(value, ret);
}

static err set_key_in(store *s, store_call c, slice name, int which, slice given, engine_txn *txn) {
    row_account row;
    TRY(account_row(s, c, name, &row));
    crypto_key key;
    TRY(root_key(s, c.arena, row.id, row.slot, &key));
    err e = seal_shared_key(c.arena, &key, &row, which, given);
    crypto_key_wipe(&key);
    TRY(e);
    short_key k;
    key_account(&k, name);
    engine_txn_put(txn, ENGINE_META, key_slice(&k), ROW_ENCODE(account, c.arena, &row));
    return OK;
}

err store_account_rotate(store *s, store_call c, slice name, int which) {
    return store_account_set_key(s, c, name, which, SLICE_NONE);
}

err store_account_set_key(store *s, store_call c, slice name, int which, slice given) {
    if (c.nowait) return ERR_WOULD_BLOCK;
    TRY(check_key_len(which, given));
    ENSURE(which == 0 || which == 1, ERR_INVALID_INPUT, "an account has keys 1 and 2");
    ENSURE(store_account_name_valid(name), ERR_NOT_FOUND, "there is no such account");
    short_key k;
    key_account(&k, name);
    engine_txn *txn;
    TRY(engine_txn_begin(s->engine, key_slice(&k), &txn));
    err e = set_key_in(s, c, name, which, given, txn);
    if (e != OK) {
        engine_txn_abort(txn);
        return e;
    }
    e = entry_commit(c, txn);
    cache_drop(&s->accounts, name);
    return e;
}

static err set_in(store *s, store_call c, slice name, slice setting, engine_txn *txn,
                  uint64_t *ret_id) {
    row_account row;
    TRY(account_row(s, c, name, &row));
    *ret_id = row.id;
    TRY(store_setting_parse(&row.settings, setting));
    short_key k;
    key_account(&k, name);
    engine_txn_put(txn, ENGINE_META, key_slice(&k), ROW_ENCODE(account, c.arena, &row));
    return OK;
}

err store_account_set(store *s, store_call c, slice name, slice setting) {
    if (c.nowait) return ERR_WOULD_BLOCK;
    ENSURE(store_account_name_valid(name), ERR_NOT_FOUND, "there is no such account");
    short_key k;
    key_account(&k, name);
    engine_txn *txn;
    TRY(engine_txn_begin(s->engine, key_slice(&k), &txn));
    uint64_t id;
    err e = set_in(s, c, name, setting, txn, &id);
    if (e != OK) {
        engine_txn_abort(txn);
        return e;
    }
    e = entry_commit(c, txn);
    cache_drop(&s->accounts, name);
    key_id(&k, id); /* their snapshots know settings too */
    cache_drop_all(&s->containers, key_slice(&k));
    return e;
}

err account_mutable(store *s, uint64_t account) {
    short_key low, high;
    key_container(&low, account, SLICE_NONE);
    high = low;
    key_end(&high);
    engine_cursor *cur;
    TRY(engine_scan(s->engine, ENGINE_META, key_slice(&low), key_slice(&high), &cur));
    err e;
    for (;;) {
        slice key, value;
        bool more;
        row_container row;
        TRY_TO(out, engine_cursor_next(cur, &key, &value, &more));
        if (!more) break;
        TRY_TO(out, row_container_get(value, &row));
        TRY_TO(out, guard_permits_deletion(&row.guard, slice_skip(key, 1 + KEY_ID_LEN)));
        TRY_TO(out, container_mutable(s, row.id));
    }
out:
    engine_cursor_free(cur);
    return e;
}

static err account_delete_in(store *s, store_call c, slice name, engine_txn *txn,
                             row_account *row) {
    TRY(account_row(s, c, name, row));
    TRY(account_mutable(s, row->id));
    short_key k;
    key_account(&k, name);
    engine_txn_delete(txn, ENGINE_META, key_slice(&k));
    key_service(&k, row->id);
    engine_txn_delete(txn, ENGINE_META, key_slice(&k));
    key_document(&k, row->id, STORE_LIFECYCLE);
    engine_txn_delete(txn, ENGINE_META, key_slice(&k));
    row_purge purge = {.account = name, .slot = row->slot, .deleted_us = clock_wall_us()};
    key_job(&k, KEY_JOB_PURGE_ACCOUNT, row->id);
    engine_txn_put(txn, ENGINE_JOB, key_slice(&k), ROW_ENCODE(purge, c.arena, &purge));
    return OK;
}

static err delete_account(store *s, store_call c, slice name) {
    if (c.nowait) return ERR_WOULD_BLOCK;
    ENSURE(store_account_name_valid(name), ERR_NOT_FOUND, "there is no such account");
    short_key k;
    key_account(&k, name);
    engine_txn *txn;
    row_account row;
    TRY(engine_txn_begin(s->engine, key_slice(&k), &txn));
    err e = account_delete_in(s, c, name, txn, &row);
    if (e != OK) {
        engine_txn_abort(txn);
        return e;
    }
    TRY(entry_commit(c, txn));
    cache_drop(&s->accounts, name);
    key_id(&k, row.id);
    cache_drop_all(&s->containers, key_slice(&k));
    cache_drop_all(&s->scopes, key_slice(&k));
    cache_drop_all(&s->hot.cache, SLICE_NONE); /* keyed by containers; deleting accounts is rare */
    opened_drop_container(&s->opened, 0);
    /* Here and not in the background: "unreadable at once". The purge does it again after a crash.
     */
    e = engine_vault_destroy(s->engine, row.id, row.slot);
    reaper_submit(s, job_new(JOB_PURGE_ACCOUNT, row.id, row.id, 0));
    return e;
}

err store_account_delete(store *s, store_call c, slice name) {
    if (c.nowait) return ERR_WOULD_BLOCK;
    immutable_exclude(s);
    err e = delete_account(s, c, name);
    immutable_leave(s);
    return e;
}

err store_account_list(store *s, store_call c, void (*each)(void *ctx, const store_account *a),
                       void *ctx) {
    if (c.nowait) return ERR_WOULD_BLOCK;
    engine_cursor *cur;
    TRY(engine_scan(s->engine, ENGINE_META, S("a"), S("b"), &cur));
    err e;
    for (;;) {
        slice key, value;
        bool more;
        row_account row;
        TRY_TO(out, engine_cursor_next(cur, &key, &value, &more));
        if (!more) break;
        TRY_TO(out, row_account_get(value, &row));
        store_account a = {.name = slice_skip(key, 1), .created_us = row.created_us, .id = row.id};
        each(ctx, &a);
    }
out:
    engine_cursor_free(cur);
    return e;
}

/* ---- properties of the service ---- */

err store_service_get(store *s, store_call c, const store_account *a, store_service *ret) {
    short_key k;
    key_service(&k, a->id);
    slice value;
    err e = engine_get(s->engine, ENGINE_META, key_slice(&k), c.arena, c.nowait, &value);
    if (e == ERR_NOT_FOUND) {
        *ret = (store_service){0};
        return OK;
    }
    TRY(e);
    row_service row;
    TRY(row_service_get(value, &row));
    TRY(row_cors_get(row.cors, row.pub.cors, &row.pub.cors_count));
    *ret = row.pub;
    return OK;
}

static err service_change_in(store *s, store_call c, const store_account *a, engine_txn *txn,
                             err (*merge)(void *ctx, store_service *v), void *ctx) {
    row_service row = {0};
    TRY(account_current(s, c.arena, false, a->name, a->id));
    TRY(store_service_get(s, c, a, &row.pub));
    TRY(merge(ctx, &row.pub));
    ENSURE(row.pub.cors_count <= STORE_CORS_RULES_MAX, ERR_INVALID_INPUT, "more than %d CORS rules",
           STORE_CORS_RULES_MAX);
    buf cors;
    buf_init_arena(&cors, c.arena, 1 << 20);
    row_cors_put(&cors, row.pub.cors, row.pub.cors_count);
    TRY(buf_check(&cors));
    row.cors = buf_slice(&cors);
    short_key k;
    key_service(&k, a->id);
    engine_txn_put(txn, ENGINE_META, key_slice(&k), ROW_ENCODE(service, c.arena, &row));
    return OK;
}

err store_service_change(store *s, store_call c, const store_account *a,
                         err (*merge)(void *ctx, store_service *v), void *ctx) {
    if (c.nowait) return ERR_WOULD_BLOCK;
    short_key k;
    key_service(&k, a->id);
    engine_txn *txn = NULL;
    gate_token t = gate_enter(&s->gate);
    err e = engine_txn_begin(s->engine, key_slice(&k), &txn);
    if (e == OK) e = service_change_in(s, c, a, txn, merge, ctx);
    if (e == OK)
        e = entry_commit(c, txn);
    else
        engine_txn_abort(txn);
    cache_drop(&s->accounts, a->name); /* its policy */
    gate_leave(&s->gate, t);
    return e;
}
