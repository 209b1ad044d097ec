/* Page maps: where each page of a page blob stands. docs/decisions/0011-append-and-page.md says why.
 *
 * A map belongs to a content id. Its rows (keys.h) are
 *   runs       pages [start, end) stand in one piece one behind the other; what no run covers is zeros
 *   old runs   the same, for pages that were written over or cleared since, and that a frozen state
 *              of the blob still shows
 *   pieces     what one Put Page brought, and how many of its pages runs and old runs still name
 *   frozen     generations of the map that some state other than the current one shows
 *
 * A state of the blob shows one generation g: a run with born <= g, and an old run with born <= g < died.
 * Writing changes the map under the current state's generation. Freezing that state is one row and the
 * next number for the current state, however large the map is.
 *
 * Invariants
 *  1. No two runs of one generation's view overlap; a row's pages lie in [skip, skip + pages) of its piece.
 *  2. A piece's count is the number of its pages in runs and old runs. Each page of a piece is in at most
 *     one of them, since a piece is written once.
 *  3. The piece whose count becomes 0 is named in a garbage row of the same change; its row stays
 *     until the garbage is collected, for readers.
 *  4. A state that is dropped leaves its frozen row until the reaper has swept what only it showed. So
 *     a sweep never takes what a reader of another dropped state may be reading. */
#pragma once

#include "store/internal.h"

/* Rows that one transaction takes out of a map. A Put Page meets at most so many runs. */
#define PAGE_SPLICE_MAX  (STORE_PAGE_WRITE_MAX / STORE_PAGE_LEN)
#define PAGE_WINDOW_RUNS 1024

typedef struct page_run {
    uint64_t start, end, born, died, piece, skip;
} page_run;

/* ---- page_map.c ---- */

/* Takes [begin, end) out of the current view, as far as one transaction goes: to *ret_done. */
err page_splice(change *ch, const row_blob *row, uint64_t begin, uint64_t end,
                uint64_t *ret_done) CHECKED;
/* Puts a piece there; the range was spliced. */
void page_put(change *ch, const row_blob *row, uint64_t begin, const row_piece *piece);

/* Pages that went from a piece. */
typedef struct page_loss {
    uint64_t piece, pages;
} page_loss;
typedef struct page_losses {
    page_loss *p;
    size_t count, room;
} page_losses;
void page_lose(page_losses *l, arena *a, uint64_t piece, uint64_t pages);
/* Lowers the counts. each: called for pieces that nothing names any more. */
err page_settle(engine *e, engine_txn *t, arena *a, blob_key *key, uint64_t content, page_losses *l,
                void (*each)(void *ctx, const row_piece *p), void *ctx) CHECKED;
/* The row of a piece, its slices in the arena. ERR_NOT_FOUND. */
err page_piece_get(engine *e, arena *a, blob_key *key, uint64_t content, uint64_t piece,
                   row_page_piece *ret) CHECKED;
/* A row of runs (rest: the key behind the content id). */
err page_run_decode(char kind, slice rest, slice value, page_run *ret) CHECKED;
/* ERR_CORRUPT */
err page_frozen_decode(slice rest, uint64_t *ret_generation) CHECKED;
/* Walks all rows of one kind of a map. */
err page_scan(engine *e, blob_key *key, char kind, uint64_t content, slice from,
              engine_cursor **ret) CHECKED;

/* ---- page_read.c ---- */

/* The runs that a generation shows, in order, clipped to what lies at or behind `from`. */
typedef struct page_iter {
    engine_cursor *cur[2]; /* runs, old runs */
    size_t prefix_len;
    uint64_t generation, at;
    page_run next[2];
    bool has[2];
} page_iter;
err page_iter_open(page_iter *it, engine *e, blob_key *key, uint64_t content, uint64_t generation,
                   uint64_t from) CHECKED;
err page_iter_next(page_iter *it, page_run *ret, bool *ret_more) CHECKED;
void page_iter_done(page_iter *it);

/* Some runs, as one moment had them. */
typedef struct page_window {
    uint64_t begin, end; /* what it knows about */
    size_t count;
    page_run runs[PAGE_WINDOW_RUNS];
} page_window;
err page_window_load(page_window *w, engine *e, blob_key *key, uint64_t content,
                     uint64_t generation, uint64_t offset, uint64_t length) CHECKED;
/* The run at offset (in the window), or NULL and in *ret_end where the hole ends. */
const page_run *page_window_find(const page_window *w, uint64_t offset, uint64_t *ret_end);

/* ---- page_sweep.c ---- */

/* The generations of a map that states show. */
typedef struct page_states {
    arena *mem;
    uint64_t *shown; /* falling */
    size_t count, room;
    bool live; /* the current state shows this map, and so its newest */
} page_states;
/* without: a generation not to count, or NULL. */
err page_states_load(page_states *w, engine *e, arena *a, blob_key *key, uint64_t content,
                     const uint64_t *without) CHECKED;
bool page_shown(const page_states *w, char kind, const page_run *r);

/* The reaper's: a state that showed this generation is gone, and nobody reads it. */
err page_sweep(store *s, uint64_t container, slice name, uint64_t content,
               uint64_t generation) CHECKED;
