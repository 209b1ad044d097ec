#include "base_test.h"

static void nothing_is_handled(void **state) {
    (void)state;
    slice part = S("untouched");
    slice none = SLICE_NONE;
    assert_true(slice_eq(SLICE_NONE, S("")));
    assert_true(slice_eq_nocase(SLICE_NONE, S("")));
    assert_true(slice_eq_secret(SLICE_NONE, S("")));
    assert_false(slice_eq_secret(SLICE_NONE, S("a")));
    assert_true(slice_starts(SLICE_NONE, SLICE_NONE));
    assert_true(slice_starts_nocase(SLICE_NONE, SLICE_NONE));
    assert_false(slice_starts_nocase(SLICE_NONE, S("a")));
    assert_true(slice_ends(SLICE_NONE, SLICE_NONE));
    assert_false(slice_ends(SLICE_NONE, S("a")));
    assert_int_equal(slice_cmp(SLICE_NONE, S("")), 0);
    assert_int_equal(slice_cmp(SLICE_NONE, S("a")), -1);
    assert_slice(slice_trim(SLICE_NONE), S(""));
    assert_int_equal(slice_find(SLICE_NONE, 0, 'a'), 0);
    assert_int_equal(slice_find(SLICE_NONE, 9, 'a'), 0);
    assert_int_equal(slice_find_slice(SLICE_NONE, 0, S("a")), 0);
    assert_false(slice_split(&none, ',', &part));
    assert_slice(part, S("untouched"));
    assert_int_equal(slice_hash(SLICE_NONE), slice_hash(S("")));
    assert_true(slice_utf8_valid(SLICE_NONE));
    uint64_t v = 7;
    assert_err(slice_u64(SLICE_NONE, &v), ERR_INVALID_NUMBER);
    assert_int_equal(v, 7);
    assert_true(slice_eq(slice_str(NULL), SLICE_NONE));
    assert_slice(slice_skip(S("ab"), 5), S(""));
    assert_slice(slice_take(S("ab"), 5), S("ab"));
}

static void comparing(void **state) {
    (void)state;
    assert_true(slice_eq_nocase(S("X-Ms-Date"), S("x-mS-dATE")));
    assert_false(slice_eq_nocase(S("x-ms-date"), S("x-ms-datf")));
    /* '@' and '`', '[' and '{' differ by the same bit as letters do. */
    assert_false(slice_eq_nocase(S("@["), S("`{")));
    assert_false(slice_eq_nocase(S("\xC3\x89"), S("\xC3\xA9")));
    assert_true(slice_starts_nocase(S("SharedKey x"), S("sharedkey ")));
    assert_true(slice_ends(S("a.blob.test"), S(".test")));
    assert_false(slice_ends(S("test"), S("a.test")));
    assert_int_equal(slice_cmp(S("a"), S("ab")), -1);
    assert_int_equal(slice_cmp(S("b"), S("ab")), 1);
    assert_int_equal(slice_cmp(S("\xFF"), S("a")), 1);
    assert_int_equal(slice_cmp(S("ab"), S("ab")), 0);
    assert_true(slice_eq_secret(S("secret"), S("secret")));
    assert_false(slice_eq_secret(S("secret"), S("secreT")));
    assert_false(slice_eq_secret(S("secret"), S("secret ")));
}

static void searching_and_splitting(void **state) {
    (void)state;
    assert_slice(slice_trim(S(" \t a b\t ")), S("a b"));
    assert_slice(slice_trim(S(" \t ")), S(""));
    assert_slice(slice_trim(S("\na")), S("\na"));
    assert_int_equal(slice_find(S("a,b,c"), 2, ','), 3);
    assert_int_equal(slice_find(S("abc"), 0, ','), 3);
    assert_int_equal(slice_find(S("abc"), 3, 'c'), 3);
    assert_int_equal(slice_find_slice(S("aab aab"), 1, S("aab")), 4);
    assert_int_equal(slice_find_slice(S("aab"), 1, S("")), 1);
    assert_int_equal(slice_find_slice(S("aab"), 0, S("aabb")), 3);

    slice rest = S("a,,b,"), part;
    assert_true(slice_split(&rest, ',', &part));
    assert_slice(part, S("a"));
    assert_true(slice_split(&rest, ',', &part));
    assert_slice(part, S(""));
    assert_true(slice_split(&rest, ',', &part));
    assert_slice(part, S("b"));
    assert_true(slice_split(&rest, ',', &part));
    assert_slice(part, S(""));
    assert_false(slice_split(&rest, ',', &part));
    assert_null(rest.p);
    rest = S("");
    assert_true(slice_split(&rest, ',', &part));
    assert_false(slice_split(&rest, ',', &part));
}

