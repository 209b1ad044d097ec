/* Records of accesses, as far as the store knows them: which transaction carries a request's entry, and the
 * keys that its private part is under. What an entry says is its maker's matter (audit/record.h).
 *
 * What holds
 *  1. A request's first change carries its entry; without a change it is written alone. So there is no
 *     change without its entry and no entry without its change.
 *  2. An opening is sealed under a key derived from the container's where there is one, else from the
 *     account's, else from the log's own. Destroying a container's or an account's key makes the openings
 *     unreadable, and leaves every entry as it is.
 *
 * An opening: a letter for whose key it is under ('c', 'a', 's'), the id of that container or account (8 bytes
 * big-endian, 0 for 's'), and the message (crypto.h), bound to both. */
#include "store/internal.h"

#define HEAD 9

/* ---- the log's key ---- */

static err make_log_key(store *s, arena *a) {
    row_log row = {.id = engine_new_id(s->engine), .created_us = clock_wall_us()};
    TRY(new_root_key(s, row.id, &s->secret->key, &row.slot));
    static const uint8_t key[] = {KEY_LOG};
    engine_txn *t;
    TRY(engine_txn_begin(s->engine, slice_of(key, sizeof key), &t));
    engine_txn_put(t, ENGINE_META, slice_of(key, sizeof key), ROW_ENCODE(log, a, &row));
    return engine_txn_commit(t);
}

static err open_log_key(store *s, arena *a) {
    static const uint8_t key[] = {KEY_LOG};
    slice value;
    row_log row;
    err e = engine_get(s->engine, ENGINE_META, slice_of(key, sizeof key), a, false, &value);
    if (e == ERR_NOT_FOUND) return s->makes_records ? make_log_key(s, a) : OK;
    TRY(e);
    TRY(row_log_get(value, &row));
    return root_key(s, a, row.id, row.slot, &s->secret->key);
}

err entry_open(store *s) {
    arena *a = arena_new(4096, 0);
    err e = open_log_key(s, a);
    arena_free(a);
    if (e == OK) crypto_derive(&s->secret->key, RECORDS_LABEL, &s->secret->records);
    return e;
}

void store_log_keys_get(const store *s, store_log_keys *ret) {
    crypto_key seed;
    crypto_derive(&s->secret->key, S("strongroom log signing v1"), &seed);
    memcpy(ret->signing_seed, seed.b, sizeof ret->signing_seed);
    crypto_key_wipe(&seed);
}

static err origin_in(store *s, store_call c, slice wanted, slice otherwise, engine_txn *t,
                     slice *ret) {
    static const uint8_t key[] = {KEY_LOG};
    slice value;
    row_log row;
    TRY(engine_get(s->engine, ENGINE_META, slice_of(key, sizeof key), c.arena, false, &value));
    TRY(row_log_get(value, &row));
    ENSURE(row.origin.len == 0 || wanted.len == 0 || slice_eq(row.origin, wanted), ERR_CONFIG,
           "the record of this folder is named '%.*s', in every checkpoint that it signed; it "
           "cannot be "
           "named '%.*s' now",
           SLICE_ARG(row.origin), SLICE_ARG(wanted));
    if (row.origin.len == 0) {
        row.origin = wanted.len > 0 ? wanted : otherwise;
        engine_txn_put(t, ENGINE_META, slice_of(key, sizeof key), ROW_ENCODE(log, c.arena, &row));
    }
    *ret = arena_dup(c.arena, row.origin);
    return OK;
}

err store_log_origin(store *s, store_call c, slice wanted, slice otherwise, slice *ret) {
    static const uint8_t key[] = {KEY_LOG};
    engine_txn *t;
    TRY(engine_txn_begin(s->engine, slice_of(key, sizeof key), &t));
    err e = origin_in(s, c, wanted, otherwise, t, ret);
    if (e != OK) {
        engine_txn_abort(t);
        return e;
    }
    return engine_txn_commit(t);
}

