/* Private to blob/: what its files share. */
#pragma once

#include "base/base.h"
#include "blob/blob.h"
#include "fetch/fetch.h"

/* A value of x-ms-blob-content-… or of the standard header it stands for. */
#define BLOB_HEADER_VALUE_MAX 4096
/* So many pairs of metadata, with all other headers, still fit into an answer. */
#define BLOB_METADATA_COUNT_MAX (OPS_RESPONSE_HEADERS_MAX - 32)
/* A page of a listing ends before it is larger; no answer rendered in memory is larger than the
 * second. */
#define BLOB_PAGE_BYTES ((size_t)8 << 20)
#define BLOB_BODY_MAX   ((size_t)32 << 20)
/* Documents that come in: a list of 50,000 blocks with room for white space; all others. */
#define BLOB_BLOCK_LIST_MAX ((uint64_t)16 << 20)
#define BLOB_DOCUMENT_MAX   OPS_BODY_SMALL_MAX
/* "x-ms-range-get-content-md5": for ranges up to this ("Get Blob"). */
#define BLOB_RANGE_CHECKSUM_MAX ((uint64_t)4 << 20)

/* ---- address.c ----------------------------------------------------------------------------------- */
/* Fills account_name, secondary, path_style, container and blob of r. ERR_INVALID_URI. */
err blob_address(ops_request *r) CHECKED;
slice blob_lower(arena *a, slice s); /* ASCII letters in lower case, as hosts are compared */
/* Whether container and blob can be names. ERR_INVALID_URI, ERR_INVALID_RESOURCE_NAME,
 * ERR_OUT_OF_RANGE_INPUT. */
err blob_names_check(const ops_request *r) CHECKED;
/* "http://host/account/" or "http://account.suffix/": the ServiceEndpoint of listings. */
slice blob_endpoint(const ops_request *r);

/* ---- range.c ------------------------------------------------------------------------------------- */
typedef struct blob_range {
    bool asked;           /* there is one */
    bool suffix;          /* the last `first` bytes; only of Range */
    uint64_t first, last; /* last UINT64_MAX: to the end */
} blob_range;
/* x-ms-range wins; what is no single byte range is ignored in Range (RFC 9110 14.2) and refused in
 * x-ms-range. ERR_INVALID_HEADER_VALUE. */
err blob_range_read(const ops_request *r, blob_range *ret) CHECKED;
err blob_range_parse(slice text, blob_range *ret) CHECKED;
/* What the range means for content of this length. ERR_INVALID_RANGE. */
err blob_range_apply(const blob_range *range, uint64_t length, uint64_t *ret_first,
                     uint64_t *ret_count) CHECKED;
/* "bytes 0-9/100" */
slice blob_content_range(arena *a, uint64_t first, uint64_t count, uint64_t length);

/* ---- headers.c ----------------------------------------------------------------------------------- */
/* x-ms-meta-…: names and values, in order, allocated in the request's arena.
 * ERR_EMPTY_METADATA_KEY, ERR_INVALID_METADATA, ERR_METADATA_TOO_LARGE. */
err blob_metadata_read(ops_request *r, pair **ret, size_t *ret_count) CHECKED;
void blob_metadata_set(ops_request *r, ops_response *w, const pair *metadata, size_t count);
/* x-ms-blob-content-…; with `standard`, what is missing is taken from Content-… (Put Blob).
 * ERR_INVALID_HEADER_VALUE, ERR_INVALID_MD5. */
