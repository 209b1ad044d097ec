/* From an ops_response to bytes on the socket. */
#include <errno.h>
#include <sys/socket.h>

#include "base/base.h"
#include "http/internal.h"

#define EARLY_MAX ((size_t)64 << 10)

/* A value that could end its line, or that a proxy could read so, is not sent. */
static bool is_field_value(slice v) {
    for (size_t i = 0; i < v.len; i++)
        if ((v.p[i] < ' ' && v.p[i] != '\t') || v.p[i] == 0x7F) return false;
    return true;
}

/* libmicrohttpd wants NUL-terminated strings, and no empty ones: an empty value (metadata may have
 * one) goes out as a space, which recipients trim (RFC 9110 5.5). */
static void add_header(struct MHD_Response *m, arena *a, const pair *p) {
    char small[256];
    if (!is_field_value(p->value)) return;
    bool fits = p->name.len + p->value.len + 3 <= sizeof(small);
    char *name = fits ? small : arena_alloc(a, p->name.len + p->value.len + 3);
    char *value = name + p->name.len + 1;
    memcpy(name, p->name.p, p->name.len);
    name[p->name.len] = '\0';
    if (p->value.len > 0) memcpy(value, p->value.p, p->value.len);
    value[p->value.len] = '\0';
    (void)MHD_add_response_header(m, name, p->value.len > 0 ? value : " ");
}

static bool has_body(const http_request *h) {
    int s = h->res.status;
    return h->req.method != OPS_HEAD && s >= 200 && s != 204 && s != 304;
}

/* Only answers to reads are that large, so that no change is made and then answered 503. */
err http_hold(http_request *h) {
    http_server *s = h->on->server;
    if (h->res.kind != OPS_BODY_BYTES || h->res.body.len <= OPS_BODY_SMALL_MAX) return OK;
    uint64_t n = h->res.body.len + arena_used(h->req.arena);
    if (atomic_fetch_add(&s->held, n) + n > s->held_max) {
        atomic_fetch_sub(&s->held, n);
        return err_fail(ERR_SERVER_BUSY, "too many large answers wait for their readers");
    }
    h->held = n;
    return OK;
}

static ssize_t no_body(void *cls, uint64_t pos, char *out, size_t max) {
    (void)cls, (void)pos, (void)out, (void)max;
    return MHD_CONTENT_READER_END_WITH_ERROR;
}

/* The body is the request's memory, which lives until libmicrohttpd is done with the request:
 * nothing is copied. */
static struct MHD_Response *from_memory(slice body) {
    static char empty[1];
    void *p = empty;
    if (body.len > 0) memcpy(&p, &body.p, sizeof(p)); /* it wants it not const, and only reads */
    return MHD_create_response_from_buffer(body.len, p, MHD_RESPMEM_PERSISTENT);
}

/* One part goes out together with the headers in one call, several in a call of their own. */
static struct MHD_Response *from_parts(http_request *h) {
    const ops_response *w = &h->res;
    if (w->part_count == 1) return from_memory(w->parts[0]);
    struct MHD_IoVec *v = arena_alloc(h->req.arena, w->part_count * sizeof(*v));
    for (size_t i = 0; i < w->part_count; i++)
        v[i] = (struct MHD_IoVec){w->parts[i].p, w->parts[i].len};
    return MHD_create_response_from_iovec(v, (unsigned)w->part_count, NULL, NULL);
}

static struct MHD_Response *make(http_request *h) {
    ops_response *w = &h->res;
    uint64_t length = w->kind == OPS_BODY_BYTES ? w->body.len : w->length;
    if (w->status == 204 || w->status == 304 || length == 0) return from_memory(SLICE_NONE);
    if (!has_body(h)) return MHD_create_response_from_callback(length, 1, no_body, NULL, NULL);
    if (w->kind == OPS_BODY_BYTES) return from_memory(w->body);
    if (w->kind == OPS_BODY_PARTS) return from_parts(h);
    if (w->kind == OPS_BODY_SOURCE)
        return MHD_create_response_from_callback(length, HTTP_BLOCK, http_feed_read, h, NULL);
    return from_memory(SLICE_NONE);
}

enum MHD_Result http_answer(http_request *h) {
    ops_response *w = &h->res;
    ops_decorate(&h->req, w);
    struct MHD_Response *m = make(h);
    if (m == NULL) return MHD_NO;
    for (size_t i = 0; i < w->header_count; i++) add_header(m, h->req.arena, &w->headers[i]);
    if (w->close || atomic_load_explicit(&h->on->server->stopping, memory_order_relaxed))
        (void)MHD_add_response_header(m, "Connection", "close");
    h->phase = HTTP_SENDING;
    if (w->kind == OPS_BODY_BYTES && has_body(h)) h->req.bytes_out = w->body.len;
    if (w->kind == OPS_BODY_PARTS && has_body(h)) h->req.bytes_out = w->length;
    enum MHD_Result done = MHD_queue_response(h->conn, (unsigned)w->status, m);
    MHD_destroy_response(m);
    return done;
}

/* ---- before the body's end ---- */

static void put_header(buf *b, const pair *p) {
    if (!is_field_value(p->value)) return;
    buf_put(b, p->name);
    buf_put(b, S(": "));
    buf_put(b, p->value);
    buf_put(b, S("\r\n"));
}

static bool send_all(http_request *h, slice text) {
    if (h->on->tls != NULL) return http_tls_send(h->conn, text);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(h->conn, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info == NULL) return false;
    while (text.len > 0) {
        ssize_t n = send(info->connect_fd, text.p, text.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        text = slice_skip(text, (size_t)n);
    }
    return true;
}

/* libmicrohttpd answers only where a body begins or ends. A refusal in the middle of a large one is
 * written here: nothing else is on its way out then, and what is small fits the socket's buffer. */
bool http_answer_early(http_request *h) {
    ops_response *w = &h->res;
    ops_decorate(&h->req, w);
    slice body = w->kind == OPS_BODY_BYTES ? w->body : SLICE_NONE;
    buf b;
    buf_init_arena(&b, h->req.arena, EARLY_MAX);
    buf_fmt(&b, "HTTP/1.1 %d %s\r\nDate: ", w->status,
            MHD_get_reason_phrase_for((unsigned)w->status));
    time_put_http(&b, clock_wall_us());
    buf_fmt(&b, "\r\nConnection: close\r\nContent-Length: %zu\r\n", body.len);
    for (size_t i = 0; i < w->header_count; i++) put_header(&b, &w->headers[i]);
    buf_put(&b, S("\r\n"));
    if (has_body(h)) buf_put(&b, body);
    h->answered = true;
    h->phase = HTTP_LINGER;
    h->linger_until_us = clock_mono_us() + HTTP_LINGER_US;
    h->req.bytes_out = body.len;
    return buf_check(&b) == OK && send_all(h, buf_slice(&b));
}
