/* The log: entries in commit order, a row a commit group.
 *
 * Key: the number of the group's first entry, 8 bytes big-endian. Value: the number of entries (4 bytes),
 * then of each its length (4), its bytes, the length of its private part (4), its bytes.
 *
 * Invariants
 *   1. Rows follow one another without gap or overlap: a row's number and count give the next row's number.
 *   2. A group's row is in the group's batch, so an entry is durable exactly when its transaction is.
 *   3. Only the leader counts (`end`); readers see `next`, which moves when a batch is durable. A batch that
 *      fails fails the engine, so what the leader counted for it is never used. */
#include "engine/local/private.h"

#define KEY_LEN 8
#define HEAD    4 /* of a row: how many entries */

static uint64_t key_number(slice key) {
    uint64_t n = 0;
    for (size_t i = 0; i < key.len; i++) n = n << 8 | key.p[i];
    return n;
}

static void key_of(uint64_t n, uint8_t out[KEY_LEN]) {
    for (int i = 0; i < KEY_LEN; i++) out[i] = (uint8_t)(n >> (56 - 8 * i));
}

void log_init(local *l) {
    buf_init(&l->log.group, SIZE_MAX / 2); /* bounded by the group's size */
}

void log_done(local *l) {
    buf_done(&l->log.group);
}

/* ---- writing ---- */

void log_encode(buf *out, slice entry, slice private_part) {
    (void)buf_reserve(out, 8 + entry.len + private_part.len);
    buf_be32(out, (uint32_t)entry.len);
    buf_put(out, entry);
    buf_be32(out, (uint32_t)private_part.len);
    buf_put(out, private_part);
    MUST(!out->failed);
}

void log_begin(local *l) {
    buf_reset(&l->log.group);
    buf_be32(&l->log.group, 0); /* the count, filled in by log_put */
    l->log.end = atomic_load_explicit(&l->log.next, memory_order_relaxed);
}

uint64_t log_add(local *l, slice encoded) {
    buf_put(&l->log.group, encoded);
    return l->log.end++;
}

void log_put(local *l, rocksdb_writebatch_t *b) {
    local_log *g = &l->log;
    const uint64_t first = atomic_load_explicit(&g->next, memory_order_relaxed);
    const uint64_t count = g->end - first;
    if (count == 0) return;
    for (int i = 0; i < HEAD; i++) g->group.p[i] = (uint8_t)(count >> (24 - 8 * i));
    uint8_t key[KEY_LEN];
    key_of(first, key);
    rocksdb_writebatch_put_cf(b, l->rows.cf[ROWS_LOG], (const char *)key, sizeof key,
                              (const char *)g->group.p, g->group.len);
}

void log_written(local *l) {
    atomic_store_explicit(&l->log.next, l->log.end, memory_order_release);
}

/* ---- reading ---- */

static err row_of(rocksdb_iterator_t *it, uint64_t *ret_first, uint64_t *ret_count,
                  slice *ret_entries) {
    size_t len;
    const char *p = rocksdb_iter_key(it, &len);
    ENSURE(len == KEY_LEN, ERR_CORRUPT, "log: a key of %zu bytes", len);
    *ret_first = key_number(slice_of(p, len));
    p = rocksdb_iter_value(it, &len);
    *ret_entries = slice_of(p, len);
    uint32_t count;
    TRY(cur_be32(ret_entries, &count));
    ENSURE(count > 0, ERR_CORRUPT, "log: the row at %llu has no entries",
           (unsigned long long)*ret_first);
    *ret_count = count;
    return OK;
}

static err next_entry(slice *row, slice *ret_entry, slice *ret_private) {
    uint32_t n;
    TRY(cur_be32(row, &n));
    TRY(cur_take(row, n, ret_entry));
    TRY(cur_be32(row, &n));
    return cur_take(row, n, ret_private);
}

typedef struct walk {
    uint64_t at; /* the next entry wanted */
    uint64_t to;
    engine_log_each *each;
    void *ctx;
} walk;

static err walk_row(walk *w, uint64_t first, uint64_t count, slice entries) {
    ENSURE(first <= w->at && w->at - first < count, ERR_CORRUPT,
           "log: entry %llu is missing: a row holds %llu from %llu on", (unsigned long long)w->at,
           (unsigned long long)count, (unsigned long long)first);
    for (uint64_t i = first; i < first + count && w->at < w->to; i++) {
        slice entry, private_part;
        err e = next_entry(&entries, &entry, &private_part);
        if (e != OK) return err_fail(ERR_CORRUPT, "log: entry %llu", (unsigned long long)i);
        if (i < w->at) continue;
        TRY(w->each(w->ctx, i, entry, private_part));
        w->at++;
    }
    return OK;
}

static err iter_error(rocksdb_iterator_t *it) {
    char *text = NULL;
    rocksdb_iter_get_error(it, &text);
    return text != NULL ? rows_error(text, "log") : OK;
}

static err walk_rows(rocksdb_iterator_t *it, walk *w) {
    for (; w->at < w->to && rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
        uint64_t first, count;
        slice entries;
        TRY(row_of(it, &first, &count, &entries));
        TRY(walk_row(w, first, count, entries));
    }
    return iter_error(it);
}

