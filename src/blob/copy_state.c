/* What a blob says of the copy that made it: x-ms-copy-… and its elements in listings. */
#include "blob/internal.h"

/* The URL without the signature it may hold: what is kept is shown to whoever may read the copy. */
static slice shown(arena *a, slice url) {
    size_t query = slice_find(url, 0, '?');
    if (query == url.len) return url;
    buf b;
    slice rest = slice_skip(url, query + 1), part;
    bool first = true;
    buf_init_arena(&b, a, url.len);
    buf_put(&b, slice_take(url, query));
    while (slice_split(&rest, '&', &part)) {
        if (slice_starts_nocase(part, S("sig="))) continue;
        buf_byte(&b, first ? '?' : '&');
        buf_put(&b, part);
        first = false;
    }
    return buf_slice(&b);
}

void blob_copy_begin(ops_request *r, const blob_source_asks *a, const blob_source *s,
                     store_copy *ret) {
    buf b;
    buf_init_fixed(&b, arena_alloc(r->arena, 36), 36);
    uuid_put(&b);
    ret->id = buf_slice(&b);
    ret->source = shown(r->arena, a->url);
    ret->total = s->count;
}

slice blob_copy_status_name(store_copy_status status) {
    switch (status) {
    case STORE_COPY_NONE:
        break;
    case STORE_COPY_PENDING:
        return S("pending");
    case STORE_COPY_SUCCESS:
        return S("success");
    case STORE_COPY_ABORTED:
        return S("aborted");
    case STORE_COPY_FAILED:
        return S("failed");
    }
    return SLICE_NONE;
}

void blob_copy_set(ops_request *r, ops_response *w, const store_copy *c) {
    if (c->status == STORE_COPY_NONE) return;
    ops_set(w, "x-ms-copy-id", c->id);
    ops_set(w, "x-ms-copy-source", c->source);
    ops_set(w, "x-ms-copy-status", blob_copy_status_name(c->status));
    if (c->description.len > 0) ops_set(w, "x-ms-copy-status-description", c->description);
    ops_set(w, "x-ms-copy-progress",
            arena_fmt(r->arena, "%llu/%llu", (unsigned long long)c->done,
                      (unsigned long long)c->total));
    if (c->status != STORE_COPY_PENDING)
        ops_set_time(r, w, "x-ms-copy-completion-time", c->completed_us);
}

void blob_copy_list(buf *b, const store_copy *c) {
    if (c->status == STORE_COPY_NONE) return;
    xml_element(b, "CopyId", c->id);
    xml_element(b, "CopyStatus", blob_copy_status_name(c->status));
    xml_element(b, "CopySource", c->source);
    buf_fmt(b, "<CopyProgress>%llu/%llu</CopyProgress>", (unsigned long long)c->done,
            (unsigned long long)c->total);
    if (c->status != STORE_COPY_PENDING) xml_http_date(b, "CopyCompletionTime", c->completed_us);
    if (c->description.len > 0) xml_element(b, "CopyStatusDescription", c->description);
}