err blob_http_read(ops_request *r, bool standard, store_http *ret) CHECKED;
/* What the sender says the body's checksums are. */
typedef struct blob_sums {
    bool has_md5, has_crc64;
    uint8_t md5[16];
    uint64_t crc64;
} blob_sums;
/* ERR_INVALID_MD5, ERR_INVALID_HEADER_VALUE, ERR_BOTH_CRC64_AND_MD5. */
err blob_sums_read(ops_request *r, blob_sums *ret) CHECKED;
/* md5 may be NULL when no MD5 was announced. ERR_MD5_MISMATCH, ERR_CRC64_MISMATCH. */
err blob_sums_check(const blob_sums *said, const uint8_t *md5, uint64_t crc) CHECKED;
/* Gathers an XML body of at most max bytes and checks the checksums that came with it. */
err blob_body_read(ops_request *r, size_t max, slice *ret) CHECKED;
/* A header that holds a checksum. ERR_INVALID_MD5, ERR_INVALID_HEADER_VALUE. */
err blob_md5_read(ops_request *r, const char *name, bool *ret_has, uint8_t ret[16]) CHECKED;
err blob_crc64_read(ops_request *r, const char *name, bool *ret_has, uint64_t *ret) CHECKED;
void blob_set_md5(ops_request *r, ops_response *w, const char *name, const uint8_t md5[16]);
void blob_set_crc64(ops_request *r, ops_response *w, uint64_t crc);
/* "true" or "false" in any case; false when absent. ERR_INVALID_HEADER_VALUE. */
err blob_flag_read(const ops_request *r, const char *name, bool *ret) CHECKED;
/* A number up to max; absent: ret_has false. ERR_INVALID_HEADER_VALUE. */
err blob_number_read(const ops_request *r, const char *name, uint64_t max, bool *ret_has,
                     uint64_t *ret) CHECKED;
/* tier.c: x-ms-expiry-option and x-ms-expiry-time. ERR_MISSING_REQUIRED_HEADER,
 * ERR_INVALID_HEADER_VALUE. */
err blob_expiry_read(const ops_request *r, store_expiry *ret) CHECKED;
/* tier.c: x-ms-rehydrate-priority. ERR_INVALID_HEADER_VALUE. */
err blob_rehydrate_priority_read(const ops_request *r, bool *ret_high) CHECKED;
/* x-ms-access-tier; STORE_TIER_INFERRED when absent. ERR_INVALID_HEADER_VALUE,
 * ERR_INVALID_BLOB_TIER. */
err blob_tier_read(const ops_request *r, store_tier *ret) CHECKED;
slice blob_tier_name(store_tier t);
slice blob_archive_status(store_tier to); /* "rehydrate-pending-to-hot" */
/* The answer to ERR_NOT_MODIFIED: a 304 tells which state the caller has (RFC 9110 15.4.5). */
err blob_not_modified(ops_request *r, ops_response *w, const store_blob *b) CHECKED;
/* x-ms-lease-status, -state and -duration. */
void blob_set_lease(ops_response *w, const store_lease *l);
slice blob_lease_name(store_lease_state state);
slice blob_type_name(store_blob_type t);
/* ETag and Last-Modified. */
void blob_set_state(ops_request *r, ops_response *w, uint64_t etag, int64_t modified_us);
/* The conditions of an operation that replaces content. ret_forced: the caller may only create, so
 * If-None-Match: * was added; blob_overwrite_error then names what the store refused. */
err blob_write_conditions(const ops_request *r, store_conditions *ret, bool *ret_forced) CHECKED;
err blob_overwrite_error(err e, bool forced) CHECKED;
/* ---- moment.c: which state of a blob ---------------------------------------------------------------- */
/* snapshot= or versionid=; STORE_CURRENT when neither is there. ERR_INVALID_QUERY_PARAMETER_VALUE,
 * ERR_MUTUALLY_EXCLUSIVE_QUERY_PARAMETERS. */
err blob_pick_read(const ops_request *r, store_pick *ret) CHECKED;
/* "2026-11-23T20:40:24.1234567Z" */
slice blob_moment(arena *a, uint64_t tick);
/* x-ms-version-id, if it is a version. */
void blob_set_version(ops_request *r, ops_response *w, const store_blob *b);

