/* Find Blobs by Tags: a walk over a part of the index.
 *
 * All comparisons of one tag's key together are one range of index rows, of which each names a
 * blob; a query with several tags has several ranges, and every match is in all of them. One range
 * is walked, and its rows, which hold all tags of their blob, are compared with the whole query. It is
 * the smallest one: before the first page the ranges are stepped through side by side until one
 * ends (choose). The marker remembers which it was. */
#include "store/internal.h"

#define MARKER_VERSION '1'
#define PROBE_MAX      4096   /* rows of each range, to find out which is the smallest */
#define VISITED_MAX    100000 /* rows of a page */

typedef struct find_range {
    slice tag; /* its key */
    bool equal;
    slice lower, upper;
} find_range;

/* A container that rows of an account named. */
typedef struct known_container {
    uint64_t id;
    slice name; /* empty: not there any more, or not to be seen */
    struct known_container *next;
} known_container;
#define KNOWN_BUCKETS 256

typedef struct find {
    store *s;
    store_call c;
    const store_account *account;
    const store_container *k; /* NULL: all of the account */
    const store_find *q;
    err (*each)(void *ctx, const store_found *b);
    void *ctx;
    find_range ranges[STORE_TAGS_MAX];
    size_t range_count, range;
    engine_cursor *cur;
    size_t listed, visited;
    bool ended;
    slice next;             /* the marker */
    arena *names, *scratch; /* scratch: of one look-up */
    known_container *known[KNOWN_BUCKETS];
    uint8_t unescaped[KEY_NAME_MAX];
} find;

/* ---- ranges ---- */

static uint8_t kind_of(const find *f) {
    return f->k ? KEY_INDEX_CONTAINER : KEY_INDEX_ACCOUNT;
}

/* kind, owner, key, `end`; and when there is a value, that and its end (0: none). */
static slice bound(const find *f, slice tag, uint8_t tag_end, const slice *value, uint8_t end) {
    index_key k;
    key_index(&k, (char)kind_of(f), f->k ? f->k->id : f->account->id);
    key_index_add(&k, tag);
    key_index_byte(&k, tag_end);
    if (value) key_index_add(&k, *value);
    if (value && end) key_index_byte(&k, end);
    return arena_dup(f->c.arena, key_index_slice(&k));
}

static find_range *range_of(find *f, slice tag) {
    for (size_t i = 0; i < f->range_count; i++)
        if (slice_eq(f->ranges[i].tag, tag)) return &f->ranges[i];
    MUST(f->range_count < STORE_TAGS_MAX); /* store_tag_where */
    find_range *r = &f->ranges[f->range_count++];
    *r = (find_range){.tag = tag};
    r->lower = bound(f, tag, KEY_TAG_END, NULL, 0);
    r->upper = bound(f, tag, KEY_TAG_END + 1, NULL, 0);
    return r;
}

/* A value's rows begin with the value and KEY_TAG_END; those of longer values that begin with it
 * have a larger byte there. */
static void narrow(find *f, const tag_token *t) {
    find_range *r = range_of(f, t->key);
    const slice *v = &t->value;
    if (t->op == TAG_EQ || t->op == TAG_GE) r->lower = bound(f, t->key, KEY_TAG_END, v, 0);
    if (t->op == TAG_GT) r->lower = bound(f, t->key, KEY_TAG_END, v, KEY_TAG_END + 1);
    if (t->op == TAG_LT) r->upper = bound(f, t->key, KEY_TAG_END, v, KEY_TAG_END);
    if (t->op == TAG_EQ || t->op == TAG_LE)
        r->upper = bound(f, t->key, KEY_TAG_END, v, KEY_TAG_END + 1);
    r->equal |= t->op == TAG_EQ;
}

/* The number of the range that ends first, when each is walked as far as the others; an equality
 * when all are long. */
static err step_through(find *f, engine_cursor **cursors, size_t *ret) {
    for (size_t n = 0; n < PROBE_MAX; n++) {
        for (size_t i = 0; i < f->range_count; i++) {
            slice key, value;
            bool more;
            TRY(engine_cursor_next(cursors[i], &key, &value, &more));
            *ret = i;
            if (!more) return OK;
            f->visited++;
        }
    }
    *ret = 0;
    while (*ret < f->range_count && !f->ranges[*ret].equal) ++*ret;
    if (*ret == f->range_count) *ret = 0;
    return OK;
}

