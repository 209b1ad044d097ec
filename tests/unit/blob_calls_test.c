/* Operations from their request to their answer, against a store in memory. */
#include "blob_test.h"

static call *go_as(fixture *f, auth_caller who, const char *method, const char *target,
                   const char *headers, slice body) {
    call *c = call_new(f->s, method, target, headers, body);
    ops_request *r = &c->r;
    r->account = f->a;
    c->e = ops_begin(r);
    r->caller = who;
    if (c->e == OK) c->e = ops_run(r, &c->w);
    if (c->e != OK) ops_fail(r, &c->w, c->e);
    ops_decorate(r, &c->w);
    return c;
}

static call *go(fixture *f, const char *method, const char *target, const char *headers,
                slice body) {
    return go_as(f, (auth_caller){.kind = AUTH_SHARED_KEY}, method, target, headers, body);
}

/* One call whose status, code and one header are all that matters. */
static void expect(fixture *f, const char *method, const char *target, const char *headers,
                   slice body, int status, const char *code) {
    call *c = go(f, method, target, headers, body);
    if (c->w.status != status)
        print_error("%s %s: %d %.*s\n", method, target, c->w.status, SLICE_ARG(answer_body(c)));
    assert_int_equal(c->w.status, status);
    assert_slice(answer_header(c, "x-ms-error-code"), slice_str(code));
    assert_true(answer_header(c, "x-ms-request-id").len == 36);
    assert_true(answer_header(c, "x-ms-version").len == 10);
    if (code != NULL && method[0] != 'H' && status != 304) {
        assert_contains(answer_body(c), code);
        assert_contains(answer_body(c), "RequestId:");
        assert_slice(answer_header(c, "Content-Type"), S("application/xml"));
    }
    call_free(c);
}

#define BLOCK_BLOB "x-ms-blob-type: BlockBlob\n"

static void put_text(fixture *f, const char *target, const char *text) {
    expect(f, "PUT", target, BLOCK_BLOB, slice_str(text), 201, NULL);
}

static void check_body(fixture *f, const char *target, slice expected) {
    call *c = go(f, "GET", target, "", S(""));
    assert_int_equal(c->w.status, 200);
    assert_slice(answer_body(c), expected);
    call_free(c);
}

static void test_put_get(void **state) {
    fixture *f = *state;
    call *c = go(f, "PUT", "/acct/box/b", BLOCK_BLOB "x-ms-meta-Key: v\nContent-Type: text/x",
                 S("hello"));
    assert_int_equal(c->w.status, 201);
    assert_slice(answer_header(c, "Content-MD5"), S("XUFAKrxLKna5cZ2REBfFkg=="));
    assert_true(answer_header(c, "x-ms-content-crc64").len == 12);
    assert_slice(answer_header(c, "x-ms-request-server-encrypted"), S("true"));
    slice etag = arena_dup(f->c.arena, answer_header(c, "ETag"));
    call_free(c);
    static const char *const methods[] = {"GET", "HEAD"};
    for (size_t i = 0; i < 2; i++) {
        c = go(f, methods[i], "/acct/box/b",
               "x-ms-client-request-id: mine\nx-ms-version: 2021-12-02", S(""));
        assert_int_equal(c->w.status, 200);
        assert_int_equal(c->w.length, 5);
        if (i == 0) assert_slice(answer_body(c), S("hello"));
        assert_slice(answer_header(c, "ETag"), etag);
        assert_slice(answer_header(c, "Content-Type"), S("text/x"));
        assert_slice(answer_header(c, "x-ms-meta-Key"), S("v"));
        assert_slice(answer_header(c, "x-ms-blob-type"), S("BlockBlob"));
        assert_slice(answer_header(c, "x-ms-client-request-id"), S("mine"));
        assert_slice(answer_header(c, "x-ms-version"), S("2021-12-02"));
        assert_slice(answer_header(c, "Content-MD5"), S("XUFAKrxLKna5cZ2REBfFkg=="));
        assert_slice(answer_header(c, "x-ms-access-tier"), i == 1 ? S("Hot") : SLICE_NONE);
        call_free(c);
    }
}

