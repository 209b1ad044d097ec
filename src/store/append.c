/* Append blobs: a block list that grows at its end. A block costs its piece, a row of the list and the
 * blob's own row; nothing that is there is written again.
 *
 * Appends to one blob wait for one another, since a blob's changes are one after another and each
 * ends with a sync. So those that meet go together: the first leads, and commits all that came while
 * the one before it was committing, in one transaction. Each is judged by its own conditions, in the
 * order of arrival, against the blob as the one before it leaves it.
 *
 *   WAITS --its leader committed--> DONE
 *     |
 *     +--the leader before hands over--> LEADS --its own batch is committed--> DONE */
#include "store/internal.h"

#define BATCH_MAX 64

typedef struct append {
    store_upload *u;
    const store_conditions *cond;
    const store_append_if *when;
    store_appended *ret;
    err e;
    char detail[512]; /* as long as err_detail can be */
    bool done, leads;
    pthread_cond_t wake;
    slice base;
    struct append *next;         /* of those that wait for the same leader */
    struct append *first, *last; /* a leader's: who waits for it */
    struct append *next_leader;  /* in the lane */
} append;

void append_lanes_init(append_lane *lanes) {
    for (size_t i = 0; i < APPEND_LANES; i++) MUST(pthread_mutex_init(&lanes[i].lock, NULL) == 0);
}

void append_lanes_done(append_lane *lanes) {
    for (size_t i = 0; i < APPEND_LANES; i++) {
        MUST(lanes[i].leaders == NULL);
        pthread_mutex_destroy(&lanes[i].lock);
    }
}

/* ---- one block ---- */

static err judge(const row_blob *row, const store_conditions *cond, const store_append_if *when) {
    TRY(blob_of_type(row, STORE_APPEND_BLOB));
    TRY(conditions_check(cond, CONDITION_WRITE, target_of(row, true)));
    ENSURE(!when || !when->has_position || when->position == row->pub.length,
           ERR_APPEND_POSITION_CONDITION_NOT_MET,
           "x-ms-blob-condition-appendpos is %llu, the blob has %llu bytes",
           (unsigned long long)when->position, (unsigned long long)row->pub.length);
    return OK;
}

static err judge_block(const row_blob *row, const append *a) {
    TRY(judge(row, a->cond, a->when));
    ENSURE(!row->pub.sealed, ERR_BLOB_IS_SEALED, "nothing was appended");
    TRY(customer_match(row->pub.key_sha256, upload_key_sha256(a->u)));
    TRY(scope_match(row->pub.scope, store_upload_scope(a->u)));
    const store_append_if *w = a->when;
    uint64_t length = row->pub.length + a->u->len;
    ENSURE(!w || !w->has_length_max || length <= w->length_max, ERR_MAX_BLOB_SIZE_CONDITION_NOT_MET,
           "the blob would have %llu bytes, x-ms-blob-condition-maxsize is %llu",
           (unsigned long long)length, (unsigned long long)w->length_max);
    ENSURE(row->pub.block_count < STORE_COMMITTED_BLOCKS_MAX,
           ERR_COMMITTED_BLOCK_COUNT_EXCEEDS_LIMIT, "the blob has %u blocks", row->pub.block_count);
    return OK;
}

/* The list's row of a block that begins at `start`. */
static void put_chunk(change *ch, row_blob *row, uint64_t start, const row_piece *piece) {
    const row_block block = {.piece = *piece};
    buf blocks;
    buf_init_arena(&blocks, ch->arena, ENGINE_VALUE_MAX);
    row_block_put(&blocks, &block);
    const row_chunk chunk = {.start = start,
                             .count = 1,
                             .blocks = buf_slice(&blocks),
                             .key_sha256 = row->pub.key_sha256,
                             .scope = row->pub.scope};
    engine_txn_put(
        ch->txn, ENGINE_BLOCK,
        key_manifest(&ch->key, row->pub.content_id, start + piece->len, row->pub.block_count),
        ROW_ENCODE(chunk, ch->arena, &chunk));
    row->where = ROW_LIST;
    row->pub.block_count++;
}

void append_first(change *ch, row_blob *row, const row_piece *piece) {
    MUST(row->pub.block_count == 0);
    put_chunk(ch, row, 0, piece);
}

/* Adds the block to the change and to row; its bytes follow when all are known. */
static err add_block(change *ch, row_blob *row, append *a) {
    TRY(judge_block(row, a));
    const row_piece piece = upload_piece(a->u);
    uint64_t start = row->pub.length;
    put_chunk(ch, row, start, &piece);
    store_now now = store_tick(ch->s, row->pub.etag);
    row->pub.length += piece.len;
    row->pub.crc64 = crc64_combine(row->pub.crc64, piece.crc64, piece.len);
    row->pub.etag = now.etag;
    row->pub.modified_us = now.us;
    *a->ret = (store_appended){.etag = now.etag,
                               .modified_us = now.us,
                               .offset = start,
                               .block_count = row->pub.block_count};
    return OK;
}

/* ---- a batch ---- */

static void fail(append *a, err e) {
    a->e = e;
    snprintf(a->detail, sizeof a->detail, "%s", err_detail());
}

