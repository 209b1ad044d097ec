/* Lease Blob and Lease Container, in their five actions; and how a lease is shown. */
#include "blob/internal.h"

/* ---- how a lease is shown ------------------------------------------------------------------------ */

slice blob_lease_name(store_lease_state state) {
    switch (state) {
    case STORE_LEASE_AVAILABLE:
        break;
    case STORE_LEASE_LEASED:
        return S("leased");
    case STORE_LEASE_EXPIRED:
        return S("expired");
    case STORE_LEASE_BREAKING:
        return S("breaking");
    case STORE_LEASE_BROKEN:
        return S("broken");
    }
    return S("available");
}

void blob_set_lease(ops_response *w, const store_lease *l) {
    store_lease_state state =
        l->id.len ? store_lease_state_of(l, clock_wall_us()) : STORE_LEASE_AVAILABLE;
    ops_set(w, "x-ms-lease-status", store_lease_locked(state) ? S("locked") : S("unlocked"));
    ops_set(w, "x-ms-lease-state", blob_lease_name(state));
    if (state == STORE_LEASE_LEASED)
        ops_set(w, "x-ms-lease-duration", l->duration_s ? S("fixed") : S("infinite"));
}

/* ---- what is asked ------------------------------------------------------------------------------- */

static err read_required_guid(const ops_request *r, const char *name, slice *ret) {
    TRY(ops_guid(r, name, ret));
    ENSURE(ret->len > 0, ERR_MISSING_REQUIRED_HEADER, "%s is missing", name);
    return OK;
}

static err read_duration(const ops_request *r, uint32_t *ret) {
    slice v = ops_header(r, "x-ms-lease-duration");
    uint64_t seconds;
    ENSURE(v.p != NULL, ERR_MISSING_REQUIRED_HEADER,
           "x-ms-lease-duration is missing: %d to %d seconds, or -1 for one without end",
           STORE_LEASE_S_MIN, STORE_LEASE_S_MAX);
    *ret = 0;
    if (slice_eq(v, S("-1"))) return OK;
    ENSURE(slice_u64(v, &seconds) == OK && seconds >= STORE_LEASE_S_MIN &&
               seconds <= STORE_LEASE_S_MAX,
           ERR_INVALID_HEADER_VALUE,
           "x-ms-lease-duration: '%.*s' is neither -1 nor a number of seconds from %d to %d",
           SLICE_ARG(slice_take(v, 32)), STORE_LEASE_S_MIN, STORE_LEASE_S_MAX);
    *ret = (uint32_t)seconds;
    return OK;
}

static err read_break(const ops_request *r, store_lease_ask *ask) {
    slice v = ops_header(r, "x-ms-lease-break-period");
    uint64_t seconds;
    if (v.p == NULL) return OK;
    ENSURE(slice_u64(v, &seconds) == OK && seconds <= STORE_BREAK_S_MAX, ERR_INVALID_HEADER_VALUE,
           "x-ms-lease-break-period: '%.*s' is not a number of seconds from 0 to %d",
           SLICE_ARG(slice_take(v, 32)), STORE_BREAK_S_MAX);
    ask->has_break = true;
    ask->break_s = (uint32_t)seconds;
    return OK;
}

static store_lease_action action_of(const ops_request *r) {
    static const char *const names[] = {"acquire", "renew", "change", "release", "break"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(r->row->header_value, names[i]) == 0) return (store_lease_action)i;
    MUST(false); /* the table has no other */
}

static err read_ask(const ops_request *r, store_lease_ask *ret) {
    store_lease_ask ask = {.action = action_of(r)};
    switch (ask.action) {
    case STORE_LEASE_ACQUIRE:
        TRY(read_duration(r, &ask.duration_s));
        TRY(ops_guid(r, "x-ms-proposed-lease-id", &ask.proposed));
        break;
    case STORE_LEASE_CHANGE:
        TRY(read_required_guid(r, "x-ms-lease-id", &ask.id));
        TRY(read_required_guid(r, "x-ms-proposed-lease-id", &ask.proposed));
        break;
    case STORE_LEASE_RENEW:
    case STORE_LEASE_RELEASE:
        TRY(read_required_guid(r, "x-ms-lease-id", &ask.id));
        break;
    case STORE_LEASE_BREAK:
        TRY(read_break(r, &ask));
        break;
    }
    *ret = ask;
    return OK;
}

/* "Requesting a lease against a snapshot results in status code 400"; a version is no different. */
static err refuse_moments(const ops_request *r) {
    ENSURE(ops_param(r, "snapshot").len == 0 && ops_param(r, "versionid").len == 0,
           ERR_INVALID_QUERY_PARAMETER_VALUE,
           "snapshots and versions cannot be leased: send the request without snapshot and "
           "versionid");
    return OK;
}

/* ---- the answer ---------------------------------------------------------------------------------- */

static void answer(ops_request *r, ops_response *w, const store_lease_ask *ask,
                   const store_lease_answer *a) {
    static const int status[] = {201, 200, 200, 200, 202};
    w->status = status[ask->action];
    blob_set_state(r, w, a->etag, a->modified_us);
    if (a->id.len > 0) {
        buf b;
        buf_init_arena(&b, r->arena, 64);
        uuid_text(&b, a->id);
        ops_set(w, "x-ms-lease-id", buf_slice(&b));
    }
    if (ask->action == STORE_LEASE_BREAK) ops_set_u64(r, w, "x-ms-lease-time", a->break_s);
}

static err lease_blob(ops_request *r, const store_conditions *cond, const store_lease_ask *ask,
                      store_lease_answer *ret) {
    const store_container *k CLEANUP(blob_container_unref) = NULL;
    TRY(blob_container(r, &k));
    return store_blob_lease(r->server->store, ops_call(r), k, r->blob, cond, ask, ret);
}

err blob_lease(ops_request *r, ops_response *w) {
    store_conditions cond;
    store_lease_ask ask;
    store_lease_answer a;
    TRY(refuse_moments(r));
    TRY(blob_enter(r));
    TRY(ops_conditions(r, &cond));
    TRY(read_ask(r, &ask));
    if (r->row->level == OPS_BLOB)
        TRY(lease_blob(r, &cond, &ask, &a));
    else
        TRY(store_container_lease(r->server->store, ops_call(r), r->account, r->container, &cond,
                                  &ask, &a));
    answer(r, w, &ask, &a);
    return OK;
}