/* What every handler asks first: are the names and `timeout` well formed, and is nothing asked for
 * that this server does not do yet (ERR_NOT_IMPLEMENTED). ERR_INVALID_QUERY_PARAMETER_VALUE;
 * ERR_INVALID_OPERATION for a snapshot or version where only the blob itself can be meant. */
err blob_enter(ops_request *r) CHECKED;
/* The container that r addresses; unref it. ERR_CONTAINER_NOT_FOUND. */
err blob_container(const ops_request *r, const store_container **ret) CHECKED;
static inline void blob_container_unref(const store_container **k) {
    store_container_unref(*k);
}

/* ---- customer.c ---------------------------------------------------------------------------------- */
/* Reads the customer's key that the request brings, if any, into r->customer.
 * ERR_UNSUPPORTED_HEADER, ERR_MISSING_REQUIRED_HEADER, ERR_INVALID_HEADER_VALUE. */
err blob_customer_read(ops_request *r) CHECKED;
/* Of an answer to a write: x-ms-request-server-encrypted, and under which key or scope. */
void blob_set_encrypted(ops_request *r, ops_response *w, slice scope);
/* x-ms-encryption-key-sha256, unless it is empty. */
void blob_set_key_sha256(ops_request *r, ops_response *w, slice key_sha256);
/* An upload into the container, under the customer's key that the request brings or the encryption scope
 * that it goes under. The errors of store_upload_under. */
err blob_upload_new(ops_request *r, const store_container *k, uint64_t len, uint64_t len_max,
                    unsigned flags, store_upload **ret) CHECKED;

/* ---- scope.c ------------------------------------------------------------------------------------- */
/* Reads the encryption scope that the request or its token names, if any, into r->scope; after the customer's
 * key. ERR_UNSUPPORTED_HEADER, ERR_INVALID_HEADER_VALUE. */
err blob_scope_read(ops_request *r) CHECKED;
/* What Create Container asks for. ERR_MISSING_REQUIRED_HEADER, ERR_INVALID_HEADER_VALUE,
 * ERR_FORBIDDEN_BY_ENCRYPTION_POLICY. */
err blob_default_scope_read(const ops_request *r, store_default_scope *ret) CHECKED;
slice blob_default_scope_name(const store_container *k); /* as clients see it */
/* x-ms-encryption-scope, unless it is empty. */
void blob_set_scope(ops_request *r, ops_response *w, slice scope);

/* ---- xml_in.c ------------------------------------------------------------------------------------ */
#define XML_DEPTH_MAX 8
#define XML_TEXT_MAX  ((size_t)16 << 10) /* bytes of text in one element */
#define XML_TOKEN_MAX ((size_t)64 << 10) /* bytes of one tag, comment or run of text */

/* Called for each element; names without namespace prefix; depth 1 is the root. text: of an element
 * without children, white space around it removed. Slices live during the call. */
typedef struct xml_visitor {
    err (*open)(void *ctx, unsigned depth, slice name);
    err (*close)(void *ctx, unsigned depth, slice name, slice text);
    bool verbatim; /* white space around text is kept */
} xml_visitor;
typedef struct xml_reader xml_reader;
xml_reader *xml_reader_new(const xml_visitor *v, void *ctx);
xml_reader *xml_reader_free(xml_reader *x);
/* A piece of the document. The visitor's error, or ERR_INVALID_XML_DOCUMENT. */
err xml_reader_feed(xml_reader *x, slice data) CHECKED;
/* The document's end. */
err xml_reader_end(xml_reader *x) CHECKED;
/* A whole document at once. */
err xml_read(slice document, const xml_visitor *v, void *ctx) CHECKED;
err xml_unsupported(slice name) CHECKED;                 /* ERR_UNSUPPORTED_XML_NODE */
err xml_bool(slice name, slice text, bool *ret) CHECKED; /* ERR_INVALID_XML_NODE_VALUE */
err xml_u64(slice name, slice text, uint64_t max, uint64_t *ret) CHECKED;

