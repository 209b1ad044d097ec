/* The operator's calls on a store of their own, and how their answers are written for people. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <unistd.h>

#include "admin/admin.h"
#include "engine/local/local.h"

static char folder[64];
static admin_state state;

static int open_store(void **unused) {
    (void)unused;
    char path[96];
    crypto_keyservice *keys;
    engine *e;
    snprintf(folder, sizeof folder, "/tmp/admin_test.XXXXXX");
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/root.key", folder);
    if (crypto_keyfile_create(path) != OK || crypto_keyfile_open(path, &keys) != OK) return -1;
    snprintf(path, sizeof path, "%s/data", folder);
    const engine_local_options o = {.path = path, .create = true, .cache_bytes = 16 << 20};
    if (engine_local_open(&o, &e) != OK) return -1;
    const store_options so = {.engine = e, .keys = keys};
    return store_open(&so, &state.store) == OK ? 0 : -1;
}

static int close_store(void **unused) {
    (void)unused;
    char command[128];
    state.store = store_close(state.store);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command); /* NOLINT(cert-env33-c): a path of our own making */
}

static err call(arena *a, const char *request, slice *ret) {
    err_clear();
    return admin_call(&state, a, slice_str(request), ret);
}

static void assert_refused(err code, const char *request, const char *detail_has) {
    arena *a = arena_new(4096, 1 << 20);
    slice response = SLICE_NONE;
    assert_int_equal(call(a, request, &response), code);
    assert_null(response.p);
    if (!strstr(err_detail(), detail_has)) fail_msg("'%s' lacks '%s'", err_detail(), detail_has);
    arena_free(a);
}

static void test_hostile_requests(void **unused) {
    (void)unused;
    assert_refused(ERR_INVALID_INPUT, "", "1 to");
    assert_refused(ERR_INVALID_INPUT, "{", "not JSON");
    assert_refused(ERR_INVALID_INPUT, "[]", "not a JSON object");
    assert_refused(ERR_INVALID_INPUT, "{}", "no 'command'");
    assert_refused(ERR_INVALID_INPUT, "{\"command\":7}", "no 'command'");
    assert_refused(ERR_INVALID_INPUT, "{\"command\":\"rm\"}", "no command 'rm'");
    assert_refused(ERR_INVALID_INPUT, "{\"command\":\"account list\",\"command\":\"account list\"}",
                   "not JSON");
    assert_refused(ERR_INVALID_INPUT, "{\"command\":\"account list\",\"nmae\":\"x\"}", "'nmae'");
    assert_refused(ERR_INVALID_INPUT, "{\"command\":\"account show\"}", "'name'");
    assert_refused(ERR_INVALID_INPUT, "{\"command\":\"account show\",\"name\":[]}", "a string");
    assert_refused(ERR_INVALID_INPUT,
                   "{\"command\":\"account create\",\"name\":\"abc\",\"keys\":{}}", "'keys'");
    assert_refused(ERR_INVALID_INPUT,
                   "{\"command\":\"account create\",\"name\":\"abc\",\"keys\":[\"short\"]}",
                   "64 bytes");
    assert_refused(ERR_INVALID_INPUT, "{\"command\":\"key rotate\",\"name\":\"abc\",\"key\":3}",
                   "1 or 2");
    assert_refused(ERR_NOT_FOUND, "{\"command\":\"key show\",\"name\":\"abc\"}", "'abc'");
    arena *a = arena_new(4096, 0);
    char *deep = malloc(ADMIN_REQUEST_MAX + 2);
    memset(deep, '[', ADMIN_REQUEST_MAX);
    slice response;
    assert_int_equal(admin_call(&state, a, slice_of(deep, ADMIN_REQUEST_MAX), &response),
                     ERR_INVALID_INPUT);
    assert_int_equal(admin_call(&state, a, slice_of(deep, ADMIN_REQUEST_MAX + 1), &response),
                     ERR_INVALID_INPUT);
    free(deep);
    arena_free(a);
}

