/* The check, blob by blob: whose each row and each piece of content is.
 *
 * BLOB, HISTORY, dropped states, heads, staging sessions, BLOCK and CONTENT sort their rows by BASE,
 * so one walk over them together meets all rows of a blob at once, and the check's memory is that of
 * one blob. Streams are counted: those that rows own must be all that the engine keeps. */
#include "store/check.h"

/* One of the tables in the walk. */
typedef struct lane {
    const char *table;
    engine_cursor *cur;
    size_t skip; /* of the key before BASE */
    slice key, value, base, rest;
    bool more;
} lane;

enum {
    LANE_BLOB,
    LANE_HISTORY,
    LANE_DROPPED,
    LANE_HEAD,
    LANE_STAGING,
    LANE_COPY,
    LANE_BLOCK,
    LANE_CONTENT,
    LANES
};

/* A block list that states of the blob have: what their rows say, and what was met of it. */
typedef struct met_list {
    uint64_t content;
    slice said_key, said_scope; /* the SHA-256 of its customer's key; its encryption scope */
    uint64_t said_len, said_crc, len, crc;
    uint32_t said_count, count, parts, id_len;
} met_list;

typedef struct group {
    check *ck;
    blob_key key;
    arena *mem;
    row_blob blob;
    row_staging staging;
    bool has_blob, has_marker, has_staging;
    slice copy_id; /* of the job of a pending copy */
    id_set owned;  /* ids of CONTENT rows with an owner */
    id_set opened; /* pieces that were opened and counted: states share them */
    met_list *lists;
    size_t list_count, list_room;
    row_head head, found; /* found: what the head should say */
    bool has_head, head_damaged;
    uint32_t staged_count;
    uint64_t defects; /* of the check before this blob */
    page_check pages;
    id_set frozen; /* generations of page maps that states beside the current one show */
    size_t frozen_met;
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
        check_report_row(ck, l->table, l->key, "the key is damaged");
    }
}

static bool live(const check *ck) {
    return ck->k && !ck->k->purging;
}

/* A piece with an owner: counted, and opened unless its container is on its way out. */
static err own_piece(group *g, const row_piece *p, slice key_sha256, slice scope) {
    if (p->id && id_set_has(&g->opened, p->id)) return OK;
    if (p->id) id_set_add(&g->opened, p->id);
    content_count(g->ck, p, true);
    if (p->where == ROW_INLINE) id_set_add(&g->owned, p->id);
    g->ck->done.blocks++;
    if (!live(g->ck)) return OK;
    return key_sha256.len ? content_look(g->ck, &g->key, p)
                          : content_check(g->ck, &g->key, p, scope);
}

static met_list *find_list(group *g, uint64_t content) {
    for (size_t i = g->list_count; i-- > 0;)
        if (g->lists[i].content == content) return &g->lists[i];
    return NULL;
}

/* Whatever the state has: its piece, or a list whose rows come later. */
static err own_state(group *g, const row_blob *r) {
    row_piece p = row_blob_piece(r);
    if (r->where == ROW_PAGES) return OK; /* its pieces come later */
    if (r->where != ROW_LIST) return own_piece(g, &p, r->pub.key_sha256, r->pub.scope);
    met_list *list = find_list(g, r->pub.content_id);
    if (!list) {
        g->lists = check_grow(g->lists, g->list_count, &g->list_room, sizeof *g->lists);
        list = &g->lists[g->list_count++];
        *list = (met_list){.content = r->pub.content_id, .id_len = r->id_len};
    }
    if (r->pub.length < list->said_len) return OK; /* a state before later appends */
    list->said_len = r->pub.length;
    list->said_key = r->pub.key_sha256;
    list->said_scope = r->pub.scope;
    list->said_crc = r->pub.crc64;
    list->said_count = r->pub.block_count;
    return OK;
}

static err decode_state(group *g, lane *l, row_blob *ret, bool *ret_good) {
    pair *pairs;
    size_t n;
    *ret_good = row_blob_get(arena_dup(g->mem, l->value), ret) == OK;
    if (!*ret_good) {
        check_defect(g->ck, "the row of one of its states is damaged: %s", err_detail());
        return OK;
    }
    if (row_pairs_get(g->mem, ret->metadata, &pairs, &n) != OK)
        check_defect(g->ck, "the blob's metadata is damaged: %s", err_detail());
    return own_state(g, ret);
}