/* ---- xml_out.c ----------------------------------------------------------------------------------- */
#define XML_HEAD S("<?xml version=\"1.0\" encoding=\"utf-8\"?>")
/* <name>text</name>, escaped; <name /> when empty. */
void xml_element(buf *b, const char *name, slice text);
void xml_element_bool(buf *b, const char *name, bool v);
void xml_element_u64(buf *b, const char *name, uint64_t v);
/* An element whose text may hold what XML cannot: then percent-encoded with Encoded="true". */
void xml_element_encoded(buf *b, const char *name, slice text);
/* <Metadata><a>1</a></Metadata> */
void xml_metadata(buf *b, const pair *metadata, size_t count);
void xml_http_date(buf *b, const char *name, int64_t us);
/* Makes a malloc'd buffer the answer's body, and frees it with the answer. ERR_TOO_LARGE when it
 * had passed its maximum; the buffer is gone then too. */
err xml_answer(ops_response *w, buf *b) CHECKED;
err blob_answer(ops_response *w, buf *b, slice content_type) CHECKED; /* of another type than XML */

/* ---- batch_in.c ---------------------------------------------------------------------------------- */
#define BLOB_BATCH_MAX         256 /* "Blob Batch": requests, and bytes of the body */
#define BLOB_BATCH_BODY_MAX    ((uint64_t)4 << 20)
#define BLOB_BATCH_HEADERS_MAX 64 /* of one request */
#define BLOB_BATCH_ID_MAX      256

typedef struct blob_batch_part {
    unsigned number;
    slice content_id; /* p NULL: none */
    slice method, target;
    pair headers[BLOB_BATCH_HEADERS_MAX];
    size_t header_count;
} blob_batch_part;
typedef struct blob_batch_reader {
    slice boundary, rest;
    unsigned count;
    bool closed;
} blob_batch_reader;
/* The boundary that a batch's Content-Type names. ERR_INVALID_HEADER_VALUE. */
err blob_batch_boundary(slice content_type, slice *ret) CHECKED;
/* ERR_INVALID_INPUT. */
err blob_batch_begin(blob_batch_reader *b, slice boundary, slice body) CHECKED;
/* The next request, or ret_more false. ERR_INVALID_INPUT, ERR_EXCEEDS_MAX_BATCH_REQUEST_COUNT. */
err blob_batch_next(blob_batch_reader *b, blob_batch_part *ret, bool *ret_more) CHECKED;

/* ---- source.c ------------------------------------------------------------------------------------ */
#define BLOB_SOURCE_URL_MAX 8192
#define BLOB_COPY_SYNC_MAX  ((uint64_t)256 << 20) /* "Copy Blob From URL" */

typedef struct blob_source_asks { /* x-ms-copy-source and all x-ms-source-… */
    slice url, authorization;
    store_conditions cond; /* of the source */
    blob_sums said;        /* x-ms-source-content-md5, -crc64: of what is copied */
    blob_range range;      /* x-ms-source-range */
    uint64_t length_max;   /* the caller's limit */
    bool archived;         /* it may be archived, when it is of the caller's account */
} blob_source_asks;
typedef struct blob_source {
    store_blob blob; /* what the source says of itself; its bytes are the arena's */
    slice etag;
    uint64_t length;       /* of the whole blob */
    uint64_t first, count; /* what is copied of it */
    uint64_t at;           /* so much of that has been read */
    ops_request *here;     /* on this server: the request that it became */
    store_pick pick;       /* which state of it */
    const store_container *container;
    store_reader *reader;
    fetch_stream *stream; /* elsewhere */
} blob_source;
/* ERR_MISSING_REQUIRED_HEADER, ERR_INVALID_HEADER_VALUE, ERR_INVALID_MD5, ERR_INVALID_INPUT. */
err blob_source_asks_read(ops_request *r, blob_source_asks *ret) CHECKED;
/* Finds, authorizes and opens the source. ERR_COPY_SOURCE_…, ERR_SOURCE_CONDITION_NOT_MET,
 * ERR_INVALID_RANGE, ERR_REQUEST_BODY_TOO_LARGE. */
