/* The rules of a SAS and of Shared Key beyond the signature: times, addresses, protocol, policies,
 * form. */
#include "vectors/auth_fixture.h"

#define SERVICE "sv=2026-06-06&sr=b&sp=r&se=2099-01-01T00:00:00Z"
#define ACCOUNT "sv=2026-06-06&ss=b&srt=sco&sp=r&se=2099-01-01T00:00:00Z"

typedef struct rule {
    const char *query; /* signed as it is */
    err want;
    const char *detail;
} rule;

static void walk(fixture *f, const rule *rules, size_t n) {
    for (size_t i = 0; i < n; i++) {
        token(f, rules[i].query);
        err e = identify(f);
        if (e != rules[i].want)
            fail_msg("%s: %s, %s", rules[i].query, err_get(e)->name, err_detail());
        if (e) assert_detail(rules[i].detail);
    }
}

static void times(void **state) {
    static const rule rules[] = {
        {"sv=2026-06-06&sr=b&sp=r&se=2026-12-01T12:00:01Z", OK, NULL},
        {"sv=2026-06-06&sr=b&sp=r&se=2026-12-02", OK, NULL},
        {"sv=2026-06-06&sr=b&sp=r&se=2026-12-01T12:30Z", OK, NULL},
        {"sv=2026-06-06&sr=b&sp=r&st=2026-12-01T12:00:00Z&se=2026-12-02", OK, NULL},
        {"sv=2026-06-06&sr=b&sp=r&se=2026-12-01T12:00:00Z", ERR_AUTHENTICATION_FAILED,
         "Signed expiry time [Tue, 01 Dec 2026 12:00:00 GMT] must be after signed start time"},
        {"sv=2026-06-06&sr=b&sp=r&st=2026-11-01&se=2026-12-01", ERR_AUTHENTICATION_FAILED,
         "Signature not valid in the specified time frame: Start [Sun, 01 Nov 2026 00:00:00 GMT] - "
         "Expiry [Tue, 01 Dec 2026 00:00:00 GMT] - Current [Tue, 01 Dec 2026 12:00:0"},
        {"sv=2026-06-06&sr=b&sp=r&st=2026-12-01T12:01:00Z&se=2026-12-02", ERR_AUTHENTICATION_FAILED,
         "Signature not valid in the specified time frame: Start [Tue, 01 Dec 2026 12:01:00 GMT]"},
        {"sv=2026-06-06&sr=b&sp=r&st=2027-01-02&se=2027-01-01", ERR_AUTHENTICATION_FAILED,
         "must be after signed start time [Sat, 02 Jan 2027 00:00:00 GMT]"},
        {"sv=2026-06-06&sr=b&sp=r", ERR_AUTHENTICATION_FAILED, "Access without signed expiry"},
        {"sv=2026-06-06&sr=b&sp=r&se=tomorrow", ERR_AUTHENTICATION_FAILED, "se: 'tomorrow'"},
        {SERVICE "&st=2026-13-01", ERR_AUTHENTICATION_FAILED, "st: '2026-13-01'"},
    };
    walk(*state, rules, ARRAY_LEN(rules));
}

