/* Readers: the content of one state of a blob.
 *
 * Small content is opened whole at once and needs no protection. For streams and block lists the
 * reader registers (readers.c), makes sure that its container is current, and only then reads the
 * blob's row that it serves. Of a page map it holds a window of runs; what these name is not released
 * as long as the reader is registered, whatever is written over it. */
#include "store/pages.h"

#define READ_CHUNKS_MAX 16
#define OPEN_TRIES_MAX  100

/* The part of a block list that the reader stands in. */
typedef struct reader_part {
    arena *mem;
    uint64_t start, end;
    row_block *blocks;
    uint64_t *starts; /* offset of each block in the blob */
    size_t count, room;
} reader_part;

struct store_reader {
    store *store;
    struct container *container; /* a reference: its key opens the pieces */
    const crypto_key *kek;       /* that key, or `own` */
    crypto_key own;              /* made of it and of the customer's, or the scope's */
    hot_blob *hot;               /* a reference: the content is there */
    row_where where;
    uint64_t length, content;
    reader_pin pin;
    blob_key *key;             /* lists and page maps, for their rows */
    uint64_t generation, etag; /* page maps; etag: 0 of a state that is frozen */
    page_window *window;       /* page maps */
    reader_part part;          /* lists */
    row_piece piece;           /* the piece that is open; where ROW_EMPTY: none */
    uint64_t piece_start;      /* its offset in the blob */
    arena *mem;                /* what `piece` of a blob put whole points to */
    crypto_message *message;
    uint8_t *sealed;
    size_t sealed_max;
    buf plain; /* inline content; the small piece that is open; the last chunk that was opened in
                  part */
    uint64_t plain_chunk; /* which chunk `plain` holds; UINT64_MAX: none */
    bool keeps_opened;    /* its content may be kept opened */
    uint64_t opened_version;
    opened_segment *held[STORE_PARTS_MAX]; /* references */
    size_t held_count;
};

static void release_held(store_reader *r) {
    while (r->held_count > 0) opened_unref(&r->store->opened, r->held[--r->held_count]);
}

store_reader *store_reader_free(store_reader *r) {
    if (!r) return NULL;
    release_held(r);
    reaper_submit(r->store, readers_leave(&r->store->readers, &r->pin));
    crypto_message_free(r->message);
    crypto_key_wipe(&r->own);
    free(r->sealed);
    if (r->plain.len) crypto_wipe(r->plain.p, r->plain.len);
    buf_done(&r->plain);
    free(r->key);
    free(r->window);
    arena_free(r->part.mem);
    arena_free(r->mem);
    if (r->hot) snap_unref(&r->hot->snap);
    snap_unref(&r->container->snap);
    free(r);
    return NULL;
}

static store_reader *reader_new(store *s, const store_container *k) {
    store_reader *r = calloc(1, sizeof *r);
    MUST(r);
    r->store = s;
    r->container = container_of(k);
    snap_ref(&r->container->snap);
    r->kek = &r->container->secret->key;
    r->plain_chunk = UINT64_MAX;
    return r;
}

bool store_reader_inline(const store_reader *r, slice *ret) {
    if (r->where != ROW_INLINE && r->where != ROW_EMPTY) return false;
    *ret = r->hot ? slice_of(r->hot->plain, r->hot->plain_len) : buf_slice(&r->plain);
    return true;
}

/* ---- opening ---- */

/* ERR_NOT_FOUND when the content is gone already: the blob has changed. */
static err open_inline(store_reader *r, store_call c, blob_key *key, const row_blob *row) {
    slice sealed;
    row_piece p = row_blob_piece(row);
    TRY(engine_get(r->store->engine, ENGINE_CONTENT, key_content(key, p.id), c.arena, c.nowait,
                   &sealed));
    buf_init(&r->plain, p.len);
    return piece_open_small(r->kek, r->container->pub.id, &p, sealed, &r->plain);
}

