/* Dispatch without a store: targets, parameters, versions, bodies, conditions, errors, the log,
 * counters. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

#include "base/base.h"
#include "ops/ops.h"

static err run_fine(ops_request *r, ops_response *w) {
    (void)r;
    ops_body(w, S("fine"));
    return OK;
}
static int freed;
static void count_free(void *ctx) {
    (void)ctx;
    freed++;
}
static err run_fails(ops_request *r, ops_response *w) {
    (void)r;
    w->kind = OPS_BODY_SOURCE;
    w->source_free = count_free;
    ops_set(w, "x-left-over", S("1"));
    return err_fail(ERR_CONTAINER_NOT_FOUND, "no container for sig=secret");
}
static err run_blocks(ops_request *r, ops_response *w) {
    if (r->nowait) return ERR_WOULD_BLOCK;
    return run_fine(r, w);
}

static const ops_row rows[] = {
    {.name = "Get", .method = OPS_GET, .run = run_fine, .conditions = OPS_IF_ALL},
    {.name = "Match Only", .method = OPS_HEAD, .run = run_fine, .conditions = OPS_IF_MATCH},
    {.name = "Put",
     .method = OPS_PUT,
     .run = run_blocks,
     .body_max = 1000000,
     .flags = OPS_BODY_IN | OPS_BODY_STREAMS | OPS_NO_SECONDARY},
    {.name = "Post",
     .method = OPS_POST,
     .run = run_fails,
     .body_max = 1000000,
     .flags = OPS_BODY_IN},
    {.name = "Delete", .method = OPS_DELETE, .run = run_fine, .need = {.writes = true}},
    {.name = "Stats", .method = OPS_PATCH, .run = run_fine, .flags = OPS_SECONDARY_ONLY},
};

static bool secondary;
static err route(ops_request *r, const ops_row **ret) {
    r->secondary = secondary;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].method == r->method) {
            *ret = &rows[i];
            return OK;
        }
    return err_fail(ERR_UNSUPPORTED_HTTP_VERB, "no");
}
static void render_failure(ops_request *r, ops_response *w, err e, const char *detail) {
    ops_set(w, "x-ms-error-code", slice_str(err_get(e)->azure));
    ops_body(w, arena_dup(r->arena, slice_str(detail)));
}
static void decorate(ops_request *r, ops_response *w) {
    ops_set(w, "x-ms-version", r->version);
}
static err route_none(ops_request *r, const ops_row **ret) {
    (void)r, (void)ret;
    return ERR_NOT_FOUND;
}
static const ops_protocol other = {.name = "other", .route = route_none};
static const ops_protocol protocol = {.name = "test",
                                      .rows = rows,
                                      .row_count = ARRAY_LEN(rows),
                                      .route = route,
                                      .fail = render_failure,
                                      .decorate = decorate};
static const ops_protocol *const protocols[] = {&other, &protocol, NULL};
static ops_server server = {.protocols = protocols};

static ops_request *request(ops_method m, const char *target) {
    static ops_request r;
    static arena *a;
    if (a == NULL) a = arena_new(4096, 4u << 20);
    arena_reset(a);
    memset(&r, 0, sizeof(r));
    r.server = &server;
    r.arena = a;
    r.method = m;
    r.method_text = S("X");
    r.target = slice_str(target);
    r.has_length = true;
    return &r;
}
static void header(ops_request *r, const char *name, const char *value) {
    r->headers[r->header_count++] = (pair){slice_str(name), slice_str(value)};
}
static void assert_text(slice s, const char *want) {
    assert_non_null(s.p);
    assert_int_equal(s.len, strlen(want));
    assert_memory_equal(s.p, want, s.len);
}

static void test_params(void **state) {
    (void)state;
    ops_request *r =
        request(OPS_GET, "/a%20b/c?prefix=x+y%2Bz&sig=a+b%2Fc%3d&empty=&flag&%6eame=v&prefix=2");
    assert_int_equal(ops_begin(r), OK);
    assert_text(r->path_raw, "/a%20b/c");
    assert_int_equal(r->param_count, 6);
    assert_text(ops_param(r, "prefix"), "x y+z"); /* the first; '+' is a space */
    assert_text(ops_param(r, "sig"), "a+b/c=");   /* but not in base64 */
    assert_text(ops_param(r, "empty"), "");
    assert_text(ops_param(r, "flag"), "");
    assert_text(ops_param(r, "name"), "v");
    assert_null(ops_param(r, "Prefix").p);
    assert_null(ops_param(r, "prefi").p);
    assert_int_equal(r->id.len, 36);
    assert_true(r->authorized);
}

