/* Bodies in both directions: sizes around every limit, chunked, Expect, early answers, slow and
 * vanishing clients, many at once. */
#include "http_test.h"

static fixture f;

static int start(void **state) {
    (void)state;
    fixture_start(&f, (http_listener){0}, (http_options){.workers = 16, .upload_workers = 8});
    return 0;
}
static int stop(void **state) {
    (void)state;
    fixture_stop(&f);
    return 0;
}

static void put_head(client *c, const char *path, uint64_t n, const char *more) {
    client_say(c, "PUT %s HTTP/1.1\r\nHost: x\r\nContent-Length: %llu\r\n%s\r\n", path,
               (unsigned long long)n, more);
}

static void test_upload_sizes(void **state) {
    (void)state;
    static const uint64_t sizes[] = {0,      1,      4095,   65535,  65536,   65537,   131071,
                                     131072, 262143, 262144, 262145, 1000000, 7654321, 40000000};
    static const char *const paths[] = {"/put", "/begin/put"};
    client c;
    client_open(&c, f.port);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        for (size_t k = 0; k < ARRAY_LEN(paths); k++) {
            put_head(&c, paths[k], sizes[i], "");
            assert_true(client_try_content(&c, 0, sizes[i]));
            reply r = client_reply(&c);
            assert_taken(&r, sizes[i]);
            assert_false(r.closes);
        }
    }
    client_close(&c);
}

static void test_small_row(void **state) {
    (void)state;
    client c;
    client_open(&c, f.port);
    for (uint64_t n = 0; n <= 65536; n += 16384) {
        put_head(&c, "/small", n, "");
        assert_true(client_try_content(&c, 0, n));
        reply r = client_reply(&c);
        assert_taken(&r, n);
    }
    put_head(&c, "/small", 65537, ""); /* refused; little enough to read past, so it lives on */
    assert_true(client_try_content(&c, 0, 65537));
    reply r = client_reply(&c);
    assert_int_equal(r.status, 413);
    assert_false(r.closes);
    client_say(&c, "PUT /small HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_int_equal(client_reply(&c).status, 411);
    client_close(&c);
}

static void test_row_without_body(void **state) {
    (void)state;
    client c;
    client_open(&c, f.port);
    for (int round = 0; round < 2; round++) {
        put_head(&c, round == 0 ? "/none" : "/begin/none", 65536, "");
        assert_true(client_try_content(&c, 0, 65536));
        assert_int_equal(client_reply(&c).status, 201); /* ignored */
        put_head(&c, "/none", 65537, "");
        assert_true(client_try_content(&c, 0, 65537));
        assert_int_equal(client_reply(&c).status, 413);
        client_say(&c, "PUT /none HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_int_equal(client_reply(&c).status, 201);
    }
    client_close(&c);
}

/* Pieces of odd sizes, so that chunk borders fall everywhere. */
static void send_chunked(client *c, const char *path, uint64_t n, size_t piece) {
    static uint8_t data[70000];
    MUST(piece <= sizeof(data));
    client_say(c, "PUT %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", path);
    for (uint64_t at = 0; at < n; at += piece) {
        size_t k = n - at < piece ? (size_t)(n - at) : piece;
        content_fill(data, at, k);
        client_say(c, "%zx\r\n", k);
        client_send(c, data, k);
        client_say(c, "\r\n");
    }
    client_say(c, "0\r\n\r\n");
}

static void test_chunked(void **state) {
    (void)state;
    client c;
    client_open(&c, f.port);
    static const struct {
        uint64_t n;
        size_t piece;
    } cases[] = {{0, 1},         {1, 1},          {100, 1},       {10000, 333},
                 {65536, 65536}, {300001, 70000}, {5000000, 4099}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        send_chunked(&c, "/put", cases[i].n, cases[i].piece);
        reply r = client_reply(&c);
        assert_taken(&r, cases[i].n);
        assert_false(r.closes);
    }
    send_chunked(&c, "/small", 65536, 1000);
    reply r = client_reply(&c);
    assert_taken(&r, 65536);
    client_say(&c, "PUT /put HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n");
    assert_int_equal(client_reply(&c).status, 400);
    client_close(&c);
    client_open(&c, f.port);
    send_chunked(&c, "/small", 65537, 5000); /* too long: found out on the way */
    assert_int_equal(client_reply(&c).status, 413);
    assert_closed(&c);
    client_close(&c);
}

static void test_expect(void **state) {
    (void)state;
    client c;
    client_open(&c, f.port);
    static const uint64_t sizes[] = {10, 65536, 3000000};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        put_head(&c, i == 1 ? "/begin/put" : "/put", sizes[i], "Expect: 100-continue\r\n");
        while (client_rest(&c).len < 25) assert_true(client_more(&c));
        assert_true(slice_starts(client_rest(&c), S("HTTP/1.1 100 Continue\r\n\r\n")));
        c.at += 25;
        assert_true(client_try_content(&c, 0, sizes[i]));
        reply r = client_reply(&c);
        assert_taken(&r, sizes[i]);
    }
    client_close(&c);
    /* Refused before a byte of the body was sent, also when the refusal came from a worker. */
    static const char *const paths[] = {"/refused", "/begin/refused"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        client_open(&c, f.port);
        put_head(&c, paths[i], GIB, "Expect: 100-continue\r\n");
        while (client_rest(&c).len < 12) assert_true(client_more(&c));
        assert_true(slice_starts(client_rest(&c), S("HTTP/1.1 403")));
        reply r = client_reply(&c);
        assert_true(r.closes);
        assert_closed(&c);
        client_close(&c);
    }
}

/* A client that does not ask first: it reads its refusal, whatever the size of what it sends. */
static void test_refused_body(void **state) {
    (void)state;
    static const uint64_t sizes[] = {1, 65536, 1000000, 3000000, 50000000};
    static const char *const paths[] = {"/refused", "/begin/refused", "/early"};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        for (size_t k = 0; k < ARRAY_LEN(paths); k++) {
            client c;
            client_open(&c, f.port);
            put_head(&c, paths[k], sizes[i], "");
            assert_true(client_try_content(&c, 0, sizes[i])); /* nobody cuts it off */
            reply r = client_reply(&c);
            assert_int_equal(r.status, k == 2 ? 400 : 403);
            assert_string_equal(r.text, k == 2 ? "seen enough" : "not you");
            assert_int_equal(reply_header(&r, "x-ms-request-id").len, 36);
            if (sizes[i] <= 1000000) {
                assert_false(r.closes);
                assert_int_equal(client_get(&c, "/mem?n=5").status, 200);
            } else {
                assert_true(r.closes);
                assert_closed(&c);
            }
            client_close(&c);
        }
    }
}

