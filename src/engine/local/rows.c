/* Rows: RocksDB through its C API. One column family a table, one for the engine's own rows.
 *
 * Invariants
 *   1. Every write goes through commit.c with sync on. So when a batch is appended to the write-
 *      ahead log, all before it is durable, and only the last record of the log can ever be torn.
 *   2. Recovery tolerates an incomplete record at the end of the log and nothing else
 *      (tolerate_corrupted_tail_records). Point-in-time recovery would drop every acknowledged
 *      commit after a damaged byte without a word; here such a folder is refused. wal.c tells
 *      what a power cut leaves of the one torn batch from damage.
 *   3. Checksums are verified on every read.
 *   4. nowait reads never touch the disk: the block-cache tier also answers from memtables.
 *
 * Memory: cache_bytes is split, 3/8 to write buffers (one limit over all column families), 5/8 to
 * one cache that holds data blocks, index and filter blocks, and values of CONTENT alike. */
#include <errno.h>
#include <stdatomic.h>
#include <unistd.h>

#include "engine/local/private.h"

#define CACHE_BYTES_MIN (16ull << 20)
#define BLOB_MIN        1024 /* CONTENT values from here on stand in blob files, not in the tree */
#define OPEN_FILES_MAX  1024
/* rocksdb/table.h, kXXH3: Debian's RocksDB computes CRC-32C by table, which is slow. */
#define CHECKSUM_XXH3 4

static const char *const cf_names[ROWS_CF_COUNT + 1] = {
    "meta", "blob", "block", "content", "history", "index", "job", "system", "log", "default"};

err rows_error(char *text, const char *doing) {
    slice s = slice_str(text);
    err code = ERR_IO;
    if (slice_starts(s, S("Result incomplete")))
        code = ERR_WOULD_BLOCK;
    else if (slice_starts(s, S("Corruption")))
        code = ERR_CORRUPT;
    else if (slice_find_slice(s, 0, S("No space left")) < s.len)
        code = ERR_NO_SPACE;
    if (code != ERR_WOULD_BLOCK) code = err_fail(code, "rows: %s: %.*s", doing, SLICE_ARG(s));
    rocksdb_free(text);
    return code;
}

/* ---- opening ---- */

/* new_tables: those that are missing are made. */
static rocksdb_options_t *db_options(const local *l, uint64_t write_bytes, bool create,
                                     bool new_tables) {
    rocksdb_options_t *o = rocksdb_options_create();
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    rocksdb_options_set_create_if_missing(o, create);
    rocksdb_options_set_error_if_exists(o, create);
    rocksdb_options_set_create_missing_column_families(o, new_tables);
    rocksdb_options_set_paranoid_checks(o, 1);
    rocksdb_options_set_db_write_buffer_size(o, write_bytes);
    rocksdb_options_set_max_total_wal_size(o, write_bytes * 2);
    rocksdb_options_set_wal_recovery_mode(o, rocksdb_tolerate_corrupted_tail_records_recovery);
    rocksdb_options_set_max_open_files(o, OPEN_FILES_MAX);
    rocksdb_options_set_max_background_jobs(o, cores < 2 ? 2 : cores > 8 ? 8 : (int)cores);
    rocksdb_options_set_bytes_per_sync(o, 1 << 20);
    rocksdb_options_set_skip_stats_update_on_db_open(o, 1);
    rocksdb_options_set_avoid_unnecessary_blocking_io(o, !l->quiet);
    rocksdb_options_set_max_manifest_file_size(o, 64 << 20);
    rocksdb_options_set_info_log_level(o, 2); /* warnings */
    rocksdb_options_set_keep_log_file_num(o, 4);
    rocksdb_options_set_max_log_file_size(o, 8 << 20);
    rocksdb_options_set_stats_dump_period_sec(o, 0);
    rocksdb_options_set_stats_persist_period_sec(o, 0);
    return o;
}

