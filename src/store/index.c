/* The index over tags.
 *
 * What holds, in every committed state:
 *  1. A current blob with n tags has 2n rows in INDEX, one of its container and one of its account for
 *     each tag; a blob without tags, and what is no current blob (staged blocks, snapshots,
 *     versions, deleted blobs), has none: "Index tags are preserved for soft-deleted blobs and
 *     snapshots, but those tags aren't passed to the blob index engine".
 *  2. Each of them holds all tags of the blob, and when it expires.
 *  3. A blob that expires has one more row, by that time, through which the sweeper finds it.
 *  4. A blob with an immutability policy or a legal hold, current or in its history, has a row of its
 *     container. The row may outlive them while the blob has a history.
 * All follow from one rule: whatever puts or deletes a blob's row (change_put_blob,
 * change_delete_blob) comes through index_change in the same transaction. A search can therefore
 * trust what it reads, and reads nothing else. */
#include "store/internal.h"

static void tag_key(index_key *k, const pair *tag) {
    key_index_add(k, tag->name);
    key_index_byte(k, KEY_TAG_END);
    key_index_add(k, tag->value);
    key_index_byte(k, KEY_TAG_END);
}

static slice container_key(index_key *k, uint64_t container, const pair *tag, slice escaped) {
    key_index(k, KEY_INDEX_CONTAINER, container);
    tag_key(k, tag);
    key_index_add(k, escaped);
    return key_index_slice(k);
}

static slice account_key(index_key *k, uint64_t account, uint64_t container, const pair *tag,
                         slice escaped) {
    key_index(k, KEY_INDEX_ACCOUNT, account);
    tag_key(k, tag);
    key_index_id(k, container);
    key_index_add(k, escaped);
    return key_index_slice(k);
}

/* The reaper knows a blob's container by its id alone; the blob's rows in the index know the rest. */
static err find_account(const change *ch, const pair *tag, uint64_t *ret) {
    index_key k;
    slice value;
    row_index row;
    err e = engine_get(ch->s->engine, ENGINE_INDEX,
                       container_key(&k, ch->container, tag, key_escaped(&ch->key)), ch->arena,
                       false, &value);
    ENSURE(e != ERR_NOT_FOUND, ERR_CORRUPT, "a tagged blob is not in the index");
    TRY(e);
    TRY(row_index_get(value, &row));
    *ret = row.account;
    return OK;
}

static void delete_rows(const change *ch, uint64_t account, const pair *tag) {
    index_key k;
    slice name = key_escaped(&ch->key);
    engine_txn_delete(ch->txn, ENGINE_INDEX, container_key(&k, ch->container, tag, name));
    engine_txn_delete(ch->txn, ENGINE_INDEX, account_key(&k, account, ch->container, tag, name));
}

static void put_rows(const change *ch, const pair *tags, uint32_t count, slice packed,
                     int64_t expires_us) {
    row_index of_container = {
        .tags = packed, .tag_count = count, .account = ch->account, .expires_us = expires_us};
    row_index of_account = {.tags = packed,
                            .tag_count = count,
                            .container = ch->container_name,
                            .expires_us = expires_us};
    slice name = key_escaped(&ch->key);
    slice one = ROW_ENCODE(index, ch->arena, &of_container);
    slice two = ROW_ENCODE(index, ch->arena, &of_account);
    index_key k;
    for (uint32_t i = 0; i < count; i++) {
        engine_txn_put(ch->txn, ENGINE_INDEX, container_key(&k, ch->container, &tags[i], name),
                       one);
        engine_txn_put(ch->txn, ENGINE_INDEX,
                       account_key(&k, ch->account, ch->container, &tags[i], name), two);
    }
}

static bool holds(const pair *tags, uint32_t count, const pair *tag) {
    for (uint32_t i = 0; i < count; i++)
        if (slice_eq(tags[i].name, tag->name)) return slice_eq(tags[i].value, tag->value);
    return false;
}

static slice expiry_key(index_key *k, int64_t expires_us, slice base) {
    key_index(k, KEY_INDEX_EXPIRY, (uint64_t)expires_us);
    key_index_add(k, base);
    return key_index_slice(k);
}

void index_purge_expiry(engine_txn *t, int64_t expires_us, slice base) {
    index_key k;
    engine_txn_delete(t, ENGINE_INDEX, expiry_key(&k, expires_us, base));
}

static void change_expiry(change *ch, int64_t expires_us) {
    index_key k;
    slice base = key_base(&ch->key);
    if (ch->indexed_expiry != STORE_TIME_NONE)
        index_purge_expiry(ch->txn, ch->indexed_expiry, base);
    if (expires_us != STORE_TIME_NONE) {
        buf empty;
        buf_init_arena(&empty, ch->arena, 16);
        record_begin(&empty, 1);
        engine_txn_put(ch->txn, ENGINE_INDEX, expiry_key(&k, expires_us, base), buf_slice(&empty));
    }
    ch->indexed_expiry = expires_us;
}

static slice protected_key(index_key *k, uint64_t container, slice escaped) {
    key_index(k, KEY_INDEX_PROTECTED, container);
    key_index_add(k, escaped);
    return key_index_slice(k);
}