/* What is needed after the row's arena has gone. */
static void keep(store_reader *r, const blob_key *key, const row_blob *row) {
    r->where = row->where;
    r->length = row->pub.length;
    r->content = row->pub.content_id;
    /* Of a page blob, bytes under one content id change; what is under a customer's key opens to
     * those only who bring it. */
    r->keeps_opened = row->pub.type != STORE_PAGE_BLOB && row->pub.key_sha256.len == 0;
    if (row->where == ROW_STREAM) {
        r->mem = arena_new(256, 64 << 10);
        r->piece = row_blob_piece(row);
        r->piece.wrapped = arena_dup(r->mem, r->piece.wrapped);
        r->piece.ref = arena_dup(r->mem, r->piece.ref);
    } else if (row->where == ROW_LIST || row->where == ROW_PAGES) {
        r->generation = row->generation;
        r->etag = row->past == ROW_PAST_NONE ? row->pub.etag : 0;
        r->key = malloc(sizeof *r->key);
        MUST(r->key);
        *r->key = *key;
    }
}

/* Registers, then reads the row again. */
static err open_pinned(store_reader *r, store_call c, slice name, store_pick pick,
                       const store_conditions *cond, blob_key *key, row_blob *row) {
    uint64_t hash = slice_hash(key_base(key));
    readers_enter(&r->store->readers, &r->pin, r->container->pub.id, hash);
    r->opened_version = opened_version(&r->store->opened, hash);
    TRY(container_current(r->store, c.arena, c.nowait, r->container));
    return blob_read_row(r->store, c, &r->container->pub, name, pick, cond, key, row);
}

/* Offers what was read to the hot cache. A container that was deleted, or a scope that was disabled
 * meanwhile leaves nothing there: its deletion drops what was added before it, and what comes later is dropped here. */
static void offer(store_reader *r, store_call c, const blob_key *key, const row_blob *row,
                  uint64_t version) {
    if (row->pub.key_sha256.len) return;
    hot_cache *hot = &r->store->hot;
    slice base = key_base(key);
    if (!hot_wants(hot, base)) return;
    hot_add(hot, base, ROW_ENCODE(blob, c.arena, row), buf_slice(&r->plain), version);
    if (container_current(r->store, c.arena, c.nowait, r->container) != OK ||
        scope_check(r->store, c, r->container, row->pub.scope) != OK)
        cache_drop(&hot->cache, base);
}

/* May the caller read this content, and with what does it open? */
static err take_key(store_reader *r, store_call c, const row_blob *row) {
    if (!c.archived) TRY(blob_online(row));
    TRY(store_customer_check(row->pub.key_sha256, c.customer));
    if (row->pub.scope.len) {
        const scope_place place = scope_place_of(r->container);
        r->kek = &r->own;
        return scope_kek(r->store, c, &place, row->pub.scope, c.verifies, &r->own);
    }
    if (!c.customer) return OK;
    customer_kek(&r->container->secret->key, c.customer, &r->own);
    r->kek = &r->own;
    return OK;
}

static err open_once(store_reader *r, store_call c, slice name, store_pick pick,
                     const store_conditions *cond, row_blob *row) {
    blob_key key;
    uint64_t version;
    bool current = !pick.snapshot && !pick.version && !c.verifies; /* only such are in memory */
    if (current)
        TRY(hot_find(r->store, c, &r->container->pub, name, cond, &key, row, &r->hot, &version));
    if (r->hot) {
        TRY(take_key(r, c, row));
        access_note(r->store, r->container, key_base(&key), name, row);
        keep(r, &key, row);
        return OK;
    }
    TRY(blob_read_row(r->store, c, &r->container->pub, name, pick, cond, &key, row));
    if (row->where == ROW_STREAM || row->where == ROW_LIST || row->where == ROW_PAGES)
        TRY(open_pinned(r, c, name, pick, cond, &key, row));
    TRY(take_key(r, c, row));
    if (row->where == ROW_INLINE) {
        TRY(open_inline(r, c, &key, row));
        if (current) offer(r, c, &key, row, version);
    }
    if (row->past == ROW_PAST_NONE && !c.verifies)
        access_note(r->store, r->container, key_base(&key), name, row);
    keep(r, &key, row);
    return OK;
}