#define KEY64                                                                                      \
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=="

static void test_accounts(void **unused) {
    (void)unused;
    arena *a = arena_new(4096, 1 << 20);
    slice r;
    assert_int_equal(
        call(a, "{\"command\":\"account create\",\"name\":\"abc\",\"keys\":[\"" KEY64 "\"]}", &r),
        OK);
    slice line = admin_field(a, r, "connection_string");
    assert_true(slice_eq(line, S("DefaultEndpointsProtocol=http;AccountName=abc;AccountKey=" KEY64
                                 ";BlobEndpoint=" ADMIN_ENDPOINT_DEFAULT "/abc;")));
    assert_int_equal(call(a, "{\"command\":\"account create\",\"name\":\"abc\"}", &r),
                     ERR_ACCOUNT_ALREADY_EXISTS);
    assert_int_equal(
        call(a, "{\"command\":\"key show\",\"name\":\"abc\",\"endpoint\":\"https://x/\"}", &r), OK);
    line = admin_field(a, r, "connection_string");
    assert_true(slice_ends(line, S("BlobEndpoint=https://x/abc;")));
    assert_int_equal(call(a, "{\"command\":\"key show\",\"name\":\"abc\",\"endpoint\":\"x\"}", &r),
                     ERR_INVALID_INPUT);
    assert_int_equal(call(a, "{\"command\":\"account show\",\"name\":\"abc\"}", &r), OK);
    assert_int_equal(slice_find_slice(r, 0, S("AAAA")), r.len); /* no key */
    assert_int_equal(call(a, "{\"command\":\"key rotate\",\"name\":\"abc\",\"key\":1}", &r), OK);
    assert_int_equal(call(a, "{\"command\":\"key show\",\"name\":\"abc\"}", &r), OK);
    assert_int_equal(slice_find_slice(r, 0, S(KEY64)), r.len);
    assert_int_equal(call(a, "{\"command\":\"account delete\",\"name\":\"abc\"}", &r), OK);
    assert_int_equal(call(a, "{\"command\":\"account list\"}", &r), OK);
    assert_true(slice_eq(r, S("{\"accounts\":[]}")));
    arena_free(a);
}

/* More containers than one answer holds: pages that follow each other. */
static void test_container_pages(void **unused) {
    (void)unused;
    arena *a = arena_new(4096, 64 << 20);
    slice r, marker = SLICE_NONE;
    char text[256];
    size_t seen = 0, pages = 0;
    assert_int_equal(call(a, "{\"command\":\"account create\",\"name\":\"many\"}", &r), OK);
    for (int i = 0; i < ADMIN_PAGE_MAX + 5; i++) {
        snprintf(text, sizeof text,
                 "{\"command\":\"container create\",\"account\":\"many\",\"name\":\"c%05d\"}", i);
        assert_int_equal(call(a, text, &r), OK);
    }
    do {
        const pair fields[] = {{S("account"), S("many")}, {S("marker"), marker}};
        slice request = admin_request(a, "container list", fields, 2);
        assert_int_equal(admin_call(&state, a, request, &r), OK);
        for (size_t at = 0; (at = slice_find_slice(r, at, S("\"created\""))) < r.len; at++) seen++;
        pages++;
        marker = admin_field(a, r, "next");
    } while (!slice_empty(marker));
    assert_int_equal(seen, ADMIN_PAGE_MAX + 5);
    assert_int_equal(pages, 2);
    arena_free(a);
}

static void test_request_escapes(void **unused) {
    (void)unused;
    arena *a = arena_new(1024, 0);
    const pair fields[] = {{S("name"), S("a\"b\\\n")}, {S("key"), S("")}};
    slice r = admin_request(a, "key show", fields, 2);
    assert_true(slice_eq(r, S("{\"command\":\"key show\",\"name\":\"a\\\"b\\\\\\n\"}")));
    arena_free(a);
}

