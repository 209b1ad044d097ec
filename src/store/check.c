/* The check: every row is read and must decode, every piece of content must open, and everything
 * that is there must have exactly one owner.
 *
 * BLOB, staging sessions, BLOCK and CONTENT sort their rows by BASE, so one walk over the four
 * together meets all rows of a blob at once, and the check's memory is that of one blob. Streams
 * are counted: those that rows own must be all that the engine keeps. */
#include "store/check.h"

#include <stdarg.h>
#include <time.h>

#define PROGRESS_EVERY_BYTES (64ull << 20)
#define PROGRESS_EVERY_BLOBS 10000

/* ---- sets of ids ---- */

static size_t id_slot(const id_set *s, uint64_t id) {
    size_t i = (size_t)(id * 0x9e3779b97f4a7c15ull >> 20) & (s->room - 1);
    while (s->slots[i] && s->slots[i] != id) i = (i + 1) & (s->room - 1);
    return i;
}

void id_set_add(id_set *s, uint64_t id) {
    if (2 * (s->count + 1) > s->room) {
        id_set bigger = {.room = s->room ? 2 * s->room : 64};
        bigger.slots = calloc(bigger.room, sizeof *bigger.slots);
        MUST(bigger.slots);
        for (size_t i = 0; i < s->room; i++)
            if (s->slots[i]) bigger.slots[id_slot(&bigger, s->slots[i])] = s->slots[i];
        bigger.count = s->count;
        free(s->slots);
        *s = bigger;
    }
    size_t i = id_slot(s, id);
    if (!s->slots[i]) s->count++;
    s->slots[i] = id;
}

bool id_set_has(const id_set *s, uint64_t id) {
    return s->room && s->slots[id_slot(s, id)] == id;
}

void id_set_clear(id_set *s) {
    free(s->slots);
    *s = (id_set){0};
}

/* ---- reports ---- */

static void report(check *ck, const char *what, slice where) {
    ck->done.defects++;
    char text[4096];
    snprintf(text, sizeof text, "%.*s", SLICE_ARG(slice_take(where, sizeof text - 1)));
    ck->report(ck->ctx, what, text);
}

static void report_row(check *ck, const char *table, slice key, const char *what) {
    buf b;
    buf_init(&b, (size_t)4 * ENGINE_KEY_MAX);
    buf_fmt(&b, "row of %s, key ", table);
    percent_put(&b, key, "/$");
    report(ck, what, buf_slice(&b));
    buf_done(&b);
}

void check_report_row(check *ck, const char *table, slice key, const char *what) {
    report_row(ck, table, key, what);
}

void check_defect(check *ck, const char *fmt, ...) {
    char what[600];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    buf b;
    buf_init(&b, 64 << 10);
    if (ck->k)
        buf_fmt(&b, "%.*s/%.*s/", SLICE_ARG(ck->k->account), SLICE_ARG(ck->k->name));
    else
        buf_fmt(&b, "(container %llu)/", (unsigned long long)ck->container);
    percent_put(&b, ck->name, "/ !$&'()*+,;=:@");
    report(ck, what, buf_slice(&b));
    buf_done(&b);
}

static void tell_progress(check *ck) {
    uint64_t now = ck->done.bytes / PROGRESS_EVERY_BYTES + ck->done.blobs / PROGRESS_EVERY_BLOBS;
    if (!ck->progress || now == ck->next_progress) return;
    ck->next_progress = now;
    ck->progress(ck->ctx, ck->done);
}

/* ---- META and the purges ---- */

static void add_container(check *ck, checked_container k) {
    ck->containers = check_grow(ck->containers, ck->container_count, &ck->container_room, sizeof k);
    ck->containers[ck->container_count++] = k;
}

static void add_account(check *ck, uint64_t id, slice name) {
    ck->accounts =
        check_grow(ck->accounts, ck->account_count, &ck->account_room, sizeof *ck->accounts);
    ck->accounts[ck->account_count++] = (checked_account){id, name};
}

/* NULL when there is none. Containers are met account by account. */
static const slice *account_name(check *ck, uint64_t id) {
    for (size_t i = 0; i < ck->account_count; i++) {
        size_t at = (ck->account_last + i) % ck->account_count;
        if (ck->accounts[at].id != id) continue;
        ck->account_last = at;
        return &ck->accounts[at].name;
    }
    return NULL;
}

