/* Documents in and out: the reader's limits, access policies, service properties, block lists,
 * entries of listings. */
#include "blob_test.h"

/* ---- the reader ---- */

static err note_open(void *ctx, unsigned depth, slice name) {
    buf *b = ctx;
    buf_fmt(b, "%u%.*s(", depth, SLICE_ARG(name));
    return OK;
}
static err note_close(void *ctx, unsigned depth, slice name, slice text) {
    (void)depth, (void)name;
    buf *b = ctx;
    buf_put(b, text);
    buf_byte(b, ')');
    return OK;
}
static const xml_visitor notes = {note_open, note_close};

static void check_xml(const char *document, const char *expected) {
    for (size_t piece = 1; piece <= strlen(document) + 1; piece += 6) {
        buf b;
        buf_init(&b, 1 << 20);
        xml_reader *x = xml_reader_new(&notes, &b);
        err e = OK;
        for (slice rest = slice_str(document); rest.len > 0 && e == OK;
             rest = slice_skip(rest, piece))
            e = xml_reader_feed(x, slice_take(rest, piece));
        if (e == OK) e = xml_reader_end(x);
        xml_reader_free(x);
        assert_err(e, expected ? OK : ERR_INVALID_XML_DOCUMENT);
        if (expected) assert_slice(buf_slice(&b), slice_str(expected));
        buf_done(&b);
    }
}

static void test_reader(void **state) {
    (void)state;
    check_xml("<a/>", "1a()");
    check_xml("<?xml version=\"1.0\" encoding=\"utf-8\"?>\r\n<a>\n <b>x &amp; y</b> <c/>\n</a>\n",
              "1a(2b(x & y)2c())");
    check_xml("\xef\xbb\xbf<a> x </a>", "1a(x)");
    check_xml("<n:a xmlns:n='urn:x'><n:b q='1'>y</n:b></n:a>", "1a(2b(y))");
    check_xml("<a><!-- note --><b><![CDATA[<&>]]></b></a>", "1a(2b(<&>))");
    check_xml("<a>&#228;</a>", "1a(\xc3\xa4)");
    check_xml("", NULL);
    check_xml("text", NULL);
    check_xml("<a>", NULL);
    check_xml("<a></b>", NULL);
    check_xml("<a/><b/>", NULL);
    check_xml("<a>x<b/></a>", NULL);
    check_xml("<a><b/>x</a>", NULL);
    check_xml("<a><b/>x<c/></a>", NULL);
    check_xml("<!DOCTYPE a><a/>", NULL);
    check_xml("<!DOCTYPE a [<!ENTITY e 'x'>]><a>&e;</a>", NULL);
    check_xml("<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>", NULL);
    check_xml("<a>&e;</a>", NULL);
    check_xml("<a>\xff</a>", NULL);
    check_xml("<?xml version=\"1.0\" encoding=\"martian\"?><a/>", NULL);
}

static slice repeat(arena *a, const char *head, const char *part, size_t n, const char *tail) {
    buf b;
    buf_init_arena(&b, a, (size_t)64 << 20);
    buf_str(&b, head);
    for (size_t i = 0; i < n; i++) buf_str(&b, part);
    buf_str(&b, tail);
    assert_ok(buf_check(&b));
    return buf_slice(&b);
}

