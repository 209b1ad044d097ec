#include "base_test.h"

static void nothing_is_handled(void **state) {
    (void)state;
    buf b;
    buf_done(NULL);
    buf_init(&b, 0);
    assert_ok(buf_check(&b));
    buf_put(&b, SLICE_NONE);
    buf_str(&b, "");
    buf_str(&b, NULL);
    buf_fmt(&b, "%s", "");
    assert_non_null(buf_reserve(&b, 0));
    buf_advance(&b, 0);
    assert_ok(buf_check(&b));
    assert_int_equal(buf_slice(&b).len, 0);
    buf_byte(&b, 'x');
    assert_err(buf_check(&b), ERR_TOO_LARGE);
    buf_reset(&b);
    assert_ok(buf_check(&b));
    buf_done(&b);
    buf_done(&b);
    assert_null(b.p);
}

/* Every kind of append stops at the maximum, exactly, and nothing comes after a failure. */
static void check_maximum(buf *b) {
    buf_str(b, "1234567890");
    assert_ok(buf_check(b));
    assert_non_null(buf_reserve(b, 0));
    buf_byte(b, '!');
    assert_err(buf_check(b), ERR_TOO_LARGE);
    assert_null(buf_reserve(b, 0));
    buf_str(b, "");
    assert_slice(buf_slice(b), S("1234567890"));
    buf_reset(b);
    buf_fmt(b, "%s%d", "12345678", 90);
    assert_ok(buf_check(b));
    buf_reset(b);
    buf_fmt(b, "%s%d", "12345678", 901);
    assert_err(buf_check(b), ERR_TOO_LARGE);
    buf_byte(b, 'a');
    assert_slice(buf_slice(b), S(""));
    buf_reset(b);
    assert_null(buf_reserve(b, SIZE_MAX));
    assert_err(buf_check(b), ERR_TOO_LARGE);
    buf_reset(b);
    buf_str(b, "123");
    assert_null(buf_reserve(b, SIZE_MAX - 1));
    buf_reset(b);
    buf_str(b, "123");
    assert_null(buf_reserve(b, 8));
    buf_done(b);
}

static void maximum_holds(void **state) {
    (void)state;
    buf b;
    uint8_t memory[10];
    arena *a = arena_new(64, 0);
    buf_init(&b, 10);
    check_maximum(&b);
    buf_init_arena(&b, a, 10);
    check_maximum(&b);
    buf_init_fixed(&b, memory, sizeof(memory));
    check_maximum(&b);
    arena_free(a);
}

static void arena_limit_fails_the_buffer(void **state) {
    (void)state;
    arena *a = arena_new(64, 1024);
    buf b;
    buf_init_arena(&b, a, 1 << 20);
    for (int i = 0; i < 4000; i++) buf_byte(&b, 'x');
    assert_err(buf_check(&b), ERR_TOO_LARGE);
    assert_true(b.len <= 1024);
    buf_done(&b);
    arena_free(a);
}

static void advance_too_far(void *arg) {
    buf *b = arg;
    buf_reserve(b, 1);
    buf_advance(b, b->cap + 1);
}

static void advancing_past_the_reserve_aborts(void **state) {
    (void)state;
    buf b;
    buf_init(&b, 4096);
    assert_true(aborts(advance_too_far, &b));
    buf_done(&b);
}

static void numbers_in_decimal(void **state) {
    (void)state;
    rng r = {2};
    buf b;
    buf_init(&b, 64);
    for (int i = 0; i < 20000; i++) {
        uint64_t v = rng_next(&r) >> rng_below(&r, 64);
        if (i == 0) v = 0;
        if (i == 1) v = UINT64_MAX;
        if (i >= 2 && i < 22) {
            v = 1;
            for (int k = 2; k < i; k++) v *= 10;
        }
        char text[32];
        snprintf(text, sizeof(text), "%llu", (unsigned long long)v);
        buf_reset(&b);
        buf_u64(&b, v);
        assert_slice(buf_slice(&b), slice_str(text));
    }
    buf_done(&b);
}