err blob_source_open(ops_request *r, const blob_source_asks *a, blob_source *ret) CHECKED;
/* ret_n 0 at the end of what is copied. */
err blob_source_read(blob_source *s, uint8_t *out, size_t cap, size_t *ret_n) CHECKED;
/* Reads it all into the upload, finishes it, checks the sums. */
err blob_source_upload(blob_source *s, store_upload *u, const blob_sums *said) CHECKED;
/* Is this the answer that a pending copy goes on with? */
err blob_source_answer_check(const fetch_answer *f, uint64_t offset, uint64_t count) CHECKED;
void blob_source_done(blob_source *s); /* for CLEANUP */
/* The whole of it: what a names, at most a->length_max bytes and at least one, in a finished upload under
 * the request's key. Also ERR_INVALID_INPUT, ERR_REQUEST_BODY_TOO_LARGE and those of checksums. */
err blob_source_bring(ops_request *r, const store_container *k, const blob_source_asks *a,
                      store_upload **ret) CHECKED;

/* ---- copy_state.c, copy_sync.c ------------------------------------------------------------------- */
/* A new copy's id, source and length. */
void blob_copy_begin(ops_request *r, const blob_source_asks *a, const blob_source *s,
                     store_copy *ret);
slice blob_copy_status_name(store_copy_status status);
void blob_copy_set(ops_request *r, ops_response *w, const store_copy *c); /* x-ms-copy-… */
void blob_copy_list(buf *b, const store_copy *c);                         /* <CopyId>… */
/* Metadata of the source, unless the request brought some. ERR_METADATA_TOO_LARGE. */
err blob_copy_metadata(store_put *p, const blob_source *s) CHECKED;
/* What x-ms-copy-source-tag-option asks for. ERR_INVALID_HEADER_VALUE, ERR_COPY_SOURCE_FORBIDDEN. */
err blob_copy_tags(const ops_request *r, store_put *p, const blob_source *s) CHECKED;

/* ---- cors.c -------------------------------------------------------------------------------------- */
err blob_preflight(ops_request *r, ops_response *w) CHECKED;
/* Adds the CORS headers of an actual request. */
void blob_cors_decorate(ops_request *r, ops_response *w);
/* Whether one of the comma-separated patterns (each may end in '*') matches, without case. */
bool blob_cors_header_matches(slice patterns, slice name);
bool blob_cors_origin_matches(slice patterns, slice origin);
/* A rule as Set Blob Service Properties demands it. ERR_INVALID_XML_NODE_VALUE,
 * ERR_MISSING_REQUIRED_XML_NODE. */
err blob_cors_rule_check(const store_cors_rule *rule) CHECKED;

/* ---- error.c ------------------------------------------------------------------------------------- */
void blob_fail(ops_request *r, ops_response *w, err e, const char *detail);
void blob_decorate(ops_request *r, ops_response *w);