static err append_once(store *s, store_call c, const store_container *k, slice name,
                       append *batch) {
    change ch CLEANUP(change_done);
    row_blob row;
    bool exists, any = false;
    TRY(change_begin(&ch, s, c, k, name));
    TRY(change_blob(&ch, &row, &exists));
    if (!exists) return blob_missing(name);
    if (ch.guard.append && !ch.guard.held) ch.guarded_put = OK;
    TRY(scope_check(s, c, container_of(k), row.pub.scope));
    for (append *a = batch; a; a = a->next) {
        a->e = OK;
        err e = add_block(&ch, &row, a);
        if (e != OK)
            fail(a, e);
        else
            any = true;
    }
    if (!any) return OK;
    change_put_blob(&ch, &row);
    for (append *a = batch; a; a = a->next)
        if (a->e == OK) upload_give(a->u, &ch);
    return change_commit(&ch);
}

static bool taken(const append *batch) {
    for (; batch; batch = batch->next)
        if (batch->u->taken) return true;
    return false;
}

/* Sets the outcome of each. */
static void append_batch(store *s, store_call c, const store_container *k, slice name,
                         append *batch) {
    for (int try = 1;; try++) {
        err e = append_once(s, c, k, name, batch);
        if (e == ERR_CONFLICT && !taken(batch) && try < STORE_CONFLICT_TRIES) continue;
        for (append *a = batch; a && e != OK; a = a->next)
            if (a->e == OK) fail(a, e);
        return;
    }
}

/* ---- who leads ---- */

/* True when a is to lead; otherwise its outcome is there. */
static bool enter(append_lane *lane, append *a) {
    append *l = lane->leaders;
    while (l && !slice_eq(l->base, a->base)) l = l->next_leader;
    if (!l) {
        a->next_leader = lane->leaders;
        lane->leaders = a;
        return true;
    }
    *(l->last ? &l->last->next : &l->first) = a;
    l->last = a;
    while (!a->done && !a->leads) pthread_cond_wait(&a->wake, &lane->lock);
    return a->leads;
}

/* Takes some of those that wait into a's batch. */
static void gather(append *a) {
    append *end = a;
    for (int n = 1; a->first && n < BATCH_MAX; n++) {
        end->next = a->first;
        end = a->first;
        a->first = end->next;
    }
    end->next = NULL;
    if (!a->first) a->last = NULL;
}

/* The next in line leads the others; a's place in the lane is its. */
static void hand_over(append_lane *lane, append *a) {
    append **at = &lane->leaders, *heir = a->first;
    while (*at != a) at = &(*at)->next_leader;
    *at = a->next_leader;
    if (!heir) return;
    heir->first = heir->next;
    heir->last = heir->first ? a->last : NULL;
    heir->next = NULL;
    heir->next_leader = lane->leaders;
    lane->leaders = heir;
    heir->leads = true;
    pthread_cond_signal(&heir->wake);
}

/* A waiter is gone from the moment it sees that it is done. */
static void release(append *batch) {
    for (append *a = batch, *next; a; a = next) {
        next = a->next;
        a->done = true;
        pthread_cond_signal(&a->wake);
    }
}

err store_append_block(store *s, store_call c, const store_container *k, slice name,
                       store_upload *u, const store_conditions *cond, const store_append_if *when,
                       store_appended *ret) {
    MUST(u->container == k->id && u->len > 0);
    if (!store_blob_name_valid(name)) return blob_missing(name);
    if (c.nowait) return ERR_WOULD_BLOCK;
    c.later = NULL; /* it is the batch's */
    blob_key key;
    key_blob(&key, k->id, name);
    append a = {.u = u, .cond = cond, .when = when, .ret = ret, .base = key_base(&key)};
    append_lane *lane = &s->appends[slice_hash(a.base) % APPEND_LANES];
    MUST(pthread_cond_init(&a.wake, NULL) == 0);
    pthread_mutex_lock(&lane->lock);
    if (enter(lane, &a)) {
        gather(&a);
        pthread_mutex_unlock(&lane->lock);
        append_batch(s, c, k, name, &a);
        pthread_mutex_lock(&lane->lock);
        hand_over(lane, &a);
        release(a.next);
    }
    pthread_mutex_unlock(&lane->lock);
    pthread_cond_destroy(&a.wake);
    if (a.e != OK) return err_fail(a.e, "%s", a.detail);
    store_upload_free(u);
    return OK;
}

/* ---- create, seal ---- */

err store_append_create(store *s, store_call c, const store_container *k, slice name,
                        const store_put *p, store_blob *ret) {
    return blob_put_kind(s, c, k, name, NULL, &(blob_kind){.type = STORE_APPEND_BLOB}, p, ret);
}

static err seal_once(store *s, store_call c, const store_container *k, slice name,
                     const store_conditions *cond, const store_append_if *when, store_blob *ret) {
    change ch CLEANUP(change_done);
    row_blob row;
    bool exists;
    TRY(change_begin(&ch, s, c, k, name));
    TRY(change_blob(&ch, &row, &exists));
    if (!exists) return blob_missing(name);
    TRY(judge(&row, cond, when));
    bool sealed = row.pub.sealed;
    row.pub.sealed = true;
    TRY(blob_result(&ch, &row, ret));
    if (sealed) return OK;
    change_put_blob(&ch, &row);
    return change_commit(&ch);
}

err store_append_seal(store *s, store_call c, const store_container *k, slice name,
                      const store_conditions *cond, const store_append_if *when, store_blob *ret) {
    if (!store_blob_name_valid(name)) return blob_missing(name);
    for (int try = 1;; try++) {
        err e = seal_once(s, c, k, name, cond, when, ret);
        if (e != ERR_CONFLICT || try == STORE_CONFLICT_TRIES) return e;
    }
}
