/* What the http tests share: a small protocol, a server with it, and a client of raw sockets.
 *
 *   GET /mem?n=        a body in memory, on the loop           GET /worker?n=   the same, by a
 * worker GET /second?n=     a fast row that would block at first    GET /source?n=&how=  a streamed
 * body: how=now never blocks, block always, mix now and then, fail ends with an error half way,
 *     short ends early
 *   PUT /put           any body, streamed; answers its length and CRC
 *   PUT /small         a body of up to 64 KiB; likewise        PUT /none  a row that takes no body
 *   PUT /early         fails after 1,000 bytes of the body     PUT /lazy  succeeds without reading
 *   PUT /later?us=&how=  leaves a change under way that ends after us; how=fail: with an error, conflict: the
 *     first time with ERR_CONFLICT, block: only a worker leaves it
 *   GET /sleep?ms=     a worker that takes its time            PUT /refused  refused before its
 * body /begin…            as the path after it, where ops_begin would block on the loop GET /error
 * /empty /headers                                 what the names say */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "http/http.h"

#define GIB ((uint64_t)1 << 30)

static _Atomic int sources_open, handlers_running, cancelled_seen;

/* ---- content: byte i of every body ---- */

static inline uint8_t content_byte(uint64_t i) {
    return (uint8_t)((i * 0x9E3779B97F4A7C15u) >> 56);
}
static inline void content_fill(uint8_t *p, uint64_t from, size_t n) {
    for (size_t i = 0; i < n; i++) p[i] = content_byte(from + i);
}
static inline uint64_t content_crc(uint64_t n) {
    uint8_t piece[4096];
    uint64_t crc = 0;
    for (uint64_t at = 0; at < n; at += sizeof(piece)) {
        size_t k = n - at < sizeof(piece) ? (size_t)(n - at) : sizeof(piece);
        content_fill(piece, at, k);
        crc = crc64(crc, slice_of(piece, k));
    }
    return crc;
}

/* ---- the protocol ---- */

static uint64_t number(const ops_request *r, const char *name, uint64_t otherwise) {
    uint64_t n = otherwise;
    slice v = ops_param(r, name);
    return v.p != NULL && slice_u64(v, &n) == OK ? n : otherwise;
}

static err get_mem(ops_request *r, ops_response *w) {
    uint64_t n = number(r, "n", 5);
    ENSURE(n <= (8u << 20), ERR_OUT_OF_RANGE_INPUT, "too much");
    uint8_t *p = arena_try(r->arena, (size_t)n);
    MUST(p != NULL);
    content_fill(p, 0, (size_t)n);
    ops_body(w, slice_of(p, (size_t)n));
    return OK;
}
static err get_worker(ops_request *r, ops_response *w) {
    MUST(!r->nowait);
    return get_mem(r, w);
}
static err get_second(ops_request *r, ops_response *w) {
    if (r->nowait) return ERR_WOULD_BLOCK;
    return get_mem(r, w);
}

typedef struct test_source {
    uint64_t length;
    slice how;
    _Atomic int calls;
    _Atomic int inside; /* one thread at a time */
} test_source;

