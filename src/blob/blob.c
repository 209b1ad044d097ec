/* Blobs: Get Blob, Get Blob Properties, Set Blob Properties, metadata. */
#include "blob/internal.h"

/* ---- what an answer says of a blob --------------------------------------------------------------- */

static void set_or(ops_response *w, const char *name, slice override, slice own) {
    slice v = override.len > 0 ? override : own;
    if (v.len > 0) ops_set(w, name, v);
}

/* The signer of a service SAS may say what the reader is told ("Create a service SAS": rscc …). */
static void set_http(ops_request *r, ops_response *w, const store_http *h) {
    const auth_caller *c = &r->caller;
    slice type = h->content_type.len > 0 ? h->content_type : S("application/octet-stream");
    set_or(w, "Content-Type", c->content_type, type);
    set_or(w, "Content-Encoding", c->content_encoding, h->content_encoding);
    set_or(w, "Content-Language", c->content_language, h->content_language);
    set_or(w, "Cache-Control", c->cache_control, h->cache_control);
    set_or(w, "Content-Disposition", c->content_disposition, h->content_disposition);
}

static void set_blob(ops_request *r, ops_response *w, const store_blob *b) {
    blob_set_state(r, w, b->etag, b->modified_us);
    set_http(r, w, &b->http);
    ops_set(w, "Accept-Ranges", S("bytes"));
    ops_set(w, "x-ms-blob-type", blob_type_name(b->type));
    if (b->type == STORE_APPEND_BLOB) {
        ops_set_u64(r, w, "x-ms-blob-committed-block-count", b->block_count);
        ops_set(w, "x-ms-blob-sealed", b->sealed ? S("true") : S("false"));
    }
    if (b->type == STORE_PAGE_BLOB) ops_set_u64(r, w, "x-ms-blob-sequence-number", b->sequence);
    ops_set_time(r, w, "x-ms-creation-time", b->created_us);
    if (b->current) blob_set_lease(w, &b->lease); /* snapshots and versions have none */
    blob_set_version(r, w, b);
    if (b->current && b->version) ops_set(w, "x-ms-is-current-version", S("true"));
    ops_set(w, "x-ms-server-encrypted", S("true"));
    blob_copy_set(r, w, &b->copy);
    blob_set_key_sha256(r, w, b->key_sha256);
    blob_set_scope(r, w, b->scope);
    if (b->tag_count > 0) ops_set_u64(r, w, "x-ms-tag-count", b->tag_count);
    blob_set_immutability(r, w, b);
    if (b->accessed_us > 0) ops_set_time(r, w, "x-ms-last-access-time", b->accessed_us);
    if (b->expires_us > 0) ops_set_time(r, w, "x-ms-expiry-time", b->expires_us);
    blob_metadata_set(r, w, b->metadata, b->metadata_count);
}

/* Tiers are of block blobs ("Set Blob Tier"). */
static void set_tier(ops_request *r, ops_response *w, const store_blob *b) {
    if (b->type != STORE_BLOCK_BLOB) return;
    ops_set(w, "x-ms-access-tier", blob_tier_name(b->tier));
    if (b->rehydrate_to) {
        ops_set(w, "x-ms-archive-status", blob_archive_status(b->rehydrate_to));
        ops_set(w, "x-ms-rehydrate-priority", b->rehydrate_high ? S("High") : S("Standard"));
    }
    if (b->tier == STORE_TIER_INFERRED) {
        ops_set(w, "x-ms-access-tier-inferred", S("true"));
    } else if (b->tier_changed_us != STORE_TIME_NONE) {
        ops_set_time(r, w, "x-ms-access-tier-change-time", b->tier_changed_us);
    }
}

/* ---- Get Blob ------------------------------------------------------------------------------------ */

typedef struct get_asks {
    store_pick pick;
    store_conditions cond;
    blob_range range;
    bool md5, crc64; /* of the range */
} get_asks;

static err read_asks(const ops_request *r, get_asks *ret) {
    get_asks a = {0};
    TRY(blob_pick_read(r, &a.pick));
    TRY(ops_conditions(r, &a.cond));
    TRY(blob_range_read(r, &a.range));
    TRY(blob_flag_read(r, "x-ms-range-get-content-md5", &a.md5));
    TRY(blob_flag_read(r, "x-ms-range-get-content-crc64", &a.crc64));
    const char *name = a.md5 ? "x-ms-range-get-content-md5" : "x-ms-range-get-content-crc64";
    ENSURE(!(a.md5 && a.crc64), ERR_INVALID_HEADER_VALUE,
           "x-ms-range-get-content-md5 and x-ms-range-get-content-crc64 cannot be sent together");
    ENSURE(!(a.md5 || a.crc64) || a.range.asked, ERR_INVALID_HEADER_VALUE,
           "%s needs a range: send x-ms-range as well", name);
    *ret = a;
    return OK;
}

