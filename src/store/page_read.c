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