static err read_test_source(void *ctx, uint64_t offset, uint8_t *out, size_t cap, bool nowait,
                            size_t *ret_n) {
    test_source *s = ctx;
    MUST(atomic_fetch_add(&s->inside, 1) == 0);
    int call = atomic_fetch_add(&s->calls, 1);
    bool block = slice_eq(s->how, S("block")) || (slice_eq(s->how, S("mix")) && call == 7);
    err e = OK;
    size_t n = s->length - offset < cap ? (size_t)(s->length - offset) : cap;
    if (slice_eq(s->how, S("mix")) && n > 1000 && call % 3 == 0) n = 1000; /* short reads */
    if (nowait && block)
        e = ERR_WOULD_BLOCK;
    else if (slice_eq(s->how, S("fail")) && offset > s->length / 2)
        e = err_fail(ERR_CORRUPT, "made to fail");
    else if (slice_eq(s->how, S("short")) && offset > s->length / 2)
        n = 0;
    if (e == OK) {
        content_fill(out, offset, n);
        *ret_n = n;
    }
    atomic_fetch_sub(&s->inside, 1);
    return e;
}
static void free_test_source(void *ctx) {
    (void)ctx;
    atomic_fetch_sub(&sources_open, 1);
}
static err get_source(ops_request *r, ops_response *w) {
    test_source *s = arena_alloc(r->arena, sizeof(*s));
    s->length = w->length = number(r, "n", 5);
    s->how = ops_param(r, "how");
    w->kind = OPS_BODY_SOURCE;
    w->source_read = read_test_source;
    w->source_free = free_test_source;
    w->source_ctx = s;
    atomic_fetch_add(&sources_open, 1);
    return OK;
}

static err put_any(ops_request *r, ops_response *w) {
    uint8_t piece[100000];
    uint64_t crc = 0, total = 0;
    atomic_fetch_add(&handlers_running, 1);
    err e = OK;
    for (size_t n = 1; n > 0 && e == OK;) {
        e = r->body_read(r, piece, sizeof(piece) - total % 777, &n);
        if (e != OK) break;
        crc = crc64(crc, slice_of(piece, n));
        total += n;
        if (number(r, "us", 0) > 0) usleep((unsigned)number(r, "us", 0));
    }
    atomic_fetch_sub(&handlers_running, 1);
    if (e == ERR_CANCELLED) atomic_fetch_add(&cancelled_seen, 1);
    TRY(e);
    w->status = 201;
    ops_body(
        w, arena_fmt(r->arena, "%llu %016llx", (unsigned long long)total, (unsigned long long)crc));
    return OK;
}
static err put_early(ops_request *r, ops_response *w) {
    uint8_t piece[1000];
    size_t n;
    (void)w;
    TRY(r->body_read(r, piece, sizeof(piece), &n));
    return err_fail(ERR_INVALID_INPUT, "seen enough");
}
static err put_lazy(ops_request *r, ops_response *w) {
    w->status = 201;
    ops_body(w, arena_fmt(r->arena, "done"));
    return OK;
}
typedef struct test_change {
    store_later later;
    unsigned us;
    err e;
} test_change;

static void *end_change(void *arg) {
    test_change c = *(test_change *)arg;
    free(arg);
    if (c.us > 0) usleep(c.us);
    err_clear();
    c.later.done(c.later.ctx, c.e == OK ? OK : err_fail(c.e, "made to fail later"));
    return NULL;
}
static err put_later(ops_request *r, ops_response *w) {
    slice how = ops_param(r, "how");
    if (r->nowait && slice_eq(how, S("block"))) return ERR_WOULD_BLOCK;
    w->status = 201;
    ops_body(w, arena_fmt(r->arena, r->later != NULL ? "later" : "waited"));
    if (r->later == NULL) {
        usleep((unsigned)number(r, "us", 0));
        return OK;
    }
    test_change *c = malloc(sizeof(*c));
    MUST(c != NULL);
    *c = (test_change){*r->later, (unsigned)number(r, "us", 0), OK};
    if (slice_eq(how, S("fail"))) c->e = ERR_NO_SPACE;
    if (slice_eq(how, S("conflict"))) c->e = ERR_CONFLICT;
    r->later->taken = true;
    const bool first = c->us == 1; /* the change is to end before the handler does */
    if (c->us == 0) {
        (void)end_change(c);
    } else {
        pthread_t t;
        MUST(pthread_create(&t, NULL, end_change, c) == 0);
        pthread_detach(t);
        if (first) usleep(1000);
    }
    return OK;
}
static err get_sleep(ops_request *r, ops_response *w) {
    atomic_fetch_add(&handlers_running, 1);
    usleep((unsigned)number(r, "ms", 10) * 1000);
    atomic_fetch_sub(&handlers_running, 1);
    return get_mem(r, w);
}
static err get_error(ops_request *r, ops_response *w) {
    (void)r, (void)w;
    return err_fail(ERR_BLOB_NOT_FOUND, "there is none");
}
static err get_empty(ops_request *r, ops_response *w) {
    w->status = (int)number(r, "status", 204);
    return OK;
}
static err get_headers(ops_request *r, ops_response *w) {
    buf b;
    buf_init_arena(&b, r->arena, 1u << 20);
    for (size_t i = 0; i < r->header_count; i++) {
        buf_put(&b, r->headers[i].name);
        buf_byte(&b, '=');
        buf_put(&b, r->headers[i].value);
        buf_byte(&b, '\n');
    }
    buf_put(&b, S("target="));
    buf_put(&b, r->target);
    buf_put(&b, S("\npeer="));
    buf_put(&b, r->peer_ip);
    ops_set(w, "x-empty", S(""));
    ops_set(w, "x-evil", S("a\r\nSet-Cookie: b"));
    ops_set(w, "x-good", S("fine"));
    ops_body(w, buf_slice(&b));
    return OK;
}

