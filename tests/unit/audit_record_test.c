/* Records: canonical JSON, commitments, openings, purposes. */
#include <jansson.h>

#include "audit/event.h"
#include "base_test.h"

static audit_record full(void) {
    static const uint8_t bytes[32] = {0xab, 1, 2};
    const slice pseudonym = slice_of(bytes, 16), commitment = slice_of(bytes, 32);
    return (audit_record){.time_us = 1796000000123456,
                          .region = S("north"),
                          .action = "Get Blob",
                          .audit_class = "disclosure",
                          .actor_kind = "key",
                          .strength = "shared secret",
                          .actor = pseudonym,
                          .issuer = pseudonym,
                          .decision = "account key",
                          .peer_ip = S("192.0.2.77"),
                          .request_id = S("6fb252ba-9bbd-43db-9906-aee2a868aff4"),
                          .account = pseudonym,
                          .container = pseudonym,
                          .name = commitment,
                          .has_object = true,
                          .etag = 0x8DF4BEA41CBA624,
                          .bytes =
                              UINT64_C(9007199254740991), /* what JSON's numbers carry exactly */
                          .snapshot = TIME_TICKS_TO_1970 + 5,
                          .version = TIME_TICKS_TO_1970 + 6,
                          .hold = true,
                          .has_crc64 = true,
                          .crc64 = 1,
                          .has_md5 = true,
                          .md5 = slice_of(bytes, 16),
                          .retain_us = 1796000000000000,
                          .result = "failed",
                          .code = "InternalError",
                          .status = 500,
                          .purpose = S("TREAT"),
                          .reason = commitment,
                          .asked = commitment,
                          .refusals = 7,
                          .first_us = 1796000000000000,
                          .last_us = 1796000000123456,
                          .recipient = true};
}

static slice render(buf *b, const audit_record *r) {
    buf_init(b, STORE_ENTRY_MAX);
    audit_record_put(b, r);
    assert_int_equal(buf_check(b), OK);
    return buf_slice(b);
}

