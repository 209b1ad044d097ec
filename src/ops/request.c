/* What a request says: target, parameters, headers, conditions, body.
 *
 * A '+' in a query value is a space, as in HTML forms: Azure decodes so, and clients that build
 * their query as a form lean on it (a listing by a prefix with a space; Azure/Azurite issue 1696).
 * The one exception is `sig`, which is base64 and holds '+' but never a space: a URL whose
 * signature lost its percent-encoding on the way works here (Azure/Azurite issue 2341). */
#include "base/base.h"
#include "ops/internal.h"

static err decode_value(arena *a, slice name, slice raw, slice *ret) {
    bool plus = !slice_eq(name, S("sig"));
    bool plain =
        memchr(raw.p, '%', raw.len) == NULL && (!plus || memchr(raw.p, '+', raw.len) == NULL);
    if (raw.len == 0 || plain) {
        *ret = raw;
        return OK;
    }
    return percent_get(a, raw, plus, ret);
}

static err parse_param(ops_request *r, slice part) {
    ENSURE(r->param_count < OPS_PARAMS_MAX, ERR_INVALID_URI, "more than %d query parameters",
           OPS_PARAMS_MAX);
    size_t eq = slice_find(part, 0, '=');
    slice name = slice_take(part, eq), value = slice_skip(part, eq + 1);
    pair *p = &r->params[r->param_count];
    if (decode_value(r->arena, SLICE_NONE, name, &p->name) != OK)
        return err_fail(ERR_INVALID_URI, "a query parameter's name is not correctly encoded");
    if (decode_value(r->arena, p->name, value, &p->value) != OK)
        return err_fail(ERR_INVALID_QUERY_PARAMETER_VALUE,
                        "query parameter '%.*s' is not correctly encoded",
                        SLICE_ARG(slice_take(p->name, 64)));
    ENSURE(slice_find(p->name, 0, 0) == p->name.len && slice_find(p->value, 0, 0) == p->value.len,
           ERR_INVALID_QUERY_PARAMETER_VALUE, "a query parameter holds a NUL character");
    r->param_count++;
    return OK;
}

/* Absolute form (RFC 9112 3.2.2): the path of "http://host/path". */
static slice strip_authority(slice target) {
    size_t skip = slice_starts_nocase(target, S("http://"))    ? 7
                  : slice_starts_nocase(target, S("https://")) ? 8
                                                               : 0;
    if (skip == 0) return target;
    slice rest = slice_skip(target, slice_find(target, skip, '/'));
    return rest.len == 0 ? S("/") : rest;
}

err ops_parse_target(ops_request *r) {
    ENSURE(r->target.len > 0 && r->target.len <= OPS_TARGET_MAX, ERR_INVALID_URI,
           "the request target is empty or longer than %d bytes", OPS_TARGET_MAX);
    slice t = strip_authority(r->target);
    for (size_t i = 0; i < t.len; i++)
        ENSURE(t.p[i] > ' ' && t.p[i] != 0x7F && t.p[i] != '#', ERR_INVALID_URI,
               "the request target holds a character that must be percent-encoded");
    size_t q = slice_find(t, 0, '?');
    r->path_raw = slice_take(t, q);
    r->query_raw = slice_skip(t, q + 1);
    r->param_count = 0;
    if (r->query_raw.len == 0) return OK;
    slice rest = r->query_raw, part;
    while (slice_split(&rest, '&', &part))
        if (part.len > 0) TRY(parse_param(r, part));
    return OK;
}

static bool is_version(slice s) {
    if (s.len != 10) return false;
    for (size_t i = 0; i < 10; i++) {
        bool dash = i == 4 || i == 7;
        if (dash ? s.p[i] != '-' : s.p[i] < '0' || s.p[i] > '9') return false;
    }
    int month = (s.p[5] - '0') * 10 + (s.p[6] - '0'), day = (s.p[8] - '0') * 10 + (s.p[9] - '0');
    return month >= 1 && month <= 12 && day >= 1 && day <= 31;
}

/* "Versioning for Azure Storage": the header; for a SAS api-version, else sv. Every well-formed
 * version is taken, newer ones as well. */
err ops_parse_version(ops_request *r) {
    slice header = ops_header(r, "x-ms-version");
    ENSURE(header.p == NULL || is_version(header), ERR_INVALID_HEADER_VALUE,
           "x-ms-version: '%.*s' is not a date like 2026-06-06", SLICE_ARG(slice_take(header, 32)));
    slice from[] = {header, ops_param(r, "api-version"), ops_param(r, "sv")};
    for (size_t i = 0; i < ARRAY_LEN(from); i++) {
        if (!is_version(from[i])) continue;
        r->version = from[i];
        return OK;
    }
    r->version = SLICE_NONE;
    return OK;
}

slice ops_header(const ops_request *r, const char *name) {
    return ops_header_named(r, slice_str(name));
}

slice ops_header_named(const ops_request *r, slice want) {
    for (size_t i = 0; i < r->header_count; i++)
        if (r->headers[i].name.len == want.len && slice_eq_nocase(r->headers[i].name, want))
            return r->headers[i].value;
    return SLICE_NONE;
}