/* Content that is inline, streamed and made of blocks; every kind of range over it. */
static void test_ranges(void **state) {
    fixture *f = *state;
    static const size_t sizes[] = {10, 16384, 70000, 300000};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        slice data = content(f->c.arena, i, sizes[i]);
        expect(f, "PUT", "/acct/box/r", BLOCK_BLOB, data, 201, NULL);
        check_body(f, "/acct/box/r", data);
        call *c = go(f, "GET", "/acct/box/r", "x-ms-range: bytes=3-8", S(""));
        assert_int_equal(c->w.status, 206);
        assert_slice(answer_body(c), slice_take(slice_skip(data, 3), 6));
        slice want = arena_fmt(f->c.arena, "bytes 3-8/%zu", sizes[i]);
        assert_slice(answer_header(c, "Content-Range"), want);
        assert_int_equal(answer_header(c, "Content-MD5").len, 0);
        assert_int_equal(answer_header(c, "x-ms-blob-content-md5").len, 24);
        call_free(c);
        c = go(f, "GET", "/acct/box/r", "x-ms-range: bytes=1-\nx-ms-range-get-content-crc64: true",
               S(""));
        assert_int_equal(c->w.status, 206);
        slice body = answer_body(c);
        assert_slice(body, slice_skip(data, 1));
        uint64_t crc = crc64(0, body);
        uint8_t le[8];
        for (int k = 0; k < 8; k++) le[k] = (uint8_t)(crc >> (8 * k));
        slice sent;
        assert_ok(base64_get(f->c.arena, answer_header(c, "x-ms-content-crc64"), &sent));
        assert_slice(sent, slice_of(le, 8));
        call_free(c);
        c = go(f, "GET", "/acct/box/r", "x-ms-range: bytes=300000-", S(""));
        assert_int_equal(c->w.status, 416);
        assert_slice(answer_header(c, "x-ms-error-code"), S("InvalidRange"));
        want = arena_fmt(f->c.arena, "bytes */%zu", sizes[i]);
        assert_slice(answer_header(c, "Content-Range"), want);
        assert_int_equal(c->w.error, ERR_INVALID_RANGE);
        call_free(c);
    }
    expect(f, "GET", "/acct/box/r", "x-ms-range-get-content-md5: true", S(""), 400,
           "InvalidHeaderValue");
    expect(f, "GET", "/acct/box/r",
           "x-ms-range: bytes=0-1\nx-ms-range-get-content-md5: true\n"
           "x-ms-range-get-content-crc64: true",
           S(""), 400, "InvalidHeaderValue");
}

static void test_conditions(void **state) {
    fixture *f = *state;
    put_text(f, "/acct/box/b", "one");
    expect(f, "GET", "/acct/box/b", "If-None-Match: *", S(""), 400, "UnsatisfiableCondition");
    expect(f, "GET", "/acct/box/b", "If-Match: \"0x1\"", S(""), 412, "ConditionNotMet");
    expect(f, "PUT", "/acct/box/b", BLOCK_BLOB "If-None-Match: *", S("two"), 409,
           "BlobAlreadyExists");
    expect(f, "PUT", "/acct/box/b", BLOCK_BLOB "If-Match: \"0x1\"", S("two"), 412,
           "ConditionNotMet");
    expect(f, "DELETE", "/acct/box/b", "If-Match: \"0x1\"", S(""), 412, "ConditionNotMet");
    check_body(f, "/acct/box/b", S("one"));
    expect(f, "DELETE", "/acct/box/b", "If-Match: *", S(""), 202, NULL);
    expect(f, "DELETE", "/acct/box/b", "", S(""), 404, "BlobNotFound");
}

static void test_create_only(void **state) {
    fixture *f = *state;
    auth_caller who = {.kind = AUTH_SERVICE_SAS, .permissions = S("c")};
    static const int statuses[] = {201, 403};
    for (size_t i = 0; i < 2; i++) {
        call *c = go_as(f, who, "PUT", "/acct/box/new", BLOCK_BLOB, S("x"));
        assert_int_equal(c->w.status, statuses[i]);
        call_free(c);
    }
    call *c = go_as(f, who, "PUT", "/acct/box/new?comp=blocklist", "", S("<BlockList/>"));
    assert_int_equal(c->w.status, 403);
    assert_slice(answer_header(c, "x-ms-error-code"), S("UnauthorizedBlobOverwrite"));
    call_free(c);
    c = go_as(f, who, "PUT", "/acct/box/new", BLOCK_BLOB "If-None-Match: *", S("x"));
    assert_int_equal(c->w.status, 409);
    call_free(c);
    check_body(f, "/acct/box/new", S("x"));
}