static rocksdb_options_t *cf_options(const local *l, int cf, uint64_t write_bytes,
                                     rocksdb_cache_t *cache) {
    rocksdb_options_t *o = rocksdb_options_create();
    rocksdb_options_set_disable_auto_compactions(o, l->quiet);
    rocksdb_block_based_table_options_t *b = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(b, cache);
    rocksdb_block_based_options_set_block_size(b, 8 << 10);
    rocksdb_block_based_options_set_format_version(b, 5);
    rocksdb_block_based_options_set_checksum(b, CHECKSUM_XXH3);
    rocksdb_block_based_options_set_filter_policy(b, rocksdb_filterpolicy_create_bloom_full(10));
    rocksdb_block_based_options_set_whole_key_filtering(b, 1);
    rocksdb_block_based_options_set_data_block_index_type(
        b, rocksdb_block_based_table_data_block_index_type_binary_search_and_hash);
    rocksdb_block_based_options_set_data_block_hash_ratio(b, 0.75);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(b, 1);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks_with_high_priority(b, 1);
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(b, 1);
    rocksdb_options_set_block_based_table_factory(o, b);
    rocksdb_block_based_options_destroy(b);

    rocksdb_options_set_write_buffer_size(o, write_bytes / 2);
    rocksdb_options_set_max_write_buffer_number(o, 4);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(o, 1);
    rocksdb_options_set_target_file_size_base(o, 32 << 20);
    rocksdb_options_set_max_bytes_for_level_base(o, 128 << 20);
    /* Queues and deleted content: files full of deletions are compacted soon, so that scans do not
     * wade through them and blob files give their space back. */
    rocksdb_options_add_compact_on_deletion_collector_factory(o, 4096, 1024);
    const bool sealed = cf == ENGINE_CONTENT; /* ciphertext does not compress */
    rocksdb_options_set_compression(o, sealed ? rocksdb_no_compression : rocksdb_lz4_compression);
    if (cf == ENGINE_CONTENT) {
        rocksdb_options_set_enable_blob_files(o, 1);
        rocksdb_options_set_min_blob_size(o, BLOB_MIN);
        rocksdb_options_set_blob_file_size(o, 128 << 20);
        rocksdb_options_set_blob_compression_type(o, rocksdb_no_compression);
        rocksdb_options_set_enable_blob_gc(o, 1);
        rocksdb_options_set_blob_gc_age_cutoff(o, 0.25);
        rocksdb_options_set_blob_gc_force_threshold(o, 0.5);
        rocksdb_options_set_blob_cache(o, cache);
    }
    return o;
}

/* The epoch: how often this store was opened for writing; the high part of every new id. */
static err open_epoch(local *l) {
    system_key key = {.b = {'S'}, .len = 1};
    arena *a = arena_new(256, 0);
    slice value;
    err e = rows_get(l, ROWS_SYSTEM, system_key_slice(&key), a, false, &value);
    if (e == OK) {
        record_reader r;
        record_field f;
        bool more;
        TRY_TO(out, record_open(&r, value, 1));
        TRY_TO(out, record_next(&r, &f, &more));
        l->epoch = more && f.tag == 1 ? f.num : 0;
    } else if (e != ERR_NOT_FOUND) {
        goto out;
    }
    l->epoch++;
    e = OK;
    if (l->read_only) goto out;
    buf b;
    buf_init_arena(&b, a, 64);
    record_begin(&b, 1);
    record_num(&b, 1, l->epoch);
    local_txn *t = txn_system(l);
    txn_system_put(t, &key, buf_slice(&b));
    e = local_txn_commit((engine_txn *)t);
out:
    arena_free(a);
    return e;
}

static err open_db(local *l) {
    rows *r = &l->rows;
    char path[4096];
    snprintf(path, sizeof path, "%s/rows", l->path);
    char *text = NULL;
    const rocksdb_options_t *const *options = (const rocksdb_options_t *const *)r->cf_options;
    const char *const *names = (const char *const *)cf_names;
    if (l->read_only)
        r->db = rocksdb_open_for_read_only_column_families(r->db_options, path, ROWS_CF_COUNT + 1,
                                                           names, options, r->cf, 0, &text);
    else
        r->db = rocksdb_open_column_families(r->db_options, path, ROWS_CF_COUNT + 1, names, options,
                                             r->cf, &text);
    if (text == NULL) return OK;
    r->db = NULL;
    return rows_error(text, "open");
}

/* RocksDB found corruption (err_detail). If it is a torn log, opens without the torn batch; the logs that there
 * were are in tables then, and are removed for good: one that came back after another power cut would be judged again,
 * beside logs that hold changes. */
static err open_torn(local *l) {
    char why[512];
    bool torn = false;
    uint64_t last = 0;
    snprintf(why, sizeof why, "%s", err_detail());
    if (wal_torn(l, &torn, &last) != OK || !torn) return err_fail(ERR_CORRUPT, "%s", why);
    LOG(LOG_WARN, "engine.torn_log", LF_C("path", l->path), LF_C("detail", why));
    rocksdb_options_set_wal_recovery_mode(l->rows.db_options, rocksdb_point_in_time_recovery);
    TRY(open_db(l));
    return l->read_only ? OK : wal_forget(l, last);
}

