/* Get Page Ranges. */
#include "blob/internal.h"

/* "Get Page Ranges": maxresults up to 10,000. Who does not ask for pages is given what fits an
 * answer, and a marker when that is not all. */
#define ASKED_MAX   10000
#define UNASKED_MAX 200000
#define MARKER_MAX  20

static err read_max(const ops_request *r, size_t *ret) {
    slice v = ops_param(r, "maxresults");
    uint64_t n;
    *ret = UNASKED_MAX;
    if (v.p == NULL) return OK;
    ENSURE(slice_u64(v, &n) == OK, ERR_INVALID_QUERY_PARAMETER_VALUE,
           "maxresults: '%.*s' is not a number", SLICE_ARG(slice_take(v, 32)));
    ENSURE(n > 0, ERR_OUT_OF_RANGE_QUERY_PARAMETER_VALUE, "maxresults is 1 to %d", ASKED_MAX);
    *ret = n < ASKED_MAX ? (size_t)n : ASKED_MAX;
    return OK;
}

/* The pages that the range touches; from the marker on. */
static err read_query(const ops_request *r, store_page_query *ret) {
    store_page_query q = {.length = UINT64_MAX, .whole = true};
    blob_range g;
    TRY(read_max(r, &q.max));
    TRY(blob_range_read(r, &g));
    ENSURE(!g.suffix, ERR_INVALID_HEADER_VALUE, "Range: bytes=-n is not a range of pages");
    if (g.asked) {
        q.whole = false;
        q.offset = g.first / STORE_PAGE_LEN * STORE_PAGE_LEN;
        uint64_t last = g.last < INT64_MAX ? g.last : INT64_MAX - STORE_PAGE_LEN;
        q.length = (last / STORE_PAGE_LEN + 1) * STORE_PAGE_LEN - q.offset;
    }
    slice marker = ops_param(r, "marker");
    uint64_t at = 0;
    if (marker.len > 0) {
        ENSURE(marker.len <= MARKER_MAX && slice_u64(marker, &at) == OK &&
                   at % STORE_PAGE_LEN == 0 && at >= q.offset && at - q.offset < q.length,
               ERR_INVALID_QUERY_PARAMETER_VALUE, "marker is not one that this listing gave");
        q.length -= q.length == UINT64_MAX ? 0 : at - q.offset;
        q.offset = at;
    }
    *ret = q;
    return OK;
}

/* The snapshot in the URL of x-ms-previous-snapshot-url, which is for managed disks. */
static err read_since_url(slice url, slice *ret) {
    slice rest = slice_skip(url, slice_find(url, 0, '?') + 1), part;
    *ret = SLICE_NONE;
    while (slice_split(&rest, '&', &part))
        if (slice_starts(part, S("snapshot="))) *ret = slice_skip(part, 9);
    ENSURE(ret->len > 0, ERR_INVALID_HEADER_VALUE,
           "x-ms-previous-snapshot-url: '%.*s' has no snapshot=", SLICE_ARG(slice_take(url, 128)));
    return OK;
}

static err read_since(const ops_request *r, uint64_t *ret) {
    slice param = ops_param(r, "prevsnapshot"), url = ops_header(r, "x-ms-previous-snapshot-url");
    slice text = param;
    *ret = 0;
    ENSURE(param.p == NULL || url.p == NULL, ERR_INVALID_HEADER_VALUE,
           "prevsnapshot and x-ms-previous-snapshot-url cannot be sent together");
    if (url.p != NULL) {
        TRY(read_since_url(url, &text));
        TRY(percent_get(r->arena, text, false, &text));
    }
    if (text.p == NULL) return OK;
    ENSURE(time_parse_tick(text, ret) == OK && *ret > 0, ERR_INVALID_QUERY_PARAMETER_VALUE,
           "prevsnapshot: '%.*s' is not a time like 2026-11-23T20:40:24.1234567Z",
           SLICE_ARG(slice_take(text, 64)));
    return OK;
}

static void put_bound(buf *b, slice open, uint64_t v, slice close) {
    buf_put(b, open);
    buf_u64(b, v);
    buf_put(b, close);
}

static err put_range(void *ctx, store_page_range range) {
    buf *b = ctx;
    buf_put(b, range.cleared ? S("<ClearRange>") : S("<PageRange>"));
    put_bound(b, S("<Start>"), range.start, S("</Start>"));
    put_bound(b, S("<End>"), range.end - 1, S("</End>"));
    buf_put(b, range.cleared ? S("</ClearRange>") : S("</PageRange>"));
    return OK;
}

static err answer(ops_request *r, ops_response *w, const store_blob *blob, buf *b, uint64_t next) {
    if (next > 0)
        xml_element_u64(b, "NextMarker", next);
    else
        xml_element(b, "NextMarker", SLICE_NONE);
    buf_put(b, S("</PageList>"));
    w->status = 200;
    blob_set_state(r, w, blob->etag, blob->modified_us);
    ops_set_u64(r, w, "x-ms-blob-content-length", blob->length);
    return xml_answer(w, b);
}

err blob_get_page_ranges(ops_request *r, ops_response *w) {
    store_conditions cond;
    store_page_query q;
    store_blob blob;
    uint64_t next;
    TRY(blob_enter(r));
    TRY(ops_conditions(r, &cond));
    TRY(read_query(r, &q));
    TRY(blob_pick_read(r, &q.pick));
    TRY(read_since(r, &q.since));
    const store_container *k CLEANUP(blob_container_unref) = NULL;
    TRY(blob_container(r, &k));
    buf b;
    buf_init(&b, BLOB_BODY_MAX);
    buf_put(&b, XML_HEAD);
    buf_put(&b, S("<PageList>"));
    err e = store_page_ranges(r->server->store, ops_call(r), k, r->blob, &cond, &q, &blob,
                              put_range, &b, &next);
    if (e != OK) {
        buf_done(&b);
        return e;
    }
    return answer(r, w, &blob, &b, next);
}
