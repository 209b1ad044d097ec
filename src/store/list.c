/* Listing blobs: a walk over BLOB that decodes in place. A common prefix is never walked through:
 * the cursor goes on behind it. HISTORY is walked beside it only when snapshots, versions or deleted
 * states are asked for: name by name, its states first, then the current one. */
#include "store/internal.h"

/* Where a page begins: at a name; at a state of the name, by its tick; at a name's place without
 * the states before it. */
typedef enum place_kind { PLACE_NAME = '1', PLACE_STATE = '2', PLACE_ROOT = '3' } place_kind;
typedef struct place {
    place_kind kind;
    slice name;
    uint64_t tick;
} place;

/* Rows a page may pass over without listing them (markers of staged blocks, states that were not
 * asked for): a page that met more of them ends early, with a marker. */
#define PASSED_MAX 50000

/* One of the two walks, and the row it stands at. */
typedef struct side {
    engine_cursor *cur;
    slice key, value, base, rest; /* rest: of the key behind BASE */
    bool more;
} side;

typedef struct page {
    store *s;
    arena *arena;
    const store_blob_list *q;
    err (*each)(void *ctx, const store_blob *b, slice prefix);
    void *ctx;
    uint64_t container;
    engine_cursor *cur;
    arena *pairs;              /* metadata of one blob */
    pair tags[STORE_TAGS_MAX]; /* and its tags */
    size_t listed, passed;
    bool ended;
    place at;   /* of the entry that is being listed; its name is set by end_before */
    place next; /* of the first entry that was not listed */
    side past;  /* HISTORY, when it is walked */
    int64_t now_us;
    size_t last_len;
    uint8_t last[KEY_NAME_MAX]; /* the last name that was listed as a blob */
    uint8_t unescaped[KEY_NAME_MAX];
    uint8_t key[KEY_BASE_MAX + 1];
} page;

static err marker_read(arena *a, slice marker, place *ret) {
    *ret = (place){.kind = PLACE_NAME};
    if (marker.len == 0) return OK;
    ret->kind = (place_kind)marker.p[0];
    slice rest = slice_skip(marker, 1);
    bool good = ret->kind == PLACE_NAME || ((ret->kind == PLACE_STATE || ret->kind == PLACE_ROOT) &&
                                            hex16_take(&rest, &ret->tick) == OK);
    ENSURE(good && base64url_get(a, rest, &ret->name) == OK && store_blob_name_valid(ret->name),
           ERR_OUT_OF_RANGE_INPUT, "marker is not one that a listing gave");
    return OK;
}

static slice marker_write(arena *a, const place *p) {
    buf b;
    buf_init_arena(&b, a, 8192);
    buf_byte(&b, (uint8_t)p->kind);
    if (p->kind != PLACE_NAME) buf_fmt(&b, "%016llx", (unsigned long long)p->tick);
    base64url_put(&b, p->name);
    MUST(!b.failed);
    return buf_slice(&b);
}

static void end_before(page *p, slice name) {
    p->next = p->at;
    p->next.name = arena_dup(p->arena, name);
    p->ended = true;
}

/* Lists one entry. The page ends before it when it is full, or when the caller has no room. */
static err list_entry(page *p, slice name, const store_blob *b, slice prefix) {
    if (p->listed == p->q->max) {
        end_before(p, name);
        return OK;
    }
    err e = p->each(p->ctx, b, prefix);
    if (e == ERR_TOO_LARGE && p->listed > 0) {
        end_before(p, name);
        return OK;
    }
    p->listed++;
    return e;
}

static err list_prefix(page *p, slice name, size_t len) {
    slice prefix = slice_take(name, len);
    TRY(list_entry(p, name, NULL, prefix));
    if (p->ended) return OK;
    /* On to behind all that begin with it. The cursors' slices are gone after this. */
    id_put(p->key, p->container);
    size_t n = KEY_ID_LEN + name_escape(p->key + KEY_ID_LEN, prefix);
    p->key[n++] = 0xff;
    if (p->past.cur) TRY(engine_cursor_seek(p->past.cur, slice_of(p->key, n)));
    return engine_cursor_seek(p->cur, slice_of(p->key, n));
}