static void form(void **state) {
    static const rule rules[] = {
        {SERVICE, OK, NULL},
        {ACCOUNT, OK, NULL},
        {"sr=b&sp=r&se=2099-01-01", ERR_AUTHENTICATION_FAILED, "sv is mandatory"},
        {"sv=2026-6-6&sr=b&sp=r&se=2099-01-01", ERR_AUTHENTICATION_FAILED, "sv: '2026-6-6'"},
        {"sv=2014-02-14&sr=b&sp=r&se=2099-01-01", ERR_AUTHENTICATION_FAILED,
         "older than 2015-04-05"},
        {"sv=2099-12-31&sr=b&sp=r&se=2099-01-01", OK, NULL},
        {"sv=2026-06-06&sp=r&se=2099-01-01", ERR_AUTHENTICATION_FAILED, "sr is mandatory"},
        {"sv=2026-06-06&sr=x&sp=r&se=2099-01-01", ERR_AUTHENTICATION_FAILED, "sr: 'x'"},
        {"sv=2017-11-09&sr=bs&sp=r&se=2099-01-01&snapshot=x", ERR_AUTHENTICATION_FAILED,
         "needs sv 2018-11-09"},
        {"sv=2026-06-06&sr=bs&sp=r&se=2099-01-01", ERR_AUTHENTICATION_FAILED, "needs the snapshot"},
        {"sv=2026-06-06&sr=bv&sp=r&se=2099-01-01", ERR_AUTHENTICATION_FAILED,
         "needs the versionid"},
        {"sv=2019-12-12&sr=d&sdd=1&sp=r&se=2099-01-01", ERR_AUTHENTICATION_FAILED,
         "needs sv 2020-02-10"},
        {"sv=2026-06-06&sr=b&se=2099-01-01", ERR_AUTHENTICATION_FAILED, "sp is mandatory"},
        {"sv=2026-06-06&sr=b&sp=rwl&se=2099-01-01", OK, NULL},
        {"sv=2026-06-06&sr=b&sp=wr&se=2099-01-01", ERR_AUTHENTICATION_FAILED, "out of order"},
        {"sv=2026-06-06&sr=b&sp=rr&se=2099-01-01", ERR_AUTHENTICATION_FAILED, "'r' is given twice"},
        {"sv=2026-06-06&sr=b&sp=rq&se=2099-01-01", ERR_AUTHENTICATION_FAILED, "is none of"},
        {"sv=2026-06-06&ss=b&srt=sco&se=2099-01-01", ERR_AUTHENTICATION_FAILED, "sp is mandatory"},
        {"sv=2026-06-06&ss=b&srt=sco&sp=wr&se=2099-01-01", OK, NULL},
        {"sv=2026-06-06&ss=b&sp=r&se=2099-01-01", ERR_AUTHENTICATION_FAILED, "srt is mandatory"},
        {"sv=2026-06-06&srt=o&sp=r&se=2099-01-01", ERR_AUTHENTICATION_FAILED, "ss is mandatory"},
        {"sv=2026-06-06&ss=z&srt=o&sp=r&se=2099-01-01", ERR_AUTHENTICATION_FAILED, "ss: 'z'"},
        {"sv=2026-06-06&ss=b&srt=x&sp=r&se=2099-01-01", ERR_AUTHENTICATION_FAILED, "srt: 'x'"},
        {ACCOUNT "&si=p", ERR_AUTHENTICATION_FAILED, "an account SAS has no access policies"},
        {SERVICE "&skoid=1", ERR_AUTHENTICATION_FAILED, "user delegation is not configured"},
    };
    walk(*state, rules, ARRAY_LEN(rules));
}

static void twice_or_torn(void **state) {
    fixture *f = *state;
    token(f, SERVICE);
    f->params[f->r.param_count++] = (pair){S("sp"), S("w")};
    assert_err(identify(f), ERR_AUTHENTICATION_FAILED);
    assert_detail("sp is given twice");
    token(f, SERVICE);
    param(f, "se")->value = S("2099-01-01\n");
    assert_err(identify(f), ERR_AUTHENTICATION_FAILED);
    assert_detail("se holds a line feed");
    token(f, SERVICE);
    f->r.param_count--; /* the sig */
    assert_err(identify(f), ERR_AUTHENTICATION_FAILED);
    assert_detail("no sig");
    static const char *const sigs[] = {
        "", "AAAA", "not base64!!", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE",
        "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz"};
    for (size_t i = 0; i < ARRAY_LEN(sigs); i++) {
        token(f, SERVICE);
        param(f, "sig")->value = slice_str(sigs[i]);
        assert_err(identify(f), ERR_AUTHENTICATION_FAILED);
        assert_detail("not well formed");
    }
}

/* A signature never reaches a detail: neither the one that came nor the one that would have been
 * right. */
static void details_hold_no_signature(void **state) {
    fixture *f = *state;
    token(f, SERVICE);
    slice right = arena_dup(f->arena, param(f, "sig")->value);
    f->r.blob = S("dir/c");
    assert_err(identify(f), ERR_AUTHENTICATION_FAILED);
    assert_detail(
        "Signature did not match. String to sign used was r\n\n2099-01-01T00:00:00Z\n/blob/"
        "devstoreaccount1/records/dir/c\n");
    assert_null(strstr(err_detail(), arena_cstr(f->arena, right)));
}