static void test_reader_bounds(void **state) {
    (void)state;
    arena *a = arena_new(4096, 0);
    buf b;
    buf_init(&b, 1 << 20);
    assert_ok(xml_read(S("<a><a><a><a><a><a><a><a/></a></a></a></a></a></a></a>"), &notes, &b));
    slice deep = repeat(a, "", "<a>", 9, "");
    assert_err(xml_read(deep, &notes, &b), ERR_INVALID_XML_DOCUMENT);
    assert_string_equal(err_detail(), "elements stand more than 8 deep in each other");
    slice text = repeat(a, "<a>", "x", XML_TEXT_MAX + 1, "</a>");
    assert_err(xml_read(text, &notes, &b), ERR_INVALID_XML_DOCUMENT);
    text = repeat(a, "<a>", "x", XML_TEXT_MAX, "</a>");
    assert_ok(xml_read(text, &notes, &b));
    /* One tag without end: refused long before all of it has come. */
    slice attribute = repeat(a, "<a b='", "x", (size_t)4 << 20, "'/>");
    xml_reader *x = xml_reader_new(&notes, &b);
    size_t fed = 0;
    err e = OK;
    for (; e == OK && fed < attribute.len; fed += 4096)
        e = xml_reader_feed(x, slice_take(slice_skip(attribute, fed), 4096));
    assert_err(e, ERR_INVALID_XML_DOCUMENT);
    assert_true(fed < 4 * XML_TOKEN_MAX);
    assert_err(xml_reader_feed(x, S("<a/>")), ERR_INVALID_XML_DOCUMENT); /* it stays so */
    xml_reader_free(x);
    xml_reader_free(NULL);
    buf_done(&b);
    arena_free(a);
}

/* ---- access policies ---- */

#define POLICY(id, inner)                                                                          \
    "<SignedIdentifier><Id>" id "</Id><AccessPolicy>" inner "</AccessPolicy></SignedIdentifier>"
#define POLICIES(inner) "<SignedIdentifiers>" inner "</SignedIdentifiers>"
#define SIXTY_FOUR      "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static err parse_acl(const char *text, store_policy *out, size_t *n) {
    static arena *a;
    if (a == NULL) a = arena_new(65536, 0);
    arena_reset(a);
    return blob_acl_parse(slice_str(text), a, out, n);
}

static void test_acl(void **state) {
    (void)state;
    store_policy p[STORE_POLICIES_MAX];
    size_t n = 9;
    assert_ok(parse_acl("", p, &n));
    assert_int_equal(n, 0);
    assert_ok(parse_acl(POLICIES(""), p, &n));
    assert_int_equal(n, 0);
    assert_ok(
        parse_acl(POLICIES(POLICY("one", "<Start>2026-01-01T00:00:00.0000000Z</Start>"
                                         "<Expiry>2027-01-01</Expiry>"
                                         "<Permission>rwd</Permission>") POLICY("two", "<Start/>")),
                  p, &n));
    assert_int_equal(n, 2);
    assert_slice(p[0].id, S("one"));
    assert_true(p[0].has_start && p[0].has_expiry && p[0].has_permission);
    assert_slice(p[0].start_text, S("2026-01-01T00:00:00.0000000Z"));
    assert_slice(p[0].permission, S("rwd"));
    assert_false(p[1].has_start || p[1].has_expiry || p[1].has_permission);
    assert_ok(parse_acl(POLICIES(POLICY(SIXTY_FOUR, "")), p, &n));
    assert_ok(parse_acl(
        POLICIES(POLICY("1", "") POLICY("2", "") POLICY("3", "") POLICY("4", "") POLICY("5", "")),
        p, &n));
    assert_int_equal(n, 5);
}

