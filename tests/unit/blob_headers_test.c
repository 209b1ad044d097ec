/* Ranges, metadata, content headers, checksums, addresses, CORS patterns. */
#include "blob_test.h"

static void test_ranges(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool fine, suffix;
        uint64_t first, last;
    } cases[] = {
        {"bytes=0-0", true, false, 0, 0},
        {"bytes=5-", true, false, 5, UINT64_MAX},
        {"bytes=0-18446744073709551615", true, false, 0, UINT64_MAX},
        {"bytes=-7", true, true, 7, UINT64_MAX},
        {"bytes=5-2", false, false, 0, 0},
        {"bytes=", false, false, 0, 0},
        {"bytes=-", false, false, 0, 0},
        {"bytes=5", false, false, 0, 0},
        {"bytes=0-1,3-4", false, false, 0, 0},
        {"bytes= 0-1", false, false, 0, 0},
        {"Bytes=0-1", false, false, 0, 0},
        {"bytes=+1-2", false, false, 0, 0},
        {"bytes=18446744073709551616-", false, false, 0, 0},
        {"bytes=0-18446744073709551616", false, false, 0, 0},
        {"", false, false, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        blob_range g = {.first = 77};
        err e = blob_range_parse(slice_str(cases[i].text), &g);
        assert_err(e, cases[i].fine ? OK : ERR_INVALID_HEADER_VALUE);
        if (!cases[i].fine) {
            assert_int_equal(g.first, 77);
            continue;
        }
        assert_true(g.asked);
        assert_int_equal(g.suffix, cases[i].suffix);
        assert_int_equal(g.first, cases[i].first);
        assert_int_equal(g.last, cases[i].last);
    }
}

static void test_ranges_applied(void **state) {
    (void)state;
    static const struct {
        const char *text;
        uint64_t length, first, count; /* count 0: not satisfiable */
    } cases[] = {
        {"bytes=0-9", 100, 0, 10},    {"bytes=90-", 100, 90, 10},
        {"bytes=0-999", 100, 0, 100}, {"bytes=100-", 100, 0, 0},
        {"bytes=0-", 0, 0, 0},        {"bytes=-10", 100, 90, 10},
        {"bytes=-500", 100, 0, 100},  {"bytes=-0", 100, 0, 0},
        {"bytes=-1", 0, 0, 0},        {"bytes=0-18446744073709551615", UINT64_MAX, 0, UINT64_MAX},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        blob_range g;
        uint64_t first, count;
        assert_ok(blob_range_parse(slice_str(cases[i].text), &g));
        err e = blob_range_apply(&g, cases[i].length, &first, &count);
        assert_err(e, cases[i].count ? OK : ERR_INVALID_RANGE);
        if (e != OK) continue;
        assert_int_equal(first, cases[i].first);
        assert_int_equal(count, cases[i].count);
    }
    arena *a = arena_new(256, 0);
    assert_slice(blob_content_range(a, 5, 10, 100), S("bytes 5-14/100"));
    arena_free(a);
}

