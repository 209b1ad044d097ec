/* Copies that are done when they are answered: Copy Blob From URL, Put Blob From URL, Put Block From
 * URL. The bytes are sealed anew under keys of their own; nothing is shared with the source. */
#include "blob/internal.h"

/* ---- properties and metadata of the new blob -------------------------------------------------------- */

static slice or_source(const ops_request *r, const char *header, slice given, slice source) {
    return ops_header(r, header).p != NULL ? given : source;
}

/* What the request does not say is taken from the source. */
static void merge_http(const ops_request *r, store_http *h, const store_http *source) {
    slice type = source->content_type.len > 0 ? source->content_type : h->content_type;
    h->content_type = or_source(r, "x-ms-blob-content-type", h->content_type, type);
    h->content_encoding =
        or_source(r, "x-ms-blob-content-encoding", h->content_encoding, source->content_encoding);
    h->content_language =
        or_source(r, "x-ms-blob-content-language", h->content_language, source->content_language);
    h->content_disposition = or_source(r, "x-ms-blob-content-disposition", h->content_disposition,
                                       source->content_disposition);
    h->cache_control =
        or_source(r, "x-ms-blob-cache-control", h->cache_control, source->cache_control);
}

/* Metadata of another server may be more than this one keeps. */
static err check_metadata(const store_put *p) {
    size_t bytes = 0;
    for (size_t i = 0; i < p->metadata_count; i++)
        bytes += p->metadata[i].name.len + p->metadata[i].value.len;
    ENSURE(bytes <= STORE_METADATA_MAX && p->metadata_count <= BLOB_METADATA_COUNT_MAX,
           ERR_METADATA_TOO_LARGE, "the copy source has more metadata than a blob may have");
    return OK;
}

err blob_copy_metadata(store_put *p, const blob_source *s) {
    if (p->metadata_count > 0) return OK;
    p->metadata = s->blob.metadata;
    p->metadata_count = s->blob.metadata_count;
    return check_metadata(p);
}

/* x-ms-copy-source-tag-option: COPY needs the permission to read the source's tags. */
err blob_copy_tags(const ops_request *r, store_put *p, const blob_source *s) {
    slice v = ops_header(r, "x-ms-copy-source-tag-option");
    bool copies = slice_eq_nocase(v, S("COPY"));
    ENSURE(v.p == NULL || copies || slice_eq_nocase(v, S("REPLACE")), ERR_INVALID_HEADER_VALUE,
           "x-ms-copy-source-tag-option: '%.*s' is neither COPY nor REPLACE",
           SLICE_ARG(slice_take(v, 32)));
    if (!copies) return OK;
    ENSURE(ops_header(r, "x-ms-tags").p == NULL, ERR_TAGS_WITH_COPY_OPTION,
           "x-ms-tags and x-ms-copy-source-tag-option: COPY cannot be sent together");
    ENSURE(s->here != NULL, ERR_NOT_IMPLEMENTED,
           "x-ms-copy-source-tag-option: COPY is not supported yet for a source on another server");
    ENSURE(ops_may_tag(s->here), ERR_COPY_SOURCE_FORBIDDEN,
           "x-ms-copy-source-tag-option: COPY needs the permission to read the source's tags (t)");
    p->tags = s->blob.tags;
    p->tag_count = s->blob.tag_count;
    return OK;
}

/* ---- Put Block From URL ----------------------------------------------------------------------------- */

err blob_put_block_from_url(ops_request *r, ops_response *w) {
    slice id;
    blob_source_asks a;
    store_conditions cond;
    store *s = r->server->store;
    TRY(blob_enter(r));
    TRY(blob_block_id_read(r, &id));
    TRY(ops_conditions(r, &cond));
    TRY(blob_source_asks_read(r, &a));
    a.length_max = STORE_BLOCK_LEN_MAX;
    const store_container *k CLEANUP(blob_container_unref) = NULL;
    store_upload *u CLEANUP(blob_upload_free) = NULL;
    TRY(blob_container(r, &k));
    TRY(blob_source_bring(r, k, &a, &u));
    uint64_t crc = store_upload_crc64(u);
    slice scope = arena_dup(r->arena, store_upload_scope(u));
    TRY(store_block_put(s, ops_call(r), k, r->blob, id, u, cond.lease_id));
    u = NULL; /* the store's now */
    w->status = 201;
    if (a.said.has_md5)
        blob_set_md5(r, w, "Content-MD5", a.said.md5);
    else
        blob_set_crc64(r, w, crc);
    blob_set_encrypted(r, w, scope);
    return OK;
}

/* ---- whole blobs ------------------------------------------------------------------------------------ */

