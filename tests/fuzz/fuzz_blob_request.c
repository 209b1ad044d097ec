/* A request's head: "METHOD target" and header lines. Whatever it says, an address, a range, metadata
 * and checksums are taken or refused with a status of 4xx or 501 and a detail; what is taken keeps
 * the limits. fuzz-folders: base crypto engine fetch store audit auth ops blob */
#include "blob/internal.h"
#include "fuzz.h"

static const ops_protocol *const protocols[] = {&blob_protocol, NULL};

static void parse(ops_request *r, slice data) {
    slice rest = data, line;
    (void)slice_split(&rest, '\n', &line);
    size_t space = slice_find(line, 0, ' ');
    r->method_text = slice_take(line, space);
    r->target = slice_skip(line, space + 1);
    r->method = slice_eq(r->method_text, S("PUT"))    ? OPS_PUT
                : slice_eq(r->method_text, S("HEAD")) ? OPS_HEAD
                                                      : OPS_GET;
    while (r->header_count < OPS_HEADERS_MAX && slice_split(&rest, '\n', &line)) {
        size_t colon = slice_find(line, 0, ':');
        r->headers[r->header_count++] =
            (pair){slice_take(line, colon), slice_trim(slice_skip(line, colon + 1))};
    }
}

static void refused(err e) {
    int status = err_get(e)->status;
    MUST(status == 501 || (status >= 400 && status < 500));
    MUST(*err_detail() != 0);
}

static void check_parts(ops_request *r) {
    blob_range g;
    err e = blob_range_read(r, &g);
    uint64_t first, count;
    if (e != OK)
        refused(e);
    else if (g.asked && blob_range_apply(&g, 1000, &first, &count) == OK)
        MUST(first < 1000 && count >= 1 && first + count <= 1000);
    pair *list;
    size_t n, bytes = 0;
    e = blob_metadata_read(r, &list, &n);
    if (e != OK) {
        refused(e);
    } else {
        for (size_t i = 0; i < n; i++) bytes += list[i].name.len + list[i].value.len;
        MUST(bytes <= STORE_METADATA_MAX && n <= BLOB_METADATA_COUNT_MAX);
    }
    blob_sums sums;
    store_http http;
    if ((e = blob_sums_read(r, &sums)) != OK) refused(e);
    if ((e = blob_http_read(r, true, &http)) != OK) refused(e);
    if ((e = blob_enter(r)) != OK) refused(e);
}

FUZZ(data) {
    static ops_server server = {.protocols = protocols, .host_suffix = S("blob.example.org")};
    ops_request *r = calloc(1, sizeof *r);
    ops_response *w = calloc(1, sizeof *w);
    MUST(r != NULL && w != NULL);
    r->server = &server;
    r->arena = arena_new(4096, (size_t)64 << 20);
    parse(r, data);
    err e = ops_begin(r);
    if (e != OK) {
        refused(e);
        ops_fail(r, w, e);
        MUST(w->status >= 400);
        if (w->kind == OPS_BODY_BYTES)
            MUST(slice_starts(w->body, XML_HEAD) && slice_ends(w->body, S("</Error>")));
    } else {
        MUST(store_account_name_valid(r->account_name));
        check_parts(r);
    }
    ops_decorate(r, w);
    arena_free(r->arena);
    free(r);
    free(w);
}
