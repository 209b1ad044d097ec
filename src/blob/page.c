/* Page blobs: Put Blob with x-ms-blob-type: PageBlob, Put Page, Put Page From URL, and what Set Blob
 * Properties does to one. */
#include "blob/internal.h"

#define SEQUENCE_MAX INT64_MAX

static err read_length(const ops_request *r, bool *ret_has, uint64_t *ret) {
    const char *name = "x-ms-blob-content-length";
    TRY(blob_number_read(r, name, INT64_MAX, ret_has, ret));
    if (!*ret_has) return OK;
    ENSURE(*ret % STORE_PAGE_LEN == 0, ERR_INVALID_HEADER_VALUE,
           "%s: %llu is not a multiple of %d, the length of a page", name, (unsigned long long)*ret,
           STORE_PAGE_LEN);
    ENSURE(*ret <= STORE_PAGE_BLOB_LEN_MAX, ERR_INVALID_HEADER_VALUE,
           "%s: %llu is more than 8 TiB (%llu)", name, (unsigned long long)*ret,
           (unsigned long long)STORE_PAGE_BLOB_LEN_MAX);
    return OK;
}

static void answer(ops_request *r, ops_response *w, int status, const store_blob *b) {
    w->status = status;
    blob_set_state(r, w, b->etag, b->modified_us);
    ops_set_u64(r, w, "x-ms-blob-sequence-number", b->sequence);
}

err blob_page_create(ops_request *r, ops_response *w) {
    blob_put_asks a;
    store_blob b;
    bool has_length, has_sequence;
    uint64_t length = 0, sequence = 0;
    TRY(blob_asks_empty_kind(r, "PageBlob", &a));
    TRY(read_length(r, &has_length, &length));
    ENSURE(has_length, ERR_MISSING_REQUIRED_HEADER,
           "x-ms-blob-content-length is missing: the length of the page blob, a multiple of %d",
           STORE_PAGE_LEN);
    TRY(blob_number_read(r, "x-ms-blob-sequence-number", SEQUENCE_MAX, &has_sequence, &sequence));
    const store_container *k CLEANUP(blob_container_unref) = NULL;
    TRY(blob_container(r, &k));
    TRY(blob_overwrite_error(
        store_page_create(r->server->store, ops_call(r), k, r->blob, &a.put, length, sequence, &b),
        a.forced));
    w->status = 201;
    blob_set_state(r, w, b.etag, b.modified_us);
    blob_set_encrypted(r, w, b.scope);
    return OK;
}

/* ---- Put Page ------------------------------------------------------------------------------------ */

err blob_sequence_if_read(const ops_request *r, store_sequence_if *ret) {
    store_sequence_if w = {0};
    TRY(blob_number_read(r, "x-ms-if-sequence-number-le", SEQUENCE_MAX, &w.has_le, &w.le));
    TRY(blob_number_read(r, "x-ms-if-sequence-number-lt", SEQUENCE_MAX, &w.has_lt, &w.lt));
    TRY(blob_number_read(r, "x-ms-if-sequence-number-eq", SEQUENCE_MAX, &w.has_eq, &w.eq));
    *ret = w;
    return OK;
}

err blob_page_range_read(const ops_request *r, uint64_t *ret_offset, uint64_t *ret_length) {
    slice text = ops_header(r, "x-ms-range");
    if (text.p == NULL) text = ops_header(r, "Range");
    blob_range g;
    ENSURE(text.p != NULL, ERR_MISSING_REQUIRED_HEADER,
           "x-ms-range is missing: which pages, as in bytes=0-511");
    TRY(blob_range_parse(text, &g));
    ENSURE(!g.suffix && g.last != UINT64_MAX, ERR_INVALID_PAGE_RANGE,
           "x-ms-range: '%.*s' does not name the first and the last byte",
           SLICE_ARG(slice_take(text, 64)));
    ENSURE(g.first % STORE_PAGE_LEN == 0 && (g.last + 1) % STORE_PAGE_LEN == 0,
           ERR_INVALID_PAGE_RANGE,
           "x-ms-range: '%.*s' is not whole pages: the first byte is a multiple of %d, the last "
           "one less than such a multiple",
           SLICE_ARG(slice_take(text, 64)), STORE_PAGE_LEN);
    ENSURE(g.last < STORE_PAGE_BLOB_LEN_MAX, ERR_INVALID_PAGE_RANGE,
           "x-ms-range: '%.*s' ends behind 8 TiB, where every page blob ends",
           SLICE_ARG(slice_take(text, 64)));
    *ret_offset = g.first;
    *ret_length = g.last - g.first + 1;
    return OK;
}