/* A part of an open blob, as the answer's source. */
typedef struct part {
    store_reader *reader;
    uint64_t first, count;
} part;

static void free_reader(void *ctx) {
    store_reader_free(ctx);
}

static void free_part(void *ctx) {
    part *p = ctx;
    store_reader_free(p->reader); /* p itself is of the request's arena */
}

static err read_part(void *ctx, uint64_t offset, uint8_t *out, size_t cap, bool nowait,
                     size_t *ret_n) {
    part *p = ctx;
    if (offset >= p->count) {
        *ret_n = 0;
        return OK;
    }
    uint64_t left = p->count - offset;
    return store_reader_read(p->reader, p->first + offset, out, left < cap ? (size_t)left : cap,
                             nowait, ret_n);
}

/* Hands the reader over to the answer. */
static err send_part(ops_request *r, ops_response *w, store_reader *reader, uint64_t first,
                     uint64_t count) {
    slice content, parts[STORE_PARTS_MAX];
    size_t n;
    w->length = count;
    if (store_reader_inline(reader, &content)) {
        ops_body(w, slice_take(slice_skip(content, (size_t)first), (size_t)count));
        w->source_ctx = reader;
        w->source_free = free_reader;
        return OK;
    }
    TRY(store_reader_opened(reader, first, count, r->nowait, parts, &n));
    if (n > 0) {
        slice *kept = arena_alloc(r->arena, n * sizeof *kept);
        memcpy(kept, parts, n * sizeof *kept);
        w->kind = OPS_BODY_PARTS;
        w->parts = kept;
        w->part_count = n;
        w->source_ctx = reader;
        w->source_free = free_reader;
        return OK;
    }
    part *p = arena_alloc(r->arena, sizeof *p);
    *p = (part){reader, first, count};
    w->kind = OPS_BODY_SOURCE;
    w->source_read = read_part;
    w->source_ctx = p;
    w->source_free = free_part;
    return OK;
}

static err read_whole(store_reader *reader, uint64_t first, uint8_t *to, size_t count) {
    for (size_t at = 0, n; at < count; at += n) {
        TRY(store_reader_read(reader, first + at, to + at, count - at, false, &n));
        ENSURE(n > 0, ERR_CORRUPT, "the content ends before its length");
    }
    return OK;
}

static void free_memory(void *ctx) {
    free(ctx);
}

/* The range is read before its checksum can stand in a header, so it is kept and sent from memory.
 */
static err send_summed(ops_request *r, ops_response *w, const get_asks *a, store_reader *reader,
                       uint64_t first, uint64_t count) {
    ENSURE(count <= BLOB_RANGE_CHECKSUM_MAX, ERR_OUT_OF_RANGE_INPUT,
           "checksums of a range are computed for up to 4 MiB, this range has %llu bytes",
           (unsigned long long)count);
    if (r->nowait) return ERR_WOULD_BLOCK;
    uint8_t *p = malloc((size_t)count);
    MUST(p != NULL);
    err e = read_whole(reader, first, p, (size_t)count);
    if (e != OK) {
        free(p);
        return e;
    }
    slice content = slice_of(p, (size_t)count);
    uint8_t md5[16];
    if (a->md5) {
        crypto_md5(content, md5);
        blob_set_md5(r, w, "Content-MD5", md5);
    } else {
        blob_set_crc64(r, w, crc64(0, content));
    }
    ops_body(w, content);
    w->source_ctx = p;
    w->source_free = free_memory;
    store_reader_free(reader);
    return OK;
}

/* 416 says how long the blob is (RFC 9110 15.5.17): SDKs read it to find out. */
static err out_of_range(ops_request *r, ops_response *w, uint64_t length) {
    slice detail = arena_dup(r->arena, slice_str(err_detail()));
    blob_fail(r, w, ERR_INVALID_RANGE, arena_cstr(r->arena, detail));
    w->error = ERR_INVALID_RANGE;
    w->detail = detail;
    buf b;
    buf_init_fixed(&b, arena_alloc(r->arena, 32), 32);
    buf_put(&b, S("bytes */"));
    buf_u64(&b, length);
    ops_set(w, "Content-Range", buf_slice(&b));
    return OK;
}

err blob_not_modified(ops_request *r, ops_response *w, const store_blob *b) {
    blob_fail(r, w, ERR_NOT_MODIFIED, "");
    w->error = ERR_NOT_MODIFIED;
    blob_set_state(r, w, b->etag, b->modified_us);
    return OK;
}

/* On OK the reader belongs to the answer. */
static err answer_get(ops_request *r, ops_response *w, const get_asks *a, const store_blob *b,
                      store_reader *reader, uint64_t first, uint64_t count) {
    bool ranged = a->range.asked;
    w->status = ranged ? 206 : 200;
    set_blob(r, w, b);
    if (ranged) ops_set(w, "Content-Range", blob_content_range(r->arena, first, count, b->length));
    if (b->http.has_md5)
        blob_set_md5(r, w, ranged ? "x-ms-blob-content-md5" : "Content-MD5", b->http.md5);
    if (a->md5 || a->crc64) return send_summed(r, w, a, reader, first, count);
    return send_part(r, w, reader, first, count);
}