/* '+' that came as a space. */
static void plus_as_space(void **state) {
    fixture *f = *state;
    for (int i = 0; i < 64; i++) {
        token(f, SERVICE);
        slice at = arena_fmt(f->arena, "20%02d-01-01", 99 - i);
        param(f, "se")->value = at;
        f->r.param_count--;
        sign_token(f, 0);
        slice sig = arena_dup(f->arena, param(f, "sig")->value);
        if (slice_find(sig, 0, '+') == sig.len) continue;
        char *text = arena_cstr(f->arena, sig);
        for (char *p = text; *p; p++)
            if (*p == '+') *p = ' ';
        param(f, "sig")->value = slice_str(text);
        assert_err(identify(f), OK);
        return;
    }
    fail_msg("no signature with a plus");
}

static void addresses(void **state) {
    fixture *f = *state;
    static const struct {
        const char *sip, *peer;
        err want;
    } cases[] = {
        {"168.1.5.65", "168.1.5.65", OK},
        {"168.1.5.65", "::ffff:168.1.5.65", OK},
        {"168.1.5.65", "168.1.5.66", ERR_AUTHORIZATION_SOURCE_IP_MISMATCH},
        {"168.1.5.60-168.1.5.70", "168.1.5.60", OK},
        {"168.1.5.60-168.1.5.70", "168.1.5.70", OK},
        {"168.1.5.60-168.1.5.70", "168.1.5.59", ERR_AUTHORIZATION_SOURCE_IP_MISMATCH},
        {"168.1.5.60-168.1.5.70", "168.1.5.71", ERR_AUTHORIZATION_SOURCE_IP_MISMATCH},
        {"9.0.0.0-10.255.255.255", "10.1.2.3", OK},
        {"168.1.5.70-168.1.5.60", "168.1.5.65", ERR_AUTHORIZATION_SOURCE_IP_MISMATCH},
        {"168.1.5.65", "::1", ERR_AUTHORIZATION_SOURCE_IP_MISMATCH},
        {"2001:db8::1-2001:db8::ff", "2001:db8::7", OK},
        {"168.1.5.65", "", ERR_AUTHORIZATION_SOURCE_IP_MISMATCH},
        {"168.1.5", "168.1.5.65", ERR_AUTHENTICATION_FAILED},
        {"168.1.5.65-", "168.1.5.65", ERR_AUTHENTICATION_FAILED},
        {"168.1.5.1-2-3", "168.1.5.65", ERR_AUTHENTICATION_FAILED},
        {"168.1.5.0/24", "168.1.5.65", ERR_AUTHENTICATION_FAILED},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        token(f, arena_cstr(f->arena, arena_fmt(f->arena, SERVICE "&sip=%s", cases[i].sip)));
        f->r.peer_ip = slice_str(cases[i].peer);
        err e = identify(f);
        if (e != cases[i].want)
            fail_msg("%s from %s: %s", cases[i].sip, cases[i].peer, err_get(e)->name);
    }
}

static void protocols(void **state) {
    fixture *f = *state;
    token(f, SERVICE "&spr=https");
    assert_err(identify(f), ERR_AUTHORIZATION_PROTOCOL_MISMATCH);
    f->r.tls = true;
    assert_err(identify(f), OK);
    token(f, SERVICE "&spr=https,http");
    assert_err(identify(f), OK);
    token(f, SERVICE "&spr=http");
    assert_err(identify(f), ERR_AUTHENTICATION_FAILED);
    assert_detail("spr: 'http'");
    token(f, ACCOUNT "&spr=https");
    assert_err(identify(f), ERR_AUTHORIZATION_PROTOCOL_MISMATCH);
}

/* ---- stored access policies ---- */

