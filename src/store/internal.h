/* The store's inside: what its files share. keys.h says how rows are named, rows.h what they hold.
 *
 * Invariants
 *  1. A change to a blob runs between change_begin and change_commit: inside the gate, in one
 *     transaction of the shard BASE, after the container was found to be current. What left the
 *     gate before a container's deletion was waited for, so a purge meets no writer.
 *  2. Content is written once under an id that is never used again. A change of content changes the
 *     blob's content_id; appending does not: it adds to the list, and a state's length bounds what
 *     is its own.
 *  3. What a reader may be reading is never released by the change that drops it: that change puts
 * a garbage row, and the reaper releases. A piece is released by exactly one transaction: the one
 * that deletes the only row that owns it (blob row, first mention in a block list, staged block,
 * garbage).
 *  4. The reaper takes garbage of a blob only when every reader of that blob that registered before
 * the garbage was committed is closed (readers.c). A reader registers before it reads the blob row
 * that it then serves, so it finds what that row names.
 *  5. States of one blob share content: a piece belongs to a run of states that follow one another
 * (older, newer, current), and is released when the last state of the run goes (history.c).
 *  6. Snapshots of accounts and containers in the cache were read after the last change of their
 * row: a change drops them after its commit and before it returns. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "store/keys.h"
#include "store/rows.h"
#include "store/store.h"

#define STORE_INLINE_DEFAULT (32u << 10)
#define STORE_INLINE_MAX     (256u << 10)
#define STORE_CONFLICT_TRIES 16
#define STORE_STAGED_LIFE_US (7ll * 24 * 3600 * 1000000)
#define STORE_PIECE_CONTEXT  16

/* ---- cache of snapshots (cache.c) ---- */

typedef struct snap {
    _Atomic uint32_t refs;
    atomic_bool used; /* asked for since the clock hand last passed */
    uint64_t hash;
    size_t cost; /* in the cache's own measure: 1, or bytes */
    slice key;
    struct snap *next;
    void (*free)(struct snap *);
} snap;

typedef struct cache_shard {
    _Alignas(64) pthread_rwlock_t lock;
    /* Rises with every drop: a snapshot read before one is not added after it. */
    uint64_t version;
    unsigned
        changing; /* changes between cache_hold and cache_release: nothing is added meanwhile */
    size_t cost, hand;
    snap **buckets;
} cache_shard;
typedef struct cache {
    cache_shard *shards;
    size_t shard_count, bucket_count; /* buckets of each shard */
    size_t shard_max;                 /* cost that a shard may hold */
} cache;

void cache_init(cache *c, size_t shards, size_t buckets, size_t max_cost);
void cache_done(cache *c);
/* A reference; or NULL, and the version to hand to cache_add (may be NULL). */
snap *cache_get(cache *c, slice key, uint64_t *ret_version);
/* Adds s (taking a reference) unless something was dropped from its shard since `version`. */
void cache_add(cache *c, snap *s, uint64_t version);
void cache_drop(cache *c, slice key);
/* Around a commit: from hold to release nobody finds the key here, so that a state that some have
 * seen already is not followed by an older one for others. */
void cache_hold(cache *c, slice key);
void cache_release(cache *c, slice key);
/* Drops all whose key begins with prefix. */
void cache_drop_all(cache *c, slice prefix);
void snap_ref(snap *s);
void snap_unref(snap *s);

/* ---- the gate (gate.c) ---- */

/* Changes pass through; gate_wait returns when all that were inside when it was called have left.
 */
#define GATE_LANES 16
typedef struct gate_token {
    uint8_t phase, lane;
} gate_token;
typedef struct gate {
    pthread_mutex_t waiting;
    _Atomic uint32_t phase;
    struct gate_lane {
        _Alignas(64) _Atomic int64_t inside;
    } lanes[2][GATE_LANES];
} gate;

void gate_init(gate *g);
void gate_done(gate *g);
gate_token gate_enter(gate *g);
void gate_leave(gate *g, gate_token t);
void gate_wait(gate *g);

/* ---- open readers (readers.c) ---- */

typedef struct reader_pin {
    uint64_t container, hash, seq; /* hash: of the blob's shard */
    struct reader_pin *next, *prev;
    bool held;
} reader_pin;

/* Garbage or a purge, on its way to the reaper. */
typedef enum job_kind {
    JOB_GARBAGE,
    JOB_DROPPED,
    JOB_PURGE,
    JOB_PURGE_ACCOUNT,
    JOB_ACCESS
} job_kind;
typedef struct job {
    job_kind kind;
    uint64_t container, id; /* of an account, for JOB_PURGE_ACCOUNT: id */
    uint64_t hash, seq;
    unsigned failures; /* so far */
    int64_t again_us;  /* monotonic: when it is tried again */
    struct job *next;
    int64_t accessed_us; /* JOB_ACCESS, of the blob of this name */
    slice name;          /* JOB_DROPPED: BASE of the blob; its bytes stand behind the job */
} job;

#define READER_BUCKETS 256
typedef struct readers {
    _Atomic uint64_t seq;
    _Atomic uint64_t open;
    struct reader_bucket {
        _Alignas(64) pthread_mutex_t lock;
        reader_pin *first, *last; /* seq rises */
        job *waiting;
    } buckets[READER_BUCKETS];
} readers;