static void numbers(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool good;
        uint64_t v;
    } cases[] = {
        {"0", true, 0},
        {"007", true, 7},
        {"18446744073709551615", true, UINT64_MAX},
        {"18446744073709551616", false, 0},
        {"99999999999999999999", false, 0},
        {"00000000000000000001", true, 1},
        {"000000000000000000001", false, 0},
        {"", false, 0},
        {"+1", false, 0},
        {"-1", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"1.0", false, 0},
        {"1:", false, 0},
        {"/1", false, 0},
        {"0x1", false, 0},
        {"\xD9\xA1", false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t v = 42;
        err e = slice_u64(slice_str(cases[i].text), &v);
        assert_err(e, cases[i].good ? OK : ERR_INVALID_NUMBER);
        assert_int_equal(v, cases[i].good ? cases[i].v : 42);
    }
    uint64_t v;
    assert_err(slice_u64(S("1\0002"), &v), ERR_INVALID_NUMBER);
}

static void hashing(void **state) {
    (void)state;
    /* Every prefix of a run of zeros, and every single bit, hashes differently; each byte counts.
     */
    uint8_t text[80] = {0};
    uint64_t seen[81 + 80 * 8];
    size_t n = 0;
    for (size_t len = 0; len <= sizeof(text); len++) seen[n++] = slice_hash(slice_of(text, len));
    for (size_t bit = 0; bit < sizeof(text) * 8; bit++) {
        text[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        seen[n++] = slice_hash(slice_of(text, sizeof(text)));
        text[bit / 8] ^= (uint8_t)(1u << (bit % 8));
    }
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++) assert_true(seen[i] != seen[j]);
    assert_int_equal(slice_hash(slice_of(text, 20)), slice_hash(slice_of(text + 1, 20)));
}

/* One table bucket in 64 gets about its share of names that differ in a counter only. */
static void hashes_spread(void **state) {
    (void)state;
    size_t low[64] = {0}, high[64] = {0};
    for (unsigned i = 0; i < 64000; i++) {
        char name[32];
        int n = snprintf(name, sizeof(name), "container/blob-%06u", i);
        uint64_t h = slice_hash(slice_of(name, (size_t)n));
        low[h & 63]++;
        high[h >> 58]++;
    }
    for (size_t i = 0; i < 64; i++) {
        assert_in_range(low[i], 750, 1250);
        assert_in_range(high[i], 750, 1250);
    }
}

/* RFC 3629 by the letter: decode by arithmetic, then judge the code point. */
static bool utf8_by_arithmetic(const uint8_t *p, size_t n) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    for (size_t i = 0; i < n;) {
        uint8_t c = p[i];
        size_t len = c < 0x80 ? 1 : (c & 0xE0) == 0xC0 ? 2 : (c & 0xF0) == 0xE0 ? 3 : 4;
        if (c >= 0x80 && (c < 0xC0 || c >= 0xF8)) return false;
        if (len > n - i) return false;
        uint32_t code = len == 1 ? c : c & (0xFFu >> (len + 1));
        for (size_t k = 1; k < len; k++) {
            if ((p[i + k] & 0xC0) != 0x80) return false;
            code = code << 6 | (p[i + k] & 0x3F);
        }
        if (code < least[len] || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF))
            return false;
        i += len;
    }
    return true;
}

static void utf8_as_rfc3629(void **state) {
    (void)state;
    assert_true(slice_utf8_valid(S("plain text, longer than a word")));
    assert_true(slice_utf8_valid(S("\xF4\x8F\xBF\xBF\xED\x9F\xBF\xEE\x80\x80")));
    assert_false(slice_utf8_valid(S("\xC0\x80")));
    assert_false(slice_utf8_valid(S("\xED\xA0\x80")));
    assert_false(slice_utf8_valid(S("\xF4\x90\x80\x80")));
    assert_false(slice_utf8_valid(S("12345678\xE2\x82")));
    for (unsigned c = 0; c < 0x10000; c++) {
        uint8_t two[2] = {(uint8_t)(c >> 8), (uint8_t)c};
        assert_int_equal(slice_utf8_valid(slice_of(two, 2)), utf8_by_arithmetic(two, 2));
    }
    /* Bytes that meet often in characters of several bytes, and the edges of every range. */
    static const uint8_t bytes[] = {0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF,
                                    0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED,
                                    0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF};
    rng r = {1};
    for (unsigned i = 0; i < 200000; i++) {
        uint8_t text[12];
        size_t n = rng_below(&r, sizeof(text) + 1);
        for (size_t k = 0; k < n; k++) text[k] = bytes[rng_below(&r, ARRAY_LEN(bytes))];
        assert_int_equal(slice_utf8_valid(slice_of(text, n)), utf8_by_arithmetic(text, n));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_handled),
        cmocka_unit_test(comparing),
        cmocka_unit_test(searching_and_splitting),
        cmocka_unit_test(numbers),
        cmocka_unit_test(hashing),
        cmocka_unit_test(hashes_spread),
        cmocka_unit_test(utf8_as_rfc3629),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
