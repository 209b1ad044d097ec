/* The readers of times: what they accept, written again, reads as the same.
 * fuzz-folders: base */
#include "fuzz.h"

#define US       1000000
#define MIN_US   (-62167219200 * (int64_t)US)
#define LIMIT_US (253402300800 * (int64_t)US)

static void check_again(void (*put)(buf *, int64_t), err (*parse)(slice, int64_t *), int64_t us) {
    uint8_t text[64];
    int64_t again;
    buf b;
    if (us < MIN_US || us >= LIMIT_US) return;
    buf_init_fixed(&b, text, sizeof(text));
    put(&b, us);
    MUST(!b.failed && parse(buf_slice(&b), &again) == OK && again == us);
}

FUZZ(data) {
    int64_t us = 0;
    if (time_parse_http(data, &us) == OK) {
        MUST(us % US == 0);
        check_again(time_put_http, time_parse_http, us);
        check_again(time_put_iso_s, time_parse_iso, us);
    }
    uint64_t tick = 0;
    if (time_parse_tick(data, &tick) == OK) { /* one text a tick */
        uint8_t text[TIME_TICK_TEXT_LEN];
        uint64_t again;
        buf b;
        buf_init_fixed(&b, text, sizeof(text));
        time_put_tick(&b, tick);
        MUST(!b.failed && time_parse_tick(buf_slice(&b), &again) == OK && again == tick);
    }
    if (time_parse_iso(data, &us) == OK) check_again(time_put_iso7, time_parse_iso, us);
}
