/* The body of a batch, behind a line with its Content-Type. Whatever it says, it is cut into at most 256
 * requests that lie within it, or refused with a status of 4xx and a detail.
 * fuzz-folders: base crypto engine fetch store audit auth ops blob */
#include "blob/internal.h"
#include "fuzz.h"

static void refused(err e) {
    MUST(err_get(e)->status >= 400 && err_get(e)->status < 500);
    MUST(*err_detail() != 0);
}

static void within(slice all, slice s) {
    MUST(s.p == NULL || (s.p >= all.p && s.p + s.len <= all.p + all.len));
}

static void check_part(slice body, const blob_batch_part *p) {
    within(body, p->content_id);
    within(body, p->method);
    within(body, p->target);
    MUST(p->method.len > 0 && p->target.len > 0 && p->header_count <= BLOB_BATCH_HEADERS_MAX);
    for (size_t i = 0; i < p->header_count; i++) {
        within(body, p->headers[i].name);
        within(body, p->headers[i].value);
        MUST(p->headers[i].name.len > 0);
        MUST(slice_find(p->headers[i].value, 0, '\n') == p->headers[i].value.len);
        MUST(slice_find(p->headers[i].value, 0, '\r') == p->headers[i].value.len);
    }
}

FUZZ(data) {
    slice boundary, body = data, type;
    (void)slice_split(&body, '\n', &type);
    err e = blob_batch_boundary(type, &boundary);
    if (e != OK) {
        refused(e);
        boundary = S("b");
    }
    blob_batch_reader b;
    blob_batch_part *p = calloc(1, sizeof *p);
    MUST(p != NULL);
    bool more = true;
    unsigned n = 0;
    e = blob_batch_begin(&b, boundary, body);
    while (e == OK) {
        e = blob_batch_next(&b, p, &more);
        if (e != OK || !more) break;
        MUST(++n <= BLOB_BATCH_MAX && b.count == n);
        check_part(body, p);
    }
    if (e != OK) refused(e);
    free(p);
}