/* What both have in common; a.length_max is set. */
typedef struct whole {
    blob_put_asks put;
    blob_source_asks asks;
    blob_source source;
    store_upload *upload;
    const store_container *container;
} whole;

static void whole_done(whole *h) {
    blob_source_done(&h->source);
    store_upload_free(h->upload);
    if (h->container != NULL) store_container_unref(h->container);
}

static err read_whole(ops_request *r, whole *h, uint64_t length_max) {
    TRY(blob_enter(r));
    TRY(blob_put_asks_read(r, false, &h->put));
    TRY(blob_source_asks_read(r, &h->asks));
    ENSURE(!h->asks.range.asked, ERR_INVALID_HEADER_VALUE,
           "x-ms-source-range is of Put Block From URL; a blob is copied whole");
    h->put.put.cond = &h->put.cond;
    h->asks.length_max = length_max;
    TRY(blob_container(r, &h->container));
    TRY(blob_source_open(r, &h->asks, &h->source));
    return blob_copy_tags(r, &h->put.put, &h->source);
}

static err fill(ops_request *r, whole *h, store_blob *ret) {
    store *s = r->server->store;
    TRY(blob_upload_new(r, h->container, h->source.count, h->asks.length_max, STORE_UPLOAD_MD5,
                        &h->upload));
    TRY(blob_source_upload(&h->source, h->upload, &h->asks.said));
    store_http *http = &h->put.put.http;
    if (!http->has_md5) store_upload_md5(h->upload, http->md5);
    http->has_md5 = true;
    err e = store_blob_put(s, ops_call(r), h->container, r->blob, h->upload, &h->put.put, ret);
    if (e == OK) h->upload = NULL;
    return blob_overwrite_error(e, h->put.forced);
}

static err read_type(const ops_request *r) {
    slice v = ops_header(r, "x-ms-blob-type");
    ENSURE(slice_eq(v, S("BlockBlob")), ERR_INVALID_HEADER_VALUE,
           "x-ms-blob-type: '%.*s': Put Blob From URL makes block blobs; send BlockBlob",
           SLICE_ARG(slice_take(v, 32)));
    return OK;
}

static err source_properties_read(const ops_request *r, bool *ret) {
    *ret = true;
    if (ops_header(r, "x-ms-copy-source-blob-properties").p == NULL) return OK;
    return blob_flag_read(r, "x-ms-copy-source-blob-properties", ret);
}

err blob_put_from_url(ops_request *r, ops_response *w) {
    whole h CLEANUP(whole_done) = {0};
    store_blob b;
    bool properties;
    TRY(read_type(r));
    TRY(source_properties_read(r, &properties));
    TRY(read_whole(r, &h, STORE_PUT_BLOB_LEN_MAX));
    if (properties) {
        merge_http(r, &h.put.put.http, &h.source.blob.http);
        TRY(blob_copy_metadata(&h.put.put, &h.source));
    }
    TRY(fill(r, &h, &b));
    w->status = 201;
    blob_set_state(r, w, b.etag, b.modified_us);
    blob_set_version(r, w, &b);
    blob_set_md5(r, w, "Content-MD5", b.http.md5);
    blob_set_crc64(r, w, b.crc64);
    blob_set_encrypted(r, w, b.scope);
    return OK;
}

/* Properties are the source's, whatever the request says; metadata as well, unless it brings its own. */
err blob_copy_from_url(ops_request *r, ops_response *w) {
    whole h CLEANUP(whole_done) = {0};
    store_blob b;
    store_copy copy = {.status = STORE_COPY_SUCCESS};
    TRY(read_whole(r, &h, BLOB_COPY_SYNC_MAX));
    ENSURE(h.source.blob.type == STORE_BLOCK_BLOB, ERR_INVALID_SOURCE_BLOB_TYPE,
           "Copy Blob From URL copies block blobs; send Copy Blob (without x-ms-requires-sync)");
    h.put.put.http = h.source.blob.http;
    TRY(blob_copy_metadata(&h.put.put, &h.source));
    blob_copy_begin(r, &h.asks, &h.source, &copy);
    copy.done = copy.total;
    copy.completed_us = clock_wall_us();
    h.put.put.copy = &copy;
    TRY(fill(r, &h, &b));
    w->status = 202;
    blob_set_state(r, w, b.etag, b.modified_us);
    blob_set_version(r, w, &b);
    ops_set(w, "x-ms-copy-id", copy.id);
    ops_set(w, "x-ms-copy-status", S("success"));
    if (h.asks.said.has_md5) blob_set_md5(r, w, "Content-MD5", h.asks.said.md5);
    blob_set_crc64(r, w, b.crc64);
    blob_set_scope(r, w, b.scope);
    return OK;
}