void readers_init(readers *r);
void readers_done(readers *r);
void readers_enter(readers *r, reader_pin *p, uint64_t container, uint64_t hash);
/* Returns jobs that nothing blocks any more, linked by next. */
job *readers_leave(readers *r, reader_pin *p) CHECKED;
/* True when no reader blocks garbage j; otherwise j is kept, and returned by a readers_leave. */
bool readers_admit(readers *r, job *j) CHECKED;
/* True when no reader that registered before seq reads from the container. */
bool readers_quiet(readers *r, uint64_t container, uint64_t seq) CHECKED;

/* ---- small blobs in memory (hot.c) ---- */

/* A small blob as it was last read: its row and its content, opened. */
typedef struct hot_blob {
    snap snap;
    slice row;
    uint8_t *plain; /* wiped when it goes */
    size_t plain_len;
} hot_blob;

#define HOT_SEEN (1u << 16)
typedef struct hot_cache {
    cache cache;
    _Atomic uint16_t seen[HOT_SEEN];
} hot_cache;

void hot_init(hot_cache *h, uint64_t max_bytes);
/* A reference, or NULL and the version for hot_add. base: the blob's BASE. */
hot_blob *hot_get(hot_cache *h, slice base, uint64_t *ret_version);
/* True when the blob was asked for before, not too many others ago: then it is worth its place. */
bool hot_wants(hot_cache *h, slice base);
void hot_add(hot_cache *h, slice base, slice row, slice plain, uint64_t version);

/* ---- opened content of large blobs in memory (opened.c) ---- */

#define OPENED_LEN          ((size_t)1 << 20) /* of a segment; that of the last one is what is left */
#define OPENED_ANSWER_MAX   ((uint64_t)16 << 20)
#define OPENED_ANSWER_PARTS (OPENED_ANSWER_MAX / OPENED_LEN + 1)
#define OPENED_BUCKETS      4096
#define OPENED_STRIPES      256
#define OPENED_SEEN         (1u << 14)
#define OPENED_SPARE        8 /* segments whose answer has ended, as memory for the next ones */

typedef struct opened_segment {
    _Atomic uint32_t refs;                    /* the cache's is one of them while it is linked */
    bool used;                                /* asked for since the hand last passed */
    bool locked;                              /* not to be swapped out */
    uint64_t container, blob, content, index; /* blob: hash of its BASE */
    uint64_t version;                         /* of the blob, before its row was read */
    uint8_t *p;
    size_t len, cap;
    struct opened_segment *next, *newer, *older;
} opened_segment;

typedef struct opened_cache {
    pthread_mutex_t lock;
    size_t max, used;
    size_t count; /* linked */
    opened_segment *buckets[OPENED_BUCKETS];
    opened_segment *newest, *oldest; /* the clock's round */
    opened_segment *spare;           /* the last first: it may still be in the processor's caches */
    size_t spare_count;
    _Atomic uint64_t versions[OPENED_STRIPES];
    _Atomic uint64_t seen[OPENED_SEEN]; /* which segment and when it was asked for: 32 bits each */
    _Atomic uint64_t clock, hits, misses, locked;
    atomic_bool no_lock; /* the system refused once */
} opened_cache;

void opened_init(opened_cache *o, uint64_t max_bytes);
void opened_done(opened_cache *o);
/* To be asked before the blob's row is read. */
uint64_t opened_version(opened_cache *o, uint64_t blob);
/* A reference to a segment of at least len bytes, or NULL. */
opened_segment *opened_get(opened_cache *o, uint64_t blob, uint64_t content, uint64_t index,
                           size_t len);
/* A new segment like `name` (its len bytes and what it is of), to be filled; NULL: there is no room.
 */
opened_segment *opened_room(opened_cache *o, const opened_segment *name);
/* s is filled. When it is worth its place others may find it from now on; the caller keeps its
 * reference. */
void opened_add(opened_cache *o, opened_segment *s);
void opened_unref(opened_cache *o, opened_segment *s);
/* Nobody finds any content of the blob, of the container (0: of all) any more. It is wiped when the
 * last answer that is being sent from it has ended. */
void opened_drop_blob(opened_cache *o, uint64_t blob);
void opened_drop_container(opened_cache *o, uint64_t container);
void opened_count(opened_cache *o, size_t hits, size_t misses);
void opened_get_stats(opened_cache *o, store_opened_stats *ret);
/* ---- appends to one blob, together (append.c) ---- */

#define APPEND_LANES 64
typedef struct append_lane {
    _Alignas(64) pthread_mutex_t lock;
    struct append *leaders; /* one for each blob that is appended to */
} append_lane;
void append_lanes_init(append_lane *lanes);
void append_lanes_done(append_lane *lanes);

/* ---- the reaper (reaper.c) ---- */

#define REAPERS         4
#define REAPER_JOBS_MAX 200000
typedef struct reaper {
    struct store *store;
    pthread_t thread;
    bool running;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    job *first, *last;
    size_t count;
    bool rescan;      /* jobs were left in the table only */
    int64_t again_us; /* when the first of those that wait is due; INT64_MAX: none waits */
} reaper;

/* ---- pending copies (copier.c) ---- */

#define COPIERS           4
#define STORE_COPY_ID_LEN 36 /* a UUID */
typedef struct copy_task copy_task;
typedef struct copier {
    pthread_mutex_t lock;
    pthread_cond_t wake, ended; /* ended: a copy has, whichever */
    copy_task *waiting, *last, *running;
    size_t count; /* waiting */
    bool rescan;  /* copies stand in the table only */
    pthread_t threads[COPIERS];
    int started;
} copier;

/* ---- the store ---- */

