/* Requests and answers without much of a body: keep-alive, pipelining, framing, refusals, stopping.
 */
#include "http_test.h"

#include <poll.h>
#include <sys/un.h>

static fixture f;

static int start(void **state) {
    (void)state;
    fixture_start(&f, (http_listener){0}, (http_options){0});
    return 0;
}
static int stop(void **state) {
    (void)state;
    fixture_stop(&f);
    return 0;
}

static void test_keep_alive(void **state) {
    (void)state;
    client c;
    client_open(&c, f.port);
    static const char *const paths[] = {"/mem?n=5",         "/worker?n=4096",    "/second?n=10",
                                        "/begin/mem?n=100", "/begin/worker?n=1", "/mem?n=0",
                                        "/error",           "/nowhere",          "/mem?n=300000"};
    static const int status[] = {200, 200, 200, 200, 200, 200, 404, 404, 200};
    static const uint64_t length[] = {5, 4096, 10, 100, 1, 0, 0, 0, 300000};
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
            reply r = client_get(&c, paths[i]);
            assert_int_equal(r.status, status[i]);
            if (r.status == 200) assert_content(&r, length[i]);
            assert_false(r.closes);
            assert_int_equal(reply_header(&r, "x-ms-request-id").len, 36);
            assert_true(reply_header(&r, "Date").len > 0);
        }
    }
    client_close(&c);
}

static void test_pipelining(void **state) {
    (void)state;
    client c;
    client_open(&c, f.port);
    for (int i = 0; i < 20; i++)
        client_say(&c, "GET %s?n=%d HTTP/1.1\r\nHost: x\r\n\r\n",
                   i % 3 == 0   ? "/mem"
                   : i % 3 == 1 ? "/worker"
                                : "/begin/second",
                   i * 100);
    client_say(&c, "PUT /put HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n");
    uint8_t body[3];
    content_fill(body, 0, 3);
    client_send(&c, body, 3);
    client_say(&c, "GET /error HTTP/1.1\r\nHost: x\r\n\r\n");
    for (int i = 0; i < 20; i++) {
        reply r = client_reply(&c);
        assert_int_equal(r.status, 200);
        assert_content(&r, (uint64_t)i * 100);
    }
    reply r = client_reply(&c);
    assert_taken(&r, 3);
    assert_int_equal(client_reply(&c).status, 404);
    client_close(&c);
}

static void test_byte_by_byte(void **state) {
    (void)state;
    client c;
    client_open(&c, f.port);
    const char *text = "PUT /small HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n";
    for (const char *p = text; *p; p++) client_send(&c, p, 1);
    for (uint64_t i = 0; i < 4; i++) {
        uint8_t b = content_byte(i);
        client_send(&c, &b, 1);
    }
    reply r = client_reply(&c);
    assert_taken(&r, 4);
    client_close(&c);
}

static void test_head(void **state) {
    (void)state;
    client c;
    client_open(&c, f.port);
    static const char *const paths[] = {"/mem?n=4096", "/source?n=5000000000&how=block", "/error"};
    static const uint64_t length[] = {4096, 5000000000, 0};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        client_say(&c, "HEAD %s HTTP/1.1\r\nHost: x\r\n\r\n", paths[i]);
        reply r;
        assert_true(client_try_reply(&c, &r, true));
        assert_int_equal(r.status, i == 2 ? 404 : 200);
        assert_int_equal(r.length, length[i]);
        if (i == 2) assert_true(slice_eq(reply_header(&r, "x-ms-error-code"), S("BlobNotFound")));
    }
    reply r = client_get(&c, "/mem?n=7"); /* nothing followed the heads */
    assert_content(&r, 7);
    client_close(&c);
}

static void test_no_content(void **state) {
    (void)state;
    client c;
    client_open(&c, f.port);
    static const int status[] = {204, 304, 202, 412};
    for (size_t i = 0; i < ARRAY_LEN(status); i++) {
        char path[64];
        snprintf(path, sizeof(path), "/empty?status=%d", status[i]);
        reply r = client_get(&c, path);
        assert_int_equal(r.status, status[i]);
        assert_int_equal(r.length, 0);
    }
    client_close(&c);
}