static void policies(void **state) {
    fixture *f = *state;
    store_policy *p = the_container.policies;
    the_container.policy_count = 2;
    p[0] = (store_policy){.id = S("all"),
                          .has_permission = true,
                          .permission = S("wr"), /* a policy's letters have no order */
                          .has_start = true,
                          .start_us = NOW_US - 1000000,
                          .has_expiry = true,
                          .expiry_us = NOW_US + 60000000};
    p[1] = (store_policy){.id = S("none")};
    static const rule rules[] = {
        {"sv=2026-06-06&sr=b&si=all", OK, NULL},
        {"sv=2026-06-06&sr=b&si=none&sp=r&se=2099-01-01", OK, NULL},
        {"sv=2026-06-06&sr=b&si=none&sp=r", ERR_AUTHENTICATION_FAILED, "without signed expiry"},
        {"sv=2026-06-06&sr=b&si=none&se=2099-01-01", ERR_AUTHENTICATION_FAILED, "sp is mandatory"},
        {"sv=2026-06-06&sr=b&si=gone&sp=r&se=2099-01-01", ERR_AUTHENTICATION_FAILED,
         "no access policy 'gone'"},
        {"sv=2026-06-06&sr=b&si=al&sp=r&se=2099-01-01", ERR_AUTHENTICATION_FAILED,
         "no access policy 'al'"},
        {"sv=2026-06-06&sr=b&si=all&sp=r", ERR_AUTHENTICATION_FAILED, "sp stands in the token and"},
        {"sv=2026-06-06&sr=b&si=all&se=2099-01-01", ERR_AUTHENTICATION_FAILED, "se stands in the"},
        {"sv=2026-06-06&sr=b&si=all&st=2020-01-01", ERR_AUTHENTICATION_FAILED, "st stands in the"},
        {"sv=2026-06-06&sr=b&si=0123456789012345678901234567890123456789012345678901234567890123x",
         ERR_AUTHENTICATION_FAILED, "longer than 64"},
    };
    walk(f, rules, ARRAY_LEN(rules));
    token(f, "sv=2026-06-06&sr=b&si=all");
    assert_err(identify(f), OK);
    assert_true(slice_eq(f->caller.permissions, S("wr")));
    assert_true(f->caller.permissions.p != p[0].permission.p);
    assert_true(slice_eq(f->caller.policy_id, S("all")));
    at_time(NOW_US + 61000000);
    assert_err(identify(f), ERR_AUTHENTICATION_FAILED);
    assert_detail("Signature not valid in the specified time frame");
    at_time(NOW_US - 2000000);
    assert_err(identify(f), ERR_AUTHENTICATION_FAILED);
    at_time(NOW_US);
    the_container_error = ERR_CONTAINER_NOT_FOUND;
    assert_err(identify(f), ERR_AUTHENTICATION_FAILED);
    the_container_error = ERR_WOULD_BLOCK;
    assert_err(identify(f), ERR_WOULD_BLOCK);
    the_container_error = ERR_IO;
    assert_err(identify(f), ERR_IO);
    /* Without a policy the store is not asked. */
    token(f, SERVICE);
    assert_err(identify(f), OK);
}

/* ---- directories ---- */

static void directories(void **state) {
    fixture *f = *state;
    static const struct {
        const char *blob, *prefix, *sdd;
        err want;
    } cases[] = {
        {"dir/b", "", "1", OK},
        {"dir", "", "1", OK},
        {"dir/a/b/c", "", "1", OK},
        {"dirx/b", "", "1", ERR_AUTHENTICATION_FAILED},
        {"dir/b", "", "2", ERR_AUTHENTICATION_FAILED},
        {"dir/b", "", "3", ERR_AUTHENTICATION_FAILED},
        {"dir/b", "", "0", ERR_AUTHENTICATION_FAILED},
        {"dir/b", "", "", ERR_AUTHENTICATION_FAILED},
        {"dir/b", "", "-1", ERR_AUTHENTICATION_FAILED},
        {"dir/b", "", "18446744073709551617", ERR_AUTHENTICATION_FAILED},
        {"/dir/b", "", "1", ERR_AUTHENTICATION_FAILED},
        {"", "dir/", "1", OK},
        {"", "dir/x", "1", OK},
        {"", "dir", "1", ERR_AUTHENTICATION_FAILED},
        {"", "", "1", ERR_AUTHENTICATION_FAILED},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        fixture_request(f, "GET", "/devstoreaccount1/records", "", "records", "dir");
        static const char *const names[] = {"sv", "sr", "sp", "se"};
        static const char *const values[] = {"2026-06-06", "d", "rl", "2099-01-01"};
        for (size_t k = 0; k < 4; k++)
            f->params[f->r.param_count++] = (pair){slice_str(names[k]), slice_str(values[k])};
        sign_token(f, 0); /* of directory "dir" */
        f->params[f->r.param_count++] = (pair){S("sdd"), slice_str(cases[i].sdd)};
        f->params[f->r.param_count++] = (pair){S("prefix"), slice_str(cases[i].prefix)};
        f->params[f->r.param_count++] = (pair){S("comp"), S("list")};
        f->r.blob = slice_str(cases[i].blob);
        err e = identify(f);
        if (e != cases[i].want)
            fail_msg("'%s' '%s' sdd=%s: %s %s", cases[i].blob, cases[i].prefix, cases[i].sdd,
                     err_get(e)->name, err_detail());
        if (f->r.blob.len) continue;
        f->r.param_count--; /* comp: anything but a listing */
        assert_err(identify(f), ERR_AUTHENTICATION_FAILED);
    }
}