struct store {
    engine *engine;
    crypto_keyservice *keys;
    uint64_t inline_max;
    cache accounts, containers, scopes;
    hot_cache hot;
    opened_cache opened;
    gate gate;
    readers readers;
    pthread_rwlock_t protecting;                         /* immutable.c */
    _Atomic uint64_t access_pending, access_noted[1024]; /* access.c: hashes of blobs */
    append_lane appends[APPEND_LANES];
    _Atomic uint64_t last_tick;
    _Atomic uint64_t uploads_open, garbage_pending, jobs_failing;
    _Atomic uint64_t changes_later; /* whose outcome nobody waits for, under way */
    atomic_bool stopping;
    bool background;
    uint64_t first_id; /* with background: ids below are from before the store was opened */
    reaper reapers[REAPERS];
    copier copier;
    const store_remote *remote; /* NULL: no sources elsewhere */
    bool makes_records;         /* the log's key is made when there is none */
    /* entry.c; of the store as a whole; crypto_secret_new. The log's key, zeros: there is none */
    struct container_secrets *secret;
    const store_deeds *deeds;
    struct {
        pthread_mutex_t lock;
        struct id_place *places; /* ID_PLACES */
    } ids;
};

/* ---- records of accesses (entry.c) ---- */

/* What a key for records is derived with, from an account's, a container's or the log's. */
#define RECORDS_LABEL S("strongroom records v1")

/* Makes or opens the store's log key. read_only engines that have none get a key of zeros, and write no
 * records. */
err entry_open(store *s) CHECKED;
void entry_touch(store_recorder *r, const store_blob *b); /* r may be NULL */
/* The transaction carries the entry, unless an earlier one did. True when it does. r may be NULL. */
bool entry_attach(store_recorder *r, engine_txn *t);
/* engine_txn_commit of a transaction that carries the call's entry. */
err entry_commit(store_call c, engine_txn *t) CHECKED;

/* ---- what the server does by itself (deed.c) ---- */
/* Fills in where it is done. ret: for the change to carry, NULL when there is nothing to record: the store keeps
 * no such records, or the container was deleted meanwhile. Ends with deed_end in every case. */
err deed_begin(store *s, arena *a, uint64_t container, store_deed *d, store_recorder **ret) CHECKED;
void deed_end(store_deed *d);

/* ---- rows of META by id (ids.c) ---- */
#define ID_PLACES 1024
typedef struct id_place {
    uint64_t id;
    uint8_t len, key[111]; /* len 0: none */
} id_place;
void ids_init(store *s);
void ids_done(store *s);
/* kind: 'a' an account, 'c' a container, 'd' a deleted one. In the arena. ERR_NOT_FOUND. */
err id_row(store *s, arena *a, char kind, uint64_t id, slice *ret_key, slice *ret_value) CHECKED;
err id_account(store *s, store_call c, uint64_t id, const store_account **ret) CHECKED;
err id_container(store *s, store_call c, uint64_t id, const store_account **ret_account,
                 const store_container **ret) CHECKED;

/* What becomes of what is overwritten and deleted: the account's settings. */
typedef struct keeping {
    bool versioning;
    bool permanent;       /* soft-deleted snapshots and versions can be deleted for good */
    uint32_t delete_days; /* that soft-deleted states are kept; 0: no soft delete */
} keeping;

#define SHARED_KEY_LEN_MAX 256

/* A container's key, or the log's. */
struct container_secrets {
    crypto_key key;
    crypto_key records; /* made of it: seals openings */
};

struct account_secrets {
    crypto_key key;
    crypto_key records; /* made of it: seals openings, makes pseudonyms */
    uint8_t shared[2][SHARED_KEY_LEN_MAX];
};

struct account {
    snap snap;
    store_account pub;
    keeping keeping;
    uint64_t slot;
    struct account_secrets *secret; /* crypto_secret_new; pub's shared keys point into it */
    arena *mem;
};

struct container {
    snap snap;
    store_container pub;
    uint64_t slot, account_id;
    bool track_access;                /* the account's setting */
    struct container_secrets *secret; /* crypto_secret_new */
    arena *mem;
};

struct scope {
    snap snap;
    store_scope_state state;
    crypto_key *key; /* crypto_secret_new; zeros: destroyed */
    short_key place; /* of its row; the snapshot's key is in it */
};

/* The snapshots behind the public pointers. */
static inline struct account *account_of(const store_account *a) {
    return (struct account *)((uintptr_t)a - offsetof(struct account, pub));
}
static inline struct container *container_of(const store_container *k) {
    return (struct container *)((uintptr_t)k - offsetof(struct container, pub));
}

/* A new ETag: the clock in 100 ns ticks since year 1, later than any other and other than
 * `previous`. */
typedef struct store_now {
    uint64_t etag;
    int64_t us;
} store_now;
store_now store_tick(store *s, uint64_t previous);

/* Keys in the vault. root_key: one that the key service wraps (an account's, the log's); new_root_key makes
 * and keeps one. unwrap_container_key: one that its account's key wraps, a container's or an encryption scope's;
 * new_container_key makes and keeps one. ERR_KEY_DESTROYED, ERR_CORRUPT. */
err root_key(store *s, arena *a, uint64_t id, uint64_t slot, crypto_key *ret) CHECKED;
err new_root_key(store *s, uint64_t id, crypto_key *ret_key, uint64_t *ret_slot) CHECKED;
err unwrap_container_key(store *s, arena *a, const crypto_key *account_key, uint64_t id,
                         uint64_t slot, crypto_key *ret) CHECKED;
