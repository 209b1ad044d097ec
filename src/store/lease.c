/* Leases: what the five operations do to the lease of a blob or container, state by state. Azure:
 * "Lease Blob" and "Lease Container", outcomes of lease operations by lease state. What a lease
 * keeps others from is in conditions.c.
 *
 *   available  acquire -> leased
 *   leased     acquire (same id), renew, change -> leased; release -> available;
 *              break -> breaking, or broken when nothing is left; its time passes -> expired
 *   expired    acquire, renew -> leased; release -> available; break -> broken; a write to the blob
 *              -> available
 *   breaking   release -> available; break -> breaking (not longer) or broken; its time passes -> broken
 *   broken     acquire -> leased; release -> available; break -> broken; a write to the blob -> available */
#include "store/internal.h"

#define SECOND_US 1000000ll

store_lease_state store_lease_state_of(const store_lease *l, int64_t now_us) {
    if (l->id.len == 0) return STORE_LEASE_AVAILABLE;
    bool over = l->until_us != STORE_TIME_NONE && now_us >= l->until_us;
    if (l->broken) return over ? STORE_LEASE_BROKEN : STORE_LEASE_BREAKING;
    return over ? STORE_LEASE_EXPIRED : STORE_LEASE_LEASED;
}

bool store_lease_locked(store_lease_state state) {
    return state == STORE_LEASE_LEASED || state == STORE_LEASE_BREAKING;
}

void lease_after_write(store_lease *l, int64_t now_us) {
    if (!store_lease_locked(store_lease_state_of(l, now_us)))
        *l = (store_lease){.until_us = STORE_TIME_NONE};
}

static err mismatch(void) {
    return err_fail(ERR_LEASE_ID_MISMATCH_WITH_LEASE_OPERATION,
                    "x-ms-lease-id is not the id of a lease that is there");
}

static err not_present(void) {
    return err_fail(ERR_LEASE_NOT_PRESENT_WITH_LEASE_OPERATION,
                    "there is no lease to be changed or broken: acquire one");
}

static int64_t end_of(uint32_t duration_s, int64_t now_us) {
    return duration_s ? now_us + duration_s * SECOND_US : STORE_TIME_NONE;
}

static err acquire(store_lease *l, store_lease_state state, const store_lease_ask *ask,
                   int64_t now_us, arena *a) {
    bool same = ask->proposed.len && slice_eq(ask->proposed, l->id);
    ENSURE(state != STORE_LEASE_BREAKING || !same, ERR_LEASE_IS_BREAKING_AND_CANNOT_BE_ACQUIRED,
           "wait until the break is over, or release the lease");
    ENSURE(!store_lease_locked(state) || same, ERR_LEASE_ALREADY_PRESENT,
           "another holds a lease: wait for its end, or break it");
    ENSURE(ask->duration_s == 0 ||
               (ask->duration_s >= STORE_LEASE_S_MIN && ask->duration_s <= STORE_LEASE_S_MAX),
           ERR_INVALID_HEADER_VALUE, "a lease lasts %d to %d seconds, or is infinite (-1)",
           STORE_LEASE_S_MIN, STORE_LEASE_S_MAX);
    slice id = ask->proposed;
    if (id.len == 0) {
        uint8_t *random = arena_alloc(a, UUID_LEN);
        uuid_random(random);
        id = slice_of(random, UUID_LEN);
    }
    *l = (store_lease){
        .id = id, .duration_s = ask->duration_s, .until_us = end_of(ask->duration_s, now_us)};
    return OK;
}

static err renew(store_lease *l, store_lease_state state, const store_lease_ask *ask,
                 int64_t now_us) {
    if (state == STORE_LEASE_AVAILABLE || !slice_eq(ask->id, l->id)) return mismatch();
    ENSURE(!l->broken, ERR_LEASE_IS_BROKEN_AND_CANNOT_BE_RENEWED, "acquire a new one");
    l->until_us = end_of(l->duration_s, now_us);
    return OK;
}