static void test_sums_stop_a_write(void **state) {
    fixture *f = *state;
    expect(f, "PUT", "/acct/box/b", BLOCK_BLOB "Content-MD5: AAAAAAAAAAAAAAAAAAAAAA==", S("x"), 400,
           "Md5Mismatch");
    expect(f, "PUT", "/acct/box/b",
           BLOCK_BLOB "x-ms-blob-content-md5: AAAAAAAAAAAAAAAAAAAAAA==", S("x"), 400,
           "Md5Mismatch");
    expect(f, "PUT", "/acct/box/b", BLOCK_BLOB "x-ms-content-crc64: AAAAAAAAAAA=", S("x"), 400,
           "Crc64Mismatch");
    expect(f, "GET", "/acct/box/b", "", S(""), 404, "BlobNotFound");
    expect(f, "PUT", "/acct/box/b", BLOCK_BLOB "Content-MD5: XUFAKrxLKna5cZ2REBfFkg==", S("hello"),
           201, NULL);
}

static void test_types_and_tiers(void **state) {
    fixture *f = *state;
    expect(f, "PUT", "/acct/box/b", "", S("x"), 400, "MissingRequiredHeader");
    expect(f, "PUT", "/acct/box/b", "x-ms-blob-type: PageBlob", S("x"), 400, "InvalidHeaderValue");
    expect(f, "PUT", "/acct/box/b", BLOCK_BLOB "x-ms-blob-content-length: 512", S("x"), 400,
           "InvalidHeaderValue");
    expect(f, "PUT", "/acct/box/b", "x-ms-blob-type: blockblob", S("x"), 400, "InvalidHeaderValue");
    expect(f, "PUT", "/acct/box/b", BLOCK_BLOB "x-ms-access-tier: Warm", S("x"), 400,
           "InvalidHeaderValue");
    expect(f, "PUT", "/acct/box/b", BLOCK_BLOB "x-ms-access-tier: P10", S("x"), 400,
           "InvalidBlobTier");
    expect(f, "PUT", "/acct/box/b", BLOCK_BLOB "x-ms-access-tier: Cool", S("x"), 201, NULL);
    call *c = go(f, "HEAD", "/acct/box/b", "", S(""));
    assert_slice(answer_header(c, "x-ms-access-tier"), S("Cool"));
    assert_int_equal(answer_header(c, "x-ms-access-tier-inferred").len, 0);
    assert_int_equal(answer_header(c, "x-ms-access-tier-change-time").len, 29);
    call_free(c);
}

/* What cannot be kept is refused, with the header's name, and nothing is stored. */
static void test_promises(void **state) {
    fixture *f = *state;
    expect(f, "PUT", "/acct/box/b", BLOCK_BLOB "x-ms-encryption-scope: no-such-scope", S("x"), 400,
           "InvalidHeaderValue");
    expect(f, "PUT", "/acct/box/b", BLOCK_BLOB "x-ms-default-encryption-scope: s", S("x"), 400,
           "UnsupportedHeader");
    expect(f, "GET", "/acct/box/b", "", S(""), 404, "BlobNotFound");
    put_text(f, "/acct/box/b", "now");
    static const char *const harmless =
        BLOCK_BLOB "x-ms-legal-hold: false\nx-ms-default-encryption-scope: $account-encryption-key";
    expect(f, "PUT", "/acct/box/b", harmless, S("x"), 201, NULL);
    expect(f, "GET", "/acct/box/b?snapshot=2026-01-01T00:00:00.0000000Z", "", S(""), 404,
           "BlobNotFound");
    expect(f, "DELETE", "/acct/box/b?versionid=2026-01-01T00:00:00.0000000Z", "", S(""), 404,
           "BlobNotFound");
    expect(f, "PUT", "/acct/box/b?comp=metadata&versionid=x", "", S(""), 400, "InvalidOperation");
    expect(f, "PUT", "/acct/box/b?comp=tier", "", S(""), 400, "MissingRequiredHeader");
}

