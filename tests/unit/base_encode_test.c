#include "base_test.h"

typedef err (*get_fn)(arena *, slice, slice *);
typedef void (*put_fn)(buf *, slice);

static void put_upper_hex(buf *b, slice in) {
    for (size_t i = 0; i < in.len; i++) buf_fmt(b, "%02X", in.p[i]);
}

static err get_percent(arena *a, slice in, slice *ret) {
    return percent_get(a, in, false, ret);
}
static void put_percent(buf *b, slice in) {
    percent_put(b, in, NULL);
}

static const struct {
    put_fn put;
    get_fn get;
} codecs[] = {
    {base64_put, base64_get}, {base64url_put, base64url_get}, {hex_put, hex_get},
    {put_upper_hex, hex_get}, {put_percent, get_percent},
};

static void nothing_is_handled(void **state) {
    (void)state;
    arena *a = arena_new(256, 0);
    for (size_t i = 0; i < ARRAY_LEN(codecs); i++) {
        buf b;
        slice got = S("x");
        buf_init(&b, 0);
        codecs[i].put(&b, SLICE_NONE);
        assert_ok(buf_check(&b));
        assert_int_equal(b.len, 0);
        codecs[i].put(&b, S("a"));
        assert_err(buf_check(&b), ERR_TOO_LARGE);
        buf_reset(&b);
        if (codecs[i].put == base64_put || codecs[i].put == hex_put) {
            codecs[i].put(&b, slice_of("a", SIZE_MAX));
            assert_err(buf_check(&b), ERR_TOO_LARGE);
        }
        buf_done(&b);
        assert_ok(codecs[i].get(a, SLICE_NONE, &got));
        assert_int_equal(got.len, 0);
    }
    arena_free(a);
}

/* A decoder whose result passes the arena's maximum says so and leaves its output alone. */
static void arena_limits_decoders(void **state) {
    (void)state;
    arena *a = arena_new(16, 64);
    static uint8_t text[4096];
    memset(text, 'a', sizeof(text));
    for (size_t i = 0; i < ARRAY_LEN(codecs); i++) {
        slice got = S("x");
        assert_err(codecs[i].get(a, slice_of(text, sizeof(text)), &got), ERR_NO_MEMORY);
        assert_slice(got, S("x"));
    }
    arena_free(a);
}

static void round_trips(void **state) {
    (void)state;
    rng r = {11};
    uint8_t data[200];
    for (int i = 0; i < 4000; i++) {
        arena *a = arena_new(512, 0);
        size_t n = rng_below(&r, sizeof(data));
        rng_bytes(&r, data, n);
        for (size_t k = 0; k < ARRAY_LEN(codecs); k++) {
            buf b;
            slice got;
            buf_init(&b, 1000);
            codecs[k].put(&b, slice_of(data, n));
            assert_ok(codecs[k].get(a, buf_slice(&b), &got));
            assert_slice(got, slice_of(data, n));
            buf_done(&b);
        }
        arena_free(a);
    }
}

static void check_put(put_fn put, slice in, const char *expected) {
    buf b;
    buf_init(&b, 1000);
    put(&b, in);
    assert_slice(buf_slice(&b), slice_str(expected));
    buf_done(&b);
}

static void check_refused(get_fn get, slice in) {
    arena *a = arena_new(256, 0);
    slice got = S("x");
    assert_err(get(a, in, &got), ERR_INVALID_ENCODING);
    assert_slice(got, S("x"));
    arena_free(a);
}

static void base64_vectors(void **state) {
    (void)state;
    /* RFC 4648 10 */
    static const char *const vectors[][2] = {{"", ""},
                                             {"f", "Zg=="},
                                             {"fo", "Zm8="},
                                             {"foo", "Zm9v"},
                                             {"foob", "Zm9vYg=="},
                                             {"fooba", "Zm9vYmE="},
                                             {"foobar", "Zm9vYmFy"}};
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++)
        check_put(base64_put, slice_str(vectors[i][0]), vectors[i][1]);
    check_put(base64_put, S("\xFB\xEF\xFF\xFE"), "++///g==");
    check_put(base64url_put, S("\xFB\xEF\xFF\xFE"), "--___g");
    check_put(base64url_put, S("fo"), "Zm8");
}