err store_blob_open(store *s, store_call c, const store_container *k, slice name, store_pick pick,
                    const store_conditions *cond, store_blob *ret, store_reader **ret_reader) {
    for (int try = 1;; try++) {
        row_blob row;
        store_reader *r = reader_new(s, k);
        err e = open_once(r, c, name, pick, cond, &row);
        if (e == OK) e = blob_from_row(c.arena, name, &row, ret);
        if (e == OK) copy_note_progress(s, ret);
        if (e == OK) {
            entry_touch(c.record, ret);
            *ret_reader = r;
            return OK;
        }
        store_reader_free(r);
        if (e == ERR_NOT_MODIFIED) *ret = blob_unmodified(name, &row);
        if (e != ERR_NOT_FOUND) return e;
        /* Its content went between the two reads. A row whose content stays away is damaged. */
        ENSURE(try < OPEN_TRIES_MAX, ERR_CORRUPT, "the content of blob '%.*s' is missing",
               SLICE_ARG(slice_take(name, 256)));
    }
}

/* ---- pieces ---- */

static void close_piece(store_reader *r) {
    r->message = crypto_message_free(r->message);
    r->plain_chunk = UINT64_MAX;
    buf_reset(&r->plain);
    r->piece = (row_piece){0};
}

static err sealed_room(store_reader *r, size_t n) {
    if (n <= r->sealed_max) return OK;
    free(r->sealed);
    r->sealed = malloc(n);
    MUST(r->sealed);
    r->sealed_max = n;
    return OK;
}

/* Reads chunks first … first+n of the open stream; the first read brings the message's prefix along
 * when it begins at the front. ret: the sealed chunks. */
static err read_chunks(store_reader *r, uint64_t first, uint64_t n, bool nowait, slice *ret) {
    engine *en = r->store->engine;
    uint64_t total = crypto_sealed_len(r->piece.len);
    uint64_t begin = CRYPTO_PREFIX_LEN + first * CRYPTO_SEALED_CHUNK_LEN;
    uint64_t end = begin + n * CRYPTO_SEALED_CHUNK_LEN;
    if (end > total) end = total;
    bool with_prefix = !r->message && first == 0;
    if (with_prefix) begin = 0;
    size_t len = (size_t)(end - begin);
    TRY(sealed_room(r, len));
    if (!r->message && !with_prefix) {
        uint8_t prefix[CRYPTO_PREFIX_LEN];
        TRY(engine_stream_read(en, r->piece.ref, 0, prefix, sizeof prefix, nowait));
        TRY(piece_open_message(r->kek, r->container->pub.id, &r->piece, prefix, &r->message));
    }
    TRY(engine_stream_read(en, r->piece.ref, begin, r->sealed, len, nowait));
    *ret = slice_of(r->sealed, len);
    if (with_prefix) {
        TRY(piece_open_message(r->kek, r->container->pub.id, &r->piece, r->sealed, &r->message));
        *ret = slice_skip(*ret, CRYPTO_PREFIX_LEN);
    }
    return OK;
}

/* Opens one chunk into r->plain. */
static err open_kept_chunk(store_reader *r, uint64_t index, slice sealed) {
    r->plain_chunk = UINT64_MAX;
    if (r->plain.max < CRYPTO_CHUNK_LEN) {
        buf_done(&r->plain);
        buf_init(&r->plain, STORE_INLINE_MAX);
    }
    buf_reset(&r->plain);
    uint8_t *out = buf_reserve(&r->plain, CRYPTO_CHUNK_LEN);
    TRY(crypto_chunk_open(r->message, index, sealed, out));
    buf_advance(&r->plain, sealed.len - CRYPTO_TAG_LEN);
    r->plain_chunk = index;
    return OK;
}

static size_t copy_kept(const store_reader *r, uint64_t skip, uint8_t *out, size_t cap) {
    size_t n = r->plain.len - (size_t)skip;
    if (n > cap) n = cap;
    memcpy(out, r->plain.p + skip, n);
    return n;
}

/* Up to cap bytes of the open stream from offset (below its length). Whole chunks go straight to
 * out. */
