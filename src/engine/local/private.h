/* Inside engine/local: the types and calls its rooms share. A room is a file:
 *
 *   local.c    the vtable, open and close, failure       rows.c    RocksDB: reading, tuning
 *   folder.c   FORMAT, LOCK, the files' places           commit.c  transactions, group commit
 *   extent.c   extent files: allocation, states          stream.c  writing and reading streams
 *   reclaim.c  giving space back, recovery, census       ref.c     stream references and frames
 *   vault.c    slots for secrets                         check.c   verification
 *   syncer.c   one fdatasync for all who wait
 *   fds.c      open files for reading                    wal.c     what a damaged log lost
 *   point.c    the state at one moment, for a backup
 *   copy.c     what a backup copies of it, and whether it is whole
 *   buffers.c  memory that streams are written from      writer.c  writes that go on behind a stream
 *   log.c      the log of entries in commit order        nospace.c  a sync that fails is final */
#pragma once

#include <pthread.h>
#include <rocksdb/c.h>
#include <stdatomic.h>

#include "engine/impl.h"
#include "engine/local/local.h"

#define EXTENT_BLOCK     4096u          /* allocation unit: punching frees whole blocks */
#define EXTENT_BYTES     (256ull << 20) /* a full extent */
#define EXTENT_BYTES_MIN (16ull << 20)
#define RUN_BYTES_MAX    (64ull << 20)
#define RUN_STEP_FIRST   (4ull << 20) /* first reservation of a stream of unknown length; doubles */
#define RUNS_MAX         336    /* of a stream; a reference takes 22 + 12 each, at most 4096 */
#define SEGMENT_BYTES    65536u /* one CRC-32C each */
#define FRAME_BYTES      64u    /* ends every run */
/* Streams gather what they write: in a large buffer, of which those that are written past the page cache
 * have two, or in a small one. At most so many large ones are in use at once, and some are kept for
 * the next stream. */
#define STREAM_BUFFER       (512u << 10)
#define STREAM_BUFFER_SMALL (128u << 10)
#define STREAM_SLACK        (64u << 10) /* more that may wait for one last write */
#define STREAM_BUFFERS_MAX  64u
#define STREAM_BUFFERS_KEPT 16u
/* Shorter ones stay in the page cache, where they may be read soon. */
#define STREAM_DIRECT_MIN (4u << 20)
#define WRITERS_MAX       8u
#define STREAM_TAIL_MAX   ((size_t)3 * EXTENT_BLOCK) /* zeros, table and frame of the longest run */
#define LANES_MAX         4
#define SHARD_STRIPES     4096u
#define VAULT_SLOT_BYTES  128u
/* Below this much free space nothing that grows the store is accepted, so that RocksDB, which
 * cannot undo half a flush, never meets the end of the disk itself. 1/32 of a small disk. */
#define SPACE_RESERVE_MIN (16ull << 20)
#define SPACE_RESERVE_MAX (256ull << 20)
#define SPACE_TO_OPEN     (8ull << 20) /* below SPACE_RESERVE_MIN, which the store itself keeps free */
#define SPACE_PLENTY      (4ull << 30)

typedef struct local local;
typedef struct local_txn local_txn;
typedef struct local_stream local_stream;

/* What tests change. NULL or zero fields: the defaults above. */
typedef struct local_tune {
    const io *io;
    uint64_t extent_bytes, run_bytes_max, run_step_first;
    uint64_t write_bytes; /* RocksDB's write buffers, all together */
    unsigned lanes;
    /* No work behind the caller's back, so that the same calls make the same writes in the same order:
     * space is given back by reclaim_now (and on close), and RocksDB does not compact by itself. */
    bool quiet;
} local_tune;

err engine_local_open_tuned(const engine_local_options *o, const local_tune *tune,
                            engine **ret) CHECKED;

/* ---- local.c ---- */

/* Enters FAILED (for good; see local.c) and returns e. Call with err_fail already done. */
err local_fail(local *l, err e) CHECKED;
bool local_failed(local *l);
/* ERR_NO_SPACE unless `more` bytes fit the disk beside the reserve. */
err local_space(local *l, uint64_t more) CHECKED;
/* ERR_READ_ONLY when this engine takes no changes. */
err local_writable(local *l) CHECKED;

/* ---- syncer.c ---- */

/* Shares one fdatasync among all who wait for the same file. */
typedef struct syncer {
    pthread_mutex_t mutex;
    pthread_cond_t done;
    uint64_t started, finished; /* syncs begun and ended, counted from 1 */
    bool running;
} syncer;