static void test_bad_targets(void **state) {
    (void)state;
    static const struct {
        const char *target;
        err e;
    } cases[] = {
        {"", ERR_INVALID_URI},
        {"/a b", ERR_INVALID_URI},
        {"/a#b", ERR_INVALID_URI},
        {"/a\x01", ERR_INVALID_URI},
        {"/?%=1", ERR_INVALID_URI},
        {"/?a=%4", ERR_INVALID_QUERY_PARAMETER_VALUE},
        {"/?a=%GG", ERR_INVALID_QUERY_PARAMETER_VALUE},
        {"/?a=%00", ERR_INVALID_QUERY_PARAMETER_VALUE},
        {"/?a%00=1", ERR_INVALID_QUERY_PARAMETER_VALUE},
        {"/?", OK},
        {"/?&&&", OK},
        {"/?=", OK},
        {"http://h", OK},
        {"HTTPS://h:1/p?q=1", OK},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(ops_begin(request(OPS_GET, cases[i].target)), cases[i].e);
    char many[400] = "/?";
    for (int i = 0; i < 64; i++) memcpy(many + 2 + i * 4, "a=b&", 5);
    assert_int_equal(ops_begin(request(OPS_GET, many)), OK);
    memcpy(many + 2 + 64 * 4, "a=b", 4);
    assert_int_equal(ops_begin(request(OPS_GET, many)), ERR_INVALID_URI);
    ops_request *r = request(OPS_GET, "http://h");
    assert_int_equal(ops_begin(r), OK);
    assert_text(r->path_raw, "/");
}

static void test_versions(void **state) {
    (void)state;
    static const struct {
        const char *header, *target, *want; /* want NULL: refused */
    } cases[] = {
        {"2019-12-12", "/", "2019-12-12"},
        {"2099-01-31", "/?sv=2020-01-01", "2099-01-31"}, /* newer than this program: taken */
        {NULL, "/?sv=2020-01-01", "2020-01-01"},
        {NULL, "/?sv=2020-01-01&api-version=2021-02-02", "2021-02-02"},
        {NULL, "/?sv=nonsense", "2026-06-06"},
        {NULL, "/", "2026-06-06"},
        {"", "/", NULL},
        {"2019-13-01", "/", NULL},
        {"2019-00-01", "/", NULL},
        {"2019-01-32", "/", NULL},
        {"2019-1-1", "/", NULL},
        {"20191-1-01", "/", NULL},
        {"2019-12-12x", "/", NULL},
        {"latest", "/", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        ops_request *r = request(OPS_GET, cases[i].target);
        if (cases[i].header != NULL) header(r, "X-MS-Version", cases[i].header);
        err e = ops_begin(r);
        assert_int_equal(e, cases[i].want ? OK : ERR_INVALID_HEADER_VALUE);
        if (cases[i].want) assert_text(r->version, cases[i].want);
    }
}

static void test_body_limits(void **state) {
    (void)state;
    static const struct {
        ops_method method;
        uint64_t length;
        bool has_length;
        err e;
    } cases[] = {
        {OPS_PUT, 1000000, true, OK},
        {OPS_PUT, 1000001, true, ERR_REQUEST_BODY_TOO_LARGE},
        {OPS_PUT, 0, false, ERR_MISSING_CONTENT_LENGTH_HEADER},
        {OPS_PUT, OPS_LEN_UNKNOWN, false, OK},
        {OPS_PUT, UINT64_MAX - 1, true, ERR_REQUEST_BODY_TOO_LARGE},
        {OPS_POST, 65536, true, OK}, /* does not stream: what fits in memory */
        {OPS_POST, 65537, true, ERR_REQUEST_BODY_TOO_LARGE},
        {OPS_GET, 65536, true, OK}, /* takes none: ignored while small */
        {OPS_GET, 65537, true, ERR_REQUEST_BODY_TOO_LARGE},
        {OPS_GET, 0, false, OK},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        ops_request *r = request(cases[i].method, "/");
        r->content_length = cases[i].length;
        r->has_length = cases[i].has_length;
        assert_int_equal(ops_begin(r), cases[i].e);
    }
}

static void test_secondary(void **state) {
    (void)state;
    secondary = true;
    assert_int_equal(ops_begin(request(OPS_GET, "/")), OK);
    assert_int_equal(ops_begin(request(OPS_PUT, "/")), ERR_INSUFFICIENT_ACCOUNT_PERMISSIONS);
    assert_int_equal(ops_begin(request(OPS_DELETE, "/")), ERR_INSUFFICIENT_ACCOUNT_PERMISSIONS);
    assert_int_equal(ops_begin(request(OPS_PATCH, "/")), OK);
    secondary = false;
    assert_int_equal(ops_begin(request(OPS_DELETE, "/")), OK);
    assert_int_equal(ops_begin(request(OPS_PATCH, "/")), ERR_INVALID_QUERY_PARAMETER_VALUE);
}

static void test_conditions(void **state) {
    (void)state;
    ops_request *r = request(OPS_GET, "/");
    header(r, "if-match", "\"0x8D\"");
    header(r, "If-None-Match", "*");
    header(r, "If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT");
    header(r, "If-Unmodified-Since", "");
    header(r, "x-ms-lease-id", "{61616161-6262-6262-6363-646464646464}");
    assert_int_equal(ops_begin(r), OK);
    store_conditions c;
    assert_int_equal(ops_conditions(r, &c), OK);
    assert_text(c.if_match, "\"0x8D\"");
    assert_text(c.if_none_match, "*");
    assert_true(c.if_modified_since_us == INT64_C(784111777) * 1000000);
    assert_true(c.if_unmodified_since_us == STORE_TIME_NONE);
    assert_text(c.lease_id, "aaaabbbbccdddddd");
    /* Those that the row does not honour are not read. */
    r = request(OPS_HEAD, "/");
    header(r, "If-Match", "*");
    header(r, "If-None-Match", "*");
    header(r, "If-Modified-Since", "nonsense");
    assert_int_equal(ops_begin(r), OK);
    assert_int_equal(ops_conditions(r, &c), OK);
    assert_text(c.if_match, "*");
    assert_int_equal(c.if_none_match.len, 0);
    static const struct {
        const char *name, *value;
        err e;
    } bad[] = {
        {"If-Modified-Since", "yesterday", ERR_INVALID_HEADER_VALUE},
        {"If-Unmodified-Since", "1994-11-06", ERR_INVALID_HEADER_VALUE},
        {"If-Match", "\"a\", \"b\"", ERR_MULTIPLE_CONDITION_HEADERS_NOT_SUPPORTED},
        {"x-ms-lease-id", "abc", ERR_INVALID_HEADER_VALUE},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        r = request(OPS_GET, "/");
        header(r, bad[i].name, bad[i].value);
        assert_int_equal(ops_begin(r), OK);
        assert_int_equal(ops_conditions(r, &c), bad[i].e);
    }
}

static void test_run_and_fail(void **state) {
    (void)state;
    ops_response w = {0};
    ops_request *r = request(OPS_PUT, "/");
    assert_int_equal(ops_begin(r), OK);
    r->nowait = true;
    assert_int_equal(ops_run(r, &w), ERR_WOULD_BLOCK);
    r->nowait = false;
    assert_int_equal(ops_run(r, &w), OK);
    assert_int_equal(w.status, 200);
    assert_text(w.body, "fine");
    ops_decorate(r, &w);
    assert_int_equal(w.header_count, 1);
    ops_finish(r, &w, false);

    r = request(OPS_POST, "/");
    memset(&w, 0, sizeof(w));
    freed = 0;
    assert_int_equal(ops_begin(r), OK);
    err e = ops_run(r, &w);
    assert_int_equal(e, ERR_CONTAINER_NOT_FOUND);
    ops_fail(r, &w, e);
    assert_int_equal(freed, 1); /* what the handler had set is gone */
    assert_int_equal(w.status, 404);
    assert_int_equal(w.header_count, 1);
    assert_text(w.headers[0].value, "ContainerNotFound");
    assert_int_equal(w.kind, OPS_BODY_BYTES);
    ops_finish(r, &w, false);
    assert_int_equal(freed, 1);

    /* Refused before it was routed: there is an id, a version and a protocol to render with. */
    r = request(OPS_OTHER, "/");
    memset(&w, 0, sizeof(w));
    e = ops_begin(r);
    assert_int_equal(e, ERR_UNSUPPORTED_HTTP_VERB);
    ops_fail(r, &w, e);
    assert_int_equal(w.status, 405);
    assert_int_equal(r->id.len, 36);
    assert_text(r->version, "2026-06-06");
    ops_finish(r, &w, true);
}

static void test_setters(void **state) {
    (void)state;
    ops_request *r = request(OPS_GET, "/");
    ops_response w = {0};
    ops_set_u64(r, &w, "a", 0);
    ops_set_u64(r, &w, "b", UINT64_MAX);
    ops_set_time(r, &w, "c", INT64_C(784111777) * 1000000);
    ops_set_etag(r, &w, 0x8DBB8BFA40F1C2Au);
    ops_set_etag(r, &w, 0);
    ops_set_etag(r, &w, UINT64_MAX);
    static const char *const want[] = {"0",
                                       "18446744073709551615",
                                       "Sun, 06 Nov 1994 08:49:37 GMT",
                                       "\"0x8DBB8BFA40F1C2A\"",
                                       "\"0x0\"",
                                       "\"0xFFFFFFFFFFFFFFFF\""};
    for (size_t i = 0; i < ARRAY_LEN(want); i++) assert_text(w.headers[i].value, want[i]);
}

/* ---- gathering a body ---- */

static size_t body_left;
static err body_read(ops_request *r, uint8_t *out, size_t cap, size_t *ret_n) {
    (void)r;
    size_t n = body_left < cap ? body_left : cap;
    if (n > 1000) n = 1000; /* short reads */
    memset(out, 'b', n);
    body_left -= n;
    *ret_n = n;
    return OK;
}

static void test_body_all(void **state) {
    (void)state;
    static const struct {
        size_t length, max;
        bool chunked;
        err e;
    } cases[] = {{0, 10, false, OK},
                 {10, 10, false, OK},
                 {11, 10, false, ERR_REQUEST_BODY_TOO_LARGE},
                 {10, 10, true, OK},
                 {11, 10, true, ERR_REQUEST_BODY_TOO_LARGE},
                 {200000, 200000, false, OK},
                 {200000, 200000, true, OK},
                 {200001, 200000, true, ERR_REQUEST_BODY_TOO_LARGE},
                 {0, 0, true, OK}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        ops_request *r = request(OPS_PUT, "/");
        r->body_read = body_read;
        body_left = cases[i].length;
        r->content_length = cases[i].chunked ? OPS_LEN_UNKNOWN : cases[i].length;
        slice got = SLICE_NONE;
        assert_int_equal(ops_body_all(r, cases[i].max, &got), cases[i].e);
        if (cases[i].e == OK) assert_int_equal(got.len, cases[i].length);
    }
    ops_request *r = request(OPS_PUT, "/");
    r->body = S("gathered");
    slice got;
    assert_int_equal(ops_body_all(r, 8, &got), OK);
    assert_text(got, "gathered");
    assert_int_equal(ops_body_all(r, 7, &got), ERR_REQUEST_BODY_TOO_LARGE);
}

/* ---- the log and the counters ---- */

/* The sender is told the string to sign; the log is not, for it quotes the request. */
static void test_log_without_string_to_sign(void **state) {
    (void)state;
    int fd[2];
    assert_int_equal(pipe(fd), 0);
    log_setup(fd[1], LOG_DEBUG, false);
    ops_request *r = request(OPS_GET, "/c/b");
    ops_response w = {0};
    assert_int_equal(ops_begin(r), OK);
    ops_fail(r, &w,
             err_fail(ERR_AUTHENTICATION_FAILED,
                      "Server used following string to sign: 'GET\nx-ms-meta-name:TopSecret'"));
    assert_true(slice_find_slice(w.body, 0, S("TopSecret")) < w.body.len);
    ops_finish(r, &w, false);
    log_setup(STDERR_FILENO, LOG_ERROR, true);
    char line[4096] = {0};
    assert_true(read(fd[0], line, sizeof(line) - 1) > 0);
    close(fd[0]);
    close(fd[1]);
    assert_null(strstr(line, "TopSecret"));
    assert_non_null(strstr(line, "used following string to sign\""));
}

static void test_log_line(void **state) {
    (void)state;
    int fd[2];
    assert_int_equal(pipe(fd), 0);
    log_setup(fd[1], LOG_DEBUG, false);
    ops_request *r = request(OPS_GET, "/c/b?sv=2020-01-01&sig=TopSecret%2B");
    header(r, "Authorization", "SharedKey a:TopSecret");
    ops_response w = {0};
    assert_int_equal(ops_begin(r), OK);
    r->account_name = S("acct");
    r->container = S("cont");
    assert_int_equal(ops_run(r, &w), OK);
    r->bytes_out = 4;
    ops_finish(r, &w, false);
    log_setup(STDERR_FILENO, LOG_ERROR, true);
    char line[4096] = {0};
    assert_true(read(fd[0], line, sizeof(line) - 1) > 0);
    close(fd[0]);
    close(fd[1]);
    assert_null(strstr(line, "TopSecret"));
    assert_null(strstr(line, "sig"));
    static const char *const want[] = {"\"operation\":\"Get\"",  "\"account\":\"acct\"",
                                       "\"container\":\"cont\"", "\"status\":200",
                                       "\"bytes_out\":4",        "\"caller\":\"anonymous\""};
    for (size_t i = 0; i < ARRAY_LEN(want); i++) assert_non_null(strstr(line, want[i]));
}

static void test_counters(void **state) {
    (void)state;
    server.metrics = ops_metrics_new();
    ops_response w = {0};
    for (int i = 0; i < 3; i++) {
        ops_request *r = request(OPS_GET, "/");
        assert_int_equal(ops_begin(r), OK);
        assert_int_equal(ops_run(r, &w), OK);
        r->bytes_in = 10;
        r->bytes_out = 100;
        ops_finish(r, &w, i == 2);
    }
    ops_request *r = request(OPS_OTHER, "/");
    ops_fail(r, &w, ops_begin(r));
    ops_finish(r, &w, false);
    buf b;
    buf_init(&b, 1u << 20);
    ops_metrics_render(server.metrics, &b);
    buf_byte(&b, 0);
    static const char *const want[] = {
        "strongroom_requests_total{protocol=\"test\",operation=\"Get\",status=\"200\"} 3\n",
        "strongroom_requests_total{protocol=\"none\",operation=\"unknown\",status=\"405\"} 1\n",
        "strongroom_request_seconds_bucket{protocol=\"test\",operation=\"Get\",le=\"+Inf\"} 3\n",
        "strongroom_request_seconds_count{protocol=\"test\",operation=\"Get\"} 3\n",
        "strongroom_request_bytes_in_total{protocol=\"test\",operation=\"Get\"} 30\n",
        "strongroom_request_bytes_out_total{protocol=\"test\",operation=\"Get\"} 300\n",
        "strongroom_requests_aborted_total{protocol=\"test\",operation=\"Get\"} 1\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        assert_non_null(strstr((const char *)b.p, want[i]));
    buf_done(&b);
    server.metrics = ops_metrics_free(server.metrics);
}

int main(void) {
    log_setup(STDERR_FILENO, LOG_ERROR, true);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_params),
        cmocka_unit_test(test_bad_targets),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_body_limits),
        cmocka_unit_test(test_secondary),
        cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_run_and_fail),
        cmocka_unit_test(test_setters),
        cmocka_unit_test(test_body_all),
        cmocka_unit_test(test_log_line),
        cmocka_unit_test(test_log_without_string_to_sign),
        cmocka_unit_test(test_counters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