static void test_no_such_operation(void **state) {
    fixture *f = *state;
    expect(f, "PATCH", "/acct/box/b", "", S(""), 405, "UnsupportedHttpVerb");
    expect(f, "BREW", "/acct/box/b", "", S(""), 405, "UnsupportedHttpVerb");
    expect(f, "POST", "/acct/box?restype=container", "", S(""), 405, "UnsupportedHttpVerb");
    expect(f, "PUT", "/acct/box/b?comp=nonsense", "", S(""), 400, "InvalidQueryParameterValue");
    expect(f, "GET", "/acct/box?comp=list", "", S(""), 400, "InvalidQueryParameterValue");
    expect(f, "PUT", "/acct/box?restype=nonsense", "", S(""), 400, "InvalidQueryParameterValue");
    expect(f, "GET", "/acct/", "", S(""), 400, "MissingRequiredQueryParameter");
    expect(f, "PUT", "/acct/box/b?resource=file", BLOCK_BLOB, S(""), 501, "NotImplemented");
    /* How Hadoop and Arrow find out that names are flat here. */
    expect(f, "HEAD", "/acct/box/?action=getAccessControl", "", S(""), 400,
           "MissingRequiredQueryParameter");
    expect(f, "GET", "/", "", S(""), 400, "InvalidUri");
    expect(f, "GET", "/acct/box/b?timeout=x", "", S(""), 400, "InvalidQueryParameterValue");
    expect(f, "GET", "/acct/ab?restype=container", "", S(""), 400, "OutOfRangeInput");
    expect(f, "GET", "/acct/nobox/b", "", S(""), 404, "ContainerNotFound");
    expect(f, "HEAD", "/acct/nobox/b", "", S(""), 404, "ContainerNotFound");
    expect(f, "GET", "/acct?restype=service&comp=stats", "", S(""), 400,
           "InvalidQueryParameterValue");
    expect(f, "GET", "/acct-secondary?restype=service&comp=stats", "", S(""), 200, NULL);
    expect(f, "DELETE", "/acct-secondary/box/b", "", S(""), 403, "InsufficientAccountPermissions");
}

static void test_metadata_and_properties(void **state) {
    fixture *f = *state;
    put_text(f, "/acct/box/b", "x");
    expect(f, "PUT", "/acct/box/b?comp=metadata", "x-ms-meta-a: 1", S(""), 200, NULL);
    call *c = go(f, "GET", "/acct/box/b?comp=metadata", "", S(""));
    assert_slice(answer_header(c, "x-ms-meta-a"), S("1"));
    assert_int_equal(c->w.length, 0);
    call_free(c);
    expect(f, "PUT", "/acct/box/b?comp=properties", "x-ms-blob-cache-control: no-store", S(""), 200,
           NULL);
    c = go(f, "HEAD", "/acct/box/b", "", S(""));
    assert_slice(answer_header(c, "Cache-Control"), S("no-store"));
    assert_slice(answer_header(c, "x-ms-meta-a"), S("1"));
    assert_int_equal(answer_header(c, "Content-MD5").len, 0); /* was not sent again */
    call_free(c);
    expect(f, "PUT", "/acct/box/b?comp=metadata", "x-ms-meta-a-b: 1", S(""), 400,
           "InvalidMetadata");
    expect(f, "DELETE", "/acct/box/b", "x-ms-delete-snapshots: none", S(""), 400,
           "InvalidHeaderValue");
    expect(f, "DELETE", "/acct/box/b", "x-ms-delete-snapshots: only", S(""), 202, NULL);
    check_body(f, "/acct/box/b", S("x"));
    expect(f, "DELETE", "/acct/box/b", "x-ms-delete-snapshots: include", S(""), 202, NULL);
}