void syncer_init(syncer *s);
void syncer_done(syncer *s);
/* All that was written to fd before the call is durable when it returns OK. An error fails the
 * engine: nobody who waited may retry. what: for the message. */
err syncer_wait(syncer *s, local *l, int fd, const char *what) CHECKED;

/* ---- rows.c ---- */

enum { ROWS_SYSTEM = ENGINE_TABLE_COUNT, ROWS_LOG, ROWS_CF_COUNT };

typedef struct rows {
    rocksdb_t *db;
    rocksdb_cache_t *cache;
    rocksdb_options_t *db_options;
    rocksdb_options_t *cf_options[ROWS_CF_COUNT + 1]; /* the last: RocksDB's "default", unused */
    rocksdb_column_family_handle_t *cf[ROWS_CF_COUNT + 1];
    rocksdb_readoptions_t *read, *read_nowait;
    rocksdb_writeoptions_t *write;
    rocksdb_flushoptions_t *flush;
    uint64_t cache_bytes, write_bytes; /* write_bytes 0: a part of cache_bytes */
} rows;

err rows_open(local *l, bool create) CHECKED;
/* Flushes unless the engine failed or is read-only; ret_flushed: nothing stands in logs only. */
void rows_close(local *l, bool *ret_flushed);
err rows_get(local *l, int cf, slice key, arena *a, bool nowait, slice *ret) CHECKED;
/* Iterates the system rows from `lower` while keys start with `prefix`. */
rocksdb_iterator_t *rows_system_iter(local *l, rocksdb_readoptions_t *own);
/* Turns RocksDB's error text (freed here) into an err with a detail. */
err rows_error(char *text, const char *doing) CHECKED;
/* Bytes in write buffers, which RocksDB is yet to write to tables. */
uint64_t rows_unflushed(local *l);
void rows_stats(local *l, engine_stats *ret);
err rows_check(local *l, engine_report *report, void *ctx) CHECKED;
/* Hard links of all tables, and a copy of the log, at one moment, in a new folder `path`. */
err rows_checkpoint(local *l, const char *path) CHECKED;
/* Writes to tables what only the log holds, as far as it can. */
bool rows_flush(local *l);
/* Two of the tables, system and the default one, of rows in a folder, for reading. */
err rows_open_system(const char *path, rocksdb_t **ret,
                     rocksdb_column_family_handle_t *ret_cf[2]) CHECKED;

err local_get(engine *e, engine_table t, slice key, arena *a, bool nowait, slice *ret) CHECKED;
err local_scan(engine *e, engine_table t, slice lower, slice upper, engine_cursor **ret) CHECKED;
err local_cursor_next(engine_cursor *c, slice *ret_key, slice *ret_value, bool *ret_more) CHECKED;
err local_cursor_seek(engine_cursor *c, slice key) CHECKED;
void local_cursor_free(engine_cursor *c);

/* System rows. Keys: a letter, then big-endian numbers; values are records (base/record.h).
 *   'E' extent         state and size of an extent file
 *   'P' extent block   a released run whose space is not given back yet: data length, stream
 *   'R' extent block   an adopted run: data length, stream
 *   'S'                how often this store was opened for writing */
#define SYSTEM_KEY_MAX 9
typedef struct system_key {
    uint8_t b[SYSTEM_KEY_MAX];
    uint8_t len;
} system_key;

system_key system_key_of(char kind, uint32_t extent, uint32_t block);
system_key system_key_extent(char kind, uint32_t extent);
err system_key_parse(slice key, char kind, uint32_t *ret_extent, uint32_t *ret_block) CHECKED;
static inline slice system_key_slice(const system_key *k) {
    return slice_of(k->b, k->len);
}

/* ---- wal.c ---- */

/* Before RocksDB recovers: ERR_CORRUPT when a log is damaged, and not only torn. */
err wal_check(local *l) CHECKED;
/* Is the log's damage no more than what a power cut left of the one batch that nobody was told of? ret_last: the
 * number of the last log. */
err wal_torn(local *l, bool *ret_torn, uint64_t *ret_last) CHECKED;
/* Removes the logs up to `last`, durably: RocksDB has recovered what is in them. */
err wal_forget(local *l, uint64_t last) CHECKED;

/* ---- ref.c ---- */

/* A contiguous part of an extent that holds one part of one stream:
 *   data, zeros, CRC-32C of each 64 KiB segment of data (4 bytes each), frame (64 bytes)
 * The frame ends the run, so data starts on a block and a run's place and length find its frame. */
