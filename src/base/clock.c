/* Time: the clocks, and the calendar by arithmetic (no time zones, no locale, no strftime). */
#include <stdatomic.h>

#include "base/base.h"

#define US     ((int64_t)1000000)
#define DAY_S  ((int64_t)86400)
#define MIN_S  ((int64_t)-62167219200) /* 0000-01-01T00:00:00Z */
#define LAST_S ((int64_t)253402300799) /* 9999-12-31T23:59:59Z */

static _Atomic int64_t skew_us;

int64_t clock_wall_us(void) {
    const io *t = io_in_use();
    return t->wall_us(t) + atomic_load_explicit(&skew_us, memory_order_relaxed);
}

int64_t clock_mono_us(void) {
    const io *t = io_in_use();
    return t->mono_us(t);
}

void clock_skew_us(int64_t offset_us) {
    atomic_store(&skew_us, offset_us);
}

/* --- the calendar -------------------------------------------------------------------------- */

/* Days of the proleptic Gregorian calendar, counted in years that begin in March, so that the leap
 * day is the last of its year, and in eras of 400 years (146,097 days). Year >= 0. */
static int64_t days_from_civil(int64_t year, unsigned month, unsigned day) {
    if (month <= 2) year--;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t of_era = year - era * 400;
    unsigned of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    int64_t day_of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    return era * 146097 + day_of_era - 719468;
}

static void civil_from_days(int64_t days, unsigned *year, unsigned *month, unsigned *day) {
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    unsigned of_era = (unsigned)(days - era * 146097);
    unsigned y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    unsigned of_year = of_era - (365 * y + y / 4 - y / 100);
    unsigned m = (5 * of_year + 2) / 153;
    *day = of_year - (153 * m + 2) / 5 + 1;
    *month = m < 10 ? m + 3 : m - 9;
    *year = (unsigned)(y + era * 400 + (*month <= 2));
}

