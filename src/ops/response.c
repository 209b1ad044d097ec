/* What an answer says: headers and body, set by handlers. */
#include "base/base.h"
#include "ops/internal.h"

void ops_set(ops_response *w, const char *name, slice value) {
    MUST(w->header_count < OPS_RESPONSE_HEADERS_MAX);
    w->headers[w->header_count++] = (pair){slice_str(name), value};
}

void ops_set_u64(ops_request *r, ops_response *w, const char *name, uint64_t v) {
    buf b;
    buf_init_fixed(&b, arena_alloc(r->arena, 20), 20);
    buf_u64(&b, v);
    ops_set(w, name, buf_slice(&b));
}

void ops_set_time(ops_request *r, ops_response *w, const char *name, int64_t us) {
    buf b;
    buf_init_fixed(&b, arena_alloc(r->arena, 32), 32);
    time_put_http(&b, us);
    ops_set(w, name, buf_slice(&b));
}

void ops_set_etag(ops_request *r, ops_response *w, uint64_t etag) {
    static const char digits[] = "0123456789ABCDEF";
    uint8_t *p = arena_alloc(r->arena, 20);
    size_t n = 0;
    p[n++] = '"';
    p[n++] = '0';
    p[n++] = 'x';
    int shift = 60;
    while (shift > 0 && (etag >> shift) == 0) shift -= 4;
    for (; shift >= 0; shift -= 4) p[n++] = (uint8_t)digits[(etag >> shift) & 15];
    p[n++] = '"';
    ops_set(w, "ETag", slice_of(p, n));
}

void ops_body(ops_response *w, slice body) {
    w->kind = OPS_BODY_BYTES;
    w->body = body;
    w->length = body.len;
}
