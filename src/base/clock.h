/* Time. All code asks here, so that tests can set and skew the clock.
 * Wall time is in microseconds since 1970-01-01T00:00:00Z (`us`); durations are named by unit. */
#pragma once

#include "base/buf.h"

int64_t clock_wall_us(void);
int64_t clock_mono_us(void);
/* Tests only: wall time becomes real time plus offset_us. */
void clock_skew_us(int64_t offset_us);

/* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 5.6.7, IMF-fixdate). */
void time_put_http(buf *b, int64_t us);
/* IMF-fixdate; also RFC 850 and asctime forms, as RFC 9110 demands of recipients.
 * ERR_INVALID_TIME otherwise. */
err time_parse_http(slice s, int64_t *ret_us) CHECKED;
/* "2026-11-23T20:40:24.1234567Z": seven fraction digits, as Azure's snapshots. */
void time_put_iso7(buf *b, int64_t us);
/* Ticks: 100 ns since year 1, as ETags, snapshots and version ids count. */
#define TIME_TICKS_TO_1970 621355968000000000ull
#define TIME_TICK_TEXT_LEN 28
static inline int64_t clock_tick_us(uint64_t tick) {
    return ((int64_t)tick - (int64_t)TIME_TICKS_TO_1970) / 10;
}
/* "2026-11-23T20:40:24.1234567Z" */
void time_put_tick(buf *b, uint64_t tick);
/* That form and no other. ERR_INVALID_TIME. */
err time_parse_tick(slice s, uint64_t *ret) CHECKED;
void time_put_iso_s(buf *b, int64_t us); /* "2026-11-23T20:40:24Z" */
/* The ISO 8601 forms that Azure accepts in SAS and access policies: YYYY-MM-DD,
 * YYYY-MM-DDThh:mmZ, YYYY-MM-DDThh:mm:ssZ, with 1-7 fraction digits, with an offset instead of Z.
 */
err time_parse_iso(slice s, int64_t *ret_us) CHECKED;
