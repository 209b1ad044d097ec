/* Staged blocks and block lists.
 *
 * A staging session begins with the first block put under a name and ends when a block list is
 * committed, the blob is put whole or deleted, or the session expires. Its rows carry its id, so
 * ending it is one row; the reaper deletes the rows later.
 *
 * A block list owns each of its pieces once, where the piece stands first. A commit that keeps
 * pieces of the list before it takes them over; only those it does not name become garbage. */
#include "store/internal.h"

/* ---- Put Block ---- */

static err wrong_id_len(size_t len, uint32_t others) {
    return err_fail(ERR_INVALID_BLOB_OR_BLOCK,
                    "the block id has %zu bytes before base64, those of the blob's other blocks %u",
                    len, others);
}

/* A new session: its block ids must be as long as those of the committed blocks. */
static err begin_session(change *ch, const row_blob *row, slice id, row_staging *st) {
    if (row->id_len && row->id_len != id.len) return wrong_id_len(id.len, row->id_len);
    *st = (row_staging){.session = engine_new_id(ch->s->engine), .id_len = (uint32_t)id.len};
    /* Listings with uncommitted blobs find the name by this row. */
    buf empty;
    buf_init_arena(&empty, ch->arena, 16);
    record_begin(&empty, 1);
    engine_txn_put(ch->txn, ENGINE_BLOB, key_marker(&ch->key), buf_slice(&empty));
    return OK;
}

/* The block that id replaces is released; no reader can know it. */
static err replace_staged(change *ch, const row_staging *st, slice id, bool *ret_replaced) {
    slice value;
    row_staged old;
    err e = change_get(ch, ENGINE_BLOCK, key_staged(&ch->key, st->session, id), &value);
    *ret_replaced = e == OK;
    if (e == ERR_NOT_FOUND) return OK;
    TRY(e);
    TRY(row_staged_get(value, &old));
    change_free_piece(ch, &old.piece);
    return OK;
}

static err stage_once(store *s, store_call c, const store_container *k, slice name, slice id,
                      store_upload *u, const store_conditions *lease) {
    change ch CLEANUP(change_done);
    row_blob row;
    row_staging st;
    bool exists, replaced = false;
    TRY(change_begin(&ch, s, c, k, name));
    TRY(scope_check(s, c, container_of(k), store_upload_scope(u)));
    TRY(change_blob(&ch, &row, &exists));
    if (exists) TRY(blob_of_type(&row, STORE_BLOCK_BLOB));
    TRY(conditions_check(lease, CONDITION_CREATE, target_of(&row, exists)));
    TRY(change_staging(&ch, &st, &exists));
    if (!exists)
        TRY(begin_session(&ch, &row, id, &st));
    else if (st.id_len != id.len)
        return wrong_id_len(id.len, st.id_len);
    else
        TRY(replace_staged(&ch, &st, id, &replaced));
    ENSURE(replaced || st.count < STORE_UNCOMMITTED_BLOCKS_MAX, ERR_BLOCK_COUNT_EXCEEDS_LIMIT,
           "the blob has %d uncommitted blocks already", STORE_UNCOMMITTED_BLOCKS_MAX);
    st.count += replaced ? 0 : 1;
    st.changed_us = clock_wall_us();
    row_staged staged = {.piece = upload_piece(u),
                         .staged_us = st.changed_us,
                         .key_sha256 = upload_key_sha256(u),
                         .scope = store_upload_scope(u)};
    engine_txn_put(ch.txn, ENGINE_BLOCK, key_staged(&ch.key, st.session, id),
                   ROW_ENCODE(staged, c.arena, &staged));
    engine_txn_put(ch.txn, ENGINE_JOB, key_staging(&ch.key), ROW_ENCODE(staging, c.arena, &st));
    upload_give(u, &ch);
    return change_commit(&ch);
}

