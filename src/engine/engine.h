/* engine: what a store stands on. Ordered rows with atomic commits, byte streams, a vault for
 * wrapped keys, and one log. An engine knows nothing of accounts, blobs or HTTP.
 *
 * engine/local is RocksDB and extent files on one machine; engine/rados (Ceph) comes later. Nothing
 * above this header may assume RocksDB, a file or a page cache. Every engine passes
 * tests/unit/engine_suite.c, which sees this header only.
 *
 * Rows. A row is (table, key, value). Keys are 1..ENGINE_KEY_MAX bytes, hold no NUL byte and sort
 * bytewise. Values are up to ENGINE_VALUE_MAX bytes.
 *
 * Transactions. A transaction names one shard (any byte string: a container, or a container and a
 * blob) and changes only rows that belong to it. From begin to commit or abort no other transaction
 * of the same shard runs, so read, decide, write is safe inside it. Commit is atomic and durable:
 * when it returns OK the change survives power loss; otherwise nothing happened (ERR_IO leaves the
 * engine read-only: the outcome is then unknown until it is opened again, and a failed sync is never
 * retried). ERR_CONFLICT means begin again (engines that compare-and-swap; local never says it).
 * At most one transaction a thread, not counting those handed over by engine_txn_commit_later.
 *
 * Streams. Content too large for a row is written once, front to back, and never changed. A stream is
 * named by its reference, an opaque byte string that rows keep. A stream is synced, then adopted
 * by the transaction whose rows refer to it; one that is not adopted is gone after abort or restart.
 * Releasing a stream in a transaction gives its space back. The caller makes sure that nobody reads a
 * stream that it releases.
 *
 * The vault holds small secrets (wrapped keys) where destroying one leaves no trace: they are
 * overwritten in place and synced, never copied to a log or a compacted file.
 *
 * The log. A transaction may leave one entry in it, with a private part beside. Entries are numbered from
 * 0 on without gaps, in the order of commits: an entry is there if and only if its transaction is. They are
 * never changed; the oldest may be trimmed.
 *
 * A point is the state at one moment, kept as it was while all else goes on, for a backup to copy. What is
 * released meanwhile is given back when the point ends.
 *
 * Threads: all functions may be called from any thread; one transaction, stream or cursor is used
 * by one thread at a time.
 *
 * nowait: the call answers from memory or says ERR_WOULD_BLOCK, having done nothing. */
#pragma once

#include "base/base.h"

#define ENGINE_KEY_MAX          8192
#define ENGINE_VALUE_MAX        (16u << 20)
#define ENGINE_VAULT_SECRET_MAX 96
#define ENGINE_LOG_ENTRY_MAX    65535 /* bytes; what a tlog-tiles entry may have */
#define ENGINE_LOG_PRIVATE_MAX  16384
#define ENGINE_LEN_UNKNOWN      UINT64_MAX

/* Tables differ in what an engine should optimise for, not in meaning. */
typedef enum engine_table {
    ENGINE_META,    /* few, small, hot: accounts, containers, settings */
    ENGINE_BLOB,    /* many, small (about 200 bytes), scanned in order: one or a few a blob */
    ENGINE_BLOCK,   /* many, short-lived: staged blocks; and block lists (larger values) */
    ENGINE_CONTENT, /* large values (1 KiB..64 KiB), read by key: inline content */
    ENGINE_HISTORY, /* like BLOB, less often read: earlier states, which listings of BLOB must not
                       walk over */
    ENGINE_INDEX,   /* small, scanned in order, deleted and put: secondary orders of BLOB */
    ENGINE_JOB, /* queues: written, scanned in order, deleted; taken on a full disk too, when the
                       transaction puts and adopts nothing else, since deleting leaves jobs */
    ENGINE_TABLE_COUNT
} engine_table;

typedef struct engine engine;
typedef struct engine_txn engine_txn;
typedef struct engine_cursor engine_cursor;
typedef struct engine_stream engine_stream;

typedef struct engine_stats {
    uint64_t stream_bytes_live; /* sealed bytes in adopted streams */
    uint64_t stream_bytes_disk; /* what they and their slack occupy */
    uint64_t row_bytes_disk;
    uint64_t log_bytes_disk;          /* of these, the log's */
    uint64_t memory_bytes;            /* caches and write buffers */
    uint64_t commits, commit_batches; /* transactions, and the synced batches they shared */
    uint64_t log_first, log_next;     /* the entries that are there: first <= index < next */
    uint64_t stalls_us;               /* time writers were held back by compaction */
    uint64_t compaction_bytes;        /* rows that compaction is yet to rewrite, estimated */
    uint64_t first_level_files; /* of rows, of the table that has most; many hold writers back */
    bool write_stopped;         /* writers are held back now, until compaction has caught up */
    bool failed;                /* read-only after a failed write */
} engine_stats;

/* One finding of a check. where: a file and offset, or a table and key, for a person. */
typedef void engine_report(void *ctx, const char *what, const char *where);

