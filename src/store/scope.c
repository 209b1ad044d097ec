/* Encryption scopes ("Encryption scopes for Blob storage"): an account's keys by name. What is under a
 * scope can be kept from everyone, for a while or for good, and all else of its container stays.
 *
 * A piece's own key is wrapped by a key made of both, the container's and the scope's, as with
 * customers' keys (customer.c). So it ends with the container's key, and with the scope's.
 *
 * What holds
 *  1. A name stands for one key, for good: scopes are disabled, or their key is destroyed; no name is
 *     used again.
 *  2. All pieces of one blob are under one scope, or all under none; never also under a customer's key.
 *     A state says which (row_blob), as does each part of a block list, each staged block and each piece
 *     of pages.
 *  3. A change looks at its scope inside the gate. When a change of the scope's state has returned,
 *     nothing is committed that found it in the state before; only then a key is destroyed. */
#include "store/internal.h"

#define SCOPE_KEY_LABEL S("scope")

static void scope_free(snap *s) {
    struct scope *x = (struct scope *)s;
    x->key = crypto_secret_free(x->key);
    free(x);
}

/* Encryption scopes in Azure's resource manager: "3 to 63 characters … numbers, lower-case letters and
 * dash only"; no dash beside another or at an end. */
bool store_scope_name_valid(slice name) {
    return name.len > 0 && name.p[0] != '$' && store_container_name_valid(name);
}

/* ---- what a call asks for ---- */

static err check_policy(const store_default_scope *d, bool same) {
    ENSURE(same || !d->deny_override, ERR_FORBIDDEN_BY_ENCRYPTION_POLICY,
           "the container takes '%.*s' only",
           SLICE_ARG(d->name.len ? d->name : STORE_ACCOUNT_SCOPE));
    return OK;
}

err store_scope_of(store_call c, const store_container *k, slice *ret) {
    slice name = c.scope.len ? c.scope : k->scope.name;
    if (c.customer || slice_eq(name, STORE_ACCOUNT_SCOPE)) name = SLICE_NONE;
    TRY(check_policy(&k->scope, !c.customer && slice_eq(name, k->scope.name)));
    *ret = name;
    return OK;
}

err scope_match(slice scope, slice asked) {
    if (slice_eq(scope, asked)) return OK;
    ENSURE(asked.len > 0, ERR_BLOB_USES_CUSTOMER_SPECIFIED_ENCRYPTION,
           "Send its encryption scope: x-ms-encryption-scope: %.*s", SLICE_ARG(scope));
    ENSURE(scope.len > 0, ERR_BLOB_DOES_NOT_USE_CUSTOMER_SPECIFIED_ENCRYPTION,
           "The request is under encryption scope '%.*s', what is there under none.",
           SLICE_ARG(asked));
    return err_fail(ERR_BLOB_CUSTOMER_SPECIFIED_ENCRYPTION_MISMATCH,
                    "The request is under encryption scope '%.*s', what is there under '%.*s'.",
                    SLICE_ARG(asked), SLICE_ARG(scope));
}

/* ---- from the row, and from memory ---- */

static err row_of(store *s, store_call c, const short_key *k, row_scope *ret) {
    slice value;
    TRY(engine_get(s->engine, ENGINE_META, key_slice(k), c.arena, c.nowait, &value));
    return row_scope_get(value, ret);
}

/* The scope's key, which the account's key opens. */
static err open_key(store *s, store_call c, slice account, uint64_t account_id,
                    const row_scope *row, crypto_key *ret) {
    const store_account *a;
    TRY(store_account_get(s, c, account, &a));
    err e = a->id != account_id
                ? err_fail(ERR_NOT_FOUND, "the account '%.*s' was deleted", SLICE_ARG(account))
                : unwrap_container_key(s, c.arena, &account_of(a)->secret->key, row->id, row->slot,
                                       ret);
    store_account_unref(a);
    return e;
}

static err load(store *s, store_call c, slice account, uint64_t account_id, const short_key *k,
                struct scope **ret) {
    row_scope row;
    TRY(row_of(s, c, k, &row));
    struct scope *x = calloc(1, sizeof *x);
    MUST(x);
    x->key = crypto_secret_new(sizeof *x->key);
    x->place = *k;
    x->snap.key = slice_skip(key_slice(&x->place), 1);
    x->snap.free = scope_free;
    x->snap.cost = 1;
    atomic_init(&x->snap.refs, 1);
    x->state = row.state;
    err e =
        row.state == STORE_SCOPE_DESTROYED ? OK : open_key(s, c, account, account_id, &row, x->key);
    if (e != OK) {
        snap_unref(&x->snap);
        return e;
    }
    *ret = x;
    return OK;
}