/* A container row, read through the store's own way: its key comes out of vault and account. */
static void check_container_row(check *ck, uint64_t account, slice name, slice key, slice value) {
    const slice *owner = account_name(ck, account);
    row_container row;
    store_container pub;
    arena *a = arena_new(4096, 0);
    store_call c = {.arena = a};
    if (container_decode(a, SLICE_NONE, name, value, &pub, &row) != OK) {
        report_row(ck, "META", key, err_detail());
    } else if (!owner) {
        if (!id_set_has(&ck->purged_accounts, account))
            report_row(ck, "META", key, "the container's account is not there");
        add_container(ck, (checked_container){.id = row.id, .purging = true});
    } else {
        checked_container k = {.id = row.id,
                               .account_id = account,
                               .account = *owner,
                               .name = arena_dup(ck->mem, name)};
        const store_account *ac;
        const store_container *found;
        err e = store_account_get(ck->s, c, *owner, &ac);
        if (e == OK) {
            e = store_container_get(ck->s, c, ac, name, &found);
            if (e == ERR_CONTAINER_NOT_FOUND)
                report_row(ck, "META", key, "the container's key was destroyed");
            else if (e != OK)
                report_row(ck, "META", key, err_detail());
            store_account_unref(ac);
        }
        if (e == OK) {
            k.key = container_of(found)->key;
            k.has_key = true;
            store_container_unref(found);
        }
        add_container(ck, k);
    }
    arena_free(a);
}

static void check_account_row(check *ck, slice key, slice value) {
    slice name = slice_skip(key, 1);
    row_account row;
    if (row_account_get(value, &row) != OK) {
        report_row(ck, "META", key, err_detail());
        return;
    }
    add_account(ck, row.id, arena_dup(ck->mem, name));
    arena *a = arena_new(4096, 0);
    const store_account *ac;
    if (store_account_get(ck->s, (store_call){.arena = a}, name, &ac) != OK)
        report(ck, err_detail(), name);
    else
        store_account_unref(ac);
    arena_free(a);
}

static void check_service_row(check *ck, uint64_t account, slice key, slice value) {
    row_service row;
    store_cors_rule cors[STORE_CORS_RULES_MAX];
    size_t n;
    if (row_service_get(value, &row) != OK || row_cors_get(row.cors, cors, &n) != OK)
        report_row(ck, "META", key, err_detail());
    else if (!account_name(ck, account) && !id_set_has(&ck->purged_accounts, account))
        report_row(ck, "META", key, "the account of these properties is not there");
}

static void check_meta_row(check *ck, slice key, slice value) {
    slice rest = slice_skip(key, 1);
    uint64_t account;
    if (key.p[0] == 'a')
        check_account_row(ck, key, value);
    else if ((key.p[0] != 'c' && key.p[0] != 's') || id_take(&rest, &account) != OK)
        report_row(ck, "META", key, "a row of unknown kind");
    else if (key.p[0] == 'c')
        check_container_row(ck, account, rest, key, value);
    else
        check_service_row(ck, account, key, value);
}

static err walk(check *ck, engine_table t, slice lower, slice upper,
                void (*each)(check *, slice key, slice value)) {
    engine_cursor *cur;
    err e;
    TRY(engine_scan(ck->s->engine, t, lower, upper, &cur));
    for (;;) {
        slice k, v;
        bool more;
        TRY_TO(out, engine_cursor_next(cur, &k, &v, &more));
        if (!more) break;
        each(ck, k, v);
    }
out:
    engine_cursor_free(cur);
    return e;
}

static void check_purge_row(check *ck, slice key, slice value) {
    slice rest = slice_skip(key, 1);
    uint64_t id;
    row_purge row;
    if (id_take(&rest, &id) != OK || rest.len || row_purge_get(value, &row) != OK)
        report_row(ck, "JOB", key, err_detail());
    else if (key.p[0] == KEY_JOB_PURGE)
        add_container(ck, (checked_container){.id = id,
                                              .account = arena_dup(ck->mem, row.account),
                                              .name = arena_dup(ck->mem, row.container),
                                              .purging = true});
    else
        id_set_add(&ck->purged_accounts, id);
}

static int by_id(const void *a, const void *b) {
    uint64_t x = ((const checked_container *)a)->id, y = ((const checked_container *)b)->id;
    return x < y ? -1 : x > y;
}