static err read_stream(store_reader *r, uint64_t offset, uint8_t *out, size_t cap, bool nowait,
                       size_t *ret_n) {
    uint64_t first = offset / CRYPTO_CHUNK_LEN, skip = offset % CRYPTO_CHUNK_LEN;
    if (cap > r->piece.len - offset) cap = (size_t)(r->piece.len - offset);
    if (r->plain_chunk == first) {
        *ret_n = copy_kept(r, skip, out, cap);
        return OK;
    }
    uint64_t n = (skip + cap + CRYPTO_CHUNK_LEN - 1) / CRYPTO_CHUNK_LEN;
    if (n > READ_CHUNKS_MAX) n = READ_CHUNKS_MAX;
    slice sealed;
    TRY(read_chunks(r, first, n, nowait, &sealed));
    size_t done = 0;
    for (uint64_t i = 0; i < n; i++, skip = 0) {
        slice one = slice_take(sealed, CRYPTO_SEALED_CHUNK_LEN);
        sealed = slice_skip(sealed, one.len);
        ENSURE(one.len >= CRYPTO_TAG_LEN, ERR_CORRUPT, "content ends too early");
        size_t plain = one.len - CRYPTO_TAG_LEN;
        if (skip == 0 && cap - done >= plain) {
            TRY(crypto_chunk_open(r->message, first + i, one, out + done));
            done += plain;
        } else {
            TRY(open_kept_chunk(r, first + i, one));
            done += copy_kept(r, skip, out + done, cap - done);
        }
    }
    *ret_n = done;
    return OK;
}

/* A small piece of a block list is opened whole, once. */
static err read_small(store_reader *r, uint64_t offset, uint8_t *out, size_t cap, bool nowait,
                      size_t *ret_n) {
    if (r->plain_chunk != 0) {
        slice sealed;
        arena *tmp = arena_new(1024, (size_t)4 * STORE_INLINE_MAX);
        err e = engine_get(r->store->engine, ENGINE_CONTENT, key_content(r->key, r->piece.id), tmp,
                           nowait, &sealed);
        if (e == OK && r->plain.max < r->piece.len) {
            buf_done(&r->plain);
            buf_init(&r->plain, STORE_INLINE_MAX);
        }
        buf_reset(&r->plain);
        if (e == OK)
            e = piece_open_small(r->kek, r->container->pub.id, &r->piece, sealed, &r->plain);
        arena_free(tmp);
        if (e == ERR_NOT_FOUND) return err_fail(ERR_CORRUPT, "the content of a block is missing");
        TRY(e);
        r->plain_chunk = 0;
    }
    *ret_n = copy_kept(r, offset, out, cap);
    return OK;
}

/* ---- block lists ---- */

static void *more_room(arena *a, void *p, size_t old, size_t count, size_t size) {
    p = arena_grow_try(a, p, old * size, count * size);
    MUST(p);
    return p;
}

/* Adds one row of the list to the part. */
static err decode_part(reader_part *part, slice value, uint64_t length) {
    row_chunk chunk;
    TRY(row_chunk_get(value, &chunk));
    size_t n = part->count, all = n + chunk.count;
    if (n == 0) part->start = part->end = chunk.start;
    ENSURE(chunk.start == part->end, ERR_CORRUPT, "the block list has a gap at offset %llu",
           (unsigned long long)part->end);
    if (all > part->room) {
        size_t room = n ? 2 * all : all;
        part->blocks = more_room(part->mem, part->blocks, part->room, room, sizeof *part->blocks);
        part->starts = more_room(part->mem, part->starts, part->room, room, sizeof *part->starts);
        part->room = room;
    }
    for (; n < all; n++) {
        TRY(row_block_take(&chunk.blocks, &part->blocks[n]));
        part->starts[n] = part->end;
        ENSURE(part->end <= length && part->blocks[n].piece.len <= length - part->end, ERR_CORRUPT,
               "a block list is longer than its blob");
        part->end += part->blocks[n].piece.len;
    }
    part->count = all;
    return OK;
}

/* Rows from the cursor on until there are enough blocks: an append blob has one in each row. What
 * was appended after the reader's state is not its business. */