static void test_acl_refused(void **state) {
    (void)state;
    static const struct {
        const char *text;
        err e;
    } cases[] = {
        {"<Other/>", ERR_UNSUPPORTED_XML_NODE},
        {POLICIES("<Other/>"), ERR_UNSUPPORTED_XML_NODE},
        {POLICIES("text"), ERR_INVALID_XML_DOCUMENT},
        {POLICIES("<SignedIdentifier/>"), ERR_MISSING_REQUIRED_XML_NODE},
        {POLICIES("<SignedIdentifier><AccessPolicy/></SignedIdentifier>"),
         ERR_MISSING_REQUIRED_XML_NODE},
        {POLICIES(POLICY("", "")), ERR_INVALID_XML_NODE_VALUE},
        {POLICIES(POLICY(SIXTY_FOUR "5", "")), ERR_INVALID_XML_NODE_VALUE},
        {POLICIES(POLICY("a", "") POLICY("a", "")), ERR_INVALID_XML_NODE_VALUE},
        {POLICIES(POLICY("a", "<Start>soon</Start>")), ERR_INVALID_XML_NODE_VALUE},
        {POLICIES(POLICY("a", "<Expiry>2026-13-01</Expiry>")), ERR_INVALID_XML_NODE_VALUE},
        {POLICIES(POLICY("a", "<Permission>rr</Permission>")), ERR_INVALID_XML_NODE_VALUE},
        {POLICIES(POLICY("a", "<Permission>Q</Permission>")), ERR_INVALID_XML_NODE_VALUE},
        {POLICIES(POLICY("a", "<Other/>")), ERR_UNSUPPORTED_XML_NODE},
        {POLICIES("<SignedIdentifier><Id>a</Id><Start>2026-01-01</Start></SignedIdentifier>"),
         ERR_UNSUPPORTED_XML_NODE},
        {POLICIES("<SignedIdentifier><Id>a<b/></Id></SignedIdentifier>"), ERR_INVALID_XML_DOCUMENT},
        {POLICIES("<SignedIdentifier><Id><Start>2026-01-01</Start></Id></SignedIdentifier>"),
         ERR_UNSUPPORTED_XML_NODE},
        {POLICIES(POLICY("1", "") POLICY("2", "") POLICY("3", "") POLICY("4", "") POLICY("5", "")
                      POLICY("6", "")),
         ERR_INVALID_XML_DOCUMENT},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        store_policy p[STORE_POLICIES_MAX];
        size_t n = 77;
        err e = parse_acl(cases[i].text, p, &n);
        if (e != cases[i].e) print_error("%s\n", cases[i].text);
        assert_err(e, cases[i].e);
        assert_int_equal(n, 77);
    }
}

/* ---- service properties ---- */

#define SERVICE(inner) "<StorageServiceProperties>" inner "</StorageServiceProperties>"
#define RULE(inner)    SERVICE("<Cors><CorsRule>" inner "</CorsRule></Cors>")

static void test_service_merge(void **state) {
    (void)state;
    arena *a = arena_new(4096, 0);
    store_service v = {.log_read = true,
                       .hour = {.enabled = true, .include_apis = true},
                       .cors_count = 1,
                       .cors = {{.origins = S("*"), .methods = S("GET")}},
                       .default_version = S("2020-02-02")};
    assert_ok(blob_service_parse(
        S(SERVICE("<Cors><CorsRule><AllowedOrigins>http://a</AllowedOrigins>"
                  "<AllowedMethods>PUT</AllowedMethods><MaxAgeInSeconds>5</MaxAgeInSeconds>"
                  "<ExposedHeaders>x-*</ExposedHeaders><AllowedHeaders/></CorsRule></Cors>"
                  "<MinuteMetrics><Version>1.0</Version><Enabled>true</Enabled><IncludeAPIs>false"
                  "</IncludeAPIs><RetentionPolicy><Enabled>true</Enabled><Days>3</Days>"
                  "</RetentionPolicy></MinuteMetrics>")),
        a, &v));
    assert_true(v.log_read && v.hour.enabled && v.hour.include_apis); /* not named: as it was */
    assert_slice(v.default_version, S("2020-02-02"));
    assert_int_equal(v.cors_count, 1);
    assert_slice(v.cors[0].origins, S("http://a"));
    assert_slice(v.cors[0].exposed_headers, S("x-*"));
    assert_int_equal(v.cors[0].max_age_s, 5);
    assert_true(v.minute.enabled && v.minute.retention.enabled);
    assert_int_equal(v.minute.retention.days, 3);
    assert_ok(
        blob_service_parse(S(SERVICE("<Cors/><Logging><Version>1.0</Version></Logging>")), a, &v));
    assert_int_equal(v.cors_count, 0);
    assert_false(v.log_read);
    arena_free(a);
}