static void test_headers_as_sent(void **state) {
    (void)state;
    client c;
    client_open(&c, f.port);
    client_say(&c,
               "GET /headers?a=%%2B&b=x+y&sig=%%2f HTTP/1.1\r\nHost: x\r\nX-One:   spaced \t\r\n"
               "x-ms-meta-Two:\r\nX-One: again\r\n\r\n");
    reply r = client_reply(&c);
    assert_string_equal(r.text, "Host=x\nX-One=spaced\nx-ms-meta-Two=\nX-One=again\n"
                                "target=/headers?a=%2B&b=x+y&sig=%2f\npeer=127.0.0.1");
    assert_int_equal(reply_header(&r, "x-empty").len, 0);
    assert_non_null(reply_header(&r, "x-empty").p);
    assert_null(reply_header(&r, "x-evil").p); /* a value that would end its line is not sent */
    assert_null(reply_header(&r, "Set-Cookie").p);
    assert_true(slice_eq(reply_header(&r, "x-good"), S("fine")));
    client_close(&c);
}

/* What must be refused, with the connection closed after it: framing that can be read in two ways.
 */
static void test_bad_framing(void **state) {
    (void)state;
    static const char *const heads[] = {
        "PUT /put HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        "PUT /put HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: "
        "chunked\r\n\r\n0\r\n\r\n",
        "PUT /put HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
        "PUT /put HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: "
        "chunked\r\n\r\n",
        "PUT /put HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        "PUT /put HTTP/1.1\r\nHost: x\r\nContent-Length: 3, 3\r\n\r\nabc",
        "GET /mem HTTP/1.1\r\nHost: x\r\nbad name: x\r\n\r\n",
        "GET /mem HTTP/1.1\r\nHost: x\r\nbad\x01name: x\r\n\r\n",
        "GET /mem HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n",
        "GET /mem HTTP/1.1\r\n\r\n", /* no Host */
        "GET /mem HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n",
        "GET /mem HTTP/1.1\r\nHost: x\r\nX: a\rContent-Length: 5\r\n\r\n",
        "GET /mem HTTP/1.1\r\nHost: x\r\nX: a\x7f\r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        client c;
        client_open(&c, f.port);
        client_send(&c, heads[i], strlen(heads[i]));
        reply r = client_reply(&c);
        assert_int_equal(r.status, 400);
        assert_true(r.closes);
        assert_closed(&c);
        client_close(&c);
    }
}

static void test_targets(void **state) {
    (void)state;
    static const struct {
        const char *target;
        int status;
    } cases[] = {
        {"http://example.org/mem?n=5", 200},
        {"/mem?n=%", 400},
        {"/mem?%zz=1", 400},
        {"/mem?n=5#x", 400},
        {"/mem?a=%00", 400},
        {"*", 404},
        {"/mem?&&n=5&", 200},
        {"/mem?n=5&x=%2B", 200},
        {"/mem\x7f", 400},
    };
    client c;
    client_open(&c, f.port);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        client_say(&c, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", cases[i].target);
        reply r = client_reply(&c);
        assert_int_equal(r.status, cases[i].status);
        assert_false(r.closes);
    }
    client_close(&c);
}