err local_log_read(engine *e, uint64_t from, uint64_t to, engine_log_each *each, void *ctx) {
    local *l = local_of(e);
    const uint64_t next = local_log_next(e);
    if (to > next) to = next;
    if (from >= to) return OK;
    ENSURE(from >= atomic_load(&l->log.first), ERR_NOT_FOUND, "log: entry %llu is no longer kept",
           (unsigned long long)from);
    rocksdb_readoptions_t *o = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(o, 1);
    rocksdb_readoptions_set_fill_cache(o, 0); /* read once, in order */
    rocksdb_iterator_t *it = rocksdb_create_iterator_cf(l->rows.db, o, l->rows.cf[ROWS_LOG]);
    uint8_t key[KEY_LEN];
    key_of(from, key);
    rocksdb_iter_seek_for_prev(it, (const char *)key, sizeof key);
    walk w = {.at = from, .to = to, .each = each, .ctx = ctx};
    err outcome = walk_rows(it, &w);
    if (outcome == OK && w.at < to)
        outcome = err_fail(ERR_CORRUPT, "log: entry %llu is missing", (unsigned long long)w.at);
    rocksdb_iter_destroy(it);
    rocksdb_readoptions_destroy(o);
    if (outcome == ERR_CORRUPT && w.at < atomic_load(&l->log.first)) /* trimmed meanwhile */
        return err_fail(ERR_NOT_FOUND, "log: entry %llu is no longer kept",
                        (unsigned long long)w.at);
    return outcome;
}

uint64_t local_log_next(engine *e) {
    return atomic_load_explicit(&local_of(e)->log.next, memory_order_acquire);
}

/* The group that `before` is in keeps what is not below it: *ret_first is where the log begins then, and rest its
 * row when that is another than it was. The last group stays whole when all of it is below: the next number is told
 * by it. */
static err row_after_trim(rocksdb_iterator_t *it, uint64_t before, uint64_t *ret_first, buf *rest) {
    uint64_t first, count;
    slice entries, entry, private_part;
    *ret_first = 0;
    TRY(iter_error(it));
    if (!rocksdb_iter_valid(it)) return OK;
    TRY(row_of(it, &first, &count, &entries));
    *ret_first = first;
    if (before == first || before - first >= count) return OK;
    for (uint64_t i = first; i < before; i++) TRY(next_entry(&entries, &entry, &private_part));
    buf_be32(rest, (uint32_t)(count - (before - first)));
    buf_put(rest, entries);
    *ret_first = before;
    return buf_check(rest);
}

/* Asks that the space of what was trimmed comes back soon: nothing else would touch these tables again. */
static void compact_trimmed(local *l, const uint8_t to[KEY_LEN]) {
    static const uint8_t none[KEY_LEN];
    char *why = NULL;
    rocksdb_suggest_compact_range_cf(l->rows.db, l->rows.cf[ROWS_LOG], (const char *)none, KEY_LEN,
                                     (const char *)to, KEY_LEN, &why);
    rocksdb_free(why); /* it comes back later, then */
}

static err trim_to(local *l, uint64_t first, slice row) {
    static const uint8_t none[KEY_LEN];
    uint8_t key[KEY_LEN];
    key_of(first, key);
    atomic_store(&l->log.first, first);
    local_txn *t = txn_system(l);
    txn_log_delete(t, slice_of(none, sizeof none), slice_of(key, sizeof key));
    if (row.len > 0) txn_log_put(t, slice_of(key, sizeof key), row);
    TRY(local_txn_commit((engine_txn *)t));
    compact_trimmed(l, key);
    return OK;
}

/* Nobody who reads an entry that stays is in its way. One caller at a time. */
err local_log_trim(engine *e, uint64_t before) {
    local *l = local_of(e);
    TRY(local_writable(l));
    if (before <= atomic_load(&l->log.first)) return OK;
    rocksdb_iterator_t *it =
        rocksdb_create_iterator_cf(l->rows.db, l->rows.read, l->rows.cf[ROWS_LOG]);
    uint8_t key[KEY_LEN];
    key_of(before, key);
    rocksdb_iter_seek_for_prev(it, (const char *)key, sizeof key);
    uint64_t first;
    buf rest;
    buf_init(&rest, SIZE_MAX / 2); /* part of a row */
    err outcome = row_after_trim(it, before, &first, &rest);
    rocksdb_iter_destroy(it);
    if (outcome == OK && first > atomic_load(&l->log.first))
        outcome = trim_to(l, first, buf_slice(&rest));
    buf_done(&rest);
    return outcome;
}

/* ---- opening and checking ---- */

err log_open(local *l) {
    rocksdb_iterator_t *it =
        rocksdb_create_iterator_cf(l->rows.db, l->rows.read, l->rows.cf[ROWS_LOG]);
    uint64_t first = 0, last = 0, count = 0;
    slice entries;
    err e = OK;
    rocksdb_iter_seek_to_first(it);
    if (rocksdb_iter_valid(it)) TRY_TO(out, row_of(it, &first, &count, &entries));
    rocksdb_iter_seek_to_last(it);
    if (rocksdb_iter_valid(it)) TRY_TO(out, row_of(it, &last, &count, &entries));
    TRY_TO(out, iter_error(it));
    atomic_store(&l->log.first, first);
    atomic_store(&l->log.next, last + count);
    l->log.end = last + count;
out:
    rocksdb_iter_destroy(it);
    return e;
}

static err checked_entry(void *ctx, uint64_t index, slice entry, slice private_part) {
    (void)ctx, (void)private_part;
    ENSURE(entry.len >= 1 && entry.len <= ENGINE_LOG_ENTRY_MAX, ERR_CORRUPT,
           "log: entry %llu has %zu bytes", (unsigned long long)index, entry.len);
    return OK;
}

err log_check(local *l, engine_report *report, void *ctx) {
    const uint64_t first = atomic_load(&l->log.first);
    err e = local_log_read(&l->base, first, UINT64_MAX, checked_entry, NULL);
    if (e == ERR_CORRUPT) report(ctx, err_detail(), "rows, table log");
    return e == ERR_CORRUPT ? OK : e;
}
