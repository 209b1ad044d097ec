/* Request objects: taken when a request line is there, given back when libmicrohttpd and the last
 * worker are done with it, and used again. */
#include "base/base.h"
#include "http/internal.h"

/* Everything but the three large arrays, whose counts say how much of them holds. */
static void reset_ops(http_request *h) {
    ops_request *r = &h->req;
    ops_response *w = &h->res;
    memset(r, 0, offsetof(ops_request, headers));
    size_t a = offsetof(ops_request, header_count), b = offsetof(ops_request, params);
    memset((uint8_t *)r + a, 0, b - a);
    a = offsetof(ops_request, param_count);
    memset((uint8_t *)r + a, 0, sizeof(*r) - a);
    w->status = 0;
    a = offsetof(ops_response, header_count);
    memset((uint8_t *)w + a, 0, sizeof(*w) - a);
}

static http_request *request_new(void) {
    http_request *h = calloc(1, sizeof(*h));
    MUST(h != NULL);
    h->req.arena = arena_new(HTTP_ARENA_FIRST, HTTP_ARENA_MAX);
    pthread_condattr_t attr;
    MUST(pthread_condattr_init(&attr) == 0);
    MUST(pthread_condattr_setclock(&attr, CLOCK_MONOTONIC) == 0);
    MUST(pthread_mutex_init(&h->lock, NULL) == 0);
    MUST(pthread_cond_init(&h->readable, &attr) == 0);
    pthread_condattr_destroy(&attr);
    return h;
}

static void request_free(http_request *h) {
    arena_free(h->req.arena);
    pthread_cond_destroy(&h->readable);
    pthread_mutex_destroy(&h->lock);
    free(h);
}

http_request *http_request_get(http_on *on, struct MHD_Connection *conn, slice target) {
    http_server *s = on->server;
    pthread_mutex_lock(&s->free_lock);
    http_request *h = s->free;
    if (h != NULL) {
        s->free = h->next_free;
        s->free_count--;
    }
    pthread_mutex_unlock(&s->free_lock);
    if (h == NULL) h = request_new();
    arena *a = h->req.arena;
    reset_ops(h);
    h->req.arena = a;
    h->req.server = on->ops;
    h->req.adapter = h;
    h->req.body_read = http_pipe_read;
    h->req.body_take = http_pipe_take;
    h->req.tls = on->tls != NULL;
    h->req.target = arena_dup(a, target);
    h->on = on;
    h->loop = http_loop_here();
    h->conn = conn;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    MUST(info != NULL && info->socket_context != NULL);
    h->peer = info->socket_context;
    h->phase = HTTP_HEAD;
    atomic_store_explicit(&h->refs, 1, memory_order_relaxed);
    h->begun = h->head_done = h->expects = h->discard = h->answered = h->aborted = false;
    h->recorded = h->early = false;
    h->gathered = NULL;
    h->gathered_cap = h->body_at = 0;
    h->skipped = 0;
    h->held = 0;
    h->later_detail = NULL;
    h->pipe = (http_pipe){0};
    h->feed = (http_feed){0};
    return h;
}

static void recycle(http_request *h) {
    http_server *s = h->on->server;
    arena_reset(h->req.arena);
    pthread_mutex_lock(&s->free_lock);
    bool keep = s->free_count < HTTP_FREE_MAX;
    if (keep) {
        h->next_free = s->free;
        s->free = h;
        s->free_count++;
    }
    pthread_mutex_unlock(&s->free_lock);
    if (!keep) request_free(h);
}

void http_request_unref(http_request *h) {
    if (atomic_fetch_sub(&h->refs, 1) != 1) return;
    http_server *s = h->on->server;
    http_buffer_put(s->buffers, h->pipe.p, h->pipe.cap);
    http_feed_done(h);
    if (h->begun) {
        ops_finish(&h->req, &h->res, h->aborted);
        atomic_fetch_sub(&s->active, 1);
    }
    if (h->held > 0) atomic_fetch_sub(&s->held, h->held);
    free(h->later_detail);
    recycle(h);
}

void http_request_drain_free(http_server *s) {
    while (s->free != NULL) {
        http_request *h = s->free;
        s->free = h->next_free;
        request_free(h);
    }
    s->free_count = 0;
}

/* ---- the head ---- */

static ops_method method_of(slice m) {
    static const struct {
        slice text;
        ops_method method;
    } known[] = {
        {{(const uint8_t *)"GET", 3}, OPS_GET},         {{(const uint8_t *)"HEAD", 4}, OPS_HEAD},
        {{(const uint8_t *)"PUT", 3}, OPS_PUT},         {{(const uint8_t *)"POST", 4}, OPS_POST},
        {{(const uint8_t *)"DELETE", 6}, OPS_DELETE},   {{(const uint8_t *)"PATCH", 5}, OPS_PATCH},
        {{(const uint8_t *)"OPTIONS", 7}, OPS_OPTIONS},
    };
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (slice_eq(m, known[i].text)) return known[i].method;
    return OPS_OTHER;
}