void index_purge_protected(engine_txn *t, uint64_t container, slice escaped) {
    index_key k;
    engine_txn_delete(t, ENGINE_INDEX, protected_key(&k, container, escaped));
}

void index_put_protected(change *ch) {
    index_key k;
    buf empty;
    buf_init_arena(&empty, ch->arena, 16);
    record_begin(&empty, 1);
    engine_txn_put(ch->txn, ENGINE_INDEX, protected_key(&k, ch->container, key_escaped(&ch->key)),
                   buf_slice(&empty));
}

/* A blob with a history keeps the row: one of its states may be protected. */
static err change_protected(change *ch, bool now) {
    if (!now) {
        TRY(change_head(ch));
        if (ch->head.states) return OK;
        index_purge_protected(ch->txn, ch->container, key_escaped(&ch->key));
    } else {
        index_put_protected(ch);
    }
    ch->indexed_protected = now;
    return OK;
}

bool index_protected(const row_blob *r) {
    return r->pub.legal_hold || r->pub.immutable_mode != STORE_MUTABLE;
}

/* 0 is not written to a row either. */
static int64_t expiry_in_row(const row_blob *r) {
    return r && r->pub.expires_us > 0 ? r->pub.expires_us : STORE_TIME_NONE;
}

int64_t index_expiry(const row_blob *r) {
    return index_protected(r) ? STORE_TIME_NONE : expiry_in_row(r);
}

static err change_tags(change *ch, slice tags, uint32_t count, int64_t expires_us) {
    pair before[STORE_TAGS_MAX], now[STORE_TAGS_MAX];
    TRY(row_tags_get(ch->indexed_tags, ch->indexed_count, before));
    TRY(row_tags_get(tags, count, now));
    uint64_t account = ch->account;
    if (account == 0) { /* the reaper's, which gives no tags */
        MUST(count == 0);
        TRY(find_account(ch, &before[0], &account));
    }
    for (uint32_t i = 0; i < ch->indexed_count; i++)
        if (!holds(now, count, &before[i])) delete_rows(ch, account, &before[i]);
    if (count > 0) put_rows(ch, now, count, tags, expires_us);
    ch->indexed_tags = tags;
    ch->indexed_count = count;
    return OK;
}

err index_change(change *ch, const row_blob *r) {
    row_blob row;
    bool exists;
    if (!ch->index_known) TRY(change_blob(ch, &row, &exists));
    slice tags = r ? r->tags : SLICE_NONE;
    int64_t expires_us = expiry_in_row(r);
    bool protect = r && index_protected(r);
    bool same = expires_us == ch->indexed_expiry && protect == ch->indexed_protected;
    if (same && slice_eq(tags, ch->indexed_tags)) return OK; /* nearly always: nothing */
    if (expires_us != ch->indexed_expiry) change_expiry(ch, expires_us);
    if (protect != ch->indexed_protected) TRY(change_protected(ch, protect));
    if (ch->indexed_count == 0 && tags.len == 0) return OK;
    return change_tags(ch, tags, r ? r->pub.tag_count : 0, r ? index_expiry(r) : STORE_TIME_NONE);
}

err index_restore(store *s, arena *a, uint64_t account, uint64_t container, slice container_name,
                  slice name, const row_blob *r) {
    change ch CLEANUP(change_done) = {0};
    pair tags[STORE_TAGS_MAX];
    TRY(row_tags_get(r->tags, r->pub.tag_count, tags));
    TRY(change_begin_unchecked(&ch, s, a, container, name));
    ch.account = account;
    ch.container_name = container_name;
    ch.indexed_expiry = STORE_TIME_NONE;
    change_expiry(&ch, expiry_in_row(r));
    if (index_protected(r)) index_put_protected(&ch);
    put_rows(&ch, tags, r->pub.tag_count, r->tags, index_expiry(r));
    return change_commit(&ch);
}

err index_purge_row(engine_txn *t, slice key, slice value) {
    index_parts p;
    row_index row;
    index_key k;
    TRY(key_index_take(key, &p));
    TRY(row_index_get(value, &row));
    engine_txn_delete(t, ENGINE_INDEX,
                      account_key(&k, row.account, p.container, &p.tag, p.escaped));
    return OK;
}

err index_expect(store *s, arena *a, blob_key *key, const pair *tag, uint64_t account,
                 uint64_t container, row_index *ret_of_container, row_index *ret_of_account) {
    index_key k;
    slice value;
    TRY(engine_get(s->engine, ENGINE_INDEX, container_key(&k, container, tag, key_escaped(key)), a,
                   false, &value));
    TRY(row_index_get(value, ret_of_container));
    TRY(engine_get(s->engine, ENGINE_INDEX,
                   account_key(&k, account, container, tag, key_escaped(key)), a, false, &value));
    return row_index_get(value, ret_of_account);
}

err index_expect_expiry(store *s, arena *a, blob_key *key, int64_t expires_us) {
    index_key k;
    slice value;
    return engine_get(s->engine, ENGINE_INDEX, expiry_key(&k, expires_us, key_base(key)), a, false,
                      &value);
}

err index_expect_protected(store *s, arena *a, blob_key *key, uint64_t container) {
    index_key k;
    slice value;
    return engine_get(s->engine, ENGINE_INDEX, protected_key(&k, container, key_escaped(key)), a,
                      false, &value);
}