static err open_range(find *f, const find_range *r, slice from, engine_cursor **ret) {
    slice lower = slice_cmp(from, r->lower) > 0 ? from : r->lower;
    *ret = NULL;
    if (slice_cmp(lower, r->upper) >= 0) return OK;
    return engine_scan(f->s->engine, ENGINE_INDEX, lower, r->upper, ret);
}

static err choose(find *f) {
    engine_cursor *cursors[STORE_TAGS_MAX] = {0};
    err e = OK;
    f->range = 0;
    if (f->range_count == 1) return OK;
    for (size_t i = 0; i < f->range_count && e == OK; i++) {
        e = open_range(f, &f->ranges[i], SLICE_NONE, &cursors[i]);
        if (e != OK || cursors[i]) continue;
        f->range = i; /* an empty one: nothing can match */
        goto out;
    }
    if (e == OK) e = step_through(f, cursors, &f->range);
out:
    for (size_t i = 0; i < f->range_count; i++) engine_cursor_free(cursors[i]);
    return e;
}

/* ---- markers: the range's number, and the key of the first row of the next page without its owner -- */

static err bad_marker(void) {
    return err_fail(ERR_OUT_OF_RANGE_INPUT, "marker is not one that this search gave");
}

static err read_marker(find *f, slice *ret_from) {
    slice m = f->q->marker, raw;
    *ret_from = SLICE_NONE;
    if (m.len == 0) return choose(f);
    if (m.p[0] != MARKER_VERSION || base64url_get(f->c.arena, slice_skip(m, 1), &raw) != OK ||
        raw.len < 2 || slice_find(raw, 0, 0) < raw.len)
        return bad_marker();
    f->range = (size_t)raw.p[0] - 1;
    raw = slice_skip(raw, 1);
    index_key k;
    if (f->range >= f->range_count || raw.len > sizeof k.b - 1 - KEY_ID_LEN) return bad_marker();
    key_index(&k, (char)kind_of(f), f->k ? f->k->id : f->account->id);
    key_index_add(&k, raw);
    *ret_from = arena_dup(f->c.arena, key_index_slice(&k));
    return OK;
}

static void end_before(find *f, slice key) {
    buf raw, b;
    buf_init_arena(&raw, f->c.arena, ENGINE_KEY_MAX);
    buf_init_arena(&b, f->c.arena, (size_t)2 * ENGINE_KEY_MAX);
    buf_byte(&raw, (uint8_t)(f->range + 1));
    buf_put(&raw, slice_skip(key, 1 + KEY_ID_LEN));
    buf_byte(&b, MARKER_VERSION);
    base64url_put(&b, buf_slice(&raw));
    MUST(!raw.failed && !b.failed);
    f->next = buf_slice(&b);
    f->ended = true;
}

/* ---- containers of an account ---- */

/* Whether what is in a container may not be found. */
static bool hidden(const find *f, const store_guard *g) {
    return f->q->unstated && g->purpose;
}

static bool is_container(const find *f, slice name, uint64_t id, bool *ret_hidden) {
    const store_container *k;
    arena_reset(f->scratch);
    store_call c = {.arena = f->scratch};
    if (store_container_get(f->s, c, f->account, name, &k) != OK) {
        err_clear();
        return false;
    }
    bool same = k->id == id;
    *ret_hidden = hidden(f, &k->guard);
    store_container_unref(k);
    return same;
}

/* A container that was renamed since the row was written: its id is looked for in all of the
 * account's. */
static err search_container(find *f, uint64_t id, slice *ret) {
    short_key low, high;
    key_container(&low, f->account->id, SLICE_NONE);
    high = low;
    key_end(&high);
    engine_cursor *cur;
    TRY(engine_scan(f->s->engine, ENGINE_META, key_slice(&low), key_slice(&high), &cur));
    err e;
    for (;;) {
        slice key, value;
        bool more;
        row_container row;
        TRY_TO(out, engine_cursor_next(cur, &key, &value, &more));
        if (!more) break;
        TRY_TO(out, row_container_get(value, &row));
        if (row.id != id) continue;
        if (hidden(f, &row.guard)) break;
        *ret = arena_dup(f->names, slice_skip(key, 1 + KEY_ID_LEN));
        break;
    }
out:
    engine_cursor_free(cur);
    return e;
}

