/* Blob index tags: Set Blob Tags, Get Blob Tags, Find Blobs by Tags, and the header x-ms-tags of
 * operations that write a blob. */
#include "blob/internal.h"

/* ---- x-ms-tags: key=value&key=value, percent-encoded, a space perhaps as '+' ---------------------- */

static err decode(arena *a, slice raw, slice *ret) {
    ENSURE(percent_get(a, raw, true, ret) == OK, ERR_INVALID_HEADER_VALUE,
           "x-ms-tags: '%.*s' is not correctly percent-encoded", SLICE_ARG(slice_take(raw, 64)));
    return OK;
}

static err take_pair(arena *a, slice part, pair *ret) {
    size_t at = slice_find(part, 0, '=');
    ENSURE(at < part.len, ERR_INVALID_HEADER_VALUE,
           "x-ms-tags: '%.*s' is not key=value; tags are joined by '&'",
           SLICE_ARG(slice_take(part, 64)));
    TRY(decode(a, slice_take(part, at), &ret->name));
    return decode(a, slice_skip(part, at + 1), &ret->value);
}

err blob_tags_read(ops_request *r, const pair **ret, size_t *ret_count) {
    slice rest = ops_header(r, "x-ms-tags"), part;
    *ret = NULL;
    *ret_count = 0;
    if (rest.len == 0) return OK;
    ENSURE(ops_may_tag(r), ERR_AUTHORIZATION_PERMISSION_MISMATCH,
           "x-ms-tags needs the permission to write tags (t)");
    pair *tags = arena_alloc(r->arena, STORE_TAGS_MAX * sizeof *tags);
    size_t n = 0;
    while (slice_split(&rest, '&', &part)) {
        ENSURE(n < STORE_TAGS_MAX, ERR_TAGS_TOO_LARGE, "a blob has at most %d tags",
               STORE_TAGS_MAX);
        TRY(take_pair(r->arena, part, &tags[n++]));
    }
    TRY(store_tags_check(tags, n));
    *ret = tags;
    *ret_count = n;
    return OK;
}

/* ---- the document: <Tags><TagSet><Tag><Key/><Value/></Tag></TagSet></Tags> ------------------------ */

static const char *const path_to[] = {"Tags", "TagSet", "Tag"};

static err tags_open(void *ctx, unsigned depth, slice name) {
    blob_tags *t = ctx;
    if (depth > 4) return xml_unsupported(name);
    if (depth == 4)
        return slice_eq(name, S("Key")) || slice_eq(name, S("Value")) ? OK : xml_unsupported(name);
    if (!slice_eq(name, slice_str(path_to[depth - 1]))) return xml_unsupported(name);
    if (depth == 2) t->has_set = true;
    if (depth < 3) return OK;
    ENSURE(t->count < STORE_TAGS_MAX, ERR_TAGS_TOO_LARGE, "a blob has at most %d tags",
           STORE_TAGS_MAX);
    t->has_key = t->has_value = false;
    return OK;
}

static bool blank(slice s) {
    for (size_t i = 0; i < s.len; i++)
        if (!strchr(" \t\r\n", s.p[i]) || s.p[i] == 0) return false;
    return true;
}

static err tags_close(void *ctx, unsigned depth, slice name, slice text) {
    blob_tags *t = ctx;
    if (depth < 4)
        ENSURE(blank(text), ERR_INVALID_XML_DOCUMENT, "'%.*s' holds elements, not text",
               SLICE_ARG(name));
    if (depth == 3) {
        ENSURE(t->has_key && t->has_value, ERR_MISSING_REQUIRED_XML_NODE,
               "a Tag has one Key and one Value");
        t->count++;
    } else if (depth == 4) {
        bool key = slice_eq(name, S("Key"));
        bool *seen = key ? &t->has_key : &t->has_value;
        ENSURE(!*seen, ERR_INVALID_XML_DOCUMENT, "a Tag has one Key and one Value");
        *seen = true;
        *(key ? &t->tag[t->count].name : &t->tag[t->count].value) = arena_dup(t->arena, text);
    }
    return OK;
}

/* Spaces at the ends of a value belong to it. */
const xml_visitor blob_tags_visitor = {tags_open, tags_close, .verbatim = true};

err blob_tags_parse(slice document, arena *a, blob_tags *ret) {
    *ret = (blob_tags){.arena = a};
    TRY(xml_read(document, &blob_tags_visitor, ret));
    ENSURE(ret->has_set, ERR_MISSING_REQUIRED_XML_NODE, "Tags has no TagSet");
    return store_tags_check(ret->tag, ret->count);
}

void blob_tags_put(buf *b, const pair *tags, size_t count) {
    if (count == 0) {
        buf_put(b, S("<TagSet />"));
        return;
    }
    buf_put(b, S("<TagSet>"));
    for (size_t i = 0; i < count; i++) {
        buf_put(b, S("<Tag>"));
        xml_element(b, "Key", tags[i].name);
        xml_element(b, "Value", tags[i].value);
        buf_put(b, S("</Tag>"));
    }
    buf_put(b, S("</TagSet>"));
}