static void test_sas_overrides(void **state) {
    fixture *f = *state;
    put_text(f, "/acct/box/b", "x");
    auth_caller who = {.kind = AUTH_SERVICE_SAS,
                       .content_type = S("text/other"),
                       .content_disposition = S("attachment")};
    call *c = go_as(f, who, "GET", "/acct/box/b", "", S(""));
    assert_slice(answer_header(c, "Content-Type"), S("text/other"));
    assert_slice(answer_header(c, "Content-Disposition"), S("attachment"));
    call_free(c);
}

static void test_blocks(void **state) {
    fixture *f = *state;
    slice large = content(f->c.arena, 9, 100000);
    expect(f, "PUT", "/acct/box/b?comp=block&blockid=QQ%3D%3D", "", large, 201, NULL);
    expect(f, "PUT", "/acct/box/b?comp=block&blockid=Qg%3D%3D", "", S("two"), 201, NULL);
    expect(f, "PUT", "/acct/box/b?comp=block&blockid=QQ%3D", "", S("x"), 400,
           "InvalidQueryParameterValue");
    expect(f, "PUT", "/acct/box/b?comp=block", "", S("x"), 400, "MissingRequiredQueryParameter");
    expect(f, "PUT", "/acct/box/b?comp=block&blockid=Qw%3D%3D", "", S(""), 400,
           "InvalidHeaderValue");
    expect(f, "PUT", "/acct/box/b?comp=block&blockid=QUE%3D", "", S("x"), 400,
           "InvalidBlobOrBlock");
    expect(f, "PUT", "/acct/box/b?comp=blocklist", "",
           S("<BlockList><Latest>Zg==</Latest></BlockList>"), 400, "InvalidBlockList");
    slice list = S("<BlockList><Latest>Qg==</Latest><Uncommitted>QQ==</Uncommitted></BlockList>");
    expect(f, "PUT", "/acct/box/b?comp=blocklist", "Content-MD5: AAAAAAAAAAAAAAAAAAAAAA==", list,
           400, "Md5Mismatch");
    expect(f, "PUT", "/acct/box/b?comp=blocklist", "x-ms-content-crc64: AAAAAAAAAAA=", list, 400,
           "Crc64Mismatch");
    expect(f, "GET", "/acct/box/b", "", S(""), 404, "BlobNotFound");
    call *c = go(f, "GET", "/acct/box/b?comp=blocklist&blocklisttype=all", "", S(""));
    assert_slice(answer_body(c),
                 S("<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList><CommittedBlocks />"
                   "<UncommittedBlocks><Block><Name>QQ==</Name><Size>100000</Size></Block>"
                   "<Block><Name>Qg==</Name><Size>3</Size></Block></UncommittedBlocks>"
                   "</BlockList>"));
    assert_int_equal(answer_header(c, "ETag").len, 0);
    call_free(c);
    expect(f, "PUT", "/acct/box/b?comp=blocklist", "x-ms-blob-content-type: text/y", list, 201,
           NULL);
    buf whole;
    buf_init_arena(&whole, f->c.arena, 1 << 20);
    buf_put(&whole, S("two"));
    buf_put(&whole, large);
    check_body(f, "/acct/box/b", buf_slice(&whole));
    c = go(f, "GET", "/acct/box/b?comp=blocklist", "", S(""));
    assert_contains(answer_body(c), "<CommittedBlocks><Block><Name>Qg==</Name><Size>3</Size>");
    assert_slice(answer_header(c, "x-ms-blob-content-length"), S("100003"));
    call_free(c);
    c = go(f, "HEAD", "/acct/box/b", "", S(""));
    assert_slice(answer_header(c, "Content-Type"), S("text/y"));
    assert_int_equal(answer_header(c, "Content-MD5").len, 0);
    call_free(c);
    expect(f, "GET", "/acct/box/b?comp=blocklist&blocklisttype=some", "", S(""), 400,
           "InvalidQueryParameterValue");
}