/* Never 0. */
static uint64_t frozen_id(uint64_t content, uint64_t generation) {
    return (content * 0x9e3779b97f4a7c15ull + generation) | 1ull << 63;
}

static void count_past(group *g, uint64_t tick, const row_blob *r) {
    bool deleted = row_deleted(r);
    g->found.snapshots += r->past == ROW_PAST_SNAPSHOT && !deleted;
    g->found.versions += r->past == ROW_PAST_VERSION && !deleted;
    if (r->past == ROW_PAST_BASE && (g->found.base || g->has_blob))
        check_defect(g->ck, "it is there, and soft-deleted, at once");
    if (r->past == ROW_PAST_BASE) g->found.base = tick;
    if (r->past == ROW_PAST_NONE || (r->past == ROW_PAST_BASE && !deleted))
        check_defect(g->ck, "a state of its history is of no kind");
    uint64_t x = check_expiry_id(g->ck->name, tick, r->pub.until_us);
    if (deleted && live(g->ck) && !id_set_has(&g->ck->expiries, x))
        check_defect(g->ck, "a soft-deleted state has no expiry");
}

static err group_past(group *g, lane *l, bool dropped) {
    slice rest = l->rest;
    uint64_t tick;
    row_blob r;
    bool good;
    if (hex16_take(&rest, &tick) != OK || rest.len || tick == 0) {
        check_report_row(g->ck, l->table, l->key, "the key is damaged");
        return OK;
    }
    g->found.states++;
    if (tick > g->found.newest) g->found.newest = tick;
    TRY(decode_state(g, l, &r, &good));
    if (good && !dropped) count_past(g, tick, &r);
    if (good && r.where == ROW_PAGES)
        id_set_add(&g->frozen, frozen_id(r.pub.content_id, r.generation));
    pair tags[STORE_TAGS_MAX];
    if (good && (row_tags_get(r.tags, r.pub.tag_count, tags) != OK ||
                 store_tags_check(tags, r.pub.tag_count) != OK))
        check_defect(g->ck, "the tags of one of its states are damaged: %s", err_detail());
    return OK;
}

static void group_head(group *g, lane *l) {
    g->has_head = l->rest.len == 0 && row_head_get(l->value, &g->head) == OK;
    g->head_damaged = !g->has_head; /* told at the end, when it is known what it should say */
}

static err group_blob(group *g, lane *l) {
    check *ck = g->ck;
    if (slice_eq(l->rest, S("1"))) {
        g->has_marker = true;
        return OK;
    }
    if (!slice_eq(l->rest, S("0"))) {
        check_report_row(ck, l->table, l->key, "a row of unknown kind");
        return OK;
    }
    TRY(decode_state(g, l, &g->blob, &g->has_blob));
    if (g->has_blob && live(ck)) index_check_blob(ck, &g->key, &g->blob, g->mem);
    ck->done.blobs += g->has_blob;
    return OK;
}

static void group_copy(group *g, lane *l) {
    row_copy row;
    slice url;
    if (l->rest.len || row_copy_get(l->value, &row) != OK) {
        check_defect(g->ck, "the row of its pending copy is damaged: %s", err_detail());
        return;
    }
    g->copy_id = arena_dup(g->mem, row.id);
    if (live(g->ck) && g->ck->k->has_key && row.url_len &&
        copy_url_open(&g->ck->k->key, g->ck->container, &row, g->mem, &url) != OK)
        check_defect(g->ck, "the source of its pending copy does not open: %s", err_detail());
}

static void group_staging(group *g, lane *l) {
    if (l->rest.len || row_staging_get(l->value, &g->staging) != OK)
        check_defect(g->ck, "the staging session's row is damaged: %s", err_detail());
    else
        g->has_staging = true;
}