err store_block_put(store *s, store_call c, const store_container *k, slice name, slice id,
                    store_upload *u, slice lease_id) {
    MUST(u->container == k->id);
    ENSURE(id.len >= 1 && id.len <= STORE_BLOCK_ID_MAX, ERR_INVALID_QUERY_PARAMETER_VALUE,
           "a block id has 1 to %d bytes before base64, this one %zu", STORE_BLOCK_ID_MAX, id.len);
    store_conditions lease = STORE_NO_CONDITIONS;
    lease.lease_id = lease_id;
    for (int try = 1;; try++) {
        err e = stage_once(s, c, k, name, id, u, &lease);
        if (e == ERR_CONFLICT && !u->taken && try < STORE_CONFLICT_TRIES) continue;
        if (e == OK) store_upload_free(u);
        return e;
    }
}

/* ---- a table of blocks by id ---- */

/* A block that a list may name. */
typedef struct known_block {
    row_block block;
    uint32_t next_by_id, next_by_piece; /* 1 + index; 0: end */
    bool used;                          /* named by the new list */
} known_block;

/* Blocks by id (the first of several with the same id counts) and by piece. */
typedef struct block_table {
    arena *mem;
    known_block *blocks;
    uint32_t *by_id, *by_piece;
    size_t count, room, buckets;
} block_table;

static void table_init(block_table *t, arena *mem, size_t room) {
    size_t buckets = 16;
    while (buckets < room) buckets *= 2;
    *t = (block_table){.mem = mem, .room = room, .buckets = buckets};
    t->blocks = arena_alloc(mem, (room ? room : 1) * sizeof *t->blocks);
    t->by_id = arena_alloc(mem, buckets * sizeof *t->by_id);
    t->by_piece = arena_alloc(mem, buckets * sizeof *t->by_piece);
}

static known_block *table_find(const block_table *t, slice id) {
    if (t->count == 0) return NULL;
    uint32_t i = t->by_id[slice_hash(id) & (t->buckets - 1)];
    while (i && !slice_eq(t->blocks[i - 1].block.id, id)) i = t->blocks[i - 1].next_by_id;
    return i ? &t->blocks[i - 1] : NULL;
}

static size_t piece_bucket(const block_table *t, uint64_t piece) {
    return (size_t)(piece * 0x9e3779b97f4a7c15ull >> 32) & (t->buckets - 1);
}

/* The entry that stands for a piece: a list that mentions it several times has several entries. */
static known_block *table_find_piece(const block_table *t, uint64_t piece) {
    if (t->count == 0) return NULL;
    uint32_t i = t->by_piece[piece_bucket(t, piece)];
    while (i && t->blocks[i - 1].block.piece.id != piece) i = t->blocks[i - 1].next_by_piece;
    return i ? &t->blocks[i - 1] : NULL;
}

/* Copies b's bytes into the table's memory. */
static err table_add(block_table *t, const row_block *b) {
    ENSURE(t->count < t->room, ERR_CORRUPT, "more blocks than their count says");
    known_block *k = &t->blocks[t->count];
    k->block = *b;
    k->block.id = arena_dup(t->mem, b->id);
    if (b->key_sha256.len) k->block.key_sha256 = arena_dup(t->mem, b->key_sha256);
    if (b->scope.len) k->block.scope = arena_dup(t->mem, b->scope);
    k->block.piece.wrapped = arena_dup(t->mem, b->piece.wrapped);
    k->block.piece.ref = arena_dup(t->mem, b->piece.ref);
    bool again_id = table_find(t, b->id) != NULL;
    bool again_piece = table_find_piece(t, b->piece.id) != NULL;
    uint32_t at = (uint32_t)++t->count;
    if (!again_id) {
        uint32_t *head = &t->by_id[slice_hash(b->id) & (t->buckets - 1)];
        k->next_by_id = *head;
        *head = at;
    }
    if (!again_piece) {
        uint32_t *head = &t->by_piece[piece_bucket(t, b->piece.id)];
        k->next_by_piece = *head;
        *head = at;
    }
    return OK;
}

/* ---- reading staged blocks and lists ---- */

static slice dup_end(arena *a, slice begin) {
    buf b;
    buf_init_arena(&b, a, ENGINE_KEY_MAX);
    buf_put(&b, begin);
    buf_byte(&b, 0xff);
    return buf_slice(&b);
}