err new_container_key(store *s, const struct account *ac, uint64_t id, uint64_t *ret_slot) CHECKED;
/* Destroys a key whose row was not committed: a slot without an owner, of no use to anyone. */
void vault_forget(store *s, uint64_t id, uint64_t slot);
/* What content is bound to: container and piece. */
void piece_context(uint8_t out[STORE_PIECE_CONTEXT], uint64_t container, uint64_t piece);

/* OK while nothing in the account is protected from deletion. The errors of store_container_delete. */
err account_mutable(store *s, uint64_t account) CHECKED;
/* OK while the account of that name is still this one. ERR_NOT_FOUND. */
err account_current(store *s, arena *a, bool nowait, slice name, uint64_t id) CHECKED;
err account_keeping(store *s, arena *a, bool nowait, slice account, keeping *ret) CHECKED;
/* OK while the container (and its account) is still the one of that name. ERR_CONTAINER_NOT_FOUND.
 */
err container_current(store *s, arena *a, bool nowait, const struct container *k) CHECKED;

/* ---- what protects all blobs of a container (guard.c) ---- */
typedef struct guard {
    uint32_t days; /* 0: no policy */
    bool append, held;
} guard;
guard guard_of(const store_guard *g);
/* Why a blob that is there may not be changed, or deleted; OK: it may. */
err guard_refuses(const guard *g, const row_blob *r, bool deleting) CHECKED;
/* Of the container. ERR_CONTAINER_HAS_LEGAL_HOLD, ERR_CONTAINER_IMMUTABLE. */
err guard_permits_deletion(const store_guard *g, slice name) CHECKED;
/* Applies a setting. ERR_INVALID_INPUT. */
err guard_change(arena *a, slice setting, store_guard *g) CHECKED;
/* container_current, and what protects its blobs now. */
err container_current_guard(store *s, arena *a, bool nowait, const struct container *k,
                            guard *ret) CHECKED;
/* A snapshot of a container's row, with its key. ERR_KEY_DESTROYED. */
err container_snapshot(store *s, arena *scratch, const struct account *ac, slice name, slice value,
                       struct container **ret) CHECKED;
/* Reads a container's row into a snapshot without public use (listings, check): no key. */
err container_decode(arena *a, slice account, slice name, slice value, store_container *ret,
                     row_container *ret_row) CHECKED;

/* ---- conditions (conditions.c) ---- */

typedef enum condition_kind {
    CONDITION_READ,
    CONDITION_WRITE,  /* of something that must exist */
    CONDITION_CREATE, /* Put Blob, Put Block List: existing or not */
    CONDITION_TOUCH,  /* as WRITE, of what a lease does not keep others from: a lease id must match
                         when it is sent, but need not be sent */
} condition_kind;
typedef struct condition_target {
    bool exists, container;
    uint64_t etag;
    int64_t modified_us;
    const store_lease *lease; /* NULL: of what cannot have one (snapshots, versions) */
    slice tags;               /* as in the blob's row */
    uint32_t tag_count;
    bool copying; /* its copy is pending: nothing else changes it */
} condition_target;
/* cond may be NULL: no conditional headers, no lease id. The one place where reads and writes
 * meet leases ("Lease Blob", outcomes of use attempts). ERR_LEASE_ID_MISSING, ERR_LEASE_LOST,
 * ERR_LEASE_ID_MISMATCH_WITH_…_OPERATION, ERR_LEASE_NOT_PRESENT_WITH_…_OPERATION. */
err conditions_check(const store_conditions *cond, condition_kind kind, condition_target t) CHECKED;

/* ---- leases (lease.c) ---- */

/* Does what is asked to the lease of a blob or container; bytes in the arena. */
err lease_apply(store_lease *l, const store_lease_ask *ask, int64_t now_us, arena *a,
                store_lease_answer *ret) CHECKED;
/* What a change of a blob leaves of its lease: one that has expired or is broken goes. */
void lease_after_write(store_lease *l, int64_t now_us);
/* ---- expressions over tags (tagquery.c) ---- */

/* Comparisons come first. */
typedef enum tag_op {
    TAG_EQ,
    TAG_NE,
    TAG_LT,
    TAG_LE,
    TAG_GT,
    TAG_GE,
    TAG_TRUE, /* @container, which is looked at elsewhere */
    TAG_AND,
    TAG_OR
} tag_op;
typedef struct tag_token {
    tag_op op;
    slice key, value; /* of comparisons */
} tag_token;
/* Operands before operators. */
struct store_tag_query {
    tag_token *tokens;
    size_t count, room;
    bool has_container;
    slice container;
};

/* ---- changes to a blob (change.c) ---- */

typedef struct change {
    store *s;
    arena *arena;
    uint64_t container;
    slice name;
    engine_txn *txn;
    gate_token token;
    bool inside, nowait;
    store_later *later;     /* of the call */
    store_recorder *record; /* likewise; NULL: no entry in the log */
    blob_key key;
    uint64_t hash;
    slice account_name;   /* empty: the reaper's change */
    bool state_changed;   /* the blob's own row */
    bool content_dropped; /* that readers may have opened */
    row_head head;        /* of its history, once change_head has read it */
    keeping keeping;
    bool head_known, head_changed, keeping_known, dropped;
    uint64_t map, map_next; /* a page map that was frozen; what the current state shows then */
    /* Of the container, for the index; 0 and empty in the reaper's changes. */
    uint64_t account;
    slice container_name;
    bool track_access;
    /* What the index says of the blob so far; known after change_blob. */
    slice indexed_tags;
    uint32_t indexed_count;
    int64_t indexed_expiry;
    bool indexed_protected;
    bool index_known;
    /* The blob is protected as it stands: why, and its ETag. OK: it is not. */
    err protected_by;
    uint64_t protected_etag;
    guard guard; /* the container's; nothing in the reaper's changes */
    err guarded_put,
        guarded_gone;     /* what it says of the blob: to a change of it, to its deletion */
    bool kept_as_version; /* what the change replaces or deletes is a version from now on */
    err failed;           /* a change that could not be written down: change_commit says it */
    /* Garbage of this change, gathered. */
    row_garbage waste;
    buf pieces;
    size_t piece_count;
    job *jobs;
} change;