/* list: NULL when no state has it. */
static err list_part(group *g, slice key_rest, const row_chunk *chunk, bool owns, met_list *list) {
    slice blocks = chunk->blocks;
    uint64_t len = 0;
    for (uint32_t i = 0; i < chunk->count; i++) {
        row_block b;
        if (row_block_take(&blocks, &b) != OK) {
            check_defect(g->ck, "a part of its block list is damaged: %s", err_detail());
            return OK;
        }
        len += b.piece.len;
        if (owns && !b.repeat) TRY(own_piece(g, &b.piece, chunk->key_sha256, chunk->scope));
        if (list && b.id.len != list->id_len)
            check_defect(g->ck, "the id of a committed block has another length than the others");
        if (list) list->crc = crc64_combine(list->crc, b.piece.crc64, b.piece.len);
    }
    if (!list) return OK;
    if (!slice_eq(chunk->key_sha256, list->said_key))
        check_defect(g->ck, "its block list is under another customer's key than its row says");
    if (!slice_eq(chunk->scope, list->said_scope))
        check_defect(g->ck, "its block list is under another encryption scope than its row says");
    slice expected = key_manifest(&g->key, list->content, chunk->start + len, list->parts);
    if (chunk->start != list->len || !slice_ends(expected, key_rest) || blocks.len)
        check_defect(g->ck, "its block list has a gap at offset %llu",
                     (unsigned long long)list->len);
    list->len += len;
    list->count += chunk->count;
    list->parts++;
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
    met_list *list = find_list(g, content);
    /* Appended after the longest state that is left, and on its way out. */
    if (list && chunk.start >= list->said_len && check_garbage_tail(ck, content, chunk.start))
        list = NULL;
    check_ownership own = list ? CHECK_ROWS_AND_PIECES : check_garbage_owns(ck, content, 0);
    if (own == CHECK_OWNED_BY_NOBODY && live(ck))
        check_defect(ck, "a part of block list %llu, which no blob has",
                     (unsigned long long)content);
    bool owns = own == CHECK_ROWS_AND_PIECES || (own == CHECK_OWNED_BY_NOBODY && !live(ck));
    return list_part(g, l->rest, &chunk, owns, list);
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
    check_ownership own = current ? CHECK_ROWS_AND_PIECES : check_garbage_owns(ck, 0, session);
    if (own == CHECK_OWNED_BY_NOBODY && live(ck))
        check_defect(ck, "a block staged in session %llu, which is not there",
                     (unsigned long long)session);
    if (current) {
        g->staged_count++;
        if (rest.len != 2 * (size_t)g->staging.id_len)
            check_defect(ck, "the id of a staged block has another length than the others");
    }
    bool owns = own == CHECK_ROWS_AND_PIECES || (own == CHECK_OWNED_BY_NOBODY && !live(ck));
    return owns ? own_piece(g, &row.piece, row.key_sha256, row.scope) : OK;
}

static err group_page_piece(group *g, slice rest, slice value) {
    row_page_piece row;
    pages_piece(g->ck, &g->pages, rest, value, &row);
    return row.pages ? own_piece(g, &row.piece, row.key_sha256, row.scope) : OK;
}

/* A frozen generation is of a state beside the current one, or of one that is being swept. */
static void group_frozen(group *g, slice rest) {
    uint64_t content, generation;
    if (id_take(&rest, &content) != OK || page_frozen_decode(rest, &generation) != OK) {
        check_defect(g->ck, "a frozen generation of its pages is damaged");
        return;
    }
    if (id_set_has(&g->frozen, frozen_id(content, generation)))
        g->frozen_met++;
    else if (live(g->ck) && !check_garbage_map(g->ck, content, generation))
        check_defect(g->ck, "generation %llu of its pages is frozen for nobody",
                     (unsigned long long)generation);
}

static err group_block(group *g, lane *l) {
    slice rest = slice_skip(l->rest, 1);
    char kind = l->rest.len ? (char)l->rest.p[0] : 0;
    if (kind == KEY_RUN || kind == KEY_OLD_RUN)
        return pages_run(g->ck, &g->pages, &g->key, kind, rest, l->value,
                         g->has_blob ? &g->blob : NULL);
    if (kind == KEY_PAGE_PIECE) return group_page_piece(g, rest, l->value);
    if (kind == KEY_FROZEN) {
        group_frozen(g, rest);
        return OK;
    }
    if (l->rest.len && l->rest.p[0] == KEY_MANIFEST) return group_manifest(g, l, rest);
    if (l->rest.len && l->rest.p[0] == KEY_STAGED) return group_staged(g, l, rest);
    check_report_row(g->ck, l->table, l->key, "a row of unknown kind");
    return OK;
}

