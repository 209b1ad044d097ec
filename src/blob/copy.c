/* Copy Blob and Abort Copy Blob. A small source on this server is copied before the answer and told as
 * done, as Azure does within an account; any other makes the destination pending, and the store copies
 * on its own (store/copier.c). */
#include "blob/internal.h"

#define NOW_MAX ((uint64_t)16 << 20) /* copied before the answer */

/* ---- a source elsewhere, for the store ------------------------------------------------------------- */

#define PIECE_S          60
#define TRANSFER_BYTES_S ((uint64_t)64 << 10)

static err remote_open(void *ctx, arena *a, slice url, slice etag, uint64_t offset, uint64_t count,
                       const atomic_bool *cancelled, void **ret) {
    pair headers[] = {{S("x-ms-version"), S("2026-06-06")}, {S("If-Match"), etag}};
    uint64_t seconds = PIECE_S + count / TRANSFER_BYTES_S;
    fetch_ask ask = {.url = url,
                     .ranged = offset > 0,
                     .first = offset,
                     .last = UINT64_MAX,
                     .headers = headers,
                     .header_count = etag.len > 0 ? 2 : 1,
                     .cancelled = cancelled,
                     .total_s = seconds < INT32_MAX ? (unsigned)seconds : INT32_MAX};
    fetch_answer f;
    fetch_stream *s;
    TRY(fetch_open(ctx, a, &ask, &f, &s));
    err e = blob_source_answer_check(&f, offset, count);
    if (e != OK)
        fetch_close(s);
    else
        *ret = s;
    return e;
}

static err remote_read(void *stream, uint8_t *out, size_t cap, size_t *ret_n) {
    return fetch_read(stream, out, cap, ret_n);
}

static void remote_close(void *stream) {
    fetch_close(stream);
}

store_remote blob_remote(fetch *f) {
    return (store_remote){
        .ctx = f, .open = remote_open, .read = remote_read, .close = remote_close};
}

/* ---- Copy Blob -------------------------------------------------------------------------------------- */

typedef struct copy_asks {
    blob_put_asks put;
    blob_source_asks asks;
    blob_source source;
    store_copy copy;
    const store_container *container;
    bool seal;
} copy_asks;

static void asks_done(copy_asks *h) {
    blob_source_done(&h->source);
    if (h->container != NULL) store_container_unref(h->container);
}

/* "x-ms-seal-blob … valid only when the source is an append blob"; a sealed source is no reason. */
static err read_seal(const ops_request *r, copy_asks *h) {
    if (ops_header(r, "x-ms-seal-blob").p) TRY(blob_flag_read(r, "x-ms-seal-blob", &h->seal));
    ENSURE(!h->seal || h->source.blob.type == STORE_APPEND_BLOB, ERR_INVALID_HEADER_VALUE,
           "x-ms-seal-blob goes with append blobs only");
    ENSURE(h->put.put.tier == STORE_TIER_INFERRED || h->source.blob.type == STORE_BLOCK_BLOB,
           ERR_ACCESS_TIER_NOT_SUPPORTED_FOR_BLOB_TYPE, "x-ms-access-tier is of block blobs");
    return OK;
}

/* Properties are the source's, metadata as well unless the request brings its own. */
static err read_copy(ops_request *r, copy_asks *h) {
    TRY(blob_enter(r));
    TRY(blob_put_asks_read(r, false, &h->put));
    TRY(blob_source_asks_read(r, &h->asks));
    ENSURE(!h->asks.range.asked, ERR_INVALID_HEADER_VALUE,
           "x-ms-source-range is of Put Block From URL; a blob is copied whole");
    ENSURE(ops_header(r, "x-ms-source-encryption-key").p == NULL, ERR_UNSUPPORTED_HEADER,
           "a customer-provided key of the source goes with the copies that are done when they are "
           "answered: it is not kept for one that goes on");
    h->asks.length_max = UINT64_MAX;
    store_tier tier = h->put.put.tier;
    h->asks.archived = tier != STORE_TIER_INFERRED && tier != STORE_TIER_ARCHIVE;
    TRY(blob_rehydrate_priority_read(r, &h->put.put.rehydrate_high));
    TRY(blob_container(r, &h->container));
    TRY(blob_source_open(r, &h->asks, &h->source));
    TRY(read_seal(r, h));
    h->put.put.http = h->source.blob.http;
    h->put.put.rehydrate = h->source.blob.tier == STORE_TIER_ARCHIVE;
    h->put.put.cond = &h->put.cond;
    h->put.put.copy = &h->copy;
    blob_copy_begin(r, &h->asks, &h->source, &h->copy);
    return blob_copy_metadata(&h->put.put, &h->source);
}