/* The outcome of a transaction, with this thread's err_detail. It runs on a thread that others wait
 * for: it must not block. */
typedef void engine_done(void *ctx, err e);

/* An entry of the log. The slices live until this returns; its error ends the reading. */
typedef err engine_log_each(void *ctx, uint64_t index, slice entry, slice private_part);

/* What an engine implements; see the functions below for the contract of each. */
typedef struct engine_vtable {
    void (*close)(engine *);
    err (*get)(engine *, engine_table, slice key, arena *, bool nowait, slice *ret);
    err (*scan)(engine *, engine_table, slice lower, slice upper, engine_cursor **ret);
    err (*cursor_next)(engine_cursor *, slice *ret_key, slice *ret_value, bool *ret_more);
    err (*cursor_seek)(engine_cursor *, slice key);
    void (*cursor_free)(engine_cursor *);
    err (*txn_begin)(engine *, slice shard, bool nowait, engine_txn **ret);
    void (*txn_put)(engine_txn *, engine_table, slice key, slice value);
    void (*txn_delete)(engine_txn *, engine_table, slice key);
    void (*txn_adopt)(engine_txn *, engine_stream *);
    void (*txn_release)(engine_txn *, slice ref);
    void (*txn_log)(engine_txn *, slice entry, slice private_part, uint64_t *ret_index);
    err (*txn_commit)(engine_txn *);
    void (*txn_commit_later)(engine_txn *, engine_done *done, void *ctx);
    void (*txn_abort)(engine_txn *);
    err (*stream_create)(engine *, uint64_t len, engine_stream **ret);
    err (*stream_room)(engine_stream *, uint8_t **ret, size_t *ret_len);
    void (*stream_filled)(engine_stream *, size_t n);
    err (*stream_sync)(engine_stream *, arena *, slice *ret_ref);
    void (*stream_abort)(engine_stream *);
    err (*stream_read)(engine *, slice ref, uint64_t offset, uint8_t *out, size_t len, bool nowait);
    err (*stream_len)(engine *, slice ref, uint64_t *ret);
    err (*vault_put)(engine *, uint64_t id, slice secret, uint64_t *ret_slot);
    err (*vault_get)(engine *, uint64_t id, uint64_t slot, arena *, slice *ret);
    err (*vault_destroy)(engine *, uint64_t id, uint64_t slot);
    err (*vault_each)(engine *, err (*each)(void *ctx, uint64_t id, uint64_t slot), void *ctx);
    err (*log_read)(engine *, uint64_t from, uint64_t to, engine_log_each *each, void *ctx);
    uint64_t (*log_next)(engine *);
    err (*log_trim)(engine *, uint64_t before);
    err (*point_begin)(engine *, int64_t lease_ms, uint64_t *ret_id); /* these three may be NULL */
    err (*point_renew)(engine *, uint64_t id, int64_t lease_ms);
    err (*point_end)(engine *, uint64_t id);
    err (*check)(engine *, engine_report *, void *ctx);
    void (*stats)(engine *, engine_stats *ret);
    uint64_t (*new_id)(engine *);
} engine_vtable;

struct engine {
    const engine_vtable *v;
};

/* Waits for background work, makes everything durable, frees. A clean stop. */
void engine_close(engine *e);

/* Value of a row, copied into the arena. ERR_NOT_FOUND (no detail is set: it is an answer). */
err engine_get(engine *e, engine_table t, slice key, arena *a, bool nowait, slice *ret) CHECKED;

/* Rows with lower <= key < upper in order (upper empty: to the end of the table), as they stood when
 * the cursor was opened or later moved. next's slices live until the next call on the cursor. seek
 * goes forward to the first key >= key. */
err engine_scan(engine *e, engine_table t, slice lower, slice upper, engine_cursor **ret) CHECKED;
err engine_cursor_next(engine_cursor *c, slice *ret_key, slice *ret_value, bool *ret_more) CHECKED;
err engine_cursor_seek(engine_cursor *c, slice key) CHECKED;
engine_cursor *engine_cursor_free(engine_cursor *c);

/* An empty shard: the transaction only leaves an entry in the log, and waits for no other. */
err engine_txn_begin(engine *e, slice shard, engine_txn **ret) CHECKED;
/* Does not wait: ERR_WOULD_BLOCK while another transaction of the shard runs. */
err engine_txn_try_begin(engine *e, slice shard, engine_txn **ret) CHECKED;
void engine_txn_put(engine_txn *t, engine_table table, slice key, slice value); /* copies both */
void engine_txn_delete(engine_txn *t, engine_table table, slice key);
/* The stream becomes permanent with this transaction, which owns it from here on. Sync it first. */
void engine_txn_adopt(engine_txn *t, engine_stream *s);
/* The stream's space is given back with this transaction. */
void engine_txn_release(engine_txn *t, slice ref);
/* Leaves an entry of 1..ENGINE_LOG_ENTRY_MAX bytes, once a transaction; copies both. When the outcome is
 * told and is OK, *ret_index (may be NULL) holds its number. Taken on a full disk too, when the transaction
 * puts and adopts nothing. */