static void base64_is_strict(void **state) {
    (void)state;
    static const char *const bad[] = {"Z",
                                      "Zg",
                                      "Zg=",
                                      "Zg===",
                                      "====",
                                      "=",
                                      "Zh==",
                                      "Zm9=",
                                      "Zm9v\n",
                                      " Zm9v",
                                      "Zm 9",
                                      "Zm-_",
                                      "Zg=a",
                                      "Z===",
                                      "Zg==Zg==",
                                      "Zm9v====",
                                      "\xC3\xA9"
                                      "aa",
                                      "A==="};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) check_refused(base64_get, slice_str(bad[i]));
    check_refused(base64_get, S("Zm\0v"));
    static const char *const bad_url[] = {"Z",    "Zg==", "Zh",    "Zm9",
                                          "Zm8=", "ab+/", "Zm9vZ", "Zm\x80v"};
    for (size_t i = 0; i < ARRAY_LEN(bad_url); i++)
        check_refused(base64url_get, slice_str(bad_url[i]));
}

/* What decodes, encodes to the same text: no two texts mean the same bytes. */
static void base64_has_one_form(void **state) {
    (void)state;
    static const char letters[] = "AQgwZm9v+/-_==";
    rng r = {12};
    size_t decoded = 0;
    for (int i = 0; i < 100000; i++) {
        arena *a = arena_new(64, 0);
        uint8_t text[12];
        size_t n = rng_below(&r, sizeof(text) + 1);
        for (size_t k = 0; k < n; k++)
            text[k] = (uint8_t)letters[rng_below(&r, sizeof(letters) - 1)];
        for (size_t k = 0; k < 2; k++) {
            slice got;
            if (codecs[k].get(a, slice_of(text, n), &got) != OK) continue;
            buf b;
            buf_init(&b, 100);
            codecs[k].put(&b, got);
            assert_slice(buf_slice(&b), slice_of(text, n));
            buf_done(&b);
            decoded++;
        }
        arena_free(a);
    }
    assert_true(decoded > 1000);
}

static void hex_vectors(void **state) {
    (void)state;
    check_put(hex_put, S("\x00\x0F\xF0\xFF\x9A"), "000ff0ff9a");
    static const char *const bad[] = {"0",        "0g", "g0", "0x", " 0", "00 ",
                                      "\xFF\xFF", "@0", "`0", "/0", ":0"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) check_refused(hex_get, slice_str(bad[i]));
}

static void check_percent(slice in, bool plus, slice expected) {
    arena *a = arena_new(256, 0);
    slice got;
    assert_ok(percent_get(a, in, plus, &got));
    assert_slice(got, expected);
    arena_free(a);
}

static void percent_vectors(void **state) {
    (void)state;
    check_percent(S("a%20b%2fc%2Fd"), false, S("a b/c/d"));
    check_percent(S("a+b%2B"), false, S("a+b+"));
    check_percent(S("a+b%2B"), true, S("a b+"));
    check_percent(S("%00%FF"), false, S("\0\xFF"));
    check_percent(S("%2525"), false, S("%25"));
    static const char *const bad[] = {"%",   "%2",   "a%",   "a%2", "%zz",      "%2z",
                                      "%z2", "%%20", "% 20", "%-1", "%\xFF\xFF"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) check_refused(get_percent, slice_str(bad[i]));

    buf b;
    buf_init(&b, 2000);
    percent_put(&b, S("AZaz09-._~ /+%\"\xC3\xA9"), "/");
    assert_slice(buf_slice(&b), S("AZaz09-._~%20/%2B%25%22%C3%A9"));
    buf_reset(&b);
    percent_put(&b, S("/:\xFF"), "\xFF");
    assert_slice(buf_slice(&b), S("%2F%3A\xFF"));
    /* RFC 3986 2.3, by its list: every byte either stands for itself or does not. */
    for (unsigned c = 1; c < 256; c++) {
        static const char unreserved[] =
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
        uint8_t byte = (uint8_t)c;
        buf_reset(&b);
        percent_put(&b, slice_of(&byte, 1), "");
        assert_int_equal(b.len == 1, strchr(unreserved, (int)c) != NULL);
    }
    buf_done(&b);
}