/* The name of the container with this id, empty when it is gone or hidden. hint: what it was called. */
static err container_name(find *f, uint64_t id, slice hint, slice *ret) {
    if (f->k) {
        *ret = f->k->name;
        return OK;
    }
    known_container **bucket = &f->known[id % KNOWN_BUCKETS];
    for (const known_container *n = *bucket; n; n = n->next)
        if (n->id == id) {
            *ret = n->name;
            return OK;
        }
    known_container *n = arena_alloc(f->names, sizeof *n);
    *n = (known_container){.id = id, .next = *bucket};
    bool hides;
    if (is_container(f, hint, id, &hides))
        n->name = hides ? SLICE_NONE : arena_dup(f->names, hint);
    else
        TRY(search_container(f, id, &n->name));
    *bucket = n;
    *ret = n->name;
    return OK;
}

/* ---- the walk ---- */

static bool names_tag(const store_tag_query *q, slice key) {
    for (size_t i = 0; i < q->count; i++)
        if (q->tokens[i].op < TAG_TRUE && slice_eq(q->tokens[i].key, key)) return true;
    return false;
}

static err list_found(find *f, slice key, store_found *b) {
    if (f->listed == f->q->max) {
        end_before(f, key);
        return OK;
    }
    err e = f->each(f->ctx, b);
    if (e == ERR_TOO_LARGE && f->listed > 0) {
        end_before(f, key);
        return OK;
    }
    f->listed++;
    return e;
}

static err find_row(find *f, slice key, slice value) {
    index_parts parts;
    row_index row;
    pair all[STORE_TAGS_MAX], named[STORE_TAGS_MAX];
    TRY(key_index_take(key, &parts));
    TRY(row_index_get(value, &row));
    if (row.expires_us != STORE_TIME_NONE && clock_wall_us() >= row.expires_us) return OK;
    TRY(row_tags_get(row.tags, row.tag_count, all));
    if (!store_tag_query_true(f->q->query, all, row.tag_count)) return OK;
    store_found b = {.tags = named};
    TRY(container_name(f, parts.container, row.container, &b.container));
    if (b.container.len == 0) return OK;
    for (size_t i = 0; i < row.tag_count; i++)
        if (names_tag(f->q->query, all[i].name)) named[b.tag_count++] = all[i];
    b.name = name_unescape(f->unescaped, parts.escaped);
    return list_found(f, key, &b);
}

static err walk(find *f) {
    for (size_t n = 0; !f->ended; n++) {
        slice key, value;
        bool more;
        TRY(engine_cursor_next(f->cur, &key, &value, &more));
        if (!more) return OK;
        if (n == VISITED_MAX) {
            end_before(f, key);
            return OK;
        }
        f->visited++;
        TRY(find_row(f, key, value));
    }
    return OK;
}

static err find_in(find *f) {
    const store_tag_query *q = f->q->query;
    slice from;
    if (f->k && q->has_container && !slice_eq(q->container, f->k->name)) return OK;
    for (size_t i = 0; i < q->count; i++)
        if (q->tokens[i].op < TAG_TRUE) narrow(f, &q->tokens[i]);
    TRY(read_marker(f, &from));
    TRY(open_range(f, &f->ranges[f->range], from, &f->cur));
    return f->cur ? walk(f) : OK;
}

/* A search through the account that names a container is one through that container. */
static err find_where(find *f) {
    const store_tag_query *q = f->q->query;
    const store_container *k;
    if (f->k || !q->has_container) return find_in(f);
    err e = store_container_get(f->s, f->c, f->account, q->container, &k);
    if (e == ERR_CONTAINER_NOT_FOUND) return OK;
    TRY(e);
    f->k = k;
    e = hidden(f, &k->guard) ? OK : find_in(f);
    store_container_unref(k);
    return e;
}

err store_blob_find(store *s, store_call c, const store_account *a, const store_container *k,
                    const store_find *q, err (*each)(void *ctx, const store_found *b), void *ctx,
                    slice *ret_next, size_t *ret_visited) {
    if (c.nowait) return ERR_WOULD_BLOCK;
    ENSURE(q->max >= 1 && q->max <= STORE_LIST_MAX, ERR_OUT_OF_RANGE_QUERY_PARAMETER_VALUE,
           "maxresults is 1 to %d", STORE_LIST_MAX);
    find *f = calloc(1, sizeof *f);
    MUST(f);
    f->s = s;
    f->c = c;
    f->account = a;
    f->k = k;
    f->q = q;
    f->each = each;
    f->ctx = ctx;
    f->names = arena_new(4096, 0);
    f->scratch = arena_new(4096, 0);
    err e = find_where(f);
    if (e == OK) *ret_next = f->ended ? f->next : SLICE_NONE;
    if (ret_visited) *ret_visited = f->visited;
    engine_cursor_free(f->cur);
    arena_free(f->names);
    arena_free(f->scratch);
    free(f);
    return e;
}
