/* Transactions and the one commit path.
 *
 * Invariants
 *   1. A transaction holds its shard's stripe from begin until its commit or abort has returned;
 *      so what it read inside is still so when its changes are applied. Stripes are shared by
 *      shards that hash alike: more waiting, never less.
 *   2. The queue's order is the commit order. One leader at a time takes a group from its head,
 *      walks it in order (group_walk: the log's entries are numbered there), writes it as one batch with one sync, and only then answers anyone.
 *   3. A batch that RocksDB refused, for whatever reason, fails the engine: the outcome is
 *      unknown, so nothing that it adopted or released is touched, and nothing is written after
 *      it.
 *   4. What is refused before the batch (no space, read-only) changed nothing.
 *
 *   WAITING --leader's answer (group_answer)--> DONE
 *      |
 *      +--the leader before hands over (hand_over)--> LEAD --its own group--> DONE
 *
 * A thread that waits for its transaction leads when its transaction is at the head. A transaction
 * that was handed over (commit_later) has no thread; when it is at the head a committer leads, and
 * whoever leads settles it, tells its outcome and frees it.
 *
 * Each transaction encodes its own changes, on its own thread, as a RocksDB write batch; the leader
 * joins their encodings: 8 bytes sequence, 4 bytes count (little-endian), then the records, which
 * need no change when batches are joined. tests/unit/engine_local_test.c proves the round trip. */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "engine/local/private.h"

#define GROUP_BYTES_MAX (8u << 20)
#define GROUP_TXNS_MAX  1024
#define BATCH_HEAD      12
#define NO_STRIPE       UINT32_MAX

enum { WAITING, LEAD, DONE };

struct local_txn {
    engine_txn base;
    atomic_uint state; /* a futex */
    uint32_t stripe;
    bool system, grows;
    err refused; /* found while it was put together */
    err outcome;
    bool written;                /* it was in a batch: if that failed, its outcome is unknown */
    rocksdb_writebatch_t *batch; /* NULL: no rows so far */
    local_stream *adopted;
    buf entry;           /* of the log, as log_encode makes it; empty: none */
    uint64_t *ret_index; /* of that entry, or NULL */
    run *released;
    size_t released_count, released_cap;
    local_txn *next;
    engine_done *done; /* handed over: nobody waits */
    void *done_ctx;
    char detail[256];
};

/* ---- futexes ---- */

static void futex_wait(atomic_uint *word, unsigned while_value) {
    (void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, while_value, NULL, NULL, 0);
}

