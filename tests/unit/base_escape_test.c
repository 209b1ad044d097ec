#include "base_test.h"

static void check(void (*put)(buf *, slice), slice in, slice expected) {
    buf b;
    buf_init(&b, 4000);
    put(&b, in);
    assert_ok(buf_check(&b));
    assert_slice(buf_slice(&b), expected);
    buf_done(&b);
}

static void nothing_is_handled(void **state) {
    (void)state;
    check(xml_put, SLICE_NONE, S(""));
    check(json_put, SLICE_NONE, S(""));
    assert_true(xml_can_carry(SLICE_NONE));
    buf b;
    buf_init(&b, 0);
    xml_put(&b, S("a"));
    assert_err(buf_check(&b), ERR_TOO_LARGE);
    buf_done(&b);
}

static void xml(void **state) {
    (void)state;
    check(xml_put, S("plain"), S("plain"));
    check(xml_put, S("<a b=\"c\">&'\r\n\t"), S("&lt;a b=&quot;c&quot;&gt;&amp;'&#xD;\n\t"));
    check(xml_put, S("]]>"), S("]]&gt;"));
    check(xml_put, S("caf\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x94\x92"),
          S("caf\xC3\xA9 \xE2\x82\xAC \xF0\x9F\x94\x92"));
    check(xml_put, S("a\0b\x01\x1F\x7F"), S("a?b??\x7F"));
    check(xml_put, S("\xFF\xC3"), S("??"));
    check(xml_put, S("\xC3<"), S("?&lt;"));
    check(xml_put, S("\xEF\xBF\xBD\xEF\xBF\xBE\xEF\xBF\xBF"), S("\xEF\xBF\xBD??????"));
    check(xml_put, S("\xED\xA0\x80"), S("???"));
    check(xml_put, S("\xF4\x8F\xBF\xBF"), S("\xF4\x8F\xBF\xBF"));
}

static void what_xml_carries(void **state) {
    (void)state;
    assert_true(xml_can_carry(S("<&>\"'\t\r\n\x7F caf\xC3\xA9 \xEF\xBF\xBD \xF4\x8F\xBF\xBF")));
    static const char *const bad[] = {"\x01",         "a\x1F",        "\xEF\xBF\xBE",
                                      "\xEF\xBF\xBF", "\xED\xA0\x80", "\xC3",
                                      "\xFF",         "\x0B",         "\xC0\x80"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) assert_false(xml_can_carry(slice_str(bad[i])));
    assert_false(xml_can_carry(S("a\0b")));
}

static void json(void **state) {
    (void)state;
    check(json_put, S("plain"), S("plain"));
    check(json_put, S("\"\\/\b\f\n\r\t"), S("\\\"\\\\/\\b\\f\\n\\r\\t"));
    check(json_put, S("\0\x01\x1F\x7F"), S("\\u0000\\u0001\\u001f\x7F"));
    check(json_put, S("caf\xC3\xA9 \xF0\x9F\x94\x92"), S("caf\xC3\xA9 \xF0\x9F\x94\x92"));
    check(json_put, S("\xFF\xC3"), S("\xEF\xBF\xBD\xEF\xBF\xBD"));
    check(json_put, S("\xED\xA0\x80\""), S("\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\\\""));
}

/* Undoes xml_put for text that XML can carry. */
static slice unescape_xml(arena *a, slice s) {
    static const struct {
        const char *from, c;
    } table[] = {{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&#xD;", '\r'}};
    uint8_t *out = arena_try(a, s.len), *to = out;
    while (s.len > 0) {
        size_t i = 0;
        while (i < ARRAY_LEN(table) && !slice_starts(s, slice_str(table[i].from))) i++;
        *to++ = i < ARRAY_LEN(table) ? (uint8_t)table[i].c : s.p[0];
        s = slice_skip(s, i < ARRAY_LEN(table) ? strlen(table[i].from) : 1);
    }
    return slice_of(out, (size_t)(to - out));
}

/* Whatever comes in, what goes out is characters that XML and JSON allow, with no bare markup; and
 * what XML can carry comes back. */
static void random_text(void **state) {
    (void)state;
    static const char *const pieces[] = {"a",
                                         "<",
                                         "&",
                                         ">",
                                         "\"",
                                         "\r",
                                         "\n",
                                         "\\",
                                         "\x01",
                                         "\x7F",
                                         "\xC3",
                                         "\xA9",
                                         "\xC3\xA9",
                                         "\xE2\x82\xAC",
                                         "\xEF\xBF\xBE",
                                         "\xF0\x9F\x94\x92",
                                         "\xED\xA0\x80",
                                         "\xFF",
                                         "name-0001/"};
    rng r = {13};
    size_t carried = 0;
    for (int i = 0; i < 30000; i++) {
        arena *a = arena_new(1024, 0);
        buf in, out;
        buf_init_arena(&in, a, 1000);
        buf_init_arena(&out, a, 10000);
        size_t kinds = rng_below(&r, 2) ? ARRAY_LEN(pieces) : 8;
        for (size_t n = rng_below(&r, 20); n > 0; n--) buf_str(&in, pieces[rng_below(&r, kinds)]);
        xml_put(&out, buf_slice(&in));
        assert_true(xml_can_carry(buf_slice(&out)));
        for (size_t k = 0; k < out.len; k++) assert_null(memchr("<>\"\r", out.p[k], 4));
        if (xml_can_carry(buf_slice(&in))) {
            assert_slice(unescape_xml(a, buf_slice(&out)), buf_slice(&in));
            carried++;
        }
        buf_reset(&out);
        json_put(&out, buf_slice(&in));
        assert_true(slice_utf8_valid(buf_slice(&out)));
        for (size_t k = 0; k < out.len; k++) {
            assert_true(out.p[k] >= 0x20 && out.p[k] != '"');
            if (out.p[k] == '\\') assert_non_null(memchr("\"\\bfnrtu", out.p[++k], 8));
        }
        arena_free(a);
    }
    assert_true(carried > 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_handled), cmocka_unit_test(xml),
        cmocka_unit_test(what_xml_carries),   cmocka_unit_test(json),
        cmocka_unit_test(random_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