static void test_containers(void **state) {
    fixture *f = *state;
    expect(f, "PUT", "/acct/new?restype=container", "x-ms-meta-a: 1\nx-ms-blob-public-access: blob",
           S(""), 201, NULL);
    expect(f, "PUT", "/acct/new?restype=container", "", S(""), 409, "ContainerAlreadyExists");
    expect(f, "PUT", "/acct/Bad?restype=container", "", S(""), 400, "InvalidResourceName");
    expect(f, "PUT", "/acct/other?restype=container", "x-ms-blob-public-access: all", S(""), 400,
           "InvalidHeaderValue");
    call *c = go(f, "HEAD", "/acct/new?restype=container", "", S(""));
    assert_slice(answer_header(c, "x-ms-meta-a"), S("1"));
    assert_slice(answer_header(c, "x-ms-blob-public-access"), S("blob"));
    assert_slice(answer_header(c, "x-ms-has-legal-hold"), S("false"));
    call_free(c);
    expect(f, "PUT", "/acct/new?restype=container&comp=metadata", "x-ms-meta-b: 2", S(""), 200,
           NULL);
    c = go(f, "GET", "/acct/new?restype=container&comp=metadata", "", S(""));
    assert_slice(answer_header(c, "x-ms-meta-b"), S("2"));
    assert_int_equal(answer_header(c, "x-ms-meta-a").len, 0);
    call_free(c);
    slice acl = S("<SignedIdentifiers><SignedIdentifier><Id>p</Id><AccessPolicy>"
                  "<Expiry>2027-01-01</Expiry></AccessPolicy></SignedIdentifier>"
                  "</SignedIdentifiers>");
    expect(f, "PUT", "/acct/new?restype=container&comp=acl", "", acl, 200, NULL);
    c = go(f, "GET", "/acct/new?restype=container&comp=acl", "", S(""));
    assert_contains(answer_body(c), "<Id>p</Id><AccessPolicy><Expiry>2027-01-01</Expiry>");
    assert_int_equal(answer_header(c, "x-ms-blob-public-access").len, 0);
    call_free(c);
    expect(f, "DELETE", "/acct/new?restype=container",
           "If-Unmodified-Since: Sun, 06 Nov 1994 "
           "08:49:37 GMT",
           S(""), 412, "ConditionNotMet");
    expect(f, "DELETE", "/acct/new?restype=container", "", S(""), 202, NULL);
    expect(f, "GET", "/acct/new?restype=container", "", S(""), 404, "ContainerNotFound");
}

#define LIST "/acct/box?restype=container&comp=list"

static void test_listing(void **state) {
    fixture *f = *state;
    static const char *const names[] = {"a", "a%2F1", "a%2F2", "b", "c%2Fd", "%3C%01"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        slice target = arena_fmt(f->c.arena, "/acct/box/%s", names[i]);
        put_text(f, arena_cstr(f->c.arena, target), "x");
    }
    call *c = go(f, "GET", LIST "&delimiter=/&maxresults=3", "", S(""));
    slice body = answer_body(c);
    assert_contains(body, "<EnumerationResults ServiceEndpoint=\"http://127.0.0.1:10000/acct/\" "
                          "ContainerName=\"box\"><MaxResults>3</MaxResults>"
                          "<Delimiter>/</Delimiter><Blobs><Blob>"
                          "<Name Encoded=\"true\">%3C%01</Name>");
    assert_contains(body, "<BlobPrefix><Name>a/</Name></BlobPrefix></Blobs><NextMarker>");
    size_t at = slice_find_slice(body, 0, S("<NextMarker>")) + 12;
    slice marker = slice_take(slice_skip(body, at), slice_find(body, at, '<') - at);
    slice target = arena_fmt(f->c.arena, LIST "&delimiter=/&marker=%.*s", SLICE_ARG(marker));
    call_free(c);
    c = go(f, "GET", arena_cstr(f->c.arena, target), "", S(""));
    body = answer_body(c);
    assert_contains(body, "<Blobs><Blob><Name>b</Name>");
    assert_contains(body, "<BlobPrefix><Name>c/</Name></BlobPrefix></Blobs><NextMarker /></Enum");
    call_free(c);
    expect(f, "GET", LIST "&maxresults=0", "", S(""), 400, "OutOfRangeQueryParameterValue");
    expect(f, "GET", LIST "&maxresults=x", "", S(""), 400, "InvalidQueryParameterValue");
    expect(f, "GET", LIST "&include=metadata,all", "", S(""), 400, "InvalidQueryParameterValue");
    expect(f, "GET", LIST "&include=snapshots,versions,tags,copy&include=", "", S(""), 200, NULL);
    c = go(f, "GET", "/acct?comp=list&include=metadata&maxresults=1", "", S(""));
    assert_contains(answer_body(c), "<Containers><Container><Name>box</Name><Properties>");
    assert_contains(answer_body(c), "<Metadata /></Container></Containers><NextMarker />");
    call_free(c);
}