/* The answer comes while the body is under way, without the client sending the rest. */
static void test_early_answer_comes_early(void **state) {
    (void)state;
    client c;
    client_open(&c, f.port);
    put_head(&c, "/refused", GIB, "");
    reply r = client_reply(&c);
    assert_int_equal(r.status, 403);
    assert_true(r.closes);
    client_close(&c);
    client_open(&c, f.port);
    put_head(&c, "/early", GIB, "");
    assert_true(client_try_content(&c, 0, 200000));
    usleep(50000); /* the handler fails meanwhile; what follows carries the answer out */
    assert_true(client_try_content(&c, 200000, 300000));
    r = client_reply(&c);
    assert_int_equal(r.status, 400);
    client_close(&c);
}

static void test_lazy_handler(void **state) {
    (void)state;
    client c;
    client_open(&c, f.port);
    static const uint64_t sizes[] = {10, 300000, 5000000};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        put_head(&c, "/lazy", sizes[i], "");
        assert_true(client_try_content(&c, 0, sizes[i]));
        reply r = client_reply(&c);
        assert_int_equal(r.status, 201);
        assert_false(r.closes);
    }
    client_close(&c);
}

static void test_too_large(void **state) {
    (void)state;
    client c;
    client_open(&c, f.port);
    put_head(&c, "/put", GIB + 1, "");
    reply r = client_reply(&c);
    assert_int_equal(r.status, 413);
    client_close(&c);
    client_open(&c, f.port);
    put_head(&c, "/put", UINT64_MAX, "");
    assert_int_equal(client_reply(&c).status, 400);
    client_close(&c);
}

static void test_download_sizes(void **state) {
    (void)state;
    static const uint64_t sizes[] = {0, 1, 65535, 65536, 65537, 262144, 524288, 524289, 9876543};
    static const char *const hows[] = {"now", "block", "mix"};
    client c;
    client_open(&c, f.port);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        for (size_t k = 0; k < ARRAY_LEN(hows); k++) {
            char path[128];
            snprintf(path, sizeof(path), "/source?n=%llu&how=%s", (unsigned long long)sizes[i],
                     hows[k]);
            reply r = client_get(&c, path);
            assert_int_equal(r.status, 200);
            assert_content(&r, sizes[i]);
        }
    }
    client_close(&c);
}

/* An error in the middle: the connection closes short of the length, so that nobody takes the part
 * for the whole. */
static void test_download_fails(void **state) {
    (void)state;
    static const char *const hows[] = {"fail", "short"};
    for (size_t i = 0; i < ARRAY_LEN(hows); i++) {
        client c;
        client_open(&c, f.port);
        client_say(&c, "GET /source?n=3000000&how=%s HTTP/1.1\r\nHost: x\r\n\r\n", hows[i]);
        reply r;
        assert_false(client_try_reply(&c, &r, false));
        assert_int_equal(r.status, 200);
        assert_true(r.length > 1000000 && r.length < 3000000);
        client_close(&c);
    }
}