static void test_service_round_trip(void **state) {
    (void)state;
    arena *a = arena_new(4096, 0);
    store_service v = {.log_delete = true,
                       .log_retention = {true, 7},
                       .hour = {true, true, {true, 30}},
                       .cors_count = 1,
                       .cors = {{S("http://a"), S("GET,PUT"), S("x-*"), S("etag"), 60}},
                       .default_version = S("2020-02-02"),
                       .website = true,
                       .website_index = S("i&<>.html"),
                       .delete_retention = {true, 7},
                       .delete_permanent = true};
    buf one, two;
    buf_init(&one, 1 << 20);
    buf_init(&two, 1 << 20);
    blob_service_render(&one, &v);
    store_service again = {0};
    assert_ok(blob_service_parse(buf_slice(&one), a, &again));
    blob_service_render(&two, &again);
    assert_slice(buf_slice(&two), buf_slice(&one));
    assert_contains(buf_slice(&one), "<IndexDocument>i&amp;&lt;&gt;.html</IndexDocument>");
    assert_contains(buf_slice(&one),
                    "<DeleteRetentionPolicy><Enabled>true</Enabled><Days>7</Days>"
                    "<AllowPermanentDelete>true</AllowPermanentDelete></DeleteRetentionPolicy>");
    buf_done(&one);
    buf_done(&two);
    arena_free(a);
}

static void test_service_refused(void **state) {
    (void)state;
    static const struct {
        const char *text;
        err e;
    } cases[] = {
        {"<Other/>", ERR_UNSUPPORTED_XML_NODE},
        {"", ERR_INVALID_XML_DOCUMENT},
        {SERVICE("text"), ERR_INVALID_XML_DOCUMENT},
        {SERVICE("<Other/>"), ERR_UNSUPPORTED_XML_NODE},
        {SERVICE("<Logging>text</Logging>"), ERR_INVALID_XML_DOCUMENT},
        {SERVICE("<Logging><Delete>maybe</Delete></Logging>"), ERR_INVALID_XML_NODE_VALUE},
        {SERVICE("<Logging><Version>3.0</Version></Logging>"), ERR_INVALID_XML_NODE_VALUE},
        {SERVICE("<Logging><Enabled>true</Enabled></Logging>"), ERR_UNSUPPORTED_XML_NODE},
        {SERVICE("<Logging><Read><Write>true</Write></Read></Logging>"), ERR_UNSUPPORTED_XML_NODE},
        {SERVICE("<HourMetrics><RetentionPolicy><Enabled>true</Enabled></RetentionPolicy>"
                 "</HourMetrics>"),
         ERR_MISSING_REQUIRED_XML_NODE},
        {SERVICE("<HourMetrics><RetentionPolicy><Days>366</Days></RetentionPolicy></HourMetrics>"),
         ERR_INVALID_XML_NODE_VALUE},
        {SERVICE("<HourMetrics><RetentionPolicy><Days>0</Days></RetentionPolicy></HourMetrics>"),
         ERR_INVALID_XML_NODE_VALUE},
        {SERVICE("<DeleteRetentionPolicy><Enabled>true</Enabled></DeleteRetentionPolicy>"),
         ERR_MISSING_REQUIRED_XML_NODE},
        {SERVICE("<DeleteRetentionPolicy><RetentionPolicy/></DeleteRetentionPolicy>"),
         ERR_UNSUPPORTED_XML_NODE},
        {SERVICE("<DefaultServiceVersion>latest</DefaultServiceVersion>"),
         ERR_INVALID_XML_NODE_VALUE},
        {SERVICE("<Cors><Other/></Cors>"), ERR_UNSUPPORTED_XML_NODE},
        {SERVICE("<Cors><CorsRule/></Cors>"), ERR_MISSING_REQUIRED_XML_NODE},
        {RULE("<AllowedOrigins>*</AllowedOrigins>"), ERR_MISSING_REQUIRED_XML_NODE},
        {RULE("<AllowedOrigins>*</AllowedOrigins><AllowedMethods>GET</AllowedMethods>"
              "<MaxAgeInSeconds>-1</MaxAgeInSeconds>"),
         ERR_INVALID_XML_NODE_VALUE},
        {RULE("<Other/>"), ERR_UNSUPPORTED_XML_NODE},
        {SERVICE("<Cors><RetentionPolicy/></Cors>"), ERR_UNSUPPORTED_XML_NODE},
        {SERVICE("<StaticWebsite><Enabled>1</Enabled></StaticWebsite>"),
         ERR_INVALID_XML_NODE_VALUE},
    };
    arena *a = arena_new(4096, 0);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        store_service v = {0};
        err e = blob_service_parse(slice_str(cases[i].text), a, &v);
        if (e != cases[i].e) print_error("%s\n", cases[i].text);
        assert_err(e, cases[i].e);
    }
    arena_free(a);
}

