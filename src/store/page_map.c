/* Changes to page maps: see pages.h. */
#include "store/pages.h"

/* ---- rows ---- */

static err unhex16(slice *s, uint64_t *ret) {
    ENSURE(hex64_get(slice_take(*s, 16), ret) == OK, ERR_CORRUPT,
           "the key of a run of pages is damaged");
    *s = slice_skip(*s, 16);
    return OK;
}

err page_run_decode(char kind, slice rest, slice value, page_run *ret) {
    row_run row;
    page_run r = {0};
    TRY(unhex16(&rest, &r.end));
    TRY(row_run_get(value, &row));
    if (kind == KEY_OLD_RUN)
        TRY(unhex16(&rest, &r.born));
    else
        r.born = row.born;
    r.start = row.start;
    r.died = row.died;
    r.piece = row.piece;
    r.skip = row.skip;
    ENSURE(rest.len == 0 && r.start < r.end && (r.start | r.end | r.skip) % STORE_PAGE_LEN == 0 &&
               (kind == KEY_OLD_RUN) == (r.died > 0) && (r.died == 0 || r.born < r.died),
           ERR_CORRUPT, "a run of pages is damaged");
    *ret = r;
    return OK;
}

err page_frozen_decode(slice rest, uint64_t *ret_generation) {
    uint64_t v;
    TRY(unhex16(&rest, &v));
    ENSURE(rest.len == 0, ERR_CORRUPT, "the key of a frozen generation is damaged");
    *ret_generation = UINT64_MAX - v;
    return OK;
}

err page_scan(engine *e, blob_key *key, char kind, uint64_t content, slice from,
              engine_cursor **ret) {
    blob_key upper = *key;
    slice all = key_pages(&upper, kind, content);
    upper.b[1 + all.len] = 0xff;
    slice high = slice_of(all.p, all.len + 1);
    return engine_scan(e, ENGINE_BLOCK, from.len ? from : key_pages(key, kind, content), high, ret);
}

err page_piece_get(engine *e, arena *a, blob_key *key, uint64_t content, uint64_t piece,
                   row_page_piece *ret) {
    slice value;
    TRY(engine_get(e, ENGINE_BLOCK, key_page_piece(key, content, piece), a, false, &value));
    TRY(row_page_piece_get(value, ret));
    ret->piece.id = piece;
    return OK;
}

/* ---- counts ---- */

void page_lose(page_losses *l, arena *a, uint64_t piece, uint64_t pages) {
    if (l->count == l->room) {
        size_t room = l->room ? 2 * l->room : 16;
        l->p = arena_grow_try(a, l->p, l->room * sizeof *l->p, room * sizeof *l->p);
        MUST(l->p);
        l->room = room;
    }
    l->p[l->count++] = (page_loss){piece, pages};
}

static int by_piece(const void *a, const void *b) {
    uint64_t x = ((const page_loss *)a)->piece, y = ((const page_loss *)b)->piece;
    return x < y ? -1 : x > y;
}

static err settle_one(engine *e, engine_txn *t, arena *a, blob_key *key, uint64_t content,
                      page_loss lost, row_page_piece *ret) {
    err got = page_piece_get(e, a, key, content, lost.piece, ret);
    if (got == ERR_NOT_FOUND)
        return err_fail(ERR_CORRUPT, "the piece of a run of pages is missing");
    TRY(got);
    ENSURE(lost.pages <= ret->pages, ERR_CORRUPT, "a piece of pages counts too few of them");
    ret->pages -= lost.pages;
    engine_txn_put(t, ENGINE_BLOCK, key_page_piece(key, content, lost.piece),
                   ROW_ENCODE(page_piece, a, ret));
    return OK;
}

err page_settle(engine *e, engine_txn *t, arena *a, blob_key *key, uint64_t content, page_losses *l,
                void (*each)(void *ctx, const row_piece *p), void *ctx) {
    if (l->count) qsort(l->p, l->count, sizeof *l->p, by_piece);
    for (size_t i = 0; i < l->count;) {
        page_loss sum = l->p[i++];
        while (i < l->count && l->p[i].piece == sum.piece) sum.pages += l->p[i++].pages;
        row_page_piece row;
        TRY(settle_one(e, t, a, key, content, sum, &row));
        if (row.pages == 0) each(ctx, &row.piece);
    }
    return OK;
}

/* ---- splicing ---- */

typedef struct splice {
    change *ch;
    uint64_t content, generation, begin, end;
    bool has_frozen;
    uint64_t newest; /* of the frozen generations */
    page_losses lost;
} splice;