static void test_slow_reader(void **state) {
    (void)state;
    client c;
    client_open(&c, f.port);
    client_say(&c, "GET /source?n=60000000&how=block HTTP/1.1\r\nHost: x\r\n\r\n");
    http_stats st;
    for (int i = 0; i < 2000; i++) { /* stuck on the socket: no worker stands behind it */
        usleep(10000);
        http_get_stats(f.server, &st);
        if (i > 10 && st.workers_busy == 0 && st.requests_active == 1) break;
    }
    assert_int_equal(st.workers_busy, 0);
    assert_int_equal(st.requests_active, 1);
    reply r = client_reply(&c);
    assert_content(&r, 60000000);
    client_close(&c);
}

static void test_slow_writer(void **state) {
    (void)state;
    client c;
    client_open(&c, f.port);
    put_head(&c, "/put", 500000, "");
    for (uint64_t at = 0; at < 500000; at += 50000) {
        assert_true(client_try_content(&c, at, 50000));
        usleep(3000);
        http_stats st;
        http_get_stats(f.server, &st);
        if (at == 0) assert_int_equal(st.upload_workers_busy, 0); /* not before half a ring */
    }
    reply r = client_reply(&c);
    assert_taken(&r, 500000);
    put_head(&c, "/put?us=2000", 3000000, ""); /* and a slow handler: the ring is full */
    assert_true(client_try_content(&c, 0, 3000000));
    r = client_reply(&c);
    assert_taken(&r, 3000000);
    client_close(&c);
}

static void wait_until_zero(_Atomic int *n) {
    for (int i = 0; i < 10000 && atomic_load(n) > 0; i++) usleep(1000);
    assert_int_equal(atomic_load(n), 0);
}

static void test_upload_aborted(void **state) {
    (void)state;
    int before = atomic_load(&cancelled_seen);
    for (int i = 0; i < 10; i++) {
        client c;
        client_open(&c, f.port);
        put_head(&c, "/put", 10000000, "");
        assert_true(client_try_content(&c, 0, 400000 + (uint64_t)i * 50000));
        while (atomic_load(&handlers_running) == 0) usleep(100);
        client_close(&c);
        wait_until_zero(&handlers_running);
    }
    assert_int_equal(atomic_load(&cancelled_seen) - before, 10);
}

static void test_download_aborted(void **state) {
    (void)state;
    static const char *const hows[] = {"now", "block", "mix"};
    for (int i = 0; i < 12; i++) {
        client c;
        client_open(&c, f.port);
        client_say(&c, "GET /source?n=100000000&how=%s HTTP/1.1\r\nHost: x\r\n\r\n", hows[i % 3]);
        while (client_rest(&c).len < 300000) assert_true(client_more(&c));
        client_close(&c);
    }
    wait_until_zero(&sources_open);
}

/* ---- many at once ---- */

typedef struct hammer {
    uint64_t seed;
    int rounds;
    uint64_t answered;
} hammer;

static uint64_t next_random(hammer *h) {
    h->seed ^= h->seed << 13;
    h->seed ^= h->seed >> 7;
    h->seed ^= h->seed << 17;
    return h->seed;
}

/* One random request; false when the client left in the middle of it. */
static bool one_request(hammer *h, client *c) {
    uint64_t n = next_random(h) % (next_random(h) % 8 == 0 ? 1500000 : 70000);
    bool leave = next_random(h) % 16 == 0;
    static const char *const gets[] = {"/mem",    "/worker",       "/second",       "/begin/mem",
                                       "/source", "/begin/worker", "/begin/source", "/sleep"};
    static const char *const hows[] = {"now", "block", "mix"};
    static const char *const puts[] = {"/put", "/begin/put", "/put", "/early", "/lazy"};
    uint64_t pick = next_random(h) % 13;
    reply r = {0};
    if (pick < 8) {
        client_say(c, "GET %s?n=%llu&how=%s&ms=1 HTTP/1.1\r\nHost: x\r\n\r\n", gets[pick],
                   (unsigned long long)n, hows[next_random(h) % 3]);
        if (leave) return false;
        r = client_reply(c);
        assert_int_equal(r.status, 200);
        assert_content(&r, n);
        return true;
    }
    const char *path = puts[pick - 8];
    if (next_random(h) % 4 == 0 && strcmp(path, "/early") != 0) {
        uint8_t piece[1000];
        uint64_t at = 0;
        client_say(c, "PUT %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", path);
        n %= 50000;
        while (at < n) {
            size_t k = n - at < sizeof(piece) ? (size_t)(n - at) : sizeof(piece);
            content_fill(piece, at, k);
            client_say(c, "%zx\r\n", k);
            client_send(c, piece, k);
            client_say(c, "\r\n");
            at += k;
            if (leave && at > n / 2) return false;
        }
        client_say(c, "0\r\n\r\n");
    } else {
        put_head(c, path, n, "");
        if (!client_try_content(c, 0, leave ? n / 2 : n)) fail_msg("cut off");
        if (leave) return false;
    }
    r = client_reply(c);
    if (pick == 12)
        assert_int_equal(r.status, 201);
    else if (pick == 11)
        assert_int_equal(r.status, 400);
    else
        assert_taken(&r, n);
    return !r.closes;
}