static void test_long_targets_and_many_headers(void **state) {
    (void)state;
    client c;
    client_open(&c, f.port);
    char *text = malloc(200000);
    assert_non_null(text);
    for (size_t n = OPS_TARGET_MAX; n <= OPS_TARGET_MAX + 1; n++) {
        size_t at = (size_t)snprintf(text, 200000, "GET /mem?n=5&x=");
        while (at < 4 + n) text[at++] = 'a';
        memcpy(text + at, " HTTP/1.1\r\nHost: x\r\n\r\n", 23);
        client_send(&c, text, at + 22);
        assert_int_equal(client_reply(&c).status, n == OPS_TARGET_MAX ? 200 : 400);
    }
    /* 24 KiB in large headers; 8 KiB of metadata in many small ones behind a long target; more headers
     * than there is room for. */
    for (int round = 0; round < 3; round++) {
        static const int count[] = {24, 248, OPS_HEADERS_MAX}, length[] = {1000, 28, 1};
        size_t at = (size_t)snprintf(text, 200000, "GET /headers?sv=2026-06-06&sig=");
        for (int i = 0; round == 1 && i < 1000; i++) text[at++] = 's';
        at += (size_t)snprintf(text + at, 64, " HTTP/1.1\r\nHost: x\r\n");
        for (int i = 0; i < count[round]; i++) {
            at += (size_t)snprintf(text + at, 64, "x-ms-meta-n%d: ", i);
            memset(text + at, 'v', (size_t)length[round]);
            at += (size_t)length[round];
            memcpy(text + at, "\r\n", 2);
            at += 2;
        }
        memcpy(text + at, "\r\n", 2);
        client_send(&c, text, at + 2);
        reply r = client_reply(&c);
        assert_int_equal(r.status, round < 2 ? 200 : 400);
        assert_int_equal(r.closes, round == 2);
        if (round < 2) assert_true(r.length > (size_t)(count[round] * length[round]));
    }
    client_close(&c);
    free(text);
}

static void test_methods(void **state) {
    (void)state;
    client c;
    client_open(&c, f.port);
    static const char *const methods[] = {"DELETE", "OPTIONS", "PATCH", "BREW"};
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        client_say(&c, "%s /mem HTTP/1.1\r\nHost: x\r\n\r\n", methods[i]);
        assert_int_equal(client_reply(&c).status, 404);
    }
    client_close(&c);
}