static bool is_leap(unsigned year) {
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static unsigned days_in_month(unsigned year, unsigned month) {
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

typedef struct civil {
    unsigned year, month, day, hour, minute, second, micro;
    unsigned weekday; /* 0 is Sunday */
} civil;

/* Seconds and the microsecond within, kept inside the years that four digits can write. */
static int64_t split_us(int64_t us, unsigned *micro) {
    int64_t s = us / US, rest = us % US;
    if (rest < 0) {
        rest += US;
        s--;
    }
    *micro = (unsigned)rest;
    return s < MIN_S ? MIN_S : s > LAST_S ? LAST_S : s;
}

static civil civil_of(int64_t s, unsigned micro) {
    civil c = {.micro = micro};
    int64_t days = s / DAY_S, rest = s % DAY_S;
    if (rest < 0) {
        rest += DAY_S;
        days--;
    }
    civil_from_days(days, &c.year, &c.month, &c.day);
    c.hour = (unsigned)rest / 3600;
    c.minute = (unsigned)rest / 60 % 60;
    c.second = (unsigned)rest % 60;
    int64_t weekday = (days + 4) % 7;
    c.weekday = (unsigned)(weekday < 0 ? weekday + 7 : weekday);
    return c;
}

static err us_of(const civil *c, int64_t *ret_us) {
    ENSURE(c->month >= 1 && c->month <= 12 && c->day >= 1 &&
               c->day <= days_in_month(c->year, c->month) && c->hour <= 23 && c->minute <= 59 &&
               c->second <= 60,
           ERR_INVALID_TIME, "no such day or time: %04u-%02u-%02u %02u:%02u:%02u", c->year,
           c->month, c->day, c->hour, c->minute, c->second);
    int64_t s = days_from_civil(c->year, c->month, c->day) * DAY_S + (int64_t)c->hour * 3600 +
                (int64_t)c->minute * 60 + c->second;
    *ret_us = s * US + c->micro;
    return OK;
}

/* --- writing ------------------------------------------------------------------------------- */

static const char day_names[] = "SunMonTueWedThuFriSat";
static const char month_names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
static const char http_form[] = "Sun, 06 Nov 1994 08:49:37 GMT";

static inline void put2(char *p, unsigned v) {
    p[0] = (char)('0' + v / 10);
    p[1] = (char)('0' + v % 10);
}

static inline void put4(char *p, unsigned v) {
    put2(p, v / 100);
    put2(p + 2, v % 100);
}

#define HTTP_LEN (sizeof(http_form) - 1)

static void render_http(char *p, int64_t s) {
    civil c = civil_of(s, 0);
    memcpy(p, http_form, HTTP_LEN);
    memcpy(p, day_names + (size_t)c.weekday * 3, 3);
    put2(p + 5, c.day);
    memcpy(p + 8, month_names + (size_t)(c.month - 1) * 3, 3);
    put4(p + 12, c.year);
    put2(p + 17, c.hour);
    put2(p + 20, c.minute);
    put2(p + 23, c.second);
}

/* Nearly every answer carries the present second: each thread keeps the last one it wrote. */
void time_put_http(buf *b, int64_t us) {
    static _Thread_local struct {
        int64_t s;
        bool set;
        char text[HTTP_LEN];
    } last;
    unsigned micro;
    int64_t s = split_us(us, &micro);
    if (!last.set || last.s != s) {
        render_http(last.text, s);
        last.s = s;
        last.set = true;
    }
    buf_put(b, slice_of(last.text, HTTP_LEN));
}

/* "YYYY-MM-DDThh:mm:ss", 19 bytes. */
static void render_iso(char *p, const civil *c) {
    put4(p, c->year);
    p[4] = '-';
    put2(p + 5, c->month);
    p[7] = '-';
    put2(p + 8, c->day);
    p[10] = 'T';
    put2(p + 11, c->hour);
    p[13] = ':';
    put2(p + 14, c->minute);
    p[16] = ':';
    put2(p + 17, c->second);
}

void time_put_iso7(buf *b, int64_t us) {
    unsigned micro;
    int64_t s = split_us(us, &micro);
    civil c = civil_of(s, micro);
    char text[28];
    render_iso(text, &c);
    text[19] = '.';
    put2(text + 20, micro / 10000);
    put4(text + 22, micro % 10000);
    text[26] = '0';
    text[27] = 'Z';
    buf_put(b, slice_of(text, sizeof(text)));
}

void time_put_tick(buf *b, uint64_t tick) {
    uint64_t since = tick - TIME_TICKS_TO_1970;
    size_t at = b->len;
    time_put_iso7(b, (int64_t)(since / 10));
    if (!b->failed) b->p[at + 26] = (uint8_t)('0' + since % 10);
}

void time_put_iso_s(buf *b, int64_t us) {
    unsigned micro;
    int64_t s = split_us(us, &micro);
    civil c = civil_of(s, 0);
    char text[20];
    render_iso(text, &c);
    text[19] = 'Z';
    buf_put(b, slice_of(text, sizeof(text)));
}

/* --- reading ------------------------------------------------------------------------------- */

/* Exactly n digits from the front of *s. */
static bool take_digits(slice *s, size_t n, unsigned *ret) {
    if (s->len < n) return false;
    unsigned v = 0;
    for (size_t i = 0; i < n; i++) {
        unsigned digit = (unsigned)s->p[i] - '0';
        if (digit > 9) return false;
        v = v * 10 + digit;
    }
    *ret = v;
    *s = slice_skip(*s, n);
    return true;
}

static bool take_text(slice *s, slice text) {
    if (!slice_starts(*s, text)) return false;
    *s = slice_skip(*s, text.len);
    return true;
}

/* A three-letter name out of `names`, counted from 0. */
static bool take_name(slice *s, const char *names, unsigned count, unsigned *ret) {
    for (unsigned i = 0; i < count; i++) {
        if (!take_text(s, slice_of(names + (size_t)i * 3, 3))) continue;
        *ret = i;
        return true;
    }
    return false;
}

static bool take_month(slice *s, unsigned *ret) {
    unsigned month;
    if (!take_name(s, month_names, 12, &month)) return false;
    *ret = month + 1;
    return true;
}

static bool take_clock(slice *s, civil *c) {
    return take_digits(s, 2, &c->hour) && take_text(s, S(":")) && take_digits(s, 2, &c->minute) &&
           take_text(s, S(":")) && take_digits(s, 2, &c->second);
}

/* "Sun, 06 Nov 1994 08:49:37 GMT" after the comma. */
static bool take_imf(slice *s, civil *c) {
    return take_text(s, S(", ")) && take_digits(s, 2, &c->day) && take_text(s, S(" ")) &&
           take_month(s, &c->month) && take_text(s, S(" ")) && take_digits(s, 4, &c->year) &&
           take_text(s, S(" ")) && take_clock(s, c) && take_text(s, S(" GMT"));
}

/* "Sun Nov  6 08:49:37 1994" after the name of the day. */
static bool take_asctime(slice *s, civil *c) {
    if (!take_text(s, S(" ")) || !take_month(s, &c->month) || !take_text(s, S(" "))) return false;
    if (take_text(s, S(" ")) ? !take_digits(s, 1, &c->day) : !take_digits(s, 2, &c->day))
        return false;
    return take_text(s, S(" ")) && take_clock(s, c) && take_text(s, S(" ")) &&
           take_digits(s, 4, &c->year);
}

/* RFC 9110 5.6.7: a two-digit year that seems more than 50 years ahead is the past one. */
static unsigned full_year(unsigned two_digits) {
    unsigned micro;
    civil now = civil_of(split_us(clock_wall_us(), &micro), 0);
    unsigned year = now.year / 100 * 100 + two_digits;
    return year > now.year + 50 ? year - 100 : year;
}

/* "Sunday, 06-Nov-94 08:49:37 GMT" after the first three letters of the day. */
static bool take_rfc850(slice *s, unsigned weekday, civil *c) {
    static const char *const rest[] = {"day", "day", "sday", "nesday", "rsday", "day", "urday"};
    unsigned year;
    if (!take_text(s, slice_str(rest[weekday])) || !take_text(s, S(", ")) ||
        !take_digits(s, 2, &c->day) || !take_text(s, S("-")) || !take_month(s, &c->month) ||
        !take_text(s, S("-")) || !take_digits(s, 2, &year) || !take_text(s, S(" ")) ||
        !take_clock(s, c) || !take_text(s, S(" GMT")))
        return false;
    c->year = full_year(year);
    return true;
}

err time_parse_http(slice s, int64_t *ret_us) {
    civil c = {0};
    slice rest = s;
    bool good = take_name(&rest, day_names, 7, &c.weekday);
    if (good && slice_starts(rest, S(",")))
        good = take_imf(&rest, &c);
    else if (good && slice_starts(rest, S(" ")))
        good = take_asctime(&rest, &c);
    else if (good)
        good = take_rfc850(&rest, c.weekday, &c);
    ENSURE(good && rest.len == 0, ERR_INVALID_TIME, "'%.*s' is not an HTTP date",
           SLICE_ARG(slice_take(s, 64)));
    return us_of(&c, ret_us);
}

/* 1 to 7 digits; what is smaller than a microsecond is dropped. */
static bool take_fraction(slice *s, unsigned *ret_micro) {
    unsigned micro = 0, scale = 100000;
    size_t n = 0;
    for (; n < s->len && s->p[n] >= '0' && s->p[n] <= '9'; n++, scale /= 10)
        micro += (unsigned)(s->p[n] - '0') * scale;
    if (n < 1 || n > 7) return false;
    *ret_micro = micro;
    *s = slice_skip(*s, n);
    return true;
}

/* Z, or an offset +hh:mm or -hh:mm, in seconds east of Greenwich. */
static bool take_zone(slice *s, int64_t *ret_east_s) {
    unsigned hour, minute;
    if (take_text(s, S("Z"))) return true;
    bool east = take_text(s, S("+"));
    if (!east && !take_text(s, S("-"))) return false;
    if (!take_digits(s, 2, &hour) || !take_text(s, S(":")) || !take_digits(s, 2, &minute))
        return false;
    if (hour > 14 || minute > 59) return false;
    int64_t away = (int64_t)hour * 3600 + (int64_t)minute * 60;
    *ret_east_s = east ? away : -away;
    return true;
}

static bool take_iso_clock(slice *s, civil *c, int64_t *ret_east_s) {
    if (!take_text(s, S("T")) || !take_digits(s, 2, &c->hour) || !take_text(s, S(":")) ||
        !take_digits(s, 2, &c->minute))
        return false;
    if (take_text(s, S(":"))) {
        if (!take_digits(s, 2, &c->second)) return false;
        if (take_text(s, S(".")) && !take_fraction(s, &c->micro)) return false;
    }
    return take_zone(s, ret_east_s);
}

err time_parse_iso(slice s, int64_t *ret_us) {
    civil c = {0};
    slice rest = s;
    int64_t east_s = 0, us;
    bool good = take_digits(&rest, 4, &c.year) && take_text(&rest, S("-")) &&
                take_digits(&rest, 2, &c.month) && take_text(&rest, S("-")) &&
                take_digits(&rest, 2, &c.day);
    if (good && rest.len > 0) good = take_iso_clock(&rest, &c, &east_s);
    ENSURE(good && rest.len == 0, ERR_INVALID_TIME, "'%.*s' is not an ISO 8601 time",
           SLICE_ARG(slice_take(s, 64)));
    TRY(us_of(&c, &us));
    *ret_us = us - east_s * US;
    return OK;
}

err time_parse_tick(slice s, uint64_t *ret) {
    int64_t us;
    bool shaped = s.len == TIME_TICK_TEXT_LEN && s.p[19] == '.' && s.p[27] == 'Z' &&
                  s.p[26] >= '0' && s.p[26] <= '9';
    ENSURE(shaped, ERR_INVALID_TIME, "'%.*s' is not a time like 2026-11-23T20:40:24.1234567Z",
           SLICE_ARG(slice_take(s, 64)));
    TRY(time_parse_iso(s, &us));
    ENSURE(us >= 0, ERR_INVALID_TIME, "'%.*s' lies before 1970", SLICE_ARG(s));
    *ret = (uint64_t)us * 10 + (uint64_t)(s.p[26] - '0') + TIME_TICKS_TO_1970;
    return OK;
}