err rows_open(local *l, bool create) {
    rows *r = &l->rows;
    uint64_t cache = r->cache_bytes < CACHE_BYTES_MIN ? CACHE_BYTES_MIN : r->cache_bytes;
    const uint64_t write_bytes = r->write_bytes != 0 ? r->write_bytes : cache / 8 * 3;
    r->cache = rocksdb_cache_create_lru(cache - write_bytes);
    r->db_options = db_options(l, write_bytes, create, create || l->format < ENGINE_LOCAL_FORMAT);
    for (int i = 0; i <= ROWS_CF_COUNT; i++)
        r->cf_options[i] = cf_options(l, i, write_bytes, r->cache);
    r->read = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(r->read, 1);
    r->read_nowait = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(r->read_nowait, 1);
    rocksdb_readoptions_set_read_tier(r->read_nowait, 1); /* kBlockCacheTier */
    r->write = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(r->write, 1);
    r->flush = rocksdb_flushoptions_create();
    rocksdb_flushoptions_set_wait(r->flush, 1);

    if (!create) TRY(wal_check(l));
    err e = open_db(l);
    if (e == ERR_CORRUPT && !create) e = open_torn(l);
    TRY(e);
    return open_epoch(l);
}

/* A failed flush loses nothing: the log still holds it. */
bool rows_flush(local *l) {
    rows *r = &l->rows;
    bool flushed = !l->read_only && !local_failed(l);
    for (int i = 0; i < ROWS_CF_COUNT && flushed; i++) {
        char *text = NULL;
        rocksdb_flush_cf(r->db, r->flush, r->cf[i], &text);
        flushed = text == NULL;
        if (text != NULL) rocksdb_free(text);
    }
    return flushed;
}

void rows_close(local *l, bool *ret_flushed) {
    rows *r = &l->rows;
    *ret_flushed = r->db != NULL && rows_flush(l);
    if (r->db != NULL) {
        for (int i = 0; i <= ROWS_CF_COUNT; i++) rocksdb_column_family_handle_destroy(r->cf[i]);
        rocksdb_close(r->db);
    }
    if (r->cache == NULL) return;
    for (int i = 0; i <= ROWS_CF_COUNT; i++) rocksdb_options_destroy(r->cf_options[i]);
    rocksdb_options_destroy(r->db_options);
    rocksdb_readoptions_destroy(r->read);
    rocksdb_readoptions_destroy(r->read_nowait);
    rocksdb_writeoptions_destroy(r->write);
    rocksdb_flushoptions_destroy(r->flush);
    rocksdb_cache_destroy(r->cache);
    *r = (rows){0};
}

err rows_checkpoint(local *l, const char *path) {
    char *text = NULL;
    rocksdb_checkpoint_t *c = rocksdb_checkpoint_object_create(l->rows.db, &text);
    /* However long the log is, it is copied: what could be flushed was. */
    if (text == NULL) rocksdb_checkpoint_create(c, path, UINT64_MAX, &text);
    if (c != NULL) rocksdb_checkpoint_object_destroy(c);
    return text != NULL ? rows_error(text, "checkpoint") : OK;
}

err rows_open_system(const char *path, rocksdb_t **ret, rocksdb_column_family_handle_t *ret_cf[2]) {
    const char *const names[] = {cf_names[ROWS_SYSTEM], cf_names[ROWS_CF_COUNT]};
    rocksdb_options_t *o = rocksdb_options_create();
    const rocksdb_options_t *const each[] = {o, o};
    char *text = NULL;
    rocksdb_options_set_wal_recovery_mode(o, rocksdb_tolerate_corrupted_tail_records_recovery);
    rocksdb_options_set_info_log_level(o, 2);
    *ret = rocksdb_open_for_read_only_column_families(o, path, 2, names, each, ret_cf, 0, &text);
    rocksdb_options_destroy(o);
    return text != NULL ? rows_error(text, "open") : OK;
}

/* ---- reading ---- */