/* A reference. ERR_NOT_FOUND: the account has no such scope. */
static err scope_get(store *s, store_call c, slice account, uint64_t account_id, slice name,
                     struct scope **ret) {
    short_key k;
    uint64_t version;
    if (!store_scope_name_valid(name)) return ERR_NOT_FOUND;
    key_scope(&k, account_id, name);
    *ret = (struct scope *)cache_get(&s->scopes, slice_skip(key_slice(&k), 1), &version);
    if (*ret) return OK;
    if (c.nowait) return ERR_WOULD_BLOCK;
    TRY(load(s, c, account, account_id, &k, ret));
    cache_add(&s->scopes, &(*ret)->snap, version);
    return OK;
}

/* any: of one that is disabled, too. */
static err usable(const struct scope *x, slice name, bool any) {
    ENSURE(!any || x->state != STORE_SCOPE_DESTROYED, ERR_KEY_DESTROYED,
           "the key of encryption scope '%.*s' was destroyed", SLICE_ARG(name));
    ENSURE(any || x->state == STORE_SCOPE_ENABLED, ERR_ENCRYPTION_SCOPE_DISABLED,
           "the encryption scope '%.*s' is disabled", SLICE_ARG(name));
    return OK;
}

static err unknown(err e, slice name) {
    if (e != ERR_NOT_FOUND) return e;
    return err_fail(ERR_INVALID_HEADER_VALUE, "the account has no encryption scope '%.*s'",
                    SLICE_ARG(slice_take(name, 64)));
}

err scope_check(store *s, store_call c, const struct container *k, slice name) {
    struct scope *x;
    if (name.len == 0) return OK;
    TRY(unknown(scope_get(s, c, k->pub.account, k->account_id, name, &x), name));
    err e = usable(x, name, false);
    snap_unref(&x->snap);
    return e;
}

err scope_kek(store *s, store_call c, const scope_place *p, slice name, bool any, crypto_key *ret) {
    struct scope *x;
    TRY(unknown(scope_get(s, c, p->account, p->account_id, name, &x), name));
    err e = usable(x, name, any);
    if (e == OK) joined_kek(p->container, SCOPE_KEY_LABEL, x->key, ret);
    snap_unref(&x->snap);
    return e;
}

scope_place scope_place_of(const struct container *k) {
    return (scope_place){
        .account = k->pub.account, .account_id = k->account_id, .container = &k->secret->key};
}

/* ---- what is there already ---- */

err store_encryption_check(store *s, store_call c, const store_container *k, const store_blob *b) {
    TRY(store_customer_check(b->key_sha256, c.customer));
    return scope_check(s, c, container_of(k), b->scope);
}

err encryption_writes(store *s, store_call c, const store_container *k, const store_blob *b) {
    slice asked;
    TRY(store_customer_check(b->key_sha256, c.customer));
    TRY(store_scope_of(c, k, &asked));
    TRY(scope_match(b->scope, asked));
    return scope_check(s, c, container_of(k), asked);
}

/* ---- made, changed, listed ---- */

static void count_one(void *ctx, const store_scope *x) {
    (void)x;
    ++*(size_t *)ctx;
}

static err create_in(store *s, store_call c, const store_account *a, slice name, engine_txn *t,
                     row_scope *row) {
    short_key k;
    row_scope old;
    size_t count = 0;
    TRY(account_current(s, c.arena, false, a->name, a->id));
    key_scope(&k, a->id, name);
    err e = row_of(s, c, &k, &old);
    ENSURE(e != OK, ERR_INVALID_INPUT, "the account has an encryption scope '%.*s' already",
           SLICE_ARG(name));
    if (e != ERR_NOT_FOUND) return e;
    TRY(store_scope_list(s, c, a, count_one, &count));
    ENSURE(count < STORE_SCOPES_MAX, ERR_INVALID_INPUT, "an account has at most %d scopes",
           STORE_SCOPES_MAX);
    row->id = engine_new_id(s->engine);
    row->created_us = clock_wall_us();
    TRY(new_container_key(s, account_of(a), row->id, &row->slot));
    engine_txn_put(t, ENGINE_META, key_slice(&k), ROW_ENCODE(scope, c.arena, row));
    return OK;
}

/* Scopes change one after the other with the account's containers. */
static err begin(store *s, const store_account *a, engine_txn **ret) {
    short_key shard;
    key_id(&shard, a->id);
    return engine_txn_begin(s->engine, key_slice(&shard), ret);
}