#define ROW(row_name, row_method, row_flags, row_run)                                              \
    {                                                                                              \
        .name = row_name, .method = row_method, .flags = row_flags, .run = row_run,                \
        .body_max = GIB, .conditions = OPS_IF_ALL                                                  \
    }
static const ops_row test_rows[] = {
    ROW("/mem", OPS_GET, OPS_FAST, get_mem),
    ROW("/mem", OPS_HEAD, OPS_FAST, get_mem),
    ROW("/worker", OPS_GET, 0, get_worker),
    ROW("/second", OPS_GET, OPS_FAST, get_second),
    ROW("/source", OPS_GET, OPS_FAST, get_source),
    ROW("/source", OPS_HEAD, OPS_FAST, get_source),
    ROW("/put", OPS_PUT, OPS_BODY_IN | OPS_BODY_STREAMS, put_any),
    ROW("/small", OPS_PUT, OPS_BODY_IN, put_any),
    ROW("/none", OPS_PUT, 0, put_lazy),
    ROW("/early", OPS_PUT, OPS_BODY_IN | OPS_BODY_STREAMS, put_early),
    ROW("/lazy", OPS_PUT, OPS_BODY_IN | OPS_BODY_STREAMS, put_lazy),
    ROW("/sleep", OPS_GET, 0, get_sleep),
    ROW("/later", OPS_PUT, OPS_BODY_IN | OPS_FAST | OPS_LATER, put_later),
    ROW("/error", OPS_GET, OPS_FAST, get_error),
    ROW("/error", OPS_HEAD, OPS_FAST, get_error),
    ROW("/empty", OPS_GET, OPS_FAST, get_empty),
    ROW("/headers", OPS_GET, OPS_FAST, get_headers),
};

static err test_route(ops_request *r, const ops_row **ret) {
    slice path = r->path_raw;
    if (slice_starts(path, S("/begin"))) {
        if (r->nowait) return ERR_WOULD_BLOCK;
        path = slice_skip(path, 6);
    }
    if (slice_eq(path, S("/refused"))) return err_fail(ERR_AUTHENTICATION_FAILED, "not you");
    for (size_t i = 0; i < ARRAY_LEN(test_rows); i++) {
        if (!slice_eq(path, slice_str(test_rows[i].name)) || r->method != test_rows[i].method)
            continue;
        *ret = &test_rows[i];
        return OK;
    }
    return err_fail(ERR_RESOURCE_NOT_FOUND, "no such path");
}
static void test_fail(ops_request *r, ops_response *w, err e, const char *detail) {
    ops_set(w, "x-ms-error-code", slice_str(err_get(e)->azure));
    if (r->method != OPS_HEAD) ops_body(w, slice_str(detail));
}
static void test_decorate(ops_request *r, ops_response *w) {
    ops_set(w, "x-ms-request-id", r->id);
}
static const ops_protocol test_protocol = {.name = "test",
                                           .rows = test_rows,
                                           .row_count = ARRAY_LEN(test_rows),
                                           .route = test_route,
                                           .fail = test_fail,
                                           .decorate = test_decorate};