err rows_get(local *l, int cf, slice key, arena *a, bool nowait, slice *ret) {
    rows *r = &l->rows;
    char *text = NULL;
    rocksdb_pinnableslice_t *v = rocksdb_get_pinned_cf(
        r->db, nowait ? r->read_nowait : r->read, r->cf[cf], (const char *)key.p, key.len, &text);
    if (text != NULL) return rows_error(text, "get");
    if (v == NULL) return ERR_NOT_FOUND;
    size_t len;
    const char *p = rocksdb_pinnableslice_value(v, &len);
    if (nowait &&
        len == 0) { /* also what RocksDB answers where the table is not open: the key may exist */
        rocksdb_pinnableslice_destroy(v);
        return ERR_WOULD_BLOCK;
    }
    uint8_t *copy = arena_try(a, len > 0 ? len : 1);
    if (copy != NULL && len > 0) memcpy(copy, p, len);
    rocksdb_pinnableslice_destroy(v);
    ENSURE(copy != NULL, ERR_NO_MEMORY, "a row of %zu bytes does not fit the request's memory",
           len);
    *ret = slice_of(copy, len);
    return OK;
}

err local_get(engine *e, engine_table t, slice key, arena *a, bool nowait, slice *ret) {
    return rows_get(local_of(e), (int)t, key, a, nowait, ret);
}

/* ---- cursors ---- */

typedef struct local_cursor {
    engine_cursor base;
    rocksdb_readoptions_t *options;
    rocksdb_iterator_t *iter;
    bool started; /* iter stands on the row that next returned last */
    char *upper;  /* RocksDB keeps the pointer */
} local_cursor;

static local_cursor *cursor_new(engine *e, engine_table t, slice upper) {
    local *l = local_of(e);
    local_cursor *c = calloc(1, sizeof *c);
    MUST(c != NULL);
    c->base.e = e;
    c->options = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(c->options, 1);
    if (upper.len > 0) {
        c->upper = malloc(upper.len);
        MUST(c->upper != NULL);
        memcpy(c->upper, upper.p, upper.len);
        rocksdb_readoptions_set_iterate_upper_bound(c->options, c->upper, upper.len);
    }
    c->iter = rocksdb_create_iterator_cf(l->rows.db, c->options, l->rows.cf[t]);
    return c;
}

err local_scan(engine *e, engine_table t, slice lower, slice upper, engine_cursor **ret) {
    local_cursor *c = cursor_new(e, t, upper);
    if (lower.len > 0)
        rocksdb_iter_seek(c->iter, (const char *)lower.p, lower.len);
    else
        rocksdb_iter_seek_to_first(c->iter);
    *ret = (engine_cursor *)c;
    return OK;
}

err local_cursor_next(engine_cursor *base, slice *ret_key, slice *ret_value, bool *ret_more) {
    local_cursor *c = (local_cursor *)base;
    if (c->started && rocksdb_iter_valid(c->iter)) rocksdb_iter_next(c->iter);
    c->started = true;
    if (!rocksdb_iter_valid(c->iter)) {
        char *text = NULL;
        rocksdb_iter_get_error(c->iter, &text);
        if (text != NULL) return rows_error(text, "scan");
        *ret_more = false;
        return OK;
    }
    size_t len;
    const char *p = rocksdb_iter_key(c->iter, &len);
    *ret_key = slice_of(p, len);
    p = rocksdb_iter_value(c->iter, &len);
    *ret_value = slice_of(p, len);
    *ret_more = true;
    return OK;
}

err local_cursor_seek(engine_cursor *base, slice key) {
    local_cursor *c = (local_cursor *)base;
    if (rocksdb_iter_valid(c->iter)) {
        size_t len;
        const char *p = rocksdb_iter_key(c->iter, &len);
        /* Forward only: a key at or before the present row leaves the cursor where it is. */
        if (slice_cmp(key, slice_of(p, len)) <= 0) return OK;
        rocksdb_iter_seek(c->iter, (const char *)key.p, key.len);
        c->started = false;
    }
    return OK; /* at the end, or failed: next says which */
}

void local_cursor_free(engine_cursor *base) {
    local_cursor *c = (local_cursor *)base;
    rocksdb_iter_destroy(c->iter);
    rocksdb_readoptions_destroy(c->options);
    free(c->upper);
    free(c);
}

/* ---- the engine's own rows ---- */

system_key system_key_extent(char kind, uint32_t id) {
    return (system_key){.b = {(uint8_t)kind, (uint8_t)(id >> 24), (uint8_t)(id >> 16),
                              (uint8_t)(id >> 8), (uint8_t)id},
                        .len = 5};
}

system_key system_key_of(char kind, uint32_t id, uint32_t block) {
    system_key k = system_key_extent(kind, id);
    for (int i = 0; i < 4; i++) k.b[5 + i] = (uint8_t)(block >> (24 - 8 * i));
    k.len = 9;
    return k;
}