typedef struct page_asks {
    store_conditions cond;
    store_sequence_if when;
    blob_sums said;
    bool clear;
    uint64_t offset, length;
} page_asks;

static err read_asks(ops_request *r, page_asks *ret) {
    page_asks a = {0};
    slice write = ops_header(r, "x-ms-page-write");
    a.clear = slice_eq_nocase(write, S("clear"));
    ENSURE(write.p != NULL, ERR_MISSING_REQUIRED_HEADER,
           "x-ms-page-write is missing: send update or clear");
    ENSURE(a.clear || slice_eq_nocase(write, S("update")), ERR_INVALID_HEADER_VALUE,
           "x-ms-page-write: '%.*s' is neither update nor clear", SLICE_ARG(slice_take(write, 32)));
    TRY(ops_conditions(r, &a.cond));
    TRY(blob_sequence_if_read(r, &a.when));
    TRY(blob_page_range_read(r, &a.offset, &a.length));
    TRY(blob_sums_read(r, &a.said));
    ENSURE(a.clear || a.length <= STORE_PAGE_WRITE_MAX, ERR_REQUEST_BODY_TOO_LARGE,
           "x-ms-range has %llu bytes; one Put Page writes at most 4 MiB",
           (unsigned long long)a.length);
    *ret = a;
    return OK;
}

static err check_body(const ops_request *r, const page_asks *a) {
    ENSURE(!a->clear || r->content_length == 0, ERR_INVALID_HEADER_VALUE,
           "Content-Length must be 0 to clear pages");
    ENSURE(a->clear || r->content_length == OPS_LEN_UNKNOWN || r->content_length == a->length,
           ERR_INVALID_PAGE_RANGE, "x-ms-range has %llu bytes, Content-Length says %llu",
           (unsigned long long)a->length, (unsigned long long)r->content_length);
    return OK;
}

/* Consumes the upload when it is written. */
static err write_pages(ops_request *r, ops_response *w, const store_container *k,
                       const page_asks *a, store_upload **u) {
    store_blob b;
    uint64_t crc = store_upload_crc64(*u);
    TRY(store_page_put(r->server->store, ops_call(r), k, r->blob, a->offset, *u, &a->cond, &a->when,
                       &b));
    *u = NULL;
    answer(r, w, 201, &b);
    if (a->said.has_md5)
        blob_set_md5(r, w, "Content-MD5", a->said.md5);
    else
        blob_set_crc64(r, w, crc);
    blob_set_encrypted(r, w, b.scope);
    return OK;
}

static err update(ops_request *r, ops_response *w, const store_container *k, const page_asks *a) {
    store_upload *u CLEANUP(blob_upload_free) = NULL;
    TRY(blob_upload_new(r, k, a->length, STORE_PAGE_WRITE_MAX,
                        a->said.has_md5 ? STORE_UPLOAD_MD5 : 0, &u));
    TRY(blob_upload_body(r, u, &a->said));
    return write_pages(r, w, k, a, &u);
}

err blob_put_page(ops_request *r, ops_response *w) {
    page_asks a;
    store_blob b;
    TRY(blob_enter(r));
    TRY(read_asks(r, &a));
    TRY(check_body(r, &a));
    const store_container *k CLEANUP(blob_container_unref) = NULL;
    TRY(blob_container(r, &k));
    if (!a.clear) return update(r, w, k, &a);
    TRY(store_page_clear(r->server->store, ops_call(r), k, r->blob, a.offset, a.length, &a.cond,
                         &a.when, &b));
    answer(r, w, 201, &b);
    return OK;
}