static void test_connection_close_and_http10(void **state) {
    (void)state;
    client c;
    client_open(&c, f.port);
    client_say(&c, "GET /worker?n=5 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    reply r = client_reply(&c);
    assert_content(&r, 5);
    assert_true(r.closes);
    assert_closed(&c);
    client_close(&c);
    client_open(&c, f.port);
    client_say(&c, "GET /mem?n=5 HTTP/1.0\r\nHost: x\r\n\r\n");
    r = client_reply(&c);
    assert_content(&r, 5);
    assert_closed(&c);
    client_close(&c);
}

static void test_metrics(void **state) {
    (void)state;
    client c;
    client_open(&c, f.port);
    for (int i = 0; i < 3; i++) (void)client_get(&c, "/worker?n=1000");
    (void)client_get(&c, "/mem?n=1"); /* the third is counted before the fourth begins */
    buf b;
    buf_init(&b, 1u << 20);
    ops_metrics_render(f.ops.metrics, &b);
    slice all = buf_slice(&b);
    slice want[] = {
        S("strongroom_requests_total{protocol=\"test\",operation=\"/worker\",status=\"200\"} "),
        S("strongroom_request_seconds_bucket{protocol=\"test\",operation=\"/"
          "worker\",le=\"+Inf\"} "),
        S("strongroom_request_bytes_out_total{protocol=\"test\",operation=\"/worker\"} ")};
    uint64_t least[] = {3, 3, 3000};
    for (size_t i = 0; i < ARRAY_LEN(want); i++) {
        size_t at = slice_find_slice(all, 0, want[i]);
        assert_true(at < all.len);
        slice rest = slice_skip(all, at + want[i].len);
        uint64_t n;
        assert_int_equal(slice_u64(slice_take(rest, slice_find(rest, 0, '\n')), &n), OK);
        assert_true(n >= least[i]);
    }
    http_stats st;
    http_get_stats(f.server, &st);
    assert_true(st.connections >= 1);
    buf_done(&b);
    client_close(&c);
}

static void test_port_in_use(void **state) {
    (void)state;
    http_listener on = {.address = "127.0.0.1", .port = f.port, .ops = &f.ops};
    http_options o = {.listeners = &on, .listener_count = 1};
    http_server *s = NULL;
    assert_int_equal(http_start(&o, &s), ERR_IN_USE);
    char want[128];
    snprintf(want, sizeof(want),
             "127.0.0.1:%u is in use by another program; stop it or choose another port", f.port);
    assert_string_equal(err_detail(), want);
    on.address = "not an address";
    assert_int_equal(http_start(&o, &s), ERR_CONFIG);
    assert_null(s);
}

static void test_unix_socket(void **state) {
    (void)state;
    char path[64];
    snprintf(path, sizeof(path), "/tmp/sr-http-test-%d.sock", getpid());
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    memcpy(to.sun_path, path, strlen(path) + 1);
    fixture u;
    for (int round = 0; round < 2; round++) {
        if (round == 1) { /* left over from a server that died */
            int dead = socket(AF_UNIX, SOCK_STREAM, 0);
            assert_int_equal(bind(dead, (struct sockaddr *)&to, sizeof(to)), 0);
            close(dead);
        }
        fixture_start(&u, (http_listener){.unix_path = path}, (http_options){0});
        http_listener again = {.unix_path = path, .ops = &u.ops};
        http_options o = {.listeners = &again, .listener_count = 1};
        http_server *s = NULL;
        assert_int_equal(http_start(&o, &s), ERR_IN_USE);
        client c = {.fd = socket(AF_UNIX, SOCK_STREAM, 0), .send = plain_send, .recv = plain_recv};
        buf_init(&c.in, 1u << 20);
        assert_int_equal(connect(c.fd, (struct sockaddr *)&to, sizeof(to)), 0);
        reply r = client_get(&c, "/worker?n=5");
        assert_content(&r, 5);
        client_close(&c);
        fixture_stop(&u);
        assert_int_not_equal(access(path, F_OK), 0);
    }
}

/* A head, or a small body, that comes a byte now and then never meets the idle timeout; it is ended
 * all the same. Connections that go on making requests are not. */
static void test_dribble(void **state) {
    (void)state;
    fixture g;
    fixture_start(&g, (http_listener){0}, (http_options){.idle_timeout_s = 1});
    client c[2], busy;
    for (size_t i = 0; i < ARRAY_LEN(c); i++) client_open(&c[i], g.port);
    client_open(&busy, g.port);
    client_say(&c[0], "GET /mem HTTP/1.1\r\nHost: ");
    client_say(&c[1], "PUT /small HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n");
    bool open[2] = {true, true};
    while (open[0] || open[1]) {
        for (size_t i = 0; i < ARRAY_LEN(c); i++) {
            if (!open[i]) continue;
            struct pollfd p = {.fd = c[i].fd, .events = POLLIN | POLLRDHUP};
            if (!client_try_send(&c[i], "x", 1) || poll(&p, 1, 0) != 0) open[i] = false;
        }
        assert_int_equal(client_get(&busy, "/mem?n=5").status, 200);
        usleep(100000);
    }
    for (size_t i = 0; i < ARRAY_LEN(c); i++) client_close(&c[i]);
    client_close(&busy);
    fixture_stop(&g);
}

/* Readers that do not read can hold so much and no more; others are told to come again. */
static void test_held_answers(void **state) {
    (void)state;
    fixture g;
    fixture_start(&g, (http_listener){0}, (http_options){.answers_max = 40u << 20});
    client c[3], other;
    for (size_t i = 0; i < ARRAY_LEN(c); i++) client_open(&c[i], g.port);
    client_open(&other, g.port);
    /* 8 MiB each, in the arena and of it. */
    reply r = {0};
    for (size_t i = 0; i < 2; i++) {
        client_say(&c[i], "GET %s?n=8388608 HTTP/1.1\r\nHost: x\r\n\r\n", i ? "/mem" : "/worker");
        while (!client_more(&c[i])) continue; /* it has begun */
    }
    assert_int_equal(client_get(&c[2], "/worker?n=8388608").status, 503);
    assert_int_equal(client_get(&c[2], "/mem?n=8388608").status, 503);
    assert_int_equal(client_get(&other, "/mem?n=60000").status, 200);
    for (size_t i = 0; i < 2; i++) {
        r = client_reply(&c[i]);
        assert_content(&r, 8388608);
    }
    do r = client_get(&c[2], "/second?n=8388608");
    while (r.status == 503); /* the last byte may arrive before the request is done with */
    assert_content(&r, 8388608);
    for (size_t i = 0; i < ARRAY_LEN(c); i++) client_close(&c[i]);
    client_close(&other);
    fixture_stop(&g);
}

/* One that reads a little now and then is not waited for without end. */
static void test_dribbling_reader(void **state) {
    (void)state;
    fixture g;
    fixture_start(&g, (http_listener){0}, (http_options){.idle_timeout_s = 1});
    client c;
    client_open(&c, g.port);
    int small = 4096;
    setsockopt(c.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
    client_say(&c, "GET /mem?n=8388608 HTTP/1.1\r\nHost: x\r\n\r\n");
    http_stats s = {.connections = 1};
    uint64_t got = 0;
    for (char piece[16384]; s.connections > 0; http_get_stats(g.server, &s)) {
        ssize_t n = recv(c.fd, piece, sizeof(piece), 0);
        assert_true(n > 0);
        got += (uint64_t)n;
        usleep(50000);
    }
    assert_true(got < 8388608);
    client_close(&c);
    fixture_stop(&g);
}

/* ---- changes that are not waited for ---- */

static void test_later(void **state) {
    (void)state;
    static const struct {
        const char *path;
        int status;
        const char *body;
    } cases[] = {
        {"/later?us=0", 201, "later"},
        {"/later?us=1", 201, "later"},
        {"/later?us=3000", 201, "later"},
        {"/later?us=2000&how=block", 201, "later"},
        {"/begin/later?us=2000", 201, "later"},
        {"/later?us=0&how=fail", 507, "made to fail later"},
        {"/later?us=2000&how=fail", 507, "made to fail later"},
        {"/later?us=0&how=conflict", 201, "waited"},
        {"/later?us=2000&how=conflict", 201, "waited"},
        {"/later?us=2000&how=block", 201, "later"},
    };
    client c;
    client_open(&c, f.port);
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
            client_say(&c, "PUT %s HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab",
                       cases[i].path);
            reply r = client_reply(&c);
            if (r.status != cases[i].status && !(cases[i].status == 507 && r.status >= 500))
                fail_msg("%s: %d", cases[i].path, r.status);
            assert_string_equal(r.text, cases[i].body);
            assert_false(r.closes);
        }
    }
    client_close(&c);
}