typedef struct run {
    uint32_t extent;
    uint32_t blocks; /* disk length */
    uint64_t offset; /* in the extent, a multiple of EXTENT_BLOCK */
    uint64_t data_len;
} run;

typedef struct frame {
    uint32_t extent, index; /* index: which run of its stream */
    uint64_t offset, data_len, disk_len, stream;
    uint32_t table_crc;
} frame;

static inline uint64_t run_disk_len(const run *r) {
    return (uint64_t)r->blocks * EXTENT_BLOCK;
}
/* Blocks that data_len bytes take with table and frame; and the data that fits disk_len bytes. */
uint32_t run_blocks_for(uint64_t data_len);
uint64_t run_data_max(uint64_t disk_len);
static inline uint32_t run_segments(uint64_t data_len) {
    return (uint32_t)((data_len + SEGMENT_BYTES - 1) / SEGMENT_BYTES);
}

void frame_encode(const frame *f, uint8_t out[FRAME_BYTES]);
err frame_decode(const uint8_t in[FRAME_BYTES], frame *ret) CHECKED;
/* Is it the frame of this run of that stream? */
bool frame_is_of(const frame *f, const run *r, uint64_t stream);

typedef struct ref {
    uint64_t stream, len;
    uint32_t count;
    run runs[RUNS_MAX];
} ref;

err ref_encode(uint64_t stream, const run *runs, uint32_t count, arena *a, slice *ret) CHECKED;
/* ERR_CORRUPT unless it is exactly what ref_encode made. */
err ref_decode(slice in, ref *ret) CHECKED;
err ref_decode_len(slice in, uint64_t *ret_len) CHECKED;
/* Finds the run that holds byte `at` without decoding the whole into memory.
 * ret_at: offset of that byte in the run. ERR_CORRUPT also when `at` is past the end. */
err ref_find(slice in, uint64_t at, run *ret, uint64_t *ret_at) CHECKED;

/* ---- extent.c ---- */

typedef enum extent_state {
    EXTENT_OPEN,   /* a lane allocates from it */
    EXTENT_FULL,   /* no more allocation; pins may be left */
    EXTENT_SEALED, /* its row says so: every byte in it has a run row or a pending row */
    EXTENT_DEAD,   /* being unlinked */
} extent_state;

typedef struct extent {
    uint32_t id;
    extent_state state;
    int fd;     /* for writing; -1 from SEALED on */
    int direct; /* the same past the page cache; -1: the file system has none, and from SEALED on */
    uint64_t size; /* of the file */
    uint64_t tail; /* next free byte, a multiple of EXTENT_BLOCK */
    int64_t live;  /* bytes on disk that have run rows; exact once the census is done */
    uint32_t pins; /* runs neither adopted nor given back: it may not be sealed before */
    bool queued;   /* on the reclaimer's list */
    syncer sync;
    struct extent *next; /* hash chain */
    struct extent *todo; /* reclaimer's list */
} extent;

typedef struct lane {
    pthread_mutex_t mutex; /* held while the lane gets a new extent */
    extent *current;       /* OPEN, or NULL */
} lane;

/* A range to give back. row: a pending row names it; pin: the extent is unpinned afterwards. */
typedef struct punch {
    uint32_t extent, blocks;
    uint64_t offset;
    bool row, pin;
} punch;

#define EXTENT_HASH     4096u
#define PUNCH_QUEUE_MAX 65536u

typedef struct extents {
    pthread_mutex_t mutex; /* guards all below and every extent's fields but sync */
    pthread_cond_t work;   /* wakes the reclaimer */
    extent *hash[EXTENT_HASH];
    uint32_t next_id;
    uint64_t extent_bytes, run_bytes_max, run_step_first;
    lane lanes[LANES_MAX];
    unsigned lane_count;
    atomic_uint lane_next;
    atomic_bool direct_unsupported; /* a write past the page cache was refused: no more of them */

    punch *punches; /* circular, PUNCH_QUEUE_MAX */
    size_t punch_head, punch_count;
    bool rescan; /* pending rows may say more than the queue */
    extent *todo;
    bool stop, census_done, thread_started, punch_unsupported;
    pthread_t thread;
    rocksdb_iterator_t *census;    /* opened before the first commit of this run */
    int64_t live_bytes, live_data; /* on disk; and of the streams' own bytes */
} extents;