/* ---- block lists ---- */

static void test_block_list(void **state) {
    (void)state;
    blob_picks p = {.arena = arena_new(4096, 0)};
    assert_ok(xml_read(S("<BlockList><Latest> QQ== </Latest><Committed>Qg==</Committed>"
                         "<Uncommitted>Qw==</Uncommitted></BlockList>"),
                       &blob_picks_visitor, &p));
    assert_int_equal(p.count, 3);
    assert_slice(p.pick[0].id, S("A"));
    assert_slice(p.pick[1].id, S("B"));
    assert_slice(p.pick[2].id, S("C"));
    assert_int_equal(p.pick[0].source, STORE_BLOCK_LATEST);
    assert_int_equal(p.pick[1].source, STORE_BLOCK_COMMITTED);
    assert_int_equal(p.pick[2].source, STORE_BLOCK_UNCOMMITTED);
    arena_free(p.arena);
}

static void test_block_list_refused(void **state) {
    (void)state;
    static const struct {
        const char *text;
        err e;
    } cases[] = {
        {"<Blocks/>", ERR_UNSUPPORTED_XML_NODE},
        {"<BlockList>x</BlockList>", ERR_INVALID_XML_DOCUMENT},
        {"<BlockList><Newest>QQ==</Newest></BlockList>", ERR_UNSUPPORTED_XML_NODE},
        {"<BlockList><Latest/></BlockList>", ERR_INVALID_XML_NODE_VALUE},
        {"<BlockList><Latest>====</Latest></BlockList>", ERR_INVALID_XML_NODE_VALUE},
        {"<BlockList><Latest>QQ=</Latest></BlockList>", ERR_INVALID_XML_NODE_VALUE},
        {"<BlockList><Latest><Latest/></Latest></BlockList>", ERR_UNSUPPORTED_XML_NODE},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        blob_picks p = {.arena = arena_new(4096, 0)};
        err e = xml_read(slice_str(cases[i].text), &blob_picks_visitor, &p);
        if (e != cases[i].e) print_error("%s\n", cases[i].text);
        assert_err(e, cases[i].e);
        arena_free(p.arena);
    }
}

static void test_block_list_length(void **state) {
    (void)state;
    arena *a = arena_new(4096, 0);
    for (size_t more = 0; more <= 1; more++) {
        blob_picks p = {.arena = arena_new(4096, 0)};
        slice list = repeat(a, "<BlockList>", "<Latest>QUFBQQ==</Latest>",
                            STORE_COMMITTED_BLOCKS_MAX + more, "</BlockList>");
        assert_true(list.len < BLOB_BLOCK_LIST_MAX);
        assert_err(xml_read(list, &blob_picks_visitor, &p), more ? ERR_BLOCK_LIST_TOO_LONG : OK);
        assert_int_equal(p.count, STORE_COMMITTED_BLOCKS_MAX);
        assert_slice(p.pick[49999].id, S("AAAA"));
        arena_free(p.arena);
    }
    arena_free(a);
}

/* ---- entries of listings ---- */

#define LEASE_PART                                                                                 \
    "<LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState>"                        \
    "<ServerEncrypted>true</ServerEncrypted></Properties>"

static void check_entry(const store_blob *blob, bool metadata, const char *expected) {
    buf b;
    blob_list_writer lw;
    buf_init(&b, 1 << 20);
    blob_list_writer_init(&lw, &b, &(store_blob_list){.metadata = metadata, .tags = metadata});
    blob_list_entry(&lw, blob);
    assert_ok(buf_check(&b));
    assert_slice(buf_slice(&b), slice_str(expected));
    buf_done(&b);
}