static const checked_container *find_container(const check *ck, uint64_t id) {
    checked_container k = {.id = id};
    if (ck->container_count == 0) return NULL;
    return bsearch(&k, ck->containers, ck->container_count, sizeof k, by_id);
}

const checked_container *check_container(const check *ck, uint64_t id) {
    return find_container(ck, id);
}

/* ---- garbage ---- */

static void check_garbage_row(check *ck, slice key, slice value) {
    slice rest = slice_skip(key, 1);
    uint64_t container, id;
    row_garbage row;
    if (id_take(&rest, &container) != OK || id_take(&rest, &id) != OK || rest.len ||
        row_garbage_get(value, &row) != OK) {
        report_row(ck, "JOB", key, err_detail());
        return;
    }
    ck->container = container;
    ck->k = find_container(ck, container);
    ck->name = row.name;
    if (!ck->k) report_row(ck, "JOB", key, "garbage of a container that is not there");
    while (row.pieces.len) {
        row_piece p;
        if (row_waste_take(&row.pieces, &p) != OK) {
            report_row(ck, "JOB", key, err_detail());
            return;
        }
        content_count(ck, &p, false);
    }
}

static void check_job_row(check *ck, slice key, slice value) {
    (void)value;
    if (!strchr("gpPs", key.p[0])) report_row(ck, "JOB", key, "a row of unknown kind");
}

static void remember_garbage(check *ck, slice key, slice value) {
    (void)key;
    checked_garbage *g = arena_alloc(ck->garbage_mem, sizeof *g);
    if (row_garbage_get(arena_dup(ck->garbage_mem, value), &g->row) != OK) return;
    checked_garbage **head = &ck->garbage[slice_hash(g->row.name) % GARBAGE_BUCKETS];
    g->next = *head;
    *head = g;
}

static err enter_container(check *ck, uint64_t id) {
    ck->container = id;
    ck->container_known = true;
    ck->k = find_container(ck, id);
    memset(ck->garbage, 0, sizeof ck->garbage);
    arena_free(ck->garbage_mem);
    ck->garbage_mem = arena_new(64 << 10, 0);
    short_key low, high;
    key_job(&low, KEY_JOB_GARBAGE, id);
    high = low;
    key_end(&high);
    return walk(ck, ENGINE_JOB, key_slice(&low), key_slice(&high), remember_garbage);
}

/* What garbage of this blob says of a block list or a session. */
typedef enum ownership { OWNED_BY_NOBODY, ROWS_ONLY, ROWS_AND_PIECES } ownership;

static ownership garbage_owns(const check *ck, uint64_t manifest, uint64_t session) {
    const checked_garbage *g = ck->garbage[slice_hash(ck->name) % GARBAGE_BUCKETS];
    for (; g; g = g->next) {
        if (!slice_eq(g->row.name, ck->name)) continue;
        if (manifest && g->row.manifest == manifest)
            return g->row.manifest_all ? ROWS_AND_PIECES : ROWS_ONLY;
        if (session && g->row.session == session)
            return g->row.session_all ? ROWS_AND_PIECES : ROWS_ONLY;
    }
    return OWNED_BY_NOBODY;
}

/* CONTENT rows that garbage names one by one. */
static void own_garbage_pieces(const check *ck, id_set *owned) {
    const checked_garbage *g = ck->garbage[slice_hash(ck->name) % GARBAGE_BUCKETS];
    for (; g; g = g->next) {
        slice pieces = g->row.pieces;
        row_piece p;
        if (!slice_eq(g->row.name, ck->name)) continue;
        while (pieces.len && row_waste_take(&pieces, &p) == OK)
            if (p.where == ROW_INLINE) id_set_add(owned, p.id);
    }
}

/* ---- one blob ---- */

/* One of the tables in the walk. */
typedef struct lane {
    const char *table;
    engine_cursor *cur;
    size_t skip; /* of the key before BASE */
    slice key, value, base, rest;
    bool more;
} lane;

enum { LANE_BLOB, LANE_STAGING, LANE_BLOCK, LANE_CONTENT, LANES };

typedef struct group {
    check *ck;
    blob_key key;
    arena *mem;
    row_blob blob;
    row_staging staging;
    bool has_blob, has_marker, has_staging;
    id_set owned; /* ids of CONTENT rows with an owner */
    /* The list of the current state, as far as it was met. */
    uint64_t list_len, list_crc;
    uint32_t list_count, list_parts;
    uint32_t staged_count;
} group;

