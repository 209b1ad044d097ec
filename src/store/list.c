/* Listing blobs: a walk over BLOB that decodes in place. A common prefix is never walked through:
 * the cursor goes on behind it. */
#include "store/internal.h"

#define MARKER_VERSION '1'
/* Rows a page may pass over without listing them (markers of staged blocks): a page that met more
 * of them ends early, with a marker. */
#define PASSED_MAX 50000

typedef struct page {
    store *s;
    arena *arena;
    const store_blob_list *q;
    err (*each)(void *ctx, const store_blob *b, slice prefix);
    void *ctx;
    uint64_t container;
    engine_cursor *cur;
    arena *pairs; /* metadata of one blob */
    size_t listed, passed;
    bool ended;
    slice next; /* name of the first entry that was not listed */
    size_t last_len;
    uint8_t last[KEY_NAME_MAX]; /* the last name that was listed as a blob */
    uint8_t unescaped[KEY_NAME_MAX];
    uint8_t key[KEY_BASE_MAX + 1];
} page;

static err marker_read(arena *a, slice marker, slice *ret_name) {
    if (marker.len == 0) return OK;
    ENSURE(marker.p[0] == MARKER_VERSION &&
               base64url_get(a, slice_skip(marker, 1), ret_name) == OK &&
               store_blob_name_valid(*ret_name),
           ERR_OUT_OF_RANGE_INPUT, "marker is not one that a listing gave");
    return OK;
}

static slice marker_write(arena *a, slice name) {
    buf b;
    buf_init_arena(&b, a, 8192);
    buf_byte(&b, MARKER_VERSION);
    base64url_put(&b, name);
    MUST(!b.failed);
    return buf_slice(&b);
}

static void end_before(page *p, slice name) {
    p->next = arena_dup(p->arena, name);
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
    /* On to behind all that begin with it. The cursor's slices are gone after this. */
    id_put(p->key, p->container);
    size_t n = KEY_ID_LEN + name_escape(p->key + KEY_ID_LEN, prefix);
    p->key[n++] = 0xff;
    return engine_cursor_seek(p->cur, slice_of(p->key, n));
}

static err list_state(page *p, slice name, slice value) {
    row_blob row;
    TRY(row_blob_get(value, &row));
    if (blob_expired(&row)) return OK;
    row.pub.name = name;
    if (p->q->metadata && row.metadata.len) {
        pair *pairs;
        arena_reset(p->pairs);
        TRY(row_pairs_get(p->pairs, row.metadata, &pairs, &row.pub.metadata_count));
        row.pub.metadata = pairs;
    }
    pair tags[STORE_TAGS_MAX];
    if (p->q->tags && row.pub.tag_count) {
        TRY(row_tags_get(row.tags, row.pub.tag_count, tags));
        row.pub.tags = tags;
    }
    TRY(list_entry(p, name, &row.pub, SLICE_NONE));
    memcpy(p->last, name.p, name.len);
    p->last_len = name.len;
    return OK;
}

static err list_marker(page *p, slice name) {
    store_blob b = {.name = name,
                    .uncommitted = true,
                    .created_us = STORE_TIME_NONE,
                    .modified_us = STORE_TIME_NONE,
                    .tier_changed_us = STORE_TIME_NONE,
                    .expires_us = STORE_TIME_NONE,
                    .accessed_us = STORE_TIME_NONE,
                    .immutable_until_us = STORE_TIME_NONE};
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

static err open_page(page *p, const store_container *k) {
    const store_blob_list *q = p->q;
    slice from = q->prefix, marker = SLICE_NONE;
    TRY(marker_read(p->arena, q->marker, &marker));
    if (slice_cmp(q->start_from, from) > 0) from = q->start_from;
    if (slice_cmp(marker, from) > 0) from = marker;
    blob_key lower, upper;
    slice low = bound(&lower, k->id, from, false), high = bound(&upper, k->id, q->prefix, true);
    if (slice_cmp(low, high) >= 0) return OK;
    return engine_scan(p->s->engine, ENGINE_BLOB, low, high, &p->cur);
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
    p->pairs = q->metadata ? arena_new(4096, 1 << 20) : NULL;
    p->listed = p->passed = p->last_len = 0;
    p->ended = false;
    p->next = SLICE_NONE;
    err e = open_page(p, k);
    if (e == OK && p->cur) e = scan_rows(p);
    if (e == OK) *ret_next = p->ended ? marker_write(c.arena, p->next) : SLICE_NONE;
    engine_cursor_free(p->cur);
    arena_free(p->pairs);
    free(p);
    return e;
}