static err open_rows(store *s, arena *a, slice begin, engine_cursor **ret) {
    slice low = arena_dup(a, begin);
    return engine_scan(s->engine, ENGINE_BLOCK, low, dup_end(a, low), ret);
}

static err unhex(arena *a, slice hex, slice *ret) {
    ENSURE(hex.len <= (size_t)2 * STORE_BLOCK_ID_MAX && hex_get(a, hex, ret) == OK, ERR_CORRUPT,
           "a staged block's key is damaged");
    return OK;
}

/* Calls each staged block of a session in the order of ids. */
static err walk_staged(engine_cursor *cur, size_t prefix_len, each_block *each, void *ctx) {
    arena *tmp = arena_new(512, 1 << 20);
    err e;
    for (;;) {
        slice k, v;
        bool more;
        row_staged row;
        row_block b = {0};
        TRY_TO(out, engine_cursor_next(cur, &k, &v, &more));
        if (!more) break;
        arena_reset(tmp);
        TRY_TO(out, row_staged_get(v, &row));
        TRY_TO(out, unhex(tmp, slice_skip(k, prefix_len), &b.id));
        b.piece = row.piece;
        b.key_sha256 = row.key_sha256;
        b.scope = row.scope;
        TRY_TO(out, each(ctx, &b));
    }
out:
    arena_free(tmp);
    return e;
}

static err walk_list(engine_cursor *cur, each_block *each, void *ctx) {
    for (;;) {
        slice k, v;
        bool more;
        row_chunk chunk;
        TRY(engine_cursor_next(cur, &k, &v, &more));
        if (!more) return OK;
        TRY(row_chunk_get(v, &chunk));
        for (uint32_t i = 0; i < chunk.count; i++) {
            row_block b;
            TRY(row_block_take(&chunk.blocks, &b));
            b.key_sha256 = chunk.key_sha256;
            b.scope = chunk.scope;
            TRY(each(ctx, &b));
        }
    }
}

err list_walk(store *s, arena *a, blob_key *key, uint64_t content, each_block *each, void *ctx) {
    engine_cursor *cur;
    TRY(open_rows(s, a, key_manifest_all(key, content), &cur));
    err e = walk_list(cur, each, ctx);
    engine_cursor_free(cur);
    return e;
}

static err add_to_table(void *ctx, const row_block *b) {
    return table_add(ctx, b);
}

static err load_staged(change *ch, const row_staging *st, block_table *t) {
    engine_cursor *cur;
    table_init(t, t->mem, st->count);
    slice begin = key_staged_all(&ch->key, st->session);
    TRY(open_rows(ch->s, ch->arena, begin, &cur));
    err e = walk_staged(cur, begin.len, add_to_table, t);
    engine_cursor_free(cur);
    TRY(e);
    ENSURE(t->count == st->count, ERR_CORRUPT, "%zu staged blocks are there instead of %u",
           t->count, st->count);
    return OK;
}

static err load_list(change *ch, const row_blob *row, block_table *t) {
    table_init(t, t->mem, row->pub.block_count);
    TRY(list_walk(ch->s, ch->arena, &ch->key, row->pub.content_id, add_to_table, t));
    ENSURE(t->count == row->pub.block_count, ERR_CORRUPT,
           "the block list has %zu blocks instead of %u", t->count, row->pub.block_count);
    return OK;
}

/* ---- Put Block List ---- */

typedef struct commit {
    change *ch;
    const store_block_pick *picks;
    size_t count;
    const store_customer *customer;
    slice scope;
    block_table staged, listed;
    row_blob row; /* the new state */
    buf part;     /* blocks of the part that is being written */
    uint32_t part_count;
    unsigned part_number;
    uint64_t part_start;
} commit;

/* The same id may be staged and committed: `latest` takes the staged one. */
static err resolve(const commit *m, size_t i, known_block **ret) {
    const store_block_pick *p = &m->picks[i];
    known_block *k = NULL;
    if (p->source != STORE_BLOCK_COMMITTED) k = table_find(&m->staged, p->id);
    if (!k && p->source != STORE_BLOCK_UNCOMMITTED) k = table_find(&m->listed, p->id);
    ENSURE(k, ERR_INVALID_BLOCK_LIST, "block %zu of the list is not there: it was not %s", i + 1,
           p->source == STORE_BLOCK_COMMITTED ? "committed before" : "put, or was discarded");
    *ret = k;
    return OK;
}