static err lane_next(check *ck, lane *l) {
    for (;;) {
        uint64_t id;
        slice name;
        TRY(engine_cursor_next(l->cur, &l->key, &l->value, &l->more));
        if (!l->more) return OK;
        l->rest = slice_skip(l->key, l->skip);
        if (id_take(&l->rest, &id) == OK && name_take(&l->rest, &name) == OK &&
            name.len <= KEY_NAME_MAX) {
            l->base = slice_of(l->key.p + l->skip, l->key.len - l->skip - l->rest.len);
            return OK;
        }
        report_row(ck, l->table, l->key, "the key is damaged");
    }
}

static bool live(const check *ck) {
    return ck->k && !ck->k->purging;
}

/* A piece with an owner: counted, and opened unless its container is on its way out. */
static err own_piece(group *g, const row_piece *p) {
    content_count(g->ck, p, true);
    if (p->where == ROW_INLINE) id_set_add(&g->owned, p->id);
    g->ck->done.blocks++;
    return live(g->ck) ? content_check(g->ck, &g->key, p) : OK;
}

static err group_blob(group *g, lane *l) {
    check *ck = g->ck;
    if (slice_eq(l->rest, S("1"))) {
        g->has_marker = true;
        return OK;
    }
    if (!slice_eq(l->rest, S("0"))) {
        report_row(ck, l->table, l->key, "a row of unknown kind");
        return OK;
    }
    if (row_blob_get(arena_dup(g->mem, l->value), &g->blob) != OK) {
        check_defect(ck, "the blob's row is damaged: %s", err_detail());
        return OK;
    }
    pair *pairs;
    size_t n;
    if (row_pairs_get(g->mem, g->blob.metadata, &pairs, &n) != OK)
        check_defect(ck, "the blob's metadata is damaged: %s", err_detail());
    if (live(ck)) index_check_blob(ck, &g->key, &g->blob, g->mem);
    g->has_blob = true;
    ck->done.blobs++;
    row_piece p = row_blob_piece(&g->blob);
    return g->blob.where == ROW_LIST ? OK : own_piece(g, &p);
}

static void group_staging(group *g, lane *l) {
    if (l->rest.len || row_staging_get(l->value, &g->staging) != OK)
        check_defect(g->ck, "the staging session's row is damaged: %s", err_detail());
    else
        g->has_staging = true;
}

static err list_part(group *g, slice key_rest, const row_chunk *chunk, bool owns, bool current) {
    slice blocks = chunk->blocks;
    uint64_t len = 0;
    for (uint32_t i = 0; i < chunk->count; i++) {
        row_block b;
        if (row_block_take(&blocks, &b) != OK) {
            check_defect(g->ck, "a part of its block list is damaged: %s", err_detail());
            return OK;
        }
        len += b.piece.len;
        if (owns && !b.repeat) TRY(own_piece(g, &b.piece));
        if (current) g->list_crc = crc64_combine(g->list_crc, b.piece.crc64, b.piece.len);
    }
    if (!current) return OK;
    slice expected =
        key_manifest(&g->key, g->blob.pub.content_id, chunk->start + len, g->list_parts);
    if (chunk->start != g->list_len || !slice_ends(expected, key_rest) || blocks.len)
        check_defect(g->ck, "its block list has a gap at offset %llu",
                     (unsigned long long)g->list_len);
    g->list_len += len;
    g->list_count += chunk->count;
    g->list_parts++;
    return OK;
}

static err group_manifest(group *g, lane *l, slice rest) {
    check *ck = g->ck;
    uint64_t content;
    row_chunk chunk;
    if (id_take(&rest, &content) != OK || row_chunk_get(l->value, &chunk) != OK) {
        check_defect(ck, "a part of its block list is damaged: %s", err_detail());
        return OK;
    }
    bool current = g->has_blob && g->blob.where == ROW_LIST && g->blob.pub.content_id == content;
    ownership own = current ? ROWS_AND_PIECES : garbage_owns(ck, content, 0);
    if (own == OWNED_BY_NOBODY && live(ck))
        check_defect(ck, "a part of block list %llu, which no blob has",
                     (unsigned long long)content);
    bool owns = own == ROWS_AND_PIECES || (own == OWNED_BY_NOBODY && !live(ck));
    return list_part(g, l->rest, &chunk, owns, current);
}