void engine_txn_log(engine_txn *t, slice entry, slice private_part, uint64_t *ret_index);
/* Frees t whatever it returns. ERR_NO_SPACE, ERR_IO, ERR_READ_ONLY, ERR_CONFLICT. */
err engine_txn_commit(engine_txn *t) CHECKED;
/* The same without waiting: the transaction is the engine's, and done is called once with its
 * outcome, from any thread, perhaps before this returns. Until then the shard stays taken. */
void engine_txn_commit_later(engine_txn *t, engine_done *done, void *ctx);
engine_txn *engine_txn_abort(engine_txn *t); /* NULL is allowed */

/* len: how many bytes will be written, or ENGINE_LEN_UNKNOWN. */
err engine_stream_create(engine *e, uint64_t len, engine_stream **ret) CHECKED;
err engine_stream_write(engine_stream *s, slice data) CHECKED;
/* The same without a copy: memory of the engine's where the next bytes of the stream may be made, at least
 * 1 unless the announced length has been written; then filled says how many of them were. The memory is
 * valid until the next call on the stream. */
err engine_stream_room(engine_stream *s, uint8_t **ret, size_t *ret_len) CHECKED;
void engine_stream_filled(engine_stream *s, size_t n);
/* Durable when it returns OK; the sync is shared with others. Follow with engine_txn_adopt or
 * engine_stream_abort. ret_ref comes from the arena: 1..4096 bytes, no fixed form. */
err engine_stream_sync(engine_stream *s, arena *a, slice *ret_ref) CHECKED;
engine_stream *engine_stream_abort(engine_stream *s); /* NULL is allowed */
/* Exactly len bytes at offset. ERR_CORRUPT when the reference or the framing does not verify. */
err engine_stream_read(engine *e, slice ref, uint64_t offset, uint8_t *out, size_t len,
                       bool nowait) CHECKED;
err engine_stream_len(engine *e, slice ref, uint64_t *ret) CHECKED;

/* Keeps a secret of 1..ENGINE_VAULT_SECRET_MAX bytes, durable on return; rows keep id and slot. */
err engine_vault_put(engine *e, uint64_t id, slice secret, uint64_t *ret_slot) CHECKED;
/* ERR_KEY_DESTROYED after destroy; ERR_CORRUPT when the slot holds another id or fails its check. */
err engine_vault_get(engine *e, uint64_t id, uint64_t slot, arena *a, slice *ret) CHECKED;
/* Overwritten and synced on return. Destroying twice is OK. */
err engine_vault_destroy(engine *e, uint64_t id, uint64_t slot) CHECKED;

/* Calls every slot that holds a secret (not the secret), in no order; those that are put or destroyed
 * meanwhile may be met or not. Ends with each's error. */
err engine_vault_each(engine *e, err (*each)(void *ctx, uint64_t id, uint64_t slot),
                      void *ctx) CHECKED;

/* Calls each durable entry with from <= index < to in order. ERR_NOT_FOUND when `from` was trimmed;
 * ERR_CORRUPT for a gap. Ends without an error where the log does. */
err engine_log_read(engine *e, uint64_t from, uint64_t to, engine_log_each *each,
                    void *ctx) CHECKED;
/* The number of the next entry: all below it are durable. Does not wait. */
uint64_t engine_log_next(engine *e);
/* Entries below `before` are no longer kept and cannot be read; their space comes back in time. The last entries may
 * stay when all are below. One caller at a time. */
err engine_log_trim(engine *e, uint64_t before) CHECKED;

/* Keeps the engine's state as it is now: all transactions that have returned are in it, and each is there whole or
 * not at all. Where a copier finds it is the engine's matter (engine/local/local.h). There is one at a time; it
 * ends by itself lease_ms after it was begun or last renewed, so that a copier that died holds nothing for long.
 * ERR_IN_USE: there is one. ERR_NOT_IMPLEMENTED: this engine has none. ERR_NO_SPACE, ERR_IO, ERR_READ_ONLY. */
err engine_point_begin(engine *e, int64_t lease_ms, uint64_t *ret_id) CHECKED;
/* ERR_NOT_FOUND: it has ended; what was copied since the last renewal may be of no use. */
err engine_point_renew(engine *e, uint64_t id, int64_t lease_ms) CHECKED;
/* OK: it was there up to this call, so all that was copied from it is of that moment. ERR_NOT_FOUND otherwise. */
err engine_point_end(engine *e, uint64_t id) CHECKED;

/* Verifies what the engine itself keeps: files, framing, accounting of streams. Reports each defect;
 * returns an error only when the check itself could not go on. */
err engine_check(engine *e, engine_report *report, void *ctx) CHECKED;
void engine_get_stats(engine *e, engine_stats *ret);
/* An id never handed out before by this store, across restarts and crashes. Not 0. Rises. */
uint64_t engine_new_id(engine *e);