static void flush_part(commit *m) {
    if (m->part_count == 0) return;
    row_chunk chunk = {.start = m->part_start,
                       .count = m->part_count,
                       .blocks = buf_slice(&m->part),
                       .key_sha256 = m->row.pub.key_sha256,
                       .scope = m->scope};
    buf value;
    buf_init(&value, ENGINE_VALUE_MAX);
    row_chunk_put(&value, &chunk);
    MUST(!value.failed && !m->part.failed);
    engine_txn_put(
        m->ch->txn, ENGINE_BLOCK,
        key_manifest(&m->ch->key, m->row.pub.content_id, m->row.pub.length, m->part_number++),
        buf_slice(&value));
    buf_done(&value);
    buf_reset(&m->part);
    m->part_count = 0;
    m->part_start = m->row.pub.length;
}

static err add_block(commit *m, size_t i) {
    known_block *k, *owner;
    TRY(resolve(m, i, &k));
    TRY(store_customer_check(k->block.key_sha256, m->customer));
    TRY(scope_match(k->block.scope, m->scope));
    /* A committed list may name one piece in several entries; one of them stands for all. */
    owner = table_find_piece(&m->staged, k->block.piece.id);
    if (!owner) owner = table_find_piece(&m->listed, k->block.piece.id);
    row_block b = k->block;
    b.repeat = owner->used;
    owner->used = true;
    row_block_put(&m->part, &b);
    row_blob *row = &m->row;
    ENSURE(b.piece.len <= INT64_MAX - row->pub.length, ERR_REQUEST_BODY_TOO_LARGE,
           "the blocks are too long together");
    row->pub.crc64 = crc64_combine(row->pub.crc64, b.piece.crc64, b.piece.len);
    row->pub.length += b.piece.len;
    row->pub.block_count++;
    if (++m->part_count == ROW_CHUNK_BLOCKS) flush_part(m);
    return OK;
}

/* Pieces of t that the new list does not name. */
static void drop_unused(commit *m, const block_table *t) {
    for (size_t i = 0; i < t->count; i++) {
        const known_block *k = &t->blocks[i];
        if (table_find_piece(t, k->block.piece.id) == k && !k->used)
            change_drop_piece(m->ch, &k->block.piece);
    }
}

/* Takes over pieces of the old list, and drops the rest of it. */
static void drop_old(commit *m, const row_blob *old) {
    bool kept = false;
    for (size_t i = 0; i < m->listed.count && !kept; i++) kept = m->listed.blocks[i].used;
    if (!kept) {
        change_drop_content(m->ch, old);
        return;
    }
    drop_unused(m, &m->listed);
    change_drop_list_rows(m->ch, old->pub.content_id);
}

static err id_lengths(const commit *m, uint32_t *ret) {
    uint32_t len = m->count ? (uint32_t)m->picks[0].id.len : 0;
    for (size_t i = 0; i < m->count; i++)
        ENSURE(m->picks[i].id.len == len, ERR_INVALID_BLOCK_LIST,
               "block ids of one blob have one length; that of block %zu differs", i + 1);
    *ret = len;
    return OK;
}

static bool names_committed(const commit *m) {
    for (size_t i = 0; i < m->count; i++)
        if (m->picks[i].source != STORE_BLOCK_UNCOMMITTED) return true;
    return false;
}

static err build_list(commit *m, const row_blob *old, bool exists, const row_staging *st,
                      bool staged) {
    if (staged) TRY(load_staged(m->ch, st, &m->staged));
    if (exists && old->where == ROW_LIST && names_committed(m))
        TRY(load_list(m->ch, old, &m->listed));
    TRY(id_lengths(m, &m->row.id_len));
    m->row.pub.content_id = engine_new_id(m->ch->s->engine);
    m->row.pub.has_crc64 = true;
    m->row.pub.key_sha256 = customer_sha256(m->customer);
    m->row.pub.scope = m->scope;
    m->row.where = m->count ? ROW_LIST : ROW_EMPTY;
    for (size_t i = 0; i < m->count; i++) TRY(add_block(m, i));
    flush_part(m);
    return OK;
}

