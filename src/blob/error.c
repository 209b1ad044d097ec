/* Errors as the Blob service answers them, and what every answer carries. "Status and error codes",
 * "Common REST API error codes". */
#include "blob/internal.h"

/* Inside this server, a failure may know of files and rows: the log has its detail, the wire the
 * request's id. */
static bool is_internal(int status, err e) {
    return status >= 500 && e != ERR_NOT_IMPLEMENTED && e != ERR_SERVER_BUSY &&
           e != ERR_COPY_SOURCE_UNREACHABLE;
}

static void put_message(buf *b, const ops_request *r, const err_info *info, slice detail) {
    xml_put(b, slice_str(info->message));
    if (detail.len > 0) {
        buf_byte(b, ' ');
        xml_put(b, detail);
    }
    buf_put(b, S("\nRequestId:"));
    buf_put(b, r->id);
    buf_put(b, S("\nTime:"));
    time_put_iso7(b, clock_wall_us());
}

/* Azure tells why a signature was refused in an element of its own; SDKs show it. */
static slice render(ops_request *r, err e, slice code, slice detail) {
    const err_info *info = err_get(e);
    bool apart = e == ERR_AUTHENTICATION_FAILED && detail.len > 0;
    buf b;
    buf_init_arena(&b, r->arena, 32 << 10);
    buf_put(&b, XML_HEAD);
    buf_put(&b, S("<Error><Code>"));
    buf_put(&b, code);
    buf_put(&b, S("</Code><Message>"));
    put_message(&b, r, info, apart ? SLICE_NONE : detail);
    buf_put(&b, S("</Message>"));
    if (apart) xml_element(&b, "AuthenticationErrorDetail", detail);
    buf_put(&b, S("</Error>"));
    return buf_slice(&b);
}

void blob_fail(ops_request *r, ops_response *w, err e, const char *detail) {
    const err_info *info = err_get(e);
    int status = info->status >= 300 ? info->status : 500;
    slice code = info->azure[0] != '\0' ? slice_str(info->azure) : S("InternalError");
    w->status = status;
    w->kind = OPS_BODY_NONE;
    ops_set(w, "x-ms-error-code", code);
    if (status == 401) ops_set(w, "WWW-Authenticate", S("SharedKey"));
    if (e == ERR_UNSUPPORTED_HTTP_VERB) ops_set(w, "Allow", S("GET,HEAD,PUT,POST,DELETE,OPTIONS"));
    if (r->method == OPS_HEAD || status == 304) return;
    slice text = is_internal(status, e) ? SLICE_NONE : slice_str(detail);
    ops_set(w, "Content-Type", S("application/xml"));
    ops_body(w, render(r, e, code, text));
}

#define CLIENT_ID_MAX 1024

static bool echoes(slice id) {
    if (id.len == 0 || id.len > CLIENT_ID_MAX) return false;
    for (size_t i = 0; i < id.len; i++)
        if (id.p[i] < ' ' || id.p[i] >= 0x7F) return false;
    return true;
}

void blob_decorate(ops_request *r, ops_response *w) {
    ops_set(w, "Server", S("Strongroom"));
    ops_set(w, "x-ms-request-id", r->id);
    ops_set(w, "x-ms-version", r->version);
    slice client = ops_header(r, "x-ms-client-request-id");
    if (echoes(client)) ops_set(w, "x-ms-client-request-id", client);
    blob_cors_decorate(r, w);
}
