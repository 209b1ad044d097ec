/* Set and Delete Blob Immutability Policy, Set Blob Legal Hold; and what writing and reading a blob say
 * of them. Azure asks for a container with version-level immutability support; here every container
 * has it. */
#include "blob/internal.h"

static err read_until(const ops_request *r, int64_t *ret) {
    slice v = ops_header(r, "x-ms-immutability-policy-until-date");
    ENSURE(v.len > 0, ERR_MISSING_REQUIRED_HEADER,
           "x-ms-immutability-policy-until-date is missing");
    ENSURE(time_parse_http(v, ret) == OK, ERR_INVALID_HEADER_VALUE,
           "x-ms-immutability-policy-until-date: '%.*s' is not a date like Sun, 06 Nov 1994 "
           "08:49:37 GMT",
           SLICE_ARG(slice_take(v, 64)));
    return OK;
}

static err read_policy(const ops_request *r, store_immutability *ret) {
    slice mode = ops_header(r, "x-ms-immutability-policy-mode");
    TRY(read_until(r, &ret->until_us));
    ret->set_policy = true;
    ret->mode = slice_eq_nocase(mode, S("Locked")) ? STORE_LOCKED : STORE_UNLOCKED;
    ENSURE(mode.p == NULL || ret->mode == STORE_LOCKED || slice_eq_nocase(mode, S("Unlocked")),
           ERR_INVALID_HEADER_VALUE,
           "x-ms-immutability-policy-mode: '%.*s' is neither Unlocked nor Locked",
           SLICE_ARG(slice_take(mode, 32)));
    return OK;
}

err blob_immutability_read(const ops_request *r, store_immutability *ret) {
    *ret = (store_immutability){0};
    bool policy = ops_header(r, "x-ms-immutability-policy-until-date").p != NULL ||
                  ops_header(r, "x-ms-immutability-policy-mode").p != NULL;
    if (policy) TRY(read_policy(r, ret));
    TRY(blob_flag_read(r, "x-ms-legal-hold", &ret->hold));
    ret->set_hold = ret->hold; /* a new blob has none anyway */
    ENSURE(!(ret->set_policy || ret->set_hold) || !r->server->authenticate ||
               auth_may_protect(&r->caller),
           ERR_AUTHORIZATION_PERMISSION_MISMATCH,
           "a policy or a legal hold needs the permission to set them (i)");
    return OK;
}

slice blob_immutability_mode(store_immutable_mode m) {
    return m == STORE_LOCKED ? S("Locked") : S("Unlocked");
}

void blob_set_immutability(ops_request *r, ops_response *w, const store_blob *b) {
    if (b->immutable_mode != STORE_MUTABLE) {
        ops_set_time(r, w, "x-ms-immutability-policy-until-date", b->immutable_until_us);
        ops_set(w, "x-ms-immutability-policy-mode", blob_immutability_mode(b->immutable_mode));
    }
    if (b->legal_hold) ops_set(w, "x-ms-legal-hold", S("true"));
}

static err set(ops_request *r, ops_response *w, const store_immutability *x, store_blob *ret) {
    store_conditions cond;
    store_pick pick;
    TRY(blob_pick_read(r, &pick));
    TRY(ops_conditions(r, &cond));
    const store_container *k CLEANUP(blob_container_unref) = NULL;
    TRY(blob_container(r, &k));
    w->status = 200;
    return store_blob_set_immutability(r->server->store, ops_call(r), k, r->blob, pick, &cond, x,
                                       ret);
}

err blob_set_immutability_policy(ops_request *r, ops_response *w) {
    store_immutability x = {0};
    store_blob b;
    TRY(blob_enter(r));
    TRY(read_policy(r, &x));
    TRY(set(r, w, &x, &b));
    ops_set_time(r, w, "x-ms-immutability-policy-until-date", b.immutable_until_us);
    ops_set(w, "x-ms-immutability-policy-mode", blob_immutability_mode(b.immutable_mode));
    return OK;
}

err blob_delete_immutability_policy(ops_request *r, ops_response *w) {
    store_immutability x = {.set_policy = true, .mode = STORE_MUTABLE};
    store_blob b;
    TRY(blob_enter(r));
    return set(r, w, &x, &b);
}

err blob_set_legal_hold(ops_request *r, ops_response *w) {
    store_immutability x = {.set_hold = true};
    store_blob b;
    TRY(blob_enter(r));
    ENSURE(ops_header(r, "x-ms-legal-hold").len > 0, ERR_MISSING_REQUIRED_HEADER,
           "x-ms-legal-hold is missing: send true or false");
    TRY(blob_flag_read(r, "x-ms-legal-hold", &x.hold));
    TRY(set(r, w, &x, &b));
    ops_set(w, "x-ms-legal-hold", b.legal_hold ? S("true") : S("false"));
    return OK;
}