/* With c.nowait and c.later the change is made without blocking, or ERR_WOULD_BLOCK; with c.nowait
 * alone it is always the latter. */
err change_begin(change *ch, store *s, store_call c, const store_container *k, slice name) CHECKED;
/* The same of a blob that must be there: ret is its row. ERR_BLOB_NOT_FOUND, also for a name that none can
 * have. */
err change_begin_existing(change *ch, store *s, store_call c, const store_container *k, slice name,
                          row_blob *ret) CHECKED;
/* The state that a change is of: the current one (tick 0), or one of the history. */
typedef struct picked_state {
    row_blob row; /* to be changed */
    row_blob before;
    uint64_t tick;
} picked_state;
/* change_begin_existing of that state; a soft-deleted one is not there. May block. */
err change_begin_picked(change *ch, store *s, store_call c, const store_container *k, slice name,
                        store_pick pick, picked_state *ret) CHECKED;
/* p->row as it is from now on: neither its content nor its ETag is another. */
void change_put_picked(change *ch, const picked_state *p);
/* Before what may block (a scan, a stream, the vault): ERR_WOULD_BLOCK in a change that must not. */
err change_blocks(const change *ch) CHECKED;
/* A row of the blob. ERR_NOT_FOUND. */
err change_get(change *ch, engine_table t, slice key, slice *ret) CHECKED;
/* The reaper's: without gate and container, on the thread that would purge the container. */
err change_begin_unchecked(change *ch, store *s, arena *a, uint64_t container, slice name) CHECKED;
/* The blob's row; ret_exists false when there is none. To be asked before the row is put or deleted:
 * the index is changed by what it was. */
err change_blob(change *ch, row_blob *ret, bool *ret_exists) CHECKED;
/* A new state of the blob, with what the change leaves of its lease. */
void change_put_blob(change *ch, const row_blob *r);
/* A state of the history is to go, or to be deleted softly: not while it is protected. */
void change_refuse_protected(change *ch, const row_blob *r);
/* Of what no guarded container allows (snapshots, expiry). ERR_BLOB_IMMUTABLE_DUE_TO_…. */
err change_refuse_guarded(const change *ch) CHECKED;
/* The row as it is: for what is no change of the blob, as a change of its lease. */
void change_put_row(change *ch, const row_blob *r);
void change_delete_blob(change *ch);
/* The blob's staging session; ret_exists false when nothing is staged. */
err change_staging(change *ch, row_staging *ret, bool *ret_exists) CHECKED;
/* Drops the staging session; all: and the pieces of all its blocks. */
void change_drop_staging(change *ch, const row_staging *st, bool all);
/* Drops the content of r, which a new state of the blob replaces. */
void change_drop_content(change *ch, const row_blob *r);
/* Of a block list the rows only: its pieces were taken over or dropped one by one. */
void change_drop_list_rows(change *ch, uint64_t content);
/* Of an append blob's list what stands at `from` and behind it, with the pieces. */
void change_drop_list_tail(change *ch, uint64_t content, uint64_t from);
/* A piece that a reader may still be reading. */
void change_drop_piece(change *ch, const row_piece *p);
/* The same of a page map's, with its row in the map. */
void change_drop_page_piece(change *ch, uint64_t content, const row_piece *p);
/* r is or becomes a state beside the current one: if it has a page map, that is frozen under a generation
 * that no other state has, and the current state's row is put with the next. */
void change_freeze(change *ch, row_blob *r);
/* A piece that no reader can know: released with this change. */
void change_free_piece(change *ch, const row_piece *p);
err change_commit(change *ch) CHECKED;
void change_done(change *ch); /* aborts what was not committed; for CLEANUP */

/* ---- the index over tags (index.c, find.c) ---- */

/* Makes the index say what the blob is found by: its tags, its expiry, its protection. r: its new
 * row, or NULL when it goes. */
err index_change(change *ch, const row_blob *r) CHECKED;
/* When rows of tags say that the blob expires; a protected one does not. */
int64_t index_expiry(const row_blob *r);
bool index_protected(const row_blob *r);
/* The row of its protection goes. escaped: as in BASE. */
/* Some state of the blob is protected. */
void index_put_protected(change *ch);
void index_purge_protected(engine_txn *t, uint64_t container, slice escaped);
/* The row that stands for an expiry goes. */
void index_purge_expiry(engine_txn *t, int64_t expires_us, slice base);
/* A row of a container is on its way out: takes the account's row with it. */
err index_purge_row(engine_txn *t, slice key, slice value) CHECKED;
/* Whether the row of the blob's expiry is there. */
err index_expect_expiry(store *s, arena *a, blob_key *key, int64_t expires_us) CHECKED;
err index_expect_protected(store *s, arena *a, blob_key *key, uint64_t container) CHECKED;
/* The two rows of one tag of a blob. ERR_NOT_FOUND when one is missing. */
err index_expect(store *s, arena *a, blob_key *key, const pair *tag, uint64_t account,
                 uint64_t container, row_index *ret_of_container,
                 row_index *ret_of_account) CHECKED;