static void group_content(group *g, lane *l) {
    uint64_t id;
    slice rest = l->rest;
    if (id_take(&rest, &id) != OK || rest.len)
        check_report_row(g->ck, l->table, l->key, "the key is damaged");
    else if (live(g->ck) && !id_set_has(&g->owned, id))
        check_defect(g->ck, "content %llu belongs to no blob and no block", (unsigned long long)id);
}

static void end_list(check *ck, const met_list *l) {
    if (l->len != l->said_len || l->count != l->said_count || l->crc != l->said_crc)
        check_defect(ck,
                     "its block list has %u blocks and %llu bytes; the blob's row says %u and %llu,"
                     " or another checksum",
                     l->count, (unsigned long long)l->len, l->said_count,
                     (unsigned long long)l->said_len);
}

/* A row of JOB that counts what other rows hold, made again. True: what was found of the blob is mended. Only where
 * those others are all whole: else the count is a guess. */
static bool make_again(group *g, slice key, slice row) {
    check *ck = g->ck;
    engine_txn *t;
    if (!ck->repair || ck->done.defects != g->defects) return false;
    err e = engine_txn_begin(ck->s->engine, key_base(&g->key), &t);
    if (e == OK) {
        engine_txn_put(t, ENGINE_JOB, key, row);
        e = engine_txn_commit(t);
    }
    if (e != OK) {
        check_defect(ck, "a row that counts cannot be made again: %s", err_detail());
        return false;
    }
    return true;
}

/* Told to the person, and mended: no defect any more. */
static void made_again(check *ck, bool done) {
    ck->done.defects -= done;
    ck->done.repaired += done;
}

/* A head that counts more states than there are stays as it is: states are lost, and it is what tells. */
static bool head_again(group *g) {
    const row_head *h = &g->head;
    row_head right = g->found;
    if (g->found.states == 0 || (g->has_head && h->states > g->found.states)) return false;
    if (g->has_head && h->newest > right.newest) right.newest = h->newest;
    return make_again(g, key_head(&g->key), ROW_ENCODE(head, g->mem, &right));
}

/* Likewise of blocks that were staged. */
static bool staging_again(group *g) {
    row_staging right = g->staging;
    if (right.count > g->staged_count) return false;
    right.count = g->staged_count;
    return make_again(g, key_staging(&g->key), ROW_ENCODE(staging, g->mem, &right));
}

static void end_staging(group *g) {
    if (!g->has_staging || g->staging.count == g->staged_count) return;
    const bool done = staging_again(g);
    check_defect(g->ck, "%u blocks are staged; their session says %u", g->staged_count,
                 g->staging.count);
    made_again(g->ck, done);
}

static void end_head(group *g) {
    const row_head *h = &g->head, *f = &g->found;
    const bool lacks = g->has_head != (f->states > 0);
    if (!lacks && !g->head_damaged && h->states == f->states && h->snapshots == f->snapshots &&
        h->versions == f->versions && h->base == f->base && h->newest >= f->newest)
        return;
    const bool done = head_again(g);
    if (g->head_damaged)
        check_defect(g->ck, "the head of its history is damaged");
    else if (lacks)
        check_defect(g->ck, "a history of %u states %s", f->states,
                     g->has_head ? "has a head" : "has no head");
    else
        check_defect(g->ck,
                     "its history has %u states, %u snapshots and %u versions; its head says %u, %u"
                     " and %u, or other times",
                     f->states, f->snapshots, f->versions, h->states, h->snapshots, h->versions);
    made_again(g->ck, done);
}