err system_key_parse(slice key, char kind, uint32_t *ret_extent, uint32_t *ret_block) {
    uint8_t first;
    TRY(cur_u8(&key, &first));
    ENSURE(first == (uint8_t)kind, ERR_CORRUPT, "system row: kind %u, not '%c'", first, kind);
    TRY(cur_be32(&key, ret_extent));
    if (ret_block != NULL) TRY(cur_be32(&key, ret_block));
    ENSURE(key.len == 0, ERR_CORRUPT, "system row '%c': key too long", kind);
    return OK;
}

rocksdb_iterator_t *rows_system_iter(local *l, rocksdb_readoptions_t *own) {
    return rocksdb_create_iterator_cf(l->rows.db, own != NULL ? own : l->rows.read,
                                      l->rows.cf[ROWS_SYSTEM]);
}

/* ---- what others ask ---- */

static uint64_t property(local *l, int cf, const char *name) {
    uint64_t v = 0;
    if (rocksdb_property_int_cf(l->rows.db, l->rows.cf[cf], name, &v) != 0) return 0;
    return v;
}

uint64_t rows_unflushed(local *l) {
    uint64_t sum = 0;
    for (int i = 0; i < ROWS_CF_COUNT; i++)
        sum += property(l, i, "rocksdb.cur-size-all-mem-tables");
    return sum;
}

/* "... Cumulative stall: 00:00:1.234 H:M:S, ..." of rocksdb.dbstats, in microseconds. */
static uint64_t stall_us(local *l) {
    char *text = rocksdb_property_value(l->rows.db, "rocksdb.dbstats");
    if (text == NULL) return 0;
    const char *at = strstr(text, "Cumulative stall: ");
    unsigned h = 0, m = 0;
    double s = 0;
    if (at != NULL && sscanf(at, "Cumulative stall: %u:%u:%lf", &h, &m, &s) != 3) s = 0;
    rocksdb_free(text);
    return (uint64_t)(((double)h * 3600 + (double)m * 60 + s) * 1e6);
}

static uint64_t first_level_files(local *l, int cf) {
    char *text =
        rocksdb_property_value_cf(l->rows.db, l->rows.cf[cf], "rocksdb.num-files-at-level0");
    if (text == NULL) return 0;
    const uint64_t n = strtoull(text, NULL, 10);
    rocksdb_free(text);
    return n;
}

void rows_stats(local *l, engine_stats *ret) {
    ret->row_bytes_disk = 0;
    ret->memory_bytes = rocksdb_cache_get_usage(l->rows.cache) + rows_unflushed(l);
    for (int i = 0; i < ROWS_CF_COUNT; i++) {
        const uint64_t bytes = property(l, i, "rocksdb.total-sst-files-size") +
                               property(l, i, "rocksdb.total-blob-file-size");
        ret->row_bytes_disk += bytes;
        if (i == ROWS_LOG) ret->log_bytes_disk = bytes;
        ret->memory_bytes += property(l, i, "rocksdb.estimate-table-readers-mem");
        ret->compaction_bytes += property(l, i, "rocksdb.estimate-pending-compaction-bytes");
        const uint64_t files = first_level_files(l, i);
        if (files > ret->first_level_files) ret->first_level_files = files;
    }
    ret->write_stopped = property(l, 0, "rocksdb.is-write-stopped") != 0;
    ret->stalls_us = stall_us(l);
}

/* Reads every row of every table, so that RocksDB verifies every block and every value it holds. */
err rows_check(local *l, engine_report *report, void *ctx) {
    rocksdb_readoptions_t *o = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(o, 1);
    rocksdb_readoptions_set_fill_cache(o, 0);
    rocksdb_readoptions_set_readahead_size(o, 2 << 20);
    for (int i = 0; i < ROWS_CF_COUNT; i++) {
        rocksdb_iterator_t *it = rocksdb_create_iterator_cf(l->rows.db, o, l->rows.cf[i]);
        for (rocksdb_iter_seek_to_first(it); rocksdb_iter_valid(it); rocksdb_iter_next(it)) {
            size_t len;
            (void)rocksdb_iter_value(it, &len);
        }
        char *text = NULL, where[64];
        rocksdb_iter_get_error(it, &text);
        rocksdb_iter_destroy(it);
        if (text == NULL) continue;
        snprintf(where, sizeof where, "rows, table %s", cf_names[i]);
        report(ctx, text, where);
        rocksdb_free(text);
    }
    rocksdb_readoptions_destroy(o);
    return OK;
}