slice ops_param(const ops_request *r, const char *name) {
    slice want = slice_str(name);
    for (size_t i = 0; i < r->param_count; i++)
        if (slice_eq(r->params[i].name, want)) return r->params[i].value;
    return SLICE_NONE;
}

store_call ops_call(const ops_request *r) {
    const bool later = r->row != NULL && (r->row->flags & OPS_LATER) != 0;
    return (store_call){.arena = r->arena,
                        .nowait = r->nowait,
                        .later = later ? r->later : NULL,
                        .customer = r->customer,
                        .scope = r->scope,
                        .record = r->record};
}

static err too_large(size_t max) {
    return err_fail(ERR_REQUEST_BODY_TOO_LARGE, "the body is larger than %zu bytes", max);
}

err ops_body_all(ops_request *r, size_t max, slice *ret) {
    uint64_t announced = r->body.p != NULL                      ? r->body.len
                         : r->content_length == OPS_LEN_UNKNOWN ? 0
                                                                : r->content_length;
    if (announced > max) return too_large(max);
    if (r->body.p != NULL) {
        *ret = r->body;
        return OK;
    }
    buf b;
    buf_init_arena(&b, r->arena, max + 1);
    size_t step = announced > 0 ? (size_t)announced + 1 : 64u << 10;
    for (size_t n = 1; n > 0;) {
        size_t left = max + 1 - b.len;
        if (left == 0) return too_large(max);
        uint8_t *to = buf_reserve(&b, step < left ? step : left);
        if (to == NULL) return too_large(max);
        TRY(r->body_read(r, to, step < left ? step : left, &n));
        buf_advance(&b, n);
    }
    if (b.len > max) return too_large(max);
    *ret = buf_slice(&b);
    return OK;
}

/* ---- conditions: "Specifying conditional headers for Blob service operations" ---- */

err ops_header_time(const ops_request *r, const char *name, int64_t *ret_us) {
    slice v = ops_header(r, name);
    if (v.len == 0) return OK;
    if (time_parse_http(v, ret_us) == OK) return OK;
    return err_fail(ERR_INVALID_HEADER_VALUE, "%s: '%.*s' is not an HTTP date", name,
                    SLICE_ARG(slice_take(v, 64)));
}

/* One entity tag or "*". Azure takes tags with and without quotes, and refuses lists. */
static err take_tag(const ops_request *r, const char *name, slice *ret) {
    slice v = ops_header(r, name);
    if (v.len == 0) return OK;
    ENSURE(slice_find(v, 0, ',') == v.len, ERR_MULTIPLE_CONDITION_HEADERS_NOT_SUPPORTED,
           "%s names several entity tags", name);
    ENSURE(v.len <= 256, ERR_INVALID_HEADER_VALUE, "%s is longer than 256 bytes", name);
    *ret = v;
    return OK;
}

err ops_guid(const ops_request *r, const char *name, slice *ret) {
    slice v = ops_header(r, name);
    *ret = SLICE_NONE;
    if (v.len == 0) return OK;
    uint8_t *raw = arena_alloc(r->arena, UUID_LEN);
    ENSURE(uuid_get(v, raw) == OK, ERR_INVALID_HEADER_VALUE,
           "%s: '%.*s' is not a GUID like 1f812371-a41d-49e6-b123-f4b542e851c5", name,
           SLICE_ARG(slice_take(v, 64)));
    *ret = slice_of(raw, UUID_LEN);
    return OK;
}

bool ops_may_tag(const ops_request *r) {
    return !r->server->authenticate || auth_may_tag(&r->caller);
}

static err take_if_tags(const ops_request *r, const store_tag_query **ret) {
    slice v = ops_header(r, "x-ms-if-tags");
    if (v.p == NULL) return OK;
    ENSURE(ops_may_tag(r), ERR_AUTHORIZATION_PERMISSION_MISMATCH,
           "x-ms-if-tags needs the permission to read tags (t)");
    return store_tag_condition(r->arena, v, ret);
}

static const char *const http_names[] = {"If-Match", "If-None-Match", "If-Modified-Since",
                                         "If-Unmodified-Since"};
static const char *const blob_names[] = {"x-ms-blob-if-match", "x-ms-blob-if-none-match",
                                         "x-ms-blob-if-modified-since",
                                         "x-ms-blob-if-unmodified-since"};

err ops_conditions(const ops_request *r, store_conditions *ret) {
    store_conditions c = STORE_NO_CONDITIONS;
    unsigned honours = r->row->conditions;
    const char *const *name = honours & OPS_IF_BLOB_NAMES ? blob_names : http_names;
    if (honours & OPS_IF_MATCH) TRY(take_tag(r, name[0], &c.if_match));
    if (honours & OPS_IF_NONE_MATCH) TRY(take_tag(r, name[1], &c.if_none_match));
    if (honours & OPS_IF_MODIFIED) TRY(ops_header_time(r, name[2], &c.if_modified_since_us));
    if (honours & OPS_IF_UNMODIFIED) TRY(ops_header_time(r, name[3], &c.if_unmodified_since_us));
    if (honours & OPS_IF_TAGS) TRY(take_if_tags(r, &c.if_tags));
    if (honours & OPS_IF_LEASE) TRY(ops_guid(r, "x-ms-lease-id", &c.lease_id));
    *ret = c;
    return OK;
}