static err decode_rows(store_reader *r, engine_cursor *cur, uint64_t offset) {
    reader_part *part = &r->part;
    while (part->count < ROW_CHUNK_BLOCKS && (part->count == 0 || part->end < r->length)) {
        slice key, value;
        bool more;
        TRY(engine_cursor_next(cur, &key, &value, &more));
        if (!more) break;
        TRY(decode_part(part, arena_dup(part->mem, value), r->length));
    }
    ENSURE(part->count > 0 && offset >= part->start && offset < part->end, ERR_CORRUPT,
           "the block list has no block at offset %llu", (unsigned long long)offset);
    return OK;
}

/* Loads the part of the block list that holds offset. */
static err load_part(store_reader *r, uint64_t offset, bool nowait) {
    if (r->part.mem && offset >= r->part.start && offset < r->part.end) return OK;
    if (nowait) return ERR_WOULD_BLOCK;
    close_piece(r);
    arena_free(r->part.mem);
    r->part = (reader_part){.mem = arena_new(64 << 10, (size_t)2 * ENGINE_VALUE_MAX)};
    blob_key upper = *r->key;
    slice low = key_manifest(r->key, r->content, offset + 1, 0);
    slice high = key_manifest(&upper, r->content, UINT64_MAX, 0xffff);
    engine_cursor *cur;
    TRY(engine_scan(r->store->engine, ENGINE_BLOCK, low, high, &cur));
    err e = decode_rows(r, cur, offset);
    engine_cursor_free(cur);
    if (e != OK) r->part.start = r->part.end = 0;
    return e;
}

/* Makes the piece that holds offset the open one. */
static err find_piece(store_reader *r, uint64_t offset, bool nowait) {
    if (r->piece.where != ROW_EMPTY && offset >= r->piece_start &&
        offset - r->piece_start < r->piece.len)
        return OK;
    TRY(load_part(r, offset, nowait));
    size_t low = 0, high = r->part.count; /* the last block that starts at or before offset */
    while (high - low > 1) {
        size_t mid = low + (high - low) / 2;
        *(r->part.starts[mid] <= offset ? &low : &high) = mid;
    }
    close_piece(r);
    r->piece = r->part.blocks[low].piece;
    r->piece_start = r->part.starts[low];
    return OK;
}

/* ---- page maps ---- */

static err load_window(store_reader *r, uint64_t offset) {
    page_window *w = r->window;
    if (w && offset >= w->begin && offset < w->end) return OK;
    close_piece(r);
    if (!w) {
        w = r->window = malloc(sizeof *w);
        MUST(w);
    }
    err e =
        page_window_load(w, r->store->engine, r->key, r->content, r->generation, offset, r->length);
    if (e != OK) w->begin = w->end = 0;
    return e;
}

static err open_page_piece(store_reader *r, uint64_t piece) {
    if (r->piece.where != ROW_EMPTY && r->piece.id == piece) return OK;
    close_piece(r);
    arena_free(r->part.mem);
    r->part = (reader_part){.mem = arena_new(512, ENGINE_VALUE_MAX)};
    row_page_piece row;
    err e = page_piece_get(r->store->engine, r->part.mem, r->key, r->content, piece, &row);
    if (e == ERR_NOT_FOUND) return err_fail(ERR_CORRUPT, "the piece of a run of pages is missing");
    TRY(e);
    r->piece = row.piece;
    return OK;
}

static bool page_ready(const store_reader *r, uint64_t offset) {
    uint64_t end;
    if (!r->window || offset < r->window->begin || offset >= r->window->end) return false;
    const page_run *run = page_window_find(r->window, offset, &end);
    return !run || (r->piece.where != ROW_EMPTY && r->piece.id == run->piece);
}

/* Some of what is at offset: of one run, or zeros. */
static err read_run(store_reader *r, uint64_t offset, uint8_t *out, size_t cap, bool nowait,
                    size_t *ret_n) {
    uint64_t end;
    if (nowait && !page_ready(r, offset)) return ERR_WOULD_BLOCK;
    TRY(load_window(r, offset));
    const page_run *run = page_window_find(r->window, offset, &end);
    if (run) end = run->end;
    if (end > r->length) end = r->length;
    if (cap > end - offset) cap = (size_t)(end - offset);
    if (!run) {
        memset(out, 0, cap);
        *ret_n = cap;
        return OK;
    }
    uint64_t at = run->skip + (offset - run->start);
    TRY(open_page_piece(r, run->piece));
    ENSURE(at < r->piece.len && cap <= r->piece.len - at, ERR_CORRUPT,
           "a run of pages is longer than its piece");
    if (r->piece.where == ROW_INLINE) return read_small(r, at, out, cap, nowait, ret_n);
    return read_stream(r, at, out, cap, nowait, ret_n);
}