/* ---- handlers ------------------------------------------------------------------------------------ */
err blob_batch(ops_request *r, ops_response *w) CHECKED;
err blob_list_containers(ops_request *r, ops_response *w) CHECKED;
err blob_get_service_properties(ops_request *r, ops_response *w) CHECKED;
err blob_set_service_properties(ops_request *r, ops_response *w) CHECKED;
err blob_get_stats(ops_request *r, ops_response *w) CHECKED;
err blob_get_account_info(ops_request *r, ops_response *w) CHECKED;
err blob_create_container(ops_request *r, ops_response *w) CHECKED;
err blob_get_container(ops_request *r, ops_response *w) CHECKED;
err blob_get_container_metadata(ops_request *r, ops_response *w) CHECKED;
err blob_set_container_metadata(ops_request *r, ops_response *w) CHECKED;
err blob_get_acl(ops_request *r, ops_response *w) CHECKED;
err blob_set_acl(ops_request *r, ops_response *w) CHECKED;
err blob_delete_container(ops_request *r, ops_response *w) CHECKED;
err blob_restore_container(ops_request *r, ops_response *w) CHECKED;
err blob_rename_container(ops_request *r, ops_response *w) CHECKED;
err blob_lease(ops_request *r, ops_response *w) CHECKED; /* of a blob, or of a container */
err blob_list_blobs(ops_request *r, ops_response *w) CHECKED;
err blob_get(ops_request *r, ops_response *w) CHECKED;
err blob_get_properties(ops_request *r, ops_response *w) CHECKED;
err blob_set_properties(ops_request *r, ops_response *w) CHECKED;
err blob_get_metadata(ops_request *r, ops_response *w) CHECKED;
err blob_set_metadata(ops_request *r, ops_response *w) CHECKED;
err blob_delete(ops_request *r, ops_response *w) CHECKED;
err blob_snapshot(ops_request *r, ops_response *w) CHECKED;
err blob_undelete(ops_request *r, ops_response *w) CHECKED;
err blob_set_tags(ops_request *r, ops_response *w) CHECKED;
err blob_get_tags(ops_request *r, ops_response *w) CHECKED;
err blob_find(ops_request *r, ops_response *w) CHECKED;
err blob_set_tier(ops_request *r, ops_response *w) CHECKED;
err blob_set_expiry(ops_request *r, ops_response *w) CHECKED;
err blob_set_immutability_policy(ops_request *r, ops_response *w) CHECKED;
err blob_delete_immutability_policy(ops_request *r, ops_response *w) CHECKED;
err blob_set_legal_hold(ops_request *r, ops_response *w) CHECKED;
err blob_put(ops_request *r, ops_response *w) CHECKED;
err blob_page_create(ops_request *r, ops_response *w) CHECKED; /* Put Blob of that type */
err blob_put_page(ops_request *r, ops_response *w) CHECKED;
err blob_put_page_from_url(ops_request *r, ops_response *w) CHECKED;
err blob_get_page_ranges(ops_request *r, ops_response *w) CHECKED;
err blob_append_create(ops_request *r, ops_response *w) CHECKED; /* Put Blob of that type */
err blob_append_block(ops_request *r, ops_response *w) CHECKED;
err blob_append_block_from_url(ops_request *r, ops_response *w) CHECKED;
err blob_append_seal(ops_request *r, ops_response *w) CHECKED;
err blob_put_block(ops_request *r, ops_response *w) CHECKED;
err blob_put_block_list(ops_request *r, ops_response *w) CHECKED;
err blob_get_block_list(ops_request *r, ops_response *w) CHECKED;
err blob_put_block_from_url(ops_request *r, ops_response *w) CHECKED;
err blob_put_from_url(ops_request *r, ops_response *w) CHECKED;
err blob_copy_from_url(ops_request *r, ops_response *w) CHECKED;
err blob_copy(ops_request *r, ops_response *w) CHECKED;
err blob_abort_copy(ops_request *r, ops_response *w) CHECKED;

/* list.c: what List Blobs writes for one entry; the speed of a listing is here. */
typedef struct blob_list_writer {
    buf *b;
    bool copy; /* asked for */
    bool metadata, tags, immutability, legal_hold;
    int64_t second[2]; /* the times that `time` holds, in seconds */
    uint8_t time[2][32];
} blob_list_writer;
void blob_list_writer_init(blob_list_writer *lw, buf *b, const store_blob_list *q);
void blob_list_entry(blob_list_writer *lw, const store_blob *blob);
void blob_list_prefix(blob_list_writer *lw, slice prefix);
/* list.c: LeaseStatus, LeaseState and LeaseDuration of an entry. */
void blob_list_lease(buf *b, const store_lease *l);
/* maxresults: 1…STORE_LIST_MAX, larger is taken as that; 0 when absent. */
err blob_maxresults(const ops_request *r, size_t *ret) CHECKED;
/* What Put Blob and Put Block List ask for in their headers. */
typedef struct blob_put_asks {
    store_put put; /* its conditions are `cond` below: not to be copied */
    store_conditions cond;
    blob_sums said;
    bool forced; /* If-None-Match: * is ours */
} blob_put_asks;
/* put.c. standard: as blob_http_read. The errors of all that it reads. */
err blob_put_asks_read(ops_request *r, bool standard, blob_put_asks *ret) CHECKED;
/* put.c: the same for a kind that is created empty. ERR_INVALID_HEADER_VALUE for a body,
 * ERR_ACCESS_TIER_NOT_SUPPORTED_FOR_BLOB_TYPE. */