/* One that has been changed to the proposed id already is left so: the request may come twice. */
static err change_id(store_lease *l, store_lease_state state, const store_lease_ask *ask) {
    if (!store_lease_locked(state)) return not_present();
    bool own = slice_eq(ask->id, l->id);
    ENSURE(state != STORE_LEASE_BREAKING || !own, ERR_LEASE_IS_BREAKING_AND_CANNOT_BE_CHANGED,
           "it can only be released, or broken sooner");
    if (!own && (state == STORE_LEASE_BREAKING || !slice_eq(ask->proposed, l->id)))
        return mismatch();
    l->id = ask->proposed;
    return OK;
}

static err release(store_lease *l, store_lease_state state, const store_lease_ask *ask) {
    if (state == STORE_LEASE_AVAILABLE || !slice_eq(ask->id, l->id)) return mismatch();
    *l = (store_lease){.until_us = STORE_TIME_NONE};
    return OK;
}

/* A break ends with the lease itself at the latest; without a period it waits for that end, and an
 * infinite lease ends at once. A break that goes on can only be made shorter. */
static err break_off(store_lease *l, store_lease_state state, const store_lease_ask *ask,
                     int64_t now_us, uint32_t *ret_s) {
    if (state == STORE_LEASE_AVAILABLE) return not_present();
    ENSURE(!ask->has_break || ask->break_s <= STORE_BREAK_S_MAX, ERR_INVALID_HEADER_VALUE,
           "a break lasts 0 to %d seconds", STORE_BREAK_S_MAX);
    *ret_s = 0;
    if (state == STORE_LEASE_BROKEN) return OK;
    bool infinite = l->until_us == STORE_TIME_NONE;
    int64_t until = infinite ? now_us : l->until_us;
    int64_t asked = now_us + ask->break_s * SECOND_US;
    if (ask->has_break && (infinite || asked < until)) until = asked;
    if (until < now_us) until = now_us; /* expired */
    l->broken = true;
    l->until_us = until;
    *ret_s = (uint32_t)((until - now_us + SECOND_US - 1) / SECOND_US);
    return OK;
}

err lease_apply(store_lease *l, const store_lease_ask *ask, int64_t now_us, arena *a,
                store_lease_answer *ret) {
    store_lease_state state = store_lease_state_of(l, now_us);
    ret->break_s = 0;
    switch (ask->action) {
    case STORE_LEASE_ACQUIRE:
        TRY(acquire(l, state, ask, now_us, a));
        break;
    case STORE_LEASE_RENEW:
        TRY(renew(l, state, ask, now_us));
        break;
    case STORE_LEASE_CHANGE:
        TRY(change_id(l, state, ask));
        break;
    case STORE_LEASE_RELEASE:
        TRY(release(l, state, ask));
        break;
    case STORE_LEASE_BREAK:
        TRY(break_off(l, state, ask, now_us, &ret->break_s));
        break;
    }
    bool tells = ask->action != STORE_LEASE_RELEASE && ask->action != STORE_LEASE_BREAK;
    ret->id = tells ? arena_dup(a, l->id) : SLICE_NONE;
    return OK;
}

/* ---- of a blob ---- */

static err blob_lease_once(store *s, store_call c, const store_container *k, slice name,
                           const store_conditions *cond, const store_lease_ask *ask,
                           store_lease_answer *ret) {
    change ch CLEANUP(change_done);
    row_blob row;
    TRY(change_begin_existing(&ch, s, c, k, name, &row));
    TRY(conditions_check(cond, CONDITION_TOUCH, target_of(&row, true)));
    store_lease_answer answer = {.etag = row.pub.etag, .modified_us = row.pub.modified_us};
    TRY(lease_apply(&row.pub.lease, ask, clock_wall_us(), c.arena, &answer));
    change_put_row(&ch, &row);
    TRY(change_commit(&ch));
    *ret = answer;
    return OK;
}

err store_blob_lease(store *s, store_call c, const store_container *k, slice name,
                     const store_conditions *cond, const store_lease_ask *ask,
                     store_lease_answer *ret) {
    for (int try = 1;; try++) {
        err e = blob_lease_once(s, c, k, name, cond, ask, ret);
        if (e != ERR_CONFLICT || try == STORE_CONFLICT_TRIES) return e;
    }
}