static err read_pages(store_reader *r, uint64_t offset, uint8_t *out, size_t cap, bool nowait,
                      size_t *ret_n) {
    size_t done = 0, n;
    if (cap > r->length - offset) cap = (size_t)(r->length - offset);
    TRY(read_run(r, offset, out, cap, nowait, &done));
    /* An error is for who asks for the bytes that it hit. */
    while (done < cap && read_run(r, offset + done, out + done, cap - done, nowait, &n) == OK)
        done += n;
    *ret_n = done;
    return OK;
}

err store_reader_prepare(store_reader *r, store_call c, uint64_t offset) {
    slice value;
    row_blob row;
    if (r->where != ROW_PAGES || offset >= r->length) return OK;
    if (c.nowait) return ERR_WOULD_BLOCK;
    TRY(load_window(r, offset));
    if (r->etag == 0) return OK;
    err e = engine_get(r->store->engine, ENGINE_BLOB, key_state(r->key), c.arena, false, &value);
    if (e == ERR_NOT_FOUND) return ERR_CONFLICT;
    TRY(e);
    TRY(row_blob_get(value, &row));
    return row.pub.etag == r->etag ? OK : ERR_CONFLICT;
}

static err read_piece(store_reader *r, uint64_t offset, uint8_t *out, size_t cap, bool nowait,
                      size_t *ret_n) {
    if (r->where == ROW_LIST) TRY(find_piece(r, offset, nowait));
    uint64_t at = offset - r->piece_start;
    if (r->piece.where == ROW_INLINE) return read_small(r, at, out, cap, nowait, ret_n);
    return read_stream(r, at, out, cap, nowait, ret_n);
}

/* Streams and lists: from the engine, below the end. */
static err read_sealed(store_reader *r, uint64_t offset, uint8_t *out, size_t cap, bool nowait,
                       size_t *ret_n) {
    TRY(read_piece(r, offset, out, cap, nowait, ret_n));
    /* Small pieces are read together: an append blob may hold 50,000 of them. */
    for (size_t n; r->piece.where == ROW_INLINE && *ret_n < cap; *ret_n += n) {
        uint64_t at = offset + *ret_n;
        if (at >= r->length) break;
        /* An error is for who asks for the bytes that it hit. */
        if (read_piece(r, at, out + *ret_n, cap - *ret_n, nowait, &n) != OK) break;
    }
    return OK;
}

/* ---- opened content ---- */

static size_t segment_len(const store_reader *r, uint64_t index) {
    uint64_t left = r->length - index * OPENED_LEN;
    return left < OPENED_LEN ? (size_t)left : OPENED_LEN;
}

static opened_segment *find_opened(const store_reader *r, uint64_t index) {
    return opened_get(&r->store->opened, r->pin.hash, r->content, index, segment_len(r, index));
}

/* ret: NULL when there is no room. */
static err open_segment(store_reader *r, uint64_t index, bool nowait, opened_segment **ret) {
    opened_cache *o = &r->store->opened;
    *ret = NULL;
    opened_segment *s = opened_room(o, &(opened_segment){.container = r->container->pub.id,
                                                         .blob = r->pin.hash,
                                                         .content = r->content,
                                                         .index = index,
                                                         .version = r->opened_version,
                                                         .len = segment_len(r, index)});
    if (!s) return OK;
    err e = OK;
    for (size_t at = 0, n = 0; at < s->len && e == OK; at += n) {
        e = read_sealed(r, index * OPENED_LEN + at, s->p + at, s->len - at, nowait, &n);
        if (e == OK && n == 0) e = err_fail(ERR_CORRUPT, "the content ends before its length");
    }
    if (e != OK) {
        opened_unref(o, s);
        return e;
    }
    opened_add(o, s);
    *ret = s;
    return OK;
}

/* Holds the segments first … first+n: those that are there, then the others. ret_whole false: not
 * all can be had, or not worth it for `count` bytes. */