static const ops_protocol *const test_protocols[] = {&test_protocol, NULL};

/* ---- the server ---- */

typedef struct fixture {
    http_server *server;
    ops_server ops;
    uint16_t port;
} fixture;

/* On a free port of 22000-22079. */
static inline void fixture_start(fixture *f, http_listener on, http_options o) {
    f->ops = (ops_server){.protocols = test_protocols, .metrics = ops_metrics_new()};
    on.ops = &f->ops;
    if (on.unix_path == NULL && on.address == NULL) on.address = "127.0.0.1";
    o.listeners = &on;
    o.listener_count = 1;
    if (o.loops == 0) o.loops = 2;
    err e = ERR_IN_USE;
    for (uint16_t i = 0; i < 80 && e == ERR_IN_USE; i++) {
        on.port = f->port = (uint16_t)(22000 + (getpid() + i) % 80);
        e = http_start(&o, &f->server);
    }
    if (e != OK) fail_msg("cannot start: %s", err_detail());
}
static inline void fixture_stop(fixture *f) {
    http_stop(f->server, 5000);
    f->server = NULL;
    ops_metrics_free(f->ops.metrics);
    assert_int_equal(atomic_load(&sources_open), 0);
    assert_int_equal(atomic_load(&handlers_running), 0);
}

/* ---- the client ---- */

typedef struct client {
    int fd;
    buf in; /* received and not consumed yet */
    size_t at;
    /* TLS: in place of the socket */
    ssize_t (*send)(struct client *c, const void *p, size_t n);
    ssize_t (*recv)(struct client *c, void *p, size_t n);
    void *tls;
} client;

typedef struct reply {
    int status;
    slice head; /* valid until the next reply */
    uint64_t length, crc;
    bool closes;    /* Connection: close */
    char text[256]; /* the body's beginning */
} reply;

static ssize_t plain_send(client *c, const void *p, size_t n) {
    return send(c->fd, p, n, MSG_NOSIGNAL);
}
static ssize_t plain_recv(client *c, void *p, size_t n) {
    return recv(c->fd, p, n, 0);
}

static inline int connect_to(uint16_t port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    struct timeval patience = {.tv_sec = 30};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
    return fd;
}
static inline void client_open(client *c, uint16_t port) {
    *c = (client){.fd = connect_to(port), .send = plain_send, .recv = plain_recv};
    buf_init(&c->in, 64u << 20);
}
static inline void client_close(client *c) {
    if (c->fd >= 0) close(c->fd);
    buf_done(&c->in);
    c->fd = -1;
}
static inline bool client_try_send(client *c, const void *p, size_t n) {
    for (const uint8_t *q = p; n > 0;) {
        ssize_t k = c->send(c, q, n);
        if (k <= 0) return false;
        q += k;
        n -= (size_t)k;
    }
    return true;
}
static inline void client_send(client *c, const void *p, size_t n) {
    assert_true(client_try_send(c, p, n));
}
static inline void client_say(client *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
static inline void client_say(client *c, const char *fmt, ...) {
    char text[4096];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    assert_true(n > 0 && (size_t)n < sizeof(text));
    client_send(c, text, (size_t)n);
}
/* The body bytes [from, from+n) of the shared content. */
static inline bool client_try_content(client *c, uint64_t from, uint64_t n) {
    uint8_t piece[32768];
    for (uint64_t at = from; at < from + n;) {
        size_t k = from + n - at < sizeof(piece) ? (size_t)(from + n - at) : sizeof(piece);
        content_fill(piece, at, k);
        if (!client_try_send(c, piece, k)) return false;
        at += k;
    }
    return true;
}

/* More bytes, or false at the end of the connection. */
static inline bool client_more(client *c) {
    if (c->at > (1u << 20) && c->at == c->in.len) {
        buf_reset(&c->in);
        c->at = 0;
    }
    uint8_t *p = buf_reserve(&c->in, 65536);
    assert_non_null(p);
    ssize_t n = c->recv(c, p, 65536);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) fail_msg("no answer in 30 s");
    if (n <= 0) return false;
    buf_advance(&c->in, (size_t)n);
    return true;
}
static inline slice client_rest(const client *c) {
    return slice_skip(buf_slice(&c->in), c->at);
}
static inline slice reply_header(const reply *r, const char *name) {
    slice rest = r->head, line;
    while (slice_split(&rest, '\n', &line)) {
        size_t colon = slice_find(line, 0, ':');
        if (slice_eq_nocase(slice_take(line, colon), slice_str(name))) {
            slice v = slice_skip(line, colon + 1);
            if (v.len > 0 && v.p[v.len - 1] == '\r') v.len--;
            return slice_trim(v);
        }
    }
    return SLICE_NONE;
}