static void put_run(splice *s, const page_run *r) {
    row_run row = {.start = r->start, .piece = r->piece, .skip = r->skip, .born = r->born};
    engine_txn_put(s->ch->txn, ENGINE_BLOCK, key_run(&s->ch->key, s->content, r->end),
                   ROW_ENCODE(run, s->ch->arena, &row));
}

static void put_old_run(splice *s, const page_run *r) {
    row_run row = {.start = r->start, .piece = r->piece, .skip = r->skip, .died = s->generation};
    engine_txn_put(s->ch->txn, ENGINE_BLOCK, key_old_run(&s->ch->key, s->content, r->end, r->born),
                   ROW_ENCODE(run, s->ch->arena, &row));
}

/* The part of r between start and end. */
static page_run part_of(const page_run *r, uint64_t start, uint64_t end) {
    page_run p = *r;
    p.skip += start - r->start;
    p.start = start;
    p.end = end;
    return p;
}

static void splice_run(splice *s, const page_run *r) {
    uint64_t from = r->start > s->begin ? r->start : s->begin;
    uint64_t to = r->end < s->end ? r->end : s->end;
    page_run left = part_of(r, r->start, from), gone = part_of(r, from, to),
             right = part_of(r, to, r->end);
    if (to == r->end)
        engine_txn_delete(s->ch->txn, ENGINE_BLOCK, key_run(&s->ch->key, s->content, r->end));
    else
        put_run(s, &right); /* under the key it had */
    if (left.start < left.end) put_run(s, &left);
    if (s->has_frozen && r->born <= s->newest)
        put_old_run(s, &gone);
    else
        page_lose(&s->lost, s->ch->arena, r->piece, (to - from) / STORE_PAGE_LEN);
}

/* Generations sort from the newest. */
static err find_newest(splice *s) {
    if (s->generation == 0) return OK; /* nothing was ever frozen */
    engine_cursor *cur;
    slice k, v;
    TRY(page_scan(s->ch->s->engine, &s->ch->key, KEY_FROZEN, s->content, SLICE_NONE, &cur));
    size_t prefix = key_pages(&s->ch->key, KEY_FROZEN, s->content).len;
    err e = engine_cursor_next(cur, &k, &v, &s->has_frozen);
    if (e == OK && s->has_frozen) e = page_frozen_decode(slice_skip(k, prefix), &s->newest);
    engine_cursor_free(cur);
    return e;
}

static err splice_rows(splice *s, engine_cursor *cur, size_t prefix, uint64_t *ret_done) {
    for (size_t n = 0;; n++) {
        slice k, v;
        bool more;
        page_run r;
        TRY(engine_cursor_next(cur, &k, &v, &more));
        if (!more) break;
        TRY(page_run_decode(KEY_RUN, slice_skip(k, prefix), v, &r));
        if (r.start >= s->end) break;
        if (n == PAGE_SPLICE_MAX) {
            *ret_done = r.start;
            return OK;
        }
        splice_run(s, &r);
    }
    *ret_done = s->end;
    return OK;
}

static void drop_piece(void *ctx, const row_piece *p) {
    splice *s = ctx;
    change_drop_page_piece(s->ch, s->content, p);
}

err page_splice(change *ch, const row_blob *row, uint64_t begin, uint64_t end, uint64_t *ret_done) {
    splice s = {.ch = ch,
                .content = row->pub.content_id,
                .generation = row->generation,
                .begin = begin,
                .end = end};
    engine_cursor *cur;
    TRY(find_newest(&s));
    size_t prefix = key_pages(&ch->key, KEY_RUN, s.content).len;
    slice from = arena_dup(ch->arena, key_run(&ch->key, s.content, begin + 1));
    TRY(page_scan(ch->s->engine, &ch->key, KEY_RUN, s.content, from, &cur));
    err e = splice_rows(&s, cur, prefix, ret_done);
    engine_cursor_free(cur);
    TRY(e);
    return page_settle(ch->s->engine, ch->txn, ch->arena, &ch->key, s.content, &s.lost, drop_piece,
                       &s);
}

void page_put(change *ch, const row_blob *row, uint64_t begin, const row_piece *piece) {
    splice s = {.ch = ch, .content = row->pub.content_id};
    page_run r = {
        .start = begin, .end = begin + piece->len, .born = row->generation, .piece = piece->id};
    put_run(&s, &r);
    row_page_piece p = {.piece = *piece,
                        .pages = piece->len / STORE_PAGE_LEN,
                        .key_sha256 = row->pub.key_sha256,
                        .scope = row->pub.scope};
    engine_txn_put(ch->txn, ENGINE_BLOCK, key_page_piece(&ch->key, s.content, piece->id),
                   ROW_ENCODE(page_piece, ch->arena, &p));
}