typedef struct head_reader {
    http_request *h;
    size_t bytes; /* of all names and values */
    bool too_many;
} head_reader;

static enum MHD_Result take_header(void *cls, enum MHD_ValueKind kind, const char *name,
                                   size_t name_len, const char *value, size_t value_len) {
    (void)kind;
    head_reader *k = cls;
    ops_request *r = &k->h->req;
    if (r->header_count == OPS_HEADERS_MAX) {
        k->too_many = true;
        return MHD_NO;
    }
    pair *p = &r->headers[r->header_count++];
    p->name = slice_of(name, name_len);
    p->value = slice_trim(slice_of(value, value == NULL ? 0 : value_len));
    k->bytes += p->name.len + p->value.len;
    return MHD_YES;
}

/* libmicrohttpd's memory goes with the connection, which a worker may outlive. */
static void copy_headers(ops_request *r, size_t bytes) {
    uint8_t *to = arena_try(r->arena, bytes + 1);
    MUST(to != NULL);
    for (size_t i = 0; i < r->header_count; i++) {
        slice *parts[] = {&r->headers[i].name, &r->headers[i].value};
        for (size_t k = 0; k < 2; k++) {
            size_t n = parts[k]->len;
            if (n > 0) memcpy(to, parts[k]->p, n);
            *parts[k] = slice_of(to, n);
            to += n;
        }
    }
}

/* RFC 9110 5.6.2: what a field name is made of. */
static bool is_token(slice s) {
    static const char other[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.p[i];
        bool alnum = (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z');
        if (!alnum && (c == 0 || strchr(other, c) == NULL)) return false;
    }
    return s.len > 0;
}

/* RFC 9110 5.5: a value with a NUL, CR or LF is refused. libmicrohttpd leaves a CR alone where it is;
 * a proxy may take it for the end of the line. */
static bool is_value(slice s) {
    for (size_t i = 0; i < s.len; i++)
        if ((s.p[i] < ' ' && s.p[i] != '\t') || s.p[i] == 0x7F) return false;
    return true;
}

/* A field that says how long the message is may stand there once, and in one way (RFC 9112 6.3):
 * two readings of one message are how requests are smuggled past a proxy. */
static err read_framing(ops_request *r, slice length, slice coding) {
    if (coding.p != NULL) {
        ENSURE(length.p == NULL, ERR_INVALID_HEADER_VALUE,
               "Content-Length and Transfer-Encoding are both there");
        ENSURE(slice_eq_nocase(coding, S("chunked")), ERR_INVALID_HEADER_VALUE,
               "Transfer-Encoding is not chunked");
        r->content_length = OPS_LEN_UNKNOWN;
        return OK;
    }
    if (length.p == NULL) return OK;
    r->has_length = true;
    if (slice_u64(length, &r->content_length) != OK || r->content_length == OPS_LEN_UNKNOWN)
        return err_fail(ERR_INVALID_HEADER_VALUE, "Content-Length is not a number");
    return OK;
}

static err take_once(slice *into, slice value, const char *name) {
    ENSURE(into->p == NULL, ERR_INVALID_HEADER_VALUE, "%s is there twice", name);
    *into = value;
    return OK;
}

static err check_headers(http_request *h) {
    ops_request *r = &h->req;
    slice length = SLICE_NONE, coding = SLICE_NONE, host = SLICE_NONE;
    for (size_t i = 0; i < r->header_count; i++) {
        slice name = r->headers[i].name, value = r->headers[i].value;
        ENSURE(is_token(name), ERR_INVALID_HEADER_VALUE, "a header's name is malformed");
        ENSURE(is_value(value), ERR_INVALID_HEADER_VALUE, "%.*s holds a control character",
               SLICE_ARG(slice_take(name, 64)));
        if (slice_eq_nocase(name, S("Content-Length")))
            TRY(take_once(&length, value, "Content-Length"));
        else if (slice_eq_nocase(name, S("Transfer-Encoding")))
            TRY(take_once(&coding, value, "Transfer-Encoding"));
        else if (slice_eq_nocase(name, S("Host"))) /* names the account: RFC 9112 3.2 */
            TRY(take_once(&host, value, "Host"));
        else if (slice_eq_nocase(name, S("Expect")))
            h->expects = slice_eq_nocase(value, S("100-continue"));
    }
    return read_framing(r, length, coding);
}

err http_request_read_head(http_request *h, const char *method) {
    ops_request *r = &h->req;
    r->method_text = arena_dup(r->arena, slice_take(slice_str(method), 32));
    r->method = method_of(r->method_text);
    r->peer_ip = arena_dup(r->arena, slice_of(h->peer->text, h->peer->len));
    head_reader k = {.h = h};
    MHD_get_connection_values_n(h->conn, MHD_HEADER_KIND, take_header, &k);
    ENSURE(!k.too_many, ERR_INVALID_HEADER_VALUE, "more than %d headers", OPS_HEADERS_MAX);
    copy_headers(r, k.bytes);
    return check_headers(h);
}