/* ---- retention ---- */

static err read_log_row(store *s, arena *a, row_log *ret) {
    static const uint8_t key[] = {KEY_LOG};
    slice value;
    TRY(engine_get(s->engine, ENGINE_META, slice_of(key, sizeof key), a, false, &value));
    return row_log_get(value, ret);
}

err store_log_retention_get(store *s, store_call c, store_log_retention *ret) {
    row_log row;
    *ret = (store_log_retention){.removed_us = STORE_TIME_NONE};
    err e = read_log_row(s, c.arena, &row);
    if (e == ERR_NOT_FOUND) return OK;
    TRY(e);
    *ret = (store_log_retention){.minimum = row.minimum,
                                 .swept = row.swept,
                                 .removed_us = row.removed_us,
                                 .keep_s = row.keep_s,
                                 .edge = row.edge};
    return OK;
}

static err put_retention(store *s, store_call c, const store_log_retention *v, engine_txn *t) {
    static const uint8_t key[] = {KEY_LOG};
    row_log row;
    TRY(read_log_row(s, c.arena, &row));
    MUST(v->minimum >= row.minimum && v->swept >= row.swept && v->swept <= v->minimum);
    MUST(v->edge.len <= STORE_LOG_EDGE_MAX);
    row.minimum = v->minimum;
    row.swept = v->swept;
    row.removed_us = v->removed_us;
    row.keep_s = v->keep_s;
    row.edge = v->edge;
    engine_txn_put(t, ENGINE_META, slice_of(key, sizeof key), ROW_ENCODE(log, c.arena, &row));
    return OK;
}

err store_log_retention_set(store *s, store_call c, const store_log_retention *v) {
    static const uint8_t key[] = {KEY_LOG};
    engine_txn *t;
    TRY(engine_txn_begin(s->engine, slice_of(key, sizeof key), &t));
    err e = put_retention(s, c, v, t);
    if (e == OK) return entry_commit(c, t);
    engine_txn_abort(t);
    return e;
}

/* ---- who carries an entry ---- */

void entry_touch(store_recorder *r, const store_blob *b) {
    if (!r) return;
    r->touched = (store_touched){.known = true,
                                 .etag = b->etag,
                                 .length = b->length,
                                 .snapshot = b->snapshot,
                                 .version = b->version,
                                 .has_md5 = b->http.has_md5,
                                 .has_crc64 = b->has_crc64,
                                 .crc64 = b->crc64,
                                 .legal_hold = b->legal_hold,
                                 .immutable_until_us = b->immutable_until_us};
    memcpy(r->touched.md5, b->http.md5, sizeof r->touched.md5);
}

/* On the stack: a request's own memory is made for what it answers. */
static void attach(store_recorder *r, engine_txn *t) {
    uint8_t entry_room[STORE_ENTRY_MAX], private_room[ENGINE_LOG_PRIVATE_MAX];
    buf entry, private_part;
    buf_init_fixed(&entry, entry_room, sizeof entry_room);
    buf_init_fixed(&private_part, private_room, sizeof private_room);
    r->make(r, &entry, &private_part);
    MUST(buf_check(&entry) == OK && buf_check(&private_part) == OK);
    engine_txn_log(t, buf_slice(&entry), buf_slice(&private_part), &r->index);
    r->taken = true;
}

bool entry_attach(store_recorder *r, engine_txn *t) {
    if (!r || r->taken) return false;
    attach(r, t);
    return true;
}

err entry_commit(store_call c, engine_txn *t) {
    const bool carries = entry_attach(c.record, t);
    err e = engine_txn_commit(t);
    if (e != OK && carries) c.record->taken = false;
    return e;
}

void store_record_later(store *s, store_recorder *r, engine_done *done, void *ctx) {
    engine_txn *t;
    err e = engine_txn_begin(s->engine, SLICE_NONE, &t);
    if (e != OK) {
        done(ctx, e);
        return;
    }
    attach(r, t);
    engine_txn_commit_later(t, done, ctx);
}