static err with_pairs(page *p, row_blob *row) {
    pair *pairs;
    if (p->q->metadata && row->metadata.len) {
        arena_reset(p->pairs);
        TRY(row_pairs_get(p->pairs, row->metadata, &pairs, &row->pub.metadata_count));
        row->pub.metadata = pairs;
    }
    if (p->q->tags && row->pub.tag_count) {
        TRY(row_tags_get(row->tags, row->pub.tag_count, p->tags));
        row->pub.tags = p->tags;
    }
    return OK;
}

static err list_state(page *p, slice name, slice value) {
    row_blob row;
    TRY(row_blob_get(value, &row));
    if (blob_expired(&row)) return OK;
    copy_note_progress(p->s, &row.pub);
    row.pub.name = name;
    row.pub.current = true;
    TRY(with_pairs(p, &row));
    TRY(list_entry(p, name, &row.pub, SLICE_NONE));
    memcpy(p->last, name.p, name.len);
    p->last_len = name.len;
    return OK;
}

static const store_blob uncommitted_blob = {.uncommitted = true,
                                            .created_us = STORE_TIME_NONE,
                                            .modified_us = STORE_TIME_NONE,
                                            .tier_changed_us = STORE_TIME_NONE,
                                            .expires_us = STORE_TIME_NONE,
                                            .accessed_us = STORE_TIME_NONE,
                                            .immutable_until_us = STORE_TIME_NONE};

static err list_marker(page *p, slice name) {
    store_blob b = uncommitted_blob;
    b.name = name;
    return list_entry(p, name, &b, SLICE_NONE);
}

static err list_row(page *p, slice key, slice value) {
    slice rest = slice_skip(key, KEY_ID_LEN), name;
    TRY(name_take(&rest, &name));
    ENSURE(rest.len >= 1 && name.len <= KEY_NAME_MAX, ERR_CORRUPT, "a blob's key is damaged");
    name = name_unescape(p->unescaped, name);
    bool marker = rest.p[0] == KEY_MARKER;
    bool known = slice_eq(name, slice_of(p->last, p->last_len));
    if (rest.p[0] != KEY_STATE && (!marker || known || !p->q->uncommitted)) {
        if (++p->passed > PASSED_MAX && !known) end_before(p, name);
        return OK;
    }
    if (p->q->delimiter.len) {
        size_t at = slice_find_slice(name, p->q->prefix.len, p->q->delimiter);
        if (at < name.len) return list_prefix(p, name, at + p->q->delimiter.len);
    }
    return marker ? list_marker(p, name) : list_state(p, name, value);
}

static err scan_rows(page *p) {
    while (!p->ended) {
        slice key, value;
        bool more;
        TRY(engine_cursor_next(p->cur, &key, &value, &more));
        if (!more) return OK;
        TRY(list_row(p, key, value));
    }
    return OK;
}

/* ---- with the history ---- */

static err side_next(side *s) {
    TRY(engine_cursor_next(s->cur, &s->key, &s->value, &s->more));
    if (!s->more) return OK;
    slice name;
    s->rest = slice_skip(s->key, KEY_ID_LEN);
    TRY(name_take(&s->rest, &name));
    ENSURE(s->rest.len >= 1 && name.len <= KEY_NAME_MAX, ERR_CORRUPT, "a blob's key is damaged");
    s->base = slice_take(s->key, s->key.len - s->rest.len);
    return OK;
}

/* All rows of one name. */
typedef struct entries {
    slice base, name; /* in memory that the cursors do not move */
    bool root_only;   /* the states before it were listed on the page before */
    bool skipped;     /* a prefix stands for it: both cursors have gone on */
    buf version;      /* the row of its newest version */
    uint64_t version_tick;
} entries;

static bool at_base(const side *s, slice base) {
    return s->more && slice_eq(s->base, base);
}

/* A prefix that stands for the entry, or the entry. */
static err list_one(page *p, entries *g, const store_blob *b) {
    if (p->q->delimiter.len) {
        size_t at = slice_find_slice(g->name, p->q->prefix.len, p->q->delimiter);
        g->skipped = at < g->name.len;
        p->at.kind = g->skipped ? PLACE_NAME : p->at.kind;
        if (g->skipped) return list_prefix(p, g->name, at + p->q->delimiter.len);
    }
    return list_entry(p, g->name, b, SLICE_NONE);
}