/* A page of long names ends by its size, and the marker goes on from there. */
static void test_listing_ends_by_size(void **state) {
    fixture *f = *state;
    pair metadata[1] = {{S("m"), content(f->c.arena, 1, 8000)}};
    for (size_t i = 0; i < 8000; i++)
        ((uint8_t *)(uintptr_t)metadata[0].value.p)[i] = '<'; /* four bytes each in XML */
    const size_t count = 300;
    for (size_t i = 0; i < count; i++) {
        store_blob b;
        store_upload *u = upload(f, S("x"), 1);
        slice name = arena_fmt(f->c.arena, "n%04zu", i);
        store_put p = {.metadata = metadata, .metadata_count = 1};
        assert_ok(store_blob_put(f->s, f->c, f->k, name, u, &p, &b));
    }
    call *c = go(f, "GET", LIST "&include=metadata", "", S(""));
    slice body = answer_body(c);
    assert_true(body.len > BLOB_PAGE_BYTES && body.len < BLOB_PAGE_BYTES + 100000);
    size_t seen = 0;
    for (size_t at = 0; (at = slice_find_slice(body, at, S("<Blob>"))) < body.len; at++) seen++;
    assert_true(seen > 200 && seen < count);
    size_t at = slice_find_slice(body, 0, S("<NextMarker>")) + 12;
    slice marker = slice_take(slice_skip(body, at), slice_find(body, at, '<') - at);
    slice target = arena_fmt(f->c.arena, LIST "&marker=%.*s", SLICE_ARG(marker));
    call_free(c);
    c = go(f, "GET", arena_cstr(f->c.arena, target), "", S(""));
    slice first = arena_fmt(f->c.arena, "<Blobs><Blob><Name>n%04zu</Name>", seen);
    assert_contains(answer_body(c), arena_cstr(f->c.arena, first));
    call_free(c);
}

#define PREFLIGHT                                                                                  \
    "Origin: http://a.example\nAccess-Control-Request-Method: PUT\n"                               \
    "Access-Control-Request-Headers: x-ms-blob-type,Content-Type"

static void test_cors(void **state) {
    fixture *f = *state;
    expect(f, "OPTIONS", "/acct/box/b", PREFLIGHT, S(""), 403, "CorsPreflightFailure");
    slice rules = S("<StorageServiceProperties><Cors><CorsRule>"
                    "<AllowedOrigins>http://a.example</AllowedOrigins>"
                    "<AllowedMethods>GET,PUT</AllowedMethods><MaxAgeInSeconds>60</MaxAgeInSeconds>"
                    "<ExposedHeaders>x-ms-meta-*,ETag</ExposedHeaders>"
                    "<AllowedHeaders>x-ms-*,content-type</AllowedHeaders></CorsRule></Cors>"
                    "</StorageServiceProperties>");
    expect(f, "PUT", "/acct?restype=service&comp=properties", "", rules, 202, NULL);
    call *c = go(f, "OPTIONS", "/acct/box/b", PREFLIGHT, S(""));
    assert_int_equal(c->w.status, 200);
    assert_slice(answer_header(c, "Access-Control-Allow-Origin"), S("http://a.example"));
    assert_slice(answer_header(c, "Access-Control-Allow-Credentials"), S("true"));
    assert_slice(answer_header(c, "Access-Control-Max-Age"), S("60"));
    call_free(c);
    expect(f, "OPTIONS", "/acct/box/b", "Origin: http://a.example", S(""), 400,
           "MissingRequiredHeader");
    put_text(f, "/acct/box/b", "x");
    expect(f, "PUT", "/acct/box/b?comp=metadata", "x-ms-meta-q: 1", S(""), 200, NULL);
    c = go(f, "GET", "/acct/box/b", "Origin: http://a.example", S(""));
    assert_slice(answer_header(c, "Access-Control-Allow-Origin"), S("http://a.example"));
    assert_slice(answer_header(c, "Access-Control-Expose-Headers"), S("ETag,x-ms-meta-q"));
    assert_slice(answer_header(c, "Vary"), S("Origin"));
    call_free(c);
    c = go(f, "GET", "/acct/box/b", "Origin: http://b.example", S(""));
    assert_int_equal(answer_header(c, "Access-Control-Allow-Origin").len, 0);
    assert_slice(answer_header(c, "Vary"), S("Origin"));
    call_free(c);
    c = go(f, "GET", "/acct?restype=service&comp=properties", "", S(""));
    assert_contains(answer_body(c), "<AllowedHeaders>x-ms-*,content-type</AllowedHeaders>");
    call_free(c);
}

