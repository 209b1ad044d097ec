/* Set Blob Tier and Set Blob Expiry. */
#include "blob/internal.h"

err blob_rehydrate_priority_read(const ops_request *r, bool *ret_high) {
    slice v = ops_header(r, "x-ms-rehydrate-priority");
    *ret_high = slice_eq_nocase(v, S("High"));
    ENSURE(v.p == NULL || *ret_high || slice_eq_nocase(v, S("Standard")), ERR_INVALID_HEADER_VALUE,
           "x-ms-rehydrate-priority: '%.*s' is neither Standard nor High",
           SLICE_ARG(slice_take(v, 32)));
    return OK;
}

/* 202 when the tier comes later ("Set Blob Tier": from archive to an online tier). */
err blob_set_tier(ops_request *r, ops_response *w) {
    store_conditions cond;
    store_tier tier;
    store_pick pick;
    bool high, later;
    TRY(blob_enter(r));
    TRY(blob_pick_read(r, &pick));
    TRY(ops_conditions(r, &cond));
    TRY(blob_tier_read(r, &tier));
    ENSURE(tier != STORE_TIER_INFERRED, ERR_MISSING_REQUIRED_HEADER,
           "x-ms-access-tier is missing: send Hot, Cool, Cold or Archive");
    TRY(blob_rehydrate_priority_read(r, &high));
    const store_container *k CLEANUP(blob_container_unref) = NULL;
    TRY(blob_container(r, &k));
    TRY(store_blob_set_tier(r->server->store, ops_call(r), k, r->blob, pick, &cond, tier, high,
                            &later));
    w->status = later ? 202 : 200;
    return OK;
}

static err read_option(const ops_request *r, store_expiry *ret) {
    slice v = ops_header(r, "x-ms-expiry-option");
    ENSURE(v.len > 0, ERR_MISSING_REQUIRED_HEADER, "x-ms-expiry-option is missing");
    if (slice_eq_nocase(v, S("NeverExpire")))
        ret->option = STORE_NEVER_EXPIRE;
    else if (slice_eq_nocase(v, S("Absolute")))
        ret->option = STORE_EXPIRE_ABSOLUTE;
    else if (slice_eq_nocase(v, S("RelativeToCreation")))
        ret->option = STORE_EXPIRE_AFTER_CREATION;
    else if (slice_eq_nocase(v, S("RelativeToNow")))
        ret->option = STORE_EXPIRE_FROM_NOW;
    else
        return err_fail(ERR_INVALID_HEADER_VALUE,
                        "x-ms-expiry-option: '%.*s' is not NeverExpire, Absolute, "
                        "RelativeToCreation or RelativeToNow",
                        SLICE_ARG(slice_take(v, 32)));
    return OK;
}

/* A date for Absolute, milliseconds for the relative ones. */
err blob_expiry_read(const ops_request *r, store_expiry *ret) {
    *ret = (store_expiry){0};
    TRY(read_option(r, ret));
    slice v = ops_header(r, "x-ms-expiry-time");
    uint64_t ms;
    if (ret->option == STORE_NEVER_EXPIRE) {
        ENSURE(v.len == 0, ERR_INVALID_HEADER_VALUE,
               "x-ms-expiry-time does not go with NeverExpire");
        return OK;
    }
    ENSURE(v.len > 0, ERR_MISSING_REQUIRED_HEADER, "x-ms-expiry-time is missing");
    if (ret->option == STORE_EXPIRE_ABSOLUTE) {
        ENSURE(time_parse_http(v, &ret->us) == OK, ERR_INVALID_HEADER_VALUE,
               "x-ms-expiry-time: '%.*s' is not a date like Sun, 06 Nov 1994 08:49:37 GMT",
               SLICE_ARG(slice_take(v, 64)));
        return OK;
    }
    ENSURE(slice_u64(v, &ms) == OK && ms <= INT64_MAX / 1000, ERR_INVALID_HEADER_VALUE,
           "x-ms-expiry-time: '%.*s' is not a number of milliseconds",
           SLICE_ARG(slice_take(v, 64)));
    ret->us = (int64_t)ms * 1000;
    return OK;
}

/* Azure has it in accounts with a hierarchical namespace only; here every account has. */
err blob_set_expiry(ops_request *r, ops_response *w) {
    store_conditions cond;
    store_expiry x;
    store_blob b;
    TRY(blob_enter(r));
    TRY(ops_conditions(r, &cond));
    TRY(blob_expiry_read(r, &x));
    const store_container *k CLEANUP(blob_container_unref) = NULL;
    TRY(blob_container(r, &k));
    TRY(store_blob_set_expiry(r->server->store, ops_call(r), k, r->blob, &cond, &x, &b));
    w->status = 200;
    blob_set_state(r, w, b.etag, b.modified_us);
    return OK;
}