static bool wanted(const page *p, const row_blob *r) {
    const store_blob_list *q = p->q;
    if (row_deleted(r) && (!q->deleted || r->pub.until_us <= p->now_us)) return false;
    return r->past == ROW_PAST_SNAPSHOT  ? q->snapshots
           : r->past == ROW_PAST_VERSION ? q->versions
                                         : row_deleted(r);
}

/* Those that are kept: of a name without a current state they are all that is left. */
static void remember_version(page *p, entries *g, uint64_t tick, const row_blob *r, slice value) {
    if (!p->q->deleted_with_versions || r->past != ROW_PAST_VERSION) return;
    if (row_deleted(r) && r->pub.until_us <= p->now_us) return;
    buf_reset(&g->version);
    buf_put(&g->version, value);
    g->version_tick = tick;
}

static err list_past(page *p, entries *g) {
    row_blob row;
    uint64_t tick;
    slice rest = p->past.rest;
    TRY(hex16_take(&rest, &tick));
    TRY(row_blob_get(p->past.value, &row));
    remember_version(p, g, tick, &row, p->past.value);
    p->at = (place){.kind = PLACE_STATE, .tick = tick};
    if (g->root_only || !wanted(p, &row)) {
        if (++p->passed > PASSED_MAX && !g->root_only) end_before(p, g->name);
        return OK;
    }
    row.pub.name = g->name;
    row.pub.snapshot = row.past == ROW_PAST_SNAPSHOT ? tick : 0;
    TRY(with_pairs(p, &row));
    return list_one(p, g, &row.pub);
}

static err list_versions_only(page *p, entries *g) {
    row_blob row;
    p->at = (place){.kind = PLACE_ROOT, .tick = g->version_tick};
    TRY(row_blob_get(buf_slice(&g->version), &row));
    row.pub.name = g->name;
    row.pub.versions_only = true;
    TRY(with_pairs(p, &row));
    return list_one(p, g, &row.pub);
}

/* The current state, or a marker, or what is left of the name. */
static err list_root(page *p, entries *g, side *blobs) {
    bool found = false;
    p->at = (place){.kind = PLACE_ROOT, .tick = UINT64_MAX};
    while (!p->ended && !g->skipped && at_base(blobs, g->base)) {
        bool marker = blobs->rest.p[0] == KEY_MARKER;
        row_blob row = {.pub = uncommitted_blob};
        if (!marker) TRY(row_blob_get(blobs->value, &row));
        bool there = !marker || p->q->uncommitted;
        if (!marker && blob_expired(&row)) there = false;
        row.pub.name = g->name;
        row.pub.current = !marker;
        TRY(with_pairs(p, &row));
        if (!found && there) TRY(list_one(p, g, &row.pub));
        found |= !marker && there;
        if (!p->ended && !g->skipped) TRY(side_next(blobs));
    }
    if (!found && !p->ended && !g->skipped && g->version_tick) TRY(list_versions_only(p, g));
    return OK;
}

static err list_entries(page *p, entries *g, side *blobs) {
    while (!p->ended && !g->skipped && at_base(&p->past, g->base)) {
        TRY(list_past(p, g));
        if (!p->ended && !g->skipped) TRY(side_next(&p->past));
    }
    if (!p->ended && !g->skipped) TRY(list_root(p, g, blobs));
    if (!g->skipped) return OK;
    if (!p->ended) TRY(side_next(&p->past));
    return p->ended ? OK : side_next(blobs);
}

/* root_of: BASE of a name whose states were listed before; empty: none. */
static err scan_both(page *p, slice root_of) {
    side blobs = {.cur = p->cur};
    entries g = {0};
    err e = OK;
    buf base;
    buf_init(&base, KEY_BASE_MAX);
    buf_init(&g.version, ENGINE_VALUE_MAX);
    TRY_TO(out, side_next(&blobs));
    TRY_TO(out, side_next(&p->past));
    while (!p->ended && (blobs.more || p->past.more)) {
        bool older = p->past.more && (!blobs.more || slice_cmp(p->past.base, blobs.base) < 0);
        buf_reset(&base);
        buf_put(&base, older ? p->past.base : blobs.base);
        g.base = buf_slice(&base);
        slice escaped, rest = slice_skip(g.base, KEY_ID_LEN);
        TRY_TO(out, name_take(&rest, &escaped));
        g.name = name_unescape(p->unescaped, escaped);
        g.root_only = slice_eq(g.base, root_of);
        g.skipped = false;
        g.version_tick = 0;
        TRY_TO(out, list_entries(p, &g, &blobs));
    }
out:
    buf_done(&base);
    buf_done(&g.version);
    return e;
}

