/* Put Blob, and bodies on their way into the store. */
#include "blob/internal.h"

static err copy_body(ops_request *r, store_upload *u) {
    if (r->body.p != NULL) return store_upload_write(u, r->body);
    if (r->content_length == 0) return OK;
    for (slice piece;;) {
        TRY(r->body_take(r, &piece));
        if (piece.len == 0) return OK;
        TRY(store_upload_write(u, piece));
    }
}

err blob_upload_body(ops_request *r, store_upload *u, const blob_sums *said) {
    uint8_t md5[16];
    TRY(copy_body(r, u));
    TRY(store_upload_finish(u));
    if (said->has_md5) store_upload_md5(u, md5);
    return blob_sums_check(said, md5, store_upload_crc64(u));
}

static err read_type(const ops_request *r, store_blob_type *ret) {
    slice v = ops_header(r, "x-ms-blob-type");
    ENSURE(v.p != NULL, ERR_MISSING_REQUIRED_HEADER,
           "x-ms-blob-type is missing: send x-ms-blob-type: BlockBlob");
    for (int t = STORE_BLOCK_BLOB; t <= STORE_APPEND_BLOB; t++) {
        if (!slice_eq(v, blob_type_name((store_blob_type)t))) continue;
        *ret = (store_blob_type)t;
        return OK;
    }
    return err_fail(ERR_INVALID_HEADER_VALUE,
                    "x-ms-blob-type: '%.*s' is not BlockBlob, PageBlob or AppendBlob",
                    SLICE_ARG(slice_take(v, 32)));
}

err blob_put_asks_read(ops_request *r, bool standard, blob_put_asks *ret) {
    pair *metadata;
    *ret = (blob_put_asks){0};
    TRY(blob_write_conditions(r, &ret->cond, &ret->forced));
    TRY(blob_sums_read(r, &ret->said));
    TRY(blob_http_read(r, standard, &ret->put.http));
    TRY(blob_metadata_read(r, &metadata, &ret->put.metadata_count));
    TRY(blob_tags_read(r, &ret->put.tags, &ret->put.tag_count));
    TRY(blob_immutability_read(r, &ret->put.immutability));
    TRY(blob_tier_read(r, &ret->put.tier));
    if (ops_header(r, "x-ms-expiry-option").p || ops_header(r, "x-ms-expiry-time").p)
        TRY(blob_expiry_read(r, &ret->put.expiry));
    ret->put.metadata = metadata;
    ret->put.cond = &ret->cond;
    return OK;
}

err blob_asks_empty_kind(ops_request *r, const char *kind, blob_put_asks *ret) {
    TRY(blob_enter(r));
    TRY(blob_put_asks_read(r, true, ret));
    ENSURE(r->content_length == 0, ERR_INVALID_HEADER_VALUE,
           "Content-Length must be 0: x-ms-blob-type: %s creates an empty blob, its content comes "
           "afterwards",
           kind);
    ENSURE(ret->put.tier == STORE_TIER_INFERRED, ERR_ACCESS_TIER_NOT_SUPPORTED_FOR_BLOB_TYPE,
           "x-ms-access-tier is of block blobs");
    return OK;
}

/* The MD5 of the whole is checked, whichever header says it, and kept; x-ms-blob-content-md5 goes
 * before Content-MD5 ("Windows Azure Blob MD5 Overview"). */
static err read_asks(ops_request *r, blob_put_asks *a) {
    TRY(blob_put_asks_read(r, true, a));
    if (a->put.http.has_md5) {
        memcpy(a->said.md5, a->put.http.md5, 16);
        a->said.has_md5 = true;
    }
    return OK;
}

static void answer(ops_request *r, ops_response *w, const store_blob *b) {
    w->status = 201;
    blob_set_state(r, w, b->etag, b->modified_us);
    blob_set_md5(r, w, "Content-MD5", b->http.md5);
    blob_set_crc64(r, w, b->crc64);
    blob_set_version(r, w, b);
    blob_set_encrypted(r, w, b->scope);
}

err blob_put(ops_request *r, ops_response *w) {
    blob_put_asks a;
    store_blob b;
    store *s = r->server->store;
    if (r->nowait && !store_upload_in_memory(s, r->content_length)) return ERR_WOULD_BLOCK;
    store_blob_type type;
    TRY(read_type(r, &type));
    if (type == STORE_APPEND_BLOB) return blob_append_create(r, w);
    if (type == STORE_PAGE_BLOB) return blob_page_create(r, w);
    ENSURE(ops_header(r, "x-ms-blob-content-length").p == NULL, ERR_INVALID_HEADER_VALUE,
           "x-ms-blob-content-length is of page blobs");
    TRY(blob_enter(r));
    TRY(read_asks(r, &a));
    const store_container *k CLEANUP(blob_container_unref) = NULL;
    store_upload *u CLEANUP(blob_upload_free) = NULL;
    TRY(blob_container(r, &k));
    TRY(blob_upload_new(r, k, r->content_length, STORE_PUT_BLOB_LEN_MAX, STORE_UPLOAD_MD5, &u));
    TRY(blob_upload_body(r, u, &a.said));
    store_upload_md5(u, a.put.http.md5);
    a.put.http.has_md5 = true;
    TRY(blob_overwrite_error(store_blob_put(s, ops_call(r), k, r->blob, u, &a.put, &b), a.forced));
    u = NULL; /* the store's now */
    answer(r, w, &b);
    return OK;
}