static bool onto_itself(const ops_request *r, const copy_asks *h) {
    const ops_request *n = h->source.here;
    bool current = h->source.pick.snapshot == 0 && h->source.pick.version == 0;
    return n != NULL && current && slice_eq(n->account_name, r->account_name) &&
           slice_eq(n->container, r->container) && slice_eq(n->blob, r->blob);
}

static err copy_now(ops_request *r, copy_asks *h, store_blob *ret) {
    store *s = r->server->store;
    store_upload *u CLEANUP(blob_upload_free) = NULL;
    TRY(blob_upload_new(r, h->container, h->source.count, h->source.count, 0, &u));
    TRY(blob_source_upload(&h->source, u, &h->asks.said));
    h->copy.status = STORE_COPY_SUCCESS;
    h->copy.done = h->copy.total;
    h->copy.completed_us = clock_wall_us();
    TRY(store_blob_put(s, ops_call(r), h->container, r->blob, u, &h->put.put, ret));
    u = NULL;
    return OK;
}

static err copy_later(ops_request *r, copy_asks *h, store_blob *ret) {
    const ops_request *n = h->source.here;
    store_copy_from from = {.etag = h->source.etag,
                            .type = h->source.blob.type,
                            .sequence = h->source.blob.sequence,
                            .seal = h->seal};
    if (n != NULL) {
        from.account = n->account_name;
        from.container = n->container;
        from.blob = n->blob;
        from.pick = h->source.pick;
    } else {
        from.url = h->asks.url;
    }
    h->copy.status = STORE_COPY_PENDING;
    h->copy.completed_us = STORE_TIME_NONE;
    return store_copy_begin(r->server->store, ops_call(r), h->container, r->blob, &h->put.put,
                            &from, ret);
}

#define WAIT_MS 2000

/* Small append and page blobs of this server are done soon: their end is waited for, and told. */
static void wait_for_end(ops_request *r, copy_asks *h, store_blob *b) {
    store_blob now;
    if (h->source.here == NULL || h->source.count > NOW_MAX) return;
    store_copy_wait(r->server->store, h->copy.id, WAIT_MS);
    err e = store_blob_get(r->server->store, ops_call(r), h->container, r->blob, STORE_CURRENT,
                           NULL, &now);
    bool ended =
        e == OK && slice_eq(now.copy.id, h->copy.id) && now.copy.status == STORE_COPY_SUCCESS;
    if (!ended) return; /* pending, or another's by now */
    h->copy.status = STORE_COPY_SUCCESS;
    *b = now;
}

err blob_copy(ops_request *r, ops_response *w) {
    copy_asks h CLEANUP(asks_done) = {0};
    store_blob b = {0};
    TRY(read_copy(r, &h));
    bool sums = h.asks.said.has_md5 || h.asks.said.has_crc64;
    ENSURE(!sums, ERR_UNSUPPORTED_HEADER,
           "x-ms-source-content-md5 and -crc64 go with x-ms-requires-sync: true");
    bool now = h.source.here != NULL && h.source.blob.type == STORE_BLOCK_BLOB &&
               (h.source.count <= NOW_MAX || onto_itself(r, &h));
    ENSURE(now || !onto_itself(r, &h), ERR_COPY_SOURCE_INVALID,
           "an append or page blob cannot be copied onto itself");
    err e = now ? copy_now(r, &h, &b) : copy_later(r, &h, &b);
    TRY(blob_overwrite_error(e, h.put.forced));
    if (!now) wait_for_end(r, &h, &b);
    w->status = 202;
    blob_set_state(r, w, b.etag, b.modified_us);
    blob_set_version(r, w, &b);
    ops_set(w, "x-ms-copy-id", h.copy.id);
    ops_set(w, "x-ms-copy-status", blob_copy_status_name(h.copy.status));
    blob_set_scope(r, w, b.scope);
    return OK;
}

/* ---- Abort Copy Blob -------------------------------------------------------------------------------- */

err blob_abort_copy(ops_request *r, ops_response *w) {
    store_conditions cond;
    slice id = ops_param(r, "copyid");
    TRY(blob_enter(r));
    TRY(ops_conditions(r, &cond));
    ENSURE(id.len > 0, ERR_MISSING_REQUIRED_QUERY_PARAMETER, "copyid is missing");
    const store_container *k CLEANUP(blob_container_unref) = NULL;
    TRY(blob_container(r, &k));
    TRY(store_copy_abort(r->server->store, ops_call(r), k, r->blob, id, &cond));
    w->status = 204;
    return OK;
}