err store_record(store *s, store_recorder *r) {
    engine_txn *t;
    TRY(engine_txn_begin(s->engine, SLICE_NONE, &t));
    attach(r, t);
    return engine_txn_commit(t);
}

/* ---- pseudonyms and openings ---- */

void store_pseudonym(store *s, const store_account *a, slice name,
                     uint8_t ret[STORE_PSEUDONYM_LEN]) {
    const crypto_key *key = a ? &account_of(a)->secret->records : &s->secret->records;
    uint8_t mac[CRYPTO_SHA256_LEN];
    crypto_hmac_sha256(slice_of(key->b, sizeof key->b), name, mac);
    memcpy(ret, mac, STORE_PSEUDONYM_LEN);
}

static void put_head(uint8_t out[HEAD], char whose, uint64_t id) {
    out[0] = (uint8_t)whose;
    for (int i = 0; i < 8; i++) out[1 + i] = (uint8_t)(id >> (56 - 8 * i));
}

void store_opening_seal(store *s, const store_account *a, const store_container *k, slice plain,
                        buf *out) {
    const crypto_key *key = k   ? &container_of(k)->secret->records
                            : a ? &account_of(a)->secret->records
                                : &s->secret->records;
    uint8_t head[HEAD];
    put_head(head, k ? 'c' : a ? 'a' : 's', k ? k->id : a ? a->id : 0);
    buf_put(out, slice_of(head, sizeof head));
    MUST(crypto_seal(key, slice_of(head, sizeof head), plain, out) == OK);
}

static err account_key_of(store *s, arena *a, uint64_t id, crypto_key *ret) {
    slice key, value;
    row_account row;
    TRY(id_row(s, a, 'a', id, &key, &value));
    TRY(row_account_get(value, &row));
    return root_key(s, a, row.id, row.slot, ret);
}

static err container_key_of(store *s, arena *a, uint64_t id, crypto_key *ret) {
    slice key, value;
    row_container row;
    uint64_t of;
    crypto_key account;
    err e = id_row(s, a, 'c', id, &key, &value);
    if (e == ERR_NOT_FOUND) e = id_row(s, a, 'd', id, &key, &value);
    TRY(e);
    TRY(row_container_get(value, &row));
    slice rest = slice_skip(key, 1);
    TRY(id_take(&rest, &of));
    TRY(account_key_of(s, a, of, &account));
    e = unwrap_container_key(s, a, &account, row.id, row.slot, ret);
    crypto_key_wipe(&account);
    return e;
}

static err opening_key(store *s, arena *a, char whose, uint64_t id, crypto_key *ret) {
    crypto_key key;
    if (whose == 's') {
        *ret = s->secret->records;
        return OK;
    }
    ENSURE(whose == 'a' || whose == 'c', ERR_CORRUPT, "an opening of unknown kind");
    err e = whose == 'a' ? account_key_of(s, a, id, &key) : container_key_of(s, a, id, &key);
    if (e == ERR_NOT_FOUND)
        return err_fail(ERR_KEY_DESTROYED, "the %s whose key it is under is gone",
                        whose == 'a' ? "account" : "container");
    TRY(e);
    crypto_derive(&key, RECORDS_LABEL, ret);
    crypto_key_wipe(&key);
    return OK;
}

err store_opening_open(store *s, store_call c, slice sealed, buf *out) {
    ENSURE(sealed.len > HEAD, ERR_CORRUPT, "an opening of %zu bytes", sealed.len);
    const slice head = slice_take(sealed, HEAD);
    slice number = slice_skip(head, 1);
    uint64_t id;
    crypto_key key;
    TRY(cur_be64(&number, &id));
    TRY(opening_key(s, c.arena, (char)head.p[0], id, &key));
    err e = crypto_open(&key, head, slice_skip(sealed, HEAD), out);
    crypto_key_wipe(&key);
    return e;
}