/* One answer. False when the connection ended before it was whole. */
static inline bool client_try_reply(client *c, reply *r, bool head_only) {
    *r = (reply){0};
    size_t end;
    for (;;) {
        slice rest = client_rest(c);
        end = slice_find_slice(rest, 0, S("\r\n\r\n"));
        if (rest.len > 0 && end < rest.len) break;
        if (!client_more(c)) return false;
    }
    static _Thread_local uint8_t head[16384];
    assert_true(end < sizeof(head));
    memcpy(head, client_rest(c).p, end);
    r->head = slice_of(head, end);
    c->at += end + 4;
    assert_true(slice_starts(r->head, S("HTTP/1.1 ")));
    uint64_t status, length = 0;
    assert_int_equal(slice_u64(slice_take(slice_skip(r->head, 9), 3), &status), OK);
    r->status = (int)status;
    if (r->status == 100) return client_try_reply(c, r, head_only);
    r->closes = slice_eq_nocase(reply_header(r, "Connection"), S("close"));
    slice cl = reply_header(r, "Content-Length");
    if (cl.p != NULL) assert_int_equal(slice_u64(cl, &length), OK);
    if (head_only || r->status == 204 || r->status == 304) {
        r->length = length;
        return true;
    }
    while (r->length < length) {
        slice rest = slice_take(client_rest(c), (size_t)(length - r->length));
        if (rest.len == 0) {
            if (!client_more(c)) return false;
            continue;
        }
        if (r->length < sizeof(r->text) - 1) {
            size_t n = sizeof(r->text) - 1 - (size_t)r->length;
            memcpy(r->text + r->length, rest.p, rest.len < n ? rest.len : n);
        }
        r->crc = crc64(r->crc, rest);
        r->length += rest.len;
        c->at += rest.len;
    }
    return true;
}
static inline reply client_reply(client *c) {
    reply r;
    assert_true(client_try_reply(c, &r, false));
    return r;
}
static inline reply client_get(client *c, const char *path) {
    client_say(c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
    return client_reply(c);
}
static inline void assert_content(const reply *r, uint64_t n) {
    assert_int_equal(r->length, n);
    assert_int_equal(r->crc, content_crc(n));
}
/* The answer of /put and /small: length and CRC of what was sent. */
static inline void assert_taken(const reply *r, uint64_t n) {
    char want[64];
    snprintf(want, sizeof(want), "%llu %016llx", (unsigned long long)n,
             (unsigned long long)content_crc(n));
    assert_int_equal(r->status, 201);
    assert_string_equal(r->text, want);
}
/* The server closed: nothing more comes. */
static inline void assert_closed(client *c) {
    while (client_more(c)) c->at = c->in.len;
}