static void futex_wake_one(atomic_uint *word) {
    (void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

/* A stripe is a lock that any thread may release: 0 free, 1 held, 2 held and waited for. */
static void stripe_lock(atomic_uint *s) {
    unsigned c = 0;
    if (atomic_compare_exchange_strong(s, &c, 1)) return;
    if (c != 2) c = atomic_exchange(s, 2);
    while (c != 0) {
        futex_wait(s, 2);
        c = atomic_exchange(s, 2);
    }
}

static bool stripe_try(atomic_uint *s) {
    unsigned c = 0;
    return atomic_compare_exchange_strong(s, &c, 1);
}

static void stripe_unlock(atomic_uint *s) {
    if (atomic_exchange(s, 0) == 2) futex_wake_one(s);
}

/* ---- a transaction ---- */

static void *committer(void *arg);

void commit_init(local *l) {
    commit_queue *q = &l->commit;
    pthread_mutex_init(&q->mutex, NULL);
    pthread_cond_init(&q->lead, NULL);
    q->tail = &q->head;
    q->stripes = calloc(SHARD_STRIPES, sizeof *q->stripes);
    MUST(q->stripes != NULL);
}

void commit_start(local *l) {
    commit_queue *q = &l->commit;
    for (; q->committer_count < COMMITTERS; q->committer_count++)
        MUST(pthread_create(&q->committers[q->committer_count], NULL, committer, l) == 0);
}

void commit_stop(local *l) {
    commit_queue *q = &l->commit;
    pthread_mutex_lock(&q->mutex);
    q->closed = true;
    pthread_cond_broadcast(&q->lead);
    pthread_mutex_unlock(&q->mutex);
    for (; q->committer_count > 0; q->committer_count--)
        pthread_join(q->committers[q->committer_count - 1], NULL);
}

void commit_done(local *l) {
    commit_queue *q = &l->commit;
    MUST(q->head == NULL && !q->leading && q->committer_count == 0);
    free(q->stripes);
    free(q->joined);
    pthread_cond_destroy(&q->lead);
    pthread_mutex_destroy(&q->mutex);
}

static local_txn *txn_new(local *l) {
    local_txn *t = calloc(1, sizeof *t);
    MUST(t != NULL);
    t->base.e = &l->base;
    t->stripe = NO_STRIPE;
    buf_init(&t->entry, ENGINE_LOG_ENTRY_MAX + ENGINE_LOG_PRIVATE_MAX + 8);
    return t;
}

static void txn_free(local_txn *t) {
    if (t->stripe != NO_STRIPE) stripe_unlock(&local_of(t->base.e)->commit.stripes[t->stripe]);
    if (t->batch != NULL) rocksdb_writebatch_destroy(t->batch);
    buf_done(&t->entry);
    free(t->released);
    free(t);
}

err local_txn_begin(engine *e, slice shard, bool nowait, engine_txn **ret) {
    local *l = local_of(e);
    TRY(local_writable(l));
    if (shard.len == 0) {
        *ret = &txn_new(l)->base;
        return OK;
    }
    const uint32_t stripe = (uint32_t)(slice_hash(shard) % SHARD_STRIPES);
    if (!nowait)
        stripe_lock(&l->commit.stripes[stripe]);
    else if (!stripe_try(&l->commit.stripes[stripe]))
        return ERR_WOULD_BLOCK;
    local_txn *t = txn_new(l);
    t->stripe = stripe;
    *ret = &t->base;
    return OK;
}

static rocksdb_writebatch_t *batch_of(local_txn *t) {
    if (t->batch == NULL) t->batch = rocksdb_writebatch_create();
    return t->batch;
}

/* Its changes as RocksDB encodes them, without the batch's head; empty when there are none. */
static slice records_of(const local_txn *t) {
    size_t len;
    if (t->batch == NULL) return SLICE_NONE;
    const char *rep = rocksdb_writebatch_data(t->batch, &len);
    MUST(len >= BATCH_HEAD);
    return slice_of(rep + BATCH_HEAD, len - BATCH_HEAD);
}

static void put(local_txn *t, int cf, slice key, slice value) {
    rocksdb_writebatch_put_cf(batch_of(t), local_of(t->base.e)->rows.cf[cf], (const char *)key.p,
                              key.len, (const char *)value.p, value.len);
}

static void delete (local_txn *t, int cf, slice key) {
    rocksdb_writebatch_delete_cf(batch_of(t), local_of(t->base.e)->rows.cf[cf], (const char *)key.p,
                                 key.len);
}

void local_txn_put(engine_txn *base, engine_table table, slice key, slice value) {
    local_txn *t = (local_txn *)base;
    /* Jobs are how space is given back, so they are taken also when space is short. */
    if (table != ENGINE_JOB) t->grows = true;
    put(t, (int)table, key, value);
}

void local_txn_delete(engine_txn *base, engine_table table, slice key) {
    delete ((local_txn *)base, (int)table, key);
}

void local_txn_adopt(engine_txn *base, engine_stream *s) {
    local_txn *t = (local_txn *)base;
    local_stream *stream = (local_stream *)s;
    t->grows = true;
    stream_put_rows(stream, t);
    *stream_txn_link(stream) = t->adopted;
    t->adopted = stream;
}

void local_txn_release(engine_txn *base, slice in) {
    local_txn *t = (local_txn *)base;
    ref r;
    err e = ref_decode(in, &r);
    if (e != OK) {
        t->refused = e;
        snprintf(t->detail, sizeof t->detail, "%s", err_detail());
        return;
    }
    if (t->released_count + r.count > t->released_cap) {
        t->released_cap = (t->released_count + r.count) * 2;
        t->released = reallocarray(t->released, t->released_cap, sizeof *t->released);
        MUST(t->released != NULL);
    }
    for (uint32_t i = 0; i < r.count; i++) {
        const run *x = &r.runs[i];
        const uint32_t block = (uint32_t)(x->offset / EXTENT_BLOCK);
        const system_key gone = system_key_of('R', x->extent, block);
        const system_key pending = system_key_of('P', x->extent, block);
        buf b;
        buf_init(&b, 64);
        txn_system_delete(t, &gone);
        txn_system_put(t, &pending, run_row(&b, x->data_len, r.stream));
        buf_done(&b);
        t->released[t->released_count++] = *x;
    }
}

void local_txn_log(engine_txn *base, slice entry, slice private_part, uint64_t *ret_index) {
    local_txn *t = (local_txn *)base;
    MUST(t->entry.len == 0);
    log_encode(&t->entry, entry, private_part);
    t->ret_index = ret_index;
}

local_txn *txn_system(local *l) {
    local_txn *t = txn_new(l);
    t->system = true;
    return t;
}

void txn_system_put(local_txn *t, const system_key *key, slice value) {
    put(t, ROWS_SYSTEM, system_key_slice(key), value);
}

void txn_log_delete(local_txn *t, slice from, slice to) {
    rocksdb_writebatch_delete_range_cf(batch_of(t), local_of(t->base.e)->rows.cf[ROWS_LOG],
                                       (const char *)from.p, from.len, (const char *)to.p, to.len);
}

void txn_log_put(local_txn *t, slice key, slice value) {
    put(t, ROWS_LOG, key, value);
}

void txn_system_delete(local_txn *t, const system_key *key) {
    delete (t, ROWS_SYSTEM, system_key_slice(key));
}

/* ---- a group ---- */

static void refuse(local_txn *t, err e) {
    t->outcome = e;
    snprintf(t->detail, sizeof t->detail, "%s", err_detail());
}

/* The one place that sees every transaction in commit order, before it is written. Decides which of
 * the group take part, and numbers what they leave in the log. */
static size_t group_walk(local *l, local_txn *group, size_t *ret_bytes) {
    err writable = local_writable(l);
    char why[256];
    snprintf(why, sizeof why, "%s", writable == OK ? "" : err_detail());
    bool space_known = false;
    err space = OK;
    size_t count = 0, bytes = BATCH_HEAD;
    log_begin(l);
    for (local_txn *t = group; t != NULL; t = t->next) {
        if (writable != OK) {
            refuse(t, err_fail(writable, "%s", why));
            continue;
        }
        if (t->grows && !t->system) {
            if (!space_known || space != OK) space = local_space(l, 0);
            space_known = true;
            if (space != OK) {
                refuse(t, space);
                continue;
            }
        }
        bytes += records_of(t).len;
        if (t->entry.len > 0) {
            const uint64_t index = log_add(l, buf_slice(&t->entry));
            if (t->ret_index != NULL) *t->ret_index = index;
        }
        t->written = true;
        count++;
    }
    *ret_bytes = bytes;
    return count;
}

/* One batch of all that take part. There is one room for joining, as there is one leader. */
static rocksdb_writebatch_t *group_join(local *l, local_txn *group, size_t bytes) {
    commit_queue *q = &l->commit;
    if (q->joined_cap < bytes) {
        q->joined_cap = (bytes + 0xffff) & ~(size_t)0xffff;
        q->joined = realloc(q->joined, q->joined_cap);
        MUST(q->joined != NULL);
    }
    uint8_t *p = q->joined + BATCH_HEAD;
    uint32_t count = 0;
    for (local_txn *t = group; t != NULL; t = t->next) {
        if (!t->written) continue;
        const slice records = records_of(t);
        if (records.len == 0) continue;
        memcpy(p, records.p, records.len);
        p += records.len;
        count += (uint32_t)rocksdb_writebatch_count(t->batch);
    }
    MUST((size_t)(p - q->joined) == bytes);
    memset(q->joined, 0, 8);
    for (int i = 0; i < 4; i++) q->joined[8 + i] = (uint8_t)(count >> (8 * i));
    return rocksdb_writebatch_create_from((const char *)q->joined, bytes);
}

static err group_write(local *l, local_txn *group) {
    size_t bytes;
    const size_t count = group_walk(l, group, &bytes);
    if (count == 0) return OK;
    rocksdb_writebatch_t *joined = NULL;
    if (count > 1) joined = group_join(l, group, bytes);
    local_txn *only = group;
    while (!only->written) only = only->next;
    rocksdb_writebatch_t *batch = joined != NULL ? joined : batch_of(only);
    log_put(l, batch);
    char *text = NULL;
    rocksdb_write(l->rows.db, l->rows.write, batch, &text);
    if (joined != NULL) rocksdb_writebatch_destroy(joined);
    atomic_fetch_add(&l->commit.commits, count);
    atomic_fetch_add(&l->commit.batches, 1);
    if (text == NULL) {
        log_written(l);
        return OK;
    }
    (void)!rows_error(text, "commit");
    return local_fail(l, ERR_IO);
}

static size_t txn_bytes(const local_txn *t) {
    return BATCH_HEAD + records_of(t).len + t->entry.len;
}

/* The head of the queue and who came after it, cut off into a list of its own. */
static local_txn *group_take(commit_queue *q) {
    pthread_mutex_lock(&q->mutex);
    local_txn *group = q->head, *last = group;
    size_t bytes = txn_bytes(last), count = 1;
    while (last->next != NULL && count < GROUP_TXNS_MAX) {
        const size_t len = txn_bytes(last->next);
        if (bytes + len > GROUP_BYTES_MAX) break;
        bytes += len;
        count++;
        last = last->next;
    }
    q->head = last->next;
    if (q->head == NULL) q->tail = &q->head;
    last->next = NULL;
    pthread_mutex_unlock(&q->mutex);
    return group;
}

static void wake(local_txn *t, unsigned state) {
    atomic_store(&t->state, state);
    /* t may be freed by now; waking an address that nobody waits on does nothing. */
    futex_wake_one(&t->state);
}

/* Under the lock: a committer is to lead. */
static void ask_committer(commit_queue *q) {
    q->lead_wanted = true;
    pthread_cond_signal(&q->lead);
}

/* The next group's leader begins before this group's members are woken. */
static void hand_over(commit_queue *q) {
    pthread_mutex_lock(&q->mutex);
    local_txn *next = q->head;
    if (next == NULL) q->leading = false;
    const bool waits = next != NULL && next->done == NULL;
    if (next != NULL && !waits) ask_committer(q);
    pthread_mutex_unlock(&q->mutex);
    if (waits) wake(next, LEAD);
}

static err finish(local *l, local_txn *t);

/* Those that wait first: the others' outcomes take longer to tell. */
static void group_answer(local *l, local_txn *group, const local_txn *self, err e) {
    local_txn *told = NULL, **last = &told;
    for (local_txn *t = group, *next; t != NULL; t = next) {
        next = t->next;
        if (t->written && e != OK) refuse(t, e);
        if (t->done != NULL) {
            *last = t;
            last = &t->next;
        } else if (t != self) {
            wake(t, DONE);
        }
    }
    *last = NULL;
    for (local_txn *t = told, *next; t != NULL; t = next) {
        next = t->next;
        engine_done *done = t->done;
        void *ctx = t->done_ctx;
        err outcome = finish(l, t);
        done(ctx, outcome);
    }
}

/* self: the transaction of this thread, at the queue's head; NULL: a committer's. */
static void lead(local *l, const local_txn *self) {
    local_txn *group = group_take(&l->commit);
    MUST(self == NULL || group == self);
    err e = group_write(l, group);
    hand_over(&l->commit);
    group_answer(l, group, self, e);
}

static void *committer(void *arg) {
    local *l = arg;
    commit_queue *q = &l->commit;
    pthread_setname_np(pthread_self(), "committer");
    pthread_mutex_lock(&q->mutex);
    while (q->lead_wanted || !q->closed) {
        if (!q->lead_wanted) {
            pthread_cond_wait(&q->lead, &q->mutex);
            continue;
        }
        q->lead_wanted = false;
        pthread_mutex_unlock(&q->mutex);
        lead(l, NULL);
        pthread_mutex_lock(&q->mutex);
    }
    pthread_mutex_unlock(&q->mutex);
    return NULL;
}

/* ---- commit and abort ---- */

static void queue_up(local *l, local_txn *t) {
    commit_queue *q = &l->commit;
    atomic_store(&t->state, WAITING);
    pthread_mutex_lock(&q->mutex);
    *q->tail = t;
    q->tail = &t->next;
    const bool leader = !q->leading;
    q->leading = true;
    if (leader && t->done != NULL) ask_committer(q);
    const bool later = t->done != NULL; /* t may be gone once the lock is */
    pthread_mutex_unlock(&q->mutex);
    if (later) return;
    if (!leader)
        while (atomic_load(&t->state) == WAITING) futex_wait(&t->state, WAITING);
    if (leader || atomic_load(&t->state) == LEAD) lead(l, t);
}

/* What the transaction adopted and released, once its outcome is known. */
static void settle(local *l, local_txn *t) {
    for (local_stream *s = t->adopted, *next; s != NULL; s = next) {
        next = *stream_txn_link(s);
        if (t->outcome == OK)
            stream_committed(s);
        else if (t->written)
            stream_forget(s);
        else
            local_stream_abort((engine_stream *)s);
    }
    if (t->outcome != OK) return;
    for (size_t i = 0; i < t->released_count; i++) extent_released(l, &t->released[i]);
}

static err finish(local *l, local_txn *t) {
    settle(l, t);
    err e = t->outcome;
    if (e != OK) e = err_fail(e, "%s", t->detail);
    txn_free(t);
    return e;
}

/* False when there is nothing to write: the outcome is known. */
static bool has_changes(local_txn *t) {
    t->outcome = t->refused;
    return t->refused == OK && (t->batch != NULL || t->entry.len > 0);
}

err local_txn_commit(engine_txn *base) {
    local_txn *t = (local_txn *)base;
    local *l = local_of(base->e);
    if (has_changes(t)) queue_up(l, t);
    return finish(l, t);
}

void local_txn_commit_later(engine_txn *base, engine_done *done, void *ctx) {
    local_txn *t = (local_txn *)base;
    local *l = local_of(base->e);
    if (!has_changes(t)) {
        done(ctx, finish(l, t));
        return;
    }
    t->done = done;
    t->done_ctx = ctx;
    queue_up(l, t);
}

void local_txn_abort(engine_txn *base) {
    local_txn *t = (local_txn *)base;
    for (local_stream *s = t->adopted, *next; s != NULL; s = next) {
        next = *stream_txn_link(s);
        local_stream_abort((engine_stream *)s);
    }
    txn_free(t);
}