/* On the event loop nothing may block: the same call runs again elsewhere, and nothing is lost. */
static void test_would_block(void **state) {
    fixture *f = *state;
    expect(f, "PUT", "/acct/box/b", BLOCK_BLOB, content(f->c.arena, 3, 200000), 201, NULL);
    call *c = call_new(f->s, "GET", "/acct/box/b",
                       "x-ms-range: bytes=0-99\nx-ms-range-get-content-md5: true", S(""));
    c->r.account = f->a;
    assert_ok(ops_begin(&c->r));
    c->r.nowait = true;
    assert_err(ops_run(&c->r, &c->w), ERR_WOULD_BLOCK);
    assert_null(c->w.source_free);
    c->r.nowait = false;
    assert_ok(ops_run(&c->r, &c->w));
    assert_int_equal(c->w.status, 206);
    assert_slice(answer_body(c), slice_take(content(f->c.arena, 3, 200000), 100));
    call_free(c);
}

/* Every row can be found, and only once. */
static void test_table(void **state) {
    (void)state;
    static const char *const methods[] = {"GET",    "HEAD",  "PUT",     "POST",
                                          "DELETE", "PATCH", "OPTIONS", "BREW"};
    static const char *const paths[] = {"/acct", "/acct/box/", "/acct/box/b"};
    for (size_t i = 0; i < blob_protocol.row_count; i++) {
        const ops_row *row = &blob_protocol.rows[i];
        buf b;
        buf_init(&b, 256);
        buf_fmt(&b, "%s?%s%s&%s%s&%s%s", paths[row->level], row->restype ? "restype=" : "",
                row->restype ? row->restype : "", row->comp ? "comp=" : "",
                row->comp ? row->comp : "", row->param ? row->param : "", row->param ? "=x" : "");
        buf_byte(&b, 0);
        char header[128] = "";
        slice rest = slice_str(row->header), name;
        while (row->header && slice_split(&rest, ',', &name)) {
            bool last = rest.p == NULL; /* it has the row's value */
            size_t n = strlen(header);
            snprintf(header + n, sizeof header - n, "%.*s: %s\n", SLICE_ARG(name),
                     last && row->header_value ? row->header_value : "x");
        }
        call *c = call_new(NULL, methods[row->method], (const char *)b.p, header, S(""));
        c->r.account_name = S("acct");
        const ops_row *found = NULL;
        c->e = ops_begin(&c->r);
        found = c->r.row;
        if (found != row) print_error("%s: %s\n", row->name, (const char *)b.p);
        assert_ptr_equal(found, row);
        assert_true(row->need.writes == ((row->flags & OPS_NO_SECONDARY) != 0));
        assert_true(row->run != NULL && row->action != NULL && row->name != NULL);
        assert_true((row->flags & OPS_BODY_IN) != 0 || row->body_max == 0);
        call_free(c);
        buf_done(&b);
    }
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
    const struct CMUnitTest tests[] = {
        T(test_put_get),
        T(test_ranges),
        T(test_conditions),
        T(test_create_only),
        T(test_sums_stop_a_write),
        T(test_types_and_tiers),
        T(test_promises),
        T(test_no_such_operation),
        T(test_metadata_and_properties),
        T(test_sas_overrides),
        T(test_blocks),
        T(test_containers),
        T(test_listing),
        T(test_listing_ends_by_size),
        T(test_cors),
        T(test_would_block),
        T(test_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