static err hold(store_reader *r, uint64_t first, size_t n, uint64_t count, bool nowait,
                bool *ret_whole) {
    size_t missing = 0;
    uint64_t to_open = 0;
    for (size_t i = 0; i < n; i++) {
        r->held[r->held_count++] = find_opened(r, first + i);
        if (r->held[i]) continue;
        missing++;
        to_open += segment_len(r, first + i);
    }
    *ret_whole = to_open / 2 <= count;
    if (!*ret_whole) return OK;
    if (nowait && missing > 1) return ERR_WOULD_BLOCK; /* too long for an event loop */
    for (size_t i = 0; i < n && *ret_whole; i++) {
        if (!r->held[i]) TRY(open_segment(r, first + i, nowait, &r->held[i]));
        *ret_whole = r->held[i] != NULL;
    }
    if (*ret_whole) opened_count(&r->store->opened, n - missing, missing);
    return OK;
}

/* What reading needed is not needed while the answer is on its way; nor is its place on disk. */
static void rest(store_reader *r) {
    reaper_submit(r->store, readers_leave(&r->store->readers, &r->pin));
    close_piece(r);
    free(r->sealed);
    r->sealed = NULL;
    r->sealed_max = 0;
    buf_done(&r->plain);
    r->part.mem = arena_free(r->part.mem);
}

err store_reader_opened(store_reader *r, uint64_t first, uint64_t count, bool nowait,
                        slice ret_parts[STORE_PARTS_MAX], size_t *ret_count) {
    MUST(r->held_count == 0 && first <= r->length && count <= r->length - first);
    *ret_count = 0;
    bool large = r->where == ROW_STREAM || r->where == ROW_LIST, whole;
    uint64_t max = r->store->opened.max / 4;
    if (max > OPENED_ANSWER_MAX) max = OPENED_ANSWER_MAX;
    if (!large || !r->keeps_opened || count == 0 || count > max) return OK;
    uint64_t index = first / OPENED_LEN;
    size_t n = (size_t)((first + count - 1) / OPENED_LEN - index) + 1;
    err e = hold(r, index, n, count, nowait, &whole);
    if (e != OK || !whole) {
        release_held(r);
        return e;
    }
    for (size_t i = 0; i < n; i++) {
        size_t skip = i == 0 ? (size_t)(first % OPENED_LEN) : 0;
        slice part = slice_skip(slice_of(r->held[i]->p, r->held[i]->len), skip);
        ret_parts[i] = slice_take(part, count < part.len ? (size_t)count : part.len);
        count -= ret_parts[i].len;
    }
    MUST(count == 0);
    rest(r);
    *ret_count = n;
    return OK;
}

/* From memory, when it stands there already. */
static bool read_opened(store_reader *r, uint64_t offset, uint8_t *out, size_t cap, size_t *ret_n) {
    uint64_t index = offset / OPENED_LEN;
    bool held = r->held_count > 0 && r->held[0]->index == index;
    if (!held) {
        release_held(r);
        r->held[0] = r->keeps_opened ? find_opened(r, index) : NULL;
        if (!r->held[0]) return false;
        r->held_count = 1;
    }
    size_t len = segment_len(r, index), skip = (size_t)(offset % OPENED_LEN);
    *ret_n = cap < len - skip ? cap : len - skip;
    memcpy(out, r->held[0]->p + skip, *ret_n);
    return true;
}

err store_reader_read(store_reader *r, uint64_t offset, uint8_t *out, size_t cap, bool nowait,
                      size_t *ret_n) {
    if (offset >= r->length || cap == 0) {
        *ret_n = 0;
        return OK;
    }
    slice whole;
    if (store_reader_inline(r, &whole)) {
        whole = slice_take(slice_skip(whole, (size_t)offset), cap);
        memcpy(out, whole.p, whole.len);
        *ret_n = whole.len;
        return OK;
    }
    if (r->where == ROW_PAGES) return read_pages(r, offset, out, cap, nowait, ret_n);
    if (read_opened(r, offset, out, cap, ret_n)) return OK;
    return read_sealed(r, offset, out, cap, nowait, ret_n);
}