static err group_staged(group *g, lane *l, slice rest) {
    check *ck = g->ck;
    uint64_t session;
    row_staged row;
    if (id_take(&rest, &session) != OK || row_staged_get(l->value, &row) != OK) {
        check_defect(ck, "a staged block is damaged: %s", err_detail());
        return OK;
    }
    bool current = g->has_staging && g->staging.session == session;
    ownership own = current ? ROWS_AND_PIECES : garbage_owns(ck, 0, session);
    if (own == OWNED_BY_NOBODY && live(ck))
        check_defect(ck, "a block staged in session %llu, which is not there",
                     (unsigned long long)session);
    if (current) {
        g->staged_count++;
        if (rest.len != 2 * (size_t)g->staging.id_len)
            check_defect(ck, "the id of a staged block has another length than the others");
    }
    bool owns = own == ROWS_AND_PIECES || (own == OWNED_BY_NOBODY && !live(ck));
    return owns ? own_piece(g, &row.piece) : OK;
}

static err group_block(group *g, lane *l) {
    slice rest = slice_skip(l->rest, 1);
    if (l->rest.len && l->rest.p[0] == KEY_MANIFEST) return group_manifest(g, l, rest);
    if (l->rest.len && l->rest.p[0] == KEY_STAGED) return group_staged(g, l, rest);
    report_row(g->ck, l->table, l->key, "a row of unknown kind");
    return OK;
}

static void group_content(group *g, lane *l) {
    uint64_t id;
    slice rest = l->rest;
    if (id_take(&rest, &id) != OK || rest.len)
        report_row(g->ck, l->table, l->key, "the key is damaged");
    else if (live(g->ck) && !id_set_has(&g->owned, id))
        check_defect(g->ck, "content %llu belongs to no blob and no block", (unsigned long long)id);
}

static void group_end(group *g) {
    check *ck = g->ck;
    if (!live(ck)) return;
    const store_blob *b = &g->blob.pub;
    if (g->has_blob && g->blob.where == ROW_LIST &&
        (g->list_len != b->length || g->list_count != b->block_count || g->list_crc != b->crc64))
        check_defect(ck,
                     "its block list has %u blocks and %llu bytes; the blob's row says %u and %llu,"
                     " or another checksum",
                     g->list_count, (unsigned long long)g->list_len, b->block_count,
                     (unsigned long long)b->length);
    if (g->has_staging != g->has_marker)
        check_defect(ck, "a staging session without its marker, or a marker without its session");
    if (g->has_staging && g->staging.count != g->staged_count)
        check_defect(ck, "%u blocks are staged; their session says %u", g->staged_count,
                     g->staging.count);
}

static err group_begin(group *g, slice base) {
    check *ck = g->ck;
    uint64_t id;
    slice rest = base, escaped;
    TRY(id_take(&rest, &id));
    TRY(name_take(&rest, &escaped));
    ck->name = arena_dup(g->mem, name_unescape(arena_alloc(g->mem, escaped.len + 1), escaped));
    key_blob(&g->key, id, ck->name);
    if (!ck->container_known || ck->container != id) {
        TRY(enter_container(ck, id));
        if (!ck->k) check_defect(ck, "rows of a container that is not there");
    }
    own_garbage_pieces(ck, &g->owned);
    return OK;
}

/* All rows of one blob: `base` is the lowest that any lane stands at. */
static err check_group(check *ck, lane *lanes, slice base, arena *mem) {
    group *g = arena_alloc(mem, sizeof *g);
    g->ck = ck;
    g->mem = mem;
    base = arena_dup(mem, base);
    err e = group_begin(g, base);
    for (int i = 0; i < LANES && e == OK; i++) {
        lane *l = &lanes[i];
        while (e == OK && l->more && slice_eq(l->base, base)) {
            if (i == LANE_BLOB) e = group_blob(g, l);
            if (i == LANE_STAGING) group_staging(g, l);
            if (i == LANE_BLOCK) e = group_block(g, l);
            if (i == LANE_CONTENT) group_content(g, l);
            if (e == OK) e = lane_next(ck, l);
        }
    }
    if (e == OK) group_end(g);
    id_set_clear(&g->owned);
    tell_progress(ck);
    return e;
}

static err check_lanes(check *ck, lane *lanes) {
    arena *mem = arena_new(64 << 10, 0);
    err e = OK;
    for (int i = 0; i < LANES && e == OK; i++) e = lane_next(ck, &lanes[i]);
    while (e == OK) {
        const slice *least = NULL;
        for (int i = 0; i < LANES; i++)
            if (lanes[i].more && (!least || slice_cmp(lanes[i].base, *least) < 0))
                least = &lanes[i].base;
        if (!least) break;
        e = check_group(ck, lanes, *least, mem);
        arena_reset(mem);
    }
    arena_free(mem);
    return e;
}