void extents_init(local *l);
err extents_open(local *l) CHECKED;  /* loads the rows, recovers what was open */
err extents_start(local *l) CHECKED; /* starts census and reclaimer */
void extents_close(local *l);        /* stops them, seals what is open */
/* Room on disk: at most want bytes, at least `least`, in one run; pinned until extent_adopted or
 * extent_abandoned. ERR_NO_SPACE. */
err extent_alloc(local *l, uint64_t want, uint64_t least, run *ret, extent **ret_extent) CHECKED;
/* Makes the run longer in place by up to `more`. False when something else follows it. */
bool extent_extend(local *l, extent *x, run *r, uint64_t more);
/* The run keeps `blocks` of what it reserved. */
void extent_trim(local *l, extent *x, run *r, uint32_t blocks);
/* Writes whole blocks to an extent that the caller has pinned; *direct: past the page cache, and cleared when
 * the file system cannot. 0 or a negative errno. */
int extent_write(local *l, extent *x, bool *direct, const uint8_t *p, size_t n, uint64_t at);
void extent_adopted(local *l, const run *r);   /* its row is durable */
void extent_abandoned(local *l, const run *r); /* it will never have one */
void extent_released(local *l, const run *r);  /* its row is durably gone */

extent *extent_find_locked(local *l, uint32_t id);
void extent_remove_locked(local *l, extent *x); /* frees */
void extent_unpin_locked(local *l, extent *x);
void extent_look_locked(local *l, extent *x); /* puts it on the reclaimer's list */
void extent_name(uint32_t id, char out[16]);
bool extent_name_parse(const char *name, uint32_t *ret_id);
/* Puts the extent's row and waits until it is durable. */
err extent_put_row(local *l, uint32_t id, bool sealed, uint64_t size) CHECKED;
err extent_row_parse(slice value, bool *ret_sealed, uint64_t *ret_size) CHECKED;
/* Run rows and pending rows: data length and stream. */
slice run_row(buf *b, uint64_t data_len, uint64_t stream);
err run_row_parse(slice key, slice value, char kind, run *ret, uint64_t *ret_stream) CHECKED;
void extents_stats(local *l, engine_stats *ret);

/* ---- reclaim.c ---- */

/* Seals, or unlinks when nothing lives in it. Called by the reclaimer, and by close. */
void reclaim_extent(local *l, extent *x);
/* Recovery of one extent that was open at an unclean stop; ret_size: what is left of it. */
err reclaim_recover(local *l, uint32_t id, uint64_t *ret_size) CHECKED;
/* Counts live bytes with the iterator l->ext.census, which it frees. */
void reclaim_census(local *l);
void reclaim_now(local *l); /* quiet: all that the thread would do by now */
void *reclaim_thread(void *l);
void reclaim_push_locked(local *l, punch p);

/* Queues all that may be unlinked, and looks for pending rows: after the census, and after a point. */
void reclaim_all_locked(local *l);

/* ---- point.c ---- */

typedef struct point {
    pthread_mutex_t mutex;    /* guards id and until_us; held while one is begun or ended */
    pthread_mutex_t reclaims; /* held by whoever gives space back, and to change `held` */
    bool held;                /* what a row released is not given back */
    uint64_t id;              /* 0: none */
    int64_t until_us;
} point;

void point_init(local *l);
void point_done(local *l); /* ends it */
void point_free(local *l);
/* Removes what a killed process left of one. */
void point_sweep(local *l);
/* Ends one whose lease is over. ret: one is held still. Called by the reclaimer. */
bool point_look(local *l);
err local_point_begin(engine *e, int64_t lease_ms, uint64_t *ret_id) CHECKED;
err local_point_renew(engine *e, uint64_t id, int64_t lease_ms) CHECKED;
err local_point_end(engine *e, uint64_t id) CHECKED;

/* ---- fds.c ---- */

#define FD_SETS 128u
#define FD_WAYS 4u

typedef struct read_fd {
    uint32_t extent;
    int fd; /* -1: free */
    uint32_t refs;
    bool stale; /* closed with the last reference */
    uint64_t used;
} read_fd;

/* Files open for reading, at most FD_SETS * FD_WAYS kept. */
typedef struct fds {
    pthread_mutex_t mutex;
    read_fd slots[FD_SETS][FD_WAYS];
    uint64_t clock;
} fds;

typedef struct fd_lease {
    int fd;
    read_fd *slot; /* NULL: this reader's own */
} fd_lease;