/* A page blob may be written to between its opening and the reading of its map. */
#define OPEN_TRIES 16

err blob_get(ops_request *r, ops_response *w) {
    get_asks a;
    store_blob b;
    store_reader *reader;
    TRY(blob_enter(r));
    TRY(read_asks(r, &a));
    const store_container *k CLEANUP(blob_container_unref) = NULL;
    TRY(blob_container(r, &k));
    uint64_t first = 0, count = 0;
    err e = ERR_CONFLICT;
    for (int try = 1; e == ERR_CONFLICT; try++) {
        e = store_blob_open(r->server->store, ops_call(r), k, r->blob, a.pick, &a.cond, &b,
                            &reader);
        if (e == ERR_NOT_MODIFIED) return blob_not_modified(r, w, &b);
        TRY(e);
        first = 0;
        count = b.length;
        if (a.range.asked && blob_range_apply(&a.range, b.length, &first, &count) != OK) {
            store_reader_free(reader);
            return out_of_range(r, w, b.length);
        }
        e = store_reader_prepare(reader, ops_call(r), first);
        if (e == OK) break;
        store_reader_free(reader);
        if (e != ERR_CONFLICT || try == OPEN_TRIES) return e;
    }
    e = answer_get(r, w, &a, &b, reader, first, count);
    if (e != OK) store_reader_free(reader);
    return e;
}

/* ---- properties ---------------------------------------------------------------------------------- */

static err find_blob(ops_request *r, store_blob *ret) {
    store_conditions cond;
    store_pick pick;
    TRY(blob_pick_read(r, &pick));
    TRY(ops_conditions(r, &cond));
    const store_container *k CLEANUP(blob_container_unref) = NULL;
    TRY(blob_container(r, &k));
    TRY(store_blob_get(r->server->store, ops_call(r), k, r->blob, pick, &cond, ret));
    return store_encryption_check(r->server->store, ops_call(r), k, ret);
}

err blob_get_properties(ops_request *r, ops_response *w) {
    store_blob b = {0};
    TRY(blob_enter(r));
    err e = find_blob(r, &b);
    if (e == ERR_NOT_MODIFIED) return blob_not_modified(r, w, &b);
    TRY(e);
    w->status = 200;
    set_blob(r, w, &b);
    if (b.http.has_md5) blob_set_md5(r, w, "Content-MD5", b.http.md5);
    set_tier(r, w, &b);
    w->length = b.length;
    return OK;
}

err blob_set_properties(ops_request *r, ops_response *w) {
    store_conditions cond;
    store_http http;
    store_blob b;
    TRY(blob_enter(r));
    TRY(ops_conditions(r, &cond));
    TRY(blob_http_read(r, false, &http));
    store_page_set set;
    bool asked;
    TRY(blob_page_set_read(r, &http, &set, &asked));
    const store_container *k CLEANUP(blob_container_unref) = NULL;
    TRY(blob_container(r, &k));
    store *s = r->server->store;
    if (asked) {
        TRY(store_page_set_properties(s, ops_call(r), k, r->blob, &cond, &set, &b));
        blob_page_set_answer(r, w, &b);
        return OK;
    }
    TRY(store_blob_set_http(s, ops_call(r), k, r->blob, &cond, &http, &b));
    if (b.type == STORE_PAGE_BLOB) {
        blob_page_set_answer(r, w, &b);
        return OK;
    }
    w->status = 200;
    blob_set_state(r, w, b.etag, b.modified_us);
    return OK;
}

err blob_get_metadata(ops_request *r, ops_response *w) {
    store_blob b = {0};
    TRY(blob_enter(r));
    err e = find_blob(r, &b);
    if (e == ERR_NOT_MODIFIED) return blob_not_modified(r, w, &b);
    TRY(e);
    w->status = 200;
    blob_set_state(r, w, b.etag, b.modified_us);
    blob_metadata_set(r, w, b.metadata, b.metadata_count);
    return OK;
}

err blob_set_metadata(ops_request *r, ops_response *w) {
    store_conditions cond;
    pair *metadata;
    size_t count;
    store_blob b;
    TRY(blob_enter(r));
    TRY(ops_conditions(r, &cond));
    TRY(blob_metadata_read(r, &metadata, &count));
    const store_container *k CLEANUP(blob_container_unref) = NULL;
    TRY(blob_container(r, &k));
    TRY(store_blob_set_metadata(r->server->store, ops_call(r), k, r->blob, &cond, metadata, count,
                                &b));
    w->status = 200;
    blob_set_state(r, w, b.etag, b.modified_us);
    blob_set_version(r, w, &b);
    blob_set_encrypted(r, w, b.scope);
    return OK;
}
