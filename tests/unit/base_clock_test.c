#include <time.h>

#include "base_test.h"

#define US 1000000

static void nothing_is_handled(void **state) {
    (void)state;
    static const char *const bad[] = {"",
                                      " ",
                                      "T",
                                      "Z",
                                      "-",
                                      "Sun",
                                      "Sun,",
                                      "Sun ",
                                      "Sunday",
                                      "Sunday, ",
                                      "2026",
                                      "2026-",
                                      "\xFF\xFF\xFF\xFF"};
    int64_t us = 5;
    assert_err(time_parse_http(SLICE_NONE, &us), ERR_INVALID_TIME);
    assert_err(time_parse_iso(SLICE_NONE, &us), ERR_INVALID_TIME);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_err(time_parse_http(slice_str(bad[i]), &us), ERR_INVALID_TIME);
        assert_err(time_parse_iso(slice_str(bad[i]), &us), ERR_INVALID_TIME);
    }
    assert_int_equal(us, 5);
}

static void clocks_run_and_skew(void **state) {
    (void)state;
    int64_t mono = clock_mono_us(), wall = clock_wall_us();
    assert_true(clock_mono_us() >= mono);
    assert_true(wall > (int64_t)1700000000 * US);
    clock_skew_us((int64_t)86400 * 365 * US);
    assert_true(clock_wall_us() >= wall + (int64_t)86400 * 364 * US);
    clock_skew_us(0);
    assert_true(clock_wall_us() < wall + (int64_t)86400 * US);
}

/* Clock and chance come from the table that is in use, and from nowhere else. */
static int64_t fixed_us(const io *self) {
    (void)self;
    return 1234567;
}

static void fixed_bytes(const io *self, void *p, size_t n) {
    (void)self;
    memset(p, 0xA5, n);
}

static void one_table_gives_time_and_chance(void **state) {
    (void)state;
    io table = io_real;
    table.wall_us = table.mono_us = fixed_us;
    table.random = fixed_bytes;
    uint8_t got[4096], expected[4096];
    memset(expected, 0xA5, sizeof expected);
    io_use(&table);
    assert_int_equal(clock_wall_us(), 1234567);
    assert_int_equal(clock_mono_us(), 1234567);
    clock_skew_us(-1000000);
    assert_int_equal(clock_wall_us(), 234567);
    clock_skew_us(0);
    random_fill(got, sizeof got);
    io_use(&io_real);
    assert_memory_equal(got, expected, sizeof got);
    random_fill(got, sizeof got);
    assert_memory_not_equal(got, expected, sizeof got);
    assert_true(clock_wall_us() > 1234567);
}

static void check_put(void (*put)(buf *, int64_t), int64_t us, const char *expected) {
    uint8_t text[64];
    buf b;
    buf_init_fixed(&b, text, sizeof(text));
    put(&b, us);
    assert_slice(buf_slice(&b), slice_str(expected));
}

static void writing(void **state) {
    (void)state;
    const int64_t rfc = (int64_t)784111777 * US;
    check_put(time_put_http, rfc, "Sun, 06 Nov 1994 08:49:37 GMT");
    check_put(time_put_http, rfc + 999999, "Sun, 06 Nov 1994 08:49:37 GMT");
    check_put(time_put_http, rfc + US, "Sun, 06 Nov 1994 08:49:38 GMT");
    check_put(time_put_http, 0, "Thu, 01 Jan 1970 00:00:00 GMT");
    check_put(time_put_http, -1, "Wed, 31 Dec 1969 23:59:59 GMT");
    check_put(time_put_iso7, rfc + 123456, "1994-11-06T08:49:37.1234560Z");
    check_put(time_put_iso7, -1, "1969-12-31T23:59:59.9999990Z");
    check_put(time_put_iso_s, rfc, "1994-11-06T08:49:37Z");
    check_put(time_put_iso_s, (int64_t)951782400 * US, "2000-02-29T00:00:00Z");
    check_put(time_put_iso_s, (int64_t)4107542400 * US, "2100-03-01T00:00:00Z");
    /* Outside the years of four digits: the nearest second there is. */
    check_put(time_put_iso_s, INT64_MAX, "9999-12-31T23:59:59Z");
    check_put(time_put_iso_s, INT64_MIN, "0000-01-01T00:00:00Z");
    check_put(time_put_http, INT64_MAX, "Fri, 31 Dec 9999 23:59:59 GMT");
}

