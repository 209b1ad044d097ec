/* Append blobs: Put Blob with x-ms-blob-type: AppendBlob, Append Block, Append Block From URL, Append
 * Blob Seal. */
#include "blob/internal.h"

/* "Append Block": blocks up to 100 MiB since this version, up to 4 MiB before it. */
#define LARGE_SINCE  S("2022-11-02")
#define SMALL_BLOCK  ((uint64_t)4 << 20)
#define POSITION_MAX INT64_MAX

static err read_when(const ops_request *r, store_append_if *ret) {
    store_append_if w = {0};
    TRY(blob_number_read(r, "x-ms-blob-condition-appendpos", POSITION_MAX, &w.has_position,
                         &w.position));
    TRY(blob_number_read(r, "x-ms-blob-condition-maxsize", POSITION_MAX, &w.has_length_max,
                         &w.length_max));
    *ret = w;
    return OK;
}

static err empty_block(void) {
    return err_fail(ERR_INVALID_HEADER_VALUE, "Content-Length is 0; a block has at least one byte");
}

err blob_append_create(ops_request *r, ops_response *w) {
    blob_put_asks a;
    store_blob b;
    TRY(blob_asks_empty_kind(r, "AppendBlob", &a));
    const store_container *k CLEANUP(blob_container_unref) = NULL;
    TRY(blob_container(r, &k));
    TRY(blob_overwrite_error(
        store_append_create(r->server->store, ops_call(r), k, r->blob, &a.put, &b), a.forced));
    w->status = 201;
    blob_set_state(r, w, b.etag, b.modified_us);
    blob_set_encrypted(r, w, b.scope);
    return OK;
}

static void answer(ops_request *r, ops_response *w, const store_appended *b, const blob_sums *said,
                   uint64_t crc, slice scope) {
    w->status = 201;
    blob_set_state(r, w, b->etag, b->modified_us);
    if (said->has_md5)
        blob_set_md5(r, w, "Content-MD5", said->md5);
    else
        blob_set_crc64(r, w, crc);
    ops_set_u64(r, w, "x-ms-blob-append-offset", b->offset);
    ops_set_u64(r, w, "x-ms-blob-committed-block-count", b->block_count);
    blob_set_encrypted(r, w, scope);
}

static uint64_t block_max(const ops_request *r) {
    return slice_cmp(r->version, LARGE_SINCE) >= 0 ? STORE_APPEND_BLOCK_LEN_MAX : SMALL_BLOCK;
}

err blob_append_block(ops_request *r, ops_response *w) {
    blob_sums said;
    store_conditions cond;
    store_append_if when;
    store_appended b;
    store *s = r->server->store;
    TRY(blob_enter(r));
    TRY(ops_conditions(r, &cond));
    TRY(read_when(r, &when));
    TRY(blob_sums_read(r, &said));
    if (r->content_length == 0) return empty_block();
    const store_container *k CLEANUP(blob_container_unref) = NULL;
    store_upload *u CLEANUP(blob_upload_free) = NULL;
    TRY(blob_container(r, &k));
    TRY(blob_upload_new(r, k, r->content_length, block_max(r), said.has_md5 ? STORE_UPLOAD_MD5 : 0,
                        &u));
    TRY(blob_upload_body(r, u, &said));
    if (store_upload_len(u) == 0) return empty_block();
    uint64_t crc = store_upload_crc64(u);
    slice scope = arena_dup(r->arena, store_upload_scope(u));
    TRY(store_append_block(s, ops_call(r), k, r->blob, u, &cond, &when, &b));
    u = NULL; /* the store's now */
    answer(r, w, &b, &said, crc, scope);
    return OK;
}

err blob_append_block_from_url(ops_request *r, ops_response *w) {
    blob_source_asks a;
    store_conditions cond;
    store_append_if when;
    store_appended b;
    TRY(blob_enter(r));
    TRY(ops_conditions(r, &cond));
    TRY(read_when(r, &when));
    TRY(blob_source_asks_read(r, &a));
    a.length_max = block_max(r);
    const store_container *k CLEANUP(blob_container_unref) = NULL;
    store_upload *u CLEANUP(blob_upload_free) = NULL;
    TRY(blob_container(r, &k));
    TRY(blob_source_bring(r, k, &a, &u));
    uint64_t crc = store_upload_crc64(u);
    slice scope = arena_dup(r->arena, store_upload_scope(u));
    TRY(store_append_block(r->server->store, ops_call(r), k, r->blob, u, &cond, &when, &b));
    u = NULL; /* the store's now */
    answer(r, w, &b, &a.said, crc, scope);
    return OK;
}

/* Takes appendpos as Append Block does; maxsize says nothing of a blob that does not grow. */
err blob_append_seal(ops_request *r, ops_response *w) {
    store_conditions cond;
    store_append_if when;
    store_blob b;
    TRY(blob_enter(r));
    TRY(ops_conditions(r, &cond));
    TRY(read_when(r, &when));
    const store_container *k CLEANUP(blob_container_unref) = NULL;
    TRY(blob_container(r, &k));
    TRY(store_append_seal(r->server->store, ops_call(r), k, r->blob, &cond, &when, &b));
    w->status = 200;
    blob_set_state(r, w, b.etag, b.modified_us);
    ops_set(w, "x-ms-blob-sealed", S("true"));
    return OK;
}
