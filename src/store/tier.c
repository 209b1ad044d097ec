/* Tiers and expiry: states of a blob that change as time goes by.
 *
 * A tier is a label with rules. Archive closes a blob: its content cannot be read, and neither content nor
 * properties change, until it is rehydrated. Rehydration takes as long as the account says
 * (rehydrate_seconds): the row names the tier to come and when, and whoever decodes the row later
 * finds it arrived (rows.c). Nothing has to run in between, and a restart loses nothing.
 *
 * A blob with an expiry is not there any more from that moment on: whoever reads its row finds none
 * (blob_expired), and the first change under its name removes what is left (change_blob), at the
 * latest the sweeper's, which finds it through the index. */
#include "store/internal.h"

bool blob_expired(const row_blob *r) {
    return r->pub.expires_us != STORE_TIME_NONE && clock_wall_us() >= r->pub.expires_us &&
           !blob_protected(r);
}

/* ---- what an archived blob allows ---- */

/* "While a blob is in the archive tier, it can't be read or modified": Delete Blob, Set Blob Tier, tags
 * and reading properties remain. */
err blob_online(const row_blob *r) {
    ENSURE(r->pub.tier != STORE_TIER_ARCHIVE, ERR_BLOB_ARCHIVED,
           r->pub.rehydrate_to ? "It is being rehydrated; try again later."
                               : "Set its tier to Hot, Cool or Cold first.");
    return OK;
}

/* ---- Set Blob Tier ---- */

static err rehydrate_us(change *ch, int64_t now_us, int64_t *ret) {
    const store_account *a;
    store_call c = {.arena = ch->arena};
    TRY(store_account_get(ch->s, c, ch->account_name, &a));
    *ret = now_us + (int64_t)a->settings.rehydrate_seconds * 1000000;
    store_account_unref(a);
    return OK;
}

/* From Archive: the tier comes later. */
static err rehydrate(change *ch, row_blob *row, store_tier tier, bool high) {
    int64_t now = clock_wall_us();
    if (row->pub.rehydrate_to) {
        ENSURE(row->pub.rehydrate_to == tier, ERR_BLOB_BEING_REHYDRATED,
               "it is on its way to another tier");
        ENSURE(high || !row->pub.rehydrate_high, ERR_BLOB_BEING_REHYDRATED,
               "its priority is High and cannot be lowered");
        row->pub.rehydrate_high = high;
        return OK;
    }
    TRY(rehydrate_us(ch, now, &row->pub.rehydrate_due_us));
    row->pub.rehydrate_to = tier;
    row->pub.rehydrate_high = high;
    return OK;
}

err tier_rehydrate_new(change *ch, row_blob *row, bool high) {
    store_tier tier = row->pub.tier;
    row->pub.tier = STORE_TIER_ARCHIVE;
    return rehydrate(ch, row, tier, high);
}

static err change_tier(change *ch, row_blob *row, store_tier tier, bool high, bool *ret_later) {
    ENSURE(row->pub.type == STORE_BLOCK_BLOB, ERR_ACCESS_TIER_NOT_SUPPORTED_FOR_BLOB_TYPE,
           "Hot, Cool, Cold and Archive are tiers of block blobs");
    *ret_later = row->pub.tier == STORE_TIER_ARCHIVE && tier != STORE_TIER_ARCHIVE;
    if (*ret_later) return rehydrate(ch, row, tier, high);
    ENSURE(!row->pub.rehydrate_to, ERR_BLOB_BEING_REHYDRATED, "it is on its way to another tier");
    if (row->pub.tier == tier) return OK;
    row->pub.tier = tier;
    row->pub.tier_changed_us = clock_wall_us();
    return OK;
}

static err set_tier_once(store *s, store_call c, const store_container *k, slice name,
                         store_pick pick, const store_conditions *cond, store_tier tier, bool high,
                         bool *ret_later) {
    change ch CLEANUP(change_done);
    picked_state p;
    TRY(change_begin_picked(&ch, s, c, k, name, pick, &p));
    TRY(conditions_check(cond, CONDITION_WRITE, target_of(&p.row, true)));
    TRY(change_tier(&ch, &p.row, tier, high, ret_later));
    change_put_picked(&ch, &p);
    return change_commit(&ch);
}

err store_blob_set_tier(store *s, store_call c, const store_container *k, slice name,
                        store_pick pick, const store_conditions *cond, store_tier tier, bool high,
                        bool *ret_later) {
    MUST(tier != STORE_TIER_INFERRED && tier <= STORE_TIER_ARCHIVE);
    for (int try = 1;; try++) {
        err e = set_tier_once(s, c, k, name, pick, cond, tier, high, ret_later);
        if (e != ERR_CONFLICT || try == STORE_CONFLICT_TRIES) return e;
    }
}

/* ---- Set Blob Expiry ---- */

err expiry_of(const store_expiry *x, const row_blob *row, int64_t *ret) {
    int64_t now = clock_wall_us();
    *ret = STORE_TIME_NONE;
    if (x->option == STORE_NEVER_EXPIRE) return OK;
    int64_t base = x->option == STORE_EXPIRE_ABSOLUTE         ? 0
                   : x->option == STORE_EXPIRE_AFTER_CREATION ? row->pub.created_us
                                                              : now;
    ENSURE(x->us <= INT64_MAX - base, ERR_INVALID_HEADER_VALUE, "x-ms-expiry-time is too large");
    ENSURE(base + x->us > now, ERR_INVALID_HEADER_VALUE, "x-ms-expiry-time is in the past");
    *ret = base + x->us;
    return OK;
}

static err set_expiry_once(store *s, store_call c, const store_container *k, slice name,
                           const store_conditions *cond, const store_expiry *x, store_blob *ret) {
    change ch CLEANUP(change_done);
    row_blob row;
    TRY(change_begin_existing(&ch, s, c, k, name, &row));
    TRY(conditions_check(cond, CONDITION_WRITE, target_of(&row, true)));
    TRY(change_refuse_guarded(&ch));
    TRY(expiry_of(x, &row, &row.pub.expires_us));
    TRY(change_head(&ch));
    store_now now = change_now(&ch, &row);
    row.pub.etag = now.etag;
    row.pub.modified_us = now.us;
    TRY(blob_result(&ch, &row, ret));
    change_put_blob(&ch, &row);
    return change_commit(&ch);
}

err store_blob_set_expiry(store *s, store_call c, const store_container *k, slice name,
                          const store_conditions *cond, const store_expiry *x, store_blob *ret) {
    for (int try = 1;; try++) {
        err e = set_expiry_once(s, c, k, name, cond, x, ret);
        if (e != ERR_CONFLICT || try == STORE_CONFLICT_TRIES) return e;
    }
}