static err name_check(slice name) {
    ENSURE(store_scope_name_valid(name), ERR_INVALID_INPUT,
           "'%.*s' is not an encryption scope's name: 3 to 63 of a-z, 0-9 and single '-' inside",
           SLICE_ARG(slice_take(name, 80)));
    return OK;
}

err store_scope_create(store *s, store_call c, const store_account *a, slice name) {
    engine_txn *t;
    row_scope row = {0};
    if (c.nowait) return ERR_WOULD_BLOCK;
    TRY(name_check(name));
    gate_token token = gate_enter(&s->gate);
    err e = begin(s, a, &t);
    if (e == OK) {
        e = create_in(s, c, a, name, t, &row);
        if (e == OK) {
            e = entry_commit(c, t);
            if (e != OK && e != ERR_IO) vault_forget(s, row.id, row.slot);
        } else {
            engine_txn_abort(t);
        }
    }
    gate_leave(&s->gate, token);
    return e;
}

static err set_in(store *s, store_call c, const store_account *a, slice name,
                  store_scope_state state, engine_txn *t, row_scope *row) {
    short_key k;
    TRY(account_current(s, c.arena, false, a->name, a->id));
    key_scope(&k, a->id, name);
    err e = row_of(s, c, &k, row);
    ENSURE(e != ERR_NOT_FOUND, ERR_NOT_FOUND, "the account has no encryption scope '%.*s'",
           SLICE_ARG(name));
    TRY(e);
    ENSURE(row->state != STORE_SCOPE_DESTROYED, ERR_INVALID_INPUT,
           "the key of encryption scope '%.*s' was destroyed; nothing changes that",
           SLICE_ARG(name));
    if (state == STORE_SCOPE_DESTROYED) TRY(account_mutable(s, a->id));
    row->state = state;
    engine_txn_put(t, ENGINE_META, key_slice(&k), ROW_ENCODE(scope, c.arena, row));
    return OK;
}

static err set_state(store *s, store_call c, const store_account *a, slice name,
                     store_scope_state state, row_scope *row) {
    engine_txn *t;
    short_key k;
    gate_token token = gate_enter(&s->gate);
    err e = begin(s, a, &t);
    if (e == OK) {
        e = set_in(s, c, a, name, state, t, row);
        if (e == OK)
            e = entry_commit(c, t);
        else
            engine_txn_abort(t);
    }
    key_scope(&k, a->id, name);
    cache_drop(&s->scopes, slice_skip(key_slice(&k), 1));
    gate_leave(&s->gate, token);
    return e;
}

/* What stands opened in memory may be of the scope: all of it goes, which is rare enough. */
static void close_opened(store *s) {
    cache_drop_all(&s->hot.cache, SLICE_NONE);
    opened_drop_container(&s->opened, 0);
}

err store_scope_set(store *s, store_call c, const store_account *a, slice name,
                    store_scope_state state) {
    row_scope row;
    if (c.nowait) return ERR_WOULD_BLOCK;
    TRY(name_check(name));
    const bool ends = state == STORE_SCOPE_DESTROYED;
    if (ends) immutable_exclude(s);
    err e = set_state(s, c, a, name, state, &row);
    if (ends) immutable_leave(s);
    TRY(e);
    gate_wait(&s->gate); /* who came in before may have found it as it was */
    if (state != STORE_SCOPE_ENABLED) close_opened(s);
    /* After a crash before this, the next start finds the key without an owner (orphans.c). */
    return ends ? engine_vault_destroy(s->engine, row.id, row.slot) : OK;
}

err store_scope_list(store *s, store_call c, const store_account *a,
                     void (*each)(void *ctx, const store_scope *x), void *ctx) {
    short_key low, high;
    engine_cursor *cur;
    err e;
    if (c.nowait) return ERR_WOULD_BLOCK;
    key_scope(&low, a->id, SLICE_NONE);
    high = low;
    key_end(&high);
    TRY(engine_scan(s->engine, ENGINE_META, key_slice(&low), key_slice(&high), &cur));
    for (;;) {
        slice k, v;
        bool more;
        row_scope row;
        TRY_TO(out, engine_cursor_next(cur, &k, &v, &more));
        if (!more) break;
        TRY_TO(out, row_scope_get(v, &row));
        const store_scope x = {
            .name = slice_skip(k, low.len), .created_us = row.created_us, .state = row.state};
        each(ctx, &x);
    }
out:
    engine_cursor_free(cur);
    return e;
}
