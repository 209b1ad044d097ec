/* Snapshots, versions and deletion: which state of a blob a request means, Snapshot Blob, Delete
 * Blob. */
#include "blob/internal.h"

/* ---- which state ----------------------------------------------------------------------------------- */

static err read_moment(const ops_request *r, const char *name, uint64_t *ret) {
    slice v = ops_param(r, name);
    *ret = 0;
    if (v.len == 0) return OK;
    ENSURE(time_parse_tick(v, ret) == OK, ERR_INVALID_QUERY_PARAMETER_VALUE,
           "%s: '%.*s' is not a time like 2026-11-23T20:40:24.1234567Z", name,
           SLICE_ARG(slice_take(v, 64)));
    return OK;
}

err blob_pick_read(const ops_request *r, store_pick *ret) {
    TRY(read_moment(r, "snapshot", &ret->snapshot));
    TRY(read_moment(r, "versionid", &ret->version));
    ENSURE(!(ret->snapshot && ret->version), ERR_MUTUALLY_EXCLUSIVE_QUERY_PARAMETERS,
           "snapshot and versionid cannot be sent together");
    return OK;
}

slice blob_moment(arena *a, uint64_t tick) {
    buf b;
    buf_init_fixed(&b, arena_alloc(a, TIME_TICK_TEXT_LEN), TIME_TICK_TEXT_LEN);
    time_put_tick(&b, tick);
    return buf_slice(&b);
}

void blob_set_version(ops_request *r, ops_response *w, const store_blob *b) {
    if (b->version) ops_set(w, "x-ms-version-id", blob_moment(r->arena, b->version));
}

/* ---- Snapshot Blob --------------------------------------------------------------------------------- */

/* Metadata of its own when any is sent; else the blob's ("Snapshot Blob"). */
err blob_snapshot(ops_request *r, ops_response *w) {
    store_conditions cond;
    pair *metadata;
    size_t count;
    store_blob b;
    TRY(blob_enter(r));
    TRY(ops_conditions(r, &cond));
    TRY(blob_metadata_read(r, &metadata, &count));
    const store_container *k CLEANUP(blob_container_unref) = NULL;
    TRY(blob_container(r, &k));
    TRY(store_blob_snapshot(r->server->store, ops_call(r), k, r->blob, &cond,
                            count ? metadata : NULL, count, &b));
    w->status = 201;
    blob_set_state(r, w, b.etag, b.modified_us);
    ops_set(w, "x-ms-snapshot", blob_moment(r->arena, b.snapshot));
    blob_set_version(r, w, &b);
    blob_set_encrypted(r, w, b.scope);
    return OK;
}

/* ---- Undelete Blob -------------------------------------------------------------------------------- */

err blob_undelete(ops_request *r, ops_response *w) {
    TRY(blob_enter(r));
    ENSURE(ops_header(r, "x-ms-undelete-source").p == NULL, ERR_UNSUPPORTED_HEADER,
           "x-ms-undelete-source: this account has no hierarchical namespace");
    const store_container *k CLEANUP(blob_container_unref) = NULL;
    TRY(blob_container(r, &k));
    TRY(store_blob_undelete(r->server->store, ops_call(r), k, r->blob));
    w->status = 200;
    return OK;
}

/* ---- Delete Blob ----------------------------------------------------------------------------------- */

static err read_snapshots(const ops_request *r, store_delete *d) {
    slice v = ops_header(r, "x-ms-delete-snapshots");
    if (v.p == NULL) return OK;
    bool only = slice_eq(v, S("only"));
    ENSURE(only || slice_eq(v, S("include")), ERR_INVALID_HEADER_VALUE,
           "x-ms-delete-snapshots: '%.*s' is neither include nor only",
           SLICE_ARG(slice_take(v, 32)));
    ENSURE(!d->pick.snapshot, ERR_INVALID_OPERATION,
           "x-ms-delete-snapshots goes with the blob itself, not with one snapshot");
    ENSURE(!d->pick.version, ERR_INVALID_QUERY_PARAMETER_VALUE,
           "x-ms-delete-snapshots goes with the blob itself, not with versionid");
    d->snapshots = only ? STORE_SNAPSHOTS_ONLY : STORE_SNAPSHOTS_INCLUDE;
    return OK;
}

static err read_delete(const ops_request *r, store_delete *d) {
    *d = (store_delete){0};
    TRY(blob_pick_read(r, &d->pick));
    TRY(read_snapshots(r, d));
    slice type = ops_param(r, "deletetype");
    if (type.len == 0) return OK;
    ENSURE(slice_eq_nocase(type, S("permanent")), ERR_INVALID_QUERY_PARAMETER_VALUE,
           "deletetype: '%.*s' is not permanent", SLICE_ARG(slice_take(type, 32)));
    ENSURE(d->pick.snapshot || d->pick.version, ERR_INVALID_QUERY_PARAMETER_VALUE,
           "deletetype=permanent goes with snapshot or versionid");
    d->permanent = true;
    return OK;
}

err blob_delete(ops_request *r, ops_response *w) {
    store_conditions cond;
    store_delete d;
    bool permanent;
    TRY(blob_enter(r));
    TRY(ops_conditions(r, &cond));
    TRY(read_delete(r, &d));
    const store_container *k CLEANUP(blob_container_unref) = NULL;
    TRY(blob_container(r, &k));
    TRY(store_blob_delete(r->server->store, ops_call(r), k, r->blob, &cond, &d, &permanent));
    w->status = 202;
    ops_set(w, "x-ms-delete-type-permanent", permanent ? S("true") : S("false"));
    return OK;
}