static void uuids_read(void **state) {
    (void)state;
    static const char *const good[] = {
        "0123456789abcdefFEDCBA9876543210", "01234567-89AB-cdef-fedc-ba9876543210",
        "{01234567-89ab-cdef-fedc-ba9876543210}", "(01234567-89ab-cdef-fedc-ba9876543210)"};
    static const char *const bad[] = {"",
                                      "0123456789abcdeffedcba987654321",
                                      "0123456789abcdeffedcba98765432100",
                                      "0123456789abcdeffedcba987654321g",
                                      "01234567-89ab-cdef-fedcb-a9876543210",
                                      "0123456-789ab-cdef-fedc-ba9876543210",
                                      "01234567-89ab-cdef-fedc-ba98765432-0",
                                      "{01234567-89ab-cdef-fedc-ba9876543210)",
                                      "[01234567-89ab-cdef-fedc-ba9876543210]",
                                      "{0123456789abcdeffedcba9876543210}"};
    static const uint8_t expected[UUID_LEN] = {1,    0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF,
                                               0xFE, 0xDC, 0xBA, 0x98, 0x76, 0x54, 0x32, 0x10};
    uint8_t raw[UUID_LEN], text[36];
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_ok(uuid_get(slice_str(good[i]), raw));
        assert_memory_equal(raw, expected, UUID_LEN);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_err(uuid_get(slice_str(bad[i]), raw), ERR_INVALID_ENCODING);
    assert_err(uuid_get(SLICE_NONE, raw), ERR_INVALID_ENCODING);
    buf b;
    buf_init_fixed(&b, text, sizeof text);
    uuid_text(&b, slice_of(raw, UUID_LEN));
    assert_slice(buf_slice(&b), S("01234567-89ab-cdef-fedc-ba9876543210"));
}

static void uuids(void **state) {
    (void)state;
    enum { COUNT = 2000 };
    static uint8_t seen[COUNT][36];
    unsigned bits[36] = {0};
    for (size_t i = 0; i < COUNT; i++) {
        buf b;
        buf_init_fixed(&b, seen[i], 36);
        uuid_put(&b);
        assert_int_equal(b.len, 36);
        for (size_t k = 0; k < 36; k++) {
            uint8_t c = seen[i][k];
            if (k == 8 || k == 13 || k == 18 || k == 23)
                assert_int_equal(c, '-');
            else
                assert_true((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'));
            bits[k] |= 1u << (c & 31);
        }
        assert_int_equal(seen[i][14], '4');
        assert_non_null(memchr("89ab", seen[i][19], 4));
        for (size_t j = 0; j < i; j++) assert_memory_not_equal(seen[i], seen[j], 36);
    }
    /* Every free digit took every value in 2,000 draws. */
    for (size_t k = 0; k < 36; k++)
        if (k != 8 && k != 13 && k != 18 && k != 23 && k != 14 && k != 19)
            assert_int_equal(__builtin_popcount(bits[k]), 16);
}

static void random_bytes(void **state) {
    (void)state;
    static uint8_t big[3][5000];
    random_fill(big[0], 0);
    for (size_t i = 0; i < 3; i++) random_fill(big[i], sizeof(big[i]));
    assert_memory_not_equal(big[0], big[1], 16);
    assert_memory_not_equal(big[1], big[2], 16);
    /* Small draws of every size: nothing is handed out twice, every byte is written. */
    static uint8_t run[20000];
    size_t n = 0;
    for (size_t step = 1; n + step < sizeof(run); step = step % 200 + 1) {
        random_fill(run + n, step);
        n += step;
    }
    size_t counts[256] = {0};
    for (size_t i = 0; i < n; i++) counts[run[i]]++;
    for (size_t i = 0; i < 256; i++) assert_in_range(counts[i], 20, 200);
    for (size_t i = 0; i + 8 <= 4000; i++) assert_null(memmem(run + i + 1, n - i - 1, run + i, 8));
}

static void numbers_in_hex(void **state) {
    (void)state;
    uint64_t v = 0;
    assert_int_equal(hex64_get(S("0123456789abcdef"), &v), OK);
    assert_true(v == 0x0123456789abcdefu);
    assert_int_equal(hex64_get(S("ffffffffffffffff"), &v), OK);
    assert_true(v == UINT64_MAX);
    assert_int_equal(hex64_get(S("0123456789abcdeF"), &v), ERR_INVALID_ENCODING);
    assert_int_equal(hex64_get(S("0123456789abcde"), &v), ERR_INVALID_ENCODING);
    assert_int_equal(hex64_get(S("0123456789abcdef0"), &v), ERR_INVALID_ENCODING);
    assert_int_equal(hex64_get(S("0123456789abcde "), &v), ERR_INVALID_ENCODING);
    assert_int_equal(hex64_get(SLICE_NONE, &v), ERR_INVALID_ENCODING);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_handled), cmocka_unit_test(arena_limits_decoders),
        cmocka_unit_test(round_trips),        cmocka_unit_test(base64_vectors),
        cmocka_unit_test(base64_is_strict),   cmocka_unit_test(base64_has_one_form),
        cmocka_unit_test(hex_vectors),        cmocka_unit_test(percent_vectors),
        cmocka_unit_test(uuids_read),         cmocka_unit_test(uuids),
        cmocka_unit_test(random_bytes),       cmocka_unit_test(numbers_in_hex),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