/* Random times of four-digit years: the C library writes the same, and reading gives them back. */
static void like_the_c_library(void **state) {
    (void)state;
    rng r = {6};
    for (int i = 0; i < 50000; i++) {
        int64_t s = -62167219200 + (int64_t)rng_below(&r, 315569520000);
        unsigned micro = (unsigned)rng_below(&r, US);
        time_t t = (time_t)s;
        struct tm tm;
        char expected[64];
        assert_non_null(gmtime_r(&t, &tm));
        snprintf(expected, sizeof(expected), "%04d-%02d-%02dT%02d:%02d:%02d.%06u0Z",
                 tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                 micro);
        check_put(time_put_iso7, s * US + micro, expected);
        int64_t us;
        assert_ok(time_parse_iso(slice_str(expected), &us));
        assert_int_equal(us, s * US + micro);

        uint8_t text[64];
        buf b;
        buf_init_fixed(&b, text, sizeof(text));
        time_put_http(&b, s * US + micro);
        char http[64];
        size_t n = strftime(http, sizeof(http), "%a, %d %b ", &tm);
        snprintf(http + n, sizeof(http) - n, "%04d %02d:%02d:%02d GMT", tm.tm_year + 1900,
                 tm.tm_hour, tm.tm_min, tm.tm_sec);
        assert_slice(buf_slice(&b), slice_str(http));
        assert_ok(time_parse_http(buf_slice(&b), &us));
        assert_int_equal(us, s * US);
    }
}

typedef struct parse_case {
    const char *text;
    bool good;
    int64_t s;
    int64_t micro;
} parse_case;

static void check_parse(err (*parse)(slice, int64_t *), const parse_case *c) {
    int64_t us = 5;
    err e = parse(slice_str(c->text), &us);
    if ((e == OK) != c->good) print_error("\"%s\"\n", c->text);
    assert_err(e, c->good ? OK : ERR_INVALID_TIME);
    assert_int_equal(us, c->good ? c->s * US + c->micro : 5);
}