/* Encodes a row into the arena. */
#define ROW_ENCODE(kind, arena_, record)                                                           \
    __extension__({                                                                                \
        buf row_buf_;                                                                              \
        buf_init_arena(&row_buf_, (arena_), ENGINE_VALUE_MAX);                                     \
        row_##kind##_put(&row_buf_, (record));                                                     \
        MUST(!row_buf_.failed);                                                                    \
        buf_slice(&row_buf_);                                                                      \
    })

/* Fills ret from a row, names and bytes in the arena; metadata: with its pairs. */
err blob_from_row(arena *a, slice name, const row_blob *r, store_blob *ret) CHECKED;

/* ---- tiers and expiry (tier.c) ---- */

/* A new blob that was made of an archived one: its tier comes later. May block. */
err tier_rehydrate_new(change *ch, row_blob *row, bool high) CHECKED;
/* When a blob expires that x is asked of. ERR_INVALID_HEADER_VALUE: that time has passed. */
err expiry_of(const store_expiry *x, const row_blob *row, int64_t *ret) CHECKED;
bool blob_expired(const row_blob *r);
/* ERR_BLOB_ARCHIVED: before content is read, and before content or properties change. */
err blob_online(const row_blob *r) CHECKED;

/* ---- last access (access.c) ---- */

/* The content of a blob with this row was asked for. */
void access_note(store *s, const struct container *k, slice base, slice name, const row_blob *r);
/* The reaper's: changes the row; and, whatever came of it, lets the next note through. */
err access_write(store *s, const job *j, arena *a) CHECKED;
void access_forget(store *s, const job *j);

/* ---- immutability (immutable.c) ---- */

bool blob_protected(const row_blob *r);
/* Why it cannot be changed, or OK; for changes that do not go through a blob's own row. */
err blob_mutable(const row_blob *r) CHECKED;
/* Of a new row. */
err immutable_new(row_blob *row, const store_immutability *x) CHECKED;
static inline bool immutable_asked(const store_immutability *x) {
    return x->set_policy || x->set_hold;
}
/* Around a change that protects a blob; and (exclude) around the deletion of a container. */
void immutable_enter(store *s);
void immutable_exclude(store *s);
void immutable_leave(store *s);
/* ERR_CONTAINER_HAS_LEGAL_HOLD, ERR_CONTAINER_IMMUTABLE when it has a protected blob. */
err container_mutable(store *s, uint64_t container) CHECKED;

/* ---- the history of a blob (history.c; delete.c: Delete and Undelete; release.c: giving back) ---- */

/* Reads ch->head, once. */
err change_head(change *ch) CHECKED;
/* A point in time later than all that the blob and its history know. After change_head. */
store_now change_now(change *ch, const row_blob *old);
err change_keeping(change *ch, keeping *ret) CHECKED;

typedef enum retire {
    RETIRE_OVERWRITE, /* new content takes its place */
    RETIRE_PROPERTIES, /* its metadata change, or a snapshot is taken: content stays current as well */
    RETIRE_DELETE
} retire;
/* Decides what becomes of the current state, which the change replaces or deletes: a version, a
 * soft-deleted state, or a dropped one. ret_kept false: it has no part in the history, and the
 * caller drops its content (with RETIRE_PROPERTIES: nothing is to be done). */
err change_retire(change *ch, const row_blob *old, retire why, bool *ret_kept) CHECKED;
/* The current state, which nothing keeps: given back at once, or by the reaper when the blob has a
 * history. */
err change_drop_current(change *ch, const row_blob *old) CHECKED;
/* Called when a blob is made under a name that has none: what was deleted softly stays behind as a
 * soft-deleted snapshot. */
err change_supersede_base(change *ch) CHECKED;
/* Rows of the history; each keeps the head's counts. */
void change_add_past(change *ch, uint64_t tick, const row_blob *r);
void change_put_past(change *ch, uint64_t tick, const row_blob *before, const row_blob *after);
/* Nobody sees it from here on; the reaper gives its content back. */
void change_drop_past(change *ch, uint64_t tick, const row_blob *r);
/* The soft-deleted blob becomes the current state again. */
void change_restore_base(change *ch, uint64_t tick, const row_blob *r);
/* r becomes soft-deleted; the row is still to be put. */
void change_soften(change *ch, uint64_t tick, row_blob *r, uint32_t days);
/* What every state of the history loses of the current one it was: its lease, its expiry, and, unless
 * it is a version, its protection (immutable.c). */
row_blob past_of(const row_blob *current, row_past kind);

/* A state by snapshot or version, also a soft-deleted one; key is that blob's. ERR_NOT_FOUND. */
err past_find(store *s, store_call c, blob_key *key, store_pick pick, row_blob *ret,
              uint64_t *ret_tick) CHECKED;
/* Calls each state of the blob with a tick >= from in order, until each sets *stop. */
typedef err past_each(void *ctx, uint64_t tick, const row_blob *r, bool *stop);
err past_walk(store *s, arena *a, blob_key *key, uint64_t from, past_each *each, void *ctx) CHECKED;

/* release.c. base: BASE of a blob. */
err history_release(store *s, slice base) CHECKED;
/* All of a deleted container's. */
err history_purge(store *s, uint64_t container) CHECKED;
/* Lets go of soft-deleted states of this thread's containers whose time has come. */
err history_expire(reaper *r, int64_t now_us) CHECKED;
/* For tests, and stores without background threads. */
err sweep_deleted(store *s, int64_t now_us) CHECKED;

/* ---- sets of ids (idset.c) ---- */

