/* Giving back what only a dropped state of a page blob showed: see pages.h.
 *
 * Everything is in batches of one transaction each, that delete runs and lower the counts of their
 * pieces; a piece that nothing names any more becomes garbage with the last, since a reader of the
 * current state may have met it before it was written over. Which generations are still shown is
 * read again in each batch, since states come and go in between. A batch that was done is not found
 * again, so a sweep may be begun again at any point. */
#include "store/pages.h"

#define SWEEP_SCANNED 4096
#define SWEEP_DELETED 512

/* ---- which generations are shown ---- */

static void add_shown(page_states *w, uint64_t generation) {
    if (w->count == w->room) {
        size_t room = w->room ? 2 * w->room : 16;
        w->shown =
            arena_grow_try(w->mem, w->shown, w->room * sizeof *w->shown, room * sizeof *w->shown);
        MUST(w->shown);
        w->room = room;
    }
    w->shown[w->count++] = generation;
}

static err load_current(page_states *w, engine *en, blob_key *key, uint64_t content) {
    slice value;
    row_blob row;
    err e = engine_get(en, ENGINE_BLOB, key_state(key), w->mem, false, &value);
    if (e == ERR_NOT_FOUND) return OK;
    TRY(e);
    TRY(row_blob_get(value, &row));
    w->live = row.where == ROW_PAGES && row.pub.content_id == content;
    if (w->live) add_shown(w, row.generation);
    return OK;
}

err page_states_load(page_states *w, engine *en, arena *a, blob_key *key, uint64_t content,
                     const uint64_t *without) {
    engine_cursor *cur;
    err e;
    *w = (page_states){.mem = a};
    TRY(load_current(w, en, key, content));
    size_t prefix = key_pages(key, KEY_FROZEN, content).len;
    TRY(page_scan(en, key, KEY_FROZEN, content, SLICE_NONE, &cur));
    for (;;) {
        slice k, v;
        bool more;
        uint64_t generation;
        TRY_TO(out, engine_cursor_next(cur, &k, &v, &more));
        if (!more) break;
        TRY_TO(out, page_frozen_decode(slice_skip(k, prefix), &generation));
        if (!without || generation != *without) add_shown(w, generation);
    }
out:
    engine_cursor_free(cur);
    return e;
}

/* The current state's generation, if there is one, is higher than all that are frozen. */
bool page_shown(const page_states *w, char kind, const page_run *r) {
    size_t low = 0, high = w->count; /* the first that is older than born */
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (w->shown[mid] >= r->born)
            low = mid + 1;
        else
            high = mid;
    }
    return low > 0 && (kind == KEY_RUN || w->shown[low - 1] < r->died);
}

/* ---- sweeping ---- */

typedef struct sweep {
    store *s;
    uint64_t container, content, generation;
    slice name;
    /* In one batch. */
    change ch;
    page_states states;
} sweep;

static void drop_piece(void *ctx, const row_piece *p) {
    sweep *w = ctx;
    change_drop_page_piece(&w->ch, w->content, p);
}

static err sweep_rows(sweep *w, char kind, engine_cursor *cur, buf *from, bool *ret_more) {
    change *ch = &w->ch;
    page_losses lost = {0};
    size_t prefix = key_pages(&ch->key, kind, w->content).len;
    *ret_more = true;
    for (size_t n = 0; n < SWEEP_SCANNED && lost.count < SWEEP_DELETED; n++) {
        slice k, v;
        page_run r;
        TRY(engine_cursor_next(cur, &k, &v, ret_more));
        if (!*ret_more) break;
        TRY(page_run_decode(kind, slice_skip(k, prefix), v, &r));
        if (!page_shown(&w->states, kind, &r)) {
            engine_txn_delete(ch->txn, ENGINE_BLOCK, k);
            page_lose(&lost, ch->arena, r.piece, (r.end - r.start) / STORE_PAGE_LEN);
        }
        buf_reset(from);
        buf_put(from, k);
        buf_byte(from, '0'); /* behind it: keys of one kind have one length */
    }
    return page_settle(w->s->engine, ch->txn, ch->arena, &ch->key, w->content, &lost, drop_piece,
                       w);
}

static err sweep_batch(sweep *w, arena *mem, char kind, buf *from, bool *ret_more) {
    change *ch = &w->ch;
    engine_cursor *cur = NULL;
    err e;
    *ret_more = false;
    TRY(change_begin_unchecked(ch, w->s, mem, w->container, w->name));
    TRY_TO(out,
           page_states_load(&w->states, w->s->engine, mem, &ch->key, w->content, &w->generation));
    if (kind == KEY_RUN && w->states.live) goto out; /* shows them all */
    TRY_TO(out, page_scan(w->s->engine, &ch->key, kind, w->content, buf_slice(from), &cur));
    TRY_TO(out, sweep_rows(w, kind, cur, from, ret_more));
    e = change_commit(ch);
out:
    engine_cursor_free(cur);
    change_done(ch);
    return e;
}

static err sweep_kind(sweep *w, char kind) {
    buf from;
    bool more = true;
    err e = OK;
    buf_init(&from, ENGINE_KEY_MAX);
    while (more && e == OK) {
        arena *mem = arena_new(64 << 10, 0);
        e = atomic_load(&w->s->stopping) && w->s->background
                ? ERR_CANCELLED
                : sweep_batch(w, mem, kind, &from, &more);
        arena_free(mem);
    }
    buf_done(&from);
    return e;
}

err page_sweep(store *s, uint64_t container, slice name, uint64_t content, uint64_t generation) {
    sweep w = {
        .s = s, .container = container, .name = name, .content = content, .generation = generation};
    TRY(sweep_kind(&w, KEY_OLD_RUN));
    return sweep_kind(&w, KEY_RUN);
}