void fds_init(local *l);
void fds_done(local *l);
/* nowait: ERR_WOULD_BLOCK when the file is not open yet. ERR_CORRUPT when there is none. */
err fds_get(local *l, uint32_t extent, bool nowait, fd_lease *ret) CHECKED;
void fds_put(local *l, fd_lease f);
void fds_forget(local *l, uint32_t extent);

/* ---- buffers.c ---- */

typedef struct stream_buffer {
    uint8_t *p; /* begins at a multiple of EXTENT_BLOCK; STREAM_TAIL_MAX bytes follow the slack */
    size_t cap, slack; /* whole blocks */
    bool large;
} stream_buffer;

typedef struct buffers {
    pthread_mutex_t mutex;
    unsigned large; /* in use */
    uint8_t *kept[STREAM_BUFFERS_KEPT];
    unsigned kept_count;
} buffers;

void buffers_init(local *l);
void buffers_done(local *l);
/* For a stream of len bytes, or ENGINE_LEN_UNKNOWN. */
stream_buffer stream_buffer_get(local *l, uint64_t len);
/* A second large one; false when no more of them may be in use. */
bool stream_buffer_large(local *l, stream_buffer *ret);
void stream_buffer_put(local *l, stream_buffer b);

/* ---- writer.c ---- */

typedef struct write_job {
    extent *x;
    const uint8_t *p;
    size_t n;
    uint64_t at;
    bool direct;          /* in and out, as extent_write */
    bool busy;            /* begun and not waited for: the owner's */
    bool done;            /* guarded by the writers' mutex */
    int result;           /* 0 or a negative errno, once done */
    pthread_cond_t ended; /* the owner inits it */
    struct write_job *next;
} write_job;

typedef struct writers {
    pthread_mutex_t mutex;
    pthread_cond_t work;
    write_job *head, **tail;
    pthread_t threads[WRITERS_MAX];
    unsigned started, idle;
    bool stop;
} writers;

void writers_init(local *l);
void writers_done(local *l); /* when no stream is left */
/* Begins to write j's n bytes. False: no thread can be had, nothing is begun. */
bool write_begin(local *l, write_job *j);
/* Its result; 0 when none was begun. */
int write_wait(local *l, write_job *j);

/* ---- stream.c ---- */

err local_stream_create(engine *e, uint64_t len, engine_stream **ret) CHECKED;
err local_stream_room(engine_stream *s, uint8_t **ret, size_t *ret_len) CHECKED;
void local_stream_filled(engine_stream *s, size_t n);
err local_stream_sync(engine_stream *s, arena *a, slice *ret_ref) CHECKED;
void local_stream_abort(engine_stream *s);
err local_stream_read(engine *e, slice ref, uint64_t offset, uint8_t *out, size_t len,
                      bool nowait) CHECKED;
err local_stream_len(engine *e, slice ref, uint64_t *ret) CHECKED;
/* For commit.c: the rows of a synced stream, and its end after the commit. */
void stream_put_rows(local_stream *s, local_txn *t);
void stream_committed(local_stream *s); /* frees */
void stream_forget(local_stream *s);    /* frees; its runs stay pinned (outcome unknown) */
local_stream **stream_txn_link(local_stream *s);

/* ---- commit.c ---- */

/* Threads that lead groups whose first transaction nobody waits for. Two: one writes while the other
 * tells the outcome of the group before. */
#define COMMITTERS 2

typedef struct commit_queue {
    pthread_mutex_t mutex;
    local_txn *head, **tail; /* waiting, in arrival order */
    bool leading;            /* a leader is at work, or has been asked for */
    pthread_cond_t lead;     /* a committer is asked to lead */
    bool lead_wanted, closed;
    pthread_t committers[COMMITTERS];
    unsigned committer_count;
    atomic_uint *stripes; /* SHARD_STRIPES locks */
    uint8_t *joined;      /* the leader's room for joining a group's batches */
    size_t joined_cap;
    atomic_uint_fast64_t commits, batches;
} commit_queue;

void commit_init(local *l);
void commit_start(local *l);
void commit_stop(local *l); /* what is queued is written first */
void commit_done(local *l);
err local_txn_begin(engine *e, slice shard, bool nowait, engine_txn **ret) CHECKED;
void local_txn_put(engine_txn *t, engine_table table, slice key, slice value);
void local_txn_delete(engine_txn *t, engine_table table, slice key);
void local_txn_adopt(engine_txn *t, engine_stream *s);
void local_txn_release(engine_txn *t, slice ref);
void local_txn_log(engine_txn *t, slice entry, slice private_part, uint64_t *ret_index);
err local_txn_commit(engine_txn *t) CHECKED;
void local_txn_commit_later(engine_txn *t, engine_done *done, void *ctx);
void local_txn_abort(engine_txn *t);
/* The engine's own transactions: no shard; allowed when space is short. */
local_txn *txn_system(local *l);
void txn_log_delete(local_txn *t, slice from, slice to); /* the log's rows with from <= key < to */
void txn_log_put(local_txn *t, slice key, slice value);
void txn_system_put(local_txn *t, const system_key *key, slice value);
void txn_system_delete(local_txn *t, const system_key *key);