/* RFC 8785: what a canonical serializer makes of it is what it was. */
static void expect_canonical(slice text) {
    json_t *v = json_loadb((const char *)text.p, text.len, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(v);
    char *again = json_dumps(v, JSON_COMPACT | JSON_SORT_KEYS);
    assert_true(slice_eq(slice_str(again), text));
    free(again);
    json_decref(v);
}

static void entries_are_canonical(void **state) {
    (void)state;
    buf b;
    audit_record r = full();
    slice text = render(&b, &r);
    expect_canonical(text);
    assert_true(slice_find_slice(text, 0, S("\"network\":\"192.0.2.0/24\"")) < text.len);
    assert_true(slice_find_slice(text, 0, S("\"crc64\":\"AQAAAAAAAAA=\"")) < text.len);
    assert_true(slice_find_slice(text, 0, S("\"version\":\"1970-01-01T00:00:00.0000006Z\"")) <
                text.len);
    assert_true(slice_find_slice(text, 0, S("192.0.2.77")) == text.len);
    buf_done(&b);
    r = (audit_record){.action = "unknown",
                       .audit_class = "refused",
                       .result = "refused",
                       .actor_kind = "anonymous",
                       .strength = "none",
                       .decision = "refused",
                       .region = S("local"),
                       .retain_us = INT64_MIN};
    text = render(&b, &r);
    expect_canonical(text);
    static const char *const absent[] = {"object", "purpose", "recipient",
                                         "client", "code",    "status"};
    for (size_t i = 0; i < ARRAY_LEN(absent); i++)
        assert_true(slice_find_slice(text, 0, slice_str(absent[i])) == text.len);
    buf_done(&b);
}

static void addresses_are_told_by_their_network(void **state) {
    (void)state;
    static const char *const cases[][2] = {{"127.0.0.1", "127.0.0.0/24"},
                                           {"255.255.255.255", "255.255.255.0/24"},
                                           {"2001:db8:1:2:3:4:5:6", "2001:db8:1::/48"},
                                           {"::1", "::/48"},
                                           {"fe80::1%eth0", NULL},
                                           {"not an address", NULL},
                                           {"", NULL}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        buf b;
        audit_record r = full();
        r.peer_ip = slice_str(cases[i][0]);
        slice text = render(&b, &r);
        char want[64];
        snprintf(want, sizeof want, "\"network\":\"%s\"", cases[i][1] ? cases[i][1] : "");
        assert_int_equal(slice_find_slice(text, 0, slice_str(want)) < text.len,
                         cases[i][1] != NULL);
        assert_int_equal(slice_find_slice(text, 0, S("network")) < text.len, cases[i][1] != NULL);
        buf_done(&b);
    }
}

static void each_record_has_its_own_id_in_the_order_of_time(void **state) {
    (void)state;
    char last[37] = "";
    for (int i = 0; i < 100; i++) {
        buf b;
        buf_init(&b, 64);
        uuid7_put(&b, 1796000000000000 + i * 1000);
        assert_int_equal(b.len, 36);
        assert_int_equal(b.p[14], '7');
        assert_non_null(strchr("89ab", b.p[19]));
        assert_true(memcmp(last, b.p, 36) < 0);
        memcpy(last, b.p, 36);
        buf_done(&b);
    }
}

static void commitments_open_with_their_salt_only(void **state) {
    (void)state;
    uint8_t salt[2][AUDIT_SALT_LEN], c[2][AUDIT_COMMITMENT_LEN];
    for (int i = 0; i < 2; i++) audit_commit(S("patients/7.json"), salt[i], c[i]);
    assert_memory_not_equal(c[0], c[1], AUDIT_COMMITMENT_LEN); /* the same name is not seen to be */
    /* SHA-256(salt || value), as anyone can compute it. */
    uint8_t both[AUDIT_SALT_LEN + 15], want[32];
    memcpy(both, salt[0], AUDIT_SALT_LEN);
    memcpy(both + AUDIT_SALT_LEN, "patients/7.json", 15);
    crypto_sha256(slice_of(both, sizeof both), want);
    assert_memory_equal(want, c[0], sizeof want);
}

/* Openings of two entries, exchanged: each is seen to be another's. */
static void openings_fit_their_entry_only(void **state) {
    (void)state;
    static const char *const values[][3] = {{"patients/7.json", "visit", ""},
                                            {"patients/8.json", "visit", ""},
                                            {"patients/7.json", "", ""},
                                            {"", "", ""},
                                            {"", "", "class=key"},
                                            {"", "", "class=admin"}};
    enum { N = 6 };
    uint8_t salt[N][3][AUDIT_SALT_LEN], c[N][3][AUDIT_COMMITMENT_LEN];
    buf entry[N];
    audit_opening o[N];
    for (int i = 0; i < N; i++) {
        const slice blob = slice_str(values[i][0]), reason = slice_str(values[i][1]),
                    asked = slice_str(values[i][2]);
        audit_record r = full();
        audit_commit(blob, salt[i][0], c[i][0]);
        audit_commit(reason, salt[i][1], c[i][1]);
        audit_commit(asked, salt[i][2], c[i][2]);
        r.asked = asked.len > 0 ? slice_of(c[i][2], sizeof c[i][2]) : SLICE_NONE;
        r.name = blob.len > 0 ? slice_of(c[i][0], sizeof c[i][0]) : SLICE_NONE;
        r.reason = reason.len > 0 ? slice_of(c[i][1], sizeof c[i][1]) : SLICE_NONE;
        render(&entry[i], &r);
        o[i] = (audit_opening){.blob = blob,
                               .name_salt = slice_of(salt[i][0], AUDIT_SALT_LEN),
                               .reason = reason,
                               .reason_salt = slice_of(salt[i][1], AUDIT_SALT_LEN),
                               .asked = asked,
                               .asked_salt = slice_of(salt[i][2], AUDIT_SALT_LEN)};
    }
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            assert_int_equal(audit_opening_fits(&o[i], buf_slice(&entry[j])), i == j);
    for (int i = 0; i < N; i++) buf_done(&entry[i]);
}

static void openings_come_back(void **state) {
    (void)state;
    const audit_opening o = {.account = S("records"),
                             .container = S("c"),
                             .blob = S("b\x01\xff"),
                             .name_salt = S("0123456789abcdef"),
                             .address = S("192.0.2.1"),
                             .actor = S("key 1 of records"),
                             .reason = S("follow-up"),
                             .reason_salt = S("fedcba9876543210"),
                             .asked = S("class=key"),
                             .asked_salt = S("0011223344556677")};
    audit_opening back;
    buf b;
    buf_init(&b, AUDIT_OPENING_MAX);
    audit_opening_put(&b, &o);
    assert_int_equal(audit_opening_get(buf_slice(&b), &back), OK);
    assert_true(slice_eq(back.account, o.account) && slice_eq(back.container, o.container));
    assert_true(slice_eq(back.blob, o.blob) && slice_eq(back.name_salt, o.name_salt));
    assert_true(slice_eq(back.address, o.address) && slice_eq(back.actor, o.actor));
    assert_true(slice_eq(back.reason, o.reason) && slice_eq(back.reason_salt, o.reason_salt));
    assert_true(slice_eq(back.asked, o.asked) && slice_eq(back.asked_salt, o.asked_salt));
    for (size_t n = 0; n < b.len; n++) /* cut short: an error, or fewer fields */
        (void)!audit_opening_get(slice_take(buf_slice(&b), n), &back);
    assert_int_equal(audit_opening_get(SLICE_NONE, &back), ERR_CORRUPT);
    buf_done(&b);
}

static void names_are_bounded(void **state) {
    (void)state;
    char text[AUDIT_TEXT_MAX + 8];
    memset(text, 'n', sizeof text);
    assert_int_equal(audit_text(slice_of(text, AUDIT_TEXT_MAX)).len, AUDIT_TEXT_MAX);
    assert_int_equal(audit_text(slice_of(text, sizeof text)).len, AUDIT_TEXT_MAX);
    memcpy(text + AUDIT_TEXT_MAX - 1, "\xe2\x82\xac", 3); /* not in the middle of a character */
    assert_int_equal(audit_text(slice_of(text, sizeof text)).len, AUDIT_TEXT_MAX - 1);
    assert_int_equal(audit_text(S("a\xff")).len, 0);
    assert_int_equal(audit_text(SLICE_NONE).len, 0);
    /* All that one opening may hold fits it. */
    const slice longest = slice_of(memset(text, 'n', sizeof text), AUDIT_TEXT_MAX);
    char reason[AUDIT_REASON_MAX], actor[512];
    memset(reason, 'r', sizeof reason);
    memset(actor, 'a', sizeof actor);
    const audit_opening o = {.account = longest,
                             .container = longest,
                             .blob = longest,
                             .name_salt = S("0123456789abcdef"),
                             .address = S("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255"),
                             .actor = slice_of(actor, sizeof actor),
                             .reason = slice_of(reason, sizeof reason),
                             .reason_salt = S("0123456789abcdef")};
    buf b;
    buf_init(&b, AUDIT_OPENING_MAX);
    audit_opening_put(&b, &o);
    assert_int_equal(buf_check(&b), OK);
    buf_done(&b);
}

static void purposes_are_a_code_and_a_reason(void **state) {
    (void)state;
    slice code, reason;
    assert_int_equal(audit_purpose_parse(S("TREAT"), &code, &reason), OK);
    assert_true(slice_eq(code, S("TREAT")) && reason.len == 0);
    assert_int_equal(audit_purpose_parse(S(" art.6-1_c ;  follow-up; ward 7 "), &code, &reason),
                     OK);
    assert_true(slice_eq(code, S("art.6-1_c")) && slice_eq(reason, S("follow-up; ward 7")));
    char long_code[AUDIT_PURPOSE_MAX + 2], long_reason[AUDIT_REASON_MAX + 16];
    memset(long_code, 'a', sizeof long_code);
    long_code[AUDIT_PURPOSE_MAX + 1] = '\0';
    memset(long_reason, 'r', sizeof long_reason);
    memcpy(long_reason, "x;", 2);
    const slice bad[] = {S(""),
                         S(";reason"),
                         S("two words"),
                         S("c\xc3\xa9"),
                         S("a\"b"),
                         slice_str(long_code),
                         slice_of(long_reason, sizeof long_reason),
                         S("ok;\xff")};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(audit_purpose_parse(bad[i], &code, &reason), ERR_INVALID_HEADER_VALUE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_are_canonical),
        cmocka_unit_test(addresses_are_told_by_their_network),
        cmocka_unit_test(each_record_has_its_own_id_in_the_order_of_time),
        cmocka_unit_test(commitments_open_with_their_salt_only),
        cmocka_unit_test(openings_fit_their_entry_only),
        cmocka_unit_test(openings_come_back),
        cmocka_unit_test(names_are_bounded),
        cmocka_unit_test(purposes_are_a_code_and_a_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