static void long_formats(void **state) {
    (void)state;
    char text[3000];
    memset(text, 'a', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    buf b;
    buf_init(&b, 4000);
    buf_fmt(&b, "<%s>", text);
    assert_ok(buf_check(&b));
    assert_int_equal(b.len, 3001);
    assert_int_equal(b.p[3000], '>');
    buf_fmt(&b, "<%s>", text);
    assert_err(buf_check(&b), ERR_TOO_LARGE);
    assert_int_equal(b.len, 3001);
    buf_done(&b);
}

/* Random appends, mirrored in plain memory, over each kind of memory. */
static void appends_like_plain_memory(void **state) {
    (void)state;
    rng r = {3};
    static uint8_t mirror[200000], fixed[200000], piece[3000];
    for (int kind = 0; kind < 3; kind++) {
        arena *a = arena_new(100, 0);
        buf b;
        if (kind == 0) buf_init(&b, sizeof(mirror));
        if (kind == 1) buf_init_arena(&b, a, sizeof(mirror));
        if (kind == 2) buf_init_fixed(&b, fixed, sizeof(fixed));
        size_t len = 0;
        while (len < sizeof(mirror) - sizeof(piece)) {
            size_t n = rng_below(&r, rng_below(&r, 8) == 0 ? sizeof(piece) : 40);
            rng_bytes(&r, piece, n);
            memcpy(mirror + len, piece, n);
            len += n;
            buf_put(&b, slice_of(piece, n));
            if (rng_below(&r, 4) == 0) memset(arena_alloc(a, rng_below(&r, 50) + 1), 0xEE, 1);
        }
        assert_ok(buf_check(&b));
        assert_slice(buf_slice(&b), slice_of(mirror, len));
        buf_done(&b);
        arena_free(a);
    }
}

static void cursors_refuse_what_is_short(void **state) {
    (void)state;
    uint8_t v8 = 1;
    uint16_t v16 = 2;
    uint32_t v32 = 3;
    uint64_t v64 = 4;
    slice part = S("x");
    for (size_t n = 0; n < 8; n++) {
        slice s = slice_take(S("\x80\x80\x80\x80\x80\x80\x80"), n), before = s;
        if (n < 1) assert_err(cur_u8(&s, &v8), ERR_CORRUPT);
        if (n < 2) assert_err(cur_be16(&s, &v16), ERR_CORRUPT);
        if (n < 4) assert_err(cur_be32(&s, &v32), ERR_CORRUPT);
        if (n < 8) assert_err(cur_be64(&s, &v64), ERR_CORRUPT);
        assert_err(cur_varint(&s, &v64), ERR_CORRUPT);
        assert_err(cur_take(&s, n + 1, &part), ERR_CORRUPT);
        assert_err(cur_take(&s, SIZE_MAX, &part), ERR_CORRUPT);
        assert_ptr_equal(s.p, before.p);
        assert_int_equal(s.len, before.len);
    }
    slice none = SLICE_NONE;
    assert_err(cur_u8(&none, &v8), ERR_CORRUPT);
    assert_ok(cur_take(&none, 0, &part));
    assert_int_equal(part.len, 0);
    assert_true(v8 == 1 && v16 == 2 && v32 == 3 && v64 == 4);
}

static void numbers_round_trip(void **state) {
    (void)state;
    rng r = {4};
    buf b;
    buf_init(&b, 256);
    for (int i = 0; i < 20000; i++) {
        uint64_t v = rng_next(&r) >> rng_below(&r, 64);
        buf_reset(&b);
        buf_be16(&b, (uint16_t)v);
        buf_be32(&b, (uint32_t)v);
        buf_be64(&b, v);
        buf_varint(&b, v);
        buf_put(&b, S("end"));
        slice s = buf_slice(&b), part;
        uint8_t high;
        uint16_t v16;
        uint32_t v32;
        uint64_t v64, varint;
        assert_ok(cur_be16(&s, &v16));
        assert_ok(cur_be32(&s, &v32));
        slice at64 = s;
        assert_ok(cur_u8(&at64, &high));
        assert_int_equal(high, v >> 56);
        assert_ok(cur_be64(&s, &v64));
        assert_ok(cur_varint(&s, &varint));
        assert_ok(cur_take(&s, 3, &part));
        assert_slice(part, S("end"));
        assert_int_equal(s.len, 0);
        assert_int_equal(v16, (uint16_t)v);
        assert_int_equal(v32, (uint32_t)v);
        assert_true(v64 == v && varint == v);
    }
    buf_done(&b);
}

static void varints_have_one_form(void **state) {
    (void)state;
    static const struct {
        slice text;
        bool good;
        uint64_t v;
    } cases[] = {
        {{(const uint8_t *)"\x00", 1}, true, 0},
        {{(const uint8_t *)"\x7F", 1}, true, 127},
        {{(const uint8_t *)"\x80\x01", 2}, true, 128},
        {{(const uint8_t *)"\x80\x00", 2}, false, 0},
        {{(const uint8_t *)"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 10}, true, UINT64_MAX},
        {{(const uint8_t *)"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x02", 10}, false, 0},
        {{(const uint8_t *)"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x81\x00", 11}, false, 0},
        {{(const uint8_t *)"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 11}, false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        slice s = cases[i].text;
        uint64_t v = 5;
        assert_err(cur_varint(&s, &v), cases[i].good ? OK : ERR_CORRUPT);
        assert_int_equal(v, cases[i].good ? cases[i].v : 5);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_handled),
        cmocka_unit_test(maximum_holds),
        cmocka_unit_test(arena_limit_fails_the_buffer),
        cmocka_unit_test(advancing_past_the_reserve_aborts),
        cmocka_unit_test(numbers_in_decimal),
        cmocka_unit_test(long_formats),
        cmocka_unit_test(appends_like_plain_memory),
        cmocka_unit_test(cursors_refuse_what_is_short),
        cmocka_unit_test(numbers_round_trip),
        cmocka_unit_test(varints_have_one_form),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
