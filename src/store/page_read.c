/* Reading page maps: see pages.h. */
#include "store/pages.h"

enum { NOW, OLD };
static const char kinds[] = {KEY_RUN, KEY_OLD_RUN};

/* The next run of one kind that is shown. */
static err fetch(page_iter *it, int i) {
    for (;;) {
        slice k, v;
        page_run r;
        TRY(engine_cursor_next(it->cur[i], &k, &v, &it->has[i]));
        if (!it->has[i]) return OK;
        TRY(page_run_decode(kinds[i], slice_skip(k, it->prefix_len), v, &r));
        if (r.born > it->generation || (i == OLD && r.died <= it->generation)) continue;
        it->next[i] = r;
        return OK;
    }
}

/* Runs first: one that is written over between the two is then met twice, which next sees to, and not
 * missed. */
err page_iter_open(page_iter *it, engine *e, blob_key *key, uint64_t content, uint64_t generation,
                   uint64_t from) {
    *it = (page_iter){.generation = generation, .at = from};
    it->prefix_len = key_pages(key, KEY_RUN, content).len;
    for (int i = NOW; i <= OLD; i++) {
        blob_key low = *key;
        slice begin =
            i == NOW ? key_run(&low, content, from + 1) : key_old_run(&low, content, from + 1, 0);
        err got = page_scan(e, key, kinds[i], content, begin, &it->cur[i]);
        if (got != OK) {
            page_iter_done(it);
            return got;
        }
    }
    err got = fetch(it, NOW);
    if (got == OK) got = fetch(it, OLD);
    if (got != OK) page_iter_done(it);
    return got;
}

err page_iter_next(page_iter *it, page_run *ret, bool *ret_more) {
    for (;;) {
        if (!it->has[NOW] && !it->has[OLD]) {
            *ret_more = false;
            return OK;
        }
        bool old = !it->has[NOW] || (it->has[OLD] && it->next[OLD].start < it->next[NOW].start);
        page_run r = it->next[old];
        TRY(fetch(it, old));
        if (r.start < it->at) {
            r.skip += it->at - r.start;
            r.start = it->at;
        }
        if (r.start >= r.end) continue;
        it->at = r.end;
        *ret = r;
        *ret_more = true;
        return OK;
    }
}

void page_iter_done(page_iter *it) {
    for (int i = NOW; i <= OLD; i++) it->cur[i] = engine_cursor_free(it->cur[i]);
}

/* ---- windows ---- */

err page_window_load(page_window *w, engine *e, blob_key *key, uint64_t content,
                     uint64_t generation, uint64_t offset, uint64_t length) {
    page_iter it;
    w->count = 0;
    w->begin = w->end = offset;
    TRY(page_iter_open(&it, e, key, content, generation, offset));
    bool more = true;
    err got = OK;
    while (w->count < PAGE_WINDOW_RUNS) {
        got = page_iter_next(&it, &w->runs[w->count], &more);
        if (got != OK || !more) break;
        w->count++;
    }
    page_iter_done(&it);
    if (got == OK) w->end = more ? w->runs[w->count - 1].end : length;
    return got;
}

const page_run *page_window_find(const page_window *w, uint64_t offset, uint64_t *ret_end) {
    size_t low = 0, high = w->count; /* the first run that ends behind offset */
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (w->runs[mid].end <= offset)
            low = mid + 1;
        else
            high = mid;
    }
    if (low < w->count && w->runs[low].start <= offset) return &w->runs[low];
    *ret_end = low < w->count ? w->runs[low].start : w->end;
    return NULL;
}

/* ---- Get Page Ranges ---- */

/* Runs that a page of ranges passes at most: many runs may be one range. */
#define RANGE_RUNS_MAX 1000000

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
static err walk(ranges *l, page_iter *it, uint64_t *ret_next) {
    for (size_t n = 0;; n++) {
        page_run r;
        bool more;
        TRY(page_iter_next(it, &r, &more));
        if (!more || r.start >= l->end) return emit(l);
        if (r.end > l->end) r.end = l->end;
        bool joins = l->open.start < l->open.end && l->open.end == r.start;
        if (!joins || n >= RANGE_RUNS_MAX) TRY(emit(l));
        if (l->listed == l->q->max || n >= RANGE_RUNS_MAX) {
            *ret_next = r.start;
            return OK;
        }
        if (l->open.start == l->open.end) l->open.start = r.start;
        l->open.end = r.end;
    }
}

static err ranges_once(store *s, store_call c, const store_container *k, slice name,
                       const store_conditions *cond, const store_page_query *q, store_blob *ret,
                       page_iter *it) {
    blob_key key;
    row_blob row, again;
    TRY(blob_read_row(s, c, k, name, q->pick, cond, &key, &row));
    TRY(blob_of_type(&row, STORE_PAGE_BLOB));
    ENSURE(q->offset < row.pub.length || q->whole, ERR_INVALID_RANGE,
           "the range begins at %llu, the blob has %llu bytes", (unsigned long long)q->offset,
           (unsigned long long)row.pub.length);
    TRY(page_iter_open(it, s->engine, &key, row.pub.content_id, row.generation, q->offset));
    /* The map as the row's ETag names it. */
    TRY(blob_read_row(s, c, k, name, q->pick, NULL, &key, &again));
    if (again.pub.etag != row.pub.etag) return ERR_CONFLICT;
    return blob_from_row(c.arena, name, &row, ret);
}

err store_page_ranges(store *s, store_call c, const store_container *k, slice name,
                      const store_conditions *cond, const store_page_query *q, store_blob *ret,
                      err (*each)(void *ctx, store_page_range r), void *ctx, uint64_t *ret_next) {
    if (c.nowait) return ERR_WOULD_BLOCK;
    page_iter it = {0};
    err e = container_current(s, c.arena, false, container_of(k));
    for (int try = 1; e == OK; try++) {
        e = ranges_once(s, c, k, name, cond, q, ret, &it);
        if (e != ERR_CONFLICT || try == STORE_CONFLICT_TRIES) break;
        page_iter_done(&it);
        e = OK;
    }
    *ret_next = 0;
    if (e == OK) {
        ranges l = {.q = q, .end = ret->length, .each = each, .ctx = ctx};
        if (q->length < l.end - q->offset) l.end = q->offset + q->length;
        e = walk(&l, &it, ret_next);
    }
    page_iter_done(&it);
    return e;
}