/* ---- stopping ---- */

typedef struct stopper {
    fixture *of;
    unsigned grace_ms;
} stopper;
static void *stop_in_background(void *arg) {
    stopper *s = arg;
    http_stop(s->of->server, s->grace_ms);
    return NULL;
}

/* Requests in flight are finished; new connections are refused. */
static void test_stop_finishes(void **state) {
    (void)state;
    fixture g;
    fixture_start(&g, (http_listener){0}, (http_options){0});
    client idle, busy[8];
    client_open(&idle, g.port);
    assert_int_equal(client_get(&idle, "/mem").status, 200);
    for (size_t i = 0; i < ARRAY_LEN(busy); i++) {
        client_open(&busy[i], g.port);
        client_say(&busy[i], "GET /sleep?ms=300&n=10 HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    while (atomic_load(&handlers_running) < (int)ARRAY_LEN(busy)) usleep(1000);
    stopper s = {&g, 10000};
    pthread_t t;
    assert_int_equal(pthread_create(&t, NULL, stop_in_background, &s), 0);
    for (size_t i = 0; i < ARRAY_LEN(busy); i++) {
        reply r = client_reply(&busy[i]);
        assert_content(&r, 10);
        assert_closed(&busy[i]);
        client_close(&busy[i]);
    }
    pthread_join(t, NULL);
    assert_closed(&idle);
    client_close(&idle);
    ops_metrics_free(g.ops.metrics);
}

/* Changes under way have no thread; stopping waits for them as well. */
static void test_stop_waits_for_changes(void **state) {
    (void)state;
    fixture g;
    fixture_start(&g, (http_listener){0}, (http_options){0});
    client c[8];
    for (size_t i = 0; i < ARRAY_LEN(c); i++) {
        client_open(&c[i], g.port);
        client_say(&c[i], "PUT /later?us=300000%s HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
                   i % 2 == 0 ? "" : "&how=block");
    }
    usleep(100000);
    http_stop(g.server, 1); /* no patience: the changes are waited for nevertheless */
    for (size_t i = 0; i < ARRAY_LEN(c); i++) client_close(&c[i]);
    ops_metrics_free(g.ops.metrics);
}

/* Uploads and downloads whose clients do nothing do not hold the server up. */
static void test_stop_gives_up(void **state) {
    (void)state;
    fixture g;
    fixture_start(&g, (http_listener){0}, (http_options){0});
    client c[6];
    int before = atomic_load(&cancelled_seen);
    for (size_t i = 0; i < ARRAY_LEN(c); i++) {
        client_open(&c[i], g.port);
        if (i % 2 == 0) {
            client_say(&c[i], "PUT /put HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n\r\n");
            assert_true(client_try_content(&c[i], 0, 1000000));
        } else {
            client_say(&c[i], "GET /source?n=100000000&how=%s HTTP/1.1\r\nHost: x\r\n\r\n",
                       i == 1 ? "now" : "block");
        }
    }
    while (atomic_load(&handlers_running) < 3 || atomic_load(&sources_open) < 3) usleep(1000);
    http_stop(g.server, 50);
    assert_int_equal(atomic_load(&cancelled_seen) - before, 3);
    assert_int_equal(atomic_load(&sources_open), 0);
    assert_int_equal(atomic_load(&handlers_running), 0);
    for (size_t i = 0; i < ARRAY_LEN(c); i++) client_close(&c[i]);
    ops_metrics_free(g.ops.metrics);
}

/* One worker, a queue that fills: 503, rendered by the protocol, and the server goes on. */
static void test_many_waiting(void **state) {
    (void)state;
    fixture g;
    fixture_start(&g, (http_listener){0}, (http_options){.workers = 1});
    enum { MANY = 64 };
    client c[MANY];
    for (size_t i = 0; i < MANY; i++) {
        client_open(&c[i], g.port);
        client_say(&c[i], "GET /sleep?ms=2&n=10 HTTP/1.1\r\nHost: x\r\n\r\n");
    }
    for (size_t i = 0; i < MANY; i++) {
        reply r = client_reply(&c[i]);
        assert_content(&r, 10);
        client_close(&c[i]);
    }
    http_stats st;
    http_get_stats(g.server, &st);
    assert_int_equal(st.queued, 0);
    fixture_stop(&g);
}

int main(void) {
    log_setup(open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_DEBUG, false);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keep_alive),
        cmocka_unit_test(test_pipelining),
        cmocka_unit_test(test_byte_by_byte),
        cmocka_unit_test(test_head),
        cmocka_unit_test(test_no_content),
        cmocka_unit_test(test_headers_as_sent),
        cmocka_unit_test(test_bad_framing),
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_long_targets_and_many_headers),
        cmocka_unit_test(test_methods),
        cmocka_unit_test(test_connection_close_and_http10),
        cmocka_unit_test(test_metrics),
        cmocka_unit_test(test_port_in_use),
        cmocka_unit_test(test_unix_socket),
        cmocka_unit_test(test_dribble),
        cmocka_unit_test(test_held_answers),
        cmocka_unit_test(test_dribbling_reader),
        cmocka_unit_test(test_later),
        cmocka_unit_test(test_stop_finishes),
        cmocka_unit_test(test_stop_waits_for_changes),
        cmocka_unit_test(test_stop_gives_up),
        cmocka_unit_test(test_many_waiting),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