static void test_reply(void **unused) {
    (void)unused;
    arena *a = arena_new(1024, 0);
    slice r = SLICE_NONE;
    assert_int_equal(admin_reply(a, 200, S("{\"a\":1}"), &r), OK);
    assert_true(slice_eq(r, S("{\"a\":1}")));
    assert_int_equal(admin_reply(a, 404, S("{\"error\":{\"code\":\"x\",\"message\":\"why\"}}"), &r),
                     ERR_INVALID_INPUT);
    assert_string_equal(err_detail(), "why");
    assert_int_equal(admin_reply(a, 500, S("<html>"), &r), ERR_IO);
    assert_int_equal(admin_reply(a, 500, S("{}"), &r), ERR_INVALID_INPUT);
    assert_null(admin_field(a, S("not json"), "x").p);
    assert_null(admin_field(a, S("{\"x\":1}"), "x").p);
    arena_free(a);
}

static void assert_text(const char *json, const char *want) {
    buf out;
    buf_init(&out, 1 << 16);
    admin_text(slice_str(json), &out);
    buf_byte(&out, 0);
    assert_string_equal((const char *)out.p, want);
    buf_done(&out);
}

static void test_text(void **unused) {
    (void)unused;
    assert_text("{\"name\":\"abc\",\"id\":7,\"keys\":[\"k\",\"l\"],\"next\":\"hidden\"}",
                "name: abc\nid: 7\nkey 1: k\nkey 2: l\n");
    assert_text("{\"accounts\":[]}", "accounts: none\n");
    assert_text("{\"accounts\":[{\"name\":\"abc\",\"x\":1},{\"name\":\"abcdef\",\"x\":22}]}",
                "name    x\nabc     1\nabcdef  22\n");
    assert_text("{\"metadata\":{\"a\":\"1\",\"b\":\"\\u001b[31m\"}}",
                "metadata a: 1\nmetadata b: ?[31m\n");
    assert_text("not json", "");
}

static void test_settings(void **unused) {
    (void)unused;
    arena *a = arena_new(4096, 1 << 20);
    slice r;
    assert_int_equal(call(a, "{\"command\":\"account create\",\"name\":\"abc\"}", &r), OK);
#define SET(setting) "{\"command\":\"account set\",\"name\":\"abc\",\"setting\":\"" setting "\"}"
    assert_int_equal(call(a, SET("versioning=on"), &r), OK);
    assert_int_equal(call(a, SET("container_delete_days=365"), &r), OK);
    assert_int_equal(call(a, "{\"command\":\"account show\",\"name\":\"abc\"}", &r), OK);
    assert_true(slice_find_slice(r, 0, S("\"versioning\":\"on\"")) < r.len);
    assert_true(slice_find_slice(r, 0, S("\"container_delete_days\":365")) < r.len);
    assert_refused(ERR_INVALID_INPUT, SET("versioning=yes"), "on or off");
    assert_refused(ERR_INVALID_INPUT, SET("container_delete_days=366"), "0 to 365");
    assert_refused(ERR_INVALID_INPUT, SET("container_delete_days=-1"), "0 to 365");
    assert_refused(ERR_INVALID_INPUT, SET("colour=red"), "no setting 'colour'");
    assert_refused(ERR_INVALID_INPUT, SET("versioning"), "NAME=VALUE");
    assert_int_equal(call(a, SET("versioning=off"), &r), OK);
    assert_true(slice_find_slice(r, 0, S("\"versioning\":\"off\"")) < r.len);
    assert_true(slice_find_slice(r, 0, S("\"container_delete_days\":365")) < r.len);
    arena_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_hostile_requests, open_store, close_store),
        cmocka_unit_test_setup_teardown(test_accounts, open_store, close_store),
        cmocka_unit_test_setup_teardown(test_container_pages, open_store, close_store),
        cmocka_unit_test_setup_teardown(test_settings, open_store, close_store),
        cmocka_unit_test(test_request_escapes),
        cmocka_unit_test(test_reply),
        cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