/* "x-ms-source-range … required": as many bytes as x-ms-range names. */
static err read_source(ops_request *r, const page_asks *to, blob_source_asks *ret) {
    TRY(blob_source_asks_read(r, ret));
    const blob_range *g = &ret->range;
    ENSURE(g->asked, ERR_MISSING_REQUIRED_HEADER,
           "x-ms-source-range is missing: which bytes of the source the pages are made of");
    ENSURE(g->last != UINT64_MAX && g->last - g->first + 1 == to->length, ERR_INVALID_PAGE_RANGE,
           "x-ms-source-range and x-ms-range do not name as many bytes each");
    ret->length_max = to->length;
    return OK;
}

err blob_put_page_from_url(ops_request *r, ops_response *w) {
    page_asks a;
    blob_source_asks from;
    TRY(blob_enter(r));
    TRY(read_asks(r, &a));
    ENSURE(!a.clear, ERR_INVALID_HEADER_VALUE,
           "x-ms-page-write: clear takes nothing from a source; send it without x-ms-copy-source");
    TRY(read_source(r, &a, &from));
    a.said = from.said;
    const store_container *k CLEANUP(blob_container_unref) = NULL;
    store_upload *u CLEANUP(blob_upload_free) = NULL;
    TRY(blob_container(r, &k));
    TRY(blob_source_bring(r, k, &from, &u));
    ENSURE(store_upload_len(u) == a.length, ERR_INVALID_RANGE,
           "the copy source ends within x-ms-source-range");
    return write_pages(r, w, k, &a, &u);
}

/* ---- Set Blob Properties ------------------------------------------------------------------------- */

static err read_action(const ops_request *r, store_page_set *ret) {
    static const char *const names[] = {"", "max", "update", "increment"};
    slice v = ops_header(r, "x-ms-sequence-number-action");
    bool has;
    TRY(blob_number_read(r, "x-ms-blob-sequence-number", SEQUENCE_MAX, &has, &ret->sequence));
    ret->action = STORE_SEQUENCE_KEEP;
    for (int i = STORE_SEQUENCE_MAX; i <= STORE_SEQUENCE_INCREMENT; i++)
        if (slice_eq_nocase(v, slice_str(names[i]))) ret->action = (store_sequence_action)i;
    if (v.p == NULL) {
        ENSURE(!has, ERR_MISSING_REQUIRED_HEADER,
               "x-ms-blob-sequence-number needs x-ms-sequence-number-action: max or update");
        return OK;
    }
    ENSURE(ret->action != STORE_SEQUENCE_KEEP, ERR_INVALID_HEADER_VALUE,
           "x-ms-sequence-number-action: '%.*s' is not max, update or increment",
           SLICE_ARG(slice_take(v, 32)));
    bool increment = ret->action == STORE_SEQUENCE_INCREMENT;
    ENSURE(increment || has, ERR_MISSING_REQUIRED_HEADER,
           "x-ms-blob-sequence-number is missing: what the number is to become");
    ENSURE(!increment || !has, ERR_INVALID_HEADER_VALUE,
           "increment adds one: send no x-ms-blob-sequence-number with it");
    return OK;
}

/* "If a request sets only x-ms-blob-sequence-number and/or x-ms-content-length, and no other
 * properties, then none of the blob's other properties are modified." */
static bool sets_http(const ops_request *r) {
    static const char *const names[] = {
        "x-ms-blob-cache-control",    "x-ms-blob-content-type",
        "x-ms-blob-content-md5",      "x-ms-blob-content-encoding",
        "x-ms-blob-content-language", "x-ms-blob-content-disposition"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (ops_header(r, names[i]).p != NULL) return true;
    return false;
}

err blob_page_set_read(ops_request *r, const store_http *http, store_page_set *ret,
                       bool *ret_asked) {
    *ret = (store_page_set){0};
    TRY(read_length(r, &ret->resize, &ret->length));
    TRY(read_action(r, ret));
    *ret_asked = ret->resize || ret->action != STORE_SEQUENCE_KEEP;
    if (sets_http(r)) ret->http = http;
    return OK;
}

void blob_page_set_answer(ops_request *r, ops_response *w, const store_blob *b) {
    answer(r, w, 200, b);
}