/* 0 is no id. */
typedef struct id_set {
    uint64_t *slots;
    size_t count, room; /* room: a power of two, or 0 */
} id_set;
void id_set_add(id_set *s, uint64_t id);
bool id_set_has(const id_set *s, uint64_t id);
void id_set_clear(id_set *s);

/* ---- blobs (blob.c) ---- */

err blob_missing(slice name) CHECKED; /* ERR_BLOB_NOT_FOUND */
/* The row of a state under reading conditions; key is left at that blob. Soft-deleted ones are not
 * found. */
err blob_read_row(store *s, store_call c, const store_container *k, slice name, store_pick pick,
                  const store_conditions *cond, blob_key *key, row_blob *ret) CHECKED;
/* The same from memory, if it is there: ret_hot a reference, and the row in the arena; or NULL. */
err hot_find(store *s, store_call c, const store_container *k, slice name,
             const store_conditions *cond, blob_key *key, row_blob *ret, hot_blob **ret_hot,
             uint64_t *ret_version) CHECKED;
/* What ERR_NOT_MODIFIED tells of a blob. */
store_blob blob_unmodified(slice name, const row_blob *row);
condition_target target_of(const row_blob *r, bool exists);
/* ERR_INVALID_BLOB_TYPE unless the blob is of this type. */
err blob_of_type(const row_blob *r, store_blob_type type) CHECKED;
/* The only block of an append blob that is made by a copy. */
void append_first(change *ch, row_blob *row, const row_piece *piece);
/* What Put Blob makes: content of an upload, or (u NULL) a blob that is filled later. */
typedef struct blob_kind {
    store_blob_type type;
    uint64_t length, sequence;   /* of a page blob */
    const store_copy_from *from; /* it is the destination of a pending copy; or NULL */
} blob_kind;
err blob_put_kind(store *s, store_call c, const store_container *k, slice name, store_upload *u,
                  const blob_kind *kind, const store_put *p, store_blob *ret) CHECKED;
/* The row of a new state that replaces old (content_id 0: none) and keeps its lease; its content is
 * still to be filled in. Retires old: ret_kept false when the caller drops its content. */
err blob_new_row(change *ch, const store_put *p, const row_blob *old, row_blob *ret,
                 bool *ret_kept) CHECKED;
/* A version of its own, when the account keeps versions. */
err blob_new_version(change *ch, row_blob *r) CHECKED;
err blob_result(change *ch, const row_blob *r, store_blob *ret) CHECKED;
/* Sorts by key. The errors of store_tags_check. */
err tags_pack(const pair *tags, size_t count, arena *a, slice *ret) CHECKED;
/* ERR_METADATA_TOO_LARGE. */
err metadata_pack(const pair *metadata, size_t count, arena *a, slice *ret) CHECKED;

/* Calls each block of a list in order (block.c). */
typedef err each_block(void *ctx, const row_block *b);
err list_walk(store *s, arena *a, blob_key *key, uint64_t content, each_block *each,
              void *ctx) CHECKED;
/* ---- copies (copy.c: rows; copier.c: threads) ---- */

/* The row in JOB of a copy that begins in this change; scope: what its content goes under. */
err copy_put_job(change *ch, const store_container *k, const store_put *p,
                 const store_copy_from *from, slice scope) CHECKED;
/* The job of the blob's pending copy. */
err copy_job(store *s, arena *a, uint64_t container, slice name, row_copy *ret,
             bool *ret_exists) CHECKED;
/* The URL that a job holds sealed. */
err copy_url_open(const crypto_key *key, uint64_t container, const row_copy *row, arena *a,
                  slice *ret) CHECKED;
/* Ends the pending copy of that id: with the upload's content (consumed as by store_blob_put, not
 * freed), or failed. ERR_NO_PENDING_COPY_OPERATION, ERR_COPY_ID_MISMATCH: it was ended already. */
err copy_commit(store *s, store_call c, const store_container *k, slice name, slice id,
                store_upload *u) CHECKED;
/* Pages of a pending copy's destination. Consumes the upload. The same errors. */
err copy_put_pages(store *s, store_call c, const store_container *k, slice name, slice id,
                   uint64_t offset, store_upload *u) CHECKED;
err copy_fail(store *s, store_call c, const store_container *k, slice name, slice id, uint64_t done,
              slice why) CHECKED;
void copier_submit(store *s, uint64_t container, slice name, slice id);
void copier_cancel(store *s, slice id);
/* Bytes copied so far; 0 when it is not running. */
uint64_t copier_progress(store *s, slice id);
/* How far it is, when b's copy is pending. */
static inline void copy_note_progress(store *s, store_blob *b) {
    if (b->copy.status == STORE_COPY_PENDING) b->copy.done = copier_progress(s, b->copy.id);
}
err copier_start(store *s) CHECKED;
void copier_stop(store *s);
/* Does all that waits: for stores without background threads. */
void copier_run(store *s);

/* ---- customers' keys (customer.c) ---- */

/* The key that wraps the keys of pieces under the customer's key; the caller wipes it. */
void customer_kek(const crypto_key *container, const store_customer *customer, crypto_key *ret);
/* Empty for NULL. Lives as long as customer. */
slice customer_sha256(const store_customer *customer);
/* store_customer_check, of the hash of the key that is brought (empty: none). */
err customer_match(slice key_sha256, slice brought) CHECKED;

/* ---- encryption scopes (scope.c) ---- */