static void test_list_entry(void **state) {
    (void)state;
    pair meta[] = {{S("Note"), S("a<b")}};
    store_blob b = {.name = S("a/b&c.txt"),
                    .current = true,
                    .length = 18446744073709551615u,
                    .etag = 0x8D0123456789ABCu,
                    .created_us = 784111777000000,
                    .modified_us = 784111777999999,
                    .http = {.content_type = S("text/plain"),
                             .content_disposition = S("inline; filename=\"x\""),
                             .has_md5 = true},
                    .has_crc64 = true,
                    .crc64 = 0xAE8B14860A799888u,
                    .tier_changed_us = STORE_TIME_NONE,
                    .metadata = meta,
                    .metadata_count = 1};
    const char *text =
        "<Blob><Name>a/b&amp;c.txt</Name><Properties>"
        "<Creation-Time>Sun, 06 Nov 1994 08:49:37 GMT</Creation-Time>"
        "<Last-Modified>Sun, 06 Nov 1994 08:49:37 GMT</Last-Modified>"
        "<Etag>0x8D0123456789ABC</Etag><Content-Length>18446744073709551615</Content-Length>"
        "<Content-Type>text/plain</Content-Type><Content-Encoding /><Content-Language />"
        "<Content-CRC64>iJh5CoYUi64=</Content-CRC64>"
        "<Content-MD5>AAAAAAAAAAAAAAAAAAAAAA==</Content-MD5><Cache-Control />"
        "<Content-Disposition>inline; filename=&quot;x&quot;</Content-Disposition>"
        "<BlobType>BlockBlob</BlobType><AccessTier>Hot</AccessTier>"
        "<AccessTierInferred>true</AccessTierInferred>" LEASE_PART
        "<Metadata><Note>a&lt;b</Note></Metadata><OrMetadata /></Blob>";
    check_entry(&b, true, text);
}

static void test_list_entry_odd(void **state) {
    (void)state;
    store_blob b = {.name = S("a\x01%"),
                    .current = true,
                    .tier = STORE_TIER_COOL,
                    .tier_changed_us = 1000000,
                    .created_us = 0,
                    .modified_us = 0};
    check_entry(
        &b, false,
        "<Blob><Name Encoded=\"true\">a%01%25</Name><Properties>"
        "<Creation-Time>Thu, 01 Jan 1970 00:00:00 GMT</Creation-Time>"
        "<Last-Modified>Thu, 01 Jan 1970 00:00:00 GMT</Last-Modified><Etag>0x0</Etag>"
        "<Content-Length>0</Content-Length><Content-Type /><Content-Encoding />"
        "<Content-Language /><Content-CRC64 /><Content-MD5 /><Cache-Control />"
        "<Content-Disposition /><BlobType>BlockBlob</BlobType>"
        "<AccessTier>Cool</AccessTier>"
        "<AccessTierChangeTime>Thu, 01 Jan 1970 00:00:01 GMT</AccessTierChangeTime>" LEASE_PART
        "<OrMetadata /></Blob>");
    store_blob u = {.name = S("u"), .uncommitted = true};
    check_entry(&u, true,
                "<Blob><Name>u</Name><Properties><Content-Length>0</Content-Length>"
                "<BlobType>BlockBlob</BlobType>" LEASE_PART "<Metadata /><OrMetadata /></Blob>");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reader),
        cmocka_unit_test(test_reader_bounds),
        cmocka_unit_test(test_acl),
        cmocka_unit_test(test_acl_refused),
        cmocka_unit_test(test_service_merge),
        cmocka_unit_test(test_service_round_trip),
        cmocka_unit_test(test_service_refused),
        cmocka_unit_test(test_block_list),
        cmocka_unit_test(test_block_list_refused),
        cmocka_unit_test(test_block_list_length),
        cmocka_unit_test(test_list_entry),
        cmocka_unit_test(test_list_entry_odd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
