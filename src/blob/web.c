/* Static websites: the container $web of an account whose service properties switch one on, read without a
 * signature at an address of its own. "Static website hosting in Azure Storage".
 *
 *   http://ACCOUNT.WEBSITE_SUFFIX/path
 *
 * A path that ends with a slash means the index document in it; what is not there is answered with the error
 * document, and 404. Ranges and conditions are those of Get Blob, whose handler does the rest. */
#include "blob/internal.h"

#define WEB S("$web")

/* The account's part of the Host header, or empty when the address is not one of a website. */
static slice host_account(const ops_request *r) {
    const slice suffix = r->server->website_suffix;
    slice host = ops_header(r, "Host");
    if (suffix.len == 0) return SLICE_NONE;
    host = slice_take(host, slice_find(host, 0, ':'));
    if (host.len < suffix.len + 2) return SLICE_NONE;
    const size_t at = host.len - suffix.len;
    if (host.p[at - 1] != '.' || !slice_eq_nocase(slice_skip(host, at), suffix)) return SLICE_NONE;
    return slice_take(host, at - 1);
}

static err path_of(const ops_request *r, slice *ret) {
    ENSURE(percent_get(r->arena, r->path_raw, false, ret) == OK && slice_utf8_valid(*ret) &&
               memchr(ret->p, 0, ret->len) == NULL,
           ERR_INVALID_URI, "the path is not percent-encoded UTF-8");
    *ret = slice_skip(*ret, 1); /* the slash that it begins with */
    return OK;
}

static slice joined(const ops_request *r, slice path, slice name) {
    return arena_fmt(r->arena, "%.*s%.*s", SLICE_ARG(path), SLICE_ARG(name));
}

/* The blob that a path means. Empty: none, there is no index document. */
static slice blob_of(const ops_request *r, const store_service *v, slice path) {
    if (path.len > 0 && path.p[path.len - 1] != '/') return path;
    if (path.len == 0 && v->website_default_path.len > 0) return v->website_default_path;
    return v->website_index.len > 0 ? joined(r, path, v->website_index) : SLICE_NONE;
}

static bool is_missing(err e) {
    return e == ERR_BLOB_NOT_FOUND || e == ERR_CONTAINER_NOT_FOUND || e == ERR_RESOURCE_NOT_FOUND ||
           e == ERR_INVALID_RESOURCE_NAME || e == ERR_OUT_OF_RANGE_INPUT;
}

static err serve_blob(ops_request *r, ops_response *w, slice name) {
    if (name.len == 0) return ERR_BLOB_NOT_FOUND;
    r->container = WEB;
    r->blob = name;
    return blob_get(r, w);
}

/* The error document as it is, whatever the request asked of the page that is not there. */
static err serve_error(ops_request *r, ops_response *w, slice name) {
    const size_t headers = r->header_count, params = r->param_count;
    r->header_count = r->param_count = 0;
    err e = serve_blob(r, w, name);
    r->header_count = headers;
    r->param_count = params;
    if (is_missing(e)) return err_fail(ERR_WEB_CONTENT_NOT_FOUND, "there is no such page");
    TRY(e);
    w->status = 404;
    return OK;
}

static err run(ops_request *r, ops_response *w) {
    store_service v;
    slice path;
    ENSURE(r->account != NULL, ERR_WEB_CONTENT_NOT_FOUND, "there is no such website");
    TRY(path_of(r, &path));
    TRY(store_service_get(r->server->store, ops_call(r), r->account, &v));
    ENSURE(v.website, ERR_WEB_CONTENT_NOT_FOUND, "there is no such website");
    err e = serve_blob(r, w, blob_of(r, &v, path));
    return is_missing(e) ? serve_error(r, w, v.website_error) : e;
}

static const ops_row row = {.name = "Get Website Content",
                            .method = OPS_GET,
                            .level = OPS_BLOB,
                            .need = {.resource_type = 'o', .anonymous = AUTH_PUBLIC_ALWAYS},
                            .action = "",
                            .audit_class = OPS_DISCLOSURE,
                            .conditions = OPS_IF_MATCH | OPS_IF_NONE_MATCH | OPS_IF_MODIFIED |
                                          OPS_IF_UNMODIFIED,
                            .flags = OPS_FAST,
                            .run = run};

static err route(ops_request *r, const ops_row **ret) {
    const slice account = host_account(r);
    if (account.len == 0) return ERR_NOT_FOUND; /* another protocol's */
    r->secondary = slice_ends(account, S("-secondary"));
    const size_t name_len = account.len - (r->secondary ? S("-secondary").len : 0);
    r->account_name = blob_lower(r->arena, slice_take(account, name_len));
    r->container = WEB;
    ENSURE(store_account_name_valid(r->account_name), ERR_WEB_CONTENT_NOT_FOUND,
           "there is no such website");
    ENSURE(r->method == OPS_GET || r->method == OPS_HEAD, ERR_UNSUPPORTED_HTTP_VERB,
           "a website is only read");
    *ret = &row;
    return OK;
}

/* For people: their browser shows it. */
static void fail(ops_request *r, ops_response *w, err e, const char *detail) {
    const err_info *info = err_get(e);
    (void)detail;
    w->status = info->status >= 300 ? info->status : 500;
    w->kind = OPS_BODY_NONE;
    ops_set(w, "x-ms-error-code", slice_str(info->azure));
    if (e == ERR_UNSUPPORTED_HTTP_VERB) ops_set(w, "Allow", S("GET,HEAD"));
    if (r->method == OPS_HEAD || w->status == 304) return;
    buf b;
    buf_init_arena(&b, r->arena, 4096);
    buf_str(&b, "<!DOCTYPE html><html><head><title>");
    buf_str(&b, info->azure);
    buf_str(&b, "</title></head><body><h1>");
    xml_put(&b, slice_str(info->message));
    buf_fmt(&b, "</h1><p><ul><li>HttpStatusCode: %d</li><li>ErrorCode: %s</li><li>RequestId : ",
            w->status, info->azure);
    buf_put(&b, r->id);
    buf_str(&b, "</li><li>TimeStamp : ");
    time_put_iso7(&b, clock_wall_us());
    buf_str(&b, "</li></ul></p></body></html>\n");
    ops_set(w, "Content-Type", S("text/html"));
    ops_body(w, buf_slice(&b));
}

static void decorate(ops_request *r, ops_response *w) {
    ops_set(w, "Server", S("Strongroom"));
    ops_set(w, "x-ms-request-id", r->id);
}

const ops_protocol blob_web_protocol = {.name = "web",
                                        .rows = &row,
                                        .row_count = 1,
                                        .route = route,
                                        .fail = fail,
                                        .decorate = decorate};