/* ---- log.c ---- */

typedef struct local_log {
    uint64_t end; /* the leader's: the next entry's number, counting what it is writing */
    buf group;    /* the leader's: the row of the group that it is writing */
    atomic_uint_fast64_t first, next; /* what readers may see */
} local_log;

void log_init(local *l);
err log_open(local *l) CHECKED;
void log_done(local *l);
/* A transaction's entry, encoded as it stands in its group's row. */
void log_encode(buf *out, slice entry, slice private_part);
/* The leader: the group's row, from entries added in commit order. log_add returns the entry's number; a row
 * without entries is not put. */
void log_begin(local *l);
uint64_t log_add(local *l, slice encoded);
void log_put(local *l, rocksdb_writebatch_t *b);
void log_written(local *l); /* the batch is durable */
err local_log_read(engine *e, uint64_t from, uint64_t to, engine_log_each *each, void *ctx) CHECKED;
uint64_t local_log_next(engine *e);
err local_log_trim(engine *e, uint64_t before) CHECKED;
/* Every row in order, without gaps. */
err log_check(local *l, engine_report *report, void *ctx) CHECKED;

/* ---- vault.c ---- */

typedef struct vault {
    int fd;
    pthread_mutex_t mutex; /* guards the free list */
    syncer sync;
    bool scanned;
    uint64_t slots; /* in the file */
    uint64_t *free_slots;
    size_t free_count, free_cap;
} vault;

void vault_init(local *l);
err vault_open(local *l, bool create) CHECKED;
void vault_close(local *l);
err local_vault_put(engine *e, uint64_t id, slice secret, uint64_t *ret_slot) CHECKED;
err local_vault_get(engine *e, uint64_t id, uint64_t slot, arena *a, slice *ret) CHECKED;
err local_vault_destroy(engine *e, uint64_t id, uint64_t slot) CHECKED;
err local_vault_each(engine *e, err (*each)(void *ctx, uint64_t id, uint64_t slot),
                     void *ctx) CHECKED;
/* Holds back changes of the vault from before `hold` is called until its slots are copied to fd. */
err vault_copy(local *l, err (*hold)(local *l), int fd) CHECKED;
err vault_check(local *l, engine_report *report, void *ctx) CHECKED;

/* ---- check.c ---- */
err local_check(engine *e, engine_report *report, void *ctx) CHECKED;

/* ---- folder.c ---- */

/* Reads FORMAT, takes LOCK; or makes a new folder, without FORMAT yet. */
err folder_open(local *l, bool create) CHECKED;
/* Removes the files of a folder, as one whose making was interrupted. */
void folder_sweep(local *l, int parent, const char *name);
/* closed.c: before RocksDB is opened. ERR_CORRUPT: its MANIFEST is not as it was left. */
err closed_check(local *l) CHECKED;
void closed_write(local *l); /* after it was closed, with nothing in logs only */
/* After new tables were made: FORMAT says so. Nothing to do when it does already. */
err folder_upgrade(local *l) CHECKED;
err folder_finish_create(local *l) CHECKED; /* writes FORMAT: from here on the folder is whole */
void folder_close(local *l);

struct local {
    engine base;
    uint32_t magic;
    bool read_only, quiet;
    int format; /* of the folder as it was found; below ENGINE_LOCAL_FORMAT until it is upgraded */
    atomic_bool failed;
    const io *io;
    char *path;
    int dir_fd, extents_fd, lock_fd;
    uint64_t epoch;
    atomic_uint_fast64_t id_counter;
    rows rows;
    commit_queue commit;
    local_log log;
    extents ext;
    fds fds;
    buffers buffers;
    writers writers;
    vault vault;
    point point;
};

#define LOCAL_MAGIC 0x53524c45u /* "SRLE" */

static inline local *local_of(engine *e) {
    local *l = (local *)e;
    MUST(l != NULL && l->magic == LOCAL_MAGIC);
    return l;
}