/* ---- Set Blob Tags, Get Blob Tags ----------------------------------------------------------------- */

/* Of a version too, not of a snapshot ("Set Blob Tags" has versionid only). */
err blob_set_tags(ops_request *r, ops_response *w) {
    store_conditions cond;
    store_pick pick;
    slice document;
    blob_tags t;
    TRY(blob_enter(r));
    TRY(blob_pick_read(r, &pick));
    ENSURE(!pick.snapshot, ERR_INVALID_OPERATION, "snapshot: the tags of a snapshot are read-only");
    TRY(ops_conditions(r, &cond));
    TRY(blob_body_read(r, BLOB_DOCUMENT_MAX, &document));
    TRY(blob_tags_parse(document, r->arena, &t));
    const store_container *k CLEANUP(blob_container_unref) = NULL;
    TRY(blob_container(r, &k));
    TRY(store_blob_set_tags(r->server->store, ops_call(r), k, r->blob, pick, &cond, t.tag,
                            t.count));
    w->status = 204;
    return OK;
}

err blob_get_tags(ops_request *r, ops_response *w) {
    store_conditions cond;
    store_pick pick;
    store_blob blob;
    TRY(blob_enter(r));
    TRY(blob_pick_read(r, &pick));
    TRY(ops_conditions(r, &cond));
    const store_container *k CLEANUP(blob_container_unref) = NULL;
    TRY(blob_container(r, &k));
    TRY(store_blob_get(r->server->store, ops_call(r), k, r->blob, pick, &cond, &blob));
    buf b;
    buf_init(&b, BLOB_BODY_MAX);
    buf_put(&b, XML_HEAD);
    buf_put(&b, S("<Tags>"));
    blob_tags_put(&b, blob.tags, blob.tag_count);
    buf_put(&b, S("</Tags>"));
    w->status = 200;
    return xml_answer(w, &b);
}

/* ---- Find Blobs by Tags, in an account and in a container ----------------------------------------- */

static err each_found(void *ctx, const store_found *found) {
    buf *b = ctx;
    if (b->len > BLOB_PAGE_BYTES) return ERR_TOO_LARGE;
    buf_put(b, S("<Blob>"));
    xml_element_encoded(b, "Name", found->name);
    xml_element(b, "ContainerName", found->container);
    buf_put(b, S("<Tags>"));
    blob_tags_put(b, found->tags, found->tag_count);
    buf_put(b, S("</Tags></Blob>"));
    return OK;
}

/* Versions have tags, and are not searched for: "those tags aren't passed to the blob index engine,
 * so you cannot use them to retrieve previous versions". */
static err check_include(const ops_request *r) {
    slice rest = ops_param(r, "include"), part;
    while (slice_split(&rest, ',', &part))
        ENSURE(part.len == 0 || slice_eq_nocase(part, S("none")) ||
                   slice_eq_nocase(part, S("versions")),
               ERR_INVALID_QUERY_PARAMETER_VALUE, "include: '%.*s' is neither none nor versions",
               SLICE_ARG(slice_take(part, 32)));
    return OK;
}

static err read_find(const ops_request *r, store_find *ret) {
    slice where = ops_param(r, "where");
    *ret = (store_find){.marker = ops_param(r, "marker"), .unstated = r->purpose.len == 0};
    ENSURE(where.len > 0, ERR_MISSING_REQUIRED_QUERY_PARAMETER,
           "where is missing: an expression like \"Status\" = 'Done'");
    TRY(check_include(r));
    TRY(blob_maxresults(r, &ret->max));
    if (ret->max == 0) ret->max = STORE_LIST_MAX;
    return store_tag_where(r->arena, where, &ret->query);
}

err blob_find(ops_request *r, ops_response *w) {
    store_find q;
    slice marker = SLICE_NONE;
    TRY(blob_enter(r));
    TRY(read_find(r, &q));
    const store_container *k CLEANUP(blob_container_unref) = NULL;
    if (r->container.len > 0) TRY(blob_container(r, &k));
    buf b;
    buf_init(&b, BLOB_BODY_MAX);
    buf_put(&b, XML_HEAD);
    buf_put(&b, S("<EnumerationResults ServiceEndpoint=\""));
    xml_put(&b, blob_endpoint(r));
    buf_put(&b, S("\">"));
    xml_element(&b, "Where", ops_param(r, "where"));
    buf_put(&b, S("<Blobs>"));
    err e = store_blob_find(r->server->store, ops_call(r), r->account, k, &q, each_found, &b,
                            &marker, NULL);
    if (e != OK) {
        buf_done(&b);
        return e;
    }
    buf_put(&b, S("</Blobs>"));
    xml_element(&b, "NextMarker", marker);
    buf_put(&b, S("</EnumerationResults>"));
    w->status = 200;
    return xml_answer(w, &b);
}
