/* Immutability: policies with a date, and legal holds. "Store business-critical blob data with
 * immutable storage".
 *
 * What holds: while a blob has a legal hold, or a policy whose date has not come, no change of it that
 * gives it a new ETag is committed (content, metadata, properties, expiry), and it is not deleted, nor is
 * its container or its account. Leases, tags and tiers may change.
 *
 * With versions, the state that is protected becomes a version, and that one stays: "the current
 * version can be overwritten or deleted, the previous version is protected".
 *
 * It is kept in one place: whatever changes or deletes a blob's row does it through
 * change_put_row and change_delete_blob, which compare the row before with the row after; what
 * takes a state from the history does it through change_drop_past and change_put_past. A container finds its protected blobs through rows in INDEX. */
#include "store/internal.h"

bool blob_protected(const row_blob *r) {
    if (r->pub.legal_hold) return true;
    return r->pub.immutable_mode != STORE_MUTABLE && clock_wall_us() < r->pub.immutable_until_us;
}

static err refuse(const row_blob *r) {
    ENSURE(!r->pub.legal_hold, ERR_BLOB_IMMUTABLE_DUE_TO_LEGAL_HOLD,
           "take its legal hold away first");
    return err_fail(ERR_BLOB_IMMUTABLE_DUE_TO_POLICY, "its policy holds until later");
}

err blob_mutable(const row_blob *r) {
    return blob_protected(r) ? refuse(r) : OK;
}

/* ---- Set and Delete Blob Immutability Policy, Set Blob Legal Hold ---- */

/* A locked policy can only be extended; an unlocked one can do anything. */
static err change_policy(row_blob *row, const store_immutability *x) {
    bool locked = row->pub.immutable_mode == STORE_LOCKED;
    if (x->mode == STORE_MUTABLE) {
        ENSURE(!locked, ERR_BLOB_IMMUTABLE_DUE_TO_POLICY, "a locked policy cannot be deleted");
        row->pub.immutable_until_us = STORE_TIME_NONE;
    } else {
        ENSURE(x->until_us > clock_wall_us(), ERR_INVALID_HEADER_VALUE,
               "x-ms-immutability-policy-until-date is in the past");
        ENSURE(!locked || x->mode == STORE_LOCKED, ERR_BLOB_IMMUTABLE_DUE_TO_POLICY,
               "a locked policy cannot be unlocked");
        ENSURE(!locked || x->until_us >= row->pub.immutable_until_us,
               ERR_BLOB_IMMUTABLE_DUE_TO_POLICY, "a locked policy can only be extended");
        row->pub.immutable_until_us = x->until_us;
    }
    row->pub.immutable_mode = x->mode;
    return OK;
}

static err apply(row_blob *row, const store_immutability *x) {
    if (x->set_policy) TRY(change_policy(row, x));
    if (x->set_hold) row->pub.legal_hold = x->hold;
    return OK;
}

err immutable_new(row_blob *row, const store_immutability *x) {
    return apply(row, x);
}

static err set_once(store *s, store_call c, const store_container *k, slice name, store_pick pick,
                    const store_conditions *cond, const store_immutability *x, store_blob *ret) {
    change ch CLEANUP(change_done);
    picked_state p;
    TRY(change_begin_picked(&ch, s, c, k, name, pick, &p));
    /* The holder of a lease does not decide over this. */
    condition_target t = target_of(&p.row, true);
    t.lease = NULL;
    TRY(conditions_check(cond, CONDITION_WRITE, t));
    TRY(apply(&p.row, x));
    TRY(blob_result(&ch, &p.row, ret));
    if (p.tick)
        change_put_picked(&ch, &p);
    else
        change_put_row(&ch, &p.row); /* no change of the blob: its lease stays as it is */
    return change_commit(&ch);
}

err store_blob_set_immutability(store *s, store_call c, const store_container *k, slice name,
                                store_pick pick, const store_conditions *cond,
                                const store_immutability *x, store_blob *ret) {
    if (c.nowait) return ERR_WOULD_BLOCK;
    immutable_enter(s);
    err e = ERR_CONFLICT;
    for (int try = 0; e == ERR_CONFLICT && try < STORE_CONFLICT_TRIES; try++)
        e = set_once(s, c, k, name, pick, cond, x, ret);
    immutable_leave(s);
    return e;
}

/* ---- containers ---- */

/* Whoever protects a blob and whoever deletes a container keep each other out: what was answered
 * before the container went is seen by its deletion. */
void immutable_enter(store *s) {
    pthread_rwlock_rdlock(&s->protecting);
}

void immutable_leave(store *s) {
    pthread_rwlock_unlock(&s->protecting);
}

void immutable_exclude(store *s) {
    pthread_rwlock_wrlock(&s->protecting);
}

static err state_protects(void *ctx, uint64_t tick, const row_blob *r, bool *stop) {
    (void)tick, (void)stop;
    const slice *name = ctx;
    ENSURE(!blob_protected(r),
           r->pub.legal_hold ? ERR_CONTAINER_HAS_LEGAL_HOLD : ERR_CONTAINER_IMMUTABLE,
           "blob '%.*s' is protected", SLICE_ARG(slice_take(*name, 256)));
    return OK;
}

/* The current state, and all of the history. */
static err row_protects(store *s, arena *a, uint64_t container, slice escaped) {
    blob_key key;
    row_blob row;
    slice value;
    bool stop = false;
    slice name = name_unescape(arena_alloc(a, escaped.len + 1), escaped);
    key_blob(&key, container, name);
    err e = engine_get(s->engine, ENGINE_BLOB, key_state(&key), a, false, &value);
    if (e == OK) {
        TRY(row_blob_get(value, &row));
        TRY(state_protects(&name, 0, &row, &stop));
    } else if (e != ERR_NOT_FOUND) {
        return e;
    }
    return past_walk(s, a, &key, 1, state_protects, &name);
}

err container_mutable(store *s, uint64_t container) {
    index_key low, high;
    key_index(&low, KEY_INDEX_PROTECTED, container);
    high = low;
    key_index_byte(&high, 0xff);
    engine_cursor *cur;
    TRY(engine_scan(s->engine, ENGINE_INDEX, key_index_slice(&low), key_index_slice(&high), &cur));
    arena *a = arena_new(16 << 10, 0);
    err e;
    for (;;) {
        slice k, v;
        bool more;
        TRY_TO(out, engine_cursor_next(cur, &k, &v, &more));
        if (!more) break;
        arena_reset(a);
        TRY_TO(out, row_protects(s, a, container, arena_dup(a, slice_skip(k, 1 + KEY_ID_LEN))));
    }
out:
    arena_free(a);
    engine_cursor_free(cur);
    return e;
}
