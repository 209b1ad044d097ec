/* Documents that come in: block lists, access policies, service properties, tags. The first byte chooses
 * the kind and the size of the pieces. What was accepted keeps the limits, and service properties
 * render to a document that means the same. fuzz-folders: base crypto engine fetch store audit auth ops blob */
#include "blob/internal.h"
#include "fuzz.h"

static void fuzz_picks(slice document, size_t piece) {
    blob_picks p = {.arena = arena_new(4096, (size_t)64 << 20)};
    xml_reader *x = xml_reader_new(&blob_picks_visitor, &p);
    err e = OK;
    for (slice rest = document; rest.len > 0 && e == OK; rest = slice_skip(rest, piece))
        e = xml_reader_feed(x, slice_take(rest, piece));
    if (e == OK) e = xml_reader_end(x);
    xml_reader_free(x);
    MUST(p.count <= STORE_COMMITTED_BLOCKS_MAX);
    for (size_t i = 0; e == OK && i < p.count; i++)
        MUST(p.pick[i].id.len >= 1 && p.pick[i].id.len <= STORE_BLOCK_ID_MAX);
    MUST(e == OK || err_get(e)->status == 400);
    arena_free(p.arena);
}

static void fuzz_acl(slice document) {
    arena *a = arena_new(4096, (size_t)64 << 20);
    store_policy policies[STORE_POLICIES_MAX];
    size_t n = 0;
    err e = blob_acl_parse(document, a, policies, &n);
    MUST(e == OK || (err_get(e)->status == 400 && n == 0 && *err_detail() != 0));
    for (size_t i = 0; i < n; i++) MUST(policies[i].id.len >= 1 && policies[i].id.len <= 256);
    arena_free(a);
}

static void fuzz_service(slice document) {
    arena *a = arena_new(4096, (size_t)64 << 20);
    store_service v = {0}, again = {0};
    err e = blob_service_parse(document, a, &v);
    MUST(e == OK || err_get(e)->status == 400 || e == ERR_NOT_IMPLEMENTED);
    if (e == OK) {
        buf one, two;
        buf_init(&one, 1 << 20);
        buf_init(&two, 1 << 20);
        blob_service_render(&one, &v);
        MUST(buf_check(&one) == OK);
        MUST(blob_service_parse(buf_slice(&one), a, &again) == OK);
        blob_service_render(&two, &again);
        MUST(slice_eq(buf_slice(&one), buf_slice(&two)));
        buf_done(&one);
        buf_done(&two);
    }
    arena_free(a);
}

/* What was taken renders to a document that means the same. */
static void fuzz_tags(slice document) {
    arena *a = arena_new(4096, (size_t)64 << 20);
    blob_tags t, again;
    err e = blob_tags_parse(document, a, &t);
    MUST(e == OK || (err_get(e)->status == 400 && *err_detail() != 0));
    if (e == OK) {
        buf b;
        buf_init(&b, 1 << 20);
        buf_put(&b, S("<Tags>"));
        blob_tags_put(&b, t.tag, t.count);
        buf_put(&b, S("</Tags>"));
        MUST(blob_tags_parse(buf_slice(&b), a, &again) == OK && again.count == t.count);
        for (size_t i = 0; i < t.count; i++)
            MUST(slice_eq(t.tag[i].name, again.tag[i].name) &&
                 slice_eq(t.tag[i].value, again.tag[i].value));
        buf_done(&b);
    }
    arena_free(a);
}

FUZZ(data) {
    if (data.len == 0) return;
    uint8_t how = data.p[0];
    data = slice_skip(data, 1);
    switch (how % 4) {
    case 0:
        fuzz_picks(data, how / 4 + 1);
        break;
    case 3:
        fuzz_tags(data);
        break;
    case 1:
        fuzz_acl(data);
        break;
    default:
        fuzz_service(data);
        break;
    }
}
