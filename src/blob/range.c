/* Byte ranges. "Specifying the range header for Blob service operations": bytes=first- and
 * bytes=first-last, x-ms-range before Range. RFC 9110 14.2 lets a server ignore a Range that it
 * does not understand (several ranges, other units, an end before the start); in x-ms-range, which
 * is Azure's own, such a value is an error. The last n bytes (bytes=-n) are of HTTP, not of Azure:
 * taken in Range only. */
#include "blob/internal.h"

static err malformed(slice text) {
    return err_fail(ERR_INVALID_HEADER_VALUE,
                    "x-ms-range: '%.*s' is not bytes=first- or bytes=first-last",
                    SLICE_ARG(slice_take(text, 64)));
}

err blob_range_parse(slice text, blob_range *ret) {
    blob_range g = {.asked = true, .last = UINT64_MAX};
    if (!slice_starts(text, S("bytes="))) return malformed(text);
    slice rest = slice_skip(text, 6);
    size_t dash = slice_find(rest, 0, '-');
    if (dash == rest.len) return malformed(text);
    slice first = slice_take(rest, dash), last = slice_skip(rest, dash + 1);
    g.suffix = first.len == 0;
    if (slice_u64(g.suffix ? last : first, &g.first) != OK) return malformed(text);
    if (!g.suffix && last.len > 0 && slice_u64(last, &g.last) != OK) return malformed(text);
    if (!g.suffix && g.last < g.first) return malformed(text);
    *ret = g;
    return OK;
}

err blob_range_read(const ops_request *r, blob_range *ret) {
    slice own = ops_header(r, "x-ms-range");
    if (own.p != NULL) {
        blob_range g;
        TRY(blob_range_parse(own, &g));
        if (g.suffix) return malformed(own);
        *ret = g;
        return OK;
    }
    *ret = (blob_range){0};
    slice standard = ops_header(r, "Range");
    if (standard.p != NULL && blob_range_parse(standard, ret) != OK) err_clear();
    return OK;
}

err blob_range_apply(const blob_range *range, uint64_t length, uint64_t *ret_first,
                     uint64_t *ret_count) {
    uint64_t first = range->first, last = range->last;
    if (range->suffix) {
        ENSURE(range->first > 0 && length > 0, ERR_INVALID_RANGE,
               "the range asks for the last %llu of %llu bytes", (unsigned long long)range->first,
               (unsigned long long)length);
        first = range->first < length ? length - range->first : 0;
        last = length - 1;
    }
    ENSURE(first < length, ERR_INVALID_RANGE, "the range begins at %llu, the blob has %llu bytes",
           (unsigned long long)first, (unsigned long long)length);
    if (last >= length) last = length - 1;
    *ret_first = first;
    *ret_count = last - first + 1;
    return OK;
}

slice blob_content_range(arena *a, uint64_t first, uint64_t count, uint64_t length) {
    buf b;
    buf_init_fixed(&b, arena_alloc(a, 80), 80);
    buf_put(&b, S("bytes "));
    buf_u64(&b, first);
    buf_byte(&b, '-');
    buf_u64(&b, first + count - 1);
    buf_byte(&b, '/');
    buf_u64(&b, length);
    return buf_slice(&b);
}