static void *hammer_thread(void *arg) {
    hammer *h = arg;
    client c;
    client_open(&c, f.port);
    for (int i = 0; i < h->rounds; i++) {
        if (!one_request(h, &c)) {
            client_close(&c);
            client_open(&c, f.port);
        }
        h->answered++;
    }
    client_close(&c);
    return NULL;
}

static void test_hammer(void **state) {
    (void)state;
    enum { THREADS = 24, ROUNDS = 40 };
    hammer h[THREADS];
    pthread_t t[THREADS];
    for (int i = 0; i < THREADS; i++) {
        h[i] = (hammer){.seed = 0x9E3779B97F4A7C15u * (uint64_t)(i + 1), .rounds = ROUNDS};
        assert_int_equal(pthread_create(&t[i], NULL, hammer_thread, &h[i]), 0);
    }
    uint64_t all = 0;
    for (int i = 0; i < THREADS; i++) {
        pthread_join(t[i], NULL);
        all += h[i].answered;
    }
    assert_int_equal(all, THREADS * ROUNDS);
    wait_until_zero(&sources_open);
    wait_until_zero(&handlers_running);
}

/* Stopping in the middle of it all. */
static void *abuse_thread(void *arg) {
    hammer *h = arg;
    for (;;) {
        client c = {.fd = socket(AF_INET, SOCK_STREAM, 0), .send = plain_send, .recv = plain_recv};
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)h->rounds)};
        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        struct timeval patience = {.tv_sec = 30};
        setsockopt(c.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
        buf_init(&c.in, 64u << 20);
        bool there = connect(c.fd, (struct sockaddr *)&to, sizeof(to)) == 0;
        for (bool on = there; on;) {
            static const char *const texts[] = {
                "GET /worker?n=5000 HTTP/1.1\r\nHost: x\r\n\r\n",
                "GET /source?n=900000&how=block HTTP/1.1\r\nHost: x\r\n\r\n",
                "GET /begin/mem?n=5 HTTP/1.1\r\nHost: x\r\n\r\n",
                "PUT /put HTTP/1.1\r\nHost: x\r\nContent-Length: 400000\r\n\r\n"};
            uint64_t pick = next_random(h) % 4;
            reply r;
            on = client_try_send(&c, texts[pick], strlen(texts[pick])) &&
                 (pick < 3 || client_try_content(&c, 0, 400000)) && client_try_reply(&c, &r, false);
            if (on) h->answered++;
        }
        client_close(&c);
        if (!there) return NULL;
    }
}

static void test_stop_under_load(void **state) {
    (void)state;
    for (unsigned round = 0; round < 4; round++) {
        fixture g;
        fixture_start(&g, (http_listener){0}, (http_options){.workers = 4, .upload_workers = 2});
        enum { THREADS = 12 };
        hammer h[THREADS];
        pthread_t t[THREADS];
        for (int i = 0; i < THREADS; i++) {
            h[i] = (hammer){.seed = (uint64_t)i + 77, .rounds = g.port};
            assert_int_equal(pthread_create(&t[i], NULL, abuse_thread, &h[i]), 0);
        }
        usleep(200000);
        http_stop(g.server, round % 2 == 0 ? 0 : 1000);
        for (int i = 0; i < THREADS; i++) pthread_join(t[i], NULL);
        assert_int_equal(atomic_load(&sources_open), 0);
        assert_int_equal(atomic_load(&handlers_running), 0);
        ops_metrics_free(g.ops.metrics);
    }
}

int main(void) {
    log_setup(open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_DEBUG, false);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_upload_sizes),
        cmocka_unit_test(test_small_row),
        cmocka_unit_test(test_row_without_body),
        cmocka_unit_test(test_chunked),
        cmocka_unit_test(test_expect),
        cmocka_unit_test(test_refused_body),
        cmocka_unit_test(test_early_answer_comes_early),
        cmocka_unit_test(test_lazy_handler),
        cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_download_sizes),
        cmocka_unit_test(test_download_fails),
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_slow_writer),
        cmocka_unit_test(test_upload_aborted),
        cmocka_unit_test(test_download_aborted),
        cmocka_unit_test(test_hammer),
        cmocka_unit_test(test_stop_under_load),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
