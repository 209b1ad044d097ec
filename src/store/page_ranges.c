/* Get Page Ranges: what was written, or what changed since a snapshot. Two states show the same page
 * where their runs name the same place of the same piece, since a piece is written once: so changes are
 * found by walking both maps, whichever generations they show, without reading a page. */
#include "store/pages.h"

/* Runs that a page of ranges passes at most: many runs may be one range. */
#define RANGE_RUNS_MAX 1000000

/* ---- segments: runs of one state, or differences of two ---- */

typedef struct side {
    page_iter it;
    page_run run; /* what is left of the one that it stands at */
    bool there;
} side;

typedef struct segments {
    side now, before;
    bool differs; /* between the two */
} segments;

static err step(side *d) {
    return page_iter_next(&d->it, &d->run, &d->there);
}

/* Leaves what begins at `at`. */
static err advance(side *d, uint64_t at) {
    if (!d->there || d->run.start >= at) return OK;
    if (d->run.end <= at) return step(d);
    d->run.skip += at - d->run.start;
    d->run.start = at;
    return OK;
}

static uint64_t start_of(const side *d) {
    return d->there ? d->run.start : UINT64_MAX;
}

/* The next stretch of pages that are in one run of each side, or in none. */
static err next_difference(segments *s, store_page_range *ret, bool *ret_same, bool *ret_more) {
    uint64_t a = start_of(&s->now), b = start_of(&s->before), end;
    *ret_more = s->now.there || s->before.there;
    if (!*ret_more) return OK;
    *ret = (store_page_range){.start = a < b ? a : b, .cleared = b < a};
    if (a < b)
        end = s->now.run.end < b ? s->now.run.end : b;
    else if (b < a)
        end = s->before.run.end < a ? s->before.run.end : a;
    else
        end = s->now.run.end < s->before.run.end ? s->now.run.end : s->before.run.end;
    *ret_same =
        a == b && s->now.run.piece == s->before.run.piece && s->now.run.skip == s->before.run.skip;
    ret->end = end;
    TRY(advance(&s->now, end));
    return advance(&s->before, end);
}

static err next_segment(segments *s, store_page_range *ret, bool *ret_same, bool *ret_more) {
    if (s->differs) return next_difference(s, ret, ret_same, ret_more);
    *ret_same = false;
    *ret_more = s->now.there;
    if (!*ret_more) return OK;
    *ret = (store_page_range){.start = s->now.run.start, .end = s->now.run.end};
    return step(&s->now);
}

static void segments_done(segments *s) {
    page_iter_done(&s->now.it);
    page_iter_done(&s->before.it);
}

/* ---- ranges ---- */

typedef struct ranges {
    const store_page_query *q;
    uint64_t end;
    err (*each)(void *ctx, store_page_range r);
    void *ctx;
    store_page_range open; /* being put together; empty: none */
    size_t listed;
} ranges;

static err emit(ranges *l) {
    if (l->open.start == l->open.end) return OK;
    l->listed++;
    err e = l->each(l->ctx, l->open);
    l->open.start = l->open.end;
    return e;
}

/* *ret_next stays 0 when all were listed. */
static err walk(ranges *l, segments *s, uint64_t *ret_next) {
    for (size_t n = 0;; n++) {
        store_page_range r;
        bool more, same;
        TRY(next_segment(s, &r, &same, &more));
        if (!more || r.start >= l->end) return emit(l);
        if (r.end > l->end) r.end = l->end;
        bool joins = l->open.start < l->open.end && l->open.end == r.start &&
                     l->open.cleared == r.cleared && !same;
        if (!joins || n >= RANGE_RUNS_MAX) TRY(emit(l));
        if ((l->listed == l->q->max && !same) || n >= RANGE_RUNS_MAX) {
            *ret_next = r.start;
            return OK;
        }
        if (same) continue;
        if (l->open.start == l->open.end) l->open = (store_page_range){r.start, r.start, r.cleared};
        l->open.end = r.end;
    }
}

static err open_side(side *d, store *s, blob_key *key, const row_blob *row, uint64_t from) {
    TRY(page_iter_open(&d->it, s->engine, key, row->pub.content_id, row->generation, from));
    return step(d);
}

/* "Get Page Ranges": the snapshot must be an earlier one of the same blob. */
static err open_before(segments *seg, store *s, store_call c, const store_container *k, slice name,
                       const store_page_query *q, const row_blob *now) {
    blob_key key;
    row_blob row;
    ENSURE(!q->pick.snapshot || q->since <= q->pick.snapshot, ERR_PREVIOUS_SNAPSHOT_CANNOT_BE_NEWER,
           "prevsnapshot is later than snapshot");
    err e = blob_read_row(s, c, k, name, (store_pick){.snapshot = q->since}, NULL, &key, &row);
    ENSURE(e != ERR_BLOB_NOT_FOUND, ERR_PREVIOUS_SNAPSHOT_NOT_FOUND,
           "prevsnapshot is not a snapshot of this blob");
    TRY(e);
    ENSURE(row.where == ROW_PAGES && row.pub.content_id == now->pub.content_id,
           ERR_BLOB_OVERWRITTEN, "take a new snapshot and read all of it");
    seg->differs = true;
    return open_side(&seg->before, s, &key, &row, q->offset);
}

static err open_once(store *s, store_call c, const store_container *k, slice name,
                     const store_conditions *cond, const store_page_query *q, store_blob *ret,
                     segments *seg) {
    blob_key key;
    row_blob row, again;
    TRY(blob_read_row(s, c, k, name, q->pick, cond, &key, &row));
    TRY(blob_of_type(&row, STORE_PAGE_BLOB));
    ENSURE(q->offset < row.pub.length || q->whole, ERR_INVALID_RANGE,
           "the range begins at %llu, the blob has %llu bytes", (unsigned long long)q->offset,
           (unsigned long long)row.pub.length);
    TRY(open_side(&seg->now, s, &key, &row, q->offset));
    if (q->since) TRY(open_before(seg, s, c, k, name, q, &row));
    /* The map as the row's ETag names it. */
    TRY(blob_read_row(s, c, k, name, q->pick, NULL, &key, &again));
    if (again.pub.etag != row.pub.etag) return ERR_CONFLICT;
    return blob_from_row(c.arena, name, &row, ret);
}

err store_page_ranges(store *s, store_call c, const store_container *k, slice name,
                      const store_conditions *cond, const store_page_query *q, store_blob *ret,
                      err (*each)(void *ctx, store_page_range r), void *ctx, uint64_t *ret_next) {
    if (c.nowait) return ERR_WOULD_BLOCK;
    segments seg = {0};
    err e = container_current(s, c.arena, false, container_of(k));
    for (int try = 1; e == OK; try++) {
        e = open_once(s, c, k, name, cond, q, ret, &seg);
        if (e != ERR_CONFLICT || try == STORE_CONFLICT_TRIES) break;
        segments_done(&seg);
        seg = (segments){0};
        e = OK;
    }
    *ret_next = 0;
    if (e == OK) {
        ranges l = {.q = q, .end = ret->length, .each = each, .ctx = ctx};
        if (q->length < l.end - q->offset) l.end = q->offset + q->length;
        e = walk(&l, &seg, ret_next);
    }
    segments_done(&seg);
    return e;
}