static void test_which_range_header(void **state) {
    (void)state;
    static const struct {
        const char *headers;
        err e;
        bool asked;
        uint64_t first;
    } cases[] = {
        {"Range: bytes=1-2\nx-ms-range: bytes=3-4", OK, true, 3},
        {"Range: bytes=1-2", OK, true, 1},
        {"Range: bytes=5-2", OK, false, 0},
        {"Range: bytes=0-1,3-4", OK, false, 0},
        {"Range: lines=0-1", OK, false, 0},
        {"x-ms-range: lines=0-1", ERR_INVALID_HEADER_VALUE, false, 0},
        {"x-ms-range: bytes=-1", ERR_INVALID_HEADER_VALUE, false, 0},
        {"", OK, false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        call *c = call_new(NULL, "GET", "/acct/box/b", cases[i].headers, S(""));
        blob_range g = {0};
        assert_err(blob_range_read(&c->r, &g), cases[i].e);
        assert_int_equal(g.asked, cases[i].asked);
        assert_int_equal(g.first, cases[i].first);
        call_free(c);
    }
}

static void check_metadata(const char *headers, err expected, const char *joined) {
    call *c = call_new(NULL, "PUT", "/acct/box/b", headers, S(""));
    pair *list;
    size_t count;
    err e = blob_metadata_read(&c->r, &list, &count);
    assert_err(e, expected);
    if (e == OK) {
        buf b;
        buf_init(&b, 65536);
        for (size_t i = 0; i < count; i++) {
            buf_put(&b, list[i].name);
            buf_byte(&b, '=');
            buf_put(&b, list[i].value);
            buf_byte(&b, ';');
        }
        assert_slice(buf_slice(&b), slice_str(joined));
        buf_done(&b);
    }
    call_free(c);
}

static void test_metadata(void **state) {
    (void)state;
    check_metadata("", OK, "");
    check_metadata("x-ms-meta-One: 1\nX-MS-META-two_2: two  2\nx-ms-meta-_: ", OK,
                   "One=1;two_2=two  2;_=;");
    check_metadata("x-ms-meta-a: 1\nx-ms-meta-b: 2\nx-ms-meta-A: 3", OK, "a=1,3;b=2;");
    check_metadata("x-ms-meta-: 1", ERR_EMPTY_METADATA_KEY, NULL);
    check_metadata("x-ms-meta-1a: 1", ERR_INVALID_METADATA, NULL);
    check_metadata("x-ms-meta-a-b: 1", ERR_INVALID_METADATA, NULL);
    check_metadata("x-ms-meta-a.b: 1", ERR_INVALID_METADATA, NULL);
    check_metadata("x-ms-meta-\xc3\xa9: 1", ERR_INVALID_METADATA, NULL);
    check_metadata("x-ms-meta-a: \xc3\xa9", ERR_INVALID_METADATA, NULL);
    check_metadata("x-ms-meta-a: x\x01y", ERR_INVALID_METADATA, NULL);
    check_metadata("x-ms-metab: 1", OK, "");
}

static void test_metadata_limits(void **state) {
    (void)state;
    for (size_t more = 0; more <= 1; more++) {
        buf b;
        buf_init(&b, 65536);
        buf_str(&b, "x-ms-meta-n: ");
        for (size_t i = 0; i < STORE_METADATA_MAX - 1 + more; i++) buf_byte(&b, 'v');
        buf_byte(&b, 0);
        call *c = call_new(NULL, "PUT", "/acct/box/b", (const char *)b.p, S(""));
        pair *list;
        size_t count;
        assert_err(blob_metadata_read(&c->r, &list, &count), more ? ERR_METADATA_TOO_LARGE : OK);
        call_free(c);
        buf_done(&b);
    }
    for (size_t more = 0; more <= 1; more++) {
        buf b;
        buf_init(&b, 65536);
        size_t n = BLOB_METADATA_COUNT_MAX + more;
        if (n >= OPS_HEADERS_MAX) n = OPS_HEADERS_MAX - 1;
        for (size_t i = 0; i < n; i++) buf_fmt(&b, "x-ms-meta-n%zu: 1\n", i);
        buf_byte(&b, 0);
        call *c = call_new(NULL, "PUT", "/acct/box/b", (const char *)b.p, S(""));
        pair *list;
        size_t count;
        assert_err(blob_metadata_read(&c->r, &list, &count),
                   n > BLOB_METADATA_COUNT_MAX ? ERR_METADATA_TOO_LARGE : OK);
        call_free(c);
        buf_done(&b);
    }
}

static void check_sums(const char *headers, err expected, bool md5, bool crc) {
    call *c = call_new(NULL, "PUT", "/acct/box/b", headers, S(""));
    blob_sums s = {0};
    assert_err(blob_sums_read(&c->r, &s), expected);
    assert_int_equal(s.has_md5, md5);
    assert_int_equal(s.has_crc64, crc);
    if (crc) assert_true(s.crc64 == 0xAE8B14860A799888u);
    call_free(c);
}

static void test_sums(void **state) {
    (void)state;
    check_sums("", OK, false, false);
    check_sums("Content-MD5: XrY7u+Ae7tCTyyK7j1rNww==", OK, true, false);
    check_sums("x-ms-content-crc64: iJh5CoYUi64=", OK, false, true);
    check_sums("Content-MD5: XrY7u+Ae7tCTyyK7j1rNww==\nx-ms-content-crc64: iJh5CoYUi64=",
               ERR_BOTH_CRC64_AND_MD5, false, false);
    check_sums("Content-MD5: AAAA", ERR_INVALID_MD5, false, false);
    check_sums("Content-MD5: XrY7u+Ae7tCTyyK7j1rNw", ERR_INVALID_MD5, false, false);
    check_sums("x-ms-content-crc64: XrY7u+Ae7tCTyyK7j1rNww==", ERR_INVALID_HEADER_VALUE, false,
               false);
    check_sums("x-ms-content-crc64: ?", ERR_INVALID_HEADER_VALUE, false, false);
    blob_sums said = {.has_md5 = true, .has_crc64 = true, .md5 = {1}, .crc64 = 9};
    uint8_t same[16] = {1}, other[16] = {2};
    assert_ok(blob_sums_check(&said, same, 9));
    assert_err(blob_sums_check(&said, other, 9), ERR_MD5_MISMATCH);
    assert_err(blob_sums_check(&said, NULL, 9), ERR_MD5_MISMATCH);
    assert_err(blob_sums_check(&said, same, 8), ERR_CRC64_MISMATCH);
}

static void test_content_headers(void **state) {
    (void)state;
    call *c = call_new(NULL, "PUT", "/acct/box/b",
                       "Content-Type: text/a\nx-ms-blob-content-type: text/b\n"
                       "Content-Language: de\nCache-Control: no-store",
                       S(""));
    store_http h;
    assert_ok(blob_http_read(&c->r, true, &h));
    assert_slice(h.content_type, S("text/b"));
    assert_slice(h.content_language, S("de"));
    assert_slice(h.cache_control, S("no-store"));
    assert_ok(blob_http_read(&c->r, false, &h));
    assert_slice(h.content_type, S("text/b"));
    assert_int_equal(h.content_language.len, 0);
    call_free(c);
    c = call_new(NULL, "PUT", "/acct/box/b", "x-ms-blob-content-type: a\x01", S(""));
    assert_err(blob_http_read(&c->r, true, &h), ERR_INVALID_HEADER_VALUE);
    call_free(c);
    c = call_new(NULL, "PUT", "/acct/box/b", "", S(""));
    assert_ok(blob_http_read(&c->r, true, &h));
    assert_slice(h.content_type, S("application/octet-stream"));
    call_free(c);
}

static void test_addresses(void **state) {
    (void)state;
    static const struct {
        const char *path, *query, *host;
        err e;
        const char *account, *container, *blob;
        bool secondary;
    } cases[] = {
        {"/acct", "", "h", OK, "acct", "", "", false},
        {"/acct/", "", "h", OK, "acct", "", "", false},
        {"/acct/box", "restype=container", "h", OK, "acct", "box", "", false},
        {"/acct/box", "restype=account", "h", OK, "acct", "box", "", false},
        {"/acct/box/", "", "h", OK, "acct", "box", "", false},
        {"/acct/pic.jpg", "", "h", OK, "acct", "$root", "pic.jpg", false},
        {"/acct/box/a/b", "", "h", OK, "acct", "box", "a/b", false},
        {"/acct/box//a", "", "h", OK, "acct", "box", "/a", false},
        {"/acct/box/a%2Fb%20c", "", "h", OK, "acct", "box", "a/b c", false},
        {"/acct/box/a+b", "", "h", OK, "acct", "box", "a+b", false},
        {"/acct-secondary/box/a", "", "h", OK, "acct", "box", "a", true},
        {"/box/a", "", "acct.blob.example.org", OK, "acct", "box", "a", false},
        {"/box/a", "", "ACCT.Blob.Example.Org:443", OK, "acct", "box", "a", false},
        {"/box/a", "", "acct-secondary.blob.example.org", OK, "acct", "box", "a", true},
        {"/", "", "acct.blob.example.org", OK, "acct", "", "", false},
        {"/acct/box/a", "", "blob.example.org", OK, "acct", "box", "a", false},
        {"/acct/box/a", "", "xblob.example.org", OK, "acct", "box", "a", false},
        {"/", "", "a.b.blob.example.org", ERR_INVALID_URI, "", "", "", false},
        {"/", "", "h", ERR_INVALID_URI, "", "", "", false},
        {"//box/a", "", "h", ERR_INVALID_URI, "", "", "", false},
        {"/Acct/box/a", "", "h", ERR_INVALID_URI, "", "", "", false},
        {"/acct/box/%00", "", "h", ERR_INVALID_URI, "", "", "", false},
        {"/acct/box/%FF", "", "h", ERR_INVALID_URI, "", "", "", false},
        {"/acct/box/%zz", "", "h", ERR_INVALID_URI, "", "", "", false},
        {"*", "", "h", ERR_INVALID_URI, "", "", "", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        call *c = call_new(NULL, "GET", "/", "", S(""));
        c->server.host_suffix = S("blob.example.org");
        c->r.headers[0].value = slice_str(cases[i].host);
        c->r.path_raw = slice_str(cases[i].path);
        if (cases[i].query[0]) {
            slice q = slice_str(cases[i].query);
            size_t eq = slice_find(q, 0, '=');
            c->r.params[c->r.param_count++] = (pair){slice_take(q, eq), slice_skip(q, eq + 1)};
        }
        assert_err(blob_address(&c->r), cases[i].e);
        if (cases[i].e == OK) {
            assert_slice(c->r.account_name, slice_str(cases[i].account));
            assert_slice(c->r.container, slice_str(cases[i].container));
            assert_slice(c->r.blob, slice_str(cases[i].blob));
            assert_int_equal(c->r.secondary, cases[i].secondary);
        }
        call_free(c);
    }
}

/* Azurite's rule: a host with a dot that is no address begins with the account. */
static void test_account_in_host(void **state) {
    (void)state;
    static const char *const hosts[][2] = {
        {"acct.blob.localhost:1", "acct"},
        {"acct-secondary.x", "acct"},
        {"ACCT.local", "acct"},
        {"localhost:1", "path"},
        {"azurite", "path"},
        {"127.0.0.1:1", "path"},
        {"10.1.2.3", "path"},
        {"[::1]:1", "path"},
        {"[::ffff:1.2.3.4]:1", "path"},
        {"host.docker.internal:1", "path"},
        {"Host.Docker.Internal", "path"},
        {"", "path"},
        {".x", "path"},
    };
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        call *c = call_new(NULL, "GET", "/", "", S(""));
        c->server.account_in_host = true;
        c->r.headers[0].value = slice_str(hosts[i][0]);
        c->r.path_raw = S("/path/box/a");
        assert_ok(blob_address(&c->r));
        assert_slice(c->r.account_name, slice_str(hosts[i][1]));
        call_free(c);
    }
}

static void test_names(void **state) {
    (void)state;
    static const struct {
        const char *container, *blob;
        err e;
    } cases[] = {
        {"box", "", OK},
        {"$root", "b", OK},
        {"", "", OK},
        {"ab", "", ERR_OUT_OF_RANGE_INPUT},
        {"a--b", "", ERR_INVALID_RESOURCE_NAME},
        {"Box", "", ERR_INVALID_RESOURCE_NAME},
        {"", "b", ERR_INVALID_URI},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        call *c = call_new(NULL, "GET", "/", "", S(""));
        c->r.container = slice_str(cases[i].container);
        c->r.blob = slice_str(cases[i].blob);
        assert_err(blob_names_check(&c->r), cases[i].e);
        call_free(c);
    }
}

static void test_cors_patterns(void **state) {
    (void)state;
    assert_true(
        blob_cors_origin_matches(S("http://a.example, http://b.example"), S("http://b.example")));
    assert_true(blob_cors_origin_matches(S("*"), S("null")));
    assert_true(blob_cors_origin_matches(S("https://*.example.org"), S("https://a.b.example.org")));
    assert_false(blob_cors_origin_matches(S("https://*.example.org"), S("https://example.org")));
    assert_false(blob_cors_origin_matches(S("https://*.example.org"), S("http://a.example.org")));
    assert_false(blob_cors_origin_matches(S("https://*.example.org"), S("https://.example.org")));
    assert_false(blob_cors_origin_matches(S("http://a.example"), S("http://a.example.evil")));
    assert_false(blob_cors_origin_matches(S(""), S("")));
    assert_true(blob_cors_header_matches(S("x-ms-*,Content-Type"), S("X-MS-Blob-Type")));
    assert_true(blob_cors_header_matches(S("x-ms-*, Content-Type"), S("content-type")));
    assert_true(blob_cors_header_matches(S("*"), S("anything")));
    assert_false(blob_cors_header_matches(S("x-ms-meta-*"), S("x-ms-blob-type")));
    assert_false(blob_cors_header_matches(S(""), S("x")));
}

static void check_rule(const char *origins, const char *methods, err expected) {
    store_cors_rule rule = {.origins = slice_str(origins), .methods = slice_str(methods)};
    assert_err(blob_cors_rule_check(&rule), expected);
}

static void test_cors_rules(void **state) {
    (void)state;
    check_rule("*", "GET", OK);
    check_rule("http://a.example", "GET,PUT,MERGE", OK);
    check_rule("", "GET", ERR_MISSING_REQUIRED_XML_NODE);
    check_rule("*", "", ERR_MISSING_REQUIRED_XML_NODE);
    check_rule("*", "FETCH", ERR_INVALID_XML_NODE_VALUE);
    check_rule("*", "GET,,PUT", ERR_INVALID_XML_NODE_VALUE);
    char many[65 * 2 + 1];
    for (size_t i = 0; i < 65; i++) memcpy(many + 2 * i, "a,", 2);
    many[65 * 2 - 1] = 0;
    check_rule(many, "GET", ERR_INVALID_XML_NODE_VALUE);
    many[64 * 2 - 1] = 0;
    check_rule(many, "GET", OK);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_ranges_applied),
        cmocka_unit_test(test_which_range_header),
        cmocka_unit_test(test_metadata),
        cmocka_unit_test(test_metadata_limits),
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_content_headers),
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_account_in_host),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_cors_patterns),
        cmocka_unit_test(test_cors_rules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