err blob_asks_empty_kind(ops_request *r, const char *kind, blob_put_asks *ret) CHECKED;
/* page.c: x-ms-if-sequence-number-… ERR_INVALID_HEADER_VALUE. */
err blob_sequence_if_read(const ops_request *r, store_sequence_if *ret) CHECKED;
/* page.c: whole pages, from x-ms-range or Range. ERR_MISSING_REQUIRED_HEADER,
 * ERR_INVALID_HEADER_VALUE, ERR_INVALID_PAGE_RANGE. */
err blob_page_range_read(const ops_request *r, uint64_t *ret_offset, uint64_t *ret_length) CHECKED;
/* page.c: what Set Blob Properties asks of a page blob; ret_asked: anything. http: as read. */
err blob_page_set_read(ops_request *r, const store_http *http, store_page_set *ret,
                       bool *ret_asked) CHECKED;
void blob_page_set_answer(ops_request *r, ops_response *w, const store_blob *b);
/* put.c: reads the body into the upload, finishes it, checks the sums. */
err blob_upload_body(ops_request *r, store_upload *u, const blob_sums *said) CHECKED;
static inline void blob_upload_free(store_upload **u) {
    store_upload_free(*u);
}
/* immutable.c */
/* What a new blob is to have. ERR_INVALID_HEADER_VALUE, ERR_MISSING_REQUIRED_HEADER,
 * ERR_AUTHORIZATION_PERMISSION_MISMATCH. */
err blob_immutability_read(const ops_request *r, store_immutability *ret) CHECKED;
void blob_set_immutability(ops_request *r, ops_response *w, const store_blob *b);
slice blob_immutability_mode(store_immutable_mode m);
/* tags.c */
typedef struct blob_tags {
    arena *arena;
    pair tag[STORE_TAGS_MAX];
    size_t count;
    bool has_set, has_key, has_value;
} blob_tags;
extern const xml_visitor blob_tags_visitor; /* ctx: blob_tags */
/* x-ms-tags. The errors of store_tags_check, ERR_INVALID_HEADER_VALUE,
 * ERR_AUTHORIZATION_PERMISSION_MISMATCH when the caller may not tag. */
err blob_tags_read(ops_request *r, const pair **ret, size_t *ret_count) CHECKED;
/* The document of Set Blob Tags. The errors of store_tags_check and of XML. */
err blob_tags_parse(slice document, arena *a, blob_tags *ret) CHECKED;
void blob_tags_put(buf *b, const pair *tags, size_t count); /* <TagSet>…</TagSet> */
/* service.c */
err blob_service_parse(slice document, arena *a, store_service *merge_into) CHECKED;
void blob_service_render(buf *b, const store_service *v);
/* container.c */
err blob_acl_parse(slice document, arena *a, store_policy out[STORE_POLICIES_MAX],
                   size_t *ret_count) CHECKED;
/* block.c: the parameter blockid, decoded. */
err blob_block_id_read(ops_request *r, slice *ret) CHECKED;
/* block.c: the picks of a block list document, fed in pieces. */
typedef struct blob_picks {
    arena *arena;
    store_block_pick *pick;
    size_t count, room;
} blob_picks;
extern const xml_visitor blob_picks_visitor; /* ctx: blob_picks */