static void group_end(group *g) {
    check *ck = g->ck;
    if (!live(ck)) return;
    for (size_t i = 0; i < g->list_count; i++) end_list(ck, &g->lists[i]);
    end_head(g);
    end_staging(g);
    if (g->frozen_met != g->frozen.count)
        check_defect(ck, "%zu of its states have pages that are not frozen",
                     g->frozen.count - g->frozen_met);
    const store_copy *copy = &g->blob.pub.copy;
    bool pending = g->has_blob && copy->status == STORE_COPY_PENDING;
    if (!slice_eq(g->copy_id, pending ? copy->id : SLICE_NONE))
        check_defect(ck, "a pending copy without its job, or a job without its pending copy");
    if (g->has_staging != g->has_marker)
        check_defect(ck, "a staging session without its marker, or a marker without its session");
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
        TRY(check_enter_container(ck, id));
        if (!ck->k) check_defect(ck, "rows of a container that is not there");
    }
    check_own_garbage(ck, &g->owned);
    return OK;
}

/* All rows of one blob: `base` is the lowest that any lane stands at. */
static err check_group(check *ck, lane *lanes, slice base, arena *mem) {
    group *g = arena_alloc(mem, sizeof *g);
    g->ck = ck;
    g->mem = mem;
    g->defects = ck->done.defects;
    base = arena_dup(mem, base);
    ck->group_mem = mem;
    err e = group_begin(g, base);
    for (int i = 0; i < LANES && e == OK; i++) {
        lane *l = &lanes[i];
        while (e == OK && l->more && slice_eq(l->base, base)) {
            if (i == LANE_BLOB) e = group_blob(g, l);
            if (i == LANE_HISTORY || i == LANE_DROPPED) e = group_past(g, l, i == LANE_DROPPED);
            if (i == LANE_HEAD) group_head(g, l);
            if (i == LANE_STAGING) group_staging(g, l);
            if (i == LANE_COPY) group_copy(g, l);
            if (i == LANE_BLOCK) e = group_block(g, l);
            if (i == LANE_CONTENT) group_content(g, l);
            if (e == OK) e = lane_next(ck, l);
        }
    }
    if (e == OK) group_end(g);
    pages_end(ck, &g->pages);
    id_set_clear(&g->frozen);
    id_set_clear(&g->owned);
    id_set_clear(&g->opened);
    free(g->lists);
    check_tell_progress(ck);
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

err check_blobs(check *ck) {
    lane lanes[LANES] = {[LANE_BLOB] = {.table = "BLOB"},
                         [LANE_HISTORY] = {.table = "HISTORY"},
                         [LANE_DROPPED] = {.table = "JOB", .skip = 1},
                         [LANE_HEAD] = {.table = "JOB", .skip = 1},
                         [LANE_STAGING] = {.table = "JOB", .skip = 1},
                         [LANE_COPY] = {.table = "JOB", .skip = 1},
                         [LANE_BLOCK] = {.table = "BLOCK"},
                         [LANE_CONTENT] = {.table = "CONTENT"}};
    engine *en = ck->s->engine;
    err e;
    TRY_TO(out, engine_scan(en, ENGINE_BLOB, SLICE_NONE, SLICE_NONE, &lanes[LANE_BLOB].cur));
    TRY_TO(out, engine_scan(en, ENGINE_HISTORY, SLICE_NONE, SLICE_NONE, &lanes[LANE_HISTORY].cur));
    TRY_TO(out, engine_scan(en, ENGINE_JOB, S("d"), S("e"), &lanes[LANE_DROPPED].cur));
    TRY_TO(out, engine_scan(en, ENGINE_JOB, S("h"), S("i"), &lanes[LANE_HEAD].cur));
    TRY_TO(out, engine_scan(en, ENGINE_JOB, S("s"), S("t"), &lanes[LANE_STAGING].cur));
    TRY_TO(out, engine_scan(en, ENGINE_JOB, S("k"), S("l"), &lanes[LANE_COPY].cur));
    TRY_TO(out, engine_scan(en, ENGINE_BLOCK, SLICE_NONE, SLICE_NONE, &lanes[LANE_BLOCK].cur));
    TRY_TO(out, engine_scan(en, ENGINE_CONTENT, SLICE_NONE, SLICE_NONE, &lanes[LANE_CONTENT].cur));
    ck->container_known = false;
    e = check_lanes(ck, lanes);
out:
    for (int i = 0; i < LANES; i++) engine_cursor_free(lanes[i].cur);
    return e;
}