typedef struct scope_place {
    slice account;
    uint64_t account_id;
    const crypto_key *container; /* its key */
} scope_place;
scope_place scope_place_of(const struct container *k);
/* The key that wraps the keys of pieces under the scope; the caller wipes it. any: also of a disabled one, to
 * verify. ERR_ENCRYPTION_SCOPE_DISABLED, ERR_KEY_DESTROYED (any), ERR_INVALID_HEADER_VALUE (there is none). */
err scope_kek(store *s, store_call c, const scope_place *p, slice name, bool any,
              crypto_key *ret) CHECKED;
/* OK while it is enabled; name empty: always. Of a change: asked inside the gate. */
err scope_check(store *s, store_call c, const struct container *k, slice name) CHECKED;
/* Does what a call is under (empty: nothing) fit what is there? ERR_BLOB_…_CUSTOMER_SPECIFIED_ENCRYPTION…. */
err scope_match(slice scope, slice asked) CHECKED;
/* May the call change the blob, as far as keys and scopes go? */
err encryption_writes(store *s, store_call c, const store_container *k,
                      const store_blob *b) CHECKED;

/* ---- uploads (upload.c) ---- */

struct store_upload {
    store *store;
    uint64_t container, id;
    uint64_t len, len_announced, len_max, crc64;
    crypto_key key;
    crypto_wrapped wrapped;
    crypto_md5_state *md5_state;
    uint8_t md5[16];
    bool has_md5, finished, taken;
    bool has_customer; /* under a customer's key, of this hash */
    uint8_t key_sha256[CRYPTO_SHA256_LEN];
    uint8_t scope[STORE_SCOPE_NAME_MAX]; /* the encryption scope that it is under */
    size_t scope_len;
    uint8_t *
        plain; /* not sealed yet: all of a small upload, the last part of a chunk of a larger one */
    size_t plain_len;
    crypto_message *message;
    uint64_t next_chunk;
    uint8_t *sealed; /* room for a chunk that the stream's memory does not hold in one piece */
    engine_stream *stream;
    arena *mem; /* holds ref */
    slice ref;
    buf small; /* sealed, for a CONTENT row */
};

/* Puts it under that scope of the account; name empty: nothing is done. As store_upload_under. */
err upload_under_scope(store_upload *u, store_call c, const store_container *k, slice name) CHECKED;
/* The finished upload as a piece. Slices live as long as u. */
row_piece upload_piece(const store_upload *u);
/* Of the customer's key that it is under; empty: none. Goes where the piece goes. */
slice upload_key_sha256(const store_upload *u);
/* Puts the piece's bytes into the change: its CONTENT row, or the stream is adopted. The last thing
 * before change_commit: afterwards the stream is the transaction's. */
void upload_give(store_upload *u, change *ch);

/* ---- opening pieces (piece.c) ---- */

/* A key made of the container's and a second one, of a kind that label names: each is of no use without
 * the other (docs/decisions/0015). */
void joined_kek(const crypto_key *container, slice label, const crypto_key *second,
                crypto_key *ret);
/* kek: the container's key, or one that joined_kek made. */
err piece_key(const crypto_key *kek, const row_piece *p, crypto_key *ret) CHECKED;
/* The message of a stream, from its first CRYPTO_PREFIX_LEN bytes. */
err piece_open_message(const crypto_key *kek, uint64_t container, const row_piece *p,
                       const uint8_t prefix[CRYPTO_PREFIX_LEN], crypto_message **ret) CHECKED;
/* Opens a whole CONTENT row. */
err piece_open_small(const crypto_key *kek, uint64_t container, const row_piece *p, slice sealed,
                     buf *out) CHECKED;

/* ---- background (reaper.c: what is done; jobs.c: queues and threads) ---- */

/* Hands jobs (linked by next) to the reaper; takes them. */
void reaper_submit(store *s, job *jobs);
/* How long a job that failed so often waits: 10 s, then twice as long each time, an hour at most. */
int64_t job_retry_us(unsigned failures);
job *job_new(job_kind kind, uint64_t container, uint64_t id, uint64_t hash);
job *job_new_access(uint64_t container, uint64_t hash, slice name, int64_t accessed_us);
job *job_new_dropped(uint64_t container, slice base);
void job_free(job *j);
/* Does a job: it is done, or kept by the readers (ret_kept), or an error says again later. */
err reaper_work(store *s, job *j, bool *ret_kept) CHECKED;
/* Removes blobs of this thread's containers that have expired. */
err reaper_expire(reaper *r) CHECKED;
err sweep_expired(store *s) CHECKED; /* of all: for tests */
/* Drops staging sessions of this thread's containers. */
err reaper_sweep(reaper *r, int64_t before_us) CHECKED;
err reaper_start(store *s) CHECKED;
void reaper_stop(store *s);
/* Works until nothing is left that can be done now: for stores without background threads, and
 * tests. */
void reaper_run(store *s);
/* Puts all rows of the index that a current blob has. */
err index_restore(store *s, arena *a, uint64_t account, uint64_t container, slice container_name,
                  slice name, const row_blob *r) CHECKED;
/* Gives back slots of the vault, with ids below before_id, that no row names. ERR_CORRUPT: a row
 * cannot be read, so nothing is known of any. */
err orphans_destroy(store *s, uint64_t before_id, uint64_t *ret_count) CHECKED;
/* Drops staging sessions that were last changed before before_us. */
err sweep_staged(store *s, int64_t before_us) CHECKED;
/* Purges deleted containers that could be restored until now_us: of this thread; of all. */
err reaper_sweep_containers(reaper *r, int64_t now_us) CHECKED;
err sweep_containers(store *s, int64_t now_us) CHECKED;