static err check_blobs(check *ck) {
    lane lanes[LANES] = {
        {.table = "BLOB"}, {.table = "JOB", .skip = 1}, {.table = "BLOCK"}, {.table = "CONTENT"}};
    engine *en = ck->s->engine;
    err e;
    TRY_TO(out, engine_scan(en, ENGINE_BLOB, SLICE_NONE, SLICE_NONE, &lanes[LANE_BLOB].cur));
    TRY_TO(out, engine_scan(en, ENGINE_JOB, S("s"), S("t"), &lanes[LANE_STAGING].cur));
    TRY_TO(out, engine_scan(en, ENGINE_BLOCK, SLICE_NONE, SLICE_NONE, &lanes[LANE_BLOCK].cur));
    TRY_TO(out, engine_scan(en, ENGINE_CONTENT, SLICE_NONE, SLICE_NONE, &lanes[LANE_CONTENT].cur));
    ck->container_known = false;
    e = check_lanes(ck, lanes);
out:
    for (int i = 0; i < LANES; i++) engine_cursor_free(lanes[i].cur);
    return e;
}

/* ---- all of it ---- */

static void count_defect(void *ctx, const char *what, const char *where) {
    check *ck = ctx;
    ck->done.defects++;
    ck->report(ck->ctx, what, where);
}

#define STATS_WAIT_MS 5000

/* What the engine keeps is what rows own. An engine that was just opened may still be counting. */
static void check_stream_bytes(check *ck) {
    engine_stats st;
    engine_get_stats(ck->s->engine, &st);
    for (int ms = 0; st.stream_bytes_live != ck->stream_bytes && ms < STATS_WAIT_MS; ms += 20) {
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
        engine_get_stats(ck->s->engine, &st);
    }
    if (st.stream_bytes_live == ck->stream_bytes) return;
    char what[200];
    snprintf(what, sizeof what, "streams hold %llu bytes, rows own %llu of them",
             (unsigned long long)st.stream_bytes_live, (unsigned long long)ck->stream_bytes);
    report(ck, what, S("the store"));
}

static err check_all(check *ck) {
    TRY(walk(ck, ENGINE_JOB, SLICE_NONE, SLICE_NONE, check_job_row));
    TRY(walk(ck, ENGINE_JOB, S("P"), S("Q"), check_purge_row));
    TRY(walk(ck, ENGINE_JOB, S("p"), S("q"), check_purge_row));
    TRY(walk(ck, ENGINE_META, SLICE_NONE, SLICE_NONE, check_meta_row));
    if (ck->container_count)
        qsort(ck->containers, ck->container_count, sizeof *ck->containers, by_id);
    TRY(walk(ck, ENGINE_JOB, S("g"), S("h"), check_garbage_row));
    TRY(check_blobs(ck));
    TRY(walk(ck, ENGINE_INDEX, SLICE_NONE, SLICE_NONE, index_check_row));
    if (ck->done.defects == 0) check_stream_bytes(ck);
    return engine_check(ck->s->engine, count_defect, ck);
}

err store_check(store *s, engine_report *report_, void (*progress)(void *, store_check_progress),
                void *ctx, store_check_progress *ret) {
    check *ck = calloc(1, sizeof *ck);
    MUST(ck);
    ck->s = s;
    ck->report = report_;
    ck->progress = progress;
    ck->ctx = ctx;
    ck->mem = arena_new(64 << 10, 0);
    ck->sealed = malloc(CHECK_SEALED_MAX);
    ck->plain = malloc(CRYPTO_CHUNK_LEN);
    MUST(ck->sealed && ck->plain);
    err e = check_all(ck);
    if (e == OK) *ret = ck->done;
    for (size_t i = 0; i < ck->container_count; i++) crypto_key_wipe(&ck->containers[i].key);
    crypto_wipe(ck->plain, CRYPTO_CHUNK_LEN);
    free(ck->containers);
    free(ck->accounts);
    id_set_clear(&ck->purged_accounts);
    free(ck->sealed);
    free(ck->plain);
    arena_free(ck->garbage_mem);
    arena_free(ck->mem);
    free(ck);
    return e;
}