static err commit_list(commit *m, const store_put *p, store_blob *ret) {
    change *ch = m->ch;
    row_blob old;
    row_staging st;
    bool exists, staged, kept;
    TRY(change_blob(ch, &old, &exists));
    if (exists) TRY(blob_of_type(&old, STORE_BLOCK_BLOB));
    TRY(conditions_check(p->cond, CONDITION_CREATE, target_of(&old, exists)));
    if (exists) TRY(blob_online(&old));
    TRY(change_staging(ch, &st, &staged));
    TRY(blob_new_row(ch, p, &old, &m->row, &kept));
    TRY(build_list(m, &old, exists, &st, staged));
    TRY(blob_result(ch, &m->row, ret));
    if (exists && !kept) drop_old(m, &old);
    if (staged) {
        drop_unused(m, &m->staged);
        change_drop_staging(ch, &st, false);
    }
    change_put_blob(ch, &m->row);
    return change_commit(ch);
}

static err list_put_once(store *s, store_call c, const store_container *k, slice name,
                         const store_block_pick *picks, size_t count, const store_put *p,
                         store_blob *ret) {
    change ch CLEANUP(change_done);
    TRY(change_begin(&ch, s, c, k, name));
    slice scope;
    TRY(store_scope_of(c, k, &scope));
    TRY(scope_check(s, c, container_of(k), scope));
    arena *mem = arena_new(64 << 10, 0);
    commit m = {.ch = &ch, .picks = picks, .count = count, .customer = c.customer, .scope = scope};
    m.staged.mem = m.listed.mem = mem;
    buf_init(&m.part, ENGINE_VALUE_MAX / 2);
    err e = commit_list(&m, p, ret);
    buf_done(&m.part);
    arena_free(mem);
    return e;
}

err store_block_list_put(store *s, store_call c, const store_container *k, slice name,
                         const store_block_pick *picks, size_t count, const store_put *p,
                         store_blob *ret) {
    ENSURE(count <= STORE_COMMITTED_BLOCKS_MAX, ERR_BLOCK_LIST_TOO_LONG,
           "the list has %zu blocks, more than %d", count, STORE_COMMITTED_BLOCKS_MAX);
    bool protects = immutable_asked(&p->immutability);
    if (protects && c.nowait) return ERR_WOULD_BLOCK;
    if (protects) c.later = NULL; /* is waited for */
    if (protects) immutable_enter(s);
    err e = ERR_CONFLICT;
    for (int try = 0; e == ERR_CONFLICT && try < STORE_CONFLICT_TRIES; try++)
        e = list_put_once(s, c, k, name, picks, count, p, ret);
    if (protects) immutable_leave(s);
    return e;
}

/* ---- Get Block List ---- */

typedef struct listing {
    arena *arena;
    store_block *blocks;
    size_t count, room;
} listing;

static err add_to_listing(void *ctx, const row_block *b) {
    listing *l = ctx;
    ENSURE(l->count < l->room, ERR_CORRUPT, "more blocks than their count says");
    l->blocks[l->count++] = (store_block){arena_dup(l->arena, b->id), b->piece.len};
    return OK;
}

static void listing_init(listing *l, arena *a, size_t room) {
    *l = (listing){.arena = a, .room = room};
    l->blocks = arena_alloc(a, (room ? room : 1) * sizeof *l->blocks);
}

static err read_staging(store *s, store_call c, blob_key *key, row_staging *ret) {
    slice value;
    err e = engine_get(s->engine, ENGINE_JOB, key_staging(key), c.arena, false, &value);
    *ret = (row_staging){0};
    if (e == ERR_NOT_FOUND) return OK;
    TRY(e);
    return row_staging_get(value, ret);
}

/* The staged blocks as one moment had them: the session is still alive after the cursor was opened,
 * so the cursor sees all of its rows. ERR_CONFLICT: it ended meanwhile. */