/* Fits a key also when it is escaped, as every name does. */
static bool plain_text(slice s) {
    size_t escaped = s.len;
    for (size_t i = 0; i < s.len; i++) escaped += s.p[i] == 1;
    return escaped <= KEY_NAME_MAX && slice_utf8_valid(s) && slice_find(s, 0, 0) == s.len;
}

static slice bound(blob_key *k, uint64_t container, slice name, bool end) {
    id_put(k->b, container);
    size_t n = KEY_ID_LEN + name_escape(k->b + KEY_ID_LEN, name);
    if (end) k->b[n++] = 0xff;
    return slice_of(k->b, n);
}

static bool asks_past(const store_blob_list *q) {
    return q->snapshots || q->versions || q->deleted || q->deleted_with_versions;
}

/* The same range in HISTORY; at the place's state, when the page begins there. */
static err open_past(page *p, const place *from, slice low, slice high) {
    blob_key k;
    if (from->kind != PLACE_NAME) {
        key_blob(&k, p->container, from->name);
        low = key_past(&k, from->tick);
    }
    return engine_scan(p->s->engine, ENGINE_HISTORY, low, high, &p->past.cur);
}

static err scan_page(page *p) {
    const store_blob_list *q = p->q;
    slice from = q->prefix;
    place at;
    blob_key lower, upper, root;
    TRY(marker_read(p->arena, q->marker, &at));
    if (slice_cmp(q->start_from, from) > 0) from = q->start_from;
    if (slice_cmp(at.name, from) >= 0)
        from = at.name;
    else
        at.kind = PLACE_NAME;
    slice low = bound(&lower, p->container, from, false),
          high = bound(&upper, p->container, q->prefix, true);
    if (slice_cmp(low, high) >= 0) return OK;
    TRY(engine_scan(p->s->engine, ENGINE_BLOB, low, high, &p->cur));
    if (!asks_past(q)) return scan_rows(p);
    TRY(open_past(p, &at, low, high));
    if (at.kind != PLACE_ROOT) return scan_both(p, SLICE_NONE);
    key_blob(&root, p->container, at.name);
    return scan_both(p, key_base(&root));
}

err store_blob_scan(store *s, store_call c, const store_container *k, const store_blob_list *q,
                    err (*each)(void *ctx, const store_blob *b, slice prefix), void *ctx,
                    slice *ret_next) {
    if (c.nowait) return ERR_WOULD_BLOCK;
    ENSURE(q->max >= 1 && q->max <= STORE_LIST_MAX, ERR_OUT_OF_RANGE_QUERY_PARAMETER_VALUE,
           "maxresults is 1 to %d", STORE_LIST_MAX);
    ENSURE(plain_text(q->prefix) && plain_text(q->start_from) && plain_text(q->delimiter),
           ERR_INVALID_QUERY_PARAMETER_VALUE,
           "prefix, delimiter and startFrom are UTF-8 without NUL, no longer than a name");
    page *p = malloc(sizeof *p);
    MUST(p);
    p->s = s;
    p->arena = c.arena;
    p->q = q;
    p->each = each;
    p->ctx = ctx;
    p->container = k->id;
    p->cur = NULL;
    p->past = (side){0};
    p->at = (place){.kind = PLACE_NAME};
    p->now_us = clock_wall_us();
    p->pairs = q->metadata ? arena_new(4096, 1 << 20) : NULL;
    p->listed = p->passed = p->last_len = 0;
    p->ended = false;
    err e = scan_page(p);
    if (e == OK) *ret_next = p->ended ? marker_write(c.arena, &p->next) : SLICE_NONE;
    engine_cursor_free(p->cur);
    engine_cursor_free(p->past.cur);
    arena_free(p->pairs);
    free(p);
    return e;
}