/* What a layout does not sign is not believed. */
static void unsigned_fields(void **state) {
    fixture *f = *state;
    token(f, "sv=2020-10-02&sr=b&sp=r&se=2099-01-01&ses=scope1");
    assert_err(identify(f), OK);
    assert_int_equal(f->caller.encryption_scope.len, 0);
    token(f, "sv=2020-12-06&sr=b&sp=r&se=2099-01-01&ses=scope1");
    assert_err(identify(f), OK);
    assert_true(slice_eq(f->caller.encryption_scope, S("scope1")));
    token(f, ACCOUNT);
    f->params[f->r.param_count++] = (pair){S("rsct"), S("text/html")};
    assert_err(identify(f), OK);
    assert_int_equal(f->caller.content_type.len, 0);
    /* A token for one snapshot says nothing about the blob, and the other way round. */
    token(f, SERVICE "&snapshot=2026-01-01T00:00:00.0000000Z");
    assert_err(identify(f), OK);
    param(f, "sr")->value = S("bs");
    assert_err(identify(f), ERR_AUTHENTICATION_FAILED);
}

/* ---- Shared Key ---- */

static void authorization_form(void **state) {
    fixture *f = *state;
    static const struct {
        const char *value;
        err want;
        const char *detail;
    } cases[] = {
        {"", ERR_INVALID_AUTHENTICATION_INFO, "scheme is not known"},
        {"SharedKey", ERR_INVALID_AUTHENTICATION_INFO, "'ACCOUNT:SIGNATURE' is expected"},
        {"SharedKey devstoreaccount1", ERR_INVALID_AUTHENTICATION_INFO, "is expected"},
        {"SharedKey :AAAA", ERR_INVALID_AUTHENTICATION_INFO, "is expected"},
        {"SharedKey devstoreaccount1:", ERR_INVALID_AUTHENTICATION_INFO, "not the base64 form"},
        {"SharedKey devstoreaccount1:AAAA", ERR_INVALID_AUTHENTICATION_INFO, "not the base64 form"},
        {"SharedKey devstoreaccount1:****", ERR_INVALID_AUTHENTICATION_INFO, "not the base64 form"},
        {"Basic dXNlcjpwYXNz", ERR_INVALID_AUTHENTICATION_INFO, "scheme is not known"},
        {"Bearer abc.def.ghi", ERR_INVALID_AUTHENTICATION_INFO, "OAuth is not configured"},
        {"SharedKey other:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", ERR_AUTHENTICATION_FAILED,
         "names account 'other'; the request is addressed to 'devstoreaccount1'"},
        {"SharedKey devstoreaccount1-secondary:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
         ERR_AUTHENTICATION_FAILED, "names account"},
        {"SharedKey devstoreaccount1:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
         ERR_AUTHENTICATION_FAILED, "following string to sign: 'GET\n\n\n\n\n\n\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        token(f, SERVICE); /* a good SAS beside it changes nothing */
        f->headers[0] = (pair){S("AUTHORIZATION"), slice_str(cases[i].value)};
        f->headers[1] = (pair){S("x-ms-date"), S("Tue, 01 Dec 2026 12:00:00 GMT")};
        f->r.header_count = 2;
        err e = identify(f);
        if (e != cases[i].want) fail_msg("'%s': %s", cases[i].value, err_get(e)->name);
        assert_detail(cases[i].detail);
        assert_null(strstr(err_detail(), "dXNlcjpwYXNz"));
        assert_null(strstr(err_detail(), "abc.def"));
        assert_null(strstr(err_detail(), "MDEy"));
    }
}

static void dates(void **state) {
    fixture *f = *state;
    static const struct {
        const char *header;
        bool fresh;
        const char *detail;
    } cases[] = {
        {"x-ms-date: Tue, 01 Dec 2026 11:45:01 GMT", true, NULL},
        {"x-ms-date: Tue, 01 Dec 2026 12:15:00 GMT", true, NULL},
        {"Date: Tue, 01 Dec 2026 12:00:00 GMT", true, NULL},
        {"x-ms-date: Tue, 01 Dec 2026 11:44:59 GMT", false, "Request date header too old"},
        {"x-ms-date: Tue, 01 Dec 2026 12:16:00 GMT", false, "in the future"},
        {"x-ms-date: 2026-12-01T12:00:00Z", false, "is not a date like"},
        {"x-ms-date: ", false, "needs x-ms-date or Date"},
        {"x-ms-version: 2026-06-06", false, "needs x-ms-date or Date"},
        {"Date: Tue, 01 Dec 2026 12:00:00 GMT\nx-ms-date: Tue, 01 Dec 2020 12:00:00 GMT", false,
         "too old"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        fixture_request(f, "GET", "/devstoreaccount1/records/b", cases[i].header, "records", "b");
        auth_signer by = {.account = f->account.name};
        slice text = auth_shared_key_text(f->arena, &f->r, &by, 0);
        uint8_t mac[32];
        crypto_hmac_sha256(f->account.keys[0], text, mac);
        buf b;
        buf_init_arena(&b, f->arena, 128);
        buf_str(&b, "SharedKey devstoreaccount1:");
        base64_put(&b, slice_of(mac, 32));
        f->headers[f->r.header_count++] = (pair){S("Authorization"), buf_slice(&b)};
        err e = identify(f);
        if (e != (cases[i].fresh ? OK : ERR_AUTHENTICATION_FAILED))
            fail_msg("%s: %s", cases[i].header, err_get(e)->name);
        if (e) assert_detail(cases[i].detail);
    }
}

/* Headers of every count come out sorted, values of one name in the order they came. */
static void sorts_any_number_of_headers(void **state) {
    fixture *f = *state;
    pair headers[70];
    for (size_t n = 0; n <= ARRAY_LEN(headers); n++) {
        fixture_request(f, "GET", "/devstoreaccount1/records/b", "", "records", "b");
        for (size_t i = 0; i < n; i++)
            headers[i] = (pair){arena_fmt(f->arena, "x-ms-meta-%c%zu", "ba"[i % 2], i * 37 % n / 2),
                                arena_fmt(f->arena, "%03zu", i)};
        f->r.headers = headers;
        f->r.header_count = n;
        auth_signer by = {.account = f->account.name};
        slice text = auth_shared_key_text(f->arena, &f->r, &by, AUTH_SORT_BYTES);
        slice rest = slice_skip(text, sizeof "GET\n\n\n\n\n\n\n\n\n\n\n\n" - 1), line, last = S("");
        size_t values = 0;
        while (slice_split(&rest, '\n', &line) && slice_starts(line, S("x-ms-"))) {
            size_t colon = slice_find(line, 0, ':');
            slice name = slice_take(line, colon), list = slice_skip(line, colon + 1), v,
                  before = S("");
            assert_true(slice_cmp(last, name) < 0);
            last = name;
            for (; slice_split(&list, ',', &v); before = v, values++)
                assert_true(slice_cmp(before, v) < 0);
        }
        assert_int_equal(values, n);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)
int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(times),
        TEST(form),
        TEST(twice_or_torn),
        TEST(details_hold_no_signature),
        TEST(plus_as_space),
        TEST(addresses),
        TEST(protocols),
        TEST(policies),
        TEST(directories),
        TEST(unsigned_fields),
        TEST(authorization_form),
        TEST(dates),
        TEST(sorts_any_number_of_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