static void http_dates(void **state) {
    (void)state;
    static const parse_case cases[] = {
        /* RFC 9110 5.6.7, the three forms. */
        {"Sun, 06 Nov 1994 08:49:37 GMT", true, 784111777},
        {"Sunday, 06-Nov-94 08:49:37 GMT", true, 784111777},
        {"Sun Nov  6 08:49:37 1994", true, 784111777},
        {"Wednesday, 16-Nov-94 08:49:37 GMT", true, 784975777},
        {"Wed Nov 16 08:49:37 1994", true, 784975777},
        {"Tue, 29 Feb 2000 00:00:00 GMT", true, 951782400},
        {"Sat, 31 Dec 2016 23:59:60 GMT", true, 1483228800},
        {"Sun, 6 Nov 1994 08:49:37 GMT", false},
        {"Sun, 06 Nov 1994 08:49:37 UTC", false},
        {"Sun, 06 Nov 1994 08:49:37 GMT ", false},
        {" Sun, 06 Nov 1994 08:49:37 GMT", false},
        {"sun, 06 Nov 1994 08:49:37 GMT", false},
        {"Sun, 06 nov 1994 08:49:37 GMT", false},
        {"Sun, 06 Nov 1994 08:49:37", false},
        {"Sun, 06 Nov 1994 8:49:37 GMT", false},
        {"Sun, 06 Nov 1994 24:00:00 GMT", false},
        {"Sun, 06 Nov 1994 08:60:00 GMT", false},
        {"Sun, 06 Nov 1994 08:49:61 GMT", false},
        {"Sun, 00 Nov 1994 08:49:37 GMT", false},
        {"Sun, 31 Nov 1994 08:49:37 GMT", false},
        {"Thu, 29 Feb 1900 00:00:00 GMT", false},
        {"Sun, 06 Nov 94 08:49:37 GMT", false},
        {"Sun Nov 6 08:49:37 1994", false},
        {"Sun Nov  6 08:49:37 94", false},
        {"Sunday, 06-Nov-1994 08:49:37 GMT", false},
        {"Sonday, 06-Nov-94 08:49:37 GMT", false},
        {"Sun, 0x Nov 1994 08:49:37 GMT", false},
        {"Sun, +6 Nov 1994 08:49:37 GMT", false},
        {"1994-11-06T08:49:37Z", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) check_parse(time_parse_http, &cases[i]);
}

/* RFC 9110: a two-digit year more than 50 years ahead is the most recent past year of those digits.
 */
static void two_digit_years(void **state) {
    (void)state;
    for (unsigned year = 0; year < 100; year++) {
        char text[64];
        int64_t us;
        snprintf(text, sizeof(text), "Monday, 01-Jan-%02u 00:00:00 GMT", year);
        assert_ok(time_parse_http(slice_str(text), &us));
        int64_t ahead = us - clock_wall_us(), year_us = (int64_t)365 * 86400 * US;
        assert_true(ahead <= 51 * year_us && ahead >= -100 * year_us);
    }
}

static void iso_times(void **state) {
    (void)state;
    static const parse_case cases[] = {
        {"1994-11-06", true, 784080000},
        {"1994-11-06T08:49Z", true, 784111740},
        {"1994-11-06T08:49:37Z", true, 784111777},
        {"1994-11-06T08:49:37.1Z", true, 784111777, 100000},
        {"1994-11-06T08:49:37.123456Z", true, 784111777, 123456},
        {"1994-11-06T08:49:37.1234567Z", true, 784111777, 123456},
        {"1994-11-06T08:49:37.0000009Z", true, 784111777, 0},
        {"1994-11-06T09:49:37+01:00", true, 784111777},
        {"1994-11-06T00:49:37.5-08:00", true, 784111777, 500000},
        {"1994-11-06T08:49+00:00", true, 784111740},
        {"1994-11-06T14:19:37+05:30", true, 784111777},
        {"0000-01-01T00:00:00Z", true, -62167219200},
        {"9999-12-31T23:59:59Z", true, 253402300799},
        {"2000-02-29", true, 951782400},
        {"2001-02-29", false},
        {"1994-11-06T08:49:37", false},
        {"1994-11-06T08:49", false},
        {"1994-11-06T08Z", false},
        {"1994-11-06T", false},
        {"1994-11-06Z", false},
        {"1994-11-06 08:49:37Z", false},
        {"1994-11-06t08:49:37z", false},
        {"1994-11-06T08:49:37.Z", false},
        {"1994-11-06T08:49:37.12345678Z", false},
        {"1994-11-06T08:49.5Z", false},
        {"1994-11-06T08:49:37+0100", false},
        {"1994-11-06T08:49:37+01", false},
        {"1994-11-06T08:49:37+15:00", false},
        {"1994-11-06T08:49:37+01:60", false},
        {"1994-11-06T08:49:37ZZ", false},
        {"1994-13-06", false},
        {"1994-00-06", false},
        {"1994-11-00", false},
        {"1994-11-31", false},
        {"1994-11-06T24:00Z", false},
        {"94-11-06", false},
        {"1994-1-06", false},
        {"+1994-11-06", false},
        {"-994-11-06", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) check_parse(time_parse_iso, &cases[i]);
}

/* Good texts with random bytes changed, cut anywhere: refused or read, never past the end. */
static void damaged_times(void **state) {
    (void)state;
    static const char *const good[] = {"Sun, 06 Nov 1994 08:49:37 GMT",
                                       "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994",
                                       "1994-11-06T08:49:37.1234567+05:30"};
    static const char letters[] = "0123456789-:+., TZGMSunday\xFF";
    rng r = {7};
    for (int i = 0; i < 100000; i++) {
        slice from = slice_str(good[rng_below(&r, ARRAY_LEN(good))]);
        size_t n = rng_below(&r, from.len + 1);
        uint8_t *text = malloc(n + 1); /* its own allocation: a sanitizer sees every overrun */
        memcpy(text, from.p, n);
        for (size_t k = rng_below(&r, 3); k > 0 && n > 0; k--)
            text[rng_below(&r, n)] = (uint8_t)letters[rng_below(&r, sizeof(letters))];
        int64_t us = 0;
        if (time_parse_http(slice_of(text, n), &us) == OK) assert_true(us % US == 0);
        if (time_parse_iso(slice_of(text, n), &us) == OK) assert_true(n >= 10);
        free(text);
    }
}

static void ticks(void **state) {
    (void)state;
    static const struct {
        uint64_t tick;
        const char *text;
    } known[] = {{TIME_TICKS_TO_1970, "1970-01-01T00:00:00.0000000Z"},
                 {TIME_TICKS_TO_1970 + 1, "1970-01-01T00:00:00.0000001Z"},
                 {TIME_TICKS_TO_1970 + 12345678, "1970-01-01T00:00:01.2345678Z"}};
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        uint8_t text[TIME_TICK_TEXT_LEN];
        uint64_t back;
        buf b;
        buf_init_fixed(&b, text, sizeof text);
        time_put_tick(&b, known[i].tick);
        assert_true(slice_eq(buf_slice(&b), slice_str(known[i].text)));
        assert_ok(time_parse_tick(slice_str(known[i].text), &back));
        assert_true(back == known[i].tick);
    }
    static const char *const bad[] = {"",
                                      "1970-01-01",
                                      "1970-01-01T00:00:00Z",
                                      "1970-01-01T00:00:00.000000Z",
                                      "1970-01-01T00:00:00.00000000Z",
                                      "1970-01-01T00:00:00.000000xZ",
                                      "1970-01-01T00:00:00.0000000+",
                                      "1969-12-31T23:59:59.9999999Z",
                                      "2026-02-30T00:00:00.0000000Z",
                                      "1970-01-01T00:00:00,0000000Z"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        uint64_t back;
        assert_err(time_parse_tick(slice_str(bad[i]), &back), ERR_INVALID_TIME);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_handled),
        cmocka_unit_test(clocks_run_and_skew),
        cmocka_unit_test(one_table_gives_time_and_chance),
        cmocka_unit_test(writing),
        cmocka_unit_test(like_the_c_library),
        cmocka_unit_test(http_dates),
        cmocka_unit_test(two_digit_years),
        cmocka_unit_test(iso_times),
        cmocka_unit_test(damaged_times),
        cmocka_unit_test(ticks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