static err list_staged(store *s, store_call c, blob_key *key, listing *l) {
    row_staging st, again;
    TRY(read_staging(s, c, key, &st));
    if (st.session == 0) return OK;
    engine_cursor *cur;
    slice begin = key_staged_all(key, st.session);
    TRY(open_rows(s, c.arena, begin, &cur));
    err e = read_staging(s, c, key, &again);
    if (e == OK && again.session != st.session) e = ERR_CONFLICT;
    if (e == OK) {
        listing_init(l, c.arena, again.count);
        e = walk_staged(cur, begin.len, add_to_listing, l);
    }
    engine_cursor_free(cur);
    return e;
}

static err list_committed(store *s, store_call c, blob_key *key, const row_blob *row, listing *l) {
    listing_init(l, c.arena, row->pub.block_count);
    return list_walk(s, c.arena, key, row->pub.content_id, add_to_listing, l);
}

typedef struct list_get {
    store_blob *blob;
    bool *exists;
    listing committed, uncommitted;
} list_get;

static err list_get_once(store *s, store_call c, const store_container *k, slice name,
                         store_pick pick, const store_conditions *cond, bool committed,
                         bool uncommitted, list_get *g) {
    blob_key key;
    row_blob row, again;
    g->committed = g->uncommitted = (listing){0};
    err e = blob_read_row(s, c, k, name, pick, cond, &key, &row);
    *g->exists = e == OK;
    if (e != OK && e != ERR_BLOB_NOT_FOUND) return e;
    if (e == ERR_BLOB_NOT_FOUND && !store_blob_name_valid(name)) return e;
    if (e == OK) TRY(blob_of_type(&row, STORE_BLOCK_BLOB));
    bool picked = pick.snapshot || pick.version;
    row_staging st;
    TRY(read_staging(s, c, &key, &st));
    if (e == ERR_BLOB_NOT_FOUND && (picked || st.session == 0)) return blob_missing(name);
    if (*g->exists && committed && row.where == ROW_LIST)
        TRY(list_committed(s, c, &key, &row, &g->committed));
    if (uncommitted) TRY(list_staged(s, c, &key, &g->uncommitted));
    /* Both lists of one moment: the blob has not changed meanwhile. */
    err e2 = blob_read_row(s, c, k, name, pick, NULL, &key, &again);
    if (e2 != OK && e2 != ERR_BLOB_NOT_FOUND) return e2;
    if (e2 != e || (e == OK && again.pub.content_id != row.pub.content_id)) return ERR_CONFLICT;
    *g->blob = (store_blob){.name = name};
    return *g->exists ? blob_from_row(c.arena, name, &row, g->blob) : OK;
}

err store_block_list_get(store *s, store_call c, const store_container *k, slice name,
                         store_pick pick, const store_conditions *cond, bool committed,
                         bool uncommitted, store_blob *ret, bool *ret_exists,
                         store_block **ret_committed, size_t *ret_committed_count,
                         store_block **ret_uncommitted, size_t *ret_uncommitted_count) {
    if (c.nowait) return ERR_WOULD_BLOCK;
    /* Registered, so that the list's rows are not collected while they are read. */
    reader_pin pin;
    blob_key key;
    if (!store_blob_name_valid(name)) return blob_missing(name);
    key_blob(&key, k->id, name);
    readers_enter(&s->readers, &pin, k->id, slice_hash(key_base(&key)));
    err e = container_current(s, c.arena, false, container_of(k));
    list_get g = {.blob = ret, .exists = ret_exists};
    if (pick.snapshot || pick.version) uncommitted = false;
    if (e == OK) e = list_get_once(s, c, k, name, pick, cond, committed, uncommitted, &g);
    for (int try = 1; e == ERR_CONFLICT && try < STORE_CONFLICT_TRIES; try++)
        e = list_get_once(s, c, k, name, pick, cond, committed, uncommitted, &g);
    reaper_submit(s, readers_leave(&s->readers, &pin));
    TRY(e);
    *ret_committed = g.committed.blocks;
    *ret_committed_count = g.committed.count;
    *ret_uncommitted = g.uncommitted.blocks;
    *ret_uncommitted_count = g.uncommitted.count;
    return OK;
}
